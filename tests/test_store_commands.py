"""`--store`, $GATE_STORE, and `gate store`: where evidence is kept, what is said of it, and what is never touched."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gate.cli.store import _day
from gate.run.store import MARKER
from tests.support.stores import packs
from tests.support.tiny import gate, refused

RUN = ("run", "old", "--suite", "suite", "--export", "out")


def aged(root: Path, seconds: float) -> None:
    for path in root.rglob("*.safetensors*"):
        os.utime(path, (time.time() - seconds,) * 2)


def test_a_store_is_made_where_it_is_wanted_and_none_turns_it_off(
    releases: Path, store_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert gate(*RUN, "--store", "none", cwd=releases).code == 0
    assert not store_folder.exists()
    assert "heads from the store" not in gate(*RUN, cwd=releases).err
    assert len(packs(store_folder)) == 1
    assert "run: 3 of 3 heads from the store\n" in gate(*RUN, cwd=releases).err
    ended = gate(*RUN, "--store", "mine", cwd=releases)
    assert "heads from the store" not in ended.err
    assert f"mine/{MARKER}" in ended.made
    monkeypatch.delenv("GATE_STORE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(releases / "caches"))
    assert f"caches/gate/{MARKER}" in gate(*RUN, cwd=releases).made
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(releases / "home"))
    assert f"home/.cache/gate/{MARKER}" in gate(*RUN, cwd=releases).made


def test_a_foreign_folder_is_refused_when_named_and_goes_unused_when_not(
    releases: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (releases / "gate").mkdir()
    (releases / "gate" / "notes.txt").write_text("mine")
    words = ("gate: gate: this folder is no evidence store", "notes.txt", "to mend: name an empty or a new folder")
    ended = gate(*RUN, "--store", "gate", cwd=releases)
    assert ended.code == 2
    assert all(word in ended.err for word in words)
    assert (ended.made, ended.changed) == ((), ())
    monkeypatch.setenv("GATE_STORE", "gate")
    assert gate(*RUN, cwd=releases).code == 2
    monkeypatch.delenv("GATE_STORE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(releases))
    ended = gate(*RUN, cwd=releases)
    assert ended.code == 0
    assert ended.err.count("warning: no evidence is kept: ") == 1
    assert ended.made == ("out",)
    for command in ("stat", "gc", "verify"):
        refused(gate("store", command, "suite", cwd=releases), 2, "this folder is no evidence store", MARKER)
        refused(gate("store", command, "absent", cwd=releases), 2, "this folder is no evidence store", MARKER)


def test_a_limit_on_the_size_of_files_ends_the_keeping_and_not_the_run(releases: Path, store_folder: Path) -> None:
    """The system itself refuses the second half of a pack; the thresholds, smaller, are written."""
    code = (
        "import resource\nfrom gate.cli import main\nresource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))\nmain()\n"
    )
    command = [sys.executable, "-c", code, "calibrate", "old", "--suite", "suite"]
    done = subprocess.run(command, cwd=releases, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("warning: ") == 1
    assert f"the evidence store {store_folder} cannot be written (File too large)" in done.stderr
    assert "Traceback" not in done.stderr
    assert [p for p in store_folder.rglob("*") if p.is_file()] == [store_folder / MARKER]
    assert "heads from the store" not in gate(*RUN, cwd=releases).err
    assert "run: 3 of 3 heads from the store\n" in gate(*RUN, cwd=releases).err


def test_the_commands_tell_mend_and_tidy_a_store(releases: Path, store_folder: Path) -> None:
    assert gate("run", "old", "--suite", "suite", "--out", "out", cwd=releases).code == 0
    assert gate("run", "new", "--suite", "suite", "--out", "out", cwd=releases).code == 0
    said = gate("store", "stat", cwd=releases)
    assert said.code == 0
    assert (
        f"{store_folder}: 0.0 MB of at most 10.0 GB\n2 packs for 1 pair of suite and runtime\nlast used: 20" in said.out
    )
    said = gate("store", "verify", cwd=releases)
    assert (said.code, said.out) == (0, f"{store_folder}: 2 packs, 0 damaged\n")

    first, second = packs(store_folder)
    first.write_bytes(second.read_bytes())
    said = gate("store", "verify", str(store_folder), cwd=releases)
    assert (said.code, said.out) == (4, f"{store_folder}: 2 packs, 1 damaged\n")
    assert f"warning: {first}: this is the evidence of something else; it was moved to" in said.err
    assert "1 damaged, in quarantine\n" in gate("store", "stat", cwd=releases).out

    (second.parent / f".{'a' * 64}.safetensors.half").write_bytes(b"half")
    assert "1 half-written by runs that were killed" in gate("store", "stat", cwd=releases).out
    assert gate("store", "gc", cwd=releases).out == f"{store_folder}: 0 files removed, 0.0 MB\n"
    aged(store_folder, 7200)
    assert gate("store", "gc", cwd=releases).out == f"{store_folder}: 2 files removed, 0.0 MB\n"
    assert packs(store_folder) == [second]
    text = (store_folder / MARKER).read_text()
    (store_folder / MARKER).write_text(text.replace("limit_gb = 10.0", "limit_gb = 0.0"))
    assert gate("store", "gc", cwd=releases).out.startswith(f"{store_folder}: 1 file removed")
    assert packs(store_folder) == []
    (store_folder / MARKER).write_text(text.replace("limit_gb = 10.0", "limit_gb = -1.0"))
    refused(gate("store", "gc", cwd=releases), 2, "store.toml", "limit_gb is negative")


def test_two_places_for_the_evidence_are_refused(releases: Path) -> None:
    refused(gate(*RUN, "--out", "folder", cwd=releases), 2, "two places", "--export FILE or --out DIR")


def test_a_store_where_nothing_can_be_is_refused_when_named_and_goes_unused_when_not(
    releases: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused(gate(*RUN, "--store", "n" * 300, cwd=releases), 2, "an evidence store cannot be made there")
    for name in ("GATE_STORE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)

    def nowhere() -> Path:
        raise RuntimeError

    monkeypatch.setattr(Path, "home", nowhere)
    ended = gate(*RUN, cwd=releases)
    assert (ended.code, ended.made) == (0, ("out",))
    assert "warning: no evidence is kept: this user has no home folder; set HOME" in ended.err


def test_odd_times_and_limits_are_no_faults_of_gate(releases: Path, store_folder: Path) -> None:
    assert gate(*RUN, cwd=releases).code == 0
    assert (_day(3e11), _day(-1.0)) == ("9999-12-31T23:59+00:00", "1970-01-01T00:00+00:00")
    (store_folder / MARKER).write_text('schema = "gate.store/1"\nlimit_gb = 1e300\n')
    refused(gate("store", "stat", cwd=releases), 2, "limit_gb is above 1,000,000,000")
