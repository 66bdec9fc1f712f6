"""A real browser, bounded and stopped at the end; without it these tests skip and say why."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update"]  # fmt: skip
Show = Callable[..., Any]


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Debian's chromium, driven by playwright."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: nox -s browser")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=program, args=FLAGS, timeout=300_000)
        yield chromium
        chromium.close()


@pytest.fixture
def show(browser: Any, tmp_path: Path) -> Iterator[Show]:
    """`show(html, at="#name", width=390, scheme="dark", script=False)`: a page whose every step outside is an error."""
    contexts, strays = [], []

    def opened(html: str, *, at: str = "", width: int = 1280, scheme: str = "light", script: bool = True) -> Any:
        path = tmp_path / f"page{len(contexts)}.html"
        path.write_text(html, encoding="utf-8")
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=script
        )
        context.set_default_timeout(300_000)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda r: strays.append(r.url) if r.url.partition("#")[0] != path.as_uri() else None)
        page.on("console", lambda message: strays.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: strays.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (strays.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.goto(path.as_uri() + at)
        if script:
            page.wait_for_selector("html[data-ready]")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert [s for s in strays if not s.startswith("data:")] == []


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core, as npm installed it beside this file."""
    path = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
    if not path.is_file():
        pytest.skip("axe-core is not installed: nox -s browser")
    return path.read_text(encoding="utf-8")
