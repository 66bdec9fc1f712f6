"""A frame asked by itself: what moves with its neighbours is seen, what rounding moves is not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gate.bundle import Network
from gate.errors import BundleError
from gate.run.alone import check_alone, varied
from gate.run.signature import Program
from gate.run.stack import Stack

Array = NDArray[Any]
RNG = np.random.default_rng(0)
FRAMES = RNG.normal(size=(16, 3, 8, 8)).astype(np.float32)


def asked(forward: Callable[[Array], Array], frames: Array = FRAMES, least: int = 1) -> list[int]:
    """How many frames were asked each time; raises what `check_alone` raises."""
    sizes = []

    def answers(inputs: Mapping[str, Array]) -> dict[str, tuple[Array, str]]:
        sizes.append(len(inputs["image"]))
        if sizes[-1] < least:
            raise BundleError("the program failed: so few")
        return {"head": (forward(inputs["image"]).astype(np.float32), "float32")}

    given = {"image": frames}
    check_alone(answers, given, answers(given))
    return sizes


def test_a_network_that_takes_every_frame_by_itself_is_asked_for_three_together_and_two_alone() -> None:
    assert asked(lambda x: x.mean((2, 3))) == [16, 3, 3, 3]


def test_a_program_that_takes_large_batches_only_is_asked_for_as_many_as_there_were() -> None:
    assert asked(lambda x: x.mean((2, 3)), least=4) == [16, 3, 16, 16]


@pytest.mark.parametrize(
    "mixing",
    [
        lambda x: (x - x.mean((0, 2, 3), keepdims=True)) / x.std((0, 2, 3), keepdims=True),
        lambda x: np.exp(x.mean((2, 3))) / np.exp(x.mean((2, 3))).sum(0),
        lambda x: x.mean((2, 3)) * np.arange(len(x))[:, None],
        lambda x: np.cumsum(x.mean((2, 3)), 0) / len(x),
        lambda x: (x.mean((2, 3)) - x.mean((0, 2, 3))) / x.mean((2, 3)).std(0),
        lambda x: np.where(np.arange(3) == 1, -np.inf, x.mean((2, 3)) - x.mean()),
        lambda x: np.roll(x, 1, axis=0),
        lambda x: np.roll(x, -1, axis=0),
        lambda x: np.concatenate([np.roll(x[:, :1], 1, axis=0), x[:, 1:]], axis=1),
    ],
    ids=[
        "batch statistics",
        "softmax over the batch",
        "place in the batch",
        "running mean",
        "no number",
        "infinite",
        "map of the frame before",
        "map of the frame behind",
        "channel of the frame before",
    ],
)
def test_what_mixes_frames_is_seen(mixing: Callable[[Array], Array]) -> None:
    frames = FRAMES * np.linspace(0.2, 3, 16, dtype=np.float32)[:, None, None, None] + np.float32(0.5)
    with np.errstate(all="ignore"), pytest.raises(BundleError, match=r"hangs on the frames beside it \(head head\)"):
        asked(mixing, frames)


def test_a_last_bit_more_or_less_is_no_difference_even_where_it_swaps_a_list_or_changes_a_class() -> None:
    def listed(x: Array) -> Array:
        """Ten values by rank, of which the batch swaps two."""
        found = np.sort(x.reshape(len(x), -1)[:, :10], axis=1)
        return found[:, [1, 0, *range(2, 10)]] if len(x) > 3 else found

    def named(x: Array) -> Array:
        """A class; that of the first frame is another one in a small batch."""
        shifted = (x == FRAMES[0]).all((1, 2, 3))[:, None] * (len(x) == 3)
        return np.round(x[:, 0, :1, 0] * 3) + 3 * shifted

    assert asked(listed) == [16, 3, 3, 3]
    assert asked(named) == [16, 3, 3, 3, 3]


def test_a_list_as_long_as_the_longest_of_its_batch_is_no_mixing_and_rounding_is_none() -> None:
    assert asked(lambda x: x.mean((2, 3))[:, : len(x)]) == [16, 3, 3, 3]
    assert asked(lambda x: np.full((len(x), 3), 1e-8 * len(x))) == [16, 3, 3, 3]


def test_nothing_can_be_seen_where_frames_are_the_same_or_nearly() -> None:
    def names(**inputs: Array) -> set[str]:
        return varied(inputs)

    still = np.repeat(FRAMES[:1], 16, axis=0)
    assert names(image=FRAMES[:2]) == set()
    assert names(image=still) == set()
    assert names(image=still + RNG.normal(size=still.shape) * 0.01) == set()
    assert names(image=FRAMES, rear=still, speed=np.arange(16.0), none=np.zeros((16, 0))) == {"image", "speed"}
    assert names(image=np.concatenate([still[:7], FRAMES[1:3], still[:7]])) == {"image"}


def test_numbers_that_are_none_in_a_batch_are_left_to_those_who_count_them() -> None:
    assert asked(lambda x: x.mean((2, 3)) * (np.nan if len(x) > 3 else 1)) == [16, 3, 3, 3]


LARGE = RNG.normal(size=(16, 3, 300, 400)).astype(np.float32)


def test_of_large_answers_a_sample_is_looked_at() -> None:
    assert varied({"image": LARGE}) == {"image"}
    assert asked(lambda x: x + np.float32(1e-4 * len(x)), LARGE) == [16, 3, 3, 3]
    with pytest.raises(BundleError, match="hangs on"):
        asked(lambda x: x + x.mean((1, 2, 3), keepdims=True) + len(x), LARGE)


def test_clips_side_by_side_are_asked_when_they_remember_something() -> None:
    def mixing(x: Array, h: Array) -> Array:
        return x + h.mean(0)

    for mix, failed in ((mixing, {"net"}), (lambda x, h: x + h, set())):

        def forward(
            inputs: Mapping[str, Array], heads: object = None, mix: Callable[[Array, Array], Array] = mix
        ) -> dict[str, tuple[Array, str]]:
            x, h = inputs["x"], inputs["h"]
            return {"y": (mix(x, h), "float32"), "h": (h / 2 + x, "float32")}

        inputs = (("x", "x"), ("h", "net.h"))
        network = Network("net", Path("net.pt2"), (), inputs, ("y", "h"), "", state=("h",))
        program = Program(forward, {"x": (4,), "h": (4,)})
        stack = Stack([network], {"net": program}, {"net": ["y", "h"]}, ["net.y"])
        stack.begin([8] * 16, True)
        for rows in np.split(RNG.normal(size=(128, 4)).astype(np.float32), 8):
            list(stack.batch([{"x": rows}]))
        list(stack.rest(128))
        assert set(stack.failed) == failed
