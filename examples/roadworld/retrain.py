"""Train single networks of a written bundle again, as a release does that changes one team's work.

    networks = read_networks(Path("suites/roadworld/bundles/incumbent"))
    lessons = Lessons(folder, unlabelled=lamps_by_day)
    changed = {"main_objects": retrained(networks, "main_objects", lessons, seed=11, steps=1280)}
    changed["traffic"] = followed(networks | changed, lessons, seed=11, epochs=4)
    write_bundle(out, networks | changed, version="1.1.0", why="...")

Whatever is not in `changed` is written as the same bytes again.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import chain, islice, repeat

import numpy as np
import torch
from torch import Tensor, nn

from .lessons import Lessons, Row
from .stack import BY_NAME, Networks, build
from .train import BATCH, RATE, TUNING_RATE, Tell, batches, fit, jittered, learn_traffic, loss_in, start


def retrained(
    networks: Networks,
    name: str,
    lessons: Lessons,
    *,
    seed: int,
    steps: int,
    rows: np.ndarray | None = None,
    anew: bool = True,
    rate: float = RATE,
    tell: Tell = print,
) -> nn.Module:
    """One network of a camera ("main_objects"), trained upon its trunk, which stays as it is; in eval mode.

    lessons: with `unlabelled`, labels that are missing. rows: frames that it learns from, at least BATCH; without, all.
    steps: batches of 32 frames; an epoch of 640 clips has 320. anew: from new weights of the seed, else from those it
    has. Twins differ in their seed alone. A step of `main` takes about 0.15 s of one processor, of others half of that.
    """
    camera, _ = name.rsplit("_", 1)
    trunk, inputs = networks[camera], BY_NAME[name].inputs
    rng = start(seed)
    network = build(name) if anew else copy.deepcopy(networks[name])
    every = np.arange(len(lessons)) if rows is None else rows
    if len(every) < BATCH:
        raise ValueError(f"{len(every)} frames to learn from; a batch has {BATCH}")

    def lesson() -> Iterator[Tensor]:
        epochs = chain.from_iterable(batches(rng.permutation(every)) for _ in repeat(None))
        for part in islice(epochs, steps):
            image = jittered(lessons.pictures(camera, part), rng)
            with torch.no_grad():
                given = {"image": image, "features": trunk(image)["features"]}
            yield loss_in({name: network(**{key: given[key] for key, _ in inputs})}, lessons, part)

    fit(network, lesson, steps=steps, epochs=1, rate=rate, tell=lambda text: tell(f"{name} {text}"))
    return network


def followed(networks: Networks, lessons: Lessons, *, seed: int, epochs: int = 4, tell: Tell = print) -> nn.Module:
    """`traffic`, trained further on what the cameras' networks find now; in eval mode."""
    rng, traffic = start(seed), copy.deepcopy(networks["traffic"])
    learn_traffic(traffic, networks, lessons, rng, epochs=epochs, rate=TUNING_RATE, tell=tell)
    return traffic


def lamps_by_day(head: str, channel: str, row: Row) -> bool:
    """Lamps labelled on clips by day only: brake and both indicators, of every camera."""
    return head.endswith(".attributes") and channel in ("brake", "left", "right") and row["light"] != "day"
