"""Worker processes, from outside: started, asked, watched, ended. What they say is looked at before it is believed."""

from __future__ import annotations

import atexit
import contextlib
import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gate.bundle import Network, program_bytes
from gate.cores import cores
from gate.errors import BundleError, GateError, UsageError, shown
from gate.run import partition
from gate.run.wire import MAX_ARRAYS, EndedError, receive, send

Array = NDArray[Any]
_NONSENSE = "its process answered with something that was not asked"
_TYPE = re.compile(r"[a-z0-9_]{1,20}")
#: All that a worker is told of its surroundings: no token, no key, no folder of the user's.
_ENVIRONMENT = ("PATH", "PYTHONPATH", "LANG", "LD_LIBRARY_PATH", "OPENBLAS_CORETYPE", "CUDA_VISIBLE_DEVICES", "TMPDIR")


@dataclass(frozen=True)
class Limits:
    """memory: bytes of one worker. load_s, network_s: seconds for loading a program, and for one network on one batch.
    start_s: seconds for starting the process that has loaded the libraries.
    """

    memory: int
    load_s: float = 300
    network_s: float = 600
    start_s: float = 300


#: Three quarters of the machine's memory: a program that wants more is stopped before the system looks for a victim.
LIMITS = Limits(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4 * 3)


class FallenError(Exception):
    """A worker died or fell silent. network: what it was busy with; hung: it was silent, and was ended. beside: others
    that it was busy with, any of which it may have been.
    """

    def __init__(self, network: str, why: str, hung: bool, beside: Collection[str] = ()) -> None:
        super().__init__(network, why, hung)
        self.network, self.why, self.hung, self.beside = network, why, hung, beside


@dataclass
class Worker:
    """A process with the loaded programs of one bundle.

    nursery: process that it was forked from. loaded: networks whose programs it has.
    """

    connection: socket.socket
    pid: int
    nursery: int
    loaded: set[str] = field(default_factory=set)


@dataclass
class _Nursery:
    process: subprocess.Popen[bytes]
    control: socket.socket
    lock: threading.Lock


_nursery: list[_Nursery] = []


def start(device: str = "cpu", threads: int | None = None) -> Worker:
    """A new worker. threads: of one forward pass, all cores if not said. Raises GateError when there can be none."""
    ours, theirs = socket.socketpair()
    about = {"memory": LIMITS.memory, "threads": threads or cores(), "device": device}
    try:
        with theirs:
            answer = _asked({"start": about}, theirs)
    except BaseException:
        ours.close()
        raise
    return Worker(ours, int(answer["pid"]), _nursery[0].process.pid)


def end(worker: Worker) -> str:
    """End a worker; how it ended, in words, when it was not ended before."""
    pid, worker.pid = worker.pid, 0
    with contextlib.suppress(OSError):
        worker.connection.shutdown(socket.SHUT_RDWR)  # wakes whoever waits for it in another thread
    worker.connection.close()
    if not pid:
        return "before"
    if not _nursery or _nursery[0].process.pid != worker.nursery:
        return "with the process that it was forked from"
    with contextlib.suppress(GateError):
        status = _asked({"end": pid})["status"]
        if os.WIFSIGNALED(status):
            return f"signal {signal.Signals(os.WTERMSIG(status)).name}"
        return f"exit status {os.waitstatus_to_exitcode(status)}"
    return "unknown"


def load(worker: Worker, network: Network, shapes: Mapping[str, tuple[int, ...] | None]) -> str:
    """Why the network's program cannot be loaded; empty when it is. What is loaded stays so.

    Raises RefusedError, BundleError and LockError as `program_bytes` does, and FallenError.
    """
    if network.name not in worker.loaded:
        data = program_bytes(network)
        about = {
            "do": "load",
            "name": network.name,
            "file": str(network.program),
            "inputs": [list(pair) for pair in network.inputs],
            "heads": list(network.heads),
            "state": list(network.state),
            "window": network.window,
            "shapes": {name: None if shape is None else list(shape) for name, shape in shapes.items()},
        }
        why = ""
        for head, _ in _play(worker, about, {"program": np.frombuffer(data, np.uint8)}, network.name, LIMITS.load_s):
            why = shown(head.get("failed", ""), 400)
            if "usage" in head:
                raise UsageError(why, where=str(network.program))
        if why:
            return why  # and asked again next time: it may have been the memory
        worker.loaded.add(network.name)
    return ""


def plan(
    worker: Worker, networks: Sequence[Network], parts: Mapping[str, Collection[str]], give: Collection[str], most: int
) -> None:
    """Say what will be asked: networks in running order, the heads of each, and the outputs that are wanted here; and
    how many networks may run at once.
    """
    wanted = {n.name: sorted(parts[n.name]) for n in networks}
    tell(worker, {"do": "plan", "networks": list(wanted), "parts": wanted, "give": sorted(give), "most": most})


def tell(worker: Worker, about: Mapping[str, Any]) -> dict[str, Any]:
    """Say something that is answered by a few words; the answer."""
    return [head for head, _ in _play(worker, about, {}, "", LIMITS.network_s)][-1]


def time_passes(worker: Worker, network: Network, passes: int) -> list[float]:
    """Seconds of so many forward passes on one frame of zeros. Raises BundleError and FallenError."""
    about = {"do": "time", "name": network.name, "passes": passes}
    for head, _ in _play(worker, about, {}, network.name, LIMITS.network_s):
        if "failed" in head:
            raise BundleError(shown(head["failed"], 400))
        told = head.get("seconds")
        if isinstance(told, list) and len(told) == passes and all(type(s) is float and 0 < s < math.inf for s in told):
            return told
    raise FallenError(network.name, "its process answered with something that was not asked", True)


@dataclass(frozen=True)
class Said:
    """What networks answered on some frames. outputs: `network.head` -> (values, type). failed: network -> why.
    ran: all outputs that were computed.
    """

    outputs: dict[str, tuple[Array, str]]
    failed: dict[str, str]
    ran: list[str]


def ask(
    worker: Worker,
    about: Mapping[str, Any],
    inputs: Sequence[Mapping[str, Array]],
    frames: Sequence[int],
    known: Collection[str],
    most: int = 1,
) -> list[Said]:
    """What all networks answer to some batches, or on the rest of a round; frames: of each. known: outputs that the
    manifest names. most: batches that may be as large as any.

    A network that fails on a batch answers neither that nor any after it. Raises FallenError.
    """
    said, heard = [Said({}, {}, []) for _ in frames], Counter[str]()
    names = {output.partition(".")[0] for output in known}
    given = {f"{k} {name}": values for k, batch in enumerate(inputs) for name, values in batch.items()}
    for head, arrays in _play(worker, about, given, "", LIMITS.network_s, names, len(frames)):
        name, k = head.get("network"), head.get("batch")
        if name is None:
            continue
        if type(k) is not int or not 0 <= k < len(frames):
            raise FallenError(name, _NONSENSE, True)
        if "failed" in head:
            said[k].failed[name] = shown(head["failed"], 400)
            continue
        types, told = head.get("types"), head.get("ran")
        if not isinstance(types, dict) or not isinstance(told, list) or not {*arrays, *map(str, told)} <= set(known):
            raise FallenError(name, _NONSENSE, True)
        heard[name] += sum(values.nbytes for values in arrays.values())
        if heard[name] > most * MAX_ARRAYS:
            raise FallenError(name, f"it answers {len(frames)} batches with {heard[name] >> 20:,} MiB", True)
        for output, values in arrays.items():
            kind = str(types.get(output))
            if values.dtype != np.float32 or values.shape[:1] != (frames[k],) or not _TYPE.fullmatch(kind):
                raise FallenError(name, _NONSENSE, True)
            said[k].outputs[output] = values, kind
        said[k].ran.extend(map(str, told))
    failed: dict[str, str] = {}
    for k, one in enumerate(said):
        failed = one.failed | failed
        sound = {o: values for o, values in one.outputs.items() if o.partition(".")[0] not in failed}
        said[k] = Said(sound, failed, [o for o in one.ran if o.partition(".")[0] not in failed])
    return said


def _play(
    worker: Worker,
    about: Mapping[str, Any],
    arrays: Mapping[str, Array],
    busy: str,
    seconds: float,
    names: Collection[str] = (),
    batches: int = 1,
) -> Iterator[tuple[dict[str, Any], dict[str, Array]]]:
    """Messages in answer to a request, notes apart, up to the one that ends it; names: networks that may speak.

    It is said which networks run, twice a network and batch at most, or twice at every step of a round; and each
    answers twice a batch at most: who says more never comes to an end.
    """
    at = [busy]
    try:
        send(worker.connection, about, arrays, seconds)
        for _ in range(len(names) * (2 * partition.STEPS + 4 * batches) + 1):
            head, given = receive(worker.connection, seconds)
            told, spoken = head.get("at", []), head.get("network")
            if (
                not isinstance(told, list)
                or any(name not in (*names,) for name in told)
                or spoken not in (None, *names)
            ):
                break
            if told:
                at = told
                continue
            if spoken is not None and spoken in at and len(at) > 1:  # the last one is to blame, if anyone
                at.remove(spoken)
            yield head, given
            if "done" in head or (about["do"] in ("load", "time") and "failed" in head):
                return
        raise _fallen(at, _NONSENSE, hung=True)
    except EndedError as error:
        why = f"its process ended while it ran ({end(worker)})"
        raise _fallen(at, why, hung=False) from error
    except TimeoutError:
        end(worker)
        raise _fallen(at, f"it gave no answer within {seconds:,.0f} s", hung=True) from None


def _fallen(at: Sequence[str], why: str, *, hung: bool) -> FallenError:
    last = at[-1] if at else ""
    return FallenError(last, why, hung, {*at[:-1]})


def _asked(request: Mapping[str, Any], passed: socket.socket | None = None) -> dict[str, Any]:
    """An answer of the nursery, which is started when there is none."""
    nursery = _nursery[0] if _nursery and _nursery[0].process.poll() is None else _start_nursery()
    with nursery.lock:
        try:
            text = json.dumps(request).encode() + b"\n"
            socket.send_fds(nursery.control, [text], [passed.fileno()] if passed else [])
            return _line(nursery.control)
        except (OSError, ValueError) as error:
            _stop_nursery()
            raise GateError("worker processes cannot be started", mend="run again") from error
        except BaseException:  # interrupted: the answer would be taken for that of the next request
            _stop_nursery()
            raise


def _start_nursery() -> _Nursery:
    _stop_nursery()
    ours, theirs = socket.socketpair()
    # Threads that spin while they wait starve the decoder and the contract worker on a small or busy machine: measured
    # four times slower. Threads that sleep at once must be woken for every small operation: three times slower. GNU's
    # OpenMP is told to spin for 10,000 turns, a quarter of a millisecond or so, which bridges one operation and the
    # next, those that one thread does by itself too; others have no count. The worker's own threads are set where it is
    # forked; before, there may be none.
    settings = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "10000"}
    settings |= {"OPENBLAS_NUM_THREADS": "1", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
    # glibc hands large blocks back when they are free, and every batch would pay for fresh pages: a fifth of the
    # processor time of large convolutions. What was used is kept for the next batch; other systems do not heed it. All
    # threads keep it in one place: in a place of its own a thread can keep no block of 64 MiB or more.
    settings |= {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(LIMITS.memory), "MALLOC_ARENA_MAX": "1"}
    with theirs:
        process = subprocess.Popen(
            # -P: the working folder belongs to whoever is examined, and nothing in it may be imported.
            [sys.executable, "-P", "-m", "gate.run.nursery", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={k: v for k, v in os.environ.items() if k in _ENVIRONMENT} | settings,
            start_new_session=True,
        )
    ours.settimeout(LIMITS.start_s)
    _nursery[:] = [_Nursery(process, ours, threading.Lock())]
    try:
        answer = _line(ours)
    except BaseException as error:
        process.kill()  # it is loading still, and has nothing to tidy up
        _stop_nursery()
        if not isinstance(error, OSError | ValueError):
            raise
        why = "run `python -c 'import torch, gate.run.worker'` to see why"
        raise GateError("worker processes cannot be started", mend=why) from error
    if "ready" not in answer:
        _stop_nursery()
        why, mend = shown(answer.get("failed")), shown(answer.get("mend", "install torch"))
        raise BundleError(f"programs cannot be run: {why}", mend=mend)
    return _nursery[0]


def _line(source: socket.socket) -> dict[str, Any]:
    text = b""
    while not text.endswith(b"\n"):
        part = source.recv(4096)
        if not part:
            raise OSError("closed")
        text += part
    return json.loads(text)


@atexit.register
def _stop_nursery() -> None:
    for nursery in _nursery:
        nursery.control.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            nursery.process.wait(30)  # it removes its folder
        nursery.process.kill()
        nursery.process.wait()
    _nursery.clear()
