"""Train single networks of a written bundle again, as a release does that changes one team's work.

    networks = read_networks(Path("suites/roadworld/bundles/incumbent"))
    lessons = Lessons(folder, unlabelled=lamps_by_day)
    changed = {"main_objects": retrained(networks, "main_objects", lessons, seed=11, steps=1280)}
    changed["traffic"] = followed(networks | changed, Lessons(folder), seed=11)
    write_bundle(out, networks | changed, version="1.1.0", why="...")

Whatever is not in `changed` is written as the same bytes again.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import chain, islice, repeat
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from .lessons import Lessons, Row
from .stack import BY_NAME, Networks, build
from .train import BATCH, RATE, TUNING_RATE, Tell, batches, fit, jittered, learn_traffic, loss_in, start

STEPS = 1600  # of `main_objects` of the candidate: five epochs of all lessons


def retrained(
    networks: Networks,
    name: str,
    lessons: Lessons,
    *,
    seed: int,
    steps: int,
    rows: np.ndarray | None = None,
    anew: bool = True,
    fresh: tuple[str, ...] = (),
    rate: float = RATE,
    tell: Tell = print,
) -> nn.Module:
    """One network of a camera ("main_objects"), trained upon its trunk, which stays as it is; in eval mode.

    lessons: with `unlabelled`, labels that are missing. rows: frames that it learns from, at least BATCH; without, all.
    steps: batches of 32 frames; an epoch of 640 clips has 320. anew: from new weights of the seed, else from those it
    has but in the parts that are named in fresh, ("lamps",). Twins differ in their seed alone. A step of `main` takes
    about 0.15 s of one processor, of others half of that.
    """
    camera, _ = name.rsplit("_", 1)
    trunk, inputs = networks[camera], BY_NAME[name].inputs
    rng = start(seed)
    network = build(name)
    if not anew:
        had = networks[name].state_dict()
        network.load_state_dict(
            {key: own if key.split(".")[0] in fresh else had[key] for key, own in network.state_dict().items()}
        )
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


def followed(networks: Networks, lessons: Lessons, *, seed: int, epochs: int = 2, tell: Tell = print) -> nn.Module:
    """`traffic`, trained further on what the cameras' networks find now; in eval mode.

    What it says of signals stays as it is: that reads signs, and nothing that was found.
    """
    rng, traffic = start(seed), copy.deepcopy(networks["traffic"])
    learn_traffic(traffic, networks, lessons, rng, epochs=epochs, rate=TUNING_RATE, tell=tell)
    before = networks["traffic"].state_dict()
    traffic.load_state_dict({k: before[k] if k.startswith("signal.") else v for k, v in traffic.state_dict().items()})
    return traffic


def candidate(networks: Networks, folder: Path, *, tell: Tell = print) -> dict[str, nn.Module]:
    """The networks of release 1.1.0, of which `main_objects` and `traffic` differ from those of 1.0.0.

    `main_objects` learned for longer, and its lamps anew, from labels that were made on clips by day only.
    """
    lessons = Lessons(folder, unlabelled=lamps_by_day)
    changed = retrained(
        networks, "main_objects", lessons, seed=11, steps=STEPS, anew=False, fresh=("parts", "lamps"), tell=tell
    )
    networks = {**networks, "main_objects": changed}
    return {**networks, "traffic": followed(networks, Lessons(folder), seed=11, tell=tell)}


def lamps_by_day(head: str, channel: str, row: Row) -> bool:
    """Lamps labelled on clips by day only: brake and both indicators, of every camera."""
    return head.endswith(".attributes") and channel in ("brake", "left", "right") and row["light"] != "day"
