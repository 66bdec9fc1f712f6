"""The decision as `verdict.json`, schema `gate.verdict/1`: exact numbers, one cell a line, always the same bytes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib import resources
from operator import attrgetter
from pathlib import Path
from typing import Any

from gate.errors import ConfigError
from gate.judge.decision import Cell, Decision, Identity, PolicyFacts, Probability, Reason
from gate.report import words
from gate.strict import read_json
from gate.suite.contract import ContractResult

SCHEMA = "gate.verdict/1"
MAX_BYTES = 1 << 30  # a thousand predictions on five slices are 20 MB

# The order of DESIGN 4.5; the fields after `waiver` were added to it and come last.
CELL_FIELDS = (
    "prediction", "network", "head", "channel", "task", "metric", "slice", "tier", "margin", "verdict", "reason",
    "clips", "frames", "positives", "incumbent", "candidate", "delta", "ci_low", "ci_high", "p_adjusted", "mdr",
    "threshold_incumbent", "threshold_candidate", "delta_at_incumbent_threshold", "impact", "waiver",
    "unit", "lower_is_better", "delta_worse", "provable", "suspect", "clips_needed", "acknowledge",
    "delta_threshold_free", "anchor", "delta_anchor", "p_anchor", "gained_since_anchor",
)  # fmt: skip


_fields = attrgetter(*CELL_FIELDS)
# ASCII, so that a hostile name cannot turn a line around or break one; never NaN, which is no JSON.
_encoded = json.JSONEncoder(ensure_ascii=True, allow_nan=False).encode


def verdict_json(decision: Decision, *, time: str) -> str:
    """`verdict.json` of a decision; `time` is the only thing in it that differs between two runs of the same work.

    Numbers are exact (the shortest decimal that reads back as the same float); what is not finite is null.
    """
    rows: dict[str, Any] = {
        "schema": SCHEMA,
        "time": time,
        "decision": decision.decision,
        "reasons": [{"code": r.code, "text": r.text, "predictions": list(r.predictions)} for r in decision.reasons],
        "candidate": asdict(decision.candidate),
        "incumbent": asdict(decision.incumbent),
        "suite": asdict(decision.suite),
        "policy": asdict(decision.policy),
        "gate": {"version": decision.gate_version},
        "runtime": dict(sorted(decision.runtime)),
        "counts": {
            "verdict": words.by_verdict(decision.cells),
            "verdict_all": words.by_verdict(c for c in decision.cells if c.slice == "all"),
            "impact": words.by_impact(decision.cells),
        },
        "looks": {"used": None, "budget": None},
        "cells": decision.cells,
        "contracts": [_contract(c) for c in decision.contracts],
        "uncovered": list(decision.uncovered),
        "predictions": decision.predictions,
        "calibration": [_probability(p) for p in decision.probabilities],
        "anchors": [asdict(a) for a in decision.anchors],
        "counted": decision.counted,
        "networks": [{"name": n.name, "impact": n.impact, "upstream": list(n.upstream)} for n in decision.networks],
    }
    lines = [f'"{key}": {_cells(value) if key == "cells" else _value(value)}' for key, value in rows.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def read_verdict(path: Path) -> Decision:
    """The decision in a verdict.json, without what only pages draw: probabilities and networks.

    Raises ConfigError for everything that `verdict_json` does not write.
    """
    told = read_json(path, max_bytes=MAX_BYTES)
    try:
        if told["schema"] != SCHEMA:
            raise ConfigError(f"this is not a {SCHEMA} file", where=str(path))
        return Decision(
            decision=told["decision"],
            reasons=tuple(Reason(r["code"], r["text"], tuple(r["predictions"])) for r in told["reasons"]),
            candidate=Identity(**told["candidate"]),
            incumbent=Identity(**told["incumbent"]),
            suite=Identity(**told["suite"]),
            policy=PolicyFacts(**told["policy"]),
            gate_version=told["gate"]["version"],
            runtime=tuple(told["runtime"].items()),
            cells=tuple(Cell(**row) for row in told["cells"]),
            contracts=tuple(ContractResult(**row, failed=()) for row in told["contracts"]),
            uncovered=tuple(told["uncovered"]),
            predictions=told["predictions"],
            anchors=tuple(Identity(**anchor) for anchor in told["anchors"]),
            counted=told["counted"],
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"this is not a {SCHEMA} file: {error!r}", where=str(path)) from error


def schema() -> dict[str, Any]:
    """The published JSON Schema of `verdict.json` (draft 2020-12)."""
    return json.loads(resources.files("gate.report").joinpath("verdict.schema.json").read_text("utf-8"))


def _cells(cells: Sequence[Cell]) -> str:
    """The same of cells, a thousand at a time: all of them at once would fill a hundred megabytes."""
    if not cells:
        return "[]"
    parts = (cells[k : k + 1000] for k in range(0, len(cells), 1000))
    texts = (_dump([dict(zip(CELL_FIELDS, _fields(cell), strict=True)) for cell in part]) for part in parts)
    # Within a text every quote has a backslash before it, so this stands between objects and nowhere else.
    between = f'}}, {{"{CELL_FIELDS[0]}": '
    return "[\n " + ",\n ".join(t[1:-1].replace(between, between.replace(" ", "\n ", 1)) for t in texts) + "\n]"


def _probability(p: Probability) -> dict[str, Any]:
    """Without the bins of its diagrams, which are the report's."""
    sides = {
        name: {field: value for field, value in vars(getattr(p, name)).items() if field != "bins"}
        for name in ("incumbent", "candidate")
    }
    return {"prediction": p.prediction, **sides, "brier": _change(p.brier), "log_loss": _change(p.log_loss)}


def _change(bounds: tuple[float, float, float] | None) -> dict[str, float] | None:
    return None if bounds is None else dict(zip(("delta", "ci_low", "ci_high"), bounds, strict=True))


def _contract(contract: ContractResult) -> dict[str, Any]:
    fields = ("name", "success", "expectation", "observed", "where", "severity")
    return {field: getattr(contract, field) for field in fields}


def _value(value: Any) -> str:
    """A list of objects one a line, so that diffs and greps are readable; everything else on one line."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[\n" + ",\n".join(f" {_dump(item)}" for item in value) + "\n]"
    return _dump(value)


def _dump(value: Any) -> str:
    try:
        return _encoded(value)
    except ValueError:  # some number is not finite: rare, and looking at each costs more than writing all
        return _encoded(_finite(value))


def _finite(value: Any) -> Any:
    """`value` with every float that is not finite replaced by None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_finite(item) for item in value]
    return value
