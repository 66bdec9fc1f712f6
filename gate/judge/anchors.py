"""Anchors: for each prediction the older release that slow drift is measured from (method A9).

An anchor moves up to a release only on a proven gain over the old one, so luck is not locked in and many small losses
are seen as the one great loss that they are.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from gate.errors import ConfigError, shown
from gate.judge.decision import Cell

SCHEMA = "gate.anchors/1"
_MEND = "use the anchors.toml that `gate compare` wrote for this suite, or name a single --anchor"


def moved(
    anchors: Mapping[str, str],
    cells: Sequence[Cell],
    *,
    incumbent: str,
    candidate: str | None,
    unknown: Collection[str],
) -> dict[str, str]:
    """prediction -> digest of its anchor after this release; candidate: None when it does not ship.

    It moves up when one metric of the whole suite is proven better than at the old anchor and no metric is worse.
    unknown: predictions that their anchor lacks or broke; the incumbent takes its place.
    """
    of: dict[str, list[Cell]] = {}
    for cell in cells:
        if cell.slice == "all" and cell.prediction in anchors:
            of.setdefault(cell.prediction, []).append(cell)
    after = {}
    for prediction, anchor in anchors.items():
        own = of.get(prediction, [])
        if prediction in unknown:
            after[prediction] = incumbent
        else:
            after[prediction] = candidate if candidate and _better(own, anchor == incumbent) else anchor
    return after


def _better(cells: Sequence[Cell], current: bool) -> bool:
    """Proven better than the anchor; current: which is the incumbent, so that its numbers are the cells' own."""
    deltas = [c.delta if current else c.delta_anchor for c in cells]
    gained = any(c.verdict == "improved" if current else c.gained_since_anchor for c in cells)
    return gained and all(
        delta is not None and (delta <= 0 if c.lower_is_better else delta >= 0)
        for c, delta in zip(cells, deltas, strict=True)
    )


def render_anchors(anchors: Mapping[str, str], *, suite: str) -> str:
    """Text of an anchors file: one sorted line a prediction."""
    lines = [
        "# Written by `gate compare`: the release that the drift of each prediction is measured from, once this ships.",
        f'schema = "{SCHEMA}"',
        f'suite = "{suite}"',
        "",
        "[anchors]",
        *(f'"{prediction}" = "{digest}"' for prediction, digest in sorted(anchors.items())),
    ]
    return "\n".join(lines) + "\n"


def read_anchors(path: Path, *, suite: str) -> dict[str, str]:
    """prediction -> digest of its anchor. Raises ConfigError when the file is of another suite, or no such file."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        if table.get("schema") != SCHEMA:
            raise ConfigError(f"this is not a {SCHEMA} file", where=str(path), mend=_MEND)
        if table.get("suite") != suite:
            raise ConfigError("these anchors belong to another suite", where=str(path), mend=_MEND)
        found = table["anchors"]
        if not isinstance(found, dict) or not all(isinstance(digest, str) for digest in found.values()):
            raise ConfigError("an anchor is named by the digest of its bundle", where=str(path), mend=_MEND)
        return found
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"the anchors cannot be read: {shown(error)}", where=str(path), mend=_MEND) from error
