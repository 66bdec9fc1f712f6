"""Evidence that travels: all judged heads of one bundle on a whole suite in one file, so that it need not run again.

The file is a pack like those of the store (`gate.run.pack`), over all frames, and names its bundle.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from gate.atomic import write_bytes
from gate.bundle import Bundle
from gate.errors import EvidenceError, shown
from gate.run.local import Run, offered, outputs_of
from gate.run.pack import Pack, Scope, to_bytes, unpacked, verified
from gate.run.resume import made_by, versions
from gate.run.spans import Part, Span, Tables
from gate.suite import Suite

_MEND = "write it anew: gate run BUNDLE --suite SUITE --export FILE"


def write_evidence(path: Path, answers: Run, bundle: Bundle, suite: Suite) -> None:
    """Write what a bundle answered on a suite. Raises UsageError when that is not possible."""
    made = made_by(bundle, [head for head in suite.heads if head.name in answers.evidence])
    parts = {name: Part(answers.evidence.folded[name], answers.summaries[name]) for name in made}
    scope = Scope(suite.digest, answers.runtime, versions(live=bool(answers.runtime)))
    whole = Span(0, len(suite.frames.ids), 0, suite.frames.cells)
    write_bytes(path, to_bytes(Pack(scope, whole, made, parts, (bundle.name, bundle.version, bundle.digest))))


def read_evidence(path: Path, suite: Suite, bundles: Collection[Bundle]) -> tuple[Bundle, Run]:
    """The evidence in a file, and which of the bundles it is of.

    Raises EvidenceError when a bit of it differs from what was written, when it is of another suite or of none of the
    bundles, and when it lacks a head or was made by other networks than the bundle's.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise EvidenceError(f"the evidence cannot be read: {error.strerror}", where=str(path)) from error
    about, arrays = verified(data, str(path))
    if about.get("suite") != suite.digest:
        what = f"this evidence is of another suite, {shown(about.get('suite'), 19)}; the suite is {suite.digest[:19]}"
        raise EvidenceError(what, where=str(path), mend=_MEND)
    pack = unpacked(about, arrays, {head.name: head for head in suite.heads}, str(path))
    bundle = next((b for b in bundles if pack.bundle[2:] == (b.digest,)), None)
    if bundle is None:
        wanted = ", ".join(f"{b.name} {b.version} ({b.digest[:19]})" for b in bundles)
        given = f"{' '.join(pack.bundle[:2])} ({''.join(pack.bundle[2:])[:19]})"
        raise EvidenceError(
            f"this evidence is of another bundle, {shown(given)}, not of {wanted}", where=str(path), mend=_MEND
        )
    names, _ = offered(bundle, suite)
    present = [head for head in suite.heads if set(outputs_of(head)) <= names]
    whole = Span(0, len(suite.frames.ids), 0, suite.frames.cells)
    if pack.span != whole or pack.made_by != made_by(bundle, present):
        raise EvidenceError("this evidence is not of all heads and frames of the bundle", where=str(path), mend=_MEND)
    for t in suite.truths:
        if t.head in present:
            pack.parts[t.head.name].summary.frames = t.frames(0, len(suite.frames.ids))
    return bundle, Run(
        Tables({head.name: pack.parts[head.name].table for head in present}),
        {head.name: pack.parts[head.name].summary for head in present},
        tuple(head.name for head in suite.heads if head not in present),
        pack.scope.runtime,
        tuple(pack.parts),
    )
