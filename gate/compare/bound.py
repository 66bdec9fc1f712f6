"""Proven non-inferiority: a one-sided lower bound, an evidence floor, and a guard for critical cells (method A6)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gate.table import Floats

#: An effect of this many lost events must fit the margin before anything is certified.
FLOOR_EVENTS = 5
#: z(0.80), for 80 % power.
_POWER_80 = 0.8416212335729143
#: z(0.85): what is proven with 80 % power in simulation; z(0.80) reads 0.76 to 0.79 on regular clips.
_POWER_PROVEN = 1.0364333894937896


def half_width(se: Floats, lost: Floats, df: Floats, confidence: float) -> Floats:
    """t(confidence, df) sqrt(se² + 2 c1²), (n,): the two pseudo-events keep "no difference seen" from being certain.

    NaN where the standard error is not defined.
    """
    from scipy.special import stdtrit

    return stdtrit(np.maximum(df, 1.0), confidence) * total_error(se, lost)


def leaning(third: Floats, se: Floats, lost: Floats, df: Floats, confidence: float) -> Floats:
    """Shift of a bound for skewness, (n,), of the sign of `third`: third (1 + 2 t²) / (6 error²).

    Johnson 1978 (Modified t tests and confidence intervals for asymmetrical populations, JASA 73), inverted. A few
    clips that lose much make the plain bound too kind; a bound is widened where they lean to, and never drawn in.
    third: sum over clips of the cubed centred contributions.
    """
    from scipy.special import stdtrit

    t = stdtrit(np.maximum(df, 1.0), confidence)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.nan_to_num(third * (1 + 2 * t**2) / (6 * total_error(se, lost) ** 2))


def total_error(se: Floats, lost: Floats) -> Floats:
    return np.sqrt(se**2 + 2 * lost**2)


def enough_events(margin: Floats, lost: Floats) -> NDArray[np.bool_]:
    """The evidence floor: the margin holds at least five lost events.

    For recall and average precision this is `margin * positives >= 5`; a mean error's event is worth its spread.
    """
    return margin >= FLOOR_EVENTS * lost


def guard_holds(value: Floats, effective_clips: Floats, margin: Floats, confidence: float) -> NDArray[np.bool_]:
    """Rule of three: a total collapse on the kind of clip that the suite may not hold stays within the margin."""
    return guarded_margin(value, effective_clips, confidence) < margin


def guarded_margin(value: Floats, effective_clips: Floats, confidence: float) -> Floats:
    """What a total collapse on clips as rare as the suite may miss costs; the guard wants a greater margin."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.abs(value) * (1 - (1 - confidence) ** (1 / effective_clips))


def certifiable(se: Floats, lost: Floats, df: Floats, confidence: float) -> Floats:
    """Least margin at which an equal candidate is certified with 80 % power: the bound, and the floor (method A8)."""
    bound = half_width(se, lost, df, confidence) + _POWER_80 * total_error(se, lost)
    return np.maximum(bound, FLOOR_EVENTS * lost)


def detectable(effect: Floats, critical: Floats, se: Floats, lost: Floats, effective: Floats) -> Floats:
    """Minimum detectable regression with 80 % power; NaN where no loss can be proven.

    A loss in proportion to the clips' weights adds its own square over `effective` clips to the sum that it is divided
    by, so x = loss / error solves x = critical sqrt(1 + x² / effective) + z: method A8's formula on many clips, more on
    few (benchmarks/simulations/mdr.py).
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        room = 1 - critical**2 / effective
        root = critical * np.sqrt(1 - (critical**2 - _POWER_PROVEN**2) / effective)
        return np.where(room > 0, effect + (_POWER_PROVEN + root) / room * total_error(se, lost), np.nan)


def clips_needed(
    *,
    delta: float,
    error: float,
    lost: float,
    margin: float,
    effect: float,
    critical: float,
    confidence: float,
    clips: int,
    guarded: float | None,
    effective: float,
) -> int | None:
    """Further clips like these that would decide an undecided cell with 80 % power; None when no number would.

    The difference is taken to stay as seen (a gain as none), and errors to shrink with the root of the clips. It is
    then certified, or, beyond the margin, proven a loss. guarded: |value| of a cell that must pass the guard.
    """
    room, loss = margin + min(delta, 0.0), -delta - effect
    if room > 0:
        factors = [((_normal(confidence) + _POWER_80) * error / room) ** 2, FLOOR_EVENTS * lost / margin]
        if guarded is not None and margin < guarded:
            factors.append(float(np.log(1 - confidence) / np.log1p(-margin / guarded)) / max(effective, 1.0))
    elif loss > 0 and np.isfinite(critical):
        # As in `detectable`: what the loss adds to the sum of squares shrinks with the clips as all of it does.
        grown = critical * np.sqrt(1 + (loss / error) ** 2 / max(effective, 1.0))
        factors = [((grown + _POWER_PROVEN) * error / loss) ** 2]
    else:
        return None
    factor = max(factors)
    return max(1, int(np.ceil(clips * factor)) - clips) if np.isfinite(factor) else None


def _normal(confidence: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(confidence)
