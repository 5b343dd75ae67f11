"""The two functions that retention stands on. Only the service role may call them: test_access.py shows it."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from .conftest import Project, Row, User, sha256
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


def test_a_purge_passes_over_an_agent_that_somebody_is_busy_with(project: Project) -> None:
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
