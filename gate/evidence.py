"""Evidence of one prediction on one cell: additive sufficient statistics, all of them integers.

Two kinds. `ScoredEvents` is a histogram score x label, plus the positives that got no score. `Moments` are named
sums; a sum whose name starts with `sum_` is a real number in fixed point, 2^-30 a step, so that adding is exact and
order does not matter. `+` always means merge. This is the size to think and test in; `gate.table` stacks thousands.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gate.errors import EvidenceError
from gate.lattice import MISSED

#: Steps of a real-valued sum: errors of 5e-10 an event, and room for 8.6e9 in one cell.
STEPS = 2**30
_ROOM = 2.0**62


def fixed(values: NDArray[np.floating]) -> NDArray[np.int64]:
    """Real sums in fixed point. Raises EvidenceError when a value has no room (4.3e9 in the unit of the head)."""
    steps = np.asarray(values, dtype=np.float64) * STEPS
    if not (np.abs(steps) < _ROOM).all():
        raise EvidenceError(
            "an error is too large to be added up (over 4e9 in the head's unit, squared)",
            mend="declare the head in a larger unit, or mend the program",
        )
    return np.rint(steps).astype(np.int64)


def fixed_sum(values: NDArray[np.floating]) -> NDArray[np.int64]:
    """Sums along the last axis in fixed point, each value rounded alone, so that no order can change a bit. Raises
    EvidenceError as `fixed` does, for the sums too.
    """
    fixed(np.abs(values).sum(axis=-1))
    return fixed(values).sum(axis=-1)


def add_exact(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sum of integers, or EvidenceError where 64 bits do not hold it."""
    total = a + b
    if (((a ^ total) & (b ^ total)) < 0).any():
        raise EvidenceError("a sum of evidence does not fit 64 bits", mend="declare the head in a larger unit")
    return total


@dataclass(frozen=True)
class ScoredEvents:
    """Histogram of scored events. codes: (n,) ascending within a label; labels: (n,) bool; counts: (n,) > 0."""

    codes: tuple[int, ...] = ()
    labels: tuple[bool, ...] = ()
    counts: tuple[int, ...] = ()

    def __add__(self, other: ScoredEvents) -> ScoredEvents:
        bins: dict[tuple[bool, int], int] = {}
        for part in (self, other):
            for code, label, count in zip(part.codes, part.labels, part.counts, strict=True):
                bins[label, code] = bins.get((label, code), 0) + count
        ordered = sorted(bins)
        return ScoredEvents(
            tuple(code for _, code in ordered),
            tuple(label for label, _ in ordered),
            tuple(bins[key] for key in ordered),
        )

    @property
    def positives(self) -> int:
        """Positives, missed ones included."""
        return sum(n for n, label in zip(self.counts, self.labels, strict=True) if label)

    @property
    def missed(self) -> int:
        """Positives that got no score."""
        return sum(n for n, code in zip(self.counts, self.codes, strict=True) if code == MISSED)


@dataclass(frozen=True)
class Moments:
    """Named sums, in the order of `names`; integers (reals in steps of 2^-30)."""

    names: tuple[str, ...] = ()
    values: tuple[int, ...] = ()

    def __add__(self, other: Moments) -> Moments:
        if not self.names:
            return other
        if not other.names:
            return self
        if self.names != other.names:
            raise EvidenceError(f"sums {self.names} cannot be added to sums {other.names}")
        return Moments(self.names, tuple(a + b for a, b in zip(self.values, other.values, strict=True)))


@dataclass(frozen=True)
class Evidence:
    """All that is kept of one prediction on one cell; `Evidence()` is the zero of `+`."""

    events: ScoredEvents = ScoredEvents()
    moments: Moments = Moments()

    def __add__(self, other: Evidence) -> Evidence:
        return Evidence(self.events + other.events, self.moments + other.moments)
