"""Whole numbers in place of floats: a sine table, rotations, and random numbers that no library version can change.

Lengths are centimetres. Angles are ticks, 4096 to a turn, counter-clockwise from the x axis. A direction is a pair
(cosine, sine) of integers scaled by `ONE`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int32]

TURN = 4096
BITS = 14
ONE = 1 << BITS
_FINE = 60
_PI = 3622009729038561421  # pi * 2^60


def _sine(tick: int) -> int:
    """Sine of a tick of the first quarter, times `ONE`, to the nearest: a Taylor series in 60-bit fixed point."""
    angle = 2 * _PI * tick // TURN
    term = total = angle
    for k in range(1, 16):
        term = -((term * angle >> _FINE) * angle >> _FINE) // ((2 * k) * (2 * k + 1))
        total += term
    return (total + (1 << (_FINE - BITS - 1))) >> (_FINE - BITS)


def _table() -> Ints:
    quarter = [_sine(tick) for tick in range(TURN // 4 + 1)]
    half = quarter + quarter[-2::-1]
    return np.array(half[:-1] + [-value for value in half[:-1]], np.int32)


SIN = _table()
COS = np.roll(SIN, -TURN // 4)


def rotate(x: Any, y: Any, angle: Any) -> tuple[Any, Any]:
    """(x, y) turned counter-clockwise by an angle in ticks; each array int32, up to 400 m."""
    c, s = COS[angle & TURN - 1], SIN[angle & TURN - 1]
    return (x * c - y * s) >> BITS, (x * s + y * c) >> BITS


def into(x: Any, y: Any, angle: Any) -> tuple[Any, Any]:
    """(x, y) as seen from a frame that is turned by `angle`: how far ahead, how far to the left."""
    c, s = COS[angle & TURN - 1], SIN[angle & TURN - 1]
    return (x * c + y * s) >> BITS, (y * c - x * s) >> BITS


def angle_of(x: int, y: int) -> int:
    """The tick that points most nearly along (x, y)."""
    along, across = np.int64(x) * COS + np.int64(y) * SIN, np.int64(y) * COS - np.int64(x) * SIN
    return int(np.argmin(np.where(along > 0, np.abs(across), np.iinfo(np.int64).max)))


def signed(angle: Any) -> Any:
    """An angle in -2048 .. 2047 ticks."""
    return (angle + TURN // 2) % TURN - TURN // 2


class Dice:
    """Random numbers from a key of whole numbers: SplitMix64 (Steele, Lea and Flood 2014), in Python's own integers."""

    def __init__(self, *key: int) -> None:
        self.state = 0
        for part in key:
            self.state = self.roll() ^ part

    def roll(self) -> int:
        """The next 64 bits."""
        mask = (1 << 64) - 1
        self.state = (self.state + 0x9E3779B97F4A7C15) & mask
        z = self.state
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ z >> 27) * 0x94D049BB133111EB & mask
        return z ^ z >> 31

    def between(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return low + self.roll() % (high - low + 1)

    def chance(self, percent: int) -> bool:
        return self.roll() % 100 < percent

    def pick(self, items: Any) -> Any:
        return items[self.roll() % len(items)]


def scramble(values: Any) -> NDArray[np.uint32]:
    """Each value mixed to 32 bits that look random, the finaliser of MurmurHash3; wraps around, as meant."""
    h = np.asarray(values).astype(np.uint32)
    h ^= h >> np.uint32(16)
    h *= np.uint32(0x85EBCA6B)
    h ^= h >> np.uint32(13)
    h *= np.uint32(0xC2B2AE35)
    h ^= h >> np.uint32(16)
    return h


def spread(counts: Any) -> tuple[NDArray[np.int64], Ints]:
    """(owner, position): item k is repeated counts[k] times, with positions 0 .. counts[k] - 1."""
    owner = np.repeat(np.arange(len(counts)), counts)
    first = (np.cumsum(counts) - counts).astype(np.int32)
    return owner, np.arange(len(owner), dtype=np.int32) - np.repeat(first, counts)
