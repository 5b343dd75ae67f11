"""The Storage API answers like storage-api, and never loses a document that has a row."""

import hashlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import httpx
import psycopg
import pytest

from local.stack import Stack
from tests.caller import Caller
from tests.plan import DOCUMENT, sha256

Database = psycopg.Connection[tuple[object, ...]]

DUPLICATE = {
    "statusCode": "409",
    "error": "Duplicate",
    "message": "The resource already exists",
    "code": "KeyAlreadyExists",
}
# The trigger's answer, which only the end of an upload meets, and what changes a row.
FINAL = {**DUPLICATE, "code": "ResourceAlreadyExists"}
REFERENCED = {
    "statusCode": "409",
    "error": "ResourceReferenced",
    "message": "The resource could not be updated or removed due to a foreign key constraint",
    "code": "ResourceReferenced",
}
FORBIDDEN = {
    "statusCode": "403",
    "error": "Unauthorized",
    "message": "new row violates row-level security policy",
    "code": "AccessDenied",
}
NOT_FOUND = {"statusCode": "404", "error": "not_found", "message": "Object not found", "code": "NoSuchKey"}

number = count()


@pytest.fixture
def bucket(service_role: Caller) -> Iterator[str]:
    """A bucket of the project's own, which nothing of ours guards."""
    name = f"theirs{next(number)}"
    made = service_role.post("/storage/v1/bucket", json={"id": name, "name": name, "public": False})
    assert made.status_code == 200, made.text
    yield name
    service_role.post(f"/storage/v1/bucket/{name}/empty")
    service_role.request("DELETE", f"/storage/v1/bucket/{name}")


def another(session: str = "session") -> str:
    """Return the name of a document that is not there yet."""
    return f"{session}/{sha256(str(next(number)))}.md"


def refusal(answer: httpx.Response) -> Any:
    """Every refusal comes as HTTP 400, whatever it says inside."""
    assert answer.status_code == 400, answer.text
    return answer.json()


def test_a_document_comes_back_as_it_was_sent(user: Caller, stranger: Caller) -> None:
    path = user.path()
    uploaded = user.upload(path)
    assert uploaded.json() == {"Id": uploaded.json()["Id"], "Key": f"plans/{path}"}

    for route in ("", "authenticated/"):
        answer = user.get(f"/storage/v1/object/{route}plans/{path}")
        assert answer.content == DOCUMENT
        assert answer.headers["content-type"] == "text/markdown"
        assert answer.headers["etag"] == f'"{hashlib.md5(DOCUMENT, usedforsecurity=False).hexdigest()}"'
        assert user.request("HEAD", f"/storage/v1/object/{route}plans/{path}").status_code == 200
    part = user.get(f"/storage/v1/object/plans/{path}", headers={"Range": "bytes=2-5"})
    assert (part.status_code, part.content) == (206, DOCUMENT[2:6])

    assert refusal(stranger.download(path)) == NOT_FOUND
    assert refusal(user.download(f"{user.id}/{another()}")) == NOT_FOUND


def test_what_is_known_of_an_object(user: Caller, stranger: Caller, database: Database) -> None:
    path = user.path()
    user.upload(path)
    for route in ("", "authenticated/"):
        info = user.get(f"/storage/v1/object/info/{route}plans/{path}").json()
        assert (info["name"], info["size"], info["content_type"]) == (path, len(DOCUMENT), "text/markdown")
        answer = stranger.get(f"/storage/v1/object/info/{route}plans/{path}")
        assert refusal(answer) == NOT_FOUND
    row = database.execute(
        "select (metadata ->> 'size')::integer, metadata ->> 'mimetype', metadata ->> 'eTag', owner_id"
        " from storage.objects where name = %s",
        [path],
    ).fetchone()
    md5 = hashlib.md5(DOCUMENT, usedforsecurity=False).hexdigest()
    assert row == (len(DOCUMENT), "text/markdown", f'"{md5}"', user.id)


def test_a_signed_url_is_relative_and_opens_without_credentials(user: Caller, stranger: Caller) -> None:
    path = user.path()
    user.upload(path)
    signed = user.sign(path).json()
    assert signed["signedURL"].startswith(f"/object/sign/plans/{path}?token=")
    url = f"{user.supabase.base_url}/storage/v1{signed['signedURL']}"
    answer = httpx.get(url)
    assert (answer.content, answer.headers["content-type"]) == (DOCUMENT, "text/markdown")
    saved = httpx.get(f"{url}&download=plan.md")
    assert saved.headers["content-disposition"].startswith("attachment; filename=plan.md")
    assert refusal(stranger.sign(path)) == NOT_FOUND
    assert refusal(user.sign(f"{user.id}/{another()}")) == NOT_FOUND


def test_a_signed_url_opens_nothing_else_and_not_for_ever(user: Caller) -> None:
    path, other = user.path(), f"{user.id}/{another()}"
    user.upload(path)
    user.upload(other)
    token = user.sign(path).json()["signedURL"].split("token=")[1]
    base = f"{user.supabase.base_url}/storage/v1/object/sign/plans"

    elsewhere = refusal(httpx.get(f"{base}/{other}?token={token}"))
    assert elsewhere == {
        "statusCode": "400",
        "error": "InvalidSignature",
        "message": "Invalid signature",
        "code": "InvalidSignature",
    }
    tampered = httpx.get(f"{base}/{path}?token={token[:-8]}AAAAAAAA")
    assert (tampered.status_code, tampered.json()["error"]) == (400, "InvalidJWT")
    users_own = httpx.get(f"{base}/{path}?token={user.token}")
    assert (users_own.status_code, users_own.json()["error"]) == (400, "InvalidSignature")

    brief = f"{user.supabase.base_url}/storage/v1{user.sign(path, seconds=1).json()['signedURL']}"
    deadline = time.monotonic() + 10
    while (answer := httpx.get(brief)).status_code == 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert answer.json() == {
        "statusCode": "400",
        "error": "InvalidJWT",
        "message": '"exp" claim timestamp check failed',
        "code": "InvalidJWT",
    }
    assert refusal(user.sign(path, seconds=0))


def test_many_are_signed_at_once_each_for_itself(user: Caller, stranger: Caller) -> None:
    mine, theirs = user.path(), stranger.path()
    user.upload(mine)
    stranger.upload(theirs)
    body = {"expiresIn": 60, "paths": [mine, theirs]}
    first, second = user.post("/storage/v1/object/sign/plans", json=body).json()
    assert httpx.get(f"{user.supabase.base_url}/storage/v1{first['signedURL']}").content == DOCUMENT
    assert second == {
        "path": theirs,
        "error": "Either the object does not exist or you do not have access to it",
        "signedURL": None,
    }


def test_an_existing_object_is_not_replaced(user: Caller, service_role: Caller) -> None:
    path = user.path()
    first = user.upload(path).json()["Id"]
    assert refusal(user.upload(path, b"other")) == DUPLICATE
    assert refusal(user.upload(path, b"other", upsert=True)) == FORBIDDEN
    assert user.download(path).content == DOCUMENT
    assert refusal(service_role.upload(path, b"other", upsert=True)) == FINAL
    assert service_role.get(f"/storage/v1/object/info/authenticated/plans/{path}").json()["id"] == first


def test_in_other_buckets_an_object_is_replaced_and_stays_the_same_one(
    service_role: Caller, bucket: str
) -> None:
    def upload(content: bytes) -> httpx.Response:
        headers = {"content-type": "text/markdown", "x-upsert": "true"}
        return service_role.post(f"/storage/v1/object/{bucket}/a.md", content=content, headers=headers)

    first = upload(b"one").json()["Id"]
    assert upload(b"other").json()["Id"] == first
    assert service_role.get(f"/storage/v1/object/{bucket}/a.md").content == b"other"


def test_a_versioned_bucket_keeps_what_was_replaced_or_deleted(
    service_role: Caller, bucket: str, database: Database
) -> None:
    def status() -> int:
        return service_role.get(f"/storage/v1/object/{bucket}/a.md").status_code

    changed = service_role.request(
        "PUT", f"/storage/v1/bucket/{bucket}", json={"versioning_status": "ENABLED"}
    )
    assert changed.status_code == 200, changed.text
    headers = {"content-type": "text/markdown", "x-upsert": "true"}
    for content in (b"one", b"two"):
        answer = service_role.post(f"/storage/v1/object/{bucket}/a.md", content=content, headers=headers)
        assert answer.status_code == 200, answer.text
    assert service_role.get(f"/storage/v1/object/{bucket}/a.md").content == b"two"
    assert service_role.request("DELETE", f"/storage/v1/object/{bucket}/a.md").status_code == 200
    assert status() == 400
    rows = database.execute(
        "select archived_at is null, is_delete_marker from storage.objects where bucket_id = %s order by 1, 2",
        [bucket],
    ).fetchall()
    assert rows == [(False, False), (False, False), (True, True)]


@pytest.mark.parametrize(
    "name", ["ü.md", "a#b.md", "a%25b.md", "a[b].md", 'a"b.md', "a~b.md", "a\\b.md", "a|b.md"]
)
def test_keys_that_storage_does_not_know(name: str, user: Caller, service_role: Caller) -> None:
    quoted = name.replace("#", "%23").replace("\\", "%5C").replace("[", "%5B").replace("]", "%5D")
    assert refusal(user.upload(f"{user.id}/session/{quoted}"))["error"] == "InvalidKey"
    assert service_role.upload(f"{user.id}/session/a b&c=d@e,f.md").status_code == 200


def test_the_bucket_limits_size_and_type(user: Caller) -> None:
    limit = 1024 * 1024
    path = f"{user.id}/{another()}"
    assert refusal(user.upload(path, b"x" * (limit + 1))) == {
        "statusCode": "413",
        "error": "Payload too large",
        "message": "The object exceeded the maximum allowed size",
        "code": "EntityTooLarge",
    }
    assert refusal(user.upload(path, kind="text/plain")) == {
        "statusCode": "415",
        "error": "invalid_mime_type",
        "message": "mime type text/plain is not supported",
        "code": "InvalidMimeType",
    }
    # A raw body's type is taken as it stands; a form's part loses its parameters first.
    assert refusal(user.upload(path, kind="text/markdown; charset=utf-8"))["error"] == "invalid_mime_type"
    too_long = {"": ("x.md", b"x" * (limit + 1), "text/markdown")}
    assert refusal(user.post(f"/storage/v1/object/plans/{path}", files=too_long))["statusCode"] == "413"
    form = {"": ("x.md", b"x" * limit, "text/markdown; charset=utf-8")}
    assert user.post(f"/storage/v1/object/plans/{path}", files=form).status_code == 200
    assert user.download(path).headers["content-type"] == "text/markdown"


def test_no_one_writes_elsewhere(user: Caller, stranger: Caller, anon: Caller) -> None:
    name = another()
    assert refusal(user.upload(f"{stranger.id}/{name}")) == FORBIDDEN
    assert refusal(anon.upload(f"{stranger.id}/{name}")) == FORBIDDEN
    assert stranger.upload(f"{stranger.id}/{name}").status_code == 200
    for route in ("copy", "move"):
        body = {
            "bucketId": "plans",
            "sourceKey": f"{stranger.id}/{name}",
            "destinationKey": f"{user.id}/{name}",
        }
        assert refusal(user.post(f"/storage/v1/object/{route}", json=body)) == NOT_FOUND
    assert stranger.download(f"{stranger.id}/{name}").content == DOCUMENT


def test_the_service_role_copies_and_moves_nothing(user: Caller, service_role: Caller) -> None:
    source, copied = (f"{user.id}/{another()}" for _ in range(2))
    identity = user.upload(source).json()["Id"]
    body = {"bucketId": "plans", "sourceKey": source, "destinationKey": copied}
    assert refusal(service_role.post("/storage/v1/object/move", json=body)) == FINAL
    assert service_role.post("/storage/v1/object/copy", json=body).json()["Id"] != identity
    assert refusal(service_role.post("/storage/v1/object/move", json=body)) == FINAL
    assert service_role.delete(source).status_code == 200
    assert service_role.download(copied).content == DOCUMENT


def test_the_service_role_moves_in_other_buckets(service_role: Caller, bucket: str) -> None:
    service_role.post(
        f"/storage/v1/object/{bucket}/a.md", content=DOCUMENT, headers={"content-type": "text/markdown"}
    )

    def identity_of(name: str) -> object:
        return service_role.get(f"/storage/v1/object/info/authenticated/{bucket}/{name}").json()["id"]

    identity = identity_of("a.md")
    body = {"bucketId": bucket, "sourceKey": "a.md", "destinationKey": "b.md"}
    answer = service_role.post("/storage/v1/object/move", json=body)
    assert answer.json() == {"message": "Successfully moved"}
    assert identity_of("b.md") == identity
    assert service_role.get(f"/storage/v1/object/{bucket}/a.md").status_code == 400


def test_a_folder_lists_what_is_right_inside_it(user: Caller, stranger: Caller) -> None:
    names = [another("one"), another("one"), another("two")]
    for name in names:
        user.upload(f"{user.id}/{name}")

    def listed(caller: Caller, prefix: str, **options: object) -> list[tuple[str, bool]]:
        body = {"prefix": prefix, **options}
        entries = caller.post("/storage/v1/object/list/plans", json=body).json()
        return [(entry["name"], entry["id"] is None) for entry in entries]

    assert listed(user, user.id) == [("one", True), ("two", True)]
    inside = sorted(name.removeprefix("one/") for name in names[:2])
    assert listed(user, f"{user.id}/one/") == [(name, False) for name in inside]
    descending = {"sortBy": {"column": "name", "order": "desc"}, "limit": 1}
    assert listed(user, f"{user.id}/one", **descending) == [(inside[1], False)]
    assert listed(user, f"{user.id}/one", search=inside[0][:10]) == [(inside[0], False)]
    assert listed(stranger, user.id) == []


def test_deleting_one_and_many(user: Caller, stranger: Caller) -> None:
    first, second, third = (f"{user.id}/{another()}" for _ in range(3))
    for path in (first, second, third):
        user.upload(path)
    assert stranger.remove(first, second).json() == []
    assert refusal(stranger.delete(third)) == {
        "statusCode": "403",
        "error": "Unauthorized",
        "message": "Access denied",
        "code": "AccessDenied",
    }
    removed = user.remove(first, second, f"{user.id}/{another()}").json()
    assert {entry["name"] for entry in removed} == {first, second}
    assert user.delete(third).json() == {"message": "Successfully deleted"}
    assert refusal(user.delete(third)) == NOT_FOUND


def test_rows_are_not_deleted_behind_the_apis_back(user: Caller, database: Database) -> None:
    path = user.path()
    user.upload(path)
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="Use the Storage API instead"):
        database.execute("delete from storage.objects where name = %s", [path])
    assert user.download(path).content == DOCUMENT


def test_no_role_deletes_a_plans_document(user: Caller, service_role: Caller) -> None:
    path, loose = user.path(), f"{user.id}/{another()}"
    user.upload(path)
    user.upload(loose)
    assert user.approve_stored().json()["created"]
    for caller in (user, service_role):
        assert refusal(caller.delete(path)) == REFERENCED
        # In bulk it is all or nothing: one statement.
        assert refusal(caller.remove(loose, path)) == REFERENCED
        assert caller.download(path).content == DOCUMENT
    assert refusal(user.post("/storage/v1/bucket/plans/empty")) == {
        "statusCode": "403",
        "error": "Unauthorized",
        "message": "Access denied: Invalid role",
        "code": "AccessDenied",
    }
    assert refusal(service_role.post("/storage/v1/bucket/plans/empty")) == REFERENCED
    assert user.download(loose).content == DOCUMENT


def test_a_signed_upload_url_allows_one_new_object(user: Caller, stranger: Caller) -> None:
    path = f"{user.id}/{another()}"
    route = f"/storage/v1/object/upload/sign/plans/{path}"
    assert refusal(stranger.post(route)) == FORBIDDEN
    url = f"{user.supabase.base_url}/storage/v1{user.post(route).json()['url']}"
    markdown = {"content-type": "text/markdown"}
    assert refusal(httpx.put(url, content=DOCUMENT, headers={"content-type": "text/plain"}))
    assert httpx.put(url, content=DOCUMENT, headers=markdown).json() == {"Key": f"plans/{path}"}
    assert refusal(httpx.put(url, content=b"other", headers=markdown)) == DUPLICATE
    assert user.download(path).content == DOCUMENT


def test_buckets(service_role: Caller, user: Caller, anon: Caller) -> None:
    bucket = {"id": "pictures", "name": "pictures", "public": False, "allowed_mime_types": ["image/*"]}
    assert refusal(user.post("/storage/v1/bucket", json=bucket)) == FORBIDDEN
    assert service_role.post("/storage/v1/bucket", json=bucket).json() == {"name": "pictures"}
    try:
        assert refusal(service_role.post("/storage/v1/bucket", json=bucket))["error"] == "Duplicate"
        picture = "/storage/v1/object/pictures/a.png"
        png = {"content-type": "image/png"}
        assert service_role.post(picture, content=b"png", headers=png).status_code == 200
        public = "/storage/v1/object/public/pictures/a.png"
        assert refusal(anon.get(public))["error"] == "Bucket not found"
        service_role.request("PUT", "/storage/v1/bucket/pictures", json={"public": True})
        assert anon.get(public).content == b"png"
        assert (
            refusal(service_role.request("DELETE", "/storage/v1/bucket/pictures"))["error"]
            == "ResourceNotEmpty"
        )
    finally:
        service_role.post("/storage/v1/bucket/pictures/empty")
        assert service_role.request("DELETE", "/storage/v1/bucket/pictures").status_code == 200
    assert refusal(service_role.get("/storage/v1/bucket/pictures"))["error"] == "Bucket not found"


def test_uploads_of_one_key_at_once_leave_one_whole_document(user: Caller) -> None:
    path = f"{user.id}/{another()}"
    bodies = [f"# Version {index}\n".encode() * 1000 for index in range(20)]
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda body: user.upload(path, body), bodies))
    (first,) = [body for body, answer in zip(bodies, answers, strict=True) if answer.status_code == 200]
    assert all(answer.status_code == 200 or refusal(answer) in (DUPLICATE, FINAL) for answer in answers)
    assert user.download(path).content == first


def test_a_row_always_has_its_bytes_whatever_races(user: Caller, local: Stack, database: Database) -> None:
    """Approval, upload and both kinds of delete at one key: what the database says is there can be read."""

    def versions() -> tuple[set[object], set[object]]:
        files: set[object] = {file.name for file in (local.settings.directory / "storage").iterdir()}
        return files, {row for (row,) in database.execute("select version from storage.objects").fetchall()}

    user.upload(user.path())
    files, rows = versions()
    strays, approved = files - rows, 0
    with ThreadPoolExecutor(4) as pool:
        for round_ in range(25):
            session = f"race-{round_}"
            path = user.path(session)
            user.upload(path)
            approval = pool.submit(user.approve_stored, session)
            deletion = pool.submit(user.remove if round_ % 2 else user.delete, path)
            again = pool.submit(user.upload, path)
            for answer in (deletion.result(), again.result()):
                assert answer.status_code in {200, 400}, answer.text
            row = database.execute("select version from storage.objects where name = %s", [path]).fetchone()
            assert (row is not None) == (user.download(path).content == DOCUMENT)
            if approval.result().status_code == 200:
                approved += 1
                assert user.download(path).content == DOCUMENT
            else:
                assert approval.result().json()["message"] == "document_not_found"
    assert approved, "no approval won a single race: that tests nothing"
    files, rows = versions()
    assert rows <= files, "a row without its bytes"
    assert files - rows == strays, "bytes without their row"
