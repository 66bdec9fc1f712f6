"""Files that are written whole or not at all, and files that are read only when they are nothing but files."""

from __future__ import annotations

import os
import stat
import tempfile
from io import BufferedReader
from pathlib import Path

from gate.errors import GateError, UsageError


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`, folders made as needed: a temporary file beside it, fsync, rename.

    Raises UsageError when that is not possible.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                # mkstemp makes private files; what is written here is meant to be read by others.
                os.fchmod(file.fileno(), 0o644)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
        flush_folder(path.parent)
    except OSError as error:
        raise UsageError(
            f"cannot be written: {error.strerror or error}", where=str(path), mend="choose a writable folder"
        ) from error


def flush_folder(folder: Path) -> None:
    """Wait until what is in a folder, by name, is on the disk; the files themselves are another matter."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """`write_bytes` of UTF-8 text."""
    write_bytes(path, text.encode())


def open_regular(path: Path, error: type[GateError], *, where: str = "", links: bool = False) -> BufferedReader:
    """The regular file at `path`, opened for reading. links: its name may be a link.

    Never waits, as a FIFO would make it, and asks what it is after it was opened, so that nobody can swap it. Raises
    `error`, naming `where` or the path, for anything else.
    """
    where = where or str(path)
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | (0 if links else getattr(os, "O_NOFOLLOW", 0))
    try:
        file = os.open(path, flags)
    except FileNotFoundError:
        raise error("no such file", where=where) from None
    except (OSError, ValueError) as bad:  # ValueError: a NUL in the path
        if not links and path.is_symlink():
            raise error("a link", where=where, mend="put the file itself there") from None
        raise error(f"cannot be read: {getattr(bad, 'strerror', None) or bad}", where=where) from None
    kind = os.fstat(file).st_mode
    if not stat.S_ISREG(kind):
        os.close(file)
        raise error("a folder, not a file" if stat.S_ISDIR(kind) else "not a regular file", where=where)
    return os.fdopen(file, "rb")


def read_at_most(file: BufferedReader, most: int) -> bytes:
    """What is left in a file, and one byte more than `most` of what is longer; `read` would set all of `most` aside."""
    data = bytearray()
    while part := file.read(min(1 << 20, most + 1 - len(data))):
        data += part
    return bytes(data)
