"""Things that move, and how: cars in lanes that stop for a light, people, cyclists."""

from __future__ import annotations

from itertools import pairwise
from math import isqrt

from .integers import TURN, Dice, rotate
from .roads import LANE, Road
from .world import AMBER, BRAKE, DOOR, FRAMES, GREEN, LEFT, MOVING, RED, RIGHT, Cast, Colour, Pose, Thing

CAR_COLOURS: tuple[Colour, ...] = (
    (176, 38, 36), (38, 74, 150), (222, 222, 218), (52, 54, 60), (138, 142, 148), (206, 168, 52), (54, 104, 72),
)  # fmt: skip
COAT_COLOURS: tuple[Colour, ...] = (
    (196, 60, 48), (58, 80, 150), (80, 74, 70), (208, 188, 120), (66, 128, 84), (220, 120, 40),
)  # fmt: skip
#: Braking from a drive, cm a frame each frame: 3 m/s^2.
SLOWING = 19
SIGNALS = {"green": GREEN, "amber": AMBER, "red": RED, "none": 0}


def travel(start: int, speed: int, stop: int | None = None) -> list[int]:
    """The way along a lane in each frame, cm; `stop` is where to stand at the latest."""
    ways = [start]
    for _ in range(FRAMES - 1):
        room = max(stop - ways[-1], 0) if stop is not None else 1 << 30
        ways.append(ways[-1] + min(speed, isqrt(2 * SLOWING * room), room))
    return ways


def braking(ways: list[int]) -> list[int]:
    """MOVING and BRAKE of each frame of a way: the lamps are lit while it slows down or stands in a lane."""
    steps = [b - a for a, b in pairwise(ways)]
    steps.append(steps[-1])
    slower = [after < before - 5 for before, after in zip(steps, steps[1:] + steps[-1:], strict=True)]
    return [
        (MOVING if step > 3 else 0) | (BRAKE if slow or step <= 3 else 0)
        for step, slow in zip(steps, slower, strict=True)
    ]


def along(road: Road, ways: list[int], across: int, sign: int) -> list[Pose]:
    """Poses on a road; sign: 1 with its direction, -1 against it. A way counts in the direction of travel."""
    return [
        Pose(*road.point(sign * way, across), (road.heading(sign * way) + (0 if sign > 0 else TURN // 2)) % TURN)
        for way in ways
    ]


def vehicle(dice: Dice) -> Thing:
    """A car or, one time in five, a van."""
    colour = dice.pick(CAR_COLOURS)
    if dice.chance(20):
        return Thing("van", 520, 200, 225, colour)
    return Thing("car", dice.between(410, 460), 184, dice.between(140, 155), colour)


def blinking(dice: Dice, side: int) -> list[int]:
    """An indicator: the lamp is on every other frame, as at two hertz."""
    phase = dice.between(0, 1)
    return [side if (k + phase) % 2 == 0 else 0 for k in range(FRAMES)]


def stream(
    cast: Cast, dice: Dice, road: Road, lane: int, *, speed: int, first: int, last: int, every: int,
    stop: int | None = None, keep_clear: tuple[int, int] = (0, 0),
) -> None:  # fmt: skip
    """Cars of a lane between two ways, so far apart on average, at one speed; before `stop` they queue.

    keep_clear: nobody starts between these two ways.
    """
    sign = 1 if lane >= 0 else -1
    way, queue = last - dice.between(0, every), stop
    while way > first:
        if not keep_clear[0] < way < keep_clear[1]:
            car = vehicle(dice)
            waits = queue is not None and way < queue
            ways = travel(way, speed, queue - car.length // 2 if waits and queue is not None else None)
            states = braking(ways)
            if dice.chance(30):  # a foot on the brake, for whatever reason
                states = [state | BRAKE for state in states]
            if dice.chance(30):
                lamp = blinking(dice, dice.pick((LEFT, RIGHT)))
                states = [a | b for a, b in zip(states, lamp, strict=True)]
            across = road.lane(lane) + dice.between(-20, 20)
            cast.add(car, along(road, ways, across, sign), states)
            if waits and queue is not None:
                queue = min(queue, ways[-1] + car.length // 2) - car.length - dice.between(120, 300)
        way -= 700 + dice.between(0, 2 * every)


def parked(cast: Cast, dice: Dice, road: Road, side: int, first: int, last: int, percent: int) -> None:
    """Cars along the kerb, side -1 right or 1 left; some with an open door, an indicator or a person beside it."""
    edge = -road.right + 115 if side < 0 else road.left - 115
    for way in range(first, last, 620):
        if not dice.chance(percent):
            continue
        pose = along(road, [(-side) * (way + dice.between(-30, 30))], edge + dice.between(-12, 12), -side)[0]
        state: list[int] | int = 0
        if dice.chance(22):
            state = DOOR
            if dice.chance(50):
                beside = along(road, [-side * way], edge - side * 190, -side)[0]
                cast.add(person(dice), beside)
        elif dice.chance(12):
            state = blinking(dice, LEFT)
        cast.add(vehicle(dice), pose, state)


def person(dice: Dice) -> Thing:
    return Thing("pedestrian", 60, 60, dice.between(155, 190), dice.pick(COAT_COLOURS), dice.between(0, 1))


def walk(start: Pose, speed: int) -> list[Pose]:
    """Straight ahead at `speed` cm a frame."""
    return [ahead(start, speed * k) for k in range(FRAMES)]


def ahead(pose: Pose, way: int) -> Pose:
    dx, dy = rotate(way, 0, pose.heading)
    return Pose(pose.x + int(dx), pose.y + int(dy), pose.heading)


def walkers(cast: Cast, dice: Dice, road: Road, first: int, last: int, number: int) -> None:
    """People on the pavements, most of them along it, some standing."""
    for _ in range(number):
        side = dice.pick((-1, 1))
        across = side * ((road.left if side > 0 else road.right) + dice.between(90, 270))
        sign = dice.pick((-1, 1))
        pose = along(road, [sign * dice.between(first, last)], across, sign)[0]
        speed = dice.pick((0, 25, 32, 38, 45))
        cast.add(person(dice), walk(pose, speed), MOVING if speed else 0)


def crossers(cast: Cast, dice: Dice, road: Road, ways: tuple[int, ...], number: int) -> None:
    """People who cross the road about one of the given ways, now somewhere on it."""
    for _ in range(number):
        way, side = dice.pick(ways) + dice.between(-110, 110), dice.pick((-1, 1))
        across = side * dice.between(-100, (road.left if side > 0 else road.right) + 60)
        x, y = road.point(way, across)
        heading = (road.heading(way) + (-side) * TURN // 4) % TURN
        speed = dice.pick((0, 28, 34, 40))
        cast.add(person(dice), walk(Pose(x, y, heading), speed), MOVING if speed else 0)


def cyclists(cast: Cast, dice: Dice, road: Road, first: int, last: int, number: int) -> None:
    """Cyclists at the right edge of the right lane, both ways."""
    for _ in range(number):
        sign = dice.pick((1, 1, -1))
        lanes = road.lanes[0] if sign > 0 else road.lanes[1]
        across = -sign * (lanes * LANE - dice.between(35, 80))
        ways = travel(
            sign * dice.between(first, last) if sign > 0 else -dice.between(first, last), dice.between(60, 130)
        )
        rider = Thing("cyclist", 175, 60, dice.between(165, 185), dice.pick(COAT_COLOURS))
        cast.add(rider, along(road, ways, across, sign), MOVING)


def signal(dice: Dice) -> tuple[str, ...]:
    """The own light: one state, or one change somewhere in the clip."""
    before, after = dice.pick(
        (("green", "green"), ("red", "red"), ("green", "amber"), ("amber", "red"), ("red", "green"), ("red", "red"))
    )
    change = dice.between(3, FRAMES - 4)
    return tuple(before if k < change else after for k in range(FRAMES))


def opposite(state: str) -> str:
    """The light of the crossing road."""
    return "green" if state == "red" else "red"
