"""How many batches run side by side, and on how many threads each."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import pytest

from gate.run import machine
from gate.run.machine import batches_at_once, runtime


@dataclass
class Input:
    shape: tuple[int, ...]


@dataclass
class Exam:
    """What is asked of a suite."""

    inputs: dict[str, Input]


def exam(*shapes: tuple[int, ...]) -> Any:
    return Exam({str(k): Input(shape) for k, shape in enumerate(shapes)})


SMALL, CAMERAS = exam((3, 120, 160)), exam(*[(3, 1280, 960)] * 8)


@pytest.mark.parametrize(
    ("cores", "gib", "suite", "batches", "threads"),
    [
        (1, 24, SMALL, 1, 1),
        (2, 24, SMALL, 2, 1),
        (2, 24, exam(), 2, 1),
        # An answer may fill an eighth of the memory, or 4 GiB: 2 at once, 2 more that are held, and 1 in copies.
        (4, 16, SMALL, 2, 2),
        (4, 64, SMALL, 4, 1),
        (16, 64, SMALL, 5, 3),
        (64, 512, SMALL, 8, 8),
        # Sixteen frames of eight cameras are 1.76 GiB of numbers; what networks make of them is several times as much.
        (8, 24, CAMERAS, 1, 8),
        (8, 256, CAMERAS, 2, 4),
    ],
)
def test_batches_run_side_by_side_as_cores_and_memory_allow(
    monkeypatch: pytest.MonkeyPatch, cores: int, gib: int, suite: Any, batches: int, threads: int
) -> None:
    sizes = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": (gib << 30) // 4096}
    monkeypatch.setattr(machine, "cores", lambda: cores)
    monkeypatch.setattr(machine, "MAX_ARRAYS", min(4 << 30, (gib << 30) // 8))
    monkeypatch.setattr(os, "sysconf", sizes.__getitem__)
    assert batches_at_once(suite, "cpu") == (batches, threads)
    assert batches_at_once(suite, "cuda") == (1, cores), "a graphics processor has batches of its own"
    assert dict(runtime((), "cpu", threads))["threads"] == str(threads)
    assert dict(runtime(()))["threads"] == str(cores)
