"""Greedy matching of detections with truth boxes in one frame, one class, as COCO defines it.

pycocotools `COCOeval.evaluateImg` (8c9bcc3), with one difference: equal scores and equal overlaps are ordered by
their boxes and not by their place in the input, so that the answer does not depend on input order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def overlaps(detections: Floats, truths: Floats, ignore: NDArray[np.bool_]) -> Floats:
    """(n, m) intersection over union; over the detection's own area where the truth is an ignore region.

    Boxes are (., 4) corners x0 y0 x1 y1, x1 and y1 exclusive; a box without area overlaps nothing.
    """
    low = np.maximum(detections[:, None, :2], truths[None, :, :2])
    high = np.minimum(detections[:, None, 2:], truths[None, :, 2:])
    inter = np.prod(np.clip(high - low, 0.0, None), axis=2)
    area = np.prod(np.clip(detections[:, 2:] - detections[:, :2], 0.0, None), axis=1)[:, None]
    truth_area = np.prod(np.clip(truths[:, 2:] - truths[:, :2], 0.0, None), axis=1)[None, :]
    whole = np.where(ignore[None, :], area, area + truth_area - inter)
    return np.divide(inter, whole, out=np.zeros_like(inter), where=whole > 0)


def match(
    scores: Floats, detections: Floats, truths: Floats, ignore: NDArray[np.bool_], level: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(found, missed): for each detection the truth that it hits, -1 for a false alarm, -2 when it is absorbed
    by an ignore region; and the positions of the truths, ignore regions apart, that nothing hits.

    Best score first, each takes the free truth of highest overlap at or above `level`; an ignore region absorbs
    any number of detections, and only those that hit no truth.
    """
    found = np.full(len(scores), -1)
    free = ~ignore
    if len(scores) and len(truths):
        overlap = overlaps(detections, truths, ignore)
        turn = np.lexsort(truths.T[::-1])
        # COCO's own guard: a threshold of 1.0 must still be met by an exact box.
        least = min(level, 1.0 - 1e-10)
        for d in np.lexsort((*detections.T[::-1], -scores)):
            real = np.where(free, overlap[d], -1.0)
            if real.max() >= least:
                # Of equal overlaps COCO keeps the last one; here the last in the order of the boxes.
                best = turn[len(real) - 1 - int(np.argmax(real[turn][::-1]))]
                found[d], free[best] = best, False
            elif (overlap[d][ignore] >= least).any():
                found[d] = -2
    return found, np.flatnonzero(free)
