"""A bundle beside itself on other clips: how far two unrelated releases of its quality would lie apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from gate.compare.effects import Effects, curve_effects, read_curves, sum_effects
from gate.compare.sides import (
    Asked,
    Block,
    Mask,
    Part,
    Question,
    Side,
    blocks_of,
    by_clip,
    part_of,
    usable,
)
from gate.cores import each, hand_back_memory
from gate.suite import Slice
from gate.table import ClipIndex, Floats, Ints


def paired(
    side: Side,
    questions: Sequence[Question],
    slices: Sequence[Slice],
    index: ClipIndex,
    decided: Mask,
    orders: Sequence[Ints],
) -> tuple[Floats, Floats]:
    """Differences of a bundle from itself where each clip is paired with another: (n, J) contributions in the first
    pairing, and (K, n) standard errors of all; cells in the order of `compare`.

    orders: K times (J,), the clip that each clip is paired with. What a clip says does not hang on its partner, so the
    evidence is read once, whatever K.
    """

    def answered(block: Block) -> None:
        codes = side.codes[block.rows]
        part = part_of(side.table.take(block.rows), codes, block, index, codes, decided)
        for asked in block.parts:
            for number, where in enumerate(slices):
                cells = asked.chosen * len(slices) + number
                d[cells], se[:, cells] = _cells(part, asked, where, orders)

    n = len(questions) * len(slices)
    d, se = np.full((n, index.clips), np.nan), np.full((len(orders), n), np.nan)
    each(answered, blocks_of(questions, index.clips, side.table.sizes))
    hand_back_memory()
    return d, se


def _cells(part: Part, asked: Asked, where: Slice, orders: Sequence[Ints]) -> tuple[Floats, Floats]:
    known = usable(part, asked)
    effects = list(_effects(part, asked, where, orders))
    se = np.stack([np.where(known, e.se, np.nan) for e in effects])
    return np.nan_to_num(np.where(known[:, None], effects[0].d, 0.0)), se


def _effects(part: Part, asked: Asked, where: Slice, orders: Sequence[Ints]) -> Iterator[Effects]:
    if asked.metric.kind == "curve":
        every = np.ones(len(asked.chosen), bool)
        curve = read_curves(asked.metric, part.scored.take(asked.groups), where.cells, every)
        for order in orders:
            fields = ("clip_values", "positives", "events")
            other = replace(curve, **{name: getattr(curve, name).take(order, axis=1) for name in fields})
            yield curve_effects(asked.metric, curve, other)
    else:
        sums = by_clip(part, part.sums, asked, where)
        for order in orders:
            yield sum_effects(asked.metric, sums, {name: values.take(order, axis=1) for name, values in sums.items()})
