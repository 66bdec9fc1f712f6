"""Reads a git repository as data: commits, what they differ in, and folders of them as plain files.

Blobs are read raw. Nothing is checked out, so no attribute, filter, hook or link of an examined commit has an effect.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from gate.errors import GateError, RefusedError, UsageError, shown
from gate.lock import digest_of_file, read_lock
from gate.strict import relative_path

_DEEP = "fetch the whole history: actions/checkout with `fetch-depth: 0`, or `git fetch --unshallow`"
_POINTER = re.compile(rb"version https://git-lfs\.github\.com/spec/v1\noid sha256:([0-9a-f]{64})\nsize (\d{1,18})\n")
_COPIED = 1 << 20  # bytes at a time
# Objects as their ids say, paths as they are written, and no program that the clone's configuration may name.
_GIT = ("git", "--no-replace-objects", "--literal-pathspecs", "-c", "core.fsmonitor=false")


def repository() -> Path:
    """The root of the git repository that this process stands in."""
    return Path(_git(Path(), "rev-parse", "--show-toplevel").decode().rstrip("\n"))


def commit_of(repo: Path, name: str) -> str:
    """The full id of a commit. Raises UsageError when the repository has none of that name."""
    try:
        return _git(repo, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}").decode().strip()
    except GateError:
        raise UsageError(f"this repository has no commit {shown(name)}", where=str(repo), mend=_DEEP) from None


def merge_base(repo: Path, a: str, b: str) -> str:
    """The commit that both come from. Raises UsageError when there is none, as in a shallow clone."""
    try:
        return _git(repo, "merge-base", a, b).decode().strip()
    except GateError:
        raise UsageError(f"{a[:12]} and {b[:12]} share no commit here", where=str(repo), mend=_DEEP) from None


def changed(repo: Path, old: str, new: str, paths: Sequence[str]) -> tuple[str, ...]:
    """Files at or below `paths` in which two commits differ, sorted."""
    told = _git(repo, "diff-tree", "-r", "-z", "--name-only", "--no-renames", old, new, "--", *paths)
    return tuple(sorted(name.decode(errors="replace") for name in told.split(b"\0") if name))


def object_of(repo: Path, commit: str, path: str) -> str:
    """The id of a file or folder in a commit; empty when it is not there."""
    told = _git(repo, "ls-tree", "-z", "--full-tree", commit, "--", path)
    return told.split(b"\t")[0].split(b" ")[-1].decode()


def extract(repo: Path, commit: str, path: str, into: Path) -> bool:
    """Write the file or folder `path` of a commit to `into / path`; false when the commit has no such path.

    `into` must be a private folder. Raises RefusedError for links, submodules, names that lead elsewhere, content that
    does not fit on the disk, and content in Git LFS that was not fetched.
    """
    entries = _entries(repo, commit, path)
    total, free = sum(size for _, size, _ in entries), shutil.disk_usage(into).free
    if total > free:
        raise RefusedError(f"{total:,} bytes in the commit, and {free:,} free on the disk", where=path)
    command = [*_GIT, "cat-file", "--batch"]
    with subprocess.Popen(command, cwd=repo, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as batch:
        assert batch.stdin is not None
        assert batch.stdout is not None
        for blob, size, name in entries:
            batch.stdin.write(f"{blob}\n".encode())
            batch.stdin.flush()
            if batch.stdout.readline() != f"{blob} blob {size}\n".encode():
                raise RefusedError("the commit is damaged: a file cannot be read", where=shown(name))
            _write(into / name, batch.stdout, size, where=shown(name))
            batch.stdout.read(1)
    for _, size, name in entries:
        if size < 1024 and (pointer := _POINTER.fullmatch((into / name).read_bytes())):
            _from_lfs(repo, into / name, pointer[1].decode(), int(pointer[2]), where=shown(name))
    return bool(entries)


def complete(lock: Path, tree: Path) -> None:
    """Give the folder of a lock the files that it names and the commit lacks, from `tree`: data kept outside git.

    Whoever reads the folder holds all of it to the lock, so it does not matter who put the files into `tree`.
    """
    if not lock.is_file():
        return
    for name, _ in read_lock(lock).files:
        target, source = (relative_path(name, root, where=str(lock)) for root in (lock.parent, tree))
        if not target.exists() and source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(source.resolve(), target)
            except OSError:  # another file system
                shutil.copyfile(source, target)


def _entries(repo: Path, commit: str, path: str) -> list[tuple[str, int, str]]:
    """(blob, size, name) of the files at or below a path."""
    found = []
    for line in _git(repo, "ls-tree", "-r", "-z", "--long", "--full-tree", commit, "--", path).split(b"\0")[:-1]:
        facts, _, raw = line.partition(b"\t")
        mode, _, blob, size = facts.decode().split()
        name = raw.decode(errors="surrogateescape")
        parts = name.split("/")
        if mode not in ("100644", "100755"):
            kind = "a link" if mode == "120000" else "a submodule"
            raise RefusedError(f"{kind}, which is not followed", where=shown(name), mend="commit the file itself")
        if not name.startswith(path) or any(part in ("", ".", "..") or part.casefold() == ".git" for part in parts):
            raise RefusedError("a name that leads out of its folder", where=shown(name))
        found.append((blob, int(size), name))
    return found


def _write(path: Path, source: IO[bytes], size: int, *, where: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            while size:
                data = source.read(min(size, _COPIED))
                if not data:
                    raise RefusedError("the commit is damaged: a file ends early", where=where)
                file.write(data)
                size -= len(data)
    except (OSError, ValueError) as error:  # a name that is a file and a folder, or that no file system takes
        raise RefusedError(f"cannot be written: {getattr(error, 'strerror', error)}", where=where) from error


def _from_lfs(repo: Path, path: Path, oid: str, size: int, *, where: str) -> None:
    """Put the content in the place of its pointer, when the object is here and is what it says."""
    folder = repo / _git(repo, "rev-parse", "--git-path", "lfs/objects").decode().strip()
    kept = folder / oid[:2] / oid[2:4] / oid
    path.unlink()
    with suppress(OSError):
        shutil.copyfile(kept, path)
    if not path.is_file() or path.stat().st_size != size or digest_of_file(path) != f"sha256:{oid}":
        path.unlink(missing_ok=True)
        raise RefusedError(
            "its content is in Git LFS and is not here", where=where, mend="git lfs fetch origin BASE HEAD"
        )


def _git(repo: Path, *words: str) -> bytes:
    try:
        ended = subprocess.run([*_GIT, *words], cwd=repo, capture_output=True, check=False)
    except FileNotFoundError as error:
        raise UsageError("git is not installed", mend="install git") from error
    if ended.returncode:
        said = (ended.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
        raise UsageError(f"git {words[0]} failed: {shown(said)}", where=str(repo))
    return ended.stdout
