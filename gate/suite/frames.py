"""The frame table: one row a frame, in an order that does not depend on the file's, and the cells of evidence."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gate.errors import SuiteError, shown
from gate.suite.definition import Definition

Column = NDArray[Any]
Ints = NDArray[np.int64]
SPLITS = ("calibration", "validation")


@dataclass(frozen=True)
class Slice:
    """A subset of cells by attribute; `all` is every cell. cells: (C,) bool."""

    name: str
    cells: NDArray[np.bool_]


@dataclass(frozen=True)
class Frames:
    """Frames of the calibration and validation splits, sorted by split, clip, order and id.

    ids: (F,) str. columns: every column of the table, (F,). split: (F,) 0 calibration, 1 validation.
    clips: names; clip: (F,) position in them. unit_of: (clips,) the independent unit of each clip, by position: itself,
    unless the suite declares a coarser one. A cell is clip x values of the slice columns: cell: (F,);
    cell_clip, cell_split, cell_frames: (C,). slices: `all` first, then single attributes, then pairs. known: ids of all
    frames of the table, those of other splits too.
    """

    ids: Column
    columns: Mapping[str, Column]
    split: Ints
    clips: tuple[str, ...]
    clip: Ints
    unit_of: Ints
    cell: Ints
    cell_clip: Ints
    cell_split: Ints
    cell_frames: Ints
    slices: tuple[Slice, ...]
    known: frozenset[str]

    @property
    def cells(self) -> int:
        return len(self.cell_clip)


def read_table(path: Path, text: set[str]) -> dict[str, Column]:
    """Columns of a .csv or .parquet file; those in `text` as str, null as NaN or "".

    Raises SuiteError when the file cannot be read.
    """
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    try:
        if path.suffix == ".parquet":
            table = pyarrow.parquet.read_table(path)
        else:
            # Ids such as 000123 are text; a reader that guesses would make numbers of them.
            options = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(text, pa.string()))
            table = pyarrow.csv.read_csv(path, convert_options=options)
    except (OSError, pa.ArrowInvalid) as error:
        raise SuiteError(f"the table cannot be read: {shown(error)}", where=str(path)) from error
    if len(set(table.column_names)) != len(table.column_names):
        raise SuiteError("a column name stands twice", where=str(path))
    return {name: _values(table.column(name), name in text) for name in table.column_names}


def _values(column: Any, text: bool) -> Column:
    import pyarrow as pa

    if text:
        return np.array(["" if v is None else str(v) for v in column.to_pylist()], dtype=str)
    # Handed over as memory: pyarrow's own way to numpy imports pandas for it, a fifth of a second.
    if pa.types.is_boolean(column.type) and not column.null_count:
        return np.from_dlpack(column.cast(pa.uint8()).combine_chunks()).astype(bool)
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_boolean(column.type):
        column = column.cast(pa.float64()).fill_null(np.nan) if column.null_count else column
        return np.from_dlpack(column.combine_chunks())
    return np.array(["" if v is None else str(v) for v in column.to_pylist()], dtype=str)


def text_columns(definition: Definition, templates: set[str]) -> set[str]:
    """Columns that are names and not numbers: ids, splits, slices, parts of file names."""
    about = definition.suite
    return {about.frame_id, about.clip_id, definition.splits.column, *about.slices, *templates} | (
        {about.unit} if about.unit else set()
    )


def select_frames(definition: Definition, columns: Mapping[str, Column], path: Path) -> Frames:
    """Frames of the two splits and their cells. Raises SuiteError naming column and rows that are wrong."""
    about, splits = definition.suite, definition.splits
    wanted = [
        about.frame_id,
        about.clip_id,
        splits.column,
        *about.slices,
        *([about.order_by] if about.order_by else []),
        *([about.unit] if about.unit else []),
    ]
    for name in wanted:
        if name not in columns:
            raise SuiteError(
                f"there is no column '{name}'", where=str(path), mend=f"columns: {', '.join(sorted(columns))}"
            )
    where = columns[splits.column]
    split = np.select([where == splits.calibration, where == splits.validation], [0, 1], -1)
    for k, name in enumerate(SPLITS):
        if not (split == k).any():
            raise SuiteError(
                f"the {name} split is empty: no frame has {splits.column} = '{getattr(splits, name)}'",
                where=str(path),
                mend="mend [splits] in suite.toml, or the table",
            )
    ids = columns[about.frame_id]
    names, count = np.unique(ids, return_counts=True)
    if (count > 1).any():
        twice = ", ".join(shown(n, 40) for n in names[count > 1][:5])
        raise SuiteError(
            f"{(count > 1).sum()} frame ids stand twice: {twice}", where=f"{path}, column {about.frame_id}"
        )
    clip_names = columns[about.clip_id]
    rows = np.flatnonzero(split >= 0)
    for name in wanted:
        if columns[name].dtype.kind == "U" and (columns[name][rows] == "").any():
            bad = ids[rows][columns[name][rows] == ""][0]
            raise SuiteError("an empty value", where=f"{path}, column {name}, frame {shown(bad)}")
    for column, what in ((about.clip_id, "clip"), (about.unit or about.clip_id, about.unit)):
        leaked = set(columns[column][split == 0]) & set(columns[column][split == 1])
        if leaked:
            raise SuiteError(
                f"{what}s are in two splits: {', '.join(shown(c, 40) for c in sorted(leaked)[:5])}",
                where=f"{path}, columns {column} and {splits.column}",
                mend=f"a {what} belongs to one split, whole",
            )
    order = columns[about.order_by][rows] if about.order_by else ids[rows]
    rows = rows[np.lexsort((ids[rows], order, clip_names[rows], split[rows]))]
    chosen = {name: values[rows] for name, values in columns.items()}
    unit = chosen[about.unit or about.clip_id]
    pairs = set(zip(chosen[about.clip_id].tolist(), unit.tolist(), strict=True))
    if len(pairs) > len(set(chosen[about.clip_id].tolist())):
        seen = [clip for clip, _ in sorted(pairs)]
        torn = next(a for a, b in itertools.pairwise(seen) if a == b)
        raise SuiteError(
            f"a clip is in two units: {shown(torn, 40)}",
            where=f"{path}, columns {about.clip_id} and {about.unit}",
            mend="a unit holds whole clips",
        )
    return _with_cells(
        about.slices,
        about.slice_pairs,
        chosen[about.frame_id],
        chosen,
        split[rows],
        chosen[about.clip_id],
        dict(pairs),
        names,
    )


def _with_cells(
    slices: tuple[str, ...],
    pairs: tuple[tuple[str, str], ...],
    ids: Column,
    columns: Mapping[str, Column],
    split: Ints,
    clip_names: Column,
    unit_of: Mapping[str, str],
    known: Column,
) -> Frames:
    keys = list(zip(split.tolist(), clip_names.tolist(), *(columns[s].tolist() for s in slices), strict=True))
    cells = sorted(set(keys))
    position = {key: k for k, key in enumerate(cells)}
    cell = np.array([position[key] for key in keys])
    clips = tuple(dict.fromkeys(key[1] for key in cells))
    clip_position = {name: k for k, name in enumerate(clips)}
    units = {name: k for k, name in enumerate(sorted(set(unit_of.values())))}
    value = {s: np.array([key[2 + k] for key in cells]) for k, s in enumerate(slices)}
    named = [Slice("all", np.ones(len(cells), bool))]
    named += [Slice(f"{s}={v}", value[s] == v) for s in slices for v in sorted(set(value[s]))]
    for a, b in pairs:
        for x, y in itertools.product(sorted(set(value[a])), sorted(set(value[b]))):
            both = (value[a] == x) & (value[b] == y)
            if both.any():
                named.append(Slice(f"{a}={x} & {b}={y}", both))
    return Frames(
        ids=ids,
        columns=columns,
        split=split,
        clips=clips,
        clip=np.array([clip_position[c] for c in clip_names.tolist()]),
        unit_of=np.array([units[unit_of[c]] for c in clips]),
        cell=cell,
        cell_clip=np.array([clip_position[key[1]] for key in cells]),
        cell_split=np.array([key[0] for key in cells]),
        cell_frames=np.bincount(cell, minlength=len(cells)),
        slices=tuple(named),
        known=frozenset(known.tolist()),
    )
