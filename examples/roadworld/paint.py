"""The picture that a camera makes of a view: colours, day, dusk, night, rain, a low sun, dirt on the glass, noise."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .art import BIT, BODY, COLOUR, GLOWS, LIT, SHADOW, WINDOW
from .cameras import FINE, UNIT, Camera
from .integers import COS, TURN, Ints, angle_of, into, scramble, signed
from .render import SKY, View
from .roads import ASPHALT
from .solids import Solids
from .world import FRAMES, Clip

GROUND = np.array(
    [(92, 116, 62), (176, 172, 164), (138, 134, 128), (88, 90, 94), (236, 236, 230), (236, 236, 230), (226, 178, 52),
     (240, 240, 236), (240, 240, 236), (228, 228, 222)], np.int32,
)  # fmt: skip
#: Colours of the sky straight above and at the horizon.
SKIES = {
    "day": ((96, 150, 214), (196, 216, 232)),
    "dusk": ((74, 78, 122), (238, 158, 104)),
    "night": ((12, 14, 28), (34, 36, 54)),
    "rain": ((136, 142, 150), (172, 176, 180)),
    "dusk rain": ((92, 92, 108), (146, 128, 124)),
    "night rain": ((20, 22, 30), (40, 42, 52)),
}
#: How much light falls on red, green and blue, in 1/256.
FALLING = {"day": (256, 256, 252), "dusk": (168, 140, 128), "night": (44, 48, 64)}
DULL = 208  # of 256 in rain
HAZE = {"clear": 16_000, "glare": 12_000, "rain": 5_000}  # cm at which half of a colour is haze
POOL = 900  # cm that a street lamp lights on the ground
MAP, MAP_CELL = 256, 100  # of the map of street lamps, around the start of the ego car
GRAIN = 16  # how much the ground varies, a power of two
HOME, LAMP = (250, 206, 120), (252, 244, 214)  # a lit window, the light of lamps
LANE = 20  # bits of a colour in a packed one
DIRT = np.array((58, 48, 38), np.int32)
GLARE = 300  # of whiteness at the sun
FACES = (0, TURN // 4, TURN // 2, 3 * TURN // 4)


def picture(clip: Clip, world: Solids, view: View) -> NDArray[np.uint8]:
    """(FRAMES, height, width, 3) of the kept picture, FINE times smaller than the view."""
    camera = view.camera
    empty = view.solid < 0
    sky = empty & (view.ground == SKY)
    colour, glow = _things(clip, world, view)
    dull = np.where(empty | (view.material == SHADOW), _flat(clip, view), colour)
    nothing = np.int64(0)
    # Colours that light falls on, colours that shine, and the sky are added up apart; light and haze come after.
    dull, shining = _mean4(np.where(glow | sky, nothing, dull)), _mean4(np.where(glow & ~sky, colour, nothing))
    back = _mean4(np.where(sky, _sky(clip, view), nothing))
    solid = FINE * FINE - _sum4(sky.astype(np.int32))
    depth = _sum4(np.where(sky, 0, view.depth)) // np.maximum(solid, 1)
    body = (dull * _falling(clip, view, depth) >> 8) + shining
    haze = np.minimum(depth * 128 // HAZE[clip.weather], 220)[..., None]
    body += (np.array(SKIES[_name(clip)][1], np.int32) * solid[..., None] - body) * haze >> 8
    small = _glare(clip, view, (body + back) // (FINE * FINE))
    if clip.weather == "rain":
        small = _rain(clip, camera, small)
    small = _dirty(clip, camera, small)
    return np.clip(small + _noise(clip, camera, small.shape), 0, 255).astype(np.uint8)


def _packed(colour: Any) -> NDArray[np.int64]:
    """Red, green and blue in one number, with room to add: (..., 3) -> (...)."""
    part = np.asarray(colour, np.int64)
    return part[..., 0] | part[..., 1] << LANE | part[..., 2] << 2 * LANE


def _sum4(fine: NDArray[Any]) -> NDArray[Any]:
    """Sums over the FINE x FINE pixels that become one."""
    rows = fine[:, 0::FINE] + fine[:, 1::FINE]
    return rows[..., 0::FINE] + rows[..., 1::FINE]


def _mean4(packed: NDArray[np.int64]) -> Ints:
    """The same of packed colours, unpacked: (..., 3)."""
    total = _sum4(packed)
    mask = (1 << LANE) - 1
    return np.stack([total & mask, total >> LANE & mask, total >> 2 * LANE], axis=-1).astype(np.int32)


def _name(clip: Clip) -> str:
    if clip.weather != "rain":
        return clip.light
    return "rain" if clip.light == "day" else f"{clip.light} rain"


def _sky(clip: Clip, view: View) -> NDArray[np.int64]:
    """(FRAMES, height, width) packed: a gradient with a skyline of far houses and trees."""
    camera = view.camera
    high, low = (np.array(c, np.int32) for c in SKIES[_name(clip)])
    rows = np.clip((camera.horizon - np.arange(camera.height)) * 256 // camera.horizon, 0, 256).astype(np.int32)
    sky = _packed(low + ((high - low) * rows[:, None] >> 8))
    bearing = (view.heading[:, None] + _bearings(camera)) % TURN
    tops = scramble((bearing >> 4) + clip.index * 977) % np.uint32(7)
    height = (tops.astype(np.int32) + 2) * camera.focal // 56
    over = camera.horizon - np.arange(camera.height)
    town = (over[None, :, None] <= height[:, None]) & (over[None, :, None] >= 0)
    return np.where(town, _packed(low * 180 >> 8), sky[None, :, None])


@lru_cache
def _bearings(camera: Camera) -> Ints:
    """(width,) ticks to the left of each column."""
    return np.array([angle_of(UNIT, -int(right)) for right in camera.columns], np.int32)


def _flat(clip: Clip, view: View) -> NDArray[np.int64]:
    """Packed colour of the ground, with a grain that stays where it is while the car moves; darker in a shadow."""
    wet = np.where(np.arange(len(GROUND))[:, None] == ASPHALT, 40, 0) if clip.weather == "rain" else 0
    plain = np.maximum(GROUND - wet, GRAIN)
    code = np.where(view.ground == SKY, np.uint8(0), view.ground)
    dark = (view.solid >= 0) & (view.material == SHADOW)
    colour = _packed(np.stack([plain - GRAIN // 2, plain * 150 >> 8]))[dark.astype(np.uint8), code]
    grain = scramble((view.x >> 3) * 7919 + (view.y >> 3)) & np.uint32(GRAIN - 1)
    near = np.where(view.depth < 1500, grain, np.uint32(GRAIN // 2)).astype(np.int64)
    return colour + near * int(_packed(np.ones(3, np.int64)))


def _things(clip: Clip, world: Solids, view: View) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """(packed colour, whether it shines) where there is a solid."""
    k, m = view.solid, view.material
    dark = clip.light != "day"
    # Faces towards the sun are brighter; the one above is in between. A shade belongs to a thing for all of the clip.
    angles = [COS[(world.heading[0] + face - clip.sun) % TURN] for face in FACES]
    bright = np.array([232 + (cosine * 24 >> 14) for cosine in angles] + [np.full(len(world.board), 250, np.int32)])
    bright = np.where(world.board, 244, bright)  # (5, n)
    plain = np.where((BODY > 0)[:, None], world.colour[:, None] * BODY[:, None] >> 8, COLOUR)  # (n, materials, 3)
    table = _packed(np.minimum(plain * bright[:, :, None, None] >> 8, 255))
    table = np.concatenate([table.reshape(-1), _packed(LIT), _packed(np.array([HOME]))])
    on = (world.state[np.arange(FRAMES)[:, None, None], k] & BIT[m]) > 0
    index = (view.face.astype(np.int32) * len(world.board) + k) * len(BODY) + m
    lit = bright.size * len(BODY)
    index = np.where(on, lit + m.astype(np.int32), index)
    shines = on | GLOWS[m] if dark else on
    if dark:
        window = np.flatnonzero(m == WINDOW)
        cell, house = view.cell.reshape(-1)[window], world.thing[k.reshape(-1)[window]]
        home = window[scramble(cell * 31 + house * 1013 + clip.index) % np.uint32(3) == 0]
        index.reshape(-1)[home] = len(table) - 1
        shines.reshape(-1)[home] = True
    return table[index], shines & (k >= 0)


def _falling(clip: Clip, view: View, depth: Ints) -> Ints:
    """(..., 3) light that falls on red, green and blue of each kept pixel, in 1/256; depth: (FRAMES, rows, columns)."""
    base = np.array(FALLING[clip.light], np.int32)
    if clip.weather == "rain":
        base = base * DULL >> 8
    if clip.light == "day":
        return base
    camera = view.camera
    x = (view.x[:, 1::FINE, 1::FINE] - int(clip.ego[0, 0])) // MAP_CELL + MAP // 2
    y = (view.y[:, 1::FINE, 1::FINE] - int(clip.ego[0, 1])) // MAP_CELL + MAP // 2
    pool = _lamps(clip)[np.clip(y, 0, MAP - 1), np.clip(x, 0, MAP - 1)]
    flat = (view.ground[:, 1::FINE, 1::FINE] != SKY) & (view.solid[:, 1::FINE, 1::FINE] < 0)
    own = np.where(flat, pool, 50)
    if abs(signed(camera.yaw)) < TURN // 8:  # the own head lamps
        across = np.abs(camera.columns[1::FINE]) * 60 // UNIT
        own = own + np.maximum(np.clip(3400 - depth, 0, 3400) // 16 - across * 3, 0)
    return base + (own if clip.light == "night" else own >> 2)[..., None] * np.array(LAMP, np.int32) // 256


def _lamps(clip: Clip) -> Ints:
    """(MAP, MAP) light of the street lamps on the ground around the start of the ego car, 0 to 170."""
    side = (np.arange(MAP, dtype=np.int32) - MAP // 2) * MAP_CELL
    light = np.zeros((MAP, MAP), np.int32)
    for k in clip.of("lamp"):
        dx = side[None] - (clip.poses[0, k, 0] - clip.ego[0, 0])
        dy = side[:, None] - (clip.poses[0, k, 1] - clip.ego[0, 1])
        far = (dx // 10) ** 2 + (dy // 10) ** 2
        light = np.maximum(light, 170 - far * 170 // (POOL // 10) ** 2)
    return light


def _glare(clip: Clip, view: View, small: Ints) -> Ints:
    """A low sun before the camera bleaches the picture around it."""
    if clip.weather != "glare":
        return small
    camera = view.camera
    ahead, left = into(np.int32(UNIT), np.int32(0), (view.heading - clip.sun) % TURN)
    # the sun seen from the camera: its direction in the frame of the camera is the mirror of the turn
    column = camera.width // 2 + left * camera.focal // np.maximum(ahead, 1)
    dx = np.arange(small.shape[2]) * FINE - column[:, None]
    dy = np.arange(small.shape[1]) * FINE - (camera.horizon - camera.focal // 9)
    far = dx[:, None] ** 2 + (dy**2)[:, None]
    size = camera.focal * camera.focal // 36 + 60
    white = GLARE * size // (size + far)
    white = np.where((ahead > UNIT // 16)[:, None, None], white, 0)
    return small + ((255 - small) * np.minimum(white, 250)[..., None] >> 8)


def _rain(clip: Clip, camera: Camera, small: Ints) -> Ints:
    """Streaks that fall, and drops on the glass that stay."""
    frames, height, width, _ = small.shape
    number = width // 2
    key = np.arange(frames * number) + (clip.index * 64 + camera.yaw) * 4096
    frame = np.repeat(np.arange(frames), number)
    column, row = (scramble(key * 2 + k) % np.uint32(n) for k, n in ((0, width), (1, height)))
    for step in range(5):
        r, c = np.minimum(row.astype(np.int32) + step, height - 1), np.maximum(column.astype(np.int32) - step // 3, 0)
        small[frame, r, c] += (200 - small[frame, r, c]) // 5
    return small


@lru_cache(maxsize=64)
def dirt(discs: tuple[tuple[int, int, int], ...], height: int, width: int) -> Ints:
    """(height, width) how much of the glass is covered, 0 to 256, by discs in 1/64 of the width."""
    covered = np.zeros((height, width), np.int32)
    column, row = np.arange(width) * 64 // width, np.arange(height) * 64 // width
    for c, r, radius in discs:
        far = (column[None] - c) ** 2 + (row[:, None] - r) ** 2
        covered = np.maximum(covered, np.clip((radius * radius - far) * 640 // (radius * radius), 0, 250))
    return covered.astype(np.int32)


def _dirty(clip: Clip, camera: Camera, small: Ints) -> Ints:
    discs = clip.blocked.get(camera.name)
    if not discs:
        return small
    cover = dirt(discs, small.shape[1], small.shape[2])[..., None]
    mud = DIRT * np.array(FALLING[clip.light], np.int32) >> 8
    return small + ((mud - small) * cover >> 8)


def _noise(clip: Clip, camera: Camera, shape: tuple[int, ...]) -> Ints:
    """Noise of the sensor, stronger at night: the sum of two dice."""
    count = shape[0] * shape[1] * shape[2]
    mixed = scramble(np.arange(count, dtype=np.uint32) + np.uint32((clip.index * 8191 + camera.yaw * 131) % (1 << 32)))
    reach = {"day": 5, "dusk": 7, "night": 9}[clip.light]
    size = np.uint32(reach)
    two = (mixed & np.uint32(0xFFFF)) % size + (mixed >> np.uint32(16)) % size
    return (two.astype(np.int32) - (reach - 1)).reshape(*shape[:3], 1)
