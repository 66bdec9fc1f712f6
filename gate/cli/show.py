"""`show`: what a suite or a bundle holds, as plain tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import typer

from gate.bundle import Bundle, digests_of
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
    _table(
        ("head", "task", "predictions", "score", "unit"),
        [(h.name, h.task, f"{len(h.predictions):,}", h.score or "", h.unit) for h in suite.heads],
    )
    typer.echo(f"{len(suite.predictions):,} predictions")


def show_bundle(bundle: Bundle) -> None:
    """Networks with their heads, and what their files say of themselves."""
    from gate.run.program import describe

    # All programs before the first line: a refused one leaves half a table otherwise.
    described = {n.name: describe(n) for n in bundle.networks if n.program is not None}
    digests = digests_of(bundle, [f"{n.name}.{h}" for n in bundle.networks for h in n.heads])
    typer.echo(f"bundle {bundle.name} {bundle.version}  {bundle.digest}{'' if bundle.locked else '  (not locked)'}")
    for network in bundle.networks:
        typer.echo(f"\nnetwork {network.name}  {network.digest}")
        for name, source in network.inputs:
            typer.echo(f"  reads {name} = {source}")
        if network.program is None:
            for path in network.predictions:
                typer.echo(f"  predictions {path.name}, {path.stat().st_size:,} bytes")
            continue
        parameters, heads = described[network.name]
        typer.echo(
            f"  program {network.program.name}, {network.program.stat().st_size:,} bytes, {parameters:,} parameters"
        )
        rows = [(*row, f"sha256:{digests[f'{network.name}.{row[0]}']}") for row in heads]
        _table(("head", "shape of a frame", "type", "digest"), rows, indent="  ")


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
