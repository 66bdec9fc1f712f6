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
    """entries: what the curves are read from, of the chosen cells. starts: (S + 1,) first bin of each series. Per bin,
    (B,): tp and accepted (cumulative, this bin included), last: its last entry. total, negatives_total: (S,) events.
    """

    entries: Entries
    starts: Ints
    tp: Ints
    accepted: Ints
    last: Ints
    total: Ints
    negatives_total: Ints

    @cached_property
    def fp(self) -> Ints:
        """(B,) false positives, cumulative."""
        return self.accepted - self.tp

    @cached_property
    def code(self) -> Ints:
        """(B,) code of each bin, descending within a series."""
        return self.codes_of(slice(None))

    @cached_property
    def series(self) -> Ints:
        """(B,) series of each bin."""
        return self.spread(np.arange(len(self.total)))

    @cached_property
    def positives(self) -> Ints:
        """(B,) positives of each bin alone."""
        return _steps(self.tp, self.starts)

    @cached_property
    def negatives(self) -> Ints:
        """(B,) negatives of each bin alone."""
        return _steps(self.fp, self.starts)

    @cached_property
    def bin(self) -> Ints:
        """(len(entries.keys),) bin of each entry, -1 for missed positives."""
        ended = np.cumsum(np.bincount(self.last + 1, minlength=len(self.entries.keys) + 1))[:-1]
        return np.where(self.entries.code == MISSED, -1, ended)

    def codes_of(self, bins: Ints | slice) -> Ints:
        """Codes of the chosen bins."""
        return ~self.entries.place[self.last[bins]] & 0xFFFF

    def of(self, series: int) -> slice:
        return slice(int(self.starts[series]), int(self.starts[series + 1]))

    def spread(self, values: NDArray[Scalar]) -> NDArray[Scalar]:
        """Values of the series, (S,), at each of their bins, (B,)."""
        return np.repeat(values, np.diff(self.starts))

    def counts_at(self, codes: Ints) -> tuple[Floats, Floats]:
        """(tp, fp) of each series when scores at or above its code are accepted, (S,)."""
        lowest = (np.arange(len(codes)) << 16) + (0xFFFF - codes)
        accepted = np.searchsorted(self.last, np.searchsorted(self.entries.place, lowest, side="right"))
        some, last = accepted > self.starts[:-1], accepted - 1
        if not some.any():
            return np.zeros(len(some)), np.zeros(len(some))
        tp = self.tp[last]
        return np.where(some, tp, 0.0), np.where(some, self.accepted[last] - tp, 0.0)


def curves(entries: Entries, cells: NDArray[np.bool_]) -> Curves:
    """Curves over the chosen cells, (C,) bool."""
    entries = entries.of_cells(cells)
    edges, place = entries.starts, entries.place
    some = edges[1:] > edges[:-1]
    begins = edges[:-1][some]
    found, seen = entries.keys & 1, entries.count.copy()
    found *= seen
    total, events = np.zeros(entries.rows, np.int64), np.zeros(entries.rows, np.int64)
    if begins.size:
        for values, sums in ((found, total), (seen, events)):
            sums[some] = np.add.reduceat(values, begins)
            # Running sums that start anew: each series first takes away what the one before has left.
            values[begins[1:]] -= sums[some][:-1]
            np.cumsum(values, out=values)

    ends = np.ones(len(place), bool)
    np.not_equal(place[1:], place[:-1], out=ends[:-1])
    last = np.flatnonzero(ends)
    starts = np.searchsorted(last, edges)
    if (place[edges[1:][some] - 1] & 0xFFFF == 0xFFFF - MISSED).any():
        # Missed positives stand last in their series; they count in its total and nowhere else.
        scored = place[last] & 0xFFFF != 0xFFFF - MISSED
        starts, last = np.r_[0, np.cumsum(scored)][starts], last[scored]
    return Curves(entries, starts, found[last], seen[last], last, total, events - total)


def _steps(running: Ints, starts: Ints) -> Ints:
    """What each element of running sums added, of sums that start anew with each series."""
    steps = np.diff(running, prepend=0)
    begins = starts[:-1][starts[1:] > starts[:-1]]
    steps[begins] = running[begins]
    return steps


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
    begins = curve.starts[:-1][curve.starts[1:] > curve.starts[:-1]]
    rises = np.empty(len(curve.tp), bool)
    np.not_equal(curve.tp[1:], curve.tp[:-1], out=rises[1:])
    rises[begins] = curve.tp[begins] > 0
    hit = np.flatnonzero(rises)  # recall steps nowhere else
    tp, ends = curve.tp[hit], np.searchsorted(hit, curve.starts)
    steps = _steps(tp, ends)
    series = np.repeat(np.arange(len(curve.total)), np.diff(ends))
    gained = np.bincount(series, steps * (tp / curve.accepted[hit]), len(curve.total))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(curve.total > 0, gained / curve.total, np.nan)


RECALL_POINTS = np.linspace(0.0, 1.0, 101)


def coco_average_precision(curve: Curves) -> Floats:
    """COCO average precision: mean over 101 recall points of the precision envelope, (S,); NaN without positives.

    pycocotools `COCOeval.accumulate` (8c9bcc3): a recall point beyond the curve's end has precision 0.
    """
    return _interpolated(curve, curve.tp / curve.accepted, RECALL_POINTS)


KITTI_POINTS = np.arange(1, 41) / 40


def orientation_similarity(curve: Curves) -> Floats:
    """Average orientation similarity, (S,): mean over 40 recalls of the greatest s(r) there or beyond; NaN without
    positives.

    Series come in pairs with the same scores: detections, and each detection as many events, positive in proportion to
    the similarity of its angle, so that precision there is s(r) (Geiger et al. 2012, equation 3). The value is that of
    the first of a pair; the second has none.
    """
    second = np.arange(len(curve.total)) % 2 == 1
    share = curve.tp / curve.accepted
    share[~second[curve.series]] = share[second[curve.series]]
    return np.where(second, np.nan, _interpolated(curve, share, KITTI_POINTS))


def _interpolated(curve: Curves, values: Floats, points: Floats) -> Floats:
    """Mean over recall `points` of the greatest of `values`, (B,), at that recall or beyond, (S,)."""
    envelope = np.r_[_from_end(np.maximum, values, curve.starts), 0.0]
    total = np.maximum(curve.total, 1)[:, None]
    # Least true positives whose recall, a rounded quotient, reaches each point: the product is off by one at most.
    least = np.floor(points * total)
    least = np.where((least - 1) / total >= points, least - 1, least)
    least = np.where(least / total >= points, least, least + 1).astype(np.int64)
    # True positives of all series as one rising sequence, with a step of 1 between series to keep them apart.
    found = np.r_[0, curve.tp][curve.starts[1:]] * (np.diff(curve.starts) > 0) + 1
    before = (np.cumsum(found) - found)[:, None]
    at = np.searchsorted(curve.tp + before[curve.series, 0], before + least)
    at = np.where(at < curve.starts[1:, None], at, len(curve.code))
    return np.where(curve.total > 0, envelope[at].mean(axis=1), np.nan)
