"""Fixed runs of frames: evidence is made, kept and resumed a span at a time, and the spans of a head add up.

Spans follow from the suite alone, never from where a run was stopped or from what a store holds. So a run that was
killed, and any mixture of spans that are kept and spans that are run again, gives the same bits as a run at one go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gate.errors import EvidenceError
from gate.heads import series_of
from gate.run.program import BATCH
from gate.run.summary import HeadSummary
from gate.suite import Frames
from gate.table import EvidenceTable, adjoined, empty
from gate.tasks import task_of

#: A suite has fewer than this many spans, unless they would be shorter than the least: a second run opens few files,
#: and a killed one loses at most a sixteenth of its work.
MOST = 17
#: Frames of the shortest span of programs, and of recorded predictions, which are read at thousands of frames a second.
LIVE, RECORDED = 4 * BATCH, 256 * BATCH


@dataclass(frozen=True)
class Span:
    """Frames `start` to `stop` of a suite, and the run of cells that they lie in: `cells` of them from `first` on."""

    start: int
    stop: int
    first: int
    cells: int

    @property
    def frames(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True)
class Part:
    """What one head answered on one span. table: over the cells of the span only."""

    table: EvidenceTable
    summary: HeadSummary


def spans_of(frames: Frames, least: int) -> tuple[Span, ...]:
    """The suite in spans of `least` frames, or of twice, four times, ... as many where these would be too many."""
    size, total = least, len(frames.ids)
    while size * (MOST - 1) < total:
        size *= 2
    found = []
    for start in range(0, total, size):
        cell = frames.cell[start : start + size]
        first, last = int(cell.min()), int(cell.max())
        found.append(Span(start, start + len(cell), first, last + 1 - first))
    return tuple(found)


def joined(parts: Sequence[Part], spans: Sequence[Span], cells: int) -> Part:
    """What a head answered on a whole suite of so many cells; parts: one a span, in their order.

    As with batches, what comes after an answer that cannot be reduced is only counted; of a head whose sums cannot be
    held there is no evidence, and the summary says so.
    """
    summary = HeadSummary(parts[0].summary.head, 0)
    tables: list[EvidenceTable] = []
    for part in parts:
        if not summary.refused:
            tables.append(part.table)
        _add(summary, part.summary)
    head = summary.head
    try:
        table = adjoined(tables, [span.first for span in spans[: len(tables)]], cells)
    except EvidenceError as error:
        summary.refused = error.what
        table = empty(series_of(head), cells, task_of(head).yields(head).sums)
    return Part(table, summary)


def _add(whole: HeadSummary, part: HeadSummary) -> None:
    """Take note of what a head answered on the next span."""
    whole.frames += part.frames
    whole.answered += part.answered
    whole.first_missing = whole.first_missing or part.first_missing
    if whole.refused:
        return
    whole.refused = part.refused
    if part.shape:
        whole.shape, whole.expected_shape, whole.dtype = part.shape, part.expected_shape, part.dtype
    whole.unfinite = whole.unfinite + part.unfinite
    whole.first_unfinite = [a or b for a, b in zip(whole.first_unfinite, part.first_unfinite, strict=True)]
    whole.low, whole.high = np.minimum(whole.low, part.low), np.maximum(whole.high, part.high)
