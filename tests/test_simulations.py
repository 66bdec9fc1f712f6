"""The simulations of benchmarks/simulations, small and seeded: the method holds in a world with known truth.

Bounds are what a method that keeps its promise breaks once in a thousand such runs; where heads of one suite share its
clips, suites are counted generously. Each fact that follows from the world itself is asserted too: a simulation whose
truth is off proves nothing.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from benchmarks.simulations import certification, drift, false_blocks, guarantee, hysteresis, mdr, power, scores
from benchmarks.simulations.rules import MCNEMAR, POINT, SHARP, max_t, proven
from benchmarks.simulations.tables import clustered, markdown, percent
from benchmarks.simulations.world import (
    HEAVY,
    REGULAR,
    a_suite,
    answers,
    comparison_of,
    rows_of,
    silent_regime,
    twins,
    wrong_regime,
)
from gate.calibrate import threshold_codes
from gate.calibrate.guaranteed import bounds_at
from gate.compare import sign_vectors


def most(rate: float, trials: int) -> int:
    """More than this many of `trials` happen once in a thousand times when `rate` holds."""
    return int(stats.binom.ppf(0.999, trials, rate))


def least(rate: float, trials: int) -> int:
    return int(stats.binom.ppf(0.001, trials, rate))


@pytest.mark.parametrize("kind", ["equal", "shift", "silent", "wrong"])
def test_the_world_loses_what_was_planted(kind: str) -> None:
    rng = np.random.default_rng(11)
    suite = a_suite(rng, 200, 300, REGULAR, prevalence=(0.05, 0.05))
    pair = twins(rng, suite)
    given = {
        "equal": lambda: answers(pair),
        "shift": lambda: answers(pair, 0.05),
        "silent": lambda: answers(pair, silent=silent_regime(rng, suite, 0.05)),
        "wrong": lambda: answers(pair, wrong=wrong_regime(rng, suite, 0.05)),
    }[kind]()
    c = comparison_of(given)
    planted = 0.0 if kind == "equal" else 0.05
    # Heads share 30 % of their clip effects: the error of the mean is read from the clips, not from the heads.
    error = np.sqrt((c.d.mean(axis=0) ** 2).sum())
    assert abs(c.delta.mean() + planted) < 3.3 * error
    assert abs((c.incumbent - suite.f1).mean()) < 0.01


def test_the_two_kinds_of_clip_are_worth_what_the_method_says() -> None:
    """400 regular clips about 180 to 200, 300 heavy ones about 50 (method, part B)."""
    rng = np.random.default_rng(12)
    worth = [
        comparison_of(answers(twins(rng, a_suite(rng, 50, n, kind, prevalence=(0.02, 0.1))))).effective.mean()
        for n, kind in ((400, REGULAR), (300, HEAVY))
    ]
    assert 150 < worth[0] < 230
    assert 30 < worth[1] < 70


def test_equal_releases_are_blocked_at_the_level_and_other_rules_block_nearly_all() -> None:
    """At the sharp null the level is spent; a point threshold and tests of single events block almost everything."""
    releases, blocked, point, events = 40, 0, 0, 0
    for r in range(releases):
        rng = np.random.default_rng([13, r])
        given = answers(twins(rng, a_suite(rng, 200, 60, HEAVY)))
        c = comparison_of(given)
        blocked += bool(max_t(c, sign_vectors(60, 399, r))[SHARP].any())
        called = power.others(given, c)
        point, events = point + bool(called[POINT].any()), events + bool(called[MCNEMAR].any())
    assert blocked <= most(0.05, releases)
    assert point == releases
    assert events > releases / 2


def test_the_whole_policy_blocks_few_equal_releases() -> None:
    releases = 25
    counts = [false_blocks.release((14, r), 40, REGULAR, heads=200)[false_blocks.WHOLE] for r in range(releases)]
    assert sum(n > 0 for n in counts) <= most(0.05, releases)


def test_fifty_copies_of_a_head_are_blocked_as_often_as_the_head_alone() -> None:
    """One sign a clip for all cells keeps what correlation there is; signs of their own would be a Bonferroni."""
    releases, blocked = 200, 0
    for r in range(releases):
        rng = np.random.default_rng([15, r])
        c = comparison_of(answers(twins(rng, a_suite(rng, 1, 30, REGULAR, prevalence=(0.05, 0.05)))))
        copies = rows_of(c, np.zeros(50, np.int64))
        blocked += bool(proven(copies, np.ones(50, bool), sign_vectors(30, 199, r), 0.2, 0.0).any())
    assert least(0.2, releases) <= blocked <= most(0.2, releases)


def test_a_loss_of_ten_points_is_found_among_noisy_heads_and_one_of_one_point_is_not() -> None:
    """Rare heads are ten times as noisy: unless each cell is divided by its own noise, they drown the others."""
    runs = [power.release((16, r), 200, REGULAR, heads=300) for r in range(3)]
    found = {loss: np.mean([x[loss][power.POLICY].mean() for x in runs]) for loss in (0.01, 0.1)}
    assert found[0.1] > 0.9
    assert found[0.01] < 0.05
    # The price of finding more: all of these releases, and equal ones too, are blocked.
    assert all(x[0.0][POINT].any() and not x[0.0][power.POLICY].any() for x in runs)


def test_a_head_at_its_margin_with_few_positives_is_certified_in_at_most_five_percent() -> None:
    """40 positives, about as few as the floor lets through: 4 % pass, without pseudo-events 6, by a plain error 11."""
    few = certification.Setting(40, REGULAR, 0.3, 0.97, 0.1, 0.005)
    runs = [certification.heads_of((17, r), few) for r in range(60)]
    trials = sum(len(x[certification.B, "shift"]) for x in runs)
    certified = {rule: sum(int(x[rule, "shift"].sum()) for x in runs) for rule in certification.RULES}
    assert least(0.03, trials) <= certified[certification.B] <= most(0.04, trials)
    assert certified[certification.PLAIN] > most(0.05, trials)


def test_the_guard_refuses_what_too_few_clips_cannot_rule_out() -> None:
    """200 regular clips, F1 0.97, margin 2 points: a collapse on 2 % of the clips is missed too often by the bound."""
    setting = certification.Setting(200, REGULAR, 0.3, 0.97, 0.02)
    runs = [certification.heads_of((18, r), setting) for r in range(6)]
    trials = sum(len(x[certification.A, "wrong"]) for x in runs)
    assert sum(int(x[certification.A, "wrong"].sum()) for x in runs) <= most(0.05, trials)
    assert sum(int(x[certification.B, "wrong"].sum()) for x in runs) > most(0.05, trials)
    enough = certification.heads_of((18, 9), certification.Setting(400, REGULAR, 0.3, 0.85, 0.03))
    assert enough[certification.A, "equal"].mean() > 0.95


def test_a_release_with_one_head_at_its_margin_is_rarely_certified() -> None:
    runs = [certification.release((19, r), 200, 0.05) for r in range(25)]
    spoiled = sum(int((bad & (equal.sum() - equal == len(equal) - 1)).sum()) for equal, bad in runs)
    assert spoiled <= most(0.07, sum(len(bad) for _, bad in runs))
    assert sum(bool(equal.all()) for equal, _ in runs) > len(runs) / 2


def test_the_smallest_detectable_loss_is_detected_in_four_of_five_also_on_heavy_clips() -> None:
    """The plain formula forgets that a loss adds to the sum of squares that it is divided by."""
    power_of = dict.fromkeys(mdr.FORMULAS, 0.0)
    for clips, kind in ((60, REGULAR), (100, HEAVY)):
        runs = [mdr.release((20, r), clips, kind, heads=100, planted=40) for r in range(4)]
        for name in mdr.FORMULAS:
            power_of[name] += np.concatenate([x[name][0] for x in runs]).mean() / 2
    assert 0.75 < power_of["solved, z = 1.04"] < 0.92
    assert power_of["(c + z) SE"] < 0.6


def test_drift_is_found_by_an_anchor_and_not_by_the_incumbent_alone() -> None:
    """0.2 points a release; the anchor that moves up on a proven gain also sees a fall from a peak."""

    def first(scenario: str, rule: str) -> float:
        return float(np.median([drift.history((21, r), scenario, rule, 0.0, heads=40)[1] for r in range(5)]))

    assert first("1 head", drift.MOVING) <= 15
    assert first("1 head", drift.FIXED) <= 15
    assert first("1 head", drift.INCUMBENT) > 15
    assert first("rise", drift.MOVING) < first("rise", drift.FIXED)


def test_equal_releases_are_not_blocked_more_often_with_two_references() -> None:
    blocks = sum(drift.history((22, r), "equal", drift.MOVING, 0.0, heads=40)[0] for r in range(6))
    assert blocks <= most(0.05, 6 * drift.RELEASES)


def test_hysteresis_keeps_thresholds_still_and_costs_no_f1() -> None:
    runs = [hysteresis.chain((23, r), 60, REGULAR, 0.3, heads=50, releases=4) for r in range(4)]
    blocks, regret, moved = (
        {
            rule: np.mean([x[rule][part] if part != 1 else x[rule][1][1].mean() for x in runs])
            for rule in hysteresis.RULES
        }
        for part in (0, 1, 2)
    )
    assert moved[hysteresis.HULL] < moved[hysteresis.VALUE] < moved[hysteresis.NONE]
    assert abs(regret[hysteresis.HULL] - regret[hysteresis.NONE]) < 0.002
    assert 4 * blocks[hysteresis.HULL] <= most(0.05, 16)


def test_the_score_world_has_the_recall_that_it_says() -> None:
    """Precision 0.9 at a distance of 2.5 costs a recall of 0.614 (method B5); counts agree with the closed form."""
    threshold = np.full(1, 2.2095)
    assert scores.true_precision(threshold, np.full(1, 2.5)) == pytest.approx(0.9, abs=1e-3)
    assert scores.true_recall(threshold, np.full(1, 2.5)) == pytest.approx(0.614, abs=1e-3)
    exam = scores.an_exam(np.random.default_rng(24), np.full(50, 2.5), 200, REGULAR, 0.1)
    sums = {n: v.sum() for n, v in scores.sums_at(exam, exam.shared, np.full(50, threshold[0])).items()}
    assert sums["tp"] / (sums["tp"] + sums["fn"]) == pytest.approx(0.614, abs=0.01)
    assert sums["tp"] / (sums["tp"] + sums["fp"]) == pytest.approx(0.9, abs=0.01)


def test_the_bound_of_a_share_counts_clips_and_not_events() -> None:
    """200 regular clips, icc 0.5, one fixed threshold: with events taken for clips it is broken 17 times in 100."""
    threshold, apart, heads = 2.2095, np.full(1, 2.5), 100
    truths = scores.true_precision(np.full(1, threshold), apart), scores.true_recall(np.full(1, threshold), apart)
    broken = np.zeros(2)
    for r in range(4):
        exam = scores.an_exam(np.random.default_rng([26, r]), np.full(heads, 2.5), 200, REGULAR, 0.5)
        curve, codes = scores.curve_of(exam, exam.shared), threshold_codes([threshold] * heads)
        for k, truth in enumerate(truths):
            accepting = np.full(heads, k == 0)
            bound = bounds_at(curve.entries, exam.index, accepting, codes, np.full(heads, 0.95))
            broken[k] += (bound > truth).sum()
    assert (broken <= most(0.05, 4 * heads)).all()
    assert (broken >= least(0.03, 4 * heads)).all()


def test_a_guaranteed_precision_is_broken_in_at_most_five_percent_and_events_taken_for_clips_break_it() -> None:
    runs = [guarantee.suite((25, r), 100, HEAVY, 0.5) for r in range(4)]
    trials = 4 * guarantee.HEADS
    broken = {n: int(sum(guarantee.broken(n, x[n]).sum() for x in runs)) for n in guarantee.RULES}
    assert broken[guarantee.PRODUCT] <= most(0.05, trials)
    assert broken[guarantee.TURNED] <= most(0.05, trials)
    assert broken[guarantee.EVENTS] > 2 * max(broken[guarantee.PRODUCT], 1)
    assert least(0.4, trials) < broken[guarantee.POINT]
    assert sum(np.isfinite(x[guarantee.PRODUCT]).sum() for x in runs) > 0


def test_rates_are_printed_with_their_error() -> None:
    assert percent(10, 100) == "10.0 ± 3.0"
    assert percent(0, 100) == "0 (< 3)"
    assert percent(100, 100) == "100 (> 97)"
    assert clustered([np.array([True, True]), np.array([False, False])]) == "50.0 ± 35.4"
    assert markdown(["a", "b"], [["1", "2"]]) == "| a | b |\n|---|---|\n| 1 | 2 |"
