"""Proven regression: studentised sign flips of per-clip contributions, step-down maximum over a family (method A5).

One sign a clip, shared by all cells, so that whatever correlation there is between predictions is kept and the
family-wise error holds. Westfall & Young 1993; Romano & Wolf 2005; Hemerik, Goeman & Finos 2020.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gate.table import Floats, Ints

#: Up to here every sign vector is enumerated, and p-values are exact.
ENUMERATED_CLIPS = 12
MIN_CLIPS = 10
#: Sign vectors of one matrix product: bounds memory, changes nothing else.
BLOCK = 256
#: Of the float32 product, relative to a statistic of order one: a tie counts against the proof.
_TIE = 1e-5
#: Of float64 sums, relative to the greatest contribution.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class FamilyTest:
    """p: (n,) step-down adjusted p-values, NaN for cells that were not tested; p_raw: (n,) the same for each cell
    alone. critical: what the statistic of a single cell must exceed; inf without a tested cell. provable: (n,) could
    this cell exceed it at all.
    """

    p: Floats
    p_raw: Floats
    critical: float
    provable: NDArray[np.bool_]


def seed_of(*digests: str) -> int:
    """Seed of the signs: same inputs, same signs, and nobody can roll again (method A5)."""
    return int.from_bytes(hashlib.sha256("|".join((*digests, "gate-signs-v1")).encode()).digest()[:8], "big")


def sign_vectors(clips: int, resamples: int, seed: int) -> NDArray[np.int8]:
    """(R, J) of +1 and -1: all 2^J of them for few clips, else `resamples` random ones."""
    if clips <= ENUMERATED_CLIPS:
        bits = np.arange(2**clips)[:, None] >> np.arange(clips)
        return (1 - 2 * (bits & 1)).astype(np.int8)
    return (1 - 2 * np.random.default_rng(seed).integers(0, 2, (resamples, clips), dtype=np.int8)).astype(np.int8)


def eligible(d: Floats, positive_clips: Ints) -> NDArray[np.bool_]:
    """Cells that may be tested: enough clips that differ, and enough with positives. A function of |d| only."""
    # A clip that both answer alike may keep the rounding of sums that cancel; that is no difference.
    noise = _ROUNDING * np.abs(d).max(axis=1, initial=0.0, keepdims=True)
    return ((np.abs(d) > noise).sum(axis=1) >= MIN_CLIPS) & (positive_clips >= MIN_CLIPS)


def prove_loss(
    d: Floats, weight: Floats, effect: Floats, tested: NDArray[np.bool_], signs: NDArray[np.int8], alpha: float
) -> FamilyTest:
    """Adjusted p-values of "delta < -effect" within one family.

    d, weight: (n, J); effect: (n,) the least loss that counts; tested: (n,) cells of the family that are eligible.
    A gain is proven by the mirror image, `prove_loss(-d, ...)`.
    """
    p, p_raw = np.full(len(d), np.nan), np.full(len(d), np.nan)
    provable = np.zeros(len(d), bool)
    rows = np.flatnonzero(tested)
    shifted = d[rows] + effect[rows, None] * weight[rows]
    norm = np.sqrt((shifted**2).sum(axis=1))
    rows, shifted, norm = rows[norm > 0], shifted[norm > 0], norm[norm > 0]
    if not rows.size:
        return FamilyTest(p, p_raw, np.inf, provable)
    u = shifted / norm[:, None]
    statistic = u.sum(axis=1)
    order = np.argsort(statistic, kind="stable")
    exceeding, alone, maxima = _flips(u[order], statistic[order], signs)
    # By the number of clips: 8,192 random vectors over 13 clips are as many as there are, and still random.
    exact = d.shape[1] <= ENUMERATED_CLIPS
    extra = 0 if exact else 1
    p[rows[order]] = np.maximum.accumulate((exceeding + extra) / (len(signs) + extra))
    p_raw[rows[order]] = (alone + extra) / (len(signs) + extra)
    critical = _critical(maxima, alpha, exact)
    provable[rows] = np.abs(u).sum(axis=1) > critical + _TIE
    return FamilyTest(p, p_raw, critical, provable)


def _flips(u: Floats, statistic: Floats, signs: NDArray[np.int8]) -> tuple[Ints, Ints, Floats]:
    """(exceeding, alone, maxima): for each cell, worst first, how many flips of it and all better cells are as bad,
    how many of it alone, and the greatest statistic of every flip, (R,).
    """
    cells = u.T.astype(np.float32)
    bar = (-statistic - _TIE).astype(np.float32)
    exceeding, alone, maxima = np.zeros(len(u), np.int64), np.zeros(len(u), np.int64), np.empty(len(signs))
    for start in range(0, len(signs), BLOCK):
        flipped = -(signs[start : start + BLOCK].astype(np.float32) @ cells)
        alone += (flipped >= bar).sum(axis=0)
        running = np.maximum.accumulate(flipped[:, ::-1], axis=1)[:, ::-1]
        exceeding += (running >= bar).sum(axis=0)
        maxima[start : start + BLOCK] = running[:, 0]
    return exceeding, alone, maxima


def _critical(maxima: Floats, alpha: float, exact: bool) -> float:
    """Least value that at most a share alpha of the flips reach, counted as the p-value counts."""
    ordered = np.sort(maxima)[::-1]
    extra = 0 if exact else 1
    allowed = int(np.floor(alpha * (len(maxima) + extra) + 1e-9)) - extra
    return float("inf") if allowed < 0 else float(ordered[min(allowed, len(ordered) - 1)])
