"""Measure a bundle the slow and obvious way, without `gate`: a look at the material, not a verdict.

Validation frames only. Thresholds are the best on these very frames, so F1 is a little flattered.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from .make_suite import LIGHTS
from .world import IGNORE

PRESENCE = ("car", "pedestrian", "sign")
CLASSES = ("sky", "road", "building", "vehicle", "other")
TOP, FLOOR, MATCH_IOU = 20, 0.05, 0.5  # as in suite.toml


def score(suite: Path, bundle: Path) -> dict[str, float]:
    """Metric by `head[channel] metric`, as numbers in 0..1 or metres."""
    with (suite / "frames.csv").open(newline="") as file:
        everything = list(csv.DictReader(file))
    chosen = [k for k, row in enumerate(everything) if row["split"] == "validation"]
    rows = [everything[k] for k in chosen]
    front = _run(bundle / "front.pt2", suite, rows, "front")
    rear = _run(bundle / "rear.pt2", suite, rows, "rear")
    found: dict[str, float] = {}

    def add(name: str, scores: np.ndarray, truth: np.ndarray) -> None:
        found[f"{name} average_precision"], found[f"{name} f1"] = ap_and_f1(scores, truth)

    for k, channel in enumerate(PRESENCE):
        add(f"front.presence[{channel}]", front["presence"][:, k], _flags(rows, f"has_{channel}"))
    state = np.array([LIGHTS.index(row["light"]) for row in rows])
    light = torch.softmax(torch.from_numpy(front["light"]), 1).numpy()
    for k, channel in enumerate(LIGHTS):
        add(f"front.light[{channel}]", light[:, k], state == k)
    labels = np.stack([np.asarray(Image.open(suite / "labels" / f"{row['frame_id']}.png")) for row in rows])
    judged = labels != IGNORE
    predicted, labels = front["seg"].argmax(1)[judged], labels[judged]
    for k, channel in enumerate(CLASSES):
        hit, either = (predicted == k) & (labels == k), (predicted == k) | (labels == k)
        found[f"front.seg[{channel}] iou"] = float(hit.sum() / either.sum())
    with np.load(suite / "rasters.npz") as rasters:
        grid = rasters["drivable"][chosen]
    judged = grid != IGNORE
    add("front.drivable", front["drivable"][judged], grid[judged] == 1)
    f1 = found["front.drivable f1"]
    found["front.drivable iou"] = f1 / (2 - f1)
    found |= _detection(suite, rows, front)
    lead = np.array([float(row["lead_distance"] or "nan") for row in rows])
    found["front.lead_distance mae"] = float(np.nanmean(np.abs(front["lead_distance"][:, 0] - lead)))
    add("rear.following", rear["following"][:, 0], _flags(rows, "following"))
    for k, channel in enumerate(PRESENCE[:2]):
        add(f"rear.presence[{channel}]", rear["presence"][:, k], _flags(rows, f"rear_has_{channel}"))
    return found


def ap_and_f1(scores: np.ndarray, truth: np.ndarray, missed: int = 0) -> tuple[float, float]:
    """Average precision (area under the raw steps) and best F1; `missed` positives never got a score."""
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(truth[order])
    positives = truth.sum() + missed
    precision, recall = hits / np.arange(1, len(hits) + 1), hits / positives
    ap = float((np.diff(recall, prepend=0.0) * precision).sum())
    return ap, float((2 * hits / (np.arange(1, len(hits) + 1) + positives)).max())


def _flags(rows: list[dict[str, str]], column: str) -> np.ndarray:
    return np.array([row[column] == "1" for row in rows])


def _run(program: Path, suite: Path, rows: list[dict[str, str]], camera: str) -> dict[str, np.ndarray]:
    network = torch.export.load(program).module()
    paths = [suite / "images" / f"{row['frame_id']}.{camera}.png" for row in rows]
    images = np.stack([np.asarray(Image.open(path)) for path in paths]).transpose(0, 3, 1, 2)
    with torch.no_grad():
        parts = [network(torch.from_numpy(images[k : k + 32]).float() / 255) for k in range(0, len(rows), 32)]
    return {name: torch.cat([part[name] for part in parts]).numpy() for name in parts[0]}


def _detection(suite: Path, rows: list[dict[str, str]], outputs: dict[str, np.ndarray]) -> dict[str, float]:
    """AP and F1 at IoU 0.5; a detection that lies mostly in an ignored box counts for nobody."""
    with (suite / "boxes.csv").open(newline="") as file:
        boxes = list(csv.DictReader(file))
    heat = torch.from_numpy(outputs["det_heat"]).sigmoid()
    peaks = torch.where(heat == F.max_pool2d(heat, 3, 1, 1), heat, 0.0)
    floors = peaks.flatten(1).topk(TOP).values[:, -1].clamp(min=FLOOR).tolist()
    found = {}
    for channel, kind in enumerate(PRESENCE[:2]):
        scores, hits, total = [], [], 0
        for k, row in enumerate(rows):
            mine = [box for box in boxes if box["frame_id"] == row["frame_id"] and box["class"] == kind]
            truth = np.array([_corners(box) for box in mine if box["ignore"] == "0"]).reshape(-1, 4)
            ignored = np.array([_corners(box) for box in mine if box["ignore"] == "1"]).reshape(-1, 4)
            total += len(truth)
            taken = np.zeros(len(truth), bool)
            values, cells = peaks[k, channel].flatten().sort(descending=True)
            for value, cell in zip(values.tolist(), cells.tolist(), strict=True):
                if value < floors[k]:
                    break
                box = outputs["det_box"][k].reshape(4, -1)[:, cell]
                inner = _inner(box, truth)
                overlap = np.where(taken, -1.0, inner / (_area(box) + _area(truth) - inner))
                hit = bool((overlap >= MATCH_IOU).any())
                if hit:
                    taken[overlap.argmax()] = True
                elif (_inner(box, ignored) >= 0.5 * _area(box)).any():
                    continue
                scores.append(value)
                hits.append(hit)
        ap, f1 = ap_and_f1(np.array(scores), np.array(hits), total - sum(hits))
        found |= {f"front.det[{kind}] ap50": ap, f"front.det[{kind}] f1": f1}
    return found


def _corners(box: dict[str, str]) -> list[float]:
    return [float(box[name]) for name in ("x0", "y0", "x1", "y1")]


def _area(boxes: np.ndarray) -> np.ndarray:
    return np.prod(boxes[..., 2:] - boxes[..., :2], -1)


def _inner(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Area that one box (4,) shares with each of (n, 4)."""
    size = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    return np.clip(size, 0, None).prod(1)
