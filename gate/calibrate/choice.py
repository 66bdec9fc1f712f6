"""Thresholds chosen by point estimate, for all predictions at once: the middle of what is near-optimal, or the best one
that meets a constraint.

`max f1` and its kin, `min cost` (method A11.1): of all thresholds whose F is within `NEAR` of the best (whose cost is
within 2 % of the least), the one nearest the middle of their range, in logit. With hysteresis: the incumbent's
threshold stays as long as it lies in that range. F is jagged on few clips, so whatever lies between two near-optimal
thresholds is taken to be one. The argmax itself jumps between retrainings; the middle does not, and loses less on new
clips.

A constraint without a confidence, `max recall where precision >= p`, is taken at its word: of the thresholds that meet
it, the one with the greatest recall; of equals, the one with more precision. The middle of a range would not do: what
lies between two thresholds that meet a jagged constraint need not meet it. For the same reason the incumbent's
threshold stays only if it meets the constraint itself, with a recall within `NEAR` of the best. A precision is read
only where at least 25 events are accepted (or all positives, when these are fewer): a lucky first event would make
every level attainable. The estimate is optimistic: on new clips about half of such thresholds miss their level (method
B5). A constraint `at c` is proven instead (`gate.calibrate.guaranteed`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gate.calibrate.guaranteed import FEWEST
from gate.calibrate.objective import Objective
from gate.curves import Curves
from gate.lattice import LARGEST_LOGIT, LOWEST, NO_THRESHOLD, decode, encode
from gate.measures import divide
from gate.table import Floats, Ints

Mask = NDArray[np.bool_]
#: Values of the series, (S,), at each of some bins.
Spread = Callable[[NDArray[Any]], NDArray[Any]]
NEAR = 0.02


@dataclass(frozen=True)
class Goals:
    """Objectives of n predictions as arrays; recall, precision: masks of what a constraint makes greatest."""

    recall: Mask
    precision: Mask
    cost: Mask
    beta: Floats
    fn: Floats
    fp: Floats
    level: Floats
    confidence: Floats

    @classmethod
    def of(cls, goals: Sequence[Objective]) -> Goals:
        recall, precision, cost = (
            np.array([g.kind == k for g in goals], dtype=bool) for k in ("recall", "precision", "cost")
        )
        numbers = [(g.beta, g.fn, g.fp, g.level, g.confidence or np.nan) for g in goals]
        return cls(recall, precision, cost, *np.array(numbers, dtype=np.float64).reshape(-1, 5).T)

    def take(self, rows: Ints) -> Goals:
        """Those of the chosen predictions."""
        return Goals(*(getattr(self, f.name)[rows] for f in fields(self)))

    @property
    def constrained(self) -> Mask:
        return self.recall | self.precision

    @property
    def proven(self) -> Mask:
        return ~np.isnan(self.confidence)


@dataclass(frozen=True)
class Range:
    """Thresholds of n predictions as codes, -1 for none: the chosen one, the lowest and highest that would do."""

    code: Ints
    low: Ints
    high: Ints


def near_best(curve: Curves, goals: Goals) -> Range:
    """The middle of what is near-optimal: of F (F1 for a constraint, should it fall back), or of the cost.

    Within a run of equal true positives both only get worse, so the best bin begins one, and only runs that begin
    near-optimal hold more bins that are.
    """
    sizes = np.diff(curve.run_starts)
    value = _worth(curve, goals, lambda each: np.repeat(each, sizes), curve.run_tp, curve.run_accepted)
    best = _greatest(value, curve.run_starts)
    least = best - np.where(goals.cost, NEAR * np.abs(best), NEAR)
    good = np.flatnonzero(value >= np.repeat(least, sizes))
    sizes = np.diff(curve.runs, append=len(curve.ends))[good]
    at = np.arange(sizes.sum()) + np.repeat(curve.runs[good] - (np.cumsum(sizes) - sizes), sizes)
    whole = curve.ends[at]  # a bin is told by its last entry
    run, at = np.repeat(good, sizes)[whole], at[whole]
    series = curve.run_series[run]
    accepted = curve.run_accepted[run] + curve.seen[at] - curve.seen[curve.runs[run]]
    near = _worth(curve, goals, lambda each: each[series], curve.run_tp[run], accepted) >= least[series]
    return _hull_midpoint(at[near], curve)


def _worth(curve: Curves, goals: Goals, spread: Spread, tp: Ints, accepted: Ints) -> Floats:
    """What is made greatest at some bins: F-beta (`gate.measures.f_beta`), or the cost turned round."""
    b = goals.beta * goals.beta
    gain = 1 + (b[0] if len(b) and (b == b[0]).all() else spread(b))
    # (1 + b²) tp / (tp + fp + b² positives): a bin holds an event, so nothing is divided by 0.
    value = gain * tp / (spread(b * curve.total) + accepted)
    if goals.cost.any():
        cost = spread(goals.fn) * (spread(curve.total) - tp) + spread(goals.fp) * (accepted - tp)
        value = np.where(spread(goals.cost), -cost, value)
    return value


def _greatest(value: Floats, starts: Ints) -> Floats:
    """Greatest value of each series, (S,), of which `starts` holds the first; -inf for one without."""
    best = np.full(len(starts) - 1, -np.inf)
    some = starts[1:] > starts[:-1]
    if some.any():
        best[some] = np.maximum.reduceat(value, starts[:-1][some])
    return best


def _hull_midpoint(at: Ints, curve: Curves) -> Range:
    """Of the near-optimal bins of each series, by their last entries (ascending): the one nearest their middle, the
    lowest, the highest.
    """
    edges = np.searchsorted(at, curve.entries.starts)
    some = edges[1:] > edges[:-1]
    chosen, low, high = (np.full(len(some), -1) for _ in range(3))
    if some.any():
        codes, begins, sizes = ~curve.entries.place[at] & 0xFFFF, edges[:-1][some], np.diff(edges)[some]
        logit = logits_of(codes)
        low[some], high[some] = codes[edges[1:][some] - 1], codes[begins]
        distance = np.abs(logit - np.repeat((logits_of(low[some]) + logits_of(high[some])) / 2, sizes))
        nearest = np.flatnonzero(distance == np.repeat(np.minimum.reduceat(distance, begins), sizes))
        # Of two equally near the higher, which stands first in its series.
        chosen[some] = codes[nearest[np.searchsorted(nearest, begins)]]
    return Range(chosen, low, high)


def _ends(bins: Ints, curve: Curves) -> tuple[Ints, Ints]:
    """Codes of the (lowest, highest) of the bins (ascending) of each series, (S,), -1 where there are none."""
    low, high = np.full(len(curve.total), -1), np.full(len(curve.total), -1)
    series = curve.series[bins]
    low[series] = curve.code[bins]  # bins descend in score: the last written is the lowest
    high[series[::-1]] = curve.code[bins][::-1]
    return low, high


@dataclass(frozen=True)
class Feasible:
    """range: of the thresholds that meet the constraint. stays: whether the incumbent's meets it and is near the best.

    attained: (n,) greatest value of the constrained quantity; closest: the code where it is.
    """

    range: Range
    stays: Mask
    attained: Floats
    closest: Ints


def best_feasible(curve: Curves, goals: Goals, shipped: Floats) -> Feasible:
    """Of the thresholds that meet their constraint by point estimate: the best, and those within `NEAR` of it."""
    series, accepted = curve.series, curve.accepted
    scored = np.zeros(len(curve.total), np.int64)
    scored[series] = accepted  # the last written is all
    least = np.where(goals.recall, np.minimum(FEWEST, np.minimum(curve.total, scored)), 0)
    precision, recall = curve.tp / accepted, curve.tp / np.maximum(curve.total, 1)[series]
    held, wanted = _turned(goals.recall[series], precision, recall)
    readable = goals.constrained[series] & (accepted >= least[series])
    held = np.where(readable, held, -1.0)
    met = readable & (held >= goals.level[series])
    best = _greatest(np.where(met, wanted, -np.inf), curve.starts)
    top = np.flatnonzero(met & (wanted == best[series]))
    attained = _greatest(held, curve.starts)
    tp, fp = curve.counts_at(codes_of(shipped))
    held_now, wanted_now = _turned(goals.recall, divide(tp, tp + fp), divide(tp, curve.total.astype(float)))
    with np.errstate(invalid="ignore"):
        stays = (tp + fp >= least) & (held_now >= goals.level) & (wanted_now >= best - NEAR)
    low, high = _ends(np.flatnonzero(met & (wanted >= (best - NEAR)[series])), curve)
    # Of equals the one that holds more; the last written is the greatest.
    code = np.full(len(curve.total), -1)
    order = top[np.lexsort((held[top], series[top]))]
    code[series[order]] = curve.code[order]
    closest = _ends(np.flatnonzero(readable & (held == attained[series])), curve)[0]
    return Feasible(Range(code, low, high), stays, np.where(closest >= 0, attained, np.nan), closest)


def _turned(swap: Mask, precision: Floats, recall: Floats) -> tuple[Floats, Floats]:
    """(what is constrained, what is made greatest)."""
    return np.where(swap, precision, recall), np.where(swap, recall, precision)


def codes_of(threshold: Floats) -> Ints:
    """`gate.lattice.threshold_code` of many; NaN is no threshold."""
    none = np.isnan(threshold)
    code = encode(np.where(none, 0.0, threshold)).astype(np.int64)
    return np.where(none, NO_THRESHOLD, np.where(threshold <= -LARGEST_LOGIT, LOWEST, code))


def logits_of(codes: Ints) -> Floats:
    """Thresholds of codes, finite; NaN for -1."""
    logits = np.minimum(np.maximum(decode(np.maximum(codes, LOWEST)), -LARGEST_LOGIT), LARGEST_LOGIT)
    logits[codes < 0] = np.nan
    return logits
