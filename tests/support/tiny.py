"""A tiny exam and tiny releases of it: a suite of random frames, and bundles of recorded predictions.

No network runs and no picture is decoded, so a whole comparison takes as long as its arithmetic. `with_images` is the
exception: the same frames with pictures of 8 x 8 pixels, for bundles of programs. `gate` runs the command line.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image

from gate.cli import main
from gate.lock import write_lock
from gate.suite import open_suite
from gate.suite.suite import LOCK

Array = NDArray[np.float64]

#: An exam without heads.
BARE = """\
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
"""

SUITE = (
    BARE
    + """
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
)

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


IMAGE = """
[inputs.image]
file = "images/{frame_id}.png"
kind = "image"
shape = [3, 8, 8]
"""


def sign_only(suite: str = SUITE) -> str:
    """The suite text with its first head alone."""
    return "[[heads]]".join(suite.split("[[heads]]")[:2])


def with_images(folder: Path, world: World, *, freeze: bool = True) -> Path:
    """The suite with the head `cam.sign`, and a picture of each frame whose colour tells the truth."""
    write_suite(
        folder, world, text=sign_only() + IMAGE, policy=POLICY.partition('\n[[rules]]\nmatch = "cam')[0], freeze=False
    )
    (folder / "images").mkdir()
    for name, signs in zip(world.ids, world.signs, strict=True):
        red, green = (200 if sign else 50 for sign in signs)
        Image.new("RGB", (8, 8), (red, green, 0)).save(folder / "images" / f"{name}.png")
    if freeze:
        refreeze(folder)
    return folder


def program_bundle(
    folder: Path, program: bytes | None, *, inputs: str = 'image = "image"', heads: str = '"sign"'
) -> Path:
    """A bundle of one network `cam` with a program, or, with None, with a program that is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    if program is not None:
        (folder / "cam.pt2").write_bytes(program)
    (folder / "bundle.toml").write_text(
        '[bundle]\nname = "tiny"\nversion = "1"\n\n[networks.cam]\nprogram = "cam.pt2"\n'
        f"inputs = {{ {inputs} }}\nheads = [{heads}]\n"
    )
    return folder


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit code, what it said, files that it made, and files that it changed or removed."""

    code: int
    out: str
    err: str
    made: tuple[str, ...]
    changed: tuple[str, ...]


def gate(*words: str | Path, cwd: Path) -> Ended:
    """Run `gate WORDS` in this process, in the folder `cwd`."""
    before, out, err = _files(cwd), StringIO(), StringIO()
    command, sys.argv = sys.argv, ["gate", *map(str, words)]
    code: object = None
    try:
        with chdir(cwd), redirect_stdout(out), redirect_stderr(err):
            main()
    except SystemExit as end:
        code = end.code
    finally:
        sys.argv = command
    after = _files(cwd)
    made = tuple(sorted(after.keys() - before.keys()))
    changed = tuple(sorted(name for name, data in before.items() if after.get(name) != data))
    assert isinstance(code, int), "every way out has its exit code"
    return Ended(code, out.getvalue(), err.getvalue(), made, changed)


def _files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, the hidden ones too."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def refused(ended: Ended, code: int, *words: str) -> None:
    """The command ended with `code` and a single message that has all `words`; it printed and wrote nothing else."""
    said = ended.err[ended.err.rfind("gate: ") :]
    assert (ended.code, ended.out) == (code, ""), ended.err
    assert ended.err.count("gate: ") == 1, ended.err
    assert "Traceback" not in ended.err
    assert "internal error" not in said
    for word in words:
        assert word in said
    assert (ended.made, ended.changed) == ((), ())


def without_worker(patch: pytest.MonkeyPatch) -> None:
    """Comparisons without the process that imports the contract engine."""

    @contextmanager
    def nobody(root: Path, *, ahead: bool) -> Iterator[Callable[[], None]]:
        yield lambda: None

    patch.setattr("gate.run.contracts.contract_worker", nobody)
    patch.setattr("gate.run.contracts.check_all", lambda worker, root, predictions: ())
