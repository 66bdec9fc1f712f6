"""Objectives: what a threshold is chosen for, as a policy says it.

max f1 | max f2 | max fbeta(0.5)
max recall where precision >= 0.9            at the point estimate
max recall where precision >= 0.9 at 0.95    proven with confidence 0.95 (method A11.2)
max precision where recall >= 0.8 [at 0.95]
min cost(fn=5, fp=1)                         5 a missed positive, 1 a false alarm
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import Literal

from gate.errors import ConfigError, shown

FORMS = (
    "max f1",
    "max f2",
    "max fbeta(0.5)",
    "max recall where precision >= 0.9",
    "max recall where precision >= 0.9 at 0.95",
    "max precision where recall >= 0.8",
    "max precision where recall >= 0.8 at 0.95",
    "min cost(fn=5, fp=1)",
)
_NUMBER = r"(\d+(?:\.\d+)?)"
_F_BETA = re.compile(rf"max (?:f{_NUMBER}|fbeta ?\( ?{_NUMBER} ?\))")
_WHERE = re.compile(rf"max (recall|precision) where (recall|precision) ?>= ?{_NUMBER}(?: at {_NUMBER})?")
_COST = re.compile(rf"min cost ?\( ?fn ?= ?{_NUMBER} ?, ?fp ?= ?{_NUMBER} ?\)")


@dataclass(frozen=True)
class Objective:
    """kind: what is made best. beta: of `fbeta`. fn, fp: cost of one missed positive and of one false alarm, of `cost`.

    recall, precision (what is made greatest): level: least value of the other one, in (0, 1). confidence: one-sided,
    with which the level must be proven, in (0.5, 1); None when the point estimate is enough.
    """

    kind: Literal["fbeta", "cost", "recall", "precision"]
    beta: float = 1.0
    fn: float = 1.0
    fp: float = 1.0
    level: float = 0.0
    confidence: float | None = None

    @property
    def constrained(self) -> bool:
        return self.kind in ("recall", "precision")

    def met(self, precision: float | None, recall: float | None, bound: float | None) -> bool:
        """Whether an operating point keeps the constraint, by its proven bound where a proof is asked for."""
        if not self.constrained:
            return True
        estimate = precision if self.kind == "recall" else recall
        value = estimate if self.confidence is None else bound
        return value is not None and value >= self.level


@lru_cache(maxsize=4096)
def objective_of(text: str) -> Objective:
    """The objective that a text says; white space is free. Raises ConfigError naming the forms that there are."""
    plain = " ".join(text.split())
    if match := _F_BETA.fullmatch(plain):
        beta = float(match[1] or match[2])
        if beta > 0:
            return Objective("fbeta", beta=beta)
    if (match := _WHERE.fullmatch(plain)) and match[1] != match[2]:
        level, confidence = float(match[3]), float(match[4]) if match[4] else None
        if not 0 < level < 1:
            raise ConfigError(
                f"objective '{shown(plain)}': {match[3]} is not between 0 and 1", mend=f"like '{FORMS[3]}'"
            )
        if confidence is not None and not 0.5 < confidence < 1:
            what = f"objective '{shown(plain)}': the confidence {match[4]} is not between 0.5 and 1"
            raise ConfigError(what, mend=f"like '{FORMS[4]}'")
        return Objective("recall" if match[1] == "recall" else "precision", level=level, confidence=confidence)
    if match := _COST.fullmatch(plain):
        fn, fp = float(match[1]), float(match[2])
        if fn > 0 and fp > 0:
            return Objective("cost", fn=fn, fp=fp)
        raise ConfigError(f"objective '{shown(plain)}': a cost is greater than 0", mend=f"like '{FORMS[7]}'")
    near = get_close_matches(plain, FORMS, 1, 0.5)
    hint = f"did you mean '{near[0]}'? " if near else ""
    raise ConfigError(f"unknown objective '{shown(text)}'", mend=f"{hint}there are: " + "; ".join(FORMS))
