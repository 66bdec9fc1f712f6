"""Train the 48 networks, in minutes on two cores.

First one trunk with its four networks learns from all small cameras at once, for a picture teaches the same wherever it
was taken; then each camera's own copy is tuned on its own pictures. The second stage learns from the features of the
cameras as they are then. Seeds, one thread and fixed order make a run repeatable on one machine.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from .cameras import CAMERAS, NAMES
from .heads import READS_SIGNS, WATCHED
from .lessons import Lessons, heads_of
from .losses import det_loss, loss_of
from .network import Depth, Objects, Road, SceneAhead, Trunk
from .second import MEMORY, SECOND, Memory
from .topdown import GRID
from .world import FRAMES

BATCH = 32
RATE, TUNING_RATE = 4e-3, 1.5e-3
COMMON_EPOCHS, TUNING_EPOCHS, SECOND_EPOCHS, MEMORY_EPOCHS = 13, 2, 12, 8
COMMON_STRIDE, TUNING_STRIDE, SECOND_STRIDE = 4, 2, 2  # every so many frames of a clip: neighbours look alike
PARTS = ("objects", "road", "depth", "scene")
Tell = Callable[[str], None]


class CameraStack(nn.Module):
    """A trunk and the four networks of one camera."""

    def __init__(self, name: str) -> None:
        super().__init__()
        camera = CAMERAS[NAMES.index(name)]
        self.trunk = Trunk()
        self.objects = Objects(camera, found=True)
        self.road, self.depth = Road(camera), Depth(camera)
        self.scene = SceneAhead()

    def forward(self, image: Tensor) -> dict[str, dict[str, Tensor]]:
        features = self.trunk(image)["features"]
        found = {part: self.get_submodule(part)(features) for part in ("objects", "road", "depth")}
        return {"features": {"features": features}, **found, "scene": self.scene(features, image)}


def camera_loss(stack: CameraStack, lessons: Lessons, camera: str, rows: np.ndarray, jitter: Tensor) -> Tensor:
    """The sum of the losses of all heads of one camera on some frames."""
    images = (lessons.pictures(camera, rows) * jitter[: len(rows)]).clamp(0, 1)
    outputs = stack(images)
    total = det_loss(outputs["objects"]["det_heat"], outputs["objects"]["det_box"], lessons.detections(camera, rows))
    for part in PARTS:
        for judged in heads_of(f"{camera}_{part}"):
            if judged.name != "det":
                total = total + loss_of(judged, outputs[part][judged.name], lessons.truth(judged, rows))
    return total


def train_cameras(lessons: Lessons, *, seed: int, tell: Tell) -> dict[str, CameraStack]:
    """camera -> its trained stack, in eval mode."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    common = CameraStack("wide")
    small = [name for name in NAMES if name != "main"]

    def mixed() -> Iterator[Tensor]:
        """Batches that take turns between the small cameras."""
        frames = np.arange(0, len(lessons), COMMON_STRIDE)
        turns = [(name, part) for name in small for part in _batches(rng.permutation(frames))]
        for k in rng.permutation(len(turns)):
            yield camera_loss(common, lessons, *turns[k], _jitter(rng))

    _fit(common, mixed, steps=len(small) * (len(lessons) // COMMON_STRIDE // BATCH), epochs=COMMON_EPOCHS, rate=RATE,
         tell=lambda text: tell(f"common {text}"))  # fmt: skip
    stacks = {}
    for name in NAMES:
        stack = CameraStack(name)
        stack.load_state_dict(common.state_dict())

        def own(stack: CameraStack = stack, name: str = name) -> Iterator[Tensor]:
            for part in _batches(rng.permutation(np.arange(0, len(lessons), TUNING_STRIDE))):
                yield camera_loss(stack, lessons, name, part, _jitter(rng))

        _fit(stack, own, steps=len(lessons) // TUNING_STRIDE // BATCH, epochs=TUNING_EPOCHS * (1 + (name == "main")),
             rate=TUNING_RATE, tell=lambda text, name=name: tell(f"{name} {text}"))  # fmt: skip
        stacks[name] = stack.eval().requires_grad_(False)
    return stacks


def train_second(lessons: Lessons, stacks: dict[str, CameraStack], *, seed: int, tell: Tell) -> dict[str, nn.Module]:
    """network -> trained network of the second stage, in eval mode."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    nets = nn.ModuleDict({name: make() for name, make in SECOND.items() if name != "memory"})
    rows = np.arange(0, len(lessons), SECOND_STRIDE)
    seen, found, read = features_of(lessons, stacks, rows)

    def lesson() -> Iterator[Tensor]:
        for at in _batches(rng.permutation(len(rows))):
            given = {n: f[at].float() for n, f in seen.items()}
            told = {n: f[at].float() for n, f in found.items()}
            outputs = second_stage(nets, given, told, read[at].float(), lessons.ego(rows[at]))
            yield _judged(outputs, lessons, rows[at])

    _fit(nets, lesson, steps=len(rows) // BATCH, epochs=SECOND_EPOCHS, rate=RATE, tell=lambda t: tell(f"second {t}"))
    nets.eval().requires_grad_(False)
    memory = Memory()
    ground, things = _maps(lessons, stacks, nets)

    def clips() -> Iterator[Tensor]:
        for at in _batches(rng.permutation(len(lessons) // FRAMES), 8):
            state, total = torch.zeros(len(at), MEMORY, GRID, GRID), torch.zeros(())
            for frame in range(FRAMES):
                now = at * FRAMES + frame
                outputs = memory(things[now].float(), ground[now].float(), lessons.ego(now), state)
                state = outputs["memory"]
                total = total + _judged({"memory": outputs}, lessons, now)
            yield total / FRAMES

    _fit(memory, clips, steps=len(lessons) // FRAMES // 8, epochs=MEMORY_EPOCHS, rate=RATE,
         tell=lambda t: tell(f"memory {t}"))  # fmt: skip
    return {**dict(nets.items()), "memory": memory.eval().requires_grad_(False)}


def second_stage(
    nets: nn.ModuleDict, seen: dict[str, Tensor], found: dict[str, Tensor], read: Tensor, ego: Tensor
) -> dict[str, dict[str, Tensor]]:
    """network -> its outputs, of all of the second stage but memory."""
    outputs = {name: nets[name](**seen) for name in ("topdown", "topdown_road")}
    things, ground = outputs["topdown"]["map"], outputs["topdown_road"]["map"]
    outputs["layout"] = nets["layout"](ground=ground, **seen)
    outputs["path"] = nets["path"](things=things, ground=ground, ego=ego, **{n: seen[n] for n in READS_SIGNS})
    outputs["traffic"] = nets["traffic"](signs=read, **found)
    outputs["parking"] = nets["parking"](things=things, ground=ground)
    outputs["surround"] = nets["surround"](things=things)
    return outputs


@torch.no_grad()
def features_of(
    lessons: Lessons, stacks: dict[str, CameraStack], rows: np.ndarray
) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
    """(features of each camera, what those that are watched found, what `main` read) of some frames, half precision."""
    seen: dict[str, list[Tensor]] = {name: [] for name in NAMES}
    found: dict[str, list[Tensor]] = {name: [] for name in WATCHED}
    read: list[Tensor] = []
    for start in range(0, len(rows), 64):
        for name in NAMES:
            outputs = stacks[name](lessons.pictures(name, rows[start : start + 64]))
            seen[name].append(outputs["features"]["features"].half())
            if name in found:
                found[name].append(outputs["objects"]["found"].half())
            if name == "main":
                read.append(outputs["scene"]["read"].half())
    return {n: torch.cat(f) for n, f in seen.items()}, {n: torch.cat(f) for n, f in found.items()}, torch.cat(read)


@torch.no_grad()
def _maps(lessons: Lessons, stacks: dict[str, CameraStack], nets: nn.ModuleDict) -> tuple[Tensor, Tensor]:
    """The maps of ground and things in all frames, half precision."""
    ground, things = [], []
    for start in range(0, len(lessons), 64):
        seen, _, _ = features_of(lessons, stacks, np.arange(start, min(start + 64, len(lessons))))
        given = {name: features.float() for name, features in seen.items()}
        ground.append(nets["topdown_road"](**given)["map"].half())
        things.append(nets["topdown"](**given)["map"].half())
    return torch.cat(ground), torch.cat(things)


def _judged(outputs: dict[str, dict[str, Tensor]], lessons: Lessons, rows: np.ndarray) -> Tensor:
    total = torch.zeros(())
    for network, heads in outputs.items():
        for judged in heads_of(network):
            total = total + loss_of(judged, heads[judged.name], lessons.truth(judged, rows))
    return total


def _batches(rows: np.ndarray, size: int = BATCH) -> list[np.ndarray]:
    return [rows[k : k + size] for k in range(0, len(rows) - size + 1, size)]


def _jitter(rng: np.random.Generator) -> Tensor:
    """Brightness and colour cast of each picture; no mirror images, because traffic keeps to one side."""
    gain = rng.uniform(0.85, 1.15, (BATCH, 1, 1, 1)) * rng.uniform(0.95, 1.05, (BATCH, 3, 1, 1))
    return torch.from_numpy(gain).float()


def _fit(
    network: nn.Module, lessons: Callable[[], Iterator[Tensor]], *, steps: int, epochs: int, rate: float, tell: Tell
) -> None:
    network.train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=max(epochs * steps, 1) + 1)
    for epoch in range(epochs):
        total, count, began = 0.0, 0, time.monotonic()
        for value in lessons():
            optimiser.zero_grad()
            value.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 10.0)
            optimiser.step()
            if schedule.last_epoch < schedule.total_steps - 1:
                schedule.step()
            total, count = total + float(value.detach()), count + 1
        tell(f"epoch {epoch + 1} of {epochs}: loss {total / max(count, 1):.3f}, {time.monotonic() - began:.0f} s")


def train(folder: Path, *, seed: int = 7, tell: Tell = print) -> dict[str, nn.Module]:
    """All 48 networks by name, from the frames in a folder."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True, warn_only=True)
    lessons = Lessons(folder)
    stacks = train_cameras(lessons, seed=seed, tell=tell)
    return shipped(stacks, train_second(lessons, stacks, seed=seed, tell=tell))


def shipped(stacks: dict[str, CameraStack], second: dict[str, nn.Module]) -> dict[str, nn.Module]:
    """Network by name, without the parts that nobody reads: `found` where it is not watched, signs beside the car."""
    networks: dict[str, nn.Module] = {}
    for name, stack in stacks.items():
        own = copy.deepcopy(stack)
        if name not in WATCHED:
            own.objects.found = None
        networks |= {name: own.trunk, **{f"{name}_{part}": own.get_submodule(part) for part in PARTS}}
        if name not in READS_SIGNS:
            networks[f"{name}_scene"] = own.scene.scene
    return networks | second
