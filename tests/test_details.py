"""What stands behind a difference is what was measured: against scikit-learn, numpy and planted losses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve

from gate.pipeline import Result, compare_bundles
from gate.report import words
from gate.report.details import LOGITS, chosen, details
from gate.report.moved import CLIPS
from tests.support.tiny import SUITE, World, make_world, predict, without_worker, write_bundle, write_suite

DAMAGED = ("clip-014", "clip-020", "clip-029")


@pytest.fixture(scope="module")
def world() -> World:
    return make_world()


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory, world: World) -> Result:
    """An edge head that is worse everywhere, and turned round on three clips; a range head with an offset."""
    return compared(tmp_path_factory.mktemp("details"), world)


def compared(folder: Path, world: World, text: str = SUITE) -> Result:
    suite = write_suite(folder / "suite", world, text=text)
    before = predict(world)
    after = {name: values.copy() for name, values in before.items()}
    after["edge"] = after["edge"] + 1.5 * np.random.default_rng(5).normal(size=after["edge"].shape)
    after["edge"][np.isin(world.clips, DAMAGED)] *= -1
    after["range"] += 2.0
    bundles = [
        write_bundle(folder / name, world, outputs, version=name) for name, outputs in (("1", before), ("2", after))
    ]
    with pytest.MonkeyPatch.context() as patch:
        without_worker(patch)
        return compare_bundles(*bundles, suite=suite, policy=suite / "policy.toml", thresholds=folder / "thresholds")


def half(values: np.ndarray) -> np.ndarray:
    """Logits as evidence holds them."""
    return values.astype(np.float16).astype(np.float64)


def validation(world: World) -> np.ndarray:
    return np.array([s == "validation" for s in world.splits])


def test_every_drawn_point_of_a_curve_is_one_of_scikit_learn(result: Result, world: World) -> None:
    leads = [c for c in words.leads(result.decision.cells) if c.prediction == "cam.edge"]
    (detail,) = details(result.compared, leads)
    inside = validation(world)
    truth, scores = world.edge[inside].ravel(), half(predict(world)["edge"][inside]).ravel()
    precision, recall, thresholds = precision_recall_curve(truth, scores)
    curve = detail.curves[0].incumbent
    theirs = set(zip(recall.round(9).tolist(), precision.round(9).tolist(), strict=True))
    ours = set(zip(np.round(curve.recall, 9).tolist(), np.round(curve.precision, 9).tolist(), strict=True))
    assert len(ours) > 30
    assert ours <= theirs
    assert curve.average_precision == pytest.approx(average_precision_score(truth, scores), abs=1e-12)
    assert curve.point is not None
    assert curve.threshold is not None
    at = np.searchsorted(thresholds, np.float64(curve.threshold) - 1e-3)
    assert curve.point == pytest.approx((recall[at], precision[at]))


def test_score_histograms_count_the_logits_of_each_label(result: Result, world: World) -> None:
    leads = [c for c in words.leads(result.decision.cells) if c.prediction == "cam.edge"]
    (detail,) = details(result.compared, leads)
    assert detail.scores is not None
    inside = validation(world)
    truth, logits = world.edge[inside].ravel(), half(predict(world)["edge"][inside]).ravel()
    for row, label in ((0, 0), (1, 1)):
        expected, _ = np.histogram(np.clip(logits[truth == label], -5.99, 5.99), LOGITS)
        assert detail.scores.rows[row] == tuple(expected.tolist())


def test_the_bars_of_a_strip_add_up_to_the_difference_and_the_damaged_clips_are_named(result: Result) -> None:
    (lead,) = (c for c in words.leads(result.decision.cells) if c.prediction == "cam.edge")
    (detail,) = details(result.compared, [lead])
    assert detail.strip is not None
    assert lead.delta is not None
    assert sum(detail.strip.values) == pytest.approx(lead.delta, abs=1e-9)
    assert list(detail.strip.values) == sorted(detail.strip.values)
    assert set(detail.strip.named[:3]) == set(DAMAGED)
    assert detail.strip.clips == 24


def test_mean_errors_by_clip_of_a_measured_quantity_show_its_offset(result: Result, world: World) -> None:
    leads = [c for c in words.leads(result.decision.cells) if c.prediction == "cam.range"]
    (detail,) = details(result.compared, leads)
    assert detail.curves == ()
    assert detail.scores is None
    assert detail.errors is not None
    error = predict(world)["range"] - np.array([round(r, 3) for r in world.range_m])
    clips = np.array(world.clips)
    means = [error[clips == c].mean() for c in sorted(set(clips[validation(world)].tolist()))]
    reach = np.abs(np.array(means) + 2).max()
    for row, offset in ((0, 0.0), (1, 2.0)):
        expected, _ = np.histogram(np.array(means) + offset, 20, (-reach, reach))
        assert np.abs(np.subtract(detail.errors.rows[row], expected)).sum() <= 2  # a value on the edge of two bins


def test_frames_are_wanted_of_what_is_proven_or_suspected_worse_and_its_worst_clips_come_first(result: Result) -> None:
    leads = words.leads(result.decision.cells)
    wanted = chosen(result.compared, leads)
    assert {w.prediction for w in wanted} == {c.prediction for c in leads if c.verdict == "regressed" or c.suspect}
    (edge,) = (w for w in wanted if w.prediction == "cam.edge")
    clips = result.compared.suite.frames.clips
    assert {clips[k] for k in edge.clips[:3]} == set(DAMAGED)
    assert len(edge.clips) == CLIPS
    assert 0 < edge.share < 1
    assert edge.threshold_incumbent == {p.prediction: p.threshold for p in result.points_incumbent}["cam.edge"]


def test_a_coarser_unit_names_its_drives_and_wants_all_their_clips(tmp_path: Path, world: World) -> None:
    drives = {c: f"drive-{k // 2:02d}" for k, c in enumerate(dict.fromkeys(world.clips))}
    text = SUITE.replace('slices = ["light"]', 'slices = ["light"]\nunit = "drive"')
    folder = tmp_path / "suite"
    write_suite(folder, world, text=text, freeze=False)
    lines = (folder / "frames.csv").read_text().splitlines()
    rows = [f"{line},{drives[line.split(',')[1]]}" for line in lines[1:]]
    table = "\n".join([lines[0] + ",drive", *rows]) + "\n"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.support.tiny.frame_table", lambda _: table)
        result = compared(tmp_path, world, text)
    (lead,) = (c for c in words.leads(result.decision.cells) if c.prediction == "cam.edge")
    (detail,) = details(result.compared, [lead])
    assert detail.strip is not None
    assert detail.strip.clips == 12
    assert set(detail.strip.named[:3]) == {drives[c] for c in DAMAGED}
    (wanted,) = chosen(result.compared, [lead])
    clips = [result.compared.suite.frames.clips[k] for k in wanted.clips]
    assert {drives[c] for c in clips[:6]} == {drives[c] for c in DAMAGED}
    assert len(clips) == CLIPS


def test_what_has_no_measurement_has_no_detail(result: Result) -> None:
    lead = words.leads(result.decision.cells)[0]
    from dataclasses import replace

    assert details(result.compared, [replace(lead, delta=None)]) == ()
    assert details(result.compared, [replace(lead, prediction="group:all")]) == ()
