"""Tasks that hang on each other, some at a time."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from typing import TypeVar

from gate.errors import BundleError


class CertainError(BundleError):
    """What is wrong with a task whatever runs beside it."""


Task = TypeVar("Task", bound=Hashable)
Done = TypeVar("Done")


def abreast(
    pool: Executor,
    most: int,
    tasks: Sequence[Task],
    needs: Callable[[Task], Iterable[Task]],
    work: Callable[[Task], Done],
    note: Callable[[Sequence[Task]], None],
) -> Iterator[tuple[Task, Done | str]]:
    """What comes of each task, as they end, or why nothing does; it is dealt with before any task begins that needs it.

    tasks: in an order in which they could be done one by one. needs: those of them that must be done before. work: runs
    in the pool, on so many tasks at once. One that raises BundleError beside others is done again by itself, and what
    then comes of it counts: they may have taken the memory. Not so one that raises CertainError. note: told those that
    run whenever one begins.
    """
    waiting, again, crowded = list(tasks), list[Task](), set[Task]()
    running: dict[Future[Done], Task] = {}
    done = set[Task]()

    def begin(task: Task) -> None:
        crowded.discard(task)
        if running:
            crowded.update((task, *running.values()))
        note([*running.values(), task])
        running[pool.submit(work, task)] = task

    while waiting or again or running:
        for task in list(waiting):
            if len(running) >= most:
                break
            if done.issuperset(needs(task)):
                waiting.remove(task)
                begin(task)
        if not running:
            begin(again.pop(0))
        ended, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in sorted(ended, key=lambda f: tasks.index(running[f])):
            task, error = running.pop(future), future.exception()
            if isinstance(error, BundleError) and not isinstance(error, CertainError) and task in crowded:
                again.append(task)
                continue
            if error is not None and not isinstance(error, BundleError):
                raise error
            done.add(task)
            yield task, error.brief if isinstance(error, BundleError) else future.result()
