"""A clip as the exam has it: pictures of all cameras, the truth of every head, the rows of the frame table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import driving, topdown, truth
from .heads import READS_SIGNS
from .integers import into, signed
from .paint import picture
from .render import render
from .truth import KINDS, SIGNALS
from .world import FRAMES, Clip

Array = NDArray[Any]


@dataclass(frozen=True)
class Observed:
    """pictures: camera -> (FRAMES, height, width, 3) uint8. truths: head -> (FRAMES, ...). boxes: camera -> rows of
    (frame, class, x0, y0, x1, y1, ignore). columns: of the frame table, name -> value of each frame. ego: (FRAMES, 4)
    metres ahead and to the left and degrees since the frame before, and what the navigator says.
    """

    pictures: dict[str, Array]
    truths: dict[str, Array]
    boxes: dict[str, list[tuple[int, str, int, int, int, int, int]]]
    columns: dict[str, list[object]]
    ego: Array


def observe(clip: Clip) -> Observed:
    """All that is seen and true in a clip."""
    world, views = render(clip)
    pictures, truths, boxes = {}, {}, {}
    signals: dict[str, list[object]] = {}
    for view in views:
        name = view.camera.name
        pictures[name] = picture(clip, world, view)
        found = truth.boxes(clip, world, view)
        rasters = truth.rasters(clip, world, view)
        scene = truth.scene(clip, world, view, found)
        parts = {
            "objects": truth.objects(clip, world, view, found),
            "road": {k: rasters[k] for k in ("drivable", "edge", "marking")}
            | truth.road(view, world, rasters["marking"]),
            "depth": {"depth": rasters["depth"]} | truth.depth(view, world),
            "scene": scene,
        }
        truths |= {f"{name}_{part}.{head}": value for part, heads in parts.items() for head, value in heads.items()}
        boxes[name] = _box_rows(found)
        signals[name] = [SIGNALS[k] for k in scene["signal"]]
    rasters, things = topdown.truths(clip, world, views)
    truths |= {f"topdown_road.{name}": rasters[name] for name in ("drivable", "edge", "marking")}
    truths |= {f"memory.{name}": rasters[name] for name in ("roads", "cars", "hidden")}
    truths["topdown.objects"] = rasters["objects"]
    for network, heads in (
        ("layout", driving.layout(clip)),
        ("path", driving.path(clip)),
        ("traffic", driving.traffic(clip, things)),
        ("parking", driving.parking(clip, things)),
        ("surround", driving.surround(clip, things)),
    ):
        truths |= {f"{network}.{name}": value for name, value in heads.items()}
    # The own light counts where a camera ahead reads it.
    own = [_own_signal(clip.signal[k], [signals[name][k] for name in READS_SIGNS]) for k in range(FRAMES)]
    lanes = ("one", "two")[clip.ground.roads[0].lanes[0] - 1] if clip.ground.roads else ""
    columns: dict[str, list[object]] = {
        "place": [clip.place] * FRAMES,
        "light": [clip.light] * FRAMES,
        "weather": [clip.weather] * FRAMES,
        "glass": ["dirty" if clip.blocked else "clean"] * FRAMES,
        "lanes": [lanes] * FRAMES,
        "signal": own,
        **{f"signal_{name}": signals[name] for name in READS_SIGNS},
    }
    return Observed(pictures, truths, boxes, columns, _ego(clip))


def _own_signal(state: str, read: list[object]) -> object:
    return state if state in read else "none"


def _box_rows(found: truth.Boxes) -> list[tuple[int, str, int, int, int, int, int]]:
    rows = []
    for k in np.flatnonzero(found.kind >= 0):
        x0, y0, x1, y1 = map(int, found.corners[k])
        rows.append((int(found.frame[k]), KINDS[found.kind[k]], x0, y0, x1, y1, int(found.ignore[k])))
    return rows


def _ego(clip: Clip) -> Array:
    before = clip.ego[[0, *range(FRAMES - 1)]]
    ahead, left = into(clip.ego[:, 0] - before[:, 0], clip.ego[:, 1] - before[:, 1], before[:, 2])
    turned = truth.degrees(signed(clip.ego[:, 2] - before[:, 2]))
    route = np.full(FRAMES, clip.route)
    return np.stack([driving.metres(ahead), driving.metres(left), turned, route], axis=1).astype(np.float32)
