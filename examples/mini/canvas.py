"""A picture in the making: a camera on the road, the light of the day, and flat polygons in metres.

Every polygon is painted twice, in its colour on a picture and with its mark on a map, so the truth is made by
the same geometry as the picture. Corners are (n, 3): `x` to the right, `y` up, `s` along the road.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import ImageDraw

from .world import Colour

WIDTH, HEIGHT = 96, 64
FINE = 4  # painted four times as large and averaged down: soft edges, and silhouettes to a quarter of a pixel
FOCAL_PX = 80.0
HORIZON_PX = 27.0
CAMERA_M = 1.4
NEAR_M = 1.0


@dataclass(frozen=True)
class Mood:
    """`ambient` multiplies colours; with distance they fade into `haze`, to a third after `haze_m` metres."""

    ambient: tuple[float, float, float]
    top: Colour
    haze: Colour
    haze_m: float
    dark: bool


MOODS = {
    ("day", "clear"): Mood((1.0, 1.0, 0.98), (96, 150, 214), (196, 214, 230), 160.0, False),
    ("day", "rain"): Mood((0.72, 0.74, 0.78), (128, 136, 146), (166, 172, 178), 48.0, False),
    ("dusk", "clear"): Mood((0.50, 0.45, 0.52), (44, 50, 104), (196, 118, 84), 150.0, True),
    ("dusk", "rain"): Mood((0.38, 0.39, 0.46), (44, 48, 68), (88, 90, 108), 50.0, True),
}


@dataclass(frozen=True)
class Canvas:
    """A picture in the making, and the camera: `way` is +1 looking ahead, -1 looking back."""

    brush: ImageDraw.ImageDraw
    marker: ImageDraw.ImageDraw
    mood: Mood
    way: int
    x: float
    s: float
    curve: float
    horizon_px: float


def shade(mood: Mood, colour: Colour, z: float) -> Colour:
    fade = 1.0 - np.exp(-max(z, 0.0) / mood.haze_m)
    mixed = np.array(colour) * mood.ambient * (1 - fade) + np.array(mood.haze) * fade
    return int(mixed[0]), int(mixed[1]), int(mixed[2])


def darker(colour: Colour, factor: float) -> Colour:
    return int(colour[0] * factor), int(colour[1] * factor), int(colour[2] * factor)


def project(canvas: Canvas, corners: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fine pixels `(u, v)` and distance `z` in metres; what is nearer than NEAR_M is pushed out to it."""
    x, y, s = np.asarray(corners, float).T
    along = s - canvas.s
    z = np.maximum(canvas.way * along, NEAR_M)
    right = canvas.way * (x + canvas.curve * along**2 / 2 - canvas.x)
    u = WIDTH / 2 + FOCAL_PX * right / z
    v = canvas.horizon_px + FOCAL_PX * (CAMERA_M - y) / z
    return u * FINE, v * FINE, z


def patch(canvas: Canvas, corners: np.ndarray, colour: Colour, mark: int, *, glows: bool = False) -> None:
    """One polygon; `corners`: (n, 3) x, y, s in metres. What glows keeps its colour in dark and haze."""
    u, v, z = project(canvas, corners)
    points = list(zip(u.tolist(), v.tolist(), strict=True))
    canvas.brush.polygon(points, fill=colour if glows else shade(canvas.mood, colour, float(z.mean())))
    canvas.marker.polygon(points, fill=mark)


def upright(x0: float, x1: float, y0: float, y1: float, s: float) -> np.ndarray:
    """A rectangle that faces the camera: (4, 3)."""
    return np.array([[x0, y0, s], [x1, y0, s], [x1, y1, s], [x0, y1, s]])


def level(x0: float, x1: float, s0: float, s1: float, y: float = 0.0) -> np.ndarray:
    """A rectangle that lies on the ground: (4, 3)."""
    return np.array([[x0, y, s0], [x1, y, s0], [x1, y, s1], [x0, y, s1]])


def standing(x: float, y0: float, y1: float, s0: float, s1: float) -> np.ndarray:
    """A rectangle that stands along the road, as a wall does: (4, 3)."""
    return np.array([[x, y0, s0], [x, y0, s1], [x, y1, s1], [x, y1, s0]])


def limb(x0: float, y0: float, half0: float, x1: float, y1: float, half1: float, s: float) -> np.ndarray:
    """A strip from one point to another that faces the camera, `half` as wide at its ends: (4, 3)."""
    return np.array([[x0 - half0, y0, s], [x0 + half0, y0, s], [x1 + half1, y1, s], [x1 - half1, y1, s]])


def disc(x: float, y: float, s: float, radius: float, sides: int = 14, turn: float = 0.0) -> np.ndarray:
    """A round or regular shape that faces the camera: (sides, 3)."""
    angle = np.arange(sides) * 2 * np.pi / sides + turn
    return np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle), np.full(sides, s)], 1)
