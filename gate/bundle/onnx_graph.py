"""The graph of an ONNX model: of each head a digest over all that its value is made of, and over nothing else.

Operators here write nowhere and names are defined once, so a value's digest is that of its node: operator, version of
its domain, attributes, and the digests of what it reads. What is left out (names, order, texts, shapes of values in
between) is not handed to the runtime either (`gate.run.onnx_program`), except names and order.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from gate.bundle.made import MAX_NODES, Graph, Leaf, Made, Node, NotUnderstoodError, digest, fed_as
from gate.bundle.onnx_operators import CONTROL
from gate.bundle.onnx_scan import STANDARD, opset_of
from gate.bundle.tensors import raw_bytes


def onnx_graph(model: Any, heads: Sequence[str], sources: Mapping[str, Made]) -> Graph:
    """The graph of a model that passed `read_onnx`. Raises NotUnderstoodError.

    heads: names of its outputs, in the manifest's order. sources: program input -> what is fed into it.
    """
    graph = model.graph
    if len(graph.node) > MAX_NODES:
        raise NotUnderstoodError("the graph has too many nodes")
    leaves, facts = _leaves(graph, sources)
    values = {leaf.name: (leaf.made, k) for k, leaf in enumerate(leaves)}
    nodes: list[Node] = []
    for node in graph.node:
        if node.op_type in CONTROL:
            raise NotUnderstoodError(f"it calls {node.op_type}, which runs a graph of its own")
        target, made = _call(model, node, [values[name][0] if name else None for name in node.input])
        position = len(leaves) + len(nodes)
        needs = tuple(dict.fromkeys(values[name][1] for name in node.input if name))
        nodes.append(Node(next(filter(None, node.output)), target, made, needs))
        for k, name in enumerate(node.output):
            own = Made(digest("output", made.digest, k), digest("output", made.form, k))
            values |= {name: (own, position)} if name else {}
    about = digest("about", "onnx", model.ir_version, facts)
    ends = {head: values[name] for head, name in outputs_of(graph, heads).items()}
    return Graph(
        {head: Made(digest("head", about, m.digest), digest("head", about, m.form)) for head, (m, _) in ends.items()},
        {head: (position,) for head, (_, position) in ends.items()},
        tuple(leaves),
        tuple(nodes),
        about,
    )


def inputs_of(graph: Any) -> list[Any]:
    """What a graph must be given: its inputs without those that are weights."""
    weights = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in weights]


def outputs_of(graph: Any, heads: Sequence[str]) -> dict[str, str]:
    """head -> name of its value: by name where the names are those of the heads, else by position.

    Raises NotUnderstoodError when there are more or fewer.
    """
    names = [value.name for value in graph.output]
    if len(names) != len(heads):
        raise NotUnderstoodError(f"the program has {len(names)} outputs; the manifest names {len(heads)} heads")
    return {head: head for head in heads} if set(names) == set(heads) else dict(zip(heads, names, strict=True))


def _leaves(graph: Any, sources: Mapping[str, Made]) -> tuple[list[Leaf], list[Any]]:
    """Inputs and weights; and of each input its source's form, its type and its shape, in a fixed order."""
    given = inputs_of(graph)
    if {value.name for value in given} != set(sources):
        raise NotUnderstoodError("the manifest's inputs are not the program's")
    leaves = [
        Leaf("input", value.name, fed_as(sources[value.name], value.type.tensor_type.elem_type)) for value in given
    ]
    facts, symbols = [], dict[str, int]()
    for value in sorted(given, key=lambda value: sources[value.name].form):
        tensor = value.type.tensor_type
        shape = [
            d.dim_value if d.HasField("dim_value") else d.dim_param and [symbols.setdefault(d.dim_param, len(symbols))]
            for d in tensor.shape.dim
        ]
        facts.append([sources[value.name].form, tensor.elem_type, shape if tensor.HasField("shape") else None])
    listed = {value.name for value in graph.input}
    for tensor in graph.initializer:
        # One that is listed among the inputs is a default, which a runtime may not calculate with beforehand.
        form = digest("weight", tensor.data_type, list(tensor.dims), tensor.name in listed)
        content = hashlib.sha256(raw_bytes(tensor)).hexdigest()
        leaves.append(Leaf("weight", tensor.name, Made(digest("bytes", form, content), form)))
    return leaves, facts


def _call(model: Any, node: Any, read: Sequence[Made | None]) -> tuple[str, Made]:
    """The full name of a node's operator, and what the node is made of."""
    domain = "" if node.domain in STANDARD else node.domain
    version = next(v for name in ((domain,) if domain else STANDARD) if (v := opset_of(model, name)) is not None)
    target = f"{domain}.{node.op_type}" if domain else node.op_type
    attributes = sorted([a.name, *_literal(a)] for a in node.attribute)
    # Which outputs are asked for can change what an operator does.
    said = [target, version, attributes, [bool(name) for name in node.output]]
    sides = [[m and m.digest for m in read], [m and m.form for m in read]]
    return target, Made(*(digest("call", *said, side) for side in sides))


def _literal(attribute: Any) -> list[Any]:
    """Kind and value of an attribute, floats to the bit."""
    kind = attribute.AttributeType.Name(attribute.type)
    match kind:
        case "FLOAT":
            return [kind, struct.pack("<f", attribute.f).hex()]
        case "FLOATS":
            return [kind, struct.pack(f"<{len(attribute.floats)}f", *attribute.floats).hex()]
        case "INT":
            return [kind, attribute.i]
        case "INTS":
            return [kind, list(attribute.ints)]
        case "STRING":
            return [kind, attribute.s.hex()]
        case "STRINGS":
            return [kind, [text.hex() for text in attribute.strings]]
        case "TENSOR":
            tensor = attribute.t
            return [kind, tensor.data_type, list(tensor.dims), hashlib.sha256(raw_bytes(tensor)).hexdigest()]
    raise NotUnderstoodError(f"an attribute of the kind {kind}")
