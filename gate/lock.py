"""Locks: the SHA-256 of every file that makes up a suite or a bundle, in one canonical, sorted file.

The digest of a lock is the digest of its canonical text, so it names the whole content; a bundle's id is this digest.
"""

from __future__ import annotations

import hashlib
import os
import re
import tomllib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from gate.atomic import open_regular, read_at_most, write_text
from gate.cores import cores
from gate.errors import LockError, shown

SCHEMA = "gate.lock/1"
_MEND = "restore it, or freeze again"
#: Bytes of a lock: two million files; a bundle has a thousand.
MAX_BYTES = 1 << 28
#: Lines `key = "text"`, comments and the one header: nothing nested, which could cost more than its bytes.
_TEXT = r'"(?:[^"\\\n]|\\.)*+"'
_SHAPE = re.compile(rf"(?:(?:#[^\n]*+|\[files\]|(?:[a-z]++|{_TEXT}) = {_TEXT})?\n)*+")


@dataclass(frozen=True)
class Lock:
    """kind, name, version and evaluator of what was frozen; files: sorted (path, "sha256:...") pairs."""

    kind: Literal["suite", "bundle"]
    name: str
    version: str
    evaluator: str
    files: tuple[tuple[str, str], ...]

    @cached_property
    def digest(self) -> str:
        return digest_of(self._body().encode())

    def _body(self) -> str:
        head = [("schema", SCHEMA), ("kind", self.kind), ("name", self.name), ("version", self.version)]
        head.append(("evaluator", self.evaluator))
        lines = [f"{key} = {_quoted(value)}" for key, value in head]
        lines += ["", "[files]"]
        lines += [f"{_quoted(path)} = {_quoted(digest)}" for path, digest in self.files]
        return "\n".join(lines) + "\n"

    def __str__(self) -> str:
        return (
            f"# Written by `gate {self.kind} {'freeze' if self.kind == 'suite' else 'lock'}`; not edited by hand.\n"
            f"# digest {self.digest}\n{self._body()}"
        )


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    if escaped.isprintable():
        return f'"{escaped}"'
    return '"' + "".join(c if c.isprintable() else f"\\u{ord(c):04X}" for c in escaped) + '"'


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def digest_of_file(path: Path) -> str:
    """Raises LockError when the file is missing, a link, not a regular file or unreadable."""
    try:
        with open_regular(path, LockError) as file:
            return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise LockError(f"cannot be read: {error.strerror}", where=str(path)) from error


def stamp_of(root: Path, files: Iterable[str]) -> str:
    """Digest of what the system says of the named files below `root`: inode, bytes, time of content, time of name and
    rights. It says something else when one is changed or replaced, even by its like; it is empty when one is gone.
    """
    try:
        seen = [os.stat(f"{root}/{file}") for file in files]
    except OSError:
        return ""
    return digest_of(repr([(s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for s in seen]).encode())


def make_lock(
    kind: Literal["suite", "bundle"], root: Path, files: Iterable[str], *, name: str, version: str, evaluator: str
) -> Lock:
    """Lock of the named files below `root`, read now. Raises LockError for names that differ by case alone."""
    ordered = sorted(set(files))
    alike: dict[str, str] = {}
    for file in ordered:
        if (other := alike.setdefault(file.casefold(), file)) != file:
            raise LockError(f"{other} and {file} are one file on some machines", where=str(root), mend="rename one")
    with ThreadPoolExecutor(cores()) as pool:  # hashing runs outside the interpreter's lock
        digests = pool.map(digest_of_file, (root / f for f in ordered))
        return Lock(kind, name, version, evaluator, tuple(zip(ordered, digests, strict=True)))


def write_lock(path: Path, lock: Lock) -> None:
    write_text(path, str(lock))


def read_lock(path: Path, most: int = MAX_BYTES) -> Lock:
    """The lock in a file; `str(read_lock(path))` is the file's text. Raises LockError when it is not a lock."""
    try:
        with open_regular(path, LockError) as file:
            text = read_at_most(file, most).decode()
        if len(text) > most or not _SHAPE.fullmatch(text):
            raise ValueError("lines of another kind, or too many")
        table = tomllib.loads(text)
        if table.get("schema") != SCHEMA:
            raise LockError(f"this is not a {SCHEMA} file", where=str(path), mend=_MEND)
        files = tuple((str(k), str(v)) for k, v in table["files"].items())
        lock = Lock(table["kind"], table["name"], table["version"], table["evaluator"], files)
        same = str(lock) == text
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise LockError(f"this is not a lock: {shown(error)}", where=str(path), mend=_MEND) from error
    if not same:
        raise LockError("the lock itself was changed by hand", where=str(path), mend=_MEND)
    return lock


def verify(recorded: Lock, now: Lock, *, where: Path, mend: str) -> None:
    """Raises LockError naming what differs between a recorded lock and the files as they are."""
    if (recorded.kind, recorded.name, recorded.version) != (now.kind, now.name, now.version):
        raise LockError(
            f"this lock is of the {shown(recorded.kind)} {shown(recorded.name)} {shown(recorded.version)}, "
            f"not of the {now.kind} {shown(now.name)} {shown(now.version)}",
            where=str(where),
            mend=mend,
        )
    before, after = dict(recorded.files), dict(now.files)
    changed = [f for f in before if f in after and before[f] != after[f]]
    gone, new = sorted(before.keys() - after.keys()), sorted(after.keys() - before.keys())
    found = [
        f"{len(names)} {word} ({', '.join(map(shown, names[:3]))}{', …' if len(names) > 3 else ''})"
        for word, names in (("changed", changed), ("missing", gone), ("added", new))
        if names
    ]
    if found:
        raise LockError(f"files differ from the lock: {'; '.join(found)}", where=str(where), mend=mend)
    if recorded.evaluator != now.evaluator:
        raise LockError(
            f"frozen for evaluator {shown(recorded.evaluator)}, this gate has evaluator {now.evaluator}",
            where=str(where),
            mend=mend,
        )
