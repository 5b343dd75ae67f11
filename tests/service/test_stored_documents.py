"""What is stored under a document's hash before the document arrives: the same bytes, or others."""

from dataclasses import replace

import httpx
import pytest

from tests.caller import Caller, expect_problem
from tests.conftest import RunningStack
from tests.plan import body, new_session, sha256

# tests/unit/test_upstream.py has other sizes and other bytes.
SIZES = pytest.mark.parametrize(
    ("content", "garbage"),
    [("# Plan\n", b"garbage"), ("# Plan\n" * 30_000, b"# Plan\n" * 30_000 + b"!")],
    ids=["small", "large"],
)


@pytest.fixture
def agent(stack: RunningStack, user: Caller) -> Caller:
    return replace(user, token=stack.token_for(user, client_id="an-agent"))


def upload(caller: Caller, session: str, content: str, garbage: bytes) -> str:
    path = caller.path(session, content)
    assert caller.upload(path, garbage).status_code == 200
    return path


@SIZES
def test_an_agents_garbage_is_replaced_by_what_its_human_approves(
    user: Caller, agent: Caller, content: str, garbage: bytes
) -> None:
    request = body(content=content)
    path = upload(agent, request["plan_id"], content, garbage)

    approved = user.approved(**request)

    assert approved["created"] is True
    assert httpx.get(approved["document_url"]).content == content.encode()
    assert user.read(path) == content.encode()
    assert user.approved(**request)["agent_id"] == approved["agent_id"]


@SIZES
def test_garbage_that_was_proposed_is_never_approved_as_the_document(
    user: Caller, agent: Caller, content: str, garbage: bytes
) -> None:
    request = body(content=content)
    path = upload(agent, request["plan_id"], content, garbage)
    url = f"{user.supabase.base_url}/storage/v1/object/sign/plans/{path}?token=t"
    version = {"session_id": request["plan_id"], "version": 1, "title": request["title"]}
    agent.done("propose_plan", **version, document_sha256=sha256(content), document_url=url)

    for _ in range(2):
        problem = expect_problem(user.approve(**request), 409, "document_conflict")
        assert problem["retryable"] is False
    expect_problem(user.propose(**request), 409, "document_conflict")
    assert user.rows("agent") == []
    # The session goes on with another text.
    assert user.approved(**{**request, "content": f"{content}!", "version": 2})["created"] is True


@SIZES
def test_the_same_bytes_are_left_where_they_are(
    user: Caller, agent: Caller, content: str, garbage: bytes
) -> None:
    request = body(content=content)
    upload(agent, request["plan_id"], content, content.encode())
    assert user.proposed(**request)["created"] is True
    assert user.approved(**request)["created"] is True
    assert agent.proposed(**request)["status"] == "approved"


def test_an_address_on_another_host_is_never_given_out(user: Caller, agent: Caller) -> None:
    session, content = new_session(), b"# Plan\n"
    path = upload(agent, session, content.decode(), content)
    version = {"session_id": session, "version": 1, "title": "A plan", "document_sha256": sha256(content)}
    url = f"https://elsewhere.example/storage/v1/object/sign/plans/{path}?token=t"
    plan = agent.done("propose_plan", **version, document_url=url)

    own = f"{user.supabase.base_url}/storage/v1/object/sign/plans/{path}?token="
    assert user.document(plan["plan_id"]).json()["document_url"].startswith(own)
    answers = [
        user.proposed(plan_id=session, content=content.decode()),
        user.approved(plan_id=session, content=content.decode()),
    ]
    assert all(answer["document_url"].startswith(own) for answer in answers)
    tool = agent.tool("get_decision", session_id=session, version=1)
    assert "elsewhere" not in tool.text


@SIZES
def test_an_agent_replaces_nothing_and_its_human_does(
    user: Caller, agent: Caller, content: str, garbage: bytes
) -> None:
    request = body(content=content)
    session = request["plan_id"]
    path = upload(agent, session, content, garbage)

    for _ in range(2):
        expect_problem(agent.propose(**request), 409, "document_conflict")
    refusal = agent.tool("propose_plan", title="A plan", content=content, session_id=session).json()["result"]
    assert (refusal["isError"], refusal["structuredContent"]["code"]) == (True, "document_conflict")
    assert "Change the plan" in refusal["structuredContent"]["next_step"]
    assert user.read(path) == garbage
    assert user.rows("plan") == []

    assert user.proposed(**request)["created"] is True
    assert user.read(path) == content.encode()
    assert agent.proposed(**request)["created"] is False
