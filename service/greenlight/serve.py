"""`greenlight serve`: run the HTTP service with the settings from the environment."""

import asyncio
import errno
import signal
import socket
import sys

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from greenlight import logs, settings
from greenlight.app import create_app

MAX_HEAD_BYTES = 64 * 1024  # an access token may have 16 KiB
# Longer than load balancers keep an idle connection, or they would send a request on one that is being closed.
KEEP_ALIVE_SECONDS = 75


class Protocol(HttpToolsProtocol):
    """uvicorn's, which (0.54) takes the head of a request in any size and at any speed, from anyone."""

    _head_bytes = 0
    _is_head = True
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._begin_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._head_bytes += len(data)
        super().data_received(data)
        if self._is_head and self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The head of the request is too large.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._begin_head()

    def on_headers_complete(self) -> None:
        self._end_head()
        super().on_headers_complete()

    def _begin_head(self) -> None:
        self._end_head()
        self._is_head = True
        self._head_bytes = 0
        self._timer = self.loop.call_later(KEEP_ALIVE_SECONDS, self.transport.abort)

    def _end_head(self) -> None:
        self._is_head = False
        if self._timer is not None:
            self._timer.cancel()


def main() -> None:
    try:
        config = settings.load()
    except settings.SettingsError as error:
        sys.exit(f"The service cannot start with these settings:\n{error}")
    _refuse_taken_port(config.host, config.port)
    logs.configure(config.log_level)
    # The server finishes what it has accepted, then raises the signal again for the handlers it replaced: these.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    uvicorn.run(
        create_app(config),
        host=config.host,
        port=config.port,
        loop="uvloop",
        http=Protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=config.shutdown_grace_seconds,
    )


def _refuse_taken_port(host: str, port: int) -> None:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        # The server reports anything else.
        if error.errno == errno.EADDRINUSE:
            sys.exit(f"Port {port} is taken: set PORT")
