"""Frames that moved, as the page draws them: one picture, with what either release said of it as a layer."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass

from gate.report import words
from gate.report.moved import Moved, Picture
from gate.report.thumbnails import EXACT_SIDE, overlay
from gate.tasks import Drawing

FACTS = 4
#: Letters of captions are this share of a picture's width: 11 pixels where two pictures stand beside each other.
LETTERS = 24


@dataclass(frozen=True)
class BoxView:
    """One box: kind is its class in the style sheet; at: height of its caption's foot, never above the picture."""

    x: str
    y: str
    width: str
    height: str
    kind: str
    caption: str
    at: str


@dataclass(frozen=True)
class LayerView:
    """What one release said of a frame. raster: a transparent PNG as base64, or empty."""

    bundle: str
    raster: str
    boxes: tuple[BoxView, ...]
    label: str


@dataclass(frozen=True)
class FrameView:
    """One frame. over: layers lie on the image, else beside it. bare: there is nothing to lay on it, `fact` says it
    all. image: WebP as base64; empty when there is none, and
    where an earlier frame of the page has brought it: id says which, empty for none.
    """

    id: str
    name: str
    clip: str
    told: str
    fact: str
    width: int
    height: int
    letters: str
    small: bool
    image: str
    over: bool
    bare: bool
    layers: tuple[LayerView, ...]


@dataclass(frozen=True)
class FramesView:
    """The frames of one prediction, with what was counted over all that were looked at. layered: something is drawn
    on them. keys: what the colours of wrong places mean.
    """

    told: str
    kinds: tuple[tuple[str, str, str], ...]
    pictures: tuple[FrameView, ...]
    layered: bool
    keys: tuple[str, str]


@dataclass(frozen=True)
class SeenView:
    """A frame for the first screen. name: of the prediction; keys: as of `FramesView`."""

    name: str
    frame: FrameView
    keys: tuple[str, str]


def seen_views(moved: Sequence[Moved], most: int, brought: set[str]) -> tuple[SeenView, ...]:
    """At most so many frames: each prediction's worst before any one's second, and one of a clip, whose frames look
    alike. brought: as of `frames_view`."""
    offered = sorted(
        ((rank, place, m, p) for place, m in enumerate(moved) for rank, p in enumerate(m.pictures)),
        key=lambda item: item[:2],
    )
    chosen = dict[tuple[str, str], tuple[Moved, Picture]]()
    for _, _, m, picture in offered:
        chosen.setdefault((m.prediction, picture.clip), (m, picture))
    return tuple(
        SeenView(words.name(m.prediction), _frame(picture, brought), picture.candidate.keys)
        for m, picture in list(chosen.values())[:most]
    )


def frames_view(moved: Moved, brought: set[str]) -> FramesView:
    """A prediction's frames, worst first. brought: ids of the images that the page has already; added to."""
    carried = f", which carry {min(99, int(100 * moved.share))} % of what clips lost" if moved.share < 1 else ""
    told = (
        f"In the {words.count(len(moved.clips), 'clip')} that lost most{carried}: "
        f"{words.count(moved.negative, 'event')} newly wrong, {words.count(moved.positive, 'event')} newly right, "
        f"in {words.count(moved.frames, 'frame')}."
    )
    if moved.lost:
        told += f" Not all frames could be looked at again: {words.prose(moved.lost)}."
    pictures = tuple(_frame(p, brought) for p in moved.pictures)
    return FramesView(
        told=told,
        kinds=tuple((kind, f"{before:,}", f"{after:,}") for kind, before, after in moved.kinds),
        pictures=pictures,
        layered=any(not p.bare for p in pictures),
        keys=moved.pictures[0].candidate.keys if moved.pictures else ("", ""),
    )


def _frame(p: Picture, brought: set[str]) -> FrameView:
    # Heads of one camera fall on the same frames: their picture is in the page once.
    name = "" if p.image is None else f"picture-{hashlib.sha256(p.image).hexdigest()[:16]}"
    image = _text(p.image) if p.image is not None and (name not in brought or not p.over) else ""
    if p.over:
        brought.add(name)
    return FrameView(
        id=name,
        name=words.name(p.frame),
        clip=words.name(p.clip),
        told=words.prose(p.told),
        fact=words.prose(p.fact),
        width=p.width,
        height=p.height,
        letters=f"{p.width / LETTERS:.1f}",
        small=max(p.width, p.height) <= EXACT_SIDE,
        image=image,
        over=p.over,
        bare=not any(d.boxes or d.raster.size for d in (p.incumbent, p.candidate)),
        layers=(_layer("incumbent", p.incumbent, p), _layer("candidate", p.candidate, p)),
    )


def _layer(bundle: str, drawing: Drawing, picture: Picture) -> LayerView:
    facts = "; ".join(words.prose(f) for f in drawing.facts[:FACTS])
    return LayerView(
        bundle=bundle,
        raster=_text(overlay(drawing.raster)) if drawing.raster.size else "",
        boxes=tuple(
            BoxView(
                x=f"{x0:.1f}",
                y=f"{y0:.1f}",
                width=f"{max(0, x1 - x0):.1f}",
                height=f"{max(0, y1 - y0):.1f}",
                kind=kind,
                caption=words.name(caption),
                at=f"{max(y0, picture.width / LETTERS):.1f}",
            )
            for x0, y0, x1, y1, kind, caption in drawing.boxes
        ),
        label=f"{bundle}, frame {words.name(picture.frame)}: {facts}",
    )


def _text(data: bytes) -> str:
    return b64encode(data).decode()
