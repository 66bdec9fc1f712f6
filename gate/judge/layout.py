"""What is asked of which evidence: predictions, operating points, questions and clips, in the order of the suite."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gate.calibrate import OperatingPoint, calibrate, threshold_codes
from gate.compare import Question, Side, new_errors
from gate.curves import curves
from gate.errors import ConfigError
from gate.heads import series_of
from gate.judge.policy import Policy, Rule
from gate.lattice import NO_THRESHOLD
from gate.measures import metric
from gate.run import Run
from gate.suite import ContractResult, Suite
from gate.table import ClipIndex, EvidenceTable, Ints, by_score, empty, stack
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


def stacked(suite: Suite, answers: Run) -> EvidenceTable:
    """Evidence of all judged heads in suite order; nothing for a head that is missing."""
    return stack(
        [
            answers.evidence.get(h.name) or empty(series_of(h), suite.frames.cells, task_of(h).yields(h).sums)
            for h in suite.heads
        ]
    )


def operating_points(
    suite: Suite,
    evidence: EvidenceTable,
    rules: Mapping[str, Rule],
    shipping: Mapping[str, float],
    keep: Collection[str] = (),
) -> tuple[OperatingPoint, ...]:
    """Operating points of every prediction that needs one, on the calibration clips.

    evidence: of all judged heads, stacked. shipping: thresholds of the incumbent, kept where they are near-optimal, and
    always for the predictions in `keep`.
    """
    layout = layout_of(suite)
    wanted = {p: rows[0] for p, rows in layout.rows.items() if not layout.decided[rows[0]]}
    curve = curves(by_score(evidence), suite.frames.cell_split == 0)
    objectives = [rules[p].objective for p in wanted]
    return calibrate(curve, list(wanted.values()), list(wanted), objectives, shipping, keep=keep)


def side_of(evidence: EvidenceTable, points: Sequence[OperatingPoint], layout: Layout) -> Side:
    """One bundle as the comparison wants it."""
    codes = np.full(len(evidence.series), NO_THRESHOLD, dtype=np.int64)
    for point, code in zip(points, threshold_codes([p.threshold for p in points]), strict=True):
        codes[list(layout.rows[point.prediction])] = code
    return Side(evidence, codes)


def validation_clips(suite: Suite) -> ClipIndex:
    frames = suite.frames
    inside = frames.cell_split == 1
    clips = np.unique(frames.cell_clip[inside])
    return ClipIndex(np.where(inside, np.searchsorted(clips, frames.cell_clip), -1), len(clips))


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
