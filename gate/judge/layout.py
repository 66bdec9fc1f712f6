"""What is asked of which evidence: predictions, operating points, questions and clips, in the order of the suite."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gate.bundle import Bundle
from gate.calibrate import (
    IDENTITY,
    Asked,
    OperatingPoint,
    Settled,
    apply_maps,
    as_points,
    fit_maps,
    read_points,
    settle,
    threshold_codes,
    thresholds_path,
)
from gate.compare import Comparison, Question, Side, Unreached, new_errors, unreached_of
from gate.cores import each
from gate.curves import curves
from gate.errors import ConfigError
from gate.folded import Folded, folded, unfolded
from gate.heads import series_of
from gate.judge.policy import Policy, Rule
from gate.lattice import NO_THRESHOLD
from gate.measures import metric
from gate.run import Run, Store
from gate.stacked import Stacked
from gate.suite import ContractResult, Suite
from gate.table import ClipIndex, Ints, blocks, by_score, empty, mixed
from gate.tasks import task_of

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Layout:
    """Where each prediction stands in stacked evidence.

    rows: prediction -> its series. decided: (S,) series that need no threshold.
    """

    rows: Mapping[str, tuple[int, ...]]
    decided: Mask

    @property
    def first(self) -> Ints:
        """First series of each prediction, (P,)."""
        return np.array([rows[0] for rows in self.rows.values()], dtype=np.int64)


def layout_of(suite: Suite) -> Layout:
    rows: dict[str, list[int]] = {}
    decided: list[bool] = []
    for head in suite.heads:
        for series in series_of(head):
            rows.setdefault(series.prediction, []).append(len(decided))
            decided.append(not task_of(head).yields(head).thresholded)
    return Layout({p: tuple(r) for p, r in rows.items()}, np.array(decided, dtype=bool))


def stacked(suite: Suite, answers: Run) -> Stacked:
    """Evidence of all judged heads in suite order; nothing for a head that is missing."""
    found, cells = answers.evidence.folded, suite.frames.cells
    return Stacked(
        tuple(found.get(h.name) or folded(empty(series_of(h), cells, task_of(h).yields(h).sums)) for h in suite.heads)
    )


def operating_points(
    suite: Suite,
    evidence: Stacked,
    rules: Mapping[str, Rule],
    shipping: Mapping[str, float],
    keep: Collection[str] = (),
) -> tuple[OperatingPoint, ...]:
    """Operating points of every prediction that needs one, on the calibration clips.

    evidence: of all judged heads. shipping: thresholds of the incumbent, kept where they are near-optimal, and
    always for the predictions in `keep`.
    """
    layout, index = layout_of(suite), clips_of(suite, 0)
    wanted = dict(sorted((rows[0], p) for p, rows in layout.rows.items() if not layout.decided[rows[0]]))
    names, rows = list(wanted.values()), np.array(list(wanted), dtype=np.int64)
    objectives = [rules[p].objective for p in names]
    asked = Asked.of(names, objectives, shipping, keep, [p for p in names if rules[p].tier == "critical"])

    def settled(some: Ints) -> Settled:
        curve = curves(by_score(evidence.take(some)), index.clip >= 0)
        return settle(curve, index, asked.take(np.searchsorted(rows, some)))

    return as_points(names, objectives, each(settled, blocks(evidence.sizes, rows)))


def released(folder: Path, suite: Suite, bundle: Bundle) -> tuple[OperatingPoint, ...]:
    """Operating points that ship with a bundle; none when its file is not there."""
    path = thresholds_path(folder, suite.name, bundle.name, bundle.version)
    return read_points(path, suite=suite.digest, bundle=bundle.digest) if path.is_file() else ()


def calibrated(
    suite: Suite,
    evidence: Stacked,
    rules: Mapping[str, Rule],
    shipping: Sequence[OperatingPoint] = (),
    keep: Collection[str] = (),
) -> tuple[Stacked, tuple[OperatingPoint, ...]]:
    """Evidence with its scores mapped where a rule asks for it, and the operating points on that scale.

    A map changes the scale of thresholds, so it is fitted first; both come from the calibration clips, and ship as a
    pair (method A13). shipping: operating points of the incumbent; predictions in `keep` take the whole pair, others
    its threshold where it is near-optimal and their scale is the same.
    """
    layout, index = layout_of(suite), clips_of(suite, 0)
    before = {p.prediction: p for p in shipping}
    firm = frozenset(keep) & before.keys()
    fresh = [
        p for p, rows in layout.rows.items() if not (layout.decided[rows[0]] or p in firm or rules[p].map == "identity")
    ]
    maps = {p: before[p].map for p in firm}
    if fresh:
        first = np.array([layout.rows[p][0] for p in fresh], dtype=np.int64)
        curve = curves(by_score(evidence.take(first)), index.clip >= 0)
        maps |= dict(zip(fresh, fit_maps(curve, [rules[p].map for p in fresh]), strict=True))
    scales = {row: scale for p, scale in maps.items() if scale.kind != "identity" for row in layout.rows[p]}

    def mapped(head: int, rows: range) -> Folded | None:
        own = {row - rows.start: scales[row] for row in rows if row in scales}
        return folded(apply_maps(unfolded(evidence.tables[head]), list(own), list(own.values()))) if own else None

    on_scale = evidence.changed(mapped)
    shipped = {
        p: point.threshold
        for p, point in before.items()
        if point.threshold is not None and (p in firm or point.map.scale == maps.get(p, IDENTITY).scale)
    }
    points = operating_points(suite, on_scale, rules, shipped, keep=keep)
    return on_scale, tuple(replace(p, map=maps.get(p.prediction, IDENTITY)) for p in points)


def side_of(evidence: Stacked, points: Sequence[OperatingPoint], layout: Layout) -> Side:
    """One bundle as the comparison wants it."""
    codes = np.full(len(evidence.series), NO_THRESHOLD, dtype=np.int64)
    for point, code in zip(points, threshold_codes([p.threshold for p in points]), strict=True):
        codes[list(layout.rows[point.prediction])] = code
    return Side(evidence, codes)


def unreached(
    suite: Suite, before: Side, after: Side, layout: Layout, same: Collection[str], store: Store | None
) -> Unreached:
    """Of the predictions in `same`, which the change cannot reach, those that are read at the same thresholds."""
    names = frozenset(same)
    chosen = {k for k, p in enumerate(layout.rows) if p in names}
    networks = [head.network for head in suite.heads for _ in head.predictions]
    return unreached_of(before, after, networks, list(layout.rows.values()), chosen, store)


def anchor_side(sides: Mapping[str, Side], anchor_of: Mapping[str, str], layout: Layout) -> Side:
    """One side made of the anchors of all predictions. sides: digest -> release; anchor_of: prediction -> digest."""
    digests = list(sides)
    which = np.zeros(len(layout.decided), dtype=np.int64)
    for prediction, rows in layout.rows.items():
        which[list(rows)] = digests.index(anchor_of[prediction])
    codes = np.stack([s.codes for s in sides.values()])[which, np.arange(len(which))]
    tables = [side.table for side in sides.values()]

    def chosen(head: int, rows: range) -> Folded:
        of_each = [table.tables[head] for table in tables]
        own = which[rows.start : rows.stop]
        return of_each[own[0]] if (own == own[0]).all() else folded(mixed(list(map(unfolded, of_each)), own))

    return Side(tables[0].changed(chosen), codes)


def unknown_to(since: Mapping[str, Run], anchor_of: Mapping[str, str], suite: Suite) -> list[str]:
    """Predictions that are missing or broken in their anchor. since: digest -> its run."""
    lacking = {
        digest: {p for h in suite.heads if h.name in answers.missing for p in h.predictions} | answers.faults().keys()
        for digest, answers in since.items()
    }
    return [p for p, digest in anchor_of.items() if p in lacking[digest]]


def known(
    drift: Comparison, questions: Sequence[Question], predictions: Sequence[str], unknown: Collection[str]
) -> Comparison:
    """The drift without what cannot be told."""
    lacking = np.array([p in unknown for p in predictions], dtype=bool)
    gone = lacking[[questions[q].prediction for q in drift.question]]
    return replace(drift, incumbent=np.where(gone, np.nan, drift.incumbent), delta=np.where(gone, np.nan, drift.delta))


def clips_of(suite: Suite, split: int) -> ClipIndex:
    """The independent units of a split: its clips, or the coarser units that the suite declares."""
    frames = suite.frames
    inside = frames.cell_split == split
    unit = frames.unit_of[frames.cell_clip]
    units = np.unique(unit[inside])
    return ClipIndex(np.where(inside, np.searchsorted(units, unit), -1), len(units))


def questions_of(rules: Mapping[str, Rule], layout: Layout) -> list[Question]:
    """Every metric of every prediction; only average precision is read at all IoU levels, others at the first."""
    return [
        Question(k, rows if metric(name).kind == "curve" else rows[:1], name)
        for k, (prediction, rows) in enumerate(layout.rows.items())
        for name in rules[prediction].metrics
    ]


def broken_of(
    suite: Suite, before: Run, after: Run, held: Sequence[ContractResult]
) -> tuple[dict[str, str], dict[str, str]]:
    """Prediction -> why it is broken, for the candidate, and for the incumbent."""
    of_head = {h.name: h.predictions for h in suite.heads}
    broken = []
    for who, answers in (("candidate", after), ("incumbent", before)):
        found = {p: f"the {who} has no such head" for name in answers.missing for p in of_head[name]}
        found |= {p: f"{why} (incumbent)" if who == "incumbent" else why for p, why in answers.faults().items()}
        for result in held:
            # The contract engine reads the same summary independently; what it alone refuses is broken too.
            if not result.success and result.severity == "critical" and result.name.startswith(f"{who}.predictions."):
                said = f"{result.expectation}: {result.observed}"
                # A check that named nobody could not be made at all: then nobody is proven sound.
                named = result.failed or suite.predictions
                found |= {p: said for p in named if p in suite.predictions and p not in found}
        broken.append(found)
    return broken[0], broken[1]


def strict_clips(suite: Suite, policy: Policy) -> list[int]:
    """Positions of the clips of zero tolerance. Raises ConfigError for one that is not a validation clip."""
    inside = {suite.frames.clips[k]: int(k) for k in suite.frames.cell_clip[suite.frames.cell_split == 1]}
    for k, name in enumerate(policy.text.must_pass):
        if name not in inside:
            raise ConfigError(
                f"'{name}' is not a validation clip",
                where=policy.lines.where("must_pass", k),
                mend=f"clips are named like {', '.join(list(inside)[:3])}",
            )
    return [inside[name] for name in policy.text.must_pass]


def newly_wrong(
    suite: Suite, clips: Sequence[int], rules: Mapping[str, Rule], before: Side, after: Side, layout: Layout
) -> list[str]:
    """Predictions with new errors on one of the clips of zero tolerance."""
    tolerance = np.array([max(rules[p].margins) / 10 for p in layout.rows])
    worse = np.zeros(len(layout.rows), bool)
    for clip in clips:
        cells = suite.frames.cell_clip == clip
        worse |= new_errors(before, after, layout.first, cells, layout.decided, tolerance)
    return [p for p, bad in zip(layout.rows, worse, strict=True) if bad]
