"""Findings on the lines that ask for them, and the workflow commands that show them: no name starts its own."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.errors import ConfigError, GateError
from gate.github.annotations import MESSAGE_LIMIT, TITLE_LIMIT, Annotation, commands, notice, of_decision, of_error
from gate.github.proposal import Proposal
from gate.github.release import Release, read_release
from gate.judge.decision import Reason
from tests.support.decisions import a_cell, a_decision, a_loss, an_undecided
from tests.support.tiny import POLICY, SUITE

RELEASE = (
    '[release]\nbundle = "bundles/2"\ndigest = "sha256:'
    + "0" * 64
    + '"\nsuite = "suites/tiny"\npolicy = "rules.toml"\n'
)


@pytest.fixture
def proposal(tmp_path: Path) -> Proposal:
    (tmp_path / "suite.toml").write_text(SUITE)
    (tmp_path / "rules.toml").write_text(POLICY + '\n[groups]\nsigns = "cam.sign[*]"\n')
    (tmp_path / "release.toml").write_text(RELEASE)
    release, lines = read_release(tmp_path / "release.toml")
    shipping = Release("bundles/1", release.digest, "suites/tiny", "rules.toml")
    nowhere = tmp_path / "nowhere"
    return Proposal(nowhere, nowhere, tmp_path, tmp_path / "rules.toml", nowhere, None, shipping, release, lines)


def line_of(text: str, start: str) -> int:
    return next(k for k, line in enumerate(text.splitlines(), 1) if line.startswith(start))


def test_a_finding_is_on_the_line_of_its_head_in_the_suite(proposal: Proposal) -> None:
    cells = [a_loss("cam.edge", head="cam.edge"), an_undecided("cam.sign[stop]", head="cam.sign"), a_cell("cam.range")]
    found = of_decision(a_decision(cells, "NO-GO"), proposal)
    places = [(a.path, a.line, a.level) for a in found]
    edge, sign = (line_of(SUITE, f'head = "cam.{name}"') for name in ("edge", "sign"))
    assert places == [
        ("suites/tiny/suite.toml", edge, "failure"),
        ("suites/tiny/suite.toml", sign, "warning"),
        ("release.toml", 3, "failure"),
    ]


def test_a_group_is_on_its_line_of_the_policy(proposal: Proposal) -> None:
    found = of_decision(a_decision([a_loss("group:signs", head="")], "NO-GO"), proposal)
    assert (found[0].path, found[0].line) == ("rules.toml", line_of(proposal.policy.read_text(), "signs ="))


def test_a_prediction_has_one_annotation_whatever_its_slices(proposal: Proposal) -> None:
    cells = [a_loss("cam.edge", head="cam.edge", slice=f"light={k}") for k in range(20)]
    assert len(of_decision(a_decision(cells, "NO-GO"), proposal)) == 2


def test_a_reason_without_a_cell_is_on_the_release(proposal: Proposal) -> None:
    decision = replace(
        a_decision([a_cell()], "NO-GO"), reasons=(Reason("uncovered", "cam.new is judged by nobody", ()),)
    )
    (found,) = of_decision(decision, proposal)
    assert (found.path, found.line) == ("release.toml", 3)
    assert "cam.new is judged by nobody" in found.message


def test_a_go_has_nothing_to_point_at(proposal: Proposal) -> None:
    assert of_decision(a_decision([a_cell()], "GO"), proposal) == ()


@pytest.mark.parametrize(
    ("where", "place"),
    [
        ("head:release.toml:3: release.digest", ("release.toml", 3)),
        ("head:bundles/2/bundle.toml:14: networks", ("bundles/2/bundle.toml", 14)),
        ("base:policy.toml:3", ("release.toml", 1)),
        ("head:../../etc/passwd:3", ("release.toml", 1)),
        ("head:a/../../b:3", ("release.toml", 1)),
        ("base:policy.toml:3: 'head:x.toml:9'", ("release.toml", 1)),
        ("", ("release.toml", 1)),
    ],
)
def test_an_error_is_on_the_line_of_the_heads_file_that_it_names(where: str, place: tuple[str, int]) -> None:
    (found,) = of_error(ConfigError("no", where=where))
    assert (found.path, found.line) == place


@given(st.text(max_size=200), st.text(max_size=200))
def test_a_workflow_command_is_one_line_and_says_only_what_it_was_made_for(title: str, message: str) -> None:
    (line,) = commands([Annotation("suites/a,b:c/suite.toml", 3, "failure", title, message)])
    found = re.fullmatch(r"::error file=([^,:]*),line=3,title=([^,:\r\n]*)::([^\r\n]*)", line)
    assert found is not None
    decoded = [
        text.replace("%0D", "\r").replace("%0A", "\n").replace("%3A", ":").replace("%2C", ",")
        for text in found.groups()
    ]
    assert [text.replace("%25", "%") for text in decoded[:1]] == ["suites/a,b:c/suite.toml"]
    assert "\n" not in notice(message)


def test_ten_commands_are_shown_and_no_more() -> None:
    many = [Annotation("a", k + 1, "failure", "t", "m") for k in range(12)]
    assert [re.findall(r"line=(\d+)", line) for line in commands(many)] == [[str(k)] for k in range(1, 11)]


def test_titles_and_messages_are_within_githubs_limits() -> None:
    (found,) = of_error(GateError("\U0001f4a9" * 100_000))
    assert (len(found.title) <= TITLE_LIMIT, len(found.message) <= MESSAGE_LIMIT) == (True, True)
    assert len(found.message.encode()) < 65_536
