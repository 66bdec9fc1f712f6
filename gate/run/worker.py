"""What runs in a worker process: programs are loaded from bytes that were scanned, and answer what they are asked.

The process can write no file, holds no secret, and ends with its connection. Requests are served one at a time; before
a network runs its name is sent, so that the other side knows which one a silent or a dead process was busy with.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gate.bundle import Network, looks_like_onnx
from gate.errors import BundleError, UsageError
from gate.run.program import gpu, load_program, prepare
from gate.run.signature import Program
from gate.run.stack import Stack, Told
from gate.run.wire import MAX_GIVEN, EndedError, receive, send
from gate.suite.inputs import as_fed


def serve(connection: socket.socket, *, threads: int, device: str) -> None:
    """Answer requests until the other side is gone."""
    prepare(threads)
    networks: dict[str, Network] = {}
    programs: dict[str, Program] = {}
    stack = Stack((), {}, {}, ())
    try:
        while True:
            head, arrays = receive(connection, most=MAX_GIVEN)
            match head["do"]:
                case "load":
                    network = _network(head)
                    try:
                        shapes = {name: None if s is None else tuple(s) for name, s in head["shapes"].items()}
                        programs[network.name] = _program(network, arrays["program"].tobytes(), shapes, threads, device)
                        networks[network.name] = network
                        send(connection, {"done": True})
                    except UsageError as error:
                        send(connection, {"failed": error.brief, "usage": True})
                    except BundleError as error:
                        send(connection, {"failed": error.brief})
                case "plan":
                    chosen = [networks[name] for name in head["networks"]]
                    note = partial(_note, connection)
                    ready = partial(prepare, threads)
                    stack = Stack(chosen, programs, head["parts"], head["give"], note, head["most"], ready)
                    send(connection, {"done": True})
                case "round":
                    stack.begin(head["lengths"], head["fresh"])
                    send(connection, {"done": True})
                case "batch":
                    # Nothing is held on to: it would lie beside the next batch when that is received.
                    given: list[dict[str, Any]] = [{} for _ in range(head["batches"])]
                    for key in list(arrays):
                        batch, _, name = key.partition(" ")
                        given[int(batch)][name] = as_fed(arrays.pop(key))
                    _answer(connection, stack.batch(given))
                case "rest":
                    _answer(connection, stack.rest(head["frames"]))
                case "time":
                    try:
                        send(connection, {"done": True, "seconds": _timed(programs[head["name"]], head["passes"])})
                    except BundleError as error:
                        send(connection, {"failed": error.brief})
                case "gpu":
                    send(connection, {"done": True, "gpu": gpu()})
                case _:
                    return
    except EndedError:
        return


def _note(connection: socket.socket, names: Sequence[str]) -> None:
    send(connection, {"at": names})


def _answer(connection: socket.socket, answers: Iterable[Told]) -> None:
    for told in answers:
        about: dict[str, Any] = {"network": told.network, "batch": told.batch}
        if told.failed:
            send(connection, about | {"failed": told.failed})
            continue
        about |= {"ran": told.ran, "types": {o: kind for o, (_, kind) in told.outputs.items()}}
        send(connection, about, {o: values for o, (values, _) in told.outputs.items()})
    send(connection, {"done": True})


def _program(
    network: Network, data: bytes, shapes: Mapping[str, tuple[int, ...] | None], threads: int, device: str
) -> Program:
    if not looks_like_onnx(data):
        return load_program(network, data, shapes, device)
    from gate.run.onnx_program import load_onnx

    if device != "cpu":
        raise BundleError("ONNX programs run on the CPU only", mend="use --device cpu, or ship a .pt2 program")
    return load_onnx(network, data, shapes, threads)


def _timed(program: Program, passes: int) -> list[float]:
    """Seconds of each forward pass on one frame of zeros, after one that brings the program back to the caches."""
    zeros = {}
    for name, shape in program.shapes.items():
        if None in shape:
            told = ", ".join("any" if n is None else str(n) for n in shape)
            raise BundleError(f"its input {name} takes frames of any size ({told}): there is no one latency")
        zeros[name] = np.zeros((1, *(n for n in shape if n is not None)), np.float32)
    program.forward(zeros)
    seconds = []
    for _ in range(passes):
        begun = time.perf_counter()
        program.forward(zeros)
        seconds.append(time.perf_counter() - begun)
    return seconds


def _network(head: Mapping[str, Any]) -> Network:
    return Network(
        head["name"],
        Path(head["file"]),
        (),
        tuple((name, source) for name, source in head["inputs"]),
        tuple(head["heads"]),
        "",
        state=tuple(head["state"]),
        window=head["window"],
    )
