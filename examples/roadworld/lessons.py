"""What networks are trained on: the folder that `render` writes, of another world than the exam's."""

from __future__ import annotations

import csv
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
from .truth import KINDS


@dataclass(frozen=True)
class Lessons:
    """The frames of a folder; arrays are mapped, and read where they are asked for."""

    root: Path

    @cached_property
    def table(self) -> list[dict[str, str]]:
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
            return torch.tensor([place[self.table[k][judged.column]] for k in rows])
        return torch.from_numpy(np.load(self.root / "truth" / f"{judged.head}.npy", mmap_mode="r")[rows])

    def detections(self, camera: str, rows: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        shape = grid_of(CAMERAS[NAMES.index(camera)])
        found = self.boxes[camera]
        parts = [det_targets(found.get(self.table[k]["frame_id"], ()), shape) for k in rows]
        heat, box, weight = (torch.from_numpy(np.stack(part)) for part in zip(*parts, strict=True))
        return heat, box, weight


def heads_of(network: str) -> list[Judged]:
    return [judged for judged in JUDGED if judged.network == network]
