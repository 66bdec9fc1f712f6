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
from gate.report import figures, words

LIMIT = 60_000  # GitHub refuses comments above 65,536 characters; the rest is for the caller's own marker and links
ROWS = 20
CELL_LIMIT = 120

# A word of plain prose: nothing in it that GitHub could read as a mention, a reference, a link or markup.
_PLAIN = re.compile(r"[(“]?(?:[A-Za-z][A-Za-z0-9'’-]*|[−+<>=]?\d[\d,]*(?:\.\d+)?%?|[%=→·−+])[)”]?[.,;:]?[)”]?")


_SAFE = frozenset(" .,;:%()'’“”−→↑↓·✖✔⚠∅▲✓")  # in our own figures and words nothing more is needed unescaped


def summary_markdown(decision: Decision) -> str:
    """At most `LIMIT` bytes (GitHub counts those). What is left out is always said, with the number left out."""
    full = ROWS
    while True:
        text = "\n".join(_lines(decision, full)) + "\n"
        if len(text.encode()) <= LIMIT or full == 0:
            break
        full //= 2  # names of 120 hostile characters: fewer rows instead of half a row
    if len(text.encode()) > LIMIT:
        kept = text.encode()[: LIMIT - 40].decode(errors="ignore").rsplit("\n", 1)[0]
        text = kept + "\n\n(cut; the rest is in report.html)\n"
    return text


def code(text: str) -> str:
    """`text` as a table cell that nothing in it can leave: `<code>`, entities, at most 120 characters of it."""
    cut = text if len(text) <= CELL_LIMIT else text[: CELL_LIMIT - 1] + "…"
    return f"<code>{''.join(map(_entity, cut))}</code>" if cut else ""


def plain(text: str) -> str:
    """`text` as prose: plain words stay readable, every other word (a name, an address, markup) becomes `code`."""
    parts = []
    for part in text[: words.TEXT_LIMIT].split():
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
    yield f"**Cells over the whole suite:** {plain(words.counts_line(words.by_verdict(whole)))}  "
    yield f"**With slices:** {plain(words.counts_line(words.by_verdict(decision.cells)))}  "
    yield f"**Predictions:** {words.impact_line(decision.cells)}"
    yield ""
    listed = sorted(
        (c for c in decision.cells if c.verdict in ("regressed", "broken") or c.suspect),
        key=words.worst_first,
    )
    if listed:
        yield from _worst(listed, rows)
    waiting = [c for c in decision.cells if c.tier == "critical" and c.slice == "all" and c.verdict == "undecided"]
    if waiting:
        yield from _undecided(sorted(waiting, key=words.worst_first), rows)
    failed = [c for c in decision.contracts if not c.success]
    if failed:
        yield "### Data contracts that do not hold"
        yield ""
        for contract in failed[:rows]:
            yield f"- {code(contract.name)} ({code(contract.where)}): {plain(contract.observed)}"
        if len(failed) > rows:
            yield f"- and {len(failed) - rows:,} more in report.html"
        yield ""
    yield "<details><summary>What was compared</summary>"
    yield ""
    yield "| | name | version | digest |"
    yield "| --- | --- | --- | --- |"
    for label, identity in (
        ("candidate", decision.candidate),
        ("incumbent", decision.incumbent),
        ("suite", decision.suite),
        ("policy", Identity("", "", decision.policy.digest)),
        ("gate", Identity("", decision.gate_version, "")),
    ):
        yield f"| {label} | {code(identity.name)} | {code(identity.version)} | {code(identity.digest)} |"
    yield ""
    yield "</details>"


def _worst(cells: Sequence[Cell], rows: int) -> Iterator[str]:
    yield f"### Regressed, broken and suspect: showing {min(rows, len(cells)):,} of {len(cells):,}"
    yield ""
    yield "| verdict | prediction | metric | slice | tier | incumbent | candidate | difference | adjusted p |"
    yield "| --- | --- | --- | --- | --- | ---: | ---: | ---: | ---: |"
    for cell in cells[:rows]:
        scale = figures.scale_of(cell)
        verdict = f"{_figure(words.SYMBOLS[cell.verdict])} {words.word(cell.verdict)}"
        verdict += " (suspect)" if cell.suspect else ""
        verdict += f" (waived {code(cell.waiver)})" if cell.waiver is not None else ""
        metric = f"{code(cell.metric)} {figures.arrow(cell)}"
        if cell.delta is None:
            columns = ["", "", code(cell.reason), ""]
        else:
            difference = f"{figures.difference(cell.delta, scale)} {figures.interval(cell, scale)}"
            columns = [
                _figure(figures.value(cell.incumbent, scale)),
                _figure(figures.value(cell.candidate, scale)),
                _figure(difference.strip()),
                _figure(figures.p_value(cell.p_adjusted)),
            ]
        yield (
            "| " + " | ".join([verdict, code(cell.prediction), metric, code(cell.slice), cell.tier, *columns]) + " |"
        )
    if len(cells) > rows:
        yield ""
        yield f"and {len(cells) - rows:,} more in report.html"
    yield ""


def _undecided(cells: Sequence[Cell], rows: int) -> Iterator[str]:
    yield f"### Critical and undecided: showing {min(rows, len(cells)):,} of {len(cells):,}"
    yield ""
    for cell in cells[:rows]:
        scale = figures.scale_of(cell)
        moved = f"{figures.difference(cell.delta, scale)} {figures.interval(cell, scale)}".strip()
        moved = _figure(f"{moved}, margin {figures.margin(scale)}")
        yield f"- {code(cell.prediction)} {code(cell.metric)}: {moved}; {plain(words.waits_for_clips(cell))}"
    if len(cells) > rows:
        yield f"- and {len(cells) - rows:,} more in report.html"
    yield ""


def _figure(text: str) -> str:
    """Figures, units and plain words as they are, with what Markdown could read as markup as entities."""
    return "".join(c if c in _SAFE else _entity(c) for c in text)


def _codes(names: Sequence[str], limit: int = 5) -> str:
    more = f" and {len(names) - limit:,} more" if len(names) > limit else ""
    return ", ".join(code(n) for n in names[:limit]) + more
