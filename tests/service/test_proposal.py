"""Proposing over HTTP: what the planner may do, what is left to the human, and what is refused."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.caller import Caller, expect_problem
from tests.plan import body, new_session, sha256
from tests.services import ServiceWith


@pytest.fixture
def agent(stack: Any, user: Caller) -> Caller:
    """Return an OAuth client that acts for the user."""
    return replace(user, token=stack.token_for(user, client_id="a-planner"))


def test_a_proposal_waits_and_makes_no_agent(user: Caller, stack: Any) -> None:
    session = new_session()

    answer = user.proposed(plan_id=session, title="  A plan ", content="# Mine\n")

    (plan,) = user.rows("plan")
    assert answer == {
        "success": True,
        "message": "Plan proposed successfully",
        "document_url": answer["document_url"],
        "plan_id": plan["id"],
        "version": 1,
        "status": "proposed",
        "created": True,
        "review_url": f"{stack.local.settings.ui_url}/build?session={session}" if stack.local else None,
    }
    assert (plan["status"], plan["title"], plan["session_id"]) == ("proposed", "A plan", session)
    assert (plan["document_sha256"], plan["expires_at"]) == (sha256("# Mine\n"), None)
    assert httpx.get(answer["document_url"]).text == "# Mine\n"
    assert user.rows("agent") == []


def test_a_repeated_proposal_answers_with_what_has_become_of_it(user: Caller) -> None:
    request = body()
    first = user.proposed(**request)
    assert user.rpc(
        "request_changes", session_id=request["plan_id"], version=1, comment="Shorter."
    ).is_success

    again = user.proposed(**request)

    assert (again["plan_id"], again["created"], again["status"]) == (
        first["plan_id"],
        False,
        "changes_requested",
    )


def test_a_large_proposal_is_approved_without_sending_it_again(
    user: Caller,
) -> None:
    request = body(content="words " * 30_000)
    proposed = user.proposed(**request)

    approved = user.approved(**request)

    assert (approved["plan_id"], approved["created"]) == (proposed["plan_id"], True)
    (plan,) = user.rows("plan")
    assert (plan["status"], plan["proposed_by"]) == ("approved", "user")
    assert user.rows("agent")[0]["plan_id"] == proposed["plan_id"]


def test_an_oauth_client_may_propose_and_not_approve(user: Caller, agent: Caller) -> None:
    request = body()

    assert agent.proposed(**request)["created"] is True
    expect_problem(agent.approve(**request), 403, "human_required")
    expect_problem(agent.approve(**body()), 403, "human_required")

    assert user.rows("agent") == []
    assert user.approved(**request)["created"] is True
    assert user.rows("plan")[0]["proposed_by"] == "a-planner"


def test_what_the_service_can_judge_comes_before_human_required(agent: Caller) -> None:
    expect_problem(agent.approve(version=0), 422, "invalid_version")


def test_the_first_proposal_says_until_when_it_can_be_approved(user: Caller) -> None:
    request = body()
    before = datetime.now(UTC)
    user.proposed(**request, expires_in_seconds=60)
    (plan,) = user.rows("plan")
    expires_at = datetime.fromisoformat(plan["expires_at"])
    assert before + timedelta(seconds=60) <= expires_at <= datetime.now(UTC) + timedelta(seconds=60)
    assert user.proposed(**request, expires_in_seconds=31_536_000)["created"] is False
    assert user.rows("plan")[0]["expires_at"] == plan["expires_at"]


def test_a_proposal_carries_the_planners_message_and_a_repeat_keeps_the_first(user: Caller) -> None:
    request = body(message="Shorter now.")
    assert user.proposed(**request)["created"] is True
    assert user.proposed(**{**request, "message": "Longer now."})["created"] is False
    (plan,) = user.rows("plan")
    assert plan["message"] == "Shorter now."
    expect_problem(user.propose(**body(message=" \n")), 422, "invalid_message")
    assert len(user.rows("plan")) == 1


def test_a_wrong_time_is_refused_before_anything_is_stored(user: Caller) -> None:
    for seconds in (59, 0, -1, 31_536_001, 10**30):
        expect_problem(user.propose(expires_in_seconds=seconds), 422, "invalid_expires_at")
    others: list[object] = ["60", 60.5, True, []]
    for other in others:
        problem = expect_problem(user.propose(expires_in_seconds=other), 422, "invalid_request")
        assert [wrong["field"] for wrong in problem["errors"]] == ["expires_in_seconds"]
    assert user.has_nothing()


def test_the_session_goes_by_either_name(user: Caller) -> None:
    session = new_session()
    request = body()
    del request["plan_id"]

    def post(path: str, **names: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {user.token}"}
        return user.service.post(path, json={**request, **names}, headers=headers)

    for path in ("/plan/propose", "/plan/approve"):
        expect_problem(post(path), 422, "invalid_request")
        expect_problem(post(path, plan_id=session, session_id=session + "x"), 422, "invalid_request")
        expect_problem(post(path, session_id="a b"), 422, "invalid_session_id")
        assert user.folders() == []
    assert post("/plan/propose", session_id=session).json()["created"] is True
    assert post("/plan/propose", plan_id=session).json()["created"] is False
    assert post("/plan/approve", session_id=session, plan_id=session).json()["created"] is True
    assert [plan["session_id"] for plan in user.rows("plan")] == [session]


def test_the_review_url_leads_to_the_web_app(user: Caller, service_with: ServiceWith) -> None:
    process = service_with(UI_URL="https://app.example.com/")
    session = new_session()
    answer = httpx.post(
        f"{process.url}/plan/propose",
        json=body(plan_id=session),
        headers={"Authorization": f"Bearer {user.token}"},
    )
    assert answer.json()["review_url"] == f"https://app.example.com/build?session={session}"


def test_nothing_is_proposed_without_a_token(user: Caller, service: httpx.Client) -> None:
    expect_problem(service.post("/plan/propose", json=body()), 401, "not_authenticated")
    assert user.has_nothing()
