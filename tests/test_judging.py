"""From numbers to verdicts: the whole table beside its plain twin, and every way of having nothing to say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.calibrate import OperatingPoint
from gate.compare import Question, compare, sign_vectors
from gate.heads import Head
from gate.judge import Cell, Facts, Policy, Rule, decide, judge
from gate.judge.decision import Tier
from gate.judge.policy import PolicyText, RuleText
from gate.measures import metric
from gate.strict import Lines
from gate.suite import Slice
from gate.table import ClipIndex
from tests.oracles import statistics as oracle
from tests.oracles.statistics import Clips, Event, Measured

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
    head: Head | None = None,
    seed: int = 0,
) -> tuple[Cell, ...]:
    """All cells of one head whose channels are the predictions; slices are day and night."""
    clips, count = len(a[0]), len(a)
    head = head or Head("cam.h", "multilabel", tuple(map(str, range(count))), tuple(range(count)), "sigmoid")
    if count == 1 and head.task == "multilabel":
        head = replace(head, channels=("",))
    questions = [Question(k, (k,), name) for k in range(count) for name in rules[k].metrics]
    sides = oracle.side(a, [at[0]] * count), oracle.side(b, [at[1]] * count)
    slices = oracle.slices_of(clips)
    needs_none = np.full(count, head.task == "regression")
    c = compare(*sides, questions, slices, oracle.index_of(clips), needs_none)
    return judge(
        c,
        questions,
        [head],
        dict(zip(head.predictions, rules, strict=True)),
        policy or a_policy(),
        [s.name for s in slices],
        facts,
        sign_vectors(clips, (policy or a_policy()).text.resamples, seed),
    )


def only(cells: Sequence[Cell], where: str = "all", prediction: str | None = None, name: str | None = None) -> Cell:
    """The one cell of that slice, prediction and metric."""
    (cell,) = (
        c
        for c in cells
        if c.slice == where and (prediction or c.prediction) == c.prediction and (name or c.metric) == c.metric
    )
    return cell


def release(seed: int, clips: int = 40, *, quality: float = 2.0, most: int = 12, noise: float = 1.0) -> Clips:
    """Answers to the truth of seed 0: releases of different seeds answer the same exam."""
    truth = oracle.a_truth(np.random.default_rng(0), clips, most=most)
    return oracle.answered(np.random.default_rng(seed), truth, quality=quality, noise=noise)


def ending(cells: Sequence[Cell], **changes: Any) -> tuple[str, list[str]]:
    """(decision, codes of its reasons)."""
    nothing: dict[str, Any] = {"missing": (), "uncovered": {}, "must_pass": (), "identical_uncovered": ()}
    outcome, reasons = decide(cells, **(nothing | changes))
    return outcome, [r.code for r in reasons]


# The table of verdicts, beside its twin.

TIERS: tuple[Tier, ...] = ("critical", "supporting", "advisory")


@given(
    st.integers(0, 10_000),
    st.integers(10, 11),
    st.sampled_from(((2.0, 2.0), (2.5, 0.3), (0.3, 2.5), (1.5, 1.2))),
    st.sampled_from((0.02, 0.1, 0.3, 0.5)),
    st.sampled_from((0.0, 0.005, 0.02)),
)
@settings(max_examples=30, deadline=None)
def test_every_verdict_is_what_the_plain_table_says(
    seed: int, clips: int, qualities: tuple[float, float], margin: float, effect: float
) -> None:
    rng = np.random.default_rng(seed)
    truths = [oracle.a_truth(rng, clips, least=5, most=12) for _ in TIERS]
    a, b = ([oracle.answered(rng, t, quality=q * float(rng.uniform(0.8, 1.2))) for t in truths] for q in qualities)
    metrics = ("f1", "average_precision", "precision")
    policy = a_policy(alpha=0.2, min_effect=effect, groups={"three": "*"})
    cells = judged(a, b, [a_rule(*metrics, tier=t, margin=margin) for t in TIERS], policy=policy, at=(0.0, 0.25))

    twins: dict[tuple[int, str, str], oracle.Twin] = {}
    for k in range(len(TIERS)):
        for name in metrics:
            for part, where in ((None, "all"), (0, "light=day"), (1, "light=night")):
                thresholds = (0.0, 0.25) if name != "average_precision" else (None, None)
                sides = oracle.within(a[k], part), oracle.within(b[k], part)
                twins[k, name, where] = oracle.twin(name, *sides, *thresholds)
    families = {
        "critical": [key for key in twins if key[0] == 0 and key[2] == "all"],
        "supporting": [key for key in twins if key[0] == 1 and key[2] == "all"],
        "slices": [key for key in twins if key[0] < 2 and key[2] != "all"],
    }
    alphas = {"critical": 0.08, "supporting": 0.06, "slices": 0.02}
    p: dict[tuple[int, str, str], tuple[float, float, float]] = dict.fromkeys(twins, (math.nan, math.nan, 0.0))
    for family, keys in families.items():
        tested = [key for key in keys if oracle.may_be_tested(twins[key])]
        for key in keys:
            p[key] = (1.0, 1.0, alphas[family])
        if tested:
            losses = [twins[key].shifted(effect) for key in tested]
            gains = [[-d + effect * w for d, w in zip(twins[k].d, twins[k].weight, strict=True)] for k in tested]
            found = [oracle.step_down(side, oracle.all_signs(clips), extra=0) for side in (losses, gains)]
            p |= {key: (*both, alphas[family]) for key, *both in zip(tested, *found, strict=True)}
    for (k, name, where), twin in twins.items():
        cell = only(cells, where, f"cam.h[{k}]", name)
        loss, gain, alpha = p[k, name, where]
        sizes = {"margin": margin, "alpha": alpha, "confidence": 0.95}
        expected = oracle.verdict(twin, critical=k == 0, whole=where == "all", p=loss, p_gain=gain, **sizes)
        assert cell.verdict == expected, (cell, twin)
        if k < 2 and oracle.may_be_tested(twin):
            assert cell.p_adjusted == pytest.approx(loss, abs=1.5 / 2**clips)
        if cell.ci_low is not None and twin.df:
            assert cell.ci_low == pytest.approx(twin.bound(0.95), abs=1e-6)

    # The group's members are the two that are gated; its least loss is a fifth of theirs.
    members = {name: [t for k in (0, 1) if oracle.is_measured(t := twins[k, name, "all"])] for name in metrics}
    means = {name: oracle.mean_of(found) for name, found in members.items() if found}
    shifted = [[d + effect / 5 * w for d, w in zip(*mean, strict=True)] for mean in means.values()]
    if shifted and all(sum(abs(d) > 1e-9 for d in mean[0]) >= 10 for mean in means.values()):
        found_p = oracle.step_down(shifted, oracle.all_signs(clips), extra=0)
        for name, (d, _), loss in zip(means, means.values(), found_p, strict=True):
            group = only(cells, prediction="group:three", name=name)
            assert group.delta == pytest.approx(sum(d), abs=1e-6)
            assert group.p_adjusted == pytest.approx(loss, abs=1.5 / 2**clips)
            assert (group.verdict == "regressed") == (loss <= 0.04)


def test_cells_come_in_the_order_of_suite_policy_and_slices() -> None:
    a = [release(1), release(2)]
    cells = judged(a, a, [a_rule("recall", "f1"), a_rule("f1")])
    slices = ["all", "light=day", "light=night"]
    expected = [("cam.h[0]", "recall"), ("cam.h[0]", "f1"), ("cam.h[1]", "f1")]
    assert [(c.prediction, c.metric, c.slice) for c in cells] == [(*e, s) for e in expected for s in slices]
    assert {(c.channel, c.network, c.head) for c in cells} == {("0", "cam", "cam.h"), ("1", "cam", "cam.h")}


def test_a_bundle_never_differs_from_itself() -> None:
    """Even where the least loss that counts is nothing at all."""
    a = [release(1), release(2, quality=0.2)]
    for effect in (0.0, 0.005):
        metrics = ("f1", "precision", "average_precision", "brier", "log_loss")
        cells = judged(a, a, [a_rule(*metrics), a_rule(*metrics, tier="critical")], policy=a_policy(min_effect=effect))
        assert {c.verdict for c in cells} <= {"non-inferior", "undecided"}
        assert {c.delta for c in cells} == {0.0}
        assert {c.p_adjusted for c in cells} == {1.0}
        assert not any(c.suspect for c in cells)


@given(st.integers(0, 10_000))
@settings(max_examples=10, deadline=None)
def test_swapping_candidate_and_incumbent_mirrors_the_verdict(seed: int) -> None:
    a, b = [release(seed, quality=2.5)], [release(seed + 1, quality=0.8)]
    rules = [a_rule("f1", "recall", "average_precision", "brier", "log_loss")]
    there, back = judged(a, b, rules), judged(b, a, rules)
    mirror = {"regressed": "improved", "improved": "regressed"}
    assert any(c.verdict == "regressed" for c in there)
    for x, y in zip(there, back, strict=True):
        assert x.delta is not None
        assert y.delta == pytest.approx(-x.delta)
        assert (x.verdict in mirror) == (y.verdict in mirror)
        assert y.verdict == mirror.get(x.verdict, y.verdict)


@given(st.integers(0, 10_000))
@settings(max_examples=10, deadline=None)
def test_a_strictly_worse_candidate_is_never_improved(seed: int) -> None:
    a = release(seed)
    b = [[replace(e, score=e.score - 0.5 if e.positive else e.score + 0.5) for e in clip] for clip in a]
    metrics = ("f1", "recall", "precision", "iou", "average_precision", "brier", "log_loss")
    for tier in ("critical", "supporting"):
        cells = judged([a], [b], [a_rule(*metrics, tier=tier)], policy=a_policy(min_effect=0.0), seed=seed)
        assert "improved" not in {c.verdict for c in cells}


def test_a_great_loss_is_regressed_and_the_reason_says_how_much() -> None:
    cell = only(judged([release(1, quality=3.0)], [release(2, quality=0.5)], [a_rule()]))
    assert (cell.verdict, cell.p_adjusted) == ("regressed", 0.001)
    assert cell.reason.startswith("lost ")
    assert "points of F1 on " in cell.reason
    assert ending([cell]) == ("NO-GO", ["regressed"])


def test_an_error_that_grows_is_a_loss() -> None:
    """Where lower is better, delta keeps the metric's own direction and delta_worse turns it."""
    rng = np.random.default_rng(1)
    a, b = ([[Measured(s * float(rng.normal())) for _ in range(5)] for _ in range(40)] for s in (1.0, 2.0))
    head = Head("cam.range", "regression", ("",), (0,), unit="m")
    cells = judged([a], [b], [a_rule("mae", "rmse", margin=0.2)], head=head)
    for name in ("mae", "rmse"):
        cell = only(cells, name=name)
        assert cell.delta is not None
        assert cell.delta_worse == -cell.delta < 0
        assert cell.ci_low is not None
        assert cell.ci_high is not None
        assert cell.ci_low < cell.delta < cell.ci_high
        assert (cell.verdict, cell.unit, cell.lower_is_better) == ("regressed", "m", True)
        assert " m of " in cell.reason
        back = only(judged([b], [a], [a_rule(name, margin=0.2)], head=head))
        assert back.verdict == "improved"


# Nothing to say, and why.


def unmeasured(a: Clips, b: Clips, name: str = "f1", where: str = "all", **options: Any) -> str:
    """The reason of a cell that must not be measurable, and must have no numbers."""
    cell = only(judged([a], [b], [a_rule(name)], **options), where)
    assert cell.verdict == "not-measurable"
    numbers = (cell.candidate, cell.delta, cell.delta_worse, cell.ci_low, cell.ci_high, cell.mdr, cell.clips_needed)
    assert numbers == (None,) * 7
    return cell.reason


def with_positives_in(a: Clips, clips: int) -> Clips:
    """The same scores, with all truths of later clips turned into negatives."""
    return [[replace(e, positive=e.positive and j < clips) for e in clip] for j, clip in enumerate(a)]


def test_no_positives_cannot_be_measured() -> None:
    a, b = (with_positives_in(release(k), 0) for k in (1, 2))
    for name in ("f1", "average_precision", "recall", "coco_ap"):
        assert unmeasured(a, b, name) == "no positives in validation"


@pytest.mark.parametrize("clips", [1, 9])
def test_positives_in_fewer_than_ten_clips_cannot_be_measured(clips: int) -> None:
    full = [[Event(1.0, True), Event(-1.0, False)]] * 40
    a = with_positives_in(full, clips)
    for name in ("f1", "average_precision", "coco_ap"):
        assert unmeasured(a, a, name) == f"positives in only {clips} clips in validation; 10 are needed"
    ten = with_positives_in(full, 10)
    assert only(judged([ten], [ten], [a_rule()])).verdict != "not-measurable"


@pytest.mark.parametrize("clips", [1, 9])
def test_a_suite_of_few_clips_cannot_be_measured(clips: int) -> None:
    a = [[Event(1.0, True)] * 50] * clips
    assert unmeasured(a, a) == f"positives in only {clips} clips in validation; 10 are needed"


def test_a_slice_without_events_cannot_be_measured() -> None:
    a, b = ([[replace(e, part=0) for e in clip] for clip in release(k)] for k in (1, 2))
    assert unmeasured(a, b, where="light=night") == "no positives in this slice"
    assert unmeasured(a, b, "brier", where="light=night") == "no frames with a truth in this slice"


def test_a_candidate_that_accepts_nothing_has_no_precision_and_does_not_pass() -> None:
    a = release(1)
    b = [[replace(e, score=-20.0) for e in clip] for clip in a]
    cell = only(judged([a], [b], [a_rule("precision")]))
    assert (cell.verdict, cell.candidate) == ("not-measurable", None)
    assert cell.incumbent is not None
    assert cell.reason == "precision of the candidate is not defined in validation: it accepts nothing"
    assert ending([cell]) == ("NO-GO", ["lost-measurability", "not-measurable"])


def test_an_incumbent_that_accepts_nothing_does_not_block_what_replaces_it() -> None:
    b = release(1)
    a = [[replace(e, score=-20.0) for e in clip] for clip in b]
    cell = only(judged([a], [b], [a_rule("precision")]))
    assert cell.reason == "precision of the incumbent is not defined in validation: it accepts nothing"
    # Alone, it leaves nothing that was measured; beside a sound prediction it does not block.
    assert ending([cell])[0] == "INCONCLUSIVE"
    assert ending([cell, replace(cell, prediction="cam.other", verdict="non-inferior")])[0] == "GO"


def test_a_value_that_hangs_on_a_single_clip_has_no_error_bar() -> None:
    a = release(1)
    b = [[replace(e, score=e.score if j == 0 else -20.0) for e in clip] for j, clip in enumerate(a)]
    b[0] = [Event(2.0, True)]
    said = "no error can be given in validation: a single clip decides the candidate's value"
    assert unmeasured(a, b, "precision") == said
    # What the incumbent could be measured on, the candidate lost; the other way round nobody is to blame.
    assert ending([only(judged([a], [b], [a_rule("precision")]))])[0] == "NO-GO"
    assert ending([only(judged([b], [a], [a_rule("precision")]))])[0] == "INCONCLUSIVE"


@pytest.mark.parametrize(("points", "who"), [((None, 0.0), "incumbent"), ((0.0, None), "candidate")])
def test_without_an_operating_point_only_what_needs_none_is_measured(
    points: tuple[float | None, float | None], who: str
) -> None:
    a, b = release(1), release(2)
    known = [{"cam.h": a_point(t)} for t in points]
    facts = replace(NO_FACTS, points_incumbent=known[0], points_candidate=known[1])
    cells = judged([a], [b], [a_rule("f1", "average_precision")], facts=facts, at=points)
    reason = f"no operating point for the {who}: no positives on the calibration clips"
    assert (only(cells, name="f1").verdict, only(cells, name="f1").reason) == ("not-measurable", reason)
    assert only(cells, name="average_precision").verdict != "not-measurable"


def test_a_head_that_the_incumbent_lacks_has_nothing_to_be_compared_with() -> None:
    facts = replace(NO_FACTS, broken_before={"cam.h": "the incumbent has no such head"})
    nothing = [[] for _ in range(40)]
    assert unmeasured(nothing, release(1), facts=facts).startswith("the incumbent has no such head")


def test_a_broken_prediction_has_no_numbers_and_blocks() -> None:
    facts = replace(NO_FACTS, broken={"cam.h": "NaN or infinity in 3 of 40 frames"})
    cells = judged([release(1)], [release(1)], [a_rule("f1", "average_precision")], facts=facts)
    assert {c.verdict for c in cells} == {"broken"}
    assert {(c.incumbent, c.candidate, c.delta, c.mdr, c.p_adjusted) for c in cells} == {(None,) * 5}
    assert ending(cells) == ("NO-GO", ["broken"])


def test_a_broken_prediction_takes_no_part_in_any_family() -> None:
    """Its wild numbers must not raise the bar for others."""
    good, bad = release(1), release(3, quality=3.0)
    rules = [a_rule(), a_rule()]
    facts = replace(NO_FACTS, broken={"cam.h[1]": "NaN"})
    beside = judged([good, bad], [release(2), release(4, quality=0.1)], rules, facts=facts)
    alone = judged([good], [release(2)], rules[:1])
    pairs = zip(beside[:3], alone, strict=True)
    assert all((x.p_adjusted, x.verdict, x.mdr) == (y.p_adjusted, y.verdict, y.mdr) for x, y in pairs)


@pytest.mark.parametrize("score", [lambda e: 0.5, lambda e: 9.0 if e.positive else -9.0], ids=["all equal", "perfect"])
def test_degenerate_scores_of_both_bundles_are_no_difference(score: Any) -> None:
    a = [[replace(e, score=score(e)) for e in clip] for clip in release(1, 60)]
    cells = judged([a], [a], [a_rule("f1", "average_precision", "precision", "recall", margin=0.1)])
    assert {c.verdict for c in cells if c.slice == "all"} == {"non-inferior"}
    assert all(c.ci_low is not None and c.ci_low < 0 for c in cells), "no difference seen is not certainty"


def test_saturated_logits_rank_as_well_as_any() -> None:
    a = release(1, 60)
    b = [[replace(e, score=math.copysign(65_504.0, e.score or 1.0)) for e in clip] for clip in a]
    cell = only(judged([a], [b], [a_rule("f1")]))
    assert cell.delta == 0.0
    assert only(judged([a], [b], [a_rule("log_loss")])).verdict == "regressed"


# Identical by construction.


def identical(threshold: float = 0.0) -> Facts:
    """An unchanged program; the candidate decides at `threshold`."""
    return replace(
        NO_FACTS,
        identical=["cam.h"],
        points_incumbent={"cam.h": a_point(0.0)},
        points_candidate={"cam.h": a_point(threshold)},
    )


def test_what_the_change_cannot_reach_is_non_inferior_however_few_clips_there_are() -> None:
    a = with_positives_in(release(1), 3)
    cell = only(judged([a], [a], [a_rule(tier="critical")], facts=identical()))
    assert (cell.verdict, cell.impact, cell.p_adjusted) == ("non-inferior", "identical", None)
    assert cell.reason == "identical by construction: the change cannot reach it"
    nothing = with_positives_in(a, 0)
    assert only(judged([nothing], [nothing], [a_rule()], facts=identical())).verdict == "not-measurable"


def test_an_identical_prediction_that_accepts_nothing_is_identical_all_the_same() -> None:
    a = [[replace(e, score=-20.0) for e in clip] for clip in release(1)]
    cell = only(judged([a], [a], [a_rule("precision")], facts=identical()))
    assert (cell.verdict, cell.delta, cell.incumbent) == ("non-inferior", None, None)


def test_the_same_program_at_another_threshold_is_not_identical() -> None:
    a = release(1)
    cells = judged([a], [a], [a_rule("f1", "average_precision")], facts=identical(2.0), at=(0.0, 2.0))
    moved, curve = only(cells, name="f1"), only(cells, name="average_precision")
    assert (moved.impact, moved.verdict) == ("reached", "regressed")
    assert (curve.impact, curve.verdict) == ("identical", "non-inferior")


def test_identical_predictions_take_no_share_of_a_family() -> None:
    a, b = release(1), release(2)
    unchanged = replace(NO_FACTS, identical=[f"cam.h[{k}]" for k in range(1, 30)])
    many = judged([a] * 30, [b] + [a] * 29, [a_rule()] * 30, facts=unchanged)
    alone = judged([a], [b], [a_rule()])
    assert [c.p_adjusted for c in many[:3]] == [c.p_adjusted for c in alone]
    assert many[0].mdr == alone[0].mdr


# Certified, improved, undecided, suspect.


def test_a_critical_cell_needs_the_certificate_even_for_a_gain() -> None:
    """Few clips: the gain is proven, the guard against a regime that the suite does not hold is not met."""
    a, b = [release(1, 20, quality=0.8)], [release(2, 20, quality=4.0)]
    verdicts = [only(judged(a, b, [a_rule("f1", tier=t)])).verdict for t in ("supporting", "critical")]
    assert verdicts == ["improved", "undecided"]


def test_an_undecided_cell_says_how_many_clips_would_decide_it() -> None:
    cell = only(judged([release(1, 20)], [release(2, 20)], [a_rule(tier="critical", margin=0.02)]))
    assert cell.verdict == "undecided"
    assert cell.clips_needed is not None
    assert f"needs about {cell.clips_needed:,} more clips" in cell.reason


def test_a_supporting_cell_that_looks_worse_than_its_margin_is_suspect() -> None:
    a, b = [release(1, 16, quality=2.0)], [release(2, 16, quality=1.6)]
    found = {t: only(judged(a, b, [a_rule(tier=t, margin=0.01)])) for t in TIERS}
    assert found["supporting"].delta is not None
    assert found["supporting"].delta < -0.01
    assert {t: c.suspect for t, c in found.items()} == {"critical": False, "supporting": True, "advisory": False}
    assert ending([found["supporting"]]) == ("GO", ["no-regression", "suspect"])


def test_an_advisory_cell_is_reported_and_never_tested() -> None:
    cells = judged([release(1, quality=3.0)], [release(2, quality=0.1)], [a_rule(tier="advisory")])
    assert {(c.verdict, c.p_adjusted, c.mdr) for c in cells} == {("undecided", None, None)}
    assert ending(cells)[0] == "GO"


def test_evidence_that_may_not_be_tested_proves_nothing() -> None:
    """A collapse on nine clips: the cell is measured, and its p is 1 because nine clips prove nothing in any family."""
    a = [[Event(2.0, True), Event(-2.0, False)] for _ in range(40)]
    b = [[replace(e, score=-2.0) for e in clip] if j < 9 else clip for j, clip in enumerate(a)]
    cell = only(judged([a], [b], [a_rule("recall")]))
    assert (cell.verdict, cell.p_adjusted, cell.provable, cell.suspect) == ("undecided", 1.0, False, True)


def test_a_loss_in_one_slice_blocks_the_release() -> None:
    a = release(1, quality=3.0)
    b = [[replace(e, score=-e.score) if e.part == 1 and j < 20 else e for e in clip] for j, clip in enumerate(a)]
    cells = judged([a], [b], [a_rule()])
    assert only(cells, "light=night").verdict == "regressed"
    assert only(cells, "light=day").verdict != "regressed"
    sliced = [c for c in cells if c.slice != "all"]
    assert ending(sliced) == ("NO-GO", ["regressed-slice"])


def test_undecided_slices_of_a_critical_prediction_only_report() -> None:
    cells = judged([release(1, 20)], [release(2, 20)], [a_rule(tier="critical", margin=0.02)])
    sliced = [c for c in cells if c.slice != "all"]
    assert {c.verdict for c in sliced} == {"undecided"}
    assert ending(sliced)[0] == "GO"


def test_new_errors_on_a_clip_of_zero_tolerance_are_a_regression_of_the_first_metric() -> None:
    facts = replace(NO_FACTS, must_pass=["cam.h"])
    cells = judged([release(1)], [release(1)], [a_rule("f1", "recall")], facts=facts)
    marked = [(c.metric, c.slice) for c in cells if c.verdict == "regressed"]
    assert marked == [("f1", "all")]
    assert only(cells, name="f1").reason == "new errors on a clip that must pass"
    assert ending(cells, must_pass=["cam.h"]) == ("NO-GO", ["must-pass"])


# Groups.


def spread_loss(members: int, tiers: Sequence[Tier] = ("supporting",)) -> tuple[Cell, ...]:
    """Every member loses 0.9 events of 100."""
    rng = np.random.default_rng(0)
    kept = rng.random((members, 120, 10)) < 0.9
    after = kept & (rng.random(kept.shape) >= 0.009)
    none = np.zeros((members, 120), np.int64)
    sides = tuple(oracle.side_of_counts(k.sum(axis=2), none, (~k).sum(axis=2)) for k in (kept, after))
    questions = [Question(k, (k,), "recall") for k in range(members)]
    index, whole = ClipIndex(np.arange(120), 120), [Slice("all", np.ones(120, bool))]
    c = compare(*sides, questions, whole, index, np.ones(members, bool))
    head = Head("cam.h", "multilabel", tuple(map(str, range(members))), tuple(range(members)), "sigmoid")
    rules = {p: a_rule("recall", tier=tiers[k % len(tiers)], margin=0.1) for k, p in enumerate(head.predictions)}
    policy = a_policy(groups={"all": "cam.h[*]"})
    return judge(c, questions, [head], rules, policy, ["all"], NO_FACTS, sign_vectors(120, 999, 0))


def test_a_loss_spread_thinly_is_found_by_the_group() -> None:
    cells = spread_loss(30)
    assert not any(c.verdict == "regressed" for c in cells if c.task != "group")
    group = only(cells, prediction="group:all")
    assert (group.verdict, group.metric, group.slice, group.network) == ("regressed", "recall", "all", "")
    assert group.reason.startswith("mean of 30 members: lost ")
    assert ending(cells) == ("NO-GO", ["regressed-group"])


def test_advisory_members_block_through_no_group() -> None:
    assert not [c for c in spread_loss(30, ("advisory",)) if c.task == "group"]
    half = only(spread_loss(30, ("advisory", "supporting")), prediction="group:all")
    assert half.reason.startswith("mean of 15 members")


def test_metrics_with_a_unit_have_a_tenth_of_their_margin_as_the_least_loss() -> None:
    policy = a_policy(min_effect=0.005)
    assert policy.effect("f1", 0.02) == 0.005
    assert policy.effect("mae", 0.2) == pytest.approx(0.02)
    assert policy.effect("log_loss", 0.05) == pytest.approx(0.005)
    assert not metric("mae").unitless
