"""What each pixel of each camera shows: which solid, which material, how far away. Whole numbers throughout.

Cameras are level, so what is upright stays upright: a solid is met once for each picture column, and a column of it is
a run of rows. All frames of a clip are rendered together, a camera at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import roads
from .art import ATLAS, HEIGHT, LETTERS, NUMBER, SHADOW, START, TILED, WIDTH
from .cameras import CAMERAS, FAR, UNIT, Camera
from .integers import COS, SIN, TURN, Ints, into, rotate, spread
from .solids import STRIDE, Solids, solids
from .world import FRAMES, Clip

Places = NDArray[np.int64]

NEAR = 25  # cm before the camera; nearer things are not seen
TILE = 300  # cm of a house that one picture of its wall covers
BODY_LETTER = LETTERS.index("B")
SKY = 255  # code of the ground where there is none


@dataclass(frozen=True)
class View:
    """What one camera saw, (FRAMES, height, width) each.

    ground: code of `roads`, SKY above the horizon. solid: position in `solids`, -1 for none. material: of `art`, where
    there is a solid. face: 0 ahead, 1 left, 2 behind, 3 right, 4 above. depth: cm ahead of the camera, FAR for the sky.
    cell: number of the window. x, y: world place on the ground. heading: (FRAMES,) of the camera.
    """

    camera: Camera
    ground: NDArray[np.uint8]
    solid: Ints
    material: NDArray[np.uint8]
    face: NDArray[np.uint8]
    depth: Ints
    cell: Ints
    x: Ints
    y: Ints
    heading: Ints


@dataclass(frozen=True)
class _Columns:
    """Columns of the picture in which a solid is met, (n,) each. near, far: cm ahead. across: cm along the face."""

    frame: NDArray[np.int64]
    solid: NDArray[np.int64]
    column: Ints
    near: Ints
    far: Ints
    face: Ints
    across: Ints
    size: Ints
    picture: Ints


def render(clip: Clip) -> tuple[Solids, tuple[View, ...]]:
    """The solids of a clip and what every camera saw of them."""
    world = solids(clip)
    return world, tuple(view(clip, world, camera) for camera in CAMERAS)


def view(clip: Clip, world: Solids, camera: Camera) -> View:
    """What one camera saw in all frames."""
    ego = clip.ego
    dx, dy = rotate(np.int32(camera.ahead), np.int32(camera.left), ego[:, 2])
    heading = (ego[:, 2] + camera.yaw) % TURN
    x, y, ground = _ground(clip, camera)
    shape = (FRAMES, camera.height, camera.width)
    solid, depth = np.full(shape, -1, np.int32), np.broadcast_to(camera.depths[:, None], shape).copy()
    material, face, cell = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8), np.zeros(shape, np.int32)
    columns = _columns(world, camera, ego[:, 0] + dx, ego[:, 1] + dy, heading)
    _paint(world, camera, columns, solid, material, face, depth, cell)
    return View(camera, ground, solid, material, face, depth, cell, x, y, heading)


def _ground(clip: Clip, camera: Camera) -> tuple[Ints, Ints, NDArray[np.uint8]]:
    ahead, left = camera.ground
    first = camera.horizon  # rows above it never meet the ground
    dx, dy = rotate(ahead[None, first:], left[None, first:], clip.ego[:, 2, None, None])
    x, y = dx + clip.ego[:, 0, None, None], dy + clip.ego[:, 1, None, None]
    code = np.full((FRAMES, camera.height, camera.width), SKY, np.uint8)
    code[:, first:] = roads.ground(clip.ground, x, y)
    places = np.zeros((2, FRAMES, camera.height, camera.width), np.int32)
    places[0, :, first:], places[1, :, first:] = x, y
    return places[0], places[1], code


def _columns(world: Solids, camera: Camera, x: Ints, y: Ints, heading: Ints) -> _Columns:
    """Where the camera's columns meet solids; x, y, heading: (FRAMES,) of the camera."""
    ahead, left = into(world.x - x[:, None], world.y - y[:, None], heading[:, None])
    right, radius = -left, (world.length + world.width) // 2 + 10
    wide = (np.abs(right) - radius) * (2 * camera.focal) < (ahead + radius) * camera.width
    frame, solid = np.nonzero(world.there & wide & (ahead + radius > NEAR) & (ahead < FAR))
    ahead, right, radius = ahead[frame, solid], right[frame, solid], radius[solid]
    close = ahead - radius <= NEAR
    behind, before = np.maximum(ahead - radius, NEAR), np.maximum(ahead + radius, NEAR)
    half, f = camera.width // 2, camera.focal
    low = half + np.minimum((right - radius) * f // behind, (right - radius) * f // before) - 1
    high = half + np.maximum((right + radius) * f // behind, (right + radius) * f // before) + 2
    low = np.where(close, 0, np.clip(low, 0, camera.width))
    high = np.where(close, camera.width, np.clip(high, 0, camera.width))
    item, offset = spread(np.maximum(high - low, 0))
    column = (low[item] + offset).astype(np.int32)
    frame, solid, ahead, right = frame[item], solid[item], ahead[item], right[item]
    board = world.board[solid]
    parts = [
        pick(world, camera, frame[of], solid[of], column[of], ahead[of], right[of], heading)
        for pick, of in ((_boxes, ~board), (_boards, board))
    ]
    return _Columns(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _boxes(
    world: Solids, camera: Camera, frame: Places, solid: Places, column: Ints, ahead: Ints, right: Ints, heading: Ints
) -> tuple[Any, ...]:
    turned = world.heading[frame, solid] - heading[frame]
    dx, dy = into(np.int32(UNIT), -camera.columns[column], turned)
    ox, oy = into(-ahead, right, turned)
    dx, dy = np.where(dx == 0, 1, dx), np.where(dy == 0, 1, dy)
    length, width = world.length[solid], world.width[solid]
    x1, x2 = (-(length // 2) - ox) * UNIT // dx, (length // 2 - ox) * UNIT // dx
    y1, y2 = (-(width // 2) - oy) * UNIT // dy, (width // 2 - oy) * UNIT // dy
    near_x, near_y = np.minimum(x1, x2), np.minimum(y1, y2)
    near, far = np.maximum(near_x, near_y), np.minimum(np.maximum(x1, x2), np.maximum(y1, y2))
    ends = near_x > near_y
    face = np.where(ends, np.where(dx > 0, 2, 0), np.where(dy > 0, 3, 1)).astype(np.int32)
    side = oy + near * dy // UNIT
    across = np.where(
        ends, np.where(dx > 0, width // 2 - side, side + width // 2), ox + near * dx // UNIT + length // 2
    )
    hit = (near < far) & (near > NEAR)
    picture = world.faces[solid, face]
    size = np.where(ends, width, length)
    return tuple(a[hit] for a in (frame, solid, column, near, far, face, across, size, picture))


def _boards(
    world: Solids, camera: Camera, frame: Places, solid: Places, column: Ints, ahead: Ints, right: Ints, heading: Ints
) -> tuple[Any, ...]:
    turned = (world.heading[frame, solid] - heading[frame]) % TURN
    faces, state = world.faces[solid], world.state[frame, solid]
    # Whoever comes towards the camera shows his front; who crosses shows a side, and a walker the one leg or the other.
    towards, crossing = COS[turned] < 0, np.abs(SIN[turned]) > np.abs(COS[turned])
    walks, rides = faces[:, 0] == NUMBER["walk_a"], faces[:, 0] == NUMBER["bike_end"]
    second = np.where(walks, (state & STRIDE) == 0, np.where(rides, crossing, ~towards))
    picture = np.where(second, faces[:, 2], faces[:, 0]).astype(np.int32)
    width = np.where(rides & crossing, world.length[solid], world.width[solid])
    across = ahead * camera.columns[column] // UNIT - right + width // 2
    mirrored = rides & crossing & (SIN[turned] > 0)  # the picture of a side has its front at the right
    inside = (across >= 0) & (across < width) & (ahead > NEAR)
    across = np.where(mirrored, width - 1 - across, across)
    face = np.where(second, 2, 0).astype(np.int32)
    return tuple(a[inside] for a in (frame, solid, column, ahead, ahead, face, across, width, picture))


def _paint(
    world: Solids,
    camera: Camera,
    at: _Columns,
    solid: Ints,
    material: NDArray[np.uint8],
    face: NDArray[np.uint8],
    depth: Ints,
    cell: Ints,
) -> None:
    """Fill the pictures with the nearest material of each pixel."""
    f2, up, low, high = 2 * camera.focal, camera.up, world.low[at.solid], world.high[at.solid]

    def row(height: Ints, distance: Ints) -> Ints:
        """The first row below a height at a distance."""
        return ((up - height) * f2 // distance + 2 * camera.horizon - 1) // 2 + 1

    side = row(high, at.near)
    top = np.where(up > high, row(high, np.maximum(at.far, 1)), side)
    first, last = np.clip(np.minimum(top, side), 0, camera.height), np.clip(row(low, at.near), 0, camera.height)
    count = np.maximum(last - first, 0)
    item, offset = spread(count)
    rows = np.repeat(first.astype(np.int32), count) + offset
    below = 2 * rows + (1 - 2 * camera.horizon)
    above = rows < np.repeat(side, count)  # the face above, seen over the edge
    near = np.repeat(at.near, count)
    down = np.repeat(high - up, count) + near * below // f2  # cm below the upper edge
    over = np.flatnonzero(above)
    near[over] = (up - high)[item[over]] * f2 // np.maximum(below[over], 1)
    down[over] = 0
    # A picture is stretched over a face, or laid like tiles on a wall; its column is the same all the way down.
    picture = at.picture
    tiled, wide, tall = TILED[picture], WIDTH[picture], HEIGHT[picture]
    u = at.across * wide // np.maximum(np.where(tiled, TILE, at.size), 1)
    start = START[picture] + np.where(tiled, u % wide, np.clip(u, 0, wide - 1))
    down = np.minimum(np.maximum(down, 0), np.repeat(np.maximum(high - low - 1, 0), count))
    tall_of = np.repeat(tall, count)
    v = down * tall_of // np.repeat(np.maximum(np.where(tiled, TILE, high - low), 1), count) % tall_of
    shown = ATLAS[np.repeat(start, count) + v * np.repeat(wide, count)]
    lids = over[(shown[over] > 0) & (shown[over] != SHADOW) & ~tiled[item[over]]]
    shown[lids] = BODY_LETTER
    keep = np.flatnonzero((shown > 0) & (near > NEAR) & (near < FAR))
    place = (
        np.repeat((at.frame * camera.height * camera.width + at.column).astype(np.int32), count) + rows * camera.width
    )[keep]
    # The nearest wins; of equals the first. One whole number says both.
    nearest = np.full(solid.size, 1 << 60, np.int64)
    np.minimum.at(nearest, place, (near[keep].astype(np.int64) << 32) | keep)
    where = np.flatnonzero(nearest < 1 << 60)
    best = nearest[where] & 0xFFFFFFFF
    column = item[best]
    solid.reshape(-1)[where] = at.solid[column]
    material.reshape(-1)[where] = shown[best]
    face.reshape(-1)[where] = np.where(above[best], 4, at.face[column])
    depth.reshape(-1)[where] = near[best]
    cell.reshape(-1)[where] = at.across[column] // TILE + 64 * (down[best] // TILE)
