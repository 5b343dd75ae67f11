"""The database alone: approvals per second, and what a million plans change.

Two clones of the migrated database, one small and one large, each approval and each read as the Data API makes it: the
role and the claims of the user, then one statement, in one transaction, through the policies.
"""

import hashlib
import json
import random
import statistics
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString

import psutil
import psycopg
from psycopg import sql

from local import ROOT
from local.stack import Stack

Connection = psycopg.Connection[Any]
# Of 0.2.0.
EARLIER = sorted((ROOT / "supabase/migrations").glob("*.sql"))[:6]

# Users are the same in both sizes; only their number grows.
PLANS_PER_USER = 200
TURN = 10
BATCH = 250

# `replica` switches off foreign keys and triggers, with which this would take half an hour. The rows follow
# their rules anyway.
SEED: list[LiteralString] = [
    "set session_replication_role = 'replica'",
    """
    insert into auth.users (id, email)
    select gen_random_uuid(), 'user' || n || '@example.com' from generate_series(1, %(users)s) as n
    """,
    """
    insert into storage.objects (bucket_id, name, owner_id, metadata)
    select
        'plans',
        users.id || '/' || left(users.id::text, 8) || '-' || n || '/'
        || encode(sha256((users.id || '/' || n)::bytea), 'hex') || '.md',
        users.id::text,
        '{"size": 16384, "mimetype": "text/markdown"}'
    from generate_series(1, %(each)s) as n cross join auth.users
    """,
    """
    insert into public.plan (
        user_id, session_id, version, title, document_id, document_path, document_sha256, document_url, created_at,
        decided_at
    )
    select
        split_part(name, '/', 1)::uuid,
        split_part(name, '/', 2),
        1,
        'Customer support agent',
        id,
        name,
        left(split_part(name, '/', 3), 64),
        'https://abcdefghijklmnopqrst.supabase.co/storage/v1/object/sign/plans/' || name
        || '?token=' || repeat('x', 300),
        now() - random() * interval '100 days',
        now()
    from storage.objects
    """,
    """
    insert into public.agent (user_id, session_id, plan_id, name, status, created_at)
    select user_id, session_id, id, title, 'active', created_at from public.plan
    """,
    """
    insert into public.agent_event (
        user_id, agent_id, plan_id, kind, from_status, to_status,
        version, document_sha256, actor, actor_role, created_at
    )
    select
        agent.user_id, agent.id, plan.id, kind, from_status, to_status,
        1, plan.document_sha256, agent.user_id, 'authenticated', agent.created_at
    from public.agent
    join public.plan on plan.id = agent.plan_id
    cross join (
        values ('approved', null, 'building'), ('status_changed', 'building', 'active')
    ) as event (kind, from_status, to_status)
    """,
    "reset session_replication_role",
    "vacuum (analyze, freeze) auth.users, storage.objects, public.plan, public.agent, public.agent_event",
    "checkpoint",
]

CLAIMS: LiteralString = "select set_config('role', %s, true), set_config('request.jwt.claims', %s, true)"

APPROVE: LiteralString = "select to_jsonb(public.approve_plan(%s, 1, 'Customer support agent', %s, %s))"

# The same rows (plan, agent, build) as one statement, into the same tables and indexes; without the checks, the audit
# log and the claims. The triggers that write the log and the build are off meanwhile.
BARE: LiteralString = """
with plan as (
    insert into public.plan (
        user_id, session_id, version, title, document_id, document_path, document_sha256, document_url, decided_at
    )
    values (%s, %s, 1, 'Customer support agent', %s, %s, %s, %s, now())
    returning id, user_id, session_id, title
),
agent as (
    insert into public.agent (user_id, session_id, plan_id, name)
    select user_id, session_id, id, title from plan
    returning id, user_id, plan_id
)
insert into public.build (user_id, agent_id, plan_id)
select user_id, id, plan_id from agent returning id
"""

PROPOSE: LiteralString = "select to_jsonb(public.propose_plan(%s, 1, 'Customer support agent', %s, %s))"

LIST_WAITING: LiteralString = (
    "select * from public.plan where status = 'proposed' order by created_at desc limit 20"
)

CLAIM: LiteralString = "select build_id, attempt from public.claim_builds('bench', 1, 60)"

LIST_NEWEST: LiteralString = "select * from public.plan order by created_at desc limit 20"

# As PostgREST embeds: agent?id=eq.…&select=*,plan(*),agent_event(*),build(*)
OPEN_AGENT: LiteralString = """
select
    agent.*, row_to_json(agent_plan.*) as plan, coalesce(agent_events.list, '[]') as agent_event,
    coalesce(agent_builds.list, '[]') as build
from public.agent
left join lateral (
    select plan.* from public.plan
    where plan.user_id = agent.user_id and plan.session_id = agent.session_id and plan.id = agent.plan_id
) as agent_plan on true
left join lateral (
    select json_agg(event.* order by event.id) as list from public.agent_event as event
    where event.agent_id = agent.id and event.user_id = agent.user_id
) as agent_events on true
left join lateral (
    select json_agg(build.* order by build.created_at) as list from public.build
    where build.agent_id = agent.id and build.user_id = agent.user_id
) as agent_builds on true
where agent.id = %s
"""


@dataclass(frozen=True)
class Document:
    """A stored one, not approved yet."""

    user_id: str
    session_id: str
    sha256: str
    id: uuid.UUID

    @property
    def path(self) -> str:
        return f"{self.user_id}/{self.session_id}/{self.sha256}.md"

    @property
    def url(self) -> str:
        return f"https://x.example/storage/v1/object/sign/plans/{self.path}?token=" + "x" * 300


def give_memory(stack: Stack) -> None:
    """Give Postgres a quarter of the machine's memory, as in hosted projects; its default is 128 MB."""
    memory = psutil.virtual_memory().total // 4 // 2**20
    with psycopg.connect(stack.postgres.url("supabase_admin"), autocommit=True) as admin:
        for setting, megabytes in (("shared_buffers", memory), ("max_wal_size", 8192)):
            admin.execute(sql.SQL("alter system set {} = {}").format(sql.SQL(setting), f"{megabytes}MB"))


class Clone:
    """A copy of the migrated database, to which there must be no other connection, or one with fewer migrations.

    With `model`, a copy of this one.
    """

    def __init__(  # noqa: PLR0913 -- named
        self,
        stack: Stack,
        name: str,
        plans: int,
        migrations: Iterable[Path] = (),
        *,
        each: int = PLANS_PER_USER,
        model: "Clone | None" = None,
    ) -> None:
        self._stack = stack
        self._each = each
        self.name = name
        template = model.name if model else "template0" if migrations else "postgres"
        self.root: Connection
        if model:
            model.root.close()
        with psycopg.connect(stack.postgres.url("supabase_admin"), autocommit=True) as admin:
            create = sql.SQL("create database {} template {} strategy file_copy")
            admin.execute(create.format(sql.Identifier(name), sql.Identifier(template)))
        if model:
            model.root = model.connect("supabase_admin", autocommit=True)
        self.root = self.connect("supabase_admin", autocommit=True)
        if migrations:
            self.root.execute((ROOT / "local/platform.sql").read_bytes())
            self.root.execute(sql.SQL("alter database {} owner to postgres").format(sql.Identifier(name)))
        for migration in migrations:
            with self.root.transaction():
                self.root.execute("set local role postgres")
                self.root.execute(migration.read_bytes())
        size = {"users": plans // each, "each": each}
        for statement in [] if model else SEED:
            self.root.execute(statement, size if "%(" in statement else None)
        self._users = [str(row[0]) for row in self.root.execute("select id from auth.users order by email")]
        self._dice = random.Random(plans)

    def connect(self, role: str, *, autocommit: bool = False) -> Connection:
        url = self._stack.postgres.url(role).rsplit("/", 1)[0]
        # Waiting for the disk at each commit would be most of the time, and the same for all.
        options = "-c synchronous_commit=off"
        return psycopg.connect(f"{url}/{self.name}", autocommit=autocommit, options=options)

    def drop(self) -> None:
        self.root.close()
        with psycopg.connect(self._stack.postgres.url("supabase_admin"), autocommit=True) as admin:
            admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(self.name)))

    def bytes_per_plan(self) -> float:
        row = self.root.execute(
            "select sum(pg_total_relation_size(oid)) / (select count(*) from public.plan) from pg_class where oid in"
            " ('storage.objects'::regclass, 'public.plan'::regclass, 'public.agent'::regclass,"
            " 'public.agent_event'::regclass)"
        ).fetchone()
        return float(row[0]) if row else 0.0

    def users(self, count: int) -> list[str]:
        return self._dice.choices(self._users, k=count)

    def agents(self, users: list[str]) -> list[uuid.UUID]:
        """Return an agent of each."""
        find: LiteralString = "select id from public.agent where user_id = %s and session_id = %s"
        pairs = zip(users, self.sessions(users), strict=True)
        found = (self.root.execute(find, pair).fetchone() for pair in pairs)
        return [row[0] for row in found if row]

    def sessions(self, users: list[str]) -> list[str]:
        """Return a session of each."""
        return [f"{user[:8]}-{self._dice.randint(1, self._each)}" for user in users]

    def documents(self, count: int) -> list[Document]:
        """Store so many new ones."""
        documents = []
        insert: LiteralString = (
            "insert into storage.objects (bucket_id, name, owner_id) values ('plans', %s, %s) returning id"
        )
        with self.root.transaction():
            for user in self.users(count):
                session = uuid.uuid4().hex
                sha256 = hashlib.sha256(session.encode()).hexdigest()
                row = self.root.execute(insert, (f"{user}/{session}/{sha256}.md", user)).fetchone()
                documents += [Document(user, session, sha256, row[0])] if row else []
        return documents


def as_user(connection: Connection, user: str, query: LiteralString, parameters: tuple[object, ...]) -> Any:
    return request(connection, {"sub": user, "role": "authenticated"}, query, parameters)


def request(
    connection: Connection, claims: dict[str, str], query: LiteralString, parameters: tuple[object, ...]
) -> Any:
    """One request of the Data API: sent in one go, so that the ways between client and server count once."""
    with connection.pipeline():
        connection.execute(CLAIMS, (claims["role"], json.dumps(claims)), prepare=True)
        cursor = connection.execute(query, parameters, prepare=True)
        connection.commit()
        return cursor.fetchall()


def approve(connection: Connection, document: Document) -> None:
    (answer,) = as_user(
        connection, document.user_id, APPROVE, (document.session_id, document.sha256, document.url)
    )
    if answer[0]["created"] is not True:
        raise RuntimeError(f"not approved: {answer}")


def propose(connection: Connection, document: Document) -> None:
    (answer,) = as_user(
        connection, document.user_id, PROPOSE, (document.session_id, document.sha256, document.url)
    )
    if answer[0]["status"] != "proposed":
        raise RuntimeError(f"not proposed: {answer}")


def claim(connection: Connection) -> None:
    """Claim one of the builds that the approvals before have queued."""
    if len(request(connection, {"role": "service_role"}, CLAIM, ())) != 1:
        raise RuntimeError("nothing to claim")


def insert(connection: Connection, document: Document) -> None:
    d = document
    with connection.pipeline():
        cursor = connection.execute(
            BARE, (d.user_id, d.session_id, d.id, d.path, d.sha256, d.url), prepare=True
        )
        connection.commit()
        if len(cursor.fetchall()) != 1:
            raise RuntimeError("not inserted")


def throughput(clone: Clone, rounds: int, count: int) -> tuple[list[float], list[float]]:
    """Return approvals per second, and bare statements per second, of each round; some of each by turns."""
    rates: dict[str, list[float]] = {"approve": [], "insert": []}
    with clone.connect("authenticator") as user, clone.connect("postgres") as owner:
        for number in range(rounds + 1):
            seconds = dict.fromkeys(rates, 0.0)
            for turn in range(count // BATCH):
                for name in sorted(rates, reverse=bool(turn % 2)):
                    documents = clone.documents(BATCH)
                    with agent_triggers(clone, on=name == "approve"):
                        began = time.perf_counter()
                        for document in documents:
                            if name == "approve":
                                approve(user, document)
                            else:
                                insert(owner, document)
                        seconds[name] += time.perf_counter() - began
            if number:  # the first round fills caches and prepares statements
                for name, spent in seconds.items():
                    rates[name].append(count / spent)
    return rates["approve"], rates["insert"]


@contextmanager
def agent_triggers(clone: Clone, *, on: bool) -> Iterator[None]:
    if not on:
        clone.root.execute("alter table public.agent disable trigger user")
    yield
    if not on:
        clone.root.execute("alter table public.agent enable trigger user")


Act = Callable[[int], object]


def growth(clones: list[Clone], rounds: int, count: int) -> dict[str, list[list[float]]]:
    """Return, for each act, each round's median in seconds of each clone."""
    return compare(clones, _acts, rounds, count)


def compare(
    clones: Sequence[Clone],
    make_acts: Callable[[Clone, Connection, int], dict[str, Act]],
    rounds: int,
    count: int,
) -> dict[str, list[list[float]]]:
    """Return, for each act, each round's median in seconds of each clone; in alternating order."""
    medians: dict[str, list[list[float]]] = {}
    with ExitStack() as stack:
        connections = [stack.enter_context(clone.connect("authenticator")) for clone in clones]
        for number in range(rounds + 1):
            acts = [make_acts(*pair, count) for pair in zip(clones, connections, strict=True)]
            order = range(len(acts)) if number % 2 else range(len(acts))[::-1]
            for name in acts[0]:
                times: list[list[float]] = [[] for _ in acts]
                # In turns, a few at a time, so that other load on the machine affects all of them alike.
                for first in range(0, count, TURN):
                    for which in order:
                        act = acts[which][name]
                        for position in range(first, min(first + TURN, count)):
                            began = time.perf_counter()
                            act(position)
                            times[which].append(time.perf_counter() - began)
                if number:  # the first round fills caches and prepares statements
                    medians.setdefault(name, []).append([statistics.median(each) for each in times])
    return medians


def _acts(clone: Clone, connection: Connection, count: int) -> dict[str, Act]:
    documents, proposals = clone.documents(count), clone.documents(count)
    return {
        "approve": lambda at: approve(connection, documents[at]),
        "claim": lambda _: claim(connection),
        "propose": lambda at: propose(connection, proposals[at]),
    }
