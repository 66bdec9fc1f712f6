"""The story: a bundle is run over a frozen suite; every head's output is reduced to evidence, and evidence adds up.
On the calibration clips operating points are calibrated; on the validation clips candidate and incumbent are compared;
a policy judges the comparison into a decision. Rendering it is another story (`gate.report`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from gate import __version__
from gate.bundle import Bundle, read_bundle
from gate.calibrate import OperatingPoint, read_thresholds, thresholds_path
from gate.compare import Side, compare, seed_of, sign_vectors
from gate.errors import SuiteError
from gate.judge import Cell, CurvePair, Decision, Facts, Identity, assign, decide, judge, read_policy, tier_of
from gate.judge.layout import (
    Layout,
    broken_of,
    layout_of,
    newly_wrong,
    operating_points,
    questions_of,
    side_of,
    stacked,
    strict_clips,
    validation_clips,
)
from gate.report.precision_recall import curve_pairs
from gate.run import Run, contract_table, offered, outputs_of, run
from gate.suite import ContractResult, Suite, read_suite
from gate.suite.worker import check_all, contract_worker

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
        gone = uncovered_heads(old, exam, offered(old, exam)[0])
        rules = assign(rulebook, exam.heads, {*uncovered, *gone})
        released, strict = _released(thresholds, exam, old), strict_clips(exam, rulebook)

        before = run(old, exam, progress=lambda done, of: progress("incumbent", done, of))
        after = _run_what_changed(new, exam, before, identical, progress)
        held = check_all(contracts, suite, {"candidate": _contract(after), "incumbent": _contract(before)})
        refuse_broken_tables(held, suite)

    layout, index = layout_of(exam), validation_clips(exam)
    evidence_a, evidence_b = stacked(exam, before), stacked(exam, after)
    points_a = operating_points(exam, evidence_a, rules, released, keep=released)
    shipping = {p.prediction: p.threshold for p in points_a if p.threshold is not None}
    same = [p for h in exam.heads if set(outputs_of(h)) <= identical for p in h.predictions]
    points_b = operating_points(exam, evidence_b, rules, shipping, keep=same)
    side_a, side_b = side_of(evidence_a, points_a, layout), side_of(evidence_b, points_b, layout)
    questions = questions_of(rules, layout)
    comparison = compare(side_a, side_b, questions, exam.frames.slices, index, layout.decided)

    broken, broken_before = broken_of(exam, before, after, held)
    wrong = [p for p in newly_wrong(exam, strict, rules, side_a, side_b, layout) if p not in broken_before]
    facts = Facts(
        broken=broken,
        broken_before=broken_before,
        identical=same,
        points_incumbent={p.prediction: p for p in points_a},
        points_candidate={p.prediction: p for p in points_b},
        must_pass=wrong,
    )
    signs = sign_vectors(index.clips, rulebook.text.resamples, seed_of(exam.digest, old.digest, new.digest))
    slices = [s.name for s in exam.frames.slices]
    cells = judge(comparison, questions, exam.heads, rules, rulebook, slices, facts, signs)
    outcome, reasons = decide(
        cells,
        missing=[p for h in exam.heads if h.name in after.missing for p in h.predictions],
        uncovered={h: tier_of(rulebook, h) for h in uncovered},
        must_pass=wrong,
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
    points = operating_points(exam, stacked(exam, answers), rules, {})
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


def _contract(answers: Run) -> dict[str, NDArray[Any]]:
    return contract_table(list(answers.summaries.values()))


def refuse_broken_tables(held: Sequence[ContractResult], suite: Path) -> None:
    """Raises SuiteError when a contract of the suite's own tables does not hold: then nothing can be judged."""
    broken = [r for r in held if not r.success and r.severity == "critical" and ".predictions." not in r.name]
    if broken:
        told = "; ".join(f"{r.name}: {r.expectation}: {r.observed} ({r.where})" for r in broken)
        raise SuiteError(f"data contracts do not hold: {told}", where=str(suite), mend="mend the tables, freeze anew")


def _released(folder: Path, suite: Suite, bundle: Bundle) -> dict[str, float]:
    """Thresholds that ship with the incumbent; none when its file is not there."""
    path = thresholds_path(folder, suite.name, bundle.name, bundle.version)
    return read_thresholds(path, suite=suite.digest, bundle=bundle.digest) if path.is_file() else {}


def _curves_of_regressed(
    suite: Suite, cells: Sequence[Cell], before: Side, after: Side, layout: Layout
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
