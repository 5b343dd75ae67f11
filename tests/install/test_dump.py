"""Dumps of the Supabase CLI, restored into another project.

`supabase db dump` runs pg_dump in a container, with the flags and filters that its --dry-run prints. These tests run
that script without the container, on Debian's Postgres 15.
"""

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb
from pytest_postgresql import factories

from greenlight import installation
from tests.database import conftest as database
from tests.database.conftest import Row, User

from .conftest import NODE_MODULES, POSTGRES_15, ROOT, Host

pytestmark = pytest.mark.skipif(
    not (POSTGRES_15 / "pg_dump").exists(), reason="Debian's Postgres 15 is not there"
)

TABLES = ("auth.users", "storage.buckets", "storage.objects", "public.plan", "public.agent", "public.agent_event",
    "public.build", "public.build_log", "greenlight.subscriber", "greenlight.notification", "greenlight.trusted_client",
    "greenlight.setting")  # fmt: skip

old_server = factories.postgresql_proc(
    executable=str(database.HERE / "pg_ctl_debian"),
    user="supabase_admin",
    postgres_options="-c fsync=off -c log_min_messages=panic",
    load=[database.load_platform],
)
old_template = factories.postgresql_noproc(
    dbname="old", depends_on="old_server", load=[database.give_to_postgres]
)
new_template = factories.postgresql_noproc(
    dbname="new", depends_on="old_server", load=[database.give_to_postgres, database.widen_privileges]
)
old_database = factories.postgresql("old_template")
new_database = factories.postgresql("new_template")


@dataclass(frozen=True)
class Move:
    """From a project with data of every kind, which is the older of the two, into a new one."""

    old: Host
    new: Host
    user: User

    def rows(self, host: Host) -> dict[str, list[Row]]:
        return {
            table: host.database.rows(f"select to_jsonb(t) as row from {table} as t order by 1")
            for table in TABLES
        }

    def restored(self) -> bool:
        return self.rows(self.old) == self.rows(self.new)


def install(host: Host) -> None:
    host.add("20260101000000_note.sql")
    host.install()


@pytest.fixture
def move(
    combination: tuple[int, str],
    tmp_path: Path,
    templates: Path,
    old_database: psycopg.Connection[Any],
    new_database: psycopg.Connection[Any],
) -> Iterator[Move]:
    cli, _ = combination
    (tmp_path / "supabase").mkdir()
    (tmp_path / "supabase/config.toml").write_text('project_id = "host"\n')
    (tmp_path / "node_modules").symlink_to(NODE_MODULES[cli])
    with database.project_of(old_database) as source, database.project_of(new_database) as target:
        old = Host(tmp_path, source, cli, templates)
        old.begin("with_note", install)
        user = source.new_user()
        subscribe = b"select * from public.claim_notifications('mail')"
        with source.as_service_role() as connection:
            connection.execute(subscribe)
        for number, state in enumerate(database.STATES):
            source.plan_in(user, state, f"s{number}")
        source.store_and_propose(user, "comments", message="Please read.")
        comment = {"start": 0, "end": 1, "exact": "#", "body": "Why?"}
        source.decide(user, "reject_plan", "comments", comments=Jsonb([comment]))
        agent = source.store_and_approve(user, "deleted")
        source.call(user, "delete_agent", agent_id=agent["agent_id"])
        building = source.store_and_approve(user, "log")["agent_id"]
        source.renew(source.claim_agent(building), progress=10, log="Building.")
        with source.as_service_role() as connection:
            assert connection.execute(subscribe).fetchall(), "notifications that are handed out, and others"
        with source.as_superuser() as connection:
            connection.execute("insert into greenlight.trusted_client values ('ours')")
            connection.execute("update greenlight.setting set require_session = true")
            connection.execute("insert into storage.buckets (id, name) values ('theirs', 'theirs')")
        move = Move(old, replace(old, database=target), user)
        assert all(move.rows(old).values())
        yield move


def test_schema_and_data_into_an_empty_project(move: Move) -> None:
    """What lies in the schema storage is not in the dump; doctor finds it, and writes what puts it back."""
    new = move.new
    (new.directory / "schema.sql").write_text(move.old.dump())
    (new.directory / "data.sql").write_text(move.old.dump("--data-only"))
    (restore,) = re.findall(r"^psql .*$", (ROOT / "docs/deploy.md").read_text(), re.MULTILINE)
    result = subprocess.run(
        ["bash", "-c", f"PATH={POSTGRES_15}:$PATH; {restore}"],
        cwd=new.directory,
        env={**os.environ, "NEW_DATABASE_URL": new.database.dsn("postgres")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    assert move.restored()

    found = new.differences()
    assert found.missing == [name for name in installation.expected() if " on storage." in name]
    # The new project's default privileges are wider than those of the old one.
    assert found.changed
    assert {name.split()[0] for name in found.changed} == {"grants"}
    with new.database.as_superuser() as connection:
        connection.execute("create policy theirs on storage.objects for all to authenticated using (true)")
    assert documents(new, new.database.new_user())

    history = move.old.database.rows("select version from supabase_migrations.schema_migrations order by 1")
    repaired = new.supabase(
        "migration", "repair", "--status", "applied", *(row["version"] for row in history)
    )
    assert repaired.returncode == 0, repaired.stdout
    migration = installation.repair(found)
    new.add(f"30000101000000_{migration.name}", migration.text)
    assert migration.name in new.pushed()

    assert not new.differences()
    assert documents(new, new.database.new_user()) == []
    assert new.database.store_and_propose(new.database.new_user())["created"] is True


def documents(host: Host, user: User) -> list[Row]:
    with host.database.as_user(user) as connection:
        return connection.execute("select name from storage.objects where bucket_id = 'plans'").fetchall()


def test_data_without_buckets(move: Move) -> None:
    """The bucket of the migrations has made room for one that does not come; doctor says so."""
    new = move.new
    new.pushed()
    assert (
        new.psql(r"\set ON_ERROR_STOP on", move.old.dump("--data-only", "-x", "storage.buckets")).returncode
        == 0
    )
    found = new.differences()
    assert (found.missing, found.changed) == (["bucket plans"], [])
    new.add("30000101000000_greenlight_repair.sql", installation.repair(found).text)
    new.pushed()
    assert not new.differences()
    assert documents(new, move.user) != []


@pytest.mark.parametrize("copy", [(), ("--use-copy",)], ids=["inserts", "copy"])
def test_data_into_a_project_with_the_migrations(move: Move, copy: tuple[str, ...]) -> None:
    """As a seed. The migrations made the bucket, and the data has it, too."""
    move.new.pushed()
    result = move.new.psql(r"\set ON_ERROR_STOP on", move.old.dump("--data-only", *copy))
    assert result.returncode == 0, result.stdout
    assert move.restored()
    assert not move.new.differences()
    new_user = move.new.database.new_user()
    assert move.new.database.store_and_propose(new_user)["created"] is True


def test_data_with_the_triggers_on_is_refused(move: Move) -> None:
    """They would write the audit log a second time, as if everything happened now."""
    move.new.pushed()
    _, _, plain = move.old.dump("--data-only").partition("session_replication_role = replica;")
    assert "session_replication_role" not in plain
    result = move.new.psql("delete from storage.buckets;", plain)
    assert "Restore rows of plan with triggers off: set session_replication_role = replica;" in result.stdout
    for table in ("plan", "agent", "agent_event", "build"):
        assert move.new.database.rows(f"select from public.{table}") == []
