"""Which frames are shown: the worst of each prediction, shared out so that none waits for another's second picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gate.report.flips import Flip
from gate.tasks import Drawing

#: Pictures of one prediction, and of one of its clips: other clips tell a reviewer more than neighbouring frames.
MOST, MOST_OF_A_CLIP = 6, 2


@dataclass(frozen=True)
class Place:
    """A frame in the order of loss.

    row: position in the suite; clip: position of its clip. net: events newly wrong less those newly right. lost: what
    the truth lost in probability, summed over the events, or by how much |error| grew.
    """

    row: int
    clip: int
    net: int
    lost: float


@dataclass(frozen=True)
class Shot:
    """A frame that may be shown, drawn for both releases."""

    place: Place
    flips: tuple[Flip, ...]
    incumbent: Drawing
    candidate: Drawing
    told: str


def worst(places: Sequence[Place], most: int = MOST) -> list[int]:
    """Positions of the frames to show, worst first; of equals the earlier frame.

    Only frames that lost more decisions than they won. Where there is none, as when a ranking got worse and no
    decision did, the one whose scores lost most.
    """
    order = sorted(range(len(places)), key=lambda k: (-places[k].net, -places[k].lost, places[k].row))
    shown, taken = list[int](), dict[int, int]()
    for k in order:
        place = places[k]
        if place.net > 0 and taken.get(place.clip, 0) < MOST_OF_A_CLIP:
            shown.append(k)
            taken[place.clip] = taken.get(place.clip, 0) + 1
    if not shown and order and places[order[0]].net == 0 and places[order[0]].lost > 0:
        shown = order[:1]
    return shown[:most]


def allotted(offered: Sequence[int], limit: int) -> list[int]:
    """How many of its pictures each prediction gets: in turns, one each, until `limit` are given.

    Seeing more frames never gives a prediction a turn that it had lost: what others offer only grows, and so does the
    number of frames before any given one. So pictures may be dropped long before all frames are seen.
    """
    given = [0] * len(offered)
    for turn in range(max(offered, default=0)):
        for k, count in enumerate(offered):
            if count > turn and limit > 0:
                given[k] += 1
                limit -= 1
    return given
