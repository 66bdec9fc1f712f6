"""`gate store stat|gc|verify`, and where the store is when the command line does not say."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gate.cli import streams
from gate.cli.paths import cache
from gate.errors import UsageError

if TYPE_CHECKING:
    from gate.run.store import Store

store_app = typer.Typer(help="Evidence that is kept, so that nothing is run twice.", no_args_is_help=True)

Option = Annotated[
    str | None,
    typer.Option("--store", help="Folder where evidence is kept between runs, or none; $GATE_STORE, ~/.cache/gate."),
]
Folder = Annotated[
    Path | None, typer.Argument(help="Folder of the store; $GATE_STORE, ~/.cache/gate.", show_default=False)
]


def opened(given: str | None) -> Store | None:
    """The store that the command line, or $GATE_STORE names, or the one in the user's cache; None for `none`.

    A folder that somebody named must be a store, or able to become one (UsageError). Where the cache cannot hold one,
    the work goes on without, and a warning says why.
    """
    named = given or os.environ.get("GATE_STORE")
    if named == "none":
        return None
    from gate.run.store import open_store

    try:
        return open_store(Path(named) if named else _default(), said_once(), required=bool(named))
    except UsageError as error:
        if named:
            raise
        streams.tell(f"warning: no evidence is kept: {error.brief}")
        return None


def _default() -> Path:
    return cache() / "gate"


def said_once() -> Callable[[str], None]:
    """Prints a line to stderr, the same one only once: what is wrong with a store is wrong for every span."""
    said: set[str] = set()

    def tell(line: str) -> None:
        if line not in said:
            said.add(line)
            streams.tell(line)

    return tell


def _known(folder: Path | None) -> Store:
    from gate.run.store import known_store

    named = os.environ.get("GATE_STORE")
    return known_store(folder or (Path(named) if named and named != "none" else _default()), said_once())


@store_app.command("stat")
def store_stat(folder: Folder = None) -> None:
    """How much is kept, how large it may get, and when it was last used."""
    from gate.report.words import count
    from gate.run.store import entries

    store = _known(folder)
    found = list(entries(store))
    packs = [e for e in found if e.kind == "pack"]
    typer.echo(f"{store.root}: {_size(sum(e.size for e in found))} of at most {_size(store.limit)}")
    pairs = len({e.path.parent for e in packs})
    typer.echo(f"{count(len(packs), 'pack')} for {count(pairs, 'pair')} of suite and runtime")
    for kind, what in (("damaged", "damaged, in quarantine"), ("abandoned", "half-written by runs that were killed")):
        if number := sum(e.kind == kind for e in found):
            typer.echo(f"{number:,} {what}")
    if packs:
        typer.echo(f"last used: {_day(min(e.used for e in packs))} to {_day(max(e.used for e in packs))}")


@store_app.command("gc")
def store_gc(folder: Folder = None) -> None:
    """Remove what is damaged or half-written, and what was not used for longest while the store is above its limit;
    nothing that is younger than a minute."""
    from gate.report.words import count
    from gate.run.store import collect

    store = _known(folder)
    gone = collect(store, all_damaged=True)
    typer.echo(f"{store.root}: {count(len(gone), 'file')} removed, {_size(sum(e.size for e in gone))}")


@store_app.command("verify")
def store_verify(folder: Folder = None) -> None:
    """Read every pack; what does not hold is moved to quarantine, and the command ends with 4."""
    from gate.report.words import count
    from gate.run.store import check

    store = _known(folder)
    packs, damaged = check(store)
    typer.echo(f"{store.root}: {count(packs, 'pack')}, {damaged:,} damaged")
    raise typer.Exit(4 if damaged else 0)


def _size(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _day(seconds: float) -> str:
    last = 253_402_300_799  # of the year 9999, which is as far as a calendar goes
    return datetime.fromtimestamp(min(max(seconds, 0), last), UTC).isoformat(timespec="minutes")
