"""What one bundle says, by clip: sums at its own thresholds, sums at the incumbent's, and scores in curve order.

Predictions are taken some neighbours at a time, and of these all that are asked for one metric together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from gate.compare.effects import ScoredSide
from gate.compare.sums import named_sums
from gate.lattice import NO_THRESHOLD
from gate.measures import Metric, metric
from gate.stacked import Stacked
from gate.suite import Slice
from gate.table import ClipIndex, EvidenceTable, Floats, Ints, by_score

Mask = NDArray[np.bool_]
#: Predictions x clips compared at once, in arrays that stay in a processor's cache; changes nothing else.
BLOCK = 1 << 15
#: Entries of evidence in a block, unless one prediction has more: bounds memory, changes nothing else.
ENTRIES = 1 << 20


@dataclass(frozen=True)
class Side:
    """One bundle. table: all judged heads. codes: (S,) threshold code of each series, or NO_THRESHOLD."""

    table: Stacked
    codes: Ints


@dataclass(frozen=True)
class Question:
    """One metric of one prediction. series: its rows of evidence, one an IoU level."""

    prediction: int
    series: tuple[int, ...]
    metric: str


@dataclass(frozen=True)
class Block:
    """Some neighbouring questions. rows: their series, ascending; parts: those of one metric and as many levels."""

    rows: Ints
    parts: tuple[Asked, ...]

    @property
    def metrics(self) -> set[Metric]:
        return {part.metric for part in self.parts}


@dataclass(frozen=True)
class Asked:
    """m questions of one metric. chosen: (m,) their positions; groups: (m, L) their series, as rows of the block."""

    metric: Metric
    chosen: Ints
    groups: Ints

    @property
    def first(self) -> Ints:
        """(m,): the series whose counts say what was decided."""
        return self.groups[:, 0]


@dataclass(frozen=True)
class Part:
    """A block's series of one bundle. sums, same: name -> (S, C), at its own thresholds and at the incumbent's."""

    sums: Mapping[str, Floats]
    same: Mapping[str, Floats]
    scored: ScoredSide
    codes: Ints
    decided: Mask
    index: ClipIndex


def blocks_of(questions: Sequence[Question], clips: int, sizes: Ints) -> list[Block]:
    """The questions, of some neighbouring predictions at a time; sizes: (S,) entries of each series."""
    return [_block(questions, block) for block in _neighbours(questions, clips, sizes)]


def _neighbours(questions: Sequence[Question], clips: int, sizes: Ints) -> Iterator[list[int]]:
    order = sorted(range(len(questions)), key=lambda k: questions[k].prediction)
    block: list[int] = []
    room, entries = BLOCK, ENTRIES
    for _, of_one in groupby(order, key=lambda k: questions[k].prediction):
        some = list(of_one)
        size = int(sizes[sorted({row for k in some for row in questions[k].series})].sum())
        if block and (room < clips or entries < size):
            yield block
            block, room, entries = [], BLOCK, ENTRIES
        block, room, entries = block + some, room - clips, entries - size
    if block:
        yield block


def _block(questions: Sequence[Question], block: Sequence[int]) -> Block:
    rows = np.array(sorted({row for k in block for row in questions[k].series}), dtype=np.int64)
    kinds = sorted({(questions[k].metric, len(questions[k].series)) for k in block})

    def parts() -> Iterator[Asked]:
        for name, levels in kinds:
            chosen = [k for k in block if questions[k].metric == name and len(questions[k].series) == levels]
            series = np.array([questions[k].series for k in chosen], dtype=np.int64)
            yield Asked(metric(name), np.array(chosen), np.searchsorted(rows, series))

    return Block(rows, tuple(parts()))


def part_of(table: EvidenceTable, codes: Ints, block: Block, index: ClipIndex, shipped: Ints, decided: Mask) -> Part:
    """table, codes: the block's series of a bundle. shipped: threshold codes of the incumbent there. decided: (S,) of
    all series, those whose counts need no threshold.
    """
    own = decided[block.rows]
    entries = by_score(table)
    read = frozenset[str]().union(*(_read(what) for what in block.metrics))
    sums = named_sums(table, entries, codes, own, read)
    same = sums
    if any(what.at_threshold for what in block.metrics) and not np.array_equal(codes, shipped):
        same = named_sums(table, entries, shipped, own, read)
    return Part(sums, same, ScoredSide(entries.of_cells(index.clip >= 0), index), codes, own, index)


def by_clip(part: Part, sums: Mapping[str, Floats], asked: Asked, where: Slice) -> dict[str, Floats]:
    """Sums that the metric's cells of a slice are made of, name -> (m, J)."""
    return {n: part.index.sum(v[asked.first], where.cells) for n, v in sums.items() if n in _read(asked.metric)}


def usable(part: Part, asked: Asked) -> Mask:
    """(m,): has the prediction the threshold that the metric wants?"""
    own = part.decided[asked.first] | (part.codes[asked.first] != NO_THRESHOLD)
    return own | (not asked.metric.at_threshold)


def _read(what: Metric) -> frozenset[str]:
    """Names of the sums that a cell of this metric is made of."""
    return what.needs | {"tp", "fn", "events", "frames", what.squares}
