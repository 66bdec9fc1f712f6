"""All reports of a decision into one folder: the only file of this package that writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gate import atomic
from gate.judge.decision import CurvePair, Decision
from gate.lock import digest_of
from gate.report.html import render_page
from gate.report.junit import junit_xml
from gate.report.sarif import sarif_json
from gate.report.signoff import signoff_page
from gate.report.summary import summary_markdown
from gate.report.verdict import verdict_json


def write_reports(
    decision: Decision, curves: Sequence[CurvePair], out: Path, *, time: str, title: str, command: str
) -> dict[str, Path]:
    """Write report.html, signoff.html, junit.xml, gate.sarif, summary.md and verdict.json into `out`; the paths by file
    name, in that order.

    `out` is made when needed. Everything is rendered before anything is written, each file is there whole or not at
    all, and verdict.json comes last: where it is, the others are too. Raises UsageError when `out` cannot be written.
    """
    verdict = verdict_json(decision, time=time)
    texts = {
        "report.html": render_page(decision, curves, title=title, command=command),
        "signoff.html": signoff_page(decision, time=time, verdict=digest_of(verdict.encode())),
        "junit.xml": junit_xml(decision),
        "gate.sarif": sarif_json(decision),
        "summary.md": summary_markdown(decision),
        "verdict.json": verdict,
    }
    # A verdict of an earlier run must not stand beside the pages of this one when this run is killed between two files.
    stale = out / "verdict.json"
    if stale.is_file():
        stale.unlink()
    for name, text in texts.items():
        atomic.write_text(out / name, text)
    return {name: out / name for name in texts}
