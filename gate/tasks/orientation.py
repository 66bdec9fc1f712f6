"""Directions: of frames or places (a heading, lanes from above), or of objects that are found first.

Of frames and places. Event: one direction with a truth; its error is output minus truth the short way round the head's
`period`, at most half of it, in the head's unit (degrees or radians, as outputs and truths are). A period of 360
degrees is for headings, 180 for lines without an arrow, 90 for a crossing of like streets. `mae`, `rmse` and
`within_15_degrees` (an error of 15 degrees is within) are of these errors. There is no score and nothing can be missed.
Ignored: a truth that is absent (NaN, or an empty cell of the table).
No truth: the frame counts for nobody. No prediction: a missing frame, hence broken. Neither: nothing to count.

Of objects: a head that is read from a detection's outputs and one more, `angle`, with a table of boxes and their angles
as truth. Event, score, missed and ignored are those of a detection, and so are the three empty cases; a box without an
angle is an ignore region too. A hit counts for its similarity (1 + cos(error)) / 2, the cosine over one period; a false
alarm for nothing. `aos`, 0 to 1 and higher is better, is precision so weighted, over recalls that are not: the average
orientation similarity of the KITTI object benchmark (Geiger et al. 2012, equation 3, at the 40 recalls 1/40, 2/40 ... 1
that the benchmark has used since 2019). Whether the boxes are right is the question of a `detection` head beside it.
Evidence: a second row, in which each detection is 2^20 events, positive in proportion to its similarity.

The short way round a period is nuScenes' orientation error (`yaw_diff`: 360 degrees, of barriers 180).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gate.errors import BundleError
from gate.evidence import fixed_sum
from gate.heads import Head
from gate.lattice import MISSED, encode
from gate.matching import match
from gate.table import EvidenceTable, Floats, Ints, keys_of, sum_equal_keys
from gate.tasks.batch import Array, Batch, Drawing, Outputs, Yields, accepted, channels_first, share_of, summed
from gate.tasks.boxes import box_scores, decode, drawn
from gate.tasks.events import Alarms, Events

_SUMS = ("events", "frames", "sum_abs_error", "sum_error", "sum_square_error", "within_15_degrees")
#: Degrees within which a direction is right; and, for a picture, beyond which it is quite another one.
NEAR, FAR = 15.0, 45.0
#: Events that a detection is in the row of similarities.
PARTS = 1 << 20


def yields(head: Head) -> Yields:
    if head.objects:
        return Yields(("frames",), frozenset({"similarity", "tp", "fp", "fn"}), thresholded=True, coupled=True)
    return Yields(_SUMS, frozenset(_SUMS), thresholded=False)


def shape(head: Head, truth: Array) -> tuple[int, ...] | None:
    """What one frame of the output must be: a value a channel, or a raster as large as the truth for each.

    Of objects any number of places: what must fit is checked by `scores`.
    """
    if head.objects:
        return None
    return (len(head.channels), *(truth.shape[-2:] if truth.ndim > 2 else ()))


def scores(outputs: Outputs, head: Head) -> Array:
    """(B, K) or (B, K, H, W): the head's raw output; of objects (B, K, ...), the scores of their detection."""
    if head.objects:
        found, angle = box_scores(outputs, head), outputs["angle"]
        if angle.size != found[:, 0].size:
            raise BundleError(
                f"angles of shape {angle.shape[1:]} a frame for boxes of {found.shape[2:]} places", where=head.name
            )
        return found
    return channels_first(outputs[""], head, 0 if outputs[""].ndim <= 2 else 2)


def reduce(batch: Batch, head: Head) -> EvidenceTable:
    """Sums of errors, exact to 2^-30 of the unit an event; truth is (B, K), or (B, H, W) or (B, K, H, W), and NaN where
    it does not count. Of objects, whose truth is Boxes, histograms of score x hit and of score x similarity.
    """
    if head.objects:
        return _of_objects(batch, head)
    judged = list(head.judged)
    error = _errors(batch, head)[:, judged].reshape(batch.size, len(judged), -1)
    counted = ~np.isnan(error)
    error = np.where(counted, error, 0.0)
    events = counted.sum(axis=2)
    return summed(
        head,
        batch,
        {
            "events": events,
            "frames": (events > 0).astype(np.int64),
            "sum_error": fixed_sum(error),
            "sum_abs_error": fixed_sum(np.abs(error)),
            "sum_square_error": fixed_sum(error * error),
            "within_15_degrees": (counted & (np.abs(error) <= _in_unit(NEAR, head))).sum(axis=2),
        },
    )


def _errors(batch: Batch, head: Head) -> Floats:
    """Error of every direction, (B, K, ...), NaN without a truth."""
    said = scores(batch.outputs, head).astype(np.float64)
    return short_way(said - batch.raster.reshape(said.shape), _in_unit(head.period, head))


def short_way(angle: Floats, period: float) -> Floats:
    """The angle that is the same but for whole periods, from minus half a period up to half a period."""
    return (angle + period / 2) % period - period / 2


def _in_unit(degrees: float, head: Head) -> float:
    return math.radians(degrees) if head.unit == "radians" else degrees


def events(batch: Batch, head: Head, channel: int, threshold: float | None) -> Iterator[Events]:
    """One event a frame with its error, of a raster with the mean of their sizes; none where nobody measured."""
    if head.objects:
        yield from _object_events(batch, head, channel, threshold)
        return
    truth = batch.raster.reshape(scores(batch.outputs, head).shape)[:, channel].astype(np.float64)
    for error, true in zip(_errors(batch, head)[:, channel], truth, strict=True):
        known = error[~np.isnan(error)].reshape(-1)
        if error.ndim:
            yield Events.of_raster(np.abs(known))
        else:
            n = len(known)
            yield Events(true.reshape(-1)[:n], np.full(n, np.nan), np.zeros(n, bool), known)


def picture(batch: Batch, head: Head, channel: int, threshold: float | None) -> Drawing:
    """Truth, output and error of the first frame as text; of a raster, where it is right and how far off elsewhere."""
    if head.objects:
        return _object_picture(batch, head, channel, threshold)
    said, error = scores(batch.outputs, head)[0, channel], _errors(batch, head)[0, channel]
    if error.ndim:
        size = np.abs(error)
        limits = _in_unit(NEAR, head), _in_unit(FAR, head)
        raster = np.select([np.isnan(size), size <= limits[0], size <= limits[1]], [255, 1, 2], 3).astype(np.uint8)
        off, far = int((raster == 2).sum()), int((raster == 3).sum())
        keys = (f"off by over {NEAR:g}°", f"off by over {FAR:g}°")
        return Drawing((f"{off + far:,} place{'s' * (off + far != 1)} {keys[0]}, {far:,} {keys[1]}",), (), raster, keys)
    if np.isnan(error):
        return Drawing(("truth not measured", f"{float(said):.4g} {head.unit}"))
    true = float(batch.raster.reshape(-1, len(head.channels))[0, channel])
    sign = f"{float(error):+.3g}".replace("-", "\u2212")
    return Drawing((f"truth {true:.4g} {head.unit}", f"{float(said):.4g} (error {sign})"))


@dataclass(frozen=True)
class _Matched:
    """Detections of one class in one frame, accepted or not. logit: (n,); corners: (n, 4); found: (n,) what they hit,
    see `matching.match`; error: (n,) of their angles, NaN without a hit. boxes: (m, 4) truths; ignore: (m,); missed:
    positions of those that nothing hits.
    """

    logit: Array
    corners: Array
    found: Ints
    error: Floats
    boxes: Array
    ignore: NDArray[np.bool_]
    missed: Ints


def _matched(batch: Batch, head: Head, channel: int, frame: int, detections: tuple[Array, ...]) -> _Matched:
    """detections: what `decode` gives of that frame."""
    truth, (label, logit, corners, at) = batch.boxes, detections
    mine, wanted = label == channel, (truth.frame == frame) & (truth.label == channel)
    boxes, true = truth.corners[wanted], truth.angle[wanted]
    ignore = truth.ignore[wanted] | np.isnan(true)
    found, missed = match(logit[mine].astype(np.float64), corners[mine], boxes, ignore, head.levels[0])
    said = batch.outputs["angle"][frame].reshape(-1)[at[mine]].astype(np.float64)
    error = np.full(len(found), np.nan)
    error[found >= 0] = short_way(said[found >= 0] - true[found[found >= 0]], _in_unit(head.period, head))
    return _Matched(logit[mine], corners[mine], found, error, boxes, ignore, missed)


def _of_objects(batch: Batch, head: Head) -> EvidenceTable:
    entries: list[tuple[Ints, Ints, NDArray[np.bool_], NDArray[np.uint16], Ints]] = []
    turn = 2 * np.pi / _in_unit(head.period, head)
    for frame, detections in enumerate(decode(batch.outputs, head)):
        for row, channel in enumerate(head.judged):
            m = _matched(batch, head, channel, frame, detections)
            counted = m.found != -2
            hit, code = m.found[counted] >= 0, encode(m.logit[counted])
            similar = np.where(hit, (1 + np.cos(turn * np.nan_to_num(m.error[counted]))) / 2, 0.0)
            parts = np.rint(PARTS * similar).astype(np.int64)
            lost, n = len(m.missed), len(code)
            series = np.r_[np.full(n + lost, 2 * row), np.full(2 * n, 2 * row + 1)]
            positive = np.r_[hit, np.ones(lost + n, bool), np.zeros(n, bool)]
            codes = np.r_[code, np.full(lost, MISSED, np.uint16), code, code]
            count = np.r_[np.ones(n + lost, np.int64), parts, PARTS - parts]
            some = count > 0
            entries.append(
                (series[some], np.full(int(some.sum()), batch.cell[frame]), positive[some], codes[some], count[some])
            )
    frames = {"frames": np.ones((batch.size, 2 * len(head.judged)), np.int64)}
    if not entries:
        return summed(head, batch, frames)
    *places, counts = (np.concatenate(column) for column in zip(*entries, strict=True))
    return summed(head, batch, frames, *sum_equal_keys(keys_of(*places), counts))


def _object_events(batch: Batch, head: Head, channel: int, threshold: float | None) -> Iterator[Events]:
    """One event a truth box that counts, wrong when it is missed or turned by over 15 degrees; and alarms apart."""
    for frame, detections in enumerate(decode(batch.outputs, head)):
        m = _matched(batch, head, channel, frame, detections)
        hit, alarm, said = m.found >= 0, m.found == -1, accepted(m.logit, threshold)
        score, right = np.full(len(m.boxes), np.nan), np.zeros(len(m.boxes), bool)
        score[m.found[hit]] = m.logit[hit]
        right[m.found[hit]] = said[hit] & (np.abs(m.error[hit]) <= _in_unit(NEAR, head))
        yield Events(
            np.ones(int((~m.ignore).sum()), bool),
            score[~m.ignore],
            ~right[~m.ignore],
            boxes=m.boxes[~m.ignore],
            alarms=Alarms(m.corners[alarm], m.logit[alarm].astype(np.float64), said[alarm]),
        )


def _object_picture(batch: Batch, head: Head, channel: int, threshold: float | None) -> Drawing:
    """Boxes of one class in the first frame: right, turned by over 15 degrees, false, missed and ignored."""
    m = _matched(batch, head, channel, 0, next(decode(batch.outputs, head)))
    said = accepted(m.logit, threshold)
    hit, turned = said & (m.found >= 0), said & (np.abs(m.error) > _in_unit(NEAR, head))
    missed = np.setdiff1d(np.flatnonzero(~m.ignore), m.found[hit])
    shown = [drawn(m.boxes[k], "ignored") for k in np.flatnonzero(m.ignore)]
    shown += [drawn(m.boxes[k], "truth") for k in m.found[hit]]
    shown += [drawn(m.boxes[k], "missed") for k in missed]
    for k in np.flatnonzero(said):
        kind = "ignored" if m.found[k] == -2 else "false" if turned[k] or not hit[k] else "hit"
        angle = abs(m.error[k]) if head.unit == "degrees" else math.degrees(abs(m.error[k]))
        shown.append(drawn(m.corners[k], kind, share_of(float(m.logit[k])) + (f", {angle:.0f}° off" if hit[k] else "")))
    false = int((said & (m.found == -1)).sum())
    facts = f"{int((hit & ~turned).sum())} right, {int(turned.sum())} turned, {false} false, {len(missed)} missed"
    return Drawing((facts,), tuple(shown), keys=("false alarm or turned", "missed"))
