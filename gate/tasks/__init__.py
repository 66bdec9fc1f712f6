"""The kinds of head, one file each: what an event is, how it is reduced to evidence, what a reviewer sees."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from gate.heads import Head, TaskKind
from gate.table import EvidenceTable
from gate.tasks import (
    binary,
    depth,
    detection,
    multiclass,
    multilabel,
    occupancy,
    orientation,
    regression,
    segmentation,
)
from gate.tasks.batch import Array, Batch, Boxes, Drawing, Outputs, Yields
from gate.tasks.events import Alarms, Events

__all__ = ["TASKS", "Alarms", "Array", "Batch", "Boxes", "Drawing", "Events", "Outputs", "Task", "Yields", "task_of"]


class Task(Protocol):
    """What the file of each kind offers."""

    def yields(self, head: Head) -> Yields: ...
    def shape(self, head: Head, truth: Array) -> tuple[int, ...] | None: ...
    def scores(self, outputs: Outputs, head: Head) -> Array: ...
    def reduce(self, batch: Batch, head: Head) -> EvidenceTable: ...
    def events(self, batch: Batch, head: Head, channel: int, threshold: float | None) -> Iterator[Events]: ...
    def picture(self, batch: Batch, head: Head, channel: int, threshold: float | None) -> Drawing: ...


TASKS: dict[TaskKind, Task] = {
    "binary": binary,
    "multilabel": multilabel,
    "multiclass": multiclass,
    "segmentation": segmentation,
    "occupancy": occupancy,
    "depth": depth,
    "regression": regression,
    "orientation": orientation,
    "detection": detection,
}


def task_of(head: Head) -> Task:
    return TASKS[head.task]
