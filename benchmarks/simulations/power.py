"""Table 3: which losses are found, and what each rule costs in releases blocked falsely.

    python -m benchmarks.simulations.power [--quick] [--seed N] [--repetitions N]

Of 1,000 heads, 30 supporting ones with a prevalence above 2 % lose the same number of F1 points. Power is the share of
those that a rule calls regressed; the first column is the share of releases of equal heads in which it calls any.
"""

from __future__ import annotations

import numpy as np

from benchmarks.simulations.rules import (
    ALPHA,
    BONFERRONI,
    EFFECT,
    MCNEMAR,
    MIN_EFFECT,
    PER_HEAD,
    POINT,
    SHARP,
    max_t,
    others,
    proven,
)
from benchmarks.simulations.tables import clustered, main, markdown, percent
from benchmarks.simulations.world import HEAVY, REGULAR, Clips, Mask, a_suite, answers, comparison_of, twins
from gate.compare import sign_vectors
from gate.judge.policy import Shares

HEADS, CRITICAL, PLANTED, COMMON_ENOUGH, ICC = 1000, 30, 30, 0.02, 0.3
#: (R + 1) alpha is a whole number; the level is exact for any number of sign vectors.
RESAMPLES = 999
LOSSES = (0.01, 0.02, 0.03, 0.05, 0.1)
SETTINGS = [(clips, kind) for kind in (REGULAR, HEAVY) for clips in (100, 300)]
POLICY = "default policy, supporting tier"
RULES = (POLICY, EFFECT, SHARP, BONFERRONI, PER_HEAD, MCNEMAR, POINT)


def release(seed: tuple[int, ...], clips: int, kind: Clips, heads: int = HEADS) -> dict[float, dict[str, Mask]]:
    """loss -> rule -> what it calls regressed: of all heads when nothing is lost, else of the planted ones."""
    rng = np.random.default_rng(seed)
    suite = a_suite(rng, heads, clips, kind, icc=ICC)
    pair = twins(rng, suite)
    signs = sign_vectors(clips, RESAMPLES, int(rng.integers(2**63)))
    supporting = np.arange(heads) >= CRITICAL
    planted = rng.permutation(np.flatnonzero(supporting & (suite.prevalence > COMMON_ENOUGH)))[:PLANTED]
    out = {}
    for loss in (0.0, *LOSSES):
        lost = np.zeros(heads)
        lost[planted] = loss
        given = answers(pair, lost)
        c = comparison_of(given)
        by_policy = proven(c, supporting, signs, ALPHA * Shares().supporting, MIN_EFFECT)
        called = {POLICY: by_policy, **max_t(c, signs), **others(given, c)}
        out[loss] = {name: rows[planted] if loss else rows for name, rows in called.items()}
    return out


def table(seed: int, repetitions: int) -> str:
    rows = []
    for k, (clips, kind) in enumerate(SETTINGS):
        runs = [release((seed, 3, k, r), clips, kind) for r in range(repetitions)]
        for name in RULES:
            blocked = percent(sum(bool(x[0.0][name].any()) for x in runs), repetitions)
            power = [clustered([x[loss][name] for x in runs]) for loss in LOSSES]
            rows.append([f"{clips} {kind.name}", name, blocked, *power])
    header = ["clips", "rule", "equal releases blocked", *(f"loses {100 * x:.0f}" for x in LOSSES)]
    return (
        f"Power, % of {PLANTED} planted heads of {HEADS:,} (prevalence above {100 * COMMON_ENOUGH:.0f} %, icc {ICC}), "
        f"and releases of equal heads blocked, %; {repetitions} releases a row, ± one standard error. Read a power "
        "only beside its first column.\n\n"
    ) + markdown(header, rows)


if __name__ == "__main__":
    main(table, full=80, quick=2, what=__doc__.splitlines()[0])
