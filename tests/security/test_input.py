"""Session ids, titles, ids and headers made to be taken for something else."""

import json
import re
import socket
import string
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from greenlight.comments import WHITE_SPACE
from tests.caller import Caller, expect_problem
from tests.conftest import RunningStack
from tests.faults.proxy import Proxy
from tests.plan import BAD_FIELDS, OTHER, VALID_TITLES, body, encode, sha256
from tests.services import Process

Json = Any


def test_a_key_of_storage_leads_nowhere_else(stack: RunningStack, user: Caller, stranger: Caller) -> None:
    headers = {
        "Authorization": f"Bearer {user.token}",
        "Content-Type": "text/markdown",
        "apikey": stack.publishable_key,
    }
    name = f"{sha256('x')}.md"
    for key in (
        f"{user.id}/../{stranger.id}/s/{name}",
        f"{user.id}/%2e%2e/{stranger.id}/s/{name}",
        f"{user.id}/%2e%2e%2f{stranger.id}/{name}",
        f"{user.id}/s/../{name}",
        f"{user.id}//{name}",
        f"{user.id}/s/{name}/x",
        f"{user.id}/s/{name}%0a",
        f"{user.id.upper()}/s/{name}" if user.id.upper() != user.id else f"x{user.id}/s/{name}",
        f"{user.id}/s/{sha256('x').upper()}.md",
        f"{user.id}/s/{name}.html",
        f"{stranger.id}/s/{name}",
        name,
    ):
        status, _ = raw(stack.supabase_url, f"POST /storage/v1/object/plans/{key}", headers, b"x")
        assert status >= 400, key
    assert user.has_nothing()
    assert stranger.has_nothing()
    good = f"POST /storage/v1/object/plans/{user.id}/s/{name}"
    assert raw(stack.supabase_url, good, headers, b"x")[0] == 200


def exchange(url: str, request: bytes) -> bytes:
    """Send these bytes as they are, and return all that comes back."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        connection.sendall(request)
        answer = b""
        while data := connection.recv(65536):
            answer += data
    return answer


def raw(url: str, start: str, headers: dict[str, str], content: bytes = b"") -> tuple[int, bytes]:
    """Send a request whose path no client has normalised, and return the answer's status and head."""
    lines = [f"{name}: {value}" for name, value in headers.items()]
    head = "\r\n".join(
        [f"{start} HTTP/1.1", "Host: x", f"Content-Length: {len(content)}", "Connection: close", *lines]
    )
    answer = exchange(url, f"{head}\r\n\r\n".encode() + content)
    return int(answer.split(b" ", 2)[1]), answer.partition(b"\r\n\r\n")[0]


GOOD_TITLES = [
    "\u200ftxt.exe",  # a mark of the direction, not a control
    "zero\u200bwidth\u200d",
    "\ufeffbom",
    "\U0001f680" * 500,
    "e\u0301" * 250,
    "<script>alert(1)</script>",
    "'; drop table plan; --",
    "%s%n{0}{title}$1",
    "a\\nb",
    "a%0d%0ab",
    "=cmd()",
    "../../etc/passwd",
    "\u0130\u0131\u1e9e",
    "\ue000\ufffd\U0010ffff",
    *(title for title in VALID_TITLES if title == title.strip(WHITE_SPACE)),
]


def test_a_title_is_kept_as_it_is(user: Caller) -> None:
    for title in GOOD_TITLES:
        answer = user.approved(title=title)
        assert [plan["title"] for plan in user.rows("plan", id=f"eq.{answer['plan_id']}")] == [title]
        assert [agent["name"] for agent in user.rows("agent", id=f"eq.{answer['agent_id']}")] == [title[:200]]


def test_straight_at_supabase_nul_is_refused_in_every_text(stack: RunningStack, user: Caller) -> None:
    """Of the texts that people and programs write: titles, comments, messages, logs, a worker's name, a result."""
    request = body()
    user.proposed(**request)
    agent = user.approved()["agent_id"]
    claim = stack.claim(agent)
    plan = {"session_id": request["plan_id"], "version": 1}
    (row,) = user.rows("plan", session_id=f"eq.{request['plan_id']}")
    document = {name: row[name] for name in ("document_sha256", "document_url")}
    attempt = {"build_id": claim["build_id"], "attempt": claim["attempt"]}
    titled = {**plan, **document, "version": 2, "title": "Two"}
    known = {**plan, "document_sha256": row["document_sha256"]}
    calls: list[tuple[str, str, Json, str]] = [
        (user.token, "propose_plan", titled, "title"),
        (user.token, "propose_plan", titled, "message"),
        (user.token, "approve_plan", titled, "title"),
        *((user.token, "approve_plan", known, field) for field in ("comment", "comments")),
        *((user.token, "request_changes", plan, field) for field in ("comment", "comments")),
        *((user.token, "reject_plan", plan, field) for field in ("comment", "comments")),
        (stack.secret_key, "claim_builds", {}, "worker"),
        *((stack.secret_key, "renew_build", attempt, field) for field in ("message", "log")),
        *((stack.secret_key, "finish_build", attempt, field) for field in ("result", "log")),
        (stack.secret_key, "fail_build", attempt, "message"),
        (stack.secret_key, "fail_build", {**attempt, "message": "no"}, "log"),
        (stack.secret_key, "fail_notification", {"notification_id": 1, "attempt": 1}, "message"),
    ]
    wrapped: dict[str, Any] = {
        "comments": lambda bad: [{"start": 0, "end": len(bad), "exact": bad, "body": "No."}],
        "result": lambda bad: {bad: bad},
    }

    def state() -> Json:
        return [
            *(user.rows(table) for table in ("plan", "agent", "agent_event", "build")),
            user.rows("build_log", order="attempt"),
        ]

    before = state()
    for token, function, arguments, field in calls:
        for bad in ("\x00", "a\x00b"):
            answer = user.supabase.post(
                f"/rest/v1/rpc/{function}",
                content=encode({**arguments, field: wrapped.get(field, str)(bad)}),
                headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
            )
            assert 400 <= answer.status_code < 500, (function, ascii(bad), answer.text)
            assert state() == before


INJECTION = "x\r\nX-Injected: yes\r\n\r\n<html>"


def test_no_value_of_the_request_becomes_a_header(user: Caller, stack: RunningStack) -> None:
    values: list[dict[str, Any]] = [
        {"plan_id": INJECTION},
        {"title": INJECTION},
        {"content_sha256": INJECTION},
        {"content": INJECTION},
        {INJECTION: "x"},
        {"version": INJECTION},
    ]
    for changed in values:
        content = encode(body(**changed))
        head = (
            f"POST /plan/approve HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {user.token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\nConnection: close\r\n\r\n"
        )
        answer = exchange(stack.service_url, head.encode() + content)
        head_of_answer, _, rest = answer.partition(b"\r\n\r\n")
        assert re.match(rb"HTTP/1\.1 (200|422) [ -~]+\r\n", head_of_answer), answer
        assert b"injected" not in head_of_answer.lower()
        assert json.loads(rest)


HEADERS = (
    "X-Request-ID: a\rX-Injected: yes",
    "X-Request-ID: a\x0bb",
    "X-Request-ID: a%0d%0aX-Injected: yes",
    "X-Request-ID: \u202e",
    "X-Request-ID: " + "a" * 5000,
    "Origin: https://evil.test\rX-Injected: yes",
    "Host: evil.test",
    "X-Forwarded-Host: evil.test",
    "X-Forwarded-For: 127.0.0.1",
    "X-HTTP-Method-Override: DELETE",
    "Transfer-Encoding: chunked\r\nContent-Length: 3",
    "Content-Length: 3\r\nContent-Length: 4",
    "Content-Length: -1",
    "Content-Length: 0x10",
    "Content-Length: \u0663",
    "Expect: 100-continue",
    "Upgrade: websocket\r\nConnection: Upgrade",
)


def test_no_header_of_the_request_comes_back(
    stack: RunningStack, user: Caller, subtests: pytest.Subtests
) -> None:
    for line in HEADERS:
        request = (
            f"POST /plan/approve HTTP/1.1\r\nHost: x\r\n{line}\r\nAuthorization: Bearer {user.token}\r\n"
            "Connection: close\r\n\r\n"
        )
        with subtests.test(ascii(line)):
            answer = exchange(stack.service_url, request.encode())
            head = answer.partition(b"\r\n\r\n")[0].removeprefix(b"HTTP/1.1 100 Continue\r\n")
            assert re.match(rb"HTTP/1\.1 4\d\d ", head), answer
            assert b"injected" not in head.lower()
            assert b"evil.test" not in answer
            assert b"500" not in head.split(b"\r\n")[0]
            request_id = re.search(rb"x-request-id: (.*)", head, re.IGNORECASE)
            safe = (string.ascii_letters + string.digits + "._-").encode()
            assert request_id is None or not request_id[1].strip().translate(None, safe)
    assert user.has_nothing()


PATHS = (
    "/plan/../healthz/../plan/x/document",
    "/plan/%2e%2e/document",
    "/plan/..%2f..%2fhealthz/document",
    "/plan/%00/document",
    "/plan/%0d%0aX-Injected:%20yes/document",
    "/plan/%ff/document",
    f"/plan/{OTHER}%20/document",
    f"/plan/{OTHER},{OTHER}/document",
    f"/plan/{OTHER}&select=*/document",
    f"/plan/{OTHER}%26or=(id.neq.{OTHER})/document",
    "/plan/*/document",
    "//plan/approve",
    "/plan/approve;x",
    "/" + "a" * 20_000,
)


def test_a_path_is_not_taken_for_anything_else(
    stack: RunningStack, user: Caller, subtests: pytest.Subtests
) -> None:
    for path in PATHS:
        with subtests.test(path[:40]):
            status, head = raw(stack.service_url, f"GET {path}", {"Authorization": f"Bearer {user.token}"})
            assert status in {400, 404, 405, 414, 422, 431}, head
            assert b"injected" not in head.lower()


@pytest.mark.anyio
async def test_a_bad_field_is_refused_before_anything_reaches_supabase(
    proxy: Proxy, process: Process, user: Caller, http: httpx.AsyncClient, subtests: pytest.Subtests
) -> None:
    headers = {"Authorization": f"Bearer {user.token}", "Content-Type": "application/json"}
    for changed, status, code in BAD_FIELDS:
        content = encode(body(**changed))
        with subtests.test(ascii(changed)[:80]):
            answer = await http.post(f"{process.url}/plan/approve", content=content, headers=headers)
            problem = expect_problem(answer, status, code)
            assert problem["retryable"] is False
            if code == "invalid_request":
                assert [wrong["field"] for wrong in problem["errors"]] in ([*changed], ["body"])
    assert [" ".join(message.start) for message in proxy.seen if "jwks" not in message.start[1]] == []
    assert user.has_nothing()
    assert user.approved()["created"] is True
    assert not user.has_nothing()
