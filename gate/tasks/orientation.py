"""Directions of given things: a heading a frame, or a raster of them, such as lanes or an intersection from above.

Event: one direction with a truth; its error is output minus truth the short way round the head's `period`, at most half
of it, in the head's unit (degrees or radians, as outputs and truths are). A period of 360 degrees is for headings, 180
for lines without an arrow, 90 for a crossing of like streets. `mae`, `rmse` and `within_15_degrees` (an error of 15
degrees is within) are of these errors. There is no score and nothing can be missed. Ignored: a truth that is absent
(NaN, or an empty cell of the table).
No truth: the frame counts for nobody. No prediction: a missing frame, hence broken. Neither: nothing to count.

The short way round a period is nuScenes' orientation error (`yaw_diff`: 360 degrees, of barriers 180).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from gate.evidence import fixed_sum
from gate.heads import Head
from gate.table import EvidenceTable, Floats
from gate.tasks.batch import Array, Batch, Drawing, Outputs, Yields, channels_first, summed
from gate.tasks.events import Events

_SUMS = ("events", "frames", "sum_abs_error", "sum_error", "sum_square_error", "within_15_degrees")
#: Degrees within which a direction is right; and, for a picture, beyond which it is quite another one.
NEAR, FAR = 15.0, 45.0


def yields(head: Head) -> Yields:
    return Yields(_SUMS, frozenset(_SUMS), thresholded=False)


def shape(head: Head, truth: Array) -> tuple[int, ...]:
    """What one frame of the output must be: a value a channel, or a raster as large as the truth for each."""
    return (len(head.channels), *(truth.shape[-2:] if truth.ndim > 2 else ()))


def scores(outputs: Outputs, head: Head) -> Array:
    """(B, K) or (B, K, H, W): the head's raw output."""
    return channels_first(outputs[""], head, 0 if outputs[""].ndim <= 2 else 2)


def reduce(batch: Batch, head: Head) -> EvidenceTable:
    """Sums of errors, exact to 2^-30 of the unit an event; truth is (B, K), or (B, H, W) or (B, K, H, W), and NaN where
    it does not count.
    """
    judged = list(head.judged)
    error = _errors(batch, head)[:, judged].reshape(batch.size, len(judged), -1)
    counted = ~np.isnan(error)
    error = np.where(counted, error, 0.0)
    events = counted.sum(axis=2)
    return summed(
        head,
        batch,
        {
            "events": events,
            "frames": (events > 0).astype(np.int64),
            "sum_error": fixed_sum(error),
            "sum_abs_error": fixed_sum(np.abs(error)),
            "sum_square_error": fixed_sum(error * error),
            "within_15_degrees": (counted & (np.abs(error) <= _in_unit(NEAR, head))).sum(axis=2),
        },
    )


def _errors(batch: Batch, head: Head) -> Floats:
    """Error of every direction, (B, K, ...), NaN without a truth."""
    said = scores(batch.outputs, head).astype(np.float64)
    return short_way(said - batch.raster.reshape(said.shape), _in_unit(head.period, head))


def short_way(angle: Floats, period: float) -> Floats:
    """The angle that is the same but for whole periods, from minus half a period up to half a period."""
    return (angle + period / 2) % period - period / 2


def _in_unit(degrees: float, head: Head) -> float:
    return math.radians(degrees) if head.unit == "radians" else degrees


def events(batch: Batch, head: Head, channel: int, threshold: float | None) -> Iterator[Events]:
    """One event a frame with its error, of a raster with the mean of their sizes; none where nobody measured."""
    truth = batch.raster.reshape(scores(batch.outputs, head).shape)[:, channel].astype(np.float64)
    for error, true in zip(_errors(batch, head)[:, channel], truth, strict=True):
        known = error[~np.isnan(error)].reshape(-1)
        if error.ndim:
            yield Events.of_raster(np.abs(known))
        else:
            n = len(known)
            yield Events(true.reshape(-1)[:n], np.full(n, np.nan), np.zeros(n, bool), known)


def picture(batch: Batch, head: Head, channel: int, threshold: float | None) -> Drawing:
    """Truth, output and error of the first frame as text; of a raster, where it is right and how far off elsewhere."""
    said, error = scores(batch.outputs, head)[0, channel], _errors(batch, head)[0, channel]
    if error.ndim:
        size = np.abs(error)
        limits = _in_unit(NEAR, head), _in_unit(FAR, head)
        raster = np.select([np.isnan(size), size <= limits[0], size <= limits[1]], [255, 1, 2], 3).astype(np.uint8)
        off, far = int((raster == 2).sum()), int((raster == 3).sum())
        keys = (f"off by over {NEAR:g}°", f"by over {FAR:g}°")
        return Drawing((f"{off + far:,} place{'s' * (off + far != 1)} {keys[0]}, {far:,} {keys[1]}",), (), raster, keys)
    if np.isnan(error):
        return Drawing(("truth not measured", f"{float(said):.4g} {head.unit}"))
    true = float(batch.raster.reshape(-1, len(head.channels))[0, channel])
    sign = f"{float(error):+.3g}".replace("-", "\u2212")
    return Drawing((f"truth {true:.4g} {head.unit}", f"{float(said):.4g} (error {sign})"))
