"""The local engine: a bundle over a suite, a batch at a time; pictures are decoded while the networks run.

Memory is bounded by a few batches and the evidence; it does not grow with the number of frames.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gate.bundle import Bundle, Network
from gate.errors import BundleError
from gate.heads import Head
from gate.lock import digest_of
from gate.run.pack import Scope
from gate.run.predictions import Recorded, open_predictions
from gate.run.program import BATCH, Forward, load_program, runtime
from gate.run.reducing import Answer, Reducer, reduce_all
from gate.run.resume import made_by, resumed, versions, witness
from gate.run.spans import LIVE, RECORDED, Part, Span, settled, spans_of
from gate.run.store import Store
from gate.run.summary import HeadSummary
from gate.suite import BoxTruth, Suite, Truths
from gate.suite.inputs import read_inputs
from gate.table import EvidenceTable

Array = NDArray[Any]
Progress = Callable[[int, int], None]
#: Batches decoded ahead of the one that runs.
AHEAD = 2
#: Recorded values that one batch holds in memory.
VALUES = 1 << 22


@dataclass(frozen=True)
class Run:
    """What a bundle answered on a suite.

    evidence: head -> table over all cells. summaries: head -> what was answered. missing: heads that the suite wants
    and the bundle lacks. runtime: what the scores may depend on; empty when no head comes from a program. stored:
    heads that came whole from a store or a file, so that nothing was run for them. ran: outputs, `network.head`, that
    programs computed.
    """

    evidence: Mapping[str, EvidenceTable]
    summaries: Mapping[str, HeadSummary]
    missing: tuple[str, ...]
    runtime: tuple[tuple[str, str], ...]
    stored: tuple[str, ...] = ()
    ran: tuple[str, ...] = ()

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
    store: Store | None = None,
) -> Run:
    """Evidence of the judged heads of a bundle, all of them or the named ones.

    store: what is kept there is not run again, and what is run is kept there, a span of frames at a time; the answer is
    the same with any store, or none. Raises BundleError when a program cannot be loaded or fails, or its signature is
    not that of the manifest. Heads that give wrong shapes, NaN or too few frames are no error: their summaries say so.
    """
    names, recorded = offered(bundle, suite)
    wanted = [t for t in suite.truths if heads is None or t.head.name in heads]
    present = [t for t in wanted if all(o in names for o in outputs_of(t.head))]
    told = [t for t in present if recorded.keys() >= set(outputs_of(t.head))]
    live = [t for t in present if not recorded.keys() >= set(outputs_of(t.head))]
    groups = [(group, least) for group, least in ((live, LIVE), (told, RECORDED)) if group]
    machine, total = runtime() if live else (), len(groups) * len(suite.frames.ids)

    def ask(heads: Collection[str], spans: Sequence[Span]) -> Iterator[dict[str, Part]]:
        asked = [t for t in present if t.head.name in heads]
        return _answered(bundle, suite, asked, recorded, spans, ran, lambda frames: progress(frames, total))

    found: dict[str, Part] = {}
    kept: list[str] = []
    ran: dict[str, None] = {}
    look = witness(bundle)
    for group, least in groups:
        scope = Scope(suite.digest, machine if group is live else (), versions(live=group is live))
        made = {t.head.name: made_by(bundle, t.head) for t in group}
        parts, whole = resumed(
            store, scope, suite, spans_of(suite.frames, least), made, ask, look, lambda n: progress(n, total)
        )
        found |= parts
        kept += whole
    return Run(
        {t.head.name: found[t.head.name].table for t in present},
        {t.head.name: found[t.head.name].summary for t in present},
        tuple(t.head.name for t in wanted if t.head.name not in found),
        machine,
        tuple(kept),
        tuple(ran),
    )


def _answered(
    bundle: Bundle,
    suite: Suite,
    asked: Sequence[Truths],
    recorded: Mapping[str, Recorded],
    spans: Sequence[Span],
    ran: dict[str, None],
    progress: Callable[[int], None],
) -> Iterator[dict[str, Part]]:
    """Run some heads on some spans; of each span, head -> what it answered there. ran: told what was computed.

    Programs are cut down to what the heads take. On the first batch that is held to the whole programs, bit for bit,
    and where it differs the whole programs run.
    """
    parts: Mapping[str, Collection[str]] | None = _needed(
        bundle, {o for t in asked for o in outputs_of(t.head)} - recorded.keys()
    )
    networks = [n for n in bundle.networks if n.name in parts]
    partial = any(len(parts[n.name]) < len(n.heads) for n in networks)
    programs = {n.name: _load(n, suite) for n in networks}
    at_once = BATCH if networks else _frames_at_once(asked, recorded)
    wanted = np.zeros(len(suite.frames.ids), bool)
    for span in spans:
        wanted[span.start : span.stop] = True
    batches = _batches(suite, networks, asked, at_once, wanted)
    for span in spans:
        summaries = {t.head.name: HeadSummary(t.head, span.frames) for t in asked}
        reducers = {t.head.name: Reducer(t.head, span.cells, summaries[t.head.name]) for t in asked}
        for given in batches:
            outputs = _forward(networks, programs, given.inputs, parts)
            if partial:
                whole = _forward(networks, programs, given.inputs)
                if any(_bits(whole[name]) != _bits(output) for name, output in outputs.items()):
                    outputs, parts = whole, None
                partial = False
            ran.update(dict.fromkeys(outputs))
            ids, cell = suite.frames.ids[given.rows], suite.frames.cell[given.rows] - span.first
            reduce_all(
                reducers[name].look_at(_answer(t.head, outputs, recorded, given.rows), given.truths[name], ids, cell)
                for t in asked
                for name in (t.head.name,)
            )
            progress(len(given.rows))
            if given.rows[-1] + 1 == span.stop:
                break
        yield {name: settled(r.table(), r.summary) for name, r in reducers.items()}


def watched(bundle: Bundle, suite: Suite, watch: Watch) -> dict[str, str]:
    """Output -> digest of its bits on the watched batch, from whole programs."""
    total = len(suite.frames.ids)
    parts = _needed(bundle, watch.outputs)
    networks = [n for n in bundle.networks if n.name in parts]
    programs = {n.name: _load(n, suite) for n in networks}
    for given in _batches(suite, networks, (), BATCH, np.isin(np.arange(total), watch.rows(total))):
        outputs = _forward(networks, programs, given.inputs)
        return {name: _bits(outputs[name]) for name in sorted(watch.outputs)}
    return {}


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
    return _loaded(network, tuple(shapes.items()))


@lru_cache(maxsize=64)  # the spot check and the frames of a report ask the programs that just ran
def _loaded(network: Network, shapes: tuple[tuple[str, tuple[int, ...] | None], ...]) -> Forward:
    return load_program(network, dict(shapes))


def _frames_at_once(present: Sequence[Truths], recorded: Mapping[str, Recorded]) -> int:
    """Frames of recorded predictions whose values fill `VALUES`: evidence adds up, so any number gives the same."""
    outputs = sorted({o for t in present for o in outputs_of(t.head)})
    values = sum(recorded[o].read(np.zeros(1, np.int64)).size for o in outputs if (recorded[o].rows >= 0).any())
    # BATCH times a power of two, as spans are: no batch lies in two of them.
    batches = min(VALUES // max(values, 1), RECORDED) // BATCH
    return BATCH << max(batches.bit_length() - 1, 0)


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


def _answer(
    head: Head, outputs: Mapping[str, tuple[Array, str]], recorded: Mapping[str, Recorded], rows: Array
) -> Answer:
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
    return Answer(values, answered, dtype)
