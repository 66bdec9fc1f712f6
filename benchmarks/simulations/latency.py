"""Table 7: is a network that became slower called so, and an equal one certified?

    python -m benchmarks.simulations.latency [--quick] [--seed N] [--repetitions N]

A pass takes 10 ms, give or take a twentieth. *Luck*: what a process gains or loses for as long as it lives, with this
standard deviation. *Busy*: so many passes take ten times as long, because the machine does something else. The turns
are those of `gate.run.latency`; only the programs are made up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import numpy as np

from benchmarks.simulations.tables import main, markdown, percent
from gate.judge.latency import Ask, judged, signed_ranks
from gate.judge.policy import PolicyText
from gate.run.latency import PASSES, Latency, in_turn

BEFORE_S, MARGIN_MS = 0.010, 1.0
WORLDS = ((0.0, 0.0), (0.02, 0.0), (0.05, 0.0), (0.02, 0.1), (0.05, 0.3))  # luck, busy
SLOWER_MS = (0.0, 0.5, 1.0, 2.0)
#: Of the test alone, without a least effect, for processes that are started anew and for those that live on.
LEVEL, LUCK = 0.01, 0.05


def pretended(
    seconds: Sequence[float], rng: np.random.Generator, *, luck: float = 0.0, busy: float = 0.0, kept: bool = False
) -> Callable[[int], AbstractContextManager[Callable[[], list[float]]]]:
    """What starts a process of a program that takes so many seconds; kept: no process is ever started anew."""
    lasting = 1 + luck * rng.standard_normal((len(seconds), 2))
    started = [0] * len(seconds)

    @contextmanager
    def process(program: int) -> Iterator[Callable[[], list[float]]]:
        mine = lasting[program, started[program] % 2] if kept else 1 + luck * rng.standard_normal()
        started[program] += 1

        def turn() -> list[float]:
            passes = seconds[program] * mine * (1 + 0.05 * rng.standard_normal(PASSES))
            return np.where(rng.random(PASSES) < busy, 10 * passes, passes).tolist()

        yield turn

    return process


def released(before_s: float, after_s: float, seed: int, **world: float) -> Latency:
    """Times of an incumbent and a candidate."""
    kept = bool(world.pop("kept", False))
    return in_turn(pretended((before_s, after_s), np.random.default_rng(seed), **world, kept=kept), 2, seed=seed)


def alarms(seed: int, repetitions: int, *, kept: bool) -> int:
    """Of so many pairs of equal programs, those that the test alone calls different."""
    found = 0
    for k in range(seed, seed + repetitions):
        times = released(BEFORE_S, BEFORE_S, k, luck=LUCK, kept=kept)
        averages, chance = signed_ranks(times.of_block(1) - times.of_block(0))
        found += bool(chance[np.count_nonzero(averages <= 0)] <= LEVEL)
    return found


def simulated(seed: int, repetitions: int) -> str:
    ask, text = Ask("supporting", MARGIN_MS), PolicyText(())
    rows = []
    for luck, busy in WORLDS:
        row = [f"luck {luck:.0%}, busy {busy:.0%}"]
        for slower in SLOWER_MS:
            after = BEFORE_S + slower / 1000
            said = [
                judged("cam", ask, released(BEFORE_S, after, k, luck=luck, busy=busy), text, 1).verdict
                for k in range(seed, seed + repetitions)
            ]
            certified = sum(verdict in ("non-inferior", "improved") for verdict in said)
            row.append(f"{percent(certified, repetitions)} / {percent(said.count('regressed'), repetitions)}")
        rows.append(row)
    table = markdown(["world", *("equal" if not s else f"slower by {s:g} ms" for s in SLOWER_MS)], rows)
    anew, lasting = (percent(alarms(seed, repetitions, kept=kept), repetitions) for kept in (False, True))
    return (
        f"Networks certified / regressed, %, margin {MARGIN_MS:g} ms, {repetitions} releases a cell.\n\n{table}\n\n"
        f"Equal programs that the test at {LEVEL:.0%} calls slower, %, at a luck of {LUCK:.0%}: "
        f"{anew} with processes started anew for each block, {lasting} with processes that live on."
    )


if __name__ == "__main__":
    main(simulated, full=1000, quick=50, what=__doc__ or "")
