"""Table 4: power at the printed minimum detectable regression (MDR), by formula.

    python -m benchmarks.simulations.mdr [--quick] [--seed N] [--repetitions N]

The MDR is printed in the report about an equal twin; then another retrained candidate loses just that on the same
suite. An honest MDR is found in 80 %. With statistic T = sum d / sqrt(sum d²), error SE, critical value c, z = 0.84,
and k effective clips, a loss of x beyond the least effect adds x² / k to the sum of squares that it is divided by:

    T = -(x + SE noise) / sqrt(SE² + x² / k);   found in 80 % when  x - z SE = c sqrt(SE² + x² / k)
    x = SE (z + c sqrt(1 - (c² - z²) / k)) / (1 - c² / k),   and no loss can be found when k <= c²

The plain formula is its limit for endless clips. The last column, `gate.compare.detectable`, solves with z(0.85).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.simulations.rules import ALPHA, MIN_EFFECT, RESAMPLES
from benchmarks.simulations.tables import clustered, main, markdown
from benchmarks.simulations.world import HEAVY, REGULAR, Clips, Floats, Mask, a_suite, answers, comparison_of, twins
from gate.compare import Comparison, FamilyTest, detectable, eligible, prove_loss, sign_vectors, total_error
from gate.judge.policy import Shares

HEADS, PLANTED = 300, 60
LEVEL = ALPHA * Shares().supporting
SETTINGS = [(clips, kind, 0.3) for kind in (REGULAR, HEAVY) for clips in (60, 100, 200, 300)]
SETTINGS += [(clips, kind, 0.6) for kind in (REGULAR, HEAVY) for clips in (100, 300)]
_Z = 0.8416212335729143  # z(0.80)

Formula = Callable[[float, Floats, Floats], Floats]


def plain(critical: float, error: Floats, effective: Floats) -> Floats:
    return (critical + _Z) * error


def root_only(critical: float, error: Floats, effective: Floats) -> Floats:
    """The critical value alone is stretched, c / sqrt(1 - c² / k)."""
    left = 1 - critical**2 / effective
    return np.where(left > 0, (critical / np.sqrt(np.maximum(left, 1e-12)) + _Z) * error, np.inf)


def solved(critical: float, error: Floats, effective: Floats) -> Floats:
    """The solution of the equation above."""
    left = 1 - critical**2 / effective
    root = np.sqrt(np.maximum(left + _Z**2 / effective, 0.0))
    return np.where(left > 0, (_Z + critical * root) / np.maximum(left, 1e-12) * error, np.inf)


def printed(critical: float, error: Floats, effective: Floats) -> Floats:
    """What the product prints: z(0.85), for a loss adds noise of its own, which an equal twin's error lacks."""
    nothing = np.zeros(len(error))
    return detectable(nothing, np.full(len(error), critical), error, nothing, effective)


FORMULAS: dict[str, Formula] = {
    "(c + z) SE": plain,
    "(c / sqrt(1 - c²/k) + z) SE": root_only,
    "solved, z = 0.84": solved,
    "solved, z = 1.04": printed,
}


def tested(c: Comparison, seed: int) -> FamilyTest:
    """All heads as one family with the level of the supporting tier."""
    signs = sign_vectors(c.d.shape[1], RESAMPLES, seed)
    return prove_loss(c.d, c.weight, np.full(len(c.d), MIN_EFFECT), eligible(c.d, c.clips), signs, LEVEL)


def release(
    seed: tuple[int, ...], clips: int, kind: Clips, icc: float = 0.3, heads: int = HEADS, planted: int = PLANTED
) -> dict[str, tuple[Mask, Floats]]:
    """formula -> (found, loss) of the planted heads for which the formula names a loss that can be planted."""
    rng = np.random.default_rng(seed)
    suite = a_suite(rng, heads, clips, kind, icc=icc, prevalence=(0.02, 0.1))
    signs = int(rng.integers(2**63))
    report = comparison_of(answers(twins(rng, suite)))
    critical = tested(report, signs).critical
    error = total_error(report.se, report.lost)
    candidate = twins(rng, suite)
    out = {}
    for name, formula in FORMULAS.items():
        loss = MIN_EFFECT + formula(critical, error, report.effective)
        chosen = (np.arange(heads) < planted) & (loss < suite.f1 - 0.1)
        p = tested(comparison_of(answers(candidate, np.where(chosen, loss, 0.0))), signs).p
        out[name] = p[chosen] <= LEVEL, loss[chosen]
    return out


def table(seed: int, repetitions: int) -> str:
    rows = []
    for k, (clips, kind, icc) in enumerate(SETTINGS):
        runs = [release((seed, 4, k, r), clips, kind, icc) for r in range(repetitions)]
        row = [f"{clips} {kind.name}, icc {icc}"]
        for name in FORMULAS:
            losses = np.concatenate([x[name][1] for x in runs])
            share = 100 * len(losses) / (PLANTED * repetitions)
            none = f", {100 - share:.0f} % none" if share < 99.5 else ""
            row.append(f"{clustered([x[name][0] for x in runs])} ({100 * np.median(losses):.1f}{none})")
        rows.append(row)
    return (
        f"Power at the printed MDR, %, nominal 80 (in brackets the median MDR in F1 points, and for how many heads the "
        f"formula names no loss below F1 - 0.1). {repetitions} suites of {HEADS} heads a row, {PLANTED} of them "
        f"lose their own MDR; prevalence 2–10 %, alpha {LEVEL}, least effect {100 * MIN_EFFECT} points, "
        "added to each formula. Solved: (z + c sqrt(1 - (c² - z²)/k)) / (1 - c²/k) SE.\n\n"
    ) + markdown(["clips", *FORMULAS], rows)


if __name__ == "__main__":
    main(table, full=50, quick=2, what=__doc__.splitlines()[0])
