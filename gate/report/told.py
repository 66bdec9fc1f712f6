"""What moved in one frame, as one sentence, and what truth and both releases say, as one line."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gate.heads import Head
from gate.report.figures import MINUS
from gate.report.flips import Flip, Kind, counted, probabilities
from gate.report.words import count
from gate.tasks import Drawing, Events
from gate.tasks.batch import share

_PLACES = {"segmentation": "pixel", "occupancy": "cell"}
_DECIDED: dict[Kind, str] = {
    "missed": "missed by the candidate",
    "false-alarm": "false alarm of the candidate",
    "found": "found by the candidate",
    "rejected": "rejected by the candidate",
}


def told(head: Head, flips: Sequence[Flip], before: Events, after: Events) -> str:
    """`missed by the candidate: probability 0.91 → 0.12`, `3 boxes missed that the incumbent found`,
    `1,204 more pixels wrong`, `error +0.3 m → +1.9 m`, of a raster `mean absolute error 0.3 m → 1.9 m`.
    """
    if head.objects:
        return _boxes(flips, oriented=head.task == "orientation")
    if head.task in ("depth", "orientation", "regression"):
        return _errors(head, before, after)
    if head.task in _PLACES:
        return _places(flips, _PLACES[head.task], before, after)
    if not len(before.truth):
        return "nobody labelled this frame"
    old, new = float(probabilities(before.score)[0]), float(probabilities(after.score)[0])
    told_by = _DECIDED[flips[0].kind] if flips else f"same decision, truth {'yes' if before.truth[0] else 'no'}"
    # A decision that goes against the score's own way needs its reason: the threshold moved further, or another class.
    against = bool(flips) and (new >= old) == (flips[0].kind in ("missed", "rejected"))
    because = "" if not against else "; another class decides" if head.score == "softmax" else "; the threshold moved"
    return f"{told_by}: probability {_change(old, new)}{because}"


def fact(incumbent: Drawing, candidate: Drawing) -> str:
    """`truth yes · incumbent 0.91 yes · candidate 0.12 no`."""
    shared = tuple(f for f in incumbent.facts[:1] if f.startswith("truth"))
    sides = (("incumbent", incumbent), ("candidate", candidate))
    said = [f"{name} {', '.join(d.facts[len(shared) :])}" for name, d in sides]
    return " · ".join((*shared, *said))


def _change(old: float | None, new: float | None) -> str:
    """`0.91 → 0.12`, with four digits where two would look alike."""
    a, b = ("none" if p is None else share(p) for p in (old, new))
    if old is not None and new is not None and a == b and old != new:
        a, b = f"{old:.4f}", f"{new:.4f}"
    return f"{a} → {b}"


def _errors(head: Head, before: Events, after: Events) -> str:
    if not len(before.error):
        return "nobody measured this frame"
    unit = f" {head.unit}" if head.unit else ""
    raster = math.isnan(before.truth[0])
    old, new = (f"{x:{'' if raster else '+'}.3g}".replace("-", MINUS) for x in (before.error[0], after.error[0]))
    # A unit of several words is said once: `error +0.02 → +0.07 share of the image`.
    return f"{'mean absolute error' if raster else 'error'} {old}{unit if len(unit) < 6 else ''} → {new}{unit}"


def _boxes(flips: Sequence[Flip], *, oriented: bool) -> str:
    wrong = "missed or turned" if oriented else "missed"
    number = {kind: sum(f.count for f in flips if f.kind == kind) for kind in _DECIDED}
    parts = [
        f"{count(number['missed'], 'box', 'boxes')} {wrong} that the incumbent found" if number["missed"] else "",
        count(number["false-alarm"], "new false alarm") if number["false-alarm"] else "",
        f"{count(number['found'], 'box', 'boxes')} found that the incumbent {wrong}" if number["found"] else "",
        f"{count(number['rejected'], 'false alarm')} fewer" if number["rejected"] else "",
    ]
    sentence = (
        ", ".join(p for p in parts if p)
        or f"no box flipped, but their scores {'or angles got worse' if oriented else 'fell'}"
    )
    return f"{sentence}: probability {_change(*flips[0].scores)}" if len(flips) == 1 else sentence


def _places(flips: Sequence[Flip], noun: str, before: Events, after: Events) -> str:
    negative, positive = counted(flips)
    number = {kind: sum(f.count for f in flips if f.kind == kind) for kind in _DECIDED}
    if negative <= positive:
        lost = (probabilities(before.score) - probabilities(after.score)) * (2 * before.truth - 1)
        return f"no more {noun}s wrong, but the truth lost {lost.mean():.3g} of probability on average"
    parts = [
        f"{number['missed']:,} newly missed" if number["missed"] else "",
        f"{number['false-alarm']:,} newly false" if number["false-alarm"] else "",
        f"{positive:,} mended" if positive else "",
    ]
    return f"{count(negative - positive, f'more {noun}')} wrong: {', '.join(p for p in parts if p)}"
