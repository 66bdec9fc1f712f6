"""The command line: exit codes, what each command prints and writes, Ctrl-C, pipes, and how little `--help` loads."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
import uuid
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from gate.bundle import read_bundle
from gate.cli.progress import progress_bar
from gate.cli.streams import tell
from gate.run import read_evidence, run
from gate.suite import read_suite
from tests.support.processes import heed_interrupts, those_with, until
from tests.support.programs import Programs
from tests.support.tiny import (
    Ended,
    World,
    gate,
    make_world,
    predict,
    program_bundle,
    refused,
    write_bundle,
    write_suite,
)

COMPARE = ("compare", "old", "new", "--suite", "suite", "--out", "out")
HEAVY = ("torch", "sklearn", "pandas", "great_expectations", "pyarrow", "numpy", "jinja2")


def start(*words: str, cwd: Path, program: tuple[str, ...] = ("-m", "gate"), **more: Any) -> subprocess.Popen[str]:
    """`gate WORDS` as a process of its own."""
    command = [sys.executable, *program, *words]
    return subprocess.Popen(command, cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ended]:
    """A comparison with the real contract worker, in `out`; the candidate lost much of one head."""
    folder = tmp_path_factory.mktemp("compared")
    world = make_world()
    write_suite(folder / "suite", world)
    write_bundle(folder / "old", world, predict(world), version="1")
    worse = predict(world, seed=2) | {"edge": predict(world, noise=3.0, seed=2)["edge"]}
    write_bundle(folder / "new", world, worse, version="2")
    return folder, gate(*COMPARE, cwd=folder)


def without_time(text: str) -> str:
    found, count = re.subn(r'"time": "[^"]+"', '"time": ""', text)
    assert count == 1
    return found


# compare


def test_a_proven_loss_is_no_go_and_all_reports_are_written(compared: tuple[Path, Ended]) -> None:
    folder, ended = compared
    assert ended.code == 1, ended.err
    assert "NO-GO" in ended.out
    assert "cam.edge" in ended.out
    assert ended.made == (
        "out/flips.parquet", "out/gate.sarif", "out/junit.xml", "out/report.html", "out/signoff.html", "out/summary.md",
        "out/thresholds/candidate/tiny/tiny-2.toml", "out/thresholds/incumbent/tiny/tiny-1.toml", "out/verdict.json",
    )  # fmt: skip
    verdict = json.loads((folder / "out" / "verdict.json").read_text())
    assert verdict["decision"] == "NO-GO"
    assert all(contract["success"] for contract in verdict["contracts"])
    assert {c["name"].partition(".")[0] for c in verdict["contracts"]} == {"labels", "splits", "candidate", "incumbent"}


def test_json_prints_exactly_verdict_json_and_the_same_inputs_give_the_same_bytes(compared: tuple[Path, Ended]) -> None:
    folder, _ = compared
    first = (folder / "out" / "verdict.json").read_text()
    process = start(*COMPARE[:-1], "again", "--json", cwd=folder)
    out, err = process.communicate()
    assert process.returncode == 1, err
    assert out == (folder / "again" / "verdict.json").read_text()
    assert without_time(out) == without_time(first)
    for name in ("tiny-1.toml", "tiny-2.toml"):
        side = "incumbent" if name == "tiny-1.toml" else "candidate"
        made = [folder / where / "thresholds" / side / "tiny" / name for where in ("out", "again")]
        assert made[0].read_bytes() == made[1].read_bytes()


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_the_decision_is_the_exit_code_even_when_the_reader_goes_away(releases: Path, more: tuple[str, ...]) -> None:
    code = (
        "from contextlib import nullcontext\nfrom gate.cli import main\nfrom gate.run import contracts\n"
        "contracts.contract_worker = lambda root, ahead: nullcontext(lambda: None)\n"
        "contracts.check_all = lambda *given: ()\nmain()\n"
    )
    with start(*COMPARE, *more, cwd=releases, program=("-c", code)) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        err = process.stderr.read()
    assert process.returncode == 0, err
    assert "Broken" not in err
    assert "Traceback" not in err
    assert json.loads((releases / "out" / "verdict.json").read_text())["decision"] == "GO"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
@pytest.mark.parametrize("streams", ["2>/dev/full", "2>&-", ">&- 2>&-", ">/dev/full"])
def test_streams_that_take_nothing_change_no_exit_code(releases: Path, streams: str) -> None:
    line = f"{sys.executable} -m gate run old --suite suite --store none --out out {streams}"
    code = subprocess.run(line, shell=True, cwd=releases, check=False).returncode
    assert code == (4 if streams == ">/dev/full" else 0)
    assert (releases / "out" / "evidence.safetensors").is_file()


def test_a_reader_that_goes_away_makes_no_decision(releases: Path) -> None:
    for words, code in ((("suite", "show", "suite"), 0), (("store", "stat", "absent"), 2)):
        with start(*words, cwd=releases) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.close()
            process.stderr.close()
        assert process.returncode == code


def test_the_pace_begins_anew_where_frames_were_told_too_early(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar() as progress:
        for done in (400, -300, 100, 200):
            progress("run", done, 400)
    assert "-" not in capsys.readouterr().err


def test_no_message_is_a_command_to_a_runner(capsys: pytest.CaptureFixture[str]) -> None:
    tell("gate: x\n  ::error::forged\x1b[2J\u202e\n##[error]forged")
    said = capsys.readouterr().err
    assert said == "gate: x\n  \\x3a:error::forged\\x1b[2J\\u202e\n\\x23#[error]forged\n"


def test_progress_goes_to_stderr_and_results_to_stdout(compared: tuple[Path, Ended]) -> None:
    _, ended = compared
    assert "incumbent: 144 of 144 frames" in ended.err
    assert "candidate: 144 of 144 frames" in ended.err
    assert "frames, " not in ended.out
    assert "\x1b" not in ended.out + ended.err


def test_the_incumbent_is_also_called_baseline(releases: Path, without_contract_worker: None) -> None:
    options = ("--baseline", "old", "--candidate", "new", "--suite", "suite", "--out", "out")
    assert gate("compare", *options, cwd=releases).code == 0
    assert json.loads((releases / "out" / "verdict.json").read_text())["incumbent"]["version"] == "1"


def test_the_only_suite_and_the_policy_beside_it_are_found(releases: Path, without_contract_worker: None) -> None:
    (releases / "suites").mkdir()
    (releases / "suite").rename(releases / "suites" / "tiny")
    ended = gate("compare", "old", "new", cwd=releases)
    assert ended.code == 0, ended.err
    assert "reports/new/verdict.json" in ended.made


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("compare", "old"), ("compare needs two bundles", "to mend: gate compare INCUMBENT CANDIDATE")),
        ((*COMPARE, "--engine", "ray"), ("--engine ray is not in this version", "to mend: use --engine local")),
        ((*COMPARE, "--device", "tpu"), ("--device tpu is not in this version", "to mend: use --device cpu or cuda")),
        (("compare", "old", "new"), ("there is no suite in suites/", "to mend: name one: --suite DIR")),
    ],
)
def test_a_command_line_that_cannot_be_meant_ends_with_two(
    releases: Path, words: tuple[str, ...], said: tuple[str, ...]
) -> None:
    refused(gate(*words, cwd=releases), 2, *said)


def test_without_a_policy_the_next_step_is_told(releases: Path) -> None:
    (releases / "suite" / "policy.toml").unlink()
    refused(gate(*COMPARE, cwd=releases), 2, "there is no policy.toml", "to mend: name one: --policy FILE")


@pytest.mark.parametrize("words", [("comprae",), ("compare", "--siute", "suite"), ("suite", "freze")])
def test_an_unknown_command_or_option_ends_with_two(tmp_path: Path, words: tuple[str, ...]) -> None:
    ended = gate(*words, cwd=tmp_path)
    assert (ended.code, ended.out) == (2, "")
    assert "No such" in ended.err


# Ctrl-C


#: `gate compare` that halts and says so: before the candidate runs, or while a contract worker that stopped is asked.
HALTING = """\
import signal, sys, threading, time
from gate import pipeline
from gate.cli import main
from gate.run import contracts

asked, check = threading.Event(), contracts.check_all

def stopped(worker, *given):
    worker.send_signal(signal.SIGSTOP)
    asked.set()
    return check(worker, *given)

def halt(*given):
    if when == "checked":
        asked.wait()
    print("halted", file=sys.stderr, flush=True)
    while True:
        time.sleep(0.1)

when = sys.argv.pop()
contracts.check_all = stopped
setattr(pipeline, {"run": "changed_answers", "checked": "layout_of"}[when], halt)
main()
"""


@pytest.mark.parametrize("when", ["run", "checked"])
def test_ctrl_c_ends_with_130_writes_nothing_and_leaves_no_process_behind(releases: Path, when: str) -> None:
    mark = f"GATE_TEST_{uuid.uuid4().hex}"
    before = sorted(releases.rglob("*"))
    # Its own session: the signal is for it alone.
    alone = {"env": {**os.environ, mark: "1"}, "start_new_session": True, "preexec_fn": heed_interrupts}
    process = start(*COMPARE, when, cwd=releases, program=("-c", HALTING), **alone)
    assert process.stderr is not None
    while (line := process.stderr.readline()) != "halted\n":
        assert line, "it has ended"
    if Path("/proc/self/environ").exists():
        until(lambda: len(those_with(mark, "environ")) == 2, "gate and its contract worker")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 130, err
    assert "interrupted" in err
    assert "Traceback" not in err
    assert out == ""
    assert sorted(set(releases.rglob("*")) - set(before)) == [releases / "out"]
    assert those_with(mark, "environ") == []


@pytest.mark.parametrize(
    "words", [("run", "new", "--suite", "suite", "--out", "out"), ("calibrate", "new", "--suite", "suite")]
)
def test_ctrl_c_in_the_parts_ends_with_130_too(
    releases: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    def pressed(*given: object, **named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gate.run.session.Session.say", pressed)
    ended = gate(*words, cwd=releases)
    assert ended.code == 130
    assert "interrupted: nothing was written" in ended.err
    assert (ended.made, ended.changed) == ((), ())


# What is loaded


def test_it_says_which_version_it_is(tmp_path: Path) -> None:
    said = gate("--version", cwd=tmp_path)
    assert (said.code, said.out) == (0, f"gate {version('vision-release-gate')}\n")


@pytest.mark.parametrize("words", [["--help"], ["compare", "--help"], ["suite", "--help"]])
def test_help_loads_none_of_the_heavy_libraries(words: list[str]) -> None:
    code = (
        "import sys\nfrom gate.cli import main\nsys.argv = ['gate', *sys.argv[1:]]\n"
        "try:\n    main()\nfinally:\n    print('LOADED', *sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout
    loaded = done.stderr.split("LOADED ")[1].split()
    assert "typer" in loaded
    assert [name for name in HEAVY if name in loaded] == []


def test_a_comparison_of_recorded_predictions_does_not_load_torch(compared: tuple[Path, Ended]) -> None:
    folder, _ = compared
    code = (
        "import sys\nfrom gate.run import run\nfrom gate.suite import read_suite\nfrom gate.bundle import read_bundle\n"
        "from pathlib import Path\nimport gate.pipeline\n"
        "run(read_bundle(Path('old')), read_suite(Path('suite')))\nprint('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


# run


def test_run_writes_evidence_that_reads_back(releases: Path) -> None:
    ended = gate("run", "new", "--suite", "suite", "--out", "out", cwd=releases)
    assert ended.code == 0, ended.err
    assert ended.made == ("out/evidence.safetensors",)
    assert "4 predictions on 144 frames, 0 broken" in ended.out
    suite, bundle = read_suite(releases / "suite"), read_bundle(releases / "new")
    _, answers = read_evidence(releases / "out" / "evidence.safetensors", suite, [bundle])
    assert answers.evidence == run(bundle, suite).evidence
    assert sorted(answers.evidence) == ["cam.edge", "cam.range", "cam.sign"]
    first = (releases / "out" / "evidence.safetensors").read_bytes()
    assert gate("run", "new", "--suite", "suite", "--out", "out", cwd=releases).code == 0
    assert (releases / "out" / "evidence.safetensors").read_bytes() == first


def test_run_names_what_is_broken_or_missing_and_ends_with_four(releases: Path, world: World) -> None:
    outputs = predict(world)
    outputs["sign"][7, 1] = float("nan")
    del outputs["edge"]
    write_bundle(releases / "new", world, outputs)
    ended = gate("run", "new", "--suite", "suite", "--out", "out", cwd=releases)
    assert ended.code == 4
    assert "cam.edge: the bundle has no such head" in ended.out
    assert "cam.sign[yield]: NaN or infinity in 1 of 144 frames, the first is f0007" in ended.out
    assert "1 broken" in ended.out


# calibrate


def test_calibrate_writes_the_thresholds_that_compare_then_uses_for_the_incumbent(
    releases: Path, without_contract_worker: None
) -> None:
    ended = gate("calibrate", "old", "--suite", "suite", cwd=releases)
    assert ended.code == 0, ended.err
    assert ended.made == ("thresholds/tiny/tiny-1.toml",)
    released = releases / "thresholds" / "tiny" / "tiny-1.toml"
    text = released.read_text()
    table = tomllib.loads(text)
    assert table["schema"] == "gate.thresholds/1"
    assert list(table["thresholds"]) == ["cam.edge", "cam.sign[stop]", "cam.sign[yield]"]

    moved = table["thresholds"]["cam.edge"]["threshold"] + 1.5
    released.write_text(re.sub(r'("cam.edge" = \{ threshold = )[^,]+', rf"\g<1>{moved!r}", text))
    assert gate(*COMPARE, cwd=releases).code in (0, 1, 3)
    cells = json.loads((releases / "out" / "verdict.json").read_text())["cells"]
    used = {c["prediction"]: c["threshold_incumbent"] for c in cells if c["metric"] == "f1" and c["slice"] == "all"}
    assert used["cam.edge"] == moved
    assert used["cam.sign[stop]"] == table["thresholds"]["cam.sign[stop]"]["threshold"]


@pytest.mark.parametrize("of", ["suite", "bundle"])
def test_thresholds_of_another_suite_or_bundle_are_refused(
    releases: Path, without_contract_worker: None, of: str
) -> None:
    assert gate("calibrate", "old", "--suite", "suite", cwd=releases).code == 0
    released = releases / "thresholds" / "tiny" / "tiny-1.toml"
    released.write_text(re.sub(rf'{of} = "sha256:....', f'{of} = "sha256:0000', released.read_text()))
    words = (
        "thresholds/tiny/tiny-1.toml",
        f"these thresholds belong to another {of}, sha256:0000",
        "to mend: run `gate calibrate`",
    )
    refused(gate(*COMPARE, cwd=releases), 2, *words)


def test_thresholds_in_a_format_of_another_version_are_refused(releases: Path, without_contract_worker: None) -> None:
    assert gate("calibrate", "old", "--suite", "suite", cwd=releases).code == 0
    released = releases / "thresholds" / "tiny" / "tiny-1.toml"
    released.write_text(released.read_text().replace("gate.thresholds/1", "gate.thresholds/2"))
    words = ("thresholds/tiny/tiny-1.toml", "this is not a gate.thresholds/1 file", "to mend: run `gate calibrate`")
    refused(gate(*COMPARE, cwd=releases), 2, *words)


@pytest.mark.parametrize("text", ["", "schema = 1", 'schema = "gate.thresholds/1"\n', "[thresholds\n"])
def test_a_thresholds_file_that_is_none_is_refused(releases: Path, without_contract_worker: None, text: str) -> None:
    released = releases / "thresholds" / "tiny" / "tiny-1.toml"
    released.parent.mkdir(parents=True)
    released.write_text(text)
    refused(gate(*COMPARE, cwd=releases), 2, "thresholds/tiny/tiny-1.toml", "to mend:")


# suite


def test_a_suite_is_frozen_checked_and_shown(tmp_path: Path, world: World) -> None:
    write_suite(tmp_path / "suite", world, freeze=False)
    refused(
        gate("suite", "check", "suite", cwd=tmp_path),
        4,
        "this suite is not frozen",
        "to mend: run `gate suite freeze suite`",
    )
    frozen = gate("suite", "freeze", "suite", cwd=tmp_path)
    assert frozen.code == 0, frozen.err
    assert frozen.made == ("suite/suite.lock",)
    assert re.search(r"tiny 1: [1-9]\d* contracts hold, 3 files locked\nsha256:[0-9a-f]{64}\n$", frozen.out)
    digest = frozen.out.splitlines()[-1]

    checked = gate("suite", "check", "suite", cwd=tmp_path)
    assert (checked.code, checked.made, checked.changed) == (0, (), ())
    assert checked.out.endswith(f"contracts hold\n{digest}\n")

    shown = gate("suite", "show", "suite", cwd=tmp_path)
    assert shown.code == 0
    assert digest in shown.out
    assert "calibration: 48 frames in 12 clips" in shown.out
    assert "validation: 96 frames in 24 clips" in shown.out
    assert "light=night" in shown.out
    assert "cam.range" in shown.out

    again = gate("suite", "freeze", "suite", cwd=tmp_path)
    assert (again.made, again.changed) == ((), ())


def test_a_suite_whose_own_expectations_do_not_hold_is_not_frozen(tmp_path: Path, world: World) -> None:
    write_suite(tmp_path / "suite", world, freeze=False)
    expectation = {"type": "expect_column_values_to_be_between", "kwargs": {"column": "range", "max_value": 20}}
    (tmp_path / "suite" / "expectations.json").write_text(json.dumps({"expectations": [expectation]}))
    refused(
        gate("suite", "freeze", "suite", cwd=tmp_path),
        4,
        "1 data contracts do not hold",
        "frames.csv, column range",
        "rows fail",
    )


def test_a_folder_that_is_no_suite_is_refused(tmp_path: Path) -> None:
    for command in ("freeze", "check", "show"):
        refused(
            gate("suite", command, "here", cwd=tmp_path),
            4,
            "here: no suite.toml in this folder",
            "to mend: name the folder",
        )


# bundle


def test_a_bundle_is_locked_checked_and_shown(pictures: Path, programs: Programs) -> None:
    program_bundle(pictures / "new", programs.honest)
    open_ = gate("bundle", "check", "new", cwd=pictures)
    assert (open_.code, open_.made) == (0, ())
    assert "not locked, programs are plain" in open_.out
    locked = gate("bundle", "lock", "new", cwd=pictures)
    assert (locked.code, locked.made) == (0, ("new/bundle.lock",))
    digest = locked.out.splitlines()[-1]
    assert open_.out.splitlines()[-1] == digest
    checked = gate("bundle", "check", "new", cwd=pictures)
    assert checked.code == 0
    assert "as locked, programs are plain" in checked.out
    shown = gate("bundle", "show", "new", cwd=pictures)
    assert shown.code == 0, shown.err
    for text in (digest, "cam      1 ", "input image", "parameters: 1 in", "cam.sign  (2)"):
        assert text in shown.out


def test_a_changed_bundle_may_be_locked_anew_and_not_checked(releases: Path) -> None:
    assert gate("bundle", "lock", "new", cwd=releases).code == 0
    shutil.copy(releases / "old" / "cam.parquet", releases / "new" / "cam.parquet")
    for command in ("check", "show"):
        refused(
            gate("bundle", command, "new", cwd=releases), 4, "new/bundle.lock", "1 changed (cam.parquet)", "to mend:"
        )
    assert gate("bundle", "lock", "new", cwd=releases).code == 0
    assert gate("bundle", "check", "new", cwd=releases).code == 0


def test_a_lock_of_another_bundle_is_refused(releases: Path) -> None:
    assert gate("bundle", "lock", "old", cwd=releases).code == 0
    shutil.copy(releases / "old" / "bundle.lock", releases / "new" / "bundle.lock")
    what = "this lock is of the bundle tiny 1, not of the bundle tiny 2"
    refused(gate("bundle", "check", "new", cwd=releases), 4, "new/bundle.lock", what, "to mend:")


# init


def test_init_makes_the_scaffold_and_keeps_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text("# mine\n")
    ended = gate("init", cwd=tmp_path)
    assert ended.code == 0
    workflows = (".github/workflows/gate-publish.yml", ".github/workflows/gate.yml")
    assert ended.made == (*workflows, "release.toml", "reports/.gitignore", "suites/.gitkeep", "thresholds/.gitkeep")
    assert ended.changed == ()
    assert "kept policy.toml" in ended.out
    again = gate("init", cwd=tmp_path)
    assert (again.code, again.made, again.changed) == (0, (), ())
    assert "made" not in again.out


def test_the_policy_of_the_scaffold_judges(releases: Path, without_contract_worker: None) -> None:
    assert gate("init", cwd=releases).code == 0
    rule = '\n[[rules]]\nmatch = "cam.range"\nmetrics = ["mae"]\nmargin = 0.5\n'
    (releases / "policy.toml").write_text((releases / "policy.toml").read_text() + rule)
    ended = gate(*COMPARE, cwd=releases)
    assert ended.code in (0, 3), ended.err
