"""Cameras that may be absent: zeros for the program, and nothing judged that needs the camera."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gate.bundle import read_bundle
from gate.errors import ConfigError, LockError
from gate.run import Run, read_evidence, run, write_evidence
from gate.run.replay import replay
from gate.suite import open_suite, read_suite
from gate.table import by_score
from tests.support.rogues import exported
from tests.support.stores import opened
from tests.support.tiny import (
    POLICY,
    World,
    frame_table,
    gate,
    make_world,
    predict,
    program_bundle,
    refreeze,
    refused,
    sign_only,
    write_bundle,
)

LEFT = """
[inputs.left]
file = "left/{left}.png"
kind = "image"
shape = [3, 8, 8]
optional = true

[[heads]]
head = "cam.near"
task = "multilabel"
score = "sigmoid"
channels = ["stop", "yield"]
truth = { columns = "has_{channel}" }
requires = "left"

[[heads]]
head = "cam.mask"
task = "occupancy"
score = "sigmoid"
truth = { file = "masks/{frame_id}.png" }
requires = "left"
"""


@pytest.fixture(scope="module")
def seen() -> World:
    return make_world(calibration=4, validation=12, frames=4)


def absent(k: int) -> bool:
    """In every fifth frame there is no left camera: the column is empty, or the file is not there."""
    return k % 5 == 2


@pytest.fixture(scope="module")
def _cameras(seen: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cameras") / "suite"
    for name in ("left", "masks"):
        (folder / name).mkdir(parents=True)
    (folder / "suite.toml").write_text(sign_only() + LEFT)
    (folder / "policy.toml").write_text(POLICY.partition('\n[[rules]]\nmatch = "cam')[0])
    head, *rows = frame_table(seen).splitlines()
    named = [head + ",left"]
    for k, (row, name) in enumerate(zip(rows, seen.ids, strict=True)):
        named.append(f"{row},{'' if absent(k) and k % 2 else name}")
        if not absent(k):
            Image.new("RGB", (8, 8), (255, 0, 0)).save(folder / "left" / f"{name}.png")
            Image.fromarray(seen.edge[k].astype(np.uint8)).save(folder / "masks" / f"{name}.png")
    (folder / "frames.csv").write_text("\n".join(named) + "\n")
    refreeze(folder)
    return folder


@pytest.fixture
def cameras(_cameras: Path, tmp_path: Path) -> Path:
    shutil.copytree(_cameras, tmp_path / "suite")
    return tmp_path


def outputs(seen: World, **more: Any) -> dict[str, Any]:
    found = predict(seen, **more)
    return {"sign": found["sign"], "near": found["sign"], "mask": found["edge"]}


PRESENT = [k for k in range(64) if not absent(k)]


def test_a_head_that_requires_a_camera_is_judged_on_the_frames_that_have_it(cameras: Path, seen: World) -> None:
    suite, bundle = read_suite(cameras / "suite"), write_bundle(cameras / "old", seen, outputs(seen))
    found = run(read_bundle(bundle), suite)
    assert found.faults() == {}
    assert {name: s.frames for name, s in found.summaries.items()} == {"cam.sign": 64, "cam.near": 51, "cam.mask": 51}
    # By hand: positives and frames of each channel, over the frames with the camera only.
    for name, frames in (("cam.sign", range(64)), ("cam.near", PRESENT)):
        table = found.evidence[name]
        assert counted(table) == [seen.signs[list(frames)].sum(), len(frames) * 2]
    assert counted(found.evidence["cam.mask"]) == [seen.edge[PRESENT].sum(), len(PRESENT) * 16]


def counted(table: Any) -> list[int]:
    """Positives, and all events, of a table."""
    entries = by_score(table)
    return [int(entries.count[entries.positive].sum()), int(entries.count.sum())]


def test_what_is_answered_without_the_camera_changes_nothing(cameras: Path, seen: World) -> None:
    suite = read_suite(cameras / "suite")
    plain = run(read_bundle(write_bundle(cameras / "old", seen, outputs(seen))), suite)
    wild = outputs(seen)
    for k in range(64):
        if absent(k):
            wild["near"] = wild["near"].copy()
            wild["near"][k] = float("nan")
    other = run(read_bundle(write_bundle(cameras / "wild", seen, wild)), suite)
    without = write_bundle(cameras / "bare", seen, wild, keep=lambda name: not absent(int(name[1:])))
    bare = run(read_bundle(without), suite)
    assert other.faults() == {}
    assert set(bare.faults()) == {"cam.sign[stop]", "cam.sign[yield]"}, "it is judged on every frame"
    for name in ("cam.near", "cam.mask"):
        assert plain.evidence[name] == other.evidence[name] == bare.evidence[name]


def test_a_missing_answer_where_the_camera_is_there_is_missing(cameras: Path, seen: World) -> None:
    bundle = write_bundle(cameras / "old", seen, outputs(seen), keep=lambda name: name != "f0006")
    faults = run(read_bundle(bundle), read_suite(cameras / "suite")).faults()
    assert faults["cam.near[stop]"] == "no prediction for 1 of 51 frames, the first is f0006"
    assert faults["cam.sign[stop]"] == "no prediction for 1 of 64 frames, the first is f0006"


def test_stored_and_travelling_evidence_counts_the_same_frames(cameras: Path, seen: World) -> None:
    suite, bundle = read_suite(cameras / "suite"), read_bundle(write_bundle(cameras / "old", seen, outputs(seen)))
    store = opened(cameras / "store")
    first, again = run(bundle, suite, store=store), run(bundle, suite, store=store)
    write_evidence(cameras / "evidence", first, bundle, suite)
    read: Run = read_evidence(cameras / "evidence", suite, [bundle])[1]
    assert len(again.stored) == 3
    for found in (again, read):
        assert found.evidence == first.evidence
        assert found.faults() == {}
        assert {n: s.frames for n, s in found.summaries.items()} == {n: s.frames for n, s in first.summaries.items()}


def test_a_program_is_given_zeros_for_a_camera_that_is_not_there(cameras: Path, seen: World) -> None:
    """Its logit says how red the left picture is: full, or none."""
    program = exported(lambda self, left: (left.mean((2, 3))[:, :1] - 0.5).expand(-1, 2) * 8, left=(3, 8, 8))
    bundle = program_bundle(cameras / "old", program, inputs='left = "left"')
    suite = read_suite(cameras / "suite")
    found = run(read_bundle(bundle), suite, ["cam.sign"])
    summary = found.summaries["cam.sign"]
    assert (summary.low[0], summary.high[0]) == (-4, 4)
    clips = set(range(len(suite.frames.clips)))
    values = np.full(64, np.nan)
    for _, (answers,) in replay([read_bundle(bundle)], suite, ["cam.sign"], clips):
        values[answers["cam.sign"].rows] = answers["cam.sign"].outputs[""][:, 0]
    assert [value < 0 for value in values] == [absent(k) for k in range(64)]


def test_frames_without_the_camera_are_not_shown_for_heads_that_require_it(cameras: Path, seen: World) -> None:
    suite, bundle = read_suite(cameras / "suite"), read_bundle(write_bundle(cameras / "old", seen, outputs(seen)))
    shown: dict[str, list[int]] = {"cam.sign": [], "cam.near": [], "cam.mask": []}
    for _, (answers,) in replay([bundle], suite, list(shown), {1, 3, 5}):
        for name, given in answers.items():
            assert len(given.truth) == len(given.rows)
            shown[name] += given.rows.tolist()
            if name != "cam.mask":
                assert np.allclose(given.outputs[""], outputs(seen)["sign"][given.rows], atol=1e-5)
    frames = [k for k in range(64) if k // 4 in (1, 3, 5)]
    assert shown["cam.sign"] == frames
    assert shown["cam.near"] == shown["cam.mask"] == [k for k in frames if not absent(k)]


def test_absence_is_frozen_with_the_suite(cameras: Path) -> None:
    suite = cameras / "suite"
    for folder in ("left", "masks"):
        shutil.copy(suite / folder / "f0000.png", suite / folder / "f0002.png")
    with pytest.raises(LockError, match=r"2 added \(left/f0002.png, masks/f0002.png\)"):
        read_suite(suite)
    (suite / "left" / "f0002.png").unlink()
    read_suite(suite)
    (suite / "left" / "f0000.png").unlink()
    with pytest.raises(LockError, match=r"missing \(left/f0000.png"):
        read_suite(suite)


def test_commands_freeze_check_and_show_a_suite_with_absent_cameras(
    cameras: Path, without_table_contracts: None
) -> None:
    (cameras / "suite" / "suite.lock").unlink()
    for command in ("freeze", "check"):
        ended = gate("suite", command, "suite", cwd=cameras)
        assert ended.code == 0, ended.err
    assert "input left: in 51 of 64 frames" in gate("suite", "show", "suite", cwd=cameras).out


def test_two_releases_are_compared_on_the_same_frames(
    cameras: Path, seen: World, without_contract_worker: None
) -> None:
    write_bundle(cameras / "old", seen, outputs(seen))
    write_bundle(cameras / "new", seen, outputs(seen, seed=2), keep=lambda name: not absent(int(name[1:])))
    assert gate("compare", "old", "new", "--suite", "suite", "--out", "out", cwd=cameras).code == 1
    told = json.loads((cameras / "out" / "verdict.json").read_text())
    broken = {c["prediction"] for c in told["cells"] if c["verdict"] == "broken"}
    assert broken == {"cam.sign[stop]", "cam.sign[yield]"}


def edit(cameras: Path, old: str, new: str) -> Path:
    file = cameras / "suite" / "suite.toml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    return cameras / "suite"


def test_a_camera_that_must_be_there_is_missed_with_its_frame_and_file(cameras: Path) -> None:
    suite = edit(cameras, "optional = true\n", "")
    edit(cameras, 'requires = "left"\n', "")
    with pytest.raises(ConfigError, match=r"inputs\.left, frame f0007: 'left/\.png' is not a path"):
        open_suite(suite)
    rows = (suite / "frames.csv").read_text().splitlines()
    filled = [row + row[:5] if row.endswith(",") else row for row in rows]
    (suite / "frames.csv").write_text("\n".join(filled) + "\n")
    with pytest.raises(LockError, match="no such file") as caught:
        open_suite(suite)
    assert caught.value.where == f"{suite}/left/f0002.png, input left, frame f0002"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('requires = "left"', 'requires = "right"', "'right' is no input with `optional = true`"),
        ("optional = true\n", "", "'left' is no input with `optional = true`"),
        ("optional = true\n", 'optional = "yes"\n', "expected true or false"),
        ('kind = "image"\n', 'kind = "column"\ncolumn = "at"\n', "only an input with `file` is optional"),
    ],
)
def test_only_an_input_that_may_be_absent_can_be_required(cameras: Path, old: str, new: str, words: str) -> None:
    edit(cameras, old, new)
    refused(gate("suite", "show", "suite", cwd=cameras), 2, "suite/suite.toml:", words)
