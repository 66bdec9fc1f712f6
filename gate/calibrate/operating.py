"""Operating points of all predictions at once, chosen on the calibration clips.

How a threshold is chosen by point estimate is told in `gate.calibrate.choice`, how it is proven in
`gate.calibrate.guaranteed`; here their answers become a status, and never a silent argmax (method A11).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gate.calibrate.choice import Goals, Mask, Range, best_feasible, codes_of, logits_of, near_best
from gate.calibrate.guaranteed import Proof, bounds_at, prove
from gate.calibrate.maps import IDENTITY, CalibrationMap
from gate.calibrate.objective import objective_of
from gate.curves import Curves
from gate.measures import divide
from gate.table import ClipIndex, Floats, Ints

Status = Literal[
    "calibrated",
    "kept",
    "threshold_weak",
    "unattainable",
    "unproven",
    "degraded",
    "no_positives",
    "no_scores",
]
#: Fewer positives than this do not place a threshold (method A11.1).
ENOUGH_POSITIVES = 30


@dataclass(frozen=True)
class OperatingPoint:
    """Where one prediction decides.

    threshold: logit; a score at or above it is accepted; None when nothing could be chosen. precision, recall: at it,
    on the calibration clips. low, high: the lowest and highest threshold that is near-optimal, or proven. status: how
    it was chosen:

    calibrated      by the objective            kept        the incumbent's (or the released one)
    threshold_weak  on fewer than 30 positives  unproven    the constraint holds by point estimate, without the proof
    unattainable    no threshold meets the constraint, and none is given
    degraded        the same, in a tier that need not be certified: by `max f1` instead
    no_positives    nothing to find: the incumbent's    no_scores   no event has a score: the incumbent's

    bound: of a constraint `at c`, the proven lower bound of the constrained quantity at the threshold (where there is
    none, at the one that comes closest). attained: its best attainable value where the constraint cannot be met.
    clips_needed: about how many more clips like these would prove an unproven one; None when no number would.
    map: what made the scores that the threshold is compared with.
    """

    prediction: str
    objective: str
    status: Status
    threshold: float | None
    precision: float | None
    recall: float | None
    positives: int
    low: float | None
    high: float | None
    bound: float | None = None
    attained: float | None = None
    clips_needed: int | None = None
    map: CalibrationMap = IDENTITY

    @property
    def feasible(self) -> bool:
        """There is a threshold and the objective is met; a kept threshold is held to the constraint too."""
        chosen = self.threshold is not None and self.status in ("calibrated", "kept", "threshold_weak")
        return chosen and objective_of(self.objective).met(self.precision, self.recall, self.bound)


@dataclass(frozen=True)
class _Choice:
    """What n objectives came to, (n,) each; NaN or -1 for none: see `OperatingPoint`. closest: code of `attained`."""

    status: NDArray[np.str_]
    threshold: Floats
    low: Floats
    high: Floats
    attained: Floats
    closest: Ints
    needed: Ints


@dataclass(frozen=True)
class Settled(_Choice):
    """The same, with what is told of it. tp, fp: events accepted at the threshold, on the calibration clips."""

    tp: Floats
    fp: Floats
    positives: Ints
    bound: Floats


@dataclass(frozen=True)
class Asked:
    """What is asked for n predictions, as arrays. shipped: (n,) thresholds of the incumbent, for hysteresis, NaN for
    none. fixed: predictions that take it whatever it is worth here. firm: predictions that get no threshold where their
    constraint is unattainable; the others fall back to `max f1`.
    """

    goals: Goals
    shipped: Floats
    fixed: Mask
    firm: Mask

    @classmethod
    def of(
        cls,
        predictions: Sequence[str],
        objectives: Sequence[str],
        incumbent: Mapping[str, float] | None = None,
        keep: Collection[str] = (),
        strict: Collection[str] = (),
    ) -> Asked:
        """incumbent: prediction -> threshold that ships now. keep: the fixed ones; strict: the firm ones."""
        shipping, named = incumbent or {}, (frozenset(keep), frozenset(strict))
        fixed, firm = (np.array([p in names for p in predictions], dtype=bool) for names in named)
        shipped = np.array([shipping.get(p, np.nan) for p in predictions], dtype=np.float64)
        return cls(Goals.of([objective_of(o) for o in objectives]), shipped, fixed, firm)

    def take(self, rows: Ints) -> Asked:
        """What is asked for the chosen predictions."""
        return Asked(self.goals.take(rows), self.shipped[rows], self.fixed[rows], self.firm[rows])


def calibrate(
    curve: Curves,
    index: ClipIndex,
    predictions: Sequence[str],
    objectives: Sequence[str],
    incumbent: Mapping[str, float] | None = None,
    *,
    keep: Collection[str] = (),
    strict: Collection[str] = (),
) -> tuple[OperatingPoint, ...]:
    """One operating point for each of n predictions; see `settle` for the curve and `Asked` for the rest."""
    asked = Asked.of(predictions, objectives, incumbent, keep, strict)
    return as_points(predictions, objectives, [settle(curve, index, asked)])


def settle(curve: Curves, index: ClipIndex, asked: Asked) -> Settled:
    """What the objectives of n predictions come to.

    curve: one series a prediction, over the calibration clips. index: those clips.

    A constraint `at c` has no hysteresis but `fixed`: its proof holds for thresholds tried in an order that ignores
    labels, and the incumbent's, chosen with labels of these very clips, is none of them.
    """
    goals, shipped = asked.goals, asked.shipped
    best = _chosen(near_best(curve, goals), curve, index, goals, shipped, asked.firm)
    kept = asked.fixed & ~np.isnan(shipped)
    nothing = (curve.total == 0) | (np.diff(curve.run_starts) == 0)
    status = np.where(kept, "kept", best.status)
    status = np.where(nothing, np.where(curve.total == 0, "no_positives", "no_scores"), status)
    threshold = np.where(kept | nothing, shipped, best.threshold)
    codes = codes_of(threshold)
    tp, fp = curve.counts_at(codes)
    bound = np.full(len(goals.level), np.nan)
    proofs = np.flatnonzero(goals.proven & ~nothing)
    if proofs.size:
        read = np.where(status == "unattainable", best.closest, codes)
        bound[proofs] = bounds_at(curve.entries, index, goals.recall, read, goals.confidence)[proofs]
    return Settled(
        status, threshold, best.low, best.high, best.attained, best.closest, best.needed, tp, fp, curve.total, bound
    )


def as_points(
    predictions: Sequence[str], objectives: Sequence[str], parts: Sequence[Settled]
) -> tuple[OperatingPoint, ...]:
    """Operating points of n predictions; parts: what their objectives came to, in their order."""
    if not parts:
        return ()
    s = Settled(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Settled)))
    missed = (s.status == "unattainable") | (s.status == "degraded")
    needed = (s.status == "unproven") & (s.needed >= 0)
    columns: list[Sequence[object]] = [
        _numbers(s.threshold),
        _numbers(divide(s.tp, s.tp + s.fp)),
        _numbers(divide(s.tp, s.positives.astype(float))),
        s.positives.tolist(),
        _numbers(s.low),
        _numbers(s.high),
        _numbers(s.bound),
        _numbers(np.where(missed, s.attained, np.nan)),
        [k if told else None for k, told in zip(s.needed.tolist(), needed.tolist(), strict=True)],
    ]
    said = zip(predictions, objectives, s.status.tolist(), *columns, strict=True)
    return tuple(OperatingPoint(*row) for row in said)  # type: ignore[arg-type]


def threshold_codes(thresholds: Sequence[float | None]) -> Ints:
    """Lattice codes of thresholds, (n,); NO_THRESHOLD where there is none."""
    return codes_of(np.array([np.nan if t is None else t for t in thresholds], dtype=np.float64))


def _numbers(values: Floats) -> list[float | None]:
    return [None if v != v else v for v in values.tolist()]


def _chosen(near: Range, curve: Curves, index: ClipIndex, goals: Goals, shipped: Floats, firm: Mask) -> _Choice:
    """Choice and status of every prediction, by what the data say of its objective."""
    low, high = logits_of(near.low), logits_of(near.high)
    stays = (low <= shipped) & (shipped <= high)
    status = np.where(curve.total >= ENOUGH_POSITIVES, "calibrated", "threshold_weak").astype("<U14")
    none = np.full(len(stays), -1)
    out = _Choice(
        np.where(stays, "kept", status),
        np.where(stays, shipped, logits_of(near.code)),
        low,
        high,
        none * np.nan,
        none,
        none,
    )
    if not goals.constrained.any():
        return out
    point = best_feasible(curve, goals, shipped)
    proof = _proof(curve, index, goals, point.range.code >= 0)
    met, proven = point.range.code >= 0, proof.code >= 0
    # (which predictions, status, threshold, range): what is not named here stays as the default rule has it.
    plain = goals.constrained & ~goals.proven
    cases = (
        (plain & met & ~point.stays, status, logits_of(point.range.code), point.range),
        (plain & met & point.stays, "kept", shipped, point.range),
        (goals.proven & proven, "calibrated", logits_of(proof.code), Range(proof.code, proof.low, proof.high)),
        (goals.proven & ~proven & met, "unproven", logits_of(point.range.code), point.range),
        (goals.constrained & ~met & firm, "unattainable", none * np.nan, Range(none, none, none)),
        (goals.constrained & ~met & ~firm, "degraded", out.threshold, near),
    )
    masks = [mask for mask, *_ in cases]
    return _Choice(
        np.select(masks, [np.broadcast_to(name, status.shape) for _, name, *_ in cases], out.status),
        np.select(masks, [threshold for _, _, threshold, _ in cases], out.threshold),
        np.select(masks, [logits_of(r.low) for *_, r in cases], low),
        np.select(masks, [logits_of(r.high) for *_, r in cases], high),
        point.attained,
        point.closest,
        proof.needed,
    )


def _proof(curve: Curves, index: ClipIndex, goals: Goals, hopeful: Mask) -> Proof:
    """`prove` for the predictions that ask for a proof; nothing for the others."""
    rows = np.flatnonzero(goals.proven)
    out = Proof(*(np.full(len(goals.level), -1) for _ in range(4)))
    if rows.size:
        found = prove(
            curve.entries, index, rows, goals.recall[rows], goals.level[rows], goals.confidence[rows], hopeful[rows]
        )
        for name in ("code", "low", "high", "needed"):
            getattr(out, name)[rows] = getattr(found, name)
    return out
