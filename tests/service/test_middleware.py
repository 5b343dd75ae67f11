"""What surrounds every request: its id, the end of a body that is too long, and the metrics."""

import socket
import uuid
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from tests.caller import Caller
from tests.plan import body, encode
from tests.services import JSON, Process, ServiceWith, chunked, plain

LIMIT = 1000
BODY_LIMIT = 6 * LIMIT + 64 * 1024


@pytest.fixture(scope="module")
def small(service_with: ServiceWith) -> Process:
    return service_with(MAX_DOCUMENT_BYTES=str(LIMIT), METRICS="true", BODY_TIMEOUT_SECONDS="1")


@pytest.mark.parametrize("given", ["abc-123", "a" * 128, "A.b_c"])
def test_a_callers_request_id_is_kept(service: httpx.Client, given: str) -> None:
    assert service.get("/healthz", headers={"X-Request-ID": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", [None, "", "a" * 129, "a b", 'a"b', "caf\u00e9", "<a>"])
def test_any_other_request_id_is_replaced(service: httpx.Client, given: str | None) -> None:
    headers = {} if given is None else {"X-Request-ID": given.encode()}
    answered = service.get("/healthz", headers=headers).headers["x-request-id"]  # type: ignore[arg-type]
    assert uuid.UUID(answered).hex == answered


def test_a_body_beyond_the_limit_is_cut_off_while_it_is_read(small: Process, user: Caller) -> None:
    memory = psutil.Process(small.pid).memory_info
    before = memory().rss

    for head, chunks in (
        ("Transfer-Encoding: chunked", chunked(200_000_000)),
        (f"Content-Length: {10**9}", plain(3000 * 65536)),
    ):
        sent, answer = small.approve_raw(head, chunks, user.token)
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
        for chunk in chunked(2 * 65536):
            connection.sendall(chunk)
        assert connection.recv(65536).startswith(b"HTTP/1.1 413")
        # A caller who has not read the answer yet continues for a while.
        for chunk in chunked(8 * 1024 * 1024):
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
        in_chunks = httpx.post(f"{small.url}/plan/approve", content=iter([padded]), headers=headers)
        assert in_chunks.status_code == status


def test_a_request_without_a_token_is_refused_unread(small: Process) -> None:
    _, answer = small.approve_raw("Content-Length: 1000")

    assert answer.startswith(b"HTTP/1.1 401")


def test_a_body_that_does_not_come_is_given_up(small: Process, user: Caller) -> None:
    _, answer = small.approve_raw("Content-Length: 1000", [b"{"], user.token)

    assert answer.startswith(b"HTTP/1.1 422")
    assert b"connection: close" in answer.lower()


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
