"""The rate of false alarms of a gate, as sentences and as JSON `gate.aa/1`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from statistics import fmean, median
from typing import TYPE_CHECKING

from gate import __version__
from gate.judge.decision import Identity
from gate.judge.shuffles import CONFIDENCE, Alarms
from gate.report import words

if TYPE_CHECKING:
    from rich.console import Console

SCHEMA = "gate.aa/1"
NAMED = 10


def alarms_json(alarms: Alarms, who: Sequence[Identity]) -> str:
    """Schema `gate.aa/1`; who: suite, bundle and, where there is one, its twin."""
    suite, bundle, *twin = who
    rows = {
        "schema": SCHEMA,
        "gate": {"version": __version__},
        "suite": asdict(suite),
        "bundle": asdict(bundle),
        "twin": asdict(twin[0]) if twin else None,
        "alpha": alarms.alpha,
        "repeats": alarms.repeats,
        "clips": alarms.clips,
        "counted": alarms.counted,
        "blocked": alarms.blocked,
        "rate": alarms.rate,
        "confidence": CONFIDENCE,
        "low": alarms.low,
        "high": alarms.high,
        "said": said(alarms, who),
        "blocking": list(alarms.blocking),
        "suspects": list(alarms.suspects),
        "tested": list(alarms.tested),
        "blamed": [{"prediction": name, "releases": count} for name, count in alarms.blamed],
    }
    lines = [f'"{key}": {json.dumps(value, ensure_ascii=True, allow_nan=False)}' for key, value in rows.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def said(alarms: Alarms, who: Sequence[Identity]) -> list[str]:
    """What was found, beside what the policy allows."""
    twin = f"the twin {words.name(who[2].name)} {words.name(who[2].version)}" if len(who) > 2 else ""
    what = (
        f"{twin} on random halves of the {alarms.counted}s"
        if twin
        else f"random halves of the {alarms.counted}s against each other"
    )
    found = f"{alarms.rate:.1%}, {CONFIDENCE:.0%} interval {alarms.low:.1%} to {alarms.high:.1%}"
    allowed = f"the policy allows {alarms.alpha:.1%}"
    if alarms.low > alarms.alpha:
        doubt = (
            f"is the twin as good, and are {alarms.counted}s independent?"
            if twin
            else f"are {alarms.counted}s independent?"
        )
        verdict = f"{allowed}: TOO MANY; {doubt} Declare a coarser `unit` in suite.toml where they are not"
    elif alarms.rate > alarms.alpha:
        verdict = f"{allowed}: more were blocked, though no more than chance explains"
    else:
        verdict = f"{allowed}: no more were blocked"
    return [
        f"Judged {what}, {words.count(alarms.clips, alarms.counted)} in each release.",
        f"Blocked {alarms.blocked:,} of {words.count(alarms.repeats, 'release')} ({found}); {verdict}.",
        f"Predictions blocked in a release: {fmean(alarms.blocking):.2f} on average, {max(alarms.blocking):,} at most; "
        f"suspects: {fmean(alarms.suspects):.2f} on average, {max(alarms.suspects):,} at most.",
        f"Cells tested in a release: {median(alarms.tested):,.0f} (median).",
        f"The releases share their {alarms.counted}s: the interval is of these {alarms.counted}s, not of other ones.",
    ]


def print_alarms(alarms: Alarms, who: Sequence[Identity], console: Console) -> None:
    """The sentences, and what was blocked most."""

    def line(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=not console.is_terminal)

    suite, bundle = who[:2]
    names = [words.name(x) for x in (bundle.name, bundle.version, suite.name, suite.version)]
    line(f"{names[0]} {names[1]} on {names[2]} {names[3]}")
    for sentence in said(alarms, who):
        line(sentence)
    if alarms.blamed:
        line("Blocked most:")
        for name, count in alarms.blamed[:NAMED]:
            line(f"  {count:4,} of {alarms.repeats:,}  {words.name(name)}")
        if len(alarms.blamed) > NAMED:
            line(f"  and {len(alarms.blamed) - NAMED:,} more: --json")
