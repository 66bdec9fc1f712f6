"""Facts beside the verdict: drift since the anchor, what no threshold can hide, scores read as probabilities."""

from __future__ import annotations

from gate.judge.decision import Cell, Decision, Probability
from gate.report import figures, words

_SHARE = figures.Scale(share=True, unit="", decimals=2, lower_is_better=False, margin=0.0)
_LOSS = figures.Scale(share=False, unit="nat", decimals=4, lower_is_better=True, margin=0.0)


def drift(cell: Cell) -> str:
    """`−2.10 points since its anchor, adjusted p < 0.0001`; empty where no anchor was asked for or has a value."""
    if cell.delta_anchor is None:
        return ""
    moved = f"{figures.difference(cell.delta_anchor, figures.scale_of(cell))} since its anchor"
    return moved if cell.p_anchor is None else f"{moved}, adjusted {figures.p_text(cell.p_anchor)}"


def threshold_free(cell: Cell) -> str:
    """`average precision, which no threshold moves: −0.31 points`; empty where it says nothing more than the cell."""
    if cell.delta_threshold_free is None:
        return ""
    return f"average precision, which no threshold moves: {figures.difference(cell.delta_threshold_free, _SHARE)}"


def beside(cell: Cell) -> str:
    """Both as sentences after a cell's own, each with a space before it; empty when there is nothing to add."""
    parts = [part for part in (drift(cell), threshold_free(cell)) if part]
    return "".join(f" {part[:1].upper()}{part[1:]}." for part in parts)


def anchors(decision: Decision) -> str:
    """`hydranet 2026.40.0 and 2 more`: the releases that drift is measured from; empty without any."""
    return words.listed((f"{a.name} {a.version}" for a in decision.anchors), limit=3)


def probabilities(decision: Decision) -> str:
    """One sentence on the scores as probabilities, worst named; empty when no score can be read as one."""
    known = [p for p in decision.probabilities if p.log_loss is not None]
    if not known:
        return ""
    worse = sorted((p for p in known if _bound(p) > 0), key=lambda p: (-_bound(p), p.prediction))
    confidence = figures.percent(decision.policy.confidence)
    text = (
        f"Read as probabilities, the scores of {len(worse):,} of {words.count(len(known), 'prediction')} are worse "
        f"(log-loss, one-sided {confidence} bound of each; told, never gated)"
    )
    if not worse or (change := worse[0].log_loss) is None:
        return text + "."
    delta, low, high = (figures.difference(x, _LOSS, unit=False) for x in change)
    return f"{text}; worst {words.name(worse[0].prediction)}: {delta} nat [{low}, {high}], lower is better."


def _bound(p: Probability) -> float:
    """The least that the log-loss rose by; positive is proven worse."""
    return p.log_loss[1] if p.log_loss is not None else 0.0
