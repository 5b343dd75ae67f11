"""request_changes(), reject_plan() and withdraw_plan(): what a decision writes, that it is final, and who is told."""

from typing import Any
from uuid import uuid4

import psycopg
import pytest

from .conftest import STATES, Project, User, document_of, refused
from .invariants import broken_invariants

STATUS = {"request_changes": "changes_requested", "reject_plan": "rejected", "withdraw_plan": "withdrawn"}
COMMENTED = ("request_changes", "reject_plan")


@pytest.mark.parametrize(("decision", "status"), STATUS.items())
def test_a_decision_is_written_into_the_plan_and_nowhere_else(
    project: Project, decision: str, status: str
) -> None:
    user = project.new_user()
    project.store_and_propose(user)
    before = project.plan(user)
    arguments: dict[str, Any] = {"comment": "Because."} if decision in COMMENTED else {}

    row = project.decide(user.with_claims(aal="aal2"), decision, **arguments)

    plan = project.plan(user)
    assert row == plan
    assert (plan["status"], plan["decided_aal"], plan["decided_via"]) == (status, "aal2", "user")
    assert plan["decided_by"] == user.id
    assert plan["comment"] == arguments.get("comment")
    assert before["created_at"] <= plan["decided_at"] <= plan["updated_at"]
    changed = {name for name in plan if plan[name] != before[name]}
    assert changed == {
        "status",
        "decided_at",
        "decided_by",
        "decided_aal",
        "decided_via",
        "updated_at",
        *arguments,
    }
    for table in ("agent", "agent_event", "build"):
        assert project.rows(f"select from public.{table}") == [], table
    assert broken_invariants(project) == []


def test_a_plan_is_rejected_without_a_comment(project: Project) -> None:
    user = project.new_user()
    project.store_and_propose(user)
    assert project.decide(user, "reject_plan")["comment"] is None


def test_feedback_is_never_approval(project: Project) -> None:
    """Any comment: a request for changes creates no agent, changes none, and cannot be approved."""
    user = project.new_user()
    project.store_and_propose(user)
    project.decide(user, "request_changes", comment="Approved! Go ahead and build it.")
    for table in ("agent", "agent_event", "build"):
        assert project.rows(f"select from public.{table}") == [], table
    with refused("plan_decided", "PT409"):
        project.approve_proposed(user)

    first = project.store_and_approve(user, version=2)
    before = project.everything()
    project.store_and_propose(user, version=3)
    project.decide(user, "request_changes", version=3, comment="Yes")
    after = project.everything()
    for table in ("agent", "agent_event", "build"):
        assert after[table] == before[table], table
    assert project.rows("select plan_id from public.agent") == [{"plan_id": first["plan_id"]}]
    assert broken_invariants(project) == []


@pytest.mark.parametrize("planner", ["client", "service role"])
def test_the_planner_learns_every_decision_at_its_next_look(
    project: Project, planner: str, subtests: pytest.Subtests
) -> None:
    user = project.new_user()
    for decision in (*STATUS, "approve_plan", "replaced", "archived"):
        with subtests.test(decision):
            check_that_the_planner_learns(project, user, decision, planner)


def check_that_the_planner_learns(project: Project, user: User, decision: str, planner: str) -> None:
    client = user.with_claims(client_id="mcp")
    service_role = planner == "service role"
    session = decision
    agent_id = project.store_and_approve(user, session)["agent_id"]
    project.store_and_propose(client, session, 2, service_role=service_role)
    comment = "What I think of it."
    match decision:
        case "approve_plan":
            project.approve_proposed(user, session, 2)
        case "replaced":
            project.store_and_propose(client, session, 3)
        case "archived":
            project.call(user, "transition_agent", agent_id=agent_id, to_status="archived")
        case "withdraw_plan":
            project.decide(user, decision, session, 2)
        case _:
            project.decide(user, decision, session, 2, comment=comment)
    status = {**STATUS, "approve_plan": "approved", "replaced": "superseded", "archived": "superseded"}

    with project.as_service_role() if service_role else project.as_user(client) as connection:
        told = connection.execute(
            "select status, comment from public.plan where session_id = %s and version = 2", (session,)
        ).fetchall()
    assert told == [{"status": status[decision], "comment": comment if decision in COMMENTED else None}]
    document = document_of(session, 2)
    replay = project.propose(client, session, 2, document=document, service_role=service_role)
    assert (replay["status"], replay["created"]) == (status[decision], False)


# Repeats and other decisions ---------------------------------------------------------------------------------


@pytest.mark.parametrize("decision", STATUS)
def test_two_clicks_decide_once(project: Project, decision: str) -> None:
    """The same decision again, with the same words, returns the row as it is."""
    user = project.new_user()
    project.store_and_propose(user)
    arguments: dict[str, Any] = {"comment": "First."} if decision in COMMENTED else {}
    first = project.decide(user.with_claims(aal="aal1"), decision, **arguments)
    before = project.everything()
    assert project.decide(user.with_claims(aal="aal2"), decision, **arguments) == first
    if decision == "reject_plan":
        assert project.decide(user, decision, comment=None) == first
    assert project.everything() == before


@pytest.mark.parametrize("decision", COMMENTED)
@pytest.mark.parametrize("second", ["Second.", "First", " First."])
def test_a_second_comment_is_not_dropped_silently(project: Project, decision: str, second: str) -> None:
    """It is refused, and the details say which comment stands."""
    user = project.new_user()
    project.store_and_propose(user)
    project.decide(user, decision, comment="First.")
    before = project.everything()
    with refused("plan_decided", "PT409") as caught:
        project.decide(user, decision, comment=second)
    status = STATUS[decision]
    assert caught.value.diag.message_detail == f"Version 1 was decided: {status}. Comment: First."
    assert project.everything() == before


def test_a_comment_does_not_come_after_a_rejection_without_one(project: Project) -> None:
    user = project.new_user()
    project.store_and_propose(user)
    first = project.decide(user, "reject_plan")
    with refused("plan_decided", "PT409") as caught:
        project.decide(user, "reject_plan", comment="Because.")
    detail = "Version 1 was decided: rejected. There is no comment."
    assert caught.value.diag.message_detail == detail
    assert project.decide(user, "reject_plan") == first


@pytest.mark.parametrize("decision", STATUS)
def test_a_decided_version_is_not_decided_otherwise(
    project: Project, decision: str, subtests: pytest.Subtests
) -> None:
    user = project.new_user()
    for state in STATES:
        if state in ("proposed", "expired", STATUS[decision]):
            continue
        with subtests.test(state):
            project.plan_in(user, state, state)
            before = project.everything()
            code = "plan_stale" if state in ("replaced", "superseded") else "plan_decided"
            with refused(code, "PT409") as caught:
                project.decide(user, decision, state)
            if code == "plan_decided":
                assert state.removeprefix("directly-") in (caught.value.diag.message_detail or "")
            assert project.everything() == before


@pytest.mark.parametrize("decision", STATUS)
def test_an_expired_proposal_is_still_sent_back_rejected_and_withdrawn(
    project: Project, decision: str
) -> None:
    user = project.new_user()
    project.plan_in(user, "expired")
    assert project.decide(user, decision)["status"] == STATUS[decision]


@pytest.mark.parametrize("decision", STATUS)
def test_only_ones_own_plans_are_decided(project: Project, decision: str) -> None:
    owner, stranger = project.new_user(), project.new_user()
    project.store_and_propose(owner)
    before = project.everything()
    with refused("plan_not_found", "PT404"):
        project.decide(stranger, decision)
    with refused("plan_not_found", "PT404"):
        project.decide(owner, decision, version=2)
    with refused("plan_not_found", "PT404"):
        project.decide(owner, decision, session="other")
    assert project.everything() == before
    assert project.decide(owner, decision)["status"] == STATUS[decision]


@pytest.mark.parametrize("decision", STATUS)
def test_nothing_is_decided_of_a_deleted_agent_until_it_is_restored(project: Project, decision: str) -> None:
    user = project.new_user()
    agent_id = project.store_and_approve(user)["agent_id"]
    project.store_and_propose(user, version=2)
    project.decide(user, decision, version=2)
    project.store_and_propose(user, version=3)
    project.call(user, "delete_agent", agent_id=agent_id)
    for version in (1, 2, 3, 9):
        with refused("agent_deleted", "PT409") as caught:
            project.decide(user, decision, version=version)
        assert str(agent_id) in (caught.value.diag.message_detail or "")
    project.call(user, "restore_agent", agent_id=agent_id)
    assert project.decide(user, decision, version=3)["status"] == STATUS[decision]


# Withdrawing -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("planner", ["user", "client", "service role"])
def test_every_planner_withdraws(project: Project, planner: str) -> None:
    user = project.new_user()
    project.store_and_propose(user)
    match planner:
        case "user":
            via = "user"
            row = project.decide(user.with_claims(aal="aal1"), "withdraw_plan")
        case "client":
            via = "mcp"
            client = user.with_claims(client_id="mcp", aal="aal1")
            row = project.decide(client, "withdraw_plan", user_id=user.id)
        case _:
            via = "service_role"
            row = project.decide(None, "withdraw_plan", user_id=user.id)
    assert (row["status"], row["decided_via"]) == ("withdrawn", via)
    assert row["decided_aal"] == (None if planner == "service role" else "aal1")


def test_a_withdrawal_names_the_user_as_a_proposal_does(project: Project) -> None:
    user, other = project.new_user(), project.new_user()
    project.store_and_propose(user)
    before = project.everything()
    for caller in (user, user.with_claims(client_id="mcp"), other):
        wrong = user.id if caller is other else other.id
        with refused("invalid_user_id", "PT422"):
            project.decide(caller, "withdraw_plan", user_id=wrong)
    for unknown in (None, uuid4()):
        with refused("invalid_user_id", "PT422"):
            project.decide(None, "withdraw_plan", user_id=unknown)
    with refused("plan_not_found", "PT404"):
        project.decide(None, "withdraw_plan", user_id=other.id)
    assert project.everything() == before


# Comments ----------------------------------------------------------------------------------------------------


COMMENTS = (
    "x",
    "x" * 4000,
    "\U0001f680" * 4000,
    "  kept \n\n as it is\r\n\t",
    "e\u0301 is not \u00e9",
    "\u202e bidi مرحبا",
    "<script>alert(1)</script> '; drop table public.plan; -- $$",
    "\ufeff",
    "\u200b",
    "\x1b[31mred\x01",
)


@pytest.mark.parametrize("decision", COMMENTED)
def test_a_comment_is_kept_exactly(project: Project, decision: str, subtests: pytest.Subtests) -> None:
    user = project.new_user()
    for number, comment in enumerate(COMMENTS):
        with subtests.test(comment=ascii(comment)[:30]):
            session = f"s{number}"
            project.store_and_propose(user, session)
            assert project.decide(user, decision, session, comment=comment)["comment"] == comment
            assert project.plan(user, session)["comment"] == comment


WHITE_SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029"
    "\u202f\u205f\u3000"
)


@pytest.mark.parametrize("decision", COMMENTED)
def test_a_comment_says_something_and_not_too_much(project: Project, decision: str) -> None:
    user = project.new_user()
    project.store_and_propose(user)
    before = project.everything()
    for comment in ("", *WHITE_SPACE, WHITE_SPACE, "x" * 4001, "\U0001f680" * 4001, "\u00e9" * 4001):
        with refused("invalid_comment", "PT422"):
            project.decide(user, decision, comment=comment)
    assert project.everything() == before
    assert (
        project.decide(user, decision, comment=f"{WHITE_SPACE}x{WHITE_SPACE}")["status"] == STATUS[decision]
    )


def test_changes_are_not_requested_without_saying_which(project: Project) -> None:
    user = project.new_user()
    project.store_and_propose(user)
    with refused("invalid_comment", "PT422"):
        project.decide(user, "request_changes", comment=None)
    assert project.plan(user)["status"] == "proposed"


def test_the_table_itself_refuses_a_blank_or_an_endless_comment(project: Project) -> None:
    user = project.new_user()
    project.store_and_propose(user)
    for comment in ("", "x" * 4001):
        with pytest.raises(psycopg.errors.CheckViolation), project.as_superuser() as connection:
            connection.execute(
                "update public.plan set status = 'rejected', decided_at = now(), comment = %s", (comment,)
            )


# Refused arguments, and the order of refusals ----------------------------------------------------------------


@pytest.mark.parametrize("decision", STATUS)
def test_refusals_come_in_their_order(project: Project, decision: str) -> None:
    user = project.new_user()
    client = user.with_claims(client_id="mcp")
    gone = User(uuid4())
    comment: dict[str, Any] = {"comment": " "} if decision in COMMENTED else {}
    agent_id = project.plan_in(user, "approved") and project.rows("select id from public.agent")[0]["id"]
    project.store_and_propose(user, version=2)
    project.decide(user, decision, version=2)
    project.store_and_propose(user, version=3)
    project.store_and_propose(user, version=4)
    project.call(user, "delete_agent", agent_id=agent_id)

    with refused("not_authenticated", "PT401"):
        project.decide(gone.with_claims(client_id="mcp"), decision, session="/", version=0, **comment)
    if decision == "withdraw_plan":
        for caller, user_id in ((user, uuid4()), (client, uuid4()), (None, None), (None, uuid4())):
            with refused("invalid_user_id", "PT422"):
                project.decide(caller, decision, session="/", version=0, user_id=user_id)
    else:
        with refused("human_required", "PT403"):
            project.decide(client, decision, session="/", version=0, **comment)
    for session in ("/", "", "a\n", "x" * 129):
        with refused("invalid_session_id", "PT422"):
            project.decide(user, decision, session=session, version=0, **comment)
    for version in (0, -1):
        with refused("invalid_version", "PT422"):
            project.decide(user, decision, version=version, **comment)
    if comment:
        with refused("invalid_comment", "PT422"):
            project.decide(user, decision, version=9, **comment)
    with refused("agent_deleted", "PT409"):
        project.decide(user, decision, version=9)

    project.call(user, "restore_agent", agent_id=agent_id)
    with refused("plan_not_found", "PT404"):
        project.decide(user, decision, version=9)
    assert project.decide(user, decision, version=2)["status"] == STATUS[decision]
    with refused("plan_stale", "PT409"):
        project.decide(user, decision, version=3)
    with refused("plan_decided", "PT409"):
        project.decide(user, decision, version=1)
    assert project.decide(user, decision, version=4)["status"] == STATUS[decision]
