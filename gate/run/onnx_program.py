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
from gate.errors import BundleError, UsageError, shown
from gate.run.onnx_model import part_of
from gate.run.program import Forward

Array = NDArray[Any]
#: Types that frames of real numbers can be given as.
_REAL = ("float32", "float16", "bfloat16", "float64")


def load_onnx(network: Network, data: bytes, shapes: Mapping[str, tuple[int, ...] | None], threads: int) -> Forward:
    """The network's forward pass, cut down to the heads that are asked for.

    data: bytes that passed `scanned`. shapes: of one frame of each program input, None where it is another network's
    head. Raises BundleError when names, shapes or number of inputs or outputs differ from the manifest or the program
    cannot be run, UsageError when onnxruntime is not installed.
    """
    where = f"{network.program}, network {network.name}"
    model, graph = read_onnx(data, str(network.program)), program_graph(network, data)
    _check_inputs(model, network, shapes, where)
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
            raise BundleError(f"the program failed: {_first_line(error)}", where=where) from error
        frames = len(next(iter(given.values())))
        return {
            head: (_checked(answer, frames, f"{where}, head {head}"), types[named[head]])
            for head, answer in zip(fetches, answers, strict=True)
        }

    return forward


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
            f"the program cannot be loaded: {_first_line(error)}", where=where, mend="export it anew"
        ) from error


def _first_line(error: Exception) -> str:
    return shown((str(error).strip() or type(error).__name__).splitlines()[0], 300)


def _check_inputs(model: Any, network: Network, shapes: Mapping[str, tuple[int, ...] | None], where: str) -> None:
    given, declared = inputs_of(model.graph), [name for name, _ in network.inputs]
    if sorted(value.name for value in given) != sorted(declared):
        raise BundleError(
            f"the program's inputs are {', '.join(shown(v.name) for v in given)}; "
            f"the manifest names {', '.join(declared)}",
            where=where,
            mend="mend `inputs` in bundle.toml, or export the program anew",
        )
    for value in given:
        tensor, wanted = value.type.tensor_type, shapes.get(value.name)
        if (kind := TYPES[tensor.elem_type][0]) not in _REAL:
            raise BundleError(
                f"input {value.name} takes {kind}; frames are real numbers",
                where=where,
                mend="export the program with floating point inputs",
            )
        if not tensor.HasField("shape"):
            continue
        dims = [d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim]
        if dims[:1] != [None]:
            raise BundleError(
                f"input {value.name} takes batches of exactly {dims[0]}"
                if dims
                else f"input {value.name} is a single number",
                where=where,
                mend="export with a dynamic batch, dynamic_shapes={...: {0: torch.export.Dim('batch')}}",
            )
        if wanted is not None and (
            len(dims) != len(wanted) + 1 or any(d not in (None, w) for d, w in zip(dims[1:], wanted, strict=True))
        ):
            raise BundleError(
                f"input {value.name} takes frames of shape {_shape(dims[1:])}, the suite gives {_shape(wanted)}",
                where=where,
                mend="mend `inputs` in bundle.toml, or export the program anew",
            )


def _outputs(model: Any, network: Network, where: str) -> dict[str, str]:
    try:
        return outputs_of(model.graph, network.heads)
    except NotUnderstoodError as error:
        raise BundleError(
            str(error), where=where, mend="mend `heads` in bundle.toml, or export the program anew"
        ) from error


def _shape(dims: Any) -> str:
    return "(" + ", ".join("any" if d is None else str(d) for d in dims) + ")"


def _checked(answer: Any, frames: int, where: str) -> Array:
    if not isinstance(answer, np.ndarray) or answer.dtype != np.float32:
        raise BundleError("an output is not a tensor of real numbers", where=where)
    if answer.ndim == 0 or answer.shape[0] != frames:
        raise BundleError(f"an output of shape {answer.shape} for {frames} frames", where=where)
    return answer
