"""Evidence of a run as a file: safetensors, one group of tensors a head, byte-stable."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from gate.atomic import write_bytes
from gate.errors import EvidenceError, shown
from gate.heads import Series
from gate.run.local import Run
from gate.table import EvidenceTable

SCHEMA = "gate.evidence/2"


def write_evidence(path: Path, answers: Run, *, suite: str, bundle: str) -> None:
    """Write the evidence of all heads; `suite` and `bundle` are the digests that it is of."""
    from safetensors.numpy import save

    tensors, heads = {}, {}
    for name, table in sorted(answers.evidence.items()):
        heads[name] = {
            "series": [[s.prediction, s.level] for s in table.series],
            "cells": table.cells,
            "sums": list(table.names),
        }
        for part in ("keys", "counts", "moments"):
            tensors[f"{name}/{part}"] = np.ascontiguousarray(getattr(table, part))
    about = {"schema": SCHEMA, "suite": suite, "bundle": bundle, "heads": heads}
    write_bytes(path, save(tensors, {"gate": json.dumps(about, sort_keys=True)}))


def read_evidence(path: Path, *, suite: str, bundle: str) -> dict[str, EvidenceTable]:
    """head -> evidence. Raises EvidenceError when the file does not parse or is of another suite or bundle."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            about = json.loads((file.metadata() or {})["gate"])
            if about["schema"] != SCHEMA:
                raise EvidenceError(f"this is not a {SCHEMA} file", where=str(path))
            for key, digest in (("suite", suite), ("bundle", bundle)):
                if about[key] != digest:
                    raise EvidenceError(f"this evidence is of another {key}", where=str(path))
            return {
                name: EvidenceTable(
                    tuple(Series(prediction, level) for prediction, level in given["series"]),
                    given["cells"],
                    file.get_tensor(f"{name}/keys"),
                    file.get_tensor(f"{name}/counts"),
                    tuple(given["sums"]),
                    file.get_tensor(f"{name}/moments"),
                )
                for name, given in about["heads"].items()
            }
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise EvidenceError(f"the evidence cannot be read: {shown(error)}", where=str(path)) from error
