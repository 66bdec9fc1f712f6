"""Calibration maps: logit' = slope x logit + bias, shrunk to the identity, or isotonic steps where positives abound.

A map is fitted on the calibration clips, before the threshold, whose scale it changes; the pair is frozen together
(method A13). Slope and bias never lose much, with 10 positives or with 1,000; isotonic regression does harm below
about 1,000 positives (method B7). A map never turns two scores around, but on the lattice codes may fall together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from gate.curves import Curves
from gate.errors import ConfigError, shown
from gate.lattice import HIGHEST, LARGEST_LOGIT, LOWEST, decode, encode, log_odds
from gate.table import _CODE, _SERIES, EvidenceTable, Floats, Ints, sum_equal_keys

Kind = Literal["identity", "logistic", "isotonic"]
#: Fewer scored positives than these fit no map, and no steps (method A13).
ENOUGH_FOR_A_MAP, ENOUGH_FOR_STEPS = 10, 1000
#: Prior of the map: slope 1 ± 0.5, bias 0 ± 1; its penalty holds data that a line separates (method A13).
SLOPE_VARIANCE, BIAS_VARIANCE = 0.25, 1.0
#: A slope never falls below this: a map that turned scores around would hide that a head is upside down.
SMALLEST_SLOPE = 0.01

#: Newton's method stops where the gradient is this short in the metric of the inverse Hessian, that is, this many
#: standard errors away. 5 to 15 evaluations are usual; a series that needs more than this many is solved by bracketing.
_TOLERANCE, _EVALUATIONS = 1e-8, 40
#: Bins that one pass fits; about memory only.
_BINS = 2**14


@dataclass(frozen=True)
class CalibrationMap:
    """How the scores of one prediction become calibrated.

    slope, bias: of a logistic map, 1 and 0 in the others. knots: steps of an isotonic map, (code, logit): a code takes
    the logit of the last knot at or below it, codes before the first knot the first. positives: scored positives that
    it was fitted on. note: why it is not what was asked for, or where it was held; "" otherwise.
    """

    kind: Kind
    slope: float = 1.0
    bias: float = 0.0
    knots: tuple[tuple[int, float], ...] = ()
    positives: int = 0
    note: str = ""

    @property
    def scale(self) -> tuple[object, ...]:
        """What makes two maps the same: thresholds of one are thresholds of the other."""
        return self.kind, self.slope, self.bias, self.knots


#: Scores as they are.
IDENTITY = CalibrationMap("identity")


def fit_maps(curve: Curves, kinds: Sequence[Kind]) -> tuple[CalibrationMap, ...]:
    """One map for each series of a curve over the calibration clips; kinds: what is asked for, one a series.

    Logistic: minimises sum log-loss + ((slope - 1)²/0.25 + bias²)/2 over scored events; infinite logits count as the
    largest finite one. Missed positives have no score and enter nothing. With fewer than 10 scored positives the map is
    the identity, with fewer than 1,000 an isotonic map falls back to slope and bias; the note says so.
    """
    rows = len(curve.total)
    positives = np.bincount(curve.series, curve.positives, rows).astype(np.int64)
    steps = np.array([kind == "isotonic" for kind in kinds], bool)
    fitted = np.array([kind != "identity" for kind in kinds], bool) & (positives >= ENOUGH_FOR_A_MAP)
    stepped = steps & (positives >= ENOUGH_FOR_STEPS)
    slope, bias = _logistic(curve, fitted & ~stepped)
    maps = []
    for row, kind in enumerate(kinds):
        found = int(positives[row])
        if stepped[row]:
            maps.append(CalibrationMap("isotonic", knots=_isotonic(curve, row), positives=found))
        elif fitted[row]:
            notes = []
            if steps[row]:
                notes.append(f"too few positives for isotonic, {found} of {ENOUGH_FOR_STEPS}: slope and bias")
            if slope[row] == SMALLEST_SLOPE:
                notes.append(f"scores do not rise with the truth: slope held at {SMALLEST_SLOPE}")
            maps.append(
                CalibrationMap("logistic", float(slope[row]), float(bias[row]), positives=found, note="; ".join(notes))
            )
        else:
            few = f"too few positives for a map, {found} of {ENOUGH_FOR_A_MAP}: identity" if kind != "identity" else ""
            maps.append(CalibrationMap("identity", positives=found, note=few))
    return tuple(maps)


def _logistic(curve: Curves, wanted: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """(slope, bias) of each series, (S,); 1 and 0 where not wanted. In runs of whole series, for memory."""
    rows = len(curve.total)
    slope, bias = np.ones(rows), np.zeros(rows)
    first = 0
    while first < rows:
        fit = int(np.searchsorted(curve.starts, curve.starts[first] + _BINS, side="right")) - 1
        end = min(max(first + 1, fit), rows)
        part = slice(int(curve.starts[first]), int(curve.starts[end]))
        used = np.flatnonzero(wanted[curve.series[part]])
        logit = np.clip(decode(curve.code[part][used]), -LARGEST_LOGIT, LARGEST_LOGIT)
        sums = (curve.series[part][used] - first, logit, curve.positives[part][used], curve.negatives[part][used])
        slope[first:end], bias[first:end] = _newton(*sums, end - first)
        first = end
    return slope, bias


def _newton(series: Ints, logit: Floats, positives: Ints, negatives: Ints, rows: int) -> tuple[Floats, Floats]:
    """(slope, bias) by damped Newton steps with the slope held at its bound while the loss falls beyond it.

    Every series walks on its own: the others in the pass change neither its steps nor their number.
    """
    a, b = np.ones(rows), np.zeros(rows)
    at = _derivatives(a, b, series, logit, positives, negatives)
    da, db, left = _direction(a, at)
    t = _longest(a, da)
    for _ in range(_EVALUATIONS):
        live = ~(left <= _TOLERANCE)  # a NaN has not converged
        if not live.any():
            return a, b
        a_next = np.where(live, a + t * da, a)
        # A step that was shortened to end on the bound ends on it to the bit.
        a_next = np.where(a_next < SMALLEST_SLOPE * (1 + 1e-9), SMALLEST_SLOPE, a_next)
        b_next = np.where(live, b + t * db, b)
        there = _derivatives(a_next, b_next, series, logit, positives, negatives)
        falls, rises = at[1] * da + at[2] * db, np.maximum(there[1] * da + there[2] * db, 0.0)
        taken = live & (there[0] <= at[0] + 1e-4 * t * falls + 1e-12 * at[0])  # Armijo, and room for rounding
        # Too far: where the derivative along the step, were it a line, would be 0.
        shorter = t * np.clip(falls / np.minimum(falls - rises, -1e-300), 0.02, 0.5)
        a, b, at = np.where(taken, a_next, a), np.where(taken, b_next, b), np.where(taken, there, at)
        da, db, left = _direction(a, at)
        t = np.where(taken, _longest(a, da), shorter)
    for row in np.flatnonzero(~(left <= _TOLERANCE)):
        mine = series == row
        a[row], b[row] = _bracketed(logit[mine], positives[mine], negatives[mine])
    return a, b


def _bracketed(logit: Floats, positives: Ints, negatives: Ints) -> tuple[float, float]:
    """(slope, bias) of one series, each the root of a rising derivative (Brent), one inside the other.

    Slow and sure, for data on which Newton's steps do not settle: millions of events with saturated logits that are
    wrong, where the loss is as good as piecewise linear.
    """
    from scipy.optimize import brentq  # costs a second to import, and is hardly ever needed

    one = np.zeros(len(logit), np.int64)

    def slopes(a: float, b: float) -> NDArray[np.float64]:
        return _derivatives(np.array([a]), np.array([b]), one, logit, positives, negatives)[1:3, 0]

    def bias(a: float) -> float:
        # Beyond these ends all events together pull less than the prior does.
        reach = math.log((positives + negatives).sum()) + 2
        low, high = -max(0.0, a * logit.max()) - reach, reach - min(0.0, a * logit.min())
        return float(brentq(lambda b: slopes(a, b)[1], low, high, maxiter=1000))  # type: ignore[arg-type]

    def profile(a: float) -> float:
        return float(slopes(a, bias(a))[0])

    if profile(SMALLEST_SLOPE) >= 0:
        return SMALLEST_SLOPE, bias(SMALLEST_SLOPE)
    high = 1.0
    while profile(high) < 0:
        high *= 2
    a = float(brentq(profile, SMALLEST_SLOPE, high, maxiter=1000))  # type: ignore[arg-type]
    return a, bias(a)


def _derivatives(
    a: Floats, b: Floats, series: Ints, logit: Floats, positives: Ints, negatives: Ints
) -> NDArray[np.float64]:
    """(6, rows): penalised loss, its gradient (a, b), its Hessian (aa, ab, bb)."""
    u = a[series] * logit + b[series]
    small = np.exp(-np.abs(u))
    minor = small / (1 + small)
    p, q = np.where(u > 0, 1 - minor, minor), np.where(u > 0, minor, 1 - minor)  # p of a positive, and 1 - p
    loss = (positives + negatives) * np.log1p(small) + np.where(u > 0, negatives, positives) * np.abs(u)
    pull = negatives * p - positives * q
    weight = (positives + negatives) * p * q
    terms = (loss, pull * logit, pull, weight * logit**2, weight * logit, weight)
    sums = np.stack([np.bincount(series, term, len(a)).astype(np.float64) for term in terms])
    sums[0] += ((a - 1) ** 2 / SLOPE_VARIANCE + b**2 / BIAS_VARIANCE) / 2
    sums[1] += (a - 1) / SLOPE_VARIANCE
    sums[2] += b / BIAS_VARIANCE
    sums[3] += 1 / SLOPE_VARIANCE
    sums[5] += 1 / BIAS_VARIANCE
    return sums


def _direction(a: Floats, at: NDArray[np.float64]) -> tuple[Floats, Floats, Floats]:
    """(da, db, length of the gradient that is left); a slope on its bound does not step beyond it."""
    _, g_a, g_b, h_aa, h_ab, h_bb = at
    det = h_aa * h_bb - h_ab**2
    da, db = (h_ab * g_b - h_bb * g_a) / det, (h_ab * g_a - h_aa * g_b) / det
    left = np.sqrt(np.maximum(-(g_a * da + g_b * db), 0.0))
    on_bound = a <= SMALLEST_SLOPE
    left = np.where(on_bound & (g_a >= 0), np.abs(g_b) / np.sqrt(h_bb), left)
    held = on_bound & ((g_a >= 0) | (da <= 0))
    return np.where(held, 0.0, da), np.where(held, -g_b / h_bb, db), left


def _longest(a: Floats, da: Floats) -> Floats:
    """The step length, at most 1, that keeps the slope on the right side of its bound."""
    beyond = a + da < SMALLEST_SLOPE
    return np.where(beyond, (a - SMALLEST_SLOPE) / np.where(beyond, -da, 1.0), 1.0)


def _isotonic(curve: Curves, row: int) -> tuple[tuple[int, float], ...]:
    """Steps of scikit-learn's isotonic regression, clipped to [1 / (n + 2), 1 - 1 / (positives + 2)] of n events."""
    from sklearn.isotonic import IsotonicRegression

    part = curve.of(row)
    code, positives = curve.code[part][::-1], curve.positives[part][::-1]
    events = positives + curve.negatives[part][::-1]
    low, high = 1 / (events.sum() + 2), 1 - 1 / (positives.sum() + 2)
    regression = IsotonicRegression(y_min=low, y_max=high)
    share = regression.fit_transform(code.astype(np.float64), positives / events, sample_weight=events)
    first = np.flatnonzero(np.r_[True, share[1:] > share[:-1]])
    return tuple(zip(code[first].tolist(), log_odds(share[first]).tolist(), strict=True))


def map_codes(calibration: CalibrationMap) -> NDArray[np.uint16]:
    """(65536,) the new code of every code, never falling.

    MISSED and the codes that no score has stay as they are; a logistic map leaves infinite logits infinite. (0x7FFF,
    the code of -0, which `encode` never gives, goes where 0 goes.)
    """
    codes = np.arange(1 << 16, dtype=np.uint16)
    if calibration.kind == "identity":
        return codes
    scored = codes[LOWEST : HIGHEST + 1]
    if calibration.kind == "logistic":
        mapped = encode(calibration.slope * decode(scored) + calibration.bias)
    else:
        at, logit = (np.array(column) for column in zip(*calibration.knots, strict=True))
        mapped = encode(logit)[np.maximum(np.searchsorted(at, scored, side="right") - 1, 0)]
    codes[LOWEST : HIGHEST + 1] = mapped
    return codes


def apply_maps(table: EvidenceTable, rows: Sequence[int], maps: Sequence[CalibrationMap]) -> EvidenceTable:
    """The table with the scores of the chosen series mapped, one map a row; entries that fall together are summed.

    rows: distinct positions of series. Counts and named sums stay what they are.
    """
    assert len(set(rows)) == len(rows)
    keys, at = table.keys.copy(), np.asarray(rows, np.int64)
    ends = np.searchsorted(keys, np.stack([at, at + 1]) << _SERIES)
    for begin, end, calibration in zip(*ends.tolist(), maps, strict=True):
        part = keys[begin:end]
        mapped = map_codes(calibration)[~(part >> _CODE) & 0xFFFF].astype(np.int64)
        part[:] = (part & ~(0xFFFF << _CODE)) | ((0xFFFF - mapped) << _CODE)
    keys, counts = sum_equal_keys(keys, table.counts)
    return replace(table, keys=keys, counts=counts)


def as_pairs(calibration: CalibrationMap) -> list[tuple[str, object]]:
    """Key and value of what the thresholds file holds of a map; knots as one list, code, logit, code, logit, …"""
    pairs: list[tuple[str, object]] = [("map", calibration.kind)]
    if calibration.kind == "logistic":
        pairs += [("slope", calibration.slope), ("bias", calibration.bias)]
    if calibration.kind == "isotonic":
        pairs.append(("knots", [number for knot in calibration.knots for number in knot]))
    pairs.append(("map_positives", calibration.positives))
    return [*pairs, ("map_note", calibration.note)] if calibration.note else pairs


def map_from(pairs: Mapping[str, object]) -> CalibrationMap:
    """Inverse of `as_pairs`; other keys are not looked at. Raises ConfigError on what is no map."""
    kind = pairs.get("map")
    if kind not in get_args(Kind):
        raise ConfigError(f"unknown calibration map {shown(kind)}", mend="there are: " + ", ".join(get_args(Kind)))
    used = {"identity": set(), "logistic": {"slope", "bias"}, "isotonic": {"knots"}}[str(kind)]
    for key in ("slope", "bias", "knots"):
        if (key in pairs) != (key in used):
            raise ConfigError(f"a calibration map of kind {kind} {'lacks' if key in used else 'has no'} {key}")
    positives, note = pairs.get("map_positives"), pairs.get("map_note", "")
    if isinstance(positives, bool) or not isinstance(positives, int) or positives < 0:
        raise ConfigError(f"map_positives is no count: {shown(positives)}")
    if not isinstance(note, str):
        raise ConfigError(f"map_note is no text: {shown(note)}")
    if kind == "identity":
        return CalibrationMap("identity", positives=positives, note=note)
    if kind == "logistic":
        slope, bias = _number("slope", pairs.get("slope")), _number("bias", pairs.get("bias"))
        if not SMALLEST_SLOPE <= slope <= LARGEST_LOGIT or abs(bias) > LARGEST_LOGIT:
            raise ConfigError(f"slope is {SMALLEST_SLOPE} to {LARGEST_LOGIT:g} and bias within it, not {slope}, {bias}")
        return CalibrationMap("logistic", slope, bias, positives=positives, note=note)
    return CalibrationMap("isotonic", knots=_knots(pairs.get("knots")), positives=positives, note=note)


def _number(key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"{key} of a calibration map is no finite number: {shown(value)}")
    return float(value)


def _knots(value: object) -> tuple[tuple[int, float], ...]:
    if not isinstance(value, Sequence) or isinstance(value, str | bytes) or not value or len(value) % 2:
        raise ConfigError(f"knots must be a list code, logit, code, logit, but are {shown(value)}")
    codes, logits = [_number("knots", code) for code in value[::2]], [_number("knots", x) for x in value[1::2]]
    rising = all(a < b for a, b in pairwise(codes))
    never_falling = all(a <= b for a, b in pairwise(logits))
    if not (rising and never_falling and all(code.is_integer() and LOWEST <= code <= HIGHEST for code in codes)):
        raise ConfigError("knots must be rising codes of scores with logits that never fall")
    return tuple((int(code), logit) for code, logit in zip(codes, logits, strict=True))
