"""The eight cameras: where they sit, where they look, and the ray of each pixel."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .integers import BITS, COS, SIN, TURN, Ints

#: Rays are scaled: a ray's step straight ahead is UNIT.
UNIT = 4096
#: Rendered pixels to a side of a kept one: edges become smooth, and small things do not flicker.
FINE = 2
#: Ground further away than this is haze, cm.
FAR = 12_000


@dataclass(frozen=True)
class Camera:
    """width, height, focal, horizon: of the picture that is rendered, FINE times as fine as the one that is kept.

    horizon: row of the horizon. ahead, left, up: place on the car, cm. yaw: ticks to the left.
    """

    name: str
    width: int
    height: int
    focal: int
    horizon: int
    ahead: int
    left: int
    up: int
    yaw: int

    @cached_property
    def columns(self) -> Ints:
        """(width,) how far to the right a ray goes on a way of UNIT ahead."""
        return ((2 * np.arange(self.width) + 1 - self.width) * UNIT // (2 * self.focal)).astype(np.int32)

    @cached_property
    def depths(self) -> Ints:
        """(height,) cm ahead at which the ray of a row meets the ground, FAR for rows that do not."""
        below = 2 * np.arange(self.height) + 1 - 2 * self.horizon
        depth = self.up * 2 * self.focal // np.maximum(below, 1)
        return np.where(below > 0, np.minimum(depth, FAR), FAR).astype(np.int32)

    @cached_property
    def ground(self) -> tuple[Ints, Ints]:
        """(ahead, left) of the car's middle where each pixel's ray meets the ground, each (height, width) cm."""
        depth = self.depths[:, None]
        right = depth * self.columns[None] // UNIT
        c, s = int(COS[self.yaw]), int(SIN[self.yaw])
        return (depth * c + right * s >> BITS) + self.ahead, (depth * s - right * c >> BITS) + self.left


def _degrees(angle: int) -> int:
    return angle * TURN // 360 % TURN


def _camera(
    name: str, width: int, height: int, focal: int, horizon: int, place: tuple[int, int, int], degrees: int
) -> Camera:
    size = (FINE * number for number in (width, height, focal, horizon))
    return Camera(name, *size, *place, degrees * TURN // 360 % TURN)


#: A wide picture ahead, a long and a short lens beside it, two views from each side, one back.
CAMERAS = (
    _camera("main", 96, 64, 80, 26, (60, 0, 140), 0),
    _camera("narrow", 64, 48, 112, 22, (60, 10, 140), 0),
    _camera("wide", 64, 48, 26, 20, (60, -10, 140), 0),
    _camera("left_pillar", 64, 48, 36, 20, (20, 80, 130), 58),
    _camera("right_pillar", 64, 48, 36, 20, (20, -80, 130), -58),
    _camera("left_repeater", 64, 48, 40, 18, (100, 95, 95), 138),
    _camera("right_repeater", 64, 48, 40, 18, (100, -95, 95), -138),
    _camera("rear", 64, 48, 34, 18, (-220, 0, 100), 180),
)
NAMES = tuple(camera.name for camera in CAMERAS)
