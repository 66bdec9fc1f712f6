"""Notes in a store: answers that take longer to work out than to read, each under the question that it answers.

    notes/<digest of the question>.json

A note is sealed: one that is damaged, or of another version of gate, is worked out again. It is never in the way: what
cannot be written is not kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gate import __version__
from gate.atomic import write_text
from gate.errors import EvidenceError, UsageError
from gate.run.store import MARKER, NOTES, Store
from gate.strict import read_json


def noted(store: Store | None, kind: str, question: str, work: Callable[[], Any]) -> Any:
    """The answer to a question: as it is noted, else what `work` finds, which is noted then.

    kind, question: together they name all that the answer hangs on, the version of gate apart. The answer is plain
    JSON: texts, numbers, lists, and dicts by text, and never null.
    """
    answer = known(store, kind, question)
    if answer is None:
        answer = work()
        note(store, kind, question, answer)
    return answer


def known(store: Store | None, kind: str, question: str) -> Any:
    """The answer that is noted; None when there is no sound note."""
    if store is None:
        return None
    asked, path = _place(store, kind, question)
    with contextlib.suppress(OSError, EvidenceError, LookupError, TypeError):
        found = read_json(path.read_bytes(), where=str(path), error=EvidenceError)
        if found["seal"] == _seal(asked, found["answer"]):
            with contextlib.suppress(OSError):  # a store that cannot be written can still be read
                os.utime(path)
            return found["answer"]
    return None


def note(store: Store | None, kind: str, question: str, answer: Any) -> None:
    """Note an answer, where that is possible."""
    # A store that has vanished is not to be made again without its marker.
    with contextlib.suppress(OSError, UsageError):
        if store is not None and (store.root / MARKER).is_file():
            asked, path = _place(store, kind, question)
            write_text(path, json.dumps({"seal": _seal(asked, answer), "answer": answer}))


def _place(store: Store, kind: str, question: str) -> tuple[str, Path]:
    asked = json.dumps([__version__, kind, question])
    return asked, store.root / NOTES / f"{hashlib.sha256(asked.encode()).hexdigest()}.json"


def _seal(asked: str, answer: Any) -> str:
    return hashlib.sha256(json.dumps([asked, answer], sort_keys=True).encode()).hexdigest()
