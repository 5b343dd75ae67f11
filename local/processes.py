"""Child processes that start, tell when they are ready, stop, and never outlive their supervisor for long."""

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

READY_SECONDS = 60.0
STOP_SECONDS = 15.0


class LocalError(Exception):
    """An error that the person at the keyboard can fix; the message says how."""


class Child:
    """One process with its own log file, and its own session so that only the supervisor gets Ctrl-C."""

    def __init__(  # noqa: PLR0913 - named, and each as subprocess has it
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str],
        cwd: Path,
        user: int | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.name = name
        self.log = log
        self._command = [str(part) for part in command]
        self._env = dict(env)
        self._cwd = cwd
        self._user = user
        self._stop_signal = stop_signal
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None  # noqa: S101
        return self._process.pid

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                # Never written to: a child that reads it sees the end when the supervisor has ended in any way.
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._env,
                cwd=self._cwd,
                start_new_session=True,
                user=self._user,
                group=self._user,
                extra_groups=[] if self._user is not None else None,
            )

    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def wait_until(self, ready: Callable[[], bool], seconds: float = READY_SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while not ready():
            if not self.running():
                raise LocalError(
                    f"The {self.name} ended while starting. The end of {self.log}:\n{self.tail()}"
                )
            if time.monotonic() > deadline:
                raise LocalError(f"The {self.name} was not ready after {seconds:.0f} s; see {self.log}")
            time.sleep(0.02)

    def tail(self, lines: int = 15) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None  # noqa: S101
        self._process.send_signal(number)

    def wait(self, seconds: float) -> int:
        """Return the exit status of a process that ends by itself or was told to."""
        assert self._process is not None  # noqa: S101
        return self._process.wait(seconds)

    def stop(self) -> None:
        """Send the stop signal, then SIGKILL after a timeout."""
        if self._process is None:
            return
        if self.running():
            self.send(self._stop_signal)
            try:
                self.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._forget()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._forget()

    def _forget(self) -> None:
        assert self._process is not None  # noqa: S101
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process = None


class Pids:
    """The file that lists the processes of a data directory, so that a new supervisor ends what a killed one left."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, children: Sequence[Child]) -> None:
        entries = [
            (child.pid, psutil.Process(child.pid).create_time()) for child in children if child.running()
        ]
        self._path.write_text(json.dumps(entries))

    def end_leftovers(self) -> None:
        """Stop them gently (SIGINT is Postgres' fast shutdown), then by force; wait until they have ended."""
        if not self._path.exists():
            return
        leftovers = []
        for pid, created in json.loads(self._path.read_text()):
            with contextlib.suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                # The start time distinguishes them from another process with the same number.
                if process.create_time() == created:
                    leftovers += [process, *process.children(recursive=True)]
        end(leftovers)
        self._path.unlink()


def end(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGINT)
    _, alive = psutil.wait_procs(processes, timeout=STOP_SECONDS)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=STOP_SECONDS)


def is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def free_ports(count: int) -> list[int]:
    """Return ports that are free now, and most likely still are when a server takes them.

    They are drawn at random, so that processes that ask at the same time get different ones, and from below the range
    of outgoing connections, one of which might take a port before its server does.
    """
    ports: list[int] = []
    with contextlib.ExitStack() as held:
        while len(ports) < count:
            port = 20_000 + secrets.randbelow(12_000)
            with contextlib.suppress(OSError):
                held.enter_context(socket.socket()).bind(("127.0.0.1", port))
                ports.append(port)
    return ports


def accepts_connections(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def environment(**extra: str) -> dict[str, str]:
    """Return the caller's environment for a child, with telemetry off.

    Without what it says of a Supabase, which may be another one: a secret of that project would make the service
    accept more tokens.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SUPABASE_")}
    return {**kept, "DO_NOT_TRACK": "1", **extra}
