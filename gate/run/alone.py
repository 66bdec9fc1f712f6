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
from gate.run.abreast import CertainError

Array = NDArray[Any]
#: Program inputs (B, ...) -> head -> (values (B, ...) float32, type).
Answers = Callable[[Mapping[str, Array]], Mapping[str, tuple[Array, str]]]
#: How far the values of a frame may move: a share of the standard deviation of the batch, and one of their mean size.
#: Numbers that are rounding and nothing else may be any.
OF_DEVIATION, OF_SIZE, ROUNDING = 0.1, 0.03, 1e-6
#: Frames are different when they are so far from the first one, as a share of their size: on a scene that stands still
#: the frames beside one say nothing that it does not say itself.
APART = 0.03
#: Numbers of an array that are looked at, and of each frame to choose some that differ.
SAMPLE, FEW = 1 << 18, 1 << 12


def varied(inputs: Mapping[str, Array]) -> set[str]:
    """Inputs of a batch in which three frames or more are not all alike."""
    return {name for name, values in inputs.items() if len(values) > 2 and _varies(values)}


def _varies(values: Array) -> bool:
    if not values.size:
        return False
    apart, size = _sample(values - values[:1]), _sample(values)
    return bool(np.abs(apart).mean() > APART * np.sqrt((size**2).mean()))


def check_alone(answers: Answers, inputs: Mapping[str, Array], outputs: Mapping[str, tuple[Array, str]]) -> None:
    """Ask for three frames of a batch together, and for each again among copies of itself; outputs: of the batch.

    Raises CertainError when the values that a head gives to two of the three move by more than the tolerance, on
    average. In the same place of a batch of the same size an honest network answers the same to the last bit, whatever
    stands beside it. In another place or size rounding differs, more so in eight bits: it may swap two objects of a
    list, hence there values are compared in order of their size (the Wasserstein distance), and make the class of a
    frame another one, hence two of three; the third is asked only when one of two moved.
    """
    rows = _three(inputs)
    try:
        among = answers({name: values[rows] for name, values in inputs.items()})
    except BundleError:  # a program may take no batch of three
        rows, among = np.arange(len(next(iter(inputs.values())))), outputs
    size, moved = len(rows), Counter[str]()
    most = {head: _tolerance(batch) for head, (batch, _) in outputs.items()}
    for place, other in ((0, size - 1), (size - 1, 0), (size // 2, 0)):
        copies = np.repeat(rows[place], size)
        again = answers({name: values[copies] for name, values in inputs.items()})
        for head, (batch, _) in outputs.items():
            beside, alone = among[head][0], again[head][0]
            moved[head] += _moves(beside[place], alone[place], most[head]) or _moves(
                batch[rows[place]], alone[other], most[head], ordered=True
            )
        if place == size - 1 and not any(moved.values()):
            return
    if mixed := sorted(head for head, times in moved.items() if times > 1):
        raise CertainError(
            f"its answer to a frame hangs on the frames beside it (head {mixed[0]})",
            mend="export it in evaluation mode, and let no operation mix the frames of a batch",
        )


def _three(inputs: Mapping[str, Array]) -> NDArray[np.int64]:
    """Positions of the first frame, of the one that is least like it, and of one in between."""
    size = len(next(iter(inputs.values())))
    apart = np.zeros(size)
    for values in inputs.values():
        some = values.reshape(size, -1)
        if some.shape[1]:
            some = np.nan_to_num(some[:, :: some.shape[1] // FEW | 1].astype(np.float32))
            far = np.abs(some - some[0]).mean(1)
            apart += far / (far.max() or 1)
    order = np.argsort(apart, kind="stable")
    return np.array([0, order[-1], order[size // 2]])


def _tolerance(batch: Array) -> float:
    """How far the values of a frame of this batch may move on average."""
    values = _sample(batch)
    values = values[np.isfinite(values)]
    return OF_DEVIATION * values.std() + OF_SIZE * np.abs(values).mean() + ROUNDING if len(values) else ROUNDING


def _moves(before: Array, again: Array, most: float, *, ordered: bool = False) -> bool:
    """Has a frame other values now? ordered: only as a whole, place by place they may be swapped. Lists may be as long
    as the longest of a batch: another shape alone is no move.
    """
    if before.shape != again.shape or np.array_equal(before, again):
        return False
    before, again = _sample(before), _sample(again)
    sound = np.isfinite(before)  # what is no number is counted by those who read it
    before, again = before[sound], again[sound]
    if not len(before):
        return False
    if not np.isfinite(again).all():
        return True
    if ordered:
        before, again = np.sort(before), np.sort(again)
    return bool(np.abs(before - again).mean() > most)


def _sample(values: Array) -> Array:
    """Some of the numbers of an array, (n,) float64; the step is odd, lest it keep to one column of a list."""
    return values.reshape(-1)[:: values.size // SAMPLE | 1].astype(np.float64)
