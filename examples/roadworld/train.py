"""Train the 48 networks, in less than half an hour on two cores.

First one trunk with its four networks learns from all cameras that look ahead, another from those that look around, for
a picture teaches the same wherever it was taken; then each camera's own copy is tuned on its own pictures. The second
stage learns from the features of the cameras as they are then. What does not wait for another is trained beside it, in
a process of one thread. Seeds and fixed order make a run repeatable on one machine.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from .cameras import NAMES
from .heads import READS_SIGNS
from .lessons import Lessons, heads_of
from .losses import det_loss, loss_of
from .second import MEMORY, Memory
from .stack import BY_NAME, CameraStack, Networks, Weights, alike, answers, build, weights_of, with_weights
from .topdown import GRID
from .world import FRAMES

BATCH = 32
RATE, TUNING_RATE = 4e-3, 1.5e-3
COMMON_EPOCHS, SECOND_EPOCHS, TRAFFIC_EPOCHS, MEMORY_EPOCHS = 4, 8, 6, 6
TUNING_EPOCHS = dict.fromkeys(NAMES, 1) | {"main": 3}
SECOND_STRIDE = 2  # every so many frames of a clip: neighbours look alike
GROUPS = (READS_SIGNS, tuple(name for name in NAMES if name not in READS_SIGNS))
MAPPED = ("topdown", "topdown_road", "layout", "path", "parking", "surround")  # trained together, by way of their maps
Tell = Callable[[str], None]


def loss_in(outputs: dict[str, dict[str, Tensor]], lessons: Lessons, rows: np.ndarray) -> Tensor:
    """The sum of the losses of all heads of some networks on some frames; network -> its outputs."""
    losses = []
    for network, said in outputs.items():
        for judged in heads_of(network):
            if judged.name == "det":
                targets = lessons.detections(network.removesuffix("_objects"), rows)
                losses.append(det_loss(said["det_heat"], said["det_box"], targets))
            else:
                losses.append(loss_of(judged, said[judged.name], lessons.truth(judged, rows)))
    return torch.stack(losses).sum()


def train_cameras(folder: Path, group: tuple[str, ...], seed: int, tell: Tell) -> dict[str, Weights]:
    """The trunks and networks of some cameras: network -> weights."""
    lessons, rng = Lessons(folder), start(seed)
    every = np.arange(len(lessons))
    common = alike(group)

    def mixed() -> Iterator[Tensor]:
        """Batches that take turns between the cameras."""
        turns = [(name, rows) for name in group for rows in batches(rng.permutation(every))]
        for k in rng.permutation(len(turns)):
            name, rows = turns[k]
            yield loss_in(common[name](jittered(lessons.pictures(name, rows), rng)), lessons, rows)

    steps = len(every) // BATCH
    fit(nn.ModuleDict(common), mixed, steps=len(group) * steps, epochs=COMMON_EPOCHS, rate=RATE,
        tell=_named(tell, "common", group[0]))  # fmt: skip
    weights = {}
    for name in group:
        stack = copy.deepcopy(common[name])

        def own(stack: CameraStack = stack, name: str = name) -> Iterator[Tensor]:
            for rows in batches(rng.permutation(every)):
                yield loss_in(stack(jittered(lessons.pictures(name, rows), rng)), lessons, rows)

        fit(stack, own, steps=steps, epochs=TUNING_EPOCHS[name], rate=TUNING_RATE, tell=_named(tell, name))
        weights |= {network: weights_of(module) for network, module in stack.networks.items()}
    return weights


def train_maps(folder: Path, cameras: dict[str, Weights], seed: int, tell: Tell) -> dict[str, Weights]:
    """All of the second stage but `traffic`: network -> weights."""
    lessons, rng = Lessons(folder), start(seed)
    networks = with_weights(cameras)
    nets = nn.ModuleDict({name: build(name) for name in MAPPED})
    rows = np.arange(0, len(lessons), SECOND_STRIDE)
    seen = answers(networks, [f"{name}.features" for name in NAMES], lessons, rows)

    def lesson() -> Iterator[Tensor]:
        for at in batches(rng.permutation(len(rows))):
            known = {source: features[at].float() for source, features in seen.items()} | {"ego": lessons.ego(rows[at])}
            outputs = {}
            for name in MAPPED:
                outputs[name] = nets[name](**{key: known[source] for key, source in BY_NAME[name].inputs})
                known |= {f"{name}.{head}": values for head, values in outputs[name].items()}
            yield loss_in(outputs, lessons, rows[at])

    fit(nets, lesson, steps=len(rows) // BATCH, epochs=SECOND_EPOCHS, rate=RATE, tell=_named(tell, "second"))
    networks |= dict(nets.items())
    memory = train_memory(networks, lessons, rng, tell)
    return {name: weights_of(networks[name]) for name in MAPPED} | {"memory": weights_of(memory)}


def train_memory(networks: Networks, lessons: Lessons, rng: np.random.Generator, tell: Tell) -> Memory:
    """`memory`, from whole clips."""
    memory = Memory()
    maps = answers(networks, ("topdown.map", "topdown_road.map"), lessons, np.arange(len(lessons)))
    things, ground = maps["topdown.map"], maps["topdown_road.map"]

    def lesson() -> Iterator[Tensor]:
        for at in batches(rng.permutation(len(lessons) // FRAMES), 8):
            state, losses = torch.zeros(len(at), MEMORY, GRID, GRID), []
            for frame in range(FRAMES):
                now = at * FRAMES + frame
                outputs = memory(things[now].float(), ground[now].float(), lessons.ego(now), state)
                state = outputs["memory"]
                losses.append(loss_in({"memory": outputs}, lessons, now))
            yield torch.stack(losses).mean()

    fit(memory, lesson, steps=len(lessons) // FRAMES // 8, epochs=MEMORY_EPOCHS, rate=RATE, tell=_named(tell, "memory"))
    return memory


def train_traffic(folder: Path, cameras: dict[str, Weights], seed: int, tell: Tell) -> dict[str, Weights]:
    """`traffic` -> its weights."""
    lessons, rng = Lessons(folder), start(seed)
    traffic = build("traffic")
    learn_traffic(traffic, with_weights(cameras), lessons, rng, epochs=TRAFFIC_EPOCHS, rate=RATE, tell=tell)
    return {"traffic": weights_of(traffic)}


def learn_traffic(
    traffic: nn.Module,
    networks: Networks,
    lessons: Lessons,
    rng: np.random.Generator,
    *,
    epochs: int,
    rate: float,
    tell: Tell,
) -> None:
    """Train `traffic` on what the networks of the cameras find."""
    inputs = BY_NAME["traffic"].inputs
    known = answers(networks, [source for _, source in inputs], lessons, np.arange(len(lessons)))

    def lesson() -> Iterator[Tensor]:
        for at in batches(rng.permutation(len(lessons))):
            outputs = traffic(**{key: known[source][at].float() for key, source in inputs})
            yield loss_in({"traffic": outputs}, lessons, at)

    fit(traffic, lesson, steps=len(lessons) // BATCH, epochs=epochs, rate=rate, tell=_named(tell, "traffic"))


def batches(rows: np.ndarray, size: int = BATCH) -> list[np.ndarray]:
    return [rows[k : k + size] for k in range(0, len(rows) - size + 1, size)]


def jittered(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Each picture in another light and colour cast; no mirror images, because traffic keeps to one side."""
    n = len(images)
    gain = rng.uniform(0.85, 1.15, (n, 1, 1, 1)) * rng.uniform(0.95, 1.05, (n, 3, 1, 1))
    return (images * torch.from_numpy(gain).float()).clamp(0, 1)


def fit(
    network: nn.Module, lessons: Callable[[], Iterator[Tensor]], *, steps: int, epochs: int, rate: float, tell: Tell
) -> None:
    """Train a network, and leave it in eval mode. lessons: the losses of one epoch, one a step."""
    network.train().requires_grad_(True)
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=max(epochs * steps, 1) + 1)
    for epoch in range(epochs):
        total, count, began = 0.0, 0, time.monotonic()
        for value in lessons():
            optimiser.zero_grad()
            value.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 10.0)
            optimiser.step()
            schedule.step()
            total, count = total + float(value.detach()), count + 1
        tell(f"epoch {epoch + 1} of {epochs}: loss {total / max(count, 1):.3f}, {time.monotonic() - began:.0f} s")
    network.eval().requires_grad_(False)


def train(folder: Path, *, seed: int = 7, tell: Tell = print) -> dict[str, nn.Module]:
    """All 48 networks by name, from the frames in a folder. tell: is called in other processes."""
    weights: dict[str, Weights] = {}
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for job in [pool.submit(train_cameras, folder, group, seed + k, tell) for k, group in enumerate(GROUPS)]:
            weights |= job.result()
        jobs = [pool.submit(learn, folder, weights, seed, tell) for learn in (train_maps, train_traffic)]
        second = [job.result() for job in jobs]
    return with_weights({**weights, **second[0], **second[1]})


def start(seed: int) -> np.random.Generator:
    """Random numbers that the seed decides, torch's too; one thread, for the order of sums is part of the result."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.manual_seed(seed)
    return np.random.default_rng(seed)


def _named(tell: Tell, *names: str) -> Tell:
    return lambda text: tell(f"{' '.join(names)} {text}")
