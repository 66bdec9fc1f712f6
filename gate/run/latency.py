"""How long networks take for one frame: batch 1, zeros for inputs, programs in turn, and each beside itself.

Programs take turns in random order, so that whatever else the machine does falls on all of them. Each block of turns
has processes of its own: where a process happens to lie in memory makes it faster or slower for as long as it lives
(Mytkowicz et al. 2009, Producing wrong data without doing anything obviously wrong), and is not the program's doing.
Every program runs in two processes at once: what these differ by is noise (`gate.judge.latency.noise`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np

from gate.bundle import Network
from gate.errors import BundleError, RefusedError
from gate.run.process import FallenError, end, load, start, time_passes
from gate.table import Floats

#: Blocks, turns of each process in a block, forward passes in a turn. Twenty blocks prove at levels down to 1e-6.
BLOCKS, TURNS, PASSES = 20, 5, 3
#: Seconds that one network may take: beyond, blocks have fewer turns, and then there are fewer blocks.
MOST_S = 300.0
#: One turn of a process: seconds of each of its forward passes.
Turn = Callable[[], Sequence[float]]


@dataclass(frozen=True)
class Latency:
    """p50_ms: (blocks, programs, 2) median time of one forward pass in a block, in each of a program's processes."""

    p50_ms: Floats

    def p50(self, program: int) -> float:
        """Milliseconds, the median over blocks."""
        return float(np.median(self.of_block(program)))

    def of_block(self, program: int) -> Floats:
        """(blocks,) milliseconds, the mean of both processes."""
        return self.p50_ms[:, program].mean(axis=1)


class UntimedError(Exception):
    """A program could not be timed. program: its position; why: in words."""

    def __init__(self, program: int, why: str) -> None:
        super().__init__(program, why)
        self.program, self.why = program, why


@contextmanager
def _blamed_on(program: int) -> Iterator[None]:
    try:
        yield
    except RefusedError:
        raise
    except BundleError as error:
        raise UntimedError(program, error.brief) from error
    except FallenError as error:
        raise UntimedError(program, error.why) from error


def latency(
    networks: Sequence[Network], *, seed: int, progress: Callable[[int, int], None] = lambda done, total: None
) -> Latency:
    """Time the programs of some networks, which all have one. seed: of the order of turns. progress: as of `run`.

    Raises UntimedError for a program that cannot be loaded, fails on zeros, or has an input of no fixed shape;
    RefusedError for one that is not safe to load.
    """

    @contextmanager
    def process(program: int) -> Iterator[Turn]:
        network, worker = networks[program], start()

        def turn() -> Sequence[float]:
            with _blamed_on(program):
                return time_passes(worker, network, PASSES)

        try:
            with _blamed_on(program):
                if why := load(worker, network, {name: None for name, _ in network.inputs}):
                    raise BundleError(why)
            yield turn
        finally:
            end(worker)

    return in_turn(process, len(networks), seed=seed, progress=progress)


def in_turn(
    process: Callable[[int], AbstractContextManager[Turn]],
    programs: int,
    *,
    seed: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
    clock: Callable[[], float] = time.monotonic,
) -> Latency:
    """Time programs that `process(program)` starts, two processes of each in every block."""
    rng, begun = np.random.default_rng(seed), clock()
    frames = 2 * programs * TURNS * PASSES
    found: list[list[float]] = []
    while len(found) < BLOCKS and (not found or clock() - begun < MOST_S):
        taken: list[list[float]] = [[] for _ in range(2 * programs)]
        with ExitStack() as running:
            turns: dict[int, Turn] = {}
            for k in rng.permutation(2 * programs).tolist():
                turns[k] = running.enter_context(process(k // 2))
                turns[k]()  # the first passes of a process set it up, and do not count
            until = begun + MOST_S * (len(found) + 1) / BLOCKS
            for turn in range(TURNS):
                if turn and clock() > until:
                    break
                for k in rng.permutation(2 * programs).tolist():
                    taken[k] += turns[k]()
        found.append([1000 * float(np.median(seconds)) for seconds in taken])
        progress(frames, frames * BLOCKS)
    progress(frames * (BLOCKS - len(found)), frames * BLOCKS)
    return Latency(np.array(found).reshape(len(found), programs, 2))
