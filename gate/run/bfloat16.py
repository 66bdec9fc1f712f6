"""bfloat16 where the runtime has no kernels for it: each operator in float32, its answer rounded to bfloat16.

That is what a processor does that adds up in float32. onnxruntime on CPUs runs nearly no operator in bfloat16.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gate.bundle.onnx_operators import CONTROL
from gate.bundle.onnx_scan import types_of
from gate.bundle.tensors import CODES, raw_bytes
from gate.errors import BundleError, shown

_FLOAT, _BFLOAT = CODES["float32"], CODES["bfloat16"]


def round_between(model: Any, fresh: Iterator[str]) -> None:
    """Change a model, which has float32 inputs and outputs, so that its bfloat16 values are float32 that were rounded.

    Leaves models without any bfloat16 as they are. fresh: unused names. Raises BundleError when the type of a value
    cannot be told, or when graphs of their own are run.
    """
    graph = model.graph
    if not _uses_bfloat16(graph):
        return
    if any(node.op_type in CONTROL for node in graph.node):
        raise BundleError("bfloat16 in a program with branches or loops cannot be run on a CPU")
    types = types_of(model)
    for tensor in graph.initializer:
        _widen(tensor)
    old = list(graph.node)
    graph.ClearField("node")
    graph.ClearField("value_info")
    for node in old:
        values = [name for name in (*node.input, *node.output) if name]
        if unknown := [name for name in values if name not in types]:
            raise BundleError(f"the type of {shown(unknown[0])} cannot be told, in a program with bfloat16")
        if all(types[name] != _BFLOAT for name in values):
            graph.node.add().CopyFrom(node)
            continue
        ends = []
        if node.op_type == "CastLike" and types[node.output[0]] == _BFLOAT:
            node = type(node)(op_type="Cast", input=node.input[:1], output=node.output)
        for k, name in enumerate(node.output):
            if types.get(name) == _BFLOAT:
                node.output[k] = next(fresh)
                ends.append((node.output[k], name))
        for attribute in node.attribute:
            if attribute.HasField("t"):
                _widen(attribute.t)
            elif attribute.name in ("to", "dtype", "output_dtype") and attribute.i == _BFLOAT:
                attribute.i = _FLOAT
        if node.op_type == "Cast" and not node.attribute:
            node.attribute.add(name="to", i=_FLOAT, type="INT")
        graph.node.add().CopyFrom(node)
        for before, after in ends:
            half = next(fresh)
            for read, made, code in ((before, half, _BFLOAT), (half, after, _FLOAT)):
                cast = graph.node.add(op_type="Cast", input=[read], output=[made])
                cast.attribute.add(name="to", i=code, type="INT")


def _uses_bfloat16(graph: Any) -> bool:
    codes = {tensor.data_type for tensor in graph.initializer}
    codes |= {value.type.tensor_type.elem_type for value in graph.value_info}
    for attribute in (a for node in graph.node for a in node.attribute):
        codes |= {attribute.t.data_type} if attribute.HasField("t") else {attribute.i}
    return _BFLOAT in codes


def _widen(tensor: Any) -> None:
    """Make a bfloat16 tensor float32 with the same values: its bits are their upper half."""
    if tensor.data_type == _BFLOAT:
        upper = np.frombuffer(raw_bytes(tensor), "<u2").astype("<u4") << 16
        tensor.ClearField("int32_data")
        tensor.data_type, tensor.raw_data = _FLOAT, upper.tobytes()
