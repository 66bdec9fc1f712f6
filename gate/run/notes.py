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
from typing import Any

from gate import __version__
from gate.atomic import write_text
from gate.errors import EvidenceError, UsageError
from gate.run.store import MARKER, NOTES, Store
from gate.strict import read_json


def noted(store: Store | None, kind: str, question: str, work: Callable[[], Any]) -> Any:
    """The answer to a question: as it is noted, else what `work` finds, which is noted then.

    kind, question: together they name all that the answer hangs on, the version of gate apart. The answer is plain
    JSON: texts, numbers, lists, and dicts by text.
    """
    if store is None:
        return work()
    asked = json.dumps([__version__, kind, question])
    path = store.root / NOTES / f"{hashlib.sha256(asked.encode()).hexdigest()}.json"
    with contextlib.suppress(OSError, EvidenceError, LookupError, TypeError):
        note = read_json(path.read_bytes(), where=str(path), error=EvidenceError)
        if note["seal"] == _seal(asked, note["answer"]):
            with contextlib.suppress(OSError):  # a store that cannot be written can still be read
                os.utime(path)
            return note["answer"]
    answer = work()
    # A store that has vanished is not to be made again without its marker.
    with contextlib.suppress(OSError, UsageError):
        if (store.root / MARKER).is_file():
            write_text(path, json.dumps({"seal": _seal(asked, answer), "answer": answer}))
    return answer


def _seal(asked: str, answer: Any) -> str:
    return hashlib.sha256(json.dumps([asked, answer], sort_keys=True).encode()).hexdigest()
