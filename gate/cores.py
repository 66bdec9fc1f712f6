"""Work on all processors, and the memory that it leaves behind."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from typing import TypeVar

import numpy as np

Work = TypeVar("Work")
Done = TypeVar("Done")


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def each(work: Callable[[Work], Done], parts: Sequence[Work]) -> list[Done]:
    """`work` on every part, in their order, on all cores: numpy computes outside the interpreter's lock."""
    _keep_freed_memory()
    workers = min(len(parts), cores())
    if workers < 2:
        return [work(part) for part in parts]
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(work, parts))


def hand_back_memory() -> None:
    """Give the system the memory that was freed, for whatever needs it next; does nothing but with glibc."""
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


@cache
def _keep_freed_memory() -> None:
    """Freeing a block of nearly 32 MiB, never touched, raises glibc's limit for handing memory back (mallopt(3),
    M_MMAP_THRESHOLD): the arrays of one part then use the memory of the last, and fresh pages cost as much as the
    arithmetic on them. Elsewhere it does nothing.
    """
    np.empty((1 << 25) - (1 << 13), np.uint8)
