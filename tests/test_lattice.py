"""Scores live on an ordered lattice: order is kept, half-precision logits are exact, nothing is ever lost silently."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import expit, logit, logsumexp

from gate.errors import EvidenceError
from gate.lattice import (
    HIGHEST,
    LARGEST_LOGIT,
    LOWEST,
    MISSED,
    decode,
    encode,
    log_odds,
    one_versus_rest,
    probability,
    scores_to_logits,
)

laws = settings(deadline=None, max_examples=200, database=None)
numbers = st.floats(allow_nan=False, width=32)
EVERY_HALF = np.arange(65_536, dtype=np.uint16).view(np.float16)


@laws
@given(numbers, numbers)
def test_a_greater_logit_never_has_a_smaller_code(x: float, y: float) -> None:
    low, high = sorted((x, y))
    assert int(encode(low)) <= int(encode(high))


def test_every_half_precision_logit_has_a_code_of_its_own_in_their_order() -> None:
    halves = EVERY_HALF[~np.isnan(EVERY_HALF)]
    ascending = np.unique(halves)  # -0 and 0 are one value
    codes = encode(ascending).astype(int)
    assert len(ascending) == 65_536 - 2 * 1023 - 1  # without NaNs and the second zero
    assert (np.diff(codes) > 0).all()
    assert (codes[0], codes[-1]) == (LOWEST, HIGHEST)
    assert np.array_equal(decode(codes), ascending.astype(np.float64))


def test_no_score_has_the_code_of_a_missed_positive() -> None:
    codes = encode(EVERY_HALF[~np.isnan(EVERY_HALF)])
    assert MISSED not in codes
    assert codes.min() == LOWEST
    assert np.isnan(decode(MISSED))


def test_bfloat16_logits_are_exact_where_half_precision_reaches() -> None:
    bits = np.arange(65_536, dtype=np.uint32) << 16  # bfloat16 is the upper half of float32
    values = bits.view(np.float32)
    reached = np.isfinite(values) & (np.abs(values) > 6.2e-5) & (np.abs(values) < 65_504)
    assert reached.sum() > 7_000
    assert np.array_equal(decode(encode(values[reached])), values[reached].astype(np.float64))


@laws
@given(numbers)
def test_coding_a_decoded_logit_again_changes_nothing(x: float) -> None:
    code = encode(x)
    assert encode(decode(code)) == code


@laws
@given(st.floats(-60_000, 60_000, width=32))
def test_a_logit_moves_by_at_most_half_a_step_of_half_precision(x: float) -> None:
    # 11 significand bits, rounded to nearest; below 2^-14 the steps are 2^-24.
    assert abs(float(decode(encode(x))) - x) <= max(abs(x) * 2.0**-11, 2.0**-25)


def test_a_score_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(EvidenceError, match="NaN"):
        encode([0.0, math.nan])


def test_negative_zero_is_zero() -> None:
    assert encode(-0.0) == encode(0.0) == encode(np.float32(-1e-30)) == 0x8000


def test_infinities_are_the_ends_of_the_lattice() -> None:
    assert encode([-math.inf, math.inf]).tolist() == [LOWEST, HIGHEST]
    assert decode([LOWEST, HIGHEST]).tolist() == [-math.inf, math.inf]
    assert encode([-1e30, 1e30]).tolist() == [LOWEST, HIGHEST]
    assert float(decode(HIGHEST - 1)) == LARGEST_LOGIT
    assert probability([LOWEST, HIGHEST]).tolist() == [0.0, 1.0]


def test_probabilities_are_the_sigmoid_of_scipy() -> None:
    logits = np.linspace(-30, 30, 4001).astype(np.float16)
    assert probability(encode(logits)) == pytest.approx(expit(logits.astype(np.float64)), rel=1e-12)


def test_log_odds_are_the_logit_of_scipy() -> None:
    shares = np.r_[0.0, 1e-300, 1e-12, np.linspace(0.001, 0.999, 999), 1 - 1e-12, 1.0]
    assert np.array_equal(log_odds(shares)[[0, -1]], [-math.inf, math.inf])
    assert log_odds(shares)[1:-1] == pytest.approx(logit(shares)[1:-1], rel=1e-9, abs=1e-12)


@laws
@given(st.floats(-9.5, 9.5, width=32).filter(lambda x: abs(x) > 0.01))
def test_a_float32_probability_gives_the_code_of_its_logit_or_its_neighbour(x: float) -> None:
    # Nearer to 0 the codes lie closer together than float32 probabilities around one half.
    share = np.float32(expit(np.float64(x)))
    assert abs(int(encode(log_odds(share))) - int(encode(x))) <= 1


@laws
@given(hnp.arrays(np.float64, (3, 5), elements=st.floats(-1000, 1000)))
def test_one_against_the_rest_is_what_scipy_sums(logits: np.ndarray) -> None:
    odds = one_versus_rest(logits)
    for k in range(5):
        rest = logsumexp(np.delete(logits, k, axis=1), axis=1)
        assert odds[:, k] == pytest.approx(logits[:, k] - rest, rel=1e-12, abs=1e-9)


def test_a_saturated_class_keeps_its_distance_from_the_rest() -> None:
    # The softmax of these is exactly 1, 0, 0 in float64: 1 - p has no digits left, the log-odds have all.
    assert one_versus_rest(np.array([[800.0, 0.0, -800.0]]))[0].tolist() == [800.0, -800.0, -1600.0]
    rest = 50 - math.log(2)
    assert one_versus_rest(np.array([[50.0, 0.0, 0.0]]))[0, 0] == pytest.approx(rest, rel=1e-15)


def test_two_classes_against_each_other_are_a_sigmoid() -> None:
    raw = np.array([[1.5, -0.25]])
    assert one_versus_rest(raw)[0].tolist() == [1.75, -1.75]


def test_the_class_axis_may_be_followed_by_a_raster() -> None:
    raw = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    odds = one_versus_rest(raw)
    assert odds.shape == raw.shape
    assert np.array_equal(odds[1, :, 2, 3], one_versus_rest(raw[1:, :, 2, 3])[0])


def test_a_softmax_of_one_class_is_refused() -> None:
    with pytest.raises(EvidenceError, match="two classes"):
        one_versus_rest(np.zeros((1, 1)))


def test_what_the_suite_says_of_a_score_decides_how_it_is_read() -> None:
    raw = np.array([[0.25, 0.75]])
    assert scores_to_logits(raw, "sigmoid") is raw
    assert scores_to_logits(raw, "probability")[0] == pytest.approx([-math.log(3), math.log(3)])
    assert scores_to_logits(raw, "softmax")[0] == pytest.approx([-0.5, 0.5])
