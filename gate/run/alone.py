"""Does the answer to a frame hang on the frames beside it? A vehicle sees one frame at a time, and what was measured on
batches would say nothing about it: normalisation over a batch, a softmax over the wrong axis.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gate.errors import BundleError

Array = NDArray[Any]
#: Program inputs (B, ...) -> head -> (values (B, ...) float32, type).
Answers = Callable[[Mapping[str, Array]], Mapping[str, tuple[Array, str]]]
#: How far the values of a frame may move: a share of the standard deviation of the batch, and one of their mean size.
#: Numbers that are rounding and nothing else may be any.
OF_DEVIATION, OF_SIZE, ROUNDING = 0.1, 0.03, 1e-6
#: Frames are different when they are so far from the first one, as a share of their size: on a scene that stands still
#: the frames beside one say nothing that it does not say itself.
APART = 0.03
#: Numbers of an array that are looked at.
SAMPLE = 1 << 18


def varied(inputs: Mapping[str, Array]) -> set[str]:
    """Inputs of a batch in which three frames or more are not all alike."""
    return {name for name, values in inputs.items() if len(values) > 2 and _varies(values)}


def _varies(values: Array) -> bool:
    if not values.size:
        return False
    apart, size = _sample(values - values[:1]), _sample(values)
    return bool(np.abs(apart).mean() > APART * np.sqrt((size**2).mean()))


def check_alone(answers: Answers, inputs: Mapping[str, Array], outputs: Mapping[str, tuple[Array, str]]) -> None:
    """Ask for some frames of a batch again, each among copies of itself and in another place; outputs: of the batch.

    Raises BundleError when the values that a head gives to two of three frames move by more than the tolerance: on
    average, in order of their size (the Wasserstein distance of the values). Rounding differs with the size of a batch,
    more so in eight bits: it may swap two objects of a list, hence in order of size, and make the class of a frame
    another one, hence two of three; the third is asked only when one of two moved.
    """
    size, moved = len(next(iter(inputs.values()))), Counter[str]()
    for at, place in ((0, 1), (size - 1, 0), (size // 2, 0)):
        again = _copied(answers, inputs, at)
        moved.update(head for head, (batch, _) in outputs.items() if _moves(batch, at, again[head][0][place]))
        if at == size - 1 and not moved:
            return
    if mixed := sorted(head for head, times in moved.items() if times > 1):
        raise BundleError(
            f"its answer to a frame hangs on the frames beside it (head {mixed[0]})",
            mend="export it in evaluation mode, and let no operation mix the frames of a batch",
        )


def _copied(answers: Answers, inputs: Mapping[str, Array], at: int) -> Mapping[str, tuple[Array, str]]:
    """The answers to two copies of a frame; to as many as there were, where a program takes no batch of two."""
    try:
        return answers({name: values[[at, at]] for name, values in inputs.items()})
    except BundleError:
        return answers({name: np.repeat(values[[at]], len(values), axis=0) for name, values in inputs.items()})


def _moves(batch: Array, at: int, again: Array) -> bool:
    """Does a frame of a batch have other values among copies of itself? Lists may be as long as the longest of a batch:
    another shape alone is no move.
    """
    if batch.shape[1:] != again.shape or np.array_equal(batch[at], again):
        return False
    before, again = _sample(batch[at]), _sample(again)
    sound = np.isfinite(before)  # what is no number is counted by those who read it
    before, again = before[sound], again[sound]
    if not len(before):
        return False
    if not np.isfinite(again).all():
        return True
    values = _sample(batch)
    values = values[np.isfinite(values)]
    most = OF_DEVIATION * values.std() + OF_SIZE * np.abs(values).mean() + ROUNDING
    return bool(np.abs(np.sort(before) - np.sort(again)).mean() > most)


def _sample(values: Array) -> Array:
    """Some of the numbers of an array, (n,) float64; the step is odd, lest it keep to one column of a list."""
    return values.reshape(-1)[:: values.size // SAMPLE | 1].astype(np.float64)
