"""The decision as one page: a single offline file that needs no network, no font and no library."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Sequence
from importlib import resources

from gate.judge.decision import CurvePair, Decision
from gate.report.cells import payload
from gate.report.view import page_view


def render_page(decision: Decision, curves: Sequence[CurvePair], *, title: str, command: str) -> str:
    """The page as HTML. The same arguments give the same bytes.

    curves: any predictions; those of regressed ones are drawn. command: how to get this result again, as typed.
    Names may hold anything: they are escaped in the markup, and in the data block `<` is written as `\\u003c`.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    style, script = _part("page.css"), _part("page.js")
    data = json.dumps(payload(decision.cells), separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(_part("page.html.j2"))
    return page.render(
        view=page_view(decision, curves, title=title, command=command),
        # These three are not escaped: two are files of this package, and the data cannot hold a `<`.
        style=Markup(style),
        script=Markup(script),
        data=Markup(data.replace("<", "\\u003c")),
        style_hash=_hash(style),
        script_hash=_hash(script),
    )


def _part(name: str) -> str:
    text = resources.files("gate.report").joinpath(name).read_text("utf-8")
    # A browser hashes what is between the tags with its line ends made \n, so a checkout with \r\n must not matter.
    return text.replace("\r\n", "\n")


def _hash(text: str) -> str:
    return "sha256-" + b64encode(hashlib.sha256(text.encode()).digest()).decode()
