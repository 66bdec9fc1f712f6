"""Probability calibration of both bundles: told for every prediction with scores, and never gated (method A13)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gate.calibrate import Reliability, reliability
from gate.compare import Comparison, Question, Side, compare, half_width, leaning
from gate.judge.decision import Probabilities, Probability, ReliabilityBin
from gate.judge.layout import Layout
from gate.lattice import MISSED
from gate.suite import Slice
from gate.table import ClipIndex, Floats, Ints, by_score

LOSSES = ("brier", "log_loss")


def probabilities(
    before: Side, after: Side, layout: Layout, index: ClipIndex, confidence: float
) -> tuple[Probability, ...]:
    """What the scores of each thresholded prediction are worth as probabilities, on the validation clips."""
    chosen = [(k, p) for k, (p, rows) in enumerate(layout.rows.items()) if not layout.decided[rows[0]]]
    if not chosen:
        return ()
    first = layout.first[[k for k, _ in chosen]]
    sides = [reliability(by_score(side.table.take(first)), index) for side in (before, after)]
    questions = [Question(k, (int(row),), name) for (k, _), row in zip(chosen, first, strict=True) for name in LOSSES]
    everything = [Slice("all", np.ones(before.table.cells, bool))]
    paired = compare(before, after, questions, everything, index, layout.decided)
    bounds = _bounds(paired, confidence)
    unscored = _with_missed(before, first) | _with_missed(after, first)
    place = {(questions[q].prediction, questions[q].metric): i for i, q in enumerate(paired.question.tolist())}
    return tuple(
        Probability(
            prediction,
            incumbent=_of(sides[0], i),
            candidate=_of(sides[1], i),
            # A positive without a score has no loss: whoever misses more would seem better.
            brier=None if unscored[i] else _difference(bounds[place[k, "brier"]]),
            log_loss=None if unscored[i] else _difference(bounds[place[k, "log_loss"]]),
        )
        for i, (k, prediction) in enumerate(chosen)
    )


def _with_missed(side: Side, rows: Ints) -> NDArray[np.bool_]:
    """(n,): has the series positives that got no score?"""
    entries = by_score(side.table.take(rows))
    return np.bincount(entries.series[entries.code == MISSED], minlength=len(rows)) > 0


def _bounds(c: Comparison, confidence: float) -> Floats:
    """(n, 3): change of a loss, lower is better, and its two one-sided bounds."""
    half = half_width(c.se, c.lost, c.df, confidence)
    shift = leaning(c.third, c.se, c.lost, c.df, confidence)
    return -np.stack([c.delta, c.delta + half + np.maximum(shift, 0), c.delta - half + np.minimum(shift, 0)], axis=1)


def _difference(row: Floats) -> tuple[float, float, float] | None:
    return (float(row[0]), float(row[1]), float(row[2])) if np.isfinite(row).all() else None


def _of(r: Reliability, i: int) -> Probabilities:
    used = int(r.bins[i])
    rows = np.stack([r.bin_predicted[i, :used], r.bin_observed[i, :used], r.bin_events[i, :used]], axis=1).tolist()
    return Probabilities(
        events=int(r.events[i]),
        observed=int(r.observed[i]),
        expected=float(r.expected[i]),
        ratio=_number(r.ratio[i]),
        z=_number(r.z[i]),
        rms=_number(r.rms[i]),
        ece=_number(r.ece[i]),
        bins=tuple(ReliabilityBin(*row, se=_number(se)) for row, se in zip(rows, r.bin_se[i].tolist(), strict=False)),
    )


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
