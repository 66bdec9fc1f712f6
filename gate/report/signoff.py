"""The page that two people sign: what was decided, what is left open, and digests of what they sign for.

At most two printed pages, A4 or Letter, whatever the input: every list has a cap and says what it leaves out, every
text is cut to a number of characters, and the style holds each to a number of lines. Everything in full is in
report.html and verdict.json, whose digest stands on this page.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import resources

from gate.judge.decision import Cell, Decision, Outcome
from gate.report import asides, figures, words
from gate.report.standing import standing, weight

REASONS = 5
LOSSES = 6
RISKS = 14  # residual risks in all, at least two of a kind
NAMES = 3
ANCHORS = 2
NAME_LIMIT = 64  # characters of a name, the middle left out: two lines of a column at most
TEXT_LIMIT = 200  # characters of a sentence: two lines of the page

SIGNERS = ("Release manager", "Perception engineer")
#: What GO does not mean, as docs/statistics.md says it.
NOT_SAFE = (
    "GO does not mean safe on roads that the suite does not hold: "
    "the gate knows nothing of clips that nobody thinks of recording."
)
_STATEMENTS: dict[Outcome, str] = {
    "GO": "We have read this page and the risks that remain, and release {name}.",
    "NO-GO": "We have read this page. {name} is not released.",
    "INCONCLUSIVE": "We have read this page. {name} is not proven fit to ship, and is not released.",
}
_TONES: dict[Outcome, str] = {"GO": "good", "NO-GO": "bad", "INCONCLUSIVE": "open"}
# Told under a heading of their own; what else the gate tells is listed as it says it.
_ELSEWHERE = ("suspect", "not-measurable", "broken-advisory", "uncovered-advisory")


@dataclass(frozen=True)
class LossView:
    """One prediction that is proven worse or broken, by its worst cell.

    values, moved: empty when nothing was measured, and why says it.
    """

    mark: str
    name: str
    about: str
    values: str
    moved: str
    why: str


@dataclass(frozen=True)
class RiskView:
    """One kind of risk that remains: how many there are and are here, and the first (name, sentence) pairs."""

    title: str
    items: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class DigestView:
    label: str
    name: str
    digest: str


@dataclass(frozen=True)
class SignoffView:
    """The whole page, top to bottom."""

    title: str
    outcome: str
    tone: str
    symbol: str
    meaning: str
    headline: str
    decided: str
    why: str
    reasons: tuple[str, ...]
    changed: tuple[str, ...]
    counts: tuple[tuple[str, str, str], ...]
    losses: tuple[LossView, ...]
    regressed: str
    bounds: str
    risks: tuple[RiskView, ...]
    certainty: tuple[str, ...]
    not_safe: str
    digests: tuple[DigestView, ...]
    statement: str
    signers: tuple[str, ...]


def signoff_page(decision: Decision, *, time: str, verdict: str) -> str:
    """The page as HTML. The same arguments give the same bytes.

    time: when it was decided, as written. verdict: digest of verdict.json, "sha256:...". No script, no image, no
    address; names may hold anything and are escaped.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    style = _part("signoff.css")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(_part("signoff.html.j2"))
    digest = "sha256-" + b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return page.render(view=signoff_view(decision, time=time, verdict=verdict), style=Markup(style), style_hash=digest)


def signoff_view(decision: Decision, *, time: str, verdict: str) -> SignoffView:
    """Everything that the page says, in its order."""
    cells = sorted(decision.cells, key=words.worst_first)
    losses: dict[str, list[Cell]] = {}
    for cell in cells:
        if cell.verdict in ("regressed", "broken"):
            losses.setdefault(cell.prediction, []).append(cell)
    # Those that decided come first, so the first is one of them whatever its code.
    reasons = [r for k, r in enumerate(decision.reasons) if k == 0 or weight(r) in ("blocks", "open")]
    whole = words.by_verdict(c for c in cells if c.slice == "all")
    slices = words.by_verdict(c for c in cells if c.slice != "all")
    name = _short(f"{decision.candidate.name} {decision.candidate.version}", NAME_LIMIT)
    return SignoffView(
        title=name,
        outcome=decision.decision,
        tone=_TONES[decision.decision],
        symbol=words.OUTCOME_SYMBOLS[decision.decision],
        meaning=words.OUTCOME_WORDS[decision.decision],
        headline=words.headline(decision),
        decided=f"Decided {_cut(time, 40)} by gate {_cut(decision.gate_version, 40)}.",
        why=_titled("Why", len(reasons), REASONS, "reason") if len(reasons) > REASONS else "Why",
        reasons=tuple(_cut(r.text, TEXT_LIMIT) for r in reasons[:REASONS]),
        changed=_changed(decision),
        counts=tuple((f"{words.SYMBOLS[v]} {words.word(v)}", f"{whole[v]:,}", f"{slices[v]:,}") for v in whole),
        losses=tuple(_loss(own[0], len(own) - 1) for own in list(losses.values())[:LOSSES]),
        regressed=_titled("What regressed", len(losses), LOSSES, "prediction") if losses else "What regressed",
        bounds=f"one-sided {figures.percent(decision.policy.confidence)} bounds",
        risks=_risks(cells, decision),
        certainty=words.certainty(decision),
        not_safe=NOT_SAFE,
        digests=_digests(decision, verdict),
        statement=_STATEMENTS[decision.decision].replace("{name}", name),
        signers=SIGNERS,
    )


def _changed(decision: Decision) -> tuple[str, ...]:
    new, old, suite = (
        _short(f"{i.name} {i.version}", NAME_LIMIT) for i in (decision.candidate, decision.incumbent, decision.suite)
    )
    lines = [
        f"{new} would replace {old}; judged on the suite {suite}.",
        f"Predictions: {words.impact_line(decision.cells)}.",
    ]
    better = list(dict.fromkeys(c.prediction for c in decision.cells if c.verdict == "improved" and c.slice == "all"))
    if better:
        named = ", ".join(_short(p, NAME_LIMIT // 2) for p in better[:NAMES])
        rest = f" and {len(better) - NAMES:,} more" if len(better) > NAMES else ""
        lines.append(f"Proven better: {named}{rest}.")
    return tuple(lines)


def _loss(cell: Cell, others: int) -> LossView:
    """A prediction's worst cell; others: how many more of its cells regressed or are broken."""
    scale = figures.scale_of(cell)
    mark = f"{words.SYMBOLS[cell.verdict]} {words.word(cell.verdict)}"
    measured = words.measured(cell)
    return LossView(
        mark=mark,
        name=_short(cell.prediction, NAME_LIMIT),
        about=_about(cell) + (f"; and {words.count(others, 'more cell')}" if others else ""),
        values=f"{figures.value(cell.incumbent, scale)} → {figures.value(cell.candidate, scale)}" if measured else "",
        moved=f"{figures.difference(cell.delta, scale)} {figures.interval(cell, scale)}".strip() if measured else "",
        why=_cut(asides.drift(cell) or f"adjusted {figures.p_text(cell.p_adjusted)}", 60)
        if measured
        else _cut(cell.reason or "no reason given", TEXT_LIMIT // 2),
    )


def _about(cell: Cell) -> str:
    """`f1 ↑, critical`, `f1 ↑ on time_of_day=dusk, supporting, waived WAIVER-7`."""
    where = "" if cell.slice == "all" else f" on {_short(cell.slice, 40)}"
    waived = "" if cell.waiver is None else f", waived {_short(cell.waiver, 40)}"
    return f"{words.name(cell.metric)} {figures.arrow(cell)}{where}, {cell.tier}{waived}"


def _risks(cells: Sequence[Cell], decision: Decision) -> tuple[RiskView, ...]:
    """Everything that this decision leaves open or takes on, most pressing first; cells: worst first."""
    unproven = [c for c in cells if c.verdict == "undecided"]
    unmeasured = [c for c in cells if c.verdict == "not-measurable" and standing(c) != "told"]
    failed = [c for c in decision.contracts if not c.success]
    held = len(decision.contracts) - len(failed)

    def open_text(cell: Cell) -> str:
        return f"{_difference(cell)}; {words.waits_for_clips(cell, decision.counted)}"

    def waived_text(cell: Cell) -> str:
        why = _difference(cell) if words.measured(cell) else cell.reason or "no reason given"
        return f"{words.word(cell.verdict)}: {why}"

    def told(found: Iterable[Cell], text: Callable[[Cell], str]) -> list[tuple[str, str]]:
        return [(_short(c.prediction, NAME_LIMIT), f"{_about(c)}: {_cut(text(c), TEXT_LIMIT)}") for c in found]

    kinds = {
        "Critical and undecided": told((c for c in unproven if standing(c) == "open"), open_text),
        "Looks worse without proof, to acknowledge": told(
            (c for c in unproven if standing(c) == "acknowledge"), open_text
        ),
        "Not measurable": told(unmeasured, lambda c: c.reason or "no reason given"),
        "Waived": told((c for c in cells if c.waiver is not None), waived_text),
        "Heads of the candidate that the suite does not judge": [
            (_short(h, NAME_LIMIT), "") for h in decision.uncovered
        ],
        f"Data contracts that do not hold ({held:,} hold)": [
            (_short(c.name, NAME_LIMIT) + ":", _cut(f"{c.expectation}: {c.observed} ({c.where})", TEXT_LIMIT))
            for c in failed
        ],
        "Also told by the gate": [
            ("", _cut(r.text, TEXT_LIMIT))
            for r in decision.reasons[1:]
            if weight(r) == "told" and r.code not in _ELSEWHERE
        ],
    }
    found = {title: items for title, items in kinds.items() if items}
    each = max(2, RISKS // max(1, len(found)))
    views = [RiskView(_titled(title, len(items), each), tuple(items[:each])) for title, items in found.items()]
    elsewhere = sum(standing(c) == "told" and c.slice == "all" and c.waiver is None for c in unproven)
    return (*views, RiskView("Beside the verdict", _beside(decision, elsewhere, held if not failed else None)))


def _beside(decision: Decision, undecided: int, held: int | None) -> tuple[tuple[str, str], ...]:
    """What is told whatever it is. undecided: cells that pass without proof. held: contracts, when all of them do."""
    drift = f"measured from {asides.anchors(decision)}" if decision.anchors else "not looked at: no anchor was given"
    lines = [("Slow drift over many releases:", _cut(drift, TEXT_LIMIT))]
    if undecided:
        text = "over the whole suite neither proven worse nor proven no worse, and not asked for a proof"
        lines.append((f"{words.count(undecided, 'supporting or advisory cell')}:", text))
    if said := asides.probabilities(decision):
        lines.append(("", _cut(said, TEXT_LIMIT + NAME_LIMIT)))
    if held is not None:
        lines.append(("Data contracts:", f"all {held:,} hold" if held else "none was checked"))
    return tuple(lines)


def _difference(cell: Cell) -> str:
    scale = figures.scale_of(cell)
    moved = f"{figures.difference(cell.delta, scale)} {figures.interval(cell, scale)}".strip()
    return f"{moved}, margin {figures.margin(scale)}"


def _digests(decision: Decision, verdict: str) -> tuple[DigestView, ...]:
    named = [("Candidate", decision.candidate), ("Incumbent", decision.incumbent), ("Suite", decision.suite)]
    more = f", {ANCHORS} of {len(decision.anchors):,}" if len(decision.anchors) > ANCHORS else ""
    named += [(f"Anchor{more}", anchor) for anchor in decision.anchors[:ANCHORS]]
    views = [DigestView(label, _short(f"{i.name} {i.version}", 40), _cut(i.digest, 80)) for label, i in named]
    policy = f"alpha {figures.percent(decision.policy.alpha)}"
    views.append(DigestView("Policy", policy, _cut(decision.policy.digest, 80)))
    return (*views, DigestView("Verdict", "verdict.json", _cut(verdict, 80)))


def _titled(title: str, number: int, shown: int, noun: str = "") -> str:
    """`Waived: 3`, `Waived: 100, the first 2 here and all in report.html`: no list is cut in silence."""
    text = f"{title}: {words.count(number, noun)}"
    return text if number <= shown else f"{text}, the first {shown:,} here and all in report.html"


def _cut(text: str, limit: int) -> str:
    """The beginning of a sentence, on one line, with an ellipsis where something is left out."""
    clean = " ".join(words.prose(text).split())
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def _short(text: str, limit: int) -> str:
    """A name without its middle: beginnings tell the camera, ends the channel."""
    clean = words.name(text)
    if len(clean) <= limit:
        return clean
    tail = limit // 3
    return f"{clean[: limit - tail - 1]}…{clean[-tail:]}"


def _part(name: str) -> str:
    # A browser hashes what is between the tags with its line ends made \n, so a checkout with \r\n must not matter.
    return resources.files("gate.report").joinpath(name).read_text("utf-8").replace("\r\n", "\n")
