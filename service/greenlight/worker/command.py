"""A build function that runs a command: what `greenlight build -- COMMAND…` does for each build.

The command has a session and process group of its own, so that all of it can be ended together, and an empty
directory. Its lines `::progress N text` on standard output become reports; everything else that it writes goes to the
builder's standard error, each line after the build's id and attempt.
"""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

from greenlight.worker import guard
from greenlight.worker.job import BuildFailed, Job

NO_RETRY = 65  # EX_DATAERR of sysexits.h: trying again will not help
TERM_SECONDS = 5.0  # from SIGTERM to SIGKILL
DRAIN_SECONDS = 1.0  # for output that is still on its way when the command has ended
CHUNK = 64 * 1024  # bytes that are read at once; a longer line is logged in pieces

# Waits for a line before it becomes the command; without one it ends.
_ON_A_LINE = ("/bin/sh", "-c", 'read -r line && exec "$@" </dev/null', "sh")

_PROGRESS = re.compile(r"::progress[ \t]+(\d{1,3})(?:[ \t]+(.*))?")


@contextmanager
def command(arguments: Sequence[str], environment: Mapping[str, str]) -> Iterator["Command"]:
    """Yield a build function that runs the command with this environment and the build's own variables."""
    with (
        tempfile.TemporaryDirectory(prefix="greenlight-build-", ignore_cleanup_errors=True) as directory,
        subprocess.Popen(
            [sys.executable, "-I", guard.__file__, directory],
            stdin=subprocess.PIPE,
            env=dict(environment),
            start_new_session=True,
        ) as watchman,
        # One thread, so that lines of several builds do not mix and a full log does not delay the lease.
        ThreadPoolExecutor(1, "command-log") as log,
    ):
        yield Command(arguments, environment, Path(directory), watchman, log)


class Command:
    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        directory: Path,
        watchman: "subprocess.Popen[bytes]",
        log: ThreadPoolExecutor,
    ) -> None:
        self._arguments = arguments
        self._environment = environment
        self._directory = directory
        self._guard = watchman
        self._log = log

    async def __call__(self, job: Job) -> None:
        directory = Path(tempfile.mkdtemp(dir=self._directory))
        try:
            document, place = directory / "document.md", directory / "work"
            document.write_bytes(job.document)
            place.mkdir()
            output = Output(job, self._log)
            async with output.streams() as (stdout, stderr):
                process = await self._start(job, document, place, stdout, stderr)
            try:
                await process.wait()
                # Its background processes are ended with it, but its last output may still arrive.
                await output.ended(DRAIN_SECONDS)
            finally:
                await _end(process)
                self._tell_guard(f"- {process.pid}")
                await output.close(DRAIN_SECONDS)
        finally:
            await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)
        if status := process.returncode:
            raise BuildFailed(output.last_error or _describe(status), retry=status != NO_RETRY)

    async def _start(
        self, job: Job, document: Path, place: Path, stdout: int, stderr: int
    ) -> asyncio.subprocess.Process:
        """Start the command, but only once the guard knows of it: this builder may be killed at any moment."""
        if shutil.which(self._arguments[0], path=self._environment.get("PATH")) is None:
            raise BuildFailed("The command could not be started: it is not there, or not executable.")
        stdin, go = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *_ON_A_LINE,
                *self._arguments,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                cwd=place,
                env={**self._environment, **variables(job, document)},
                start_new_session=True,
            )
            self._tell_guard(f"+ {process.pid}")
            os.write(go, b"\n")
        except OSError as error:
            raise BuildFailed(f"The command could not be started: {error.strerror}.") from error
        finally:
            os.close(stdin)
            os.close(go)
        return process

    def _tell_guard(self, line: str) -> None:
        assert self._guard.stdin is not None  # noqa: S101
        with contextlib.suppress(BrokenPipeError):  # it was killed: the command can run without it
            self._guard.stdin.write(f"{line}\n".encode())
            self._guard.stdin.flush()


def variables(job: Job, document: Path) -> dict[str, str]:
    return {
        "GREENLIGHT_DOCUMENT": str(document),
        "GREENLIGHT_BUILD_ID": job.build_id,
        "GREENLIGHT_ATTEMPT": str(job.attempt),
        "GREENLIGHT_AGENT_ID": job.agent_id,
        "GREENLIGHT_PLAN_ID": job.plan_id,
        "GREENLIGHT_USER_ID": job.user_id,
        "GREENLIGHT_SESSION_ID": job.session_id,
        "GREENLIGHT_VERSION": str(job.version),
        "GREENLIGHT_TITLE": job.title,
        "GREENLIGHT_DOCUMENT_SHA256": job.document_sha256,
    }


async def _end(process: asyncio.subprocess.Process) -> None:
    """End the command and what it started: SIGTERM, then SIGKILL after a timeout."""
    ended = asyncio.create_task(process.wait())
    if process.returncode is None:
        _signal(process.pid, signal.SIGTERM)
        # Not asyncio.timeout(): in a task that was cancelled, Python before 3.11.3 raises CancelledError at its end
        # (https://github.com/python/cpython/issues/102780), and SIGKILL would not be sent.
        await asyncio.wait({ended}, timeout=TERM_SECONDS)
    _signal(process.pid, signal.SIGKILL)
    await ended


def _signal(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _describe(status: int) -> str:
    if status < 0:
        return f"The command was ended by {signal.Signals(-status).name}."
    return f"The command ended with exit code {status}."


class Output:
    """What a command writes: reports, its last line of standard error, and its log."""

    def __init__(self, job: Job, log: ThreadPoolExecutor) -> None:
        self.last_error = ""
        self._job = job
        self._prefix = f"{job.build_id}/{job.attempt} ".encode()
        self._log = log
        self._readers: list[asyncio.Task[None]] = []
        self._transports: list[asyncio.ReadTransport] = []

    @asynccontextmanager
    async def streams(self) -> AsyncIterator[tuple[int, int]]:
        """Yield the ends to write to, for the command to inherit. They are closed here afterwards.

        The pipes are not those of asyncio's Process: there `wait()` waits for them, too, in some versions of Python,
        and a process that the command leaves in the background would keep them open.
        """
        ends = []
        try:
            for take in (self._take_output, self._take_error):
                read, write = os.pipe()
                ends.append(write)
                reader = asyncio.StreamReader(CHUNK)
                transport, _ = await asyncio.get_running_loop().connect_read_pipe(
                    partial(asyncio.StreamReaderProtocol, reader), os.fdopen(read, "rb", 0)
                )
                self._transports.append(transport)
                self._readers.append(asyncio.create_task(self._read(reader, take)))
            yield ends[0], ends[1]
        except BaseException:
            await self.close(0)
            raise
        finally:
            for end in ends:
                os.close(end)

    async def ended(self, seconds: float) -> None:
        """Wait until all output has been read, but not longer than this."""
        await asyncio.wait(self._readers, timeout=seconds)

    async def close(self, seconds: float) -> None:
        await self.ended(seconds)  # a process that left the group may hold the pipes open for ever
        for reader in self._readers:
            reader.cancel()
        for transport in self._transports:
            transport.close()

    async def _read(self, reader: asyncio.StreamReader, take: Callable[[bytes], bool]) -> None:
        """Read lines, or pieces of lines that are too long; log those that `take` does not keep."""
        line, begins = b"", True
        while chunk := await reader.read(CHUNK):
            *lines, line = (line + chunk).split(b"\n")
            if len(line) >= CHUNK:
                lines.append(line)
                line = b""
            pieces = []
            for piece in lines:
                # The rest of a line that was cut is not a new line.
                if not (begins and take(piece)):
                    pieces.append(piece)
                begins = True
            if lines and not line and not chunk.endswith(b"\n"):
                begins = False
            await self._write(pieces)
        if line and not (begins and take(line)):
            await self._write([line])

    def _take_output(self, line: bytes) -> bool:
        """Take a line that reports progress."""
        match = _PROGRESS.fullmatch(line.decode(errors="replace").rstrip("\r"))
        if match is None or int(match[1]) > 100:
            return False
        self._job.report(int(match[1]), match[2])
        return True

    def _take_error(self, line: bytes) -> bool:
        """Remember the line; it is logged, too."""
        self.last_error = line.decode(errors="replace").strip() or self.last_error
        return False

    async def _write(self, lines: list[bytes]) -> None:
        if lines:
            text = b"".join(self._prefix + line + b"\n" for line in lines)
            await asyncio.get_running_loop().run_in_executor(self._log, _write, text)


def _write(text: bytes) -> None:
    with contextlib.suppress(OSError):  # the log has no reader any more
        sys.stderr.buffer.write(text)
        sys.stderr.buffer.flush()
