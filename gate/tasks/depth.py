"""Distance to what each pixel sees.

Event: one pixel with a truth, its error output minus truth, in the head's unit (m unless the suite says otherwise).
There is no score and nothing can be missed. Ignored: pixels whose truth is absent (0, negative or NaN), below 1 mm, or
at the head's `cap` or beyond; outputs are clipped to what counts, 1 mm to the cap. Nothing is cropped or rescaled.
No truth: a picture without one counts for nobody, in no mean of pictures either. No prediction: a missing frame, hence
broken. Neither: nothing to count.

AbsRel, SqRel, RMSE, RMSE of logs and delta < 1.25^k are those of Eigen et al. 2014 (Depth Map Prediction from a Single
Image, section 4.3; SqRel is divided by d and in the head's unit, where KITTI's depth devkit divides by its square).
SILog is the devkit's, sqrt(mean g^2 - mean(g)^2) with g = ln(output) - ln(truth), not times 100. Each has two forms,
and they differ: pooled over all pixels, and `_per_image`, the mean over pictures of what each picture has, which is
what the KITTI leaderboards print. What counts and what is clipped is as in Godard et al. 2017 (`evaluate_kitti.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gate.evidence import STEPS, fixed, fixed_sum
from gate.heads import Head
from gate.table import EvidenceTable, Floats
from gate.tasks.batch import Array, Batch, Drawing, Outputs, Yields, channels_first, summed
from gate.tasks.events import Events

#: Least distance that counts, in the head's unit: 1 mm of a metre.
FLOOR = 1e-3


def yields(head: Head) -> Yields:
    return Yields(_SUMS, frozenset(_SUMS), thresholded=False)


def shape(head: Head, truth: Array) -> tuple[int, ...]:
    """What one frame of the output must be: a raster as large as the truth for each channel."""
    return (len(head.channels), *truth.shape[-2:])


def scores(outputs: Outputs, head: Head) -> Array:
    """(B, K, H, W): the head's raw output."""
    return channels_first(outputs[""], head, 2)


def reduce(batch: Batch, head: Head) -> EvidenceTable:
    """Sums over pixels, each exact to 2^-30, and over pictures; truth is (B, H, W), or (B, K, H, W) for several
    channels.
    """
    raw = scores(batch.outputs, head)
    truth = batch.raster.reshape(raw.shape)
    sums = {name: np.zeros((batch.size, len(head.judged)), np.int64) for name in _SUMS}
    for frame in range(batch.size):
        for k, channel in enumerate(head.judged):
            said, true, _ = _counted(raw[frame, channel], truth[frame, channel], head)
            for name, value in _picture_sums(said, true).items():
                sums[name][frame, k] = value
    return summed(head, batch, sums)


def _counted(raw: Array, truth: Array, head: Head) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """(output, truth, where) of the pixels of one picture that count, (n,), (n,) and (H, W) bool."""
    cap = np.inf if head.cap is None else head.cap
    true = truth.astype(np.float64)
    where = (true > FLOOR) & (true < cap)  # false for NaN
    return np.clip(raw[where].astype(np.float64), FLOOR, cap), true[where], where


def _picture_sums(said: Floats, true: Floats) -> dict[str, int]:
    """Every sum of one picture, and the values of the picture itself."""
    n = len(true)
    if not n:
        return {}
    error, log, ratio = said - true, np.log(said) - np.log(true), _ratio(said, true)
    sums: dict[str, Any] = {
        "sum_error": error,
        "sum_abs_error": np.abs(error),
        "sum_square_error": error * error,
        "sum_abs_rel": np.abs(error) / true,
        "sum_abs_rel_square": (error / true) ** 2,
        "sum_square_rel": error * error / true,
        "sum_log_error": log,
        "sum_square_log_error": log * log,
    }
    sums = {name: int(fixed_sum(values)) for name, values in sums.items()}
    mean = {name: total / STEPS / n for name, total in sums.items()}
    within = {f"delta_{k}": int((ratio < 1.25**k).sum()) for k in (1, 2, 3)}
    image = {
        "abs_rel": mean["sum_abs_rel"],
        "sq_rel": mean["sum_square_rel"],
        "rmse": np.sqrt(mean["sum_square_error"]),
        "rmse_log": np.sqrt(mean["sum_square_log_error"]),
        # About the mean: of equal logs, the difference of two sums would leave the root of a rounding.
        "silog": np.sqrt(int(fixed_sum((log - mean["sum_log_error"]) ** 2)) / STEPS / n),
        **{name: count / n for name, count in within.items()},
    }
    for name, value in image.items():
        sums[f"sum_image_{name}"] = int(fixed(value))
        sums[f"sum_image_{name}_square"] = int(fixed(value * value))
    return {"events": n, "frames": 1, **within, **sums}


def _ratio(said: Floats, true: Floats) -> Floats:
    return np.maximum(said / true, true / said)


_SUMS = tuple(sorted(_picture_sums(np.ones(1), np.ones(1))))


def events(batch: Batch, head: Head, channel: int, threshold: float | None) -> Iterator[Events]:
    """One event a picture with its mean absolute error, none where no pixel counts: a reviewer looks at pictures."""
    raw = scores(batch.outputs, head)
    for frame, truth in zip(raw[:, channel], batch.raster.reshape(raw.shape)[:, channel], strict=True):
        said, true, _ = _counted(frame, truth, head)
        yield Events.of_raster(np.abs(said - true))


def picture(batch: Batch, head: Head, channel: int, threshold: float | None) -> Drawing:
    """Where the first frame is right within a factor of 1.25, too near (2) and too far (3)."""
    raw = scores(batch.outputs, head)
    truth = batch.raster.reshape(raw.shape)[0, channel]
    said, true, where = _counted(raw[0, channel], truth, head)
    raster = np.full(truth.shape, 255, np.uint8)
    raster[where] = np.where(_ratio(said, true) < 1.25, 1, np.where(said < true, 2, 3))
    near, far = int((raster == 2).sum()), int((raster == 3).sum())
    facts = f"{near:,} pixel{'s' * (near != 1)} too near, {far:,} too far"
    return Drawing((facts,), raster=raster, keys=("too near", "too far"))
