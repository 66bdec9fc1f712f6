"""A file is there whole or not at all: after a kill, on a full disk, and when a lock was torn all the same."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gate.atomic import write_bytes, write_text
from gate.errors import LockError, UsageError
from gate.lock import read_lock
from tests.support.tiny import gate, refused

COMPARE = ("compare", "old", "new", "--suite", "suite", "--out", "out")
#: A writer that halts at the named call, when half of the file or all of it is written.
WRITER = """
import os, sys, time
from pathlib import Path
from gate.atomic import write_bytes

def halt(*given):
    print("here", flush=True)
    time.sleep(600)

setattr(os, sys.argv[2], halt)
write_bytes(Path(sys.argv[1]), b"new" * 100_000)
"""


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_what_is_written_is_read_and_may_be_read_by_others(tmp_path: Path) -> None:
    file = tmp_path / "made" / "on" / "the way.txt"
    write_text(file, "über\n")
    assert file.read_bytes() == "über\n".encode()
    assert file.stat().st_mode & 0o777 == 0o644
    assert names(file.parent) == [file.name]


@pytest.mark.parametrize("halt", ["fsync", "replace"])
def test_a_kill_in_the_middle_of_a_write_leaves_the_old_file_whole(tmp_path: Path, halt: str) -> None:
    file = tmp_path / "verdict.json"
    write_bytes(file, b"old")
    with subprocess.Popen([sys.executable, "-c", WRITER, str(file), halt], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"here\n"
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert file.read_bytes() == b"old"
    write_bytes(file, b"newer")
    assert file.read_bytes() == b"newer"


def test_the_new_file_is_on_the_disk_before_it_takes_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (done.append("fsync"), fsync(handle)))
    monkeypatch.setattr(os, "replace", lambda old, new: (done.append("replace"), replace(old, new)))
    write_bytes(tmp_path / "file", b"data")
    assert done == ["fsync", "replace", "fsync"], "the data, the name, and the folder that holds the name"


@pytest.mark.parametrize("at", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_no_other_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    file = tmp_path / "suite.lock"
    write_bytes(file, b"old")

    def full(*given: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, at, full)
    with pytest.raises(UsageError) as error:
        write_bytes(file, b"new")
    assert (
        str(error.value) == f"{file}: cannot be written: No space left on device\n  to mend: choose a writable folder"
    )
    assert file.read_bytes() == b"old"
    assert names(tmp_path) == ["suite.lock"]


def test_ctrl_c_in_the_middle_of_a_write_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "suite.lock"
    write_bytes(file, b"old")

    def pressed(handle: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", pressed)
    with pytest.raises(KeyboardInterrupt):
        write_bytes(file, b"new")
    assert file.read_bytes() == b"old"
    assert names(tmp_path) == ["suite.lock"]


def test_a_limit_on_the_size_of_files_ends_a_command_with_one_message(releases: Path) -> None:
    """The system itself refuses the second half of a file."""
    evidence = releases / "out" / "evidence.safetensors"
    run = ("run", "new", "--suite", "suite", "--out", "out")
    assert gate(*run, cwd=releases).code == 0
    old = evidence.read_bytes()
    code = (
        "import resource, sys\nfrom gate.cli import main\nhalf = int(sys.argv.pop(1))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (half, half))\nmain()\n"
    )
    command = [sys.executable, "-c", code, str(len(old) // 2), *run]
    done = subprocess.run(command, cwd=releases, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "gate: out/evidence.safetensors: cannot be written: File too large" in done.stderr
    assert "to mend: " in done.stderr
    assert "Traceback" not in done.stderr
    assert evidence.read_bytes() == old
    assert names(evidence.parent) == ["evidence.safetensors"]


@pytest.mark.parametrize("which", ["report.html", "signoff.html", "gate.sarif", "verdict.json"])
def test_a_disk_that_fills_up_between_the_reports_leaves_no_verdict(
    releases: Path, without_contract_worker: None, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    assert gate(*COMPARE, cwd=releases).code == 0
    replace = os.replace

    def full(old: str, new: Path) -> None:
        if new.name == which:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(old, new)

    monkeypatch.setattr(os, "replace", full)
    ended = gate(*COMPARE, cwd=releases)
    assert ended.code == 2
    assert f"out/{which}: cannot be written: No space left on device" in ended.err
    assert ended.made == ()
    assert not (releases / "out" / "verdict.json").exists(), "an earlier verdict must not stand beside newer pages"


def test_a_lock_torn_at_any_byte_is_refused_with_the_next_step(releases: Path) -> None:
    lock = releases / "suite" / "suite.lock"
    whole = lock.read_bytes()
    for size in range(len(whole)):
        lock.write_bytes(whole[:size])
        with pytest.raises(LockError, match="to mend: restore it, or freeze again"):
            read_lock(lock)
    lock.write_bytes(whole)
    assert str(read_lock(lock)).encode() == whole


@pytest.mark.parametrize("line", ['name = "tiny"', 'version = "1"', 'kind = "suite"', 'schema = "gate.lock/1"'])
def test_a_lock_with_a_value_of_another_type_is_refused(releases: Path, line: str) -> None:
    lock = releases / "suite" / "suite.lock"
    text = lock.read_text()
    assert line in text
    lock.write_text(text.replace(line, line.partition("=")[0] + "= 3"))
    refused(gate("suite", "check", "suite", cwd=releases), 4, "suite/suite.lock", "this is not a", "to mend:")


def test_a_torn_lock_stops_a_comparison(releases: Path, without_contract_worker: None) -> None:
    lock = releases / "suite" / "suite.lock"
    lock.write_bytes(lock.read_bytes()[:-40])
    refused(
        gate(*COMPARE, cwd=releases), 4, "suite/suite.lock: this is not a lock", "to mend: restore it, or freeze again"
    )
