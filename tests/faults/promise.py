"""Approving as a patient caller does, and what must be true after every fault."""

import asyncio
from typing import Any

import httpx

from tests.caller import Caller, Json
from tests.conftest import RunningStack
from tests.plan import body, encode, sha256


async def approve(
    http: httpx.AsyncClient, url: str, token: str, request: Json, verb: str = "approve"
) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    return await http.post(f"{url}/plan/{verb}", content=encode(request), headers=headers)


async def approve_until_done(
    http: httpx.AsyncClient, url: str, token: str, request: Json, verb: str = "approve"
) -> Json:
    """Like a patient caller: try again when the connection breaks or the answer is retryable."""
    async with asyncio.timeout(60):
        while True:
            try:
                answer = await approve(http, url, token, request, verb)
            except httpx.TransportError:
                await asyncio.sleep(0.05)
                continue
            if answer.status_code == 200:
                return answer.json()
            assert answer.json()["retryable"] is True, answer.text
            await asyncio.sleep(0.05)


def assert_one_of_each(stack: RunningStack, caller: Caller, *approvals: tuple[Json, Json]) -> None:
    """Check the promise for each request and its final answer.

    One plan, one agent, one event, a document of the very bytes, and nothing left over.
    """
    plans, agents, events = (caller.rows(table) for table in ("plan", "agent", "agent_event"))
    for request, answer in approvals:
        (plan,) = [row for row in plans if row["session_id"] == request["plan_id"]]
        (agent,) = [row for row in agents if row["session_id"] == request["plan_id"]]
        (event,) = [row for row in events if row["agent_id"] == agent["id"]]
        assert (answer["plan_id"], answer["agent_id"]) == (plan["id"], agent["id"])
        assert (agent["plan_id"], event["plan_id"], event["kind"]) == (plan["id"], plan["id"], "approved")
        document = caller.read(plan["document_path"])
        assert document == request["content"].encode()
        assert sha256(document) == plan["document_sha256"]
    assert orphans(stack, caller) == []


def orphans(stack: RunningStack, caller: Caller) -> list[str]:
    """Return the user's documents that no plan refers to, however young."""
    answer = caller.post(
        "/rest/v1/rpc/orphaned_documents",
        json={"older_than": "0 seconds", "after_name": f"{caller.id}/", "batch_size": 1000},
        headers={"apikey": stack.secret_key, "Authorization": f"Bearer {stack.secret_key}"},
    )
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, Any]] = answer.json()
    return [row["name"] for row in rows if row["name"].startswith(f"{caller.id}/")]


def requests(count: int) -> list[Json]:
    """Return requests for different planning sessions, each with a document of its own."""
    return [body(content=f"# Plan {number}\n") for number in range(count)]
