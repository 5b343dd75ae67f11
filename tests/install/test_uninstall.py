"""`greenlight uninstall`: what it removes, what it leaves, and when it refuses."""

import re

from greenlight.install import shipped
from tests.database.conftest import Project

from .conftest import Host

# What a project may have in addition to ours.
THEIRS = """
create table public.note (id int primary key, body text default 'x');
comment on table public.note is 'Theirs.';
alter table public.note enable row level security;
create policy select_own on public.note for select to authenticated using (true);
grant select (body) on public.note to anon;
insert into public.note values (1), (2);
create type public.mood as enum ('good', 'bad');
create function public.touch() returns trigger language plpgsql as 'begin return new; end';
create trigger touch before update on public.note for each row execute function public.touch();
create schema theirs;
grant usage on schema theirs to anon;
insert into storage.buckets (id, name, public) values ('theirs', 'theirs', true);
create policy greenlit on storage.objects for all to authenticated using (bucket_id = 'theirs');
alter default privileges in schema public revoke all on tables from anon;
alter default privileges in schema public grant select on tables to anon;
"""


def catalogue(project: Project) -> list[str]:
    """Everything in the database but the CLI's own history: objects, definitions, owners, grants, comments, rows."""
    lines = project.rows(
        """
        select 'relation ' || c.oid::regclass || ' ' || concat_ws(' ', c.relkind, c.relowner::regrole, c.relacl,
            c.relrowsecurity, c.relforcerowsecurity, pg_get_indexdef(c.oid), obj_description(c.oid, 'pg_class')) as line
        from pg_class c where c.relnamespace::regnamespace::text not in
            ('pg_catalog', 'information_schema', 'pg_toast', 'supabase_migrations')
        union all
        select 'column ' || a.attrelid::regclass || '.' || a.attname || ' ' || concat_ws(' ', a.atttypid::regtype,
            a.attnotnull, a.attacl, pg_get_expr(d.adbin, d.adrelid), col_description(a.attrelid, a.attnum))
        from pg_attribute a join pg_class c on c.oid = a.attrelid
        left join pg_attrdef d on (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
        where a.attnum > 0 and c.relkind = 'r' and c.relnamespace::regnamespace::text not in
            ('pg_catalog', 'information_schema', 'supabase_migrations')
        union all
        select 'function ' || pg_get_functiondef(p.oid) || concat_ws(' ', p.proowner::regrole, p.proacl,
            obj_description(p.oid, 'pg_proc'))
        from pg_proc p where p.pronamespace::regnamespace::text not in ('pg_catalog', 'information_schema')
        union all
        select 'type ' || t.oid::regtype || ' ' || concat_ws(' ', t.typtype, t.typowner::regrole, t.typacl)
        from pg_type t where t.typnamespace::regnamespace::text not in
            ('pg_catalog', 'information_schema', 'pg_toast', 'supabase_migrations')
        union all
        select 'constraint ' || conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid)
        from pg_constraint where connamespace::regnamespace::text not in
            ('pg_catalog', 'information_schema', 'supabase_migrations')
        union all
        select 'policy ' || p::text from pg_policies p
        union all
        select 'trigger ' || pg_get_triggerdef(oid) || tgenabled::text from pg_trigger where not tgisinternal
        union all
        select 'internal trigger of ' || tgrelid::regclass || ' ' || tgfoid::regproc
        from pg_trigger where tgisinternal
        union all
        select 'schema ' || nspname || ' ' || concat_ws(' ', nspowner::regrole, nspacl)
        from pg_namespace where nspname !~ '^pg_|^supabase_migrations$'
        union all
        select 'default privileges ' || concat_ws(' ', defaclrole::regrole, defaclnamespace::regnamespace,
            defaclobjtype, defaclacl) from pg_default_acl
        union all
        select 'role ' || concat_ws(' ', rolname, rolsuper, rolbypassrls, rolconfig) from pg_roles
        union all
        select 'member ' || roleid::regrole || ' ' || member::regrole from pg_auth_members
        union all
        select 'setting ' || concat_ws(' ', setdatabase <> 0, setrole::regrole, setconfig) from pg_db_role_setting
        union all
        select 'extension ' || extname from pg_extension
        union all
        select 'event trigger ' || evtname from pg_event_trigger
        union all
        select 'bucket ' || b::text from storage.buckets b
        """
    )
    return sorted(str(row["line"]) for row in lines)


def is_the_bucket(line: str) -> bool:
    return line.startswith("bucket (plans,plans,,")


def uninstall(host: Host, *arguments: str) -> None:
    result = host.greenlight("uninstall", *arguments)
    assert result.exit_code == 0, result.output


def test_it_leaves_the_project_as_it_was(host: Host) -> None:
    host.add("20260101000000_theirs.sql", THEIRS)
    host.pushed()
    before = catalogue(host.database)
    notes = host.database.rows("select * from public.note")
    host.install()
    during = catalogue(host.database)
    assert len(during) > len(before) + 100
    assert set(before) <= set(during), "the install changed something of theirs"

    uninstall(host)
    host.pushed()
    after = catalogue(host.database)
    assert [line for line in before if line not in after] == []
    assert [is_the_bucket(line) for line in after if line not in before] == [True]
    assert len(after) == len(before) + 1
    assert host.database.rows("select * from public.note") == notes


def test_it_refuses_while_there_are_documents_and_nothing_has_changed(host: Host) -> None:
    host.begin_installed()
    host.database.store_and_approve(host.database.new_user())
    before = catalogue(host.database)
    uninstall(host)
    refused = host.push()
    assert refused.returncode != 0
    assert "the bucket plans holds documents" in refused.stdout
    assert "--keep-documents" in refused.stdout
    assert catalogue(host.database) == before
    assert host.works()


def test_with_keep_documents_they_stay_and_are_closed_to_all_users(host: Host) -> None:
    host.begin_installed()
    user = host.database.new_user()
    host.database.store_and_approve(user)
    uninstall(host, "--keep-documents")
    host.pushed()
    assert host.database.rows("select bucket_id from storage.objects") == [{"bucket_id": "plans"}]
    assert host.database.rows("select public from storage.buckets where id = 'plans'") == [{"public": False}]
    for request in (host.database.as_user(user), host.database.as_anon()):
        with request as connection:
            assert connection.execute("select from storage.objects").fetchall() == []
    with host.database.as_service_role() as connection:
        (path,) = connection.execute("select name from storage.objects").fetchall()
    # No plan refers to it any more, so that the Storage API can remove it.
    assert host.database.delete_object(str(path["name"])) == 1


def test_it_refuses_where_documents_would_be_open_to_others(host: Host) -> None:
    """Our restrictive policies hold back a policy of the project for all buckets. Without them it would act."""
    host.add(
        "20260101000000_theirs.sql",
        "create policy all_buckets on storage.objects for select to authenticated using (true);"
        " create policy theirs on storage.objects for select to authenticated using (bucket_id = 'theirs');",
    )
    host.install()
    host.database.store_and_approve(host.database.new_user())
    uninstall(host, "--keep-documents")
    before = catalogue(host.database)
    refused = host.push()
    assert refused.returncode != 0
    assert "authenticated could then read its documents" in refused.stdout
    assert "all_buckets" in refused.stdout
    assert catalogue(host.database) == before

    with host.database.as_superuser() as connection:
        connection.execute("alter policy all_buckets on storage.objects using (bucket_id <> 'plans')")
    host.pushed()
    assert host.database.rows("select from pg_namespace where nspname = 'greenlight'") == []


def test_it_does_not_drop_what_is_theirs_for_depending_on_ours(host: Host) -> None:
    host.begin_installed()
    host.add(
        "30000101000000_theirs.sql",
        "create view public.my_agents as select id from public.agent;"
        " create table public.job (agent_id uuid references public.agent (id));",
    )
    host.pushed()
    before = catalogue(host.database)
    uninstall(host)
    refused = host.push()
    assert refused.returncode != 0
    assert "depend" in refused.stdout
    assert catalogue(host.database) == before


def test_an_install_after_it_writes_a_new_set(host: Host) -> None:
    host.begin_installed()
    user = host.database.new_user()
    host.database.store_and_approve(user, "s1")
    during = catalogue(host.database)
    uninstall(host, "--keep-documents")
    host.pushed()
    assert host.greenlight("install", "--check").exit_code == 1
    host.install()
    names = [re.sub(r"^\d{14}_", "", name) for name in host.files()]
    ours = [migration.name for migration in shipped()]
    assert names == [*ours, "greenlight_uninstall.sql", *ours]
    assert catalogue(host.database) == during
    assert host.works()
    # The document that was kept is its owner's again.
    with host.database.as_user(user) as connection:
        assert len(connection.execute("select from storage.objects").fetchall()) == 1


def test_a_reset_replays_install_uninstall_and_install(host: Host) -> None:
    """As `supabase db reset` and preview branches do, which begin with nothing."""
    assert host.greenlight("install").exit_code == 0
    uninstall(host)
    assert host.greenlight("install").exit_code == 0
    host.pushed()
    assert host.works()


def test_a_bucket_of_theirs_is_not_taken_for_the_one_that_was_left(host: Host) -> None:
    host.begin_installed()
    uninstall(host)
    host.pushed()
    with host.database.as_superuser() as connection:  # as the dashboard does it
        connection.execute("set local storage.allow_delete_query = 'true'")
        connection.execute("delete from storage.buckets")
        connection.execute("insert into storage.buckets (id, name) values ('plans', 'plans')")
    assert host.greenlight("install").exit_code == 0
    refused = host.push()
    assert refused.returncode != 0
    assert "already taken: bucket plans" in refused.stdout


def test_again_writes_nothing(host: Host) -> None:
    assert host.greenlight("install").exit_code == 0
    uninstall(host)
    before = host.files()
    result = host.greenlight("uninstall")
    assert result.exit_code == 0
    assert "already exists" in result.output
    other = host.greenlight("uninstall", "--keep-documents")
    assert other.exit_code == 1
    assert "If it has not been pushed, delete it" in other.output
    assert host.files() == before


def test_a_dry_run_writes_nothing(host: Host) -> None:
    assert host.greenlight("install").exit_code == 0
    before = host.files()
    result = host.greenlight("uninstall", "--dry-run")
    assert result.exit_code == 0
    assert "_greenlight_uninstall.sql" in result.output
    assert host.files() == before


def test_where_nothing_is_installed_there_is_nothing_to_remove(host: Host) -> None:
    result = host.greenlight("uninstall")
    assert result.exit_code == 1
    assert "not installed" in result.output


def test_a_project_that_is_behind_is_brought_up_first(host: Host) -> None:
    """What a later version added would otherwise be dropped by nothing, or missed by what drops it."""
    assert host.greenlight("install").exit_code == 0
    host.ours()[-1].unlink()
    result = host.greenlight("uninstall")
    assert result.exit_code == 1
    assert "greenlight install" in result.output
