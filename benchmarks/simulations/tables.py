"""What every simulation shares at its edges: options, rates with their Monte-Carlo error, Markdown."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import numpy as np

Rows = Sequence[Sequence[str]]


def main(run: Callable[[int, int], str], *, full: int, quick: int, what: str) -> None:
    """Runs `run(seed, repetitions)` and prints the Markdown that it gives."""
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--quick", action="store_true", help=f"{quick} repetitions instead of {full}")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--repetitions", type=int)
    args = parser.parse_args()
    print(run(args.seed, args.repetitions or (quick if args.quick else full)))


def percent(hits: float, trials: float) -> str:
    """A rate in percent with its standard error; of no hit at all, what 95 % confidence leaves open."""
    if not trials:
        return "–"
    rate = hits / trials
    if hits in (0, trials):
        limit = 100 * (1 - 0.05 ** (1 / trials))
        return f"0 (< {limit:.2g})" if not hits else f"100 (> {100 - limit:.3g})"
    error = 100 * np.sqrt(rate * (1 - rate) / trials)
    digits = 1 if error < 0.95 else 0
    return f"{100 * rate:.{max(digits, 1)}f} ± {error:.1f}"


def mean(values: Sequence[float] | np.ndarray, scale: float = 1.0, digits: int = 2) -> str:
    """A mean with its standard error, times `scale`."""
    x = np.asarray(values, float) * scale
    if len(x) < 2:
        return f"{x.mean():.{digits}f}"
    return f"{x.mean():.{digits}f} ± {x.std(ddof=1) / np.sqrt(len(x)):.{digits}f}"


def clustered(values: Sequence[np.ndarray]) -> str:
    """Percent of hits with a standard error that takes all trials of one release as one draw."""
    hits, trials = np.array([v.sum() for v in values], float), np.array([len(v) for v in values], float)
    if not trials.sum():
        return "–"
    rate = hits.sum() / trials.sum()
    spread = np.sqrt(((hits - rate * trials) ** 2).sum()) / trials.sum()
    return f"{100 * rate:.1f} ± {100 * spread:.1f}"


def markdown(header: Sequence[str], rows: Rows) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])
