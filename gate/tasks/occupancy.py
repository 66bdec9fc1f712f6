"""A raster of cells, each occupied or not: top-down road, occupancy, boundaries.

Event: one cell of the raster of one frame. Score: its logit. Missed: nothing, every cell has a score. Ignored: cells
whose truth is the suite's `ignore` value, or NaN.
No truth: an all-ignored raster counts for nobody. No prediction: a missing frame, hence broken. Neither: nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gate.heads import Head
from gate.table import EvidenceTable
from gate.tasks.batch import (
    SCORED,
    Array,
    Batch,
    Drawing,
    Outputs,
    Yields,
    accepted,
    channels_first,
    raster_kinds,
    scored_table,
)
from gate.tasks.events import Events, channel_logits, decided


def yields(head: Head) -> Yields:
    return SCORED


def shape(head: Head, truth: Array) -> tuple[int, ...]:
    """What one frame of the output must be: a raster as large as the truth for each channel."""
    return (len(head.channels), *truth.shape[-2:])


def scores(outputs: Outputs, head: Head) -> Array:
    """(B, K, H, W): the head's raw output."""
    return channels_first(outputs[""], head, 2)


def reduce(batch: Batch, head: Head) -> EvidenceTable:
    """Histogram of score x label over all cells; truth is (B, H, W), or (B, K, H, W) for several channels."""
    raw = scores(batch.outputs, head)
    truth = batch.raster.reshape(raw.shape)
    return scored_table(head, batch, raw, truth, ~_ignored(truth, head))


def events(batch: Batch, head: Head, channel: int, threshold: float | None) -> Iterator[Events]:
    """One event a cell that counts: is it occupied?"""
    raw = scores(batch.outputs, head)
    for frame, true in zip(raw, batch.raster.reshape(raw.shape)[:, channel], strict=True):
        logits = channel_logits(frame, head, channel)
        yield decided(true == 1, logits, accepted(logits, threshold), ~_ignored(true, head))


def picture(batch: Batch, head: Head, channel: int, threshold: float | None) -> Drawing:
    """Right, false and missed cells of one channel in the first frame."""
    raw = scores(batch.outputs, head)
    truth = batch.raster.reshape(raw.shape)[0, channel]
    said = accepted(channel_logits(raw[0], head, channel), threshold)
    return raster_kinds(said, truth == 1, _ignored(truth, head), "cell")


def _ignored(truth: Array, head: Head) -> Array:
    return (truth == head.ignore) | np.isnan(truth)
