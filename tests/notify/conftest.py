"""Notifiers in a process of their own, a receiver whose answers a test chooses, and the clock of what waits."""

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from standardwebhooks import Webhook

from local.processes import free_ports
from tests.caller import Caller
from tests.conftest import RunningStack
from tests.services import CommandProcess, command_process

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="
UI = "https://plans.example.com"
METADATA = "http://169.254.169.254/latest/meta-data/"  # what a redirect must not lead to


@dataclass
class Received:
    """One request, with its signature verified."""

    headers: Message
    body: bytes
    payload: Any

    @property
    def kind(self) -> str:
        return str(self.payload["type"])

    @property
    def event_id(self) -> str:
        return self.headers["webhook-id"] or ""

    @property
    def data(self) -> Any:
        return self.payload["data"]


@dataclass
class Answer:
    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Receiver:
    """The other side of a webhook. It can be killed, and come back at the same address."""

    def __init__(self, secret: str | None = SECRET) -> None:
        self._verifier = Webhook(secret) if secret else None
        (self._port,) = free_ports(1)
        self._server: ThreadingHTTPServer | None = None
        self.received: list[Received] = []
        self.answer: Callable[[Received], Answer] = lambda _: Answer()
        self.url = f"http://127.0.0.1:{self._port}/hook?token=zebra"

    def start(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                got = Received(self.headers, body, receiver.verified(body, self.headers))
                receiver.received.append(got)
                answer = receiver.answer(got)
                if receiver._server is not self.server:  # killed meanwhile
                    self.close_connection = True
                    return
                self.send_response(answer.status)
                for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer.body)

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_: Any) -> None:
                pass  # the notifier was killed

        self._server = Server(("127.0.0.1", self._port), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def kill(self) -> None:
        """Answer no more: not to requests that are under way, either."""
        if self._server is not None:
            server, self._server = self._server, None
            server.shutdown()
            server.server_close()

    def verified(self, body: bytes, headers: Message) -> Any:
        return self._verifier.verify(body, dict(headers)) if self._verifier else json.loads(body)

    def of(self, user: Caller) -> list[Received]:
        """Return what concerns this user: a subscriber gets the events of all tests of this process."""
        return [got for got in [*self.received] if got.data["user_id"] == user.id]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    started = Receiver()
    started.start()
    yield started
    started.kill()


class Outbox:
    """What waits for one subscriber, and its clock."""

    def __init__(self, stack: RunningStack, subscriber: str) -> None:
        self.url = stack.needs_database()
        self.subscriber = subscriber

    def rows(self, user: Caller) -> list[dict[str, Any]]:
        with psycopg.connect(self.url, row_factory=dict_row) as database:
            return database.execute(
                "select n.*, n.run_after - clock_timestamp() as wait from greenlight.notification as n"
                " join greenlight.subscriber as s on s.id = n.subscriber_id"
                " where s.name = %s and n.user_id = %s order by n.id",
                [self.subscriber, user.id],
            ).fetchall()

    def make_due(self) -> None:
        """Let all pauses and leases be over."""
        with psycopg.connect(self.url) as database:
            database.execute(
                "update greenlight.notification as n set run_after = clock_timestamp() - interval '1 second'"
                " from greenlight.subscriber as s"
                " where s.id = n.subscriber_id and s.name = %s and n.status <> 'failed'",
                [self.subscriber],
            )


@pytest.fixture
def outbox(stack: RunningStack) -> Iterator[Outbox]:
    """Yield a queue of a test's own, to which the first claim has subscribed."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    assert stack.as_builder("claim_notifications", subscriber=name) == []
    yield Outbox(stack, name)
    assert stack.as_builder("forget_subscriber", subscriber=name) is True


Start = Callable[..., AbstractContextManager[CommandProcess]]


@pytest.fixture
def start(stack: RunningStack, outbox: Outbox, tmp_path: Path) -> Start:
    """Return a function that runs `greenlight notify` with these arguments and variables."""

    @contextmanager
    def notifier(
        *arguments: str,
        url: str | None = None,
        variables: dict[str, str] | None = None,
        **options: Any,
    ) -> Iterator[CommandProcess]:
        chosen = {"subscriber": outbox.subscriber, "poll_seconds": 0.1, **options}
        given = {
            "SUPABASE_URL": url or stack.supabase_url,
            "SUPABASE_SECRET_KEY": stack.secret_key,
            "UI_URL": UI,
            "WEBHOOK_SECRET": SECRET,
            **(variables or {}),
        }
        named = [f"--{name.replace('_', '-')}={value}" for name, value in chosen.items()]
        with command_process(tmp_path, "notify", *arguments, *named, variables=given) as process:
            yield process

    return notifier


def ended(process: CommandProcess, *event_ids: str) -> list[dict[str, Any]]:
    """Return the lines about notifications that have ended: all, or those of these events."""
    lines = [line for line in process.lines() if line["event"] == "notification_ended"]
    return [line for line in lines if not event_ids or line["event_id"] in event_ids]
