"""Numbers and names as a person says them."""

from __future__ import annotations

import math

_SPELLED = {
    "average_precision": "average precision",
    "coco_ap": "COCO average precision",
    "iou": "IoU",
    "mae": "mean absolute error",
    "rmse": "root mean squared error",
    "brier": "Brier score",
    "log_loss": "log-loss",
    "latency_p50": "median latency",
}


def spelled(metric: str) -> str:
    """`average_precision` -> "average precision"; F-beta as F1, F0.5."""
    return _SPELLED.get(metric, metric.upper() if metric.startswith("f") and metric[1:2].isdigit() else metric)


def amount(value: float, unit: str, unitless: bool) -> str:
    """A loss or gain in points (hundredths) of a share, or in its own unit; two significant digits at least."""
    if unitless:
        return f"{_digits(100 * value)} points"
    return f"{_digits(value)} {unit}".rstrip()


def _digits(value: float) -> str:
    if value == 0:
        return "0"
    places = max(1, 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{places}f}" if places <= 8 else f"{value:.1e}"


def p_text(p: float) -> str:
    """A p-value is never shown as 0."""
    return "< 0.0001" if p < 1e-4 else f"{p:.4f}"
