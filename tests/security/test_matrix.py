"""docs/security.md has a table of who may do what. Here each of its cells is tried out on the running stack."""

import json
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import jwt
import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi.routing import APIRoute
from starlette.routing import Route

from greenlight.app import create_app
from greenlight.settings import Settings
from tests.conftest import RunningStack
from tests.service.conftest import Caller, body, sha256

PAGE = Path(__file__).parents[2] / "docs" / "security.md"
ROLES = ("anon", "owner", "stranger", "service_role", "expired", "forged")
TABLES = ("plan", "agent", "agent_event")
Json = Any


def the_table() -> dict[str, dict[str, str]]:
    """Return the cells of the page's table, by operation and role."""
    lines = PAGE.read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("| Operation |"))
    assert [cell.strip() for cell in lines[start].split("|")[2:-1]] == list(ROLES)
    rows = {}
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        operation, *cells = [cell.strip().replace("`", "") for cell in line.split("|")[1:-1]]
        assert operation not in rows, f"twice: {operation}"
        rows[operation] = dict(zip(ROLES, cells, strict=True))
    return rows


@dataclass
class Scene:
    """What the owner has: an agent, a deleted agent, a document that a plan refers to, and a spare one."""

    session: str
    agent: str
    plan: str
    path: str
    url: str
    spare: str
    spare_sha256: str
    deleted_agent: str


class World:
    def __init__(
        self, stack: RunningStack, owner: Caller, stranger: Caller, database: psycopg.Connection[Any]
    ) -> None:
        self.stack, self.owner, self.stranger, self.database = stack, owner, stranger, database
        assert stack.local is not None
        key = jwt.PyJWK(stack.local.keys.signing_key, "ES256").key
        claims = jwt.decode(owner.token, options={"verify_signature": False})
        kid = {"kid": jwt.get_unverified_header(owner.token)["kid"]}
        past = {**claims, "iat": int(time.time()) - 7200, "exp": int(time.time()) - 3600}
        other = ec.generate_private_key(ec.SECP256R1())
        self.tokens: dict[str, str | None] = {
            "anon": None,
            "owner": owner.token,
            "stranger": stranger.token,
            "service_role": stack.secret_key,
            "expired": jwt.encode(past, key, "ES256", kid),
            "forged": jwt.encode(claims, other, "ES256", kid),
        }
        self._scene: Scene | None = None
        stranger.approved()

    def scene(self) -> Scene:
        """Return what the owner has, made anew when the last attempt changed it."""
        if self._scene is None:
            kept, dropped = body(), body()
            approved = self.owner.approved(**kept)
            deleted = self.owner.approved(**dropped)["agent_id"]
            assert self.owner.rpc("delete_agent", agent_id=deleted).status_code == 200
            folder = f"{self.owner.id}/{kept['plan_id']}"
            spare = f"{folder}/{sha256('spare')}.md"
            self.ask(
                "owner", "POST", f"/storage/v1/object/plans/{spare}", content=b"spare"
            ).raise_for_status()
            path = f"{folder}/{sha256(kept['content'])}.md"
            self._scene = Scene(
                kept["plan_id"],
                approved["agent_id"],
                approved["plan_id"],
                path,
                approved["document_url"],
                spare,
                sha256("spare"),
                deleted,
            )
        return self._scene

    def clear(self) -> None:
        """Begin anew with the next attempt."""
        self._scene = None
        self.database.execute("update storage.buckets set public = false where id = 'plans'")

    def ask(self, role: str, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request to Supabase, or to the service when the path is not one of Supabase's."""
        token = self.tokens[role]
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if "content" in options:
            headers["Content-Type"] = "text/markdown"
        headers |= options.pop("headers", {})
        if not path.startswith(("/rest/", "/storage/", "/auth/")):
            return self.owner.service.request(method, path, headers=headers, **options)
        if role == "service_role":
            headers["apikey"] = self.stack.secret_key
        return self.owner.supabase.request(method, path, headers=headers, **options)

    def state(self, user: Caller) -> str:
        """Return everything that there is of this user's, and the bucket."""
        statements = (
            "select to_jsonb(t) from public.plan as t where user_id = %(id)s order by id",
            "select to_jsonb(t) from public.agent as t where user_id = %(id)s order by id",
            "select to_jsonb(t) from public.agent_event as t where user_id = %(id)s order by id",
            "select to_jsonb(t) from storage.objects as t where starts_with(name, %(id)s) order by id",
            "select to_jsonb(t) from storage.buckets as t order by id",
        )
        return json.dumps(
            [self.database.execute(statement, {"id": user.id}).fetchall() for statement in statements]
        )


@pytest.fixture(scope="module")
def world(stack: RunningStack, service: httpx.Client, supabase: httpx.Client) -> Iterator[World]:
    assert stack.database_url is not None
    accounts = [stack.sign_up() for _ in range(2)]
    owner, stranger = (Caller(account.id, account.token, service, supabase) for account in accounts)
    with psycopg.connect(stack.database_url, autocommit=True) as database:
        yield World(stack, owner, stranger, database)


# What can be tried -------------------------------------------------------------------------------------

Attempt = Callable[[World, str, Scene], httpx.Response]


def asks(method: str, path: str, **options: Any) -> Attempt:
    """Return an attempt whose path and options may name parts of the scene in {braces}."""

    def fill(value: Any, scene: Scene) -> Any:
        if isinstance(value, str):
            for name, text in {
                **vars(scene),
                "user": scene.path[:36],
                "other": sha256(str(uuid.uuid4())),
            }.items():
                value = value.replace(f"{{{name}}}", text)
            return value
        if isinstance(value, dict):
            return {key: fill(item, scene) for key, item in value.items()}
        return [fill(item, scene) for item in value] if isinstance(value, list) else value

    def attempt(world: World, role: str, scene: Scene) -> httpx.Response:
        return world.ask(role, method, fill(path, scene), **fill(options, scene))

    return attempt


def rpc(name: str, **arguments: Json) -> Attempt:
    return asks("POST", f"/rest/v1/rpc/{name}", json=arguments)


def approve_directly(world: World, role: str, scene: Scene) -> httpx.Response:
    """Approve the spare document, in the folder of whoever asks."""
    user = world.stranger.id if role == "stranger" else world.owner.id
    path = f"{user}/{scene.session}/{scene.spare_sha256}.md"
    url = f"{world.stack.supabase_url}/storage/v1/object/sign/plans/{path}?token=x"
    arguments = {
        "session_id": scene.session,
        "version": 2,
        "title": "Two",
        "document_sha256": scene.spare_sha256,
        "document_url": url,
    }
    return world.ask(role, "POST", "/rest/v1/rpc/approve_plan", json=arguments)


def insert(table: str) -> Attempt:
    def attempt(world: World, role: str, scene: Scene) -> httpx.Response:
        query = f"select to_jsonb(t) from public.{table} as t where user_id = %s limit 1"
        found = world.database.execute(query, [world.owner.id]).fetchone()
        assert found is not None
        row = {**found[0], "session_id": "another"} if table != "agent_event" else dict(found[0])
        row.pop("id")
        return world.ask(role, "POST", f"/rest/v1/{table}", json=row)

    return attempt


CHANGES = {
    "plan": {"status": "archived"},
    "agent": {"status": "archived"},
    "agent_event": {"kind": "deleted"},
}
OF = {"plan": "id=eq.{plan}", "agent": "id=eq.{agent}", "agent_event": "agent_id=eq.{agent}"}
OF_DELETED = {
    "plan": "user_id=eq.{user}&deleted_at=not.is.null",
    "agent": "id=eq.{deleted_agent}",
    "agent_event": "agent_id=eq.{deleted_agent}",
}
NEW = "{user}/{session}/{other}.md"
OBJECT = "/storage/v1/object"
UPLOAD = {"content": b"words"}

READS: dict[str, Attempt] = {
    **{f"{table}: select": asks("GET", f"/rest/v1/{table}?{OF[table]}") for table in TABLES},
    **{f"{table}: select deleted": asks("GET", f"/rest/v1/{table}?{OF_DELETED[table]}") for table in TABLES},
    "agent with plan and agent_event: select": asks(
        "GET", "/rest/v1/agent?select=*,plan(*),agent_event(*)&id=eq.{agent}"
    ),
    "rpc deleted_agents": rpc("deleted_agents"),
    "rpc orphaned_documents": rpc("orphaned_documents", older_than="0 seconds"),
    "storage: download": asks("GET", f"{OBJECT}/authenticated/plans/{{path}}"),
    "storage: info": asks("GET", f"{OBJECT}/info/authenticated/plans/{{path}}"),
    "storage: list": asks(
        "POST", f"{OBJECT}/list/plans", json={"prefix": "{user}/{session}", "limit": 9, "offset": 0}
    ),
    "storage: list users": asks("POST", f"{OBJECT}/list/plans", json={"prefix": "", "limit": 9, "offset": 0}),
    "storage: sign": asks("POST", f"{OBJECT}/sign/plans/{{path}}", json={"expiresIn": 60}),
    "storage: sign many": asks("POST", f"{OBJECT}/sign/plans", json={"expiresIn": 60, "paths": ["{path}"]}),
    "storage: download as public": asks("GET", f"{OBJECT}/public/plans/{{path}}"),
    "storage: open a signed URL": asks("GET", "{url}"),
    "GET /plan/{plan_id}/document": asks("GET", "/plan/{plan}/document"),
    "GET /healthz": asks("GET", "/healthz"),
    "GET /readyz": asks("GET", "/readyz"),
    "GET /docs": asks("GET", "/docs"),
    "GET /docs/oauth2-redirect": asks("GET", "/docs/oauth2-redirect"),
    "GET /openapi.json": asks("GET", "/openapi.json"),
    "GET /metrics": asks("GET", "/metrics"),
}
WRITES: dict[str, Attempt] = {
    **{f"{table}: insert": insert(table) for table in TABLES},
    **{
        f"{table}: update": asks("PATCH", f"/rest/v1/{table}?{OF[table]}", json=CHANGES[table])
        for table in TABLES
    },
    **{f"{table}: delete": asks("DELETE", f"/rest/v1/{table}?{OF[table]}") for table in TABLES},
    "rpc approve_plan": approve_directly,
    "rpc transition_agent, archive": rpc("transition_agent", agent_id="{agent}", to_status="archived"),
    "rpc transition_agent, built": rpc(
        "transition_agent", agent_id="{agent}", to_status="active", plan_id="{plan}"
    ),
    "rpc delete_agent": rpc("delete_agent", agent_id="{agent}"),
    "rpc restore_agent": rpc("restore_agent", agent_id="{deleted_agent}"),
    "rpc purge_deleted_agents": rpc("purge_deleted_agents", deleted_before="infinity", batch_size=1000),
    "storage: upload": asks("POST", f"{OBJECT}/plans/{NEW}", **UPLOAD),
    "storage: upload elsewhere": asks("POST", f"{OBJECT}/plans/{{user}}/{{other}}.md", **UPLOAD),
    "storage: upload again": asks("POST", f"{OBJECT}/plans/{{path}}", **UPLOAD),
    "storage: upload over": asks("POST", f"{OBJECT}/plans/{{path}}", headers={"x-upsert": "true"}, **UPLOAD),
    "storage: replace": asks("PUT", f"{OBJECT}/plans/{{path}}", **UPLOAD),
    "storage: move": asks(
        "POST", f"{OBJECT}/move", json={"bucketId": "plans", "sourceKey": "{spare}", "destinationKey": NEW}
    ),
    "storage: copy": asks(
        "POST", f"{OBJECT}/copy", json={"bucketId": "plans", "sourceKey": "{path}", "destinationKey": NEW}
    ),
    "storage: delete": asks("DELETE", f"{OBJECT}/plans/{{spare}}"),
    "storage: delete many": asks("DELETE", f"{OBJECT}/plans", json={"prefixes": ["{spare}"]}),
    "storage: delete what a plan refers to": asks("DELETE", f"{OBJECT}/plans/{{path}}"),
    "storage: delete many, what a plan refers to": asks(
        "DELETE", f"{OBJECT}/plans", json={"prefixes": ["{path}"]}
    ),
    "storage: make the bucket public": asks("PUT", "/storage/v1/bucket/plans", json={"public": True}),
    "storage: empty the bucket": asks("POST", "/storage/v1/bucket/plans/empty"),
    "storage: delete the bucket": asks("DELETE", "/storage/v1/bucket/plans"),
    "POST /plan/approve": asks(
        "POST", "/plan/approve", json={"plan_id": "{session}", "version": 2, "title": "Two", "content": "two"}
    ),
}
OPERATIONS = {**READS, **WRITES}


def outcome(world: World, operation: str, role: str) -> str:
    """Try it, and say in the table's words what happened; nothing may have happened that they do not say."""
    scene = world.scene()
    before = [world.state(user) for user in (world.owner, world.stranger)]
    answer = OPERATIONS[operation](world, role, scene)
    owners, strangers = (
        state != earlier
        for state, earlier in zip(map(world.state, (world.owner, world.stranger)), before, strict=True)
    )
    if owners or strangers:
        world.clear()
    try:
        said = answer.json()
    except ValueError:
        said = answer.text
    if answer.status_code >= 400:
        assert not owners, f"refused, and done: {operation} as {role}"
        assert not strangers
        assert isinstance(said, dict), said
        # Storage tells the true status in the body; ours have a stable code.
        status = int(said.get("statusCode", answer.status_code))
        ours = said.get("message") if str(said.get("code", "")).startswith("PT") else None
        if answer.headers["content-type"] == "application/problem+json":
            ours = said["code"]
        return f"{status} {ours}" if ours else str(status)
    if operation in WRITES:
        if owners:
            return "yes"
        return "own" if strangers else "nothing"
    assert not owners, f"a read that writes: {operation} as {role}"
    assert not strangers
    empty = not said or (isinstance(said, list) and all(one.get("signedURL", 1) is None for one in said))
    if operation == "storage: list users" and not empty:
        names = {one["name"] for one in said}
        return "own" if len(names) == 1 and names <= {world.owner.id, world.stranger.id} else "yes"
    return "nothing" if empty else "yes"


@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_cell_of_the_table(world: World, operation: str) -> None:
    found = {role: outcome(world, operation, role) for role in ROLES}

    assert found == the_table()[operation]


def test_the_table_and_the_attempts_are_the_same() -> None:
    assert set(the_table()) == set(OPERATIONS)


def test_every_table_function_and_endpoint_is_in_it(world: World) -> None:
    operations = set(the_table())
    tables = world.database.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
    functions = world.database.execute(
        "select proname from pg_proc where pronamespace = 'public'::regnamespace"
    ).fetchall()
    assert {name for (name,) in tables} == set(TABLES)
    assert {
        f"{table}: {verb}" for table in TABLES for verb in ("select", "insert", "update", "delete")
    } <= operations
    assert {operation.split(",")[0] for operation in operations if operation.startswith("rpc ")} == {
        f"rpc {name}" for (name,) in functions
    }
    app = create_app(
        Settings(supabase_url="http://x", supabase_publishable_key="sb_publishable_x", metrics=True)
    )
    endpoints = {
        f"{method} {route.path}"
        for route in app.routes
        if isinstance(route, APIRoute | Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert endpoints == {operation for operation in operations if operation.startswith(("GET ", "POST "))}
