"""Numbers and names as a person says them."""

from __future__ import annotations

import math
from collections.abc import Iterable

from gate.errors import ConfigError
from gate.measures import metric

_SPELLED = {
    "average_precision": "average precision",
    "coco_ap": "COCO average precision",
    "aos": "AOS",
    "iou": "IoU",
    "mae": "mean absolute error",
    "rmse": "root mean squared error",
    "brier": "Brier score",
    "log_loss": "log-loss",
    "abs_rel": "AbsRel",
    "sq_rel": "SqRel",
    "rmse_log": "RMSE of logs",
    "silog": "SILog",
    "delta_1": "share within a factor of 1.25",
    "delta_2": "share within a factor of 1.25 squared",
    "delta_3": "share within a factor of 1.25 cubed",
    "within_15_degrees": "share within 15 degrees",
}
_PER_IMAGE = "_per_image"


def spelled(name: str) -> str:
    """`average_precision` -> "average precision"; F-beta as F1, F0.5; `rmse_per_image` -> "… per image"."""
    if name.endswith(_PER_IMAGE):
        return f"{spelled(name.removesuffix(_PER_IMAGE))} per image"
    return _SPELLED.get(name, name.upper() if name.startswith("f") and name[1:2].isdigit() else name)


def support(metric_names: Iterable[str]) -> str:
    """What a clip must hold to count for any of these metrics: `positives`, or `a truth` where all events count. Names
    that are no metric's count as of positives.
    """
    try:
        return "a truth" if all(metric(n).support != "positives" for n in metric_names) else "positives"
    except ConfigError:
        return "positives"


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
