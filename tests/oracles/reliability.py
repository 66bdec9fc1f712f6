"""Calibration of one prediction, event by event: O/E, z, bins of equal expected positives, debiased error, plug-in ECE.

An event is (logit, positive, clip); a logit of None is a positive that got no score, and enters nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Event = tuple[float | None, bool, int]
Scored = tuple[float, bool, int]
NAN = float("nan")
STEPS = 2**24  # cuts are made on p in these steps


@dataclass(frozen=True)
class Bin:
    events: int
    predicted: float
    observed: float
    se: float


def p_of(logit: float) -> float:
    return 0.0 if logit == -math.inf else 1 / (1 + math.exp(-logit)) if logit > -700 else math.exp(logit)


def scored(events: Sequence[Event]) -> list[Scored]:
    return [(logit, positive, clip) for logit, positive, clip in events if logit is not None]


def ratio(events: Sequence[Event]) -> float:
    """O / E."""
    expected = math.fsum(p_of(x) for x, _, _ in scored(events))
    return sum(y for _, y, _ in scored(events)) / expected if expected else NAN


def z(events: Sequence[Event]) -> float:
    """sum_clips (O - E) / sqrt(sum_clips (O - E)²)."""
    excess: dict[int, list[float]] = {}
    for x, y, clip in scored(events):
        excess.setdefault(clip, []).append(y - p_of(x))
    by_clip = [math.fsum(values) for values in excess.values()]
    spread = math.sqrt(math.fsum(d * d for d in by_clip))
    return math.fsum(by_clip) / spread if len(by_clip) > 1 and spread else NAN


def ece(events: Sequence[Event], bins: int = 15) -> float:
    """Plug-in expected calibration error: bins of equal width, a right edge inside its bin."""
    kept = scored(events)
    error = 0.0
    for k in range(bins):
        inside = [(p_of(x), y) for x, y, _ in kept if k < p_of(x) * bins <= k + 1 or (k == 0 and p_of(x) == 0)]
        if inside:
            confidence = math.fsum(p for p, _ in inside) / len(inside)
            error += len(inside) / len(kept) * abs(sum(y for _, y in inside) / len(inside) - confidence)
    return error if kept else NAN


def cut(events: Sequence[Event]) -> list[list[Scored]]:
    """Bins from the highest score down: one ends with the score that reaches the next share of E and gives it 5."""
    steps = {x: round(p_of(x) * STEPS) for x, _, _ in scored(events)}
    total = sum(steps[x] for x, _, _ in scored(events))
    shares = min(15, total // (5 * STEPS))
    if shares < 2:
        return []
    out: list[list[Scored]] = [[]]
    held = before = 0
    for score in sorted(steps, reverse=True):
        same = [event for event in scored(events) if event[0] == score]
        out[-1] += same
        held += steps[score] * len(same)
        following = next(k for k in range(1, shares + 1) if k * total // shares > before) * total // shares
        if held >= max(following, before + 5 * STEPS) and total - held >= 5 * STEPS:
            out.append([])
            before = held
    return out


def bin_of(events: Sequence[Scored]) -> Bin:
    """One bin with the standard error of its gap: leverage-corrected sum of squares over clips."""
    n = len(events)
    gap = math.fsum(y - p_of(x) for x, y, _ in events) / n
    variance = 0.0
    for clip in {clip for _, _, clip in events}:
        mine = [(y, p_of(x)) for x, y, c in events if c == clip]
        if len(mine) == n:
            variance = NAN
        else:
            variance += math.fsum(y - p - gap for y, p in mine) ** 2 / (1 - len(mine) / n) / n**2
    predicted = math.fsum(p_of(x) for x, _, _ in events) / n
    return Bin(n, predicted, sum(y for _, y, _ in events) / n, math.sqrt(variance))


def squared_error(events: Sequence[Event]) -> float:
    """sum_b N_b (gap_b² - se_b²) / sum_b N_b over the bins with a standard error."""
    bins = [b for b in map(bin_of, cut(events)) if not math.isnan(b.se)]
    if not bins:
        return NAN
    return math.fsum(b.events * ((b.observed - b.predicted) ** 2 - b.se**2) for b in bins) / sum(b.events for b in bins)
