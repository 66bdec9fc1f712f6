"""Job summary, check and comment through a renderer of GitHub's Markdown: names stay text, tables keep their shape."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from gate.errors import GateError
from gate.github.answer import of_decision, of_error, of_nothing, unverified
from tests.support.decisions import a_decision, a_loss
from tests.support.faces import HOSTILE, hostile_decision

GFM = MarkdownIt("gfm-like", {"html": True})
TAGS = {"h2", "h3", "p", "ul", "ol", "li", "strong", "code", "details", "summary", "blockquote", "br"}
TAGS |= {"table", "thead", "tbody", "tr", "th", "td"}


class Shape(HTMLParser):
    """Tags with attributes, comments, and the columns of every table row."""

    def __init__(self, markdown: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.comments: list[str] = []
        self.rows: list[list[int]] = []
        self.text = ""
        self.feed(GFM.render(markdown))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag == "table":
            self.rows.append([])
        elif tag == "tr":
            self.rows[-1].append(0)
        elif tag in ("td", "th"):
            self.rows[-1][-1] += 1

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    def handle_data(self, data: str) -> None:
        self.text += data


def answers(name: str) -> dict[str, str]:
    """Every Markdown that there is, with the name wherever a name or a sentence may stand."""
    return {
        "decision": of_decision(hostile_decision(name), [], [name, f"a/{name}"]).summary,
        "error": of_error(GateError(f"{name} is wrong", where=name, mend=f"mend {name}"), [], [name]).summary,
        "nothing": of_nothing([name]).summary,
        "unverified": unverified("GO", [name, f"@org/team {name}", f"#1 {name}"]).summary,
    }


def held(name: str) -> None:
    for kind, markdown in answers(name).items():
        shape, plain = Shape(markdown), Shape(answers("plain")[kind])
        assert set(shape.tags) <= TAGS, kind
        assert [(k, v) for k, v in shape.attributes if not (k == "style" and (v or "").startswith("text-align:"))] == []
        assert shape.comments == []
        assert [rows[0] for rows in shape.rows] == [rows[0] for rows in plain.rows], kind
        assert all(columns == rows[0] for rows in shape.rows for columns in rows), kind
        assert not re.search(r"@\w", re.sub("<code>.*?</code>", "", GFM.render(markdown), flags=re.DOTALL)), kind


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_text_wherever_it_stands(name: str) -> None:
    held(name.encode(errors="replace").decode())


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet=st.sampled_from("|`*_[]()<>!#@&\\\n\r~-=+.:/\"'{}$ abc\u2028\u202e"), max_size=60))
def test_any_name_made_of_what_markdown_knows_is_text(name: str) -> None:
    held(name)


def test_a_name_is_read_as_it_is_written() -> None:
    name = "| a | `b` **c** <d> @e #1 [f](g)"
    shape = Shape(of_decision(a_decision([a_loss(name)], "NO-GO"), [], []).summary)
    assert name in shape.text


def test_what_a_change_edits_stands_first_as_a_quotation() -> None:
    html = GFM.render(of_nothing(["policy.toml"]).summary)
    assert html.lstrip().startswith("<blockquote>")
    assert "policy.toml" in Shape(of_nothing(["policy.toml"]).summary).text
