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
OF_DEVIATION, OF_SIZE = 0.1, 0.03


def differ(inputs: Mapping[str, Array]) -> bool:
    """Has a batch three frames, and not all alike? Else nothing can be seen."""
    return any(len(values) > 2 and bool((values != values[:1]).any()) for values in inputs.values())


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
    before = batch[at]
    if before.shape != again.shape:
        return True
    if not before.size or not (np.isfinite(batch).all() and np.isfinite(again).all()):
        return False  # that is said of its heads, number by number
    most = OF_DEVIATION * batch.std(dtype=np.float64) + OF_SIZE * np.abs(batch).mean(dtype=np.float64)
    if np.abs(before - again).mean(dtype=np.float64) <= most:
        return False
    apart = np.sort(before, axis=None) - np.sort(again, axis=None)
    return bool(np.abs(apart).mean(dtype=np.float64) > most)
