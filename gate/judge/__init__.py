"""comparison + policy -> decision."""

from gate.judge.cells import Facts
from gate.judge.decide import decide
from gate.judge.decision import (
    EXIT_CODES,
    VERDICTS,
    Cell,
    Decision,
    Identity,
    NetworkFacts,
    PolicyFacts,
    Reason,
)
from gate.judge.judging import judge
from gate.judge.policy import Policy, Rule, assign, read_policy, refuse_too_few, tier_of

__all__ = [
    "EXIT_CODES",
    "VERDICTS",
    "Cell",
    "Decision",
    "Facts",
    "Identity",
    "NetworkFacts",
    "Policy",
    "PolicyFacts",
    "Reason",
    "Rule",
    "assign",
    "decide",
    "judge",
    "read_policy",
    "refuse_too_few",
    "tier_of",
]
