"""All commands. Each parses, calls one function of the library, renders, and ends with the decision's exit code."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from gate import __version__
from gate.cli import paths, planning, store, streams
from gate.cli.ci import ci
from gate.cli.progress import progress_bar
from gate.cli.reports import print_result, write_result
from gate.errors import GateError, UsageError

#: M_ARENA_MAX of mallopt(3).
_ARENA_MAX = -8

HELP = """Decides whether a new release of a multi-task vision stack may ship.

Exit codes: 0 GO, 1 NO-GO, 2 usage or configuration, 3 INCONCLUSIVE, 4 broken or refused input."""

app = typer.Typer(
    cls=streams.Commands, help=HELP, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="rich"
)
suite_app = typer.Typer(help="The exam: freeze it, check it, look at it.", no_args_is_help=True)
bundle_app = typer.Typer(help="The examined: lock it, check it, look at it.", no_args_is_help=True)
app.add_typer(suite_app, name="suite")
planning.register(suite_app)
app.add_typer(bundle_app, name="bundle")
app.add_typer(store.store_app, name="store")
app.command("ci")(ci)

SuiteOption = Annotated[Path | None, typer.Option("--suite", help="Folder of the suite; the only one in suites/.")]
PolicyOption = Annotated[Path | None, typer.Option("--policy", help="Policy file; policy.toml here, or in the suite.")]
OutOption = Annotated[Path | None, typer.Option("--out", help="Folder for the reports; reports/CANDIDATE.")]
ThresholdsOption = Annotated[Path | None, typer.Option("--thresholds", help="Released operating points; thresholds/.")]
FramesOption = Annotated[int, typer.Option("--frames", min=0, help="Pictures in the report.")]
DeviceOption = Annotated[str, typer.Option("--device", help="Where programs run: cpu, or cuda.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print verdict.json instead of the table.")]


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"gate {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which gate.")
    ] = False,
) -> None:
    pass


def main() -> NoReturn:
    """Entry point; every way out has its exit code."""
    streams.guard()
    tuned()
    try:
        app()
    except GateError as error:
        streams.tell(f"gate: {error}")
        sys.exit(error.exit_code)
    except Exception as error:
        if os.environ.get("GATE_TRACEBACK"):
            raise
        streams.tell(
            f"gate: internal error: {type(error).__name__}: {error}\n"
            "  to mend: this is a fault of gate; run again with GATE_TRACEBACK=1 and report what it prints"
        )
        sys.exit(4)
    sys.exit(0)


def tuned() -> None:
    """Settings of memory for a process that is gate's alone, and has no threads yet."""
    # Thirty thousand cells are no garbage; looking for some among them cost a fourteenth of a second comparison.
    gc.set_threshold(100_000, 50, 100)
    # One heap: with glibc a thread that frees memory keeps it from the others, more than the evidence of two thousand
    # frames was held so. Elsewhere it does nothing.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)


@app.command()
def demo(out: OutOption = None, json: JsonOption = False, kept: store.Option = None) -> None:
    """The main job on the embedded suite: two releases of 48 networks, of which the second lost something."""
    from gate.cli.exam import rendered

    exam = paths.shipped("suites/roadworld")
    folder = out or Path("reports/demo")
    paths.writable(folder)
    typer.echo(
        "Comparing two releases of a synthetic eight-camera stack: 48 networks, 1,000 predictions.\n"
        "The candidate's network `main_objects` learned for longer, and its lamps anew from clips by day; `traffic`,\n"
        "which reads it, follows. All other networks are as they were.",
        err=True,
    )
    with progress_bar("clips") as progress:
        suite = rendered(
            exam,
            paths.shipped("examples/roadworld"),
            paths.cache() / "gate-exams",
            lambda place: typer.echo(f"Rendering the exam once, 281 MB: {place}", err=True),
            lambda done, of: progress("render", done, of),
        )
    bundles, rules, released = exam / "bundles", exam / "policy.toml", Path("thresholds")
    code = _compare(bundles / "incumbent", bundles / "candidate", suite, rules, folder, released, json, kept)
    typer.echo(f"`gate compare` would have ended with exit code {code}; a demo ends with 0.", err=True)


@app.command()
def compare(
    incumbent: Annotated[Path | None, typer.Argument(help="Bundle that ships now.", show_default=False)] = None,
    candidate: Annotated[Path | None, typer.Argument(help="Bundle under test.", show_default=False)] = None,
    incumbent_option: Annotated[Path | None, typer.Option("--incumbent", "--baseline", hidden=True)] = None,
    candidate_option: Annotated[Path | None, typer.Option("--candidate", hidden=True)] = None,
    suite: SuiteOption = None,
    policy: PolicyOption = None,
    out: OutOption = None,
    thresholds: ThresholdsOption = None,
    anchor: Annotated[
        list[Path] | None, typer.Option(help="Older bundle that drift is measured from; repeatable.")
    ] = None,
    anchors: Annotated[Path | None, typer.Option(help="File that says which anchor is whose: anchors.toml.")] = None,
    evidence: Annotated[
        list[Path] | None,
        typer.Option(help="Evidence of the incumbent or an anchor, from `gate run --export`; repeatable."),
    ] = None,
    kept: store.Option = None,
    engine: Annotated[str, typer.Option(help="local")] = "local",
    device: DeviceOption = "cpu",
    frames: FramesOption = 60,
    json: JsonOption = False,
) -> None:
    """May CANDIDATE replace INCUMBENT? Writes report.html, signoff.html, flips.parquet, junit.xml, gate.sarif,
    summary.md and verdict.json."""
    given = [p for p in (incumbent_option, incumbent, candidate, candidate_option) if p is not None]
    if len(given) != 2:
        raise UsageError("compare needs two bundles", mend="gate compare INCUMBENT CANDIDATE")
    for name, value, able in (("--engine", engine, ["local"]), ("--device", device, ["cpu", "cuda"])):
        if value not in able:
            raise UsageError(f"{name} {value} is not in this version", mend=f"use {name} {' or '.join(able)}")
    exam = paths.suite_folder(suite)
    rules, released = paths.policy_file(policy, exam), paths.thresholds_folder(thresholds)
    if anchors is not None and not anchor:
        raise UsageError("--anchors names releases that are not given", mend="name each with --anchor BUNDLE")
    others = (anchor or (), anchors, evidence or (), frames, device)
    raise typer.Exit(_compare(given[0], given[1], exam, rules, out, released, json, kept, *others))


def _compare(
    incumbent: Path,
    candidate: Path,
    exam: Path,
    policy: Path,
    out: Path | None,
    thresholds: Path,
    json: bool,
    kept: str | None,
    anchors: Sequence[Path] = (),
    anchored: Path | None = None,
    evidence: Sequence[Path] = (),
    frames: int = 60,
    device: str = "cpu",
) -> int:
    from gate.pipeline import compare_bundles

    folder = out or Path("reports") / candidate.resolve().name
    paths.writable(folder)
    time, opened = paths.now(), store.opened(kept)
    with progress_bar() as progress:
        result = compare_bundles(
            incumbent,
            candidate,
            suite=exam,
            policy=policy,
            thresholds=thresholds,
            anchors=anchors,
            anchored=anchored,
            evidence=evidence,
            store=opened,
            device=device,
            progress=progress,
            tell=store.said_once(),
        )
        written = write_result(result, folder, time, frames, lambda done, of: progress("frames", done, of))
    print_result(result, written, json)
    return result.decision.exit_code


@app.command()
def run(
    bundle: Path,
    suite: SuiteOption = None,
    export: Annotated[
        Path | None, typer.Option("--export", help="File for the evidence; reports/BUNDLE/evidence.safetensors.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for evidence.safetensors.")] = None,
    kept: store.Option = None,
    device: DeviceOption = "cpu",
) -> None:
    """Run one bundle over the suite and write its evidence, for `gate compare --evidence` elsewhere."""
    from gate.bundle import read_bundle
    from gate.changed import tell_stored
    from gate.run import run as run_bundle
    from gate.run import write_evidence
    from gate.suite import read_suite

    if export is not None and out is not None:
        raise UsageError("the evidence has two places", mend="give --export FILE or --out DIR")
    exam, made = read_suite(paths.suite_folder(suite)), read_bundle(bundle)
    file = export or (out or Path("reports") / bundle.resolve().name) / "evidence.safetensors"
    paths.writable(file.parent, "--export")
    opened = store.opened(kept)
    with progress_bar() as progress:
        answers = run_bundle(made, exam, None, lambda done, of: progress("run", done, of), opened, device)
    tell_stored("run", answers, "the store", store.said_once())
    write_evidence(file, answers, made, exam)
    faults = answers.faults()
    typer.echo(f"{len(exam.predictions):,} predictions on {len(exam.frames.ids):,} frames, {len(faults):,} broken")
    for head in answers.missing:
        typer.echo(f"  {head}: the bundle has no such head")
    for prediction, why in sorted(faults.items()):
        typer.echo(f"  {prediction}: {why}")
    typer.echo(f"evidence: {file}")
    raise typer.Exit(4 if faults or answers.missing else 0)


@app.command()
def calibrate(
    bundle: Path,
    suite: SuiteOption = None,
    policy: PolicyOption = None,
    thresholds: ThresholdsOption = None,
    kept: store.Option = None,
) -> None:
    """Choose the operating points of one bundle and write thresholds/SUITE/BUNDLE-VERSION.toml."""
    from collections import Counter

    from gate.calibrate import write_thresholds
    from gate.pipeline import calibrate_bundle

    folder = paths.suite_folder(suite)
    target = thresholds or Path("thresholds")
    paths.writable(target, "--thresholds")
    with progress_bar() as progress:
        path, exam, made, points = calibrate_bundle(
            bundle,
            suite=folder,
            policy=paths.policy_file(policy, folder),
            thresholds=target,
            store=store.opened(kept),
            progress=progress,
        )
    write_thresholds(path, points, suite=exam.digest, bundle=made.digest)
    for status, count in sorted(Counter(p.status for p in points).items()):
        typer.echo(f"{count:6,} {status}")
    typer.echo(f"thresholds: {path}")


@app.command()
def init(folder: Annotated[Path, typer.Argument(help="Folder of the repository.")] = Path()) -> None:
    """Scaffold suites/ thresholds/ reports/ policy.toml release.toml and the workflow files; what is there is kept."""
    from gate.cli.scaffold import scaffold

    for path, made in scaffold(folder):
        typer.echo(f"{'made' if made else 'kept'} {path}")


@suite_app.command("freeze")
def suite_freeze(folder: Path) -> None:
    """Check all data of a suite and write suite.lock."""
    from gate.suite import open_suite
    from gate.suite.freeze import freeze

    suite = open_suite(folder)
    with progress_bar() as progress:
        results = freeze(suite, lambda done, of: progress("check", done, of))
    for warning in (r for r in results if not r.success):
        streams.tell(f"warning: {warning.expectation}: {warning.observed} ({warning.where})")
    typer.echo(f"{suite.name} {suite.version}: {len(results)} contracts hold, {len(suite.lock.files):,} files locked")
    typer.echo(suite.digest)


@suite_app.command("check")
def suite_check(folder: Path) -> None:
    """Verify suite.lock and every contract of the data."""
    from gate.suite import read_suite
    from gate.suite.freeze import check_data

    suite = read_suite(folder)
    with progress_bar() as progress:
        results = check_data(suite, lambda done, of: progress("check", done, of))
    typer.echo(f"{suite.name} {suite.version}: as frozen, {len(results)} contracts hold")
    typer.echo(suite.digest)


@suite_app.command("show")
def suite_show(folder: Path) -> None:
    """Splits, slices and heads of a suite."""
    from gate.cli.show import show_suite
    from gate.suite import open_suite

    show_suite(open_suite(folder))


@bundle_app.command("lock")
def bundle_lock(folder: Path) -> None:
    """Write bundle.lock; its digest is the bundle id."""
    from gate.bundle import lock_bundle

    lock = lock_bundle(folder)
    typer.echo(f"{lock.name} {lock.version}: {len(lock.files)} files locked")
    typer.echo(lock.digest)


@bundle_app.command("check")
def bundle_check(folder: Path) -> None:
    """Verify bundle.lock and that every program is safe to load."""
    from gate.bundle import read_bundle, scanned

    bundle = read_bundle(folder)
    for program in dict.fromkeys(n.program for n in bundle.networks if n.program is not None):
        scanned(program)
    typer.echo(f"{bundle.name} {bundle.version}: {'as locked' if bundle.locked else 'not locked'}, programs are plain")
    typer.echo(bundle.digest)


@bundle_app.command("show")
def bundle_show(
    folder: Path,
    latency: Annotated[
        bool, typer.Option("--latency", help="Load and time each network on this machine; takes a while.")
    ] = False,
    suite: Annotated[
        Path | None, typer.Option("--suite", help="Suite that judges it: predictions of each head.")
    ] = None,
) -> None:
    """Networks, what they read, heads with shapes of a frame, parameters and digests of a bundle."""
    from gate.bundle import read_bundle
    from gate.cli.show import show_bundle, show_latency
    from gate.suite import open_suite

    bundle = read_bundle(folder)
    show_bundle(bundle, None if suite is None else open_suite(suite))
    if latency:
        with progress_bar() as progress:
            show_latency(bundle, lambda done, of: progress("latency", done, of))


@bundle_app.command("diff")
def bundle_diff(
    old: Path, new: Path, json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False
) -> None:
    """Which heads the change from OLD to NEW can reach, and why, without running anything."""
    from gate.bundle import impact_of, read_bundle
    from gate.cli.impact import impact_json, impact_lines

    before, after = read_bundle(old), read_bundle(new)
    impact = impact_of(before, after)
    typer.echo(impact_json(before, after, impact) if json else "\n".join(impact_lines(before, after, impact)))
