"""Candidate against incumbent in numbers: cells as a few arrays, cells of several parts as one, means over groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from gate.table import Floats, Ints

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Comparison:
    """n cells, question by question and slice by slice.

    question, slice: (n,) positions. incumbent, candidate: (n,) in the metric's own unit, NaN where not defined.
    at_incumbent: (n,) candidate at the incumbent's threshold, NaN where no threshold is used. delta: (n,) higher is
    better. d, weight: (n, J) contributions of the validation clips. se, df, lost: (n,) see Effects. third: (n,) sum of
    the cubes of what a clip contributes beyond its share. positives, frames: (n,) totals; clips: (n,) clips with
    positives; effective: (n,) Kish's number of such clips. fragile: (n,) cells whose value hangs on a single clip, for
    the candidate and not for the incumbent.
    """

    question: Ints
    slice: Ints
    incumbent: Floats
    candidate: Floats
    at_incumbent: Floats
    delta: Floats
    d: Floats
    weight: Floats
    se: Floats
    df: Floats
    third: Floats
    lost: Floats
    positives: Floats
    clips: Ints
    effective: Floats
    frames: Floats
    fragile: Mask


def joined(parts: Sequence[Comparison], clips: int) -> Comparison:
    """All cells of the parts, question by question and slice by slice, whatever parts they were worked out in.

    A part whose arrays have no clips has contributions and weights of 0.
    """
    if not parts:
        none, whole, many = np.zeros(0), np.zeros(0, np.int64), np.zeros((0, clips))
        return Comparison(
            whole, whole, none, none, none, none, many, many, none, none, none, none, none, whole, none, none, whole > 0
        )
    order = np.lexsort([np.concatenate([getattr(p, name) for p in parts]) for name in ("slice", "question")])
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    places = np.split(place, np.cumsum([len(p.question) for p in parts[:-1]]))

    def field(name: str) -> NDArray[np.generic]:
        values = [getattr(p, name) for p in parts]
        whole = np.zeros((len(order), clips) if values[0].ndim == 2 else len(order), values[0].dtype)
        for rows, part in zip(places, values, strict=True):
            if part.ndim == 1 or part.shape[1]:
                whole[rows] = part
        return whole

    return Comparison(*(field(f.name) for f in fields(Comparison)))  # type: ignore[arg-type]


def aggregate(comparison: Comparison, members: Sequence[Ints]) -> Comparison:
    """Plain means over groups of cells (method A5, aggregates): rows of `comparison` that make up each group.

    Values, contributions and weights are means; the standard error comes from the mean contributions.
    """

    def mean(values: Floats) -> Floats:
        return np.array([values[rows].mean(axis=0) for rows in members]).reshape(len(members), *values.shape[1:])

    d, weight, delta = mean(comparison.d), mean(comparison.weight), mean(comparison.delta)
    present = (weight > 0).sum(axis=1)
    centred = d - delta[:, None] * weight
    with np.errstate(invalid="ignore", divide="ignore"):
        se = np.sqrt(present / np.maximum(present - 1, 1) * (centred**2).sum(axis=1))
        df = (weight**2).sum(axis=1) ** 2 / (weight**4).sum(axis=1)
    first = np.array([rows[0] for rows in members], dtype=np.int64)
    return Comparison(
        question=comparison.question[first],
        slice=comparison.slice[first],
        incumbent=mean(comparison.incumbent),
        candidate=mean(comparison.candidate),
        at_incumbent=np.full(len(members), np.nan),
        delta=delta,
        d=d,
        weight=weight,
        se=se,
        df=df,
        third=third(d, delta, weight),
        lost=mean(comparison.lost) / np.sqrt([max(len(rows), 1) for rows in members]),
        positives=np.array([comparison.positives[rows].sum() for rows in members]),
        clips=present,
        effective=np.array([comparison.effective[rows].max(initial=0.0) for rows in members]),
        frames=np.array([comparison.frames[rows].max(initial=0.0) for rows in members]),
        fragile=np.zeros(len(members), bool),
    )


def third(d: Floats, delta: Floats, weight: Floats) -> Floats:
    """Sum over clips of the cubed contributions less their share of the difference, (m,)."""
    return ((d - delta[:, None] * np.nan_to_num(weight)) ** 3).sum(axis=1)
