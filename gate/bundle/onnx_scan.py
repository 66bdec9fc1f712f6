"""What an ONNX file may contain, decided from its bytes before any runtime loads it. The only file that imports onnx.

ONNX is data, but not only: it names files to read beside it, operators of libraries to be found, and its reader in the
runtime is another one than ours. So the bytes are read strictly, judged here against lists, and what is handed to the
runtime is written anew from what was judged (`gate.run.onnx_program`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gate.bundle.onnx_operators import CONTROL, FORMATS, OPSETS, PURE, QUANTISED, RANDOM, RUNTIME
from gate.bundle.tensors import MAX_DIMS, MAX_SIZE, TYPES, raw_bytes
from gate.bundle.wire import check_wire
from gate.errors import BundleError, RefusedError, UsageError, shown

#: Protocol buffers end here.
MAX_BYTES = (2 << 30) - 1
#: Graphs within graphs.
MAX_DEPTH = 8
STANDARD = ("", "ai.onnx")
#: Kinds of attributes that are known, and where their values are.
_FIELDS = {"FLOAT": "f", "INT": "i", "STRING": "s", "TENSOR": "t", "GRAPH": "g"}
_FIELDS |= {"FLOATS": "floats", "INTS": "ints", "STRINGS": "strings"}
_ANEW = "export it anew, with torch.onnx.export or onnx.save"


def looks_like_onnx(data: bytes) -> bool:
    """Does a file begin as all writers of ONNX begin it: with the version of its format?"""
    return data[:1] == b"\x08" and b"\x00" < data[1:2] < b"\x80"


def read_onnx(data: bytes, where: str) -> Any:
    """The ModelProto in the bytes of an ONNX file, which is safe to be run.

    Raises RefusedError for content that will not be loaded, BundleError for a file that is broken, UsageError when the
    onnx package is not installed. where: named in errors.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise UsageError(
            "ONNX programs need the onnx extra", where=where, mend="pip install 'vision-release-gate[onnx]'"
        ) from error
    if len(data) > MAX_BYTES:
        raise RefusedError("larger than 2 GiB", where=where)
    model = onnx.ModelProto()
    try:
        check_wire(data, model.DESCRIPTOR)
        model.ParseFromString(data)
    except (ValueError, DecodeError) as error:
        raise BundleError(f"not an ONNX model: {shown(error)}", where=where, mend=_ANEW) from error
    _check_model(model, where)
    return model


def opset_of(model: Any, domain: str) -> int | None:
    """Version of the operators of a domain; None when the file does not say."""
    return next((o.version for o in model.opset_import if o.domain == domain), None)


def _check_model(model: Any, where: str) -> None:
    if model.ir_version not in FORMATS:
        raise BundleError(f"version {model.ir_version} of the format is not known", where=where, mend=_ANEW)
    if not model.HasField("graph") or not model.graph.node:
        raise BundleError("not an ONNX model: it has no nodes", where=where, mend=_ANEW)
    for present, what, mend in (
        (model.functions, "functions of its own", "write them into the graph, with onnx.inliner"),
        (model.training_info, "instructions for training", "export it for inference"),
    ):
        if present:
            raise RefusedError(f"a model with {what}", where=where, mend=mend)
    domains = [STANDARD[0] if o.domain in STANDARD else o.domain for o in model.opset_import]
    if len(set(domains)) != len(domains):
        raise BundleError("a domain of operators has two versions", where=where, mend=_ANEW)
    version = dict(zip(domains, (o.version for o in model.opset_import), strict=True)).get("")
    if version not in OPSETS:
        raise BundleError(
            f"its operators are of opset {version}; known are {OPSETS[0]} to {OPSETS[-1]}",
            where=where,
            mend="export it with another opset, or convert it with onnx.version_converter",
        )
    pending = [(model.graph, 0)]
    while pending:
        graph, depth = pending.pop()
        if depth > MAX_DEPTH:
            raise RefusedError(f"graphs nested more than {MAX_DEPTH} deep", where=where)
        pending += [(inner, depth + 1) for inner in _check_graph(graph, domains, where)]
    _check_names(model.graph, where)


def _check_graph(graph: Any, domains: list[str], where: str) -> Iterator[Any]:
    """Judge weights and nodes; yields the graphs that nodes run."""
    if graph.sparse_initializer:
        raise RefusedError("sparse weights", where=where, mend="keep weights as plain tensors")
    for tensor in graph.initializer:
        _check_tensor(tensor, f"{where}: weight {shown(tensor.name)}")
    for node in graph.node:
        here = f"{where}: node {_name(node)}"
        _check_operator(node, domains, here)
        if len({a.name for a in node.attribute}) != len(node.attribute):
            raise BundleError(f"{shown(node.op_type)} has an attribute twice", where=here, mend=_ANEW)
        for attribute in node.attribute:
            yield from _check_attribute(node, attribute, here)


def _name(node: Any) -> str:
    return shown(node.name or next(filter(None, node.output), "without a name"))


def _check_operator(node: Any, domains: list[str], where: str) -> None:
    op, domain = node.op_type, STANDARD[0] if node.domain in STANDARD else node.domain
    if domain not in ("", RUNTIME) or node.overload:
        raise RefusedError(
            f"{shown(op)} is an operator of another domain, {shown(node.domain)}",
            where=where,
            mend="use standard operators, or ship predictions instead",
        )
    if domain == "" and op in RANDOM:
        raise RefusedError(f"{op} draws random numbers", where=where, mend="export it for inference")
    if op not in (QUANTISED if domain else PURE | CONTROL):
        raise RefusedError(
            f"{shown(op)} is not on the list of operators that only compute",
            where=where,
            mend="use others, or ship predictions instead",
        )
    if domain not in domains:
        raise BundleError(f"the version of {shown(op)} is not said", where=where, mend=_ANEW)
    # With a third input it may draw random numbers.
    if op == "Dropout" and any(node.input[2:]):
        raise RefusedError("Dropout that can be switched to training", where=where, mend="export it for inference")
    if not any(node.output):
        raise BundleError(f"{shown(op)} has no output", where=where, mend=_ANEW)


def _check_attribute(node: Any, attribute: Any, where: str) -> Iterator[Any]:
    """Judge an attribute; yields the graph in it."""
    kind, name = attribute.AttributeType.Name(attribute.type), shown(attribute.name)
    if kind not in _FIELDS or attribute.ref_attr_name:
        raise RefusedError(f"attribute {name} is of an unknown kind", where=where, mend=_ANEW)
    if {field.name for field, _ in attribute.ListFields()} - {"name", "type", "doc_string", _FIELDS[kind]}:
        raise BundleError(f"attribute {name} has two values", where=where, mend=_ANEW)
    texts = node.op_type == "Constant" and kind.startswith("STRING")
    if texts or (node.op_type == "Cast" and attribute.name == "to" and attribute.i not in TYPES):
        raise RefusedError("it makes tensors of texts, or of unknown numbers", where=where, mend=_ANEW)
    if kind == "TENSOR":
        _check_tensor(attribute.t, f"{where}: attribute {name}")
    if kind == "GRAPH":
        if node.op_type not in CONTROL:
            raise RefusedError(f"{node.op_type} with a graph of its own", where=where, mend=_ANEW)
        yield attribute.g


def _check_tensor(tensor: Any, where: str) -> None:
    if tensor.external_data or tensor.data_location != tensor.DEFAULT:
        named = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
        raise RefusedError(
            f"its values are in another file, {shown(named)}",
            where=where,
            mend="keep them in the model, with onnx.save(..., save_as_external_data=False)",
        )
    if tensor.HasField("segment"):
        raise RefusedError("a part of a tensor", where=where, mend=_ANEW)
    if len(tensor.dims) > MAX_DIMS or any(size > MAX_SIZE for size in tensor.dims):
        raise RefusedError(f"more than {MAX_DIMS} dimensions, or one above {MAX_SIZE:,}", where=where, mend=_ANEW)
    try:
        raw_bytes(tensor)
    except ValueError as error:
        raise BundleError(str(error), where=where, mend=_ANEW) from error


def _check_names(graph: Any, where: str) -> None:
    """Every value of the main graph has one definition, and is read after it; inputs and outputs are plain tensors."""
    for value in (*graph.input, *graph.output):
        if value.type.WhichOneof("value") != "tensor_type" or value.type.tensor_type.elem_type not in TYPES:
            raise BundleError(f"{shown(value.name)} is not a tensor of numbers", where=where, mend=_ANEW)
    inputs, weights = [i.name for i in graph.input], [t.name for t in graph.initializer]
    outputs = [o.name for o in graph.output]
    for kind, names in (("an input", inputs), ("a weight", weights), ("an output", outputs)):
        if "" in names or len(set(names)) != len(names):
            raise BundleError(f"{kind} without a name, or two of one name", where=where, mend=_ANEW)
    known = {*inputs, *weights}
    for node in graph.node:
        here = f"{where}: node {_name(node)}"
        for name in node.input:
            if name and name not in known:
                raise BundleError(
                    f"it reads {shown(name)}, which no earlier node makes: it is missing, out of order, or a circle",
                    where=here,
                    mend=_ANEW,
                )
        for name in filter(None, node.output):
            if name in known:
                raise BundleError(f"{shown(name)} is made twice", where=here, mend=_ANEW)
            known.add(name)
    for name in outputs:
        if name not in known:
            raise BundleError(f"no node makes the output {shown(name)}", where=where, mend=_ANEW)


def types_of(model: Any) -> dict[str, int]:
    """value -> type of its numbers, of a model that passed `read_onnx`; what cannot be told is left out.

    Raises BundleError when the model says otherwise of an output or a value in between.
    """
    from onnx.shape_inference import InferenceError, infer_shapes

    bare = type(model)()
    bare.CopyFrom(model)
    bare.graph.ClearField("value_info")
    for value in bare.graph.output:
        value.ClearField("type")
    try:
        graph = infer_shapes(bare).graph
    except (InferenceError, RuntimeError, ValueError) as error:
        raise BundleError(f"the types of its values contradict each other: {shown(error)}", mend=_ANEW) from error
    types = {value.name: value.type.tensor_type.elem_type for value in (*graph.input, *graph.value_info, *graph.output)}
    types = {name: code for name, code in types.items() if code} | {t.name: t.data_type for t in graph.initializer}
    for value in (*model.graph.value_info, *model.graph.output):
        said, code = value.type.tensor_type.elem_type, types.get(value.name)
        if code not in (None, said):
            told = [TYPES[c][0] if c in TYPES else str(c) for c in (said, code)]
            raise BundleError(f"{shown(value.name)} is said to be {told[0]}, and is {told[1]}", mend=_ANEW)
    return types
