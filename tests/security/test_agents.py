"""A token with a client_id is a program acting for the user, in whatever form the claim comes: it decides nothing."""

import uuid
from typing import Any

import psycopg
import pytest

from tests.caller import Caller, expect_problem
from tests.conftest import RunningStack
from tests.faults.test_decisions import approved, deleted, failed, finished, proposed
from tests.plan import body, new_session, sha256

DISGUISES: dict[str, Any] = {
    "an id": str(uuid.uuid4()),
    "an empty string": "",
    "white space": " ",
    "a number": 0,
    "false": False,
    "an empty list": [],
    "a list": ["user"],
    "an object": {"client_id": None},
    "the word null": "null",
    "the word user": "user",
    "the words service_role": "service_role",
    "upper case": "USER",
    "the user's own id": "{user}",
}


@pytest.mark.parametrize("disguise", DISGUISES)
def test_a_client_proposes_and_decides_nothing(stack: RunningStack, user: Caller, disguise: str) -> None:
    client_id = user.id if DISGUISES[disguise] == "{user}" else DISGUISES[disguise]
    client = Caller(user.id, stack.token_for(user, client_id=client_id), user.service, user.supabase)
    session = new_session()
    plan = proposed(stack, user, session)
    human_calls = {
        "approve_plan": {**plan, "document_sha256": sha256("# Plan")},
        "request_changes": {**plan, "comment": "Shorter"},
        "reject_plan": plan,
        "transition_agent": {"agent_id": finished(stack, user, new_session()), "to_status": "archived"},
        "delete_agent": {"agent_id": approved(stack, user, new_session())},
        "restore_agent": {"agent_id": deleted(stack, user, new_session())},
        "retry_build": {"agent_id": failed(stack, user, new_session())},
    }
    before = [user.rows(table) for table in ("plan", "agent", "agent_event", "build")]

    for function, arguments in human_calls.items():
        refusal = client.rpc(function, **arguments)
        assert (refusal.status_code, refusal.json()["message"]) == (403, "human_required"), function
    expect_problem(client.approve(plan_id=session, content="# Plan"), 403, "human_required")
    expect_problem(client.approve(), 403, "human_required")

    # Over MCP there is no tool that decides; those that there are work.
    for function, arguments in human_calls.items():
        assert "invalid_request" in client.tool(function, **arguments).text, function
    assert '"proposed"' in client.tool("get_decision", **plan).text

    assert [user.rows(table) for table in ("plan", "agent", "agent_event", "build")] == before
    assert '"created":true' in client.tool("propose_plan", title="By a client", content="# Over MCP\n").text
    proposal = client.propose(**body(content="# By a client\n"))
    assert proposal.status_code == 200, proposal.text
    (row,) = user.rows("plan", id=f"eq.{proposal.json()['plan_id']}")
    # Never mistaken for the two that are not clients.
    assert row["proposed_by"] not in {"user", "service_role"}
    assert client.rpc("withdraw_plan", **plan).json()["status"] == "withdrawn"


@pytest.mark.parametrize(
    "claims",
    [
        {"client_id": None},
        {"clientId": "mcp", "CLIENT_ID": "mcp", "client-id": "mcp", "azp": "mcp"},
        {"app_metadata": {"client_id": "mcp"}, "user_metadata": {"client_id": "mcp"}},
    ],
    ids=["null", "other names", "metadata"],
)
def test_a_token_without_the_claim_is_the_humans(
    stack: RunningStack, user: Caller, claims: dict[str, Any]
) -> None:
    human = Caller(user.id, stack.token_for(user, **claims), user.service, user.supabase)

    assert human.approved()["created"] is True
    proposal = body()
    assert human.propose(**proposal).status_code == 200
    answer = human.approve(**proposal)
    assert answer.status_code == 200, answer.text
    (row,) = user.rows("plan", session_id=f"eq.{proposal['plan_id']}")
    assert (row["status"], row["proposed_by"]) == ("approved", "user")


def test_a_client_is_known_by_its_session_where_a_hook_drops_the_claim(
    stack: RunningStack, user: Caller
) -> None:
    """Supabase Auth replaces all claims by the answer of a Custom Access Token Hook, and does not ask for this one."""
    client_id, session_id = str(uuid.uuid4()), str(uuid.uuid4())
    session = new_session()
    plan = proposed(stack, user, session)
    with psycopg.connect(stack.needs_database()) as connection:
        connection.execute(
            "insert into auth.sessions (id, user_id, oauth_client_id) values (%s, %s, %s)",
            (session_id, user.id, client_id),
        )
    client = Caller(user.id, stack.token_for(user, session_id=session_id), user.service, user.supabase)
    before = [user.rows(table) for table in ("plan", "agent", "agent_event", "build")]

    for function, arguments in {
        "approve_plan": {**plan, "document_sha256": sha256("# Plan")},
        "request_changes": {**plan, "comment": "Shorter"},
        "reject_plan": plan,
    }.items():
        refusal = client.rpc(function, **arguments)
        assert (refusal.status_code, refusal.json()["message"]) == (403, "human_required"), function
    expect_problem(client.approve(plan_id=session, content="# Plan"), 403, "human_required")

    assert [user.rows(table) for table in ("plan", "agent", "agent_event", "build")] == before
    assert client.rpc("withdraw_plan", **plan).json()["decided_via"] == client_id
    assert user.approved()["created"] is True


def test_an_anonymous_user_decides_nothing_until_the_project_says_so(
    stack: RunningStack, user: Caller
) -> None:
    plan = proposed(stack, user, session := new_session())
    token = stack.token_for(user, is_anonymous=True)
    anonymous = Caller(user.id, token, user.service, user.supabase)
    refusal = anonymous.rpc("reject_plan", **plan)
    assert (refusal.status_code, refusal.json()["message"]) == (403, "human_required")
    assert "anonymous" in refusal.json()["details"]
    expect_problem(anonymous.approve(plan_id=session, content="# Plan"), 403, "human_required")
    assert anonymous.propose(**body(plan_id=session, version=2)).status_code == 200
    assert user.rpc("reject_plan", **{**plan, "version": 2}).json()["status"] == "rejected"


def test_a_banned_user_is_refused_at_once(stack: RunningStack, user: Caller) -> None:
    """Their access token goes on until it expires; a ban until its end."""
    plan = proposed(stack, user, new_session())
    for until, status in (("now() + interval '1 hour'", 401), ("now() - interval '1 hour'", 200)):
        with psycopg.connect(stack.needs_database()) as connection:
            connection.execute(f"update auth.users set banned_until = {until} where id = %s", (user.id,))
        assert user.rpc("reject_plan", **plan).status_code == status
        assert user.propose(**body()).status_code == status
        assert user.approve(**body()).status_code == status
