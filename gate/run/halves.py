"""Half precision on a processor: each operator in float32, its answer rounded to float16 or bfloat16.

onnxruntime has next to no kernels for bfloat16 on CPUs, and few for float16. Of the latter it widens what it must, and
leaves out the rounding where two such operators follow each other; so what else reads a value would change its bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gate.bundle.onnx_operators import CONTROL
from gate.bundle.onnx_scan import types_of
from gate.bundle.tensors import CODES, raw_bytes
from gate.errors import BundleError, shown

FLOAT = CODES["float32"]
_FLOAT16, _BFLOAT16 = CODES["float16"], CODES["bfloat16"]
_HALVES = (_FLOAT16, _BFLOAT16)
#: Attributes that name a type.
_TYPED = ("to", "dtype", "output_dtype", "output_datatype")


def round_between(model: Any, fresh: Iterator[str]) -> None:
    """Change a model, which has float32 inputs and outputs, so that its halves are float32 values that were rounded.

    Leaves it as it is when it has none, or runs graphs of their own: then it is a whole, and no other head can matter.
    fresh: unused names. Raises BundleError when the type of a value cannot be told.
    """
    graph = model.graph
    if not _has_halves(graph) or any(node.op_type in CONTROL for node in graph.node):
        return
    types = types_of(model)
    for tensor in graph.initializer:
        _widen(tensor)
    for value in graph.input:  # weights that are listed there
        if value.type.tensor_type.elem_type in _HALVES:
            value.type.tensor_type.elem_type = FLOAT
    nodes = list(graph.node)
    graph.ClearField("node")
    graph.ClearField("value_info")
    for node in nodes:
        values = [name for name in (*node.input, *node.output) if name]
        if unknown := [name for name in values if name not in types]:
            raise BundleError(f"the type of {shown(unknown[0])} cannot be told, in a program of half precision")
        if node.op_type == "CastLike" and types[node.output[0]] in _HALVES:
            node.op_type, node.input[:] = "Cast", node.input[:1]
            node.attribute.add(name="to", i=types[node.output[0]], type="INT")
        for attribute in node.attribute:
            if attribute.HasField("t"):
                _widen(attribute.t)
            elif attribute.name in _TYPED and attribute.i in _HALVES:
                attribute.i = FLOAT
        added = graph.node.add()
        added.CopyFrom(node)
        for k, name in enumerate(node.output):
            if (half := types.get(name)) in _HALVES:
                added.output[k], rounded = next(fresh), next(fresh)
                cast(graph, added.output[k], rounded, half)
                cast(graph, rounded, name, FLOAT)


def cast(graph: Any, before: str, after: str, code: int) -> None:
    """Add a node that makes a value of another type."""
    node = graph.node.add(op_type="Cast", input=[before], output=[after])
    node.attribute.add(name="to", i=code, type="INT")


def _has_halves(graph: Any) -> bool:
    codes = {tensor.data_type for tensor in graph.initializer}
    codes |= {value.type.tensor_type.elem_type for value in graph.value_info}
    for attribute in (a for node in graph.node for a in node.attribute):
        codes |= {attribute.t.data_type} if attribute.HasField("t") else set()
        codes |= {attribute.i} if attribute.name in _TYPED else set()
    return not codes.isdisjoint(_HALVES)


def _widen(tensor: Any) -> None:
    """Make a tensor of halves float32 with the same values."""
    if tensor.data_type == _FLOAT16:
        wide = np.frombuffer(raw_bytes(tensor), "<f2").astype("<f4")
    elif tensor.data_type == _BFLOAT16:  # its bits are the upper half of a float32
        wide = np.frombuffer(raw_bytes(tensor), "<u2").astype("<u4") << 16
    else:
        return
    tensor.ClearField("int32_data")
    tensor.data_type, tensor.raw_data = FLOAT, wide.tobytes()
