"""A project that holds data of 0.2.0 gets the newer migrations: rows keep their meaning, calls go on working."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shutil import copytree
from tempfile import TemporaryDirectory
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg.types.json import Jsonb
from pytest_postgresql import factories

from local.migration import RELEASED
from tests.plan import INVALID_TITLES

from .conftest import (
    ROOT,
    STATES,
    Project,
    Row,
    document_of,
    dsn,
    give_to_postgres,
    load_new_storage,
    push_result,
    refused,
    signed_url,
    widen_privileges,
)


def push_0_2_0(host: str, port: int, dbname: str, **_: object) -> None:
    of_0_2_0 = RELEASED.read_text().split()[1:12:2]
    assert of_0_2_0[-1].endswith("_06_triggers.sql")
    with TemporaryDirectory() as directory:
        copytree(ROOT / "supabase", Path(directory, "supabase"))
        for path in Path(directory, "supabase/migrations").iterdir():
            if path.name not in of_0_2_0:
                path.unlink()
        result = push_result(dsn(host, port, dbname, "postgres"), Path(directory))
    assert result.returncode == 0, result.stderr


of_0_2_0_template = factories.postgresql_noproc(
    dbname="of_0_2_0",
    depends_on="server",
    load=[load_new_storage, give_to_postgres, widen_privileges, push_0_2_0],
)


@pytest.fixture
def old_project(project_like: Callable[[str], Project]) -> Project:
    """A project with the migrations of 0.2.0."""
    return project_like("of_0_2_0")


def upgrade(project: Project) -> None:
    # psycopg has prepared "select *" on these connections, which then has other columns.
    project.close()
    project.idle.clear()
    result = push_result(project.dsn("postgres"))
    assert result.returncode == 0, result.stderr


def newer() -> Iterator[Path]:
    """The migrations after those of 0.2.0."""
    yield from sorted((ROOT / "supabase/migrations").glob("*.sql"))[6:]


def push_one(project: Project, migration: Path) -> None:
    """What the CLI does with one file: one transaction, as postgres."""
    with psycopg.connect(project.dsn("postgres"), application_name=migration.stem) as connection:
        connection.execute(migration.read_bytes())


def without_new_columns(
    everything: dict[str, list[Row]], before: dict[str, list[Row]]
) -> dict[str, list[Row]]:
    return {
        table: [
            {name: row[name] for name in old}
            for row, old in zip(everything[table], before[table], strict=True)
        ]
        for table in before
    }


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


NAMES: LiteralString = """
    select 'public.' || relname as name, format('create table public.%%I ()', relname) as take
    from pg_class where relnamespace = 'public'::regnamespace
    union all
    select 'public.' || proname, format('create function public.%%I() returns int language sql return 1', proname)
    from pg_proc where pronamespace = 'public'::regnamespace
    union all
    select 'storage policy ' || polname, format('create policy %%I on storage.objects using (false)', polname)
    from pg_policy where polrelid = 'storage.objects'::regclass
    union all
    select 'storage trigger ' || tgname, format('create trigger %%I before insert on %%s for each row'
        ' execute function suppress_redundant_updates_trigger()', tgname, tgrelid::regclass)
    from pg_trigger
    where tgrelid in ('storage.objects'::regclass, 'storage.buckets'::regclass) and not tgisinternal
"""


def test_each_taken_name_is_told_before_anything_has_changed(old_project: Project, project: Project) -> None:
    names = {row["name"] for row in old_project.rows(NAMES)}
    new = {row["name"]: row["take"] for row in project.rows(NAMES) if row["name"] not in names}
    assert {"public.plan_teams", "public.build_log", "storage trigger greenlight_keep_bucket"} <= new.keys()
    with old_project.as_superuser() as connection:
        for take in new.values():
            connection.execute(take)
    result = push_result(old_project.dsn("postgres"))
    assert result.returncode != 0
    told = re.search(r"already taken: (.*?) *(?:\(SQLSTATE.*)?$", result.stdout + result.stderr, re.MULTILINE)
    assert told is not None
    assert set(told[1].split(", ")) == new.keys()
    assert old_project.rows("select to_regclass('greenlight.setting')::text as name") == [{"name": None}]


def test_rows_of_0_2_keep_their_meaning(old_project: Project) -> None:
    user = old_project.new_user()
    for state in STATES:
        old_project.plan_in(user.with_claims(aal="aal1"), state, state)
    before = old_project.everything()

    upgrade(old_project)

    after = old_project.everything()
    assert without_new_columns(after, before) == before
    assert {(row["decided_via"], row["comments"], row["message"]) for row in after["plan"]} == {(None,) * 3}
    assert {(row["max_attempts"], row["result"]) for row in after["build"]} == {(5, None)}
    # A replay answers as it did, and adds nothing.
    for state in ("approved", "directly-approved", "superseded", "archived"):
        assert old_project.approve_proposed(user, state)["created"] is False
    assert old_project.decide(user, "request_changes", "changes_requested")["decided_via"] is None
    assert old_project.decide(user, "withdraw_plan", "withdrawn")["decided_via"] is None
    assert old_project.everything() == after
    # What waited is decided, and says by whom, with comments.
    comments = [{"start": 0, "end": 1, "exact": "#", "body": "Why?"}]
    note: dict[str, Any] = {"comment": "Go.", "comments": Jsonb(comments)}
    assert old_project.approve_proposed(user, "proposed", **note)["created"] is True
    plan = old_project.plan(user, "proposed")
    assert (plan["decided_via"], plan["comment"], plan["comments"]) == ("user", "Go.", comments)
    old_project.store_and_approve(user, "approved", 2)
    assert old_project.plan(user, "approved")["decided_via"] is None
    assert old_project.plan(user, "approved", 2)["decided_via"] == "user"


def test_a_proposal_of_0_2_whose_title_hides_something_is_still_decided(old_project: Project) -> None:
    user = old_project.new_user()
    for number, title in enumerate(INVALID_TITLES):
        for session in (f"named-{number}", f"unnamed-{number}", f"back-{number}"):
            old_project.store_and_propose(user, session, title=title)
    upgrade(old_project)
    for number, title in enumerate(INVALID_TITLES):
        named, unnamed, back = f"named-{number}", f"unnamed-{number}", f"back-{number}"
        document = document_of(named, 1)
        with refused("plan_conflict", "PT409"):
            old_project.approve_proposed(user, named, title="Another")
        with refused("invalid_title", "PT422"):
            old_project.approve_proposed(user, named, title=INVALID_TITLES[number - 1])
        assert old_project.propose(user, named, title=title, document=document)["created"] is False
        assert old_project.approve(user, named, title=title, document=document)["created"] is True
        assert old_project.approve(user, named, title=title, document=document)["created"] is False
        assert old_project.approve_proposed(user, unnamed)["created"] is True
        assert old_project.decide(user, "request_changes", back)["status"] == "changes_requested"
        # Of a higher version the title is a new one.
        old_project.store(user, back, "# Next")
        with refused("invalid_title", "PT422"):
            old_project.propose(user, back, 2, title, document="# Next")
    assert {row["title"] for row in old_project.rows("select title from public.plan")} == set(INVALID_TITLES)


def test_an_upgrade_never_resets_a_setting(old_project: Project) -> None:
    upgrade(old_project)
    old_project.change_setting(require_session=True, anonymous_may_decide=True, max_attempts=3)
    row = old_project.rows("select * from greenlight.setting")
    upgrade(old_project)
    assert old_project.rows("select * from greenlight.setting") == row


def test_plans_are_decided_between_two_migrations(old_project: Project) -> None:
    """A push takes a moment, and may stop at any of them: what can be approved before can be approved then, too."""
    user = old_project.new_user()
    for migration in newer():
        push_one(old_project, migration)
        old_project.close()  # its connections know the functions as they were
        old_project.idle.clear()
        name = migration.stem
        assert old_project.store_and_approve(user, f"direct-{name}")["created"] is True
        old_project.store_and_propose(user, f"proposed-{name}")
        assert old_project.approve_proposed(user, f"proposed-{name}")["created"] is True
        old_project.store_and_propose(user, f"back-{name}")
        assert old_project.decide(user, "request_changes", f"back-{name}")["status"] == "changes_requested"
        old_project.store_and_propose(user, f"back-{name}", 2)
        assert old_project.decide(user, "reject_plan", f"back-{name}", 2)["status"] == "rejected"
        agent = old_project.store_and_approve(user, f"deleted-{name}")
        old_project.call(user, "delete_agent", agent_id=agent["agent_id"])
        old_project.call(user, "restore_agent", agent_id=agent["agent_id"])
    built = [old_project.finish(claimed)["status"] for claimed in old_project.claim(100)]
    assert built == ["active"] * 30


def test_a_call_that_has_read_and_then_writes_is_in_no_deadlock_with_a_migration(
    old_project: Project, pool: ThreadPoolExecutor
) -> None:
    user = old_project.new_user()
    waiting = "select from pg_stat_activity where wait_event_type = 'Lock' and application_name = %s"
    waited = []
    for migration in newer():
        session = migration.stem
        digest = old_project.store(user, session)
        with old_project.as_user(user) as connection:
            connection.execute("select from public.agent, public.plan, public.build limit 1")
            pushed = pool.submit(push_one, old_project, migration)
            while not pushed.done() and not old_project.rows(waiting, session):
                pass
            waited += [] if pushed.done() else [session]
            connection.execute(
                "select public.approve_plan(%s, 1, 'A plan', %s, %s)",
                (session, digest, signed_url(user, session, digest)),
            )
        pushed.result(timeout=30)
        old_project.close()
        old_project.idle.clear()
    numbers = [re.sub(r".*_greenlight_(\d\d)_.*", r"\1", name) for name in waited]
    assert {"07", "09", "12", "13", "14", "15"} <= set(numbers)
    assert old_project.rows("select count(*) from public.agent") == [{"count": len(list(newer()))}]
