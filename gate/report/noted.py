"""Frames that moved, as a store notes them: a page that was made before needs no program, and nothing that runs one."""

from __future__ import annotations

import json
import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from gate.bundle import Bundle
from gate.cores import hand_back_memory
from gate.errors import LockError
from gate.lock import digest_of
from gate.report.flips import parquet_of
from gate.report.moved import Chosen, Moved, Picture
from gate.run.machine import batches_at_once, runtime
from gate.run.notes import known, note
from gate.run.resume import versions, witness
from gate.run.session import device_name
from gate.run.store import Store
from gate.suite import Suite
from gate.tasks import Drawing

if TYPE_CHECKING:
    import pyarrow as pa

    Seen = tuple[tuple[Moved, ...], pa.Table]


def noted_frames(
    store: Store | None,
    bundles: Sequence[Bundle],
    suite: Suite,
    chosen: Sequence[Chosen],
    *,
    limit: int,
    device: str,
    look: Callable[[], Seen],
) -> Seen:
    """What `look` finds of the chosen predictions, as `moved_frames` answers, or found when it was last asked the same.

    It is noted when no frame was left out, since a process that died may not die again, and when the files of the
    bundles still are what their digests name.
    """
    hand_back_memory()  # programs are in memory next, and what statistics used is not needed any more
    if store is None or not chosen:
        return look()
    machine = runtime([n for b in bundles for n in b.networks], device_name(device), batches_at_once(suite, device)[1])
    about = [suite.digest, [b.digest for b in bundles], machine, versions(live=True), limit]
    question = digest_of(json.dumps([*about, [asdict(c) for c in chosen]]).encode())
    answer = known(store, "frames", question)
    with suppress(LookupError, TypeError, ValueError, zlib.error):  # a note of other code under the same version
        if answer is not None:
            return _seen(answer)
    unchanged = [witness(bundle, suite) for bundle in bundles]
    moved, flips = look()
    if all(m.frames == _frames(suite, c) and not m.lost for m, c in zip(moved, chosen, strict=True)):
        try:
            for check in unchanged:
                check()
        except LockError:
            return moved, flips
        note(store, "frames", question, _plain(moved, flips))
    return moved, flips


def _frames(suite: Suite, chosen: Chosen) -> int:
    """Frames that are to be looked at for a prediction."""
    truths = next(t for t in suite.truths if chosen.prediction in t.head.predictions)
    return len(truths.judged(np.flatnonzero(np.isin(suite.frames.clip, chosen.clips))))


def _plain(moved: Sequence[Moved], flips: pa.Table) -> dict[str, Any]:
    told = [{**vars(m), "pictures": [_plain_picture(p) for p in m.pictures]} for m in moved]
    return {"moved": told, "flips": _text(parquet_of(flips))}


def _plain_picture(picture: Picture) -> dict[str, Any]:
    image = None if picture.image is None else _text(picture.image)
    sides = {side: _plain_drawing(getattr(picture, side)) for side in ("incumbent", "candidate")}
    return {**vars(picture), "image": image, **sides}


def _plain_drawing(drawing: Drawing) -> dict[str, Any]:
    places = _text(zlib.compress(drawing.raster.tobytes()))  # few kinds, in large patches
    return {**vars(drawing), "raster": [*drawing.raster.shape, places]}


def _seen(answer: Mapping[str, Any]) -> Seen:
    import pyarrow.parquet as pq

    moved = (
        Moved(**{**m, **_tuples(m, "clips", "kinds"), "pictures": tuple(map(_picture, m["pictures"]))})
        for m in answer["moved"]
    )
    # Not `read_table`, which imports pandas for datasets.
    return tuple(moved), pq.ParquetFile(BytesIO(b64decode(answer["flips"]))).read()


def _picture(told: Mapping[str, Any]) -> Picture:
    image = None if told["image"] is None else b64decode(told["image"])
    sides = {side: _drawing(told[side]) for side in ("incumbent", "candidate")}
    return Picture(**{**told, "image": image, **sides})


def _drawing(told: Mapping[str, Any]) -> Drawing:
    height, width, places = told["raster"]
    raster = np.frombuffer(zlib.decompress(b64decode(places)), np.uint8).reshape(height, width)
    return Drawing(**{**told, **_tuples(told, "facts", "boxes", "keys"), "raster": raster})


def _tuples(told: Mapping[str, Any], *fields: str) -> dict[str, Any]:
    """Fields that are tuples, of tuples some of them, which JSON knows as lists."""
    return {f: tuple(tuple(v) if isinstance(v, list) else v for v in told[f]) for f in fields}


def _text(data: bytes) -> str:
    return b64encode(data).decode()
