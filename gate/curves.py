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
    """entries: what the curves are read from, of the chosen cells. Per entry: ends, whether it is the last of its bin
    (never of missed positives); seen, events up to it, of all series. total, negatives_total: (S,) events.

    A *run* is bins of a series, next to each other, with the same true positives; one begins with each series, and
    wherever a bin holds a positive. runs: (R,) last entry of the first bin of each. run_tp, run_accepted: (R,) true
    positives and accepted events there, cumulative. run_starts: (S + 1,) first run of each series.

    Runs are few where positives are rare; what is told bin by bin, (B,), is made when it is asked for.
    """

    entries: Entries
    ends: NDArray[np.bool_]
    seen: Ints
    total: Ints
    negatives_total: Ints
    runs: Ints
    run_tp: Ints
    run_accepted: Ints
    run_starts: Ints

    @cached_property
    def run_series(self) -> Ints:
        """(R,) series of each run."""
        return np.repeat(np.arange(len(self.total)), np.diff(self.run_starts))

    @cached_property
    def last(self) -> Ints:
        """(B,) last entry of each bin."""
        return np.flatnonzero(self.ends)

    @cached_property
    def starts(self) -> Ints:
        """(S + 1,) first bin of each series."""
        return np.searchsorted(self.last, self.entries.starts)

    @cached_property
    def tp(self) -> Ints:
        """(B,) true positives, cumulative, this bin included."""
        return np.repeat(self.run_tp, np.diff(self._run_bins, append=len(self.last)))

    @cached_property
    def accepted(self) -> Ints:
        """(B,) events, cumulative, this bin included."""
        return self.seen[self.last] - self.spread(_before(self.seen, self.entries.starts)[:-1])

    @cached_property
    def fp(self) -> Ints:
        """(B,) false positives, cumulative."""
        return self.accepted - self.tp

    @cached_property
    def code(self) -> Ints:
        """(B,) code of each bin, descending within a series."""
        return ~self.entries.place[self.last] & 0xFFFF

    @cached_property
    def series(self) -> Ints:
        """(B,) series of each bin."""
        return self.spread(np.arange(len(self.total)))

    @cached_property
    def positives(self) -> Ints:
        """(B,) positives of each bin alone."""
        positives = np.zeros(len(self.last), np.int64)
        positives[self._run_bins] = _steps(self.run_tp, self.run_starts)
        return positives

    @cached_property
    def negatives(self) -> Ints:
        """(B,) negatives of each bin alone."""
        return _steps(self.fp, self.starts)

    @cached_property
    def bin(self) -> Ints:
        """(len(entries.keys),) bin of each entry, -1 for missed positives."""
        return np.where(self.entries.code == MISSED, -1, self._ended - self.ends)

    def of(self, series: int) -> slice:
        return slice(int(self.starts[series]), int(self.starts[series + 1]))

    @cached_property
    def _run_bins(self) -> Ints:
        """(R,) first bin of each run."""
        return self._ended[self.runs] - 1

    @cached_property
    def _ended(self) -> Ints:
        """Bins of all series that end up to each entry."""
        return np.cumsum(self.ends, dtype=np.int64)

    def spread(self, values: NDArray[Scalar]) -> NDArray[Scalar]:
        """Values of the series, (S,), at each of their bins, (B,)."""
        return np.repeat(values, np.diff(self.starts))

    def counts_at(self, codes: Ints) -> tuple[Floats, Floats]:
        """(tp, fp) of each series when scores at or above its code are accepted, (S,)."""
        lowest = (np.arange(len(codes)) << 16) + (0xFFFF - codes)
        end, start = np.searchsorted(self.entries.place, lowest, side="right"), self.entries.starts[:-1]
        some = end > start
        if not some.any():
            return np.zeros(len(some)), np.zeros(len(some))
        tp = self.run_tp[np.searchsorted(self.runs, end) - 1]
        accepted = _before(self.seen, end) - _before(self.seen, start)
        return np.where(some, tp, 0.0), np.where(some, accepted - tp, 0.0)


def curves(entries: Entries, cells: NDArray[np.bool_]) -> Curves:
    """Curves over the chosen cells, (C,) bool."""
    entries = entries.of_cells(cells)
    edges, place, seen = entries.starts, entries.place, np.cumsum(entries.count)
    some = edges[1:] > edges[:-1]
    ends = np.ones(len(place), bool)
    np.not_equal(place[1:], place[:-1], out=ends[:-1])
    runs, tp = _runs(entries, ends, np.searchsorted(place, place[edges[:-1][some]], side="right") - 1)
    run_starts = np.searchsorted(runs, edges)
    found, before = _before(tp, run_starts), _before(seen, edges)
    tp -= np.repeat(found[:-1], np.diff(run_starts))
    if (place[edges[1:][some] - 1] & 0xFFFF == 0xFFFF - MISSED).any():
        # Missed positives stand last in their series; they count in its total and nowhere else.
        scored = place & 0xFFFF != 0xFFFF - MISSED
        ends &= scored
        runs, tp = runs[scored[runs]], tp[scored[runs]]
        run_starts = np.searchsorted(runs, edges)
    accepted = seen[runs] - np.repeat(before[:-1], np.diff(run_starts))
    total, events = np.diff(found), np.diff(before)
    return Curves(entries, ends, seen, total, events - total, runs, tp, accepted, run_starts)


def _runs(entries: Entries, ends: NDArray[np.bool_], firsts: Ints) -> tuple[Ints, Ints]:
    """Runs, of which missed positives are one, and the true positives of all series up to each.

    firsts: last entry of the first bin of each series that has one.
    """
    marks = entries.positive.copy()
    marks[firsts] = True
    if not (marks > ends).any():  # each positive ends its bin, as it does where no cells share one
        runs = np.flatnonzero(marks)
        found = entries.count[runs]
        found[np.searchsorted(runs, firsts)] *= entries.positive[firsts]
        return runs, np.cumsum(found)
    last = np.flatnonzero(ends)
    tp = np.cumsum(entries.count * entries.positive)[last]
    new = np.empty(len(last), bool)
    np.not_equal(tp[1:], tp[:-1], out=new[1:])
    new[np.searchsorted(last, firsts)] = True
    return last[new], tp[new]


def _before(running: Ints, at: Ints) -> Ints:
    """Sum of what stands before each place, of running sums."""
    return np.where(at > 0, running[at - 1], 0) if len(running) else np.zeros(len(at), np.int64)


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
    precision = curve.run_tp / curve.run_accepted
    steps = _steps(curve.run_tp, curve.run_starts)  # recall rises nowhere else
    gained = np.bincount(curve.run_series, steps * precision, len(curve.total))
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
