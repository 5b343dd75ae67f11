"""Claims notifications and sends each, until it is told to stop.

A notification that was sent and could not be finished is sent again when its lease has ended: by this notifier, or
another one of the same subscriber. So each arrives at least once.
"""

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

import structlog

from greenlight.admin import SupabaseRefusedError, SupabaseUnavailableError, SupabaseUnreadableError
from greenlight.loop import Loop, Metrics
from greenlight.notify.outbox import KINDS, Notification, Outbox
from greenlight.notify.targets import SendFailed, Target

LEASE_SECONDS = 60
GRACE_SECONDS = 25.0  # after the signal to stop: for a request, and the call that finishes it
ENDING_SECONDS = 5.0  # for what was cancelled

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Options:
    subscriber: str
    kinds: tuple[str, ...] = KINDS
    concurrency: int = 4
    poll_seconds: float = 1.0


class Notifier(Loop):
    def __init__(self, target: Target, outbox: Outbox, options: Options, metrics: Metrics) -> None:
        super().__init__("notifier", options.concurrency, options.poll_seconds, metrics)
        self._target = target
        self._outbox = outbox
        self._options = options
        self._subscribed = False
        self._careful_until = 0.0

    async def _claim(self, free: int) -> list[Coroutine[Any, Any, None]]:
        began = time.monotonic()
        most = free if began >= self._careful_until else 1
        try:
            claimed = await self._outbox.claim(self._options.subscriber, most, LEASE_SECONDS)
        except SupabaseUnreadableError:
            # The answer is read as a whole, and the result of one may be too deep, or have a number of 5,000 digits.
            # All come again when their lease has ended: then each by itself, so that the others are sent.
            self._careful_until = time.monotonic() + 2 * LEASE_SECONDS
            raise
        if not self._subscribed:
            self._subscribed = True
            log.info("notifier_subscribed", subscriber=self._options.subscriber)
        return [self._attend(notification, began) for notification in claimed]

    async def _attend(self, notification: Notification, claimed_at: float) -> None:
        failure = None
        outcome = "unwanted"
        if notification.kind in self._options.kinds:
            try:
                outcome = "sent" if await self._target.send(notification) else "unaddressed"
            except SendFailed as error:
                failure = error
                outcome = "retried" if error.retry else "failed"
        if (settled := await self._settle(notification, failure, claimed_at)) is not None:
            outcome = settled
        seconds = time.monotonic() - claimed_at
        self.metrics.observe(outcome, seconds)
        log.info(
            "notification_ended",
            notification_id=notification.notification_id,
            event_id=notification.event_id,
            kind=notification.kind,
            attempt=notification.attempt,
            outcome=outcome,
            cause=failure and failure.cause,
            seconds=round(seconds, 3),
        )

    async def _settle(
        self, notification: Notification, failure: SendFailed | None, claimed_at: float
    ) -> str | None:
        """Tell the database how it ended, as long as the lease lasts; return why it does not know, if it does not."""
        failures = 0
        while True:
            try:
                if failure is None:
                    known = await self._outbox.finish(notification)
                else:
                    known = await self._outbox.fail(
                        notification, failure.cause, retry=failure.retry, retry_seconds=failure.retry_seconds
                    )
            except SupabaseRefusedError as error:
                self._note_failure("settle", error)
                return "unsettled"
            except SupabaseUnavailableError as error:
                failures += 1
                self._note_failure("settle", error)
                pause = self._pause(failures)
                if time.monotonic() + pause > claimed_at + LEASE_SECONDS:
                    return "unsettled"
                await asyncio.sleep(pause)
            else:
                return None if known else "lost"

    async def _wind_up(self) -> None:
        await self._grace(GRACE_SECONDS)
        for task in (abandoned := {*self._tasks}):
            task.cancel()
        if abandoned:
            await asyncio.wait(abandoned, timeout=ENDING_SECONDS)
