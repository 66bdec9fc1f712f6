"""Slow, plain twins of the statistics: loops over raw events in float64, each as its definition says.

A release is a list of predictions, a prediction a list of clips, a clip a list of events. What `gate` does with
histograms, matrix products and closed forms is done here by counting, by leaving a clip out, by trying every sign.
At the end: the same releases as the product's own evidence.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, product

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from gate.compare import Side
from gate.evidence import fixed
from gate.heads import Series
from gate.lattice import MISSED, encode
from gate.stacked import Stacked
from gate.suite import Slice
from gate.table import ClipIndex, EvidenceTable, empty, histogram, stack

PARTS = ("day", "night")
#: A part is 0 or 1 by light; with the sky as a second attribute, 2 and 3 are the same under a wet one.
PAIRED = {
    "all": (0, 1, 2, 3),
    "light=day": (0, 2),
    "light=night": (1, 3),
    "sky=dry": (0, 1),
    "sky=wet": (2, 3),
    "light=day & sky=dry": (0,),
    "light=day & sky=wet": (2,),
    "light=night & sky=dry": (1,),
    "light=night & sky=wet": (3,),
}
NAN = float("nan")
#: A flip that comes this close to the statistic counts as reaching it: the product allows for its float32 product.
TIE = 1e-5


@dataclass(frozen=True)
class Event:
    """One scored event. score: a logit, None for a positive that got none; part: where it belongs, see PARTS."""

    score: float | None
    positive: bool
    part: int = 0


@dataclass(frozen=True)
class Measured:
    """One measured value: its error, in the unit of the head."""

    error: float
    part: int = 0


Clips = Sequence[Sequence[Event | Measured]]
Counts = NDArray[np.int64]


def within(clips: Clips, part: int | Collection[int] | None) -> list[list[Event | Measured]]:
    """The clips with the events of one part only, or of several; None for all."""
    parts = (part,) if isinstance(part, int) else part
    return [[e for e in clip if parts is None or e.part in parts] for clip in clips]


def without(clips: Clips, j: int) -> list[Sequence[Event | Measured]]:
    return [clip for k, clip in enumerate(clips) if k != j]


def counts(clips: Clips, threshold: float | None) -> tuple[int, int, int, int]:
    """(tp, fp, fn, tn): a score at or above the threshold is accepted, and nothing is without one."""
    tp = fp = fn = tn = 0
    for clip in clips:
        for event in clip:
            assert isinstance(event, Event)
            accepted = threshold is not None and event.score is not None and event.score >= threshold
            if event.positive:
                tp, fn = tp + accepted, fn + (not accepted)
            else:
                fp, tn = fp + accepted, tn + (not accepted)
    return tp, fp, fn, tn


def fraction(metric: str, clips: Clips, threshold: float | None) -> tuple[float, float]:
    """(numerator, denominator) of a ratio metric."""
    if metric in ("mae", "brier", "log_loss"):
        losses = [loss(metric, e) for clip in clips for e in clip]
        return sum(losses), len(losses)
    tp, fp, fn, tn = counts(clips, threshold)
    match metric:
        case "precision":
            return tp, tp + fp
        case "recall":
            return tp, tp + fn
        case "iou":
            return tp, tp + fp + fn
        case "accuracy":
            return tp + tn, tp + fp + fn + tn
    beta = float(metric[1:])
    return (1 + beta**2) * tp, (1 + beta**2) * tp + beta**2 * fn + fp


def loss(metric: str, event: Event | Measured) -> float:
    if isinstance(event, Measured):
        return abs(event.error)
    assert event.score is not None
    if metric == "brier":
        return (float(special.expit(event.score)) - event.positive) ** 2
    wrong = -event.score if event.positive else event.score
    return math.log1p(math.exp(-abs(wrong))) + max(wrong, 0.0)


def value(metric: str, clips: Clips, threshold: float | None = None) -> float:
    """The metric over all events of these clips, NaN where it is not defined."""
    if metric == "average_precision":
        return weighted_ap(clips, [1.0] * len(clips))
    if metric == "coco_ap":
        return coco_ap(clips)
    if metric == "rmse":
        squares = [e.error**2 for clip in clips for e in clip if isinstance(e, Measured)]
        return math.sqrt(sum(squares) / len(squares)) if squares else NAN
    numerator, denominator = fraction(metric, clips, threshold)
    return numerator / denominator if denominator else NAN


def weighted_ap(clips: Clips, weights: Sequence[float]) -> float:
    """Step-wise average precision when each event of clip j counts weights[j] times."""
    events = [(e, w) for clip, w in zip(clips, weights, strict=True) for e in clip]
    total = sum(w for e, w in events if e.positive)
    if total == 0:
        return NAN
    area = tp = accepted = 0.0
    scored = sorted(((e.score, e.positive, w) for e, w in events if e.score is not None), reverse=True)
    for _, group in groupby(scored, key=lambda event: event[0]):
        equal = list(group)
        gained = sum(w for _, positive, w in equal if positive)
        tp, accepted = tp + gained, accepted + sum(w for *_, w in equal)
        area += gained / total * tp / accepted
    return area


def coco_ap(clips: Clips) -> float:
    """Mean over recalls 0, 0.01, … 1 of the best precision at that recall or beyond."""
    events = [e for clip in clips for e in clip]
    total = sum(e.positive for e in events)
    if total == 0:
        return NAN
    points = []
    for score in {e.score for e in events if e.score is not None}:
        accepted = [e.positive for e in events if e.score is not None and e.score >= score]
        points.append((sum(accepted) / total, sum(accepted) / len(accepted)))
    return sum(max((p for r, p in points if r >= x), default=0.0) for x in np.linspace(0.0, 1.0, 101)) / 101


LOWER_IS_BETTER = ("mae", "brier", "log_loss", "rmse")
LEFT_OUT = ("coco_ap", "rmse")
OF_EVENTS = (*LOWER_IS_BETTER, "accuracy")


# Random releases.


def a_truth(
    rng: np.random.Generator, clips: int, *, least: int = 0, most: int = 8, share: float = 0.5, parts: int = 2
) -> list[list[Event]]:
    """Labels of `clips` clips, each with `least` to `most` events; scores are 0."""
    sizes = rng.integers(least, most + 1, clips)
    return [[Event(0.0, bool(rng.random() < share), int(rng.integers(parts))) for _ in range(n)] for n in sizes]


def answered(
    rng: np.random.Generator,
    truth: Sequence[Sequence[Event]],
    *,
    quality: float = 1.0,
    noise: float = 1.0,
    missed: float = 0.0,
) -> list[list[Event]]:
    """Scores around the truth, in quarters, so that some are equal and all are exact on the lattice."""

    def score(event: Event) -> float | None:
        if event.positive and rng.random() < missed:
            return None
        return round(4 * (quality * (2 * event.positive - 1) + noise * float(rng.normal()))) / 4

    return [[replace(e, score=score(e)) for e in clip] for clip in truth]


@dataclass(frozen=True)
class Twin:
    """One cell by definition. d, weight: one entry a clip, of the clips that hold anything 0 elsewhere."""

    incumbent: float
    candidate: float
    delta: float
    d: tuple[float, ...]
    weight: tuple[float, ...]
    se: float
    df: float
    lost: float
    positives: int
    clips: int
    effective: float

    def shifted(self, effect: float) -> list[float]:
        return [d + effect * w for d, w in zip(self.d, self.weight, strict=True)]

    def gained(self, effect: float) -> list[float]:
        return [-d + effect * w for d, w in zip(self.d, self.weight, strict=True)]

    def bound(self, confidence: float, side: int = -1) -> float:
        """Lower bound of delta, or with side = 1 its upper one (method A6), wider on the side that clips lean to.

        Johnson 1978, t (x - mu) with mu3 (1 + 2 t²) / (6 n s²): here the cubes and the error are of sums over clips.
        """
        t = float(stats.t.ppf(confidence, self.df))
        error = math.sqrt(self.se**2 + 2 * self.lost**2)
        cubes = sum((d - self.delta * w) ** 3 for d, w in zip(self.d, self.weight, strict=True))
        lean = cubes * (1 + 2 * t**2) / (6 * error**2) if error else 0.0
        return self.delta + side * (t * error + max(side * lean, 0.0))


def twin(metric: str, a: Clips, b: Clips, at_a: float | None = None, at_b: float | None = None) -> Twin:
    """Incumbent `a` against candidate `b`, each at its threshold."""
    sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
    theta_a, theta_b = value(metric, a, at_a), value(metric, b, at_b)
    delta = sign * (theta_b - theta_a)
    n = len(a)
    support = [sum(metric in OF_EVENTS or e.positive for e in clip) for clip in a]
    total = sum(support)
    if metric in LEFT_OUT or metric == "average_precision":
        shares = [s / total if total else NAN for s in support]
        present = [bool(a[j]) or bool(b[j]) for j in range(n)]
    else:
        d_a, d_b = ([fraction(metric, [c], t)[1] for c in clips] for clips, t in ((a, at_a), (b, at_b)))
        shares = [(_over(d_a[j], sum(d_a)) + _over(d_b[j], sum(d_b))) / 2 for j in range(n)]
        present = [d_a[j] > 0 or d_b[j] > 0 for j in range(n)]

    def delta_without(j: int) -> float:
        return sign * (value(metric, without(b, j), at_b) - value(metric, without(a, j), at_a))

    k = sum(present)
    weight = shares
    if metric == "average_precision":
        d = [_ap_influence(b, j) - _ap_influence(a, j) + delta * shares[j] for j in range(n)]
        lone = any(share == 1 for share in shares)
        left_out = [] if lone else [(d[j] - delta * shares[j]) / (1 - shares[j]) for j in range(n)]
        se = math.sqrt((k - 1) / k * sum(x**2 for x in left_out)) if k > 1 and not lone else NAN
    else:
        left = [delta_without(j) if present[j] else NAN for j in range(n)]
        jackknife = sum((left[j] - delta) ** 2 for j in range(n) if present[j])
        se = math.sqrt((k - 1) / k * jackknife) if k > 1 else NAN
        if metric in LEFT_OUT:
            mean = sum(left[j] for j in range(n) if present[j]) / k if k else NAN
            d = [delta / k - (k - 1) / k * (left[j] - mean) if present[j] else 0.0 for j in range(n)]
            weight = [1 / k if present[j] else 0.0 for j in range(n)]
        else:
            d = [_ratio_part(metric, a, b, j, at_a, at_b, sign, (theta_a + theta_b) / 2) for j in range(n)]
    squares = sum(s**2 for s in support)
    return Twin(
        theta_a,
        theta_b,
        delta,
        tuple(d),
        tuple(weight),
        se,
        _over(sum(w**2 for w in shares) ** 2, sum(w**4 for w in shares)),
        one_event(metric, a, at_a, theta_a),
        total,
        sum(s > 0 for s in support),
        total**2 / squares if squares else 0.0,
    )


def _over(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else NAN


def _ratio_part(
    metric: str, a: Clips, b: Clips, j: int, at_a: float | None, at_b: float | None, sign: float, middle: float
) -> float:
    """[n_Bj - mid d_Bj] / D_B - [n_Aj - mid d_Aj] / D_A (method A2)."""
    parts = []
    for clips, threshold in ((b, at_b), (a, at_a)):
        n, d = fraction(metric, [clips[j]], threshold)
        parts.append(_over(n - middle * d, fraction(metric, clips, threshold)[1]))
    return sign * (parts[0] - parts[1])


def _ap_influence(clips: Clips, j: int, step: float = 1e-5) -> float:
    """d AP / d (weight of clip j), by central differences."""
    up, down = ([1.0 + sign * step * (k == j) for k in range(len(clips))] for sign in (1, -1))
    return (weighted_ap(clips, up) - weighted_ap(clips, down)) / (2 * step)


def one_event(metric: str, a: Clips, threshold: float | None, theta: float) -> float:
    """Effect of one lost event (method A6, c1)."""
    if metric == "rmse":
        return _over(theta, math.sqrt(2) * sum(len(clip) for clip in a))
    if metric in LEFT_OUT or metric == "average_precision":
        return _over(1.0, sum(e.positive for clip in a for e in clip if isinstance(e, Event)))
    total = fraction(metric, a, threshold)[1]
    if metric in LOWER_IS_BETTER:
        losses = [loss(metric, e) for clip in a for e in clip]
        return _over(float(np.std(losses)), total) if losses else NAN
    if metric == "precision":
        return _over(theta, total)
    if metric.startswith("f"):
        return _over(1 + float(metric[1:]) ** 2 - theta, total)
    return _over(1.0, total)


def step_down(
    cells: Sequence[Sequence[float]], signs: Iterable[Sequence[int]], *, extra: int, tie: float = TIE
) -> list[float]:
    """Adjusted p-values of "the sum is negative", by trying every sign vector (method A5).

    extra: 1 when the sign vectors are a random sample, for the one that was observed; 0 when they are all there are.
    """
    scaled = [[x / math.sqrt(sum(y**2 for y in cell)) for x in cell] for cell in cells]
    order = sorted(range(len(cells)), key=lambda k: sum(scaled[k]))
    observed = [-sum(scaled[k]) for k in order]
    reached, tried = [extra] * len(order), extra
    rows = np.array([scaled[k] for k in order])
    for vector in signs:
        flipped = [-float(x) for x in rows @ np.array(vector, dtype=float)]
        tried += 1
        best = -math.inf
        for k in reversed(range(len(order))):
            best = max(best, flipped[k])
            reached[k] += best >= observed[k] - tie
    p = [0.0] * len(order)
    worst = 0.0
    for k, cell in enumerate(order):
        worst = max(worst, reached[k] / tried)
        p[cell] = worst
    return p


def all_signs(clips: int) -> Iterable[tuple[int, ...]]:
    return product((1, -1), repeat=clips)


def is_measured(cell: Twin) -> bool:
    return math.isfinite(cell.delta) and math.isfinite(cell.se) and cell.clips >= 10


def may_be_tested(cell: Twin) -> bool:
    # A numerical derivative is not exactly zero where nothing differs.
    differing = [abs(d) for d in cell.d if abs(d) > 1e-9]
    return is_measured(cell) and len(differing) >= 10 and sum(differing) ** 2 >= 6 * sum(d**2 for d in differing)


# The same releases as the product's own evidence.


def index_of(clips: int, parts: int = 2) -> ClipIndex:
    return ClipIndex(np.repeat(np.arange(clips), parts), clips)


def paired_slices_of(clips: int) -> list[Slice]:
    """Slices of two attributes and of their pairs; four cells a clip."""
    part = np.tile(np.arange(4), clips)
    return [Slice(name, np.isin(part, parts)) for name, parts in PAIRED.items()]


def slices_of(clips: int) -> list[Slice]:
    part = np.tile(np.arange(len(PARTS)), clips)
    parts = [Slice(f"light={name}", part == k) for k, name in enumerate(PARTS)]
    return [Slice("all", np.ones(len(part), bool)), *parts]


def evidence(predictions: Sequence[Clips], parts: int = 2) -> EvidenceTable:
    """Scored predictions and measured ones, one series each."""
    return stack([_one(f"cam.h[{k}]", clips, parts) for k, clips in enumerate(predictions)])


def _one(name: str, clips: Clips, parts: int) -> EvidenceTable:
    cells = len(clips) * parts
    placed = [(j * parts + e.part, e) for j, clip in enumerate(clips) for e in clip]
    scored = [(cell, e) for cell, e in placed if isinstance(e, Event)]
    errors = [(cell, e.error) for cell, e in placed if isinstance(e, Measured)]
    names = ("frames",) if scored else ("events", "frames", "sum_abs_error", "sum_square_error")
    table = empty([Series(name, 0.0)], cells, names)
    for cell, error in errors:
        sums = np.array([1, 1, int(fixed(np.abs(error))), int(fixed(np.square(error)))])
        table.moments[0, cell] += sums
    if not scored:
        return table
    codes = [MISSED if e.score is None else int(encode(e.score)) for _, e in scored]
    keys, counted = histogram(
        np.zeros(len(scored), np.int64),
        np.array([cell for cell, _ in scored]),
        np.array([e.positive for _, e in scored]),
        np.array(codes, np.uint16),
    )
    return EvidenceTable(table.series, cells, keys, counted, names, table.moments)


def side(predictions: Sequence[Clips], thresholds: Sequence[float | None], parts: int = 2) -> Side:
    codes = [0x10000 if t is None else int(encode(t)) for t in thresholds]
    return Side(Stacked.of(evidence(predictions, parts)), np.array(codes, np.int64))


def side_of_counts(tp: Counts, fp: Counts, fn: Counts) -> Side:
    """A bundle whose heads decide for themselves; tp, fp, fn: (predictions, clips), one cell a clip."""
    names = ("fn", "fp", "frames", "tp")
    zero = empty([Series(f"cam.h[{k}]", 0.0) for k in range(len(tp))], tp.shape[1], names)
    moments = np.stack([fn, fp, np.ones_like(tp), tp], axis=2).astype(np.int64)
    table = EvidenceTable(zero.series, zero.cells, zero.keys, zero.counts, names, moments)
    return Side(Stacked.of(table), np.full(len(tp), 0x10000))
