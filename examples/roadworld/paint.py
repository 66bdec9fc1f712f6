"""The picture that a camera makes of a view: colours, day, dusk and night, rain, a low sun, dirt on the glass, noise."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .art import BIT, BODY, COLOUR, GLOWS, LIT, SHADOW, WINDOW
from .cameras import FAR, FINE, UNIT, Camera
from .integers import COS, TURN, Ints, angle_of, into, scramble, signed
from .render import SKY, View
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
DIRT = np.array((58, 48, 38), np.int32)
GLARE = 300  # of whiteness at the sun
FACES = (0, TURN // 4, TURN // 2, 3 * TURN // 4)


def picture(clip: Clip, world: Solids, view: View) -> NDArray[np.uint8]:
    """(FRAMES, height, width, 3) of the kept picture, FINE times smaller than the view."""
    light = _falling(clip, view)
    colour, glow = _things(clip, world, view)
    flat = _flat(clip, view)
    here = view.solid >= 0
    shadow = here & (view.material == SHADOW)
    flat = np.where(shadow[..., None], flat * 150 >> 8, flat)
    thing = here & ~shadow
    lit = np.where(thing[..., None], colour, flat) * light >> 8
    shown = np.where((glow & thing)[..., None], np.maximum(colour, lit), lit)
    sky = (view.ground == SKY) & ~here
    back = _sky(clip, view)
    haze = np.minimum(view.depth * 128 // HAZE[clip.weather], 220)[..., None]
    haze = np.where((glow & thing)[..., None], haze >> 1, haze)
    shown = np.where(sky[..., None], back, shown + ((back[:, view.camera.horizon - 1 : view.camera.horizon] - shown) * haze >> 8))
    fine = shown.reshape(FRAMES, view.camera.height // FINE, FINE, view.camera.width // FINE, FINE, 3)
    small = fine.sum(axis=(2, 4), dtype=np.int32) // (FINE * FINE)
    small = _glare(clip, view, small)
    if clip.weather == "rain":
        small = _rain(clip, view.camera, small)
    small = _dirty(clip, view.camera, small)
    return np.clip(small + _noise(clip, view.camera, small.shape), 0, 255).astype(np.uint8)


def _name(clip: Clip) -> str:
    if clip.weather != "rain":
        return clip.light
    return "rain" if clip.light == "day" else f"{clip.light} rain"


def _sky(clip: Clip, view: View) -> Ints:
    """(FRAMES, height, width, 3): a gradient with a skyline of far houses and trees."""
    camera = view.camera
    high, low = (np.array(c, np.int32) for c in SKIES[_name(clip)])
    rows = np.clip((camera.horizon - np.arange(camera.height)) * 256 // camera.horizon, 0, 256).astype(np.int32)
    sky = low + ((high - low) * rows[:, None] >> 8)
    bearing = (view.heading[:, None] + _bearings(camera)) % TURN
    tops = scramble((bearing >> 4) + clip.index * 977) % np.uint32(7)
    height = (tops.astype(np.int32) + 2) * camera.focal // 56
    over = camera.horizon - np.arange(camera.height)
    town = (over[None, :, None] <= height[:, None]) & (over[None, :, None] >= 0)
    return np.where(town[..., None], low * 180 >> 8, sky[None, :, None])


@lru_cache
def _bearings(camera: Camera) -> Ints:
    """(width,) ticks to the left of each column."""
    return np.array([angle_of(UNIT, -int(right)) for right in camera.columns], np.int32)


def _flat(clip: Clip, view: View) -> Ints:
    """Colour of the ground, with a grain that stays where it is while the car moves."""
    code = np.where(view.ground == SKY, 0, view.ground)
    grain = (scramble((view.x >> 3) * 7919 + (view.y >> 3)) & np.uint32(15)).astype(np.int32) - 8
    grain = np.where(view.depth < 1500, grain, 0)
    dark = np.where(clip.weather == "rain", 40, 0) * (code == 3)
    return GROUND[code] + (grain - dark)[..., None]


def _things(clip: Clip, world: Solids, view: View) -> tuple[Ints, NDArray[np.bool_]]:
    """(colour, glow) where there is a solid."""
    k, m = view.solid, view.material
    frame = np.arange(FRAMES)[:, None, None]
    state = world.state[frame, k]
    on = (state & BIT[m]) > 0
    dark = clip.light != "day"
    # faces towards the sun are brighter; the one above is in between
    bright = np.array(
        [232 + (COS[(world.heading + face - clip.sun) % TURN] * 24 >> 14) for face in FACES] + [world.heading * 0 + 250]
    )
    bright = np.where(world.board, 244, bright)
    shade = bright[view.face, frame, k]
    body = world.colour[k] * BODY[m][..., None] >> 8
    colour = np.where((BODY[m] > 0)[..., None], body, COLOUR[m]) * shade[..., None] >> 8
    colour = np.where(on[..., None], LIT[m], colour)
    home = (m == WINDOW) & dark & (scramble(view.cell * 31 + world.thing[k] * 1013 + clip.index) % np.uint32(3) == 0)
    colour = np.where(home[..., None], np.array((250, 206, 120), np.int32), colour)
    return colour, on | home | (GLOWS[m] & dark)


def _falling(clip: Clip, view: View) -> Ints:
    """(FRAMES, height, width, 3) light on red, green and blue, in 1/256."""
    base = np.array(FALLING[clip.light], np.int32)
    if clip.weather == "rain":
        base = base * DULL >> 8
    if clip.light == "day":
        return np.broadcast_to(base, (*view.depth.shape, 3))
    camera = view.camera
    lamps = _lamps(clip)
    x = (view.x - int(clip.ego[0, 0])) // MAP_CELL + MAP // 2
    y = (view.y - int(clip.ego[0, 1])) // MAP_CELL + MAP // 2
    pool = lamps[np.clip(y, 0, MAP - 1), np.clip(x, 0, MAP - 1)]
    pool = np.where((view.ground == SKY) | (view.solid >= 0), 50, pool)
    beam = np.zeros(view.depth.shape, np.int32)
    if abs(signed(camera.yaw)) < TURN // 8:  # the own head lamps
        across = np.abs(camera.columns)[None, None] * 60 // UNIT
        reach = np.clip(3400 - view.depth, 0, 3400) // 16
        beam = np.maximum(reach - across * 3, 0)
    own = np.where(clip.light == "night", beam + pool, (beam + pool) >> 2)
    return base + own[..., None] * np.array((252, 244, 214), np.int32) // 256


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
