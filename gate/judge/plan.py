"""What a suite can prove before there is any candidate: errors, losses, margins and missing clips (method A8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from gate.compare import MIN_CLIPS, Comparison, clips_needed, detectable, total_error
from gate.compare.bound import certifiable, guarded_margin
from gate.heads import Head
from gate.judge.cells import Facts, Judged, unit_of
from gate.judge.decision import Identity, PolicyFacts, Tier
from gate.judge.judging import Asked
from gate.judge.sentences import spelled
from gate.measures import metric
from gate.table import Floats

#: A retrained twin is assumed to share this part of every clip's error with the bundle (method, part B: the world of
#: the simulations). A measured twin is better.
SHARED = 0.85
#: Random pairings of each clip with another one that the assumed error is averaged over.
PAIRINGS = 20
#: Margins as wide as this many standard errors certify 90 % of equal releases of 30 critical heads (method A8).
_RELEASE = 4.4
#: The guard's rule of three, in effective clips (method A6).
_THREE = 3.0
#: An error below this share of the margin is none: bundles that err alike on every frame.
_LEAST = 1e-9

Source = Literal["assumed", "twin"]


@dataclass(frozen=True)
class PlanCell:
    """What the suite can say of one prediction x metric x slice; losses and margins in the metric's own unit.

    clips, positives: with support, and how much; effective: Kish's number of clips. value: of the bundle. se: standard
    error of a difference between equally good releases. mdr: least loss that is proven with 80 % power; provable:
    could the test reach its critical value at all, were all clips to lose alike. certifiable: least margin at which an
    equal release is certified with 80 % power. guard: the guard wants a margin beyond it; None where it does not apply.
    suggested: margin that the evidence supports. enough: the margin suffices for what the tier asks, to certify a
    critical prediction on the whole suite and to prove a loss of one margin elsewhere. missing: further clips for that,
    None when no number is enough or nothing was asked. reason: why a number is None, else "".
    """

    prediction: str
    metric: str
    unit: str
    slice: str
    tier: Tier
    margin: float
    clips: int
    positives: int
    reason: str
    effective: float | None = None
    value: float | None = None
    se: float | None = None
    mdr: float | None = None
    provable: bool = False
    certifiable: float | None = None
    guard: float | None = None
    suggested: float | None = None
    enough: bool = False
    missing: int | None = None

    @property
    def certifies(self) -> bool:
        """Is the question whether an equal release is certified, rather than whether a loss is proven?"""
        return self.tier == "critical" and self.slice == "all"


@dataclass(frozen=True)
class Plan:
    """se: where standard errors come from. clips: of the validation split. critical: what the statistic of each family
    of tests must exceed, None where nothing can be tested.
    """

    suite: Identity
    incumbent: Identity
    twin: Identity | None
    policy: PolicyFacts
    se: Source
    counted: str
    clips: int
    critical: Mapping[str, float | None]
    cells: tuple[PlanCell, ...]


def assumed(alone: Comparison, d: Floats, se: Floats) -> Comparison:
    """`alone`, a bundle beside itself, with the differences that a retrained twin is assumed to show.

    The bundle was put beside itself on other clips, which are paired at random: se, (pairings, n), and d, (n, J) of one
    pairing. Their error is that of two unrelated releases; root mean square over the pairings, times sqrt(1 - SHARED).
    """
    paired = np.sqrt(1 - SHARED)
    return replace(alone, d=paired * d, se=paired * np.sqrt(np.mean(se**2, axis=0)))


def plan_cells(
    judged: Judged, asked: Asked, heads: Sequence[Head], slices: Sequence[str], facts: Facts
) -> list[PlanCell]:
    """All cells in the order of the comparison. judged: what the statistics say of an equally good release."""
    c = judged.comparison
    critical = judged.seen.critical_value
    with np.errstate(invalid="ignore", divide="ignore"):
        # NaN where the root of the effective clips, which the statistic cannot exceed, is below the critical value.
        mdr = detectable(judged.effect, critical, c.se, c.lost, c.effective)
        least = certifiable(c.se, c.lost, c.df, judged.confidence)
        guard = np.where(asked.guarded, guarded_margin(c.incumbent, c.effective, judged.confidence), np.nan)
        rare = np.where(asked.guarded, _THREE * np.abs(c.incumbent) / c.effective, 0.0)
        suggested = np.maximum(np.maximum(judged.margin, _RELEASE * c.se), rare)
    unit = {p: head.unit for head in heads for p in head.predictions}
    cells = []
    for i, (prediction, name) in enumerate(zip(asked.prediction, asked.metric, strict=True)):
        where = slices[int(c.slice[i])]
        cell = PlanCell(
            prediction=prediction,
            metric=name,
            unit=unit_of(name, unit[prediction]),
            slice=where,
            tier=asked.rule[i].tier,
            margin=float(judged.margin[i]),
            clips=int(c.clips[i]),
            positives=int(c.positives[i]),
            reason=_unmeasured(
                judged, i, prediction, name, facts, "in validation" if where == "all" else "in this slice"
            ),
        )
        if cell.reason:
            cells.append(cell)
            continue
        tested = np.isfinite(critical[i])
        advisory = cell.tier == "advisory"
        lacking = "" if tested else "advisory: no loss is tested" if advisory else "no cell of its family can be tested"
        if tested and not np.isfinite(mdr[i]):
            lacking = "too few effective clips: no loss can be proven, however great"
        passed = np.isfinite(guard[i]) and not guard[i] < judged.margin[i]
        if cell.certifies:
            enough = bool(least[i] <= judged.margin[i] and not passed)
        else:
            enough = bool(mdr[i] <= judged.margin[i])
        cells.append(
            replace(
                cell,
                reason=lacking,
                effective=float(c.effective[i]),
                value=_number(c.incumbent[i]),
                se=_number(c.se[i]),
                mdr=_number(mdr[i]),
                provable=bool(np.isfinite(mdr[i])),
                certifiable=_number(np.fmax(least[i], guard[i])),
                guard=_number(guard[i]),
                suggested=_number(suggested[i]),
                enough=enough,
                missing=0 if enough else None if advisory else _missing(judged, i, certify=cell.certifies),
            )
        )
    return cells


def _missing(judged: Judged, i: int, *, certify: bool) -> int | None:
    """Further clips like these, to certify an equal release or to prove a loss of one margin; None: no number would."""
    c = judged.comparison
    return clips_needed(
        delta=0.0 if certify else -float(judged.margin[i]),
        error=max(float(total_error(c.se[i], c.lost[i])), _LEAST * float(judged.margin[i])),
        lost=float(c.lost[i]),
        margin=float(judged.margin[i]),
        effect=float(judged.effect[i]),
        critical=float(judged.seen.critical_value[i]),
        confidence=judged.confidence,
        clips=int(c.clips[i]),
        guarded=abs(float(c.incumbent[i])) if certify else None,
        effective=float(c.effective[i]),
    )


def _unmeasured(judged: Judged, i: int, prediction: str, name: str, facts: Facts, where: str) -> str:
    """Why nothing can be said of a cell, or ""."""
    c, what = judged.comparison, metric(name)
    support = "positives" if what.support == "positives" else "frames with a truth"
    if prediction in facts.broken_before:
        return facts.broken_before[prediction]
    if prediction in facts.broken:
        return f"broken in the twin: {facts.broken[prediction]}"
    for who, points in (("bundle", facts.points_incumbent), ("twin", facts.points_candidate)):
        point = points.get(prediction)
        if what.at_threshold and point is not None and point.threshold is None:
            return f"no operating point for the {who}: {point.status.replace('_', ' ')} on the calibration clips"
    if not c.positives[i]:
        return f"no {support} {where}"
    if c.clips[i] < MIN_CLIPS:
        return f"{support} in only {c.clips[i]} {facts.counted}s {where}; {MIN_CLIPS} are needed"
    if judged.identical[i]:
        return "the twin is identical by construction here: it says nothing of the error"
    for who, value in (("bundle", c.incumbent[i]), ("twin", c.candidate[i])):
        if not np.isfinite(value):
            return f"{spelled(name)} of the {who} is not defined {where}: it accepts nothing"
    if not np.isfinite(c.se[i]):
        return f"no error can be given {where}: a single {facts.counted} decides the value"
    return ""


def _number(value: float | np.floating) -> float | None:
    return float(value) if np.isfinite(value) else None
