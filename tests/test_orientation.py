"""Directions: numbers worked out by hand, the laws of a circle, and a planted loss judged end to end."""

from __future__ import annotations

import json
import math
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gate.compare import Question, Side, compare
from gate.curves import curves, orientation_similarity
from gate.errors import BundleError, ConfigError, SuiteError
from gate.evidence import Evidence
from gate.heads import Decoder, Head
from gate.lattice import NO_THRESHOLD
from gate.measures import NotMeasured, measure, metric
from gate.report.flips import flips_of
from gate.report.told import told
from gate.stacked import Stacked
from gate.suite import Slice, open_suite
from gate.suite.truth import check_truth
from gate.table import ClipIndex, EvidenceTable, by_score
from gate.tasks import Batch, orientation
from gate.tasks.orientation import short_way
from tests.support.kinds import boxes_of, head_of
from tests.support.tiny import BARE, World, gate, make_world, refreeze, write_bundle, write_suite

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
    sides = [Side(Stacked.of(t), codes) for t in tables]
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
    assert drawing.facts == ("3 places off by over 15°, 1 off by over 45°",)
    (event,) = orientation.events(batch, heading(), 0, None)
    assert event.error.tolist() == [(15 + 16 + 45 + 46) / 4]


# A whole comparison

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
    write_suite(folder, world, text=BARE + heads, policy=POLICY, freeze=False)
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
    assert "share within 15 degrees" in (tmp_path / "out/report.html").read_text()
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
    write_suite(tmp_path / "suite", world, text=BARE + head, policy=policy)
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


# Oriented objects

UNIT = (0.0, 0.0, 10.0, 10.0)
Detection = tuple[float, tuple[float, ...], float]  # logit, box, angle
Thing = tuple[tuple[float, ...], float]  # box, angle
Frame = tuple[list[Thing], list[Detection]]


def place(k: int) -> tuple[float, ...]:
    """The k-th of boxes that lie side by side."""
    return (20.0 * k, 0.0, 20.0 * k + 10, 10.0)


def objects_head(period: int = 360, unit: str = "degrees") -> Head:
    roles = tuple((role, f"cam.{role}") for role in ("angle", "box", "score"))
    more: dict[str, Any] = {"score": "sigmoid", "decoder": Decoder("boxes", floor=0.001), "levels": (0.5, 0.0)}
    return head_of("orientation", ("car",), outputs=roles, period=period, unit=unit, **more)


def outputs_of(frames: list[Frame]) -> dict[str, Array]:
    """Detections of frames, padded to equal length by rows below every floor."""
    rows = max(1, *(len(found) for _, found in frames))
    padded = [[*found, *[(-50.0, UNIT, 0.0)] * (rows - len(found))] for _, found in frames]
    logit, box, angle = ([[d[k] for d in frame] for frame in padded] for k in range(3))
    return {"score": np.array(logit), "box": np.array(box), "angle": np.array(angle)}


def oriented(frames: list[Frame], head: Head, cells: Any = None) -> EvidenceTable:
    truths = boxes_of([[(0, box, False, angle) for box, angle in truth] for truth, _ in frames])
    cell = np.zeros(len(frames), np.int64) if cells is None else np.asarray(cells)
    return orientation.reduce(Batch(outputs_of(frames), truths, cell, int(cell.max()) + 1), head)


def aos(frames: list[Frame], head: Head | None = None) -> float:
    table = oriented(frames, head or objects_head())
    return float(orientation_similarity(curves(by_score(table), np.ones(table.cells, bool)))[0])


def official(frames: list[Frame], period: float = 360.0) -> float:
    """AOS by its definition, of frames whose boxes coincide with truths or lie apart from all."""
    scored: list[tuple[float, bool, float]] = []
    for truth, found in frames:
        free = dict(truth)
        for score, box, angle in sorted(found, reverse=True):
            hit = box in free
            turn = 2 * math.pi * (angle - free.pop(box)) / period if hit else 0.0
            scored.append((score, hit, (1 + math.cos(turn)) / 2 if hit else 0.0))
    total = sum(len(truth) for truth, _ in frames)
    if not total:
        return NAN
    points = []
    for score in {s for s, _, _ in scored}:
        given = [(hit, similar) for s, hit, similar in scored if s >= score]
        points.append((sum(hit for hit, _ in given) / total, sum(similar for _, similar in given) / len(given)))
    return sum(max((s for r, s in points if r >= k / 40), default=0.0) for k in range(1, 41)) / 40


def test_three_detections_worked_out_by_hand() -> None:
    # Best first: a car turned by 60 degrees (similarity 3/4), a false alarm, a car turned by 90 degrees (1/2).
    frames: list[Frame] = [
        ([(place(0), 0.0), (place(1), 90.0)], [(3.0, place(0), 60.0), (2.0, place(5), 0.0), (1.0, place(1), 0.0)])
    ]
    # s = 3/4 at recall 1/2; 3/8; (3/4 + 1/2) / 3 = 5/12 at recall 1. Half of the forty recalls see 3/4, half 5/12.
    assert aos(frames) == pytest.approx((3 / 4 + 5 / 12) / 2, abs=1e-6)
    assert aos(frames) == pytest.approx(official(frames), abs=1e-6)


def test_the_wrong_way_round_is_worth_nothing_unless_the_period_forgives_it() -> None:
    frames: list[Frame] = [([(place(0), 10.0)], [(1.0, place(0), 190.0)])]
    assert aos(frames) == pytest.approx(0.0, abs=1e-6)
    assert aos(frames, objects_head(180)) == 1.0
    radians: list[Frame] = [([(place(0), 0.0)], [(1.0, place(0), math.pi / 2)])]
    assert aos(radians, objects_head(unit="radians")) == pytest.approx(0.5, abs=1e-6)


def random_frames(seed: int, count: int, spread: float = 60.0) -> list[Frame]:
    """Cars of which some are missed, some found twice, beside false alarms; scores in quarters, so that some tie."""
    rng = np.random.default_rng(seed)
    frames: list[Frame] = []
    for _ in range(count):
        truth = [(place(k), float(rng.uniform(0, 360))) for k in range(int(rng.integers(0, 4)))]
        found = [
            (round(4 * float(rng.normal(1, 1))) / 4, box, angle + spread * float(rng.normal()))
            for box, angle in truth
            for _ in range(int(rng.choice([0, 1, 1, 2])))
        ]
        false = [(round(4 * float(rng.normal(-1, 1))) / 4, place(9 + k), 0.0) for k in range(int(rng.integers(0, 3)))]
        # A tie between doubles of one car would leave open which of them hits.
        scores = {d[0] for d in found}
        frames.append((truth, [*(found if len(scores) == len(found) else found[:1]), *false]))
    return frames


@given(st.integers(0, 10**6), st.integers(1, 8), st.sampled_from((90, 180, 360)))
@settings(max_examples=40, deadline=None, database=None)
def test_orientation_similarity_is_what_its_definition_says(seed: int, count: int, period: int) -> None:
    frames = random_frames(seed, count)
    expected = official(frames, period)
    measured = aos(frames, objects_head(period))
    assert measured == pytest.approx(expected, abs=1e-5) or (math.isnan(expected) and math.isnan(measured))


@given(st.integers(0, 10**6))
@settings(max_examples=20, deadline=None, database=None)
def test_right_angles_leave_the_precision_of_the_detection_and_no_angle_adds_to_it(seed: int) -> None:
    right, turned = (
        [([(b, 0.0) for b, _ in truth], [(s, b, off) for s, b, _ in found]) for truth, found in random_frames(seed, 8)]
        for off in (0.0, 40.0)
    )
    if not any(truth for truth, _ in right):
        return
    assert aos(right) == pytest.approx(official(right), abs=1e-6)
    assert aos(turned) == pytest.approx(aos(right) * (1 + math.cos(math.radians(40))) / 2, abs=1e-5)


def test_the_order_of_rows_changes_nothing_even_among_equal_boxes() -> None:
    found = [(1.0, place(0), 0.0), (1.0, place(0), 180.0), (1.0, place(0), 90.0)]
    tables = [
        oriented([([(place(0), 0.0)], [found[k] for k in order])], objects_head()) for order in permutations(range(3))
    ]
    assert all(t == tables[0] for t in tables)


def test_objects_have_the_three_empty_cases_of_a_detection() -> None:
    head, car = objects_head(), place(0)
    nothing = oriented([([], [(-50.0, UNIT, 0.0)])], head)
    assert (len(nothing.keys), nothing.row(0, 0).moments.values) == (0, (1,))
    assert math.isnan(aos([([], [(1.0, car, 0.0)])]))
    assert aos([([(car, 0.0)], [(-50.0, UNIT, 0.0)])]) == 0.0


def test_a_box_without_an_angle_is_an_ignore_region() -> None:
    frames: list[Frame] = [([(place(0), NAN), (place(1), 5.0)], [(2.0, place(0), 0.0), (1.0, place(1), 5.0)])]
    assert aos(frames) == 1.0
    (event,) = orientation.events(_batch(frames), objects_head(), 0, 0.0)
    assert event.boxes.tolist() == [list(place(1))]


def _batch(frames: list[Frame]) -> Batch:
    truths = boxes_of([[(0, box, False, angle) for box, angle in truth] for truth, _ in frames])
    return Batch(outputs_of(frames), truths, np.zeros(len(frames), np.int64), 1)


def test_a_frame_shows_what_is_right_turned_false_and_missed() -> None:
    truth = [(place(0), 0.0), (place(1), 0.0), (place(2), 0.0), (place(3), NAN)]
    found = [
        (3.0, place(0), 355.0),
        (2.0, place(1), 90.0),
        (1.0, place(6), 0.0),
        (-2.0, place(2), 0.0),
        (1.0, place(3), 0.0),
    ]
    batch, head = _batch([(truth, found)]), objects_head()
    drawing = orientation.picture(batch, head, 0, 0.0)
    assert drawing.facts == ("1 right, 1 turned, 1 false, 1 missed",)
    captions = sorted((b[5], b[4]) for b in drawing.boxes if b[5])
    assert captions == [("0.73", "false"), ("0.73", "ignored"), ("0.88, 90° off", "false"), ("0.95, 5° off", "hit")]
    (event,) = orientation.events(batch, head, 0, 0.0)
    assert event.wrong.tolist() == [False, True, True]
    assert event.alarms.corners.tolist() == [list(place(6))]


def test_what_moved_says_that_boxes_turned() -> None:
    head, truth = objects_head(), [(place(0), 0.0), (place(1), 0.0)]

    def seen(angle: float) -> Any:
        return next(orientation.events(_batch([(truth, [(3.0, place(0), angle), (2.0, place(1), 0.0)])]), head, 0, 0.0))

    old, turned, nudged = seen(0.0), seen(90.0), seen(10.0)
    (flip,) = flips_of(old, turned, 0.5)
    assert (flip.kind, flip.event) == ("missed", "0.0,0.0,10.0,10.0")
    assert told(head, [flip], old, turned).startswith("1 box missed or turned that the incumbent found")
    assert told(head, flips_of(turned, old, 0.5), turned, old).startswith(
        "1 box found that the incumbent missed or turned"
    )
    assert flips_of(old, nudged, 0.5) == []
    assert told(head, [], old, nudged) == "no box flipped, but their scores or angles got worse"


@pytest.mark.parametrize("seed", range(3))
def test_contributions_of_orientation_similarity_are_those_of_leaving_each_clip_out(seed: int) -> None:
    clips = 9
    old = random_frames(seed, clips, 20.0)
    rng = np.random.default_rng(seed)
    new = [(t, [(s, b, a + 50 * float(rng.normal())) for s, b, a in found]) for t, found in old]
    codes, one = np.array([0x8000, 0x8000]), [Slice("all", np.ones(clips, bool))]
    sides = [Side(Stacked.of(oriented(frames, objects_head(), np.arange(clips))), codes) for frames in (old, new)]
    index = ClipIndex(np.arange(clips), clips)
    found = compare(sides[0], sides[1], [Question(0, (0, 1), "aos")], one, index, np.zeros(2, bool))
    left = [official(new[:j] + new[j + 1 :]) - official(old[:j] + old[j + 1 :]) for j in range(clips)]
    delta = official(new) - official(old)
    assert (found.incumbent[0], found.candidate[0]) == (
        pytest.approx(official(old), abs=1e-5),
        pytest.approx(official(new), abs=1e-5),
    )
    present = [bool(t or f) for t, f in old]
    k = sum(present)
    error = (k - 1) / k * sum((x - delta) ** 2 for x, here in zip(left, present, strict=True) if here)
    assert found.se[0] == pytest.approx(math.sqrt(error), abs=1e-4)
    assert found.d[0].sum() == pytest.approx(delta, abs=1e-4)
    total = sum(len(t) for t, _ in old)
    assert (found.positives[0], found.lost[0]) == (total, pytest.approx(1 / total))
    assert found.weight[0].sum() == pytest.approx(1.0)


CARS = """
[[heads]]
head = "cam.det"
task = "detection"
outputs = { box = "cam.box", score = "cam.score" }
channels = ["car"]
decoder = { kind = "boxes", floor = 0.01 }
truth = { table = "cars.csv", class = "class", box = ["x0", "y0", "x1", "y1"] }

[[heads]]
head = "cam.yaw"
task = "orientation"
outputs = { box = "cam.box", score = "cam.score", angle = "cam.angle" }
channels = ["car"]
decoder = { kind = "boxes", floor = 0.01 }
match = { kind = "iou", at = 0.7 }
truth = { table = "cars.csv", class = "class", box = ["x0", "y0", "x1", "y1"], angle = "yaw" }
"""
CAR_RULES = """\
resamples = 999

[[rules]]
match = "*"
metrics = ["average_precision", "f1"]
margin = 0.1

[[rules]]
match = "cam.yaw"
metrics = ["aos"]
margin = 0.1
"""


def car_releases(folder: Path, spread: float) -> list[list[Frame]]:
    """Frames of either release on the validation clips, of a suite and the bundles `old` and `new`."""
    world = make_world(calibration=8, validation=24)
    rng, lines, truths = np.random.default_rng(1), ["frame_id,class,x0,y0,x1,y1,yaw"], []
    for name in world.ids:
        cars = [(place(k), round(float(rng.uniform(0, 360)), 3)) for k in range(2)]
        lines += [f"{name},car,{','.join(map(str, box))},{yaw}" for box, yaw in cars]
        truths.append(cars)
    write_suite(folder / "suite", world, text=BARE + CARS, policy=CAR_RULES, freeze=False)
    (folder / "suite/cars.csv").write_text("\n".join(lines) + "\n")
    refreeze(folder / "suite")
    boxes = np.tile([*map(place, range(3))], (len(world.ids), 1, 1))
    answers = []
    for name, wide in (("old", 10.0), ("new", spread)):
        angle = np.pad([[yaw for _, yaw in cars] for cars in truths], ((0, 0), (0, 1))) + rng.normal(
            0, wide, (len(world.ids), 3)
        )
        score = np.random.default_rng(2).normal([2.0, 2.0, -1.0], 1.0, angle.shape)
        written = {"box": boxes, "score": score.astype(np.float16), "angle": angle.astype(np.float32)}
        write_bundle(folder / name, world, written, version=name)
        rows = range(8 * 4, len(world.ids))
        answers.append(
            [
                (
                    truths[k],
                    [(float(written["score"][k, r]), place(r), float(written["angle"][k, r])) for r in range(3)],
                )
                for k in rows
            ]
        )
    return answers


def test_objects_that_are_turned_are_a_proven_loss_while_their_boxes_are_not(
    tmp_path: Path, without_contract_worker: None
) -> None:
    answers = car_releases(tmp_path, 70.0)
    ended = gate("compare", "old", "new", "--suite", "suite", "--out", "out", cwd=tmp_path)
    assert ended.code == 1, ended.err
    cells = {
        (c["head"], c["metric"]): c
        for c in json.loads((tmp_path / "out/verdict.json").read_text())["cells"]
        if c["slice"] == "all"
    }
    aos_cell = cells["cam.yaw", "aos"]
    assert (aos_cell["verdict"], aos_cell["unit"], aos_cell["lower_is_better"]) == ("regressed", "", False)
    assert aos_cell["positives"] == 24 * 4 * 2
    for side, frames in zip(("incumbent", "candidate"), answers, strict=True):
        assert aos_cell[side] == pytest.approx(official(frames), abs=1e-3)  # scores lie on a lattice
    assert {c["verdict"] for (head, _), c in cells.items() if head == "cam.det"} == {"non-inferior"}
    page = (tmp_path / "out/report.html").read_text()
    assert "missed or turned that the incumbent found" in page
    assert "false alarm or turned</span>" in page
    rows = pq.read_table(tmp_path / "out/flips.parquet").to_pylist()
    assert {r["prediction"] for r in rows} == {"cam.yaw"}
    assert {"missed", "found"} >= {r["kind"] for r in rows}


def test_an_object_with_an_angle_out_of_range_is_refused_with_its_frame(tmp_path: Path) -> None:
    car_releases(tmp_path, 10.0)
    path = tmp_path / "suite/cars.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:-1], lines[-1].rpartition(",")[0] + ",500.0"]) + "\n")
    suite = open_suite(tmp_path / "suite")
    with pytest.raises(SuiteError, match=r"angle 500 out of range \(-360 to 360 degrees"):
        check_truth(suite.truths[1], suite.frames, np.arange(len(suite.frames.ids)))


def test_angles_that_fit_no_boxes_are_refused() -> None:
    outputs = outputs_of([([], [(1.0, place(0), 0.0)])]) | {"angle": np.zeros((1, 3))}
    with pytest.raises(BundleError, match=r"angles of shape \(3,\) a frame for boxes of \(1,\) places"):
        orientation.scores(outputs, objects_head())


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (', angle = "yaw"', "", "oriented objects, and only they, have `angle`"),
        (', angle = "cam.angle"', "", "this decoder reads the outputs angle and box and score"),
        ("at = 0.7", "at = [0.5, 0.7]", "oriented objects are matched at one IoU"),
        ('task = "orientation"', 'task = "detection"', "oriented objects, and only they, have `angle`"),
        (
            'channels = ["car"]\ndecoder = { kind = "boxes", floor = 0.01 }\nmatch',
            "match",
            "orientation needs `channels`",
        ),
        ('class = "class", box = ["x0", "y0", "x1", "y1"], angle', "angle", "have a table with `class` and `box`"),
    ],
)
def test_oriented_objects_are_declared_whole(tmp_path: Path, old: str, new: str, says: str) -> None:
    head, text = CARS.split("\n\n"), BARE
    assert old in head[1]
    with pytest.raises(ConfigError, match=says):
        write_suite(tmp_path, make_world(1, 1), text=text + "\n" + head[1].replace(old, new), policy=CAR_RULES)
