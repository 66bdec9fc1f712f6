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

#: Fields of a comparison that are noted; the others follow from the questions.
_NOTED = tuple(f.name for f in fields(Comparison) if f.name not in ("question", "slice", "d", "weight"))
_TYPES = {"clips": np.int64, "fragile": np.bool_}


@dataclass(frozen=True)
class Still:
    """Predictions of one network that are the same on both sides. rows: their series, ascending; digest: of all their
    evidence and the thresholds that it is read at.
    """

    predictions: tuple[int, ...]
    rows: tuple[int, ...]
    digest: str


@dataclass(frozen=True)
class Unreached:
    """All predictions that a change cannot reach, network by network. store: where answers about them are noted."""

    networks: tuple[Still, ...] = ()
    store: Store | None = None

    @property
    def predictions(self) -> frozenset[int]:
        return frozenset(p for still in self.networks for p in still.predictions)


def unreached_of(
    side: Side,
    other: Side,
    networks: Sequence[str],
    rows: Sequence[Sequence[int]],
    same: Collection[int],
    store: Store | None,
) -> Unreached:
    """Of the predictions in `same`, whose evidence is the same on both sides, those that are read at the same
    thresholds. networks, rows: of each prediction, its network and its series.
    """
    of_network: dict[str, list[int]] = {}
    for k, own in enumerate(rows):
        if k in same and np.array_equal(side.codes[list(own)], other.codes[list(own)]):
            of_network.setdefault(networks[k], []).append(k)

    def still(predictions: Sequence[int]) -> Still:
        own = sorted(row for k in predictions for row in rows[k])
        codes = side.codes[own].tolist()
        return Still(tuple(predictions), tuple(own), f"{digest(side.table.take(np.array(own)))} at {codes}")

    return Unreached(tuple(map(still, of_network.values())), store)


def noted_of_networks(
    unreached: Unreached, kind: str, asked: Callable[[Still], Any], work: Callable[[Sequence[Still]], Sequence[Any]]
) -> list[Any]:
    """An answer for each network: as it is noted, else what `work` finds of those that lack one, which is noted then.

    kind, asked: together they name the question to a network, its evidence apart. Answers are plain JSON.
    """
    machine = [versions(live=False), runtime(())]  # sums are rounded as the processor adds them up
    questions = [json.dumps([machine, still.digest, asked(still)]) for still in unreached.networks]
    answers = [known(unreached.store, kind, question) for question in questions]
    lacking = [k for k, answer in enumerate(answers) if answer is None]
    for k, found in zip(lacking, work([unreached.networks[k] for k in lacking]) if lacking else (), strict=True):
        note(unreached.store, kind, questions[k], found)
        answers[k] = found
    return answers


def standing(
    unreached: Unreached,
    questions: Sequence[Question],
    slices: Sequence[Slice],
    index: ClipIndex,
    decided: Mask,
    alone: Callable[[Sequence[Question]], Comparison],
) -> list[Comparison]:
    """Cells of the questions about unreached predictions, a part each network; without contributions and weights.

    alone: a side compared with itself.
    """
    network_of = {p: still for still in unreached.networks for p in still.predictions}
    asked: dict[Still, list[int]] = {still: [] for still in unreached.networks}
    for k, q in enumerate(questions):
        if q.prediction in network_of:
            asked[network_of[q.prediction]].append(k)
    where = digest_of(repr(([s.cells.tobytes() for s in slices], index.clip.tobytes(), index.clips)).encode())

    def question(still: Still) -> list[Any]:
        places = {row: k for k, row in enumerate(still.rows)}
        told = [[[places[row] for row in questions[k].series], questions[k].metric] for k in asked[still]]
        return [_NOTED, where, decided[list(still.rows)].tolist(), told]

    def work(some: Sequence[Still]) -> list[str]:
        found = alone([questions[k] for still in some for k in asked[still]])
        columns = np.stack([getattr(found, name).astype(np.float64) for name in _NOTED])
        ends = np.cumsum([len(asked[still]) * len(slices) for still in some])
        return [b64encode(part.tobytes()).decode() for part in np.split(columns, ends[:-1], axis=1)]

    def part(still: Still, answer: str) -> Comparison:
        n = len(asked[still]) * len(slices)
        columns = dict(zip(_NOTED, np.frombuffer(b64decode(answer)).reshape(len(_NOTED), n), strict=True))
        return Comparison(
            question=np.repeat(np.array(asked[still], dtype=np.int64), len(slices)),
            slice=np.tile(np.arange(len(slices)), len(asked[still])),
            d=np.zeros((n, 0)),
            weight=np.zeros((n, 0)),
            **{name: values.astype(_TYPES.get(name, np.float64)) for name, values in columns.items()},
        )

    answers = noted_of_networks(unreached, "cells", question, work)
    return [part(still, answer) for still, answer in zip(unreached.networks, answers, strict=True)]
