"""Calibration maps: what independent optimisers find, never far from the best map, and never upside down."""

from __future__ import annotations

import tomllib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import special
from scipy.optimize import minimize
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score

from gate.calibrate import maps as module
from gate.calibrate.maps import (
    SMALLEST_SLOPE,
    CalibrationMap,
    Kind,
    apply_maps,
    as_pairs,
    fit_maps,
    map_codes,
    map_from,
)
from gate.curves import average_precision, curves
from gate.errors import ConfigError
from gate.heads import Series
from gate.lattice import HIGHEST, LOWEST, MISSED, decode, encode
from gate.table import EvidenceTable, by_score, histogram, merge

laws = settings(deadline=None, max_examples=60, database=None)
Array = NDArray[Any]
Sample = tuple[Array, Array]
CELLS = 3

events = st.lists(st.tuples(st.integers(-24, 24).map(lambda k: k / 4), st.booleans()), min_size=1, max_size=60)
logistic = st.builds(
    lambda slope, bias: CalibrationMap("logistic", slope, bias, positives=10),
    st.floats(SMALLEST_SLOPE, 50),
    st.floats(-40, 40),
)
codes_of_scores = st.integers(LOWEST, HIGHEST).filter(lambda code: code != 0x7FFF)
steps = st.lists(codes_of_scores, min_size=1, max_size=6, unique=True).flatmap(
    lambda codes: st.lists(st.floats(-20, 20), min_size=len(codes), max_size=len(codes)).map(
        lambda xs: CalibrationMap("isotonic", knots=tuple(zip(sorted(codes), sorted(xs), strict=True)), positives=1000)
    )
)
any_map = st.one_of(st.just(CalibrationMap("identity")), logistic, steps)


def table_of(*series: Sample) -> EvidenceTable:
    parts = [
        histogram(np.full(len(x), k), np.arange(len(x)) % CELLS, np.asarray(y, bool), encode(x))
        for k, (x, y) in enumerate(series)
    ]
    keys, counts = (np.concatenate([part[n] for part in parts]) for n in (0, 1))
    rows = tuple(Series(f"cam.it[{k}]", 0.0) for k in range(len(series)))
    return EvidenceTable(rows, CELLS, keys, counts, ("frames",), np.ones((len(series), CELLS, 1), np.int64))


def fit_table(table: EvidenceTable, kind: Kind = "logistic") -> tuple[CalibrationMap, ...]:
    return fit_maps(curves(by_score(table), np.ones(table.cells, bool)), [kind] * len(table.series))


def fit(x: Any, y: Any, kind: Kind = "logistic") -> CalibrationMap:
    return fit_table(table_of((np.asarray(x, float), np.asarray(y, bool))), kind)[0]


def draw(seed: int, n: int, slope: float, bias: float, middle: float = -2.0) -> Sample:
    """n scores on the lattice whose truth is sigmoid(slope * score + bias)."""
    rng = np.random.default_rng(seed)
    x = (middle + 1.5 * rng.standard_normal(n)).astype(np.float16).astype(float)
    return x, rng.random(n) < special.expit(slope * x + bias)


def penalised(x: Array, y: Array) -> tuple[float, float]:
    """Minimum of sum log-loss + ((a - 1)²/0.25 + b²)/2 over raw events, a at its bound or above, by L-BFGS-B."""

    def loss(ab: Array) -> tuple[float, Array]:
        u = ab[0] * x + ab[1]
        pull = special.expit(u) - y
        value = np.logaddexp(0, np.where(y, -u, u)).sum() + ((ab[0] - 1) ** 2 / 0.25 + ab[1] ** 2) / 2
        return float(value), np.array([(pull * x).sum() + (ab[0] - 1) / 0.25, pull.sum() + ab[1]])

    bounds = [(SMALLEST_SLOPE, None), (None, None)]
    found = minimize(loss, [1.0, 0.0], jac=True, bounds=bounds, options={"ftol": 1e-16, "gtol": 1e-9, "maxiter": 1000})
    return float(found.x[0]), float(found.x[1])


@pytest.mark.parametrize("seed", range(12))
def test_slope_and_bias_are_those_of_an_optimiser_on_raw_events(seed: int) -> None:
    slope, bias = (0.5, 1.0, 2.0)[seed % 3], (-1.0, 0.0, 1.5, 3.0)[seed % 4]
    x, y = draw(seed, (60, 400, 3000)[seed % 3], slope, bias, middle=-1.0)
    found = fit(x, y)
    assert (found.kind, found.positives, found.note) == ("logistic", y.sum(), "")
    assert (found.slope, found.bias) == pytest.approx(penalised(x, y), abs=1e-6)


def test_without_a_penalty_it_is_the_logistic_regression_of_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SLOPE_VARIANCE", 1e12)
    monkeypatch.setattr(module, "BIAS_VARIANCE", 1e12)
    x, y = draw(3, 2000, 0.6, 0.8)
    found = fit(x, y)
    peer = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(x[:, None], y)
    assert (found.slope, found.bias) == pytest.approx((peer.coef_[0, 0], peer.intercept_[0]), abs=1e-6)


@laws
@given(events, st.sampled_from([1, 100, 10_000]))
def test_no_step_away_from_the_fit_lowers_the_loss(given_events: list[tuple[float, bool]], times: int) -> None:
    x, y = np.array([s for s, _ in given_events]), np.array([label for _, label in given_events])
    table = table_of((x, y))
    found = fit_table(
        EvidenceTable(table.series, CELLS, table.keys, table.counts * times, (), table.moments[:, :, :0])
    )[0]
    if y.sum() * times < 10:
        assert found.kind == "identity"
        return

    def loss(a: float, b: float) -> float:
        u = a * x + b
        return times * np.logaddexp(0, np.where(y, -u, u)).sum() + ((a - 1) ** 2 / 0.25 + b**2) / 2

    best = loss(found.slope, found.bias)
    for step in (1e-1, 1e-3):
        for a, b in ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1)):
            moved = loss(max(SMALLEST_SLOPE, found.slope + step * a), found.bias + step * b)
            assert moved >= best * (1 - 1e-12)


def test_scores_that_a_line_separates_are_held_by_the_penalty() -> None:
    x, y = np.r_[np.full(500, -3.0), np.full(500, 3.0)], np.r_[np.zeros(500, bool), np.ones(500, bool)]
    found = fit(x, y)
    assert 1 < found.slope < 4
    assert (found.slope, found.bias) == pytest.approx(penalised(x, y), abs=1e-6)


def test_all_positive_events_and_equal_scores_give_finite_maps() -> None:
    for x, y in ((np.full(50, 1.0), np.ones(50)), (np.full(50, -2.0), np.arange(50) % 2), (np.zeros(50), np.ones(50))):
        found = fit(x, y)
        assert (found.slope, found.bias) == pytest.approx(penalised(x, y.astype(bool)), abs=1e-6)


def test_scores_upside_down_never_turn_the_slope_around() -> None:
    x, y = draw(5, 4000, -1.0, -1.0)
    found = fit(x, y)
    assert found.slope == SMALLEST_SLOPE
    assert "do not rise with the truth" in found.note
    assert found.bias == pytest.approx(penalised(x, y)[1], abs=1e-6)
    assert (np.diff(map_codes(found).astype(int)) >= 0).all()


@pytest.mark.parametrize("scale", [1.0, 40.0, 3000.0, np.inf])
def test_saturated_scores_that_are_wrong_do_not_make_the_fit_diverge(scale: float) -> None:
    x, y = draw(6, 3000, 1.0, 0.0)
    x[:200] = np.where(np.arange(200) % 2, scale, -scale)  # right and wrong in turn
    found = fit(x, y)
    finite = np.clip(x, -65504, 65504)
    assert SMALLEST_SLOPE <= found.slope < 2
    a, b = penalised(finite, y)

    def loss(a: float, b: float) -> float:
        u = a * finite + b
        return np.logaddexp(0, np.where(y, -u, u)).sum() + ((a - 1) ** 2 / 0.25 + b**2) / 2

    assert loss(found.slope, found.bias) <= loss(a, b) * (1 + 1e-9)


def test_bracketing_finds_what_newton_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = [draw(7, 800, 0.5, 1.0), draw(8, 800, -1.0, 0.0), draw(9, 800, 1.5, -1.0)]
    newton = [fit(*sample) for sample in samples]
    monkeypatch.setattr(module, "_EVALUATIONS", 0)
    bracketed = [fit(*sample) for sample in samples]
    assert [m.slope for m in bracketed] == pytest.approx([m.slope for m in newton], abs=1e-7)
    assert [m.bias for m in bracketed] == pytest.approx([m.bias for m in newton], abs=1e-7)


def test_newton_needs_no_bracketing_for_ordinary_and_for_over_confident_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> tuple[float, float]:
        raise AssertionError("bracketed")

    monkeypatch.setattr(module, "_bracketed", never)
    for k, temperature in enumerate((0.2, 1.0, 4.0, 8.0)):
        x, y = draw(k, 20_000, 1.0, -1.0, middle=-3.0)
        found = fit((temperature * x).astype(np.float16).astype(float), y)
        assert found.slope == pytest.approx(1 / temperature, rel=0.1)


@laws
@given(st.lists(events, min_size=2, max_size=4))
def test_maps_fitted_together_are_as_if_alone_and_blocks_change_no_bit(many: list[list[tuple[float, bool]]]) -> None:
    series = [(np.array([s for s, _ in one] * 9), np.array([y for _, y in one] * 9)) for one in many]
    together = fit_table(table_of(*series))
    assert together == tuple(fit(*one) for one in series)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BINS", 1)
        assert fit_table(table_of(*series)) == together


@laws
@given(events, st.randoms())
def test_order_and_shards_of_events_do_not_move_a_map(given_events: list[tuple[float, bool]], random: Any) -> None:
    repeated = given_events * 5
    shuffled = random.sample(repeated, len(repeated))
    parts = [[e for i, e in enumerate(shuffled) if i % 2 == k] for k in (0, 1)]
    tables = [table_of((np.array([s for s, _ in p], float), np.array([y for _, y in p], bool))) for p in parts]
    assert fit_table(merge(tables))[0] == fit([s for s, _ in repeated], [y for _, y in repeated])


def test_fewer_than_ten_scored_positives_leave_scores_as_they_are() -> None:
    x, y = np.linspace(-2, 2, 40), np.arange(40) % 4 == 0
    assert fit(x, y).kind == "logistic"
    y[0] = False
    found = fit(x, y)
    assert (found.kind, found.slope, found.bias, found.positives) == ("identity", 1.0, 0.0, 9)
    assert "too few positives for a map, 9 of 10" in found.note
    missed = histogram(np.zeros(5, int), np.zeros(5, int), np.ones(5, bool), np.full(5, MISSED, np.uint16))
    table = table_of((x, y))
    more = merge([table, EvidenceTable(table.series, CELLS, *missed, ("frames",), table.moments)])
    assert fit_table(more)[0] == found
    assert fit(x, y, "identity") == CalibrationMap("identity", positives=9)


def test_isotonic_with_fewer_than_1000_positives_says_that_it_is_slope_and_bias() -> None:
    x, y = np.tile([-1.0, 0.0, 1.0], 999), np.tile([False, False, True], 999)
    few, enough = fit(x, y, "isotonic"), fit(np.r_[x, 1.0], np.r_[y, True], "isotonic")
    assert (few.kind, few.positives) == ("logistic", 999)
    assert few.note == "too few positives for isotonic, 999 of 1000: slope and bias"
    assert (few.slope, few.bias) == (fit(x, y).slope, fit(x, y).bias)
    assert (enough.kind, enough.positives, enough.note) == ("isotonic", 1000, "")


def test_isotonic_steps_are_those_of_scikit_learn_clipped() -> None:
    x, y = draw(11, 6000, 0.6, 1.0, middle=0.0)
    found = fit(x, y, "isotonic")
    assert found.kind == "isotonic"
    peer = IsotonicRegression(out_of_bounds="clip").fit(x, y)
    n, positives = len(y), int(y.sum())
    expected = np.clip(peer.predict(x), 1 / (n + 2), 1 - 1 / (positives + 2))
    mapped = decode(map_codes(found)[encode(x)])
    # Half precision keeps 11 bits of the logit.
    np.testing.assert_allclose(mapped, special.logit(expected), rtol=2**-11, atol=1e-4)
    assert min(logit for _, logit in found.knots) >= special.logit(1 / (n + 2)) - 1e-12
    assert found.knots[0][0] == encode(x).min()


@laws
@given(any_map)
def test_a_map_never_falls_and_leaves_what_is_no_score(calibration: CalibrationMap) -> None:
    codes = map_codes(calibration)
    assert (codes.shape, codes.dtype) == ((1 << 16,), np.uint16)
    assert (np.diff(codes.astype(int)) >= 0).all()
    impossible = np.r_[np.arange(LOWEST), np.arange(HIGHEST + 1, 1 << 16)]
    assert (codes[impossible] == impossible).all()
    assert ((codes[LOWEST : HIGHEST + 1] >= LOWEST) & (codes[LOWEST : HIGHEST + 1] <= HIGHEST)).all()


def test_a_logistic_map_is_slope_times_logit_plus_bias_to_half_precision() -> None:
    logits = np.array([-np.inf, -8.0, -0.5, 0.0, 0.25, 3.0, np.inf])
    mapped = decode(map_codes(CalibrationMap("logistic", 0.5, -1.0))[encode(logits)])
    assert mapped.tolist() == [-np.inf, -5.0, -1.25, -1.0, -0.875, 0.5, np.inf]
    whole = map_codes(CalibrationMap("logistic", 1.0, 0.0))
    assert np.flatnonzero(whole != np.arange(1 << 16)).tolist() == [0x7FFF]  # -0, which encode never gives


def test_an_isotonic_map_is_its_steps() -> None:
    knots = tuple((int(encode(x)), y) for x, y in ((-1.0, -2.0), (0.0, -2.0), (1.0, 3.0)))
    mapped = decode(map_codes(CalibrationMap("isotonic", knots=knots))[encode([-5.0, -1.0, 0.5, 1.0, 60.0])])
    assert mapped.tolist() == [-2.0, -2.0, -2.0, 3.0, 3.0]


@laws
@given(st.lists(events, min_size=3, max_size=3), any_map, any_map)
def test_applied_maps_are_those_of_every_single_event(
    many: list[list[tuple[float, bool]]], first: CalibrationMap, second: CalibrationMap
) -> None:
    series = [(np.array([s for s, _ in one]), np.array([y for _, y in one])) for one in many]
    table = table_of(*series)
    found = apply_maps(table, [2, 0], [first, second])
    mapped = [
        decode(map_codes(m)[encode(x)])
        for m, (x, _) in zip((second, CalibrationMap("identity"), first), series, strict=True)
    ]
    assert found == table_of(*((x, y) for x, (_, y) in zip(mapped, series, strict=True)))
    assert found.counts.sum() == table.counts.sum()
    assert (np.diff(found.keys) > 0).all()


@laws
@given(any_map)
def test_positives_without_a_score_stay_without(calibration: CalibrationMap) -> None:
    missed = histogram(np.zeros(4, int), np.arange(4) % CELLS, np.ones(4, bool), np.full(4, MISSED, np.uint16))
    table = EvidenceTable(
        table_of((np.zeros(1), np.ones(1))).series, CELLS, *missed, (), np.zeros((1, CELLS, 0), np.int64)
    )
    assert apply_maps(table, [0], [calibration]) == table


def test_no_evidence_and_no_maps_are_left_alone() -> None:
    table = table_of((np.zeros(0), np.zeros(0)), (np.ones(2), np.ones(2)))
    assert apply_maps(table, [], []) == table
    assert apply_maps(table, [0], [CalibrationMap("logistic", 2.0, 1.0)]) == table
    nothing = table_of((np.zeros(0), np.zeros(0)))
    assert apply_maps(nothing, [0], [CalibrationMap("logistic", 2.0, 1.0)]) == nothing
    assert fit_table(nothing)[0].kind == "identity"


@laws
@given(events, logistic)
def test_a_map_without_new_ties_keeps_average_precision(
    given_events: list[tuple[float, bool]], calibration: CalibrationMap
) -> None:
    x, y = np.array([s for s, _ in given_events]), np.array([label for _, label in given_events])
    codes = encode(x)
    mapped = map_codes(calibration)
    distinct = len(set(mapped[codes].tolist())) == len(set(codes.tolist()))
    if not (distinct and y.any()):
        return
    after = curves(by_score(apply_maps(table_of((x, y)), [0], [calibration])), np.ones(CELLS, bool))
    assert average_precision(after)[0] == pytest.approx(average_precision_score(y, x), rel=1e-12)


@laws
@given(any_map)
def test_a_map_written_as_pairs_is_read_back_equal_also_as_toml(calibration: CalibrationMap) -> None:
    assert map_from(dict(as_pairs(calibration))) == calibration
    text = "\n".join(f"{key} = {value!r}" for key, value in [*as_pairs(calibration), ("threshold", 0.5)])
    assert map_from(tomllib.loads(text)) == calibration


def test_the_note_is_written_and_every_number_is_plain() -> None:
    found = CalibrationMap("logistic", 0.5, -1.0, positives=12, note="why")
    pairs = as_pairs(found)
    assert pairs == [("map", "logistic"), ("slope", 0.5), ("bias", -1.0), ("map_positives", 12), ("map_note", "why")]
    assert map_from(dict(pairs)) == found
    fitted = [dict(as_pairs(fit(*draw(1, 5000, 1.0, 1.0, middle=0.0), kind))) for kind in ("logistic", "isotonic")]
    assert type(fitted[0]["slope"]) is float
    assert {type(number) for number in fitted[1]["knots"]} == {int, float}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "change",
    [
        {"map": "platt"},
        {"map": None},
        {"slope": 0.0},
        {"slope": -1.0},
        {"slope": float("nan")},
        {"slope": float("inf")},
        {"slope": "1"},
        {"slope": True},
        {"bias": None},
        {"bias": float("-inf")},
        {"map_positives": -1},
        {"map_positives": 1.5},
        {"map_positives": True},
        {"map_note": 3},
        {"map": "isotonic"},
        {"map": "isotonic", "knots": []},
        {"map": "isotonic", "knots": [20000]},
        {"map": "isotonic", "knots": "12"},
        {"map": "isotonic", "knots": [20000, 1.0, 20000, 2.0]},
        {"map": "isotonic", "knots": [20000, 1.0, 30000, 0.5]},
        {"map": "isotonic", "knots": [0, 1.0]},
        {"map": "isotonic", "knots": [65535, 1.0]},
        {"map": "isotonic", "knots": [20000.5, 1.0]},
        {"map": "isotonic", "knots": [20000, float("nan")]},
    ],
)
def test_nonsense_is_no_map(change: dict[str, object]) -> None:
    good: dict[str, object] = {"map": "logistic", "slope": 0.5, "bias": 0.0, "map_positives": 12}
    map_from(good)
    with pytest.raises(ConfigError):
        map_from(good | change)


def excess(fitted: CalibrationMap, slope: float, bias: float) -> float:
    """Expected log-loss of the mapped scores over that of the true probabilities, minus 1."""
    x = np.linspace(-12, 4, 4001).astype(np.float16).astype(float)
    density = np.exp(-(((x + 4) / 1.5) ** 2) / 2)
    truth = special.expit(slope * x + bias)

    def loss(u: Array) -> float:
        return float((density * (truth * np.logaddexp(0, -u) + (1 - truth) * np.logaddexp(0, u))).sum())

    return loss(decode(map_codes(fitted)[encode(x)])) / loss(slope * x + bias) - 1


def maps_at(positives: int, slope: float, bias: float, monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Mean excess log-loss of 12 fits: none, plain and shrunk slope + bias, isotonic; rare positives."""
    out: dict[str, list[float]] = {"none": [], "plain": [], "shrunk": [], "isotonic": []}
    x = draw(0, 200_000, 1.0, 0.0, middle=-4.0)[0]
    n = round(positives / special.expit(slope * x + bias).mean())
    for seed in range(12):
        x, y = draw(100 + seed, n, slope, bias, middle=-4.0)
        with monkeypatch.context() as patch:
            patch.setattr(module, "ENOUGH_FOR_A_MAP", 1)
            patch.setattr(module, "ENOUGH_FOR_STEPS", 1)
            shrunk, isotonic = fit(x, y), fit(x, y, "isotonic")
            patch.setattr(module, "SLOPE_VARIANCE", 100.0)
            patch.setattr(module, "BIAS_VARIANCE", 100.0)
            plain = fit(x, y)
        found = {"none": CalibrationMap("identity"), "plain": plain, "shrunk": shrunk, "isotonic": isotonic}
        for name, fitted in found.items():
            out[name].append(excess(fitted, slope, bias))
    return {name: float(np.mean(values)) for name, values in out.items()}


@pytest.mark.parametrize(("slope", "bias"), [(0.6, -0.8), (1.0, 0.0), (1 / 1.6, 0.0)])
def test_slope_and_bias_shrunk_to_the_identity_are_never_far_from_the_best(
    slope: float, bias: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Method B7: with 10, 100 and 1,000 positives; isotonic does harm where positives are few."""
    for positives, most, harm in ((10, 0.06, 0.05), (100, 0.006, 0.012), (1000, 0.001, 0.002)):
        mean = maps_at(positives, slope, bias, monkeypatch)
        assert mean["shrunk"] < most
        assert mean["shrunk"] < 1.15 * mean["plain"] + 1e-4
        assert mean["isotonic"] > mean["shrunk"] + harm


@pytest.mark.parametrize(
    "pairs",
    [
        {"map": "identity", "slope": 9.0, "map_positives": 3},
        {"map": "logistic", "slope": 1e308, "bias": 0.0, "map_positives": 3},
        {"map": "logistic", "slope": 1.0, "map_positives": 3},
        {"map": "isotonic", "slope": 1.0, "knots": [32768, 0.0], "map_positives": 3},
    ],
)
def test_a_map_with_what_its_kind_does_not_use_is_refused(pairs: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        map_from(pairs)
