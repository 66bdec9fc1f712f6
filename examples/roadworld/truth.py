"""What is true of one camera's pictures, from the same view that they were painted from.

Rasters have a cell of CELL x CELL kept pixels. Boxes are what is visible of a thing, in kept pixels. `float("nan")`
means that the question does not arise, IGNORE that nobody can tell: dirt covers it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cameras import FINE, UNIT, Camera
from .integers import TURN, Ints, into, signed
from .paint import dirt
from .render import SKY, View
from .roads import ASPHALT, KERB, MARKINGS
from .solids import Solids
from .world import BRAKE, DOOR, FRAMES, LEFT, RIGHT, SIGNS, Clip

Array = NDArray[Any]
Bools = NDArray[np.bool_]

CELL = 4  # kept pixels
IGNORE = 255
BANDS = 8  # of columns
KINDS = ("car", "pedestrian", "cyclist", "cone")
ATTRIBUTES = ("brake", "left", "right", "door", "front")
SIGNALS = ("red", "amber", "green", "none")
ZONES = tuple(f"{row}_{side}" for row in ("top", "bottom") for side in ("left", "middle", "right"))
#: Fewer visible pixels (as rendered) than this, a smaller box, or further away: nobody is asked for it.
LEAST = {"car": (40, 4, 3), "pedestrian": (24, 2, 5), "cyclist": (24, 2, 5), "cone": (16, 2, 3)}
RANGE, NARROW_RANGE = 4000, 7000
NEAR, NARROW_NEAR = 1500, 3000  # cm: what `near` and `attributes` ask about
FREE, CAP = 3000, 6000  # cm: how far free ground and depth are asked for
NAN = np.float32("nan")


@dataclass(frozen=True)
class Boxes:
    """Things seen by one camera, a row each. corners: (n, 4) x0 y0 x1 y1 in kept pixels. depth: cm, the least.

    kind: position in KINDS, -1 for signs and lights. ignore: too small, too far or covered. ends: (n, 2) visible pixels
    of the faces ahead and behind.
    """

    frame: NDArray[np.int64]
    thing: NDArray[np.int64]
    kind: Ints
    corners: Ints
    depth: Ints
    count: NDArray[np.int64]
    ends: NDArray[np.int64]
    ignore: Bools


def kind_of(name: str) -> int:
    return KINDS.index("car" if name == "van" else name) if name in (*KINDS, "van") else -1


def covered(clip: Clip, camera: Camera) -> Bools:
    """(height, width) of rendered pixels that dirt hides, the same in every frame."""
    discs = clip.blocked.get(camera.name)
    if not discs:
        return np.zeros((camera.height, camera.width), bool)
    kept = dirt(discs, camera.height // FINE, camera.width // FINE) > 128
    return kept.repeat(FINE, 0).repeat(FINE, 1)


def boxes(clip: Clip, world: Solids, view: View) -> Boxes:
    """What is visible of every car, person, cone, sign and light."""
    camera = view.camera
    kinds = np.array([kind_of(t.kind) if t.kind not in ("sign", "light") else -2 for t in clip.things] + [-1], np.int32)
    thing = np.where(view.solid >= 0, world.thing[view.solid], -1)
    place = np.flatnonzero(kinds[thing] != -1)
    row, column = place // camera.width % camera.height, place % camera.width
    frame = place // (camera.width * camera.height)
    key = frame * len(clip.things) + thing.reshape(-1)[place]
    total = np.bincount(key, minlength=FRAMES * len(clip.things))
    keys = np.flatnonzero(total)
    inverse, n = (np.cumsum(total > 0) - 1)[key], len(keys)
    low, high = np.full((n, 2), 1 << 20, np.int32), np.full((n, 2), -1, np.int32)
    for k, side in enumerate((column, row)):
        np.minimum.at(low[:, k], inverse, side.astype(np.int32))
        np.maximum.at(high[:, k], inverse, side.astype(np.int32))
    depth = np.full(n, 1 << 20, np.int32)
    np.minimum.at(depth, inverse, view.depth.reshape(-1)[place])
    face = view.face.reshape(-1)[place]
    ends = np.stack([np.bincount(inverse, face == end, n).astype(np.int64) for end in (0, 2)], axis=1)
    hidden = np.bincount(inverse, covered(clip, camera)[row, column], n).astype(np.int64)
    count = total[keys]
    corners = np.concatenate([low // FINE, high // FINE + 1], axis=1)
    frame_of, thing_of = keys // len(clip.things), keys % len(clip.things)
    kind = np.maximum(kinds[thing_of], -1)
    least = np.array([LEAST[name] for name in KINDS] + [(16, 2, 2)], np.int32)[kind]
    size = corners[:, 2:] - corners[:, :2]
    far = NARROW_RANGE if camera.name == "narrow" else RANGE
    ignore = (count < least[:, 0]) | (size < least[:, 1:]).any(1) | (depth > far) | (2 * hidden > count)
    return Boxes(frame_of, thing_of, kind, corners, depth, count, ends, ignore)


def _cells(view: View, fine: Array) -> Array:
    """(FRAMES, rows, columns, pixels of a cell)."""
    side = CELL * FINE
    f, h, w = fine.shape
    split = fine.reshape(f, h // side, side, w // side, side)
    return split.transpose(0, 1, 3, 2, 4).reshape(f, h // side, w // side, side * side)


def rasters(clip: Clip, world: Solids, view: View) -> dict[str, Array]:
    """drivable, edge: 0, 1 or IGNORE. marking: 0 none, then as in MARKINGS. depth: metres, NaN beyond the cap."""
    free = (view.solid < 0) | (world.thing[view.solid] < 0)
    ground = np.where(free & (view.ground != SKY), view.ground, 0)
    hidden = (
        _cells(view, np.broadcast_to(covered(clip, view.camera), view.ground.shape)).sum(-1) * 2 > (CELL * FINE) ** 2
    )
    codes = _cells(view, ground)
    drivable, edge = (codes >= ASPHALT).sum(-1) * 2 >= codes.shape[-1], (codes == KERB).sum(-1) >= 3
    counts = np.stack([(codes == code).sum(-1) for code in MARKINGS.values()], axis=-1)
    marking = np.where(counts.max(-1) >= 5, counts.argmax(-1) + 1, 0)
    side = CELL * FINE
    depth = view.depth[:, side // 2 :: side, side // 2 :: side]
    metres = np.where((depth < CAP) & ~hidden, depth.astype(np.float32) / np.float32(100), NAN)
    return {
        "drivable": np.where(hidden, IGNORE, drivable).astype(np.uint8),
        "edge": np.where(hidden, IGNORE, edge).astype(np.uint8),
        "marking": np.where(hidden, IGNORE, marking).astype(np.uint8),
        "depth": metres,
    }


def objects(clip: Clip, world: Solids, view: View, found: Boxes) -> dict[str, Array]:
    """near: (F, 12) kind by third. attributes: (F, 5), heading: (F, 1) degrees, of the nearest car. range: (F, 4) m."""
    camera = view.camera
    reach = NARROW_NEAR if camera.name == "narrow" else NEAR
    judged = ~found.ignore & (found.kind >= 0)
    near, third = (
        judged & (found.depth < reach),
        (found.corners[:, 0] + found.corners[:, 2]) * 3 * FINE // (2 * camera.width),
    )
    seen = np.zeros((FRAMES, len(KINDS), 3), np.float32)
    seen[found.frame[near], found.kind[near], np.minimum(third[near], 2)] = 1
    least = np.full((FRAMES, len(KINDS)), 1 << 20, np.int32)
    np.minimum.at(least, (found.frame[judged], found.kind[judged]), found.depth[judged])
    metres = np.where(least < 1 << 20, least.astype(np.float32) / np.float32(100), NAN)
    attributes, heading = np.full((FRAMES, 5), NAN), np.full((FRAMES, 1), NAN)
    for k in np.flatnonzero(near & (found.kind == 0)):
        frame = found.frame[k]
        if found.depth[k] != least[frame, 0]:
            continue
        thing, (ahead, behind) = found.thing[k], found.ends[k]
        state = int(clip.states[frame, thing])
        shows_end, shows_rear = ahead + behind >= 12, behind >= 12
        attributes[frame] = (
            bool(state & BRAKE) if shows_rear else NAN,
            bool(state & LEFT) if shows_end else NAN,
            bool(state & RIGHT) if shows_end else NAN,
            bool(state & DOOR),
            ahead >= 12,
        )
        heading[frame] = degrees(clip.poses[frame, thing, 2] - view.heading[frame])
    return {"near": seen.reshape(FRAMES, -1), "attributes": attributes, "heading": heading, "range": metres}


def degrees(angle: Any) -> Any:
    """An angle in degrees, -180 to 180; exact, for 360 / 4096 has few binary digits."""
    return signed(angle) * np.float32(360) / np.float32(TURN)


def road(view: View, world: Solids, marking: Array) -> dict[str, Array]:
    """seen: (F, 6) which markings show. free: (F, BANDS) metres of free ground ahead in each band of columns."""
    seen = np.stack([((marking == k + 1).sum((1, 2)) >= 2) for k in range(len(MARKINGS))], axis=1)
    ground = (view.ground >= ASPHALT) & (view.ground != SKY) & ((view.solid < 0) | (world.thing[view.solid] < 0))
    upwards = ~ground[:, ::-1]
    first = view.camera.height - 1 - upwards.argmax(1)  # the row above the horizon is never ground, so there is one
    ends = np.take_along_axis(view.depth, first[:, None], 1)[:, 0]
    return {"seen": seen.astype(np.float32), "free": _bands(np.minimum(ends, FREE))}


def depth(view: View, world: Solids) -> dict[str, Array]:
    """bands: (F, BANDS) metres to the nearest upright thing in each band of columns, at most the cap."""
    upright = (view.solid >= 0) & (world.thing[view.solid] >= 0)
    return {"bands": _bands(np.where(upright, np.minimum(view.depth, CAP), CAP).min(1))}


def _bands(columns: Ints) -> NDArray[np.float32]:
    """The least of each band of columns, cm -> metres."""
    return columns.reshape(FRAMES, BANDS, -1).min(2).astype(np.float32) / np.float32(100)


def scene(clip: Clip, world: Solids, view: View, found: Boxes) -> dict[str, Array]:
    """weather: (F, 2) rain, glare. blocked: (F, 6) zones. signs: (F, 5). signal: (F,) position in SIGNALS."""
    camera = view.camera
    hidden = covered(clip, camera).reshape(2, camera.height // 2, camera.width).astype(np.int64)
    thirds = np.array_split(np.arange(camera.width), 3)
    zones = np.array([hidden[row][:, third].mean() >= 0.25 for row in range(2) for third in thirds])
    turned = (view.heading - clip.sun) % TURN
    ahead, left = into(np.int32(UNIT), np.int32(0), turned)
    glare = (clip.weather == "glare") & (ahead > 0) & (np.abs(left) * 2 * camera.focal < ahead * camera.width)
    weather = np.stack([np.full(FRAMES, clip.weather == "rain"), glare], axis=1)
    signs, signal = np.zeros((FRAMES, len(SIGNS)), np.float32), np.full(FRAMES, SIGNALS.index("none"))
    nearest = np.full(FRAMES, 1 << 20)
    for k in np.flatnonzero(~found.ignore & (found.kind < 0) & (found.ends[:, 0] >= 16)):
        frame, thing = found.frame[k], clip.things[found.thing[k]]
        if thing.kind == "sign" and found.count[k] >= 60:
            signs[frame, thing.variant] = 1
        if thing.kind == "light" and found.depth[k] < nearest[frame] and found.count[k] >= 30:
            nearest[frame] = found.depth[k]
            signal[frame] = SIGNALS.index(_state(int(clip.states[frame, found.thing[k]])))
    return {
        "weather": weather.astype(np.float32),
        "blocked": np.broadcast_to(zones, (FRAMES, 6)).astype(np.float32),
        "signs": signs,
        "signal": signal,
    }


def _state(bits: int) -> str:
    from .traffic import SIGNALS as BITS

    return next(name for name, bit in BITS.items() if bits & bit)
