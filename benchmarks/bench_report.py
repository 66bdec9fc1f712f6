"""The page at full size: bytes, time to render, to load, to open a panel, to filter and to sort, in a real browser.

    python -m benchmarks.bench_report [--out FOLDER]

Size: 1,000 predictions x 2 metrics x 5 slices, 60 regressed ones with a picture each, a panel for every prediction that
is reached. Beside it, in the same run, Evidently's drift report over as many columns, where it can be imported: not the
same content (it has no bundles to compare, no clips and no frames), but the report of that size that people know.
Chromium and playwright are needed for the timings in the browser; without them only size and rendering are printed.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from gate.judge.decision import Cell, Decision
from gate.report import render_page
from tests.support.decisions import a_large_decision
from tests.support.pages import a_moved, details_of

PREDICTIONS, SLICES, PICTURES, ROUNDS = 1000, 5, 60, 5
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update"]  # fmt: skip


def synthetic(reached: bool = True) -> Decision:
    """A decision of full size, 60 of whose predictions regressed. reached: all predictions, so that all have panels."""
    decision = a_large_decision(PREDICTIONS, SLICES)
    worse = list(dict.fromkeys(c.prediction for c in decision.cells if c.delta is not None))[:PICTURES]

    def changed(cell: Cell) -> Cell:
        cell = replace(cell, impact="reached") if reached else cell
        if cell.prediction not in worse or cell.slice != "all" or cell.delta is None:
            return cell
        reason = "lost 7.1 points of F1 on 212 clips, adjusted p 0.0002"
        return replace(cell, verdict="regressed", reason=reason, candidate=(cell.incumbent or 0.9) - 0.071,
                       delta=-0.071, delta_worse=-0.071, ci_low=-0.09, ci_high=-0.05, p_adjusted=0.0002)  # fmt: skip

    return replace(decision, cells=tuple(map(changed, decision.cells)))


def evidently(out: Path, rows: int) -> tuple[float, int] | None:
    """(seconds, bytes) of Evidently's drift report over as many columns; None where it is not installed."""
    try:
        import numpy as np
        import pandas as pd
        from evidently import Report
        from evidently.presets import DataDriftPreset
    except ImportError:
        return None
    rng = np.random.default_rng(0)
    frames = [
        pd.DataFrame(rng.normal(size=(rows, PREDICTIONS)), columns=[f"p{k}" for k in range(PREDICTIONS)]) for _ in "ab"
    ]
    start = time.perf_counter()
    Report([DataDriftPreset()]).run(*frames).save_html(str(out))
    return time.perf_counter() - start, out.stat().st_size


def timed(path: Path, ours: bool) -> dict[str, float]:
    """Milliseconds in the browser, medians of five fresh pages."""
    from playwright.sync_api import sync_playwright

    found: dict[str, list[float]] = {}
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        for _ in range(ROUNDS):
            page = browser.new_page(viewport={"width": 1280, "height": 1000})
            start = time.perf_counter()
            page.goto(path.as_uri(), wait_until="load", timeout=120_000)
            if ours:
                page.wait_for_selector("html[data-ready]")
            found.setdefault("open", []).append((time.perf_counter() - start) * 1000)
            if ours:
                for name, action in ACTIONS.items():
                    found.setdefault(name, []).append(page.evaluate(SETTLED % action))
            page.close()
        browser.close()
    return {name: median(times) for name, times in found.items()}


#: Until the next frame is painted after the action.
SETTLED = """() => new Promise((done) => {
    const start = performance.now();
    %s;
    requestAnimationFrame(() => setTimeout(() => done(performance.now() - start)));
})"""
ACTIONS = {
    "open a panel": "document.querySelector('[data-role=rows] .verdict-cell button').click()",
    "filter by text": "(() => { const f = document.querySelector('[data-filter=text]'); f.value = 'rear'; "
    "f.dispatchEvent(new Event('input')); })()",
    "show all again": "document.querySelector('[data-role=reset]').click()",
    "sort by difference": "document.querySelector('th[data-sort=delta] button').click()",
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, help="folder that keeps the pages")
    folder = parser.parse_args().out or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    decision = synthetic()
    details = details_of(decision.cells)
    worse = [d.prediction for d in details[:PICTURES]]
    moved = [a_moved(p, 1, name=f"frame-{k}-", seed=k) for k, p in enumerate(worse)]
    render: list[float] = []
    page = ""
    for _ in range(3):
        start = time.perf_counter()
        page = render_page(decision, details, moved, title="synthetic", command="gate compare OLD NEW")
        render.append(time.perf_counter() - start)
    path = folder / "gate.html"
    path.write_text(page, encoding="utf-8")
    peer = evidently(folder / "evidently.html", rows=1000)
    browser = shutil.which("chromium") is not None and _playwright()
    rows: list[tuple[str, str, str]] = [
        ("size", f"{len(page.encode()) / 1e6:.2f} MB", f"{peer[1] / 1e6:.2f} MB" if peer else "not installed"),
        ("render", f"{median(render):.2f} s", f"{peer[0]:.2f} s, with its statistics" if peer else ""),
    ]
    if browser:
        ours: dict[str, Any] = timed(path, True)
        theirs = timed(folder / "evidently.html", False) if peer else {}
        rows += [
            (name, f"{ms:.0f} ms", f"{theirs[name]:.0f} ms" if name in theirs else "") for name, ms in ours.items()
        ]
    print(
        f"{len(decision.cells):,} cells of {PREDICTIONS:,} predictions, {len(details):,} panels, {len(moved)} pictures"
    )
    print(f"{platform.machine()}, Python {platform.python_version()}; medians, browser times of {ROUNDS} fresh pages\n")
    print(f"| {'':18} | {'gate':>10} | Evidently, {PREDICTIONS:,} columns |\n| --- | ---: | ---: |")
    for name, mine, other in rows:
        print(f"| {name:18} | {mine:>10} | {other} |")


def _playwright() -> bool:
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return False
    return True


if __name__ == "__main__":
    main()
