"""Peaks of a heat map, one place at a time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Peak = tuple[int, float, tuple[float, ...]]


def peaks(heat: NDArray[Any], box: NDArray[Any], *, reach: int, top: int, floor: float) -> list[Peak]:
    """(channel, logit, four numbers) of one frame, heat (K, H, W) and box (4, H, W), best first."""
    channels, height, width = heat.shape
    found: list[Peak] = []
    for k in range(channels):
        for y in range(height):
            for x in range(width):
                here = float(heat[k, y, x])
                around = [
                    float(heat[k, v, u])
                    for v in range(max(0, y - reach), min(height, y + reach + 1))
                    for u in range(max(0, x - reach), min(width, x + reach + 1))
                ]
                if here == max(around) and 1 / (1 + math.exp(-here)) > floor:
                    found.append((k, here, tuple(float(v) for v in box[:, y, x])))
    found.sort(key=lambda peak: -peak[1])
    return found[:top]


def heat_map(rng: np.random.Generator, channels: int, height: int, width: int) -> NDArray[np.float32]:
    """Logits on coarse steps, so that plateaus and equal scores occur."""
    return (rng.integers(-16, 9, (channels, height, width)) / 4).astype(np.float32)
