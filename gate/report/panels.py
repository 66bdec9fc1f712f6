"""Details as small integers and short texts for the page's script, which only draws them.

Shapes are in hundredths or thousandths of their axis; every figure that is read as a number is a text, rounded here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gate.calibrate import IDENTITY, OperatingPoint, objective_of
from gate.judge.decision import Cell, Probabilities, Probability
from gate.report import figures, words
from gate.report.details import Curve, Detail, Histogram, Strip

#: Curves and reliability points are drawn on a grid of this many steps an axis.
GRID = 250
#: What a metric says, for somebody who has not met it.
MEANINGS = {
    "f1": "F1 balances what is missed against false alarms at the operating point; 100 % is neither.",
    "average_precision": "Average precision is the area under the curve of precision over recall: how well scores "
    "rank, whatever the threshold.",
    "coco_ap": "COCO average precision is the mean over IoU levels of precision at 101 recalls: it falls when boxes "
    "are missed, invented or badly placed.",
    "aos": "Average orientation similarity is precision in which a hit counts for how well its angle fits: it falls "
    "when objects are missed, invented or turned.",
    "iou": "IoU is the share of right places among all that either truth or prediction calls this class.",
    "precision": "Precision is the share of accepted answers that are right.",
    "recall": "Recall is the share of what is there that was found.",
    "mae": "The mean absolute error is how far an answer is off, on average.",
    "rmse": "The root of the mean squared error; large errors weigh most.",
    "accuracy": "Accuracy is the share of events that are decided right.",
    "abs_rel": "AbsRel is the mean error in proportion to the true distance: 0.1 is ten per cent off.",
    "sq_rel": "SqRel is the mean squared error over the true distance; large and near errors weigh most.",
    "rmse_log": "The root mean squared error of logarithms: what is off by a factor, near or far alike.",
    "silog": "SILog is what remains of the error of logarithms when a wrong scale of the whole is forgiven.",
    "within_15_degrees": "The share of directions that are right within 15 degrees.",
    "delta_1": "The share of pixels whose distance is right within a factor of 1.25.",
    "delta_2": "The share of pixels whose distance is right within a factor of 1.25 squared.",
    "delta_3": "The share of pixels whose distance is right within a factor of 1.25 cubed.",
}


def panels(
    details: Sequence[Detail], leads: Mapping[str, Cell], probabilities: Sequence[Probability]
) -> dict[str, dict[str, Any]]:
    """prediction -> what its panel draws; leads: prediction -> the cell that is told first."""
    calibration = {p.prediction: p for p in probabilities}
    return {
        words.name(d.prediction): {
            key: value
            for key, value in (
                ("meaning", _meaning(leads[d.prediction].metric)),
                ("curves", [_pair(pair.level, pair.incumbent, pair.candidate) for pair in d.curves]),
                ("limit", _limit(d.points[1])),
                ("scores", _histogram(d.scores)),
                ("errors", _histogram(d.errors)),
                ("strip", _strip(d.strip, leads[d.prediction])),
                ("points", _points(*d.points)),
                ("reliability", _reliability(calibration.get(d.prediction))),
            )
            if value
        }
        for d in details
    }


def _meaning(name: str) -> str:
    """Of a mean over pictures what one picture's value says, and that it is one."""
    single = name.removesuffix("_per_image")
    said = MEANINGS.get(single, "")
    return said if single == name or not said else f"{said} Taken for each picture; this is the mean of pictures."


def _pair(level: float, before: Curve, after: Curve) -> list[Any]:
    return [f"IoU {level:.6g}" if level else "", _curve(before), _curve(after)]


def _curve(curve: Curve) -> list[Any]:
    """Steps of recall, steps of precision, the point, what the legend says."""
    point = None if curve.point is None else [round(x * GRID) for x in curve.point]
    legend = f"AP {words.share(curve.average_precision)}"
    if curve.point is not None:
        legend += f", recall {words.share(curve.point[0])} and precision {words.share(curve.point[1])} at the threshold"
    return [_steps(curve.recall), _steps(curve.precision), point, legend]


def _steps(values: Iterable[float]) -> list[int]:
    """Differences of neighbours: small numbers, which pack well."""
    places = [round(v * GRID) for v in values]
    return [b - a for a, b in zip([0, *places], places, strict=False)]


def _limit(point: OperatingPoint | None) -> list[Any] | None:
    """The constraint of the objective: which axis, where, in words."""
    if point is None or not (objective := objective_of(point.objective)).constrained:
        return None
    held = "precision" if objective.kind == "recall" else "recall"
    return [held, round(objective.level * GRID), f"{held} ≥ {objective.level:.6g}"]


def _histogram(histogram: Histogram | None) -> list[Any] | None:
    """Low, high, and each row in hundredths of the greatest share of its kind in either bundle."""
    if histogram is None:
        return None
    shares = [[n / (sum(row) or 1) for n in row] for row in histogram.rows]
    kinds = len(shares) // 2
    top = [max(*shares[k], *shares[k + kinds]) or 1.0 for k in range(kinds)]
    drawn = [[math.ceil(100 * s / top[k % kinds]) for s in row] for k, row in enumerate(shares)]
    return [f"{histogram.low:.3g}", f"{histogram.high:.3g}", *drawn]


def _strip(strip: Strip | None, lead: Cell) -> list[Any] | None:
    """Heights in hundredths of the greatest, its figure, clips in all, names of the worst."""
    top = max(map(abs, strip.values), default=0.0) if strip is not None else 0.0
    if strip is None or not top:
        return None
    scale = figures.scale_of(lead)
    greatest = figures.size(top, scale)
    return [[round(100 * v / top) for v in strip.values], greatest, strip.clips, [words.name(n) for n in strip.named]]


def _points(before: OperatingPoint | None, after: OperatingPoint | None) -> list[list[str]] | None:
    """Rows of the thresholds table: what, incumbent, candidate."""
    if before is None and after is None:
        return None
    rows = [[label, *(("" if p is None else text(p)) for p in (before, after))] for label, text in _POINT_ROWS]
    return [row for row in rows if any(row[1:])]


def _range(point: OperatingPoint) -> str:
    low, high = (figures.threshold(x) if x is not None else "" for x in (point.low, point.high))
    return f"{low} to {high}" if low or high else ""


_POINT_ROWS = (
    ("objective", lambda p: words.name(p.objective)),
    ("status", lambda p: p.status.replace("_", " ")),
    ("threshold (logit)", lambda p: figures.threshold(p.threshold)),
    ("as a probability", lambda p: "" if p.threshold is None else f"{1 / (1 + math.exp(-_bounded(p.threshold))):.4g}"),
    ("equally good from, to", _range),
    ("precision, calibration", lambda p: "" if p.precision is None else words.share(p.precision)),
    ("recall, calibration", lambda p: "" if p.recall is None else words.share(p.recall)),
    ("proven bound", lambda p: "" if p.bound is None else words.share(p.bound)),
    ("best attainable", lambda p: "" if p.attained is None else words.share(p.attained)),
    ("clips for the proof", lambda p: "" if p.clips_needed is None else f"about {p.clips_needed:,} more"),
    ("positives, calibration", lambda p: f"{p.positives:,}"),
    ("scores mapped by", lambda p: "" if p.map == IDENTITY else p.map.kind),
)


def _bounded(logit: float) -> float:
    return min(max(logit, -700.0), 700.0)


def _reliability(probability: Probability | None) -> list[Any] | None:
    """The axis' end, points of both bundles (predicted, observed, half a whisker), and the statement."""
    if probability is None:
        return None
    sides = (probability.incumbent, probability.candidate)
    top = max((max(b.predicted, b.observed + (b.se or 0)) for side in sides for b in side.bins), default=0.0)
    if not top:
        return None
    top = min(1.0, top * 1.02)
    drawn = [[[round(GRID * x / top) for x in (b.predicted, b.observed, b.se or 0)] for b in s.bins] for s in sides]
    return [
        f"{top:.2g}",
        *drawn,
        [_stated("incumbent", sides[0]), _stated("candidate", sides[1])],
        _losses(probability),
    ]


def _stated(who: str, side: Probabilities) -> str:
    if side.ratio is None:
        return f"{who}: nothing was expected, {side.observed:,} positives"
    z = "" if side.z is None else f", z {_signed(round(side.z, 1))} by clip"
    far = "" if side.z is None else ": as promised" if abs(side.z) < 2 else ": not as promised"
    return f"{who}: {side.observed:,} positives, {side.expected:,.0f} expected, ratio {side.ratio:.2f}{z}{far}"


def _losses(p: Probability) -> str:
    """Paired change of the Brier score and of the log-loss, with bounds."""
    told = [
        f"{name} {_signed(change[0])} [{_signed(change[1])}, {_signed(change[2])}]"
        for name, change in (("Brier", p.brier), ("log-loss", p.log_loss))
        if change is not None
    ]
    return f"change, lower is better: {', '.join(told)}" if told else ""


def _signed(number: float) -> str:
    return f"{number:+.3g}".replace("-", figures.MINUS) if number else "0"
