"""The same algebra for thousands of predictions: a row of the table is the evidence of that prediction."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gate import folded as module
from gate.cores import each
from gate.errors import EvidenceError
from gate.evidence import STEPS, Evidence, Moments
from gate.folded import adjoined, folded, set_aside, unfolded
from gate.heads import Series
from gate.lattice import MISSED, encode
from gate.stacked import Stacked
from gate.table import Entries, EvidenceTable, apart, blocks, by_score, empty, entries_of, histogram, merge, stack

laws = settings(deadline=None, max_examples=100, database=None)
ROWS, CELLS = 3, 4
CODES = (MISSED, 1023, 17407, 32768, 49408, 64512)
Event = tuple[int, int, bool, int]


def table_of(
    events: list[Event],
    sums: list[tuple[int, int]],
    names: tuple[str, ...] = ("events", "sum_error"),
    head: str = "cam.a",
) -> EvidenceTable:
    zero = empty([Series(f"{head}[{k}]", 0.0) for k in range(ROWS)], CELLS, names)
    columns = np.array(events, dtype=np.int64).reshape(-1, 4).T
    keys, counts = histogram(columns[0], columns[1], columns[2].astype(bool), columns[3].astype(np.uint16))
    moments = zero.moments.copy()
    for place, value in sums if moments.size else []:
        moments.reshape(-1)[place % moments.size] += value
    return replace(zero, keys=keys, counts=counts, moments=moments)


events = st.lists(
    st.tuples(st.integers(0, ROWS - 1), st.integers(0, CELLS - 1), st.booleans(), st.sampled_from(CODES)), max_size=25
)
sums = st.lists(st.tuples(st.integers(0, 10**3), st.integers(-(2**40), 2**40)), max_size=6)
tables = st.builds(table_of, events, sums)


@laws
@given(tables, tables)
def test_addition_commutes(a: EvidenceTable, b: EvidenceTable) -> None:
    assert a + b == b + a


@laws
@given(tables, tables, tables)
def test_addition_associates(a: EvidenceTable, b: EvidenceTable, c: EvidenceTable) -> None:
    assert (a + b) + c == a + (b + c) == merge([c, a, b])


@laws
@given(tables)
def test_an_empty_table_is_the_zero_of_addition(a: EvidenceTable) -> None:
    zero = empty(a.series, a.cells, a.names)
    assert a + zero == a == zero + a


@laws
@given(tables, tables)
def test_a_row_of_the_sum_is_the_sum_of_the_rows(a: EvidenceTable, b: EvidenceTable) -> None:
    both = a + b
    for series in range(ROWS):
        for cell in range(CELLS):
            assert both.row(series, cell) == a.row(series, cell) + b.row(series, cell)


@laws
@given(events)
def test_a_row_holds_the_events_of_its_prediction_and_cell_and_no_others(given_events: list[Event]) -> None:
    table = table_of(given_events, [])
    for series in range(ROWS):
        for cell in range(CELLS):
            mine = [(positive, code) for s, c, positive, code in given_events if (s, c) == (series, cell)]
            row = table.row(series, cell).events
            assert list(zip(row.labels, row.codes, strict=True)) == sorted(set(mine))
            assert list(row.counts) == [mine.count(key) for key in sorted(set(mine))]


@laws
@given(tables, st.builds(table_of, events, sums, st.just(("frames", "sum_error")), st.just("cam.b")))
def test_stacking_keeps_every_row(a: EvidenceTable, b: EvidenceTable) -> None:
    both = stack([a, b])
    assert both.series == a.series + b.series
    assert both.names == ("events", "frames", "sum_error")
    for table, offset in ((a, 0), (b, ROWS)):
        for series in range(ROWS):
            for cell in range(CELLS):
                row, stacked = table.row(series, cell), both.row(offset + series, cell)
                assert stacked.events == row.events
                known = dict(zip(row.moments.names, row.moments.values, strict=True))
                assert stacked.moments == Moments(both.names, tuple(known.get(name, 0) for name in both.names))


@laws
@given(tables, tables)
def test_stacking_and_adding_may_change_places(a: EvidenceTable, b: EvidenceTable) -> None:
    assert stack([a, b]) + stack([b, a]) == stack([a + b, b + a])


def test_nothing_stacked_is_nothing() -> None:
    assert stack([]).series == ()
    assert by_score(stack([])).rows == 0


def test_a_cell_without_evidence_is_the_zero() -> None:
    row = empty([Series("cam.a", 0.0)], 2, ()).row(0, 1)
    assert row == Evidence()


def test_tables_of_different_heads_suites_or_sums_are_never_added() -> None:
    one = empty([Series("cam.a", 0.0)], 2, ("events",))
    for other in (
        empty([Series("cam.b", 0.0)], 2, ("events",)),
        empty([Series("cam.a", 0.5)], 2, ("events",)),
        empty([Series("cam.a", 0.0)], 3, ("events",)),
        empty([Series("cam.a", 0.0)], 2, ("frames",)),
    ):
        with pytest.raises(EvidenceError, match="different heads or suites"):
            one + other


def test_more_cells_than_a_key_has_room_for_are_refused() -> None:
    with pytest.raises(EvidenceError, match="too many"):
        empty([], (1 << 22) + 1)


def test_the_last_row_and_cell_that_fit_a_key_are_read_back() -> None:
    last_row, last_cell = (1 << 24) - 1, (1 << 22) - 1
    keys, counts = histogram(
        np.array([last_row]), np.array([last_cell]), np.array([True]), np.array([64512], dtype=np.uint16)
    )
    table = EvidenceTable((), 1 << 22, keys, counts, (), np.zeros((last_row + 1, 0, 0), np.int64))
    entries = by_score(table)
    assert (entries.series.tolist(), entries.cell.tolist()) == ([last_row], [last_cell])
    assert (entries.code.tolist(), entries.positive.tolist(), entries.count.tolist()) == ([64512], [True], [1])


def test_a_sum_beyond_64_bits_is_refused_and_never_wraps_around() -> None:
    full = table_of([], [(0, 2**63 - 1)])
    assert (full + table_of([], [(0, -1)])).moments.flat[0] == 2**63 - 2
    with pytest.raises(EvidenceError, match="64 bits"):
        full + table_of([], [(0, 1)])


def test_real_sums_are_read_in_the_unit_of_the_head_and_counts_as_they_are() -> None:
    table = table_of([], [(0, 3), (1, 5 * STEPS // 2)])
    assert (table.sums("events")[0, 0], table.sums("sum_error")[0, 0]) == (3.0, 2.5)


@laws
@given(tables)
def test_entries_stand_in_the_order_in_which_curves_are_read(table: EvidenceTable) -> None:
    entries = by_score(table)
    order = list(zip(entries.series.tolist(), (-entries.code).tolist(), strict=True))
    assert order == sorted(order)
    assert entries.count.sum() == table.counts.sum()


@laws
@given(tables, st.permutations(range(ROWS)), st.integers(1, ROWS))
def test_chosen_rows_keep_their_entries_under_new_numbers(table: EvidenceTable, order: list[int], count: int) -> None:
    rows = np.array(order[:count])
    chosen, whole = entries_of(by_score(table), rows), by_score(table)
    assert (np.diff(chosen.series) >= 0).all()
    for new, old in enumerate(rows):
        mine, here = chosen.series == new, whole.series == old
        for part in ("cell", "code", "positive", "count"):
            assert getattr(chosen, part)[mine].tolist() == getattr(whole, part)[here].tolist()


@laws
@given(events, st.integers(0, 3), st.sampled_from([1, 3, 200]))
def test_a_histogram_counts_each_event_whatever_the_width_of_its_keys(drawn: list[Event], row: int, scale: int) -> None:
    # Rows and cells far apart need 64-bit keys, near ones do with 32.
    columns = np.array([(s * scale**2 + row, c * scale, y, k) for s, c, y, k in drawn], np.int64).reshape(-1, 4).T
    keys, counts = histogram(columns[0], columns[1], columns[2].astype(bool), columns[3].astype(np.uint16))
    said = Counter((s << 39) | (0xFFFF - k << 23) | (c << 1) | y for s, c, y, k in columns.T.tolist())
    assert dict(zip(keys.tolist(), counts.tolist(), strict=True)) == said
    assert keys.tolist() == sorted(said)


@laws
@given(events, st.sampled_from([1, 2**20, 2**45]))
def test_entries_in_curve_order_are_the_same_however_they_are_sorted(drawn: list[Event], times: int) -> None:
    # Great counts leave no room to pack an entry into one integer.
    table = table_of(drawn, [])
    entries = by_score(replace(table, counts=table.counts * times))
    rows = [(s, 0xFFFF - k, c, y) for key in table.keys.tolist() for s, c, y, k in [unpacked(key)]]
    told = zip(entries.series, 0xFFFF - entries.code, entries.cell, entries.positive, strict=True)
    assert [tuple(int(v) for v in one) for one in told] == sorted(rows)
    found = {unpacked(k): n * times for k, n in zip(table.keys.tolist(), table.counts.tolist(), strict=True)}
    for s, c, y, k, n in zip(*(v.tolist() for v in columns_of(entries)), strict=True):
        assert found[(s, c, int(y), k)] == n


def unpacked(key: int) -> tuple[int, int, int, int]:
    """(series, cell, label, code) of a key."""
    return key >> 39, (key >> 1) & ((1 << 22) - 1), key & 1, 0xFFFF - ((key >> 23) & 0xFFFF)


def columns_of(entries: Entries) -> tuple[NDArray[Any], ...]:
    return entries.series, entries.cell, entries.positive, entries.code, entries.count


@laws
@given(tables, st.builds(table_of, events, sums, head=st.just("cam.b")))
def test_what_was_stacked_is_taken_apart_again(a: EvidenceTable, b: EvidenceTable) -> None:
    assert apart(stack([a, b]), [a.series, b.series]) == [a, b]


@laws
@given(tables, st.lists(st.booleans(), min_size=CELLS, max_size=CELLS))
def test_entries_of_chosen_cells_are_those_of_the_cells(table: EvidenceTable, chosen: list[bool]) -> None:
    found = by_score(table).of_cells(np.array(chosen))
    kept = [k for k, key in enumerate(table.keys.tolist()) if chosen[unpacked(key)[1]]]
    assert found.keys.tolist() == table.keys[kept].tolist()
    assert found.count.tolist() == table.counts[kept].tolist()
    assert found.starts.tolist() == [sum(unpacked(int(k))[0] < row for k in found.keys) for row in range(ROWS + 1)]


@laws
@given(tables, st.sets(st.integers(0, ROWS - 1), min_size=1))
def test_taken_rows_are_the_rows(table: EvidenceTable, chosen: set[int]) -> None:
    rows = np.array(sorted(chosen))
    part = table.take(rows)
    for k, row in enumerate(rows.tolist()):
        assert part.series[k] == table.series[row]
        assert [part.row(k, c) for c in range(CELLS)] == [table.row(row, c) for c in range(CELLS)]


@laws
@given(
    tables,
    st.builds(table_of, events, sums, head=st.just("cam.b")),
    st.sets(st.integers(0, 2 * ROWS - 1)),
    st.booleans(),
)
def test_stacked_heads_are_read_as_one_table(a: EvidenceTable, b: EvidenceTable, chosen: set[int], bare: bool) -> None:
    if bare:
        b = EvidenceTable(b.series, b.cells, b.keys, b.counts, (), b.moments[:, :, :0])
    whole, many = stack([a, b]), Stacked.of(a, b)
    rows = np.array(sorted(chosen), dtype=np.int64)
    assert many.take(rows) == whole.take(rows)
    assert (many.series, many.names, many.cells) == (whole.series, whole.names, whole.cells)
    assert many.sizes.tolist() == whole.sizes.tolist() == np.bincount(whole.keys >> 39, minlength=2 * ROWS).tolist()
    for name in whole.names:
        np.testing.assert_array_equal(many.sums(name), whole.sums(name))
    other = many.changed(lambda head, rows: folded(a) if head == 1 else None)
    assert other.take(np.arange(ROWS, 2 * ROWS)) == a
    assert other.tables[0] is many.tables[0]


@laws
@given(tables, st.sets(st.integers(0, ROWS - 1)), st.integers(1, 30))
def test_blocks_are_all_the_rows_in_order_and_hold_one_row_or_few_entries(
    table: EvidenceTable, chosen: set[int], size: int
) -> None:
    rows = np.array(sorted(chosen), np.int64)
    parts = blocks(table.sizes, rows, size)
    assert [r for part in parts for r in part.tolist()] == rows.tolist()
    assert all(len(part) == 1 or len(table.take(part[1:]).keys) < size for part in parts)


def test_work_on_parts_comes_back_in_their_order() -> None:
    def slow_first(k: int) -> int:
        time.sleep(0.01 if k == 0 else 0)
        return k * k

    assert each(slow_first, range(9)) == [k * k for k in range(9)]
    assert each(slow_first, []) == []


def test_an_error_in_a_part_is_not_lost() -> None:
    with pytest.raises(EvidenceError, match="NaN"):
        each(encode, [[0.0], [float("nan")], [1.0]])


@laws
@given(tables, st.booleans())
def test_a_folded_table_unfolds_to_itself(table: EvidenceTable, many: bool) -> None:
    table = replace(table, keys=table.keys | 1 << 22, cells=1 << 22) if many else table  # the last bit of a cell
    narrow = folded(table)
    assert unfolded(narrow) == table
    assert narrow.cell.dtype == (np.uint32 if many and len(table.keys) else np.uint8)
    assert narrow.counts.dtype == np.uint8


@laws
@given(st.lists(st.tuples(tables | st.builds(table_of, events, sums, st.just(())), st.booleans()), max_size=3))
def test_tables_that_are_set_aside_are_the_same_and_leave_no_file(drawn: list[tuple[EvidenceTable, bool]]) -> None:
    narrow = [folded(replace(table, counts=table.counts + (1 << 40) * wide)) for table, wide in drawn]
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_ASIDE", 1)
        patch.setattr(tempfile, "tempdir", folder)
        aside = set_aside(narrow)
        assert not list(Path(folder).iterdir())
    for one, other in zip(aside, narrow, strict=True):
        assert unfolded(one) == unfolded(other)
        for column in ("fall", "cell", "counts"):
            values = getattr(one, column)
            assert values.dtype == getattr(other, column).dtype
            assert values.flags.aligned
            assert not (values.size and values.flags.owndata)


def test_tables_stay_in_memory_where_no_file_can_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "_ASIDE", 1)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    narrow = folded(table_of([(0, 0, True, 1023)], []))
    assert set_aside([narrow])[0] is narrow


@pytest.mark.parametrize("at_once", [1, 7, 1 << 15])
@pytest.mark.parametrize("before", [0, 1 << 16])  # cells of nobody: keys are narrow, or wide
def test_tables_of_runs_of_cells_join_to_the_table_of_all_cells(
    at_once: int, before: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SORTED", at_once)
    rng = np.random.default_rng(at_once)
    series, first, sizes = (Series("cam.a", 0.0), Series("cam.b", 0.0)), (0, 3, 6, 7), (4, 4, 1, 5)  # cell 3 is in two
    counted, tables = Counter[tuple[int, int, bool, int]](), []
    for start, cells, events in zip(first, sizes, (300, 0, 40, 200), strict=True):
        row, cell, code = (rng.integers(0, n, events) for n in (2, cells, 30))
        positive = rng.random(events) < 0.3
        counted.update(zip(row.tolist(), (cell + start).tolist(), positive.tolist(), code.tolist(), strict=True))
        keys, counts = histogram(row, cell, positive, code.astype(np.uint16))
        moments = np.full((2, cells, 1), start + 1)
        tables.append(EvidenceTable(series, cells, keys, counts, ("events",), moments))
    whole = unfolded(adjoined([folded(table) for table in tables], [before + k for k in first], before + 12))
    entries = by_score(whole)
    columns = (entries.series, entries.cell - before, entries.positive, entries.code)
    found = dict(zip(zip(*(c.tolist() for c in columns), strict=True), entries.count.tolist(), strict=True))
    assert found == counted
    assert (np.diff(whole.keys) > 0).all()
    assert whole.moments[0, before:, 0].tolist() == [1, 1, 1, 1 + 4, 4, 4, 4 + 7, 8, 8, 8, 8, 8]
