"""A small synthetic road: who is where, how they move, and what is therefore true.

A clip is four instants, half a second apart, of one drive along one road. It depends on `(seed, index)`
alone, so any clip can be made again without the others. Traffic keeps right; `x` is metres to the right of
the middle of the ego lane, `y` metres above the road, `s` metres along it; the ego car starts at `s = 0`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FRAMES = 4
STEP_S = 0.5  # slow enough to see motion between frames, quick enough that nothing jumps
LANE_M = 3.4
LEAD_RANGE_M = 30.0  # further away a car is five pixels wide and its distance is a guess
FOLLOW_M, FOLLOW_S = 8.0, 1.0  # too close: 8 m and the way of one second; no picture shows the speed
GRID = 12  # the top-down grid is GRID x GRID cells; row 0 is the farthest, so an array prints like a map
GRID_X_M = (-6.0, 6.0)
GRID_Z_M = (4.0, 28.0)
HALF_VIEW = 0.6  # tangent of half the horizontal field of view, 48 px / 80 px
IGNORE = 255

Colour = tuple[int, int, int]
CAR_COLOURS: tuple[Colour, ...] = (
    (176, 38, 36), (38, 74, 150), (222, 222, 218), (44, 46, 50), (128, 132, 138), (196, 158, 52),
    (54, 104, 72),
)  # fmt: skip
COAT_COLOURS: tuple[Colour, ...] = (
    (178, 60, 48), (58, 70, 120), (70, 66, 62), (198, 178, 120), (66, 108, 84),
)  # fmt: skip
WALL_COLOURS: tuple[Colour, ...] = (
    (168, 120, 96), (190, 176, 150), (142, 142, 150), (178, 142, 118), (120, 96, 88),
)  # fmt: skip


@dataclass(frozen=True)
class Car:
    """`heading` is +1 when it drives our way; `s` is its middle at first; `size` is width, height, length."""

    s: float
    x: float
    speed: float
    heading: int
    size: tuple[float, float, float]
    colour: Colour
    brakes: bool


@dataclass(frozen=True)
class Person:
    s: float
    x: float
    speed_s: float
    speed_x: float
    height: float
    coat: Colour


@dataclass(frozen=True)
class Prop:
    """Something that stands still: `kind` is building, tree, lamp, pillar, container, sign or light."""

    kind: str
    s: float
    x: float
    size: float
    colour: Colour
    variant: int


@dataclass(frozen=True)
class Clip:
    """One drive. `lights` is the traffic light in each frame; `curve` is in 1/m, to the right is positive."""

    index: int
    time_of_day: str
    weather: str
    curve: float
    pitch_px: float
    edges: tuple[float, float]
    lanes: tuple[tuple[float, int], ...]
    ego_x: float
    ego_speed: float
    cars: tuple[Car, ...]
    people: tuple[Person, ...]
    props: tuple[Prop, ...]
    lights: tuple[str, ...]


def make_clip(seed: int, index: int) -> Clip:
    """The clip number `index` of the world `seed`."""
    rng = np.random.default_rng([seed, index])
    time_of_day = "dusk" if rng.random() < 0.45 else "day"
    weather = "rain" if rng.random() < 0.4 else "clear"
    left, right = 1 + int(rng.random() < 0.4), int(rng.random() < 0.45)
    lanes = tuple((LANE_M * k, -1 if k < 0 else 1) for k in range(-left, right + 1))
    edges = (-LANE_M * (left + 0.5), LANE_M * (right + 0.5))
    ego_speed = float(rng.uniform(0.0, 9.0))
    lights = _light_states(rng)
    cars = _cars(rng, lanes, edges, ego_speed, stopping=lights[0] in ("red", "amber"))
    own = Car(0.0, 0.0, ego_speed, 1, (2.2, 1.5, 9.0), CAR_COLOURS[0], False)  # with room to brake
    people = tuple(person for person in _people(rng, edges) if not _in_the_way(person, (*cars, own)))
    return Clip(
        index=index,
        time_of_day=time_of_day,
        weather=weather,
        curve=float(rng.uniform(-1, 1) / 110),
        pitch_px=float(rng.uniform(-2.0, 2.0)),
        edges=edges,
        lanes=lanes,
        ego_x=float(rng.uniform(-0.6, 0.6)),
        ego_speed=ego_speed,
        cars=cars,
        people=people,
        props=_props(rng, edges, lit=lights[0] != "none"),
        lights=lights,
    )


def _light_states(rng: np.random.Generator) -> tuple[str, ...]:
    """Green, amber, red, green ... for one to three frames each; amber no shorter, or it would be rare."""
    if rng.random() < 0.28:
        return ("none",) * FRAMES
    order, states, phase = ("green", "amber", "red"), [], int(rng.integers(3))
    while len(states) < FRAMES:
        states += [order[phase % 3]] * int(rng.integers(1, 4))
        phase += 1
    return tuple(states[:FRAMES])


def _car(rng: np.random.Generator, s: float, x: float, speed: float, heading: int, brakes: bool) -> Car:
    is_van = rng.random() < 0.2
    size = (2.0, 2.2, 5.0) if is_van else (1.85, float(rng.uniform(1.4, 1.6)), 4.3)
    return Car(s, x, speed, heading, size, CAR_COLOURS[int(rng.integers(len(CAR_COLOURS)))], brakes)


def _cars(
    rng: np.random.Generator,
    lanes: tuple[tuple[float, int], ...],
    edges: tuple[float, float],
    ego_speed: float,
    *,
    stopping: bool,
) -> tuple[Car, ...]:
    """Cars ahead, behind, in the other lanes and parked; a lane shares one speed, so none collide."""
    cars = []
    duration = STEP_S * (FRAMES - 1)
    for ahead in (1, -1):  # the lead and the follower close in or fall back, but never nearer than 3 m
        if rng.random() < 0.55:
            gap = float(rng.uniform(5.0, 26.0) if ahead == 1 else rng.uniform(4.0, 26.0))
            drift = max(float(rng.uniform(-3.0, 3.0)), (3.0 - gap) / duration)
            x, speed = float(rng.normal(0, 0.15)), ego_speed + ahead * drift
            brakes = ahead == 1 and (stopping or drift < -1.5)
            cars.append(_car(rng, ahead * (gap + 2.2), x, speed, 1, brakes))
    density = float(rng.choice([0.0, 0.0, 0.4, 1.2, 3.0]))  # quiet or busy, rather than always average
    for lane_x, heading in lanes:
        if lane_x == 0:
            continue
        speed = -float(rng.uniform(4.0, 9.0)) if heading < 0 else ego_speed + float(rng.uniform(-2.5, 2.5))
        s = float(rng.uniform(-60, -40))
        while density and s < 60:
            s += 9.0 + float(rng.exponential(45.0 / density))
            brakes = bool(rng.random() < 0.4)
            cars.append(_car(rng, s, lane_x + float(rng.normal(0, 0.2)), speed, heading, brakes))
    for side, heading in ((0, -1), (1, 1)):
        if rng.random() < 0.2:
            x = edges[side] + (0.5 if side else -0.5)
            for s in np.arange(rng.uniform(-40, -20), 45, 7.0):
                if rng.random() < 0.2:
                    cars.append(_car(rng, float(s), x, 0.0, heading, False))
    return tuple(cars)


def _people(rng: np.random.Generator, edges: tuple[float, float]) -> tuple[Person, ...]:
    """Some walk along the pavement, a few cross the road."""
    people = []
    for ahead in (1, -1):
        for _ in range(int(rng.poisson(2.2))):
            s, height = ahead * float(rng.uniform(6, 24)), float(rng.uniform(1.6, 1.9))
            coat = COAT_COLOURS[int(rng.integers(len(COAT_COLOURS)))]
            if rng.random() < 0.25:
                x, speed_s = float(rng.uniform(edges[0], edges[1])), 0.0
                speed_x = float(rng.choice([-1.0, 1.0]) * rng.uniform(0.8, 1.6))
            else:
                side = int(rng.integers(2))
                x = edges[side] + (1.0 if side else -1.0) * float(rng.uniform(1.6, 2.4))
                speed_s, speed_x = float(rng.choice([-1.0, 1.0]) * rng.uniform(0.8, 1.6)), 0.0
            people.append(Person(s, x, speed_s, speed_x, height, coat))
    return tuple(people)


def _in_the_way(person: Person, cars: tuple[Car, ...]) -> bool:
    """Whether a person would walk through a car in any frame."""
    for frame in range(FRAMES):
        x, s = person_at(person, frame)
        for car in cars:
            if abs(x - car.x) < car.size[0] / 2 + 0.4 and abs(s - car_s(car, frame)) < car.size[2] / 2 + 0.6:
                return True
    return False


def _props(rng: np.random.Generator, edges: tuple[float, float], *, lit: bool) -> tuple[Prop, ...]:
    """Houses, trees, signs, lamp posts, and what only looks like a person, a car or a light that works."""
    props = []
    for side in (-1, 1):
        edge = edges[0] if side < 0 else edges[1]
        s = -90.0
        while s < 110:
            length = float(rng.uniform(9, 18))
            wall = WALL_COLOURS[int(rng.integers(len(WALL_COLOURS)))]
            if rng.random() < 0.62:
                x = edge + side * float(rng.uniform(4.0, 8.0))
                props.append(Prop("building", s, x, length, wall, int(rng.integers(1 << 20))))
            else:
                x = edge + side * float(rng.uniform(3.0, 6.5))
                green = (int(rng.integers(40, 70)), int(rng.integers(84, 120)), int(rng.integers(40, 60)))
                props.append(Prop("tree", s + length / 2, x, float(rng.uniform(1.5, 2.6)), green, 0))
            s += length + float(rng.uniform(0, 6))
        for s in np.arange(rng.uniform(-60, -45), 70, 26.0):
            props.append(Prop("lamp", float(s), edge + side * 0.6, 6.0, (90, 92, 96), side))
        if rng.random() < 0.35:
            s = float(rng.uniform(-20, 26))
            props.append(Prop("pillar", s, edge + side * float(rng.uniform(0.8, 2.0)), 1.5, (170, 36, 30), 0))
        if rng.random() < 0.4:
            colour = CAR_COLOURS[int(rng.integers(len(CAR_COLOURS)))]
            s, x = float(rng.uniform(-34, 36)), edge + side * float(rng.uniform(1.0, 3.0))
            props.append(Prop("container", s, x, float(rng.uniform(1.3, 1.8)), colour, 0))
    if rng.random() < 0.7:
        s, kind = float(rng.uniform(7, 34)), int(rng.integers(3))
        props.append(Prop("sign", s, edges[1] + float(rng.uniform(0.7, 1.6)), 1.1, (0, 0, 0), kind))
    # A light that is switched off is "none": without such, the head would only have to find the box.
    if lit or rng.random() < 0.5:
        props.append(Prop("light", float(rng.uniform(14, 40)), edges[1] + 0.8, 1.0, (28, 30, 30), int(lit)))
    return tuple(props)


def ego_s(clip: Clip, frame: int) -> float:
    """Where the ego car is along the road, in metres."""
    return clip.ego_speed * STEP_S * frame


def car_s(car: Car, frame: int) -> float:
    """Where the middle of a car is along the road, in metres."""
    return car.s + car.speed * STEP_S * frame


def person_at(person: Person, frame: int) -> tuple[float, float]:
    """`(x, s)` of a person, in metres."""
    seconds = STEP_S * frame
    return person.x + person.speed_x * seconds, person.s + person.speed_s * seconds


def gap_ahead(clip: Clip, frame: int) -> float | None:
    """Metres to the rear of the next car in the ego lane, None when there is none within `LEAD_RANGE_M`."""
    gaps = [gap for gap in _own_lane_gaps(clip, frame, 1) if gap <= LEAD_RANGE_M]
    return min(gaps, default=None)


def is_followed(clip: Clip, frame: int) -> bool:
    """Whether a car in the ego lane is nearer behind than `FOLLOW_M` and the way of `FOLLOW_S`."""
    return any(gap < FOLLOW_M + FOLLOW_S * clip.ego_speed for gap in _own_lane_gaps(clip, frame, -1))


def _own_lane_gaps(clip: Clip, frame: int, way: int) -> list[float]:
    """Metres from the camera to the near end of each car in the ego lane, ahead (+1) or behind (-1)."""
    own = [car for car in clip.cars if abs(car.x) < LANE_M / 2]
    gaps = [way * (car_s(car, frame) - ego_s(clip, frame)) - car.size[2] / 2 for car in own]
    return [gap for gap in gaps if gap > 0]


def drivable_grid(clip: Clip, frame: int) -> np.ndarray:
    """Which cells ahead are road and free: (GRID, GRID) uint8, 1 free, 0 not, IGNORE out of view."""
    x, z = np.meshgrid(_centres(*GRID_X_M), _centres(*GRID_Z_M)[::-1])
    road_x, s = x + clip.ego_x - clip.curve * z**2 / 2, ego_s(clip, frame) + z
    free = (road_x > clip.edges[0]) & (road_x < clip.edges[1])
    half_x, half_s = (GRID_X_M[1] - GRID_X_M[0]) / GRID / 2, (GRID_Z_M[1] - GRID_Z_M[0]) / GRID / 2
    for car in clip.cars:
        beside = np.abs(road_x - car.x) < car.size[0] / 2 + half_x / 2
        free &= ~(beside & (np.abs(s - car_s(car, frame)) < car.size[2] / 2 + half_s / 2))
    for person in clip.people:
        at_x, at_s = person_at(person, frame)
        free &= ~((np.abs(road_x - at_x) < half_x) & (np.abs(s - at_s) < half_s))
    return np.where(np.abs(x) > HALF_VIEW * z, IGNORE, free).astype(np.uint8)


def _centres(low: float, high: float) -> np.ndarray:
    return low + (np.arange(GRID) + 0.5) * (high - low) / GRID
