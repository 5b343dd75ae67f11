"""A service of a test's own, with settings of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
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


@dataclass(frozen=True)
class CommandProcess:
    """One of the commands that hold the secret key, in a process of its own."""

    process: "subprocess.Popen[bytes]"
    output: Path  # its JSON lines
    errors: Path  # what a builder's commands wrote

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def lines(self) -> list[dict[str, Any]]:
        """Return what it logged; the last line may be half of one."""
        whole = self.output.read_bytes().splitlines(keepends=True)
        return [json.loads(line) for line in whole if line[-1:] == b"\n"]


@contextmanager
def command_process(
    directory: Path,
    *arguments: str,
    variables: Mapping[str, str],
    user: Sequence[str] = (),
    stdin: Any = subprocess.DEVNULL,
) -> Iterator[CommandProcess]:
    """Run `greenlight` with these arguments and variables; it is killed at the end of the block.

    `user` is a command that runs it as another user.
    """
    name = uuid.uuid4().hex[:8]
    output, errors = directory / f"{name}.out", directory / f"{name}.err"
    with (
        output.open("wb") as out,
        errors.open("wb") as err,
        subprocess.Popen(
            [*user, sys.executable, "-m", "greenlight", *arguments],
            env=_environment({"LOG_LEVEL": "debug", **variables}),
            stdin=stdin,
            stdout=out,
            stderr=err,
        ) as process,
    ):
        try:
            yield CommandProcess(process, output, errors)
        finally:
            process.kill()


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
