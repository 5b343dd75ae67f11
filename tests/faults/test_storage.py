"""The traps that the real storage-api sets, laid by the proxy where the local one does not have them."""

import asyncio

import httpx
import pytest

from tests.caller import Caller, expect_problem
from tests.conftest import RunningStack
from tests.faults.promise import approve, approve_until_done, assert_one_of_each, orphans
from tests.faults.proxy import Exchange, Handler, Proxy, answer
from tests.plan import body, sha256
from tests.services import Process


@pytest.mark.anyio
async def test_of_several_first_writers_of_one_key_one_stores_it_and_all_are_answered(
    stack: RunningStack, proxy: Proxy, process: Process, http: httpx.AsyncClient, user: Caller
) -> None:
    """To the others Storage says that it is there, some of them only after it has read all that they sent."""
    together = asyncio.Barrier(12)
    statuses = []

    async def at_once(exchange: Exchange) -> None:
        await together.wait()
        response = await exchange.forward()
        statuses.append(response.start[1])
        await exchange.reply(response)

    proxy.handlers["upload"] = at_once
    request = body(content="the same words " * 5_000)

    answers = await asyncio.gather(*(approve(http, process.url, user.token, request) for _ in range(12)))

    assert sorted(statuses) == ["200", *["400"] * 11]
    assert {given.status_code for given in answers} == {200}
    finals = [given.json() for given in answers]
    assert sum(final["created"] for final in finals) == 1
    assert len({(final["plan_id"], final["agent_id"]) for final in finals}) == 1
    assert_one_of_each(stack, user, (request, finals[0]))


@pytest.mark.anyio
async def test_a_large_document_is_not_sent_where_storage_has_it(
    stack: RunningStack, proxy: Proxy, process: Process, http: httpx.AsyncClient, user: Caller
) -> None:
    """After a 409 to a body of 150 kB or more, storage-api reads no more from that connection."""
    sent = trapped = 0

    async def trap(exchange: Exchange) -> None:
        nonlocal sent, trapped
        response = await exchange.forward()
        await exchange.reply(response)
        if len(exchange.request.body) >= 150_000:
            sent += 1
            if response.start[1] != "200":
                trapped += 1
                await exchange.hang()

    proxy.handlers["upload"] = trap
    request = body(content="words " * 50_000)
    firsts = await asyncio.gather(*(approve(http, process.url, user.token, request) for _ in range(12)))
    assert {first.status_code for first in firsts} == {200}

    for _ in range(5):
        replay = await approve(http, process.url, user.token, request)
        assert (replay.status_code, replay.json().get("created")) == (200, False), replay.text
        small = await approve(http, process.url, user.token, body())
        assert small.status_code == 200, small.text

    assert (sent, trapped) == (1, 0)


def claim(content: bytes) -> Handler:
    async def handler(exchange: Exchange) -> None:
        await exchange.reply(answer(200, content))

    return handler


@pytest.mark.anyio
async def test_a_deletion_that_is_confirmed_and_deletes_nothing(
    stack: RunningStack, proxy: Proxy, process: Process, http: httpx.AsyncClient, user: Caller
) -> None:
    request = body(version=2)
    final = await approve_until_done(http, process.url, user.token, request)
    stale = {**request, "version": 1}

    # The bytes of the approved plan: storage confirms their deletion, and they stay.
    expect_problem(await approve(http, process.url, user.token, stale), 409, "plan_stale")
    assert_one_of_each(stack, user, (request, final))

    # Orphaned bytes: they should have gone, and are found as orphans.
    proxy.once("remove", claim(b"[]"))
    other = {**stale, "content": "other words"}
    expect_problem(await approve(http, process.url, user.token, other), 409, "plan_stale")
    left = f"{user.id}/{request['plan_id']}/{sha256('other words')}.md"
    assert orphans(stack, user) == [left]

    # The next refusal of the same takes them along.
    expect_problem(await approve(http, process.url, user.token, other), 409, "plan_stale")
    assert_one_of_each(stack, user, (request, final))


@pytest.mark.anyio
async def test_a_document_deleted_between_the_calls_is_stored_again(
    stack: RunningStack, proxy: Proxy, process: Process, http: httpx.AsyncClient, user: Caller
) -> None:
    request = body()
    path = user.path(request["plan_id"], request["content"])

    async def delete_first(exchange: Exchange) -> None:
        assert len(user.remove(path).json()) == 1
        await exchange.reply(await exchange.forward())

    for call in ("sign", "rpc"):
        hit = proxy.once(call, delete_first)
        final = (await approve(http, process.url, user.token, request)).json()
        assert hit.is_set()
        if call == "sign":
            assert final["created"] is True
            assert_one_of_each(stack, user, (request, final))
            request = body()
            path = user.path(request["plan_id"], request["content"])
    assert final["created"] is True
    assert_one_of_each(stack, user, (request, final))
