"""The only file that talks to GitHub: github3.py's session, JSON, and patience within limits.

github3's objects are not used: they raise on fields that GitHub's own schema allows to be null, after the write. Its
session gives authentication, timeouts and the base address. What GitHub may have written already is looked for before
it is written again; addresses that the server names are followed on the same origin only; no body and no token is
ever logged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urljoin, urlsplit

from gate.errors import PublishError, UsageError, shown

if TYPE_CHECKING:
    from github3.session import GitHubSession

#: The API version that these requests are written for, and what GitHub sends for it.
VERSION, ACCEPT = "2022-11-28", "application/vnd.github+json"
CONNECT_S, READ_S = 5, 30
TRIES = 5  # of one request
WAIT_S = 120  # in all, over every request of a run
BETWEEN_WRITES_S = 1  # GitHub's advice against its secondary limits
CLOCK_S = 10  # a token signed by a clock ahead of GitHub's is refused until then
HOPS = 3  # redirects of one request
PAGES = 100

Json = Any
Found = Callable[[], Json | None]


class RefusalError(PublishError):
    """GitHub's answer that no patience changes."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"GitHub answered {status}: {shown(message)}")
        self.status, self.message = status, message


@dataclass
class Api:
    """One conversation with GitHub: what it has waited, and when it last wrote. Made by `connect`."""

    session: GitHubSession
    base: str
    sleep: Callable[[float], None]
    clock: Callable[[], float]
    waited: float = 0.0
    wrote: bool = False

    def get(self, path: str, **query: str) -> Json:
        return self._asked("GET", self._url(path, query), None, None)[0]

    def pages(self, path: str, key: str = "", **query: str) -> Iterator[Json]:
        """Every item of a list, of `key` in each page if given. Raises PublishError for a next page elsewhere."""
        url = self._url(path, {"per_page": "100", **query})
        for _ in range(PAGES):
            page, following = self._asked("GET", url, None, None)
            yield from page[key] if key else page
            if not following:
                return
            url = self._same_origin(urljoin(url, following))

    def post(self, path: str, body: Json, written: Found) -> Json:
        """The answer to a new thing. written: looks for it, because a request that failed may have made it."""
        return self._asked("POST", self._url(path, {}), body, written)[0]

    def patch(self, path: str, body: Json, written: Found | None = None) -> Json:
        """The answer to a change. written: for a change that must not be made twice, whether it was made."""
        return self._asked("PATCH", self._url(path, {}), body, written)[0]

    def _url(self, path: str, query: Mapping[str, str]) -> str:
        return f"{self.base}{path}" + (f"?{urlencode(query)}" if query else "")

    def _same_origin(self, url: str) -> str:
        if _origin(url) != _origin(self.base):
            raise PublishError(f"GitHub names an address on {shown(urlsplit(url).netloc)}, which is not followed")
        return url

    def _asked(self, method: str, url: str, body: Json, written: Found | None) -> tuple[Json, str]:
        """The answer and the address of the next page. Raises PublishError when patience ends, RefusalError before."""
        why, turn = "", 0
        for turn in range(TRIES):
            if method != "GET" and self.wrote:
                self.sleep(BETWEEN_WRITES_S)
            self.wrote = self.wrote or method != "GET"
            try:
                answer = self._once(method, url, body)
            except OSError as error:  # every failure of requests is one
                answer, why, pause = None, f"no answer ({type(error).__name__})", float(2**turn)
            else:
                if answer.status_code < 300:
                    return _json(answer), answer.links.get("next", {}).get("url", "")
                pause, why = self._pause(answer, turn)
            if turn + 1 == TRIES or self.waited + pause > WAIT_S:
                break
            self.waited += pause
            self.sleep(pause)
            # A request that ended in silence or in the middle may have done its work.
            if written is not None and (answer is None or answer.status_code >= 500) and (there := written()):
                return there, ""
        raise PublishError(f"{why}; given up after {turn + 1} tries and {self.waited:.0f} s of waiting")

    def _once(self, method: str, url: str, body: Json) -> Any:
        for _ in range(HOPS):
            answer = self.session.request(method, url, json=body, allow_redirects=False)
            moved = answer.status_code in ((301, 302, 307, 308) if method == "GET" else (307, 308))
            if not moved or not answer.headers.get("Location"):
                return answer
            url = self._same_origin(urljoin(url, answer.headers["Location"]))
        raise PublishError(f"GitHub redirects more than {HOPS} times")

    def _pause(self, answer: Any, turn: int) -> tuple[float, str]:
        """Seconds until a request may be made again, and why it failed. Raises RefusalError when it may not."""
        status, message = answer.status_code, _message(answer)
        if status >= 500:
            return float(2**turn), f"GitHub answered {status}"
        if status in (403, 429):
            after = answer.headers.get("Retry-After", "")
            if after.isdigit():
                return float(after), f"GitHub asks to wait {after} s"
            if answer.headers.get("X-RateLimit-Remaining") == "0":
                reset = answer.headers.get("X-RateLimit-Reset", "")
                left = max(0.0, float(reset) - self.clock()) + 1 if reset.isdigit() else 60.0
                return left, f"GitHub's rate limit is used up for {left:.0f} s"
            if status == 429 or "secondary rate limit" in message.lower():
                return 60.0 * 2**turn, "GitHub's secondary rate limit is reached"
        raise RefusalError(status, message)


def connect(environment: Mapping[str, str], *, sleep: Callable[[float], None], clock: Callable[[], float]) -> Api:
    """A conversation as GITHUB_TOKEN, or as an App's installation (GATE_APP_ID, GATE_APP_KEY, GATE_APP_INSTALLATION).

    sleep, clock: seconds. Raises UsageError for a base address that would show the token, PublishError without one.
    """
    from github3.session import GitHubSession

    for name in ("github3", "urllib3"):  # at DEBUG they write whole bodies
        logging.getLogger(name).setLevel(logging.WARNING)
    base = environment.get("GITHUB_API_URL", "https://api.github.com").rstrip("/")
    scheme, host, _ = _origin(base)
    if scheme != "https" and host not in ("127.0.0.1", "::1", "localhost"):
        raise UsageError(f"GITHUB_API_URL is {shown(base)}, and a token is sent over https only")
    session = GitHubSession(CONNECT_S, READ_S)
    session.base_url = base
    session.headers.update({"Accept": ACCEPT, "X-GitHub-Api-Version": VERSION})
    api = Api(session, base, sleep, clock)
    if environment.get("GATE_APP_ID"):
        session.app_installation_token_auth(_installation(api, environment))
    elif token := environment.get("GITHUB_TOKEN"):
        session.token_auth(token)
    else:
        raise PublishError(
            "there is no GITHUB_TOKEN", mend="give it to the step: env: GITHUB_TOKEN: ${{ github.token }}"
        )
    return api


def _installation(api: Api, environment: Mapping[str, str]) -> Json:
    """An installation's token; it lives for an hour, and a run asks for one when it publishes."""
    from github3.apps import create_jwt_headers

    missing = [name for name in ("GATE_APP_KEY", "GATE_APP_INSTALLATION") if not environment.get(name)]
    if missing:
        raise UsageError(f"GATE_APP_ID is set, and {missing[0]} is not")
    installation = environment["GATE_APP_INSTALLATION"]
    if not installation.isdigit():
        raise UsageError("GATE_APP_INSTALLATION is not a number")
    path = f"/app/installations/{installation}/access_tokens"
    for last in (False, True):
        try:
            # The id as a string: what signs it refuses a number, since the standard says so.
            headers = create_jwt_headers(
                environment["GATE_APP_KEY"].encode(), environment["GATE_APP_ID"], expire_in=300
            )
        except Exception:  # what signs has errors of its own, without an ancestor that could be named here
            raise UsageError("GATE_APP_KEY is not the private key of an App, in PEM") from None
        api.session.headers["Authorization"] = headers["Authorization"]
        try:
            return api.post(path, {}, lambda: None)
        except RefusalError as error:
            if error.status != 401 or last:
                raise
            api.sleep(CLOCK_S)
        finally:
            del api.session.headers["Authorization"]
    return None


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or {"https": 443, "http": 80}.get(parts.scheme)


def _json(answer: Any) -> Json:
    try:
        return answer.json() if answer.content else {}
    except ValueError as error:
        raise PublishError("GitHub's answer is not JSON") from error


def _message(answer: Any) -> str:
    try:
        told = answer.json()
    except ValueError:
        return "no message"
    return str(told.get("message", "no message")) if isinstance(told, dict) else "no message"
