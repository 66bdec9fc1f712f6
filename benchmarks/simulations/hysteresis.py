"""Table 6: does an equal candidate keep its threshold, and what does that cost and save?

    python -m benchmarks.simulations.hysteresis [--quick] [--seed N] [--repetitions N]

Chains of retrained twins. Each release gets operating points for `max f1` on calibration clips, is compared with the
release before it by F1 on as many other clips, each at its own thresholds, and ships unless a head is proven worse
(all heads one family, alpha 5 %, least effect 0.5 points). Three rules: the hull (the product: keep the shipped
threshold while it lies between the lowest and the highest near-optimal one), the value (keep it while F itself is
within 0.02 of the best there), and none (always the middle of the hull). No rule sees other data than the others.
"""

from __future__ import annotations

import numpy as np

from benchmarks.simulations.rules import ALPHA, MIN_EFFECT
from benchmarks.simulations.scores import Exam, an_exam, best_threshold, curve_of, retrained, sums_at, true_f1
from benchmarks.simulations.tables import main, markdown, percent
from benchmarks.simulations.world import HEAVY, REGULAR, Clips, Floats
from gate.calibrate import calibrate, threshold_codes
from gate.compare import eligible, prove_loss, sign_vectors
from gate.compare.effects import ratio_effects
from gate.curves import Curves
from gate.measures import metric

HEADS, RELEASES, RESAMPLES, NEAR = 200, 8, 399, 0.02
APART = (1.8, 3.2)
SETTINGS = ((30, REGULAR, 0.3), (100, REGULAR, 0.3), (100, REGULAR, 0.6), (100, HEAVY, 0.3))
HULL, VALUE, NONE = RULES = ("hull (the product)", "value within 0.02", "no hysteresis")


def chosen(rule: str, curve: Curves, exam: Exam, shipped: Floats | None) -> Floats:
    """(H,) thresholds of a release; shipped: those of the release before it."""
    names = [str(k) for k in range(len(exam.apart))]
    before = dict(zip(names, shipped.tolist(), strict=True)) if shipped is not None and rule == HULL else None
    points = calibrate(curve, exam.index, names, ["max f1"] * len(names), before)
    threshold = np.array([p.threshold for p in points], dtype=float)
    if rule == VALUE and shipped is not None:
        best = np.zeros(len(threshold))
        np.maximum.at(best, curve.series, _f1(curve.tp, curve.fp, curve.total[curve.series]))
        there = _f1(*curve.counts_at(threshold_codes(shipped.tolist())), curve.total)
        threshold = np.where(there >= best - NEAR, shipped, threshold)
    return threshold


def _f1(tp: np.ndarray, fp: np.ndarray, positives: np.ndarray) -> Floats:
    return 2 * tp / np.maximum(tp + fp + positives, 1)


def blocked(exam: Exam, before: tuple[Floats, Floats], after: tuple[Floats, Floats], seed: int) -> tuple[bool, bool]:
    """Is any head proven worse, by the least effect and by none; before, after: (scores, thresholds)."""
    a, b = (sums_at(exam, *side) for side in (before, after))
    effects = ratio_effects(metric("f1"), a, b)
    d, weight = np.nan_to_num(effects.d), np.nan_to_num(effects.weight)
    tested = eligible(d, (a["tp"] + a["fn"] > 0).sum(axis=1)) & np.isfinite(effects.delta)
    signs = sign_vectors(exam.clips, RESAMPLES, seed)
    by_effect, sharp = (prove_loss(d, weight, np.full(len(d), e), tested, signs, ALPHA).p for e in (MIN_EFFECT, 0.0))
    return bool((by_effect <= ALPHA).any()), bool((sharp <= ALPHA).any())


def chain(
    seed: tuple[int, ...], clips: int, kind: Clips, icc: float, heads: int = HEADS, releases: int = RELEASES
) -> dict[str, tuple[Floats, Floats, float]]:
    """rule -> (releases blocked by the least effect and by none, (2, T + 1, H) how far each threshold is off the best
    and what that costs in F1, share of thresholds that moved).
    """
    rng = np.random.default_rng(seed)
    apart = rng.uniform(*APART, heads)
    calibration, validation = (an_exam(rng, apart, clips, kind, icc) for _ in range(2))
    scores = [(retrained(rng, calibration), retrained(rng, validation)) for _ in range(releases + 1)]
    curves = [curve_of(calibration, c) for c, _ in scores]
    signs = [int(rng.integers(2**63)) for _ in scores]
    out = {}
    for rule in RULES:
        shipped, blocks, moved = (scores[0][1], chosen(rule, curves[0], calibration, None)), np.zeros(2), 0.0
        seen = [shipped[1]]
        for t in range(1, releases + 1):
            candidate = scores[t][1], chosen(rule, curves[t], calibration, shipped[1])
            seen.append(candidate[1])
            moved += float((candidate[1] != shipped[1]).mean()) / releases
            found = blocked(validation, shipped, candidate, signs[t])
            blocks = blocks + found
            if not found[0]:
                shipped = candidate
        regret = true_f1(best_threshold(apart), apart) - true_f1(np.array(seen), apart)
        out[rule] = blocks, np.stack([np.array(seen) - best_threshold(apart), regret]), moved
    return out


def table(seed: int, repetitions: int) -> str:
    rows = []
    for k, (clips, kind, icc) in enumerate(SETTINGS):
        runs = [chain((seed, 6, k, r), clips, kind, icc) for r in range(repetitions)]
        for rule in RULES:
            off, regret = np.concatenate([x[rule][1] for x in runs], axis=2)
            rows.append(
                [
                    f"{clips} {kind.name}, icc {icc}",
                    rule,
                    *(percent(sum(x[rule][0][k] for x in runs), RELEASES * repetitions) for k in range(2)),
                    f"{100 * np.mean([x[rule][2] for x in runs]):.0f}",
                    f"{100 * regret.mean():.2f} / {100 * np.quantile(regret, 0.95):.1f}",
                    f"{off.mean():+.3f}",
                    f"{off.std():.3f}",
                    f"{np.diff(off, axis=0).std():.3f}",
                ]
            )
    header = [
        "clips",
        "rule",
        "equal releases blocked, %",
        "with no least effect",
        "thresholds moved, %",
        "regret in F1 points: mean / 95th",
    ]
    header += ["bias", "sd around the best", "sd of a release's step"]
    return (
        f"Equal releases blocked by F1 cells, nominal ≤ 5; {repetitions} chains of {RELEASES} retrained twins with "
        f"{HEADS} heads a row, 3 positives and 15 negatives a clip. Thresholds in standard deviations of the score; "
        "regret is what F1 loses in truth against the best threshold, over all releases of a chain.\n\n"
    ) + markdown(header, rows)


if __name__ == "__main__":
    main(table, full=60, quick=2, what=__doc__.splitlines()[0])
