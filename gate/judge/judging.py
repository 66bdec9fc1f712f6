"""Comparison + policy -> cells with verdicts, every prediction x metric x slice, in that order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from gate.compare import (
    MIN_CLIPS,
    Comparison,
    Question,
    aggregate,
    eligible,
    enough_events,
    guard_holds,
    half_width,
    prove_loss,
)
from gate.heads import Head
from gate.judge.cells import Facts, Judged, cell_of, group_cell_of
from gate.judge.decision import Cell, Tier
from gate.judge.policy import Policy, Rule, members
from gate.measures import metric
from gate.table import Floats

Mask = NDArray[np.bool_]
FAMILIES = ("critical", "supporting", "slices", "groups")


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
        cell_of(judged, i, p, *owner[p], asked[i], rule_of[i], slices[int(comparison.slice[i])], facts)
        for i, p in enumerate(of_cell)
    ]
    position = {p: k for k, p in enumerate(predictions)}
    order = sorted(
        range(len(cells)),
        key=lambda i: (position[of_cell[i]], rule_of[i].metrics.index(cells[i].metric), comparison.slice[i]),
    )
    advisory = np.array([r.tier == "advisory" for r in rule_of], dtype=bool)
    gated = measured & ~identical & ~advisory
    units = [owner[p][0].unit for p in predictions]
    groups = _groups(comparison, questions, predictions, units, margin, effect, gated, policy, signs)
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
) -> Judged:
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
    return Judged(
        comparison=c,
        confidence=text.confidence,
        margin=margin,
        effect=effect,
        p=p,
        p_raw=p_raw,
        p_gain=p_gain,
        critical_value=critical_value,
        alpha=alpha,
        provable=provable,
        half=half,
        certified=certified,
        identical=identical,
    )


def _groups(
    comparison: Comparison,
    questions: Sequence[Question],
    predictions: Sequence[str],
    units: Sequence[str],
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
            names.append((group, str(name), units[inside[0]]))
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
    return [group_cell_of(judged, i, group, name, unit, len(rows[i])) for i, (group, name, unit) in enumerate(names)]
