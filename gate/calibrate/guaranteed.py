"""Thresholds with a guarantee: precision >= p, or recall >= r, with confidence 1 - delta (method A11.2).

Thresholds are tried in an order that ignores labels: where the accepted (for recall: the rejected) events first reach
25, 25 * 1.15, 25 * 1.15², ... They are walked from the safest, and the walk ends at the first failure after the first
success, so each test may spend all of delta (fixed sequence; Angelopoulos et al. 2021, Learn then Test). Each test is a
Clopper-Pearson bound (Clopper & Pearson 1934) on as many events as the clips are worth:

    deff = max(1, variance by clip / binomial variance)      q = t(1 - delta, keff - 1) / z(1 - delta)
    m = N / (deff q²)        bound = Beta^-1(delta; v m, (1 - v) m + 1)        keff: Kish 1965, of the denominators

Frames of a clip are alike: counted as single events, the bound is broken two to three times as often (method B5).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gate.curves import Curves, curves
from gate.table import ClipIndex, Entries, Floats, Ints, entries_of, sums_at

#: Accepted (for recall: rejected) events at the safest threshold that is tried, and the growth from one to the next.
FEWEST, GROWTH = 25, 1.15
#: Failures before the first success. A first success that comes late is usual on large, heavy or correlated
#: calibration sets: a limit of 8 abstained on up to 80 % of them and broke the guarantee no less often
#: (benchmarks/simulations/guarantee.py).
LEADING_FAILURES = 16
#: As many times the clips that there are is tried to tell how many would prove what is not proven; beyond, none would.
MORE = (1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 32.0, 64.0)
_COUNTS_AT_ONCE = 1 << 22
_ABOVE = 1 << 16


@dataclass(frozen=True)
class Sample:
    """A share measured on clips, any shape: value; size: events below the line; deff: design effect, NaN with fewer
    than two clips; keff: effective number of clips (Kish) of the denominator.
    """

    value: Floats
    size: Floats
    deff: Floats
    keff: Floats


def sample_of(hits: Ints, events: Ints, times: float = 1.0) -> Sample:
    """Shares hits / events from counts by clip, (..., J) int64, were there `times` as many clips of the same kind.

    Variance by clip: k / (k - 1) sum_j (hits_j - value events_j)² / N², k clips with events. The sums of products are
    integers, so no order or name of clips can change a bit.
    """
    found, size = hits.sum(axis=-1), events.sum(axis=-1).astype(np.float64)
    hh, he, ee = ((a * b).sum(axis=-1).astype(np.float64) for a, b in ((hits, hits), (hits, events), (events, events)))
    clips = (events > 0).sum(axis=-1) * times
    with np.errstate(invalid="ignore", divide="ignore"):
        value = found / size
        spread = np.maximum(hh - 2 * value * he + value**2 * ee, 0.0)
        ratio = clips / (clips - 1) * spread / (size * value * (1 - value))
        # Where all or none hit there is no spread at all.
        deff = np.where((value > 0) & (value < 1), np.maximum(ratio, 1.0), 1.0)
        return Sample(value, size * times, np.where(clips > 1, deff, np.nan), size**2 / ee * times)


def lower_bound(sample: Sample, confidence: Floats) -> Floats:
    """One-sided lower confidence bound of the share; 0 with fewer than two (effective) clips or no hit."""
    from scipy.special import betaincinv, ndtri, stdtrit

    value, keff = sample.value, sample.keff
    with np.errstate(invalid="ignore", divide="ignore"):
        q = stdtrit(np.maximum(keff - 1, 1.0), confidence) / ndtri(confidence)
        m = sample.size / (sample.deff * q**2)
        m = np.where(value == 1, np.minimum(m, keff), m)
        bound = betaincinv(value * m, (1 - value) * m + 1, 1 - confidence)
        return np.where((keff >= 2) & (value > 0) & np.isfinite(m), bound, 0.0)


@dataclass(frozen=True)
class Proof:
    """What the walk found for n series. code, low, high: lattice codes of the best, lowest and highest proven
    threshold, -1 where none is. needed: about how many further clips like these would prove one, -1 where one is or
    none would.
    """

    code: Ints
    low: Ints
    high: Ints
    needed: Ints


def prove(
    entries: Entries,
    index: ClipIndex,
    rows: Ints,
    accepting: NDArray[np.bool_],
    level: Floats,
    confidence: Floats,
    hopeful: NDArray[np.bool_],
) -> Proof:
    """Thresholds whose precision (where `accepting`) or recall is proven to be at least `level`, for n series.

    entries: by score; rows: (n,) the series. index: clips of the calibration cells. accepting, level, confidence: (n,).
    hopeful: (n,) whether some threshold holds by point estimate; only then more clips could help.
    """
    out = Proof(*(np.full(len(rows), -1) for _ in range(4)))
    for precision in (True, False):
        these = np.flatnonzero(accepting == precision)
        # Counts by series, threshold and clip are the largest arrays here; a sequence has some 60 thresholds.
        step = max(1, _COUNTS_AT_ONCE // (64 * max(index.clips, 1)))
        for some in (these[first : first + step] for first in range(0, len(these), step)):
            proof = _walk(entries_of(entries, rows[some]), index, precision, level[some], confidence[some])
            out.code[some], out.low[some], out.high[some] = proof
            short = some[(out.code[some] < 0) & hopeful[some]]
            for times in MORE if index.clips > 1 else ():
                if not short.size:
                    break
                part = entries_of(entries, rows[short])
                found = _walk(part, index, precision, level[short], confidence[short], times)[0] >= 0
                out.needed[short[found]] = np.ceil((times - 1) * index.clips)
                short = short[~found]
    return out


def _walk(
    entries: Entries, index: ClipIndex, precision: bool, level: Floats, confidence: Floats, times: float = 1.0
) -> tuple[Ints, Ints, Ints]:
    """Codes of the (best, lowest, highest) proven threshold of each series, as if there were `times` as many clips."""
    curve = curves(entries, index.clip >= 0)
    if not len(curve.code):
        none = np.full(entries.rows, -1)
        return none, none, none
    tried, new = _sequence(curve, precision, times)
    bound = lower_bound(_samples(curve, index, tried, precision, times), confidence[:, None])
    passed = new & (bound >= level[:, None])
    failures = np.cumsum(new & ~passed, axis=1)
    leading = np.take_along_axis(failures, passed.argmax(axis=1)[:, None], axis=1)
    proven = passed & (failures == leading) & (leading <= LEADING_FAILURES)
    # All thresholds of the walk are proven at once, so the best of them may be chosen after the fact.
    tp, codes = curve.tp[tried], curve.code[tried]
    worth = np.where(proven, tp if precision else tp / curve.accepted[tried], -1.0)
    best = np.take_along_axis(codes, worth.argmax(axis=1)[:, None], axis=1)[:, 0]
    found = proven.any(axis=1)
    low, high = np.where(proven, codes, _ABOVE).min(axis=1), np.where(proven, codes, -1).max(axis=1)
    return np.where(found, best, -1), np.where(found, low, -1), high


def _sequence(curve: Curves, precision: bool, times: float) -> tuple[Ints, NDArray[np.bool_]]:
    """(bins that are tried, safest first; whether each is there and another than the one before), (n, K)."""
    starts, ends = curve.starts[:-1, None], curve.starts[1:, None]
    scored = np.diff(np.r_[0, np.cumsum(curve.positives + curve.negatives)][curve.starts])[:, None]
    before = np.cumsum(scored)[:, None] - scored
    steps = max(1, int(np.log(max(times * scored.max() / FEWEST, 1.0)) / np.log(GROWTH)) + 2)
    count = np.ceil(np.ceil(FEWEST * GROWTH ** np.arange(steps)) / times).astype(np.int64)
    running = curve.accepted + before[curve.series, 0]
    if precision:
        tried = np.searchsorted(running, before + count, "left")
    else:
        tried = np.searchsorted(running, before + scored - count, "right") - 1
    there = (tried >= starts) & (tried < ends) & (count <= scored)
    tried = np.clip(tried, np.minimum(starts, ends - 1), ends - 1)
    return tried, there & np.c_[np.full(len(tried), True), tried[:, 1:] != tried[:, :-1]]


def _samples(curve: Curves, index: ClipIndex, tried: Ints, precision: bool, times: float) -> Sample:
    """Precision or recall at each tried bin, (n, K), from counts by clip."""
    entries, (rows, steps) = curve.entries, tried.shape
    # The first step at which a bin is accepted (rejected): by how many thresholds tried lie above it.
    above = np.bincount((tried + 1).reshape(-1), minlength=len(curve.code) + 1)
    passed = np.cumsum(above)[:-1] - steps * curve.series
    first = passed if precision else steps - passed
    scored = curve.bin >= 0
    bins, count, positive = curve.bin[scored], entries.count[scored], entries.positive[scored]
    place = (entries.series[scored] * (steps + 1) + first[bins]) * index.clips + index.clip[entries.cell[scored]]
    shape = (rows, steps + 1, index.clips)

    def by_step(count: Ints) -> Ints:
        here = sums_at(place, count, shape).astype(np.int64)
        return np.cumsum(here, axis=1)

    found = by_step(count * positive)
    if precision:
        return sample_of(found[:, :-1], by_step(count)[:, :-1], times)
    clip = index.clip[entries.cell]
    positives = _by_clip(entries, clip, entries.positive & (clip >= 0), index.clips)
    events = np.broadcast_to(positives[:, None], found[:, :-1].shape)
    return sample_of(found[:, -1:] - found[:, :-1], events, times)


def bounds_at(
    entries: Entries, index: ClipIndex, accepting: NDArray[np.bool_], codes: Ints, confidence: Floats
) -> Floats:
    """Lower bounds of precision (where `accepting`) or recall of each series at one threshold code each, (n,)."""
    return lower_bound(_sample_at(entries, index, accepting, codes), confidence)


def _sample_at(entries: Entries, index: ClipIndex, accepting: NDArray[np.bool_], codes: Ints) -> Sample:
    clip = index.clip[entries.cell]
    inside = clip >= 0
    accepted = entries.code >= codes[entries.series]
    below = np.where(accepting[entries.series], accepted, entries.positive) & inside
    hits = _by_clip(entries, clip, accepted & entries.positive & inside, index.clips)
    return sample_of(hits, _by_clip(entries, clip, below, index.clips))


def _by_clip(entries: Entries, clip: Ints, chosen: NDArray[np.bool_], clips: int) -> Ints:
    """(S, J) number of the chosen events."""
    place = entries.series[chosen] * clips + clip[chosen]
    return sums_at(place, entries.count[chosen], (entries.rows, clips)).astype(np.int64)
