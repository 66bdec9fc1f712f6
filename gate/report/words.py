"""Names and sentences as people read them: the same words on the page, in the terminal, in Markdown and JUnit."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache

from gate.errors import shown
from gate.judge.decision import VERDICTS, Cell, Decision, Outcome, Tier, Verdict
from gate.judge.sentences import spelled, support
from gate.report import figures

SYMBOLS: dict[Verdict, str] = {
    "broken": "⚠",
    "regressed": "✖",
    "undecided": "?",
    "not-measurable": "∅",
    "improved": "▲",
    "non-inferior": "✓",
}
OUTCOME_SYMBOLS: dict[Outcome, str] = {"GO": "✔", "NO-GO": "✖", "INCONCLUSIVE": "?"}
OUTCOME_WORDS: dict[Outcome, str] = {
    "GO": "may ship",
    "NO-GO": "do not ship",
    "INCONCLUSIVE": "not proven safe to ship",
}
TIERS: tuple[Tier, ...] = ("critical", "supporting", "advisory")
_VERDICT_RANK = {verdict: rank for rank, verdict in enumerate(VERDICTS)}
_TIER_RANK = {tier: rank for rank, tier in enumerate(TIERS)}
NAME_LIMIT = 300  # head and channel are at most 128 characters each: a name is never cut, a hostile one is
TEXT_LIMIT = 2_000


def word(verdict: Verdict) -> str:
    """The verdict as it is written in a sentence."""
    return verdict.replace("-", " ") if verdict == "not-measurable" else verdict


@lru_cache(maxsize=1 << 16)  # twelve thousand cells share a thousand names
def name(text: str) -> str:
    """A prediction, head, slice or clip name with control and bidi characters escaped."""
    return shown(text, NAME_LIMIT)


def metric_name(cell: Cell) -> str:
    """`average precision ↑`: the arrow points to where better is."""
    return f"{name(spelled(cell.metric))} {figures.arrow(cell)}"


def prose(text: str) -> str:
    """A sentence from below with control and bidi characters escaped."""
    return shown(text, TEXT_LIMIT)


def count(number: int, noun: str = "", plural: str = "") -> str:
    """`1,037 predictions`, `1 prediction`, `0 clips`."""
    if not noun:
        return f"{number:,}"
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def listed(names: Iterable[str], limit: int = 5) -> str:
    """`a, b and 3 more`: at most `limit` names, and every cut is stated."""
    all_names = [name(n) for n in names]
    head = ", ".join(all_names[:limit])
    return f"{head} and {len(all_names) - limit:,} more" if len(all_names) > limit else head


def worst_first(cell: Cell) -> tuple[int, int, bool, bool, float, str, str, str]:
    """Sort key: verdict, tier, suspects, whole suite before slices, then the loss in margins; names make it total."""
    loss = math.inf if cell.delta_worse is None or math.isnan(cell.delta_worse) else cell.delta_worse
    in_margins = loss / cell.margin if cell.margin > 0 else loss
    return (
        _VERDICT_RANK[cell.verdict],
        _TIER_RANK[cell.tier],
        not cell.suspect,
        cell.slice != "all",
        in_margins,
        cell.prediction,
        cell.metric,
        cell.slice,
    )


def leads(cells: Iterable[Cell]) -> tuple[Cell, ...]:
    """The cell that speaks for each prediction or group, worst first.

    Its worst over the whole suite, or on a slice where a loss is proven, suspected, or the measurement broke; what a
    slice leaves open is told in the slice.
    """
    first: dict[str, Cell] = {}
    for cell in sorted(filter(speaks, cells), key=worst_first):
        first.setdefault(cell.prediction, cell)
    return tuple(first.values())


def speaks(cell: Cell) -> bool:
    """Whether a cell can speak for its prediction."""
    return cell.slice == "all" or cell.verdict in ("regressed", "broken") or cell.suspect


def share(number: float | None) -> str:
    """A share in per cent, rounded down: 100 % only when it is."""
    if number is None or not math.isfinite(number):
        return "not measured"
    steps = math.floor(round(number * 10_000, 6))
    steps = steps if number == 1 else min(9_999, steps)
    return f"{figures.written(steps, 2)} %"


def is_group(cell: Cell) -> bool:
    """Whether a cell is the mean of a declared group, and no prediction."""
    return cell.prediction.startswith("group:")


def is_network(cell: Cell) -> bool:
    """Whether a cell is the latency of a network."""
    return cell.task == "network"


def is_prediction(cell: Cell) -> bool:
    """Whether a cell is of a prediction, which groups and networks are not."""
    return not is_group(cell) and not is_network(cell)


def by_verdict(cells: Iterable[Cell]) -> dict[Verdict, int]:
    """How many cells have each verdict; every verdict is a key, worst first."""
    counts: dict[Verdict, int] = dict.fromkeys(VERDICTS, 0)
    for cell in cells:
        counts[cell.verdict] += 1
    return counts


def by_impact(cells: Iterable[Cell]) -> dict[str, int]:
    """How many predictions the change can reach, and how many are proven unreachable."""
    one = {(cell.prediction, cell.impact): cell for cell in cells}
    told = [cell for cell in one.values() if is_prediction(cell)]
    reached = {cell.prediction for cell in told if cell.impact == "reached"}
    return {"identical": len({cell.prediction for cell in told} - reached), "reached": len(reached)}


def impact_line(cells: Iterable[Cell]) -> str:
    """`170 reached by the change, 867 identical by construction`."""
    impact = by_impact(cells)
    return f"{impact['reached']:,} reached by the change, {impact['identical']:,} identical by construction"


def unnamed(text: str, predictions: Sequence[str]) -> list[str]:
    """Those of `predictions` that a reason's own sentence does not name; none if it names any and counts the rest."""
    return [] if any(p in text for p in predictions) else list(predictions)


def counts_line(counts: dict[Verdict, int]) -> str:
    """`1 regressed · 30 undecided · 2,043 non-inferior`; verdicts that nothing has are left out."""
    parts = [f"{n:,} {word(v)}" for v, n in counts.items() if n]
    return " · ".join(parts) or "no cells"


def waits_for_clips(cell: Cell, counted: str = "clip") -> str:
    """What would decide an undecided cell; counted: what the independent unit is called."""
    if is_network(cell):
        return "a quieter machine or a wider margin would decide"
    if cell.clips_needed is None:
        return f"no number of {counted}s like these decides it"
    return f"about {count(cell.clips_needed, f'more {counted}')} with {support([cell.metric])} would decide"


def measured(cell: Cell) -> bool:
    """Whether both bundles have a value here."""
    return cell.incumbent is not None and cell.candidate is not None and cell.delta is not None


def movement(cell: Cell) -> str:
    """`fell from 92.21 % to 85.08 %: −7.13 points, worse`, or why there is no number."""
    if cell.incumbent is None or cell.candidate is None or cell.delta is None:
        return prose(cell.reason) or "not measured, and nothing says why"
    scale = figures.scale_of(cell)
    verb = "fell" if cell.delta < 0 else "rose" if cell.delta > 0 else "stayed"
    old, new = figures.value(cell.incumbent, scale), figures.value(cell.candidate, scale)
    if not cell.delta:
        return f"{verb} at {old}"
    side = "worse" if (cell.delta > 0) == cell.lower_is_better else "better"
    return f"{verb} from {old} to {new}: {figures.difference(cell.delta, scale)}, {side}"


def lead(cell: Cell) -> str:
    """`F1 over the whole suite fell from 92.21 % to 85.08 %: −7.13 points, worse`."""
    where = "over the whole suite" if cell.slice == "all" else f"on the slice {name(cell.slice)}"
    where = "of one frame" if is_network(cell) else where
    colon = "" if measured(cell) else ":"
    text = f"{name(spelled(cell.metric))} {where}{colon} {movement(cell)}"
    if cell.verdict == "regressed" and measured(cell) and not (cell.delta_worse or 0) < 0:
        text += f"; {prose(cell.reason)}"  # proven worse for another reason than this difference, which must be said
    return text


def evidence(cell: Cell, decision: Decision) -> str:
    """The sentences after `lead`: bounds, margin, p, what it was measured on, thresholds."""
    scale = figures.scale_of(cell)
    parts = []
    if measured(cell):
        bounds = figures.interval(cell, scale)
        if bounds:
            parts.append(f"one-sided {figures.percent(decision.policy.confidence)} bounds {bounds}")
        parts.append(f"margin {figures.margin(scale)}")
        if cell.p_adjusted is not None:
            p = figures.p_value(cell.p_adjusted)
            parts.append(f"adjusted p {p if p.startswith('<') else '= ' + p}")
    text = ", ".join(parts)
    text = f"{text[:1].upper()}{text[1:]}. " if text else ""
    if is_network(cell):
        return f"{text}{prose(cell.reason)[:1].upper()}{prose(cell.reason)[1:]}."
    text += f"Measured on {count(cell.clips, decision.counted)}, {count(cell.frames, 'frame')}"
    if cell.positives is not None and support([cell.metric]) == "positives":
        text += f", {count(cell.positives, 'positive')}"
    text += "."
    if moved := figures.thresholds(cell):
        text += f" Threshold {moved} (logit)"
        if cell.delta_at_incumbent_threshold is not None:
            text += (
                f"; at the incumbent's threshold the difference is "
                f"{figures.difference(cell.delta_at_incumbent_threshold, scale)}"
            )
        text += "."
    return text


def sentence(cell: Cell, decision: Decision) -> str:
    """Everything about one cell, with direction, unit, bounds and origin of each figure."""
    return f"{lead(cell)}. {evidence(cell, decision)}"


def headline(decision: Decision) -> str:
    """What the decision means, in one sentence with counts."""
    cells = decision.cells
    total = decision.predictions or len({c.prediction for c in cells if is_prediction(c)})
    regressed = [c for c in cells if c.verdict == "regressed" and is_prediction(c)]
    broken = [c for c in cells if c.verdict == "broken" and is_prediction(c)]
    groups = {c.prediction for c in cells if c.verdict == "regressed" and is_group(c)}
    slower = [c for c in cells if c.verdict == "regressed" and is_network(c)]
    waiting = [c for c in cells if c.tier == "critical" and c.slice == "all"]
    proven = [c for c in waiting if c.verdict in ("non-inferior", "improved")]
    parts = []
    for found, what in ((regressed, "proven worse than the incumbent"), (broken, "broken")):
        if found:
            number = len(set(_names(found)))
            verb = "is" if number == 1 else "are"
            parts.append(f"{number:,} of {count(total, 'prediction')} {verb} {what}{_excused(found)}")
    if groups:
        parts.append(f"{count(len(groups), 'group')} {'is' if len(groups) == 1 else 'are'} proven worse on average")
    if slower:
        number = f"{count(len(slower), 'network')} {'is' if len(slower) == 1 else 'are'}"
        parts.append(f"{number} proven slower{_excused(slower)}")
    if not regressed and not broken and not groups and not slower:
        parts.append(f"no loss is proven on any of {count(total, 'prediction')}")
    if waiting:
        parts.append(
            f"{len(proven):,} of {count(len(waiting), 'critical cell')} "
            f"{'is' if len(waiting) == 1 else 'are'} proven no worse than the margin"
        )
    text = "; ".join(parts)
    return text[:1].upper() + text[1:] + "."


def next_steps(decision: Decision) -> tuple[str, ...]:
    """What to do now, most urgent first; never empty."""
    open_cells = [c for c in decision.cells if c.waiver is None]
    steps = []
    broken = _names(c for c in open_cells if c.verdict == "broken" and c.tier != "advisory")
    if broken:
        steps.append(f"Mend what is broken: {listed(broken)}. Missing evidence is never a pass.")
    failed = [c.name for c in decision.contracts if not c.success and c.severity == "critical"]
    if failed:
        steps.append(f"Mend the data contracts that do not hold: {listed(failed)}.")
    regressed = _names(c for c in open_cells if c.verdict == "regressed" and c.tier != "advisory")
    if regressed:
        steps.append(f"Repair or revert {listed(regressed)}.")
    if decision.uncovered:
        steps.append(
            f"Add {listed(decision.uncovered)} to the suite: the candidate emits "
            f"{'it' if len(decision.uncovered) == 1 else 'them'}, and nothing judges "
            f"{'it' if len(decision.uncovered) == 1 else 'them'}."
        )
    critical = [
        c for c in open_cells if c.tier == "critical" and c.slice == "all" and not is_group(c)
    ]  # slices of critical predictions only report
    slow = _names(c for c in critical if c.verdict == "undecided" and is_network(c))
    if slow:
        steps.append(f"Time {listed(slow)} again, on a machine that does nothing else.")
    undecided = [c for c in critical if c.verdict == "undecided" and not is_network(c)]
    if undecided:
        needed = [c.clips_needed for c in undecided if c.clips_needed is not None]
        unit = decision.counted
        held = support(c.metric for c in undecided)
        clips = f": up to {count(max(needed), f'more {unit}')} with {held}" if needed else ""
        clips += f"; for some no number of {unit}s like these decides" if len(needed) < len(undecided) else ""
        steps.append(f"Collect {unit}s for {listed(_names(undecided))}{clips}.")
    unmeasured = _names(c for c in critical if c.verdict == "not-measurable")
    if unmeasured:
        steps.append(f"Make {listed(unmeasured)} measurable, or take it out of the critical tier in a reviewed policy.")
    suspect = _names(c for c in open_cells if c.suspect)
    if suspect:
        steps.append(f"Acknowledge what looks worse without proof: {listed(suspect)}.")
    lost = _names(
        c for c in open_cells if c.tier == "supporting" and c.slice == "all" and c.verdict == "not-measurable"
    )
    if lost:
        steps.append(f"Acknowledge what cannot be measured: {listed(lost)}.")
    if decision.decision == "GO":
        steps.insert(0, "Ship it, and keep this folder as its record.")
    return tuple(steps) or ("Read the reasons above: nothing else in this result asks for an action.",)


def certainty(decision: Decision) -> tuple[str, ...]:
    """How sure this is: the error rates that were promised, and what the suite could have seen."""
    policy = decision.policy
    whole = [c for c in decision.cells if c.slice == "all" and is_prediction(c)]
    lines = [
        "A loss is called proven only if an equal candidate would be blocked in at most "
        f"{figures.percent(policy.alpha)} of releases, over everything that is gated "
        f"({count(policy.resamples, 'sign vector')}).",
        f"“No worse” holds cell by cell with {figures.percent(policy.confidence)} confidence.",
    ]
    tested = [c for c in whole if c.impact == "reached" and c.verdict not in ("broken", "not-measurable")]
    visible = sum(1 for c in tested if c.provable)
    if tested:
        lines.append(
            f"This suite could have proven a loss in {visible:,} of {count(len(tested), 'cell')} that the change "
            "can reach."
        )
        seen = sorted(c.mdr for c in tested if c.provable and c.mdr is not None and figures.scale_of(c).share)
        if seen:
            half = math.ceil(round(seen[len(seen) // 2] * 1000, 6)) / 10
            lines.append(f"In half of those with a share metric it would have found a loss of {half:.1f} points.")
    else:
        lines.append("Nothing that the change can reach was measured.")
    if any(is_network(c) and c.delta is not None and c.impact == "reached" for c in decision.cells):
        lines.append("Latencies hold for the machine that they were timed on; another run reads other figures.")
    return tuple(lines)


def _excused(cells: Sequence[Cell]) -> str:
    """` (1 advisory, 2 waived)`: predictions among these that do not block."""
    gating = {c.prediction for c in cells if c.tier != "advisory" and c.waiver is None}
    waived = {c.prediction for c in cells if c.tier != "advisory" and c.waiver is not None} - gating
    advisory = {c.prediction for c in cells if c.tier == "advisory"} - gating - waived
    parts = [f"{len(n):,} {what}" for n, what in ((advisory, "advisory"), (waived, "waived")) if n]
    return f" ({', '.join(parts)})" if parts else ""


def _names(cells: Iterable[Cell]) -> list[str]:
    """Predictions of these cells, each once, in their order."""
    return list(dict.fromkeys(c.prediction for c in cells))
