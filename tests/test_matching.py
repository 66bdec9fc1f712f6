"""Boxes are matched as pycocotools matches them, and the order of the input decides nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gate.curves import coco_average_precision, curves
from gate.heads import Decoder
from gate.lattice import decode, encode
from gate.matching import match, overlaps
from gate.table import by_score
from gate.tasks import Batch, detection
from tests.oracles import coco
from tests.support.kinds import boxes_of, head_of

laws = settings(deadline=None, max_examples=150, database=None)
Array = NDArray[Any]
Box = tuple[float, float, float, float]


def corners(*boxes: tuple[float, ...]) -> Array:
    return np.array(boxes, dtype=float).reshape(-1, 4)


def none(count: int) -> Array:
    return np.zeros(count, bool)


def test_overlap_of_two_boxes_counted_by_hand() -> None:
    # 4 x 4 and 4 x 2 share 2 x 2 = 4 of 16 + 8 - 4 = 20 cells.
    box, truth = corners((0, 0, 4, 4)), corners((2, 0, 6, 2))
    assert overlaps(box, truth, none(1)) == pytest.approx(4 / 20)
    assert overlaps(box, truth, ~none(1)) == pytest.approx(4 / 16)  # of the detection's own area


def test_overlaps_are_those_of_pycocotools() -> None:
    from pycocotools import mask

    rng = np.random.default_rng(2)
    boxes, truths = random_boxes(rng, 60), random_boxes(rng, 40)
    crowd = rng.random(40) < 0.3
    wide = [np.c_[b[:, :2], b[:, 2:] - b[:, :2]] for b in (boxes, truths)]
    expected = np.asarray(mask.iou(wide[0], wide[1], crowd.astype(np.uint8)))
    assert overlaps(boxes, truths, crowd) == pytest.approx(expected, abs=1e-12)


def test_a_box_without_area_overlaps_nothing() -> None:
    flat, whole = corners((1, 1, 1, 3), (3, 3, 2, 2)), corners((0, 0, 4, 4))
    assert not overlaps(flat, whole, none(1)).any()
    assert not overlaps(flat, whole, ~none(1)).any()
    assert not overlaps(whole, flat, none(2)).any()
    assert not overlaps(flat, flat, none(2)).any()


def test_the_better_score_takes_the_truth_and_the_second_is_a_false_alarm() -> None:
    box = corners((0, 0, 4, 4), (0, 0, 4, 3))
    found, missed = match(np.array([1.0, 2.0]), box, corners((0, 0, 4, 4)), none(1), 0.5)
    assert (found.tolist(), missed.tolist()) == ([-1, 0], [])


def test_a_detection_whose_best_truth_is_taken_takes_the_next_best() -> None:
    truths = corners((0, 0, 10, 10), (0, 2, 10, 12))
    boxes = corners((0, 0, 10, 10), (0, 0, 10, 11))
    found, missed = match(np.array([2.0, 1.0]), boxes, truths, none(2), 0.5)
    assert (found.tolist(), missed.tolist()) == ([0, 1], [])


def test_an_ignore_region_absorbs_any_number_but_only_what_hits_no_truth() -> None:
    truths, ignore = corners((0, 0, 4, 4), (0, 0, 100, 100)), np.array([False, True])
    boxes = corners((0, 0, 4, 4), (50, 50, 60, 60), (70, 70, 80, 80), (98, 98, 110, 110))
    found, missed = match(np.array([4.0, 3.0, 2.0, 1.0]), boxes, truths, ignore, 0.5)
    assert (found.tolist(), missed.tolist()) == ([0, -2, -2, -1], [])


def test_an_ignore_region_is_never_missed() -> None:
    found, missed = match(np.zeros(0), corners(), corners((0, 0, 4, 4), (5, 5, 9, 9)), np.array([True, False]), 0.5)
    assert (found.tolist(), missed.tolist()) == ([], [1])


def test_overlap_exactly_at_the_level_is_a_hit() -> None:
    # 2 of 4 cells; and an exact box at level 1, which COCO guards against rounding.
    assert match(np.ones(1), corners((0, 0, 2, 1)), corners((0, 0, 4, 1)), none(1), 0.5)[0].tolist() == [0]
    assert match(np.ones(1), corners((0, 0, 0.1, 0.3)), corners((0, 0, 0.1, 0.3)), none(1), 1.0)[0].tolist() == [0]


@pytest.mark.parametrize(("boxes", "truths"), [(0, 0), (2, 0), (0, 2)])
def test_nothing_on_one_side_leaves_the_other_unmatched(boxes: int, truths: int) -> None:
    rng = np.random.default_rng(0)
    found, missed = match(np.ones(boxes), random_boxes(rng, boxes), random_boxes(rng, truths), none(truths), 0.5)
    assert (found.tolist(), missed.tolist()) == ([-1] * boxes, list(range(truths)))


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_equal_overlaps_are_settled_by_the_boxes_and_not_by_their_order(order: list[int]) -> None:
    # The first detection overlaps both truths by a third, the second is one of them: what the first leaves decides.
    truths = corners((0, 0, 4, 4), (4, 0, 8, 4))[order]
    boxes = corners((2, 0, 6, 4), (0, 0, 4, 4))
    found, missed = match(np.array([2.0, 1.0]), boxes, truths, none(2), 0.25)
    assert ([truths[k].tolist() for k in found], missed.tolist()) == ([[4, 0, 8, 4], [0, 0, 4, 4]], [])


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_equal_scores_are_settled_by_the_boxes_and_not_by_their_order(order: list[int]) -> None:
    # The wide one could take either truth and prefers the one that the other needs.
    truths = corners((0, 0, 4, 4), (0, 3, 4, 7))
    boxes = corners((0, 0, 4, 4), (0, 0, 4, 6))[order]
    found, missed = match(np.ones(2), boxes, truths, none(2), 0.25)
    assert {tuple(b): int(k) for b, k in zip(boxes.tolist(), found, strict=True)} == {(0, 0, 4, 4): 0, (0, 0, 4, 6): 1}
    assert missed.tolist() == []


small = st.integers(0, 3)
box = st.tuples(small, small, st.integers(1, 4), st.integers(1, 4)).map(
    lambda b: (float(b[0]), float(b[1]), float(b[0] + b[2]), float(b[1] + b[3]))
)


@laws
@given(
    st.lists(st.tuples(st.integers(0, 3), box), max_size=8),
    st.lists(st.tuples(box, st.booleans()), max_size=6),
    st.sampled_from([0.25, 0.5, 0.75]),
    st.randoms(use_true_random=False),
)
def test_shuffling_detections_or_truths_changes_nothing(
    given_boxes: list[tuple[int, Box]], given_truths: list[tuple[Box, bool]], level: float, random: Any
) -> None:
    def outcome(boxes: list[tuple[int, Box]], truths: list[tuple[Box, bool]]) -> tuple[list[Any], list[Any]]:
        found, missed = match(
            np.array([s for s, _ in boxes], float),
            corners(*(b for _, b in boxes)),
            corners(*(b for b, _ in truths)),
            np.array([i for _, i in truths], bool),
            level,
        )
        of = [truths[k][0] if k >= 0 else int(k) for k in found]
        return sorted(map(repr, zip(boxes, of, strict=True))), sorted(truths[k][0] for k in missed)

    boxes, truths = list(given_boxes), list(given_truths)
    random.shuffle(boxes)
    random.shuffle(truths)
    assert outcome(boxes, truths) == outcome(given_boxes, given_truths)


def random_boxes(rng: np.random.Generator, count: int, size: float = 40.0) -> Array:
    low = rng.uniform(0, size, (count, 2))
    return np.concatenate([low, low + rng.uniform(1, size / 2, (count, 2))], axis=1)


def random_scene(rng: np.random.Generator, codes: Array, crowded: bool) -> coco.Scene:
    """Truths, some of them ignore regions, and detections, most of them near a truth; one score each from `codes`."""
    truths = random_boxes(rng, int(rng.integers(0, 14 if crowded else 4)), 12.0 if crowded else 60.0)
    near = np.repeat(truths, 2, axis=0) + rng.normal(size=(2 * len(truths), 4))
    near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 0.5)
    boxes = np.concatenate([near, random_boxes(rng, int(rng.integers(0, 4)))])[: len(codes)].astype(np.float32)
    return coco.Scene(decode(codes[: len(boxes)]), boxes.astype(float), truths, rng.random(len(truths)) < 0.25)


def scenes(seed: int, crowded: bool, classes: int) -> list[list[coco.Scene]]:
    """Frames, each a scene for every class; no two detections of a class have the same score."""
    rng = np.random.default_rng(seed)
    codes = rng.permutation(np.arange(int(encode(-30)), int(encode(30))))[: 14 * 32 * classes].reshape(14, classes, 32)
    return [[random_scene(rng, codes[f, c], crowded) for c in range(classes)] for f in range(14)]


@pytest.mark.parametrize("crowded", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_a_detection_head_scores_what_pycocotools_scores(seed: int, crowded: bool) -> None:
    levels = (0.5, 0.75)
    frames = scenes(seed, crowded, 2)
    room = max(sum(len(s.scores) for s in frame) for frame in frames) + 1
    outputs = {"box": np.zeros((len(frames), room, 4)), "score": np.full((len(frames), room, 2), -np.inf)}
    for f, frame in enumerate(frames):
        at = 0
        for c, scene in enumerate(frame):
            n = len(scene.scores)
            outputs["box"][f, at : at + n], outputs["score"][f, at : at + n, c] = scene.detections, scene.scores
            at += n
    truths = [
        [(c, tuple(b), bool(i)) for c, s in enumerate(frame) for b, i in zip(s.truths, s.ignore, strict=True)]
        for frame in frames
    ]
    head = head_of(
        "detection", ("car", "van"), score="sigmoid", levels=levels, decoder=Decoder("boxes", top=10_000, floor=0.0)
    )
    table = detection.reduce(Batch(outputs, boxes_of(truths), np.arange(len(frames)), len(frames)), head)
    curve = curves(by_score(table), np.ones(len(frames), bool))
    measured = coco_average_precision(curve)
    for c in range(2):
        mine = [frame[c] for frame in frames]
        for k, level in enumerate(levels):
            row = c * len(levels) + k
            assert measured[row] == pytest.approx(coco.average_precision(mine, level), abs=1e-12)
            tp, fp, fn = coco.hits(mine, level)
            assert (curve.total[row], curve.negatives_total[row]) == (tp + fn, fp)
            assert curve.positives[curve.of(row)].sum() == tp
