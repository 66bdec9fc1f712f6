"""Comparison + policy -> cells with verdicts, every prediction x metric x slice, in that order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gate.compare import (
    MIN_CLIPS,
    Comparison,
    Question,
    aggregate,
    detectable,
    eligible,
    enough_events,
    guard_holds,
    half_width,
    leaning,
    prove_loss,
)
from gate.heads import Head
from gate.judge.cells import Facts, Judged, Reference, cells_of, group_cells_of
from gate.judge.decision import Cell, Tier
from gate.judge.policy import Policy, Rule, members
from gate.measures import metric
from gate.table import Floats, Ints

Mask = NDArray[np.bool_]
FAMILIES = ("critical", "supporting", "slices", "groups")


@dataclass(frozen=True)
class Asked:
    """What the policy asks of the cells of a comparison, (n,) each.

    prediction, metric: names. rule: of the prediction. margin, effect: in the metric's unit. family: of tests, "none"
    for an advisory one. guarded: critical, on the whole suite.
    """

    prediction: tuple[str, ...]
    metric: tuple[str, ...]
    rule: tuple[Rule, ...]
    margin: Floats
    effect: Floats
    family: NDArray[np.str_]
    guarded: Mask


@dataclass(frozen=True)
class Groups:
    """Declared groups, one entry a group and metric: (group, metric, unit); rows: its cells; judged: their mean."""

    names: tuple[tuple[str, str, str], ...]
    rows: tuple[Ints, ...]
    judged: Judged


def judge(
    comparison: Comparison,
    questions: Sequence[Question],
    heads: Sequence[Head],
    rules: Mapping[str, Rule],
    policy: Policy,
    slices: Sequence[str],
    facts: Facts,
    signs: NDArray[np.int8],
    drift: Comparison | None = None,
) -> tuple[Cell, ...]:
    """All cells: predictions in suite order, metrics in policy order, slices in suite order, then groups.

    drift: the same cells against the anchors; each reference then spends half of alpha (method A9).
    """
    asked = asked_of(comparison, questions, heads, rules, policy)
    judged, groups = statistics_of(comparison, asked, heads, policy, facts, signs, drift)
    owner = {p: (head, k) for head in heads for p, k in zip(head.predictions, head.judged, strict=True)}
    where = [slices[int(k)] for k in comparison.slice]
    cells = cells_of(judged, asked.prediction, asked.metric, asked.rule, where, owner, facts)
    position = {p: k for k, p in enumerate(owner)}
    order = sorted(
        range(len(cells)),
        key=lambda i: (
            position[cells[i].prediction],
            asked.rule[i].metrics.index(cells[i].metric),
            comparison.slice[i],
        ),
    )
    means = group_cells_of(groups.judged, groups.names, [len(rows) for rows in groups.rows], facts)
    return (*(cells[i] for i in order), *means)


def asked_of(
    comparison: Comparison,
    questions: Sequence[Question],
    heads: Sequence[Head],
    rules: Mapping[str, Rule],
    policy: Policy,
) -> Asked:
    """What the policy asks of each cell; a function of questions and slices only, not of any value."""
    predictions = [p for head in heads for p in head.predictions]
    of_cell = tuple(predictions[questions[q].prediction] for q in comparison.question)
    names = tuple(questions[q].metric for q in comparison.question)
    of_rule = tuple(rules[p] for p in of_cell)
    margin = np.array([r.margins[r.metrics.index(name)] for r, name in zip(of_rule, names, strict=True)])
    return Asked(
        prediction=of_cell,
        metric=names,
        rule=of_rule,
        margin=margin,
        effect=np.array([policy.effect(name, m) for name, m in zip(names, margin, strict=True)]),
        family=np.array([_family(r.tier, s) for r, s in zip(of_rule, comparison.slice, strict=True)], dtype=str),
        guarded=np.array([r.tier == "critical" for r in of_rule], dtype=bool) & (comparison.slice == 0),
    )


def statistics_of(
    comparison: Comparison,
    asked: Asked,
    heads: Sequence[Head],
    policy: Policy,
    facts: Facts,
    signs: NDArray[np.int8],
    drift: Comparison | None = None,
) -> tuple[Judged, Groups]:
    """What the statistics say of all cells and of all groups, as arrays, before anything is put into words."""
    of_cell = list(zip(asked.prediction, asked.metric, strict=True))
    unchanged = {pair: _unchanged(*pair, facts) for pair in set(of_cell)}
    identical = np.array([unchanged[pair] for pair in of_cell], dtype=bool)
    sound = np.array([p not in facts.broken and p not in facts.broken_before for p in asked.prediction], dtype=bool)
    measured = sound & np.isfinite(comparison.delta) & np.isfinite(comparison.se)
    excused = np.array([p in facts.unknown for p in asked.prediction], dtype=bool)
    judged = _statistics(
        comparison,
        drift,
        excused,
        asked.margin,
        asked.effect,
        measured,
        identical,
        asked.guarded,
        asked.family,
        policy,
        signs,
    )
    gated = measured & ~identical & (asked.family != "none")
    return judged, _groups(comparison, drift, asked, heads, gated, policy, signs)


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
    drift: Comparison | None,
    excused: Mask,
    margin: Floats,
    effect: Floats,
    measured: Mask,
    identical: Mask,
    guarded: Mask,
    family: NDArray[np.str_],
    policy: Policy,
    signs: NDArray[np.int8],
) -> Judged:
    text = policy.text
    gated = measured & ~identical & (family != "none")
    alpha = text.alpha / (1 if drift is None else 2)
    seen = _reference(c, gated, effect, family, policy, alpha, signs)
    with np.errstate(invalid="ignore"):
        certified = measured & (seen.low > -margin) & enough_events(margin, c.lost)
        certified &= ~guarded | guard_holds(c.incumbent, c.effective, margin, text.confidence)
        since = None
        if drift is not None:
            known = np.isfinite(drift.delta) & np.isfinite(drift.se)
            since = _reference(drift, gated & known, effect, family, policy, alpha, signs)
            # The budget of a critical cell: many small losses since its anchor are one great one (method A9).
            # An anchor that gives no value proves nothing, unless it lacks the prediction, which is told.
            certified &= ~(guarded & ~excused & ~identical) | (since.low > -margin)
    bar = np.where(np.isfinite(seen.critical_value), seen.critical_value, np.nan)
    shares = {name: alpha * getattr(text.shares, name) for name in FAMILIES}
    return Judged(
        comparison=c,
        confidence=text.confidence,
        margin=margin,
        effect=effect,
        seen=seen,
        since=since,
        alpha=np.array([shares.get(name, 0.0) for name in family]),
        certified=certified,
        identical=identical,
        mdr=detectable(effect, bar, c.se, c.lost, c.effective),
    )


def _reference(
    c: Comparison,
    gated: Mask,
    effect: Floats,
    family: NDArray[np.str_],
    policy: Policy,
    alpha: float,
    signs: NDArray[np.int8],
) -> Reference:
    """Tests and bounds of all cells against one reference, family by family; alpha: of all families together."""
    n = len(gated)
    tested = gated & eligible(c.d, c.clips)
    p, p_raw, p_gain, statistic = (np.full(n, np.nan) for _ in range(4))
    critical_value, provable = np.full(n, np.inf), np.zeros(n, bool)
    for name in FAMILIES:
        rows = family == name
        share = alpha * getattr(policy.text.shares, name)
        loss = prove_loss(c.d, c.weight, effect, tested & rows, signs, share)
        gain = prove_loss(-c.d, c.weight, effect, tested & rows, signs, share)
        for target, source in ((p, loss.p), (p_raw, loss.p_raw), (p_gain, gain.p)):
            # Evidence that may not be tested, or does not differ at all, proves nothing: p = 1 (method A5).
            target[rows] = np.where(gated & np.isnan(source), 1.0, source)[rows]
        statistic[rows] = loss.statistic[rows]
        critical_value[rows] = loss.critical
        provable |= loss.provable
    half = half_width(c.se, c.lost, c.df, policy.text.confidence)
    shift = leaning(c.third, c.se, c.lost, c.df, policy.text.confidence)
    low, high = c.delta - half + np.minimum(shift, 0.0), c.delta + half + np.maximum(shift, 0.0)
    return Reference(c, p, p_raw, p_gain, statistic, critical_value, provable, low, high)


def _groups(
    comparison: Comparison,
    drift: Comparison | None,
    asked: Asked,
    heads: Sequence[Head],
    gated: Mask,
    policy: Policy,
    signs: NDArray[np.int8],
) -> Groups:
    """Means over the measured, reached, gated members of each declared group, one entry a metric."""
    units = {p: head.unit for head in heads for p in head.predictions}
    predictions, metrics = list(units), np.array(asked.metric, dtype=str)
    names, rows = [], []
    for group, inside in members(policy, predictions).items():
        chosen = np.isin(asked.prediction, [predictions[k] for k in inside])
        chosen &= (comparison.slice == 0) & gated & (comparison.clips >= MIN_CLIPS)
        for name in sorted(set(metrics[chosen])):
            names.append((group, str(name), units[predictions[inside[0]]]))
            rows.append(np.flatnonzero(chosen & (metrics == name)))
    mean = aggregate(comparison, rows)
    count = len(rows)
    since = None
    if drift is not None:
        # Members that their anchor does not know do not count; a group of which it knows none has no drift.
        known = np.isfinite(drift.delta) & np.isfinite(drift.se) & (drift.clips >= MIN_CLIPS)
        since = aggregate(drift, [r[known[r]] if known[r].any() else r for r in rows])
    judged = _statistics(
        mean,
        since,
        np.zeros(count, bool),
        np.array([asked.margin[r].mean() for r in rows]),
        # A mean over many members is steadier than one of them: a fifth of their least loss counts (method A5).
        np.array([asked.effect[r].mean() / 5 for r in rows]),
        np.isfinite(mean.delta) & np.isfinite(mean.se),
        np.zeros(count, bool),
        np.zeros(count, bool),
        np.full(count, "groups"),
        policy,
        signs,
    )
    return Groups(tuple(names), tuple(rows), judged)
