"""A process that has loaded the libraries and nothing else, and forks a worker whenever one is asked for.

Loading torch takes seconds; a fork takes milliseconds. So each bundle has a worker of its own, and one that died is
replaced at once. Started by `gate.run.process` with an emptied environment; ends, with all that it forked, when the
other side is gone.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import resource
import shutil
import signal
import socket
import sys
import tempfile
import typing
from collections.abc import Callable
from typing import Any

from gate.run.worker import serve

#: Of unshare(2): a user namespace, in which a network namespace without any network is allowed.
_NEWUSER, _NEWNET = 0x10000000, 0x40000000
#: Of prctl(2).
_PDEATHSIG = 1


def main() -> None:
    """Serve requests, a JSON line each: {"start": {...}} with the worker's end of a connection, {"end": pid}."""
    control = socket.socket(fileno=int(sys.argv[1]))
    os.chdir("/")  # away from the folder of whoever is examined
    loaded = _loaded()  # until this is told, the process may be killed at any time: it has nothing to tidy up
    try:
        folder = tempfile.mkdtemp(prefix="gate-worker-")
    except OSError:
        _say(control, {"failed": "no temporary folder is writable", "mend": "set TMPDIR to a writable folder"})
        control.close()
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # by way of what is tidied up below
    os.chdir(folder)
    workers: set[int] = set()
    try:
        _say(control, loaded)
        while True:
            line, files, _, _ = socket.recv_fds(control, 4096, 1)
            if not line:
                return
            request = json.loads(line)
            if "start" in request:
                pid = os.fork()
                if not pid:
                    control.close()
                    _work(socket.socket(fileno=files[0]), **request["start"])
                os.close(files[0])
                workers.add(pid)
                _say(control, {"pid": pid})
            else:
                pid = request["end"]
                workers.remove(pid)
                _kill(pid)
                _say(control, {"status": os.waitpid(pid, 0)[1]})
    finally:
        for pid in workers:
            _kill(pid)
        shutil.rmtree(folder, ignore_errors=True)


def _say(control: socket.socket, answer: dict[str, object]) -> None:
    control.sendall(json.dumps(answer).encode() + b"\n")


def _kill(pid: int) -> None:
    for kill in (os.kill, os.killpg):  # the process itself too: it may not have its group yet
        with contextlib.suppress(OSError):
            kill(pid, signal.SIGKILL)


def _loaded() -> dict[str, object]:
    try:
        # The loader of programs brings as much along as torch itself, and what the first program makes it import comes
        # on top; here it is paid once, and not by every worker.
        import sympy.tensor.tensor  # noqa: F401
        import torch.export._trace
        import torch.export.pt2_archive  # noqa: F401
    except ImportError as error:
        return {"failed": str(error)}
    # Torch's loader asks at each node of a program for the types of the same few classes: a third of its time.
    typing.get_type_hints = _remembered(typing.get_type_hints)
    # Else every worker would look through all that was loaded for what is not needed any more, and so copy it.
    gc.collect()
    gc.freeze()
    return {"ready": True}


def _remembered(plain: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """`typing.get_type_hints`, which works out the types of each class once."""
    known: dict[tuple[type, int, bool], tuple[object, dict[str, Any]]] = {}

    def hints(of: Any, globalns: Any = None, localns: Any = None, include_extras: bool = False) -> dict[str, Any]:
        if not isinstance(of, type) or localns is not None:
            return plain(of, globalns, localns, include_extras)
        key = of, id(globalns), include_extras
        if key not in known:  # the names are kept with the answer, so that nothing else can get their id
            known[key] = globalns, plain(of, globalns, localns, include_extras)
        return dict(known[key][1])

    return hints


def _work(connection: socket.socket, *, memory: int, threads: int, device: str) -> None:
    """Become a worker. memory: bytes of address space; not limited with a GPU, whose driver reserves far more."""
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.setsid()
        _tied()
        for what, most in ((resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_NOFILE, 64)):
            resource.setrlimit(what, (most, most))
        if device == "cpu":
            resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
            _without_network()
        serve(connection, threads=threads, device=device)
        os._exit(0)
    finally:
        os._exit(1)


def _tied() -> None:
    """Die with the process that forked this one, where the system can do that: nobody else could end it any more."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL)


def _without_network() -> None:
    """Leave the network, where the system lets a process do that."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).unshare(_NEWUSER | _NEWNET)


if __name__ == "__main__":
    main()
