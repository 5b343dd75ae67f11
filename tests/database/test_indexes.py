"""What is read does not grow with what is stored: on large tables, as the user, through the policies."""

import itertools
import json
import os
import re
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql
from pytest_postgresql import factories

from tests.plan import sha256

from .conftest import Connection, Project, Row, User, document_of, refused, signed_url
from .invariants import broken_invariants


def seed(project: Project, users: int, plans_each: int) -> None:
    """Make plans with an agent, an event and a build each, in SQL, which only a superuser can."""
    with project.as_superuser() as connection:
        # Constraints stay on; only the triggers that write events and builds one by one do not run.
        connection.execute("alter table public.plan disable trigger user")
        connection.execute("alter table public.agent disable trigger user")
        connection.execute(
            "insert into auth.users (id, email)"
            " select gen_random_uuid(), 'user' || n || '@example.com' from generate_series(1, %s) as n",
            (users,),
        )
        connection.execute(
            """
            insert into storage.objects (bucket_id, name)
            select 'plans', u.id || '/s' || n || '/' || encode(sha256(n::text::bytea), 'hex') || '.md'
            from auth.users u cross join generate_series(1, %s) as n
            """,
            (plans_each,),
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
        connection.execute(
            "insert into public.build_log (build_id, attempt, user_id, content)"
            " select id, attempt, user_id, 'Done.' from public.build where status = 'succeeded'"
        )
        connection.execute("alter table public.plan enable trigger user")
        connection.execute("alter table public.agent enable trigger user")
    with psycopg.connect(project.dsn("supabase_admin"), autocommit=True) as connection:
        connection.execute(
            "vacuum analyze public.plan, public.agent, public.agent_event, public.build, public.build_log,"
            " storage.objects, auth.users"
        )


def seeded(users: int, plans_each: int) -> Callable[..., None]:
    def load(host: str, port: int, dbname: str, **_: object) -> None:
        project = Project(host, port, dbname)
        seed(project, users, plans_each)
        project.close()

    return load


# Owners, and plans of each. ONE_TEAM=1000,100 is what docs/scale.md speaks of.
ONE_TEAM = [int(number) for number in os.environ.get("ONE_TEAM", "200,100").split(",")]

many_users_template = factories.postgresql_noproc(
    dbname="many_users", depends_on="wide_template", load=[seeded(200, 100)]
)
TEAM = uuid.UUID(int=1)


def of_one_team(host: str, port: int, dbname: str, **_: object) -> None:
    """Let all of it be of one team, and every 20th plan of a session without an agent wait."""
    project = Project(host, port, dbname)
    approver = project.new_user()
    project.join(approver, TEAM)
    with project.as_superuser() as connection:
        connection.execute("set local session_replication_role = replica")
        connection.execute(
            "delete from public.agent where session_id in ('s20', 's40', 's60', 's80', 's100')"
        )
        connection.execute(
            """
            update public.plan set
                team_id = %(team)s,
                status = case when session_id in ('s20', 's40', 's60', 's80', 's100') then 'proposed' else status end,
                decided_at = case when session_id in ('s20', 's40', 's60', 's80', 's100') then null else decided_at end
            """,
            {"team": TEAM},
        )
        for table in ("agent", "agent_event", "build"):
            connection.execute(f"update public.{table} set team_id = %s".encode(), (TEAM,))
    with psycopg.connect(project.dsn("supabase_admin"), autocommit=True) as connection:
        connection.execute("vacuum full analyze public.plan, public.agent, public.agent_event, public.build")
    project.close()


one_team_template = factories.postgresql_noproc(
    dbname="one_team", depends_on="teams_template", load=[seeded(*ONE_TEAM), of_one_team]
)
one_user_template = factories.postgresql_noproc(
    dbname="one_user", depends_on="wide_template", load=[seeded(1, 20_000)]
)


@pytest.fixture
def large(project_like: Callable[[str], Project]) -> tuple[Project, User]:
    """Return a project with 20,000 plans of 200 users, and one of the users."""
    project = project_like("many_users")
    return project, any_user(project)


def any_user(project: Project) -> User:
    (row,) = project.rows("select user_id from public.plan limit 1")
    return User(row["user_id"])


def scans(node: dict[str, Any]) -> set[tuple[str, str]]:
    """Return every scan of a table of ours: how, and of what."""
    found = {(node["Node Type"], node["Relation Name"])} if "Relation Name" in node else set()
    return found.union(*(scans(child) for child in node.get("Plans", [])))


def explain(project: Project, user: User | None, query: str, *parameters: object) -> dict[str, Any]:
    with project.as_user(user) if user else project.as_service_role() as connection:
        return explained(connection, query, *parameters)


def explained(connection: Connection, query: str, *parameters: object) -> dict[str, Any]:
    statement = f"explain (analyze, buffers, format json) {query}".encode()
    (row,) = connection.execute(statement, parameters or None).fetchall()
    plan: dict[str, Any] = row["QUERY PLAN"][0]["Plan"]
    return plan


def buffers(plan: dict[str, Any]) -> int:
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def assert_short(plan: dict[str, Any], at_most: int = 150) -> None:
    """Assert that tables are read by index only, and little of them."""
    assert {how for how, _ in scans(plan)} <= {"Index Scan", "Index Only Scan"}, plan
    assert buffers(plan) < at_most, plan


def test_each_growing_read_of_an_owner_of_thousands_is_short(project_like: Callable[[str], Project]) -> None:
    project = project_like("one_user")
    user = any_user(project)
    agent = project.rows("select id from public.agent where user_id = %s limit 1", user.id)[0]["id"]
    # Each list names its owner, or its session: only then is there an index for it.
    for query in (
        "select * from public.plan where user_id = %s order by created_at desc limit 20",
        (
            "select * from public.plan where user_id = %s and status <> 'proposed'"
            " order by created_at desc, id desc limit 20"
        ),
        "select * from public.plan where user_id = %s and status = 'proposed' order by created_at",
        "select version from public.plan where user_id = %s and session_id = 's7' order by version desc limit 1",
        "select * from public.agent where user_id = %s order by created_at desc, id desc limit 20",
        (
            "select * from public.agent where user_id = %s and status = 'active'"
            " order by created_at desc, id desc limit 20"
        ),
        (
            "select * from public.agent where user_id = %s and status = 'failed'"
            " order by created_at desc, id desc limit 20"
        ),
    ):
        plan = explain(project, user, query, user.id)
        assert_short(plan)

    log = explain(project, user, "select * from public.agent_event where agent_id = %s order by id", agent)
    assert_short(log)
    assert "Sort" not in json.dumps(log)
    assert_short(explain(project, user, "select * from public.build where agent_id = %s", agent))


def test_an_approvers_inbox_is_short(project_like: Callable[[str], Project]) -> None:
    """Of a team with all plans of all owners."""
    project = project_like("one_team")
    (row,) = project.rows("select user_id from public.membership")
    approver = User(row["user_id"])
    (agent,) = project.rows("select id from public.agent limit 1")
    with project.as_user(approver) as connection:
        connection.execute("select * from public.plan_teams()")  # reads the functions
        for query in (
            (
                "select * from public.plan where team_id = %s and status = 'proposed'"
                " order by created_at desc, id desc limit 20"
            ),
            "select * from public.plan where team_id = %s order by created_at desc, id desc limit 20",
            "select * from public.agent where team_id = %s order by created_at desc, id desc limit 20",
            (
                "select * from public.agent where team_id = %s and status = 'failed'"
                " order by created_at desc, id desc limit 20"
            ),
        ):
            plan = explained(connection, query, TEAM)
            assert_short(plan)
            assert "Sort" not in json.dumps(plan)
        # The Data API prepares its statements. Postgres then plans for any status.
        connection.execute("set local plan_cache_mode = force_generic_plan")
        connection.execute(
            "prepare inbox (text, uuid) as select * from public.plan where status in ($1) and team_id in ($2)"
            " order by created_at desc, id desc limit 20"
        )
        assert_short(explained(connection, f"execute inbox('proposed', '{TEAM}')"))
        connection.execute("set local plan_cache_mode = auto")
        for table in ("agent_event", "build"):
            query = f"select * from public.{table} where agent_id = %s order by created_at desc limit 20"
            assert_short(explained(connection, query, agent["id"]))
    # Another team's approver finds nothing of it, and reads nothing of it.
    eve, team = project.new_user(), uuid.uuid4()
    project.join(eve, team)
    with project.as_user(eve) as connection:
        connection.execute("select * from public.plan_teams()")
        for query in (
            "select * from public.plan where team_id = %s order by created_at desc limit 20",
            "select * from public.agent where team_id = %s order by created_at desc limit 20",
            "select * from public.build where team_id <> %s order by id limit 1",
            "select * from public.agent_event where team_id <> %s order by id limit 1",
        ):
            plan = explained(connection, query, team)
            assert plan["Actual Rows"] == 0
            assert buffers(plan) < 50, (query, plan)


TABLES = ("plan", "agent", "agent_event", "build", "build_log")

# Both columns of each key between our tables, as the Data API joins them.
KEYS = {
    ("plan", "agent"): "a.user_id = b.user_id and a.session_id = b.session_id and a.id = b.plan_id",
    ("plan", "agent_event"): "a.id = b.plan_id and a.user_id = b.user_id",
    ("plan", "build"): "a.id = b.plan_id and a.user_id = b.user_id",
    ("agent", "agent_event"): "a.id = b.agent_id and a.user_id = b.user_id",
    ("agent", "build"): "a.id = b.agent_id and a.user_id = b.user_id",
    ("build", "build_log"): "a.id = b.build_id",
}


def swapped(key: str) -> str:
    return key.replace("a.", "?.").replace("b.", "a.").replace("?.", "b.")


def queries_of(table: str, columns: list[str]) -> Iterator[str]:
    """Yield what a request can ask of a table: each order, each filter, a count."""
    yield f"select count(*) from public.{table}"
    for column in columns:
        for direction in ("asc", "desc", "asc nulls first", "desc nulls last"):
            yield f"select * from public.{table} order by {column} {direction} limit 1"
            yield f"select * from public.{table} order by {column} {direction} limit 1000"
            yield f"select {column} from public.{table} order by {column} {direction} limit 1"
        some = f"(select {column} from public.{table} limit 1)"
        for condition in ("is null", "is not null", f"= {some}", f"<> {some}", f">= {some}"):
            yield f"select * from public.{table} where {column} {condition} limit 1"
        if "status" in columns:
            for status in ("proposed", "approved", "building", "active", "queued"):
                yield f"select * from public.{table} where status = '{status}' order by {column} limit 1"


def queries_of_two(outer: str, inner: str, key: str) -> Iterator[str]:
    """Yield one table embedded in the other."""
    key_of_b = "b.attempt" if inner == "build_log" else "b.id"
    key_of_a = "a.attempt" if outer == "build_log" else "a.id"
    for join, order in itertools.product(("left", "inner"), (key_of_a, key_of_b, "b.created_at desc")):
        yield (
            f"select * from public.{outer} a {join} join lateral (select * from public.{inner} b where {key}) b"
            f" on true order by {order} limit 1"
        )


def owned_by(user: User, query: str) -> str:
    """Let the query name the owner of plans and agents. Of builds and events none has to."""
    return re.sub(
        r"public\.(plan|agent)\b(?= ([ab]) )?",
        lambda table: (
            f"(select * from public.{table[1]} where user_id = '{user.id}')" + ("" if table[2] else " t")
        ),
        query,
    )


@pytest.mark.parametrize("others", ["many_users", "one_user"])
def test_a_new_user_reads_nothing_of_others(project_like: Callable[[str], Project], others: str) -> None:
    project = project_like(others)
    columns = {
        row["table_name"]: row["columns"]
        for row in project.rows(
            "select table_name::text, array_agg(column_name::text) as columns from information_schema.columns"
            " where table_schema = 'public' and table_name = any(%s) group by table_name",
            [*TABLES],
        )
    }
    eve = project.new_user()
    queries = [query for table in TABLES for query in queries_of(table, columns[table])]
    for (one, other), key in KEYS.items():
        queries += queries_of_two(one, other, key)
        queries += queries_of_two(other, one, swapped(key))
    queries = [owned_by(eve, query) for query in queries]
    with project.as_user(eve) as connection:
        connection.execute("select * from public.plan_teams()")  # reads the functions
        for query in queries:
            plan = explained(connection, query)
            assert buffers(plan) < 50, (query, plan)


def queue_many(
    project: Project, count: int, user: User | None = None, status: str = "queued", *, due: bool = True
) -> None:
    """Queue so many builds of this user, or of one user each. Agents that nothing reads are left out."""
    with project.as_superuser() as connection:
        connection.execute("set local session_replication_role = replica")
        connection.execute(
            """
            insert into public.build (user_id, agent_id, plan_id, status, attempt, run_after, finished_at)
            select
                coalesce(%(user)s::uuid, gen_random_uuid()), gen_random_uuid(), p.id, %(status)s, 0,
                now() + (random() - %(past)s) * interval '1 hour',
                case when %(status)s = 'succeeded' then now() end
            from (select id from public.plan limit 1) as p, generate_series(1, %(count)s)
            """,
            {"user": user and user.id, "status": status, "count": count, "past": 1 if due else -0.1},
        )


@pytest.mark.parametrize("waiting", ["due", "not due", "running"])
def test_a_claim_reads_no_more_however_many_builds_there_are(project: Project, waiting: str) -> None:
    """On a connection that has claimed when there were few: its plans are of that time."""
    ann, bob = project.new_user(), project.new_user()
    project.store_and_approve(bob)

    def most(claims: int = 20) -> int:
        return max(
            buffers(explain(project, None, "select * from public.claim_builds('a test')"))
            for _ in range(claims)
        )

    with project.as_superuser() as superuser:  # autovacuum would let it plan again
        superuser.execute("alter table public.build set (autovacuum_enabled = false)")
        superuser.execute("analyze public.plan, public.build")  # knows of one plan
    queue_many(project, 40, bob)
    queue_many(project, 40, status="succeeded")  # two pages, which a bitmap would read at once
    most()
    small = most()
    match waiting:
        case "due":
            queue_many(project, 100_000, ann)
            queue_many(project, 1_000)
            queue_many(project, 100_000, status="succeeded")
        case "not due":
            queue_many(project, 20_000, ann, due=False)
            queue_many(project, 10)
        case "running":
            queue_many(project, 2_000, status="running", due=False)
            queue_many(project, 40, bob)
    reads = [most()]
    with psycopg.connect(project.dsn("supabase_admin"), autocommit=True) as connection:
        connection.execute("vacuum analyze public.build")
    most(1)  # plans again
    reads.append(most())
    assert max(reads) < small + 60, (small, reads)


def test_builds_at_their_last_attempt_have_their_own_index(large: tuple[Project, User]) -> None:
    project, _ = large
    last = explain(
        project,
        None,
        "select * from public.build where status = 'running' and attempt >= max_attempts and run_after <= now()",
    )
    assert_short(last)
    assert last["Index Name"] == "build_last_attempt_idx"


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
    assert {how for how, _ in scans(closed)} <= {"Index Scan", "Index Only Scan"}

    project.call(user, "delete_agent", agent_id=agent)
    purge = explain(
        project, None, "select id from public.agent where deleted_at < now() order by deleted_at limit 100"
    )
    assert_short(purge)


def propose_many(project: Project, user: User, versions: range, *, one_document: bool) -> None:
    """Propose these versions, one transaction after the other, as a program that has the user's token."""
    document = sql.SQL("('# s1 ' || case when {} then 1 else n end)::bytea").format(one_document)
    names = {
        "user": sql.Literal(str(user.id)),
        "first": sql.Literal(versions.start),
        "last": sql.Literal(versions.stop - 1),
        "document": document,
    }
    with project.as_superuser() as connection:
        connection.execute(
            sql.SQL(
                "insert into storage.objects (bucket_id, name)"
                " select distinct 'plans', {user} || '/s1/' || encode(sha256({document}), 'hex') || '.md'"
                " from generate_series({first}::integer, {last}::integer) as n on conflict do nothing"
            ).format(**names)
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
                    for n in {first}..{last} loop
                        v_sha256 := encode(sha256({document}), 'hex');
                        perform public.propose_plan(
                            's1', n, 'A plan', v_sha256, v_folder || v_sha256 || '.md?token=t'
                        );
                        commit;
                    end loop;
                end
                $$
                """
            ).format(**names)
        )


@pytest.mark.parametrize("one_document", [False, True], ids=["different documents", "one document"])
def test_after_thousands_of_versions_the_next_one_costs_what_the_first_did(
    project: Project, one_document: bool
) -> None:
    user = project.new_user()
    planner = user.with_claims(client_id="mcp")
    # Postgres would look at the tables by itself within a minute, and then every minute.
    for versions in (range(1, 1_001), range(1_001, 4_001)):
        propose_many(project, planner, versions, one_document=one_document)
        with psycopg.connect(project.dsn("supabase_admin"), autocommit=True) as connection:
            connection.execute("vacuum analyze public.plan, storage.objects")

    def story(session: str, first: int) -> dict[str, int]:
        """Propose, send back, propose and approve; return what each call read."""
        read = {}
        for version in (first, first + 1):
            document = document_of(session, 1 if one_document and version == first else version)
            digest = project.store(user, session, document)
            read[f"propose {version - first}"] = buffers(
                explain(
                    project, user, "select public.propose_plan(%s, %s, 'A plan', %s, %s)",
                    session, version, digest, signed_url(user, session, digest),
                )
            )  # fmt: skip
            (waiting,) = project.rows("select version from public.plan where status = 'proposed'")
            assert waiting["version"] == version
            if version == first:
                read["send back"] = buffers(
                    explain(
                        project, user, "select public.request_changes(%s, %s, 'Shorter')", session, version
                    )
                )
                with refused("plan_decided", "PT409"):
                    project.propose(planner, session, version + 1, document=document)
        read["approve"] = buffers(
            explain(
                project, user, "select public.approve_plan(%s, %s, document_sha256 => %s)",
                session, first + 1, sha256(document_of(session, first + 1)),
            )
        )  # fmt: skip
        return read

    (count,) = project.rows(
        "select count(*), count(*) filter (where status = 'proposed') as waiting from public.plan"
    )
    assert (count["count"], count["waiting"]) == (4_000, 1)
    assert project.decide(planner, "withdraw_plan", version=4_000)["status"] == "withdrawn"
    story("warm", 1)
    small = story("small", 1)
    large = story("s1", 4_001)
    assert {call: read for call, read in large.items() if read > small[call] + 100} == {}
    assert broken_invariants(project) == []


def pile_up(project: Project, user: User, versions: int) -> uuid.UUID:
    """Give session s1 so many versions, of which the newest is approved. Return the agent."""
    digest = project.store(user)
    with project.as_superuser() as connection:
        connection.execute("set local session_replication_role = replica")
        connection.execute(
            """
            insert into public.plan (
                user_id, session_id, version, title, document_id, document_path, document_sha256, document_url,
                status, proposed_by
            )
            select %(user)s, 's1', n, 'A plan', o.id, o.name, %(digest)s, 'https://x', 'superseded', 'mcp'
            from storage.objects as o, generate_series(1, %(older)s) as n where o.name = %(path)s
            """,
            {
                "user": user.id,
                "digest": digest,
                "path": user.path("s1", digest),
                "older": versions - 1,
            },
        )
    agent_id: uuid.UUID = project.approve(user, version=versions)["agent_id"]
    with psycopg.connect(project.dsn("supabase_admin"), autocommit=True) as connection:
        connection.execute("vacuum analyze public.plan, public.agent")
    return agent_id


def test_an_agent_with_many_versions_is_deleted_restored_and_archived_like_another(project: Project) -> None:
    def life(versions: int) -> dict[str, int]:
        user = project.new_user()
        agent = pile_up(project, user, versions)

        def seen() -> tuple[int, ...]:
            with project.as_user(user) as connection:
                return tuple(
                    connection.execute(f"select count(*) from public.{table}").fetchall()[0]["count"]
                    for table in TABLES
                )

        read = {}
        read["delete"] = buffers(explain(project, user, "select public.delete_agent(%s)", agent))
        assert seen() == (0, 0, 0, 0, 0)
        read["restore"] = buffers(explain(project, user, "select public.restore_agent(%s)", agent))
        assert seen() == (versions, 1, 3, 2, 0)
        (left,) = project.rows("select count(*) from public.plan where deleted_at is not null")
        assert left["count"] == 0
        read["archive"] = buffers(
            explain(project, user, "select public.transition_agent(%s, 'archived')", agent)
        )
        return read

    life(10)  # fills caches
    small, large = life(1_000), life(20_000)
    assert {call: read for call, read in large.items() if read > small[call] * 1.2 + 100} == {}


def test_purging_an_agent_with_many_versions_takes_several_short_calls(project: Project) -> None:
    user, other = project.new_user(), project.new_user()
    project.call(user, "delete_agent", agent_id=pile_up(project, user, 25_000))
    project.call(other, "delete_agent", agent_id=project.store_and_approve(other)["agent_id"])

    left = []
    while project.call(None, "purge_deleted_agents", deleted_before="infinity")["purge_deleted_agents"]:
        (row,) = project.rows("select count(*) from public.plan")
        left.append(row["count"])
    assert left == [15_001, 5_001, 0]
    assert project.rows("select from public.agent") == []


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
