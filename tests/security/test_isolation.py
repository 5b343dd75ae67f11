"""Many users through one connection pool: no user meets another's rows, bytes or token."""

import asyncio
import json
import random
import re
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import httpx
import jwt
import pytest

from tests import SOAK
from tests.caller import Caller
from tests.conftest import RunningStack, User
from tests.faults.promise import approve
from tests.faults.proxy import Message, Proxy
from tests.plan import body, new_session, sha256
from tests.services import Process

Json = Any


def user_of(message: Message) -> str:
    token = (message.header("authorization") or "").removeprefix("Bearer ")
    return str(jwt.decode(token, options={"verify_signature": False})["sub"])


@pytest.mark.anyio
@pytest.mark.soak
async def test_users_interleaved_on_one_pool_never_meet(
    stack: RunningStack,
    proxy: Proxy,
    process: Process,
    http: httpx.AsyncClient,
    chance: random.Random,
) -> None:
    users = [stack.sign_up() for _ in range(4 if SOAK else 2)]
    sessions = 60
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


def names(*, user: str, session: str, plan: str, agent: str, build: str, sha256: str) -> dict[str, str]:
    return {
        "user": user, "session": session, "plan": plan, "agent": agent, "build": build,
        "path": f"{user}/{session}/{sha256}.md", "sha256": sha256,
    }  # fmt: skip


def test_other_users_ids_look_unknown(stack: RunningStack, user: Caller, stranger: Caller) -> None:
    """Every call that takes an id or a path, by someone whose it is not: through the API, the service and MCP."""
    waits = body(content="# Waits\n")
    user.proposed(**waits)
    approved = user.approved(plan_id=waits["plan_id"], version=2, content="# Approved\n")
    user.proposed(plan_id=waits["plan_id"], version=3, content="# Waits again\n")
    claim = stack.claim(approved["agent_id"])
    stack.as_builder("renew_build", build_id=claim["build_id"], attempt=1, log="theirs")
    (build,) = user.rows("build")
    theirs = names(
        user=user.id, session=waits["plan_id"], plan=approved["plan_id"], agent=approved["agent_id"],
        build=build["id"], sha256=sha256("# Approved\n"),
    )  # fmt: skip
    nothing = names(
        user=str(uuid.uuid4()), session=new_session(), plan=str(uuid.uuid4()), agent=str(uuid.uuid4()),
        build=str(uuid.uuid4()), sha256=sha256("nothing"),
    )  # fmt: skip
    bearer = {"Authorization": f"Bearer {stranger.token}"}

    def ask(method: str, path: str, **options: Any) -> httpx.Response:
        return stranger.supabase.request(method, path, headers=bearer, **options)

    def calls(of: dict[str, str]) -> dict[str, httpx.Response]:
        version = {"session_id": of["session"], "version": 3}
        agent = {"agent_id": of["agent"]}
        objects = "/storage/v1/object"
        listed = {"prefix": f"{of['user']}/{of['session']}", "limit": 9, "offset": 0}
        moved = {
            "bucketId": "plans",
            "sourceKey": of["path"],
            "destinationKey": f"{stranger.id}/s/{of['sha256']}.md",
        }
        return {
            "approve_plan": stranger.rpc("approve_plan", **version, document_sha256=of["sha256"]),
            "approve_plan of theirs": stranger.rpc(
                "approve_plan", **version, title="\u2066", document_sha256=of["sha256"], user_id=of["user"]
            ),
            "approve_plan of theirs by its hash": stranger.rpc(
                "approve_plan", **version, document_sha256=sha256("# Waits again\n"), user_id=of["user"]
            ),
            "request_changes": stranger.rpc("request_changes", **version, comment="c"),
            "request_changes of theirs": stranger.rpc(
                "request_changes", **version, comment="c", user_id=of["user"]
            ),
            "reject_plan": stranger.rpc("reject_plan", **version),
            "reject_plan of theirs": stranger.rpc("reject_plan", **version, user_id=of["user"]),
            "withdraw_plan": stranger.rpc("withdraw_plan", **version),
            "withdraw_plan for them": stranger.rpc("withdraw_plan", **version, user_id=of["user"]),
            "propose_plan for them": stranger.rpc(
                "propose_plan", **version, title="t", document_sha256=of["sha256"], user_id=of["user"],
                document_url=f"https://x/object/sign/plans/{of['path']}?token=x",
            ),
            "propose_plan with their URL": stranger.rpc(
                "propose_plan", **version, title="t", document_sha256=of["sha256"],
                document_url=f"https://x/object/sign/plans/{of['path']}?token=x",
            ),
            "transition_agent": stranger.rpc("transition_agent", **agent, to_status="archived"),
            "retry_build": stranger.rpc("retry_build", **agent),
            "stop_build": stranger.rpc("stop_build", **agent),
            "delete_agent": stranger.rpc("delete_agent", **agent),
            "restore_agent": stranger.rpc("restore_agent", **agent),
            "renew_build": stranger.rpc("renew_build", build_id=of["build"], attempt=1),
            "finish_build": stranger.rpc("finish_build", build_id=of["build"], attempt=1),
            "fail_build": stranger.rpc("fail_build", build_id=of["build"], attempt=1, message="m"),
            **{f"read {one}": ask("GET", f"/rest/v1/{one}?id=eq.{of[one]}") for one in ("plan", "agent", "build")},
            "read build_log": ask("GET", f"/rest/v1/build_log?build_id=eq.{of['build']}"),
            "read what belongs together": ask(
                "GET", f"/rest/v1/agent?select=*,plan(*),agent_event(*),build(*)&id=eq.{of['agent']}"
            ),
            "display_names": stranger.rpc("display_names", plan_ids=[of["plan"]]),
            "read agent_event": ask("GET", f"/rest/v1/agent_event?agent_id=eq.{of['agent']}"),
            "read by session": ask("GET", f"/rest/v1/plan?session_id=eq.{of['session']}"),
            "update": ask("PATCH", f"/rest/v1/plan?id=eq.{of['plan']}", json={"status": "archived"}),
            "download": ask("GET", f"{objects}/authenticated/plans/{of['path']}"),
            "info": ask("GET", f"{objects}/info/authenticated/plans/{of['path']}"),
            "sign": ask("POST", f"{objects}/sign/plans/{of['path']}", json={"expiresIn": 60}),
            "sign many": ask("POST", f"{objects}/sign/plans", json={"expiresIn": 60, "paths": [of["path"]]}),
            "list": ask("POST", f"{objects}/list/plans", json=listed),
            "move": ask("POST", f"{objects}/move", json=moved),
            "copy": ask("POST", f"{objects}/copy", json=moved),
            "upload": ask("POST", f"{objects}/plans/{of['path']}", content=b"x"),
            "delete": ask("DELETE", f"{objects}/plans/{of['path']}"),
            "delete many": ask("DELETE", f"{objects}/plans", json={"prefixes": [of["path"]]}),
            "service: document": stranger.document(of["plan"]),
            "mcp: get_decision": stranger.tool("get_decision", **version, wait_seconds=0),
            "mcp: withdraw_plan": stranger.tool("withdraw_plan", **version),
        }  # fmt: skip

    def said(answer: httpx.Response, of: dict[str, str]) -> tuple[int, str]:
        text = re.sub(r'"request_id":"[^"]*"', "", answer.text)
        for name, value in of.items():
            text = text.replace(value, f"<{name}>")
        return answer.status_code, text

    def state() -> Any:
        tables = [user.rows(table) for table in ("plan", "agent", "agent_event", "build")]
        return *tables, user.rows("build_log", order="attempt"), user.objects(theirs["session"])

    before = state()
    assert all(before)
    got, expected = calls(theirs), calls(nothing)

    # Storage looks past the policies before it deletes one: docs/security.md.
    assert {call for call in got if said(got[call], theirs) != said(expected[call], nothing)} == {"delete"}
    assert state() == before
    assert stranger.has_nothing()


def doors(caller: Caller, request: Json) -> list[Callable[[], httpx.Response]]:
    """Return every way to propose this plan, and to approve it."""
    version = {"session_id": request["plan_id"], "version": 1}
    plan = {"title": request["title"], "content": request["content"]}
    digest = sha256(request["content"])
    return [
        partial(caller.propose, **request),
        partial(caller.tool, "propose_plan", **plan, **version),
        partial(caller.approve, **request),
        partial(caller.rpc, "approve_plan", **version, document_sha256=digest),
    ]


def test_two_users_with_the_same_session_and_document_at_once(user: Caller, stranger: Caller) -> None:
    """Propose and decide through every door at the same moment: each has their own, and one of each."""
    both = (user, stranger)
    for _ in range(2):
        request = body(content="# The same words\n")
        session = request["plan_id"]
        with ThreadPoolExecutor(16) as pool:
            running = [pool.submit(door) for caller in both * 2 for door in doors(caller, request)]
            answers = [one.result() for one in running]
        assert {answer.status_code for answer in answers} <= {200, 422}, [answer.text for answer in answers]

        for caller in both:
            (row,) = caller.rows("plan", session_id=f"eq.{session}")
            (agent,) = caller.rows("agent", session_id=f"eq.{session}")
            assert (row["user_id"], row["status"], agent["plan_id"]) == (caller.id, "approved", row["id"])
            assert row["document_path"].startswith(f"{caller.id}/")
            assert len(caller.rows("agent_event", agent_id=f"eq.{agent['id']}")) == 1
            assert len(caller.rows("build", agent_id=f"eq.{agent['id']}")) == 1
            assert caller.objects(session) == [f"{sha256(request['content'])}.md"]
