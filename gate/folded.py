"""Evidence that waits: in a quarter of the memory of a table, added up and unfolded where it is read."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gate.evidence import add_exact
from gate.table import _CODE, EvidenceTable, Ints, empty, sum_equal_keys

#: Entries of each table that are sorted together with those of the others.
_SORTED = 1 << 15
#: Bytes that are worth a file: each is held open.
_ASIDE = 1 << 20


@dataclass(frozen=True)
class Folded:
    """A table that waits to be added to others, to be written or to be looked at, in a quarter of its memory.

    bare: without its entries. rows: (S,) how many entries each series has. fall: (n,) uint16, 65535 - code; cell: (n,)
    cell << 1 | label; counts: (n,); both in the narrowest integers. Entries are in the order of the table.
    """

    bare: EvidenceTable
    rows: Ints
    fall: NDArray[np.uint16]
    cell: NDArray[np.integer]
    counts: NDArray[np.integer]

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in (self.fall, self.cell, self.counts, self.bare.moments))


def folded(table: EvidenceTable) -> Folded:
    """The table, folded; `unfolded` gives it back."""
    none, cell = np.zeros(0, np.int64), narrowed(table.keys & ((1 << _CODE) - 1))
    bare = replace(table, keys=none, counts=none)
    return Folded(bare, table.sizes, (table.keys >> _CODE).astype(np.uint16), cell, narrowed(table.counts))


def unfolded(table: Folded, rows: Ints | None = None) -> EvidenceTable:
    """The table that was folded, or the chosen series of it; rows: ascending positions."""
    if rows is not None and len(rows) < len(table.rows):
        ends = np.cumsum(table.rows)[rows]
        runs = [slice(a, b) for a, b in zip((ends - table.rows[rows]).tolist(), ends.tolist(), strict=True)]
        fall = np.concatenate([table.fall[:0], *(table.fall[run] for run in runs)])
        cell, counts = (np.concatenate([v[:0], *(v[run] for run in runs)]) for v in (table.cell, table.counts))
        return unfolded(Folded(table.bare.take(rows), table.rows[rows], fall, cell, counts))
    keys = _keys(table, np.r_[0, np.cumsum(table.rows)], (0, len(table.fall)), _CODE, np.int64)
    return replace(table.bare, keys=keys, counts=table.counts.astype(np.int64))


def set_aside(tables: Sequence[Folded]) -> list[Folded]:
    """The same tables with entries and sums in one nameless file, which ends with them: the system can take their
    memory, so that a suite of any size fits. Where nothing can be written they stay as they are.
    """
    if sum(table.nbytes for table in tables) < _ASIDE:
        return list(tables)
    arrays = [array for table in tables for array in (table.fall, table.cell, table.counts, table.bare.moments)]
    starts: list[int] = []
    try:
        with tempfile.TemporaryFile() as file:
            for array in arrays:
                starts.append(file.seek(-file.tell() % array.itemsize, os.SEEK_CUR))
                file.write(np.ascontiguousarray(array).data)
            file.flush()
            # Only read, and of a file that nobody else can name: it does not become shorter under its readers.
            held = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError:
        return list(tables)
    there: list[NDArray[Any]] = [
        np.frombuffer(held, a.dtype, a.size, start).reshape(a.shape) if a.size else a
        for a, start in zip(arrays, starts, strict=True)
    ]
    return [
        Folded(replace(table.bare, moments=moments), table.rows, fall, cell, counts)
        for table, fall, cell, counts, moments in zip(tables, *(there[k::4] for k in range(4)), strict=True)
    ]


def narrowed(values: NDArray[np.integer]) -> NDArray[np.integer]:
    """The same integers in the narrowest type that holds them."""
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    kinds = (np.uint8, np.uint16, np.uint32) if low >= 0 else (np.int8, np.int16, np.int32)
    fits = (kind for kind in kinds if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max)
    return values.astype(next(fits, np.int64))


def _keys(table: Folded, starts: Ints, run: Sequence[int], bits: int, kind: type[np.integer]) -> NDArray[Any]:
    """Keys of a run of entries, with so many bits for cell and label; starts: (S + 1,) first entry of each series."""
    keys = np.repeat(np.arange(len(table.rows), dtype=kind) << 16 + bits, np.diff(np.clip(starts, run[0], run[1])))
    keys |= table.fall[slice(*run)].astype(kind) << bits
    keys |= table.cell[slice(*run)].astype(kind)
    return keys


def adjoined(tables: Sequence[Folded], first: Sequence[int], cells: int) -> Folded:
    """Sum of tables over the same rows and sums; cell 0 of table k is cell `first[k]` of so many `cells`.

    Raises EvidenceError where 64 bits do not hold a sum.
    """
    if len(tables) == 1 and tables[0].bare.cells == cells:
        return tables[0]
    whole = empty(tables[0].bare.series, cells, tables[0].bare.names)
    for table, start in zip(tables, first, strict=True):
        here = whole.moments[:, start : start + table.bare.cells]
        here[...] = add_exact(here, table.bare.moments)
    # Part by part: what is sorted takes several times the memory of what is folded. Entries of one score stay together.
    given = tables, [np.r_[0, np.cumsum(table.rows)] for table in tables]
    cuts = np.unique(np.concatenate([_places(*one) for one in zip(*given, strict=True)]))
    borders = [_borders(*one, cuts) for one in zip(*given, strict=True)]
    # Keys of half the width, where they hold everything, sort twice as fast.
    last, bits = len(whole.series) - 1, (2 * cells - 1).bit_length()
    kind = np.uint32 if last.bit_length() + 16 + bits <= 32 else np.int64
    series, cell_kind = np.arange(1, last + 1, dtype=kind) << 16 + bits, np.min_scalar_type(2 * cells - 1)
    rows, size, end = np.zeros(last + 1, np.int64), sum(len(t.fall) for t in tables), 0
    fall, cell = np.empty(size, np.uint16), np.empty(size, cell_kind)
    count = np.empty(size, np.result_type(*(t.counts for t in tables)))
    for k in range(len(cuts)):
        runs = [border[k : k + 2] for border in borders]
        keys = np.concatenate(
            [_keys(t, s, r, bits, kind) + kind(f << 1) for t, s, r, f in zip(*given, runs, first, strict=True)]
        )
        counts = np.concatenate([t.counts[slice(*r)] for t, r in zip(tables, runs, strict=True)])
        keys, counts = sum_equal_keys(keys, counts)
        counts = narrowed(counts)
        rows += np.diff(np.r_[0, np.searchsorted(keys, series), len(keys)])
        place = slice(end, end := end + len(keys))
        fall[place], cell[place] = (keys >> bits).astype(np.uint16), keys & kind((1 << bits) - 1)
        count = count.astype(np.result_type(count, counts), copy=False)
        count[place] = counts
    return Folded(whole, rows, fall[:end], cell[:end], count[:end])


def _places(table: Folded, starts: Ints) -> Ints:
    """series | 65535 - code of an entry now and then."""
    some = np.arange(0, len(table.fall), _SORTED)
    return (np.searchsorted(starts, some, "right") - 1) << 16 | table.fall[some]


def _borders(table: Folded, starts: Ints, cuts: Ints) -> list[int]:
    """Where the entries from each cut on begin, a place as above, and where the last ends."""
    runs = ((np.uint16(c & 0xFFFF), *starts[c >> 16 : (c >> 16) + 2].tolist()) for c in cuts.tolist())
    return [*(low + int(np.searchsorted(table.fall[low:high], fall)) for fall, low, high in runs), len(table.fall)]
