"""Evidence as one file: what several heads answered on one span, sealed with what made it and a digest of all of it.

One file holds many heads, so that a run of a thousand heads opens as many files as it has spans. It is plain
safetensors: the header says what the evidence is of, a few arrays hold the histograms, CSR: rows of (cell, label, code,
count) in the order in which curves are read, in the narrowest integers that hold them. Nothing in it depends on how a
table keeps its keys in memory. The same evidence gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gate.errors import EvidenceError, shown
from gate.folded import Folded, narrowed
from gate.heads import Head, series_of
from gate.run.spans import Part, Span
from gate.run.summary import HeadSummary
from gate.strict import read_json
from gate.table import EvidenceTable
from gate.tasks import task_of

Array = NDArray[Any]
Pairs = tuple[tuple[str, str], ...]

#: Of the format, and of what evidence means: part of every address.
SCHEMA = "gate.evidence/3"
#: Bytes of a header: a thousand heads fill half a megabyte.
MAX_HEADER = 8 << 20
#: Counted things of one kind that a pack may hold: what adds them up does so exactly, in floating point too.
_MOST = 1 << 53
_ARRAYS = ("rows", "cell", "code", "count", "sums", "unfinite", "low", "high")
_TEXTS = ("first_missing", "shape", "expected_shape", "dtype", "refused")


@dataclass(frozen=True)
class Scope:
    """What evidence depends on besides the head's own network and the frames.

    suite: its digest, which covers heads, truths and frames. runtime: of the programs, empty for recorded predictions.
    versions: of gate and of the libraries that decode and reduce, and the batch.
    """

    suite: str
    runtime: Pairs
    versions: Pairs


@dataclass(frozen=True)
class Pack:
    """made_by: head -> digest of what makes its outputs. parts: head -> what it answered there; none in a question.

    bundle: (name, version, digest) in files that travel, else empty.
    """

    scope: Scope
    span: Span
    made_by: Mapping[str, str]
    parts: Mapping[str, Part]
    bundle: tuple[str, ...] = ()


def address(pack: Pack) -> str:
    """Names what the evidence is of, 64 hexadecimal digits: equal for equal questions, whatever the answers."""
    return hashlib.sha256(_canonical(_question(pack))).hexdigest()


def _question(pack: Pack) -> dict[str, Any]:
    scope, span = pack.scope, pack.span
    return {
        "schema": SCHEMA,
        "suite": scope.suite,
        "runtime": [list(pair) for pair in scope.runtime],
        "versions": [list(pair) for pair in scope.versions],
        "span": [span.start, span.stop, span.first, span.cells],
        "made_by": dict(pack.made_by),
        "bundle": list(pack.bundle),
    }


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def to_bytes(pack: Pack) -> bytes:
    """The file of a pack."""
    from safetensors.numpy import save

    names = sorted(pack.parts)
    parts = [pack.parts[name] for name in names]
    about = _question(pack)
    about["answers"] = {name: _told(part.summary) for name, part in zip(names, parts, strict=True)}
    arrays = _arrays([p.table for p in parts], [p.summary for p in parts])
    return save(arrays, {"gate": _canonical(about | {"digest": _digest(about, arrays)}).decode()})


def _told(summary: HeadSummary) -> dict[str, Any]:
    told = {key: getattr(summary, key) for key in _TEXTS}
    return told | {"answered": summary.answered, "first_unfinite": summary.first_unfinite}


def _arrays(tables: Sequence[Folded], summaries: Sequence[HeadSummary]) -> dict[str, Array]:
    return {
        "rows": _flat(t.rows for t in tables),
        "cell": narrowed(_flat((t.cell for t in tables), np.uint8)),
        "code": ~_flat((t.fall for t in tables), np.uint16),
        "count": narrowed(_flat((t.counts for t in tables), np.uint8)),
        "sums": narrowed(_flat(t.bare.moments for t in tables)),
        "unfinite": _flat(s.unfinite for s in summaries),
        "low": _flat((s.low for s in summaries), np.float64),
        "high": _flat((s.high for s in summaries), np.float64),
    }


def _flat(parts: Iterable[Array], kind: type = np.int64) -> Array:
    return np.concatenate([np.zeros(0, kind), *(part.ravel() for part in parts)])


def _digest(about: Mapping[str, Any], arrays: Mapping[str, Array]) -> str:
    """Over everything that a pack says; arrays by type, shape and bytes."""
    hashed = hashlib.sha256(_canonical(about))
    for name in _ARRAYS:
        array = np.ascontiguousarray(arrays[name])
        hashed.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        hashed.update(array.data)
    return hashed.hexdigest()


def peeked(path: Path) -> Pack:
    """What a file says that it is of, nothing of it verified, without its answers.

    Raises EvidenceError when its header is damaged, and OSError when it cannot be read.
    """
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        about = _about(file.read(size) if size <= MAX_HEADER else b"", str(path))
    try:
        return asked(about)
    except (ValueError, KeyError, TypeError) as error:
        raise EvidenceError("the header of this evidence is damaged", where=str(path)) from error


def _about(text: bytes, where: str) -> dict[str, Any]:
    limits = {"where": where, "error": EvidenceError, "max_bytes": MAX_HEADER}
    try:
        about = read_json(read_json(text, **limits)["__metadata__"]["gate"].encode(), **limits)
        if about["schema"] != SCHEMA:
            raise KeyError("schema")
        return about
    except (EvidenceError, KeyError, TypeError, AttributeError) as error:
        raise EvidenceError(f"this is no evidence file of {SCHEMA}, or it is damaged", where=where) from error


def verified(data: bytes, where: str) -> tuple[dict[str, Any], dict[str, Array]]:
    """What a file says and its arrays, exactly as they were written. Raises EvidenceError when a bit differs."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    about = _about(data[8 : 8 + int.from_bytes(data[:8], "little")], where)
    try:
        arrays = load(data)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise EvidenceError(f"the evidence cannot be read: {shown(error)}", where=where) from error
    digest = about.pop("digest", None)
    if set(arrays) != set(_ARRAYS) or digest != _digest(about, arrays):
        raise EvidenceError("the evidence is damaged: its digest does not hold", where=where)
    return about, arrays


def unpacked(about: Mapping[str, Any], arrays: Mapping[str, Array], heads: Mapping[str, Head], where: str) -> Pack:
    """The pack that was verified; heads: by name, of the suite that the evidence is of.

    Raises EvidenceError for evidence that these heads cannot give.
    """
    try:
        question = asked(about)
        parts = _parts(about["answers"], arrays, heads, question.span.frames, question.span.cells)
        if parts.keys() != question.made_by.keys():
            raise ValueError("it does not say what made each head")
        return replace(question, parts=parts)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EvidenceError(f"this evidence is not of these heads: {shown(error)}", where=where) from error


def asked(about: Mapping[str, Any]) -> Pack:
    """What a header says that the evidence is of, without any answers. Raises ValueError, KeyError, TypeError."""
    scope = Scope(str(about["suite"]), _pairs(about["runtime"]), _pairs(about["versions"]))
    start, stop, first, cells = (_count(value) for value in about["span"])
    made_by = {str(name): str(digest) for name, digest in dict(about["made_by"]).items()}
    return Pack(scope, Span(start, stop, first, cells), made_by, {}, tuple(map(str, about["bundle"])))


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 62:
        raise ValueError(f"{shown(value)} is not a number of frames or cells")
    return value


def _pairs(value: Any) -> Pairs:
    return tuple((str(name), str(text)) for name, text in value)


def _parts(
    answers: Mapping[str, Any], arrays: Mapping[str, Array], heads: Mapping[str, Head], frames: int, cells: int
) -> dict[str, Part]:
    """head -> its part. Raises ValueError or KeyError where arrays do not fit the heads, or each other."""
    chosen = [heads[name] for name in sorted(answers)]
    series = [series_of(head) for head in chosen]
    names = [task_of(head).yields(head).sums for head in chosen]
    rows, *columns = _histograms(arrays, sum(map(len, series)), cells)
    rows = _split(rows, [len(r) for r in series])
    fall, cell, counts = (_split(column, [int(r.sum()) for r in rows]) for column in columns)
    sums = _split(
        _integers(arrays["sums"]).astype(np.int64),
        [len(r) * cells * len(n) for r, n in zip(series, names, strict=True)],
    )
    judged = [len(head.judged) for head in chosen]
    unfinite = _split(_integers(arrays["unfinite"]).astype(np.int64), judged)
    if any(((values < 0) | (values > frames)).any() for values in unfinite):
        raise ValueError("impossible numbers of broken frames")
    low, high = (_split(_numbers(arrays[name]), judged) for name in ("low", "high"))
    parts, none = {}, np.zeros(0, np.int64)
    for k, head in enumerate(chosen):
        moments = _counted(sums[k].reshape(len(series[k]), cells, len(names[k])), names[k])
        summary = _summary(head, frames, answers[head.name])
        summary.unfinite, summary.low, summary.high = unfinite[k], low[k], high[k]
        # Copies: a view would hold the arrays of all heads for as long as one of them is needed.
        bare = EvidenceTable(series[k], cells, none, none, names[k], moments.copy())
        parts[head.name] = Part(Folded(bare, rows[k], fall[k].copy(), cell[k].copy(), counts[k].copy()), summary)
    return parts


def _histograms(arrays: Mapping[str, Array], series: int, cells: int) -> tuple[Array, Array, Array, Array]:
    """rows, fall, cell and counts of a folded table of so many series."""
    rows, cell, code, count = (_integers(arrays[name]) for name in ("rows", "cell", "code", "count"))
    sound = len(rows) == series and ((rows >= 0) & (rows <= len(cell))).all()
    if not (sound and rows.sum() == len(cell) == len(code) == len(count)):
        raise ValueError("histograms of other heads")
    if len(cell) and not (
        0 <= cell.min() <= cell.max() < 2 * cells
        and 0 <= code.min() <= code.max() <= 0xFFFF
        and count.min() > 0
        and count.sum(dtype=np.float64) < _MOST
    ):
        raise ValueError("a histogram with impossible entries")
    fall = ~code.astype(np.uint16)
    order = fall.astype(np.int64) << 32 | cell
    first = np.zeros(len(cell) + 1, bool)
    first[np.cumsum(rows)] = True
    if not (first[1:-1] | (order[1:] > order[:-1])).all():
        raise ValueError("a histogram whose entries are not in order")
    return rows.astype(np.int64), fall, cell, count


def _integers(array: Array) -> Array:
    if array.ndim != 1 or array.dtype.kind not in "iu" or array.dtype == np.uint64:
        raise ValueError(f"an array of {array.dtype} with {array.ndim} dimensions")
    return array


def _numbers(array: Array) -> Array:
    if array.dtype.kind != "f" or np.isnan(array).any():
        raise ValueError("a lowest or highest value that is not a number")
    return array.astype(np.float64)


def _counted(moments: Array, names: Sequence[str]) -> Array:
    """Sums (S, C, M), of which those that count hold what can be counted; reals (`sum_...`) may be anything."""
    counts = moments[..., [not name.startswith("sum_") for name in names]]
    if (counts < 0).any() or (counts.sum(axis=1, dtype=np.float64) >= _MOST).any():
        raise ValueError("impossible sums")
    return moments


def _split(array: Array, sizes: Sequence[int]) -> list[Array]:
    if array.shape != (sum(sizes),):
        raise ValueError("arrays of other heads")
    return np.split(array, np.cumsum(sizes)[:-1]) if sizes else []


def _summary(head: Head, frames: int, told: Mapping[str, Any]) -> HeadSummary:
    summary = HeadSummary(head, frames, _count(told["answered"]))
    if summary.answered > frames:
        raise ValueError(f"answers to {summary.answered:,} of {frames:,} frames")
    for key in _TEXTS:
        if type(told[key]) is not str:
            raise ValueError(f"{key} is not a text")
        setattr(summary, key, told[key])
    first = [str(frame) for frame in told["first_unfinite"]]
    if len(first) != len(summary.first_unfinite):
        raise ValueError("a summary of other channels")
    summary.first_unfinite = first
    return summary
