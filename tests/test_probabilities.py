"""Scores as probabilities, through a whole comparison: what is told of them, and maps that ship with thresholds."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import expit

from gate.calibrate import CalibrationMap, OperatingPoint, read_points, render
from gate.judge import Cell, decide
from gate.lattice import decode, encode
from tests.support.decisions import a_cell
from tests.support.tiny import World, gate, predict, write_bundle

COMPARE = ("compare", "old", "new", "--suite", "suite", "--out", "out")
MAPPED = 'metrics = ["average_precision", "f1"]\nmap = "logistic"'


def verdict(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "out" / "verdict.json").read_text())


def with_map(folder: Path) -> None:
    policy = folder / "suite" / "policy.toml"
    policy.write_text(policy.read_text().replace('metrics = ["average_precision", "f1"]', MAPPED))


def test_observed_and_expected_are_those_of_the_validation_frames(
    releases: Path, world: World, without_contract_worker: None
) -> None:
    gate(*COMPARE, cwd=releases)
    told = {p["prediction"]: p for p in verdict(releases)["calibration"]}
    assert list(told) == ["cam.sign[stop]", "cam.sign[yield]", "cam.edge"], "a measured distance has no probability"
    chosen = np.array([s == "validation" for s in world.splits])
    for seed, side in ((1, "incumbent"), (2, "candidate")):
        logit = decode(encode(predict(world, seed=seed)["sign"].astype(np.float32)))[chosen, 0]
        found, truth = told["cam.sign[stop]"][side], world.signs[chosen, 0]
        assert (found["events"], found["observed"]) == (chosen.sum(), truth.sum())
        assert found["expected"] == pytest.approx(expit(logit).sum(), rel=1e-6)
        assert found["ratio"] == pytest.approx(truth.sum() / expit(logit).sum(), rel=1e-6)
    losses = [
        np.mean((expit(decode(encode(predict(world, seed=k)["sign"].astype(np.float32)))[chosen, 0]) - truth) ** 2)
        for k in (1, 2)
    ]
    brier = told["cam.sign[stop]"]["brier"]
    assert brier["delta"] == pytest.approx(losses[1] - losses[0], abs=1e-9)
    assert brier["ci_low"] < brier["delta"] < brier["ci_high"]


def test_a_map_mends_scores_that_are_too_sure_and_moves_no_ranking(
    releases: Path, world: World, without_contract_worker: None
) -> None:
    sure = {head: values if head == "range" else 8 * values for head, values in predict(world, noise=2.5).items()}
    for name in ("old", "new"):
        write_bundle(releases / name, world, sure, version=name)
    gate(*COMPARE, cwd=releases)
    plain = verdict(releases)
    with_map(releases)
    gate(*COMPARE, cwd=releases)
    mapped = verdict(releases)
    before, after = (next(p for p in v["calibration"] if p["prediction"] == "cam.edge") for v in (plain, mapped))
    assert before["incumbent"]["ece"] > 0.1
    assert after["incumbent"]["ece"] < before["incumbent"]["ece"] / 3
    assert abs(after["incumbent"]["ratio"] - 1) < abs(before["incumbent"]["ratio"] - 1)
    precision = [
        [c["incumbent"] for c in v["cells"] if c["metric"] == "average_precision" and c["slice"] == "all"]
        for v in (plain, mapped)
    ]
    # Codes may fall together on the lattice, so average precision moves by ties and no more.
    assert precision[0] == pytest.approx(precision[1], abs=0.005)


def test_a_map_is_frozen_with_the_thresholds_and_both_come_back(
    releases: Path, world: World, without_contract_worker: None
) -> None:
    with_map(releases)
    gate("calibrate", "old", "--suite", "suite", cwd=releases)
    (file,) = (releases / "thresholds").rglob("*.toml")
    text = file.read_text()
    table = tomllib.loads(text)
    assert {line["map"] for line in table["thresholds"].values()} == {"logistic"}
    points = read_points(file, suite=table["suite"], bundle=table["bundle"])
    assert render(points, suite=table["suite"], bundle=table["bundle"]) == text
    # What was released stands, whatever the policy asks for now.
    changed = text.replace("slope = ", "slope = 1", 1)
    file.write_text(changed)
    gate(*COMPARE, cwd=releases)
    kept = releases / "out" / "thresholds" / "incumbent" / "tiny" / "tiny-1.toml"
    slopes = [[line["slope"] for line in tomllib.loads(t)["thresholds"].values()] for t in (changed, kept.read_text())]
    assert slopes[0] == slopes[1]


def test_a_map_that_is_none_is_refused(releases: Path, without_contract_worker: None) -> None:
    policy = releases / "suite" / "policy.toml"
    policy.write_text(policy.read_text().replace('"f1"]', '"f1"]\nmap = "temperature"', 1))
    ended = gate(*COMPARE, cwd=releases)
    assert ended.code == 2
    assert "map" in ended.err
    assert "logistic" in ended.err


def test_a_threshold_of_another_scale_is_not_kept() -> None:
    one, two = CalibrationMap("logistic", 2.0, 0.1, positives=30), CalibrationMap("logistic", 2.0, 0.1, positives=99)
    assert one.scale == two.scale, "the same map, fitted on other clips"
    assert one.scale != CalibrationMap("logistic", 2.0, 0.2).scale


# Objectives that are not met


SURE = "max recall where precision >= 0.9 at 0.95"


def point(status: str, **more: Any) -> OperatingPoint:
    given: dict[str, Any] = {
        "threshold": 1.0, "precision": 0.92, "recall": 0.5, "positives": 80, "low": 0.5, "high": 1.5, "bound": 0.86
    }  # fmt: skip
    return OperatingPoint("front.h", SURE, status, **(given | more))  # type: ignore[arg-type]


def ending(cell: Cell, found: OperatingPoint) -> tuple[str, dict[str, str]]:
    outcome, reasons = decide(
        [cell], missing=[], uncovered={}, must_pass=[], identical_uncovered=[], points={"front.h": found}
    )
    return outcome, {r.code: r.text for r in reasons}


CRITICAL = replace(a_cell(), prediction="front.h", tier="critical", verdict="non-inferior", impact="reached")


def test_an_objective_that_no_threshold_meets_blocks_a_critical_prediction() -> None:
    found = point("unattainable", threshold=None, precision=None, bound=None, attained=0.71)
    outcome, told = ending(replace(CRITICAL, verdict="not-measurable", reason="no operating point"), found)
    assert outcome == "NO-GO"
    assert told["unattainable"].endswith("front.h: at best precision 0.710, wanted 0.9")
    assert "not-measurable-critical" not in told, "one cause, one reason"


def test_an_objective_that_is_met_and_not_proven_leaves_a_critical_prediction_open() -> None:
    outcome, told = ending(CRITICAL, point("unproven", clips_needed=40))
    assert outcome == "INCONCLUSIVE"
    assert "precision 0.920, proven only to be at least 0.860, wanted 0.9" in told["unproven-critical"]
    assert told["unproven-critical"].endswith("about 40 more calibration clips would prove it")


def test_a_degraded_objective_of_a_supporting_prediction_is_told_and_passes() -> None:
    outcome, told = ending(replace(CRITICAL, tier="supporting"), point("degraded", attained=0.8, bound=None))
    assert outcome == "GO"
    assert "to be acknowledged" in told["infeasible"]


def test_an_objective_of_an_advisory_prediction_says_nothing() -> None:
    _, told = ending(replace(CRITICAL, tier="advisory"), point("unproven"))
    assert not {"unproven-critical", "infeasible", "unattainable"} & told.keys()


def test_an_objective_that_the_change_cannot_have_missed_is_told_and_stops_nothing() -> None:
    outcome, told = ending(replace(CRITICAL, impact="identical"), point("unproven"))
    assert outcome == "GO"
    assert "infeasible" in told


@pytest.mark.parametrize("status", ["no_positives", "no_scores"])
@pytest.mark.parametrize("threshold", [1.0, None])
def test_a_critical_promise_without_evidence_is_never_a_go(status: str, threshold: float | None) -> None:
    """Its cells may be measured all the same: at the incumbent's threshold, or by a metric that reads none."""
    found = point(status, threshold=threshold, precision=None, recall=None, bound=None, positives=0)
    outcome, told = ending(CRITICAL, found)
    assert outcome == "INCONCLUSIVE"
    assert told["unproven-critical"].endswith(f"{status.replace('_', ' ')} on the calibration clips")


def test_a_proven_objective_says_nothing() -> None:
    outcome, told = ending(CRITICAL, point("calibrated", bound=0.91))
    assert outcome == "GO"
    assert set(told) == {"no-regression"}
