"""The networks of a camera: a trunk, and four that read its features.

A trunk takes `image`, (B, 3, H, W) float32 in 0..1, and returns features at stride 4, (B, FEATURES, H / 4, W / 4).
Every output is what suite.toml says: logits, metres, degrees.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .cameras import FINE, Camera
from .roads import MARKINGS
from .truth import ATTRIBUTES, BANDS, CELL, KINDS, SIGNALS
from .world import LIGHTS, SIGNS

FEATURES, FINER, FOUND = 24, 24, 12
READ = 3 * FINER
PEAK = CELL // 2  # pixels to a side of a cell that may hold a box's centre
ROWS = 12  # of features that are pooled into bands, whatever the camera's height
Outputs = dict[str, Tensor]


def conv(inputs: int, outputs: int, stride: int = 1, size: int = 3) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


def grid_of(camera: Camera) -> tuple[int, int]:
    """Rows and columns of a camera's features."""
    return camera.height // (FINE * CELL), camera.width // (FINE * CELL)


def pooling(cells: int, parts: int) -> Tensor:
    """(parts, cells): rows that average equal parts of the cells."""
    edges = torch.arange(parts + 1) * cells / parts
    low, high = torch.arange(cells)[None], torch.arange(cells)[None] + 1
    share = (torch.minimum(high, edges[1:, None]) - torch.maximum(low, edges[:-1, None])).clamp(min=0)
    return share / share.sum(1, keepdim=True)


class Trunk(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.s2 = conv(3, 12, 2)
        self.s4 = nn.Sequential(conv(12, 24, 2), conv(24, 24))
        self.s8 = nn.Sequential(conv(24, 32, 2), conv(32, 32))
        self.s16 = conv(32, 40, 2)
        self.whole = nn.Linear(40, 32)
        self.up8 = conv(40 + 32, 24, size=1)
        self.up4 = conv(24 + 24, FEATURES)

    def forward(self, image: Tensor) -> Outputs:
        x4 = self.s4(self.s2((image - 0.35) / 0.25))
        x8 = self.s8(x4)
        x16 = self.s16(x8)
        x8 = x8 + self.whole(x16.mean((2, 3)))[:, :, None, None]
        y = self.up8(torch.cat([_double(x16), x8], 1))
        return {"features": self.up4(torch.cat([_double(y), x4], 1))}


class Pick(nn.Module):
    """(B, n, channels): features where each of n kinds is looked for, weighted by how much they look like it."""

    def __init__(self, channels: int, n: int) -> None:
        super().__init__()
        self.where = nn.Conv2d(channels, n, 1)

    def forward(self, y: Tensor) -> Tensor:
        weight = torch.softmax(self.where(y).flatten(2), dim=2)
        return torch.matmul(weight, y.flatten(2).transpose(1, 2))


class Finer(nn.Module):
    """(B, FINER, H / 2, W / 2): the picture again, beside its features: a lamp, a far person, is two pixels wide."""

    def __init__(self) -> None:
        super().__init__()
        self.near, self.context = conv(3, 12, 2), conv(FEATURES, 12, size=1)
        self.mix = nn.Sequential(conv(24, FINER), conv(FINER, FINER))

    def forward(self, features: Tensor, image: Tensor) -> Tensor:
        return self.mix(torch.cat([self.near((image - 0.35) / 0.25), _double(self.context(features))], 1))


class Objects(nn.Module):
    """What stands there: boxes, what is near, and the nearest car's lamps and heading.

    tells: whether `found`, what else is read from, is an output, (B, FOUND, H / 4, W / 4).
    """

    def __init__(self, camera: Camera, *, tells: bool) -> None:
        super().__init__()
        self.tells = tells
        self.finer = Finer()
        self.heat, self.box = nn.Conv2d(FINER, len(KINDS), 1), nn.Conv2d(FINER, 4, 1)
        nn.init.constant_(self.heat.bias, -3.5)  # most cells are empty: start by saying so
        self.shrink = conv(FINER, 16, 2)
        self.mix = nn.Sequential(conv(16 + FEATURES, 28), conv(28, 28))
        self.car, self.parts = Pick(28, 2), Pick(FINER, 4)
        self.turn = nn.Linear(2 * 28, 2)
        self.found = conv(28, FOUND, size=1)
        self.near = nn.Linear(2 * FOUND, len(KINDS))
        self.lamps = nn.Linear(2 * 28 + 4 * FINER + FOUND, len(ATTRIBUTES))
        self.kinds = Pick(FOUND, len(KINDS))
        self.far = nn.Parameter(torch.zeros(len(KINDS), FOUND))
        self.far_bias = nn.Parameter(torch.full((len(KINDS),), 2.2))  # e^2.2 = 9 m
        rows, columns = grid_of(camera)
        y, x = torch.meshgrid(torch.arange(2 * rows), torch.arange(2 * columns), indexing="ij")
        self.register_buffer("centre", (torch.stack([x, y]).float() + 0.5) * PEAK, persistent=False)

    def forward(self, features: Tensor, image: Tensor) -> Outputs:
        fine = self.finer(features, image)
        box = self.box(fine)
        centre, half = self.centre + CELL * box[:, :2], CELL * torch.exp(box[:, 2:].clamp(-3, 3))
        y = self.mix(torch.cat([self.shrink(fine), features], 1))
        found = self.found(y)
        thirds = torch.stack([pooled(third) for third in torch.tensor_split(found, 3, dim=3)], 1)
        near = self.near(thirds).transpose(1, 2).flatten(1)  # kind by third
        car = self.car(y).flatten(1)
        sine, cosine = self.turn(car).unbind(1)
        far = self.kinds(found)
        outputs = {
            "det_heat": self.heat(fine),
            "det_box": torch.cat([centre - half, centre + half], 1),
            "near": near,
            "attributes": self.lamps(torch.cat([car, self.parts(fine).flatten(1), far[:, 0]], 1)),
            "heading": (torch.atan2(sine, cosine) * (180 / math.pi))[:, None],
            "range": torch.exp(((far * self.far).sum(2) + self.far_bias).clamp(-1, 5)),
        }
        return {**outputs, "found": found} if self.tells else outputs


class Bands(nn.Module):
    """(B, BANDS) metres, one of each band of columns."""

    def __init__(self, camera: Camera, start: float) -> None:
        super().__init__()
        rows, columns = grid_of(camera)
        self.look = conv(FEATURES, 10, size=1)
        self.out = nn.Conv1d(10 * ROWS, 1, 3, padding=1)
        nn.init.constant_(self.out.bias, start)
        self.register_buffer("rows", pooling(rows, ROWS), persistent=False)
        self.register_buffer("columns", pooling(columns, BANDS).T.contiguous(), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        y = torch.matmul(torch.matmul(self.rows, self.look(features)), self.columns)
        return torch.exp(self.out(y.flatten(1, 2)).squeeze(1).clamp(-1, 5))


class Road(nn.Module):
    """What lies on the ground: where one may drive, edges, markings, how far it is free."""

    def __init__(self, camera: Camera) -> None:
        super().__init__()
        self.mix = conv(FEATURES, 24)
        self.out = nn.Conv2d(24, 2 + 1 + len(MARKINGS), 1)
        self.seen = nn.Linear(2 * 24, len(MARKINGS))
        self.free = Bands(camera, 1.8)

    def forward(self, features: Tensor) -> Outputs:
        y = self.mix(features)
        out = self.out(y)
        return {
            "drivable": out[:, 0],
            "edge": out[:, 1],
            "marking": out[:, 2:],
            "seen": self.seen(pooled(y)),
            "free": self.free(features),
        }


class Depth(nn.Module):
    """Metres to what each cell shows, and to the nearest upright thing in each band."""

    def __init__(self, camera: Camera) -> None:
        super().__init__()
        self.mix = conv(FEATURES, 20)
        self.out = nn.Conv2d(20, 1, 1)
        # Most of it is the ground, which a level camera knows: what is learned is the rest.
        ground = torch.from_numpy(camera.depths[FINE * CELL // 2 :: FINE * CELL].copy()).float() / 100
        self.register_buffer("ground", ground.clamp(max=40).log()[None, :, None], persistent=False)
        self.bands = Bands(camera, 2.3)

    def forward(self, features: Tensor) -> Outputs:
        depth = torch.exp((self.out(self.mix(features)).squeeze(1) + self.ground).clamp(-1, 5))
        return {"depth": depth, "bands": self.bands(features)}


class Read(nn.Module):
    """(B, READ): what signs and lamps look like."""

    def __init__(self) -> None:
        super().__init__()
        self.finer, self.pick = Finer(), Pick(FINER, 2)

    def forward(self, features: Tensor, image: Tensor) -> Tensor:
        y = self.finer(features, image)
        return torch.cat([self.pick(y).flatten(1), y.amax((2, 3))], 1)


class Scene(nn.Module):
    """Light, weather, dirt by zone."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = conv(FEATURES, 32)
        self.light, self.weather = nn.Linear(64, len(LIGHTS)), nn.Linear(64, 2)
        self.blocked = nn.Linear(64, 1)

    def forward(self, features: Tensor) -> Outputs:
        y = self.mix(features)
        whole = pooled(y)
        zones = [part for half in torch.tensor_split(y, 2, 2) for part in torch.tensor_split(half, 3, 3)]
        return {
            "light": self.light(whole),
            "weather": self.weather(whole),
            "blocked": self.blocked(torch.stack([pooled(zone) for zone in zones], 1)).squeeze(2),
        }


class SceneAhead(nn.Module):
    """The same, and signs and the traffic light, which only cameras that look ahead see from the front."""

    def __init__(self) -> None:
        super().__init__()
        self.scene, self.read = Scene(), Read()
        self.signs, self.signal = nn.Linear(READ, len(SIGNS)), nn.Linear(READ, len(SIGNALS))

    def forward(self, features: Tensor, image: Tensor) -> Outputs:
        read = self.read(features, image)
        return {**self.scene(features), "signs": self.signs(read), "signal": self.signal(read), "read": read}


def pooled(y: Tensor) -> Tensor:
    """(B, 2 C): mean and greatest of each channel."""
    return torch.cat([y.mean((2, 3)), y.amax((2, 3))], 1)


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")
