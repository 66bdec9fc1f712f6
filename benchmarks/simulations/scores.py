"""A world of scores with known truth, for operating points: what a threshold is worth is known in closed form.

Each clip has 3 positives and 15 negatives in expectation, times its lognormal size; positives come in clumps. A
score is Gaussian, N(apart, 1) of a positive and N(0, 1) of a negative, with a share `icc` of the variance common to
all events of a head in a clip. A retrained twin shares 85 % of every effect. So at threshold t recall is Phi(apart - t)
and there are 5 Phi(-t) false alarms for each positive; with apart = 2.5 a precision of 0.9 costs a recall of 0.614.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from benchmarks.simulations.world import TWINS, Clips, Floats, Ints, Mask
from gate.curves import Curves, curves
from gate.heads import Series
from gate.lattice import encode
from gate.table import ClipIndex, EvidenceTable, by_score, histogram

POSITIVES, NEGATIVES = 3, 15


@dataclass(frozen=True)
class Exam:
    """Events of H heads on J clips, (n,): head, clip, positive. apart: (H,). shared: what twins have in common."""

    clips: int
    head: Ints
    clip: Ints
    positive: Mask
    apart: Floats
    icc: float
    shared: Floats

    @property
    def index(self) -> ClipIndex:
        return ClipIndex(np.arange(self.clips), self.clips)


def an_exam(rng: np.random.Generator, apart: Floats, clips: int, kind: Clips, icc: float) -> Exam:
    heads = len(apart)
    size = rng.lognormal(-(kind.spread**2) / 2, kind.spread, clips)
    clump = rng.gamma(kind.clumping, 1 / kind.clumping, (heads, clips))
    number = np.stack([rng.poisson(POSITIVES * size * clump), rng.poisson(NEGATIVES * size, (heads, clips))])
    place = np.repeat(np.arange(number.size), number.ravel())
    head, clip = (place // clips) % heads, place % clips
    positive = place < heads * clips
    shared = _effects(rng, heads, clips, head * clips + clip, icc)
    return Exam(clips, head, clip, positive, apart, icc, shared + apart[head] * positive * 1.0)


def _effects(rng: np.random.Generator, heads: int, clips: int, place: Ints, icc: float) -> Floats:
    of_clip = rng.standard_normal(heads * clips)
    return np.sqrt(icc) * of_clip[place] + np.sqrt(1 - icc) * rng.standard_normal(len(place))


def retrained(rng: np.random.Generator, exam: Exam) -> Floats:
    """(n,) scores of one more release."""
    mean = exam.apart[exam.head] * exam.positive
    own = _effects(rng, len(exam.apart), exam.clips, exam.head * exam.clips + exam.clip, exam.icc)
    return mean + np.sqrt(TWINS) * (exam.shared - mean) + np.sqrt(1 - TWINS) * own


def curve_of(exam: Exam, scores: Floats) -> Curves:
    """The product's curves; scores are taken as logits."""
    heads = len(exam.apart)
    keys, counts = histogram(exam.head, exam.clip, exam.positive, encode(scores))
    rows = tuple(Series(str(k), 0.0) for k in range(heads))
    table = EvidenceTable(rows, exam.clips, keys, counts, (), np.zeros((heads, exam.clips, 0), np.int64))
    return curves(by_score(table), np.ones(exam.clips, bool))


def sums_at(exam: Exam, scores: Floats, threshold: Floats) -> dict[str, Floats]:
    """Counts by clip at a threshold of each head, name -> (H, J)."""
    shape = len(threshold), exam.clips
    place = exam.head * exam.clips + exam.clip
    accepted = scores >= threshold[exam.head]

    def count(chosen: Mask) -> Floats:
        return np.bincount(place[chosen], minlength=shape[0] * shape[1]).astype(float).reshape(shape)

    positive = exam.positive
    return {"tp": count(accepted & positive), "fn": count(~accepted & positive), "fp": count(accepted & ~positive)}


def true_recall(threshold: Floats, apart: Floats) -> Floats:
    return ndtr(apart - threshold)


def true_precision(threshold: Floats, apart: Floats) -> Floats:
    found = POSITIVES * ndtr(apart - threshold)
    return found / (found + NEGATIVES * ndtr(-threshold))


def true_f1(threshold: Floats, apart: Floats) -> Floats:
    found = POSITIVES * ndtr(apart - threshold)
    return 2 * found / (found + NEGATIVES * ndtr(-threshold) + POSITIVES)


def best_threshold(apart: Floats) -> Floats:
    """(H,) thresholds of the greatest true F1."""
    grid = np.linspace(-2.0, 6.0, 4001)
    return grid[true_f1(grid, apart[:, None]).argmax(axis=1)]
