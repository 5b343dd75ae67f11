"""The reads that grow with success: each one index scan, on a large table, as the user, through the policies."""

import json
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import sql

from tests.plan import sha256

from .conftest import Project, Row, User, document_of, refused, signed_url
from .invariants import broken_invariants

USERS = 200
PLANS_EACH = 250


@pytest.fixture
def large(project: Project) -> tuple[Project, User]:
    """50,000 plans of 200 users with an agent and an event each; seeded in SQL, which only a superuser can."""
    with project.as_superuser() as connection:
        # Constraints stay on; only the triggers that write events and builds one by one do not run.
        connection.execute("alter table public.plan disable trigger user")
        connection.execute("alter table public.agent disable trigger user")
        connection.execute(
            "insert into auth.users (id, email)"
            " select gen_random_uuid(), 'user' || n || '@example.com' from generate_series(1, %s) as n",
            (USERS,),
        )
        connection.execute(
            """
            insert into storage.objects (bucket_id, name)
            select 'plans', u.id || '/s' || n || '/' || encode(sha256(n::text::bytea), 'hex') || '.md'
            from auth.users u cross join generate_series(1, %s) as n
            """,
            (PLANS_EACH,),
        )
        connection.execute(
            """
            insert into public.plan (
                user_id, session_id, version, title, document_id, document_path, document_sha256, document_url,
                created_at, decided_at
            )
            select split_part(name, '/', 1)::uuid, split_part(name, '/', 2), 1, 'A plan', id, name,
                left(split_part(name, '/', 3), 64), 'https://x', now() - random() * interval '100 days', now()
            from storage.objects
            """
        )
        connection.execute(
            """
            insert into public.agent (user_id, session_id, plan_id, name, status, created_at)
            select user_id, session_id, id, title,
                case when random() < 0.002 then 'building' else 'active' end, created_at
            from public.plan
            """
        )
        connection.execute(
            """
            insert into public.agent_event (
                user_id, agent_id, plan_id, kind, to_status, version, document_sha256, actor_role
            )
            select a.user_id, a.id, a.plan_id, 'approved', 'building', 1, repeat('0', 64), 'authenticated'
            from public.agent a
            """
        )
        # As many builds have ended as there are agents; every 500th agent waits for its build.
        connection.execute(
            """
            insert into public.build (user_id, agent_id, plan_id, status, attempt, run_after, finished_at)
            select user_id, id, plan_id, 'succeeded', 1, now(), now() from public.agent
            union all
            select user_id, id, plan_id, 'queued', 0, now() - random() * interval '1 hour', null
            from public.agent where status = 'building'
            """
        )
        connection.execute("alter table public.plan enable trigger user")
        connection.execute("alter table public.agent enable trigger user")
    with psycopg.connect(project.dsn("supabase_admin"), autocommit=True) as connection:
        connection.execute(
            "vacuum analyze public.plan, public.agent, public.agent_event, public.build, storage.objects, auth.users"
        )
    (row,) = project.rows("select user_id from public.plan limit 1")
    return project, User(row["user_id"])


def scans(node: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Every scan of a table of ours: how, of what, by which index."""
    found = []
    if "Relation Name" in node:
        found.append((node["Node Type"], node["Relation Name"], node.get("Index Name", "")))
    for child in node.get("Plans", []):
        found += scans(child)
    return found


def explain(project: Project, user: User | None, query: LiteralString, *parameters: object) -> dict[str, Any]:
    with project.as_user(user) if user else project.as_service_role() as connection:
        (row,) = connection.execute("explain (analyze, buffers, format json) " + query, parameters).fetchall()
    plan: dict[str, Any] = row["QUERY PLAN"][0]["Plan"]
    return plan


def test_each_growing_read_is_one_index_scan(large: tuple[Project, User]) -> None:
    project, user = large
    agent = project.rows("select id from public.agent where user_id = %s limit 1", user.id)[0]["id"]

    newest = explain(project, user, "select * from public.plan order by created_at desc limit 20")
    assert scans(newest) == [("Index Scan", "plan", "plan_newest_idx")]
    assert newest["Shared Hit Blocks"] + newest["Shared Read Blocks"] < 50

    by_status = explain(
        project, user, "select * from public.agent where status = 'active' order by created_at desc limit 20"
    )
    assert scans(by_status) == [("Index Scan", "agent", "agent_by_status_idx")]
    assert by_status["Shared Hit Blocks"] + by_status["Shared Read Blocks"] < 50

    log = explain(project, user, "select * from public.agent_event where agent_id = %s order by id", agent)
    assert ("Index Scan", "agent_event", "agent_event_agent_idx") in scans(log)
    assert {how for how, _, _ in scans(log)} <= {"Index Scan", "Index Only Scan"}
    assert "Sort" not in json.dumps(log)

    builds = explain(project, user, "select * from public.build where agent_id = %s", agent)
    assert ("Index Scan", "build", "build_agent_idx") in scans(builds)
    assert {how for how, _, _ in scans(builds)} <= {"Index Scan", "Index Only Scan"}

    waiting = explain(
        project, user, "select * from public.plan where status = 'proposed' order by created_at"
    )
    assert scans(waiting) == [("Index Scan", "plan", "plan_proposed_key")]

    version = explain(
        project, user, "select version from public.plan where session_id = 's7' order by version desc limit 1"
    )
    assert scans(version) == [("Index Scan", "plan", "plan_session_version_key")]


def test_a_claim_reads_the_queue_and_not_what_has_ended(large: tuple[Project, User]) -> None:
    project, _ = large
    queue = explain(
        project,
        None,
        "select id from public.build where status in ('queued', 'running') and run_after <= now() and attempt < 5"
        " order by run_after limit 10",
    )
    assert scans(queue) == [("Index Scan", "build", "build_queue_idx")]
    assert queue["Shared Hit Blocks"] + queue["Shared Read Blocks"] < 50

    last = explain(
        project,
        None,
        "select * from public.build where status = 'running' and attempt >= 5 and run_after <= now()",
    )
    assert scans(last) == [("Index Scan", "build", "build_last_attempt_idx")]


def test_claims_read_no_table_as_a_whole(large: tuple[Project, User]) -> None:
    project, _ = large

    def scanned() -> list[Row]:
        with project.as_superuser() as connection:
            connection.execute("select pg_stat_force_next_flush()")
        return project.rows(
            "select relname, seq_scan from pg_stat_user_tables where schemaname = 'public' order by relname"
        )

    before = scanned()
    while project.claim(10):
        pass
    assert scanned() == before


def test_the_retention_functions_read_by_index_as_well(large: tuple[Project, User]) -> None:
    project, user = large
    agent = project.rows("select id from public.agent where user_id = %s limit 1", user.id)[0]["id"]
    with project.as_superuser() as connection:
        (row,) = connection.execute(
            "explain (format json) select id from greenlight.closed_plan"
            " where closed_at < now() order by closed_at limit 100"
        ).fetchall()
    closed = row["QUERY PLAN"][0]["Plan"]
    assert ("Index Scan", "plan", "plan_closed_idx") in scans(closed)
    assert {how for how, _, _ in scans(closed)} <= {"Index Scan", "Index Only Scan"}

    project.call(user, "delete_agent", agent_id=agent)
    purge = explain(
        project, None, "select id from public.agent where deleted_at < now() order by deleted_at limit 100"
    )
    assert scans(purge) == [("Index Scan", "agent", "agent_deleted_idx")]


def propose_many(project: Project, user: User, versions: range) -> None:
    """Propose these versions, one transaction after the other, as a program that has the user's token."""
    with project.as_superuser() as connection:
        connection.execute(
            "insert into storage.objects (bucket_id, name)"
            " select 'plans', %s || '/s1/' || encode(sha256(('# s1 ' || n)::bytea), 'hex') || '.md'"
            " from generate_series(%s::integer, %s::integer) as n",
            (user.id, versions.start, versions.stop - 1),
        )
    claims = {"role": "authenticated", "sub": str(user.id), **user.claims}
    with psycopg.connect(project.dsn("authenticator"), autocommit=True) as connection:
        connection.execute("set statement_timeout = 0")  # all of them are one statement here
        connection.execute("set role authenticated")
        connection.execute("select set_config('request.jwt.claims', %s, false)", (json.dumps(claims),))
        connection.execute(
            sql.SQL(
                """
                do $$
                declare
                    v_folder text := 'https://x.example/object/sign/plans/' || {user} || '/s1/';
                    v_sha256 text;
                begin
                    for v_version in {first}..{last} loop
                        v_sha256 := encode(sha256(('# s1 ' || v_version)::bytea), 'hex');
                        perform public.propose_plan(
                            's1', v_version, 'A plan', v_sha256, v_folder || v_sha256 || '.md?token=t'
                        );
                        commit;
                    end loop;
                end
                $$
                """
            ).format(user=str(user.id), first=versions.start, last=versions.stop - 1)
        )


def test_after_ten_thousand_versions_the_next_one_costs_what_the_first_did(project: Project) -> None:
    user = project.new_user()
    planner = user.with_claims(client_id="mcp")
    # Postgres would look at the tables by itself within a minute, and then every minute.
    for versions in (range(1, 1_001), range(1_001, 10_001)):
        propose_many(project, planner, versions)
        with psycopg.connect(project.dsn("supabase_admin"), autocommit=True) as connection:
            connection.execute("vacuum analyze public.plan, storage.objects")

    def buffers(query: LiteralString, *parameters: object) -> int:
        done = explain(project, user, query, *parameters)
        return int(done["Shared Hit Blocks"] + done["Shared Read Blocks"])

    def story(session: str, first: int) -> dict[str, int]:
        """Propose, send back, propose and approve; return what each call read."""
        read = {}
        for version in (first, first + 1):
            document = document_of(session, version)
            digest = project.store(user, session, document)
            read[f"propose {version - first}"] = buffers(
                "select public.propose_plan(%s, %s, 'A plan', %s, %s)",
                session, version, digest, signed_url(user, session, digest),
            )  # fmt: skip
            (waiting,) = project.rows("select version from public.plan where status = 'proposed'")
            assert waiting["version"] == version
            if version == first:
                read["send back"] = buffers(
                    "select public.request_changes(%s, %s, 'Shorter')", session, version
                )
                with refused("plan_decided", "PT409"):
                    project.propose(planner, session, version + 1, document=document)
        read["approve"] = buffers(
            "select public.approve_plan(%s, %s, document_sha256 => %s)",
            session, first + 1, sha256(document_of(session, first + 1)),
        )  # fmt: skip
        return read

    (count,) = project.rows(
        "select count(*), count(*) filter (where status = 'proposed') as waiting from public.plan"
    )
    assert (count["count"], count["waiting"]) == (10_000, 1)
    assert project.decide(planner, "withdraw_plan", version=10_000)["status"] == "withdrawn"
    story("warm", 1)
    small = story("small", 1)
    large = story("s1", 10_001)
    assert {call: read for call, read in large.items() if read > small[call] + 100} == {}
    assert broken_invariants(project) == []


def test_every_foreign_key_has_an_index_and_no_index_exists_twice(project: Project) -> None:
    bare = project.rows(
        """
        select conname from pg_constraint c
        where contype = 'f' and connamespace = 'public'::regnamespace and not exists (
            select from pg_index i
            where i.indrelid = c.conrelid and c.conkey = (i.indkey::int2[])[0:cardinality(c.conkey) - 1]
        )
        """
    )
    assert bare == []
    twice = project.rows(
        """
        select a.indexrelid::regclass from pg_index a
        join pg_index b on a.indrelid = b.indrelid and a.indexrelid <> b.indexrelid and a.indkey = b.indkey
            and a.indpred is not distinct from b.indpred
        join pg_class c on c.oid = a.indrelid and c.relnamespace = 'public'::regnamespace
        """
    )
    assert twice == []
