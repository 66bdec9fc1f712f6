"""Precision-recall curves of all series at once, read from score histograms.

One bin a distinct score, in descending order; equal scores are one event group, so the order of events never
matters. Missed positives count in `total` and never enter a bin.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from gate.lattice import MISSED
from gate.table import Entries, Floats, Ints

Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True)
class Curves:
    """entries: what the curves are read from. starts: (S + 1,) first bin of each series. Per bin, (B,): code
    (descending within a series), tp and fp (cumulative, this bin included). total, negatives_total: (S,) events.
    kept: positions of the entries used; first: (B,) place in `kept` where each bin begins.
    """

    entries: Entries
    starts: Ints
    code: Ints
    tp: Ints
    fp: Ints
    total: Ints
    negatives_total: Ints
    kept: Ints
    first: Ints

    @cached_property
    def series(self) -> Ints:
        """(B,) series of each bin."""
        return self.spread(np.arange(len(self.total)))

    @cached_property
    def positives(self) -> Ints:
        """(B,) positives of each bin alone."""
        return self._steps(self.tp)

    @cached_property
    def negatives(self) -> Ints:
        """(B,) negatives of each bin alone."""
        return self._steps(self.fp)

    @cached_property
    def bin(self) -> Ints:
        """(len(kept),) bin of each entry used, -1 for missed positives."""
        begins = np.bincount(self.first, minlength=len(self.kept))
        return np.where(self.entries.code[self.kept] == MISSED, -1, np.cumsum(begins) - 1)

    def _steps(self, running: Ints) -> Ints:
        steps = np.diff(running, prepend=0)
        begins = self.starts[:-1][self.starts[1:] > self.starts[:-1]]
        steps[begins] = running[begins]
        return steps

    def of(self, series: int) -> slice:
        return slice(int(self.starts[series]), int(self.starts[series + 1]))

    def spread(self, values: NDArray[Scalar]) -> NDArray[Scalar]:
        """Values of the series, (S,), at each of their bins, (B,)."""
        return np.repeat(values, np.diff(self.starts))

    def counts_at(self, codes: Ints) -> tuple[Floats, Floats]:
        """(tp, fp) of each series when scores at or above its code are accepted, (S,)."""
        low, high = self.starts[:-1], self.starts[1:]
        while (open_ := low < high).any():
            middle = np.minimum((low + high) // 2, len(self.code) - 1)
            accepted = self.code[middle] >= codes
            low, high = np.where(open_ & accepted, middle + 1, low), np.where(open_ & ~accepted, middle, high)
        some, last = low > self.starts[:-1], np.maximum(low - 1, 0)
        if not some.any():
            return np.zeros(len(some)), np.zeros(len(some))
        return np.where(some, self.tp[last], 0.0), np.where(some, self.fp[last], 0.0)


def curves(entries: Entries, cells: NDArray[np.bool_]) -> Curves:
    """Curves over the chosen cells, (C,) bool."""
    series, code, count, positive = entries.series, entries.code, entries.count, entries.positive
    if cells.all():
        kept = np.arange(len(code))
    else:
        kept = np.flatnonzero(cells[entries.cell])
        series, code, count, positive = series[kept], code[kept], count[kept], positive[kept]
    edges = np.searchsorted(series, np.arange(entries.rows + 1))
    found, seen = np.cumsum(count * positive), np.cumsum(count)
    found_before, seen_before = (
        np.where(edges > 0, sums[edges - 1], 0) if len(sums) else edges for sums in (found, seen)
    )
    total = np.diff(found_before)

    new = np.empty(len(code), bool)
    np.not_equal(code[1:], code[:-1], out=new[1:])
    new[edges[:-1][edges[1:] > edges[:-1]]] = True
    first = np.flatnonzero(new)
    last = np.r_[first[1:], len(code)][: len(first)] - 1
    code, found, seen = code[first], found[last], seen[last]
    starts = np.searchsorted(first, edges)
    some = starts[1:] > starts[:-1]
    if (code[starts[1:][some] - 1] == MISSED).any():
        # Missed positives stand last in their series; they count in its total and nowhere else.
        scored = code != MISSED
        starts = np.r_[0, np.cumsum(scored)][starts]
        first, code, found, seen = first[scored], code[scored], found[scored], seen[scored]
    sizes = np.diff(starts)
    tp = found - np.repeat(found_before[:-1], sizes)
    fp = seen - np.repeat(seen_before[:-1], sizes) - tp
    return Curves(entries, starts, code, tp, fp, total, np.diff(seen_before) - total, kept, first)


def cumulative(values: Ints, starts: Ints, series: Ints) -> Ints:
    """Running sums of `values` (B,) that start anew with each series."""
    running = np.r_[0, np.cumsum(values)]
    return running[1:] - running[starts[series]]


def running_from_end(values: Floats, starts: Ints) -> Floats:
    """Sums of `values` (B,) from each bin to the end of its series, this bin included."""
    return _from_end(np.add, values, starts)


def _from_end(join: np.ufunc, values: Floats, starts: Ints) -> Floats:
    """`join` accumulated from the end of each series to each of its bins, (B,).

    Series of similar length are the rows of one array, so each is accumulated on its own, as in a loop: one running sum
    over all of them would carry the rounding of the series before.
    """
    out = np.empty_like(values)
    sizes = np.diff(starts)
    digits = np.frexp(sizes)[1]
    for some in (np.flatnonzero(digits == k) for k in np.unique(digits[sizes > 0])):
        width = sizes[some].max()
        at = starts[1:][some][:, None] - 1 - np.arange(width)
        inside = np.arange(width) < sizes[some][:, None]
        out[at[inside]] = join.accumulate(np.where(inside, values[np.maximum(at, 0)], 0.0), axis=1)[inside]
    return out


def average_precision(curve: Curves) -> Floats:
    """Step-wise average precision, AP = sum_b (R_b - R_{b-1}) P_b, (S,); NaN without positives.

    scikit-learn `average_precision_score`; missed positives count in the recall's denominator.
    """
    hit = np.flatnonzero(curve.positives)  # recall steps nowhere else
    tp = curve.tp[hit]
    series = np.repeat(np.arange(len(curve.total)), np.diff(np.searchsorted(hit, curve.starts)))
    gained = np.bincount(series, curve.positives[hit] * (tp / (tp + curve.fp[hit])), len(curve.total))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(curve.total > 0, gained / curve.total, np.nan)


RECALL_POINTS = np.linspace(0.0, 1.0, 101)


def coco_average_precision(curve: Curves) -> Floats:
    """COCO average precision: mean over 101 recall points of the precision envelope, (S,); NaN without positives.

    pycocotools `COCOeval.accumulate` (8c9bcc3): a recall point beyond the curve's end has precision 0.
    """
    envelope = np.r_[_from_end(np.maximum, curve.tp / (curve.tp + curve.fp), curve.starts), 0.0]
    total = np.maximum(curve.total, 1)[:, None]
    # Least true positives whose recall, a rounded quotient, reaches each point: the product is off by one at most.
    least = np.floor(RECALL_POINTS * total)
    least = np.where((least - 1) / total >= RECALL_POINTS, least - 1, least)
    least = np.where(least / total >= RECALL_POINTS, least, least + 1).astype(np.int64)
    # True positives of all series as one rising sequence, with a step of 1 between series to keep them apart.
    found = np.r_[0, curve.tp][curve.starts[1:]] * (np.diff(curve.starts) > 0) + 1
    before = (np.cumsum(found) - found)[:, None]
    at = np.searchsorted(curve.tp + before[curve.series, 0], before + least)
    at = np.where(at < curve.starts[1:, None], at, len(curve.code))
    return np.where(curve.total > 0, envelope[at].mean(axis=1), np.nan)
