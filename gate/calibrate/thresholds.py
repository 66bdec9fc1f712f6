"""`thresholds/<suite>/<bundle>-<version>.toml`: operating points of one release, one sorted line a prediction."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from gate.atomic import write_text
from gate.calibrate.maps import IDENTITY, as_pairs, map_from
from gate.calibrate.operating import OperatingPoint, Status
from gate.errors import ConfigError, shown

SCHEMA = "gate.thresholds/1"
#: What a line says of its prediction, in this order, and the kind of each; what there is none of is left out.
_KINDS: dict[str, type] = {
    "threshold": float,
    "objective": str,
    "feasible": bool,
    "status": str,
    "precision": float,
    "recall": float,
    "positives": int,
    "low": float,
    "high": float,
    "bound": float,
    "attained": float,
    "clips_needed": int,
}
_MAP_KEYS = ("map", "slope", "bias", "knots", "map_positives", "map_note")
_NOUNS = {float: "number", int: "whole number", str: "text", bool: "true or false"}
_MEND = "run `gate calibrate` on the bundle that ships, or remove the file"


def thresholds_path(folder: Path, suite: str, bundle: str, version: str) -> Path:
    """Slashes and colons of names become dashes: the file stays in its folder."""
    safe = [name.replace("/", "-").replace(":", "-") for name in (suite, bundle, version)]
    return folder / safe[0] / f"{safe[1]}-{safe[2]}.toml"


def write_thresholds(path: Path, points: Sequence[OperatingPoint], *, suite: str, bundle: str) -> None:
    """Write the operating points; `suite` and `bundle` are the digests that they belong to."""
    write_text(path, render(points, suite=suite, bundle=bundle))


def render(points: Sequence[OperatingPoint], *, suite: str, bundle: str) -> str:
    """Text of the file: byte-stable, numbers exact, a threshold is a logit."""
    lines = [
        "# Written by `gate calibrate`. A score at or above its threshold (a logit) is accepted.",
        f'schema = "{SCHEMA}"',
        f'suite = "{suite}"',
        f'bundle = "{bundle}"',
        "",
        "[thresholds]",
    ]
    for point in sorted(points, key=lambda p: p.prediction):
        pairs = [(key, getattr(point, key)) for key in _KINDS]
        # Scores as they are need no word; a map ships with the threshold on its scale (method A13).
        pairs += as_pairs(point.map) if point.map != IDENTITY else []
        body = ", ".join(f"{key} = {_value(value)}" for key, value in pairs if value is not None)
        lines.append(f'"{point.prediction}" = {{ {body} }}')
    return "\n".join(lines) + "\n"


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value) if isinstance(value, str) else repr(value)


def read_thresholds(path: Path, *, suite: str, bundle: str) -> dict[str, float]:
    """prediction -> threshold of a released file. Raises ConfigError when it is of another suite or bundle."""
    points = read_points(path, suite=suite, bundle=bundle)
    return {p.prediction: p.threshold for p in points if p.threshold is not None}


def read_points(path: Path, *, suite: str, bundle: str) -> tuple[OperatingPoint, ...]:
    """Operating points of a released file, sorted; the law: `render` gives its text again.

    Raises ConfigError when it is of another suite or bundle, or when a line says what no operating point is.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        if table.get("schema") != SCHEMA:
            raise ConfigError(f"this is not a {SCHEMA} file", where=str(path), mend=_MEND)
        for key, digest in (("suite", suite), ("bundle", bundle)):
            if table[key] != digest:
                raise ConfigError(
                    f"these thresholds belong to another {key}, {shown(table[key], 19)}, not to {digest[:19]}",
                    where=str(path),
                    mend=_MEND,
                )
        return tuple(_point(name, table["thresholds"][name]) for name in sorted(table["thresholds"]))
    except ConfigError as error:
        raise error if error.where else ConfigError(error.what, where=str(path), mend=_MEND) from error
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise ConfigError(f"the thresholds cannot be read: {shown(error)}", where=str(path), mend=_MEND) from error


def _point(prediction: str, said: Mapping[str, object]) -> OperatingPoint:
    """One line of the file. `feasible` follows from the others, so it is checked, never taken."""
    mapped = {key: value for key, value in said.items() if key in _MAP_KEYS}
    said = {key: value for key, value in said.items() if key not in mapped}
    unknown = sorted(said.keys() - _KINDS)
    if unknown:
        raise ConfigError(f"{shown(prediction)} has an unknown key {shown(unknown[0])}")
    fields: dict[str, Any] = dict.fromkeys(_KINDS)
    for key, value in said.items():
        kind = _KINDS[key]
        # A person may write 2 for 2.0; true is no number.
        fits = type(value) is kind or (kind is float and type(value) is int)
        if not fits or (kind is float and not math.isfinite(value)):  # type: ignore[arg-type]
            raise ConfigError(f"the {key} of {shown(prediction)} is no {_NOUNS[kind]}")
        fields[key] = kind(value)  # type: ignore[call-arg]
    feasible = fields.pop("feasible")
    if fields["status"] not in get_args(Status) or fields["objective"] is None or fields["positives"] is None:
        raise ConfigError(f"{shown(prediction)} lacks its objective, its positives or a status that there is")
    point = OperatingPoint(prediction, **fields, map=map_from(mapped) if mapped else IDENTITY)
    if point.feasible is not feasible:
        raise ConfigError(f"{shown(prediction)} is said to be feasible = {feasible}, and its figures say otherwise")
    return point
