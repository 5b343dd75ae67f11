"""The Data API answers as PostgREST does, and Lite grants nothing on its own."""

import re
import time
from collections.abc import Iterator
from contextlib import suppress

import httpx
import psycopg
import pytest

from local import ROOT
from local.stack import Stack
from tests.caller import Caller

Database = psycopg.Connection[tuple[object, ...]]


@pytest.fixture
def schema(database: Database) -> Iterator[Database]:
    """Add to the public schema what PostgREST's own documentation would, and remove it afterwards."""
    database.execute("""
        create function public.complain(code text) returns void language plpgsql as $$
        begin
            raise exception using errcode = code, message = 'it failed', detail = 'in a way', hint = 'try again';
        end $$;
        create function public.who() returns jsonb language sql stable as $$
            select jsonb_build_object(
                'user', current_user, 'uid', auth.uid(), 'role', auth.role(),
                'jwt', auth.jwt() ->> 'sub', 'email', auth.email(),
                'timeout', current_setting('statement_timeout')
            )
        $$;
        create function public.keys_of(value jsonb) returns setof text language sql immutable as
            'select jsonb_object_keys(element) from jsonb_array_elements(value) as element';
        create table public.thing (id integer primary key, size integer not null check (size > 0), at timestamptz);
        alter table public.thing enable row level security;
        create policy owner on public.thing to authenticated using (true) with check (true);
        notify pgrst, 'reload schema';
    """)
    yield database
    database.execute("""
        drop function public.complain, public.who, public.keys_of;
        drop table public.thing;
        notify pgrst, 'reload schema';
    """)


def until(caller: Caller, path: str, status: int) -> None:
    """Ask until the answer has this status. What is asked over a connection that ends at that moment has no answer."""
    deadline = time.monotonic() + 20
    last = "nothing"
    while time.monotonic() < deadline:
        with suppress(httpx.ReadTimeout):
            answer = caller.get(path, timeout=5)
            if answer.status_code == status:
                return
            last = f"{answer.status_code}: {answer.text}"
        time.sleep(0.01)
    raise AssertionError(f"{path} still answers {last}")


def until_known(caller: Caller, path: str) -> None:
    """Wait until the schema cache has been reloaded: it happens soon after the notification, not at once."""
    until(caller, path, 200)


@pytest.mark.parametrize(
    ("code", "as_user", "as_anon"),
    [
        ("PT409", 409, 409),
        ("PT422", 422, 422),
        ("P0001", 400, 400),
        ("28000", 403, 403),
        ("42501", 403, 401),
        ("23503", 409, 409),
        ("23505", 409, 409),
        ("23514", 400, 400),
        ("22023", 400, 400),
        ("57014", 500, 500),
        ("XX000", 500, 500),
    ],
)
def test_what_the_database_raises(
    code: str, as_user: int, as_anon: int, schema: Database, user: Caller, anon: Caller
) -> None:
    until_known(user, "/rest/v1/thing")
    for caller, status in ((user, as_user), (anon, as_anon)):
        answer = caller.post("/rest/v1/rpc/complain", json={"code": code})
        assert answer.status_code == status
        assert answer.json() == {
            "code": code,
            "message": "it failed",
            "details": "in a way",
            "hint": "try again",
        }


@pytest.mark.parametrize(
    ("row", "status", "code"),
    [
        ({"id": 1, "size": 1}, 409, "23505"),
        ({"id": 2, "size": 0}, 400, "23514"),
        ({"id": 2}, 400, "23502"),
        ({"id": "two", "size": 1}, 400, "22P02"),
    ],
)
def test_what_a_constraint_refuses(
    row: dict[str, object], status: int, code: str, schema: Database, user: Caller, anon: Caller
) -> None:
    until_known(user, "/rest/v1/thing")
    assert user.post("/rest/v1/thing", json={"id": 1, "size": 1}).status_code == 201
    answer = user.post("/rest/v1/thing", json=row)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert anon.post("/rest/v1/thing", json={"id": 3, "size": 1}).status_code == 401


def test_json_arguments_are_no_strings(schema: Database, user: Caller) -> None:
    until_known(user, "/rest/v1/thing")
    answer = user.post("/rest/v1/rpc/keys_of", json={"value": [{"end": 2, "exact": 'a "b"'}]})
    assert (answer.status_code, answer.json()) == (200, ["end", "exact"])


def test_times_are_iso_8601(schema: Database, user: Caller) -> None:
    until_known(user, "/rest/v1/thing")
    row = {"id": 1, "size": 1, "at": "2026-11-22T18:53:59.27+01:00"}
    returned = user.post("/rest/v1/thing", json=row, headers={"Prefer": "return=representation"})
    assert returned.json()[0]["at"] == "2026-11-22T17:53:59.27+00:00"


def test_the_database_knows_the_caller_and_the_settings_of_the_role(
    schema: Database, user: Caller, anon: Caller, service_role: Caller
) -> None:
    until_known(user, "/rest/v1/thing")
    seen = user.post("/rest/v1/rpc/who").json()
    assert seen["email"].endswith("@example.com")
    assert seen == {
        "user": "authenticated",
        "uid": user.id,
        "role": "authenticated",
        "jwt": user.id,
        "email": seen["email"],
        "timeout": "8s",
    }
    no_user = {"uid": None, "jwt": None, "email": None}
    asked = anon.post("/rest/v1/rpc/who").json()
    assert asked == {"user": "anon", "role": "anon", "timeout": "3s", **no_user}
    # service_role has no setting of its own: authenticator's applies.
    asked = service_role.post("/rest/v1/rpc/who").json()
    assert asked == {"user": "service_role", "role": "service_role", "timeout": "8s", **no_user}


def test_a_changed_setting_of_a_role_applies_after_a_notification(
    schema: Database, user: Caller, local: Stack
) -> None:
    until_known(user, "/rest/v1/thing")
    with psycopg.connect(local.postgres.url("supabase_admin"), autocommit=True) as superuser:
        try:
            superuser.execute("alter role authenticated set statement_timeout = '7s'; notify pgrst")
            deadline = time.monotonic() + 10
            while user.post("/rest/v1/rpc/who").json()["timeout"] != "7s":
                assert time.monotonic() < deadline
                time.sleep(0.01)
        finally:
            superuser.execute("alter role authenticated set statement_timeout = '8s'; notify pgrst")


def test_tables_embed_without_a_hint(user: Caller) -> None:
    made = []
    for session in ("one", "two"):
        user.upload(user.path(session))
        made.append(user.approve_stored(session).json())

    agents = user.get("/rest/v1/agent?select=*,plan(*),agent_event(*),build(*,plan(id))&order=id").json()

    assert {agent["id"] for agent in agents} == {one["agent_id"] for one in made}
    for agent in agents:
        assert agent["plan"]["id"] == agent["plan_id"]
        assert [event["kind"] for event in agent["agent_event"]] == ["approved"]
        assert [build["plan"]["id"] for build in agent["build"]] == [agent["plan_id"]]
    query = "select=id,made:agent!inner(id),build(status)&agent.status=eq.building&build.status=eq.queued"
    plans = user.get(f"/rest/v1/plan?{query}&session_id=eq.two").json()
    agent = {"id": made[1]["agent_id"]}
    assert plans == [{"id": made[1]["plan_id"], "made": [agent], "build": [{"status": "queued"}]}]


# What we ourselves embed in an agent: in the client, the web app, the commands and the docs.
OURS = (
    "client/src/*.ts",
    "client/*.md",
    "ui/[a-z]*/**/*.ts*",
    "service/**/*.py",
    "local/*.py",
    "docs/*.md",
    "*.md",
)
EMBEDS = {
    select.replace(" ", "").replace(
        "${WITH_LOGS}", "*,logs:build_log!build_log_build_fkey(attempt,updated_at)"
    )
    for pattern in OURS
    for path in ROOT.glob(pattern)
    for select in re.findall(r"""["'`](\*, ?\w+[!\w]*\([^"'`]*)["'`]""", path.read_text())
}


def test_our_own_embeds_work_beside_a_table_that_joins_ours(
    database: Database, user: Caller, stranger: Caller
) -> None:
    """`(agent_id, plan_id)` as a primary key makes `agent?select=plan(*)` ambiguous: PostgREST sees two ways."""
    user.upload(user.path())
    user.approve_stored()
    ambiguous = "/rest/v1/agent?select=*,plan(*)"
    assert user.get(ambiguous).status_code == 200
    database.execute(
        "create table public.favourite (agent_id uuid references public.agent (id) on delete cascade,"
        " plan_id uuid references public.plan (id) on delete cascade, primary key (agent_id, plan_id));"
        " notify pgrst, 'reload schema'"
    )
    try:
        deadline = time.monotonic() + 10
        while (answer := user.get(ambiguous)).status_code == 200:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert (answer.status_code, answer.json()["code"]) == (300, "PGRST201")

        assert len(EMBEDS) > 2
        for select in EMBEDS:
            (agent,) = user.get("/rest/v1/agent", params={"select": select}).json()
            assert agent["plan"]["id"] == agent["plan_id"]
            assert stranger.get("/rest/v1/agent", params={"select": select}).json() == []
    finally:
        database.execute("drop table public.favourite; notify pgrst, 'reload schema'")


def test_an_embedding_keeps_a_user_s_plans_apart(user: Caller) -> None:
    for session in ("one", "two"):
        user.upload(user.path(session))
        user.approve_stored(session)

    agents = user.get("/rest/v1/agent?select=session_id,plan(session_id,agent(session_id))").json()

    assert sorted(agent["session_id"] for agent in agents) == ["one", "two"]
    for agent in agents:
        session = agent["session_id"]
        assert agent["plan"] == {"session_id": session, "agent": [{"session_id": session}]}


def test_auth_uid_reads_the_claims_of_a_transaction(database: Database, user: Caller) -> None:
    with database.transaction():
        claims = f'{{"sub": "{user.id}", "role": "authenticated"}}'
        database.execute("select set_config('request.jwt.claims', %s, true)", [claims])
        assert database.execute("select auth.uid()::text, auth.role()").fetchone() == (
            user.id,
            "authenticated",
        )
    assert database.execute("select auth.uid()").fetchone() == (None,)


def test_an_agent_comes_with_its_plan_and_its_ledger(user: Caller, stranger: Caller) -> None:
    user.upload(user.path())
    approval = user.approve_stored().json()
    path = "/rest/v1/agent?select=*,plan(*),agent_event(*)"
    (agent,) = user.get(path).json()
    assert agent["id"] == approval["agent_id"]
    assert agent["plan"]["id"] == approval["plan_id"]
    assert [event["kind"] for event in agent["agent_event"]] == ["approved"]
    assert stranger.get(path).json() == []


def privileges(database: Database) -> list[tuple[object, ...]]:
    return database.execute("""
        select relnamespace::regnamespace::text, relname, relacl::text from pg_class
        where relnamespace::regnamespace::text in ('public', 'greenlight', 'auth', 'storage') and relkind in ('r', 'S')
        union all
        select defaclnamespace::regnamespace::text, defaclrole::regrole::text || defaclobjtype::text, defaclacl::text
        from pg_default_acl
        order by 1, 2
    """).fetchall()


def test_requests_change_no_privileges(database: Database, user: Caller, anon: Caller, local: Stack) -> None:
    before = privileges(database)
    local.child("gateway").stop()
    local.restart("gateway")
    assert user.get("/rest/v1/plan").status_code == 200
    assert anon.get("/rest/v1/plan").status_code == 401
    assert privileges(database) == before
    assert ("public", "plan") in [(schema, name) for schema, name, _ in before]


def test_a_new_project_has_the_wide_default_privileges(database: Database) -> None:
    granted = database.execute("""
        select defaclobjtype::text, acl.grantee::regrole::text
        from pg_default_acl cross join lateral aclexplode(defaclacl) as acl
        where defaclnamespace = 'public'::regnamespace and defaclrole = 'postgres'::regrole
    """).fetchall()
    roles = ("anon", "authenticated", "service_role")
    assert {(kind, role) for kind in "rSf" for role in roles} <= set(granted)


def test_the_owner_of_the_schema_is_no_superuser(database: Database) -> None:
    assert database.execute(
        "select current_user::text, rolsuper from pg_roles where rolname = current_user"
    ).fetchone() == ("postgres", False)
    owners = database.execute(
        "select distinct tableowner from pg_tables where schemaname = 'public'"
    ).fetchall()
    assert owners == [("postgres",)]


def test_notify_reloads_the_schema_even_after_lost_connections(
    database: Database, user: Caller, local: Stack
) -> None:
    for number in range(2):
        name = f"fresh_{number}"
        # 503 as long as it only has connections that are gone.
        until(user, f"/rest/v1/{name}", 404)
        database.execute(f"create table public.{name} (id integer)")
        try:
            database.execute("notify pgrst, 'reload schema'")
            until_known(user, f"/rest/v1/{name}")
        finally:
            database.execute(f"drop table public.{name}")
            database.execute("notify pgrst, 'reload schema'")
        with psycopg.connect(local.postgres.url("supabase_admin"), autocommit=True) as root:
            root.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where pid <> all (%s) and backend_type = 'client backend'",
                [[root.info.backend_pid, database.info.backend_pid]],
            )
