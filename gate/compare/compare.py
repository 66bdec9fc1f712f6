"""Candidate against incumbent: every prediction x metric on every slice, as a few arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from gate.compare.effects import Effects, ScoredSide, curve_effects, ratio_effects, smooth_effects
from gate.compare.sums import named_sums
from gate.curves import average_precision, curves
from gate.lattice import NO_THRESHOLD
from gate.measures import Metric, metric
from gate.suite import Slice
from gate.table import (
    ClipIndex,
    EvidenceTable,
    Floats,
    Ints,
    blocks,
    by_score,
    differing,
    each,
    hand_back_memory,
)

Mask = NDArray[np.bool_]
#: Predictions x clips compared at once, in arrays that stay in a processor's cache; changes nothing else.
BLOCK = 1 << 15
#: Entries of evidence in a block, unless one prediction has more: bounds memory, changes nothing else.
ENTRIES = 1 << 20


@dataclass(frozen=True)
class Side:
    """One bundle. table: all judged heads, stacked. codes: (S,) threshold code of each series, or NO_THRESHOLD."""

    table: EvidenceTable
    codes: Ints


@dataclass(frozen=True)
class Question:
    """One metric of one prediction. series: its rows of evidence, one an IoU level."""

    prediction: int
    series: tuple[int, ...]
    metric: str


@dataclass(frozen=True)
class Comparison:
    """n cells: question x slice, slices of one metric together.

    question, slice: (n,) positions. incumbent, candidate: (n,) in the metric's own unit, NaN where not defined.
    at_incumbent: (n,) candidate at the incumbent's threshold, NaN where no threshold is used. delta: (n,) higher is
    better. d, weight: (n, J) contributions of the validation clips. se, df, lost: (n,) see Effects. third: (n,) sum of
    the cubes of what a clip contributes beyond its share. positives, frames: (n,) totals; clips: (n,) clips with
    positives; effective: (n,) Kish's number of such clips. fragile: (n,) cells whose value hangs on a single clip, for
    the candidate and not for the incumbent.
    """

    question: Ints
    slice: Ints
    incumbent: Floats
    candidate: Floats
    at_incumbent: Floats
    delta: Floats
    d: Floats
    weight: Floats
    se: Floats
    df: Floats
    third: Floats
    lost: Floats
    positives: Floats
    clips: Ints
    effective: Floats
    frames: Floats
    fragile: Mask


def compare(
    incumbent: Side,
    candidate: Side,
    questions: Sequence[Question],
    slices: Sequence[Slice],
    index: ClipIndex,
    decided: Mask,
    other: ClipIndex | None = None,
) -> Comparison:
    """Answers of all questions on all slices.

    index: validation clips of the cells. decided: (S,) series whose counts need no threshold. other: clips of the
    candidate's cells, where it was asked on others (A/A).
    """

    def answered(block: Sequence[int]) -> list[Comparison]:
        rows = np.array(sorted({row for k in block for row in questions[k].series}), dtype=np.int64)
        metrics = [metric(name) for name in sorted({questions[k].metric for k in block})]
        table_a, table_b = incumbent.table.take(rows), candidate.table.take(rows)
        codes_a, codes_b = incumbent.codes[rows], candidate.codes[rows]
        a = b = _part(table_a, codes_a, index, codes_a, decided[rows], metrics)
        if other is not None or table_a != table_b or not np.array_equal(codes_a, codes_b):
            b = _part(table_b, codes_b, other or index, codes_a, decided[rows], metrics)
        return list(_parts(a, b, questions, block, rows, slices, decided))

    sizes = np.maximum(*(np.diff(by_score(side.table).starts) for side in (incumbent, candidate)))
    parts = [part for found in each(answered, list(_blocks(questions, index.clips, sizes))) for part in found]
    if not parts:
        none = np.zeros(0)
        many = np.zeros((0, index.clips))
        whole = np.zeros(0, np.int64)
        return Comparison(
            whole, whole, none, none, none, none, many, many, none, none, none, none, none, whole, none, none, whole > 0
        )
    whole = Comparison(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Comparison)))
    parts.clear()
    hand_back_memory()  # the parts, and what they were worked out in, are several times what is kept
    return whole


def _blocks(questions: Sequence[Question], clips: int, sizes: Ints) -> Iterator[list[int]]:
    """Positions of the questions, of some neighbouring predictions at a time; sizes: (S,) entries of each series."""
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


@dataclass(frozen=True)
class _Part:
    """Some series of one bundle: sums at its own thresholds, sums at the incumbent's, and scores in curve order."""

    sums: Mapping[str, Floats]
    same: Mapping[str, Floats]
    scored: ScoredSide
    codes: Ints
    index: ClipIndex


def _part(
    table: EvidenceTable, codes: Ints, index: ClipIndex, shipped: Ints, decided: Mask, metrics: Sequence[Metric]
) -> _Part:
    entries = by_score(table)
    read = frozenset[str]().union(*(_read(what) for what in metrics))
    sums = named_sums(table, entries, codes, decided, read)
    same = sums
    if any(what.at_threshold for what in metrics) and not np.array_equal(codes, shipped):
        same = named_sums(table, entries, shipped, decided, read)
    return _Part(sums, same, ScoredSide(entries.of_cells(index.clip >= 0), index), codes, index)


def _parts(
    a: _Part,
    b: _Part,
    questions: Sequence[Question],
    block: Sequence[int],
    rows: Ints,
    slices: Sequence[Slice],
    decided: Mask,
) -> Iterator[Comparison]:
    for name, levels in sorted({(questions[k].metric, len(questions[k].series)) for k in block}):
        chosen = [k for k in block if questions[k].metric == name and len(questions[k].series) == levels]
        groups = np.searchsorted(rows, np.array([questions[k].series for k in chosen], dtype=np.int64))
        first = groups[:, 0]
        own = decided[rows[first]]
        what = metric(name)
        curved = what.kind == "curve"
        scored_a, scored_b = (p.scored.take(groups) if curved else p.scored for p in (a, b))
        differs = np.ones(len(chosen), bool)
        if curved and a.index is b.index:
            each_level = differing(scored_a.entries, scored_b.entries).reshape(len(chosen), -1)
            differs = np.asarray(each_level.any(axis=1))
        usable_a, usable_b = (own | (p.codes[first] != NO_THRESHOLD) | (not what.at_threshold) for p in (a, b))
        for number, part in enumerate(slices):
            sums_a = _by_clip(a, a.sums, first, part, what)
            sums_b = sums_a if b is a else _by_clip(b, b.sums, first, part, what)
            again = what.at_threshold and b.same is not b.sums
            same = _by_clip(b, b.same, first, part, what) if again else sums_b
            if curved:
                effects = curve_effects(what, scored_a, scored_b, part.cells, differs)
            else:
                effects = (ratio_effects if what.kind == "ratio" else smooth_effects)(what, sums_a, sums_b)
            thresholded = what.at_threshold & ~own
            yield _cells(what, effects, sums_a, sums_b, same, usable_a, usable_b, thresholded, np.array(chosen), number)


def _by_clip(side: _Part, sums: Mapping[str, Floats], rows: Ints, part: Slice, what: Metric) -> dict[str, Floats]:
    """Sums that a cell of this metric is made of, name -> (m, J)."""
    return {n: side.index.sum(v[rows], part.cells) for n, v in sums.items() if n in _read(what)}


def _read(what: Metric) -> frozenset[str]:
    """Names of the sums that a cell of this metric is made of."""
    return what.needs | {"tp", "fn", "events", "frames", what.squares}


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
        third=_third(np.nan_to_num(effects.d), effects.delta, effects.weight),
        lost=effects.lost,
        positives=support.sum(axis=1),
        clips=(support > 0).sum(axis=1),
        effective=np.divide(support.sum(axis=1) ** 2, squares, out=np.zeros(len(chosen)), where=squares > 0),
        frames=a["frames"].sum(axis=1),
        fragile=fragile,
    )


def _third(d: Floats, delta: Floats, weight: Floats) -> Floats:
    """Sum over clips of the cubed contributions less their share of the difference, (m,)."""
    return ((d - delta[:, None] * np.nan_to_num(weight)) ** 3).sum(axis=1)


def _hangs_on_one_clip(what: Metric, sums: Mapping[str, Floats]) -> Mask:
    """(m,): is there a clip without which the metric is not defined?"""
    assert what.ratio is not None
    denominator = np.asarray(what.ratio(sums)[1], float)
    return np.asarray(((denominator > 0) & (denominator == denominator.sum(axis=1, keepdims=True))).any(axis=1))


def precision_deltas(incumbent: Side, candidate: Side, rows: Ints, cells: Mask) -> Floats:
    """Average precision of the candidate minus the incumbent's, (n,): what no choice of thresholds can hide.

    rows: series, ascending. NaN without positives.
    """

    def values(table: EvidenceTable, part: Ints) -> Floats:
        return average_precision(curves(by_score(table.take(part)), cells))

    def deltas(part: Ints) -> Floats:
        return values(candidate.table, part) - values(incumbent.table, part)

    return np.concatenate([np.zeros(0), *each(deltas, blocks(incumbent.table, rows))])


_ERRORS = frozenset({"fp", "fn", "events", "sum_abs_error"})


def new_errors(incumbent: Side, candidate: Side, rows: Ints, cells: Mask, decided: Mask, tolerance: Floats) -> Mask:
    """(P,): has the candidate more false or missed events on these cells than the incumbent, at shipped thresholds?

    Of a measured quantity: is its mean absolute error there greater by more than `tolerance`, (P,)?
    rows: first series of each prediction.
    """
    a, b = (
        {
            n: v[rows][:, cells].sum(axis=1)
            for n, v in named_sums(s.table, by_score(s.table), s.codes, decided, _ERRORS).items()
        }
        for s in (incumbent, candidate)
    )
    worse = (b["fp"] > a["fp"]) | (b["fn"] > a["fn"])
    if "sum_abs_error" in a:
        events = np.maximum(a["events"], 1)
        worse |= (b["sum_abs_error"] - a["sum_abs_error"]) / events > tolerance
    return worse


def aggregate(comparison: Comparison, members: Sequence[Ints]) -> Comparison:
    """Plain means over groups of cells (method A5, aggregates): rows of `comparison` that make up each group.

    Values, contributions and weights are means; the standard error comes from the mean contributions.
    """

    def mean(values: Floats) -> Floats:
        return np.array([values[rows].mean(axis=0) for rows in members]).reshape(len(members), *values.shape[1:])

    d, weight, delta = mean(comparison.d), mean(comparison.weight), mean(comparison.delta)
    present = (weight > 0).sum(axis=1)
    centred = d - delta[:, None] * weight
    with np.errstate(invalid="ignore", divide="ignore"):
        se = np.sqrt(present / np.maximum(present - 1, 1) * (centred**2).sum(axis=1))
        df = (weight**2).sum(axis=1) ** 2 / (weight**4).sum(axis=1)
    first = np.array([rows[0] for rows in members], dtype=np.int64)
    return Comparison(
        question=comparison.question[first],
        slice=comparison.slice[first],
        incumbent=mean(comparison.incumbent),
        candidate=mean(comparison.candidate),
        at_incumbent=np.full(len(members), np.nan),
        delta=delta,
        d=d,
        weight=weight,
        se=se,
        df=df,
        third=_third(d, delta, weight),
        lost=mean(comparison.lost) / np.sqrt([max(len(rows), 1) for rows in members]),
        positives=np.array([comparison.positives[rows].sum() for rows in members]),
        clips=present,
        effective=np.array([comparison.effective[rows].max(initial=0.0) for rows in members]),
        frames=np.array([comparison.frames[rows].max(initial=0.0) for rows in members]),
        fragile=np.zeros(len(members), bool),
    )
