"""Operating points for every objective, method A11, event by event and threshold by threshold.

An event is (score, positive, clip); the score of a missed positive is None.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy.stats import beta, norm, t

Event = tuple[float | None, bool, int]


def counts(events: Sequence[Event], threshold: float) -> tuple[int, int, int]:
    """(tp, fp, fn) of accepting every score at or above the threshold."""
    tp = fp = fn = 0
    for score, positive, _ in events:
        accepted = score is not None and score >= threshold
        tp, fp, fn = tp + (accepted and positive), fp + (accepted and not positive), fn + (positive and not accepted)
    return tp, fp, fn


def scores(events: Sequence[Event]) -> list[float]:
    """Distinct scores, ascending."""
    return sorted({s for s, _, _ in events if s is not None})


def cheapest(events: Sequence[Event], fn_cost: float, fp_cost: float) -> tuple[float, float, float]:
    """(threshold, lowest, highest) of `min cost`: middle of the thresholds within 2 % of the least cost."""
    cost = {}
    for s in scores(events):
        _, fp, fn = counts(events, s)
        cost[s] = fn_cost * fn + fp_cost * fp
    least = min(cost.values())
    good = [s for s in cost if cost[s] <= least + 0.02 * least]
    middle = (good[0] + good[-1]) / 2
    return min(good, key=lambda s: (abs(s - middle), -s)), good[0], good[-1]


def best_feasible(events: Sequence[Event], precision: bool, level: float) -> float | None:
    """Best threshold that keeps precision (else recall) at `level` or above by point estimate, or None.

    The other one is made greatest; of equals, the one that keeps more. A precision is read on at least 25 events, or
    as many as there are positives, or scores.
    """
    positives = sum(1 for _, positive, _ in events if positive)
    floor = min(25, positives, sum(1 for s, _, _ in events if s is not None)) if precision else 0
    best: tuple[float, float, float] | None = None
    for s in scores(events):
        tp, fp, fn = counts(events, s)
        p, r = tp / (tp + fp), tp / (tp + fn)
        held, wanted = (p, r) if precision else (r, p)
        if held >= level and tp + fp >= floor and (best is None or (wanted, held) > best[:2]):
            best = (wanted, held, s)
    return None if best is None else best[2]


def lower_bound(clips: Sequence[tuple[int, int]], confidence: float) -> float:
    """Bound of hits / events from the (hits, events) of each clip: Clopper-Pearson on an effective number of events."""
    clips = [(h, n) for h, n in clips if n]
    total, size = sum(h for h, _ in clips), sum(n for _, n in clips)
    if len(clips) < 2 or total == 0:
        return 0.0
    value = total / size
    effective = size**2 / sum(n**2 for _, n in clips)
    if effective < 2:
        return 0.0
    deff = 1.0
    if value < 1:
        k = len(clips)
        by_clip = k / (k - 1) * sum((h - value * n) ** 2 for h, n in clips) / size**2
        deff = max(1.0, by_clip / (value * (1 - value) / size))
    q = t.ppf(confidence, effective - 1) / norm.ppf(confidence)
    m = size / (deff * q**2)
    if value == 1:
        m = min(m, effective)
    return float(beta.ppf(1 - confidence, value * m, (1 - value) * m + 1))


def bound_at(events: Sequence[Event], threshold: float, precision: bool, confidence: float) -> float:
    """Bound of precision (else recall) at a threshold."""
    clips = []
    for clip in {c for _, _, c in events}:
        mine = [e for e in events if e[2] == clip]
        tp, fp, fn = counts(mine, threshold)
        clips.append((tp, tp + fp if precision else tp + fn))
    return lower_bound(clips, confidence)


def sequence(events: Sequence[Event], precision: bool) -> list[float]:
    """Thresholds that are tried, safest first."""
    scored = [s for s, _, _ in events if s is not None]
    passed = {s: sum(1 for other in scored if (other >= s if precision else other < s)) for s in scores(events)}
    tried: list[float] = []
    target, k = 25, 0
    while target <= len(scored):
        reached = [s for s in passed if passed[s] >= target]
        safest = (max(reached) if precision else min(reached)) if reached else None
        if safest is not None and safest not in tried:
            tried.append(safest)
        k += 1
        target = math.ceil(25 * 1.15**k)
    return tried


def proven(events: Sequence[Event], precision: bool, level: float, confidence: float) -> list[float]:
    """Proven thresholds: the walk from the safest to the first failure after a success, 16 leading failures at most."""
    out: list[float] = []
    failures = 0
    for s in sequence(events, precision):
        if bound_at(events, s, precision, confidence) >= level:
            out.append(s)
        elif out:
            break
        else:
            failures += 1
            if failures > 16:
                break
    return out


def guaranteed(events: Sequence[Event], precision: bool, level: float, confidence: float) -> float | None:
    """Best proven threshold or None: greatest recall (else precision), of equals the safest."""
    best: tuple[float, float] | None = None
    for s in proven(events, precision, level, confidence):
        tp, fp, fn = counts(events, s)
        wanted = tp / (tp + fn) if precision else tp / (tp + fp)
        if best is None or wanted > best[0]:
            best = (wanted, s)
    return None if best is None else best[1]
