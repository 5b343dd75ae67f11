"""approve_plan() of what was proposed: three arguments, no upload; and what can no longer be approved."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest

from tests.plan import sha256

from .conftest import Project, User, document_of, refused, signed_url
from .invariants import broken_invariants

DECIDED_OTHERWISE = ("changes_requested", "rejected", "withdrawn")
ONCE_APPROVED = ("approved", "directly-approved", "superseded", "archived")


def test_session_version_and_hash_approve_a_proposal(project: Project) -> None:
    user = project.new_user()
    title = "T" * 300
    proposal = project.store_and_propose(user.with_claims(client_id="mcp"), version=3, title=title)
    before = project.plan(user, version=3)

    answer = project.approve_proposed(user.with_claims(aal="aal2"), version=3)

    plan = project.plan(user, version=3)
    (agent,) = project.rows("select * from public.agent")
    (event,) = project.rows("select * from public.agent_event")
    (build,) = project.rows("select * from public.build")
    assert answer == {
        "plan_id": proposal["plan_id"],
        "agent_id": agent["id"],
        "agent_status": "building",
        "version": 3,
        "created": True,
    }
    changed = {name for name in plan if plan[name] != before[name]}
    assert changed == {"status", "decided_at", "decided_by", "decided_aal", "decided_via", "updated_at"}
    assert plan["decided_by"] == user.id
    assert (plan["status"], plan["decided_aal"], plan["decided_via"]) == ("approved", "aal2", "user")
    assert plan["decided_at"] is not None
    assert (agent["plan_id"], agent["name"], agent["status"]) == (plan["id"], "T" * 200, "building")
    assert (event["kind"], event["to_status"], event["version"]) == ("approved", "building", 3)
    assert (event["actor"], event["actor_role"]) == (user.id, "authenticated")
    assert (event["plan_id"], event["document_sha256"]) == (plan["id"], plan["document_sha256"])
    assert (build["agent_id"], build["plan_id"], build["status"]) == (agent["id"], plan["id"], "queued")
    assert broken_invariants(project) == []


def test_a_direct_approval_records_its_decision_as_well(project: Project) -> None:
    user = project.new_user()
    project.store_and_approve(user.with_claims(aal="aal1"))
    project.store_and_approve(user, "s2")
    plan = project.plan(user)
    assert (plan["decided_aal"], plan["proposed_by"], plan["comment"]) == ("aal1", None, None)
    assert plan["decided_via"] == "user"
    assert plan["decided_at"] is not None
    assert project.plan(user, "s2")["decided_aal"] is None


def test_approving_a_newer_proposal_moves_the_agent(project: Project) -> None:
    user = project.new_user()
    first = project.store_and_approve(user, version=1)
    project.activate(first["agent_id"])
    project.store_and_propose(user, version=2, title="Two")
    second = project.approve_proposed(user, version=2)

    assert (second["agent_id"], second["created"]) == (first["agent_id"], True)
    assert [row["status"] for row in project.rows("select status from public.plan order by version")] == [
        "superseded",
        "approved",
    ]
    (agent,) = project.rows("select name, status, plan_id from public.agent")
    assert agent == {"name": "Two", "status": "building", "plan_id": second["plan_id"]}
    assert project.events(first["agent_id"])[-1]["kind"] == "revised"
    assert broken_invariants(project) == []


def test_a_version_of_ones_own_is_approved_directly_over_a_proposal(project: Project) -> None:
    """The human edits what was proposed; the edited document is the next version."""
    user = project.new_user()
    project.store_and_approve(user, version=1)
    project.store_and_propose(user, version=2)
    project.store_and_approve(user, version=3)
    plans = project.rows(
        "select version, status, decided_at is not null as decided from public.plan order by version"
    )
    assert plans == [
        {"version": 1, "status": "superseded", "decided": True},
        {"version": 2, "status": "superseded", "decided": False},
        {"version": 3, "status": "approved", "decided": True},
    ]
    assert broken_invariants(project) == []


# What is given beside the three ------------------------------------------------------------------------------


def test_a_title_that_is_given_must_be_the_proposals(project: Project) -> None:
    user = project.new_user()
    project.store_and_propose(user, title="Ship it")
    before = project.everything()
    for other in ("Ship  it", "ship it", "Ship it!"):
        with refused("plan_conflict", "PT409"):
            project.approve_proposed(user, title=other)
    with refused("invalid_title", "PT422"):
        project.approve_proposed(user, title=" ")
    assert project.everything() == before
    assert project.approve_proposed(user, title="\u2003Ship it\n")["created"] is True
    assert project.plan(user)["title"] == "Ship it"


def test_a_url_that_is_given_is_checked_and_dropped(project: Project) -> None:
    user = project.new_user()
    project.store_and_propose(user)
    before = project.plan(user)
    url = signed_url(user, "s1", before["document_sha256"])
    for wrong in ("", "https://x.example/", url.replace("/plans/", "/other/")):
        with refused("invalid_document_url", "PT422"):
            project.approve_proposed(user, document_url=wrong)
    assert project.plan(user) == before
    assert project.approve_proposed(user, document_url=url.replace("?token=t", "?token=fresh"))["created"]
    assert project.plan(user)["document_url"] == before["document_url"]


def test_a_document_other_than_the_proposed_one_is_not_approved(project: Project) -> None:
    """The page approves by the hash of the bytes that it showed."""
    user = project.new_user()
    project.store_and_propose(user)
    project.store(user, document="# Other")
    before = project.everything()
    with refused("plan_conflict", "PT409"):
        project.approve_proposed(user, document="# Other")
    with refused("plan_conflict", "PT409"):
        project.approve(user, document="# Other")
    for missing in (None, "", "A" * 64):
        with refused("invalid_document_sha256", "PT422"):
            project.approve_proposed(user, document_sha256=missing)
    assert project.everything() == before


def test_a_proposal_of_another_user_is_a_version_that_was_not_proposed(project: Project) -> None:
    owner, stranger = project.new_user(), project.new_user()
    project.store_and_propose(owner)
    before = project.everything()
    with refused("invalid_title", "PT422"):
        project.approve_proposed(stranger)
    with refused("document_not_found", "PT404"):
        project.approve(stranger, document=document_of("s1", 1))
    assert project.everything() == before


def test_a_version_that_was_not_proposed_needs_all_five(project: Project) -> None:
    user = project.new_user()
    digest = project.store(user)
    arguments = {"session_id": "s1", "version": 1, "document_sha256": digest}
    with refused("invalid_title", "PT422"):
        project.call(user, "approve_plan", **arguments)
    with refused("invalid_title", "PT422"):
        project.call(user, "approve_plan", **arguments, document_url=signed_url(user, "s1", digest))
    with refused("invalid_document_url", "PT422"):
        project.call(user, "approve_plan", **arguments, title="A plan")
    assert project.rows("select from public.plan") == []
    assert project.approve(user)["created"] is True


# Replays -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ONCE_APPROVED)
def test_approving_again_is_a_replay_that_writes_nothing(project: Project, state: str) -> None:
    """Two clicks decide once, also where the second comes later."""
    user = project.new_user()
    plan = project.plan_in(user, state)
    before = project.everything()
    (agent,) = project.rows("select id, status from public.agent")
    replay = {
        "plan_id": plan["id"],
        "agent_id": agent["id"],
        "agent_status": agent["status"],
        "version": 1,
        "created": False,
    }
    again = user.with_claims(aal="aal2")
    assert project.approve_proposed(again) == replay
    assert project.approve_proposed(again, title="Another title") == replay
    assert project.approve(again, title="Another title", document=document_of("s1", 1)) == replay
    assert project.everything() == before


def test_an_approved_proposal_is_a_replay_even_after_its_expiry(project: Project) -> None:
    user = project.new_user()
    first = project.plan_in(user, "approved")
    project.expire(user)
    answer = project.approve_proposed(user)
    assert (answer["plan_id"], answer["created"]) == (first["id"], False)


# What can no longer be approved ------------------------------------------------------------------------------


@pytest.mark.parametrize("status", DECIDED_OTHERWISE)
def test_a_decision_is_final_and_named(project: Project, status: str) -> None:
    user = project.new_user()
    project.plan_in(user, status)
    before = project.everything()
    with refused("plan_decided", "PT409") as caught:
        project.approve_proposed(user)
    assert status in (caught.value.diag.message_detail or "")
    with refused("plan_decided", "PT409"):
        project.approve(user, document=document_of("s1", 1))
    assert project.everything() == before
    assert project.store_and_approve(user, version=2)["created"] is True


def test_a_proposal_past_its_end_is_not_approved(project: Project) -> None:
    user = project.new_user()
    project.plan_in(user, "expired")
    before = project.everything()
    with refused("plan_expired", "PT409"):
        project.approve_proposed(user)
    with refused("plan_expired", "PT409"):
        project.approve(user, document=document_of("s1", 1))
    assert project.everything() == before
    project.store_and_propose(user, version=2)
    assert project.approve_proposed(user, version=2)["created"] is True


def test_a_proposal_is_approved_before_its_end(project: Project) -> None:
    user = project.new_user()
    project.store_and_propose(user, expires_at="2100-01-01")
    assert project.approve_proposed(user)["created"] is True


def test_an_old_tab_does_not_approve_what_was_replaced(project: Project) -> None:
    user = project.new_user()
    project.store_and_propose(user, version=1)
    project.store_and_propose(user, version=4)
    before = project.everything()
    with refused("plan_stale", "PT409") as caught:
        project.approve_proposed(user, version=1)
    assert "4" in (caught.value.diag.message_detail or "")
    with refused("plan_stale", "PT409"):
        project.approve(user, version=1, document=document_of("s1", 1))
    assert project.everything() == before
    assert project.approve_proposed(user, version=4)["created"] is True


def test_an_old_tab_cannot_approve_below_a_newer_proposal(project: Project) -> None:
    """Stale is judged by what was proposed, not only by what was approved."""
    user = project.new_user()
    project.store_and_approve(user, version=1)
    project.store_and_propose(user, version=12)
    with refused("plan_stale", "PT409") as caught:
        project.store_and_approve(user, version=7)
    assert "12" in (caught.value.diag.message_detail or "")
    project.decide(user, "reject_plan", version=12)
    with refused("plan_stale", "PT409"):
        project.store_and_approve(user, version=7)
    assert project.store_and_approve(user, version=13)["created"] is True


def test_what_was_replaced_stays_so_when_the_newer_one_is_withdrawn(project: Project) -> None:
    user = project.new_user()
    project.plan_in(user, "replaced")
    project.decide(user, "withdraw_plan", version=2)
    with refused("plan_stale", "PT409"):
        project.approve_proposed(user, version=1)


def test_archiving_an_agent_closes_the_proposal_that_waits(project: Project) -> None:
    user = project.new_user()
    agent_id = project.store_and_approve(user)["agent_id"]
    project.store_and_propose(user, version=2)
    project.call(user, "transition_agent", agent_id=agent_id, to_status="archived")
    plan = project.plan(user, version=2)
    assert (plan["status"], plan["decided_at"]) == ("superseded", None)
    with refused("agent_archived", "PT409"):
        project.approve_proposed(user, version=2)
    assert project.approve(user, version=1, document=document_of("s1", 1))["created"] is False
    assert broken_invariants(project) == []


def test_a_deleted_agent_refuses_approvals_of_proposals(project: Project) -> None:
    user = project.new_user()
    agent_id = project.store_and_approve(user)["agent_id"]
    project.store_and_propose(user, version=2)
    project.call(user, "delete_agent", agent_id=agent_id)
    for version in (1, 2):
        with refused("agent_deleted", "PT409") as caught:
            project.approve_proposed(user, version=version)
        assert str(agent_id) in (caught.value.diag.message_detail or "")


# The order of refusals ---------------------------------------------------------------------------------------


def test_the_caller_then_the_arguments_then_the_agent(project: Project) -> None:
    user = project.new_user()
    client = user.with_claims(client_id="mcp")
    agent_id = project.store_and_approve(user)["agent_id"]
    project.call(user, "delete_agent", agent_id=agent_id)
    with refused("not_authenticated", "PT401"):
        project.approve_proposed(User(uuid4()).with_claims(client_id="mcp"), session="/")
    with refused("human_required", "PT403"):
        project.approve_proposed(client, session_id="/", version=0)
    wrong: dict[str, Any] = {
        "session_id": "/",
        "version": 0,
        "title": "",
        "document_sha256": "x",
        "document_url": "x",
    }
    right = {"session_id": "s1", "version": 1, "title": "A plan", "document_sha256": sha256("# s1 1")}
    for name, value in right.items():
        with refused(f"invalid_{name}", "PT422"):
            project.approve_proposed(user, **wrong)
        wrong[name] = value
    with refused("invalid_document_url", "PT422"):
        project.approve_proposed(user, **wrong)
    # The agent is deleted, and this would be a replay.
    with refused("agent_deleted", "PT409"):
        project.approve_proposed(user)


def test_of_several_conflicts_the_first_in_order_is_told(project: Project) -> None:
    user = project.new_user()
    agent_id = project.store_and_approve(user, version=1)["agent_id"]
    for version, decision in ((4, "reject_plan"), (5, "request_changes"), (6, "withdraw_plan")):
        project.store_and_propose(user, version=version)
        project.decide(user, decision, version=version)
    project.store_and_propose(user, version=7)
    project.expire(user, version=7)
    project.store_and_propose(user, version=8)
    project.expire(user, version=8)

    # Decided otherwise and below the newest; with another hash it is a conflict first.
    for version in (4, 5, 6):
        with refused("plan_conflict", "PT409"):
            project.approve_proposed(user, version=version, document="# Other")
        with refused("plan_decided", "PT409"):
            project.approve_proposed(user, version=version)
    # Replaced and expired: stale first. With another hash: a conflict first.
    with refused("plan_conflict", "PT409"):
        project.approve_proposed(user, version=7, document="# Other")
    with refused("plan_stale", "PT409"):
        project.approve_proposed(user, version=7)
    with refused("plan_conflict", "PT409"):
        project.approve_proposed(user, version=8, document="# Other")
    with refused("plan_expired", "PT409"):
        project.approve_proposed(user, version=8)
    # Never proposed, below the newest, title and URL missing, and nothing stored.
    with refused("plan_stale", "PT409"):
        project.approve_proposed(user, version=3)
    # The same above the newest: what is missing comes before the document.
    with refused("invalid_title", "PT422"):
        project.approve_proposed(user, version=9)
    with refused("invalid_document_url", "PT422"):
        project.approve_proposed(user, version=9, title="Nine")
    with refused("document_not_found", "PT404"):
        project.approve(user, version=9)

    project.call(user, "transition_agent", agent_id=agent_id, to_status="archived")
    with refused("plan_conflict", "PT409"):
        project.approve_proposed(user, version=8, document="# Other")
    for version in (4, 5, 6):
        with refused("plan_decided", "PT409"):
            project.approve_proposed(user, version=version)
    for version in (3, 7, 8, 9):
        with refused("agent_archived", "PT409"):
            project.approve_proposed(user, version=version)
    assert project.approve_proposed(user, version=1)["created"] is False


# Races -------------------------------------------------------------------------------------------------------


def test_forty_approvals_of_one_proposal_decide_once(project: Project) -> None:
    user = project.new_user()
    project.store_and_propose(user)
    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(lambda _: project.approve_proposed(user), range(40)))
    assert len({(answer["plan_id"], answer["agent_id"]) for answer in answers}) == 1
    assert sum(answer["created"] for answer in answers) == 1
    for table in ("plan", "agent", "agent_event", "build"):
        assert len(project.rows(f"select from public.{table}")) == 1, table
    assert broken_invariants(project) == []
