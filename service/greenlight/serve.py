"""`greenlight serve`: run the HTTP service with the settings from the environment."""

import errno
import signal
import socket
import sys

import uvicorn

from greenlight import logs, settings
from greenlight.app import create_app


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
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
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
