"""Boxes of a frame, from a CenterNet-style heat map or ready-made: how kinds that judge objects read and draw them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gate.errors import BundleError
from gate.heads import Decoder, Head
from gate.lattice import scores_to_logits
from gate.tasks.batch import Array, Outputs


def box_scores(outputs: Outputs, head: Head) -> Array:
    """(B, K, ...): heat map (B, K, H, W), or class scores of ready-made boxes (B, K, N)."""
    if head.decoder.kind == "centernet":
        heat, box = outputs["heat"], outputs["box"]
        if heat.ndim != 4 or heat.shape[1] != len(head.channels) or box.shape[1:] != (4, *heat.shape[2:]):
            raise BundleError(
                f"heat of shape {heat.shape[1:]} and boxes of shape {box.shape[1:]} a frame; expected "
                f"({len(head.channels)}, H, W) and (4, H, W)",
                where=head.name,
            )
        return heat
    box, score = outputs["box"], outputs["score"]
    rows = score[..., None] if score.ndim == 2 else score
    if box.ndim != 3 or box.shape[2] != 4 or rows.shape != (*box.shape[:2], len(head.channels)):
        raise BundleError(
            f"boxes of shape {box.shape[1:]} and scores of shape {score.shape[1:]} a frame; expected (N, 4) and "
            f"(N, {len(head.channels)})",
            where=head.name,
        )
    return np.moveaxis(rows, 2, 1)


def decode(outputs: Outputs, head: Head) -> Iterator[tuple[Array, Array, Array, Array]]:
    """For each frame (label (n,), logit (n,), corners (n, 4), at (n,)) of its detections, best first, at most `top`.

    at: position among the frame's rows, or among the cells of its heat map.
    """
    decoder = head.decoder
    logits = scores_to_logits(box_scores(outputs, head), head.score)
    with np.errstate(over="ignore"):
        said = 1.0 / (1.0 + np.exp(-logits.astype(np.float64))) > decoder.floor
    if decoder.kind == "centernet":
        said &= _peaks(logits, decoder.peak)
    boxes = outputs["box"] if decoder.kind == "centernet" else np.moveaxis(outputs["box"], 2, 1)
    for frame in range(len(logits)):
        label, *place = np.nonzero(said[frame])
        logit = logits[frame][said[frame]]
        if decoder.kind == "boxes":
            # Rows have no order of their own: of equal scores the boxes decide, then their angles.
            turns = (outputs["angle"][frame].reshape(-1)[place[0]],) if "angle" in outputs else ()
            best = np.lexsort((*turns, *boxes[frame][::-1, place[0]], label, -logit))[: decoder.top]
        else:
            best = np.argsort(-logit, kind="stable")[: decoder.top]
        corners = boxes[frame][(slice(None), *(p[best] for p in place))].T.astype(np.float64)
        at = np.ravel_multi_index(tuple(p[best] for p in place), logits.shape[2:])
        yield label[best], logit[best], _corners(corners, decoder), at


def _peaks(heat: Array, size: int) -> Array:
    """Where a cell is the greatest of its `size` x `size` neighbourhood; (B, K, H, W) bool."""
    reach = size // 2
    padded = np.pad(heat, ((0, 0), (0, 0), (reach, reach), (reach, reach)), constant_values=-np.inf)
    height, width = heat.shape[2:]
    greatest = heat.copy()
    for dy in range(size):
        for dx in range(size):
            np.maximum(greatest, padded[:, :, dy : dy + height, dx : dx + width], out=greatest)
    return heat == greatest


def _corners(box: Array, decoder: Decoder) -> Array:
    if decoder.boxes == "corners":
        return box
    low = box[:, :2] if decoder.boxes == "xywh" else box[:, :2] - box[:, 2:] / 2
    return np.concatenate([low, low + box[:, 2:]], axis=1)


def drawn(box: Array, kind: str, caption: str = "") -> tuple[float, float, float, float, str, str]:
    """A box as a `Drawing` holds it."""
    x0, y0, x1, y1 = map(float, box)
    return x0, y0, x1, y1, kind, caption
