"""Evidence that travels: all judged heads of one bundle on a whole suite in one file, so that it need not run again.

The file is a pack like those of the store (`gate.run.pack`), over all frames, and names its bundle.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from pathlib import Path

from gate.atomic import open_regular, read_at_most, write_bytes
from gate.bundle import Bundle
from gate.errors import EvidenceError, shown
from gate.run.local import Run, offered, outputs_of
from gate.run.pack import Pack, Scope, to_bytes, unpacked, verified
from gate.run.resume import made_by, versions
from gate.run.spans import Part, Span, Tables
from gate.suite import Suite

#: Bytes of a file: the evidence of a thousand heads is some fifty million.
MAX_BYTES = 1 << 30
#: Versions by which evidence is another one; of the others, last bits may differ.
_DECIDING = ("gate", "batch")
_MEND = "write it anew: gate run BUNDLE --suite SUITE --export FILE"


def write_evidence(path: Path, answers: Run, bundle: Bundle, suite: Suite) -> None:
    """Write what a bundle answered on a suite. Raises UsageError when that is not possible."""
    made = made_by(bundle, [head for head in suite.heads if head.name in answers.evidence])
    parts = {name: Part(answers.evidence.folded[name], answers.summaries[name]) for name in made}
    scope = Scope(suite.digest, answers.runtime, versions(live=bool(answers.runtime)))
    whole = Span(0, len(suite.frames.ids), 0, suite.frames.cells)
    write_bytes(path, to_bytes(Pack(scope, whole, made, parts, (bundle.name, bundle.version, bundle.digest))))


def read_evidence(
    path: Path, suite: Suite, bundles: Collection[Bundle], tell: Callable[[str], None] = lambda line: None
) -> tuple[Bundle, Run]:
    """The evidence in a file, and which of the bundles it is of; tell: takes a line where other libraries made it.

    Raises EvidenceError when a bit of it differs from what was written, when it is of another suite or of none of the
    bundles, when it lacks a head or was made by other networks than the bundle's, and when another version of gate made
    it.
    """
    pack = _pack(path, suite)
    bundle = _bundle_of(pack, bundles, path)
    if other := _other_versions(pack.scope, path):
        what = f"the evidence of {shown(bundle.name)} {shown(bundle.version)} was made with {other}"
        tell(f"warning: {what}: last bits of scores may differ")
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


def _pack(path: Path, suite: Suite) -> Pack:
    """What is in a file. Raises EvidenceError, with the way to mend it, for all that is no evidence of this suite."""
    try:
        about, arrays = verified(_bytes(path), str(path))
        if about.get("suite") != suite.digest:
            given = shown(about.get("suite"), 19)
            what = f"this evidence is of another suite, {given}; the suite is {suite.digest[:19]}"
            raise EvidenceError(what, where=str(path))
        return unpacked(about, arrays, {head.name: head for head in suite.heads}, str(path))
    except EvidenceError as error:
        raise EvidenceError(error.what, where=error.where, mend=_MEND) from error


def _bytes(path: Path) -> bytes:
    try:
        with open_regular(path, EvidenceError, links=True) as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_BYTES:
                raise EvidenceError(f"{size:,} bytes; the most is {MAX_BYTES:,}", where=str(path))
            return read_at_most(file, MAX_BYTES)
    except OSError as error:
        raise EvidenceError(f"the evidence cannot be read: {error.strerror}", where=str(path)) from error
    except EvidenceError as error:
        raise EvidenceError(f"this is no evidence file: {error.what}", where=error.where) from error


def _bundle_of(pack: Pack, bundles: Collection[Bundle], path: Path) -> Bundle:
    bundle = next((b for b in bundles if pack.bundle[2:] == (b.digest,)), None)
    if bundle is None:
        wanted = ", ".join(f"{b.name} {b.version} ({b.digest[:19]})" for b in bundles)
        given = f"{' '.join(pack.bundle[:2])} ({''.join(pack.bundle[2:])[:19]})"
        what = f"this evidence is of another bundle, {shown(given)}, not of {wanted}"
        raise EvidenceError(what, where=str(path), mend=_MEND)
    return bundle


def _other_versions(scope: Scope, path: Path) -> str:
    """Versions that are not those of here, in words; empty when none is. Raises EvidenceError when one is decisive."""
    made, here = dict(scope.versions), dict(versions(live=bool(scope.runtime)))
    other = {key: made.get(key, "none") for key in here if made.get(key) != here[key]}
    if deciding := [key for key in _DECIDING if key in other]:
        told, wanted = (", ".join(f"{key} {shown(of[key], 40)}" for key in deciding) for of in (other, here))
        raise EvidenceError(f"this evidence was made with {told}; here is {wanted}", where=str(path), mend=_MEND)
    return ", ".join(f"{key} {shown(text, 40)}" for key, text in other.items())
