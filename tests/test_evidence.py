"""Evidence adds up: in any order, in any grouping, with a zero, and exactly."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.errors import EvidenceError
from gate.evidence import STEPS, Evidence, Moments, ScoredEvents, add_exact, fixed
from gate.lattice import MISSED, encode

laws = settings(deadline=None, max_examples=150, database=None)
ints = st.integers(-(2**40), 2**40)
CODES = (MISSED, 1023, 17407, 32768, 49408, 64512)


@st.composite
def histograms(draw: st.DrawFn) -> ScoredEvents:
    bins = draw(st.dictionaries(st.tuples(st.booleans(), st.sampled_from(CODES)), st.integers(1, 10**6)))
    ordered = sorted(bins)
    return ScoredEvents(
        tuple(code for _, code in ordered), tuple(label for label, _ in ordered), tuple(bins[key] for key in ordered)
    )


moments = st.one_of(
    st.just(Moments()), st.tuples(ints, ints).map(lambda values: Moments(("events", "sum_error"), values))
)
pieces = st.builds(Evidence, histograms(), moments)


@laws
@given(pieces, pieces)
def test_addition_commutes(a: Evidence, b: Evidence) -> None:
    assert a + b == b + a


@laws
@given(pieces, pieces, pieces)
def test_addition_associates(a: Evidence, b: Evidence, c: Evidence) -> None:
    assert (a + b) + c == a + (b + c)


@laws
@given(pieces)
def test_no_evidence_is_the_zero_of_addition(a: Evidence) -> None:
    assert a + Evidence() == a == Evidence() + a


@laws
@given(histograms(), histograms())
def test_positives_and_missed_ones_add_up(a: ScoredEvents, b: ScoredEvents) -> None:
    both = a + b
    assert both.positives == a.positives + b.positives
    assert both.missed == a.missed + b.missed
    assert sum(both.counts) == sum(a.counts) + sum(b.counts)


def test_three_events_counted_by_hand() -> None:
    yes, no = int(encode(2.5)), int(encode(-1.0))
    a = ScoredEvents((MISSED, yes), (True, True), (1, 2))
    b = ScoredEvents((no, yes), (False, True), (4, 1))
    assert a + b == ScoredEvents((no, MISSED, yes), (False, True, True), (4, 1, 3))
    assert ((a + b).positives, (a + b).missed) == (4, 1)


def test_sums_of_different_names_are_never_added() -> None:
    with pytest.raises(EvidenceError, match="cannot be added"):
        Moments(("events",), (1,)) + Moments(("frames",), (1,))


@laws
@given(st.lists(st.floats(-1e6, 1e6), max_size=8), st.randoms())
def test_real_sums_do_not_depend_on_their_order(values: list[float], random: object) -> None:
    shuffled = list(values)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    total = fixed(np.array(values)).sum()
    assert total == fixed(np.array(shuffled)).sum()
    exact = sum((Fraction(v) for v in values), Fraction())
    assert abs(Fraction(int(total), STEPS) - exact) <= Fraction(len(values), 2 * STEPS)


@pytest.mark.parametrize("value", [4.3e9, -4.3e9, float("inf"), float("nan")])
def test_a_real_number_without_room_is_refused(value: float) -> None:
    with pytest.raises(EvidenceError, match="too large"):
        fixed(np.array([0.0, value]))


@laws
@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1))
def test_integers_are_added_exactly_or_not_at_all(a: int, b: int) -> None:
    left, right = np.array([a], dtype=np.int64), np.array([b], dtype=np.int64)
    if -(2**63) <= a + b < 2**63:
        assert add_exact(left, right).tolist() == [a + b]
    else:
        with pytest.raises(EvidenceError, match="64 bits"):
            add_exact(left, right)
