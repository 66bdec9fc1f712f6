"""A loss for each kind of head, and the targets of a detection head."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .heads import Judged
from .network import PEAK
from .truth import IGNORE, KINDS

#: What is small in the picture and rare in the lessons would drown in what is neither.
WEIGHTS = {"attributes": 2.0, "signs": 2.0, "signal": 2.0}


def loss_of(judged: Judged, said: Tensor, truth: Tensor) -> Tensor:
    """The loss of one head, about one at the start; where there is no truth there is none."""
    return WEIGHTS.get(judged.name, 1.0) * _plain_loss(judged, said, truth)


def _plain_loss(judged: Judged, said: Tensor, truth: Tensor) -> Tensor:
    if judged.task == "multiclass":
        known = truth >= 0
        return F.cross_entropy(said[known], truth[known].long()) if known.any() else said.sum() * 0
    if judged.task == "segmentation":
        weight = torch.tensor([{"none": 0.4, "stop": 3.0}.get(name, 1.0) for name in judged.channels])  # stop is rare
        return F.cross_entropy(said, truth.long(), weight=weight, ignore_index=IGNORE)
    if judged.task in ("binary", "multilabel", "occupancy"):
        truth = truth.float()
        known = ~torch.isnan(truth) & (truth != IGNORE)
        rare = torch.tensor(5.0 if judged.head == "topdown.objects" else 1.0)  # a person fills one cell of six hundred
        loss = F.binary_cross_entropy_with_logits(said[known], truth[known], pos_weight=rare)
        return 2 * loss if known.any() else said.sum() * 0
    known = ~torch.isnan(truth)
    if not known.any():
        return said.sum() * 0
    said, truth = said[known], truth[known]
    if judged.task == "orientation":
        period = 180 if "period = 180" in judged.more else 360
        return 1 - torch.cos((said - truth) * (2 * math.pi / period)).mean()
    if judged.head in ("path.steering", "path.offsets"):
        return F.smooth_l1_loss(said, truth) / (10 if judged.name == "steering" else 1)
    return 2 * F.l1_loss(said.clamp(min=0.05).log(), truth.clamp(min=0.05).log())


def det_targets(rows: Sequence[tuple[int, ...]], shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Targets of a frame: heat (4, R, C), 1 at centres; box (4, R, C), NaN off them; weight (4, R, C).

    rows: (kind, x0, y0, x1, y1, ignore).
    """
    heat, weight = np.zeros((len(KINDS), *shape), np.float32), np.ones((len(KINDS), *shape), np.float32)
    box = np.full((4, *shape), np.nan, np.float32)
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    # the largest last: of two objects with one centre cell, the one in front owns the box
    for kind, x0, y0, x1, y1, ignore in sorted(rows, key=lambda r: (r[3] - r[1]) * (r[4] - r[2])):
        left, top, right, bottom = (value / PEAK for value in (x0, y0, x1, y1))
        if ignore:
            weight[kind][(x > left - 0.5) & (x < right + 0.5) & (y > top - 0.5) & (y < bottom + 0.5)] = 0
            continue
        column, row = min(int((left + right) / 2), shape[1] - 1), min(int((top + bottom) / 2), shape[0] - 1)
        spread_x, spread_y = max((right - left) / 6, 0.4), max((bottom - top) / 6, 0.4)
        near = np.exp(-(((x - column - 0.5) / spread_x) ** 2 + ((y - row - 0.5) / spread_y) ** 2) / 2)
        heat[kind] = np.maximum(heat[kind], near)
        heat[kind, row, column] = 1
        box[:, row, column] = x0, y0, x1, y1
    weight[heat == 1] = 1
    return heat, box, weight


def det_loss(heat: Tensor, box: Tensor, targets: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Focal loss of CenterNet (Zhou et al. 2019, equation 1), by kind, and 1 - IoU at the centres."""
    wanted, corners, weight = targets
    sure = heat.sigmoid()
    hit = F.logsigmoid(heat) * (1 - sure) ** 2 * (wanted == 1)
    miss = F.logsigmoid(-heat) * sure**2 * (1 - wanted) ** 4
    there = (wanted == 1).sum((0, 2, 3)).clamp(min=1)  # without it cars, which are many, would be all that counts
    focal = -(((hit + miss) * weight).sum((0, 2, 3)) / there).sum() / 2
    at = torch.isfinite(corners[:, 0])
    if not at.any():
        return focal
    p, t = box.permute(0, 2, 3, 1)[at], corners.permute(0, 2, 3, 1)[at]
    inner = (torch.minimum(p[:, 2:], t[:, 2:]) - torch.maximum(p[:, :2], t[:, :2])).clamp(min=0).prod(1)
    area = (p[:, 2:] - p[:, :2]).prod(1) + (t[:, 2:] - t[:, :2]).prod(1)
    return focal + 2 * (1 - inner / (area - inner)).mean() + 0.1 * F.smooth_l1_loss(p, t)
