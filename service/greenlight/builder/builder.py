"""Claims builds and runs a build function for each, until it is told to stop.

Three tasks share one attempt: the build function, the one that renews its lease, and the one that waits for both and
tells the database how it ended. The database alone decides who holds a build. A lease that has ended is no reason to
stop: as long as no other builder has claimed the build, it can still be renewed and finished. Time is measured by the
monotonic clock, from the moment a claim is sent: the wall clock of this machine may be wrong.
"""

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import structlog

from greenlight import MAX_DOCUMENT_BYTES, logs
from greenlight.admin import SupabaseError, SupabaseRefusedError, SupabaseUnavailableError
from greenlight.builder import result
from greenlight.builder.job import BuildFailed, Job, State
from greenlight.builder.metrics import Metrics
from greenlight.builder.queue import Claim, LeaseLostError, Queue, ResultRefusedError
from greenlight.loop import CHECK_SECONDS, LONGEST_PAUSE, Loop, log_bug

BuildFunction = Callable[[Job], Awaitable[dict[str, Any] | None]]

SILENT_SECONDS = 60.0  # that a healthy builder may take longer than it should from one look to the next
REPORT_SECONDS = 0.5  # between two reports of one build
FIRST_LOG_SECONDS = 2.0  # from the claim to the first part of the log
LOG_SECONDS = 30.0  # between two parts of the log
LIVE_LOG_LENGTH = 16_384  # code points of the log that are sent while the build runs
DOWNLOAD_SECONDS = 30.0  # for a document, with repeats
ENDING_SECONDS = 15.0  # for a build function that was cancelled
HAND_BACK_SECONDS = 10.0  # for the last call about a build when the builder stops

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Options:
    concurrency: int = 1
    poll_seconds: float = 0.75
    lease_seconds: int = 60
    grace: float = 20.0
    worker: str = "builder"

    def __post_init__(self) -> None:
        for name, low, high in (
            ("concurrency", 1, 100),
            ("poll_seconds", 0.05, 3600),
            ("lease_seconds", 5, 3600),
            ("grace", 0, 86_400),
        ):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} must be from {low} to {high}.")


@dataclass(eq=False)
class Attempt:
    """One claimed build, and its state."""

    claim: Claim
    claimed_at: float
    state: State = field(default_factory=State)
    log_due: float = field(init=False)
    work: asyncio.Task[dict[str, Any] | None] | None = None
    renewing: asyncio.Lock = field(default_factory=asyncio.Lock)
    lost: bool = False
    stopped: bool = False
    given_up: asyncio.Event = field(default_factory=asyncio.Event)  # the build function does not end

    def __post_init__(self) -> None:
        self.log_due = self.claimed_at + FIRST_LOG_SECONDS

    def end(self) -> None:
        """Cancel the build function, but only once: it may need time to clean up."""
        if self.work is not None and not self.state.cancelled:
            self.state.cancelled = True
            self.work.cancel()


class Builder(Loop):
    def __init__(
        self,
        build: BuildFunction,
        queue: Queue,
        options: Options,
        metrics: Metrics,
        ready: Callable[[float], None] | None = None,
    ) -> None:
        """Make a builder; while `ready`, called before each claim, raises OSError, it claims nothing."""
        super().__init__("builder", options.concurrency, options.poll_seconds, metrics)
        self.metrics: Metrics = metrics
        self._build = build
        self._ready = ready
        self._unready: str | None = None  # why
        self._queue = queue
        self._options = options
        self._attempts: set[Attempt] = set()

    async def run(self) -> None:
        log.info("builder_started", worker=self._options.worker, concurrency=self._options.concurrency)
        await super().run()

    async def _claim(self, free: int) -> list[Coroutine[Any, Any, None]]:
        began = time.monotonic()
        claims = await self._queue.claim(self._options.worker, free, self._options.lease_seconds)
        return [self._attend(Attempt(claim, began)) for claim in claims]

    async def _is_ready(self) -> bool:
        """Return whether builds can be worked on; log it when that, or the cause, changes."""
        why = None
        if self._ready is not None:
            next_look = max(self._options.poll_seconds, LONGEST_PAUSE, CHECK_SECONDS) * 1.5
            try:
                await asyncio.to_thread(self._ready, next_look + SILENT_SECONDS)
            except OSError as error:
                why = str(error)
        if why is not None and why != self._unready:
            log.error("builder_cannot_work", cause=why, running=len(self._attempts))
        elif why is None and self._unready is not None:
            log.info("builder_works_again")
        self._unready = why
        self.metrics.ready.set(why is None)
        return why is None

    # One attempt ----------------------------------------------------------------------------------------

    async def _attend(self, attempt: Attempt) -> None:
        """Run the build function, keep the lease, and tell the database how it ended."""
        self._attempts.add(attempt)
        claim = attempt.claim
        began = time.monotonic()
        bound = {"build_id": claim.build_id, "attempt": claim.attempt, "agent_id": claim.agent_id}
        log.info("build_claimed", **bound)
        if self._stop.is_set():  # the claim was under way when the signal came
            attempt.stopped = True
        else:
            await self._work(attempt)
        failure = _failure(attempt)
        outcome = await self._settle(attempt, failure)
        seconds = time.monotonic() - began
        self.metrics.observe(outcome, seconds)
        log.info("build_ended", **bound, outcome=outcome, seconds=round(seconds, 3))
        self._attempts.remove(attempt)

    async def _work(self, attempt: Attempt) -> None:
        """Run the build function, and renew the lease for as long."""
        attempt.work = asyncio.create_task(self._perform(attempt))
        keep = asyncio.create_task(self._keep(attempt))
        keep.add_done_callback(log_bug)
        given_up = asyncio.create_task(attempt.given_up.wait())
        await asyncio.wait({attempt.work, given_up}, return_when=asyncio.FIRST_COMPLETED)
        given_up.cancel()
        # Let a running renewal finish; otherwise its older report could overwrite the final one.
        async with attempt.renewing:
            keep.cancel()

    async def _perform(self, attempt: Attempt) -> dict[str, Any] | None:
        claim = attempt.claim
        # Twice, because the first answer may be an error page of a gateway, with the status 200.
        for _ in range(2):
            document = await self._document(claim)
            digest = hashlib.sha256(document).hexdigest()
            if digest == claim.document_sha256:
                break
        else:
            if len(document) > MAX_DOCUMENT_BYTES:
                raise BuildFailed(
                    f"The stored document is not the approved one: it has more than {MAX_DOCUMENT_BYTES:,} bytes.",
                    retry=False,
                )
            raise BuildFailed(
                f"The stored document is not the approved one: its SHA-256 is {digest}, not {claim.document_sha256}.",
                retry=False,
            )
        job = Job(**claim.model_dump(exclude={"document_path"}), document=document, state=attempt.state)
        made = await self._build(job)
        return None if made is None else result.check(made)

    async def _document(self, claim: Claim) -> bytes:
        failures = 0
        deadline = time.monotonic() + DOWNLOAD_SECONDS
        while True:
            try:
                return await self._queue.download(claim)
            except SupabaseRefusedError as error:
                raise BuildFailed(f"The document could not be read: {error}") from error
            except SupabaseUnavailableError as error:
                failures += 1
                self._note_failure("download", error)
                pause = self._pause(failures)
                if time.monotonic() + pause > deadline:
                    raise BuildFailed("The document could not be read: Storage did not answer.") from error
                await asyncio.sleep(pause)

    async def _keep(self, attempt: Attempt) -> None:
        """Renew the lease in good time, and send reports; end the build function when the build is lost."""
        third = self._options.lease_seconds / 3
        due = attempt.claimed_at + third
        while True:
            await self._news(attempt, due)
            began = time.monotonic()
            try:
                await self._report(attempt)
            except SupabaseError as error:
                self._note_failure("renew", error)
                await asyncio.sleep(self._jitter(min(third / 2, 5)))
                continue
            except LeaseLostError as error:
                log.info(
                    "build_lost",
                    build_id=attempt.claim.build_id,
                    attempt=attempt.claim.attempt,
                    why=str(error),
                )
                attempt.lost = True
                attempt.end()
                return
            due = began + third
            await asyncio.sleep(REPORT_SECONDS)

    async def _news(self, attempt: Attempt, due: float) -> None:
        """Wait for a report, or for the log when it is due, but not longer than until then."""
        state = attempt.state
        while not state.reported:
            state.news.clear()
            until = min(due, attempt.log_due) if state.log.changed else due
            if time.monotonic() >= until:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(until - time.monotonic()):
                    await state.news.wait()

    async def _report(self, attempt: Attempt) -> None:
        async with attempt.renewing:
            state, began = attempt.state, time.monotonic()
            report = state.take()
            part = None
            if state.log.changed and began >= attempt.log_due:
                part = state.log.take(LIVE_LOG_LENGTH)
            try:
                await self._queue.renew(attempt.claim, self._options.lease_seconds, *report, part)
            except BaseException:
                state.give_back(*report)
                state.log.changed = state.log.changed or part is not None
                raise
            if part is not None:
                attempt.log_due = began + LOG_SECONDS

    async def _settle(self, attempt: Attempt, failure: BuildFailed | None) -> str:
        """Tell the database how the attempt ended, until it answers; return the outcome."""
        claim = attempt.claim
        made = attempt.work.result() if attempt.work is not None and failure is None else None
        written = attempt.state.log.take()
        failures = 0
        while not attempt.lost:
            try:
                if attempt.state.reported:
                    await self._report(attempt)
                if failure is not None:
                    again = await self._queue.fail(claim, failure.message, retry=failure.retry, log=written)
                    return "stopped" if attempt.stopped else "retried" if again else "failed"
                await self._queue.finish(claim, made, written)
            except ResultRefusedError as error:
                failure = BuildFailed(f"The result was refused: {error}", retry=False)
            except LeaseLostError as error:
                log.info("build_lost", build_id=claim.build_id, attempt=claim.attempt, why=str(error))
                break
            except SupabaseRefusedError as error:
                # The result cannot be reported. The lease ends, and the build is claimed again.
                self._note_failure("settle", error)
                return "unsettled"
            except SupabaseUnavailableError as error:
                failures += 1
                self._note_failure("settle", error)
                await asyncio.sleep(self._pause(failures))
            else:
                return "succeeded"
        return "lost"

    # Stopping -------------------------------------------------------------------------------------------

    async def _wind_up(self) -> None:
        await self._grace(self._options.grace)
        ending = {attempt.work: attempt for attempt in self._attempts if attempt.work is not None}
        for work, attempt in ending.items():
            if not work.done():
                attempt.stopped = True
                attempt.end()
        if ending:
            await asyncio.wait({*ending}, timeout=ENDING_SECONDS)
        for attempt in ending.values():
            attempt.given_up.set()
        if self._tasks:
            await asyncio.wait({*self._tasks}, timeout=HAND_BACK_SECONDS)


def _failure(attempt: Attempt) -> BuildFailed | None:
    """Return how the attempt failed, or None if the build function did its work."""
    work = attempt.work
    error = work.exception() if work is not None and work.done() and not work.cancelled() else None
    if work is not None and work.done() and not work.cancelled() and error is None:
        return None
    if attempt.stopped:
        return BuildFailed("the builder was stopped")
    if error is None:
        return BuildFailed("The build was cancelled.")
    if isinstance(error, BuildFailed):
        return error
    log.error("build_function_failed", cause=logs.describe(error))
    return BuildFailed(f"{type(error).__name__}: {error}")
