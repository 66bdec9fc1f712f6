"""Do probabilities mean what they say? Observed against expected positives, and the calibration error beyond noise.

A head that says 0.2 on a hundred events should be right on about twenty. How far it is off is judged by clip: the
events of a clip are wrong together, and a test that counts events as independent rejects more than half of perfectly
calibrated heads (method B7). All series at once (method A13).

Only scored events have a probability. A missed positive enters nothing here, neither as observed nor as expected: that
detections are missing is what recall and average precision say.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from gate.cores import each
from gate.curves import cumulative
from gate.errors import EvidenceError
from gate.lattice import MISSED, probability
from gate.measures import divide
from gate.table import ClipIndex, Entries, Floats, Ints, sums_at

BINS = 15
#: Expected positives that a bin holds at least; with less than two such bins no calibration error is given.
EXPECTED_PER_BIN = 5

#: Bins are cut on integers, p in steps of 2^-24: no order of events, clips or series moves a cut.
_STEPS = 2**24
_ROOM = 2.0**62
#: Entries, and sums by series, bin and clip, that one pass holds; about memory only, never about a bit.
_ENTRIES, _SUMS = 2**18, 2**20


@dataclass(frozen=True)
class Reliability:
    """Calibration of n series on the clips of an index; p is the probability that a score stands for.

    events, observed: (n,) int64, scored events and the positives among them (O). clips: (n,) int64, clips with scored
    events. expected: (n,) sum of p (E).
    ratio: (n,) O / E, 0.5: half of what was expected; NaN when nothing is expected (E = 0).
    z: (n,) sum_j (O_j - E_j) / sqrt(sum_j (O_j - E_j)²) over clips j, about standard normal when calibrated, never
    beyond sqrt(clips); NaN with fewer than two clips, or when O_j = E_j in every clip.
    rms: (n,) calibration error beyond noise, in probability, negative when below noise; NaN with fewer than 10 expected
    positives, or when no bin has events of two clips. ece: (n,) plug-in expected calibration error over 15 bins of
    equal width, only for comparability: noise alone reads 0.002 to 0.009 (method B7); NaN without scored events.
    bins: (n,) int64, bins used. bin_predicted, bin_observed, bin_events, bin_se: (n, 15) mean p, share of positives,
    events and clip-robust standard error of their difference, from the highest scores down; NaN beyond the bins used,
    and no standard error (NaN) of a bin whose events are of one clip.
    """

    events: Ints
    clips: Ints
    observed: Ints
    expected: Floats
    ratio: Floats
    z: Floats
    rms: Floats
    ece: Floats
    bins: Ints
    bin_predicted: Floats
    bin_observed: Floats
    bin_events: Floats
    bin_se: Floats


def reliability(entries: Entries, index: ClipIndex) -> Reliability:
    """Calibration of every series over the scored events of the index's clips.

    Raises EvidenceError when more positives are expected than bins can be cut from (2.7e11 in a block of series).

    rms (method A13; the debiasing of Kumar, Liang & Ma 2019, with clips in the place of events). Up to 15 bins hold
    equal expected positives, at least 5 each. Bin b has N_b events in clips j, and the gap g_b = (O_b - E_b) / N_b. Its
    square is too large by its variance, so

        rms² = sum_b N_b (g_b² - var_b) / sum_b N_b
        var_b = sum_j (O_bj - E_bj - g_b N_bj)² / (1 - N_bj / N_b) / N_b²

    var_b is the linearised variance of a ratio of sums over clips; its factor undoes what a clip's own pull on g_b
    takes from the residual (CR2 of Bell & McCaffrey 2002). A bin of one clip has no variance and is left out of both
    sums.
    """
    parts = each(lambda block: _block(entries, index, *block), list(_blocks(entries, index.clips)))
    return Reliability(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Reliability)))


def _blocks(entries: Entries, clips: int) -> Iterator[tuple[range, slice]]:
    """(series, their entries): runs of whole series that fit one pass; a single series may be larger."""
    starts = np.searchsorted(entries.series, np.arange(entries.rows + 1))
    most, first = max(1, _SUMS // (BINS * max(1, clips))), 0
    while True:
        fit = int(np.searchsorted(starts, starts[first] + _ENTRIES, side="right")) - 1
        end = min(max(first + 1, min(fit, first + most)), entries.rows)
        yield range(first, end), slice(int(starts[first]), int(starts[end]))
        first = end
        if first >= entries.rows:
            return


def _block(entries: Entries, index: ClipIndex, rows: range, part: slice) -> Reliability:
    code, clip = entries.code[part], index.clip[entries.cell[part]]
    kept = np.flatnonzero((code != MISSED) & (clip >= 0))
    series, code, clip = entries.series[part][kept] - rows.start, code[kept], clip[kept]
    count, positive = entries.count[part][kept], entries.positive[part][kept]
    n = len(rows)

    # A group is what shares series and code, hence p. Sums over groups know nothing of clips.
    first = np.flatnonzero(np.r_[True, (series[1:] != series[:-1]) | (code[1:] != code[:-1])][: kept.size])
    group_series, p = series[first], probability(code[first])
    group_events = np.add.reduceat(count, first) if kept.size else count
    group_observed = np.add.reduceat(count * positive, first) if kept.size else count
    bin_of = _cut(group_series, group_events, p, n)
    binned = group_series * BINS + np.maximum(bin_of, 0)
    expected = sums_at(binned, group_events * p, (n, BINS))

    sizes = np.diff(np.r_[first, kept.size])
    at = _sums_by_place(np.repeat(binned * index.clips, sizes) + clip, count, positive, np.repeat(p, sizes))
    bin_of_place, clip_of_place = at.place // max(index.clips, 1), at.place % max(index.clips, 1)
    series_clip = bin_of_place // BINS * index.clips + clip_of_place

    observed = sums_at(group_series, group_observed, (n,))
    total, all_events = expected.sum(axis=1), sums_at(group_series, group_events, (n,))
    clips = (sums_at(series_clip, at.events, (n, index.clips)) > 0).sum(axis=1)
    spread = np.sqrt(_unordered_sum(sums_at(series_clip, at.excess, (n, index.clips)) ** 2))
    bins = np.zeros(n, np.int64)
    np.maximum.at(bins, group_series, bin_of + 1)
    used = np.arange(BINS) < bins[:, None]
    bin_events = np.where(used, sums_at(bin_of_place, at.events, (n, BINS)), np.nan)
    bin_observed = sums_at(binned, group_observed, (n, BINS)) / bin_events
    bin_predicted = expected / bin_events
    gap = bin_observed - bin_predicted
    variance = _variance(at, index.clips, bin_events, gap)
    return Reliability(
        events=all_events.astype(np.int64),
        clips=clips,
        observed=observed.astype(np.int64),
        expected=total,
        ratio=divide(observed, total),
        z=np.where(clips > 1, divide(observed - total, spread), np.nan),
        rms=_beyond_noise(gap, variance, bin_events),
        ece=_plug_in(group_series, p, group_events, group_observed, n),
        bins=bins,
        bin_predicted=bin_predicted,
        bin_observed=bin_observed,
        bin_events=bin_events,
        bin_se=np.sqrt(variance),
    )


@dataclass(frozen=True)
class _Places:
    """Where there are events: place: (m,) ascending, (series * BINS + bin) * clips + clip; events, excess: (m,), O - E.

    Most clips have no event in most bins: sums by series, bin and clip are kept only where there are any.
    """

    place: Ints
    events: Floats
    excess: Floats


def _sums_by_place(place: Ints, count: Ints, positive: NDArray[np.bool_], p: Floats) -> _Places:
    """Events, and observed less expected positives, of each place; arguments: one an entry."""
    touched = np.zeros(int(place.max(initial=-1)) + 1, bool)
    touched[place] = True
    found = np.flatnonzero(touched)
    number = np.empty(len(touched), np.int64)
    number[found] = np.arange(len(found))
    of, size = number[place], (len(found),)
    return _Places(found, sums_at(of, count, size), sums_at(of, count * positive, size) - sums_at(of, count * p, size))


def _unordered_sum(values: Floats) -> Floats:
    """Sums over the last axis whose bits do not depend on the order of clips."""
    return np.sort(values, axis=-1).sum(axis=-1)


def _cut(series: Ints, events: Ints, p: Floats, rows: int) -> Ints:
    """Bin of each group, from the highest score down; -1 in a series with fewer than 10 expected positives.

    With E expected positives there are B = min(15, floor(E / 5)) shares. A bin ends with the first code that reaches
    the next multiple of E / B and gives it 5; a rest of less than 5 joins the last bin. Codes are never split.
    """
    if (events * p).sum() * _STEPS >= _ROOM:
        raise EvidenceError("too many scored events to cut calibration bins from", mend="judge fewer pixels of a frame")
    steps = events * np.rint(p * _STEPS).astype(np.int64)
    starts = np.searchsorted(series, np.arange(rows + 1))
    running = np.r_[0, np.cumsum(steps)]
    base, total = running[starts[:-1]], np.diff(running[starts])
    least = EXPECTED_PER_BIN * _STEPS
    shares = np.minimum(BINS, total // least)
    shares[shares < 2] = 0
    k, whole = np.arange(1, BINS + 1), np.maximum(shares, 1)[:, None]
    # k E / B without a product that could be too long for 64 bits.
    multiples = np.minimum(k * (total[:, None] // whole) + k * (total[:, None] % whole) // whole, total[:, None])
    begins = np.zeros(len(series) + 1, np.int64)
    last = np.zeros(rows, np.int64)
    for _ in range(BINS - 1):
        following = np.minimum((multiples <= last[:, None]).sum(axis=1), BINS - 1)
        target = np.maximum(multiples[np.arange(rows), following], last + least)
        closing = np.searchsorted(running[1:], base + target)
        reached = running[np.minimum(closing + 1, len(series))] - base
        cut = (shares > 0) & (total - reached >= least)
        begins[closing[cut] + 1] = 1
        last = np.where(cut, reached, total)
    return np.where(shares[series] > 0, cumulative(begins[:-1], starts, series), -1)


def _variance(at: _Places, clips: int, bin_events: Floats, gap: Floats) -> Floats:
    """Clip-robust variance of each gap, (n, 15); NaN where the events are of one clip."""
    weighed = np.zeros((*gap.shape, clips))
    bins = at.place // max(clips, 1)
    whole = bin_events.ravel()[bins]
    residual = (at.excess - gap.ravel()[bins] * at.events) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):  # one clip alone: 0 / 0 is the intended NaN
        weighed.ravel()[at.place] = np.where(at.events == whole, np.nan, residual / (1 - at.events / whole))
    return _unordered_sum(weighed) / bin_events**2


def _beyond_noise(gap: Floats, variance: Floats, events: Floats) -> Floats:
    """Signed root of the mean of gap² - variance over the bins that have a variance, weighed by events, (n,)."""
    known = ~np.isnan(variance)
    square = divide(
        np.where(known, events * (gap**2 - variance), 0.0).sum(axis=1), np.where(known, events, 0.0).sum(axis=1)
    )
    return np.sign(square) * np.sqrt(np.abs(square))


def _plug_in(series: Ints, p: Floats, events: Ints, observed: Ints, rows: int) -> Floats:
    """Expected calibration error over 15 bins of equal width, right edges inside (Guo et al. 2017), (n,)."""
    place = series * BINS + np.clip(np.ceil(p * BINS).astype(np.int64) - 1, 0, BINS - 1)
    gaps = np.abs(sums_at(place, observed, (rows, BINS)) - sums_at(place, events * p, (rows, BINS)))
    return divide(gaps.sum(axis=1), sums_at(series, events, (rows,)))
