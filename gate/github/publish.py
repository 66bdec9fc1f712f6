"""The answer on GitHub: one check run with its annotations, or a commit status, and at most one comment.

Nothing here changes a decision. What cannot be published is told in a line.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
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


def publish(api: Api, where: Situation, answer: Answer) -> Published:
    """Post the answer on the commit `where.head`: check run, or status for tokens that may not make one; comment.

    Never raises for what GitHub answers.
    """
    missing, url, author = [], "", ""
    try:
        url, author = _checked(api, where, answer)
    except PublishError as error:
        missing.append(f"the check run: {error.what}")
    try:
        # After a failure, too: a comment that still says GO is worse than a check that is missing.
        if (number := where.pull_request or _pull_request(api, where)) is not None:
            _commented(api, where, number, answer, author or "github-actions[bot]")
    except PublishError as error:
        missing.append(f"the comment: {error.what}")
    return Published(url, tuple(missing))


def _checked(api: Api, where: Situation, answer: Answer) -> tuple[str, str]:
    """Address of what was posted, and the login that its author's comments have."""
    try:
        made = check_run(api, where, answer)
    except RefusalError as error:
        # Only Apps make check runs; a person's token is told so, and may still post a status.
        if error.status != 403 or "GitHub App" not in error.message:
            raise
        made = _status(api, where, answer)
        return str(made.get("target_url") or ""), str((made.get("creator") or {}).get("login") or "")
    slug = (made.get("app") or {}).get("slug")  # the schema allows `app: null`
    return str(made.get("html_url") or ""), f"{slug}[bot]" if slug else ""


def check_run(api: Api, where: Situation, answer: Answer) -> Any:
    """The check run of this run and its answer, made or brought up to date; every annotation is there once."""
    runs = f"/repos/{where.repository}/check-runs"
    name, total = external_id(where, answer), len(answer.annotations)
    output = {"title": answer.title, "summary": answer.summary}
    body: dict[str, Any] = {"name": NAME, "external_id": name, "status": "completed", "conclusion": answer.conclusion}
    body |= {"details_url": where.run_url} if where.run_url else {}

    def written() -> Any | None:
        query = {"check_name": NAME, "filter": "all"}
        found = api.pages(f"/repos/{where.repository}/commits/{where.head}/check-runs", "check_runs", **query)
        return next((run for run in found if run.get("external_id") == name), None)

    def batch(done: int) -> dict[str, Any]:
        rows = [_row(a) for a in answer.annotations[done : done + BATCH]]
        return {"output": output | ({"annotations": rows} if rows else {})}

    made = written()
    if made is None:
        made, done = api.post(runs, {**body, "head_sha": where.head, **batch(0)}, written), min(BATCH, total)
    else:
        done = _annotated(made)
        made = api.patch(f"{runs}/{made['id']}", {**body, "output": output})
    at = f"{runs}/{made['id']}"
    while done < total:
        after = min(done + BATCH, total)

        def appended(after: int = after) -> Any | None:
            # Annotations add up on the server: a request that ended in silence may have added its own.
            now = api.get(at)
            return now if _annotated(now) >= after else None

        made, done = api.patch(at, batch(done), appended), after
    return made


def external_id(where: Situation, answer: Answer) -> str:
    """What tells this run's check from all others of its name."""
    candidate, suite = (digest.removeprefix("sha256:")[:16] or "-" for digest in answer.digests)
    return f"gate:{candidate}:{suite}:{where.run}"


def _annotated(made: Any) -> int:
    return int((made.get("output") or {}).get("annotations_count") or 0)


def _row(a: Annotation) -> dict[str, Any]:
    row = asdict(a)
    line, level = row.pop("line"), row.pop("level")
    return {**row, "annotation_level": level, "start_line": line, "end_line": line}


def _status(api: Api, where: Situation, answer: Answer) -> Any:
    state = {"success": "success", "failure": "failure", "action_required": "failure"}[answer.conclusion]
    title = answer.title if len(answer.title) <= STATUS_LIMIT else answer.title[: STATUS_LIMIT - 1] + "…"
    body = {"state": state, "context": NAME, "description": title}
    body |= {"target_url": where.run_url} if where.run_url else {}

    def written() -> Any | None:
        found = api.get(f"/repos/{where.repository}/commits/{where.head}/status", per_page="100").get("statuses", [])
        same = (s for s in found if all(s.get(key) == value for key, value in body.items()))
        return next(same, None)

    return api.post(f"/repos/{where.repository}/statuses/{where.head}", body, written)


def _commented(api: Api, where: Situation, number: int, answer: Answer, author: str) -> None:
    """Edit the comment in place; make one only where something stops the release or was waived."""
    body = f"{MARKER}\n{_collapsed(answer)}"
    comments = f"/repos/{where.repository}/issues"

    def written() -> Any | None:
        return next(_own(api, f"{comments}/{number}/comments", author), None)

    mine = written()
    if mine is not None:
        if mine.get("body") != body:
            api.patch(f"{comments}/comments/{mine['id']}", {"body": body})
    elif answer.conclusion != "success" or answer.waived:
        api.post(f"{comments}/{number}/comments", {"body": body}, written)


def _own(api: Api, path: str, author: str) -> Iterator[Any]:
    """Comments that start with the marker and are by this author; anybody can write the marker, or have left."""
    for comment in api.pages(path):
        if str(comment.get("body") or "").startswith(MARKER) and (comment.get("user") or {}).get("login") == author:
            yield comment


def _collapsed(answer: Answer) -> str:
    if answer.conclusion != "success" or answer.waived:
        return answer.summary
    return f"<details><summary>{_word(answer)}</summary>\n\n{answer.summary}\n</details>\n"


def _word(answer: Answer) -> str:
    return "gate: no release is proposed" if answer.outcome == "NOTHING" else "gate: GO"


def _pull_request(api: Api, where: Situation) -> int | None:
    """The open pull request of the triggering run, whose event does not name one of a fork; by branch and commit."""
    if not where.branch:
        return None
    found = api.pages(f"/repos/{where.repository}/pulls", state="open", head=where.branch)
    numbers = (pull["number"] for pull in found if (pull.get("head") or {}).get("sha") == where.head)
    return next(numbers, None)
