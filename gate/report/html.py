"""The decision as one page: a single offline file that needs no network, no font and no library."""

from __future__ import annotations

import hashlib
import json
import zlib
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from gate.judge.decision import Decision
from gate.report import words
from gate.report.cells import payload
from gate.report.details import Detail
from gate.report.moved import Moved, Picture
from gate.report.panels import panels
from gate.report.view import PageView, page_view

if TYPE_CHECKING:
    from jinja2 import Template

#: Bytes of a page. What has no room is left out, pictures first, and the page says so.
LIMIT = 1_500_000


def render_page(
    decision: Decision, details: Sequence[Detail] = (), moved: Sequence[Moved] = (), *, title: str, command: str
) -> str:
    """The page as HTML, below 1.5 MB. The same arguments give the same bytes.

    details, moved: of any predictions, worst first; command: how to get this result again, as typed. Names may hold
    anything: they are escaped in the markup, and the data block is base64.
    """
    kept, left_out, data = list(moved), "", _packed(decision, details)

    def rendered(shown: Sequence[Detail]) -> str:
        view = page_view(
            decision,
            {d.prediction: d for d in shown},
            {m.prediction: m for m in kept},
            title=title,
            command=command,
            left_out=left_out,
        )
        return _filled(view, data)

    page = rendered(details)
    before = sum(len(m.pictures) for m in moved)
    while (excess := len(page.encode()) - LIMIT) > 0 and any(m.pictures for m in kept):
        kept = _without(kept, excess)
        lacking = before - sum(len(m.pictures) for m in kept)
        left_out = (
            f"{lacking:,} of {words.count(before, 'picture')} have no room in this page; "
            "flips.parquet beside it names every frame."
        )
        page = rendered(details)
    room = len(details)
    without_panels = left_out
    while len(page.encode()) > LIMIT and room:
        room //= 2  # ten thousand predictions: the panels of the worst ones
        cut = f"Panels are drawn of the {room:,} worst of {words.count(len(details), 'prediction')}."
        left_out, data = f"{without_panels} {cut}".strip(), _packed(decision, details[:room])
        page = rendered(details[:room])
    return page


def _packed(decision: Decision, details: Sequence[Detail]) -> str:
    """The data block: compressed JSON as base64, which has no character that means anything in HTML."""
    leads = {c.prediction: c for c in words.leads(decision.cells)}
    data = {**payload(decision.cells), "panels": panels(details, leads, decision.probabilities)}
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return b64encode(zlib.compress(text.encode())).decode()


def _filled(view: PageView, data: str) -> str:
    from markupsafe import Markup

    style, script = _part("page.css"), _part("charts.js") + _part("page.js")
    return _template().render(
        view=view,
        # These three are not escaped: two are files of this package, and base64 has no `<`.
        style=Markup(style),
        script=Markup(script),
        data=Markup(data),
        style_hash=_hash(style),
        script_hash=_hash(script),
    )


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_part("page.html.j2"))


def _without(moved: Sequence[Moved], excess: int) -> list[Moved]:
    """The same with so many pictures less: of each prediction its least bad goes first, of all the least bad one's."""
    order = sorted(((rank, place) for place, m in enumerate(moved) for rank in range(len(m.pictures))), reverse=True)
    keep = [len(m.pictures) for m in moved]
    for rank, place in order:
        if excess <= 0:
            break
        excess -= _bytes(moved[place].pictures[rank])
        keep[place] -= 1
    return [replace(m, pictures=m.pictures[:n]) for m, n in zip(moved, keep, strict=True)]


def _bytes(picture: Picture) -> int:
    """Least size of a picture in the page."""
    return 4 * len(picture.image or b"") // 3 + 500


def _part(name: str) -> str:
    text = resources.files("gate.report").joinpath(name).read_text("utf-8")
    # A browser hashes what is between the tags with its line ends made \n, so a checkout with \r\n must not matter.
    return text.replace("\r\n", "\n")


def _hash(text: str) -> str:
    return "sha256-" + b64encode(hashlib.sha256(text.encode()).digest()).decode()
