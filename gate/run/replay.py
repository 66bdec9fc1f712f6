"""The raw answers of chosen clips again, bit for bit as they were counted: evidence forgets which frame was which.

The last bits of a score can depend on the frames that share a batch, so whole batches of the fixed partition run, those
that hold a wanted frame; of networks that remember, all rounds of the groups of clips that do. Memory is bounded by a
few batches.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gate.bundle import Bundle
from gate.errors import BundleError
from gate.heads import Head
from gate.run.feed import Given, Step, fed, steps, together
from gate.run.local import Progress, answer_of, offered, outputs_of
from gate.run.partition import groups_of, rounds_of
from gate.run.predictions import Recorded
from gate.run.process import FallenError, Said
from gate.run.reducing import Answer, boxes_of, finite_only
from gate.run.session import Session, blame
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
    """A bundle that is ready to answer: its programs and its recordings, and the heads that it has."""

    session: Session
    recorded: Mapping[str, Recorded]
    present: Sequence[Truths]


def replay(
    bundles: Sequence[Bundle],
    suite: Suite,
    heads: Collection[str],
    clips: Collection[int],
    progress: Progress = lambda done, total: None,
    device: str = "cpu",
    lost: Callable[[str, str], None] = lambda head, why: None,
) -> Iterator[tuple[Ints, tuple[Mapping[str, Answered], ...]]]:
    """For each batch that holds a wanted frame: their positions, and of each bundle head -> what it answered there.
    Heads of networks that remember are answered when all batches of the round were, batch by batch again.

    heads: names of judged heads; clips: positions in `suite.frames.clips`. A head that a bundle lacks, whose network
    fails, or whose output has a shape that cannot be counted, is not among its answers. Each batch is decoded once for
    all bundles, and equal bundles run once. A worker process that dies has a second try, from the beginning of the
    group of clips. progress: (frames just done, frames of all batches that run). lost: told of each head that is not
    answered since a network fails, with the reason, at every batch. Raises as `run` does.
    """
    truths = [t for t in suite.truths if t.head.name in heads]
    wanted = np.isin(suite.frames.clip, sorted(clips))
    broken: dict[str, dict[str, str]] = {bundle.digest: {} for bundle in bundles}
    deaths = {bundle.digest: Counter[str]() for bundle in bundles}
    groups = [g for g in groups_of(suite.frames) if wanted[g[0] : g[1]].any()]
    ready: dict[str, _Ready] = {}
    totals: dict[bool, int] = {}

    def turns(group: tuple[int, int], whole: bool) -> Iterator[Step]:
        return steps(rounds_of(suite.frames, *group), rest=whole, wanted=wanted)

    for group in groups:
        told = -1  # steps of the group that were told before a process died
        while told is not None:
            digest = ""
            try:
                for bundle in bundles:
                    digest = bundle.digest
                    if digest not in ready:
                        ready[digest] = _ready(bundle, suite, truths, device, broken[digest], bool(deaths[digest]))
                rest = _deferred(ready.values(), truths)
                early = [t for t in truths if t not in rest]
                whole = bool(rest)  # no batch of a group can be left out
                if whole not in totals:
                    totals[whole] = sum(len(s.rows) for g in groups for s in turns(g, whole) if not s.rest)
                inputs = {name for one in ready.values() for name in one.session.inputs}
                most = min(one.session.most for one in ready.values())
                feed = fed(suite, inputs, early, rest, turns(group, whole), most)
                k = -1
                for some in together(feed, lambda most=most: most):
                    said: dict[str, list[Said]] = {}
                    for digest, one in ready.items():
                        said[digest] = one.session.say(some)
                    for at, given in enumerate(some):
                        k += 1
                        if k <= told:
                            continue
                        for bundle in bundles:
                            for head, why in _failed(ready[bundle.digest]):
                                lost(head, f"{bundle.name} {bundle.version}, {why}")
                        step, kept = given.step, np.flatnonzero(wanted[given.step.rows])
                        sides = {d: dict(_answers(one, suite, given, said[d][at], kept)) for d, one in ready.items()}
                        yield step.rows[kept], tuple(sides[bundle.digest] for bundle in bundles)
                        told = k
                        if not step.rest:
                            progress(len(step.rows), totals[whole])
                told = None
            except FallenError as fallen:
                ready.pop(digest, None)
                blame(fallen, deaths[digest], broken[digest])


def _deferred(ready: Iterable[_Ready], truths: Sequence[Truths]) -> list[Truths]:
    """Heads that are answered with the rest of a round, since on either side their networks remember."""
    late = {o for one in ready for o in one.session.late}
    rest = [t for t in truths if set(outputs_of(t.head)) & late]
    for one in ready:
        one.session.defer({o for t in rest for o in outputs_of(t.head)})
    return rest


def _ready(
    bundle: Bundle, suite: Suite, truths: Sequence[Truths], device: str, broken: Mapping[str, str], careful: bool
) -> _Ready:
    names, recorded = offered(bundle, suite)
    present = [t for t in truths if all(o in names for o in outputs_of(t.head))]
    outputs = {o for t in present for o in outputs_of(t.head)} - recorded.keys()
    session = Session(bundle, suite, outputs, device=device, broken=broken, careful=careful)
    session.open()
    return _Ready(session, recorded, present)


def _failed(one: _Ready) -> Iterator[tuple[str, str]]:
    """Heads that have no answer since a network fails, and why."""
    for t in one.present:
        for network in dict.fromkeys(o.partition(".")[0] for o in outputs_of(t.head)):
            if network in one.session.failed:
                yield t.head.name, f"network {network}: {one.session.failed[network]}"


def _answers(
    one: _Ready,
    suite: Suite,
    given: Given,
    said: Said,
    kept: Ints,
) -> Iterator[tuple[str, Answered]]:
    """Answers of each head for those frames of a step, at positions `kept`, that have one."""
    for t in one.present:
        if t.head.name not in given.truths or not set(outputs_of(t.head)) <= said.outputs.keys() | one.recorded.keys():
            continue
        answer, truth = answer_of(t, said, one.recorded, given.step.rows), given.truths[t.head.name]
        rows = t.judged(given.step.rows)
        at = np.flatnonzero(np.isin(rows, given.step.rows[kept]) & answer.answered)
        if not isinstance(truth, BoxTruth):
            truth = truth[_run_of(at)]
        if not len(at) or not _countable(t.head, answer, truth):
            continue
        # An answer holds the answered frames only: its rows are counted among these.
        among, chosen = _run_of(np.cumsum(answer.answered)[at] - 1), rows[at]
        values = {role: a[among] for role, a in answer.outputs.items()}
        if not all(np.isfinite(a).all() for a in values.values()):
            values = finite_only(values)
        yield t.head.name, Answered(chosen, values, truth, rows, suite.frames.cell[chosen], suite.frames.cells)


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
