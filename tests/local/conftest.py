"""What the tests of the local Supabase share: they need one that is ours, and look at it over plain HTTP."""

from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import psycopg
import pytest

from local.stack import Stack
from tests.conftest import RunningStack, User
from tests.plan import sha256

DOCUMENT = "# Plan\n\nWörter, 計画 ☕️\n".encode()


@pytest.fixture(scope="session")
def local(stack: RunningStack) -> Stack:
    if stack.local is None:
        pytest.skip("another Supabase than the local one is being used")
    return stack.local


@dataclass(frozen=True)
class Caller:
    """A caller: a key, and a token where they have one."""

    http: httpx.Client
    id: str = ""
    token: str = ""

    def path(self, name: str = f"session/{sha256(DOCUMENT)}.md") -> str:
        return f"{self.id}/{name}"

    def upload(
        self, path: str, content: bytes = DOCUMENT, *, kind: str = "text/markdown", upsert: bool = False
    ) -> httpx.Response:
        headers = {"content-type": kind, "x-upsert": str(upsert).lower()}
        return self.http.post(f"/storage/v1/object/plans/{path}", content=content, headers=headers)

    def download(self, path: str) -> httpx.Response:
        return self.http.get(f"/storage/v1/object/authenticated/plans/{path}")

    def sign(self, path: str, seconds: int = 60) -> httpx.Response:
        return self.http.post(f"/storage/v1/object/sign/plans/{path}", json={"expiresIn": seconds})

    def remove(self, *paths: str) -> httpx.Response:
        return self.http.request("DELETE", "/storage/v1/object/plans", json={"prefixes": paths})

    def delete(self, path: str) -> httpx.Response:
        return self.http.delete(f"/storage/v1/object/plans/{path}")

    def approve(self, session: str = "session", content: bytes = DOCUMENT) -> httpx.Response:
        """Approve a document that is in its place already."""
        digest = sha256(content)
        path = f"{self.id}/{session}/{digest}.md"
        arguments = {
            "session_id": session,
            "version": 1,
            "title": "A plan",
            "document_sha256": digest,
            "document_url": f"{self.http.base_url}/storage/v1/object/sign/plans/{path}?token=t",
        }
        return self.http.post("/rest/v1/rpc/approve_plan", json=arguments)


@pytest.fixture(scope="session")
def anon(local: Stack) -> Iterator[Caller]:
    with _http(local, local.keys.publishable) as http:
        yield Caller(http)


@pytest.fixture(scope="session")
def service_role(local: Stack) -> Iterator[Caller]:
    with _http(local, local.keys.secret) as http:
        yield Caller(http)


@pytest.fixture
def user(stack: RunningStack, local: Stack) -> Iterator[Caller]:
    yield from _signed_in(stack.sign_up(), local)


@pytest.fixture
def stranger(stack: RunningStack, local: Stack) -> Iterator[Caller]:
    yield from _signed_in(stack.sign_up(), local)


@pytest.fixture
def database(local: Stack) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """Return the database with a connection as its owner, postgres."""
    with psycopg.connect(local.postgres.url(), autocommit=True) as connection:
        yield connection


def _signed_in(account: User, local: Stack) -> Iterator[Caller]:
    with _http(local, local.keys.publishable, account.token) as http:
        yield Caller(http, account.id, account.token)


def _http(local: Stack, key: str, token: str | None = None) -> httpx.Client:
    headers = {"apikey": key} | ({"Authorization": f"Bearer {token}"} if token else {})
    return httpx.Client(base_url=local.settings.supabase_url, headers=headers, timeout=30)
