"""Curves from histograms are the curves of scikit-learn and pycocotools, ties and missed positives included."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, precision_recall_curve

from gate.curves import Curves, average_precision, coco_average_precision, cumulative, curves, running_from_end
from gate.heads import Series
from gate.lattice import MISSED, NO_THRESHOLD, encode
from gate.table import EvidenceTable, by_score, histogram
from tests.oracles import coco

laws = settings(deadline=None, max_examples=120, database=None)
Array = NDArray[Any]
#: One prediction: (score, label) events on coarse scores, so that ties are common, and positives without a score.
scored = st.lists(st.tuples(st.integers(-6, 6), st.booleans()), min_size=1, max_size=40)
NEVER = -1e6  # below every score


def curve_of(*series: tuple[Array, Array, int], cells: int = 3) -> Curves:
    """Curves of predictions given as (scores, labels, missed positives), over all of several cells."""
    keys, counts = [], []
    for k, (scores, labels, missed) in enumerate(series):
        codes = np.r_[encode(scores), np.full(missed, MISSED, np.uint16)]
        positive = np.r_[labels, np.ones(missed, bool)].astype(bool)
        part = histogram(np.full(len(codes), k), np.arange(len(codes)) % cells, positive, codes)
        keys.append(part[0])
        counts.append(part[1])
    rows = tuple(Series(f"cam.it[{k}]", 0.0) for k in range(len(series)))
    moments = np.zeros((len(series), cells, 0), np.int64)
    table = EvidenceTable(rows, cells, np.concatenate(keys), np.concatenate(counts), (), moments)
    return curves(by_score(table), np.ones(cells, bool))


def arrays(events: list[tuple[int, bool]]) -> tuple[Array, Array]:
    return np.array([score for score, _ in events], float), np.array([label for _, label in events], bool)


@laws
@given(scored)
def test_average_precision_with_ties_is_that_of_scikit_learn(events: list[tuple[int, bool]]) -> None:
    scores, labels = arrays(events)
    measured = average_precision(curve_of((scores, labels, 0)))[0]
    if labels.any():
        assert measured == pytest.approx(average_precision_score(labels, scores), abs=1e-12)
    else:
        assert np.isnan(measured)


@laws
@given(scored, st.integers(1, 9))
def test_a_missed_positive_counts_in_the_denominator_and_is_never_found(
    events: list[tuple[int, bool]], missed: int
) -> None:
    scores, labels = arrays(events)
    everything = np.r_[labels, np.ones(missed, bool)]
    precision, recall, thresholds = precision_recall_curve(everything, np.r_[scores, np.full(missed, NEVER)])
    found = np.append(thresholds, np.inf) > NEVER
    expected = -np.sum(np.diff(recall[found]) * precision[found][:-1])
    assert average_precision(curve_of((scores, labels, missed)))[0] == pytest.approx(expected, abs=1e-12)


@laws
@given(scored, st.integers(0, 5))
def test_every_point_of_the_curve_is_a_point_of_scikit_learns(events: list[tuple[int, bool]], missed: int) -> None:
    scores, labels = arrays(events)
    curve = curve_of((scores, labels, missed))
    if not labels.any():
        return
    precision, recall, thresholds = precision_recall_curve(labels, scores)
    assert curve.code.tolist() == encode(thresholds[::-1]).tolist()
    assert curve.tp / (curve.tp + curve.fp) == pytest.approx(precision[:-1][::-1], abs=1e-12)
    share = labels.sum() / (labels.sum() + missed)
    assert curve.tp / curve.total[0] == pytest.approx(recall[:-1][::-1] * share, abs=1e-12)


def test_float32_scores_move_a_curve_of_many_events_by_less_than_a_ten_thousandth() -> None:
    rng = np.random.default_rng(11)
    labels = rng.random(100_000) < 0.05
    scores = (rng.normal(size=labels.size) * 1.5 + np.where(labels, 1.0, -3.0)).astype(np.float32)
    curve = curve_of((scores, labels, 0))
    assert average_precision(curve)[0] == pytest.approx(average_precision_score(labels, scores), abs=1e-4)
    precision, recall, thresholds = precision_recall_curve(labels, scores)
    lowest = np.full(len(curve.code), np.inf, np.float32)
    np.minimum.at(lowest, np.searchsorted(-curve.code, -encode(scores).astype(np.int64)), scores)
    at = np.searchsorted(thresholds, lowest)
    assert np.abs(curve.tp / (curve.tp + curve.fp) - precision[at]).max() < 1e-4
    assert np.abs(curve.tp / curve.total[0] - recall[at]).max() < 1e-4


def test_five_events_counted_by_hand() -> None:
    # 3: yes | 2: yes and no, tied | 1: no | one more yes was never scored.
    curve = curve_of((np.array([3, 2, 2, 1]), np.array([True, True, False, False]), 1))
    assert (curve.tp.tolist(), curve.fp.tolist()) == ([1, 2, 2], [0, 1, 2])
    assert (curve.total.tolist(), curve.negatives_total.tolist()) == ([3], [2])
    assert average_precision(curve)[0] == pytest.approx((1 / 1 + 2 / 3) / 3)
    # COCO: precision 1 at recall 0 .. 1/3 (34 points), 2/3 up to 2/3 (33 points), then 0.
    assert coco_average_precision(curve)[0] == pytest.approx((34 * 1 + 33 * 2 / 3) / 101)


def test_only_positives_are_found_perfectly_and_only_negatives_measure_nothing() -> None:
    scores = np.array([0.5, -1.0])
    curve = curve_of((scores, np.ones(2, bool), 0), (scores, np.zeros(2, bool), 0), (scores[:0], scores[:0], 2))
    for measured in (average_precision(curve), coco_average_precision(curve)):
        assert measured[0] == 1.0
        assert np.isnan(measured[1])
        assert measured[2] == 0.0  # there was something to find, and nothing was found


def test_no_events_at_all_measure_nothing() -> None:
    none = np.zeros(0)
    curve = curve_of((none, none, 0))
    assert np.isnan(average_precision(curve)).all()
    assert np.isnan(coco_average_precision(curve)).all()


@laws
@given(st.lists(st.tuples(scored, st.integers(0, 3)), min_size=1, max_size=4))
def test_predictions_do_not_touch_each_other(many: list[tuple[list[tuple[int, bool]], int]]) -> None:
    series = [(*arrays(events), missed) for events, missed in many]
    together = curve_of(*series)
    for k, one in enumerate(series):
        alone, part = curve_of(one), together.of(k)
        for name in ("code", "tp", "fp", "positives", "negatives"):
            assert getattr(together, name)[part].tolist() == getattr(alone, name).tolist()
        for value in (average_precision, coco_average_precision):
            assert np.array_equal(value(together)[k : k + 1], value(alone), equal_nan=True)


@laws
@given(st.lists(st.tuples(scored, st.integers(0, 3)), min_size=1, max_size=4), st.integers(2, 9))
def test_a_curve_is_the_same_however_its_events_are_cut_into_cells(
    many: list[tuple[list[tuple[int, bool]], int]], cells: int
) -> None:
    series = [(*arrays(events), missed) for events, missed in many]
    whole, cut = curve_of(*series, cells=1), curve_of(*series, cells=cells)
    for name in ("code", "tp", "accepted", "positives", "starts", "total", "negatives_total", "run_tp", "run_accepted"):
        assert getattr(whole, name).tolist() == getattr(cut, name).tolist()
    for value in (average_precision, coco_average_precision):
        assert np.array_equal(value(whole), value(cut), equal_nan=True)
    # Each entry is in the bin of its code.
    for curve in (whole, cut):
        told = curve.bin[curve.entries.code != MISSED]
        assert curve.code[told].tolist() == curve.entries.code[curve.entries.code != MISSED].tolist()
        assert (curve.bin[curve.entries.code == MISSED] == -1).all()


def test_only_the_chosen_cells_count() -> None:
    keys, counts = histogram(
        np.zeros(4, np.int64), np.array([0, 0, 1, 1]), np.array([True, False, True, False]), encode([2, 1, 1, 2])
    )
    table = EvidenceTable((Series("cam.it", 0.0),), 2, keys, counts, (), np.zeros((1, 2, 0), np.int64))
    right, wrong = (average_precision(curves(by_score(table), np.array(c)))[0] for c in ([True, False], [False, True]))
    assert (right, wrong) == (1.0, 0.5)


@laws
@given(st.lists(st.integers(-12, 12), min_size=1, max_size=30, unique=True), st.data())
def test_coco_average_precision_is_that_of_pycocotools(ranks: list[int], data: st.DataObject) -> None:
    hits = data.draw(st.lists(st.booleans(), min_size=len(ranks), max_size=len(ranks)))
    missed = data.draw(st.integers(0, 4))
    scores, labels = np.array(ranks, float), np.array(hits)
    # Each hit has a truth box of its own; a false alarm lies far from all of them.
    place = np.arange(len(ranks)) * 10.0
    boxes = np.stack([place, np.zeros(len(ranks)), place + 5, np.full(len(ranks), 5.0)], axis=1)
    lonely = np.stack(
        [np.arange(missed) * 10.0, np.full(missed, 50.0), np.arange(missed) * 10.0 + 5, np.full(missed, 55.0)], axis=1
    )
    truths = np.concatenate([boxes[labels], lonely])
    scene = coco.Scene(scores, boxes, truths, np.zeros(len(truths), bool))
    measured = coco_average_precision(curve_of((scores, labels, missed)))[0]
    assert measured == pytest.approx(coco.average_precision([scene], 0.5), abs=1e-12, nan_ok=True)


@laws
@given(st.lists(st.lists(st.integers(0, 9), max_size=5), min_size=1, max_size=5))
def test_running_sums_start_anew_with_each_prediction(parts: list[list[int]]) -> None:
    starts = np.r_[0, np.cumsum([len(p) for p in parts])]
    series = np.repeat(np.arange(len(parts)), [len(p) for p in parts])
    flat = np.array([v for p in parts for v in p], dtype=np.int64)
    forward = [v for p in parts for v in np.cumsum(p).tolist()]
    backward = [v for p in parts for v in np.cumsum(p[::-1])[::-1].tolist()]
    assert cumulative(flat, starts, series).tolist() == forward
    assert running_from_end(flat.astype(float), starts).tolist() == backward


def test_sums_from_the_end_carry_nothing_from_one_prediction_to_the_next() -> None:
    rng = np.random.default_rng(5)
    sizes = np.array([0, 1, 7, 8, 1000, 0, 3, 900, 1, 0])
    starts = np.r_[0, np.cumsum(sizes)]
    series = np.repeat(np.arange(len(sizes)), sizes)
    values = rng.random(starts[-1]) * np.where(series == 4, 1e12, 1.0)
    looped = [np.cumsum(values[a:b][::-1])[::-1] for a, b in pairwise(starts.tolist())]
    assert np.array_equal(running_from_end(values, starts), np.concatenate(looped))
    assert running_from_end(np.zeros(0), np.zeros(4, np.int64)).tolist() == []


@pytest.mark.parametrize("total", [1, 3, 7, 50, 99, 100, 101, 1000, 12_345])
def test_the_recall_points_are_reached_where_the_rounded_quotient_reaches_them(total: int) -> None:
    # One positive a score: the precision envelope at each recall point tells which positive reached it.
    found = total - total // 5
    labels = np.arange(2 * found) % 2 == 0
    curve = curve_of((-np.arange(2 * found) / 16.0, labels, total - found))
    precision, recall = curve.tp / (curve.tp + curve.fp), curve.tp / total
    reached = [precision[recall >= p].max(initial=0.0) for p in np.linspace(0.0, 1.0, 101)]
    assert coco_average_precision(curve)[0] == pytest.approx(np.mean(reached), abs=1e-12)


@laws
@given(st.lists(st.tuples(scored, st.integers(0, 3)), min_size=1, max_size=4), st.data())
def test_counts_at_a_code_are_counted_event_by_event(
    many: list[tuple[list[tuple[int, bool]], int]], data: st.DataObject
) -> None:
    curve = curve_of(*[(*arrays(events), missed) for events, missed in many])
    at = np.array([data.draw(st.integers(-8, 8)) for _ in many], float)
    tp, fp = curve.counts_at(encode(at).astype(np.int64))
    for k, (events, _) in enumerate(many):
        assert tp[k] == sum(1 for score, label in events if label and score >= at[k])
        assert fp[k] == sum(1 for score, label in events if not label and score >= at[k])
    none = curve.counts_at(np.full(len(many), NO_THRESHOLD))
    assert [c.tolist() for c in none] == [[0] * len(many)] * 2
