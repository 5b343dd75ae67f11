"""The service's points of the acceptance checklist, each by its name.

The migration and the tables are in tests/database/, the redirect and what the page receives in tests/web/.
"""

from typing import Any

import httpx

from tests.service.conftest import Caller, expect_problem, new_session, sha256


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
