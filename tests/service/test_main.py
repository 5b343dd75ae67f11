"""The process: how it starts, how it refuses to, and how it ends."""

import contextlib
import re
import signal
import socket
import socketserver
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.caller import Caller
from tests.plan import body, encode
from tests.services import ServiceWith, refused_to_start, running_service

GOOD = {"SUPABASE_URL": "http://127.0.0.1:9", "SUPABASE_PUBLISHABLE_KEY": "sb_publishable_abc"}


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({}, ["SUPABASE_URL", "SUPABASE_PUBLISHABLE_KEY"]),
        ({**GOOD, "SUPABASE_PUBLISHABLE_KEY": "sb_secret_zebra"}, ["SUPABASE_PUBLISHABLE_KEY"]),
        ({**GOOD, "PORT": "x"}, ["PORT"]),
    ],
)
def test_wrong_settings_are_named_and_nothing_starts(settings: dict[str, str], names: list[str]) -> None:
    status, output = refused_to_start(settings)

    assert status == 1
    assert "Traceback" not in output
    assert "zebra" not in output
    for name in names:
        assert re.search(rf"^{name}(: | is not set$)", output, re.MULTILINE)


def test_a_port_that_is_taken_is_an_error(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        status, output = refused_to_start({**GOOD, "PORT": str(taken.getsockname()[1])})

    assert status != 0
    assert "is taken: set PORT" in output
    assert "Traceback" not in output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_what_was_accepted_finish_and_ends_with_0(
    service_with: ServiceWith, user: Caller, number: signal.Signals
) -> None:
    headers = {"Authorization": f"Bearer {user.token}"}
    half_sent, answers = threading.Event(), []

    def slowly() -> Any:
        yield b" " * 10
        half_sent.set()
        stopping.wait(30)
        yield encode(body())

    def call(url: str) -> None:
        answers.append(
            httpx.post(
                f"{url}/plan/approve",
                content=slowly(),
                headers={**headers, "Content-Type": "application/json"},
                timeout=30,
            )
        )

    stopping = threading.Event()
    service = service_with()
    caller = threading.Thread(target=call, args=(service.url,))
    caller.start()
    assert half_sent.wait(30)
    # The request has reached the service once its keep-alive neighbour is answered.
    httpx.get(f"{service.url}/healthz")
    service.send(number)
    _wait_until_refused(service.url)
    stopping.set()
    caller.join(30)
    assert service.wait(30) == 0
    assert [answer.status_code for answer in answers] == [200]
    assert len(user.rows("agent")) == 1


def _wait_until_refused(url: str) -> None:
    for _ in range(3000):
        try:
            httpx.get(f"{url}/healthz", timeout=1)
        except httpx.TransportError:
            return
    pytest.fail("still accepting")


class Gate(socketserver.ThreadingTCPServer):
    """Passes everything on to Supabase, but holds back the RPC until it is opened."""

    daemon_threads = True

    def __init__(self, supabase_url: str) -> None:
        self.supabase = urlsplit(supabase_url)
        self.reached, self.opened = threading.Event(), threading.Event()
        super().__init__(("127.0.0.1", 0), _Connection)


class _Connection(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        gate = self.server
        assert isinstance(gate, Gate)
        with socket.create_connection((gate.supabase.hostname, gate.supabase.port)) as supabase:
            threading.Thread(target=_pour, args=(supabase, self.request), daemon=True).start()
            while data := self.request.recv(65536):
                if data.startswith(b"POST /rest/v1/rpc/approve_plan"):
                    gate.reached.set()
                    gate.opened.wait(30)
                supabase.sendall(data)


def _pour(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)


@pytest.mark.parametrize("caller_stays", [True, False])
def test_an_approval_under_way_is_finished_even_when_its_caller_is_gone(
    stack: Any, user: Caller, tmp_path: Path, caller_stays: bool
) -> None:
    content = encode(body())
    head = (
        f"POST /plan/approve HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {user.token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    with Gate(stack.supabase_url) as gate:
        threading.Thread(target=gate.serve_forever, daemon=True).start()
        settings = {
            "SUPABASE_URL": f"http://127.0.0.1:{gate.server_address[1]}",
            "SUPABASE_PUBLISHABLE_KEY": stack.publishable_key,
            "SUPABASE_JWT_ISSUER": f"{stack.supabase_url}/auth/v1",
        }
        with running_service(tmp_path, **settings) as service:
            address = urlsplit(service.url)
            with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
                connection.sendall(head.encode() + content)
                assert gate.reached.wait(30)
                assert user.rows("plan") == []
                if caller_stays:
                    service.send(signal.SIGTERM)
                    gate.opened.set()
                    assert connection.recv(65536).startswith(b"HTTP/1.1 200")
            service.send(signal.SIGTERM)
            gate.opened.set()
            assert service.wait(30) == 0
        gate.shutdown()
    assert len(user.rows("plan")) == len(user.rows("agent")) == 1
