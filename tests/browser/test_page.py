"""The page in a real browser: nothing leaves it, and everything that it offers works."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest

from gate.judge.decision import Decision
from gate.report import render_page, words
from tests.browser.conftest import Show
from tests.support.decisions import a_cell, a_decision, a_large_decision, a_loss, a_mixed_decision, an_undecided
from tests.support.faces import HOSTILE, hostile_decision
from tests.support.pages import a_moved, details_of

#: Whether as many rows are there as the line above the table says.
WHOLE = """() => {
    const told = document.querySelector('[data-role="range"]').textContent.match(/^([\\d,]+) to ([\\d,]+)/);
    const number = (text) => Number(text.replaceAll(',', ''));
    const rows = document.querySelectorAll('[data-role="rows"] > tr:not(.detail)').length;
    return !told || rows === number(told[2]) - number(told[1]) + 1;
}"""
#: How many elements of each kind a page has; where a name may break is part of the name.
CENSUS = """tags => {
    const seen = {};
    for (const { tagName } of tags) if (tagName !== 'WBR') seen[tagName] = (seen[tagName] || 0) + 1;
    return seen;
}"""
ROWS = '[data-role="rows"] > tr:not(.detail)'


def page_of(decision: Decision, *, frames: int = 2) -> str:
    worst = [c.prediction for c in words.leads(decision.cells) if c.verdict == "regressed"][:3]
    moved = [a_moved(p, frames, seed=k) for k, p in enumerate(worst)]
    return render_page(decision, details_of(decision.cells), moved, title="t", command="gate compare old new")


@pytest.fixture(scope="module")
def mixed() -> str:
    return page_of(a_mixed_decision())


@pytest.fixture(scope="module")
def large() -> str:
    return page_of(a_large_decision())


def names(page: Any) -> list[str]:
    """Predictions in the table, from top to bottom; the rows that follow in later frames included."""
    page.wait_for_function(WHOLE)
    return page.locator(f"{ROWS} .prediction a").all_text_contents()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280, 1920])
def test_the_page_is_as_wide_as_the_window(show: Show, large: str, width: int, scheme: str) -> None:
    page = show(large, width=width, scheme=scheme)
    page.locator("details.more summary").first.click()
    page.locator(f"{ROWS} button").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_verdict_chip_filters_and_a_second_press_shows_all(show: Show, mixed: str) -> None:
    page = show(mixed)
    every = names(page)
    chip = page.locator('.chip[data-verdict="regressed"]')
    chip.click()
    shown = names(page)
    assert len(shown) == int(chip.locator("b").text_content())
    assert set(shown) < set(every)
    assert chip.get_attribute("aria-pressed") == "true"
    chip.click()
    assert names(page) == every


@pytest.mark.parametrize(("filter_", "value"), [("tier", "critical"), ("network", "rear"), ("task", "binary")])
def test_a_filter_shows_exactly_what_has_its_value(show: Show, filter_: str, value: str) -> None:
    decision = a_large_decision(80, 2)
    page = show(page_of(decision))
    page.locator(f'[data-filter="{filter_}"]').select_option(value)
    expected = [c.prediction for c in words.leads(decision.cells) if getattr(c, filter_) == value]
    assert expected
    assert names(page) == expected


def test_a_slice_shows_each_prediction_by_its_worst_cell_there(show: Show) -> None:
    decision = a_large_decision(40, 3)
    page = show(page_of(decision))
    name = next(c.slice for c in decision.cells if c.slice != "all")
    page.locator('[data-filter="slice"]').select_option(name)
    assert set(page.locator(f"{ROWS} .slice").all_text_contents()) == {name}
    assert len(names(page)) == 40


def test_words_are_searched_in_names_slices_and_reasons_and_nothing_found_says_so(show: Show, mixed: str) -> None:
    page = show(mixed)
    page.locator('[data-filter="text"]').fill("nan frames")
    assert len(names(page)) == 1
    page.locator('[data-filter="text"]').fill("there is no such thing")
    assert "No prediction matches" in page.locator('[data-role="rows"]').text_content()
    assert page.locator('[data-role="range"]').text_content().startswith("0 of ")


def test_a_column_sorts_both_ways_and_what_was_not_measured_comes_last(show: Show) -> None:
    decision = a_large_decision(120, 2)
    page = show(page_of(decision))
    header = page.locator('th[data-sort="clips"]')
    header.locator("button").click()
    assert header.get_attribute("aria-sort") == "ascending"
    names(page)
    clips = [int(t.replace(",", "")) for t in page.locator(f"{ROWS} td:last-child").all_text_contents()]
    assert clips == sorted(clips)
    header.locator("button").click()
    assert header.get_attribute("aria-sort") == "descending"
    names(page)
    clips = [int(t.replace(",", "")) for t in page.locator(f"{ROWS} td:last-child").all_text_contents()]
    assert clips == sorted(clips, reverse=True)
    page.locator('th[data-sort="delta"] button').click()
    names(page)
    measured = page.locator(ROWS).evaluate_all("rows => rows.map(r => !r.querySelector('td.why'))")
    assert measured == sorted(measured, reverse=True)
    assert not all(measured)


def test_a_link_opens_the_row_of_its_prediction_far_down_the_table(show: Show, large: str) -> None:
    name = words.leads(a_large_decision().cells)[-40].prediction
    page = show(large, at="#" + quote(name))
    hit = page.locator("tr.hit")
    assert hit.locator(".prediction a").text_content() == name
    assert hit.locator("button").get_attribute("aria-expanded") == "true"
    box = hit.bounding_box()
    assert 0 <= box["y"] <= 900
    assert page.evaluate("document.activeElement.closest('tr').className").endswith("hit")


def test_a_link_to_a_regressed_prediction_goes_to_its_block(show: Show, large: str) -> None:
    page = show(large, at="#front.road_edge")
    assert abs(page.locator("[id='front.road_edge']").bounding_box()["y"]) < 60
    page.evaluate("location.hash = '#front.road_edge-that-is-not'")
    assert page.locator("html").get_attribute("data-ready") == "yes"


def test_a_link_to_a_folded_block_unfolds_it(show: Show) -> None:
    cells = [an_undecided(f"front.s{k}", suspect=True, delta_worse=-0.1 + 0.01 * k) for k in range(6)]
    page = show(page_of(a_decision(cells, "INCONCLUSIVE")))
    block = page.locator("[id='front.s5']")
    assert not block.is_visible()
    page.evaluate("location.hash = '#front.s5'")
    block.wait_for(state="visible")


def test_everything_works_from_the_keyboard(show: Show, mixed: str) -> None:
    page = show(mixed)
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.dataset.filter") == "text"
    page.keyboard.type("road_edge")
    assert names(page) == ["front.road_edge"]
    page.keyboard.press("Escape")
    assert len(names(page)) > 1
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("j")
    rows = page.locator(f"{ROWS} .verdict-cell button")
    assert rows.nth(1).evaluate("b => b === document.activeElement")
    page.keyboard.press("Enter")
    assert rows.nth(1).get_attribute("aria-expanded") == "true"
    assert page.locator("tr.detail").count() == 1
    page.keyboard.press("Enter")
    assert page.locator("tr.detail").count() == 0


def test_a_panel_shows_its_charts_with_labels_and_all_cells_of_its_prediction(show: Show) -> None:
    decision = a_large_decision(30, 3)
    page = show(page_of(decision))
    page.locator(f"{ROWS} .verdict-cell button").first.click()
    name = page.locator(f"{ROWS} .prediction a").first.text_content()
    panel = page.locator("tr.detail .panel")
    titles = panel.locator("h3").all_text_contents()
    cells = [c for c in decision.cells if c.prediction == name]
    assert titles == ["Precision and recall", "Scores", "Which clips carry it", "Thresholds", f"All {len(cells)} cells"]
    labels = panel.locator("svg.chart").evaluate_all("charts => charts.map(c => c.getAttribute('aria-label'))")
    assert len(labels) == 3
    assert all(labels)
    assert panel.locator(".box tbody tr").count() == len(cells)


def test_a_block_unfolds_its_panel_once(show: Show, mixed: str) -> None:
    page = show(mixed)
    block = page.locator("[id='front.road_edge']")
    for _ in range(3):
        block.locator("details.more > summary").click()
    assert block.locator(".panel").count() == 1
    assert "Which clips carry it" in block.locator(".panel h4").all_text_contents()


def test_frames_are_shown_side_by_side_or_one_release_or_bare(show: Show, mixed: str) -> None:
    page = show(mixed)
    frames = page.locator("[data-frames]").first
    sides = {side: frames.locator(f".layer.{side}").first for side in ("incumbent", "candidate")}
    assert all(s.is_visible() for s in sides.values())
    assert frames.locator("image").first.evaluate("i => i.getBBox().width > 0")
    for view, expected in (("incumbent", (True, False)), ("candidate", (False, True)), ("both", (True, True))):
        frames.locator(f'[data-view="{view}"]').click()
        assert tuple(s.is_visible() for s in sides.values()) == expected
        assert frames.locator(f'[data-view="{view}"]').get_attribute("aria-pressed") == "true"
    frames.locator('[data-view="bare"]').click()
    assert not frames.locator("rect").first.is_visible()
    assert not frames.locator("image.raster").first.is_visible()


def test_the_house_shows_every_prediction_and_a_head_filters(show: Show) -> None:
    decision = a_large_decision(200, 1)
    page = show(page_of(decision))
    leads = words.leads(decision.cells)
    assert page.locator(".house .squares i").count() == len(leads) == 200
    assert page.locator(".house .squares i.v-regressed").count() == sum(c.verdict == "regressed" for c in leads)
    button = page.locator(".house .head").first
    told = button.get_attribute("title")
    button.click()
    assert len(names(page)) == button.locator("i").count()
    assert all(told.startswith(n.partition("[")[0]) for n in names(page))


def test_many_networks_that_a_change_cannot_reach_stand_folded_behind_those_that_it_can(show: Show) -> None:
    cells = [a_loss("n0.a"), *(a_cell(f"n{k}.a", impact="identical") for k in range(1, 9))]
    page = show(page_of(a_decision(cells, "NO-GO")))
    assert page.locator(".network:visible").count() == 1
    page.get_by_text("8 networks out of the change's reach: 8 predictions").click()
    assert page.locator(".network:visible").count() == 9
    few = show(page_of(a_decision(cells[:3], "NO-GO")))
    assert few.locator(".network:visible").count() == 3


def test_more_than_a_thousand_predictions_have_pages(show: Show, large: str) -> None:
    page = show(large)
    first = names(page)
    assert len(first) == 1000
    page.locator('[data-page="next"]').first.click()
    assert len(names(page)) == 37
    assert page.locator('[data-page="next"]').first.is_disabled()
    page.locator('[data-filter="tier"]').select_option("critical")
    assert not page.locator(".pages").first.is_visible()


def test_the_page_prints(show: Show, mixed: str) -> None:
    page = show(mixed)
    pdf = page.pdf()
    assert pdf.startswith(b"%PDF")
    assert pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page ") + pdf.count(b"/Type/Page") >= 1


def test_without_javascript_decision_reasons_and_regressed_rows_are_there(show: Show, mixed: str) -> None:
    page = show(mixed, script=False)
    for text in ("NO-GO", "Proven worse than the incumbent at the family-wise level.", "fell from 92.21 % to 85.08 %"):
        assert page.get_by_text(text).first.is_visible(), text
    assert page.get_by_text("The table needs JavaScript").is_visible()
    assert page.locator("figure.frame").first.is_visible()
    assert not page.locator("table.predictions").is_visible()
    assert not page.locator(".house").is_visible()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_only_text(show: Show, name: str) -> None:
    page = show(page_of(hostile_decision(name)))
    names(page)
    page.locator(f"{ROWS} .verdict-cell button").first.click()
    shown = words.name(f"front.{name}")
    assert shown in page.locator(f"{ROWS} .prediction a").all_text_contents()
    honest = show(page_of(hostile_decision("name")))
    names(honest)
    honest.locator(f"{ROWS} .verdict-cell button").first.click()
    assert page.locator("*").evaluate_all(CENSUS) == honest.locator("*").evaluate_all(CENSUS)


def test_a_link_to_any_hostile_name_finds_its_row(show: Show) -> None:
    cells = [a_cell(f"front.{name}") for name in HOSTILE]
    html = page_of(a_decision([a_loss(), *cells]))
    for name in HOSTILE:
        shown = words.name(f"front.{name}")
        page = show(html, at="#" + quote(shown, safe=""))
        assert page.locator("tr.hit .prediction a").text_content() == shown


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("outcome", ["NO-GO", "GO", "INCONCLUSIVE"])
def test_axe_finds_nothing(show: Show, axe: str, outcome: Any, width: int, scheme: str) -> None:
    page = show(page_of(replace(a_mixed_decision(), decision=outcome)), width=width, scheme=scheme)
    names(page)
    page.locator(f"{ROWS} .verdict-cell button").first.click()
    page.locator("details.more > summary").first.click()
    for summary in page.locator("details:not(.more) > summary").all():
        summary.click()
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
    told = [f"{v['id']}: {v['help']}: {[n['html'][:160] for n in v['nodes'][:3]]}" for v in found]
    assert not told, "\n".join(told)
