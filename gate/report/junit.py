"""The decision as JUnit XML, which every CI system reads.

Law: the file has a failure exactly when the decision is not GO. So advisory and waived cells are skipped with their
verdict as the message, and the decision itself is a test case: it fails for what is not a cell (a broken contract, an
uncovered head) too.

One case a prediction, its metrics inside, because that is what viewers show best. Jenkins, the reporters for GitHub and
GitLab all read one `failure` of a case and no more, list cases by `classname` (Jenkins cuts it at the last dot into
package and class, so `front.presence` is camera and head) and show the text of a passed case from `system-out`. And a
thousand predictions are a list that a person can scroll, where metrics x slices are not. A missing `time` is read as
NaN by one of them: it is 0, since nothing here is timed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal
from xml.etree import ElementTree as ET

from gate.judge.decision import Cell, Decision, Reason
from gate.report import asides, figures, words
from gate.report.standing import ABOUT_CELLS, standing, weight

SENTENCES = 20  # cells told in full in one failure; the rest are counted

Outcome = Literal["failed", "inconclusive", "skipped", "passed"]
#: Worst first: a case is what its worst cell is.
_OUTCOMES: tuple[Outcome, ...] = ("failed", "inconclusive", "skipped", "passed")


def junit_xml(decision: Decision) -> str:
    """One case for the decision, then one for each prediction and each group, worst first.

    A case holds every metric over the whole suite and every slice that regressed; its name is the prediction, its
    classname the head. At most one failure a case: that of its worst cell, with all of them in its text.
    """
    cases = [_decision_case(decision)]
    told = _reasons_of(decision)
    cases += [_case(cells, told.get(cells[0].prediction, []), decision) for cells in _by_prediction(decision.cells)]
    counted = {kind: str(sum(case.find(kind) is not None for case in cases)) for kind in ("failure", "skipped")}
    totals = {"tests": str(len(cases)), "failures": counted["failure"], "errors": "0", "skipped": counted["skipped"]}
    root = ET.Element("testsuites", {"name": "gate", **totals, "time": "0"})
    label = f"{decision.candidate.name} {decision.candidate.version} on {decision.suite.name} {decision.suite.version}"
    suite = ET.SubElement(root, "testsuite", {"name": words.name(label), **totals, "time": "0"})
    properties = ET.SubElement(suite, "properties")
    for key, text in _properties(decision):
        ET.SubElement(properties, "property", {"name": key, "value": words.name(text)})
    suite.extend(cases)
    ET.indent(root, " ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def outcome(cell: Cell) -> Outcome:
    """What a cell is to a CI system; `inconclusive` is a failure of that type."""
    match standing(cell):
        case "blocks":
            return "failed"
        case "open":
            return "inconclusive"
        case "acknowledge" | "told":
            return "skipped"
        case "proven":
            return "passed"


def _properties(decision: Decision) -> Iterable[tuple[str, str]]:
    yield "decision", decision.decision
    for verdict, number in words.by_verdict(c for c in decision.cells if c.slice == "all").items():
        yield f"cells.{verdict}", str(number)
    for key in ("candidate", "incumbent", "suite", "policy"):
        yield key, getattr(decision, key).digest
    for anchor in decision.anchors:
        yield "anchor", anchor.digest
    yield "gate", decision.gate_version


def _by_prediction(cells: Iterable[Cell]) -> list[list[Cell]]:
    """The cells that a case tells, by prediction; both predictions and cells worst first."""
    of: dict[str, list[Cell]] = {}
    for cell in sorted(cells, key=words.worst_first):
        if cell.slice == "all" or cell.verdict == "regressed":
            of.setdefault(cell.prediction, []).append(cell)
    return list(of.values())


def _reasons_of(decision: Decision) -> dict[str, list[Reason]]:
    """prediction -> reasons that name it, keep this from being a GO and are about no cell: a missed objective."""
    of: dict[str, list[Reason]] = {}
    for reason in decision.reasons:
        stops = decision.decision != "GO" and weight(reason) in ("blocks", "open")
        if stops and reason.code not in ABOUT_CELLS:
            for prediction in reason.predictions:
                of.setdefault(prediction, []).append(reason)
    return of


def _decision_case(decision: Decision) -> ET.Element:
    case = ET.Element("testcase", {"classname": "gate", "name": "decision", "time": "0"})
    said = "\n".join(f"{words.name(r.code)}: {words.prose(r.text)}" for r in decision.reasons)
    if decision.decision == "GO":
        ET.SubElement(case, "system-out").text = said
    else:
        kind = "inconclusive" if decision.decision == "INCONCLUSIVE" else "no-go"
        failure = ET.SubElement(case, "failure", {"type": kind, "message": words.headline(decision)})
        failure.text = said
    return case


def _case(cells: Sequence[Cell], reasons: Sequence[Reason], decision: Decision) -> ET.Element:
    """One prediction; cells: worst first, at least one. reasons: that name it and block or leave open."""
    name = words.name(cells[0].prediction)
    classname = words.name(cells[0].head or cells[0].task)
    case = ET.Element("testcase", {"classname": classname, "name": name, "time": "0"})
    ordered = sorted(cells, key=lambda c: _OUTCOMES.index(outcome(c)))  # stable: worst first within an outcome
    kind = outcome(ordered[0])
    if kind not in ("failed", "inconclusive") and reasons:
        kind = "failed" if any(weight(r) == "blocks" for r in reasons) else "inconclusive"
        message = words.prose(reasons[0].text)
        verdict = words.name(reasons[0].code)
    else:
        message = _message(ordered[0])
        verdict = "inconclusive" if kind == "inconclusive" else ordered[0].verdict
    if kind == "passed":
        ET.SubElement(case, "system-out").text = "\n".join(_line(c) for c in ordered)
    elif kind == "skipped":
        ET.SubElement(case, "skipped", {"message": message})
        ET.SubElement(case, "system-out").text = "\n".join(_line(c) for c in ordered)
    else:
        failure = ET.SubElement(case, "failure", {"type": verdict, "message": message})
        told = [f"{words.name(r.code)}: {words.prose(r.text)}" for r in reasons]
        told += [_paragraph(c, decision) for c in ordered[:SENTENCES]]
        if len(ordered) > SENTENCES:
            told.append(f"and {len(ordered) - SENTENCES:,} more cells of this prediction in report.html")
        failure.text = "\n".join(told)
    return case


def _message(cell: Cell) -> str:
    """`f1 ↑: regressed: lost 7.13 points of F1 on 212 clips, adjusted p < 0.0001`."""
    because = [words.word(cell.verdict)]
    if cell.waiver is not None:
        because.insert(0, f"waived ({words.name(cell.waiver)})")
    elif cell.tier == "advisory":
        because.insert(0, "advisory")
    if cell.suspect:
        because.append("suspect")
    detail = words.prose(cell.reason) or words.movement(cell)
    return f"{_where(cell)}: {', '.join(because)}: {detail}"


def _where(cell: Cell) -> str:
    """`f1 ↑`, `f1 ↑ on time_of_day=dusk`: the metric as the policy names it."""
    suffix = "" if cell.slice == "all" else f" on {words.name(cell.slice)}"
    return f"{words.name(cell.metric)} {figures.arrow(cell)}{suffix}"


def _line(cell: Cell) -> str:
    """One cell in one line, for a log."""
    if not words.measured(cell):
        return _message(cell)
    scale = figures.scale_of(cell)
    values = f"{figures.value(cell.incumbent, scale)} → {figures.value(cell.candidate, scale)}"
    moved = f"{figures.difference(cell.delta, scale)} {figures.interval(cell, scale)}".strip()
    return f"{_where(cell)}: {words.word(cell.verdict)}: {values}, {moved}, margin {figures.margin(scale)}"


def _paragraph(cell: Cell, decision: Decision) -> str:
    """One cell with everything that is known of it."""
    waits = f" {words.waits_for_clips(cell, decision.counted).capitalize()}." if cell.verdict == "undecided" else ""
    return f"{words.word(cell.verdict)}: {words.sentence(cell, decision)}{asides.beside(cell)}{waits}"
