"""What the evidence of programs survives: kills at any instant, a full disk, a damaged store, other runs beside it.

Recorded predictions have the same tests in `test_store.py`; here there are a nursery and workers that may die too.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from pathlib import Path

import pytest

from gate.pipeline import compare_bundles
from gate.report.verdict import verdict_json
from gate.run import Store
from gate.run.store import check
from tests.support.processes import below, gone, kill
from tests.support.rogues import Rogues, exported, logits
from tests.support.stores import failing, full, opened, packs, short_spans, start, told
from tests.support.tiny import program_bundle, without_worker

#: Runs killed at random instants; GATE_KILLS=50 for a long trial.
KILLS = int(os.environ.get("GATE_KILLS", "4"))
pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")


@pytest.fixture(autouse=True)
def _short_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    short_spans(monkeypatch)
    without_worker(monkeypatch)


@pytest.fixture(scope="module")
def rivals(_pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `suite` and two bundles of programs that answer differently."""
    folder = tmp_path_factory.mktemp("rivals")
    (folder / "suite").symlink_to(_pictures / "suite")
    program_bundle(folder / "old", Rogues().honest)
    program_bundle(folder / "new", exported(lambda self, image: logits(image) * 0.5 + image[:, 2, :2, 0]))
    return folder


def verdict(folder: Path, store: Store | None) -> str:
    suite = folder / "suite"
    files = {"suite": suite, "policy": suite / "policy.toml", "thresholds": folder / "thresholds"}
    return verdict_json(compare_bundles(folder / "old", folder / "new", **files, store=store).decision, time="now")


@pytest.fixture(scope="module")
def plain(rivals: Path) -> str:
    """The verdict without a store."""
    with pytest.MonkeyPatch.context() as patch:
        short_spans(patch)
        without_worker(patch)
        return verdict(rivals, None)


@pytest.fixture(scope="module")
def whole(rivals: Path, plain: str, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Packs of a run that nobody disturbed, relative to their store."""
    root = tmp_path_factory.mktemp("whole") / "store"
    with pytest.MonkeyPatch.context() as patch:
        short_spans(patch)
        without_worker(patch)
        assert verdict(rivals, opened(root)) == plain
    return [path.relative_to(root) for path in packs(root)]


def as_undisturbed(rivals: Path, root: Path, plain: str, whole: list[Path]) -> list[str]:
    """A clean run with this store gives the same bytes and leaves the same packs; answers what it said."""
    lines, tell = told()
    assert verdict(rivals, opened(root, tell)) == plain
    assert [path.relative_to(root) for path in packs(root)] == whole
    assert check(opened(root)) == (len(whole), 0)
    return lines


def test_after_sigkill_at_a_random_instant_the_verdict_has_the_same_bytes(
    rivals: Path, plain: str, whole: list[Path], tmp_path: Path
) -> None:
    """Of gate alone, of gate and its nursery, or of a worker, which gate outlives."""
    assert len(whole) == 12
    child, begun = start(rivals, tmp_path / "timed", "old", "new"), time.monotonic()
    out, err = child.communicate()
    assert child.returncode == 0, out + err
    lasts, rng, halfway = time.monotonic() - begun, random.Random(3), 0
    for k in range(KILLS):
        root = tmp_path / f"store-{k}"
        child = start(rivals, root, "old", "new")
        time.sleep(rng.uniform(0, lasts))
        started = below(child.pid)
        match k % 3:
            case 0:
                os.killpg(child.pid, signal.SIGKILL)
            case 1:
                kill(child.pid, *started)
            case _:
                kill(*started[1:])
        child.communicate()
        gone(*started)
        halfway += 0 < len(packs(root)) < len(whole)
        assert as_undisturbed(rivals, root, plain, whole) == []
    print(f"{halfway} of {KILLS} kills fell between two spans")


def test_two_runs_of_programs_at_once_share_a_store(
    rivals: Path, plain: str, whole: list[Path], tmp_path: Path
) -> None:
    children = [start(rivals, tmp_path / "store", *names) for names in (("old", "new"), ("new", "old"))]
    for child in children:
        out, err = child.communicate()
        assert child.returncode == 0, err
        assert "warning" not in out + err
    assert as_undisturbed(rivals, tmp_path / "store", plain, whole) == []


def test_damaged_evidence_of_programs_is_run_again(rivals: Path, plain: str, whole: list[Path], tmp_path: Path) -> None:
    root = tmp_path / "store"
    verdict(rivals, opened(root))
    torn, flipped, one, other, *_ = packs(root)
    torn.write_bytes(torn.read_bytes()[:-7])
    flipped.write_bytes(flipped.read_bytes()[:-3] + b"\x01" + flipped.read_bytes()[-2:])
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)
    lines = as_undisturbed(rivals, root, plain, whole)
    assert len(lines) == 4
    assert all("quarantine" in line and "run again" in line for line in lines)


@pytest.mark.parametrize("at", [0, 9, 30])
def test_a_disk_that_is_full_costs_programs_nothing_but_the_store(
    rivals: Path, plain: str, whole: list[Path], tmp_path: Path, at: int
) -> None:
    root = tmp_path / "store"
    lines, tell = told()
    store = opened(root, tell)
    with failing(at, full()):
        assert verdict(rivals, store) == plain
    assert {"cannot be written" in line for line in lines} == {True}
    with contextlib.suppress(FileNotFoundError):
        assert not list(root.rglob(".*.safetensors.*"))
    assert as_undisturbed(rivals, root, plain, whole) == []
