"""What a program is made of, as values that every format of programs gives: leaves, nodes, and digests of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

#: Nodes of one graph, and values that they make; a larger one is taken as a whole, so that a hostile one costs no more
#: than its bytes.
MAX_NODES = 50_000


class NotUnderstoodError(Exception):
    """Something whose effect is not known here; the message says what. Never leaves this package."""


@dataclass(frozen=True)
class Made:
    """What something is made of. digest: names its value; form: the same with only the shapes of weights."""

    digest: str
    form: str


@dataclass(frozen=True)
class Leaf:
    """What a program is given. kind: a stored tensor, or an input; name: of the weight, or of the program's input."""

    kind: Literal["weight", "input"]
    name: str
    made: Made


@dataclass(frozen=True)
class Node:
    """A call of an operator. name: as in the file, unique; needs: positions of all that must come before it."""

    name: str
    target: str
    made: Made
    needs: tuple[int, ...]


@dataclass(frozen=True)
class Graph:
    """A program: leaves, then nodes in their order; a position counts through both.

    heads: by name, what each is made of; needs: positions that a head takes directly. about: digest of what holds for
    all heads: format, inputs and their limits. whole: why it is taken as a whole; empty when it is understood, and then
    alone there are leaves and nodes.
    """

    heads: Mapping[str, Made]
    needs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    leaves: tuple[Leaf, ...] = ()
    nodes: tuple[Node, ...] = ()
    about: str = ""
    whole: str = ""

    def taken(self, heads: Collection[str]) -> list[Leaf | Node]:
        """All that the values of some heads are made of, in the graph's order; of a whole program nothing is known."""
        found, pending = set[int](), [k for head in heads for k in self.needs[head]]
        while pending:
            position = pending.pop()
            if position not in found:
                found.add(position)
                if position >= len(self.leaves):
                    pending += self.nodes[position - len(self.leaves)].needs
        everything = (*self.leaves, *self.nodes)
        return [everything[k] for k in sorted(found)]

    def reaching(self, heads: Sequence[str]) -> list[int]:
        """Of each position, which of these heads take it: a bit for each, the first head's the lowest."""
        found = [0] * (len(self.leaves) + len(self.nodes))
        for bit, head in enumerate(heads):
            for k in self.needs[head]:
                found[k] |= 1 << bit
        for position, node in reversed(list(enumerate(self.nodes, len(self.leaves)))):
            for k in node.needs if found[position] else ():
                found[k] = found[k] | found[position] if found[k] else found[position]  # one number, while it is shared
        return found


def fed_as(source: Made, dtype: int) -> Made:
    """What a program input is made of: its source, in the type of numbers that it is turned into before it is read.

    Two inputs may take one source in two types: which of them is read decides the value. Shapes are the source's own.
    """
    return Made(*(digest("input", part, dtype) for part in (source.digest, source.form)))


def digest(*parts: Any) -> str:
    """SHA-256 of plain JSON values, in which 1, 1.0, true and "1" differ."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
