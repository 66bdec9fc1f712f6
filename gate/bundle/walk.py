"""One pass over a program's graph, which gives every value a digest of all that it is made of.

A value's digest is taken from the operator that made it, its literals, and the digests of what it read; a weight's from
its bytes, an input's from its source and its type of numbers. Names and order leave no trace. Where operators write in
place, order matters: so the writes into a piece of memory are a chain of digests, and who reads the memory reads the
chain as far as it goes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gate.bundle.made import MAX_NODES, Leaf, Made, Node, NotUnderstoodError, digest
from gate.bundle.operators import CHECK, FRESH, ONLY_IF, SIZES, VIEWS, WRITES

#: Pieces of memory that one value may lie in.
MAX_ROOTS = 16
_LITERALS = frozenset(
    f"as_{kind}"
    for kind in (
        *("none", "int", "ints", "float", "floats", "string", "strings", "bool", "bools", "int_lists", "float_lists"),
        *("scalar_type", "memory_format", "layout", "device", "complex"),
    )
)
_NODE = frozenset(("target", "inputs", "outputs", "metadata", "is_hop_single_tensor_return", "name"))


_NOTHING = Made("", "")


@dataclass
class _Memory:
    """A piece of memory. log: the writes into it so far; last: position of the last one. seen: definitions of all that
    may lie in it; twins: two of these are equal.
    """

    writable: bool
    log: Made = _NOTHING
    last: tuple[int, ...] = ()
    seen: set[str] = field(default_factory=set)
    twins: bool = False


@dataclass(frozen=True)
class Value:
    """made: how it was defined; position: where; memory: in which pieces of memory it may lie."""

    made: Made
    position: int
    memory: tuple[int, ...] = ()


class Walk:
    """One pass over a graph, in its order."""

    def __init__(self) -> None:
        self.values: dict[str, Value] = {}
        self.memory: list[_Memory] = []
        self.leaves: list[Leaf] = []
        self.nodes: list[Node] = []
        self.checks: set[str] = set()

    def define(self, name: Any, value: Value) -> None:
        if not isinstance(name, str) or name in self.values:
            raise NotUnderstoodError(f"the value {name!r} is defined twice")
        self.values[name] = value
        for root in value.memory:
            memory = self.memory[root]
            memory.twins |= value.made.digest in memory.seen
            memory.seen.add(value.made.digest)

    def leaf(self, name: str, leaf: Leaf) -> None:
        self.define(name, Value(leaf.made, len(self.leaves), self.place(writable=False)))
        self.leaves.append(leaf)

    def place(self, *, writable: bool) -> tuple[int, ...]:
        """Memory of its own."""
        self.memory.append(_Memory(writable))
        return (len(self.memory) - 1,)

    def value(self, name: Any) -> Value:
        if name not in self.values:
            raise NotUnderstoodError(f"the value {name!r} is read before it is made")
        return self.values[name]

    def read(self, value: Value) -> Made:
        """The value as it is now: how it was defined, and what was written since into where it may lie."""
        logs = [self.memory[root].log for root in value.memory]
        if not any(log.digest for log in logs):
            return value.made
        return Made(
            digest("after", value.made.digest, [log.digest for log in logs]),
            digest("after", value.made.form, [log.form for log in logs]),
        )

    def needed(self, value: Value) -> tuple[int, ...]:
        """Positions that reading the value now takes: its definition, and the last write into each of its memories."""
        return (value.position, *(last for root in value.memory for last in self.memory[root].last))

    def call(self, node: dict[str, Any]) -> None:
        """Take in one node. Raises NotUnderstoodError when its effect is not known."""
        if not set(node) <= _NODE or node.get("is_hop_single_tensor_return") is not None:
            raise NotUnderstoodError(f"node {node.get('name')!r} has unknown parts")
        target = node["target"]
        arguments = {given["name"]: given["arg"] for given in node["inputs"]}
        if len(arguments) != len(node["inputs"]):
            raise NotUnderstoodError(f"an argument of {target} is given twice")
        known = target in FRESH or target in VIEWS or target in WRITES or target in SIZES or target == CHECK
        if not known or not _as_known(target, arguments):
            raise NotUnderstoodError(f"it calls {target}, whose effects are not known")
        read: list[Value] = []
        said: tuple[list[Any], list[Any]] = [], []
        for given in node["inputs"]:
            if set(given) - {"name", "arg", "kind"}:
                raise NotUnderstoodError(f"an argument of {target} has unknown parts")
            for side, argument in zip(said, self._argument(given["arg"], read), strict=True):
                side.append([given["name"], given.get("kind"), argument])
        made = Made(digest("call", target, said[0]), digest("call", target, said[1]))
        needs = [position for value in read for position in self.needed(value)]
        position = len(self.leaves) + len(self.nodes)
        if target == CHECK:
            self._check(node, arguments, made)
        elif target in SIZES and not target.startswith("torch.ops") and any(value.memory for value in read):
            raise NotUnderstoodError("it calculates a size from a tensor")
        elif target in WRITES:
            needs += self._write(self.value(arguments["self"]["as_tensor"]["name"]), made, position)
        self.nodes.append(Node(str(node.get("name")), target, made, tuple(dict.fromkeys(needs))))
        memory = self._memory(target, arguments, read)
        answers = (
            []
            if target == CHECK
            else [[kind, list(_names(kind, given))] for kind, given in map(_only, node["outputs"])]
        )
        if len(self.values) + sum(len(names) for _, names in answers) > len(self.leaves) + MAX_NODES:
            raise NotUnderstoodError("the graph has too many values")
        # How many there are and of which kind decides what each of them is; said once, for there may be very many.
        kinds = digest([[kind, len(names)] for kind, names in answers])
        for k, (_, names) in enumerate(answers):
            for n, name in enumerate(names):
                own = Made(digest("output", made.digest, kinds, k, n), digest("output", made.form, kinds, k, n))
                self.define(name, Value(own, position, memory))

    def _argument(self, argument: dict[str, Any], read: list[Value]) -> tuple[Any, Any]:
        """An argument for the digest and for the form; the values that it reads are added to `read`."""
        kind, given = _only(argument)
        if kind in _LITERALS:
            return [kind, given], [kind, given]
        made: tuple[list[Any], list[Any]] = [], []
        for name in _names(kind, given):
            if isinstance(name, str):
                value = self.value(name)
                read.append(value)
                now = self.read(value)
                made[0].append(now.digest)
                made[1].append(now.form)
            else:
                made[0].append([name])
                made[1].append([name])
        return [kind, made[0]], [kind, made[1]]

    def _check(self, node: dict[str, Any], arguments: Mapping[str, Any], made: Made) -> None:
        """Note a check: it can stop the whole program, by what types and devices are, never by values."""
        sized = any(arguments.get(key, {"as_none": True}) != {"as_none": True} for key in ("size", "stride"))
        if sized or node["outputs"] not in ([], [{"as_none": True}]):
            raise NotUnderstoodError("it checks the size of a tensor")
        self.checks.add(made.form)

    def _write(self, into: Value, made: Made, position: int) -> tuple[int, ...]:
        """Note a write, only where it is certain which memory it goes to; answers the position of the one before it."""
        if len(into.memory) != 1 or not (memory := self.memory[into.memory[0]]).writable:
            raise NotUnderstoodError("it writes into its weights, its inputs, or into memory that is not certain")
        # Two equal views may be two copies, or one memory: their digests could not tell which of them was written.
        if memory.twins:
            raise NotUnderstoodError("it writes into one of two equal views")
        memory.log = Made(
            digest("write", memory.log.digest, into.made.digest, made.digest),
            digest("write", memory.log.form, into.made.form, made.form),
        )
        before, memory.last = memory.last, (position,)
        return before

    def _memory(self, target: str, arguments: Mapping[str, Any], read: Sequence[Value]) -> tuple[int, ...]:
        """Where the answers of a call may lie."""
        if target in SIZES or target == CHECK:
            return ()
        if target in FRESH:
            return self.place(writable=True)
        if target in WRITES:
            return self.value(arguments["self"]["as_tensor"]["name"]).memory
        shared = tuple(dict.fromkeys(root for value in read for root in value.memory))
        if len(shared) > MAX_ROOTS:
            raise NotUnderstoodError("too many tensors may share memory")
        return shared


def _as_known(target: str, arguments: Mapping[str, Any]) -> bool:
    """Does a call that could draw random numbers or write statistics neither?"""
    conditions = ONLY_IF.get(target.split(".")[-2]) if target.startswith("torch.ops.aten.") else None
    return conditions is None or any(arguments.get(name) == wanted for name, wanted in conditions)


def _only(table: dict[str, Any]) -> tuple[str, Any]:
    """The single key of a table, and its value."""
    ((key, value),) = table.items()
    return key, value


def _names(kind: str, given: Any) -> Iterator[str | int | float | bool | None]:
    """Names of the values of an argument, and the plain numbers between them."""
    if kind in ("as_tensor", "as_sym_int", "as_sym_float", "as_sym_bool", "as_optional_tensor"):
        given = [given]
    elif kind not in ("as_tensors", "as_sym_ints", "as_sym_floats", "as_sym_bools", "as_optional_tensors"):
        raise NotUnderstoodError(f"an argument of the kind {kind!r}")
    for item in given:
        key, value = _only(item)
        if key == "as_tensor":
            yield value["name"]
        elif key in ("name", "as_name"):
            yield value
        elif key == "as_none":
            yield None
        elif key in ("as_int", "as_float", "as_bool") and not isinstance(value, str):
            yield value
        else:
            raise NotUnderstoodError(f"an argument of the kind {key!r}")
