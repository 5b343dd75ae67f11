"""A planner's calls over MCP fail, before the service and behind it: the same call again ends in the same one state."""

import asyncio
import json
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from mcp_types import CallToolResult

from local import ROOT
from local.processes import free_ports
from tests import SEED, SOAK
from tests.caller import Caller, Json
from tests.conftest import RunningStack
from tests.faults.promise import orphans
from tests.faults.proxy import Exchange, Handler, Proxy, answer, behind, pass_on
from tests.faults.test_calls import before
from tests.faults.test_decisions import KINDS, OF_A_CALL, proposed, state
from tests.mcp.planner import connected
from tests.plan import new_session
from tests.services import Process, running_service

pytestmark = pytest.mark.anyio

# What a tool asks Supabase for, in this order.
ASKED = {
    "propose_plan": ("plan", "upload", "sign", "rpc", "agent"),
    "get_decision": ("plan", "agent"),
    "withdraw_plan": ("withdraw_plan", "plan", "agent"),
}
SECONDS = 2  # that a call may hang


@asynccontextmanager
async def planners_service(
    proxy: Proxy, stack: RunningStack, directory: Path
) -> AsyncIterator[tuple[Proxy, Process]]:
    """Run a service with one proxy before it and one behind it."""
    (port,) = free_ports(1)
    async with Proxy(f"http://127.0.0.1:{port}") as front:
        settings = behind(proxy, stack, MCP="true", SERVICE_URL=front.url, PORT=str(port))
        with running_service(directory, **settings, UPSTREAM_TIMEOUT_SECONDS=str(SECONDS)) as process:
            yield front, process


@pytest.fixture(scope="module")
async def shared_front(
    proxy: Proxy, stack: RunningStack, tmp_path_factory: pytest.TempPathFactory, anyio_backend: str
) -> AsyncIterator[Proxy]:
    async with planners_service(proxy, stack, tmp_path_factory.mktemp("planners")) as (front, _):
        yield front


@pytest.fixture
async def front(shared_front: Proxy, proxy: Proxy) -> AsyncIterator[Proxy]:
    """Yield the proxy before a service; all pass everything on until told otherwise."""
    await proxy.heal()
    yield shared_front
    await proxy.heal()
    await shared_front.heal()


@pytest.fixture
def token(stack: RunningStack, user: Caller) -> str:
    return stack.token_for(user, client_id="a-planner")


async def call(stack: RunningStack, front: Proxy, token: str, tool: str, arguments: Json) -> CallToolResult:
    async with connected(replace(stack, service_url=front.url), token) as planner:
        return await planner.call(tool, **arguments)


async def call_until_done(
    stack: RunningStack, front: Proxy, token: str, tool: str, arguments: Json
) -> dict[str, Json]:
    async with asyncio.timeout(60):
        while True:
            result = await call(stack, front, token, tool, arguments)
            content: dict[str, Json] | None = result.structured_content
            assert content is not None
            if not result.is_error:
                return content
            assert content["retryable"] is True, result


def prepared(stack: RunningStack, user: Caller, tool: str) -> dict[str, Json]:
    """Return the arguments of a call that can be made now, and be repeated."""
    session = new_session()
    if tool == "propose_plan":
        return {"session_id": session, "title": "A plan", "content": "# Plan"}
    return proposed(stack, user, session)


def tools_call(handler: Handler) -> Handler:
    """Deal with the first call of a tool, not with what opens the connection."""
    hits = iter((handler,))

    async def only(exchange: Exchange) -> None:
        is_call = b'"tools/call"' in exchange.request.body
        await next(hits, pass_on)(exchange) if is_call else await pass_on(exchange)

    return only


@pytest.mark.parametrize("tool", ASKED)
async def test_a_tool_call_whose_answer_does_not_arrive(
    stack: RunningStack, front: Proxy, user: Caller, token: str, tool: str
) -> None:
    usual = prepared(stack, user, tool)
    first = await call_until_done(stack, front, token, tool, usual)
    expected = state(user, usual["session_id"])
    for fault in KINDS:
        arguments = prepared(stack, user, tool)
        front.handlers["other"] = tools_call(OF_A_CALL.get(fault, before))
        if fault == "refused":
            front.refuse()
        with pytest.raises((ExceptionGroup, TimeoutError)):
            async with asyncio.timeout(SECONDS if fault.startswith("hangs") else 30):
                await call(stack, front, token, tool, arguments)
        await front.heal()

        final = await call_until_done(stack, front, token, tool, arguments)

        assert state(user, arguments["session_id"]) == expected, fault
        assert (final["version"], final["status"]) == (first["version"], first["status"]), fault
    assert orphans(stack, user) == []


@pytest.mark.parametrize(
    ("tool", "asked"), [(tool, asked) for tool, several in ASKED.items() for asked in several]
)
@pytest.mark.soak
async def test_a_tool_call_behind_which_a_call_fails(
    stack: RunningStack, proxy: Proxy, front: Proxy, user: Caller, token: str, tool: str, asked: str
) -> None:
    usual = prepared(stack, user, tool)
    first = await call_until_done(stack, front, token, tool, usual)
    expected = state(user, usual["session_id"])
    for fault in KINDS if SOAK else ("refused", "reset after", "no JSON"):
        if fault == "refused" and asked != ASKED[tool][0]:
            continue  # the connection is open since the call before
        arguments = prepared(stack, user, tool)
        hit = proxy.once(asked, OF_A_CALL.get(fault, before))
        if fault == "refused":
            proxy.refuse()

        result = await call(stack, front, token, tool, arguments)

        assert hit.is_set() or fault == "refused"
        if result.is_error:
            assert result.structured_content is not None
            assert result.structured_content["code"].startswith("upstream_"), (fault, result)
            assert result.structured_content["retryable"] is True, (fault, result)
        else:  # a read is repeated without the planner
            assert asked in {"plan", "agent"}, (fault, result)
        await proxy.heal()
        final = await call_until_done(stack, front, token, tool, arguments)
        assert state(user, arguments["session_id"]) == expected, fault
        assert (final["version"], final["status"]) == (first["version"], first["status"]), fault
    assert orphans(stack, user) == []


# Killed -------------------------------------------------------------------------------------------------

PLANNER = """
import asyncio, json, sys
from types import SimpleNamespace
from tests.mcp.planner import connected

async def main(url, token, tool, arguments):
    async with connected(SimpleNamespace(service_url=url), token) as planner:
        await planner.call(tool, **arguments)

asyncio.run(main(*json.loads(sys.argv[1])))
"""
POINTS = [
    ("propose_plan", "upload", "asked"),
    ("propose_plan", "rpc", "asked"),
    ("propose_plan", "rpc", "done"),
    ("propose_plan", "agent", "asked"),
    ("get_decision", "plan", "done"),
    ("withdraw_plan", "withdraw_plan", "asked"),
    ("withdraw_plan", "withdraw_plan", "done"),
]
TRIED = random.Random(SEED).sample(POINTS, 3) if SOAK else POINTS[2::3]


@pytest.mark.parametrize("victim", ["service", "planner"])
@pytest.mark.parametrize(("tool", "asked", "moment"), TRIED, ids=str)
@pytest.mark.soak
async def test_killed_at_any_point_of_a_tool_call(
    stack: RunningStack,
    proxy: Proxy,
    front: Proxy,
    user: Caller,
    token: str,
    tmp_path: Path,
    victim: str,
    tool: str,
    asked: str,
    moment: str,
) -> None:
    """The planner, or its service, is killed: the same call by another planner, to another service, does the rest."""
    usual = prepared(stack, user, tool)
    first = await call_until_done(stack, front, token, tool, usual)
    expected = state(user, usual["session_id"])
    arguments = prepared(stack, user, tool)
    untouched = state(user, arguments["session_id"])

    async with planners_service(proxy, stack, tmp_path) as (own_front, service):
        call_it = json.dumps([own_front.url, token, tool, arguments])
        planner = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PLANNER, call_it, cwd=ROOT, stderr=asyncio.subprocess.DEVNULL
        )

        async def kill(exchange: Exchange) -> None:
            if moment == "done":
                await exchange.forward()
            if victim == "service":
                service.kill()
            else:
                planner.kill()
                await planner.wait()
                await exchange.reply(answer(503))  # its service ends here, too

        hit = proxy.once(asked, kill)
        async with asyncio.timeout(60):
            await hit.wait()
            assert await planner.wait() != 0
    after_it = state(user, arguments["session_id"])
    made = (asked, moment) in {("rpc", "done"), ("agent", "asked"), ("withdraw_plan", "done")}
    assert after_it == (expected if made else untouched)

    final = await call_until_done(stack, front, token, tool, arguments)

    assert state(user, arguments["session_id"]) == expected
    assert (final["version"], final["status"]) == (first["version"], first["status"])
    assert orphans(stack, user) == []
