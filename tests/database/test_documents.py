"""The bucket plans: who may put what where, and why an approved document is never lost."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import psycopg
import pytest

from tests.plan import sha256

from .conftest import Project, User, denied

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
def test_nobody_else_reads_writes_or_deletes_there(any_project: Project, host_policies: bool) -> None:
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
        with denied(), any_project.as_user(user) as connection:
            connection.execute(
                "update storage.objects set bucket_id = 'plans', name = %s where bucket_id = 'theirs'",
                (user.path("s2", HASH),),
            )


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


def test_a_document_that_a_plan_refers_to_is_deleted_by_nobody(any_project: Project) -> None:
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


def test_deleting_a_document_while_it_is_approved_never_leaves_a_plan_without_it(project: Project) -> None:
    """Why it holds: approve_plan() locks the object's row before it refers to it.

    A delete that came first is waited for, and then there is no document; one that comes later waits for the plan to
    be there, and then the foreign key refuses it.
    """
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
