"""The story: a bundle is run over a frozen suite; every head's output is reduced to evidence, and evidence adds up.
On the calibration clips operating points are calibrated; on the validation clips candidate and incumbent are compared;
a policy judges the comparison into a decision. Rendering it is another story (`gate.report`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gate import __version__
from gate.bundle import Bundle, read_bundle
from gate.calibrate import OperatingPoint, calibrate, read_thresholds, threshold_codes, thresholds_path
from gate.compare import ClipIndex, Question, Side, compare, new_errors, seed_of, sign_vectors
from gate.curves import curves
from gate.errors import ConfigError
from gate.heads import Head, series_of
from gate.judge import Cell, CurvePair, Decision, Facts, Identity, Policy, Rule, assign, decide, judge, read_policy, tier_of
from gate.measures import metric
from gate.report.precision_recall import curve_pairs
from gate.run import Run, contract_table, offered, outputs_of, run
from gate.suite import ContractResult, Suite, read_suite
from gate.suite.worker import check_all, contract_worker
from gate.table import EvidenceTable, Ints, by_score, empty, stack
from gate.tasks import task_of

Mask = NDArray[np.bool_]
#: (stage, frames just done, frames of the stage)
Progress = Callable[[str, int, int], None]


def _quiet(stage: str, done: int, total: int) -> None:
    pass


@dataclass(frozen=True)
class Result:
    """A decision, and what reports and later runs want besides: operating points of both, curves of what got worse."""

    decision: Decision
    curves: tuple[CurvePair, ...]
    points_incumbent: tuple[OperatingPoint, ...]
    points_candidate: tuple[OperatingPoint, ...]


def compare_bundles(
    incumbent: Path, candidate: Path, *, suite: Path, policy: Path, thresholds: Path, progress: Progress = _quiet
) -> Result:
    """May the candidate replace the incumbent?

    suite, policy: of the protected side. thresholds: folder of released operating points; the incumbent's file is used
    when it is there. Raises GateError for everything that a person must mend before the question can be answered.
    """
    with contract_worker() as contracts:
        exam, rulebook = read_suite(suite), read_policy(policy)
        old, new = read_bundle(incumbent), read_bundle(candidate)
        names, _ = offered(new, exam)
        identical, uncovered = unreached(old, new, names), uncovered_heads(new, exam, names)
        rules = assign(rulebook, exam.heads, uncovered)

        before = run(old, exam, progress=lambda done, of: progress("incumbent", done, of))
        after = _run_what_changed(new, exam, before, identical, progress)
        held = check_all(contracts, suite, {"candidate": _contract(after), "incumbent": _contract(before)})

    layout, index = _layout(exam), _validation_clips(exam)
    released = _released(thresholds, exam, old)
    points_a = operating_points(exam, before, rules, released, released=True)
    shipping = {p.prediction: p.threshold for p in points_a if p.threshold is not None}
    points_b = operating_points(exam, after, rules, shipping)
    side_a, side_b = (_side(_stacked(exam, r), p, layout) for r, p in ((before, points_a), (after, points_b)))
    questions = _questions(rules, layout)
    comparison = compare(side_a, side_b, questions, exam.frames.slices, index, layout.decided)

    broken, no_incumbent = _broken(exam, before, after, held)
    strict = _must_pass(exam, rulebook, rules, side_a, side_b, layout)
    facts = Facts(
        broken=broken,
        no_incumbent=no_incumbent,
        identical=[p for h in exam.heads if set(outputs_of(h)) <= identical for p in h.predictions],
        points_incumbent={p.prediction: p for p in points_a},
        points_candidate={p.prediction: p for p in points_b},
        must_pass=strict,
    )
    signs = sign_vectors(index.clips, rulebook.text.resamples, seed_of(exam.digest, old.digest, new.digest))
    slices = [s.name for s in exam.frames.slices]
    cells = judge(comparison, questions, exam.heads, rules, rulebook, slices, facts, signs)
    outcome, reasons = decide(
        cells,
        missing=[p for h in exam.heads if h.name in after.missing for p in h.predictions],
        uncovered={h: tier_of(rulebook, h) for h in uncovered},
        must_pass=strict,
        identical_uncovered=[h for h in uncovered if h in identical],
    )
    decision = Decision(
        decision=outcome,
        reasons=reasons,
        candidate=Identity(new.name, new.version, new.digest),
        incumbent=Identity(old.name, old.version, old.digest),
        suite=Identity(exam.name, exam.version, exam.digest),
        policy=rulebook.facts,
        gate_version=__version__,
        runtime=before.runtime or after.runtime,
        cells=cells,
        contracts=held,
        uncovered=tuple(uncovered),
        predictions=len(exam.predictions),
    )
    return Result(decision, _curves_of_regressed(exam, cells, side_a, side_b, layout), points_a, points_b)


def calibrate_bundle(
    bundle: Path, *, suite: Path, policy: Path, thresholds: Path, progress: Progress = _quiet
) -> tuple[Path, Suite, Bundle, tuple[OperatingPoint, ...]]:
    """Operating points of one bundle, and the path of the file that they belong into."""
    exam, rulebook, made = read_suite(suite), read_policy(policy), read_bundle(bundle)
    rules = assign(rulebook, exam.heads, uncovered_heads(made, exam, offered(made, exam)[0]))
    answers = run(made, exam, progress=lambda n, of: progress("calibrate", n, of))
    points = operating_points(exam, answers, rules, {})
    return thresholds_path(thresholds, exam.name, made.name, made.version), exam, made, points


def unreached(old: Bundle, new: Bundle, names: Collection[str]) -> set[str]:
    """Outputs, `network.head`, that the change cannot reach: same program, wiring and upstream networks, by digest."""
    same = {n.name for n in new.networks if (o := old.network(n.name)) is not None and o.digest == n.digest}
    return {name for name in names if name.partition(".")[0] in same}


def uncovered_heads(bundle: Bundle, suite: Suite, names: Collection[str]) -> list[str]:
    """Heads of the bundle that nobody judges and no other network reads."""
    judged = {output for head in suite.heads for output in outputs_of(head)}
    internal = {source for network in bundle.networks for _, source in network.inputs}
    return sorted(set(names) - judged - internal)


def _run_what_changed(bundle: Bundle, suite: Suite, before: Run, identical: Collection[str], progress: Progress) -> Run:
    """Evidence of a candidate: of heads that the change cannot reach, the incumbent's own."""
    kept = {h.name for h in suite.heads if set(outputs_of(h)) <= set(identical)}
    changed = [h.name for h in suite.heads if h.name not in kept]
    after = run(bundle, suite, changed, lambda n, of: progress("candidate", n, of)) if changed else before
    return Run(
        {**{name: e for name, e in before.evidence.items() if name in kept}, **after.evidence},
        {**{name: s for name, s in before.summaries.items() if name in kept}, **after.summaries},
        after.missing if changed else tuple(name for name in before.missing if name in kept),
        after.runtime,
    )


def _contract(answers: Run) -> dict[str, NDArray]:  # type: ignore[type-arg]
    return contract_table(list(answers.summaries.values()))


@dataclass(frozen=True)
class _Layout:
    """Where each prediction stands in stacked evidence. rows: prediction -> its series; decided: (S,) needs no threshold."""

    rows: Mapping[str, tuple[int, ...]]
    heads: Mapping[str, Head]
    decided: Mask

    @property
    def first(self) -> Ints:
        return np.array([rows[0] for rows in self.rows.values()], dtype=np.int64)

    def thresholded(self) -> list[str]:
        return [p for p, rows in self.rows.items() if not self.decided[rows[0]]]


def _layout(suite: Suite) -> _Layout:
    rows: dict[str, list[int]] = {}
    decided: list[bool] = []
    for head in suite.heads:
        for series in series_of(head):
            rows.setdefault(series.prediction, []).append(len(decided))
            decided.append(not task_of(head).yields(head).thresholded)
    owner = {p: head for head in suite.heads for p in head.predictions}
    return _Layout({p: tuple(r) for p, r in rows.items()}, owner, np.array(decided, dtype=bool))


def _stacked(suite: Suite, answers: Run) -> EvidenceTable:
    """Evidence of all judged heads in suite order; nothing for a head that is missing."""
    return stack(
        [
            answers.evidence.get(h.name) or empty(series_of(h), suite.frames.cells, task_of(h).yields(h).sums)
            for h in suite.heads
        ]
    )


def operating_points(
    suite: Suite, answers: Run, rules: Mapping[str, Rule], shipping: Mapping[str, float], *, released: bool = False
) -> tuple[OperatingPoint, ...]:
    """Operating points of every prediction that needs one, on the calibration clips.

    shipping: thresholds of the incumbent, kept where they are near-optimal, or everywhere when they are `released`.
    """
    layout = _layout(suite)
    wanted = layout.thresholded()
    curve = curves(by_score(_stacked(suite, answers)), suite.frames.cell_split == 0)
    rows = [layout.rows[p][0] for p in wanted]
    return calibrate(curve, rows, wanted, [rules[p].objective for p in wanted], shipping, fixed=released)


def _side(answers: EvidenceTable, points: Sequence[OperatingPoint], layout: _Layout) -> Side:
    codes = np.full(len(answers.series), 0x10000, dtype=np.int64)
    for point, code in zip(points, threshold_codes([p.threshold for p in points]), strict=True):
        codes[list(layout.rows[point.prediction])] = code
    return Side(answers, codes)


def _released(folder: Path, suite: Suite, bundle: Bundle) -> dict[str, float]:
    """Thresholds that ship with the incumbent; none when its file is not there."""
    path = thresholds_path(folder, suite.name, bundle.name, bundle.version)
    return read_thresholds(path, suite=suite.digest, bundle=bundle.digest) if path.is_file() else {}


def _validation_clips(suite: Suite) -> ClipIndex:
    frames = suite.frames
    inside = frames.cell_split == 1
    clips = np.unique(frames.cell_clip[inside])
    return ClipIndex(np.where(inside, np.searchsorted(clips, frames.cell_clip), -1), len(clips))


def _questions(rules: Mapping[str, Rule], layout: _Layout) -> list[Question]:
    """Every metric of every prediction; only average precision is read at all IoU levels, others at the first."""
    return [
        Question(k, rows if metric(name).kind == "curve" else rows[:1], name)
        for k, (prediction, rows) in enumerate(layout.rows.items())
        for name in rules[prediction].metrics
    ]


def _broken(suite: Suite, before: Run, after: Run, held: Sequence[ContractResult]) -> tuple[dict[str, str], list[str]]:
    """(prediction -> why it is broken, predictions that only the incumbent lacks)."""
    of_head = {h.name: h.predictions for h in suite.heads}
    broken = {p: f"the incumbent: {why}" for p, why in before.faults().items()} | after.faults()
    for result in held:
        # The contract engine reads the same summary independently; what it alone refuses is broken too.
        if not result.success and result.severity == "critical" and ".predictions." in result.name:
            broken = {p: f"{result.expectation}: {result.observed}" for p in result.failed if p in _all(of_head)} | broken
    broken |= {p: "the candidate has no such head" for name in after.missing for p in of_head[name]}
    return broken, [p for name in before.missing if name not in after.missing for p in of_head[name]]


def _all(of_head: Mapping[str, Sequence[str]]) -> set[str]:
    return {p for predictions in of_head.values() for p in predictions}


def _must_pass(
    suite: Suite, policy: Policy, rules: Mapping[str, Rule], before: Side, after: Side, layout: _Layout
) -> list[str]:
    """Predictions with new errors on a clip of zero tolerance. Raises ConfigError for a clip that is not there."""
    clips = policy.text.must_pass
    validation = {suite.frames.clips[k] for k in suite.frames.cell_clip[suite.frames.cell_split == 1]}
    for k, name in enumerate(clips):
        if name not in validation:
            raise ConfigError(f"'{name}' is not a validation clip", where=policy.lines.where("must_pass", k))
    if not clips:
        return []
    tolerance = np.array([max(rules[p].margins) / 10 for p in layout.rows])
    worse = np.zeros(len(layout.rows), bool)
    for name in clips:
        cells = suite.frames.cell_clip == suite.frames.clips.index(name)
        worse |= new_errors(before, after, layout.first, cells, layout.decided, tolerance)
    return [p for p, bad in zip(layout.rows, worse, strict=True) if bad]


def _curves_of_regressed(
    suite: Suite, cells: Sequence[Cell], before: Side, after: Side, layout: _Layout
) -> tuple[CurvePair, ...]:
    thresholds: dict[str, tuple[float | None, float | None]] = {}
    for cell in cells:
        if cell.verdict == "regressed" and cell.prediction in layout.rows:
            known = thresholds.get(cell.prediction, (None, None))
            thresholds[cell.prediction] = (
                cell.threshold_incumbent if cell.threshold_incumbent is not None else known[0],
                cell.threshold_candidate if cell.threshold_candidate is not None else known[1],
            )
    row_of = {p: layout.rows[p][0] for p in thresholds}
    return curve_pairs(list(row_of), row_of, before.table, after.table, thresholds, suite.frames.cell_split == 1)
