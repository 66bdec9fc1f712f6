"""The networks of the second stage: what eight cameras saw, put together from above.

`TopDown` fetches features from where a level ground would put each cell of the grid; the others read its map.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .cameras import CAMERAS, FINE, NAMES
from .driving import CORRIDORS, FAN, OFFSETS, SECTORS, STALLS
from .heads import READS_SIGNS, WATCHED
from .network import FEATURES, FOUND, READ, Outputs, conv, grid_of, pooled
from .topdown import CLASSES, COARSE, GRID, HALF, SIDE
from .truth import ATTRIBUTES, CELL, KINDS, SIGNALS
from .world import PLACES

MAP, MEMORY = 8, 12  # channels


def middles() -> tuple[Tensor, Tensor]:
    """(ahead, left) cm of the cells' middles, (GRID, GRID) each."""
    place = HALF - (torch.arange(GRID) + 0.5) * SIDE
    ahead, left = torch.meshgrid(place, place, indexing="ij")
    return ahead, left


def seen_from(name: str, up: int = 0) -> tuple[Tensor, Tensor]:
    """(index, mask) of the feature of a camera that shows what is so many cm above each cell: (GRID * GRID,) each."""
    camera = CAMERAS[NAMES.index(name)]
    ahead, left = middles()
    yaw = camera.yaw / 4096 * 2 * math.pi
    x, y = ahead - camera.ahead, left - camera.left
    depth, right = x * math.cos(yaw) + y * math.sin(yaw), x * math.sin(yaw) - y * math.cos(yaw)
    safe = depth.clamp(min=20.0)
    column = (camera.width / 2 + camera.focal * right / safe) / (FINE * CELL)
    row = (camera.horizon + camera.focal * (camera.up - up) / safe) / (FINE * CELL)
    rows, columns = grid_of(camera)
    inside = (depth > 20) & (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
    index = row.long().clamp(0, rows - 1) * columns + column.long().clamp(0, columns - 1)
    return index.flatten(), inside.flatten().float()


class TopDown(nn.Module):
    """What all cameras saw, refined from above. Returns `map`, (B, MAP, GRID, GRID), and the rasters.

    ups: cm above the ground at which features are fetched: who stands on a cell shows above it.
    """

    def __init__(self, outputs: Mapping[str, int], ups: tuple[int, ...] = (0,)) -> None:
        super().__init__()
        self.outputs, self.ups = dict(outputs), ups
        self.look = nn.ModuleDict({f"{name}_{up}": nn.Conv2d(FEATURES, 14, 1) for up in ups for name in NAMES})
        for up in ups:
            for name in NAMES:
                index, mask = seen_from(name, up)
                self.register_buffer(f"index_{name}_{up}", index, persistent=False)
                self.register_buffer(f"mask_{name}_{up}", mask, persistent=False)
        place = torch.stack(middles()) / HALF
        self.register_buffer("place", torch.cat([place, place.abs()])[None], persistent=False)
        self.mix = nn.Sequential(conv(14 * len(ups) + 4, 24), conv(24, 24), conv(24, 24))
        self.out = nn.Conv2d(24, sum(outputs.values()), 1)
        self.map = conv(24, MAP, size=1)

    def forward(
        self, main: Tensor, narrow: Tensor, wide: Tensor, left_pillar: Tensor, right_pillar: Tensor,
        left_repeater: Tensor, right_repeater: Tensor, rear: Tensor,
    ) -> Outputs:  # fmt: skip
        cameras = (main, narrow, wide, left_pillar, right_pillar, left_repeater, right_repeater, rear)
        grids = []
        for up in self.ups:
            total = torch.zeros(1)
            for name, features in zip(NAMES, cameras, strict=True):
                flat = (
                    self.look[f"{name}_{up}"](features).flatten(2).index_select(2, getattr(self, f"index_{name}_{up}"))
                )
                total = total + flat * getattr(self, f"mask_{name}_{up}")
            grids.append(F.relu(total).unflatten(2, (GRID, GRID)))
        grid = torch.cat(grids, 1)
        y = self.mix(torch.cat([grid, self.place.expand(grid.shape[0], -1, -1, -1)], 1))
        parts = torch.split(self.out(y), list(self.outputs.values()), 1)
        rasters = {
            name: part if count > 1 else part.squeeze(1)
            for (name, count), part in zip(self.outputs.items(), parts, strict=True)
        }
        return {**rasters, "map": self.map(y)}


class Flat(nn.Module):
    """(B, out) features of a map: two strided convolutions, then all cells at once."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.shrink = nn.Sequential(conv(channels, 16, 2), conv(16, 16, 2))
        self.out = nn.Sequential(nn.Linear(16 * (GRID // 4) ** 2, out), nn.ReLU())

    def forward(self, y: Tensor) -> Tensor:
        return self.out(self.shrink(y).flatten(1))


class Layout(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.flat = Flat(MAP, 48)
        self.mix = nn.Sequential(nn.Linear(48 + 2 * FEATURES * len(NAMES), 64), nn.ReLU())
        self.out = nn.Linear(64, CORRIDORS + 1 + 1 + len(PLACES) + 3 + 2 + 2 + 2 + 2)

    def forward(
        self, main: Tensor, narrow: Tensor, wide: Tensor, left_pillar: Tensor, right_pillar: Tensor,
        left_repeater: Tensor, right_repeater: Tensor, rear: Tensor,
        ground: Tensor,
    ) -> Outputs:  # fmt: skip
        cameras = (main, narrow, wide, left_pillar, right_pillar, left_repeater, right_repeater, rear)
        y = self.out(self.mix(torch.cat([self.flat(ground), *map(pooled, cameras)], 1)))
        sizes = [CORRIDORS, 1, 1, len(PLACES), 3, 2, 2, 2, 2]
        corridor, junction, distance, place, legs, heading, crossing, lanes, margins = torch.split(y, sizes, 1)
        return {
            "corridor": corridor,
            "junction": junction,
            "distance": torch.exp((distance + 2.5).clamp(-1, 5)),
            "place": place,
            "legs": legs,
            "heading": _line(heading),
            "crossing": _line(crossing),
            "lanes": lanes,
            "margins": torch.exp((margins + 1).clamp(-2, 3)),
        }


def _line(pair: Tensor) -> Tensor:
    """Degrees of an undirected line, -90 to 90: half the angle of a vector that turns twice as fast."""
    sine, cosine = pair.unbind(1)
    return (torch.atan2(sine, cosine) * (90 / math.pi))[:, None]


class Path(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.flat = Flat(2 * MAP, 64)
        self.mix = nn.Sequential(nn.Linear(64 + 2 * FEATURES * len(READS_SIGNS) + 4, 64), nn.ReLU())
        self.out = nn.Linear(64, 1 + OFFSETS + FAN + 1)

    def forward(
        self, main: Tensor, narrow: Tensor, wide: Tensor, things: Tensor, ground: Tensor, ego: Tensor
    ) -> Outputs:
        y = self.out(
            self.mix(torch.cat([self.flat(torch.cat([things, ground], 1)), *map(pooled, (main, narrow, wide)), ego], 1))
        )
        steering, offsets, free, stop = torch.split(y, [1, OFFSETS, FAN, 1], 1)
        return {
            "steering": steering * 10,
            "offsets": offsets,
            "free": torch.exp((free + 2).clamp(-1, 4)),
            "stop": stop,
        }


class Traffic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.look = nn.ModuleDict()
        for name in WATCHED:
            cells = math.prod(grid_of(CAMERAS[NAMES.index(name)])) // 4
            self.look[name] = nn.Sequential(conv(FOUND, 12, 2), nn.Flatten(), nn.Linear(12 * cells, 24), nn.ReLU())
        self.mix = nn.Sequential(nn.Linear(24 * len(WATCHED) + len(ATTRIBUTES), 48), nn.ReLU())
        self.out = nn.Linear(48, 5)
        self.signal = nn.Linear(READ * len(READS_SIGNS), len(SIGNALS))

    def forward(
        self, main: Tensor, narrow: Tensor, wide: Tensor, rear: Tensor,
        main_signs: Tensor, narrow_signs: Tensor, wide_signs: Tensor, lamps: Tensor,
    ) -> Outputs:  # fmt: skip
        found = zip(WATCHED, (main, narrow, wide, rear), strict=True)
        seen = [self.look[name](given) for name, given in found]
        lead, braking, following, oncoming, person = torch.split(self.out(self.mix(torch.cat([*seen, lamps], 1))), 1, 1)
        return {
            "lead": torch.exp((lead + 2).clamp(-1, 4)),
            "braking": braking,
            "following": following,
            "oncoming": oncoming,
            "person": person,
            "signal": self.signal(torch.cat([main_signs, narrow_signs, wide_signs], 1)),
        }


class Parking(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.flat = Flat(2 * MAP, 64)
        self.out = nn.Linear(64, SECTORS + 2 * STALLS + 1)

    def forward(self, things: Tensor, ground: Tensor) -> Outputs:
        y = self.out(self.flat(torch.cat([things, ground], 1)))
        kerb, stalls, door = torch.split(y, [SECTORS, 2 * STALLS, 1], 1)
        return {"kerb": torch.exp((kerb + 1.8).clamp(-1, 4)), "stalls": stalls, "door": door}


class Surround(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.flat = Flat(MAP, 96)
        self.out = nn.Linear(96, SECTORS * (len(KINDS) + 2))

    def forward(self, things: Tensor) -> Outputs:
        present, nearest = torch.split(self.out(self.flat(things)), [SECTORS * len(KINDS), 2 * SECTORS], 1)
        return {"present": present, "nearest": torch.exp((nearest + 2).clamp(-1, 4))}


class Memory(nn.Module):
    """Remembers the map: its memory is moved as the car moved, and what is seen now is written into it."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Conv2d(2 * MAP + MEMORY, MEMORY, 3, padding=1)
        self.write = nn.Conv2d(2 * MAP + MEMORY, MEMORY, 3, padding=1)
        self.hidden = nn.Sequential(conv(2 * MAP + MEMORY, 16), nn.Conv2d(16, 1, 1))
        self.cells = nn.Sequential(conv(2 * MAP + MEMORY, 24, COARSE), nn.Conv2d(24, 2, 1))

    def forward(self, things: Tensor, ground: Tensor, ego: Tensor, memory: Tensor) -> Outputs:
        before = _moved(memory, ego)
        given = torch.cat([things, ground, before], 1)
        gate = torch.sigmoid(self.gate(given))
        after = gate * before + (1 - gate) * torch.tanh(self.write(given))
        given = torch.cat([things, ground, after], 1)
        roads, cars = self.cells(given).flatten(2).unbind(1)
        return {"roads": roads, "cars": cars, "hidden": self.hidden(given).squeeze(1), "memory": after}


def _moved(memory: Tensor, ego: Tensor) -> Tensor:
    """The memory of the frame before, seen from where the car is now. ego: metres ahead and left, degrees turned."""
    ahead, left, turned = ego[:, 0] * 100 / HALF, ego[:, 1] * 100 / HALF, ego[:, 2] * (math.pi / 180)
    sine, cosine = torch.sin(turned), torch.cos(turned)
    # A cell at (u ahead, v left) now was at (u cos - v sin + ahead, u sin + v cos + left); a picture's x runs to the
    # right and its y backwards, so x = -v and y = -u.
    first = torch.stack([cosine, sine, -left], 1)
    second = torch.stack([-sine, cosine, -ahead], 1)
    grid = F.affine_grid(torch.stack([first, second], 1), [memory.shape[0], 1, GRID, GRID], align_corners=False)
    return F.grid_sample(memory, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


SECOND = {
    "topdown": lambda: TopDown({"objects": len(CLASSES)}, (0, 90)),
    "topdown_road": lambda: TopDown({"drivable": 1, "edge": 1, "marking": 1}),
    "layout": Layout,
    "path": Path,
    "traffic": Traffic,
    "parking": Parking,
    "surround": Surround,
    "memory": Memory,
}
