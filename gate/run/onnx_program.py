"""ONNX programs: a model that was scanned is written anew, cut to what is asked, and run a batch at a time.

The only file that imports onnxruntime. It is given nothing but what the digests of heads are made of: no texts, no
notes, no shapes of values in between; and not the bytes of the file, which its own reader might read in another way.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gate.bundle import Network, program_graph
from gate.bundle.made import NotUnderstoodError
from gate.bundle.onnx_graph import inputs_of, outputs_of
from gate.bundle.onnx_scan import read_onnx
from gate.bundle.tensors import TYPES
from gate.errors import BundleError, UsageError
from gate.run.onnx_model import part_of
from gate.run.signature import Program, check_inputs, first_line

Array = NDArray[Any]
#: Types that frames of real numbers can be given as.
_REAL = ("float32", "float16", "bfloat16", "float64")


def load_onnx(network: Network, data: bytes, shapes: Mapping[str, tuple[int, ...] | None], threads: int) -> Program:
    """The network's program.

    data: bytes that passed `scanned`. shapes: of one frame of each program input, None where it is another network's
    head. Raises BundleError when names, shapes or number of inputs or outputs differ from the manifest or the program
    cannot be run, UsageError when onnxruntime is not installed.
    """
    where = f"{network.program}, network {network.name}"
    model, graph = read_onnx(data, str(network.program)), program_graph(network, data)
    sizes = _check_types(model, where)
    check_inputs(sizes, network, shapes, str(network.program))
    named = _outputs(model, network, where)
    types = {value.name: TYPES[value.type.tensor_type.elem_type][0] for value in model.graph.output}

    def loaded(heads: tuple[str, ...]) -> tuple[Any, Mapping[str, str], Mapping[str, str]]:
        kept = None if graph.whole or heads == network.heads else {item.name for item in graph.taken(heads)}
        try:
            part = part_of(model, {head: named[head] for head in heads}, kept)
        except BundleError as error:
            raise BundleError(error.what, where=where, mend=error.mend) from error
        return _session(part.model, threads, where), part.feeds, part.fetches

    parts = {network.heads: loaded(network.heads)}

    def forward(inputs: Mapping[str, Array], heads: Collection[str] | None = None) -> dict[str, tuple[Array, str]]:
        asked = network.heads if heads is None else tuple(h for h in network.heads if h in heads)
        wanted = network.heads if graph.whole or not asked else asked
        if wanted not in parts:
            parts[wanted] = loaded(wanted)
        session, feeds, fetches = parts[wanted]
        given = {fed: np.ascontiguousarray(inputs[name], np.float32) for name, fed in feeds.items()}
        try:
            answers = session.run(list(fetches.values()), given)
        except Exception as error:  # shapes, operators, memory: the program's own failure, never a verdict
            raise BundleError(f"the program failed: {first_line(error)}", where=where) from error
        frames = len(next(iter(given.values())))
        return {
            head: (_checked(answer, frames, f"{where}, head {head}"), types[named[head]])
            for head, answer in zip(fetches, answers, strict=True)
        }

    shapes_of = {name: dims[1:] for name, dims in sizes.items() if dims is not None}
    return Program(forward, shapes_of, bool(graph.whole))


def _session(model: Any, threads: int, where: str) -> Any:
    """A session whose answers hang on the model and the machine alone."""
    try:
        import onnxruntime
    except ImportError as error:
        raise UsageError(
            "ONNX programs need the onnx extra", where=where, mend="pip install 'vision-release-gate[onnx]'"
        ) from error
    options = onnxruntime.SessionOptions()
    # Operators are run as they are written. The optimiser fuses a convolution with what follows it where nobody else
    # reads it, so that a head more would change the last bits of the others; and it calculates int8 programs in another
    # way than they say. On the CamVid network its levels gained nothing (57 ms a batch without, 76 with all of them).
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.use_deterministic_compute = True
    options.log_severity_level = 4  # errors are raised, and told once
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Else a file that says so in its first bytes would be read in the runtime's own format.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the loader raises anything; whatever it is, this program cannot be examined
        raise BundleError(
            f"the program cannot be loaded: {first_line(error)}", where=where, mend="export it anew"
        ) from error


def _check_types(model: Any, where: str) -> dict[str, tuple[int | None, ...] | None]:
    """Input -> sizes, the batch first, None where any is taken; None for an input that does not say."""
    sizes: dict[str, tuple[int | None, ...] | None] = {}
    for value in inputs_of(model.graph):
        tensor = value.type.tensor_type
        if (kind := TYPES[tensor.elem_type][0]) not in _REAL:
            raise BundleError(
                f"input {value.name} takes {kind}; frames are real numbers",
                where=where,
                mend="export the program with floating point inputs",
            )
        dims = tuple(d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim)
        sizes[value.name] = dims if tensor.HasField("shape") else None
    return sizes


def _outputs(model: Any, network: Network, where: str) -> dict[str, str]:
    try:
        return outputs_of(model.graph, network.heads)
    except NotUnderstoodError as error:
        raise BundleError(
            str(error), where=where, mend="mend `heads` in bundle.toml, or export the program anew"
        ) from error


def _checked(answer: Any, frames: int, where: str) -> Array:
    if not isinstance(answer, np.ndarray) or answer.dtype != np.float32:
        raise BundleError("an output is not a tensor of real numbers", where=where)
    if answer.ndim == 0 or answer.shape[0] != frames:
        raise BundleError(f"an output of shape {answer.shape} for {frames} frames", where=where)
    return answer
