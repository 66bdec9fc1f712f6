"""All faces of one decision say the same: terminal, summary, JUnit, SARIF, sign-off, notebook, verdict."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.judge.decide import decide
from gate.judge.decision import VERDICTS, Cell, Decision, Identity, Reason
from gate.report import asides, figures, junit_xml, summary_markdown, verdict_json, words
from gate.report.notebook import decision_html
from gate.report.sarif import sarif_json
from gate.report.signoff import signoff_page
from gate.report.standing import standing
from gate.report.summary import LIMIT, code, plain
from tests.support.decisions import (
    a_cell,
    a_decision,
    a_drift,
    a_full_decision,
    a_large_decision,
    a_loss,
    a_mean_error,
    a_probability,
    a_worst_decision,
    an_undecided,
    an_unmeasured,
)
from tests.support.faces import HOSTILE, gold, hostile_decision, outline, terminal

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
TIME, DIGEST = "2026-11-24T01:10:00+00:00", "sha256:" + "7e" * 32


def signoff(decision: Decision) -> str:
    return signoff_page(decision, time=TIME, verdict=DIGEST)


# ---------------------------------------------------------------------------------- the same decision, read from each

Read = tuple[str, dict[str, int], str]  # decision, cells over the whole suite by verdict, worst prediction


def counted(line: str) -> dict[str, int]:
    """`1 broken · 3 regressed` -> {"broken": 1, "regressed": 3}."""
    found = re.findall(r"([\d,]+) (broken|regressed|undecided|not measurable|improved|non-inferior)", line)
    return {verdict.replace("t m", "t-m"): int(number.replace(",", "")) for number, verdict in found}


def from_terminal(decision: Decision) -> Read:
    lines = terminal(decision).splitlines()
    rows = [line for line in lines if re.match(r"[⚠✖?∅] (broken|regressed|undecided|not measurable)", line)]
    whole = next(line for line in lines if line.startswith("Whole suite"))
    outcome = lines[0].split()[1].rstrip(":")
    return outcome, counted(whole), rows[0].split("  ")[1] if rows else ""


def from_wide_terminal(decision: Decision) -> Read:
    text = COLOUR.sub("", terminal(decision, width=160, tty=True))
    rows = [line for line in text.splitlines() if re.match(r"[⚠✖?∅] (broken|regressed|undecided|not measurable)", line)]
    whole = next(line for line in text.splitlines() if line.startswith("Whole suite"))
    return text.split()[1].rstrip(":"), counted(whole), re.split(r"  +", rows[0])[1] if rows else ""


def from_summary(decision: Decision) -> Read:
    text = re.sub(r"&#(\d+);", lambda m: chr(int(m[1])), summary_markdown(decision)).replace("<code>", "")
    lines = text.replace("</code>", "").splitlines()
    rows = [line.split(" | ") for line in lines if line.startswith("| ")]
    rows = [row for row in rows if len(row) > 6 and "---" not in row[0]]
    whole = next(line for line in lines if line.startswith("**Cells over the whole suite"))
    return lines[0].split()[2].rstrip(":"), counted(whole), rows[1][1] if rows else ""


def from_junit(decision: Decision) -> Read:
    root = ET.fromstring(junit_xml(decision))
    properties = {p.get("name", ""): p.get("value", "") for p in root.iter("property")}
    cells = {name[6:]: int(value) for name, value in properties.items() if name.startswith("cells.")}
    failed = [case.get("name", "") for case in root.iter("testcase") if case.find("failure") is not None]
    return properties["decision"], cells, failed[1] if len(failed) > 1 else ""


def from_sarif(decision: Decision) -> Read:
    run = json.loads(sarif_json(decision))["runs"][0]
    results = [r for r in run["results"] if r["ruleId"] in VERDICTS]
    first = results[0]["locations"][0]["logicalLocations"][0]["fullyQualifiedName"] if results else ""
    return run["properties"]["decision"], run["properties"]["cells"], first


def from_signoff(decision: Decision) -> Read:
    html = signoff(decision)
    outcome = re.search(r"<title>Sign-off, ([A-Z-]+):", html)
    row = re.search(r'<th scope="row">whole suite</th>(.*?)</tr>', html)
    name = re.search(r'<bdi class="name">([^<:]*)</bdi>', html)  # "Slow drift:" is no prediction
    assert outcome is not None
    assert row is not None
    numbers = [int(n.replace(",", "")) for n in re.findall(r">([\d,]+)<", row[1])]
    return outcome[1], dict(zip(VERDICTS, numbers, strict=True)), name[1] if name else ""


def from_notebook(decision: Decision) -> Read:
    html = decision_html(decision)
    rows = re.search(r"<tbody>\s*<tr>.*?</td>.*?<bdi>(.*?)</bdi>", html, re.DOTALL)
    whole = re.search(r"Whole suite: (.*)", html)
    assert whole is not None
    return outline(html).text.split()[1], counted(whole[1]), rows[1] if rows else ""


FACES: dict[str, Callable[[Decision], Read]] = {
    "terminal": from_terminal,
    "wide terminal": from_wide_terminal,
    "summary": from_summary,
    "junit": from_junit,
    "sarif": from_sarif,
    "sign-off": from_signoff,
    "notebook": from_notebook,
}
OPEN = (an_undecided("front.presence[pedestrian]"), an_undecided("rear.x", delta_worse=-0.0001), a_cell())
CASES: dict[str, tuple[Decision, Read]] = {
    "NO-GO": (
        a_full_decision(),
        ("NO-GO", {"broken": 1, "regressed": 5, "undecided": 2, "not-measurable": 1, "improved": 1, "non-inferior": 3},
         "front.lane[left]"),
    ),
    "INCONCLUSIVE": (
        a_decision(OPEN, "INCONCLUSIVE"),
        ("INCONCLUSIVE", {"undecided": 2, "non-inferior": 1}, "front.presence[pedestrian]"),
    ),
    "GO": (a_decision([a_cell(), a_cell("rear.y")]), ("GO", {"non-inferior": 2}, "")),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("face", FACES)
def test_every_face_has_the_same_decision_counts_and_worst_prediction(face: str, case: str) -> None:
    decision, expected = CASES[case]
    outcome, cells, worst = FACES[face](decision)
    assert (outcome, {v: n for v, n in cells.items() if n}, worst) == expected


@pytest.mark.parametrize("case", CASES)
def test_the_verdict_has_the_same_decision_and_counts(case: str) -> None:
    decision, (outcome, cells, _) = CASES[case]
    document = json.loads(verdict_json(decision, time="now"))
    assert document["decision"] == outcome
    assert {v: n for v, n in document["counts"]["verdict_all"].items() if n} == cells


def test_the_faces_are_the_gold_files() -> None:
    decision = a_full_decision()
    gold("summary.md", summary_markdown(decision))
    gold("terminal-pipe.txt", terminal(decision))
    gold("terminal-80.txt", terminal(decision, width=80, tty=True))
    gold("terminal-wide.txt", terminal(decision, width=150, tty=True))
    gold("junit.xml", junit_xml(decision))
    gold("gate.sarif", sarif_json(decision))
    gold("notebook.html", decision_html(decision))
    gold("verdict.json", verdict_json(decision, time=TIME))


def test_the_same_decision_gives_the_same_bytes_in_every_face() -> None:
    first, again = a_large_decision(50, 3), a_large_decision(50, 3)
    for render in (junit_xml, summary_markdown, sarif_json, decision_html, signoff, terminal):
        assert render(first) == render(again)


def test_a_decision_about_nothing_has_all_its_faces() -> None:
    empty = a_decision((), "NO-GO", reasons=(), contracts=())
    for render in (summary_markdown, junit_xml, sarif_json, decision_html, signoff, terminal):
        assert "NO-GO" in render(empty)
    assert "no cells" in summary_markdown(empty)


# ----------------------------------------------------------------------------------- what the judge says, faces repeat


@st.composite
def cells_of(draw: st.DrawFn) -> Cell:
    """Any cell that the judge can make, apart from its numbers."""
    verdict = draw(st.sampled_from(VERDICTS))
    tier = draw(st.sampled_from(("critical", "supporting", "advisory")))
    where = draw(st.sampled_from(("all", "time_of_day=dusk")))
    name = f"front.h{draw(st.integers(0, 5))}"
    if verdict in ("broken", "not-measurable"):
        lost = draw(st.booleans())
        where = "all" if verdict == "broken" else where  # what is broken is broken everywhere
        return an_unmeasured(name, verdict=verdict, tier=tier, slice=where, incumbent=0.9 if lost else None)
    return a_loss(name, verdict=verdict, tier=tier, slice=where, clips_needed=10 if verdict == "undecided" else None)


@given(st.lists(cells_of(), max_size=6))
@settings(max_examples=200, deadline=None)
def test_junit_fails_and_sarif_alerts_exactly_as_the_judge_decides(cells: list[Cell]) -> None:
    outcome, reasons = decide(cells, missing=(), uncovered={}, must_pass=(), identical_uncovered=())
    decision = a_decision(cells, outcome, reasons=reasons)

    root = ET.fromstring(junit_xml(decision))
    failed = [case for case in root.iter("testcase") if case.find("failure") is not None]
    assert bool(failed) == (outcome != "GO")
    assert root.get("failures") == str(len(failed))
    if outcome == "NO-GO":
        assert any(standing(c) == "blocks" for c in cells)
        blocked = {c.prediction for c in cells if standing(c) == "blocks"}
        named = {p for r in reasons for p in r.predictions}
        assert blocked <= {case.get("name") for case in failed}
        assert blocked <= named

    levels = {r["level"] for r in json.loads(sarif_json(decision))["runs"][0]["results"]}
    assert ("error" in levels) == (outcome == "NO-GO")
    assert ("warning" in levels and "error" not in levels) == (outcome == "INCONCLUSIVE")


# --------------------------------------------------------------------------------------------------------------- JUnit


def cases(decision: Decision) -> dict[str, ET.Element]:
    return {case.get("name", ""): case for case in ET.fromstring(junit_xml(decision)).iter("testcase")}


def kind(case: ET.Element) -> str:
    failure = case.find("failure")
    return str(failure.get("type")) if failure is not None else "passed" if case.find("skipped") is None else "skipped"


def test_junit_has_one_case_for_the_decision_and_one_for_each_prediction_worst_first() -> None:
    found = [(name, case.get("classname"), kind(case)) for name, case in cases(a_full_decision()).items()]
    assert found == [
        ("decision", "gate", "no-go"),
        ("front.lane[left]", "front.lane", "broken"),
        ("front.cone", "front.cone", "skipped"),
        ("front.road_edge", "front.road_edge", "regressed"),
        ("rear.lane[left]", "rear.lane", "regressed"),
        ("front.grid[3]", "front.grid", "skipped"),
        ("front.presence[pedestrian]", "front.presence", "inconclusive"),
        ("front.free_space", "front.free_space", "skipped"),
        ("front.presence[tram]", "front.presence", "skipped"),
        ("front.presence[building]", "front.presence", "passed"),
        ("front.presence[sky]", "front.presence", "passed"),
        ("group:grid", "group", "passed"),
        ("rear.presence[sky]", "rear.presence", "passed"),
    ]


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


def test_a_case_has_at_most_one_failure_which_tells_all_its_metrics_and_slices() -> None:
    case = cases(a_full_decision())["front.road_edge"]
    (failure,) = case.findall("failure")  # viewers read the first and no more
    text = failure.text or ""
    assert "F1 over the whole suite fell from 92.21 % to 85.08 %" in text
    assert "average precision over the whole suite fell from 95.10 % to 90.13 %" in text
    assert "F1 on the slice time_of_day=dusk fell" in text


def test_a_failure_of_very_many_slices_counts_those_that_it_leaves_out() -> None:
    cells = [a_loss(slice=f"road={k}") for k in range(50)]
    failure = cases(a_decision(cells, "NO-GO"))["front.road_edge"].find("failure")
    assert failure is not None
    assert "and 30 more cells of this prediction" in (failure.text or "")


def test_a_missed_objective_fails_the_case_of_its_prediction_whose_cells_are_fine() -> None:
    reason = Reason("unattainable", "1 prediction is without a threshold", ("front.presence[sky]",))
    case = cases(a_decision([a_cell(), a_cell("rear.z")], "NO-GO", reasons=(reason,)))
    assert kind(case["front.presence[sky]"]) == "unattainable"
    assert kind(case["rear.z"]) == "passed"


def test_what_could_be_measured_before_and_cannot_now_fails() -> None:
    assert kind(cases(a_decision([an_unmeasured(incumbent=0.9)], "NO-GO"))["front.presence[tram]"]) == "not-measurable"


def test_what_is_skipped_says_why_and_what_passed_says_its_figures() -> None:
    found = cases(a_full_decision())
    skipped, passed = found["front.presence[tram]"].find("skipped"), found["front.presence[building]"]
    assert skipped is not None
    assert skipped.get("message") == "f1 ↑: not measurable: 4 clips with positives, and 10 are needed"
    said = "f1 ↑: improved: 80.10 % → 84.20 %, +4.10 points [+2.10, +6.08], margin 2 points"
    assert passed.findtext("system-out") == said


def test_junit_has_the_attributes_that_viewers_need() -> None:
    root = ET.fromstring(junit_xml(a_full_decision()))
    for element in (root, *root.iter("testsuite")):
        assert {"name", "tests", "failures", "errors", "skipped", "time"} <= set(element.keys())
        assert element.get("tests") == str(len(list(root.iter("testcase"))))
    for case in root.iter("testcase"):
        assert case.get("classname")
        assert case.get("time") == "0"


# ------------------------------------------------------------------------------------------------------------- summary


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


def test_a_summary_that_is_too_long_with_no_rows_at_all_loses_whole_lines_and_counts_them() -> None:
    name = "漢 " * 150  # every character of it is eight bytes of entity
    text = summary_markdown(a_worst_decision(name, 40))
    assert len(text.encode()) <= LIMIT
    assert text.endswith("</details>\n")
    cut = re.search(r"\n\((\d+) more lines are cut here; report\.html has them\)\n", text)
    assert cut is not None
    assert int(cut[1]) > 10


def test_a_text_that_is_cut_says_so() -> None:
    assert plain("a " * 2000).endswith("<code>a&#8230;</code>")
    assert plain("word " * 10, 12) == "word word <code>w&#8230;</code>"


def test_a_cell_of_markdown_holds_no_character_that_markdown_knows() -> None:
    assert code("a|b\u202e") == "<code>a&#124;b&#91;U&#43;202E&#93;</code>"
    assert len(re.findall("&#64;", code("@" * 500))) == 119


def test_a_reason_that_names_its_predictions_is_not_told_twice() -> None:
    reason = Reason("regressed", "front.road_edge lost 7.1 points of F1", ("front.road_edge",))
    decision = a_decision([a_loss()], "NO-GO", reasons=(reason,))
    assert "  regressed: front.road_edge lost 7.1 points of F1\n" in terminal(decision)
    assert "points of F1\n" in summary_markdown(decision)


# ------------------------------------------------------------------------------------------------------------ terminal


def test_a_pipe_has_no_colour_and_a_line_is_never_cut() -> None:
    name = "front." + "very_" * 30 + "long"
    text = terminal(a_decision([a_loss(name)], "NO-GO"), width=40)
    assert "\x1b" not in text
    assert any(name in line and "−7.13 points" in line for line in text.splitlines())


def test_no_color_is_respected_on_a_terminal() -> None:
    assert re.search(r"\x1b\[[0-9;]*3[0-9]m", terminal(a_full_decision(), tty=True))
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", terminal(a_full_decision(), tty=True, no_color=True))


@pytest.mark.parametrize("width", [40, 72, 80, 109, 120, 200])
def test_a_terminal_shows_whole_names_of_120_characters_within_its_width(width: int) -> None:
    name = "front." + "".join(chr(97 + k % 26) for k in range(114))
    decision = a_decision([a_loss(name), a_drift(f"{name}x"), a_mean_error(f"{name}y")], "NO-GO")
    text = COLOUR.sub("", terminal(decision, width=width, tty=True))
    assert max(map(len, text.splitlines())) <= width
    rows = text.partition("Predictions")[2].partition("What to do")[0]
    if width < 72:
        assert name in "".join(rows.split())
    for letter in "jqvxz":  # a table folds three names at once: no letter of any is lost
        assert rows.count(letter) >= 3 * name.count(letter)


def test_the_table_of_a_terminal_has_its_headers_whole() -> None:
    assert "Difference [bounds]" in COLOUR.sub("", terminal(a_full_decision(), width=150, tty=True))


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "cp437"])
def test_an_output_that_is_not_unicode_gets_ascii_symbols(encoding: str) -> None:
    for width, tty in ((120, False), (80, True), (150, True)):
        text = terminal(a_full_decision(), width=width, tty=tty, encoding=encoding)
        assert "x NO-GO: do not ship" in text
        assert "92.21 % -> 85.08 %" in text
        assert "-7.13 points" in text
        assert "\\u" not in text
        assert text.isascii()


# ----------------------------------------------------------------------------- drift, probabilities, what is counted


def test_a_loss_since_the_anchor_is_told_beside_the_difference_from_the_incumbent() -> None:
    told = "−2.20 points since its anchor, adjusted p = 0.0021"
    assert asides.drift(a_drift()) == told
    assert asides.drift(a_loss()) == ""
    decision = a_decision([a_drift()], "NO-GO")
    for render in (junit_xml, sarif_json, decision_html, signoff, terminal):
        text = render(decision).replace("\\u2212", "−")
        assert told in text, render
    assert "−2.20 points since its anchor" in summary_markdown(decision)


def test_what_no_threshold_moves_is_told_and_a_loss_of_it_is_never_zero() -> None:
    assert asides.threshold_free(a_loss(delta_threshold_free=-1e-9)).endswith(": −0.01 points")
    assert asides.threshold_free(a_loss()) == ""


def test_the_releases_that_drift_is_measured_from_are_named_and_a_cut_is_stated() -> None:
    older = tuple(Identity("hydranet", f"{k}", f"sha256:{k}") for k in range(5))
    decision = replace(a_full_decision(), anchors=older)
    assert "Drift since   hydranet 0, hydranet 1, hydranet 2 and 2 more" in terminal(decision)
    assert ">anchor<" in summary_markdown(decision).replace("| anchor |", ">anchor<")


def test_scores_that_are_worse_as_probabilities_are_told_with_direction_unit_and_bounds() -> None:
    known = (
        a_probability("a.b", (0.01, 0.002, 0.03)),
        a_probability("c.d", (0.5, -0.1, 1.0)),
        a_probability("e", None),
    )
    text = asides.probabilities(a_decision([a_cell()], probabilities=known))
    assert "the scores of 1 of 2 predictions are worse" in text
    assert text.endswith("worst a.b: +0.0100 nat [+0.0020, +0.0300], lower is better.")
    assert asides.probabilities(a_decision([a_cell()])) == ""


def test_a_suite_that_counts_drives_says_drives() -> None:
    decision = a_decision([an_undecided()], "INCONCLUSIVE", counted="drive")
    assert "about 140 more drives with positives" in summary_markdown(decision)
    assert "Collect drives for front.presence[pedestrian]: up to 140 more drives" in terminal(decision)
    for render in (junit_xml, sarif_json, signoff):
        assert re.search("[Aa]bout 140 more drives with positives would decide", render(decision))
        assert not re.search(r"\d clips", render(decision))


@pytest.mark.parametrize(
    ("p", "shown"), [(0.049996, "0.0499"), (0.05, "0.0500"), (1.0, "1.0000"), (0.99999, "0.9999"), (0.00011, "0.0001")]
)
def test_a_p_value_is_never_rounded_towards_the_good_news(p: float, shown: str) -> None:
    assert figures.p_value(p) == shown


# ------------------------------------------------------------------------------------------------------------ notebook


def test_a_notebook_gets_a_fragment_without_script_style_or_address() -> None:
    parsed = outline(decision_html(a_full_decision()))
    tags = {tag for tag, *_ in parsed.tags if not tag.startswith("/")}
    assert tags <= {"div", "p", "b", "br", "span", "ul", "ol", "li", "bdi", "table", "thead", "tbody", "tr", "th", "td"}
    assert {name for name, _ in parsed.attributes} == {"class", "style", "scope"}
    assert not any("url(" in value or "background" in value for _, value in parsed.attributes)
    opened = [tag for tag, *_ in parsed.tags if tag != "br"]
    assert [opened.count(t) for t in tags - {"br"}] == [opened.count("/" + t) for t in tags - {"br"}]


def test_a_notebook_is_told_not_to_read_formulas_into_names() -> None:
    assert decision_html(a_decision([a_loss("front.$x^2$")])).startswith('<div class="tex2jax_ignore mathjax_ignore"')


def test_the_fragment_stays_small_and_says_what_it_leaves_out() -> None:
    html = decision_html(a_worst_decision("漢" * 300, 300))
    assert len(html.encode()) < 60_000
    assert "and 55 more reasons" in html
    # 300 regressed slices, 30 broken, 300 undecided, 300 suspects, 300 unmeasured, 30 waived: ten are shown
    assert "1,250 more are not shown" in html


# ------------------------------------------------------------------------------------------------------- hostile names


def skeleton(value: Any) -> Any:
    """A JSON document without its texts and numbers."""
    if isinstance(value, dict):
        return {key: skeleton(item) for key, item in value.items()}
    return [skeleton(item) for item in value] if isinstance(value, list) else type(value).__name__


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_changes_nothing_around_it(name: str) -> None:
    honest, hostile = hostile_decision("name"), hostile_decision(name)
    shown = words.name(f"front.{name}")

    for render in (signoff, decision_html):
        plain_, parsed = outline(render(honest)), outline(render(hostile))
        assert parsed.tags == plain_.tags
        assert parsed.raw == plain_.raw
        assert [n for n, _ in parsed.attributes] == [n for n, _ in plain_.attributes]
        assert " ".join(shown[:20].split()) in parsed.text

    xml = ET.fromstring(junit_xml(hostile).encode())
    plain_xml = ET.fromstring(junit_xml(honest))
    assert [(e.tag, *e.keys()) for e in xml.iter()] == [(e.tag, *e.keys()) for e in plain_xml.iter()]
    assert shown in [case.get("name") for case in xml.iter("testcase")]

    document = json.loads(sarif_json(hostile))
    assert skeleton(document) == skeleton(json.loads(sarif_json(honest)))
    texts = [r["message"]["text"] for r in document["runs"][0]["results"]]
    assert not any("](" in text or re.search(r"(?<!\{)\{(?!\{)\d", text) for text in texts)
    assert any(text.startswith(shown.replace("{", "{{").replace("}", "}}").replace("](", "] (")) for text in texts)

    assert terminal(hostile).count("\n") == terminal(honest).count("\n")
    assert shown in terminal(hostile)

    forbidden = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
    for render in (signoff, decision_html, junit_xml, sarif_json, terminal, summary_markdown):
        text = render(hostile)
        text.encode()
        assert not forbidden.search(text), render


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_keeps_the_columns_of_the_markdown_table(name: str) -> None:
    markdown_it = pytest.importorskip("markdown_it")
    text = summary_markdown(hostile_decision(name))
    text.encode()
    renderer = markdown_it.MarkdownIt("commonmark", {"html": True}).enable("table")
    html = renderer.render(text)
    tables = [re.findall(r"<tr>.*?</tr>", t, re.DOTALL) for t in re.findall(r"<table>.*?</table>", html, re.DOTALL)]
    assert [len(rows) for rows in tables] == [7, 7]
    for rows in tables:
        assert len({len(re.findall("<t[hd]", row)) for row in rows}) == 1
    allowed = {"h2", "h3", "p", "ul", "ol", "li", "strong", "code", "table", "thead", "tbody", "tr", "th", "td", "br",
               "details", "summary"}  # fmt: skip
    assert {tag.lstrip("/") for tag, *_ in outline(html).tags} <= allowed
    outside_code = re.sub(r"<code>.*?</code>", "", html, flags=re.DOTALL)
    assert "@" not in outside_code
    assert "#1" not in outside_code
