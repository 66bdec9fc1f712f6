"""What networks are trained on: the folder that `render` writes, of another world than the exam's."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .cameras import CAMERAS, NAMES
from .heads import JUDGED, Judged
from .losses import det_targets
from .network import grid_of
from .truth import IGNORE, KINDS

Row = dict[str, str]


@dataclass(frozen=True)
class Lessons:
    """The frames of a folder; arrays are mapped, and read where they are asked for.

    unlabelled: whether nobody labelled a head's channel ("" where it has none) in a row of the frame table. A box that
    nobody drew is not there, and whoever learns takes its place for empty; of all else nothing is learned.
    """

    root: Path
    unlabelled: Callable[[str, str, Row], bool] | None = None

    @cached_property
    def table(self) -> list[Row]:
        with (self.root / "frames.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    @cached_property
    def boxes(self) -> dict[str, dict[str, list[tuple[int, ...]]]]:
        """camera -> frame id -> rows of (kind, x0, y0, x1, y1, ignore)."""
        found: dict[str, dict[str, list[tuple[int, ...]]]] = {}
        for camera in NAMES:
            found[camera] = {}
            with (self.root / "boxes" / f"{camera}.csv").open(newline="") as file:
                for row in csv.DictReader(file):
                    corners = (int(row[key]) for key in ("x0", "y0", "x1", "y1", "ignore"))
                    found[camera].setdefault(row["frame_id"], []).append((KINDS.index(row["class"]), *corners))
        return found

    def __len__(self) -> int:
        return len(self.table)

    def pictures(self, camera: str, rows: np.ndarray) -> Tensor:
        """(n, 3, H, W) float32, 0..1."""
        pixels = np.load(self.root / "images" / f"{camera}.npy", mmap_mode="r")[rows]
        return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255

    def ego(self, rows: np.ndarray) -> Tensor:
        return torch.from_numpy(np.load(self.root / "ego.npy", mmap_mode="r")[rows])

    def truth(self, judged: Judged, rows: np.ndarray) -> Tensor:
        """(n, ...) of a head; classes are positions in its channels, -1 where nobody labelled the frame."""
        if judged.column:
            place = {name: k for k, name in enumerate(judged.channels)} | {"": -1}
            values = torch.tensor([place[self.table[k][judged.column]] for k in rows])
        else:
            values = torch.from_numpy(np.load(self.root / "truth" / f"{judged.head}.npy", mmap_mode="r")[rows])
        if self.unlabelled is not None:
            self._forget(judged, rows, values, self.unlabelled)
        return values

    def _forget(
        self, judged: Judged, rows: np.ndarray, values: Tensor, unlabelled: Callable[[str, str, Row], bool]
    ) -> None:
        nothing = -1 if judged.column else float("nan") if values.is_floating_point() else IGNORE
        for k, channel in enumerate(judged.channels or ("",)):
            for place in np.flatnonzero([unlabelled(judged.head, channel, self.table[row]) for row in rows]):
                if judged.task in ("multiclass", "segmentation"):
                    values[place : place + 1][values[place : place + 1] == k] = nothing
                else:
                    values[place : place + 1, k if judged.channels else ...] = nothing

    def detections(self, camera: str, rows: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        rows_of, columns_of = grid_of(CAMERAS[NAMES.index(camera)])
        shape = 2 * rows_of, 2 * columns_of
        parts = [det_targets(self._drawn(camera, self.table[k]), shape) for k in rows]
        heat, box, weight = (torch.from_numpy(np.stack(part)) for part in zip(*parts, strict=True))
        return heat, box, weight

    def _drawn(self, camera: str, row: Row) -> list[tuple[int, ...]]:
        boxes = self.boxes[camera].get(row["frame_id"], [])
        if self.unlabelled is None:
            return boxes
        return [box for box in boxes if not self.unlabelled(f"{camera}_objects.det", KINDS[box[0]], row)]


def heads_of(network: str) -> list[Judged]:
    return [judged for judged in JUDGED if judged.network == network]
