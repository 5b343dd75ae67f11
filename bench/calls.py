"""What the client, the pages and the docs send to the Data API: recorded, and sent again in other databases.

calls.mjs runs each call on a local Supabase whose Postgres logs every statement. So the SQL is that of the local
stack's Data API, with its parameters; only the ids in it are replaced.
"""

import itertools
import json
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, LiteralString

import psycopg

from bench.database import CLAIMS, Act, Clone, Connection, compare
from bench.load import User
from bench.servers import Bench
from local import NODE, ROOT
from local.processes import LocalError, free_ports
from local.stack import Settings, Stack

TEAM = "7d2c1f4e-5d0a-4f0e-9a57-3c8b1f60a2d1"
TABLES = {"plan", "agent", "agent_event", "build", "build_log"}

# As in docs/teams.md.
MEMBERSHIP: LiteralString = """
create table public.membership (
    team_id uuid not null,
    user_id uuid not null references auth.users (id) on delete cascade,
    role text not null check (role in ('viewer', 'approver')),
    primary key (user_id, team_id)
);
alter table public.membership enable row level security;
create or replace function greenlight.viewer_teams() returns setof uuid
language sql stable security definer set search_path = ''
as $$
    select m.team_id from public.membership as m where m.user_id = (select auth.uid()) and m.role = 'viewer';
$$;
create or replace function greenlight.approver_teams() returns setof uuid
language sql stable security definer set search_path = ''
as $$
    select m.team_id from public.membership as m where m.user_id = (select auth.uid()) and m.role = 'approver';
$$;
alter table public.membership owner to postgres;
"""
JOIN: LiteralString = "insert into public.membership (team_id, user_id, role) values (%s, %s, %s)"

# Each statement with its time and its process.
LOG_ALL: list[LiteralString] = [
    "alter system set log_line_prefix = '@%n %p@ '",
    "alter system set log_statement = 'all'",
    "select pg_reload_conf()",
]
ENTRY = re.compile(r"^@(\d+\.\d+) (\d+)@ ", re.MULTILINE)
PARAMETER = re.compile(r"\$\d+ = ('(?:[^']|'')*')")
OURS = re.compile(r'"?public"?\.')


@dataclass(frozen=True)
class Statement:
    text: str
    parameters: tuple[str, ...]

    def replaced(self, ids: Mapping[str, str]) -> "Statement":
        return Statement(self.text, tuple(ids.get(text, text) for text in self.parameters))


# One transaction of the Data API.
Request = list[Statement]


@dataclass(frozen=True)
class Recording:
    """The requests of each call, and what the ids in them stand for."""

    calls: dict[str, list[Request]]
    owner: str
    approver: str
    session: str
    agent: str
    build: str


def record(directory: Path) -> Recording:
    """Run each call once on a stack of its own."""
    bundle = directory / "calls.mjs"
    _run(
        [
            *(NODE, ROOT / "node_modules" / "rolldown" / "bin" / "cli.mjs", ROOT / "bench" / "calls.mjs"),
            *("--file", bundle, "--platform", "node", "--tsconfig", ROOT / "ui" / "tsconfig.json"),
        ],
        {},
    )
    settings = Settings(directory / "recorded", *free_ports(4))
    with Stack(settings, service=False) as stack:
        bench = Bench.of(stack, directory)
        owner, member, approver = bench.sign_up(3)
        with psycopg.connect(stack.postgres.url("supabase_admin"), autocommit=True) as admin:
            admin.execute(MEMBERSHIP)
            for user, role in ((member, "viewer"), (approver, "approver")):
                admin.execute(JOIN, (TEAM, user.id, role))
            for statement in LOG_ALL:
                admin.execute(statement)
        lines = _run([NODE, bundle], _variables(bench, owner, member, approver)).splitlines()
        ids, *calls = map(json.loads, lines)
        requests = _requests((settings.directory / "logs" / "postgres.log").read_text())
    found = {
        call["name"]: [request for at, request in requests if call["began"] <= at <= call["ended"]]
        for call in calls
    }
    if empty := [name for name, requests in found.items() if not requests]:
        raise LocalError(f"No statement was recorded of {', '.join(empty)}.")
    return Recording(found, owner.id, approver.id, ids["sessionId"], ids["agentId"], ids["buildId"])


def _variables(bench: Bench, owner: User, member: User, approver: User) -> dict[str, str]:
    return {
        "SUPABASE_URL": bench.supabase_url,
        "SUPABASE_PUBLISHABLE_KEY": bench.key,
        "SUPABASE_SECRET_KEY": bench.secret_key,
        "OWNER": owner.token,
        "MEMBER": member.token,
        "APPROVER": approver.token,
        "TEAM_ID": TEAM,
    }


def _run(command: list[str | Path], variables: Mapping[str, str]) -> str:
    result = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=ROOT, env={**os.environ, **variables}
    )
    if result.returncode != 0:
        raise LocalError(f"{command[1]} failed:\n{result.stdout}{result.stderr}")
    return result.stdout


def _requests(log: str) -> list[tuple[float, Request]]:
    """Return the statements on our tables and functions, by transaction, each with its end in milliseconds."""
    _, *parts = ENTRY.split(log)
    entries = list(zip(parts[::3], parts[1::3], parts[2::3], strict=True))
    found: list[tuple[float, Request]] = []
    under_way: dict[str, Request] = {}
    for at, process, entry in entries:
        kind, _, text = entry.partition(":")
        text = re.sub(r"^\s*(execute <unnamed>|statement): ", "", text).replace("\n\t", "\n").strip()
        statements = under_way.setdefault(process, [])
        if kind == "LOG" and text == "commit":
            if statements:
                found.append((float(at) * 1000, statements))
            under_way[process] = []
        elif kind == "LOG" and text.startswith("select") and OURS.search(text):
            statements.append(Statement(text, ()))
        elif kind == "DETAIL" and statements and not statements[-1].parameters:
            values = (value[1:-1].replace("''", "'") for value in PARAMETER.findall(text))
            statements[-1] = Statement(statements[-1].text, tuple(values))
    return found


def send(connection: Connection, user: str, requests: list[Request]) -> None:
    """Send these requests as this user, each in one go, as the Data API does."""
    claims = json.dumps({"sub": user, "role": "authenticated"})
    for request in requests:
        with connection.pipeline():
            connection.execute(CLAIMS, ("authenticated", claims), prepare=True)
            cursors = [psycopg.RawCursor(connection) for _ in request]
            for cursor, statement in zip(cursors, request, strict=True):
                cursor.execute(statement.text.encode(), statement.parameters, prepare=True)
            connection.commit()
            for cursor in cursors:
                cursor.fetchall()


def replaced(requests: list[Request], ids: Mapping[str, str]) -> list[Request]:
    return [[statement.replaced(ids) for statement in request] for request in requests]


def read_whole(connection: Connection, user: str, requests: list[Request]) -> list[str]:
    """Return those of our tables that Postgres would read from beginning to end."""
    claims = json.dumps({"sub": user, "role": "authenticated"})
    tables: list[str] = []
    for statement in itertools.chain(*requests):
        with connection.transaction():
            connection.execute(CLAIMS, ("authenticated", claims))
            cursor = psycopg.RawCursor(connection)
            cursor.execute(f"explain (format json) {statement.text}".encode(), statement.parameters)
            (row,) = cursor.fetchall()
        tables += _scanned(row[0][0]["Plan"])
    return tables


def _scanned(plan: dict[str, Any]) -> list[str]:
    table = plan.get("Relation Name")
    own = [table] if plan["Node Type"] == "Seq Scan" and table in TABLES else []
    return own + [name for below in plan.get("Plans", []) for name in _scanned(below)]


def growth(
    clones: list[Clone], recording: Recording, rounds: int, count: int
) -> dict[str, list[list[float]]]:
    """Return, for each of the owner's calls, each round's median in seconds of each clone."""
    return compare(clones, partial(_acts, recording), rounds, count)


def whole_tables(clone: Clone, recording: Recording) -> dict[str, list[str]]:
    """Return what read_whole() says of the owner's calls, of those where there is anything."""
    (user,) = clone.users(1)
    (ids,) = _ids(clone, recording, [user])
    with clone.connect("authenticator") as connection:
        found = {
            name: read_whole(connection, user, replaced(requests, ids))
            for name, requests in _owners(recording).items()
        }
    return {name: tables for name, tables in found.items() if tables}


def _owners(recording: Recording) -> dict[str, list[Request]]:
    """Return the calls that do not belong to bench/teams.py."""
    return {name: of for name, of in recording.calls.items() if not name.startswith("an ")}


def _acts(recording: Recording, clone: Clone, connection: Connection, count: int) -> dict[str, Act]:
    users = clone.users(count)
    ids = _ids(clone, recording, users)

    def act(requests: list[Request]) -> Act:
        ready = [replaced(requests, of) for of in ids]
        return lambda at: send(connection, users[at], ready[at])

    return {name: act(requests) for name, requests in _owners(recording).items()}


def _ids(clone: Clone, recording: Recording, users: list[str]) -> list[dict[str, str]]:
    """Return, for each user, what stands in the place of the recorded ids."""
    find: LiteralString = (
        "select agent.id::text, build.id::text from public.agent join public.build on build.agent_id = agent.id"
        " where agent.user_id = %s and agent.session_id = %s"
    )
    found = []
    for user, session in zip(users, clone.sessions(users), strict=True):
        agent, build = clone.root.execute(find, (user, session)).fetchone() or ("", "")
        found.append(
            {
                recording.owner: user,
                recording.session: session,
                recording.agent: agent,
                recording.build: build,
            }
        )
    return found
