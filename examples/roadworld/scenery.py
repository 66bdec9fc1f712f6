"""Things that stand still: houses, trees, lamps, signs, lights, cones."""

from __future__ import annotations

import numpy as np

from .integers import TURN, Dice, rotate
from .roads import EARTH, KERB_WIDTH, LANE, PAVEMENT, PAVEMENT_WIDTH, Ground, Road, ground
from .traffic import SIGNALS, along, opposite
from .world import SIGNS, Cast, Colour, Pose, Thing

WALL_COLOURS: tuple[Colour, ...] = (
    (168, 110, 86), (196, 182, 154), (150, 150, 158), (188, 148, 116), (120, 92, 84), (206, 196, 180), (140, 120, 110),
)  # fmt: skip


def is_free(where: Ground, thing: Thing, pose: Pose) -> bool:
    """Whether a thing stands on earth all over."""
    half, side = thing.length // 2, thing.width // 2
    sevenths = np.arange(-3, 4, dtype=np.int32)
    x, y = np.meshgrid(sevenths * half // 3, sevenths * side // 3)
    dx, dy = rotate(x, y, pose.heading)
    return bool((ground(where, dx + pose.x, dy + pose.y) == EARTH).all())


def _beside_road(where: Ground, pose: Pose) -> bool:
    return int(ground(where, np.array([pose.x], np.int32), np.array([pose.y], np.int32))[0]) <= PAVEMENT


def houses(cast: Cast, dice: Dice, where: Ground, road: Road, first: int, last: int) -> None:
    """A row of houses on both sides, with gaps that trees or hedges fill."""
    for side in (-1, 1):
        kerb = road.left if side > 0 else road.right
        way = first + dice.between(0, 400)
        while way < last:
            length, depth = dice.between(7, 16) * 100, dice.between(6, 10) * 100
            setback = dice.between(20, 220)
            across = side * (kerb + KERB_WIDTH + PAVEMENT_WIDTH + setback + depth // 2)
            pose = along(road, [way + length // 2], across, 1)[0]
            house = Thing("building", length, depth, dice.between(3, 12) * 120 + 60, dice.pick(WALL_COLOURS),
                          dice.between(0, 3))  # fmt: skip
            hedge = Thing("hedge", length, 120, dice.between(90, 160), (52, 92, 44))
            if dice.chance(78) and is_free(where, house, pose):
                cast.add(house, pose)
            elif is_free(where, hedge, pose):
                cast.add(hedge, pose)
                cast.add(tree(dice), pose)
            way += length + dice.pick((0, 30, 150, 500))


def tree(dice: Dice) -> Thing:
    green = dice.between(0, 3) * 9
    return Thing("tree", 320, dice.between(280, 420), dice.between(480, 760), (48 + green, 96 + green, 40 + green),
                 dice.between(0, 1))  # fmt: skip


def kerbside(cast: Cast, dice: Dice, where: Ground, road: Road, first: int, last: int) -> None:
    """Lamps every 24 m in turns, trees between them, on the pavement side of the kerb."""
    side = dice.pick((-1, 1))
    for way in range(first, last, 1200):
        side = -side
        across = side * ((road.left if side > 0 else road.right) + 70)
        lamp = along(road, [way], across, 1)[0]
        lamp = lamp._replace(heading=(lamp.heading - side * TURN // 4) % TURN)
        if _beside_road(where, lamp):
            cast.add(Thing("lamp", 20, 120, 560, (120, 122, 126)), lamp)
        if dice.chance(45):
            place = along(road, [way + 600], across + side * 40, 1)[0]
            if _beside_road(where, place):
                cast.add(tree(dice), place)


def sign(cast: Cast, road: Road, way: int, kind: str, sign_of_travel: int = 1) -> None:
    """A sign at the right hand of who travels along; it faces him."""
    across = -sign_of_travel * ((road.right if sign_of_travel > 0 else road.left) + 60)
    pose = along(road, [-way], across, -sign_of_travel)[0]
    cast.add(Thing("sign", 20, 76, 270, (150, 150, 150), SIGNS.index(kind)), pose)


def light(cast: Cast, road: Road, way: int, states: tuple[str, ...], sign_of_travel: int = 1) -> None:
    """A traffic light at the right hand of who comes along, and one more on his left: lamps at 2 to 3 m."""
    lamps = [SIGNALS[state] for state in states]
    for side in (-1, 1):
        kerb = road.right if side * sign_of_travel < 0 else road.left
        pose = along(road, [-way], side * sign_of_travel * (kerb + 60), -sign_of_travel)[0]
        cast.add(Thing("light", 20, 50, 330, (60, 62, 60)), pose, lamps)


def lights(cast: Cast, own: Road, other: Road, states: tuple[str, ...], ways: tuple[int, int, int, int]) -> None:
    """Lights of all four approaches; ways: of the own road, against it, of the other road, against it."""
    across = tuple(opposite(state) for state in states)
    light(cast, own, ways[0], states)
    light(cast, own, ways[1], states, -1)
    light(cast, other, ways[2], across)
    light(cast, other, ways[3], across, -1)


def cones(cast: Cast, dice: Dice, road: Road, way: int, number: int) -> None:
    """A row that closes the right or left edge of the road more and more."""
    step, side = dice.between(180, 320), dice.pick((-1, -1, 1))
    lanes = road.lanes[0] if side < 0 else road.lanes[1]
    for k in range(number):
        across = side * (lanes * LANE - 20 - min(k, 3) * 40)
        pose = along(road, [way + k * step], across, 1)[0]
        cast.add(Thing("cone", 36, 40, 72, (240, 96, 24)), pose)
