"""The answer on GitHub: one check run with its annotations, or a commit status, and at most one comment.

Nothing here changes a decision. What cannot be published is told in a line.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gate.errors import PublishError
from gate.github.annotations import Annotation
from gate.github.answer import Answer
from gate.github.check import Api, RefusalError
from gate.github.events import Situation

#: Not the name of the job, which is the required check: two of one name on one commit hide each other.
NAME = "gate report"
MARKER = "<!-- gate report -->"
BATCH = 50  # annotations of one request
STATUS_LIMIT = 140  # characters of a commit status


@dataclass(frozen=True)
class Published:
    """url: of the check run, or empty. missing: what was not published, and why, a line each."""

    url: str
    missing: tuple[str, ...]


@dataclass(frozen=True)
class _Posted:
    """url: of the check or the run; author: login of whoever posted; check: id of the check run; there: annotations."""

    url: str
    author: str
    check: int | None = None
    there: int = 0


def publish(api: Api, where: Situation, answer: Answer) -> Published:
    """Post the answer on the commit `where.head`: check run, or status for tokens that may not make one; comment.

    Never raises for what GitHub answers.
    """
    missing, posted = [], _Posted("", "")
    try:
        posted = _checked(api, where, answer)
    except PublishError as error:
        missing.append(f"the check run: {error.what}")
    else:
        missing += _annotated(api, where, answer, posted)
    try:
        # After a failure, too: a comment that still says GO is worse than a check that is missing.
        if (number := where.pull_request or _pull_request(api, where)) is not None:
            _commented(api, where, number, answer, posted.author or "github-actions[bot]")
    except PublishError as error:
        missing.append(f"the comment: {error.what}")
    return Published(posted.url, tuple(missing))


def _checked(api: Api, where: Situation, answer: Answer) -> _Posted:
    try:
        return _check_run(api, where, answer)
    except RefusalError as error:
        # Only Apps make check runs; a person's token is told so, and may still post a status.
        if error.status != 403 or "GitHub App" not in error.message:
            raise
    return _status(api, where, answer)


def _check_run(api: Api, where: Situation, answer: Answer) -> _Posted:
    """The check run of this run and its answer, made or brought up to date."""
    name, runs = external_id(where, answer), f"/repos/{where.repository}/check-runs"
    body: dict[str, Any] = {"name": NAME, "external_id": name, "status": "completed", "conclusion": answer.conclusion}
    body |= {"details_url": where.run_url} if where.run_url else {}

    def written() -> Any | None:
        query = {"check_name": NAME, "filter": "all"}
        found = api.pages(f"/repos/{where.repository}/commits/{where.head}/check-runs", "check_runs", **query)
        return next((run for run in found if run.get("external_id") == name), None)

    made = written()
    if made is None:
        first = body | {"head_sha": where.head, "output": _output(where, answer, answer.annotations[:BATCH])}
        made, there = api.post(runs, first, written), min(BATCH, len(answer.annotations))
    else:
        made, there = api.patch(f"{runs}/{made['id']}", body | {"output": _output(where, answer)}), _counted(made)
    slug = (made.get("app") or {}).get("slug")  # the schema allows `app: null`
    return _Posted(str(made.get("html_url") or ""), f"{slug}[bot]" if slug else "", int(made["id"]), there)


def _annotated(api: Api, where: Situation, answer: Answer, posted: _Posted) -> list[str]:
    """Append what the first request had no room for; answers what is missing in the end.

    Annotations add up on the server: a request that ended in silence may have added its own.
    """
    total = len(answer.annotations)
    if posted.check is None:
        return [f"{total:,} annotations: this token may post a status only"] if total else []
    at = f"/repos/{where.repository}/check-runs/{posted.check}"
    for start in range(posted.there, total, BATCH):
        batch = answer.annotations[start : start + BATCH]

        def appended(end: int = start + len(batch)) -> Any | None:
            now = api.get(at)
            return now if _counted(now) >= end else None

        try:
            api.patch(at, {"output": _output(where, answer, batch)}, appended)
        except PublishError as error:
            return [f"{total - start:,} of {total:,} annotations: {error.what}"]
    return []


def external_id(where: Situation, answer: Answer) -> str:
    """What tells this run's check from all others of its name."""
    candidate, suite = (digest.removeprefix("sha256:")[:16] or "-" for digest in answer.digests)
    return f"gate:{candidate}:{suite}:{where.run}"


def _output(where: Situation, answer: Answer, batch: tuple[Annotation, ...] = ()) -> dict[str, Any]:
    rows = [
        {
            "path": a.path,
            "start_line": a.line,
            "end_line": a.line,
            "annotation_level": a.level,
            "title": a.title,
            "message": a.message,
        }
        for a in batch
    ]
    told = {"title": answer.title, "summary": answer.summary + _link(where)}
    return told | ({"annotations": rows} if rows else {})


def _link(where: Situation) -> str:
    return f"\n[The run that found this]({where.run_url}) has the whole report.\n" if where.run_url else ""


def _counted(made: Any) -> int:
    return int((made.get("output") or {}).get("annotations_count") or 0)


def _status(api: Api, where: Situation, answer: Answer) -> _Posted:
    state = {"success": "success", "failure": "failure", "action_required": "failure"}[answer.conclusion]
    title = answer.title if len(answer.title) <= STATUS_LIMIT else answer.title[: STATUS_LIMIT - 1] + "…"
    body = {"state": state, "context": NAME, "description": title}
    body |= {"target_url": where.run_url} if where.run_url else {}

    def written() -> Any | None:
        found = api.get(f"/repos/{where.repository}/commits/{where.head}/status", per_page="100").get("statuses", [])
        same = (status for status in found if all(status.get(key) == value for key, value in body.items()))
        return next(same, None)

    made = api.post(f"/repos/{where.repository}/statuses/{where.head}", body, written)
    return _Posted(where.run_url, str((made.get("creator") or {}).get("login") or ""))


def _commented(api: Api, where: Situation, number: int, answer: Answer, author: str) -> None:
    """Edit the comment in place; make one only where something stops the release or was waived."""
    body = f"{MARKER}\n{_collapsed(where, answer)}"
    issues = f"/repos/{where.repository}/issues"

    def written() -> Any | None:
        return next(_own(api, f"{issues}/{number}/comments", author), None)

    mine = written()
    if mine is not None:
        if mine.get("body") != body:
            api.patch(f"{issues}/comments/{mine['id']}", {"body": body})
    elif answer.conclusion != "success" or answer.waived:
        api.post(f"{issues}/{number}/comments", {"body": body}, written)


def _own(api: Api, path: str, author: str) -> Iterator[Any]:
    """Comments that start with the marker and are by this author; anybody can write the marker, or have left."""
    for comment in api.pages(path):
        if str(comment.get("body") or "").startswith(MARKER) and (comment.get("user") or {}).get("login") == author:
            yield comment


def _collapsed(where: Situation, answer: Answer) -> str:
    """Good news is one line that opens."""
    told = answer.summary + _link(where)
    if answer.conclusion != "success" or answer.waived:
        return told
    word = "no release is proposed" if answer.outcome == "NOTHING" else "GO"
    return f"<details><summary>gate: {word}</summary>\n\n{told}\n</details>\n"


def _pull_request(api: Api, where: Situation) -> int | None:
    """The open pull request of the triggering run, whose event does not name one of a fork; by branch and commit."""
    if not where.branch:
        return None
    found = api.pages(f"/repos/{where.repository}/pulls", state="open", head=where.branch)
    numbers = (pull["number"] for pull in found if (pull.get("head") or {}).get("sha") == where.head)
    return next(numbers, None)
