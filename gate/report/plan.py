"""The plan of a suite: what it can prove and certify, as a short verdict, a table, and JSON `gate.plan/1`."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from gate import __version__
from gate.judge.plan import PAIRINGS, SHARED, Plan, PlanCell
from gate.judge.sentences import support
from gate.measures import metric
from gate.report import words

if TYPE_CHECKING:
    from rich.console import Console

SCHEMA = "gate.plan/1"
ROWS, SLICE_ROWS = 15, 10
WIDE = 110  # narrower than this, what only explains the other columns is left out

CELL_FIELDS = (
    "prediction", "metric", "unit", "slice", "tier", "margin", "clips", "positives", "effective", "value", "se", "mdr",
    "provable", "certifiable", "guard", "suggested", "enough", "missing", "reason",
)  # fmt: skip


def plan_json(plan: Plan) -> str:
    """Schema `gate.plan/1`: exact numbers, one cell a line; null where there is no number, and then a reason."""
    head = {
        "schema": SCHEMA,
        "gate": {"version": __version__},
        "suite": asdict(plan.suite),
        "incumbent": asdict(plan.incumbent),
        "twin": None if plan.twin is None else asdict(plan.twin),
        "policy": asdict(plan.policy),
        "se": plan.se,
        "assumed": {"shared": SHARED, "pairings": PAIRINGS} if plan.se == "assumed" else None,
        "counted": plan.counted,
        "clips": plan.clips,
        "critical": dict(plan.critical),
        "said": said(plan),
    }
    lines = [f'"{key}": {_dump(value)}' for key, value in head.items()]
    cells = ",\n".join(f" {_dump(_cell(c))}" for c in plan.cells)
    return "{\n" + ",\n".join(lines) + ',\n"cells": [\n' + cells + "\n]\n}\n"


def _cell(cell: PlanCell) -> dict[str, Any]:
    return {name: getattr(cell, name) for name in CELL_FIELDS} | {"reason": cell.reason or None}


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True, allow_nan=False)


def said(plan: Plan) -> list[str]:
    """The plan in a few sentences: critical predictions, supporting ones, slices, and where the errors come from."""
    counted = f"{plan.counted}s"
    sentences = []
    whole = [c for c in plan.cells if c.slice == "all"]
    for tier, begin in (
        ("critical", "This suite can certify {} at their margins"),
        ("supporting", "A loss of one margin would be proven on {}"),
    ):
        tally = _tally(c for c in whole if c.tier == tier)
        if tally.total:
            those = f"{tally.enough:,} of {words.count(tally.total, f'{tier} prediction')}"
            sentences.append(f"{begin.format(those)}{_others(tally, counted)}.")
    parts = [c for c in plan.cells if c.slice != "all" and c.tier != "advisory"]
    if parts:
        able = sum(c.enough for c in parts)
        sentences.append(f"In slices it would be proven on {able:,} of {words.count(len(parts), 'cell')}.")
    if plan.twin is None:
        sentences.append(
            f"Standard errors are ASSUMED: a retrained twin is taken to share {SHARED:.0%} of every {plan.counted}'s "
            "error. Measure them: --twin, the same bundle trained with another seed."
        )
    else:
        twin = f"{plan.twin.name} {plan.twin.version}"
        sentences.append(f"Standard errors are measured, on the twin {words.name(twin)}.")
    return sentences


@dataclass(frozen=True)
class _Tally:
    """Predictions by the worst of their metrics. waiting: the cell that needs most, of each that clips would help."""

    total: int
    enough: int
    unmeasured: int
    hopeless: int
    waiting: tuple[PlanCell, ...]


def _tally(cells: Iterable[PlanCell]) -> _Tally:
    of: dict[str, list[PlanCell]] = {}
    for cell in cells:
        of.setdefault(cell.prediction, []).append(cell)
    unmeasured = {p for p, own in of.items() if any(c.se is None for c in own)}
    rest = {p: own for p, own in of.items() if p not in unmeasured}
    enough = [p for p, own in rest.items() if all(c.enough for c in own)]
    hopeless = [p for p, own in rest.items() if any(c.missing is None for c in own)]
    waiting = [max(own, key=_missing) for p, own in rest.items() if p not in enough and p not in hopeless]
    return _Tally(len(of), len(enough), len(unmeasured), len(hopeless), tuple(waiting))


def _missing(cell: PlanCell) -> float:
    return math.inf if cell.missing is None else cell.missing


def _others(tally: _Tally, counted: str) -> str:
    told = ""
    if tally.waiting:
        least, worst = min(tally.waiting, key=_missing), max(tally.waiting, key=_missing)
        many = f"{least.missing:,} to {worst.missing:,}" if least.missing != worst.missing else f"{worst.missing:,}"
        who = f"{len(tally.waiting):,} {'needs' if len(tally.waiting) == 1 else 'need'}"
        told += f"; {who} about {many} more {counted} with {support([worst.metric])}"
        told += f" (worst: {worst.metric} of {words.name(worst.prediction)})"
    if tally.hopeless:
        told += f"; for {tally.hopeless:,} no number of {counted} like these is enough"
    if tally.unmeasured:
        told += f"; {tally.unmeasured:,} cannot be measured"
    return told


def print_plan(plan: Plan, console: Console, *, every: bool = False) -> None:
    """The short verdict, then the worst cells of each tier and of the slices; every: all of them."""

    def line(text: str = "") -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=not console.is_terminal)

    clips = words.count(plan.clips, f"validation {plan.counted}")
    who = [words.name(x) for x in (plan.incumbent.name, plan.incumbent.version, plan.suite.name, plan.suite.version)]
    line(f"{who[0]} {who[1]} on {who[2]} {who[3]}, {clips}")
    for sentence in said(plan):
        line(sentence)
    whole = [c for c in plan.cells if c.slice == "all"]
    parts = [c for c in plan.cells if c.slice != "all"]
    for title, cells, rows in (
        *((f"Whole suite, {tier}", [c for c in whole if c.tier == tier], ROWS) for tier in words.TIERS),
        ("Slices", parts, SLICE_ROWS),
    ):
        measured = sorted((c for c in cells if c.se is not None), key=_worst_first)
        if cells:
            line()
            line(f"{title}, worst first")
        if measured:
            chosen = measured if every else measured[:rows]
            _table(chosen, plan, console)
            if len(chosen) < len(measured):
                line(f"and {len(measured) - len(chosen):,} more: --all, or --json")
        _not_measured([c for c in cells if c.se is None], line, every=every)
    line()
    for sentence in _LEGEND:
        line(sentence.replace("{clip}", plan.counted).replace("{Clip}", plan.counted.capitalize()))


_LEGEND = (
    "{Clip}s: those with support, and how many they are worth, as they are not all alike. Proven: least loss that is "
    "proven with 80 % power; never: no loss would be, however great.",
    "Certified: least margin at which an equal release is certified with 80 % power; of it the guard wants more than "
    "Guard, for critical predictions on the whole suite only.",
    "Missing: further {clip}s with support, to certify critical predictions at their margin, and elsewhere to prove a "
    "loss of one margin.",
    "Figures are points (hundredths) for shares, else in the unit of the metric. AP: average precision.",
)
_SHORT = {"average_precision": "AP", "coco_ap": "COCO AP"}


def _worst_first(cell: PlanCell) -> tuple[Any, ...]:
    needs = cell.certifiable if cell.certifies else cell.mdr
    short = math.inf if needs is None else needs / cell.margin
    name = (cell.prediction, cell.metric, cell.slice)
    return (words.TIERS.index(cell.tier), cell.enough, -_missing(cell), -short, *name)


def _table(cells: Sequence[PlanCell], plan: Plan, console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    # A pipe has no width: there every column stands, and a line is one line.
    wide = not console.is_terminal or console.width >= WIDE
    sliced, guarded = cells[0].slice != "all", cells[0].certifies
    columns: list[tuple[str, bool, Callable[[PlanCell], str]]] = [
        ("Prediction", True, lambda c: words.name(c.prediction)),
        ("Metric", True, lambda c: _SHORT.get(c.metric, c.metric)),
        ("Slice", sliced, lambda c: words.name(c.slice)),
        ("Positives", wide and not sliced, lambda c: f"{c.positives:,}"),
        (f"{plan.counted.capitalize()}s", True, lambda c: f"{c.clips:,} ({math.floor(c.effective or 0):,})"),
        ("SE", wide, lambda c: _figure(c.se, c)),
        ("Proven", True, _proven),
        ("Certified", wide or not sliced, lambda c: _figure(c.certifiable, c)),
        ("Guard", guarded, lambda c: _figure(c.guard, c)),
        ("Margin", True, lambda c: _figure(c.margin, c)),
        ("Suggested", wide, lambda c: _figure(c.suggested, c)),
        ("Missing", True, _needs),
    ]
    shown = [(title, text) for title, there, text in columns if there]
    table = Table(box=None, pad_edge=False, padding=(0, 2 if wide else 1, 0, 0), header_style="bold")
    for title, _ in shown:
        name = title in ("Prediction", "Slice")
        table.add_column(
            title, justify="left" if name or title == "Metric" else "right", no_wrap=not name, overflow="fold"
        )
    for c in cells:
        table.add_row(*(Text(text(c)) for _, text in shown))
    width = console.width
    if not console.is_terminal:
        console.width = 10_000
    console.print(table)
    console.width = width


def _proven(cell: PlanCell) -> str:
    # A share cannot lose more than there is.
    beyond = metric(cell.metric).unitless and cell.mdr is not None and cell.value is not None and cell.mdr > cell.value
    if cell.provable and not beyond:
        return _figure(cell.mdr, cell)
    return "-" if cell.tier == "advisory" else "never"


def _needs(cell: PlanCell) -> str:
    if cell.enough:
        return "0"
    if cell.missing is None:
        return "-" if cell.tier == "advisory" else "never"
    return f"{cell.missing:,}"


def _figure(value: float | None, cell: PlanCell) -> str:
    """Three significant digits, rounded up: what is shown is never better than what was found."""
    if value is None:
        return "-"
    value = value * 100 if metric(cell.metric).unitless else value
    if value <= 0:
        return "0"
    places = max(0, 2 - math.floor(math.log10(value)))
    # At 1e-6 of a step first: 0.07 * 100 is 7.000000000000001, and that is not more than 7.
    shown = math.ceil(round(value * 10**places, 6)) / 10**places
    return f"{shown:.{places}f}".rstrip("0").rstrip(".") if places else f"{shown:,.0f}"


def _not_measured(cells: Sequence[PlanCell], line: Any, *, every: bool) -> None:
    """Cells without numbers, by reason."""
    of: dict[str, dict[str, None]] = {}
    for cell in cells:
        why = re.sub(r"only \d+ ", "too few ", cell.reason)
        of.setdefault(why, {})[f"{cell.prediction}" + ("" if cell.slice == "all" else f" {cell.slice}")] = None
    for why, names in sorted(of.items(), key=lambda item: -len(item[1])):
        listed = words.listed(names, len(names) if every else 3)
        line(f"not measurable, {words.prose(why)}: {len(names):,} ({listed})")
