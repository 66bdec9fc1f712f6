"""What the tests of the evidence store share: runs in spans of sixteen frames, and what a run said, to be compared."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gate.bundle import read_bundle
from gate.run import Run, Store, contract_table, open_store, run
from gate.suite import read_suite
from tests.support.tiny import SUITE, World, predict, write_bundle, write_suite

#: Runs of bundles as a process of its own, in spans of three clips; says `ready` before it begins.
CHILD = """\
import sys
from pathlib import Path
from gate.bundle import read_bundle
from gate.run import local, open_store, partition, run
from gate.suite import read_suite
local.RECORDED, partition.LANES = 15, 3
folder, store = map(Path, sys.argv[1:3])
suite, bundles = read_suite(folder / "suite"), [read_bundle(folder / name) for name in sys.argv[3:]]
print("ready", flush=True)
opened = open_store(store, print, required=True)
for bundle in bundles:
    run(bundle, suite, store=opened)
"""


def start(folder: Path, store: Path, *bundles: str) -> subprocess.Popen[str]:
    """A process that is ready to run the bundles."""
    command = [sys.executable, "-c", CHILD, str(folder), str(store), *bundles]
    child = subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def short_spans(patch: pytest.MonkeyPatch) -> None:
    """Recorded predictions in spans of three clips."""
    patch.setattr("gate.run.local.RECORDED", 15)
    patch.setattr("gate.run.partition.LANES", 3)


def told() -> tuple[list[str], Any]:
    lines: list[str] = []
    return lines, lines.append


def ran(folder: Path, store: Store | None, bundle: str = "old") -> Run:
    return run(read_bundle(folder / bundle), read_suite(folder / "suite"), store=store)


def opened(root: Path, tell: Any = lambda line: None) -> Store:
    store = open_store(root, tell, required=True)
    assert store is not None
    return store


def same(a: Run, b: Run) -> bool:
    """Everything that a run says, to the bit; not where it came from."""
    tables = [contract_table(list(r.summaries.values())) for r in (a, b)]
    return (
        a.evidence == b.evidence
        and list(a.evidence) == list(b.evidence)
        and a.faults() == b.faults()
        and (a.missing, a.runtime) == (b.missing, b.runtime)
        and tables[0].keys() == tables[1].keys()
        and all(x.tobytes() == y.tobytes() for x, y in zip(tables[0].values(), tables[1].values(), strict=True))
    )


def packs(root: Path) -> list[Path]:
    """Packs that a run can find."""
    return sorted(p for p in root.glob("??/*/*.safetensors") if not p.name.startswith("."))


def broken_world(folder: Path, world: World) -> Path:
    """A suite and a bundle `old` with much that is wrong: NaN, missing frames, a wrong shape, sums that do not fit."""
    write_suite(folder / "suite", world, text=SUITE + OVER)
    outputs = predict(world)
    outputs["sign"][70, 1] = outputs["sign"][100, 1] = float("nan")
    outputs["range"][3] = np.inf
    outputs["over"] = outputs["range"].copy()
    outputs["over"][[70, 130]] = 1e30  # cannot be added up, and what follows is only counted
    outputs["edge"] = outputs["edge"][:, :, :3]
    write_bundle(folder / "old", world, outputs, keep=lambda name: name not in ("f0040", "f0090"))
    return folder


OVER = """
[[heads]]
head = "cam.over"
task = "regression"
unit = "m"
truth = { columns = "range" }
"""


class Killed(BaseException):
    """Stands for SIGKILL: nothing that tidies up may run either."""


@contextlib.contextmanager
def failing(at: int, error: BaseException) -> Iterator[list[int]]:
    """Every call that writes counts; from number `at` on, each raises. Yields a list with the number of calls."""
    calls = [0]

    def counted(name: str) -> Any:
        real = getattr(os, name)

        def call(*given: Any, **named: Any) -> Any:
            calls[0] += 1
            if calls[0] > at:
                raise error
            return real(*given, **named)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in ("mkdir", "fchmod", "fsync", "replace", "utime"):
            patch.setattr(os, name, counted(name))
        if isinstance(error, Killed):
            patch.setattr(os, "unlink", counted("unlink"))
        yield calls


def full() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
