"""What is asked, by whom: the event, the repository and the commits, from the environment of a CI run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gate.errors import UsageError, shown
from gate.strict import read_json

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}")
_NUMBER = re.compile(r"\d{1,20}")
_NOTHING = "0" * 40  # GitHub's word for a branch that was not there before
MAX_EVENT = 32 << 20


@dataclass(frozen=True)
class Situation:
    """Who asks, and where the answer belongs.

    head, base: commits or names of them; head is the commit that the answer is posted on. repository: owner/name, empty
    outside GitHub. pull_request: its number, when the event tells. read_only: GitHub gives this run a token that cannot
    write. branch: `owner:branch` of the run that triggered this one, to find its pull request by.
    """

    event: str
    head: str
    base: str
    repository: str = ""
    pull_request: int | None = None
    read_only: bool = False
    branch: str = ""
    run: str = "0.0"
    run_url: str = ""


def situation(environment: Mapping[str, str], base: str | None, head: str | None) -> Situation:
    """The situation that the environment describes; base and head are what the command line says.

    The head is the pull request's, the merge group's or the triggering run's, never a merge commit that GitHub makes.
    Raises UsageError for events that say too little, or must not judge.
    """
    event = environment.get("GITHUB_EVENT_NAME", "")
    if not event:
        if base is None:
            raise UsageError("nothing says what to compare with", mend="gate ci --base origin/main")
        return Situation("shell", head or "HEAD", base)
    told = read_json(
        Path(environment.get("GITHUB_EVENT_PATH", "")), error=UsageError, where="the event", max_bytes=MAX_EVENT
    )
    repository = _matching(environment.get("GITHUB_REPOSITORY"), _REPOSITORY, "GITHUB_REPOSITORY")
    found = _found(event, told, environment)
    if head is not None and event not in ("workflow_dispatch", "schedule"):
        raise UsageError(f"--head does not go with the event {event}, which has a head of its own")
    if head is not None:
        _matching(head, _COMMIT, "--head")
    if base is None and found.base is None:
        raise UsageError("this push says nothing to compare with", mend="gate ci --base COMMIT")
    server = environment.get("GITHUB_SERVER_URL", "https://github.com")
    run, attempt = (
        _matching(environment.get(name, "0"), _NUMBER, name) for name in ("GITHUB_RUN_ID", "GITHUB_RUN_ATTEMPT")
    )
    return Situation(
        event,
        head or found.head,
        base or found.base or "",
        repository,
        found.number,
        found.fork or environment.get("GITHUB_ACTOR") == "dependabot[bot]",
        found.branch,
        f"{run}.{attempt}",
        f"{server}/{repository}/actions/runs/{run}" if server.startswith("https://") else "",
    )


@dataclass(frozen=True)
class _Found:
    head: str
    base: str | None
    number: int | None = None
    fork: bool = False
    branch: str = ""


def _found(event: str, told: Any, environment: Mapping[str, str]) -> _Found:
    here = _matching(environment.get("GITHUB_SHA"), _COMMIT, "GITHUB_SHA")
    match event:
        case "pull_request":
            # GITHUB_SHA is the merge of head and base here, which nobody wrote and no check belongs on.
            fork = _at(told, "pull_request", "head", "repo", "full_name") != environment.get("GITHUB_REPOSITORY")
            number = _at(told, "pull_request", "number")
            if not isinstance(number, int):
                raise UsageError("the event has no pull_request.number")
            return _Found(_commit(told, "pull_request", "head"), _commit(told, "pull_request", "base"), number, fork)
        case "merge_group":
            new, old = (_matching(_at(told, event, key), _COMMIT, f"{event}.{key}") for key in ("head_sha", "base_sha"))
            return _Found(new, old)
        case "workflow_run":
            # GITHUB_SHA is the default branch's here: the protected side.
            owner = _at(told, event, "head_repository", "owner", "login")
            name = _at(told, event, "head_branch")
            branch = f"{owner}:{name}" if isinstance(owner, str) and isinstance(name, str) else ""
            return _Found(_matching(_at(told, "workflow_run", "head_sha"), _COMMIT, "head_sha"), here, branch=branch)
        case "push" | "workflow_dispatch" | "schedule":
            default = _at(told, "repository", "default_branch")
            protected = f"refs/remotes/origin/{default}" if isinstance(default, str) else None
            if environment.get("GITHUB_REF") == f"refs/heads/{default}" and event == "push":
                before = _at(told, "before")
                known = isinstance(before, str) and before != _NOTHING
                return _Found(here, _matching(before, _COMMIT, "before") if known else None)
            # The commit before a push to any other branch is its author's: an exam could be weakened first.
            return _Found(here, protected)
        case "pull_request_target":
            raise UsageError(
                "pull_request_target runs with the rights of the base branch, which a candidate must not have",
                mend="use `on: pull_request`, and for forks the second workflow of docs/ci.md",
            )
        case _:
            raise UsageError(
                f"gate ci does not know the event {shown(event)}",
                mend="use push, pull_request, merge_group, workflow_run or workflow_dispatch",
            )


def _commit(told: Any, *path: str) -> str:
    return _matching(_at(told, *path, "sha"), _COMMIT, ".".join((*path, "sha")))


def _at(told: Any, *path: str) -> Any:
    """The value at a path of the event; None where it breaks off."""
    for key in path:
        told = told.get(key) if isinstance(told, dict) else None
    return told


def _matching(text: object, pattern: re.Pattern[str], name: str) -> str:
    if not isinstance(text, str) or not pattern.fullmatch(text):
        raise UsageError(f"{name} of this run is missing, or not what GitHub writes: {shown(repr(text))}")
    return text
