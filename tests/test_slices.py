"""Slices as a suite declares them: by one attribute, and by pairs of attributes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gate.errors import ConfigError
from gate.suite import read_suite
from tests.support.tiny import SUITE, World, frame_table, gate, make_world, predict, refreeze, write_bundle, write_suite

PAIRS = SUITE.replace('slices = ["light"]', 'slices = ["light", "sky"]\nslice_pairs = [["light", "sky"]]')


def sky(clip: str) -> str:
    """Half of the nights and half of the days are wet."""
    return "wet" if int(clip[-3:]) % 4 < 2 else "dry"


def exam(folder: Path, world: World, text: str = PAIRS) -> Path:
    """The tiny suite with a second attribute of its clips."""
    write_suite(folder, world, text=text, freeze=False)
    header, *lines = frame_table(world).splitlines()
    rows = [f"{line},{sky(clip)}" for line, clip in zip(lines, world.clips, strict=True)]
    (folder / "frames.csv").write_text("\n".join([f"{header},sky", *rows]) + "\n")
    refreeze(folder)
    return folder


def test_a_pair_of_attributes_is_the_frames_with_both(tmp_path: Path) -> None:
    world = make_world()
    frames = read_suite(exam(tmp_path / "suite", world)).frames
    singles = ["light=day", "light=night", "sky=dry", "sky=wet"]
    pairs = ["light=day & sky=dry", "light=day & sky=wet", "light=night & sky=dry", "light=night & sky=wet"]
    assert [s.name for s in frames.slices] == ["all", *singles, *pairs]
    known = dict(zip(world.ids, zip(world.lights, map(sky, world.clips), strict=True), strict=True))
    for s in frames.slices[1:]:
        wanted = dict(part.split("=") for part in s.name.split(" & "))
        inside = {i for i, (light, wet) in known.items() if wanted.items() <= {"light": light, "sky": wet}.items()}
        assert set(frames.ids[s.cells[frames.cell]].tolist()) == inside


def test_a_loss_where_two_attributes_meet_is_found_there_and_blocks(
    tmp_path: Path, without_contract_worker: None
) -> None:
    world = make_world(validation=120)
    exam(tmp_path / "suite", world)
    before, after = predict(world), predict(world, seed=2)
    wet_night = np.array(
        [light == "night" and sky(c) == "wet" for light, c in zip(world.lights, world.clips, strict=True)]
    )
    after["range"][wet_night] += 6.0
    for version, (name, outputs) in enumerate({"old": before, "new": after}.items(), 1):
        write_bundle(tmp_path / name, world, outputs, version=str(version))
    assert gate("compare", "old", "new", "--suite", "suite", "--out", "out", cwd=tmp_path).code == 1
    cells = json.loads((tmp_path / "out/verdict.json").read_text())["cells"]
    said = {c["slice"]: c["verdict"] for c in cells if c["prediction"] == "cam.range"}
    assert said["light=night & sky=wet"] == "regressed"
    for elsewhere in ("light=day & sky=dry", "light=day & sky=wet", "light=night & sky=dry", "light=day", "sky=dry"):
        assert said[elsewhere] in ("non-inferior", "undecided")


def test_a_pair_of_what_is_no_slice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'rain' is not one of the slices"):
        exam(tmp_path / "suite", make_world(), PAIRS.replace('[["light", "sky"]]', '[["light", "rain"]]'))
