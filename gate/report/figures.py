"""Figures as people read them, with direction and unit: one way of rounding for every report.

Rounding is for eyes and never towards the good news: what is shown is equal to or worse than what was measured, 100 %
is printed only when it is exactly 100 %, a loss is never 0, a p-value is never 0. Candidate and incumbent are rounded
in the same direction, so that equal values stay equal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from gate.errors import ConfigError, shown
from gate.judge.decision import Cell
from gate.measures import metric

MINUS = "\u2212"
P_FLOOR = 1e-4  # p-values below it are written as "< 0.0001"


@dataclass(frozen=True)
class Scale:
    """How the figures of a cell are written.

    factor: 100 for a share (values in %, differences in points), else 1 (values and differences in `unit`).
    decimals: digits after the point; steps: figures are whole multiples of 1 / 10**decimals, rounded once, here.
    """

    share: bool
    unit: str
    decimals: int
    lower_is_better: bool
    margin: float

    @property
    def factor(self) -> int:
        """From the metric's own unit to what is shown."""
        return 100 if self.share else 1

    @property
    def value_unit(self) -> str:
        """What stands after a value, with its space."""
        return " %" if self.share else f" {self.unit}" if self.unit else ""

    @property
    def delta_unit(self) -> str:
        """What stands after a difference, with its space."""
        return " points" if self.share else self.value_unit


def scale_of(cell: Cell) -> Scale:
    """The scale of a cell's metric. The metric says whether it is a share; an unknown one is, when it has no unit."""
    return _scale(cell.metric, cell.unit, cell.margin, cell.lower_is_better)


@lru_cache(maxsize=4096)  # twelve thousand cells have a handful of scales
def _scale(metric_name: str, unit: str, margin: float, lower_is_better: bool) -> Scale:
    try:
        share = metric(metric_name).unitless
    except ConfigError:
        share = not unit
    # A two-hundredth of the margin is the finest step that anybody acts on; shares have two decimals throughout.
    decimals = 2 if share else 4
    if not share and margin > 0:
        decimals = min(6, max(0, math.ceil(-math.log10(margin)) + 2))
    return Scale(share, shown(unit, 40), decimals, lower_is_better, margin)


def value_steps(value: float, scale: Scale) -> int:
    """A value in display steps, rounded towards the worse side; exactly 100 % and exactly 0 stay themselves."""
    exact = value * scale.factor * 10**scale.decimals
    full = scale.factor * 10**scale.decimals
    # Rounding at 1e-6 of a step first: 0.57 * 10000 is 5699.999999999999, and that is not a worse value.
    steps = math.ceil(round(exact, 6)) if scale.lower_is_better else math.floor(round(exact, 6))
    if scale.lower_is_better and steps == 0 and value > 0:
        return 1
    if scale.share and not scale.lower_is_better and steps == full and value < 1:
        return full - 1
    return steps


def delta_steps(delta: float, scale: Scale) -> int:
    """A difference or one of its bounds in display steps, rounded towards the worse side; a loss is never 0."""
    exact = round(delta * scale.factor * 10**scale.decimals, 6)
    if scale.lower_is_better:
        return max(1, math.ceil(exact)) if delta > 0 else math.ceil(exact)
    return min(-1, math.floor(exact)) if delta < 0 else math.floor(exact)


def size_steps(size: float, scale: Scale) -> int:
    """A size without direction (MDR) in display steps, rounded up: a suite never sees more than is said."""
    return math.ceil(round(size * scale.factor * 10**scale.decimals, 6))


def written(steps: int, decimals: int, *, signed: bool = False) -> str:
    """`92.21`, or with a sign `−7.13`, `+0.40`, `0.00`."""
    digits = str(abs(steps)).rjust(decimals + 1, "0")
    text = f"{digits[:-decimals]}.{digits[-decimals:]}" if decimals else digits
    sign = MINUS if steps < 0 else "+" if signed and steps > 0 else ""
    return sign + text


def value(number: float | None, scale: Scale) -> str:
    """`92.21 %`, `0.0713 m`, or `not measured`."""
    if number is None or not math.isfinite(number):
        return "not measured"
    return written(value_steps(number, scale), scale.decimals) + scale.value_unit


def difference(number: float | None, scale: Scale, *, unit: bool = True) -> str:
    """`−7.13 points`, `+0.0240 m`, or `not measured`."""
    if number is None or not math.isfinite(number):
        return "not measured"
    text = written(delta_steps(number, scale), scale.decimals, signed=True)
    return text + scale.delta_unit if unit else text


def size(number: float | None, scale: Scale) -> str:
    """`2.14 points`, without a sign, or `unknown`."""
    if number is None or not math.isfinite(number):
        return "unknown"
    return written(size_steps(number, scale), scale.decimals) + scale.delta_unit


def margin(scale: Scale) -> str:
    """The margin as the policy has it, `2 points` or `0.05 m`."""
    number = f"{scale.margin * scale.factor:.6g}"
    unit = scale.delta_unit[:-1] if scale.share and number == "1" else scale.delta_unit
    return number + unit


def interval(cell: Cell, scale: Scale) -> str:
    """`[−9.02, −5.31]`, an open end for a bound that is missing, and nothing without both."""
    if cell.ci_low is None and cell.ci_high is None:
        return ""
    low = f"{MINUS}∞" if cell.ci_low is None else difference(cell.ci_low, scale, unit=False)
    high = "∞" if cell.ci_high is None else difference(cell.ci_high, scale, unit=False)
    return f"[{low}, {high}]"


def p_value(p: float | None) -> str:
    """`0.0312`, `< 0.0001`, or `not tested`; rounded down, because for a loss the larger p is the good news."""
    if p is None or not math.isfinite(p):
        return "not tested"
    return "< 0.0001" if p < P_FLOOR else written(math.floor(round(p * 10_000, 6)), 4)


def p_text(p: float | None) -> str:
    """`p = 0.0312`, `p < 0.0001`, `p not tested`: within a sentence."""
    text = p_value(p)
    return f"p = {text}" if text[0].isdigit() else f"p {text}"


def percent(share: float) -> str:
    """A policy's own share: `5 %`, `95 %`, `0.5 %`."""
    return f"{share * 100:.6g} %"


def threshold(number: float | None) -> str:
    """A logit: four significant digits, and as many more as it takes not to read 0 or 1 when it is neither."""
    if number is None or not math.isfinite(number):
        return "none"
    for digits in range(4, 17):
        text = f"{number:.{digits}g}"
        if float(text) not in (0.0, 1.0) or float(text) == number:
            return text.replace("-", MINUS, 1) if text.startswith("-") else text
    return repr(number)


def thresholds(cell: Cell) -> str:
    """`0.65 → −0.46`, and nothing where no threshold is involved."""
    if cell.threshold_incumbent is None and cell.threshold_candidate is None:
        return ""
    return f"{threshold(cell.threshold_incumbent)} → {threshold(cell.threshold_candidate)}"


def arrow(cell: Cell) -> str:
    """The direction of a metric: `↑` higher is better, `↓` lower is better."""
    return "↓" if cell.lower_is_better else "↑"
