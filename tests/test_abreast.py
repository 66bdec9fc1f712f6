"""Tasks that hang on each other, some at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.errors import BundleError
from gate.run.abreast import CertainError, abreast

Graph = dict[int, list[int]]
#: Task -> tasks before it that it needs.
GRAPHS: st.SearchStrategy[Graph] = st.integers(1, 12).flatmap(
    lambda n: st.fixed_dictionaries(
        {k: st.lists(st.integers(0, k - 1), max_size=3, unique=True) if k else st.just([]) for k in range(n)}
    )
)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as made:
        yield made


def ignore(running: Sequence[int]) -> None:
    pass


@settings(max_examples=60, deadline=None)
@given(GRAPHS, st.integers(1, 4))
def test_every_task_is_done_once_after_all_that_it_needs_and_never_too_many_at_once(graph: Graph, most: int) -> None:
    told, noted = list[int](), list[int]()
    lock, now, peak = threading.Lock(), [0], [0]

    def work(task: int) -> int:
        with lock:
            assert set(graph[task]) <= set(told), "what is told was dealt with before"
            now[0] += 1
            peak[0] = max(peak[0], now[0])
        time.sleep(0.001)
        with lock:
            now[0] -= 1
        return task * task

    def note(running: Sequence[int]) -> None:
        assert 1 <= len(running) <= most
        noted.append(running[-1])

    with ThreadPoolExecutor(most) as pool:
        for task, done in abreast(pool, most, list(graph), graph.__getitem__, work, note):
            assert done == task * task
            told.append(task)
    assert sorted(told) == sorted(noted) == sorted(graph)
    assert peak[0] <= most


def test_tasks_that_need_nothing_of_each_other_run_side_by_side(pool: ThreadPoolExecutor) -> None:
    both = threading.Barrier(2, timeout=30)
    found = dict(abreast(pool, 2, ["a", "b"], lambda task: (), lambda task: both.wait() >= 0, lambda running: None))
    assert found == {"a": True, "b": True}


def _failing(fails: Callable[[int, int], bool], together: threading.Barrier) -> tuple[Callable[[int], str], list[int]]:
    """Work on tasks 0 and 1, whose first tries run together, and the tasks in order of their tries."""
    tries = list[int]()

    def work(task: int) -> str:
        first = task not in tries
        tries.append(task)
        if first and task < 2:
            together.wait()
        if fails(task, tries.count(task)):
            raise BundleError(f"no memory for {task}")
        return "done"

    return work, tries


def test_what_failed_beside_others_is_done_again_by_itself_and_this_counts(pool: ThreadPoolExecutor) -> None:
    work, tries = _failing(lambda task, tried: task == 0 and tried == 1, threading.Barrier(2, timeout=30))
    needs = {0: [], 1: [], 2: [0]}
    assert dict(abreast(pool, 2, [0, 1, 2], needs.__getitem__, work, ignore)) == dict.fromkeys(range(3), "done")
    assert sorted(tries[:2]) == [0, 1]
    assert tries[2:] == [0, 2], "again when nothing else runs, and what needs it waits"


def test_what_fails_by_itself_too_is_told_with_the_reason(pool: ThreadPoolExecutor) -> None:
    work, tries = _failing(lambda task, tried: task < 2, threading.Barrier(2, timeout=30))
    found = dict(abreast(pool, 2, [0, 1], lambda task: (), work, ignore))
    assert found == {0: "no memory for 0", 1: "no memory for 1"}
    assert sorted(tries) == [0, 0, 1, 1]


def test_what_is_wrong_whatever_runs_beside_it_is_not_tried_again(pool: ThreadPoolExecutor) -> None:
    tries, both = list[int](), threading.Barrier(2, timeout=30)

    def work(task: int) -> None:
        tries.append(task)
        both.wait()
        raise CertainError(f"task {task} draws random numbers")

    found = dict(abreast(pool, 2, [0, 1], lambda task: (), work, ignore))
    assert found == {k: f"task {k} draws random numbers" for k in (0, 1)}
    assert sorted(tries) == [0, 1]


def test_what_ran_by_itself_is_not_tried_again_either(pool: ThreadPoolExecutor) -> None:
    work, tries = _failing(lambda task, tried: True, threading.Barrier(1))
    needs = {0: [], 1: [0]}
    found = dict(abreast(pool, 2, [0, 1], needs.__getitem__, work, ignore))
    assert (found, tries) == ({0: "no memory for 0", 1: "no memory for 1"}, [0, 1])


def test_one_at_a_time_there_is_no_second_try(pool: ThreadPoolExecutor) -> None:
    work, tries = _failing(lambda task, tried: True, threading.Barrier(1))
    assert dict(abreast(pool, 1, [0, 1], lambda task: (), work, ignore)) == {0: "no memory for 0", 1: "no memory for 1"}
    assert tries == [0, 1]


def test_other_errors_are_not_swallowed(pool: ThreadPoolExecutor) -> None:
    def work(task: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(abreast(pool, 2, [0, 1], lambda task: (), work, ignore))
