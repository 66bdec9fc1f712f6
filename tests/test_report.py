"""Reports say what the decision says: nothing better, nothing lost, and no name can change the document around it."""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.judge.decision import VERDICTS, Cell
from gate.report import (
    figures,
    schema,
    verdict_json,
    words,
    write_reports,
)
from gate.report.verdict import CELL_FIELDS
from tests.support.decisions import (
    a_cell,
    a_decision,
    a_loss,
    a_mean_error,
    a_mixed_decision,
    an_undecided,
)

# ------------------------------------------------------------------------------------------------------------- figures


@given(st.floats(0, 1), st.booleans())
def test_a_value_is_never_shown_better_than_it_is(value: float, lower_is_better: bool) -> None:
    scale = figures.scale_of(a_cell(metric="f1", lower_is_better=lower_is_better))
    shown = figures.value_steps(value, scale) / 10_000
    assert shown >= value - 1e-9 if lower_is_better else shown <= value + 1e-9
    assert abs(shown - value) <= 1.0001e-4


@given(st.floats(-1, 1), st.booleans())
def test_a_difference_is_never_shown_better_than_it_is(delta: float, lower_is_better: bool) -> None:
    scale = figures.scale_of(a_cell(metric="f1", lower_is_better=lower_is_better))
    shown = figures.delta_steps(delta, scale) / 10_000
    assert shown >= delta - 1e-9 if lower_is_better else shown <= delta + 1e-9
    assert abs(shown - delta) <= 1.0001e-4


@pytest.mark.parametrize(
    ("value", "shown"), [(1.0, "100.00 %"), (0.9999999, "99.99 %"), (math.nextafter(1, 0), "99.99 %"),
                         (0.57, "57.00 %"),
                         (0.0, "0.00 %"), (None, "not measured"), (math.nan, "not measured")]
)  # fmt: skip
def test_one_hundred_per_cent_is_only_what_is_exactly_that(value: float | None, shown: str) -> None:
    assert figures.value(value, figures.scale_of(a_cell())) == shown


@pytest.mark.parametrize(("delta", "shown"), [(-1e-12, "−0.01 points"), (1e-12, "0.00 points"), (0.0, "0.00 points")])
def test_a_loss_is_never_zero(delta: float, shown: str) -> None:
    assert figures.difference(delta, figures.scale_of(a_cell())) == shown


@pytest.mark.parametrize(("delta", "shown"), [(1e-12, "+0.0001 image height"), (-1e-12, "0.0000 image height")])
def test_a_loss_is_never_zero_where_lower_is_better(delta: float, shown: str) -> None:
    assert figures.difference(delta, figures.scale_of(a_mean_error())) == shown


def test_a_loss_where_lower_is_better_has_a_plus_and_its_unit() -> None:
    cell = a_mean_error()
    assert figures.difference(cell.delta, figures.scale_of(cell)) == "+0.0240 image height"
    assert words.movement(cell) == "rose from 0.0713 image height to 0.0953 image height: +0.0240 image height, worse"


def test_equal_values_stay_equal_and_a_difference_of_nothing_is_said_so() -> None:
    cell = a_cell(incumbent=0.123456, candidate=0.123456, delta=0.0)
    assert words.movement(cell) == "stayed at 12.34 %"


@pytest.mark.parametrize(("p", "shown"), [(0.0, "< 0.0001"), (1e-9, "< 0.0001"), (0.0001, "0.0001"), (0.05, "0.0500")])
def test_a_p_value_is_never_zero(p: float, shown: str) -> None:
    assert figures.p_value(p) == shown


@pytest.mark.parametrize(
    ("threshold", "shown"), [(0.65, "0.65"), (0.99999, "0.99999"), (0.999999612, "0.9999996"), (1.0, "1"),
                             (-2.5, "−2.5"), (None, "none")]
)  # fmt: skip
def test_a_threshold_next_to_one_is_not_one(threshold: float | None, shown: str) -> None:
    assert figures.threshold(threshold) == shown


def test_worst_first_is_a_total_order_with_gating_losses_on_top() -> None:
    cells = sorted(a_mixed_decision().cells, key=words.worst_first)
    assert [c.verdict for c in cells[:4]] == ["broken", "regressed", "regressed", "regressed"]
    assert cells[1].delta_worse == min(c.delta_worse for c in cells if c.delta_worse is not None)
    assert cells == sorted(set(cells), key=words.worst_first)


def test_what_is_suspect_and_what_is_over_the_whole_suite_comes_before_the_same_in_a_slice() -> None:
    plain, sliced = an_undecided("a.b"), an_undecided("a.b", slice="time_of_day=dusk", delta_worse=-0.5)
    suspect = an_undecided("z.z", suspect=True, slice="time_of_day=dusk", delta_worse=-0.001)
    assert sorted([sliced, plain, suspect], key=words.worst_first) == [suspect, plain, sliced]


# -------------------------------------------------------------------------------------------------------- verdict.json


def test_verdict_json_follows_its_published_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    for decision in (a_mixed_decision(), a_decision()):
        jsonschema.validate(json.loads(verdict_json(decision, time="2026-11-22T08:00:00Z")), schema())


WRONG: dict[str, Callable[[dict[str, Any]], Any]] = {
    "an unknown decision": lambda d: d.update(decision="MAYBE"),
    "another schema": lambda d: d.update(schema="gate.verdict/2"),
    "an extra field": lambda d: d.update(extra=1),
    "no candidate": lambda d: d.pop("candidate"),
    "no reason for the decision": lambda d: d.update(reasons=[]),
    "an extra field of a cell": lambda d: d["cells"][0].update(extra=1),
    "a missing field of a cell": lambda d: d["cells"][0].pop("mdr"),
    "an unknown verdict": lambda d: d["cells"][0].update(verdict="fine"),
    "a p-value of nothing": lambda d: d["cells"][0].update(p_adjusted=0),
    "no number and no reason": lambda d: d["cells"][0].update(delta=None, verdict="broken", reason=""),
    "a claim without a number": lambda d: d["cells"][0].update(delta=None, verdict="non-inferior"),
    "a number as text": lambda d: d["cells"][0].update(incumbent="0.92"),
    "counts of an unknown verdict": lambda d: d["counts"]["verdict"].update(fine=1),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_the_schema_refuses(wrong: str) -> None:
    document = json.loads(verdict_json(a_mixed_decision(), time="now"))
    WRONG[wrong](document)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schema())


def test_the_schema_and_the_writer_know_every_field_of_a_cell_and_every_verdict() -> None:
    names = {field.name for field in fields(Cell)}
    assert set(CELL_FIELDS) == names
    assert set(schema()["$defs"]["cell"]["properties"]) == names
    assert list(schema()["$defs"]["verdicts"]["properties"]) == list(VERDICTS)


def test_time_is_the_only_thing_in_verdict_json_that_differs_between_runs() -> None:
    first, again = (verdict_json(a_mixed_decision(), time=t) for t in ("one", "two"))
    assert first != again
    assert first.replace('"time": "one"', "") == again.replace('"time": "two"', "")


def test_verdict_json_is_exact_has_one_cell_a_line_and_never_nan() -> None:
    loss = a_loss(delta=0.1 + 0.2, mdr=math.nan, ci_high=math.inf)
    text = verdict_json(a_decision([loss, a_cell()], "NO-GO"), time="now")
    lines = [line for line in text.splitlines() if line.startswith(' {"prediction"')]
    assert len(lines) == 2
    cell = json.loads(lines[0].rstrip(","))
    assert cell["delta"] == 0.1 + 0.2
    assert cell["mdr"] is None
    assert cell["ci_high"] is None
    assert "NaN" not in text
    assert "Infinity" not in text


def test_counts_are_of_cells_by_verdict_and_of_predictions_by_impact() -> None:
    document = json.loads(verdict_json(a_mixed_decision(), time="now"))
    assert document["counts"]["verdict"]["regressed"] == 4
    assert document["counts"]["verdict_all"]["regressed"] == 3
    assert document["counts"]["impact"] == {"identical": 1, "reached": 8}  # group:grid is no prediction


# --------------------------------------------------------------------------------------------------------------- write


def write(out: Path) -> dict[str, Path]:
    return write_reports(a_mixed_decision(), None, out, time="now", title="t", command="c")


def test_reports_are_written_with_the_verdict_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gate import atomic

    written: list[str] = []
    real = atomic.write_text
    monkeypatch.setattr(atomic, "write_text", lambda path, text: (written.append(path.name), real(path, text)))
    paths = write(tmp_path / "reports" / "new")
    assert (
        written
        == ["report.html", "signoff.html", "junit.xml", "gate.sarif", "summary.md", "verdict.json"]
        == list(paths)
    )
    assert all(path.is_file() for path in paths.values())
    assert paths["verdict.json"].read_text() == verdict_json(a_mixed_decision(), time="now")


def test_the_page_that_is_signed_names_the_verdict_by_the_digest_of_its_file(tmp_path: Path) -> None:
    paths = write(tmp_path)
    digest = hashlib.sha256(paths["verdict.json"].read_bytes()).hexdigest()
    assert f"sha256:{digest}" in paths["signoff.html"].read_text(encoding="utf-8")


def test_a_killed_run_leaves_no_verdict_of_an_earlier_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gate import atomic

    write(tmp_path)
    real = atomic.write_text

    def full_disk(path: Path, text: str) -> None:
        if path.name == "summary.md":
            raise OSError("no space left")
        real(path, text)

    monkeypatch.setattr(atomic, "write_text", full_disk)
    with pytest.raises(OSError, match="no space"):
        write(tmp_path)
    assert not (tmp_path / "verdict.json").exists()


def test_importing_the_reports_imports_neither_jinja2_nor_rich() -> None:
    code = "import sys, gate.report; print([m for m in ('jinja2', 'rich', 'torch', 'pandas') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
