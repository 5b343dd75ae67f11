"""The tables of Storage as they were and as they are now, and a bucket that was versioned before it was guarded."""

import uuid
from typing import LiteralString

import psycopg
import pytest

from tests.plan import sha256

from .conftest import Project, Row, User, document_of, load_new_storage, refused, signed_url
from .invariants import broken_invariants
from .test_indexes import explain, scans

OBJECTS = 20_000


def fill(project: Project, sessions: int = 200) -> User:
    """Store 20,000 documents of one user, as many as a busy project has."""
    user = project.new_user()
    with project.as_superuser() as connection:
        connection.execute(
            "insert into storage.objects (bucket_id, name, created_at, version)"
            " select 'plans', %s || '/s' || n %% %s || '/' || encode(sha256(n::text::bytea), 'hex') || '.md',"
            " now() - interval '1 year', gen_random_uuid() from generate_series(1, %s) as n",
            (user.id, sessions, OBJECTS),
        )
    analyze(project)
    return user


def analyze(project: Project) -> None:
    with psycopg.connect(project.dsn("supabase_admin"), autocommit=True) as connection:
        connection.execute("vacuum analyze storage.objects, public.plan")


def sequential_scans(project: Project) -> list[Row]:
    with project.as_superuser() as connection:
        connection.execute("select pg_stat_force_next_flush()")
    return project.rows(
        "select relname, seq_scan from pg_stat_user_tables where relname in ('objects', 'plan') order by relname"
    )


def test_every_look_up_reads_by_index(any_storage: Project) -> None:
    project = any_storage
    user = fill(project)
    digest = project.store(user, "s1", "# A plan")
    url = signed_url(user, "s1", digest)
    calls: dict[str, tuple[LiteralString, tuple[object, ...]]] = {
        "propose": ("select public.propose_plan('s1', 1, 'A plan', %s, %s)", (digest, url)),
        "approve what was proposed": (
            "select public.approve_plan('s1', 1, document_sha256 => %s)",
            (digest,),
        ),
        "approve directly": ("select public.approve_plan('s1', 2, 'A plan', %s, %s)", (digest, url)),
    }
    warm = project.store(user, "warm", "# A plan")
    project.approve(user, "warm", document_sha256=warm)
    before = sequential_scans(project)
    for name, (query, parameters) in calls.items():
        read = explain(project, user, query, *parameters)
        assert read["Shared Hit Blocks"] + read["Shared Read Blocks"] < 400, name

    orphans = explain(project, None, "select * from public.orphaned_documents('1 day', '', 100)")
    assert orphans["Actual Rows"] == 100
    assert orphans["Shared Hit Blocks"] + orphans["Shared Read Blocks"] < 1_500
    assert sequential_scans(project) == before


def test_a_document_proposed_again_and_again_costs_the_same(project: Project) -> None:
    user = project.new_user()
    planner = user.with_claims(client_id="mcp")

    def buffers(session: str, version: int, document: str) -> int:
        stored = project.store(user, session, document)
        read = explain(
            project, planner, "select public.propose_plan(%s, %s, 'A plan', %s, %s)",
            session, version, stored, signed_url(user, session, stored),
        )  # fmt: skip
        return int(read["Shared Hit Blocks"] + read["Shared Read Blocks"])

    def cost(session: str, first: int) -> int:
        """Return what the cheapest of five read: the others also read the catalogue, or split a page."""
        return min(buffers(session, version, "# The same") for version in range(first, first + 5))

    few = cost("small", 1)
    digest = project.store(user, "s1", "# The same")
    with project.as_superuser() as connection:  # 20,000 versions, all of them proposed and withdrawn
        connection.execute("alter table public.plan disable trigger user")
        connection.execute(
            "insert into public.plan (user_id, session_id, version, title, document_id, document_path,"
            " document_sha256, document_url, status, decided_at, proposed_by)"
            " select %s, 's1', n, 'A plan', o.id, o.name, %s, 'https://x', 'withdrawn', now(), 'mcp'"
            " from storage.objects as o cross join generate_series(1, 20000) as n where o.name = %s",
            (user.id, digest, user.path("s1", digest)),
        )
        connection.execute("alter table public.plan enable trigger user")
    analyze(project)
    assert cost("s1", 20_001) < few + 100

    project.decide(user, "reject_plan", "s1", 20_005)
    with refused("plan_decided", "PT409"):
        project.propose(planner, "s1", 20_006, document="# The same")


def test_storage_is_upgraded_beneath_an_installation(old_project: Project) -> None:
    project, user = old_project, old_project.new_user()
    project.store_and_approve(user, "approved")
    project.store_and_propose(user, "proposed")
    project.store(user, "stored", document_of("stored", 1))
    load_new_storage(project.host, project.port, project.dbname)

    assert project.approve_proposed(user, "proposed")["created"]
    assert project.approve(user, "stored", document=document_of("stored", 1))["created"]
    assert project.store_and_approve(user, "new")["created"]
    for change in ("version = 'x'", "archived_at = now()", "is_delete_marker = true"):
        with (
            pytest.raises(psycopg.errors.UniqueViolation),
            project.transaction("supabase_storage_admin") as sql,
        ):
            sql.execute(f"update storage.objects set {change}")
    with (
        pytest.raises(psycopg.errors.InsufficientPrivilege),
        project.transaction("supabase_storage_admin") as sql,
    ):
        sql.execute("update storage.buckets set versioning_status = 'ENABLED' where id = 'plans'")
    assert broken_invariants(project) == []


class Versioned:
    """The bucket, versioned by someone before there was a guard; then the guard came."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.guarded = False
        self._run("update storage.buckets set versioning_status = 'ENABLED' where id = 'plans'")

    def _run(self, *statements: LiteralString, **values: object) -> None:
        with self.project.as_superuser() as connection:
            if not self.guarded:
                connection.execute("set local session_replication_role = replica")
            connection.execute("set local role supabase_storage_admin")
            for statement in statements:
                connection.execute(statement, values)

    def upload(self, name: str, *, is_delete_marker: bool = False) -> None:
        """What storage-api does at the end of an upload: archive what is there, then insert the new row."""
        self._run(
            "update storage.objects set archived_at = now()"
            " where bucket_id = 'plans' and name = %(name)s and archived_at is null",
            "insert into storage.objects (bucket_id, name, version, is_versioned, is_delete_marker)"
            " values ('plans', %(name)s, %(version)s, true, %(marker)s)",
            name=name,
            version=str(uuid.uuid4()),
            marker=is_delete_marker,
        )

    def delete(self, name: str) -> None:
        self.upload(name, is_delete_marker=True)

    def current(self, name: str) -> object:
        (row,) = self.project.rows(
            "select id from storage.objects where name = %s and archived_at is null and not is_delete_marker",
            name,
        )
        return row["id"]

    def document(self, user: User, session: str = "s1") -> str:
        return user.path(session, sha256(document_of(session, 1)))


@pytest.fixture
def versioned(project: Project) -> Versioned:
    return Versioned(project)


def test_of_several_rows_of_a_name_the_current_one_counts(versioned: Versioned) -> None:
    project, user = versioned.project, versioned.project.new_user()
    for session in ("direct", "proposed"):
        for _ in range(3):
            versioned.upload(versioned.document(user, session))
    versioned.guarded = True
    project.approve(user, "direct", document=document_of("direct", 1))
    project.propose(user, "proposed", document=document_of("proposed", 1))
    for session in ("direct", "proposed"):
        assert project.plan(user, session)["document_id"] == versioned.current(
            versioned.document(user, session)
        )
    assert project.approve_proposed(user, "proposed")["created"]


def test_what_was_deleted_there_is_not_found_and_can_be_stored_again(versioned: Versioned) -> None:
    project, user = versioned.project, versioned.project.new_user()
    document = document_of("s1", 1)
    versioned.upload(versioned.document(user))
    project.propose(user, document=document)
    versioned.delete(versioned.document(user))
    versioned.guarded = True

    with refused("document_not_found", "PT404"):
        project.approve_proposed(user)
    with refused("document_not_found", "PT404"):
        project.propose(user, version=2, document=document)
    versioned.upload(versioned.document(user))
    assert project.approve_proposed(user)["created"]


def test_nothing_is_lost_in_it_any_more(versioned: Versioned) -> None:
    project, user = versioned.project, versioned.project.new_user()
    versioned.upload(versioned.document(user))
    project.approve(user, document=document_of("s1", 1))
    versioned.upload(versioned.document(user, "loose"))
    versioned.guarded = True
    before = project.rows("select * from storage.objects order by id")
    for session in ("s1", "loose"):
        with pytest.raises(psycopg.errors.UniqueViolation):
            versioned.delete(versioned.document(user, session))
        with pytest.raises(psycopg.errors.UniqueViolation):
            versioned.upload(versioned.document(user, session))
    assert project.rows("select * from storage.objects order by id") == before
    assert project.store_and_approve(user, "new")["created"]


def test_the_row_that_a_plan_refers_to_is_not_deleted_even_if_archived(versioned: Versioned) -> None:
    project, user = versioned.project, versioned.project.new_user()
    versioned.upload(versioned.document(user))
    project.approve(user, document=document_of("s1", 1))
    versioned.delete(versioned.document(user))
    versioned.guarded = True
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        project.delete_object(versioned.document(user))
    assert project.plan(user)["document_id"] in [
        row["id"] for row in project.rows("select id from storage.objects")
    ]


def test_a_refused_document_stays_refused_when_its_object_is_another_one(versioned: Versioned) -> None:
    project, user = versioned.project, versioned.project.new_user()
    versioned.upload(versioned.document(user))
    project.propose(user, document=document_of("s1", 1))
    project.decide(user, "reject_plan")
    versioned.delete(versioned.document(user))
    versioned.upload(versioned.document(user))
    versioned.guarded = True
    with refused("plan_decided", "PT409"):
        project.propose(user, version=2, document=document_of("s1", 1))
    # In another session it is another matter.
    project.store(user, "s2", document_of("s1", 1))
    assert project.propose(user, "s2", document=document_of("s1", 1))["created"]


def test_retention_is_told_of_current_documents_only(versioned: Versioned) -> None:
    project, user = versioned.project, versioned.project.new_user()
    kept, gone = versioned.document(user, "kept"), versioned.document(user, "gone")
    for name in (kept, kept, gone):
        versioned.upload(name)
    versioned.delete(gone)
    with project.as_superuser() as connection:
        connection.execute("update storage.objects set created_at = now() - interval '2 days'")
    with project.as_service_role() as connection:
        found = connection.execute("select id, name from public.orphaned_documents('1 day')").fetchall()
    assert found == [{"id": versioned.current(kept), "name": kept}]


def test_the_look_up_itself_is_an_index_scan(any_storage: Project) -> None:
    """The statement of lock_document(), with the path as a parameter."""
    project = any_storage
    fill(project)
    (row,) = project.rows("select name from storage.objects order by random() limit 1")
    with project.as_superuser() as connection:
        (plan,) = connection.execute(
            "explain (format json) select o.id from storage.objects as o"
            " where o.bucket_id = 'plans' and o.name collate \"C\" = %s"
            " and to_jsonb(o) ->> 'archived_at' is null"
            " and to_jsonb(o) ->> 'is_delete_marker' is distinct from 'true'"
            " order by o.created_at desc limit 1 for key share",
            (row["name"],),
        ).fetchall()
    assert {how for how, _ in scans(plan["QUERY PLAN"][0]["Plan"])} == {"Index Scan"}
