"""Proposals, decisions and builds when a call fails: the same request again ends in the same one state."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import httpx
import pytest

from tests import SEED, SOAK
from tests.caller import Caller, Json, expect_problem
from tests.conftest import RunningStack
from tests.faults.promise import orphans
from tests.faults.proxy import CALLS, Exchange, Handler, Proxy
from tests.faults.test_calls import FAULTS, after, before, fault_of
from tests.plan import body, encode, new_session, sha256
from tests.services import Process
from tests.teams import team_of


async def twice(exchange: Exchange) -> None:
    """Let the call happen twice at the same time, as from two instances, and lose both answers."""
    await asyncio.gather(exchange.forward(), exchange.forward())
    exchange.reset()


HANGS: dict[str, Handler] = {"hangs before": before, "hangs after": after}
OF_A_CALL = {"twice": twice} | {name: handler for name, (handler, _) in FAULTS.items()} | HANGS
# For the state that a call leaves, the other faults are like one of these.
TELLING = ("reset before", "reset after", "twice", "half a body")
LIKE_THEM = sorted({"refused", *OF_A_CALL} - {*TELLING})
KINDS = (*TELLING, *random.Random(SEED).sample(LIKE_THEM, 2)) if SOAK else TELLING


def stored(stack: RunningStack, user: Caller, session: str, **team: str) -> dict[str, Json]:
    """Store a document as the user, and return what proposes or approves it."""
    path = user.path(session, "# Plan")
    user.upload(path, b"# Plan").raise_for_status()
    return {
        "session_id": session,
        "version": 1,
        "title": "A plan",
        "document_sha256": sha256("# Plan"),
        "document_url": f"{stack.supabase_url}/storage/v1/object/sign/plans/{path}?token=t",
        **team,
    }


def proposed(stack: RunningStack, user: Caller, session: str, **team: str) -> dict[str, Json]:
    user.rpc("propose_plan", **stored(stack, user, session, **team)).raise_for_status()
    return {"session_id": session, "version": 1}


def approved(stack: RunningStack, user: Caller, session: str) -> str:
    answer = user.rpc("approve_plan", **stored(stack, user, session))
    assert answer.status_code == 200, answer.text
    return str(answer.json()["agent_id"])


def claimed(stack: RunningStack, user: Caller, session: str) -> dict[str, Json]:
    claim = stack.claim(approved(stack, user, session))
    return {"build_id": claim["build_id"], "attempt": claim["attempt"]}


def failed(stack: RunningStack, user: Caller, session: str) -> str:
    build = claimed(stack, user, session)
    return str(stack.as_builder("fail_build", **build, message="no", retry=False)["agent_id"])


def finished(stack: RunningStack, user: Caller, session: str) -> str:
    return str(stack.as_builder("finish_build", **claimed(stack, user, session))["id"])


def deleted(stack: RunningStack, user: Caller, session: str) -> str:
    agent = approved(stack, user, session)
    user.rpc("delete_agent", agent_id=agent).raise_for_status()
    return agent


COMMENTS = [{"start": 2, "end": 6, "exact": "Plan", "body": "Which one?"}]
# What each call needs beforehand, and its arguments. A builder's calls are the service role's.
PREPARE: dict[str, Callable[..., dict[str, Json]]] = {
    "propose_plan": stored,
    "approve_plan": stored,
    "approve_plan, proposed": lambda *of: {**proposed(*of), "document_sha256": sha256("# Plan")},
    "approve_plan, with a note": lambda *of, **team: {
        **proposed(*of, **team),
        "document_sha256": sha256("# Plan"),
        "comment": "Yes.",
        "comments": COMMENTS,
    },
    "request_changes": lambda *of: {**proposed(*of), "comment": "Shorter,\nplease"},
    "request_changes, of a passage": lambda *of, **team: {**proposed(*of, **team), "comments": COMMENTS},
    "reject_plan": lambda *of, **team: {**proposed(*of, **team), "comment": "No"},
    "withdraw_plan": proposed,
    "transition_agent": lambda *of: {"agent_id": finished(*of), "to_status": "paused"},
    "delete_agent": lambda *of: {"agent_id": approved(*of)},
    "restore_agent": lambda *of: {"agent_id": deleted(*of)},
    "retry_build": lambda *of: {"agent_id": failed(*of)},
    "stop_build": lambda stack, *of: {"agent_id": stack.claim(approved(stack, *of))["agent_id"]},
    "renew_build": lambda *of: {**claimed(*of), "progress": 40, "message": "Working", "log": "Oven on"},
    "finish_build": claimed,
    "finish_build, with a result": lambda *of: {**claimed(*of), "result": {"url": "x"}, "log": "Done"},
    "fail_build": lambda *of: {**claimed(*of), "message": "Disk full", "log": "No room"},
    "fail_build, for good": lambda *of: {**claimed(*of), "message": "Cannot be built", "retry": False},
}
BUILDERS = {"renew_build", "finish_build", "fail_build"}
# A colleague's, who names the owner.
COLLEAGUES = ("approve_plan, with a note", "request_changes, of a passage", "reject_plan")


def state(user: Caller, session: str) -> Any:
    """Return all that the owner sees of the session, without what differs each time."""
    plans = user.rows("plan", session_id=f"eq.{session}")
    agents = user.rows("agent", session_id=f"eq.{session}")
    of_agents = {"agent_id": f"in.({','.join(agent['id'] for agent in agents)})"}
    builds = user.rows("build", order="created_at", **of_agents) if agents else []
    of_builds = {"build_id": f"in.({','.join(build['id'] for build in builds)})"}
    rows = [
        *plans,
        *agents,
        *(agent for agent in user.rpc("deleted_agents").json() if agent["session_id"] == session),
        *(user.rows("agent_event", **of_agents) if agents else []),
        *builds,
        *(user.rows("build_log", order="created_at", **of_builds) if builds else []),
    ]
    kept = {
        "status",
        "version",
        "kind",
        "from_status",
        "to_status",
        "comment",
        "comments",
        "attempt",
        "progress",
        "message",
        "result",
        "content",
    }
    return [
        {name: value for name, value in row.items() if name in kept}
        | {name: row[name] is None for name in ("decided_at", "finished_at", "deleted_at") if name in row}
        for row in rows
    ]


def of_user(stack: RunningStack, user: Caller) -> dict[str, str]:
    return {"apikey": stack.publishable_key, "Authorization": f"Bearer {user.token}"}


def of_builders(stack: RunningStack) -> dict[str, str]:
    return {"apikey": stack.secret_key, "Authorization": f"Bearer {stack.secret_key}"}


async def ask(
    url: str, function: str, headers: dict[str, str], arguments: dict[str, Json], seconds: float = 30
) -> httpx.Response:
    async with httpx.AsyncClient(headers=headers, timeout=seconds) as http:
        return await http.post(f"{url}/rest/v1/rpc/{function}", json=arguments)


async def ask_in_vain(
    proxy: Proxy, fault: str, function: str, headers: dict[str, str], arguments: dict[str, Json]
) -> None:
    """Send a call that this fault meets, and check that its caller did not learn what came of it."""
    if fault == "refused":
        proxy.refuse()
    hit = proxy.once(
        "rpc" if function in {"propose_plan", "approve_plan"} else function, OF_A_CALL.get(fault, before)
    )
    try:
        lost = await ask(proxy.url, function, headers, arguments, 1 if fault in HANGS else 30)
    except httpx.HTTPError:
        pass
    else:
        assert lost.status_code != 200 or "json" not in lost.headers["content-type"], fault
    if fault == "refused":
        await proxy.heal()
    else:
        # The caller gave up, but the database may still be at work.
        async with asyncio.timeout(30):
            await hit.wait()


@pytest.mark.anyio
@pytest.mark.parametrize("call", PREPARE)
@pytest.mark.soak
async def test_a_call_that_fails_and_is_repeated(
    stack: RunningStack, proxy: Proxy, user: Caller, call: str
) -> None:
    function = call.split(",", maxsplit=1)[0]
    headers = of_builders(stack) if function in BUILDERS else of_user(stack, user)
    await fail_and_repeat(stack, proxy, user, function, headers, partial(PREPARE[call], stack, user))


@pytest.mark.anyio
@pytest.mark.parametrize("call", COLLEAGUES)
@pytest.mark.soak
async def test_a_colleagues_decision_that_fails_and_is_repeated(
    stack: RunningStack, proxy: Proxy, user: Caller, call: str
) -> None:
    account = stack.sign_up()
    colleague = replace(user, id=account.id, token=account.token)
    with team_of(stack.needs_database()) as team:
        for member in (user, colleague):
            team.join(member.id)

        def prepare(session: str) -> dict[str, Json]:
            return {**PREPARE[call](stack, user, session, team_id=team.id), "user_id": user.id}

        headers = of_user(stack, colleague)
        await fail_and_repeat(stack, proxy, user, call.split(",", maxsplit=1)[0], headers, prepare)
    assert {plan["decided_by"] for plan in user.rows("plan")} == {colleague.id}


async def fail_and_repeat(
    stack: RunningStack,
    proxy: Proxy,
    owner: Caller,
    function: str,
    headers: dict[str, str],
    prepare: Callable[[str], dict[str, Json]],
) -> None:
    await proxy.heal()
    usual = new_session()
    arguments = await asyncio.to_thread(prepare, usual)
    answer = await ask(stack.supabase_url, function, headers, arguments)
    assert answer.status_code == 200, answer.text
    expected = state(owner, usual)

    assert expected
    for fault in KINDS:
        session = new_session()
        arguments = await asyncio.to_thread(prepare, session)
        await ask_in_vain(proxy, fault, function, headers, arguments)
        # The repetition comes by another way, as from another instance.
        again = await ask(stack.supabase_url, function, headers, arguments)
        assert again.status_code == 200, (fault, again.text)
        assert state(owner, session) == expected, fault
    await proxy.heal()


@pytest.mark.anyio
@pytest.mark.soak
async def test_a_claim_that_fails_costs_one_lease(stack: RunningStack, proxy: Proxy, user: Caller) -> None:
    """A claim has no repetition that answers the same: the build comes back when its lease ends, once."""
    await proxy.heal()
    headers = of_builders(stack)

    async def claims(worker: str) -> list[Json]:
        arguments = {"worker": worker, "max_builds": 100, "lease_seconds": 3600}
        answer = await ask(stack.supabase_url, "claim_builds", headers, arguments)
        assert answer.status_code == 200, answer.text
        rows: list[Json] = answer.json()
        return rows

    for fault in KINDS:
        session = new_session()
        agent = await asyncio.to_thread(approved, stack, user, session)
        await asyncio.to_thread(stack.make_due, agent)
        lost = {"worker": "lost", "lease_seconds": 3600}
        await ask_in_vain(proxy, fault, "claim_builds", headers, lost)
        (build,) = user.rows("build", agent_id=f"eq.{agent}")
        assert (build["attempt"], build["worker"]) in {(0, None), (1, "lost")}, fault
        if build["attempt"]:
            others = [claim for worker in ("one", "two") for claim in await claims(worker)]
            assert agent not in {claim["agent_id"] for claim in others}, fault
            await asyncio.to_thread(stack.make_due, agent)

        rows = [row for answer in await asyncio.gather(claims("one"), claims("two")) for row in answer]

        (claim,) = [row for row in rows if row["agent_id"] == agent]
        assert claim["attempt"] == build["attempt"] + 1, fault
        finish = {"build_id": claim["build_id"], "attempt": claim["attempt"]}
        late = await ask(stack.supabase_url, "finish_build", headers, {**finish, "attempt": build["attempt"]})
        assert (late.status_code, late.json()["message"]) == (409, "build_lost"), fault
        assert stack.as_builder("finish_build", **finish)["status"] == "active"
        (build,) = user.rows("build", agent_id=f"eq.{agent}")
        assert (build["status"], build["attempt"]) == ("succeeded", claim["attempt"]), fault
    await proxy.heal()


@pytest.mark.anyio
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.soak
async def test_a_proposal_through_the_service_whose_call_fails(
    stack: RunningStack, proxy: Proxy, process: Process, http: httpx.AsyncClient, user: Caller, call: str
) -> None:
    headers = {"Authorization": f"Bearer {user.token}", "Content-Type": "application/json"}
    for fault in FAULTS:
        if fault not in TELLING and not SOAK:
            continue
        handler, expected = fault_of(call, fault)
        request = body(content=f"# {fault}\n")
        hit = proxy.once(call, handler)
        answer = await http.post(f"{process.url}/plan/propose", content=encode(request), headers=headers)
        assert hit.is_set(), fault
        assert expect_problem(answer, *expected)["retryable"] is True

        again = user.propose(**request)  # by another instance of the service

        assert again.status_code == 200, (fault, again.text)
        (plan,) = user.rows("plan", session_id=f"eq.{request['plan_id']}")
        assert (plan["status"], plan["id"]) == ("proposed", again.json()["plan_id"])
        assert user.read(plan["document_path"]) == request["content"].encode()
    assert orphans(stack, user) == []
    assert user.rows("agent") == []
