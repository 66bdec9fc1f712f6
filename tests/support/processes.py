"""Processes that gate starts, as the system sees them.

A process that was just started may be between two programs, and one that was just killed may live a moment longer: what
is said of other processes is waited for, with `until`, and never looked up once.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

#: What should be true soon is given up after so long: no test is to fail because a machine is busy.
PATIENCE_S = 120


def until(holds: Callable[[], object], what: str) -> None:
    """Wait until something holds, which is said in words."""
    last = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < last, f"not within {PATIENCE_S} s: {what}"
        time.sleep(0.05)


def heed_interrupts() -> None:
    """For `preexec_fn`: in the background of a shell an interrupt is ignored, by whatever is started there too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def those_with(word: str, file: str = "cmdline") -> list[int]:
    """Processes in whose command line, or another such file, a word is found."""
    found = []
    for path in Path("/proc").glob(f"[0-9]*/{file}"):
        try:
            if word.encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:  # gone meanwhile, or not ours
            continue
    return found


def ours() -> dict[int, int]:
    """Living processes that run programs, told by their command line -> their parents."""
    found = dict[int, int]()
    for folder in Path("/proc").iterdir():
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            if b"gate.run.nursery" in words and state != "Z":
                found[int(folder.name)] = int(parent)
        except (OSError, ValueError):
            continue
    return found


def below(pid: int) -> list[int]:
    """Those that a process started, and that these started."""
    parents = ours()
    children = [child for child, parent in parents.items() if parent == pid]
    return [*children, *(child for child, parent in parents.items() if parent in children)]


def gone(*pids: int) -> None:
    """Wait until these processes have ended: one that was loading libraries notices only then that it is alone."""
    until(lambda: not ours().keys() & pids, f"the end of {pids}")


def kill(*pids: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
