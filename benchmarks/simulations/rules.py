"""Ways to call a head regressed: the product's, and those that it is compared with. All see the same events.

The others EMULATE rules in use: a point threshold is what model registries and evaluators offer out of the box; a
test for each head, with or without Bonferroni; McNemar's test takes every event for independent.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmarks.simulations.world import Answers, Mask, comparison_of, joined
from gate.compare import Comparison, aggregate, eligible, prove_loss
from gate.judge.policy import Shares

ALPHA, MIN_EFFECT = 0.05, 0.005
#: (R + 1) x alpha x share is a whole number for every family, so no level is lost to rounding.
RESAMPLES = 1999
POINT = "point threshold, 1 point"
PER_HEAD = "cluster t, 5 % a head"
BONFERRONI = "cluster t, Bonferroni"
MCNEMAR = "McNemar on events, Bonferroni"
SHARP = "max-T, no least effect"
EFFECT = "max-T, least effect 0.5 points"
OTHERS = (POINT, PER_HEAD, BONFERRONI, MCNEMAR)


def others(given: Answers, c: Comparison) -> dict[str, Mask]:
    """(H,) heads that each of the other rules calls regressed."""
    heads, clips = c.d.shape
    with np.errstate(invalid="ignore", divide="ignore"):
        p = np.nan_to_num(stats.t.cdf(c.delta / c.se, clips - 1), nan=1.0)
        point = c.delta <= -0.01
    events = stats.binom.sf(given.worse - 1, given.worse + given.better, 0.5)
    return {
        POINT: point,
        PER_HEAD: p <= ALPHA,
        BONFERRONI: p <= ALPHA / heads,
        MCNEMAR: events <= ALPHA / heads,
    }


def proven(c: Comparison, tested: Mask, signs: NDArray, alpha: float, effect: float) -> Mask:
    """(n,) cells of one family whose loss is proven."""
    rows = tested & np.isfinite(c.delta) & np.isfinite(c.se) & eligible(c.d, c.clips)
    p = prove_loss(c.d, c.weight, np.full(len(c.d), effect), rows, signs, alpha).p
    return np.nan_to_num(p, nan=1.0) <= alpha


def max_t(c: Comparison, signs: NDArray) -> dict[str, Mask]:
    """All heads as one family that may spend the whole of alpha."""
    everyone = np.ones(len(c.d), bool)
    return {SHARP: proven(c, everyone, signs, ALPHA, 0.0), EFFECT: proven(c, everyone, signs, ALPHA, MIN_EFFECT)}


def policy(
    given: Answers, c: Comparison, critical: int, slices: Sequence[Mask], groups: int, signs: NDArray
) -> dict[str, Mask]:
    """Cells of each family whose loss is proven under the default policy. critical: the first heads are critical.

    slices: (J,) clips of each. groups: as many, of equal size, each over every groups-th head.
    """
    shares, heads = Shares(), np.arange(len(c.d))
    sliced = joined([comparison_of(given, inside, k + 1) for k, inside in enumerate(slices)])
    measured = np.isfinite(c.delta) & np.isfinite(c.se) & (c.clips >= 10)
    mean = aggregate(c, [np.flatnonzero((heads % groups == g) & measured) for g in range(groups)])
    return {
        "critical": proven(c, heads < critical, signs, ALPHA * shares.critical, MIN_EFFECT),
        "supporting": proven(c, heads >= critical, signs, ALPHA * shares.supporting, MIN_EFFECT),
        "slices": proven(sliced, np.ones(len(sliced.d), bool), signs, ALPHA * shares.slices, MIN_EFFECT),
        "groups": proven(mean, np.ones(groups, bool), signs, ALPHA * shares.groups, MIN_EFFECT / 5),
    }
