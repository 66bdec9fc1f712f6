"""What is fed to networks and to the reduction: the rounds of a suite, step by step, decoded ahead of their turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from typing import Any, TypeVar

from numpy.typing import NDArray

from gate.run.partition import BATCH, Round
from gate.suite import BoxTruth, Suite, Truths
from gate.suite.inputs import read_inputs
from gate.table import Ints

T = TypeVar("T")
U = TypeVar("U")
Array = NDArray[Any]
#: Batches decoded ahead of the one that runs; more of small ones, as many as fill so many bytes.
AHEAD, ROOM = 2, 8 << 20


@dataclass(frozen=True)
class Step:
    """rows: frames of one batch, by position in the suite. begins: the round whose first batch this is. rest: the batch
    was before, and now the heads of networks that remember are told of it.
    """

    rows: Ints
    begins: Round | None = None
    rest: bool = False


@dataclass(frozen=True)
class Given:
    """What the frames of one step hold. truths: by head, of the frames on which it is judged, if there are any."""

    step: Step
    inputs: Mapping[str, Array]
    truths: Mapping[str, Array | BoxTruth]


def steps(rounds: Iterable[Round], *, rest: bool, wanted: NDArray[Any] | None = None) -> Iterator[Step]:
    """Steps of some rounds. rest: some networks remember: they are told when all batches of the round were, batch by
    batch again, and none can be left out; else batches without any of the wanted frames, (F,) bool, are.
    """
    for part in rounds:
        begins: Round | None = part
        for rows in part.batches:
            if rest or wanted is None or wanted[rows].any():
                yield Step(rows, begins)
                begins = None
        if rest:
            yield from (Step(rows, rest=True) for rows in part.batches)


def fed(
    suite: Suite,
    names: Iterable[str],
    early: Sequence[Truths],
    late: Sequence[Truths],
    turns: Iterable[Step],
    most: int = 1,
) -> Generator[Given]:
    """Steps with the inputs of that name and the truths of the heads that are answered there; decoded in a thread of
    their own, `AHEAD` in waiting, what fills `ROOM`, or as many as are asked at once, `most`. Whoever does not ask for
    all of them closes it.
    """
    wanted = set(names)
    inputs = {name: given for name, given in suite.inputs.items() if name in wanted}

    def decode(step: Step) -> Given:
        read = {} if step.rest else read_inputs(inputs, suite.input_files, suite.root, suite.frames, step.rows)
        told = [(t, t.judged(step.rows)) for t in (late if step.rest else early)]
        return Given(step, read, {t.head.name: t.read(rows) for t, rows in told if len(rows)})

    size = BATCH * sum(prod(given.shape) * (1 if given.kind == "image" else 4) for given in inputs.values())
    with ThreadPoolExecutor(1, thread_name_prefix="decode") as pool:
        yield from ahead(pool, decode, turns, max(AHEAD, most, ROOM // size if size else 0))


def together(given: Iterable[Given], most: Callable[[], int]) -> Iterator[list[Given]]:
    """Neighbouring batches of a round, as many as `most` says now; the rest of a round batch by batch."""
    some: list[Given] = []
    for one in given:
        if some and (one.step.begins is not None or one.step.rest):
            yield some
            some = []
        some.append(one)
        if len(some) >= most() or one.step.rest:
            yield some
            some = []
    if some:
        yield some


def ahead(pool: Executor, work: Callable[[T], U], items: Iterable[T], depth: int) -> Iterator[U]:
    """The work done on each item, in order, begun before it is asked for: so many items ahead."""
    waiting: deque[Future[U]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
