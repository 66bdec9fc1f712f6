"""Impact: which heads a change can reach, told from the bytes of two bundles; nothing is loaded and nothing runs.

A head of one network that reads a head of another hangs on that head alone, not on the rest of its network.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any, Literal

from gate.bundle.bundle import Bundle, Network
from gate.bundle.graph import read_graph
from gate.bundle.made import Graph, Made, digest
from gate.bundle.scan import scanned
from gate.errors import LockError
from gate.lock import digest_of

#: Heads that are named, of one network, for each group of weights that reach the same; above it, all are one group.
MAX_TOLD = 100_000
#: Answers a question as it was answered before, else by the work.
Noted = Callable[[str, Callable[[], Any]], Any]


@dataclass(frozen=True)
class Cause:
    """Why heads of a network are reached. kind: what differs; names: of weights, of a node with its operator, or of
    upstream heads; heads: `network.head`, those that this reaches.
    """

    network: str
    kind: Literal["weights", "program", "output", "format", "upstream", "wiring", "whole", "predictions"]
    names: tuple[str, ...]
    heads: tuple[str, ...]


@dataclass(frozen=True)
class Impact:
    """What a change can reach. All names are `network.head`; of recorded predictions, whose heads stand in their files,
    `network.*`.

    identical, reached: heads of both bundles; added, removed: of one. rewritten: networks whose own program or wiring
    changed. causes: why heads are reached.
    """

    identical: tuple[str, ...]
    reached: tuple[str, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    rewritten: tuple[str, ...]
    causes: tuple[Cause, ...]

    def is_identical(self, output: str) -> bool:
        """Can the change not reach this output, `network.head`?"""
        return output in self.identical or f"{output.partition('.')[0]}.*" in self.identical


def program_graph(network: Network, data: bytes) -> Graph:
    """The graph of a single program, whatever its inputs are made of."""
    return read_graph(data, network.heads, {name: _source(source) for name, source in network.inputs})


def digests_of(
    bundle: Bundle, outputs: Collection[str], noted: Noted = lambda question, work: work()
) -> dict[str, str]:
    """Output `network.head` -> digest of all that it is made of: of a program, its own subgraph with its weights and
    those of the heads that it reads; of recorded predictions, their files.

    noted: may know what was found of a program before, by its bytes and what it is fed; such a program is not opened.
    It was scanned when the note was made, by the same version of gate, and is scanned again if it is ever loaded.
    Raises RefusedError, BundleError and LockError as `program_bytes` does.
    """
    made: dict[str, Made] = {}
    for network in bundle.networks:
        if network.program is not None:
            found = noted(*_asked(network, fed_to(network, made)))
            made |= {f"{network.name}.{head}": Made(*pair) for head, pair in found.items()}
    recorded = {n.name: n.digest for n in bundle.networks if n.program is None}
    return {
        output: digest("recorded", recorded[output.partition(".")[0]], output)
        if output.partition(".")[0] in recorded
        else made[output].digest
        for output in outputs
    }


def _asked(network: Network, fed: Mapping[str, Made]) -> tuple[str, Callable[[], dict[str, list[str]]]]:
    """A question about a network, and what answers it: head -> digest and form."""

    def work() -> dict[str, list[str]]:
        heads = graph_in(network, program_bytes(network), fed).heads
        return {head: [made.digest, made.form] for head, made in heads.items()}

    return _question(network, fed), work


def _question(network: Network, fed: Mapping[str, Made]) -> str:
    """Names all of a network that `graph_in` and the scan look at."""
    assert network.program is not None
    wiring = [network.heads, network.state, network.window, {name: [m.digest, m.form] for name, m in fed.items()}]
    return digest(network.content, network.program.suffix, wiring)


def program_bytes(network: Network) -> bytes:
    """The bytes of a network's program that are safe to load, and those that its digest names.

    Raises RefusedError and BundleError as `scanned` does, LockError when the file is not the one that was digested.
    """
    assert network.program is not None
    data = scanned(network.program)
    if digest_of(digest_of(data).encode()) != network.content:
        raise LockError("the program was changed while it was read", where=str(network.program), mend="run again")
    return data


def graphs_of(bundle: Bundle, unread: Collection[str] = ()) -> dict[str, Graph]:
    """The graphs of a bundle's programs, in running order.

    unread: networks known to be equal to those of another bundle; their files are not opened, and their heads' digests
    are then good for a comparison with that bundle only.
    """
    found: dict[str, Graph] = {}
    heads: dict[str, Made] = {}
    known: dict[str, Graph] = {}  # equal programs that are fed the same are read once
    for network in bundle.networks:
        if network.program is None:
            continue
        if network.name in unread:
            graph = _unread(network)
        else:
            fed = fed_to(network, heads)
            question = _question(network, fed)
            if question not in known:
                known[question] = graph_in(network, program_bytes(network), fed)
            graph = known[question]
        found[network.name] = graph
        heads |= heads_of({network.name: graph})
    return found


def fed_to(network: Network, made: Mapping[str, Made]) -> dict[str, Made]:
    """Program input -> what is fed into it, of a state only where it comes from; made: heads that others read."""
    fed: dict[str, Made] = {}
    for name, source in network.inputs:
        fed[name] = _source(source) if "." not in source or name in network.state else made[source]
        if network.window:
            before = fed[name]
            fed[name] = Made(*(digest("window", network.window, part) for part in (before.digest, before.form)))
    return fed


def graph_in(network: Network, data: bytes, fed: Mapping[str, Made]) -> Graph:
    """The graph of a network's program, which reads heads of others, and what it left itself of the frame before.

    data: what `scanned` answered of it; fed: as `fed_to` tells. A head that takes a state hangs on all states of its
    network, and these on one another: a second reading feeds them with what the first one made of them.
    """
    graph = read_graph(data, network.heads, fed)
    left = sorted(source.partition(".")[2] for name, source in network.inputs if name in network.state)
    if not left:
        return graph
    states = [graph.heads[head] for head in left]
    whole = ([s.digest for s in states], [s.form for s in states])
    kept = {
        name: Made(*(digest("state", source, part) for part in whole))
        for name, source in network.inputs
        if name in network.state
    }
    return read_graph(data, network.heads, {**fed, **kept})


def heads_of(graphs: Mapping[str, Graph]) -> dict[str, Made]:
    """`network.head` -> what it is made of."""
    return {f"{network}.{head}": made for network, graph in graphs.items() for head, made in graph.heads.items()}


def impact_of(old: Bundle, new: Bundle) -> Impact:
    """What the change from one bundle to the other can reach.

    Networks with equal digests are equal by their bytes; only the others are opened. Raises RefusedError, BundleError
    and LockError as `program_bytes` does.
    """
    before = {n.name: n for n in old.networks}
    same = {n.name for n in new.networks if n.name in before and before[n.name].digest == n.digest}
    graphs = graphs_of(old, same), graphs_of(new, same)
    sides = [_named(bundle, given) for bundle, given in zip((old, new), graphs, strict=True)]
    both = [name for name in sides[1] if name in sides[0]]
    reached = tuple(name for name in both if sides[0][name] != sides[1][name])
    moved = frozenset(reached)
    causes = [
        cause
        for network in new.networks
        if network.name in before and network.name not in same
        for cause in _told(network, list(_causes(before[network.name], network, *graphs, moved)), moved)
    ]
    return Impact(
        tuple(name for name in both if sides[0][name] == sides[1][name]),
        reached,
        tuple(name for name in sides[1] if name not in sides[0]),
        tuple(name for name in sides[0] if name not in sides[1]),
        tuple(n.name for n in new.networks if (o := before.get(n.name)) is None or _rewritten(o, n)),
        tuple(causes),
    )


def _rewritten(before: Network, after: Network) -> bool:
    wiring = [(n.content, n.inputs, n.heads, n.state, n.window) for n in (before, after)]
    return wiring[0] != wiring[1]


def _source(source: str) -> Made:
    made = digest("suite input", source)
    return Made(made, made)


def _unread(network: Network) -> Graph:
    made = {head: digest("network", network.digest, head) for head in network.heads}
    return Graph({head: Made(d, d) for head, d in made.items()}, whole="it was not read")


def _named(bundle: Bundle, graphs: Mapping[str, Graph]) -> dict[str, str]:
    """Output -> digest, in running order."""
    found: dict[str, str] = {}
    for network in bundle.networks:
        if network.program is None:
            found[f"{network.name}.*"] = network.digest
        else:
            found |= {f"{network.name}.{h}": m.digest for h, m in graphs[network.name].heads.items()}
    return found


def _causes(
    before: Network, after: Network, old: Mapping[str, Graph], new: Mapping[str, Graph], reached: Collection[str]
) -> Iterator[Cause]:
    name = after.name
    heads = tuple(head for head in after.heads if f"{name}.{head}" in reached)
    if after.program is None or before.program is None:
        yield Cause(name, "predictions", (), (f"{name}.*",))
        return
    if not heads:
        return
    ours, theirs = new[name], old[name]
    for graph in (ours, theirs):
        if graph.whole:
            yield Cause(name, "whole", (graph.whole,), _full(name, heads))
            return
    if (before.inputs, before.state, before.window) != (after.inputs, after.state, after.window):
        yield Cause(name, "wiring", tuple(f"{k} = {s}" for k, s in after.inputs), _full(name, heads))
    elif ours.about != theirs.about:
        yield Cause(name, "format", (), _full(name, heads))
    taken = ours.reaching(heads)
    for kind, names, mask in (*_weights(ours, theirs, taken), *_nodes(ours, theirs, taken)):
        yield Cause(name, kind, names, _full(name, _heads(mask, heads)))
    sources = dict(after.inputs)
    fed = {source: 0 for source in sources.values() if source in reached}
    for leaf, mask in zip(ours.leaves, taken, strict=False):
        if leaf.kind == "input" and sources[leaf.name] in fed:
            fed[sources[leaf.name]] |= mask
    for source, mask in fed.items():
        if mask:
            yield Cause(name, "upstream", (source,), _full(name, _heads(mask, heads)))


def _told(network: Network, causes: list[Cause], reached: Collection[str]) -> list[Cause]:
    """The causes, and what is left when they do not tell why a head is reached: its name stands for another value."""
    told = {head for cause in causes for head in cause.heads}
    moved = tuple(name for head in network.heads if (name := f"{network.name}.{head}") in reached and name not in told)
    return [*causes, Cause(network.name, "output", (), moved)] if moved else causes


_Reason = tuple[Literal["weights", "program"], tuple[str, ...], int]


def _weights(new: Graph, old: Graph, taken: Sequence[int]) -> list[_Reason]:
    """Weights that differ, together where they reach the same heads. One that only goes by another name does not."""
    stored = {leaf.name: leaf.made.digest for leaf in old.leaves if leaf.kind == "weight"}
    contents = set(stored.values())
    found: dict[int, list[str]] = {}
    for leaf, mask in zip(new.leaves, taken, strict=False):
        made = leaf.made.digest
        if (
            leaf.kind != "weight"
            or not mask
            or (made == stored[leaf.name] if leaf.name in stored else made in contents)
        ):
            continue
        found.setdefault(mask, []).append(leaf.name)
    if sum(mask.bit_count() for mask in found) > MAX_TOLD:
        together = [name for names in found.values() for name in names]
        return [("weights", tuple(together), reduce(or_, found))]
    return [("weights", tuple(names), mask) for mask, names in sorted(found.items(), key=_first)]


def _nodes(new: Graph, old: Graph, taken: Sequence[int]) -> list[_Reason]:
    """Heads whose program differs, weights apart, by the first node that the old program does not have although it has
    all that the node reads.
    """
    known = {item.made.form for item in (*old.leaves, *old.nodes)}
    is_known = [item.made.form in known for item in (*new.leaves, *new.nodes)]
    told, first = 0, dict[str, int]()
    for position, node in enumerate(new.nodes, len(new.leaves)):
        mask = taken[position] & ~told
        if mask and not is_known[position] and all(is_known[k] for k in node.needs):
            told |= mask
            name = f"{node.name} ({node.target.removeprefix('torch.ops.')})"
            first[name] = first.get(name, 0) | mask
    return [("program", (name,), mask) for mask, name in sorted(((m, n) for n, m in first.items()), key=_first)]


def _first(found: tuple[int, Any]) -> int:
    """The first head, as its bit: causes come in the order of heads."""
    return found[0] & -found[0]


def _heads(mask: int, heads: Sequence[str]) -> list[str]:
    return [head for head, bit in zip(heads, reversed(f"{mask:b}"), strict=False) if bit == "1"]


def _full(network: str, heads: Collection[str]) -> tuple[str, ...]:
    return tuple(f"{network}.{head}" for head in heads)
