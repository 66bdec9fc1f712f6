"""The stack: 48 networks and what each is asked, exactly 1,000 predictions.

Each of eight cameras has a trunk, named like the camera, and four networks that read its features. Eight networks of
the second stage read the features of several cameras. `docs/roadworld.md` says what each head is for.
"""

from __future__ import annotations

from typing import NamedTuple

from .cameras import NAMES
from .driving import CORRIDORS, FAN, OFFSETS, SECTORS, STALLS
from .roads import MARKINGS
from .topdown import COARSE, GRID
from .truth import ATTRIBUTES, BANDS, KINDS, SIGNALS, ZONES
from .world import LIGHTS, PLACES, SIGNS

#: Cameras that are asked for signs and lights: the others look at their backs. And those whose finds `traffic` reads.
READS_SIGNS = ("main", "narrow", "wide")
WATCHED = ("main", "narrow", "wide", "rear")
WAYS = ("ahead", "ahead_left", "left", "back_left", "back", "back_right", "right", "ahead_right")


class Judged(NamedTuple):
    """One judged head. column: of the frame table; without, the truth is the array `truth/<head>.npy` or a box table.

    more: further lines of its [[heads]] table in suite.toml.
    """

    network: str
    name: str
    task: str
    channels: tuple[str, ...] = ()
    column: str = ""
    more: tuple[str, ...] = ()

    @property
    def head(self) -> str:
        return f"{self.network}.{self.name}"

    @property
    def predictions(self) -> int:
        skipped = 1 if self.task == "segmentation" else 0  # "none" is emitted and not judged
        return max(len(self.channels), 1) - skipped


class Network(NamedTuple):
    """inputs: (program input, what it reads). outputs: in order, judged ones first; `memory` is the state of a
    recurrent network."""

    name: str
    inputs: tuple[tuple[str, str], ...]
    outputs: tuple[str, ...]


SIGMOID, METRES = ('score = "sigmoid"',), ('unit = "m"',)
RASTER = (*SIGMOID, "ignore = 255")


def _camera(camera: str) -> tuple[Judged, ...]:
    thirds, bands = ("left", "middle", "right"), tuple(f"band_{k}" for k in range(BANDS))
    objects, road, depth, scene = (f"{camera}_{part}" for part in ("objects", "road", "depth", "scene"))
    decoder = (
        f'outputs = {{ heat = "{objects}.det_heat", box = "{objects}.det_box" }}',
        'decoder = { kind = "centernet", peak = 3, top = 20, floor = 0.05, boxes = "corners" }',
        'match = { kind = "iou", at = 0.5 }',
    )
    signs = (
        Judged(scene, "signs", "multilabel", SIGNS, more=SIGMOID),
        Judged(scene, "signal", "multiclass", SIGNALS, f"signal_{camera}"),
    )
    return (
        Judged(objects, "det", "detection", KINDS, more=decoder),
        Judged(objects, "near", "multilabel", tuple(f"{k}_{t}" for k in KINDS for t in thirds), more=SIGMOID),
        Judged(objects, "attributes", "multilabel", ATTRIBUTES, more=SIGMOID),
        Judged(objects, "heading", "orientation"),
        Judged(objects, "range", "regression", KINDS, more=METRES),
        Judged(road, "drivable", "occupancy", more=RASTER),
        Judged(road, "edge", "occupancy", more=RASTER),
        Judged(road, "marking", "segmentation", ("none", *MARKINGS),
               more=('score = "softmax"', 'skip = ["none"]', "ignore = 255")),
        Judged(road, "seen", "multilabel", tuple(MARKINGS), more=SIGMOID),
        Judged(road, "free", "regression", bands, more=METRES),
        Judged(depth, "depth", "depth", more=("cap = 60",)),
        Judged(depth, "bands", "regression", bands, more=METRES),
        Judged(scene, "light", "multiclass", LIGHTS, "light"),
        Judged(scene, "weather", "multilabel", ("rain", "glare"), more=SIGMOID),
        Judged(scene, "blocked", "multilabel", ZONES, more=SIGMOID),
        *(signs if camera in READS_SIGNS else ()),
    )  # fmt: skip


def _second_stage() -> tuple[Judged, ...]:
    side = GRID // COARSE
    cells = tuple(f"r{row:02d}c{column:02d}" for row in range(side) for column in range(side))
    line = ("period = 180",)
    return (
        Judged("topdown", "objects", "occupancy", ("car", "person", "cone"), more=RASTER),
        Judged("topdown_road", "drivable", "occupancy", more=RASTER),
        Judged("topdown_road", "edge", "occupancy", more=RASTER),
        Judged("topdown_road", "marking", "occupancy", more=RASTER),
        Judged("layout", "corridor", "multilabel", tuple(f"at_{k * 360 // CORRIDORS:03d}" for k in range(CORRIDORS)),
               more=SIGMOID),
        Judged("layout", "junction", "binary", more=SIGMOID),
        Judged("layout", "distance", "regression", more=METRES),
        Judged("layout", "place", "multiclass", PLACES, "place"),
        Judged("layout", "legs", "multilabel", ("left", "ahead", "right"), more=SIGMOID),
        Judged("layout", "heading", "orientation", more=line),
        Judged("layout", "crossing", "orientation", more=line),
        Judged("layout", "lanes", "multiclass", ("one", "two"), "lanes"),
        Judged("layout", "margins", "regression", ("left", "right"), more=METRES),
        Judged("path", "steering", "regression", more=('unit = "degrees"',)),
        Judged("path", "offsets", "regression", tuple(f"at_{2 * k + 2:02d}m" for k in range(OFFSETS)), more=METRES),
        Judged("path", "free", "regression", tuple(f"fan_{k:02d}" for k in range(FAN)), more=METRES),
        Judged("path", "stop", "binary", more=SIGMOID),
        Judged("traffic", "lead", "regression", more=METRES),
        Judged("traffic", "braking", "binary", more=SIGMOID),
        Judged("traffic", "following", "binary", more=SIGMOID),
        Judged("traffic", "oncoming", "binary", more=SIGMOID),
        Judged("traffic", "person", "binary", more=SIGMOID),
        Judged("traffic", "signal", "multiclass", SIGNALS, "signal"),
        Judged("parking", "kerb", "regression", WAYS, more=METRES),
        Judged("parking", "stalls", "multilabel", tuple(f"{s}_{k}" for s in ("left", "right") for k in range(STALLS)),
               more=SIGMOID),
        Judged("parking", "door", "binary", more=SIGMOID),
        Judged("surround", "present", "multilabel", tuple(f"{k}_{w}" for k in KINDS for w in WAYS), more=SIGMOID),
        Judged("surround", "nearest", "regression", tuple(f"{k}_{w}" for k in ("car", "person") for w in WAYS),
               more=METRES),
        Judged("memory", "roads", "multilabel", cells, more=SIGMOID),
        Judged("memory", "cars", "multilabel", cells, more=SIGMOID),
        Judged("memory", "hidden", "occupancy", more=RASTER),
    )  # fmt: skip


JUDGED = (*(head for camera in NAMES for head in _camera(camera)), *_second_stage())
assert len(WAYS) == SECTORS


def _outputs(network: str) -> tuple[str, ...]:
    """The outputs of a network's judged heads, in order; a detection head is made of two."""
    own = [head.name for head in JUDGED if head.network == network]
    return tuple(part for name in own for part in (("det_heat", "det_box") if name == "det" else (name,)))


def _networks() -> tuple[Network, ...]:
    found = [Network(camera, (("image", camera),), ("features",)) for camera in NAMES]
    for camera in NAMES:
        for part in ("objects", "road", "depth", "scene"):
            name = f"{camera}_{part}"
            # what a camera found, and the lamps and signs that it read, `traffic` reads again
            more = ("found",) if part == "objects" and camera in WATCHED else ()
            reads = (("features", f"{camera}.features"),)
            if part == "scene" and camera in READS_SIGNS:
                more = ("read",)
            if part == "objects" or more:  # a lamp, a far person is two pixels wide: features are too coarse
                reads = (*reads, ("image", camera))
            found.append(Network(name, reads, (*_outputs(name), *more)))
    every = tuple((camera, f"{camera}.features") for camera in NAMES)
    ahead = tuple((camera, f"{camera}.features") for camera in READS_SIGNS)
    maps = (("things", "topdown.map"), ("ground", "topdown_road.map"))
    ego = ("ego", "ego")
    second = {
        "topdown": (every, ("map",)),
        "topdown_road": (every, ("map",)),
        "layout": ((*every, maps[1]), ()),
        "path": ((*ahead, *maps, ego), ()),
        "traffic": (
            (
                *((camera, f"{camera}_objects.found") for camera in WATCHED),
                *((f"{camera}_signs", f"{camera}_scene.read") for camera in READS_SIGNS),
                ("lamps", "narrow_objects.attributes"),  # the car ahead is nearest in a long lens
            ),
            (),
        ),
        "parking": (maps, ()),
        "surround": ((maps[0],), ()),
        "memory": ((*maps, ego, ("memory", "memory.memory")), ("memory",)),
    }
    return (*found, *(Network(n, inputs, (*_outputs(n), *more)) for n, (inputs, more) in second.items()))


NETWORKS = _networks()
