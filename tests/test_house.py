"""The house: imports point down, and heavy guests stay outside until somebody asks for them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"
HEAVY = ("torch", "pandas", "great_expectations", "sklearn", "github3")


def linted(root: Path) -> subprocess.CompletedProcess[str]:
    """Import contracts of the package in `root`, without a cache to be left behind."""
    command = [sys.executable, "-c", LINT, "--no-cache"]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300, check=False)


def test_imports_point_down() -> None:
    pytest.importorskip("importlinter")
    ended = linted(ROOT)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the house to break things in."""
    pytest.importorskip("importlinter")
    root = tmp_path_factory.mktemp("house")
    shutil.copytree(ROOT / "gate", root / "gate", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    return root


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("gate/compare/bound.py", "from gate.judge import decide", "gate.compare is not allowed to import gate.judge"),
        ("gate/calibrate/operating.py", "import gate.compare", "gate.calibrate is not allowed to import gate.compare"),
        ("gate/tasks/binary.py", "from gate.tasks import regression", "Kinds of head do not know each other BROKEN"),
        ("gate/judge/decide.py", "import pandas", "Only one file imports each heavy guest BROKEN"),
        ("gate/newcomer.py", "import gate.errors", "newcomer"),
    ],
)
def test_an_import_that_points_up_is_found(house: Path, file: str, line: str, contract: str) -> None:
    path = house / file
    before = path.read_text() if path.exists() else None
    path.write_text(f"{before or ''}\n{line}\n")
    try:
        ended = linted(house)
    finally:
        if before is None:
            path.unlink()
        else:
            path.write_text(before)
    assert ended.returncode == 1
    assert contract in ended.stdout, ended.stdout


@pytest.mark.parametrize(
    "modules",
    ["gate.cli.app", "gate.compare, gate.judge, gate.calibrate", "gate.report", "gate.github.publish", "gate.pipeline"],
)
def test_the_heavy_guests_stay_outside(modules: str) -> None:
    code = f"import sys; import {modules}; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=True)
    assert "gate.judge" in ended.stdout or modules == "gate.cli.app"
    assert [name for name in HEAVY if name in ended.stdout.split()] == []
