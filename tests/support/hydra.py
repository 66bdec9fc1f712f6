"""A small network of several heads on one trunk, its archives, and what its heads truly hang on."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gate.bundle import Graph, Network, program_graph
from tests.support.programs import archive_of, entries_of

FRAME = (3, 8, 8)


class Hydra(nn.Module):
    """`image` in; a convolution with batch norm and a rectifier that writes in place; a linear head for each name.

    deep: heads that have a layer of their own besides.
    """

    def __init__(self, heads: Sequence[str] = ("sign", "lane", "sky"), deep: Sequence[str] = ("lane",)) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.heads = nn.ModuleDict({name: nn.Linear(4, 2) for name in heads})
        self.before = nn.ModuleDict({name: nn.Conv2d(4, 4, 1) for name in deep if name in heads})
        for name, tensor in self.state_dict().items():
            if tensor.is_floating_point():  # drawn by its own name, so that no other head changes it
                random = torch.Generator().manual_seed(int.from_bytes(name.encode()[-7:]))
                tensor.copy_(torch.rand(tensor.shape, generator=random) + 0.1)
        self.eval()

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        shared = self.trunk(image)
        return {
            name: head((self.before[name](shared) if name in self.before else shared).mean((2, 3)))
            for name, head in self.heads.items()
        }


def archive(module: nn.Module, *shapes: tuple[int, ...]) -> bytes:
    """The module as a `.pt2`, for any number of frames; shapes: of one frame of each input."""
    examples = tuple(torch.zeros(2, *shape) for shape in shapes or (FRAME,))
    dynamic = tuple({0: torch.export.Dim("batch", min=1, max=256)} for _ in examples)
    return saved(torch.export.export(module, examples, dynamic_shapes=dynamic))


def saved(program: Any) -> bytes:
    file = io.BytesIO()
    torch.export.save(program, file)
    return file.getvalue()


def made(program: bytes, heads: Sequence[str], inputs: Mapping[str, str] | None = None) -> Graph:
    """The graph of an archive whose heads go by these names."""
    fed = tuple((inputs or {"image": "image"}).items())
    return program_graph(Network("front", Path("front.pt2"), (), fed, tuple(heads), ""), program)


def digests(program: bytes, heads: Sequence[str] = ("sign", "lane", "sky")) -> dict[str, str]:
    """head -> digest, of a program that must be understood."""
    graph = made(program, heads)
    assert graph.whole == ""
    return {head: m.digest for head, m in graph.heads.items()}


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> set[str]:
    """Heads of both whose digest differs."""
    return {head for head in before.keys() & after.keys() if before[head] != after[head]}


def edited(program: bytes, change: Callable[[dict[str, Any]], None], ending: str = "models/model.json") -> bytes:
    """The archive with a JSON entry changed in place."""
    entries = entries_of(program)
    (name,) = (n for n in entries if n.endswith(ending))
    document = json.loads(entries[name])
    change(document)
    return archive_of(entries | {name: json.dumps(document).encode()})


def nodes_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = document["graph_module"]["graph"]["nodes"]
    return found


def weight_files(program: bytes) -> dict[str, str]:
    """Weight -> entry of the archive that holds its bytes."""
    entries = entries_of(program)
    (listed,) = (n for n in entries if n.endswith("model_weights_config.json"))
    folder = listed.rpartition("/")[0]
    return {w: f"{folder}/{given['path_name']}" for w, given in json.loads(entries[listed])["config"].items()}


def truly_reached(module: nn.Module, weight: str) -> set[str]:
    """Heads that a weight flows into, by what a NaN in its place makes of them."""
    tensor = module.state_dict()[weight]
    if not tensor.is_floating_point():
        return set()
    kept = tensor.clone()
    tensor.fill_(float("nan"))
    with torch.no_grad():
        answers = module(torch.rand(2, *FRAME))
    tensor.copy_(kept)
    return {head for head, values in answers.items() if values.isnan().any()}


def weights(module: nn.Module) -> Iterator[str]:
    yield from module.state_dict()
