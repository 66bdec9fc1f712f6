"""Data that fools a naive comparison: each has its own verdict, and a reason that a person can read."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gate.judge import Cell, decide
from gate.judge.sentences import amount, spelled
from tests.oracles import statistics as oracle
from tests.oracles.statistics import Clips, Event
from tests.support.judged import NO_FACTS, a_policy, a_rule, judged, only
from tests.support.tiny import World, gate, make_world, predict, write_bundle, write_suite

CLIPS = 40


def exam(seed: int = 0, clips: int = CLIPS) -> list[list[Event]]:
    return oracle.a_truth(np.random.default_rng(seed), clips, least=4, most=10)


def answers(seed: int, quality: float = 2.0, clips: int = CLIPS) -> Clips:
    return oracle.answered(np.random.default_rng(seed), exam(clips=clips), quality=quality)


def scored(clips: Clips, score: Callable[[Event], float]) -> Clips:
    return [[replace(e, score=score(e)) for e in clip] for clip in clips]


def with_positives(clips: Clips, keep: Callable[[int], bool]) -> Clips:
    """The same scores, with the truths of all other clips turned into negatives."""
    return [[replace(e, positive=e.positive and keep(j)) for e in clip] for j, clip in enumerate(clips)]


def one(a: Clips, b: Clips, name: str = "f1", where: str = "all", **options: Any) -> Cell:
    return only(judged([a], [b], [a_rule(name, tier=options.pop("tier", "supporting"))], **options), where)


def told(cell: Cell) -> tuple[str, str]:
    return cell.verdict, cell.reason


def outcome(cells: Sequence[Cell]) -> str:
    return decide(cells, missing=(), uncovered={}, must_pass=(), identical_uncovered=())[0]


def silent(cell: Cell) -> bool:
    """No number of a cell that was not measured is shown: not even one that looks like 0 or 1."""
    return (cell.delta, cell.ci_low, cell.ci_high, cell.mdr, cell.delta_worse) == (None,) * 5


# Nothing to find.


@pytest.mark.parametrize("name", ["f1", "recall", "precision", "iou", "average_precision", "coco_ap"])
def test_no_positives(name: str) -> None:
    a, b = (with_positives(answers(k), lambda j: False) for k in (1, 2))
    cell = one(a, b, name)
    assert told(cell) == ("not-measurable", "no positives in validation")
    assert silent(cell)
    assert outcome([replace(cell, tier="critical")]) == "INCONCLUSIVE"


def test_no_positives_in_one_slice() -> None:
    a, b = ([[replace(e, positive=e.positive and e.part == 0) for e in c] for c in answers(k)] for k in (1, 2))
    assert told(one(a, b, where="light=night")) == ("not-measurable", "no positives in this slice")
    assert one(a, b, where="light=day").verdict != "not-measurable"


@pytest.mark.parametrize("name", ["f1", "average_precision", "coco_ap", "brier", "log_loss"])
def test_one_clip(name: str) -> None:
    support = "frames with a truth" if name in ("brier", "log_loss") else "positives"
    a, b = ([[e for clip in answers(k) for e in clip]] for k in (1, 2))
    cell = one(a, b, name)
    assert told(cell) == ("not-measurable", f"{support} in only 1 clips in validation; 10 are needed")
    assert silent(cell)
    assert cell.p_adjusted in (None, 1.0)


@pytest.mark.parametrize("clips", [9, 10])
def test_nine_clips_are_too_few_and_ten_are_not(clips: int) -> None:
    a, b = ([[*c, Event(3.0, True)] for c in answers(k, clips=clips)] for k in (1, 2))
    cell = one(a, b)
    if clips == 9:
        assert told(cell) == ("not-measurable", "positives in only 9 clips in validation; 10 are needed")
    else:
        assert cell.verdict != "not-measurable"
    assert cell.clips == clips


def test_all_positives_in_one_clip() -> None:
    a, b = (with_positives(answers(k), lambda j: j == 7) for k in (1, 2))
    for name in ("f1", "average_precision", "recall"):
        cell = one(a, b, name)
        assert told(cell) == ("not-measurable", "positives in only 1 clips in validation; 10 are needed")
        assert silent(cell)


def test_an_empty_slice() -> None:
    a, b = ([[replace(e, part=0) for e in c] for c in answers(k)] for k in (1, 2))
    assert told(one(a, b, where="light=night")) == ("not-measurable", "no positives in this slice")
    assert told(one(a, b, "brier", where="light=night")) == ("not-measurable", "no frames with a truth in this slice")


# Scores that say nothing, or too much.


def test_all_scores_equal_is_a_great_loss_of_what_could_be_told_apart() -> None:
    a, b = answers(1), scored(answers(1), lambda e: 0.5)
    cell = one(a, b, "average_precision")
    assert cell.candidate is not None
    share = sum(e.positive for c in b for e in c) / sum(len(c) for c in b)
    assert cell.candidate == pytest.approx(share), "equal scores are one group, whatever their order"
    assert cell.verdict == "regressed"
    assert cell.reason.startswith("lost ")
    assert cell.reason.endswith(f" points of average precision on {cell.clips} clips, adjusted p 0.0010")


@pytest.mark.parametrize("name", ["f1", "average_precision", "coco_ap", "precision"])
def test_all_scores_equal_in_both_is_no_difference_and_no_certainty(name: str) -> None:
    a = scored(answers(1), lambda e: 0.5)
    cell = one(a, a, name)
    assert (cell.delta, cell.p_adjusted, cell.suspect) == (0.0, 1.0, False)
    assert cell.ci_low is not None
    assert -0.05 < cell.ci_low < 0
    assert told(cell) == (
        "non-inferior",
        f"at most {amount(-cell.ci_low, '', True)} of {spelled(name)} lost, margin 5.0 points",
    )
    few = one(a[:12], a[:12], name, tier="critical")
    assert few.verdict == "undecided", "12 clips cannot rule out a collapse on clips that they do not hold"
    assert few.reason.startswith("undecided: needs about ")
    assert few.reason.endswith(f"(no difference in {spelled(name)} on {few.clips} clips, not proven either way)")


def test_constant_output_below_every_threshold_cannot_pass() -> None:
    a, b = answers(1), scored(answers(1), lambda e: -50.0)
    lost = one(a, b, "f1")
    assert lost.candidate == 0.0
    assert lost.verdict == "regressed"
    undefined = one(a, b, "precision")
    said = "precision of the candidate is not defined in validation: it accepts nothing"
    assert told(undefined) == ("not-measurable", said)
    assert undefined.candidate is None
    assert outcome([undefined]) == "NO-GO", "what the incumbent could be measured on is lost"


def test_perfect_scores_of_both_still_have_a_bound() -> None:
    a = scored(answers(1, clips=80), lambda e: 9.0 if e.positive else -9.0)
    for name in ("f1", "average_precision", "precision", "recall", "iou"):
        cell = one(a, a, name)
        assert (cell.incumbent, cell.candidate, cell.delta) == (1.0, 1.0, 0.0)
        assert cell.verdict == "non-inferior"
        assert cell.ci_low is not None
        assert -0.05 < cell.ci_low < 0
        assert cell.reason.startswith("at most ")
        assert cell.reason.endswith(" lost, margin 5.0 points")


def test_perfect_scores_after_poor_ones_are_a_proven_gain() -> None:
    a, b = answers(1, 0.5), scored(answers(1), lambda e: 9.0 if e.positive else -9.0)
    cell = one(a, b, "average_precision")
    assert cell.verdict == "improved"
    assert cell.reason.startswith("gained ")


@pytest.mark.parametrize("limit", [60.0, 65_504.0, math.inf])
def test_saturated_logits_rank_and_lose_as_what_they_are(limit: float) -> None:
    """Right signs at +-60: nothing is lost at a threshold, and every wrong one costs 60 nats."""
    a = answers(1)
    b = scored(a, lambda e: math.copysign(limit, e.score if e.score else 1.0))
    at_threshold, curve, loss = (one(a, b, name) for name in ("f1", "average_precision", "log_loss"))
    assert (at_threshold.delta, at_threshold.verdict) == (0.0, "non-inferior")
    assert (curve.verdict, loss.verdict) == ("regressed", "regressed")
    assert curve.reason.startswith("lost ")
    assert curve.reason.endswith(" points of average precision on 39 clips, adjusted p 0.0010")
    wrong = sum((e.score >= 0) != e.positive for c in a for e in c if e.score is not None)
    events = sum(len(c) for c in a)
    assert loss.candidate == pytest.approx(wrong * min(limit, 65_504.0) / events, rel=1e-3)
    assert " nat of log-loss on 40 clips" in loss.reason


def test_ties_count_the_same_in_every_order() -> None:
    """Three scores only: the groups of equal scores, and not the order of events, make the curve."""
    a, b = (scored(answers(k), lambda e: float(np.clip(round(e.score or 0.0), -1, 1))) for k in (1, 2))
    cells = [one(a, b, n) for n in ("average_precision", "coco_ap")]
    rng = np.random.default_rng(0)
    mixed = [[c[k] for k in rng.permutation(len(c))] for c in b]
    assert cells == [one(a, mixed, n) for n in ("average_precision", "coco_ap")]
    for cell, name in zip(cells, ("average_precision", "coco_ap"), strict=True):
        assert cell.incumbent == pytest.approx(oracle.value(name, a))
        assert cell.candidate == pytest.approx(oracle.value(name, b))
        assert cell.ci_low is not None
        most = amount(-cell.ci_low, "", True)
        assert told(cell) == ("non-inferior", f"at most {most} of {spelled(name)} lost, margin 5.0 points")


# Clips of very different size.


def huge(seed: int, quality: float, other: float) -> Clips:
    """Forty clips, of which one has a thousand times the events, of a quality of its own."""
    rng = np.random.default_rng(7)
    truth = oracle.a_truth(rng, CLIPS, least=2, most=2, share=0.5)
    truth[3] = [Event(0.0, bool(rng.random() < 0.5), k % 2) for k in range(2000)]
    truth = [[replace(e, positive=True) if k == 0 else e for k, e in enumerate(c)] for c in truth]
    rng = np.random.default_rng(seed)
    small, large = (oracle.answered(rng, truth, quality=q) for q in (quality, other))
    return [large[j] if j == 3 else c for j, c in enumerate(small)]


@pytest.mark.parametrize("name", ["f1", "precision", "iou", "recall", "average_precision"])
def test_a_loss_in_one_huge_clip_is_one_clips_loss_and_proves_nothing(name: str) -> None:
    """2,000 events lost some points: by events a sure thing, by clips a single draw."""
    cell = one(huge(1, 3.0, 3.0), huge(2, 3.0, 0.5), name)
    assert cell.delta is not None
    assert cell.delta < -0.1
    assert cell.p_adjusted is not None
    assert cell.p_adjusted > 0.2
    assert cell.verdict == "undecided"
    assert cell.suspect
    assert cell.ci_low is not None
    assert cell.ci_low < -0.15
    assert cell.reason.startswith("undecided: ")


@pytest.mark.parametrize("name", ["precision", "f1", "iou"])
def test_what_a_huge_clip_does_to_the_totals_is_no_difference_of_the_others(name: str) -> None:
    """39 clips are answered perfectly by both; each gets a small share of one sign, which must not look like proof."""
    truth = [[Event(1.0, True)] * 4 for _ in range(CLIPS)]
    a = [*truth[1:], [Event(1.0, True)] * 400]
    b = [*truth[1:], [Event(1.0, True)] * 320 + [Event(-1.0, True)] * 80 + [Event(1.0, False)] * 240]
    loss, gain = one(a, b, name), one(b, a, name)
    assert (loss.verdict, loss.p_adjusted, loss.suspect) == ("undecided", 1.0, True)
    assert (gain.verdict, gain.p_adjusted, gain.suspect) == ("undecided", 1.0, False)
    assert loss.reason.startswith("undecided: ")
    assert loss.reason.endswith(f" of {spelled(name)} on 40 clips, not proven either way)")


def test_a_huge_clip_certifies_nothing_either() -> None:
    a = huge(1, 3.0, 3.0)
    cell = one(a, a, tier="critical")
    assert cell.delta == 0.0
    assert cell.verdict == "undecided", "one clip carries all: the guard sees how few clips these are worth"
    assert cell.clips_needed is not None
    assert cell.clips_needed > 1000


def test_a_huge_clip_does_not_hide_the_loss_of_all_others() -> None:
    """A slice without it shows them; in the whole suite they weigh nothing."""
    a = [[replace(e, part=int(j == 3)) for e in c] for j, c in enumerate(huge(1, 3.0, 3.0))]
    b = [
        scored([c], lambda e: e.score or 0.0)[0] if j == 3 else scored([c], lambda e: -2.0)[0] for j, c in enumerate(a)
    ]
    cells = judged([a], [b], [a_rule("recall")])
    assert only(cells).delta == pytest.approx(-0.03, abs=0.03)
    assert only(cells, "light=day").verdict == "regressed"
    assert outcome(cells) == "NO-GO"


# Anchors.


def test_an_anchor_that_lacks_the_head_changes_nothing_but_the_share_of_alpha() -> None:
    a, b = answers(1), answers(2)
    cells = judged([a], [b], [a_rule()], anchor=[answers(3, 5.0)], without_anchor=[0])
    alone = judged([a], [b], [a_rule()])
    for x, y in zip(cells, alone, strict=True):
        assert (x.anchor, x.delta_anchor, x.p_anchor, x.gained_since_anchor) == (None, None, None, False)
        assert (x.verdict, x.reason, x.p_adjusted, x.delta) == (y.verdict, y.reason, y.p_adjusted, y.delta)


def test_an_anchor_equal_to_the_incumbent_says_what_the_incumbent_says() -> None:
    a, b = answers(1, 3.0), answers(2, 1.0)
    for cell in judged([a], [b], [a_rule("f1", "average_precision")], anchor=[a]):
        assert (cell.anchor, cell.delta_anchor, cell.p_anchor) == (cell.incumbent, cell.delta, cell.p_adjusted)
        assert cell.verdict in ("regressed", "undecided")
        assert "since its anchor" not in cell.reason


def test_a_candidate_equal_to_its_incumbent_and_worse_than_its_anchor_is_regressed() -> None:
    a = answers(1, 1.0)
    cells = judged([a], [a], [a_rule("f1", "average_precision")], anchor=[answers(3, 4.0)])
    for name in ("f1", "average_precision"):
        cell = only(cells, name=name)
        assert (cell.verdict, cell.delta, cell.p_adjusted, cell.suspect) == ("regressed", 0.0, 1.0, False)
        assert cell.p_anchor is not None
        assert cell.p_anchor <= 0.0075
        assert cell.delta_anchor is not None
        points = f"{-100 * cell.delta_anchor:.1f} points of {'F1' if name == 'f1' else 'average precision'}"
        assert cell.reason == f"lost {points} since its anchor on {cell.clips} clips, adjusted p {cell.p_anchor:.4f}"
    assert outcome(cells) == "NO-GO"


def test_what_the_change_cannot_reach_is_not_blamed_for_the_drift_of_earlier_releases() -> None:
    """Not shipping would not mend it: the incumbent has it too."""
    a = answers(1, 1.0)
    facts = replace(NO_FACTS, identical=["cam.h"])
    cell = only(judged([a], [a], [a_rule(tier="critical")], facts=facts, anchor=[answers(3, 4.0)]))
    assert told(cell) == ("non-inferior", "identical by construction: the change cannot reach it")
    assert cell.delta_anchor is not None
    assert cell.delta_anchor < -0.1, "and it is shown all the same"


def test_a_critical_candidate_near_its_incumbent_is_open_while_its_anchor_is_more_than_the_margin_above() -> None:
    """Nothing is proven against either; the budget since the anchor is not proven kept."""
    policy = a_policy(min_effect=0.02)
    rng = np.random.default_rng(0)
    old = [[Event(1.0, True) for _ in range(6)] for _ in range(200)]
    # Of a hundred truths that its anchor found, the incumbent and the candidate miss two and a half.
    a = scored(old, lambda e: -1.0 if rng.random() < 0.025 else 1.0)
    cells = {
        (tier, bool(anchor)): only(
            judged([a], [a], [a_rule("recall", tier=tier, margin=0.03)], policy=policy, anchor=anchor)
        )
        for tier in ("critical", "supporting")
        for anchor in (None, [old])
    }
    held = cells["critical", True]
    assert cells["critical", False].verdict == "non-inferior"
    assert held.verdict == "undecided"
    assert held.delta == 0.0
    assert held.delta_anchor is not None
    assert held.reason.startswith("undecided: needs about ")
    assert f"(lost {amount(-held.delta_anchor, '', True)} of recall since its anchor on 200 clips, " in held.reason
    assert cells["supporting", True].verdict == "non-inferior"


# Broken recordings, through files.


@pytest.fixture(scope="module")
def wide() -> World:
    return make_world()


@pytest.fixture
def folder(tmp_path: Path, wide: World, without_contract_worker: None) -> Path:
    write_suite(tmp_path / "suite", wide)
    write_bundle(tmp_path / "old", wide, predict(wide), version="1")
    return tmp_path


def verdicts(folder: Path, old: str = "old", new: str = "new") -> tuple[int, list[dict[str, Any]], str]:
    """(exit code, cells on the whole suite, what the terminal says)."""
    ended = gate("compare", old, new, "--suite", "suite", "--out", "out", cwd=folder)
    found = json.loads((folder / "out/verdict.json").read_text())
    return ended.code, [c for c in found["cells"] if c["slice"] == "all"], ended.out


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_nan_in_one_frame_breaks_its_prediction_and_no_other(folder: Path, wide: World, bad: float) -> None:
    outputs = predict(wide, seed=2)
    outputs["sign"][140, 1] = bad
    write_bundle(folder / "new", wide, outputs, version="2")
    code, cells, out = verdicts(folder)
    broken = {c["prediction"]: c["reason"] for c in cells if c["verdict"] == "broken"}
    assert broken == {"cam.sign[yield]": "NaN or infinity in 1 of 144 frames, the first is f0140"}
    assert code == 1
    assert "NaN or infinity in 1 of 144 frames, the first is f0140" in out
    code, cells, _ = verdicts(folder, "new", "old")
    (cell,) = (c for c in cells if c["prediction"] == "cam.sign[yield]" and c["metric"] == "f1")
    assert cell["verdict"] == "not-measurable"
    assert cell["reason"].startswith("NaN or infinity in 1 of 144 frames, the first is f0140 (incumbent)")
    assert cell["delta"] is None
    assert code == 0, "a broken incumbent does not block what replaces it"


def test_a_frame_missing_on_one_side_is_never_left_out_on_both(folder: Path, wide: World) -> None:
    """The frame would have been the candidate's worst; an intersection would forgive it."""
    write_bundle(folder / "new", wide, predict(wide, seed=2), version="2", keep=lambda name: name != "f0100")
    code, cells, out = verdicts(folder)
    assert code == 1
    assert {c["verdict"] for c in cells} == {"broken"}
    assert {c["reason"] for c in cells} == {"no prediction for 1 of 144 frames, the first is f0100"}
    assert {c["candidate"] for c in cells} == {None}
    assert "no prediction for 1 of 144 frames, the first is f0100" in out
    code, cells, _ = verdicts(folder, "new", "old")
    assert code == 3
    assert {c["verdict"] for c in cells} == {"not-measurable"}
    assert all("no prediction for 1 of 144 frames, the first is f0100 (incumbent)" in c["reason"] for c in cells)


def test_a_frame_missing_on_both_sides_is_broken_too(folder: Path, wide: World) -> None:
    for name in ("old", "new"):
        write_bundle(folder / name, wide, predict(wide), version=name, keep=lambda name: name != "f0100")
    code, cells, _ = verdicts(folder)
    assert code == 1
    assert {c["verdict"] for c in cells} == {"broken"}


def test_a_head_that_answers_the_same_everywhere_is_broken_or_worse_and_never_passes(folder: Path, wide: World) -> None:
    outputs = predict(wide, seed=2)
    outputs["sign"][:] = 0.0
    outputs["range"][:] = 20.0
    write_bundle(folder / "new", wide, outputs, version="2")
    code, cells, _ = verdicts(folder)
    assert code == 1
    for cell in cells:
        if cell["prediction"] != "cam.edge":
            assert cell["verdict"] in ("broken", "regressed"), cell


@pytest.mark.parametrize(("told", "verdict"), [(True, "non-inferior"), (False, "undecided")])
def test_an_anchor_without_a_value_certifies_nothing_unless_it_is_told_to_lack_the_prediction(
    told: bool, verdict: str
) -> None:
    """One that could not decide at all must not switch off the budget of a critical prediction in silence."""
    a, rule = answers(1, 5.0, 200), a_rule("average_precision", tier="critical", margin=0.2)
    facts = replace(NO_FACTS, unknown=["cam.h"] if told else [])
    cell = only(judged([a], [a], [rule], facts=facts, anchor=[a], without_anchor=[0]))
    assert cell.verdict == verdict
    assert ("no value on its anchor" in cell.reason) == (not told)
