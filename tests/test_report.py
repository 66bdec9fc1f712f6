"""Reports say what the decision says: nothing better, nothing lost, and no name can change the document around it."""

from __future__ import annotations

import io
import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.judge.decision import VERDICTS, Cell, Decision, Reason
from gate.report import (
    figures,
    junit_xml,
    print_decision,
    schema,
    summary_markdown,
    verdict_json,
    words,
    write_reports,
)
from gate.report.summary import LIMIT, code
from gate.report.verdict import CELL_FIELDS
from tests.support.decisions import (
    a_cell,
    a_decision,
    a_large_decision,
    a_loss,
    a_mean_error,
    a_mixed_decision,
    an_undecided,
    an_unmeasured,
)
from tests.support.documents import HOSTILE, gold, hostile_decision, outline

# ------------------------------------------------------------------------------------------------------------- helpers


def terminal(decision: Decision, *, width: int = 120, tty: bool = False, encoding: str = "utf-8") -> str:
    from rich.console import Console

    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, newline="")
    console = Console(
        file=file, width=width, force_terminal=tty, legacy_windows=False, _environ={"TERM": "xterm-256color"}
    )
    print_decision(decision, console)
    file.flush()
    return raw.getvalue().decode(encoding)


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


# --------------------------------------------------------------------------------------------------------------- JUnit


def cases(xml: str) -> dict[str, ET.Element]:
    return {case.get("name", ""): case for case in ET.fromstring(xml).iter("testcase")}


def kind(case: ET.Element) -> str:
    failure = case.find("failure")
    return str(failure.get("type")) if failure is not None else "passed" if case.find("skipped") is None else "skipped"


def test_junit_has_a_case_for_each_prediction_and_metric_and_for_regressed_slices_only() -> None:
    found = {name: kind(case) for name, case in cases(junit_xml(a_mixed_decision())).items()}
    assert found == {
        "decision": "no-go",
        "front.road_edge f1": "regressed",
        "front.road_edge average_precision": "regressed",
        "front.road_edge f1 [time_of_day=dusk]": "regressed",
        "front.lane[left] f1": "broken",
        "front.presence[pedestrian] recall": "inconclusive",
        "front.free_space mae": "skipped",
        "front.presence[tram] f1": "skipped",
        "front.presence[building] f1": "passed",
        "front.presence[sky] f1": "passed",
        "rear.presence[sky] f1": "passed",
        "front.grid[3] f1": "skipped",
        "group:grid f1": "passed",
    }


@pytest.mark.parametrize(
    ("cells", "outcome"),
    [
        ([a_cell()], "GO"),
        ([a_loss(tier="advisory")], "GO"),
        ([a_loss(waiver="WAIVER-7")], "GO"),
        ([an_undecided(tier="supporting"), an_unmeasured()], "GO"),
        ([an_undecided(slice="time_of_day=dusk")], "GO"),
        ([an_undecided(waiver="WAIVER-7")], "GO"),
        ([a_loss()], "NO-GO"),
        ([an_undecided()], "INCONCLUSIVE"),
        ([a_cell()], "NO-GO"),  # a broken contract, an uncovered head
    ],
)
def test_junit_has_a_failure_exactly_when_the_decision_is_not_go(cells: list[Cell], outcome: Any) -> None:
    root = ET.fromstring(junit_xml(a_decision(cells, outcome)))
    failures = len(list(root.iter("failure")))
    assert (failures > 0) == (outcome != "GO")
    assert root.get("failures") == str(failures)


def test_what_is_skipped_says_why() -> None:
    skipped = cases(junit_xml(a_mixed_decision()))["front.presence[tram] f1"].find("skipped")
    assert skipped is not None
    assert skipped.get("message") == "not measurable: 4 clips with positives, and 10 are needed"


# ------------------------------------------------------------------------------------------------- summary and terminal


def test_the_summary_is_the_gold_file() -> None:
    gold("summary.md", summary_markdown(a_mixed_decision()))


def test_the_terminal_is_the_gold_file() -> None:
    gold("terminal-pipe.txt", terminal(a_mixed_decision()))
    gold("terminal-wide.txt", terminal(a_mixed_decision(), width=150, tty=True))


def test_a_summary_of_very_many_losses_with_long_names_keeps_its_limit_and_says_what_it_left_out() -> None:
    cells = [a_loss(f"front.{'@' * 110}{k:04}") for k in range(1200)]
    text = summary_markdown(a_decision(cells, "NO-GO"))
    assert len(text.encode()) <= LIMIT
    assert re.search(r"and 1,1\d\d more in report\.html", text)


def test_a_summary_of_long_hostile_reasons_drops_rows_and_never_half_a_row() -> None:
    cells = [a_loss(f"front.{'<' * 110}{k:04}", slice="@" * 120) for k in range(60)]
    reasons = tuple(Reason("regressed", f"{'#1 ' * 200}", tuple(c.prediction for c in cells)) for _ in cells)
    text = summary_markdown(a_decision(cells, "NO-GO", reasons=reasons))
    assert len(text.encode()) <= LIMIT
    assert text.endswith("</details>\n")
    assert re.search(r"and 5\d more reasons", text)


def test_a_reason_that_names_its_predictions_is_not_told_twice() -> None:
    reason = Reason("regressed", "front.road_edge lost 7.1 points of F1", ("front.road_edge",))
    decision = a_decision([a_loss()], "NO-GO", reasons=(reason,))
    assert "  regressed: front.road_edge lost 7.1 points of F1\n" in terminal(decision)
    assert "points of F1\n" in summary_markdown(decision)


def test_new_errors_on_a_clip_that_must_pass_are_told_where_the_difference_is_no_loss() -> None:
    cell = a_loss(delta=0.001, delta_worse=0.001, candidate=0.9231, reason="new errors on a clip that must pass")
    assert "better; new errors on a clip that must pass" in words.lead(cell)


def test_a_cell_of_markdown_holds_no_character_that_markdown_knows() -> None:
    assert code("a|b\u202e") == "<code>a&#124;b&#91;U&#43;202E&#93;</code>"
    assert len(re.findall("&#64;", code("@" * 500))) == 119


def test_a_pipe_has_no_colour_and_a_line_is_never_cut() -> None:
    name = "front." + "very_" * 30 + "long"
    text = terminal(a_decision([a_loss(name)], "NO-GO"), width=40)
    assert "\x1b" not in text
    assert any(name in line and "−7.13 points" in line for line in text.splitlines())


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_a_terminal_of_any_width_shows_the_whole_name(width: int) -> None:
    name = "front." + "".join(chr(97 + k % 26) for k in range(150))
    text = re.sub(r"\x1b\[[0-9;]*m", "", terminal(a_decision([a_loss(name)], "NO-GO"), width=width, tty=True))
    rows = text.partition("Predictions")[2].partition("What to do")[0]
    column = "".join(re.findall(r"[a-z._]{8,}", rows)) if width >= 120 else "".join(rows.split())
    assert name in column


def test_an_ascii_output_gets_ascii() -> None:
    for text in (
        terminal(a_mixed_decision(), encoding="ascii"),
        terminal(a_mixed_decision(), width=150, tty=True, encoding="ascii"),
    ):
        assert "x NO-GO: do not ship" in text
        assert "92.21 % -> 85.08 %" in text
        assert "-7.13 points" in text
        assert "\\u" not in text


# --------------------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_changes_no_other_face(name: str) -> None:
    honest, hostile = hostile_decision("name"), hostile_decision(name)
    xml = junit_xml(hostile)
    xml.encode()
    assert [e.tag for e in ET.fromstring(xml).iter()] == [e.tag for e in ET.fromstring(junit_xml(honest)).iter()]

    document = json.loads(verdict_json(hostile, time="now"))
    assert document["cells"][0]["prediction"] == f"front.{name}"

    text = terminal(hostile)
    assert words.name(f"front.{name}") in text
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e\u2066]", text)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_keeps_the_columns_of_the_markdown_table(name: str) -> None:
    markdown_it = pytest.importorskip("markdown_it")
    text = summary_markdown(hostile_decision(name))
    text.encode()
    renderer = markdown_it.MarkdownIt("commonmark", {"html": True}).enable("table")
    html = renderer.render(text)
    tables = [re.findall(r"<tr>.*?</tr>", t, re.DOTALL) for t in re.findall(r"<table>.*?</table>", html, re.DOTALL)]
    assert [len(rows) for rows in tables] == [5, 6]
    for rows in tables:
        assert len({len(re.findall("<t[hd]", row)) for row in rows}) == 1
    allowed = {"h2", "h3", "p", "ul", "ol", "li", "strong", "code", "table", "thead", "tbody", "tr", "th", "td", "br",
               "details", "summary"}  # fmt: skip
    assert {tag.lstrip("/") for tag, *_ in outline(html).tags} <= allowed
    outside_code = re.sub(r"<code>.*?</code>", "", html, flags=re.DOTALL)
    assert "@" not in outside_code
    assert "#1" not in outside_code


def test_the_same_decision_gives_the_same_bytes() -> None:
    for render in (junit_xml, summary_markdown):
        assert render(a_large_decision(50, 3)) == render(a_large_decision(50, 3))


def test_a_decision_about_nothing_has_all_its_reports() -> None:
    empty = a_decision((), "NO-GO", reasons=(), contracts=())
    assert "no cells" in summary_markdown(empty)
    assert kind(cases(junit_xml(empty))["decision"]) == "no-go"
    assert "NO-GO" in terminal(empty)


# --------------------------------------------------------------------------------------------------------------- write


def write(out: Path) -> dict[str, Path]:
    return write_reports(a_mixed_decision(), None, out, time="now", title="t", command="c")


def test_reports_are_written_with_the_verdict_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gate import atomic

    written: list[str] = []
    real = atomic.write_text
    monkeypatch.setattr(atomic, "write_text", lambda path, text: (written.append(path.name), real(path, text)))
    paths = write(tmp_path / "reports" / "new")
    assert written == ["report.html", "junit.xml", "summary.md", "verdict.json"] == list(paths)
    assert all(path.is_file() for path in paths.values())
    assert paths["verdict.json"].read_text() == verdict_json(a_mixed_decision(), time="now")


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
