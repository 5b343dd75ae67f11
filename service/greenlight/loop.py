"""What builders and notifiers have in common: they claim work, attend to each piece in a task, and end in order."""

import asyncio
import random
import signal
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Sequence
from typing import Any

import structlog
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    start_http_server,
)

from greenlight import logs
from greenlight.admin import SupabaseError, SupabaseRefusedError

LONGEST_PAUSE = (
    10.0  # between two calls while Supabase is away, or between two looks whether there can be work
)
CHECK_SECONDS = 30.0  # between two of these looks while there is no room for more work
BUCKETS = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14_400)

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Metrics:
    """Metrics for Prometheus of a program, such as a builder, and of its work, such as builds."""

    def __init__(self, program: str, work: str, outcomes: str) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.running = Gauge(f"greenlight_{work}s_running", f"Running {work}s.", registry=registry)
        self.failures = Counter(
            f"greenlight_{program}_call_failures",
            "Calls to Supabase that failed, and are repeated.",
            ("call",),
            registry=registry,
        )
        self.ended = Counter(
            f"greenlight_{work}s_ended", f"Attempts that ended: {outcomes}.", ("outcome",), registry=registry
        )
        self._seconds = Histogram(
            f"greenlight_{work}_seconds",
            f"Time from the claim of a {work} to its end.",
            ("outcome",),
            buckets=BUCKETS,
            registry=registry,
        )

    def observe(self, outcome: str, seconds: float) -> None:
        self.ended.labels(outcome).inc()
        self._seconds.labels(outcome).observe(seconds)

    def serve(self, host: str, port: int) -> None:
        start_http_server(port, host, self.registry)


class Loop(ABC):
    def __init__(self, name: str, concurrency: int, poll_seconds: float, metrics: Metrics) -> None:
        self._name = name
        self._concurrency = concurrency
        self._poll_seconds = poll_seconds
        self.metrics = metrics
        self._tasks: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()
        self._stop_now = asyncio.Event()

    @abstractmethod
    async def _claim(self, free: int) -> Sequence[Coroutine[Any, Any, None]]:
        """Claim at most so many pieces of work; return what attends to each."""

    async def _is_ready(self) -> bool:
        """Return whether work can be done now."""
        return True

    @abstractmethod
    async def _wind_up(self) -> None:
        """End what is under way, after the signal to stop."""

    def stop(self) -> None:
        """Claim nothing more; stop when all work has ended or the grace is over. A second call ends the grace."""
        if self._stop.is_set():
            self._stop_now.set()
        self._stop.set()

    async def run_until_signalled(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self.stop)
        await self.run()

    async def run(self) -> None:
        """Work until told to stop.

        Raises:
            SupabaseRefusedError: the very first claim was refused. After a later refusal the claim is repeated.

        """
        connected = False
        failures = unready = 0
        while not self._stop.is_set():
            # A claim uses up an attempt, so look first: what is claimed and cannot be done cannot be given back.
            if not await self._is_ready():
                unready += 1
                await self._sleep(self._pause(unready))
                continue
            unready = 0
            free = self._concurrency - len(self._tasks)
            if free == 0:
                await self._wait(CHECK_SECONDS)
                continue
            try:
                claimed = await self._claim(free)
            except SupabaseError as error:
                if isinstance(error, SupabaseRefusedError) and not connected:
                    raise
                failures += 1
                self._note_failure("claim", error)
                await self._sleep(self._pause(failures))
                continue
            if failures:
                log.info("supabase_is_back", failures=failures)
            connected, failures = True, 0
            for work in claimed:
                self._begin(work)
            if len(claimed) < free:
                # When a piece of work ends, there is room: claim again at once.
                await self._wait(self._jitter(self._poll_seconds))
        log.info(f"{self._name}_stopping", running=len(self._tasks))  # noqa: G004 -- the name of the event
        await self._wind_up()
        log.info(f"{self._name}_stopped", abandoned=len(self._tasks))  # noqa: G004

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        self.metrics.running.inc()
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.remove(task)
        self.metrics.running.dec()
        log_bug(task)

    # Waiting --------------------------------------------------------------------------------------------

    async def _grace(self, seconds: float) -> None:
        """Wait until all work has ended, the time is over, or a second signal comes."""
        if self._tasks:
            stop_now = asyncio.create_task(self._stop_now.wait())
            ended = asyncio.create_task(asyncio.wait({*self._tasks}))
            await asyncio.wait({stop_now, ended}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            stop_now.cancel()
            ended.cancel()

    async def _wait(self, seconds: float | None) -> None:
        """Wait until a piece of work ends, the signal to stop comes, or the time is over."""
        stop = asyncio.create_task(self._stop.wait())
        await asyncio.wait({stop, *self._tasks}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()

    async def _sleep(self, seconds: float) -> None:
        """Wait until the signal to stop comes, or the time is over."""
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            pass

    def _pause(self, failures: int) -> float:
        return self._jitter(min(LONGEST_PAUSE, self._poll_seconds * 2 ** min(failures, 10)))

    def _jitter(self, seconds: float) -> float:
        """Spread out the calls of programs that started at the same time."""
        return seconds * random.uniform(0.5, 1.5)  # noqa: S311 -- nothing to guess here

    def _note_failure(self, call: str, error: SupabaseError) -> None:
        self.metrics.failures.labels(call).inc()
        level = "error" if isinstance(error, SupabaseRefusedError) else "warning"
        getattr(log, level)("supabase_failed", call=call, cause=str(error))


def log_bug(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("internal_error", cause=logs.describe(error))
