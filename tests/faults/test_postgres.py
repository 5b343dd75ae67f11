"""Postgres is killed in the middle of hundreds of approvals, and comes back."""

import asyncio
import contextlib
import random
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from local.stack import Stack
from tests import SOAK
from tests.caller import Caller, Json
from tests.conftest import RunningStack, local_stack
from tests.faults.promise import approve_until_done, assert_one_of_each, requests

APPROVALS = 600 if SOAK else 200
AT_ONCE = 16


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[RunningStack]:
    """Start a stack of the test's own: no other test's database is killed."""
    with local_stack(tmp_path) as running:
        yield running


def kill_and_restart(local: Stack) -> None:
    """Kill the server and all its backends at once, as a machine that stops does, and start it again."""
    postgres = local.child("postgres")
    server = psutil.Process(postgres.pid)
    everything = [server, *server.children(recursive=True)]
    for process in everything:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    postgres.kill()
    psutil.wait_procs(everything, timeout=30)
    # A start is refused while the last backend's shared memory is still there.
    postgres = local.postgres.child()
    postgres.start()
    local.children[0] = postgres
    postgres.wait_until(local.postgres.ready)


@pytest.mark.anyio
async def test_killed_amid_hundreds_of_approvals(
    own_stack: RunningStack, http: httpx.AsyncClient, chance: random.Random
) -> None:
    local = own_stack.local
    assert local is not None
    account = own_stack.sign_up()
    turn, finished = asyncio.Semaphore(AT_ONCE), asyncio.Semaphore(0)

    async def one(request: Json) -> Json:
        async with turn:
            answer = await approve_until_done(http, own_stack.service_url, account.token, request)
        finished.release()
        return answer

    asked = requests(APPROVALS)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(request)) for request in asked]
        for _ in range(3 if SOAK else 1):
            for _ in range(chance.randrange(20, 50)):
                await finished.acquire()
            assert not all(task.done() for task in tasks)
            await asyncio.to_thread(kill_and_restart, local)
    answers = [task.result() for task in tasks]

    with httpx.Client(
        base_url=own_stack.supabase_url, headers={"apikey": own_stack.publishable_key}, timeout=60
    ) as supabase:
        caller = Caller(account.id, account.token, supabase, supabase)
        assert_one_of_each(own_stack, caller, *zip(asked, answers, strict=True))
        assert len(caller.rows("plan")) == len(caller.rows("agent_event")) == APPROVALS
