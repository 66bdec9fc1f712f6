"""The action and the workflows as they are shipped; `nox -s workflows` has actionlint and zizmor look at them too."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from gate.cli.ci import ci
from gate.github.runner import PAYLOAD

ROOT = Path(__file__).parents[1]
FILES = [ROOT / "action.yml", ROOT / "docs/workflows/gate.yml", ROOT / "docs/workflows/gate-publish.yml"]


def read(path: Path) -> Any:
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


def steps(path: Path) -> list[dict[str, Any]]:
    told = read(path)
    jobs = [told["runs"]] if "runs" in told else list(told["jobs"].values())
    return [step for job in jobs for step in job["steps"]]


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_every_action_is_pinned_to_a_commit(path: Path) -> None:
    uses = [step["uses"] for step in steps(path) if "uses" in step]
    assert uses
    assert [use for use in uses if not re.fullmatch(r"[A-Za-z0-9-]+/[a-z/-]+@[0-9a-f]{40}", use)] == []


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_no_script_is_put_together_from_what_somebody_wrote(path: Path) -> None:
    assert [step["run"] for step in steps(path) if "${{" in step.get("run", "")] == []


def test_the_required_job_is_never_skipped() -> None:
    told = read(FILES[1])
    job = told["jobs"]["gate"]
    assert "if" not in job
    assert job["name"] == "gate"
    events = told["on"]
    assert {"pull_request", "merge_group", "push", "workflow_dispatch"} == set(events)
    assert [key for event in events.values() for key in event if key.startswith("paths")] == []
    assert "pull_request_target" not in FILES[1].read_text() + FILES[2].read_text()


@pytest.mark.parametrize(
    ("path", "job", "rights"),
    [
        (FILES[1], "gate", {"contents": "read", "checks": "write", "pull-requests": "write"}),
        (FILES[2], "publish", {"actions": "read", "checks": "write", "pull-requests": "write"}),
    ],
    ids=["gate", "publish"],
)
def test_a_job_has_the_rights_that_it_needs_and_no_others(path: Path, job: str, rights: dict[str, str]) -> None:
    told = read(path)
    assert told["permissions"] == {}
    assert told["jobs"][job]["permissions"] == rights


def test_the_workflow_that_may_write_for_strangers_runs_nothing_of_theirs() -> None:
    told = steps(FILES[2])
    assert [step.get("uses", "").partition("@")[0] for step in told] == ["actions/download-artifact", "OWNER/gate"]
    assert told[1]["with"]["from"].endswith(f"/{PAYLOAD}")


def test_the_checkout_leaves_no_token_behind_and_brings_the_base_commit() -> None:
    (checkout,) = (step for step in steps(FILES[1]) if step.get("uses", "").startswith("actions/checkout@"))
    assert checkout["with"] == {"fetch-depth": 0, "lfs": True, "persist-credentials": False}


def test_a_pull_request_neither_reads_nor_writes_what_the_default_branch_keeps() -> None:
    restore, save = (step for step in steps(FILES[0]) if "actions/cache" in step.get("uses", ""))
    assert "inputs.cache == 'protected' && github.event_name != 'pull_request'" in restore["if"]
    assert "github.event_name == 'push' && github.ref_name == github.event.repository.default_branch" in save["if"]


def test_the_action_passes_on_every_input_and_every_output_that_there_is() -> None:
    told = read(FILES[0])
    (judge,) = (step for step in steps(FILES[0]) if step.get("id") == "gate")
    used = "".join(
        [str(judge["env"]), *(str(step.get("if", "")) + str(step.get("with", "")) for step in steps(FILES[0]))]
    )
    assert [name for name in told["inputs"] if f"inputs.{name}" not in used] == []
    options = set(re.findall(r"--[a-z-]+", judge["run"]))
    known = {"--base", "--head", "--out", "--from", "--require-publish"}
    assert options == known
    assert ci.__annotations__.keys() >= {"base", "head", "out", "require_publish"}
    outputs = {"verdict", "regressions", "inconclusive", "waived", "report-path", "check-url", "bundle-digest"}
    assert set(told["outputs"]) == outputs
