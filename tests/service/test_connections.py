"""The connections to Supabase, over real sockets: lost ones, and what must not pass from one user to another."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from greenlight import upstream
from greenlight.auth import User
from greenlight.errors import Problem
from greenlight.settings import Settings
from greenlight.upstream import Upstream

USER = User("0e37df36-f698-11e6-8dd4-cb9ced3df976", "the-users-token")
SETTINGS = Settings(supabase_url="https://project.supabase.test", supabase_publishable_key="sb_publishable_x")


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Give this answer to every request, then close the connection; and keep what the requests said."""
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", heads


@pytest.mark.anyio
async def test_a_cookie_of_one_answer_is_not_sent_with_another_user_s_request() -> None:
    answer = b"HTTP/1.1 200 OK\r\nset-cookie: seen=ada; path=/\r\ncontent-length: 2\r\n\r\n[]"
    async with answering(answer) as (url, heads):
        settings = SETTINGS.model_copy(update={"supabase_url": url})
        async with upstream.connect() as http:
            for token in ("ada", "bob"):
                assert await Upstream(settings, http, User(str(uuid.uuid4()), token)).plan("p") is None
    assert [b"bearer ada" in head.lower() for head in heads] == [True, False]
    assert [b"bearer bob" in head.lower() for head in heads] == [False, True]
    assert not any(b"cookie" in head.lower() for head in heads)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"", "upstream_unavailable"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n[]", "upstream_unavailable"),
        (b"nothing that one could call HTTP\r\n\r\n", "upstream_error"),
    ],
    ids=["closed", "cut off", "no HTTP"],
)
async def test_a_lost_connection_is_not_taken_for_a_timeout(answer: bytes, code: str) -> None:
    async with answering(answer) as (url, _):
        settings = SETTINGS.model_copy(update={"supabase_url": url})
        async with upstream.connect() as http:
            with pytest.raises(Problem) as caught:
                await Upstream(settings, http, USER).plan("p")
    assert caught.value.code == code
