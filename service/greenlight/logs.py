"""All log records share one JSON format, on stdout; each request is one line.

Only the fields of `Record` are written. Tokens, documents, titles, paths and query strings are not among
them. Exceptions are logged as type and location only, because a message may quote such data.
"""

import logging
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import structlog


@dataclass
class Record:
    """What the log line and the metrics need to know about the current request."""

    request_id: str
    user_id: str | None = None
    code: str | None = None
    stages: dict[str, float] = field(default_factory=dict)  # seconds
    upstream_status: int | None = None  # of the upstream answer that came last
    cause: str | None = None  # the reason for an upstream_* or internal error


_record: ContextVar[Record] = ContextVar("record")
log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


def begin(request_id: str) -> Record:
    record = Record(request_id)
    _record.set(record)
    return record


def current() -> Record:
    try:
        return _record.get()
    except LookupError:  # outside of a request: at start, in a refresh of the keys
        return Record(request_id="")


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Add the time that the block takes to the request's stage of that name."""
    stages = current().stages
    started = time.perf_counter()
    try:
        yield
    finally:
        stages[name] = stages.get(name, 0.0) + time.perf_counter() - started


def describe(error: BaseException) -> str:
    """Return type and place of an exception and of its causes, without their messages."""
    parts = []
    chained: BaseException | None = error
    while chained is not None:
        frames = traceback.extract_tb(chained.__traceback__)
        place = f" at {frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else ""
        parts.append(f"{type(chained).__qualname__}{place}")
        chained = chained.__cause__ or chained.__context__
    return " < ".join(parts)


def configure(level: str) -> None:
    shared: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(sys.stdout),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name, _place_only],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    # Other libraries' debug lines quote what they carry: sse_starlette 3 writes out each answer of /mcp.
    logging.basicConfig(
        handlers=[handler], level=max(logging.INFO, logging.getLevelName(level.upper())), force=True
    )
    logging.captureWarnings(capture=True)
    # Both name full addresses: document paths, and signed URLs with their tokens.
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _place_only(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    info = event.pop("exc_info", None)
    error = info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        event["cause"] = describe(error)
        # asyncio and uvicorn put the traceback into the text as well.
        event["event"] = str(event["event"]).partition("\n")[0]
    return event
