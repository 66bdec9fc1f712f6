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

import numpy as np
from numpy.typing import NDArray

from gate.evidence import STEPS, fixed, fixed_sum
from gate.heads import Head
from gate.table import EvidenceTable, Floats, Ints
from gate.tasks.batch import Array, Batch, Drawing, Outputs, Yields, channels_first, summed
from gate.tasks.events import Events

#: Least distance that counts, in the head's unit: 1 mm of a metre.
FLOOR = 1e-3
#: Pixels that are summed at once: small pictures go together, and memory stays that of one large picture.
AT_ONCE = 1 << 16


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
    judged = list(head.judged)
    raw = scores(batch.outputs, head)
    truth = batch.raster.reshape(raw.shape)[:, judged].reshape(batch.size * len(judged), -1)
    said = raw[:, judged].reshape(truth.shape)
    sums = {name: np.zeros((batch.size, len(judged)), np.int64) for name in _SUMS}
    pictures = max(1, AT_ONCE // max(1, truth.shape[1]))
    for start in range(0, len(truth), pictures):
        part = slice(start, start + pictures)
        for name, values in _picture_sums(*_counted(said[part], truth[part], head)).items():
            sums[name].reshape(-1)[part] = values
    return summed(head, batch, sums)


def _counted(raw: Array, truth: Array, head: Head) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """(output, truth, where) of some pixels, all of one shape; where: those that count. The others are 1 in both."""
    cap = np.inf if head.cap is None else head.cap
    true = truth.astype(np.float64)
    where = (true > FLOOR) & (true < cap)  # false for NaN
    said = np.clip(raw.astype(np.float64), FLOOR, cap)
    return np.where(where, said, 1.0), np.where(where, true, 1.0), where


def _picture_sums(said: Floats, true: Floats, where: NDArray[np.bool_]) -> dict[str, Ints]:
    """Every sum of some pictures, (n, pixels) each, and the values of the pictures themselves, (n,)."""
    events = where.sum(axis=1)
    n = np.maximum(events, 1)
    error, log = said - true, np.log(said) - np.log(true)
    ratio = np.where(where, _ratio(said, true), np.inf)
    pixels: dict[str, Floats] = {
        "sum_error": error,
        "sum_abs_error": np.abs(error),
        "sum_square_error": error * error,
        "sum_abs_rel": np.abs(error) / true,
        "sum_abs_rel_square": (error / true) ** 2,
        "sum_square_rel": error * error / true,
        "sum_log_error": log,
        "sum_square_log_error": log * log,
    }
    sums = {name: fixed_sum(values) for name, values in pixels.items()}
    mean = {name: total / STEPS / n for name, total in sums.items()}
    within = {f"delta_{k}": (ratio < 1.25**k).sum(axis=1) for k in (1, 2, 3)}
    spread = np.where(where, (log - mean["sum_log_error"][:, None]) ** 2, 0.0)
    image = {
        "abs_rel": mean["sum_abs_rel"],
        "sq_rel": mean["sum_square_rel"],
        "rmse": np.sqrt(mean["sum_square_error"]),
        "rmse_log": np.sqrt(mean["sum_square_log_error"]),
        # About the mean: of equal logs, the difference of two sums would leave the root of a rounding.
        "silog": np.sqrt(fixed_sum(spread) / STEPS / n),
        **{name: count / n for name, count in within.items()},
    }
    for name, value in image.items():
        sums[f"sum_image_{name}"] = fixed(value)
        sums[f"sum_image_{name}_square"] = fixed(value * value)
    return {"events": events, "frames": (events > 0).astype(np.int64), **within, **sums}


def _ratio(said: Floats, true: Floats) -> Floats:
    return np.maximum(said / true, true / said)


_SUMS = tuple(sorted(_picture_sums(np.ones((1, 1)), np.ones((1, 1)), np.ones((1, 1), bool))))


def events(batch: Batch, head: Head, channel: int, threshold: float | None) -> Iterator[Events]:
    """One event a picture with its mean absolute error, none where no pixel counts: a reviewer looks at pictures."""
    raw = scores(batch.outputs, head)
    for frame, truth in zip(raw[:, channel], batch.raster.reshape(raw.shape)[:, channel], strict=True):
        said, true, where = _counted(frame, truth, head)
        yield Events.of_raster(np.abs(said - true)[where])


def picture(batch: Batch, head: Head, channel: int, threshold: float | None) -> Drawing:
    """Where the first frame is right within a factor of 1.25, too near (2) and too far (3)."""
    raw = scores(batch.outputs, head)
    truth = batch.raster.reshape(raw.shape)[0, channel]
    said, true, where = _counted(raw[0, channel], truth, head)
    raster = np.full(truth.shape, 255, np.uint8)
    raster[where] = np.where(_ratio(said, true) < 1.25, 1, np.where(said < true, 2, 3))[where]
    near, far = int((raster == 2).sum()), int((raster == 3).sum())
    facts = f"{near:,} pixel{'s' * (near != 1)} too near, {far:,} too far"
    return Drawing((facts,), raster=raster, keys=("too near", "too far"))
