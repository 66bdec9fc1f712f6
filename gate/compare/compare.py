"""Candidate against incumbent: every prediction x metric on every slice, as a few arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from gate.compare.comparison import Comparison, joined, third
from gate.compare.effects import Effects, curve_effects, ratio_effects, read_curves, sum_effects
from gate.compare.sides import (
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
from gate.compare.sums import named_sums
from gate.compare.unreached import Unreached, standing
from gate.cores import cores, each, hand_back_memory
from gate.curves import average_precision, curves
from gate.measures import Metric
from gate.suite import Slice
from gate.table import ClipIndex, EvidenceTable, Floats, Ints, blocks, by_score, differing


def compare(
    incumbent: Side,
    candidate: Side,
    questions: Sequence[Question],
    slices: Sequence[Slice],
    index: ClipIndex,
    decided: Mask,
    other: ClipIndex | None = None,
    unreached: Unreached | None = None,
) -> Comparison:
    """Answers of all questions on all slices.

    index: validation clips of the cells. decided: (S,) series whose counts need no threshold. other: clips of the
    candidate's cells, where it was asked on others (A/A). unreached: predictions that are the same on both sides; no
    clip contributes to them or weighs anything, and what they are worth may be noted.
    """
    settled = unreached.predictions if unreached else frozenset[int]()
    moved = np.array([k for k, q in enumerate(questions) if q.prediction not in settled], dtype=np.int64)
    asked = [questions[k] for k in moved.tolist()]

    def alone(of: Sequence[Question]) -> Comparison:
        return compare(incumbent, incumbent, of, slices, index, decided)

    def answered(piece: tuple[Block, range]) -> list[Comparison]:
        block, some = piece
        old, new = (side.table.take(block.rows) for side in (incumbent, candidate))
        shipped, codes = (side.codes[block.rows] for side in (incumbent, candidate))
        a = b = part_of(old, shipped, block, index, shipped, decided)
        if other is not None or old != new or not np.array_equal(shipped, codes):
            b = part_of(new, codes, block, other or index, shipped, decided)
        return list(_parts(a, b, block, slices, some))

    few = blocks_of(asked, index.clips, np.maximum(incumbent.table.sizes, candidate.table.sizes))
    turns = max(1, cores() // max(1, len(few)))  # where blocks do not busy all cores, each is asked for some slices
    pieces = [(block, range(k, len(slices), turns)) for block in few for k in range(turns)]
    parts = [part for found in each(answered, pieces) for part in found]
    told = standing(unreached, questions, slices, index, decided, alone) if unreached else []
    whole = joined([*(replace(part, question=moved[part.question]) for part in parts), *told], index.clips)
    parts.clear()
    hand_back_memory()  # the parts, and what they were worked out in, are several times what is kept
    return whole


def _parts(a: Part, b: Part, block: Block, slices: Sequence[Slice], some: range) -> Iterator[Comparison]:
    """Cells of some of the slices."""
    for asked in block.parts:
        what = asked.metric
        curved = what.kind == "curve"
        scored_a, scored_b = (p.scored.take(asked.groups) if curved else p.scored for p in (a, b))
        differs = np.ones(len(asked.chosen), bool)
        if curved and a.index is b.index:
            differs = np.any(differing(scored_a.entries, scored_b.entries).reshape(asked.groups.shape), axis=1)
        for number in some:
            where = slices[number]
            sums_a = by_clip(a, a.sums, asked, where)
            sums_b = sums_a if b is a else by_clip(b, b.sums, asked, where)
            again = what.at_threshold and b.same is not b.sums
            same = by_clip(b, b.same, asked, where) if again else sums_b
            if curved:
                read_a = read_curves(what, scored_a, where.cells, differs)
                read_b = read_curves(what, scored_b, where.cells, differs) if differs.any() else read_a
                effects = curve_effects(what, read_a, read_b)
            else:
                effects = sum_effects(what, sums_a, sums_b)
            thresholded = what.at_threshold & ~a.decided[asked.first]
            known = usable(a, asked), usable(b, asked)
            yield _cells(what, effects, sums_a, sums_b, same, *known, thresholded, asked.chosen, number)


def _cells(
    what: Metric,
    effects: Effects,
    a: Mapping[str, Floats],
    b: Mapping[str, Floats],
    same: Mapping[str, Floats],
    usable_a: Mask,
    usable_b: Mask,
    thresholded: Mask,
    chosen: Ints,
    slice_number: int,
) -> Comparison:
    fragile = np.zeros(len(chosen), bool)
    if what.ratio is not None:
        fragile = _hangs_on_one_clip(what, b) & ~_hangs_on_one_clip(what, a)
    support = a["tp"] + a["fn"] if what.support == "positives" else a[what.support]
    both = usable_a & usable_b
    at_incumbent = np.full(len(chosen), np.nan)
    if what.at_threshold:
        value = ratio_effects(what, same, same).incumbent
        at_incumbent = np.where(thresholded & usable_a, value, np.nan)
    squares = (support**2).sum(axis=1)
    return Comparison(
        question=chosen,
        slice=np.full(len(chosen), slice_number),
        incumbent=np.where(usable_a, effects.incumbent, np.nan),
        candidate=np.where(usable_b, effects.candidate, np.nan),
        at_incumbent=at_incumbent,
        delta=np.where(both, effects.delta, np.nan),
        d=np.nan_to_num(np.where(both[:, None], effects.d, 0.0)),
        weight=np.nan_to_num(effects.weight),
        se=np.where(both, effects.se, np.nan),
        df=effects.df,
        third=third(np.nan_to_num(effects.d), effects.delta, effects.weight),
        lost=effects.lost,
        positives=support.sum(axis=1),
        clips=(support > 0).sum(axis=1),
        effective=np.divide(support.sum(axis=1) ** 2, squares, out=np.zeros(len(chosen)), where=squares > 0),
        frames=a["frames"].sum(axis=1),
        fragile=fragile,
    )


def _hangs_on_one_clip(what: Metric, sums: Mapping[str, Floats]) -> Mask:
    """(m,): is there a clip without which the metric is not defined?"""
    assert what.ratio is not None
    denominator = np.asarray(what.ratio(sums)[1], float)
    return np.asarray(((denominator > 0) & (denominator == denominator.sum(axis=1, keepdims=True))).any(axis=1))


def precision_deltas(incumbent: Side, candidate: Side, rows: Ints, cells: Mask) -> Floats:
    """Average precision of the candidate minus the incumbent's, (n,): what no choice of thresholds can hide.

    rows: series, ascending. NaN without positives.
    """

    def values(table: EvidenceTable) -> Floats:
        return average_precision(curves(by_score(table), cells))

    def deltas(part: Ints) -> Floats:
        old, new = (side.table.take(part) for side in (incumbent, candidate))
        before = values(old)
        return (before if old == new else values(new)) - before

    return np.concatenate([np.zeros(0), *each(deltas, blocks(incumbent.table.sizes, rows))])


_ERRORS = frozenset({"fp", "fn", "events", "sum_abs_error"})


def new_errors(incumbent: Side, candidate: Side, rows: Ints, cells: Mask, decided: Mask, tolerance: Floats) -> Mask:
    """(P,): has the candidate more false or missed events on these cells than the incumbent, at shipped thresholds?

    Of a measured quantity: is its mean absolute error there greater by more than `tolerance`, (P,)?
    rows: first series of each prediction.
    """

    def errors(side: Side) -> dict[str, Floats]:
        tables = ((part, side.table.take(part)) for part in blocks(side.table.sizes, rows) or [rows])
        sums = [named_sums(t, by_score(t), side.codes[part], decided[part], _ERRORS) for part, t in tables]
        return {n: np.concatenate([found[n][:, cells].sum(axis=1) for found in sums]) for n in sums[0]}

    a, b = errors(incumbent), errors(candidate)
    worse = (b["fp"] > a["fp"]) | (b["fn"] > a["fn"])
    if "sum_abs_error" in a:
        events = np.maximum(a["events"], 1)
        worse |= (b["sum_abs_error"] - a["sum_abs_error"]) / events > tolerance
    return worse
