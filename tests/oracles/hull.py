"""The default operating point, method A11.1, threshold by threshold."""

from __future__ import annotations

from collections.abc import Sequence


def f_beta(scores: Sequence[float], labels: Sequence[bool], threshold: float, beta: float) -> float:
    """F-beta of accepting every score at or above the threshold; 0 when there is nothing to find."""
    tp = sum(1 for s, positive in zip(scores, labels, strict=True) if positive and s >= threshold)
    fp = sum(1 for s, positive in zip(scores, labels, strict=True) if not positive and s >= threshold)
    fn = sum(labels) - tp
    b = beta * beta
    return (1 + b) * tp / ((1 + b) * tp + b * fn + fp) if tp + fp + fn else 0.0


def hull_midpoint(
    scores: Sequence[float], labels: Sequence[bool], beta: float, near: float = 0.02
) -> tuple[float, float, float]:
    """(threshold, lowest, highest): the near-optimal score closest to the middle of its range, ties upward."""
    worth = {t: f_beta(scores, labels, t, beta) for t in set(scores)}
    best = max(worth.values())
    good = sorted(t for t in worth if worth[t] >= best - near)
    middle = (good[0] + good[-1]) / 2
    return min(good, key=lambda t: (abs(t - middle), -t)), good[0], good[-1]
