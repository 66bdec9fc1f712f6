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
    needs: names of the sums it reads; `curve` for the histogram itself, `similarity` for that of angles beside it.
    at_threshold: reads counts at an operating point.
    unitless: a share in 0..1. unit: else its own, "" for a pure number; None for the head's.
    support: what counts as support: events that are true, any events, or frames that hold any. beta: of F-beta, else 0.
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
    unit: str | None = None
    support: Literal["positives", "events", "frames"] = "positives"
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


def mean_of(name: str, count: str = "events") -> Callable[[Sums], tuple[Floats, Floats]]:
    def ratio(s: Sums) -> tuple[Floats, Floats]:
        return s[name], s[count]

    return ratio


def root_mean(name: str) -> Callable[[Sums], Floats]:
    """Root of a mean square over all events of the data set (not a mean of roots); NaN without events."""

    def value(s: Sums) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.sqrt(s[name] / s["events"])

    return value


def silog(s: Sums) -> Floats:
    """Scale-invariant error: standard deviation of the logarithms' errors over all events (KITTI's depth devkit, not
    times 100; Eigen et al. 2014, equation 1, with lambda 1); NaN without events.
    """
    mean = divide(s["sum_log_error"], s["events"])
    return np.sqrt(np.maximum(divide(s["sum_square_log_error"], s["events"]) - mean**2, 0.0))


_COUNTS = frozenset({"tp", "fp", "fn"})


def _error(
    name: str,
    total: str,
    squares: str = "",
    *,
    unit: str | None = None,
    count: Literal["events", "frames"] = "events",
) -> Metric:
    return Metric(
        name,
        "ratio",
        frozenset({total, count}),
        mean_of(total, count),
        lower_is_better=True,
        unitless=False,
        unit=unit,
        support=count,
        squares=squares,
    )


def _root(name: str, total: str, *, unit: str | None = None) -> Metric:
    return Metric(
        name,
        "smooth",
        frozenset({total, "events"}),
        value=root_mean(total),
        lower_is_better=True,
        unitless=False,
        unit=unit,
        support="events",
    )


def _share(name: str, total: str, count: Literal["events", "frames"] = "events", squares: str = "") -> Metric:
    needs = frozenset({total, count})
    return Metric(name, "ratio", needs, mean_of(total, count), support=count, squares=squares)


def _of_images(name: str, unit: str | None = None) -> Metric:
    total = f"sum_image_{name}"
    return _error(f"{name}_per_image", total, f"{total}_square", unit=unit, count="frames")


_METRICS: dict[str, Metric] = {
    m.name: m
    for m in (
        Metric("precision", "ratio", _COUNTS, precision, at_threshold=True),
        Metric("recall", "ratio", _COUNTS, recall, at_threshold=True),
        Metric("iou", "ratio", _COUNTS, iou, at_threshold=True),
        Metric("accuracy", "ratio", _COUNTS | {"tn"}, accuracy, at_threshold=True, support="events"),
        Metric("average_precision", "curve", frozenset({"curve"})),
        Metric("coco_ap", "curve", frozenset({"curve"})),
        Metric("aos", "curve", frozenset({"similarity"})),
        _error("brier", "sum_brier", "sum_brier_square", unit=""),
        _error("log_loss", "sum_log_loss", "sum_log_loss_square", unit="nat"),
        _error("mae", "sum_abs_error", "sum_square_error"),
        _root("rmse", "sum_square_error"),
        _error("abs_rel", "sum_abs_rel", "sum_abs_rel_square", unit=""),
        _error("sq_rel", "sum_square_rel"),
        _root("rmse_log", "sum_square_log_error", unit=""),
        Metric(
            "silog",
            "smooth",
            frozenset({"sum_log_error", "sum_square_log_error", "events"}),
            value=silog,
            lower_is_better=True,
            unitless=False,
            unit="",
            support="events",
        ),
        *(_share(name, name) for name in ("delta_1", "delta_2", "delta_3", "within_15_degrees")),
        *(_of_images(name, unit="") for name in ("abs_rel", "rmse_log", "silog")),
        *(_of_images(name) for name in ("sq_rel", "rmse")),
        *(
            _share(f"delta_{k}_per_image", f"sum_image_delta_{k}", "frames", f"sum_image_delta_{k}_square")
            for k in (1, 2, 3)
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
