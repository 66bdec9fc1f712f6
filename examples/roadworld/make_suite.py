"""Write the exam: `suite.toml`, pictures and truths of all clips, the same bytes on every machine."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from .cameras import CAMERAS, FINE
from .files import Rows, write_table
from .heads import JUDGED, Judged
from .observe import Observed, observe
from .scenes import make_clip
from .world import FRAMES

SEED = 20_261  # of the exam; training uses other worlds, so nobody learns the exam by heart
#: Clips of each split; the planner says what they can prove.
SPLITS = {"calibration": 40, "validation": 120, "sealed": 16}
CLIPS = sum(SPLITS.values())
LESSON_SEED, LESSON_CLIPS = 7, 640
COLUMNS = ("place", "light", "weather", "glass", "lanes", "signal", "signal_main", "signal_narrow", "signal_wide")
BOX_COLUMNS = ("frame_id", "class", "x0", "y0", "x1", "y1", "ignore")

Progress = Callable[[int, int], None]


def split_of(index: int) -> str:
    """The split of a clip: runs of clips, in the order of SPLITS, then "more"; no clip depends on another."""
    for name, count in SPLITS.items():
        if index < count:
            return name
        index -= count
    return "more"


def write_frames(
    out: Path,
    processes: int,
    progress: Progress = lambda done, total: None,
    *,
    seed: int = SEED,
    clips: int = CLIPS,
) -> None:
    """Render clips of a world into a folder: frame table, pictures, truths; without a word those of the exam.

    Worlds of other seeds have their clips in the splits of the exam too, as far as there are so many.
    """
    for folder in ("images", "truth", "boxes"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    rows = clips * FRAMES
    arrays: dict[str, Rows] = {}
    table: list[tuple[object, ...]] = []
    boxes: dict[str, list[tuple[object, ...]]] = {camera.name: [] for camera in CAMERAS}
    with ExitStack() as stack:
        if processes > 1:
            pool = ProcessPoolExecutor(processes)
            stack.callback(pool.shutdown, cancel_futures=True)  # or a failure would wait for all other clips
            seen = pool.map(_observed, [seed] * clips, range(clips))
        else:
            seen = map(_observed, [seed] * clips, range(clips))
        for index, clip in enumerate(seen):
            named = {f"images/{name}.npy": values for name, values in clip.pictures.items()} | {"ego.npy": clip.ego}
            named |= {f"truth/{h.head}.npy": clip.truths[h.head] for h in JUDGED if _is_array(h)}
            for name, values in named.items():
                arrays.setdefault(name, Rows(out / name, rows)).add(values)
            ids = [f"clip{index:03d}-{frame:02d}" for frame in range(FRAMES)]
            for frame, name in enumerate(ids):
                values = (clip.columns[column][frame] for column in COLUMNS)
                table.append((name, name[:7], frame, index * FRAMES + frame, split_of(index), *values))
            for camera, found in clip.boxes.items():
                boxes[camera] += [(ids[frame], *rest) for frame, *rest in found]
            progress(index + 1, clips)
    write_table(out / "frames.csv", ("frame_id", "clip_id", "frame", "row", "split", *COLUMNS), table)
    for camera, found in boxes.items():
        write_table(out / "boxes" / f"{camera}.csv", BOX_COLUMNS, found)


def _observed(seed: int, index: int) -> Observed:
    return observe(make_clip(seed, index))


def _is_array(judged: Judged) -> bool:
    return not judged.column and judged.task != "detection"


HEAD = """\
# The exam roadworld: a synthetic world seen by eight cameras; 48 networks, 1,000 predictions, 16 frames a clip.
# Written by `python -m examples.roadworld define`; docs/roadworld.md says what each head is for.

[suite]
name = "roadworld"
version = "1"
frames = "frames.csv"
frame_id = "frame_id"
clip_id = "clip_id"
order_by = "frame"
slices = ["light", "weather", "place", "glass"]    # none of them changes within a clip
slice_pairs = [["light", "weather"]]               # rain at night is where cameras fail first

[splits]
column = "split"                                   # "sealed" is a third value, which no comparison selects
calibration = "calibration"
validation = "validation"

[inputs.ego]                                       # metres ahead and left, degrees turned, and the navigator's -1, 0, 1
array = "ego.npy"
row = "row"
kind = "array"
shape = [4]
"""


def suite_toml() -> str:
    """The definition of the exam, from the list of heads."""
    parts = [HEAD]
    for camera in CAMERAS:
        shape = [3, camera.height // FINE, camera.width // FINE]
        lines = [f"[inputs.{camera.name}]", f'array = "images/{camera.name}.npy"', 'row = "row"', 'kind = "image"']
        parts.append("\n".join([*lines, f"shape = {shape}"]) + "\n")
    for judged in JUDGED:
        lines = ["[[heads]]", f'head = "{judged.head}"', f'task = "{judged.task}"']
        if judged.channels:
            lines.append("channels = [" + ", ".join(f'"{channel}"' for channel in judged.channels) + "]")
        lines += [*judged.more, f"truth = {{ {_truth(judged)} }}"]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _truth(judged: Judged) -> str:
    if judged.column:
        return f'columns = "{judged.column}"'
    if judged.task == "detection":
        camera = judged.network.removesuffix("_objects")
        return f'table = "boxes/{camera}.csv", class = "class", box = ["x0", "y0", "x1", "y1"], ignore = "ignore"'
    return f'array = "truth/{judged.head}.npy", row = "row"'
