"""What a task is given, and what it gives: frames of one head in, evidence or a drawing out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gate.errors import BundleError, EvidenceError
from gate.heads import Head, series_of
from gate.lattice import encode, probability, scores_to_logits, threshold_code
from gate.table import EvidenceTable, Ints, empty, histogram

Array = NDArray[Any]
Outputs = Mapping[str, Array]


@dataclass(frozen=True)
class Boxes:
    """Truth boxes of a batch. frame: (n,) position in the batch; label: (n,) channel; corners: (n, 4); ignore: (n,);
    angle: (n,) NaN where none is known.
    """

    frame: Ints
    label: Ints
    corners: NDArray[np.float64]
    ignore: NDArray[np.bool_]
    angle: NDArray[np.float64]


@dataclass(frozen=True)
class Batch:
    """B frames of one head.

    outputs: role -> (B, ...) float, finite. truth: (B, ...) array or Boxes. cell: (B,) evidence cell of each frame.
    """

    outputs: Outputs
    truth: Array | Boxes
    cell: Ints
    cells: int

    @property
    def size(self) -> int:
        return len(self.cell)

    @property
    def raster(self) -> Array:
        """Truth that is no boxes."""
        assert not isinstance(self.truth, Boxes)
        return self.truth

    @property
    def boxes(self) -> Boxes:
        """Truth of objects."""
        assert isinstance(self.truth, Boxes)
        return self.truth


@dataclass(frozen=True)
class Yields:
    """What the evidence of a head holds.

    sums: names of its moments. provides: what metrics may read (names of sums, and `curve`).
    thresholded: decisions come from a calibrated threshold. coupled: one bad channel spoils all of them.
    """

    sums: tuple[str, ...]
    provides: frozenset[str]
    thresholded: bool
    coupled: bool = False


#: Dense heads with one score for every event.
SCORED = Yields(
    ("frames",),
    frozenset({"curve", "tp", "fp", "fn", "tn", "events", "sum_brier", "sum_log_loss"}),
    thresholded=True,
)


@dataclass(frozen=True)
class Drawing:
    """What a reviewer sees of one prediction on one frame.

    boxes: (x0, y0, x1, y1, kind, caption) in pixels of the head's input. raster: (H, W) uint8, 0 nothing, 1 right,
    2 false alarm, 3 missed, 255 ignored. keys: what 2 and 3 are called. facts: lines of text; the first one, where it
    begins with "truth", is the same for every release. Kinds of boxes: truth, hit, false, missed, ignored.
    """

    facts: tuple[str, ...] = ()
    boxes: tuple[tuple[float, float, float, float, str, str], ...] = ()
    raster: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((0, 0), np.uint8))
    keys: tuple[str, str] = ("false alarm", "missed")


def channels_first(output: Array, head: Head, dims: int) -> Array:
    """(B, K, ...) with `dims` axes after the channels; a single-channel output may lack the channel axis.

    Raises BundleError when the number of axes or channels is another one.
    """
    count = len(head.channels)
    shaped = output[:, None] if count == 1 and output.ndim == dims + 1 else output
    if shaped.ndim != dims + 2 or shaped.shape[1] != count:
        raise BundleError(f"an output of shape {output.shape[1:]} a frame for {count} channels", where=head.name)
    return shaped


def scored_table(
    head: Head,
    batch: Batch,
    raw: Array,
    truth: Array,
    valid: NDArray[np.bool_],
    moments: Mapping[str, NDArray[np.int64]] | None = None,
) -> EvidenceTable:
    """Evidence of dense events: raw scores, truth (1 is positive) and valid are (B, K, ...) over all emitted channels.

    moments: name -> (B, S) further sums of each frame, added to their cells.
    """
    judged = list(head.judged)
    flat = (len(raw), len(judged), -1)
    codes = encode(scores_to_logits(raw, head.score))[:, judged].reshape(flat)
    positive = (truth[:, judged] == 1).reshape(flat)
    counted = valid[:, judged].reshape(flat)
    if counted.all():
        series = np.tile(np.repeat(np.arange(len(judged)), counted.shape[2]), len(raw))
        cell = np.repeat(batch.cell, len(judged) * counted.shape[2])
        keys, counts = histogram(series, cell, positive.reshape(-1), codes.reshape(-1))
    else:
        frame, series, _ = np.nonzero(counted)
        keys, counts = histogram(series, batch.cell[frame], positive[counted], codes[counted])
    per_frame = {"frames": counted.any(axis=2).astype(np.int64), **(moments or {})}
    return summed(head, batch, per_frame, keys, counts)


def summed(
    head: Head,
    batch: Batch,
    per_frame: Mapping[str, NDArray[np.int64]],
    keys: Ints | None = None,
    counts: Ints | None = None,
) -> EvidenceTable:
    """Evidence table of a batch: sums of each frame, name -> (B, S), added cell by cell, with histogram entries."""
    names = tuple(sorted(per_frame))
    zero = empty(series_of(head), batch.cells, names)
    moments = zero.moments
    for k, name in enumerate(names):
        # (C, S) view: frames of one cell add up, in integers, so their order cannot matter.
        np.add.at(moments[:, :, k].T, batch.cell, per_frame[name])
        _check_room(per_frame[name], batch)
    return EvidenceTable(
        zero.series,
        zero.cells,
        zero.keys if keys is None else keys,
        zero.counts if counts is None else counts,
        names,
        moments,
    )


def _check_room(values: NDArray[np.int64], batch: Batch) -> None:
    """Raises EvidenceError where sums of a batch, (B, S), do not fit 64 bits in their cell: integers wrap silently."""
    sizes = np.abs(values.astype(np.float64))
    if sizes.sum() >= 2.0**63:
        totals = np.zeros((batch.cells, values.shape[1]))
        np.add.at(totals, batch.cell, sizes)
        if (totals >= 2.0**63).any():
            raise EvidenceError("a sum of evidence does not fit 64 bits", mend="declare the head in a larger unit")


def accepted(logits: Array, threshold: float | None) -> NDArray[np.bool_]:
    """Where a score is accepted: as evidence is counted, at or above the threshold on the lattice.

    Without an operating point (None) nothing is counted at one; a reviewer is then shown probability one half.
    """
    return encode(logits) >= threshold_code(0.0 if threshold is None else threshold)


def share(p: float) -> str:
    """A probability as it is read, `0.91`; never 0.00 or 1.00 unless it is."""
    text = f"{p:.2f}"
    return text if text not in ("0.00", "1.00") or p in (0.0, 1.0) else "<0.01" if p < 0.5 else ">0.99"


def share_of(logit: float) -> str:
    """The probability of a logit, as it is counted and read."""
    return share(float(probability(encode([logit]))[0]))


def yes_or_no(logit: float, truth: float, threshold: float | None) -> Drawing:
    """Truth, probability and decision of one event, as text; truth is NaN where nobody labelled it."""
    known = "not labelled" if np.isnan(truth) else "yes" if truth == 1 else "no"
    said = "yes" if accepted(np.array(logit), threshold) else "no"
    return Drawing((f"truth {known}", f"{share_of(logit)} {said}"))


def raster_kinds(said: Array, true: Array, ignored: Array, noun: str) -> Drawing:
    """Right, false and missed places of one (H, W) raster, a `noun` each; `said`, `true`, `ignored` are bool."""
    raster = np.select([ignored, said & true, said, true], [255, 1, 2, 3], 0).astype(np.uint8)
    false, missed = int((raster == 2).sum()), int((raster == 3).sum())
    return Drawing((f"{false:,} {noun if false == 1 else noun + 's'} false, {missed:,} missed",), raster=raster)
