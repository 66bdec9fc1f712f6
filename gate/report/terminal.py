"""The decision as a person on a laptop sees it after `gate compare`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gate.judge.decision import Cell, Decision, Outcome, Verdict
from gate.report import figures, words

if TYPE_CHECKING:
    from rich.console import Console

ROWS = 15
REASONS = 10
TABLE_WIDTH = 110  # narrower than this, a table would fold names into unreadable columns: lines instead

_OUTCOME_STYLES: dict[Outcome, str] = {"GO": "bold green", "NO-GO": "bold red", "INCONCLUSIVE": "bold yellow"}
_STYLES: dict[Verdict, str] = {
    "broken": "red",
    "regressed": "red",
    "undecided": "yellow",
    "not-measurable": "yellow",
    "improved": "green",
    "non-inferior": "green",
}
# For terminals and pipes that are not UTF-8.
_ASCII = str.maketrans(
    {"✔": "+", "✖": "x", "⚠": "!", "∅": "0", "▲": "^", "✓": "=", "·": "-", "−": "-", "→": "->", "↑": "(up)",
     "↓": "(down)", "∞": "inf", "…": "...", "“": '"', "”": '"', "’": "'"}
)  # fmt: skip


def console() -> Console:
    """Where results go: standard output, with the colours, width and encoding that it has."""
    from rich.console import Console

    return Console(highlight=False)


def print_decision(decision: Decision, console: Console) -> None:
    """Decision, reasons, counts, the worst cells, and where to look next.

    A wide terminal gets a table; a narrow one and a pipe get one line a cell that is never cut, so that grep finds a
    prediction by its name. Colour only repeats what symbol and word say, and rich leaves it out under NO_COLOR.
    """
    from rich.text import Text

    def line(text: str, style: str = "") -> None:
        # Text, not a string: markup in a name stays text. soft_wrap: in a pipe a line is one line.
        console.print(Text(_encodable(text, console), style=style), soft_wrap=not console.is_terminal)

    outcome = decision.decision
    symbol = words.OUTCOME_SYMBOLS[outcome]
    line(f"{symbol} {outcome}: {words.OUTCOME_WORDS[outcome]}", _OUTCOME_STYLES[outcome])
    line(words.headline(decision))
    line("")
    for reason in decision.reasons[:REASONS]:
        others = words.unnamed(reason.text, reason.predictions)
        names = f" ({words.listed(others)})" if others else ""
        line(f"  {words.name(reason.code)}: {words.prose(reason.text)}{names}")
    if len(decision.reasons) > REASONS:
        line(f"  and {len(decision.reasons) - REASONS:,} more reasons in the report")
    if decision.reasons:
        line("")
    whole = words.by_verdict(c for c in decision.cells if c.slice == "all")
    slices = words.by_verdict(c for c in decision.cells if c.slice != "all")
    line(f"Whole suite   {words.counts_line(whole)}")
    if any(slices.values()):
        line(f"Slices        {words.counts_line(slices)}")
    line(f"Predictions   {words.impact_line(decision.cells)}")
    worst = worst_cells(decision)
    if worst:
        line("")
        if console.is_terminal and console.width >= TABLE_WIDTH:
            _table(worst[:ROWS], console)
        else:
            _rows(worst[:ROWS], console)
        if len(worst) > ROWS:
            line(f"and {len(worst) - ROWS:,} more in the report")
    line("")
    line("What to do")
    for number, step in enumerate(words.next_steps(decision), 1):
        line(f"  {number}. {step}")


def worst_cells(decision: Decision) -> list[Cell]:
    """Cells that a person must look at, worst first: regressed, broken, suspect, and critical ones not proven."""
    return sorted(
        (
            c
            for c in decision.cells
            if c.verdict in ("regressed", "broken")
            or c.suspect
            or (c.tier == "critical" and c.slice == "all" and c.verdict in ("undecided", "not-measurable"))
        ),
        key=words.worst_first,
    )


def _columns(cell: Cell) -> tuple[str, str, str, str, str, str]:
    scale = figures.scale_of(cell)
    verdict = f"{words.SYMBOLS[cell.verdict]} {words.word(cell.verdict)}"
    verdict += ", suspect" if cell.suspect else ""
    verdict += f", waived {words.name(cell.waiver)}" if cell.waiver is not None else ""
    if cell.delta is None:
        moved = words.prose(cell.reason) or "not measured"
        return (
            verdict,
            words.name(cell.prediction),
            words.name(cell.metric),
            words.name(cell.slice),
            moved,
            "",
        )
    values = f"{figures.value(cell.incumbent, scale)} → {figures.value(cell.candidate, scale)}"
    moved = f"{figures.difference(cell.delta, scale)} {figures.interval(cell, scale)}".strip()
    metric = f"{words.name(cell.metric)} {figures.arrow(cell)}"
    return verdict, words.name(cell.prediction), metric, words.name(cell.slice), values, moved


def _rows(cells: Sequence[Cell], console: Console) -> None:
    from rich.text import Text

    for cell in cells:
        verdict, prediction, metric, slice_, values, moved = _columns(cell)
        where = "" if slice_ == "all" else f" on {slice_}"
        difference = f": {moved}" if moved else ""
        text = Text().append(_encodable(verdict, console), style=_STYLES[cell.verdict])
        text.append(_encodable(f"  {prediction}  {metric}{where}  {values}{difference}", console))
        console.print(text, soft_wrap=not console.is_terminal)


def _table(cells: Sequence[Cell], console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("Verdict", "Prediction", "Metric", "Slice", "Incumbent → candidate", "Difference, bounds"):
        # fold: a long name goes on in the next line, it is never cut.
        table.add_column(_encodable(title, console), overflow="fold", no_wrap=False)
    for cell in cells:
        columns = [_encodable(text, console) for text in _columns(cell)]
        table.add_row(Text(columns[0], style=_STYLES[cell.verdict]), *map(Text, columns[1:]))
    console.print(table)


def _encodable(text: str, console: Console) -> str:
    """`text`, or its ASCII likeness where the output cannot carry it: a report never ends in an encoding error."""
    encoding = console.encoding
    if encoding.lower().replace("-", "") in ("utf8", "utf16", "utf32"):
        return text
    return text.translate(_ASCII).encode(encoding, "backslashreplace").decode(encoding)
