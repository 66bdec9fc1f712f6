"""`show`: what a suite or a bundle holds, as plain tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import typer

from gate.bundle import Bundle, Description, Port, describe
from gate.suite import Suite
from gate.suite.frames import SPLITS


def show_suite(suite: Suite) -> None:
    """Splits, slices and heads."""
    frames = suite.frames
    typer.echo(f"suite {suite.name} {suite.version}  {suite.digest}")
    for k, name in enumerate(SPLITS):
        clips = len(set(frames.clip[frames.split == k].tolist()))
        typer.echo(f"  {name}: {int((frames.split == k).sum()):,} frames in {clips:,} clips")
    validation = frames.cell_split == 1
    rows = []
    for part in frames.slices:
        inside = part.cells & validation
        clips = len(set(frames.cell_clip[inside].tolist()))
        rows.append((part.name, f"{int(frames.cell_frames[inside].sum()):,}", f"{clips:,}"))
    _table(("slice (validation)", "frames", "clips"), rows)
    for name, given in suite.inputs.items():
        if given.optional:
            files = suite.input_files[name]
            typer.echo(f"input {name}: in {sum(map(bool, files)):,} of {len(files):,} frames")
    _table(
        ("head", "task", "predictions", "score", "unit"),
        [(h.name, h.task, f"{len(h.predictions):,}", h.score or "", h.unit) for h in suite.heads],
    )
    typer.echo(f"{len(suite.predictions):,} predictions")


def show_bundle(bundle: Bundle) -> None:
    """Networks with their heads, what reads what, and what their files say of themselves."""
    # All programs before the first line: a refused one leaves half a table otherwise.
    described = describe(bundle)
    typer.echo(f"bundle {bundle.name} {bundle.version}  {bundle.digest}{'' if bundle.locked else '  (not locked)'}")
    heads, parameters = sum(len(d.heads) for d in described.values()), sum(d.parameters for d in described.values())
    typer.echo(f"networks: {len(bundle.networks):,}; heads of programs: {heads:,}; parameters: {parameters:,}")
    for network in bundle.networks:
        typer.echo(f"\nnetwork {network.name}  {network.digest}")
        if network.program is None:
            for path in network.predictions:
                typer.echo(f"  predictions {path.name}, {path.stat().st_size:,} bytes")
            continue
        told = described[network.name]
        ports = {port.name: port for port in told.inputs}
        for name, source in network.inputs:
            typer.echo(f"  reads {name} = {source}" + (f"  {_frame(ports[name])}" if name in ports else ""))
        for reader in bundle.networks:
            if read := [source for _, source in reader.inputs if source.startswith(f"{network.name}.")]:
                typer.echo(f"  read by {reader.name}: {', '.join(read)}")
        typer.echo(
            f"  program {network.program.name}, {told.size:,} bytes, {told.parameters:,} parameters{_kinds(told)}"
        )
        rows = [(p.name, *_frame(p).rsplit(" ", 1), f"sha256:{told.digests[p.name]}") for p in told.heads]
        _table(("head", "shape of a frame", "type", "digest"), rows, indent="  ")


def _frame(port: Port) -> str:
    """`(3, any) float32`"""
    sizes = "unknown" if port.frame is None else f"({', '.join('any' if d is None else str(d) for d in port.frame)})"
    return f"{sizes} {port.dtype}"


def _kinds(told: Description) -> str:
    """` in int8 98 %, float32 2 %`: types of at least half a percent of the weights."""
    shares = {kind: round(100 * count / told.parameters) for kind, count in told.weights.items() if count}
    named = [f"{kind} {share} %" if share < 100 else kind for kind, share in shares.items() if share]
    return f" in {', '.join(named)}" if named else ""


def show_latency(bundle: Bundle, progress: Callable[[int, int], None]) -> None:
    """Median time of one frame of each network on this machine, and what a network differs from itself by."""
    from gate.judge.latency import noise
    from gate.run.latency import UntimedError, latency
    from gate.run.machine import runtime

    rows = []
    timed = [n for n in bundle.networks if n.program is not None]
    for network in timed:
        try:
            taken = latency([network], seed=0, progress=lambda done, of: progress(done, of * len(timed)))
            rows.append((network.name, f"{taken.p50(0):.3f}", f"{noise(taken, 0.95):.3f}", f"{len(taken.p50_ms)}"))
        except UntimedError as error:
            rows.append((network.name, "none", "none", error.why))
    typer.echo("\nlatency of one frame at batch 1, on " + ", ".join(f"{k} {v}" for k, v in runtime(timed)))
    _table(("network", "p50, ms", "noise (A/A), ms", "blocks of turns"), rows, indent="  ")


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], indent: str = "") -> None:
    widths = [max(len(str(row[k])) for row in [header, *rows]) for k in range(len(header))]
    for row in [header, *rows]:
        typer.echo(indent + "  ".join(str(v).ljust(w) for v, w in zip(row, widths, strict=True)).rstrip())
