"""A small ONNX network of several heads on one trunk, in any precision; its digests, and models made by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from gate.bundle import Graph, Network, program_graph

FLOAT = TensorProto.FLOAT
FRAME = (3, 8, 8)
HEADS = ("sign", "lane", "sky")


def hydra(
    heads: Sequence[str] = HEADS, *, deep: Sequence[str] = ("lane",), kind: int = FLOAT, opset: int = 18
) -> onnx.ModelProto:
    """`image` in; a convolution with batch norm and a rectifier; a linear head for each name, those of `deep` with a
    layer of their own besides. kind: type of all numbers. Weights are drawn by their own names.
    """
    weights: list[TensorProto] = []

    def weight(name: str, *shape: int) -> str:
        rng = np.random.default_rng(int.from_bytes(name.encode()[-7:], "big"))
        weights.append(tensor(name, rng.random(shape).astype(np.float32) + 0.1, kind))
        return name

    nodes = [
        helper.make_node("Conv", ["image", weight("trunk.conv", 4, 3, 3, 3)], ["conv"], pads=[1] * 4, strides=[1, 1]),
        helper.make_node(
            "BatchNormalization",
            ["conv", *(weight(f"trunk.norm.{part}", 4) for part in ("scale", "bias", "mean", "var"))],
            ["norm"],
            epsilon=1e-5,
        ),
        helper.make_node("Relu", ["norm"], ["trunk"]),
    ]
    for head in heads:
        seen = "trunk"
        if head in deep:
            seen = f"{head}.deep"
            nodes.append(helper.make_node("Conv", ["trunk", weight(f"{head}.before", 4, 4, 1, 1)], [seen]))
        nodes += [
            helper.make_node("GlobalAveragePool", [seen], [f"{head}.pool"]),
            helper.make_node("Flatten", [f"{head}.pool"], [f"{head}.flat"]),
            helper.make_node(
                "Gemm", [f"{head}.flat", weight(f"{head}.weight", 4, 2), weight(f"{head}.bias", 2)], [head]
            ),
        ]
    for k, node in enumerate(nodes):
        node.name = f"node_{k}"
    return model(nodes, {head: ["batch", 2] for head in heads}, weights, kind=kind, opset=opset)


def model(
    nodes: Sequence[onnx.NodeProto],
    outputs: Mapping[str, Sequence[int | str] | None],
    weights: Sequence[TensorProto] = (),
    *,
    inputs: Mapping[str, Sequence[int | str]] | None = None,
    kind: int = FLOAT,
    opset: int = 18,
    domains: Sequence[str] = (),
) -> onnx.ModelProto:
    """inputs, outputs: name -> shape; `image` of `FRAME` when no inputs are given."""
    given = inputs or {"image": ["batch", *FRAME]}
    graph = helper.make_graph(
        list(nodes),
        "net",
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in given.items()],
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in outputs.items()],
        list(weights),
    )
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


def tensor(name: str, values: NDArray[Any], kind: int = FLOAT) -> TensorProto:
    cast = values.astype(helper.tensor_dtype_to_np_dtype(kind))
    return helper.make_tensor(name, kind, values.shape, cast.tobytes(), raw=True)


def network(path: Path, heads: Sequence[str] = HEADS, inputs: Mapping[str, str] | None = None) -> Network:
    return Network("front", path, (), tuple((inputs or {"image": "image"}).items()), tuple(heads), "")


def made(program: onnx.ModelProto, heads: Sequence[str] = HEADS, inputs: Mapping[str, str] | None = None) -> Graph:
    return program_graph(network(Path("front.onnx"), heads, inputs), program.SerializeToString())


def digests(program: onnx.ModelProto, heads: Sequence[str] = HEADS) -> dict[str, str]:
    """head -> digest, of a model that must be understood."""
    graph = made(program, heads)
    assert graph.whole == ""
    return {head: m.digest for head, m in graph.heads.items()}


def edited(program: onnx.ModelProto, change: Callable[[onnx.ModelProto], object]) -> onnx.ModelProto:
    """A copy of the model, changed in place."""
    other = onnx.ModelProto()
    other.CopyFrom(program)
    change(other)
    return other


def weight_of(program: onnx.ModelProto, name: str) -> TensorProto:
    (found,) = (t for t in program.graph.initializer if t.name == name)
    return found
