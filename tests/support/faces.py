"""What reads a report: a parser of pages, a terminal of any width and encoding, gold files, hostile names."""

from __future__ import annotations

import io
import os
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

from gate.judge.decision import Decision
from gate.report import print_decision
from tests.support.decisions import a_decision, a_drift, a_loss, an_undecided, an_unmeasured

GOLD = Path(__file__).parents[1] / "gold"
HOSTILE = [
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "</style><!-- --><svg onload=alert(1)>",
    '" onmouseover="alert(1)',
    "' autofocus onfocus='alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "| a | b | `code` **bold** @everyone #1 ![x](//e.x/b.png)",
    "[bold red]markup[/bold red][/]",
    "[link=file:///x]click[/link]",
    "\x1b[31mred\x1b[0m\r\nline",
    "\u202egnp.\u2066x",
    "\x00\x0b\ufffe",
    "\ud800",
    "&lt;b&gt; &amp; ]]>",
    "javascript:alert(1)",
    "cells",
    "__proto__",
    "%E0%A4%A",
    "n" * 120,
    "N" * 300,
    "$x^2$ \\(y\\)",
    "one\ntwo\rthree\u2028four",
    "](https://e.x)",
    "${{ secrets.X }} {0} %s",
    "::error::x",
    "\u05d0\u05d1\u05d2 \u0645\u0631\u062d\u0628\u0627",
    " ",
]


def hostile_decision(name: str) -> Decision:
    """The same decision whatever the name: it stands in every place where a name or a sentence can stand."""
    cells = (
        a_loss(f"front.{name}", head=f"front.{name}"),
        a_loss("front.x", slice=name, delta=-0.03, delta_worse=-0.03),
        an_undecided(f"rear.{name}", reason=f"{name} is odd", suspect=True),
        an_unmeasured(f"left.{name}", verdict="broken", reason=name + "!", waiver=name),
        an_unmeasured(f"right.{name}", reason=f"{name} 4 of 10", acknowledge=True),
        a_drift(f"far.{name}", unit=name, reason=name),
    )
    decision = a_decision(cells, "NO-GO", uncovered=(f"front.{name}",), runtime=(("machine", name),))
    reason = replace(decision.reasons[0], text=f"{name} is worse", predictions=(f"front.{name}",))
    contract = replace(decision.contracts[0], name=f"c.{name}", observed=name, where=name, success=False)
    return replace(
        decision,
        reasons=(reason,),
        contracts=(contract,),
        candidate=replace(decision.candidate, name=name, version=name),
        suite=replace(decision.suite, name=name),
        anchors=(replace(decision.incumbent, name=name),),
    )


class Outline(HTMLParser):
    """Tags with their attribute names, the text that a reader sees, and what is in scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, ...]] = []
        self.attributes: list[tuple[str, str]] = []
        self.raw: dict[str, str] = {}
        self._inside = ""
        self._text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, *(name for name, _ in attrs)))
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag in ("script", "style"):
            self._inside = dict(attrs).get("type") or tag

    def handle_endtag(self, tag: str) -> None:
        self.tags.append(("/" + tag,))
        self._inside = ""

    def handle_comment(self, data: str) -> None:
        self.tags.append(("comment", data))

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.raw[self._inside] = self.raw.get(self._inside, "") + data
        else:
            self._text.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self._text).split())


def outline(html: str) -> Outline:
    parser = Outline()
    parser.feed(html)
    parser.close()
    return parser


def terminal(
    decision: Decision, *, width: int = 120, tty: bool = False, encoding: str = "utf-8", no_color: bool = False
) -> str:
    """What `print_decision` writes, colours included."""
    from rich.console import Console

    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, newline="")
    environment = {"TERM": "xterm-256color"} | ({"NO_COLOR": "1"} if no_color else {})
    console = Console(file=file, width=width, force_terminal=tty, legacy_windows=False, _environ=environment)
    print_decision(decision, console)
    file.flush()
    return raw.getvalue().decode(encoding)


def scrubbed(text: str) -> str:
    """Without digests and moments, which differ where nothing that a person reads differs."""
    text = re.sub(r"sha256(:|&#58;)[0-9a-f]{64}", r"sha256\1...", text)
    return re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S*?(?=[ \",<])", "(moment)", text)


def gold(name: str, text: str) -> None:
    """`text`, scrubbed, is that of the gold file; GATE_GOLD=write rewrites it, and a difference is saved beside it."""
    path, text = GOLD / name, scrubbed(text)
    if os.environ.get("GATE_GOLD") == "write":
        path.write_text(text, encoding="utf-8")
    new = path.with_suffix(path.suffix + ".new")
    if text != path.read_text(encoding="utf-8"):
        new.write_text(text, encoding="utf-8")
    else:
        new.unlink(missing_ok=True)
    assert text == path.read_text(encoding="utf-8"), f"compare {path} with {new.name} beside it"
