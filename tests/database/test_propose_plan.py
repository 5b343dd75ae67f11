"""propose_plan(): what it writes, what it answers again, what it refuses, and in which order."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from tests.plan import sha256

from .conftest import STATES, Project, User, document_of, refused
from .invariants import broken_invariants

DECIDED_BY_THE_HUMAN = {"request_changes": "changes_requested", "reject_plan": "rejected"}


def status_of(state: str) -> str:
    return {"expired": "proposed", "replaced": "superseded", "directly-approved": "approved"}.get(
        state, state
    )


def test_a_proposal_is_a_plan_that_waits_and_nothing_else(project: Project) -> None:
    user = project.new_user()
    digest = project.store(user)
    expires_at = datetime.now(UTC) + timedelta(days=1)
    answer = project.propose(user, version=3, title="  Ship it \u3000", expires_at=expires_at)

    (plan,) = project.rows("select * from public.plan")
    assert answer == {"plan_id": plan["id"], "version": 3, "status": "proposed", "created": True}
    assert (plan["user_id"], plan["session_id"], plan["title"], plan["status"]) == (
        user.id,
        "s1",
        "Ship it",
        "proposed",
    )
    assert (plan["document_sha256"], plan["document_path"]) == (digest, user.path("s1", digest))
    assert plan["document_url"].endswith(f"/object/sign/plans/{user.path('s1', digest)}?token=t")
    assert (plan["proposed_by"], plan["expires_at"]) == ("user", expires_at)
    assert (plan["decided_at"], plan["decided_aal"], plan["comment"]) == (None, None, None)
    for table in ("agent", "agent_event", "build"):
        assert project.rows(f"select from public.{table}") == [], table
    assert broken_invariants(project) == []


# Who proposes ------------------------------------------------------------------------------------------------


def test_it_says_who_proposed(project: Project) -> None:
    user = project.new_user()
    client = user.with_claims(client_id="3b1d8e07-5f4e-4d0c-9f6b-2b8f6f9c1d11")
    project.store_and_propose(user, "a")
    project.store_and_propose(user, "b", service_role=True)
    project.store_and_propose(client, "c")
    project.store_and_approve(user, "d")
    told = project.rows("select session_id, user_id, proposed_by from public.plan order by session_id")
    assert [(row["session_id"], row["proposed_by"]) for row in told] == [
        ("a", "user"),
        ("b", "service_role"),
        ("c", client.claims["client_id"]),
        ("d", None),
    ]
    assert {row["user_id"] for row in told} == {user.id}


@pytest.mark.parametrize("name", ["user", "service_role"])
def test_a_client_with_a_misleading_id_is_not_mistaken_for_another(project: Project, name: str) -> None:
    user = project.new_user()
    project.store_and_propose(user.with_claims(client_id=name))
    proposed_by = project.plan(user)["proposed_by"]
    assert proposed_by not in ("user", "service_role", None)
    assert name in proposed_by


def test_what_a_trusted_client_proposes_carries_its_id(project: Project) -> None:
    user = project.new_user()
    with project.as_superuser() as connection:
        connection.execute("insert into greenlight.trusted_client values ('our-app')")
    project.store_and_propose(user.with_claims(client_id="our-app"))
    assert project.plan(user)["proposed_by"] == "our-app"


def test_a_user_proposes_for_themselves_only(project: Project) -> None:
    user, other = project.new_user(), project.new_user()
    project.store(user)
    for caller in (user, user.with_claims(client_id="mcp")):
        for wrong in (other.id, uuid4()):
            with refused("invalid_user_id", "PT422"):
                project.propose(caller, user_id=wrong)
    assert project.rows("select from public.plan") == []
    assert project.propose(user, user_id=user.id)["created"] is True


def test_the_service_role_names_the_user(project: Project) -> None:
    user = project.new_user()
    project.store(user)
    for wrong in (None, uuid4()):
        with refused("invalid_user_id", "PT422"):
            project.propose(user, service_role=True, user_id=wrong)
    assert project.rows("select from public.plan") == []
    assert project.propose(user, service_role=True)["created"] is True
    assert project.plan(user)["user_id"] == user.id


def test_a_user_who_is_gone_proposes_nothing(project: Project) -> None:
    user = project.new_user()
    project.store(user)
    project.delete_user(user)
    with refused("not_authenticated", "PT401"):
        project.propose(user)
    with refused("invalid_user_id", "PT422"):
        project.propose(user, service_role=True)


# Replays -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("planner", ["user", "client", "service role"])
def test_the_same_again_is_a_replay_that_tells_what_became_of_it(
    project: Project, planner: str, subtests: pytest.Subtests
) -> None:
    user = project.new_user()
    for state in STATES:
        with subtests.test(state):
            plan = project.plan_in(user, state, state)
            before = project.everything()
            answer = project.propose(
                user.with_claims(client_id="mcp") if planner == "client" else user,
                state,
                title="Another title",
                document=document_of(state, 1),
                expires_at=datetime.now(UTC) - timedelta(days=1),
                service_role=planner == "service role",
            )
            assert answer == {
                "plan_id": plan["id"],
                "version": 1,
                "status": status_of(state),
                "created": False,
            }
            assert project.everything() == before


def test_another_document_for_a_version_that_is_taken_is_a_conflict(
    project: Project, subtests: pytest.Subtests
) -> None:
    user = project.new_user()
    for state in STATES:
        with subtests.test(state):
            project.plan_in(user, state, state)
            project.store(user, state, "# Other")
            before = project.everything()
            with refused("plan_conflict", "PT409"):
                project.propose(user, state, document="# Other")
            assert project.everything() == before


# A newer version ---------------------------------------------------------------------------------------------


def test_a_newer_proposal_replaces_the_undecided_one(project: Project) -> None:
    user = project.new_user()
    project.store_and_propose(user, version=1)
    project.store_and_propose(user, version=7)
    plans = project.rows("select version, status, decided_at from public.plan order by version")
    assert plans == [
        {"version": 1, "status": "superseded", "decided_at": None},
        {"version": 7, "status": "proposed", "decided_at": None},
    ]
    assert broken_invariants(project) == []


def test_an_expired_proposal_is_replaced_as_well(project: Project) -> None:
    user = project.new_user()
    project.plan_in(user, "expired")
    assert project.store_and_propose(user, version=2)["status"] == "proposed"
    assert project.plan(user)["status"] == "superseded"


def test_after_every_decision_a_higher_version_may_be_proposed(
    project: Project, subtests: pytest.Subtests
) -> None:
    user = project.new_user()
    for state in STATES:
        if state != "archived":
            with subtests.test(state):
                project.plan_in(user, state, state)
                assert project.store_and_propose(user, state, 5)["status"] == "proposed"
    assert broken_invariants(project) == []


def test_a_changed_plan_is_not_built_before_it_was_shown_and_approved(project: Project) -> None:
    """A proposal leaves the agent, its build and the approved plan exactly as they are."""
    user = project.new_user()
    agent_id = project.store_and_approve(user, version=1)["agent_id"]
    before = project.everything()
    project.store_and_propose(user, version=2)
    after = project.everything()
    for table in ("agent", "agent_event", "build"):
        assert after[table] == before[table], table
    assert project.plan(user, version=1)["status"] == "approved"
    assert project.activate(agent_id)["status"] == "active"
    (build,) = project.builds(agent_id)
    assert build["plan_id"] == project.plan(user, version=1)["id"]


def test_a_version_that_is_not_above_the_newest_is_stale(project: Project, subtests: pytest.Subtests) -> None:
    """Whatever has become of the newest."""
    user = project.new_user()
    for decision in ("nothing", "approve_plan", "request_changes", "reject_plan", "withdraw_plan"):
        with subtests.test(decision):
            project.store_and_propose(user, decision, 3)
            project.store_and_propose(user, decision, 12)
            if decision == "approve_plan":
                project.approve_proposed(user, decision, 12)
            elif decision != "nothing":
                project.decide(user, decision, decision, 12)
            with refused("plan_stale", "PT409") as caught:
                project.store_and_propose(user, decision, 11)
            assert "12" in (caught.value.diag.message_detail or "")
            assert project.store_and_propose(user, decision, 13)["created"] is True


# What was refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("decision", "status"), DECIDED_BY_THE_HUMAN.items())
def test_what_was_rejected_does_not_come_straight_back(project: Project, decision: str, status: str) -> None:
    user = project.new_user()
    project.store(user, document="# Refused")
    project.propose(user, version=4, document="# Refused")
    project.decide(user, decision, version=4, comment="Smaller, please.")
    before = project.everything()
    for service_role in (False, True):
        with refused("plan_decided", "PT409") as caught:
            project.propose(user, version=5, document="# Refused", service_role=service_role)
        details = caught.value.diag.message_detail or ""
        assert "4" in details
        assert status in details
        assert "Smaller, please." in details
    assert project.everything() == before
    project.store(user, document="# Changed")
    assert project.propose(user, version=5, document="# Changed")["created"] is True


def test_what_was_sent_back_after_it_had_expired_may_come_again_as_it_is(project: Project) -> None:
    """Such a human asks for it again, and refuses nothing of the text."""
    user = project.new_user()
    project.store(user, document="# Too late")
    project.propose(user, document="# Too late")
    project.expire(user)
    project.decide(user, "request_changes")

    assert project.propose(user, version=2, document="# Too late")["created"] is True

    # This time, they had read it in time.
    project.decide(user, "request_changes", version=2)
    with refused("plan_decided", "PT409"):
        project.propose(user, version=3, document="# Too late")


@pytest.mark.parametrize("decision", DECIDED_BY_THE_HUMAN)
def test_what_was_rejected_or_sent_back_in_time_stays_refused_when_it_has_expired(
    project: Project, decision: str
) -> None:
    user = project.new_user()
    project.store(user, document="# Refused")
    project.propose(user, document="# Refused")
    if decision == "reject_plan":
        project.expire(user)
        project.decide(user, decision)
    else:
        project.decide(user, decision)
        decided = project.plan(user)["decided_at"]
        project.backdate(user, "s1", 1, expires_at=decided + timedelta(microseconds=1))
    with refused("plan_decided", "PT409"):
        project.propose(user, version=2, document="# Refused")


def test_it_stays_refused_when_other_versions_came_between(project: Project) -> None:
    user = project.new_user()
    project.store(user, document="# Refused")
    project.propose(user, version=1, document="# Refused")
    project.decide(user, "reject_plan")
    project.store_and_approve(user, version=2)
    project.store_and_propose(user, version=3)
    project.decide(user, "withdraw_plan", version=3)
    with refused("plan_decided", "PT409"):
        project.propose(user, version=4, document="# Refused")


def test_it_is_refused_in_its_own_session_only(project: Project) -> None:
    user, other = project.new_user(), project.new_user()
    for person, session in ((user, "s1"), (user, "s2"), (other, "s1")):
        project.store(person, session)
    project.propose(user)
    project.decide(user, "reject_plan")
    assert project.propose(user, "s2")["created"] is True
    assert project.propose(other, "s1")["created"] is True


def test_what_the_planner_withdrew_or_replaced_was_not_refused(project: Project) -> None:
    user = project.new_user()
    project.store(user)
    project.propose(user, version=1)
    project.decide(user, "withdraw_plan")
    assert project.propose(user, version=2)["created"] is True
    assert project.propose(user, version=3)["created"] is True


def test_what_the_human_approved_after_all_may_be_proposed_again(project: Project) -> None:
    user = project.new_user()
    project.store(user)
    project.propose(user, version=1)
    project.decide(user, "reject_plan")
    project.approve(user, version=2)
    assert project.propose(user, version=3)["created"] is True
    project.decide(user, "request_changes", version=3)
    with refused("plan_decided", "PT409") as caught:
        project.propose(user, version=4)
    assert "changes_requested" in (caught.value.diag.message_detail or "")


def test_what_was_refused_is_forgotten_with_retention(project: Project) -> None:
    user = project.new_user()
    project.plan_in(user, "rejected")
    document = document_of("s1", 1)
    with refused("plan_decided", "PT409"):
        project.propose(user, version=2, document=document)
    project.call(None, "purge_closed_plans", closed_before=datetime.now(UTC) + timedelta(seconds=1))
    assert project.propose(user, version=2, document=document)["created"] is True


# The session's agent -----------------------------------------------------------------------------------------


def test_nothing_is_proposed_for_a_deleted_agent_until_it_is_restored(project: Project) -> None:
    user = project.new_user()
    agent_id = project.store_and_approve(user)["agent_id"]
    project.store(user, document="# New")
    project.call(user, "delete_agent", agent_id=agent_id)
    for version, document in ((1, document_of("s1", 1)), (2, "# New")):
        for service_role in (False, True):
            with refused("agent_deleted", "PT409") as caught:
                project.propose(user, version=version, document=document, service_role=service_role)
            assert str(agent_id) in (caught.value.diag.message_detail or "")
    project.call(user, "restore_agent", agent_id=agent_id)
    assert project.propose(user, version=2, document="# New")["created"] is True


def test_nothing_is_proposed_for_an_archived_agent(project: Project) -> None:
    user = project.new_user()
    project.plan_in(user, "archived")
    with refused("agent_archived", "PT409"):
        project.store_and_propose(user, version=2)


def test_a_waiting_proposal_is_deleted_and_restored_with_its_agent(project: Project) -> None:
    user = project.new_user()
    agent_id = project.store_and_approve(user)["agent_id"]
    project.store_and_propose(user, version=2)
    project.call(user, "delete_agent", agent_id=agent_id)
    assert project.plan(user, version=2)["deleted_at"] is not None
    with project.as_user(user) as connection:
        assert connection.execute("select from public.plan").fetchall() == []
    assert broken_invariants(project) == []
    project.call(user, "restore_agent", agent_id=agent_id)
    assert project.plan(user, version=2)["status"] == "proposed"
    assert project.approve_proposed(user, version=2)["created"] is True


# Refused arguments -------------------------------------------------------------------------------------------


def test_the_url_must_be_a_signed_url_of_the_proposals_own_document(project: Project) -> None:
    user, other = project.new_user(), project.new_user()
    digest = project.store(user)
    theirs = f"https://x.example/storage/v1/object/sign/plans/{other.path('s1', digest)}?token=abc"
    for url, service_role in product((theirs, None, "", "https://x.example/", "x" * 2049), (False, True)):
        with refused("invalid_document_url", "PT422"):
            project.propose(user, document_url=url, service_role=service_role)
    with refused("invalid_document_sha256", "PT422"):
        project.propose(user, document_sha256=None)
    assert project.rows("select from public.plan") == []
    mine = theirs.replace(str(other.id), str(user.id))
    assert project.propose(user, document_url=mine, service_role=True)["created"] is True


def test_expiry_must_be_in_the_future_and_finite(project: Project) -> None:
    user = project.new_user()
    project.store(user)
    for expires_at in ("2020-01-01", "now", "infinity", "-infinity"):
        with refused("invalid_expires_at", "PT422"):
            project.propose(user, expires_at=expires_at)
    assert project.rows("select from public.plan") == []
    assert project.propose(user, expires_at=None)["created"] is True


def test_a_document_that_is_not_there_is_not_proposed(project: Project) -> None:
    user, other = project.new_user(), project.new_user()
    project.store(other)
    project.store(user, session="s2")
    for service_role in (False, True):
        with refused("document_not_found", "PT404"):
            project.propose(user, service_role=service_role)
    assert project.rows("select from public.plan") == []
    project.store(user)
    assert project.propose(user)["created"] is True


@pytest.mark.parametrize("role", ["authenticated", "service_role"])
def test_the_document_of_a_proposal_cannot_be_deleted(project: Project, role: str) -> None:
    user = project.new_user()
    for state in ("proposed", "rejected", "withdrawn", "expired"):
        plan = project.plan_in(user, state, state)
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            project.delete_object(plan["document_path"], role, {"sub": str(user.id)})


# The order of refusals ---------------------------------------------------------------------------------------


def test_who_calls_is_judged_before_what_is_asked(project: Project) -> None:
    user = project.new_user()
    with refused("not_authenticated", "PT401"):
        project.propose(User(uuid4()), session="/", user_id=user.id)
    with refused("invalid_user_id", "PT422"):
        project.propose(user, session="/", user_id=uuid4())
    with refused("invalid_user_id", "PT422"):
        project.propose(user, session="/", service_role=True, user_id=uuid4())
    with refused("invalid_user_id", "PT422"):
        project.propose(user, session="/", service_role=True, user_id=None)


def test_wrong_arguments_are_refused_in_order_before_the_agent_is_read(project: Project) -> None:
    user = project.new_user()
    agent_id = project.store_and_approve(user)["agent_id"]
    project.call(user, "delete_agent", agent_id=agent_id)
    arguments: dict[str, Any] = {
        "session": "/",
        "version": 0,
        "title": "",
        "document_sha256": "x",
        "document_url": "x",
        "expires_at": "2020-01-01",
    }
    right = {"session": "s1", "version": 2, "title": "A plan", "document_sha256": sha256("# Plan")}
    for name in ("session", "version", "title", "document_sha256"):
        code = "invalid_session_id" if name == "session" else f"invalid_{name}"
        with refused(code, "PT422"):
            project.propose(user, **arguments)
        arguments[name] = right[name]
    with refused("invalid_document_url", "PT422"):
        project.propose(user, **arguments)
    del arguments["document_url"]
    with refused("agent_deleted", "PT409"):
        project.propose(user, **arguments)


def test_of_several_conflicts_the_first_in_order_is_told(project: Project) -> None:
    user = project.new_user()
    past = "2020-01-01"
    project.store_and_propose(user, version=4)
    project.store(user, document="# Refused")
    project.propose(user, version=5, document="# Refused")
    with refused("plan_conflict", "PT409"):
        project.propose(user, version=5, document="# Other", expires_at=past)
    project.decide(user, "reject_plan", version=5)

    # A refused document, a version below the newest, and an end in the past.
    with refused("invalid_expires_at", "PT422"):
        project.propose(user, version=3, document="# Refused", expires_at=past)
    with refused("plan_decided", "PT409"):
        project.propose(user, version=3, document="# Refused")

    # Nothing is stored for these, and still document_not_found comes last.
    with refused("plan_stale", "PT409"):
        project.propose(user, version=3, document="# Nowhere")
    agent_id = project.store_and_approve(user, version=6)["agent_id"]
    project.call(user, "transition_agent", agent_id=agent_id, to_status="archived")
    with refused("plan_conflict", "PT409"):
        project.propose(user, version=6, document="# Nowhere", expires_at=past)
    with refused("invalid_expires_at", "PT422"):
        project.propose(user, version=3, document="# Nowhere", expires_at=past)
    with refused("plan_decided", "PT409"):
        project.propose(user, version=3, document="# Refused")
    with refused("agent_archived", "PT409"):
        project.propose(user, version=3, document="# Nowhere")
    with refused("agent_archived", "PT409"):
        project.propose(user, version=9, document="# Nowhere")


# Races -------------------------------------------------------------------------------------------------------


def test_forty_proposals_at_once_make_one_plan(project: Project) -> None:
    user = project.new_user()
    project.store(user)
    with ThreadPoolExecutor(40) as pool:
        answers = list(
            pool.map(lambda number: project.propose(user, service_role=number % 2 == 0), range(40))
        )
    assert len({answer["plan_id"] for answer in answers}) == 1
    assert sum(answer["created"] for answer in answers) == 1
    assert len(project.rows("select from public.plan")) == 1


# How far ahead -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("newest", [0, 5])
def test_a_client_cannot_use_up_the_versions(project: Project, newest: int) -> None:
    """It proposes at most 1,000 above the newest, so that the human can always approve a higher one."""
    user = project.new_user()
    client = user.with_claims(client_id="mcp")
    if newest:
        project.store_and_approve(user, version=newest)
    project.store(user, document="# Far")
    before = project.everything()
    for version in (newest + 1001, 2**31 - 1):
        with refused("invalid_version", "PT422") as caught:
            project.propose(client, version=version, document="# Far")
        assert f"version {newest}" in (caught.value.diag.message_detail or "")
    assert project.everything() == before
    assert project.propose(client, version=newest + 1000, document="# Far")["created"] is True
    project.decide(client, "withdraw_plan", version=newest + 1000)
    assert project.store_and_approve(user, version=newest + 1001)["created"] is True


@pytest.mark.parametrize("planner", ["the human", "the service role", "a trusted client"])
def test_the_users_own_planners_choose_any_version(project: Project, planner: str) -> None:
    user = project.new_user()
    with project.as_superuser() as connection:
        connection.execute("insert into greenlight.trusted_client values ('our-app')")
    caller = user.with_claims(client_id="our-app") if planner == "a trusted client" else user
    service_role = planner == "the service role"
    assert project.store_and_propose(caller, version=2**31 - 1, service_role=service_role)["created"] is True


def test_a_version_too_far_ahead_has_its_place_among_the_refusals(project: Project) -> None:
    user = project.new_user()
    client = user.with_claims(client_id="mcp")
    past = datetime.now(UTC) - timedelta(days=1)
    project.store_and_propose(user, version=5000)
    assert project.propose(client, version=5000, document=document_of("s1", 5000))["created"] is False
    with refused("plan_conflict", "PT409"):
        project.propose(client, version=5000, document="# Other", expires_at=past)
    with refused("invalid_version", "PT422"):
        project.propose(client, version=6001, document="# Other", expires_at=past)
    with refused("invalid_expires_at", "PT422"):
        project.propose(client, version=6000, document="# Other", expires_at=past)


# How large ---------------------------------------------------------------------------------------------------

TOO_LARGE = (1_048_577, "1048577", 2**40, "9" * 30, 1048576.5)
FITTING = (None, 1_048_576, "1048576", "01048576", 0, "", "1e9", "large", True, [2**40], {"size": 2**40})


def set_size(project: Project, size: object) -> None:
    project.rows(
        "update storage.objects set metadata = %s::jsonb where bucket_id = 'plans' returning id",
        json.dumps({"size": size}),
    )


def test_what_is_too_large_is_neither_proposed_nor_approved(project: Project) -> None:
    """Chunked uploads pass the limit of the bucket."""
    user = project.new_user()
    project.store_and_propose(user, "proposed")
    project.store(user)
    before = project.everything()
    for size in TOO_LARGE:
        set_size(project, size)
        with refused("document_too_large", "PT413"):
            project.propose(user)
        with refused("document_too_large", "PT413"):
            project.approve(user)
        with refused("document_too_large", "PT413"):
            project.approve_proposed(user, "proposed")
    assert project.everything() == before
    with refused("plan_not_found", "PT404"):
        project.decide(user, "reject_plan", version=2)
    assert project.decide(user, "reject_plan", "proposed")["status"] == "rejected"


def test_what_fits_or_has_no_size_is_proposed_and_approved(project: Project) -> None:
    user = project.new_user()
    for number, size in enumerate(FITTING):
        session = f"s{number}"
        project.store(user, session)
        set_size(project, size)
        assert project.propose(user, session)["created"] is True
        assert project.approve_proposed(user, session, document="# Plan")["created"] is True
        project.store(user, session, "# Direct")
        set_size(project, size)
        assert project.approve(user, session, 2, document="# Direct")["created"] is True
