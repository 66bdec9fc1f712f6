"""Two stories without a candidate: what a suite can prove (`gate suite plan`), and how often it cries wolf (`aa`).

A bundle is run over a frozen suite and its operating points are calibrated, as in `gate.pipeline`. Then it is compared
with its retrained twin, or, where there is none, with itself on other clips.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gate.bundle import Bundle, impact_of, read_bundle
from gate.compare import MIN_CLIPS, Comparison, Question, Side, compare, paired, seed_of, sign_vectors
from gate.errors import BundleError, SuiteError, UsageError
from gate.judge import Facts, Identity, Policy, Rule, assign, read_policy
from gate.judge.judging import asked_of, statistics_of
from gate.judge.layout import (
    Layout,
    broken_of,
    calibrated,
    clips_of,
    layout_of,
    questions_of,
    released,
    side_of,
    stacked,
)
from gate.judge.plan import PAIRINGS, Plan, PlanCell, assumed, plan_cells
from gate.judge.shuffles import Alarms, Said, alarms, answerable, halves, no_longer_measured, other_clips, said_of
from gate.run import Run, Store, offered, outputs_of, run
from gate.suite import Slice, Suite, read_suite
from gate.table import ClipIndex

#: (stage, frames just done, frames of the stage)
Progress = Callable[[str, int, int], None]


def _quiet(stage: str, done: int, total: int) -> None:
    pass


@dataclass(frozen=True)
class _Answered:
    """A bundle and its twin on a suite, ready to be compared; without a twin the bundle stands on both sides."""

    suite: Suite
    policy: Policy
    rules: Mapping[str, Rule]
    bundle: Bundle
    twin: Bundle | None
    sides: tuple[Side, Side]
    layout: Layout
    index: ClipIndex
    facts: Facts

    @property
    def digests(self) -> tuple[str, str, str]:
        return self.suite.digest, self.bundle.digest, self.twin.digest if self.twin else ""

    @property
    def frames(self) -> int:
        """Frames of the validation split."""
        return int((self.suite.frames.split == 1).sum())


def plan_suite(
    bundle: Path,
    *,
    suite: Path,
    policy: Path,
    thresholds: Path,
    twin: Path | None = None,
    store: Store | None = None,
    progress: Progress = _quiet,
) -> Plan:
    """What the suite can prove and certify about releases like `bundle`, at the margins of the policy.

    twin: the same bundle trained with another seed; without one the error of a difference is assumed
    (`gate.judge.plan.SHARED`). thresholds: folder of released operating points. Raises GateError as `compare_bundles`
    does, and UsageError for a twin that is the bundle itself.
    """
    given = _answered(bundle, twin, read_suite(suite), read_policy(policy), thresholds, store, progress)
    exam, questions = given.suite, questions_of(given.rules, given.layout)
    everything = (questions, exam.frames.slices, given.index, given.layout.decided)
    comparison = compare(*given.sides, *everything)
    if given.twin is None:
        comparison = _assumed(given, comparison, questions)
    asked = asked_of(comparison, questions, exam.heads, given.rules, given.policy)
    signs = sign_vectors(given.index.clips, given.policy.text.resamples, seed_of(*given.digests, "plan"))
    judged, _ = statistics_of(comparison, asked, exam.heads, given.policy, given.facts, signs)
    critical = {
        name: next((float(x) for x in judged.seen.critical_value[asked.family == name] if math.isfinite(x)), None)
        for name in ("critical", "supporting", "slices")
    }
    slices = [s.name for s in exam.frames.slices]
    return Plan(
        suite=Identity(exam.name, exam.version, exam.digest),
        incumbent=_identity(given.bundle),
        twin=None if given.twin is None else _identity(given.twin),
        policy=given.policy.facts,
        se="assumed" if given.twin is None else "twin",
        counted=given.facts.counted,
        clips=given.index.clips,
        critical=critical,
        cells=tuple(_in_order(plan_cells(judged, asked, exam.heads, slices, given.facts), exam, given.rules, slices)),
    )


def false_alarms(
    bundle: Path,
    *,
    suite: Path,
    policy: Path,
    thresholds: Path,
    twin: Path | None = None,
    repeats: int = 100,
    store: Store | None = None,
    progress: Progress = _quiet,
) -> tuple[Alarms, tuple[Identity, ...]]:
    """How often the gate blocks releases that are equally good, and (suite, bundle, twin): what was asked.

    Each repeat halves the validation clips at random. Without a twin, the bundle on one half is judged against itself
    on the other; with one, the twin against the bundle on one half. Raises SuiteError when halves are too small for
    any test, or nothing could be tested.
    """
    exam, rulebook = read_suite(suite), read_policy(policy)
    counted, clips = exam.definition.suite.unit or "clip", clips_of(exam, 1).clips
    if clips < 2 * MIN_CLIPS:
        raise SuiteError(
            f"{clips} validation {counted}s are too few to be halved: a test needs {MIN_CLIPS} in each half",
            where=str(suite),
            mend=f"add {2 * MIN_CLIPS - clips} or more to the validation split",
        )
    given = _answered(bundle, twin, exam, rulebook, thresholds, store, progress)
    releases = _shuffled(given, repeats, progress)
    if not any(r.tested for r in releases):
        raise SuiteError(
            f"no prediction can be tested on {clips // 2} {counted}s: each has positives, or differs, in too few",
            where=str(suite),
            mend=f"add {counted}s with positives",
        )
    who = (Identity(exam.name, exam.version, exam.digest), _identity(given.bundle))
    found = alarms(releases, clips=clips // 2, counted=counted, alpha=rulebook.text.alpha)
    return found, who if given.twin is None else (*who, _identity(given.twin))


def _assumed(given: _Answered, alone: Comparison, questions: Sequence[Question]) -> Comparison:
    """The bundle beside itself, with the error that a retrained twin is assumed to show."""
    rng = np.random.default_rng(seed_of(*given.digests, "plan"))
    kept, parts, cells = _answerable(given, alone, questions)
    orders = [other_clips(given.index.clips, rng) for _ in range(PAIRINGS)]
    se, d = np.full((PAIRINGS, len(alone.se)), np.nan), np.zeros_like(alone.d)
    d[cells], se[:, cells] = paired(given.sides[0], kept, parts, given.index, given.layout.decided, orders)
    return assumed(alone, d, se)


def _shuffled(given: _Answered, repeats: int, progress: Progress) -> list[Said]:
    """What the gate says of so many releases, each of them a shuffle of the clips."""
    exam, every = given.suite, questions_of(given.rules, given.layout)
    decided = given.layout.decided
    whole = compare(given.sides[0], given.sides[0], every, exam.frames.slices, given.index, decided)
    questions, slices, _ = _answerable(given, whole, every)
    rng = np.random.default_rng(seed_of(*given.digests, "aa"))
    said: list[Said] = []
    asked = None
    for _ in range(repeats):
        first, second = halves(given.index, rng)
        signs = sign_vectors(first.clips, given.policy.text.resamples, int(rng.integers(2**63)))
        other = second if given.twin is None else None
        comparison = compare(*given.sides, questions, slices, first, decided, other)
        asked = asked or asked_of(comparison, questions, exam.heads, given.rules, given.policy)
        judged, groups = statistics_of(comparison, asked, exam.heads, given.policy, given.facts, signs)
        release = said_of(asked, judged, groups)
        if given.twin is not None:
            # Of two halves, the other one may just lack the clips; of a twin on the same clips, it is a loss.
            release = replace(release, lost=no_longer_measured(asked, judged))
        said.append(release)
        progress("shuffle", given.frames, repeats * given.frames)
    return said


def _answerable(
    given: _Answered, alone: Comparison, questions: Sequence[Question]
) -> tuple[list[Question], list[Slice], np.ndarray]:
    """Questions and slices that enough clips can answer, and the positions of their cells in `alone`."""
    asked, parts = answerable(alone)
    cells = np.flatnonzero(np.isin(alone.question, asked) & np.isin(alone.slice, parts))
    return [questions[k] for k in asked], [given.suite.frames.slices[k] for k in parts], cells


def _answered(
    bundle: Path,
    twin: Path | None,
    exam: Suite,
    rulebook: Policy,
    thresholds: Path,
    store: Store | None,
    progress: Progress,
) -> _Answered:
    """Both run, their operating points chosen as `gate compare` would."""
    old = read_bundle(bundle)
    new = None if twin is None else read_bundle(twin)
    identical = [] if new is None else _unreached(old, new, exam, twin)
    rules = assign(rulebook, exam.heads, _unjudged(old, exam) | (set() if new is None else _unjudged(new, exam)))
    before = run(old, exam, None, lambda done, of: progress("bundle", done, of), store)
    after = before if new is None else _run_twin(new, exam, before, identical, store, progress)
    layout = layout_of(exam)
    shipping = released(thresholds, exam, old)
    keep = [p.prediction for p in shipping]
    evidence, points = calibrated(exam, stacked(exam, before), rules, shipping, keep=keep)
    side, others = side_of(evidence, points, layout), points
    other = side
    if new is not None:
        evidence, others = calibrated(exam, stacked(exam, after), rules, points, keep=identical)
        other = side_of(evidence, others, layout)
    broken, broken_before = broken_of(exam, before, after, ())
    facts = Facts(
        broken={} if new is None else broken,
        broken_before=broken_before,
        identical=identical,
        points_incumbent={p.prediction: p for p in points},
        points_candidate={p.prediction: p for p in others},
        must_pass=(),
        counted=exam.definition.suite.unit or "clip",
    )
    return _Answered(exam, rulebook, rules, old, new, (side, other), layout, clips_of(exam, 1), facts)


def _unreached(old: Bundle, new: Bundle, exam: Suite, twin: Path | None) -> list[str]:
    """Predictions that are the same in both. Raises UsageError when these are all, BundleError for a lacking head."""
    names, _ = offered(new, exam)
    impact = impact_of(old, new)
    shared = [h for h in exam.heads if all(impact.is_identical(o) for o in outputs_of(h))]
    if len(shared) == len(exam.heads):
        raise UsageError(
            "the twin is the bundle itself: they never differ, and every error would be 0",
            where=str(twin),
            mend="give a release of the same recipe that was trained with another seed, or leave --twin out",
        )
    if lacking := [h.name for h in exam.heads if not set(outputs_of(h)) <= names]:
        raise BundleError(
            f"the twin has no head {', '.join(lacking)}",
            where=str(twin),
            mend="give a twin with every head of the suite",
        )
    return [p for h in shared for p in h.predictions]


def _unjudged(bundle: Bundle, exam: Suite) -> set[str]:
    """Heads that the suite does not judge; rules of the policy may name them."""
    return offered(bundle, exam)[0] - {o for h in exam.heads for o in outputs_of(h)}


def _run_twin(
    twin: Bundle, exam: Suite, before: Run, identical: Sequence[str], store: Store | None, progress: Progress
) -> Run:
    changed = [h.name for h in exam.heads if not set(h.predictions) <= set(identical)]
    after = run(twin, exam, changed, lambda done, of: progress("twin", done, of), store)
    return replace(
        after,
        evidence=before.evidence | after.evidence,
        summaries={**before.summaries, **after.summaries},
    )


def _in_order(
    cells: Sequence[PlanCell], exam: Suite, rules: Mapping[str, Rule], slices: Sequence[str]
) -> list[PlanCell]:
    """Predictions in suite order, metrics in policy order, slices in suite order."""
    place, where = {p: k for k, p in enumerate(exam.predictions)}, {s: k for k, s in enumerate(slices)}
    return sorted(
        cells, key=lambda c: (place[c.prediction], rules[c.prediction].metrics.index(c.metric), where[c.slice])
    )


def _identity(bundle: Bundle) -> Identity:
    return Identity(bundle.name, bundle.version, bundle.digest)
