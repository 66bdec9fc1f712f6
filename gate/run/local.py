"""The local engine: a bundle over a suite. Pictures are decoded, networks run in a worker process, and what they say is
reduced, all three side by side.

Memory is bounded by a few batches and the evidence; it does not grow with the number of frames.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gate.bundle import Bundle
from gate.folded import folded, set_aside
from gate.heads import Head
from gate.run.feed import Given, Step, ahead, fed, steps, together
from gate.run.machine import batches_at_once, runtime
from gate.run.pack import Scope
from gate.run.partition import BATCH, groups_of, rounds_of
from gate.run.predictions import Recorded, open_predictions
from gate.run.process import FallenError, Said
from gate.run.reducing import Answer, Reducer, reduce_all
from gate.run.resume import made_by, resumed, versions, witness
from gate.run.session import Session, blame, device_name
from gate.run.spans import LIVE, RECORDED, Part, Span, Tables, settled, spans_of
from gate.run.stack import bits
from gate.run.store import Store
from gate.run.summary import HeadSummary
from gate.suite import Suite, Truths
from gate.table import Ints

Array = NDArray[Any]
Progress = Callable[[int, int], None]
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

    evidence: Tables
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

    def rows(self, suite: Suite) -> Ints:
        """Positions of the batch's frames in the suite."""
        return [rows for part in rounds_of(suite.frames) for rows in part.batches][self.batch]


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
    device: str = "cpu",
) -> Run:
    """Evidence of the judged heads of a bundle, all of them or the named ones.

    store: what is kept there is not run again, and what is run is kept there, a span of frames at a time; the answer is
    the same with any store, or none. Raises RefusedError for content that is not safe to load. Heads whose network
    cannot be loaded, fails, or takes its process down, and heads that give wrong shapes, NaN or too few frames are no
    error: their summaries say so.
    """
    look = witness(bundle, suite)
    names, recorded = offered(bundle, suite)
    wanted = [t for t in suite.truths if heads is None or t.head.name in heads]
    present = [t for t in wanted if all(o in names for o in outputs_of(t.head))]
    told = [t for t in present if recorded.keys() >= set(outputs_of(t.head))]
    live = [t for t in present if not recorded.keys() >= set(outputs_of(t.head))]
    groups = [(group, least) for group, least in ((live, LIVE), (told, RECORDED)) if group]
    machine = runtime(bundle.networks, device_name(device), batches_at_once(suite, device)[1]) if live else ()
    total = len(groups) * len(suite.frames.ids)

    def ask(heads: Collection[str], spans: Sequence[Span]) -> Iterator[dict[str, Part]]:
        asked = [t for t in present if t.head.name in heads]
        return _answered(bundle, suite, asked, recorded, spans, ran, lambda frames: progress(frames, total), device)

    found: dict[str, Part] = {}
    kept: list[str] = []
    ran = set[str]()
    for group, least in groups:
        scope = Scope(suite.digest, machine if group is live else (), versions(live=group is live))
        made = made_by(bundle, [t.head for t in group], store)
        parts, whole = resumed(
            store, scope, suite, spans_of(suite.frames, least), made, ask, look, lambda n: progress(n, total)
        )
        found |= parts
        kept += whole
    return Run(
        Tables({t.head.name: found[t.head.name].table for t in present}),
        {t.head.name: found[t.head.name].summary for t in present},
        tuple(t.head.name for t in wanted if t.head.name not in found),
        machine,
        tuple(kept),
        tuple(o for n in bundle.networks for head in n.heads if (o := f"{n.name}.{head}") in ran),
    )


def _answered(
    bundle: Bundle,
    suite: Suite,
    asked: Sequence[Truths],
    recorded: Mapping[str, Recorded],
    spans: Sequence[Span],
    ran: set[str],
    progress: Callable[[int], None],
    device: str,
) -> Iterator[dict[str, Part]]:
    """Run some heads on some spans; of each span, head -> what it answered there. ran: told what was computed.

    A second try of a worker that fell begins where the span does.
    """
    outputs = {o for t in asked for o in outputs_of(t.head)} - recorded.keys()
    broken: dict[str, str] = {}
    deaths = Counter[str]()
    at_work = None
    for k, span in enumerate(spans):
        most = 0

        def advance(done: int) -> None:
            nonlocal most
            if done > most:  # a second try is told from where the first one ended
                progress(done - most)
                most = done

        parts: dict[str, Part] | None = None
        while parts is None:
            try:
                if at_work is None:
                    session = Session(bundle, suite, outputs, device=device, broken=broken, careful=bool(deaths))
                    at_work = _at_work(session, suite, asked, recorded, spans[k:])
                parts = _span(at_work, suite, recorded, span, ran, advance)
            except FallenError as fallen:
                if at_work is not None:
                    at_work.feed.close()
                at_work = None
                blame(fallen, deaths, broken)
        yield parts
    if at_work is not None:  # closed here, and not by whoever collects the garbage: there an interrupt is lost
        at_work.feed.close()


@dataclass(frozen=True)
class _AtWork:
    """A session with all that it is fed. early, late: heads that are asked with a batch, and with the rest of a round.
    turns: the steps of one span. feed: those of all spans; the next span is decoded while one is answered.
    """

    session: Session
    early: Sequence[Truths]
    late: Sequence[Truths]
    turns: Callable[[Span], Iterator[Step]]
    feed: Generator[Given]


def _at_work(
    session: Session, suite: Suite, asked: Sequence[Truths], recorded: Mapping[str, Recorded], spans: Sequence[Span]
) -> _AtWork:
    late = [t for t in asked if set(outputs_of(t.head)) & session.late]
    early = [t for t in asked if t not in late]
    session.defer({o for t in late for o in outputs_of(t.head)})
    size = 0 if session.networks else _frames_at_once(asked, recorded)

    def turns(span: Span) -> Iterator[Step]:
        if session.networks:
            return steps(rounds_of(suite.frames, span.start, span.stop), rest=bool(late))
        return (Step(np.arange(k, min(k + size, span.stop))) for k in range(span.start, span.stop, size))

    feed = fed(suite, session.inputs, early, late, chain.from_iterable(map(turns, spans)), session.most)
    return _AtWork(session, early, late, turns, feed)


def _span(
    at_work: _AtWork,
    suite: Suite,
    recorded: Mapping[str, Recorded],
    span: Span,
    ran: set[str],
    progress: Callable[[int], None],
) -> dict[str, Part]:
    """What heads answer on the next span. progress: takes the frames done so far. Raises FallenError."""
    session, early, late = at_work.session, at_work.early, at_work.late
    summaries = {t.head.name: HeadSummary(t.head, t.frames(span.start, span.stop)) for t in (*early, *late)}
    reducers = {t.head.name: Reducer(t.head, span.cells, summaries[t.head.name]) for t in (*early, *late)}
    feed = islice(at_work.feed, sum(1 for _ in at_work.turns(span)))
    done = 0
    with ThreadPoolExecutor(1, thread_name_prefix="ask") as pool, session.elsewhere():
        opening, first = pool.submit(session.open), next(feed)  # programs load while pictures are decoded
        opening.result()
        some = together(chain([first], feed), lambda: session.at_once)
        for given, said in _one_by_one(ahead(pool, lambda g: (g, session.say(g)), some, 1)):
            rows = given.step.rows
            ran.update(said.ran)
            ids, cell = suite.frames.ids, suite.frames.cell - span.first
            reduce_all(
                reducers[name].look_at(answer_of(t, said, recorded, rows), given.truths[name], ids[at], cell[at])
                for t in (late if given.step.rest else early)
                for name, at in ((t.head.name, t.judged(rows)),)
                if name in given.truths and set(outputs_of(t.head)) <= said.outputs.keys() | recorded.keys()
            )
            if not given.step.rest:
                done += len(rows)
                progress(done)
    # Head by head, and what was added batch by batch is let go.
    tables = set_aside([folded(reducers.pop(name).table()) for name in summaries])
    parts = {}
    for (name, summary), table in zip(summaries.items(), tables, strict=True):
        failed = {
            n: session.failed[n] for o in outputs_of(summary.head) if (n := o.partition(".")[0]) in session.failed
        }
        if failed:
            summary.refused = "; ".join(f"network {n}: {why}" for n, why in failed.items())
        parts[name] = settled(table, summary, passing=bool(failed))
    return parts


def _one_by_one(told: Iterable[tuple[Sequence[Given], Sequence[Said]]]) -> Iterator[tuple[Given, Said]]:
    for given, said in told:
        yield from zip(given, said, strict=True)


def watched(bundle: Bundle, suite: Suite, watch: Watch, device: str = "cpu") -> dict[str, str]:
    """Output -> digest of its bits on the watched batch, from whole programs; none of a network that fails, and none at
    all when its process dies twice.

    Of networks that remember, all rounds of the group up to the batch are run.
    """
    for _ in range(2):
        with contextlib.suppress(FallenError):
            return _watched(bundle, suite, watch, device)
    return {}


def _watched(bundle: Bundle, suite: Suite, watch: Watch, device: str) -> dict[str, str]:
    chosen = np.isin(np.arange(len(suite.frames.ids)), watch.rows(suite))
    group = next(g for g in groups_of(suite.frames) if chosen[g[0] : g[1]].any())
    session = Session(bundle, suite, watch.outputs, device=device, whole=True)
    session.open()
    turns = steps(rounds_of(suite.frames, *group), rest=bool(session.late), wanted=chosen)
    found: dict[str, str] = {}
    with contextlib.closing(fed(suite, session.inputs, (), (), turns)) as feed:
        for given in feed:
            (said,) = session.say([given])
            if chosen[given.step.rows].any():
                found |= {o: bits(said.outputs[o]) for o in sorted(watch.outputs) if o in said.outputs}
                if given.step.rest or not session.late:
                    break
    return found


def _frames_at_once(present: Sequence[Truths], recorded: Mapping[str, Recorded]) -> int:
    """Frames of recorded predictions whose values fill `VALUES`: evidence adds up, so any number gives the same."""
    outputs = sorted({o for t in present for o in outputs_of(t.head)})
    values = sum(recorded[o].read(np.zeros(1, np.int64)).size for o in outputs if (recorded[o].rows >= 0).any())
    return max(BATCH, VALUES // max(values, 1))


def answer_of(truths: Truths, said: Said, recorded: Mapping[str, Recorded], rows: Array) -> Answer:
    """What a head answered on those of some frames on which it is judged; all that it takes of programs was said."""
    head, judged = truths.head, slice(None) if truths.present is None else truths.present[rows]
    rows = rows[judged]
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
            values[role], dtype = said.outputs[output][0][judged][answered], said.outputs[output][1]
    return Answer(values, answered, dtype)
