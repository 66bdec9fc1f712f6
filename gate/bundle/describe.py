"""What the programs of a bundle say of themselves, read from their bytes: nothing is loaded and nothing runs."""

from __future__ import annotations

import io
import json
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from gate.bundle.bundle import Bundle, Network
from gate.bundle.graph import bound
from gate.bundle.impact import fed_to, graph_in, heads_of, program_bytes
from gate.bundle.made import Graph, NotUnderstoodError
from gate.bundle.onnx_graph import inputs_of, outputs_of
from gate.bundle.onnx_scan import looks_like_onnx, read_onnx
from gate.bundle.tensors import TYPES
from gate.errors import BundleError

#: Types of numbers in the schema of torch.export archives, `torch._export.serde.schema.ScalarType`.
_TORCH = {1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64"}
_TORCH |= {9: "complex32", 10: "complex64", 11: "complex128", 12: "bool", 13: "bfloat16", 28: "uint16"}
_TORCH |= {29: "float8_e4m3fn", 30: "float8_e5m2", 31: "float8_e4m3fnuz", 32: "float8_e5m2fnuz", 33: "float8_e8m0fnu"}
_TORCH |= {34: "uint32", 35: "uint64"}


@dataclass(frozen=True)
class Port:
    """An input or a head. frame: shape of one frame, None for a free size, and None altogether when nothing is said."""

    name: str
    frame: tuple[int | None, ...] | None
    dtype: str


@dataclass(frozen=True)
class Description:
    """size: of the file, in bytes. weights: type of numbers -> how many of the program's weights are kept so, the most
    frequent first. digests: of heads, by name.
    """

    size: int
    weights: Mapping[str, int]
    inputs: tuple[Port, ...]
    heads: tuple[Port, ...]
    digests: Mapping[str, str]

    @property
    def parameters(self) -> int:
        return sum(self.weights.values())


def describe(bundle: Bundle) -> dict[str, Description]:
    """network -> what its program says of itself; each file is read once.

    Raises as `program_bytes` does, and BundleError where outputs are not those of the manifest.
    """
    graphs, found = dict[str, Graph](), dict[str, Description]()
    for network in bundle.networks:
        if network.program is None:
            continue
        data = program_bytes(network)
        graphs[network.name] = graph = graph_in(network, data, fed_to(network, heads_of(graphs)))
        try:
            told = _of_onnx(network, data) if looks_like_onnx(data) else _of_archive(network, data)
        except (NotUnderstoodError, LookupError, TypeError, ValueError, AttributeError) as error:
            why = str(error) if isinstance(error, NotUnderstoodError) else f"its description is broken: {error!r}"
            raise BundleError(
                why, where=f"{network.program}, network {network.name}", mend="mend bundle.toml, or export it anew"
            ) from error
        weights, inputs, heads = told
        digests = {head: made.digest for head, made in graph.heads.items()}
        found[network.name] = Description(len(data), dict(weights.most_common()), inputs, heads, digests)
    return found


_Told = tuple[Counter[str], tuple[Port, ...], tuple[Port, ...]]


def _of_onnx(network: Network, data: bytes) -> _Told:
    model = read_onnx(data, str(network.program))
    graph, weights = model.graph, Counter[str]()
    for tensor in (*graph.initializer, *(a.t for n in graph.node for a in n.attribute if a.HasField("t"))):
        weights[TYPES[tensor.data_type][0]] += prod(tensor.dims)

    def port(name: str, value: Any) -> Port:
        tensor = value.type.tensor_type
        sizes = [d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim]
        return Port(name, tuple(sizes[1:]) if tensor.HasField("shape") else None, TYPES[tensor.elem_type][0])

    values = {value.name: value for value in graph.output}
    outputs = outputs_of(graph, network.heads)
    return (
        weights,
        tuple(port(value.name, value) for value in inputs_of(graph)),
        tuple(port(head, values[outputs[head]]) for head in network.heads),
    )


def _of_archive(network: Network, data: bytes) -> _Told:
    weights = Counter[str]()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        documents = {name: json.loads(archive.read(name)) for name in archive.namelist() if name.endswith(".json")}
    for meta in _stored(documents):
        weights[_TORCH[meta["dtype"]]] += prod(size["as_int"] for size in meta["sizes"])
    (model,) = (document for name, document in documents.items() if "/models/" in name)
    module = model["graph_module"]
    values, signature = module["graph"]["tensor_values"], module["signature"]
    inputs = [s["user_input"]["arg"]["as_tensor"]["name"] for s in signature["input_specs"] if "user_input" in s]
    specs = [s["user_output"]["arg"] for s in signature["output_specs"] if "user_output" in s]
    outputs = bound(module, [spec["as_tensor"]["name"] for spec in specs], network.heads)

    def port(name: str, value: str) -> Port:
        meta = values[value]
        return Port(name, tuple(size.get("as_int") for size in meta["sizes"][1:]), _TORCH[meta["dtype"]])

    return (
        weights,
        tuple(port(name, name) for name in inputs),
        tuple(port(head, outputs[head]) for head in network.heads),
    )


def _stored(documents: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What is said of each stored tensor."""
    for name, document in documents.items():
        if name.endswith("_config.json"):
            for entry in document["config"].values():
                yield entry["tensor_meta"]
