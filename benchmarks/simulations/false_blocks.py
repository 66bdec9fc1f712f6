"""Table 1: how often a release of equal heads is blocked, by the whole policy and by other rules.

    python -m benchmarks.simulations.false_blocks [--quick] [--seed N] [--repetitions N]

A release has 1,000 heads: 30 critical, 970 supporting, 4 slices each, 10 groups of 100. Incumbent and candidate are
retrained twins of equal expected F1, so whatever is blocked is blocked falsely. "max-T, no least effect" is the sharp
null, where nothing but the level protects: it has to read 5 %.
"""

from __future__ import annotations

import numpy as np

from benchmarks.simulations.rules import OTHERS, RESAMPLES, max_t, others, policy
from benchmarks.simulations.tables import main, markdown, percent
from benchmarks.simulations.world import HEAVY, REGULAR, a_suite, answers, comparison_of, twins
from gate.compare import sign_vectors

HEADS, CRITICAL, GROUPS, ICC = 1000, 30, 10, 0.3
SLICES = (0.5, 0.5, 0.3, 0.2)
SETTINGS = [(clips, kind) for kind in (REGULAR, HEAVY) for clips in (30, 100, 300)]
WHOLE = "whole policy, 5,010 cells"


def release(seed: tuple[int, ...], clips: int, kind=REGULAR, heads: int = HEADS) -> dict[str, int]:
    """Cells that each rule blocks in one release of equal heads."""
    rng = np.random.default_rng(seed)
    given = answers(twins(rng, a_suite(rng, heads, clips, kind, icc=ICC)))
    c = comparison_of(given)
    signs = sign_vectors(clips, RESAMPLES, int(rng.integers(2**63)))
    slices = [rng.permutation(clips) < round(share * clips) for share in SLICES]
    families = policy(given, c, CRITICAL, slices, GROUPS, signs)
    found = {**others(given, c), **max_t(c, signs)}
    counts = {name: int(rows.sum()) for name, rows in found.items()}
    return {**counts, WHOLE: sum(int(rows.sum()) for rows in families.values())}


def table(seed: int, repetitions: int) -> str:
    rows = []
    names: list[str] = []
    flagged = np.zeros(0)
    pooled: dict[str, list[int]] = {}
    for k, (clips, kind) in enumerate(SETTINGS):
        releases = [release((seed, 1, k, r), clips, kind) for r in range(repetitions)]
        names = [WHOLE, *[n for n in releases[0] if n not in (WHOLE, *OTHERS)], *OTHERS]
        for name in names:
            pooled.setdefault(name, []).extend(int(x[name] > 0) for x in releases)
        rows.append([f"{clips} {kind.name}", *(percent(sum(x[n] > 0 for x in releases), repetitions) for n in names)])
        flagged = np.append(flagged, np.mean([x[OTHERS[0]] for x in releases]))
    rows.append(["all settings", *(percent(sum(pooled[n]), len(pooled[n])) for n in names)])
    nominal = ["nominal", "≤ 5", "5", "≤ 5", "none", "5 a head", "≤ 5", "≤ 5"]
    text = (
        f"Releases blocked, %, of {repetitions:,} releases of equal heads a row ({RESAMPLES:,} sign vectors, "
        f"icc {ICC}; ± one Monte-Carlo standard error; < and > 95 % limits).\n\n"
    )
    shares = f"{100 * flagged.min() / HEADS:.0f}–{100 * flagged.max() / HEADS:.0f}"
    return (
        text
        + markdown(["clips", *names], [*rows, nominal])
        + (f"\n\nThe point threshold calls {shares} % of the heads of an average release of equal heads regressed.")
    )


if __name__ == "__main__":
    main(table, full=320, quick=5, what=__doc__.splitlines()[0])
