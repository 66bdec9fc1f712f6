"""What is true around the car, seen from above: a grid of GRID x GRID cells, the first row farthest ahead.

A cell counts when some camera saw it: its ground, or a thing that stands there. What was seen earlier in the clip is
kept in `memory`, which is asked for cells that are hidden now.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import roads
from .cameras import FINE
from .integers import Ints, into, rotate
from .render import SKY, View
from .roads import ASPHALT, KERB, SOLID
from .solids import Solids
from .truth import IGNORE, NAN, covered
from .world import FRAMES, Clip

Array = NDArray[Any]
Bools = NDArray[np.bool_]

GRID, SIDE = 24, 125  # cells, cm
PARTS = 3  # a cell is looked at in PARTS x PARTS places
COARSE = 2  # cells of the grid to a side of a cell of `memory`
RECENT = 4  # frames, a second, for which a moving thing is remembered
CLASSES = (("car", "van"), ("pedestrian", "cyclist"), ("cone",))
HALF = GRID * SIDE // 2


def places(parts: int) -> tuple[Ints, Ints]:
    """(ahead, left) of the middles of the cells, each cut in parts x parts: (GRID * parts, GRID * parts) cm."""
    step = SIDE // parts
    offset = (np.arange(GRID)[:, None] * SIDE + np.arange(parts) * step + step // 2).reshape(-1).astype(np.int32)
    ahead, left = np.broadcast_arrays((HALF - 1 - offset)[:, None], (HALF - 1 - offset)[None])
    return ahead, left


def cells(ahead: Any, left: Any) -> tuple[Any, Any, Any]:
    """(row, column, inside) of places around the car."""
    row, column = (HALF - 1 - ahead) // SIDE, (HALF - 1 - left) // SIDE
    return row, column, (row >= 0) & (row < GRID) & (column >= 0) & (column < GRID)


def flat(clip: Clip) -> tuple[Bools, Bools, Bools]:
    """(drivable, edge, marking) of each cell, (FRAMES, GRID, GRID), seen or not."""
    dx, dy = rotate(*(place[None] for place in places(PARTS)), clip.ego[:, 2, None, None])
    code = roads.ground(clip.ground, dx + clip.ego[:, 0, None, None], dy + clip.ego[:, 1, None, None])
    code = code.reshape(FRAMES, GRID, PARTS, GRID, PARTS).transpose(0, 1, 3, 2, 4).reshape(FRAMES, GRID, GRID, -1)
    return (code >= ASPHALT).sum(-1) * 2 > PARTS * PARTS, (code == KERB).any(-1), (code >= SOLID).sum(-1) >= 2


def standing(clip: Clip, seen_things: Bools) -> Array:
    """(FRAMES, classes, GRID, GRID): which cells a seen thing of a class stands on; seen_things: (FRAMES, things)."""
    found = np.zeros((FRAMES, len(CLASSES), GRID, GRID), bool)
    ahead, left = places(1)
    for number, kinds in enumerate(CLASSES):
        those = clip.of(*kinds)
        frame, at = np.nonzero(seen_things[:, those])
        thing = those[at]
        pose, ego = clip.poses[frame, thing], clip.ego[frame]
        x, y = into(pose[:, 0] - ego[:, 0], pose[:, 1] - ego[:, 1], ego[:, 2])
        close = (np.abs(x) < HALF + 300) & (np.abs(y) < HALF + 300)
        frame, thing, x, y, turned = frame[close], thing[close], x[close], y[close], (pose[:, 2] - ego[:, 2])[close]
        half = np.array([(clip.things[k].length // 2, clip.things[k].width // 2) for k in thing], np.int32).reshape(
            -1, 2
        )
        half = np.maximum(half, SIDE // 2 + 1)  # whatever is small has the cell that it is in
        u, v = into(ahead[None] - x[:, None, None], left[None] - y[:, None, None], turned[:, None, None])
        on = (np.abs(u) <= half[:, 0, None, None]) & (np.abs(v) <= half[:, 1, None, None])
        np.logical_or.at(found[:, number], frame, on)
    return found


def seen(clip: Clip, world: Solids, views: Sequence[View]) -> tuple[Bools, Bools]:
    """(FRAMES, GRID, GRID) cells whose ground some camera shows, and (FRAMES, things) which things at all."""
    ground, things = np.zeros((FRAMES, GRID, GRID), np.int32), np.zeros((FRAMES, len(clip.things) + 1), np.int32)
    frames = np.arange(FRAMES)
    one = (Ellipsis, slice(1, None, FINE), slice(1, None, FINE))  # a rendered pixel of each kept one
    for view in views:
        clear = ~covered(clip, view.camera)[one]
        row, column, inside = cells(*(place[one] for place in view.camera.ground))
        solid = view.solid[one]
        thing = np.where(solid >= 0, world.thing[solid], -1)
        shown = (view.ground[one] != SKY) & (thing < 0) & (inside & clear)
        frame, r, c = np.nonzero(shown)
        index = (frame * GRID + row[r, c]) * GRID + column[r, c]
        ground += np.bincount(index, minlength=ground.size).reshape(ground.shape).astype(np.int32)
        index = frames[:, None, None] * things.shape[1] + np.where(clear, thing, -1) % things.shape[1]
        things += np.bincount(index.reshape(-1), minlength=things.size).reshape(things.shape).astype(np.int32)
    return ground > 0, things[:, :-1] >= 3


def earlier(clip: Clip, shown: Bools, frames: int) -> Bools:
    """(FRAMES, GRID, GRID): cells whose middle was in a shown cell in one of the `frames` frames before this one."""
    found = np.zeros_like(shown)
    ahead, left = places(1)
    for back in range(1, min(frames, FRAMES - 1) + 1):
        now, then = clip.ego[back:, :, None, None], clip.ego[:-back, :, None, None]
        dx, dy = rotate(ahead[None], left[None], now[:, 2])
        u, v = into(now[:, 0] + dx - then[:, 0], now[:, 1] + dy - then[:, 1], then[:, 2])
        row, column, inside = cells(u, v)
        frame = np.arange(FRAMES - back)[:, None, None]
        found[back:] |= inside & shown[frame, np.clip(row, 0, GRID - 1), np.clip(column, 0, GRID - 1)]
    return found


def _coarse(fine: Array) -> Array:
    """How many of the cells of each coarse cell hold: (FRAMES, GRID / COARSE, GRID / COARSE)."""
    n = GRID // COARSE
    return fine.reshape(FRAMES, n, COARSE, n, COARSE).sum((2, 4))


def truths(clip: Clip, world: Solids, views: Sequence[View]) -> tuple[dict[str, Array], Bools]:
    """Rasters of the top-down networks and the cells of `memory`, by name; and which things are seen, (FRAMES, things).

    objects: (F, 3, GRID, GRID); drivable, edge, marking, hidden: (F, GRID, GRID); 0, 1 or IGNORE. roads, cars:
    (F, 144), NaN where nobody has seen the cell.
    """
    ground, things = seen(clip, world, views)
    on = standing(clip, things)
    now = ground | on.any(1)
    drivable, edge, marking = flat(clip)
    before = earlier(clip, ground, FRAMES)
    recent = now | earlier(clip, now, RECENT)

    def judged(value: Array, where: Array) -> Array:
        return np.where(where, value, IGNORE).astype(np.uint8)

    known = _coarse(now | before) * 2 >= COARSE * COARSE
    fresh = _coarse(recent) * 2 >= COARSE * COARSE
    cars = _coarse(standing(clip, np.ones_like(things))[:, 0]) >= 1
    return {
        "objects": judged(on, np.broadcast_to(now[:, None], on.shape)),
        "drivable": judged(drivable, ground),
        "edge": judged(edge, ground),
        "marking": judged(marking, ground),
        "hidden": judged(drivable, before & ~ground),
        "roads": np.where(known, _coarse(drivable) * 2 >= COARSE * COARSE, NAN).reshape(FRAMES, -1).astype(np.float32),
        "cars": np.where(fresh, cars, NAN).reshape(FRAMES, -1).astype(np.float32),
    }, things
