"""SARIF as OASIS (2.1.0) and GitHub's code scanning want it.

The schema of OASIS is 113 kB and stays outside; what it and GitHub require of the parts that are used stands here.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from gate.judge.decision import Cell, Decision, Identity, Reason
from gate.report import sarif
from gate.report.sarif import sarif_json
from tests.support.decisions import a_cell, a_decision, a_drift, a_full_decision, a_loss, an_undecided, an_unmeasured


def run_of(decision: Decision, **paths: str) -> dict[str, Any]:
    return json.loads(sarif_json(decision, **paths))["runs"][0]


def results(decision: Decision, **paths: str) -> list[dict[str, Any]]:
    return run_of(decision, **paths)["results"]


def told(decision: Decision) -> list[tuple[str, str, str]]:
    """(level, rule, first word of the message) of each result."""
    return [(r["level"], r["ruleId"], r["message"]["text"].split()[0]) for r in results(decision)]


def test_a_log_has_what_the_standard_and_github_require() -> None:
    log = json.loads(sarif_json(a_full_decision()))
    assert log["version"] == "2.1.0"
    assert log["$schema"] == "https://json.schemastore.org/sarif-2.1.0.json"
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"] == "gate"
    assert run["invocations"] == [{"executionSuccessful": True, "exitCode": 1}]
    for rule in driver["rules"]:
        for key in ("shortDescription", "fullDescription", "help"):
            assert 0 < len(rule[key]["text"]) <= 1024  # GitHub's limit
    for result in run["results"]:
        assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in ("error", "warning", "note")
        (location,) = result["locations"]
        physical = location["physicalLocation"]
        assert re.fullmatch(r"[^/\\:][^\\:]*", physical["artifactLocation"]["uri"])  # relative, no scheme
        assert set(physical["region"]) == {"startLine", "startColumn", "endLine", "endColumn"}
        assert min(physical["region"].values()) >= 1
        assert re.fullmatch(r"[0-9a-f]{16}:1", result["partialFingerprints"]["primaryLocationLineHash"])


def test_cells_are_errors_where_they_block_warnings_where_they_are_open_and_else_notes() -> None:
    assert told(a_full_decision()) == [
        ("error", "broken", "front.lane[left]"),
        ("error", "regressed", "front.road_edge"),
        ("error", "regressed", "front.road_edge"),
        ("error", "regressed", "rear.lane[left]"),
        ("error", "regressed", "front.road_edge"),
        ("error", "uncovered", "1"),
        ("warning", "undecided", "front.presence[pedestrian]"),
        ("note", "regressed", "front.cone"),
        ("note", "regressed", "front.grid[3]"),
        ("note", "suspect", "1"),
        ("note", "not-measurable", "1"),
    ]


def test_a_reason_that_its_cells_tell_is_no_result_of_its_own() -> None:
    reason = Reason("regressed", "front.road_edge lost", ("front.road_edge",))
    assert len(results(a_decision([a_loss()], "NO-GO", reasons=(reason,)))) == 1
    objective = Reason("unattainable", "no threshold", ("front.road_edge",))
    levels = [(r["ruleId"], r["level"]) for r in results(a_decision([a_loss()], "NO-GO", reasons=(reason, objective)))]
    assert levels == [("regressed", "error"), ("unattainable", "error")]


def test_good_news_is_no_alert() -> None:
    reasons = (Reason("no-regression", "none"), Reason("improved", "1 prediction is proven better", ("a.b",)))
    assert results(a_decision([a_cell()], reasons=reasons)) == []


@pytest.mark.parametrize(("outcome", "level"), [("NO-GO", "error"), ("INCONCLUSIVE", "warning")])
def test_a_decision_for_no_reason_that_is_known_is_still_an_alert(outcome: Any, level: str) -> None:
    (result,) = results(a_decision((), outcome, reasons=()))
    assert (result["ruleId"], result["level"]) == ("decision", level)


def test_cells_point_to_the_policy_and_uncovered_heads_to_the_suite() -> None:
    found = {
        r["ruleId"]: r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        for r in results(a_full_decision(), policy="rules/my policy.toml", suite="suites/city/suite.toml")
    }
    assert found["regressed"] == "rules/my%20policy.toml"
    assert found["uncovered"] == "suites/city/suite.toml"


def test_a_prediction_is_the_logical_location() -> None:
    first = results(a_full_decision())[0]["locations"][0]["logicalLocations"]
    assert first == [{"fullyQualifiedName": "front.lane[left]", "kind": "prediction"}]


def fingerprint(cell: Cell, **changes: Any) -> str:
    (result,) = results(a_decision([cell], "NO-GO", reasons=(), **changes))
    return result["partialFingerprints"]["primaryLocationLineHash"]


def test_the_same_loss_is_the_same_alert_in_the_next_run_and_another_loss_is_another() -> None:
    first = fingerprint(a_loss())
    later = Identity("hydranet", "2026.48.0", "sha256:other")
    changed = Identity("city", "13", "sha256:new")
    assert fingerprint(a_loss(delta=-0.02, p_adjusted=0.01), candidate=later, suite=changed) == first
    others = [a_loss("front.other"), a_loss(metric="recall"), a_loss(slice="road=tunnel")]
    assert len({first, *map(fingerprint, others)}) == 4
    assert fingerprint(a_loss(), suite=Identity("camvid", "1", "sha256:x")) != first


def test_what_is_told_of_a_cell_has_direction_unit_bounds_and_its_drift() -> None:
    (result,) = results(a_decision([a_drift()], "NO-GO", reasons=()))
    text = result["message"]["text"]
    assert text.startswith("rear.lane[left] is regressed (f1, supporting). ")  # all that a list of alerts shows
    assert "fell from 90.12 % to 90.01 %: −0.11 points, worse. One-sided 95 % bounds [−0.71, +0.52]" in text
    assert "−2.20 points since its anchor, adjusted p = 0.0021." in text
    assert "Average precision, which no threshold moves: −0.14 points." in text
    assert result["properties"]["delta_anchor"] == -0.022


def test_figures_that_are_not_finite_are_null() -> None:
    (result,) = results(a_decision([a_loss(mdr=float("nan"), ci_high=float("inf"))], "NO-GO", reasons=()))
    assert result["properties"]["mdr"] is None
    assert result["properties"]["ci_high"] is None


def test_a_name_is_neither_a_link_nor_a_placeholder() -> None:
    # SARIF 2.1.0: `[text](target)` is a link in a plain message (3.11.6), `{0}` an argument (3.11.5).
    (result,) = results(a_decision([a_loss("a[b](https://e.x) {0}")], "NO-GO", reasons=()))
    assert result["message"]["text"].startswith("a[b] (https://e.x) {{0}} is regressed")


def test_more_results_than_github_shows_are_counted_and_the_worst_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sarif, "LIMIT", 3)
    cells = [*(an_undecided(f"u.{k}") for k in range(4)), a_loss(), an_unmeasured(verdict="broken")]
    run = run_of(replace(a_decision(cells, "NO-GO"), reasons=()))
    assert [r["ruleId"] for r in run["results"]] == ["broken", "regressed", "undecided"]
    (notification,) = run["invocations"][0]["toolExecutionNotifications"]
    assert notification["message"]["text"].startswith("3 more results are not in this file")


def test_digests_and_counts_travel_with_the_run() -> None:
    properties = run_of(a_full_decision())["properties"]
    assert properties["candidate"] == a_full_decision().candidate.digest
    assert properties["decision"] == "NO-GO"
    assert properties["predictions"] == 11
    assert len(properties["anchors"]) == 1


def test_the_file_is_ascii() -> None:
    assert sarif_json(a_decision([a_loss("front.\u6f22\u202e")], "NO-GO")).isascii()
