"""`gate suite plan` and `gate suite aa`: what an exam can prove, and how often it cries wolf."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gate.cli import paths, store
from gate.cli.progress import progress_bar
from gate.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

SuiteArgument = Annotated[Path | None, typer.Argument(help="Folder of the suite.", show_default=False)]
SuiteOption = Annotated[Path | None, typer.Option("--suite", help="Folder of the suite; the only one in suites/.")]
PolicyOption = Annotated[Path | None, typer.Option("--policy", help="Policy file; policy.toml here, or in the suite.")]
ThresholdsOption = Annotated[Path | None, typer.Option("--thresholds", help="Released operating points; thresholds/.")]
TwinOption = Annotated[Path | None, typer.Option("--twin", help="The same bundle, trained with another seed.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of the text.")]


def register(suite_app: typer.Typer) -> None:
    """Add the two commands to `gate suite`."""
    suite_app.command("plan")(plan)
    suite_app.command("aa")(aa)


def plan(
    folder: SuiteArgument = None,
    bundle: Annotated[Path | None, typer.Option("--bundle", help="Bundle that ships now.")] = None,
    twin: TwinOption = None,
    suite: SuiteOption = None,
    policy: PolicyOption = None,
    thresholds: ThresholdsOption = None,
    kept: store.Option = None,
    every: Annotated[bool, typer.Option("--all", help="Print every cell, not only the worst.")] = False,
    json: JsonOption = False,
) -> None:
    """What the suite can prove and certify before there is any candidate, and the clips that are missing."""
    from gate.planning import plan_suite
    from gate.report.plan import plan_json, print_plan

    if folder is not None and suite is not None:
        raise UsageError("the suite is named twice", mend="gate suite plan SUITE --bundle BUNDLE")
    if bundle is None:
        raise UsageError("a plan needs a bundle to measure", mend="gate suite plan SUITE --bundle INCUMBENT")
    exam = paths.suite_folder(folder or suite)
    rules, released = paths.policy_file(policy, exam), paths.thresholds_folder(thresholds)
    with progress_bar() as progress:
        made = plan_suite(
            bundle,
            suite=exam,
            policy=rules,
            thresholds=released,
            twin=twin,
            store=store.opened(kept),
            progress=progress,
        )
    with _reader_may_leave():
        if json:
            typer.echo(plan_json(made), nl=False)
        else:
            print_plan(made, _console(), every=every)


def aa(
    bundle: Annotated[Path, typer.Argument(help="Bundle that ships now.", show_default=False)],
    twin: TwinOption = None,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Shuffled releases.")] = 100,
    suite: SuiteOption = None,
    policy: PolicyOption = None,
    thresholds: ThresholdsOption = None,
    kept: store.Option = None,
    json: JsonOption = False,
) -> None:
    """How often the gate blocks releases that are equally good: false alarms, beside the policy's alpha."""
    from gate.planning import false_alarms
    from gate.report.shuffles import alarms_json, print_alarms

    exam = paths.suite_folder(suite)
    rules, released = paths.policy_file(policy, exam), paths.thresholds_folder(thresholds)
    with progress_bar() as progress:
        found, who = false_alarms(
            bundle,
            suite=exam,
            policy=rules,
            thresholds=released,
            twin=twin,
            repeats=repeats,
            store=store.opened(kept),
            progress=progress,
        )
    with _reader_may_leave():
        if json:
            typer.echo(alarms_json(found, who), nl=False)
        else:
            print_alarms(found, who, _console())


def _console() -> Console:
    """Standard output; what its encoding lacks is escaped, so that no slice of any name ends in an error."""
    from rich.console import Console

    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    return Console(highlight=False)


@contextmanager
def _reader_may_leave() -> Iterator[None]:
    """A reader that goes away is no failure; rich answers a broken pipe with SystemExit(1), which would be NO-GO."""
    try:
        yield
    except (BrokenPipeError, SystemExit):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
