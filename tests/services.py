"""A service of a test's own, with settings of its own."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest


@dataclass
class Process:
    url: str
    process: subprocess.Popen[bytes]
    output: Path

    def lines(self) -> str:
        return self.output.read_text()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def running_service(
    directory: Path, constants: dict[str, int] | None = None, /, **settings: str
) -> Iterator[Process]:
    """Run the service with these settings, and these constants of greenlight.auth, and no other environment."""
    port = settings.setdefault("PORT", str(free_port()))
    output = directory / f"service-{port}.log"
    with output.open("wb") as file, start_service(settings, file, constants) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_until_it_answers(url, process, output)
            yield Process(url, process, output)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(30)


SERVE = ["-m", "greenlight", "serve"]
_WITH_CONSTANTS = """
import json, sys
from greenlight import auth, serve
vars(auth).update(json.loads(sys.argv[1]))
serve.main()
"""


def start_service(
    settings: dict[str, str], output: Any, constants: dict[str, int] | None = None
) -> subprocess.Popen[bytes]:
    environment = {
        name: os.environ[name] for name in ("PATH", "HOME", "LD_LIBRARY_PATH") if name in os.environ
    }
    return subprocess.Popen(
        [sys.executable, *(["-c", _WITH_CONSTANTS, json.dumps(constants)] if constants else SERVE)],
        env={**environment, **settings},
        stdout=output,
        stderr=subprocess.STDOUT,
    )


def _wait_until_it_answers(url: str, process: subprocess.Popen[bytes], output: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        assert process.poll() is None, output.read_text()
        try:
            httpx.get(f"{url}/healthz")
        except httpx.TransportError:
            time.sleep(0.02)
        else:
            return
    pytest.fail(f"no answer in time:\n{output.read_text()}")
