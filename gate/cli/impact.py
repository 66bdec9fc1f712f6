"""`bundle diff`: what a change can reach, in words and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from gate.bundle import Bundle, Cause, Impact
from gate.errors import shown

SCHEMA = "gate.impact/1"
#: Names in one line, before the others are counted.
NAMES = 4


def impact_lines(old: Bundle, new: Bundle, impact: Impact) -> Iterator[str]:
    """What is reached, why, and what is not."""
    yield f"{old.name} {old.version} -> {new.name} {new.version}"
    heads = len(impact.identical) + len(impact.reached)
    yield f"The change reaches {len(impact.reached):,} of {heads:,} heads; {len(impact.identical):,} are identical."
    for cause in impact.causes:
        yield ""
        yield from _why(cause, heads)
    groups = (("reached", impact.reached), ("added", impact.added), ("removed", impact.removed))
    for word, names in (*groups, ("identical", impact.identical)):
        if names:
            yield ""
            yield f"{word}:"
            yield from (f"  {name}" for name in names)


def impact_json(old: Bundle, new: Bundle, impact: Impact) -> str:
    """The same, whole, sorted and byte-stable."""
    words = ("identical", "reached", "added", "removed")
    document = {
        "schema": SCHEMA,
        "old": {"name": old.name, "version": old.version, "digest": old.digest},
        "new": {"name": new.name, "version": new.version, "digest": new.digest},
        "heads": [{"head": name, "impact": word} for word in words for name in getattr(impact, word)],
        "rewritten": list(impact.rewritten),
        "causes": [
            {"network": c.network, "kind": c.kind, "names": list(c.names), "heads": list(c.heads)}
            for c in impact.causes
        ],
    }
    return json.dumps(document, indent=1, sort_keys=True)


def _why(cause: Cause, heads: int) -> Iterator[str]:
    """`trunk of front: weights of backbone.s2.1 differ (2 tensors)`, and whom that reaches."""
    where = f"trunk of {cause.network}" if len(cause.heads) > 1 else ", ".join(cause.heads)
    names = _some([shown(name) for name in cause.names])
    match cause.kind:
        case "weights":
            modules = dict.fromkeys(name.rpartition(".")[0] or name for name in cause.names)
            tensors = shown(cause.names[0]) if len(cause.names) == 1 else f"{len(cause.names):,} tensors"
            yield f"{where}: weights of {_some([shown(m) for m in modules])} differ ({tensors})"
        case "program":
            yield f"{where}: the program differs from node {names} on"
        case "output":
            yield f"{where}: another value of the program goes by this name"
        case "format":
            yield f"{where}: the format of the archive, or the program's inputs, limits or checks differ"
        case "wiring":
            yield f"{where}: other inputs are fed in ({names})"
        case "upstream":
            yield f"{where}: reads {names}, which the change reaches"
        case "whole":
            yield f"{where}: the file differs, and its heads cannot be told apart: {names}"
        case "predictions":
            yield f"{where}: recorded predictions differ"
    yield f"  reaches {len(cause.heads):,} of {heads:,} heads: {_some(cause.heads)}"


def _some(names: Sequence[str]) -> str:
    more = len(names) - NAMES
    return ", ".join(names[:NAMES]) + (f" and {more:,} more" if more > 0 else "")
