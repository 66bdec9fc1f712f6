"""Precision-recall curves as geometry: what the template draws as SVG, in user units of a fixed frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gate.report import figures, words
from gate.report.details import Curve, Detail

WIDTH, HEIGHT = 380, 270
# 56 for the tick labels and the axis title side by side: with 40 they overlap.
LEFT, RIGHT, TOP, BOTTOM = 56, 14, 12, 46


@dataclass(frozen=True)
class Tick:
    """A place on an axis and its label."""

    at: float
    label: str


@dataclass(frozen=True)
class Line:
    """One bundle's curve: an SVG path, its operating point, and its entry in the legend."""

    bundle: str
    path: str
    point: tuple[float, float] | None
    legend: str


@dataclass(frozen=True)
class Chart:
    """Everything to draw: the frame, its ticks and two lines; `description` says it in words."""

    description: str
    lines: tuple[Line, ...]
    recall_ticks: tuple[Tick, ...]
    precision_ticks: tuple[Tick, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def chart_of(detail: Detail) -> Chart | None:
    """Both curves of a prediction, at its first level, on axes from 0 to 1; None when a bundle has no curve."""
    if not detail.curves:
        return None
    pair = detail.curves[0]
    lines = tuple(_line(curve) for curve in (pair.incumbent, pair.candidate))
    if not any(line.path for line in lines):
        return None
    ticks = (0.0, 0.25, 0.5, 0.75, 1.0)
    return Chart(
        description="; ".join(line.legend for line in lines),
        lines=lines,
        recall_ticks=tuple(Tick(_x(t), f"{t:.2f}") for t in ticks),
        precision_ticks=tuple(Tick(_y(t), f"{t:.2f}") for t in ticks),
    )


def _line(curve: Curve) -> Line:
    points = [(r, p) for r, p in zip(curve.recall, curve.precision, strict=True) if _inside(r) and _inside(p)]
    point = None
    legend = [curve.bundle]
    if curve.average_precision is not None and math.isfinite(curve.average_precision):
        legend.append(f"average precision {words.share(curve.average_precision)}")
    if curve.point is not None and all(map(_inside, curve.point)):
        recall, precision = curve.point
        point = (_x(recall), _y(precision))
        legend.append(f"at threshold {figures.threshold(curve.threshold)} (logit) recall {words.share(recall)}")
        legend.append(f"precision {words.share(precision)}")
    else:
        legend.append("no operating point")
    return Line(curve.bundle, _path(points), point, ", ".join(legend))


def _path(points: Sequence[tuple[float, float]]) -> str:
    """Straight pieces between points, 0.1 of a unit fine; the same place twice is drawn once."""
    places = list(dict.fromkeys((_x(r), _y(p)) for r, p in points))
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in places) if places else ""


def _inside(number: float) -> bool:
    return math.isfinite(number) and 0 <= number <= 1


def _x(recall: float) -> float:
    return round(LEFT + recall * (WIDTH - LEFT - RIGHT), 1)


def _y(precision: float) -> float:
    return round(TOP + (1 - precision) * (HEIGHT - TOP - BOTTOM), 1)
