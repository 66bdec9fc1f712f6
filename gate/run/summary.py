"""One row a prediction: how many frames were answered, in what shape, and whether the numbers are numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gate.heads import Head

Array = NDArray[Any]


@dataclass
class HeadSummary:
    """What a head answered so far; filled batch by batch in frame order. Arrays have one entry a judged channel."""

    head: Head
    frames: int
    answered: int = 0
    first_missing: str = ""
    shape: str = ""
    expected_shape: str = ""
    dtype: str = ""
    refused: str = ""
    unfinite: NDArray[np.int64] = field(init=False)
    first_unfinite: list[str] = field(init=False)
    low: NDArray[np.float64] = field(init=False)
    high: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        channels = len(self.head.judged)
        self.unfinite = np.zeros(channels, np.int64)
        self.first_unfinite = [""] * channels
        self.low, self.high = np.full(channels, np.inf), np.full(channels, -np.inf)

    def missing(self, ids: Array, answered: NDArray[np.bool_]) -> None:
        """Take note of the frames that have no answer."""
        count = int(np.count_nonzero(answered))
        self.answered += count
        if not self.first_missing and count < len(answered):
            self.first_missing = str(ids[~answered][0])

    def observe(self, ids: Array, scores: Array, finite: NDArray[np.bool_]) -> None:
        """Take note of scores (B, K, ...) and of which are finite, (B, K), over all emitted channels."""
        judged = list(self.head.judged)
        flat = scores[:, judged].reshape(len(scores), len(judged), -1)
        bad = ~finite[:, judged]
        broken = bool(bad.any())
        if broken:
            for k in np.flatnonzero(bad.any(axis=0)):
                if not self.first_unfinite[k]:
                    self.first_unfinite[k] = str(ids[bad[:, k]][0])
            self.unfinite += bad.sum(axis=0)
        if flat.shape[2]:
            low = high = flat
            if broken:
                whole = np.isfinite(flat)
                low, high = np.where(whole, flat, np.inf), np.where(whole, flat, -np.inf)
            self.low = np.minimum(self.low, low.min(axis=(0, 2)))
            self.high = np.maximum(self.high, high.max(axis=(0, 2)))

    def limits(self) -> tuple[float, float]:
        """Lowest and highest value that the head may give."""
        return (0.0, 1.0) if self.head.score == "probability" else (-np.inf, np.inf)

    def faults(self) -> dict[str, str]:
        """prediction -> why it is broken; empty when all is well."""
        found: dict[str, str] = {}
        low, high = self.limits()
        for k, prediction in enumerate(self.head.predictions):
            if self.refused:
                found[prediction] = self.refused
            elif self.answered < self.frames:
                found[prediction] = (
                    f"no prediction for {self.frames - self.answered} of {self.frames} frames, "
                    f"the first is {self.first_missing}"
                )
            elif self.unfinite[k]:
                found[prediction] = (
                    f"NaN or infinity in {self.unfinite[k]} of {self.frames} frames, "
                    f"the first is {self.first_unfinite[k]}"
                )
            elif self.low[k] < low or self.high[k] > high:
                found[prediction] = (
                    f"values from {self.low[k]:g} to {self.high[k]:g}, outside {low:g} to {high:g}; "
                    "is `score` in suite.toml what the head gives?"
                )
        return found


def contract_table(summaries: list[HeadSummary]) -> dict[str, Array]:
    """Columns for the prediction contract, one row a prediction."""
    rows: dict[str, list[Any]] = {name: [] for name in _COLUMNS}
    for s in summaries:
        low, high = s.limits()
        for k, prediction in enumerate(s.head.predictions):
            seen = s.answered > 0 and np.isfinite(s.low[k])
            share = 1.0 - s.unfinite[k] / s.answered if s.answered else float("nan")
            values = (
                prediction,
                s.frames,
                s.answered,
                s.shape,
                s.expected_shape or s.shape,
                share,
                float(s.low[k]) if seen else float("nan"),
                float(s.high[k]) if seen else float("nan"),
                low,
                high,
                s.dtype,
                float(s.high[k] - s.low[k]) if seen else float("nan"),
            )
            for name, value in zip(_COLUMNS, values, strict=True):
                rows[name].append(value)
    return {name: np.array(values) for name, values in rows.items()}


_COLUMNS = (
    "prediction",
    "frames_expected",
    "frames_answered",
    "shape",
    "expected_shape",
    "finite_share",
    "low",
    "high",
)
_COLUMNS += ("lo", "hi", "dtype", "std")
