"""What GitHub is told: one value for the check, the comment, the job summary and the log.

Whatever comes from a bundle, a suite or a commit is text here, never markup: names are escaped by
`gate.report.summary`, annotations and titles are plain text wherever GitHub shows them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gate.errors import GateError, shown
from gate.github.annotations import Annotation
from gate.judge.decision import Decision
from gate.report import words
from gate.report.summary import code, plain, summary_markdown

Outcome = Literal["GO", "NO-GO", "INCONCLUSIVE", "REFUSED", "NOTHING"]
Conclusion = Literal["success", "failure", "action_required"]

#: GitHub refuses 65,535 bytes of a check's summary and 65,536 characters of a comment; marker and links come on top.
LIMIT = 62_000
TITLE_LIMIT = 200
FILES = 10  # edited files that are named, before the others are counted
_UNDER = "It was judged under the base commit's, and its edits hold for later changes."
LINE_LIMIT = 300  # of a line of an error, all of whose characters may need an entity


@dataclass(frozen=True)
class Answer:
    """outcome: the decision, REFUSED when there is none, NOTHING when no release is proposed.

    summary: Markdown, at most `LIMIT` bytes. warnings: what is said before all else; lines: all in plain sentences.
    digests: of candidate and suite, empty where there are none. waived: predictions that a waiver let through.
    counts: (name, number) of what an output tells. exit_code: of the command.
    """

    outcome: Outcome
    title: str
    summary: str
    lines: tuple[str, ...]
    exit_code: int
    annotations: tuple[Annotation, ...] = ()
    digests: tuple[str, str] = ("", "")
    waived: int = 0
    counts: tuple[tuple[str, int], ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def conclusion(self) -> Conclusion:
        """Never `neutral` or `skipped`: a required check takes both for a pass."""
        match self.outcome:
            case "GO" | "NOTHING":
                return "success"
            case "NO-GO" | "REFUSED":
                return "failure"
            case "INCONCLUSIVE":
                return "action_required"


def of_decision(decision: Decision, annotations: Sequence[Annotation], edited: Sequence[str]) -> Answer:
    """A decision; edited: protected files that the change edits, which is said first."""
    told = _edits(edited)
    headline = words.headline(decision)
    waived = len({c.prediction for c in decision.cells if c.waiver is not None})
    regressed = {c.prediction for c in decision.cells if c.verdict == "regressed"}
    undecided = {c.prediction for c in decision.cells if c.tier == "critical" and c.verdict == "undecided"}
    return Answer(
        decision.decision,
        _title(f"{decision.decision}: {headline}"),
        told + summary_markdown(decision, LIMIT - len(told.encode())),
        (*_warnings(edited), headline, *(words.prose(r.text) for r in decision.reasons)),
        decision.exit_code,
        tuple(annotations),
        (decision.candidate.digest, decision.suite.digest),
        waived,
        (("regressions", len(regressed)), ("inconclusive", len(undecided)), ("waived", waived)),
        _warnings(edited),
    )


def of_error(error: GateError, annotations: Sequence[Annotation], edited: Sequence[str]) -> Answer:
    """A release that could not be judged."""
    said = [shown(line, LINE_LIMIT) for line in str(error).splitlines()[:FILES]]
    listed = "".join(f"- {plain(line)}\n" for line in said)
    return Answer(
        "REFUSED",
        _title(f"gate could not judge: {said[0]}"),
        f"{_edits(edited)}## ⚠ gate could not judge\n\nThis is no pass.\n\n{listed}",
        (*_warnings(edited), *said),
        error.exit_code,
        tuple(annotations),
        warnings=_warnings(edited),
    )


def of_nothing(edited: Sequence[str]) -> Answer:
    """A change that ships what shipped before."""
    said = "No release is proposed: the bundle is the one that ships."
    told = _warnings(edited)
    return Answer(
        "NOTHING", "no release is proposed", f"{_edits(edited)}{said}\n", (*told, said), exit_code=0, warnings=told
    )


def unverified(outcome: Outcome, lines: Sequence[str]) -> Answer:
    """What a run without rights says that it found; it could say anything, so a pass of it is none."""
    note = "This was computed in the pull request's own run, whose workflow the pull request can change: unverified."
    mend = "A maintainer who wants a verified answer runs the gate by hand (workflow_dispatch) on the pull request."
    listed = "".join(f"- {code(line)}\n" for line in lines)
    summary = f"## {outcome}, unverified\n\n{note}\n\n{mend}\n\nIn its words:\n\n"
    while len((summary + listed).encode()) > LIMIT:  # names of hostile characters: fewer lines instead of half a one
        lines = lines[: len(lines) // 2]
        listed = "".join(f"- {code(line)}\n" for line in lines) + "- (more lines are cut here)\n"
    return Answer(
        "INCONCLUSIVE" if outcome in ("GO", "NOTHING") else outcome,
        f"{outcome}, unverified",
        summary + listed,
        (note, *lines),
        exit_code=0,
    )


def _title(text: str) -> str:
    return shown(text, TITLE_LIMIT)


def _edits(edited: Sequence[str]) -> str:
    """Markdown that says what the change edits and does not decide; empty when it edits nothing protected."""
    if not edited:
        return ""
    files = ", ".join(code(name) for name in edited[:FILES])
    more = f" and {len(edited) - FILES:,} more files" if len(edited) > FILES else ""
    return f"> ⚠ **This change edits what it is judged by:** {files}{more}.\n> {_UNDER}\n\n"


def _warnings(edited: Sequence[str]) -> tuple[str, ...]:
    if not edited:
        return ()
    names = words.listed(edited, limit=FILES)
    return (f"This change edits what it is judged by: {names}. {_UNDER}",)
