"""`greenlight notify --to`: through Apprise, to a service that speaks JSON."""

import json
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.builder.conftest import until
from tests.caller import Caller
from tests.conftest import RunningStack
from tests.notify.conftest import METADATA, UI, Outbox, Start, ended
from tests.plan import new_session


class ChatService:
    """Takes what Apprise posts to `json://…`."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.status = 200
        self.asked: list[str] = []
        self.endless = False
        self.over = threading.Event()
        chat = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                chat.asked.append(self.path)
                message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if chat.status == 200 and not chat.endless:
                    chat.messages.append(message)
                self.send_response(chat.status)
                if chat.status == 302:
                    self.send_header("Location", METADATA if len(chat.asked) % 2 else "/elsewhere")
                self.end_headers()
                while chat.endless and not chat.over.wait(0.5):
                    self.wfile.write(b"x")
                    self.wfile.flush()

            do_GET = do_POST  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                pass  # the notifier has gone

        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"json://zebra:secret@127.0.0.1:{self.server.server_port}/chat"


@pytest.fixture
def chat() -> Iterator[ChatService]:
    service = ChatService()
    yield service
    service.over.set()
    service.server.shutdown()
    service.server.server_close()


def test_title_sentence_and_link(
    stack: RunningStack, user: Caller, chat: ChatService, outbox: Outbox, start: Start
) -> None:
    session = new_session()
    # The address by the environment, as its token would show in the list of processes.
    with start(variables={"NOTIFY_TO": chat.url}) as process:
        user.proposed(plan_id=session, title="<!channel> @everyone: a zebra's plan 👩‍🚀 תוכנית")
        until(lambda: outbox.rows(user) == [])
        process.send(signal.SIGTERM)
        assert process.process.wait(60) == 0
    (message,) = chat.messages
    title = "<\u200b!channel> @\u200beveryone: a zebra's plan 👩‍🚀 תוכנית"
    assert message["title"] == f"Please decide: {title}"
    assert message["message"].splitlines() == [
        "Version 1 of this plan waits for a decision. Nothing is built before that.",
        f"{UI}/build?session={session}",
    ]
    assert process.lines()[-1]["event"] == "notifier_stopped"
    written = process.output.read_text() + process.errors.read_text()
    for secret in ("zebra", "secret", "127.0.0.1", stack.secret_key):
        assert secret not in written


@pytest.mark.parametrize("status", [500, 404, 302])
def test_what_is_refused_comes_again(
    user: Caller, chat: ChatService, outbox: Outbox, start: Start, status: int
) -> None:
    chat.status = status
    with start("--to", chat.url) as process:
        user.proposed()
        until(lambda: ended(process))
        (row,) = outbox.rows(user)
        assert (row["status"], row["message"]) == ("waiting", "the service did not take it")
        assert chat.asked == ["/chat"]  # no redirect was followed
        chat.status = 200
        outbox.make_due()
        until(lambda: outbox.rows(user) == [])
    assert len(chat.messages) == 1
    written = process.output.read_text() + process.errors.read_text()
    assert "zebra" not in written
    assert "127.0.0.1" not in written


def test_an_answer_without_end_does_not_keep_it(
    user: Caller, chat: ChatService, outbox: Outbox, start: Start
) -> None:
    chat.endless = True
    with start("--to", chat.url) as process:
        user.proposed()
        until(lambda: chat.asked)
        process.send(signal.SIGTERM)
        assert process.process.wait(60) == 0
    assert [line["outcome"] for line in ended(process)] == ["retried"]
    assert len(outbox.rows(user)) == 1
