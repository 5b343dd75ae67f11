"""The life of an agent: its status machine, deletion and restoring, and the races between them."""

from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import product
from uuid import UUID, uuid4

import psycopg
import pytest

from .conftest import Project, Race, Row, User, refused
from .invariants import broken_invariants

STATUSES = ("building", "active", "paused", "failed", "archived")

# The whole of what transition_agent() allows; everything else is refused.
LEGAL = {("active", "paused"), ("paused", "active")} | {
    (status, "archived") for status in STATUSES if status != "archived"
}


def agent_in(project: Project, user: User, status: str) -> Row:
    """Return an approval whose agent has this status, reached by the API only."""
    approval = project.store_and_approve(user, session=f"s-{uuid4()}")
    agent_id = approval["agent_id"]
    if status in ("active", "paused"):
        project.activate(agent_id)
    if status == "failed":
        project.fail(project.claim_agent(agent_id), retry=False)
    if status in ("paused", "archived"):
        project.call(None, "transition_agent", agent_id=agent_id, to_status=status)
    return approval


def status_of(project: Project, agent_id: UUID) -> str:
    (agent,) = project.rows("select status from public.agent where id = %s", agent_id)
    return str(agent["status"])


@pytest.mark.parametrize("role", ["owner", "service_role"])
def test_01_every_status_to_every_status_by_every_role(project: Project, role: str) -> None:
    user = project.new_user()
    caller = user if role == "owner" else None
    for before, after in product(STATUSES, STATUSES):
        approval = agent_in(project, user, before)
        agent_id = approval["agent_id"]
        events = len(project.events(agent_id))
        arguments = {"agent_id": agent_id, "to_status": after}

        if before == after:
            row = project.call(caller, "transition_agent", **arguments)
            assert (row["id"], row["status"]) == (agent_id, before)
            assert len(project.events(agent_id)) == events
        elif (before, after) in LEGAL:
            row = project.call(caller, "transition_agent", **arguments)
            assert (row["id"], row["status"]) == (agent_id, after)
            event = project.events(agent_id)[-1]
            assert (event["kind"], event["from_status"], event["to_status"]) == (
                "status_changed",
                before,
                after,
            )
            assert event["actor"] == (user.id if role == "owner" else None)
            assert event["actor_role"] == ("authenticated" if role == "owner" else "service_role")
        else:
            with refused("illegal_transition", "PT409"):
                project.call(caller, "transition_agent", **arguments)
            assert status_of(project, agent_id) == before
            assert len(project.events(agent_id)) == events
    assert broken_invariants(project) == []


@pytest.mark.parametrize("status", [None, "", "done", "Active", "active\n"])
def test_02_what_is_no_status_is_refused(project: Project, status: str | None) -> None:
    user = project.new_user()
    approval = agent_in(project, user, "active")
    for caller in (user, None):
        with refused("invalid_status", "PT422"):
            project.call(caller, "transition_agent", agent_id=approval["agent_id"], to_status=status)
    assert status_of(project, approval["agent_id"]) == "active"


def test_03_only_a_builder_makes_an_agent_active(project: Project) -> None:
    user = project.new_user()
    agent_id = project.store_and_approve(user)["agent_id"]
    for caller in (user, None):
        with refused("illegal_transition", "PT409"):
            project.call(caller, "transition_agent", agent_id=agent_id, to_status="active")
    with pytest.raises(psycopg.errors.UndefinedFunction):
        project.call(None, "transition_agent", agent_id=agent_id, to_status="active", plan_id=uuid4())
    assert status_of(project, agent_id) == "building"
    assert project.finish(project.claim_agent(agent_id))["status"] == "active"


def test_04_archiving_archives_the_plan_that_the_agent_is_built_from(project: Project) -> None:
    user = project.new_user()
    project.store_and_approve(user, version=1)
    agent_id = project.store_and_approve(user, version=2)["agent_id"]
    project.call(user, "transition_agent", agent_id=agent_id, to_status="archived")
    assert project.rows("select version, status from public.plan order by version") == [
        {"version": 1, "status": "superseded"},
        {"version": 2, "status": "archived"},
    ]


def test_05_updated_at_moves_on_every_update_even_within_one_transaction(project: Project) -> None:
    user = project.new_user()
    agent_id = agent_in(project, user, "active")["agent_id"]
    seen = [project.rows("select updated_at from public.agent")[0]["updated_at"]]
    with project.as_user(user) as connection:
        for status in ("paused", "active", "paused"):
            (row,) = connection.execute(
                "select updated_at from public.transition_agent(%s, %s)", (agent_id, status)
            ).fetchall()
            seen.append(row["updated_at"])
    assert seen == sorted(set(seen))
    assert broken_invariants(project) == []


# Deletion ----------------------------------------------------------------------------------------------------


def test_06_delete_and_restore_change_the_agent_and_all_its_plans(
    project: Project,
) -> None:
    user = project.new_user()
    agent_id = project.store_and_approve(user, version=1)["agent_id"]
    project.store_and_approve(user, version=2)
    project.store_and_approve(user, session="other")
    hidden = "select count(*) from public.plan where deleted_at is not null"

    deleted = project.call(user, "delete_agent", agent_id=agent_id)
    assert deleted["deleted_at"] is not None
    assert project.rows(hidden) == [{"count": 2}]
    assert project.call(user, "delete_agent", agent_id=agent_id) == deleted

    restored = project.call(user, "restore_agent", agent_id=agent_id)
    assert restored["deleted_at"] is None
    assert project.rows(hidden) == [{"count": 0}]
    assert project.call(user, "restore_agent", agent_id=agent_id) == restored
    assert [event["kind"] for event in project.events(agent_id)] == [
        "approved",
        "revised",
        "deleted",
        "restored",
    ]
    assert broken_invariants(project) == []


def test_07_a_deleted_agent_does_not_change_status(project: Project) -> None:
    user = project.new_user()
    agent_id = agent_in(project, user, "active")["agent_id"]
    project.call(user, "delete_agent", agent_id=agent_id)
    for caller in (user, None):
        with refused("agent_deleted", "PT409"):
            project.call(caller, "transition_agent", agent_id=agent_id, to_status="active")
    project.call(user, "restore_agent", agent_id=agent_id)
    assert project.call(user, "transition_agent", agent_id=agent_id, to_status="paused")["status"] == "paused"


def test_08_deleted_agents_lists_the_callers_own_newest_first(project: Project) -> None:
    user, stranger = project.new_user(), project.new_user()
    ids = [agent_in(project, user, status)["agent_id"] for status in STATUSES]
    for agent_id in (ids[2], ids[0], ids[3]):
        project.call(user, "delete_agent", agent_id=agent_id)
    with project.as_user(user) as connection:
        listed = connection.execute("select id from public.deleted_agents()").fetchall()
    assert [row["id"] for row in listed] == [ids[3], ids[0], ids[2]]
    with project.as_user(stranger) as connection:
        assert connection.execute("select id from public.deleted_agents()").fetchall() == []


# Races -------------------------------------------------------------------------------------------------------


def test_09_an_agent_never_becomes_active_on_a_plan_that_was_not_built(project: Project, race: Race) -> None:
    user = project.new_user()
    for number in range(60):
        session = f"s{number}"
        agent_id = project.store_and_approve(user, session)["agent_id"]
        project.store(user, session, "# two")
        race(
            finish=partial(project.finish, project.claim_agent(agent_id)),
            approve=partial(project.approve, user, session, 2, document="# two"),
        )
        assert status_of(project, agent_id) == "building"
    assert set(race.seen) <= {("done", "done"), ("build_lost", "done")}
    assert broken_invariants(project) == []


def test_10_delete_against_approval_is_one_after_the_other(project: Project, race: Race) -> None:
    user = project.new_user()
    for number in range(60):
        session = f"s{number}"
        agent_id = project.store_and_approve(user, session)["agent_id"]
        project.store(user, session, "# two")
        race(
            approve=partial(project.approve, user, session, 2, document="# two"),
            delete=partial(project.call, user, "delete_agent", agent_id=agent_id),
            delete_too=partial(project.call, user, "delete_agent", agent_id=agent_id),
        )
        kinds = [event["kind"] for event in project.events(agent_id)]
        assert kinds in (["approved", "revised", "deleted"], ["approved", "deleted"])
    assert set(race.seen) <= {("done", "done", "done"), ("agent_deleted", "done", "done")}
    assert broken_invariants(project) == []


def test_11_restore_against_purge_leaves_all_or_nothing(project: Project, race: Race) -> None:
    user = project.new_user()
    future = datetime.now(UTC) + timedelta(days=1)
    for number in range(60):
        agent_id = project.store_and_approve(user, f"s{number}")["agent_id"]
        project.call(user, "delete_agent", agent_id=agent_id)
        answers = race(
            restore=partial(project.call, user, "restore_agent", agent_id=agent_id),
            purge=partial(project.call, None, "purge_deleted_agents", deleted_before=future),
        )
        restored = answers["restore"] == "done"
        assert answers["purge"] == "done"
        there = project.rows("select deleted_at from public.agent where id = %s", agent_id)
        assert there == ([{"deleted_at": None}] if restored else [])
        assert restored or answers["restore"] == "agent_not_found"
        assert bool(project.events(agent_id)) == restored
    assert broken_invariants(project) == []


def test_12_a_user_is_deleted_while_they_approve_archive_and_delete(project: Project, race: Race) -> None:
    for _ in range(40):
        user = project.new_user()
        agent_id = project.store_and_approve(user)["agent_id"]
        project.store(user, document="# two")
        answers = race(
            approve=partial(project.approve, user, version=2, document="# two"),
            archive=partial(project.call, None, "transition_agent", agent_id=agent_id, to_status="archived"),
            delete=partial(project.call, user, "delete_agent", agent_id=agent_id),
            delete_user=partial(project.delete_user, user),
        )
        assert set(answers.values()) <= {
            "done",
            "not_authenticated",
            "agent_not_found",
            "agent_deleted",
            "agent_archived",
        }
    assert project.rows("select from public.agent_event") == []
    assert project.rows("select from public.plan") == []
