"""Fixed runs of frames: evidence is made, kept and resumed a span at a time, and the spans of a head add up.

Spans follow from the suite alone, never from where a run was stopped or from what a store holds. So a run that was
killed, and any mixture of spans that are kept and spans that are run again, gives the same bits as a run at one go.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter

import numpy as np

from gate.errors import EvidenceError
from gate.folded import Folded, adjoined, folded, set_aside, unfolded
from gate.heads import series_of
from gate.run.partition import BATCH, groups_of
from gate.run.summary import HeadSummary
from gate.suite import Frames
from gate.table import EvidenceTable, empty
from gate.tasks import task_of

#: A suite has fewer than this many spans: a second run opens few files, and a killed one loses little of its work.
MOST = 17
#: Frames of the shortest span of programs, and of recorded predictions, which are read at thousands of frames a second.
LIVE, RECORDED = 4 * BATCH, 256 * BATCH
#: Bytes of evidence that are set aside together.
TOGETHER = 16 << 20


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
    """What one head answered on one span. table: over the cells of the span only. passing: it failed in a way that may
    not come again, and nothing of it is kept.
    """

    table: Folded
    summary: HeadSummary
    passing: bool = False


@dataclass(frozen=True, eq=False)  # compared as a mapping
class Tables(Mapping[str, EvidenceTable]):
    """head -> its evidence. In memory it is folded, and unfolded anew whenever somebody asks."""

    folded: Mapping[str, Folded]

    def __getitem__(self, head: str) -> EvidenceTable:
        return unfolded(self.folded[head])

    def of(self, heads: Collection[str]) -> Tables:
        """Those of some heads."""
        return Tables({name: table for name, table in self.folded.items() if name in heads})

    def __or__(self, other: Tables) -> Tables:
        return Tables({**self.folded, **other.folded})

    def __contains__(self, head: object) -> bool:
        return head in self.folded

    def __iter__(self) -> Iterator[str]:
        return iter(self.folded)

    def __len__(self) -> int:
        return len(self.folded)


def spans_of(frames: Frames, least: int) -> tuple[Span, ...]:
    """The suite in spans of whole groups of clips (`gate.run.partition`), of `least` frames; of twice or four times as
    many where these would be too many.
    """
    groups, size = groups_of(frames), least
    while len(found := _cut(groups, size)) >= MOST:
        size *= 2
    spans = []
    for start, stop in found:
        first, last = int(frames.cell[start:stop].min()), int(frames.cell[start:stop].max())
        spans.append(Span(start, stop, first, last + 1 - first))
    return tuple(spans)


def _cut(groups: Sequence[tuple[int, int]], least: int) -> list[tuple[int, int]]:
    """Neighbouring groups together until they have so many frames."""
    found: list[tuple[int, int]] = []
    for start, stop in groups:
        if found and found[-1][1] - found[-1][0] < least:
            found[-1] = found[-1][0], stop
        else:
            found.append((start, stop))
    return found


def settled(table: Folded, summary: HeadSummary, passing: bool = False) -> Part:
    """What a head answered, when all of it was seen. Of an answer that was refused nothing is kept but that it was, and
    how many frames were answered: how much could be counted before hangs on the batch, which may be any.
    """
    if not summary.refused:
        return Part(table, summary)
    s, head = summary, summary.head
    told = HeadSummary(head, s.frames, s.answered, s.first_missing, s.shape, s.expected_shape, s.dtype, s.refused)
    return Part(folded(empty(series_of(head), table.bare.cells, task_of(head).yields(head).sums)), told, passing)


def joined(parts: Sequence[Part], spans: Sequence[Span], cells: int) -> Part:
    """What a head answered on a whole suite of so many cells; parts: one a span, in their order.

    Of a head whose sums cannot be held there is no evidence, and the summary says so.
    """
    summary = HeadSummary(parts[0].summary.head, 0)
    for part in parts:
        _add(summary, part.summary)
    try:
        table = adjoined([part.table for part in parts], [span.first for span in spans], cells)
    except EvidenceError as error:
        summary.refused = summary.refused or error.what
        bare = parts[0].table.bare
        table = folded(empty(bare.series, cells, bare.names))
    return settled(table, summary, any(part.passing for part in parts))


def all_joined(
    parts: Sequence[dict[str, Part]], heads: Sequence[str], spans: Sequence[Span], cells: int
) -> dict[str, Part]:
    """What some heads answered on a whole suite; parts: of each span, from which these heads are taken out.

    Head by head, so that memory holds the evidence once; and what is joined is set aside, some heads together.
    """
    whole: dict[str, Part] = {}
    share = np.cumsum([sum(part[name].table.nbytes for part in parts) for name in heads]) // TOGETHER
    for _, group in groupby(zip(share.tolist(), heads, strict=True), key=itemgetter(0)):
        found = {name: joined([part.pop(name) for part in parts], spans, cells) for _, name in group}
        tables = set_aside([part.table for part in found.values()])
        whole |= {name: replace(part, table=table) for (name, part), table in zip(found.items(), tables, strict=True)}
    return whole


def _add(whole: HeadSummary, part: HeadSummary) -> None:
    """Take note of what a head answered on the next span."""
    whole.frames += part.frames
    whole.answered += part.answered
    whole.first_missing = whole.first_missing or part.first_missing
    whole.refused = whole.refused or part.refused
    if part.shape:
        whole.shape, whole.expected_shape, whole.dtype = part.shape, part.expected_shape, part.dtype
    whole.unfinite = whole.unfinite + part.unfinite
    whole.first_unfinite = [a or b for a, b in zip(whole.first_unfinite, part.first_unfinite, strict=True)]
    whole.low, whole.high = np.minimum(whole.low, part.low), np.maximum(whole.high, part.high)
