"""Evidence of thousands of predictions on every cell of a suite, as a few arrays.

The same algebra as `gate.evidence`, at the other size: a row of the table is the evidence of that series.
Events are one sorted array of 64-bit keys with counts,

    key = series (24 bits) | 65535 - code (16 bits) | cell (22 bits) | label (1 bit)

so merging shards, in any order, is one sort and one segmented sum, and keys ascend as curves are read: series by
series, from the highest score down, positives that got no score last.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gate.errors import EvidenceError
from gate.evidence import STEPS, Evidence, Moments, ScoredEvents, add_exact
from gate.heads import Series

Width = TypeVar("Width", bound=np.integer)
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

#: Places of series, falling code and cell in a key; the label is its last bit.
_SERIES, _CODE, _CELL = 39, 23, 1
_MAX_CELLS, _MAX_SERIES = 1 << (_CODE - _CELL), 1 << 24


@dataclass(frozen=True)
class EvidenceTable:
    """series: rows, (S,). cells: number of cells C. keys, counts: (n,) int64 histogram entries, keys ascending.

    names: M names of sums; moments: (S, C, M) int64, reals (`sum_...`) in steps of 2^-30.
    """

    series: tuple[Series, ...]
    cells: int
    keys: Ints
    counts: Ints
    names: tuple[str, ...]
    moments: Ints

    def __add__(self, other: EvidenceTable) -> EvidenceTable:
        return merge([self, other])

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, EvidenceTable)
            and (self.series, self.cells, self.names) == (other.series, other.cells, other.names)
            and np.array_equal(self.keys, other.keys)
            and np.array_equal(self.counts, other.counts)
            and np.array_equal(self.moments, other.moments)
        )

    __hash__ = None  # type: ignore[assignment]  # arrays are compared, never hashed

    def row(self, series: int, cell: int) -> Evidence:
        """Evidence of one series on one cell."""
        keys, counts = _taken(self.keys, self.counts, np.array([series]))
        entries = Entries(1, keys, counts)
        here = np.flatnonzero(entries.cell == cell)
        here = here[np.lexsort((entries.code[here], entries.positive[here]))]
        events = ScoredEvents(
            tuple(entries.code[here].tolist()),
            tuple(entries.positive[here].tolist()),
            tuple(counts[here].tolist()),
        )
        return Evidence(events, Moments(self.names, tuple(self.moments[series, cell].tolist())))

    @property
    def sizes(self) -> Ints:
        """(S,) entries of each series."""
        return np.diff(by_score(self).starts)

    def sums(self, name: str) -> Floats:
        """One named sum, (S, C) float64, reals in the unit of the head."""
        values = self.moments[:, :, self.names.index(name)].astype(np.float64)
        return values / STEPS if name.startswith("sum_") else values

    def take(self, rows: Ints) -> EvidenceTable:
        """The table of the chosen series only; rows: ascending positions."""
        series = tuple(self.series[k] for k in rows.tolist())
        keys, counts = _taken(self.keys, self.counts, rows)
        return EvidenceTable(series, self.cells, keys, counts, self.names, self.moments[rows])


def _taken(keys: Ints, counts: Ints, rows: Ints) -> tuple[Ints, Ints]:
    """Entries of the chosen series, renumbered 0, 1, … in the order of `rows`."""
    if len(rows) and (np.diff(rows) == 1).all():  # a run: its entries are one slice
        low, high = np.searchsorted(keys, np.array([rows[0], rows[-1] + 1]) << _SERIES)
        return keys[low:high] - (rows[0] << _SERIES) if rows[0] else keys[low:high], counts[low:high]
    if not len(rows):
        return keys[:0], counts[:0]
    first, end = np.searchsorted(keys, np.stack([rows, rows + 1]) << _SERIES)
    # Series side by side are copied as one slice: no index is made of every entry.
    begins = np.flatnonzero(np.r_[True, first[1:] != end[:-1]])
    runs = [slice(a, b) for a, b in zip(first[begins], end[np.r_[begins[1:], len(rows)] - 1], strict=True)]
    taken = np.concatenate([keys[run] for run in runs])
    taken += np.repeat(np.arange(len(rows)) - rows, end - first) << _SERIES
    return taken, np.concatenate([counts[run] for run in runs])


def empty(series: Sequence[Series], cells: int, names: Sequence[str] = ()) -> EvidenceTable:
    """The zero of `+` for these rows and cells. Raises EvidenceError beyond 16 M rows or 4 M cells."""
    if cells > _MAX_CELLS or len(series) > _MAX_SERIES:
        raise EvidenceError(f"{len(series)} rows x {cells} cells are too many for one table")
    none = np.zeros(0, np.int64)
    moments = np.zeros((len(series), cells, len(names)), np.int64)
    return EvidenceTable(tuple(series), cells, none, none, tuple(names), moments)


def histogram(series: Ints, cell: Ints, positive: NDArray[np.bool_], codes: NDArray[np.uint16]) -> tuple[Ints, Ints]:
    """(keys, counts) of flat events; all arguments have one entry an event."""
    if not series.size:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    rest_bits = int(cell.max()).bit_length() + 1  # cell | label
    if int(series.max()).bit_length() + 16 + rest_bits <= 32:
        # Half the width sorts twice as fast; the wide keys are made of what is left.
        narrow = _packed(series.astype(np.uint32), cell.astype(np.uint32), positive, codes, rest_bits)
        short, counts = _counted(narrow)
        return (short >> rest_bits << _CODE) | (short & ((1 << rest_bits) - 1)), counts
    return _counted(keys_of(series, cell, positive, codes))


def keys_of(series: Ints, cell: Ints, positive: NDArray[np.bool_], codes: NDArray[np.uint16]) -> Ints:
    """Keys of flat events, in their order."""
    return _packed(series.astype(np.int64), cell.astype(np.int64), positive, codes, _CODE)


def _packed(
    series: NDArray[Width], cell: NDArray[Width], positive: NDArray[np.bool_], codes: NDArray[np.uint16], rest_bits: int
) -> NDArray[Width]:
    """Keys with so many bits for cell and label, in place of `series`."""
    series <<= 16
    series |= ~codes
    series <<= rest_bits
    cell <<= 1
    series |= cell
    series |= positive
    return series


def _counted(values: NDArray[np.integer]) -> tuple[Ints, Ints]:
    """Distinct values, ascending, and how often each occurs, both int64; sorts `values` in place."""
    values.sort()
    starts = _first_of_equal(values)
    return values[starts].astype(np.int64), np.diff(starts, append=len(values))


def _first_of_equal(values: NDArray[np.integer]) -> Ints:
    """Where each run of equal values begins; values: at least one."""
    new = np.empty(len(values), bool)
    new[0] = True
    np.not_equal(values[1:], values[:-1], out=new[1:])
    return np.flatnonzero(new)


def merge(tables: Iterable[EvidenceTable]) -> EvidenceTable:
    """Sum of tables over the same rows, cells and sums. Raises EvidenceError when these differ."""
    parts = list(tables)
    first = parts[0]
    if len(parts) == 1:
        return first
    moments = first.moments
    for part in parts[1:]:
        if (part.series, part.cells, part.names) != (first.series, first.cells, first.names):
            raise EvidenceError("evidence of different heads or suites cannot be added")
        moments = add_exact(moments, part.moments)
    keys, counts = sum_equal_keys(np.concatenate([p.keys for p in parts]), np.concatenate([p.counts for p in parts]))
    return EvidenceTable(first.series, first.cells, keys, counts, first.names, moments)


def sum_equal_keys(keys: NDArray[np.integer], counts: NDArray[np.integer]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Entries in ascending order of their keys, those of equal keys as one; counts are added up in int64."""
    if not keys.size:
        return keys, counts
    order = np.argsort(keys, kind="stable")
    keys, counts = keys[order], counts[order]
    starts = _first_of_equal(keys)
    if len(starts) == len(keys):
        return keys, counts
    return keys[starts], np.add.reduceat(counts, starts, dtype=np.int64)


def stack(tables: Sequence[EvidenceTable], names: tuple[str, ...] = ()) -> EvidenceTable:
    """Tables of different heads over the same cells as one; a sum that a head does not have is zero there.

    names: of sums, more than the tables have between them.
    """
    names = names or tuple(sorted({name for table in tables for name in table.names}))
    series = tuple(row for table in tables for row in table.series)
    cells = tables[0].cells if tables else 0
    moments = np.zeros((len(series), cells, len(names)), np.int64)
    keys = np.empty(sum(len(table.keys) for table in tables), np.int64)
    row = entry = 0
    for table in tables:
        end = row + len(table.series)
        np.add(table.keys, row << _SERIES, out=keys[entry : entry + len(table.keys)])
        moments[row:end, :, [names.index(name) for name in table.names]] = table.moments
        row, entry = end, entry + len(table.keys)
    counts = np.concatenate([np.zeros(0, np.int64), *(table.counts for table in tables)])
    return EvidenceTable(series, cells, keys, counts, names, moments)


def sums_at(place: Ints, weights: NDArray[np.generic], shape: tuple[int, ...]) -> Floats:
    """Sums of weights by flat place, in the given shape; of counts they are exact."""
    return np.bincount(place, weights, int(np.prod(shape))).astype(np.float64, copy=False).reshape(shape)


def digest(table: EvidenceTable) -> str:
    """SHA-256 of all that a table holds."""
    said = hashlib.sha256(repr((table.series, table.cells, table.names)).encode())
    for values in (table.keys, table.counts, table.moments):
        said.update(np.ascontiguousarray(values).data)
    return said.hexdigest()


def apart(table: EvidenceTable, series: Sequence[tuple[Series, ...]]) -> list[EvidenceTable]:
    """Neighbouring rows as tables of their own, so many rows each as `series` names; the inverse of `stack`."""
    starts, parts, first = by_score(table).starts.tolist(), [], 0
    for names in series:
        end = first + len(names)
        entries = slice(starts[first], starts[end])
        # Both are copies: a view would hold the memory of the whole table.
        keys, counts = table.keys[entries] - (first << _SERIES), table.counts[entries].copy()
        parts.append(EvidenceTable(names, table.cells, keys, counts, table.names, table.moments[first:end]))
        first = end
    return parts


def mixed(tables: Sequence[EvidenceTable], which: Ints) -> EvidenceTable:
    """Row k of table `which[k]`, (S,): tables over the same rows, cells and sums."""
    kept = [np.flatnonzero(which[table.keys >> _SERIES] == k) for k, table in enumerate(tables)]
    keys = np.concatenate([t.keys[rows] for t, rows in zip(tables, kept, strict=True)])
    counts = np.concatenate([t.counts[rows] for t, rows in zip(tables, kept, strict=True)])
    order = np.argsort(keys, kind="stable")
    moments = np.stack([tables[k].moments[row] for row, k in enumerate(which.tolist())])
    first = tables[0]
    return EvidenceTable(first.series, first.cells, keys[order], counts[order], first.names, moments)


@dataclass(frozen=True)
class Entries:
    """Histogram entries in the order in which curves are read; missed positives come last in their series.

    keys, count: (n,) int64, of a table. rows: number of series.
    """

    rows: int
    keys: Ints
    count: Ints

    @cached_property
    def starts(self) -> Ints:
        """(rows + 1,) first entry of each series."""
        return np.r_[np.searchsorted(self.keys, np.arange(self.rows) << _SERIES), len(self.keys)]

    @cached_property
    def place(self) -> Ints:
        """(n,) series | 65535 - code: entries that share it are equal scores of one series."""
        return self.keys >> _CODE

    @cached_property
    def series(self) -> Ints:
        return self.keys >> _SERIES

    @cached_property
    def code(self) -> Ints:
        return ~self.place & 0xFFFF

    @cached_property
    def cell(self) -> Ints:
        return self.keys >> _CELL & (_MAX_CELLS - 1)

    @cached_property
    def positive(self) -> NDArray[np.bool_]:
        return (self.keys & 1).astype(bool)

    def of_cells(self, cells: NDArray[np.bool_]) -> Entries:
        """Those of the chosen cells, (C,) bool."""
        if cells.all():
            return self
        kept = np.flatnonzero(cells[self.cell])
        return Entries(self.rows, self.keys[kept], self.count[kept])

    def without(self, group: Ints, each: Ints) -> Entries:
        """All series once for each of `each`, one after another, without the cells of that group; group: (C,)."""
        turn, kept = np.nonzero(group[self.cell] != each[:, None])
        return Entries(self.rows * len(each), self.keys[kept] + (turn * self.rows << _SERIES), self.count[kept])


def by_score(table: EvidenceTable) -> Entries:
    """The table's entries, in curve order."""
    return Entries(len(table.series), table.keys, table.counts)


def differing(a: Entries, b: Entries) -> NDArray[np.bool_]:
    """(S,): has the series any other entry in b? Both are of the same series."""
    parts = [list(zip(*(np.split(v, e.starts[1:-1]) for v in (e.keys, e.count)), strict=True)) for e in (a, b)]
    same = [all(map(np.array_equal, x, y)) for x, y in zip(*parts, strict=True)]
    return ~np.array(same, bool)


def blocks(sizes: Ints, rows: Ints, entries: int = 1 << 18) -> list[Ints]:
    """Chosen rows (ascending) in parts of about so many entries of evidence, a row at least: arrays that fit a cache of
    some megabytes, and so few of them that threads seldom wait for the interpreter. sizes: (S,) entries of all rows.

    What is computed row by row may be computed block by block, in any order and on any number of threads.
    """
    cuts = np.flatnonzero(np.diff(np.cumsum(sizes[rows]) // entries)) + 1
    return np.split(rows, cuts) if len(rows) else []


def entries_of(entries: Entries, rows: Ints) -> Entries:
    """Entries of the chosen series only, renumbered 0, 1, … in the order of `rows`; curve order is kept."""
    if len(rows) == entries.rows and (rows == np.arange(entries.rows)).all():
        return entries
    return Entries(len(rows), *_taken(entries.keys, entries.count, rows))


def one_row(evidence: Evidence) -> EvidenceTable:
    """The table of a single prediction on a single cell; its row is that evidence."""
    events = evidence.events
    none, code = np.zeros(len(events.codes), np.int64), np.array(events.codes, np.uint16)
    keys = keys_of(none, none, np.array(events.labels, bool), code)
    keys, counts = sum_equal_keys(keys, np.array(events.counts, np.int64))
    moments = np.array(evidence.moments.values, np.int64).reshape(1, 1, -1)
    return EvidenceTable((Series("", 0.0),), 1, keys, counts, evidence.moments.names, moments)


@dataclass(frozen=True)
class ClipIndex:
    """Which validation clip each cell belongs to. clip: (C,) position of the clip, -1 outside; clips: J."""

    clip: Ints
    clips: int

    def sum(self, values: Floats, cells: NDArray[np.bool_]) -> Floats:
        """(P, C) -> (P, J): sums over the chosen cells of each clip."""
        chosen = np.flatnonzero(cells & (self.clip >= 0))
        chosen = chosen[np.argsort(self.clip[chosen], kind="stable")]
        clip = self.clip[chosen]
        starts = _first_of_equal(clip) if clip.size else clip
        # Rows stay whole in memory, as an index in brackets would not leave them: bits of later sums depend on it.
        if chosen.size and (np.diff(chosen) == 1).all():  # neighbours are copied many times faster
            sums = values[:, chosen[0] : chosen[-1] + 1].copy()
        else:
            sums = np.take(values, chosen, axis=1)
        if len(starts) < len(clip):  # else no clip has two cells
            sums = np.add.reduceat(sums, starts, axis=1)
        if len(starts) == self.clips:
            return sums
        out = np.zeros((len(values), self.clips))
        out[:, clip[starts]] = sums
        return out
