"""Flips: events that one release gets right and the other wrong, and `flips.parquet`, by which frames are pulled.

The columns of the file, one row a flip; of a raster one row for each frame, prediction and kind:

    frame, clip, prediction   names
    event                     the box, `x0,y0,x1,y1` in pixels of the head's input; null for all others
    truth                     1 or 0, or the measured value; null for a raster of measured values
    score_incumbent           probability that each release gave, of a raster the mean over the flipped places; null
    score_candidate             where there is none
    error_incumbent           output minus truth, in the head's unit, of a raster the mean of their sizes; null for all
    error_candidate             but measured values
    kind                      one of KINDS
    count                     events: 1, of a raster the number of its places

Rows are sorted, no time is written: the same flips give the same bytes.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from gate.atomic import write_bytes
from gate.lattice import encode, probability
from gate.matching import overlaps
from gate.tasks import Alarms, Events

if TYPE_CHECKING:
    import pyarrow as pa

Kind = Literal["missed", "false-alarm", "found", "rejected", "worse", "better"]
#: kind -> does the candidate newly get it wrong? `missed` and `found` are events that are true, `false-alarm` and
#: `rejected` such that are not; `worse` and `better` are measured values.
KINDS: dict[Kind, bool] = {
    "missed": True,
    "false-alarm": True,
    "found": False,
    "rejected": False,
    "worse": True,
    "better": False,
}


@dataclass(frozen=True)
class Flip:
    """Events of one frame that flipped in one way; `scores` and `errors` are (incumbent, candidate)."""

    kind: Kind
    count: int
    truth: float
    scores: tuple[float | None, float | None] = (None, None)
    errors: tuple[float | None, float | None] = (None, None)
    event: str | None = None


def counted(flips: Iterable[Flip]) -> tuple[int, int]:
    """(newly wrong, newly right) events."""
    given = list(flips)
    negative = sum(f.count for f in given if KINDS[f.kind])
    return negative, sum(f.count for f in given) - negative


def flips_of(before: Events, after: Events, level: float) -> list[Flip]:
    """Flips of one prediction in one frame, both releases asked the same. level: IoU at which two detections are one.

    A measured value is `worse` or `better` by any change of |error|; `beyond` keeps the changes that matter.
    """
    if before.truth.dtype != bool:
        return list(_measured(before, after))
    if len(before.boxes) or len(before.alarms.score) or len(after.alarms.score):
        return [*_boxes(before, after), *_alarms(before.alarms, after.alarms, level)]
    return list(_places(before, after))


def _places(before: Events, after: Events) -> Iterator[Flip]:
    """One flip a kind, with the means of the scores."""
    if np.array_equal(before.wrong, after.wrong):  # most frames: nothing moved
        return
    lost, won = after.wrong & ~before.wrong, before.wrong & ~after.wrong
    for kind, where in (
        ("missed", lost & before.truth),
        ("false-alarm", lost & ~before.truth),
        ("found", won & before.truth),
        ("rejected", won & ~before.truth),
    ):
        if count := int(where.sum()):
            means = tuple(float(probabilities(e.score[where]).mean()) for e in (before, after))
            yield Flip(kind, count, float(kind in ("missed", "found")), means)  # type: ignore[arg-type]


def _boxes(before: Events, after: Events) -> Iterator[Flip]:
    for k in np.flatnonzero(before.wrong != after.wrong):
        scores = (_score(before.score[k]), _score(after.score[k]))
        yield Flip("missed" if after.wrong[k] else "found", 1, 1.0, scores, event=_named(before.boxes[k]))


def _alarms(before: Alarms, after: Alarms, level: float) -> Iterator[Flip]:
    """False alarms that only one release gives; the other may have the detection below its threshold."""
    partner = dict(_pairs(before, after, level))
    taken = {new: old for old, new in partner.items()}
    for new in np.flatnonzero(after.accepted):
        old = taken.get(int(new))
        if old is None or not before.accepted[old]:
            scores = (None if old is None else _score(before.score[old]), _score(after.score[new]))
            yield Flip("false-alarm", 1, 0.0, scores, event=_named(after.corners[new]))
    for old in np.flatnonzero(before.accepted):
        new = partner.get(int(old))
        if new is None or not after.accepted[new]:
            scores = (_score(before.score[old]), None if new is None else _score(after.score[new]))
            yield Flip("rejected", 1, 0.0, scores, event=_named(before.corners[old]))


def _pairs(before: Alarms, after: Alarms, level: float) -> Iterator[tuple[int, int]]:
    """(incumbent, candidate) detections that are the same alarm, each in one pair at most.

    Two that both releases give go together first, then the greatest overlap; so neither release is preferred.
    """
    overlap = overlaps(before.corners, after.corners, np.zeros(len(after.corners), bool))
    old, new = np.nonzero(overlap >= level)
    both = before.accepted[old] & after.accepted[new]
    free_old, free_new = set(old.tolist()), set(new.tolist())
    for k in np.lexsort((new, old, -overlap[old, new], ~both)):
        a, b = int(old[k]), int(new[k])
        if a in free_old and b in free_new:
            free_old.remove(a)
            free_new.remove(b)
            yield a, b


def _measured(before: Events, after: Events) -> Iterator[Flip]:
    for truth, old, new in zip(before.truth, before.error, after.error, strict=True):
        if abs(old) != abs(new):
            kind: Kind = "worse" if abs(new) > abs(old) else "better"
            yield Flip(kind, 1, float(truth), errors=(float(old), float(new)))


def beyond(flips: Iterable[Flip], tolerance: float) -> list[Flip]:
    """Flips without those of measured values whose |error| changed by no more than `tolerance`."""
    return [f for f in flips if abs(growth(f)) > tolerance or f.kind not in ("worse", "better")]


def growth(flip: Flip) -> float:
    """By how much |error| grew, in the head's unit; 0 for events without one."""
    old, new = flip.errors
    return abs(new) - abs(old) if old is not None and new is not None else 0.0


def probabilities(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Of logits, as they are counted; 0 where there is no score: what nothing detected."""
    return probability(encode(np.where(np.isnan(logits), -np.inf, logits)))


def _score(logit: float) -> float | None:
    return None if math.isnan(logit) else float(probability(encode([logit]))[0])


def _named(box: NDArray[np.float64]) -> str:
    return ",".join(f"{x:.1f}" for x in box)


Row = tuple[str, str, str, Flip]


def flip_table(rows: Iterable[Row]) -> pa.Table:
    """The table of `flips.parquet`. rows: (frame, clip, prediction, flip), in any order."""
    import pyarrow as pa

    order = sorted(rows, key=lambda r: (r[2], r[1], r[0], r[3].kind, r[3].event or ""))
    columns: dict[str, tuple[pa.DataType, list[Any]]] = {
        "frame": (pa.string(), [r[0] for r in order]),
        "clip": (pa.string(), [r[1] for r in order]),
        "prediction": (pa.string(), [r[2] for r in order]),
        "event": (pa.string(), [r[3].event for r in order]),
        "truth": (pa.float64(), [None if math.isnan(r[3].truth) else r[3].truth for r in order]),
        "score_incumbent": (pa.float64(), [r[3].scores[0] for r in order]),
        "score_candidate": (pa.float64(), [r[3].scores[1] for r in order]),
        "error_incumbent": (pa.float64(), [r[3].errors[0] for r in order]),
        "error_candidate": (pa.float64(), [r[3].errors[1] for r in order]),
        "kind": (pa.string(), [r[3].kind for r in order]),
        "count": (pa.int64(), [r[3].count for r in order]),
    }
    return pa.table({name: pa.array(values, kind) for name, (kind, values) in columns.items()})


def parquet_of(table: pa.Table) -> bytes:
    """The bytes of `flips.parquet`."""
    import pyarrow.parquet as pq

    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd", version="2.6", row_group_size=1 << 20, store_schema=False)
    return out.getvalue()


def write_flips(path: Path, table: pa.Table) -> None:
    """Write `flips.parquet`, whole or not at all. Raises UsageError when the folder cannot be written."""
    write_bytes(path, parquet_of(table))
