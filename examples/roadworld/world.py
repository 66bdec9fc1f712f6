"""What a drive of four seconds is: the place, the light, and where everything is in each of sixteen frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .integers import Ints
from .roads import Ground

FRAMES = 16
#: Frames a second: speeds are centimetres a frame, so 36 km/h are 250.
RATE = 4
#: Between two poses of a path, cm.
STEP = 20
#: The ego car's own length and width, cm.
EGO = (460, 185)
PLACES, LIGHTS, WEATHERS = ("street", "intersection", "parking"), ("day", "dusk", "night"), ("clear", "rain", "glare")
SIGNS = ("stop", "yield", "limit", "crossing", "parking")

#: Bits of a thing's state in a frame. RED, AMBER and GREEN are of traffic lights.
BRAKE, LEFT, RIGHT, DOOR, MOVING, RED, AMBER, GREEN = (1 << k for k in range(8))

Colour = tuple[int, int, int]


class Pose(NamedTuple):
    """Middle of a thing on the ground, cm, and where it heads, ticks."""

    x: int
    y: int
    heading: int


class Thing(NamedTuple):
    """kind: car, van, pedestrian, cyclist, cone, sign, light, tree, lamp, building, hedge.

    length is along its heading, cm. variant: which sign, tree or front.
    """

    kind: str
    length: int
    width: int
    height: int
    colour: Colour
    variant: int = 0


@dataclass(frozen=True)
class Clip:
    """ego: (FRAMES, 3) x, y, heading. poses: (FRAMES, things, 3). states: (FRAMES, things) bits.

    sun: direction, ticks. blocked: camera -> discs of dirt as (column, row, radius) in 1/64 of the picture's width.
    signal: the light of the own road in each frame, "none" where there is none. junction: index of the road that
    crosses the own one, -1 without. lane: number of the own lane. route: what the navigator says, 1 left, 0 straight
    on, -1 right. path: (n, 3) where the ego car goes, a pose every STEP of its way; ways: (FRAMES,) how far along it.
    """

    seed: int
    index: int
    place: str
    light: str
    weather: str
    ground: Ground
    ego: Ints
    things: tuple[Thing, ...]
    poses: Ints
    states: Ints
    sun: int
    blocked: dict[str, tuple[tuple[int, int, int], ...]]
    signal: tuple[str, ...]
    junction: int
    lane: int
    route: int
    path: Ints
    ways: Ints

    def of(self, *kinds: str) -> NDArray[np.int64]:
        """Positions of the things of some kinds."""
        return np.flatnonzero([thing.kind in kinds for thing in self.things])


class Cast:
    """The things of a clip while it is made up."""

    def __init__(self) -> None:
        self.things: list[Thing] = []
        self.poses: list[list[Pose]] = []
        self.states: list[list[int]] = []

    def add(self, thing: Thing, poses: list[Pose] | Pose, states: list[int] | int = 0) -> None:
        """A thing with its pose and state in each frame, or with one for all."""
        self.things.append(thing)
        self.poses.append(poses if isinstance(poses, list) else [poses] * FRAMES)
        self.states.append(states if isinstance(states, list) else [states] * FRAMES)

    def arrays(self) -> tuple[Ints, Ints]:
        """(poses, states) with the frame first."""
        poses = np.array(self.poses, np.int32).reshape(-1, FRAMES, 3)
        states = np.array(self.states, np.int32).reshape(-1, FRAMES)
        return np.ascontiguousarray(poses.transpose(1, 0, 2)), np.ascontiguousarray(states.T)
