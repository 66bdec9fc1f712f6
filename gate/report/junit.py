"""The decision as JUnit XML, which every CI system reads.

Law: the file has a failure exactly when the decision is not GO. So advisory and waived cells are skipped with their
verdict as the message, and the decision itself is a test case: it fails for what is not a cell (a broken contract, an
uncovered head) too.
"""

from __future__ import annotations

import re
from typing import Literal
from xml.etree import ElementTree as ET

from gate.judge.decision import Cell, Decision
from gate.report import words

# Characters that XML 1.0 has no way to write, not even as a reference (section 2.2).
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(decision: Decision) -> str:
    """One test case for the decision, one for each prediction x metric over the whole suite, one for each slice that
    regressed. classname is the head, name is `prediction metric` (and the slice in brackets)."""
    cases = [_decision_case(decision)]
    cases += [_cell_case(c, decision) for c in decision.cells if c.slice == "all" or c.verdict == "regressed"]
    failures = sum(case.find("failure") is not None for case in cases)
    skipped = sum(case.find("skipped") is not None for case in cases)
    totals = {"tests": str(len(cases)), "failures": str(failures), "errors": "0", "skipped": str(skipped)}
    root = ET.Element("testsuites", {"name": "gate", **totals})
    label = f"{decision.candidate.name} {decision.candidate.version} on {decision.suite.name} {decision.suite.version}"
    suite = ET.SubElement(root, "testsuite", {"name": _legal(label), **totals})
    properties = ET.SubElement(suite, "properties")
    for key, text in (
        ("decision", decision.decision),
        ("candidate", decision.candidate.digest),
        ("incumbent", decision.incumbent.digest),
        ("suite", decision.suite.digest),
        ("policy", decision.policy.digest),
        ("gate", decision.gate_version),
    ):
        ET.SubElement(properties, "property", {"name": key, "value": _legal(text)})
    suite.extend(cases)
    ET.indent(root, " ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def outcome(cell: Cell) -> Literal["passed", "skipped", "failed", "inconclusive"]:
    """What a cell is to a CI system; `inconclusive` is a failure of that type."""
    match cell.verdict:
        case "non-inferior" | "improved":
            return "passed"
        case "regressed" | "broken":
            return "skipped" if cell.waiver is not None or cell.tier == "advisory" else "failed"
        case "undecided" | "not-measurable":
            critical = cell.tier == "critical" and cell.waiver is None and cell.slice == "all"
            return "inconclusive" if critical else "skipped"


def _decision_case(decision: Decision) -> ET.Element:
    case = ET.Element("testcase", {"classname": "gate", "name": "decision"})
    if decision.decision != "GO":
        kind = "inconclusive" if decision.decision == "INCONCLUSIVE" else "no-go"
        failure = ET.SubElement(case, "failure", {"type": kind, "message": _legal(words.headline(decision))})
        failure.text = _legal("\n".join(f"{r.code}: {r.text}" for r in decision.reasons))
    return case


def _cell_case(cell: Cell, decision: Decision) -> ET.Element:
    suffix = "" if cell.slice == "all" else f" [{cell.slice}]"
    names = {"classname": _legal(cell.head), "name": _legal(f"{cell.prediction} {cell.metric}{suffix}")}
    case = ET.Element("testcase", names)
    kind = outcome(cell)
    if kind == "passed":
        return case
    because = [words.word(cell.verdict)]
    if cell.waiver is not None:
        because.insert(0, f"waived ({cell.waiver})")
    elif cell.tier == "advisory":
        because.insert(0, "advisory")
    if cell.suspect:
        because.append("suspect")
    detail = cell.reason or words.movement(cell)
    message = _legal(f"{', '.join(because)}: {detail}")
    if kind == "skipped":
        ET.SubElement(case, "skipped", {"message": message})
        return case
    verdict = "inconclusive" if kind == "inconclusive" else cell.verdict
    failure = ET.SubElement(case, "failure", {"type": verdict, "message": message})
    waits = f"\n{words.waits_for_clips(cell)}." if cell.verdict == "undecided" else ""
    failure.text = _legal(words.sentence(cell, decision) + waits)
    return case


def _legal(text: str) -> str:
    return _ILLEGAL.sub("", text)
