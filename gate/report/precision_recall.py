"""Precision-recall curves of regressed predictions, of both bundles, for the eye."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gate.calibrate import threshold_codes
from gate.curves import Curves, average_precision, curves
from gate.judge.decision import Curve, CurvePair
from gate.table import EvidenceTable, by_score, entries_of

POINTS = 200


def curve_pairs(
    predictions: Sequence[str],
    row_of: Mapping[str, int],
    incumbent: EvidenceTable,
    candidate: EvidenceTable,
    thresholds: Mapping[str, tuple[float | None, float | None]],
    cells: NDArray[np.bool_],
) -> tuple[CurvePair, ...]:
    """Curves over the chosen cells, (C,), of predictions that have scores; row_of: prediction -> series.

    thresholds: prediction -> (incumbent, candidate) logit.
    """
    rows = np.array([row_of[p] for p in predictions], dtype=np.int64)
    sides = [curves(entries_of(by_score(t), rows), cells) for t in (incumbent, candidate)]
    pairs = []
    for k, prediction in enumerate(predictions):
        a, b = (
            _curve(side, k, name, thresholds.get(prediction, (None, None))[n])
            for n, (side, name) in enumerate(zip(sides, ("incumbent", "candidate"), strict=True))
        )
        if a is not None and b is not None:
            pairs.append(CurvePair(prediction, a, b))
    return tuple(pairs)


def _curve(curve: Curves, row: int, bundle: Literal["incumbent", "candidate"], threshold: float | None) -> Curve | None:
    part, total = curve.of(row), int(curve.total[row])
    tp, fp, code = curve.tp[part], curve.fp[part], curve.code[part]
    if not total or not len(tp):
        return None
    recall, precision = tp / total, tp / (tp + fp)
    # Evenly spaced in recall, so that the eye misses nothing; the ends are always there.
    at = np.unique(np.r_[0, np.searchsorted(recall, np.linspace(0, recall[-1], POINTS - 2)), len(tp) - 1])
    at = np.minimum(at, len(tp) - 1)
    accepted = int((code >= threshold_codes([threshold])[0]).sum())
    point = (float(recall[accepted - 1]), float(precision[accepted - 1])) if accepted else None
    return Curve(
        bundle,
        tuple(recall[at].tolist()),
        tuple(precision[at].tolist()),
        point,
        threshold,
        float(average_precision(curve)[row]),
    )
