"""The model that a runtime is given: written anew from one that was scanned, with only what some heads are made of."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gate.bundle.onnx_graph import inputs_of
from gate.bundle.onnx_operators import RUNTIME
from gate.bundle.onnx_scan import STANDARD
from gate.run.halves import FLOAT, cast, round_between

#: Texts and notes, and what only compilers for other devices read.
_NOTES = ("doc_string", "metadata_props", "device_configurations")


@dataclass(frozen=True)
class Part:
    """model: a ModelProto whose inputs and outputs are float32. feeds: program input -> its name there. fetches: head
    -> name of its output there.
    """

    model: Any
    feeds: Mapping[str, str]
    fetches: Mapping[str, str]


def part_of(model: Any, named: Mapping[str, str], kept: Collection[str] | None) -> Part:
    """The part of a model that some heads are made of.

    named: head -> name of its value. kept: names of the weights that stay, and of the first outputs of the nodes that
    do; None for all. All inputs stay, so that a part takes and refuses the same frames as the whole.
    """
    old, part = model.graph, type(model)(ir_version=model.ir_version)
    new, fresh = part.graph, _fresh(old)
    new.name = "part"
    part.opset_import.extend(o for o in model.opset_import if o.domain in (*STANDARD, RUNTIME))
    new.initializer.extend(t for t in old.initializer if kept is None or t.name in kept)
    weights = {tensor.name for tensor in new.initializer}
    new.input.extend(value for value in old.input if value.name in weights)
    feeds = {value.name: _input(new, value, fresh) for value in inputs_of(old)}
    new.node.extend(n for n in old.node if kept is None or next(filter(None, n.output)) in kept)
    types = {value.name: value.type.tensor_type.elem_type for value in old.output}
    fetches = {head: _output(new, name, types[name], fresh) for head, name in named.items()}
    _strip(part)
    round_between(part, fresh)
    return Part(part, feeds, fetches)


def _fresh(graph: Any) -> Iterator[str]:
    """Names that no value of a graph has."""
    taken = {t.name for t in (*graph.initializer, *graph.input)} | {name for n in graph.node for name in n.output}
    k = 0
    while True:
        if (name := f"gate.{k}") not in taken:
            yield name
        k += 1


def _input(graph: Any, value: Any, fresh: Iterator[str]) -> str:
    """Add an input that takes float32, and makes the type that the program has; answers its name."""
    added, code = graph.input.add(), value.type.tensor_type.elem_type
    added.CopyFrom(value)
    if code != FLOAT:
        added.name, added.type.tensor_type.elem_type = next(fresh), FLOAT
        cast(graph, added.name, value.name, code)
    return added.name


def _output(graph: Any, name: str, code: int, fresh: Iterator[str]) -> str:
    """Add an output that gives float32, and holds the value to the type that the file says it has; answers its name.

    Half precision, bfloat16 and small integers are exact in float32.
    """
    end = name
    if code != FLOAT:
        stated = graph.value_info.add(name=name)
        stated.type.tensor_type.elem_type = code
        end = next(fresh)
        cast(graph, name, end, FLOAT)
    graph.output.add(name=end).type.tensor_type.elem_type = FLOAT
    return end


def _strip(message: Any) -> None:
    """Take out texts and notes, at any depth."""
    for name in _NOTES:
        if name in message.DESCRIPTOR.fields_by_name:
            message.ClearField(name)
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in [value] if hasattr(value, "ListFields") else value:
                _strip(inner)
