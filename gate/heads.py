"""What a head is, and what its predictions are called.

A head is one named output of a network, `network.head`; a prediction is one channel of it,
`network.head[channel]`, or the head's own name when it emits a single channel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal

TaskKind = Literal[
    "binary", "multilabel", "multiclass", "segmentation", "occupancy", "depth", "regression", "orientation", "detection"
]
ScoreKind = Literal["sigmoid", "softmax", "probability"]


@dataclass(frozen=True)
class Decoder:
    """How boxes are read from a detection head.

    `centernet`: peaks of `peak` x `peak` cells of a heat map, the best `top` of a frame above probability
    `floor`. `boxes`: ready-made rows, a row whose best score is below `floor` is padding.
    `boxes` says what four numbers mean: corners x0 y0 x1 y1, or xywh (corner and size), or center (centre and size).
    """

    kind: Literal["centernet", "boxes"] = "boxes"
    peak: int = 3
    top: int = 100
    floor: float = 0.0
    boxes: Literal["corners", "xywh", "center"] = "corners"


@dataclass(frozen=True)
class Head:
    """One judged head of a suite.

    channels: every channel that the network emits, in order; a single one is ("",).
    judged: positions in `channels` of those that count.
    outputs: (role, network.output) pairs that the head is read from; role "" when it is its own output.
    levels: IoU levels of a detection head; of oriented objects their one IoU level and 0, the row of similarities; else
    (0.0,).
    cap: distance at which depth ends, in `unit`; None for nowhere.
    period: degrees after which a direction is the same again.
    """

    name: str
    task: TaskKind
    channels: tuple[str, ...]
    judged: tuple[int, ...]
    score: ScoreKind | None = None
    ignore: int | None = None
    outputs: tuple[tuple[str, str], ...] = ()
    decoder: Decoder = Decoder()
    levels: tuple[float, ...] = (0.0,)
    unit: str = ""
    cap: float | None = None
    period: int = 360

    @property
    def predictions(self) -> tuple[str, ...]:
        return tuple(prediction_name(self.name, self.channels[k], len(self.channels)) for k in self.judged)

    @property
    def network(self) -> str:
        return self.name.partition(".")[0]

    @property
    def objects(self) -> bool:
        """Are boxes judged, which are read from several outputs?"""
        return self.task == "detection" or len(self.outputs) > 1


def prediction_name(head: str, channel: str, channels: int) -> str:
    """`front.seg[sky]`, or `front.road_edge` for a head with a single channel."""
    return head if channels == 1 else f"{head}[{channel}]"


@dataclass(frozen=True)
class Series:
    """One row of evidence: a prediction at one level (detection heads have one row an IoU level)."""

    prediction: str
    level: float


@cache
def series_of(head: Head) -> tuple[Series, ...]:
    """Rows of the head's evidence: channel first, level second."""
    return tuple(_series(head))


def _series(head: Head) -> Iterator[Series]:
    for prediction in head.predictions:
        for level in head.levels:
            yield Series(prediction, level)
