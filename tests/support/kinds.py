"""A small head of every kind with random frames of it, for laws that hold for all kinds alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gate.heads import Decoder, Head, series_of
from gate.table import EvidenceTable, empty, merge
from gate.tasks import Batch, Boxes, task_of

Array = NDArray[Any]
CELLS = 5
NAN = float("nan")


def head_of(task: str, channels: Sequence[str] = ("",), **fields: Any) -> Head:
    """A head that emits and judges `channels` unless told otherwise."""
    given: dict[str, Any] = {"judged": tuple(range(len(channels))), "outputs": (("", "cam.it"),)} | fields
    return Head("cam.it", task, tuple(channels), **given)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Frames:
    """outputs: role -> (F, ...). truth: (F, ...), or a list of (channel, box, ignore[, angle]) a frame. cell: (F,)."""

    head: Head
    outputs: dict[str, Array]
    truth: Array | list[list[tuple[Any, ...]]]
    cell: Array

    def batch(self, rows: Sequence[int]) -> Batch:
        at = np.asarray(rows, dtype=np.int64)
        outputs = {role: values[at] for role, values in self.outputs.items()}
        if isinstance(self.truth, list):
            truth: Array | Boxes = boxes_of([self.truth[k] for k in rows])
        else:
            truth = self.truth[at]
        return Batch(outputs, truth, self.cell[at], CELLS)

    def evidence(self, parts: Iterable[Sequence[int]]) -> EvidenceTable:
        """Evidence of the frames in those batches, in that order."""
        task = task_of(self.head)
        tables = [task.reduce(self.batch(rows), self.head) for rows in parts if len(rows)]
        return merge([empty(series_of(self.head), CELLS, task.yields(self.head).sums), *tables])


def boxes_of(frames: Sequence[Sequence[tuple[Any, ...]]]) -> Boxes:
    """Truth boxes of a batch from one list of (channel, corners, ignore) a frame, or (…, angle)."""
    flat = [(k, *one) for k, frame in enumerate(frames) for one in frame]
    return Boxes(
        np.array([f[0] for f in flat], dtype=np.int64),
        np.array([f[1] for f in flat], dtype=np.int64),
        np.array([f[2] for f in flat], dtype=np.float64).reshape(-1, 4),
        np.array([f[3] for f in flat], dtype=bool),
        np.array([f[4] if len(f) > 4 else np.nan for f in flat], dtype=np.float64),
    )


KINDS = (
    "binary",
    "multilabel",
    "multiclass",
    "segmentation softmax",
    "segmentation sigmoid",
    "occupancy",
    "depth",
    "regression",
    "orientation frames",
    "orientation raster",
    "detection centernet",
    "detection boxes",
    "orientation of centernet objects",
    "orientation of objects",
)


def random_frames(kind: str, count: int, seed: int) -> Frames:
    """`count` frames of a head of that kind, with ties, ignored and absent truths among them."""
    rng = np.random.default_rng(seed)
    cell = rng.integers(0, CELLS, count)

    def logits(*shape: int) -> Array:
        return (rng.integers(-12, 13, (count, *shape)) / 4).astype(np.float32)

    def some_nan(truth: Array) -> Array:
        return np.where(rng.random(truth.shape) < 0.2, np.nan, truth)

    if kind == "binary":
        truth = some_nan(rng.integers(0, 2, (count, 1)).astype(float))
        return Frames(head_of("binary", score="sigmoid"), {"": logits(1)}, truth, cell)
    if kind == "multilabel":
        head = head_of("multilabel", ("a", "b", "c"), judged=(0, 2), score="sigmoid")
        return Frames(head, {"": logits(3)}, some_nan(rng.integers(0, 2, (count, 3)).astype(float)), cell)
    if kind == "multiclass":
        head = head_of("multiclass", ("a", "b", "c"), score="softmax")
        return Frames(head, {"": logits(3)}, rng.integers(-1, 3, count), cell)
    if kind.startswith("segmentation"):
        head = head_of("segmentation", ("a", "b", "c", "void"), judged=(0, 1, 2), score=kind.split()[1], ignore=3)
        return Frames(head, {"": logits(4, 3, 5)}, rng.integers(0, 4, (count, 3, 5)), cell)
    if kind == "occupancy":
        head = head_of("occupancy", score="sigmoid", ignore=255)
        return Frames(head, {"": logits(1, 4, 4)}, rng.choice([0, 1, 255], (count, 4, 4)), cell)
    if kind == "depth":
        head = head_of("depth", unit="m", cap=60.0)
        said, truth = rng.uniform(-1, 80, (2, count, 3, 5))
        return Frames(head, {"": said.astype(np.float32)}, some_nan(truth), cell)
    if kind in ("orientation frames", "orientation raster"):
        head = head_of("orientation", ("lane", "road"), unit="radians", period=180)
        said, truth = rng.uniform(-7, 7, (2, count, 2, *((3, 4) if kind.endswith("raster") else ())))
        return Frames(head, {"": said.astype(np.float32)}, some_nan(truth), cell)
    if kind == "regression":
        head = head_of("regression", ("x", "y"), unit="m")
        said, truth = rng.normal(size=(2, count, 2))
        return Frames(head, {"": said.astype(np.float32)}, some_nan(truth), cell)
    oriented = kind.startswith("orientation")
    truths = [
        [
            (
                int(rng.integers(0, 2)),
                random_box(rng),
                bool(rng.random() < 0.2),
                rng.choice([NAN, *rng.uniform(0, 360, 4)]),
            )
            for _ in range(rng.integers(0, 5))
        ]
        for _ in range(count)
    ]
    if "centernet" in kind:
        decoder = Decoder("centernet", peak=3, top=8, floor=0.2)
        outputs = {"heat": logits(2, 4, 5), "box": box_map(rng, count, 4, 5)}
        angles = rng.uniform(0, 360, (count, 1, 4, 5))
    else:
        decoder = Decoder("boxes", top=8, floor=0.2)
        outputs = {"score": logits(6, 2), "box": np.array([[random_box(rng) for _ in range(6)] for _ in range(count)])}
        angles = rng.uniform(0, 360, (count, 6))
    given = {"score": "sigmoid", "decoder": decoder, "levels": (0.3, 0.6)}
    if oriented:
        outputs["angle"] = angles.astype(np.float32)
        given |= {"levels": (0.3, 0.0), "unit": "degrees"}
    roles = tuple((role, f"cam.{role}") for role in sorted(outputs))
    head = head_of(kind.split()[0], ("car", "van"), outputs=roles, **given)
    return Frames(head, outputs, truths, cell)


def random_box(rng: np.random.Generator, size: int = 12) -> tuple[float, ...]:
    x, y = rng.integers(0, size, 2)
    w, h = rng.integers(1, size // 2, 2)
    return float(x), float(y), float(x + w), float(y + h)


def box_map(rng: np.random.Generator, count: int, height: int, width: int) -> NDArray[np.float32]:
    places = [[random_box(rng) for _ in range(height * width)] for _ in range(count)]
    return np.array(places, np.float32).transpose(0, 2, 1).reshape(count, 4, height, width)
