"""What stands behind a prediction's difference: curves, scores, errors, and which clips carry it, as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gate.bundle import Bundle
from gate.calibrate import OperatingPoint, threshold_codes
from gate.compare import Comparison, Question, Side
from gate.cores import each
from gate.curves import Curves, curves
from gate.judge.decision import Cell
from gate.judge.layout import Layout
from gate.lattice import MISSED, decode
from gate.measures import metric
from gate.report.moved import CLIPS, Chosen
from gate.run import Store
from gate.suite import Suite
from gate.table import ClipIndex, Entries, Floats, Ints, blocks, by_score, sums_at
from gate.tasks import task_of

#: Points of a curve, clips of a strip, named clips: enough for the eye, few enough for a thousand predictions.
POINTS, STRIP, NAMED = 64, 120, 5
#: Score histograms: bins of half a logit; what lies beyond falls into the ends.
LOGITS = np.arange(-6.0, 6.5, 0.5)
ERROR_BINS = 20
#: IoU levels of a detection that are drawn.
LEVELS = 3


@dataclass(frozen=True)
class Compared:
    """What a decision rested on. points: prediction -> operating point, of incumbent and candidate. device: where the
    programs ran. store: where it is noted what was drawn of them.
    """

    incumbent: Bundle
    candidate: Bundle
    suite: Suite
    before: Side
    after: Side
    comparison: Comparison
    questions: Sequence[Question]
    layout: Layout
    index: ClipIndex
    points: tuple[Mapping[str, OperatingPoint], Mapping[str, OperatingPoint]]
    device: str = "cpu"
    store: Store | None = None

    @cached_property
    def row_of(self) -> dict[tuple[str, str], int]:
        """(prediction, metric) -> row of the comparison, over the whole suite."""
        names = list(self.layout.rows)
        return {
            (names[self.questions[q].prediction], self.questions[q].metric): i
            for i, (q, where) in enumerate(zip(self.comparison.question, self.comparison.slice, strict=True))
            if where == 0
        }

    @cached_property
    def units(self) -> tuple[Ints, list[str]]:
        """(clips,) unit of the comparison of each clip, -1 outside validation; names of the units."""
        frames, wanted = self.suite.frames, self.suite.definition.suite.unit
        unit = np.full(len(frames.clips), -1)
        unit[frames.cell_clip] = self.index.clip
        names = [""] * self.index.clips
        for clip, place in enumerate(unit.tolist()):
            if place >= 0:
                first = int(np.argmax(frames.clip == clip)) if wanted else 0
                names[place] = str(frames.columns[wanted][first]) if wanted else frames.clips[clip]
        return unit, names


@dataclass(frozen=True)
class Curve:
    """Precision-recall curve of one bundle on the validation clips, with its operating point.

    recall, precision: at most 64 points, recall ascending. point: (recall, precision) at the threshold, or None.
    """

    bundle: Literal["incumbent", "candidate"]
    recall: tuple[float, ...]
    precision: tuple[float, ...]
    point: tuple[float, float] | None
    threshold: float | None
    average_precision: float | None


@dataclass(frozen=True)
class CurvePair:
    """Both bundles at one IoU level; 0 where there are no levels."""

    level: float
    incumbent: Curve
    candidate: Curve


@dataclass(frozen=True)
class Histogram:
    """Counts in equal bins from low to high, one row each. rows: (incumbent negatives, incumbent positives, candidate
    negatives, candidate positives) of scores, (incumbent, candidate) of errors.
    """

    low: float
    high: float
    rows: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Strip:
    """What each clip adds to a difference, worst first; positive is better. Cells that the eye would miss, those
    between the 60 worst and the 60 best, are left out: shown is less than `clips` then. named: the worst clips.
    """

    metric: str
    values: tuple[float, ...]
    named: tuple[str, ...]
    clips: int


@dataclass(frozen=True)
class Detail:
    """One prediction. curves: one pair an IoU level; errors: of the means by clip, for measured quantities."""

    prediction: str
    curves: tuple[CurvePair, ...]
    scores: Histogram | None
    errors: Histogram | None
    strip: Strip | None
    points: tuple[OperatingPoint | None, OperatingPoint | None]


def details(compared: Compared, leads: Sequence[Cell]) -> tuple[Detail, ...]:
    """Details of the predictions that these cells lead, in their order; of groups and unmeasured ones nothing."""
    wanted = [c for c in leads if c.prediction in compared.layout.rows and c.delta is not None]
    level = [series.level for series in compared.before.table.series]
    rows = {p: _levels(compared.layout.rows[p], level) for p in (c.prediction for c in wanted)}
    scored = {p: r for p, r in rows.items() if not compared.layout.decided[r[0]]}
    pairs, scores = _scored(compared, scored)
    errors = _errors(compared, [p for p in rows if p not in scored])
    return tuple(
        Detail(
            p := c.prediction,
            pairs.get(p, ()),
            scores.get(p),
            errors.get(p),
            _strip(compared, c),
            (compared.points[0].get(p), compared.points[1].get(p)),
        )
        for c in wanted
    )


def _levels(rows: tuple[int, ...], level: Sequence[float]) -> tuple[int, ...]:
    """First, middle and last of a prediction's series, without the row of similarities that oriented objects have."""
    rows = tuple(row for row in rows if level[row] or len(rows) == 1)
    return rows if len(rows) <= LEVELS else (rows[0], rows[len(rows) // 2], rows[-1])


def _scored(
    compared: Compared, rows: Mapping[str, tuple[int, ...]]
) -> tuple[dict[str, tuple[CurvePair, ...]], dict[str, Histogram]]:
    owner = {row: p for p, series in rows.items() for row in series}
    first = {series[0] for series in rows.values()}
    parts = blocks(compared.before.table.sizes, np.array(sorted(owner), dtype=np.int64))
    chosen = compared.index.clip >= 0

    def read(part: Ints) -> list[tuple[int, CurvePair | None, Histogram | None]]:
        entries = [by_score(side.table.take(part)) for side in (compared.before, compared.after)]
        drawn = [curves(e, chosen) for e in entries]
        counted = np.concatenate([_by_logit(e, len(part), chosen) for e in entries], axis=1)
        found = []
        for k, row in enumerate(part.tolist()):
            p = owner[row]
            sides = [
                _curve(curve, k, name, points[p].threshold if p in points else None)
                for curve, name, points in zip(drawn, ("incumbent", "candidate"), compared.points, strict=True)
            ]
            level = compared.before.table.series[row].level
            pair = None if sides[0] is None or sides[1] is None else CurvePair(level, sides[0], sides[1])
            bins = tuple(tuple(line) for line in counted[k].tolist())
            found.append((row, pair, Histogram(LOGITS[0], LOGITS[-1], bins) if row in first else None))
        return found

    pairs: dict[str, tuple[CurvePair, ...]] = {}
    scores: dict[str, Histogram] = {}
    for row, pair, histogram in (line for lines in each(read, parts) for line in lines):
        p = owner[row]
        if pair is not None:
            pairs[p] = (*pairs.get(p, ()), pair)
        if histogram is not None:
            scores[p] = histogram
    return pairs, scores


def _by_logit(entries: Entries, rows: int, cells: NDArray[np.bool_]) -> Ints:
    """(rows, 2, bins) events by label and logit; missed positives have no score."""
    bins = len(LOGITS) - 1
    used = cells[entries.cell] & (entries.code != MISSED)
    of_code = np.clip(np.searchsorted(LOGITS, decode(np.arange(1 << 16)), side="right") - 1, 0, bins - 1)
    place = (entries.series[used] * 2 + entries.positive[used]) * bins + of_code[entries.code[used]]
    return sums_at(place, entries.count[used], (rows, 2, bins)).astype(np.int64)


def _curve(curve: Curves, row: int, bundle: Literal["incumbent", "candidate"], threshold: float | None) -> Curve | None:
    part, total = curve.of(row), int(curve.total[row])
    tp, fp, code = curve.tp[part], curve.fp[part], curve.code[part]
    if not total or not len(tp):
        return None
    recall, precision = tp / total, tp / (tp + fp)
    # Evenly spaced in recall, so that the eye misses nothing; the ends are always there.
    at = np.unique(np.r_[0, np.searchsorted(recall, np.linspace(0, recall[-1], POINTS - 2)), len(tp) - 1])
    at = np.minimum(at, len(tp) - 1)
    accepted = int((code >= threshold_codes([threshold])[0]).sum())
    point = (float(recall[accepted - 1]), float(precision[accepted - 1])) if accepted else None
    # Area of the steps of this one curve; the metric itself is read from all of them at once.
    area = float(np.sum(np.diff(recall, prepend=0.0) * precision))
    return Curve(bundle, tuple(recall[at].tolist()), tuple(precision[at].tolist()), point, threshold, area)


def _errors(compared: Compared, predictions: Sequence[str]) -> dict[str, Histogram]:
    """Mean error of each clip, output minus truth, of predictions that measure a quantity."""
    wanted = {
        p for h in compared.suite.heads if "sum_error" in task_of(h).yields(h).provides for p in h.predictions
    }.intersection(predictions)
    if not wanted:
        return {}
    means = [_mean_errors(side, compared.index) for side in (compared.before, compared.after)]
    found = {}
    for p in wanted:
        row = compared.layout.rows[p][0]
        both = [m[row][np.isfinite(m[row])] for m in means]
        if not all(map(len, both)):
            continue
        reach = float(np.abs(np.concatenate(both)).max()) or 1.0
        bins = [np.histogram(values, ERROR_BINS, (-reach, reach))[0] for values in both]
        found[p] = Histogram(-reach, reach, tuple(tuple(b.tolist()) for b in bins))
    return found


def _mean_errors(side: Side, index: ClipIndex) -> Floats:
    """(S, J): mean error of each series in each clip, NaN without events."""
    every = np.ones(side.table.cells, bool)
    error, events = (index.sum(side.table.sums(name), every) for name in ("sum_error", "events"))
    return np.divide(error, events, out=np.full(error.shape, np.nan), where=events > 0)


def _strip(compared: Compared, lead: Cell) -> Strip | None:
    row = compared.row_of.get((lead.prediction, lead.metric))
    if row is None:
        return None
    d = compared.comparison.d[row]
    order = np.lexsort((np.arange(len(d)), d))
    order = order[compared.comparison.weight[row][order] > 0]
    shown = order if len(order) <= STRIP else np.r_[order[: STRIP // 2], order[-STRIP // 2 :]]
    names = compared.units[1]
    named = tuple(names[j] for j in shown[:NAMED].tolist() if d[j] < 0)
    return Strip(lead.metric, tuple(d[shown].tolist()), named, len(order))


def chosen(compared: Compared, leads: Sequence[Cell]) -> list[Chosen]:
    """Predictions whose frames are worth looking at, those proven or suspected to be worse, with their worst clips."""
    found = []
    for lead in leads:
        row = compared.row_of.get((lead.prediction, lead.metric))
        if row is None or not (lead.verdict == "regressed" or lead.suspect):
            continue
        clips, share = _worst_clips(compared, compared.comparison.d[row])
        points = (side.get(lead.prediction) for side in compared.points)
        before, after = (None if p is None else p.threshold for p in points)
        what = metric(lead.metric)
        # Only a margin in the head's own unit says how much of an error matters.
        tolerance = lead.margin if what.unit is None and not what.unitless else None
        found.append(Chosen(lead.prediction, before, after, clips, share, tolerance))
    return found


def _worst_clips(compared: Compared, d: Floats) -> tuple[tuple[int, ...], float]:
    """Clips, by position in the suite, that lost most, and the part of all losses that their units carry."""
    losers = [int(j) for j in np.lexsort((np.arange(len(d)), d)) if d[j] < 0]
    unit = compared.units[0]
    clips = [int(clip) for j in losers[:CLIPS] for clip in np.flatnonzero(unit == j)][:CLIPS]
    kept = d[sorted({int(unit[clip]) for clip in clips})].sum() if clips else 0.0
    return tuple(clips), float(kept / d[losers].sum()) if losers else 0.0
