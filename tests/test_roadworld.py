"""The synthetic driving world: facts counted by hand on tiny scenes, the same bits everywhere, the exam made of it."""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.roadworld import cameras, driving, heads, integers, make_suite, roads, scenes, topdown, truth
from examples.roadworld.files import Rows
from examples.roadworld.observe import observe
from examples.roadworld.render import render
from examples.roadworld.roads import Ground, Road
from examples.roadworld.world import BRAKE, FRAMES, MOVING, STEP, Cast, Clip, Pose, Thing
from gate.judge.policy import assign, read_policy
from gate.lock import digest_of_file, read_lock
from gate.suite import open_suite
from gate.suite.definition import head_of, read_definition
from gate.suite.freeze import check_data

SOURCES = Path(scenes.__file__).parent
WHOLE = ("integers", "roads", "world", "traffic", "scenery", "scenes", "cameras", "art", "solids", "render", "paint")
CAR = Thing("car", 440, 184, 150, (200, 30, 30))
ROAD = Road(0, 0, 0, (1, 1))
LANE = ROAD.lane(0)


def scene(*cast: tuple[Thing, Pose | list[Pose], int], ways: list[int] | None = None, **more: object) -> Clip:
    """The ego car in the right lane of a straight road along the x axis, at 0; by day, and with nothing else there."""
    made = Cast()
    for thing, pose, state in cast:
        made.add(thing, pose, state)
    poses, states = made.arrays()
    way = np.array(ways or [0] * FRAMES, np.int32)
    path = np.array([(x, LANE, 0) for x in range(0, int(way[-1]) + 3000, STEP)], np.int32)
    clip = Clip(
        0, 0, "street", "day", "clear", Ground((ROAD,)), path[way // STEP], tuple(made.things), poses, states, 0,
        {}, ("none",) * FRAMES, -1, 0, 0, path, way,
    )  # fmt: skip
    return dataclasses.replace(clip, **more)


def ahead(distance: int, left: int = 0, heading: int = 0) -> Pose:
    """A place before the main camera, which sits 60 cm ahead of the ego car's middle."""
    return Pose(60 + distance, LANE + left, heading)


def look(clip: Clip, camera: str = "main"):  # type: ignore[no-untyped-def]
    world, views = render(clip)
    view = views[cameras.NAMES.index(camera)]
    return world, view, truth.boxes(clip, world, view)


# ---------------------------------------------------------------- whole numbers
def test_the_sine_table_is_right_to_the_last_place() -> None:
    exact = [math.sin(2 * math.pi * k / integers.TURN) * integers.ONE for k in range(integers.TURN)]
    assert np.abs(integers.SIN - exact).max() <= 0.5
    assert integers.COS[0] == integers.SIN[integers.TURN // 4] == integers.ONE


@given(st.integers(-20_000, 20_000), st.integers(-20_000, 20_000), st.integers(0, 4095))
def test_what_is_turned_forth_and_back_is_where_it_was(x: int, y: int, angle: int) -> None:
    there = integers.rotate(np.int32(x), np.int32(y), angle)
    back = integers.into(*there, angle)
    assert abs(int(back[0]) - x) <= 3
    assert abs(int(back[1]) - y) <= 3


def test_random_numbers_are_those_of_splitmix64() -> None:
    dice = integers.Dice()
    dice.state = 1234567  # the first numbers of this seed are published with the algorithm
    assert [dice.roll() for _ in range(3)] == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@pytest.mark.parametrize("name", WHOLE)
def test_no_float_decides_a_pixel(name: str) -> None:
    for node in ast.walk(ast.parse((SOURCES / f"{name}.py").read_text())):
        assert not (isinstance(node, ast.Constant) and isinstance(node.value, float)), f"{name}, line {node.lineno}"
        assert not (isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div)), (
            f"{name}, line {node.lineno}"
        )
        assert not (isinstance(node, ast.Attribute) and node.attr in ("mean", "linspace", "sqrt", "average", "random"))


def test_every_array_of_a_picture_holds_whole_numbers() -> None:
    _, views = render(scenes.make_clip(1, 0))
    for view in views:
        for field in dataclasses.fields(view):
            if field.name != "camera":
                assert getattr(view, field.name).dtype.kind in "iu", field.name


GOLDEN = {
    0: "67152ff613da94985ccdcbbaab314c94596f42ec1a66964e65f6d1c3fcac0cf2",
    1: "bb20871c92f8b6859e9d2a5383e75da17d3740e7c8c364794eb5d8e207e4c43d",
    2: "183d4ab3efb95297b5134f91a21974398009d32f5e117261cd2679e223f9a9d0",
}


@pytest.mark.parametrize("index", GOLDEN)
def test_the_world_is_the_same_bit_for_bit(index: int) -> None:
    seen = observe(scenes.make_clip(make_suite.SEED, index))
    digest = hashlib.sha256()
    for name, pixels in seen.pictures.items():
        digest.update(f"{name} {pixels.shape} {pixels.dtype}".encode() + np.ascontiguousarray(pixels).tobytes())
    for name, values in sorted(seen.truths.items()):
        digest.update(f"{name} {values.shape} {values.dtype}".encode() + np.ascontiguousarray(values).tobytes())
    digest.update(repr((seen.boxes, seen.columns)).encode() + seen.ego.tobytes())
    assert digest.hexdigest() == GOLDEN[index]


# ---------------------------------------------------------------- the ground
def codes(where: Ground, *points: tuple[int, int]) -> list[int]:
    x, y = (np.array(values, np.int32) for values in zip(*points, strict=True))
    return roads.ground(where, x, y).tolist()


def test_a_street_from_its_middle_to_the_grass() -> None:
    # lanes of 340 cm, an edge line 25 cm before the kerb, a kerb of 25 cm, a pavement of 300 cm
    across = [0, 170, 315, 335, 350, 500, 700]
    expected = [roads.DASHED, roads.ASPHALT, roads.SOLID, roads.ASPHALT, roads.KERB, roads.PAVEMENT, roads.EARTH]
    assert codes(Ground((ROAD,)), *((100, y) for y in across)) == expected
    assert codes(Ground((ROAD,)), *((100, -y) for y in across)) == expected
    # dashes of 3 m every 7 m
    assert codes(Ground((ROAD,)), (299, 0), (301, 0), (699, 0), (701, 0)) == [
        roads.DASHED, roads.ASPHALT, roads.ASPHALT, roads.DASHED,
    ]  # fmt: skip


def test_a_crossing_has_no_lines_but_crosswalks_and_stop_lines_for_those_who_come() -> None:
    where = Ground((ROAD, Road(2000, 0, integers.TURN // 4, (1, 1))))
    # the crossing road's asphalt begins at 2000 - 340 = 1660: stop line 480 to 540 before, crosswalk 120 to 420 before
    assert codes(where, (2000, 0), (1400, 0)) == [roads.ASPHALT, roads.CROSSWALK]
    assert codes(where, (1150, -170), (1150, 170)) == [roads.STOP, roads.ASPHALT]  # who drives on the right comes
    assert codes(where, (2850, -170), (2850, 170)) == [roads.ASPHALT, roads.STOP]


def test_a_road_bends_by_its_square() -> None:
    road = Road(0, 0, 0, (1, 1), bend=64)
    assert road.point(1024, 0) == (1024, 64)
    assert road.point(2048, 0) == (2048, 256)
    # y = 64 (x / 1024)^2 rises by 0.25 at 2048: atan 0.25 is 14.04 degrees
    assert abs(road.heading(2048) * 360 / integers.TURN - 14.04) < 0.1


# ---------------------------------------------------------------- a camera
def test_a_car_ten_metres_ahead_is_where_a_pinhole_camera_puts_it() -> None:
    clip = scene((CAR, ahead(1000 + 220), 0))  # its tail is 10 m from the camera
    world, _, found = look(clip)
    k = int(np.flatnonzero((found.frame == 0) & (found.kind == 0))[0])
    # focal length 80 pixels, middle at (48, 26), camera 140 cm high: 184 cm are 14.7 pixels wide,
    # the wheels stand 80 * 1.4 / 10 = 11.2 below the horizon, the roof, 150 cm high, 0.8 above it; a pixel is theirs
    # when its middle, of the rendered half pixel, is
    x0, y0, x1, y1 = found.corners[k].tolist()
    assert (x0, x1) == (40, 56)  # 48 - 7.4 to 48 + 7.4
    assert (y0, y1) == (25, 37)
    assert found.depth[k] == 1000
    assert not found.ignore[k]
    rasters = truth.rasters(clip, world, look(clip)[1])
    assert rasters["depth"][0, 7, 12] == np.float32(10)
    assert rasters["drivable"][0, 15, 12] == 1
    assert rasters["drivable"][0, 8, 12] == 0  # the car stands there
    objects = truth.objects(clip, world, look(clip)[1], found)
    assert objects["range"][0].tolist()[0] == 10
    assert objects["near"][0].tolist() == [0, 1, 0] + [0] * 9
    assert objects["heading"][0].tolist() == [0]


def test_what_stands_behind_something_larger_is_not_seen() -> None:
    van = Thing("van", 520, 200, 225, (200, 200, 200))
    person = Thing("pedestrian", 60, 60, 175, (0, 0, 0))
    _, _, alone = look(scene((person, ahead(2000), 0)))
    _, _, hidden = look(scene((person, ahead(2000), 0), (van, ahead(1000), 0)))
    assert Counter(alone.kind.tolist()) == {1: FRAMES}
    assert Counter(hidden.kind.tolist()) == {0: FRAMES}


@pytest.mark.parametrize(("state", "expected"), [(0, 0.0), (BRAKE, 1.0)])
def test_brake_lamps_are_asked_for_where_the_tail_is_seen(state: int, expected: float) -> None:
    tail = scene((CAR, ahead(1000), state))
    world, view, found = look(tail)
    assert truth.objects(tail, world, view, found)["attributes"][0].tolist() == [expected, 0, 0, 0, 0]
    face = scene((CAR, ahead(1000, heading=integers.TURN // 2), state))
    world, view, found = look(face)
    attributes = truth.objects(face, world, view, found)["attributes"][0]
    assert math.isnan(attributes[0])
    assert attributes[1:].tolist() == [0, 0, 0, 1]


def test_a_lamp_that_is_lit_changes_the_picture_there_and_nowhere_else() -> None:
    dark, lit = (observe(scene((CAR, ahead(1220), state))).pictures["main"][0] for state in (0, BRAKE))
    row, column = np.nonzero((dark != lit).any(-1))
    assert len(row)
    assert 25 <= row.min() <= row.max() < 38
    assert 40 <= column.min() <= column.max() < 56


def test_free_ground_ends_at_the_car() -> None:
    clip = scene((CAR, ahead(1000 + 220), 0))
    world, view, _ = look(clip)
    marking = truth.rasters(clip, world, view)["marking"]
    free = truth.road(view, world, marking)["free"][0]
    assert free[3] == free[4] == 10  # the two middle bands: 12 of 96 columns each


def test_signals_and_signs_are_read_from_the_front_only() -> None:
    light = Thing("light", 20, 50, 330, (60, 62, 60))
    red = 1 << 5
    for heading, expected in ((integers.TURN // 2, "red"), (0, "none")):
        clip = scene((light, ahead(1000, -200, heading), red))
        world, view, found = look(clip)
        signal = truth.scene(clip, world, view, found)["signal"]
        assert truth.SIGNALS[signal[0]] == expected


def test_dirt_hides_what_is_behind_it_and_is_told_by_zone() -> None:
    clip = scene((CAR, ahead(3000), 0), blocked={"main": ((10, 10, 15),)})
    world, view, found = look(clip)
    blocked = truth.scene(clip, world, view, found)["blocked"][0]
    assert blocked.tolist() == [1, 0, 0, 0, 0, 0]
    assert truth.rasters(clip, world, view)["drivable"][0, 3, 3] == truth.IGNORE
    other = cameras.NAMES.index("rear")
    assert not truth.scene(clip, world, render(clip)[1][other], found)["blocked"].any()


# ---------------------------------------------------------------- from above
def test_a_street_from_above_is_six_cells_wide() -> None:
    drivable, edge, marking = topdown.flat(scene())
    # the right kerb is 170 cm to the right of the car, the left one 510 cm to the left; cells are 125 cm
    columns = np.flatnonzero(drivable[0, 5]).tolist()
    left = [(topdown.HALF - 1 - 125 * c - 62) for c in columns]
    assert all(-170 < middle < 510 for middle in left)
    assert len(columns) in (5, 6)
    assert (drivable[0] == drivable[0, :1]).all()  # the same in every row
    assert edge[0, 5].sum() == 2
    assert marking[0].any()


def test_a_car_covers_its_cells_and_no_others() -> None:
    clip = scene((CAR, Pose(1000, LANE, 0), 0))
    on = topdown.standing(clip, np.ones((FRAMES, 1), bool))[0]
    assert not on[1:].any()
    row, column = np.nonzero(on[0])
    # from 780 to 1220 cm ahead, 92 cm to each side: rows whose middles lie there
    middles = [topdown.HALF - 1 - 125 * r - 62 for r in sorted(set(row.tolist()))]
    assert middles == [m for m in (topdown.HALF - 1 - 125 * r - 62 for r in range(24)) if 780 <= m <= 1220]
    assert len(set(column.tolist())) == 2


def test_what_was_seen_moves_back_as_the_car_drives_on() -> None:
    clip = scene(ways=[125 * k // STEP * STEP for k in range(FRAMES)])
    shown = np.zeros((FRAMES, topdown.GRID, topdown.GRID), bool)
    shown[0, 4, 7] = True
    before = topdown.earlier(clip, shown, FRAMES)
    assert not before[0].any()
    # 8 frames at about 125 cm: eight rows nearer
    assert (4 + 8) in np.flatnonzero(before[8, :, 7]).tolist()
    assert before[8].sum() <= 2
    assert not topdown.earlier(clip, shown, 4)[8].any()


def test_what_is_hidden_now_and_was_seen_is_all_that_memory_is_asked_for() -> None:
    clip = scenes.make_clip(3, 5)
    world, views = render(clip)
    rasters, _ = topdown.truths(clip, world, views)
    ground, _ = topdown.seen(clip, world, views)
    judged = rasters["hidden"] != truth.IGNORE
    assert judged.any()
    assert not (judged & ground).any()
    assert not judged[0].any()


# ---------------------------------------------------------------- driving
def test_the_lead_is_measured_between_bumpers() -> None:
    clip = scene((CAR, Pose(1000, LANE, 0), BRAKE), (CAR, Pose(700, LANE + 340, integers.TURN // 2), MOVING))
    found = driving.traffic(clip, np.ones((FRAMES, 2), bool))
    assert found["lead"][0, 0] == np.float32((1000 - 220 - 230) / 100)
    assert found["braking"][0, 0] == 1
    assert found["oncoming"][0, 0] == 1
    assert found["following"][0, 0] == 0
    unseen = driving.traffic(clip, np.zeros((FRAMES, 2), bool))
    assert math.isnan(unseen["lead"][0, 0])


def test_the_margins_are_the_ways_to_the_kerbs() -> None:
    left, right = driving.layout(scene())["margins"][0].tolist()
    # 510 and 170 cm, looked for every 25 cm
    assert (left, right) == (5.25, 1.75)


def test_the_free_path_ends_at_a_car_and_at_the_kerb() -> None:
    clear, closed = (driving.path(c)["free"][0] for c in (scene(), scene((CAR, Pose(1000, LANE, 0), 0))))
    assert clear.max() == 20
    assert abs(closed[7] - 7.8) < 0.1  # nearly straight ahead, to its tail
    assert (closed <= clear).all()


def test_who_stands_beside_us_is_in_the_sector_beside_us() -> None:
    person = Thing("pedestrian", 60, 60, 175, (0, 0, 0))
    found = driving.surround(scene((person, Pose(0, LANE - 400, 0), 0)), np.ones((FRAMES, 1), bool))
    present = dict(zip((f"{k}_{w}" for k in truth.KINDS for w in heads.WAYS), found["present"][0], strict=True))
    assert [name for name, value in present.items() if value] == ["pedestrian_right"]
    assert found["nearest"][0, 8 + heads.WAYS.index("right")] == 4


def test_the_way_that_the_car_turns_is_the_navigators() -> None:
    for index in range(60):
        clip = scenes.make_clip(4, index, place="intersection")
        turned = truth.degrees(clip.path[-1, 2] - clip.path[0, 2])
        assert np.sign(round(float(turned) / 45)) == clip.route


# ---------------------------------------------------------------- the exam
def test_a_clip_depends_on_its_seed_and_number_alone() -> None:
    one, again = scenes.make_clip(5, 17), scenes.make_clip(5, 17)
    assert one.things == again.things
    assert np.array_equal(one.poses, again.poses)
    assert not np.array_equal(one.ego, scenes.make_clip(6, 17).ego)


def test_every_forty_clips_have_the_same_mixture() -> None:
    mixtures = [Counter(scenes.conditions(9, k)[1:3] for k in range(n, n + 40)) for n in (0, 40, 80)]
    assert mixtures[0] == mixtures[1] == mixtures[2]
    assert sum(count for (light, _), count in mixtures[0].items() if light == "night") == 13


def test_there_are_48_networks_and_1000_predictions() -> None:
    assert len(heads.NETWORKS) == 48
    assert sum(judged.predictions for judged in heads.JUDGED) == 1000
    emitted = {f"{n.name}.{output}" for n in heads.NETWORKS for output in n.outputs}
    read = {source for n in heads.NETWORKS for _, source in n.inputs}
    assert {source for source in read if "." in source} <= emitted
    assert read - emitted == {*cameras.NAMES, "ego"}


def test_the_policy_judges_all_of_them_and_thirty_at_most_are_critical(tmp_path: Path) -> None:
    (tmp_path / "suite.toml").write_text(make_suite.suite_toml())
    definition, _ = read_definition(tmp_path / "suite.toml")
    judged = [head_of(rule, rule.channels or ("",)) for rule in definition.heads]
    rules = assign(read_policy(SOURCES / "policy.toml"), judged)
    assert len(rules) == 1000
    tiers = Counter(rule.tier for rule in rules.values())
    assert 20 <= tiers["critical"] <= 30


def test_two_clips_are_a_suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_table_contracts: None) -> None:
    monkeypatch.setattr(make_suite, "SPLITS", {"calibration": 1, "validation": 1})
    make_suite.write_frames(tmp_path, 1, clips=2)
    (tmp_path / "suite.toml").write_text(make_suite.suite_toml())
    suite = open_suite(tmp_path)
    check_data(suite)
    assert len(suite.predictions) == 1000
    assert len(suite.frames.ids) == 2 * FRAMES


def test_an_array_written_a_few_rows_at_a_time_is_an_array(tmp_path: Path) -> None:
    values = np.arange(24, dtype=np.float32).reshape(6, 2, 2)
    rows = Rows(tmp_path / "a.npy", 6)
    for start in (0, 1, 4):
        rows.add(values[start : {0: 1, 1: 4, 4: 6}[start]])
    read = np.load(tmp_path / "a.npy")
    assert read.dtype == values.dtype
    assert np.array_equal(read, values)


def test_the_frozen_exam_is_the_one_that_is_written_here() -> None:
    frozen = Path(__file__).parent.parent / "suites" / "roadworld"
    assert (frozen / "suite.toml").read_text() == make_suite.suite_toml()
    assert (frozen / "policy.toml").read_bytes() == (SOURCES / "policy.toml").read_bytes()
    locked = dict(read_lock(frozen / "suite.lock").files)
    assert locked["suite.toml"] == digest_of_file(frozen / "suite.toml")
    assert len([name for name in locked if name.startswith("truth/")]) == sum(map(make_suite._is_array, heads.JUDGED))
