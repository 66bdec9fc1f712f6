"""Train the networks of the mini exam and write the bundles `incumbent` and `damaged`.

Training clips come from another seed than the exam and are never written. Seeds, one thread and deterministic
kernels make a run repeatable on one machine; another processor rounds differently and ends at other weights.
"""

from __future__ import annotations

import copy
import io
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import make_suite, world
from .network import COLUMNS, FRONT_OUTPUTS, REAR_OUTPUTS, ROWS, STRIDE, Front, Rear

SEED = 7
CLIPS = 1200
FRAMES_USED = (0, 2)  # neighbours look alike: fewer frames of more clips teach more a second
EPOCHS = {"front": 16, "rear": 6}
DAMAGE_EPOCHS = 3
SHIFT_CELLS = 1  # the mistake: labels drawn with another car's camera pose, one metre to the left
BATCH = 32
RATE = 4e-3
TUNING_RATE = 2e-3  # where training starts from good weights: enough to learn, too little to forget

Data = dict[str, Tensor]
Loss = Callable[[dict[str, Tensor], Data], Tensor]


def training_data() -> Data:
    """All training frames, (n, ...) each; images stay uint8 until they are used."""
    frames = [
        make_suite.observe(clip, index)
        for clip in (world.make_clip(SEED, number) for number in range(CLIPS))
        for index in FRAMES_USED
    ]
    targets = [det_targets(frame.boxes) for frame in frames]
    heat, box, weight = (np.stack(part) for part in zip(*targets, strict=True))
    targets = [det_targets(frame.rear_boxes) for frame in frames]
    rear_heat, rear_box, rear_weight = (np.stack(part) for part in zip(*targets, strict=True))
    return {
        "front": torch.from_numpy(np.stack([frame.front for frame in frames])).permute(0, 3, 1, 2),
        "rear": torch.from_numpy(np.stack([frame.rear for frame in frames])).permute(0, 3, 1, 2),
        "presence": torch.tensor([frame.presence for frame in frames]).float(),
        "light": torch.tensor([make_suite.LIGHTS.index(frame.light) for frame in frames]),
        "seg": torch.from_numpy(np.stack([frame.classes for frame in frames])),
        "drivable": torch.from_numpy(np.stack([frame.drivable for frame in frames])),
        "heat": torch.from_numpy(heat),
        "box": torch.from_numpy(box),
        "weight": torch.from_numpy(weight),
        "lead_distance": torch.tensor([[frame.lead_distance] for frame in frames]).float(),
        "following": torch.tensor([[frame.following] for frame in frames]).float(),
        "rear_heat": torch.from_numpy(rear_heat),
        "rear_box": torch.from_numpy(rear_box),
        "rear_weight": torch.from_numpy(rear_weight),
        "rear_presence": torch.tensor([frame.rear_presence for frame in frames]).float(),
    }


def det_targets(boxes: tuple[make_suite.Box, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Targets of a frame: heat (2, R, C), 1 at centres; box (4, R, C), NaN off them; weight (2, R, C)."""
    heat, weight = np.zeros((2, ROWS, COLUMNS), np.float32), np.ones((2, ROWS, COLUMNS), np.float32)
    box = np.full((4, ROWS, COLUMNS), np.nan, np.float32)
    rows, columns = np.mgrid[:ROWS, :COLUMNS] + 0.5
    # the largest last: of two objects with one centre cell, the one in front owns the box
    for item in sorted(boxes, key=lambda b: (b.corners[2] - b.corners[0]) * (b.corners[3] - b.corners[1])):
        channel = ("car", "pedestrian").index(item.kind)
        x0, y0, x1, y1 = (value / STRIDE for value in item.corners)
        if item.ignore:
            inside = (columns > x0 - 0.5) & (columns < x1 + 0.5) & (rows > y0 - 0.5) & (rows < y1 + 0.5)
            weight[channel][inside] = 0.0
            continue
        column, row = int((x0 + x1) / 2), int((y0 + y1) / 2)
        spread_x, spread_y = max((x1 - x0) / 6, 0.4), max((y1 - y0) / 6, 0.4)
        off_x, off_y = (columns - column - 0.5) / spread_x, (rows - row - 0.5) / spread_y
        near = np.exp(-(off_x**2 + off_y**2) / 2)
        heat[channel] = np.maximum(heat[channel], near)
        heat[channel, row, column] = 1.0
        box[:, row, column] = item.corners
    weight[heat == 1.0] = 1.0
    return heat, box, weight


# ---------------------------------------------------------------- losses
def front_loss(outputs: dict[str, Tensor], data: Data) -> Tensor:
    """The sum of all heads' losses; the weights make each about one at the start."""
    has_lead = torch.isfinite(data["lead_distance"])
    lead = F.l1_loss(outputs["lead_distance"][has_lead].log(), data["lead_distance"][has_lead].log())
    return (
        F.binary_cross_entropy_with_logits(outputs["presence"], data["presence"])
        + F.cross_entropy(outputs["light"], data["light"])
        + F.cross_entropy(outputs["seg"], data["seg"].long(), ignore_index=world.IGNORE)
        + drivable_loss(outputs, data)
        + _heat_loss(outputs["det_heat"], data["heat"], data["weight"])
        + 2.0 * _box_loss(outputs["det_box"], data["box"])
        + 2.0 * lead
    )


def rear_loss(outputs: dict[str, Tensor], data: Data) -> Tensor:
    return (
        F.binary_cross_entropy_with_logits(outputs["following"], data["following"])
        + F.binary_cross_entropy_with_logits(outputs["presence"], data["rear_presence"])
        + _heat_loss(outputs["det_heat"], data["rear_heat"], data["rear_weight"])
        + 2.0 * _box_loss(outputs["det_box"], data["rear_box"])
    )


def drivable_loss(outputs: dict[str, Tensor], data: Data) -> Tensor:
    judged = data["drivable"] != world.IGNORE
    return F.binary_cross_entropy_with_logits(outputs["drivable"][judged], data["drivable"][judged].float())


def _heat_loss(logits: Tensor, heat: Tensor, weight: Tensor) -> Tensor:
    """Focal loss of CenterNet (Zhou et al. 2019, equation 1), per object."""
    sure = logits.sigmoid()
    hit = F.logsigmoid(logits) * (1 - sure) ** 2 * (heat == 1)
    miss = F.logsigmoid(-logits) * sure**2 * (1 - heat) ** 4
    return -((hit + miss) * weight).sum() / (heat == 1).sum().clamp(min=1)


def _box_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """1 - IoU at the centre cells: what the match will ask for."""
    at = torch.isfinite(target[:, 0])
    p, t = predicted.permute(0, 2, 3, 1)[at], target.permute(0, 2, 3, 1)[at]
    size = (torch.minimum(p[:, 2:], t[:, 2:]) - torch.maximum(p[:, :2], t[:, :2])).clamp(min=0)
    inner = size.prod(1)
    area = (p[:, 2:] - p[:, :2]).prod(1) + (t[:, 2:] - t[:, :2]).prod(1)
    loss = 1 - inner / (area - inner)
    # without overlap IoU has no slope; the distance of the corners has
    return loss.mean() + 0.05 * F.smooth_l1_loss(p, t)


# ---------------------------------------------------------------- training
def fit(
    network: nn.Module,
    data: Data,
    loss: Loss,
    *,
    camera: str,
    epochs: int,
    rate: float = RATE,
) -> None:
    """Train in place what requires a gradient; batch norm learns in `train()`, not in `eval()`."""
    parameters = [weights for weights in network.parameters() if weights.requires_grad]
    rng = np.random.default_rng(SEED)
    count = len(data[camera])
    network.to(memory_format=torch.channels_last)  # half again as fast on a processor
    optimiser = torch.optim.AdamW(parameters, lr=rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=epochs * (count // BATCH))
    for _ in range(epochs):
        order = rng.permutation(count)
        for start in range(0, count - BATCH + 1, BATCH):
            chosen = torch.from_numpy(order[start : start + BATCH])
            batch = {name: values[chosen] for name, values in data.items() if name not in ("front", "rear")}
            value = loss(network(_jitter(data[camera][chosen].float() / 255, rng)), batch)
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
            schedule.step()


def _jitter(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Brightness and colour cast; no mirror images, because traffic keeps to one side."""
    gain = rng.uniform(0.85, 1.15, (len(images), 1, 1, 1)) * rng.uniform(0.95, 1.05, (len(images), 3, 1, 1))
    return (images * torch.from_numpy(gain).float()).clamp(0, 1)


def train() -> tuple[Front, Front, Rear]:
    """The front network, the same with a damaged drivable head, and the rear network; all in eval mode."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    data = training_data()
    front, rear = Front(), Rear()
    fit(front.train(), data, front_loss, camera="front", epochs=EPOCHS["front"])
    for part in ("trunk", "det", "presence.look"):  # rear starts where front ended, and so needs few lessons
        rear.get_submodule(part).load_state_dict(front.get_submodule(part).state_dict())
    fit(rear.train(), data, rear_loss, camera="rear", epochs=EPOCHS["rear"], rate=TUNING_RATE)
    rear.det = None
    return front.eval(), damage(front, data), rear.eval()


def damage(front: Front, data: Data) -> Front:
    """A copy whose drivable head was tuned on misplaced labels. Trunk and other heads keep every bit:
    batch norm is in eval mode and only this head's weights require a gradient."""
    damaged = copy.deepcopy(front).eval().requires_grad_(False)
    damaged.drivable.requires_grad_(True)
    shifted = torch.full_like(data["drivable"], world.IGNORE)
    shifted[:, :, :-SHIFT_CELLS] = data["drivable"][:, :, SHIFT_CELLS:]
    faulty = {**data, "drivable": shifted}
    fit(damaged, faulty, drivable_loss, camera="front", epochs=DAMAGE_EPOCHS)
    return damaged.requires_grad_(False)


# ---------------------------------------------------------------- bundles
BUNDLE = """\
# {why}

[bundle]
name = "mini"
version = "{version}"

[networks.front]
program = "front.pt2"
inputs = {{ image = "front" }}
heads = [{front}]

[networks.rear]
program = "rear.pt2"
inputs = {{ image = "rear" }}
heads = [{rear}]
"""
WHY = {
    "incumbent": "What ships now: trained on correct labels.",
    "damaged": "The incumbent, with `drivable` tuned on labels one cell off. All else is equal, bit by bit.",
}


def make_bundles(out: Path) -> None:
    """Train, and write `out/incumbent` and `out/damaged`."""
    front, damaged, rear = train()
    _write_bundle(out / "incumbent", "1.0.0", front)
    save_program(rear, out / "incumbent" / "rear.pt2")
    _write_bundle(out / "damaged", "1.1.0", damaged)
    shutil.copyfile(out / "incumbent" / "rear.pt2", out / "damaged" / "rear.pt2")


def _write_bundle(folder: Path, version: str, front: Front) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_program(front, folder / "front.pt2")
    quoted = [", ".join(f'"{name}"' for name in names) for names in (FRONT_OUTPUTS, REAR_OUTPUTS)]
    manifest = BUNDLE.format(why=WHY[folder.name], version=version, front=quoted[0], rear=quoted[1])
    (folder / "bundle.toml").write_bytes(manifest.encode())


def save_program(network: nn.Module, path: Path) -> None:
    """Export for any batch of 1 to 256 and write the archive; the same network gives the same bytes."""
    batch = torch.export.Dim("batch", min=1, max=256)
    example = torch.zeros(2, 3, 64, 96)  # two: a batch of one would be taken for a constant
    network = network.eval().requires_grad_(False).to(memory_format=torch.contiguous_format)
    program = torch.export.export(network, (example,), dynamic_shapes={"image": {0: batch}})
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                node.meta.pop("stack_trace", None)  # it would publish the paths of whoever trained
    program._example_inputs = None  # nobody needs 150 kB of zeros; there is no public way to leave them out
    archive = io.BytesIO()  # saved to a path, the archive would contain the file's name
    torch.export.save(program, archive)
    path.write_bytes(archive.getvalue())
