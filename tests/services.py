"""A service of a test's own, with settings of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from local.processes import Child, free_ports
from local.stack import answers

JSON = "Content-Type: application/json\r\n"
BLOCK = b" " * 65536

_SERVE = ["-m", "greenlight", "serve"]
_SERVE_WITH_CONSTANTS = """
import json, sys
from greenlight import auth, serve
vars(auth).update(json.loads(sys.argv[1]))
serve.main()
"""


class Process(Child):
    """A service in a process of its own, in an environment that has nothing but its settings."""

    def __init__(
        self, directory: Path, settings: dict[str, str], constants: dict[str, int] | None = None
    ) -> None:
        port = settings.get("PORT") or str(free_ports(1)[0])
        self.url = f"http://127.0.0.1:{port}"
        command = ["-c", _SERVE_WITH_CONSTANTS, json.dumps(constants)] if constants else _SERVE
        super().__init__(
            "service",
            [sys.executable, *command],
            log=directory / f"service-{port}.log",
            env=_environment({**settings, "PORT": port}),
            cwd=directory,
        )

    def lines(self) -> str:
        return self.log.read_text()

    def approve_raw(self, head: str, chunks: Iterable[bytes] = (), token: str = "") -> tuple[int, bytes]:
        """Send these bytes as they are; return how many bytes of the chunks were taken, and the answer."""
        address = urlsplit(self.url)
        bearer = f"Authorization: Bearer {token}\r\n" if token else ""
        start = f"POST /plan/approve HTTP/1.1\r\nHost: x\r\n{bearer}{JSON}{head}\r\n\r\n"
        with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
            connection.sendall(start.encode())
            sent, answer = 0, b""
            try:
                for chunk in chunks:
                    connection.sendall(chunk)
                    sent += len(chunk)
            except OSError:
                pass
            while b"\r\n\r\n" not in answer and (data := connection.recv(65536)):
                answer += data
            return sent, answer


ServiceWith = Callable[..., Process]  # the fixture `service_with`


def plain(size: int) -> Iterator[bytes]:
    for _ in range(size // len(BLOCK)):
        yield BLOCK


def chunked(size: int) -> Iterator[bytes]:
    for block in plain(size):
        yield b"%x\r\n%s\r\n" % (len(block), block)


@contextmanager
def running_service(
    directory: Path, constants: dict[str, int] | None = None, /, **settings: str
) -> Iterator[Process]:
    """Run the service with these settings, and these constants of greenlight.auth, and no other environment."""
    process = Process(directory, settings, constants)
    process.start()
    try:
        process.wait_until(lambda: answers(f"{process.url}/healthz"))
        yield process
        if process.running():
            process.send(signal.SIGTERM)
            process.wait(30)
    finally:
        process.stop()


def refused_to_start(settings: dict[str, str]) -> tuple[int, str]:
    """Return the exit status of a service that ends instead of starting, and what it says."""
    ended = subprocess.run(
        [sys.executable, *_SERVE],
        check=False,
        env=_environment(settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    return ended.returncode, ended.stdout


def _environment(settings: dict[str, str]) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LD_LIBRARY_PATH") if name in os.environ}
    return {**kept, **settings}
