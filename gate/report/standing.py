"""What a cell or a reason does to a release: one answer for every face of the decision.

blocks       NO-GO, unless something is mended
open         INCONCLUSIVE, until it is proven one way
acknowledge  passes, and somebody must have seen it
told         passes: advisory, waived, or not asked for a proof
proven       nothing is wrong
"""

from __future__ import annotations

from typing import Literal

from gate.judge.decide import BLOCKING, OPEN
from gate.judge.decision import Cell, Decision, Reason
from gate.report import words

Standing = Literal["blocks", "open", "acknowledge", "told", "proven"]

#: Reasons whose predictions have a cell with that very verdict, which says it better; all others stand for themselves.
ABOUT_CELLS = ("broken", "broken-advisory", "missing-head", "must-pass", "regressed", "regressed-slice")
ABOUT_CELLS += ("regressed-group", "lost-measurability", "undecided-critical", "not-measurable-critical")
#: Reasons that only say what went well; nobody has to do anything about them.
GOOD_NEWS = ("no-regression", "improved")


def standing(cell: Cell) -> Standing:
    """What one cell does to the release, by its verdict, tier, slice and waiver."""
    if cell.verdict in ("non-inferior", "improved"):
        return "proven"
    if cell.waiver is not None or cell.tier == "advisory":
        return "told"
    if cell.verdict in ("regressed", "broken") or lost(cell):
        return "blocks"
    if cell.tier == "critical" and cell.slice == "all":
        return "open"
    return "acknowledge" if cell.acknowledge or cell.suspect else "told"


def lost(cell: Cell) -> bool:
    """Whether the incumbent could be measured here and the candidate cannot."""
    whole = cell.verdict == "not-measurable" and cell.slice == "all"
    return whole and cell.incumbent is not None and cell.candidate is None


def weight(reason: Reason) -> Standing:
    """What one reason does to the release, by its code."""
    if reason.code in BLOCKING:
        return "blocks"
    if reason.code in OPEN:
        return "open"
    return "proven" if reason.code in GOOD_NEWS else "told"


def worst_cells(decision: Decision) -> tuple[Cell, ...]:
    """What a person must look at, one cell a prediction, worst first: all but what is merely told or proven."""
    return words.leads(
        c for c in decision.cells if c.verdict in ("regressed", "broken") or standing(c) not in ("told", "proven")
    )
