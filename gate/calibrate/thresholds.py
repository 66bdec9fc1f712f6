"""`thresholds/<suite>/<bundle>-<version>.toml`: operating points of one release, one sorted line a prediction."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Sequence
from pathlib import Path

from gate.atomic import write_text
from gate.calibrate.operating import OperatingPoint
from gate.errors import ConfigError, shown

SCHEMA = "gate.thresholds/1"
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
        pairs = [("threshold", point.threshold), ("objective", point.objective), ("feasible", point.feasible)]
        pairs += [("status", point.status), ("precision", point.precision), ("recall", point.recall)]
        pairs += [("positives", point.positives), ("low", point.low), ("high", point.high)]
        body = ", ".join(f"{key} = {_value(value)}" for key, value in pairs if value is not None)
        lines.append(f'"{point.prediction}" = {{ {body} }}')
    return "\n".join(lines) + "\n"


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else repr(value)


def read_thresholds(path: Path, *, suite: str, bundle: str) -> dict[str, float]:
    """prediction -> threshold of a released file. Raises ConfigError when it is of another suite or bundle."""
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
        found = {name: p["threshold"] for name, p in table["thresholds"].items() if "threshold" in p}
        for name, value in found.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise ConfigError(f"the threshold of {shown(name)} is no number", where=str(path), mend=_MEND)
        return {name: float(value) for name, value in found.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"the thresholds cannot be read: {shown(error)}", where=str(path), mend=_MEND) from error
