"""A GitHub on loopback that remembers what it is told, holds every request to GitHub's own schema, and fails on demand.

`tests/github/openapi-trimmed.json` is cut from GitHub's public description of its REST API (MIT licensed). Requests and
answers are both validated; limits that the description does not tell (bytes, annotations of one request) are checked
as the server checks them. What was wrong is in `violations`.
"""

from __future__ import annotations

import copy
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

DESCRIPTION = Path(__file__).parents[1] / "github" / "openapi-trimmed.json"
TOKEN = "t0ken-of-the-installation"
BOT = "github-actions[bot]"
ROOT = "urn:github"


@dataclass
class Fault:
    """What happens to the next `times` requests that match: method and path by a pattern such as `POST .*check-runs`.

    written: the request does its work first, and only its answer is lost. status 0 drops the connection.
    """

    match: str
    status: int = 502
    message: str = "Server Error"
    headers: dict[str, str] = field(default_factory=dict)
    written: bool = False
    times: int = 1


@dataclass
class Hub:
    """State of the repositories that anybody writes to. pulls: (number, owner:branch, head commit)."""

    url: str = ""
    checks: list[dict[str, Any]] = field(default_factory=list)
    annotations: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    statuses: list[dict[str, Any]] = field(default_factory=list)
    comments: list[dict[str, Any]] = field(default_factory=list)
    pulls: list[tuple[int, str, str]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    tokens: set[str] = field(default_factory=lambda: {TOKEN})
    app: dict[str, Any] | None = None
    person: str = ""  # login of the token's owner, when it is not an App's
    moved: str = ""  # `owner/name` that the repository is called now
    foreign: str = ""  # where the next page is said to be

    def comment(self, body: str, login: str | None) -> int:
        """Somebody's comment; None is a user who has left."""
        made = _example("issue-comment")
        user = None if login is None else made["user"] | {"login": login}
        made |= {"id": 1000 + len(self.comments), "body": body, "user": user}
        self.comments.append(made)
        return made["id"]

    def writes(self, word: str = "") -> list[tuple[str, str]]:
        return [(m, p) for m, p in self.requests if m != "GET" and word in p]


@contextmanager
def github() -> Iterator[Hub]:
    """A server in a thread, gone when the block ends."""
    hub = Hub(app=_example("check-run")["app"] | {"slug": "github-actions"})

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *words: object) -> None:
            pass

        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            _answer(hub, self, body)

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _serve  # noqa: N815

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}/api/v3"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)


def _answer(hub: Hub, request: BaseHTTPRequestHandler, raw: bytes) -> None:
    parts = urlsplit(request.path)
    path, query = parts.path.removeprefix("/api/v3"), dict(parse_qsl(parts.query))
    hub.requests.append((request.command, path))
    body = json.loads(raw) if raw and raw != b"null" else None
    hub.bodies.append(body)
    template, values = _operation(path, request.command.lower())
    if template is None:
        hub.violations.append(f"{request.command} {path}: not in the description")
        _send(request, 404, {"message": "Not Found"})
        return
    token = request.headers.get("Authorization", "").partition(" ")[2]
    jwt = template.startswith("/app/")
    problems = list(_problems(template, request.command.lower(), values, query, body))
    if not jwt and token not in hub.tokens:
        problems.append("a token that nobody gave")
    if request.headers.get("X-GitHub-Api-Version") != "2022-11-28":
        problems.append("no API version")
    hub.violations += [f"{request.command} {path}: {problem}" for problem in problems]
    fault = next((f for f in hub.faults if f.times and re.fullmatch(f.match, f"{request.command} {path}")), None)
    if fault is not None:
        fault.times -= 1
        if fault.written:
            _done(hub, template, request.command.lower(), values, query, body)
        if not fault.status:
            request.close_connection = True
            request.connection.close()
            return
        _send(request, fault.status, {"message": fault.message}, fault.headers)
        return
    if hub.moved and not path.startswith(f"/repos/{hub.moved}/") and path.startswith("/repos/"):
        there = f"{hub.url}/repos/{hub.moved}/{path.split('/', 4)[4]}" + (f"?{parts.query}" if parts.query else "")
        _send(request, 301 if request.command == "GET" else 307, {"message": "Moved"}, {"Location": there})
        return
    if problems:
        _send(request, 422, {"message": "Validation Failed"})
        return
    status, told, headers = _done(hub, template, request.command.lower(), values, query, body)
    if status < 300:
        hub.violations += [f"answer of {template}: {problem}" for problem in _answer_problems(template, request, told)]
    _send(request, status, told, headers)


def _send(request: BaseHTTPRequestHandler, status: int, told: Any, headers: dict[str, str] | None = None) -> None:
    data = json.dumps(told).encode()
    request.send_response(status)
    for name, value in {
        "Content-Type": "application/json",
        "Content-Length": str(len(data)),
        **(headers or {}),
    }.items():
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(data)


def _done(
    hub: Hub, template: str, method: str, values: dict[str, str], query: dict[str, str], body: Any
) -> tuple[int, Any, dict[str, str]]:
    """What a request does; status, answer, headers."""
    repository = "/repos/{owner}/{repo}"
    match method, template.removeprefix(repository):
        case "post", "/check-runs":
            if hub.person:
                return 403, {"message": "You must authenticate via a GitHub App."}, {}
            made = _example("check-run") | {k: v for k, v in body.items() if k != "output"}
            made |= {"id": 1 + len(hub.checks), "app": hub.app, "check_suite": None}
            made["html_url"] = f"https://github.com/{values['owner']}/{values['repo']}/runs/{made['id']}"
            hub.checks.append(made)
            hub.annotations[made["id"]] = []
            return 201, _output(hub, made, body), {}
        case "patch", "/check-runs/{check_run_id}":
            made = hub.checks[int(values["check_run_id"]) - 1]
            made |= {k: v for k, v in body.items() if k != "output"}
            return 200, _output(hub, made, body), {}
        case "get", "/check-runs/{check_run_id}":
            return 200, hub.checks[int(values["check_run_id"]) - 1], {}
        case "get", "/commits/{ref}/check-runs":
            found = [c for c in hub.checks if c["head_sha"] == values["ref"] and c["name"] == query["check_name"]]
            page, headers = _page(hub, found, values, template, query)
            return 200, {"total_count": len(found), "check_runs": page}, headers
        case "get", "/commits/{ref}/status":
            told = _example("combined-commit-status") | {"sha": values["ref"]}
            return 200, told | {"statuses": [s for s in hub.statuses if s["sha"] == values["ref"]]}, {}
        case "post", "/statuses/{sha}":
            made = _example("status") | body | {"sha": values["sha"]}
            made["creator"] = made["creator"] | {"login": hub.person or BOT}
            made["url"] = f"{hub.url}/repos/x/y/statuses/{values['sha']}"
            hub.statuses.append(made)
            return 201, {k: v for k, v in made.items() if k != "sha"}, {}
        case "get", "/issues/{issue_number}/comments":
            page, headers = _page(hub, hub.comments, values, template, query)
            return 200, page, headers
        case "post", "/issues/{issue_number}/comments":
            hub.comment(body["body"], hub.person or BOT)
            return 201, hub.comments[-1], {}
        case "patch", "/issues/comments/{comment_id}":
            mine = next(c for c in hub.comments if c["id"] == int(values["comment_id"]))
            if (mine["user"] or {}).get("login") != (hub.person or BOT):
                return 403, {"message": "Must have admin rights to Repository."}, {}
            mine |= body
            return 200, mine, {}
        case "get", "/pulls":
            found = []
            for number, branch, sha in hub.pulls:
                pull = _example("pull-request-simple")
                pull |= {"number": number, "head": pull["head"] | {"sha": sha}, "requested_teams": []}
                found += [pull] if branch == query["head"] else []
            return 200, found, {}
        case "post", "/app/installations/{installation_id}/access_tokens":
            hub.tokens.add("t0ken-of-the-app")
            return 201, {"token": "t0ken-of-the-app", "expires_at": "2999-01-01T00:00:00Z"}, {}
    raise AssertionError(f"{method} {template} is not served")


def _output(hub: Hub, made: dict[str, Any], body: Any) -> dict[str, Any]:
    given = body.get("output", {})
    hub.annotations[made["id"]] += given.get("annotations", [])
    made["output"] = made["output"] | {k: v for k, v in given.items() if k != "annotations"}
    made["output"] = made["output"] | {"annotations_count": len(hub.annotations[made["id"]])}
    return made


def _page(
    hub: Hub, found: list[Any], values: dict[str, str], template: str, query: dict[str, str]
) -> tuple[list[Any], dict[str, str]]:
    size, at = int(query.get("per_page", 30)), int(query.get("page", 1))
    more = len(found) > size * at
    path = template
    for name, value in values.items():
        path = path.replace(f"{{{name}}}", value)
    rest = "&".join(f"{k}={v}" for k, v in (query | {"page": str(at + 1)}).items())
    link = {"Link": f'<{hub.foreign or hub.url}{path}?{rest}>; rel="next"'} if more else {}
    return found[size * (at - 1) : size * at], link


@cache
def _description() -> dict[str, Any]:
    return json.loads(DESCRIPTION.read_text(encoding="utf-8"))


def _example(name: str) -> Any:
    """GitHub's own example of a schema, whole, as a copy."""
    for kind in (name, f"{name}-items"):
        if found := _description()["components"]["examples"].get(kind):
            value = found["value"]
            return copy.deepcopy(value[0] if isinstance(value, list) else value)
    raise AssertionError(f"no example of {name}")


def _nullable(node: Any) -> Any:
    """OpenAPI 3.0 as JSON Schema: `nullable` is a type of its own there."""
    if isinstance(node, list):
        return [_nullable(n) for n in node]
    if not isinstance(node, dict):
        return node
    made = {k: _nullable(v) for k, v in node.items() if k not in ("nullable", "example", "examples", "format")}
    return {"anyOf": [{"type": "null"}, made]} if node.get("nullable") is True else made


@cache
def _validator(pointer: str) -> Draft202012Validator:
    resource = Resource(contents=_nullable(_description()), specification=DRAFT202012)
    registry: Registry[Any] = Registry().with_resource(ROOT, resource)
    return Draft202012Validator({"$ref": f"{ROOT}#{pointer}"}, registry=registry)


def _escaped(text: str) -> str:
    return text.replace("~", "~0").replace("/", "~1")


def _operation(path: str, method: str) -> tuple[str | None, dict[str, str]]:
    for template, methods in _description()["paths"].items():
        pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(template))
        if (found := re.fullmatch(pattern, path)) and method in methods:
            return template, found.groupdict()
    return None, {}


def _problems(template: str, method: str, values: dict[str, str], query: dict[str, str], body: Any) -> Iterator[str]:
    operation = _description()["paths"][template][method]
    known = {}
    for entry in operation.get("parameters", []):
        parameter = entry
        if "$ref" in entry:
            parameter = _description()["components"]["parameters"][entry["$ref"].rpartition("/")[2]]
        known[parameter["name"]] = parameter
    for name, value in {**values, **query}.items():
        if name not in known:
            yield f"unknown parameter {name}"
        else:
            kind = known[name]["schema"].get("type")
            read = int(value) if kind == "integer" and value.isdigit() else value
            for problem in Draft202012Validator(_nullable(known[name]["schema"])).iter_errors(read):
                yield f"{name}: {problem.message}"
    if "requestBody" in operation:
        pointer = f"/paths/{_escaped(template)}/{method}/requestBody/content/application~1json/schema"
        yield from (f"{error.json_path}: {error.message[:200]}" for error in _validator(pointer).iter_errors(body))
        yield from _limits(body)
    elif body is not None:
        yield "a body where none is read"


def _limits(body: Any) -> Iterator[str]:
    """What GitHub's servers refuse beyond the description."""
    output = body.get("output") or {}
    for key in ("summary", "text"):
        if len(output.get(key, "").encode()) > 65_535:
            yield f"{key} exceeds a maximum bytesize of 65535"
    rows = output.get("annotations", [])
    if len(rows) > 50:
        yield "more than 50 annotations"
    for row in rows:
        if len(row["title"]) > 255 or len(row["message"].encode()) > 65_536:
            yield "an annotation is too long"
        if row["path"].startswith("/") or ".." in row["path"].split("/"):
            yield "an annotation outside the repository"
    if len(body.get("body", "")) > 65_536:
        yield "body is too long (maximum is 65536 characters)"
    if len(body.get("description") or "") > 140:
        yield "description is too long (maximum is 140 characters)"
    if "head_sha" in body and not re.fullmatch(r"[0-9a-f]{40}", body["head_sha"]):
        yield "head_sha is no commit"


def _answer_problems(template: str, request: BaseHTTPRequestHandler, told: Any) -> list[str]:
    method = request.command.lower()
    codes = _description()["paths"][template][method]["responses"]
    code = next(c for c in codes if c.startswith("2"))
    pointer = f"/paths/{_escaped(template)}/{method}/responses/{code}/content/application~1json/schema"
    return [f"{error.json_path}: {error.message[:200]}" for error in _validator(pointer).iter_errors(told)]
