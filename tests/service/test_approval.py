"""Approving over real HTTP, by those who may, and what is refused."""

from typing import Any

import httpx

from tests.caller import Caller, expect_problem
from tests.plan import LIMIT, body, new_session, sha256

# Approving ---------------------------------------------------------------------------------------------


def test_approve_endpoint_creates_both_records(user: Caller) -> None:
    session, content = new_session(), "# Checklist\n"

    answer = user.approved(plan_id=session, title="Checklist", content=content)

    (plan,) = user.rows("plan")
    (agent,) = user.rows("agent")
    assert plan["id"] == answer["plan_id"]
    assert plan["title"] == "Checklist"
    assert plan["status"] == "approved"
    assert plan["document_path"] == f"{user.id}/{session}/{sha256(content)}.md"
    assert plan["document_url"] == answer["document_url"]
    assert agent["id"] == answer["agent_id"]
    assert agent["name"] == "Checklist"
    assert agent["status"] == "building"


def test_foreign_key_constraint_agent_plan_id_to_plan_id(user: Caller) -> None:
    answer = user.approved()

    # The Data API embeds one table in another only along a foreign key.
    (agent,) = user.rows("agent", select="id,plan_id,plan(id)")

    assert agent == {
        "id": answer["agent_id"],
        "plan_id": answer["plan_id"],
        "plan": {"id": answer["plan_id"]},
    }


def test_frontend_receives_agent_id_in_response(user: Caller) -> None:
    answer = user.approved()

    assert answer["success"] is True
    assert answer["message"] == "Plan approved and agent created successfully"
    assert answer["agent_id"] == user.rows("agent")[0]["id"]


def test_error_handling_rollback_on_failure(user: Caller, stack: Any) -> None:
    session = new_session()
    user.approved(plan_id=session, version=2, content="two")
    before = [user.rows(table) for table in ("plan", "agent", "agent_event")]

    expect_problem(user.approve(plan_id=session, version=1, content="one"), 409, "plan_stale")

    assert [user.rows(table) for table in ("plan", "agent", "agent_event")] == before
    assert user.objects(session) == [f"{sha256('two')}.md"]


def test_the_document_comes_back_byte_for_byte(user: Caller) -> None:
    content = "\ufeff# Pl\u00e4ne \U0001f680\r\n\r\n  trailing  \u2028 e\u0301 \x07\x1b\n\n"

    answer = user.approved(content=content)

    assert httpx.get(answer["document_url"]).content == content.encode()


def test_a_second_approval_of_the_same_is_a_replay(user: Caller) -> None:
    request = body()
    first = user.approved(**request)

    second = user.approved(**{**request, "title": "Another title"})

    assert first["created"] is True
    assert second["created"] is False
    same = ("plan_id", "agent_id", "agent_status", "version")
    assert [second[name] for name in same] == [first[name] for name in same]
    assert [plan["title"] for plan in user.rows("plan")] == ["A plan"]
    assert [event["kind"] for event in user.rows("agent_event")] == ["approved"]


def test_an_approval_carries_notes_and_a_repeat_keeps_the_first(user: Caller) -> None:
    passage = {"start": 2, "end": 6, "exact": "Plan", "body": "Whose? \U0001f600"}
    request = body(content="# Plan\n", comment="Go.", comments=[passage])
    assert user.approved(**request)["created"] is True
    assert user.approved(**{**request, "comment": "Stop.", "comments": None})["created"] is False

    (plan,) = user.rows("plan")
    assert (plan["comment"], plan["comments"]) == ("Go.", [passage])

    # What the service cannot judge, the database does.
    many = [{**passage, "body": "x" * 4000}] * 20
    for wrong in ([{**passage, "end": 7}], many):
        other = body(comments=wrong)
        expect_problem(user.approve(**other), 422, "invalid_comments")
        assert user.objects(other["plan_id"]) == []
    assert len(user.rows("plan")) == 1


def test_a_hash_that_is_the_documents_is_accepted(user: Caller) -> None:
    assert user.approved(content="seen", content_sha256=sha256("seen"))["created"] is True
    assert user.approved(content="seen", content_sha256=None)["created"] is True


def test_a_document_of_one_byte_and_one_of_the_largest_size(user: Caller) -> None:
    for content in ("x", "\u00e9" * (LIMIT // 2)):
        answer = user.approved(content=content)
        assert httpx.get(answer["document_url"]).content == content.encode()


# Refusals of the database, after the upload ------------------------------------------------------------


def test_a_refusal_does_not_take_a_document_that_a_plan_refers_to(user: Caller) -> None:
    session = new_session()
    user.approved(plan_id=session, version=1, content="same words")
    user.approved(plan_id=session, version=3, content="other words")

    # The bytes of version 1 once more, as a version that comes too late.
    expect_problem(user.approve(plan_id=session, version=2, content="same words"), 409, "plan_stale")

    replay = user.approved(plan_id=session, version=1, content="same words")
    assert httpx.get(replay["document_url"]).text == "same words"


# Bad input: tests/security/test_input.py has the fields -------------------------------------------------

NOT_JSON = (
    *(
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"{}",
        b'{"plan_id": "a", "title": "t"}',
        b"\xff\xfe{}",
        b"[" * 100_000,
    ),
    b'{"plan_id": "a", "title": "t", "content": "\xff"}',
    b'{"plan_id": "a", "title": "t", "content": "c"} trailing',
)


def test_what_is_not_the_right_json_is_an_invalid_request(user: Caller) -> None:
    headers = {"Authorization": f"Bearer {user.token}", "Content-Type": "application/json"}
    for raw in NOT_JSON:
        answer = user.service.post("/plan/approve", content=raw, headers=headers)
        assert expect_problem(answer, 422, "invalid_request")["errors"], raw[:30]
    assert user.has_nothing()


def test_unknown_fields_are_ignored(user: Caller) -> None:
    assert user.approved(colour="green")["created"] is True
