"""The Postgres that these tests share, among several runs at the same time, and what postgres may do in it."""

import subprocess
import sys

from mirakuru.base import ENV_UUID

from local.processes import environment
from tests.database.conftest import ROOT, Project, denied


def test_a_run_that_ends_leaves_the_servers_of_others_alone() -> None:
    run = "import mirakuru, os, tests.conftest; print(os.getpid(), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", run], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as ending:
        assert ending.stdout is not None
        number = ending.stdout.readline().strip()
        with subprocess.Popen(["sleep", "600"], env=environment(**{ENV_UUID: f"1{number}:a"})) as other:
            try:
                ending.communicate("\n", timeout=60)
                assert ending.returncode == 0
                assert other.poll() is None
            finally:
                other.kill()


def test_postgres_may_do_with_the_tables_of_storage_what_it_may_on_hosted_projects(project: Project) -> None:
    """It does not own them. Or a migration, or uninstall.sql, would pass here and fail there."""
    for statement in (
        "drop trigger greenlight_keep_document on storage.objects",
        "alter table storage.objects disable trigger greenlight_keep_document",
        "alter table storage.objects disable row level security",
        "alter trigger greenlight_keep_document on storage.objects rename to theirs",
        "comment on trigger greenlight_keep_document on storage.objects is 'Ours.'",
        "create index theirs on storage.objects (owner_id)",
        "create function storage.theirs() returns int language sql as 'select 1'",
        "drop table storage.objects cascade",
    ):
        with denied(), project.transaction("postgres") as connection:
            connection.execute(statement)
    for statement in (
        "create policy theirs on storage.objects for select using (true)",
        "alter policy theirs on storage.objects using (false)",
        "drop policy theirs on storage.objects",
        "create function public.theirs() returns trigger language plpgsql as 'begin return new; end'",
        "create trigger theirs before insert on storage.objects for each row execute function public.theirs()",
        "drop function public.theirs() cascade",
    ):
        with project.transaction("postgres") as connection:
            connection.execute(statement)
    assert project.rows("select from pg_trigger where tgname = 'theirs'") == []
