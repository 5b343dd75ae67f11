"""One user against all: what they may have under way, and that the others do not notice."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit

import psutil
import pytest

from greenlight.limits import MIB, Limits
from tests.caller import Caller
from tests.conftest import RunningStack
from tests.plan import new_session
from tests.services import Process, ServiceWith

pytestmark = pytest.mark.anyio
VERSION = "2026-07-28"
EACH = Limits().requests._each
WAITS = Limits().waits._each
BODIES = Limits().body_bytes._each


@pytest.fixture(scope="module")
def own(service_with: ServiceWith) -> Process:
    return service_with(MCP="true", SERVICE_URL="http://service.test")


class Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self.answer = asyncio.create_task(self._first_answer())

    async def _first_answer(self) -> tuple[int, str]:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
        return int(head.split()[1]), head

    async def body(self) -> bytes:
        head = (await self.answer)[1]
        return await self._reader.readexactly(int(head.partition("content-length: ")[2].split()[0]))

    async def send(self, data: bytes) -> None:
        try:
            self.writer.write(data)
            await self.writer.drain()
        except ConnectionError:
            pass  # it was refused meanwhile


@asynccontextmanager
async def connections(
    own: Process, caller: Caller, count: int, size: int, path: str = "/plan/approve"
) -> AsyncIterator[list[Connection]]:
    """Open requests that declare a body of this size and have not sent any of it."""
    address = urlsplit(own.url)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: service.test\r\nAuthorization: Bearer {caller.token}\r\n"
        "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
        f"MCP-Protocol-Version: {VERSION}\r\nMcp-Method: tools/call\r\nMcp-Name: get_decision\r\n"
        f"Content-Length: {size}\r\n\r\n"
    )
    async with AsyncExitStack() as stack:
        opened = []
        for _ in range(count):
            reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=MIB)
            connection = Connection(reader, writer)
            stack.callback(writer.close)
            stack.callback(connection.answer.cancel)
            await connection.send(head.encode())
            opened.append(connection)
        yield opened


def answered(opened: list[Connection]) -> list[tuple[int, str]]:
    return [connection.answer.result() for connection in opened if connection.answer.done()]


async def until_answered(opened: list[Connection], count: int) -> list[tuple[int, str]]:
    async with asyncio.timeout(60):
        while len(answered(opened)) < count:
            await asyncio.wait(
                [c.answer for c in opened if not c.answer.done()], return_when="FIRST_COMPLETED"
            )
    return answered(opened)


async def approves(own: Process, caller: Caller) -> None:
    async with connections(own, caller, 1, 0) as (asked,):
        # An empty body: refused as such, and not because of others.
        assert (await asked.answer)[0] == 422


async def approves_again(own: Process, caller: Caller) -> None:
    """Wait until the service has noticed that the connections of this user are gone."""
    async with asyncio.timeout(60):
        while True:
            async with connections(own, caller, 1, 0) as (asked,):
                if (await asked.answer)[0] == 422:
                    return


async def test_requests_whose_last_byte_does_not_come(own: Process, user: Caller, stranger: Caller) -> None:
    async with connections(own, user, EACH + 20, 1000) as opened:
        refused = await until_answered(opened, 20)
        assert {status for status, _ in refused} == {503}
        assert all("retry-after: 2" in head for _, head in refused)
        await approves(own, stranger)
        assert len(answered(opened)) == 20
    await approves_again(own, user)


@pytest.mark.parametrize("path", ["/plan/approve", "/plan/propose", "/mcp"])
async def test_large_bodies_whose_last_byte_does_not_come(
    own: Process, user: Caller, stranger: Caller, path: str
) -> None:
    size = 6 * MIB
    memory = psutil.Process(own.pid).memory_info
    before = memory().rss
    count = BODIES // size + 15
    async with connections(own, user, count, size, path) as opened:
        await asyncio.gather(*(connection.send(b" " * (size - 1)) for connection in opened))
        refused = await until_answered(opened, 15)
        assert {status for status, _ in refused} == {503}
        assert all("retry-after: 2" in head for _, head in refused)
        await approves(own, stranger)
        assert memory().rss - before < 2 * BODIES
    await approves_again(own, user)


async def test_waits_beyond_the_limit_do_not_wait(
    stack: RunningStack, own: Process, user: Caller, stranger: Caller
) -> None:
    meta = {
        "io.modelcontextprotocol/protocolVersion": VERSION,
        "io.modelcontextprotocol/clientCapabilities": {},
    }

    def wait(caller: Caller) -> bytes:
        session = new_session()
        caller.proposed(plan_id=session)
        arguments = {"session_id": session, "version": 1, "wait_seconds": 45}
        call = {"name": "get_decision", "arguments": arguments, "_meta": meta}
        return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}).encode()

    body = wait(user)
    async with connections(own, user, WAITS + 5, len(body), "/mcp") as opened:
        for connection in opened:
            await connection.send(body)
        at_once = await until_answered(opened, 5)
        assert {status for status, _ in at_once} == {200}
        (quick,) = [c for c in opened if c.answer.done()][:1]
        decision = json.loads(await quick.body())["result"]["structuredContent"]
        assert decision["status"] == "proposed"
        assert "call get_decision again in a minute" in decision["next_step"]

        # Another user's waits wait, and this one's other requests are not counted among them.
        other = wait(stranger)
        async with connections(own, stranger, 1, len(other), "/mcp") as (waiting,):
            await waiting.send(other)
            await approves(own, stranger)
            await approves(own, user)
            assert not waiting.answer.done()
        assert len(answered(opened)) == 5
