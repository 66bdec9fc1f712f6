"""The verdicts by the table of the method (A7), read row by row: incumbent and anchor, tiers, slices, groups.

Cells are `Twin`s, p-values come from trying the sign vectors one by one. A p-value is kept as a range, without and with
flips that tie with what was seen: rounding may decide a tie either way, and a verdict that hangs on one tests nothing.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from tests.oracles.statistics import Twin, may_be_tested, step_down

MIN_CLIPS = 10
K = TypeVar("K", bound=Hashable)
#: A flip this close to what was seen may be counted as reaching it, or not.
NEAR = 1e-4


@dataclass(frozen=True)
class Plain:
    """One cell. seen: against the incumbent; since: against its anchor, None without one that can be measured.

    effect: the least loss that can be proven. first: of the first metric of its prediction, on the whole suite.
    """

    tier: str
    whole: bool
    margin: float
    effect: float
    seen: Twin
    since: Twin | None = None
    first: bool = False
    group: bool = False
    broken: bool = False
    broken_before: bool = False
    identical: bool = False
    new_errors: bool = False

    @property
    def family(self) -> str:
        if self.group:
            return "groups"
        if self.tier == "advisory":
            return "none"
        return self.tier if self.whole else "slices"

    @property
    def gated(self) -> bool:
        sound = not (self.broken or self.broken_before or self.identical)
        finite = math.isfinite(self.seen.delta) and math.isfinite(self.seen.se)
        return self.family != "none" and sound and finite


@dataclass(frozen=True)
class P:
    """Least and greatest p-value, by what ties count for."""

    low: float
    high: float

    def sure(self, alpha: float) -> bool:
        return (self.low <= alpha) == (self.high <= alpha)


@dataclass(frozen=True)
class Said:
    """Of one cell. sure: no p-value that it rests on hangs on a tie."""

    verdict: str
    p: P | None
    p_since: P | None
    gained_since: bool
    sure: bool


PROVES_NOTHING = P(1.0, 1.0)


def judge_plainly(
    cells: Mapping[K, Plain],
    signs: Sequence[Sequence[int]],
    *,
    alpha: float,
    confidence: float,
    shares: Mapping[str, float],
    anchored: bool,
) -> dict[K, Said]:
    """Verdict of every cell; alpha: of the whole release, of which each of two references spends half.

    signs: all vectors of the test, what was seen among them.
    """
    spent = alpha / 2 if anchored else alpha
    seen = _all_p(cells, signs, {k: c.seen for k, c in cells.items() if c.gated})
    since = _all_p(cells, signs, {k: c.since for k, c in cells.items() if c.gated and c.since is not None})
    said: dict[K, Said] = {}
    for key, cell in cells.items():
        level = spent * shares[cell.family] if cell.family != "none" else 0.0
        loss, gain = seen.get(key, (None, None))
        drift, rise = since.get(key, (None, None))
        known = [p for p in (loss, gain, drift, rise) if p is not None]
        said[key] = Said(
            _verdict(cell, loss, gain, drift, level, confidence),
            loss,
            drift,
            rise is not None and rise.high <= level,
            all(p.sure(level) for p in known),
        )
    return said


def _all_p(cells: Mapping[K, Plain], signs: Sequence[Sequence[int]], against: Mapping[K, Twin]) -> dict[K, tuple[P, P]]:
    """(of a loss, of a gain) of every cell, each family for itself."""
    found: dict[K, tuple[P, P]] = {}
    for family in {cells[key].family for key in against}:
        keys = [key for key in against if cells[key].family == family]
        found |= dict.fromkeys(keys, (PROVES_NOTHING, PROVES_NOTHING))
        tested = [key for key in keys if may_be_tested(against[key])]
        if not tested:
            continue
        losses = [against[key].shifted(cells[key].effect) for key in tested]
        gains = [against[key].gained(cells[key].effect) for key in tested]
        ranges = zip(_range(losses, signs), _range(gains, signs), strict=True)
        found |= dict(zip(tested, ranges, strict=True))
    return found


def _range(shifted: Sequence[Sequence[float]], signs: Sequence[Sequence[int]]) -> list[P]:
    low, high = (step_down(shifted, signs, extra=0, tie=tie) for tie in (-NEAR / 100, NEAR))
    # What was seen reaches itself, whatever the rounding says.
    return [P(max(a, 1 / len(signs)), b) for a, b in zip(low, high, strict=True)]


def _verdict(cell: Plain, loss: P | None, gain: P | None, drift: P | None, level: float, confidence: float) -> str:
    twin = cell.seen
    if cell.broken:
        return "broken"
    if cell.broken_before or twin.positives == 0:
        return "not-measurable"
    numbers = (twin.incumbent, twin.candidate, twin.se)
    if not cell.identical and (twin.clips < MIN_CLIPS or not all(math.isfinite(x) for x in numbers)):
        return "not-measurable"
    if cell.new_errors and cell.first:
        return "regressed"
    if cell.identical:
        return "non-inferior"
    if any(p is not None and p.high <= level for p in (loss, drift)):
        return "regressed"
    certified = twin.bound(confidence) > -cell.margin and cell.margin >= 5 * twin.lost
    guarded = cell.tier == "critical" and cell.whole
    if guarded:
        certified &= abs(twin.incumbent) * (1 - (1 - confidence) ** (1 / twin.effective)) < cell.margin
        certified &= cell.since is None or cell.since.bound(confidence) > -cell.margin
    if gain is not None and gain.high <= level and (certified or cell.tier != "critical"):
        return "improved"
    return "non-inferior" if certified else "undecided"


def group_of(members: Sequence[Twin]) -> Twin:
    """The plain mean of its members; its error from the mean contributions of the clips."""
    n, clips = len(members), len(members[0].d)
    d = [sum(t.d[j] for t in members) / n for j in range(clips)]
    weight = [sum(t.weight[j] for t in members) / n for j in range(clips)]
    delta = sum(t.delta for t in members) / n
    k = sum(w > 0 for w in weight)
    spread = sum((x - delta * w) ** 2 for x, w in zip(d, weight, strict=True))
    return Twin(
        sum(t.incumbent for t in members) / n,
        sum(t.candidate for t in members) / n,
        delta,
        tuple(d),
        tuple(weight),
        math.sqrt(k / (k - 1) * spread),
        sum(w**2 for w in weight) ** 2 / sum(w**4 for w in weight),
        sum(t.lost for t in members) / n / math.sqrt(n),
        sum(t.positives for t in members),
        k,
        max(t.effective for t in members),
    )
