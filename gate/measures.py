"""Metrics: each a pure function of sums, with its direction and the place where it is defined.

A ratio metric gives (numerator, denominator) from named sums of any shape, so one function serves a clip, a slice
and the whole suite. A smooth metric gives its value from the sums. A curve metric is read from the score histogram
(`gate.curves`). Nothing measured is `NotMeasured` with a reason, never 0 and never 1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

from gate.curves import average_precision, coco_average_precision, curves
from gate.errors import ConfigError
from gate.evidence import STEPS, Evidence
from gate.lattice import LARGEST_LOGIT, MISSED, decode, probability, threshold_code
from gate.table import Floats, by_score, one_row

Sums = Mapping[str, Floats]


@dataclass(frozen=True)
class NotMeasured:
    """There is no value, and this is why."""

    reason: str


@dataclass(frozen=True)
class Metric:
    """One metric.

    kind: `ratio` (sums -> numerator, denominator), `smooth` (sums -> value) or `curve` (score histogram -> value);
    ratio, value: the function of the first two.
    needs: names of the sums it reads; `curve` for the histogram itself.
    at_threshold: reads counts at an operating point.
    unitless: a share in 0..1; else it has the head's unit or the loss's own.
    support: what makes an event count as support: a positive truth, or any event. beta: of F-beta, else 0.
    squares: of a mean error, the sum of squares that its spread is read from.
    """

    name: str
    kind: Literal["ratio", "smooth", "curve"]
    needs: frozenset[str]
    ratio: Callable[[Sums], tuple[Floats, Floats]] | None = None
    value: Callable[[Sums], Floats] | None = None
    lower_is_better: bool = False
    at_threshold: bool = False
    unitless: bool = True
    support: Literal["positives", "events"] = "positives"
    beta: float = 0.0
    squares: str = ""


def precision(s: Sums) -> tuple[Floats, Floats]:
    return s["tp"], s["tp"] + s["fp"]


def recall(s: Sums) -> tuple[Floats, Floats]:
    return s["tp"], s["tp"] + s["fn"]


def f_beta(beta: float | Floats) -> Callable[[Sums], tuple[Floats, Floats]]:
    """F-beta, (1 + b²) tp / ((1 + b²) tp + b² fn + fp): van Rijsbergen 1979, Information Retrieval, chapter 7."""
    b = beta * beta

    def ratio(s: Sums) -> tuple[Floats, Floats]:
        return (1 + b) * s["tp"], (1 + b) * s["tp"] + b * s["fn"] + s["fp"]

    return ratio


def iou(s: Sums) -> tuple[Floats, Floats]:
    """Intersection over union of pixels or cells, from sums over the data set (Cityscapes), never a mean of frames."""
    return s["tp"], s["tp"] + s["fp"] + s["fn"]


def accuracy(s: Sums) -> tuple[Floats, Floats]:
    return s["tp"] + s["tn"], s["tp"] + s["fp"] + s["fn"] + s["tn"]


def mean_of(name: str) -> Callable[[Sums], tuple[Floats, Floats]]:
    def ratio(s: Sums) -> tuple[Floats, Floats]:
        return s[name], s["events"]

    return ratio


def rmse(s: Sums) -> Floats:
    """Root of the mean squared error over all events of the data set (not a mean of roots); NaN without events."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.sqrt(s["sum_square_error"] / s["events"])


_COUNTS = frozenset({"tp", "fp", "fn"})


def _error(name: str, total: str, squares: str) -> Metric:
    return Metric(
        name,
        "ratio",
        frozenset({total, "events"}),
        mean_of(total),
        lower_is_better=True,
        unitless=False,
        support="events",
        squares=squares,
    )


_METRICS: dict[str, Metric] = {
    m.name: m
    for m in (
        Metric("precision", "ratio", _COUNTS, precision, at_threshold=True),
        Metric("recall", "ratio", _COUNTS, recall, at_threshold=True),
        Metric("iou", "ratio", _COUNTS, iou, at_threshold=True),
        Metric("accuracy", "ratio", _COUNTS | {"tn"}, accuracy, at_threshold=True, support="events"),
        Metric("average_precision", "curve", frozenset({"curve"})),
        Metric("coco_ap", "curve", frozenset({"curve"})),
        _error("brier", "sum_brier", "sum_brier_square"),
        _error("log_loss", "sum_log_loss", "sum_log_loss_square"),
        _error("mae", "sum_abs_error", "sum_square_error"),
        Metric(
            "rmse",
            "smooth",
            frozenset({"sum_square_error", "events"}),
            value=rmse,
            lower_is_better=True,
            unitless=False,
            support="events",
        ),
    )
}
_F_BETA = re.compile(r"f(\d+(?:\.\d+)?)")
NAMES = (*_METRICS, "f1", "f2", "f0.5")


@cache
def metric(name: str) -> Metric:
    """The metric of that name; `f1`, `f2`, `f0.5` … are F-beta. Raises ConfigError with the names there are."""
    if name in _METRICS:
        return _METRICS[name]
    match = _F_BETA.fullmatch(name)
    if match and float(match[1]) > 0:
        beta = float(match[1])
        return Metric(name, "ratio", _COUNTS, f_beta(beta), at_threshold=True, beta=beta)
    from difflib import get_close_matches

    near = get_close_matches(name, NAMES, 1)
    hint = f"did you mean '{near[0]}'?" if near else "there are: " + ", ".join(NAMES)
    raise ConfigError(f"unknown metric '{name}'", mend=hint)


Value = float | NotMeasured


def measure(name: str, evidence: Evidence, threshold: float | None = None) -> Value:
    """One metric of one prediction, from the sum of its evidence; threshold: logit at or above which it accepts.

    The size to think and test in; `gate.compare` does the same for all predictions at once.
    """
    what = metric(name)
    sums = _sums(evidence, threshold)
    lacking = sorted(what.needs - sums.keys() - {"curve"})
    if lacking or (what.kind == "curve" and not evidence.events.codes):
        hint = " (no threshold)" if what.at_threshold and threshold is None else ""
        return NotMeasured(f"there is no evidence for {name}{hint}")
    if what.support == "positives" and not sums["positives"]:
        return NotMeasured("no positives")
    if what.kind == "curve":
        table = one_row(evidence)
        curve = curves(by_score(table), np.ones(1, bool))
        return float((coco_average_precision if name == "coco_ap" else average_precision)(curve)[0])
    if not sums["events"]:
        return NotMeasured("no events")
    if what.value is not None:
        return float(what.value(sums))
    assert what.ratio is not None
    numerator, denominator = (float(x) for x in what.ratio(sums))
    return numerator / denominator if denominator else NotMeasured(f"{name} is not defined: nothing is accepted")


def _sums(evidence: Evidence, threshold: float | None) -> dict[str, Floats]:
    """Named sums of one prediction: its moments, and counts and losses of its scores."""
    events = evidence.events
    code, label = np.array(events.codes, np.int64), np.array(events.labels, bool)
    count = np.array(events.counts, float)
    sums = {"positives": count[label].sum(), "events": count.sum()}
    if code.size:
        scored = code != MISSED
        logit = np.clip(decode(code[scored]), -LARGEST_LOGIT, LARGEST_LOGIT)
        hit, weight = label[scored], count[scored]
        sums["sum_brier"] = (weight * (probability(code[scored]) - hit) ** 2).sum()
        sums["sum_log_loss"] = (weight * np.logaddexp(0.0, np.where(hit, -logit, logit))).sum()
        if threshold is not None:
            accepted = scored & (code >= threshold_code(threshold))
            sums |= {"tp": count[label & accepted].sum(), "fp": count[~label & accepted].sum()}
            sums |= {"fn": count[label & ~accepted].sum(), "tn": count[~label & ~accepted].sum()}
    for name, value in zip(evidence.moments.names, evidence.moments.values, strict=True):
        sums[name] = np.float64(value / STEPS if name.startswith("sum_") else value)
    if "tp" in sums and not code.size:
        sums["positives"] = sums["tp"] + sums["fn"]
    return {name: np.asarray(value, float) for name, value in sums.items()}


def divide(numerator: Floats, denominator: Floats) -> Floats:
    """numerator / denominator, NaN where the denominator is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(denominator > 0, numerator / denominator, np.nan)
