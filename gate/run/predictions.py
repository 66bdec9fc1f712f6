"""Bundles that bring predictions instead of networks: one row a frame, one column or tensor a head."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gate.errors import BundleError, shown
from gate.strict import NAME, read_json

Array = NDArray[Any]
FRAME_ID = "frame_id"
#: Bytes of a recording that is read at once, all columns together.
WHOLE = 1 << 26
#: Values of a Parquet file, all of which come to lie in memory, and bytes of frame ids, each as long as the longest: a
#: few kilobytes of a file can stand for any number of either.
MAX_VALUES, MAX_ID_TEXT = 1 << 27, 1 << 26
#: Bytes of the shortest id, as they are counted: every row costs a Python string, however short.
MIN_ID = 8
#: Bytes of the header of a safetensors file.
MAX_HEADER = 8 << 20
_MEND_ID = "write them as strings of a Parquet column, or as a (F, W) uint8 tensor, UTF-8 padded with zeros"


@dataclass(frozen=True)
class Recorded:
    """Predictions of one head. rows: (F,) row of each suite frame, -1 for none. read: rows (n,) -> (n, ...)."""

    rows: NDArray[np.int64]
    read: Callable[[NDArray[np.int64]], Array]
    dtype: str


def open_predictions(paths: Sequence[Path], ids: Array) -> dict[str, Recorded]:
    """Recorded heads of one network; `ids` are the suite's frame ids, (F,).

    Rows of other frames are not read. Raises BundleError for files that do not parse, repeated frame ids, and
    columns that are neither numbers nor lists of a fixed shape.
    """
    heads: dict[str, Recorded] = {}
    for path in paths:
        found = _parquet(path, ids) if path.suffix == ".parquet" else _safetensors(path, ids)
        for name, recorded in found.items():
            if name in heads:
                raise BundleError(f"head {name} is in two files", where=str(path))
            if not NAME.fullmatch(name) or "." in name:
                raise BundleError(f"'{shown(name)}' is not a head name", where=str(path))
            heads[name] = recorded
    return heads


def _rows(recorded: Array, ids: Array, path: Path) -> NDArray[np.int64]:
    order = np.argsort(recorded, kind="stable")
    ordered = recorded[order]
    if (ordered[1:] == ordered[:-1]).any():
        twice = ordered[1:][ordered[1:] == ordered[:-1]][0]
        raise BundleError(f"frame {shown(twice)} has two rows", where=str(path), mend="one row a frame")
    if not len(ordered):
        return np.full(len(ids), -1)
    at = np.minimum(np.searchsorted(ordered, ids), len(ordered) - 1)
    return np.where(ordered[at] == ids, order[at], -1)


def _parquet(path: Path, ids: Array) -> dict[str, Recorded]:
    import pyarrow as pa
    import pyarrow.parquet

    try:
        metadata = pyarrow.parquet.read_metadata(path, memory_map=True)
        size = _size(metadata, path)
        # Frame ids are kept as what they are in the file, each text once, until their size is known.
        file = pyarrow.parquet.ParquetFile(path, memory_map=True, metadata=metadata, read_dictionary=[FRAME_ID])
        schema = file.schema_arrow
        names = _texts(file.read([FRAME_ID]).column(0), path)
    except (OSError, pa.ArrowException) as error:
        raise BundleError(f"the predictions cannot be read: {shown(error)}", where=str(path)) from error
    rows = _rows(np.array(names, dtype=str), ids, path)
    whole: list[Any] = []

    def column(name: str) -> Any:
        # A call for each of a thousand small columns costs more than all that they hold.
        if size <= WHOLE and not whole:
            try:
                whole.append(file.read())
            except (OSError, pa.ArrowException):  # some column is damaged; one by one it will be known which
                whole.append(None)
        return whole[0].column(name) if whole and whole[0] is not None else file.read([name]).column(0)

    return {
        name: _column(column, name, schema.field(name).type, rows, path) for name in schema.names if name != FRAME_ID
    }


def _size(metadata: Any, path: Path) -> int:
    """Bytes of all columns in memory. Raises BundleError, before any is read, where these are too many."""
    groups = [metadata.row_group(k) for k in range(metadata.num_row_groups)]
    values = sum(group.column(k).num_values for group in groups for k in range(group.num_columns))
    if values > MAX_VALUES:
        raise BundleError(
            f"{values:,} values; the most is {MAX_VALUES:,}",
            where=str(path),
            mend="write large heads as .safetensors, or cut the recording to the frames of the suite",
        )
    names, schema = metadata.schema.to_arrow_schema().names, metadata.schema
    if len(set(names)) != len(names):
        raise BundleError("a column name stands twice", where=str(path))
    if FRAME_ID not in names:
        raise BundleError(f"there is no column '{FRAME_ID}'", where=str(path), mend=_MEND_ID)
    found = [k for k in range(len(schema)) if schema.column(k).path == FRAME_ID]
    # Of fixed length, a few bytes can stand for as many texts of any length, and no dictionary would show it.
    if len(found) != 1 or schema.column(found[0]).physical_type not in ("BYTE_ARRAY", "INT32", "INT64"):
        raise BundleError(f"column '{FRAME_ID}' holds neither strings nor integers", where=str(path), mend=_MEND_ID)
    texts = sum(group.column(found[0]).total_uncompressed_size for group in groups)
    if texts > 2 * MAX_ID_TEXT:  # where each has its length beside it
        what = f"{texts:,} bytes of frame ids; the most is {2 * MAX_ID_TEXT:,}"
        raise BundleError(what, where=str(path), mend="shorten them")
    return max(sum(group.total_byte_size for group in groups), 4 * values)


def _texts(column: Any, path: Path) -> list[str]:
    """Frame ids as texts; none is made before it is known how long they are."""
    import pyarrow as pa
    from pyarrow.compute import call_function

    def longest(texts: Any) -> int:
        return call_function("max", [call_function("binary_length", [texts])]).as_py() or 0

    if column.null_count:
        raise BundleError(f"an empty {FRAME_ID}", where=str(path))
    if pa.types.is_dictionary(column.type):
        _check_ids(len(column), max((longest(chunk.dictionary) for chunk in column.chunks), default=0), path)
    texts = column.cast(pa.string())
    _check_ids(len(texts), longest(texts), path)
    return texts.to_pylist()


def _check_ids(rows: int, longest: int, path: Path) -> None:
    if rows * max(longest, MIN_ID) > MAX_ID_TEXT:
        what = f"{rows:,} frame ids of up to {longest:,} bytes"
        raise BundleError(what, where=str(path), mend="shorten them, or cut the recording to the frames of the suite")


def _column(column: Callable[[str], Any], name: str, kind: Any, rows: NDArray[np.int64], path: Path) -> Recorded:
    """One column, read when it is first asked for; an empty value is NaN, so that it is seen as broken."""
    import pyarrow as pa

    inner = kind
    while pa.types.is_fixed_size_list(inner) or pa.types.is_list(inner) or pa.types.is_large_list(inner):
        inner = inner.value_type
    if not (pa.types.is_floating(inner) or pa.types.is_integer(inner) or pa.types.is_boolean(inner)):
        raise BundleError(f"column {shown(name)} holds {inner}, not numbers", where=str(path))
    loaded: list[Array] = []

    def read(at: NDArray[np.int64]) -> Array:
        if not loaded:
            try:
                loaded.append(_values(column(name), name, path))
            except (OSError, pa.ArrowException) as error:  # damaged pages are seen only now
                where = f"{path}, column {name}"
                raise BundleError(f"the predictions cannot be read: {shown(error)}", where=where) from error
        return loaded[0][at]

    return Recorded(rows, read, _ARROW.get(str(inner), str(inner)))


def _values(column: Any, name: str, path: Path) -> Array:
    import pyarrow as pa

    shape: list[int] = []
    flat = column.combine_chunks()
    while isinstance(flat, pa.FixedSizeListArray | pa.ListArray | pa.LargeListArray):
        if flat.null_count:
            raise BundleError(f"column {shown(name)} has empty lists", where=str(path), mend="leave the whole row out")
        lengths = flat.value_lengths().unique().to_pylist()
        if len(lengths) > 1:
            raise BundleError(f"column {shown(name)} holds lists of different lengths", where=str(path))
        shape.append(lengths[0] if lengths else 0)
        flat = flat.flatten()
    if not (pa.types.is_floating(flat.type) and not flat.null_count):
        flat = flat.cast(pa.float64())  # an empty value becomes NaN
    values = flat.to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
    return values.reshape(len(column), *shape)


def _safetensors(path: Path, ids: Array) -> dict[str, Recorded]:
    from safetensors import SafetensorError, safe_open

    try:
        with path.open("rb") as start:
            size = min(int.from_bytes(start.read(8), "little"), MAX_HEADER + 1)
            read_json(start.read(size), where=f"{path}: header", error=BundleError, max_bytes=MAX_HEADER)
        file = safe_open(path, framework="numpy")
        names = list(file.keys())
        if FRAME_ID not in names:
            raise BundleError(f"there is no tensor '{FRAME_ID}'", where=str(path), mend=_MEND_ID)
        part = file.get_slice(FRAME_ID)
        shape, kind = part.get_shape(), str(part.get_dtype())
        if kind != "U8" or len(shape) != 2:
            what = f"tensor '{FRAME_ID}' of {shown(kind)} and shape {shown(shape)} is not (F, W) uint8"
            raise BundleError(what, where=str(path), mend=_MEND_ID)
        _check_ids(shape[0], shape[1], path)
        index = file.get_tensor(FRAME_ID)
    except (OSError, SafetensorError) as error:
        raise BundleError(f"the predictions cannot be read: {shown(error)}", where=str(path)) from error
    try:
        frames = np.array([bytes(row).rstrip(b"\0").decode() for row in index], dtype=str)
    except UnicodeDecodeError as error:
        raise BundleError(f"'{FRAME_ID}' is not UTF-8", where=str(path)) from error
    rows = _rows(frames, ids, path)
    return {name: _tensor(file, name, rows, len(index), path) for name in names if name != FRAME_ID}


def _tensor(file: Any, name: str, rows: NDArray[np.int64], frames: int, path: Path) -> Recorded:
    part = file.get_slice(name)
    shape, kind = part.get_shape(), str(part.get_dtype())
    if not shape or shape[0] != frames:
        raise BundleError(f"tensor {shown(name)} has shape {shown(shape)} for {frames} frames", where=str(path))
    if kind not in _DTYPES:
        raise BundleError(f"tensor {shown(name)} holds {shown(kind)}, not numbers", where=str(path))

    def read(at: NDArray[np.int64]) -> Array:
        # Row by row from the mapped file: memory stays that of a batch, however long the recording.
        return np.concatenate([part[int(k) : int(k) + 1].astype(np.float32) for k in at])

    return Recorded(rows, read, _DTYPES[kind])


_DTYPES = {"F16": "float16", "F32": "float32", "F64": "float64", "I8": "int8", "I16": "int16", "I32": "int32"}
_DTYPES |= {"I64": "int64", "U8": "uint8"}
_ARROW = {"halffloat": "float16", "float": "float32", "double": "float64"}
