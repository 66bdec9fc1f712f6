"""Comparison + policy -> cells with verdicts (method A7), every prediction x metric x slice, in that order."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gate.calibrate import OperatingPoint
from gate.compare import (
    MIN_CLIPS,
    Comparison,
    Question,
    aggregate,
    clips_needed,
    detectable,
    eligible,
    enough_events,
    guard_holds,
    half_width,
    prove_loss,
    total_error,
)
from gate.heads import Head
from gate.judge.decision import Cell, Tier, Verdict
from gate.judge.policy import Policy, Rule, members
from gate.judge.sentences import amount, p_text, spelled
from gate.measures import metric
from gate.table import Floats

Mask = NDArray[np.bool_]
FAMILIES = ("critical", "supporting", "slices", "groups")


@dataclass(frozen=True)
class Facts:
    """What is known of each prediction apart from its numbers.

    broken, broken_before: prediction -> why, of candidate and incumbent. identical: predictions
    proven unreachable by the change. points_*: prediction -> operating point. must_pass: predictions with new errors
    on a zero-tolerance clip.
    """

    broken: Mapping[str, str]
    broken_before: Mapping[str, str]
    identical: Collection[str]
    points_incumbent: Mapping[str, OperatingPoint]
    points_candidate: Mapping[str, OperatingPoint]
    must_pass: Collection[str]


@dataclass(frozen=True)
class _Judged:
    """Arrays of one set of cells, (n,): what the statistics say, before anything is put into words."""

    comparison: Comparison
    margin: Floats
    effect: Floats
    tested: Mask
    p: Floats
    p_raw: Floats
    p_gain: Floats
    critical_value: Floats
    alpha: Floats
    provable: Mask
    half: Floats
    certified: Mask
    identical: Mask


def judge(
    comparison: Comparison,
    questions: Sequence[Question],
    heads: Sequence[Head],
    rules: Mapping[str, Rule],
    policy: Policy,
    slices: Sequence[str],
    facts: Facts,
    signs: NDArray[np.int8],
) -> tuple[Cell, ...]:
    """All cells: predictions in suite order, metrics in policy order, slices in suite order, then groups."""
    owner = {p: (head, k) for head in heads for p, k in zip(head.predictions, head.judged, strict=True)}
    predictions = list(owner)
    of_cell = [predictions[questions[q].prediction] for q in comparison.question]
    rule_of = [rules[p] for p in of_cell]
    margin = np.array(
        [r.margins[r.metrics.index(questions[q].metric)] for r, q in zip(rule_of, comparison.question, strict=True)]
    )
    effect = np.array([policy.effect(questions[q].metric, m) for q, m in zip(comparison.question, margin, strict=True)])
    asked = [questions[q].metric for q in comparison.question]
    identical = np.array([_unchanged(p, name, facts) for p, name in zip(of_cell, asked, strict=True)], dtype=bool)
    sound = np.array([p not in facts.broken and p not in facts.broken_before for p in of_cell], dtype=bool)
    measured = sound & np.isfinite(comparison.delta) & np.isfinite(comparison.se)
    guarded = np.array([r.tier == "critical" for r in rule_of], dtype=bool) & (comparison.slice == 0)
    family = [_family(r.tier, s) for r, s in zip(rule_of, comparison.slice, strict=True)]
    judged = _statistics(comparison, margin, effect, measured, identical, guarded, np.array(family), policy, signs)
    cells = [
        _cell(judged, i, of_cell[i], questions[comparison.question[i]].metric, owner, rule_of[i], policy, slices, facts)
        for i in range(len(of_cell))
    ]
    position = {p: k for k, p in enumerate(predictions)}
    order = sorted(
        range(len(cells)),
        key=lambda i: (position[of_cell[i]], rule_of[i].metrics.index(cells[i].metric), comparison.slice[i]),
    )
    advisory = np.array([r.tier == "advisory" for r in rule_of], dtype=bool)
    gated = measured & ~identical & ~advisory
    groups = _groups(comparison, questions, predictions, margin, effect, gated, policy, signs)
    return (*(cells[i] for i in order), *groups)


def _unchanged(prediction: str, name: str, facts: Facts) -> bool:
    """Is the cell identical by construction? The same program that decides at another threshold is not."""
    points = (facts.points_incumbent.get(prediction), facts.points_candidate.get(prediction))
    before, after = (None if p is None else p.threshold for p in points)
    return prediction in facts.identical and (before == after or not metric(name).at_threshold)


def _family(tier: Tier, slice_number: int) -> str:
    if tier == "advisory":
        return "none"
    return tier if slice_number == 0 else "slices"


def _statistics(
    c: Comparison,
    margin: Floats,
    effect: Floats,
    measured: Mask,
    identical: Mask,
    guarded: Mask,
    family: NDArray[np.str_],
    policy: Policy,
    signs: NDArray[np.int8],
) -> _Judged:
    n, text = len(margin), policy.text
    gated = measured & ~identical & (family != "none")
    tested = gated & eligible(c.d, c.clips)
    p, p_raw, p_gain = np.full(n, np.nan), np.full(n, np.nan), np.full(n, np.nan)
    critical_value, alpha, provable = np.full(n, np.inf), np.zeros(n), np.zeros(n, bool)
    for name in FAMILIES:
        share = text.alpha * getattr(text.shares, name)
        rows = family == name
        loss = prove_loss(c.d, c.weight, effect, tested & rows, signs, share)
        gain = prove_loss(-c.d, c.weight, effect, tested & rows, signs, share)
        for target, source in ((p, loss.p), (p_raw, loss.p_raw), (p_gain, gain.p)):
            # Evidence that may not be tested, or does not differ at all, proves nothing: p = 1 (method A5).
            target[rows] = np.where(gated & np.isnan(source), 1.0, source)[rows]
        critical_value[rows], alpha[rows] = loss.critical, share
        provable |= loss.provable
    half = half_width(c.se, c.lost, c.df, text.confidence)
    with np.errstate(invalid="ignore"):
        certified = measured & (c.delta - half > -margin) & enough_events(margin, c.lost)
        certified &= ~guarded | guard_holds(c.incumbent, c.effective, margin, text.confidence)
    return _Judged(
        c, margin, effect, tested, p, p_raw, p_gain, critical_value, alpha, provable, half, certified, identical
    )


def _unmeasured(
    j: _Judged, i: int, prediction: str, name: str, owner: Mapping[str, tuple[Head, int]], facts: Facts, where: str
) -> str:
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
        return f"{support} in only {c.clips[i]} clips {where}; {MIN_CLIPS} are needed"
    for who, value in (("incumbent", c.incumbent[i]), ("candidate", c.candidate[i])):
        if not np.isfinite(value):
            return f"{spelled(name)} of the {who} is not defined {where}: it accepts nothing"
    if not np.isfinite(c.se[i]):
        return f"no error can be given {where}: a single clip decides the value"
    return ""


def _verdict(j: _Judged, i: int, tier: Tier) -> Verdict:
    if j.identical[i]:
        return "non-inferior"
    if j.p[i] <= j.alpha[i]:
        return "regressed"
    if j.certified[i]:
        return "improved" if j.p_gain[i] <= j.alpha[i] else "non-inferior"
    # A critical cell must be certified whatever gain is seen; elsewhere a proven gain may stand without the floor.
    return "improved" if j.p_gain[i] <= j.alpha[i] and tier != "critical" else "undecided"


def _cell(
    j: _Judged,
    i: int,
    prediction: str,
    name: str,
    owner: Mapping[str, tuple[Head, int]],
    rule: Rule,
    policy: Policy,
    slices: Sequence[str],
    facts: Facts,
) -> Cell:
    head, channel = owner[prediction]
    c, what = j.comparison, metric(name)
    where = "in validation" if c.slice[i] == 0 else "in this slice"
    suspect, needed = False, None
    if prediction in facts.broken:
        verdict, reason = "broken", facts.broken[prediction]
    elif why := _unmeasured(j, i, prediction, name, owner, facts, where):
        verdict, reason = "not-measurable", why
    elif prediction in facts.must_pass and c.slice[i] == 0 and name == rule.metrics[0]:
        verdict, reason = "regressed", "new errors on a clip that must pass"
    else:
        verdict = _verdict(j, i, rule.tier)
        if verdict == "undecided":
            needed = _needed(j, i, rule.tier == "critical" and c.slice[i] == 0, policy.text.confidence)
            suspect = bool(
                rule.tier == "supporting" and c.slice[i] == 0 and (c.delta[i] <= -j.margin[i] or j.p_raw[i] <= 0.01)
            )
        reason = _reason(j, i, verdict, name, head.unit, needed)
    # What could not be measured has no value; only where the candidate alone lost it is the incumbent's told.
    lost = verdict == "not-measurable" and c.clips[i] >= MIN_CLIPS and prediction not in facts.broken_before
    lost = lost and bool(np.isfinite(c.incumbent[i]) and not np.isfinite(c.candidate[i]))
    shown = verdict not in ("broken", "not-measurable")
    sign = -1.0 if what.lower_is_better else 1.0
    points = (facts.points_incumbent.get(prediction), facts.points_candidate.get(prediction))
    thresholds = [None if p is None or not what.at_threshold else p.threshold for p in points]
    delta = _number(sign * c.delta[i]) if shown else None
    half = _number(j.half[i]) if shown else None
    moved = c.at_incumbent[i] - c.incumbent[i]
    return Cell(
        prediction=prediction,
        network=head.network,
        head=head.name,
        channel=head.channels[channel] if len(head.channels) > 1 else None,
        task=head.task,
        metric=name,
        unit=unit_of(name, head.unit),
        lower_is_better=what.lower_is_better,
        slice=slices[int(c.slice[i])],
        tier=rule.tier,
        margin=float(j.margin[i]),
        verdict=verdict,
        reason=reason,
        clips=int(c.clips[i]),
        frames=int(c.frames[i]),
        positives=int(c.positives[i]),
        incumbent=_number(c.incumbent[i]) if shown or lost else None,
        candidate=_number(c.candidate[i]) if shown else None,
        delta=delta,
        delta_worse=None if delta is None else sign * delta + 0.0,
        ci_low=None if delta is None or half is None else delta - half,
        ci_high=None if delta is None or half is None else delta + half,
        p_adjusted=_number(j.p[i]),
        mdr=_mdr(j, i) if shown else None,
        provable=bool(j.provable[i]),
        suspect=suspect,
        clips_needed=needed,
        threshold_incumbent=thresholds[0],
        threshold_candidate=thresholds[1],
        delta_at_incumbent_threshold=_number(moved) if shown else None,
        impact="identical" if j.identical[i] else "reached",
    )


def unit_of(name: str, head_unit: str) -> str:
    """Unit of a metric: "" for shares in 0..1, nats for log-loss, else the head's own."""
    what = metric(name)
    if what.unitless or name == "brier":
        return ""
    return "nat" if name == "log_loss" else head_unit


def _mdr(j: _Judged, i: int) -> float | None:
    if not np.isfinite(j.critical_value[i]):
        return None
    c = j.comparison
    row = slice(i, i + 1)
    return _number(detectable(j.effect[row], float(j.critical_value[i]), c.se[row], c.lost[row])[0])


def _number(value: float | np.floating) -> float | None:
    """None for NaN; -0.0, which a turned sign leaves behind, is 0."""
    return float(value) + 0.0 if np.isfinite(value) else None


def _needed(j: _Judged, i: int, guarded: bool, confidence: float) -> int | None:
    c = j.comparison
    return clips_needed(
        delta=float(c.delta[i]),
        error=float(total_error(c.se[i], c.lost[i])),
        lost=float(c.lost[i]),
        margin=float(j.margin[i]),
        effect=float(j.effect[i]),
        critical=float(j.critical_value[i]),
        confidence=confidence,
        clips=int(c.clips[i]),
        guarded=float(abs(c.incumbent[i])) if guarded else None,
        effective=float(c.effective[i]),
    )


def _reason(j: _Judged, i: int, verdict: Verdict, name: str, head_unit: str, needed: int | None) -> str:
    if j.identical[i]:
        return "identical by construction: the change cannot reach it"
    c, unit = j.comparison, unit_of(name, head_unit)
    what, size = spelled(name), amount(abs(c.delta[i]), unit, metric(name).unitless)
    clips = f"{int(c.clips[i])} clips"
    match verdict:
        case "regressed":
            return f"lost {size} of {what} on {clips}, adjusted p {p_text(j.p[i])}"
        case "improved":
            return f"gained {size} of {what} on {clips}, adjusted p {p_text(j.p_gain[i])}"
        case "non-inferior":
            worst = amount(max(j.half[i] - c.delta[i], 0.0), unit, metric(name).unitless)
            return f"at most {worst} of {what} lost, margin {amount(j.margin[i], unit, metric(name).unitless)}"
        case _:
            support = "positives" if metric(name).support == "positives" else "frames with a truth"
            more = "no number of clips like these decides it"
            if needed:
                more = f"needs about {needed:,} more clips with {support}"
            moved = "lost" if c.delta[i] < 0 else "gained"
            seen = f"{moved} {size} of {what}" if c.delta[i] else f"no difference in {what}"
            return f"undecided: {more} ({seen} on {clips}, not proven either way)"


def _groups(
    comparison: Comparison,
    questions: Sequence[Question],
    predictions: Sequence[str],
    margin: Floats,
    effect: Floats,
    measured: Mask,
    policy: Policy,
    signs: NDArray[np.int8],
) -> list[Cell]:
    """Means over the measured, reached, gated members of each declared group, one cell a metric."""
    names, rows = [], []
    asked = np.array([questions[q].prediction for q in comparison.question], dtype=np.int64)
    metrics = np.array([questions[q].metric for q in comparison.question])
    for group, inside in members(policy, predictions).items():
        chosen = np.isin(asked, inside) & (comparison.slice == 0) & measured & (comparison.clips >= MIN_CLIPS)
        for name in sorted(set(metrics[chosen])):
            names.append((group, str(name)))
            rows.append(np.flatnonzero(chosen & (metrics == name)))
    if not rows:
        return []
    mean = aggregate(comparison, rows)
    # A mean over many members is steadier than one of them: a fifth of their least loss counts (method A5).
    least = np.array([effect[r].mean() / 5 for r in rows])
    room = np.array([margin[r].mean() for r in rows])
    count = len(rows)
    judged = _statistics(
        mean,
        room,
        least,
        np.isfinite(mean.delta) & np.isfinite(mean.se),
        np.zeros(count, bool),
        np.zeros(count, bool),
        np.full(count, "groups"),
        policy,
        signs,
    )
    return [_group_cell(judged, i, group, name, len(rows[i]), policy) for i, (group, name) in enumerate(names)]


def _group_cell(j: _Judged, i: int, group: str, name: str, size: int, policy: Policy) -> Cell:
    c, what = j.comparison, metric(name)
    verdict = _verdict(j, i, "supporting")
    needed = _needed(j, i, False, policy.text.confidence) if verdict == "undecided" else None
    sign = -1.0 if what.lower_is_better else 1.0
    delta, half = _number(sign * c.delta[i]), _number(j.half[i])
    return Cell(
        prediction=f"group:{group}",
        network="",
        head="",
        channel=None,
        task="group",
        metric=name,
        unit=unit_of(name, ""),
        lower_is_better=what.lower_is_better,
        slice="all",
        tier="supporting",
        margin=float(j.margin[i]),
        verdict=verdict,
        reason=f"mean of {size} members: {_reason(j, i, verdict, name, '', needed)}",
        clips=int(c.clips[i]),
        frames=int(c.frames[i]),
        positives=int(c.positives[i]),
        incumbent=_number(c.incumbent[i]),
        candidate=_number(c.candidate[i]),
        delta=delta,
        delta_worse=None if delta is None else sign * delta + 0.0,
        ci_low=None if delta is None or half is None else delta - half,
        ci_high=None if delta is None or half is None else delta + half,
        p_adjusted=_number(j.p[i]),
        mdr=_mdr(j, i),
        provable=bool(j.provable[i]),
        suspect=False,
        clips_needed=needed,
        threshold_incumbent=None,
        threshold_candidate=None,
        delta_at_incumbent_threshold=None,
        impact="reached",
    )
