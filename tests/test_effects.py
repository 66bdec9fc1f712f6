"""What each clip contributes: closed forms beside definitions, and the laws that make every test of them valid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields
from importlib import import_module

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gate.compare import Comparison, Question, compare
from gate.table import EvidenceTable
from tests.oracles import statistics as oracle
from tests.oracles.statistics import Clips, Event, Measured

AT_THRESHOLD = ("f1", "f2", "f0.5", "precision", "recall", "iou", "accuracy")
OF_SCORES = ("average_precision", "coco_ap", "brier", "log_loss")
OF_ERRORS = ("mae", "rmse")
ODD = ("plain", "missed", "equal", "perfect", "saturated", "lone", "silent", "same", "barren", "crowded", "giant")


def compared(
    a: Clips, b: Clips, metrics: Sequence[str], at_a: float | None = 0.0, at_b: float | None = 0.0
) -> Comparison:
    """One prediction: cells are metrics x (all, day, night)."""
    questions = [Question(0, (0,), m) for m in metrics]
    index, slices = oracle.index_of(len(a)), oracle.slices_of(len(a))
    return compare(oracle.side([a], [at_a]), oracle.side([b], [at_b]), questions, slices, index, np.array([False]))


def odd_releases(kind: str, seed: int, clips: int) -> tuple[Clips, Clips]:
    """Two answers to one truth; `kind` says what is strange about them."""
    rng = np.random.default_rng(seed)
    truth = oracle.a_truth(rng, clips, most=40 if kind == "crowded" else 6, share=float(rng.uniform(0.1, 0.9)))
    if kind == "giant":
        truth[0] = oracle.a_truth(rng, 1, least=300, most=300)[0]
    if kind == "barren":
        truth = [[Event(0.0, False, e.part) for e in clip] for clip in truth]
    if kind == "lone":
        truth = [[Event(0.0, e.positive and j == 0, e.part) for e in clip] for j, clip in enumerate(truth)]
    missed = 0.3 if kind == "missed" else 0.0
    a, b = (oracle.answered(rng, truth, quality=q, missed=missed) for q in rng.uniform(0.0, 2.0, 2))
    if kind == "same":
        b = a
    scores = {"equal": lambda e: 0.5, "perfect": lambda e: 9.0 if e.positive else -9.0, "silent": lambda e: -20.0}
    if kind in scores:
        b = [[Event(scores[kind](e), e.positive, e.part) for e in clip] for clip in b]
    if kind == "saturated":
        b = [[Event(math.copysign(60_000.0, e.score), e.positive, e.part) for e in clip] for clip in b]
    return a, b


def close(product: float, definition: float, tolerance: float) -> None:
    """Equal to `tolerance`, relative for large numbers; or both undefined."""
    if math.isnan(definition):
        assert math.isnan(product)
    else:
        assert product == pytest.approx(definition, rel=tolerance, abs=tolerance)


def agrees(c: Comparison, i: int, twin: oracle.Twin) -> None:
    close(c.incumbent[i], twin.incumbent, 1e-9)
    close(c.candidate[i], twin.candidate, 1e-9)
    close(c.delta[i], twin.delta, 1e-9)
    close(c.se[i], twin.se, 1e-6)
    close(c.lost[i], twin.lost, 1e-9)
    assert (c.positives[i], c.clips[i]) == (twin.positives, twin.clips)
    close(c.effective[i], twin.effective, 1e-9)
    if not math.isnan(twin.delta) and not math.isnan(twin.se):
        close(c.df[i], twin.df, 1e-9)
        assert c.d[i] == pytest.approx(twin.d, abs=1e-6)
        assert c.weight[i] == pytest.approx(twin.weight, abs=1e-9)


@given(st.sampled_from(ODD), st.integers(0, 10_000), st.integers(1, 9), st.sampled_from((-0.5, 0.0, 0.25, 2.0)))
@settings(max_examples=60, deadline=None)
@example("same", 1, 9, 0.0)
@example("silent", 2, 9, 0.0)
@example("lone", 3, 9, 0.0)
@example("saturated", 4, 9, 0.0)
@example("giant", 5, 9, 0.25)
def test_every_number_of_a_scored_cell_is_what_its_definition_says(
    kind: str, seed: int, clips: int, threshold: float
) -> None:
    a, b = odd_releases(kind, seed, clips)
    metrics = [*AT_THRESHOLD, *OF_SCORES] if kind != "missed" else [*AT_THRESHOLD[:-1], *OF_SCORES[:2]]
    c = compared(a, b, metrics, 0.0, threshold)
    for i in range(len(c.question)):
        metric, part = metrics[c.question[i]], [None, 0, 1][c.slice[i]]
        thresholds = (0.0, threshold) if metric in AT_THRESHOLD else (None, None)
        agrees(c, i, oracle.twin(metric, oracle.within(a, part), oracle.within(b, part), *thresholds))


@given(st.integers(0, 10_000), st.integers(1, 12), st.booleans())
@settings(max_examples=40, deadline=None)
def test_every_number_of_a_measured_cell_is_what_its_definition_says(seed: int, clips: int, constant: bool) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(0, 6, clips)

    def release(spread: float) -> Clips:
        # Errors in steps of 2^-8 are exact in the fixed point of evidence.
        errors = [0.5 if constant else round(256 * spread * float(rng.normal())) / 256 for _ in range(int(sizes.sum()))]
        places = iter(errors)
        return [[Measured(next(places), k % 2) for k in range(n)] for n in sizes]

    a, b = release(1.0), release(float(rng.uniform(0.5, 2.0)))
    c = compared(a, b, OF_ERRORS)
    for i in range(len(c.question)):
        part = [None, 0, 1][c.slice[i]]
        twin = oracle.twin(OF_ERRORS[c.question[i]], oracle.within(a, part), oracle.within(b, part))
        agrees(c, i, twin)


@given(st.sampled_from(ODD), st.integers(0, 10_000), st.floats(-0.2, 0.2))
@settings(max_examples=40, deadline=None)
def test_contributions_add_up_to_the_difference_under_every_null(kind: str, seed: int, s: float) -> None:
    a, b = odd_releases(kind, seed, 10)
    c = compared(a, b, [*AT_THRESHOLD, *OF_SCORES] if kind != "missed" else [*AT_THRESHOLD[:-1], *OF_SCORES[:2]])
    for i in range(len(c.question)):
        if not math.isnan(c.delta[i]) and not math.isnan(c.se[i]):
            assert (c.d[i] + s * c.weight[i]).sum() == pytest.approx(c.delta[i] + s, abs=1e-9)


@given(st.integers(0, 10_000), st.floats(-0.2, 0.2))
@settings(max_examples=20, deadline=None)
def test_contributions_of_errors_add_up_too(seed: int, s: float) -> None:
    rng = np.random.default_rng(seed)
    a, b = ([[Measured(float(x)) for x in rng.normal(size=3)] for _ in range(10)] for _ in "ab")
    c = compared(a, b, OF_ERRORS)
    assert (c.d + s * c.weight).sum(axis=1)[c.slice == 0] == pytest.approx(c.delta[c.slice == 0] + s, abs=1e-9)


@given(st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_a_clip_that_both_bundles_answer_alike_contributes_exactly_nothing(seed: int) -> None:
    """When the totals are alike too; rounding must not make a clip that differs of one that does not."""
    rng = np.random.default_rng(seed)
    a = oracle.answered(rng, oracle.a_truth(rng, 30), quality=0.3)
    c = compared(a, a, [*AT_THRESHOLD, *OF_SCORES])
    assert not c.d.any()
    assert not np.nan_to_num(c.delta).any()
    assert not np.nan_to_num(c.se).any()


@pytest.mark.parametrize("kind", ODD)
def test_evidence_that_both_bundles_share_gives_what_working_all_of_it_out_gives(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = odd_releases(kind, seed=5, clips=14)
    metrics = (*AT_THRESHOLD, *OF_SCORES)
    questions = [Question(p, (p,), m) for p in (0, 1) for m in metrics]
    asked = (questions, oracle.slices_of(14), oracle.index_of(14), np.array([False, False]))

    def found() -> list[Comparison]:
        sides = [oracle.side(given, [0.0, 0.0]) for given in ([a, a], [a, b], [a, a])]
        return [compare(sides[0], side, *asked) for side in sides[1:]]

    short = found()
    module = import_module("gate.compare.compare")
    monkeypatch.setattr(EvidenceTable, "__eq__", lambda one, other: False)
    monkeypatch.setattr(module, "differing", lambda one, other: np.ones(one.rows, bool))
    for quick, whole in zip(short, found(), strict=True):
        for field in fields(Comparison):
            assert np.array_equal(*(np.asarray(getattr(c, field.name), float) for c in (quick, whole)), equal_nan=True)


@given(st.sampled_from(("plain", "lone", "crowded")), st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_swapping_the_bundles_turns_every_contribution_around(kind: str, seed: int) -> None:
    a, b = odd_releases(kind, seed, 10)
    metrics = [*AT_THRESHOLD, *OF_SCORES]
    there, back = compared(a, b, metrics, 0.0, 0.25), compared(b, a, metrics, 0.25, 0.0)
    assert there.d == pytest.approx(-back.d, abs=1e-15)
    assert there.weight == pytest.approx(back.weight, abs=1e-15)
    np.testing.assert_array_equal(np.nan_to_num(there.delta), -np.nan_to_num(back.delta))


@pytest.mark.parametrize(
    ("clips", "share", "giant", "low", "high"),
    [(40, 0.5, 1, 0.95, 1.05), (100, 0.1, 1, 0.95, 1.05), (40, 0.5, 10, 0.9, 1.1), (40, 0.5, 50, 0.6, 1.5)],
)
def test_the_error_of_average_precision_is_near_that_of_leaving_each_clip_out(
    clips: int, share: float, giant: int, low: float, high: float
) -> None:
    """The closed form is of first order in the clips; giant: size of one clip in that of the others."""
    for seed in range(4):
        rng = np.random.default_rng([clips, seed])
        truth = oracle.a_truth(rng, clips, least=1, most=10, share=share)
        if giant > 1:
            truth[3] = oracle.a_truth(rng, 1, least=5 * giant, most=5 * giant, share=share)[0]
        a, b = (oracle.answered(rng, truth, quality=q) for q in (1.5, 1.0))
        c = compared(a, b, ["average_precision"])
        left = [
            oracle.value("average_precision", oracle.without(b, j))
            - oracle.value("average_precision", oracle.without(a, j))
            for j in range(clips)
        ]
        true = math.sqrt((clips - 1) / clips * sum((x - c.delta[0]) ** 2 for x in left))
        assert low < c.se[0] / true < high


def test_f1_of_two_clips_counted_by_hand() -> None:
    #            tp fn fp     n = 2 tp, d = 2 tp + fn + fp
    # clip 0, A:  2  0  0     4, 4      B:  1  1  0     2, 3
    # clip 1, A:  1  0  1     2, 3      B:  1  0  1     2, 3
    yes, no, alarm = Event(1.0, True), Event(-1.0, True), Event(1.0, False)
    c = compared([[yes, yes], [yes, alarm]], [[yes, no], [yes, alarm]], ["f1"])
    assert c.incumbent[0] == 6 / 7
    assert c.candidate[0] == 4 / 6
    middle = (6 / 7 + 4 / 6) / 2
    expected = [(2 - 3 * middle) / 6 - (4 - 4 * middle) / 7, (2 - 3 * middle) / 6 - (2 - 3 * middle) / 7]
    assert c.d[0] == pytest.approx(expected)
    assert c.weight[0] == pytest.approx([(3 / 6 + 4 / 7) / 2, (3 / 6 + 3 / 7) / 2])
    # Without clip 0: B 2/3, A 2/3. Without clip 1: B 2/3, A 1. delta = -4/21.
    assert c.se[0] == pytest.approx(math.sqrt(1 / 2 * ((0 + 4 / 21) ** 2 + (-1 / 3 + 4 / 21) ** 2)))
    assert c.lost[0] == pytest.approx((2 - 6 / 7) / 7)


def test_a_missed_positive_lowers_average_precision_and_is_charged_to_its_clip() -> None:
    seen, missed, alarm = Event(2.0, True), Event(None, True), Event(-2.0, False)
    a = [[seen, alarm] for _ in range(10)]
    b = [[missed, alarm], *a[1:]]
    c = compared(a, b, ["average_precision"])
    assert c.delta[0] == pytest.approx(-0.1)
    assert c.d[0].argmin() == 0
    assert c.d[0].sum() == pytest.approx(-0.1)
