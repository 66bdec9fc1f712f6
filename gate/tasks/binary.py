"""One yes-or-no answer a frame.

Event: one frame. Score: its logit. Missed: nothing. Ignored: a truth that is absent.
No truth: the frame counts for nobody. No prediction: a missing frame, hence broken. Neither: nothing to count.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gate.heads import Head
from gate.lattice import scores_to_logits
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
    scored_table,
    yes_or_no,
)
from gate.tasks.events import Events, decided


def yields(head: Head) -> Yields:
    return SCORED


def shape(head: Head, truth: Array) -> tuple[int, ...]:
    """What one frame of the output must be: one score a channel."""
    return (1,)


def scores(outputs: Outputs, head: Head) -> Array:
    """(B, 1): the head's raw output."""
    return channels_first(outputs[""], head, 0)


def reduce(batch: Batch, head: Head) -> EvidenceTable:
    """Histogram of score x label; truth is (B, 1) float, NaN where it does not count."""
    truth = batch.raster
    return scored_table(head, batch, scores(batch.outputs, head), truth, ~np.isnan(truth))


def events(batch: Batch, head: Head, channel: int, threshold: float | None) -> Iterator[Events]:
    """One event a frame, none where nobody labelled it."""
    logits = scores_to_logits(scores(batch.outputs, head), head.score)[:, channel]
    truth, said = batch.raster[:, channel], accepted(logits, threshold)
    for k in range(batch.size):
        one = slice(k, k + 1)
        yield decided(truth[one] == 1, logits[one], said[one], ~np.isnan(truth[one]))


def picture(batch: Batch, head: Head, channel: int, threshold: float | None) -> Drawing:
    """Truth and probability of the first frame, as text."""
    logit = scores_to_logits(scores(batch.outputs, head), head.score)[0, 0]
    return yes_or_no(float(logit), float(batch.raster[0, 0]), threshold)
