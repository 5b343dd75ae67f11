"""The routes other than approving, and what every request has: its id, its limits, its problem."""

import socket
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from tests.caller import Caller, expect_problem
from tests.plan import body, encode, new_session, sha256
from tests.services import Process, running_service

# The document of a plan --------------------------------------------------------------------------------


def test_the_owner_gets_a_fresh_signed_url(user: Caller) -> None:
    approved = user.approved(content="# Mine")

    answer = user.document(approved["plan_id"])

    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    document = answer.json()
    assert document["document_sha256"] == sha256("# Mine")
    assert httpx.get(document["document_url"]).text == "# Mine"
    left = datetime.fromisoformat(document["expires_at"]) - datetime.now(UTC)
    assert timedelta(minutes=59) < left <= timedelta(hours=1)


def test_a_superseded_plan_keeps_its_document(user: Caller) -> None:
    session = new_session()
    first = user.approved(plan_id=session, content="one")
    user.approved(plan_id=session, version=2, content="two")

    assert httpx.get(user.document(first["plan_id"]).json()["document_url"]).text == "one"


def test_a_strangers_plan_a_deleted_one_and_none_at_all_are_the_same(user: Caller, stranger: Caller) -> None:
    approved = user.approved()

    expect_problem(stranger.document(approved["plan_id"]), 404, "plan_not_found")
    expect_problem(user.document(str(uuid.uuid4())), 404, "plan_not_found")
    assert user.document(approved["plan_id"]).status_code == 200
    assert user.rpc("delete_agent", agent_id=approved["agent_id"]).status_code == 200
    expect_problem(user.document(approved["plan_id"]), 404, "plan_not_found")


def test_no_document_without_a_token(user: Caller, service: httpx.Client) -> None:
    approved = user.approved()

    expect_problem(service.get(f"/plan/{approved['plan_id']}/document"), 401, "not_authenticated")


@pytest.mark.parametrize(
    "plan_id", ["x", "1", "00000000-0000-0000-0000-00000000000g", "%00", "a%0a", "%2e%2e"]
)
def test_a_malformed_id_is_refused(user: Caller, plan_id: str) -> None:
    expect_problem(user.document(plan_id), 422, "invalid_plan_id")


def test_an_id_in_capitals_is_the_same_id(user: Caller) -> None:
    assert user.document(user.approved()["plan_id"].upper()).status_code == 200


# The process -------------------------------------------------------------------------------------------


def test_health_readiness_and_documentation(service: httpx.Client) -> None:
    assert service.get("/healthz").json() == {"status": "ok"}
    assert service.get("/readyz").json() == {"status": "ok"}
    assert "swagger" in service.get("/docs").text
    assert service.get("/openapi.json").json()["info"]["title"] == "Greenlight"


def test_without_supabase_it_is_healthy_and_not_ready(tmp_path: Path) -> None:
    with socket.socket() as taken:  # bound, but not listening
        taken.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{taken.getsockname()[1]}"
        settings = {"SUPABASE_URL": nowhere, "SUPABASE_PUBLISHABLE_KEY": "sb_publishable_x"}
        with running_service(tmp_path, **settings) as process:
            assert httpx.get(f"{process.url}/healthz").status_code == 200
            answer = httpx.get(f"{process.url}/readyz")
            problem = expect_problem(answer, 503, "upstream_unavailable")
            assert problem["retryable"] is True
            assert int(answer.headers["retry-after"]) > 0


def test_what_is_not_there_is_a_problem_too(service: httpx.Client) -> None:
    expect_problem(service.get("/nothing"), 404, "not_found")
    expect_problem(service.post("/plan/approve/"), 404, "not_found")
    answer = service.get("/plan/approve")
    expect_problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize("given", ["abc-123", "a" * 128, "A.b_c"])
def test_a_callers_request_id_is_kept(service: httpx.Client, given: str) -> None:
    assert service.get("/healthz", headers={"X-Request-ID": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", [None, "", "a" * 129, "a b", 'a"b', "caf\u00e9", "<a>"])
def test_any_other_request_id_is_replaced(service: httpx.Client, given: str | None) -> None:
    headers = {} if given is None else {"X-Request-ID": given.encode()}
    answered = service.get("/healthz", headers=headers).headers["x-request-id"]  # type: ignore[arg-type]
    assert uuid.UUID(answered).hex == answered


# A service of the tests' own, with metrics, CORS and a small limit -------------------------------------

LIMIT = 1000
BODY_LIMIT = 6 * LIMIT + 64 * 1024


@pytest.fixture(scope="module")
def small(stack: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with running_service(
        tmp_path_factory.mktemp("small"),
        SUPABASE_URL=stack.supabase_url,
        SUPABASE_PUBLISHABLE_KEY=stack.publishable_key,
        MAX_DOCUMENT_BYTES=str(LIMIT),
        METRICS="true",
        CORS_ORIGINS="https://app.example.com, https://other.example.com",
        BODY_TIMEOUT_SECONDS="1",
    ) as process:
        yield process


def raw(process: Process, head: str, chunks: Iterable[bytes] = (), token: str = "") -> tuple[int, bytes]:
    """Send these bytes as they are; return the answer and how many bytes of the chunks went out before it."""
    address = urlsplit(process.url)
    bearer = f"Authorization: Bearer {token}\r\n" if token else ""
    start = f"POST /plan/approve HTTP/1.1\r\nHost: x\r\n{bearer}{head}\r\n\r\n".encode()
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        connection.sendall(start)
        sent = 0
        try:
            for chunk in chunks:
                connection.sendall(chunk)
                sent += len(chunk)
        except OSError:
            pass
        answer = b""
        while b"\r\n\r\n" not in answer and (data := connection.recv(65536)):
            answer += data
        return sent, answer


def endless(size: int) -> Iterator[bytes]:
    for _ in range(size // 65536):
        yield b"10000\r\n" + b" " * 65536 + b"\r\n"


JSON = "Content-Type: application/json\r\n"


def test_the_settings_limit_holds(small: Process, user: Caller) -> None:
    headers = {"Authorization": f"Bearer {user.token}"}
    url = f"{small.url}/plan/approve"

    assert httpx.post(url, json=body(content="x" * LIMIT), headers=headers).status_code == 200
    expect_problem(
        httpx.post(url, json=body(content="x" * (LIMIT + 1)), headers=headers), 413, "document_too_large"
    )


def test_every_allowed_document_fits_into_a_body_however_escaped(small: Process, user: Caller) -> None:
    request = encode(body(content="\x07" * LIMIT))
    assert len(request) > 6 * LIMIT

    answer = httpx.post(
        f"{small.url}/plan/approve",
        content=request,
        headers={"Authorization": f"Bearer {user.token}", "Content-Type": "application/json"},
    )

    assert answer.status_code == 200


def test_a_body_beyond_the_limit_is_cut_off_while_it_is_read(small: Process, user: Caller) -> None:
    memory = psutil.Process(small.pid).memory_info
    before = memory().rss

    for head, chunks in (
        (f"{JSON}Transfer-Encoding: chunked", endless(200_000_000)),
        (f"{JSON}Content-Length: {10**9}", (b" " * 65536 for _ in range(3000))),
    ):
        sent, answer = raw(small, head, chunks, user.token)
        assert answer.startswith(b"HTTP/1.1 413"), answer
        assert b"connection: close" in answer.lower()
        assert sent < 100_000_000

    assert memory().rss - before < 16 * 1024 * 1024


def test_a_caller_who_is_cut_off_can_read_why_before_the_connection_ends(
    small: Process, user: Caller
) -> None:
    address = urlsplit(small.url)
    head = f"{JSON}Host: x\r\nAuthorization: Bearer {user.token}\r\nTransfer-Encoding: chunked"
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        connection.sendall(f"POST /plan/approve HTTP/1.1\r\n{head}\r\n\r\n".encode())
        for chunk in endless(2 * 65536):
            connection.sendall(chunk)
        assert connection.recv(65536).startswith(b"HTTP/1.1 413")
        for chunk in endless(
            8 * 1024 * 1024
        ):  # a caller who has not read the answer yet continues for a while
            connection.sendall(chunk)
        connection.sendall(b"0\r\n\r\n")
        while connection.recv(65536):  # ends in order: a reset would be an exception
            pass


def test_a_body_at_the_limit_is_read_and_one_byte_more_is_not(small: Process, user: Caller) -> None:
    headers = {"Authorization": f"Bearer {user.token}", "Content-Type": "application/json"}
    request = encode(body())

    for size, status in ((BODY_LIMIT, 200), (BODY_LIMIT + 1, 413)):
        padded = request + b" " * (size - len(request))
        answer = httpx.post(f"{small.url}/plan/approve", content=padded, headers=headers)
        assert answer.status_code == status
        chunked = httpx.post(f"{small.url}/plan/approve", content=iter([padded]), headers=headers)
        assert chunked.status_code == status


def test_a_request_without_a_token_is_refused_unread(small: Process) -> None:
    _, answer = raw(small, f"{JSON}Content-Length: 1000")

    assert answer.startswith(b"HTTP/1.1 401")


def test_a_body_that_does_not_come_is_given_up(small: Process, user: Caller) -> None:
    _, answer = raw(small, f"{JSON}Content-Length: 1000", [b"{"], user.token)

    assert answer.startswith(b"HTTP/1.1 422")
    assert b"connection: close" in answer.lower()


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/jsonx"},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
        {"Content-Type": "application/json", "Content-Encoding": "br"},
    ],
)
def test_only_plain_json_is_read(user: Caller, headers: dict[str, str]) -> None:
    content = encode(body())
    authorized = {"Authorization": f"Bearer {user.token}"}

    refused = user.service.post("/plan/approve", content=content, headers={**authorized, **headers})

    expect_problem(refused, 415, "unsupported_media_type")
    assert user.has_nothing()
    good = {**authorized, "Content-Type": 'Application/JSON; charset="UTF-8"', "Content-Encoding": "identity"}
    assert user.service.post("/plan/approve", content=content, headers=good).status_code == 200


def test_metrics_are_there_when_switched_on_and_name_no_user(small: Process, user: Caller) -> None:
    headers = {"Authorization": f"Bearer {user.token}"}
    answer = httpx.post(f"{small.url}/plan/approve", json=body(), headers=headers).json()
    httpx.get(f"{small.url}/plan/{answer['plan_id']}/document", headers=headers)

    text = httpx.get(f"{small.url}/metrics").text

    assert 'greenlight_requests_total{code="",method="POST",route="/plan/approve",status="200"}' in text
    assert 'route="/plan/{plan_id}/document"' in text
    for stage in ("auth", "body", "upload", "sign", "rpc"):
        assert f'greenlight_stage_seconds_count{{stage="{stage}"}}' in text
    assert "greenlight_requests_in_flight 1.0" in text
    assert user.id not in text
    assert answer["plan_id"] not in text


def test_metrics_are_not_there_otherwise(stack: Any, tmp_path: Path) -> None:
    settings = {"SUPABASE_URL": stack.supabase_url, "SUPABASE_PUBLISHABLE_KEY": stack.publishable_key}
    with running_service(tmp_path, **settings) as process:
        expect_problem(httpx.get(f"{process.url}/metrics"), 404, "not_found")


def test_pages_of_the_named_origins_may_call_and_read_refusals(small: Process, service: httpx.Client) -> None:
    asking = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    for origin, allowed in (("https://app.example.com", True), ("https://evil.example.com", False)):
        headers = {"Origin": origin, **asking}
        preflight = httpx.options(f"{small.url}/plan/approve", headers=headers)
        assert (preflight.headers.get("access-control-allow-origin") == origin) is allowed
        refusal = httpx.post(f"{small.url}/plan/approve", headers={"Origin": origin})
        assert refusal.status_code == 401
        assert (refusal.headers.get("access-control-allow-origin") == origin) is allowed
    answer = service.post("/plan/approve", headers={"Origin": "https://app.example.com"})
    assert "access-control-allow-origin" not in answer.headers
