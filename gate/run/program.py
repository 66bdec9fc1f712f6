"""torch.export programs: loaded from scanned bytes, checked against the manifest, run a batch at a time.

The only file that imports torch; only worker processes (`gate.run.worker`) call it.
"""

from __future__ import annotations

import io
import operator
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gate.bundle import Graph, Network, Node, program_graph
from gate.bundle.archive import read_archive
from gate.bundle.made import NotUnderstoodError
from gate.errors import BundleError, shown
from gate.run.signature import Program, check_inputs, first_line

Array = NDArray[Any]


def prepare(threads: int) -> None:
    """Load the library and settle what would make two runs differ."""
    import torch

    torch.set_num_threads(threads)
    torch.set_deterministic_debug_mode("warn")  # not use_deterministic_algorithms, which loads a compiler of 1.5 s
    torch.backends.cudnn.allow_tf32 = False
    # A debugging aid that writes every tensor twice.
    torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]


def gpu() -> str:
    """Names the GPU with what drives it; empty when there is none."""
    import torch

    if not torch.cuda.is_available():
        return ""
    return f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"


def load_program(
    network: Network, data: bytes, shapes: Mapping[str, tuple[int, ...] | None], device: str = "cpu"
) -> Program:
    """The network's program from bytes that passed `scanned`.

    shapes: of one frame of each program input, None where it is another network's head. Raises BundleError when names,
    shapes or number of inputs or outputs differ from the manifest.
    """
    where = str(network.program)
    exported = _exported(data, where)
    import torch
    from torch.utils import _pytree

    if device != "cpu":
        from torch.export.passes import move_to_device_pass

        exported = move_to_device_pass(exported, device)
    module, graph = exported.module(), program_graph(network, data)
    order = [name for name in exported.graph_signature.user_inputs if isinstance(name, str)]
    given = {n.name: n.meta["val"] for n in exported.graph.nodes if n.op == "placeholder" and "val" in n.meta}
    sizes = {name: tuple(_size(d) for d in given[name].shape) if name in given else None for name in order}
    check_inputs(sizes, network, shapes, where)
    spec: Any = exported.call_spec.in_spec
    parts: dict[tuple[str, ...], tuple[Any, tuple[str, ...]]] = {network.heads: (module, network.heads)}

    def forward(inputs: Mapping[str, Array], heads: Collection[str] | None = None) -> dict[str, tuple[Array, str]]:
        wanted = network.heads if heads is None else tuple(h for h in network.heads if h in heads)
        if wanted not in parts:
            cut = _part(exported, graph, network, wanted)
            parts[wanted] = (module, network.heads) if cut is None else (cut, wanted)
        program, named = parts[wanted]
        arrays = [np.ascontiguousarray(inputs[name]) for name in order]
        if graph.whole:  # it may write into its inputs, which other networks and the truth of this one still read
            arrays = [array.copy() for array in arrays]
        try:
            tensors = [torch.from_numpy(a).to(device, given[n].dtype) for n, a in zip(order, arrays, strict=True)]
            args, kwargs = _pytree.tree_unflatten(tensors, spec)
            with torch.inference_mode():
                result = program(*args, **kwargs)
        except Exception as error:  # guards, shapes, operators, memory: the program's own failure, never a verdict
            raise BundleError(f"the program failed: {first_line(error)}", where=where) from error
        return {
            head: (_to_numpy(tensor, head, len(arrays[0]), where), str(tensor.dtype).removeprefix("torch."))
            for head, tensor in _named(result, named, where).items()
        }

    shapes_of = {name: dims[1:] for name, dims in sizes.items() if dims is not None}
    return Program(forward, shapes_of, bool(graph.whole))


def _size(dimension: Any) -> int | None:
    return dimension if isinstance(dimension, int) else None


def _part(exported: Any, graph: Graph, network: Network, heads: tuple[str, ...]) -> Any:
    """The program cut down to the nodes that some heads take, its outputs a tuple; None when that is not certain.

    What to keep is what the heads' digests are made of: the two stand and fall together.
    """
    from torch.utils import _pytree

    def calls() -> list[str]:
        return [n.name for n in part.graph.nodes if n.op == "call_function" and n.target is not operator.getitem]

    if graph.whole or not heads:
        return None
    part = exported.module()  # made anew; the weights are shared
    if calls() != [n.name for n in graph.nodes]:
        return None
    end = part.graph.output_node()
    places = _pytree.tree_unflatten(list(range(len(end.args[0]))), exported.call_spec.out_spec)
    place_of = _named(places, network.heads, str(network.program))
    end.args = (tuple(end.args[0][place_of[head]] for head in heads),)
    code = part.graph._codegen
    code.pytree_info = code.pytree_info._replace(out_spec=_pytree.tree_structure(tuple(heads)))
    kept = {item.name for item in graph.taken(heads) if isinstance(item, Node)}
    for node in reversed(part.graph.nodes):
        if node.op in ("call_function", "get_attr") and not node.users and node.name not in kept:
            part.graph.erase_node(node)
    if set(calls()) != kept:
        return None
    part.recompile()
    return part


def _exported(data: bytes, where: str) -> Any:
    import torch

    try:
        return torch.export.load(io.BytesIO(data))
    except Exception as error:  # the loader raises anything; whatever it is, this program cannot be examined
        unknown = _unknown_operator(data)
        raise BundleError(
            f"the program cannot be loaded: {f'there is no operator {unknown}' if unknown else first_line(error)}",
            where=where,
            mend="export it anew with torch.export.save",
        ) from error


def _unknown_operator(data: bytes) -> str:
    """The first operator that a program calls and torch does not have; the loader only logs it."""
    import torch

    try:
        targets = [str(node["target"]) for node in read_archive(data).model["graph_module"]["graph"]["nodes"]]
    except (NotUnderstoodError, LookupError, TypeError, ValueError, AttributeError):
        return ""
    for target in targets:
        found: Any = torch
        for name in target.split(".")[1:]:
            found = getattr(found, name, None)
        if target.startswith("torch.") and found is None:
            return shown(target)
    return ""


def _named(result: Any, heads: tuple[str, ...], where: str) -> dict[str, Any]:
    """Outputs by head name: a dict by its keys, a sequence by position, a tensor as the only head."""
    if isinstance(result, dict):
        if sorted(map(str, result)) != sorted(heads):
            raise BundleError(
                f"the program's outputs are {', '.join(shown(k, 40) for k in result)}; "
                f"the manifest names {', '.join(heads)}",
                where=where,
                mend="mend `heads` in bundle.toml, or export the program anew",
            )
        return {head: result[head] for head in heads}
    values = list(result) if isinstance(result, list | tuple) else [result]
    if len(values) != len(heads):
        raise BundleError(
            f"the program has {len(values)} outputs; the manifest names {len(heads)} heads",
            where=where,
            mend="mend `heads` in bundle.toml, or export the program anew",
        )
    return dict(zip(heads, values, strict=True))


def _to_numpy(tensor: Any, head: str, frames: int, where: str) -> Array:
    import torch

    if not isinstance(tensor, torch.Tensor) or tensor.is_complex():
        raise BundleError("an output is not a tensor of real numbers", where=f"{where}, head {head}")
    if tensor.ndim == 0 or tensor.shape[0] != frames:
        raise BundleError(
            f"an output of shape {tuple(tensor.shape)} for {frames} frames", where=f"{where}, head {head}"
        )
    return tensor.detach().to("cpu", torch.float32).numpy()
