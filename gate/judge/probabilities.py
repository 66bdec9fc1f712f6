"""Probability calibration of both bundles: told for every prediction with scores, and never gated (method A13)."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from gate.calibrate import Reliability, reliability
from gate.compare import Comparison, Question, Side, compare, half_width, leaning
from gate.judge.decision import Probabilities, Probability, ReliabilityBin
from gate.judge.layout import Layout
from gate.lattice import MISSED
from gate.suite import Slice
from gate.table import ClipIndex, Entries, Floats, Ints, blocks, by_score, differing, entries_of

LOSSES = ("brier", "log_loss")
#: Entries of evidence that are looked at together: bounds memory, changes nothing else.
ENTRIES = 1 << 21


def probabilities(
    before: Side, after: Side, layout: Layout, index: ClipIndex, confidence: float
) -> tuple[Probability, ...]:
    """What the scores of each thresholded prediction are worth as probabilities, on the validation clips."""
    chosen = [(k, p) for k, (p, rows) in enumerate(layout.rows.items()) if not layout.decided[rows[0]]]
    if not chosen:
        return ()
    first = layout.first[[k for k, _ in chosen]]
    told = [line for rows in blocks(before.table, first, ENTRIES) for line in _told(before, after, rows, index)]
    questions = [Question(k, (int(row),), name) for (k, _), row in zip(chosen, first, strict=True) for name in LOSSES]
    everything = [Slice("all", np.ones(before.table.cells, bool))]
    paired = compare(before, after, questions, everything, index, layout.decided)
    bounds = _bounds(paired, confidence)
    place = {(questions[q].prediction, questions[q].metric): i for i, q in enumerate(paired.question.tolist())}
    return tuple(
        Probability(
            prediction,
            incumbent=old,
            candidate=new,
            # A positive without a score has no loss: whoever misses more would seem better.
            brier=None if unscored else _difference(bounds[place[k, "brier"]]),
            log_loss=None if unscored else _difference(bounds[place[k, "log_loss"]]),
        )
        for (k, prediction), (old, new, unscored) in zip(chosen, told, strict=True)
    )


def _told(
    before: Side, after: Side, rows: Ints, index: ClipIndex
) -> Iterator[tuple[Probabilities, Probabilities, bool]]:
    """(incumbent, candidate, has either positives without a score?) of some series."""
    scored = [by_score(side.table.take(rows)) for side in (before, after)]
    unscored = _with_missed(scored[0]) | _with_missed(scored[1])
    old = _each_of(reliability(scored[0], index))
    changed = np.flatnonzero(differing(*scored))
    new = dict(enumerate(old))
    if len(changed):
        new |= dict(zip(changed.tolist(), _each_of(reliability(entries_of(scored[1], changed), index)), strict=True))
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
