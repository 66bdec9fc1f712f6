"""`gate ci`: the pull-request check."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import sleep, time
from typing import TYPE_CHECKING, Annotated

import typer

from gate.cli import paths, store, streams
from gate.cli.progress import progress_bar
from gate.cli.reports import print_result, write_result
from gate.errors import GateError, PublishError, RefusedError, UsageError, shown

if TYPE_CHECKING:
    from gate.github import Answer, Change, Situation

#: What no program of a candidate may find in its environment.
SECRETS = ("ACTIONS_", "GATE_APP_", "GITHUB_TOKEN", "GH_TOKEN", "SSH_AUTH_SOCK")
#: What a decision leaves in the folder, and a refusal does not.
STALE = ("verdict.json", "report.html", "signoff.html", "gate.sarif", "flips.parquet")


def ci(
    base: Annotated[str | None, typer.Option("--base", help="Protected commit; the event's.")] = None,
    head: Annotated[str | None, typer.Option("--head", help="Commit that proposes; the event's, or HEAD.")] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for the reports.")] = Path("reports/ci"),
    kept: store.Option = None,
    require_publish: Annotated[
        bool, typer.Option("--require-publish", help="End with 4 when a pass could not be published.")
    ] = False,
    payload: Annotated[
        Path | None, typer.Option("--from", help="Judge nothing; publish the gate-publish.json of another run.")
    ] = None,
) -> None:
    """The pull-request check: what the head's release.toml proposes against what the base's ships, under the base's
    suite, policy and thresholds. Writes reports and job summary, and publishes on GitHub.

    The exit code is the decision's, whatever GitHub answers."""
    from gate.github import runner, situation

    environment = dict(os.environ)
    where = situation(environment, base, head)
    if payload is not None:
        _publish_only(environment, where, payload, out)
        return
    for name in [n for n in environment if n.startswith(SECRETS)]:
        del os.environ[name]
    if links := [p for p in (out, *out.parents) if p.is_symlink() and not p.is_absolute()]:
        raise UsageError(
            "this link may be the head's, and leads elsewhere", where=str(links[0]), mend="choose another --out"
        )
    paths.writable(out)
    _forget(out)
    with _without_commands(environment):
        where, answer, error = _judged(where, out, kept)
    runner.write_files(out, where.head, answer)
    said = answer.warnings if error is not None else (*answer.warnings, answer.title)
    streams.tell("\n".join(said))
    missing = _told(environment, where, answer, out)
    if error is not None:
        raise error
    if missing and require_publish and answer.exit_code == 0:
        raise PublishError("the decision stands, and was not published", mend="see above, and run the job again")
    raise typer.Exit(answer.exit_code)


def _publish_only(environment: Mapping[str, str], where: Situation, payload: Path, out: Path) -> None:
    from gate.github import runner

    answer = runner.read_answer(payload, where.head)
    if answer is None:  # a check on every pull request of a fork would be noise, and could be no pass
        typer.echo("no release is proposed: nothing to publish", err=True)
    elif _told(environment, where, answer, out):
        raise PublishError("nothing, or not all, was published", mend="see above, and run the job again")


def _judged(where: Situation, out: Path, kept: str | None) -> tuple[Situation, Answer, GateError | None]:
    """The answer, with the commit that it belongs on, and the error when there is no decision."""
    from gate.github import annotations, answer, change_of, tree

    change = None
    try:
        repo = tree.repository()
        change = change_of(repo, where.base, where.head)
        where = replace(where, head=change.head)
        return where, _decided(repo, change, out, kept), None
    except GateError as problem:
        error = problem
    except Exception as problem:  # a crash is no pass either, and the check has to say so
        if os.environ.get("GATE_TRACEBACK"):
            raise
        error = GateError(f"internal error: {type(problem).__name__}: {shown(problem)}")
    _forget(out)
    edited = change.edited if change is not None else ()
    return where, answer.of_error(error, annotations.of_error(error), edited), error


def _forget(out: Path) -> None:
    """Remove reports that must not stand for this run's."""
    for name in STALE:
        (out / name).unlink(missing_ok=True)


def _decided(repo: Path, change: Change, out: Path, kept: str | None) -> Answer:
    from gate.github import annotations, answer, proposal_of
    from gate.pipeline import compare_bundles

    with proposal_of(repo, change) as proposal:
        if proposal is None:
            return answer.of_nothing(change.edited)
        with progress_bar() as progress:
            result = compare_bundles(
                proposal.incumbent,
                proposal.candidate,
                suite=proposal.suite,
                policy=proposal.policy,
                thresholds=proposal.thresholds,
                evidence=[proposal.evidence] if proposal.evidence is not None else [],
                store=store.opened(kept),
                progress=progress,
                tell=store.said_once(),
            )
            decision = result.decision
            if (decision.incumbent.digest, decision.candidate.digest) != proposal.digests:
                raise RefusedError("a bundle changed while it was judged", mend="run the check again")
            written = write_result(result, out, paths.now(), 60, lambda done, of: progress("frames", done, of))
        print_result(result, written, json=False)
        places = annotations.of_decision(decision, proposal)
        return answer.of_decision(decision, places, change.edited)


def _told(environment: Mapping[str, str], where: Situation, answer: Answer, out: Path) -> tuple[str, ...]:
    """Leave the answer in the run, then on GitHub; answers what was not published, a line each."""
    from gate.github import annotations, runner
    from gate.github.check import connect
    from gate.github.publish import Published, publish

    runner.write_summary(environment, answer)
    in_actions = environment.get("GITHUB_ACTIONS") == "true"
    if in_actions:
        for line in annotations.commands(answer.annotations):
            typer.echo(line)
    published = Published("", ())
    if where.repository and where.read_only:
        published = Published("", ("a run of a fork or of Dependabot may not write: see the job summary",))
    elif where.repository:
        try:
            published = publish(connect(environment, sleep=sleep, clock=time), where, answer)
        except GateError as error:
            published = Published("", (error.what,))
    report = out / "report.html"
    facts = {"report-path": str(report) if report.is_file() else "", "check-url": published.url}
    refused = runner.write_outputs(environment, answer, facts)
    missing = (
        *published.missing,
        *(f"the output {name}, for its characters" for name in refused),
    )
    if missing:
        line = f"not published: {'; '.join(missing)}"
        typer.echo(annotations.notice(line) if in_actions else line, err=not in_actions)
    return published.missing


@contextmanager
def _without_commands(environment: Mapping[str, str]) -> Iterator[None]:
    """Nothing that is printed meanwhile is a workflow command, whatever name stands at the start of a line."""
    word = secrets.token_hex(16)
    inside = environment.get("GITHUB_ACTIONS") == "true"
    if inside:
        print(f"::stop-commands::{word}", flush=True)
    try:
        yield
    finally:
        if inside:
            print(f"\n::{word}::", flush=True)
