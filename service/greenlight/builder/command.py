"""A build function that runs a command: what `greenlight build -- COMMAND…` does for each build.

Each command has an empty directory, and a guard around it (see guard.py), so that all of it can be ended together. Its
lines `::progress N text` on standard output become reports; everything else that it writes goes to the builder's
standard error, each line after the build's id and attempt, and into the attempt's log, if that is shared. What it says
of what it made is read when none of its processes is left.
"""

import asyncio
import codecs
import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from greenlight import MAX_DOCUMENT_BYTES
from greenlight.builder import guard, result, terminal
from greenlight.builder.job import BuildFailed, Job

NO_RETRY = 65  # EX_DATAERR of sysexits.h: trying again will not help
TERM_SECONDS = 5.0  # from SIGTERM to SIGKILL
GUARD_SECONDS = 5.0  # for the guard to end, when all that it guards is dead
DRAIN_SECONDS = 1.0  # for output that is still on its way when the command has ended
CHUNK = 64 * 1024  # bytes that are read at once; a longer line is logged in pieces

OPTIONAL = {"GREENLIGHT_COMMENT", "GREENLIGHT_COMMENTS", "GREENLIGHT_TEAM_ID"}  # unset where there is none

_REPORT = b"::progress"
_PROGRESS = re.compile(r"::progress[ \t]+(\d{1,3})(?:[ \t]+(.*))?")

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class NotIsolatedError(Exception):
    """Builds cannot be kept apart on this system; the message says in which way, and why."""


@contextmanager
def command(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    *,
    isolate: str = "auto",
    hidden: Sequence[str] = (),
    share_log: bool = False,
) -> Iterator["Command"]:
    """Yield a build function that runs the command with this environment and the build's own variables.

    Args:
        arguments: the command.
        environment: its environment.
        isolate: `always`, `never`, or `auto`: if this system allows it.
        hidden: files that a command finds empty, if its files are isolated.
        share_log: whether the owner of the agent sees the end of what the command writes.

    Raises:
        NotIsolatedError: `isolate` is `always`, and this system does not allow it.

    """
    # One thread, so that lines of several builds do not mix and a full log does not delay the lease.
    with ThreadPoolExecutor(1, "command-log") as lines:
        build = Command(arguments, environment, hidden, lines, share_log=share_log)
        try:
            if isolate != "never":
                build.isolate(required=isolate == "always")
            yield build
        finally:
            build.close()


class Command:
    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        hidden: Sequence[str],
        lines: ThreadPoolExecutor,
        *,
        share_log: bool,
    ) -> None:
        self.isolated: list[str] = []  # in which ways; see guard.py
        self._arguments = arguments
        # Builders may be started by builds.
        self._environment = {name: value for name, value in environment.items() if name not in OPTIONAL}
        self._hidden = hidden
        self._lines = lines
        self._share_log = share_log
        self._directory = Path()
        self._lock = os.open(os.devnull, os.O_RDONLY)  # on the directory's file `ready`
        self._guards: set[int] = set()
        self._make_directory()

    def isolate(self, *, required: bool) -> None:
        """Keep the commands apart from now on, as far as this system can.

        Raises:
            NotIsolatedError: it cannot do all of it, and that is required.

        """
        for part in ("files", "processes"):
            answer = self._try(part)
            if answer == "0":
                self.isolated.append(part)
            elif required:
                raise NotIsolatedError(f"{part} ({answer})")
            else:
                log.warning("builds_not_isolated", part=part, cause=answer)

    def _try(self, part: str) -> str:
        """Run a command that is kept apart in this way; return what its guard reports."""
        directory = self._new_directory()
        read, report = os.pipe()
        try:
            process = subprocess.Popen(
                self._guarded(["true"], directory, report, [part]),
                cwd=directory,
                env=dict(self._environment),
                stdin=subprocess.PIPE,  # held open until it has answered
                stderr=subprocess.DEVNULL,
                pass_fds=[report],
            )
        finally:
            os.close(report)
        with process, os.fdopen(read) as answers:
            return answers.readline().strip()

    def ready(self, seconds: float) -> None:
        """Check that a document can be written now; note until when the builder is healthy without another check.

        Raises OSError if the disk is full, for example. Of what was removed, the directory is made again.
        """
        if os.getpid() == 1:  # in a container, what lost its parent is ours to wait for
            for pid in set(guard.zombies(1)) - self._guards:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
        status = None
        with contextlib.suppress(FileNotFoundError):
            status = self._directory.lstat()
        # Its name is known: where everyone may write, another user can have made a directory in its place.
        if status is None or not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
            self._make_directory()
        file = self._directory / "ready"
        try:
            file.write_bytes(bytes(MAX_DOCUMENT_BYTES))
        finally:
            with contextlib.suppress(OSError):
                os.truncate(file, 0)
        until = time.time() + seconds
        os.utime(file, (until, until))

    def close(self) -> None:
        os.close(self._lock)
        guard.remove(str(self._directory))

    async def __call__(self, job: Job) -> dict[str, Any] | None:
        try:
            return await self._run(job)
        except OSError as error:
            # The operator's affair. The path in its text, for example, tells the plan's owner nothing.
            bound = {"build_id": job.build_id, "attempt": job.attempt}
            log.error("builder_cannot_work", **bound, cause=str(error))  # noqa: TRY400 -- no traceback
            raise BuildFailed("The builder could not run the command. Its own log says why.") from error

    async def _run(self, job: Job) -> dict[str, Any] | None:
        if shutil.which(self._arguments[0], path=self._environment.get("PATH")) is None:
            raise BuildFailed("The command could not be started: it is not there, or not executable.")
        directory = self._new_directory()
        # The command may replace the file, and even the directory.
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        made = None
        try:
            given = variables(job, directory)
            output = Output(job, self._lines, share_log=self._share_log)
            async with output.streams() as (stdout, stderr, report):
                process = await asyncio.create_subprocess_exec(
                    *self._guarded(self._arguments, directory, report, self.isolated),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=stdout,
                    stderr=stderr,
                    pass_fds=[report],
                    cwd=directory,
                    env={**self._environment, **given},
                    start_new_session=True,
                )
            self._guards.add(process.pid)
            try:
                status = await output.status()
                # Its background processes are ended with it, but its last output may still arrive.
                await output.ended(DRAIN_SECONDS)
                if status == 0:
                    await output.over(process)
                    made = await asyncio.to_thread(result.read, descriptor)
            finally:
                await self._end(process, job)
                await output.close(DRAIN_SECONDS)
        finally:
            os.close(descriptor)
            if directory.exists():  # the guard was killed
                await asyncio.to_thread(guard.remove, str(directory))
        if status is None:
            log.error("guard_ended", build_id=job.build_id, attempt=job.attempt, status=process.returncode)
            status = -signal.SIGKILL
        if status:
            raise BuildFailed(output.last_words() or _describe(status), retry=status != NO_RETRY)
        return made

    async def _end(self, process: asyncio.subprocess.Process, job: Job) -> None:
        """Have the guard end the command and what it started; if it does not, do that from here."""
        assert process.stdin is not None  # noqa: S101
        process.stdin.close()
        ended = asyncio.create_task(process.wait())
        # Not asyncio.timeout(): in a task that was cancelled, Python before 3.11.3 raises CancelledError at its end
        # (https://github.com/python/cpython/issues/102780), and nothing would be killed.
        await asyncio.wait({ended}, timeout=TERM_SECONDS + guard.DEAD_SECONDS + GUARD_SECONDS)
        if process.returncode != 0:
            # A command that is not isolated has killed or stopped its guard.
            await asyncio.to_thread(_kill_leftovers, process.pid, job)
            await ended
        self._guards.discard(process.pid)

    def _make_directory(self) -> None:
        parent = Path(tempfile.gettempdir())
        parent.mkdir(0o700, parents=True, exist_ok=True)
        for left in parent.glob("greenlight-build-*/ready"):
            # An idle builder that was killed left it. Of another one, the file is locked, or there are builds.
            with contextlib.suppress(OSError), left.open() as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                left.unlink()
                left.parent.rmdir()
        self._directory = Path(tempfile.mkdtemp(prefix="greenlight-build-", dir=parent))
        os.close(self._lock)
        self._lock = os.open(self._directory / "ready", os.O_CREAT | os.O_RDONLY | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def _new_directory(self) -> Path:
        directory = Path(tempfile.mkdtemp(dir=self._directory))
        (directory / "work").mkdir()
        return directory

    def _guarded(
        self, arguments: Sequence[str], directory: Path, report: int, isolate: list[str]
    ) -> list[str]:
        task = {
            "directory": str(directory),
            "place": str(directory / "work"),
            "report": report,
            "isolate": isolate,
            "hidden": list(self._hidden),
            "seconds": TERM_SECONDS,
        }
        return [sys.executable, "-I", guard.__file__, json.dumps(task), *arguments]


def _kill_leftovers(pid: int, job: Job) -> None:
    """Kill the guard, what is below it, and what carries the build's id in its environment."""
    left = guard.below(pid)
    carrying = [set(guard.carrying(f"{name}={value}")) for name, value in _identity(job).items()]
    for each in {pid, *left, *set.intersection(*carrying)}:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(each, signal.SIGKILL)


def _identity(job: Job) -> dict[str, str]:
    return {"GREENLIGHT_BUILD_ID": job.build_id, "GREENLIGHT_ATTEMPT": str(job.attempt)}


def variables(job: Job, directory: Path) -> dict[str, str]:
    """Return what the command is told of the build, and write the files that it is told of."""
    (directory / "document.md").write_bytes(job.document)
    (directory / result.FILE).touch()
    told = {
        "GREENLIGHT_DOCUMENT": str(directory / "document.md"),
        "GREENLIGHT_RESULT": str(directory / result.FILE),
        **_identity(job),
        "GREENLIGHT_AGENT_ID": job.agent_id,
        "GREENLIGHT_PLAN_ID": job.plan_id,
        "GREENLIGHT_USER_ID": job.user_id,
        "GREENLIGHT_SESSION_ID": job.session_id,
        "GREENLIGHT_VERSION": str(job.version),
        "GREENLIGHT_TITLE": job.title,
        "GREENLIGHT_DOCUMENT_SHA256": job.document_sha256,
    }
    if job.team_id is not None:
        told["GREENLIGHT_TEAM_ID"] = job.team_id
    if job.comment is not None:
        told["GREENLIGHT_COMMENT"] = job.comment
    if job.comments is not None:
        file = directory / "comments.json"
        file.write_text(json.dumps(job.comments, ensure_ascii=False), encoding="utf-8")
        told["GREENLIGHT_COMMENTS"] = str(file)
    return told


def _describe(status: int) -> str:
    if status < 0:
        return f"The command was ended by {signal.Signals(-status).name}."
    return f"The command ended with exit code {status}."


class Output:
    """What a command writes: reports, the end of its standard error, and its log; and what its guard reports."""

    def __init__(self, job: Job, lines: ThreadPoolExecutor, *, share_log: bool) -> None:
        self._job = job
        self._share_log = share_log
        self._prefix = f"{job.build_id}/{job.attempt} ".encode()
        self._lines = lines
        self._errors = b""  # the end of standard error
        self._readers: list[asyncio.Task[None]] = []
        self._transports: list[asyncio.ReadTransport] = []
        self._report: asyncio.StreamReader

    @asynccontextmanager
    async def streams(self) -> AsyncIterator[tuple[int, int, int]]:
        """Yield the ends to write to: output, errors, and the guard's report. They are closed here afterwards.

        The pipes are not those of asyncio's Process: there `wait()` waits for them, too, in some versions of Python,
        and a process that the command leaves in the background would keep them open.
        """
        ends: list[int] = []
        try:
            for take, keep in ((self._take_output, False), (_take_nothing, True)):
                reader = await self._pipe(ends)
                self._readers.append(asyncio.create_task(self._read(reader, take, keep=keep)))
            self._report = await self._pipe(ends)
            yield ends[0], ends[1], ends[2]
        except BaseException:
            await self.close(0)
            raise
        finally:
            for end in ends:
                os.close(end)

    async def _pipe(self, ends: list[int]) -> asyncio.StreamReader:
        read, write = os.pipe()
        ends.append(write)
        reader = asyncio.StreamReader(CHUNK)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            partial(asyncio.StreamReaderProtocol, reader), os.fdopen(read, "rb", 0)
        )
        self._transports.append(transport)
        return reader

    async def status(self) -> int | None:
        """Wait until the command has ended; return its status, or None if its guard was killed.

        Raises:
            BuildFailed: the command could not be started.
            OSError: the guard could not do its work.

        """
        line = (await self._report.readline()).decode().strip()
        kind, _, why = line.partition(": ")
        if kind == "start":
            raise BuildFailed(f"The command could not be started: {why}.")
        if kind == "guard":
            raise OSError(why)
        return int(line) if line else None

    async def over(self, process: asyncio.subprocess.Process) -> None:
        """Have the guard end what is left of the command, and wait for that."""
        assert process.stdin is not None  # noqa: S101
        process.stdin.write(b"\n")
        line = asyncio.create_task(self._report.readline())  # it is empty if the guard was killed
        try:
            await asyncio.wait({line}, timeout=guard.DEAD_SECONDS + GUARD_SECONDS)
        finally:
            line.cancel()

    def last_words(self) -> str:
        """Return the last line of standard error that says something."""
        return terminal.last_words(self._errors.decode(errors="replace"))

    async def ended(self, seconds: float) -> None:
        """Wait until all output has been read, but not longer than this."""
        await asyncio.wait(self._readers, timeout=seconds)

    async def close(self, seconds: float) -> None:
        if self._readers:
            await self.ended(seconds)  # a process that could not be killed may hold the pipes open for ever
        for reader in self._readers:
            reader.cancel()
        for transport in self._transports:
            transport.close()

    async def _read(self, reader: asyncio.StreamReader, take: Callable[[bytes], bool], *, keep: bool) -> None:
        """Read lines, or pieces of lines that are too long; log those that `take` does not take."""
        line, begins, shared = b"", True, 0  # of the line that has not ended, so much is shared
        text = codecs.getincrementaldecoder("utf-8")("replace")
        while chunk := await reader.read(CHUNK):
            if keep:
                self._errors = (self._errors + chunk)[-CHUNK:]
            *lines, line = (line + chunk).split(b"\n")
            ended = len(lines)
            if len(line) >= CHUNK:
                lines.append(line)
                line = b""
            pieces, share = [], []
            for number, piece in enumerate(lines):
                # The rest of a line that was cut is not a new line.
                if not (begins and take(piece)):
                    pieces.append(piece)
                    share += [piece[shared:], b"\n" if number < ended else b""]
                begins, shared = number < ended, 0
            # The owner sees a line that has not ended, too, unless it may become a report.
            if line and not (begins and _may_report(line)):
                share.append(line[shared:])
                shared = len(line)
            self._share(text, b"".join(share))
            await self._write(pieces)
        taken = bool(line) and begins and take(line)
        self._share(text, b"" if taken else line[shared:], final=True)
        if line and not taken:
            await self._write([line])

    def _share(self, text: codecs.IncrementalDecoder, piece: bytes, *, final: bool = False) -> None:
        if self._share_log and (decoded := text.decode(piece, final)):
            self._job.state.log.add(decoded)

    def _take_output(self, line: bytes) -> bool:
        """Take a line that reports progress."""
        match = _PROGRESS.fullmatch(line.decode(errors="replace").rstrip("\r"))
        if match is None or int(match[1]) > 100:
            return False
        self._job.report(int(match[1]), match[2])
        return True

    async def _write(self, lines: list[bytes]) -> None:
        if lines:
            text = b"".join(self._prefix + line + b"\n" for line in lines)
            await asyncio.get_running_loop().run_in_executor(self._lines, _write, text)


def _may_report(line: bytes) -> bool:
    """Return whether this line, or the beginning of a line, may report progress."""
    return line[: len(_REPORT)] == _REPORT[: len(line)]


def _take_nothing(_: bytes) -> bool:
    return False


def _write(text: bytes) -> None:
    with contextlib.suppress(OSError):  # the log has no reader any more
        sys.stderr.buffer.write(text)
        sys.stderr.buffer.flush()
