"""The story: a bundle is run over a frozen suite; every head's output is reduced to evidence, and evidence adds up.
On the calibration clips operating points are calibrated; on the validation clips candidate and incumbent are compared;
a policy judges the comparison into a decision. Rendering it is another story (`gate.report`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from gate import __version__
from gate.bundle import Bundle, impact_of, read_bundle
from gate.calibrate import OperatingPoint, thresholds_path
from gate.changed import Tell, changed_answers, tell_stored
from gate.compare import Side, compare, precision_deltas, seed_of, sign_vectors
from gate.errors import ConfigError, SuiteError, UsageError, shown
from gate.judge import (
    Decision,
    Facts,
    Identity,
    NetworkFacts,
    Rule,
    assign,
    decide,
    judge,
    read_policy,
    refuse_too_few,
    tier_of,
)
from gate.judge.anchors import moved, read_anchors
from gate.judge.latency import asks, latency_cells, timed_on
from gate.judge.layout import (
    anchor_side,
    broken_of,
    calibrated,
    clips_of,
    known,
    layout_of,
    newly_wrong,
    questions_of,
    released,
    side_of,
    stacked,
    strict_clips,
    unknown_to,
    unreached,
)
from gate.judge.probabilities import probabilities
from gate.report.details import Compared
from gate.report.notebook import decision_html
from gate.run import (
    Run,
    Store,
    contract_checks,
    contract_table,
    offered,
    outputs_of,
    read_evidence,
    run,
)
from gate.suite import ContractResult, Suite, read_suite

#: (stage, frames just done, frames of the stage)
Progress = Callable[[str, int, int], None]


def _quiet(stage: str, done: int, total: int) -> None:
    pass


def _silent(line: str) -> None:
    pass


@dataclass(frozen=True)
class Result:
    """A decision, and what reports and later runs want besides: what it rested on, operating points of both.

    anchors: prediction -> digest of its anchor once the candidate ships; empty when drift was not asked for.
    """

    decision: Decision
    compared: Compared
    points_incumbent: tuple[OperatingPoint, ...]
    points_candidate: tuple[OperatingPoint, ...]
    anchors: Mapping[str, str]

    def _repr_html_(self) -> str:
        return decision_html(self.decision)


def compare_bundles(
    incumbent: Path,
    candidate: Path,
    *,
    suite: Path,
    policy: Path,
    thresholds: Path,
    anchors: Sequence[Path] = (),
    anchored: Path | None = None,
    evidence: Sequence[Path] = (),
    store: Store | None = None,
    device: str = "cpu",
    progress: Progress = _quiet,
    tell: Tell = _silent,
) -> Result:
    """May the candidate replace the incumbent?

    suite, policy: of the protected side. thresholds: folder of released operating points; the incumbent's file is used
    when it is there. anchors: older bundles that drift is measured from; anchored: file that says which is whose, not
    needed for a single one. evidence: files of `gate run --export`, of the incumbent or an anchor, which then do not
    run; store: where evidence is kept between runs; neither changes the answer. device: cpu | cuda. tell: takes lines
    that say what was not run. Raises GateError for everything that a person must mend before the question can be
    answered.
    """
    exam, rulebook = read_suite(suite), read_policy(policy)
    old, new = read_bundle(incumbent), read_bundle(candidate)
    with contract_checks(exam, f"{old.digest} {new.digest}", store) as check:
        names, _ = offered(new, exam)
        impact, uncovered = impact_of(old, new), uncovered_heads(new, exam, names)
        gone = uncovered_heads(old, exam, offered(old, exam)[0])
        rules = assign(rulebook, exam.heads, {*uncovered, *gone})
        timed = asks(rulebook, exam.heads, [*old.networks, *new.networks])
        shipping, strict = released(thresholds, exam, old), strict_clips(exam, rulebook)
        older = {b.digest: b for b in (read_bundle(path) for path in anchors)}
        anchor_of = _anchor_of(exam, older, anchored)
        refuse_too_few(rulebook, references=2 if older.keys() - {old.digest} else 1)

        brought = _brought(evidence, exam, [old, *older.values()], tell)

        def answers(stage: str, b: Bundle) -> Run:
            found = brought.get(b.digest) or run(b, exam, None, lambda n, of: progress(stage, n, of), store, device)
            tell_stored(stage, found, "a file" if b.digest in brought else "the store", tell)
            return found

        before = answers("incumbent", old)
        after, identical = changed_answers(
            old, new, exam, before, impact, names, lambda n, of: progress("candidate", n, of), store, device, tell
        )
        since = {
            digest: before if digest == old.digest else answers("anchor", b)
            for digest, b in older.items()
            if digest in anchor_of.values()
        }
        checked = check({"candidate": _contract(after), "incumbent": _contract(before)})

        layout, index = layout_of(exam), clips_of(exam, 1)
        tables = stacked(exam, before), stacked(exam, after)
        evidence_a, points_a = calibrated(exam, tables[0], rules, shipping, keep=_named(shipping))
        same = [p for h in exam.heads if set(outputs_of(h)) <= identical for p in h.predictions]
        evidence_b, points_b = calibrated(exam, tables[1], rules, points_a, keep=same)
        side_a, side_b = side_of(evidence_a, points_a, layout), side_of(evidence_b, points_b, layout)
        questions = questions_of(rules, layout)
        asked = (questions, exam.frames.slices, index, layout.decided)
        still = unreached(exam, side_a, side_b, layout, same, store)
        comparison = compare(side_a, side_b, *asked, unreached=still)
        drift, unknown = None, unknown_to(since, anchor_of, exam)
        if since.keys() - {old.digest}:
            shipped = {digest: released(thresholds, exam, older[digest]) for digest in since}
            sides = {d: side_a if d == old.digest else _side(exam, since[d], rules, shipped[d]) for d in since}
            against = compare(anchor_side(sides, anchor_of, layout), side_b, *asked)
            drift = known(against, questions, exam.predictions, unknown)

        held = checked.result()
        refuse_broken_tables(held, suite)

    broken, broken_before = broken_of(exam, before, after, held)
    wrong = [p for p in newly_wrong(exam, strict, rules, side_a, side_b, layout) if p not in broken_before]
    free = precision_deltas(side_a, side_b, layout.first, index.clip >= 0)
    settled = {p.prediction: p for p in points_a}, {p.prediction: p for p in points_b}
    facts = Facts(
        broken=broken,
        broken_before=broken_before,
        identical=frozenset(same),
        points_incumbent=settled[0],
        points_candidate=settled[1],
        must_pass=wrong,
        threshold_free={p: x for p, x in zip(layout.rows, free.tolist(), strict=True) if math.isfinite(x)},
        counted=exam.definition.suite.unit or "clip",
        unknown=frozenset(unknown),
    )
    signs = sign_vectors(index.clips, rulebook.text.resamples, seed_of(exam.digest, old.digest, new.digest))
    slices = [s.name for s in exam.frames.slices]
    cells = judge(comparison, questions, exam.heads, rules, rulebook, slices, facts, signs, drift)
    # Networks are timed last, when nothing else of this run is at work.
    seed = seed_of(exam.digest, old.digest, new.digest)
    times = latency_cells(timed, old, new, rulebook, seed=seed, progress=lambda n, of: progress("latency", n, of))
    cells += times
    outcome, reasons = decide(
        cells,
        missing=[p for h in exam.heads if h.name in after.missing for p in h.predictions],
        uncovered={h: tier_of(rulebook, h) for h in uncovered},
        must_pass=wrong,
        identical_uncovered=[h for h in uncovered if h in identical],
        points=facts.points_candidate,
        unknown=unknown,
    )
    decision = Decision(
        decision=outcome,
        reasons=reasons,
        candidate=Identity(new.name, new.version, new.digest),
        incumbent=Identity(old.name, old.version, old.digest),
        suite=Identity(exam.name, exam.version, exam.digest),
        policy=rulebook.facts,
        gate_version=__version__,
        runtime=(*(before.runtime or after.runtime), *timed_on(times)),
        cells=cells,
        contracts=held,
        uncovered=tuple(uncovered),
        predictions=len(exam.predictions),
        probabilities=probabilities(side_a, side_b, layout, index, rulebook.text.confidence, still),
        anchors=tuple(Identity(b.name, b.version, b.digest) for d, b in older.items() if d in since),
        counted=facts.counted,
        networks=_networks(new, names, identical),
    )
    compared = Compared(old, new, exam, side_a, side_b, comparison, questions, layout, index, settled, device, store)
    ships = new.digest if outcome == "GO" else None  # what does not ship is nobody's anchor
    later = moved(anchor_of, cells, incumbent=old.digest, candidate=ships, unknown=unknown)
    return Result(decision, compared, points_a, points_b, later)


def calibrate_bundle(
    bundle: Path,
    *,
    suite: Path,
    policy: Path,
    thresholds: Path,
    store: Store | None = None,
    progress: Progress = _quiet,
) -> tuple[Path, Suite, Bundle, tuple[OperatingPoint, ...]]:
    """Operating points of one bundle, and the path of the file that they belong into."""
    exam, rulebook, made = read_suite(suite), read_policy(policy), read_bundle(bundle)
    rules = assign(rulebook, exam.heads, uncovered_heads(made, exam, offered(made, exam)[0]))
    answers = run(made, exam, None, lambda n, of: progress("calibrate", n, of), store)
    _, points = calibrated(exam, stacked(exam, answers), rules)
    return thresholds_path(thresholds, exam.name, made.name, made.version), exam, made, points


def _networks(new: Bundle, names: Collection[str], identical: Collection[str]) -> tuple[NetworkFacts, ...]:
    """Networks of the candidate; out of the change's reach are those all of whose heads are."""
    reached = {name.partition(".")[0] for name in names if name not in identical}
    return tuple(
        NetworkFacts(n.name, "reached" if n.name in reached else "identical", n.upstream()) for n in new.networks
    )


def uncovered_heads(bundle: Bundle, suite: Suite, names: Collection[str]) -> list[str]:
    """Heads of the bundle that nobody judges and no other network reads."""
    judged = {output for head in suite.heads for output in outputs_of(head)}
    internal = {source for network in bundle.networks for _, source in network.inputs}
    return sorted(set(names) - judged - internal)


def _brought(files: Sequence[Path], suite: Suite, bundles: Sequence[Bundle], tell: Tell) -> dict[str, Run]:
    """Digest of a bundle -> its evidence, of the files given. Raises EvidenceError for a file of anything else."""
    found = (read_evidence(path, suite, bundles, tell) for path in files)
    return {bundle.digest: answers for bundle, answers in found}


def _contract(answers: Run) -> dict[str, NDArray[Any]]:
    return contract_table(list(answers.summaries.values()))


def refuse_broken_tables(held: Sequence[ContractResult], suite: Path) -> None:
    """Raises SuiteError when a contract of the suite's own tables does not hold: then nothing can be judged."""
    broken = [r for r in held if not r.success and r.severity == "critical" and ".predictions." not in r.name]
    if broken:
        told = "; ".join(f"{r.name}: {r.expectation}: {r.observed} ({r.where})" for r in broken)
        raise SuiteError(f"data contracts do not hold: {told}", where=str(suite), mend="mend the tables, freeze anew")


def _named(points: Sequence[OperatingPoint]) -> list[str]:
    return [p.prediction for p in points]


def _side(suite: Suite, answers: Run, rules: Mapping[str, Rule], shipping: Sequence[OperatingPoint]) -> Side:
    """A release at its own operating points."""
    evidence, points = calibrated(suite, stacked(suite, answers), rules, shipping, keep=_named(shipping))
    return side_of(evidence, points, layout_of(suite))


def _anchor_of(suite: Suite, older: Mapping[str, Bundle], anchored: Path | None) -> dict[str, str]:
    """prediction -> digest of its anchor; nothing when there are no anchors."""
    if anchored is None:
        if len(older) > 1:
            raise UsageError("several anchors, and nothing says which is whose", mend="add --anchors FILE")
        return {p: digest for digest in older for p in suite.predictions}
    found, predictions = read_anchors(anchored, suite=suite.digest), frozenset(suite.predictions)
    for prediction, digest in found.items():
        if prediction not in predictions:
            raise ConfigError(f"the suite has no prediction {shown(prediction)}", where=str(anchored))
        if digest not in older:
            raise UsageError(
                f"the anchor of {shown(prediction)} is {shown(digest, 19)}, which is not given",
                mend="name its bundle with --anchor; an anchor that is lost is replaced by the last accepted release",
            )
    if lacking := [p for p in suite.predictions if p not in found]:
        raise ConfigError(f"{shown(lacking[0])} has no anchor", where=str(anchored), mend="add a line for it")
    return found
