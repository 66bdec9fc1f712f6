"""A tiny exam and tiny releases of it: a suite of random frames, and bundles of recorded predictions.

No network runs and no picture is decoded, so a whole comparison takes as long as its arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gate.lock import write_lock
from gate.suite import open_suite
from gate.suite.suite import LOCK

Array = NDArray[np.float64]

SUITE = """\
[suite]
name = "tiny"
version = "1"
frames = "frames.csv"
frame_id = "frame_id"
clip_id = "clip_id"
order_by = "at"
slices = ["light"]

[splits]
column = "split"
calibration = "calibration"
validation = "validation"

[[heads]]
head = "cam.sign"
task = "multilabel"
score = "sigmoid"
channels = ["stop", "yield"]
truth = { columns = "has_{channel}" }

[[heads]]
head = "cam.edge"
task = "occupancy"
score = "sigmoid"
truth = { array = "rasters.npz", key = "edge", rows = "frame_id" }

[[heads]]
head = "cam.range"
task = "regression"
unit = "m"
truth = { columns = "range" }
"""

POLICY = """\
resamples = 999

[[rules]]
match = "*"
metrics = ["average_precision", "f1"]
margin = 0.05

[[rules]]
match = "cam.range"
metrics = ["mae"]
margin = 0.5
"""


@dataclass(frozen=True)
class World:
    """Truth of every frame. ids: (F,); signs: (F, 2) 0/1; edge: (F, 4, 4) 0/1; range_m: (F,)."""

    ids: list[str]
    clips: list[str]
    splits: list[str]
    lights: list[str]
    signs: NDArray[np.int64]
    edge: NDArray[np.int64]
    range_m: Array


def make_world(calibration: int = 12, validation: int = 24, frames: int = 4, seed: int = 0) -> World:
    """`frames` frames in each of so many clips; half of them at night."""
    rng = np.random.default_rng(seed)
    count = (calibration + validation) * frames
    clip = np.repeat(np.arange(calibration + validation), frames)
    return World(
        ids=[f"f{k:04d}" for k in range(count)],
        clips=[f"clip-{k:03d}" for k in clip],
        splits=["calibration" if k < calibration else "validation" for k in clip],
        lights=["night" if k % 2 else "day" for k in clip],
        signs=(rng.random((count, 2)) < 0.4).astype(np.int64),
        edge=(rng.random((count, 4, 4)) < 0.3).astype(np.int64),
        range_m=rng.uniform(5, 50, count),
    )


def write_suite(folder: Path, world: World, *, text: str = SUITE, policy: str = POLICY, freeze: bool = True) -> Path:
    """Write the suite; `freeze` writes its lock without running the contracts (they have tests of their own)."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "suite.toml").write_text(text)
    (folder / "policy.toml").write_text(policy)
    (folder / "frames.csv").write_text(frame_table(world))
    np.savez(folder / "rasters.npz", frame_id=np.array(world.ids), edge=world.edge.astype(np.uint8))
    if freeze:
        refreeze(folder)
    return folder


def refreeze(folder: Path) -> None:
    """Lock the suite's files as they are now."""
    write_lock(folder / LOCK, open_suite(folder).lock)


def frame_table(world: World) -> str:
    rows = ["frame_id,clip_id,at,split,light,has_stop,has_yield,range"]
    for k, name in enumerate(world.ids):
        rows.append(
            f"{name},{world.clips[k]},{k},{world.splits[k]},{world.lights[k]},"
            f"{world.signs[k, 0]},{world.signs[k, 1]},{world.range_m[k]:.3f}"
        )
    return "\n".join(rows) + "\n"


def predict(world: World, *, noise: float = 1.0, seed: int = 1) -> dict[str, Array]:
    """Head -> outputs of a decent release: logits around the truth, `noise` their spread."""
    rng = np.random.default_rng(seed)
    return {
        "sign": 4.0 * world.signs - 2.0 + noise * rng.normal(size=world.signs.shape),
        "edge": 4.0 * world.edge - 2.0 + noise * rng.normal(size=world.edge.shape),
        "range": world.range_m + noise * rng.normal(size=world.range_m.shape),
    }


def write_bundle(
    folder: Path,
    world: World,
    outputs: Mapping[str, Array],
    *,
    name: str = "tiny",
    version: str = "1",
    keep: Callable[[str], bool] = lambda frame_id: True,
) -> Path:
    """A bundle of one network `cam` with recorded predictions of the frames that `keep` accepts."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [k for k, frame in enumerate(world.ids) if keep(frame)]
    columns: dict[str, pa.Array] = {"frame_id": pa.array([world.ids[k] for k in rows])}
    for head, values in outputs.items():
        columns[head] = nested(values[rows])
    pq.write_table(pa.table(columns), folder / "cam.parquet")
    (folder / "bundle.toml").write_text(
        f'[bundle]\nname = "{name}"\nversion = "{version}"\n\n[networks.cam]\npredictions = "cam.parquet"\n'
    )
    return folder


def nested(values: Array) -> pa.Array:
    """(F, ...) as a column of fixed-size lists."""
    column = pa.array(values.astype(np.float32).reshape(-1))
    for size in reversed(values.shape[1:]):
        column = pa.FixedSizeListArray.from_arrays(column, size)
    return column
