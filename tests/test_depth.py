"""Depth: numbers worked out by hand, the official formulas on random pictures, and a planted loss judged end to end."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gate.compare import Question, Side, compare
from gate.errors import ConfigError, EvidenceError, SuiteError
from gate.evidence import Evidence
from gate.lattice import NO_THRESHOLD
from gate.measures import NAMES, NotMeasured, measure, metric
from gate.stacked import Stacked
from gate.suite import Slice, open_suite
from gate.suite.truth import check_truth
from gate.table import ClipIndex, EvidenceTable
from gate.tasks import TASKS, Batch, depth
from tests.support.kinds import head_of
from tests.support.tiny import BARE, gate, make_world, refreeze, write_bundle, write_suite

Array = NDArray[Any]
NAN = math.nan
LOG = math.log
POOLED = ("abs_rel", "sq_rel", "rmse", "rmse_log", "silog", "delta_1", "delta_2", "delta_3")
PER_IMAGE = tuple(f"{name}_per_image" for name in POOLED)
#: A sum of many values, each rounded to 2^-30.
NEAR = 1e-8


def reduced(said: Any, truth: Any, *, cap: float | None = None, cells: Any = None) -> EvidenceTable:
    """Evidence of pictures (F, H, W), each in its own cell unless told otherwise."""
    said, truth = np.asarray(said, np.float64), np.asarray(truth, np.float64)
    cell = np.arange(len(said)) if cells is None else np.asarray(cells)
    return depth.reduce(Batch({"": said}, truth, cell, int(cell.max()) + 1), head_of("depth", unit="m", cap=cap))


def whole(table: EvidenceTable) -> Evidence:
    return sum((table.row(0, cell) for cell in range(table.cells)), Evidence())


def values(said: Any, truth: Any, names: tuple[str, ...], *, cap: float | None = None) -> dict[str, Any]:
    evidence = whole(reduced(said, truth, cap=cap))
    return {name: measure(name, evidence) for name in names}


def official(said: Array, truth: Array, cap: float) -> dict[str, float]:
    """The errors of some pixels, as Godard et al.'s `compute_errors` and KITTI's depth devkit define them."""
    mask = (truth > 1e-3) & (truth < cap)
    d, t = np.clip(said, 1e-3, cap)[mask], truth[mask]
    ratio, g = np.maximum(t / d, d / t), np.log(d) - np.log(t)
    return {
        "abs_rel": float(np.mean(np.abs(t - d) / t)),
        "sq_rel": float(np.mean((t - d) ** 2 / t)),
        "rmse": float(np.sqrt(np.mean((t - d) ** 2))),
        "rmse_log": float(np.sqrt(np.mean(g**2))),
        "silog": float(np.std(g)),
        **{f"delta_{k}": float(np.mean(ratio < 1.25**k)) for k in (1, 2, 3)},
    }


# Definitions

#            too far  right  too near  twice as far   no truth     beyond the cap
TRUTH = [[[2.0, 4.0, 5.0], [10.0, 0.0, 100.0]]]
SAID = [[[2.5, 4.0, 4.0], [20.0, 3.0, 3.0]]]


def test_four_pixels_worked_out_by_hand() -> None:
    # errors 0.5, 0, -1, 10; logarithms a, 0, -a, b with a = ln 1.25 and b = ln 2
    a, b = LOG(1.25), LOG(2)
    found = values(SAID, TRUTH, (*POOLED, "mae"), cap=80.0)
    assert found["mae"] == pytest.approx(11.5 / 4, abs=NEAR)
    assert found["abs_rel"] == pytest.approx((0.25 + 0 + 0.2 + 1) / 4, abs=NEAR)
    assert found["sq_rel"] == pytest.approx((0.125 + 0 + 0.2 + 10) / 4, abs=NEAR)
    assert found["rmse"] == pytest.approx(math.sqrt((0.25 + 0 + 1 + 100) / 4), abs=NEAR)
    assert found["rmse_log"] == pytest.approx(math.sqrt((2 * a * a + b * b) / 4), abs=NEAR)
    assert found["silog"] == pytest.approx(math.sqrt((2 * a * a + b * b) / 4 - (b / 4) ** 2), abs=NEAR)
    # A ratio of 1.25 is not below 1.25; one of 2 is not below 1.25 cubed, 1.953.
    assert (found["delta_1"], found["delta_2"], found["delta_3"]) == (0.25, 0.75, 0.75)


def test_of_a_single_picture_both_forms_are_the_same_number() -> None:
    found = values(SAID, TRUTH, (*POOLED, *PER_IMAGE), cap=80.0)
    for name in POOLED:
        assert found[f"{name}_per_image"] == pytest.approx(found[name], abs=NEAR)


def test_a_mean_of_pictures_is_not_the_value_over_all_pixels() -> None:
    # One pixel off by 3 in the first picture, three pixels off by 1 in the second.
    truth, said = [[[3.0, NAN, NAN]], [[1.0, 1.0, 1.0]]], [[[6.0, 9.0, 9.0]], [[2.0, 2.0, 2.0]]]
    found = values(said, truth, ("rmse", "rmse_per_image", "delta_1_per_image"))
    assert found["rmse"] == pytest.approx(math.sqrt((9 + 3) / 4), abs=NEAR)
    assert found["rmse_per_image"] == pytest.approx((3 + 1) / 2, abs=NEAR)
    assert found["delta_1_per_image"] == 0.0


@given(seed=st.integers(0, 10**6), frames=st.integers(1, 6), cap=st.sampled_from((20.0, 80.0)))
@settings(max_examples=25, deadline=None, database=None)
@example(seed=483, frames=4, cap=20.0)  # a picture with a single pixel
def test_both_forms_are_what_the_official_formulas_say(seed: int, frames: int, cap: float) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0.5, 100, (frames, 4, 6))
    said = truth * np.exp(rng.normal(0.1, 0.4, truth.shape)) * rng.choice([1, 1, 1, -1], truth.shape)
    truth[rng.random(truth.shape) < 0.3] = 0.0
    truth[:, 0, 0] = 7.0  # no picture is empty
    found = values(said, truth, (*POOLED, *PER_IMAGE), cap=cap)
    images = [official(s, t, cap) for s, t in zip(said, truth, strict=True)]
    for name, expected in official(said, truth, cap).items():
        assert found[name] == pytest.approx(expected, rel=1e-6, abs=NEAR)
        assert found[f"{name}_per_image"] == pytest.approx(np.mean([i[name] for i in images]), rel=1e-6, abs=NEAR)


def test_a_wrong_scale_of_everything_is_forgiven_by_silog_alone() -> None:
    truth = np.array([[[2.0, 4.0, 8.0]]])
    found = values(1.5 * truth, truth, ("silog", "rmse_log", "abs_rel"))
    assert found["silog"] == pytest.approx(0.0, abs=1e-4)  # the root of a rounding of 2^-30
    assert found["rmse_log"] == pytest.approx(LOG(1.5), abs=NEAR)
    assert found["abs_rel"] == pytest.approx(0.5, abs=NEAR)


def test_what_is_beyond_the_cap_counts_for_nobody_and_outputs_end_there() -> None:
    truth, said = [[[50.0, 80.0, 79.0, 90.0]]], [[[500.0, 1.0, 79.0, 90.0]]]
    assert values(said, truth, ("mae",), cap=80.0) == {"mae": 15.0}  # (80 - 50 + 0) / 2
    assert values(said, truth, ("mae",)) == {"mae": (450 + 79) / 4}


def test_an_output_of_nothing_or_behind_the_camera_is_one_millimetre() -> None:
    for nothing in (0.0, -3.0):
        found = values([[[nothing]]], [[[2.0]]], ("mae", "rmse_log", "delta_3"))
        assert found["mae"] == pytest.approx(1.999, abs=NEAR)
        assert found["rmse_log"] == pytest.approx(LOG(2000), abs=NEAR)
        assert found["delta_3"] == 0.0


@pytest.mark.parametrize("nothing", [0.0, -1.0, NAN, 0.0005, 80.0, 81.0])
def test_a_picture_without_truth_counts_for_nobody(nothing: float) -> None:
    table = reduced([[[5.0]], [[5.0]]], [[[nothing]], [[4.0]]], cap=80.0)
    assert not any(table.row(0, 0).moments.values)
    assert measure("rmse_per_image", whole(table)) == 1.0
    for name in (*POOLED, *PER_IMAGE):
        assert measure(name, table.row(0, 0)) == NotMeasured("no events")


def test_each_channel_is_a_camera_of_its_own() -> None:
    head = head_of("depth", ("left", "right"), unit="m", judged=(1,))
    said, truth = np.ones((1, 2, 1, 2)), np.array([[[[9.0, 9.0]], [[2.0, 4.0]]]])
    table = depth.reduce(Batch({"": said}, truth, np.array([0]), 1), head)
    assert [s.prediction for s in table.series] == ["cam.it[right]"]
    assert measure("mae", whole(table)) == 2.0


def test_sums_that_do_not_fit_are_refused_and_never_wrap() -> None:
    far = np.full((1, 40, 40), 1e6)
    with pytest.raises(EvidenceError, match="too large to be added up"):
        reduced(far, np.full_like(far, 1.0))


# The statistics


def sides(seed: int, clips: int) -> tuple[list[Any], list[Any], list[Any], list[EvidenceTable]]:
    """Truths and outputs of two releases by clip, one to three pictures each, and the evidence of both."""
    rng = np.random.default_rng(seed)
    truths = [rng.uniform(1, 50, (int(rng.integers(1, 4)), 2, 3)) for _ in range(clips)]
    releases = [[t * np.exp(rng.normal(0, spread, t.shape)) for t in truths] for spread in (0.2, 0.3)]
    cells = np.repeat(np.arange(clips), [len(t) for t in truths])
    tables = [reduced(np.concatenate(r), np.concatenate(truths), cells=cells) for r in releases]
    return truths, releases[0], releases[1], tables


@pytest.mark.parametrize("seed", range(3))
def test_contributions_and_errors_are_those_of_leaving_each_clip_out(seed: int) -> None:
    clips, names = 9, (*POOLED, *PER_IMAGE)
    truths, old, new, tables = sides(seed, clips)
    codes = np.array([NO_THRESHOLD])
    found = compare(
        Side(Stacked.of(tables[0]), codes),
        Side(Stacked.of(tables[1]), codes),
        [Question(0, (0,), name) for name in names],
        [Slice("all", np.ones(clips, bool))],
        ClipIndex(np.arange(clips), clips),
        np.array([True]),
    )

    def plainly(name: str, said: list[Any], left_out: int) -> float:
        kept = [k for k in range(clips) if k != left_out]
        single = name.removesuffix("_per_image")
        pictures = [(s, t) for k in kept for s, t in zip(said[k], truths[k], strict=True)]
        if single != name:
            return float(np.mean([official(s, t, math.inf)[single] for s, t in pictures]))
        return official(np.concatenate([said[k] for k in kept]), np.concatenate([truths[k] for k in kept]), math.inf)[
            name
        ]

    for i, question in enumerate(found.question):
        name = names[question]
        sign = -1 if metric(name).lower_is_better else 1
        delta = sign * (plainly(name, new, -1) - plainly(name, old, -1))
        left = np.array([sign * (plainly(name, new, j) - plainly(name, old, j)) for j in range(clips)])
        assert found.delta[i] == pytest.approx(delta, abs=1e-6)
        assert found.se[i] == pytest.approx(math.sqrt((clips - 1) / clips * ((left - delta) ** 2).sum()), abs=1e-6)
        assert found.d[i].sum() == pytest.approx(delta, abs=1e-6)
        pixels, pictures = sum(t.size for t in truths), sum(len(t) for t in truths)
        assert found.positives[i] == (pictures if name.endswith("per_image") else pixels)


def test_one_event_more_is_worth_the_spread_of_errors_and_without_their_squares_their_mean() -> None:
    _, old, _, tables = sides(0, 9)
    truths = sides(0, 9)[0]
    codes, one = np.array([NO_THRESHOLD]), [Slice("all", np.ones(9, bool))]
    side = Side(Stacked.of(tables[0]), codes)
    names = ["abs_rel", "sq_rel", "rmse_per_image"]
    questions = [Question(0, (0,), name) for name in names]
    found = compare(side, side, questions, one, ClipIndex(np.arange(9), 9), np.array([True]))
    lost = {names[q]: found.lost[i] for i, q in enumerate(found.question)}
    d, t = np.concatenate(old).reshape(-1), np.concatenate(truths).reshape(-1)
    images = [
        official(s, u, math.inf)["rmse"] for r, c in zip(old, truths, strict=True) for s, u in zip(r, c, strict=True)
    ]
    assert lost["abs_rel"] == pytest.approx(np.std(np.abs(d - t) / t) / len(t), rel=1e-6)
    assert lost["sq_rel"] == pytest.approx(np.mean((d - t) ** 2 / t) / len(t), rel=1e-6)
    assert lost["rmse_per_image"] == pytest.approx(np.std(images) / len(images), rel=1e-5)


# What a reviewer sees


def test_a_picture_shows_where_it_is_right_too_near_and_too_far() -> None:
    head = head_of("depth", unit="m", cap=80.0)
    batch = Batch({"": np.array(SAID)}, np.array(TRUTH), np.array([0]), 1)
    drawing = depth.picture(batch, head, 0, None)
    assert drawing.raster.tolist() == [[3, 1, 2], [3, 255, 255]]
    assert drawing.keys == ("too near", "too far")
    assert drawing.facts == ("1 pixel too near, 2 too far",)


def test_a_picture_is_one_event_with_its_mean_error_and_none_without_truth() -> None:
    head = head_of("depth", unit="m", cap=80.0)
    said, truth = np.array(SAID * 2), np.array([TRUTH[0], [[0.0] * 3] * 2])
    first, second = TASKS["depth"].events(Batch({"": said}, truth, np.array([0, 0]), 1), head, 0, None)
    assert first.error == pytest.approx([11.5 / 4])
    assert np.isnan(first.truth).tolist() == [True]
    assert (len(second.truth), len(second.error)) == (0, 0)


# A whole comparison

HEADS = """
[[heads]]
head = "cam.depth"
task = "depth"
cap = 80.0
truth = { array = "depth.npz", key = "depth", rows = "frame_id" }
"""
RULE = """
[[rules]]
match = "cam.depth"
tier = "critical"
metrics = ["abs_rel", "rmse", "rmse_per_image", "silog", "delta_1"]
margins = { abs_rel = 0.03, rmse = 1.0, rmse_per_image = 1.0, silog = 0.05, delta_1 = 0.15 }
"""


def exam(folder: Path, *, heads: str = HEADS, freeze: bool = True) -> tuple[Any, Array]:
    """(world, truth) of a suite with one depth head."""
    world = make_world(calibration=4, validation=24)
    truth = np.random.default_rng(5).uniform(2, 90, (len(world.ids), 6, 8)).astype(np.float32)
    truth[:, 0, :3] = 0.0
    write_suite(folder, world, text=BARE + heads, policy="resamples = 999\n" + RULE, freeze=False)
    np.savez(folder / "depth.npz", frame_id=np.array(world.ids), depth=truth)
    if freeze:
        refreeze(folder)
    return world, truth


VALIDATION = slice(4 * 4, None)


def releases_of(folder: Path, spread: float) -> tuple[Array, dict[str, Array]]:
    """(truth, outputs of either release on the validation frames) of a suite and the bundles `old` and `new`."""
    world, truth = exam(folder / "suite")
    rng, outputs = np.random.default_rng(7), {}
    for name, who, wide in (("old", "incumbent", 0.1), ("new", "candidate", spread)):
        said = (truth * np.exp(rng.normal(0, wide, truth.shape))).astype(np.float32)
        write_bundle(folder / name, world, {"depth": said}, version=name)
        outputs[who] = said[VALIDATION].astype(np.float64)
    return truth.astype(np.float64), outputs


def test_a_planted_loss_of_depth_is_proven_and_told_in_every_report(
    tmp_path: Path, without_contract_worker: None
) -> None:
    truth, released = releases_of(tmp_path, 0.25)
    ended = gate("compare", "old", "new", "--suite", "suite", "--out", "out", cwd=tmp_path)
    assert ended.code == 1, ended.err
    verdict = json.loads((tmp_path / "out/verdict.json").read_text())
    cells = {c["metric"]: c for c in verdict["cells"] if c["slice"] == "all"}
    assert {c["verdict"] for c in cells.values()} == {"regressed"}
    assert {name: c["unit"] for name, c in cells.items()} == {
        "abs_rel": "",
        "rmse": "m",
        "rmse_per_image": "m",
        "silog": "",
        "delta_1": "",
    }
    assert not cells["delta_1"]["lower_is_better"]
    for side, said in released.items():
        for name, expected in official(said, truth[VALIDATION], 80.0).items():
            if name in cells:
                assert cells[name][side] == pytest.approx(expected, abs=1e-6)
    assert "AbsRel over the whole suite rose from 0.0" in (tmp_path / "out/junit.xml").read_text()
    page = (tmp_path / "out/report.html").read_text()
    assert "mean absolute error" in page
    assert "too near</span>" in page
    assert "SILog" in (tmp_path / "out/summary.md").read_text() + page


def test_an_equal_release_of_depth_passes(tmp_path: Path, without_contract_worker: None) -> None:
    releases_of(tmp_path, 0.1)
    ended = gate("compare", "old", "new", "--suite", "suite", "--out", "out", cwd=tmp_path)
    found = json.loads((tmp_path / "out/verdict.json").read_text())["cells"]
    assert {c["verdict"] for c in found if c["slice"] == "all"} == {"non-inferior"}, ended.out
    assert ended.code == 0


def test_flips_of_depth_are_pictures_with_the_mean_of_their_errors(
    tmp_path: Path, without_contract_worker: None
) -> None:
    import pyarrow.parquet as pq

    releases_of(tmp_path, 0.4)
    gate("compare", "old", "new", "--suite", "suite", "--out", "out", cwd=tmp_path)
    rows = pq.read_table(tmp_path / "out/flips.parquet").to_pylist()
    assert rows
    assert {(r["truth"], r["kind"], r["count"]) for r in rows} == {(None, "worse", 1)}
    assert all(0 < r["error_incumbent"] < r["error_candidate"] for r in rows)


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ('score = "sigmoid"', "depth is measured, and has no score"),
        ("ignore = 255", "`ignore` is for rasters"),
        ("cap = -1.0", "cap"),
        ("cap = inf", "cap"),
    ],
)
def test_what_depth_does_not_have_is_refused(tmp_path: Path, key: str, says: str) -> None:
    heads = HEADS.replace("cap = 80.0", key)
    with pytest.raises(ConfigError, match=says):
        exam(tmp_path, heads=heads)


def test_a_cap_is_for_depth_alone(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="only depth has `cap`"):
        exam(tmp_path, heads=HEADS.replace('"depth"\n', '"occupancy"\n'))


def test_a_picture_is_no_truth_of_depth(tmp_path: Path) -> None:
    truth = HEADS[HEADS.index("truth") :]
    with pytest.raises(ConfigError, match="a picture has no unit: write depth as"):
        exam(tmp_path, heads=HEADS.replace(truth, 'truth = { file = "depth/{frame_id}.png" }\n'))


def test_a_truth_without_end_is_refused_and_one_that_is_absent_is_not(tmp_path: Path) -> None:
    world, truth = exam(tmp_path, freeze=False)
    truth[3] = NAN
    np.savez(tmp_path / "depth.npz", frame_id=np.array(world.ids), depth=truth)
    suite = open_suite(tmp_path)
    assert (suite.heads[0].unit, suite.heads[0].cap) == ("m", 80.0)
    assert check_truth(suite.truths[0], suite.frames, np.arange(8)) == (6, 8)
    truth[5, 1, 1] = math.inf
    np.savez(tmp_path / "depth.npz", frame_id=np.array(world.ids), depth=truth)
    suite = open_suite(tmp_path)
    with pytest.raises(SuiteError, match="truth inf out of range"):
        check_truth(suite.truths[0], suite.frames, np.arange(8))


def test_every_metric_of_depth_has_both_forms() -> None:
    assert {n for n in NAMES if n.endswith("_per_image")} == set(PER_IMAGE)
    assert set(POOLED) < set(NAMES)
