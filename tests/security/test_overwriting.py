"""What is stored once stays as it is, in every way of uploading that storage-api has.

storage-api asks the policies when an upload begins, and writes the row when it ends, as its own role. So an upload may
begin before the document is there and end after its approval.
"""

import base64
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import httpx
import psycopg
import pytest

from tests.caller import Caller
from tests.conftest import RunningStack
from tests.plan import DOCUMENT, LIMIT, new_session, sha256

OTHER = b"# Another plan\n"
MARKDOWN = {"content-type": "text/markdown"}
PART = {"content-type": "application/offset+octet-stream", "tus-resumable": "1.0.0", "upload-offset": "0"}


class Storage:
    """A user of Storage, and the secret key beside them."""

    def __init__(self, stack: RunningStack, user: Caller) -> None:
        self.stack, self.user, self.url = stack, user, f"{stack.supabase_url}/storage/v1"
        key = httpx.Client(base_url=stack.supabase_url, headers={"apikey": stack.secret_key}, timeout=30)
        self.service_role = Caller(user.id, "", user.service, key)
        self.pool = ThreadPoolExecutor(2)

    def close(self) -> None:
        self.pool.shutdown()
        self.service_role.supabase.close()

    def sign_upload(self, path: str, *, upsert: bool) -> str:
        answer = self.user.post(
            f"/storage/v1/object/upload/sign/plans/{path}", headers={"x-upsert": str(upsert).lower()}
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["token"])

    def resumable(self, path: str, size: int, route: str, headers: dict[str, str]) -> str:
        """Begin a resumable upload; return its URL."""
        metadata = {"bucketName": "plans", "objectName": path, "contentType": "text/markdown"}
        encoded = ",".join(f"{k} {base64.b64encode(v.encode()).decode()}" for k, v in metadata.items())
        answer = httpx.post(
            f"{self.url}/upload/resumable{route}",
            headers={
                **headers,
                "tus-resumable": "1.0.0",
                "upload-length": str(size),
                "upload-metadata": encoded,
            },
        )
        assert answer.status_code == 201, answer.text
        return str(httpx.URL(answer.url).join(answer.headers["location"]))

    @property
    def bearer(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.user.token}", "apikey": self.stack.publishable_key}

    def held_open(
        self, method: str, url: str, headers: dict[str, str], content: bytes = OTHER
    ) -> Callable[[], httpx.Response]:
        """Begin this request, and return what ends it, once Storage has asked the policies about it."""
        end = threading.Event()

        def body() -> Iterator[bytes]:
            yield content[:1]
            assert end.wait(60)
            yield content[1:]

        with psycopg.connect(self.stack.needs_database(), autocommit=True) as database:
            (before,) = database.execute("select clock_timestamp()").fetchone() or ()
            answer = self.pool.submit(
                lambda: httpx.request(method, url, headers=headers, content=body(), timeout=90)
            )
            deadline = time.monotonic() + 30
            while not database.execute(
                "select from pg_stat_activity"
                " where usename = 'supabase_storage_admin' and query ilike 'rollback%%' and query_start > %s",
                [before],
            ).fetchall():
                assert not answer.done(), answer.result().text
                assert time.monotonic() < deadline, "Storage has not asked"
                time.sleep(0.02)

        def finish() -> httpx.Response:
            end.set()
            return answer.result(60)

        return finish


# Each way begins before anything is at the path. What it returns ends it: other bytes for the same path.
Way = Callable[[Storage, str], Callable[[], httpx.Response]]


def signed_upload_url(storage: Storage, path: str, *, upsert: bool) -> Callable[[], httpx.Response]:
    token = storage.sign_upload(path, upsert=upsert)
    url = f"{storage.url}/object/upload/sign/plans/{path}?token={token}"
    return partial(httpx.put, url, content=OTHER, headers=MARKDOWN)


def signed_resumable(storage: Storage, path: str) -> Callable[[], httpx.Response]:
    signature = {"x-signature": storage.sign_upload(path, upsert=False)}
    url = storage.resumable(path, len(OTHER), "/sign", signature)
    return partial(httpx.patch, url, content=OTHER, headers={**signature, **PART})


def resumable(storage: Storage, path: str) -> Callable[[], httpx.Response]:
    url = storage.resumable(path, len(OTHER), "", storage.bearer)
    return partial(httpx.patch, url, content=OTHER, headers={**storage.bearer, **PART})


def resumable_held_open(storage: Storage, path: str) -> Callable[[], httpx.Response]:
    url = storage.resumable(path, len(OTHER), "", storage.bearer)
    return storage.held_open("PATCH", url, {**storage.bearer, **PART})


def body_held_open(storage: Storage, path: str) -> Callable[[], httpx.Response]:
    return storage.held_open("POST", f"{storage.url}/object/plans/{path}", {**storage.bearer, **MARKDOWN})


def plain(storage: Storage, path: str) -> Callable[[], httpx.Response]:
    return partial(storage.user.upload, path, OTHER)


def secret_key_upsert(storage: Storage, path: str) -> Callable[[], httpx.Response]:
    return partial(storage.service_role.upload, path, OTHER, upsert=True)


def secret_key_put(storage: Storage, path: str) -> Callable[[], httpx.Response]:
    return partial(
        storage.service_role.request,
        "PUT",
        f"/storage/v1/object/plans/{path}",
        content=OTHER,
        headers=MARKDOWN,
    )


def over(route: str, storage: Storage, path: str) -> Callable[[], httpx.Response]:
    source = storage.user.path(new_session(), OTHER)
    assert storage.user.upload(source, OTHER).status_code == 200
    names = {"bucketId": "plans", "sourceKey": source, "destinationKey": path}
    return partial(
        storage.service_role.post, f"/storage/v1/object/{route}", json=names, headers={"x-upsert": "true"}
    )


WAYS: dict[str, Way] = {
    "a plain upload": plain,
    "a signed upload URL": partial(signed_upload_url, upsert=False),
    "a signed upload URL with x-upsert": partial(signed_upload_url, upsert=True),
    "a resumable upload": resumable,
    "a resumable upload with the token of a signed URL": signed_resumable,
    "a resumable upload whose part is held open": resumable_held_open,
    "an upload whose body is held open": body_held_open,
    "the secret key, with x-upsert": secret_key_upsert,
    "the secret key, with PUT": secret_key_put,
    "the secret key, copying over it": partial(over, "copy"),
    "the secret key, moving over it": partial(over, "move"),
}


@pytest.fixture
def storage(stack: RunningStack, user: Caller) -> Iterator[Storage]:
    storage = Storage(stack, user)
    yield storage
    storage.close()


def status_of(answer: httpx.Response) -> int:
    """Return the status. Storage answers 400 with the real one in the body, but for resumable uploads."""
    if "json" not in answer.headers.get("content-type", ""):
        return answer.status_code
    return int(answer.json().get("statusCode", answer.status_code))


@pytest.mark.parametrize("approved", [False, True], ids=["stored", "approved"])
@pytest.mark.parametrize("way", WAYS)
def test_what_is_stored_is_overwritten_in_no_way(storage: Storage, way: str, approved: bool) -> None:
    user, session = storage.user, new_session()
    path = user.path(session)
    overwrite = WAYS[way](storage, path)
    assert user.upload(path).status_code == 200
    if approved:
        assert user.approve_stored(session).json()["created"]
    before = user.get(f"/storage/v1/object/info/authenticated/plans/{path}").json()

    assert status_of(overwrite()) == 409
    assert user.read(path) == DOCUMENT
    assert user.get(f"/storage/v1/object/info/authenticated/plans/{path}").json() == before
    assert user.approve_stored(session).json()["created"] is not approved


@pytest.mark.parametrize("way", [way for way in WAYS if "over it" not in way and "plain" not in way])
def test_each_way_stores_what_is_not_there_yet(storage: Storage, way: str) -> None:
    path = storage.user.path(new_session())
    answer = WAYS[way](storage, path)()
    assert answer.is_success, answer.text
    assert storage.user.read(path) == OTHER


# A body that is held open is not repeated by the hundred: the test above shows it.
@pytest.mark.parametrize("way", [way for way in WAYS if "held open" not in way])
def test_an_approval_keeps_the_bytes_that_race_with_it(storage: Storage, way: str) -> None:
    user = storage.user
    for _ in range(10):
        session = new_session()
        path = user.path(session)
        overwrite = WAYS[way](storage, path)
        assert user.upload(path).status_code == 200
        racing = storage.pool.submit(overwrite)
        assert user.approve_stored(session).json()["created"]
        assert status_of(racing.result()) == 409
        assert user.read(path) == DOCUMENT


@pytest.mark.parametrize("way", ["a signed upload URL with x-upsert", "a plain upload"])
def test_of_twenty_first_uploads_at_once_one_is_stored(storage: Storage, way: str) -> None:
    """In storage-api without the guard all twenty succeed, and the last one wins, after the first was answered."""
    path = storage.user.path(new_session())
    bodies = [f"# Version {number}\n".encode() * 500 for number in range(20)]

    def upload(content: bytes) -> Callable[[], httpx.Response]:
        if way == "a plain upload":
            return partial(storage.user.upload, path, content)
        token = storage.sign_upload(path, upsert=True)
        url = f"{storage.url}/object/upload/sign/plans/{path}?token={token}"
        return partial(httpx.put, url, content=content, headers=MARKDOWN, timeout=60)

    calls = [upload(content) for content in bodies]
    with ThreadPoolExecutor(20) as pool:
        answers = [future.result() for future in [pool.submit(call) for call in calls]]
    statuses = [status_of(answer) for answer in answers]
    assert Counter(statuses) == {200: 1, 409: 19}
    assert storage.user.read(path) == bodies[statuses.index(200)]


def in_pieces(content: bytes) -> Iterator[bytes]:
    for start in range(0, len(content), 65_536):
        yield content[start : start + 65_536]


@pytest.mark.parametrize("who", ["user", "secret key"])
def test_a_body_without_a_length_does_not_pass_the_limit(storage: Storage, who: str) -> None:
    """storage-api compares the length that a request names with the bucket's limit. A body in chunks has none."""
    caller = storage.user if who == "user" else storage.service_role
    allowed, too_large = b"x" * LIMIT, b"x" * (LIMIT + 1)
    path = storage.user.path(new_session(), too_large)
    refused = caller.post(f"/storage/v1/object/plans/{path}", content=in_pieces(too_large), headers=MARKDOWN)
    assert status_of(refused) == 403, refused.text
    assert status_of(storage.user.download(path)) == 404

    path = storage.user.path(new_session(), allowed)
    kept = caller.post(f"/storage/v1/object/plans/{path}", content=in_pieces(allowed), headers=MARKDOWN)
    assert kept.status_code == 200, kept.text
    assert storage.user.read(path) == allowed


def test_the_bucket_is_not_made_a_versioned_one(storage: Storage) -> None:
    """In one, a delete would keep the row, and hide the document of a plan."""
    change = partial(storage.service_role.request, "PUT", "/storage/v1/bucket/plans")
    for status in ("ENABLED", "SUSPENDED"):
        assert status_of(change(json={"versioning_status": status})) == 403
    assert change(json={"versioning_status": "DISABLED"}).status_code == 200
    assert change(json={"public": False}).status_code == 200
    session = new_session()
    path = storage.user.path(session)
    assert storage.user.upload(path).status_code == 200
    assert storage.user.approve_stored(session).json()["created"]
    assert status_of(storage.service_role.delete(path)) == 409
    assert status_of(storage.service_role.remove(path)) == 409


def test_a_clients_token_deletes_no_document(stack: RunningStack, storage: Storage) -> None:
    """Or it could exchange a document between its owner's look at it and their approval."""
    user = storage.user
    client = Caller(user.id, stack.token_for(user, client_id="mcp"), user.service, user.supabase)
    path = user.path(new_session())
    assert client.upload(path).status_code == 200
    assert status_of(client.delete(path)) == 403
    assert client.remove(path).json() == []
    assert client.read(path) == DOCUMENT
    assert status_of(client.upload(path, OTHER)) == 409

    assert user.delete(path).status_code == 200
    assert client.upload(path, OTHER).status_code == 200
    assert user.read(path) == OTHER
    assert sha256(OTHER) not in path
