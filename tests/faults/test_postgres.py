"""Postgres is killed or stopped during hundreds of approvals, decisions and builds, and comes back."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import httpx2
import psutil
import pytest
from mcp import MCPError

from local.stack import Stack
from tests import SOAK
from tests.builder.conftest import builder_process, eventually
from tests.caller import Caller, Json
from tests.conftest import RunningStack, local_stack
from tests.faults.promise import approve_until_done, assert_one_of_each, orphans, requests
from tests.faults.test_decisions import of_user
from tests.mcp.planner import connected
from tests.plan import new_session, sha256

APPROVALS = 300 if SOAK else 200
PROPOSALS = 40 if SOAK else 16
AT_ONCE = 16


@pytest.fixture(scope="module")
def own_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """Start a stack of these tests' own: no other test's database is killed."""
    with local_stack(tmp_path_factory.mktemp("postgres")) as running:
        yield running


@pytest.fixture
def caller(own_stack: RunningStack) -> Iterator[Caller]:
    account = own_stack.sign_up()
    headers = {"apikey": own_stack.publishable_key}
    with httpx.Client(base_url=own_stack.supabase_url, headers=headers, timeout=60) as supabase:
        yield Caller(account.id, account.token, supabase, supabase)


def kill(local: Stack) -> None:
    """Kill the server and all its backends at once, as a machine that stops does."""
    postgres = local.child("postgres")
    server = psutil.Process(postgres.pid)
    everything = [server, *server.children(recursive=True)]
    for process in everything:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    postgres.kill()
    # A start is refused while the last backend's shared memory is still there.
    psutil.wait_procs(everything, timeout=30)


def stop(local: Stack) -> None:
    """Stop the server as an administrator does: it ends what runs, and its sessions."""
    local.child("postgres").stop()


async def done_while_postgres_comes_and_goes(
    own_stack: RunningStack,
    chance: random.Random,
    ends: list[Callable[[Stack], None]],
    work: list[Callable[[], Awaitable[Json]]],
) -> list[Json]:
    """Do the work, a few at once, end Postgres in between and start it again; return what came of each."""
    local = own_stack.local
    assert local is not None
    turn, finished = asyncio.Semaphore(AT_ONCE), asyncio.Semaphore(0)

    async def one(do: Callable[[], Awaitable[Json]]) -> Json:
        async with turn:
            answer = await do()
        finished.release()
        return answer

    async with asyncio.timeout(240), asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(do)) for do in work]
        for end in ends:
            for _ in range(chance.randrange(len(work) // 20, len(work) // 5)):
                await finished.acquire()
            assert not all(task.done() for task in tasks)
            await asyncio.to_thread(end, local)
            await asyncio.to_thread(local.restart, "postgres")
    return [task.result() for task in tasks]


@pytest.mark.anyio
@pytest.mark.soak
async def test_killed_during_hundreds_of_approvals(
    own_stack: RunningStack, http: httpx.AsyncClient, caller: Caller, chance: random.Random
) -> None:
    asked = requests(APPROVALS)
    answers = await done_while_postgres_comes_and_goes(
        own_stack,
        chance,
        [kill] * (2 if SOAK else 1),
        [
            partial(approve_until_done, http, own_stack.service_url, caller.token, request)
            for request in asked
        ],
    )

    assert_one_of_each(own_stack, caller, *zip(asked, answers, strict=True))
    assert len(caller.rows("plan")) == len(caller.rows("agent_event")) == APPROVALS


# A proposal's life ---------------------------------------------------------------------------------------

# What the human does, and what becomes of the plan.
DECISIONS = {
    "approve_plan": "approved",
    "request_changes": "changes_requested",
    "reject_plan": "rejected",
    "withdraw_plan": "withdrawn",
}


@dataclass(frozen=True)
class Proposals:
    """A planner over MCP and its human over the Data API, both patient."""

    stack: RunningStack
    http: httpx.AsyncClient
    caller: Caller

    async def tool(self, name: str, **arguments: Json) -> Json:
        """Call a tool until there is an answer, each time over a new connection."""
        while True:
            try:
                async with connected(self.stack, self.caller.token) as planner:
                    result = await planner.call(name, **arguments)
            except* (MCPError, httpx2.TransportError):
                pass
            else:
                assert result.structured_content is not None
                if not result.is_error:
                    return result.structured_content
                assert result.structured_content["retryable"] is True, result
            await asyncio.sleep(0.05)

    async def decide(self, function: str, **arguments: Json) -> Json:
        url = f"{self.stack.supabase_url}/rest/v1/rpc/{function}"
        while True:
            with contextlib.suppress(httpx.TransportError):
                answer = await self.http.post(url, json=arguments, headers=of_user(self.stack, self.caller))
                if answer.status_code == 200:
                    return answer.json()
                # No refusal of ours: the same decision again is the same decision.
                assert not str(answer.json().get("code")).startswith("PT4"), answer.text
            await asyncio.sleep(0.05)

    async def decision(self, session_id: str, version: int) -> Json:
        while True:
            seen = await self.tool("get_decision", session_id=session_id, version=version, wait_seconds=20)
            if seen["status"] != "proposed":
                return seen

    async def live(self, number: int, function: str) -> Json:
        """Propose, wait for the decision, and decide meanwhile; return what each of them was told."""
        content = f"# Plan {number}\n"
        session = new_session()
        plan = await self.tool("propose_plan", title="A plan", content=content, session_id=session)
        name = {"session_id": session, "version": plan["version"]}
        more = {"approve_plan": {"document_sha256": sha256(content)}, "request_changes": {"comment": "No"}}
        seen, decided = await asyncio.gather(
            self.decision(**name), self.decide(function, **name, **more.get(function, {}))
        )
        return {**name, "decided": decided, "seen": seen}


@pytest.mark.anyio
@pytest.mark.soak
async def test_ended_during_proposals_decisions_and_builds(
    own_stack: RunningStack,
    http: httpx.AsyncClient,
    caller: Caller,
    chance: random.Random,
    tmp_path: Path,
) -> None:
    """What was answered is there, and all else can be repeated: the service and the builder recover by themselves."""
    proposals = Proposals(own_stack, http, caller)
    functions = [*DECISIONS, *chance.choices(tuple(DECISIONS), k=PROPOSALS - len(DECISIONS))]
    started = tmp_path / "started"
    script = f"echo $GREENLIGHT_AGENT_ID $GREENLIGHT_ATTEMPT >> {started}; echo ::progress 50 Half; sleep 0.1"
    with builder_process(own_stack, tmp_path, "sh", "-c", script, lease_seconds=5, concurrency=4) as builder:
        answers = await done_while_postgres_comes_and_goes(
            own_stack,
            chance,
            [kill, stop] * (2 if SOAK else 1),
            [partial(proposals.live, *each) for each in enumerate(functions)],
        )
        await eventually(lambda: not caller.rows("agent", status="eq.building"), seconds=120)
        assert builder.process.poll() is None

    plans = {row["session_id"]: row for row in caller.rows("plan", limit="1000")}
    agents = {row["session_id"]: row for row in caller.rows("agent", limit="1000")}
    assert set(plans) == {answer["session_id"] for answer in answers}
    for function, answer in zip(functions, answers, strict=True):
        plan, agent = plans[answer["session_id"]], agents.get(answer["session_id"])
        assert plan["status"] == answer["seen"]["status"] == DECISIONS[function]
        assert (agent is not None) is (function == "approve_plan")
        if agent is not None:
            assert answer["decided"]["agent_id"] == answer["seen"]["agent_id"] == agent["id"]
            assert agent["status"] == "active"
    assert Counter(
        (event["agent_id"], event["kind"]) for event in caller.rows("agent_event", limit="1000")
    ) == Counter((agent["id"], kind) for agent in agents.values() for kind in ("approved", "status_changed"))
    builds = caller.rows("build", limit="1000")
    assert sorted(build["agent_id"] for build in builds) == sorted(agent["id"] for agent in agents.values())
    assert {build["status"] for build in builds} == {"succeeded"}
    attempts = started.read_text().splitlines()
    assert len(attempts) == len(set(attempts))  # no attempt was begun twice
    assert orphans(own_stack, caller) == []
