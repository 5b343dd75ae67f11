"""The stack that tests talk to: a local Supabase on free ports, or the one that the environment names."""

import atexit
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import httpx
import jwt
import psycopg
import pytest
from mirakuru.base import cleanup_subprocesses
from psycopg.types.json import Jsonb

from local.processes import free_ports
from local.stack import Settings, Stack, answers, service

pytest_plugins = ["tests.plugins", "tests.client.package"]

# When a process ends, mirakuru (3.1.0, under pytest-postgresql) kills each server whose id contains the number of the
# process, other runs' servers among them. Ours are stopped by their fixtures.
atexit.unregister(cleanup_subprocesses)


class SignedIn(Protocol):
    @property
    def token(self) -> str: ...


@dataclass(frozen=True)
class User:
    id: str
    email: str
    password: str
    token: str


@dataclass(frozen=True)
class RunningStack:
    supabase_url: str
    publishable_key: str
    secret_key: str
    service_url: str
    # Known only of a local Supabase: the shared secret, the database (as postgres), the processes.
    jwt_secret: str | None = None
    database_url: str | None = None
    local: Stack | None = None
    models: list[User] = field(default_factory=list)

    def sign_up(self) -> User:
        """Return a new user, signed in. On this machine they are copies of one that no test gets."""
        if self.local is None:
            return self._sign_up()
        if not self.models:
            self.models.append(self._sign_up())
        return self._copy(self.models[0], self.local)

    def _copy(self, user: User, local: Stack) -> User:
        """Write what Auth writes at a sign-up, without hashing a password, which takes a tenth of a second."""
        known = jwt.decode(user.token, options={"verify_signature": False})
        user_id, session_id = str(uuid.uuid4()), str(uuid.uuid4())
        copy = User(user_id, f"{uuid.uuid4().hex}@example.com", user.password, "")
        metadata = {**known["user_metadata"], "sub": user_id, "email": copy.email}
        own = {"user_id": user_id, "email": copy.email}
        changed: dict[str, dict[str, Any]] = {
            "users": {**own, "id": user_id, "raw_user_meta_data": metadata},
            "identities": {**own, "id": str(uuid.uuid4()), "provider_id": user_id, "identity_data": metadata},
            "sessions": {**own, "id": session_id},
        }
        with psycopg.connect(local.postgres.url("supabase_admin")) as database:
            for table, columns in changed.items():
                (names,) = database.execute(
                    "select string_agg(quote_ident(attname), ', ') from pg_attribute"
                    " where attrelid = %s::regclass and attnum > 0 and attgenerated = '' and not attisdropped",
                    [f"auth.{table}"],
                ).fetchone() or ("",)
                column = "id" if table == "users" else "user_id"
                database.execute(
                    f"insert into auth.{table} ({names}) select {names} from (select"
                    f" (jsonb_populate_record(t, %s)).* from auth.{table} as t where {column} = %s limit 1)".encode(),
                    [Jsonb(columns), user.id],
                )
        now = int(time.time())
        claims = {"session_id": session_id, "user_metadata": metadata, "iat": now, "exp": now + 3600}
        return replace(copy, token=self.token_for(user, sub=user_id, email=copy.email, **claims))

    def _sign_up(self) -> User:
        email, password = f"{uuid.uuid4().hex}@example.com", uuid.uuid4().hex
        credentials = {"email": email, "password": password}
        with httpx.Client(base_url=f"{self.supabase_url}/auth/v1", timeout=30) as auth:
            key = {"apikey": self.publishable_key}
            if self.local is not None:
                answer = auth.post("/signup", json=credentials, headers=key)
            else:
                # A hosted project may want the address confirmed first; its secret key need not ask.
                admin = {"apikey": self.secret_key, "Authorization": f"Bearer {self.secret_key}"}
                created = auth.post(
                    "/admin/users", json={**credentials, "email_confirm": True}, headers=admin
                )
                created.raise_for_status()
                answer = auth.post("/token", params={"grant_type": "password"}, json=credentials, headers=key)
            answer.raise_for_status()
        session = answer.json()
        return User(session["user"]["id"], email, password, session["access_token"])

    def sign_in(self, user: User) -> dict[str, Any]:
        """Return a new session of this user. On this machine it is a refreshed one, which compares no password."""
        if self.local is None:
            grant = "password"
            proof = {"email": user.email, "password": user.password}
        else:
            grant = "refresh_token"
            proof = {"refresh_token": self._new_session(user, self.local)}
        answer = httpx.post(
            f"{self.supabase_url}/auth/v1/token",
            params={"grant_type": grant},
            json=proof,
            headers={"apikey": self.publishable_key},
            timeout=30,
        )
        session: dict[str, Any] = answer.raise_for_status().json()
        return session

    @staticmethod
    def _new_session(user: User, local: Stack) -> str:
        """Write what Auth writes at a sign-in, without comparing a password. Return the token that refreshes it."""
        session, token = uuid.uuid4(), str(uuid.uuid4())
        with psycopg.connect(local.postgres.url("supabase_admin")) as database:
            database.execute(
                "insert into auth.sessions (id, user_id, aal) values (%s, %s, 'aal1')", [session, user.id]
            )
            database.execute(
                "insert into auth.refresh_tokens (id, token, user_id, session_id) values (%s, %s, %s, %s)",
                [token, token, user.id, session],
            )
        return token

    def token_for(self, user: SignedIn, **claims: Any) -> str:
        """Return an access token of this user with more claims, such as the `client_id` of an OAuth client."""
        changed = {**jwt.decode(user.token, options={"verify_signature": False}), **claims}
        if self.local is not None:
            key = self.local.keys.signing_key
            return jwt.encode(
                changed, jwt.PyJWK(key, "ES256").key, "ES256", {"kid": key["kid"], "typ": "JWT"}
            )
        if self.jwt_secret is None:
            pytest.skip("signing a token needs SUPABASE_JWT_SECRET")
        return jwt.encode(changed, self.jwt_secret, "HS256")

    def as_builder(self, function: str, **arguments: Any) -> Any:
        """Call a function as the service role, as a builder does."""
        headers = {"apikey": self.secret_key, "Authorization": f"Bearer {self.secret_key}"}
        url = f"{self.supabase_url}/rest/v1/rpc/{function}"
        answer = httpx.post(url, json=arguments, headers=headers, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def make_due(self, agent_id: str) -> None:
        """Make the agent's open build the one that a builder takes first; its backoff, or its lease, is over."""
        with psycopg.connect(self.needs_database()) as database:
            database.execute(
                "update public.build set run_after = (select min(run_after) - interval '1 day' from public.build)"
                " where agent_id = %s and status in ('queued', 'running')"
                " returning setval('greenlight.last_owner', uuid_hash_extended(user_id, 0) - 1)",
                [agent_id],
            )

    def allow_attempts(self, user_id: str, most: int) -> None:
        with psycopg.connect(self.needs_database()) as database:
            database.execute(
                "update public.build set max_attempts = %s where user_id = %s and status = 'queued'",
                [most, user_id],
            )

    def claim(self, agent_id: str) -> Any:
        """Claim the agent's build, and no other."""
        self.make_due(agent_id)
        (claim,) = self.as_builder("claim_builds", worker="tests")
        assert claim["agent_id"] == agent_id
        return claim

    def tamper(self, path: str, content: bytes) -> None:
        """Let Storage have other bytes at this path, with triggers off: no role of the API can do that."""
        if self.local is None:
            pytest.skip("replacing bytes needs a Supabase on this machine")
        other = f"{uuid.uuid4()}/{uuid.uuid4()}"
        answer = httpx.post(
            f"{self.supabase_url}/storage/v1/object/plans/{other}",
            content=content,
            headers={"apikey": self.secret_key, "Content-Type": "text/markdown"},
            timeout=30,
        )
        assert answer.status_code == 200, answer.text
        with psycopg.connect(self.local.postgres.url("supabase_admin")) as database:
            database.execute("set session_replication_role = replica")
            replaced = database.execute(
                "update storage.objects as o set version = other.version, metadata = other.metadata"
                " from storage.objects as other where o.name = %s and other.name = %s",
                [path, other],
            )
            assert replaced.rowcount == 1

    def needs_database(self) -> str:
        if self.database_url is None:
            pytest.skip("looking into the database needs DATABASE_URL")
        return self.database_url

    def delete_user(self, user_id: str) -> None:
        admin = {"apikey": self.secret_key, "Authorization": f"Bearer {self.secret_key}"}
        url = f"{self.supabase_url}/auth/v1/admin/users/{user_id}"
        httpx.delete(url, headers=admin, timeout=30).raise_for_status()


@contextmanager
def local_stack(directory: Path) -> Iterator[RunningStack]:
    """A local Supabase of its own on free ports, and the service in front of it."""
    with Stack(Settings(directory, *free_ports(4))) as local:
        without_fsync(local)
        yield RunningStack(
            local.settings.supabase_url,
            local.keys.publishable,
            local.keys.secret,
            local.settings.service_url,
            local.keys.jwt_secret,
            local.postgres.url(),
            local,
        )


def without_fsync(local: Stack) -> None:
    """Let no commit wait for the disk. What a killed Postgres has written is there all the same."""
    with psycopg.connect(local.postgres.url("supabase_admin"), autocommit=True) as database:
        database.execute("alter system set fsync = off")
        database.execute("select pg_reload_conf()")


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    directory = tmp_path_factory.mktemp("local")
    if "SUPABASE_URL" in os.environ:
        yield from elsewhere(directory)
        return
    with local_stack(directory) as running:
        yield running


def elsewhere(directory: Path) -> Iterator[RunningStack]:
    """Only the service, in front of the Supabase whose URL and keys are in the environment."""
    url, publishable = os.environ["SUPABASE_URL"], os.environ["SUPABASE_PUBLISHABLE_KEY"]
    (port,) = free_ports(1)
    # Tests sign tokens of OAuth clients with the secret; a project without published keys signs all with it.
    secret = os.environ.get("SUPABASE_JWT_SECRET", "")
    child = service(
        url,
        publishable,
        port,
        directory / "service.log",
        "http://ui.test",
        SUPABASE_JWT_SECRET=secret,
    )
    child.start()
    try:
        child.wait_until(lambda: answers(f"http://127.0.0.1:{port}/readyz"))
        yield RunningStack(
            url,
            publishable,
            os.environ["SUPABASE_SECRET_KEY"],
            f"http://127.0.0.1:{port}",
            secret or None,
            os.environ.get("DATABASE_URL"),
        )
    finally:
        child.stop()
