"""The data contracts of a comparison: as a store has noted them, else as a process with the engine finds them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gate.lock import digest_of
from gate.run.machine import library
from gate.run.notes import known, note
from gate.run.store import Store
from gate.suite import ContractResult, Suite
from gate.suite.contract import UNCHECKED
from gate.suite.worker import check_all, contract_worker

Table = Mapping[str, NDArray[Any]]
Check = Callable[[Mapping[str, Table]], Future[tuple[ContractResult, ...]]]


@contextmanager
def contract_checks(suite: Suite, compared: str, store: Store | None) -> Iterator[Check]:
    """Answers what checks, beside other work, a suite's tables and then the predictions of bundles, name -> summary.

    compared: names the bundles. When they were compared before, the store knows the answer, most likely, and the
    process with the engine is started only if it turns out not to. The results raise SuiteError as `check_all` does.
    """
    rests = [suite.digest, np.__version__, *(library(name) for name in ("great_expectations", "pandas"))]
    pair = json.dumps([*rests, compared])
    seen = known(store, "compared", pair) is not None
    # The process ends before the thread does: after an error or an interrupt nobody waits for its answer.
    with ThreadPoolExecutor(1, "contracts") as beside, contract_worker(suite.root, ahead=not seen) as worker:

        def check(predictions: Mapping[str, Table]) -> tuple[ContractResult, ...]:
            told = {name: {k: v.tolist() for k, v in table.items()} for name, table in predictions.items()}
            question = digest_of(json.dumps([*rests, told]).encode())
            answer = known(store, "contracts", question)
            if answer is None:
                results = check_all(worker(), suite.root, told)
                if any(r.observed.startswith(UNCHECKED) for r in results):
                    return results  # what the engine could not do it may do the next time
                suite.check_unchanged()
                answer = [asdict(r) for r in results]
                note(store, "contracts", question, answer)
            note(store, "compared", pair, True)
            return tuple(ContractResult(**{**row, "failed": tuple(row["failed"])}) for row in answer)

        yield lambda predictions: beside.submit(check, predictions)
