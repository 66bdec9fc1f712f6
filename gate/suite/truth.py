"""Truth of each head, from columns, a table, a file a frame, an array or a table of boxes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gate.errors import ConfigError, SuiteError, shown
from gate.heads import Head
from gate.strict import NAME, relative_path
from gate.suite.definition import HeadRule, head_of
from gate.suite.frames import Frames, read_table
from gate.suite.inputs import file_names, read_array, read_picture
from gate.suite.rows import open_member, open_rows, rows_of

Array = NDArray[Any]


@dataclass(frozen=True)
class BoxTruth:
    """Boxes of some frames. frame: (n,) position among the rows asked for; label: (n,) channel, -1 for none of them;
    angle: (n,) NaN where none is known.
    """

    frame: NDArray[np.int64]
    label: NDArray[np.int64]
    corners: NDArray[np.float64]
    ignore: NDArray[np.bool_]
    angle: NDArray[np.float64]


@dataclass(frozen=True)
class Truths:
    """A head with the way to its truth.

    read: frame positions (B,) -> (B, ...) array or BoxTruth. files: what it is read from, relative to the suite.
    where: the place in suite.toml. present: (F,) frames that are judged, those with the input that the head requires;
    None for all.
    """

    head: Head
    read: Callable[[Array], Array | BoxTruth]
    files: tuple[str, ...]
    where: str
    present: NDArray[np.bool_] | None = None

    def judged(self, rows: Array) -> Array:
        """Those of some frame positions that are judged."""
        return rows if self.present is None else rows[self.present[rows]]

    def frames(self, start: int, stop: int) -> int:
        """How many frames of a run of them are judged."""
        return stop - start if self.present is None else int(np.count_nonzero(self.present[start:stop]))


def open_truth(
    rule: HeadRule, frames: Frames, root: Path, frame_id: str, where: str, present: NDArray[np.bool_] | None = None
) -> Truths:
    """Truth of one [[heads]] table. present: (F,) frames that are judged. Raises ConfigError or SuiteError, naming the
    place.
    """
    return replace(_opened(rule, frames, root, frame_id, where, present), present=present)


def _opened(
    rule: HeadRule, frames: Frames, root: Path, frame_id: str, where: str, present: NDArray[np.bool_] | None
) -> Truths:
    given = rule.truth
    if given.columns is not None:
        return _columns(rule, frames, where)
    if given.file is not None:
        names = file_names(given.file, frames, root, where=where, wanted=present)

        def read_files(rows: Array) -> Array:
            return _stacked([_label(root / names[int(k)]) for k in rows], where)

        head = head_of(rule, rule.channels or ("",))
        return Truths(head, read_files, tuple(filter(None, names)), where)
    text = given.table or given.array or ""
    path = relative_path(text, root, where=where)
    if not path.is_file():
        raise SuiteError(f"the file {text} does not exist", where=where, mend="put it beside suite.toml")
    if given.array is not None:
        return Truths(head_of(rule, rule.channels or ("",)), _array_reader(rule, frames, path, where), (text,), where)
    if given.box is not None:
        head = head_of(rule, rule.channels or ())
        return Truths(head, _box_reader(rule, frames, path, frame_id), (text,), where)
    return _table(rule, frames, path, text, frame_id, where)


def _label(path: Path) -> Array:
    return read_array(path) if path.suffix in (".npy", ".safetensors") else read_picture(path, "L")


def _stacked(parts: list[Array], where: str) -> Array:
    if len({p.shape for p in parts}) > 1:
        raise SuiteError(f"truths of different shapes: {sorted({p.shape for p in parts})}", where=where)
    return np.stack(parts)


def _columns(rule: HeadRule, frames: Frames, where: str) -> Truths:
    template = str(rule.truth.columns)
    channels = rule.channels or ("",)
    several = "{channel}" in template
    if not several and len(channels) > 1 and rule.task != "multiclass":
        raise ConfigError("several channels need `{channel}` in the name of the columns", where=where)
    names = [template.replace("{channel}", c) for c in channels] if several else [template]
    for name in names:
        if name not in frames.columns:
            raise ConfigError(f"there is no column '{shown(name)}' in the frame table", where=where)
    if rule.task == "multiclass":
        values = _classes(frames.columns[names[0]], channels, frames, f"{where}, column {names[0]}")
        return Truths(head_of(rule, channels), lambda rows: values[rows], (), where)
    values = np.stack([_numbers(frames.columns[n], frames, f"{where}, column {n}") for n in names], axis=1)
    return Truths(head_of(rule, channels), _reader(values), (), where)


def _numbers(values: Array, frames: Frames, where: str) -> Array:
    if not len(values):
        return np.zeros(0)
    if values.dtype.kind not in "biuf":
        bad = next((k for k, v in enumerate(values) if not _is_number(v)), 0)
        raise SuiteError(f"'{shown(values[bad])}' is not a number", where=f"{where}, frame {shown(frames.ids[bad])}")
    return values.astype(np.float64)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _classes(values: Array, channels: tuple[str, ...], frames: Frames, where: str) -> Array:
    """(F,) positions in `channels`, -1 where nobody labelled the frame."""
    if values.dtype.kind in "biuf":
        if any(name.isdigit() for name in channels):
            raise ConfigError("channels named by numbers, and a truth of numbers: is 2 a name or a place?", where=where)
        # Still floats: what is no whole number, or out of range, is refused where the truth is checked.
        return np.where(np.isnan(values.astype(np.float64)), -1.0, values.astype(np.float64))
    position = {name: k for k, name in enumerate(channels)} | {"": -1}
    for k, value in enumerate(values):
        if str(value) not in position:
            raise SuiteError(
                f"'{shown(value)}' is not one of the channels", where=f"{where}, frame {shown(frames.ids[k])}"
            )
    return np.array([position[str(v)] for v in values])


def _table(rule: HeadRule, frames: Frames, path: Path, text: str, frame_id: str, where: str) -> Truths:
    table = read_table(path, {frame_id})
    if frame_id not in table:
        raise SuiteError(f"there is no column '{frame_id}'", where=str(path))
    columns = tuple(name for name in table if name != frame_id)
    channels = rule.channels or columns
    if not channels:
        raise SuiteError("the table has no channels: no column besides the frame id", where=str(path))
    for name in channels:
        if name not in table:
            raise SuiteError(
                f"there is no column '{shown(name)}'", where=str(path), mend="mend `channels`, or the table"
            )
        if not NAME.fullmatch(name):
            raise SuiteError(f"'{shown(name)}' is not a channel name", where=str(path))
    rows = _rows_of(table[frame_id], frames, str(path))
    values = np.stack([_numbers(table[name][rows], frames, f"{path}, column {name}") for name in channels], axis=1)
    return Truths(head_of(rule, channels), _reader(values), (text,), where)


def _reader(values: Array) -> Callable[[Array], Array]:
    """Reads rows of float64 numbers, which are kept in the narrowest floats that hold them all: labels in a quarter."""
    with np.errstate(over="ignore"):
        narrow = (values.astype(kind) for kind in (np.float16, np.float32))
        kept = next((n for n in narrow if np.array_equal(n, values, equal_nan=True)), values)
    return lambda rows: kept[rows].astype(np.float64)


def _rows_of(ids: Array, frames: Frames, where: str) -> Array:
    """Row of each frame in a table keyed by frame id. Raises SuiteError for ids that are missing or stand twice."""
    if not len(ids):
        raise SuiteError("the table is empty: no truth for any frame", where=where)
    order = np.argsort(ids, kind="stable")
    ordered = ids[order]
    if (ordered[1:] == ordered[:-1]).any():
        twice = ordered[1:][ordered[1:] == ordered[:-1]][0]
        raise SuiteError(f"frame {shown(twice)} stands twice", where=where)
    at = np.searchsorted(ordered, frames.ids)
    missing = (at == len(ordered)) | (ordered[np.minimum(at, len(ordered) - 1)] != frames.ids)
    if missing.any():
        raise SuiteError(
            f"no truth for {missing.sum()} of {len(missing)} frames, the first is {shown(frames.ids[missing][0])}",
            where=where,
        )
    return order[at]


def _array_reader(rule: HeadRule, frames: Frames, path: Path, where: str) -> Callable[[Array], Array]:
    if rule.truth.row is not None:
        array = open_rows(path)
        row = rows_of(rule.truth.row, frames, array, where=f"{where}, file {path.name}")
        return lambda at: array.read(row[at])
    array, ids = open_member(path, str(rule.truth.key), str(rule.truth.rows), where=where)
    if ids.ndim != 1 or array.shape[:1] != ids.shape:
        raise SuiteError(
            f"truths of shape {array.shape} for row ids of shape {ids.shape}", where=f"{where}, file {path.name}"
        )
    rows = _rows_of(ids, frames, str(path))
    return lambda at: array.read(rows[at])


def _box_reader(rule: HeadRule, frames: Frames, path: Path, frame_id: str) -> Callable[[Array], BoxTruth]:
    given = rule.truth
    assert given.class_ is not None
    assert given.box is not None
    table = read_table(path, {frame_id, given.class_})
    for name in (frame_id, given.class_, *given.box, *(c for c in (given.ignore, given.angle) if c)):
        if name not in table:
            raise SuiteError(f"there is no column '{shown(name)}'", where=str(path))
    unknown = sorted(set(table[frame_id].tolist()) - frames.known)
    if unknown:
        raise SuiteError(f"boxes of {len(unknown)} unknown frames, such as {shown(unknown[0])}", where=str(path))
    classes, named = set(table[given.class_].tolist()), rule.channels or ()
    silent = [name for name in named if name not in classes]
    if silent and classes - set(named):
        other = ", ".join(shown(c, 40) for c in sorted(classes - set(named))[:5])
        raise SuiteError(f"no box of class '{silent[0]}', but of {other}", where=str(path), mend="mend the classes")
    position = {name: k for k, name in enumerate(frames.ids.tolist())}
    frame = np.array([position.get(name, -1) for name in table[frame_id].tolist()], dtype=np.int64)
    kept = np.flatnonzero(frame >= 0)
    kept = kept[np.argsort(frame[kept], kind="stable")]
    frame = frame[kept]
    channel = {name: k for k, name in enumerate(rule.channels or ())}
    label = np.array([channel.get(name, -1) for name in table[given.class_][kept].tolist()], dtype=np.int64)
    corners = np.stack([_numbers(table[c], frames, f"{path}, column {c}") for c in given.box], axis=1)[kept]
    ignored = _numbers(table[given.ignore], frames, f"{path}, column {given.ignore}")[kept] if given.ignore else None
    ignore = np.zeros(len(kept), bool) if ignored is None else ignored == 1
    angle = np.full(len(kept), np.nan)
    if given.angle:
        angle = _numbers(table[given.angle], frames, f"{path}, column {given.angle}")[kept]

    def read(at: Array) -> BoxTruth:
        low, high = np.searchsorted(frame, at, "left"), np.searchsorted(frame, at, "right")
        chosen = np.concatenate([np.arange(0), *(np.arange(a, b) for a, b in zip(low, high, strict=True))])
        within = np.repeat(np.arange(len(at)), high - low)
        return BoxTruth(within, label[chosen], corners[chosen], ignore[chosen], angle[chosen])

    return read


def check_truth(truths: Truths, frames: Frames, rows: Array) -> tuple[int, ...]:
    """Raises SuiteError for a truth out of range, naming head, frame and value; answers the shape of one frame."""
    head, value = truths.head, truths.read(rows)
    if isinstance(value, BoxTruth):
        bad = ~np.isfinite(value.corners).all(axis=1) | (value.corners[:, 2:] <= value.corners[:, :2]).any(axis=1)
        if bad.any():
            k = int(np.flatnonzero(bad)[0])
            _refuse(truths, f"box {value.corners[k].tolist()} has no area", frames, int(rows[value.frame[k]]))
        beyond, allowed = _not_a_direction(value.angle, head)
        if beyond.any():
            k = int(np.flatnonzero(beyond)[0])
            what = f"angle {value.angle[k]:g} out of range ({allowed})"
            _refuse(truths, what, frames, int(rows[value.frame[k]]))
        return ()
    if value.dtype.kind not in "biuf":
        _refuse(truths, f"a truth of type {value.dtype}, which is no number", frames, int(rows[0]))
    _check_dims(truths, value, frames, int(rows[0]))
    number = value.astype(np.float64)
    if head.task == "depth":
        wrong = np.isposinf(number)
        allowed = "finite, or 0 or NaN where nobody measured"
    elif head.task == "orientation":
        wrong, allowed = _not_a_direction(number, head)
    elif head.task == "regression":
        wrong = np.isinf(number)
        allowed = "finite, or empty where nobody measured"
    elif head.task in ("segmentation", "multiclass"):
        wrong = (number < (-1 if head.task == "multiclass" else 0)) | (number >= len(head.channels))
        wrong |= number != np.round(number)
        allowed = f"0 to {len(head.channels) - 1}"
    else:
        wrong = ~((number == 0) | (number == 1) | np.isnan(number))
        allowed = "0 or 1"
    if head.ignore is not None and head.task != "multiclass":
        wrong &= number != head.ignore
        allowed += f", or {head.ignore} to ignore"
    if wrong.any():
        place = np.argwhere(wrong)[0]
        _refuse(truths, f"truth {number[tuple(place)]:g} out of range ({allowed})", frames, int(rows[place[0]]))
    return value.shape[1:]


def _not_a_direction(angle: Array, head: Head) -> tuple[Array, str]:
    """Where an angle is beyond a full turn, and what is allowed: degrees given for radians are found out."""
    turn = 2 * np.pi if head.unit == "radians" else 360.0
    # False for NaN; an angle in radians is rounded somewhere.
    return np.abs(angle) > turn * (1 + 1e-6), f"-{turn:g} to {turn:g} {head.unit}, or empty where nobody measured"


def _check_dims(truths: Truths, value: Array, frames: Frames, row: int) -> None:
    """A raster truth is (H, W) a frame; of several channels, one raster for each of them, but for segmentation."""
    head, channels = truths.head, len(truths.head.channels)
    if head.task in ("binary", "multilabel", "regression") and value.shape[1:] != (channels,):
        _refuse(
            truths, f"a truth of shape {value.shape[1:]} a frame; {channels} channels want ({channels},)", frames, row
        )
    if head.task not in ("segmentation", "occupancy", "depth", "orientation"):
        return
    if head.task == "orientation" and value.ndim == 2 and value.shape[1] == channels:
        return  # a direction a frame and channel
    classes = head.task == "segmentation"
    single = value.ndim == 3 and (classes or channels == 1)
    each = value.ndim == 4 and not classes and value.shape[1] == channels
    if not (single or each):
        wanted = f"({channels}, height, width)" if not classes and channels > 1 else "(height, width)"
        _refuse(truths, f"a truth of shape {value.shape[1:]} a frame; {head.task} wants {wanted}", frames, row)


def _refuse(truths: Truths, what: str, frames: Frames, row: int) -> None:
    raise SuiteError(
        what, where=f"{truths.where}, head {truths.head.name}, frame {shown(frames.ids[row])}", mend="mend the truth"
    )
