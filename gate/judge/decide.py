"""Cells -> GO, NO-GO or INCONCLUSIVE, with the reasons in sentences, worst first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from gate.calibrate import OperatingPoint, objective_of
from gate.judge.decision import Cell, Outcome, Reason, Tier
from gate.judge.sentences import spelled, support

#: Reasons that block, and reasons that leave it open. All others are told, and change nothing.
BLOCKING = ("broken", "missing-head", "regressed", "must-pass", "regressed-slice", "regressed-group")
BLOCKING += ("lost-measurability", "unattainable", "uncovered")
OPEN = ("undecided-critical", "unproven-critical", "not-measurable-critical", "nothing-measured")
NAMED = 3


def decide(
    cells: Sequence[Cell],
    *,
    missing: Sequence[str],
    uncovered: Mapping[str, Tier],
    must_pass: Sequence[str],
    identical_uncovered: Sequence[str],
    points: Mapping[str, OperatingPoint] | None = None,
    unknown: Sequence[str] = (),
) -> tuple[Outcome, tuple[Reason, ...]]:
    """The decision and why.

    missing: predictions that the candidate lacks. uncovered: head that nobody judges -> tier by the policy's rules.
    must_pass: predictions with new errors on a zero-tolerance clip. identical_uncovered: those of them that the
    change cannot reach, which are told and do not block. points: operating points of the candidate.
    unknown: predictions that their anchor lacks or broke.
    """
    gated = [c for c in cells if c.tier != "advisory"]
    infeasible = _infeasible(gated, points or {})
    reasons = [*_blocking(gated, missing, must_pass), *infeasible["unattainable"]]
    reasons += [
        *_uncovered(uncovered, identical_uncovered),
        *_open(gated, points or {}),
        *infeasible["unproven-critical"],
    ]
    if not any(r.code in BLOCKING + OPEN for r in reasons):
        reasons += _nothing_measured(gated)
    if any(r.code in BLOCKING for r in reasons):
        outcome: Outcome = "NO-GO"
    elif any(r.code in OPEN for r in reasons):
        outcome = "INCONCLUSIVE"
    else:
        outcome = "GO"
        reasons.insert(0, _nothing_found(cells))
    return outcome, (*reasons, *infeasible["infeasible"], *_told(cells, gated), *_adrift(unknown))


def _blocking(gated: Sequence[Cell], missing: Sequence[str], must_pass: Sequence[str]) -> Iterator[Reason]:
    tiers = {c.prediction for c in gated}
    lacking = [p for p in missing if p in tiers]
    if lacking:
        yield _reason("missing-head", lacking, "{count} of the suite {verb} missing from the candidate: {names}")
    broken = _names(c for c in gated if c.verdict == "broken" and c.prediction not in set(missing))
    if broken:
        why = next(c.reason for c in gated if c.prediction == broken[0] and c.verdict == "broken")
        yield _reason("broken", broken, "{count} {verb} broken: {names}" + f"; {broken[0]}: {why}")
    strict = [p for p in must_pass if p in tiers]
    if strict:
        text = "{count} {verb} new errors on a clip that must pass: {names}"
        yield _reason("must-pass", strict, text, plural="have", one="has")
    whole = [c for c in gated if c.verdict == "regressed" and c.slice == "all" and c.task != "group"]
    whole = [c for c in whole if c.prediction not in strict or "must pass" not in c.reason]
    yield from _regressed("regressed", whole)
    already = {c.prediction for c in whole}
    sliced = [c for c in gated if c.verdict == "regressed" and c.slice != "all" and c.prediction not in already]
    yield from _regressed("regressed-slice", sliced)
    yield from _regressed("regressed-group", [c for c in gated if c.verdict == "regressed" and c.task == "group"])
    lost = [
        c
        for c in gated
        if c.verdict == "not-measurable" and c.slice == "all" and c.incumbent is not None and c.candidate is None
    ]
    for noun, own in _kinds(lost):
        text = "{count} could be measured on the incumbent and cannot on the candidate: {names}"
        yield _reason("lost-measurability", own, text, noun=noun)


def _regressed(code: str, cells: Sequence[Cell]) -> Iterator[Reason]:
    """One reason a prediction: critical, worst adjusted p, greatest loss first; beyond ten, the rest as one."""

    def urgent(cell: Cell) -> tuple[bool, bool, float | None, float, str]:
        unproven = cell.p_adjusted is None
        return cell.tier != "critical", unproven, cell.p_adjusted, cell.delta_worse or 0.0, cell.prediction

    ordered = sorted(cells, key=urgent)
    first: dict[str, Cell] = {}
    for cell in ordered:
        first.setdefault(cell.prediction, cell)
    chosen = list(first.values())
    for cell in chosen[:10]:
        where = "" if cell.slice == "all" else f" in {cell.slice}"
        yield Reason(code, f"{cell.prediction} {cell.reason}{where}", (cell.prediction,))
    if len(chosen) > 10:
        names = [c.prediction for c in chosen[10:]]
        yield _reason(code, names, "{count} {verb} proven worse: {names}", noun="more prediction")


def _uncovered(uncovered: Mapping[str, Tier], identical: Sequence[str]) -> Iterator[Reason]:
    unseen = sorted(h for h, tier in uncovered.items() if tier != "advisory" and h not in identical)
    told = sorted(h for h, tier in uncovered.items() if tier == "advisory" or h in identical)
    if unseen:
        text = "{count} of the candidate {verb} not judged by the suite: {names}; judge them, or mark them advisory"
        yield _reason("uncovered", unseen, text, noun="head")
    if told:
        yield _reason("uncovered-advisory", told, "{count} {verb} not judged by the suite: {names}", noun="head")


def _infeasible(gated: Sequence[Cell], points: Mapping[str, OperatingPoint]) -> dict[str, list[Reason]]:
    """Objectives with a constraint that the candidate does not keep: code -> reasons (method A11.3)."""
    tiers = {c.prediction: c.tier for c in gated}
    identical = {c.prediction for c in gated if c.impact == "identical"}
    unmeasured = {c.prediction for c in gated if c.slice == "all" and c.verdict == "not-measurable"}
    found: dict[str, list[str]] = {"unattainable": [], "unproven-critical": [], "infeasible": []}
    for prediction, tier in tiers.items():
        point = points.get(prediction)
        if point is None or point.feasible:
            continue
        if point.threshold is not None and not objective_of(point.objective).constrained:
            continue
        if point.status in ("no_positives", "no_scores") and prediction in unmeasured:
            continue  # told as not measurable
        critical = "unattainable" if point.status == "unattainable" else "unproven-critical"
        # The change cannot have caused what it cannot reach: told, and no reason to stop it.
        gates = tier == "critical" and prediction not in identical
        found[critical if gates else "infeasible"].append(prediction)
    text = {
        "unattainable": "{count} {verb} without a threshold that meets the objective: {names}",
        "unproven-critical": "{count} {verb} not proven to meet the objective: {names}",
        "infeasible": "{count} {verb} not proven to meet the objective, to be acknowledged: {names}",
    }
    return {
        code: [_reason(code, names, f"{text[code]}; {names[0]}: {_shortfall(points[names[0]])}")] if names else []
        for code, names in found.items()
    }


def _shortfall(point: OperatingPoint) -> str:
    """How an operating point misses its constraint, in numbers."""
    goal = objective_of(point.objective)
    if point.status in ("no_positives", "no_scores"):
        return f"{point.status.replace('_', ' ')} on the calibration clips"
    held, what = (point.precision, "precision") if goal.kind == "recall" else (point.recall, "recall")
    if point.attained is not None:
        told = f"at best {what} {point.attained:.3f}"
    elif point.bound is not None and held is not None:
        told = f"{what} {held:.3f}, proven only to be at least {point.bound:.3f}"
    else:
        told = f"{what} {held:.3f}" if held is not None else f"no {what}"
    more = f"; about {point.clips_needed:,} more calibration clips would prove it" if point.clips_needed else ""
    return f"{told}, wanted {goal.level:g}{more}"


def _open(gated: Sequence[Cell], points: Mapping[str, OperatingPoint]) -> Iterator[Reason]:
    critical = [c for c in gated if c.tier == "critical" and c.slice == "all"]
    open_cells = [c for c in critical if c.verdict == "undecided"]
    undecided = [c for c in open_cells if c.task != "network"]
    slow = _names(c for c in open_cells if c.task == "network")
    if slow:
        text = "{count} {verb} not proven as fast as before: {names}; a quieter machine or a wider margin would decide"
        yield _reason("undecided-critical", slow, text, noun="critical network")
    if undecided:
        needed = [c.clips_needed for c in undecided if c.clips_needed]
        held = support(c.metric for c in undecided)
        more = f"; about {max(needed):,} more clips with {held} would decide all" if needed else ""
        if len(needed) < len(undecided):
            more += "; for some no number of clips like these would"
        worst = max(undecided, key=lambda c: c.clips_needed or 0)
        text = "{count} {verb} not proven non-inferior: {names}" + f" ({spelled(worst.metric)} of {worst.prediction})"
        yield _reason("undecided-critical", _names(undecided), text + more, noun="critical prediction")
    hopeless = {p for p, point in points.items() if point.status == "unattainable"}
    unmeasured = [c for c in critical if c.verdict == "not-measurable" and c.prediction not in hopeless]
    for noun, own in _kinds(unmeasured):
        why = next(c.reason for c in unmeasured if c.prediction == own[0])
        text = "{count} cannot be measured: {names}" + f"; {own[0]}: {why}"
        yield _reason("not-measurable-critical", own, text, noun=f"critical {noun}")


def _nothing_measured(gated: Sequence[Cell]) -> Iterator[Reason]:
    whole = [c for c in gated if c.slice == "all" and c.task != "network"]
    if whole and all(c.verdict in ("broken", "not-measurable") for c in whole):
        text = "nothing that gates could be measured on this suite: absence of proof is no proof"
        yield Reason("nothing-measured", text, tuple(_names(whole)))


def _nothing_found(cells: Sequence[Cell]) -> Reason:
    whole = [c for c in cells if c.slice == "all" and c.task not in ("group", "network")]
    judged = len({c.prediction for c in whole})
    identical = len({c.prediction for c in whole if c.impact == "identical"})
    measured = len({c.prediction for c in whole if c.verdict not in ("not-measurable", "broken")})
    same = f"; {identical:,} identical by construction" if identical else ""
    return Reason(
        "no-regression",
        f"no regression is proven on any of {measured:,} measured predictions, of {judged:,} in the suite{same}",
    )


def _told(cells: Sequence[Cell], gated: Sequence[Cell]) -> Iterator[Reason]:
    for noun, own in _kinds(c for c in gated if c.suspect):
        text = "{count} {verb} worse without proof, to be acknowledged: {names}"
        yield _reason("suspect", own, text, noun=noun, plural="look", one="looks")
    whole = [c for c in gated if c.tier == "supporting" and c.slice == "all"]
    for noun, own in _kinds(c for c in whole if c.verdict == "not-measurable"):
        on = " on this suite" if noun == "prediction" else ""
        text = "{count} cannot be measured" + on + ", to be acknowledged: {names}"
        yield _reason("not-measurable", own, text, noun=noun)
    advisory = _names(c for c in cells if c.tier == "advisory" and c.verdict == "broken")
    if advisory:
        yield _reason("broken-advisory", advisory, "{count} {verb} broken: {names}", noun="advisory prediction")
    for noun, own in _kinds(c for c in cells if c.verdict == "improved" and c.slice == "all"):
        yield _reason("improved", own, "{count} {verb} proven better: {names}", noun=noun)


def _adrift(unknown: Sequence[str]) -> Iterator[Reason]:
    if unknown:
        text = "{count} {verb} unknown to the anchor, and the incumbent takes its place: {names}"
        yield _reason("no-anchor", unknown, text)


def _kinds(cells: Iterable[Cell]) -> Iterator[tuple[str, list[str]]]:
    """(noun, names) of predictions and of networks among these cells, each if there are any."""
    cells = list(cells)
    for noun in ("prediction", "network"):
        own = _names(c for c in cells if (c.task == "network") == (noun == "network"))
        if own:
            yield noun, own


def _names(cells: Sequence[Cell] | Iterator[Cell]) -> list[str]:
    return list(dict.fromkeys(c.prediction for c in cells))


def _reason(
    code: str, names: Sequence[str], text: str, *, noun: str = "prediction", plural: str = "are", one: str = "is"
) -> Reason:
    shown = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED:,} more" if len(names) > NAMED else "")
    count = f"{len(names):,} {noun}{'' if len(names) == 1 else 's'}"
    verb = one if len(names) == 1 else plural
    # Not str.format: a reason may quote what a program said, braces and all.
    said = text.replace("{count}", count).replace("{verb}", verb).replace("{names}", shown)
    return Reason(code, said, tuple(names))
