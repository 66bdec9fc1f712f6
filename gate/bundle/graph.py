"""The graph of a program: of each head a digest over all that its value is made of, and over nothing else.

Whatever is not understood with certainty makes the program a whole: then all its heads hang on all its bytes. A false
"identical" would let a change through unseen; a false "reached" costs time only.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from zipfile import BadZipFile

from gate.bundle.archive import Archive, read_archive
from gate.bundle.made import MAX_NODES, Graph, Leaf, Made, NotUnderstoodError, digest, fed_as
from gate.bundle.onnx_graph import onnx_graph
from gate.bundle.onnx_scan import looks_like_onnx, read_onnx
from gate.bundle.walk import Walk
from gate.errors import BundleError

_SYMBOL = re.compile(r"\b[a-z]{1,4}\d{1,9}\b")
_MODEL = frozenset(
    [
        "graph_module",
        "guards_code",
        "opset_version",
        "range_constraints",
        "schema_version",
        "torch_version",
        "verifiers",
    ]
)
_GRAPH = frozenset(
    ["inputs", "nodes", "outputs", "sym_bool_values", "sym_float_values", "sym_int_values", "tensor_values"]
)


def read_graph(data: bytes, heads: Sequence[str], sources: Mapping[str, Made]) -> Graph:
    """The graph of a program whose bytes passed `scanned`.

    heads: names of its outputs, in the manifest's order. sources: program input -> what is fed into it.
    """
    try:
        if looks_like_onnx(data):
            return onnx_graph(read_onnx(data, "it"), heads, sources)
        return _read(read_archive(data), heads, sources)
    # A file that lies about its own structure is not understood, wherever that shows.
    except (
        *(NotUnderstoodError, BundleError, BadZipFile),
        *(LookupError, TypeError, ValueError, AttributeError, RuntimeError),
    ) as error:
        why = str(error) if isinstance(error, NotUnderstoodError) else f"its description is broken: {error!r}"
    content, fed = hashlib.sha256(data).hexdigest(), sorted((name, s.digest) for name, s in sources.items())
    whole = {head: digest("whole", content, fed, list(heads), head) for head in heads}
    return Graph({head: Made(d, d) for head, d in whole.items()}, dict.fromkeys(heads, ()), whole=why)


def _read(archive: Archive, heads: Sequence[str], sources: Mapping[str, Made]) -> Graph:
    model = archive.model
    if not set(model) <= _MODEL:
        raise NotUnderstoodError("the program has unknown parts")
    module = model["graph_module"]
    graph, signature = module["graph"], module["signature"]
    if set(graph) - {"is_single_tensor_return", "custom_obj_values"} != _GRAPH or graph.get("custom_obj_values"):
        raise NotUnderstoodError("the graph has unknown parts")
    if graph.get("is_single_tensor_return") or len(graph["nodes"]) > MAX_NODES:
        raise NotUnderstoodError("the graph has too many nodes, or is one of another graph")
    walk = Walk()
    inputs = _inputs(walk, archive, graph, signature, sources)
    for node in graph["nodes"]:
        walk.call(node)
    limits = [model.get("range_constraints"), model.get("guards_code")]
    about = digest("about", archive.about, *_canonical(inputs, limits), sorted(walk.checks))
    ends = {head: walk.value(name) for head, name in _outputs(module, heads).items()}
    now = {head: walk.read(value) for head, value in ends.items()}
    return Graph(
        {head: Made(digest("head", about, m.digest), digest("head", about, m.form)) for head, m in now.items()},
        {head: walk.needed(value) for head, value in ends.items()},
        tuple(walk.leaves),
        tuple(walk.nodes),
        about,
    )


def _inputs(
    walk: Walk, archive: Archive, graph: dict[str, Any], signature: dict[str, Any], sources: Mapping[str, Made]
) -> list[Any]:
    """Define weights and inputs; answers of each input its source's form and its own shape, in a fixed order."""
    specs = signature["input_specs"]
    if [_bound(spec) for spec in specs] != graph["inputs"]:  # the loader binds them by position
        raise NotUnderstoodError("the graph's inputs are not those of its signature")
    facts = []
    for spec in specs:
        ((kind, given),) = spec.items()
        name = given["arg"]["as_tensor"]["name"] if kind == "user_input" else given["arg"]["name"]
        meta = graph["tensor_values"][name]
        if kind == "user_input":
            if name not in sources:
                raise NotUnderstoodError(f"its input {name!r} is not in the manifest")
            facts.append([sources[name].form, meta])
            walk.leaf(name, Leaf("input", name, fed_as(sources[name], meta["dtype"])))
            continue
        weight = given["parameter_name" if kind == "parameter" else f"{kind}_name"]
        stored = archive.constants if kind == "tensor_constant" or given.get("persistent") is False else archive.weights
        if kind not in ("parameter", "buffer", "tensor_constant") or weight not in stored:
            raise NotUnderstoodError(f"its input {name!r} is not a stored tensor")
        tensor = stored[weight]
        made = Made(digest("weight", kind, tensor.digest, meta), digest("weight", kind, tensor.form, meta))
        walk.leaf(name, Leaf("weight", weight, made))
    if len(facts) != len(sources):
        raise NotUnderstoodError("the manifest's inputs are not the program's")
    return sorted(facts, key=lambda fact: digest(fact[0]))


def _bound(spec: dict[str, Any]) -> Any:
    ((kind, given),) = spec.items()
    return given["arg"] if kind == "user_input" else {"as_tensor": given["arg"]}


def _outputs(module: dict[str, Any], heads: Sequence[str]) -> dict[str, str]:
    """head -> name of its value."""
    outputs = module["graph"]["outputs"]
    if [spec.get("user_output", {}).get("arg") for spec in module["signature"]["output_specs"]] != outputs:
        raise NotUnderstoodError("it writes into its weights or its inputs, or answers with something else")
    return bound(module, [output["as_tensor"]["name"] for output in outputs], heads)


def bound(module: dict[str, Any], names: Sequence[str], heads: Sequence[str]) -> dict[str, str]:
    """head -> its output among `names`, as `gate.run.program` binds them: a dict by its keys, a sequence by position.

    module: the JSON of an exported program. Raises NotUnderstoodError when they are nested, or not the heads.
    """
    first = module["module_call_graph"][0]
    version, tree = json.loads(first["signature"]["out_spec"])
    if first["fqn"] != "" or version != 1 or any(child["children_spec"] for child in tree["children_spec"]):
        raise NotUnderstoodError("its outputs are nested")
    if tree["type"] is None and len(names) == len(heads) == 1:
        return {heads[0]: names[0]}
    if len(tree["children_spec"]) != len(names) or len(names) != len(heads):
        raise NotUnderstoodError("its outputs are not those of the manifest")
    if tree["type"] in ("builtins.tuple", "builtins.list"):
        return dict(zip(heads, names, strict=True))
    keys = json.loads(tree["context"])
    if tree["type"] != "builtins.dict" or sorted(keys) != sorted(heads) or len(set(keys)) != len(keys):
        raise NotUnderstoodError("its outputs are not those of the manifest")
    return dict(zip(keys, names, strict=True))


def _canonical(inputs: list[Any], limits: list[Any]) -> tuple[Any, Any]:
    """Inputs and limits with their symbols named by first appearance: an export may draw other names."""
    text = json.dumps([inputs, limits], sort_keys=True)
    order = dict.fromkeys(_SYMBOL.findall(json.dumps(inputs, sort_keys=True)))
    names = {symbol: f"#{k}" for k, symbol in enumerate(order)}
    return tuple(json.loads(_SYMBOL.sub(lambda m: names.get(m[0], m[0]), text)))
