"""The streams of the process: what is told never ends the work, and what is printed never looks like a decision."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any, TextIO

import typer
from typer.core import TyperGroup

from gate.errors import GateError, shown

#: Characters of one line: a path has 4,096 at most.
_LINE = 1 << 13


class Commands(TyperGroup):
    """Commands in which a pipe that breaks is a fault: typer would end with 1, which is NO-GO."""

    def invoke(self, ctx: Any) -> object:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise ConnectionError(f"a pipe between gate and a process that it started broke: {error}") from error


class _Told(io.FileIO):
    """Standard error. Once it fails it goes nowhere: nobody may learn less of a decision than its exit code."""

    def write(self, data: object, /) -> int:
        try:
            return super().write(data) or 0  # type: ignore[arg-type]
        except OSError:
            _to_nowhere(self.fileno())
            return memoryview(data).nbytes  # type: ignore[arg-type]


class _Printed(io.FileIO):
    """Standard output. A reader that goes away has what it wanted: the command goes on to its own end and exit code,
    and says no more. Any other failure is told, once."""

    def write(self, data: object, /) -> int:
        try:
            return super().write(data) or 0  # type: ignore[arg-type]
        except OSError as error:
            _to_nowhere(self.fileno())  # else what is left in the buffer would fail again at the very end
            if error.errno != errno.EPIPE:
                raise GateError(
                    f"standard output cannot be written: {error.strerror}", mend="make room, or print elsewhere"
                ) from error
            return memoryview(data).nbytes  # type: ignore[arg-type]


def guard() -> None:
    """Replace the streams that the process was started with; others, of a test or a notebook, are left alone."""
    # A stream that was closed would be the number of the next file that is opened, and take what is told.
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is sys.__stdout__:
        sys.stdout = _text(_Printed(1, "w", closefd=False), sys.stdout)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _text(_Told(2, "w", closefd=False), sys.stderr)


def tell(text: str) -> None:
    """Say `text` on standard error, so that nothing in it steers a terminal or is a command to a CI runner."""
    typer.echo("\n".join(map(_harmless, text.split("\n"))), err=True)


def _harmless(line: str) -> str:
    line = shown(line, _LINE).replace("##[", r"\x23#[")  # which a runner heeds anywhere in a line
    bare = line.lstrip()
    return line[: -len(bare)] + r"\x3a" + bare[1:] if bare.startswith("::") else line


def _text(raw: io.FileIO, old: TextIO | None) -> io.TextIOWrapper:  # None: it was closed
    encoding, errors = (old.encoding, old.errors) if old else ("utf-8", "backslashreplace")
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, errors, line_buffering=raw.fileno() == 2 or raw.isatty())


def _to_nowhere(number: int) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)
