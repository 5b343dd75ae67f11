"""The main stories in a project that has lived for years: tests/grown_project.sql says with what."""

from pathlib import Path

import psycopg
import pytest

from tests.database.conftest import Project, Row, User, document_of, refused
from tests.database.invariants import broken_invariants
from tests.plan import sha256

from .conftest import Host, adopter_in, install_into

BEFORE, _, AFTER = (
    (Path(__file__).parent.parent / "grown_project.sql").read_text().partition("-- After Greenlight:\n")
)
LATER = "29990101000000_theirs.sql"
BIO = "x" * 3000


def grow(host: Host) -> None:
    host.add("20250101000000_theirs.sql", BEFORE)
    host.install()
    host.add(LATER, AFTER)
    host.pushed()


@pytest.fixture
def grown(host: Host) -> Host:
    host.begin("grown", grow)
    return host


# What is theirs, and nothing of ours may change.
THEIRS = """
    select 'bucket' as kind, b.name, b.public::text as what from storage.buckets as b where b.name <> 'plans'
    union all
    select 'policy', polname, pg_get_expr(polqual, polrelid) from pg_policy
    where polname in ('Signed-in users can do everything', 'Everyone sees everything')
        or polrelid = 'public.plans'::regclass
    union all
    select 'trigger', tgname, pg_get_triggerdef(oid) from pg_trigger
    where tgname ~ '^on_auth_user_' or tgname = 'count_upload'
    union all
    select 'default', defaclrole::regrole::text || defaclobjtype::text, defaclacl::text from pg_default_acl
    union all
    select 'relation', oid::regclass::text, relacl::text || relrowsecurity from pg_class
    where relnamespace = 'app'::regnamespace
        or oid in (
            'public.plans'::regclass, 'public.agents'::regclass, 'public.builds'::regclass, 'public.profiles'::regclass
        )
    union all
    select 'function', proname, prosrc || proacl::text from pg_proc
    where pronamespace in ('public'::regnamespace, 'app'::regnamespace)
        and proname in ('touch', 'refuse', 'plan', 'handle_user', 'count_upload')
    union all
    select 'row', id::text, status::text from public.plans
    order by 1, 2, 3
"""


def theirs(project: Project) -> list[Row]:
    rows = project.rows(THEIRS)
    assert {row["kind"] for row in rows} == {
        "bucket",
        "policy",
        "trigger",
        "default",
        "relation",
        "function",
        "row",
    }
    return rows


def seen(project: Project, user: User) -> dict[str, int]:
    with project.as_user(user) as connection:
        return {
            table: connection.execute(f"select count(*) from {table}".encode()).fetchall()[0]["count"]
            for table in ("public.plan", "public.agent", "public.agent_event", "public.build")
        } | {
            "documents": connection.execute(
                "select count(*) from storage.objects where bucket_id = 'plans'"
            ).fetchall()[0]["count"]
        }


NOTHING = {
    "public.plan": 0,
    "public.agent": 0,
    "public.agent_event": 0,
    "public.build": 0,
    "documents": 0,
}


def test_a_plan_is_proposed_decided_and_built(grown: Host) -> None:
    project = grown.database
    assert not grown.differences()
    ada = project.new_user().with_claims(user_metadata={"bio": BIO})
    eve, planner = project.new_user(), ada.with_claims(client_id="mcp")
    assert project.store_and_propose(planner)["status"] == "proposed"
    with refused("human_required", "PT403"):
        project.approve_proposed(planner)
    assert project.decide(ada, "request_changes")["status"] == "changes_requested"
    project.store_and_propose(planner, version=2)
    agent = project.approve_proposed(ada, version=2)["agent_id"]
    assert project.activate(agent)["status"] == "active"
    assert [event["to_status"] for event in project.events(agent)] == ["building", "active"]

    own = {
        "public.plan": 2,
        "public.agent": 1,
        "public.agent_event": 2,
        "public.build": 1,
        "documents": 2,
    }
    assert seen(project, ada) == own
    with project.as_user(ada) as connection:
        connection.execute(
            "insert into public.agent_tag (agent_id, plan_id, tag) select id, plan_id, 'mine' from public.agent"
        )
        assert connection.execute("select version from public.agent_overview").fetchall() == [{"version": 2}]

    # Their policies for all buckets let no one else in.
    assert seen(project, eve) == NOTHING
    path = ada.path("s1", sha256(document_of("s1", 2)))
    for change in (
        "update storage.objects set metadata = '{}' where name = %s",
        "update storage.objects set bucket_id = 'avatars' where name = %s",
        "delete from storage.objects where name = %s",
    ):
        with project.as_user(eve) as connection:
            connection.execute("select set_config('storage.allow_delete_query', 'true', true)")
            assert connection.execute(change.encode(), (path,)).rowcount == 0
    with pytest.raises(psycopg.errors.InsufficientPrivilege), project.as_user(eve) as connection:
        connection.execute(
            "insert into storage.objects (bucket_id, name) values ('plans', %s)",
            (ada.path("s2", sha256("x")),),
        )
    assert seen(project, ada) == own
    assert broken_invariants(project) == []
    (there,) = project.rows("select bucket_id, metadata from storage.objects where name = %s", path)
    assert there["bucket_id"] == "plans"


def test_an_agent_is_deleted_restored_and_purged(grown: Host) -> None:
    project = grown.database
    before = theirs(project)
    ada = project.new_user()
    agent = project.store_and_approve(ada)["agent_id"]
    project.rows(
        "insert into public.agent_tag select id, plan_id, 'theirs' from public.agent returning agent_id"
    )
    project.call(ada, "delete_agent", agent_id=agent)
    assert seen(project, ada) == {**NOTHING, "documents": 1}
    assert project.call(ada, "restore_agent", agent_id=agent)["status"] == "building"
    assert seen(project, ada) == {
        "public.plan": 1,
        "public.agent": 1,
        "public.agent_event": 3,
        "public.build": 2,
        "documents": 1,
    }

    project.call(ada, "delete_agent", agent_id=agent)
    project.store_and_propose(ada, "s2")
    project.decide(ada, "withdraw_plan", "s2")
    assert project.call(None, "purge_deleted_agents", deleted_before="infinity") == {
        "purge_deleted_agents": 1
    }
    assert project.call(None, "purge_closed_plans", closed_before="infinity") == {"purge_closed_plans": 1}
    with project.as_service_role() as connection:
        orphans = connection.execute("select name from public.orphaned_documents('0 seconds')").fetchall()
    assert {orphan["name"].split("/")[1] for orphan in orphans} == {"s1", "s2"}
    assert project.rows("select from public.agent_tag") == []
    assert theirs(project) == before
    assert broken_invariants(project) == []


def test_users_who_are_gone_and_one_who_goes(grown: Host) -> None:
    project = grown.database
    for row in project.rows("select id from auth.users"):
        gone = User(row["id"])
        project.store(gone)
        with refused("not_authenticated", "PT401"):
            project.propose(gone)
        with refused("not_authenticated", "PT401"):
            project.approve(gone)
        with refused("invalid_user_id", "PT422"):
            project.propose(gone, service_role=True)

    ada = project.new_user()
    project.store_and_propose(ada)
    agent = project.approve_proposed(ada)["agent_id"]
    project.activate(agent)
    project.rows("insert into public.agent_tag select id, plan_id, 'x' from public.agent returning agent_id")
    project.rows("update auth.users set email = 'new@example.com' where id = %s returning id", ada.id)
    project.delete_user(ada)
    for table in ("plan", "agent", "agent_event", "build", "agent_tag"):
        assert project.rows(f"select from public.{table}") == []
    assert project.rows("select email from app.departure") == [{"email": "new@example.com"}]


def test_leaving_leaves_what_is_theirs(grown: Host) -> None:
    """The push stops for what depends on ours, then for a policy that would open the bucket."""
    project = grown.database
    project.store_and_approve(project.new_user())
    assert grown.greenlight("uninstall", "--keep-documents").exit_code == 0
    for what, fix in (
        ("agent_overview", "drop view public.agent_overview"),
        ("agent_tag", "drop table public.agent_tag"),
        (
            "could then read its documents",
            """
            alter policy "Everyone sees everything" on storage.objects using (bucket_id = 'avatars');
            alter policy "Signed-in users can do everything" on storage.objects using (bucket_id = 'avatars');
            """,
        ),
    ):
        result = grown.push()
        assert result.returncode != 0
        assert what in result.stdout
        assert len(project.rows("select from public.agent")) == 1
        with project.as_superuser() as connection:
            connection.execute(fix.encode())
    before = theirs(project)
    grown.pushed()
    assert theirs(project) == before
    assert project.rows("select from pg_namespace where nspname = 'greenlight'") == []


def test_over_http(tmp_path: Path) -> None:
    with adopter_in(tmp_path, theirs=BEFORE) as adopter:
        install_into(adopter)
        (adopter.directory / "supabase/migrations" / LATER).write_text(AFTER)
        adopter.pushed()
        ada, eve = adopter.sign_up(bio=BIO), adopter.sign_up(bio=BIO)
        approved = ada.approve("s1", b"# A plan\n")
        adopter.sql(
            "insert into public.agent_tag (agent_id, plan_id, tag) select id, plan_id, 'mine' from public.agent"
        )
        (agent,) = ada.rows(
            "agent?select=*,plan!agent_plan_fkey(version),build(status),agent_event(kind),agent_tag(tag)"
        )
        assert agent["id"] == approved["agent_id"]
        assert agent["plan"] == {"version": 1}
        assert agent["build"] == [{"status": "queued"}]
        assert agent["agent_event"] == [{"kind": "approved"}]
        assert agent["agent_tag"] == [{"tag": "mine"}]
        assert eve.rows("agent") == []
        (document,) = adopter.sql("select name from storage.objects where bucket_id = 'plans'")
        for account, status in ((ada, 200), (eve, 400)):
            answer = account.http.get(f"/storage/v1/object/plans/{document[0]}", headers=account.headers)
            assert answer.status_code == status
