"""What networks may take for a frame: the metric `latency_p50`, a network's own and no prediction's, in milliseconds.

Blocks of timings are to it what clips are to predictions. Were both programs equally fast, the difference of a block
would be as likely to have the other sign, because the turns of a block are drawn and its processes are its own: the
signed ranks of the differences are then a matter of coins (Wilcoxon 1945, Individual comparisons by ranking methods).
Ranks, because a machine that is busy for a moment makes some blocks slower by any amount. Test and bounds are one: both
count Walsh averages, (d_i + d_j) / 2 for i <= j (Hollander, Wolfe & Chicken, Nonparametric statistical methods, 3.1-3).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gate.bundle import Bundle, Network
from gate.errors import ConfigError
from gate.heads import Head
from gate.judge.cells import SUSPECT
from gate.judge.decision import Cell, Tier, Verdict
from gate.judge.policy import LATENCY, Policy, PolicyText, pattern
from gate.judge.sentences import amount, p_text
from gate.run.latency import Latency, UntimedError, latency
from gate.run.machine import runtime
from gate.table import Floats

#: What all networks together may spend of alpha, on top of the shares of the families: 5.05 instead of 5 in 100.
SHARE = 0.01
_TIERS: tuple[Tier, ...] = ("critical", "supporting", "advisory")


@dataclass(frozen=True)
class Ask:
    """What is asked of one network. margin: the milliseconds that it may lose."""

    tier: Tier
    margin: float


def asks(policy: Policy, heads: Sequence[Head], networks: Sequence[Network]) -> dict[str, Ask]:
    """network -> what is asked of its latency, for all networks of which something is. networks: of both bundles.

    Rules match predictions, and outputs `network.head` too, since some networks are read by others only. Of the rules
    that match a name and list the latency the last one counts; of all names of a network, the strictest tier and the
    least margin. Raises ConfigError when a rule for networks matches none.
    """
    names: dict[str, list[str]] = {}
    for network in networks:
        names.setdefault(network.name, []).extend(f"{network.name}.{head}" for head in network.heads)
    for head in heads:
        for _, output in head.outputs:
            names.setdefault(output.partition(".")[0], []).extend(head.predictions)
    rules = [(pattern(r.match), r, k) for k, r in enumerate(policy.text.rules) if r.times]
    for matcher, rule, k in rules:
        if not any(matcher.fullmatch(name) for own in names.values() for name in own):
            where = policy.lines.where("rules", k, "match")
            raise ConfigError(f"'{rule.match}' matches no output of any network", where=where)
    found: dict[str, Ask] = {}
    for name, own in names.items():
        matching = [[rule for matcher, rule, _ in rules if matcher.fullmatch(one)] for one in own]
        last = [those[-1] for those in matching if those]
        if last:
            tiers: list[Tier] = [rule.tier or "supporting" for rule in last]
            margin = min((rule.margins or {})[LATENCY] for rule in last)
            found[name] = Ask(min(tiers, key=_TIERS.index), margin)
    return found


def latency_cells(
    asked: Mapping[str, Ask],
    old: Bundle,
    new: Bundle,
    policy: Policy,
    *,
    seed: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
    time: Callable[..., Latency] = latency,
) -> tuple[Cell, ...]:
    """One cell for each network of the candidate that is asked for, in running order; equal programs are not timed.

    seed, progress: of `gate.run.latency.latency`; time: that function.
    """
    pairs = [(n, old.network(n.name)) for n in new.networks if n.name in asked]
    changed = [(n, before) for n, before in pairs if before is None or before.content != n.content]

    def timer(programs: Sequence[Network]) -> Latency:
        return time(programs, seed=seed, progress=lambda done, of: progress(done, of * len(changed)))

    taken = {network.name: _timed(before, network, timer) for network, before in changed}
    compared = sum(t is not None and t.p50_ms.shape[1] == 2 for t, _ in taken.values())
    cells = []
    for name in (network.name for network, _ in pairs):
        if name not in taken:
            same = dict.fromkeys(("delta", "delta_worse", "ci_low", "ci_high"), 0.0)
            reason = "identical by construction: it is the same program"
            cells.append(_cell(name, asked[name], "non-inferior", reason, impact="identical", **same))
            continue
        times, why = taken[name]
        if times is None or why:
            lost = None if times is None else times.p50(0)
            acknowledge = asked[name].tier == "supporting"
            cells.append(_cell(name, asked[name], "not-measurable", why, incumbent=lost, acknowledge=acknowledge))
        else:
            cells.append(judged(name, asked[name], times, policy.text, compared))
    return tuple(cells)


def timed_on(cells: Sequence[Cell]) -> tuple[tuple[str, str], ...]:
    """What `runtime` says of cells of latencies: which machine they hold for; nothing when nothing was timed."""
    if all(cell.incumbent is None for cell in cells):
        return ()
    here = dict(runtime(()))
    machine = f"{here['machine']}, {here['instructions']}, {here['threads']} threads"
    return (("latency", f"timed on {machine}; another run reads other figures"),)


def _timed(
    before: Network | None, after: Network, time: Callable[[Sequence[Network]], Latency]
) -> tuple[Latency | None, str]:
    """Times of both programs; or of the incumbent's alone, which tell that something was lost, and why."""
    if before is None or before.program is None:
        lacks = "no such network" if before is None else "recorded predictions, which take no time"
        return None, f"the incumbent has {lacks}: there is nothing to compare with"
    why = "the candidate has recorded predictions, which take no time"
    for programs in ([before, after], [before]) if after.program is not None else ([before],):
        try:
            return time(programs), "" if len(programs) == 2 else why
        except UntimedError as error:
            why = f"the {('incumbent', 'candidate')[error.program]} cannot be timed: {error.why}"
            if error.program == 0:
                break
    return None, why


def signed_ranks(d: Floats) -> tuple[Floats, Floats]:
    """(averages, chance) of differences (n,): the n (n + 1) / 2 Walsh averages, ascending; and, for each number k from
    0 to all of them, the chance that at most k are below zero, if each difference had a coin's sign.
    """
    ways = np.ones(1)
    for rank in range(1, len(d) + 1):
        ways = np.convolve(ways, [1.0, *[0.0] * (rank - 1), 1.0])
    averages = (d[:, None] + d)[np.triu_indices(len(d))] / 2
    return np.sort(averages), ways.cumsum() / 2.0 ** len(d)


def bounds(d: Floats, confidence: float) -> tuple[float, float]:
    """Exact one-sided bounds of the middle of differences (n,), each at this confidence; infinite for too few."""
    averages, chance = signed_ranks(d)
    outside = int(np.searchsorted(chance, 1 - confidence, side="right")) - 1
    return (float(averages[outside]), float(averages[-1 - outside])) if outside >= 0 else (-np.inf, np.inf)


def noise(times: Latency, confidence: float) -> float:
    """Milliseconds that a program may seem to differ from itself by, of its two processes: the greatest bound."""
    itself = times.p50_ms[..., 0] - times.p50_ms[..., 1]
    return max(abs(bound) for d in itself.T for bound in bounds(d, confidence))


def judged(network: str, ask: Ask, times: Latency, policy: PolicyText, compared: int) -> Cell:
    """The cell of a network whose programs were both timed. compared: networks that share the level.

    A tenth of the margin is the least loss that is tested for, as of any metric with a unit; one below the noise is
    not told, however well it is proven.
    """
    itself, blocks, effect = noise(times, policy.confidence), len(times.p50_ms), ask.margin / 10
    delta, d = times.p50(1) - times.p50(0), times.of_block(1) - times.of_block(0)
    averages, chance = signed_ranks(d)
    slower, faster = (float(chance[np.count_nonzero(sign * averages <= effect)]) for sign in (1, -1))
    level, least = SHARE * policy.alpha / compared, max(effect, itself)
    low, high = bounds(d, policy.confidence)
    if np.isfinite(high):  # the median of differences is not quite the difference of medians, which is told
        low, high = min(low, delta), max(high, delta)
    verdict: Verdict = "undecided"
    if slower <= level and delta > least:
        verdict = "regressed"
    elif high < ask.margin:
        verdict = "improved" if faster <= level and delta < -least else "non-inferior"
    p = min(1.0, compared * (faster if verdict == "improved" else slower))
    suspect = verdict == "undecided" and ask.tier == "supporting" and bool(delta >= ask.margin or slower <= SUSPECT)
    return _cell(
        network,
        ask,
        verdict,
        _reason(verdict, delta, high, itself, p, blocks, ask.margin),
        incumbent=times.p50(0),
        candidate=times.p50(1),
        delta=delta,
        delta_worse=-delta,
        ci_low=low if np.isfinite(low) else None,
        ci_high=high if np.isfinite(high) else None,
        p_adjusted=min(1.0, compared * slower),
        provable=bool(chance[0] <= level),
        suspect=suspect,
        acknowledge=suspect,
    )


def _reason(verdict: Verdict, delta: float, high: float, itself: float, p: float, blocks: int, margin: float) -> str:
    size = f"{amount(abs(delta), 'ms', False)} {'slower' if delta > 0 else 'faster'} a frame in {blocks} blocks"
    beside = "too few blocks to tell the noise"
    if np.isfinite(itself):
        beside = f"beside itself a program differs by up to {amount(itself, 'ms', False)}"
    match verdict:
        case "regressed" | "improved":
            return f"got {size}, adjusted p {p_text(p)}; {beside}"
        case "non-inferior":
            most = amount(max(high, 0.0), "ms", False)
            return f"at most {most} slower a frame, margin {amount(margin, 'ms', False)}; {beside}"
        case _:
            return f"undecided: {size}, not proven either way, margin {amount(margin, 'ms', False)}; {beside}"


def _cell(network: str, ask: Ask, verdict: Verdict, reason: str, **known: Any) -> Cell:
    unknown = ("incumbent", "candidate", "delta", "delta_worse", "ci_low", "ci_high", "p_adjusted")
    fields: dict[str, Any] = {**dict.fromkeys(unknown), "impact": "reached", "provable": False, "suspect": False}
    return Cell(
        prediction=network,
        network=network,
        head="",
        channel=None,
        task="network",
        metric=LATENCY,
        unit="ms",
        lower_is_better=True,
        slice="all",
        tier=ask.tier,
        margin=ask.margin,
        verdict=verdict,
        reason=reason,
        clips=0,
        frames=0,
        positives=None,
        mdr=None,
        clips_needed=None,
        threshold_incumbent=None,
        threshold_candidate=None,
        delta_at_incumbent_threshold=None,
        **(fields | known),
    )
