"""Ways in which a check could have been talked into a pass, each closed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gate.bundle import read_bundle
from gate.errors import ConfigError, GateError, RefusedError, SuiteError
from gate.pipeline import refuse_broken_tables
from gate.suite import ContractResult, open_suite
from gate.suite.freeze import check_truth
from gate.suite.inputs import read_picture
from tests.support.tiny import POLICY, SUITE, gate, make_world, predict, refused, write_bundle, write_suite

COMPARE = ("compare", "old", "new", "--suite", "suite", "--out", "out")


def truths_checked(folder: Path) -> None:
    suite = open_suite(folder)
    for truths in suite.truths:
        check_truth(truths, suite.frames, np.arange(len(suite.frames.ids)))


def test_nothing_in_the_working_folder_is_imported_by_the_contract_worker(tmp_path: Path) -> None:
    (tmp_path / "pandas.py").write_text("open('imported', 'w').close()")
    write_suite(tmp_path / "suite", make_world())
    code = (
        "from pathlib import Path\nfrom gate.suite.worker import check_all, contract_worker\n"
        "with contract_worker(Path('suite')) as worker:\n    print(len(check_all(worker(), Path('suite'), {})))\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert int(done.stdout) > 5
    assert not (tmp_path / "imported").exists()


def test_a_broken_table_contract_is_refused_whatever_the_predictions_say() -> None:
    kept = ContractResult("labels.rows", True, "there are rows", "96 rows", "frames.csv")
    refuse_broken_tables([kept], Path("suite"))
    refuse_broken_tables([replace(kept, name="candidate.predictions.finite", success=False)], Path("suite"))
    broken = ContractResult("labels.unique", False, "ids are unique", "2 rows fail", "frames.csv")
    with pytest.raises(SuiteError, match=r"labels\.unique: ids are unique: 2 rows fail"):
        refuse_broken_tables([kept, broken], Path("suite"))


def test_too_few_clips_to_measure_anything_are_never_a_go(tmp_path: Path, without_contract_worker: None) -> None:
    world = make_world(validation=9)
    write_suite(tmp_path / "suite", world)
    write_bundle(tmp_path / "old", world, predict(world), version="1")
    write_bundle(tmp_path / "new", world, predict(world, noise=50.0), version="2")
    ended = gate(*COMPARE, cwd=tmp_path)
    assert ended.code == 3
    assert "nothing that gates could be measured" in ended.out


def test_a_missing_incumbent_makes_no_error_a_new_one(tmp_path: Path, without_contract_worker: None) -> None:
    world = make_world()
    strict = f'must_pass = ["{world.clips[-1]}"]\n' + POLICY
    write_suite(tmp_path / "suite", world, policy=strict)
    outputs = predict(world)
    write_bundle(tmp_path / "old", world, {k: v for k, v in outputs.items() if k != "sign"}, version="1")
    write_bundle(tmp_path / "new", world, outputs, version="2")
    assert gate(*COMPARE, cwd=tmp_path).code == 0


def test_a_rule_may_name_a_head_that_only_the_incumbent_still_has(
    tmp_path: Path, without_contract_worker: None
) -> None:
    world = make_world()
    rule = '\n[[rules]]\nmatch = "cam.debug"\ntier = "advisory"\n'
    write_suite(tmp_path / "suite", world, policy=POLICY + rule)
    outputs = predict(world)
    write_bundle(tmp_path / "old", world, outputs | {"debug": outputs["range"]}, version="1")
    write_bundle(tmp_path / "new", world, outputs, version="2")
    assert gate(*COMPARE, cwd=tmp_path).code == 0


def _arrays(**given: object) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        np.savez(folder / "rasters.npz", **given)  # type: ignore[arg-type]

    return write


def _one_array(folder: Path) -> None:
    with (folder / "rasters.npz").open("wb") as file:
        np.save(file, np.zeros(3))


IDS = np.array(make_world().ids)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: (f / "rasters.npz").write_bytes(b"PK\3\4torn"), "the arrays cannot be read"),
        (_one_array, "the arrays cannot be read"),
        (_arrays(frame_id=IDS, other=np.zeros(len(IDS))), "there is no array 'edge'"),
        (_arrays(frame_id=np.array("x"), edge=np.zeros(())), "truths of shape"),
        (_arrays(frame_id=IDS[:0], edge=np.zeros((0, 4, 4))), "the table is empty"),
        (_arrays(frame_id=IDS, edge=np.zeros((len(IDS), 4))), "occupancy wants \\(height, width\\)"),
        (_arrays(frame_id=IDS, edge=np.zeros((len(IDS), 3, 4, 4))), "occupancy wants \\(height, width\\)"),
        (_arrays(frame_id=IDS, edge=np.full((len(IDS), 4, 4), "yes")), "which is no number"),
    ],
)
def test_an_array_truth_that_is_none_is_refused_when_it_is_frozen(
    tmp_path: Path, spoil: Callable[[Path], None], words: str
) -> None:
    write_suite(tmp_path / "suite", make_world())
    spoil(tmp_path / "suite")
    with pytest.raises(GateError, match=words):
        truths_checked(tmp_path / "suite")


BOXES = """
[[heads]]
head = "cam.det"
task = "detection"
outputs = { score = "cam.score", box = "cam.box" }
channels = ["car"]
truth = { table = "boxes.csv", class = "class", box = ["x0", "y0", "x1", "y1"] }
"""


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("f9999,car,0,0,2,2", "boxes of 1 unknown frames, such as f9999"),
        ("f0000,Car,0,0,2,2", "no box of class 'car', but of Car"),
    ],
)
def test_boxes_that_belong_to_nothing_are_refused(tmp_path: Path, row: str, words: str) -> None:
    write_suite(tmp_path / "suite", make_world(), text=SUITE + BOXES, freeze=False)
    boxes = tmp_path / "suite" / "boxes.csv"
    boxes.write_text("frame_id,class,x0,y0,x1,y1\n")
    truths_checked(tmp_path / "suite")
    boxes.write_text(f"frame_id,class,x0,y0,x1,y1\n{row}\n")
    with pytest.raises(SuiteError, match=words):
        truths_checked(tmp_path / "suite")


@pytest.mark.parametrize(("value", "words"), [("0.9", "out of range"), ("inf", "out of range"), ("2", "out of range")])
def test_a_class_is_a_whole_number_in_range(tmp_path: Path, value: str, words: str) -> None:
    head = (
        '\n[[heads]]\nhead = "cam.state"\ntask = "multiclass"\nchannels = ["off", "on"]\ntruth = { columns = "at2" }\n'
    )
    write_suite(tmp_path / "suite", make_world(), text=SUITE + head, freeze=False)
    table = tmp_path / "suite" / "frames.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([lines[0] + ",at2", lines[1] + ",1.0", *(x + f",{value}" for x in lines[2:])]))
    with pytest.raises(SuiteError, match=words):
        truths_checked(tmp_path / "suite")


def test_ignore_is_refused_where_it_would_not_be_heard(tmp_path: Path) -> None:
    text = SUITE.replace('channels = ["stop", "yield"]', 'channels = ["stop", "yield"]\nignore = -1')
    write_suite(tmp_path / "suite", make_world(), text=text, freeze=False)
    with pytest.raises(ConfigError, match=r"heads.0.ignore: leave the cell of the truth empty"):
        open_suite(tmp_path / "suite")


@pytest.mark.parametrize("mode", ["I;16", "RGBA", "F"])
def test_a_picture_that_would_lose_something_on_the_way_to_rgb_is_refused(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("deep.tiff" if mode == "F" else "deep.png")
    Image.new(mode, (2, 2)).save(path)
    with pytest.raises(SuiteError, match=f"a picture of mode {mode}"):
        read_picture(path, "RGB")


def test_a_family_of_tests_cannot_be_switched_off_by_its_share(tmp_path: Path) -> None:
    write_suite(tmp_path / "suite", make_world(), policy="shares = { slices = 0 }\n" + POLICY)
    refused(gate(*COMPARE, cwd=tmp_path), 2, "policy.toml:1: shares.slices")


def test_released_thresholds_that_were_named_must_be_there(tmp_path: Path) -> None:
    write_suite(tmp_path / "suite", make_world())
    refused(gate(*COMPARE, "--thresholds", "tresholds", cwd=tmp_path), 2, "tresholds: there is no such folder")


def test_a_clock_that_is_no_number_is_refused_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    write_suite(tmp_path / "suite", make_world())
    refused(gate(*COMPARE, cwd=tmp_path), 2, "SOURCE_DATE_EPOCH is not a number of seconds")


def test_a_manifest_is_checked_each_time_it_is_locked(tmp_path: Path) -> None:
    world = make_world()
    bundle = write_bundle(tmp_path / "old", world, predict(world))
    assert gate("bundle", "lock", "old", cwd=tmp_path).code == 0
    manifest = (bundle / "bundle.toml").read_text()
    (bundle / "bundle.toml").write_text(manifest.replace('name = "tiny"', 'name = "x y"'))
    refused(gate("bundle", "lock", "old", cwd=tmp_path), 2, "bundle.name: 'x y' is not a name")


def test_a_manifest_full_of_problems_is_refused_in_few_plain_lines(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    manifest = tmp_path / "new" / "bundle.toml"
    head, body = '[bundle]\nname = "a"\nversion = "1"\n', "program='m.pt2'\nheads=['h']\n"
    wrong = "".join(f'a{k} = "x\\n::error::forged.y"\n' for k in range(60))
    more = "".join(f"[networks.n{k}]\n{body}inputs={{a='image'}}\n" for k in range(20))
    manifest.write_text(f"{head}[networks.n]\n{body}[networks.n.inputs]\n{wrong}{more}")
    ended = gate("bundle", "check", "new", cwd=tmp_path)
    refused(
        ended, 2, r"there is no network 'x\n::error::forged'; networks: n, n0, n1, n2, n3, …", "and 10 more problems"
    )
    assert len(ended.err.splitlines()) == 51
    manifest.write_text(head + "".join(f"[networks.n{k}]\n{body}" for k in range(1001)))
    refused(gate("bundle", "check", "new", cwd=tmp_path), 2, "1,001 networks; the most is 1,000")


def test_a_file_larger_than_any_program_or_recording_is_refused_unread(tmp_path: Path) -> None:
    world = make_world()
    bundle = write_bundle(tmp_path / "new", world, predict(world))
    os.truncate(next(bundle.glob("*.parquet")), 1 << 40)
    with pytest.raises(RefusedError, match="larger than 64 GiB"):
        read_bundle(bundle)
