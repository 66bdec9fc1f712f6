"""Write the exam: pictures, truths, `suite.toml` and `policy.toml`, the same bytes every time.

The bytes depend on the versions of Pillow, NumPy and zlib, as compressors do; what the files say does not.
"""

from __future__ import annotations

import csv
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from . import canvas, draw, world

SEED = 20_260  # of the shipped clips; training uses another world, so nobody learns the exam by heart
CLIPS = 90
DEFINITIONS = Path(__file__).parent / "definitions"
LIGHTS = ("red", "amber", "green", "none")
# Smaller than this, or hidden more than this, a person would hesitate too: the object counts for nobody.
MIN_PX = {"car": (2.5, 4.0), "pedestrian": (2.5, 9.0)}  # width, height
MIN_VISIBLE = 0.4
PRESENT_PX = {"car": 8.0, "pedestrian": 9.0}  # `presence` asks for what is near: within about 15 m
MIN_SIGN_PX = 4.0
MIN_LIGHT_PX = (2.0, 5.0)
GONE = 0.1  # hidden more than nine tenths: not even worth ignoring
BUSY = 3  # this many cars in the front picture are `traffic = high`
TRUTH_COLUMNS = (
    "has_car", "has_pedestrian", "has_sign", "light", "lead_distance",
    "following", "rear_has_car", "rear_has_pedestrian",
)  # fmt: skip
COLUMNS = ("frame_id", "clip_id", "frame_index", "split", "time_of_day", "weather", "traffic", *TRUTH_COLUMNS)
BOX_COLUMNS = ("frame_id", "class", "x0", "y0", "x1", "y1", "ignore")


@dataclass(frozen=True)
class Box:
    """x0, y0, x1, y1 in pixels; `ignore` when too small or too hidden to be asked for."""

    kind: str
    corners: tuple[float, float, float, float]
    ignore: bool


@dataclass(frozen=True)
class Frame:
    """One instant: both pictures and what is true. `lead_distance` is NaN when the lane ahead is free."""

    front: np.ndarray
    rear: np.ndarray
    classes: np.ndarray
    drivable: np.ndarray
    boxes: tuple[Box, ...]
    presence: tuple[bool, bool, bool]
    light: str
    traffic: str
    lead_distance: float
    following: bool
    rear_boxes: tuple[Box, ...]
    rear_presence: tuple[bool, bool]


def observe(clip: world.Clip, index: int) -> Frame:
    """Both cameras' pictures of one frame, and its truth."""
    front, rear = draw.render(clip, index, "front"), draw.render(clip, index, "rear")
    boxes, rear_boxes = _boxes(front), _boxes(rear)
    return Frame(
        front=front.picture,
        rear=rear.picture,
        classes=front.classes,
        drivable=world.drivable_grid(clip, index),
        boxes=boxes,
        presence=(_any(boxes, "car"), _any(boxes, "pedestrian"), _shows_sign(front)),
        light=clip.lights[index] if _shows_light(front) else "none",
        traffic="high" if sum(box.kind == "car" for box in boxes) >= BUSY else "low",
        lead_distance=_lead_distance(clip, index, front),
        following=world.is_followed(clip, index),
        rear_boxes=rear_boxes,
        rear_presence=(_any(rear_boxes, "car"), _any(rear_boxes, "pedestrian")),
    )


def _boxes(view: draw.View) -> tuple[Box, ...]:
    found = []
    for seen in view.seen:
        if seen.kind not in MIN_PX or seen.visible_share < GONE:
            continue
        width, height = seen.box[2] - seen.box[0], seen.box[3] - seen.box[1]
        least_width, least_height = MIN_PX[seen.kind]
        ignore = width < least_width or height < least_height or seen.visible_share < MIN_VISIBLE
        found.append(Box(seen.kind, seen.box, ignore))
    return tuple(found)


def _any(boxes: tuple[Box, ...], kind: str) -> bool:
    near = [box for box in boxes if box.kind == kind and box.corners[3] - box.corners[1] >= PRESENT_PX[kind]]
    return any(not box.ignore for box in near)


def _shows_sign(view: draw.View) -> bool:
    signs = [seen for seen in view.seen if seen.kind == "sign" and seen.visible_share >= MIN_VISIBLE]
    return any(min(s.box[2] - s.box[0], s.box[3] - s.box[1]) >= MIN_SIGN_PX for s in signs)


def _shows_light(view: draw.View) -> bool:
    """Whether the whole box of lamps is in the picture: its edge may have cut off the lamp that is lit."""
    for seen in view.seen:
        if seen.kind == "light" and seen.visible_share >= 0.6:
            x0, y0, x1, y1 = seen.box
            whole = x0 > 0 and y0 > 0 and x1 < canvas.WIDTH
            return whole and x1 - x0 >= MIN_LIGHT_PX[0] and y1 - y0 >= MIN_LIGHT_PX[1]
    return False


def _lead_distance(clip: world.Clip, index: int, view: draw.View) -> float:
    """Metres to the lead car, NaN when there is none or when it cannot be seen."""
    gap = world.gap_ahead(clip, index)
    if gap is None:
        return float("nan")
    rear_s = world.ego_s(clip, index) + gap
    for seen in view.seen:
        if isinstance(seen.what, world.Car) and abs(seen.what.x) < world.LANE_M / 2:
            same = abs(world.car_s(seen.what, index) - seen.what.size[2] / 2 - rear_s) < 1e-6
            if same and seen.visible_share >= MIN_VISIBLE:
                return gap
    return float("nan")


# ---------------------------------------------------------------- files
def make_suite(out: Path) -> dict[str, dict[str, int]]:
    """Write the suite folder; returns, per split and channel, in how many clips the channel occurs."""
    for folder in ("images", "labels"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    rows, boxes, frame_ids, grids = [], [], [], []
    for number in range(CLIPS):
        clip = world.make_clip(SEED, number)
        for index in range(world.FRAMES):
            frame, frame_id = observe(clip, index), f"clip-{number:03d}-{index}"
            rows.append(_row(clip, index, frame_id, frame))
            boxes += [_box_row(frame_id, box) for box in frame.boxes]
            frame_ids.append(frame_id)
            grids.append(frame.drivable)
            _save_png(frame.front, out / "images" / f"{frame_id}.front.png")
            _save_png(frame.rear, out / "images" / f"{frame_id}.rear.png")
            _save_png(frame.classes, out / "labels" / f"{frame_id}.png")
    _save_csv(out / "frames.csv", COLUMNS, rows)
    _save_csv(out / "boxes.csv", BOX_COLUMNS, boxes)
    _save_npz(out / "rasters.npz", {"frame_id": np.array(frame_ids), "drivable": np.stack(grids)})
    for name in ("suite.toml", "policy.toml"):
        (out / name).write_bytes((DEFINITIONS / name).read_bytes())
    return _clips_by_channel(rows)


def _row(clip: world.Clip, index: int, frame_id: str, frame: Frame) -> dict[str, object]:
    lead = "" if np.isnan(frame.lead_distance) else f"{frame.lead_distance:.2f}"
    flags = zip(
        ("has_car", "has_pedestrian", "has_sign", "following", "rear_has_car", "rear_has_pedestrian"),
        (*frame.presence, frame.following, *frame.rear_presence),
        strict=True,
    )
    return {
        "frame_id": frame_id,
        "clip_id": frame_id.rsplit("-", 1)[0],
        "frame_index": index,
        "split": "calibration" if clip.index % 3 == 0 else "validation",
        "time_of_day": clip.time_of_day,
        "weather": clip.weather,
        "traffic": frame.traffic,
        "light": frame.light,
        "lead_distance": lead,
        **{name: int(flag) for name, flag in flags},
    }


def _box_row(frame_id: str, box: Box) -> dict[str, object]:
    corners = zip(("x0", "y0", "x1", "y1"), (f"{value:g}" for value in box.corners), strict=True)
    return {"frame_id": frame_id, "class": box.kind, **dict(corners), "ignore": int(box.ignore)}


def _clips_by_channel(rows: list[dict[str, object]]) -> dict[str, dict[str, int]]:
    """How many clips of each split hold a value; values that are not 0 or empty, light by state."""
    clips: dict[str, dict[str, set[object]]] = {}
    for row in rows:
        for name in ("time_of_day", "weather", "traffic", *TRUTH_COLUMNS):
            value = row[name]
            if value in (0, ""):
                continue
            label = f"{name}={value}" if isinstance(value, str) and name != "lead_distance" else name
            clips.setdefault(str(row["split"]), {}).setdefault(label, set()).add(row["clip_id"])
    return {split: {name: len(ids) for name, ids in sorted(found.items())} for split, found in clips.items()}


def _save_png(pixels: np.ndarray, path: Path) -> None:
    Image.fromarray(pixels).save(path, optimize=True)


def _save_csv(path: Path, columns: tuple[str, ...], rows: list[dict[str, object]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.write_bytes(text.getvalue().encode())


def _save_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """As `np.savez_compressed`, which stamps the time of writing into the archive, but with a fixed date."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            data = io.BytesIO()
            np.lib.format.write_array(data, array, allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data.getvalue())
