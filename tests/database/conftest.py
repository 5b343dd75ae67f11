"""A real Postgres prepared like a hosted Supabase project, with Greenlight pushed by the real CLI.

Each test gets a database that is like a template: `wide`, with the default privileges of older hosted projects, or
`narrow`, with those of new ones. Both have the tables of the newest storage-api; `old` has those of storage-api 1.70,
where the name of an object is unique. It is a clone, or the clone that the last test had, without that test's rows.
"""

import json
import os
import random
import re
import subprocess
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row
from pytest_postgresql import factories
from pytest_postgresql.executors import NoopExecutor

from tests import SEED, SOAK
from tests.plan import sha256

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
LOCAL = ROOT / "local"
CLI = ROOT / "node_modules/.bin/supabase"

Row = dict[str, Any]

# What can have become of version 1 of a session; see Project.plan_in().
STATES = (
    "proposed",
    "expired",
    "changes_requested",
    "rejected",
    "withdrawn",
    "replaced",
    "approved",
    "directly-approved",
    "superseded",
    "archived",
)
Connection = psycopg.Connection[Row]


def dsn(host: str, port: str | int, dbname: str, user: str) -> str:
    return f"postgresql://{user}@{host}:{port}/{dbname}?sslmode=disable"


def give_to_postgres(host: str, port: int, dbname: str, **_: object) -> None:
    """As on hosted projects. A cloned database belongs to the role that cloned it."""
    with psycopg.connect(dsn(host, port, dbname, "supabase_admin")) as connection:
        connection.execute(sql.SQL("alter database {} owner to postgres").format(sql.Identifier(dbname)))


def load_old_platform(host: str, port: int, dbname: str, **_: object) -> None:
    """Make of the database what a hosted project is before us, with the tables of storage-api 1.70."""
    with psycopg.connect(dsn(host, port, dbname, "supabase_admin")) as connection:
        connection.execute((LOCAL / "platform.sql").read_bytes())


def load_new_storage(host: str, port: int, dbname: str, **_: object) -> None:
    """Do what newer versions of storage-api do when they start."""
    with psycopg.connect(dsn(host, port, dbname, "supabase_admin")) as connection:
        connection.execute((LOCAL / "storage.sql").read_bytes())


def load_platform(host: str, port: int, dbname: str, **_: object) -> None:
    """Make of the database what a hosted project is before us; the local stack reads the same files."""
    load_old_platform(host, port, dbname)
    load_new_storage(host, port, dbname)


def widen_privileges(host: str, port: int, dbname: str, **_: object) -> None:
    with psycopg.connect(dsn(host, port, dbname, "supabase_admin")) as connection:
        connection.execute((LOCAL / "wide_privileges.sql").read_bytes())


def push(host: str, port: int, dbname: str, **_: object) -> None:
    result = push_result(dsn(host, port, dbname, "postgres"))
    assert result.returncode == 0, result.stderr


def push_result(database_url: str, workdir: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """`supabase db push`, as postgres, which is no superuser."""
    return subprocess.run(
        [CLI, "db", "push", f"--remote={database_url}", "--yes", "--workdir", workdir],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "DO_NOT_TRACK": "1"},
    )


server = factories.postgresql_proc(
    executable=str(HERE / "pg_ctl"),
    user="supabase_admin",
    postgres_options="-c fsync=off -c max_connections=200 -c log_min_messages=panic",
    load=[load_old_platform],
)
narrow_template = factories.postgresql_noproc(
    dbname="narrow", depends_on="server", load=[load_new_storage, give_to_postgres, push]
)
wide_template = factories.postgresql_noproc(
    dbname="wide", depends_on="server", load=[load_new_storage, give_to_postgres, widen_privileges, push]
)
old_template = factories.postgresql_noproc(
    dbname="old", depends_on="server", load=[give_to_postgres, widen_privileges, push]
)
bare_template = factories.postgresql_noproc(
    dbname="bare", depends_on="server", load=[load_new_storage, widen_privileges]
)


def sql_of_teams(heading: str) -> bytes:
    """Return the SQL below this heading of docs/teams.md."""
    page = (ROOT / "docs/teams.md").read_text()
    section = page.partition(f"\n{heading}\n")[2].partition("\n#")[0]
    statements = re.findall(r"^```sql\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    assert statements, heading
    return "\n".join(statements).encode()


def have_teams(host: str, port: int, dbname: str, **_: object) -> None:
    """Do what docs/teams.md tells an adopter to do."""
    with psycopg.connect(dsn(host, port, dbname, "postgres")) as connection:
        connection.execute(sql_of_teams("## In five minutes"))


teams_template = factories.postgresql_noproc(
    dbname="teams", depends_on="wide_template", load=[give_to_postgres, have_teams]
)


@dataclass(frozen=True)
class User:
    """A user with one of their tokens. Extra claims make it the token of an OAuth client, or of another login."""

    id: uuid.UUID
    claims: Mapping[str, object] = field(default_factory=dict, compare=False)

    def with_claims(self, **claims: object) -> "User":
        return User(self.id, {**self.claims, **claims})

    def path(self, session: str, sha256: str) -> str:
        return f"{self.id}/{session}/{sha256}.md"


def document_of(session: str, version: int) -> str:
    """The document that store_and_approve() and store_and_propose() use."""
    return f"# {session} {version}"


def signed_url(user: User, session: str | None, digest: str) -> str:
    return f"https://x.example/storage/v1/object/sign/plans/{user.path(session or '', digest)}?token=t"


class Project:
    """One Supabase project: who may connect to it, and the few things that every story needs."""

    def __init__(self, host: str, port: int, dbname: str) -> None:
        self.host, self.port, self.dbname = host, port, dbname
        self.idle: dict[str, list[Connection]] = {}

    def dsn(self, user: str) -> str:
        return dsn(self.host, self.port, self.dbname, user)

    @contextmanager
    def transaction(self, user: str) -> Iterator[Connection]:
        """One transaction of this login, on a connection of its own."""
        idle = self.idle.setdefault(user, [])
        connection = idle.pop() if idle else psycopg.connect(self.dsn(user), row_factory=dict_row)
        try:
            with connection.transaction():
                yield connection
        finally:
            connection.rollback()  # after a commit that the statement timeout has cut off; else it does nothing
            idle.append(connection)

    def close(self) -> None:
        for connection in chain.from_iterable(self.idle.values()):
            connection.close()

    @contextmanager
    def as_role(self, role: str, claims: Mapping[str, object] | None = None) -> Iterator[Connection]:
        """One request as the Data API makes it: authenticator, the role of the token, its claims, one transaction."""
        with self.transaction("authenticator") as connection:
            connection.execute(
                "select set_config('role', %s, true), set_config('request.jwt.claims', %s, true)",
                (role, json.dumps({"role": role, **(claims or {})})),
            )
            # The role never logs in, so PostgREST applies its settings: statement_timeout above all.
            connection.execute(
                "select set_config(split_part(setting, '=', 1), split_part(setting, '=', 2), true)"
                " from pg_catalog.pg_roles, unnest(rolconfig) as setting where rolname = %s",
                (role,),
            )
            yield connection

    def as_user(self, user: User) -> AbstractContextManager[Connection]:
        return self.as_role("authenticated", {"sub": str(user.id), **user.claims})

    def as_anon(self) -> AbstractContextManager[Connection]:
        return self.as_role("anon")

    def as_service_role(self) -> AbstractContextManager[Connection]:
        return self.as_role("service_role")

    def as_superuser(self) -> AbstractContextManager[Connection]:
        return self.transaction("supabase_admin")

    def rows(self, query: str, *parameters: object) -> list[Row]:
        """What is really there, read as a superuser: no policy applies."""
        with self.as_superuser() as connection:
            return connection.execute(query, parameters).fetchall()

    def new_user(self) -> User:
        user = User(uuid.uuid4())
        with self.as_superuser() as connection:
            connection.execute(
                "insert into auth.users (id, email) values (%s, %s)", (user.id, f"{user.id}@example.com")
            )
        return user

    def sign_in(self, user: User, client_id: object = None) -> str:
        """What Supabase Auth does: a session, of an OAuth client if there is one. Answers its id, for the token."""
        (session,) = self.rows(
            "insert into auth.sessions (id, user_id, oauth_client_id)"
            " values (gen_random_uuid(), %s, %s) returning id::text",
            user.id,
            client_id,
        )
        return str(session["id"])

    def change_setting(self, **columns: object) -> None:
        """What the adopter does in the SQL editor."""
        changes = ", ".join(f"{column} = %({column})s" for column in columns)
        with self.as_superuser() as connection:
            connection.execute("set local role postgres")
            connection.execute(f"update greenlight.setting set {changes}", columns)

    def join(self, user: User, team: uuid.UUID, role: str = "approver") -> None:
        """What the adopter's app does; needs team_project."""
        with self.as_superuser() as connection:
            connection.execute(
                "insert into public.membership (team_id, user_id, role) values (%(team)s, %(user)s, %(role)s)"
                " on conflict (user_id, team_id) do update set role = %(role)s",
                {"team": team, "user": user.id, "role": role},
            )

    def leave(self, user: User, team: uuid.UUID) -> None:
        with self.as_superuser() as connection:
            connection.execute(
                "delete from public.membership where team_id = %s and user_id = %s", (team, user.id)
            )

    def delete_user(self, user: User) -> None:
        with self.as_superuser() as connection:
            connection.execute("delete from auth.users where id = %s", (user.id,))

    def store(self, user: User, session: str = "s1", document: str = "# Plan") -> str:
        """What storage does on an upload by this user: insert the object's row as them. Answers the hash."""
        digest = sha256(document)
        with self.as_user(user) as connection:
            connection.execute(
                "insert into storage.objects (bucket_id, name, owner_id) values ('plans', %s, %s)"
                " on conflict do nothing",
                (user.path(session, digest), str(user.id)),
            )
        return digest

    def delete_object(
        self, name: str, role: str = "service_role", claims: Mapping[str, object] | None = None
    ) -> int:
        """What storage does on a delete: it alone may say storage.allow_delete_query. Answers how many went."""
        with self.as_role(role, claims) as connection:
            connection.execute("select set_config('storage.allow_delete_query', 'true', true)")
            return connection.execute(
                "delete from storage.objects where bucket_id = 'plans' and name = %s", (name,)
            ).rowcount

    def approve(
        self,
        user: User,
        session: str | None = "s1",
        version: int | None = 1,
        title: str | None = "A plan",
        document_sha256: str | None = None,
        document_url: str | None = None,
        document: str = "# Plan",
    ) -> Row:
        """Call approve_plan() as the user. The document must have been stored."""
        digest = sha256(document) if document_sha256 is None else document_sha256
        url = document_url or signed_url(user, session, digest)
        with self.as_user(user) as connection:
            row = connection.execute(
                "select * from public.approve_plan(session_id => %s, version => %s, title => %s,"
                " document_sha256 => %s, document_url => %s)",
                (session, version, title, digest, url),
            ).fetchone()
        assert row is not None
        return row

    def store_and_approve(
        self, user: User, session: str = "s1", version: int = 1, title: str = "A plan"
    ) -> Row:
        document = document_of(session, version)
        self.store(user, session, document)
        return self.approve(user, session, version, title, document=document)

    def propose(
        self,
        user: User,
        session: str | None = "s1",
        version: int | None = 1,
        title: str | None = "A plan",
        *,
        document: str = "# Plan",
        service_role: bool = False,
        **arguments: object,
    ) -> Row:
        """Call propose_plan() as the user, or as the service role for them. The document must have been stored."""
        digest = sha256(document)
        named: dict[str, object] = {
            "session_id": session,
            "version": version,
            "title": title,
            "document_sha256": digest,
            "document_url": signed_url(user, session, digest),
            **({"user_id": user.id} if service_role else {}),
        }
        return self.call(None if service_role else user, "propose_plan", **{**named, **arguments})

    def store_and_propose(
        self, user: User, session: str = "s1", version: int = 1, title: str = "A plan", **arguments: Any
    ) -> Row:
        document = document_of(session, version)
        self.store(user, session, document)
        return self.propose(user, session, version, title, document=document, **arguments)

    def approve_proposed(
        self,
        user: User,
        session: str = "s1",
        version: int = 1,
        document: str | None = None,
        **arguments: object,
    ) -> Row:
        """Approve what store_and_propose() proposed, by session, version and hash alone."""
        digest = sha256(document_of(session, version) if document is None else document)
        named = {"session_id": session, "version": version, "document_sha256": digest}
        return self.call(user, "approve_plan", **{**named, **arguments})

    def decide(
        self, user: User | None, decision: str, session: str = "s1", version: int = 1, **arguments: object
    ) -> Row:
        """Call request_changes(), reject_plan() or withdraw_plan()."""
        if decision == "request_changes":
            arguments.setdefault("comment", "Please change it.")
        return self.call(user, decision, session_id=session, version=version, **arguments)

    def plan(self, user: User, session: str = "s1", version: int = 1) -> Row:
        (plan,) = self.rows(
            "select * from public.plan where user_id = %s and session_id = %s and version = %s",
            user.id,
            session,
            version,
        )
        return plan

    def call(self, user: User | None, function: str, **arguments: object) -> Row:
        """Call one of our functions as the user, or as the service role if user is None."""
        named = ", ".join(f"{name} => %({name})s" for name in arguments)
        with self.as_user(user) if user else self.as_service_role() as connection:
            row: Row | None = connection.execute(
                f"select * from public.{function}({named})", arguments
            ).fetchone()
        assert row is not None
        return row

    def backdate(self, user: User, session: str, version: int, **columns: object) -> None:
        """Set times of a plan that no one could set afterwards. Triggers are off, constraints stay on."""
        changes = ", ".join(f"{column} = %({column})s" for column in columns)
        with self.as_superuser() as connection:
            connection.execute("set local session_replication_role = replica")
            changed = connection.execute(
                f"update public.plan set {changes}"
                " where user_id = %(user)s and session_id = %(session)s and version = %(version)s",
                {**columns, "user": user.id, "session": session, "version": version},
            )
            assert changed.rowcount == 1

    def expire(self, user: User, session: str = "s1", version: int = 1) -> None:
        now = datetime.now(UTC)
        made, ended = now - timedelta(hours=2), now - timedelta(hours=1)
        self.backdate(user, session, version, created_at=made, expires_at=ended)

    def plan_in(self, user: User, state: str, session: str = "s1") -> Row:
        """Bring version 1 of this session into this state; `replaced` is superseded undecided."""
        if state == "directly-approved":
            self.store_and_approve(user, session)
            return self.plan(user, session)
        self.store_and_propose(user, session)
        match state:
            case "proposed":
                pass
            case "expired":
                self.expire(user, session)
            case "changes_requested":
                self.decide(user, "request_changes", session)
            case "rejected":
                self.decide(user, "reject_plan", session, comment="No.")
            case "withdrawn":
                self.decide(user, "withdraw_plan", session)
            case "replaced":
                self.store_and_propose(user, session, 2)
            case _:
                agent_id = self.approve_proposed(user, session)["agent_id"]
                if state == "superseded":
                    self.store_and_approve(user, session, 2)
                elif state == "archived":
                    self.call(user, "transition_agent", agent_id=agent_id, to_status="archived")
                else:
                    assert state == "approved"
        return self.plan(user, session)

    def everything(self) -> dict[str, list[Row]]:
        """Every row, with the transaction that wrote it. Equal before and after: nothing was written."""
        return {
            table: self.rows(f"select *, xmin::text from public.{table} order by id")
            for table in ("plan", "agent", "agent_event", "build")
        }

    # The builder's side ---------------------------------------------------------------------------------------

    def claim(self, max_builds: int | None = 1, **arguments: object) -> list[Row]:
        named = {"worker": "a test", "max_builds": max_builds, **arguments}
        with self.as_service_role() as connection:
            return connection.execute(
                f"select * from public.claim_builds({', '.join(f'{name} => %({name})s' for name in named)})",
                named,
            ).fetchall()

    def make_due(self, build_id: object) -> None:
        """Let the wait of a queued build, or the lease of a running one, be over, and make it the next one."""
        with self.as_superuser() as connection:
            connection.execute(
                "update public.build set run_after = now() - interval '1 day' where id = %s"
                " returning setval('greenlight.last_owner', uuid_hash_extended(user_id, 0) - 1)",
                (build_id,),
            )

    def let_time_pass(self) -> None:
        """Let every lease end and every wait be over, but of builds that are locked at this moment."""
        with self.as_superuser() as connection:
            connection.execute(
                """
                update public.build set run_after = now() - interval '1 second'
                where id in (
                    select id from public.build where status in ('queued', 'running') for update skip locked
                )
                """
            )

    def claim_agent(self, agent_id: object, **arguments: object) -> Row:
        """Claim the open build of this agent, whatever else is waiting."""
        (build,) = self.open_builds(agent_id)
        self.make_due(build["id"])
        (claimed,) = self.claim(1, **arguments)
        assert claimed["agent_id"] == agent_id
        return claimed

    def finish(self, claimed: Row, **arguments: object) -> Row:
        named = {"build_id": claimed["build_id"], "attempt": claimed["attempt"]}
        return self.call(None, "finish_build", **named, **arguments)

    def fail(self, claimed: Row, message: str | None = "It broke.", **arguments: object) -> Row:
        named = {"build_id": claimed["build_id"], "attempt": claimed["attempt"], "message": message}
        return self.call(None, "fail_build", **named, **arguments)

    def renew(self, claimed: Row, **arguments: object) -> Row:
        named = {"build_id": claimed["build_id"], "attempt": claimed["attempt"]}
        return self.call(None, "renew_build", **{**named, **arguments})

    def activate(self, agent_id: object) -> Row:
        """Build the agent: claim its open build and finish it."""
        return self.finish(self.claim_agent(agent_id))

    def builds(self, agent_id: object) -> list[Row]:
        return self.rows("select * from public.build where agent_id = %s order by created_at, id", agent_id)

    def open_builds(self, agent_id: object) -> list[Row]:
        return [build for build in self.builds(agent_id) if build["status"] in ("queued", "running")]

    def events(self, agent_id: object) -> list[Row]:
        return self.rows("select * from public.agent_event where agent_id = %s order by id", agent_id)


@contextmanager
def refused(code: str, sqlstate: str) -> Iterator[pytest.ExceptionInfo[psycopg.Error]]:
    """The block raises this error and no other; its details say more than the code."""
    with pytest.raises(psycopg.Error) as caught:
        yield caught
    diagnosis = caught.value.diag
    assert (diagnosis.message_primary, caught.value.sqlstate) == (code, sqlstate)
    assert diagnosis.message_detail
    assert diagnosis.message_hint


@contextmanager
def denied() -> Iterator[None]:
    """The block ends with Postgres' own 'permission denied', or with a policy's refusal."""
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        yield


@contextmanager
def project_of(connection: psycopg.Connection[Any]) -> Iterator[Project]:
    info = connection.info
    project = Project(info.host, info.port, info.dbname)
    connection.close()  # while it is open, no copy of the database can be made
    give_to_postgres(project.host, project.port, project.dbname)
    yield project
    project.close()


FEW_ROWS = 1_000  # more of them leave tables and indexes that are not like new ones
CATALOG = (
    *("pg_attrdef", "pg_attribute", "pg_class", "pg_constraint", "pg_default_acl", "pg_description"),
    *("pg_event_trigger", "pg_extension", "pg_index", "pg_namespace", "pg_policy", "pg_proc", "pg_rewrite"),
    *("pg_trigger", "pg_type"),
)


class Clone:
    """A clone of a template, given to one test after the other."""

    def __init__(self, template: NoopExecutor) -> None:
        self.host, self.port, self.template = template.host, int(template.port), template.template_dbname
        self.name = f"{template.dbname}_clone"
        self.server = psycopg.connect(
            dsn(self.host, self.port, "postgres", "supabase_admin"), autocommit=True
        )
        self.state: list[Row] = []  # none: the next test needs a new clone
        self.tables: dict[bool, list[str]] = {}  # whether they have rows in the template

    def project(self) -> Project:
        project = Project(self.host, self.port, self.name)
        if not self.state:
            names = [*map(sql.Identifier, (self.name, self.template))]
            self.server.execute(sql.SQL("drop database if exists {} with (force)").format(names[0]))
            self.server.execute(sql.SQL("create database {} template {} owner postgres").format(*names))
            self.tables = self.tables or self.tables_of(project)
            self.state = self.look(project)
        return project

    def empty(self, project: Project) -> None:
        """Remove the test's rows. If it changed the schema, or made many rows, the next one gets a new clone."""
        state, self.state = self.state, []
        with suppress(psycopg.Error):
            with project.as_superuser() as connection:
                connection.execute(
                    "set local lock_timeout = '1s'; set local session_replication_role = replica"
                )
                rows = sum(
                    connection.execute(f"delete from {table}").rowcount for table in self.tables[False]
                )
            if rows < FEW_ROWS and self.look(project) == state:
                self.state = state

    def look(self, project: Project) -> list[Row]:
        """Return what changes with every change of the schema, and of the rows that the template has."""
        return project.rows(
            " union all ".join(
                f"select '{name}' as name, count(*), max(xmin::text::bigint) from {name}"
                for name in (*CATALOG, *self.tables[True])
            )
        )

    @staticmethod
    def tables_of(project: Project) -> dict[bool, list[str]]:
        tables: dict[bool, list[str]] = {False: [], True: []}
        names = "quote_ident(schemaname) || '.' || quote_ident(relname)"
        for row in project.rows(f"select {names} as name from pg_stat_user_tables"):
            tables[project.rows(f"select from {row['name']} limit 1") != []].append(row["name"])
        return tables


@pytest.fixture(scope="session")
def clones() -> Iterator[dict[str, Clone]]:
    clones: dict[str, Clone] = {}
    yield clones
    for clone in clones.values():
        clone.server.close()


@pytest.fixture
def project_like(
    request: pytest.FixtureRequest, clones: dict[str, Clone]
) -> Iterator[Callable[[str], Project]]:
    """Return a function that makes a project like the template of this name."""
    used: list[tuple[Clone, Project]] = []

    def project_like(name: str) -> Project:
        template = request.getfixturevalue(f"{name}_template")
        if name not in clones:
            clones[name] = Clone(template)
        used.append((clones[name], clones[name].project()))
        return used[-1][1]

    yield project_like
    for clone, project in used:
        clone.empty(project)
        project.close()


@pytest.fixture
def project(project_like: Callable[[str], Project]) -> Project:
    """A project with the wide default privileges, which are the harder ones to hold against."""
    return project_like("wide")


@pytest.fixture(params=["wide", "narrow"])
def any_project(request: pytest.FixtureRequest, project_like: Callable[[str], Project]) -> Project:
    """Both kinds of project, one after the other."""
    return project_like(request.param)


@pytest.fixture(params=["wide", "old"], ids=["new storage", "old storage"])
def any_storage(request: pytest.FixtureRequest, project_like: Callable[[str], Project]) -> Project:
    """A project with the newest tables of storage, and one with those of storage-api 1.70."""
    return project_like(request.param)


@pytest.fixture
def old_project(project_like: Callable[[str], Project]) -> Project:
    """A project with the tables of storage-api 1.70."""
    return project_like("old")


@pytest.fixture
def team_project(project_like: Callable[[str], Project]) -> Project:
    """A project with teams: what docs/teams.md tells an adopter to push."""
    return project_like("teams")


@pytest.fixture
def bare_project(project_like: Callable[[str], Project]) -> Project:
    """A project that Greenlight has not been pushed to."""
    return project_like("bare")


# Races -------------------------------------------------------------------------------------------------------

ROUNDS = 120 if SOAK else 60  # at least


def outcome(call: Callable[[], object]) -> str:
    """`done`, or the code of the refusal. Anything else, a deadlock for one, fails the test."""
    try:
        call()
    except psycopg.errors.ForeignKeyViolation:
        return "referenced"
    except psycopg.Error as error:
        assert (error.sqlstate or "").startswith("PT"), error
        return str(error.diag.message_primary)
    return "done"


class Race:
    """Runs the calls of a round at the same time, submitted in random order."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self.pool, self.dice = pool, random.Random(SEED)
        self.seen: Counter[tuple[str, ...]] = Counter()

    def rounds(self, *outcomes: tuple[str, ...]) -> Iterator[int]:
        """Yield the rounds' numbers, until each of these outcomes was met."""
        for number in range(5 * ROUNDS):
            if number < ROUNDS or not self.seen.keys() >= {*outcomes}:
                yield number

    def __call__(self, **calls: Callable[[], object]) -> dict[str, str]:
        names = list(calls)
        self.dice.shuffle(names)
        running = {name: self.pool.submit(outcome, calls[name]) for name in names}
        outcomes = {name: running[name].result() for name in calls}
        self.seen[tuple(outcomes.values())] += 1
        return outcomes


@pytest.fixture
def race() -> Iterator[Race]:
    with ThreadPoolExecutor(8) as pool:
        yield Race(pool)
