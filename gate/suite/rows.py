"""Arrays of all frames, one row a frame, of which only the rows that are asked for are read."""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from gate.errors import ConfigError, SuiteError, shown
from gate.suite.frames import Frames

Array = NDArray[Any]
#: Of the local header of a file in a ZIP archive (APPNOTE 4.3.7): its length, up to the name that follows.
_LOCAL = 30
#: Bytes of a compressed array, which is held whole: a few megabytes of zeros can stand for any number.
_MAX_HELD = 4 << 30


@dataclass(frozen=True)
class Rows:
    """An array in a file. shape: (N, ...). read: positions (B,) -> (B, ...), as they are asked for; raises SuiteError
    when they are not there any more.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[NDArray[np.int64]], Array]


def open_rows(path: Path) -> Rows:
    """A .npy file of all frames. Raises SuiteError; nothing is unpickled."""
    try:
        with path.open("rb") as file:
            array = _opened(path, file, lambda: np.load(path, allow_pickle=False)) if path.suffix == ".npy" else None
    except FileNotFoundError as error:
        raise SuiteError("no such file", where=str(path)) from error
    except Exception as error:  # numpy raises many kinds; each means "not such a file"
        raise SuiteError(f"the array cannot be read: {shown(error)}", where=str(path)) from error
    if array is None or not array.shape:
        raise SuiteError("an array of all frames is a .npy file with one row a frame", where=str(path))
    return array


def open_member(path: Path, key: str, rows: str, *, where: str) -> tuple[Rows, Array]:
    """An array of a .npz file, with the ids of its rows, which another array of that name holds.

    Rows of a compressed array cannot be read one by one: it is held whole. Raises SuiteError; nothing is unpickled.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            missing = [name for name in (key, rows) if name not in arrays]
            if not missing:
                inside = arrays.zip.getinfo(f"{key}.npy")
                _check_held(path, inside, arrays.zip.getinfo(f"{rows}.npy"))
                ids = arrays[rows].astype(str)
                if inside.compress_type != zipfile.ZIP_STORED:
                    return _held(arrays[key]), ids
                with arrays.zip.open(inside) as bits:  # to its end, where its checksum is compared
                    while bits.read(1 << 20):
                        pass
                file.seek(inside.header_offset + _LOCAL - 4)
                file.seek(sum(struct.unpack("<HH", file.read(4))), 1)
                return _opened(path, file, lambda: arrays[key]), ids
    except SuiteError:
        raise
    except Exception as error:  # numpy raises many kinds; each means "not such a file"
        raise SuiteError(f"the arrays cannot be read: {shown(error)}", where=str(path)) from error
    raise SuiteError(f"there is no array '{shown(missing[0])}'", where=f"{where}, file {path.name}")


def _check_held(path: Path, *members: zipfile.ZipInfo) -> None:
    """Raises SuiteError for compressed arrays that would fill the memory; none inflates to more than it says."""
    for one in members:
        if one.compress_type != zipfile.ZIP_STORED and one.file_size > _MAX_HELD:
            what = f"a compressed array of {one.file_size:,} bytes; the most is {_MAX_HELD:,}"
            where = f"{path}, array {shown(one.filename.removesuffix('.npy'))}"
            raise SuiteError(what, where=where, mend="save it with np.savez: rows of plain arrays are read one by one")


def _opened(path: Path, file: IO[bytes], whole: Callable[[], Array]) -> Rows:
    """The array whose header begins here in a file; whole: reads all of it, where rows do not lie one after another."""
    version = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, in_columns, dtype = header(file)
    if dtype.hasobject or in_columns or not shape or not prod(shape):
        return _held(whole())
    start, size = file.tell(), dtype.itemsize * prod(shape[1:])
    if os.fstat(file.fileno()).st_size < start + size * shape[0]:
        raise ValueError("it ends too early")

    def read(at: NDArray[np.int64]) -> Array:
        out = np.empty((len(at), *shape[1:]), dtype)
        ends = [*np.flatnonzero(np.diff(at, prepend=-2) != 1).tolist(), len(at)]  # neighbours are read as one
        try:
            with path.open("rb") as again:
                for first, stop in pairwise(ends):
                    again.seek(start + int(at[first]) * size)
                    if again.readinto(out[first:stop].view(np.uint8).data) != (stop - first) * size:
                        raise OSError("it ends too early")
        except OSError as error:
            what = f"the array cannot be read: {error.strerror or error}"
            raise SuiteError(what, where=str(path), mend="restore the file") from error
        return out

    return Rows(shape, dtype, read)


def _held(array: Array) -> Rows:
    return Rows(array.shape, array.dtype, lambda at: array[at])


def rows_of(column: str, frames: Frames, array: Rows, *, where: str) -> NDArray[np.int64]:
    """Which row of an array each frame has, (F,). Raises ConfigError without the column, SuiteError for no such row."""
    if column not in frames.columns:
        raise ConfigError(f"there is no column '{shown(column)}' in the frame table", where=where)
    rows, count = frames.columns[column], array.shape[0]
    if rows.dtype.kind not in "iu" or ((rows < 0) | (rows >= count)).any():
        raise SuiteError(
            f"column {shown(column)} does not hold rows of an array of {count} rows: 0 to {count - 1}",
            where=where,
            mend="mend the frame table, or write the array anew",
        )
    return rows.astype(np.int64)
