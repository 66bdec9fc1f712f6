"""Answers of heads -> evidence, batch by batch; whatever is wrong with an answer is written into its summary.

Heads that are read alike are reduced together, as the channels of one: what a thousand small heads cost is the number
of calls, not the numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gate.cores import each
from gate.errors import BundleError, EvidenceError
from gate.heads import Head, series_of
from gate.run.summary import HeadSummary
from gate.suite import BoxTruth
from gate.table import EvidenceTable, apart, empty, merge
from gate.tasks import Batch, Boxes, task_of

Array = NDArray[Any]
#: Evidence tables kept apart before they are merged: fewer sorts, still bounded memory.
PENDING = 16
#: Channels reduced together: what they make of a batch stays in a processor's cache.
TOGETHER = 16
#: Scores from which a group is worth a thread of its own: many short calls only wait for the interpreter's lock.
LARGE = 1 << 16


@dataclass(frozen=True)
class Answer:
    """Outputs of one head by role, for the frames that were answered."""

    outputs: Mapping[str, Array]
    answered: NDArray[np.bool_]
    dtype: str


@dataclass(frozen=True)
class _Sound:
    """An answer that can be reduced: batch, its raw scores (B, K, ...), and the reducer that it goes to."""

    reducer: Reducer
    batch: Batch
    scores: Array


class Reducer:
    """Evidence of one head, added up batch by batch."""

    def __init__(self, head: Head, cells: int, summary: HeadSummary) -> None:
        self.head, self.cells, self.task, self.summary = head, cells, task_of(head), summary
        self.pending: list[EvidenceTable] = []

    def look_at(self, answer: Answer, truth: Array | BoxTruth, ids: Array, cell: Array) -> _Sound | None:
        """The answers of one batch as they can be reduced; whatever is wrong with them is written into the summary."""
        summary, whole = self.summary, bool(answer.answered.all())
        summary.missing(ids, answer.answered)
        if summary.refused or not answer.answered.any():
            return None
        rows = np.flatnonzero(answer.answered)
        chosen = boxes_of(truth, rows) if isinstance(truth, BoxTruth) else truth if whole else truth[rows]
        try:
            scores = self.task.scores(answer.outputs, self.head)
            self._check_shape(scores, chosen, answer.dtype)
            finite = self._finite(answer.outputs, scores)
            summary.observe(ids if whole else ids[rows], scores, finite)
            outputs = answer.outputs
            if not finite.all():
                outputs = finite_only(outputs)
                scores = self.task.scores(outputs, self.head)
            return _Sound(self, Batch(outputs, chosen, cell if whole else cell[rows], self.cells), scores)
        except (BundleError, EvidenceError) as error:
            summary.refused = error.what
            return None

    def add(self, sound: _Sound) -> None:
        """Reduce one batch."""
        try:
            self.keep(self.task.reduce(sound.batch, self.head))
        except (BundleError, EvidenceError) as error:
            self.summary.refused = error.what

    def keep(self, table: EvidenceTable) -> None:
        """Add the evidence of one batch."""
        self.pending.append(table)
        if len(self.pending) >= PENDING:
            self.pending = [merge(self.pending)]

    def _check_shape(self, scores: Array, truth: Any, dtype: str) -> None:
        expected, summary = self.task.shape(self.head, truth), self.summary
        summary.shape, summary.dtype = str(scores.shape[1:]), dtype
        summary.expected_shape = str(expected) if expected else summary.shape
        if expected and scores.shape[1:] != expected:
            raise BundleError(f"outputs of shape {scores.shape[1:]} a frame; the suite wants {expected}")

    def _finite(self, outputs: Mapping[str, Array], scores: Array) -> NDArray[np.bool_]:
        """(B, K): is every number of that channel finite; of a coupled head, every number of the frame."""
        if not self.task.yields(self.head).coupled:
            return np.asarray(np.isfinite(scores).reshape(*scores.shape[:2], -1).all(axis=2))
        whole = np.ones(len(scores), bool)
        for output in outputs.values():
            whole &= np.isfinite(output).reshape(len(output), -1).all(axis=1)
        return np.repeat(whole[:, None], scores.shape[1], axis=1)

    def table(self) -> EvidenceTable:
        """All that was added; nothing of a head whose sums cannot be held, which its summary then says."""
        nothing = empty(series_of(self.head), self.cells, self.task.yields(self.head).sums)
        try:
            return merge(self.pending) if self.pending else nothing
        except EvidenceError as error:
            self.summary.refused = error.what
            return nothing


def reduce_all(answers: Iterable[_Sound | None]) -> None:
    """Reduce the answers of one batch: neighbouring heads that are read alike together, large groups on all cores."""
    groups: list[list[_Sound]] = []
    channels = 0
    for sound in answers:
        if sound is None:
            continue
        width = sound.scores.shape[1]
        if not groups or channels + width > TOGETHER or not _alike(groups[-1][0], sound):
            groups.append([])
            channels = 0
        groups[-1].append(sound)
        channels += width
    large: list[list[_Sound]] = []
    for group in groups:
        if sum(sound.scores.size for sound in group) >= LARGE:
            large.append(group)
        else:
            _reduce(group)
    each(_reduce, large)


def _alike(one: _Sound, other: _Sound) -> bool:
    """May both be channels of one head: a score a frame and channel, on the same frames?"""
    heads = one.reducer.head, other.reducer.head
    dense = all(h.task in ("binary", "multilabel") and h.score != "softmax" for h in heads)
    same = one.batch.cell is other.batch.cell or np.array_equal(one.batch.cell, other.batch.cell)
    return dense and heads[0].score == heads[1].score and same


def _reduce(group: Sequence[_Sound]) -> None:
    if len(group) == 1:
        group[0].reducer.add(group[0])
        return
    tables = apart(_joined(group), [series_of(sound.reducer.head) for sound in group])
    for sound, table in zip(group, tables, strict=True):
        sound.reducer.keep(table)


def _joined(group: Sequence[_Sound]) -> EvidenceTable:
    """Evidence of the group as that of one head with all its channels."""
    first = group[0].batch
    widths = [sound.scores.shape[1] for sound in group]
    starts = np.cumsum(widths) - widths
    judged = [int(start) + k for start, sound in zip(starts, group, strict=True) for k in sound.reducer.head.judged]
    channels = tuple(str(k) for k in range(sum(widths)))
    head = replace(group[0].reducer.head, task="multilabel", channels=channels, judged=tuple(judged), outputs=())
    scores = np.concatenate([sound.scores for sound in group], axis=1)
    truth = np.concatenate([sound.batch.raster for sound in group], axis=1)
    return task_of(head).reduce(Batch({"": scores}, truth, first.cell, first.cells), head)


def finite_only(outputs: Mapping[str, Array]) -> dict[str, Array]:
    """Zeros in place of what is no number: those predictions are broken, and the rest can be reduced."""
    return {role: np.nan_to_num(a, nan=0.0, posinf=0.0, neginf=0.0) for role, a in outputs.items()}


def boxes_of(truth: BoxTruth, rows: Array) -> Boxes:
    """Truth boxes of the answered frames, with positions among these."""
    position = np.full(int(max(rows.max(), truth.frame.max(initial=0))) + 1, -1)
    position[rows] = np.arange(len(rows))
    frame = position[truth.frame]
    kept = frame >= 0
    return Boxes(frame[kept], truth.label[kept], truth.corners[kept], truth.ignore[kept], truth.angle[kept])
