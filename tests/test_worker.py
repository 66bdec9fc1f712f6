"""Worker processes: what they may do, what becomes of them, and that what they say is not believed unseen."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import typing
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.bundle import read_bundle
from gate.errors import GateError
from gate.report.frames import frames_view
from gate.report.moved import Chosen, moved_frames
from gate.run import Run, nursery, process, run, session
from gate.run.nursery import _remembered
from gate.run.process import FallenError, Worker, ask, end, start, tell
from gate.run.replay import replay
from gate.run.wire import EndedError, receive, send
from gate.suite import read_suite
from tests.support.processes import PATIENCE_S, gone, heed_interrupts, kill, ours
from tests.support.rogues import Rogues
from tests.support.tiny import IMAGE, POLICY, Ended, World, gate, refreeze, sign_only, with_images, without_worker

BATCHES = 2
TWO = sign_only() + sign_only()[sign_only().index("[[heads]]") :].replace("cam.", "rear.") + IMAGE


@pytest.fixture(scope="session")
def rogues() -> Rogues:
    return Rogues()


@pytest.fixture(scope="module")
def exam(small_world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A suite with the heads `cam.sign` and `rear.sign` over the same pictures."""
    folder = with_images(tmp_path_factory.mktemp("exam") / "suite", small_world, freeze=False)
    (folder / "suite.toml").write_text(TWO)
    (folder / "policy.toml").write_text(POLICY.partition('\n[[rules]]\nmatch = "cam')[0])
    refreeze(folder)
    return folder


@pytest.fixture
def stage(exam: Path, rogues: Rogues, tmp_path: Path) -> Path:
    """A folder with that suite and an honest bundle `old`."""
    shutil.copytree(exam, tmp_path / "suite")
    bundle(tmp_path / "old", {"cam": rogues.honest, "rear": rogues.honest})
    return tmp_path


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks have four seconds."""
    monkeypatch.setattr(process, "LIMITS", replace(process.LIMITS, network_s=4))


def bundle(folder: Path, programs: Mapping[str, bytes], wiring: Mapping[str, str] | None = None) -> Path:
    """A bundle of one network a program; wiring: what stands in its table besides the program."""
    folder.mkdir(exist_ok=True)
    text = '[bundle]\nname = "tiny"\nversion = "1"\n'
    for name, program in programs.items():
        (folder / f"{name}.pt2").write_bytes(program)
        keys = (wiring or {}).get(name, 'inputs = { image = "image" }\nheads = ["sign"]')
        text += f'\n[networks.{name}]\nprogram = "{name}.pt2"\n{keys}\n'
    (folder / "bundle.toml").write_text(text)
    return folder


def ran(stage: Path, name: str = "old") -> Run:
    return run(read_bundle(stage / name), read_suite(stage / "suite"))


def only_cam_is_broken(stage: Path, words: str, name: str = "new") -> Run:
    """The heads of `cam` are broken for a reason with these words, and `rear` is judged as it is in `old`."""
    found, honest = ran(stage, name), ran(stage)
    assert set(found.faults()) == {"cam.sign[stop]", "cam.sign[yield]"}
    assert all(f"network cam: {words}" in why for why in found.faults().values()), found.faults()
    assert found.evidence["rear.sign"] == honest.evidence["rear.sign"]
    return found


def compared(stage: Path) -> tuple[Ended, dict[str, Any]]:
    with pytest.MonkeyPatch.context() as patch:
        without_worker(patch)
        ended = gate("compare", "old", "new", "--suite", "suite", "--out", "out", cwd=stage)
    return ended, json.loads((stage / "out" / "verdict.json").read_text())


def facts(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_text(errors="replace")


@pytest.fixture
def worker() -> Iterator[Worker]:
    found = start()
    yield found
    end(found)


def ready(worker: Worker) -> None:
    tell(worker, {"do": "round", "lengths": [], "fresh": True})


# What a worker may do

linux = pytest.mark.skipif(not Path("/proc/self/limits").exists(), reason="reads /proc")


@linux
def test_no_secret_of_the_parent_reaches_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    process._stop_nursery()
    session.end_workers()
    for name in ("GITHUB_TOKEN", "ACTIONS_RUNTIME_TOKEN", "SSH_AUTH_SOCK", "AWS_SECRET_ACCESS_KEY", "HOME"):
        monkeypatch.setenv(name, "hidden-away")
    found = start()
    try:
        for pid in (found.pid, found.nursery):
            environment = facts(pid, "environ")
            assert "PATH=" in environment
            assert "hidden-away" not in environment
            assert not {line.partition("=")[0] for line in environment.split("\0")} & {"GITHUB_TOKEN", "HOME"}
    finally:
        end(found)


@linux
def test_a_worker_writes_no_file_dumps_no_core_and_speaks_to_no_terminal(worker: Worker) -> None:
    ready(worker)
    limits = {line[:25].strip(): line[25:].split()[:2] for line in facts(worker.pid, "limits").splitlines()}
    assert limits["Max file size"] == ["0", "0"]
    assert limits["Max core file size"] == ["0", "0"]
    assert limits["Max open files"] == ["64", "64"]
    assert limits["Max address space"] == [str(process.LIMITS.memory)] * 2
    for stream in (0, 1, 2):
        assert os.readlink(f"/proc/{worker.pid}/fd/{stream}") == "/dev/null"
    folder = Path(os.readlink(f"/proc/{worker.pid}/cwd"))
    assert folder.name.startswith("gate-worker-")
    assert list(folder.iterdir()) == []
    end(worker)
    process._stop_nursery()
    assert not folder.exists()


@linux
def test_a_worker_has_no_network_where_the_system_allows_that(worker: Worker) -> None:
    ready(worker)
    allowed = subprocess.run(["unshare", "-Un", "true"], capture_output=True, check=False).returncode == 0
    if not allowed:
        pytest.skip("this system lets no process leave the network")
    assert os.readlink(f"/proc/{worker.pid}/ns/net") != os.readlink("/proc/self/ns/net")
    devices = facts(worker.pid, "net/dev").splitlines()[2:]
    assert [line.split(":")[0].strip() for line in devices] == ["lo"]


@linux
def test_a_worker_holds_nothing_open_but_its_connection(worker: Worker) -> None:
    ready(worker)
    held = {int(fd.name): os.readlink(fd) for fd in Path(f"/proc/{worker.pid}/fd").iterdir()}
    others = [place for fd, place in held.items() if fd > 2 and not place.startswith("socket:")]
    assert [p for p in others if not p.startswith(("anon_inode:", "/dev/"))] == []
    assert sum(place.startswith("socket:") for place in held.values()) == 1


# Programs that misbehave


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("hungry", "the program failed: "),
        ("raising", "the program failed: select(): index 99 out of range"),
        ("doubled", "an output of shape (32, 2) for 16 frames"),
        ("counting", "asked the same twice, it answers differently"),
        ("drawing", "asked the same twice, it answers differently"),
    ],
)
def test_a_program_that_fails_breaks_its_own_heads_only(stage: Path, rogues: Rogues, kind: str, words: str) -> None:
    bundle(stage / "new", {"cam": getattr(rogues, kind), "rear": rogues.honest})
    only_cam_is_broken(stage, words)


@pytest.mark.parametrize("kind", ["normalising", "sharing", "placed"])
def test_a_program_whose_answer_to_a_frame_hangs_on_its_neighbours_is_broken(
    stage: Path, rogues: Rogues, kind: str
) -> None:
    bundle(stage / "new", {"cam": getattr(rogues, kind), "rear": rogues.honest})
    only_cam_is_broken(stage, "its answer to a frame hangs on the frames beside it (head sign)")


def test_a_program_that_rounds_differently_beside_other_frames_is_not(stage: Path, rogues: Rogues) -> None:
    bundle(stage / "new", {"cam": rogues.rounding, "rear": rogues.honest})
    assert ran(stage, "new").faults() == {}


@pytest.mark.parametrize("kind", ["endless", "looping"])
@pytest.mark.usefixtures("_impatient")
def test_a_program_that_never_ends_is_ended(stage: Path, rogues: Rogues, kind: str) -> None:
    bundle(stage / "new", {"cam": getattr(rogues, kind), "rear": rogues.honest})
    only_cam_is_broken(stage, "it gave no answer within 4 s")
    ended, told = compared(stage)
    assert ended.code == 1, ended.err
    broken = {c["prediction"] for c in told["cells"] if c["verdict"] == "broken"}
    assert broken == {"cam.sign[stop]", "cam.sign[yield]"}
    assert all("it gave no answer within 4 s" in c["reason"] for c in told["cells"] if c["verdict"] == "broken")


def test_an_answer_that_is_no_number_breaks_the_head_and_no_other(stage: Path, rogues: Rogues) -> None:
    bundle(stage / "new", {"cam": rogues.not_a_number, "rear": rogues.honest})
    found = ran(stage, "new")
    assert set(found.faults()) == {"cam.sign[stop]", "cam.sign[yield]"}
    assert all(why.startswith("NaN or infinity in 32 of 32 frames") for why in found.faults().values())


def test_an_answer_that_changes_its_shape_from_batch_to_batch_breaks_its_head(stage: Path, rogues: Rogues) -> None:
    bundle(stage / "new", {"cam": rogues.of_changing_shape, "rear": rogues.honest})
    found = ran(stage, "new")
    assert set(found.faults()) == {"cam.sign[stop]", "cam.sign[yield]"}
    assert all("(3,) a frame" in why or "(2,) a frame" in why for why in found.faults().values()), found.faults()


def test_a_program_that_writes_into_its_input_changes_nobody_elses(stage: Path, rogues: Rogues) -> None:
    bundle(stage / "new", {"cam": rogues.writing, "rear": rogues.honest})
    found, honest = ran(stage, "new"), ran(stage)
    assert found.faults() == {}
    assert found.evidence == honest.evidence


def test_a_state_that_grows_breaks_its_network(stage: Path, rogues: Rogues) -> None:
    keys = (
        'inputs = { image = "image", memory = "cam.memory" }\nheads = ["sign", "memory"]\nstate = { memory = "zeros" }'
    )
    bundle(stage / "new", {"cam": rogues.growing, "rear": rogues.honest}, {"cam": keys})
    only_cam_is_broken(stage, "its state memory changes its shape from (4,) to (5,)")


def test_a_network_that_is_given_another_shape_than_it_takes_is_broken(stage: Path, rogues: Rogues) -> None:
    keys = 'inputs = { feature = "rear.sign" }\nheads = ["sign"]'
    bundle(stage / "new", {"rear": rogues.honest, "cam": rogues.narrow}, {"cam": keys})
    only_cam_is_broken(stage, "input feature takes frames of shape (3); rear.sign gives (2)")


def test_what_reads_a_network_that_failed_is_broken_with_its_reason(stage: Path, rogues: Rogues) -> None:
    keys = 'inputs = { image = "rear.sign" }\nheads = ["sign"]'
    bundle(stage / "new", {"rear": rogues.raising, "cam": rogues.honest}, {"cam": keys})
    faults = ran(stage, "new").faults()
    assert "network cam: it reads rear, of which: the program failed: select(): index 99" in faults["cam.sign[stop]"]
    assert "network rear: the program failed: select(): index 99" in faults["rear.sign[stop]"]


def test_a_command_says_which_heads_a_failing_program_broke(stage: Path, rogues: Rogues) -> None:
    bundle(stage / "new", {"cam": rogues.hungry, "rear": rogues.honest})
    ended, told = compared(stage)
    assert (ended.code, told["decision"]) == (1, "NO-GO")
    assert "Traceback" not in ended.err
    judged = {c["prediction"]: c["verdict"] for c in told["cells"] if c["slice"] == "all"}
    assert judged["cam.sign[stop]"] == judged["cam.sign[yield]"] == "broken"
    assert "broken" not in (judged["rear.sign[stop]"], judged["rear.sign[yield]"])


# Interruptions


def test_an_interrupted_question_leaves_no_answer_behind(stage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = ran(stage)
    session.end_workers()
    real = process.receive

    def interrupted(*given: Any) -> Any:
        monkeypatch.setattr(process, "receive", real)
        raise KeyboardInterrupt  # while the answer of the first load is on its way

    monkeypatch.setattr(process, "receive", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ran(stage)
    again = ran(stage)
    assert again.evidence == honest.evidence
    assert again.faults() == {}


def test_an_interrupted_start_of_a_worker_leaves_no_answer_behind(stage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = ran(stage)
    session.end_workers()
    real = process._line

    def interrupted(*given: Any) -> Any:
        monkeypatch.setattr(process, "_line", real)
        raise KeyboardInterrupt

    monkeypatch.setattr(process, "_line", interrupted)
    with pytest.raises(KeyboardInterrupt):
        start()
    assert ran(stage).evidence == honest.evidence


# Workers that die


@pytest.fixture
def killer(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[int], bool], int], list[int]]:
    """Sends a signal to the worker just before the batches for which `when` holds; answers their numbers."""

    def install(when: Callable[[int], bool], which: int = signal.SIGKILL) -> list[int]:
        asked = list[int]()

        def hit(worker: Worker, about: Mapping[str, Any], *given: Any) -> Any:
            if about["do"] == "batch" and worker.pid:
                asked.append(len(asked))
                if when(asked[-1]):
                    os.kill(worker.pid, which)
            return ask(worker, about, *given)

        monkeypatch.setattr(session, "ask", hit)
        return asked

    return install


def test_a_worker_that_is_killed_once_is_replaced_and_the_answer_is_the_same(
    stage: Path, killer: Callable[..., list[int]]
) -> None:
    asked = killer(lambda n: False)
    honest, requests = ran(stage), len(asked)
    for at in range(requests):
        asked = killer(lambda n, at=at: n == at)
        found = ran(stage)
        assert len(asked) == at + 1 + BATCHES, "batch by batch, once one died"
        assert found.evidence == honest.evidence
        assert found.faults() == {}


def test_workers_that_die_whatever_they_run_end_the_run_in_bounded_time(
    stage: Path, killer: Callable[..., list[int]]
) -> None:
    asked = killer(lambda n: True)
    with pytest.raises(GateError, match="worker processes fail: its process ended while it ran"):
        ran(stage)
    assert len(asked) == 2


@pytest.fixture
def dying(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Nothing more is heard of workers that said that they run the network `cam`; the list holds each time."""
    deaths, last = list[str](), list[str]()
    real = process.receive

    def hear(source: socket.socket, seconds: float | None = None) -> Any:
        if "cam" in last:
            deaths.append("cam")
            last.clear()
            raise EndedError("as if it had died")
        head, arrays = real(source, seconds)
        last[:] = head.get("at", [])
        return head, arrays

    monkeypatch.setattr(process, "receive", hear)
    return deaths


def test_a_network_that_takes_its_process_down_twice_is_broken_and_others_are_judged(
    stage: Path, rogues: Rogues, dying: list[str]
) -> None:
    bundle(stage / "new", {"cam": rogues.honest, "rear": rogues.honest})
    found = ran(stage, "new")
    assert len(dying) == 2
    assert set(found.faults()) == {"cam.sign[stop]", "cam.sign[yield]"}
    assert "network cam: its process ended while it ran (" in found.faults()["cam.sign[stop]"]
    assert found.faults()["cam.sign[stop]"].endswith("short of memory: then run again with more")
    assert found.summaries["rear.sign"].answered == 32


def test_the_frames_of_a_report_outlive_a_worker(stage: Path) -> None:
    suite, made = read_suite(stage / "suite"), read_bundle(stage / "old")
    clips = range(len(suite.frames.clips))

    def answers() -> list[bytes]:
        return [side["cam.sign"].outputs[""].tobytes() for _, (side,) in replay([made], suite, ["cam.sign"], clips)]

    session.end_workers()  # those of other tests, which may have died with their nursery
    whole = answers()
    assert len(whole) > 1
    kill(*(worker.pid for worker in session._kept.values()))
    assert answers() == whole
    told = []
    for rows, (side,) in replay([made], suite, ["cam.sign"], clips):
        told.append(side["cam.sign"].outputs[""].tobytes())
        if len(told) == 1:
            kill(*(worker.pid for worker in session._kept.values()))
        assert len(rows) == len(side["cam.sign"].rows)
    assert told == whole


def test_frames_that_a_report_lacks_since_a_worker_died_twice_are_told_on_the_page_and_beside_it(
    stage: Path, rogues: Rogues, dying: list[str]
) -> None:
    manifest = bundle(stage / "new", {"cam": rogues.honest, "rear": rogues.honest}) / "bundle.toml"
    manifest.write_text(manifest.read_text().replace('version = "1"', 'version = "2"'))
    suite, old, new = read_suite(stage / "suite"), read_bundle(stage / "old"), read_bundle(stage / "new")
    wanted = [Chosen(p, None, None, (0, 1), 1.0) for p in ("cam.sign[stop]", "rear.sign[stop]")]
    (cam, rear), _ = moved_frames(old, new, suite, wanted, limit=4)
    assert len(dying) >= 2
    assert "network cam: its process ended while it ran (" in cam.lost
    assert (cam.frames, cam.pictures, rear.lost) == (0, (), "")
    assert rear.frames > 0
    told = [frames_view(m, set()).told for m in (cam, rear)]
    assert [" Not all frames could be looked at again: tiny " in t for t in told] == [True, False]


@pytest.mark.usefixtures("_impatient")
def test_a_worker_that_stops_is_not_waited_for(stage: Path, killer: Callable[..., list[int]]) -> None:
    """It takes no more input either: what is sent to it does not fit into the connection."""
    killer(lambda n: True, signal.SIGSTOP)
    with pytest.raises(GateError, match="worker processes fail: it gave no answer within 4 s"):
        ran(stage)


def test_a_large_request_to_a_worker_that_stopped_is_given_up(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    ready(worker)
    monkeypatch.setattr(process, "LIMITS", replace(process.LIMITS, network_s=4))
    os.kill(worker.pid, signal.SIGSTOP)
    with pytest.raises(FallenError, match="it gave no answer within 4 s"):
        ask(worker, {"do": "batch", "batches": 1}, [{"image": np.zeros(1 << 24, np.float32)}], [1], {"cam.sign"})


@linux
def test_with_the_nursery_its_workers_die_and_the_next_run_has_a_new_one(stage: Path) -> None:
    session.end_workers()  # those of other tests may have another one
    honest = ran(stage)
    (found,) = session._kept.values()
    os.kill(found.nursery, signal.SIGKILL)
    gone(found.pid)
    again = ran(stage)
    assert again.evidence == honest.evidence
    assert process._nursery[0].process.pid != found.nursery


RUN = """\
import sys
from pathlib import Path
from gate.bundle import read_bundle
from gate.cli import main
from gate.run import session
real = session.Session.say
def say(self, given):
    print(self._worker.pid, self._worker.nursery, flush=True)
    return real(self, given)
session.Session.say = say
sys.argv = ["gate", "run", "new", "--suite", "suite", "--out", "evidence"]
main()
"""


@pytest.fixture
def hanging(stage: Path, rogues: Rogues) -> Iterator[tuple[subprocess.Popen[str], tuple[int, int]]]:
    """`gate run` of a bundle that never ends, in a process group of its own; and its worker and nursery."""
    bundle(stage / "new", {"cam": rogues.endless, "rear": rogues.honest})
    words = [sys.executable, "-c", RUN]
    child = subprocess.Popen(
        words,
        cwd=stage,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=heed_interrupts,
    )
    assert child.stdout is not None
    line = child.stdout.readline()
    assert line, child.communicate()[1]
    time.sleep(0.5)  # now it adds up
    worker, nursery = map(int, line.split())
    yield child, (worker, nursery)
    child.kill()
    child.communicate()


Hanging = tuple[subprocess.Popen[str], tuple[int, int]]


@linux
def test_when_gate_is_killed_nothing_of_it_is_left(hanging: Hanging) -> None:
    child, pids = hanging
    assert set(pids) <= ours().keys()
    folder = Path(os.readlink(f"/proc/{pids[0]}/cwd"))
    os.killpg(child.pid, signal.SIGKILL)
    gone(*pids)
    assert not folder.exists()


@linux
def test_when_gate_and_its_nursery_are_killed_nothing_of_it_is_left(hanging: Hanging) -> None:
    child, (worker, nursery) = hanging
    child.kill()
    os.kill(nursery, signal.SIGKILL)
    gone(worker, nursery)


@linux
def test_an_interrupt_ends_a_run_at_once_and_is_no_verdict(hanging: Hanging) -> None:
    child, pids = hanging
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=PATIENCE_S)
    assert child.returncode == 130
    assert "Traceback" not in err
    gone(*pids)


# Workers that lie


@pytest.fixture
def liar() -> Iterator[tuple[Worker, socket.socket]]:
    """A worker that is no process, and its end of the connection."""
    ours, theirs = socket.socketpair()
    yield Worker(ours, 0, 0), theirs
    ours.close()
    theirs.close()


Liar = tuple[Worker, socket.socket]
KNOWN = {"cam.sign", "cam.lane", "rear.sign"}
GOOD = {"network": "cam", "batch": 0, "ran": ["cam.sign"], "types": {"cam.sign": "float32"}}
FAILED = {"network": "cam", "batch": 0, "failed": "x", "arrays": []}


def frame(head: Any, body: bytes = b"") -> bytes:
    text = head if isinstance(head, bytes) else json.dumps(head).encode()
    return struct.pack(">I", len(text)) + text + body


def array(name: Any = "cam.sign", kind: Any = "float32", shape: Any = (2, 3)) -> list[Any]:
    return [name, kind, shape]


def heard(liar: Liar, *frames: bytes) -> Any:
    """What is made of these bytes, after which the other side is gone."""
    worker, peer = liar
    peer.sendall(b"".join(frames))
    peer.shutdown(socket.SHUT_WR)
    (said,) = ask(worker, {"do": "batch"}, [{}], [2], KNOWN)
    return said


SIX, DONE = bytes(24), frame({"done": True, "arrays": []})


def test_an_answer_as_it_should_be_is_taken(liar: Liar) -> None:
    said = heard(liar, frame({"at": ["cam"], "arrays": []}), frame(GOOD | {"arrays": [array()]}, SIX), DONE)
    assert said.outputs["cam.sign"][0].shape == (2, 3)
    assert (said.failed, said.ran) == ({}, ["cam.sign"])


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([b"\xff\xff\xff\xff"], id="a gigantic header"),
        pytest.param([struct.pack(">I", 1 << 20) + b"{"], id="half a header"),
        pytest.param([frame(b"\x80\x04."), DONE], id="a pickle"),
        pytest.param([frame(b"[" * 10_000)], id="deep"),
        pytest.param([frame(b'{"arrays": [], "arrays": []}')], id="a key twice"),
        pytest.param([frame(b'{"arrays": [], "done": NaN}')], id="NaN"),
        pytest.param([frame(b'{"arrays": [["x", "float32", [%s]]]}' % (b"9" * 10_000))], id="10,000 digits"),
        pytest.param([frame([]), DONE], id="a list"),
        pytest.param([frame({"done": True})], id="no arrays"),
        pytest.param([frame(GOOD | {"arrays": [array(shape=[2, -3])]})], id="a negative size"),
        pytest.param([frame(GOOD | {"arrays": [array(shape=[2, 1.5])]})], id="a fraction"),
        pytest.param([frame(GOOD | {"arrays": [array(shape=[2, True])]}, SIX)], id="true"),
        pytest.param([frame(GOOD | {"arrays": [array(shape="23")]}, SIX)], id="text as a shape"),
        pytest.param([frame(GOOD | {"arrays": [array(shape=[1 << 20, 1 << 20])]})], id="a terabyte"),
        pytest.param([frame(GOOD | {"arrays": [array(shape=[0, 10**30])]})], id="nothing of an endless kind"),
        pytest.param([frame(GOOD | {"arrays": [array(shape=[1] * 100)]}, bytes(4))], id="a hundred dimensions"),
        pytest.param([frame(GOOD | {"arrays": [array(kind="object")]}, SIX), DONE], id="objects"),
        pytest.param([frame(GOOD | {"arrays": [array(kind=["float32"])]}, SIX), DONE], id="a type that is none"),
        pytest.param([frame(GOOD | {"arrays": [array()]}, SIX[:-1])], id="too few bytes"),
        pytest.param([frame(GOOD | {"arrays": [array()]}, SIX + b"more"), DONE], id="too many bytes"),
        pytest.param([frame(GOOD | {"arrays": [array()]}, SIX)], id="no end"),
        pytest.param([], id="silence"),
    ],
)
def test_what_cannot_be_read_counts_as_the_end_of_the_process(liar: Liar, frames: list[bytes]) -> None:
    with pytest.raises(FallenError, match="its process ended") as caught:
        heard(liar, *frames)
    assert not caught.value.hung
    assert caught.value.network == ""


@pytest.mark.parametrize(
    ("head", "body"),
    [
        pytest.param(FAILED | {"network": "moon"}, b"", id="an unknown network fails"),
        pytest.param({"at": ["moon"], "arrays": []}, b"", id="an unknown network runs"),
        pytest.param({"at": [["cam"]], "arrays": []}, b"", id="a list runs"),
        pytest.param({"at": "cam", "arrays": []}, b"", id="text runs"),
        pytest.param(GOOD | {"batch": 1, "arrays": []}, b"", id="a batch too many"),
        pytest.param(GOOD | {"batch": -1, "arrays": []}, b"", id="a batch before the first"),
        pytest.param(GOOD | {"batch": True, "arrays": []}, b"", id="true for a batch"),
        pytest.param(GOOD | {"batch": [0], "arrays": []}, b"", id="a list for a batch"),
        pytest.param(GOOD | {"network": 7, "arrays": []}, b"", id="a number answers"),
        pytest.param(GOOD | {"arrays": [array("cam.other")]}, SIX, id="another head"),
        pytest.param(GOOD | {"ran": ["cam.other"], "arrays": []}, b"", id="another head ran"),
        pytest.param(GOOD | {"ran": "cam.sign", "arrays": []}, b"", id="text for a list"),
        pytest.param(GOOD | {"types": [], "arrays": []}, b"", id="a list for a table"),
        pytest.param(GOOD | {"arrays": [array(kind="uint8")]}, bytes(6), id="bytes"),
        pytest.param(GOOD | {"arrays": [array(shape=[3, 2])]}, SIX, id="other frames"),
        pytest.param(GOOD | {"arrays": [array(shape=[])]}, bytes(4), id="no frames"),
        pytest.param(GOOD | {"types": {}, "arrays": [array()]}, SIX, id="no type"),
        pytest.param(GOOD | {"types": {"cam.sign": "<script>"}, "arrays": [array()]}, SIX, id="a type with signs"),
        pytest.param(GOOD | {"types": {"cam.sign": "a\n"}, "arrays": [array()]}, SIX, id="a type of two lines"),
    ],
)
def test_what_was_not_asked_is_not_taken(liar: Liar, head: Any, body: bytes) -> None:
    with pytest.raises(FallenError, match="answered with something that was not asked") as caught:
        heard(liar, frame({"at": ["rear"], "arrays": []}), frame(head, body), DONE)
    assert caught.value.hung, "no second try"
    assert caught.value.network in ("cam", "rear")


@pytest.mark.parametrize(
    ("frames", "last", "beside"),
    [
        ([{"at": ["cam"]}, {"at": ["cam", "rear"]}], "rear", {"cam"}),
        ([{"at": ["cam", "rear"]}, GOOD], "rear", set()),
        ([{"at": ["cam", "cam"]}, GOOD], "cam", set()),  # on another batch it runs still
        ([{"at": ["cam", "rear"]}, GOOD, {"at": ["rear", "cam"]}], "cam", {"rear"}),
        ([{"at": ["cam"]}, GOOD], "cam", set()),  # it may have been what came after
        ([{"at": ["cam", "cam"]}], "cam", {"cam"}),  # slow, perhaps, since it runs twice
        ([], "", set()),
    ],
)
def test_networks_that_a_process_was_busy_with_are_those_that_have_not_answered(
    liar: Liar, frames: list[dict[str, Any]], last: str, beside: set[str]
) -> None:
    with pytest.raises(FallenError) as caught:
        heard(liar, *(frame({"arrays": []} | head) for head in frames))
    assert (caught.value.network, caught.value.beside) == (last, beside)


def test_batches_that_are_asked_together_may_not_all_be_as_large_as_any(
    liar: Liar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "MAX_ARRAYS", 30)  # an answer has 24 bytes
    answers = [frame(GOOD | {"batch": k, "arrays": [array()]}, SIX) for k in range(3)]
    worker, peer = liar
    for _ in range(2):
        peer.sendall(b"".join((*answers, DONE)))
    assert len(ask(worker, {"do": "batch"}, [{}] * 3, [2] * 3, KNOWN, 3)) == 3
    with pytest.raises(FallenError, match="it answers 3 batches with 0 MiB") as caught:
        ask(worker, {"do": "batch"}, [{}] * 3, [2] * 3, KNOWN, 2)
    assert (caught.value.network, caught.value.hung) == ("cam", True)


def test_of_networks_that_ran_side_by_side_none_is_blamed_before_it_is_known_which() -> None:
    deaths, broken = Counter[str](), dict[str, str]()
    for hung in (True, False):
        session.blame(FallenError("rear", "it fell", hung, {"cam"}), deaths, broken)
        assert (broken, bool(deaths)) == ({}, True)
    for blamed in (set[str](), {"cam"}):  # by itself it has a second try, like any
        session.blame(FallenError("cam", "it fell", False), deaths, broken)
        assert set(broken) == blamed


def test_what_a_network_answers_to_batches_after_one_that_it_failed_on_does_not_count(liar: Liar) -> None:
    worker, peer = liar
    later = GOOD | {"batch": 2, "arrays": [array()]}
    peer.sendall(b"".join((frame(later, SIX), frame(GOOD | {"arrays": [array()]}, SIX))))
    peer.sendall(b"".join((frame(FAILED | {"batch": 1}), frame(FAILED | {"batch": 2, "failed": "y"}), DONE)))
    said = ask(worker, {"do": "batch"}, [{}] * 3, [2] * 3, KNOWN)
    assert [set(one.outputs) for one in said] == [set(one.ran) for one in said] == [{"cam.sign"}, set(), set()]
    assert [one.failed for one in said] == [{}, {"cam": "x"}, {"cam": "x"}], "the reason is the first"


@pytest.mark.parametrize("head", [{"at": ["cam"]}, GOOD, FAILED, {}, {"at": []}])
def test_a_worker_that_talks_without_end_is_cut_short(liar: Liar, head: Mapping[str, Any]) -> None:
    worker, peer = liar
    flood = threading.Thread(target=lambda: _flood(peer, frame({**head, "arrays": []})), daemon=True)
    flood.start()
    with pytest.raises(FallenError, match="answered with something that was not asked"):
        ask(worker, {"do": "batch"}, [{}], [2], KNOWN)
    worker.connection.close()
    flood.join()


def _flood(peer: socket.socket, data: bytes) -> None:
    try:
        while True:
            peer.sendall(data * 100)
    except OSError:
        return


def test_reasons_are_shown_in_one_short_line(liar: Liar) -> None:
    said = heard(liar, frame(FAILED | {"failed": "\x1b[31m\n" + "x" * 9000, "arrays": []}), DONE)
    assert said.failed["cam"].startswith("\\x1b[31m\\nxxx")
    assert len(said.failed["cam"]) == 400


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | st.binary(max_size=100).map(lambda data: frame(data)))
def test_no_bytes_at_all_get_past_the_reader(data: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(FallenError):
            ask(Worker(ours, 0, 0), {"do": "batch"}, [{}], [2], KNOWN)


KEYS = st.sampled_from(["network", "batch", "failed", "ran", "types", "at", "done", "arrays"])
WORDS = st.text(max_size=5) | st.sampled_from(["cam", "cam.sign", "float32"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=6,
)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(KEYS, VALUES))
def test_no_words_at_all_get_past_the_reader(head: dict[str, Any]) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(frame({"arrays": []} | head))
        theirs.shutdown(socket.SHUT_WR)
        try:
            (said,) = ask(Worker(ours, 0, 0), {"do": "batch"}, [{}], [2], KNOWN)
        except FallenError as fallen:
            assert fallen.network in ("", "cam", "rear")  # noqa: PT017
        else:
            assert said.failed.keys() <= {"cam", "rear"}
            assert said.outputs == {}


ARRAYS = st.tuples(st.sampled_from(["float32", "uint8"]), st.lists(st.integers(0, 4), max_size=5))


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.sampled_from("abc"), ARRAYS), st.dictionaries(st.sampled_from("xyz"), st.integers() | WORDS))
def test_a_message_arrives_as_it_was_sent(arrays: dict[str, tuple[str, list[int]]], head: dict[str, Any]) -> None:
    given = {name: np.arange(np.prod(shape), dtype=kind).reshape(shape) for name, (kind, shape) in arrays.items()}
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sender = threading.Thread(target=send, args=(theirs, head, given))
        sender.start()
        told, found = receive(ours, 10)
        sender.join()
    assert told == head
    assert {n: (a.dtype, a.shape, a.tobytes()) for n, a in found.items()} == {
        n: (a.dtype, a.shape, a.tobytes()) for n, a in given.items()
    }


def test_a_message_that_is_too_large_is_refused_by_what_it_says_first(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        send(theirs, {}, {"a": np.zeros(100, np.float32), "b": np.zeros(1, np.uint8)})
        monkeypatch.setattr(np, "empty", pytest.fail)
        with pytest.raises(EndedError, match="arrays of a wrong size"):
            receive(ours, 10, 400)


def test_types_that_are_remembered_are_those_of_typing() -> None:
    from torch._export.serde import schema

    names = vars(schema)
    classes = [c for c in names.values() if isinstance(c, type) and "__annotations__" in vars(c)]
    assert len(classes) > 20
    remembered = _remembered(typing.get_type_hints)
    for _ in range(2):
        for c in classes:
            assert remembered(c, globalns=names) == typing.get_type_hints(c, globalns=names)
    remembered(classes[0], globalns=names).clear()
    assert remembered(classes[0], globalns=names) == typing.get_type_hints(classes[0], globalns=names)

    Here = type("Here", (), {"__annotations__": {"there": "Named"}})
    assert remembered(Here, globalns={"Named": int}) == {"there": int}
    assert remembered(Here, globalns={"Named": str}) == {"there": str}
    assert remembered(Here, localns={"Named": bytes}) == {"there": bytes}


def test_where_no_temporary_folder_is_writable_is_told_with_the_way_to_mend_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(**given: object) -> str:
        raise FileNotFoundError("no usable temporary directory")

    ours_, theirs = socket.socketpair()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["nursery", str(theirs.detach())])
    monkeypatch.setattr(tempfile, "mkdtemp", full)
    monkeypatch.setattr(nursery, "_loaded", lambda: {"ready": True})
    with ours_:
        nursery.main()
        assert json.loads(ours_.recv(4096)) == {
            "failed": "no temporary folder is writable",
            "mend": "set TMPDIR to a writable folder",
        }


def test_a_nursery_that_is_told_to_end_takes_workers_and_folder_with_it(stage: Path) -> None:
    ran(stage, "old")
    (at_work,) = process._nursery
    folder = Path(os.readlink(f"/proc/{at_work.process.pid}/cwd"))
    workers = [worker.pid for worker in session._kept.values()]
    assert folder.is_dir()
    os.kill(at_work.process.pid, signal.SIGTERM)
    at_work.process.wait(PATIENCE_S)
    assert not folder.exists()
    gone(*workers)
    assert ran(stage, "old").faults() == {}
