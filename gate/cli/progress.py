"""Progress on stderr: a bar with rate and time left on a terminal, plain lines otherwise."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gate.pipeline import Progress


@contextmanager
def progress_bar(unit: str = "frames") -> Iterator[Progress]:
    """A function (stage, frames just done, frames in all) that shows how far the work is; unit: what is counted."""
    try:
        if sys.stderr.isatty():
            yield from _bar(unit)
        else:
            yield _lines(unit)
    except KeyboardInterrupt:
        print("interrupted: nothing was written, except what the store keeps", file=sys.stderr)
        raise


def _bar(unit: str) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{_rate(task.speed)} {unit}/s" if task.speed else "")

    columns = (TextColumn("{task.description:>9}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        tasks = {}

        def advance(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total)
            if done < 0:  # it was told too early: the pace begins anew
                now = next(task.completed for task in bar.tasks if task.id == tasks[stage]) + done
                bar.reset(tasks[stage], total=total, completed=int(now))
            else:
                bar.advance(tasks[stage], done)

        yield advance


def _lines(unit: str) -> Progress:
    done_of: dict[str, int] = {}
    begun: dict[str, tuple[float, int]] = {}

    def advance(stage: str, done: int, total: int) -> None:
        before = done_of.get(stage, 0)
        now = done_of[stage] = before + done
        if done < 0:  # it was told too early: the pace begins anew
            begun.pop(stage, None)
            return
        # A line every tenth: enough for a log, and no more.
        if now * 10 // total > before * 10 // total:
            spent = time.monotonic() - begun.setdefault(stage, (time.monotonic(), now))[0]
            # The first batch waits for the program to load: the pace is that of the frames after it.
            rate = (now - begun[stage][1]) / spent if spent > 0 else 0.0
            pace = f", {_rate(rate)} {unit}/s" if rate else ""
            left = f", {(total - now) / rate:.0f} s left" if rate and now < total else ""
            print(f"{stage}: {now:,} of {total:,} {unit}{pace}{left}", file=sys.stderr)

    return advance


def _rate(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}"
