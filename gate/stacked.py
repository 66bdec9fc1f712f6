"""Evidence of many heads side by side: one table that is never made, kept folded and unfolded where it is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from gate.folded import Folded, folded, unfolded
from gate.heads import Series
from gate.table import EvidenceTable, Floats, Ints, empty, stack


@dataclass(frozen=True)
class Stacked:
    """tables: of heads over the same cells, in order; a sum that a head does not have is zero there."""

    tables: tuple[Folded, ...]

    @classmethod
    def of(cls, *tables: EvidenceTable) -> Stacked:
        return cls(tuple(map(folded, tables)))

    @cached_property
    def series(self) -> tuple[Series, ...]:
        return tuple(row for table in self.tables for row in table.bare.series)

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(sorted({name for table in self.tables for name in table.bare.names}))

    @property
    def cells(self) -> int:
        return self.tables[0].bare.cells if self.tables else 0

    @cached_property
    def sizes(self) -> Ints:
        """(S,) entries of each series."""
        return np.concatenate([np.zeros(0, np.int64), *(table.rows for table in self.tables)])

    @cached_property
    def first(self) -> Ints:
        """(heads + 1,) first series of each head."""
        return np.cumsum([0, *(len(table.rows) for table in self.tables)])

    def take(self, rows: Ints) -> EvidenceTable:
        """The table of the chosen series only; rows: ascending positions."""
        if not len(rows):
            return empty((), self.cells, self.names)
        owner = np.searchsorted(self.first, rows, "right") - 1
        parts = [unfolded(self.tables[k], rows[owner == k] - self.first[k]) for k in np.unique(owner).tolist()]
        return stack(parts, self.names)

    def sums(self, name: str) -> Floats:
        """One named sum, (S, C) float64, reals in the unit of the head."""
        nothing = (np.zeros((len(t.rows), self.cells)) for t in self.tables)
        tables = (t.bare for t in self.tables)
        return np.concatenate(
            [t.sums(name) if name in t.names else none for t, none in zip(tables, nothing, strict=True)]
        )

    def changed(self, change: Callable[[int, range], Folded | None]) -> Stacked:
        """The same with other tables of some heads; change: told the position of a head and its series."""
        series = (range(*ends) for ends in pairwise(self.first.tolist()))
        return Stacked(tuple(change(k, rows) or self.tables[k] for k, rows in enumerate(series)))
