"""Wraps every request: its id, its log line, its metrics; drains request bodies that were not read."""

import asyncio
import re
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from greenlight import logs
from greenlight.errors import Problem, ProblemResponse
from greenlight.limits import Limits, Share
from greenlight.metrics import Labels, Metrics

REQUEST_ID = "X-Request-ID"
_SAFE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# After an answer to a long body that was not read to its end, this much more of it is read and thrown away
# before the connection closes: closing at once would reset it, and the caller might never see the answer.
LINGER_SECONDS = 2
LINGER_BYTES = 16 * 1024 * 1024


class RequestMiddleware:
    def __init__(self, app: ASGIApp, metrics: Metrics, max_body_bytes: int) -> None:
        self._app = app
        self._metrics = metrics
        self._max_body_bytes = max_body_bytes
        self._limits = Limits()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send, self._max_body_bytes)
        share = scope.setdefault("state", {})["share"] = Share(self._limits)
        started = time.perf_counter()
        self._metrics.in_flight.inc()
        try:
            await self._answer(scope, exchange)
        finally:
            share.end()
            self._metrics.in_flight.dec()
            self._report(scope, exchange, time.perf_counter() - started)

    async def _answer(self, scope: Scope, exchange: "_Exchange") -> None:
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except ClientDisconnect:
            exchange.record.cause = "the caller disconnected before the body had ended"
        except Exception as error:  # noqa: BLE001 -- the last resort: the caller gets an answer to any exception
            exchange.record.cause = cause = logs.describe(error)
            if exchange.status is None:
                problem = Problem("internal_error", "Please report this with the request's id.", cause=cause)
                await ProblemResponse(problem)(scope, exchange.receive, exchange.send)

    def _report(self, scope: Scope, exchange: "_Exchange", seconds: float) -> None:
        record = exchange.record
        method = scope["method"] if scope["method"] in _METHODS else "other"
        matched = scope.get("route")  # None: refused before a route was found, or not a route of FastAPI
        route = matched.path if matched is not None else "none"
        status = exchange.status or 0  # 0: cut off before there was an answer
        self._metrics.observe(Labels(method, route, status, record.code or ""), seconds, record.stages)
        entry = {
            "request_id": record.request_id,
            "method": method,
            "route": route,
            "status": status,
            "code": record.code,
            "user_id": record.user_id,
            "ms": round(seconds * 1000, 2),
            "stages_ms": {name: round(duration * 1000, 2) for name, duration in record.stages.items()},
            "cause": record.cause,
        }
        write = logs.log.info if status < 500 else logs.log.error if status == 500 else logs.log.warning
        write("request", **{name: value for name, value in entry.items() if value not in (None, {})})


class _Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, max_body_bytes: int) -> None:
        headers = Headers(scope=scope)
        given = headers.get(REQUEST_ID, "")
        self.record = logs.begin(given if _SAFE_ID.fullmatch(given) else uuid.uuid4().hex)
        self.status: int | None = None
        self._receive = receive
        self._send = send
        # The server itself reads shorter bodies to their end, and keeps the connection.
        self._body_is_long = (
            "transfer-encoding" in headers or int(headers.get("content-length", 0)) > max_body_bytes
        )
        self._body_ended = False
        self._closes = False

    async def receive(self) -> Message:
        message = await self._receive()
        if not message.get("more_body", False):
            self._body_ended = True
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers[REQUEST_ID] = self.record.request_id
            self._closes = self._body_is_long or headers.get("Connection") == "close"
            if self._closes and not self._body_ended:
                headers["Connection"] = "close"
        elif self._closes and not self._body_ended and not message.get("more_body", False):
            await self._send({**message, "more_body": True})
            await self._discard_body()
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)

    async def _discard_body(self) -> None:
        size = 0
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                while size < LINGER_BYTES and not self._body_ended:
                    size += len((await self.receive()).get("body", b""))
        except TimeoutError:
            pass
