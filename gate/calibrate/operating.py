"""Operating points of all predictions at once, chosen on the calibration clips.

The default rule (method A11.1): of all thresholds whose F is within `NEAR` of the best, the one nearest the middle of
their range, in logit. With hysteresis: the incumbent's threshold stays as long as it lies in that range. F is jagged on
few clips, so whatever lies between two near-optimal thresholds is taken to be one. The argmax itself jumps between
retrainings; the middle does not, and loses less on new clips.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gate.curves import Curves
from gate.errors import ConfigError
from gate.lattice import LARGEST_LOGIT, decode, threshold_code
from gate.measures import divide, f_beta

Status = Literal["calibrated", "kept", "threshold_weak", "no_positives", "no_scores"]
NEAR = 0.02
#: Fewer positives than this do not place a threshold (method A11.1).
ENOUGH_POSITIVES = 30


@dataclass(frozen=True)
class OperatingPoint:
    """Where one prediction decides.

    threshold: logit; a score at or above it is accepted; None when nothing could be chosen. status: how it was chosen;
    `kept` is the incumbent's. precision, recall: at it, on the calibration clips. low, high: the lowest and highest
    near-optimal threshold. feasible: there is a threshold and the objective is met.
    """

    prediction: str
    objective: str
    status: Status
    threshold: float | None
    precision: float | None
    recall: float | None
    positives: int
    low: float | None
    high: float | None

    @property
    def feasible(self) -> bool:
        return self.threshold is not None and self.status not in ("no_positives", "no_scores")


def beta_of(objective: str) -> float:
    """beta of `max f1`, `max f2` or `max fbeta(b)`. Raises ConfigError for another objective."""
    match = re.fullmatch(r"max (?:f(\d+(?:\.\d+)?)|fbeta\((\d+(?:\.\d+)?)\))", objective)
    beta = float(match[1] or match[2]) if match else 0.0
    if beta <= 0:
        raise ConfigError(
            f"unknown objective '{objective}'", mend="this version knows 'max f1', 'max f2', 'max fbeta(0.5)'"
        )
    return beta


def calibrate(
    curve: Curves,
    rows: Sequence[int],
    predictions: Sequence[str],
    objectives: Sequence[str],
    incumbent: Mapping[str, float] | None = None,
    *,
    keep: Collection[str] = (),
) -> tuple[OperatingPoint, ...]:
    """One operating point for each of the named predictions.

    curve: over the calibration clips. rows: series of each prediction in it. incumbent: prediction -> threshold that
    ships now, for hysteresis. keep: predictions that take it whatever it is worth here.
    """
    beta = np.ones(len(curve.total))
    beta[list(rows)] = [beta_of(o) for o in objectives]
    f = _f_of_bins(curve, beta)
    best = _best(f, curve)
    near = f >= best[curve.series] - NEAR
    logit = np.clip(decode(curve.code), -LARGEST_LOGIT, LARGEST_LOGIT)
    chosen, low, high = _hull_midpoint(near, logit, curve)
    points, kept = [], frozenset(keep)
    for row, prediction, objective in zip(rows, predictions, objectives, strict=True):
        shipped = (incumbent or {}).get(prediction)
        positives = int(curve.total[row])
        status: Status = "calibrated"
        threshold: float | None = None
        if not positives or chosen[row] < 0:
            status, threshold = ("no_scores" if positives else "no_positives"), shipped
        elif shipped is not None and (prediction in kept or logit[low[row]] <= shipped <= logit[high[row]]):
            status, threshold = "kept", shipped
        else:
            status = "calibrated" if positives >= ENOUGH_POSITIVES else "threshold_weak"
            threshold = float(logit[chosen[row]])
        tp, fp = _counts_at(curve, row, threshold)
        points.append(
            OperatingPoint(
                prediction,
                objective,
                status,
                threshold,
                tp / (tp + fp) if tp + fp else None,
                tp / positives if positives else None,
                positives,
                float(logit[low[row]]) if low[row] >= 0 else None,
                float(logit[high[row]]) if high[row] >= 0 else None,
            )
        )
    return tuple(points)


def threshold_codes(thresholds: Sequence[float | None]) -> NDArray[np.int64]:
    """Lattice codes of thresholds, (n,); NO_THRESHOLD where there is none."""
    return np.array([threshold_code(t) for t in thresholds], dtype=np.int64)


def _f_of_bins(curve: Curves, beta: NDArray[np.float64]) -> NDArray[np.float64]:
    total = curve.total[curve.series]
    sums = {"tp": curve.tp.astype(float), "fp": curve.fp.astype(float), "fn": (total - curve.tp).astype(float)}
    return np.nan_to_num(divide(*f_beta(beta[curve.series])(sums)))  # type: ignore[arg-type]


def _best(f: NDArray[np.float64], curve: Curves) -> NDArray[np.float64]:
    """Greatest F of each series, (S,); -inf for one without scores."""
    best = np.full(len(curve.total), -np.inf)
    np.maximum.at(best, curve.series, f)
    return best


def _hull_midpoint(
    near: NDArray[np.bool_], logit: NDArray[np.float64], curve: Curves
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """(chosen, lowest, highest) bin of each series, (S,), -1 where there is none."""
    rows = len(curve.total)
    bins = np.flatnonzero(near)
    series = curve.series[bins]
    lowest, highest = np.full(rows, -1), np.full(rows, -1)
    lowest[series] = bins  # bins descend in score: the last written is the lowest
    highest[series[::-1]] = bins[::-1]
    middle = np.full(rows, np.nan)
    middle[series] = (logit[lowest[series]] + logit[highest[series]]) / 2
    distance = np.abs(logit[bins] - middle[series])
    # Nearest first; of two equally near the higher, which stands first in its series.
    order = np.lexsort((bins, distance, series))
    chosen = np.full(rows, -1)
    chosen[series[order][::-1]] = bins[order][::-1]
    return chosen, lowest, highest


def _counts_at(curve: Curves, row: int, threshold: float | None) -> tuple[int, int]:
    """(tp, fp) of one series at a threshold; nothing is accepted without one."""
    if threshold is None:
        return 0, 0
    part = curve.of(row)
    accepted = int((curve.code[part] >= threshold_code(threshold)).sum())
    return (int(curve.tp[part][accepted - 1]), int(curve.fp[part][accepted - 1])) if accepted else (0, 0)
