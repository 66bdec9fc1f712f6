"""`show`: what a suite or a bundle holds, as plain tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from shutil import get_terminal_size
from textwrap import wrap

import typer

from gate.bundle import Bundle, Description, Network, Port, describe
from gate.suite import Suite
from gate.suite.frames import SPLITS

DIGITS = 12  # of a digest: enough to compare two by eye


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


def show_bundle(bundle: Bundle, suite: Suite | None = None) -> None:
    """What comes in, networks with what they read, heads; suite: how many predictions it judges of each.
    Shapes are of one frame.
    """
    # All programs before the first line: a refused one leaves half a table otherwise.
    described = describe(bundle)
    kinds = sum((Counter(told.weights) for told in described.values()), Counter[str]())
    judged = _judged(suite) if suite is not None else {}
    typer.echo(f"bundle {bundle.name} {bundle.version}{'' if bundle.locked else '  (not locked)'}\n{bundle.digest}")
    heads, size = sum(len(d.heads) for d in described.values()), sum(d.size for d in described.values())
    judges = f"; judged by {suite.name} {suite.version}: {len(suite.predictions):,} predictions" if suite else ""
    typer.echo(f"networks: {len(bundle.networks):,}; heads of programs: {heads:,}{judges}")
    typer.echo(f"parameters: {kinds.total():,} in {_types(kinds)}; {size:,} bytes" if kinds else "no programs")
    inputs = dict[tuple[str, str, str], list[str]]()
    for network in bundle.networks:
        ports = {port.name: port for port in described[network.name].inputs} if network.program else {}
        for name, source in network.inputs:
            if "." not in source:
                shape, kind = _shape(ports[name]) if name in ports else ("", "")
                inputs.setdefault((source, shape, kind), []).append(network.name)
    typer.echo()
    _table(("input", "shape", "type", "read by"), [(*k, ", ".join(names)) for k, names in inputs.items()])
    typer.echo()
    _table(("network", "parameters", "digest", "reads"), list(_networks(bundle, described)))
    typer.echo()
    rows = [
        (f"{name}.{p.name}", *_shape(p), told.digests[p.name][:DIGITS], judged.get(f"{name}.{p.name}", ""))
        for name, told in described.items()
        for p in told.heads
    ]
    _table(("head", "shape", "type", "digest", "judged" if suite else ""), rows)


def _networks(bundle: Bundle, described: Mapping[str, Description]) -> Iterator[tuple[str, str, str, str]]:
    """Rows of networks, each below the one network that it reads, if it is one."""
    children = dict[str, list[Network]]()
    for network in bundle.networks:
        above = set(network.upstream())
        children.setdefault(above.pop() if len(above) == 1 else "", []).append(network)

    def below(parent: str, indent: str) -> Iterator[tuple[str, str, str, str]]:
        for network in children.get(parent, ()):
            told = described.get(network.name)
            parameters = f"{told.parameters:,}" if told else "recorded"
            digest = network.digest.removeprefix("sha256:")[:DIGITS]
            types = _types(told.weights) if told else ""
            more = f"; weights {types}" if types not in ("", "float32") else ""
            yield indent + network.name, parameters, digest, _reads(network) + more
            yield from below(network.name, indent + "  ")

    yield from below("", "")


def _reads(network: Network) -> str:
    """`input main; features of front, rear; its own memory`"""
    if network.program is None:
        return ", ".join(f"{path.name} ({path.stat().st_size:,} bytes)" for path in network.predictions)
    sources = dict[str, list[str]]()
    for name, source in network.inputs:
        where, dot, head = source.partition(".")
        if name not in network.state:
            sources.setdefault(head if dot else "", []).append(where)
    told = [
        f"input {', '.join(names)}" if not head else f"{names[0]}.{head}" if len(names) == 1
        else f"{head} of {', '.join(names)}"
        for head, names in sources.items()
    ]  # fmt: skip
    own = [f"its own {source.partition('.')[2]}" for name, source in network.inputs if name in network.state]
    frames = [f"{network.window} frames of each"] if network.window else []
    return "; ".join(told + own + frames)


def _judged(suite: Suite) -> dict[str, str]:
    """network.output -> how many predictions are judged of it, and as which head where it is only a part of one."""
    found = dict[str, str]()
    for head in suite.heads:
        for k, (_, output) in enumerate(head.outputs):
            number = f"{len(head.predictions):,}" if k == 0 else ""
            part = "" if output == head.name else f"as {head.name.partition('.')[2]}"
            found[output] = f"{number} {part}".strip()
    return found


def _shape(port: Port) -> tuple[str, str]:
    """`(3, any)`, `float32`"""
    sizes = "unknown" if port.frame is None else f"({', '.join('any' if d is None else str(d) for d in port.frame)})"
    return sizes, port.dtype


def _types(weights: Mapping[str, int]) -> str:
    """`int8 98 %, float32 2 %`, or `float32`: types of at least half a percent of the weights."""
    shares = {kind: round(100 * count / sum(weights.values())) for kind, count in weights.items() if count}
    return ", ".join(f"{kind} {share} %" if share < 100 else kind for kind, share in shares.items() if share)


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
    """Columns as wide as what they hold; the last one goes on below itself where the terminal ends."""
    widths = [max(len(str(row[k])) for row in [header, *rows]) for k in range(len(header))]
    before = len(indent) + sum(widths[:-1]) + 2 * (len(widths) - 1)
    room = max(20, get_terminal_size().columns - before)
    for row in [header, *rows]:
        first, *more = wrap(row[-1], room, break_long_words=False, break_on_hyphens=False) or [""]
        cells = (str(v).ljust(w) for v, w in zip(row[:-1], widths, strict=False))
        typer.echo((indent + "".join(f"{cell}  " for cell in cells) + first).rstrip())
        for line in more:
            typer.echo(" " * before + line)
