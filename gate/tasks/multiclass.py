"""Exactly one of several classes a frame.

Event: one class of one frame, one against the rest. Score: the log-odds of the class. The greatest score decides, so
there is no threshold; curves and losses come from the scores. Missed: nothing. Ignored: a frame without a class.
No truth: the frame counts for nobody. No prediction: a missing frame, hence broken. Neither: nothing to count.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from gate.heads import Head
from gate.table import EvidenceTable
from gate.tasks.batch import SCORED, Array, Batch, Drawing, Outputs, Yields, channels_first, scored_table, share_of
from gate.tasks.events import Events, channel_logits, decided


def yields(head: Head) -> Yields:
    return replace(SCORED, sums=("fn", "fp", "frames", "tn", "tp"), thresholded=False, coupled=True)


def shape(head: Head, truth: Array) -> tuple[int, ...]:
    """What one frame of the output must be: one score a channel."""
    return (len(head.channels),)


def scores(outputs: Outputs, head: Head) -> Array:
    """(B, K): the head's raw output."""
    return channels_first(outputs[""], head, 0)


def reduce(batch: Batch, head: Head) -> EvidenceTable:
    """One-against-rest histograms and the counts of the decision; truth is (B,) class position, -1 for none."""
    raw = scores(batch.outputs, head)
    classes = np.arange(raw.shape[1])
    truth = batch.raster.reshape(-1, 1)
    counted = np.broadcast_to(truth >= 0, raw.shape)
    is_true, said = truth == classes, raw.argmax(axis=1)[:, None] == classes
    judged = list(head.judged)
    decided = {
        "tp": counted & is_true & said,
        "fp": counted & ~is_true & said,
        "fn": counted & is_true & ~said,
        "tn": counted & ~is_true & ~said,
    }
    sums = {name: hit[:, judged].astype(np.int64) for name, hit in decided.items()}
    return scored_table(head, batch, raw, is_true.astype(np.int64), counted, sums)


def events(batch: Batch, head: Head, channel: int, threshold: float | None) -> Iterator[Events]:
    """One event of the class a frame, against the rest; none where the frame has no class."""
    raw = scores(batch.outputs, head)
    for frame, truth in zip(raw, batch.raster.reshape(-1), strict=True):
        said = np.array([frame.argmax() == channel])
        yield decided(
            np.array([truth == channel]), channel_logits(frame, head, channel)[None], said, np.array([truth >= 0])
        )


def picture(batch: Batch, head: Head, channel: int, threshold: float | None) -> Drawing:
    """True class and decided class of the first frame, with the probabilities of both and of the channel, as text."""
    raw = scores(batch.outputs, head)[0]
    truth, said = int(batch.raster.reshape(-1)[0]), int(raw.argmax())
    named: dict[int, None] = dict.fromkeys([said, *([truth] if truth >= 0 else []), channel])
    facts = ", ".join(f"{head.channels[k]} {share_of(float(channel_logits(raw, head, k)))}" for k in named)
    return Drawing((f"truth {head.channels[truth] if truth >= 0 else 'not labelled'}", facts))
