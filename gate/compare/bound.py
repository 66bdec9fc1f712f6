"""Proven non-inferiority: a one-sided lower bound, an evidence floor, and a guard for critical cells (method A6)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gate.table import Floats

#: An effect of this many lost events must fit the margin before anything is certified.
FLOOR_EVENTS = 5
#: z(0.80), for 80 % power.
_POWER_80 = 0.8416212335729143


def half_width(se: Floats, lost: Floats, df: Floats, confidence: float) -> Floats:
    """t(confidence, df) sqrt(se² + 2 c1²), (n,): the two pseudo-events keep "no difference seen" from being certain.

    NaN where the standard error is not defined.
    """
    from scipy.special import stdtrit

    return stdtrit(np.maximum(df, 1.0), confidence) * total_error(se, lost)


def total_error(se: Floats, lost: Floats) -> Floats:
    return np.sqrt(se**2 + 2 * lost**2)


def enough_events(margin: Floats, lost: Floats) -> NDArray[np.bool_]:
    """The evidence floor: the margin holds at least five lost events.

    For recall and average precision this is `margin * positives >= 5`; a mean error's event is worth its spread.
    """
    return margin >= FLOOR_EVENTS * lost


def guard_holds(value: Floats, effective_clips: Floats, margin: Floats, confidence: float) -> NDArray[np.bool_]:
    """Rule of three: a total collapse on the kind of clip that the suite may not hold stays within the margin."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.abs(value) * (1 - (1 - confidence) ** (1 / effective_clips)) < margin


def detectable(effect: Floats, critical: float, se: Floats, lost: Floats) -> Floats:
    """Minimum detectable regression with 80 % power: effect + (critical + 0.84) SE (method A8)."""
    return effect + (critical + _POWER_80) * total_error(se, lost)


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
        factors = [((critical + _POWER_80) * error / loss) ** 2]
    else:
        return None
    factor = max(factors)
    return max(1, int(np.ceil(clips * factor)) - clips) if np.isfinite(factor) else None


def _normal(confidence: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(confidence)
