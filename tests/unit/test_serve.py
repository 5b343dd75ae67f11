"""A connection on which the head of a request does not end."""

import asyncio

import pytest
import uvicorn
from uvicorn.server import ServerState

from greenlight import serve

pytestmark = pytest.mark.anyio
GOOD = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Transport(asyncio.Transport):
    """Tells when it was aborted or closed."""

    def __init__(self) -> None:
        super().__init__()
        self.aborted = asyncio.Event()
        self.closed = False

    def abort(self) -> None:
        self.aborted.set()

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def write(self, data: object) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


async def connected(monkeypatch: pytest.MonkeyPatch, seconds: float) -> tuple[serve.Protocol, Transport]:
    monkeypatch.setattr(serve, "KEEP_ALIVE_SECONDS", seconds)
    config = uvicorn.Config(lambda _: None, http=serve.Protocol, lifespan="off")
    protocol = serve.Protocol(config, ServerState(), {})
    monkeypatch.setattr(protocol, "_start_asgi_task", lambda *_: None)
    transport = Transport()
    protocol.connection_made(transport)
    return protocol, transport


@pytest.mark.parametrize("sent", [[], [b"GET"], [b"GET / HTTP/1.1\r\nHost:"], [GOOD + b"GET / HT"]])
async def test_is_closed_after_a_while(monkeypatch: pytest.MonkeyPatch, sent: list[bytes]) -> None:
    protocol, transport = await connected(monkeypatch, 0.01)
    for data in sent:
        protocol.data_received(data)
    async with asyncio.timeout(30):
        await transport.aborted.wait()


async def test_one_whose_head_has_ended_is_left_to_the_application(monkeypatch: pytest.MonkeyPatch) -> None:
    protocol, transport = await connected(monkeypatch, 0)
    protocol.data_received(GOOD)
    for _ in range(5):
        await asyncio.sleep(0)
    assert not transport.aborted.is_set()


async def test_bodies_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    protocol, transport = await connected(monkeypatch, 60)
    length = 10 * serve.MAX_HEAD_BYTES
    protocol.data_received(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % length)
    protocol.data_received(b"a" * length)
    protocol.data_received(GOOD + b"GET / HT")
    protocol.data_received(b"TP/1.1\r\n\r\n")
    assert not transport.closed
    protocol.data_received(b"GET /" + b"a" * serve.MAX_HEAD_BYTES)
    protocol.data_received(b"a" * serve.MAX_HEAD_BYTES + b"a")
    assert transport.closed
    protocol.connection_lost(None)
