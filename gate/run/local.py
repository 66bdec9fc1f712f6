"""The local engine: a bundle over a suite, a batch at a time; pictures are decoded while the networks run.

Memory is bounded by a few batches and the evidence; it does not grow with the number of frames.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gate.bundle import Bundle, Network
from gate.errors import BundleError, EvidenceError
from gate.heads import Head, series_of
from gate.lock import digest_of
from gate.run.predictions import Recorded, open_predictions
from gate.run.program import BATCH, Forward, load_program, runtime
from gate.run.summary import HeadSummary
from gate.suite import BoxTruth, Suite, Truths
from gate.suite.inputs import read_inputs
from gate.table import EvidenceTable, empty, merge
from gate.tasks import Batch, Boxes, task_of

Array = NDArray[Any]
Progress = Callable[[int, int], None]
#: Batches decoded ahead of the one that runs.
AHEAD = 2
#: Evidence tables kept apart before they are merged: fewer sorts, still bounded memory.
PENDING = 16
#: Recorded values that one batch holds in memory.
VALUES = 1 << 22


@dataclass(frozen=True)
class Run:
    """What a bundle answered on a suite.

    evidence: head -> table over all cells. summaries: head -> what was answered. missing: heads that the suite wants
    and the bundle lacks. runtime: what the scores may depend on; empty when no network ran. ran: outputs,
    `network.head`, that were computed on all frames. watched: output -> digest of its bits on the watched batch.
    """

    evidence: Mapping[str, EvidenceTable]
    summaries: Mapping[str, HeadSummary]
    missing: tuple[str, ...]
    runtime: tuple[tuple[str, str], ...]
    ran: tuple[str, ...] = ()
    watched: Mapping[str, str] = field(default_factory=dict)

    def faults(self) -> dict[str, str]:
        """prediction -> why it is broken."""
        return {p: why for s in self.summaries.values() for p, why in s.faults().items()}


@dataclass(frozen=True)
class Watch:
    """Outputs, `network.head`, whose bits are wanted on one batch of the fixed partition, from whole programs."""

    batch: int
    outputs: frozenset[str]

    def rows(self, frames: int) -> range:
        """Positions of the batch's frames in a suite of so many."""
        return range(self.batch * BATCH, min((self.batch + 1) * BATCH, frames))


@dataclass(frozen=True)
class _Given:
    """One decoded batch."""

    rows: Array
    inputs: Mapping[str, Array]
    truths: Mapping[str, Array | BoxTruth]


def outputs_of(head: Head) -> tuple[str, ...]:
    return tuple(output for _, output in head.outputs)


def offered(bundle: Bundle, suite: Suite) -> tuple[set[str], dict[str, Recorded]]:
    """All outputs of a bundle, `network.head`, and its recorded predictions."""
    names, recorded = set[str](), dict[str, Recorded]()
    for network in bundle.networks:
        if network.program is not None:
            names |= {f"{network.name}.{head}" for head in network.heads}
        else:
            found = open_predictions(network.predictions, suite.frames.ids)
            recorded |= {f"{network.name}.{head}": r for head, r in found.items()}
    return names | recorded.keys(), recorded


def run(
    bundle: Bundle,
    suite: Suite,
    heads: Collection[str] | None = None,
    progress: Progress = lambda done, total: None,
    *,
    watch: Watch | None = None,
    cut: bool = True,
) -> Run:
    """Evidence of the judged heads of a bundle, all of them or the named ones.

    watch: outputs to be watched on one batch, of whatever heads. cut: compute only what the heads take; on one batch
    that is held to the whole programs, bit for bit, and where it differs the whole programs run. Raises BundleError
    when a program cannot be loaded or fails, or its signature is not that of the manifest. Heads that give wrong
    shapes, NaN or too few frames are no error: their summaries say so.
    """
    names, recorded = offered(bundle, suite)
    wanted = [t for t in suite.truths if heads is None or t.head.name in heads]
    present = [t for t in wanted if all(o in names for o in outputs_of(t.head))]
    parts = _needed(bundle, {o for t in present for o in outputs_of(t.head)} - recorded.keys())
    watched = _needed(bundle, watch.outputs if watch else ())
    networks = [n for n in bundle.networks if n.name in parts or n.name in watched]
    programs = {n.name: _load(n, suite) for n in networks}
    partial = cut and any(len(parts[n.name]) < len(n.heads) for n in networks if n.name in parts)
    spot = watch.batch * BATCH if watch else 0 if partial else -1
    total = len(suite.frames.ids)
    summaries = {t.head.name: HeadSummary(t.head, total) for t in present}
    reducers = {t.head.name: _Reducer(t.head, suite.frames.cells, summaries[t.head.name]) for t in present}
    at_once = BATCH if networks else _frames_at_once(present, recorded)
    ran: dict[str, None] = {}
    bits: dict[str, str] = {}
    # Without heads only the watched batch is left to run.
    spotted = watch.rows(total) if watch else range(0)
    asked = None if present else np.isin(np.arange(total), spotted)
    for given in _batches(suite, networks, present, at_once, asked):
        outputs = _forward(networks, programs, given.inputs, parts if cut else None)
        if given.rows[0] == spot:
            whole = _forward(networks, programs, given.inputs) if partial or watched.keys() - parts.keys() else outputs
            if whole is not outputs and any(_bits(whole[name]) != _bits(output) for name, output in outputs.items()):
                return run(bundle, suite, heads, progress, watch=watch, cut=False)
            bits = {name: _bits(whole[name]) for name in sorted(watch.outputs)} if watch else {}
        ran |= dict.fromkeys(outputs)
        for truths in present:
            head = truths.head
            answer = _answer(head, outputs, recorded, given.rows)
            ids, cell = suite.frames.ids[given.rows], suite.frames.cell[given.rows]
            reducers[head.name].add(answer, given.truths[head.name], ids, cell)
        progress(len(given.rows), total if present else len(spotted))
    return Run(
        {name: r.table() for name, r in reducers.items()},
        summaries,
        tuple(t.head.name for t in wanted if t.head.name not in reducers),
        runtime() if networks else (),
        tuple(ran),
        bits,
    )


def _bits(output: tuple[Array, str]) -> str:
    """Digest of an output's type, shape and bits, in which 0 and -0 differ."""
    values, dtype = output
    return digest_of(f"{dtype} {values.shape} ".encode() + np.ascontiguousarray(values).tobytes())


def _needed(bundle: Bundle, outputs: Collection[str]) -> dict[str, set[str]]:
    """Network -> its heads that some outputs, `network.head`, come from, with all that these networks read."""
    wanted: dict[str, set[str]] = {}
    for output in outputs:
        network, _, head = output.partition(".")
        wanted.setdefault(network, set()).add(head)
    for network in reversed(bundle.networks):
        if network.name in wanted:
            for source in (source for _, source in network.inputs if "." in source):
                upstream, _, head = source.partition(".")
                wanted.setdefault(upstream, set()).add(head)
    return wanted


def _load(network: Network, suite: Suite) -> Forward:
    shapes: dict[str, tuple[int, ...] | None] = {}
    for name, source in network.inputs:
        if "." not in source and source not in suite.inputs:
            raise BundleError(
                f"the suite has no input '{source}'; it offers {', '.join(suite.inputs) or 'none'}",
                where=f"network {network.name}, input {name}",
                mend="mend `inputs` in bundle.toml",
            )
        shapes[name] = None if "." in source else suite.inputs[source].shape
    return load_program(network, shapes)


def _frames_at_once(present: Sequence[Truths], recorded: Mapping[str, Recorded]) -> int:
    """Frames of recorded predictions whose values fill `VALUES`: evidence adds up, so any number gives the same."""
    outputs = sorted({o for t in present for o in outputs_of(t.head)})
    values = sum(recorded[o].read(np.zeros(1, np.int64)).size for o in outputs if (recorded[o].rows >= 0).any())
    return max(BATCH, VALUES // max(values, 1))


def _batches(
    suite: Suite,
    networks: Sequence[Network],
    present: Sequence[Truths],
    at_once: int,
    wanted: NDArray[np.bool_] | None = None,
) -> Iterator[_Given]:
    """Batches of the fixed partition, decoded in a thread of their own, `AHEAD` at most in waiting.

    wanted: (F,) frames that are asked for, None for all; a batch without any of them is left out.
    """
    needed = {source for n in networks for _, source in n.inputs if "." not in source}
    inputs = {name: given for name, given in suite.inputs.items() if name in needed}

    def decode(rows: Array) -> _Given:
        read = read_inputs(inputs, suite.input_files, suite.root, suite.frames, rows)
        return _Given(rows, read, {t.head.name: t.read(rows) for t in present})

    total = len(suite.frames.ids)
    parts = [np.arange(k, min(k + at_once, total)) for k in range(0, total, at_once)]
    parts = [part for part in parts if wanted is None or wanted[part].any()]
    with ThreadPoolExecutor(1, thread_name_prefix="decode") as pool:
        waiting: list[Future[_Given]] = []
        try:
            for part in parts:
                waiting.append(pool.submit(decode, part))
                if len(waiting) > AHEAD:
                    yield waiting.pop(0).result()
            while waiting:
                yield waiting.pop(0).result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _forward(
    networks: Sequence[Network],
    programs: Mapping[str, Forward],
    inputs: Mapping[str, Array],
    parts: Mapping[str, Collection[str]] | None = None,
) -> dict[str, tuple[Array, str]]:
    """`network.head` -> (outputs of the batch, dtype), each network once.

    parts: network -> heads that are wanted of it, and no other network runs; None for all heads of all networks.
    """
    outputs: dict[str, tuple[Array, str]] = {}
    for network in networks:
        if parts is None or network.name in parts:
            given = {name: outputs[s][0] if "." in s else inputs[s] for name, s in network.inputs}
            heads = None if parts is None else parts[network.name]
            for head, output in programs[network.name](given, heads).items():
                outputs[f"{network.name}.{head}"] = output
    return outputs


@dataclass(frozen=True)
class _Answer:
    """Outputs of one head by role, for the frames that were answered."""

    outputs: Mapping[str, Array]
    answered: NDArray[np.bool_]
    dtype: str


def _answer(
    head: Head, outputs: Mapping[str, tuple[Array, str]], recorded: Mapping[str, Recorded], rows: Array
) -> _Answer:
    answered = np.ones(len(rows), bool)
    for output in outputs_of(head):
        if output in recorded:
            answered &= recorded[output].rows[rows] >= 0
    values: dict[str, Array] = {}
    dtype = ""
    for role, output in head.outputs:
        if output in recorded:
            source = recorded[output]
            values[role], dtype = (
                source.read(source.rows[rows[answered]]) if answered.any() else np.zeros((0,)),
                source.dtype,
            )
        else:
            values[role], dtype = outputs[output][0][answered], outputs[output][1]
    return _Answer(values, answered, dtype)


class _Reducer:
    """Evidence of one head, added up batch by batch."""

    def __init__(self, head: Head, cells: int, summary: HeadSummary) -> None:
        self.head, self.cells, self.task, self.summary = head, cells, task_of(head), summary
        self.pending: list[EvidenceTable] = []

    def add(self, answer: _Answer, truth: Array | BoxTruth, ids: Array, cell: Array) -> None:
        """Reduce one batch; whatever is wrong with it is written into the summary."""
        summary = self.summary
        summary.missing(ids, answer.answered)
        if summary.refused or not answer.answered.any():
            return
        rows = np.flatnonzero(answer.answered)
        chosen = _boxes(truth, rows) if isinstance(truth, BoxTruth) else truth[rows]
        try:
            scores = self.task.scores(answer.outputs, self.head)
            self._check_shape(scores, chosen, answer.dtype)
            finite = self._finite(answer.outputs, scores)
            summary.observe(ids[rows], scores, finite)
            outputs = answer.outputs if finite.all() else _finite_only(answer.outputs)
            self.pending.append(self.task.reduce(Batch(outputs, chosen, cell[rows], self.cells), self.head))
            if len(self.pending) >= PENDING:
                self.pending = [merge(self.pending)]
        except (BundleError, EvidenceError) as error:
            summary.refused = error.what

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
            return merge([nothing, *self.pending])
        except EvidenceError as error:
            self.summary.refused = error.what
            return nothing


def _finite_only(outputs: Mapping[str, Array]) -> dict[str, Array]:
    """Zeros in place of what is no number: those predictions are broken, and the rest can be reduced."""
    return {role: np.nan_to_num(a, nan=0.0, posinf=0.0, neginf=0.0) for role, a in outputs.items()}


def _boxes(truth: BoxTruth, rows: Array) -> Boxes:
    """Truth boxes of the answered frames, with positions among these."""
    position = np.full(int(max(rows.max(), truth.frame.max(initial=0))) + 1, -1)
    position[rows] = np.arange(len(rows))
    frame = position[truth.frame]
    kept = frame >= 0
    return Boxes(frame[kept], truth.label[kept], truth.corners[kept], truth.ignore[kept])
