"""What GitHub is told, request by request, against a server that holds each to GitHub's own schema, and fails."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gate.errors import GateError, PublishError, UsageError
from gate.github.annotations import Annotation
from gate.github.answer import LIMIT, Answer, of_decision, of_error, of_nothing, unverified
from gate.github.check import TRIES, WAIT_S, Api, connect
from gate.github.events import Situation
from gate.github.publish import MARKER, NAME, Published, publish
from tests.support.decisions import a_cell, a_decision, a_loss, an_undecided
from tests.support.faces import HOSTILE, hostile_decision
from tests.support.hub import BOT, TOKEN, Fault, Hub, github

HEAD = "ce587453ced02b1526dfb4cb910479d431683101"
WHERE = Situation(
    "pull_request", HEAD, "b" * 40, "octo/stack", 7, run="77.1", run_url="https://github.com/octo/stack/actions/runs/77"
)


@pytest.fixture
def hub() -> Iterator[Hub]:
    with github() as served:
        yield served
        assert served.violations == []


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now, self.slept = 1_000_000.0, []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def clock(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


def api(hub: Hub, time: Time, **environment: str) -> Api:
    return connect({"GITHUB_API_URL": hub.url, "GITHUB_TOKEN": TOKEN} | environment, sleep=time.sleep, clock=time.clock)


def told(hub: Hub, time: Time, answer: Answer, where: Situation = WHERE) -> Published:
    return publish(api(hub, time), where, answer)


def places(count: int, name: str = "cam.sign[stop]") -> list[Annotation]:
    return [
        Annotation("suites/city/suite.toml", 1 + k, "failure", f"{name}: regressed"[:200], name) for k in range(count)
    ]


def no_go(count: int = 1) -> Answer:
    return of_decision(a_decision([a_loss(f"front.h{k}") for k in range(max(count, 1))], "NO-GO"), places(count), [])


def go() -> Answer:
    return of_decision(a_decision([a_cell()], "GO"), [], [])


def inconclusive() -> Answer:
    return of_decision(a_decision([an_undecided()], "INCONCLUSIVE"), [], [])


REFUSED = of_error(GateError("no", where="head:release.toml:3", mend="yes"), places(1), [])


@pytest.mark.parametrize(
    ("answer", "conclusion"),
    [
        (go(), "success"),
        (of_nothing([]), "success"),
        (no_go(), "failure"),
        (REFUSED, "failure"),
        (inconclusive(), "action_required"),
        (unverified("GO", ["fine"]), "action_required"),
        (unverified("NOTHING", []), "action_required"),
        (unverified("NO-GO", []), "failure"),
    ],
)
def test_every_outcome_has_a_conclusion_and_none_that_passes_by_being_nothing(
    hub: Hub, time: Time, answer: Answer, conclusion: str
) -> None:
    found = told(hub, time, answer)
    assert found.missing == ()
    (check,) = hub.checks
    assert (check["conclusion"], check["name"], check["head_sha"], check["status"]) == (
        conclusion,
        NAME,
        HEAD,
        "completed",
    )
    assert found.url == check["html_url"]
    assert NAME != "gate", "the job has that name, and two checks of one name hide each other"


def test_nothing_is_said_in_a_comment_until_something_stops_a_release(hub: Hub, time: Time) -> None:
    told(hub, time, go())
    assert hub.comments == []
    told(hub, time, no_go(), replace(WHERE, run="78.1"))
    (comment,) = hub.comments
    assert comment["body"].startswith(MARKER)
    assert "NO-GO" in comment["body"]
    told(hub, time, go(), replace(WHERE, run="79.1"))
    assert len(hub.comments) == 1
    assert "<summary>gate: GO</summary>" in comment["body"]


def test_a_waiver_is_worth_a_comment(hub: Hub, time: Time) -> None:
    waived = of_decision(a_decision([a_loss(waiver="W-1")], "GO"), [], [])
    told(hub, time, waived)
    assert len(hub.comments) == 1


def test_a_comment_that_says_the_same_is_left_alone(hub: Hub, time: Time) -> None:
    told(hub, time, no_go())
    told(hub, time, no_go())
    assert [m for m, _ in hub.writes("comments")] == ["POST"]


def test_a_merge_group_gets_a_check_and_no_comment(hub: Hub, time: Time) -> None:
    told(hub, time, no_go(), replace(WHERE, pull_request=None))
    assert (len(hub.checks), hub.comments) == (1, [])


def test_the_pull_request_of_a_fork_is_found_by_branch_and_commit(hub: Hub, time: Time) -> None:
    hub.pulls = [(3, "stranger:fix", "d" * 40), (8, "stranger:fix", HEAD), (9, "other:fix", HEAD)]
    told(hub, time, no_go(), replace(WHERE, pull_request=None, branch="stranger:fix"))
    assert hub.writes("comments") == [("POST", "/repos/octo/stack/issues/8/comments")]


@pytest.mark.parametrize("count", [0, 1, 50, 51, 1000])
def test_annotations_go_out_in_fifties_and_each_arrives_once(hub: Hub, time: Time, count: int) -> None:
    assert told(hub, time, no_go(count)).missing == ()
    lines = [row["start_line"] for row in hub.annotations[1]]
    assert lines == list(range(1, count + 1))
    assert len(hub.writes("check-runs")) == max(1, -(-count // 50))


NAMES = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=300))


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    name=NAMES,
    count=st.sampled_from([0, 1, 50, 51, 1000]),
    outcome=st.sampled_from(["decision", "error", "nothing", "unverified"]),
)
def test_whatever_anything_is_called_every_request_is_as_github_describes_it(
    name: str, count: int, outcome: str
) -> None:
    name = name.encode(errors="replace").decode()
    rows = [replace(a, title=name[:200], message=name or "x") for a in places(count)]
    match outcome:
        case "decision":
            answer = of_decision(hostile_decision(name), rows, [name] * 30)
        case "error":
            answer = of_error(GateError(name * 20, where=name, mend="\n".join([name] * 40)), rows, [name] * 30)
        case "nothing":
            answer = of_nothing([name] * 30)
        case _:
            answer = unverified("GO", [name * 6] * 200)
    assert len(answer.summary.encode()) <= LIMIT
    with github() as served:
        time = Time()
        served.comment(f"{MARKER}\nold", BOT)
        assert told(served, time, answer).missing == ()
        assert served.violations == []
        assert len(served.checks) == 1


def test_a_thousand_long_hostile_regressions_stay_within_the_limits(hub: Hub, time: Time) -> None:
    names = [f"front.{'|' * 100}{k}" for k in range(1000)]
    decision = a_decision([a_loss(name) for name in names], "NO-GO")
    answer = of_decision(decision, places(1000, "|" * 120), ["[x](y)" * 40] * 500)
    assert told(hub, time, answer).missing == ()
    assert "and 490 more files" in hub.checks[0]["output"]["summary"]
    assert len(hub.annotations[1]) == 1000


# What goes wrong.


@pytest.mark.parametrize(
    "fault",
    [
        Fault("POST .*/check-runs", 403, "slow down", {"Retry-After": "7"}),
        Fault("POST .*/check-runs", 429, "slow down"),
        Fault("POST .*/check-runs", 403, "You have exceeded a secondary rate limit"),
        Fault("POST .*/check-runs", 403, "x", {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1000030"}),
        Fault("POST .*/check-runs", 502),
        Fault("POST .*/check-runs", 502, written=True),
        Fault("POST .*/check-runs", 0),
        Fault("POST .*/check-runs", 0, written=True),
        Fault("POST .*/check-runs", 500, times=3),
        Fault("GET .*/check-runs", 0),
        Fault("PATCH .*/check-runs/.*", 502),
        Fault("PATCH .*/check-runs/.*", 502, written=True),
        Fault("PATCH .*/check-runs/.*", 0, written=True),
        Fault("PATCH .*/check-runs/.*", 403, "slow down", {"Retry-After": "7"}),
        Fault("POST .*/comments", 502, written=True),
        Fault("POST .*/comments", 0, written=True),
        Fault("POST .*/comments", 502),
        Fault("GET .*/comments", 502, times=2),
    ],
    ids=str,
)  # fmt: skip
def test_what_passes_is_waited_for_and_nothing_is_posted_twice(hub: Hub, time: Time, fault: Fault) -> None:
    hub.faults = [fault]
    assert told(hub, time, no_go(120)).missing == ()
    assert fault.times == 0, "the fault happened"
    assert (len(hub.checks), len(hub.comments)) == (1, 1)
    assert [row["start_line"] for row in hub.annotations[1]] == list(range(1, 121))
    assert sum(time.slept) <= WAIT_S


def test_githubs_word_on_how_long_to_wait_is_kept(hub: Hub, time: Time) -> None:
    hub.faults = [Fault("POST .*/check-runs", 403, "x", {"Retry-After": "7"})]
    told(hub, time, no_go())
    assert 7.0 in time.slept
    hub.faults = [
        Fault(
            "GET .*/check-runs", 403, "x", {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(time.now) + 30)}
        )
    ]
    told(hub, time, no_go())
    assert any(30 <= slept <= 32 for slept in time.slept)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(".*", 500, times=99),
        Fault(".*", 0, times=99),
        Fault(".*", 403, "x", {"Retry-After": "3600"}, times=99),
        Fault(".*", 403, "x", {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1003600"}, times=99),
        Fault(".*", 429, times=99),
    ],
    ids=str,
)  # fmt: skip
def test_what_does_not_pass_is_given_up_within_the_limit(hub: Hub, time: Time, fault: Fault) -> None:
    hub.faults = [fault]
    found = told(hub, time, no_go(120))
    assert len(found.missing) == 2
    assert all("given up after" in line for line in found.missing)
    assert sum(time.slept) <= WAIT_S
    assert len(hub.requests) <= 2 * TRIES
    assert (hub.checks, hub.comments) == ([], [])


def test_what_is_forbidden_is_not_tried_again(hub: Hub, time: Time) -> None:
    hub.faults = [Fault("POST .*", 403, "Resource not accessible by integration", times=99)]
    found = told(hub, time, no_go())
    assert found.missing == (
        "the check run: GitHub answered 403: Resource not accessible by integration",
        "the comment: GitHub answered 403: Resource not accessible by integration",
    )
    assert (len(hub.writes()), time.slept) == (2, [1])


def test_a_check_whose_annotations_are_cut_short_says_how_many_are_missing(hub: Hub, time: Time) -> None:
    hub.faults = [Fault("PATCH .*", 500, times=99)]
    found = told(hub, time, no_go(120))
    assert found.url
    assert found.missing[0].startswith("70 of 120 annotations: GitHub answered 500; given up")


def test_a_second_try_of_the_same_run_goes_on_where_the_first_ended(hub: Hub, time: Time) -> None:
    hub.faults = [Fault("PATCH .*", 500, times=5)]
    told(hub, time, no_go(120))
    assert len(hub.annotations[1]) == 50
    assert told(hub, time, no_go(120)).missing == ()
    assert len(hub.checks) == 1
    assert [row["start_line"] for row in hub.annotations[1]] == list(range(1, 121))


def test_another_attempt_has_a_check_of_its_own(hub: Hub, time: Time) -> None:
    told(hub, time, no_go())
    told(hub, time, go(), replace(WHERE, run="77.2"))
    assert [check["conclusion"] for check in hub.checks] == ["failure", "success"]


def test_a_persons_token_gets_a_status_and_comments_of_its_own(hub: Hub, time: Time) -> None:
    hub.person = "alice"
    stranger = hub.comment(f"{MARKER}\nGO", BOT)
    found = told(hub, time, no_go())
    (status,) = hub.statuses
    assert (status["state"], status["context"], len(status["description"]) <= 140) == ("failure", NAME, True)
    assert found.missing == ("1 annotations: this token may post a status only",)
    assert next(c for c in hub.comments if c["id"] == stranger)["body"] == f"{MARKER}\nGO"
    assert hub.comments[-1]["user"]["login"] == "alice"
    told(hub, time, inconclusive())
    assert [c["user"]["login"] for c in hub.comments] == [BOT, "alice"]


def test_a_status_that_was_written_in_silence_is_not_written_again(hub: Hub, time: Time) -> None:
    hub.person = "alice"
    hub.faults = [Fault("POST .*/statuses/.*", 502, written=True)]
    told(hub, time, no_go(0))
    assert len(hub.statuses) == 1


def test_a_renamed_repository_is_followed_on_the_same_server(hub: Hub, time: Time) -> None:
    hub.moved = "octo/new-name"
    assert told(hub, time, no_go(51)).missing == ()
    assert (len(hub.checks), len(hub.comments), len(hub.annotations[1])) == (1, 1, 51)


@pytest.mark.parametrize("status", [301, 307])
def test_a_redirect_to_another_host_is_not_followed(hub: Hub, time: Time, status: int) -> None:
    with github() as elsewhere:
        where = {"Location": elsewhere.url + "/repos/octo/stack/check-runs"}
        hub.faults = [Fault("(GET|POST) .*", status, "x", where, times=99)]
        found = told(hub, time, no_go())
        assert "is not followed" in found.missing[0]
        assert elsewhere.requests == []


def test_a_next_page_on_another_host_is_not_followed(hub: Hub, time: Time) -> None:
    for k in range(130):
        hub.comment(f"comment {k}", "somebody")
    with github() as elsewhere:
        hub.foreign = elsewhere.url
        found = told(hub, time, no_go())
        assert "is not followed" in found.missing[0]
        assert elsewhere.requests == []


def test_our_comment_is_found_among_130_and_a_strangers_is_never_ours(hub: Hub, time: Time) -> None:
    for k in range(130):
        hub.comment(f"{MARKER}\nGO, honest", "mallory" if k % 2 else None)  # half of them have left
    told(hub, time, no_go())
    assert (len(hub.comments), hub.comments[-1]["user"]["login"]) == (131, BOT)
    told(hub, time, go(), replace(WHERE, run="78.1"))
    assert len(hub.comments) == 131
    assert "gate: GO" in hub.comments[-1]["body"]
    assert all(c["body"].endswith("honest") for c in hub.comments[:-1])


def test_a_check_without_an_app_is_no_reason_to_post_twice(hub: Hub, time: Time) -> None:
    hub.app = None
    assert told(hub, time, no_go()).missing == ()
    assert told(hub, time, no_go()).missing == ()
    assert (len(hub.checks), len(hub.comments)) == (1, 1)


def test_writes_are_a_second_apart(hub: Hub, time: Time) -> None:
    told(hub, time, no_go(120))
    assert time.slept == [1, 1, 1]


# Who asks.


def test_an_app_signs_in_with_its_key(hub: Hub, time: Time) -> None:
    found = publish(api(hub, time, **app_environment()), WHERE, no_go())
    assert found.missing == ()
    assert hub.writes()[0] == ("POST", "/app/installations/42/access_tokens")


def test_a_key_whose_clock_is_ahead_is_tried_once_more(hub: Hub, time: Time) -> None:
    hub.faults = [Fault("POST /app/.*", 401, "'Issued at' claim ('iat') must be in the past")]
    api(hub, time, **app_environment())
    assert len(hub.writes("/app/")) == 2
    hub.faults = [Fault("POST /app/.*", 401, "A JSON web token could not be decoded", times=9)]
    with pytest.raises(PublishError, match="401"):
        api(hub, time, **app_environment())
    assert len(hub.writes("/app/")) == 4


def app_environment() -> dict[str, str]:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    return {"GATE_APP_ID": "4711", "GATE_APP_KEY": key.decode(), "GATE_APP_INSTALLATION": "42"}


@pytest.mark.parametrize(
    ("environment", "word"),
    [
        ({"GITHUB_API_URL": "http://example.com"}, "over https only"),
        ({"GITHUB_API_URL": "ftp://example.com"}, "over https only"),
        ({"GATE_APP_ID": "1"}, "GATE_APP_KEY is not"),
        ({"GATE_APP_ID": "1", "GATE_APP_KEY": "x", "GATE_APP_INSTALLATION": "../x"}, "not a number"),
        ({"GATE_APP_ID": "1", "GATE_APP_KEY": "x", "GATE_APP_INSTALLATION": "1"}, "not the private key"),
    ],
)
def test_what_would_show_a_token_or_cannot_sign_in_is_refused(
    hub: Hub, time: Time, environment: dict[str, str], word: str
) -> None:
    with pytest.raises(UsageError) as refusal:
        api(hub, time, **environment)
    assert word in str(refusal.value)
    assert hub.requests == []


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ("https://api.github.com", "https://api.github.com"),
        ("https://github.example.com/api/v3/", "https://github.example.com/api/v3"),
        ("https://api.name.ghe.com", "https://api.name.ghe.com"),
    ],
)
def test_an_enterprise_has_the_address_that_its_runner_says(time: Time, given: str, base: str) -> None:
    environment = {"GITHUB_API_URL": given, "GITHUB_TOKEN": TOKEN}
    assert connect(environment, sleep=time.sleep, clock=time.clock).base == base


def test_no_token_and_no_body_is_ever_logged(hub: Hub, time: Time, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    hub.faults = [Fault("POST .*/check-runs", 422, "no")]
    found = told(hub, time, no_go(51))
    said = caplog.text + " ".join(found.missing)
    assert TOKEN not in said
    assert "regressed" not in said


# The payload of the second workflow is hostile.


def payload(**changes: Any) -> dict[str, Any]:
    return {"schema": "gate.publish/1", "head": HEAD, "outcome": "GO", "lines": ["fine"]} | changes


@pytest.mark.parametrize(
    "document",
    [
        payload(head="d" * 40),
        payload(outcome="PASS"),
        payload(lines="fine"),
        payload(lines=["x"] * 201),
        payload(lines=["x" * 2001]),
        payload(lines=[1]),
        payload(extra=1),
        payload(schema="gate.publish/2"),
        payload(head="HEAD"),
        [],
        "x",
    ],
)
def test_a_payload_that_says_anything_else_is_refused(tmp_path: Path, document: Any) -> None:
    from gate.github.runner import read_answer

    path = tmp_path / "gate-publish.json"
    path.write_text(json.dumps(document))
    with pytest.raises(GateError, match=r"gate-publish\.json"):
        read_answer(path, HEAD)


def test_a_payload_can_say_go_and_is_not_believed(tmp_path: Path, hub: Hub, time: Time) -> None:
    from gate.github.runner import read_answer

    path = tmp_path / "gate-publish.json"
    path.write_text(json.dumps(payload(lines=["@everyone **GO** ![](https://e.x/b.png)", f"{MARKER}", "</details>"])))
    answer = read_answer(path, HEAD)
    assert answer is not None
    told(hub, time, answer)
    (check,) = hub.checks
    assert check["conclusion"] == "action_required"
    assert "unverified" in check["output"]["title"]
    for text in (check["output"]["summary"], hub.comments[0]["body"]):
        assert "@everyone" not in text
        assert "![" not in text
        assert "</details>" not in text
        assert text.count(MARKER) <= 1
