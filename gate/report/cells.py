"""All cells as compact columns for the page's script: strings once, figures as whole display steps.

Every rounding is done here; the script only puts the decimal point in. A column is a list, `{"all": v}` when every row
has the same value, or `{"some": {row: v}}` when few rows have one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Hashable, Sequence
from operator import attrgetter
from typing import Any

from gate.judge.decision import VERDICTS, Cell
from gate.judge.sentences import support
from gate.report import figures, words

SPAN = 4  # the forest column shows -4 to +4 margins
PAGE = 1000  # rows of the table on one page

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
IDENTICAL, SUSPECT, PROVABLE, SPEAKS, GAINED = 1, 2, 4, 8, 16  # bits of the column `flags`


def payload(cells: Sequence[Cell]) -> dict[str, Any]:
    """What the script gets, rows worst first."""
    rows = sorted(cells, key=words.worst_first)
    scales = [figures.scale_of(c) for c in rows]
    tables: dict[str, list[Any]] = {
        "verdict": [[v, words.SYMBOLS[v], words.word(v)] for v in VERDICTS],
        "tier": list(words.TIERS),
    }
    columns: dict[str, Any] = {
        "verdict": _packed([VERDICTS.index(c.verdict) for c in rows]),
        "tier": _packed([words.TIERS.index(c.tier) for c in rows]),
    }

    def table(name: str, written: Callable[[Cell], Hashable], *fields: str) -> None:
        alike = list(map(attrgetter(*fields), rows))
        one = dict(zip(alike, rows, strict=True))  # what is the same in many cells is written once
        tables[name], places = _interned([written(cell) for cell in one.values()])
        columns[name] = _packed(list(map(dict(zip(one, places, strict=True)).__getitem__, alike)))

    def numbers(name: str, field: str, steps: Callable[[float, figures.Scale], int]) -> None:
        exact = zip(map(attrgetter(field), rows), scales, strict=True)
        columns[name] = _packed(
            [None if n is None or not math.isfinite(n) else steps(n, s) if n else 0 for n, s in exact]
        )

    table("prediction", lambda c: words.name(c.prediction), "prediction")
    table("network", lambda c: words.name(c.network), "network")
    table("head", lambda c: words.name(c.head), "head")
    table("metric", words.metric_name, "metric", "lower_is_better")
    table("slice", lambda c: words.name(c.slice), "slice")
    table("task", lambda c: words.name(c.task), "task")
    table("threshold", lambda c: figures.thresholds(c) or None, "threshold_incumbent", "threshold_candidate")
    table("waiver", lambda c: None if c.waiver is None else words.name(c.waiver), "waiver")
    table("scale", lambda c: _scale(figures.scale_of(c)), "metric", "unit", "margin", "lower_is_better")
    numbers("incumbent", "incumbent", figures.value_steps)
    numbers("candidate", "candidate", figures.value_steps)
    numbers("delta", "delta", figures.delta_steps)
    numbers("low", "ci_low", figures.delta_steps)
    numbers("high", "ci_high", figures.delta_steps)
    numbers("at_incumbent", "delta_at_incumbent_threshold", figures.delta_steps)
    numbers("mdr", "mdr", figures.size_steps)
    numbers("free", "delta_threshold_free", figures.delta_steps)
    numbers("since", "delta_anchor", figures.delta_steps)
    columns["p"] = _packed([_p_steps(c.p_adjusted) for c in rows])
    columns["p_since"] = _packed([_p_steps(c.p_anchor) for c in rows])
    # A latency is measured on no clip of the suite.
    columns["clips"] = _packed([None if words.is_network(c) else c.clips for c in rows])
    columns["frames"] = _packed([None if words.is_network(c) else c.frames for c in rows])
    columns["positives"] = _packed([c.positives if support([c.metric]) == "positives" else None for c in rows])
    columns["needed"] = _packed([c.clips_needed for c in rows])
    columns["flags"] = _packed(
        [
            IDENTICAL * (c.impact == "identical")
            + SUSPECT * c.suspect
            + PROVABLE * c.provable
            + SPEAKS * words.speaks(c)
            + GAINED * c.gained_since_anchor
            for c in rows
        ]
    )
    tables["template"], columns["reason"] = _templates([words.prose(c.reason) for c in rows])
    return {"rows": len(rows), "page": PAGE, "span": SPAN, "tables": tables, "columns": columns}


def _interned(values: Sequence[Hashable]) -> tuple[list[Any], list[int]]:
    """Distinct values in order of first use, and the place of each value among them."""
    places = {value: place for place, value in enumerate(dict.fromkeys(values))}
    return list(places), [places[value] for value in values]


def _packed(values: Sequence[Any]) -> Any:
    if values and all(value == values[0] for value in values):
        return {"all": values[0]}
    some = {row: value for row, value in enumerate(values) if value is not None}
    # A key costs about eight characters where a null in a list costs five.
    return {"some": some} if len(some) * 2 < len(values) else list(values)


def _scale(scale: figures.Scale) -> tuple[Any, ...]:
    unit = " pt" if scale.share else scale.delta_unit
    in_steps = scale.margin * scale.factor * 10**scale.decimals
    return (
        scale.value_unit,
        unit,
        scale.decimals,
        int(scale.lower_is_better),
        in_steps or None,
        figures.margin(scale),
    )


def _p_steps(p: float | None) -> int | None:
    """p in 1/10,000; 0 stands for "< 0.0001"."""
    if p is None or not math.isfinite(p):
        return None
    return 0 if p < figures.P_FLOOR else math.floor(round(p * 10_000, 6))


def _templates(reasons: Sequence[str]) -> tuple[list[str], Any]:
    """Reasons with their numbers taken out (NUL marks the places), because twelve thousand of them are nearly equal.

    A row is the number of its template, or `"template|number|number"`.
    """
    templates: dict[str, int] = {}
    rows: dict[str, int | str] = {}
    for reason in dict.fromkeys(reasons):
        numbers = _NUMBER.findall(reason)
        template = _NUMBER.sub("\0", reason)  # NUL cannot occur: reasons have their control characters escaped
        place = templates.setdefault(template, len(templates))
        rows[reason] = "|".join([str(place), *numbers]) if numbers else place
    return list(templates), _packed([rows[reason] for reason in reasons])
