"""The functions that retention calls. Only the service role may call them: test_access.py shows it."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.plan import sha256

from .conftest import STATES, Project, Row, User, refused, signed_url
from .invariants import broken_invariants


def age(project: Project, name: str, days: float) -> None:
    with project.as_superuser() as connection:
        aged = connection.execute(
            "update storage.objects set created_at = now() - make_interval(secs => %s) where name = %s",
            (days * 86400, name),
        )
        assert aged.rowcount == 1


def orphans(project: Project, older_than: str = "1 day", **arguments: object) -> list[str]:
    with project.as_service_role() as connection:
        named = "".join(f", {name} => %({name})s" for name in arguments)
        rows = connection.execute(
            f"select name from public.orphaned_documents(older_than => %(older_than)s{named})",
            {"older_than": older_than, **arguments},
        ).fetchall()
    return [row["name"] for row in rows]


def purge(project: Project, deleted_before: datetime, **arguments: object) -> int:
    row: Row = project.call(None, "purge_deleted_agents", deleted_before=deleted_before, **arguments)
    return int(row["purge_deleted_agents"])


def test_only_old_documents_that_no_plan_refers_to_are_orphans(project: Project) -> None:
    user, leaving = project.new_user(), project.new_user()
    paths = {}
    for name, owner in {"approved": user, "old": user, "new": user, "left": leaving}.items():
        project.store(owner, "s1", name)
        paths[name] = owner.path("s1", sha256(name))
        if name != "new":
            age(project, paths[name], 2)
    project.approve(user, document="approved")
    with project.as_superuser() as connection:
        connection.execute("insert into storage.buckets (id, name) values ('theirs', 'theirs')")
        connection.execute(
            "insert into storage.objects (bucket_id, name, created_at) values ('theirs', 'x', '2020-01-01')"
        )
        connection.execute("delete from auth.users where id = %s", (leaving.id,))

    assert orphans(project) == sorted([paths["old"], paths["left"]])
    assert orphans(project, "3 days") == []
    assert orphans(project, "0 days") == sorted([paths["old"], paths["left"], paths["new"]])


def test_orphans_come_in_bounded_batches_that_can_be_walked(project: Project) -> None:
    user = project.new_user()
    for number in range(7):
        project.store(user, f"s{number}")
    everything = orphans(project, "0 days")
    assert len(everything) == 7
    walked: list[str] = []
    while batch := orphans(project, "0 days", after_name=walked[-1] if walked else "", batch_size=3):
        assert len(batch) <= 3
        walked += batch
    assert walked == everything
    assert len(orphans(project, "0 days", batch_size=0)) == 1


def test_a_purge_takes_agents_deleted_before_the_time_and_leaves_the_rest(project: Project) -> None:
    user = project.new_user()
    kept, deleted, purged = (project.store_and_approve(user, f"s{number}")["agent_id"] for number in range(3))
    project.store_and_approve(user, "s2", 2)
    project.call(user, "delete_agent", agent_id=purged)
    between = datetime.now(UTC)
    project.call(user, "delete_agent", agent_id=deleted)

    assert purge(project, between - timedelta(days=30)) == 0
    assert purge(project, between) == 1

    assert {row["id"] for row in project.rows("select id from public.agent")} == {kept, deleted}
    assert project.events(purged) == []
    assert len(orphans(project, "0 days")) == 2
    assert broken_invariants(project) == []
    again = project.store_and_approve(user, "s2")
    assert again["created"] is True
    assert again["agent_id"] != purged


def test_a_purge_works_in_bounded_batches(project: Project) -> None:
    user = project.new_user()
    for number in range(5):
        project.call(user, "delete_agent", agent_id=project.store_and_approve(user, f"s{number}")["agent_id"])
    now = datetime.now(UTC) + timedelta(seconds=1)
    assert [purge(project, now, batch_size=2) for _ in range(4)] == [2, 2, 1, 0]


def test_a_purge_skips_an_agent_that_is_locked(project: Project) -> None:
    user = project.new_user()
    agent_id = project.store_and_approve(user)["agent_id"]
    project.call(user, "delete_agent", agent_id=agent_id)
    soon = datetime.now(UTC) + timedelta(seconds=1)
    with project.as_user(user) as connection:
        connection.execute("select public.restore_agent(%s)", (agent_id,))
        assert purge(project, soon) == 0
    assert purge(project, soon) == 0
    assert [event["kind"] for event in project.events(agent_id)] == ["approved", "deleted", "restored"]


def test_a_purge_looks_again_before_it_takes_an_agent(project: Project) -> None:
    user = project.new_user()
    first, second = (project.store_and_approve(user, f"s{number}")["agent_id"] for number in range(2))
    for agent_id in (first, second):
        project.call(user, "delete_agent", agent_id=agent_id)

    with ThreadPoolExecutor(1) as pool, project.as_superuser() as connection:
        # The purge has chosen both agents by the time that it comes to wait for this lock.
        connection.execute("select from public.plan where session_id = 's0' for key share")
        purged = pool.submit(purge, project, datetime.now(UTC) + timedelta(seconds=1))
        while not project.rows(
            "select from pg_stat_activity where wait_event_type = 'Lock' and query ~ 'purge'"
        ):
            assert not purged.done()
        project.call(user, "restore_agent", agent_id=second)
        connection.execute("commit")
        assert purged.result() == 1

    assert project.events(first) == []
    assert [event["kind"] for event in project.events(second)] == ["approved", "deleted", "restored"]
    assert broken_invariants(project) == []


def test_a_purge_needs_a_time(project: Project) -> None:
    user = project.new_user()
    project.call(user, "delete_agent", agent_id=project.store_and_approve(user)["agent_id"])
    with project.as_service_role() as connection:
        assert connection.execute("select public.purge_deleted_agents(null)").fetchone() == {
            "purge_deleted_agents": 0
        }
        with pytest.raises(psycopg.errors.UndefinedFunction):
            connection.execute("select public.purge_deleted_agents()")
    stranger = User(user.id)
    assert len(project.rows("select from public.agent where user_id = %s", stranger.id)) == 1


# Plans that were closed without an approval -------------------------------------------------------------------

NOW = "now"


def purge_plans(project: Project, closed_before: object = NOW, **arguments: object) -> int:
    """Call purge_closed_plans() with a time, which is a moment from now where nothing is said."""
    before = datetime.now(UTC) + timedelta(seconds=5) if closed_before == NOW else closed_before
    row = project.call(None, "purge_closed_plans", closed_before=before, **arguments)
    return int(row["purge_closed_plans"])


def left(project: Project) -> list[tuple[str, int]]:
    rows = project.rows("select session_id, version from public.plan order by session_id, version")
    return [(row["session_id"], row["version"]) for row in rows]


CLOSED = ("expired", "changes_requested", "rejected", "withdrawn")


def test_what_was_closed_without_an_approval_is_purged_and_the_rest_stays(project: Project) -> None:
    user = project.new_user()
    for state in STATES:
        project.plan_in(user, state, state)
    assert purge_plans(project) == 5
    assert left(project) == [
        ("approved", 1),
        ("archived", 1),
        ("directly-approved", 1),
        ("proposed", 1),
        ("replaced", 2),
        ("superseded", 1),
        ("superseded", 2),
    ]
    assert purge_plans(project) == 0
    assert broken_invariants(project) == []


def test_their_documents_are_orphans_then_and_not_before(project: Project) -> None:
    user = project.new_user()
    plans = [project.plan_in(user, state, state) for state in ("proposed", *CLOSED)]
    assert orphans(project, "0 days") == []
    purge_plans(project)
    assert orphans(project, "0 days") == sorted(plan["document_path"] for plan in plans[1:])


def test_each_is_purged_by_the_time_at_which_it_was_closed(project: Project) -> None:
    user = project.new_user()
    now = datetime.now(UTC)
    closed, made = now - timedelta(days=30), now - timedelta(days=60)
    for state in ("changes_requested", "rejected", "withdrawn"):
        project.plan_in(user, state, state)
        project.backdate(user, state, 1, created_at=made, decided_at=closed)
    project.store_and_propose(user, "expired")
    project.backdate(user, "expired", 1, created_at=made, expires_at=closed)
    project.plan_in(user, "replaced", "replaced")
    project.backdate(user, "replaced", 1, created_at=made, updated_at=closed)

    assert purge_plans(project, closed - timedelta(minutes=1)) == 0
    assert purge_plans(project, closed + timedelta(minutes=1)) == 5
    assert left(project) == [("replaced", 2)]


def test_a_proposal_that_can_still_be_approved_is_never_purged(project: Project) -> None:
    """Whatever time is given: one that lies ahead purges what is closed by now."""
    user = project.new_user()
    project.store_and_propose(user, "ends", expires_at=datetime.now(UTC) + timedelta(hours=1))
    project.store_and_propose(user, "endless")
    for closed_before in (NOW, datetime.now(UTC) + timedelta(days=1), "infinity"):
        assert purge_plans(project, closed_before) == 0
    assert project.approve_proposed(user, "ends")["created"] is True
    assert project.approve_proposed(user, "endless")["created"] is True


@pytest.mark.parametrize("state", CLOSED)
def test_the_newest_plan_of_a_session_with_an_agent_stays(project: Project, state: str) -> None:
    """It keeps its number taken, so that an old tab's draft of that number is still stale or a conflict."""
    user = project.new_user()
    project.store_and_approve(user, version=1)
    decision = {
        "changes_requested": "request_changes",
        "rejected": "reject_plan",
        "withdrawn": "withdraw_plan",
    }
    for version in (2, 3):
        project.store_and_propose(user, version=version)
        if state == "expired":
            project.expire(user, version=version)
        else:
            project.decide(user, decision[state], version=version)
    assert purge_plans(project) == 1
    assert left(project) == [("s1", 1), ("s1", 3)]
    assert purge_plans(project) == 0
    with refused("plan_stale", "PT409"):
        project.store_and_approve(user, version=2)
    project.store_and_approve(user, version=4)
    assert purge_plans(project) == 1
    assert broken_invariants(project) == []


def test_of_a_session_without_an_agent_all_is_purged(project: Project) -> None:
    user = project.new_user()
    project.plan_in(user, "rejected")
    assert purge_plans(project) == 1
    assert left(project) == []
    assert project.store_and_propose(user)["created"] is True


def test_a_purge_of_plans_works_in_bounded_batches(project: Project) -> None:
    user = project.new_user()
    for number in range(5):
        project.plan_in(user, "rejected", f"s{number}")
    assert [purge_plans(project, batch_size=size) for size in (2, 0, -1, 1_000_000, 10)] == [2, 1, 1, 1, 0]


def test_a_batch_is_clamped_to_a_thousand(project: Project) -> None:
    user = project.new_user()
    project.plan_in(user, "rejected")
    with project.as_superuser() as connection:
        connection.execute(
            """
            insert into public.plan (
                user_id, session_id, version, title, document_id, document_path, document_sha256, document_url,
                status, proposed_by, decided_at
            )
            select user_id, session_id, version + n, title, document_id, document_path, document_sha256, document_url,
                status, proposed_by, decided_at
            from public.plan cross join generate_series(1, 1004) as n
            """
        )
    assert [purge_plans(project, batch_size=5000) for _ in range(3)] == [1000, 5, 0]


def test_what_must_stay_does_not_fill_the_batch(project: Project) -> None:
    """Older than what can go, and still it is reached: by those that are the newest, and those that are locked."""
    user = project.new_user()
    for number in range(5):
        project.store_and_approve(user, f"stays{number}")
        project.store_and_propose(user, f"stays{number}", 2)
        project.decide(user, "reject_plan", f"stays{number}", 2)
        project.plan_in(user, "rejected", f"busy{number}")
    project.plan_in(user, "rejected", "goes")
    with project.as_superuser() as holder:
        holder.execute("select from public.plan where session_id like 'busy%' for update")
        assert purge_plans(project, batch_size=1) == 1
        assert ("goes", 1) not in left(project)
        assert purge_plans(project, batch_size=1) == 0
    assert purge_plans(project) == 5


def test_a_purge_of_plans_never_waits_for_a_lock(project: Project) -> None:
    user = project.new_user()
    project.plan_in(user, "rejected")
    for lock in ("select from auth.users for update", "select from public.plan for update"):
        with project.as_superuser() as holder:
            holder.execute(lock)
            with project.as_service_role() as connection:
                connection.execute("set local lock_timeout = '200ms'")
                answer = connection.execute("select public.purge_closed_plans(now())").fetchone()
                assert answer == {"purge_closed_plans": 0}
    assert purge_plans(project) == 1


def test_a_purge_of_plans_skips_a_session_that_is_being_decided_on(project: Project) -> None:
    """The planner's next proposal is running: it still finds the refused document."""
    user = project.new_user()
    project.plan_in(user, "rejected")
    project.store(user, document="# New")
    with project.as_user(user) as connection:
        connection.execute(
            "select public.propose_plan('s1', 2, 'A plan', %s, %s)",
            (sha256("# New"), signed_url(user, "s1", sha256("# New"))),
        )
        assert purge_plans(project) == 0
    assert purge_plans(project) == 1


def test_a_purge_of_plans_needs_a_time(project: Project) -> None:
    project.plan_in(project.new_user(), "rejected")
    assert purge_plans(project, None) == 0
    assert purge_plans(project, "-infinity") == 0
    assert len(left(project)) == 1


def test_a_purge_of_agents_takes_their_proposals_and_builds_along(project: Project) -> None:
    user = project.new_user()
    agent_id = project.store_and_approve(user)["agent_id"]
    project.claim_agent(agent_id)
    project.store_and_propose(user, version=2)
    project.call(user, "delete_agent", agent_id=agent_id)
    assert purge(project, datetime.now(UTC) + timedelta(seconds=1)) == 1
    assert project.everything() == {"plan": [], "agent": [], "agent_event": [], "build": []}
    assert len(orphans(project, "0 days")) == 2
