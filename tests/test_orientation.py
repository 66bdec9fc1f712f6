"""Directions: numbers worked out by hand, the laws of a circle, and a planted loss judged end to end."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gate.compare import Question, Side, compare
from gate.errors import BundleError, ConfigError, SuiteError
from gate.evidence import Evidence
from gate.heads import Head
from gate.lattice import NO_THRESHOLD
from gate.measures import NotMeasured, measure, metric
from gate.suite import Slice, open_suite
from gate.suite.truth import check_truth
from gate.table import ClipIndex, EvidenceTable
from gate.tasks import Batch, orientation
from gate.tasks.orientation import short_way
from tests.support.kinds import head_of
from tests.support.tiny import World, gate, make_world, refreeze, write_bundle, write_suite

Array = NDArray[Any]
NAN = math.nan
NEAR = 1e-8
NAMES = ("mae", "rmse", "within_15_degrees")


def heading(period: int = 360, unit: str = "degrees", **more: Any) -> Head:
    return head_of("orientation", unit=unit, period=period, **more)


def batch_of(said: Any, truth: Any) -> Batch:
    """Frames in cells of their own."""
    said, truth = np.asarray(said, np.float64), np.asarray(truth, np.float64)
    return Batch({"": said}, truth, np.arange(len(said)), len(said))


def reduced(said: Any, truth: Any, head: Head) -> EvidenceTable:
    return orientation.reduce(batch_of(said, truth), head)


def values(said: Any, truth: Any, head: Head, names: tuple[str, ...] = NAMES) -> dict[str, Any]:
    table = reduced(said, truth, head)
    evidence = sum((table.row(0, cell) for cell in range(table.cells)), Evidence())
    return {name: measure(name, evidence) for name in names}


# Definitions


def test_four_headings_worked_out_by_hand() -> None:
    # errors +20 (over north), -15, 180 (the wrong way round), 0
    found = values([[10.0], [75.0], [270.0], [359.0]], [[350.0], [90.0], [90.0], [359.0]], heading())
    assert found["mae"] == pytest.approx((20 + 15 + 180 + 0) / 4, abs=NEAR)
    assert found["rmse"] == pytest.approx(math.sqrt((400 + 225 + 32400) / 4), abs=NEAR)
    assert found["within_15_degrees"] == 0.5, "15 degrees are within 15 degrees"


def test_a_line_without_an_arrow_has_no_wrong_way_round() -> None:
    said, truth = [[10.0], [75.0], [270.0], [1.0]], [[350.0], [90.0], [90.0], [179.0]]
    assert values(said, truth, heading(180), ("mae",)) == {"mae": pytest.approx((20 + 15 + 0 + 2) / 4, abs=NEAR)}
    assert values([[0.0]], [[90.0]], heading(90), ("mae",)) == {"mae": 0.0}


def test_errors_in_radians_stay_in_radians_and_fifteen_degrees_stay_fifteen_degrees() -> None:
    said, truth = [[math.pi - 0.1], [0.2], [0.3]], [[0.1 - math.pi], [0.0], [0.0]]
    found = values(said, truth, heading(unit="radians"))
    assert found["mae"] == pytest.approx((0.2 + 0.2 + 0.3) / 3, abs=NEAR)
    assert found["within_15_degrees"] == pytest.approx(2 / 3)  # 0.2 is 11.5 degrees, 0.3 is 17.2


angles = st.floats(-720, 720)


@given(angles, angles, st.integers(-3, 3), st.sampled_from((90, 180, 360)))
@settings(deadline=None, database=None)
def test_a_period_more_changes_nothing_and_the_other_way_round_is_as_far(a: float, b: float, k: int, p: int) -> None:
    error = float(short_way(np.array(a - b), p))
    assert -p / 2 <= error <= p / 2
    assert math.cos(2 * math.pi * error / p) == pytest.approx(math.cos(2 * math.pi * (a - b) / p), abs=1e-9)
    for other in (a + k * p - b, b - a):
        assert abs(float(short_way(np.array(other), p))) == pytest.approx(abs(error), abs=1e-9)


@given(st.lists(st.tuples(angles, angles), min_size=1, max_size=9), st.sampled_from((90, 180, 360)))
@settings(deadline=None, max_examples=40, database=None)
def test_errors_are_the_angle_of_a_quotient_of_complex_numbers(pairs: list[tuple[float, float]], period: int) -> None:
    said, truth = np.array(pairs).T
    turn = 2 * np.pi / period
    error = np.abs(np.angle(np.exp(1j * turn * said) / np.exp(1j * turn * truth))) / turn
    found = values(said[:, None], truth[:, None], heading(period), ("mae", "rmse"))
    assert found["mae"] == pytest.approx(error.mean(), abs=1e-6)
    assert found["rmse"] == pytest.approx(math.sqrt((error**2).mean()), abs=1e-6)


def test_a_raster_counts_each_place_that_has_a_direction() -> None:
    truth = np.array([[[0.0, NAN], [90.0, 170.0]], [[NAN, NAN], [NAN, NAN]]])
    said = np.array([[[5.0, 3.0], [120.0, 0.0]], [[1.0, 2.0], [3.0, 4.0]]])
    table = reduced(said, truth, heading(180))
    row = dict(zip(table.names, table.row(0, 0).moments.values, strict=True))
    assert (row["events"], row["frames"], row["within_15_degrees"]) == (3, 1, 2)
    assert measure("mae", table.row(0, 0)) == pytest.approx((5 + 30 + 10) / 3, abs=NEAR)
    assert not any(table.row(0, 1).moments.values)


def test_a_frame_without_truth_counts_for_nobody_and_nothing_measured_has_no_value() -> None:
    table = reduced([[10.0], [20.0]], [[NAN], [10.0]], heading())
    assert not any(table.row(0, 0).moments.values)
    for name in NAMES:
        assert measure(name, table.row(0, 0)) == NotMeasured("no events")


def test_channels_are_judged_alone_and_an_output_of_another_shape_is_refused() -> None:
    head = head_of("orientation", ("lane", "road"), judged=(1,), unit="degrees")
    table = reduced([[10.0, 20.0]], [[0.0, 15.0]], head)
    assert [s.prediction for s in table.series] == ["cam.it[road]"]
    assert measure("mae", table.row(0, 0)) == 5.0
    with pytest.raises(BundleError, match=r"\(3,\) a frame for 2 channels"):
        orientation.scores({"": np.zeros((4, 3))}, head)
    assert orientation.shape(head, np.zeros((4, 2))) == (2,)
    assert orientation.shape(head, np.zeros((4, 2, 5, 6))) == (2, 5, 6)


# The statistics


@pytest.mark.parametrize("seed", range(3))
def test_contributions_and_errors_are_those_of_leaving_each_clip_out(seed: int) -> None:
    rng, clips = np.random.default_rng(seed), 9
    cell = np.repeat(np.arange(clips), rng.integers(1, 5, clips))
    truth = rng.uniform(0, 360, (len(cell), 1))
    said = [truth + rng.normal(0, spread, truth.shape) for spread in (15.0, 25.0)]
    tables = [orientation.reduce(Batch({"": s}, truth, cell, clips), heading()) for s in said]
    codes, one = np.array([NO_THRESHOLD]), [Slice("all", np.ones(clips, bool))]
    sides = [Side(t, codes) for t in tables]
    questions = [Question(0, (0,), name) for name in NAMES]
    found = compare(sides[0], sides[1], questions, one, ClipIndex(np.arange(clips), clips), np.array([True]))

    def plainly(name: str, k: int, left_out: int) -> float:
        error = np.abs((said[k] - truth + 180) % 360 - 180)[cell != left_out]
        of = {"mae": error.mean(), "rmse": np.sqrt((error**2).mean()), "within_15_degrees": (error <= 15).mean()}
        return float(of[name])

    for i, question in enumerate(found.question):
        name = NAMES[question]
        sign = -1 if metric(name).lower_is_better else 1
        delta, *left = (sign * (plainly(name, 1, j) - plainly(name, 0, j)) for j in range(-1, clips))
        assert found.delta[i] == pytest.approx(delta, abs=1e-6)
        error = (clips - 1) / clips * sum((x - delta) ** 2 for x in left)
        assert found.se[i] == pytest.approx(math.sqrt(error), abs=1e-6)
        assert found.d[i].sum() == pytest.approx(delta, abs=1e-6)


# What a reviewer sees


def test_one_direction_is_told_with_truth_output_and_error() -> None:
    batch = batch_of([[350.0], [5.0]], [[10.0], [NAN]])
    assert orientation.picture(batch, heading(), 0, None).facts == ("truth 10 degrees", "350 (error \u221220)")
    known, unknown = orientation.events(batch, heading(), 0, None)
    assert (known.truth.tolist(), known.error.tolist()) == ([10.0], [-20.0])
    assert len(unknown.truth) == 0
    second = Batch({"": np.array([[5.0]])}, np.array([[NAN]]), np.array([0]), 1)
    assert orientation.picture(second, heading(), 0, None).facts == ("truth not measured", "5 degrees")


def test_a_raster_is_drawn_by_how_far_it_is_off() -> None:
    batch = batch_of([[[15.0, 16.0, 45.0, 46.0, 5.0]]], [[[0.0, 0.0, 0.0, 0.0, NAN]]])
    drawing = orientation.picture(batch, heading(), 0, None)
    assert drawing.raster.tolist() == [[1, 2, 2, 3, 255]]
    assert drawing.facts == ("3 places off by over 15°, 1 by over 45°",)
    (event,) = orientation.events(batch, heading(), 0, None)
    assert event.error.tolist() == [(15 + 16 + 45 + 46) / 4]


# A whole comparison

EXAM = """\
[suite]
name = "tiny"
version = "1"
frames = "frames.csv"
frame_id = "frame_id"
clip_id = "clip_id"
order_by = "at"
slices = ["light"]

[splits]
column = "split"
calibration = "calibration"
validation = "validation"
"""
LANES = """
[[heads]]
head = "cam.lanes"
task = "orientation"
unit = "radians"
period = 180
truth = { array = "lanes.npz", key = "lanes", rows = "frame_id" }
"""
POLICY = """\
resamples = 999

[[rules]]
match = "cam.lanes"
tier = "critical"
metrics = ["mae", "rmse", "within_15_degrees"]
margins = { mae = 0.03, rmse = 0.05, within_15_degrees = 0.15 }
"""
VALIDATION = slice(4 * 4, None)


def exam(folder: Path, truth: Any = None, *, heads: str = LANES, freeze: bool = True) -> tuple[World, Array]:
    """(world, truth) of a suite with one head of directions in a raster."""
    world = make_world(calibration=4, validation=24)
    if truth is None:
        truth = np.random.default_rng(3).uniform(0, math.pi, (len(world.ids), 5, 6)).astype(np.float32)
        truth[:, 1, :4] = NAN
    write_suite(folder, world, text=EXAM + heads, policy=POLICY, freeze=False)
    np.savez(folder / "lanes.npz", frame_id=np.array(world.ids), lanes=truth)
    if freeze:
        refreeze(folder)
    return world, truth


def releases_of(folder: Path, spread: float) -> tuple[Array, dict[str, Array]]:
    """(truth, outputs of either release) on the validation frames."""
    world, truth = exam(folder / "suite")
    rng, outputs = np.random.default_rng(7), {}
    for name, who, wide in (("old", "incumbent", 0.1), ("new", "candidate", spread)):
        # Lines have no arrow: half of the answers point the other way.
        said = np.nan_to_num(truth) + rng.normal(0, wide, truth.shape) + math.pi * rng.integers(-1, 2, truth.shape)
        write_bundle(folder / name, world, {"lanes": said.astype(np.float32)}, version=name)
        outputs[who] = said.astype(np.float32)[VALIDATION].astype(np.float64)
    return truth[VALIDATION].astype(np.float64), outputs


def test_a_planted_loss_of_direction_is_proven_and_told_in_every_report(
    tmp_path: Path, without_contract_worker: None
) -> None:
    truth, released = releases_of(tmp_path, 0.2)
    ended = gate("compare", "old", "new", "--suite", "suite", "--out", "out", cwd=tmp_path)
    assert ended.code == 1, ended.err
    cells = {
        c["metric"]: c for c in json.loads((tmp_path / "out/verdict.json").read_text())["cells"] if c["slice"] == "all"
    }
    assert {c["verdict"] for c in cells.values()} == {"regressed"}
    assert [cells[name]["unit"] for name in NAMES] == ["radians", "radians", ""]
    assert [cells[name]["lower_is_better"] for name in NAMES] == [True, True, False]
    for side, said in released.items():
        # Lines whose directions differ by x are apart by the arc sine of |sin x|.
        error = np.arcsin(np.abs(np.sin(said - truth)))[~np.isnan(truth)]
        assert cells["mae"][side] == pytest.approx(error.mean(), abs=1e-6)
        assert cells["rmse"][side] == pytest.approx(np.sqrt((error**2).mean()), abs=1e-6)
        assert cells["within_15_degrees"][side] == pytest.approx((np.degrees(error) <= 15).mean(), abs=1e-9)
    assert "share within 15°" in (tmp_path / "out/report.html").read_text()
    assert "off by over 15°" in (tmp_path / "out/report.html").read_text()
    rows = pq.read_table(tmp_path / "out/flips.parquet").to_pylist()
    assert rows
    assert {(r["truth"], r["kind"]) for r in rows} == {(None, "worse")}


def test_an_equal_release_of_directions_passes(tmp_path: Path, without_contract_worker: None) -> None:
    releases_of(tmp_path, 0.1)
    ended = gate("compare", "old", "new", "--suite", "suite", "--out", "out", cwd=tmp_path)
    assert ended.code == 0, ended.out


def test_a_heading_a_frame_is_read_from_a_column(tmp_path: Path, without_contract_worker: None) -> None:
    head = '\n[[heads]]\nhead = "cam.yaw"\ntask = "orientation"\ntruth = { columns = "range" }\n'
    world = make_world(calibration=4, validation=12)
    policy = POLICY.replace("cam.lanes", "cam.yaw").replace('"critical"', '"supporting"').replace("0.0", "2.0")
    write_suite(tmp_path / "suite", world, text=EXAM + head, policy=policy)
    suite = open_suite(tmp_path / "suite")
    assert (suite.heads[0].unit, suite.heads[0].period, suite.heads[0].score) == ("degrees", 360, None)
    for name, off in (("old", 3.0), ("new", 363.0)):
        write_bundle(tmp_path / name, world, {"yaw": world.range_m + off}, version=name)
    ended = gate("compare", "old", "new", "--suite", "suite", "--out", "out", cwd=tmp_path)
    assert ended.code == 0, ended.out
    cells = json.loads((tmp_path / "out/verdict.json").read_text())["cells"]
    assert cells[0]["candidate"] == pytest.approx(3.0, abs=1e-3)


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("period = 120", "period"),
        ('unit = "rad"', "the unit of orientation is degrees or radians"),
        ('score = "sigmoid"', "orientation is measured, and has no score"),
        ("cap = 3.0", "only depth has `cap`"),
        ("ignore = 255", "`ignore` is for rasters"),
    ],
)
def test_what_orientation_does_not_have_is_refused(tmp_path: Path, key: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        exam(tmp_path, heads=LANES.replace("period = 180" if "unit" not in key else 'unit = "radians"', key))


def test_a_period_is_for_orientation_alone(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="only orientation has `period`"):
        exam(tmp_path, heads=LANES.replace('"orientation"\nunit = "radians"\n', '"occupancy"\n'))


def test_a_truth_in_degrees_is_no_truth_in_radians(tmp_path: Path) -> None:
    truth = exam(tmp_path, freeze=False)[1]
    suite = open_suite(tmp_path)
    assert check_truth(suite.truths[0], suite.frames, np.arange(8)) == (5, 6)
    exam(tmp_path, np.degrees(truth), freeze=False)
    suite = open_suite(tmp_path)
    with pytest.raises(
        SuiteError, match=r"out of range \(-6.28319 to 6.28319 radians, or empty where nobody measured\)"
    ):
        check_truth(suite.truths[0], suite.frames, np.arange(8))
    exam(tmp_path, truth[:, 0, 0], freeze=False)
    suite = open_suite(tmp_path)
    with pytest.raises(SuiteError, match="orientation wants"):
        check_truth(suite.truths[0], suite.frames, np.arange(8))
