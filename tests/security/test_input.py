"""Session ids, titles, ids and headers made to be taken for something else."""

import json
import re
import socket
import string
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from greenlight.submission import WHITE_SPACE
from tests.caller import Caller, expect_problem
from tests.conftest import RunningStack
from tests.faults.proxy import Proxy
from tests.plan import INVALID_TITLES, VALID_TITLES, body, encode, new_session, sha256
from tests.services import Process

Json = Any
OTHER = "00000000-0000-4000-8000-000000000000"
SESSIONS = [
    ".",
    "..",
    "../" + OTHER,
    f"../{OTHER}/session",
    "a/../../b",
    "a/b",
    "/a",
    "a/",
    "a//b",
    "a\\b",
    "..\\b",
    "%2e%2e",
    "%2e%2e%2fa",
    "%252e%252e",
    "..%2fa",
    "%00",
    "a%0d%0aX-Injected: 1",
    "a\n",
    "\na",
    "a\r\nX-Injected: 1",
    "a\tb",
    "a b",
    " a",
    "a?x=1",
    "a#x",
    "a&b",
    "a;b",
    "a:b",
    "a.md",
    "a'or'1'='1",
    'a"b',
    "a`b",
    "$(id)",
    "{a}",
    "\u202ea",
    "a\u200b",
    "\ufeffa",
    "\uff0e\uff0e",
    "\u2025",
    "\u0430",
    "\u00e9",
    "e\u0301",
    "\u0661",
    "\U0001f680",
    "a" * 129,
    "*",
    "~",
    "con:",
]


@pytest.mark.parametrize("session", SESSIONS, ids=ascii)
def test_a_session_id_is_no_path(session: str, user: Caller) -> None:
    expect_problem(user.approve(plan_id=session), 422, "invalid_session_id")
    assert user.has_nothing()


def test_straight_at_supabase_a_session_id_is_no_path_either(
    stack: RunningStack, user: Caller, stranger: Caller
) -> None:
    headers = {
        "Authorization": f"Bearer {user.token}",
        "Content-Type": "text/markdown",
        "apikey": stack.publishable_key,
    }
    name = f"{sha256('x')}.md"
    for session in SESSIONS:
        arguments = {
            "session_id": session,
            "version": 1,
            "title": "t",
            "document_sha256": sha256("x"),
            "document_url": f"https://x/object/sign/plans/{user.id}/{session}/{name}?token=x",
        }
        answer = user.rpc("approve_plan", **arguments)
        assert (answer.status_code, answer.json()["message"]) == (422, "invalid_session_id"), session
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
BAD_TITLES = [
    "a\r\nX-Injected: 1",
    "a\nb",
    "a\x1bb",
    "a\x7fb",
    "a\x85b",
    "a\u2028b",
    "a\u2029b",
    "\U0001f680" * 501,
    "\u3000",
    "",
    *INVALID_TITLES,
]


@pytest.mark.parametrize("title", GOOD_TITLES, ids=ascii)
def test_a_title_is_kept_as_it_is(title: str, user: Caller) -> None:
    answer = user.approve(title=title)

    assert answer.status_code == 200, answer.text
    assert [plan["title"] for plan in user.rows("plan")] == [title]
    assert [agent["name"] for agent in user.rows("agent")] == [title[:200]]


@pytest.mark.parametrize("title", BAD_TITLES, ids=ascii)
def test_a_title_that_breaks_lines_is_refused_by_both(title: str, user: Caller) -> None:
    expect_problem(user.approve(title=title), 422, "invalid_title")
    session, content = new_session(), "words"
    answer = user.approve_stored(session, content, title=title)
    assert (answer.status_code, answer.json()["message"]) == (422, "invalid_title")
    assert "\n" not in answer.reason_phrase
    assert user.has_nothing()


@pytest.mark.parametrize("field", ["plan_id", "title", "content", "content_sha256"])
def test_nul_and_half_a_surrogate_pair_are_an_invalid_request(field: str, user: Caller) -> None:
    for bad in ("\x00", "a\x00b", "\ud800", "\udfff\ud800", "a\udc00"):
        problem = expect_problem(user.approve(**{field: bad}), 422, "invalid_request")
        assert problem["errors"]
    assert user.has_nothing()


def test_straight_at_supabase_nul_is_refused_in_every_text(stack: RunningStack, user: Caller) -> None:
    """Of the texts that people and programs write: titles, comments, a worker's name and a build's message."""
    request = body()
    user.proposed(**request)
    agent = user.approved()["agent_id"]
    claim = stack.claim(agent)
    plan = {"session_id": request["plan_id"], "version": 1}
    (row,) = user.rows("plan", session_id=f"eq.{request['plan_id']}")
    document = {name: row[name] for name in ("document_sha256", "document_url")}
    attempt = {"build_id": claim["build_id"], "attempt": claim["attempt"]}
    calls: list[tuple[str, str, Json, str]] = [
        (user.token, "propose_plan", {**plan, **document, "version": 2}, "title"),
        (user.token, "approve_plan", {**plan, **document, "version": 2}, "title"),
        (user.token, "request_changes", plan, "comment"),
        (user.token, "reject_plan", plan, "comment"),
        (stack.secret_key, "claim_builds", {}, "worker"),
        (stack.secret_key, "renew_build", attempt, "message"),
        (stack.secret_key, "fail_build", attempt, "message"),
    ]

    def state() -> Json:
        return [user.rows(table) for table in ("plan", "agent", "agent_event", "build")]

    before = state()
    for token, function, arguments, field in calls:
        for bad in ("\x00", "a\x00b"):
            answer = user.supabase.post(
                f"/rest/v1/rpc/{function}",
                content=encode({**arguments, field: bad}),
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


@pytest.mark.parametrize(
    "line",
    [
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
    ],
    ids=ascii,
)
def test_no_header_of_the_request_comes_back(line: str, stack: RunningStack, user: Caller) -> None:
    request = (
        f"POST /plan/approve HTTP/1.1\r\nHost: x\r\n{line}\r\nAuthorization: Bearer {user.token}\r\n"
        "Connection: close\r\n\r\n"
    )
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


@pytest.mark.parametrize(
    "path",
    [
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
    ],
    ids=lambda path: path[:40],
)
def test_a_path_is_not_taken_for_anything_else(path: str, stack: RunningStack, user: Caller) -> None:
    status, head = raw(stack.service_url, f"GET {path}", {"Authorization": f"Bearer {user.token}"})

    assert status in {400, 404, 405, 414, 422, 431}, head
    assert b"injected" not in head.lower()


@pytest.mark.anyio
async def test_what_is_refused_here_never_reaches_supabase(
    proxy: Proxy, process: Process, user: Caller, http: httpx.AsyncClient
) -> None:
    headers = {"Authorization": f"Bearer {user.token}", "Content-Type": "application/json"}
    refused: list[dict[str, Any]] = [{"plan_id": session} for session in SESSIONS]
    refused += [{"title": title} for title in BAD_TITLES]
    refused += [{"version": 0}, {"content_sha256": sha256("other")}, {"content": "\x00"}]
    for changed in refused:
        answer = await http.post(
            f"{process.url}/plan/approve", content=encode(body(**changed)), headers=headers
        )
        assert answer.status_code == 422, answer.text
    assert [" ".join(message.start) for message in proxy.seen if "jwks" not in message.start[1]] == []
