"""Precision-recall curves of all series at once, read from score histograms.

One bin a distinct score, in descending order; equal scores are one event group, so the order of events never
matters. Missed positives count in `total` and never enter a bin.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gate.lattice import MISSED
from gate.table import Entries, Floats, Ints


@dataclass(frozen=True)
class Curves:
    """starts: (S + 1,) first bin of each series. Per bin, (B,): series, code (descending within a series),
    positives, negatives, tp and fp (cumulative, this bin included). total, negatives_total: (S,) events.
    kept: positions of the entries used; bin: (len(kept),) bin of each, -1 for missed positives.
    """

    starts: Ints
    series: Ints
    code: Ints
    positives: Ints
    negatives: Ints
    tp: Ints
    fp: Ints
    total: Ints
    negatives_total: Ints
    kept: Ints
    bin: Ints

    def of(self, series: int) -> slice:
        return slice(int(self.starts[series]), int(self.starts[series + 1]))


def curves(entries: Entries, cells: NDArray[np.bool_]) -> Curves:
    """Curves over the chosen cells, (C,) bool."""
    rows = entries.rows
    kept = np.flatnonzero(cells[entries.cell])
    series, code = entries.series[kept], entries.code[kept]
    count, positive = entries.count[kept], entries.positive[kept]
    total = np.bincount(series, count * positive, rows).astype(np.int64)
    negatives_total = np.bincount(series, count * ~positive, rows).astype(np.int64)
    scored = code != MISSED
    first = scored & np.r_[True, (series[1:] != series[:-1]) | (code[1:] != code[:-1])][: kept.size]
    bin_of = np.where(scored, np.cumsum(first) - 1, -1)
    bins = int(first.sum())
    positives = np.bincount(bin_of[scored], (count * positive)[scored], bins).astype(np.int64)
    negatives = np.bincount(bin_of[scored], (count * ~positive)[scored], bins).astype(np.int64)
    bin_series = series[first]
    starts = np.searchsorted(bin_series, np.arange(rows + 1))
    return Curves(
        starts,
        bin_series,
        code[first],
        positives,
        negatives,
        cumulative(positives, starts, bin_series),
        cumulative(negatives, starts, bin_series),
        total,
        negatives_total,
        kept,
        bin_of,
    )


def cumulative(values: Ints, starts: Ints, series: Ints) -> Ints:
    """Running sums of `values` (B,) that start anew with each series."""
    running = np.r_[0, np.cumsum(values)]
    return running[1:] - running[starts[series]]


def running_from_end(values: Floats, starts: Ints, series: Ints) -> Floats:
    """Sums of `values` (B,) from each bin to the end of its series, this bin included."""
    out = np.empty_like(values)
    for k in range(len(starts) - 1):
        # A global running sum would carry the rounding of the series before it: 1,000 short loops stay exact.
        a, b = starts[k], starts[k + 1]
        out[a:b] = np.cumsum(values[a:b][::-1])[::-1]
    return out


def average_precision(curve: Curves) -> Floats:
    """Step-wise average precision, AP = sum_b (R_b - R_{b-1}) P_b, (S,); NaN without positives.

    scikit-learn `average_precision_score`; missed positives count in the recall's denominator.
    """
    precision = curve.tp / np.maximum(curve.tp + curve.fp, 1)
    gained = np.bincount(curve.series, curve.positives * precision, len(curve.total))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(curve.total > 0, gained / curve.total, np.nan)


RECALL_POINTS = np.linspace(0.0, 1.0, 101)


def coco_average_precision(curve: Curves) -> Floats:
    """COCO average precision: mean over 101 recall points of the precision envelope, (S,); NaN without positives.

    pycocotools `COCOeval.accumulate` (8c9bcc3): a recall point beyond the curve's end has precision 0.
    """
    out = np.full(len(curve.total), np.nan)
    for k in np.flatnonzero(curve.total > 0):
        part = curve.of(int(k))
        out[k] = _envelope_mean(curve.tp[part], curve.fp[part], int(curve.total[k]))
    return out


def _envelope_mean(tp: Ints, fp: Ints, total: int) -> float:
    precision = tp / np.maximum(tp + fp, 1)
    envelope = np.r_[np.maximum.accumulate(precision[::-1])[::-1], 0.0]
    at = np.searchsorted(tp / total, RECALL_POINTS, side="left")
    return float(envelope[at].mean())
