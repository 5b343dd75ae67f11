"""Bodies that are larger than they should be, larger than they say, or larger than they look."""

import gzip
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Self
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from tests.caller import Caller, expect_problem
from tests.conftest import RunningStack
from tests.plan import body
from tests.services import Process, ServiceWith, chunked, plain

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def own(stack: RunningStack, service_with: ServiceWith) -> Process:
    process = service_with(BODY_TIMEOUT_SECONDS="20")
    # What it needs in ordinary life counts as there before.
    account = stack.sign_up()
    for _ in range(20):
        httpx.post(
            f"{process.url}/plan/approve",
            json=body(content="x" * MIB),
            headers={"Authorization": f"Bearer {account.token}"},
            timeout=60,
        ).raise_for_status()
    return process


class Memory:
    """The most that a process has had in memory while it was watched, in bytes above the beginning."""

    def __init__(self, process: Process) -> None:
        self._info = psutil.Process(process.pid).memory_info
        self._over = threading.Event()
        self._before = self._info().rss
        self.growth = 0

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.002):
            self.growth = max(self.growth, self._info().rss - self._before)


def test_bodies_beyond_the_limit_are_refused_while_being_read_and_cost_no_memory(
    own: Process, user: Caller
) -> None:
    attacks = [
        ("Transfer-Encoding: chunked", chunked),
        (f"Content-Length: {400 * MIB}", plain),
    ]
    with Memory(own) as memory:
        for head, chunks in attacks:
            sent, answer = own.approve_raw(head, chunks(400 * MIB), user.token)
            assert answer.startswith(b"HTTP/1.1 413 "), answer
            assert sent < 100 * MIB
    assert memory.growth < 40 * MIB, memory.growth  # six MiB and a bit are read, twice over while it grows
    assert user.has_nothing()


def test_many_of_them_at_once_cost_no_more_than_each_its_limit(own: Process, user: Caller) -> None:
    answers: list[bytes] = []

    def attack() -> None:
        answers.append(own.approve_raw("Transfer-Encoding: chunked", chunked(200 * MIB), user.token)[1])

    with Memory(own) as memory:
        threads = [threading.Thread(target=attack) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [answer[:12] for answer in answers] == [b"HTTP/1.1 413"] * 8
    assert memory.growth < 8 * 20 * MIB, memory.growth
    assert user.has_nothing()


@pytest.mark.parametrize("line", [b"x-1: " + b"a" * 65_531 + b"\r\n", b"a" * 65_536], ids=["many", "one"])
def test_a_head_without_an_end_is_refused_from_anyone(own: Process, line: bytes) -> None:
    address = urlsplit(own.url)
    with Memory(own) as memory, socket.create_connection((address.hostname, address.port), 60) as connection:
        connection.sendall(b"POST /plan/approve HTTP/1.1\r\nx: ")
        sent = 0
        try:
            while sent < 100 * MIB:
                connection.sendall(line)
                sent += len(line)
        except OSError:
            pass
        assert sent < 20 * MIB  # what the sockets hold
    assert memory.growth < 8 * MIB, memory.growth


def test_a_head_with_the_longest_token_is_read(own: Process) -> None:
    headers = {"Authorization": f"Bearer {'a' * 16_384}", "X-More": "b" * 16_384}
    answer = httpx.post(f"{own.url}/plan/approve", headers=headers)
    expect_problem(answer, 401, "not_authenticated")


def test_a_body_declared_small_and_sent_large_is_no_more_than_declared(own: Process, user: Caller) -> None:
    """What comes after the declared length is for the server the next request, and no good one."""
    request = json.dumps(body()).encode()
    declared = len(request) - 5
    with Memory(own) as memory:
        _, answer = own.approve_raw(f"Content-Length: {declared}", [request, *plain(50 * MIB)], user.token)
    assert answer.startswith((b"HTTP/1.1 422 ", b"HTTP/1.1 400 ")), answer
    assert memory.growth < 40 * MIB
    assert user.has_nothing()


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, identity"])
def test_a_bomb_is_refused_unopened(own: Process, user: Caller, encoding: str) -> None:
    bomb = gzip.compress(b" " * 300 * MIB if encoding == "gzip" else b" " * MIB, 1)
    assert len(bomb) < 3 * MIB
    headers = {
        "Authorization": f"Bearer {user.token}",
        "Content-Type": "application/json",
        "Content-Encoding": encoding,
    }
    with Memory(own) as memory:
        answer = httpx.post(f"{own.url}/plan/approve", content=bomb, headers=headers, timeout=60)
    expect_problem(answer, 415, "unsupported_media_type")
    assert memory.growth < 40 * MIB
    assert user.has_nothing()


def test_json_that_is_deep_or_full_of_numbers_is_refused_and_costs_little(own: Process, user: Caller) -> None:
    headers = {"Authorization": f"Bearer {user.token}", "Content-Type": "application/json"}
    for content in (
        b"[" * 6 * MIB,
        b'{"a":' * MIB,
        b'{"version": ' + b"9" * 6 * MIB + b"}",
        b'{"version": 1e' + b"9" * 1000 + b"}",
        b'"' + b"\\u0041" * MIB + b'"',
    ):
        began = time.monotonic()
        answer = httpx.post(f"{own.url}/plan/approve", content=content, headers=headers, timeout=60)
        expect_problem(answer, 422, "invalid_request")
        assert time.monotonic() - began < 20  # a parser that went wild would take minutes
    assert user.has_nothing()


def test_a_caller_who_sends_slowly_is_given_up(service_with: ServiceWith, user: Caller) -> None:
    def trickle() -> Iterator[bytes]:
        for _ in range(600):
            yield b"1\r\n \r\n"
            time.sleep(0.1)

    process = service_with(BODY_TIMEOUT_SECONDS="1")
    sent, answer = process.approve_raw("Transfer-Encoding: chunked", trickle(), user.token)
    assert answer.startswith(b"HTTP/1.1 422 "), answer
    assert sent < 600 * 6
