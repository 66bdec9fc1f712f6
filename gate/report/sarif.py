"""The decision as SARIF 2.1.0, for code scanning: one result for each cell that a person must act on.

Law: there is an error exactly when the decision is NO-GO, and a warning and no error exactly when it is INCONCLUSIVE.
So what blocks is an error, what leaves it open a warning, and a loss that is only told (advisory, waived) a note.

GitHub shows a result only at a line of a file and tracks it by `primaryLocationLineHash`: the file is the policy, which
is what a cell fails, or the suite for what the suite does not judge; the hash is made of the suite's name, prediction,
metric and slice, so that the same loss stays the same alert from release to release.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

from gate.judge.decision import Cell, Decision
from gate.report import asides, words
from gate.report.standing import ABOUT_CELLS, Standing, standing, weight

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
LIMIT = 5_000  # results of a run that GitHub shows; the rest is counted in a notification
FIGURES = (
    "margin", "incumbent", "candidate", "delta", "ci_low", "ci_high", "p_adjusted", "mdr", "clips", "clips_needed",
    "anchor", "delta_anchor", "p_anchor",
)  # fmt: skip
_LEVELS: dict[Standing, str] = {"blocks": "error", "open": "warning"}
_RANK = ("error", "warning", "note")
_RULES = {
    "broken": "A value is missing, NaN or cannot be computed. Missing evidence is never a pass.",
    "regressed": "Proven worse than the incumbent, or than the anchor, by more than chance allows.",
    "undecided": "A critical prediction is neither proven worse nor proven no worse than its margin.",
    "not-measurable": "A prediction that must be proven cannot be measured on this suite.",
    "uncovered": "The candidate emits a head that the suite does not judge.",
    "uncovered-advisory": "The candidate emits a head that the suite does not judge; it does not block.",
    "unattainable": "No threshold meets the objective of a critical prediction.",
    "unproven-critical": "A critical prediction is not proven to meet its objective.",
    "infeasible": "A prediction is not proven to meet its objective; somebody should know.",
    "nothing-measured": "Nothing that gates could be measured: absence of proof is no proof.",
    "suspect": "Predictions look worse without proof; somebody should have looked.",
    "no-anchor": "The anchor lacks a prediction, and the incumbent takes its place.",
    "decision": "The release may not ship.",
}


def sarif_json(decision: Decision, *, policy: str = "policy.toml", suite: str = "suite.toml") -> str:
    """SARIF of a decision, worst first. policy, suite: paths of the two files relative to the repository's root."""
    results = sorted(_results(decision, policy, suite), key=lambda r: _RANK.index(r["level"]))  # stable: worst first
    stops = {"NO-GO": "error", "INCONCLUSIVE": "warning"}.get(decision.decision)
    if stops and not any(r["level"] == stops for r in results):
        subject = _subject(decision.suite.name, "decision")
        results.insert(0, _result("decision", stops, words.headline(decision), policy, subject))
    used = list(dict.fromkeys(r["ruleId"] for r in results))
    for result in results:
        result["ruleIndex"] = used.index(result["ruleId"])
    rules = [_rule(rule) for rule in used]
    invocation: dict[str, Any] = {"executionSuccessful": True, "exitCode": decision.exit_code}
    if len(results) > LIMIT:
        text = f"{len(results) - LIMIT:,} more results are not in this file; verdict.json has every cell"
        invocation["toolExecutionNotifications"] = [{"level": "note", "message": {"text": text}}]
    whole = words.by_verdict(c for c in decision.cells if c.slice == "all")
    run = {
        "tool": {"driver": {"name": "gate", "version": words.name(decision.gate_version), "rules": rules}},
        "invocations": [invocation],
        "results": results[:LIMIT],
        "properties": {
            "decision": decision.decision,
            "cells": whole,
            "predictions": decision.predictions,
            **{key: getattr(decision, key).digest for key in ("candidate", "incumbent", "suite", "policy")},
            "anchors": [anchor.digest for anchor in decision.anchors],
        },
    }
    # ASCII, so that no name can turn a line around; never NaN, which is no JSON.
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=1, allow_nan=False) + "\n"


def _results(decision: Decision, policy: str, suite: str) -> Iterator[dict[str, Any]]:
    told = [c for c in decision.cells if _tells(c)]
    for cell in sorted(told, key=words.worst_first):
        yield _cell_result(cell, decision, policy)
    alerted = {c.prediction for c in told}
    for reason in decision.reasons:
        if weight(reason) == "proven":
            continue  # good news is no alert
        if reason.code in ABOUT_CELLS and reason.predictions and alerted.issuperset(reason.predictions):
            continue
        place = suite if reason.code.startswith("uncovered") else policy
        level = _LEVELS.get(weight(reason), "note")
        subject = _subject(decision.suite.name, *reason.predictions)
        yield _result(words.name(reason.code), level, reason.text, place, subject, reason.predictions)


def _tells(cell: Cell) -> bool:
    return cell.verdict in ("regressed", "broken") or standing(cell) in ("blocks", "open")


def _cell_result(cell: Cell, decision: Decision, policy: str) -> dict[str, Any]:
    where = "" if cell.slice == "all" else f" on {words.name(cell.slice)}"
    # The first sentence is all that a list of alerts shows.
    about = f"{words.name(cell.metric)}{where}, {cell.tier}"
    first = f"{words.name(cell.prediction)} is {words.word(cell.verdict)} ({about})"
    first += f", waived {words.name(cell.waiver)}" if cell.waiver is not None else ""
    text = f"{first}. {words.sentence(cell, decision)}{asides.beside(cell)}"
    if cell.verdict == "undecided":
        text += f" {words.waits_for_clips(cell, decision.counted).capitalize()}."
    level = _LEVELS.get(standing(cell), "note")
    subject = _subject(decision.suite.name, cell.prediction, cell.metric, cell.slice)
    result = _result(cell.verdict, level, text, policy, subject, (cell.prediction,))
    result["properties"] = {
        "metric": words.name(cell.metric), "slice": words.name(cell.slice), "tier": cell.tier,
        "lower_is_better": cell.lower_is_better, "unit": words.name(cell.unit),
        **{name: _finite(getattr(cell, name)) for name in FIGURES},
    }  # fmt: skip
    return result


def _result(
    rule: str, level: str, text: str, place: str, subject: str, predictions: Sequence[str] = ()
) -> dict[str, Any]:
    location: dict[str, Any] = {
        "physicalLocation": {
            "artifactLocation": {"uri": quote(place)},
            "region": {"startLine": 1, "startColumn": 1, "endLine": 1, "endColumn": 2},
        }
    }
    if predictions:
        names = [words.name(p) for p in predictions[:10]]
        location["logicalLocations"] = [{"fullyQualifiedName": name, "kind": "prediction"} for name in names]
    return {
        "ruleId": rule,
        "level": level,
        "message": {"text": _text(text)},
        "locations": [location],
        "partialFingerprints": {"primaryLocationLineHash": f"{subject}:1"},
    }


def _rule(rule: str) -> dict[str, Any]:
    text = _RULES.get(rule, "The gate tells this beside its decision.")
    return {
        "id": rule,
        "shortDescription": {"text": text},
        "fullDescription": {"text": text},
        "help": {"text": f"{text} report.html beside this file has every number."},
    }


def _subject(*parts: str) -> str:
    """16 digits for what a result is about, the same in every run of a suite of this name."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big") + data)  # lengths: ("a", "bc") is not ("ab", "c")
    return digest.hexdigest()[:16]


def _text(text: str) -> str:
    """`text` as a plain SARIF message: braces doubled (SARIF 2.1.0, 3.11.5), and no `](`, which would begin a link."""
    return words.prose(text).replace("{", "{{").replace("}", "}}").replace("](", "] (")


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None
