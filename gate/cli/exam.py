"""The embedded exam: its frames are rendered at first use, into the user's cache, and held to its lock."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from gate.atomic import flush_folder
from gate.cores import cores
from gate.errors import GateError, SuiteError, UsageError, shown
from gate.lock import Lock, make_lock, read_lock, verify
from gate.suite.suite import DEFINITION, LOCK

#: A folder that was being rendered for longer than this was left behind by somebody who was killed.
ABANDONED_S = 3600
#: More processes than this wait for the one that writes.
PROCESSES = 8
_DONE = re.compile(r"(\d+) of (\d+) clips")
_MEND = "make room for 300 MB, or name another folder for caches with XDG_CACHE_HOME"

Progress = Callable[[int, int], None]


def rendered(exam: Path, renderer: Path, cache: Path, begin: Callable[[Path], None], progress: Progress) -> Path:
    """The folder in `cache` that holds `exam` with its frames; rendered there unless it is there and as locked.

    exam: suite.toml and suite.lock. renderer: a Python package that writes the other files of the lock into a folder
    (`python -m PACKAGE render FOLDER`). begin: told the folder when it must be rendered; progress: clips just done, and
    in all. The folder is there whole or not at all, whoever is killed; two that render at once end with the same one.
    Raises UsageError where nothing can be written, SuiteError when the renderer fails, LockError when what it wrote is
    not what was frozen.
    """
    lock = read_lock(exam / LOCK)
    folder = cache / f"{lock.name}-{lock.digest.removeprefix('sha256:')[:16]}"
    if _holds(folder, lock):
        return folder
    begin(folder)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        _sweep(cache)
        with tempfile.TemporaryDirectory(prefix=".rendering-", dir=cache, ignore_cleanup_errors=True) as name:
            made = Path(name) / folder.name
            made.mkdir()
            for file in (DEFINITION, LOCK):
                shutil.copyfile(exam / file, made / file)
            _render(renderer, made, progress)
            _verify(made, lock)
            _flush(made)
            if folder.exists() and not _holds(folder, lock):
                folder.rename(Path(name) / "broken")
            if not folder.exists():
                made.rename(folder)
            flush_folder(cache)
    except OSError as error:
        # Two that finish at once: a folder cannot be renamed over one that holds the same.
        if _holds(folder, lock):
            return folder
        raise UsageError(
            f"the exam cannot be written there: {error.strerror or error}",
            where=str(cache),
            mend=_MEND,
        ) from error
    return folder


def _holds(folder: Path, lock: Lock) -> bool:
    try:
        _verify(folder, lock)
        return read_lock(folder / LOCK) == lock
    except GateError:
        return False


def _verify(folder: Path, lock: Lock) -> None:
    names = [name for name, _ in lock.files]
    now = make_lock("suite", folder, names, name=lock.name, version=lock.version, evaluator=lock.evaluator)
    verify(lock, now, where=folder, mend="report it, with the versions of gate, Python and numpy")


def _render(renderer: Path, into: Path, progress: Progress) -> None:
    """Run the renderer in a process of its own, and all that it starts in a session of theirs."""
    count = min(cores(), PROCESSES)
    command = [sys.executable, "-m", renderer.name, "render", str(into.resolve()), "--processes", str(count)]
    last, before = "", 0
    # Where the package lies, so that nothing of the same name elsewhere can stand in for it.
    with subprocess.Popen(
        command,
        cwd=renderer.parent,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as child:
        assert child.stderr is not None
        try:
            for line in child.stderr:  # a carriage return ends a line too
                last = line.strip() or last
                if found := _DONE.search(line):
                    done, total = map(int, found.groups())
                    progress(done - before, total)
                    before = done
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.stderr.read()  # ends when all of them are gone: nobody writes into a folder that is being removed
            raise
    if child.returncode:
        why = shown(last, 300) if child.returncode > 0 else f"killed by signal {-child.returncode}"
        raise SuiteError(f"the exam could not be rendered: {why}", where=str(into.parents[1]), mend=_MEND)


def _sweep(cache: Path) -> None:
    """Remove what was left behind by those that were killed."""
    for path in cache.glob(".rendering-*"):
        with contextlib.suppress(FileNotFoundError):  # somebody else may be sweeping
            if time.time() - path.stat().st_mtime > ABANDONED_S:
                shutil.rmtree(path, ignore_errors=True)


def _flush(folder: Path) -> None:
    for place, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(place, name), "rb") as file:
                os.fsync(file.fileno())
        flush_folder(Path(place))
