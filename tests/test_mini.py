"""The exam mini: as frozen, as its generator makes it, and what the demo says of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from examples.mini import make_suite, world
from gate.bundle import read_bundle
from gate.suite import read_suite
from tests.support.tiny import Ended, gate

MINI = Path(__file__).resolve().parents[1] / "suites" / "mini"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ended]:
    """`gate demo` with this exam in place of roadworld, which takes minutes; frames are "rendered" by copying."""
    folder = tmp_path_factory.mktemp("demo")
    exam, renderer = folder / "suites/roadworld", folder / "examples/roadworld"
    for name in ("suite.toml", "suite.lock", "policy.toml"):
        exam.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(MINI / name, exam / name)
    for name, role in (("incumbent", "incumbent"), ("damaged", "candidate")):
        shutil.copytree(MINI / "bundles" / name, exam / "bundles" / role)
    renderer.mkdir(parents=True)
    (renderer / "__main__.py").write_text(
        f"import shutil, sys\nshutil.copytree({str(MINI)!r}, sys.argv[2], dirs_exist_ok=True)\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gate.cli.paths.shipped", lambda source: folder / source)
        patch.setenv("XDG_CACHE_HOME", str(folder / "caches"))
        return folder, gate("demo", "--out", "out", cwd=folder)


def test_the_suite_and_its_bundles_are_as_locked_and_small() -> None:
    suite = read_suite(MINI)
    assert len(suite.frames.clips) == 90
    assert len({h.task for h in suite.heads}) == 7
    for name in ("incumbent", "damaged"):
        bundle = read_bundle(MINI / "bundles" / name)
        assert bundle.locked
        assert sum(p.stat().st_size for p in bundle.root.iterdir()) < 1_000_000


@pytest.mark.parametrize("number", [0, 89])
def test_the_generator_makes_the_pictures_and_truths_that_are_frozen(number: int) -> None:
    clip = world.make_clip(make_suite.SEED, number)
    rasters = np.load(MINI / "rasters.npz")
    grid = dict(zip(rasters["frame_id"].tolist(), rasters["drivable"], strict=True))
    for index in range(world.FRAMES):
        frame, name = make_suite.observe(clip, index), f"clip-{number:03d}-{index}"
        for pixels, file in (
            (frame.front, f"images/{name}.front.png"),
            (frame.rear, f"images/{name}.rear.png"),
            (frame.classes, f"labels/{name}.png"),
        ):
            # Pixels, not bytes: another zlib packs the same picture otherwise.
            with Image.open(MINI / file) as image:
                assert np.array_equal(np.asarray(image), pixels), file
        assert np.array_equal(grid[name], frame.drivable)


def test_the_demo_ends_with_0_and_says_what_compare_would_have_said(demo: tuple[Path, Ended]) -> None:
    folder, ended = demo
    assert ended.code == 0, ended.err
    assert "Rendering the exam once" in ended.err
    assert (folder / "caches" / "gate-exams").is_dir()
    assert "`gate compare` would have ended with exit code 1" in ended.err
    assert "report: out/report.html" in ended.out
    assert (folder / "out" / "report.html").is_file()


def test_the_demo_finds_the_damaged_head_and_nothing_else(demo: tuple[Path, Ended]) -> None:
    verdict = json.loads((demo[0] / "out" / "verdict.json").read_text())
    assert verdict["decision"] == "NO-GO"
    assert {c["prediction"] for c in verdict["cells"] if c["verdict"] == "regressed"} == {"front.drivable"}
    rear = [c for c in verdict["cells"] if c["network"] == "rear"]
    assert rear
    assert {c["impact"] for c in rear} == {"identical"}
    assert {c["verdict"] for c in rear} <= {"non-inferior", "not-measurable"}
