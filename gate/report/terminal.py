"""The decision as a person on a laptop sees it after `gate compare`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gate.judge.decision import Cell, Decision, Outcome, Verdict
from gate.report import asides, figures, words
from gate.report.standing import worst_cells

if TYPE_CHECKING:
    from rich.console import Console

ROWS = 15
REASONS = 10
WIDE = 110  # from here on one line a cell fits, with a column for each thing
NARROW = 72  # below this a table would fold names into unreadable columns: lines instead

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
    """Decision, reasons, counts, the worst cells, and what to do.

    A terminal gets a table that fits its width, 80 columns too; one narrower than `NARROW` and a pipe get one line a
    cell that is never cut, so that grep finds a prediction by its name. Colour only repeats what symbol and word say,
    and rich leaves it out under NO_COLOR.
    """
    from rich.table import Table
    from rich.text import Text

    def line(text: str, style: str = "") -> None:
        # Text, not a string: markup in a name stays text. soft_wrap: in a pipe a line is one line.
        console.print(Text(_encodable(text, console), style=style), soft_wrap=not console.is_terminal)

    def item(label: str, text: str) -> None:
        """A line with a label; what does not fit a terminal goes on under the text, not under the label."""
        if not console.is_terminal:
            line(label + text)
            return
        row = Table.grid()
        row.add_column(no_wrap=True)
        row.add_column(overflow="fold")
        row.add_row(label, Text(_encodable(text, console)))
        console.print(row)

    outcome = decision.decision
    symbol = words.OUTCOME_SYMBOLS[outcome]
    line(f"{symbol} {outcome}: {words.OUTCOME_WORDS[outcome]}", _OUTCOME_STYLES[outcome])
    line(words.headline(decision))
    line("")
    for reason in decision.reasons[:REASONS]:
        others = words.unnamed(reason.text, reason.predictions)
        names = f" ({words.listed(others)})" if others else ""
        item("  ", f"{words.name(reason.code)}: {words.prose(reason.text)}{names}")
    if len(decision.reasons) > REASONS:
        line(f"  and {len(decision.reasons) - REASONS:,} more reasons in the report")
    if decision.reasons:
        line("")
    whole = words.by_verdict(c for c in decision.cells if c.slice == "all")
    slices = words.by_verdict(c for c in decision.cells if c.slice != "all")
    item("Whole suite   ", words.counts_line(whole))
    if any(slices.values()):
        item("Slices        ", words.counts_line(slices))
    item("Predictions   ", words.impact_line(decision.cells))
    if decision.anchors:
        item("Drift since   ", asides.anchors(decision))
    worst = worst_cells(decision)
    if worst:
        line("")
        if console.is_terminal and console.width >= NARROW:
            _table(worst[:ROWS], console)
        else:
            _rows(worst[:ROWS], console)
        if len(worst) > ROWS:
            line(f"and {len(worst) - ROWS:,} more in the report")
        confidence = figures.percent(decision.policy.confidence)
        line(f"[a, b]: one-sided {confidence} bounds. ↑ higher is better, ↓ lower is better.")
    line("")
    line("What to do")
    for number, step in enumerate(words.next_steps(decision), 1):
        item(f"  {number}. ", step)


def _told(cell: Cell) -> tuple[str, str, str, str, list[str]]:
    """(verdict, prediction, metric with its direction, slice, what was measured: values, difference, drift)."""
    scale = figures.scale_of(cell)
    verdict = f"{words.SYMBOLS[cell.verdict]} {words.word(cell.verdict)}"
    # Supporting is the rule, and who reads a loss wants to know whether it is an exception.
    verdict += f", {cell.tier}" if cell.tier != "supporting" else ""
    verdict += ", suspect" if cell.suspect else ""
    verdict += f", waived {words.name(cell.waiver)}" if cell.waiver is not None else ""
    if cell.delta is None:
        measured = [words.prose(cell.reason) or "not measured"]
    else:
        measured = [f"{figures.value(cell.incumbent, scale)} → {figures.value(cell.candidate, scale)}"]
        measured += [f"{figures.difference(cell.delta, scale)} {figures.interval(cell, scale)}".strip()]
        measured += [since] if (since := asides.drift(cell)) else []
    metric = f"{words.name(cell.metric)} {figures.arrow(cell)}"
    return verdict, words.name(cell.prediction), metric, words.name(cell.slice), measured


def _rows(cells: Sequence[Cell], console: Console) -> None:
    from rich.text import Text

    for cell in cells:
        verdict, prediction, metric, slice_, measured = _told(cell)
        where = "" if slice_ == "all" else f" on {slice_}"
        text = Text().append(_encodable(verdict, console), style=_STYLES[cell.verdict])
        text.append(_encodable(f"  {prediction}  {metric}{where}  {': '.join(measured[:2])}", console))
        text.append(_encodable("".join(f"; {more}" for more in measured[2:]), console))
        console.print(text, soft_wrap=not console.is_terminal)


def _table(cells: Sequence[Cell], console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    wide = console.width >= WIDE
    titles = ["Verdict", "Prediction, metric", "Incumbent → candidate, difference"]
    if wide:
        titles = ["Verdict", "Prediction", "Metric", "Slice", "Incumbent → candidate", "Difference [bounds]"]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in titles:
        # fold: a long name goes on in the next line, it is never cut.
        table.add_column(Text(_encodable(title, console)), overflow="fold", no_wrap=False)
    if not wide:
        table.columns[0].max_width = 16
        table.columns[2].min_width = 30
    for cell in cells:
        verdict, prediction, metric, slice_, measured = _told(cell)
        where = "" if slice_ == "all" else f" on {slice_}"
        columns = [verdict, f"{prediction}\n{metric}{where}", "\n".join(measured)]
        if wide:
            columns = [verdict, prediction, metric, slice_, measured[0], "\n".join(measured[1:])]
        encodable = [_encodable(text, console) for text in columns]
        table.add_row(Text(encodable[0], style=_STYLES[cell.verdict]), *map(Text, encodable[1:]))
    console.print(table)


def _encodable(text: str, console: Console) -> str:
    """`text`, or its ASCII likeness where the output cannot carry it: a report never ends in an encoding error."""
    encoding = console.encoding
    if encoding.lower().replace("-", "") in ("utf8", "utf16", "utf32"):
        return text
    return text.translate(_ASCII).encode(encoding, "backslashreplace").decode(encoding)
