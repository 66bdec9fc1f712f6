"""The decision and everything that it rests on, as plain values: what reports are made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gate.suite.contract import ContractResult

Verdict = Literal["regressed", "non-inferior", "improved", "undecided", "not-measurable", "broken"]
Tier = Literal["critical", "supporting", "advisory"]
Outcome = Literal["GO", "NO-GO", "INCONCLUSIVE"]
Impact = Literal["identical", "reached"]

VERDICTS: tuple[Verdict, ...] = (
    "broken",
    "regressed",
    "undecided",
    "not-measurable",
    "improved",
    "non-inferior",
)
EXIT_CODES: dict[Outcome, int] = {"GO": 0, "NO-GO": 1, "INCONCLUSIVE": 3}


@dataclass(frozen=True, slots=True)  # there are tens of thousands, each of so many fields
class Cell:
    """One prediction x metric x slice.

    incumbent, candidate, delta (candidate minus incumbent), ci_low, ci_high, mdr and margin are in the metric's own
    unit; delta_worse is delta with its sign turned so that negative is always worse. None: not measured, see reason.
    ci_low and ci_high are the two one-sided bounds at the policy's confidence, for delta. A group aggregate has its
    group's name as prediction, `group:NAME`, and no network. provable: the suite could prove a loss here at all.
    suspect: not proven, but looks worse. acknowledge: does not block, but somebody must have seen it. clips_needed:
    further clips with positives that would decide. anchor, delta_anchor, p_anchor: the same against the prediction's
    anchor, where there is one; gained_since_anchor: proven better than it. delta_threshold_free: difference of average
    precision, for a metric at a threshold on the whole suite.
    """

    prediction: str
    network: str
    head: str
    channel: str | None
    task: str
    metric: str
    unit: str
    lower_is_better: bool
    slice: str
    tier: Tier
    margin: float
    verdict: Verdict
    reason: str
    clips: int
    frames: int
    positives: int | None
    incumbent: float | None
    candidate: float | None
    delta: float | None
    delta_worse: float | None
    ci_low: float | None
    ci_high: float | None
    p_adjusted: float | None
    mdr: float | None
    provable: bool
    suspect: bool
    clips_needed: int | None
    threshold_incumbent: float | None
    threshold_candidate: float | None
    delta_at_incumbent_threshold: float | None
    impact: Impact
    waiver: str | None = None
    acknowledge: bool = False
    delta_threshold_free: float | None = None
    anchor: float | None = None
    delta_anchor: float | None = None
    p_anchor: float | None = None
    gained_since_anchor: bool = False


@dataclass(frozen=True)
class ReliabilityBin:
    """One bin of a reliability diagram: mean probability, share of positives, events, clip-robust standard error."""

    predicted: float
    observed: float
    events: float
    se: float | None


@dataclass(frozen=True)
class Probabilities:
    """Scores of one bundle read as probabilities, see `gate.calibrate.reliability`; None where not measurable.

    observed, expected: positives and the sum of probabilities; ratio: observed / expected; z: clip-robust. rms:
    calibration error beyond noise, negative when below it; ece: plug-in, only for comparability.
    """

    events: int
    observed: int
    expected: float
    ratio: float | None
    z: float | None
    rms: float | None
    ece: float | None
    bins: tuple[ReliabilityBin, ...]


@dataclass(frozen=True)
class Probability:
    """One prediction. brier, log_loss: change from incumbent to candidate, lower is better, and its two bounds."""

    prediction: str
    incumbent: Probabilities
    candidate: Probabilities
    brier: tuple[float, float, float] | None
    log_loss: tuple[float, float, float] | None


@dataclass(frozen=True)
class Reason:
    """Why the decision is what it is: a stable code, one sentence, and the predictions it is about."""

    code: str
    text: str
    predictions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Identity:
    name: str
    version: str
    digest: str


@dataclass(frozen=True)
class PolicyFacts:
    digest: str
    alpha: float
    confidence: float
    resamples: int
    min_effect: float


@dataclass(frozen=True)
class NetworkFacts:
    """A network of the candidate. impact: whether the change reaches it. upstream: networks that it reads."""

    name: str
    impact: Impact
    upstream: tuple[str, ...] = ()


@dataclass(frozen=True)
class Decision:
    """The whole result. reasons: those that decided come first. predictions: how many the suite judges.

    uncovered: heads of the candidate that the suite does not judge. runtime: (name, value) facts of the machine.
    probabilities: what scores are worth as probabilities, told and never gated. anchors: releases that drift is
    measured from. counted: what the independent unit is called. networks: of the candidate, in running order.
    """

    decision: Outcome
    reasons: tuple[Reason, ...]
    candidate: Identity
    incumbent: Identity
    suite: Identity
    policy: PolicyFacts
    gate_version: str
    runtime: tuple[tuple[str, str], ...]
    cells: tuple[Cell, ...]
    contracts: tuple[ContractResult, ...]
    uncovered: tuple[str, ...] = ()
    predictions: int = 0
    probabilities: tuple[Probability, ...] = ()
    anchors: tuple[Identity, ...] = ()
    counted: str = "clip"
    networks: tuple[NetworkFacts, ...] = ()

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.decision]
