"""From numbers to verdicts: the whole table beside its plain twin, and every way of having nothing to say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gate.compare import Question, compare, sign_vectors
from gate.heads import Head
from gate.judge import Cell, Facts, decide, judge
from gate.judge.decision import Tier
from gate.measures import metric
from gate.suite import Slice
from gate.table import ClipIndex
from tests.oracles import statistics as oracle
from tests.oracles.judging import Plain, group_of, judge_plainly
from tests.oracles.statistics import Clips, Event, Measured
from tests.support.judged import NO_FACTS, a_point, a_policy, a_rule, judged, only


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


SHARES = {"critical": 0.4, "supporting": 0.3, "slices": 0.1, "groups": 0.2}
METRICS = ("f1", "average_precision", "precision")
AT = (0.0, 0.25)
#: What becomes of the predictions: three tiers, one without an anchor, one that no change can reach, one broken.
ASKED: tuple[tuple[Tier, str], ...] = (
    ("critical", ""),
    ("supporting", ""),
    ("advisory", ""),
    ("supporting", "no anchor"),
    ("supporting", "identical"),
    ("critical", "broken"),
    ("supporting", "new errors"),
)


def both_ways(signs: np.ndarray) -> list[list[int]]:
    return [*signs.tolist(), *(-signs).tolist()]


def plain_cells(
    releases: Sequence[Sequence[Clips]], margin: float, effect: float, *, anchored: bool
) -> dict[tuple[int, str, str], Plain]:
    """Every cell by definition; releases: incumbent, candidate, anchor."""
    cells = {}
    for k, (tier, fate) in enumerate(ASKED):
        for name in METRICS:
            for where, parts in oracle.PAIRED.items():
                a, b, since = ((oracle.within(r[k], parts)) for r in releases)
                at = (0.0, 0.0) if fate == "identical" else AT
                at = at if name != "average_precision" else (None, None)
                cells[k, name, where] = Plain(
                    tier,
                    where == "all",
                    margin,
                    effect,
                    oracle.twin(name, a, b, *at),
                    oracle.twin(name, since, b, *at) if anchored and fate != "no anchor" else None,
                    first=where == "all" and name == "f1",
                    broken=fate == "broken",
                    identical=fate == "identical",
                    new_errors=fate == "new errors",
                )
    return cells


@given(
    st.integers(0, 10_000),
    st.sampled_from(((2.0, 2.0, 2.0), (2.5, 0.3, 2.5), (0.3, 2.5, 2.5), (1.5, 1.2, 3.0), (1.0, 2.5, 0.8))),
    st.sampled_from((0.02, 0.1, 0.3, 0.5)),
    st.sampled_from((0.0, 0.005, 0.02)),
    st.booleans(),
)
@settings(max_examples=8, deadline=None)
@example(0, (1.5, 1.2, 3.0), 0.3, 0.005, True)
@example(1, (1.0, 2.5, 0.8), 0.5, 0.0, True)
def test_every_verdict_is_what_the_plain_table_says(
    seed: int, qualities: tuple[float, ...], margin: float, effect: float, anchored: bool
) -> None:
    rng = np.random.default_rng(seed)
    clips = 16
    truths = [oracle.a_truth(rng, clips, least=8, most=14, parts=4) for _ in ASKED]
    truths[3][0] = oracle.a_truth(rng, 1, least=150, most=150, parts=4)[0]  # a clip that dwarfs the others
    a, b, since = (
        [
            oracle.answered(rng, t, quality=q * float(rng.uniform(0.8, 1.2)), missed=0.15 if k == 1 else 0.0)
            for k, t in enumerate(truths)
        ]
        for q in qualities
    )
    for side in (a, b, since):  # saturated: two scores, and ties everywhere
        side[6] = [[replace(e, score=math.copysign(60.0, e.score or 1.0)) for e in clip] for clip in side[6]]
    names = [f"cam.h[{k}]" for k in range(len(ASKED))]
    of = {fate: [n for n, (_, f) in zip(names, ASKED, strict=True) if f == fate] for _, fate in ASKED}
    # The same program on both sides, and so the same scores and the same threshold.
    b = [a[k] if fate == "identical" else b[k] for k, (_, fate) in enumerate(ASKED)]
    points = {n: a_point(0.0, n) for n in names}
    facts = replace(
        NO_FACTS,
        broken=dict.fromkeys(of["broken"], "NaN"),
        identical=of["identical"],
        must_pass=of["new errors"],
        points_incumbent=points,
        points_candidate={n: replace(p, threshold=0.0 if n in of["identical"] else 0.25) for n, p in points.items()},
    )
    policy = a_policy(alpha=0.2, min_effect=effect, resamples=399)
    cells = judged(
        a,
        b,
        [a_rule(*METRICS, tier=tier, margin=margin) for tier, _ in ASKED],
        policy=policy,
        facts=facts,
        at=AT,
        anchor=since if anchored else None,
        unmoved=[k for k, (_, fate) in enumerate(ASKED) if fate == "identical"],
        without_anchor=[k for k, (_, fate) in enumerate(ASKED) if fate == "no anchor"],
        paired=True,
    )
    plain = plain_cells((a, b, since), margin, effect, anchored=anchored)
    signs = both_ways(sign_vectors(clips, 399, 0))
    expected = judge_plainly(plain, signs, alpha=0.2, confidence=0.95, shares=SHARES, anchored=anchored)
    for (k, name, where), said in expected.items():
        cell, twin = only(cells, where, names[k], name), plain[k, name, where]
        if said.sure:
            assert cell.verdict == said.verdict, (cell, twin, said)
        for p, range_ in ((cell.p_adjusted, said.p), (cell.p_anchor, said.p_since)):
            if cell.verdict != "not-measurable":
                assert (p is None) == (range_ is None)
            if p is not None and range_ is not None:
                assert range_.low <= p <= range_.high
        if said.sure and cell.p_anchor is not None:
            assert cell.gained_since_anchor == said.gained_since
        if cell.ci_low is not None and twin.seen.df:
            assert cell.ci_low == pytest.approx(twin.seen.bound(0.95), abs=1e-6), (cell, twin)
        if cell.delta_anchor is not None and twin.since is not None:
            assert cell.delta_anchor == pytest.approx(twin.since.delta, abs=1e-9)
            assert cell.anchor == pytest.approx(twin.since.incumbent, abs=1e-9)


@given(
    st.integers(0, 10_000),
    st.sampled_from(((2.0, 2.0, 2.0), (2.5, 0.3, 2.5), (1.2, 2.0, 0.8), (1.5, 1.2, 3.0))),
    st.sampled_from((0.1, 0.3)),
)
@settings(max_examples=10, deadline=None)
@example(0, (1.5, 1.2, 3.0), 0.3)
def test_every_verdict_of_a_group_is_what_the_plain_table_says_of_its_mean(
    seed: int, qualities: tuple[float, ...], margin: float
) -> None:
    """Critical and supporting members count, advisory ones and those that no change can reach do not."""
    rng = np.random.default_rng(seed)
    tiers: tuple[Tier, ...] = ("critical", "supporting", "supporting", "advisory", "supporting")
    clips = 24
    truths = [oracle.a_truth(rng, clips, least=4, most=8) for _ in tiers]
    a, b, since = (
        [oracle.answered(rng, t, quality=q * float(rng.uniform(0.9, 1.1))) for t in truths] for q in qualities
    )
    b[4] = a[4]
    policy = a_policy(alpha=0.2, min_effect=0.005, resamples=399, groups={"some": "*", "first": "cam.h[0]"})
    metrics = ("f1", "average_precision")
    rules = [a_rule(*metrics, tier=t, margin=margin) for t in tiers]
    facts = replace(NO_FACTS, identical=["cam.h[4]"])
    cells = judged(a, b, rules, policy=policy, facts=facts, anchor=since)
    at = {"f1": (0.0, 0.0), "average_precision": (None, None)}
    twins = {
        (k, name, who): oracle.twin(name, old[k], b[k], *at[name])
        for k in range(3)
        for name in metrics
        for who, old in (("seen", a), ("since", since))
    }
    plain = {}
    for group, inside in (("some", (0, 1, 2)), ("first", (0,))):
        for name in metrics:
            members = [k for k in inside if oracle.is_measured(twins[k, name, "seen"])]
            if members:
                seen, drift = (group_of([twins[k, name, who] for k in members]) for who in ("seen", "since"))
                plain[group, name] = Plain("supporting", True, margin, 0.001, seen, drift, group=True)
    signs = both_ways(sign_vectors(clips, 399, 0))
    expected = judge_plainly(plain, signs, alpha=0.2, confidence=0.95, shares=SHARES, anchored=True)
    groups = {(c.prediction, c.metric) for c in cells if c.task == "group"}
    assert groups == {(f"group:{group}", name) for group, name in plain}
    for (group, name), said in expected.items():
        cell, twin = only(cells, prediction=f"group:{group}", name=name), plain[group, name]
        assert cell.delta == pytest.approx(twin.seen.delta, abs=1e-6)
        assert cell.ci_low == pytest.approx(twin.seen.bound(0.95), abs=1e-6), (cell, twin)
        assert cell.delta_anchor is not None
        assert twin.since is not None
        assert cell.delta_anchor == pytest.approx(twin.since.delta, abs=1e-6)
        if said.sure:
            assert cell.verdict == said.verdict, (cell, twin, said)
        for p, range_ in ((cell.p_adjusted, said.p), (cell.p_anchor, said.p_since)):
            assert p is not None
            assert range_ is not None
            assert range_.low <= p <= range_.high


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
    both = only(judged([b], [b], [a_rule("precision")]))
    assert both.reason == "no error can be given in validation: a single clip decides the value"
    assert ending([both])[0] == "INCONCLUSIVE"


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
    a = release(1, 200)
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


def test_a_member_that_its_anchor_lacks_does_not_blind_its_group() -> None:
    """The mean since the anchor is of those members that the anchor knows."""
    a, b, since = ([release(10 * k + s, quality=q) for s in range(3)] for k, q in enumerate((1.5, 1.4, 4.0)))
    policy = a_policy(groups={"all": "*", "new": "cam.h[2]"})
    cells = judged(a, b, [a_rule()] * 3, policy=policy, anchor=since, without_anchor=[2])
    group, new = (only(cells, prediction=f"group:{name}") for name in ("all", "new"))
    known = [only(cells, prediction=f"cam.h[{k}]").delta_anchor for k in (0, 1)]
    assert None not in known
    assert group.delta_anchor == pytest.approx(sum(x for x in known if x is not None) / 2)
    assert group.verdict == "regressed"
    assert "since its anchor" in group.reason
    assert (new.delta_anchor, new.p_anchor) == (None, None)
    assert new.verdict != "regressed"


def test_metrics_with_a_unit_have_a_tenth_of_their_margin_as_the_least_loss() -> None:
    policy = a_policy(min_effect=0.005)
    assert policy.effect("f1", 0.02) == 0.005
    assert policy.effect("mae", 0.2) == pytest.approx(0.02)
    assert policy.effect("log_loss", 0.05) == pytest.approx(0.005)
    assert not metric("mae").unitless
