"""Table 2: how often "certified not worse" is said of a head that is worse by exactly its margin.

    python -m benchmarks.simulations.certification [--quick] [--seed N] [--repetitions N]

Nominal is 5 %. A shift makes every event slightly worse. A regime is collapse on a rare kind of clip, as rare as the
margin demands: silent (nothing is accepted there) or wrong (all positives missed and all look-alikes accepted). Rule B
is the bound with its evidence floor, rule A (critical heads) adds the guard against such regimes. Beside them stands
the plain bound (jackknife error, Student's t with a degree of freedom for each clip) and rule A without its shift for
skewness.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from benchmarks.simulations.tables import clustered, main, markdown, percent
from benchmarks.simulations.world import (
    EQUAL,
    HEAVY,
    REGULAR,
    Clips,
    Mask,
    a_suite,
    answers,
    comparison_of,
    silent_regime,
    twins,
    wrong_regime,
)
from gate.compare import Comparison, enough_events, guard_holds, half_width, leaning

CONFIDENCE, HEADS = 0.95, 40


@dataclass(frozen=True)
class Setting:
    clips: int
    kind: Clips
    icc: float
    f1: float
    margin: float
    prevalence: float = 0.05


SETTINGS = (
    Setting(400, EQUAL, 0.3, 0.97, 0.02),
    Setting(200, REGULAR, 0.3, 0.97, 0.02),
    Setting(400, REGULAR, 0.3, 0.97, 0.02),
    Setting(400, REGULAR, 0.3, 0.85, 0.03),
    Setting(400, REGULAR, 0.6, 0.85, 0.03),
    Setting(400, REGULAR, 0.3, 0.85, 0.03, 0.005),
    Setting(400, HEAVY, 0.3, 0.97, 0.02),
    Setting(800, HEAVY, 0.3, 0.97, 0.02),
    Setting(800, HEAVY, 0.6, 0.85, 0.03),
)
#: Clips and margin of releases of 30 critical heads.
RELEASES = ((200, 0.03), (200, 0.05), (400, 0.02), (400, 0.03), (400, 0.05), (1000, 0.02), (1000, 0.03))
TRUTHS = ("shift", "silent", "wrong", "equal")
RULES = PLAIN, EVEN, B, A, STRICT = (
    "plain cluster t",
    "rule A, skewness ignored",
    "rule B",
    "rule A",
    "rule A at 97.5 %",
)


def certified(c: Comparison, margin: float) -> dict[str, Mask]:
    """(H,) heads that each bound certifies."""
    margins = np.full(len(c.d), margin)

    def bound(confidence: float, *, skewed: bool) -> Mask:
        shift = np.minimum(leaning(c.third, c.se, c.lost, c.df, confidence), 0.0) if skewed else 0.0
        low = c.delta - half_width(c.se, c.lost, c.df, confidence) + shift
        return (low > -margins) & enough_events(margins, c.lost)

    guard, strict = (guard_holds(c.incumbent, c.effective, margins, x) for x in (CONFIDENCE, 0.975))
    return {
        PLAIN: c.delta - stats.t.ppf(CONFIDENCE, c.d.shape[1] - 1) * c.se > -margins,
        EVEN: bound(CONFIDENCE, skewed=False) & guard,
        B: bound(CONFIDENCE, skewed=True),
        A: bound(CONFIDENCE, skewed=True) & guard,
        STRICT: bound(0.975, skewed=True) & strict,
    }


def heads_of(seed: tuple[int, ...], s: Setting, heads: int = HEADS) -> dict[tuple[str, str], Mask]:
    """(rule, truth) -> (H,) certified heads of one suite; truths: TRUTHS."""
    rng = np.random.default_rng(seed)
    suite = a_suite(rng, heads, s.clips, s.kind, icc=s.icc, prevalence=(s.prevalence,) * 2, f1=(s.f1, s.f1))
    pair = twins(rng, suite)
    truths = {
        "shift": answers(pair, s.margin),
        "silent": answers(pair, silent=silent_regime(rng, suite, s.margin)),
        "wrong": answers(pair, wrong=wrong_regime(rng, suite, s.margin)),
        "equal": answers(pair),
    }
    return {
        (rule, truth): rows
        for truth, given in truths.items()
        for rule, rows in certified(comparison_of(given), s.margin).items()
    }


def release(seed: tuple[int, ...], clips: int, margin: float, heads: int = 30) -> tuple[Mask, Mask]:
    """(equal, bad): (H,) is each head certified when it is equal, and when it is exactly the margin worse."""
    rng = np.random.default_rng(seed)
    pair = twins(rng, a_suite(rng, heads, clips, REGULAR, prevalence=(0.02, 0.1)))
    equal, bad = (certified(comparison_of(answers(pair, loss)), margin)[A] for loss in (0.0, margin))
    return equal, bad


def heads_table(seed: int, repetitions: int) -> str:
    header = ["clips", "icc", "F1 / margin", *RULES]
    rows = []
    for k, s in enumerate(SETTINGS):
        runs = [heads_of((seed, 2, k, r), s) for r in range(repetitions)]
        rare = ", 1 positive a clip" if s.prevalence < 0.05 else ""
        row = [f"{s.clips} {s.kind.name}{rare}", f"{s.icc}", f"{s.f1} / {100 * s.margin:.0f}"]
        for rule in RULES:
            row.append(" / ".join(clustered([x[rule, t] for x in runs]) for t in TRUTHS))
        rows.append(row)
    return (
        f"Heads certified, %, of {repetitions} suites of {HEADS} heads a row (10 positives a clip unless said; "
        "± one standard error, suites as units): shift / silent regime / wrong regime / equal head. "
        "Nominal: ≤ 5 for the first three, at 97.5 % ≤ 2.5.\n\n"
    ) + markdown(header, rows)


def release_table(seed: int, repetitions: int) -> str:
    header = ["clips, margin", "P(certified, one head at -margin)", "that head alone", "equal head", "all 30 equal"]
    rows = []
    for k, (clips, margin) in enumerate(RELEASES):
        runs = [release((seed, 3, k, r), clips, margin) for r in range(repetitions)]
        # Every head in turn is the bad one; the other 29 are equal.
        spoiled = [bad & (equal.sum() - equal == len(equal) - 1) for equal, bad in runs]
        rows.append(
            [
                f"{clips}, {100 * margin:.0f} points",
                clustered(spoiled),
                clustered([bad for _, bad in runs]),
                clustered([equal for equal, _ in runs]),
                percent(sum(bool(equal.all()) for equal, _ in runs), repetitions),
            ]
        )
    return (
        f"Releases of 30 critical heads, rule A, regular clips, icc 0.3, prevalence 2–10 %, F1 0.6–0.95; "
        f"%, {repetitions} releases a row, each head in turn the bad one. Nominal: ≤ 5 in the first two columns.\n\n"
    ) + markdown(header, rows)


def table(seed: int, repetitions: int) -> str:
    return heads_table(seed, repetitions) + "\n\n" + release_table(seed, 2 * repetitions)


if __name__ == "__main__":
    main(table, full=200, quick=4, what=__doc__.splitlines()[0])
