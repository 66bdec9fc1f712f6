"""In what portions frames run, fixed by the suite alone: the last bits of a score can depend on the frames beside it.

Clips go in groups of sixteen, side by side, and a group in rounds of at most sixteen frames of each. Most networks take
the frames of a round sixteen at a time, clip after clip. Networks that remember take one frame of each clip at a time,
in order, and keep what they remember from round to round; so memory does not grow with the length of a clip.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gate.suite import Frames
from gate.table import Ints

#: Frames of one forward pass, clips side by side, and frames of each that are in memory at once.
BATCH, LANES, STEPS = 16, 16, 16


@dataclass(frozen=True)
class Round:
    """rows: (n,) positions of the frames in the suite, clip after clip. lengths: how many are of each clip of the
    group; 0 for one that has ended. fresh: clips begin here.
    """

    rows: Ints
    lengths: tuple[int, ...]
    fresh: bool

    @property
    def batches(self) -> list[Ints]:
        return [self.rows[k : k + BATCH] for k in range(0, len(self.rows), BATCH)]


def steps_of(lengths: Sequence[int]) -> Iterator[tuple[Ints, Ints]]:
    """For each instant of a round, the clips that have a frame then, and the positions of these frames in the round."""
    sizes = np.asarray(lengths, np.int64)
    starts = np.cumsum(sizes) - sizes
    for step in range(int(sizes.max(initial=0))):
        lanes = np.flatnonzero(sizes > step)
        yield lanes, starts[lanes] + step


def groups_of(frames: Frames) -> list[tuple[int, int]]:
    """First frame and end of each group, in order; clips are whole."""
    starts = _clips(frames.clip)[:-1:LANES].tolist()
    return list(zip(starts, [*starts[1:], len(frames.clip)], strict=True))


def rounds_of(frames: Frames, start: int = 0, stop: int | None = None) -> Iterator[Round]:
    """The rounds of all groups between two borders of groups."""
    borders = start + _clips(frames.clip[start:stop])
    for k in range(0, len(borders) - 1, LANES):
        group = borders[k : k + LANES + 1]
        begins, sizes = group[:-1], np.diff(group)
        for done in range(0, int(sizes.max()), STEPS):
            lengths = np.clip(sizes - done, 0, STEPS)
            rows = [np.arange(b, b + n) for b, n in zip(begins + done, lengths, strict=True)]
            yield Round(np.concatenate(rows), tuple(lengths.tolist()), done == 0)


def _clips(clip: Ints) -> Ints:
    """Where each clip begins, and the end of the last; clip: of each frame, those of one beside each other."""
    return np.flatnonzero(np.r_[True, clip[1:] != clip[:-1], True])
