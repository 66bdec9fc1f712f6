"""A result on disk and on standard output: what every command does with it that compares."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from gate.cli.streams import tell
from gate.errors import GateError

if TYPE_CHECKING:
    from gate.pipeline import Result


def write_result(
    result: Result, folder: Path, time: str, frames: int, progress: Callable[[int, int], None]
) -> dict[str, Path]:
    """Everything about a result into its folder; the paths of the reports by file name."""
    from gate.atomic import write_text
    from gate.calibrate import render, thresholds_path
    from gate.judge.anchors import render_anchors
    from gate.report import write_reports

    decision = result.decision
    sides = {"incumbent": result.points_incumbent, "candidate": result.points_candidate}
    for side, points in sides.items():
        who = getattr(decision, side)
        path = thresholds_path(folder / "thresholds" / side, decision.suite.name, who.name, who.version)
        write_text(path, render(points, suite=decision.suite.digest, bundle=who.digest))
    if result.anchors:
        write_text(folder / "anchors.toml", render_anchors(result.anchors, suite=decision.suite.digest))
    return write_reports(
        decision,
        result.compared,
        folder,
        time=time,
        title=f"{decision.candidate.name} {decision.candidate.version}",
        command=shlex.join(["gate", *sys.argv[1:]]),
        frames=frames,
        progress=progress,
        tell=tell,
    )


def print_result(result: Result, written: Mapping[str, Path], json: bool) -> None:
    """The table, or verdict.json, on standard output; where the reports are, when that cannot take it."""
    from rich.console import Console

    from gate.report import print_decision

    decision = result.decision
    try:
        if json:
            typer.echo(written["verdict.json"].read_text(encoding="utf-8"), nl=False)
        else:
            print_decision(decision, Console())
            typer.echo(f"report: {written['report.html']}")
    except (GateError, OSError) as error:  # what was decided stays decided, and is on disk
        why = error.what if isinstance(error, GateError) else error.strerror
        tell(f"warning: {why}; what was decided is in {written['report.html'].parent}")
