"""The bucket plans: who may put what where, and why an approved document is never lost."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import psycopg
import pytest

from tests.plan import sha256

from .conftest import Project, User, denied, refused

HASH = sha256("# Plan")


def insert(connection: psycopg.Connection[dict[str, object]], name: str, bucket: str = "plans") -> int:
    return connection.execute(
        "insert into storage.objects (bucket_id, name) values (%s, %s)", (bucket, name)
    ).rowcount


@contextmanager
def an_open_project(project: Project) -> Iterator[None]:
    """The project has permissive policies of its own for all buckets, as many do."""
    with project.as_superuser() as connection:
        connection.execute(
            "create policy anything_goes on storage.objects for all to public using (true) with check (true)"
        )
        connection.execute("insert into storage.buckets (id, name) values ('theirs', 'theirs')")
    yield


def test_the_bucket_is_private_and_accepts_only_markdown_up_to_1_mib(any_project: Project) -> None:
    (bucket,) = any_project.rows("select * from storage.buckets where id = 'plans'")
    assert (bucket["public"], bucket["file_size_limit"], bucket["allowed_mime_types"]) == (
        False,
        1_048_576,
        ["text/markdown"],
    )


def test_the_owner_uploads_reads_and_deletes_in_their_own_folder(any_project: Project) -> None:
    user = any_project.new_user()
    name = user.path("s1", HASH)
    with any_project.as_user(user) as connection:
        assert insert(connection, name) == 1
        assert connection.execute("select name from storage.objects").fetchall() == [{"name": name}]
    assert any_project.delete_object(name, "authenticated", {"sub": str(user.id)}) == 1


@pytest.mark.parametrize("host_policies", [False, True], ids=["alone", "beside all-bucket policies"])
def test_no_one_else_reads_writes_or_deletes_there(any_project: Project, host_policies: bool) -> None:
    owner, stranger = any_project.new_user(), any_project.new_user()
    any_project.store(owner)
    name = owner.path("s1", HASH)
    if host_policies:
        with an_open_project(any_project):
            pass

    for role, claims in (("anon", {}), ("authenticated", {"sub": str(stranger.id)})):
        with any_project.as_role(role, claims) as connection:
            assert (
                connection.execute("select from storage.objects where bucket_id = 'plans'").fetchall() == []
            )
        with denied(), any_project.as_role(role, claims) as connection:
            insert(connection, owner.path("s2", HASH))
        with any_project.as_role(role, claims) as connection:
            assert connection.execute("update storage.objects set name = name || 'x'").rowcount == 0
        assert any_project.delete_object(name, role, claims) == 0
    assert [row["name"] for row in any_project.rows("select name from storage.objects")] == [name]

    with any_project.as_user(owner) as connection:
        assert len(connection.execute("select from storage.objects").fetchall()) == 1


def test_the_projects_own_buckets_stay_as_open_as_they_were(any_project: Project) -> None:
    user = any_project.new_user()
    with an_open_project(any_project):
        for request in (any_project.as_anon(), any_project.as_user(user)):
            with request as connection:
                insert(connection, f"free/{id(request)}.png", bucket="theirs")
                assert connection.execute("update storage.objects set owner_id = 'x'").rowcount >= 1


@pytest.mark.parametrize("host_policies", [False, True], ids=["alone", "beside all-bucket policies"])
def test_a_document_is_never_written_over_moved_in_or_moved_out(
    any_project: Project, host_policies: bool
) -> None:
    user = any_project.new_user()
    any_project.store(user)
    if host_policies:
        with an_open_project(any_project), any_project.as_user(user) as connection:
            insert(connection, "outside.md", bucket="theirs")
    with pytest.raises(psycopg.errors.UniqueViolation), any_project.as_user(user) as connection:
        insert(connection, user.path("s1", HASH))
    with any_project.as_user(user) as connection:
        for change in ("name = 'x'", "bucket_id = 'theirs'", "version = 'other bytes'"):
            changed = connection.execute(f"update storage.objects set {change} where bucket_id = 'plans'")
            assert changed.rowcount == 0, change
    if host_policies:
        with pytest.raises(psycopg.errors.UniqueViolation), any_project.as_user(user) as connection:
            connection.execute(
                "update storage.objects set bucket_id = 'plans', name = %s where bucket_id = 'theirs'",
                (user.path("s2", HASH),),
            )


# The API's most powerful role, the owner of the project's objects, the owner of Storage's tables, the superuser.
MIGHTY = ("service_role", "postgres", "supabase_storage_admin", "supabase_admin")


@contextmanager
def as_mighty(project: Project, role: str) -> Iterator[psycopg.Connection[dict[str, object]]]:
    with project.as_service_role() if role == "service_role" else project.transaction(role) as connection:
        yield connection


def columns(project: Project) -> dict[str, str]:
    """What must not change, and to what it is changed."""
    changes = {
        "id": "gen_random_uuid()",
        "bucket_id": "'theirs'",
        "name": "name || '.old'",
        "version": "'other bytes'",
    }
    if project.rows(
        "select from pg_attribute where attrelid = 'storage.objects'::regclass and attname = 'archived_at'"
    ):
        changes |= {"archived_at": "now()", "is_delete_marker": "true"}
    return changes


@pytest.mark.parametrize("role", MIGHTY)
def test_a_stored_document_is_changed_by_no_role(any_storage: Project, role: str) -> None:
    """Storage writes rows as its own role, to which no policy applies."""
    project, user = any_storage, any_storage.new_user()
    project.store_and_approve(user)
    project.store(user, document="# Not approved")
    with an_open_project(project), project.as_service_role() as connection:
        insert(connection, "free.md", bucket="theirs")
    (before, *_) = stored = project.rows("select * from storage.objects order by bucket_id, name")
    for column, value in columns(project).items():
        for row in stored[:2]:
            with pytest.raises(psycopg.errors.UniqueViolation, match=column), as_mighty(project, role) as sql:
                sql.execute(f"update storage.objects set {column} = {value} where id = %s", (row["id"],))
    with pytest.raises(psycopg.errors.UniqueViolation), as_mighty(project, role) as sql:
        # An upload's last statement, and a move into the bucket.
        sql.execute("update storage.objects set bucket_id = 'plans' where bucket_id = 'theirs'")
    assert project.rows("select * from storage.objects order by bucket_id, name") == stored

    # What Storage writes besides goes on, and other buckets are as free as before.
    with as_mighty(project, role) as sql:
        sql.execute(
            "update storage.objects set owner_id = 'x', last_accessed_at = now(), version = version,"
            " metadata = '{\"size\": 5}', user_metadata = '{}' where id = %s",
            (before["id"],),
        )
        for column, value in columns(project).items():
            if column != "bucket_id":
                changed = sql.execute(
                    f"update storage.objects set {column} = {value} where bucket_id = 'theirs'"
                )
                assert changed.rowcount == 1


LARGE = ("1048577", '"1048577"', "1048576.5", "1e7", '"0001048577"', '"' + "9" * 300 + '"')
SMALL = ("1048576", '"1048576"', '"0001048576"', "0", '"a lot"', "null", "{}")


def test_no_object_above_the_limit_gets_in(any_storage: Project) -> None:
    project, user = any_storage, any_storage.new_user()
    with an_open_project(project):
        pass

    def store(size: str, session: str, bucket: str = "plans") -> None:
        with project.transaction("supabase_storage_admin") as connection:
            connection.execute(
                "insert into storage.objects (bucket_id, name, metadata) values (%s, %s, %s)",
                (bucket, user.path(session, HASH), f'{{"size": {size}}}'),
            )

    for number, size in enumerate(LARGE):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="1,048,576"):
            store(size, f"large{number}")
        store(size, f"large{number}", bucket="theirs")
    for number, size in enumerate(SMALL):
        store(size, f"small{number}")
        assert project.approve(user, f"small{number}")["created"]
    project.store(user, "without-metadata")


def test_an_object_above_the_limit_is_neither_proposed_nor_approved(any_storage: Project) -> None:
    """It may have come in before the guard."""
    project, user = any_storage, any_storage.new_user()
    project.store(user, "direct")
    project.store_and_propose(user, "proposed")
    project.store_and_propose(user, "refused")
    with project.as_superuser() as connection:
        connection.execute("update storage.objects set metadata = '{\"size\": 1048577}'")
    before = project.everything()
    for call in (
        partial(project.propose, user, "direct"),
        partial(project.approve, user, "direct"),
        partial(project.approve_proposed, user, "proposed"),
    ):
        with refused("document_too_large", "PT413"):
            call()
    assert project.everything() == before
    assert project.decide(user, "reject_plan", "refused")["status"] == "rejected"


def test_the_bucket_is_never_made_a_versioned_one(project: Project) -> None:
    with an_open_project(project):
        pass
    versioned = "update storage.buckets set versioning_status = %s where id = %s"
    for role in MIGHTY:
        for status in ("ENABLED", "SUSPENDED"):
            with denied(), as_mighty(project, role) as connection:
                connection.execute(versioned, (status, "plans"))
        with as_mighty(project, role) as connection:
            assert connection.execute(versioned, ("ENABLED", "theirs")).rowcount == 1
            assert connection.execute(versioned, ("DISABLED", "plans")).rowcount == 1
            changed = connection.execute("update storage.buckets set public = false where id = 'plans'")
            assert changed.rowcount == 1


def test_the_old_bucket_is_changed_as_before(any_storage: Project) -> None:
    with any_storage.transaction("postgres") as connection:
        assert (
            connection.execute("update storage.buckets set public = false where id = 'plans'").rowcount == 1
        )


def test_a_client_deletes_no_document_and_the_user_does(any_project: Project) -> None:
    """A client that deletes and uploads again exchanges what was compared with what the human saw."""
    user = any_project.new_user()
    any_project.store(user)
    name = user.path("s1", HASH)
    claims = {"sub": str(user.id)}
    for client_id in ("mcp", "", 7, False, ["user"]):
        assert any_project.delete_object(name, "authenticated", {**claims, "client_id": client_id}) == 0
    with any_project.as_superuser() as connection:
        connection.execute("insert into greenlight.trusted_client values ('our app')")
    assert any_project.delete_object(name, "authenticated", {**claims, "client_id": "our app"}) == 1
    any_project.store(user)
    assert any_project.delete_object(name, "authenticated", {**claims, "client_id": None}) == 1
    any_project.store(user)
    assert any_project.delete_object(name, "service_role", {}) == 1


def test_everyone_deletes_in_the_projects_own_buckets_as_before(any_project: Project) -> None:
    user = any_project.new_user()
    with an_open_project(any_project):
        for role, claims in (
            ("anon", {}),
            ("authenticated", {"sub": str(user.id)}),
            ("authenticated", {"sub": str(user.id), "client_id": "mcp"}),
        ):
            with any_project.as_role(role, claims) as connection:
                insert(connection, "free.png", bucket="theirs")
                connection.execute("select set_config('storage.allow_delete_query', 'true', true)")
                assert connection.execute("delete from storage.objects").rowcount == 1


def test_only_a_well_formed_path_is_taken(any_project: Project) -> None:
    user, other = any_project.new_user(), any_project.new_user()
    good = user.path("s1", HASH)
    for name in (
        other.path("s1", HASH),
        f"{user.id}/../{other.id}/s1/{HASH}.md",
        f"{user.id}/../s1/{HASH}.md",
        f"{user.id}/./{HASH}.md",
        f"{user.id}/%2e%2e/{HASH}.md",
        f"{user.id}/s1/s2/{HASH}.md",
        f"{user.id}/{HASH}.md",
        f"/{good}",
        f"{good}/",
        f"{good}\n",
        f"x{good}",
        good.replace(".md", ".txt"),
        good.replace(".md", "xmd"),
        good.replace(HASH, HASH.upper()),
        good.replace(HASH, HASH[:-1]),
        good.replace("/s1/", "//"),
        good.replace("/s1/", f"/{'x' * 129}/"),
        good.upper(),
    ):
        with denied(), any_project.as_user(user) as connection:
            insert(connection, name)
    with any_project.as_user(user) as connection:
        assert insert(connection, good) == 1


def test_no_role_deletes_a_document_that_a_plan_refers_to(any_project: Project) -> None:
    user = any_project.new_user()
    any_project.store_and_approve(user)
    any_project.store(user, document="# Unapproved")
    (plan,) = any_project.rows("select document_path from public.plan")
    for role in ("authenticated", "service_role"):
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            any_project.delete_object(plan["document_path"], role, {"sub": str(user.id)})
    assert (
        any_project.delete_object(
            user.path("s1", sha256("# Unapproved")), "authenticated", {"sub": str(user.id)}
        )
        == 1
    )


def test_deleting_a_document_while_it_is_approved_never_leaves_a_plan_without_it(
    any_storage: Project,
) -> None:
    """Why it holds: approve_plan() locks the object's row before it refers to it.

    A delete that came first is waited for, and then there is no document; one that comes later waits for the plan to
    be there, and then the foreign key refuses it.
    """
    project = any_storage
    user = project.new_user()
    rounds = 300
    outcomes: dict[tuple[str, str], int] = {}

    def approve(session: str) -> str:
        try:
            project.approve(user, session)
        except psycopg.Error as error:
            return str(error.diag.message_primary)
        return "approved"

    def delete(user: User, session: str, role: str) -> str:
        try:
            return (
                "deleted"
                if project.delete_object(user.path(session, HASH), role, {"sub": str(user.id)})
                else "missed"
            )
        except psycopg.errors.ForeignKeyViolation:
            return "referenced"

    with ThreadPoolExecutor(2) as pool:
        for number in range(rounds):
            session = f"s{number}"
            project.store(user, session)
            role = ("authenticated", "service_role")[number % 2]
            calls = [partial(approve, session), partial(delete, user, session, role)]
            order = 1 if number % 4 < 2 else -1
            first, second = [future.result() for future in [pool.submit(call) for call in calls[::order]]][
                ::order
            ]
            outcome = (first, second)
            outcomes[outcome] = outcomes.get(outcome, 0) + 1

    assert set(outcomes) == {("approved", "referenced"), ("document_not_found", "deleted")}, outcomes
    lost = project.rows(
        "select from public.plan as p where not exists (select from storage.objects as o where o.id = p.document_id)"
    )
    assert lost == []
    (kept,) = project.rows("select count(*) from public.plan")
    assert kept["count"] == outcomes["approved", "referenced"]
