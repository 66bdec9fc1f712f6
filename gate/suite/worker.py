"""The contracts in a process of their own: the engine is loaded, and checks the tables, while the networks run.

Requests and answers are JSON over pipes, so that nothing is unpickled and a script needs no guard around its main part.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from gate.errors import GateError, SuiteError, shown
from gate.suite.contract import ContractResult, check_predictions, warm
from gate.suite.freeze import contracts

Worker = subprocess.Popen[str]
TIMEOUT_S = 600


@contextmanager
def contract_worker(root: Path, *, ahead: bool = True) -> Iterator[Callable[[], Worker]]:
    """Answers a process that checks the tables of a suite, then predictions; gone when the block ends, however it ends.

    ahead: the process starts at once, so that its engine is loaded when it is asked; else when it is first asked for.
    """
    started: list[Worker] = []

    def worker() -> Worker:
        if not started:
            # -P: the working folder belongs to whoever is examined, and nothing in it may be imported.
            # A session of its own: Ctrl-C is for the main process, which then ends this one.
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "gate.suite.worker", str(root)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            started.append(process)
        return started[0]

    if ahead:
        worker()
    try:
        yield worker
    finally:
        for process in started:
            process.kill()
            with suppress(OSError, ValueError):  # after an interrupt somebody may be reading its answer still
                process.communicate()
            process.wait()


def check_all(
    worker: Worker, root: Path, predictions: Mapping[str, Mapping[str, Sequence[Any]]]
) -> tuple[ContractResult, ...]:
    """Contracts of the suite's tables, then of each bundle's predictions, name -> summary table.

    Raises SuiteError when the worker died or could not check.
    """
    try:
        answer, complaint = worker.communicate(json.dumps(predictions), timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise SuiteError("the data contracts took more than ten minutes", where=str(root)) from error
    if worker.returncode or not answer:
        last = (complaint.strip().splitlines() or ["no message"])[-1]
        raise SuiteError(f"the data contracts could not be checked: {shown(last)}", where=str(root))
    rows = json.loads(answer)
    return tuple(ContractResult(**{**row, "failed": tuple(row["failed"])}) for row in rows)


def main() -> None:
    warm()
    results = list(contracts(Path(sys.argv[1])))
    for name, table in json.load(sys.stdin).items():
        results += check_predictions({k: np.array(v) for k, v in table.items()}, name=name)
    json.dump([asdict(r) for r in results], sys.stdout)
    sys.stdout.flush()
    os._exit(0)  # taking the engine apart costs as much as a check


if __name__ == "__main__":
    try:
        main()
    except GateError as error:
        sys.exit(str(error))
