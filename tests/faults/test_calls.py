"""Each of the three calls fails in every possible way; after the retry there is exactly one approval."""

import asyncio
import random

import httpx
import pytest

from tests import SOAK
from tests.caller import Caller, expect_problem
from tests.conftest import RunningStack
from tests.faults.promise import approve, approve_until_done, assert_one_of_each, requests
from tests.faults.proxy import CALLS, Exchange, Handler, Proxy, answer, pass_on
from tests.plan import body
from tests.services import Process

UNAVAILABLE, TIMEOUT, ERROR = (
    (503, "upstream_unavailable"),
    (504, "upstream_timeout"),
    (502, "upstream_error"),
)


async def reset_before(exchange: Exchange) -> None:
    exchange.reset()


async def reset_after(exchange: Exchange) -> None:
    await exchange.forward()
    exchange.reset()


async def half_a_body(exchange: Exchange) -> None:
    await exchange.reply_half(await exchange.forward())


async def no_json(exchange: Exchange) -> None:
    await exchange.forward()
    await exchange.reply(answer(200, b"<html>It works!</html>", "text/html"))


async def error_after(exchange: Exchange) -> None:
    """Do what was asked for, and lie about it."""
    await exchange.forward()
    await exchange.reply(answer(500, b"<html>", "text/html"))


# tests/unit/test_upstream.py has what each status and each odd answer becomes.
FAULTS: dict[str, tuple[Handler, tuple[int, str]]] = {
    "reset before": (reset_before, UNAVAILABLE),
    "reset after": (reset_after, UNAVAILABLE),
    "error after": (error_after, ERROR),
    "no JSON": (no_json, ERROR),
    "half a body": (half_a_body, UNAVAILABLE),
}


def fault_of(call: str, fault: str) -> tuple[Handler, tuple[int, str]]:
    """Return what does this to a call, and the problem that the service answers."""
    handler, expected = FAULTS[fault]
    # What storage answers without its database.
    return handler, UNAVAILABLE if fault == "error after" and call != "rpc" else expected


@pytest.mark.anyio
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("call", CALLS)
async def test_a_call_that_fails(
    stack: RunningStack,
    proxy: Proxy,
    process: Process,
    http: httpx.AsyncClient,
    user: Caller,
    call: str,
    fault: str,
) -> None:
    handler, expected = fault_of(call, fault)
    request = body()
    hit = proxy.once(call, handler)

    problem = expect_problem(await approve(http, process.url, user.token, request), *expected)

    assert hit.is_set()
    assert problem["retryable"] is True
    final = await approve_until_done(http, process.url, user.token, request)
    assert_one_of_each(stack, user, (request, final))


@pytest.mark.anyio
@pytest.mark.parametrize("call", CALLS)
async def test_a_call_whose_connection_is_refused(
    stack: RunningStack, proxy: Proxy, process: Process, http: httpx.AsyncClient, user: Caller, call: str
) -> None:
    async def answer_and_be_gone(exchange: Exchange) -> None:
        response = await exchange.forward()
        proxy.refuse(but=exchange.writer)
        await exchange.reply(response.with_header("connection", "close"))

    request = body()
    await approve_until_done(http, process.url, user.token, body())  # its keys and connections are there
    if call == "upload":
        proxy.refuse()
    else:
        proxy.once(CALLS[CALLS.index(call) - 1], answer_and_be_gone)
    proxy.seen.clear()

    problem = expect_problem(await approve(http, process.url, user.token, request), *UNAVAILABLE)

    assert f"({call})" in problem["detail"]
    assert len(proxy.seen) == CALLS.index(call)
    await proxy.listen()
    final = await approve_until_done(http, process.url, user.token, request)
    assert_one_of_each(stack, user, (request, final))


async def before(exchange: Exchange) -> None:
    await exchange.hang()


async def after(exchange: Exchange) -> None:
    await exchange.forward()
    await exchange.hang()


@pytest.mark.anyio
async def test_calls_that_hang_beyond_the_timeout(
    stack: RunningStack, proxy: Proxy, process: Process, http: httpx.AsyncClient, user: Caller
) -> None:
    cases = [(call, moment, body()) for call in CALLS for moment in (before, after)]

    def hanging(call: str) -> Handler:
        waiting = {case[2]["plan_id"].encode(): case[1] for case in cases if case[0] == call}

        async def handler(exchange: Exchange) -> None:
            content = exchange.request.head + exchange.request.body
            moment = next((waiting[key] for key in waiting if key in content), None)
            await (moment(exchange) if moment else exchange.reply(await exchange.forward()))

        return handler

    proxy.handlers = {call: hanging(call) for call in CALLS}
    answers = await asyncio.gather(*(approve(http, process.url, user.token, case[2]) for case in cases))

    for (call, _, _), refusal in zip(cases, answers, strict=True):
        assert f"({call})" in expect_problem(refusal, *TIMEOUT)["detail"]
    await proxy.heal()
    finals = [await approve_until_done(http, process.url, user.token, case[2]) for case in cases]
    assert_one_of_each(stack, user, *zip([case[2] for case in cases], finals, strict=True))


@pytest.mark.anyio
@pytest.mark.soak
async def test_any_of_them_at_any_time(
    stack: RunningStack,
    proxy: Proxy,
    process: Process,
    http: httpx.AsyncClient,
    user: Caller,
    chance: random.Random,
) -> None:
    async def flawed(exchange: Exchange) -> None:
        if chance.random() < 0.3:
            await chance.choice([handler for handler, _ in FAULTS.values()])(exchange)
        else:
            await pass_on(exchange)

    for _ in range(20 if SOAK else 2):
        asked = requests(16)
        proxy.handlers = dict.fromkeys(CALLS, flawed)
        finals = await asyncio.gather(
            *(approve_until_done(http, process.url, user.token, request) for request in asked)
        )
        await proxy.heal()
        assert_one_of_each(stack, user, *zip(asked, finals, strict=True))
