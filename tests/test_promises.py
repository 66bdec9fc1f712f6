"""What is printed has been measured: false blocks, losses found, false certificates, power at the printed MDR.

Small seeded worlds through `compare` and `judge`. A clip is one unit with a mood of its own, shared by both bundles,
so its events rise and fall together; clips differ in size. Bounds are those that a method that keeps its promise
breaks once in a thousand such simulations (binomial, 99.9 %); the seeds are fixed, so they hold or they do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from gate.compare import Question, Side, compare, sign_vectors
from gate.heads import Head
from gate.judge import Cell, Facts, Policy, Rule, decide, judge
from gate.judge.decision import Tier
from gate.judge.policy import PolicyText, RuleText, Shares
from gate.located import Lines
from gate.suite import Slice
from gate.table import ClipIndex
from tests.oracles.statistics import Counts, side_of_counts

Floats = NDArray[np.float64]
NO_FACTS = Facts({}, (), (), {}, {}, ())


def most(rate: float, trials: int) -> int:
    """More than this many of `trials` happen once in a thousand times when `rate` holds."""
    return int(stats.binom.ppf(0.999, trials, rate))


def least(rate: float, trials: int) -> int:
    return int(stats.binom.ppf(0.001, trials, rate))


@dataclass(frozen=True)
class Exam:
    """Positives and negatives of every head in every clip, (heads, clips), and what each head is like there.

    recall, alarm: (heads, clips) chance that a positive is found, that a negative is taken for one.
    """

    positives: Counts
    negatives: Counts
    recall: Floats
    alarm: Floats

    def answer(self, rng: np.random.Generator, lost: Floats | float = 0.0) -> tuple[Counts, Counts, Counts]:
        """(tp, fp, fn) of a retrained twin; `lost`: chance that a found positive is lost again."""
        tp = rng.binomial(self.positives, self.recall * (1 - np.asarray(lost)))
        return tp, rng.binomial(self.negatives, self.alarm), self.positives - tp


def an_exam(rng: np.random.Generator, heads: int, clips: int, *, spread: float = 0.5, events: float = 8.0) -> Exam:
    """Lognormal clip sizes; the mood of a clip is half its own and half the head's in it."""
    size = events * rng.lognormal(0.0, spread, clips)
    mood = rng.normal(size=clips) * 0.5 + rng.normal(size=(heads, clips)) * 0.5
    return Exam(
        1 + rng.poisson(size, (heads, clips)),
        rng.poisson(3 * size, (heads, clips)),
        1 / (1 + np.exp(-(2.2 + 0.8 * mood))),
        1 / (1 + np.exp(3.5 + 0.8 * mood)),
    )


def a_policy(**changes: Any) -> Policy:
    text = PolicyText(**({"rules": (RuleText("*"),), "resamples": 499} | changes))
    return Policy(text, Lines("policy.toml", {}), "sha256:0")


def released(
    incumbent: Side,
    candidate: Side,
    tiers: Sequence[Tier],
    *,
    name: str = "f1",
    margin: float = 0.05,
    policy: Policy | None = None,
    seed: int = 0,
    halves: bool = False,
) -> tuple[Cell, ...]:
    """All cells of one release: every head on all clips, and with `halves` on the even ones and on the odd ones."""
    heads, clips = len(tiers), incumbent.table.cells
    policy = policy or a_policy()
    head = Head("cam.h", "multilabel", tuple(map(str, range(heads))), tuple(range(heads)), "sigmoid")
    questions = [Question(k, (k,), name) for k in range(heads)]
    even = np.arange(clips) % 2 == 0
    slices = [Slice("all", np.ones(clips, bool))]
    if halves:
        slices += [Slice("half=even", even), Slice("half=odd", ~even)]
    c = compare(incumbent, candidate, questions, slices, ClipIndex(np.arange(clips), clips), np.ones(heads, bool))
    rules = {p: Rule(t, "max f1", (name,), (margin,)) for p, t in zip(head.predictions, tiers, strict=True)}
    signs = sign_vectors(clips, policy.text.resamples, seed)
    return judge(c, questions, [head], rules, policy, [s.name for s in slices], NO_FACTS, signs)


def regressed(cells: Sequence[Cell]) -> list[str]:
    return sorted({c.prediction for c in cells if c.verdict == "regressed"})


def test_releases_of_equal_candidates_are_blocked_in_at_most_five_percent() -> None:
    """200 heads of all tiers, their slices and three groups, on 40 clips; 100 releases of retrained twins.

    With no least effect the null is the sharp one, where nothing but the level itself protects.
    """
    tiers: list[Tier] = ["critical"] * 20 + ["supporting"] * 170 + ["advisory"] * 10
    groups = {"all": "*", "tens": "cam.h[1?]", "hundreds": "cam.h[1??]"}
    policy = a_policy(min_effect=0.0, groups=groups)
    releases, blocked = 100, 0
    for seed in range(releases):
        rng = np.random.default_rng([1, seed])
        exam = an_exam(rng, len(tiers), 40)
        a, b = (side_of_counts(*exam.answer(rng)) for _ in "ab")
        blocked += bool(regressed(released(a, b, tiers, policy=policy, seed=seed, halves=True)))
    assert 0 < blocked <= most(0.05, releases)


def test_the_level_is_spent_and_not_only_kept() -> None:
    """One family with an alpha of 0.2 at the sharp null: 20 % are blocked, neither much more nor much less."""
    tiers: list[Tier] = ["supporting"] * 30
    shares = Shares(0.0, 1.0, 0.0, 0.0)
    policy = a_policy(min_effect=0.0, alpha=0.2, shares=shares)
    releases, blocked = 300, 0
    for seed in range(releases):
        rng = np.random.default_rng([2, seed])
        exam = an_exam(rng, 30, 30)
        a, b = (side_of_counts(*exam.answer(rng)) for _ in "ab")
        blocked += bool(regressed(released(a, b, tiers, policy=policy, seed=seed)))
    assert least(0.2, releases) <= blocked <= most(0.2, releases)


def test_a_head_that_lost_much_is_found_and_no_other_is_blamed() -> None:
    tiers: list[Tier] = ["supporting"] * 200
    releases, found, blamed = 25, 0, 0
    for seed in range(releases):
        rng = np.random.default_rng([3, seed])
        exam = an_exam(rng, 200, 60)
        lost = np.zeros((200, 1))
        lost[seed] = 0.3
        a, b = side_of_counts(*exam.answer(rng)), side_of_counts(*exam.answer(rng, lost))
        cells = released(a, b, tiers, seed=seed)
        names = regressed(cells)
        found += f"cam.h[{seed}]" in names
        blamed += names != [f"cam.h[{seed}]"]
        outcome, reasons = decide(cells, missing=(), uncovered={}, must_pass=(), identical_uncovered=())
        assert outcome == "NO-GO"
        assert f"cam.h[{seed}]" in {p for r in reasons for p in r.predictions}
    assert found == releases
    assert blamed <= most(0.05, releases)


def test_a_head_that_is_exactly_its_margin_worse_is_certified_in_at_most_five_percent() -> None:
    """Recall of 0.9 that falls by 5 points: every positive found is lost again with chance 1/18."""
    margin, heads = 0.05, 100
    trials = certified = equal = 0
    for seed in range(40):
        rng = np.random.default_rng([4, seed])
        exam = an_exam(rng, heads, 150)
        exam = Exam(exam.positives, exam.negatives, np.full(exam.recall.shape, 0.9), exam.alarm)
        a = side_of_counts(*exam.answer(rng))
        for lost in (margin / 0.9, 0.0):
            b = side_of_counts(*exam.answer(rng, lost))
            cells = released(a, b, ["critical"] * heads, name="recall", margin=margin, seed=seed)
            passed = sum(c.verdict in ("non-inferior", "improved") for c in cells if c.slice == "all")
            if lost:
                trials, certified = trials + heads, certified + passed
            else:
                equal += passed
    assert certified <= most(0.05, trials)
    # A bound that certified nothing would keep this promise too.
    assert equal > 0.9 * trials


def test_the_printed_smallest_detectable_loss_is_detected_about_four_times_in_five() -> None:
    """Fifty heads, of which one loses just what the report says that it would see."""
    tiers: list[Tier] = ["supporting"] * 50
    rng = np.random.default_rng(5)
    exam = an_exam(rng, 50, 100)
    exam = Exam(exam.positives, exam.negatives, np.full(exam.recall.shape, 0.9), exam.alarm)

    def release(seed: int, loss: float) -> Cell:
        rng = np.random.default_rng([6, seed])
        lost = np.zeros((50, 1))
        lost[7] = loss / 0.9
        a, b = side_of_counts(*exam.answer(rng)), side_of_counts(*exam.answer(rng, lost))
        cells = released(a, b, tiers, name="recall", seed=seed)
        (cell,) = (c for c in cells if c.prediction == "cam.h[7]" and c.slice == "all")
        return cell

    loss = 0.0
    for _ in range(2):  # the loss adds noise of its own, so the MDR is read again where the loss is
        printed = [release(seed, loss).mdr for seed in range(1000, 1010)]
        loss = float(np.mean([m for m in printed if m is not None]))
    releases = 100
    seen = sum(release(seed, loss).verdict == "regressed" for seed in range(releases))
    assert least(0.75, releases) <= seen <= most(0.9, releases)


def test_a_thin_loss_on_all_heads_is_seen_by_their_group_and_an_equal_one_is_not() -> None:
    tiers: list[Tier] = ["supporting"] * 60
    policy = a_policy(groups={"all": "*"})
    found = {0.0: 0, 0.015: 0}
    releases = 25
    for seed in range(releases):
        rng = np.random.default_rng([7, seed])
        exam = an_exam(rng, 60, 60)
        a = side_of_counts(*exam.answer(rng))
        for loss in found:
            b = side_of_counts(*exam.answer(rng, loss))
            found[loss] += "group:all" in regressed(released(a, b, tiers, name="recall", policy=policy, seed=seed))
    assert found[0.0] <= most(0.01, releases)
    assert found[0.015] >= least(0.9, releases)
