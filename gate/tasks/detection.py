"""Boxes of several classes, from a CenterNet-style heat map or ready-made.

Event: one detection, or one truth box that nothing hit. Score: the detection's logit. Missed: a truth box without a
detection, a positive without a score. Ignored: detections absorbed by an ignore region (overlap over their own area).
No truth in a frame: its detections are false alarms. No detection: its truths are missed. Neither: a clip with zero
events, which still counts as a frame that was looked at.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gate.heads import Head
from gate.lattice import MISSED, encode
from gate.matching import match, match_each, overlaps
from gate.table import EvidenceTable, Ints, histogram
from gate.tasks.batch import Array, Batch, Boxes, Drawing, Outputs, Yields, accepted, share_of, summed
from gate.tasks.boxes import box_scores, decode, drawn
from gate.tasks.events import Alarms, Events

#: Overlap below which a detection saw background and no object (TIDE's t_b).
BACKGROUND = 0.1


def yields(head: Head) -> Yields:
    return Yields(("frames",), frozenset({"curve", "tp", "fp", "fn"}), thresholded=True, coupled=True)


def shape(head: Head, truth: Array | Boxes) -> tuple[int, ...] | None:
    """Any number of places: what must fit is checked by `scores`."""
    return None


def scores(outputs: Outputs, head: Head) -> Array:
    """(B, K, ...): heat map (B, K, H, W), or class scores of ready-made boxes (B, K, N)."""
    return box_scores(outputs, head)


def reduce(batch: Batch, head: Head) -> EvidenceTable:
    """Histogram of score x hit for each class and IoU level, with missed truths; truth is Boxes."""
    truth, levels = batch.boxes, len(head.levels)
    row_of = np.full(len(head.channels), -1)
    row_of[list(head.judged)] = np.arange(len(head.judged))
    frames, labels, scored, hits = [], [], [], []  # of all detections
    missed = np.zeros((batch.size, len(head.judged), levels), np.int64)
    for frame, (label, logit, corners, _) in enumerate(decode(batch.outputs, head)):
        found = np.full((levels, len(label)), -1)
        here = np.flatnonzero(truth.frame == frame)
        for row, channel in enumerate(head.judged):
            wanted = here[truth.label[here] == channel]
            if not len(wanted):
                continue
            mine = np.flatnonzero(label == channel)
            boxes, ignore = truth.corners[wanted], truth.ignore[wanted]
            answers = match_each(logit[mine].astype(np.float64), corners[mine], boxes, ignore, head.levels)
            for k, (hit, lost) in enumerate(answers):
                found[k, mine], missed[frame, row, k] = hit, len(lost)
        frames.append(np.full(len(label), frame))
        labels.append(label)
        scored.append(logit)
        hits.append(found)
    if not batch.size:
        return summed(head, batch, {"frames": missed.reshape(0, -1)})
    row, found = row_of[np.concatenate(labels)], np.concatenate(hits, axis=1)
    level, at = np.nonzero((found != -2) & (row >= 0))
    lost = np.repeat(np.arange(missed.size), missed.reshape(-1))
    lost_frame, lost_series = np.divmod(lost, len(head.judged) * levels)
    keys, counts = histogram(
        np.r_[row[at] * levels + level, lost_series],
        batch.cell[np.r_[np.concatenate(frames)[at], lost_frame]],
        np.r_[found[level, at] >= 0, np.ones(len(lost), bool)],
        np.r_[encode(np.concatenate(scored))[at], np.full(len(lost), MISSED, np.uint16)],
    )
    looked_at = np.ones((batch.size, len(head.judged) * levels), np.int64)
    return summed(head, batch, {"frames": looked_at}, keys, counts)


def events(batch: Batch, head: Head, channel: int, threshold: float | None) -> Iterator[Events]:
    """One event a truth box that counts, and alarms apart, at the first IoU level.

    A truth box has the score of the detection that hits it, accepted or not. Matching takes the best score first, so
    what lies below the threshold cannot change what hits above it.
    """
    truth = batch.boxes
    for frame, (label, logit, corners, _) in enumerate(decode(batch.outputs, head)):
        mine, wanted = label == channel, (truth.frame == frame) & (truth.label == channel)
        boxes, ignore, logits = truth.corners[wanted], truth.ignore[wanted], logit[mine].astype(np.float64)
        found, _ = match(logits, corners[mine], boxes, ignore, head.levels[0])
        hit, alarm, said = found >= 0, found == -1, accepted(logit[mine], threshold)
        score, right = np.full(len(boxes), np.nan), np.zeros(len(boxes), bool)
        score[found[hit]], right[found[hit]] = logits[hit], said[hit]
        yield Events(
            np.ones(int((~ignore).sum()), bool),
            score[~ignore],
            ~right[~ignore],
            boxes=boxes[~ignore],
            alarms=Alarms(corners[mine][alarm], logits[alarm], said[alarm]),
        )


def errors(batch: Batch, head: Head, channel: int, threshold: float | None) -> Ints:
    """(4,) missed, false, localisation and duplicate errors of one class at the first IoU level.

    The definitions of TIDE (Bolya et al. 2020, section 2.2) within one class: a false alarm whose best truth box
    overlaps it by less than the level, yet by at least 0.1, is a localisation error; one that overlaps a box which a
    better detection took is a duplicate; all others are false (TIDE tells background from confused classes there).
    Missed is a truth box that nothing hit, unless a localisation error accounts for it.
    """
    truth, level, total = batch.boxes, head.levels[0], np.zeros(4, np.int64)
    for frame, (label, logit, corners, _) in enumerate(decode(batch.outputs, head)):
        mine = (label == channel) & accepted(logit, threshold)
        wanted = (truth.frame == frame) & (truth.label == channel)
        boxes, ignore = truth.corners[wanted], truth.ignore[wanted]
        found, missed = match(logit[mine].astype(np.float64), corners[mine], boxes, ignore, level)
        # A column of zeros stands for "no truth box at all".
        overlap = np.pad(overlaps(corners[mine][found == -1], boxes[~ignore], ignore[~ignore]), ((0, 0), (0, 1)))
        best, nearest = overlap.max(axis=1), overlap.argmax(axis=1)
        off = (best >= BACKGROUND) & (best < level)
        duplicate = best >= level
        explained = np.isin(missed, np.append(np.flatnonzero(~ignore), -1)[nearest[off]])
        total += [(~explained).sum(), (~off & ~duplicate).sum(), off.sum(), duplicate.sum()]
    return total


def picture(batch: Batch, head: Head, channel: int, threshold: float | None) -> Drawing:
    """Hits, false alarms, missed and ignored boxes of one class in the first frame, at the first IoU level."""
    label, logit, corners, _ = next(decode(batch.outputs, head))
    mine = (label == channel) & accepted(logit, threshold)
    truth: Boxes = batch.boxes
    wanted = (truth.frame == 0) & (truth.label == channel)
    boxes, ignore = truth.corners[wanted], truth.ignore[wanted]
    found, missed = match(logit[mine].astype(np.float64), corners[mine], boxes, ignore, head.levels[0])
    shown = [drawn(boxes[k], "ignored") for k in np.flatnonzero(ignore)]
    shown += [drawn(boxes[k], "truth") for k in found[found >= 0]]
    shown += [drawn(boxes[k], "missed") for k in missed]
    for box, hit, x in zip(corners[mine], found, logit[mine], strict=True):
        kind = "hit" if hit >= 0 else "ignored" if hit == -2 else "false"
        shown.append(drawn(box, kind, share_of(float(x))))
    hits, alarms = int((found >= 0).sum()), int((found == -1).sum())
    facts = f"{hits} hit{'s' * (hits != 1)}, {alarms} false alarm{'s' * (alarms != 1)}, {len(missed)} missed"
    return Drawing((facts,), tuple(shown))
