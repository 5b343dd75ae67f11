"""docs/security.md has a table of who may do what. Here each of its cells is tried out on the running stack."""

import asyncio
import json
import re
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi.routing import APIRoute
from starlette.routing import Route

from greenlight.app import create_app
from greenlight.mcp.app import METADATA
from greenlight.mcp.tools import create_server
from greenlight.settings import Settings
from tests.caller import Caller
from tests.conftest import RunningStack
from tests.plan import body, sha256
from tests.teams import Team, team_of

PAGE = Path(__file__).parents[2] / "docs" / "security.md"
MIGRATIONS = "\n".join(
    path.read_text() for path in sorted((PAGE.parents[1] / "supabase" / "migrations").glob("*.sql"))
)
ROLES = (
    *("anon", "owner", "OAuth client", "approver", "viewer", "former approver", "approver's OAuth client"),
    *("stranger", "service_role", "expired", "forged"),
)
TABLES = ("plan", "agent", "agent_event", "build", "build_log")
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


class Scene:
    """What the owner has. What only a few attempts need is made when it is first named."""

    def __init__(self, world: "World") -> None:
        self._world = world
        kept = body()
        approved = world.approved(**kept)
        self.deleted_agent = world.approved()["agent_id"]
        assert world.owner.rpc("delete_agent", agent_id=self.deleted_agent).status_code == 200
        self.user = world.owner.id
        self.session = kept["plan_id"]
        self.agent, self.plan, self.url = (approved[key] for key in ("agent_id", "plan_id", "document_url"))
        self.path = f"{self.user}/{self.session}/{sha256(kept['content'])}.md"
        self.spare_sha256 = sha256("spare")
        self.spare = f"{self.user}/{self.session}/{self.spare_sha256}.md"
        self._world.ask(
            "owner", "POST", f"/storage/v1/object/plans/{self.spare}", content=b"spare"
        ).raise_for_status()

    @property
    def other(self) -> str:
        return sha256(str(uuid.uuid4()))

    @cached_property
    def proposed(self) -> str:
        """Return the session of a plan that waits for its owner's decision."""
        request = body(content="proposed")
        self._world.owner.proposed(**request, team_id=self._world.team)
        return str(request["plan_id"])

    @cached_property
    def proposed_sha256(self) -> str:
        return sha256("proposed")

    @cached_property
    def withdrawn(self) -> str:
        """Return the time before which everything was closed, of a plan that was withdrawn."""
        assert self._world.owner.rpc("withdraw_plan", session_id=self.proposed, version=1).status_code == 200
        return "infinity"

    @cached_property
    def due(self) -> str:
        """Return the name of a builder for whom the owner's build is the next one."""
        self._world.stack.make_due(self._world.approved()["agent_id"])
        return "matrix"

    @cached_property
    def build(self) -> str:
        """Return a build that was claimed once."""
        return str(self._world.stack.claim(self._world.approved()["agent_id"])["build_id"])

    @cached_property
    def log(self) -> str:
        """Return what an attempt wrote that failed."""
        return self._log(self._world.approved()["agent_id"])

    @cached_property
    def deleted_log(self) -> str:
        agent = self._world.approved()["agent_id"]
        log = self._log(agent)
        assert self._world.owner.rpc("delete_agent", agent_id=agent).status_code == 200
        return log

    @cached_property
    def subscriber(self) -> str:
        """Return one for whom a notification of the owner waits."""
        name = uuid.uuid4().hex
        self._world.stack.as_builder("claim_notifications", subscriber=name)
        assert self._world.owner.propose(**body()).status_code == 200
        return name

    @cached_property
    def notification(self) -> str:
        """Return one of the owner that was claimed once."""
        (claimed,) = self._world.stack.as_builder("claim_notifications", subscriber=self.subscriber)
        assert claimed["user_id"] == self.user
        return str(claimed["notification_id"])

    @cached_property
    def notified(self) -> str:
        """Return the time before which every notification was written that waits."""
        assert self.subscriber
        return "infinity"

    @cached_property
    def logged(self) -> str:
        """Return the time before which every build has ended that has a log."""
        assert self.log
        return "infinity"

    def _log(self, agent: str) -> str:
        log = str(uuid.uuid4())
        build = self._world.stack.claim(agent)["build_id"]
        self._world.stack.as_builder(
            "fail_build", build_id=build, attempt=1, message="no", retry=False, log=log
        )
        return log

    @cached_property
    def failed_agent(self) -> str:
        agent = str(self._world.approved()["agent_id"])
        build = self._world.stack.claim(agent)["build_id"]
        self._world.stack.as_builder("fail_build", build_id=build, attempt=1, message="no", retry=False)
        return agent


class World:
    def __init__(self, stack: RunningStack, people: dict[str, Caller], team: Team) -> None:
        self.stack, self.database, self.team = stack, team.database, team.id
        self.owner = owner = people["owner"]
        # Whose account a caller's token is of.
        self.people = {**people, "approver's OAuth client": people["approver"]}
        claims = jwt.decode(owner.token, options={"verify_signature": False})
        kid = {"kid": jwt.get_unverified_header(owner.token).get("kid", "none")}
        other = ec.generate_private_key(ec.SECP256R1())
        self.tokens: dict[str, str | None] = {
            "anon": None,
            "owner": owner.token,
            "OAuth client": stack.token_for(owner, client_id=str(uuid.uuid4())),
            **{role: person.token for role, person in people.items()},
            "approver's OAuth client": stack.token_for(people["approver"], client_id=str(uuid.uuid4())),
            "service_role": stack.secret_key,
            "expired": stack.token_for(owner, iat=int(time.time()) - 7200, exp=int(time.time()) - 3600),
            "forged": jwt.encode(claims, other, "ES256", kid),
        }
        self._scene: Scene | None = None
        for role in ("owner", "approver", "viewer", "former approver"):
            team.join(people[role].id, "viewer" if role == "viewer" else "approver")
        left = people["former approver"]
        left.done("stop_build", agent_id=self.approved()["agent_id"])
        team.leave(left.id)
        for person in people.values():
            if person is not owner:
                person.approved()

    def account(self, role: str) -> Caller:
        """Return whose account the caller has: the owner's, if they are no one else."""
        return self.people.get(role, self.owner)

    def approved(self, **fields: Json) -> Json:
        """Return what the owner approved, after they had proposed it to the team."""
        request = body(**fields)
        self.owner.proposed(**request, team_id=self.team)
        return self.owner.approved(**request)

    def scene(self) -> Scene:
        """Return what the owner has: new, if the last attempt changed it."""
        if self._scene is None:
            self._scene = Scene(self)
        return self._scene

    def clear(self) -> None:
        """Make the next attempt begin with a new scene."""
        self._scene = None
        self.database.execute("update storage.buckets set public = false where id = 'plans'")

    def ask(self, role: str, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request to Supabase, or to the service if the path is not one of Supabase's."""
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

    def state(self, user: Caller, *, orphans: bool) -> str:
        """Return everything that this user has, documents without a plan (orphans) or not, and the bucket."""
        statements = (
            *(
                f"select to_jsonb(t) from public.{table} as t where user_id = %(id)s order by t::text"
                for table in TABLES
            ),
            """
            select to_jsonb(t) from storage.objects as t
            where starts_with(name, %(id)s)
                and (%(orphans)s or exists (select from public.plan where document_id = t.id)) order by id
            """,
            "select to_jsonb(t) from storage.buckets as t order by id",
            "select to_jsonb(t) from greenlight.notification as t where user_id = %(id)s order by id",
        )
        return json.dumps(
            [
                self.database.execute(statement, {"id": user.id, "orphans": orphans}).fetchall()
                for statement in statements
            ]
        )


@pytest.fixture(scope="module")
def world(stack: RunningStack, service: httpx.Client, supabase: httpx.Client) -> Iterator[World]:
    accounts = {
        role: stack.sign_up() for role in ("owner", "approver", "viewer", "former approver", "stranger")
    }
    people = {
        role: Caller(account.id, account.token, service, supabase) for role, account in accounts.items()
    }
    with team_of(stack.needs_database()) as team:
        yield World(stack, people, team)


# What can be tried -------------------------------------------------------------------------------------

Request = Callable[[], httpx.Response]
Attempt = Callable[[World, str, Scene], Request]


def asks(method: str, path: str, **options: Any) -> Attempt:
    """Return an attempt whose path and options may name parts of the scene in {braces}."""

    def fill(value: Any, scene: Scene) -> Any:
        if isinstance(value, str):
            return re.sub(r"\{(\w+)\}", lambda name: str(getattr(scene, name[1])), value)
        if isinstance(value, dict):
            return {key: fill(item, scene) for key, item in value.items()}
        return [fill(item, scene) for item in value] if isinstance(value, list) else value

    def attempt(world: World, role: str, scene: Scene) -> Request:
        return partial(world.ask, role, method, fill(path, scene), **fill(options, scene))

    return attempt


def rpc(name: str, **arguments: Json) -> Attempt:
    return asks("POST", f"/rest/v1/rpc/{name}", json=arguments)


def for_the_user(name: str, **arguments: Json) -> Attempt:
    """Return a call in which the service role has to name the user."""

    def attempt(world: World, role: str, scene: Scene) -> Request:
        named = {"user_id": "{user}"} if role == "service_role" else {}
        return rpc(name, **arguments, **named)(world, role, scene)

    return attempt


def of_the_spare_document(name: str, *, naming_the_owner: bool = False) -> Attempt:
    """Return a call that proposes or approves the spare document, in the folder of the caller, or of the owner."""

    def attempt(world: World, role: str, scene: Scene) -> Request:
        user = world.owner.id if naming_the_owner else world.account(role).id
        path = f"{user}/{scene.session}/{scene.spare_sha256}.md"
        arguments = {
            "session_id": scene.session,
            "version": 2,
            "title": "Two",
            "document_sha256": scene.spare_sha256,
            "document_url": f"{world.stack.supabase_url}/storage/v1/object/sign/plans/{path}?token=x",
            **({"user_id": world.owner.id} if naming_the_owner else {}),
        }
        return (for_the_user if name == "propose_plan" else rpc)(name, **arguments)(world, role, scene)

    return attempt


def insert(table: str) -> Attempt:
    def attempt(world: World, role: str, scene: Scene) -> Request:
        assert scene.log
        query = f"select to_jsonb(t) from public.{table} as t where user_id = %s limit 1"
        found = world.database.execute(query, [world.owner.id]).fetchone()
        assert found is not None
        row = {**found[0], "session_id": "another"} if "session_id" in found[0] else dict(found[0])
        row.pop("id", None)
        return partial(world.ask, role, "POST", f"/rest/v1/{table}", json=row)

    return attempt


def to_mcp(method: str, tool: str = "", **arguments: Json) -> Attempt:
    version = "2026-07-28"
    meta = {
        "io.modelcontextprotocol/protocolVersion": version,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    named = {"name": tool, "arguments": arguments} if tool else {}
    return asks(
        "POST",
        "/mcp",
        json={"jsonrpc": "2.0", "id": "1", "method": method, "params": {**named, "_meta": meta}},
        headers={
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": version,
            "Mcp-Method": method,
            **({"Mcp-Name": tool} if tool else {}),
        },
    )


CHANGES = {
    "plan": {"status": "archived"},
    "agent": {"status": "archived"},
    "agent_event": {"kind": "deleted"},
    "build": {"status": "cancelled"},
    "build_log": {"content": "another"},
}
OF = {
    "plan": "id=eq.{plan}",
    "agent": "id=eq.{agent}",
    "agent_event": "agent_id=eq.{agent}",
    "build": "agent_id=eq.{agent}",
    "build_log": "content=eq.{log}",
}
OF_DELETED = {
    "plan": "user_id=eq.{user}&deleted_at=not.is.null",
    "agent": "id=eq.{deleted_agent}",
    "agent_event": "agent_id=eq.{deleted_agent}",
    "build": "agent_id=eq.{deleted_agent}",
    "build_log": "content=eq.{deleted_log}",
}
NEW = "{user}/{session}/{other}.md"
OBJECT = "/storage/v1/object"
UPLOAD = {"content": b"words"}

READS: dict[str, Attempt] = {
    **{f"{table}: select": asks("GET", f"/rest/v1/{table}?{OF[table]}") for table in TABLES},
    **{f"{table}: select deleted": asks("GET", f"/rest/v1/{table}?{OF_DELETED[table]}") for table in TABLES},
    "agent with plan, agent_event and build: select": asks(
        "GET", "/rest/v1/agent?select=*,plan(*),agent_event(*),build(*)&id=eq.{agent}"
    ),
    "rpc deleted_agents": rpc("deleted_agents"),
    "rpc plan_teams": rpc("plan_teams"),
    "rpc display_names": rpc("display_names", plan_ids=["{plan}"]),
    "rpc latest_changes": rpc("latest_changes", agent_ids=["{agent}"]),
    "rpc installation": rpc("installation"),
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
    **{f"GET {path}": asks("GET", path) for path in (METADATA, f"{METADATA}/mcp")},
    "POST /mcp": to_mcp("tools/list"),
    "mcp get_decision": to_mcp("tools/call", "get_decision", session_id="{session}", version=1),
}
WRITES: dict[str, Attempt] = {
    **{f"{table}: insert": insert(table) for table in TABLES},
    **{
        f"{table}: update": asks("PATCH", f"/rest/v1/{table}?{OF[table]}", json=CHANGES[table])
        for table in TABLES
    },
    **{f"{table}: delete": asks("DELETE", f"/rest/v1/{table}?{OF[table]}") for table in TABLES},
    "rpc propose_plan": of_the_spare_document("propose_plan"),
    "rpc approve_plan": of_the_spare_document("approve_plan"),
    "rpc approve_plan, what was proposed": rpc(
        "approve_plan", session_id="{proposed}", version=1, document_sha256="{proposed_sha256}"
    ),
    "rpc request_changes": rpc("request_changes", session_id="{proposed}", version=1, comment="Shorter"),
    "rpc reject_plan": rpc("reject_plan", session_id="{proposed}", version=1),
    "rpc approve_plan, naming the owner": of_the_spare_document("approve_plan", naming_the_owner=True),
    "rpc approve_plan, what was proposed, naming the owner": rpc(
        "approve_plan",
        session_id="{proposed}",
        version=1,
        document_sha256="{proposed_sha256}",
        user_id="{user}",
    ),
    "rpc request_changes, naming the owner": rpc(
        "request_changes", session_id="{proposed}", version=1, comment="Shorter", user_id="{user}"
    ),
    "rpc reject_plan, naming the owner": rpc(
        "reject_plan", session_id="{proposed}", version=1, user_id="{user}"
    ),
    "rpc withdraw_plan": for_the_user("withdraw_plan", session_id="{proposed}", version=1),
    "rpc transition_agent": rpc("transition_agent", agent_id="{agent}", to_status="archived"),
    "rpc retry_build": rpc("retry_build", agent_id="{failed_agent}"),
    "rpc stop_build": rpc("stop_build", agent_id="{agent}"),
    "rpc claim_builds": rpc("claim_builds", worker="{due}"),
    "rpc renew_build": rpc("renew_build", build_id="{build}", attempt=1, progress=5),
    "rpc finish_build": rpc("finish_build", build_id="{build}", attempt=1),
    "rpc fail_build": rpc("fail_build", build_id="{build}", attempt=1, message="no"),
    "rpc purge_closed_plans": rpc("purge_closed_plans", closed_before="{withdrawn}", batch_size=1000),
    "rpc purge_build_logs": rpc("purge_build_logs", ended_before="{logged}", batch_size=1000),
    "rpc claim_notifications": rpc("claim_notifications", subscriber="{subscriber}"),
    "rpc finish_notification": rpc("finish_notification", notification_id="{notification}", attempt=1),
    "rpc fail_notification": rpc("fail_notification", notification_id="{notification}", attempt=1),
    "rpc forget_subscriber": rpc("forget_subscriber", subscriber="{subscriber}"),
    "rpc purge_notifications": rpc("purge_notifications", before="{notified}", batch_size=1000),
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
    **{
        f"POST /plan/{act}": asks(
            "POST",
            f"/plan/{act}",
            json={"plan_id": "{session}", "version": 2, "title": "Two", "content": "two"},
        )
        for act in ("propose", "approve")
    },
    "mcp propose_plan": to_mcp(
        "tools/call", "propose_plan", session_id="{session}", version=2, title="Two", content="two"
    ),
    "mcp withdraw_plan": to_mcp("tools/call", "withdraw_plan", session_id="{proposed}", version=1),
}
OPERATIONS = {**READS, **WRITES}


def outcome(world: World, operation: str, role: str) -> str:
    """Try it, and say in the table's words what happened; nothing may have happened that they do not say."""
    scene = world.scene()
    request = OPERATIONS[operation](world, role, scene)
    # The token of an OAuth client deletes nothing: what the service stored before a refusal stays for retention.
    orphans = not ("OAuth client" in role and operation == "POST /plan/approve")
    account = world.account(role)
    users = (world.owner, account) if account is not world.owner else (world.owner, world.people["stranger"])
    before = [world.state(user, orphans=orphans) for user in users]
    answer = request()
    owners, others = (
        world.state(user, orphans=orphans) != earlier for user, earlier in zip(users, before, strict=True)
    )
    if owners or others:
        world.clear()
    try:
        said = answer.json()
    except ValueError:
        said = answer.text
    # A tool of MCP refuses with status 200.
    tool_error = operation.startswith("mcp ") and answer.status_code == 200 and said["result"]["isError"]
    if answer.status_code >= 400 or tool_error:
        assert not owners, f"refused, and done: {operation} as {role}"
        assert not others
        assert isinstance(said, dict), said
        if tool_error:
            return str(said["result"]["structuredContent"]["code"])
        # Storage tells the true status in the body; ours have a stable code.
        status = int(said.get("statusCode", answer.status_code))
        ours = said.get("message") if str(said.get("code", "")).startswith("PT") else None
        if answer.headers["content-type"] == "application/problem+json":
            ours = said["code"]
        return f"{status} {ours}" if ours else str(status)
    if operation in WRITES:
        if owners:
            return "yes"
        return "own" if others else "nothing"
    assert not owners, f"a read that writes: {operation} as {role}"
    assert not others
    empty = not said or (isinstance(said, list) and all(one.get("signedURL", 1) is None for one in said))
    if operation == "storage: list users" and not empty:
        names = {one["name"] for one in said}
        return "own" if names == {account.id} else "yes"
    return "nothing" if empty else "yes"


@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_cell_of_the_table(world: World, operation: str) -> None:
    found = {role: outcome(world, operation, role) for role in ROLES}

    assert found == the_table()[operation]


def test_the_table_and_the_attempts_are_the_same() -> None:
    assert set(the_table()) == set(OPERATIONS)


def ours(kind: str) -> set[str]:
    """Return the names that the migrations give to things of this kind in the exposed schema."""
    return set(re.findall(rf"^create (?:or replace )?{kind} public\.(\w+)", MIGRATIONS, re.MULTILINE))


def test_every_table_function_and_endpoint_is_in_it(world: World) -> None:
    operations = set(the_table())
    tables = world.database.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
    functions = world.database.execute(
        "select proname from pg_proc where pronamespace = 'public'::regnamespace"
    ).fetchall()
    # The project may have tables and functions of its own.
    assert ours("table") == set(TABLES) <= {name for (name,) in tables}
    assert ours("function") <= {name for (name,) in functions}
    assert {
        f"{table}: {verb}" for table in TABLES for verb in ("select", "insert", "update", "delete")
    } <= operations
    assert {operation.split(",")[0] for operation in operations if operation.startswith("rpc ")} == {
        f"rpc {name}" for name in ours("function")
    }
    tools = asyncio.run(create_server().list_tools())
    assert {operation for operation in operations if operation.startswith("mcp ")} == {
        f"mcp {tool.name}" for tool in tools
    }
    app = create_app(
        Settings(
            supabase_url="http://x",
            supabase_publishable_key="sb_publishable_x",
            metrics=True,
            mcp=True,
            service_url="http://x",
        )
    )
    assert endpoints(app.routes) == {
        operation for operation in operations if operation.startswith(("GET ", "POST "))
    }


def endpoints(routes: Iterable[Any]) -> set[str]:
    """Return the endpoints among these routes, those of included routers with them."""
    found: set[str] = set()
    for route in routes:
        if hasattr(route, "original_router"):
            found |= endpoints(route.original_router.routes)
        elif isinstance(route, APIRoute | Route):
            found |= {f"{method} {route.path}" for method in (route.methods or set()) - {"HEAD"}}
        else:
            raise TypeError(f"an endpoint of a kind that this test does not know: {route}")
    return found
