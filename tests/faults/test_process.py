"""The service is killed or told to stop, at every point of an approval."""

import asyncio
import itertools
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests import SOAK
from tests.caller import Caller
from tests.conftest import RunningStack
from tests.faults.promise import approve, approve_until_done, assert_one_of_each, requests
from tests.faults.proxy import Exchange, Proxy, behind, pass_on
from tests.plan import body
from tests.services import Process, running_service

# That the next call is asked for shows that the one before was answered.
POINTS = [
    ("upload", "asked"),
    ("upload", "done"),
    ("sign", "asked"),
    ("sign", "done"),
    ("rpc", "asked"),
    ("rpc", "done"),
    ("rpc", "answered"),
]


@asynccontextmanager
async def doomed(
    proxy: Proxy, stack: RunningStack, directory: Path, **settings: str
) -> AsyncIterator[Process]:
    """Run a service of the test's own, which need not survive."""
    with running_service(directory, **behind(proxy, stack, **settings)) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("verb", "call", "moment"),
    [("approve", *point) for point in POINTS]
    + [("propose", *point) for point in POINTS if SOAK or "rpc" in point],
)
@pytest.mark.soak
async def test_killed_at_any_point_another_instance_takes_over(
    stack: RunningStack,
    proxy: Proxy,
    process: Process,
    http: httpx.AsyncClient,
    user: Caller,
    tmp_path: Path,
    verb: str,
    call: str,
    moment: str,
) -> None:
    request = body()
    async with doomed(proxy, stack, tmp_path) as victim:

        async def kill(exchange: Exchange) -> None:
            if moment == "answered":
                await pass_on(exchange)
            elif moment == "done":
                await exchange.forward()
            victim.kill()

        hit = proxy.once(call, kill)
        attempt = asyncio.create_task(approve(http, victim.url, user.token, request, verb))
        (outcome,) = await asyncio.gather(attempt, return_exceptions=True)
        assert hit.is_set()
        # With the last answer in its hands it may have been faster than the signal.
        assert isinstance(outcome, httpx.TransportError) or moment == "answered"

    final = await approve_until_done(http, process.url, user.token, request, verb)
    # After the RPC its result is stored, even if no answer arrived; before it nothing is.
    assert final["created"] is ((call, moment) not in {("rpc", "done"), ("rpc", "answered")})
    if verb == "propose":
        assert user.rows("agent") == []
        final = await approve_until_done(http, process.url, user.token, request)
    assert_one_of_each(stack, user, (request, final))


@pytest.mark.anyio
async def test_it_finishes_fifty_approvals_and_accepts_no_more_before_it_stops(
    stack: RunningStack, proxy: Proxy, process: Process, http: httpx.AsyncClient, user: Caller, tmp_path: Path
) -> None:
    under_way, opened = asyncio.Semaphore(0), asyncio.Event()
    numbers = itertools.count()

    async def hold(exchange: Exchange) -> None:
        under_way.release()
        await opened.wait()
        await pass_on(exchange)

    async def hold_every_other(exchange: Exchange) -> None:
        await (hold if next(numbers) % 2 else pass_on)(exchange)

    asked = requests(50)
    async with doomed(proxy, stack, tmp_path, SHUTDOWN_GRACE_SECONDS="60") as victim:
        # Some are held at their first call, the others at their last.
        proxy.handlers = {"upload": hold_every_other, "rpc": hold}
        tasks = [asyncio.create_task(approve(http, victim.url, user.token, request)) for request in asked]
        for _ in asked:
            await asyncio.wait_for(under_way.acquire(), 60)
        victim.send(signal.SIGTERM)
        await until_refused(victim.url)
        opened.set()
        answers = await asyncio.gather(*tasks)
        assert await asyncio.to_thread(victim.wait, 60) == 0
    assert [answer.status_code for answer in answers] == [200] * 50
    await proxy.heal()
    assert_one_of_each(stack, user, *zip(asked, [answer.json() for answer in answers], strict=True))


@pytest.mark.anyio
async def test_it_stops_within_its_grace_time_while_supabase_hangs(
    stack: RunningStack, proxy: Proxy, process: Process, http: httpx.AsyncClient, user: Caller, tmp_path: Path
) -> None:
    reached = asyncio.Event()

    async def hang(exchange: Exchange) -> None:
        reached.set()
        await exchange.hang()

    request = body()
    long = {
        "APPROVAL_TIMEOUT_SECONDS": "500",
        "UPSTREAM_TIMEOUT_SECONDS": "500",
        "SHUTDOWN_GRACE_SECONDS": "1",
    }
    async with doomed(proxy, stack, tmp_path, **long) as victim:
        proxy.handlers["rpc"] = hang
        task = asyncio.create_task(approve(http, victim.url, user.token, request))
        await asyncio.wait_for(reached.wait(), 60)
        victim.send(signal.SIGTERM)
        await asyncio.to_thread(victim.wait, 20)
        await asyncio.gather(task, return_exceptions=True)
    await proxy.heal()
    final = await approve_until_done(http, process.url, user.token, request)
    assert_one_of_each(stack, user, (request, final))


async def until_refused(url: str) -> None:
    async with asyncio.timeout(60), httpx.AsyncClient() as fresh:
        while True:
            try:
                await fresh.get(f"{url}/healthz", headers={"Connection": "close"})
            except httpx.TransportError:
                return
