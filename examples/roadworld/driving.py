"""What is true for whoever drives: the layout of the roads, the own path, who is where around the car."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import roads
from .integers import TURN, Ints, into, rotate, signed
from .roads import ASPHALT, STALL_WIDTH, Road
from .truth import KINDS, NAN, degrees
from .world import BRAKE, DOOR, EGO, FRAMES, MOVING, STEP, Clip

Array = NDArray[Any]
Bools = NDArray[np.bool_]

SECTORS, CORRIDORS, FAN, OFFSETS, STALLS = 8, 16, 16, 8, 6
JUNCTION = 3000  # cm ahead within which a junction is asked for
PRESENT, AROUND = 1200, 2000  # cm: `present` and `nearest` of the surround network
REACH = 2000  # cm of the free-path fan
KERB = 1500  # cm to which kerbs are looked for
RAY = 25  # cm between two looks along a ray
SQUARES = np.arange(4096, dtype=np.int64) ** 2


def length(x: Any, y: Any) -> Ints:
    """The length of (x, y) in cm, rounded up, at most 4095: looked up in a table of squares."""
    return np.searchsorted(SQUARES, np.minimum(x.astype(np.int64) ** 2 + y.astype(np.int64) ** 2, SQUARES[-1])).astype(
        np.int32
    )


def metres(cm: Any, known: Any = True) -> NDArray[np.float32]:
    return np.where(known, np.asarray(cm).astype(np.float32) / np.float32(100), NAN).astype(np.float32)


def around(clip: Clip) -> tuple[Ints, Ints, Ints]:
    """(ahead, left, turned) of every thing as the ego car has it, (FRAMES, things)."""
    ego = clip.ego[:, None]
    ahead, left = into(clip.poses[..., 0] - ego[..., 0], clip.poses[..., 1] - ego[..., 1], ego[..., 2])
    return ahead, left, signed(clip.poses[..., 2] - ego[..., 2])


def bearing(ahead: Ints, left: Ints, sectors: int) -> NDArray[np.int64]:
    """Which of so many equal sectors a place is in, counter-clockwise, the first one centred straight ahead."""
    from .integers import COS, SIN

    middles = np.arange(sectors) * TURN // sectors
    scores = ahead[..., None].astype(np.int64) * COS[middles] + left[..., None].astype(np.int64) * SIN[middles]
    return scores.argmax(-1)


def rays(clip: Clip, angles: Ints, reach: int) -> Ints:
    """(FRAMES, rays) cm from the car's middle to where a ray leaves what may be driven on, `reach` when it does not."""
    way = np.arange(RAY, reach + 1, RAY, dtype=np.int32)
    dx, dy = rotate(way, np.int32(0), (clip.ego[:, 2, None, None] + angles[:, None]) % TURN)
    code = roads.ground(clip.ground, clip.ego[:, 0, None, None] + dx, clip.ego[:, 1, None, None] + dy)
    off = code < ASPHALT
    return np.where(off.any(-1), way[off.argmax(-1)], reach)


def _hits(clip: Clip, angles: Ints, reach: int) -> Ints:
    """(FRAMES, rays) cm to the first car, person, cyclist or cone on a ray, `reach` without."""
    those = clip.of("car", "van", "pedestrian", "cyclist", "cone")
    best = np.full((FRAMES, len(angles)), reach, np.int32)
    if not len(those):
        return best
    ahead, left, turned = (part[:, those] for part in around(clip))
    half = np.array([(clip.things[k].length // 2, clip.things[k].width // 2) for k in those], np.int32)
    frame, at = np.nonzero((np.abs(ahead) < reach + 300) & (np.abs(left) < reach + 300))
    ox, oy = into(-ahead[frame, at], -left[frame, at], turned[frame, at])
    ox, oy, half = ox[:, None], oy[:, None], half[at]
    unit = np.int32(4096)
    dx, dy = rotate(unit, np.int32(0), (angles[None] - turned[frame, at][:, None]) % TURN)
    dx, dy = np.where(dx == 0, 1, dx), np.where(dy == 0, 1, dy)
    x1, x2 = (-half[:, :1] - ox) * unit // dx, (half[:, :1] - ox) * unit // dx
    y1, y2 = (-half[:, 1:] - oy) * unit // dy, (half[:, 1:] - oy) * unit // dy
    near = np.maximum(np.minimum(x1, x2), np.minimum(y1, y2))
    far = np.minimum(np.maximum(x1, x2), np.maximum(y1, y2))
    way = np.where((near < far) & (near > 0), np.minimum(near, reach), reach)
    np.minimum.at(best, frame, way)
    return best


def path(clip: Clip) -> dict[str, Array]:
    """steering: (F, 1) degrees that the path turns in 5 m. offsets: (F, 8) m to its left after 2, 4, ... m.

    free: (F, 16) m in a fan of 120 degrees ahead, from the left. stop: (F, 1) whether it stands within two seconds.
    """
    start = clip.ways // STEP
    there = clip.path[start + 500 // STEP]
    steps = start[:, None] + np.arange(1, OFFSETS + 1) * 200 // STEP
    ahead = clip.path[steps]
    _, left = into(ahead[..., 0] - clip.ego[:, None, 0], ahead[..., 1] - clip.ego[:, None, 1], clip.ego[:, None, 2])
    fan = (TURN // 6 - np.arange(FAN) * (TURN // 3) // (FAN - 1)).astype(np.int32)
    free = np.minimum(rays(clip, fan, REACH), _hits(clip, fan, REACH))
    speed = np.diff(clip.ways, append=clip.ways[-1] + (clip.ways[-1] - clip.ways[-2]))
    stop = [bool((speed[k : k + 8] < 10).any()) for k in range(FRAMES)]
    return {
        "steering": degrees(there[:, 2:3] - clip.ego[:, 2:3]).astype(np.float32),
        "offsets": metres(left),
        "free": metres(free),
        "stop": np.array(stop, np.float32)[:, None],
    }


def _own(clip: Clip) -> tuple[Road | None, Array, Array]:
    """The road that the ego car started on, and its way along and across it in each frame."""
    if not clip.ground.roads:
        lot = clip.ground.lot
        assert lot is not None
        along, across = into(clip.ego[:, 0] - lot.x, clip.ego[:, 1] - lot.y, lot.angle)
        return None, along, across
    road = clip.ground.roads[0]
    along, across = into(clip.ego[:, 0] - road.x, clip.ego[:, 1] - road.y, road.angle)
    return road, along, across - road.middle(along)


def layout(clip: Clip) -> dict[str, Array]:
    """corridor: (F, 16) directions in which a road or aisle leads. junction: (F, 1); distance: (F, 1) m to its middle.

    legs: (F, 3) left, ahead, right of it. heading, crossing: (F, 1) degrees from the car's heading to the own and the
    crossing road's line, within -90 to 90. margins: (F, 2) m to the left and right edge of what is drivable.
    """
    road, along, _ = _own(clip)
    ego, aisle = clip.ego[:, 2], clip.ground.lot.angle if clip.ground.lot else 0
    own = np.array([road.heading(int(a)) if road else aisle for a in along])
    legs = [own, own + TURN // 2]
    junction, distance = np.zeros(FRAMES, bool), np.zeros(FRAMES, np.int32)
    legs_of = np.full((FRAMES, 3), NAN)
    crossing = np.full((FRAMES, 1), NAN)
    if clip.junction > 0:
        other = clip.ground.roads[clip.junction]
        ahead, left = into(other.x - clip.ego[:, 0], other.y - clip.ego[:, 1], ego)
        junction = (ahead > -300) & (ahead < JUNCTION) & (np.abs(left) < 1500)
        distance = length(ahead, left)
        through = other.start < -50_000
        arms = [other.angle] + ([(other.angle + TURN // 2) % TURN] if through else [])
        sides = [int(signed((arm - own[0]) % TURN)) for arm in arms]
        here = (any(s > 0 for s in sides), True, any(s < 0 for s in sides))
        before = np.abs(signed(ego - own)) < TURN // 16  # in the turn, left and right mean something else
        legs_of = np.where((junction & before)[:, None], np.array(here, np.float32), NAN)
        crossing = np.where(junction[:, None], _line(other.angle - ego)[:, None], NAN)
        legs += [np.where(junction, arm, -1) for arm in arms]
    corridor = np.zeros((FRAMES, CORRIDORS), np.float32)
    for leg in legs:
        sector = ((leg - ego + TURN // CORRIDORS // 2) % TURN) // (TURN // CORRIDORS)
        known = leg >= 0
        corridor[np.flatnonzero(known), sector[known]] = 1
    sides = np.array([TURN // 4, -TURN // 4], np.int32)
    return {
        "corridor": corridor,
        "junction": junction[:, None].astype(np.float32),
        "distance": metres(distance, junction)[:, None],
        "legs": legs_of.astype(np.float32),
        "heading": _line(own - ego)[:, None].astype(np.float32),
        "crossing": crossing.astype(np.float32),
        "margins": metres(rays(clip, sides, 1000)),
    }


def _line(angle: Any) -> Any:
    """Degrees of an undirected line, -90 to 90."""
    return degrees((angle + TURN // 4) % (TURN // 2) - TURN // 4)


def traffic(clip: Clip, things: Bools) -> dict[str, Array]:
    """lead: (F, 1) m between bumpers to the next seen car in the own lane; braking: (F, 1) of it.

    following: (F, 1) a car within 12 m behind in the own lane. oncoming: (F, 1) a moving car that comes towards us
    within 25 m. person: (F, 1) a person or cyclist within 12 m on the way ahead, 2 m to each side.
    """
    cars, people = clip.of("car", "van"), clip.of("pedestrian", "cyclist")
    ahead, left, turned = around(clip)
    # `left` of the own path rather than of the car: a lane that bends is still the lane
    start = clip.ways // STEP
    reach = np.clip(ahead, 0, 2200) // STEP + start[:, None]
    spot = clip.path[np.minimum(reach, len(clip.path) - 1)]
    _, bend = into(spot[..., 0] - clip.ego[:, None, 0], spot[..., 1] - clip.ego[:, None, 1], clip.ego[:, None, 2])
    beside = np.abs(left - bend)
    size = np.array([t.length // 2 for t in clip.things], np.int32)
    gap = ahead - size - EGO[0] // 2
    in_lane = things & (beside < 150) & (np.abs(turned) < TURN // 8)
    lead = np.where(in_lane & (gap > 0) & (gap < 2000), gap, 1 << 20)[:, cars]
    nearest = lead.min(1, initial=1 << 20)
    has = nearest < 1 << 20
    state = clip.states[:, cars]
    which = lead.argmin(1) if len(cars) else np.zeros(FRAMES, np.int64)
    braking = (state[np.arange(FRAMES), which] & BRAKE) > 0 if len(cars) else np.zeros(FRAMES, bool)
    back = -ahead - size - EGO[0] // 2
    following = (in_lane & (back > 0) & (back < 1200))[:, cars].any(1)
    facing = things & (np.abs(turned) > TURN * 3 // 8) & ((clip.states & MOVING) > 0)
    oncoming = (facing & (ahead > 0) & (ahead < 2500) & (np.abs(left) < 900))[:, cars].any(1)
    crossing = (things & (ahead > EGO[0] // 2) & (ahead < 1200) & (beside < 200))[:, people].any(1)
    return {
        "lead": metres(nearest, has)[:, None],
        "braking": np.where(has, braking, NAN).astype(np.float32)[:, None],
        "following": following.astype(np.float32)[:, None],
        "oncoming": oncoming.astype(np.float32)[:, None],
        "person": crossing.astype(np.float32)[:, None],
    }


def parking(clip: Clip, things: Bools) -> dict[str, Array]:
    """kerb: (F, 8) m to where the drivable ends, by direction. door: (F, 1) a seen open door within 10 m.

    stalls: (F, 12) whether a stall beside the aisle is free, six on the left and six on the right, the first two behind
    the car's middle; NaN where there is no stall.
    """
    directions = (np.arange(SECTORS) * TURN // SECTORS).astype(np.int32)
    ahead, left, _ = around(clip)
    open_door = things & ((clip.states & DOOR) > 0) & (np.abs(ahead) < 1000) & (np.abs(left) < 1000)
    stalls = np.full((FRAMES, 2, STALLS), NAN)
    lot, cars = clip.ground.lot, clip.of("car", "van")
    if lot is not None:
        x, y = clip.ego[:, 0] - lot.x, clip.ego[:, 1] - lot.y
        along, _ = into(x, y, lot.angle)
        slot = (along // STALL_WIDTH)[:, None] + np.arange(-2, STALLS - 2)
        car_along, car_across = into(clip.poses[:, cars, 0] - lot.x, clip.poses[:, cars, 1] - lot.y, lot.angle)
        for number, side in enumerate((1, -1)):
            middle = slot * STALL_WIDTH + STALL_WIDTH // 2
            exists = lot.half_length - np.abs(middle) - roads.AISLE > STALL_WIDTH + 100
            depth = roads.AISLE // 2 + roads.STALL_DEPTH // 2
            inside = np.abs(car_along[:, None] - middle[..., None]) < STALL_WIDTH // 2
            inside &= np.abs(car_across[:, None] - side * depth) < roads.STALL_DEPTH // 2
            stalls[:, number] = np.where(exists, ~inside.any(-1), NAN)
    return {
        "kerb": metres(rays(clip, directions, KERB)),
        "stalls": stalls.reshape(FRAMES, -1).astype(np.float32),
        "door": open_door.any(1).astype(np.float32)[:, None],
    }


def surround(clip: Clip, things: Bools) -> dict[str, Array]:
    """present: (F, 32) whether a seen thing of a kind is within 12 m in a sector, kind by sector.

    nearest: (F, 16) m to the nearest seen car, then person or cyclist, by sector; NaN beyond 20 m.
    """
    ahead, left, _ = around(clip)
    far, sector = length(ahead, left), bearing(ahead, left, SECTORS)
    present = np.zeros((FRAMES, len(KINDS), SECTORS), np.float32)
    nearest = np.full((FRAMES, 2, SECTORS), 1 << 20, np.int32)
    for k, thing in enumerate(clip.things):
        kind = KINDS.index("car" if thing.kind == "van" else thing.kind) if thing.kind in (*KINDS, "van") else -1
        if kind < 0:
            continue
        at = np.flatnonzero(things[:, k] & (far[:, k] < AROUND))
        close = at[far[at, k] < PRESENT]
        present[close, kind, sector[close, k]] = 1
        if kind < 3:
            np.minimum.at(nearest[:, min(kind, 1)], (at, sector[at, k]), far[at, k])
    return {
        "present": present.reshape(FRAMES, -1),
        "nearest": metres(nearest, nearest < AROUND).reshape(FRAMES, -1),
    }
