"""Cells in words and numbers: what the statistics said of each, as a verdict with its reason (method A7)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gate.calibrate import OperatingPoint
from gate.compare import MIN_CLIPS, Comparison, clips_needed, total_error
from gate.heads import Head
from gate.judge.decision import Cell, Tier, Verdict
from gate.judge.policy import Rule
from gate.judge.sentences import amount, p_text, spelled
from gate.measures import metric
from gate.table import Floats

Mask = NDArray[np.bool_]
#: An unadjusted p-value this small is suspect: listed, and to be acknowledged (method A7).
SUSPECT = 0.01


@dataclass(frozen=True)
class Facts:
    """What is known of each prediction apart from its numbers.

    broken, broken_before: prediction -> why, of candidate and incumbent. identical: predictions
    proven unreachable by the change. points_*: prediction -> operating point. must_pass: predictions with new errors
    on a zero-tolerance clip. threshold_free: prediction -> difference of average precision. counted: what the
    independent unit is called. unknown: predictions that their anchor lacks or broke.
    """

    broken: Mapping[str, str]
    broken_before: Mapping[str, str]
    identical: Collection[str]
    points_incumbent: Mapping[str, OperatingPoint]
    points_candidate: Mapping[str, OperatingPoint]
    must_pass: Collection[str]
    threshold_free: Mapping[str, float] = field(default_factory=dict)
    counted: str = "clip"
    unknown: Collection[str] = ()


@dataclass(frozen=True)
class Reference:
    """Arrays of one set of cells against one reference, (n,): the test, and the one-sided bounds of the
    difference, higher is better.
    """

    comparison: Comparison
    p: Floats
    p_raw: Floats
    p_gain: Floats
    statistic: Floats
    critical_value: Floats
    provable: Mask
    low: Floats
    high: Floats


@dataclass(frozen=True)
class Judged:
    """Arrays of one set of cells, (n,): what the statistics say, before anything is put into words.

    comparison: with the incumbent; seen: its statistics. since: the same against the anchors, where there are any.
    identical: cells that the change cannot reach. certified: proven non-inferior. alpha: of each cell's family.
    mdr: minimum detectable regression, NaN where no loss can be proven.
    """

    comparison: Comparison
    confidence: float
    margin: Floats
    effect: Floats
    seen: Reference
    since: Reference | None
    alpha: Floats
    certified: Mask
    identical: Mask
    mdr: Floats


def cells_of(
    j: Judged,
    predictions: Sequence[str],
    metrics: Sequence[str],
    rules: Sequence[Rule],
    slices: Sequence[str],
    owner: Mapping[str, tuple[Head, int]],
    facts: Facts,
) -> list[Cell]:
    """All cells; of each its prediction, metric, rule, slice. owner: prediction -> head, position in its channels."""
    heads = [owner[p][0] for p in predictions]
    asked = list(zip(predictions, metrics, rules, heads, slices, strict=True))
    said = [_judged(j, i, p, name, rule, head.unit, facts) for i, (p, name, rule, head, _) in enumerate(asked)]
    comparable = np.array([p not in facts.broken_before for p in predictions], dtype=bool)
    numbers = _numbers(j, metrics, [h.unit for h in heads], [verdict for verdict, *_ in said], comparable)

    def cell(i: int, prediction: str, name: str, rule: Rule, head: Head, where: str, told: Mapping[str, Any]) -> Cell:
        verdict, reason, needed, suspect = said[i]
        at_threshold = metric(name).at_threshold
        points = (facts.points_incumbent.get(prediction), facts.points_candidate.get(prediction))
        thresholds = [p.threshold if p is not None and at_threshold else None for p in points]
        return Cell(
            prediction=prediction,
            network=head.network,
            head=head.name,
            channel=head.channels[owner[prediction][1]] if len(head.channels) > 1 else None,
            task=head.task,
            slice=where,
            tier=rule.tier,
            verdict=verdict,
            reason=reason,
            suspect=suspect,
            acknowledge=suspect or (verdict == "not-measurable" and rule.tier == "supporting" and where == "all"),
            clips_needed=needed,
            threshold_incumbent=thresholds[0],
            threshold_candidate=thresholds[1],
            delta_threshold_free=facts.threshold_free.get(prediction) if at_threshold and where == "all" else None,
            impact="identical" if j.identical[i] else "reached",
            **told,
        )

    return [cell(i, *of, told) for i, (of, told) in enumerate(zip(asked, numbers, strict=True))]


def group_cells_of(j: Judged, names: Sequence[tuple[str, str, str]], sizes: Sequence[int], facts: Facts) -> list[Cell]:
    """Cells of declared groups. names: of each its group, metric and unit; sizes: its members."""
    verdicts: list[Verdict] = [_verdict(j, i, "supporting") for i in range(len(names))]
    units = [unit for *_, unit in names]
    numbers = _numbers(j, [name for _, name, _ in names], units, verdicts, np.ones(len(names), bool))

    def cell(i: int, group: str, name: str, unit: str, told: Mapping[str, Any]) -> Cell:
        verdict = verdicts[i]
        needed = _needed(j, i, guarded=False) if verdict == "undecided" else None
        return Cell(
            prediction=f"group:{group}",
            network="",
            head="",
            channel=None,
            task="group",
            slice="all",
            tier="supporting",
            verdict=verdict,
            reason=f"mean of {sizes[i]} members: {_reason(j, i, verdict, name, unit, needed, facts)}",
            suspect=False,
            clips_needed=needed,
            threshold_incumbent=None,
            threshold_candidate=None,
            impact="reached",
            **told,
        )

    return [cell(i, *of, told) for i, (of, told) in enumerate(zip(names, numbers, strict=True))]


def _judged(
    j: Judged, i: int, prediction: str, name: str, rule: Rule, unit: str, facts: Facts
) -> tuple[Verdict, str, int | None, bool]:
    """(verdict, reason, clips needed, suspect) by the table of the method, in its order."""
    c = j.comparison
    whole = bool(c.slice[i] == 0)
    if prediction in facts.broken:
        return "broken", facts.broken[prediction], None, False
    if why := _unmeasured(j, i, prediction, name, facts, "in validation" if whole else "in this slice"):
        return "not-measurable", why, None, False
    if prediction in facts.must_pass and whole and name == rule.metrics[0]:
        return "regressed", "new errors on a clip that must pass", None, False
    verdict = _verdict(j, i, rule.tier)
    needed, suspect = None, False
    since = None if j.since is None or prediction in facts.unknown else j.since
    if verdict == "undecided" and rule.tier == "critical" and whole and since and not np.isfinite(since.low[i]):
        return verdict, f"undecided: {spelled(name)} has no value on its anchor to compare with", None, False
    if verdict == "undecided":
        needed = _needed(j, i, guarded=rule.tier == "critical" and whole)
        suspect = rule.tier == "supporting" and whole and bool(c.delta[i] <= -j.margin[i] or j.seen.p_raw[i] <= SUSPECT)
    return verdict, _reason(j, i, verdict, name, unit, needed, facts), needed, suspect


def _numbers(
    j: Judged, metrics: Sequence[str], units: Sequence[str], verdicts: Sequence[Verdict], comparable: Mask
) -> Iterator[dict[str, Any]]:
    """Fields of each cell that are numbers; None for all that was not measured.

    comparable: of which the incumbent has a value at all.
    """
    c, whats = j.comparison, [metric(name) for name in metrics]
    lower = np.array([what.lower_is_better for what in whats], dtype=bool)
    sign = np.where(lower, -1.0, 1.0)
    shown = np.array([verdict not in ("broken", "not-measurable") for verdict in verdicts], dtype=bool)
    # What the candidate alone cannot be measured on was lost: the incumbent's value is told.
    lost = np.array([verdict == "not-measurable" for verdict in verdicts], dtype=bool) & comparable
    lost &= (c.clips >= MIN_CLIPS) & (c.fragile | ~np.isfinite(c.candidate))
    both = shown & np.isfinite(c.delta)
    since, every = j.since, np.ones(len(metrics), bool)
    nothing = [None] * len(metrics)
    columns: dict[str, Sequence[Any]] = {
        "metric": metrics,
        "unit": [unit_of(name, unit) for name, unit in zip(metrics, units, strict=True)],
        "lower_is_better": lower.tolist(),
        "margin": j.margin.tolist(),
        "clips": c.clips.tolist(),
        "frames": c.frames.astype(np.int64).tolist(),
        "positives": c.positives.astype(np.int64).tolist(),
        "incumbent": _told(c.incumbent, shown | lost),
        "candidate": _told(c.candidate, shown),
        "delta": _told(sign * c.delta, shown),
        "delta_worse": _told(c.delta, shown),
        "ci_low": _told(np.where(lower, -j.seen.high, j.seen.low), both),
        "ci_high": _told(np.where(lower, -j.seen.low, j.seen.high), both),
        "p_adjusted": _told(j.seen.p, every),
        "mdr": _told(j.mdr, shown),
        "provable": j.seen.provable.tolist(),
        "anchor": _told(since.comparison.incumbent, shown) if since else nothing,
        "delta_anchor": _told(sign * since.comparison.delta, shown) if since else nothing,
        "p_anchor": _told(since.p, shown) if since else nothing,
        "gained_since_anchor": (shown & (since.p_gain <= j.alpha)).tolist() if since else [False] * len(metrics),
        "delta_at_incumbent_threshold": _told(c.at_incumbent - c.incumbent, shown),
    }
    return (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))


def _told(values: Floats, where: Mask) -> list[float | None]:
    """None where there is nothing to tell, or no number; -0.0, which a turned sign leaves behind, is 0."""
    told = where & np.isfinite(values)
    return [value if tell else None for value, tell in zip((values + 0.0).tolist(), told.tolist(), strict=True)]


def _unmeasured(j: Judged, i: int, prediction: str, name: str, facts: Facts, where: str) -> str:
    """Why a cell cannot be measured, or ""."""
    c, what = j.comparison, metric(name)
    support = "positives" if what.support == "positives" else "frames with a truth"
    if prediction in facts.broken_before:
        return f"{facts.broken_before[prediction]}: there is nothing to compare with"
    if what.at_threshold:
        for who, points in (("incumbent", facts.points_incumbent), ("candidate", facts.points_candidate)):
            point = points.get(prediction)
            if point is not None and point.threshold is None:
                return f"no operating point for the {who}: {point.status.replace('_', ' ')} on the calibration clips"
    if not c.positives[i]:
        return f"no {support} {where}"
    if j.identical[i]:
        return ""  # proven the same, however few clips there are
    if c.clips[i] < MIN_CLIPS:
        return f"{support} in only {c.clips[i]} {facts.counted}s {where}; {MIN_CLIPS} are needed"
    for who, value in (("incumbent", c.incumbent[i]), ("candidate", c.candidate[i])):
        if not np.isfinite(value):
            return f"{spelled(name)} of the {who} is not defined {where}: it accepts nothing"
    if not np.isfinite(c.se[i]):
        whose = "the candidate's" if c.fragile[i] else "the"
        return f"no error can be given {where}: a single {facts.counted} decides {whose} value"
    return ""


def _verdict(j: Judged, i: int, tier: Tier) -> Verdict:
    if j.identical[i]:
        return "non-inferior"
    if _worse(j, i) is not None:
        return "regressed"
    if j.certified[i]:
        return "improved" if j.seen.p_gain[i] <= j.alpha[i] else "non-inferior"
    # A critical cell must be certified whatever gain is seen; elsewhere a proven gain may stand without the floor.
    return "improved" if j.seen.p_gain[i] <= j.alpha[i] and tier != "critical" else "undecided"


def _worse(j: Judged, i: int) -> Reference | None:
    """The reference that the cell is proven worse than: the incumbent, else its anchor."""
    for reference in (j.seen, j.since):
        if reference is not None and reference.p[i] <= j.alpha[i]:
            return reference
    return None


def _open(j: Judged, i: int) -> Reference:
    """The reference that stands in the way of a cell that is undecided: the incumbent, unless only the anchor does."""
    if j.since is not None and j.seen.low[i] > -j.margin[i] >= j.since.low[i]:
        return j.since
    return j.seen


def unit_of(name: str, head_unit: str) -> str:
    """Unit of a metric: "" for shares in 0..1, else its own or the head's."""
    what = metric(name)
    if what.unitless:
        return ""
    return head_unit if what.unit is None else what.unit


def _needed(j: Judged, i: int, *, guarded: bool) -> int | None:
    reference = _open(j, i) if guarded else j.seen
    c = reference.comparison
    return clips_needed(
        delta=float(c.delta[i]),
        error=float(total_error(c.se[i], c.lost[i])),
        lost=float(c.lost[i]),
        margin=float(j.margin[i]),
        effect=float(j.effect[i]),
        critical=float(reference.critical_value[i]),
        confidence=j.confidence,
        clips=int(c.clips[i]),
        guarded=float(abs(c.incumbent[i])) if guarded else None,
        effective=float(c.effective[i]),
    )


def _reason(j: Judged, i: int, verdict: Verdict, name: str, head_unit: str, needed: int | None, facts: Facts) -> str:
    if j.identical[i]:
        return "identical by construction: the change cannot reach it"
    reference = _worse(j, i) or (_open(j, i) if verdict == "undecided" else j.seen)
    c, unit = reference.comparison, unit_of(name, head_unit)
    since = "" if reference is j.seen else " since its anchor"
    what, size = spelled(name), amount(abs(c.delta[i]), unit, metric(name).unitless)
    clips = f"{int(c.clips[i])} {facts.counted}s"
    match verdict:
        case "regressed":
            return f"lost {size} of {what}{since} on {clips}, adjusted p {p_text(reference.p[i])}"
        case "improved":
            return f"gained {size} of {what} on {clips}, adjusted p {p_text(j.seen.p_gain[i])}"
        case "non-inferior":
            worst = amount(max(-j.seen.low[i], 0.0), unit, metric(name).unitless)
            return f"at most {worst} of {what} lost, margin {amount(j.margin[i], unit, metric(name).unitless)}"
        case _:
            support = "positives" if metric(name).support == "positives" else "frames with a truth"
            more = f"no number of {facts.counted}s like these decides it"
            if needed:
                more = f"needs about {needed:,} more {facts.counted}s with {support}"
            moved = "lost" if c.delta[i] < 0 else "gained"
            seen = f"{moved} {size} of {what}" if c.delta[i] else f"no difference in {what}"
            return f"undecided: {more} ({seen}{since} on {clips}, not proven either way)"
