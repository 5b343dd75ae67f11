"""build_log: the end of what an attempt wrote."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from .builds import is_sound
from .conftest import Project, Row, User, refused

MOST = 65_536
WRITERS: dict[str, Callable[[Project, Row, str | None], object]] = {
    "renew_build": lambda project, claimed, log: project.renew(claimed, log=log),
    "finish_build": lambda project, claimed, log: project.finish(claimed, log=log),
    "fail_build": lambda project, claimed, log: project.fail(claimed, log=log),
}


def logs(project: Project) -> list[Row]:
    return project.rows("select *, xmin::text, xmax::text from public.build_log order by created_at, attempt")


def purged(project: Project, before: object, batch_size: int = 100) -> int:
    row = project.call(None, "purge_build_logs", ended_before=before, batch_size=batch_size)
    return int(row["purge_build_logs"])


@pytest.mark.parametrize("call", WRITERS)
def test_an_attempt_leaves_the_end_of_what_it_wrote(project: Project, call: str) -> None:
    user = project.new_user()
    claimed = project.claim_agent(project.store_and_approve(user)["agent_id"])
    WRITERS[call](project, claimed, "\U0001f680" + "x" * (MOST - 1) + "\u00e9")
    (log,) = logs(project)
    assert (log["build_id"], log["attempt"], log["user_id"]) == (claimed["build_id"], 1, user.id)
    assert log["content"] == "x" * (MOST - 1) + "\u00e9"
    assert is_sound(project)


def test_a_newer_log_replaces_the_last_and_the_same_writes_nothing(project: Project) -> None:
    claimed = project.claim_agent(project.store_and_approve(project.new_user())["agent_id"])
    project.renew(claimed)
    assert logs(project) == []
    project.renew(claimed, log="one")
    (first,) = logs(project)
    for same in ("one", None):
        project.renew(claimed, log=same)
        assert logs(project) == [first]
    project.renew(claimed, log="two")
    (second,) = logs(project)
    assert (second["content"], second["created_at"]) == ("two", first["created_at"])
    assert second["updated_at"] > first["updated_at"]
    # Of one that is too long, the end is compared.
    project.renew(claimed, log="a" * MOST)
    before = logs(project)
    project.renew(claimed, log="b" + "a" * MOST)
    assert logs(project) == before
    project.finish(claimed, log="")
    assert [log["content"] for log in logs(project)] == [""]


def test_each_attempt_has_its_own_and_writes_no_other(project: Project) -> None:
    agent_id = project.store_and_approve(project.new_user())["agent_id"]
    first = project.claim_agent(agent_id)
    project.fail(first, log="first")
    project.fail(first, log="a repeat")
    second = project.claim_agent(agent_id)
    for call in WRITERS.values():
        with refused("build_lost", "PT409"):
            call(project, first, "late")
    project.finish(second, log="second")
    project.finish(second, log="a repeat")
    assert [(log["attempt"], log["content"]) for log in logs(project)] == [(1, "first"), (2, "second")]


def test_a_stopped_attempt_writes_nothing_more(project: Project) -> None:
    user = project.new_user()
    agent_id = project.store_and_approve(user)["agent_id"]
    claimed = project.claim_agent(agent_id)
    project.renew(claimed, log="before")
    project.call(user, "stop_build", agent_id=agent_id)
    for call in WRITERS.values():
        with refused("build_lost", "PT409"):
            call(project, claimed, "after")
    assert [log["content"] for log in logs(project)] == ["before"]


def test_a_log_is_read_by_those_who_read_the_build(project: Project) -> None:
    owner, stranger = project.new_user(), project.new_user()
    agent_id = project.store_and_approve(owner)["agent_id"]
    project.renew(project.claim_agent(agent_id), log="mine")

    def seen(user: User) -> int:
        with project.as_user(user) as connection:
            return len(connection.execute("select from public.build_log").fetchall())

    assert (seen(owner), seen(owner.with_claims(client_id="mcp")), seen(stranger)) == (1, 1, 0)
    project.call(owner, "delete_agent", agent_id=agent_id)
    assert seen(owner) == 0
    project.call(owner, "restore_agent", agent_id=agent_id)
    assert seen(owner) == 1
    with pytest.raises(psycopg.errors.InsufficientPrivilege), project.as_anon() as connection:
        connection.execute("select from public.build_log")
    for statement in (
        "insert into public.build_log select * from public.build_log",
        "update public.build_log set content = 'mine'",
        "delete from public.build_log",
    ):
        for login in (project.as_user(owner), project.as_service_role()):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), login as connection:
                connection.execute(statement.encode())
    project.delete_user(owner)
    assert logs(project) == []


def test_logs_of_builds_that_ended_before_then_are_purged(project: Project) -> None:
    user = project.new_user()
    for number in range(3):
        claimed = project.claim_agent(project.store_and_approve(user, f"ended{number}")["agent_id"])
        project.fail(claimed, log="first")
        project.finish(project.claim_agent(claimed["agent_id"]), log="ended")
    running = project.claim_agent(project.store_and_approve(user, "running")["agent_id"])
    project.renew(running, log="running")

    now = datetime.now(UTC)
    assert purged(project, now - timedelta(days=1)) == 0
    assert purged(project, None) == 0
    later = now + timedelta(days=1)
    with project.as_superuser() as holder:
        holder.execute("select from public.build_log where content = 'ended' for update")
        assert purged(project, later) == 3
    assert [purged(project, later, 2) for _ in range(3)] == [2, 1, 0]
    assert [log["content"] for log in logs(project)] == ["running"]
    assert len(project.rows("select from public.build where status = 'succeeded'")) == 3
    assert is_sound(project)
