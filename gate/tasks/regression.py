"""A measured quantity: distance, share, height, speed.

Event: one value of one frame; its error is output minus truth, in the head's unit. There is no score and nothing can
be missed. Ignored: a truth that is absent (NaN, or an empty cell of the table).
No truth: the frame counts for nobody. No prediction: a missing frame, hence broken. Neither: nothing to count.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gate.evidence import fixed
from gate.heads import Head
from gate.table import EvidenceTable
from gate.tasks.batch import Array, Batch, Drawing, Outputs, Yields, channels_first, summed
from gate.tasks.events import Events

_SUMS = ("events", "frames", "sum_abs_error", "sum_error", "sum_square_error")


def yields(head: Head) -> Yields:
    return Yields(_SUMS, frozenset(_SUMS), thresholded=False)


def shape(head: Head, truth: Array) -> tuple[int, ...]:
    """What one frame of the output must be: one value a channel."""
    return (len(head.channels),)


def scores(outputs: Outputs, head: Head) -> Array:
    """(B, K): the head's raw output."""
    return channels_first(outputs[""], head, 0)


def reduce(batch: Batch, head: Head) -> EvidenceTable:
    """Sums of errors, exact to 2^-30 of the unit an event; truth is (B, K) float, NaN where it does not count."""
    judged = list(head.judged)
    truth = batch.raster.astype(np.float64)[:, judged]
    counted = ~np.isnan(truth)
    error = np.where(counted, scores(batch.outputs, head)[:, judged].astype(np.float64) - truth, 0.0)
    events = counted.astype(np.int64)
    return summed(
        head,
        batch,
        {
            "events": events,
            "frames": events,
            "sum_error": fixed(error),
            "sum_abs_error": fixed(np.abs(error)),
            "sum_square_error": fixed(error * error),
        },
    )


def events(batch: Batch, head: Head, channel: int, threshold: float | None) -> Iterator[Events]:
    """One event a frame with its error, none where nobody measured; which error is too large it cannot say."""
    said = scores(batch.outputs, head)[:, channel].astype(np.float64)
    for value, truth in zip(said, batch.raster[:, channel].astype(np.float64), strict=True):
        measured = np.array([truth])[[not np.isnan(truth)]]
        n = len(measured)
        yield Events(measured, np.full(n, np.nan), np.zeros(n, bool), value - measured)


def picture(batch: Batch, head: Head, channel: int, threshold: float | None) -> Drawing:
    """Truth, output and error of the first frame, as text."""
    said, truth = float(scores(batch.outputs, head)[0, channel]), float(batch.raster[0, channel])
    unit = f" {head.unit}" if head.unit else ""
    if np.isnan(truth):
        return Drawing(("truth not measured", f"{said:.4g}{unit}"))
    error = f"{said - truth:+.3g}".replace("-", "\u2212")
    return Drawing((f"truth {truth:.4g}{unit}", f"{said:.4g} (error {error})"))
