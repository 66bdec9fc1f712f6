"""The whole table of the decision: which cells say NO-GO, INCONCLUSIVE or GO in each tier, and what is said first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.errors import ConfigError
from gate.judge import EXIT_CODES, VERDICTS, Cell, Reason, decide
from gate.judge.decide import BLOCKING, OPEN
from gate.judge.decision import Outcome, Tier, Verdict
from gate.pipeline import compare_bundles
from tests.support.decisions import a_cell, a_loss, an_undecided, an_unmeasured
from tests.support.tiny import POLICY, World, make_world, predict, refreeze, write_bundle, write_suite

TIERS: tuple[Tier, ...] = ("critical", "supporting", "advisory")


def decided(
    cells: Sequence[Cell] = (),
    *,
    missing: Sequence[str] = (),
    uncovered: Mapping[str, Tier] | None = None,
    must_pass: Sequence[str] = (),
    identical_uncovered: Sequence[str] = (),
) -> tuple[Outcome, list[str], dict[str, Reason]]:
    """(outcome, codes in order, code -> its first reason)."""
    outcome, reasons = decide(
        cells,
        missing=missing,
        uncovered=uncovered or {},
        must_pass=must_pass,
        identical_uncovered=identical_uncovered,
    )
    return outcome, [r.code for r in reasons], {r.code: r for r in reversed(reasons)}


def verdict_cell(verdict: Verdict, tier: Tier, where: str = "all") -> Cell:
    cell = an_unmeasured() if verdict in ("not-measurable", "broken") else a_cell()
    return replace(cell, verdict=verdict, tier=tier, slice=where, prediction="front.h", reason="why")


SOUND = replace(a_cell(), verdict="non-inferior", tier="supporting", prediction="front.sound")
NO, OPEN_, YES = "NO-GO", "INCONCLUSIVE", "GO"
TABLE: dict[Verdict, tuple[Outcome, Outcome, Outcome]] = {
    # verdict: critical, supporting, advisory
    "broken": (NO, NO, YES),
    "regressed": (NO, NO, YES),
    "undecided": (OPEN_, YES, YES),
    "not-measurable": (OPEN_, YES, YES),
    "improved": (YES, YES, YES),
    "non-inferior": (YES, YES, YES),
}


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("verdict", VERDICTS)
def test_each_verdict_in_each_tier_decides_as_the_table_says(verdict: Verdict, tier: Tier) -> None:
    outcome, codes, _ = decided([verdict_cell(verdict, tier), SOUND])
    assert outcome == TABLE[verdict][TIERS.index(tier)]
    assert (outcome == NO) == any(c in BLOCKING for c in codes)
    assert (outcome == OPEN_) == (any(c in OPEN for c in codes) and outcome != NO)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("verdict", VERDICTS)
def test_of_slices_only_a_regression_or_broken_evidence_blocks(verdict: Verdict, tier: Tier) -> None:
    outcome, _, _ = decided([verdict_cell(verdict, tier, "weather=rain")])
    assert outcome == (NO if verdict in ("regressed", "broken") and tier != "advisory" else YES)


@given(st.lists(st.tuples(st.sampled_from(VERDICTS), st.sampled_from(TIERS)), max_size=8))
def test_the_worst_cell_decides_whatever_stands_beside_it(several: list[tuple[Verdict, Tier]]) -> None:
    cells = [replace(verdict_cell(v, t), prediction=f"front.h[{k}]") for k, (v, t) in enumerate(several)]
    outcomes = {TABLE[v][TIERS.index(t)] for v, t in several}
    worst = next((o for o in (NO, OPEN_) if o in outcomes), YES)
    assert decided([*cells, SOUND])[0] == worst


def test_a_suite_on_which_nothing_that_gates_can_be_measured_never_says_go() -> None:
    cells = [verdict_cell("not-measurable", "supporting"), verdict_cell("non-inferior", "advisory")]
    assert decided(cells)[:2] == ("INCONCLUSIVE", ["nothing-measured", "not-measurable"])
    assert decided([*cells, SOUND])[0] == "GO"
    assert decided([])[0] == "GO"


@given(st.permutations([a_loss(), an_undecided(), an_unmeasured(), a_cell(), a_loss("front.x", p_adjusted=0.01)]))
def test_the_order_of_cells_decides_nothing(cells: list[Cell]) -> None:
    outcome, codes, _ = decided(cells)
    assert outcome == NO
    assert codes == ["regressed", "regressed", "undecided-critical", "not-measurable"]


@pytest.mark.parametrize(("tier", "outcome"), [("critical", NO), ("supporting", NO), ("advisory", YES)])
def test_a_missing_head_blocks_unless_it_is_advisory(tier: Tier, outcome: Outcome) -> None:
    cells = [replace(verdict_cell("broken", tier), prediction=p) for p in ("front.h[0]", "front.h[1]")]
    found, codes, told = decided(cells, missing=["front.h[0]", "front.h[1]"])
    assert found == outcome
    if tier == "advisory":
        assert codes == ["no-regression", "broken-advisory"]
    else:
        assert codes == ["missing-head"], "said once, and not as broken too"
        assert told["missing-head"].predictions == ("front.h[0]", "front.h[1]")


@pytest.mark.parametrize(("tier", "outcome"), [("critical", NO), ("supporting", NO), ("advisory", YES)])
def test_a_head_that_nobody_judges_blocks_unless_it_is_advisory(tier: Tier, outcome: Outcome) -> None:
    found, codes, _ = decided([a_cell()], uncovered={"front.new": tier})
    assert found == outcome
    assert codes[-1] == ("uncovered-advisory" if tier == "advisory" else "uncovered")


def test_a_head_that_nobody_judges_and_nothing_changed_is_only_told() -> None:
    found, codes, _ = decided([a_cell()], uncovered={"front.new": "critical"}, identical_uncovered=["front.new"])
    assert (found, codes) == ("GO", ["no-regression", "uncovered-advisory"])


@pytest.mark.parametrize(("tier", "outcome"), [("critical", NO), ("supporting", NO), ("advisory", YES)])
def test_new_errors_where_none_are_allowed_block_unless_advisory(tier: Tier, outcome: Outcome) -> None:
    cell = a_cell("front.h", tier=tier)
    assert decided([cell], must_pass=["front.h"])[0] == outcome


def test_measurable_on_the_incumbent_and_not_on_the_candidate_blocks() -> None:
    lost = an_unmeasured("front.h", incumbent=0.9)
    assert decided([lost])[:2] == ("NO-GO", ["lost-measurability", "not-measurable"])
    assert decided([replace(lost, slice="weather=rain")])[0] == "GO"
    assert decided([replace(lost, tier="advisory")])[0] == "GO"


def test_a_group_blocks_under_its_own_name() -> None:
    cell = a_loss("group:grid", task="group", tier="supporting")
    outcome, codes, told = decided([cell])
    assert (outcome, codes) == ("NO-GO", ["regressed-group"])
    assert told["regressed-group"].predictions == ("group:grid",)


def test_a_slice_of_a_regressed_prediction_is_not_said_twice() -> None:
    cells = [a_loss("front.h"), a_loss("front.h", slice="weather=rain"), a_loss("front.x", slice="weather=rain")]
    outcome, codes, told = decided(cells)
    assert (outcome, codes) == ("NO-GO", ["regressed", "regressed-slice"])
    assert told["regressed-slice"].predictions == ("front.x",)
    assert told["regressed-slice"].text.endswith(" in weather=rain")


def test_reasons_come_worst_first() -> None:
    everything = [
        verdict_cell("broken", "supporting"),
        a_loss("front.a"),
        a_loss("front.b", slice="weather=rain"),
        a_loss("group:g", task="group"),
        an_unmeasured("front.c", incumbent=0.9),
        an_undecided("front.d"),
        an_unmeasured("front.e", tier="critical"),
        a_cell("front.f", suspect=True, verdict="undecided"),
        a_cell("front.g", verdict="improved"),
        a_cell("front.m"),
        an_unmeasured("front.n", verdict="broken", tier="advisory"),
        an_unmeasured("front.o", verdict="broken"),
    ]
    unseen: dict[str, Tier] = {"front.u": "supporting", "front.v": "advisory"}
    _, codes, _ = decided(everything, missing=["front.o"], uncovered=unseen, must_pass=["front.m"])
    assert codes == [
        "missing-head", "broken", "must-pass", "regressed", "regressed-slice", "regressed-group", "lost-measurability",
        "uncovered", "uncovered-advisory", "undecided-critical", "not-measurable-critical", "suspect", "not-measurable",
        "broken-advisory", "improved",
    ]  # fmt: skip


def test_the_surest_and_greatest_loss_is_named_first() -> None:
    cells = [
        a_loss("front.small", p_adjusted=0.001, delta_worse=-0.02),
        a_loss("front.sure", p_adjusted=0.0001, delta_worse=-0.01),
        a_loss("front.great", p_adjusted=0.001, delta_worse=-0.09),
    ]
    for order in permutations(cells):
        _, reasons = decide(order, missing=(), uncovered={}, must_pass=(), identical_uncovered=())
        assert [r.predictions[0] for r in reasons] == ["front.sure", "front.great", "front.small"]


def test_beyond_ten_losses_the_rest_are_one_reason_that_names_all() -> None:
    cells = [a_loss(f"front.h[{k:02}]", p_adjusted=0.0001 * (k + 1)) for k in range(40)]
    _, reasons = decide(cells, missing=(), uncovered={}, must_pass=(), identical_uncovered=())
    assert [r.code for r in reasons] == ["regressed"] * 11
    assert len(reasons[-1].predictions) == 30
    assert reasons[-1].text.startswith("30 more predictions are proven worse")


def test_several_metrics_of_one_prediction_are_one_reason() -> None:
    cells = [a_loss("front.h"), a_loss("front.h", metric="average_precision", p_adjusted=0.00001, reason="lost AP")]
    _, reasons = decide(cells, missing=(), uncovered={}, must_pass=(), identical_uncovered=())
    assert [(r.code, r.text) for r in reasons] == [("regressed", "front.h lost AP")]


def test_the_undecided_are_told_how_many_clips_would_decide_all() -> None:
    cells = [an_undecided("front.a", clips_needed=140), an_undecided("front.b", clips_needed=2000)]
    text = decided(cells)[2]["undecided-critical"].text
    assert "about 2,000 more clips with positives would decide all" in text
    cells.append(an_undecided("front.c", clips_needed=None))
    text = decided(cells)[2]["undecided-critical"].text
    assert "for some no number of clips like these would" in text


def test_going_says_how_much_was_measured() -> None:
    cells = [
        a_cell("front.a"),
        a_cell("front.b", impact="identical"),
        an_unmeasured("front.c"),
        an_unmeasured("front.d", verdict="broken", tier="advisory"),
    ]
    outcome, _, told = decided(cells)
    assert outcome == "GO"
    assert told["no-regression"].text == (
        "no regression is proven on any of 2 measured predictions, of 4 in the suite; 1 identical by construction"
    )


def test_a_reason_may_quote_braces() -> None:
    cell = an_unmeasured("front.h", verdict="broken", reason="KeyError: '{size}' in {0}")
    assert decided([cell])[2]["broken"].text.endswith("front.h: KeyError: '{size}' in {0}")


def test_exit_codes_tell_the_outcomes_apart() -> None:
    assert EXIT_CODES == {"GO": 0, "NO-GO": 1, "INCONCLUSIVE": 3}


# Zero tolerance, from the policy to the decision.


@pytest.fixture(scope="module")
def small() -> World:
    return make_world(validation=24)


def outcome_of(
    folder: Path, world: World, spoil: str = "", *, clip: str = "clip-030", tier: str = "supporting"
) -> tuple[Outcome, list[str], list[str]]:
    """(outcome, codes, predictions that fail a clip that must pass); the candidate errs in `spoil` on one frame."""
    policy = f'must_pass = ["{clip}"]\n' + POLICY.replace('match = "*"', f'match = "*"\ntier = "{tier}"')
    write_suite(folder / "suite", world, policy=policy)
    good = predict(world, noise=0.1)
    write_bundle(folder / "old", world, good)
    worse = {name: values.copy() for name, values in good.items()}
    frame = world.clips.index("clip-030")
    if spoil == "range":
        worse["range"][frame] += 10.0
    elif spoil:
        worse[spoil][frame].reshape(-1)[:1] *= -1
    # Scores always move a little, far from any threshold: nothing is identical by construction.
    moved = {head: values * (1.0 if head == "range" else 1.001) for head, values in worse.items()}
    write_bundle(folder / "new", world, moved, version="2")
    refreeze(folder / "suite")
    result = compare_bundles(
        folder / "old",
        folder / "new",
        suite=folder / "suite",
        policy=folder / "suite" / "policy.toml",
        thresholds=folder / "thresholds",
    ).decision
    failed = [p for r in result.reasons if r.code == "must-pass" for p in r.predictions]
    return result.decision, [r.code for r in result.reasons], failed


@pytest.mark.usefixtures("without_contract_worker")
@pytest.mark.parametrize(
    ("spoil", "prediction"), [("sign", "cam.sign[stop]"), ("edge", "cam.edge"), ("range", "cam.range")]
)
def test_one_new_error_on_a_clip_that_must_pass_blocks(
    tmp_path: Path, small: World, spoil: str, prediction: str
) -> None:
    outcome, codes, failed = outcome_of(tmp_path, small, spoil)
    assert (outcome, codes[0], failed) == ("NO-GO", "must-pass", [prediction])


@pytest.mark.usefixtures("without_contract_worker")
def test_the_same_error_on_any_other_clip_does_not_block(tmp_path: Path, small: World) -> None:
    outcome, codes, failed = outcome_of(tmp_path, small, "sign", clip="clip-031")
    assert outcome == "GO"
    assert (failed, "must-pass" in codes) == ([], False)


@pytest.mark.usefixtures("without_contract_worker")
def test_zero_tolerance_for_an_advisory_prediction_blocks_nothing(tmp_path: Path, small: World) -> None:
    assert outcome_of(tmp_path, small, "sign", tier="advisory")[0] == "GO"


@pytest.mark.usefixtures("without_contract_worker")
@pytest.mark.parametrize("clip", ["clip-999", "clip-001"])
def test_a_clip_that_must_pass_and_is_not_in_validation_is_an_error(tmp_path: Path, small: World, clip: str) -> None:
    with pytest.raises(ConfigError, match=rf"policy.toml:1: must_pass.0: '{clip}' is not a validation clip"):
        outcome_of(tmp_path, small, clip=clip)
