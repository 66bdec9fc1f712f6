"""The decision as a notebook shows it: a small fragment of HTML, without script and without a style of its own.

Colours are the notebook's own, with accents that read on light and on dark. Notebooks typeset formulas in what they
show; the two classes tell MathJax 2 and 3 to leave this alone, or a name with dollar signs would become one.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from gate.judge.decision import Cell, Decision, Outcome
from gate.report import asides, figures, words
from gate.report.standing import worst_cells

ROWS = 10
REASONS = 5
NAME_LIMIT = 120
TEXT_LIMIT = 400  # of a reason or a step

_ACCENTS: dict[Outcome, str] = {"GO": "#2e9e55", "NO-GO": "#e0524a", "INCONCLUSIVE": "#c98a1b"}
_CELL = "text-align:left;vertical-align:top;padding:2px 12px 2px 0;border-bottom:1px solid rgba(128,128,128,.35)"
_FAINT = "opacity:.75"


def decision_html(decision: Decision) -> str:
    """Decision, reasons, counts, the worst cells and what to do; every cut is stated. Names are escaped."""
    return "\n".join(_lines(decision)) + "\n"


def _lines(decision: Decision) -> Iterator[str]:
    outcome, accent = decision.decision, _ACCENTS[decision.decision]
    yield (
        '<div class="tex2jax_ignore mathjax_ignore" style="max-width:1100px;'
        f'padding:4px 14px;border-left:4px solid {accent};overflow-wrap:break-word">'
    )
    symbol, meaning = words.OUTCOME_SYMBOLS[outcome], words.OUTCOME_WORDS[outcome]
    yield f'<p style="margin:0;font-size:1.4em"><b style="color:{accent}">{symbol} {outcome}</b> {meaning}</p>'
    names = [f"{i.name} {i.version}" for i in (decision.candidate, decision.incumbent, decision.suite)]
    compared = "{} against {} on {}".format(*map(_name, names))
    yield f'<p>{escape(words.headline(decision))}<br><span style="{_FAINT}">{compared}</span></p>'
    yield "<ul>"
    for reason in decision.reasons[:REASONS]:
        yield f"<li>{_sentence(reason.text)}</li>"
    if len(decision.reasons) > REASONS:
        yield f"<li>and {len(decision.reasons) - REASONS:,} more reasons</li>"
    yield "</ul>"
    whole = words.by_verdict(c for c in decision.cells if c.slice == "all")
    slices = words.by_verdict(c for c in decision.cells if c.slice != "all")
    yield f"<p>Whole suite: {words.counts_line(whole)}"
    if any(slices.values()):
        yield f"<br>Slices: {words.counts_line(slices)}"
    yield f"<br>Predictions: {words.impact_line(decision.cells)}</p>"
    if worst := worst_cells(decision):
        yield '<table style="border-collapse:collapse;font-size:.95em"><thead><tr>'
        for title in ("Verdict", "Prediction", "Metric", "Slice", "Incumbent → candidate", "Difference [bounds]"):
            yield f'<th scope="col" style="{_CELL}">{title}</th>'
        yield "</tr></thead><tbody>"
        for cell in worst[:ROWS]:
            columns = "".join(f'<td style="{_CELL}">{text}</td>' for text in _row(cell))
            yield f"<tr>{columns}</tr>"
        yield "</tbody></table>"
        more = f"Worst first; {len(worst) - ROWS:,} more are not shown. " if len(worst) > ROWS else ""
        confidence = figures.percent(decision.policy.confidence)
        yield f'<p style="{_FAINT}">{more}One-sided {confidence} bounds. ↑ higher is better, ↓ lower is better.</p>'
    yield "<ol>"
    for step in words.next_steps(decision):
        yield f"<li>{_sentence(step)}</li>"
    yield "</ol>"
    yield "</div>"


def _row(cell: Cell) -> tuple[str, ...]:
    """The columns of one cell, escaped."""
    scale = figures.scale_of(cell)
    verdict = f"{words.SYMBOLS[cell.verdict]} {words.word(cell.verdict)}"
    verdict += f", {cell.tier}" if cell.tier != "supporting" else ""
    verdict += ", suspect" if cell.suspect else ""
    waived = f", waived {_name(cell.waiver)}" if cell.waiver is not None else ""
    metric = f"{_name(cell.metric)} {figures.arrow(cell)}"
    if not words.measured(cell):
        values, moved = _sentence(cell.reason or "not measured"), ""
    else:
        values = escape(f"{figures.value(cell.incumbent, scale)} → {figures.value(cell.candidate, scale)}")
        moved = escape(f"{figures.difference(cell.delta, scale)} {figures.interval(cell, scale)}".strip())
        moved += f"<br>{escape(since)}" if (since := asides.drift(cell)) else ""
    return verdict + waived, _name(cell.prediction), metric, _name(cell.slice), values, moved


def _name(text: str) -> str:
    return _isolated(words.name(text), NAME_LIMIT)


def _sentence(text: str) -> str:
    return _isolated(words.prose(text), TEXT_LIMIT)


def _isolated(text: str, limit: int) -> str:
    """Escaped, on its own whatever direction its letters run, and cut with an ellipsis."""
    return f"<bdi>{escape(text if len(text) <= limit else text[: limit - 1] + '…')}</bdi>"
