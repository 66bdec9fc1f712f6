"""All reports of a decision into one folder: the only file of this package that writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gate import atomic
from gate.errors import UsageError
from gate.judge.decision import Decision
from gate.lock import digest_of
from gate.report import words
from gate.report.details import Compared, chosen, details
from gate.report.flips import write_flips
from gate.report.html import render_page
from gate.report.junit import junit_xml
from gate.report.moved import moved_frames
from gate.report.noted import noted_frames
from gate.report.sarif import sarif_json
from gate.report.signoff import signoff_page
from gate.report.summary import summary_markdown
from gate.report.verdict import verdict_json

#: Pictures of one page, unless somebody asks for another number.
FRAMES = 60


def write_reports(
    decision: Decision,
    compared: Compared | None,
    out: Path,
    *,
    time: str,
    title: str,
    command: str,
    frames: int = FRAMES,
    progress: Callable[[int, int], None] = lambda done, total: None,
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, Path]:
    """Write all reports into `out`; the paths by file name, in that order.

    compared: what the decision rested on; without it the page has no panels and no frames. frames: pictures in the
    page. `out` is made when needed. All is rendered before anything is written, each file is there whole or not
    at all, and verdict.json comes last: where it is, the others are too. tell: takes a warning for frames that could
    not be looked at again. Raises UsageError when `out` cannot be written.
    """
    panels, moved, flips = (), (), None
    if compared is not None:
        leads = words.leads(decision.cells)
        panels = details(compared, [c for c in leads if c.impact == "reached"])
        wanted = chosen(compared, leads)
        bundles, exam, device = (compared.incumbent, compared.candidate), compared.suite, compared.device
        moved, flips = noted_frames(
            compared.store,
            bundles,
            exam,
            wanted,
            limit=frames,
            device=device,
            look=lambda: moved_frames(*bundles, exam, wanted, limit=frames, device=device, progress=progress),
        )
        for why in dict.fromkeys(m.lost for m in moved if m.lost):
            tell(f"warning: the report lacks frames, which could not be looked at again: {why}")
    verdict = verdict_json(decision, time=time)
    texts = {
        "report.html": render_page(decision, panels, moved, title=title, command=command),
        "signoff.html": signoff_page(decision, time=time, verdict=digest_of(verdict.encode())),
        "junit.xml": junit_xml(decision),
        "gate.sarif": sarif_json(decision),
        "summary.md": summary_markdown(decision),
        "verdict.json": verdict,
    }
    # A verdict of an earlier run must not stand beside the pages of this one when this run is killed between two files.
    stale = out / "verdict.json"
    try:
        stale.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(
            f"cannot be removed: {error.strerror}", where=str(stale), mend="choose another folder with --out"
        ) from error
    if flips is not None:
        write_flips(out / "flips.parquet", flips)
    for name, text in texts.items():
        atomic.write_text(out / name, text)
    return {name: out / name for name in texts}
