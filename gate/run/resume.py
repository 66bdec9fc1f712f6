"""A run that goes on: what a store keeps is taken from it, the rest is run and kept, a span at a time."""

from __future__ import annotations

import platform
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from gate import __version__
from gate.bundle import Bundle, digests_of, read_bundle
from gate.errors import GateError, LockError
from gate.heads import Head
from gate.lock import digest_of, stamp_of
from gate.run.feed import ahead
from gate.run.notes import noted
from gate.run.pack import Pack, Pairs, Scope
from gate.run.partition import BATCH, LANES, STEPS
from gate.run.spans import Part, Span, all_joined
from gate.run.store import Packs, Store, collect, keep, recall, sought
from gate.suite import Suite

#: Runs some heads on some spans; yields, of each span in turn, head -> what it answered.
Ask = Callable[[Collection[str], Sequence[Span]], Iterator[dict[str, Part]]]


def made_by(bundle: Bundle, heads: Collection[Head], store: Store | None = None) -> dict[str, str]:
    """head -> digest of all that makes its outputs: of programs, the subgraph of each output with its weights, and
    whatever that reads upstream. So a head that a release leaves alone has the evidence of the release before.

    store: where it is noted what is found of each program, so that only programs that are new are read. Raises
    RefusedError, BundleError and LockError as `digests_of` does.
    """
    outputs = {output for head in heads for _, output in head.outputs}
    known = digests_of(bundle, outputs, partial(noted, store, "heads"))
    return {h.name: digest_of("\n".join(f"{r}={o} {known[o]}" for r, o in h.outputs).encode()) for h in heads}


def witness(bundle: Bundle, suite: Suite) -> Callable[[], None]:
    """Looks, whenever it is called, whether the files of bundle and suite are still those that their digests name.

    Raises LockError when they are not: files that are changed while they are run must not leave evidence behind under
    the old ones' name. The first look reads all files of the bundle, later ones only ask when they were changed; so
    files that were opened after the witness was called, and before its first look, are those that the digest names.
    """
    files = [
        str(path.relative_to(bundle.root))
        for n in bundle.networks
        for path in (n.program, *n.predictions)
        if path is not None
    ]
    before, read = stamp_of(bundle.root, files), list[bool]()

    def look() -> None:
        suite.check_unchanged()
        try:
            if before == stamp_of(bundle.root, files) and (read or read_bundle(bundle.root).digest == bundle.digest):
                read.append(True)
                return
        except GateError:
            pass  # gone, or half-written: changed all the same
        raise LockError("the bundle was changed while it ran", where=str(bundle.root), mend="run again")

    return look


def versions(*, live: bool) -> Pairs:
    """What evidence may depend on besides the runtime of programs; live: pictures are decoded, and programs run."""
    found = [("gate", __version__), ("machine", platform.machine()), ("numpy", np.__version__)]
    if live:
        import PIL

        found += [("batch", f"{BATCH} of {LANES} x {STEPS}"), ("pillow", PIL.__version__)]
    return tuple(sorted(found))


def resumed(
    store: Store | None,
    scope: Scope,
    suite: Suite,
    spans: Sequence[Span],
    made: Mapping[str, str],
    ask: Ask,
    look: Callable[[], None],
    progress: Callable[[int], None],
) -> tuple[dict[str, Part], list[str]]:
    """What each head answered on the whole suite, and the heads for which nothing had to be asked.

    made: head -> digest of what makes it. look: called before anything is kept or told. progress: frames found in the
    store, and again, below zero, of those that prove damaged.
    """
    parts = [dict[str, Part]() for _ in spans]
    writing = store

    def asked(there: Sequence[Collection[str]]) -> Iterator[tuple[int, dict[str, Part]]]:
        for lacking, holes in _holes(there, made):
            for k, answers in zip(holes, ask(lacking, [spans[k] for k in holes]), strict=True):
                parts[k] |= answers
                yield k, answers

    def hold(found: tuple[int, dict[str, Part]]) -> None:
        nonlocal writing
        look()
        if writing:
            k, sound = found[0], {name: part for name, part in found[1].items() if not part.passing}
            pack = Pack(scope, spans[k], {name: made[name] for name in sound}, sound)
            writing = writing if not sound or keep(writing, pack) else None

    def fill(there: Sequence[Collection[str]]) -> None:
        """Ask for what is not there; while one span is asked, the one before is kept."""
        for _ in ahead(pool, hold, asked(there), 1):
            pass

    packs = sought(store, scope, spans, made) if store else [[] for _ in spans]
    promised = [frozenset[str]().union(*(names for _, names in found)) for found in packs]
    if there := sum(s.frames for s, names in zip(spans, promised, strict=True) if len(names) == len(made)):
        progress(there)
    # The store is read and written beside the programs, by one thread: what is read is what was there at first.
    with ThreadPoolExecutor(1, thread_name_prefix="store") as pool:
        reading = pool.submit(_recalled, store, packs, suite, spans, made)
        fill(promised)
        found, whole = reading.result()
        kept = list(whole)
        for told, part in zip(found, parts, strict=True):
            part |= told
        broken = [part.keys() | whole.keys() for part in parts]
        if again := sum(s.frames for s, names in zip(spans, broken, strict=True) if len(names) < len(made)):
            progress(-again)  # what was promised is damaged: these frames are not done yet
            fill(broken)
    whole |= all_joined(parts, [name for name in made if name not in whole], spans, suite.frames.cells)
    if writing and len(kept) < len(made):
        try:
            collect(writing)
        except GateError as error:  # its marker is gone or broken by now; what was found out holds all the same
            writing.tell(f"warning: the store was not tidied: {error.brief}")
    return whole, kept


def _recalled(
    store: Store | None, packs: Sequence[Packs], suite: Suite, spans: Sequence[Span], made: Mapping[str, str]
) -> tuple[list[dict[str, Part]], dict[str, Part]]:
    """What packs hold of each span, and what they hold of all spans already joined."""
    heads, truths = {head.name: head for head in suite.heads}, {t.head.name: t for t in suite.truths}
    parts = [recall(store, found, heads) if store else {} for found in packs]
    for span, part in zip(spans, parts, strict=True):
        for name, one in part.items():  # the suite says how many frames are judged, not what was stored
            one.summary.frames = truths[name].frames(span.start, span.stop)
    names = [name for name in made if all(name in part for part in parts)]
    return parts, all_joined(parts, names, spans, suite.frames.cells)


def _holes(there: Sequence[Collection[str]], names: Collection[str]) -> list[tuple[frozenset[str], list[int]]]:
    """Heads that lack, with the positions of the spans that lack just these."""
    holes: dict[frozenset[str], list[int]] = {}
    for k, part in enumerate(there):
        if lacking := frozenset(names).difference(part):
            holes.setdefault(lacking, []).append(k)
    return list(holes.items())
