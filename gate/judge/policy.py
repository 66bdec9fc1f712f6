"""`policy.toml`: which predictions are judged how. The last matching rule wins, key by key."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import Field

from gate.calibrate import Kind, objective_of
from gate.errors import ConfigError
from gate.heads import Head
from gate.judge.decision import PolicyFacts, Tier
from gate.located import Lines
from gate.lock import digest_of_file
from gate.measures import NAMES, metric
from gate.strict import NAME, read_toml_located
from gate.tasks import task_of

Positive = Annotated[float, Field(gt=0)]
Probability = Annotated[float, Field(gt=0, lt=1)]
Portion = Annotated[float, Field(ge=0, le=1)]
#: The one metric that is no prediction's but its network's, in milliseconds: see `gate.judge.latency`.
LATENCY = "latency_p50"


@dataclass(frozen=True)
class Shares:
    """Parts of alpha that each family of tests may spend; together at most 1."""

    critical: Probability = 0.4
    supporting: Probability = 0.3
    slices: Probability = 0.1
    groups: Portion = 0.2


@dataclass(frozen=True)
class RuleText:
    """One [[rules]] table, as written. `margin` is for all metrics of the rule, `margins` for each by name.

    map: calibration map of scores that need a threshold, fitted before it: identity, logistic or isotonic. A rule with
    no metric but `latency_p50` is for networks only: predictions are judged as if it were not there.
    """

    match: str
    tier: Tier | None = None
    objective: str | None = None
    metrics: tuple[str, ...] | None = None
    margin: Positive | None = None
    margins: dict[str, Positive] | None = None
    map: Kind | None = None

    @property
    def times(self) -> bool:
        """Does it ask for the latency of networks?"""
        return LATENCY in (self.metrics or ())

    @property
    def judges(self) -> bool:
        """Does it say anything of predictions?"""
        return self.metrics != (LATENCY,)


@dataclass(frozen=True)
class PolicyText:
    """alpha: P(blocking an equal candidate), family-wise. confidence: one-sided, of "non-inferior".

    resamples: sign vectors. min_effect: a loss smaller than this is never proven.
    """

    rules: tuple[RuleText, ...]
    alpha: Annotated[float, Field(gt=0, le=0.5)] = 0.05
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    resamples: Annotated[int, Field(ge=99, le=1_000_000)] = 9999
    min_effect: Portion = 0.005
    shares: Shares = Shares()
    must_pass: tuple[str, ...] = ()
    groups: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Rule:
    """How one prediction is judged. margins: one for each of `metrics`, in the metric's unit."""

    tier: Tier
    objective: str
    metrics: tuple[str, ...]
    margins: tuple[float, ...]
    map: Kind = "identity"


@dataclass(frozen=True)
class Policy:
    text: PolicyText
    lines: Lines
    digest: str

    @property
    def facts(self) -> PolicyFacts:
        t = self.text
        return PolicyFacts(self.digest, t.alpha, t.confidence, t.resamples, t.min_effect)

    def effect(self, metric_name: str, margin: float) -> float:
        """The least loss that can be proven: `min_effect`, or a tenth of the margin of a metric that is no share."""
        return self.text.min_effect if metric(metric_name).unitless else margin / 10


def read_policy(path: Path) -> Policy:
    """The policy in a file. Raises ConfigError naming every problem with its line."""
    text, lines = read_toml_located(path, PolicyText)
    problems = list(_problems(text, lines))
    if problems:
        raise ConfigError("\n".join(problems))
    return Policy(text, lines, digest_of_file(path))


def _problems(text: PolicyText, lines: Lines) -> Iterator[str]:
    shares = text.shares
    if shares.critical + shares.supporting + shares.slices + shares.groups > 1 + 1e-9:
        yield f"{lines.where('shares')}: the shares of alpha add up to more than 1"
    if text.groups and not shares.groups:
        yield f"{lines.where('groups')}: groups are declared, and their share of alpha is 0"
    least = _least_resamples(text)
    if text.resamples < least:
        yield f"{lines.where('resamples')}: too few sign vectors to ever prove a loss; at least {least:,}"
    if not text.rules:
        yield f"{lines.where('rules')}: a policy has at least one rule"
    for name in text.groups:
        if not NAME.fullmatch(name):
            yield f"{lines.where('groups', name)}: '{name}' is not a name (letters, digits, _ . : / -)"
    for k, rule in enumerate(text.rules):
        if rule.objective is not None:
            try:
                objective_of(rule.objective)
            except ConfigError as error:
                yield f"{lines.where('rules', k, 'objective')}: {error.what}; {error.mend}"
        if rule.margin is not None and rule.margins is not None and rule.margins.keys() != {LATENCY}:
            yield f"{lines.where('rules', k, 'margins')}: a rule has `margin` or `margins`, not both"
        if rule.metrics is not None and (not rule.metrics or len(set(rule.metrics)) < len(rule.metrics)):
            yield f"{lines.where('rules', k, 'metrics')}: metrics are one or more different names"
        if rule.times != (LATENCY in (rule.margins or {})):
            asked = f'`metrics` that name "{LATENCY}" and `margins = {{ {LATENCY} = ... }}`, in milliseconds'
            yield f"{lines.where('rules', k, 'metrics')}: {asked}, go together"
        if not rule.judges and (rule.margin or rule.objective or rule.map):
            yield f"{lines.where('rules', k)}: a rule for {LATENCY} alone has a match, a tier and margins, no more"
        for key, names in (("metrics", rule.metrics or ()), ("margins", rule.margins or {})):
            for name in names:
                try:
                    if name != LATENCY:
                        metric(name)
                except ConfigError as error:
                    yield f"{lines.where('rules', k, key)}: {error.what}; {error.mend}"


def _least_resamples(text: PolicyText, references: int = 1) -> int:
    """Sign vectors without which the smallest p-value exceeds the smallest share of alpha."""
    shares = text.shares
    spent = [s for s in (shares.critical, shares.supporting, shares.slices, shares.groups) if s > 0]
    return math.ceil(references / (text.alpha * min(spent)) - 1 - 1e-9)


def refuse_too_few(policy: Policy, *, references: int) -> None:
    """Raises ConfigError when the sign vectors are too few for alpha split between so many references."""
    least = _least_resamples(policy.text, references)
    if policy.text.resamples < least:
        raise ConfigError(
            f"too few sign vectors to ever prove a loss against {references} references",
            where=policy.lines.where("resamples"),
            mend=f"at least {least:,}: incumbent and anchor share alpha",
        )


@cache
def pattern(glob: str) -> re.Pattern[str]:
    """A shell glob in which brackets are literal: `front.*[pedestrian]`."""
    parts = {"*": ".*", "?": "."}
    return re.compile("".join(parts.get(c, re.escape(c)) for c in glob))


def assign(policy: Policy, heads: Sequence[Head], uncovered: Collection[str] = ()) -> dict[str, Rule]:
    """prediction -> rule, for every prediction of the suite.

    uncovered: heads that the candidate has and the suite does not judge; rules may name them. Raises ConfigError for
    a rule or group that matches nothing, a prediction without a rule, and a metric that its task cannot give.
    """
    predictions = {p: head for head in heads for p in head.predictions}
    everything = [*predictions, *uncovered]
    problems = [
        f"{policy.lines.where('rules', k, 'match')}: '{rule.match}' matches no prediction; "
        f"predictions are named like {', '.join(list(predictions)[:3])}"
        for k, rule in enumerate(policy.text.rules)
        if rule.judges and not any(pattern(rule.match).fullmatch(name) for name in everything)
    ]
    problems += [
        f"{policy.lines.where('groups', name)}: '{glob}' matches no prediction"
        for name, glob in policy.text.groups.items()
        if not any(pattern(glob).fullmatch(p) for p in predictions)
    ]
    problems += [
        f"{policy.lines.where('groups', name)}: its members have different units ({', '.join(units)}); "
        "make a group of each"
        for name, inside in members(policy, list(predictions)).items()
        if len(units := sorted({list(predictions.values())[k].unit for k in inside})) > 1
    ]
    rules: dict[str, Rule] = {}
    told: set[str] = set()
    matchers = [(pattern(r.match), r, k) for k, r in enumerate(policy.text.rules) if r.judges]
    for prediction, head in predictions.items():
        try:
            rules[prediction] = _resolved(policy, prediction, head, matchers)
        except ConfigError as error:
            if str(error) not in told:
                told.add(str(error))
    if problems or told:
        raise ConfigError("\n".join([*problems, *sorted(told)]))
    return rules


def _resolved(
    policy: Policy, prediction: str, head: Head, matchers: Sequence[tuple[re.Pattern[str], RuleText, int]]
) -> Rule:
    tier: Tier = "supporting"
    objective, metrics, from_rule = "max f1", (), -1
    kind: Kind = "identity"
    margin: float | None = None
    margins: Mapping[str, float] = {}
    for matcher, rule, k in matchers:
        if not matcher.fullmatch(prediction):
            continue
        tier, objective, kind = rule.tier or tier, rule.objective or objective, rule.map or kind
        if rule.metrics is not None:
            metrics, from_rule = tuple(name for name in rule.metrics if name != LATENCY), k
        # `margin` and `margins` are two spellings of one key: a later one replaces both.
        own = {name: value for name, value in (rule.margins or {}).items() if name != LATENCY}
        if rule.margin is not None or own:
            margin, margins = rule.margin, own
    if not metrics:
        raise ConfigError(
            f"no rule gives {prediction} any metrics", where=policy.lines.file, mend='add a rule with match = "*"'
        )
    provides = task_of(head).yields(head).provides
    where = policy.lines.where("rules", from_rule, "metrics")
    for name in metrics:
        if not metric(name).needs <= provides:
            able = ", ".join(n for n in NAMES if metric(n).needs <= provides)
            raise ConfigError(
                f"'{name}' cannot be measured on {head.name} ({head.task}); it can give {able}",
                where=where,
                mend=f'add a rule with match = "{head.name}*" and metrics of its own',
            )
        if name not in margins and margin is None:
            raise ConfigError(f"no margin for {name} of {head.name}", where=where, mend="add `margin`, or `margins`")
    chosen = tuple(margins.get(name, margin or 0.0) for name in metrics)
    for name, value in zip(metrics, chosen, strict=True):
        if metric(name).unitless and value < policy.text.min_effect:
            raise ConfigError(
                f"the margin {value:g} of {name} is smaller than min_effect {policy.text.min_effect:g}",
                where=where,
                mend="a loss that cannot be proven cannot be the margin; lower min_effect or widen the margin",
            )
    return Rule(tier, objective, metrics, chosen, kind)


def tier_of(policy: Policy, head: str) -> Tier:
    """Tier of a head that the suite does not judge, by the rules that match its name."""
    tier: Tier = "supporting"
    for rule in policy.text.rules:
        if rule.tier and rule.judges and pattern(rule.match).fullmatch(head):
            tier = rule.tier
    return tier


def members(policy: Policy, predictions: Sequence[str]) -> dict[str, list[int]]:
    """group -> positions of its members among `predictions`."""
    return {
        name: [k for k, p in enumerate(predictions) if pattern(glob).fullmatch(p)]
        for name, glob in policy.text.groups.items()
    }
