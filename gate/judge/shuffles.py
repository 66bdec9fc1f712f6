"""Shuffled clips: releases that are equally good by construction, and what the gate says of them (method A8, B8).

Two halves of one suite, clip paired with clip at random, are exchangeable: whatever is proven between a bundle on the
one and the same bundle on the other is a false alarm.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gate.compare import MIN_CLIPS, Comparison
from gate.judge.cells import SUSPECT, Judged
from gate.judge.judging import Asked, Groups
from gate.table import ClipIndex, Ints

#: Of the interval of a rate.
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Said:
    """What the gate says of one shuffled release.

    worse: predictions, and groups as `group:NAME`, that are proven worse. lost: predictions that could be measured and
    no longer can. suspects: predictions that look worse without proof. tested: cells that entered a test.
    """

    worse: tuple[str, ...]
    lost: tuple[str, ...]
    suspects: tuple[str, ...]
    tested: int

    @property
    def blocks(self) -> tuple[str, ...]:
        """What stops this release."""
        return tuple(dict.fromkeys((*self.worse, *self.lost)))


@dataclass(frozen=True)
class Alarms:
    """False alarms in so many shuffled releases.

    clips: in each release; counted: what one is called. low, high: exact interval (Clopper & Pearson 1934) of the rate,
    as though the releases were independent; they share their clips. blocking, suspects, tested: of each release,
    (repeats,). blamed: what blocked, with the number of releases, most often first.
    """

    repeats: int
    clips: int
    counted: str
    alpha: float
    blocked: int
    low: float
    high: float
    blocking: tuple[int, ...]
    suspects: tuple[int, ...]
    tested: tuple[int, ...]
    blamed: tuple[tuple[str, int], ...]

    @property
    def rate(self) -> float:
        return self.blocked / self.repeats


def other_clips(clips: int, rng: np.random.Generator) -> Ints:
    """(J,) the clip that each clip is paired with, always another one: a random cycle through all of them."""
    order = rng.permutation(clips)
    other = np.empty(clips, np.int64)
    other[np.roll(order, 1)] = order
    return other


def halves(index: ClipIndex, rng: np.random.Generator) -> tuple[ClipIndex, ClipIndex]:
    """Two random halves of the clips, which pairs them at random too; an odd one is left out."""
    size = index.clips // 2
    order = rng.permutation(index.clips)
    first, second = np.full((2, index.clips), -1)
    first[order[:size]] = second[order[size : 2 * size]] = np.arange(size)
    return _placed(index, first, size), _placed(index, second, size)


def _placed(index: ClipIndex, place: Ints, clips: int) -> ClipIndex:
    """place: (J,) new position of each clip, -1 for one that is left out."""
    return ClipIndex(np.where(index.clip >= 0, place[index.clip], -1), clips)


def answerable(alone: Comparison) -> tuple[Ints, Ints]:
    """Positions of the questions and of the slices that enough clips can answer; no other cell enters any test."""
    enough = alone.clips >= MIN_CLIPS
    return np.unique(alone.question[enough]), np.unique(alone.slice[enough])


def said_of(asked: Asked, judged: Judged, groups: Groups) -> Said:
    """What the gate says of one release whose clips were shuffled on both sides alike."""
    c, seen = judged.comparison, judged.seen
    proven = seen.p <= judged.alpha
    means = groups.judged
    sunk = np.flatnonzero(means.seen.p <= means.alpha)
    worse = [*_named(asked, proven), *(f"group:{groups.names[k][0]}" for k in sunk)]
    looks = (c.delta <= -judged.margin) | (seen.p_raw <= SUSPECT)
    looks &= (asked.family == "supporting") & (c.clips >= MIN_CLIPS) & np.isfinite(seen.p)
    suspects = _named(asked, looks & ~proven & ~judged.certified & ~judged.identical)
    tested = int(np.isfinite(seen.statistic).sum() + np.isfinite(means.seen.statistic).sum())
    return Said(tuple(dict.fromkeys(worse)), (), suspects, tested)


def no_longer_measured(asked: Asked, judged: Judged) -> tuple[str, ...]:
    """Predictions with a cell of the whole suite that only the incumbent can answer: their loss blocks (method A7)."""
    c = judged.comparison
    gone = ~np.isfinite(c.candidate) | (c.fragile & ~np.isfinite(c.se))
    had = (c.clips >= MIN_CLIPS) & np.isfinite(c.incumbent)
    return _named(asked, gone & had & ~judged.identical & (c.slice == 0) & (asked.family != "none"))


def _named(asked: Asked, cells: NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(asked.prediction[k] for k in np.flatnonzero(cells)))


def alarms(releases: Sequence[Said], *, clips: int, counted: str, alpha: float) -> Alarms:
    """All releases counted; there is at least one."""
    blocked = sum(bool(r.blocks) for r in releases)
    low, high = interval(blocked, len(releases))
    blamed = Counter(name for r in releases for name in r.blocks)
    return Alarms(
        repeats=len(releases),
        clips=clips,
        counted=counted,
        alpha=alpha,
        blocked=blocked,
        low=low,
        high=high,
        blocking=tuple(len(r.blocks) for r in releases),
        suspects=tuple(len(r.suspects) for r in releases),
        tested=tuple(r.tested for r in releases),
        blamed=tuple(sorted(blamed.items(), key=lambda item: (-item[1], item[0]))),
    )


def interval(count: int, total: int) -> tuple[float, float]:
    """Two-sided exact interval of a rate (Clopper & Pearson 1934, Biometrika 26)."""
    from scipy.special import betaincinv

    tail = (1 - CONFIDENCE) / 2
    low = float(betaincinv(count, total - count + 1, tail)) if count else 0.0
    high = float(betaincinv(count + 1, total - count, 1 - tail)) if count < total else 1.0
    return low, high
