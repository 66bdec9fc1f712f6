"""The independent unit that a suite declares: what is coarser than a clip counts as one, everywhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gate.errors import SuiteError
from gate.judge.layout import clips_of
from gate.suite import open_suite
from tests.support.tiny import (
    SUITE,
    World,
    frame_table,
    gate,
    make_world,
    predict,
    refreeze,
    refused,
    write_bundle,
    write_suite,
)

DRIVES = SUITE.replace('order_by = "at"', 'order_by = "at"\nunit = "drive"')


def drive_of(clip: str) -> str:
    """Two clips of one split make a drive."""
    return f"drive-{int(clip.removeprefix('clip-')) // 2:02}"


def a_world() -> World:
    # Twelve drives to validate on: every sign is tried, so that no seed has a part in any p-value.
    return make_world(calibration=8, validation=24)


def with_drives(
    folder: Path, world: World, *, of: Callable[[int, str], str] = lambda k, clip: drive_of(clip), freeze: bool = True
) -> Path:
    """The tiny suite with a column that says which drive each frame's clip was cut from."""
    write_suite(folder, world, text=DRIVES, freeze=False)
    head, *rows = frame_table(world).splitlines()
    rows = [f"{row},{of(k, world.clips[k])}" for k, row in enumerate(rows)]
    (folder / "frames.csv").write_text("\n".join([f"{head},drive", *rows]) + "\n")
    if freeze:
        refreeze(folder)
    return folder


def verdict(folder: Path, suite: str) -> dict[str, Any]:
    ended = gate("compare", "old", "new", "--suite", suite, "--out", f"out-{suite}", "--json", cwd=folder)
    assert ended.code in (0, 1), ended.err
    return json.loads(ended.out)


def test_the_clips_of_a_drive_count_as_one(tmp_path: Path) -> None:
    suite = open_suite(with_drives(tmp_path, a_world()))
    assert [clips_of(suite, split).clips for split in (0, 1)] == [4, 12]
    index = clips_of(suite, 1)
    frames = suite.frames
    for drive in range(12):
        clips = {frames.clips[c] for c in frames.cell_clip[index.clip == drive]}
        assert clips == {f"clip-{8 + 2 * drive:03}", f"clip-{9 + 2 * drive:03}"}
    assert (index.clip[frames.cell_split == 0] == -1).all()


def test_without_a_unit_the_clip_is_the_unit(tmp_path: Path) -> None:
    suite = open_suite(write_suite(tmp_path, a_world()))
    assert [clips_of(suite, split).clips for split in (0, 1)] == [8, 24]
    assert suite.frames.unit_of.tolist() == list(range(32))


def test_a_unit_gives_the_verdicts_of_a_suite_whose_clips_are_the_units(
    tmp_path: Path, without_contract_worker: None
) -> None:
    world = a_world()
    with_drives(tmp_path / "drives", world)
    write_suite(tmp_path / "clips", replace(world, clips=[drive_of(c) for c in world.clips]))
    write_suite(tmp_path / "fine", world)
    write_bundle(tmp_path / "old", world, predict(world), version="1")
    worse = predict(world, seed=2) | {"edge": predict(world, noise=2.0, seed=2)["edge"]}
    write_bundle(tmp_path / "new", world, worse, version="2")
    drives, clips, fine = (verdict(tmp_path, name) for name in ("drives", "clips", "fine"))
    assert (drives["decision"], drives["counted"], clips["counted"]) == (clips["decision"], "drive", "clip")
    assert len(drives["cells"]) == len(clips["cells"]) > 20
    for a, b in zip(drives["cells"], clips["cells"], strict=True):
        assert a.pop("reason").replace("drive", "clip") == b.pop("reason")
        for name, value in b.items():
            assert a[name] == (pytest.approx(value, rel=1e-9, abs=1e-12) if isinstance(value, float) else value), name
    at = [c for c in drives["cells"] if c["prediction"] == "cam.edge" and c["slice"] == "all"]
    assert {c["clips"] for c in at} == {12}
    assert {c["clips"] for c in fine["cells"] if c["prediction"] == "cam.edge" and c["slice"] == "all"} == {24}
    assert [c["p_adjusted"] for c in drives["cells"]] != [c["p_adjusted"] for c in fine["cells"]]
    assert [c["incumbent"] for c in at] == [
        c["incumbent"] for c in fine["cells"] if c["prediction"] == "cam.edge" and c["slice"] == "all"
    ], "a unit changes no value, only how sure we are"


def test_a_plan_and_its_words_count_units(tmp_path: Path) -> None:
    world = a_world()
    with_drives(tmp_path / "suite", world)
    write_bundle(tmp_path / "old", world, predict(world))
    ended = gate("suite", "plan", "suite", "--bundle", "old", cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert "12 validation drives" in ended.out
    assert "every drive's error" in ended.out
    assert "Drives" in ended.out
    refused(gate("suite", "aa", "old", "--suite", "suite", cwd=tmp_path), 4, "12 validation drives are too few")


def test_a_unit_in_two_splits_is_refused(tmp_path: Path) -> None:
    # Clip 7 is of the calibration split, clip 8 of the validation split.
    with_drives(tmp_path, a_world(), of=lambda k, clip: "x" if clip in ("clip-007", "clip-008") else clip, freeze=False)
    with pytest.raises(SuiteError, match="drives are in two splits: x") as error:
        open_suite(tmp_path)
    assert "frames.csv, columns drive and split" in error.value.where
    assert error.value.mend == "a drive belongs to one split, whole"


def test_a_clip_in_two_units_is_refused(tmp_path: Path) -> None:
    with_drives(tmp_path, a_world(), of=lambda k, clip: f"{clip}-late" if k == 3 else clip, freeze=False)
    with pytest.raises(SuiteError, match="a clip is in two units: clip-000") as error:
        open_suite(tmp_path)
    assert "columns clip_id and drive" in error.value.where


def test_a_unit_column_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    write_suite(tmp_path, a_world(), text=DRIVES, freeze=False)
    with pytest.raises(SuiteError, match="there is no column 'drive'") as error:
        open_suite(tmp_path)
    assert "clip_id" in error.value.mend


def test_an_empty_unit_is_refused(tmp_path: Path) -> None:
    with_drives(tmp_path, a_world(), of=lambda k, clip: "" if k == 5 else clip, freeze=False)
    with pytest.raises(SuiteError, match="an empty value") as error:
        open_suite(tmp_path)
    assert "column drive, frame f0005" in error.value.where


def test_units_named_by_numbers_are_names(tmp_path: Path) -> None:
    # 07 and 7 are two drives; as numbers they would be one.
    def numbered(clip: str) -> str:
        k = int(drive_of(clip).removeprefix("drive-"))
        return f"{'0' * (k % 2)}{k // 2}"

    suite = open_suite(with_drives(tmp_path, a_world(), of=lambda k, clip: numbered(clip)))
    assert [clips_of(suite, split).clips for split in (0, 1)] == [4, 12]
    assert len(np.unique(suite.frames.unit_of)) == 16
