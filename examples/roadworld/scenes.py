"""The three places, filled: a street, a junction, a parking lot; and `make_clip`, which draws one of them.

A clip depends on `(seed, index)` alone, so any clip can be made again without the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import scenery, traffic
from .cameras import NAMES
from .integers import BITS, COS, SIN, TURN, Dice, signed
from .roads import AISLE, STALL_DEPTH, STALL_WIDTH, Ground, Lot, Road, meeting
from .world import BRAKE, DOOR, FRAMES, LEFT, LIGHTS, MOVING, PLACES, RIGHT, STEP, WEATHERS, Cast, Clip, Pose, Thing

NO_SIGNAL = ("none",) * FRAMES
MIX = 40  # clips
SKIES = {
    ("day", "clear"): 8, ("day", "rain"): 5, ("day", "glare"): 4, ("dusk", "clear"): 5, ("dusk", "rain"): 3,
    ("dusk", "glare"): 2, ("night", "clear"): 8, ("night", "rain"): 5,
}  # fmt: skip
AHEAD = 2400  # of a path that is known beyond the last frame, cm


@dataclass(frozen=True)
class Scene:
    ground: Ground
    cast: Cast
    path: list[Pose]
    ways: list[int]
    signal: tuple[str, ...] = NO_SIGNAL
    junction: int = -1
    lane: int = 0
    route: int = 0


def make_clip(
    seed: int, index: int, *, place: str | None = None, light: str | None = None, weather: str | None = None
) -> Clip:
    """The clip number `index` of the world `seed`; place, light and weather as drawn, unless they are given."""
    dice = Dice(seed, index)
    drawn = conditions(seed, index)
    place, light, weather = place or drawn[0], light or drawn[1], weather or drawn[2]
    assert place in PLACES
    assert light in LIGHTS
    assert weather in WEATHERS
    scene = {"street": _street, "intersection": _intersection, "parking": _parking}[place](Dice(seed, index, 1))
    poses, states = scene.cast.arrays()
    path, ways = np.array(scene.path, np.int32), np.array(scene.ways, np.int32) - scene.ways[0]
    ego = path[ways // STEP]
    # glare is a low sun, half of the time ahead; otherwise it is high and only shades
    sun = int(ego[0, 2]) + (dice.between(-250, 250) if dice.chance(50) else dice.between(0, TURN - 1))
    return Clip(
        seed, index, place, light, weather, scene.ground, ego, tuple(scene.cast.things), poses, states, sun % TURN,
        _blocked(dice) if drawn[3] else {}, scene.signal, scene.junction, scene.lane, scene.route, path, ways,
    )  # fmt: skip


def conditions(seed: int, index: int) -> tuple[str, str, str, bool]:
    """(place, light, weather, whether there is dirt) of a clip: every MIX clips in a row have the same mixture."""
    block, position = divmod(index, MIX)
    places = ("street",) * 15 + ("intersection",) * 15 + ("parking",) * 10
    skies = [pair for pair, count in SKIES.items() for _ in range(count)]
    dirty = (True,) * 20 + (False,) * 20
    light, weather = _shuffled(skies, Dice(seed, block, 3))[position]
    place = _shuffled(places, Dice(seed, block, 2))[position]
    return place, light, weather, _shuffled(dirty, Dice(seed, block, 4))[position]


def _shuffled(items: Sequence[Any], dice: Dice) -> list[Any]:
    """The items in random order, by Fisher and Yates."""
    found = list(items)
    for k in range(len(found) - 1, 0, -1):
        j = dice.between(0, k)
        found[k], found[j] = found[j], found[k]
    return found


def _blocked(dice: Dice) -> dict[str, tuple[tuple[int, int, int], ...]]:
    """Dirt on one to seven of the cameras: discs in 1/64 of the picture's width."""
    found = {}
    for name in sorted({dice.pick(NAMES) for _ in range(dice.between(2, 7))}):
        column, row = dice.between(4, 60), dice.between(4, 42)
        found[name] = tuple(
            (column + dice.between(-8, 8), row + dice.between(-6, 6), dice.between(7, 15))
            for _ in range(dice.between(2, 5))
        )
    return found


def _road(dice: Dice, angle: int, **more: int) -> Road:
    lanes = dice.pick(((1, 1), (1, 1), (1, 1), (2, 2), (2, 1), (1, 2)))
    parking = (dice.chance(50), dice.chance(50))
    return Road(0, 0, angle, lanes, parking, double=lanes != (1, 1) or dice.chance(30), **more)


def _street(dice: Dice) -> Scene:
    """A street that may bend; the ego car keeps its lane behind, before and beside others."""
    road = _road(dice, dice.between(0, TURN - 1), bend=dice.between(-60, 60) if dice.chance(70) else 0)
    where, cast = Ground((road,)), Cast()
    lane, speed = dice.between(0, road.lanes[0] - 1), dice.between(60, 240)
    zebra = dice.between(1500, 4500)
    if dice.chance(35):  # somebody stops for people ahead
        stop: int | None = zebra - 300
        traffic.crossers(cast, dice, road, (zebra,), dice.between(1, 3))
        scenery.sign(cast, road, zebra - 200, "crossing")
    else:
        stop = None
        traffic.crossers(cast, dice, road, (dice.between(1200, 4000),), int(dice.chance(35)))
    ways = traffic.travel(0, speed, stop)
    path = _lane_path(road, ways, road.lane(lane) + dice.between(-25, 25), dice.between(-4, 4))
    _lanes(cast, dice, road, lane, speed, stop)
    _edges(cast, dice, where, road, stop)
    return Scene(where, cast, path, ways, lane=lane)


def _steps(ways: list[int]) -> list[int]:
    """Ways along a path, STEP apart, as far as the car comes and AHEAD further."""
    return list(range(ways[0], ways[-1] + AHEAD, STEP))


def _lane_path(road: Road, ways: list[int], across: int, drift: int) -> list[Pose]:
    """A path along a lane that drifts `drift` cm a metre to the left, with the heading that this takes."""
    turn = drift * TURN * 10 // 6300  # of small angles: 4096 ticks are 6.3 radians
    poses = []
    for step in _steps(ways):
        pose = traffic.along(road, [step], across + drift * (step - ways[0]) // 100, 1)[0]
        poses.append(pose._replace(heading=(pose.heading + turn) % TURN))
    return poses


def _lanes(cast: Cast, dice: Dice, road: Road, lane: int, speed: int, stop: int | None) -> None:
    """The cars of every lane of a road on which the ego car starts at 0."""
    busy = dice.pick((700, 1500, 3000, 6000))
    for number in range(road.lanes[0]):
        pace = speed + dice.between(-20, 25) if number == lane else dice.between(60, 250)
        clear = (-900, 950 if stop is None else 1500) if number == lane else (0, 0)
        traffic.stream(
            cast, dice, road, number, speed=pace, first=-4500, last=6500, every=busy, stop=stop, keep_clear=clear
        )
    for number in range(1, road.lanes[1] + 1):
        pace = dice.between(80, 250)
        traffic.stream(cast, dice, road, -number, speed=pace, first=-9000, last=4000, every=busy)


def _edges(cast: Cast, dice: Dice, where: Ground, road: Road, stop: int | None) -> None:
    """All that is beside the lanes of the own road."""
    share = dice.pick((15, 45, 75))
    for side, has in ((-1, road.parking[0]), (1, road.parking[1])):
        if has:
            traffic.parked(cast, dice, road, side, -4000, 7000, share)
    traffic.walkers(cast, dice, road, -3000, 4500, dice.pick((0, 2, 4, 7, 10)))
    traffic.cyclists(cast, dice, road, -2000, 3500, dice.pick((0, 1, 2, 3, 4)))
    if dice.chance(60):
        scenery.cones(cast, dice, road, dice.between(-1500, 2500), dice.between(4, 9))
    if dice.chance(50):
        scenery.sign(cast, road, dice.between(1400, 3800), dice.pick(("limit", "parking", "crossing")))
    if dice.chance(40):
        scenery.sign(cast, road, -dice.between(500, 3800), dice.pick(("limit", "parking")), -1)
    scenery.houses(cast, dice, where, road, -5500, 9000)
    scenery.kerbside(cast, dice, where, road, -4800, 7200)


def _intersection(dice: Dice) -> Scene:
    """A junction ahead, with lights or with signs; the ego car goes on, turns, or waits."""
    own = _road(dice, dice.between(0, TURN - 1))
    skew = TURN // 4 + dice.between(-340, 340)
    away = (
        dice.between(1400, 3600) if dice.chance(65) else dice.between(500, 1400)
    )  # from the ego car to the middle of the junction
    x, y = own.point(away, 0)
    shape = dice.pick(("cross", "cross", "left", "right"))
    # a side road starts at the far edge of the own road, so that it crosses all of it and ends there
    turned = skew + (TURN // 2 if shape == "right" else 0)
    start = -(own.left + own.right + 600) if shape == "cross" else -(own.right if shape == "left" else own.left) - 5
    other = Road(x, y, (own.angle + turned) % TURN, (1, 1), (False, dice.chance(30)), dice.chance(50), 0,
                 -100_000 if shape == "cross" else start)  # fmt: skip
    where, cast = Ground((own, other)), Cast()
    turn = dice.pick({"cross": (0, 0, 1, -1), "left": (0, 1), "right": (0, -1)}[shape])
    lane = own.lanes[0] - 1 if turn < 0 else 0
    own_edge, far_edge = away - other.left - 80, away + other.right + 80  # of the junction, along the own road
    if shape == "right":
        own_edge, far_edge = away - other.right - 80, away + other.left + 80
    line = own_edge - 450
    lit = dice.chance(58)
    states = traffic.signal(dice) if lit else NO_SIGNAL
    waits = "red" in states[:6] or states[:1] == ("amber",) or (not lit and turn != 0 and dice.chance(40))
    speed = dice.between(90, 220)
    stop = line - 330 if waits else None
    ways = traffic.travel(0, speed, stop)
    path = _through(own, other, lane, turn, _steps(ways))
    _lanes(cast, dice, own, lane, speed, line - 60 if waits else None)
    _others(cast, dice, own, other, waits=waits or turn > 0)
    zebras = (own_edge - 190, far_edge + 190)
    traffic.crossers(cast, dice, own, zebras, dice.pick((0, 1, 2, 3)))
    traffic.crossers(cast, dice, other, (-own.left - 270, own.right + 270), dice.pick((0, 1, 2)))
    if lit:
        places = (own_edge - 60, -far_edge - 60, -own.right - 150, -own.right - 150)
        scenery.lights(cast, own, other, states, places)
    else:
        kind = dice.pick(("stop", "yield"))
        scenery.sign(cast, own, line, kind)
        scenery.sign(cast, other, -own.right - 300, "yield")
    _edges(cast, dice, where, own, line)
    scenery.houses(cast, dice, where, other, -6000, 6000)
    scenery.kerbside(cast, dice, where, other, -3600, 3600)
    traffic.walkers(cast, dice, other, -2500, 2500, dice.pick((0, 2, 4)))
    traffic.cyclists(cast, dice, other, -2000, 2000, dice.pick((0, 1, 2)))
    return Scene(where, cast, path, ways, states, 1, lane, turn)


def _others(cast: Cast, dice: Dice, own: Road, other: Road, *, waits: bool) -> None:
    """Cars on the crossing road: they drive while the ego road waits, and wait while it drives."""
    before = -(own.right + 600)
    speed = dice.between(90, 220)
    for lane in (0, -1):
        if lane < 0 or other.start < -50_000:
            first = -7000 if other.start < -50_000 or lane < 0 else other.start
            traffic.stream(cast, dice, other, lane, speed=speed, first=first, last=before, every=dice.pick((600, 1800)),
                           stop=None if waits else before)  # fmt: skip


def _through(own: Road, other: Road, lane: int, turn: int, steps: list[int]) -> list[Pose]:
    """The ego car's path: straight on, or an arc into the lane of the other road; turn: 1 left, -1 right, 0 none."""
    if not turn:
        return traffic.along(own, steps, own.lane(lane), 1)
    # with the other road's direction one ends right of its middle, against it left
    with_it = (signed((other.angle - own.angle) % TURN) > 0) == (turn > 0)
    target = other.lane(0) if with_it else other.lane(-1)
    bend = signed((other.angle + (0 if with_it else TURN // 2) - own.angle) % TURN)
    corner, _ = meeting(own, own.lane(lane), other, target)
    radius = 650 if turn < 0 else 1000
    half = abs(bend) // 2
    begin = corner - radius * int(SIN[half]) // int(COS[half])  # radius times the tangent of half the turn
    x, y = (part << BITS for part in own.point(steps[0], own.lane(lane)))
    poses = []
    for step in steps:
        turned = min(max(step - begin, 0) * TURN * 10 // (63 * radius), abs(bend)) * (1 if bend > 0 else -1)
        heading = (own.angle + turned) % TURN
        poses.append(Pose(x >> BITS, y >> BITS, heading))
        x, y = x + STEP * int(COS[heading]), y + STEP * int(SIN[heading])
    return poses


def _parking(dice: Dice) -> Scene:
    """A parking lot: the ego car creeps along an aisle between stalls."""
    angle = dice.between(0, TURN - 1)
    rows = tuple(k * (2 * STALL_DEPTH + AISLE) + STALL_DEPTH + AISLE // 2 for k in (-2, -1, 0, 1))
    lot = Lot(0, 0, angle, dice.between(24, 38) * 100, 2 * (2 * STALL_DEPTH + AISLE) + AISLE // 2, rows)
    where, cast = Ground((), lot), Cast()
    line = Road(0, 0, angle, (1, 1))  # a line to count along; it paves nothing
    speed = dice.between(15, 110)
    begin = dice.between(-lot.half_length + 900, 200)
    stop = dice.between(begin + 300, begin + 1500) if dice.chance(40) else None
    ways = traffic.travel(begin, speed, stop)
    path = _lane_path(line, ways, dice.between(-170, -40), dice.between(-5, 5))
    full = dice.pick((30, 60, 85))
    leaving = dice.between(2, 9)
    for row in rows:
        for side in (-1, 1):
            across = row + side * STALL_DEPTH // 2
            for way in range(-lot.half_length // STALL_WIDTH * STALL_WIDTH, lot.half_length, STALL_WIDTH):
                middle = way + STALL_WIDTH // 2
                room = lot.half_length - abs(middle) - AISLE > STALL_WIDTH + 100
                if not room or abs(middle - begin) > 4500 or not dice.chance(full):
                    continue
                _stall(cast, dice, line, middle, across, side, ego_way=begin, leaves=dice.between(0, 30) == leaving)
    if dice.chance(55):  # somebody comes the other way
        other = traffic.travel(-begin - dice.between(1400, 3500), dice.between(20, 80))
        cast.add(traffic.vehicle(dice), traffic.along(line, other, 140, -1), traffic.braking(other))
    for _ in range(dice.pick((1, 3, 5, 7))):
        across = dice.pick((-260, 260, 230, -230, 0)) + dice.between(-50, 50)
        pose = traffic.along(line, [begin + dice.between(-1500, 2800)], across, 1)[0]
        heading = (pose.heading + dice.pick((0, 0, 512, -512, 1024, -1024, 2048))) % TURN
        moving = dice.pick((0, 25, 32))
        if abs(across) > 120:
            cast.add(traffic.person(dice), traffic.walk(pose._replace(heading=heading), moving), MOVING * bool(moving))
    if dice.chance(60):
        first, side = dice.between(-1000, 1200), dice.pick((-285, 285))
        for k in range(dice.between(3, 7)):
            pose = traffic.along(line, [begin + first + 150 * k], side, 1)[0]
            cast.add(Thing("cone", 36, 40, 72, (240, 96, 24)), pose)
    traffic.cyclists(cast, dice, Road(0, 0, angle, (1, 1)), begin - 1000, begin + 2500, dice.pick((0, 1, 2)))
    scenery.sign(
        cast, Road(0, 0, angle, (1, 1)), begin + dice.between(900, 2500), dice.pick(("parking", "limit", "stop"))
    )
    border = Road(0, 0, angle, (1, 1), (True, True))
    edge = lot.half_width - border.right
    for side in (-1, 1):
        x, y = line.point(0, side * edge)
        scenery.houses(cast, dice, where, Road(x, y, angle, (1, 1), (True, True)), -6000, 6000)
    for way in range(-lot.half_length + 300, lot.half_length, 1400):
        for row in rows[1:3]:
            lamp = line.point(way, row)
            cast.add(Thing("lamp", 20, 120, 560, (120, 122, 126)), Pose(*lamp, angle))
    return Scene(where, cast, path, ways)


def _stall(cast: Cast, dice: Dice, line: Road, way: int, across: int, side: int, *, ego_way: int, leaves: bool) -> None:
    """A parked car, nose in or out; perhaps with an open door, or backing out into the aisle."""
    pose = traffic.along(line, [way + dice.between(-15, 15)], across + dice.between(-15, 15), 1)[0]
    inward = dice.chance(65)
    heading = (pose.heading + (-side if inward else side) * TURN // 4) % TURN
    pose = pose._replace(heading=heading)
    state = DOOR if dice.chance(12) else 0
    if leaves and inward and not state and abs(way - ego_way) > 700:
        start = dice.between(0, 8)
        away = [max(k - start, 0) * 22 for k in range(FRAMES)]
        poses = [traffic.ahead(pose, -one) for one in away]
        lamp = traffic.blinking(dice, dice.pick((LEFT, RIGHT)))
        states = [(MOVING if one else BRAKE) | blink for one, blink in zip(away, lamp, strict=True)]
        cast.add(traffic.vehicle(dice), poses, states)
    else:
        cast.add(traffic.vehicle(dice), pose, state)
        if state and dice.chance(60):
            cast.add(traffic.person(dice), traffic.along(line, [way + STALL_WIDTH // 2], across, 1)[0])
