"""Between a decision and the page: plain values in the reader's words, so that the template decides nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gate.judge.decision import Cell, Decision, Verdict
from gate.report import asides, figures, words
from gate.report.cells import SPAN
from gate.report.chart import Chart, chart_of
from gate.report.details import Detail
from gate.report.frames import FramesView, SeenView, frames_view, seen_views
from gate.report.impact import common_network, networks_line
from gate.report.lists import ITEMS, NAMES, OPEN, GapView, ListView, difference, gaps_of, items_of, tied
from gate.report.moved import Moved
from gate.suite.contract import ContractResult

BLOCKS = 60  # regressed predictions with a block of their own; further ones are a line each
SUSPECTS, OPEN_SUSPECTS = 20, 3
SEEN = 3  # frames on the first screen
SENTENCES = 3  # regressed cells told in full within a block
METHOD = "docs/statistics.md"  # of this project: the page itself needs no network


@dataclass(frozen=True)
class ReasonView:
    """A reason's sentence in pieces, (text, name of the prediction that it links to or empty).

    others: predictions that the sentence counts and does not name; more: those that are left out; folded: what stands
    over them when they are folded, else empty.
    """

    code: str
    pieces: tuple[tuple[str, str], ...]
    others: tuple[str, ...]
    more: int
    folded: str


@dataclass(frozen=True)
class FactView:
    """One thing that was compared; `digest` in full, `short` for the eye, both empty when there is none."""

    label: str
    text: str
    digest: str
    short: str


@dataclass(frozen=True)
class CountView:
    """How many predictions have a verdict."""

    verdict: Verdict
    symbol: str
    word: str
    number: str


@dataclass(frozen=True)
class BlockView:
    """A regressed or suspect prediction: its numbers in (lead, evidence) sentences, its curves and frames if any."""

    name: str
    verdict: Verdict
    symbol: str
    about: str
    told: tuple[tuple[str, str], ...]
    more: int
    chart: Chart | None
    frames: FramesView | None


@dataclass(frozen=True)
class ContractView:
    """One data contract; `mark` says whether it holds, as symbol and word."""

    name: str
    mark: str
    expectation: str
    observed: str
    where: str


@dataclass(frozen=True)
class PageView:
    """The whole page, top to bottom."""

    title: str
    outcome: str
    tone: str
    symbol: str
    meaning: str
    headline: str
    reasons: tuple[ReasonView, ...]
    seen: tuple[SeenView, ...]
    steps: tuple[str, ...]
    certainty: tuple[str, ...]
    facts: tuple[FactView, ...]
    counts: tuple[CountView, ...]
    impact: tuple[str, ...]
    hint: str
    blocks: tuple[BlockView, ...]
    regressed: str
    more_regressed: ListView
    broken: ListView
    undecided: ListView
    suspects: tuple[BlockView, ...]
    suspected: str
    open: int
    more_suspects: ListView
    waived: ListView
    predictions: str
    cells: str
    span: int
    verdicts: tuple[tuple[str, str], ...]
    tiers: tuple[str, ...]
    networks: tuple[str, ...]
    tasks: tuple[str, ...]
    metrics: tuple[str, ...]
    slices: tuple[str, ...]
    failed: tuple[ContractView, ...]
    held: tuple[ContractView, ...]
    gaps: tuple[GapView, ...]
    uncovered: tuple[str, ...]
    method: tuple[str, ...]
    method_address: str
    command: str
    runtime: tuple[tuple[str, str], ...]
    left_out: str


def page_view(
    decision: Decision,
    details: Mapping[str, Detail],
    moved: Mapping[str, Moved],
    *,
    title: str,
    command: str,
    left_out: str = "",
) -> PageView:
    """Everything that the page says, in its order. details, moved: by prediction; left_out: what had no room, told."""
    cells = sorted(decision.cells, key=words.worst_first)
    leads = words.leads(cells)
    worse = _by_prediction(c for c in cells if c.verdict == "regressed")
    suspect = {p: c for p, c in _by_prediction(c for c in cells if c.suspect).items() if p not in worse}
    shown, suspected = list(worse)[:BLOCKS], list(suspect)[:SUSPECTS]
    counts = words.by_verdict(leads)
    critical = [c for c in cells if c.tier == "critical" and c.slice == "all" and c.verdict == "undecided"]

    brought: set[str] = set()

    def block(prediction: str, told: Sequence[Cell]) -> BlockView:
        return _block(prediction, told, decision, details.get(prediction), moved.get(prediction), brought)

    return PageView(
        title=words.name(title),
        outcome=decision.decision,
        tone={"GO": "good", "NO-GO": "bad", "INCONCLUSIVE": "open"}[decision.decision],
        symbol=words.OUTCOME_SYMBOLS[decision.decision],
        meaning=words.OUTCOME_WORDS[decision.decision],
        headline=words.headline(decision),
        reasons=tuple(_reason(r.code, r.text, r.predictions) for r in decision.reasons[:ITEMS]),
        seen=seen_views([moved[p] for p in shown if p in moved], SEEN, brought),
        steps=words.next_steps(decision),
        certainty=words.certainty(decision),
        facts=_facts(decision),
        counts=tuple(CountView(v, words.SYMBOLS[v], words.word(v), f"{counts[v]:,}") for v in counts),
        impact=tuple(
            f"{line}."
            for line in (networks_line(decision.networks), f"Predictions: {words.impact_line(cells)}")
            if line
        ),
        hint=common_network(decision),
        blocks=tuple(block(p, worse[p]) for p in shown),
        regressed=_told([own[0] for own in worse.values()]),
        more_regressed=items_of([worse[p][0] for p in list(worse)[BLOCKS:]], words.movement, named=shown),
        broken=items_of([c for c in cells if c.verdict == "broken"], lambda c: words.prose(c.reason), named=worse),
        undecided=items_of(critical, lambda c: f"{difference(c)}; {words.waits_for_clips(c)}."),
        suspects=tuple(block(p, suspect[p]) for p in suspected),
        suspected=_told([own[0] for own in suspect.values()]),
        open=OPEN_SUSPECTS,
        more_suspects=items_of(
            [suspect[p][0] for p in list(suspect)[SUSPECTS:]],
            lambda c: f"{difference(c)}; {words.waits_for_clips(c)}.",
            named=suspected,
        ),
        waived=items_of(
            [c for c in cells if c.waiver is not None], lambda c: f"{words.word(c.verdict)}: {difference(c)}"
        ),
        predictions=_told(leads),
        cells=f"{len(cells):,}",
        span=SPAN,
        verdicts=tuple((v, words.word(v)) for v in counts),
        tiers=tuple(t for t in words.TIERS if any(c.tier == t for c in cells)),
        networks=_distinct(c.network for c in decision.cells if c.network),
        tasks=_distinct(c.task for c in decision.cells if c.task),
        metrics=tuple(dict.fromkeys(map(words.metric_name, decision.cells))),
        slices=_distinct(c.slice for c in decision.cells),
        failed=tuple(_contract(c) for c in decision.contracts if not c.success),
        held=tuple(_contract(c) for c in decision.contracts if c.success),
        gaps=gaps_of(cells),
        uncovered=tuple(words.name(n) for n in decision.uncovered),
        method=_method(decision),
        method_address=METHOD,
        command=words.prose(command),
        runtime=tuple((words.name(key), words.name(text)) for key, text in sorted(decision.runtime)),
        left_out=left_out,
    )


def _told(leads: Sequence[Cell]) -> str:
    """`1,037 predictions`, `19 predictions and 1 group`, `19 predictions, 1 group and 2 networks`."""
    kinds = (("prediction", words.is_prediction), ("group", words.is_group), ("network", words.is_network))
    told = [words.count(number, noun) for noun, of in kinds if (number := sum(map(of, leads)))]
    return " and ".join(filter(None, [", ".join(told[:-1]), *told[-1:]])) or "0 predictions"


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(map(words.name, names)))


def _by_prediction(cells: Iterable[Cell]) -> dict[str, list[Cell]]:
    found: dict[str, list[Cell]] = {}
    for cell in cells:
        found.setdefault(cell.prediction, []).append(cell)
    return found


def _reason(code: str, text: str, predictions: tuple[str, ...]) -> ReasonView:
    sentence = words.prose(text)
    names = [words.name(p) for p in predictions]
    named = [n for n in names if n in sentence][:NAMES]
    pieces: list[tuple[str, str]] = [(sentence, "")]
    if named:
        # Longest first, so that front.grid[12] is not read as front.grid[1] and a rest.
        pattern = "|".join(re.escape(n) for n in sorted(named, key=len, reverse=True))
        parts = re.split(f"({pattern})", sentence)
        pieces = [(part, part if k % 2 else "") for k, part in enumerate(parts) if part]
    others = [n for n in names if n not in sentence]
    # A sentence that names some says how many more there are: these are for whoever asks.
    room = 0 if named else OPEN
    folded = words.count(len(others), "other prediction" if named else "prediction") if len(others) > room else ""
    return ReasonView(words.name(code), tuple(pieces), tuple(others[:NAMES]), max(0, len(others) - NAMES), folded)


def _facts(decision: Decision) -> tuple[FactView, ...]:
    def fact(label: str, text: str, digest: str) -> FactView:
        algorithm, colon, number = digest.rpartition(":")
        return FactView(label, words.name(text), words.name(digest), words.name(algorithm + colon + number[:8]))

    named = (("Candidate", decision.candidate), ("Incumbent", decision.incumbent), ("Suite", decision.suite))
    return (
        *(fact(label, f"{i.name} {i.version}", i.digest) for label, i in named),
        fact("Policy", f"alpha {figures.percent(decision.policy.alpha)}", decision.policy.digest),
        fact("Gate", decision.gate_version, ""),
    )


def _block(
    name: str, cells: Sequence[Cell], decision: Decision, detail: Detail | None, moved: Moved | None, brought: set[str]
) -> BlockView:
    whole_first = sorted(cells, key=lambda c: c.slice != "all")
    tiers = sorted({c.tier for c in cells}, key=words.TIERS.index)
    waivers = dict.fromkeys(f"waived {words.name(c.waiver)}" for c in cells if c.waiver is not None)
    told = whole_first[:SENTENCES]
    return BlockView(
        name=words.name(name),
        verdict=cells[0].verdict,
        symbol=words.SYMBOLS[cells[0].verdict],
        about=", ".join([*tiers, words.name(cells[0].task), *waivers]),
        told=tuple((tied(words.lead(c)) + ".", tied(words.evidence(c, decision) + asides.beside(c))) for c in told),
        more=len(cells) - len(told),
        chart=chart_of(detail) if detail is not None else None,
        frames=frames_view(moved, brought) if moved is not None else None,
    )


def _contract(result: ContractResult) -> ContractView:
    mark = "✓ holds" if result.success else "⚠ broken" if result.severity == "critical" else "⚠ warning"
    expectation, observed, where = map(words.prose, (result.expectation, result.observed, result.where))
    return ContractView(words.name(result.name), mark, expectation, observed, where)


def _method(decision: Decision) -> tuple[str, ...]:
    policy = decision.policy
    latencies = (
        "Latency: incumbent and candidate take turns on single frames of zeros, in random order and in blocks with "
        "processes of their own; the signed ranks of the blocks decide, at a hundredth of the level that all else has, "
        "and never a difference that a program shows beside itself. It is the one part of a verdict that does not "
        "repeat byte for byte.",
    )
    return (
        "The unit is the clip: frames of a clip count once, together. Differences are candidate minus incumbent on the "
        "same clips.",
        f"Regressed: signs of the clips are flipped {policy.resamples:,} times, the same flips for all cells, and the "
        f"largest statistic decides, step by step (family-wise {figures.percent(policy.alpha)}). A loss below "
        f"{policy.min_effect * 100:.6g} points, or a tenth of the margin for what is no share, is never proven.",
        f"Non-inferior: the one-sided {figures.percent(policy.confidence)} bound of the difference lies within the "
        "margin, with enough clips and positives. Identical by construction: the change cannot reach this prediction.",
        "Undecided: neither was proven. Not measurable and broken: there is no number, and the reason says why. "
        "MDR is the smallest loss that this suite would find four times out of five.",
        "The same inputs give the same verdict, byte for byte: the signs are seeded from the digests of suite, "
        "incumbent and candidate, and nothing depends on the clock, the order of frames or the number of threads.",
        "Values of share metrics are in per cent and their differences in points (hundredths). What is shown is "
        "rounded towards the worse side; the verdict rests on the exact numbers, which are in verdict.json.",
        *(latencies if any(map(words.is_network, decision.cells)) else ()),
    )
