"""One attempt at a build, as the function that builds sees it."""

import asyncio
import io
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from greenlight.builder import terminal

# In code points. The database cuts what is longer.
MESSAGE_LENGTH = 500
LOG_LENGTH = 65_536

_HALVES = re.compile("[\ud800-\udfff]")  # of surrogate pairs


class BuildFailed(Exception):  # noqa: N818 -- named after the status that it leads to
    """Raise this to fail a build with a message for the agent's owner.

    With `retry` the build is queued again, until its last attempt; without, the agent is failed for good.
    """

    def __init__(self, message: str, *, retry: bool = True) -> None:
        super().__init__(message)
        self.message = clean(message)
        self.retry = retry


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to build, and how to report on it.

    `document` is the plan as the user approved it, its SHA-256 verified. `comment` is the note that came with the
    approval; `comments` are those on passages, each with `start`, `end`, `exact` and `body`. `build_id` and `attempt`
    together name this attempt: use them as the id of whatever must happen only once.
    """

    build_id: str
    attempt: int
    agent_id: str
    plan_id: str
    user_id: str
    session_id: str
    version: int
    title: str = field(repr=False)
    document_sha256: str
    document: bytes = field(repr=False)
    comment: str | None = field(default=None, repr=False)
    comments: list[dict[str, Any]] | None = field(default=None, repr=False)
    team_id: str | None = None
    state: "State" = field(repr=False)

    def report(self, progress: int | None = None, message: str | None = None) -> None:
        """Show the build's progress to the agent's owner. Returns at once, and may be called from any thread.

        `progress` is 0 to 100; what is left out stays as it is. Reports are sent at most twice a second, the last
        one always.
        """
        if progress is not None and not 0 <= progress <= 100:
            raise ValueError(f"progress must be from 0 to 100, not {progress}")
        report = (progress, clean(message) or None if message else None)
        self.state.loop.call_soon_threadsafe(self.state.add, *report)

    def log(self, text: str) -> None:
        """Write a line, or several, that the agent's owner sees. Returns at once, and may be called from any thread.

        The last 65,536 characters of an attempt are kept; while it runs, the last 16,384, sent every 30 seconds.
        """
        self.state.log.add(text if text.endswith("\n") else f"{text}\n")

    @property
    def cancelled(self) -> bool:
        """Whether this attempt is over: its build was lost, or the builder stops.

        The build function is cancelled at the same moment. Code that cannot be cancelled, such as a
        thread, checks this.
        """
        return self.state.cancelled


class State:
    """What the builder and the build function of one attempt tell each other."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.cancelled = False
        self.news = asyncio.Event()  # there is a report, or the first line of the log since it was taken
        self.log = Log(lambda: self.loop.call_soon_threadsafe(self.news.set))
        self._progress: int | None = None
        self._message: str | None = None

    @property
    def reported(self) -> bool:
        return (self._progress, self._message) != (None, None)

    def add(self, progress: int | None, message: str | None) -> None:
        self._progress = self._progress if progress is None else progress
        self._message = message or self._message
        self.news.set()

    def take(self) -> tuple[int | None, str | None]:
        """Return what has been reported since the last time."""
        report = (self._progress, self._message)
        self._progress = self._message = None
        return report

    def give_back(self, progress: int | None, message: str | None) -> None:
        """Keep a report that could not be sent, unless a newer one has replaced it."""
        newer = self.take()
        report = (progress if newer[0] is None else newer[0], newer[1] or message)
        if report != (None, None):
            self.add(*report)


class Log:
    """The end of what an attempt wrote. However much that is, not much more is kept than can be sent."""

    def __init__(self, changed: Callable[[], object]) -> None:
        """Make a log that calls `changed` at the first change, and at the first after each `take`."""
        self.changed = False
        self._tell = changed
        self._text = io.StringIO()
        self._lock = threading.Lock()

    def add(self, text: str) -> None:
        """Add a text, from any thread, without what cannot be stored."""
        with self._lock:
            kept = text[-2 * LOG_LENGTH :].replace(
                "\0", "\ufffd"
            )  # in a pattern, a flood of it would take long
            self._text.write(_HALVES.sub("\ufffd", kept))
            if self._text.tell() > 4 * LOG_LENGTH:
                kept = self._text.getvalue()[-2 * LOG_LENGTH :]
                self._text = io.StringIO()
                self._text.write(kept)
            tell, self.changed = not self.changed, True
        if tell:
            self._tell()

    def take(self, length: int = LOG_LENGTH) -> str | None:
        """Return so much of its end; None while it is empty."""
        with self._lock:
            self.changed = False
            return terminal.tail(self._text.getvalue(), length) or None


def clean(message: str) -> str:
    """Return a message as it can be stored and shown: one line, as a terminal would show it, not too long."""
    text = message.encode(errors="replace").decode()  # half of a surrogate pair cannot be sent
    return " ".join(map(terminal.shown, text.split("\n"))).strip()[:MESSAGE_LENGTH]
