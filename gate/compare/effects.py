"""What each clip contributes to the difference between two bundles, for every metric.

Everything is turned so that higher is better. For m predictions on J clips, contributions satisfy

    sum_j d_j + s * sum_j weight_j = delta + s            (method A2, A3, A4)

so one array of d and one of weights serve every null hypothesis `delta >= -s`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gate.curves import (
    Curves,
    average_precision,
    coco_average_precision,
    curves,
    orientation_similarity,
    running_from_end,
)
from gate.measures import Metric, divide
from gate.table import ClipIndex, Entries, Floats, Ints, entries_of, sums_at

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Effects:
    """One metric on one slice for m predictions.

    incumbent, candidate: (m,) values in the metric's own unit, NaN when not defined. delta: (m,) higher is better.
    d, weight: (m, J). se: (m,) leave-one-clip-out standard error. df: (m,) Satterthwaite degrees of freedom.
    lost: (m,) effect of one lost event (method A6, c1).
    """

    incumbent: Floats
    candidate: Floats
    delta: Floats
    d: Floats
    weight: Floats
    se: Floats
    df: Floats
    lost: Floats


def ratio_effects(metric: Metric, a: Mapping[str, Floats], b: Mapping[str, Floats]) -> Effects:
    """Effects of a ratio metric; a, b: name -> (m, J) sums by clip of incumbent and candidate."""
    sign = -1.0 if metric.lower_is_better else 1.0
    n_a, d_a = _ratio(metric, a)
    n_b, d_b = _ratio(metric, b)
    total_a, total_b = d_a.sum(axis=1), d_b.sum(axis=1)
    theta_a, theta_b = divide(n_a.sum(axis=1), total_a), divide(n_b.sum(axis=1), total_b)
    # Own denominators: a moved operating point then costs nothing to first order (method A2).
    share_a, share_b = divide(d_a, total_a[:, None]), divide(d_b, total_b[:, None])
    middle = sign * (theta_a + theta_b)[:, None] / 2
    # One bracket a bundle: what is equal in both cancels to 0 exactly, and a clip without difference has none.
    part_a = divide(sign * n_a, total_a[:, None]) - middle * share_a
    part_b = divide(sign * n_b, total_b[:, None]) - middle * share_b
    d = part_b - part_a
    without_a = divide(n_a.sum(axis=1, keepdims=True) - n_a, total_a[:, None] - d_a)
    without_b = divide(n_b.sum(axis=1, keepdims=True) - n_b, total_b[:, None] - d_b)
    delta = sign * (theta_b - theta_a)
    se = _jackknife(sign * (without_b - without_a), delta, (d_a > 0) | (d_b > 0))
    weight = (share_a + share_b) / 2
    return Effects(theta_a, theta_b, delta, d, weight, se, _satterthwaite(weight), _lost(metric, a, theta_a, total_a))


def _ratio(metric: Metric, sums: Mapping[str, Floats]) -> tuple[Floats, Floats]:
    assert metric.ratio is not None
    numerator, denominator = metric.ratio(sums)
    return np.asarray(numerator, float), np.asarray(denominator, float)


def _jackknife(without: Floats, delta: Floats, present: Mask) -> Floats:
    """se² = (k-1)/k sum_j (delta_(-j) - delta)² over the k clips with any denominator; NaN when one is undefined."""
    k = present.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        squares = np.where(present, (without - delta[:, None]) ** 2, 0.0).sum(axis=1)
        return np.where(k > 1, np.sqrt((k - 1) / k * squares), np.nan)


def _satterthwaite(weight: Floats) -> Floats:
    """df = (sum w²)² / sum w⁴: degrees of freedom with full intra-clip correlation (method A6)."""
    return divide((weight**2).sum(axis=1) ** 2, (weight**4).sum(axis=1))


def _lost(metric: Metric, a: Mapping[str, Floats], theta: Floats, total: Floats) -> Floats:
    """Effect on the metric of one event lost."""
    if metric.squares:
        # A mean error: one event more moves it by its own spread.
        square = divide(a[metric.squares].sum(axis=1), total)
        return divide(np.sqrt(np.clip(square - theta**2, 0.0, None)), total)
    if not metric.unitless:
        return divide(theta, total)  # no squares are kept: errors spread about as wide as their mean
    if metric.name == "precision":
        return divide(theta, total)
    if metric.beta:
        return divide(1 + metric.beta**2 - theta, total)
    return divide(np.ones_like(total), total)


def sum_effects(metric: Metric, a: Mapping[str, Floats], b: Mapping[str, Floats]) -> Effects:
    """Effects of a metric of sums; a, b: name -> (m, J) sums by clip of incumbent and candidate."""
    return (ratio_effects if metric.kind == "ratio" else smooth_effects)(metric, a, b)


def smooth_effects(metric: Metric, a: Mapping[str, Floats], b: Mapping[str, Floats]) -> Effects:
    """Effects of any function of sums, by leaving one clip out (method A4); a, b: name -> (m, J) sums by clip."""
    assert metric.value is not None
    value_a, value_b = (metric.value({k: v.sum(axis=1) for k, v in s.items()}) for s in (a, b))
    left_a, left_b = (metric.value({k: v.sum(axis=1, keepdims=True) - v for k, v in s.items()}) for s in (a, b))
    present = a["events"] > 0
    # Of a mean-square root one event moves the value by about value / (sqrt(2) n), were the errors Gaussian.
    lost = divide(np.asarray(value_a), np.sqrt(2.0) * a["events"].sum(axis=1))
    weight = divide(a["events"], a["events"].sum(axis=1, keepdims=True))
    sign = -1.0 if metric.lower_is_better else 1.0
    return _left_out(value_a, value_b, sign * (left_b - left_a), sign, present, weight, lost)


def _left_out(
    value_a: Floats, value_b: Floats, without: Floats, sign: float, present: Mask, weight: Floats, lost: Floats
) -> Effects:
    delta = sign * (value_b - value_a)
    n = np.maximum(present.sum(axis=1), 1)[:, None]
    without = np.where(present, without, delta[:, None])
    mean = np.where(present, without, 0.0).sum(axis=1, keepdims=True) / n
    d = np.where(present, delta[:, None] / n - (n - 1) / n * (without - mean), 0.0)
    even = np.where(present, 1.0 / n, 0.0)
    se = _jackknife(without, delta, present)
    return Effects(value_a, value_b, delta, d, even, se, _satterthwaite(weight), lost)


@dataclass(frozen=True)
class ScoredSide:
    """Score histograms of one bundle: entries in curve order; index: validation clips of their cells."""

    entries: Entries
    index: ClipIndex

    def take(self, rows: Ints) -> ScoredSide:
        """The same of some series, in the order of `rows`."""
        return ScoredSide(entries_of(self.entries, rows.reshape(-1)), self.index)

    @cached_property
    def events(self) -> Floats:
        """(S, C) events of each cell."""
        return self._by_cell(self.entries.count)

    @cached_property
    def positives(self) -> Floats:
        """(S, C) positives of each cell."""
        return self._by_cell(self.entries.count * self.entries.positive)

    def _by_cell(self, counts: Ints) -> Floats:
        cells, entries = len(self.index.clip), self.entries
        return sums_at(entries.series * cells + entries.cell, counts, (entries.rows, cells))


#: Entries of curves that are worked out at once, while clips are left out: bounds memory, changes nothing else.
AT_ONCE = 1 << 17
#: Metrics of curves without influence values: clips are left out one by one.
_OF_CURVES = {"coco_ap": coco_average_precision, "aos": orientation_similarity}


@dataclass(frozen=True)
class CurveSide:
    """A metric of score histograms of one bundle, for m predictions: means over IoU levels; of `aos`, what the first
    series says.

    value: (m,). clip_values: (m, J), influence of each clip on average precision, or the value without it. positives,
    events: (m, J).
    """

    value: Floats
    clip_values: Floats
    positives: Floats
    events: Floats


def read_curves(metric: Metric, side: ScoredSide, cells: Mask, differs: Mask) -> CurveSide:
    """A metric of score histograms on some cells: average precision by influence values, others by leaving clips out.

    side: m predictions, of each its series, one an IoU level; of `aos` the second series holds similarities. differs:
    (m,) predictions whose evidence is another one on the other side; of all others no clip contributes anything: their
    clip values are 0, or NaN where there is no value without a clip, and nothing is worked out.
    """
    m, levels = len(differs), side.entries.rows // len(differs)
    of_curve = _OF_CURVES.get(metric.name)
    rows = np.repeat(differs, levels)
    inside = cells & (side.index.clip >= 0)
    curve = curves(side.entries, inside)
    positives, events = side.index.sum(side.positives, cells), side.index.sum(side.events, cells)
    clip_values = np.zeros(positives.shape)
    if of_curve is not None:
        clip_values[curve.total[:, None] == positives] = np.nan
    if differs.any():
        some = side.take(np.flatnonzero(rows))
        own = curve if differs.all() else curves(some.entries, inside)
        clip_values[rows] = _influence(some, own) if of_curve is None else _each_left_out(some, own, of_curve)

    def mean(values: Floats) -> Floats:
        of_levels = values.reshape(m, levels, *values.shape[1:])
        return of_levels[:, 0] if metric.name == "aos" else of_levels.mean(axis=1)

    return CurveSide(mean((of_curve or average_precision)(curve)), mean(clip_values), mean(positives), mean(events))


def curve_effects(metric: Metric, a: CurveSide, b: CurveSide) -> Effects:
    """Effects of a metric of score histograms."""
    total = a.positives.sum(axis=1)
    weight = divide(a.positives, total[:, None])
    lost = divide(np.ones_like(total), total)
    present = a.events + b.events > 0
    contributed = b.clip_values - a.clip_values
    if metric.name in _OF_CURVES:
        return _left_out(a.value, b.value, contributed, 1.0, present, weight, lost)
    delta = b.value - a.value
    # Influence values sum to zero; delta comes back through the positives (method A3).
    d = contributed + delta[:, None] * weight
    k = present.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        # Without clip j the positives are (1 - w_j) of all, so delta_(-j) - delta is -centred_j / (1 - w_j) to first
        # order; nothing can be said where one clip holds them all.
        centred = np.where(weight < 1, (d - delta[:, None] * weight) / (1 - weight), np.nan)
        se = np.where(k > 1, np.sqrt((k - 1) / k * (centred**2).sum(axis=1)), np.nan)
    return Effects(a.value, b.value, delta, d, weight, se, _satterthwaite(weight), lost)


def _by_clip(side: ScoredSide, curve: Curves, weights: Floats) -> Floats:
    """(S, J) sums of entry weights over the clips."""
    entries, index = curve.entries, side.index
    place = entries.series * index.clips + index.clip[entries.cell]
    return sums_at(place, weights, (entries.rows, index.clips))


def _influence(side: ScoredSide, curve: Curves) -> Floats:
    """(S, J) influence of each clip on average precision (method A3, checked against differentiation)."""
    accepted = np.maximum(curve.tp + curve.fp, 1).astype(float)
    total = np.maximum(curve.total, 1).astype(float)[curve.series]
    rest_fp = running_from_end(curve.positives * curve.fp / accepted**2, curve.starts)
    rest_tp = running_from_end(curve.positives * curve.tp / accepted**2, curve.starts)
    known = np.nan_to_num(average_precision(curve))
    up = (curve.tp / accepted + rest_fp - known[curve.series]) / total
    down = -rest_tp / total
    count, positive, series = curve.entries.count.astype(float), curve.entries.positive, curve.entries.series
    missed = -known / np.maximum(curve.total, 1)
    scored = curve.bin >= 0
    at = np.maximum(curve.bin, 0)
    if len(curve.code):
        per_event = np.where(scored, np.where(positive, up[at], down[at]), missed[series])
    else:
        per_event = missed[series]
    return _by_clip(side, curve, count * per_event)


def _each_left_out(side: ScoredSide, curve: Curves, value: Callable[[Curves], Floats]) -> Floats:
    """(S, J) a metric of curves without each clip."""
    entries, clip = curve.entries, side.index.clip
    every = np.ones(len(clip), bool)
    without = np.repeat(value(curve)[:, None], side.index.clips, axis=1)
    missing = np.unique(clip[entries.cell])  # without any other clip nothing is missing
    step = max(1, AT_ONCE // max(1, len(entries.keys)))
    for some in (missing[k : k + step] for k in range(0, len(missing), step)):
        without[:, some] = value(curves(entries.without(clip, some), every)).reshape(len(some), -1).T
    return without
