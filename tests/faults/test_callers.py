"""Callers who go away, ask twice, and ask two services at once."""

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.caller import Caller
from tests.conftest import RunningStack
from tests.faults.promise import approve, approve_until_done, assert_one_of_each, orphans, requests
from tests.faults.proxy import CALLS, Exchange, Proxy, behind, pass_on
from tests.plan import body, encode
from tests.services import Process, running_service


@pytest.fixture(scope="module")
def neighbour(
    proxy: Proxy, stack: RunningStack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Process]:
    """Yield a second service, with nothing in common with the first but Supabase."""
    with running_service(tmp_path_factory.mktemp("neighbour"), **behind(proxy, stack)) as process:
        yield process


async def connect(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    address = urlsplit(url)
    return await asyncio.open_connection(address.hostname, address.port)


def raw(token: str, content: bytes) -> bytes:
    return (
        f"POST /plan/approve HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    ).encode() + content


@pytest.mark.anyio
async def test_a_caller_who_disconnects_during_the_body_has_approved_nothing(
    stack: RunningStack, proxy: Proxy, process: Process, http: httpx.AsyncClient, user: Caller
) -> None:
    request = body()
    whole = raw(user.token, encode(request))
    for part in (len(whole) // 2, len(whole) - 1):
        _, writer = await connect(process.url)
        writer.write(whole[:part])
        await writer.drain()
        writer.close()
        await writer.wait_closed()
    # Both are over when no request but the one that asks is under way any more.
    proxy.seen.clear()
    await approve_until_done(http, process.url, user.token, body())
    assert not [message for message in proxy.seen if request["plan_id"].encode() in message.head]
    assert orphans(stack, user) == []

    final = await approve_until_done(http, process.url, user.token, request)

    assert final["created"] is True
    assert_one_of_each(stack, user, (request, final))


@pytest.mark.anyio
@pytest.mark.parametrize("call", CALLS)
async def test_a_caller_who_goes_away_and_asks_again_at_once_from_elsewhere(
    stack: RunningStack,
    proxy: Proxy,
    process: Process,
    neighbour: Process,
    http: httpx.AsyncClient,
    user: Caller,
    call: str,
) -> None:
    """The abandoned attempt continues after the second has already ended."""
    request = body()
    reached, opened = asyncio.Event(), asyncio.Event()

    async def hold(exchange: Exchange) -> None:
        reached.set()
        await opened.wait()
        await pass_on(exchange)

    held = proxy.once(call, hold)
    _, writer = await connect(process.url)
    writer.write(raw(user.token, encode(request)))
    await asyncio.wait_for(reached.wait(), 60)
    writer.close()
    await writer.wait_closed()

    final = await approve_until_done(http, neighbour.url, user.token, request)

    assert_one_of_each(stack, user, (request, final))
    # The abandoned attempt is not cut short: its last call comes, too.
    last = asyncio.Event()

    async def note(exchange: Exchange) -> None:
        await pass_on(exchange)
        last.set()

    if call != "rpc":
        proxy.once("rpc", note)
    opened.set()
    await asyncio.wait_for((held if call == "rpc" else last).wait(), 60)
    replay = await approve_until_done(http, process.url, user.token, request)
    assert (replay["created"], replay["agent_id"]) == (False, final["agent_id"])
    assert_one_of_each(stack, user, (request, replay))


@pytest.mark.anyio
async def test_the_same_approvals_from_two_services_at_the_same_time(
    stack: RunningStack, process: Process, neighbour: Process, http: httpx.AsyncClient, user: Caller
) -> None:
    asked = requests(20)

    answers = await asyncio.gather(
        *(
            approve(http, url, user.token, request)
            for request in asked
            for url in (process.url, neighbour.url)
        )
    )

    assert {answer.status_code for answer in answers} == {200}
    finals = [answer.json() for answer in answers]
    pairs = list(zip(finals[::2], finals[1::2], strict=True))
    for one, other in pairs:
        assert one["created"] is not other["created"]
        assert (one["agent_id"], one["plan_id"]) == (other["agent_id"], other["plan_id"])
    assert_one_of_each(stack, user, *zip(asked, [one for one, _ in pairs], strict=True))


@pytest.mark.anyio
@pytest.mark.parametrize("verb", ["approve", "propose"])
@pytest.mark.soak
async def test_the_same_requests_to_two_services_of_which_one_is_killed(
    stack: RunningStack,
    proxy: Proxy,
    process: Process,
    http: httpx.AsyncClient,
    user: Caller,
    tmp_path: Path,
    chance: random.Random,
    verb: str,
) -> None:
    asked = requests(20)
    # Each of the two makes three calls for each request.
    before_it = iter(range(chance.randrange(1, 100)))
    with running_service(tmp_path, **behind(proxy, stack)) as victim:

        async def pass_on_and_kill(exchange: Exchange) -> None:
            if next(before_it, None) is None:
                victim.kill()
            await pass_on(exchange)

        proxy.handlers = dict.fromkeys(CALLS, pass_on_and_kill)
        answers = await asyncio.gather(
            *(
                approve(http, url, user.token, request, verb)
                for request in asked
                for url in (process.url, victim.url)
            ),
            return_exceptions=True,
        )
        assert not victim.running()
    for answer in answers[::2]:
        assert isinstance(answer, httpx.Response)
        assert answer.status_code == 200, answer.text
    await proxy.heal()

    finals = [await approve_until_done(http, process.url, user.token, request, verb) for request in asked]

    assert not any(final["created"] for final in finals)
    if verb == "propose":
        assert user.rows("agent") == []
        finals = [await approve_until_done(http, process.url, user.token, request) for request in asked]
    assert_one_of_each(stack, user, *zip(asked, finals, strict=True))
