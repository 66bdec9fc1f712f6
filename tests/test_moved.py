"""Frames that moved: replayed bit for bit, every flip counted once, the worst shown first."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from gate.bundle import Bundle, Network, read_bundle
from gate.errors import UsageError
from gate.heads import Head
from gate.report.flips import KINDS, Flip, beyond, counted, flip_table, flips_of, write_flips
from gate.report.moved import Chosen, Moved, moved_frames
from gate.report.thumbnails import LONG_SIDE, RASTER_COLOURS, camera, overlay, thumbnail
from gate.report.told import fact, told
from gate.report.worst import MOST, MOST_OF_A_CLIP, Place, allotted, worst
from gate.run import run
from gate.run.replay import replay
from gate.suite import Suite, read_suite
from gate.table import merge
from gate.tasks import Alarms, Drawing, Events, task_of
from tests.support.kinds import boxes_of, head_of
from tests.support.programs import Programs
from tests.support.tiny import (
    SUITE,
    World,
    make_world,
    predict,
    program_bundle,
    refreeze,
    with_images,
    write_bundle,
    write_suite,
)

Array = NDArray[Any]
laws = settings(deadline=None, max_examples=60, database=None)
VALIDATION = slice(12 * 4, None)  # frames of the tiny world's validation clips


def moved_of(
    folder: Path, chosen: Sequence[Chosen], *, limit: int = 60, old: str = "old", new: str = "new"
) -> tuple[tuple[Moved, ...], list[dict[str, Any]]]:
    """(moved, rows of the flips) of two bundles in a folder."""
    suite = read_suite(folder / "suite")
    moved, table = moved_frames(read_bundle(folder / old), read_bundle(folder / new), suite, chosen, limit=limit)
    return moved, table.to_pylist()


def everywhere(prediction: str, incumbent: float | None = 0.0, candidate: float | None = 0.0, **more: Any) -> Chosen:
    """A prediction over all validation clips of the tiny world."""
    return Chosen(prediction, incumbent, candidate, tuple(range(12, 36)), 1.0, **more)


# Replay


def evidence_again(suite: Suite, bundle: Bundle, head: Head, clips: Sequence[int]) -> Any:
    """Evidence of a head from what is replayed of some clips."""
    answers = [side[head.name] for _, (side,) in replay([bundle], suite, [head.name], clips)]
    return merge([task_of(head).reduce(a.frames(a.rows), head) for a in answers])


@pytest.mark.parametrize("program", ["honest", "of_the_batch"])
def test_replaying_gives_the_evidence_of_the_first_run(program: str, pictures: Path, programs: Programs) -> None:
    suite = read_suite(pictures / "suite")
    bundle = read_bundle(program_bundle(pictures / "new", getattr(programs, program)))
    head = suite.heads[0]
    assert evidence_again(suite, bundle, head, range(16)) == run(bundle, suite).evidence[head.name]


def test_a_few_clips_are_answered_as_they_were_among_all_others(pictures: Path, programs: Programs) -> None:
    suite = read_suite(pictures / "suite")
    bundle = read_bundle(program_bundle(pictures / "new", programs.of_the_batch))
    head, clips = suite.heads[0].name, (5, 11)
    whole = {
        row: side[head].frames(np.array([row])).outputs[""]
        for _, (side,) in replay([bundle], suite, [head], range(16))
        for row in side[head].rows.tolist()
    }
    seen = []
    for rows, (side,) in replay([bundle], suite, [head], clips):
        assert side[head].rows.tolist() == rows.tolist()
        assert (side[head].frames(rows).outputs[""] == np.concatenate([whole[row] for row in rows.tolist()])).all()
        seen += rows.tolist()
    assert seen == np.flatnonzero(np.isin(suite.frames.clip, clips)).tolist()


def test_only_batches_with_a_wanted_frame_run_and_each_once_for_both(releases: Path) -> None:
    suite = read_suite(releases / "suite")
    bundles = [read_bundle(releases / "old"), read_bundle(releases / "new")]
    done: list[tuple[int, int]] = []
    # 144 frames in batches of 16: clip 0 is in the first one, clip 35 in the last one.
    found = list(replay(bundles, suite, ["cam.sign", "cam.edge"], [0, 35], lambda n, of: done.append((n, of))))
    assert [rows.tolist() for rows, _ in found] == [[0, 1, 2, 3], [140, 141, 142, 143]]
    assert all(set(side) == {"cam.sign", "cam.edge"} for _, sides in found for side in sides)
    assert done == [(16, 32), (16, 32)]


def test_boxes_stay_with_their_frames_when_a_few_frames_are_taken() -> None:
    from gate.run.replay import Answered
    from gate.suite import BoxTruth

    flat = boxes_of([[(0, (1.0, 0.0, 2.0, 2.0), False)], [], [(1, (3.0, 0.0, 4.0, 4.0), True)], []])
    truth = BoxTruth(flat.frame, flat.label, flat.corners, flat.ignore, flat.angle)
    batch = np.array([16, 17, 18, 19])
    answered = Answered(
        np.array([16, 18, 19]), {"": np.array([[0.0], [2.0], [3.0]])}, truth, batch, np.array([6, 8, 9]), 10
    )
    taken = answered.frames(np.array([18, 19]))
    assert taken.outputs[""].tolist() == [[2.0], [3.0]]
    assert (taken.boxes.frame.tolist(), taken.boxes.corners.tolist()) == ([0], [[3.0, 0.0, 4.0, 4.0]])
    assert taken.cell.tolist() == [8, 9]


# Flips


def test_flips_are_the_decisions_that_changed(releases: Path, world: World) -> None:
    chosen = [everywhere("cam.sign[stop]", 0.5, -0.25), everywhere("cam.edge", 0.0, 0.5)]
    (stop, edge), rows = moved_of(releases, chosen)
    old, new = ({k: v.astype(np.float32) for k, v in predict(world, seed=s).items()} for s in (1, 2))
    for found, head, truth, limits in (
        (stop, lambda o: o["sign"][VALIDATION, 0], world.signs[VALIDATION, 0] == 1, (0.5, -0.25)),
        (edge, lambda o: o["edge"][VALIDATION], world.edge[VALIDATION] == 1, (0.0, 0.5)),
    ):
        before, after = ((head(o) >= t) != truth for o, t in zip((old, new), limits, strict=True))
        assert (found.negative, found.positive) == ((after & ~before).sum(), (before & ~after).sum())
        assert min(found.negative, found.positive) > 0
        mine = [r for r in rows if r["prediction"] == found.prediction]
        for kind, flipped in (
            ("missed", after & ~before & truth),
            ("false-alarm", after & ~before & ~truth),
            ("found", before & ~after & truth),
            ("rejected", before & ~after & ~truth),
        ):
            assert sum(r["count"] for r in mine if r["kind"] == kind) == flipped.sum()
    assert (stop.frames, edge.frames) == (96, 96)
    assert stop.clips == tuple(f"clip-{k:03d}" for k in range(12, 36))


def test_the_scores_of_a_raster_are_means_over_what_flipped(releases: Path, world: World) -> None:
    _, rows = moved_of(releases, [everywhere("cam.edge", 0.0, 1.0)])
    row = next(r for r in rows if r["kind"] == "missed" and r["count"] > 1)
    k = world.ids.index(row["frame"])
    old, new = (predict(world, seed=s)["edge"][k] for s in (1, 2))
    lost = (world.edge[k] == 1) & (old >= 0) & (new < 1)
    for said, logits in ((row["score_incumbent"], old), (row["score_candidate"], new)):
        assert said == pytest.approx((1 / (1 + np.exp(-logits[lost]))).mean(), abs=1e-3)  # scores are half precision
    assert (row["event"], row["truth"], row["error_incumbent"]) == (None, 1.0, None)
    assert row["clip"] == world.clips[k]


@pytest.mark.parametrize("tolerance", [None, 0.5, 0.0])
def test_a_measured_value_flips_when_its_error_changes_by_more_than_is_tolerated(
    tolerance: float | None, releases: Path, world: World
) -> None:
    (moved,), rows = moved_of(releases, [everywhere("cam.range", None, None, tolerance=tolerance)])
    # The truth is a column of text with three digits.
    truth = np.array([float(f"{x:.3f}") for x in world.range_m])[VALIDATION]
    old, new = (abs(predict(world, seed=s)["range"][VALIDATION].astype(np.float32) - truth) for s in (1, 2))
    limit = np.median(old) if tolerance is None else tolerance
    assert (moved.negative, moved.positive) == ((new - old > limit).sum(), (old - new > limit).sum())
    assert {r["kind"] for r in rows} == {"worse", "better"}
    assert len(rows) == moved.negative + moved.positive
    for row in rows:
        k = world.ids.index(row["frame"]) - VALIDATION.start
        assert abs(row["error_incumbent"]) == pytest.approx(old[k])
        assert abs(row["error_candidate"]) == pytest.approx(new[k])
        assert (row["score_incumbent"], row["truth"]) == (None, truth[k])


def test_an_equal_candidate_has_no_flips_and_no_pictures(releases: Path) -> None:
    names = ("cam.sign[stop]", "cam.edge", "cam.range")
    moved, rows = moved_of(releases, [everywhere(n) for n in names], new="old")
    assert rows == []
    assert [(m.negative, m.positive, m.pictures) for m in moved] == [(0, 0, ())] * 3


def test_frames_without_an_answer_are_not_looked_at(releases: Path, world: World) -> None:
    def others(frame: str) -> bool:
        return int(frame[1:]) % 3 != 0

    write_bundle(releases / "part", world, predict(world, seed=2), keep=others)
    (whole,), all_rows = moved_of(releases, [everywhere("cam.edge")])
    (part,), rows = moved_of(releases, [everywhere("cam.edge")], new="part")
    assert (whole.frames, part.frames) == (96, 64)
    assert rows == [r for r in all_rows if others(r["frame"])]


def test_a_head_that_a_release_lacks_or_that_has_another_shape_has_no_frames(releases: Path, world: World) -> None:
    outputs = predict(world, seed=2)
    write_bundle(releases / "less", world, {"sign": outputs["sign"], "edge": outputs["edge"][:, :2]})
    moved, rows = moved_of(releases, [everywhere("cam.range"), everywhere("cam.edge")], new="less")
    assert [(m.frames, m.pictures) for m in moved] == [(0, ()), (0, ())]
    assert rows == []


def test_nothing_chosen_gives_nothing(releases: Path) -> None:
    assert moved_of(releases, []) == ((), [])


def test_a_frame_that_nobody_labelled_has_no_events_and_does_no_harm(tmp_path: Path) -> None:
    world = make_world()
    write_suite(tmp_path / "suite", world, freeze=False)
    table = (tmp_path / "suite" / "frames.csv").read_text().splitlines()
    # The first validation clip has no labels at all: neither signs nor ranges.
    blank = [",".join([*line.split(",")[:5], "", "", ""]) if "clip-012" in line else line for line in table]
    (tmp_path / "suite" / "frames.csv").write_text("\n".join(blank) + "\n")
    refreeze(tmp_path / "suite")
    write_bundle(tmp_path / "old", world, predict(world))
    write_bundle(tmp_path / "new", world, predict(world, seed=2))
    chosen = [replace(everywhere(p), clips=(12,)) for p in ("cam.sign[stop]", "cam.range")]
    moved, rows = moved_of(tmp_path, chosen)
    assert ([m.frames for m in moved], rows) == ([4, 4], [])
    assert [m.pictures for m in moved] == [(), ()]


def test_each_prediction_is_looked_at_in_its_own_clips(releases: Path) -> None:
    def within(prediction: str, *clips: int) -> Chosen:
        return replace(everywhere(prediction), clips=clips)

    chosen = [within("cam.edge", 13, 20), within("cam.sign[stop]", *range(20, 36)), within("cam.range", 14)]
    moved, rows = moved_of(releases, chosen)
    assert [m.frames for m in moved] == [8, 64, 4]
    for wanted, found in zip(chosen, moved, strict=True):
        names = {f"clip-{k:03d}" for k in wanted.clips}
        assert {r["clip"] for r in rows if r["prediction"] == wanted.prediction} <= names
        alone, only = moved_of(releases, [wanted])
        assert replace(alone[0], pictures=()) == replace(found, pictures=())
        assert only == [r for r in rows if r["prediction"] == wanted.prediction]


def test_a_channel_that_is_no_number_leaves_the_others_as_they_were_counted(releases: Path, world: World) -> None:
    outputs = predict(world, seed=2)
    broken = outputs["sign"].copy()
    broken[:, 1] = np.nan
    write_bundle(releases / "nan", world, outputs | {"sign": broken})
    # A program may answer NaN of one channel while another one regresses: the good channel is still shown.
    assert (
        moved_of(releases, [everywhere("cam.sign[stop]")], new="nan")[1]
        == (moved_of(releases, [everywhere("cam.sign[stop]")])[1])
    )
    assert moved_of(releases, [everywhere("cam.sign[yield]")], new="nan")[0][0].frames == 96


# Boxes


BOXES = """
[[heads]]
head = "cam.det"
task = "detection"
outputs = { box = "cam.box", score = "cam.score" }
channels = ["car", "van"]
decoder = { kind = "boxes", floor = 0.1 }
truth = { table = "boxes.csv", class = "class", box = ["x0", "y0", "x1", "y1"] }
"""


def test_boxes_are_followed_through_both_releases(tmp_path: Path) -> None:
    world = make_world()
    write_suite(tmp_path / "suite", world, text=SUITE + BOXES, freeze=False)
    # Every frame has a car at the origin and a van far away; frame by frame the same boxes are answered.
    lines = [f"{name},car,0,0,10,10\n{name},van,50,50,60,60" for name in world.ids]
    (tmp_path / "suite" / "boxes.csv").write_text("frame_id,class,x0,y0,x1,y1\n" + "\n".join(lines) + "\n")
    refreeze(tmp_path / "suite")
    count = len(world.ids)

    def release(name: str, *rows: tuple[tuple[float, ...], float, float]) -> None:
        box = np.tile(np.array([r[0] for r in rows], float), (count, 1, 1))
        score = np.tile(np.array([r[1:] for r in rows], float), (count, 1, 1))
        write_bundle(tmp_path / name, world, {"box": box, "score": score})

    release("old", ((0, 0, 10, 9), 3.0, -9.0), ((50, 50, 60, 60), -9.0, 3.0), ((20, 20, 30, 30), 0.5, -9.0))
    # The car is found 4 pixels off (IoU 0.43), and there is a double of the van.
    release("new", ((4, 0, 14, 10), 3.0, -9.0), ((50, 50, 60, 60), -9.0, 3.0), ((50, 50, 60, 59), -9.0, 2.0))
    chosen = [replace(everywhere(f"cam.det[{c}]", 1.0, 1.0), clips=(12, 15)) for c in ("car", "van")]
    (car, van), rows = moved_of(tmp_path, chosen)
    assert (car.frames, car.negative, car.positive) == (8, 16, 0)
    assert car.kinds == (("missed", 0, 0), ("false", 0, 0), ("localisation", 0, 8), ("duplicate", 0, 0))
    assert (van.frames, van.negative, van.positive) == (8, 8, 0)
    assert van.kinds == (("missed", 0, 0), ("false", 0, 0), ("localisation", 0, 0), ("duplicate", 0, 8))
    assert {(r["kind"], r["event"]) for r in rows if r["prediction"] == "cam.det[car]"} == {
        ("missed", "0.0,0.0,10.0,10.0"),
        ("false-alarm", "4.0,0.0,14.0,10.0"),
    }
    assert len(car.pictures) == 4
    assert [b[4] for b in car.pictures[0].incumbent.boxes] == ["truth", "hit"]
    assert [b[4] for b in car.pictures[0].candidate.boxes] == ["missed", "false"]
    assert car.pictures[0].told == "1 box missed that the incumbent found, 1 new false alarm"
    assert (car.pictures[0].width, car.pictures[0].height) == (14, 10)


def scene(hits: Sequence[tuple[float, bool]], alarms: Sequence[tuple[tuple[float, ...], float, bool]]) -> Events:
    """Truth boxes side by side with (score, accepted), and alarms of (corners, score, accepted)."""
    return Events(
        np.ones(len(hits), bool),
        np.array([s for s, _ in hits]),
        np.array([not ok for _, ok in hits], bool),
        boxes=np.array([(20.0 * k, 0, 20.0 * k + 10, 10) for k in range(len(hits))]).reshape(-1, 4),
        alarms=Alarms(
            np.array([c for c, _, _ in alarms], float).reshape(-1, 4),
            np.array([s for _, s, _ in alarms], float),
            np.array([ok for _, _, ok in alarms], bool),
        ),
    )


def test_boxes_flip_by_their_truth_and_false_alarms_by_where_they_are() -> None:
    here, moved_a_little, elsewhere = (0, 50, 10, 60), (0, 50, 10, 59), (40, 50, 50, 60)
    before = scene([(0.0, True), (math.nan, False), (1.0, True)], [(here, 0.0, True), (elsewhere, math.log(3), True)])
    after = scene([(-1.0, False), (2.0, True), (1.5, True)], [(moved_a_little, 1.0, True)])
    assert flips_of(before, after, 0.5) == [
        Flip("missed", 1, 1.0, (0.5, pytest.approx(0.269, abs=1e-3)), event="0.0,0.0,10.0,10.0"),
        Flip("found", 1, 1.0, (None, pytest.approx(0.881, abs=1e-3)), event="20.0,0.0,30.0,10.0"),
        # The alarm that moved a little (IoU 0.9) is still there; the other one is gone.
        Flip("rejected", 1, 0.0, (pytest.approx(0.75, abs=1e-3), None), event="40.0,50.0,50.0,60.0"),
    ]


def test_an_alarm_that_lay_below_the_threshold_is_new_and_brings_its_old_score() -> None:
    here = (0, 50, 10, 60)
    before, after = scene([], [(here, 0.0, False)]), scene([], [(here, 0.0, True)])
    assert flips_of(before, after, 0.5) == [Flip("false-alarm", 1, 0.0, (0.5, 0.5), event="0.0,50.0,10.0,60.0")]
    assert flips_of(scene([], []), after, 0.5)[0].scores == (None, 0.5)


def test_an_alarm_is_paired_with_one_that_is_given_before_one_that_overlaps_more() -> None:
    before = scene([], [((0, 0, 10, 10), 1.0, True)])
    after = scene([], [((0, 0, 10, 10), -1.0, False), ((0, 0, 10, 8), 1.0, True)])
    assert flips_of(before, after, 0.5) == []


@laws
@given(st.integers(0, 10**6))
def test_flips_explain_the_difference_of_errors_and_swap_with_the_releases(seed: int) -> None:
    rng = np.random.default_rng(seed)

    def one() -> Events:
        hits = [(float(rng.normal()), bool(rng.random() < 0.5)) for _ in range(3)]
        alarms = []
        for _ in range(rng.integers(0, 6)):
            x, y = rng.uniform(0, 8, 2)
            alarms.append(((x, y, x + 10, y + 10), float(rng.normal()), bool(rng.random() < 0.5)))
        return scene(hits, alarms)

    before, after = one(), one()
    negative, positive = counted(flips_of(before, after, 0.5))
    errors = [int(e.wrong.sum() + e.alarms.accepted.sum()) for e in (before, after)]
    assert negative - positive == errors[1] - errors[0]
    assert counted(flips_of(after, before, 0.5)) == (positive, negative)


# What is shown


def places(*rows: tuple[int, int, float]) -> list[Place]:
    """(clip, net, lost) of frames in order."""
    return [Place(k, clip, net, lost) for k, (clip, net, lost) in enumerate(rows)]


def test_the_worst_frames_come_first_at_most_two_of_a_clip() -> None:
    assert worst(places((0, 1, 0), (0, 5, 0), (0, 3, 0), (1, 2, 0), (1, 0, 9), (2, -1, 0))) == [1, 2, 3]
    # Equal flips: what lost more; equal in all: the earlier one.
    assert worst(places((0, 1, 0.1), (1, 1, 0.3), (2, 1, 0.1))) == [1, 0, 2]
    assert len(worst(places(*((k, 1, 0) for k in range(9))))) == MOST == 6


def test_without_a_flip_the_frame_whose_scores_lost_most_is_shown_alone() -> None:
    assert worst(places((0, 0, 0.1), (1, 0, 0.4), (2, -3, 0.9))) == [1]
    assert worst(places((0, 0, 0.0), (1, -2, 5.0))) == []


def test_each_prediction_gets_its_first_picture_before_any_gets_a_second() -> None:
    assert allotted([6, 0, 2, 1], 5) == [2, 0, 2, 1]
    assert allotted([6, 6, 6], 2) == [1, 1, 0]
    assert allotted([3, 1], 60) == [3, 1]
    assert allotted([3], 0) == [0]
    assert allotted([], 5) == []


@laws
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(-1, 2), st.integers(0, 2)), max_size=40),
    st.integers(0, 8),
)
def test_dropping_pictures_early_never_changes_which_are_shown(
    frames: list[tuple[int, int, int, int]], limit: int
) -> None:
    """What `moved_frames` does batch by batch, against choosing once all frames are seen."""
    seen: list[list[Place]] = [[], [], [], []]
    held: list[list[Place]] = [[], [], [], []]
    room = [MOST] * 4
    for row, (prediction, clip, net, lost) in enumerate(frames):
        place = Place(row, clip, net, float(lost))
        seen[prediction].append(place)
        offered = [*held[prediction], place]
        held[prediction] = [offered[k] for k in worst(offered, room[prediction])]
        for k, kept in enumerate(allotted([len(h) for h in held], limit)):
            if kept < len(held[k]):
                held[k], room[k] = held[k][:kept], kept
    best = [[s[k] for k in worst(s)] for s in seen]
    given_ = allotted([len(b) for b in best], limit)
    assert held == [b[:n] for b, n in zip(best, given_, strict=True)]


def test_pictures_are_shared_out_and_flips_are_counted_without_any(releases: Path) -> None:
    chosen = [everywhere(p) for p in ("cam.edge", "cam.range", "cam.sign[stop]")]
    many, rows = moved_of(releases, chosen)
    few, same = moved_of(releases, chosen, limit=4)
    none, still = moved_of(releases, chosen, limit=0)
    assert [len(m.pictures) for m in many] == [6, 6, 4]
    assert [len(m.pictures) for m in few] == [2, 1, 1]
    assert [len(m.pictures) for m in none] == [0, 0, 0]
    assert rows == same == still
    for whole, part, bare in zip(many, few, none, strict=True):
        assert [p.frame for p in part.pictures] == [p.frame for p in whole.pictures[: len(part.pictures)]]
        assert replace(whole, pictures=()) == replace(part, pictures=()) == bare
        clips = [p.clip for p in whole.pictures]
        assert max(clips.count(c) for c in clips) <= MOST_OF_A_CLIP


def test_a_picture_shows_what_either_release_decided_in_that_frame(releases: Path, world: World) -> None:
    (moved,), rows = moved_of(releases, [everywhere("cam.edge", 0.0, 0.5)])
    worst_one = moved.pictures[0]
    k = world.ids.index(worst_one.frame)
    old, new = (predict(world, seed=s)["edge"].astype(np.float32) for s in (1, 2))
    truth = world.edge == 1
    for drawing, said in ((worst_one.incumbent, old[k] >= 0.0), (worst_one.candidate, new[k] >= 0.5)):
        assert (drawing.raster == 1).tolist() == (said & truth[k]).tolist()
        assert (drawing.raster == 2).tolist() == (said & ~truth[k]).tolist()
        assert (drawing.raster == 3).tolist() == (~said & truth[k]).tolist()
    net = (((new >= 0.5) != truth).sum(axis=(1, 2)) - ((old >= 0.0) != truth).sum(axis=(1, 2)))[VALIDATION]
    assert worst_one.negative - worst_one.positive == net.max()
    mine = [r for r in rows if r["frame"] == worst_one.frame]
    assert worst_one.negative == sum(r["count"] for r in mine if KINDS[r["kind"]])
    assert (worst_one.width, worst_one.height, worst_one.image, worst_one.over) == (4, 4, None, False)


# Sentences


def yes_no(logit: float, *, truth: bool, wrong: bool) -> Events:
    return Events(np.array([truth]), np.array([logit]), np.array([wrong]))


@pytest.mark.parametrize(
    ("truth", "before", "after", "sentence"),
    [
        (True, (math.log(3), False), (-math.log(3), True), "missed by the candidate: probability 0.75 → 0.25"),
        (False, (-math.log(3), False), (math.log(3), True), "false alarm of the candidate: probability 0.25 → 0.75"),
        (True, (-9.0, True), (0.0, False), "found by the candidate: probability <0.01 → 0.50"),
        (True, (1.0, False), (1.5, True), "missed by the candidate: probability 0.73 → 0.82; the threshold moved"),
        (False, (1.0, True), (1.5, False), "rejected by the candidate: probability 0.73 → 0.82; the threshold moved"),
        (True, (2.0, False), (1.0, False), "same decision, truth yes: probability 0.88 → 0.73"),
        (True, (0.004, False), (-0.004, True), "missed by the candidate: probability 0.5010 → 0.4990"),
    ],
)
def test_one_event_is_told_with_both_probabilities(
    truth: bool, before: tuple[float, bool], after: tuple[float, bool], sentence: str
) -> None:
    sides = [yes_no(x, truth=truth, wrong=wrong) for x, wrong in (before, after)]
    head = head_of("binary", score="sigmoid")
    assert told(head, flips_of(sides[0], sides[1], 0.0), *sides) == sentence


def test_a_class_that_rises_and_is_yet_not_decided_for_lost_to_another() -> None:
    sides = [yes_no(0.5, truth=True, wrong=False), yes_no(0.6, truth=True, wrong=True)]
    head = head_of("multiclass", ("a", "b", "c"), score="softmax")
    assert told(head, flips_of(sides[0], sides[1], 0.0), *sides).endswith("0.65; another class decides")


def test_rasters_and_boxes_are_told_by_their_numbers() -> None:
    truth = np.arange(2000) < 1500
    right, wrong = np.zeros(2000, bool), np.arange(2000) >= 10
    before, after = (Events(truth, np.zeros(2000), w) for w in (np.arange(2000) < 3, wrong))
    head = head_of("segmentation", ("a", "b"), score="softmax", ignore=9)
    flips = flips_of(before, after, 0.0)
    assert told(head, flips, before, after) == "1,987 more pixels wrong: 1,490 newly missed, 500 newly false, 3 mended"
    calm = [Events(truth, np.full(2000, x), right) for x in (math.log(3), 0.0)]
    # True places lose 0.25 and false ones win it: (1500 - 500) / 2000 of 0.25.
    quiet = "no more cells wrong, but the truth lost 0.125 of probability on average"
    assert told(head_of("occupancy", score="sigmoid"), [], *calm) == quiet
    boxes = head_of("detection", ("a",), score="sigmoid")
    lost = scene([(1.0, True), (math.log(3), True)], []), scene([(1.0, False), (math.nan, False)], [])
    assert told(boxes, flips_of(*lost, 0.5), *lost) == "2 boxes missed that the incumbent found"
    one = scene([(math.log(3), True)], []), scene([(math.nan, False)], [])
    single = "1 box missed that the incumbent found: probability 0.75 → none"
    assert told(boxes, flips_of(*one, 0.5), *one) == single
    both = scene([(1.0, False)], []), scene([(1.0, True)], [((0, 50, 9, 59), 1.0, True), ((30, 50, 39, 59), 1.0, True)])
    assert told(boxes, flips_of(*both, 0.5), *both) == "2 new false alarms, 1 box found that the incumbent missed"


def test_an_error_is_told_with_direction_and_unit() -> None:
    def off(error: float) -> Events:
        return Events(np.array([10.0]), np.array([math.nan]), np.array([False]), np.array([error]))

    near = head_of("regression", unit="m")
    assert told(near, [], off(0.3), off(-1.9)) == "error +0.3 m → −1.9 m"
    wide = head_of("regression", unit="share of the image")
    assert told(wide, [], off(0.02), off(0.07)) == "error +0.02 → +0.07 share of the image"


def test_truth_is_said_once_and_each_release_by_name() -> None:
    old, new = Drawing(("truth yes", "0.91 yes")), Drawing(("truth yes", "0.12 no"))
    assert fact(old, new) == "truth yes · incumbent 0.91 yes · candidate 0.12 no"
    drawn = Drawing(("1 hit, 0 false alarms, 0 missed",)), Drawing(("0 hits, 0 false alarms, 1 missed",))
    assert fact(*drawn).startswith("incumbent 1 hit, 0 false alarms, 0 missed · candidate 0 hits")


# Pictures


def test_a_small_picture_loses_nothing() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (96, 128, 3), dtype=np.uint8)
    with Image.open(io.BytesIO(thumbnail(pixels))) as image:
        assert np.array_equal(np.asarray(image.convert("RGB")), pixels)


def test_a_thumbnail_is_made_smaller_and_never_larger() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (600, 1000, 3), dtype=np.uint8)
    with Image.open(io.BytesIO(thumbnail(pixels))) as image:
        assert (image.format, image.size) == ("WEBP", (LONG_SIDE, 192))
    with Image.open(io.BytesIO(thumbnail(pixels[:8, :30]))) as image:
        assert image.size == (30, 8)
    with Image.open(io.BytesIO(thumbnail(pixels[:1]))) as image:
        assert image.size == (LONG_SIDE, 1)
    assert thumbnail(pixels) == thumbnail(pixels.copy())


def test_a_thumbnail_still_shows_the_picture() -> None:
    pixels = np.zeros((400, 800, 3), np.uint8)
    pixels[:, :400] = (200, 40, 10)
    with Image.open(io.BytesIO(thumbnail(pixels))) as image:
        seen = np.asarray(image.convert("RGB")).astype(int)
    assert abs(seen[80, 40] - (200, 40, 10)).max() < 12
    assert seen[80, 280].max() < 12


def test_an_overlay_has_the_colour_of_each_kind_and_lets_nothing_shine_through() -> None:
    raster = np.array([[0, 1, 2], [3, 255, 0]], np.uint8)
    with Image.open(io.BytesIO(overlay(raster))) as image:
        assert image.mode == "P"
        seen = np.asarray(image.convert("RGBA"))
    for kind, (_, colour) in RASTER_COLOURS.items():
        assert (seen[raster == kind] == colour).all()
    assert seen[0, 0, 3] == 0


def network(name: str, **inputs: str) -> Network:
    return Network(name, Path(f"{name}.pt2"), (), tuple(inputs.items()), ("out",), "")


def test_the_picture_is_the_nearest_one_upstream(tmp_path: Path) -> None:
    text = SUITE.replace("cam.", "top.")
    for name, kind in (("front", "image"), ("rear", "image"), ("lidar", "array")):
        text += f'\n[inputs.{name}]\nfile = "{{frame_id}}.x"\nkind = "{kind}"\nshape = [3, 8, 8]\n'
    world = make_world()
    write_suite(tmp_path, world, text=text, freeze=False)
    for k in world.ids:
        (tmp_path / f"{k}.x").write_bytes(b"")
    refreeze(tmp_path)
    suite = read_suite(tmp_path)
    head = suite.heads[0]

    def bundle(*networks: Network) -> Bundle:
        return Bundle(Path(), "b", "1", networks, "", False)

    trunk, other = network("trunk", x="rear"), network("other", x="front")
    assert camera(bundle(trunk, network("top", f="trunk.out", p="lidar")), suite, head) == "rear"
    assert camera(bundle(trunk, network("top", f="trunk.out", x="front")), suite, head) == "front"
    deep = bundle(trunk, other, network("mid", f="trunk.out"), network("top", a="other.out", m="mid.out"))
    assert camera(deep, suite, head) == "front"  # other is one step away, trunk two
    assert camera(bundle(network("top", p="lidar")), suite, head) is None
    recorded = Network("top", None, (Path("top.parquet"),), (), (), "")
    assert camera(bundle(recorded), suite, head) == "front"
    named = replace(head, name="rear.sign", outputs=(("", "rear.sign"),))
    assert camera(bundle(replace(recorded, name="rear")), suite, named) == "rear"


def test_a_report_shows_the_camera_and_survives_a_picture_that_is_gone(tmp_path: Path, small_world: World) -> None:
    with_images(tmp_path / "suite", small_world)
    for name, seed in (("old", 1), ("new", 2)):
        write_bundle(tmp_path / name, small_world, {"sign": predict(small_world, noise=3.0, seed=seed)["sign"]})
    suite = read_suite(tmp_path / "suite")
    sides = read_bundle(tmp_path / "old"), read_bundle(tmp_path / "new")
    chosen = [Chosen("cam.sign[stop]", 0.0, 0.0, tuple(range(4, 16)), 1.0)]
    (whole,), _ = moved_frames(*sides, suite, chosen, limit=9)
    first, second = whole.pictures[:2]
    for picture in (first, second):
        stop = small_world.signs[small_world.ids.index(picture.frame), 0]
        with Image.open(io.BytesIO(picture.image or b"")) as image:
            # Red tells the truth in this world.
            assert abs(int(np.asarray(image.convert("RGB"))[4, 4, 0]) - (200 if stop else 50)) < 25
        assert (picture.width, picture.height, picture.over) == (8, 8, True)
        assert picture.fact.startswith(f"truth {'yes' if stop else 'no'} · incumbent ")
    (tmp_path / "suite" / "images" / f"{first.frame}.png").write_bytes(b"no picture")
    (tmp_path / "suite" / "images" / f"{second.frame}.png").unlink()
    (again,), _ = moved_frames(*sides, suite, chosen, limit=9)
    assert [p.image for p in again.pictures[:2]] == [None, None]
    assert [p.told for p in again.pictures] == [p.told for p in whole.pictures]
    assert all(p.image for p in again.pictures[2:])


@pytest.mark.parametrize(("shape", "over"), [((4, 4), False), ((3, 4), True), ((6, 8), True), ((7, 9), True)])
def test_a_raster_of_the_cameras_proportions_lies_over_it(shape: tuple[int, int], over: bool) -> None:
    from gate.report.moved import _plane

    drawing = Drawing(raster=np.zeros(shape, np.uint8))
    assert _plane(drawing, drawing, (160, 120)) == (shape[1], shape[0], over)
    assert _plane(drawing, drawing, (0, 0)) == (shape[1], shape[0], False)


def test_boxes_without_a_camera_span_their_own_plane() -> None:
    from gate.report.moved import _plane

    old = Drawing(boxes=((0.0, 0.0, 30.2, 8.0, "hit", ""),))
    assert _plane(old, Drawing(boxes=((5.0, 1.0, 6.0, 40.0, "false", ""),)), (0, 0)) == (31, 40, False)
    assert _plane(old, Drawing(), (160, 120)) == (160, 120, True)


# The file


COLUMNS = {
    "frame": "string",
    "clip": "string",
    "prediction": "string",
    "event": "string",
    "truth": "double",
    "score_incumbent": "double",
    "score_candidate": "double",
    "error_incumbent": "double",
    "error_candidate": "double",
    "kind": "string",
    "count": "int64",
}


def test_the_same_flips_in_any_order_give_the_same_bytes(tmp_path: Path) -> None:
    rows = [
        (f"f{k % 3}", "c", f"p{k % 2}", Flip("missed" if k % 5 else "found", k, 1.0, (0.1, None), event=f"{k}"))
        for k in range(20)
    ]
    write_flips(tmp_path / "a" / "flips.parquet", flip_table(rows))
    write_flips(tmp_path / "b.parquet", flip_table(rows[::-1]))
    assert (tmp_path / "a" / "flips.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    table = pq.read_table(tmp_path / "b.parquet")
    assert {f.name: str(f.type) for f in table.schema} == COLUMNS
    assert table.num_rows == 20
    predictions = table.column("prediction").to_pylist()
    assert predictions == sorted(predictions)
    assert table.column("score_candidate").null_count == 20


def test_a_file_without_flips_has_all_columns(tmp_path: Path) -> None:
    write_flips(tmp_path / "flips.parquet", flip_table([]))
    table = pq.read_table(tmp_path / "flips.parquet")
    assert ({f.name: str(f.type) for f in table.schema}, table.num_rows) == (COLUMNS, 0)


def test_flips_that_cannot_be_written_are_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        write_flips(tmp_path / "file" / "flips.parquet", flip_table([]))


def test_tolerance_is_asked_of_measured_values_only() -> None:
    small, large = (Flip("worse", 1, 0.0, errors=(-1.0, e)) for e in (1.5, -2.0))
    assert beyond([small, large, Flip("missed", 1, 1.0)], 0.5) == [large, Flip("missed", 1, 1.0)]
