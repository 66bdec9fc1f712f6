"""A stack as large as real ones: 48 networks, 1,000 predictions, eight cameras, two networks with memory, one window.

Weights are random and so are truths: what is measured is the cost, not the answer. Everything follows from the seed.
Exporting takes a minute and a half, so the folder is made once and used again.
"""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gate.bundle import lock_bundle
from gate.lock import write_lock
from gate.suite import open_suite
from gate.suite.suite import LOCK

CAMERAS, CLIPS, STEPS, LARGE = 8, 48, 16, 8
FRAME, FEATURES, RASTER, BEV, WINDOW = (3, 96, 160), (64, 12, 20), (24, 40), (16, 16), 16
CHANGED = "lights3"

POLICY = """\
resamples = 999

[[rules]]
match = "*"
tier = "supporting"
objective = "max f1"
metrics = ["average_precision", "f1"]
margin = 0.05

[[rules]]
match = "*.seg[*]"
metrics = ["iou"]

[[rules]]
match = "layout.*"
metrics = ["accuracy"]

[[rules]]
match = "*.metres[*]"
metrics = ["mae"]
margin = 0.5
"""


@dataclass(frozen=True)
class Judged:
    """A head of a network; task and channels as in suite.toml. raster: size of its truth, () for one value a frame."""

    head: str
    task: str
    channels: int
    raster: tuple[int, ...] = ()


@dataclass(frozen=True)
class Member:
    """A network. kind: whose architecture it has; inputs: program input -> source; judged: among its heads."""

    name: str
    kind: str
    inputs: dict[str, str]
    heads: tuple[str, ...]
    judged: tuple[Judged, ...]
    more: str = ""


def members() -> Iterator[Member]:
    """The 48 networks, cameras first."""
    for k in range(CAMERAS):
        cam, read = f"cam{k}", {"features": f"cam{k}.features"}
        presence = Judged("presence", "multilabel", 16)
        yield Member(cam, "camera", {"image": cam}, ("features", "presence"), (presence,))
        yield Member(f"signs{k}", "signs", read, ("signs",), (Judged("signs", "multilabel", 64),))
        yield Member(f"road{k}", "road", read, ("seg",), (Judged("seg", "segmentation", 11, RASTER),))
        yield Member(f"ranges{k}", "ranges", read, ("metres",), (Judged("metres", "regression", 16),))
        lights = tuple(f"light{n}" for n in range(5))
        yield Member(f"lights{k}", "lights", read, lights, tuple(Judged(n, "binary", 1) for n in lights))
    for name, cameras in (("top_front", (0, 1, 2, 3)), ("top_rear", (4, 5, 6, 7))):
        road = Judged("occupied", "occupancy", 8, BEV)
        yield Member(name, "top", _reads(cameras), ("bev", "occupied"), (road,))
    yield Member("layout", "layout", _reads((0, 1)), ("kind",), (Judged("kind", "multiclass", 12),))
    agents = Judged("agents", "multilabel", 24)
    yield Member("agents", "agents", _reads((0, 1, 2, 3)), ("embedding", "agents"), (agents,))
    yield Member("path", "path", _reads((0, 3, 4, 7)), ("metres",), (Judged("metres", "regression", 12),))
    state = 'state = { memory = "zeros" }\n'
    read = {"now": "agents.embedding", "memory": "motion.memory"}
    yield Member("motion", "motion", read, ("memory", "moves"), (Judged("moves", "multilabel", 16),), state)
    read = {"now": "top_front.bev", "memory": "ego.memory"}
    yield Member("ego", "ego", read, ("memory", "metres"), (Judged("metres", "regression", 8),), state)
    read = {"past": "agents.embedding"}
    intent = Judged("intent", "multilabel", 16)
    yield Member("intent", "intent", read, ("intent",), (intent,), f"window = {WINDOW}\n")


def _reads(cameras: Sequence[int]) -> dict[str, str]:
    return {f"view{n}": f"cam{k}.features" for n, k in enumerate(cameras)}


def architectures() -> dict[str, tuple[Any, list[tuple[int, ...]]]]:
    """kind -> module, and the shapes of one frame of its inputs."""
    import torch
    from torch import nn

    def conv(a: int, b: int, stride: int = 1, size: int = 3) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(a, b, size, stride, size // 2, bias=False), nn.BatchNorm2d(b), nn.ReLU(inplace=True)
        )

    def neck() -> nn.Sequential:
        return nn.Sequential(conv(64, 64), nn.Upsample(scale_factor=2.0), conv(64, 64), conv(64, 64))

    def pooled(out: int) -> nn.Sequential:
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, out))

    class Camera(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk = nn.Sequential(conv(3, 32, 2), conv(32, 64, 2), conv(64, 64, 2), conv(64, 64))
            self.presence = nn.Linear(64, 16)

        def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            features = self.trunk(image)
            return features, self.presence(features.mean((2, 3)))

    class One(nn.Module):
        def __init__(self, body: nn.Module) -> None:
            super().__init__()
            self.body = body

        def forward(self, features: torch.Tensor) -> torch.Tensor:
            return self.body(features)

    class Lights(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(neck(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
            self.heads = nn.ModuleList(nn.Linear(64, 1) for _ in range(5))

        def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, ...]:
            shared = self.body(features)
            return tuple(head(shared) for head in self.heads)

    class Views(nn.Module):
        def __init__(self, views: int, body: nn.Module, ends: Sequence[nn.Module]) -> None:
            super().__init__()
            self.mix = nn.Sequential(conv(64 * views, 64, size=1), neck())
            self.body, self.ends = body, nn.ModuleList(ends)

        def forward(self, *views: torch.Tensor) -> tuple[torch.Tensor, ...]:
            shared = self.body(self.mix(torch.cat(views, 1)))
            return (shared, *(end(shared) for end in self.ends)) if len(self.ends) else (shared,)

    class Four(Views):
        def forward(self, view0, view1, view2, view3):  # type: ignore[no-untyped-def]
            return super().forward(view0, view1, view2, view3)

    class Two(Views):
        def forward(self, view0, view1):  # type: ignore[no-untyped-def]
            return super().forward(view0, view1)

    class Motion(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix, self.moves = nn.Linear(64, 32), nn.Linear(32, 16)

        def forward(self, now: torch.Tensor, memory: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            left = torch.tanh(self.mix(torch.cat([now, memory], 1)))
            return left, self.moves(left)

    class Ego(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix, self.metres = nn.Conv2d(32, 16, 3, padding=1), nn.Linear(16, 8)

        def forward(self, now: torch.Tensor, memory: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            left = torch.tanh(self.mix(torch.cat([now, memory], 1)))
            return left, self.metres(left.mean((2, 3)))

    class Intent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Conv1d(32, 32, 5), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten())
            self.intent = nn.Linear(32, 16)

        def forward(self, past: torch.Tensor) -> torch.Tensor:
            return self.intent(self.body(past.transpose(1, 2)))

    bev = nn.Sequential(nn.AdaptiveAvgPool2d(BEV), conv(64, 16))
    return {
        "camera": (Camera(), [FRAME]),
        "signs": (One(nn.Sequential(neck(), pooled(64))), [FEATURES]),
        "road": (One(nn.Sequential(neck(), nn.Conv2d(64, 11, 1))), [FEATURES]),
        "ranges": (One(nn.Sequential(neck(), pooled(16))), [FEATURES]),
        "lights": (Lights(), [FEATURES]),
        "top": (Four(4, bev, [nn.Conv2d(16, 8, 1)]), [FEATURES] * 4),
        "layout": (Two(2, pooled(12), []), [FEATURES] * 2),
        "agents": (Four(4, pooled(32), [nn.Linear(32, 24)]), [FEATURES] * 4),
        "path": (Four(4, pooled(12), []), [FEATURES] * 4),
        "motion": (Motion(), [(32,), (32,)]),
        "ego": (Ego(), [(16, *BEV), (16, *BEV)]),
        "intent": (Intent(), [(WINDOW, 32)]),
    }


def write_stack(root: Path, seed: int = 7) -> None:
    """Suites `suite` (48 clips), `short` (16) and `long` (128), the bundles `old` and `new`, and a policy.

    `new` differs in the weights of one network, which other networks do not read. A folder that holds them is left.
    """
    if (root / "policy.toml").is_file():
        return
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    _write_bundles(root, seed)
    for name, clips in (("suite", CLIPS), ("short", STEPS), ("long", STEPS * LARGE)):
        _write_suite(root / name, name, clips, seed)
    (root / "policy.toml").write_text(POLICY)


def _write_bundles(root: Path, seed: int) -> None:
    exported = {kind: _exported(module, shapes) for kind, (module, shapes) in architectures().items()}
    for bundle in ("old", "new"):
        folder = root / bundle
        folder.mkdir()
        text = f'[bundle]\nname = "stack"\nversion = "{bundle}"\n'
        for k, member in enumerate(members()):
            drawn = (seed, k, int(bundle == "new" and member.name == CHANGED))
            (folder / f"{member.name}.pt2").write_bytes(_with_weights(exported[member.kind], drawn))
            fed = ", ".join(f'{name} = "{source}"' for name, source in member.inputs.items())
            text += f'\n[networks.{member.name}]\nprogram = "{member.name}.pt2"\n'
            text += f"inputs = {{ {fed} }}\nheads = {json.dumps(member.heads)}\n{member.more}"
        (folder / "bundle.toml").write_text(text)
        lock_bundle(folder)


def _exported(module: Any, shapes: Sequence[tuple[int, ...]]) -> bytes:
    import torch

    examples = tuple(torch.zeros(2, *shape) for shape in shapes)
    batch = tuple({0: torch.export.Dim("batch", min=1, max=256)} for _ in shapes)
    file = io.BytesIO()
    torch.export.save(torch.export.export(module.eval(), examples, dynamic_shapes=batch), file)
    return file.getvalue()


def _with_weights(program: bytes, seed: tuple[int, ...]) -> bytes:
    """The archive with other weights, drawn so that numbers neither vanish nor explode: its graph is traced once."""
    rng, file = np.random.default_rng(seed), io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(program)) as old, zipfile.ZipFile(file, "w") as new:
        (listed,) = (n for n in old.namelist() if n.endswith("model_weights_config.json"))
        config = json.loads(old.read(listed))["config"]
        drawn = {f"{listed.rpartition('/')[0]}/{given['path_name']}": (n, given) for n, given in config.items()}
        for name in old.namelist():
            data = old.read(name)
            if name in drawn:
                weight, given = drawn[name]
                sizes = [size["as_int"] for size in given["tensor_meta"]["sizes"]]
                data = _weight(rng, weight, sizes) if sizes else data
            new.writestr(zipfile.ZipInfo(name), data)  # no time of writing: equal programs are equal bytes
    return file.getvalue()


def _weight(rng: np.random.Generator, name: str, sizes: Sequence[int]) -> bytes:
    values = rng.normal(size=sizes)
    if name.endswith("running_var"):
        values = 1 + 0.1 * values**2
    elif name.endswith("weight") and len(sizes) == 1:  # of a norm
        values = 1 + 0.1 * values
    elif name.endswith("weight"):
        values *= np.sqrt(2 / np.prod(sizes[1:]))
    else:
        values *= 0.1
    return values.astype(np.float32).tobytes()


def _write_suite(root: Path, name: str, clips: int, seed: int) -> None:
    """Clips of 16 frames; a tenth of them calibrate. The pictures of a longer suite come again and again."""
    from PIL import Image

    rng = np.random.default_rng((seed, clips))
    frames, pictures = clips * STEPS, min(clips, CLIPS) * STEPS
    ids = np.array([f"f{k:06d}" for k in range(frames)])
    clip = np.arange(frames) // STEPS
    columns: dict[str, Any] = {
        "frame_id": ids,
        "clip_id": [f"c{k:04d}" for k in clip],
        "frame_index": np.arange(frames) % STEPS,
        "split": np.where(clip % 4 == 3, "calibration", "validation"),
        "time_of_day": np.where(clip % 3 == 0, "night", "day"),
        "weather": np.where(clip % 5 == 0, "rain", "dry"),
        "picture": [f"p{k % pictures:06d}" for k in range(frames)],
    }
    for k in range(CAMERAS):
        (root / "images" / f"cam{k}").mkdir(parents=True)
        for n in range(pictures):
            coarse = rng.integers(0, 256, (FRAME[1] // 4, FRAME[2] // 4, 3), np.uint8)
            picture = Image.fromarray(coarse).resize((FRAME[2], FRAME[1]), Image.Resampling.BILINEAR)
            picture.save(root / "images" / f"cam{k}" / f"p{n:06d}.jpg", quality=90)
    rasters: dict[str, Any] = {"frame_id": ids}
    text = f'[suite]\nname = "{name}"\nversion = "1"\nframes = "frames.parquet"\nframe_id = "frame_id"\n'
    text += 'clip_id = "clip_id"\norder_by = "frame_index"\nslices = ["time_of_day", "weather"]\n'
    text += '\n[splits]\ncolumn = "split"\ncalibration = "calibration"\nvalidation = "validation"\n'
    for k in range(CAMERAS):
        text += f'\n[inputs.cam{k}]\nkind = "image"\nfile = "images/cam{k}/{{picture}}.jpg"\nshape = {list(FRAME)}\n'
    for member in members():
        for judged in member.judged:
            text += _head(root, member.name, judged, rng, ids, columns, rasters)
    pq.write_table(pa.table(columns), root / "frames.parquet")
    np.savez(root / "rasters.npz", **rasters)
    (root / "suite.toml").write_text(text)
    write_lock(root / LOCK, open_suite(root).lock)


def _head(
    root: Path,
    network: str,
    judged: Judged,
    rng: np.random.Generator,
    ids: Any,
    columns: dict[str, Any],
    rasters: dict[str, Any],
) -> str:
    """A [[heads]] table; its truth is written, or put among the columns or the rasters."""
    name, frames = f"{network}_{judged.head}", len(ids)
    channels = [f"k{k}" for k in range(judged.channels)]
    text = f'\n[[heads]]\nhead = "{network}.{judged.head}"\ntask = "{judged.task}"\n'
    if judged.raster:
        single = judged.task == "segmentation"
        shape = (frames, *judged.raster) if single else (frames, judged.channels, *judged.raster)
        rasters[name] = rng.integers(0, judged.channels if single else 2, shape, np.uint8)
        score = "softmax" if single else "sigmoid"
        text += f'score = "{score}"\nchannels = {json.dumps(channels)}\n'
        return text + f'truth = {{ array = "rasters.npz", key = "{name}", rows = "frame_id" }}\n'
    if judged.task == "binary":
        columns[name] = (rng.random(frames) < 0.3).astype(np.int8)
        return text + f'score = "sigmoid"\ntruth = {{ columns = "{name}" }}\n'
    if judged.task == "multiclass":
        columns[name] = [channels[k] for k in rng.integers(0, judged.channels, frames)]
        return text + f'channels = {json.dumps(channels)}\ntruth = {{ columns = "{name}" }}\n'
    real = judged.task == "regression"
    values = rng.normal(size=(frames, judged.channels)) if real else rng.random((frames, judged.channels)) < 0.3
    table = {"frame_id": ids} | {c: values[:, k].astype(np.float32) for k, c in enumerate(channels)}
    pq.write_table(pa.table(table), root / f"{name}.parquet")
    return text + ("" if real else 'score = "sigmoid"\n') + f'truth = {{ table = "{name}.parquet" }}\n'
