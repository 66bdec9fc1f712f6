"""Operating points: the middle of what is near-optimal, the shipping one as long as it is, and never a silent guess."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import fbeta_score, precision_score, recall_score

from gate.calibrate import (
    OperatingPoint,
    calibrate,
    read_points,
    read_thresholds,
    render,
    threshold_codes,
    thresholds_path,
    write_thresholds,
)
from gate.curves import Curves, curves
from gate.errors import ConfigError
from gate.heads import Series
from gate.lattice import LARGEST_LOGIT, MISSED, decode, encode, threshold_code
from gate.table import ClipIndex, EvidenceTable, by_score, histogram
from tests.oracles.hull import hull_midpoint

laws = settings(deadline=None, max_examples=200, database=None)
Array = NDArray[Any]
#: Logits on coarse steps: exact on the lattice, and often equal.
events = st.lists(st.tuples(st.integers(-12, 12).map(lambda k: k / 4), st.booleans()), min_size=1, max_size=60)
A, B = "sha256:aaaa", "sha256:bbbb"
ONE_CLIP = ClipIndex(np.zeros(1, np.int64), 1)


def curve_of(*series: tuple[Array, Array]) -> Curves:
    """Curves of predictions given as (logits, labels)."""
    parts = [
        histogram(np.full(len(s), k), np.zeros(len(s), np.int64), np.asarray(y, bool), encode(s))
        for k, (s, y) in enumerate(series)
    ]
    rows = tuple(Series(f"cam.it[{k}]", 0.0) for k in range(len(series)))
    keys, counts = (np.concatenate([p[n] for p in parts]) for n in (0, 1))
    table = EvidenceTable(rows, 1, keys, counts, (), np.zeros((len(series), 1, 0), np.int64))
    return curves(by_score(table), np.ones(1, bool))


def point_of(
    logits: Any, labels: Any, objective: str = "max f1", shipping: float | None = None, *, fixed: bool = False
) -> OperatingPoint:
    shipped = {} if shipping is None else {"cam.it": shipping}
    curve = curve_of((np.asarray(logits, float), np.asarray(labels, bool)))
    return calibrate(curve, ONE_CLIP, ["cam.it"], [objective], shipped, keep=["cam.it"] if fixed else ())[0]


def plateau() -> tuple[list[float], list[bool]]:
    """40 positives at 1, 40 negatives at -1, and single, harmless scores between them."""
    return [1.0] * 40 + [-1.0] * 40 + [0.5, 0.25, 0.0], [True] * 40 + [False] * 40 + [False, True, False]


@laws
@given(events, st.sampled_from([0.5, 1.0, 2.0]))
def test_the_threshold_is_the_one_that_the_slow_twin_finds(given_events: list[tuple[float, bool]], beta: float) -> None:
    logits, labels = [s for s, _ in given_events], [y for _, y in given_events]
    point = point_of(logits, labels, f"max fbeta({beta})")
    if any(labels):
        assert (point.threshold, point.low, point.high) == hull_midpoint(logits, labels, beta)
    else:
        assert (point.threshold, point.status) == (None, "no_positives")


@laws
@given(st.lists(events, min_size=1, max_size=4))
def test_predictions_calibrated_together_are_as_if_alone(many: list[list[tuple[float, bool]]]) -> None:
    series = [(np.array([s for s, _ in one]), np.array([y for _, y in one])) for one in many]
    names = [f"cam.it[{k}]" for k in range(len(series))]
    together = calibrate(curve_of(*series), ONE_CLIP, names, ["max f1"] * len(series))
    for point, name, one in zip(together, names, series, strict=True):
        assert point == calibrate(curve_of(one), ONE_CLIP, [name], ["max f1"])[0]


@laws
@given(events)
def test_the_threshold_is_within_0_02_of_the_best_and_its_figures_are_those_of_scikit_learn(
    given_events: list[tuple[float, bool]],
) -> None:
    logits, labels = np.array([s for s, _ in given_events]), np.array([y for _, y in given_events])
    if not labels.any():
        return
    point = point_of(logits, labels)
    assert point.threshold is not None
    said = logits >= point.threshold
    best = max(fbeta_score(labels, logits >= t, beta=1, zero_division=0) for t in set(logits.tolist()))
    assert fbeta_score(labels, said, beta=1, zero_division=0) >= best - 0.02 - 1e-12
    assert point.precision == pytest.approx(precision_score(labels, said))
    assert point.recall == pytest.approx(recall_score(labels, said))
    assert point.positives == labels.sum()


def test_a_plateau_is_answered_with_its_middle_and_ties_go_upward() -> None:
    logits, labels = plateau()
    point = point_of(logits, labels)
    # F1 at 1, 0.5, 0.25, 0 is 80/81, 80/82, 82/83, 82/84: all within 0.02 of 82/83; at -1 it is 82/124.
    assert (point.low, point.high) == (0.0, 1.0)
    # The middle, 0.5, was itself a score.
    assert (point.threshold, point.status, point.positives) == (0.5, "calibrated", 41)
    assert (point.precision, point.recall) == (40 / 41, 40 / 41)
    even = point_of([1.0] * 40 + [0.0] + [-1.0] * 40, [True] * 40 + [False] + [False] * 40)
    assert (even.low, even.high, even.threshold) == (0.0, 1.0, 1.0)


def test_recall_weighs_more_with_f2_and_precision_with_f_half() -> None:
    logits = [2.0] * 10 + [1.0] * 40 + [0.0] * 60
    labels = [True] * 10 + [True] * 20 + [False] * 20 + [True] * 10 + [False] * 50
    thresholds = [point_of(logits, labels, o).threshold for o in ("max f2", "max f1", "max f0.5")]
    assert thresholds == [0.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ("shipping", "kept"), [(0.0, True), (0.3125, True), (1.0, True), (-0.25, False), (1.25, False)]
)
def test_the_shipping_threshold_stays_as_long_as_it_is_near_optimal(shipping: float, kept: bool) -> None:
    point = point_of(*plateau(), shipping=shipping)
    assert (point.status, point.threshold) == (("kept", shipping) if kept else ("calibrated", 0.5))


def test_a_released_threshold_is_used_whatever_it_is_worth() -> None:
    point = point_of(*plateau(), shipping=9.0, fixed=True)
    assert (point.status, point.threshold) == ("kept", 9.0)
    assert (point.precision, point.recall) == (None, 0.0)


@pytest.mark.parametrize(("positives", "status"), [(29, "threshold_weak"), (30, "calibrated")])
def test_fewer_than_30_positives_make_a_weak_threshold(positives: int, status: str) -> None:
    point = point_of([1.0] * positives + [-1.0] * 50, [True] * positives + [False] * 50)
    assert (point.status, point.threshold, point.feasible) == (status, 1.0, True)


def test_few_positives_keep_a_near_optimal_shipping_threshold() -> None:
    logits, labels = [1.0] * 5 + [0.0] + [-1.0] * 5, [True] * 5 + [True] + [False] * 5
    assert point_of(logits, labels, shipping=0.0).status == "kept"
    assert point_of(logits, labels, shipping=-1.0).status == "threshold_weak"


def test_no_positives_choose_nothing_and_carry_the_shipping_threshold_over() -> None:
    alone = point_of([1.0, -1.0], [False, False])
    assert (alone.status, alone.threshold, alone.feasible, alone.recall) == ("no_positives", None, False, None)
    carried = point_of([1.0, -1.0], [False, False], shipping=0.5)
    assert (carried.status, carried.threshold, carried.feasible) == ("no_positives", 0.5, False)


def test_no_scores_at_all_choose_nothing() -> None:
    keys, counts = histogram(np.zeros(3, int), np.zeros(3, int), np.ones(3, bool), np.full(3, MISSED, np.uint16))
    table = EvidenceTable((Series("cam.it", 0.5),), 1, keys, counts, (), np.zeros((1, 1, 0), np.int64))
    point = calibrate(curves(by_score(table), np.ones(1, bool)), ONE_CLIP, ["cam.it"], ["max f1"])[0]
    assert (point.threshold, point.feasible, point.low, point.high) == (None, False, None, None)


def test_a_threshold_is_finite_even_where_scores_are_not() -> None:
    point = point_of([np.inf] * 40 + [0.0] * 40, [True] * 40 + [False] * 40)
    assert (point.threshold, point.precision, point.recall) == (LARGEST_LOGIT, 1.0, 1.0)


def test_many_thresholds_have_the_codes_that_each_has_alone() -> None:
    thresholds = [None, 0.0, -0.0, 0.1, -2.5, 70000.0, LARGEST_LOGIT, -LARGEST_LOGIT, -70000.0, -65503.0, 60.0, -60.0]
    assert threshold_codes(thresholds).tolist() == [threshold_code(t) for t in thresholds]
    assert threshold_codes([]).tolist() == []


def test_no_threshold_is_above_every_code() -> None:
    codes = threshold_codes([None, 0.0, -2.5, LARGEST_LOGIT])
    assert codes[0] > 0xFFFF
    assert decode(codes[1:]).tolist() == [0.0, -2.5, LARGEST_LOGIT]


def test_where_accepting_everything_is_best_a_score_of_minus_infinity_is_accepted_too() -> None:
    point = point_of([-np.inf] * 40 + [3.0], [True] * 40 + [False])
    assert (point.threshold, point.precision, point.recall) == (-LARGEST_LOGIT, 40 / 41, 1.0)
    assert threshold_codes([point.threshold]).tolist() == [int(encode(-np.inf))]


SURE = "max recall where precision >= 0.9 at 0.95"


def points() -> tuple[OperatingPoint, ...]:
    absent = point_of([1.0], [False])
    return (
        OperatingPoint("cam.sign[stop]", "max f1", "calibrated", 0.1 + 0.2, 1 / 3, 0.5, 44, -1.0, 2.5),
        OperatingPoint("cam.edge", "max f2", "threshold_weak", -LARGEST_LOGIT, None, None, 4, -3.0, -3.0),
        OperatingPoint("cam.it", "max f1", absent.status, absent.threshold, None, None, 0, None, None),
        OperatingPoint("cam.far", SURE, "unattainable", None, None, 0.0, 50, None, None, 0.4, 0.625, None),
        OperatingPoint("cam.near", SURE, "unproven", 1.5, 0.92, 0.7, 50, 1.25, 1.5, 0.81, None, 12),
        OperatingPoint("cam.sure", SURE, "calibrated", 2.0, 0.97, 0.6, 90, 2.0, 3.5, 0.91),
    )


def test_a_thresholds_file_is_read_back_exactly(tmp_path: Path) -> None:
    path = thresholds_path(tmp_path, "city/night", "hydra:net", "1")
    assert path == tmp_path / "city-night" / "hydra-net-1.toml"
    write_thresholds(path, points(), suite=A, bundle=B)
    thresholds = {"cam.sign[stop]": 0.1 + 0.2, "cam.edge": -LARGEST_LOGIT, "cam.near": 1.5, "cam.sure": 2.0}
    assert read_thresholds(path, suite=A, bundle=B) == thresholds
    again = read_points(path, suite=A, bundle=B)
    assert again == tuple(sorted(points(), key=lambda p: p.prediction))
    assert render(again, suite=A, bundle=B) == path.read_text()


def test_a_thresholds_file_is_sorted_and_has_the_same_bytes_whatever_the_order() -> None:
    text = render(points(), suite=A, bundle=B)
    assert text == render(points()[::-1], suite=A, bundle=B)
    table = tomllib.loads(text)["thresholds"]
    assert list(table) == ["cam.edge", "cam.far", "cam.it", "cam.near", "cam.sign[stop]", "cam.sure"]
    assert table["cam.sign[stop]"] == {
        "threshold": 0.1 + 0.2,
        "objective": "max f1",
        "feasible": True,
        "status": "calibrated",
        "precision": 1 / 3,
        "recall": 0.5,
        "positives": 44,
        "low": -1.0,
        "high": 2.5,
    }
    assert table["cam.it"] == {"objective": "max f1", "feasible": False, "status": "no_positives", "positives": 0}
    assert [table[f"cam.{name}"]["feasible"] for name in ("far", "near", "sure")] == [False, False, True]
    far = table["cam.far"]
    assert (far["attained"], far["bound"], table["cam.near"]["clips_needed"]) == (0.625, 0.4, 12)


@pytest.mark.parametrize(
    ("was", "becomes", "told"),
    [
        ("threshold = 1.5", 'threshold = "1.5"', "the threshold of cam.near is no number"),
        ("threshold = 1.5", "threshold = nan", "the threshold of cam.near is no number"),
        ("threshold = 1.5", "threshold = true", "the threshold of cam.near is no number"),
        ("clips_needed = 12", "clips_needed = 1.5", "the clips_needed of cam.near is no whole number"),
        ("clips_needed = 12", "clips = 12", "cam.near has an unknown key clips"),
        ('status = "unproven"', 'status = "fine"', "cam.near lacks its objective"),
        ("bound = 0.91", "bound = 0.89", "cam.sure is said to be feasible = True"),
        (SURE, "max recall", "unknown objective 'max recall'"),
    ],
)
def test_a_line_that_says_what_no_operating_point_is_is_refused(
    tmp_path: Path, was: str, becomes: str, told: str
) -> None:
    text = render(points(), suite=A, bundle=B)
    assert was in text
    (tmp_path / "t.toml").write_text(text.replace(was, becomes))
    with pytest.raises(ConfigError, match=re.escape(told)) as refused:
        read_points(tmp_path / "t.toml", suite=A, bundle=B)
    assert refused.value.where == str(tmp_path / "t.toml")


def test_thresholds_of_another_suite_or_bundle_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.toml"
    write_thresholds(path, points(), suite=A, bundle=B)
    with pytest.raises(ConfigError, match="another suite"):
        read_thresholds(path, suite=B, bundle=B)
    with pytest.raises(ConfigError, match="another bundle"):
        read_thresholds(path, suite=A, bundle=A)


@pytest.mark.parametrize(
    "text",
    [
        "",
        'schema = "gate.thresholds/1"\n',
        'schema = "else/1"\n',
        "not toml = [",
        f'schema = "gate.thresholds/1"\nsuite = "{A}"\nbundle = "{B}"\nthresholds = 3\n',
    ],
)
def test_a_file_that_is_no_thresholds_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.toml").write_text(text)
    with pytest.raises(ConfigError):
        read_thresholds(tmp_path / "t.toml", suite=A, bundle=B)


@pytest.mark.parametrize("body", ["thresholds = [1]", "thresholds = 3", "[thresholds]\na = 3"])
def test_thresholds_that_are_no_table_are_refused(tmp_path: Path, body: str) -> None:
    head = f'schema = "gate.thresholds/1"\nsuite = "{A}"\nbundle = "{B}"\n'
    (tmp_path / "t.toml").write_text(head + body + "\n")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_points(tmp_path / "t.toml", suite=A, bundle=B)


def test_a_threshold_beyond_all_numbers_is_refused(tmp_path: Path) -> None:
    text = render(points(), suite=A, bundle=B).replace("threshold = 1.5", "threshold = " + 400 * "9")
    (tmp_path / "t.toml").write_text(text)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_points(tmp_path / "t.toml", suite=A, bundle=B)
