"""Which commit is judged, against which, and where the answer belongs, in every event that GitHub has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gate.errors import UsageError
from gate.github import situation
from tests.support.repositories import NAME, event_of, pull_request

HEAD, BASE, HERE, OTHER = "a" * 40, "b" * 40, "5" * 40, "c" * 40
DEFAULT = {"repository": {"default_branch": "main"}}


def asked(
    folder: Path, name: str, told: Any, base: str | None = None, head: str | None = None, **environment: str
) -> Any:
    return situation(event_of(folder, name, told, **environment), base, head)


def test_a_pull_request_is_judged_at_its_own_head_and_never_at_the_merge_commit(tmp_path: Path) -> None:
    found = asked(tmp_path, "pull_request", pull_request(HEAD, BASE))
    assert (found.head, found.base, found.pull_request, found.read_only) == (HEAD, BASE, 7, False)
    assert HERE not in (found.head, found.base)


def test_a_merge_group_is_judged_at_its_head_and_has_no_pull_request(tmp_path: Path) -> None:
    found = asked(tmp_path, "merge_group", {"merge_group": {"head_sha": HEAD, "base_sha": BASE}})
    assert (found.head, found.base, found.pull_request) == (HEAD, BASE, None)


def test_a_triggered_run_answers_on_the_commit_of_the_run_that_triggered_it(tmp_path: Path) -> None:
    run = {"head_sha": HEAD, "head_branch": "fix", "head_repository": {"owner": {"login": "stranger"}}}
    found = asked(tmp_path, "workflow_run", {"workflow_run": run})
    assert (found.head, found.base, found.branch) == (HEAD, HERE, "stranger:fix")


def test_a_push_to_the_default_branch_is_judged_against_what_was_there(tmp_path: Path) -> None:
    found = asked(tmp_path, "push", {"before": BASE, **DEFAULT}, GITHUB_REF="refs/heads/main")
    assert (found.head, found.base) == (HERE, BASE)


def test_a_push_to_another_branch_is_judged_against_the_default_branch(tmp_path: Path) -> None:
    """The commit before is the author's own: the exam could be weakened in one push and used in the next."""
    found = asked(tmp_path, "push", {"before": BASE, **DEFAULT}, GITHUB_REF="refs/heads/next")
    assert (found.head, found.base) == (HERE, "refs/remotes/origin/main")


def test_a_new_default_branch_has_nothing_to_be_compared_with(tmp_path: Path) -> None:
    told = {"before": "0" * 40, **DEFAULT}
    with pytest.raises(UsageError, match="nothing to compare with"):
        asked(tmp_path, "push", told, GITHUB_REF="refs/heads/main")
    assert asked(tmp_path, "push", told, base=OTHER, GITHUB_REF="refs/heads/main").base == OTHER


def test_a_run_by_hand_judges_the_commit_that_it_is_given(tmp_path: Path) -> None:
    assert asked(tmp_path, "workflow_dispatch", DEFAULT).head == HERE
    found = asked(tmp_path, "workflow_dispatch", DEFAULT, head=OTHER)
    assert (found.head, found.base) == (OTHER, "refs/remotes/origin/main")


def test_a_plain_shell_says_what_to_compare_with() -> None:
    found = situation({}, "origin/main", None)
    assert (found.event, found.head, found.base, found.repository) == ("shell", "HEAD", "origin/main", "")
    with pytest.raises(UsageError, match="nothing says what to compare with"):
        situation({}, None, None)


@pytest.mark.parametrize("event", ["pull_request", "push"])
def test_an_event_that_has_a_head_takes_no_other(tmp_path: Path, event: str) -> None:
    told = pull_request(HEAD, BASE) | {"before": BASE}
    with pytest.raises(UsageError, match="--head does not go with"):
        asked(tmp_path, event, told, head=OTHER, GITHUB_REF="refs/heads/main")


def test_a_fork_may_not_write_and_dependabot_may_not_either(tmp_path: Path) -> None:
    assert asked(tmp_path, "pull_request", pull_request(HEAD, BASE, repository="stranger/stack")).read_only
    gone = pull_request(HEAD, BASE)
    gone["pull_request"]["head"]["repo"] = None  # the fork was deleted
    assert asked(tmp_path, "pull_request", gone).read_only
    assert asked(tmp_path, "pull_request", pull_request(HEAD, BASE), GITHUB_ACTOR="dependabot[bot]").read_only


def test_the_run_is_linked_and_told_apart_from_its_next_attempt(tmp_path: Path) -> None:
    found = asked(tmp_path, "pull_request", pull_request(HEAD, BASE))
    assert found.run_url == f"https://github.com/{NAME}/actions/runs/77"
    assert found.run == "77.1"
    assert asked(tmp_path, "pull_request", pull_request(HEAD, BASE), GITHUB_SERVER_URL="javascript:x").run_url == ""


@pytest.mark.parametrize(
    ("name", "told", "changes", "word"),
    [
        ("pull_request_target", pull_request(HEAD, BASE), {}, "use `on: pull_request`"),
        ("issue_comment", DEFAULT, {}, "does not know the event"),
        ("pull_request", pull_request("HEAD", BASE), {}, "pull_request.head.sha"),
        ("pull_request", pull_request("--output=x", BASE), {}, "pull_request.head.sha"),
        ("pull_request", {}, {}, "pull_request.number"),
        ("merge_group", {}, {}, "merge_group"),
        ("workflow_run", [], {}, "head_sha"),
        ("push", {"before": "x\n::error::", **DEFAULT}, {"GITHUB_REF": "refs/heads/main"}, "before"),
        ("pull_request", pull_request(HEAD, BASE), {"GITHUB_REPOSITORY": "a/b/../c"}, "GITHUB_REPOSITORY"),
        ("pull_request", pull_request(HEAD, BASE), {"GITHUB_RUN_ID": "7?x=1"}, "GITHUB_RUN_ID"),
        ("pull_request", pull_request(HEAD, BASE), {"GITHUB_SHA": ""}, "GITHUB_SHA"),
    ],
)
def test_an_event_that_says_something_else_is_refused(
    tmp_path: Path, name: str, told: Any, changes: dict[str, str], word: str
) -> None:
    with pytest.raises(UsageError) as refusal:
        asked(tmp_path, name, told, **changes)
    assert word in str(refusal.value)
    assert "\n::" not in str(refusal.value)


def test_an_event_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    environment = event_of(tmp_path, "push", {})
    (tmp_path / "event.json").write_text("{")
    with pytest.raises(UsageError, match="the event"):
        situation(environment, None, None)
