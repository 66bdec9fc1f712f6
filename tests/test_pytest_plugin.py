"""`pytest --gate verdict.json`: one test a prediction, own checks beside them, and an exit code for all of it."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from gate.errors import ConfigError
from gate.judge.decision import Decision
from gate.report.verdict import read_verdict, verdict_json
from tests.support.decisions import a_cell, a_decision, a_large_decision, a_loss, a_mixed_decision, an_undecided
from tests.support.faces import HOSTILE, hostile_decision

ROOT = Path(__file__).parents[1]


def told(folder: Path, decision: Decision) -> Path:
    path = folder / "verdict.json"
    path.write_text(verdict_json(decision, time="2026-11-27T00:00:00+00:00"))
    return path


def run(folder: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """pytest in a folder of its own, with our plugin and no other."""
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    command = [sys.executable, "-m", "pytest", "-p", "gate.pytest_plugin", "-p", "no:cacheprovider", *map(str, words)]
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
    )


def last(ended: subprocess.CompletedProcess[str]) -> str:
    return ended.stdout.strip().splitlines()[-1]


def test_a_decision_has_one_test_a_prediction_and_fails_where_it_fails(tmp_path: Path) -> None:
    cells = [
        a_cell("front.sky"),
        a_loss("front.edge"),
        an_undecided("front.person"),
        a_loss("front.x", tier="advisory"),
    ]
    ended = run(tmp_path, "--gate", told(tmp_path, a_decision(cells, "NO-GO")), "-rA")
    assert ended.returncode == 1
    assert "3 failed, 1 passed, 1 skipped" in last(ended)
    for line in ("PASSED verdict.json::front.sky", "FAILED verdict.json::front.edge", "FAILED verdict.json::decision"):
        assert line in ended.stdout
    assert "Traceback" not in ended.stdout


@pytest.mark.parametrize(("outcome", "code"), [("GO", 0), ("NO-GO", 1), ("INCONCLUSIVE", 1)])
def test_pytest_passes_exactly_when_the_decision_is_go(tmp_path: Path, outcome: str, code: int) -> None:
    path = told(tmp_path, a_decision([a_cell()], outcome))  # type: ignore[arg-type]
    assert run(tmp_path, "--gate", path).returncode == code


def test_own_checks_join_the_decision(tmp_path: Path) -> None:
    path = told(tmp_path, a_decision([a_cell()], "GO"))
    check = tmp_path / "test_own.py"
    check.write_text("def test_ours():\n    assert True\n")
    ended = run(tmp_path, "--gate", path)
    assert (ended.returncode, "3 passed" in last(ended)) == (0, True)
    check.write_text("def test_ours():\n    assert False\n")
    assert run(tmp_path, "--gate", path).returncode == 1


def test_cases_can_be_chosen_by_name(tmp_path: Path) -> None:
    path = told(tmp_path, a_decision([a_cell("front.sky"), a_loss("front.edge")], "NO-GO"))
    ended = run(tmp_path, "--gate", path, "-k", "sky")
    assert (ended.returncode, "1 passed, 2 deselected" in last(ended)) == (0, True)


def test_bundles_and_evidence_are_there_for_a_teams_own_checks(releases: Path, store_folder: Path) -> None:
    (releases / "test_own.py").write_text(
        "def test_ours(candidate, incumbent, evidence):\n"
        "    assert candidate.digest != incumbent.digest\n"
        "    assert set(evidence(candidate)) == {'cam.sign', 'cam.edge', 'cam.range'}\n"
    )
    folders = [
        f"--gate-{name}={name_of}" for name, name_of in (("candidate", "new"), ("incumbent", "old"), ("suite", "suite"))
    ]
    ended = run(releases, *folders)
    assert ended.returncode == 0, ended.stdout
    without = run(releases)
    assert without.returncode == 1
    assert "give --gate-candidate DIR" in without.stdout


@pytest.mark.parametrize("text", ["", "{}", '{"schema": "gate.verdict/2"}', '{"schema": "gate.verdict/1"}'])
def test_a_file_that_is_no_verdict_is_no_pass(tmp_path: Path, text: str) -> None:
    path = tmp_path / "verdict.json"
    path.write_text(text)
    ended = run(tmp_path, "--gate", path)
    assert ended.returncode == 4
    assert "verdict.json" in ended.stderr
    with pytest.raises(ConfigError):
        read_verdict(path)


def test_a_verdict_that_is_missing_is_no_pass(tmp_path: Path) -> None:
    assert run(tmp_path, "--gate", "nowhere.json").returncode == 4


@pytest.mark.parametrize("decision", [a_mixed_decision(), a_large_decision(), *map(hostile_decision, HOSTILE[:8])])
def test_a_verdict_reads_back_as_the_same_bytes(tmp_path: Path, decision: Decision) -> None:
    path = told(tmp_path, decision)
    again = read_verdict(path)
    lines = verdict_json(again, time="2026-11-27T00:00:00+00:00").splitlines()
    dropped = ('"calibration"', '"networks"')
    assert _without(lines, dropped) == _without(path.read_text().splitlines(), dropped)


def _without(lines: list[str], keys: tuple[str, ...]) -> list[str]:
    """Lines of the document but those of some keys, whose lists have a line for each item."""
    kept, inside = [], False
    for line in lines:
        inside = line.startswith(keys) if line.startswith('"') else inside
        kept += [] if inside else [line]
    return kept


def test_the_plugin_is_found_and_costs_nothing_until_it_is_asked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"gate": "gate.pytest_plugin"}
    code = "import gate.pytest_plugin, sys; print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = ended.stdout.split()
    assert [name for name in ("numpy", "torch", "gate.report", "gate.cli", "pydantic") if name in loaded] == []
