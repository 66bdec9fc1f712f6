"""Table 7: how often a threshold with a guarantee breaks it, and what the guarantee costs.

    python -m benchmarks.simulations.guarantee [--quick] [--seed N] [--repetitions N]

Objectives `max recall where precision >= 0.9 at 0.95` and `max precision where recall >= 0.6 at 0.95`: at most 5 % of
the chosen thresholds may fall short of the level in truth. Beside them, for precision: the point estimate, and
Clopper-Pearson on events, the same sequence of thresholds with every event taken for independent.
"""

from __future__ import annotations

import numpy as np

from benchmarks.simulations.scores import Exam, an_exam, curve_of, true_precision, true_recall
from benchmarks.simulations.tables import main, markdown
from benchmarks.simulations.world import HEAVY, REGULAR, Clips, Floats
from gate.calibrate import calibrate
from gate.calibrate.guaranteed import FEWEST, GROWTH, LEADING_FAILURES, Sample, lower_bound
from gate.curves import Curves

LEVEL, RECALL, CONFIDENCE, HEADS, APART = 0.9, 0.6, 0.95, 50, 2.5
SETTINGS = [(clips, kind, icc) for kind in (REGULAR, HEAVY) for icc in (0.1, 0.5) for clips in (30, 100, 300)]
PRODUCT, EVENTS, POINT = "guaranteed precision", "Clopper-Pearson on events", "point estimate"
TURNED = "guaranteed recall"
RULES = (PRODUCT, EVENTS, POINT, TURNED)


def thresholds(curve: Curves, exam: Exam, objective: str) -> Floats:
    """(H,) thresholds that the product takes for proven (or, without a proof, for feasible); NaN where it has none."""
    names = [str(k) for k in range(len(exam.apart))]
    points = calibrate(curve, exam.index, names, [objective] * len(names), strict=names)
    met = ("calibrated", "threshold_weak")
    return np.array([p.threshold if p.status in met and p.threshold is not None else np.nan for p in points])


def on_events(exam: Exam, scores: Floats) -> Floats:
    """(H,) thresholds of the same walk with Clopper-Pearson on events: design effect 1, endless clips."""
    out = np.full(len(exam.apart), np.nan)
    for k in range(len(out)):
        rows = np.flatnonzero(exam.head == k)
        rows = rows[np.argsort(-scores[rows])]
        found = np.cumsum(exam.positive[rows])
        steps = int(np.log(max(len(rows) / FEWEST, 1.0)) / np.log(GROWTH)) + 1
        size = np.ceil(FEWEST * GROWTH ** np.arange(steps)).astype(int)
        size = size[size <= len(rows)]
        value = found[size - 1] / size
        sample = Sample(value, size.astype(float), np.ones(len(size)), np.full(len(size), 1e12))
        passed = lower_bound(sample, np.full(len(size), CONFIDENCE)) >= LEVEL
        failures = np.cumsum(~passed)
        if passed.any() and failures[passed.argmax()] <= LEADING_FAILURES:
            proven = np.flatnonzero(passed & (failures == failures[passed.argmax()]))
            out[k] = scores[rows[size[proven[found[size[proven] - 1].argmax()]] - 1]]
    return out


def suite(seed: tuple[int, ...], clips: int, kind: Clips, icc: float, heads: int = HEADS) -> dict[str, Floats]:
    """rule -> (H,) thresholds on one calibration suite, NaN where the rule abstains."""
    rng = np.random.default_rng(seed)
    exam = an_exam(rng, np.full(heads, APART), clips, kind, icc)
    curve = curve_of(exam, exam.shared)
    return {
        PRODUCT: thresholds(curve, exam, f"max recall where precision >= {LEVEL} at {CONFIDENCE}"),
        EVENTS: on_events(exam, exam.shared),
        POINT: thresholds(curve, exam, f"max recall where precision >= {LEVEL}"),
        TURNED: thresholds(curve, exam, f"max precision where recall >= {RECALL} at {CONFIDENCE}"),
    }


def broken(rule: str, threshold: Floats) -> np.ndarray:
    """Does the threshold fall short of its level in truth? Never where there is none."""
    with np.errstate(invalid="ignore"):
        if rule == TURNED:
            return true_recall(threshold, np.full(1, APART)) < RECALL
        return true_precision(threshold, np.full(1, APART)) < LEVEL


def row_of(rule: str, runs: list[Floats]) -> str:
    """Broken, % of all heads ± one standard error / mean of what was maximised, where chosen / abstained, %."""
    short = np.array([broken(rule, t).mean() for t in runs])
    chosen = np.concatenate(runs)
    abstained = np.isnan(chosen).mean()
    gained = (true_precision if rule == TURNED else true_recall)(chosen, np.full(1, APART))
    worth = "–" if abstained == 1 else f"{np.nanmean(gained):.2f}"
    error = 100 * short.std(ddof=1) / np.sqrt(len(short)) if len(short) > 1 else np.nan
    return f"{100 * short.mean():.1f} ± {error:.1f} / {worth} / {100 * abstained:.0f}"


def table(seed: int, repetitions: int) -> str:
    rows = []
    for k, (clips, kind, icc) in enumerate(SETTINGS):
        runs = [suite((seed, 7, k, r), clips, kind, icc) for r in range(repetitions)]
        rows.append([f"{clips} {kind.name}", f"{icc}", *(row_of(n, [x[n] for x in runs]) for n in RULES)])
    return (
        "Guarantee broken, % of heads / mean recall (last column: precision) where a threshold was given / abstained, "
        f"%. Nominal: broken ≤ 5, of the point estimate none. Levels: precision {LEVEL}, recall {RECALL}, confidence "
        f"{CONFIDENCE}; {repetitions} suites of {HEADS} heads a row. With the truth known, the best recall is 0.61 and "
        f"the best precision 0.91.\n\n"
    ) + markdown(["clips", "icc", *RULES], rows)


if __name__ == "__main__":
    main(table, full=40, quick=2, what=__doc__.splitlines()[0])
