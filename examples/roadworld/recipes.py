"""Candidates with planted, known changes, each made of a written bundle.

Most edit stored weights: the programs' graphs stay as they are, so a change reaches the heads that read these weights
and no others. Recipes that learn train a network again (`retrain.py`).
"""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from .export import save_model, save_program
from .heads import NETWORKS
from .lessons import Lessons, Row
from .retrain import retrained
from .stack import BY_NAME, read_networks
from .train import TUNING_RATE

Weights = dict[str, Tensor]
Edit = Callable[[Weights], None]

DRIFTS, TWINS = 10, 10
EDGE = 1  # channel of `Road.out`


class Tuned(NamedTuple):
    """One network, trained further upon its trunk. unlabelled: labels that are missing, see `Lessons`."""

    network: str
    seed: int
    unlabelled: Callable[[str, str, Row], bool] | None = None
    steps: int = 160  # half an epoch: part of the last phase of the incumbent's training again
    rate: float = TUNING_RATE


class Recipe(NamedTuple):
    """why: what was done. must: whether a gate has to block it, None where that depends. edits: network -> what is done
    to its weights. models: networks that are written as ONNX models. base: recipe that it is made of, "" for the
    incumbent; against: that it is compared with, its base where none is named. anchored: the incumbent is its anchor.
    """

    name: str
    why: str
    must: bool | None
    edits: Mapping[str, Edit] = {}
    tuned: Tuned | None = None
    models: tuple[str, ...] = ()
    base: str = ""
    against: str = ""
    anchored: bool = False

    @property
    def kind(self) -> str:
        return self.name.partition("-")[0]


def write(recipe: Recipe, base: Path, out: Path, lessons: Path) -> None:
    """Copy a bundle and change some of its programs; what was in the folder is gone. lessons: for what learns.

    Raises KeyError for a weight that a program lacks.
    """
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for path in base.glob("*.pt2"):
        edit = recipe.edits.get(path.stem)
        if edit is None:
            shutil.copyfile(path, out / path.name)
        else:
            (out / path.name).write_bytes(edited(path, edit))
    if recipe.tuned is not None:
        name, seed, unlabelled, steps, rate = recipe.tuned
        networks = read_networks(base, [name.rsplit("_", 1)[0], name])
        network = retrained(networks, name, Lessons(lessons, unlabelled), seed=seed, steps=steps, anew=False, rate=rate)
        save_program(network, BY_NAME[name], out / f"{name}.pt2")
    text = (base / "bundle.toml").read_text(encoding="utf-8")
    for name in recipe.models:
        save_model(read_networks(base, [name])[name], BY_NAME[name], out / f"{name}.onnx")
        (out / f"{name}.pt2").unlink()
        text = text.replace(f'"{name}.pt2"', f'"{name}.onnx"')
    text = re.sub(r'(?m)^version = ".*"$', f'version = "{recipe.name}"', text, count=1)
    (out / "bundle.toml").write_text(text, encoding="utf-8")  # last: a folder that has one is whole


def edited(path: Path, edit: Edit) -> bytes:
    """The archive of a program with other weights."""
    program = torch.export.load(path)
    weights = {name: values.detach().clone() for name, values in program.state_dict.items()}
    edit(weights)
    for name, values in program.state_dict.items():
        values.detach().copy_(weights[name])
    program._example_inputs = None  # as in export.py
    archive = io.BytesIO()
    torch.export.save(program, archive)
    return archive.getvalue()


def noise(names: Iterable[str], size: float, seed: int) -> Edit:
    """Add Gaussian noise to some weights, `size` of each tensor's own standard deviation."""

    def edit(weights: Weights) -> None:
        draw = torch.Generator().manual_seed(seed)
        for name in names:
            old = weights[name]
            weights[name] = old + size * old.std() * torch.randn(old.shape, generator=draw)

    return edit


def noise_everywhere(size: float, seed: int) -> Edit:
    """The same to every convolution and linear map."""
    return lambda weights: noise(_maps(weights), size, seed)(weights)


def row_noise(name: str, row: int, size: float, seed: int) -> Edit:
    """The same to what makes one output channel of a convolution or a linear map."""

    def edit(weights: Weights) -> None:
        old = weights[name][row]
        old += size * old.std() * torch.randn(old.shape, generator=torch.Generator().manual_seed(seed))

    return edit


def shift(names: Iterable[str], by: float) -> Edit:
    """Add a constant to some biases: every score moves, none passes another."""

    def edit(weights: Weights) -> None:
        for name in names:
            weights[name] += by

    return edit


def rounded(weights: Weights) -> None:
    """Round every convolution and linear map to 8 bits, symmetric, a scale an output channel."""
    for name in _maps(weights):
        old = weights[name]
        scale = old.abs().flatten(1).amax(1).clamp(min=1e-12).view(-1, *[1] * (old.ndim - 1)) / 127
        weights[name] = (old / scale).round() * scale


def _maps(weights: Weights) -> list[str]:
    return [name for name, values in weights.items() if name.endswith("weight") and values.ndim > 1]


def pedestrians_by_night(head: str, channel: str, row: Row) -> bool:
    """Pedestrians of every camera on clips by night: boxes that nobody drew, and what is near."""
    return channel.startswith("pedestrian") and row["light"] == "night"


def _drift(step: int) -> Recipe:
    """One of many releases that lose alike: the loss grows with the square of the noise, and the noise with the root of
    the step.
    """
    why = "`rear_road.edge` loses a little with each of ten releases"
    edit = row_noise("out.weight", EDGE, 0.12 * (step**0.5 - (step - 1) ** 0.5), 1)
    base = f"drift-{step - 1:02d}" if step > 1 else ""
    return Recipe(f"drift-{step:02d}", why, None, {"rear_road": edit}, base=base, anchored=True)


RECIPES = (
    Recipe("head", "noise on the weights of `main_road.seen`", True, {"main_road": noise(["seen.weight"], 0.8, 1)}),
    Recipe("faint", "less of that noise", None, {"main_road": noise(["seen.weight"], 0.3, 1)}),
    Recipe(
        "trunk",
        "noise on all weights of the trunk `left_repeater`",
        True,
        {"left_repeater": noise_everywhere(0.15, 2)},
    ),
    Recipe(
        "points",
        "1.5 added to all logits of `left_pillar_objects.near`, `.attributes` and `left_pillar_road.seen`",
        False,
        {
            "left_pillar_objects": shift(["near.bias", "lamps.bias"], 1.5),
            "left_pillar_road": shift(["seen.bias"], 1.5),
        },
    ),
    Recipe(
        "night",
        "`right_pillar_objects` trained for three epochs with no pedestrian labelled by night",
        True,
        tuned=Tuned("right_pillar_objects", 1, pedestrians_by_night, 960, 3e-3),
    ),
    Recipe("tuned", "`left_pillar_objects` tuned a little further", None, tuned=Tuned("left_pillar_objects", 100)),
    *(
        Recipe(
            f"twin-{seed:02d}",
            "the same by another seed, compared with it",
            False,
            tuned=Tuned("left_pillar_objects", 100 + seed),
            against="tuned",
        )
        for seed in range(1, TWINS + 1)
    ),
    Recipe(
        "int8",
        "the weights of all 48 networks rounded to 8 bits",
        None,
        {of.name: rounded for of in NETWORKS},
    ),
    Recipe(
        "onnx",
        "`left_repeater`, its road and its depth as ONNX models; what reads them stays as it is",
        False,
        models=("left_repeater", "left_repeater_road", "left_repeater_depth"),
    ),
    *(_drift(step + 1) for step in range(DRIFTS)),
)
