"""`suite.toml` as values: what may be written there, and what must hold between its keys."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from gate.errors import ConfigError
from gate.heads import Decoder, Head, ScoreKind, TaskKind
from gate.located import Lines
from gate.strict import NAME, read_toml_located

Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(gt=0, le=1)]


@dataclass(frozen=True)
class About:
    """Where the frame table is and what its columns mean.

    unit: column of what is independent where clips are not, such as the drive that they were cut from.
    """

    name: str
    version: str
    frames: str
    frame_id: str
    clip_id: str
    order_by: str | None = None
    slices: tuple[str, ...] = ()
    slice_pairs: tuple[tuple[str, str], ...] = ()
    unit: str | None = None


@dataclass(frozen=True)
class Splits:
    """The column that says which split a frame is in, and the values that name them."""

    column: str
    calibration: str
    validation: str


@dataclass(frozen=True)
class Input:
    """What a program reads. shape: of one frame, without the batch axis.

    array: one .npy file for all frames; row: the column of the frame table that says which row of it a frame has.
    optional: a frame may have no file of it.
    """

    kind: Literal["image", "array", "column"]
    shape: tuple[Positive, ...] = ()
    file: str | None = None
    column: str | None = None
    array: str | None = None
    row: str | None = None
    optional: bool = False


@dataclass(frozen=True)
class Truth:
    """Where the truth of a head is: exactly one of columns, table, file, array.

    An array is a .npz with the names `key` of the values and `rows` of the frame ids, or a .npy of which the frame
    table's column `row` says which row a frame has.
    """

    columns: str | None = None
    table: str | None = None
    file: str | None = None
    array: str | None = None
    key: str | None = None
    rows: str | None = None
    row: str | None = None
    class_: Annotated[str | None, Field(alias="class")] = None
    box: tuple[str, str, str, str] | None = None
    ignore: str | None = None
    angle: str | None = None


@dataclass(frozen=True)
class Match:
    kind: Literal["iou"] = "iou"
    at: Share | tuple[Share, ...] = 0.5


@dataclass(frozen=True)
class HeadRule:
    """One [[heads]] table, as written.

    unit: of measured values; "m" for depth and "degrees" for orientation that do not say. cap: distance at which depth
    ends, in that unit. period: degrees after which a direction is the same again; 360 when it is not said. requires: an
    optional input, without which a frame is not judged.
    """

    head: str
    task: TaskKind
    truth: Truth
    channels: tuple[str, ...] | None = None
    score: ScoreKind | None = None
    skip: tuple[str, ...] = ()
    ignore: int | None = None
    outputs: dict[str, str] | None = None
    decoder: Decoder | None = None
    match: Match | None = None
    unit: str | None = None
    cap: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    period: Literal[360, 180, 90] | None = None
    requires: str | None = None


@dataclass(frozen=True)
class Definition:
    suite: About
    splits: Splits
    heads: tuple[HeadRule, ...]
    inputs: dict[str, Input] = field(default_factory=dict)


def read_definition(path: Path) -> tuple[Definition, Lines]:
    """`suite.toml`, with the lines of its keys. Raises ConfigError naming every problem with its line."""
    definition, lines = read_toml_located(path, Definition)
    problems = list(_problems(definition, lines))
    if problems:
        raise ConfigError("\n".join(problems))
    return definition, lines


_ROLES = {"centernet": ("box", "heat"), "boxes": ("box", "score")}
_TRUTHS = {
    "binary": ("columns", "table", "array"),
    "multilabel": ("columns", "table", "array"),
    "multiclass": ("columns",),
    "segmentation": ("file", "array"),
    "occupancy": ("file", "array"),
    "depth": ("file", "array"),
    "regression": ("columns", "table", "array"),
    "orientation": ("columns", "table", "file", "array"),  # of objects only a table
    "detection": ("table",),
}
#: Kinds that measure, with the unit of those that do not say theirs.
_UNITS = {"depth": "m", "regression": "", "orientation": "degrees"}


def _problems(d: Definition, lines: Lines) -> Iterator[str]:
    about = d.suite
    for key in ("name", "version"):
        if not NAME.fullmatch(getattr(about, key)):
            yield f"{lines.where('suite', key)}: not a name (letters, digits, _ . : / -)"
    for k, pair in enumerate(about.slice_pairs):
        for column in pair:
            if column not in about.slices:
                yield f"{lines.where('suite', 'slice_pairs', k)}: '{column}' is not one of the slices"
    if d.splits.calibration == d.splits.validation:
        yield f"{lines.where('splits')}: calibration and validation are the same value"
    for name, given in d.inputs.items():
        where = lines.where("inputs", name)
        if given.kind == "column" and (given.column is None or given.file is not None or given.array is not None):
            yield f"{where}: an input of kind column has `column`, and neither `file` nor `array`"
        if given.kind != "column" and (given.file is None) == (given.array is None):
            yield f"{where}: an input of kind {given.kind} has `file` or `array`, one of them"
        if (given.array is None) != (given.row is None):
            yield f"{where}: `array` and `row` go together: `row` is the column that says which row a frame has"
        if given.optional and (given.file is None or given.kind == "column"):
            yield f"{where}: only an input with `file` is optional"
        if given.kind == "image" and (len(given.shape) != 3 or given.shape[0] != 3):
            yield f"{where}: the shape of an image is [3, height, width]"
        if "." in name:
            yield f"{where}: the name of an input has no dot"
    if not d.heads:
        yield f"{lines.where('heads')}: a suite judges at least one head"
    seen: dict[str, int] = {}
    for k, head in enumerate(d.heads):
        if head.head in seen:
            yield f"{lines.where('heads', k, 'head')}: '{head.head}' is judged twice"
        seen[head.head] = k
        if head.requires is not None and not (head.requires in d.inputs and d.inputs[head.requires].optional):
            yield f"{lines.where('heads', k, 'requires')}: '{head.requires}' is no input with `optional = true`"
        yield from _head_problems(head, lines, k)


def _head_problems(h: HeadRule, lines: Lines, k: int) -> Iterator[str]:
    where = lines.where("heads", k, "head")
    if not re.fullmatch(r"[^.]+\.[^.]+", h.head) or not NAME.fullmatch(h.head):
        yield f"{where}: '{h.head}' is not a head; write network.head"
    for channel in h.channels or ():
        if not NAME.fullmatch(channel):
            yield f"{lines.where('heads', k, 'channels')}: '{channel}' is not a channel name"
    if h.channels is not None and (not h.channels or len(set(h.channels)) != len(h.channels)):
        yield f"{lines.where('heads', k, 'channels')}: channels are one or more different names"
    for channel in h.skip:
        if channel not in (h.channels or ()):
            yield f"{lines.where('heads', k, 'skip')}: '{channel}' is not one of the channels"
    if h.channels is not None and set(h.skip) >= set(h.channels):
        yield f"{lines.where('heads', k, 'skip')}: every channel is skipped"
    sources = [key for key in ("columns", "table", "file", "array") if getattr(h.truth, key) is not None]
    if len(sources) != 1 or sources[0] not in _TRUTHS[h.task]:
        wanted = " or ".join(f"`{s}`" for s in _TRUTHS[h.task])
        yield f"{lines.where('heads', k, 'truth')}: the truth of {h.task} is given by {wanted}, one of them"
    named = (h.truth.key is not None, h.truth.rows is not None)
    if h.truth.array is not None and (named != (True, True) if h.truth.row is None else any(named)):
        yield f"{lines.where('heads', k, 'truth')}: an array truth has `key` and `rows`, or `row`"
    if h.truth.array is None and h.truth.row is not None:
        yield f"{lines.where('heads', k, 'truth')}: `row` is for an array truth"
    oriented = h.task == "orientation" and bool(h.outputs)
    objects = h.task == "detection" or oriented
    if objects != (None not in (h.truth.class_, h.truth.box)) or (oriented and h.truth.table is None):
        yield f"{lines.where('heads', k, 'truth')}: objects, and only objects, have a table with `class` and `box`"
    if oriented != (h.truth.angle is not None):
        yield f"{lines.where('heads', k, 'truth')}: oriented objects, and only they, have `angle`"
    if not objects and (h.decoder or h.match):
        yield f"{where}: only objects have `decoder` or `match`"
    if objects:
        wanted = tuple(sorted((*_ROLES[(h.decoder or Decoder()).kind], *(("angle",) if oriented else ()))))
        if tuple(sorted(h.outputs or {})) != wanted:
            yield f"{lines.where('heads', k, 'outputs')}: this decoder reads the outputs {' and '.join(wanted)}"
    elif h.outputs:
        yield f"{lines.where('heads', k, 'outputs')}: only objects are read from several outputs"
    if oriented and isinstance((h.match or Match()).at, tuple):
        yield f"{lines.where('heads', k, 'match')}: oriented objects are matched at one IoU"
    if (h.task in ("multiclass", "segmentation") or objects) and not h.channels:
        yield f"{where}: {h.task} needs `channels`"
    if h.task == "multiclass" and h.score not in (None, "softmax"):
        yield f"{lines.where('heads', k, 'score')}: the score of multiclass is softmax"
    if h.score == "softmax" and h.task not in ("multiclass", "segmentation"):
        yield f"{lines.where('heads', k, 'score')}: softmax is for multiclass and segmentation"
    if h.ignore is not None and h.task not in ("segmentation", "occupancy"):
        yield f"{lines.where('heads', k, 'ignore')}: leave the cell of the truth empty: `ignore` is for rasters"
    if h.task in ("depth", "orientation"):
        if h.truth.file is not None and not h.truth.file.endswith((".npy", ".safetensors")):
            yield f"{lines.where('heads', k, 'truth')}: a picture has no unit: write {h.task} as .npy or .safetensors"
        if h.score is not None and not oriented:
            yield f"{lines.where('heads', k, 'score')}: {h.task} is measured, and has no score"
    if h.task == "orientation" and h.unit not in (None, "degrees", "radians"):
        yield f"{lines.where('heads', k, 'unit')}: the unit of orientation is degrees or radians"
    if h.period is not None and h.task != "orientation":
        yield f"{lines.where('heads', k, 'period')}: only orientation has `period`"
    if h.cap is not None and h.task != "depth":
        yield f"{lines.where('heads', k, 'cap')}: only depth has `cap`"
    if h.task == "binary" and h.channels and len(h.channels) > 1:
        yield f"{lines.where('heads', k, 'channels')}: binary has a single channel; several are multilabel"


def head_of(rule: HeadRule, channels: tuple[str, ...]) -> Head:
    """The head that a [[heads]] table declares; `channels` in emitted order, ("",) for a single unnamed one."""
    match = rule.match or Match()
    objects = rule.truth.box is not None
    levels = match.at if isinstance(match.at, tuple) else (match.at,)
    if objects and rule.task == "orientation":
        levels = (*levels, 0.0)
    default: ScoreKind | None = "softmax" if rule.task == "multiclass" else "sigmoid"
    if rule.task in _UNITS and not objects:
        default = None
    return Head(
        name=rule.head,
        task=rule.task,
        channels=channels,
        judged=tuple(k for k, c in enumerate(channels) if c not in rule.skip),
        score=rule.score or default,
        ignore=rule.ignore,
        outputs=tuple(sorted((rule.outputs or {"": rule.head}).items())),
        decoder=rule.decoder or Decoder(),
        levels=levels if objects else (0.0,),
        unit=rule.unit or _UNITS.get(rule.task, ""),
        cap=rule.cap,
        period=rule.period or 360,
    )
