"""What a run leaves behind without asking anybody: job summary, outputs, and the payload of the second workflow."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args
from xml.etree import ElementTree as ET

from gate.atomic import write_text
from gate.errors import ConfigError, shown
from gate.github.answer import Answer, Outcome, unverified
from gate.strict import read_json

PAYLOAD = "gate-publish.json"
SCHEMA = "gate.publish/1"
#: A payload comes from a run that its author can change: what is larger, longer or more than this is refused.
MAX_BYTES, MAX_LINES, MAX_LINE = 1 << 20, 200, 2_000
_OUTPUT = re.compile(r"[A-Za-z0-9._:/-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def write_summary(environment: Mapping[str, str], answer: Answer) -> None:
    """Append the summary to the job's, where there is one; GitHub takes a MiB, and a summary has 62,000 bytes."""
    _append(environment.get("GITHUB_STEP_SUMMARY"), answer.summary + "\n")


def write_outputs(environment: Mapping[str, str], answer: Answer, facts: Mapping[str, str]) -> tuple[str, ...]:
    """Append `name=value` lines to the step's outputs; answers the names whose values no output may hold.

    A value has only letters, digits and `._:/-`, so that none can start a line of its own.
    """
    values = {"verdict": answer.outcome, "bundle-digest": answer.digests[0], **facts}
    values |= {name: str(number) for name, number in answer.counts}
    refused = tuple(name for name, value in values.items() if not _OUTPUT.fullmatch(value))
    lines = (f"{name}={'' if name in refused else value}\n" for name, value in values.items())
    _append(environment.get("GITHUB_OUTPUT"), "".join(lines))
    return refused


def _append(path: str | None, text: str) -> None:
    if path:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text)


def write_files(out: Path, head: str, answer: Answer) -> None:
    """summary.md, the payload, and junit.xml where no decision wrote one: every CI system finds the same files."""
    write_text(out / "summary.md", answer.summary)
    if answer.outcome in ("REFUSED", "NOTHING"):
        write_text(out / "junit.xml", _junit(answer))
    lines = [shown(line, MAX_LINE) for line in answer.lines[:MAX_LINES]]
    document = {"schema": SCHEMA, "head": head, "outcome": answer.outcome, "lines": lines}
    write_text(out / PAYLOAD, json.dumps(document, indent=1) + "\n")


def read_answer(path: Path, head: str) -> Answer | None:
    """The unverified answer in a hostile file; None when it says that no release is proposed.

    Raises ConfigError for all but a payload about the commit `head`.
    """
    told = read_json(path, error=ConfigError, max_bytes=MAX_BYTES, max_depth=2)
    if not _is_payload(told):
        raise ConfigError(f"this is not a {SCHEMA} file", where=str(path))
    if told["head"] != head:
        raise ConfigError(f"it speaks of {told['head'][:12]}, and the run was on {head[:12]}", where=str(path))
    return unverified(told["outcome"], told["lines"]) if told["outcome"] != "NOTHING" else None


def _junit(answer: Answer) -> str:
    """One case: it fails when there is no decision, and passes when none was asked for."""
    failed = answer.conclusion == "failure"
    counts = {"tests": "1", "failures": str(int(failed)), "errors": "0", "skipped": "0", "time": "0"}
    root = ET.Element("testsuites", {"name": "gate", **counts})
    case = ET.SubElement(ET.SubElement(root, "testsuite", {"name": "gate", **counts}), "testcase")
    case.attrib.update({"classname": "gate", "name": "decision", "time": "0"})
    told = ET.SubElement(case, "failure", {"message": answer.title}) if failed else ET.SubElement(case, "system-out")
    told.text = "\n".join(answer.lines)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _is_payload(told: Any) -> bool:
    return (
        isinstance(told, dict)
        and told.keys() == {"schema", "head", "outcome", "lines"}
        and told["schema"] == SCHEMA
        and isinstance(told["head"], str)
        and _COMMIT.fullmatch(told["head"]) is not None
        and told["outcome"] in get_args(Outcome)
        and isinstance(told["lines"], list)
        and len(told["lines"]) <= MAX_LINES
        and all(isinstance(line, str) and len(line) <= MAX_LINE for line in told["lines"])
    )
