"""pycocotools as one function: COCO average precision of one class at one IoU level."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Scene:
    """One frame, one class. scores: (n,); detections: (n, 4), truths: (m, 4) corners; ignore: (m,) crowd regions."""

    scores: NDArray[np.float64]
    detections: NDArray[np.float64]
    truths: NDArray[np.float64]
    ignore: NDArray[np.bool_]


def evaluated(scenes: Sequence[Scene], level: float) -> Any:
    """COCOeval after `evaluate` and `accumulate`, all areas, no cap on detections."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truths = [
        {
            "id": 0,
            "image_id": k + 1,
            "category_id": 1,
            "bbox": _xywh(box),
            "area": float((box[2] - box[0]) * (box[3] - box[1])),
            "iscrowd": int(crowd),
        }
        for k, scene in enumerate(scenes)
        for box, crowd in zip(scene.truths, scene.ignore, strict=True)
    ]
    for number, truth in enumerate(truths):
        truth["id"] = number + 1  # id 0 would read as "no match" there
    found = [
        {"image_id": k + 1, "category_id": 1, "bbox": _xywh(box), "score": float(score)}
        for k, scene in enumerate(scenes)
        for box, score in zip(scene.detections, scene.scores, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        exam = COCO()
        exam.dataset = {
            "images": [{"id": k + 1} for k in range(len(scenes))],
            "categories": [{"id": 1, "name": "it"}],
            "annotations": truths,
        }
        exam.createIndex()
        answer = exam.loadRes(found) if found else COCO()
        tool = COCOeval(exam, answer, "bbox")
        tool.params.imgIds = [k + 1 for k in range(len(scenes))]
        tool.params.catIds = [1]
        tool.params.iouThrs = np.array([level])
        tool.params.maxDets = [1_000_000]
        tool.params.areaRng = [[0.0, 1e12]]
        tool.params.areaRngLbl = ["all"]
        tool.evaluate()
        tool.accumulate()
    return tool


def average_precision(scenes: Sequence[Scene], level: float) -> float:
    """AP at one IoU level; NaN without truths, where COCO says -1."""
    value = float(evaluated(scenes, level).eval["precision"][0, :, 0, 0, 0].mean())
    return float("nan") if value < 0 else value


def hits(scenes: Sequence[Scene], level: float) -> tuple[int, int, int]:
    """(true positives, false alarms, truths that nothing hits) over all scenes, at any score."""
    tp = fp = fn = 0
    for part in evaluated(scenes, level).evalImgs:
        if part is None:
            continue
        matched, absorbed = part["dtMatches"][0] > 0, part["dtIgnore"][0].astype(bool)
        real = ~np.asarray(part["gtIgnore"], bool)
        tp += int((matched & ~absorbed).sum())
        fp += int((~matched & ~absorbed).sum())
        fn += int((real & (part["gtMatches"][0] == 0)).sum())
    return tp, fp, fn


def _xywh(box: NDArray[np.float64]) -> list[float]:
    return [float(box[0]), float(box[1]), float(box[2] - box[0]), float(box[3] - box[1])]
