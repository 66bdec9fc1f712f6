"""Predictions that a change cannot reach: what a release says of them by itself, as a store has noted it."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from gate.compare.comparison import Comparison
from gate.compare.sides import Mask, Question, Side
from gate.lock import digest_of
from gate.run import Store
from gate.run.machine import runtime
from gate.run.notes import known, note
from gate.run.resume import versions
from gate.suite import Slice
from gate.table import ClipIndex, digest


@dataclass(frozen=True)
class Group:
    """Predictions of one network, the same on both sides. rows: their series, ascending; digest: of all evidence of
    these and of the thresholds that they are read at.
    """

    predictions: tuple[int, ...]
    rows: tuple[int, ...]
    digest: str


@dataclass(frozen=True)
class Still:
    """Groups of predictions that a change cannot reach. store: where answers about them are noted."""

    groups: tuple[Group, ...] = ()
    store: Store | None = None

    @property
    def predictions(self) -> frozenset[int]:
        return frozenset(p for group in self.groups for p in group.predictions)


def still_of(
    side: Side,
    other: Side,
    networks: Sequence[str],
    rows: Sequence[Sequence[int]],
    same: Collection[int],
    store: Store | None,
) -> Still:
    """The predictions in `same`, whose evidence is the same on both sides, that are also read at the same thresholds.

    networks, rows: of each prediction, its network and its series.
    """
    of_network: dict[str, list[int]] = {}
    for k, own in enumerate(rows):
        if k in same and np.array_equal(side.codes[list(own)], other.codes[list(own)]):
            of_network.setdefault(networks[k], []).append(k)

    def group(predictions: Sequence[int]) -> Group:
        own = sorted(row for k in predictions for row in rows[k])
        codes = side.codes[own].tolist()
        return Group(tuple(predictions), tuple(own), f"{digest(side.table.take(np.array(own)))} at {codes}")

    return Still(tuple(map(group, of_network.values())), store)


def noted_of_groups(
    still: Still, kind: str, asked: Callable[[Group], Any], work: Callable[[Sequence[Group]], Sequence[Any]]
) -> list[Any]:
    """An answer for each group: as it is noted, else what `work` finds of those that lack one, which is noted then.

    kind, asked: together they name the question to a group, its evidence apart. Answers are plain JSON.
    """
    machine = [versions(live=False), runtime(())]  # sums are rounded as the processor adds them up
    questions = [json.dumps([machine, group.digest, asked(group)]) for group in still.groups]
    answers = [known(still.store, kind, question) for question in questions]
    lacking = [k for k, answer in enumerate(answers) if answer is None]
    for k, found in zip(lacking, work([still.groups[k] for k in lacking]) if lacking else (), strict=True):
        note(still.store, kind, questions[k], found)
        answers[k] = found
    return answers


#: Fields of a comparison that are told of each group; the others follow.
_TYPES = {"clips": np.int64, "fragile": np.bool_}
_TOLD = tuple(f.name for f in fields(Comparison) if f.name not in ("question", "slice", "d", "weight"))


def standing(
    still: Still,
    questions: Sequence[Question],
    slices: Sequence[Slice],
    index: ClipIndex,
    decided: Mask,
    side: Side,
    alone: Callable[[Sequence[Question]], Comparison],
) -> list[Comparison]:
    """Cells of the questions about still predictions, a part each group; without contributions and weights.

    side: either one. alone: compares it with itself.
    """
    asked = {group: [k for k, q in enumerate(questions) if q.prediction in group.predictions] for group in still.groups}
    where = digest_of(
        repr([(s.name, s.cells.tobytes()) for s in slices] + [index.clip.tobytes(), index.clips]).encode()
    )

    def question(group: Group) -> list[Any]:
        places = {row: k for k, row in enumerate(group.rows)}
        told = [[[places[row] for row in questions[k].series], questions[k].metric] for k in asked[group]]
        return [where, decided[list(group.rows)].tolist(), told]

    def work(groups: Sequence[Group]) -> list[str]:
        wanted = [k for group in groups for k in asked[group]]
        found = alone([questions[k] for k in wanted])
        rows = np.split(np.arange(len(found.question)), np.cumsum([len(asked[g]) * len(slices) for g in groups[:-1]]))
        columns = np.stack([getattr(found, name).astype(np.float64) for name in _TOLD])
        return [b64encode(columns[:, some].tobytes()).decode() for some in rows]

    def part(group: Group, answer: str) -> Comparison:
        n = len(asked[group]) * len(slices)
        columns = dict(zip(_TOLD, np.frombuffer(b64decode(answer)).reshape(len(_TOLD), n), strict=True))
        return Comparison(
            question=np.repeat(np.array(asked[group], dtype=np.int64), len(slices)),
            slice=np.tile(np.arange(len(slices)), len(asked[group])),
            d=np.zeros((n, 0)),
            weight=np.zeros((n, 0)),
            **{name: values.astype(_TYPES.get(name, np.float64)) for name, values in columns.items()},
        )

    answers = noted_of_groups(still, "cells", question, work)
    return [part(group, answer) for group, answer in zip(still.groups, answers, strict=True)]
