"""Many users through one connection pool: no user meets another's rows, bytes or token."""

import asyncio
import json
import random

import httpx
import jwt
import pytest

from tests import SOAK
from tests.conftest import RunningStack, User
from tests.faults.promise import approve
from tests.faults.proxy import Message, Proxy
from tests.plan import body
from tests.services import Process


def user_of(message: Message) -> str:
    token = (message.header("authorization") or "").removeprefix("Bearer ")
    return str(jwt.decode(token, options={"verify_signature": False})["sub"])


@pytest.mark.anyio
async def test_users_interleaved_on_one_pool_never_meet(
    stack: RunningStack,
    proxy: Proxy,
    process: Process,
    http: httpx.AsyncClient,
    chance: random.Random,
) -> None:
    users = [stack.sign_up() for _ in range(6 if SOAK else 2)]
    sessions = 100 if SOAK else 60
    asked = [
        (user, body(content=f"The words of {user.id}, number {number}"))
        for user in users
        for number in range(sessions)
    ]
    # Each user has the same sessions as each other one, so that a mix-up would not show as a failure.
    for number, (_, request) in enumerate(asked):
        request["plan_id"] = f"session-{number % sessions}"
    chance.shuffle(asked)
    turn = asyncio.Semaphore(24)

    async def one(user: User, request: dict[str, object]) -> None:
        async with turn:
            answer = await approve(http, process.url, user.token, request)
            assert answer.status_code == 200, answer.text
            approved = answer.json()
            assert f"/plans/{user.id}/{request['plan_id']}/" in approved["document_url"]
            bearer = {"Authorization": f"Bearer {user.token}"}
            signed = await http.get(f"{process.url}/plan/{approved['plan_id']}/document", headers=bearer)
            assert f"/plans/{user.id}/" in signed.json()["document_url"]
            assert (await http.get(signed.json()["document_url"])).text == request["content"]

    await asyncio.gather(*(one(user, request) for user, request in asked))

    # What the service sent on: each path, and each RPC's URL, under the token of the one whose folder it names.
    for message in proxy.seen:
        for user in users:
            if f"/{user.id}/" in message.start[1] and "?token=" not in message.start[1]:
                assert user_of(message) == user.id
            if message.start[1].startswith("/rest/v1/rpc/") and f"/{user.id}/" in message.body.decode():
                assert user_of(message) == user.id
    for user in users:
        headers = {"apikey": stack.publishable_key, "Authorization": f"Bearer {user.token}"}
        for table in ("plan", "agent", "agent_event"):
            rows = (await http.get(f"{stack.supabase_url}/rest/v1/{table}", headers=headers)).json()
            assert len(rows) == sessions
            assert {row["user_id"] for row in rows} == {user.id}


@pytest.mark.anyio
async def test_an_answer_that_fails_for_one_user_leaves_nothing_for_the_next(
    stack: RunningStack, process: Process, http: httpx.AsyncClient
) -> None:
    """A refused token between two good ones of another user: no state of either stays behind."""
    one, other = stack.sign_up(), stack.sign_up()
    for _ in range(5):
        mine = await approve(http, process.url, one.token, body())
        none = await approve(http, process.url, other.token[:-4], body())
        anonymous = await http.post(f"{process.url}/plan/approve", content=json.dumps(body()).encode())
        theirs = await approve(http, process.url, other.token, body())
        assert [a.status_code for a in (mine, none, anonymous, theirs)] == [200, 401, 401, 200]
        assert one.id in mine.json()["document_url"]
        assert other.id in theirs.json()["document_url"]
