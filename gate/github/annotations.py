"""Where a finding belongs in the repository: on release.toml, or on the line of suite or policy that asks for it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from gate.errors import GateError, shown
from gate.github.proposal import Proposal
from gate.github.release import FILE, Release
from gate.judge import read_policy
from gate.judge.decision import Cell, Decision
from gate.located import Lines
from gate.report import words
from gate.report.standing import standing, worst_cells
from gate.suite.definition import read_definition

Level = Literal["failure", "warning"]
#: GitHub refuses 64 KiB of a message and 255 characters of a title.
MESSAGE_LIMIT, TITLE_LIMIT = 4_000, 200
# At the start of an error, where no word of a file that it quotes can stand.
_PLACE = re.compile(r"head:((?:[A-Za-z0-9_][A-Za-z0-9_.-]*/)*[A-Za-z0-9_][A-Za-z0-9_.-]*):([1-9]\d{0,6})\b")


@dataclass(frozen=True)
class Annotation:
    """One finding at a line, from 1, of a file of the repository. title, message: plain text."""

    path: str
    line: int
    level: Level
    title: str
    message: str


def of_decision(decision: Decision, proposal: Proposal) -> tuple[Annotation, ...]:
    """One annotation for each prediction or group that somebody must look at, worst first, then one for the release."""
    definition, places = read_definition(proposal.suite / "suite.toml")
    heads = {rule.head: places.at("heads", k, "head") for k, rule in enumerate(definition.heads)}
    groups, shipping = read_policy(proposal.policy).lines, proposal.shipping
    found = [_of_cell(cell, decision, shipping, heads, groups) for cell in worst_cells(decision)]
    if decision.decision != "GO":
        level: Level = "failure" if decision.decision == "NO-GO" else "warning"
        text = " ".join(words.prose(reason.text) for reason in decision.reasons)
        title, message = f"{decision.decision}: {words.headline(decision)}", text
        found.append(_made(FILE, proposal.lines.at("release", "digest"), level, title, message))
    return tuple(found)


def of_error(error: GateError) -> tuple[Annotation, ...]:
    """One annotation, on the line of the head's file that the error names, or on release.toml."""
    text = str(error)
    place = _PLACE.match(text)
    path, line = (place[1], int(place[2])) if place else (FILE, 1)
    return (_made(path, line, "failure", "gate could not judge", " ".join(text.split())),)


def commands(annotations: Sequence[Annotation], limit: int = 10) -> Iterator[str]:
    """Workflow commands that show them in the log and on the lines; GitHub shows ten of a step."""
    for a in annotations[:limit]:
        word = "error" if a.level == "failure" else "warning"
        facts = f"file={_property(a.path)},line={a.line},title={_property(a.title)}"
        yield f"::{word} {facts}::{_escaped(a.message)}"


def notice(text: str) -> str:
    """The workflow command that shows a line without blaming a file."""
    return f"::notice title=gate::{_escaped(shown(text, MESSAGE_LIMIT))}"


def _of_cell(cell: Cell, decision: Decision, shipping: Release, heads: dict[str, int], groups: Lines) -> Annotation:
    path, line = f"{shipping.suite}/suite.toml", heads.get(cell.head, 1)
    if words.is_group(cell):
        path, line = shipping.policy, groups.at("groups", cell.prediction.removeprefix("group:"))
    level: Level = "failure" if standing(cell) == "blocks" else "warning"
    return _made(
        path, line, level, f"{words.name(cell.prediction)}: {words.word(cell.verdict)}", words.sentence(cell, decision)
    )


def _made(path: str, line: int, level: Level, title: str, message: str) -> Annotation:
    return Annotation(path, line, level, shown(title, TITLE_LIMIT), shown(message, MESSAGE_LIMIT))


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")
