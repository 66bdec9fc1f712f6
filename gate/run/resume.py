"""A run that goes on: what a store keeps is taken from it, the rest is run and kept, a span at a time."""

from __future__ import annotations

import platform
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set

import numpy as np

from gate import __version__
from gate.bundle import Bundle
from gate.heads import Head
from gate.lock import digest_of
from gate.run.pack import Pack, Pairs, Scope
from gate.run.program import BATCH
from gate.run.spans import Part, Span, joined
from gate.run.store import Store, collect, keep, recall
from gate.suite import Suite

#: Runs some heads on some spans; yields, of each span in turn, head -> what it answered.
Ask = Callable[[Collection[str], Sequence[Span]], Iterator[dict[str, Part]]]


def made_by(bundle: Bundle, head: Head) -> str:
    """Digest of all that makes the outputs of a head: its networks, with everything upstream of them."""
    lines = []
    for role, output in head.outputs:
        network = bundle.network(output.partition(".")[0])
        lines.append(f"{role}={output} {network.digest if network else ''}")
    return digest_of("\n".join(lines).encode())


def versions(*, live: bool) -> Pairs:
    """What evidence may depend on besides the runtime of programs; live: pictures are decoded, and programs run."""
    found = [("gate", __version__), ("machine", platform.machine()), ("numpy", np.__version__)]
    if live:
        import PIL

        found += [("batch", str(BATCH)), ("pillow", PIL.__version__)]
    return tuple(sorted(found))


def resumed(
    store: Store | None,
    scope: Scope,
    suite: Suite,
    spans: Sequence[Span],
    made: Mapping[str, str],
    ask: Ask,
    progress: Callable[[int], None],
) -> tuple[dict[str, Part], list[str]]:
    """What each head answered on the whole suite, and the heads for which nothing had to be asked.

    made: head -> digest of what makes it. progress: frames that were found in the store.
    """
    heads = {head.name: head for head in suite.heads}
    parts = recall(store, scope, spans, made, heads) if store else [dict[str, Part]() for _ in spans]
    kept = [name for name in made if all(name in part for part in parts)]
    for span, part in zip(spans, parts, strict=True):
        if part.keys() == made.keys():
            progress(span.frames)
    writing = store
    for lacking, holes in _holes(parts, made.keys()):
        for k, answers in zip(holes, ask(lacking, [spans[k] for k in holes]), strict=True):
            parts[k] |= answers
            pack = Pack(scope, spans[k], {name: made[name] for name in lacking}, answers)
            writing = writing if writing and keep(writing, pack) else None
    # Head by head, and what is joined is let go: memory holds the evidence once.
    whole = {name: joined([part.pop(name) for part in parts], spans, suite.frames.cells) for name in made}
    if writing and len(kept) < len(made):
        collect(writing)
    return whole, kept


def _holes(parts: Sequence[Mapping[str, Part]], names: Set[str]) -> list[tuple[frozenset[str], list[int]]]:
    """Heads that lack, with the positions of the spans that lack just these."""
    holes: dict[frozenset[str], list[int]] = {}
    for k, part in enumerate(parts):
        if lacking := frozenset(names - part.keys()):
            holes.setdefault(lacking, []).append(k)
    return list(holes.items())
