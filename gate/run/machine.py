"""What scores may depend on besides programs and frames: told without loading what runs them."""

from __future__ import annotations

import hashlib
import platform
import re
from collections.abc import Collection
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from gate.bundle import Network
from gate.cores import cores

Pairs = tuple[tuple[str, str], ...]
#: Instructions for arithmetic; which of them a processor has decides how sums are ordered and rounded.
_ARITHMETIC = re.compile(r"\b(?:avx|amx|fma|sse4|neon|asimd|sve|sme|bf16|i8mm|fphp)\w*")


def runtime(networks: Collection[Network], device: str = "cpu") -> Pairs:
    """(name, value) pairs of what runs these networks: libraries, processor, threads.

    device: `cpu`, or what names a GPU with its driver.
    """
    suffixes = {n.program.suffix for n in networks if n.program is not None}
    libraries = {".pt2": "torch", ".onnx": "onnxruntime"}
    found = [
        ("device", device),
        ("instructions", _instructions()),
        ("machine", platform.machine()),
        ("python", platform.python_version()),
        ("threads", str(cores())),
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
