"""What lies on the ground at a point: asphalt, markings of several kinds, kerbs, pavements, stalls of a parking lot.

A road is a strip along a line that may bend: `along` runs with it, `across` is to the left of its middle. Traffic keeps
right. A point is looked up by whole-number arithmetic in the road's cross-section, so a picture, a top-down map and a
test ask the same function.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .integers import COS, ONE, SIN, TURN, Ints, angle_of, into, rotate

#: Codes of the ground, in the order in which one covers another; from ASPHALT on a car may drive there.
EARTH, PAVEMENT, KERB, ASPHALT, SOLID, DASHED, DOUBLE, CROSSWALK, STOP, STALL = range(10)
MARKINGS = {"solid": SOLID, "dashed": DASHED, "double": DOUBLE, "crosswalk": CROSSWALK, "stop": STOP, "stall": STALL}

LANE = 340
PARKING = 230  # a lane for parked cars between the last lane and the kerb
KERB_WIDTH = 25
PAVEMENT_WIDTH = 300
BIN = 5  # of the cross-section
REACH = 2000  # of the cross-section, each way
DASH, DASH_PERIOD = 300, 700
STALL_WIDTH, STALL_DEPTH, AISLE = 260, 500, 640


@dataclass(frozen=True)
class Road:
    """A strip through (x, y) in direction `angle`. bend: across = bend * (along / 1024)^2 of its middle line, in cm.

    lanes: (with the direction, against it). parking: (right side, left side). double: the middle may not be crossed.
    start: the road exists where along >= start, so that a side road can end at a junction.
    """

    x: int
    y: int
    angle: int
    lanes: tuple[int, int]
    parking: tuple[bool, bool] = (False, False)
    double: bool = False
    bend: int = 0
    start: int = -100_000

    @property
    def right(self) -> int:
        """Distance of the right kerb from the middle line."""
        return self.lanes[0] * LANE + self.parking[0] * PARKING

    @property
    def left(self) -> int:
        return self.lanes[1] * LANE + self.parking[1] * PARKING

    def lane(self, number: int) -> int:
        """`across` of a lane's middle: 0, 1, ... with the direction, from the middle outwards; -1, -2, ... against."""
        return -(number * LANE + LANE // 2) if number >= 0 else -number * LANE - LANE // 2

    def middle(self, along: Any) -> Any:
        """How far the middle line has bent to the left at `along`."""
        step = along // 32
        return self.bend * ((step * step) >> 4) >> 6

    def point(self, along: int, across: int) -> tuple[int, int]:
        dx, dy = rotate(np.int32(along), np.int32(across + self.middle(along)), self.angle)
        return self.x + int(dx), self.y + int(dy)

    def heading(self, along: int) -> int:
        """Direction of the road at `along`, in ticks."""
        rise = int(self.middle(along + 256)) - int(self.middle(along - 256))
        return (self.angle + angle_of(512, rise)) % TURN


@dataclass(frozen=True)
class Lot:
    """A parking lot around (x, y): aisles along `angle`, rows of stalls on both sides of each, a kerb around all.

    half_length, half_width: to the kerb. rows: `across` of the middle of each double row of stalls.
    """

    x: int
    y: int
    angle: int
    half_length: int
    half_width: int
    rows: tuple[int, ...]


@dataclass(frozen=True)
class Ground:
    """All that lies flat. Where two roads meet they cross: no lane lines there, and crosswalks before it."""

    roads: tuple[Road, ...]
    lot: Lot | None = None


@lru_cache(maxsize=256)
def _section(road: Road) -> NDArray[np.uint8]:
    """Code of each bin of `across`, from -REACH on, before dashes are cut."""
    across = np.arange(-REACH, REACH, BIN)
    code = np.full(len(across), EARTH, np.uint8)

    def put(low: int, high: int, what: int) -> None:
        code[(across >= low) & (across < high)] = what

    put(-road.right - KERB_WIDTH - PAVEMENT_WIDTH, road.left + KERB_WIDTH + PAVEMENT_WIDTH, PAVEMENT)
    put(-road.right - KERB_WIDTH, road.left + KERB_WIDTH, KERB)
    put(-road.right, road.left, ASPHALT)
    for side, lanes, parking in ((-1, road.lanes[0], road.parking[0]), (1, road.lanes[1], road.parking[1])):
        for k in range(1, lanes):
            put(side * k * LANE - 10, side * k * LANE + 10, DASHED)
        edge = side * (lanes * LANE - (0 if parking else 25))
        if lanes:
            put(edge - 10, edge + 10, DASHED if parking else SOLID)
    if road.lanes[0] and road.lanes[1]:
        if road.double:
            put(-25, -5, DOUBLE)
            put(5, 25, DOUBLE)
        else:
            put(-10, 10, DASHED)
    return code


def ground(where: Ground, x: Any, y: Any) -> NDArray[np.uint8]:
    """Code of the ground at each point; x, y: int32 cm, any shape."""
    found = np.zeros(np.shape(x), np.uint8)
    at = [_coordinates(road, x, y) for road in where.roads]
    for k, road in enumerate(where.roads):
        along, across = at[k]
        code = _section(road)[np.clip((across + REACH) // BIN, 0, 2 * REACH // BIN - 1)]
        code[(code == DASHED) & (along % DASH_PERIOD >= DASH)] = ASPHALT
        code[along < road.start - KERB_WIDTH] = EARTH
        for j, other in enumerate(where.roads):
            if j != k:
                _cross(code, road, along, across, other, *at[j])
        np.maximum(found, code, out=found)
    if where.lot is not None:
        np.maximum(found, _lot(where.lot, x, y), out=found)
    return found


def _coordinates(road: Road, x: Any, y: Any) -> tuple[Ints, Ints]:
    along, across = into(x - road.x, y - road.y, road.angle)
    if road.bend:
        across = across - road.middle(along)
    return along, across


def _cross(code: NDArray[np.uint8], road: Road, along: Ints, across: Ints, other: Road, far: Ints, side: Ints) -> None:
    """Change what a road shows where it meets another; far, side: the same points along and across the other road."""
    there = (far >= other.start) & (code >= ASPHALT)
    # distance to the other road's asphalt: before it on its right hand, after it on its left
    gap = np.where(side < 0, -other.right - side, side - other.left)
    code[there & (gap < 500) & (code != CROSSWALK)] = ASPHALT
    code[there & (gap > 120) & (gap < 420) & (across % 100 < 50)] = CROSSWALK
    # who comes from where `side` has this sign has the junction ahead; the stop line is across his half only
    crossing = SIN[(other.angle - road.angle) % TURN] > 0
    coming = np.where(crossing, side > 0, side < 0)
    code[there & (gap > 480) & (gap < 540) & (coming == (across < 0))] = STOP


def _lot(lot: Lot, x: Any, y: Any) -> NDArray[np.uint8]:
    along, across = into(x - lot.x, y - lot.y, lot.angle)
    out = np.maximum(np.abs(along) - lot.half_length, np.abs(across) - lot.half_width)
    code = np.full(np.shape(x), ASPHALT, np.uint8)
    for row in lot.rows:
        near = np.abs(across - row) < STALL_DEPTH
        end = lot.half_length - np.abs(along) - AISLE  # rows stop short of the kerb: cars turn there
        line = (along % STALL_WIDTH < 12) | (np.abs(across - row) < 6)
        code[near & (end > 0) & line] = STALL
        island = near & (end > 0) & (end < STALL_WIDTH)
        code[island] = EARTH
        code[island & ((end < KERB_WIDTH) | (np.abs(across - row) > STALL_DEPTH - KERB_WIDTH))] = KERB
    code[out > 0] = KERB
    code[out > KERB_WIDTH] = PAVEMENT
    code[out > KERB_WIDTH + PAVEMENT_WIDTH // 2] = EARTH
    return code


def slope(angle: int) -> tuple[int, int]:
    """Cosine and sine of an angle, scaled by ONE, as Python integers."""
    return int(COS[angle % TURN]), int(SIN[angle % TURN])


def meeting(a: Road, across_a: int, b: Road, across_b: int) -> tuple[int, int]:
    """`along` of both roads where the lines at `across_a` and `across_b` cross; straight roads only."""
    ax, ay = a.point(0, across_a)
    bx, by = b.point(0, across_b)
    (ac, as_), (bc, bs) = slope(a.angle), slope(b.angle)
    cross = ac * bs - as_ * bc
    dx, dy = bx - ax, by - ay
    return (dx * bs - dy * bc) * ONE // cross, (dx * as_ - dy * ac) * ONE // cross
