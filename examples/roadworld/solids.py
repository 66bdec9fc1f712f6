"""Things as solids: upright boxes and boards that face the camera, with a picture on each face."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .art import NUMBER
from .integers import Ints, rotate
from .world import DOOR, FRAMES, MOVING, SIGNS, Clip, Thing

#: A walker in the middle of a step; beside the bits of `world`.
STRIDE = 1 << 10


class Part(NamedTuple):
    """A box of a thing: its middle ahead and to the left, size, height from `low` to `high`, its four pictures."""

    ahead: int
    left: int
    length: int
    width: int
    low: int
    high: int
    faces: tuple[int, int, int, int]
    board: bool = False
    only: int = 0  # there only in frames in which the thing has this state bit


@dataclass(frozen=True)
class Solids:
    """(FRAMES, n): x, y, heading, state. (n,): the rest. faces: (n, 4) pictures ahead, left, behind, right.

    thing: position of the thing, -1 for a shadow. there: (FRAMES, n).
    """

    x: Ints
    y: Ints
    heading: Ints
    state: Ints
    there: NDArray[np.bool_]
    length: Ints
    width: Ints
    low: Ints
    high: Ints
    faces: Ints
    board: NDArray[np.bool_]
    thing: Ints
    colour: Ints


def _box(*names: str) -> tuple[int, int, int, int]:
    ahead, left, behind, right = (NUMBER[name] for name in names)
    return ahead, left, behind, right


def _same(name: str) -> tuple[int, int, int, int]:
    return _box(name, name, name, name)


def _two(front: str, back: str) -> tuple[int, int, int, int]:
    return _box(front, front, back, back)


def parts(thing: Thing) -> tuple[Part, ...]:
    """The solids of a thing, its shadow first."""
    length, width, high = thing.length, thing.width, thing.height
    if thing.kind == "car":
        belt = high * 5 // 8
        return (
            Part(0, 0, length + 30, width + 50, 0, 0, _same("shadow")),
            Part(0, 0, length, width, 0, belt, _box("car_front", "car_side", "car_rear", "car_side")),
            Part(-25, 0, length * 9 // 16, width * 15 // 16, belt, high,
                 _box("cabin_end", "cabin_side", "cabin_end", "cabin_side")),
            Part(40, width // 2 + 40, 10, 80, 30, belt + 30, _same("door"), only=DOOR),
        )  # fmt: skip
    if thing.kind == "van":
        return (
            Part(0, 0, length + 30, width + 60, 0, 0, _same("shadow")),
            Part(0, 0, length, width, 0, high, _box("van_front", "van_side", "van_rear", "van_side")),
            Part(150, width // 2 + 45, 10, 90, 30, high - 60, _same("door"), only=DOOR),
        )
    if thing.kind == "building":
        return (Part(0, 0, length, width, 0, high, _same(f"wall_{thing.variant}")),)
    if thing.kind == "hedge":
        return (Part(0, 0, length, width, 0, high, _same("hedge")),)
    shadow = Part(0, 0, width // 2, width // 2, 0, 0, _same("shadow"))
    faces = {
        "pedestrian": _two("walk_a", "walk_b"),
        "cyclist": _two("bike_end", "bike_side"),
        "cone": _same("cone"),
        "tree": _same("tree_round" if thing.variant == 0 else "tree_tall"),
        "lamp": _same("lamp"),
        "light": _two("light_front", "light_back"),
        "sign": _two(f"sign_{SIGNS[thing.variant]}", "sign_back"),
    }[thing.kind]
    return (shadow, Part(0, 0, length, width, 0, high, faces, board=True))


def solids(clip: Clip) -> Solids:
    """All solids of a clip in every frame."""
    found = [(k, part) for k, thing in enumerate(clip.things) for part in parts(thing)]
    owner = np.array([k for k, _ in found], np.int64)
    part = np.array([p[:6] for _, p in found], np.int32).reshape(-1, 6)
    poses, states = clip.poses[:, owner], clip.states[:, owner]
    dx, dy = rotate(part[:, 0], part[:, 1], poses[..., 2])
    faces = np.array([p.faces for _, p in found], np.int32).reshape(-1, 4)
    only = np.array([p.only for _, p in found], np.int32)
    # Who walks shows one leg picture after the other; who stands has his feet together.
    walkers = np.array([clip.things[k].kind == "pedestrian" for k in owner], bool)
    phase = (np.arange(FRAMES)[:, None] + owner) % 2 == 0
    state = np.where(walkers & ((states & MOVING) > 0) & phase, states | STRIDE, states)
    thing = np.where((part[:, 4] == 0) & (part[:, 5] == 0), -1, owner).astype(np.int32)
    return Solids(
        x=poses[..., 0] + dx,
        y=poses[..., 1] + dy,
        heading=poses[..., 2],
        state=state.astype(np.int32),
        there=(only == 0) | ((states & only) > 0),
        length=part[:, 2],
        width=part[:, 3],
        low=part[:, 4],
        high=part[:, 5],
        faces=faces,
        board=np.array([p.board for _, p in found], bool),
        thing=thing,
        colour=np.array([clip.things[k].colour for k in owner], np.int32).reshape(-1, 3),
    )
