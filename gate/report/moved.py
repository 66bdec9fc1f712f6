"""The frames behind a regression: where the candidate newly decides otherwise, drawn with truth and both releases."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gate.bundle import Bundle
from gate.heads import Head
from gate.report.flips import Flip, beyond, counted, flip_table, flips_of, growth, probabilities
from gate.report.thumbnails import camera, camera_picture
from gate.report.told import fact, told
from gate.report.worst import MOST, Place, Shot, allotted, worst
from gate.run.replay import Answered, replay
from gate.suite import Suite
from gate.tasks import Drawing, Events, detection, task_of

if TYPE_CHECKING:
    import pyarrow as pa

#: Clips that are looked at for one prediction: those that lost most.
CLIPS = 8
ERRORS = ("missed", "false", "localisation", "duplicate")


@dataclass(frozen=True)
class Chosen:
    """A prediction whose frames are wanted, with the clips to look at.

    threshold_incumbent, threshold_candidate: logits; None for a head that decides by itself (argmax, regression), and
    for a prediction without an operating point, which is shown at probability one half. clips: positions in
    `suite.frames.clips`, those that lost most first, at most `CLIPS`. share: of the whole loss that these clips carry,
    0..1. tolerance: measured values only, in the head's unit: |error| that changes by no more is no flip (the margin of
    its metric); None takes the incumbent's median |error| over the frames looked at.
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
    the coordinates that the drawings use; the camera picture, whatever its size, covers the same area. negative,
    positive: flips, events that the candidate newly gets wrong and newly gets right. told: the change in one sentence.
    fact: what truth and both releases say, in one line. over: the drawings lie on the camera picture; a top-down raster
    does not, and stands beside it.
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
    first IoU level and the operating points, as TIDE defines them (Bolya et al. 2020; see `tasks.detection.errors`).
    pictures: worst first. lost: why some frames, or all, could not be looked at again; empty when all were.
    """

    prediction: str
    clips: tuple[str, ...]
    share: float
    frames: int
    negative: int
    positive: int
    kinds: tuple[tuple[str, int, int], ...]
    pictures: tuple[Picture, ...]
    lost: str = ""


@dataclass
class _Trail:
    """What was seen so far of one chosen prediction; filled batch by batch in frame order.

    flips: (row, flip). errors: |error| of the incumbent. kinds: (2, 4). room: pictures that it can still be given.
    """

    chosen: Chosen
    head: Head
    channel: int
    room: int
    frames: int = 0
    flips: list[tuple[int, Flip]] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    kinds: NDArray[np.int64] = field(default_factory=lambda: np.zeros((2, len(ERRORS)), np.int64))
    shots: list[Shot] = field(default_factory=list)

    @property
    def tolerance(self) -> float:
        if self.chosen.tolerance is not None:
            return self.chosen.tolerance
        return float(np.median(self.errors)) if self.errors else 0.0


def moved_frames(
    incumbent: Bundle,
    candidate: Bundle,
    suite: Suite,
    chosen: Sequence[Chosen],
    *,
    limit: int,
    device: str = "cpu",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[tuple[Moved, ...], pa.Table]:
    """What moved for each chosen prediction, in that order, and the table of all flips (see `gate.report.flips`).

    limit: pictures in all; each prediction gets its worst frame before any gets a second one. Frames that either bundle
    has no answer for are not looked at: that is a broken prediction and no flip. progress: (frames just done, frames in
    all). Both bundles run once over the batches that hold a wanted clip; about `limit` drawings are held at a time.
    """
    place = {p: (h, k) for h in suite.heads for p, k in zip(h.predictions, h.judged, strict=True)}
    trails = [_Trail(c, *place[c.prediction], room=MOST if limit > 0 else 0) for c in chosen]
    heads = {t.head.name for t in trails}
    clips = {clip for c in chosen for clip in c.clips}
    held, frames, lost = 0, suite.frames, dict[str, str]()
    sides = (incumbent, candidate)
    for rows, answers in replay(sides, suite, heads, clips, progress, device, lost.__setitem__) if clips else ():
        here = set(frames.clip[rows].tolist())
        for trail in trails:
            if here.isdisjoint(trail.chosen.clips):
                continue
            held -= len(trail.shots)
            _follow(trail, answers, suite)
            held += len(trail.shots)
            if held > 2 * limit:
                held = _share_out(trails, limit)
    _share_out(trails, limit)
    table = flip_table(
        (str(frames.ids[row]), frames.clips[frames.clip[row]], trail.chosen.prediction, flip)
        for trail in trails
        for row, flip in trail.flips
        if beyond([flip], trail.tolerance)
    )
    found = (_moved(t, suite, camera(incumbent, suite, t.head), lost.get(t.head.name, "")) for t in trails)
    return tuple(found), table


def _share_out(trails: Sequence[_Trail], limit: int) -> int:
    """Drop the pictures that no prediction can be given any more; answers how many are left."""
    for trail, given in zip(trails, allotted([len(t.shots) for t in trails], limit), strict=True):
        if given < len(trail.shots):
            trail.shots, trail.room = trail.shots[:given], given
    return sum(len(t.shots) for t in trails)


def _follow(trail: _Trail, answers: Sequence[Mapping[str, Answered]], suite: Suite) -> None:
    """Look at the wanted frames of one batch."""
    head, channel, task = trail.head, trail.channel, task_of(trail.head)
    sides = [side[head.name] for side in answers if head.name in side]
    if len(sides) < len(answers):
        return
    rows = np.intersect1d(sides[0].rows, sides[1].rows)
    rows = rows[np.isin(suite.frames.clip[rows], trail.chosen.clips)]
    if not len(rows):
        return
    limits = (trail.chosen.threshold_incumbent, trail.chosen.threshold_candidate)
    given = [(side.frames(rows), threshold) for side, threshold in zip(sides, limits, strict=True)]
    trail.frames += len(rows)
    before, after = (task.events(batch, head, channel, threshold) for batch, threshold in given)
    for row, old, new in zip(rows.tolist(), before, after, strict=True):
        flips = flips_of(old, new, head.levels[0])
        trail.flips += [(row, flip) for flip in flips]
        trail.errors += np.abs(old.error).tolist()
        if not trail.room:
            continue
        here = Place(row, int(suite.frames.clip[row]), *_loss(flips, old, new))
        chosen = worst([*(s.place for s in trail.shots), here], trail.room)
        if len(trail.shots) in chosen:
            at = np.array([row])
            drawn = [task.picture(s.frames(at), head, channel, t) for s, t in zip(sides, limits, strict=True)]
            shots = [*trail.shots, Shot(here, tuple(flips), drawn[0], drawn[1], told(head, flips, old, new))]
            trail.shots = [shots[k] for k in chosen]
    if head.task == "detection":
        trail.kinds += [detection.errors(batch, head, channel, threshold) for batch, threshold in given]


def _loss(flips: Sequence[Flip], before: Events, after: Events) -> tuple[int, float]:
    """(net flips, probability that the truth lost over all events or growth of |error|) of one frame."""
    negative, positive = counted(flips)
    if before.truth.dtype != bool:
        return negative - positive, sum(growth(f) for f in flips)
    lost = (probabilities(before.score) - probabilities(after.score)) * np.where(before.truth, 1.0, -1.0)
    return negative - positive, float(lost.sum())


def _moved(trail: _Trail, suite: Suite, name: str | None, lost: str) -> Moved:
    """name: of the picture input that the head looks at. lost: why some frames could not be looked at again."""
    chosen = trail.chosen
    negative, positive = counted(beyond((flip for _, flip in trail.flips), trail.tolerance))
    kinds = zip(ERRORS, *trail.kinds.tolist(), strict=True) if trail.head.task == "detection" else ()
    return Moved(
        chosen.prediction,
        tuple(suite.frames.clips[k] for k in chosen.clips),
        chosen.share,
        trail.frames,
        negative,
        positive,
        tuple(kinds),
        tuple(_picture(shot, trail.tolerance, suite, name) for shot in trail.shots),
        lost,
    )


def _picture(shot: Shot, tolerance: float, suite: Suite, name: str | None) -> Picture:
    negative, positive = counted(beyond(shot.flips, tolerance))
    size = (0, 0) if name is None else suite.inputs[name].shape[:0:-1]
    width, height, over = _plane(shot.incumbent, shot.candidate, (size[0], size[1]))
    return Picture(
        frame=str(suite.frames.ids[shot.place.row]),
        clip=suite.frames.clips[shot.place.clip],
        image=None if name is None else camera_picture(suite, name, shot.place.row),
        width=width,
        height=height,
        incumbent=shot.incumbent,
        candidate=shot.candidate,
        negative=negative,
        positive=positive,
        told=shot.told,
        fact=fact(shot.incumbent, shot.candidate),
        over=over,
    )


def _plane(incumbent: Drawing, candidate: Drawing, camera: tuple[int, int]) -> tuple[int, int, bool]:
    """(width, height, over) of the coordinates of two drawings; camera: (width, height), zeros without a picture.

    A raster of the camera's proportions, to a place, lies over it. A suite does not say in which plane a raster is, so
    this is a guess; a top-down raster of a camera's exact proportions would be laid over it.
    """
    height, width = incumbent.raster.shape
    if not incumbent.raster.size:
        boxes: list[Any] = [*incumbent.boxes, *candidate.boxes]
        extent = tuple(max((math.ceil(b[k]) for b in boxes), default=0) for k in (2, 3))
        return (*(camera if any(camera) else extent), any(camera))  # type: ignore[return-value]
    return width, height, any(camera) and abs(width - camera[0] * height / camera[1]) <= 1
