"""A class for every pixel.

With `softmax` the greatest score decides: evidence is the confusion of each class with all others, in pixels, and
there is no threshold. With `sigmoid` each channel is an event of its own in each pixel, with its own threshold.
Event: one pixel. Score: its logit. Missed: nothing. Ignored: pixels whose truth is the suite's `ignore` value.
No truth: an all-ignored picture counts for nobody. No prediction: a missing frame, hence broken. Neither: nothing.
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
    summed,
)
from gate.tasks.events import Events, channel_logits, decided

_CONFUSION = Yields(
    ("events", "fn", "fp", "frames", "tn", "tp"),
    frozenset({"events", "tp", "fp", "fn", "tn"}),
    thresholded=False,
    coupled=True,
)


def yields(head: Head) -> Yields:
    return _CONFUSION if head.score == "softmax" else SCORED


def shape(head: Head, truth: Array) -> tuple[int, ...]:
    """What one frame of the output must be: a raster as large as the truth for each channel."""
    return (len(head.channels), *truth.shape[-2:])


def scores(outputs: Outputs, head: Head) -> Array:
    """(B, K, H, W): the head's raw output."""
    return channels_first(outputs[""], head, 2)


def reduce(batch: Batch, head: Head) -> EvidenceTable:
    """Confusion sums (softmax) or histograms (sigmoid); truth is (B, H, W) class position."""
    raw = scores(batch.outputs, head)
    truth = batch.raster
    if head.score != "softmax":
        classes = np.arange(raw.shape[1])[:, None, None]
        valid = np.broadcast_to((truth != head.ignore)[:, None], raw.shape)
        return scored_table(head, batch, raw, (truth[:, None] == classes).astype(np.int64), valid)
    confusion = _confusion(raw.argmax(axis=1), truth, truth != head.ignore, raw.shape[1])
    judged = list(head.judged)
    events = confusion.sum(axis=(1, 2))[:, None]
    tp = np.diagonal(confusion, axis1=1, axis2=2)[:, judged]
    fn = confusion.sum(axis=2)[:, judged] - tp
    fp = confusion.sum(axis=1)[:, judged] - tp
    frames = np.broadcast_to(events > 0, tp.shape).astype(np.int64)
    every = np.broadcast_to(events, tp.shape)
    return summed(
        head,
        batch,
        {"events": every, "frames": frames, "tp": tp, "fn": fn, "fp": fp, "tn": every - tp - fn - fp},
    )


def _confusion(said: Array, truth: Array, valid: Array, classes: int) -> Array:
    """(B, K, K) pixel counts, truth by decision."""
    frame = np.broadcast_to(np.arange(len(said))[:, None, None], said.shape)[valid]
    index = (frame * classes + truth[valid].astype(np.int64)) * classes + said[valid]
    return np.bincount(index, minlength=len(said) * classes * classes).reshape(-1, classes, classes)


def events(batch: Batch, head: Head, channel: int, threshold: float | None) -> Iterator[Events]:
    """One event a pixel that counts: is it of this class?"""
    for raw, truth in zip(scores(batch.outputs, head), batch.raster, strict=True):
        said = _said(raw, head, channel, threshold)
        yield decided(truth == channel, channel_logits(raw, head, channel), said, truth != head.ignore)


def picture(batch: Batch, head: Head, channel: int, threshold: float | None) -> Drawing:
    """Right, false and missed pixels of one class in the first frame."""
    said = _said(scores(batch.outputs, head)[0], head, channel, threshold)
    truth = batch.raster[0]
    return raster_kinds(said, truth == channel, truth == head.ignore, "pixel")


def _said(raw: Array, head: Head, channel: int, threshold: float | None) -> Array:
    """Where one frame, (K, H, W), is called this class: (H, W) bool."""
    if head.score == "softmax":
        return raw.argmax(axis=0) == channel
    return accepted(channel_logits(raw, head, channel), threshold)
