"""The decision as Markdown: a job summary or a pull-request comment.

Everything that has an origin outside this package (names, reasons) is untrusted in Markdown: it may not break the
table, mention a person, or become a link. So every special character of it is a numeric entity, inside `<code>`, where
no renderer looks for mentions, references or links.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

from gate.judge.decision import Cell, Decision, Identity
from gate.report import asides, figures, words
from gate.report.standing import standing, worst_cells

LIMIT = 60_000  # GitHub refuses comments above 65,536 characters; the rest is for the caller's own marker and links
ROWS = 20
ANCHORS = 5
CELL_LIMIT = 120
REASON_LIMIT = 400  # of a reason within a table

# A word of plain prose: nothing in it that GitHub could read as a mention, a reference, a link or markup.
_PLAIN = re.compile(r"[(“]?(?:[A-Za-z][A-Za-z0-9'’-]*|\[?[−+<>=]?\d[\d,]*(?:\.\d+)?%?\]?|[%=→·−+])[)”]?[.,;:]?[)”]?")


_SAFE = frozenset(" .,;:%()'’“”−→↑↓·✖✔⚠∅▲✓")  # in our own figures and words nothing more is needed unescaped


def summary_markdown(decision: Decision, limit: int = LIMIT) -> str:
    """At most `limit` bytes (GitHub counts those). What is left out is always said, with the number left out."""
    identities = "\n".join(_identities(decision)) + "\n"
    room = limit - len(identities.encode())
    full = ROWS
    while True:
        lines = list(_lines(decision, full))
        if _size(lines) <= room or full == 0:
            break
        full //= 2  # names of 120 hostile characters: fewer rows instead of half a row
    if _size(lines) > room:
        kept = len(lines)
        while _size(lines[:kept]) > room - 80:
            kept -= 1
        lines = [*lines[:kept], "", f"({len(lines) - kept:,} more lines are cut here; report.html has them)", ""]
    return "\n".join(lines) + "\n" + identities


def _size(lines: Sequence[str]) -> int:
    return sum(len(line.encode()) + 1 for line in lines)


def code(text: str) -> str:
    """`text` as a table cell that nothing in it can leave: `<code>`, entities, at most 120 characters of it."""
    cut = text if len(text) <= CELL_LIMIT else text[: CELL_LIMIT - 1] + "…"
    return f"<code>{''.join(map(_entity, cut))}</code>" if cut else ""


def plain(text: str, limit: int = words.TEXT_LIMIT) -> str:
    """`text` as prose: plain words stay readable, every other word (a name, an address, markup) becomes `code`."""
    parts = []
    for part in (text if len(text) <= limit else text[: limit - 1] + "…").split():
        body = part.rstrip(".,;:)")  # a full stop is not part of the name before it
        parts.append(_figure(part) if _PLAIN.fullmatch(part) else code(body) + part[len(body) :])
    return " ".join(parts)


def _entity(character: str) -> str:
    if character.isascii() and (character.isalnum() or character == " "):
        return character
    if unicodedata.category(character)[0] == "C" or character in "\u2028\u2029":
        return f"&#91;U&#43;{ord(character):04X}&#93;"
    return f"&#{ord(character)};"


def _lines(decision: Decision, rows: int) -> Iterator[str]:
    symbol = words.OUTCOME_SYMBOLS[decision.decision]
    yield f"## {symbol} {decision.decision}: {words.OUTCOME_WORDS[decision.decision]}"
    yield ""
    yield plain(words.headline(decision))
    yield ""
    for reason in decision.reasons[:rows]:
        others = words.unnamed(reason.text, reason.predictions)
        names = f" ({_codes(others)})" if others else ""
        yield f"- **{code(reason.code)}** {plain(reason.text)}{names}"
    if len(decision.reasons) > rows:
        yield f"- and {len(decision.reasons) - rows:,} more reasons in report.html"
    yield ""
    yield "**What to do**"
    yield ""
    for step in words.next_steps(decision):
        yield f"1. {plain(step)}"
    yield ""
    whole = [c for c in decision.cells if c.slice == "all"]
    slices = words.by_verdict(c for c in decision.cells if c.slice != "all")
    yield f"**Cells over the whole suite:** {plain(words.counts_line(words.by_verdict(whole)))}  "
    if any(slices.values()):
        yield f"**Cells in slices:** {plain(words.counts_line(slices))}  "
    yield f"**Predictions:** {words.impact_line(decision.cells)}"
    yield ""
    listed = worst_cells(decision)
    if listed:
        yield from _worst(listed, rows, decision)
    if said := asides.probabilities(decision):
        yield f"**Probability calibration:** {plain(said)}"
        yield ""
    failed = [c for c in decision.contracts if not c.success]
    if failed:
        yield "### Data contracts that do not hold"
        yield ""
        for contract in failed[:rows]:
            yield f"- {code(contract.name)} ({code(contract.where)}): {plain(contract.observed)}"
        if len(failed) > rows:
            yield f"- and {len(failed) - rows:,} more in report.html"
        yield ""


def _identities(decision: Decision) -> Iterator[str]:
    yield "<details><summary>What was compared</summary>"
    yield ""
    yield "| | name | version | digest |"
    yield "| --- | --- | --- | --- |"
    for label, identity in (
        ("candidate", decision.candidate),
        ("incumbent", decision.incumbent),
        ("suite", decision.suite),
        *(("anchor", anchor) for anchor in decision.anchors[:ANCHORS]),
        ("policy", Identity("", "", decision.policy.digest)),
        ("gate", Identity("", decision.gate_version, "")),
    ):
        yield f"| {label} | {code(identity.name)} | {code(identity.version)} | {code(identity.digest)} |"
    if len(decision.anchors) > ANCHORS:
        yield ""
        yield f"and {len(decision.anchors) - ANCHORS:,} more anchors in verdict.json"
    yield ""
    yield "</details>"


def _worst(cells: Sequence[Cell], rows: int, decision: Decision) -> Iterator[str]:
    yield f"### What somebody must look at, worst first: showing {min(rows, len(cells)):,} of {len(cells):,}"
    yield ""
    confidence = figures.percent(decision.policy.confidence)
    yield f"Differences are candidate minus incumbent, in brackets their one-sided {confidence} bounds."
    yield "↑ higher is better, ↓ lower is better."
    yield ""
    yield "| verdict | prediction | metric | slice | tier | incumbent | candidate | difference | adjusted p |"
    yield "| --- | --- | --- | --- | --- | ---: | ---: | ---: | ---: |"
    for cell in cells[:rows]:
        columns = [_verdict(cell), code(cell.prediction), f"{code(cell.metric)} {figures.arrow(cell)}"]
        columns += [code(cell.slice), cell.tier, *_measured(cell, decision)]
        yield f"| {' | '.join(columns)} |"
    if len(cells) > rows:
        yield ""
        yield f"and {len(cells) - rows:,} more in report.html"
    yield ""


def _verdict(cell: Cell) -> str:
    text = f"{_figure(words.SYMBOLS[cell.verdict])} {words.word(cell.verdict)}"
    text += " (suspect)" if cell.suspect else ""
    text += " (to acknowledge)" if standing(cell) == "acknowledge" and not cell.suspect else ""
    return text + (f" (waived {code(cell.waiver)})" if cell.waiver is not None else "")


def _measured(cell: Cell, decision: Decision) -> tuple[str, str, str, str]:
    """Incumbent, candidate, difference with all that belongs to it, adjusted p."""
    if cell.delta is None:
        return "", "", plain(cell.reason, REASON_LIMIT), ""
    scale = figures.scale_of(cell)
    parts = [f"{figures.difference(cell.delta, scale)} {figures.interval(cell, scale)}".strip()]
    parts += [since] if (since := asides.drift(cell)) else []
    if standing(cell) == "open":
        parts += [f"margin {figures.margin(scale)}", words.waits_for_clips(cell, decision.counted)]
    old, new = (_figure(figures.value(value, scale)) for value in (cell.incumbent, cell.candidate))
    return old, new, "; ".join(map(_figure, parts)), _figure(figures.p_value(cell.p_adjusted))


def _figure(text: str) -> str:
    """Figures, units and plain words as they are, with what Markdown could read as markup as entities."""
    return "".join(c if c in _SAFE else _entity(c) for c in text)


def _codes(names: Sequence[str], limit: int = 5) -> str:
    more = f" and {len(names) - limit:,} more" if len(names) > limit else ""
    return ", ".join(code(n) for n in names[:limit]) + more
