"""What bad input gets: the right exit code, one message (where, what, how to mend), and nothing half-written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.programs import Programs
from tests.support.tiny import (
    POLICY,
    SUITE,
    Ended,
    World,
    frame_table,
    gate,
    make_world,
    predict,
    program_bundle,
    refreeze,
    refused,
    without_worker,
    write_bundle,
    write_suite,
)

COMPARE = ("compare", "old", "new", "--suite", "suite", "--out", "out")
FREEZE = ("suite", "freeze", "suite")


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old) >= 1, f"{file} has no {old!r}"
    file.write_text(text.replace(old, new, 1))


def rule(folder: Path, text: str) -> None:
    """Add lines to the suite's policy."""
    with (folder / "suite" / "policy.toml").open("a") as file:
        file.write(text)


def verdict(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "out" / "verdict.json").read_text())


def verdicts(folder: Path, prediction: str) -> set[str]:
    """Verdicts of one prediction's cells, over all metrics and slices."""
    return {c["verdict"] for c in verdict(folder)["cells"] if c["prediction"] == prediction}


def codes(folder: Path) -> set[str]:
    return {r["code"] for r in verdict(folder)["reasons"]}


def decided(ended: Ended, code: int) -> None:
    """A decision, with all of its reports and no temporary file."""
    assert ended.code == code, ended.err
    assert "Traceback" not in ended.err
    names = ("flips.parquet", "gate.sarif", "junit.xml", "report.html", "signoff.html", "summary.md", "verdict.json")
    reports = [f"out/{name}" for name in names]
    assert [name for name in ended.made if "/thresholds/" not in name] == reports
    assert ended.changed == ()


# Keys and names that nobody knows


@pytest.mark.parametrize(
    ("file", "old", "new", "where", "mend"),
    [
        ("suite/suite.toml", "clip_id =", "clip_di =", "suite/suite.toml:6: suite.clip_di", "did you mean 'clip_id'?"),
        ("suite/policy.toml", "margin = 0.05", "margni = 0.05", "suite/policy.toml:6: rules.0.margni", "'margin'?"),
        (
            "new/bundle.toml",
            "predictions =",
            "prediction =",
            "new/bundle.toml:6: networks.cam.prediction",
            "'predictions'?",
        ),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_one(
    releases: Path, without_contract_worker: None, file: str, old: str, new: str, where: str, mend: str
) -> None:
    edit(releases / file, old, new)
    refused(gate(*COMPARE, cwd=releases), 2, where, "unknown key", mend)


def test_an_unknown_task_is_refused_with_the_nearest_one(releases: Path, without_contract_worker: None) -> None:
    edit(releases / "suite" / "suite.toml", '"multilabel"', '"multilable"')
    refused(gate(*COMPARE, cwd=releases), 2, "suite/suite.toml:17: heads.0.task", "did you mean 'multilabel'?")


def test_an_unknown_metric_is_refused_with_the_nearest_one(releases: Path, without_contract_worker: None) -> None:
    edit(releases / "suite" / "policy.toml", '"average_precision"', '"avarage_precision"')
    where = "suite/policy.toml:5: rules.0.metrics"
    refused(
        gate(*COMPARE, cwd=releases),
        2,
        where,
        "unknown metric 'avarage_precision'",
        "did you mean 'average_precision'?",
    )


def test_a_metric_that_the_task_cannot_give_is_refused_with_those_that_it_can(
    releases: Path, without_contract_worker: None
) -> None:
    edit(releases / "suite" / "policy.toml", '["mae"]', '["f1"]')
    words = ("suite/policy.toml:10", "'f1' cannot be measured on cam.range (regression)", "mae, rmse", "to mend:")
    refused(gate(*COMPARE, cwd=releases), 2, *words)


# Policies that would gate nothing


@pytest.mark.parametrize("match", ["cam.sing*", "cam.sign[stp]", "front.*"])
def test_a_rule_that_matches_nothing_is_an_error_because_a_typo_must_not_gate_nothing(
    releases: Path, without_contract_worker: None, match: str
) -> None:
    rule(releases, f'\n[[rules]]\nmatch = "{match}"\ntier = "critical"\n')
    where = "suite/policy.toml:14: rules.2.match"
    refused(
        gate(*COMPARE, cwd=releases),
        2,
        where,
        f"'{match}' matches no prediction",
        "predictions are named like cam.sign",
    )


def test_a_group_that_matches_nothing_is_an_error(releases: Path, without_contract_worker: None) -> None:
    rule(releases, '\n[groups]\nsigns = "cam.sing*"\n')
    refused(gate(*COMPARE, cwd=releases), 2, "suite/policy.toml:14: groups.signs", "'cam.sing*' matches no prediction")


def test_a_must_pass_clip_that_is_not_there_is_an_error(releases: Path, without_contract_worker: None) -> None:
    edit(releases / "suite" / "policy.toml", "resamples = 999", 'must_pass = ["clip-99"]')
    refused(gate(*COMPARE, cwd=releases), 2, "suite/policy.toml:1: must_pass", "'clip-99' is not a validation clip")


# Programs


def test_a_missing_program_is_named_with_its_network(
    pictures: Path, programs: Programs, without_contract_worker: None
) -> None:
    program_bundle(pictures / "old", programs.honest)
    program_bundle(pictures / "new", None)
    words = (
        "new/bundle.toml:5: networks.cam",
        "the file cam.pt2 of network cam does not exist",
        "to mend: put it into new",
    )
    refused(gate(*COMPARE, cwd=pictures), 4, *words)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("other_input", ("inputs are picture; the manifest names image", "; mend `inputs`")),
        ("larger_input", ("input image takes frames of shape (3, 9, 9), the suite gives (3, 8, 8); mend",)),
        ("batch_of_two", ("input image takes batches of exactly 2; export with a dynamic batch",)),
        ("two_outputs", ("has 2 outputs; the manifest names 1 heads; mend `heads`",)),
        ("other_output_name", ("outputs are signs; the manifest names sign; mend `heads`",)),
    ],
)
def test_heads_of_a_program_that_is_not_as_the_manifest_says_are_broken(
    pictures: Path, programs: Programs, without_contract_worker: None, kind: str, words: tuple[str, ...]
) -> None:
    program_bundle(pictures / "old", programs.honest)
    program_bundle(pictures / "new", getattr(programs, kind))
    broken(pictures, "network cam: ", *words)


def broken(folder: Path, *words: str) -> None:
    """The candidate is NO-GO, since its predictions are broken for a reason that has all `words`."""
    assert gate(*COMPARE, cwd=folder).code == 1
    verdict = json.loads((folder / "out" / "verdict.json").read_text())
    (reason,) = {cell["reason"] for cell in verdict["cells"]}
    assert {cell["verdict"] for cell in verdict["cells"]} == {"broken"}
    assert all(word in reason for word in words), reason


def test_heads_that_read_an_input_that_the_suite_does_not_have_are_broken(
    pictures: Path, programs: Programs, without_contract_worker: None
) -> None:
    program_bundle(pictures / "old", programs.honest)
    program_bundle(pictures / "new", programs.honest, inputs='image = "imgae"')
    broken(
        pictures,
        "network cam: the suite has no input 'imgae', which its input image reads; it offers image; mend `inputs`",
    )


def test_a_gpu_that_is_not_there_is_no_reason_to_run_elsewhere(
    pictures: Path, programs: Programs, without_contract_worker: None
) -> None:
    if Path("/dev/nvidia0").exists():
        pytest.skip("this machine has a GPU")
    for name in ("old", "new"):
        program_bundle(pictures / name, programs.honest)
    words = ("--device cuda: torch sees no GPU on this machine", "to mend: use --device cpu")
    refused(gate(*COMPARE, "--device", "cuda", cwd=pictures), 2, *words)


def test_a_program_with_other_channels_than_the_suite_judges_is_broken_not_a_crash(
    pictures: Path, programs: Programs, without_contract_worker: None
) -> None:
    program_bundle(pictures / "old", programs.honest)
    program_bundle(pictures / "new", programs.three_channels)
    decided(gate(*COMPARE, cwd=pictures), 1)
    assert verdicts(pictures, "cam.sign[stop]") == {"broken"}
    assert "(3,) a frame for 2 channels" in verdict(pictures)["reasons"][0]["text"]


def test_programs_as_the_manifest_says_are_judged(
    pictures: Path, programs: Programs, without_contract_worker: None
) -> None:
    program_bundle(pictures / "old", programs.honest)
    program_bundle(pictures / "new", programs.named_output)
    decided(gate(*COMPARE, cwd=pictures), 0)
    assert "broken" not in verdicts(pictures, "cam.sign[stop]")


# Heads that one side has and the other lacks


def without(outputs: dict[str, Any], head: str) -> dict[str, Any]:
    return {name: values for name, values in outputs.items() if name != head}


def test_a_head_that_the_suite_wants_and_the_candidate_lacks_is_no_go(
    releases: Path, world: World, without_contract_worker: None
) -> None:
    write_bundle(releases / "new", world, without(predict(world), "edge"), version="3")
    decided(gate(*COMPARE, cwd=releases), 1)
    reason = verdict(releases)["reasons"][0]
    assert (reason["code"], reason["predictions"]) == ("missing-head", ["cam.edge"])
    assert verdicts(releases, "cam.edge") == {"broken"}
    assert "broken" not in verdicts(releases, "cam.sign[stop]")


def test_a_head_that_only_the_incumbent_lacks_cannot_be_compared(
    releases: Path, world: World, without_contract_worker: None
) -> None:
    write_bundle(releases / "old", world, without(predict(world), "edge"), version="0")
    decided(gate(*COMPARE, cwd=releases), 0)
    assert verdicts(releases, "cam.edge") == {"not-measurable"}
    reasons = {c["reason"] for c in verdict(releases)["cells"] if c["prediction"] == "cam.edge"}
    assert reasons == {"the incumbent has no such head: there is nothing to compare with"}
    assert "not-measurable" in codes(releases)


def test_a_head_that_the_suite_does_not_judge_is_listed_as_uncovered(
    releases: Path, world: World, without_contract_worker: None
) -> None:
    outputs = predict(world)
    write_bundle(releases / "new", world, outputs | {"lane": outputs["range"]}, version="3")
    decided(gate(*COMPARE, cwd=releases), 1)
    assert verdict(releases)["uncovered"] == ["cam.lane"]
    assert verdict(releases)["reasons"][0]["code"] == "uncovered"
    assert "mark them advisory" in verdict(releases)["reasons"][0]["text"]


def test_an_uncovered_head_that_is_advisory_is_told_and_blocks_nothing(
    releases: Path, world: World, without_contract_worker: None
) -> None:
    outputs = predict(world)
    write_bundle(releases / "new", world, outputs | {"lane": outputs["range"]}, version="3")
    rule(releases, '\n[[rules]]\nmatch = "cam.lane"\ntier = "advisory"\n')
    decided(gate(*COMPARE, cwd=releases), 0)
    assert verdict(releases)["uncovered"] == ["cam.lane"]


# Frames


def test_a_frame_missing_from_the_predictions_breaks_them_and_is_named(
    releases: Path, world: World, without_contract_worker: None
) -> None:
    write_bundle(releases / "new", world, predict(world), version="3", keep=lambda frame: frame != "f0100")
    decided(gate(*COMPARE, cwd=releases), 1)
    assert verdicts(releases, "cam.range") == {"broken"}
    assert "no prediction for 1 of 144 frames, the first is f0100" in verdict(releases)["reasons"][0]["text"]


def test_a_frame_that_stands_twice_in_the_predictions_is_refused(
    releases: Path, world: World, without_contract_worker: None
) -> None:
    outputs = {name: np.concatenate([values, values[-1:]]) for name, values in predict(world).items()}
    twice = World(**{**vars(world), "ids": [*world.ids, "f0007"]})
    write_bundle(releases / "new", twice, outputs)
    refused(gate(*COMPARE, cwd=releases), 4, "new/cam.parquet", "frame f0007 has two rows", "to mend: one row a frame")


@pytest.mark.parametrize("words", [COMPARE, FREEZE])
def test_a_frame_that_stands_twice_in_the_suite_is_refused(
    releases: Path, without_contract_worker: None, words: tuple[str, ...]
) -> None:
    edit(releases / "suite" / "frames.csv", "\nf0008,", "\nf0007,")
    refused(gate(*words, cwd=releases), 4, "suite/frames.csv, column frame_id", "1 frame ids stand twice: f0007")


@pytest.fixture(scope="module", params=[np.nan, np.inf, -np.inf])
def one_bad_number(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ended]:
    """A candidate with one number that is none, in one frame of one channel, compared. NaN with the real contracts."""
    folder = tmp_path_factory.mktemp("bad-number")
    world = make_world(calibration=6, validation=12)
    write_suite(folder / "suite", world)
    write_bundle(folder / "old", world, predict(world), version="1")
    outputs = predict(world, seed=2)
    outputs["sign"][41, 0] = request.param
    write_bundle(folder / "new", world, outputs, version="2")
    with pytest.MonkeyPatch.context() as patch:
        if not np.isnan(request.param):
            without_worker(patch)
        return folder, gate(*COMPARE, cwd=folder)


def test_nan_or_infinity_in_one_frame_breaks_that_prediction_and_the_rest_is_judged(
    one_bad_number: tuple[Path, Ended],
) -> None:
    folder, ended = one_bad_number
    decided(ended, 1)
    assert verdicts(folder, "cam.sign[stop]") == {"broken"}
    for prediction in ("cam.sign[yield]", "cam.edge", "cam.range"):
        assert "broken" not in verdicts(folder, prediction)
    reason = verdict(folder)["reasons"][0]
    assert (reason["code"], reason["predictions"]) == ("broken", ["cam.sign[stop]"])
    assert "NaN or infinity in 1 of 72 frames, the first is f0041" in reason["text"]


# Truth


@pytest.mark.parametrize(
    ("head", "value"), [("has_stop", "2"), ("has_stop", "-1"), ("has_stop", "0.5"), ("range", "inf")]
)
def test_truth_out_of_range_is_named_with_head_and_frame_and_nothing_is_frozen(
    tmp_path: Path, world: World, without_table_contracts: None, head: str, value: str
) -> None:
    write_suite(tmp_path / "suite", world, freeze=False)
    table = frame_table(world).splitlines()
    cells = table[1 + 17].split(",")
    cells[table[0].split(",").index(head)] = value
    table[1 + 17] = ",".join(cells)
    (tmp_path / "suite" / "frames.csv").write_text("\n".join(table) + "\n")
    judged = "cam.range" if head == "range" else "cam.sign"
    words = (f"head {judged}, frame f0017", f"truth {value} out of range", "to mend: mend the truth")
    ended = gate(*FREEZE, cwd=tmp_path)
    refused(ended, 4, "suite/suite.toml", *words)


def test_a_raster_out_of_range_is_named_with_head_and_frame(
    tmp_path: Path, world: World, without_table_contracts: None
) -> None:
    edge = world.edge.copy()
    edge[90, 2, 3] = 7
    write_suite(tmp_path / "suite", World(**{**vars(world), "edge": edge}), freeze=False)
    refused(gate(*FREEZE, cwd=tmp_path), 4, "head cam.edge, frame f0090", "truth 7 out of range (0 or 1)")


def test_truth_that_is_no_number_is_named_with_its_frame(releases: Path, without_contract_worker: None) -> None:
    text = (releases / "suite" / "frames.csv").read_text().splitlines()
    text[4] = "f0003,clip-000,3,calibration,day,yes,0,10.0"
    (releases / "suite" / "frames.csv").write_text("\n".join(text) + "\n")
    refused(gate(*COMPARE, cwd=releases), 4, "column has_stop, frame f0003", "'yes' is not a number")


def test_no_positives_in_validation_is_not_measurable_and_never_a_pass_of_a_critical_prediction(
    tmp_path: Path, without_contract_worker: None
) -> None:
    world = make_world(calibration=6, validation=12)
    signs = world.signs.copy()
    signs[24:, 0] = 0
    folder = releases_of(tmp_path, World(**{**vars(world), "signs": signs}))
    decided(gate(*COMPARE, cwd=folder), 0)
    assert verdicts(folder, "cam.sign[stop]") == {"not-measurable"}
    assert "not-measurable" in codes(folder)

    shutil.rmtree(folder / "out")
    rule(folder, '\n[[rules]]\nmatch = "cam.sign[stop]"\ntier = "critical"\n')
    decided(gate(*COMPARE, cwd=folder), 3)
    reason = verdict(folder)["reasons"][0]
    assert (reason["code"], reason["predictions"]) == ("not-measurable-critical", ["cam.sign[stop]"])
    assert "no positives in validation" in reason["text"]


def test_no_positives_in_calibration_gives_no_operating_point_and_says_so(
    tmp_path: Path, without_contract_worker: None
) -> None:
    world = make_world(calibration=6, validation=12)
    signs = world.signs.copy()
    signs[:24, 0] = 0
    folder = releases_of(tmp_path, World(**{**vars(world), "signs": signs}))
    decided(gate(*COMPARE, cwd=folder), 0)
    at_threshold = [c for c in verdict(folder)["cells"] if c["prediction"] == "cam.sign[stop]" and c["metric"] == "f1"]
    assert {c["verdict"] for c in at_threshold} == {"not-measurable"}
    assert "no positives on the calibration clips" in at_threshold[0]["reason"]


def releases_of(folder: Path, world: World) -> Path:
    write_suite(folder / "suite", world)
    write_bundle(folder / "old", world, predict(world), version="1")
    write_bundle(folder / "new", world, predict(world), version="2")
    return folder


# Splits


@pytest.mark.parametrize("words", [COMPARE, FREEZE])
def test_a_clip_in_two_splits_is_refused(releases: Path, without_contract_worker: None, words: tuple[str, ...]) -> None:
    edit(releases / "suite" / "frames.csv", "f0003,clip-000,3,calibration", "f0003,clip-000,3,validation")
    where = "suite/frames.csv, columns clip_id and split"
    refused(
        gate(*words, cwd=releases),
        4,
        where,
        "clips are in two splits: clip-000",
        "to mend: a clip belongs to one split",
    )


@pytest.mark.parametrize("split", ["calibration", "validation"])
@pytest.mark.parametrize("words", [COMPARE, FREEZE])
def test_an_empty_split_is_refused(
    releases: Path, without_contract_worker: None, split: str, words: tuple[str, ...]
) -> None:
    table = releases / "suite" / "frames.csv"
    table.write_text("\n".join(line for line in table.read_text().splitlines() if f",{split}," not in line) + "\n")
    what = f"the {split} split is empty: no frame has split = '{split}'"
    refused(
        gate(*words, cwd=releases), 4, "suite/frames.csv", what, "to mend: mend [splits] in suite.toml, or the table"
    )


# Pictures


def test_a_truncated_picture_stops_the_freeze_and_nothing_is_frozen(
    pictures: Path, without_table_contracts: None
) -> None:
    (pictures / "suite" / "suite.lock").unlink()
    picture = pictures / "suite" / "images" / "f0005.png"
    picture.write_bytes(picture.read_bytes()[:45])
    words = ("suite/images/f0005.png", "the picture cannot be decoded", "to mend: restore the file")
    refused(gate(*FREEZE, cwd=pictures), 4, *words)
    assert not (pictures / "suite" / "suite.lock").exists()


def test_a_corrupt_picture_under_a_fresh_lock_stops_the_comparison(
    pictures: Path, programs: Programs, without_contract_worker: None
) -> None:
    program_bundle(pictures / "old", programs.honest)
    program_bundle(pictures / "new", programs.named_output)
    picture = pictures / "suite" / "images" / "f0020.png"
    data = bytearray(picture.read_bytes())
    data[40:60] = bytes(20)
    picture.write_bytes(data)
    refreeze(pictures / "suite")
    words = ("suite/images/f0020.png", "the picture cannot be decoded", "to mend: restore the file")
    refused(gate(*COMPARE, cwd=pictures), 4, *words)


def test_a_picture_of_another_size_is_refused(pictures: Path, without_table_contracts: None) -> None:
    from PIL import Image

    Image.new("RGB", (9, 8)).save(pictures / "suite" / "images" / "f0005.png")
    words = ("suite/images/f0005.png", "input 'image' has shape (3, 8, 9), declared (3, 8, 8)")
    refused(gate(*FREEZE, cwd=pictures), 4, *words)


# Recorded predictions that are damaged


@pytest.mark.parametrize(
    "damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"frame_id,x\n"]
)
def test_predictions_that_do_not_parse_are_refused(
    releases: Path, without_contract_worker: None, damage: Callable[[bytes], bytes]
) -> None:
    file = releases / "new" / "cam.parquet"
    file.write_bytes(damage(file.read_bytes()))
    refused(gate(*COMPARE, cwd=releases), 4, "new/cam.parquet", "the predictions cannot be read")


def test_predictions_whose_pages_are_damaged_are_refused(releases: Path, without_contract_worker: None) -> None:
    import pyarrow.parquet as pq

    file = releases / "new" / "cam.parquet"
    start = pq.ParquetFile(file).metadata.row_group(0).column(1).data_page_offset
    data = bytearray(file.read_bytes())
    data[start : start + 40] = b"\xff" * 40
    file.write_bytes(data)
    refused(gate(*COMPARE, cwd=releases), 4, "new/cam.parquet, column sign", "the predictions cannot be read")


# Locks


@pytest.mark.parametrize(
    "words", [COMPARE, ("suite", "check", "suite"), ("run", "new", "--suite", "suite", "--out", "out")]
)
@pytest.mark.parametrize("file", ["frames.csv", "rasters.npz", "suite.toml"])
def test_changed_bytes_under_the_suites_lock_are_refused(
    releases: Path, without_contract_worker: None, words: tuple[str, ...], file: str
) -> None:
    changed = releases / "suite" / file
    if file == "rasters.npz":
        with np.load(changed) as arrays:
            np.savez_compressed(changed, **{name: arrays[name] for name in arrays.files})
    else:
        changed.write_text(changed.read_text() + "\n")
    what = f"files differ from the lock: 1 changed ({file})"
    refused(gate(*words, cwd=releases), 4, "suite/suite.lock", what, "to mend: restore the files")


def test_changed_bytes_under_a_bundles_lock_are_refused(releases: Path, without_contract_worker: None) -> None:
    assert gate("bundle", "lock", "new", cwd=releases).code == 0
    shutil.copy(releases / "old" / "cam.parquet", releases / "new" / "cam.parquet")
    words = ("new/bundle.lock", "files differ from the lock: 1 changed (cam.parquet)", "to mend: restore the files")
    refused(gate(*COMPARE, cwd=releases), 4, *words)


def test_a_lock_of_another_suite_is_refused(releases: Path, world: World, without_contract_worker: None) -> None:
    other = write_suite(releases / "other", world, text=SUITE.replace('name = "tiny"', 'name = "city"'))
    shutil.copy(other / "suite.lock", releases / "suite" / "suite.lock")
    what = "this lock is of the suite city 1, not of the suite tiny 1"
    refused(gate(*COMPARE, cwd=releases), 4, "suite/suite.lock", what, "to mend: restore the files")


def test_a_lock_that_was_edited_is_refused(releases: Path, without_contract_worker: None) -> None:
    edit(releases / "suite" / "suite.lock", 'version = "1"', 'version = "2"')
    refused(
        gate(*COMPARE, cwd=releases),
        4,
        "suite/suite.lock",
        "the lock itself was changed by hand",
        "to mend: restore it",
    )


def test_a_lock_for_another_evaluator_is_refused(
    releases: Path, without_contract_worker: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gate.suite.suite.EVALUATOR", "2")
    refused(gate(*COMPARE, cwd=releases), 4, "suite/suite.lock", "frozen for evaluator 1, this gate has evaluator 2")


def test_a_suite_that_is_not_frozen_is_refused(releases: Path, without_contract_worker: None) -> None:
    (releases / "suite" / "suite.lock").unlink()
    refused(
        gate(*COMPARE, cwd=releases), 4, "suite: this suite is not frozen", "to mend: run `gate suite freeze suite`"
    )


# The same bundle, and folders that are none


def test_the_same_bundle_twice_is_identical_and_may_ship(releases: Path, without_contract_worker: None) -> None:
    decided(gate("compare", "old", "old", "--suite", "suite", "--out", "out", cwd=releases), 0)
    assert {c["impact"] for c in verdict(releases)["cells"]} == {"identical"}
    assert {c["verdict"] for c in verdict(releases)["cells"]} == {"non-inferior"}
    assert "4 identical by construction" in verdict(releases)["reasons"][0]["text"]


def test_a_copy_of_the_bundle_is_identical_too(releases: Path, without_contract_worker: None) -> None:
    shutil.copytree(releases / "old", releases / "copy")
    decided(gate("compare", "old", "copy", "--suite", "suite", "--out", "out", cwd=releases), 0)
    assert {c["impact"] for c in verdict(releases)["cells"]} == {"identical"}


@pytest.mark.parametrize(("old", "new"), [("nowhere", "new"), ("old", "nowhere")])
def test_a_folder_that_is_no_bundle_is_refused(
    releases: Path, without_contract_worker: None, old: str, new: str
) -> None:
    words = ("nowhere: no bundle.toml in this folder", "to mend: name the folder of a bundle")
    refused(gate("compare", old, new, "--suite", "suite", "--out", "out", cwd=releases), 4, *words)


# Where nothing can be written


@pytest.mark.parametrize("out", ["frames.csv", "frames.csv/deeper"])
@pytest.mark.parametrize("words", [COMPARE[:-1], ("run", "new", "--suite", "suite", "--out")])
def test_an_out_folder_that_cannot_be_written_is_refused_before_any_work(
    releases: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], out: str
) -> None:
    shutil.copy(releases / "suite" / "frames.csv", releases)
    for work in ("gate.run.contracts.contract_worker", "gate.pipeline.run", "gate.run.run"):
        monkeypatch.setattr(work, None)  # calling it would be an internal error
    refused(
        gate(*words, out, cwd=releases), 2, f"{out}: nothing can be written there", "to mend: choose another folder"
    )


# One failure, and what stood there before


def test_a_failed_run_leaves_no_verdict_and_touches_no_earlier_report(
    releases: Path, without_contract_worker: None
) -> None:
    assert gate(*COMPARE, cwd=releases).code == 0
    (releases / "new" / "cam.parquet").write_bytes(b"PAR1")
    refused(gate(*COMPARE, cwd=releases), 4, "new/cam.parquet")
    refused(gate(*COMPARE[:-1], "elsewhere", cwd=releases), 4, "new/cam.parquet")
    assert list((releases / "elsewhere").iterdir()) == []


def test_all_problems_of_a_file_are_told_at_once(releases: Path, without_contract_worker: None) -> None:
    (releases / "suite" / "policy.toml").write_text(POLICY.replace("f1", "f1x").replace("resamples", "resampels"))
    ended = gate(*COMPARE, cwd=releases)
    assert ended.code == 2
    assert "resampels" in ended.err
    (releases / "suite" / "suite.toml").write_text(SUITE.replace("order_by", "oder_by").replace("multilabel", "multi"))
    ended = gate(*COMPARE, cwd=releases)
    assert "oder_by" in ended.err
    assert "heads.0.task" in ended.err


def test_a_fault_of_gate_itself_is_an_internal_error_without_a_traceback(
    releases: Path, without_contract_worker: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gate.pipeline.compare", lambda *a, **k: 1 / 0)
    ended = gate(*COMPARE, cwd=releases)
    assert ended.code == 4
    assert "internal error: ZeroDivisionError" in ended.err
    assert "GATE_TRACEBACK=1" in ended.err
    assert "Traceback" not in ended.err
    assert ended.made == ()
