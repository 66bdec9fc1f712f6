"""The CamVid exam answered without gate: torch, the csv module, Pillow and pyarrow straight from the files."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.oracles.coco import Scene

Array = NDArray[Any]
BATCH = 16
UNLABELLED = 11


@dataclass(frozen=True)
class Answers:
    """Frames of both judged splits in evaluation order. outputs: output name -> (F, ...) float32. root: of the exam."""

    root: Path
    rows: tuple[dict[str, str], ...]
    outputs: Mapping[str, Array]

    @property
    def ids(self) -> list[str]:
        return [row["sample_id"] for row in self.rows]

    def of_split(self, name: str) -> Array:
        return np.array([row["split"] == name for row in self.rows])


def answers(root: Path, program: Path, threads: int) -> Answers:
    """Every output of a program, in the batches and the order in which the exam is defined to run, on so many threads:
    they decide the last bits, and so which bin a score is in.
    """
    import torch
    from PIL import Image

    with (root / "samples.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] in ("calibration", "validation")]
    rows.sort(key=lambda r: (r["split"], r["clip_id"], int(r["frame_index"]), r["sample_id"]))
    module = torch.export.load(program).module()
    chunks: list[dict[str, Array]] = []
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    clips = list(dict.fromkeys(row["clip_id"] for row in rows))
    groups = [[r for r in rows if r["clip_id"] in clips[k : k + BATCH]] for k in range(0, len(clips), BATCH)]
    for batch in (group[k : k + BATCH] for group in groups for k in range(0, len(group), BATCH)):
        pictures = []
        for row in batch:
            with Image.open(root / "images" / f"{row['sample_id']}.jpg") as picture:
                pictures.append(np.asarray(picture.convert("RGB")))
        images = torch.from_numpy(np.stack(pictures).transpose(0, 3, 1, 2).copy()).float() / 255
        with torch.inference_mode():
            chunks.append({name: value.numpy() for name, value in module(images).items()})
    torch.set_num_threads(before)
    outputs = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}
    return Answers(root, tuple(rows), outputs)


def labels(given: Answers) -> Array:
    """(F, 120, 160) class ids."""
    from PIL import Image

    pictures = []
    for name in given.ids:
        with Image.open(given.root / "labels" / f"{name}.png") as picture:
            pictures.append(np.asarray(picture))
    return np.stack(pictures)


def table(given: Answers, name: str) -> tuple[list[str], Array]:
    """(channels, (F, K) values) of a truth table keyed by sample_id."""
    import pyarrow.parquet as pq

    columns = pq.read_table(given.root / name).to_pydict()
    position = {sample: k for k, sample in enumerate(columns.pop("sample_id"))}
    at = [position[sample] for sample in given.ids]
    return list(columns), np.array([np.asarray(values)[at] for values in columns.values()]).T


def rasters(given: Answers, name: str) -> Array:
    with np.load(given.root / "truth_rasters.npz") as arrays:
        position = {sample: k for k, sample in enumerate(arrays["sample_id"].tolist())}
        return arrays[name][[position[sample] for sample in given.ids]]


def iou_of_classes(said: Array, truth: Array, classes: int) -> list[float]:
    """Intersection over union of each class from one plain confusion matrix, ignored pixels left out."""
    from sklearn.metrics import confusion_matrix

    kept = truth != UNLABELLED
    table = confusion_matrix(truth[kept], said[kept], labels=np.arange(classes))
    hit = np.diag(table)
    union = table.sum(axis=0) + table.sum(axis=1) - hit
    return [int(hit[k]) / int(union[k]) if union[k] else math.nan for k in range(classes)]


def decoded(heat: Array, box: Array, *, top: int = 40, floor: float = 0.05) -> list[tuple[int, float, Array]]:
    """(class, probability, corners) of one frame: 3 x 3 maxima of the probability, best first (train_hydranet.py)."""
    from scipy import ndimage

    p = 1 / (1 + np.exp(-heat.astype(np.float64)))
    peak = ndimage.maximum_filter(p, size=(1, 3, 3), mode="nearest") == p
    c, y, x = np.nonzero(peak & (p > floor))
    order = np.argsort(-p[c, y, x], kind="stable")[:top]
    return [(int(c[k]), float(p[c[k], y[k], x[k]]), box[:, y[k], x[k]].astype(np.float64)) for k in order]


def scenes(given: Answers, inside: Array, channel: int, name: str) -> list[Scene]:
    """Detections and boxes of one class in the chosen frames; boxes flagged `ignore` are crowd regions."""
    with (given.root / "boxes.csv").open(newline="") as file:
        boxes = [row for row in csv.DictReader(file) if row["class"] == name]
    names, found = given.ids, []
    for k in np.flatnonzero(inside):
        peaks = decoded(given.outputs["det_heat"][k], given.outputs["det_box"][k])
        mine = [(p, b) for c, p, b in peaks if c == channel]
        here = [row for row in boxes if row["sample_id"] == names[k]]
        found.append(
            Scene(
                np.array([p for p, _ in mine]),
                np.array([b for _, b in mine]).reshape(-1, 4),
                np.array([[float(row[side]) for side in ("x0", "y0", "x1", "y1")] for row in here]).reshape(-1, 4),
                np.array([row["ignore"] == "1" for row in here], dtype=bool),
            )
        )
    return found
