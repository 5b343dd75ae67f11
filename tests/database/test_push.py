"""`supabase db push` by the real CLI, as a role that is no superuser, into existing projects."""

import re
from pathlib import Path
from shutil import copytree
from typing import LiteralString

from .conftest import ROOT, Project, push_result

MIGRATIONS = sorted((ROOT / "supabase/migrations").glob("*.sql"))

# Every name that Greenlight uses, each taken by something that could be there.
TAKEN: dict[str, LiteralString] = {
    "public.plan": "create table public.plan (id int)",
    "public.agent": "create view public.agent as select 1 as id",
    "public.agent_event": "create type public.agent_event as enum ('a')",
    "public.build": "create table public.build (id int)",
    "public.plan_approval": "create table public.plan_approval (id int)",
    "schema greenlight": "create schema greenlight",
    "bucket plans": "insert into storage.buckets (id, name) values ('plans', 'plans')",
    "public.build_queue_idx": "create table public.theirs (id int); create index build_queue_idx on public.theirs (id)",
    "public.claim_builds()": "create function public.claim_builds() returns int language sql as 'select 1'",
    "public.approve_plan()": "create function public.approve_plan(int) returns int language sql as 'select 1'",
    "storage policy greenlight_select_own": (
        "create policy greenlight_select_own on storage.objects for select to public using (false)"
    ),
}


def snapshot(project: Project) -> list[str]:
    """Everything of the project that a migration could change: objects, grants, policies, buckets, settings."""
    rows = project.rows(
        """
        select 'class ' || c.oid::regclass || ' ' || c.relkind::text || ' ' || coalesce(c.relacl::text, '') as line
        from pg_class c where c.relnamespace not in (
            'pg_catalog'::regnamespace, 'information_schema'::regnamespace, 'pg_toast'::regnamespace
        )
        union all
        select 'function ' || p.oid::regprocedure || ' ' || coalesce(p.proacl::text, '') || md5(p.prosrc)
        from pg_proc p where p.pronamespace not in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
        union all
        select 'policy ' || polname || ' ' || polrelid::regclass || ' ' || polcmd::text || polpermissive::text
            || coalesce(pg_get_expr(polqual, polrelid), '') from pg_policy
        union all
        select 'schema ' || nspname || ' ' || coalesce(nspacl::text, '') from pg_namespace where nspname !~ '^pg_'
        union all
        select 'default ' || defaclrole::regrole || ' ' || defaclobjtype::text || ' ' || defaclacl::text
        from pg_default_acl
        union all
        select 'trigger ' || tgname || ' ' || tgrelid::regclass from pg_trigger where not tgisinternal
        union all
        select 'bucket ' || b::text from storage.buckets b
        union all
        select 'setting ' || setconfig::text from pg_db_role_setting
        union all
        select 'role ' || rolname || ' ' || rolsuper::text || rolbypassrls::text || rolcreaterole::text from pg_roles
        """
    )
    return sorted(row["line"] for row in rows)


def ours(line: str) -> bool:
    return bool(
        re.match(
            r"class (plan|agent|agent_event|build|display_name"
            r"|(plan|agent|agent_event|build|notification)_\w+|greenlight\.\w+) "
            r"|function (greenlight\.|(propose_plan|approve_plan|request_changes|reject_plan|withdraw_plan"
            r"|transition_agent|delete_agent|restore_agent|deleted_agents|plan_teams|display_names|latest_changes"
            r"|claim_builds|renew_build|finish_build|fail_build|stop_build|retry_build|purge_build_logs"
            r"|claim_notifications|finish_notification|fail_notification|forget_subscriber|purge_notifications"
            r"|orphaned_documents|purge_deleted_agents|purge_closed_plans|installation)\()"
            r"|policy (greenlight_\w+ storage\.objects|select_own (plan|agent|agent_event|build|build_log)) "
            r"|schema greenlight |trigger \w+ (plan|agent|agent_event|build|build_log|greenlight\.setting)$"
            r"|trigger greenlight_\w+ storage\.(objects|buckets)$|bucket \(plans,",
            line,
        )
    )


def clis(line: str) -> bool:
    """What the CLI keeps for itself: its history of migrations."""
    return "supabase_migrations" in line or bool(re.match(r"class schema_migrations", line))


def test_01_run_migration_successfully_and_again_as_a_no_op(any_project: Project) -> None:
    before = snapshot(any_project)
    again = push_result(any_project.dsn("postgres"))
    assert again.returncode == 0, again.stderr
    assert "Applying migration" not in again.stdout + again.stderr
    assert snapshot(any_project) == before


def test_02_plan_table_created(any_project: Project) -> None:
    assert columns(any_project, "plan") >= {
        ("id", "uuid", "NO"),
        ("user_id", "uuid", "NO"),
        ("title", "character varying(500)", "NO"),
        ("document_url", "text", "NO"),
        ("document_path", "character varying(500)", "NO"),
        ("status", "character varying(50)", "NO"),
        ("created_at", "timestamp with time zone", "NO"),
        ("updated_at", "timestamp with time zone", "NO"),
    }


def test_03_agent_table_created(any_project: Project) -> None:
    assert columns(any_project, "agent") >= {
        ("id", "uuid", "NO"),
        ("user_id", "uuid", "NO"),
        ("plan_id", "uuid", "NO"),
        ("name", "character varying(200)", "YES"),
        ("status", "character varying(50)", "NO"),
        ("created_at", "timestamp with time zone", "NO"),
        ("updated_at", "timestamp with time zone", "NO"),
    }


def columns(project: Project, table: str) -> set[tuple[str, str, str]]:
    rows = project.rows(
        """
        select attname, format_type(atttypid, atttypmod) as type,
            case when attnotnull then 'NO' else 'YES' end as nullable
        from pg_attribute where attrelid = ('public.' || %s)::regclass and attnum > 0
        """,
        table,
    )
    return {(row["attname"], row["type"], row["nullable"]) for row in rows}


def test_04_foreign_key_from_agent_plan_id_to_plan_id(any_project: Project) -> None:
    keys = any_project.rows(
        """
        select conrelid::regclass::text as child, confrelid::regclass::text as parent, count(*)
        from pg_constraint where contype = 'f' and connamespace = 'public'::regnamespace group by 1, 2 order by 1, 2
        """
    )
    assert [(row["child"], row["parent"], row["count"]) for row in keys] == [
        ("agent", "auth.users", 1),
        ("agent", "plan", 1),
        ("agent_event", "agent", 1),
        ("agent_event", "plan", 1),
        ("build", "agent", 1),
        ("build", "plan", 1),
        ("build_log", "build", 1),
        ("plan", "auth.users", 1),
        ("plan", "storage.objects", 1),
    ]


def test_05_each_taken_name_is_told_before_anything_has_changed(bare_project: Project) -> None:
    with bare_project.as_superuser() as connection:
        for statement in TAKEN.values():
            connection.execute(statement)
    before = snapshot(bare_project)
    result = push_result(bare_project.dsn("postgres"))
    assert result.returncode != 0
    told = re.findall(
        r"already taken: (.*?) *(?:\(SQLSTATE.*)?$", result.stdout + result.stderr, re.MULTILINE
    )
    assert set(told[0].split(", ")) == TAKEN.keys()
    assert [line for line in snapshot(bare_project) if not clis(line)] == before


def test_06_the_guards_know_every_name_that_the_migrations_use(project: Project) -> None:
    """Or a push would stop half-way on the one that it does not know."""
    guards = "".join(path.read_text() for path in MIGRATIONS)
    used = project.rows(
        """
        select relname as name from pg_class where relnamespace = 'public'::regnamespace
        union all select distinct proname from pg_proc where pronamespace = 'public'::regnamespace
        union all select typname from pg_type where typnamespace = 'public'::regnamespace and typname !~ '^_'
        """
    )
    assert [row["name"] for row in used if f"'{row['name']}'" not in guards] == []


def test_07_a_free_index_name_on_a_table_of_the_project_is_no_obstacle(bare_project: Project) -> None:
    with bare_project.as_superuser() as connection:
        connection.execute("create table public.plan_item (id int primary key, plan_id int)")
        connection.execute("create index plan_item_plan_id_idx on public.plan_item (plan_id)")
    assert push_result(bare_project.dsn("postgres")).returncode == 0


def test_08_a_push_touches_nothing_but_our_own(bare_project: Project) -> None:
    with bare_project.as_superuser() as connection:
        for statement in [
            "create table public.theirs (id int)",
            "grant all on public.theirs to anon",
            "create function public.their_function() returns int language sql as 'select 1'",
            "create policy their_policy on storage.objects for all to public using (true)",
            "insert into storage.buckets (id, name, public) values ('theirs', 'theirs', true)",
        ]:
            connection.execute(statement)
    before = snapshot(bare_project)
    assert push_result(bare_project.dsn("postgres")).returncode == 0
    after = snapshot(bare_project)
    assert [line for line in before if line not in after] == []
    assert [line for line in after if line not in before and not ours(line) and not clis(line)] == []


def test_09_a_failing_migration_leaves_nothing_of_itself(bare_project: Project, tmp_path: Path) -> None:
    copytree(ROOT / "supabase", tmp_path / "supabase")
    last = tmp_path / "supabase/migrations" / MIGRATIONS[1].name
    last.write_text(last.read_text() + "select 1 / 0;\n")
    assert push_result(bare_project.dsn("postgres"), tmp_path).returncode != 0
    assert bare_project.rows("select from pg_class where relname = 'plan'") == []
    assert bare_project.rows("select from pg_namespace where nspname = 'greenlight'") == []


def test_10_the_cli_reads_config_toml_without_a_warning(bare_project: Project) -> None:
    result = push_result(bare_project.dsn("postgres"))
    assert result.returncode == 0
    assert not re.search(r"warn|unknown|deprecated", result.stdout + result.stderr, re.IGNORECASE), (
        result.stderr
    )


def test_11_the_last_migration_tells_the_data_api() -> None:
    assert MIGRATIONS[-1].read_text().rstrip().endswith("notify pgrst, 'reload schema';")


def test_12_everything_of_the_api_is_described(project: Project) -> None:
    """The Data API shows comments in its OpenAPI."""
    undescribed = project.rows(
        """
        select c.oid::regclass::text as name from pg_class c
        where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and obj_description(c.oid, 'pg_class') is null
        union all
        select p.oid::regprocedure::text from pg_proc p
        where p.pronamespace = 'public'::regnamespace and obj_description(p.oid, 'pg_proc') is null
        union all
        select c.oid::regclass || '.' || a.attname from pg_attribute a
        join pg_class c on c.oid = a.attrelid and c.relnamespace = 'public'::regnamespace and c.relkind = 'r'
        where a.attnum > 0 and col_description(c.oid, a.attnum) is null
            and a.attname not in ('id', 'user_id', 'agent_id', 'title', 'version', 'to_status', 'document_sha256',
                'created_at', 'updated_at')
        """
    )
    assert undescribed == []
