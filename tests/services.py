"""A service of a test's own, with settings of its own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local.processes import Child, free_ports
from local.stack import answers

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
