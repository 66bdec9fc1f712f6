"""Lists of cells as the page has them: some open, some folded, and every cut told."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from gate.judge.decision import Cell
from gate.judge.sentences import spelled
from gate.report import figures, words

OPEN = 8  # entries that are shown without asking
ITEMS = 100  # entries of a list; the table has them all
NAMES = 30


@dataclass(frozen=True)
class ItemView:
    """One line of a list: a prediction, its metric and tier, one sentence. id: empty when links go elsewhere."""

    id: str
    name: str
    about: str
    text: str


@dataclass(frozen=True)
class ListView:
    """A list of which the first items are open and the others folded; `more` are only in the table."""

    items: tuple[ItemView, ...]
    folded: tuple[ItemView, ...]
    total: str
    more: int


@dataclass(frozen=True)
class GapView:
    """What was not measured for one reason."""

    verdict: str
    reason: str
    count: str
    names: tuple[str, ...]
    more: int


def about(cell: Cell) -> str:
    """`F1, critical`, `F1 on time_of_day=dusk, supporting, waived WAIVER-7`."""
    where = "" if cell.slice == "all" else f" on {words.name(cell.slice)}"
    waived = "" if cell.waiver is None else f", waived {words.name(cell.waiver)}"
    return f"{words.name(spelled(cell.metric))}{where}, {cell.tier}{waived}"


def difference(cell: Cell) -> str:
    scale = figures.scale_of(cell)
    moved = f"{figures.difference(cell.delta, scale)} {figures.interval(cell, scale)}".strip()
    return f"{moved}, margin {figures.margin(scale)}"


def items_of(cells: Sequence[Cell], text: Callable[[Cell], str], *, named: Iterable[str] | None = None) -> ListView:
    """The first cells as a list. named: predictions whose id is elsewhere; None when items are no link targets."""
    seen = None if named is None else {words.name(n) for n in named}
    items = []
    for cell in cells[:ITEMS]:
        name = words.name(cell.prediction)
        items.append(
            ItemView(name if seen is not None and name not in seen else "", name, about(cell), tied(text(cell)))
        )
        if seen is not None:
            seen.add(name)
    return ListView(tuple(items[:OPEN]), tuple(items[OPEN:]), f"{len(cells):,}", len(cells) - len(items))


def tied(text: str) -> str:
    """`text` with no line break between a number and its unit or sign."""
    return re.sub(
        r"(?<=\d) (?=[%a-z]+\b|%)|(?<=[<=]) (?=\d)|(?<=\bp) (?=[<=])|(?<=,) (?=[+−]?[\d∞]+[.\d]*\])",
        "\u00a0",
        text,
    )


def gaps_of(cells: Iterable[Cell]) -> tuple[GapView, ...]:
    """Cells without a measurement, grouped by reason with its numbers left out; the largest group first."""
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        if cell.verdict in ("not-measurable", "broken"):
            reason = re.sub(r"\d+(?:[.,]\d+)*", "n", words.prose(cell.reason)) or "no reason given"
            groups.setdefault((words.word(cell.verdict), reason), []).append(cell)
    views = []
    for (verdict, reason), members in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])):
        names = list(dict.fromkeys(words.name(c.prediction) for c in members))
        noun = "network" if all(map(words.is_network, members)) else "prediction"
        total = f"{words.count(len(members), 'cell')} of {words.count(len(names), noun)}"
        views.append(GapView(verdict, reason, total, tuple(names[:NAMES]), max(0, len(names) - NAMES)))
    return tuple(views)
