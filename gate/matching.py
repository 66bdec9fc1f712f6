"""Greedy matching of detections with truth boxes in one frame, one class, as COCO defines it.

pycocotools `COCOeval.evaluateImg` (8c9bcc3), with one difference: equal scores and equal overlaps are ordered by
their boxes and not by their place in the input, so that the answer does not depend on input order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def overlaps(detections: Floats, truths: Floats, ignore: NDArray[np.bool_]) -> Floats:
    """(n, m) intersection over union; over the detection's own area where the truth is an ignore region.

    Boxes are (., 4) corners x0 y0 x1 y1, x1 and y1 exclusive; a box without area overlaps nothing.
    """
    low = np.maximum(detections[:, None, :2], truths[None, :, :2])
    high = np.minimum(detections[:, None, 2:], truths[None, :, 2:])
    inter = _area(low, high)
    area, truth_area = (
        _area(detections[:, :2], detections[:, 2:])[:, None],
        _area(truths[:, :2], truths[:, 2:])[None, :],
    )
    whole = np.where(ignore[None, :], area, area + truth_area - inter)
    return np.divide(inter, whole, out=np.zeros_like(inter), where=whole > 0)


def _area(low: Floats, high: Floats) -> Floats:
    size = np.maximum(high - low, 0.0)
    return size[..., 0] * size[..., 1]


def match(
    scores: Floats, detections: Floats, truths: Floats, ignore: NDArray[np.bool_], level: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(found, missed): for each detection the truth that it hits, -1 for a false alarm, -2 when it is absorbed
    by an ignore region; and the positions of the truths, ignore regions apart, that nothing hits.

    Best score first, each takes the free truth of highest overlap at or above `level`; an ignore region absorbs
    any number of detections, and only those that hit no truth.
    """
    return match_each(scores, detections, truths, ignore, [level])[0]


def match_each(
    scores: Floats, detections: Floats, truths: Floats, ignore: NDArray[np.bool_], levels: Sequence[float]
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """What `match` answers at each level; overlaps are worked out once."""
    overlap = overlaps(detections, truths, ignore)
    nearest = overlap.max(axis=1, initial=0.0)
    # COCO's own guard: a threshold of 1.0 must still be met by an exact box.
    bars = [min(level, 1.0 - 1e-10) for level in levels]
    order = turn = np.zeros(0, np.int64)
    if len(truths) and (nearest >= min(bars)).any():
        order, turn = np.lexsort((*detections.T[::-1], -scores)), np.lexsort(truths.T[::-1])
    answers = []
    for least in bars:
        found, free = np.full(len(scores), -1), ~ignore
        for d in order[nearest[order] >= least]:  # the others hit nothing, and nothing absorbs them
            real = np.where(free, overlap[d], -1.0)
            if real.max() >= least:
                # Of equal overlaps COCO keeps the last one; here the last in the order of the boxes.
                best = turn[len(real) - 1 - int(np.argmax(real[turn][::-1]))]
                found[d], free[best] = best, False
            elif (overlap[d][ignore] >= least).any():
                found[d] = -2
        answers.append((found, np.flatnonzero(free)))
    return answers
