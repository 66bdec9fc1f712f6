"""Check summary and comment in a real browser, after a renderer of GitHub's Markdown."""

from __future__ import annotations

import pytest
from markdown_it import MarkdownIt

from tests.browser.conftest import Show
from tests.support.faces import HOSTILE
from tests.test_markdown import answers

GFM = MarkdownIt("gfm-like", {"html": True})
PAGE = "<!doctype html><html data-ready><meta charset=utf-8><title>t</title><body>{}"
WIDTHS = "() => [...document.querySelectorAll('table')].map(t => [...new Set([...t.rows].map(r => r.cells.length))])"


@pytest.mark.parametrize("kind", ["decision", "error", "nothing", "unverified"])
def test_a_browser_sees_text_where_a_name_is_hostile(show: Show, kind: str) -> None:
    """Nothing loads, nothing runs (`show` fails on any request, dialog or message), and no row gains a cell."""
    names = [name.encode(errors="replace").decode() for name in HOSTILE]
    page = show(PAGE.format("<hr>".join(GFM.render(answers(name)[kind]) for name in names)))
    assert page.locator("hr").count() == len(names) - 1
    assert [widths for widths in page.evaluate(WIDTHS) if len(widths) != 1] == []
    assert page.locator("a, img, script, style, svg, iframe, form, input, button").count() == 0


def test_a_name_is_shown_as_it_is_written(show: Show) -> None:
    name = "| a | `b` **c** <b>d</b> @e #1 [f](g)"
    page = show(PAGE.format(GFM.render(answers(name)["nothing"])))
    assert page.locator("code").first.inner_text() == name
