"""What a frame asks of a prediction, and what a release answered: the size at which two releases are set side by side.

Evidence forgets which frame an event was in; this remembers it, decides exactly as evidence is counted, and is made
for few frames.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gate.heads import Head
from gate.lattice import scores_to_logits

Array = NDArray[Any]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def _no_boxes() -> Floats:
    return np.zeros((0, 4))


@dataclass(frozen=True)
class Alarms:
    """Detections of one frame that hit no truth box. corners: (m, 4); score: (m,) logits; accepted: (m,)."""

    corners: Floats = field(default_factory=_no_boxes)
    score: Floats = field(default_factory=lambda: np.zeros(0))
    accepted: Bools = field(default_factory=lambda: np.zeros(0, bool))


@dataclass(frozen=True)
class Events:
    """Events of one prediction in one frame. The frame asks every release the same n events in the same order, because
    truth alone says what counts; only `alarms`, detections without a truth box, are each release's own.

    truth: (n,) bool, or the measured value, NaN for a raster of them. score: (n,) logit, NaN where there is none.
    wrong: (n,) decided against the truth. error: (n,) output minus truth of a measured value, of a raster the mean of
    their sizes, else (0,). boxes: (n, 4) truth boxes, else (0, 4).
    """

    truth: Array
    score: Array
    wrong: Bools
    error: Floats = field(default_factory=lambda: np.zeros(0))
    boxes: Floats = field(default_factory=_no_boxes)
    alarms: Alarms = field(default_factory=Alarms)

    @classmethod
    def of_raster(cls, sizes: Floats) -> Events:
        """One event for a raster of measured values, none when none of them counts. sizes: (n,) absolute errors; the
        event has their mean, and no truth of its own.
        """
        n = min(len(sizes), 1)
        return cls(
            np.full(n, np.nan), np.full(n, np.nan), np.zeros(n, bool), np.full(n, sizes.sum() / max(len(sizes), 1))
        )


def decided(truth: Array, logits: Array, said: Bools, counted: Bools) -> Events:
    """Events of one frame with a yes or no each: `truth` and `said` are bool; places that do not count are left out."""
    true = truth[counted]
    return Events(true, logits[counted], said[counted] != true)


def channel_logits(raw: Array, head: Head, channel: int) -> Array:
    """Logits of one channel; raw: (K, ...) of one frame. Of a softmax the log-odds against all others together."""
    if head.score != "softmax":
        return scores_to_logits(raw[channel], head.score)
    # As `lattice.one_versus_rest`, which costs as many times more as there are classes.
    rest = np.delete(raw, channel, axis=0).astype(np.float64)
    top = rest.max(axis=0)
    return raw[channel] - (top + np.log(np.exp(rest - top).sum(axis=0)))
