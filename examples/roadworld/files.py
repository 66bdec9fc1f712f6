"""Files whose bytes depend on nothing but their content: arrays and tables, written without a library's say."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MAGIC = b"\x93NUMPY\x01\x00"
_ALIGN = 64


def header(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    """The head of a .npy file, format 1.0; numpy's own changes its padding between versions."""
    text = f"{{'descr': '{dtype.newbyteorder('<').str}', 'fortran_order': False, 'shape': {shape}, }}"
    length = len(_MAGIC) + 2 + len(text) + 1
    text += " " * (-length % _ALIGN) + "\n"
    return _MAGIC + len(text).to_bytes(2, "little") + text.encode("latin1")


class Rows:
    """A .npy file that is written a few rows at a time, so that nobody holds all of them in memory."""

    def __init__(self, path: Path, rows: int) -> None:
        self.path, self.rows, self.done = path, rows, 0
        self.shape: tuple[int, ...] = ()

    def add(self, values: NDArray[Any]) -> None:
        """The next rows; the first tell what a row is."""
        little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
        with self.path.open("ab" if self.done else "wb") as file:
            if not self.done:
                self.shape = values.shape[1:]
                file.write(header((self.rows, *self.shape), values.dtype))
            assert values.shape[1:] == self.shape
            file.write(little.tobytes())
        self.done += len(values)
        assert self.done <= self.rows


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A .csv file with a line a row."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    path.write_bytes(text.getvalue().encode())
