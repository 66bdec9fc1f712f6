"""The raw answers of chosen clips again, bit for bit as they were counted: evidence forgets which frame was which.

The last bits of a score can depend on the frames that share a batch, so whole batches of the fixed partition run, those
that hold a wanted frame. Memory is bounded by a few batches.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gate.bundle import Bundle, Network
from gate.errors import BundleError
from gate.heads import Head
from gate.run.local import (
    Progress,
    _answer,
    _batches,
    _forward,
    _Given,
    _load,
    _needed,
    offered,
    outputs_of,
)
from gate.run.predictions import Recorded
from gate.run.program import BATCH, Forward
from gate.run.reducing import Answer, boxes_of, finite_only
from gate.suite import BoxTruth, Suite, Truths
from gate.table import Ints
from gate.tasks import Batch, task_of

Array = NDArray[Any]


@dataclass(frozen=True)
class Answered:
    """What one bundle answered for one head in one batch.

    rows: (n,) positions of the answered frames in the suite, rising. outputs: role -> (n, ...). truth: of the same
    frames, or the boxes of the whole batch, whose frames are `batch`, (B,). cell: (n,); cells: of the suite.
    """

    rows: Ints
    outputs: Mapping[str, Array]
    truth: Array | BoxTruth
    batch: Ints
    cell: Ints
    cells: int

    def frames(self, rows: Ints) -> Batch:
        """Some of the answered frames, by their positions in the suite, as a task takes them."""
        at = _run_of(np.searchsorted(self.rows, rows))
        if isinstance(self.truth, BoxTruth):
            truth = boxes_of(self.truth, np.searchsorted(self.batch, rows))
        else:
            truth = self.truth[at]
        return Batch({role: a[at] for role, a in self.outputs.items()}, truth, self.cell[at], self.cells)


@dataclass(frozen=True)
class _Ready:
    """A bundle that is ready to answer: its programs that are needed, in running order, the heads that are wanted of
    each, and its recordings.
    """

    networks: Sequence[Network]
    programs: Mapping[str, Forward]
    parts: Mapping[str, Collection[str]]
    recorded: Mapping[str, Recorded]
    present: Sequence[Truths]


def replay(
    bundles: Sequence[Bundle],
    suite: Suite,
    heads: Collection[str],
    clips: Collection[int],
    progress: Progress = lambda done, total: None,
) -> Iterator[tuple[Ints, tuple[Mapping[str, Answered], ...]]]:
    """For each batch that holds a wanted frame: their positions, and of each bundle head -> what it answered there.

    heads: names of judged heads; clips: positions in `suite.frames.clips`. A head that a bundle lacks, or whose output
    has a shape that cannot be counted, is not among its answers. Each batch is decoded once for all bundles. progress:
    (frames just done, frames of all batches that run). Raises BundleError and SuiteError as `run` does.
    """
    truths = [t for t in suite.truths if t.head.name in heads]
    wanted = np.isin(suite.frames.clip, sorted(clips))
    ready = [_ready(bundle, suite, truths) for bundle in bundles]
    networks = [network for one in ready for network in one.networks]
    starts = range(0, len(wanted), BATCH)
    total = sum(len(wanted[k : k + BATCH]) for k in starts if wanted[k : k + BATCH].any())
    for given in _batches(suite, networks, truths, BATCH, wanted):
        kept = np.flatnonzero(wanted[given.rows])
        outputs = [_forward(one.networks, one.programs, given.inputs, one.parts) for one in ready]
        sides = (_answers(one, suite, given, o, kept) for one, o in zip(ready, outputs, strict=True))
        yield given.rows[kept], tuple(dict(side) for side in sides)
        progress(len(given.rows), total)


def _ready(bundle: Bundle, suite: Suite, truths: Sequence[Truths]) -> _Ready:
    names, recorded = offered(bundle, suite)
    present = [t for t in truths if all(o in names for o in outputs_of(t.head))]
    parts = _needed(bundle, {o for t in present for o in outputs_of(t.head)} - recorded.keys())
    networks = [n for n in bundle.networks if n.name in parts]
    return _Ready(networks, {n.name: _load(n, suite) for n in networks}, parts, recorded, present)


def _answers(
    one: _Ready,
    suite: Suite,
    given: _Given,
    outputs: Mapping[str, tuple[Array, str]],
    kept: Ints,
) -> Iterator[tuple[str, Answered]]:
    """Answers of each head for those frames of a batch, at positions `kept`, that have one."""
    for t in one.present:
        answer, truth = _answer(t.head, outputs, one.recorded, given.rows), given.truths[t.head.name]
        at = kept[answer.answered[kept]]
        if not isinstance(truth, BoxTruth):
            truth = truth[_run_of(at)]
        if not len(at) or not _countable(t.head, answer, truth):
            continue
        # An answer holds the answered frames only: its rows are counted among these.
        among, rows = _run_of(np.cumsum(answer.answered)[at] - 1), given.rows[at]
        values = {role: a[among] for role, a in answer.outputs.items()}
        if not all(np.isfinite(a).all() for a in values.values()):
            values = finite_only(values)
        yield t.head.name, Answered(rows, values, truth, given.rows, suite.frames.cell[rows], suite.frames.cells)


def _run_of(positions: Ints) -> slice | Ints:
    """Rising positions as a slice where they are one run, so that the frames of a clip are looked at and not copied."""
    if len(positions) and positions[-1] - positions[0] == len(positions) - 1:
        return slice(int(positions[0]), int(positions[-1]) + 1)
    return positions


def _countable(head: Head, answer: Answer, truth: Any) -> bool:
    try:
        scores, expected = task_of(head).scores(answer.outputs, head), task_of(head).shape(head, truth)
    except BundleError:
        return False
    return expected is None or scores.shape[1:] == expected
