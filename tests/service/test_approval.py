"""Approving over real HTTP, by those who may, and what is refused."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from tests.caller import Caller, expect_problem
from tests.plan import LIMIT, body, new_session, sha256


def at_once(calls: list[Callable[[], httpx.Response]]) -> list[httpx.Response]:
    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(lambda call: call(), calls))


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


def test_fifty_approvals_at_once_give_one_agent_and_the_same_ids(user: Caller) -> None:
    request = body()

    answers = at_once([lambda: user.approve(**request)] * 50)

    assert {answer.status_code for answer in answers} == {200}
    assert len({(answer.json()["plan_id"], answer.json()["agent_id"]) for answer in answers}) == 1
    assert sum(answer.json()["created"] for answer in answers) == 1
    assert len(user.rows("plan")) == len(user.rows("agent")) == len(user.rows("agent_event")) == 1


def test_eight_versions_racing_give_one_agent(user: Caller) -> None:
    session = new_session()

    def version(number: int) -> Callable[[], httpx.Response]:
        return lambda: user.approve(plan_id=session, version=number, content=f"version {number}")

    answers = at_once([version(number) for number in range(1, 9)])

    for answer in answers:
        if answer.status_code != 200:
            expect_problem(answer, 409, "plan_stale")
    accepted = [answer.json() for answer in answers if answer.status_code == 200]
    assert answers[-1].status_code == 200  # nothing is newer than the eighth
    assert len({answer["agent_id"] for answer in accepted}) == 1
    (agent,) = user.rows("agent", select="*,plan(version)")
    assert agent["plan"]["version"] == 8
    assert len(user.rows("plan")) == len(accepted)
    # The documents of the versions that came too late are gone.
    hashes = [sha256(f"version {answer['version']}") for answer in accepted]
    assert user.objects(session) == sorted(f"{sha}.md" for sha in hashes)


def test_a_newer_version_revises_the_agent_that_is_there(user: Caller) -> None:
    session = new_session()
    first = user.approved(plan_id=session, content="one", title="One")

    second = user.approved(plan_id=session, version=3, content="three", title="Three")

    assert second["created"] is True
    assert second["agent_id"] == first["agent_id"]
    assert second["plan_id"] != first["plan_id"]
    statuses = {plan["version"]: plan["status"] for plan in user.rows("plan")}
    assert statuses == {1: "superseded", 3: "approved"}
    (agent,) = user.rows("agent")
    assert (agent["name"], agent["plan_id"]) == ("Three", second["plan_id"])
    assert user.approved(plan_id=session, content="one")["plan_id"] == first["plan_id"]


def test_a_title_is_trimmed_of_white_space_and_may_have_500_characters(user: Caller) -> None:
    title = "\U0001f680" * 499 + "\u00fc"

    answer = user.approved(title=f"\u3000\t{title}\n\u0085 ")

    assert user.rows("plan", id=f"eq.{answer['plan_id']}")[0]["title"] == title
    assert user.rows("agent")[0]["name"] == title[:200]


def test_a_hash_that_is_the_documents_is_accepted(user: Caller) -> None:
    assert user.approved(content="seen", content_sha256=sha256("seen"))["created"] is True
    assert user.approved(content="seen", content_sha256=None)["created"] is True


def test_a_document_of_one_byte_and_one_of_the_largest_size(user: Caller) -> None:
    for content in ("x", "\u00e9" * (LIMIT // 2)):
        answer = user.approved(content=content)
        assert httpx.get(answer["document_url"]).content == content.encode()


def test_two_users_with_the_same_session_and_document_share_nothing(user: Caller, stranger: Caller) -> None:
    request = body()

    mine, theirs = user.approved(**request), stranger.approved(**request)

    assert mine["agent_id"] != theirs["agent_id"]
    assert [plan["id"] for plan in user.rows("plan")] == [mine["plan_id"]]
    assert [plan["id"] for plan in stranger.rows("plan")] == [theirs["plan_id"]]


# Refusals of the database, after the upload ------------------------------------------------------------


def test_the_same_version_with_another_document_is_a_conflict(user: Caller) -> None:
    session = new_session()
    user.approved(plan_id=session, content="one")

    problem = expect_problem(user.approve(plan_id=session, content="changed"), 409, "plan_conflict")

    assert problem["retryable"] is False
    assert user.objects(session) == [f"{sha256('one')}.md"]
    assert len(user.rows("plan")) == 1


def test_a_stale_version_names_the_newest(user: Caller) -> None:
    session = new_session()
    user.approved(plan_id=session, version=7, content="seven")

    problem = expect_problem(user.approve(plan_id=session, version=6, content="six"), 409, "plan_stale")

    assert "7" in problem["detail"]
    assert user.objects(session) == [f"{sha256('seven')}.md"]


def test_a_refusal_does_not_take_a_document_that_a_plan_refers_to(user: Caller) -> None:
    session = new_session()
    user.approved(plan_id=session, version=1, content="same words")
    user.approved(plan_id=session, version=3, content="other words")

    # The bytes of version 1 once more, as a version that comes too late.
    expect_problem(user.approve(plan_id=session, version=2, content="same words"), 409, "plan_stale")

    replay = user.approved(plan_id=session, version=1, content="same words")
    assert httpx.get(replay["document_url"]).text == "same words"


def test_a_deleted_agent_refuses_even_a_replay_and_names_itself(user: Caller) -> None:
    request = body()
    agent_id = user.approved(**request)["agent_id"]
    assert user.rpc("delete_agent", agent_id=agent_id).status_code == 200

    problem = expect_problem(user.approve(**request), 409, "agent_deleted")

    assert agent_id in problem["detail"]
    assert user.rpc("restore_agent", agent_id=agent_id).status_code == 200
    assert user.approved(**request)["agent_id"] == agent_id


def test_an_archived_agent_answers_a_replay_and_refuses_anything_new(user: Caller) -> None:
    request = body()
    first = user.approved(**request)
    assert user.rpc("transition_agent", agent_id=first["agent_id"], to_status="archived").status_code == 200

    replay = user.approved(**request)
    newer = user.approve(**{**request, "version": 2, "content": "new"})

    assert (replay["agent_id"], replay["agent_status"]) == (first["agent_id"], "archived")
    expect_problem(newer, 409, "agent_archived")
    assert user.objects(request["plan_id"]) == [f"{sha256(request['content'])}.md"]


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
