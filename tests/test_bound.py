"""The bound for "certified not worse": its formula, its floor, its guard, and the clips that it asks for."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gate.compare import clips_needed, detectable, enough_events, guard_holds, half_width, leaning, total_error

se_st, lost_st = st.floats(0, 0.2), st.floats(1e-6, 0.05)


def one(x: float) -> Any:
    return np.array([x])


@given(se_st, lost_st, st.floats(1, 400), st.sampled_from((0.9, 0.95, 0.99)))
def test_half_width_is_students_quantile_times_the_error_with_two_pseudo_events(
    se: float, lost: float, df: float, confidence: float
) -> None:
    expected = stats.t.ppf(confidence, df) * math.sqrt(se**2 + 2 * lost**2)
    assert half_width(one(se), one(lost), one(df), confidence)[0] == pytest.approx(expected, rel=1e-9)
    assert half_width(one(0.0), one(lost), one(df), confidence)[0] > 0, "no difference seen is not no difference"


def test_half_width_of_an_undefined_error_is_undefined() -> None:
    width = half_width(np.array([np.nan, 0.1]), np.array([0.1, 0.1]), np.array([3.0, np.nan]), 0.95)
    assert np.isnan(width).all()


def test_the_bound_leans_to_the_side_that_a_few_clips_lean_to() -> None:
    """Johnson 1978, equation 2.4: t1 = [(x - mu) + mu3 / (6 s² n) + mu3 (x - mu)² / (3 s⁴)] / (s / root n) = -t."""
    rng = np.random.default_rng(0)
    x = -rng.exponential(1.0, 200)  # a mean over clips: contributions x / n
    n, s = len(x), x.std(ddof=1)
    mu3 = ((x - x.mean()) ** 3).sum() / n
    t = stats.t.ppf(0.95, n - 1)
    expected = mu3 / (6 * s**2 * n) + mu3 / (3 * s**4) * (t * s) ** 2 / n
    cubes = (((x - x.mean()) / n) ** 3).sum()
    found = leaning(one(cubes), one(s / math.sqrt(n)), one(0.0), one(n - 1.0), 0.95)[0]
    assert found == pytest.approx(expected)
    assert found < 0
    assert leaning(one(-cubes), one(s / math.sqrt(n)), one(0.0), one(n - 1.0), 0.95)[0] == -found
    assert leaning(one(0.0), one(0.0), one(0.0), one(n - 1.0), 0.95)[0] == 0.0


def test_five_lost_events_must_fit_the_margin() -> None:
    # Recall on 100 positives: one event is a point.
    assert enough_events(np.array([0.05, 0.0499]), np.array([0.01, 0.01])).tolist() == [True, False]


def test_the_guard_needs_as_many_clips_as_the_method_says() -> None:
    """Method A6: margins of 5, 3, 2 and 1 points need 50, 84, 127 and 255 effective clips at a value of 0.85."""
    for margin, needed in ((0.05, 50), (0.03, 84), (0.02, 127), (0.01, 255)):
        clips = np.arange(1, 400, dtype=float)
        holds = guard_holds(np.full(399, 0.85), clips, np.full(399, margin), 0.95)
        assert clips[holds][0] == pytest.approx(needed, abs=1.5)
        assert (np.diff(holds.astype(int)) >= 0).all()
    assert not guard_holds(one(0.85), one(0.0), one(0.05), 0.95)[0]
    assert not guard_holds(one(np.nan), one(100.0), one(0.05), 0.95)[0]


def test_the_detectable_loss_is_method_a8_on_many_clips_and_more_on_few() -> None:
    many = detectable(one(0.005), one(3.2), one(0.01), one(0.0), one(1e9))[0]
    assert many == pytest.approx(0.005 + (3.2 + stats.norm.ppf(0.85)) * 0.01)
    few = detectable(one(0.005), one(3.2), one(0.01), one(0.0), one(30.0))[0]
    reached = (few - 0.005) / 0.01
    assert reached == pytest.approx(3.2 * math.sqrt(1 + reached**2 / 30) + stats.norm.ppf(0.85))
    assert few > many


def test_nothing_is_detectable_where_the_statistic_cannot_reach_its_critical_value() -> None:
    """All clips lost in proportion give T = sqrt(effective clips), and no more."""
    assert math.isnan(detectable(one(0.005), one(3.2), one(0.01), one(0.0), one(3.2**2))[0])
    assert math.isfinite(detectable(one(0.005), one(3.2), one(0.01), one(0.0), one(3.2**2 + 0.1))[0])


def asked(**changes: Any) -> int | None:
    given_: dict[str, Any] = {
        "delta": 0.0, "error": 0.02, "lost": 0.001, "margin": 0.02, "effect": 0.005, "critical": 3.2,
        "confidence": 0.95, "clips": 100, "guarded": None, "effective": 80.0,
    }  # fmt: skip
    return clips_needed(**(given_ | changes))


@given(st.floats(-0.015, 0.05), st.floats(0.012, 0.1))
def test_with_the_clips_asked_for_an_equal_candidate_is_certified_with_eighty_percent_power(
    delta: float, error: float
) -> None:
    more = asked(delta=delta, error=error)
    assert more is not None
    after = error * math.sqrt(100 / (100 + more))
    reached = (stats.norm.ppf(0.95) + stats.norm.ppf(0.8)) * after
    assert reached <= 0.02 + min(delta, 0.0) + 1e-9
    if more > 1:
        fewer = error * math.sqrt(100 / (99 + more))
        assert (stats.norm.ppf(0.95) + stats.norm.ppf(0.8)) * fewer > 0.02 + min(delta, 0.0)


def test_a_loss_beyond_the_margin_asks_for_the_clips_that_prove_it() -> None:
    more = asked(delta=-0.03)
    assert more is not None
    grown = 100 / (100 + more)
    after, effective = 0.02 * math.sqrt(grown), 80 / grown
    reached = 0.025 / after
    assert reached == pytest.approx(3.2 * math.sqrt(1 + reached**2 / effective) + stats.norm.ppf(0.85), rel=0.01)


def test_the_floor_and_the_guard_ask_for_clips_of_their_own() -> None:
    assert asked(lost=0.04) == 900  # five lost events are 0.2, ten times the margin
    needed = math.log(0.05) / math.log(1 - 0.02 / 0.85)
    assert asked(error=0.001, guarded=0.85) == math.ceil(100 * needed / 80) - 100
    assert asked(error=0.001, guarded=0.01) == 1, "what is smaller than the margin cannot be lost by more"


def test_some_cells_no_number_of_clips_decides() -> None:
    assert asked(delta=-0.02, effect=0.03) is None, "at the margin, and below the least loss that counts"
    assert asked(delta=-0.03, critical=math.inf) is None, "nothing is tested in this family"
    assert asked(error=math.nan) is None


def test_total_error_never_falls_below_two_events() -> None:
    assert total_error(one(0.0), one(0.01))[0] == pytest.approx(math.sqrt(2) * 0.01)
