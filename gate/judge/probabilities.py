"""Probability calibration of both bundles: told for every prediction with scores, and never gated (method A13)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gate.calibrate import Reliability, reliability
from gate.compare import Comparison, Question, Side, Still, Unreached, compare, half_width, leaning, noted_of_networks
from gate.judge.decision import Probabilities, Probability, ReliabilityBin
from gate.judge.layout import Layout
from gate.lattice import MISSED
from gate.lock import digest_of
from gate.suite import Slice
from gate.table import ClipIndex, Entries, Floats, blocks, by_score, differing, entries_of

#: (incumbent, candidate, has either positives without a score?)
Told = tuple[Probabilities, Probabilities, bool]
LOSSES = ("brier", "log_loss")
#: Entries of evidence that are looked at together: bounds memory, changes nothing else.
ENTRIES = 1 << 21


def probabilities(
    before: Side, after: Side, layout: Layout, index: ClipIndex, confidence: float, unreached: Unreached
) -> tuple[Probability, ...]:
    """What the scores of each thresholded prediction are worth as probabilities, on the validation clips.

    unreached: predictions that are the same on both sides, of which the answer may be noted.
    """
    chosen = [(k, p) for k, (p, rows) in enumerate(layout.rows.items()) if not layout.decided[rows[0]]]
    if not chosen:
        return ()
    first = {k: layout.rows[p][0] for k, p in chosen}
    told = _noted(before, first, index, unreached)
    reached = [k for k in first if k not in told]
    told |= dict(zip(reached, _told(before, after, [first[k] for k in reached], index), strict=True))
    questions = [Question(k, (row,), name) for k, row in first.items() for name in LOSSES]
    everything = [Slice("all", np.ones(before.table.cells, bool))]
    paired = compare(before, after, questions, everything, index, layout.decided, unreached=unreached)
    bounds = _bounds(paired, confidence)
    place = {(questions[q].prediction, questions[q].metric): i for i, q in enumerate(paired.question.tolist())}

    def line(k: int, prediction: str) -> Probability:
        old, new, unscored = told[k]
        return Probability(
            prediction,
            incumbent=old,
            candidate=new,
            # A positive without a score has no loss: whoever misses more would seem better.
            brier=None if unscored else _difference(bounds[place[k, "brier"]]),
            log_loss=None if unscored else _difference(bounds[place[k, "log_loss"]]),
        )

    return tuple(line(k, prediction) for k, prediction in chosen)


def _noted(side: Side, first: Mapping[int, int], index: ClipIndex, unreached: Unreached) -> dict[int, Told]:
    """Unreached predictions of `first`, each with its first series -> what there is to tell."""
    inside = {still: [k for k in still.predictions if k in first] for still in unreached.networks}
    where = digest_of(repr((index.clip.tobytes(), index.clips)).encode())
    told = [f.name for f in fields(Probabilities)]

    def question(still: Still) -> list[Any]:
        return [told, where, [still.rows.index(first[k]) for k in inside[still]]]

    def work(some: Sequence[Still]) -> list[list[Any]]:
        rows = sorted(first[k] for still in some for k in inside[still])
        found = dict(zip(rows, _told(side, side, rows, index), strict=True))
        of_each = ([found[first[k]] for k in inside[still]] for still in some)
        return [[[asdict(own), unscored] for own, _, unscored in of_one] for of_one in of_each]

    answers = noted_of_networks(unreached, "probabilities", question, work)
    return {
        k: (own := _of_note(noted), own, unscored)
        for still, answer in zip(unreached.networks, answers, strict=True)
        for k, (noted, unscored) in zip(inside[still], answer, strict=True)
    }


def _of_note(told: Mapping[str, Any]) -> Probabilities:
    return Probabilities(**{**told, "bins": tuple(ReliabilityBin(**row) for row in told["bins"])})


def _told(before: Side, after: Side, rows: Sequence[int], index: ClipIndex) -> Iterator[Told]:
    """What there is to tell of some series, ascending."""
    for some in blocks(before.table.sizes, np.array(rows, dtype=np.int64), ENTRIES):
        scored = [by_score(side.table.take(some)) for side in (before, after)]
        unscored = _with_missed(scored[0]) | _with_missed(scored[1])
        old = _each_of(reliability(scored[0], index))
        changed = np.flatnonzero(differing(*scored))
        new = dict(enumerate(old))
        if len(changed):
            new |= dict(
                zip(changed.tolist(), _each_of(reliability(entries_of(scored[1], changed), index)), strict=True)
            )
        yield from zip(old, new.values(), unscored.tolist(), strict=True)


def _with_missed(entries: Entries) -> NDArray[np.bool_]:
    """(n,): has the series positives that got no score?"""
    return np.bincount(entries.series[entries.code == MISSED], minlength=entries.rows) > 0


def _bounds(c: Comparison, confidence: float) -> Floats:
    """(n, 3): change of a loss, lower is better, and its two one-sided bounds."""
    half = half_width(c.se, c.lost, c.df, confidence)
    shift = leaning(c.third, c.se, c.lost, c.df, confidence)
    return -np.stack([c.delta, c.delta + half + np.maximum(shift, 0), c.delta - half + np.minimum(shift, 0)], axis=1)


def _difference(row: Floats) -> tuple[float, float, float] | None:
    return (float(row[0]), float(row[1]), float(row[2])) if np.isfinite(row).all() else None


def _each_of(r: Reliability) -> list[Probabilities]:
    """What there is to tell of every series, in their order."""
    columns = (r.events, r.observed, r.expected, r.ratio, r.z, r.rms, r.ece)
    bins = np.stack([r.bin_predicted, r.bin_observed, r.bin_events, r.bin_se], axis=2).tolist()
    told = zip(r.bins.tolist(), bins, *(column.tolist() for column in columns), strict=True)
    return [
        Probabilities(
            events=events,
            observed=observed,
            expected=expected,
            ratio=_number(ratio),
            z=_number(z),
            rms=_number(rms),
            ece=_number(ece),
            bins=tuple(ReliabilityBin(p, share, n, se=_number(se)) for p, share, n, se in rows[:used]),
        )
        for used, rows, events, observed, expected, ratio, z, rms, ece in told
    ]


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
