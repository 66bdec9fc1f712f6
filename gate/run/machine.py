"""What scores may depend on besides programs and frames: told without loading what runs them."""

from __future__ import annotations

import hashlib
import os
import platform
import re
from collections.abc import Collection
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from math import prod
from pathlib import Path

from gate.bundle import Network
from gate.cores import cores
from gate.run.partition import BATCH
from gate.run.wire import MAX_ARRAYS, MAX_GIVEN
from gate.suite import Suite

Pairs = tuple[tuple[str, str], ...]
#: Instructions for arithmetic; which of them a processor has decides how sums are ordered and rounded.
_ARITHMETIC = re.compile(r"\b(?:avx|amx|fma|sse4|neon|asimd|sve|sme|bf16|i8mm|fphp)\w*")


#: Batches that are run side by side at most: each costs memory, and they share one interpreter.
MOST = 8


def batches_at_once(suite: Suite, device: str) -> tuple[int, int]:
    """How many batches of a suite are run side by side, and how many threads each has: one, if there are enough.

    Threads that share every small operation wait for each other: two batches side by side take two thirds of the time
    that two threads take for one after the other (docs/performance.md). Fewer, where frames are so large that what
    networks make of them, or a hostile network answers to them, might not fit into memory.
    """
    if device != "cpu":
        return 1, cores()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    batch = 4 * BATCH * sum(prod(given.shape) for given in suite.inputs.values())
    for_networks = min(memory // 64, MAX_GIVEN) // max(batch, 1)
    for_answers = (memory * 3 // 4 // MAX_ARRAYS - 1) // 2  # one round of them is held while the next is heard
    most = max(1, min(cores(), MOST, for_networks, for_answers))
    return most, cores() // most


def runtime(networks: Collection[Network], device: str = "cpu", threads: int | None = None) -> Pairs:
    """(name, value) pairs of what runs these networks: libraries, processor, threads.

    device: `cpu`, or what names a GPU with its driver. threads: of one forward pass, all cores if it is not said.
    """
    suffixes = {n.program.suffix for n in networks if n.program is not None}
    libraries = {".pt2": "torch", ".onnx": "onnxruntime"}
    found = [
        ("device", device),
        ("instructions", _instructions()),
        ("machine", platform.machine()),
        ("python", platform.python_version()),
        ("threads", str(threads or cores())),
    ]
    return tuple(sorted(found + [(name, library(name)) for s, name in libraries.items() if s in suffixes]))


def library(name: str) -> str:
    """The version of an installed distribution, which is not imported."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


@cache
def _instructions() -> str:
    """The widest instructions, and a digest of all that matter."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return platform.processor()
    first = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    found = sorted(set(_ARITHMETIC.findall(first[1]))) if first else []
    widest = next((w for w in ("avx512", "avx2", "sve", "asimd") if any(f.startswith(w) for f in found)), "plain")
    return f"{widest} {hashlib.sha256(' '.join(found).encode()).hexdigest()[:8]}"
