"""The documentation's pictures of a report: `python tests/browser/pictures.py REPORT.html docs` (nox -s pictures)."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright


def main(report: Path, out: Path) -> None:
    """Write report.png, the first screen, and report-frames.png, the frames of the worst prediction."""
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
        page.goto(report.resolve().as_uri())
        page.wait_for_selector("html[data-ready]")
        page.screenshot(path=out / "report.png")
        page.locator(".block .frames").first.screenshot(path=out / "report-frames.png")
        browser.close()
    for path in (out / "report.png", out / "report-frames.png"):
        with Image.open(path) as image:
            image.convert("RGB").quantize(256).save(path, optimize=True)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
