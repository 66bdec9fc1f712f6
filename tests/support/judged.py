"""Releases through the comparison and the judge, without files: predictions as clips of events, a rule for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gate.calibrate import OperatingPoint
from gate.compare import Question, compare, sign_vectors
from gate.heads import Head
from gate.judge import Cell, Facts, Policy, Rule, judge
from gate.judge.decision import Tier
from gate.judge.policy import PolicyText, RuleText
from gate.located import Lines
from tests.oracles import statistics as oracle
from tests.oracles.statistics import Clips

NO_FACTS = Facts({}, (), (), {}, {}, ())


def a_policy(**changes: Any) -> Policy:
    text = PolicyText(**({"rules": (RuleText("*"),), "resamples": 999} | changes))
    return Policy(text, Lines("policy.toml", {}), "sha256:0")


def a_rule(*metrics: str, tier: Tier = "supporting", margin: float = 0.05) -> Rule:
    return Rule(tier, "max f1", metrics or ("f1",), (margin,) * max(len(metrics), 1))


def a_point(threshold: float | None, prediction: str = "cam.h") -> OperatingPoint:
    status = "no_positives" if threshold is None else "calibrated"
    return OperatingPoint(prediction, "max f1", status, threshold, None, None, 100, threshold, threshold)


def judged(
    a: Sequence[Clips],
    b: Sequence[Clips],
    rules: Sequence[Rule],
    *,
    policy: Policy | None = None,
    facts: Facts = NO_FACTS,
    at: tuple[float | None, float | None] = (0.0, 0.0),
    unmoved: Sequence[int] = (),
    head: Head | None = None,
    seed: int = 0,
    anchor: Sequence[Clips] | None = None,
    without_anchor: Sequence[int] = (),
    paired: bool = False,
) -> tuple[Cell, ...]:
    """All cells of one head whose channels are the predictions; slices are day and night.

    anchor: an older release at the incumbent's threshold, that lacks the predictions `without_anchor`. unmoved:
    predictions that the candidate too decides at the incumbent's threshold. paired: two attributes and their pairs.
    """
    clips, count = len(a[0]), len(a)
    head = head or Head("cam.h", "multilabel", tuple(map(str, range(count))), tuple(range(count)), "sigmoid")
    if count == 1 and head.task == "multilabel":
        head = replace(head, channels=("",))
    questions = [Question(k, (k,), name) for k in range(count) for name in rules[k].metrics]
    parts, slices = (4, oracle.paired_slices_of(clips)) if paired else (2, oracle.slices_of(clips))
    at_b = [at[k not in unmoved] for k in range(count)]
    old, new = oracle.side(a, [at[0]] * count, parts), oracle.side(b, at_b, parts)
    asked = (questions, slices, oracle.index_of(clips, parts), np.full(count, head.task == "regression"))
    c, drift = compare(old, new, *asked), None
    if anchor is not None:
        drift = compare(oracle.side(anchor, [at[0]] * count, parts), new, *asked)
        lacking = np.isin([questions[q].prediction for q in drift.question], without_anchor)
        unknown = {n: np.where(lacking, np.nan, getattr(drift, n)) for n in ("incumbent", "delta")}
        drift = replace(drift, **unknown)
    return judge(
        c,
        questions,
        [head],
        dict(zip(head.predictions, rules, strict=True)),
        policy or a_policy(),
        [s.name for s in slices],
        facts,
        sign_vectors(clips, (policy or a_policy()).text.resamples, seed),
        drift,
    )


def only(cells: Sequence[Cell], where: str = "all", prediction: str | None = None, name: str | None = None) -> Cell:
    """The one cell of that slice, prediction and metric."""
    (cell,) = (
        c
        for c in cells
        if c.slice == where and (prediction or c.prediction) == c.prediction and (name or c.metric) == c.metric
    )
    return cell
