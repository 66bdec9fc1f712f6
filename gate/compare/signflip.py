"""Proven regression: studentised sign flips of per-clip contributions, step-down maximum over a family (method A5).

One sign a clip, shared by all cells, so that whatever correlation there is between predictions is kept and the
family-wise error holds. Westfall & Young 1993; Romano & Wolf 2005; Hemerik, Goeman & Finos 2020.

Sign vectors come in pairs, a vector and its negative, of which one is stored: the set is made of random cosets of the
subgroup {1, -1}, which keeps the test exact (Hemerik & Goeman 2018, theorem 2) at half the products. Contributions are
rounded to integers that single precision adds without error, so that no processor, library, thread or block size
changes a bit.
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
#: So many clips, by Kish's count of |d|, must carry a difference: of fewer, all may lean to one side by chance more
#: often than a share of alpha (2^-6 < 0.02), and what the rest adds to the sum would then look like proof.
MIN_EFFECTIVE = 6
#: Cells of one matrix product: bounds memory, changes nothing else.
BLOCK = 128
#: Of float64 sums, relative to the greatest contribution.
_ROUNDING = 1e-12
#: Integers below this add up without error in single precision.
_EXACT = 2**24


@dataclass(frozen=True)
class FamilyTest:
    """p: (n,) step-down adjusted p-values, NaN for cells that were not tested; p_raw: (n,) the same for each cell
    alone. statistic: (n,) T, negative is worse. critical: what -T of a single cell must exceed; inf without a tested
    cell. provable: (n,) could this cell exceed it at all.
    """

    p: Floats
    p_raw: Floats
    statistic: Floats
    critical: float
    provable: NDArray[np.bool_]


def seed_of(*digests: str) -> int:
    """Seed of the signs: same inputs, same signs, and nobody can roll again (method A5)."""
    return int.from_bytes(hashlib.sha256("|".join((*digests, "gate-signs-v1")).encode()).digest()[:8], "big")


def sign_vectors(clips: int, resamples: int, seed: int) -> NDArray[np.int8]:
    """(R, J) of +1 and -1, each row for itself and its negative; the first is all +1, what was seen.

    All 2^J vectors for few clips, else `resamples` random ones besides what was seen (one more if that is even).
    """
    if clips <= ENUMERATED_CLIPS:
        bits = np.arange(2 ** max(clips - 1, 0))[:, None] >> np.arange(clips)
        return (1 - 2 * (bits & 1)).astype(np.int8)
    signs = 1 - 2 * np.random.default_rng(seed).integers(0, 2, (resamples // 2 + 1, clips), dtype=np.int8)
    signs[0] = 1
    return signs.astype(np.int8)


def eligible(d: Floats, positive_clips: Ints) -> NDArray[np.bool_]:
    """Cells that may be tested: enough clips that differ, and enough with positives. A function of |d| only.

    A clip that dwarfs the others gives each of them a small contribution of one common sign, through the totals that it
    moves, so clips are also counted by their weight: (sum |d|)² / sum d².
    """
    size = np.abs(d)
    # A clip that both answer alike may keep the rounding of sums that cancel; that is no difference.
    noise = _ROUNDING * size.max(axis=1, initial=0.0, keepdims=True)
    squares = (size**2).sum(axis=1)
    effective = np.divide(size.sum(axis=1) ** 2, squares, out=np.zeros(len(d)), where=squares > 0)
    enough = ((size > noise).sum(axis=1) >= MIN_CLIPS) & (positive_clips >= MIN_CLIPS)
    return enough & (effective >= MIN_EFFECTIVE)


def prove_loss(
    d: Floats, weight: Floats, effect: Floats, tested: NDArray[np.bool_], signs: NDArray[np.int8], alpha: float
) -> FamilyTest:
    """Adjusted p-values of "delta < -effect" within one family.

    d, weight: (n, J); effect: (n,) the least loss that counts; tested: (n,) cells of the family that are eligible;
    signs: of `sign_vectors`. A gain is proven by the mirror image, `prove_loss(-d, ...)`.
    """
    p, p_raw, statistic = (np.full(len(d), np.nan) for _ in range(3))
    provable = np.zeros(len(d), bool)
    rows = np.flatnonzero(tested)
    u, reach, exact = _studentised(d, weight, effect, rows)
    rows, u, reach, exact = rows[reach > 0], u[reach > 0], reach[reach > 0], exact[reach > 0]
    if not rows.size:
        return FamilyTest(p, p_raw, statistic, np.inf, provable)
    one, tie = _one(d.shape[1]), _tie(d.shape[1])
    seen = u.sum(axis=1, dtype=np.float64)
    order = np.argsort(seen, kind="stable")
    exceeding, alone, maxima = _flips(u[order], seen[order], signs, tie)
    p[rows[order]] = np.maximum.accumulate(exceeding / (2 * len(signs)))
    p_raw[rows[order]] = alone / (2 * len(signs))
    statistic[rows] = exact
    critical = _critical(maxima, alpha)
    provable[rows] = reach > critical + tie
    return FamilyTest(p, p_raw, statistic, critical / one, provable)


def _one(clips: int) -> float:
    """The integer that stands for 1: `clips` rounded contributions, of squares that sum to 1, stay below 2^24."""
    return 2.0 ** np.floor(np.log2((_EXACT - clips) / np.sqrt(max(clips, 1))))


def _tie(clips: int) -> float:
    """Sums that differ by no more than their rounding are equal; a tie counts against the proof.

    Two equal sums differ by at most `clips` roundings, and by more than five times their root practically never.
    """
    return float(min(clips, np.ceil(5 * np.sqrt(clips))))


def _studentised(d: Floats, weight: Floats, effect: Floats, rows: Ints) -> tuple[NDArray[np.float32], Floats, Floats]:
    """(u, reach, statistic) of the chosen cells: contributions over the root of their sum of squares, as integers of
    single precision; the sums of |u|; and the sum of the contributions with all its digits.
    """
    u, reach, statistic = np.zeros((len(rows), d.shape[1]), np.float32), np.zeros(len(rows)), np.zeros(len(rows))
    one, fine = _one(d.shape[1]), 2.0 ** (62 - max(d.shape[1].bit_length(), 10))
    for start in range(0, len(rows), BLOCK):
        part = slice(start, start + BLOCK)
        shifted = d[rows[part]] + effect[rows[part], None] * weight[rows[part]]
        norm = np.sqrt((shifted**2).sum(axis=1, keepdims=True))
        scaled = np.divide(shifted, norm, out=np.zeros_like(shifted), where=norm > 0)
        exact = np.rint(scaled * one)
        u[part] = exact
        reach[part] = np.abs(exact).sum(axis=1)
        # Added up in 64-bit integers, so that neither the order nor the sign of clips moves a bit.
        statistic[part] = np.rint(scaled * fine).astype(np.int64).sum(axis=1) / fine
    return u, reach, statistic


def _flips(
    u: NDArray[np.float32], seen: Floats, signs: NDArray[np.int8], tie: float
) -> tuple[Ints, Ints, NDArray[np.float32]]:
    """(exceeding, alone, maxima): for each cell, worst first, how many flips of it and all better cells are as bad,
    how many of it alone, and the greatest statistic of every flip but what was seen, (2 R - 1,).
    """
    flip = np.ascontiguousarray(signs.T, dtype=np.float32)
    exceeding, alone = np.zeros(len(u), np.int64), np.zeros(len(u), np.int64)
    least, greatest = np.full(len(signs), np.inf, np.float32), np.full(len(signs), -np.inf, np.float32)
    bars = (-seen - tie).astype(np.float32)
    for stop in range(len(u), 0, -BLOCK):
        start = max(stop - BLOCK, 0)
        flipped = u[start:stop] @ flip
        # From the best cell to the worst: the running extremes of a vector and of its negative. Cell by cell they
        # stay in the fastest cache; all of a block at once would not.
        for cell in range(stop - 1, start - 1, -1):
            row, bar = flipped[cell - start], bars[cell]
            np.minimum(least, row, out=least)
            np.maximum(greatest, row, out=greatest)
            alone[cell] = _reaching(row, row, bar)
            exceeding[cell] = _reaching(least, greatest, bar)
    return exceeding, alone, np.concatenate([greatest, -least[1:]])


def _reaching(low: NDArray[np.float32], high: NDArray[np.float32], bar: np.float32) -> int:
    return int(np.count_nonzero(high >= bar) + np.count_nonzero(low <= -bar))


def _critical(maxima: NDArray[np.float32], alpha: float) -> float:
    """Least value that so few flips reach that, with what was seen, they are at most a share alpha of all."""
    allowed = int(np.floor(alpha * (len(maxima) + 1) + 1e-9)) - 1
    if allowed < 0:
        return float("inf")
    place = max(len(maxima) - 1 - allowed, 0)
    return float(np.partition(maxima, place)[place])
