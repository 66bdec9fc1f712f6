"""What a camera sees of a clip: the picture, the class of every pixel, and the silhouette of every object.

Painted from far to near; the marks tell what is covered. Flat colours keep the PNG files small, and there is
no pixel noise on purpose.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from .canvas import (
    FINE,
    HEIGHT,
    HORIZON_PX,
    MOODS,
    NEAR_M,
    WIDTH,
    Canvas,
    darker,
    disc,
    level,
    limb,
    patch,
    shade,
    standing,
    upright,
)
from .world import Car, Clip, Colour, Person, Prop, car_s, ego_s, person_at

HOOD_PX = 61  # below this row the camera sees its own car

# Marks below FIRST_OBJECT are scenery; above, each object has its own, so that its silhouette can be counted.
SKY, ROAD, BUILDING, OTHER, HOOD, FIRST_OBJECT = 0, 1, 2, 3, 4, 10
CLASSES = ("sky", "road", "building", "vehicle", "other")
CLASS_OF_SCENERY = {SKY: 0, ROAD: 1, BUILDING: 2, OTHER: 4, HOOD: 255}
WINDOW: tuple[Colour, Colour] = ((70, 84, 104), (236, 196, 110))  # dark, lit
LAMPS: dict[str, Colour] = {"red": (255, 50, 40), "amber": (255, 176, 30), "green": (50, 235, 120)}


@dataclass(frozen=True)
class Seen:
    """An object in a picture; `box` is x0, y0, x1, y1 in pixels, cut off by the picture but not by others."""

    kind: str
    what: Car | Person | Prop
    box: tuple[float, float, float, float]
    visible_share: float


Silhouette = tuple[int, str, Car | Person | Prop, np.ndarray]  # mark, kind, what, (fine pixels) bool


@dataclass(frozen=True)
class View:
    """`picture`: (HEIGHT, WIDTH, 3) uint8; `classes`: (HEIGHT, WIDTH) uint8, 255 on the own car."""

    picture: np.ndarray
    classes: np.ndarray
    seen: tuple[Seen, ...]


def render(clip: Clip, frame: int, camera: str) -> View:
    """What `camera` (`front` or `rear`) sees in one frame of a clip."""
    mood = MOODS[clip.time_of_day, clip.weather]
    way = 1 if camera == "front" else -1
    picture = Image.new("RGB", (WIDTH * FINE, HEIGHT * FINE))
    marks = Image.new("L", picture.size, SKY)
    canvas = Canvas(
        brush=ImageDraw.Draw(picture),
        marker=ImageDraw.Draw(marks),
        mood=mood,
        way=way,
        x=clip.ego_x,
        s=ego_s(clip, frame),
        curve=clip.curve,
        horizon_px=HORIZON_PX + way * clip.pitch_px,  # a car that nods lowers one horizon and lifts the other
    )
    _sky_and_ground(canvas)
    _road(canvas, clip)
    seen = _objects(canvas, clip, frame, marks)
    if clip.weather == "rain":
        _rain(canvas, np.random.default_rng([clip.index, frame, way + 1]))
    _own_car(canvas)
    return View(np.asarray(picture.reduce(FINE)), *_truth(np.asarray(marks), seen))


def _truth(marks: np.ndarray, seen: list[Silhouette]) -> tuple[np.ndarray, tuple[Seen, ...]]:
    """Class map and seen objects, from the finished marks and each silhouette before anything covered it."""
    lookup = np.full(256, CLASS_OF_SCENERY[OTHER], np.uint8)
    for mark, number in CLASS_OF_SCENERY.items():
        lookup[mark] = number
    found = []
    for mark, kind, what, silhouette in seen:
        if kind == "car":
            lookup[mark] = CLASSES.index("vehicle")
        inside = silhouette.copy()
        inside[HOOD_PX * FINE :] = False
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        if rows.size == 0:
            continue
        box = (columns[0] / FINE, rows[0] / FINE, (columns[-1] + 1) / FINE, (rows[-1] + 1) / FINE)
        found.append(Seen(kind, what, box, float((marks == mark).sum() / inside.sum())))
    half = FINE // 2
    return lookup[marks[half::FINE, half::FINE]], tuple(found)


# ---------------------------------------------------------------- scenery
def _sky_and_ground(canvas: Canvas) -> None:
    mood, end, grass = canvas.mood, int(canvas.horizon_px), (96, 124, 70)
    top, haze = np.array(mood.top), np.array(mood.haze)
    for row in range(end + 1):  # bands of a whole pixel compress better than a smooth ramp
        colour = tuple(int(c) for c in top + (haze - top) * (row / end) ** 1.5)
        canvas.brush.rectangle([0, row * FINE, WIDTH * FINE, (row + 1) * FINE], fill=colour)
    for near, far in ((1.0, 6.0), (6.0, 12.0), (12.0, 25.0), (25.0, 60.0), (60.0, 400.0)):
        strip = level(-400, 400, canvas.s + canvas.way * near, canvas.s + canvas.way * far)
        patch(canvas, strip, grass, OTHER)


def _ribbon(canvas: Canvas, x0: float, x1: float, near: float, far: float, y: float = 0.0) -> np.ndarray:
    """A strip of ground that follows the road between two distances: (2 n, 3)."""
    z = 1 / np.linspace(1 / near, 1 / far, 24 if far > 40 else 4)
    s = canvas.s + canvas.way * z
    left, right = (np.stack([np.full_like(s, x), np.full_like(s, y), s], 1) for x in (x0, x1))
    return np.concatenate([left, right[::-1]])


def _road(canvas: Canvas, clip: Clip) -> None:
    left, right = clip.edges
    wet = clip.weather == "rain"
    patch(canvas, _ribbon(canvas, left - 2.6, right + 2.6, NEAR_M, 160), (168, 164, 158), OTHER)
    patch(canvas, _ribbon(canvas, left - 0.2, right + 0.2, NEAR_M, 160), (206, 204, 198), OTHER)  # kerb
    # Near and far asphalt are shaded apart, or the haze of the horizon would lie on the whole road.
    for near, far in ((60.0, 160.0), (25.0, 60.0), (12.0, 25.0), (6.0, 12.0), (NEAR_M, 6.0)):
        patch(canvas, _ribbon(canvas, left, right, near, far), (84, 88, 98) if wet else (92, 92, 96), ROAD)
    paint = (232, 232, 226)
    for x in (left + 0.25, right - 0.25):
        patch(canvas, _ribbon(canvas, x - 0.08, x + 0.08, NEAR_M, 70), paint, ROAD)
    for (x0, way0), (x1, way1) in itertools.pairwise(clip.lanes):
        middle = (x0 + x1) / 2
        if way0 != way1:  # oncoming traffic: a double solid line
            for x in (middle - 0.18, middle + 0.18):
                patch(canvas, _ribbon(canvas, x - 0.06, x + 0.06, NEAR_M, 70), (228, 196, 92), ROAD)
            continue
        for s in np.arange(-90, 130, 6.0):
            ends = sorted(canvas.way * (np.array([s, s + 2.6]) - canvas.s))
            if ends[0] > NEAR_M and ends[1] < 70:
                patch(canvas, _ribbon(canvas, middle - 0.09, middle + 0.09, *ends), paint, ROAD)
    for prop in clip.props:
        if prop.kind == "light":  # a crossing in front of every traffic light
            for x in np.arange(left + 0.5, right - 0.6, 1.1):
                near, far = sorted(canvas.way * (np.array([prop.s - 4.5, prop.s - 1.5]) - canvas.s))
                if near > NEAR_M:
                    patch(canvas, _ribbon(canvas, x, x + 0.6, near, far), paint, ROAD)


def _building(canvas: Canvas, prop: Prop) -> None:
    rng = np.random.default_rng(prop.variant)
    side, floors = (1 if prop.x > 0 else -1), int(rng.integers(2, 5))
    height, depth = 3.0 * floors + 0.6, 9.0
    s0, s1 = prop.s, prop.s + prop.size
    front = s0 if canvas.way > 0 else s1
    low = canvas.s + canvas.way * NEAR_M
    if max(canvas.way * (s0 - low), canvas.way * (s1 - low)) < 0:  # behind the camera
        return
    patch(canvas, standing(prop.x, 0, height, s0, s1), darker(prop.colour, 0.82), BUILDING)
    if canvas.way * (front - low) > 0:
        patch(canvas, upright(prop.x, prop.x + side * depth, 0, height, front), prop.colour, BUILDING)
    for floor in range(floors):
        y = 3.0 * floor + 1.0
        for k in range(max(1, int(prop.size // 3))):
            s = s0 + 1.0 + 3.0 * k
            lit = canvas.mood.dark and rng.random() < 0.45
            if canvas.way * (s - low) > 0:
                patch(canvas, standing(prop.x, y, y + 1.5, s, s + 1.5), WINDOW[lit], BUILDING, glows=lit)
        for k in range(3):
            x, lit = prop.x + side * (0.8 + 2.8 * k), canvas.mood.dark and rng.random() < 0.45
            if canvas.way * (front - low) > 0:
                pane = upright(x, x + side * 1.5, y, y + 1.5, front)
                patch(canvas, pane, WINDOW[lit], BUILDING, glows=lit)


def _tree(canvas: Canvas, prop: Prop) -> None:
    r, s = prop.size, prop.s
    patch(canvas, upright(prop.x - 0.16, prop.x + 0.16, 0, 2.6, s), (92, 70, 52), OTHER)
    for side in (-0.5, 0.5):
        patch(canvas, disc(prop.x + side * r, 3.0, s, 0.75 * r), darker(prop.colour, 0.8), OTHER)
    patch(canvas, disc(prop.x, 3.9, s, r), prop.colour, OTHER)


def _lamp(canvas: Canvas, prop: Prop) -> None:
    s, night, tip = prop.s, canvas.mood.dark, prop.x - prop.variant * 1.4  # the arm reaches over the road
    patch(canvas, upright(prop.x - 0.07, prop.x + 0.07, 0, prop.size, s), prop.colour, OTHER)
    patch(canvas, upright(prop.x, tip, prop.size - 0.15, prop.size, s), prop.colour, OTHER)
    head = upright(tip, tip + prop.variant * 0.5, prop.size - 0.3, prop.size - 0.1, s)
    patch(canvas, head, (255, 226, 150) if night else (210, 210, 205), OTHER, glows=night)


def _pillar(canvas: Canvas, prop: Prop) -> None:
    """A red post box, as tall as a person in a red coat."""
    patch(canvas, upright(prop.x - 0.28, prop.x + 0.28, 0, 1.35, prop.s), prop.colour, OTHER)
    patch(canvas, disc(prop.x, 1.35, prop.s, 0.28), prop.colour, OTHER)
    patch(canvas, upright(prop.x - 0.16, prop.x + 0.16, 1.1, 1.18, prop.s), (20, 16, 16), OTHER)


def _container(canvas: Canvas, prop: Prop) -> None:
    """A rubbish container, as wide as a small car and as colourful, with two reflectors."""
    x, s, w = prop.x, prop.s, prop.size / 2
    patch(canvas, upright(x - w * 0.8, x + w * 0.8, 0, 0.25, s), (26, 26, 28), OTHER)
    patch(canvas, limb(x, 0.2, w * 0.9, x, 1.05, w, s), prop.colour, OTHER)
    patch(canvas, limb(x, 1.05, w, x, 1.35, w * 0.85, s), darker(prop.colour, 0.6), OTHER)
    for side in (-1, 1):
        e = x + side * w * 0.7
        patch(canvas, upright(e - 0.1, e + 0.1, 0.75, 0.9, s), (210, 60, 40), OTHER)


def _sign(canvas: Canvas, prop: Prop, mark: int) -> None:
    """The post is scenery; the object is the plate: a speed limit, a warning triangle or a parking sign."""
    x, y, s, r = prop.x, 2.4, prop.s, prop.size / 2
    patch(canvas, upright(x - 0.06, x + 0.06, 0, y, s), (120, 122, 126), OTHER)
    if canvas.way < 0:  # signs show their grey back to the rear camera
        patch(canvas, disc(x, y, s, r), (140, 142, 146), OTHER)
        return
    if prop.variant == 0:
        patch(canvas, disc(x, y, s, r), (206, 30, 30), mark)
        patch(canvas, disc(x, y, s, r * 0.66), (244, 244, 240), mark)
        patch(canvas, upright(x - 0.16, x + 0.16, y - 0.18, y + 0.18, s), (30, 30, 30), mark)
    elif prop.variant == 1:
        patch(canvas, disc(x, y - 0.1, s, r * 1.2, 3, np.pi / 2), (206, 30, 30), mark)
        patch(canvas, disc(x, y - 0.1, s, r * 0.72, 3, np.pi / 2), (248, 240, 200), mark)
    else:
        patch(canvas, upright(x - r, x + r, y - r, y + r, s), (34, 80, 190), mark)
        patch(canvas, upright(x - 0.2, x - 0.04, y - 0.35, y + 0.35, s), (244, 244, 244), mark)
        patch(canvas, upright(x - 0.04, x + 0.24, y, y + 0.35, s), (244, 244, 244), mark)


def _light(canvas: Canvas, prop: Prop, mark: int, state: str) -> None:
    """Three lamps in a dark box. By day they are pale and fade with distance; at dusk they glow."""
    x, s, night = prop.x, prop.s, canvas.mood.dark
    patch(canvas, upright(x - 0.1, x + 0.1, 0, 2.6, s), (60, 62, 64), OTHER)
    patch(canvas, upright(x - 0.5, x + 0.5, 2.4, 4.9, s), prop.colour, mark)
    for lamp, y in (("red", 4.46), ("amber", 3.65), ("green", 2.84)):
        on = lamp == state and canvas.way > 0
        red, green, blue = LAMPS[lamp]
        if on and not night:
            colour = ((3 * red + 200) // 4, (3 * green + 200) // 4, (3 * blue + 200) // 4)
        else:  # the rear camera sees the back of the box
            colour = LAMPS[lamp] if on else darker(LAMPS[lamp], 0.25) if canvas.way > 0 else prop.colour
        patch(canvas, disc(x, y, s, 0.38 if on and night else 0.32), colour, mark, glows=on and night)


# ---------------------------------------------------------------- road users
def _car(canvas: Canvas, car: Car, frame: int, mark: int) -> None:
    """A box with a cabin; the near face is a rear with brake lights or a front with headlights."""
    width, height, length = car.size
    middle, w, van = car_s(car, frame), width / 2, height > 1.9
    near, far = middle - canvas.way * length / 2, middle + canvas.way * length / 2
    belt, c = height * (0.62 if not van else 0.58), 0.8 if not van else 0.92
    dark = darker(car.colour, 0.66)
    tyre, glass = (22, 22, 24), (58, 74, 92)
    inset = 0.12 * length if not van else 0.02 * length
    roof = (near + canvas.way * inset, far - canvas.way * inset)
    x, night = car.x, canvas.mood.dark

    # the shadow below the car ties it to the road
    patch(canvas, level(x - w, x + w, near, far, 0.02), (40, 40, 44), mark)
    for side in (-1, 1):
        e = x + side * w
        patch(canvas, standing(e, 0.25, belt, near, far), dark, mark)
        k = x + side * w * c
        cabin = np.array([[e, belt, near], [e, belt, far], [k, height, roof[1]], [k, height, roof[0]]])
        patch(canvas, cabin, dark, mark)
        pane = (cabin - [0, belt, middle]) * [1, 0.85, 0.8] + [0, belt, middle]
        patch(canvas, pane, glass, mark)
        for axle in (0.22, 0.78):
            centre, angle = near + (far - near) * axle, np.arange(10) * np.pi / 5
            wheel = np.stack([np.full(10, e), 0.33 + 0.33 * np.sin(angle), centre + 0.33 * np.cos(angle)], 1)
            patch(canvas, wheel, tyre, mark)
    for e in (x - w + 0.16, x + w - 0.16):
        patch(canvas, upright(e - 0.14, e + 0.14, 0, 0.45, near), tyre, mark)
    patch(canvas, upright(x - w, x + w, 0.26, belt, near), car.colour, mark)
    ridge = [[x + w * c, height, roof[0]], [x - w * c, height, roof[0]]]
    top = np.array([[x - w, belt, near], [x + w, belt, near], *ridge])
    patch(canvas, top, car.colour, mark)
    screen = (top - [x, belt, 0]) * [0.84, 0.78, 1] + [x, belt + 0.04, 0]
    patch(canvas, screen, glass if not night else (36, 44, 58), mark)
    patch(canvas, upright(x - w, x + w, 0.26, 0.42, near), (50, 50, 54), mark)  # bumper
    lamp_y = belt - 0.3
    if car.heading * canvas.way > 0:
        red = LAMPS["red"] if car.brakes else ((150, 20, 20) if not night else (190, 24, 24))
        for side in (-1, 1):
            e = x + side * (w - 0.2)
            grow = 0.06 if car.brakes else 0.0
            shape = upright(e - 0.2 - grow, e + 0.2 + grow, lamp_y - grow, lamp_y + 0.26 + grow, near)
            patch(canvas, shape, red, mark, glows=night or car.brakes)
        patch(canvas, upright(x - 0.28, x + 0.28, 0.46, 0.6, near), (228, 222, 190), mark)
    else:
        grille = upright(x - w * 0.5, x + w * 0.5, 0.44, belt - 0.18, near)
        patch(canvas, grille, (36, 36, 40), mark)
        for side in (-1, 1):
            lamp = disc(x + side * (w - 0.24), lamp_y + 0.1, near, 0.27 if night else 0.2)
            patch(canvas, lamp, (255, 244, 200), mark, glows=night)


def _person(canvas: Canvas, person: Person, frame: int, mark: int) -> None:
    """Legs that swing with the distance walked, a coat, arms and a head."""
    x, s = person_at(person, frame)
    h, skin, trousers = person.height, (214, 170, 140), (48, 50, 62)
    walked = (person.speed_s + person.speed_x) * frame * 0.5
    swing = 0.26 * np.sin(2 * np.pi * walked / 1.5 + person.s)
    for sign in (-1, 1):
        foot = x + sign * (0.09 + abs(swing) * 0.9)
        patch(canvas, limb(x + sign * 0.11, 0.5 * h, 0.09, foot, 0, 0.09, s), trousers, mark)
        hand = x + sign * 0.36 + swing * 0.4
        arm = limb(x + sign * 0.22, 0.81 * h, 0.08, hand, 0.45 * h, 0.06, s)
        patch(canvas, arm, darker(person.coat, 0.8), mark)
    patch(canvas, limb(x, 0.44 * h, 0.25, x, 0.84 * h, 0.23, s), person.coat, mark)
    patch(canvas, disc(x, 0.91 * h, s, 0.15), skin, mark)
    patch(canvas, disc(x, 0.95 * h, s, 0.13), (60, 44, 34), mark)  # hair


def _objects(canvas: Canvas, clip: Clip, frame: int, marks: Image.Image) -> list[Silhouette]:
    """Paint houses, then everything else from far to near; returns what may be judged."""
    houses = [prop for prop in clip.props if prop.kind == "building"]
    for prop in sorted(houses, key=lambda prop: -canvas.way * prop.s):
        _building(canvas, prop)
    scenery: dict[str, Callable[[Canvas, Prop], None]] = {
        "tree": _tree, "lamp": _lamp, "pillar": _pillar, "container": _container,
    }  # fmt: skip
    queue = [(prop.s, prop.kind, prop) for prop in clip.props if prop.kind != "building"]
    queue += [(car_s(car, frame), "car", car) for car in clip.cars]
    queue += [(person_at(person, frame)[1], "pedestrian", person) for person in clip.people]
    seen, mark = [], FIRST_OBJECT
    for s, kind, what in sorted(queue, key=lambda item: -canvas.way * item[0]):
        z = canvas.way * (s - canvas.s) - (what.size[2] / 2 if kind == "car" else 0.0)
        if not NEAR_M < z < 90:
            continue
        if kind in scenery:
            scenery[kind](canvas, what)
            continue
        if kind == "car":
            _car(canvas, what, frame, mark)
        elif kind == "pedestrian":
            _person(canvas, what, frame, mark)
        elif kind == "sign":
            _sign(canvas, what, mark)
        else:
            _light(canvas, what, mark, clip.lights[frame])
        seen.append((mark, kind, what, np.asarray(marks) == mark))
        mark += 1
    return seen


def _rain(canvas: Canvas, rng: np.random.Generator) -> None:
    """Few, faint streaks: enough to see the weather, little enough to compress."""
    colour = shade(canvas.mood, (214, 220, 228), 20.0)
    for u, v, length in rng.uniform((0, 0, 12), (WIDTH * FINE, HEIGHT * FINE, 28), (22, 3)).tolist():
        canvas.brush.line([u, v, u - length * 0.25, v + length], fill=colour, width=1)


def _own_car(canvas: Canvas) -> None:
    """The strip of the own car that the camera cannot avoid: bonnet ahead, boot lid behind."""
    colour = shade(canvas.mood, (52, 60, 78) if canvas.way > 0 else (44, 48, 58), 0.0)
    area = [0, HOOD_PX * FINE, WIDTH * FINE, HEIGHT * FINE]
    canvas.brush.rectangle(area, fill=colour)
    canvas.marker.rectangle(area, fill=HOOD)
