"""The embedded exam: rendered once into the cache, whole or not at all, and only what was frozen."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from gate.cli.exam import ABANDONED_S, rendered
from gate.errors import LockError, SuiteError, UsageError
from gate.lock import make_lock, read_lock, write_lock
from tests.support.processes import heed_interrupts, kill, those_with, until

ROOT = Path(__file__).resolve().parents[1]
RENDERER = """\
import sys, time
from pathlib import Path
assert sys.argv[1] == "render"
out = Path(sys.argv[2])
(out / "images").mkdir()
for k in range(3):
    (out / "images" / f"{k}.npy").write_bytes(bytes([k]) * 1000)
    print(f"\\r{k + 1} of 3 clips", end="", file=sys.stderr, flush=True)
"""
Made = tuple[Path, Path]


@pytest.fixture
def exam(tmp_path: Path) -> Made:
    """An exam without its frames, and the package that renders them."""
    folder, package = tmp_path / "exam", tmp_path / "source" / "toy"
    (folder / "images").mkdir(parents=True)
    package.mkdir(parents=True)
    (folder / "suite.toml").write_text("# an exam\n")
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(RENDERER)
    for k in range(3):
        (folder / "images" / f"{k}.npy").write_bytes(bytes([k]) * 1000)
    names = ["suite.toml", *(f"images/{k}.npy" for k in range(3))]
    write_lock(folder / "suite.lock", make_lock("suite", folder, names, name="toy", version="1", evaluator="1"))
    shutil.rmtree(folder / "images")
    return folder, package


def render(made: Made, begin: Callable[[Path], None] = lambda folder: None) -> Path:
    return rendered(*made, made[0].parent / "cache", begin, lambda done, of: None)


def files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_an_exam_is_rendered_once_and_told_clip_by_clip(exam: Made) -> None:
    told, begun = list[tuple[int, int]](), list[Path]()
    cache = exam[0].parent / "cache"
    folder = rendered(*exam, cache, begun.append, lambda done, of: told.append((done, of)))
    assert begun == [folder]
    assert told == [(1, 3)] * 3
    assert files(folder) == ["images/0.npy", "images/1.npy", "images/2.npy", "suite.lock", "suite.toml"]
    (exam[1] / "__main__.py").write_text("raise SystemExit('never again')")
    assert rendered(*exam, cache, begun.append, lambda done, of: None) == folder
    assert begun == [folder]
    assert [p.name for p in cache.iterdir()] == [folder.name]


@pytest.mark.parametrize("harm", ["changed", "gone", "another lock"])
def test_an_exam_that_does_not_hold_any_more_is_rendered_anew(exam: Made, harm: str) -> None:
    folder = render(exam)
    victim = folder / ("suite.lock" if harm == "another lock" else "images/1.npy")
    if harm == "gone":
        victim.unlink()
    else:
        victim.write_bytes(b"other bytes")
    begun = list[Path]()
    assert render(exam, begun.append) == folder
    assert begun == [folder]
    assert (folder / "images" / "1.npy").read_bytes() == bytes([1]) * 1000
    assert (folder / "suite.lock").read_bytes() == (exam[0] / "suite.lock").read_bytes()
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]


def test_what_is_not_the_frozen_exam_is_refused_and_not_kept(exam: Made) -> None:
    (exam[1] / "__main__.py").write_text(RENDERER.replace("bytes([k])", "bytes([k + 1])"))
    with pytest.raises(LockError, match="3 changed"):
        render(exam)
    assert list((exam[0].parent / "cache").iterdir()) == []


def test_a_renderer_that_fails_is_told_by_its_last_words(exam: Made) -> None:
    broken = RENDERER + "\nimport errno\nraise OSError(errno.ENOSPC, 'No space left on device')\n"
    (exam[1] / "__main__.py").write_text(broken)
    with pytest.raises(SuiteError, match="No space left on device") as error:
        render(exam)
    assert "make room" in error.value.mend
    assert list((exam[0].parent / "cache").iterdir()) == []


def test_a_cache_that_cannot_be_written_is_said_to_be(exam: Made) -> None:
    (exam[0].parent / "cache").write_text("a file where the folder should be")
    with pytest.raises(UsageError, match="cannot be written") as error:
        render(exam)
    assert "XDG_CACHE_HOME" in error.value.mend


def test_two_that_render_at_once_end_with_the_same_exam(exam: Made) -> None:
    cache = exam[0].parent / "cache"
    # The second begins while the first renders, and is done before it.
    second = list[Path]()

    def beside(done: int, of: int) -> None:
        if not second:
            second.append(render(exam))

    first = rendered(*exam, cache, lambda folder: None, beside)
    assert second == [first]
    assert [p.name for p in cache.iterdir()] == [first.name]


#: Does not end, nor does what it starts; a line is told when the next one begins, so it halts after its second.
SLOW = RENDERER.replace("flush=True)", "flush=True)\n    k and time.sleep(600)").replace(
    "from pathlib import Path",
    """from pathlib import Path
from subprocess import Popen
Popen([sys.executable, "-c", "import time; time.sleep(600)", sys.argv[2]])""",
)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_kill_leaves_no_exam_behind(exam: Made, how: signal.Signals) -> None:
    (exam[1] / "__main__.py").write_text(SLOW)
    cache = exam[0].parent / "cache"
    code = (
        "import sys\nfrom pathlib import Path\nfrom gate.cli.exam import rendered\n"
        "exam, renderer, cache = map(Path, sys.argv[1:])\n"
        "rendered(exam, renderer, cache, lambda folder: None, lambda done, of: print(done, flush=True))"
    )
    command = [sys.executable, "-c", code, str(exam[0]), str(exam[1]), str(cache)]
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True, "preexec_fn": heed_interrupts}
    with subprocess.Popen(command, cwd=ROOT, **quiet) as gate:
        assert gate.stdout is not None
        assert gate.stdout.readline() == "1\n"
        try:
            until(lambda: len(those_with(f"{cache}/.rendering-")) == 2, "the renderer, and what it starts")
        finally:
            gate.send_signal(how)
    mine = those_with(str(cache))
    kill(*mine)
    if how == signal.SIGINT:
        assert (mine, list(cache.iterdir())) == ([], [])
        return
    # Nobody can tidy up after a kill: the next one does, as soon as that cannot be somebody who renders still.
    (abandoned,) = cache.iterdir()
    (exam[1] / "__main__.py").write_text(RENDERER)
    folder = render(exam)
    assert set(cache.iterdir()) == {abandoned, folder}
    long_ago = time.time() - ABANDONED_S - 1
    os.utime(abandoned, (long_ago, long_ago))
    shutil.rmtree(folder)
    assert render(exam) == folder
    assert list(cache.iterdir()) == [folder]


def test_the_wheel_carries_all_that_rendering_takes(tmp_path: Path) -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    carried = {s: t for s, t in wheel["force-include"].items() if s.startswith(("examples/", "suites/"))}
    assert all(target == f"gate/embedded/{source}" for source, target in carried.items())
    assert {"suite.toml", "suite.lock", "policy.toml", "bundles"} == {
        Path(source).name for source in carried if source.startswith("suites/roadworld/")
    }
    for source in carried:
        if source.startswith("examples/"):
            (tmp_path / source).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / source, tmp_path / source)
    code = "from pathlib import Path\nfrom roadworld import __main__\n__main__.write_frames(Path(%r), 1, clips=1)"
    command = [sys.executable, "-c", code % str(tmp_path / "out")]
    subprocess.run(command, cwd=tmp_path / "examples", check=True)
    frozen = read_lock(ROOT / "suites" / "roadworld" / "suite.lock")
    assert {*files(tmp_path / "out"), "suite.toml"} == {name for name, _ in frozen.files}
