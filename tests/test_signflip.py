"""The test for a proven loss: every sign by brute force, one head beside scipy, and what must not change anything."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from gate.compare import MIN_CLIPS, eligible, prove_loss, seed_of, sign_vectors, signflip
from gate.table import Floats
from tests.oracles import statistics as oracle


def contributions(seed: int, cells: int, clips: int, *, shift: float = 0.0) -> tuple[Floats, Floats]:
    """(d, weight) of correlated cells of very different scale; the clips of each differ in size."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=clips)
    d = (0.5 * common + rng.normal(size=(cells, clips)) + shift) * 10.0 ** rng.integers(-4, 3, (cells, 1))
    return d, rng.dirichlet(np.ones(clips), cells)


@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(2, 9), st.sampled_from((0.0, -0.5, -1.5)))
@settings(max_examples=40, deadline=None)
def test_adjusted_p_values_are_those_of_all_sign_vectors(seed: int, cells: int, clips: int, shift: float) -> None:
    d, weight = contributions(seed, cells, clips, shift=shift)
    effect = np.full(cells, 0.005)
    tested = np.ones(cells, bool)
    test = prove_loss(d, weight, effect, tested, sign_vectors(clips, 99, 0), 0.05)
    shifted = (d + 0.005 * weight).tolist()
    # Where a flip comes within the rounding of the bar, the two may count it differently; nowhere else.
    low, high = (oracle.step_down(shifted, oracle.all_signs(clips), extra=0, tie=tie) for tie in (0.0, 1e-5))
    for p, least, most in zip(test.p, low, high, strict=True):
        assert least <= p <= most
    alone = [oracle.step_down([cell], oracle.all_signs(clips), extra=0)[0] for cell in shifted]
    assert test.p_raw == pytest.approx(alone, abs=1.5 / 2**clips)


@given(st.integers(0, 10_000), st.integers(2, 9))
@settings(max_examples=30, deadline=None)
def test_with_ties_everywhere_adjusted_p_values_are_exact(seed: int, clips: int) -> None:
    """Contributions of -1, 0 and 1: most flips are as bad as what was seen, and each counts against the proof."""
    rng = np.random.default_rng(seed)
    d = rng.integers(-1, 2, (4, clips)).astype(float)
    d[:, 0] = -1.0
    nothing = np.zeros((4, clips))
    test = prove_loss(d, nothing, np.zeros(4), np.ones(4, bool), sign_vectors(clips, 99, 0), 0.05)
    assert test.p.tolist() == oracle.step_down(d.tolist(), oracle.all_signs(clips), extra=0)


@pytest.mark.parametrize(
    "d",
    [
        [-1, 3, -5, 2, 2, -5, -2, 2, -5, -1, 3],
        [2, 2, -1, -5, 3, 2, -5, 3, -4, 1, 3, -2],
    ],
)
@pytest.mark.parametrize("unit", [1.0, 7.0, 97.0, 301.0])
def test_sums_that_tie_up_to_their_rounding_count_against_the_proof(d: list[int], unit: float) -> None:
    """Whole numbers tie exactly; over their root of squares they no longer do, and must still count."""
    every = np.array(list(oracle.all_signs(len(d))))
    exact = np.mean(every @ np.array(d) <= sum(d))
    signs = sign_vectors(len(d), 99, 0)
    test = prove_loss(np.array([d]) / unit, np.zeros((1, len(d))), np.zeros(1), np.ones(1, bool), signs, 0.05)
    assert test.p[0] == exact


@given(st.integers(0, 100_000), st.integers(10, 12))
@settings(max_examples=60, deadline=None)
def test_whole_numbers_of_lost_events_have_their_exact_p_values(seed: int, clips: int) -> None:
    rng = np.random.default_rng(seed)
    d = rng.integers(-6, 4, clips)
    if not d.any():
        return
    every = np.array(list(oracle.all_signs(clips)))
    signs = sign_vectors(clips, 99, 0)
    test = prove_loss(d[None] / 97.0, np.zeros((1, clips)), np.zeros(1), np.ones(1, bool), signs, 0.05)
    assert test.p[0] == np.mean(every @ d <= d.sum())


@pytest.mark.parametrize("seed", range(4))
def test_random_sign_vectors_come_as_close_to_all_of_them_as_chance_allows(seed: int) -> None:
    """14 clips: all 16,384 vectors beside 9,999 random ones; four standard errors of a share."""
    d, weight = contributions(seed, 3, 14, shift=-0.35)
    shifted = d + 0.005 * weight
    test = prove_loss(d, weight, np.full(3, 0.005), np.ones(3, bool), sign_vectors(14, 9999, seed), 0.05)
    exact = np.array(oracle.step_down(shifted.tolist(), oracle.all_signs(14), extra=0))
    assert (np.abs(test.p - exact) <= 4 * np.sqrt(exact * (1 - exact) / 10_000) + 1e-4).all()


@given(st.integers(0, 10_000), st.sampled_from((10, 40, 400)))
@settings(max_examples=20, deadline=None)
def test_the_statistic_is_the_studentised_sum(seed: int, clips: int) -> None:
    """To the rounding of its whole numbers: half a unit of 2^-22 to 2^-19 a clip, with random signs."""
    d, weight = contributions(seed, 5, clips, shift=-0.1)
    test = prove_loss(d, weight, np.full(5, 0.005), np.ones(5, bool), sign_vectors(clips, 99, 0), 0.05)
    shifted = d + 0.005 * weight
    expected = shifted.sum(axis=1) / np.sqrt((shifted**2).sum(axis=1))
    assert test.statistic == pytest.approx(expected, abs=1e-9)


def test_random_sign_vectors_count_what_was_observed_as_one_of_them() -> None:
    d, weight = contributions(3, 4, 20, shift=-0.4)
    signs = sign_vectors(20, 199, 5)
    test = prove_loss(d, weight, np.full(4, 0.005), np.ones(4, bool), signs, 0.05)
    others = [*signs[1:].tolist(), *(-signs).tolist()]
    assert len(others) == 199
    assert test.p.tolist() == oracle.step_down((d + 0.005 * weight).tolist(), others, extra=1)
    assert test.p.min() >= 1 / 200


def test_what_was_seen_is_one_of_the_flips_so_no_p_value_is_zero() -> None:
    signs = sign_vectors(13, 2**14 - 1, 0)
    assert (signs[0] == 1).all()
    assert len(signs) == 2**13
    test = prove_loss(np.full((1, 13), -1.0), np.zeros((1, 13)), np.zeros(1), np.ones(1, bool), signs, 0.05)
    as_bad = (np.abs(signs.sum(axis=1)) == 13).sum()
    assert test.p[0] == as_bad / 2**14


@pytest.mark.parametrize("clips", [5, 10, 12])
def test_one_head_agrees_with_scipy(clips: int) -> None:
    d, weight = contributions(clips, 1, clips, shift=-0.3)
    test = prove_loss(d, weight, np.array([0.005]), np.ones(1, bool), sign_vectors(clips, 99, 0), 0.05)
    shifted = (d + 0.005 * weight)[0]
    result = stats.permutation_test(
        (shifted, np.zeros(clips)),
        lambda x, y, axis: (x - y).sum(axis=axis),
        permutation_type="samples",
        alternative="less",
        n_resamples=np.inf,
        vectorized=True,
    )
    assert test.p[0] == test.p_raw[0] == result.pvalue


def test_the_same_digests_give_the_same_signs_and_others_give_others() -> None:
    seed = seed_of("sha256:suite", "sha256:old", "sha256:new")
    written = hashlib.sha256(b"sha256:suite|sha256:old|sha256:new|gate-signs-v1").digest()
    assert seed == int.from_bytes(written[:8], "big")
    np.testing.assert_array_equal(sign_vectors(40, 99, seed), sign_vectors(40, 99, seed))
    assert seed != seed_of("sha256:suite", "sha256:new", "sha256:old")
    assert (sign_vectors(40, 99, seed) != sign_vectors(40, 99, seed + 1)).any()


def test_signs_are_fair_and_few_clips_have_every_vector_once() -> None:
    signs = sign_vectors(50, 9999, 1)
    assert set(np.unique(signs)) == {-1, 1}
    assert abs(signs.mean(axis=0)).max() < 4.5 / np.sqrt(9999)
    every = sign_vectors(12, 99, 1)
    assert sorted([*map(tuple, every.tolist()), *map(tuple, (-every).tolist())]) == sorted(oracle.all_signs(12))


@pytest.mark.parametrize("block", [1, 7, 100, 5000])
def test_the_size_of_a_block_changes_nothing(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    d, weight = contributions(8, 30, 40, shift=-0.3)
    arguments = (d, weight, np.full(30, 0.005), np.ones(30, bool), sign_vectors(40, 999, 2), 0.05)
    before = prove_loss(*arguments)
    monkeypatch.setattr(signflip, "BLOCK", block)
    after = prove_loss(*arguments)
    assert (before.p.tolist(), before.p_raw.tolist()) == (after.p.tolist(), after.p_raw.tolist())
    assert (before.critical, before.provable.tolist()) == (after.critical, after.provable.tolist())
    assert before.statistic.tolist() == after.statistic.tolist()


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_neither_the_order_of_cells_nor_their_scale_changes_a_p_value(seed: int) -> None:
    d, weight = contributions(seed, 12, 30, shift=-0.3)
    signs, effect, tested = sign_vectors(30, 499, seed), np.full(12, 0.005), np.arange(12) != 4
    order = np.random.default_rng(seed).permutation(12)
    plain = prove_loss(d, weight, effect, tested, signs, 0.05)
    mixed = prove_loss(d[order], weight[order], effect[order], tested[order], signs, 0.05)
    scaled = prove_loss(8 * d, 8 * weight, effect, tested, signs, 0.05)
    np.testing.assert_array_equal(plain.p[order], mixed.p)
    np.testing.assert_array_equal(plain.p, scaled.p)
    assert np.isnan(plain.p[4])


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_a_larger_family_makes_every_proof_harder_and_a_greater_effect_too(seed: int) -> None:
    d, weight = contributions(seed, 10, 25, shift=-0.4)
    signs, tested = sign_vectors(25, 499, seed), np.ones(10, bool)
    many = prove_loss(d, weight, np.full(10, 0.005), tested, signs, 0.05)
    few = prove_loss(d[:3], weight[:3], np.full(3, 0.005), tested[:3], signs, 0.05)
    assert (few.p <= many.p[:3]).all()
    assert few.critical <= many.critical
    assert (many.p_raw <= many.p).all()
    wide = prove_loss(d[:1], weight[:1], np.array([1e9]), tested[:1], signs, 0.05)
    assert wide.p_raw[0] > 0.5


@given(st.integers(0, 10_000), st.sampled_from((0.05, 0.015, 0.005)))
@settings(max_examples=30, deadline=None)
def test_the_critical_value_is_what_a_lone_statistic_must_exceed(seed: int, alpha: float) -> None:
    d, weight = contributions(seed, 6, 20, shift=-0.7)
    effect = np.zeros(6)
    signs = sign_vectors(20, 999, seed)
    test = prove_loss(d, weight, effect, np.ones(6, bool), signs, alpha)
    worst = int(np.argmin(d.sum(axis=1) / np.sqrt((d**2).sum(axis=1))))
    statistic = -d[worst].sum() / np.sqrt((d[worst] ** 2).sum())
    assert (test.p[worst] <= alpha) == (statistic > test.critical + 1e-5)


def test_a_cell_that_differs_in_too_few_clips_can_never_be_proven() -> None:
    """Its statistic is at most the root of the number of differing clips; `provable` says so beforehand."""
    rng = np.random.default_rng(0)
    d = rng.normal(size=(200, 60))
    d[0] = 0.0
    d[0, :10] = -5.0  # all ten clips in one direction, and still not enough in a family of 200
    nothing = np.zeros_like(d)
    test = prove_loss(d, nothing, np.zeros(200), np.ones(200, bool), sign_vectors(60, 9999, 1), 0.015)
    assert test.critical > np.sqrt(10)
    assert not test.provable[0]
    assert test.p[0] > 0.015
    assert test.provable[1:].all()


@given(st.integers(0, 10_000), st.integers(2, 16), st.sampled_from((0.05, 0.02, 0.005)))
@settings(max_examples=30, deadline=None)
@example(0, 4, 0.05)
def test_a_proven_cell_was_provable(seed: int, clips: int, alpha: float) -> None:
    """And with one cell, all of whose clips fall, provable means proven: ties at the critical value included."""
    d = -np.ones((1, clips))
    signs = sign_vectors(clips, 199, seed)
    test = prove_loss(d, np.zeros((1, clips)), np.zeros(1), np.ones(1, bool), signs, alpha)
    assert (test.p[0] <= alpha) == test.provable[0]


def test_with_too_few_sign_vectors_nothing_is_provable() -> None:
    """99 vectors know no p-value under 0.01."""
    d = -np.ones((1, 40))
    test = prove_loss(d, np.zeros((1, 40)), np.zeros(1), np.ones(1, bool), sign_vectors(40, 99, 0), 0.005)
    assert (test.p[0], test.critical, test.provable[0]) == (0.01, np.inf, False)


def test_ten_clips_that_differ_and_ten_with_positives_make_a_cell_eligible() -> None:
    d = np.zeros((4, 20))
    d[0, :10], d[1, :9], d[2, :10], d[3, :10] = -1.0, -1.0, -1.0, 1.0
    positives = np.array([10, 10, 9, 10])
    assert MIN_CLIPS == 10
    assert eligible(d, positives).tolist() == [True, False, False, True]


@pytest.mark.parametrize(("great", "may"), [(1, False), (4, False), (5, False), (6, True), (30, True)])
def test_differences_that_a_few_clips_carry_make_no_cell_eligible(great: int, may: bool) -> None:
    """Of 40 clips that all differ, so many by a thousand times more than the rest: these alone are the evidence."""
    d = np.full((2, 40), -1e-3)
    d[:, :great] = -1.0
    d[1] *= np.where(np.arange(40) % 3, 1.0, -1.0)  # a function of |d|: the signs say nothing
    assert eligible(1e-6 * d, np.full(2, 40)).tolist() == [may, may]


def test_nothing_tested_gives_no_p_and_an_infinite_bar() -> None:
    d, weight = contributions(0, 3, 12)
    for tested, cells in ((np.zeros(3, bool), d), (np.ones(3, bool), np.zeros_like(d))):
        test = prove_loss(cells, 0 * weight, np.full(3, 0.005), tested, sign_vectors(12, 99, 0), 0.05)
        assert np.isnan(test.p).all()
        assert (test.critical, test.provable.any()) == (np.inf, False)
