"""The two networks of the mini bundle: `Front`, one trunk and seven outputs, and `Rear`, a trunk and two.

Both take `image`: (B, 3, 64, 96) float32, RGB in 0..1, and return a dict in the order of `..._OUTPUTS`.
Classifiers return logits: a logit keeps the order of two sure answers that a probability rounds together.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .canvas import CAMERA_M, FOCAL_PX, HEIGHT, HORIZON_PX, WIDTH
from .world import GRID, GRID_X_M, GRID_Z_M

STRIDE = 4  # of the shared features and of the detection grid
ROWS, COLUMNS = HEIGHT // STRIDE, WIDTH // STRIDE
FRONT_OUTPUTS = ("presence", "light", "seg", "drivable", "det_heat", "det_box", "lead_distance")
REAR_OUTPUTS = ("following", "presence")

Features = tuple[Tensor, Tensor, Tensor]
Widths = tuple[int, int, int, int]
WIDTHS: Widths = (14, 20, 28, 38)  # channels at strides 2, 4, 8, 16


def conv(inputs: int, outputs: int, stride: int = 1, size: int = 3) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class Trunk(nn.Module):
    """Features at stride 2, at stride 4 with the context of coarser ones, and one vector for the picture."""

    def __init__(self, widths: Widths = WIDTHS) -> None:
        super().__init__()
        c2, c4, c8, c16 = widths
        self.s2 = conv(3, c2, 2)
        self.s4 = nn.Sequential(conv(c2, c4, 2), conv(c4, c4))
        self.s8 = nn.Sequential(conv(c4, c8, 2), conv(c8, c8))
        self.s16 = nn.Sequential(conv(c8, c16, 2), conv(c16, c16))
        self.up8 = conv(c16 + c8, c4, size=1)
        self.up4 = conv(2 * c4, c4)

    def forward(self, image: Tensor) -> Features:
        x2 = self.s2((image - 0.4) / 0.27)
        x4 = self.s4(x2)
        x8 = self.s8(x4)
        x16 = self.s16(x8)
        y = self.up8(torch.cat([_double(x16), x8], 1))
        return x2, self.up4(torch.cat([_double(y), x4], 1)), x16.mean((2, 3))


class PooledHead(nn.Module):
    """Logits from the mean and the maximum of a few channels: is it anywhere in the picture?"""

    def __init__(self, widths: Widths, outputs: int) -> None:
        super().__init__()
        self.look = conv(widths[1], 28)
        self.out = nn.Linear(56 + widths[3], outputs)

    def forward(self, features: Features) -> Tensor:
        y = self.look(features[1])
        return self.out(torch.cat([y.mean((2, 3)), y.amax((2, 3)), features[2]], 1))


class SegHead(nn.Module):
    """Class logits at stride 2, doubled: (B, 5, 64, 96)."""

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        self.reduce = conv(widths[1], 14, size=1)
        self.mix = conv(widths[0] + 14, 18)
        self.out = nn.Conv2d(18, 5, 1)

    def forward(self, features: Features) -> Tensor:
        coarse = _double(self.reduce(features[1]))
        return _double(self.out(self.mix(torch.cat([features[0], coarse], 1))))


class DrivableHead(nn.Module):
    """Features fetched from where a level road would put each cell, then refined from above: (B, 12, 12)."""

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        self.register_buffer("index", cell_index())
        self.look = conv(widths[1], 16, size=1)
        self.mix = nn.Sequential(conv(16, 16), conv(16, 16))
        self.out = nn.Conv2d(16, 1, 1)

    def forward(self, features: Features) -> Tensor:
        y = self.look(features[1]).flatten(2).index_select(2, self.index)
        return self.out(self.mix(y.unflatten(2, (GRID, GRID)))).squeeze(1)


class DetHead(nn.Module):
    """Centre heat (B, 2, 16, 24) and boxes (B, 4, 16, 24), corners in pixels: two outputs of one head."""

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        self.mix = conv(widths[1], 28)
        self.heat = nn.Conv2d(28, 2, 1)
        self.box = nn.Conv2d(28, 4, 1)
        nn.init.constant_(self.heat.bias, -3.5)  # most cells are empty: start by saying so
        rows, columns = torch.meshgrid(torch.arange(ROWS), torch.arange(COLUMNS), indexing="ij")
        self.register_buffer("centre", (torch.stack([columns, rows]).float() + 0.5) * STRIDE)

    def forward(self, features: Features) -> tuple[Tensor, Tensor]:
        y = self.mix(features[1])
        box = self.box(y)
        centre = self.centre + STRIDE * box[:, :2]
        half = STRIDE * torch.exp(box[:, 2:].clamp(-3, 3))
        return self.heat(y), torch.cat([centre - half, centre + half], 1)


class LeadHead(nn.Module):
    """Metres to the lead car, (B, 1), from the middle columns, where the own lane is."""

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        self.look = conv(widths[1], 8, size=1)
        self.mix = nn.Linear(8 * 10 * 8, 32)
        self.out = nn.Linear(32, 1)
        nn.init.constant_(self.out.bias, 2.5)  # exp(2.5) = 12 m, the middle of the range

    def forward(self, features: Features) -> Tensor:
        y = self.look(features[1])[:, :, 5:15, 8:16].flatten(1)
        return torch.exp(self.out(F.relu(self.mix(y))).clamp(0.0, 4.0))


class Front(nn.Module):
    def __init__(self, widths: Widths = WIDTHS) -> None:
        super().__init__()
        self.trunk = Trunk(widths)
        self.presence = PooledHead(widths, 3)
        self.light = PooledHead(widths, 4)
        self.seg = SegHead(widths)
        self.drivable = DrivableHead(widths)
        self.det = DetHead(widths)
        self.lead_distance = LeadHead(widths)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        features = self.trunk(image)
        heat, box = self.det(features)
        return {
            "presence": self.presence(features),
            "light": self.light(features),
            "seg": self.seg(features),
            "drivable": self.drivable(features),
            "det_heat": heat,
            "det_box": box,
            "lead_distance": self.lead_distance(features),
        }


class Rear(nn.Module):
    """The same trunk with two small heads; a network of its own, with weights of its own.

    `det` is there for the lessons only, since yes or no for a whole picture teaches little about what people
    look like. It is taken out (None) before the network is shipped.
    """

    def __init__(self, widths: Widths = WIDTHS) -> None:
        super().__init__()
        self.trunk = Trunk(widths)
        self.following = PooledHead(widths, 1)
        self.presence = PooledHead(widths, 2)
        self.det: nn.Module | None = DetHead(widths)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        features = self.trunk(image)
        outputs = {"following": self.following(features), "presence": self.presence(features)}
        if self.det is not None:
            outputs["det_heat"], outputs["det_box"] = self.det(features)
        return outputs


def cell_index() -> Tensor:
    """For each cell of the top-down grid, row by row, the feature that sees its middle: (144,) int64."""
    x_step, z_step = (GRID_X_M[1] - GRID_X_M[0]) / GRID, (GRID_Z_M[1] - GRID_Z_M[0]) / GRID
    x = GRID_X_M[0] + (torch.arange(GRID) + 0.5) * x_step
    z = (GRID_Z_M[0] + (torch.arange(GRID) + 0.5) * z_step).flip(0)
    column = (WIDTH / 2 + FOCAL_PX * x[None] / z[:, None]) / STRIDE
    row = ((HORIZON_PX + FOCAL_PX * CAMERA_M / z) / STRIDE)[:, None].expand(GRID, GRID)
    # cells beside the view borrow the feature at the edge; their truth is "ignore"
    return (row.long().clamp(0, ROWS - 1) * COLUMNS + column.long().clamp(0, COLUMNS - 1)).flatten()


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
