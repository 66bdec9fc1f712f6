"""Every kind of head: examples small enough to count by hand, and one law, that cutting the frames changes nothing."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.metrics import multilabel_confusion_matrix

from gate.errors import BundleError, EvidenceError
from gate.evidence import ScoredEvents
from gate.heads import Decoder, Head
from gate.lattice import LARGEST_LOGIT, MISSED, decode, encode
from gate.table import EvidenceTable
from gate.tasks import TASKS, Batch, detection, task_of
from gate.tasks.events import channel_logits
from tests.oracles import centernet
from tests.support.kinds import KINDS, boxes_of, head_of, random_frames

laws = settings(deadline=None, max_examples=12, database=None)
Array = NDArray[Any]
NAN = math.nan
Scored = dict[tuple[float | None, bool], int]


def one_cell(head: Head, outputs: Any, truth: Any) -> Batch:
    """A batch whose frames all lie in one cell; a plain array is the head's own output."""
    given = outputs if isinstance(outputs, dict) else {"": np.asarray(outputs, np.float32)}
    return Batch(given, truth, np.zeros(len(next(iter(given.values()))), np.int64), 1)


def reduced(head: Head, outputs: Any, truth: Any) -> EvidenceTable:
    return task_of(head).reduce(one_cell(head, outputs, truth), head)


def events(table: EvidenceTable, series: int = 0, cell: int = 0) -> Scored:
    """(logit, label) -> count; a positive without a score has the logit None."""
    row: ScoredEvents = table.row(series, cell).events
    return {
        (None if code == MISSED else float(decode(code)), label): count
        for code, label, count in zip(row.codes, row.labels, row.counts, strict=True)
    }


def moments(table: EvidenceTable, series: int = 0) -> dict[str, float]:
    return {name: float(table.sums(name)[series, 0]) for name in table.names}


# The law


@pytest.mark.parametrize("kind", KINDS)
@laws
@given(st.integers(1, 12), st.integers(0, 10**6), st.randoms(use_true_random=False))
def test_cutting_and_ordering_frames_otherwise_gives_the_same_evidence(
    kind: str, count: int, seed: int, random: Any
) -> None:
    frames = random_frames(kind, count, seed)
    whole = frames.evidence([range(count)])
    assert frames.evidence([[k] for k in range(count)]) == whole
    order = list(range(count))
    random.shuffle(order)
    cuts = sorted(random.sample(range(count + 1), k=min(3, count + 1)))
    parts = [order[a:b] for a, b in zip([0, *cuts], [*cuts, count], strict=True)]
    assert frames.evidence(parts) == whole
    shards = [frames.evidence([part]) for part in parts]
    assert shards[0] + shards[1] + shards[-1] + frames.evidence([*parts[2:-1]]) == whole


@pytest.mark.parametrize("kind", KINDS)
def test_frames_of_one_cell_leave_all_other_cells_empty(kind: str) -> None:
    frames = random_frames(kind, 6, 1)
    table = task_of(frames.head).reduce(frames.batch([0, 1]), frames.head)
    for cell in set(range(table.cells)) - set(frames.cell[:2].tolist()):
        for series in range(len(table.series)):
            row = table.row(series, cell)
            assert row.events == ScoredEvents()
            assert not any(row.moments.values)


@pytest.mark.parametrize("kind", KINDS)
def test_evidence_has_the_sums_that_its_kind_announces(kind: str) -> None:
    frames = random_frames(kind, 4, 2)
    table = task_of(frames.head).reduce(frames.batch(range(4)), frames.head)
    assert table.names == task_of(frames.head).yields(frames.head).sums


@pytest.mark.parametrize("kind", KINDS)
@laws
@given(st.integers(0, 10**6))
def test_the_events_of_frames_are_those_that_evidence_counts(kind: str, seed: int) -> None:
    """Two ways to the same numbers: evidence, which the oracles of this file hold, and events, frame by frame."""
    frames = random_frames(kind, 7, seed)
    head, table = frames.head, frames.evidence([range(7)])
    threshold = 0.5 if task_of(head).yields(head).thresholded else None
    for row, channel in enumerate(head.judged):
        series = row * len(head.levels)
        counted, wrong, errors = Counter[tuple[float | None, bool]](), 0, 0.0
        for one in task_of(head).events(frames.batch(range(7)), head, channel, threshold):
            codes = [None if math.isnan(s) else float(decode(encode(s))) for s in one.score]
            counted.update(zip(codes, one.truth.tolist(), strict=True))
            counted.update((float(decode(encode(s))), False) for s in one.alarms.score)
            wrong += int(one.wrong.sum() + one.alarms.accepted.sum())
            errors += float(np.abs(one.error).sum())
        cells = range(table.cells)
        if kind in ("regression", "orientation frames"):
            assert errors == pytest.approx(table.sums("sum_abs_error")[series].sum())
            continue
        if kind in ("depth", "orientation raster"):  # of a raster, one event with its mean
            continue
        if task_of(head).yields(head).provides & {"curve", "similarity"}:
            expected = Counter[tuple[float | None, bool]]()
            for cell in cells:
                for key, count in events(table, series, cell).items():
                    expected[key] += count
            # The log-odds of a softmax differ in the last bits between one class and all at once.
            assert counted == expected or kind == "multiclass"
            assert counted.total() == expected.total()
        if kind.endswith("objects"):
            continue  # a box that is turned is wrong too
        if threshold is None:
            assert wrong == (table.sums("fp") + table.sums("fn"))[series].sum()
        else:
            assert wrong == sum(n for (x, label), n in counted.items() if (x is not None and x >= 0.5) != label)


def test_the_log_odds_of_one_class_are_those_of_all_classes_at_once() -> None:
    raw = np.random.default_rng(0).normal(scale=5, size=(4, 3, 5))
    head = head_of("segmentation", ("a", "b", "c", "d"), score="softmax")
    for k in range(4):
        assert channel_logits(raw, head, k) == pytest.approx(scipy_log_odds(raw, k), rel=1e-12)


def scipy_log_odds(raw: Array, k: int) -> Array:
    """log p - log(1 - p) of class k, axis 0; fine where p is not close to 1."""
    p = softmax(raw, axis=0)
    return np.log(p[k]) - np.log(np.delete(p, k, axis=0).sum(axis=0))


def test_every_kind_is_listed_under_its_own_name() -> None:
    assert {name: task.__name__.rpartition(".")[2] for name, task in TASKS.items()} == {name: name for name in TASKS}  # type: ignore[attr-defined]


# Yes or no


BINARY = head_of("binary", score="sigmoid")


def test_binary_counts_each_labelled_frame_under_its_score() -> None:
    table = reduced(BINARY, [[2.0], [2.0], [-1.0], [0.5]], np.array([[1.0], [0.0], [0.0], [NAN]]))
    assert events(table) == {(2.0, True): 1, (2.0, False): 1, (-1.0, False): 1}
    assert moments(table) == {"frames": 3}


def test_binary_accepts_an_output_without_a_channel_axis() -> None:
    truth = np.array([[1.0], [0.0]])
    assert reduced(BINARY, [2.0, 1.0], truth) == reduced(BINARY, [[2.0], [1.0]], truth)


def test_binary_reads_probabilities_as_log_odds() -> None:
    head = head_of("binary", score="probability")
    table = reduced(head, [[0.5], [1.0], [0.0]], np.array([[1.0], [1.0], [0.0]]))
    assert events(table) == {(0.0, True): 1, (math.inf, True): 1, (-math.inf, False): 1}


def test_a_frame_that_nobody_labelled_counts_for_nobody() -> None:
    table = reduced(BINARY, [[2.0]], np.array([[NAN]]))
    assert events(table) == {}
    assert moments(table) == {"frames": 0}


@pytest.mark.parametrize(("truth", "word"), [(1.0, "yes"), (0.0, "no"), (NAN, "not labelled")])
def test_binary_pictures_truth_probability_and_decision(truth: float, word: str) -> None:
    batch = one_cell(BINARY, [[math.log(3)]], np.array([[truth]]))
    assert TASKS["binary"].picture(batch, BINARY, 0, None).facts == (f"truth {word}", "0.75 yes")
    assert TASKS["binary"].picture(batch, BINARY, 0, 1.0).facts[1] == "0.75 yes"
    assert TASKS["binary"].picture(batch, BINARY, 0, 1.5).facts[1] == "0.75 no"


@pytest.mark.parametrize(("logit", "said"), [(7.0, ">0.99 yes"), (-7.0, "<0.01 no"), (np.inf, "1.00 yes")])
def test_a_probability_is_shown_as_certain_only_when_it_is(logit: float, said: str) -> None:
    assert TASKS["binary"].picture(one_cell(BINARY, [[logit]], np.array([[1.0]])), BINARY, 0, 0.0).facts[1] == said


def test_a_picture_decides_as_evidence_is_counted() -> None:
    # 0.99999 lies below the threshold 1 and has its code: it is counted as accepted, so it is shown as accepted.
    assert encode(np.float32(0.99999)) == encode(1.0)
    batch = one_cell(BINARY, [[0.99999]], np.array([[1.0]]))
    assert TASKS["binary"].picture(batch, BINARY, 0, 1.0).facts[1].endswith("yes")
    certain = head_of("binary", score="probability")
    batch = one_cell(certain, [[0.0]], np.array([[1.0]]))
    assert TASKS["binary"].picture(batch, certain, 0, -LARGEST_LOGIT).facts[1] == "0.00 yes"


# Several labels


SIGNS = head_of("multilabel", ("stop", "yield", "spare"), judged=(0, 1), score="sigmoid")


def test_multilabel_counts_each_channel_for_itself_and_skipped_ones_not_at_all() -> None:
    table = reduced(SIGNS, [[1.0, -1.0, 9.0], [2.0, 3.0, 9.0]], np.array([[1.0, NAN, 1.0], [0.0, 1.0, 1.0]]))
    assert [row.prediction for row in table.series] == ["cam.it[stop]", "cam.it[yield]"]
    assert events(table, 0) == {(1.0, True): 1, (2.0, False): 1}
    assert events(table, 1) == {(3.0, True): 1}
    assert (moments(table, 0), moments(table, 1)) == ({"frames": 2}, {"frames": 1})


def test_multilabel_pictures_the_channel_that_is_asked_for() -> None:
    batch = one_cell(SIGNS, [[0.0, math.log(4), 0.0]], np.array([[0.0, 1.0, 0.0]]))
    assert TASKS["multilabel"].picture(batch, SIGNS, 1, 0.0).facts == ("truth yes", "0.80 yes")


@pytest.mark.parametrize("task", ["binary", "multilabel", "multiclass", "regression"])
def test_another_number_of_channels_is_refused(task: str) -> None:
    head = head_of(task, ("a", "b"), score="sigmoid")
    with pytest.raises(BundleError, match=r"\(3,\) a frame for 2 channels"):
        TASKS[head.task].scores({"": np.zeros((4, 3))}, head)


# One of several classes


LIGHT = head_of("multiclass", ("red", "amber", "green"), judged=(0, 2), score="softmax")


def test_multiclass_counts_decisions_by_the_greatest_score() -> None:
    raw = [[3.0, 0.0, 0.0], [0.0, 0.0, 3.0], [0.0, 3.0, 0.0], [3.0, 0.0, 0.0]]
    table = reduced(LIGHT, raw, np.array([0, 0, 2, -1]))
    assert moments(table, 0) == {"tp": 1, "fp": 0, "fn": 1, "tn": 1, "frames": 3}
    assert moments(table, 1) == {"tp": 0, "fp": 1, "fn": 1, "tn": 1, "frames": 3}
    high, low = 3 - math.log(2), -math.log(math.exp(3) + 1)
    half = [float(np.float16(v)) for v in (high, low)]
    assert events(table, 0) == {(half[0], True): 1, (half[1], True): 1, (half[1], False): 1}


def test_multiclass_decisions_are_those_of_a_confusion_matrix() -> None:
    rng = np.random.default_rng(4)
    raw, truth = rng.normal(size=(300, 3)), rng.integers(0, 3, 300)
    table = reduced(head_of("multiclass", ("a", "b", "c"), score="softmax"), raw, truth)
    said = raw.astype(np.float32).argmax(axis=1)
    for k, ((tn, fp), (fn, tp)) in enumerate(multilabel_confusion_matrix(truth, said)):
        assert moments(table, k) == {"tp": tp, "fp": fp, "fn": fn, "tn": tn, "frames": 300}


def test_a_frame_without_a_class_counts_for_nobody() -> None:
    table = reduced(LIGHT, [[1.0, 2.0, 3.0]], np.array([-1]))
    assert events(table) == {}
    assert not any(moments(table).values())


def test_multiclass_pictures_truth_and_decision_by_name() -> None:
    raw = [[0.0, math.log(2), 0.0]]
    facts = TASKS["multiclass"].picture(one_cell(LIGHT, raw, np.array([2])), LIGHT, 0, None).facts
    assert facts == ("truth green", "amber 0.50, green 0.25, red 0.25")  # decided, true, asked for
    unknown = TASKS["multiclass"].picture(one_cell(LIGHT, raw, np.array([-1])), LIGHT, 0, None).facts
    assert unknown[0] == "truth not labelled"


# A class for every pixel


def seg(score: str, **fields: Any) -> Head:
    return head_of("segmentation", ("sky", "road", "void"), judged=(0, 1), score=score, ignore=2, **fields)


def one_hot(classes: Array, count: int = 3, height: float = 4.0) -> Array:
    """(B, K, H, W) logits whose greatest is at `classes`."""
    return np.where(classes[:, None] == np.arange(count)[:, None, None], height, 0.0).astype(np.float32)


def test_segmentation_counts_pixels_of_every_class() -> None:
    truth = np.array([[[0, 0, 1], [1, 2, 2]]])
    said = np.array([[[0, 1, 1], [2, 0, 2]]])
    table = reduced(seg("softmax"), one_hot(said), truth)
    # sky: found 1 of 2; road: found 1 of 2, and one sky pixel taken for it; the two void pixels are nobody's.
    assert moments(table, 0) == {"tp": 1, "fn": 1, "fp": 0, "tn": 2, "events": 4, "frames": 1}
    assert moments(table, 1) == {"tp": 1, "fn": 1, "fp": 1, "tn": 1, "events": 4, "frames": 1}


def test_segmentation_is_exactly_a_plain_confusion_matrix() -> None:
    rng = np.random.default_rng(9)
    raw, truth = rng.normal(size=(5, 12, 7, 11)).astype(np.float32), rng.integers(0, 12, (5, 7, 11))
    head = head_of("segmentation", tuple("abcdefghijkl"), score="softmax", ignore=11)
    table = reduced(head, raw, truth)
    kept, said = truth != 11, raw.argmax(axis=1)
    for k, ((tn, fp), (fn, tp)) in enumerate(
        multilabel_confusion_matrix(truth[kept], said[kept], labels=np.arange(12))
    ):
        counts = {"tp": tp, "fp": fp, "fn": fn, "tn": tn, "events": kept.sum(), "frames": 5}
        assert moments(table, k) == counts


def test_segmentation_by_sigmoid_counts_every_class_of_every_pixel() -> None:
    truth = np.array([[[0, 1], [2, 0]]])
    raw = np.array([[[[1.0, 2.0], [3.0, 1.0]], [[-1.0, -2.0], [-3.0, -1.0]], [[0.0, 0.0], [0.0, 0.0]]]])
    table = reduced(seg("sigmoid"), raw, truth)
    assert events(table, 0) == {(1.0, True): 2, (2.0, False): 1}
    assert events(table, 1) == {(-1.0, False): 2, (-2.0, True): 1}


@pytest.mark.parametrize("score", ["softmax", "sigmoid"])
def test_a_picture_of_ignored_pixels_counts_for_nobody(score: str) -> None:
    table = reduced(seg(score), one_hot(np.zeros((1, 2, 2), int)), np.full((1, 2, 2), 2))
    assert events(table) == {}
    assert not any(moments(table).values())


@pytest.mark.parametrize(("score", "threshold"), [("softmax", None), ("sigmoid", 1.0)])
def test_segmentation_pictures_right_false_missed_and_ignored_pixels(score: str, threshold: float | None) -> None:
    truth = np.array([[[0, 0, 1], [1, 2, 2]]])
    said = np.array([[[0, 1, 0], [1, 0, 1]]])
    drawing = TASKS["segmentation"].picture(one_cell(seg(score), one_hot(said), truth), seg(score), 0, threshold)
    assert drawing.raster.tolist() == [[1, 3, 2], [0, 255, 255]]
    assert drawing.facts == ("1 pixel false, 1 missed",)


# Occupied or not


EDGE = head_of("occupancy", score="sigmoid", ignore=255)


def test_occupancy_counts_every_cell_that_is_known() -> None:
    table = reduced(EDGE, [[[1.0, 1.0], [2.0, -1.0]]], np.array([[[1, 0], [255, 1]]], dtype=np.uint8))
    assert events(table) == {(1.0, True): 1, (1.0, False): 1, (-1.0, True): 1}
    assert moments(table) == {"frames": 1}


def test_a_raster_cell_without_a_truth_counts_for_nobody() -> None:
    head = head_of("occupancy", score="sigmoid")
    table = reduced(head, [[[1.0, 2.0]]], np.array([[[NAN, 1.0]]]))
    assert events(table) == {(2.0, True): 1}


def test_a_raster_that_is_ignored_as_a_whole_is_no_frame() -> None:
    table = reduced(EDGE, np.zeros((1, 2, 2)), np.full((1, 2, 2), 255))
    assert events(table) == {}
    assert moments(table) == {"frames": 0}


def test_occupancy_of_several_channels_has_a_raster_for_each() -> None:
    head = head_of("occupancy", ("road", "kerb"), score="sigmoid")
    table = reduced(head, [[[[1.0]], [[2.0]]]], np.array([[[[1]], [[0]]]]))
    assert (events(table, 0), events(table, 1)) == ({(1.0, True): 1}, {(2.0, False): 1})


def test_occupancy_pictures_right_false_missed_and_ignored_cells() -> None:
    truth = np.array([[[1, 0, 1], [255, 0, 1]]])
    raw = [[[1.0, 1.0, -1.0], [1.0, -1.0, 0.49999]]]
    drawing = TASKS["occupancy"].picture(one_cell(EDGE, raw, truth), EDGE, 0, 0.5)
    assert drawing.raster.tolist() == [[1, 2, 3], [255, 0, 1]]  # the last has the threshold's own code
    assert drawing.facts == ("1 cell false, 1 missed",)
    assert TASKS["occupancy"].picture(one_cell(EDGE, raw, truth), EDGE, 0, None).raster[0, 0] == 1


# Quantities


RANGE = head_of("regression", ("near", "far", "spare"), judged=(0, 1), unit="m")


def test_regression_sums_errors_of_labelled_frames() -> None:
    table = reduced(RANGE, [[1.5, 8.0, 0.0], [3.0, 8.0, 0.0]], np.array([[1.0, NAN, 5.0], [5.0, 10.0, 5.0]]))
    near = {"events": 2, "frames": 2, "sum_error": -1.5, "sum_abs_error": 2.5, "sum_square_error": 4.25}
    far = {"events": 1, "frames": 1, "sum_error": -2.0, "sum_abs_error": 2.0, "sum_square_error": 4.0}
    assert (moments(table, 0), moments(table, 1)) == (near, far)


def test_regression_without_truth_measures_nothing() -> None:
    assert not any(moments(reduced(RANGE, [[1.0, 2.0, 3.0]], np.full((1, 3), NAN))).values())


def test_an_error_too_large_to_be_added_up_is_refused() -> None:
    with pytest.raises(EvidenceError, match="too large"):
        reduced(RANGE, [[1e6, 0.0, 0.0]], np.zeros((1, 3)))


def test_errors_that_overflow_together_are_refused_and_never_wrap_around() -> None:
    # Each square, 4e9, has room by itself; three in one cell do not fit 63 bits of 2^-30 steps.
    with pytest.raises(EvidenceError, match="64 bits"):
        reduced(RANGE, np.full((3, 3), 63_245.0), np.zeros((3, 3)))
    apart = Batch({"": np.full((3, 3), 63_245.0)}, np.zeros((3, 3)), np.arange(3), 3)
    assert TASKS["regression"].reduce(apart, RANGE).sums("sum_square_error")[0].tolist() == [63_245.0**2] * 3


def test_regression_pictures_truth_output_and_error_with_unit() -> None:
    batch = one_cell(RANGE, [[1.5, 8.0, 0.0]], np.array([[1.0, 10.0, 5.0]]))
    assert TASKS["regression"].picture(batch, RANGE, 1, None).facts == ("truth 10 m", "8 (error \u22122)")
    unknown = one_cell(RANGE, [[1.5, 8.0, 0.0]], np.full((1, 3), NAN))
    assert TASKS["regression"].picture(unknown, RANGE, 1, None).facts == ("truth not measured", "8 m")
    plain = replace(RANGE, unit="")
    assert TASKS["regression"].picture(batch, plain, 0, None).facts == ("truth 1", "1.5 (error +0.5)")


# Boxes


def boxes_head(**fields: Any) -> Head:
    given: dict[str, Any] = {"decoder": Decoder("boxes", floor=0.1), "levels": (0.5,), "score": "sigmoid"} | fields
    return head_of("detection", ("car", "van"), outputs=(("box", "cam.box"), ("score", "cam.score")), **given)


def ready(*frames: list[tuple[tuple[float, ...], float, float]]) -> dict[str, Array]:
    """Ready-made boxes: (four numbers, car logit, van logit) rows of each frame, padded to equal length."""
    rows = max(map(len, frames))
    box, score = np.zeros((len(frames), rows, 4), np.float32), np.full((len(frames), rows, 2), -50.0, np.float32)
    for f, frame in enumerate(frames):
        for r, (corners, *logits) in enumerate(frame):
            box[f, r], score[f, r] = corners, logits
    return {"box": box, "score": score}


NO = -50.0
SCENE = ready(
    [((0, 0, 4, 4), 2.0, NO), ((0, 0, 4, 3), 1.0, NO), ((50, 50, 60, 60), 0.5, NO), ((0, 0, 4, 4), NO, 3.0)],
    [],
)
TRUTH = [
    [(0, (0.0, 0.0, 4.0, 4.0), False), (0, (20.0, 20.0, 30.0, 30.0), False), (0, (45.0, 45.0, 70.0, 70.0), True)],
    [(1, (1.0, 1.0, 2.0, 2.0), False)],
]


def test_detection_counts_hits_false_alarms_missed_and_absorbed_boxes() -> None:
    head = boxes_head()
    table = reduced(head, SCENE, boxes_of(TRUTH))
    # car: a hit at 2, its double at 1 is false, the third is absorbed by the ignore region, one truth is missed.
    assert events(table, 0) == {(2.0, True): 1, (1.0, False): 1, (None, True): 1}
    assert events(table, 1) == {(3.0, False): 1, (None, True): 1}
    assert (moments(table, 0), moments(table, 1)) == ({"frames": 2}, {"frames": 2})


def test_each_iou_level_has_a_row_of_its_own() -> None:
    scene, truth = ready([((0, 0, 4, 3), 1.0, NO)]), boxes_of([[(0, (0.0, 0.0, 4.0, 4.0), False)]])
    table = reduced(boxes_head(levels=(0.5, 0.75, 0.76)), scene, truth)
    assert [(row.prediction, row.level) for row in table.series[:3]] == [("cam.it[car]", v) for v in (0.5, 0.75, 0.76)]
    assert [events(table, k) for k in range(2)] == [{(1.0, True): 1}] * 2
    assert events(table, 2) == {(1.0, False): 1, (None, True): 1}


def test_no_truth_makes_false_alarms_no_detection_makes_missed_and_neither_a_frame() -> None:
    head, box = boxes_head(), (0.0, 0.0, 4.0, 4.0)
    assert events(reduced(head, ready([(box, 1.0, NO)]), boxes_of([[]]))) == {(1.0, False): 1}
    nothing = ready([(box, NO, NO)])
    assert events(reduced(head, nothing, boxes_of([[(0, box, False)]]))) == {(None, True): 1}
    neither = reduced(head, nothing, boxes_of([[]]))
    assert events(neither) == {}
    assert moments(neither) == {"frames": 1}


def test_a_frame_of_no_rows_at_all_is_a_frame_without_detections() -> None:
    outputs = {"box": np.zeros((1, 0, 4)), "score": np.zeros((1, 0, 2))}
    assert events(reduced(boxes_head(), outputs, boxes_of([[(0, (0.0, 0.0, 4.0, 4.0), False)]]))) == {(None, True): 1}


def test_padding_is_whatever_scores_below_the_floor() -> None:
    head, box = boxes_head(decoder=Decoder("boxes", floor=0.5)), (0.0, 0.0, 4.0, 4.0)
    scene = ready([(box, 0.25, -0.25), (box, -0.25, 0.25), (box, 0.0, 0.0)])
    table = reduced(head, scene, boxes_of([[]]))
    assert (events(table, 0), events(table, 1)) == ({(0.25, False): 1}, {(0.25, False): 1})


def test_only_the_best_of_a_frame_count() -> None:
    head, box = boxes_head(decoder=Decoder("boxes", top=2)), (0.0, 0.0, 4.0, 4.0)
    scene = ready([(box, 1.0, NO), (box, NO, 3.0), (box, 2.0, NO)])
    table = reduced(head, scene, boxes_of([[]]))
    assert (events(table, 0), events(table, 1)) == ({(2.0, False): 1}, {(3.0, False): 1})


def test_of_equal_scores_at_the_cut_the_boxes_decide_and_not_their_order() -> None:
    head = boxes_head(decoder=Decoder("boxes", top=1))
    rows = [((0, 0, 4, 4), 1.0, NO), ((20, 20, 24, 24), 1.0, NO)]
    truth = boxes_of([[(0, (0.0, 0.0, 4.0, 4.0), False)]])
    assert events(reduced(head, ready(rows), truth)) == {(1.0, True): 1}
    assert events(reduced(head, ready(rows[::-1]), truth)) == {(1.0, True): 1}


@laws
@given(st.integers(0, 10**6))
def test_the_order_of_ready_made_boxes_decides_nothing(seed: int) -> None:
    frames = random_frames("detection boxes", 6, seed)
    order = np.random.default_rng(seed).permutation(6)
    shuffled = {role: values[:, order] for role, values in frames.outputs.items()}
    again = replace(frames, outputs=shuffled)
    assert again.evidence([range(6)]) == frames.evidence([range(6)])


@pytest.mark.parametrize(
    ("boxes", "numbers"), [("corners", (2, 4, 8, 12)), ("xywh", (2, 4, 6, 8)), ("center", (5, 8, 6, 8))]
)
def test_four_numbers_mean_what_the_suite_says(boxes: Any, numbers: tuple[float, ...]) -> None:
    head = boxes_head(decoder=Decoder("boxes", boxes=boxes, floor=0.1), levels=(1.0,))
    [(label, logit, corners, _)] = detection.decode(ready([(numbers, 1.0, NO)]), head)
    assert (label.tolist(), logit.tolist(), corners.tolist()) == ([0], [1.0], [[2.0, 4.0, 8.0, 12.0]])
    table = reduced(head, ready([(numbers, 1.0, NO)]), boxes_of([[(0, (2.0, 4.0, 8.0, 12.0), False)]]))
    assert events(table)[1.0, True] == 1


def test_a_head_of_one_class_may_leave_out_the_class_axis_of_its_scores() -> None:
    head = head_of("detection", score="sigmoid", levels=(0.5,))
    outputs = {"box": np.array([[[0, 0, 4, 4]]]), "score": np.array([[2.0]])}
    assert events(reduced(head, outputs, boxes_of([[(0, (0.0, 0.0, 4.0, 4.0), False)]]))) == {(2.0, True): 1}


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(("peak", "top", "floor"), [(3, 100, 0.05), (5, 7, 0.3), (1, 1000, 0.0)])
def test_peaks_of_a_heat_map_are_those_of_a_slow_loop(seed: int, peak: int, top: int, floor: float) -> None:
    rng = np.random.default_rng(seed)
    heat = np.stack([centernet.heat_map(rng, 2, 6, 7) for _ in range(3)])
    box = rng.normal(size=(3, 4, 6, 7)).astype(np.float32)
    decoder = Decoder("centernet", peak=peak, top=top, floor=floor)
    head = head_of("detection", ("car", "van"), score="sigmoid", decoder=decoder, levels=(0.5,))
    for frame, (label, logit, corners, _) in enumerate(detection.decode({"heat": heat, "box": box}, head)):
        expected = centernet.peaks(heat[frame], box[frame], reach=peak // 2, top=top, floor=floor)
        assert list(zip(label.tolist(), logit.tolist(), map(tuple, corners.tolist()), strict=True)) == expected


def test_boxes_of_another_shape_than_their_scores_are_refused() -> None:
    with pytest.raises(BundleError, match=r"expected \(N, 4\) and \(N, 2\)"):
        detection.scores({"box": np.zeros((1, 3, 4)), "score": np.zeros((1, 2, 2))}, boxes_head())
    peaks = boxes_head(decoder=Decoder("centernet"))
    with pytest.raises(BundleError, match=r"\(2, H, W\) and \(4, H, W\)"):
        detection.scores({"heat": np.zeros((1, 2, 3, 3)), "box": np.zeros((1, 4, 3, 4))}, peaks)


def test_detection_pictures_hits_false_alarms_missed_and_ignored_boxes() -> None:
    drawing = detection.picture(one_cell(boxes_head(), SCENE, boxes_of(TRUTH)), boxes_head(), 0, None)
    assert drawing.facts == ("1 hit, 1 false alarm, 1 missed",)
    assert drawing.boxes == (
        (45.0, 45.0, 70.0, 70.0, "ignored", ""),
        (0.0, 0.0, 4.0, 4.0, "truth", ""),
        (20.0, 20.0, 30.0, 30.0, "missed", ""),
        (0.0, 0.0, 4.0, 4.0, "hit", "0.88"),
        (0.0, 0.0, 4.0, 3.0, "false", "0.73"),
        (50.0, 50.0, 60.0, 60.0, "ignored", "0.62"),
    )


def test_a_detection_below_the_threshold_is_not_drawn_and_its_truth_is_missed() -> None:
    batch = one_cell(boxes_head(), SCENE, boxes_of(TRUTH))
    assert detection.picture(batch, boxes_head(), 0, 2.0).facts == ("1 hit, 0 false alarms, 1 missed",)
    assert detection.picture(batch, boxes_head(), 0, 2.5).facts == ("0 hits, 0 false alarms, 2 missed",)


def test_a_truth_box_has_the_score_of_what_hits_it_and_alarms_stand_apart() -> None:
    batch = one_cell(boxes_head(), SCENE, boxes_of(TRUTH))
    first, second = detection.events(batch, boxes_head(), 0, 1.5)
    # The box at the origin is hit at 2; the far one by nothing; the ignore region asks for nothing.
    assert first.score[0] == 2.0
    assert math.isnan(first.score[1])
    assert first.wrong.tolist() == [False, True]
    assert first.boxes.tolist() == [[0, 0, 4, 4], [20, 20, 30, 30]]
    # Its double is no hit, and below this threshold no alarm that counts; what the region absorbs is nothing at all.
    assert (first.alarms.score.tolist(), first.alarms.accepted.tolist()) == ([1.0], [False])
    assert (len(second.truth), len(second.alarms.score)) == (0, 0)


def test_detection_errors_are_of_the_kinds_of_tide() -> None:
    head, far = boxes_head(), (80.0, 80.0, 90.0, 90.0)
    scene = ready(
        [
            ((0, 0, 10, 10), 3.0, NO),  # a hit
            ((0, 0, 10, 9), 2.0, NO),  # IoU 0.9 with a truth that is taken: duplicate
            ((20, 20, 30, 24), 2.0, NO),  # IoU 0.4 with the second truth: localisation, which explains its miss
            ((40, 40, 50, 50), 2.0, NO),  # overlaps nothing: false
            ((60, 60, 61, 69.9), 2.0, NO),  # IoU 0.099, below background: false, and its truth is missed
            ((60, 0, 70, 10), 2.0, NO),  # on a truth of another class: false, within this class
            (far, 2.0, NO),  # absorbed by an ignore region
            ((20, 20, 30, 30), 0.5, NO),  # would hit, but lies below the threshold
        ],
        [],
    )
    truth = boxes_of(
        [
            [
                (0, (0.0, 0.0, 10.0, 10.0), False),
                (0, (20.0, 20.0, 30.0, 30.0), False),
                (0, (60.0, 60.0, 70.0, 70.0), False),
                (1, (60.0, 0.0, 70.0, 10.0), False),
                (0, far, True),
            ],
            [(0, (0.0, 0.0, 10.0, 10.0), False)],  # a frame without any detection
        ]
    )
    missed, false, localisation, duplicate = detection.errors(one_cell(head, scene, truth), head, 0, 1.0).tolist()
    assert (missed, false, localisation, duplicate) == (2, 3, 1, 1)
    assert detection.errors(one_cell(head, scene, truth), head, 1, 1.0).tolist() == [1, 0, 0, 0]


def test_detections_in_a_frame_without_any_truth_are_false() -> None:
    head = boxes_head()
    batch = one_cell(head, ready([((0, 0, 4, 4), 2.0, NO)]), boxes_of([[]]))
    assert detection.errors(batch, head, 0, 1.0).tolist() == [0, 1, 0, 0]
