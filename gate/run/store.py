"""The evidence store: a folder of packs by address, so that nothing is run twice and a killed run goes on.

    store.toml                        says that this folder is a store, and how large it may get
    ab/cdef.../<address>.safetensors  ab/cdef... is the digest of the scope: suite, runtime, versions
    notes/<digest>.json               what took long to find out (`gate.run.notes`)
    quarantine/                       what was damaged

A pack is trusted when its own digest holds and it says that it is what its name says. Runs share a store without locks:
packs are written whole or not at all, the same address always holds the same bytes, and whoever finds a pack gone runs
its frames again. Packs that were not used for longest go first when the store outgrows its limit.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import re
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gate.atomic import write_bytes, write_text
from gate.errors import ConfigError, EvidenceError, GateError, UsageError, shown
from gate.heads import Head
from gate.run.pack import Pack, Scope, address, asked, peeked, to_bytes, unpacked, verified
from gate.run.spans import Part, Span
from gate.strict import read_toml

MARKER, QUARANTINE, NOTES, SCHEMA = "store.toml", "quarantine", "notes", "gate.store/1"
#: Files younger than this are never removed: a run that goes on beside may be about to read them.
YOUNG_S = 60
#: Half-written files of runs that were killed are removed when they are older than any write can be.
ABANDONED_S = 3600
MAX_LIMIT_GB = 1e9
_SHELF = re.compile(r"[0-9a-f]{2}"), re.compile(r"[0-9a-f]{62}")
_PACK = re.compile(r"[0-9a-f]{64}\.safetensors")
_NOTE = re.compile(r"[0-9a-f]{64}\.json")
_ABANDONED = re.compile(r"\.[0-9a-f]{64}\.(?:safetensors|json)\..+")
_ABOUT = f"""\
# An evidence store of gate. Everything in here can be made again; the folder may be deleted when no run uses it.
schema = "{SCHEMA}"
limit_gb = 10.0     # above it, evidence that was not used for longest is removed
"""


#: Files, with the heads that each is thought to hold.
Packs = Sequence[tuple[Path, frozenset[str]]]


@dataclass(frozen=True)
class _Marker:
    schema: str
    limit_gb: float = 10.0


@dataclass(frozen=True)
class Store:
    """root: a folder with a marker. limit: bytes. tell: takes a line for the person who waits."""

    root: Path
    limit: int
    tell: Callable[[str], None]


@dataclass(frozen=True)
class Entry:
    """A file of a store. used: when last read or written, s since 1970. kind: pack, note, damaged or abandoned."""

    path: Path
    size: int
    used: float
    kind: str


def open_store(root: Path, tell: Callable[[str], None], *, required: bool) -> Store | None:
    """The store in a folder, made when there is nothing there.

    required: somebody named this folder, so a folder that is no store, or cannot be made one, raises UsageError. Else
    the run goes on without a store: `tell` says why, and None is answered.
    """
    try:
        if not os.path.isfile(root / MARKER):  # which is no error in a folder that may not be entered
            _found(root)
        return known_store(root, tell)
    except GateError as error:
        if required:
            raise
        tell(f"warning: no evidence is kept: {error}")
        return None


def _found(root: Path) -> None:
    """Make a store in a folder that does not exist or is empty."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        # Two runs may begin at once: the other one's marker is on its way, or there by now, with more beside it.
        strange = [n for n in sorted(os.listdir(root)) if not n.startswith((f".{MARKER}.", MARKER, "lost+found"))]
        if os.path.isfile(root / MARKER):
            return
    except OSError as error:
        raise UsageError(
            f"an evidence store cannot be made there: {error.strerror}",
            where=str(root),
            mend="choose a writable folder with --store, or --store none",
        ) from error
    if strange:
        raise UsageError(
            f"this folder is no evidence store: it has no {MARKER}, and holds {shown(strange[0])}",
            where=str(root),
            mend="name an empty or a new folder with --store, or --store none",
        )
    write_text(root / MARKER, _ABOUT)


def known_store(root: Path, tell: Callable[[str], None]) -> Store:
    """The store in a folder that has a marker. Raises UsageError for any other folder."""
    if not os.path.isfile(root / MARKER):  # which is no error in a folder that may not be entered
        raise UsageError(
            f"this folder is no evidence store: it has no {MARKER}", where=str(root), mend="name the folder of a store"
        )
    marker = read_toml(root / MARKER, _Marker)
    if marker.schema != SCHEMA:
        raise ConfigError(
            f"a store of another kind: {shown(marker.schema, 40)}, this gate has {SCHEMA}",
            where=str(root / MARKER),
            mend="name another folder with --store",
        )
    if marker.limit_gb > MAX_LIMIT_GB:
        raise ConfigError(
            f"limit_gb is above {MAX_LIMIT_GB:,.0f}, more than any disk holds",
            where=str(root / MARKER),
            mend="say how large the store may get",
        )
    if marker.limit_gb < 0:
        raise ConfigError("limit_gb is negative", where=str(root / MARKER), mend="say how large the store may get")
    return Store(root, int(marker.limit_gb * 1e9), tell)


def sought(store: Store, scope: Scope, spans: Sequence[Span], made: Mapping[str, str]) -> list[Packs]:
    """For each span, the packs that say they hold some of these heads as they are made now, and which; nothing of it
    verified. Where all of them were run together that is one pack, and no other is looked for.

    made: head -> digest of what makes it.
    """
    shelf: dict[Span, list[tuple[Path, Mapping[str, str]]]] | None = None
    found: list[Packs] = []
    for span in spans:
        path = _path(store, Pack(scope, span, made, {}))
        if os.path.exists(path):
            found.append([(path, frozenset(made))])
            continue
        shelf = _shelf(store, scope) if shelf is None else shelf
        said = [(p, frozenset(h for h, by in holds.items() if made.get(h) == by)) for p, holds in shelf.get(span, ())]
        found.append([(p, names) for p, names in said if names])
    return found


def recall(store: Store, packs: Packs, heads: Mapping[str, Head]) -> dict[str, Part]:
    """head -> what packs of one span, as they were sought, keep of it; heads: of the suite, by name.

    Damaged packs are set aside, and said to be.
    """
    parts: dict[str, Part] = {}
    for path, names in packs:
        useful = names - parts.keys()
        pack = _read(store, path, heads) if useful else None
        parts |= {h: pack.parts[h] for h in useful} if pack else {}
    return parts


def keep(store: Store, pack: Pack) -> bool:
    """Write a pack; False, and said why, when the store cannot be written: the run goes on without it."""
    path = _path(store, pack)
    try:
        # Folder by folder: a store that has vanished is not to be made again without its marker.
        for folder in (path.parent.parent, path.parent):
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
        write_bytes(path, to_bytes(pack))
    except (OSError, UsageError) as error:
        why = error.strerror if isinstance(error, OSError) else error.what.removeprefix("cannot be written: ")
        store.tell(
            f"warning: the evidence store {store.root} cannot be written ({why}); "
            "this run goes on, and what it finds out is not kept"
        )
        return False
    return True


def _path(store: Store, question: Pack) -> Path:
    return _folder(store, question.scope) / f"{address(question)}.safetensors"


def _folder(store: Store, scope: Scope) -> Path:
    name = hashlib.sha256(repr(scope).encode()).hexdigest()
    return store.root / name[:2] / name[2:]


def _read(store: Store, path: Path, heads: Mapping[str, Head]) -> Pack | None:
    """The pack in a file; None when it is gone or damaged."""
    try:
        pack = unpacked(*_sound(path), heads, str(path))
    except FileNotFoundError:
        return None
    except (EvidenceError, OSError) as error:
        quarantine(store, path, error)
        return None
    with contextlib.suppress(OSError):  # a store that cannot be written can still be read
        os.utime(path)
    return pack


def _sound(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is in a file whose digest holds, and which is what its name says. Raises EvidenceError and OSError."""
    about, arrays = verified(path.read_bytes(), str(path))
    try:
        named = address(asked(about))
    except (ValueError, KeyError, TypeError):
        named = ""
    if named != path.stem:
        raise EvidenceError("this is the evidence of something else", where=str(path))
    return about, arrays


def _shelf(store: Store, scope: Scope) -> dict[Span, list[tuple[Path, Mapping[str, str]]]]:
    """Packs of a scope by span, with the heads that they say they hold; nothing of it verified."""
    found: dict[Span, list[tuple[Path, Mapping[str, str]]]] = {}
    folder = _folder(store, scope)
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".safetensors"))
    except FileNotFoundError:
        return found
    except OSError as error:
        store.tell(f"warning: {folder} cannot be read ({error.strerror}); what it holds is run again")
        return found
    for path in (folder / name for name in names):
        try:
            question = peeked(path)
            found.setdefault(question.span, []).append((path, question.made_by))
        except FileNotFoundError:
            continue
        except (EvidenceError, OSError) as error:
            quarantine(store, path, error)
    return found


def quarantine(store: Store, path: Path, error: EvidenceError | OSError) -> None:
    """Set a damaged file aside, and say so; one that cannot be read stays where it is."""
    if isinstance(error, OSError):
        store.tell(f"warning: {path} cannot be read ({error.strerror}); what it holds is run again")
        return
    aside = store.root / QUARANTINE / path.name
    try:
        with contextlib.suppress(FileExistsError):
            aside.parent.mkdir()
        os.replace(path, aside)
        where = f"it was moved to {aside}"
    except FileNotFoundError:
        return  # another run was faster
    except OSError as problem:
        where = f"it cannot be moved away ({problem.strerror})"
    store.tell(f"warning: {path}: {error.what}; {where}, and what it held is run again")


def entries(store: Store) -> Iterator[Entry]:
    """Every file of the store; nothing that only lies in its folder, and no link is followed."""
    for first in _inside(store.root, _SHELF[0], stat.S_ISDIR):
        for second in _inside(first[0], _SHELF[1], stat.S_ISDIR):
            for kind, pattern in (("pack", _PACK), ("abandoned", _ABANDONED)):
                for path, found in _inside(second[0], pattern, stat.S_ISREG):
                    yield Entry(path, found.st_size, found.st_mtime, kind)
    for path, found in _inside(store.root / QUARANTINE, _PACK, stat.S_ISREG):
        yield Entry(path, found.st_size, found.st_mtime, "damaged")
    for kind, pattern in (("note", _NOTE), ("abandoned", _ABANDONED)):
        for path, found in _inside(store.root / NOTES, pattern, stat.S_ISREG):
            yield Entry(path, found.st_size, found.st_mtime, kind)


def _inside(folder: Path, name: re.Pattern[str], kind: Callable[[int], bool]) -> list[tuple[Path, os.stat_result]]:
    found = []
    with contextlib.suppress(OSError):  # folders and files go while others look at them
        for item in sorted(os.listdir(folder)):
            with contextlib.suppress(OSError):
                about = os.lstat(folder / item)
                if name.fullmatch(item) and kind(about.st_mode):
                    found.append((folder / item, about))
    return found


def collect(store: Store, *, all_damaged: bool = False) -> list[Entry]:
    """Remove what is abandoned, and what was not used for longest while the store is above its limit; what was removed.

    Damaged files and notes go before packs; damaged ones, with `all_damaged`, whether there is room or not. What is
    younger than a minute stays. Raises UsageError when the folder is no store any more.
    """
    known_store(store.root, store.tell)
    now, found = time.time(), list(entries(store))
    over = sum(entry.size for entry in found) - store.limit
    gone, stuck = list[Entry](), list[str]()
    for entry in sorted(found, key=lambda e: (e.kind == "pack", -_age(e, now))):
        if _age(entry, now) < (ABANDONED_S if entry.kind == "abandoned" else YOUNG_S):
            continue
        if over > 0 or entry.kind == "abandoned" or (all_damaged and entry.kind == "damaged"):
            try:
                entry.path.unlink()
            except FileNotFoundError:  # another run was faster
                over -= entry.size
            except OSError as error:
                stuck.append(error.strerror or str(error))
            else:
                gone.append(entry)
                over -= entry.size
    if stuck:
        store.tell(f"warning: {len(stuck):,} files of the store {store.root} could not be removed ({stuck[0]})")
    return gone


def _age(entry: Entry, now: float) -> float:
    """Seconds since it was used; files of the future are the oldest: nothing used them since the clock was right."""
    age = now - entry.used
    return age if age > -YOUNG_S else math.inf


def check(store: Store) -> tuple[int, int]:
    """(packs, damaged ones): every pack read whole, and set aside where its digest or its name does not hold."""
    packs = damaged = 0
    for entry in [e for e in entries(store) if e.kind == "pack"]:
        packs += 1
        try:
            _sound(entry.path)
        except FileNotFoundError:
            packs -= 1
        except (EvidenceError, OSError) as error:
            damaged += 1
            quarantine(store, entry.path, error)
    return packs, damaged
