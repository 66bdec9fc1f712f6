"""Processes that gate starts for running programs, as the system sees them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path


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
    """These processes end within a few seconds."""
    until = time.monotonic() + 20
    while alive := ours().keys() & pids:
        assert time.monotonic() < until, f"{alive} live still"
        time.sleep(0.05)


def kill(*pids: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
