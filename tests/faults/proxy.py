"""A proxy between the service and Supabase that changes calls in the way that a test asks for."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from tests.conftest import RunningStack

CALLS = ("upload", "sign", "rpc")


@dataclass(frozen=True)
class Message:
    """One HTTP request or response, as its bytes."""

    head: bytes
    body: bytes

    @property
    def start(self) -> list[str]:
        return self.head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)

    def header(self, name: str) -> str | None:
        for line in self.head.split(b"\r\n")[1:]:
            key, _, value = line.decode("latin-1").partition(":")
            if key.lower() == name:
                return value.strip()
        return None

    def with_header(self, name: str, value: str) -> "Message":
        lines = self.head.split(b"\r\n")
        kept = [line for line in lines if not line.lower().startswith(f"{name}:".encode())]
        kept.insert(1, f"{name}: {value}".encode())
        return Message(b"\r\n".join(kept), self.body)


def answer(
    status: int, body: bytes = b'{"message":"from the proxy"}', kind: str = "application/json"
) -> Message:
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return Message(head.encode(), body)


def call_of(request: Message) -> str:
    """Name the call as the service's stages do, or after the function or the table that it is for."""
    method, path, _ = request.start
    for name, its_method, prefix in (
        ("upload", "POST", "/storage/v1/object/plans/"),
        ("sign", "POST", "/storage/v1/object/sign/plans/"),
        ("rpc", "POST", "/rest/v1/rpc/approve_plan"),
        ("rpc", "POST", "/rest/v1/rpc/propose_plan"),
        ("remove", "DELETE", "/storage/v1/object/plans"),
        ("keys", "GET", "/auth/v1/.well-known/jwks.json"),
    ):
        if method == its_method and path.startswith(prefix):
            return name
    if path.startswith("/rest/v1/"):
        return path.partition("?")[0].rsplit("/", 1)[-1]
    return "other"


async def read_message(reader: asyncio.StreamReader) -> Message | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        message = Message(head, b"")
        if (message.header("transfer-encoding") or "").lower() != "chunked":
            return Message(head, await reader.readexactly(int(message.header("content-length") or 0)))
        body = b""
        while not body.endswith(b"\r\n0\r\n\r\n") and body != b"0\r\n\r\n":
            size = await reader.readuntil(b"\r\n")
            body += size + await reader.readexactly(int(size, 16) + 2)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    return Message(head, body)


class Exchange:
    """One call on its way: a handler forwards it or not, answers it or not, or breaks the connection."""

    def __init__(
        self, proxy: "Proxy", request: Message, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.request = request
        self.call = call_of(request)
        self._proxy = proxy
        self._reader = reader
        self.writer = writer

    async def forward(self, request: Message | None = None) -> Message:
        return await self._proxy.ask(request or self.request)

    async def reply(self, message: Message) -> None:
        with contextlib.suppress(ConnectionError):
            self.writer.write(message.head + message.body)
            await self.writer.drain()

    async def reply_half(self, message: Message) -> None:
        """Send the head and half of the body, and close the connection."""
        await self.reply(Message(message.head, message.body[: len(message.body) // 2]))
        self.writer.close()

    def reset(self) -> None:
        """Break the connection with a TCP reset."""
        connection = self.writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def hang(self) -> None:
        """Say nothing more until the other side gives up."""
        with contextlib.suppress(ConnectionError):
            while await self._reader.read(65536):
                pass
        self.writer.close()


Handler = Callable[[Exchange], Awaitable[None]]


async def pass_on(exchange: Exchange) -> None:
    await exchange.reply(await exchange.forward())


class Proxy:
    """Serves on a port of its own; `handlers` says by name of the call who deals with it, once or always."""

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        self._upstream = (str(parts.hostname), parts.port or 80)
        self._server: asyncio.Server | None = None
        self._port = 0
        self._connections: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.handlers: dict[str, Handler] = {}
        self.latency = 0.0  # seconds, before each call is passed on
        self.seen: list[Message] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.refuse()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        for _, writer in self._idle:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for _, writer in self._idle), return_exceptions=True)

    async def listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port, backlog=512)
            self._port = self._server.sockets[0].getsockname()[1]

    def refuse(self, but: asyncio.StreamWriter | None = None) -> None:
        """Refuse connections from now on, and end those that there are, but one."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._writers:
            if writer is not but:
                writer.close()

    async def heal(self) -> None:
        """Pass everything on again."""
        self.handlers.clear()
        self.latency = 0.0
        self.seen.clear()
        await self.listen()

    def once(self, call: str, handler: Handler) -> asyncio.Event:
        """Have the next such call dealt with by this handler; the event tells when it is done with it."""
        done = asyncio.Event()

        async def only_now(exchange: Exchange) -> None:
            del self.handlers[call]
            try:
                await handler(exchange)
            finally:
                done.set()

        self.handlers[call] = only_now
        return done

    async def ask(self, request: Message) -> Message:
        """Send it to Supabase and return the answer."""
        while True:
            fresh = not self._idle
            reader, writer = await asyncio.open_connection(*self._upstream) if fresh else self._idle.pop()
            try:
                writer.write(request.head + request.body)
                await writer.drain()
                response = await read_message(reader)
            except ConnectionError:
                response = None
            except asyncio.CancelledError:
                writer.close()
                raise
            if response is not None:
                self._idle.append((reader, writer))
                return response
            writer.close()
            if fresh:
                raise ConnectionResetError

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server is None:  # it came just before refuse()
            writer.transport.abort()
            return

        # Not in _serve: a task that is cancelled before its first step runs none of its lines.
        def ended(task: asyncio.Task[None]) -> None:
            self._connections.discard(task)
            self._writers.discard(writer)
            writer.close()

        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._connections.add(task)
        self._writers.add(writer)
        task.add_done_callback(ended)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while not writer.is_closing() and (request := await read_message(reader)):
                self.seen.append(request)
                exchange = Exchange(self, request, reader, writer)
                await asyncio.sleep(self.latency)
                try:
                    await self.handlers.get(exchange.call, pass_on)(exchange)
                except ConnectionError:  # Supabase has stopped, and so has this connection
                    exchange.reset()
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


def behind(proxy: Proxy, stack: RunningStack, **settings: str) -> dict[str, str]:
    """Return the settings of a service that reaches Supabase through the proxy."""
    return {
        "SUPABASE_URL": proxy.url,
        "SUPABASE_PUBLISHABLE_KEY": stack.publishable_key,
        "SUPABASE_JWT_ISSUER": f"{stack.supabase_url}/auth/v1",
        **settings,
    }
