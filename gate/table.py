"""Evidence of thousands of predictions on every cell of a suite, as a few arrays.

The same algebra as `gate.evidence`, at the other size: a row of the table is the evidence of that series.
Events are one sorted array of 64-bit keys with counts,

    key = series (24 bits) | cell (22 bits) | label (1 bit) | code (16 bits)

so merging shards, in any order, is one sort and one segmented sum.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from gate.errors import EvidenceError
from gate.evidence import STEPS, Evidence, Moments, ScoredEvents, add_exact
from gate.heads import Series

Work = TypeVar("Work")
Done = TypeVar("Done")
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_SERIES, _CELL, _LABEL = 39, 17, 16
_MAX_CELLS, _MAX_SERIES = 1 << (_SERIES - _CELL), 1 << 24


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
        low = (series << _SERIES) | (cell << _CELL)
        a, b = np.searchsorted(self.keys, [low, low + (1 << _CELL)])
        keys = self.keys[a:b]
        events = ScoredEvents(
            tuple((keys & 0xFFFF).tolist()),
            tuple(((keys >> _LABEL) & 1).astype(bool).tolist()),
            tuple(self.counts[a:b].tolist()),
        )
        return Evidence(events, Moments(self.names, tuple(self.moments[series, cell].tolist())))

    def sums(self, name: str) -> Floats:
        """One named sum, (S, C) float64, reals in the unit of the head."""
        values = self.moments[:, :, self.names.index(name)].astype(np.float64)
        return values / STEPS if name.startswith("sum_") else values

    def has(self, name: str) -> bool:
        return name in self.names

    def take(self, rows: Ints) -> EvidenceTable:
        """The table of the chosen series only; rows: ascending positions."""
        if len(rows) and rows[-1] - rows[0] + 1 == len(rows):  # a run: its entries are one slice
            a, b = int(rows[0]), int(rows[-1]) + 1
            low, high = np.searchsorted(self.keys, [a << _SERIES, b << _SERIES])
            keys, counts = self.keys[low:high] - (a << _SERIES), self.counts[low:high]
            return EvidenceTable(self.series[a:b], self.cells, keys, counts, self.names, self.moments[a:b])
        edges = np.searchsorted(self.keys, np.stack([rows, rows + 1]) << _SERIES)
        sizes = edges[1] - edges[0]
        starts = np.cumsum(sizes) - sizes
        kept = np.arange(sizes.sum()) + np.repeat(edges[0] - starts, sizes)
        keys = self.keys[kept] + (np.repeat(np.arange(len(rows)) - rows, sizes) << _SERIES)
        series = tuple(self.series[k] for k in rows.tolist())
        return EvidenceTable(series, self.cells, keys, self.counts[kept], self.names, self.moments[rows])


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
    cell_bits = int(cell.max()).bit_length()
    if int(series.max()).bit_length() + cell_bits <= 15:
        # Half the width sorts twice as fast; the wide keys are made of what is left.
        narrow = series.astype(np.uint32) << (17 + cell_bits)
        if cell_bits:
            narrow |= cell.astype(np.uint32) << 17
        narrow |= positive.astype(np.uint32) << 16
        narrow |= codes
        short, counts = _counted(narrow)
        low = short & ((1 << (17 + cell_bits)) - 1)  # cell | label | code, as they stand in a key
        return (short >> (17 + cell_bits) << _SERIES) | low, counts
    keys = (series.astype(np.int64) << _SERIES) | (cell.astype(np.int64) << _CELL)
    keys |= positive.astype(np.int64) << _LABEL
    keys |= codes
    return _counted(keys)


def _counted(values: NDArray[np.integer]) -> tuple[Ints, Ints]:
    """Distinct values, ascending, and how often each occurs, both int64; sorts `values` in place."""
    values.sort()
    starts = np.flatnonzero(np.r_[True, values[1:] != values[:-1]])
    return values[starts].astype(np.int64), np.diff(starts, append=len(values))


def merge(tables: Iterable[EvidenceTable]) -> EvidenceTable:
    """Sum of tables over the same rows, cells and sums. Raises EvidenceError when these differ."""
    parts = list(tables)
    first = parts[0]
    moments = first.moments
    for part in parts[1:]:
        if (part.series, part.cells, part.names) != (first.series, first.cells, first.names):
            raise EvidenceError("evidence of different heads or suites cannot be added")
        moments = add_exact(moments, part.moments)
    keys, counts = _sum_equal_keys(np.concatenate([p.keys for p in parts]), np.concatenate([p.counts for p in parts]))
    return EvidenceTable(first.series, first.cells, keys, counts, first.names, moments)


def _sum_equal_keys(keys: Ints, counts: Ints) -> tuple[Ints, Ints]:
    if not keys.size:
        return keys, counts
    order = np.argsort(keys, kind="stable")
    keys, counts = keys[order], counts[order]
    starts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
    return keys[starts], np.add.reduceat(counts, starts)


def stack(tables: Sequence[EvidenceTable]) -> EvidenceTable:
    """Tables of different heads over the same cells as one; a sum that a head does not have is zero there."""
    names = tuple(sorted({name for table in tables for name in table.names}))
    series = tuple(row for table in tables for row in table.series)
    cells = tables[0].cells if tables else 0
    keys, moments, offset = [], np.zeros((len(series), cells, len(names)), np.int64), 0
    for table in tables:
        keys.append(table.keys + (offset << _SERIES))
        columns = [names.index(name) for name in table.names]
        moments[offset : offset + len(table.series), :, columns] = table.moments
        offset += len(table.series)
    none = np.zeros(0, np.int64)
    return EvidenceTable(
        series,
        cells,
        np.concatenate([none, *keys]),
        np.concatenate([none, *(t.counts for t in tables)]),
        names,
        moments,
    )


def mixed(tables: Sequence[EvidenceTable], which: Ints) -> EvidenceTable:
    """Row k of table `which[k]`, (S,): tables over the same rows, cells and sums."""
    kept = [np.flatnonzero(which[table.keys >> _SERIES] == k) for k, table in enumerate(tables)]
    keys = np.concatenate([t.keys[rows] for t, rows in zip(tables, kept, strict=True)])
    counts = np.concatenate([t.counts[rows] for t, rows in zip(tables, kept, strict=True)])
    order = np.argsort(keys, kind="stable")
    moments = np.stack([tables[k].moments[row] for row, k in enumerate(which.tolist())])
    first = tables[0]
    return EvidenceTable(first.series, first.cells, keys[order], counts[order], first.names, moments)


def of_entries(
    series: Sequence[Series], cells: int, row: Ints, cell: Ints, positive: NDArray[np.bool_], code: Ints, count: Ints
) -> EvidenceTable:
    """The table, without sums, of histogram entries in any order, one value of each an entry; undoes `by_score`."""
    keys = row << _SERIES
    keys |= cell << _CELL
    keys |= positive.astype(np.int64) << _LABEL
    keys |= code
    order = np.argsort(keys, kind="stable")
    keys, counts = keys[order], count[order]
    if (keys[1:] == keys[:-1]).any():
        keys, counts = _sum_equal_keys(keys, counts)
    return EvidenceTable(tuple(series), cells, keys, counts, (), np.zeros((len(series), cells, 0), np.int64))


def adjoined(tables: Sequence[EvidenceTable], first: Sequence[int], cells: int) -> EvidenceTable:
    """Sum of tables over the same rows and sums; cell 0 of table k is cell `first[k]` of so many `cells`.

    Raises EvidenceError where 64 bits do not hold a sum.
    """
    if len(tables) == 1 and tables[0].cells == cells:
        return tables[0]
    whole = empty(tables[0].series, cells, tables[0].names)
    for table, start in zip(tables, first, strict=True):
        here = whole.moments[:, start : start + table.cells]
        here[...] = add_exact(here, table.moments)
    keys, counts = _sum_equal_keys(
        np.concatenate([t.keys + (start << _CELL) for t, start in zip(tables, first, strict=True)]),
        np.concatenate([t.counts for t in tables]),
    )
    return replace(whole, keys=keys, counts=counts)


@dataclass(frozen=True)
class Entries:
    """Histogram entries ordered by (series, score descending): the order in which curves are read.

    series, cell, code, count: (n,) int64; positive: (n,) bool. Missed positives come last in their series.
    """

    rows: int
    series: Ints
    cell: Ints
    code: Ints
    positive: NDArray[np.bool_]
    count: Ints


def by_score(table: EvidenceTable) -> Entries:
    """The table's entries in curve order; sorted once, then filtered for every slice."""
    keys, counts = table.keys, table.counts
    rows = int(keys[-1] >> _SERIES) + 1 if len(keys) else 0
    cell_bits, count_bits = (int(top).bit_length() for top in (table.cells - 1, counts.max(initial=0)))
    rest_bits = cell_bits + 1  # cell | label
    width = rest_bits + count_bits
    if rows.bit_length() + 16 + width > 63:
        order = np.argsort((keys >> _SERIES << 16) | (~keys & 0xFFFF), kind="stable")
        keys, counts = keys[order], counts[order]
        rest = keys >> _LABEL & ((1 << (_SERIES - _LABEL)) - 1)
        series, code = keys >> _SERIES, keys & 0xFFFF
        return Entries(len(table.series), series, rest >> 1, code, (rest & 1).astype(bool), counts)
    # One integer an entry, series | falling code | cell | label | count: sorting values is several times faster than
    # sorting positions and fetching. Made in place, for fresh memory costs as much as the arithmetic.
    packed, part = keys >> _SERIES, ~keys
    packed <<= 16
    part &= 0xFFFF
    packed |= part
    packed <<= rest_bits
    np.right_shift(keys, _LABEL, out=part)
    part &= (1 << rest_bits) - 1
    packed |= part
    packed <<= count_bits
    packed |= counts
    # The table has an ascending run for each series, cell and label; few and long ones are merged, not sorted.
    packed.sort(kind="stable" if 128 * rows * table.cells < len(packed) else "quicksort")
    np.bitwise_and(packed, (1 << count_bits) - 1, out=part)
    counts = part
    packed >>= count_bits
    positive = (packed & 1).astype(bool)
    packed >>= 1
    cell = packed & ((1 << cell_bits) - 1)
    packed >>= cell_bits
    code = ~packed
    code &= 0xFFFF
    packed >>= 16
    return Entries(len(table.series), packed, cell, code, positive, counts)


def blocks(table: EvidenceTable, rows: Ints, entries: int = 1 << 16) -> list[Ints]:
    """Chosen rows (ascending) in runs whose evidence fits a processor's cache: about that many entries, a row at least.

    What is computed row by row may be computed block by block, in any order and on any number of threads.
    """
    sizes = np.diff(np.searchsorted(table.keys, np.stack([rows, rows + 1]) << _SERIES), axis=0)[0]
    cuts = np.flatnonzero(np.diff(np.cumsum(sizes) // entries)) + 1
    return np.split(rows, cuts) if len(rows) else []


def each(work: Callable[[Work], Done], parts: Sequence[Work]) -> list[Done]:
    """`work` on every part, in their order, on all cores: numpy computes outside the interpreter's lock."""
    workers = min(len(parts), os.cpu_count() or 1)
    if workers < 2:
        return [work(part) for part in parts]
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(work, parts))


def entries_of(entries: Entries, rows: Ints) -> Entries:
    """Entries of the chosen series only, renumbered 0, 1, … in the order of `rows`; curve order is kept."""
    position = np.full(entries.rows, -1)
    position[rows] = np.arange(len(rows))
    series = position[entries.series]
    kept = np.flatnonzero(series >= 0)
    if (np.diff(rows) < 0).any():
        kept = kept[np.argsort(series[kept], kind="stable")]
    return Entries(
        len(rows), series[kept], entries.cell[kept], entries.code[kept], entries.positive[kept], entries.count[kept]
    )


def one_row(evidence: Evidence) -> EvidenceTable:
    """The table of a single prediction on a single cell; its row is that evidence."""
    events = evidence.events
    label, code = np.array(events.labels, np.int64), np.array(events.codes, np.int64)
    keys = (label << _LABEL) | code
    order = np.argsort(keys)
    counts = np.array(events.counts, np.int64)[order]
    moments = np.array(evidence.moments.values, np.int64).reshape(1, 1, -1)
    return EvidenceTable((Series("", 0.0),), 1, keys[order], counts, evidence.moments.names, moments)


@dataclass(frozen=True)
class ClipIndex:
    """Which validation clip each cell belongs to. clip: (C,) position of the clip, -1 outside; clips: J."""

    clip: Ints
    clips: int

    def sum(self, values: Floats, cells: NDArray[np.bool_]) -> Floats:
        """(P, C) -> (P, J): sums over the chosen cells of each clip."""
        chosen = np.flatnonzero(cells & (self.clip >= 0))
        chosen = chosen[np.argsort(self.clip[chosen], kind="stable")]
        out = np.zeros((len(values), self.clips))
        if chosen.size:
            clip = self.clip[chosen]
            starts = np.flatnonzero(np.r_[True, clip[1:] != clip[:-1]])
            out[:, clip[starts]] = np.add.reduceat(values[:, chosen], starts, axis=1)
        return out
