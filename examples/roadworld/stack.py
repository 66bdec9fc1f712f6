"""Networks by name: built, run one after the other, and read back from a bundle's programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from .cameras import CAMERAS, NAMES
from .heads import NETWORKS, READS_SIGNS, WATCHED
from .lessons import Lessons
from .network import Depth, Objects, Road, Scene, SceneAhead, Trunk
from .second import SECOND

PARTS = ("objects", "road", "depth", "scene")
BY_NAME = {of.name: of for of in NETWORKS}
Networks = Mapping[str, nn.Module]
Weights = dict[str, np.ndarray]


def build(name: str) -> nn.Module:
    """The network of this name, untrained."""
    if name in SECOND:
        return SECOND[name]()
    if name in NAMES:
        return Trunk()
    at, part = name.rsplit("_", 1)
    camera = CAMERAS[NAMES.index(at)]
    if part == "objects":
        return Objects(camera, tells=at in WATCHED)
    if part == "scene":
        return SceneAhead() if at in READS_SIGNS else Scene()
    return Road(camera) if part == "road" else Depth(camera)


class CameraStack(nn.Module):
    """A trunk and the four networks of one camera. Returns network -> its outputs."""

    def __init__(self, camera: str) -> None:
        super().__init__()
        self.camera = camera
        self.networks = nn.ModuleDict({name: build(name) for name in (camera, *(f"{camera}_{p}" for p in PARTS))})

    def forward(self, image: Tensor) -> dict[str, dict[str, Tensor]]:
        outputs = {self.camera: self.networks[self.camera](image)}
        for part in PARTS:
            name = f"{self.camera}_{part}"
            given = {"image": image, "features": outputs[self.camera]["features"]}
            outputs[name] = self.networks[name](**{key: given[key] for key, _ in BY_NAME[name].inputs})
        return outputs


def alike(cameras: Iterable[str]) -> dict[str, CameraStack]:
    """camera -> its stack: the same weights in all, each beside what its own camera's geometry says."""
    stacks = {name: CameraStack(name) for name in cameras}
    first = next(iter(stacks.values()))
    for stack in stacks.values():
        for theirs, ours in zip(stack.modules(), first.modules(), strict=True):
            theirs._parameters = ours._parameters
            kept = ours._buffers.keys() - ours._non_persistent_buffers_set
            theirs._buffers.update({key: ours._buffers[key] for key in kept})
    return stacks


@torch.no_grad()
def answers(networks: Networks, sources: Iterable[str], lessons: Lessons, rows: np.ndarray) -> dict[str, Tensor]:
    """source, such as "main.features" -> what it says in some frames, half precision; no network that remembers."""
    parts: dict[str, list[Tensor]] = {source: [] for source in sources}
    for start in range(0, len(rows), 64):
        at = rows[start : start + 64]
        known = {"ego": lessons.ego(at)}
        for source, part in parts.items():
            part.append(_said(networks, source, lessons, at, known).half())
    return {source: torch.cat(part) for source, part in parts.items()}


def _said(networks: Networks, source: str, lessons: Lessons, rows: np.ndarray, known: dict[str, Tensor]) -> Tensor:
    name = source.partition(".")[0]
    if source not in known and name == source:
        known[source] = lessons.pictures(source, rows)
    elif source not in known:
        given = {key: _said(networks, wired, lessons, rows, known) for key, wired in BY_NAME[name].inputs}
        known |= {f"{name}.{head}": values for head, values in networks[name](**given).items()}
    return known[source]


def weights_of(network: nn.Module) -> Weights:
    return {key: values.numpy() for key, values in network.state_dict().items()}


def with_weights(weights: Mapping[str, Weights]) -> dict[str, nn.Module]:
    """The networks of these names with these weights, in eval mode."""
    networks = {name: build(name).eval().requires_grad_(False) for name in weights}
    for name, network in networks.items():
        network.load_state_dict({key: torch.from_numpy(values) for key, values in weights[name].items()})
    return networks


def read_networks(bundle: Path, names: Iterable[str] = BY_NAME) -> dict[str, nn.Module]:
    """Networks of a bundle that `write_bundle` wrote, in eval mode; of nobody else's, for torch loads them."""
    networks = {name: build(name).eval().requires_grad_(False) for name in names}
    for name, network in networks.items():
        network.load_state_dict(torch.export.load(bundle / f"{name}.pt2").state_dict)
    return networks
