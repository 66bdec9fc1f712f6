"""What the regressed heads have in common: a trunk problem is one cause with many victims."""

from __future__ import annotations

from collections.abc import Sequence

from gate.judge.decision import Decision, NetworkFacts
from gate.report import words

#: A network is named when it explains this part of the regressed heads.
PART = 0.8


def common_network(decision: Decision) -> str:
    """`11 of 12 regressed heads come from network left.s16 or read it`, or nothing when no network stands out.

    The network with the fewest heads downstream among those that explain at least 80 % of two or more regressed heads.
    """
    heads = {c.head: c.network for c in decision.cells if words.is_prediction(c)}
    worse = {c.head for c in decision.cells if c.verdict == "regressed" and words.is_prediction(c)}
    if len(worse) < 2:
        return ""
    found = []
    for network in decision.networks:
        reach = downstream(network.name, decision.networks)
        below = {head for head, owner in heads.items() if owner in reach}
        explained = worse & below
        if len(explained) >= max(2, PART * len(worse)) and len(below) < len(heads):
            found.append((len(below), -len(explained), network.name, len(reach) > 1))
    if not found:
        return ""
    below, explained, name, read = min(found)
    return (
        f"{-explained:,} of {words.count(len(worse), 'regressed head')} come from network {words.name(name)}"
        f"{' or read it' if read else ''}, which has {words.count(below, 'head')} in all: look there first"
    )


def networks_line(networks: Sequence[NetworkFacts]) -> str:
    """`The change reaches 3 of 48 networks`, or nothing when networks are not known."""
    if not networks:
        return ""
    reached = sum(n.impact == "reached" for n in networks)
    return f"The change reaches {reached:,} of {words.count(len(networks), 'network')}"


def downstream(name: str, networks: Sequence[NetworkFacts]) -> set[str]:
    """A network and all that read it, directly or through others; networks come in running order."""
    reach = {name}
    for network in networks:
        if reach.intersection(network.upstream):
            reach.add(network.name)
    return reach
