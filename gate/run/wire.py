"""Messages between the engine and the processes that run programs: JSON and plain arrays over a socket.

Nothing is unpickled. What comes from a process that ran a program is read as hostile: sizes are limited, numbers are
copied before they are looked at.
"""

from __future__ import annotations

import json
import math
import os
import socket
import struct
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gate.errors import BundleError
from gate.strict import read_json

Array = NDArray[Any]
#: Bytes of the JSON, and of all arrays that a worker is given in one message.
MAX_HEAD, MAX_GIVEN = 1 << 20, 4 << 30
#: Bytes of all that one network answers to a batch. The engine holds one batch while it hears the next, and copies what
#: it looks at: three times as much, measured, so that no program fills more than three eighths of the machine's memory.
#: Honest answers come near it: logits of 19 classes of 1024 x 2048 pixels are 2.4 GiB a batch.
MAX_ARRAYS = min(4 << 30, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 8)
_TYPES = ("float32", "uint8")


class EndedError(Exception):
    """The other side is gone, or does not speak this language."""


def send(
    to: socket.socket, head: Mapping[str, Any], arrays: Mapping[str, Array] | None = None, seconds: float | None = None
) -> None:
    """Send a message. arrays: float32 or uint8. Raises EndedError, and TimeoutError when a part of it is not taken in
    so many seconds.
    """
    flat = {name: np.asarray(a, order="C") for name, a in (arrays or {}).items()}
    told = [[name, str(a.dtype), list(a.shape)] for name, a in flat.items()]
    text = json.dumps({**head, "arrays": told}).encode()
    try:
        to.settimeout(seconds)
        to.sendall(struct.pack(">I", len(text)) + text)
        for array in flat.values():
            if array.size:
                to.sendall(memoryview(array.data).cast("B"))
    except TimeoutError:
        raise
    except OSError as error:
        raise EndedError("the connection is closed") from error


def receive(
    source: socket.socket, seconds: float | None = None, most: int = MAX_ARRAYS
) -> tuple[dict[str, Any], dict[str, Array]]:
    """The next message and its arrays, of at most so many bytes. Raises EndedError, and TimeoutError when it is not
    whole in so many seconds.
    """
    until = None if seconds is None else time.monotonic() + seconds
    (size,) = struct.unpack(">I", _read(source, bytearray(4), until))
    if size > MAX_HEAD:
        raise EndedError("a message is too long")
    try:
        head = read_json(bytes(_read(source, bytearray(size), until)), where="worker", error=BundleError)
        told = [(str(name), np.dtype(kind), tuple(shape)) for name, kind, shape in head.pop("arrays") if kind in _TYPES]
        sizes = [math.prod(shape) * kind.itemsize for _, kind, shape in told]
        if any(type(n) is not int or n < 0 for _, _, shape in told for n in shape) or sum(sizes) > most:
            raise EndedError("a message has arrays of a wrong size")
        arrays = {name: np.empty(shape, kind) for name, kind, shape in told}
    except (BundleError, ValueError, TypeError, KeyError, AttributeError, MemoryError) as error:
        raise EndedError("a message cannot be read") from error
    for array in arrays.values():
        if array.size:
            _read(source, memoryview(array.data).cast("B"), until)
    return head, arrays


def _read(source: socket.socket, into: Any, until: float | None) -> Any:
    view, done = memoryview(into), 0
    try:
        while done < len(view):
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                raise TimeoutError
            source.settimeout(left)
            got = source.recv_into(view[done:])
            if not got:
                raise EndedError("the connection is closed")
            done += got
    except TimeoutError:
        raise
    except OSError as error:
        raise EndedError("the connection is closed") from error
    return into
