"""A world with known truth: clips, heads, and two releases that are retrained twins.

A clip is the independent unit. Its size is lognormal; positives come in clumps (a Gamma factor for each head and
clip); "look-alikes" are the negatives that can be mistaken for positives, as many as positives in expectation, in
clumps of their own. Every positive and look-alike is one event that a release gets right when its latent merit is
above zero:

    merit = Phi^-1(F1) + sqrt(icc) clip effect + sqrt(1 - icc) event effect

So the expected F1 is exactly `f1`: TP : FN : FP stand as f1 : 1 - f1 : 1 - f1. Clip effects are 30 % common to all
heads; incumbent and candidate share 85 % of the variance of every effect. Events are drawn singly: nothing is
approximated, and a loss planted later meets the very same events.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from gate.compare import Comparison
from gate.compare.effects import ratio_effects
from gate.measures import metric

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

#: Events of one average clip; with a prevalence of 2 % four of them are positives.
EVENTS = 200
#: Share of the variance that twins have in common, and of a clip effect that all heads have in common.
TWINS, COMMON = 0.85, 0.3


@dataclass(frozen=True)
class Clips:
    """spread: sigma of the lognormal clip sizes. clumping: shape of the Gamma factor of positives, mean 1."""

    name: str
    spread: float
    clumping: float


#: 400 regular clips are worth about 180, 300 heavy ones about 50 (Kish, by positives).
REGULAR, HEAVY, EQUAL = Clips("regular", 0.5, 2.0), Clips("heavy", 1.0, 0.5), Clips("equal size", 0.0, 2.0)


@dataclass(frozen=True)
class Suite:
    """positives, lookalikes: (H, J) events. f1, prevalence: (H,) of the incumbent. icc: intra-clip correlation."""

    positives: Ints
    lookalikes: Ints
    f1: Floats
    prevalence: Floats
    icc: float

    @property
    def shape(self) -> tuple[int, int]:
        heads, clips = self.positives.shape
        return heads, clips


def a_suite(
    rng: np.random.Generator,
    heads: int,
    clips: int,
    kind: Clips,
    *,
    icc: float = 0.3,
    prevalence: tuple[float, float] = (0.001, 0.1),
    f1: tuple[float, float] = (0.6, 0.95),
) -> Suite:
    """prevalence: range, log-uniform. f1: range, uniform."""
    size = rng.lognormal(-(kind.spread**2) / 2, kind.spread, clips)
    rarity = np.exp(rng.uniform(*np.log(prevalence), heads))
    expected = EVENTS * rarity[:, None] * size

    def clumped() -> Ints:
        return rng.poisson(expected * rng.gamma(kind.clumping, 1 / kind.clumping, (heads, clips)))

    return Suite(clumped(), clumped(), rng.uniform(*f1, heads), rarity, icc)


@dataclass(frozen=True)
class Twins:
    """Latent merits of every event of two releases on one suite, without the mean of the head.

    merit: (2, n), incumbent and candidate; events by label (positives first), head and clip.
    ends: (2 H J + 1,) where the events of each (label, head, clip) begin.
    """

    suite: Suite
    merit: NDArray[np.float32]
    ends: Ints


def twins(rng: np.random.Generator, suite: Suite) -> Twins:
    heads, clips = suite.shape
    number = np.concatenate([suite.positives.ravel(), suite.lookalikes.ravel()])
    ends = np.r_[0, np.cumsum(number)]
    effect = np.sqrt(COMMON) * _pair(rng, (2, 1, clips)) + np.sqrt(1 - COMMON) * _pair(rng, (2, heads, clips))
    of_clip = np.repeat(effect.reshape(2, -1), number, axis=1)
    merit = np.float32(np.sqrt(suite.icc)) * of_clip
    merit += np.float32(np.sqrt(1 - suite.icc)) * _pair(rng, (int(ends[-1]),))
    return Twins(suite, merit, ends)


def _pair(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Standard normal effects of incumbent and candidate, (2, *shape), correlation TWINS."""
    own = rng.standard_normal((2, *shape), np.float32) * np.float32(np.sqrt(1 - TWINS))
    own += rng.standard_normal(shape, np.float32) * np.float32(np.sqrt(TWINS))
    return own


@dataclass(frozen=True)
class Answers:
    """a, b: sums by clip of incumbent and candidate, name -> (H, J). worse, better: (H,) events that only the
    incumbent, only the candidate got right.
    """

    a: Mapping[str, Floats]
    b: Mapping[str, Floats]
    worse: Ints
    better: Ints


def answers(
    pair: Twins, loss: Floats | float = 0.0, *, silent: Mask | None = None, wrong: Mask | None = None
) -> Answers:
    """What both releases answer. loss: (H,) how far the candidate's expected F1 lies below the incumbent's, by a
    shift of every event. silent, wrong: (H, J) clips on which the candidate accepts nothing, gets everything wrong.
    """
    f1 = pair.suite.f1
    right_a = _right(pair, 0, f1)
    right_b = _right(pair, 1, f1 - loss)
    if silent is not None:
        positive, rest = np.split(right_b, [pair.ends[silent.size]])
        number = np.split(np.diff(pair.ends), 2)
        right_b = np.r_[positive & ~np.repeat(silent.ravel(), number[0]), rest | np.repeat(silent.ravel(), number[1])]
    if wrong is not None:
        right_b &= ~np.repeat(np.tile(wrong.ravel(), 2), np.diff(pair.ends))
    worse, better = (_by_place(pair, x).sum(axis=(0, 2)) for x in (right_a & ~right_b, right_b & ~right_a))
    return Answers(_sums(pair, right_a), _sums(pair, right_b), worse, better)


def silent_regime(rng: np.random.Generator, suite: Suite, loss: Floats | float) -> Mask:
    """(H, J) clips of a rare kind on which accepting nothing costs `loss` of F1.

    On a share q of the clips: F1 falls from f to 2 (1 - q) f / (2 - q), so q = 2 loss / (f + loss).
    """
    return _rare(rng, suite, 2 * loss / (suite.f1 + loss))


def wrong_regime(rng: np.random.Generator, suite: Suite, loss: Floats | float) -> Mask:
    """(H, J) clips of a rare kind on which being wrong in everything costs `loss` of F1: it falls to (1 - q) f."""
    return _rare(rng, suite, loss / suite.f1)


def _rare(rng: np.random.Generator, suite: Suite, share: Floats) -> Mask:
    return rng.random(suite.shape) < share[:, None]


def _right(pair: Twins, model: int, f1: Floats) -> Mask:
    events = np.diff(pair.ends[:: pair.suite.shape[1]])
    return pair.merit[model] > np.repeat(np.tile(-ndtri(f1), 2).astype(np.float32), events)


def _by_place(pair: Twins, chosen: Mask) -> Ints:
    """(2, H, J) chosen events by label, head and clip."""
    running = np.r_[0, np.cumsum(chosen)]
    return np.diff(running[pair.ends]).reshape(2, *pair.suite.shape)


def _sums(pair: Twins, right: Mask) -> dict[str, Floats]:
    tp, rejected = _by_place(pair, right).astype(float)
    return {"tp": tp, "fn": pair.suite.positives - tp, "fp": pair.suite.lookalikes - rejected}


def comparison_of(given: Answers, inside: Mask | None = None, number: int = 0) -> Comparison:
    """F1 of all heads on the clips of one slice, as `gate.compare.compare` gives it."""
    a, b = ({n: v if inside is None else v * inside for n, v in s.items()} for s in (given.a, given.b))
    effects = ratio_effects(metric("f1"), a, b)
    support = a["tp"] + a["fn"]
    squares = (support**2).sum(axis=1)
    heads = np.arange(len(support))
    nothing = np.full(len(support), np.nan)
    d, weight = np.nan_to_num(effects.d), np.nan_to_num(effects.weight)
    return Comparison(
        question=heads,
        slice=np.full(len(support), number),
        incumbent=effects.incumbent,
        candidate=effects.candidate,
        at_incumbent=nothing,
        delta=effects.delta,
        d=d,
        weight=weight,
        se=effects.se,
        df=effects.df,
        lost=effects.lost,
        third=((d - effects.delta[:, None] * weight) ** 3).sum(axis=1),
        positives=support.sum(axis=1),
        clips=(support > 0).sum(axis=1),
        effective=support.sum(axis=1) ** 2 / np.maximum(squares, 1.0),
        frames=nothing,
        fragile=heads < 0,
    )


def joined(parts: list[Comparison]) -> Comparison:
    values: dict[str, Any] = {f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Comparison)}
    return Comparison(**values)


def rows_of(comparison: Comparison, rows: Ints | Mask) -> Comparison:
    return Comparison(*(getattr(comparison, f.name)[rows] for f in fields(Comparison)))
