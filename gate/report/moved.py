"""The frames behind a regression: where the candidate newly decides otherwise, drawn with truth and both releases."""

from __future__ import annotations

from dataclasses import dataclass

from gate.tasks import Drawing

#: Clips that are looked at for one prediction: those that lost most.
CLIPS = 8
#: Pictures of one prediction, and of one of its clips: other clips tell a reviewer more than neighbouring frames.
MOST, MOST_OF_A_CLIP = 6, 2


@dataclass(frozen=True)
class Chosen:
    """A prediction whose frames are wanted, with the clips to look at.

    threshold_incumbent, threshold_candidate: logits; None for a head that decides by itself (argmax, regression), and
    for a prediction without an operating point, which accepts nothing. clips: positions in `suite.frames.clips`, those
    that lost most first, at most `CLIPS`. share: of the whole loss that these clips carry, 0..1. tolerance: regression
    only, in the head's unit: |error| that changes by no more is no flip (the margin of its metric); None takes the
    incumbent's median |error| over the frames looked at.
    """

    prediction: str
    threshold_incumbent: float | None
    threshold_candidate: float | None
    clips: tuple[int, ...]
    share: float
    tolerance: float | None = None


@dataclass(frozen=True)
class Picture:
    """One frame as both releases saw it.

    image: the camera picture as WebP, None when the head reads no picture or it cannot be decoded. width, height: of
    the coordinates that the drawings use. negative, positive: flips, events that the candidate newly gets wrong and
    newly gets right. told: the change in one sentence. fact: truth and what either release says, in one line. over:
    the drawings lie on the camera picture; a top-down raster does not, and stands beside it.
    """

    frame: str
    clip: str
    image: bytes | None
    width: int
    height: int
    incumbent: Drawing
    candidate: Drawing
    negative: int
    positive: int
    told: str
    fact: str = ""
    over: bool = True


@dataclass(frozen=True)
class Moved:
    """What moved for one prediction.

    share: of the whole loss that the clips carry. frames: looked at. negative, positive: flips over all of them.
    kinds: detection only: (missed | false | localisation | duplicate, incumbent, candidate) counts of errors at the
    first IoU level and the operating points, as TIDE defines them. pictures: worst first.
    """

    prediction: str
    clips: tuple[str, ...]
    share: float
    frames: int
    negative: int
    positive: int
    kinds: tuple[tuple[str, int, int], ...]
    pictures: tuple[Picture, ...]
