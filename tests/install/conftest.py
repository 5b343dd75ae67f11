"""Other people's Supabase projects: a directory, a database like a hosted one, and the CLI that they use.

There are two CLIs (2 and 3 push with other commands) and two kinds of database (older projects grant everything on
new tables by default, new ones nothing). Each test runs with one of the four combinations; `make soak` draws others
each time.
"""

import os
import shutil
import subprocess
import sys
import uuid
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, LiteralString

import httpx
import psycopg
import pytest
from psycopg import sql
from pytest_postgresql import factories
from typer.testing import CliRunner, Result

from greenlight import install
from greenlight.cli import app
from greenlight.installation import Differences, compare
from local.processes import environment, free_ports
from local.stack import Settings, Stack
from tests import SEED
from tests.conftest import without_fsync
from tests.database import conftest as database
from tests.database.conftest import Project, dsn
from tests.plan import sha256

ROOT = Path(__file__).parent.parent.parent
NODE_MODULES = {3: ROOT / "node_modules", 2: Path(__file__).parent / "node_modules"}
POSTGRES_15 = Path("/usr/lib/postgresql/15/bin")  # Debian's: it has pg_dump and psql
COMBINATIONS = [(cli, privileges) for privileges in ("wide", "narrow") for cli in (3, 2)]

host_server = factories.postgresql_proc(
    executable=str(database.HERE / "pg_ctl"),
    user="supabase_admin",
    postgres_options="-c fsync=off -c log_min_messages=panic",
    load=[database.load_platform],
)
wide_host_template = factories.postgresql_noproc(
    dbname="wide_host", depends_on="host_server", load=[database.give_to_postgres, database.widen_privileges]
)
narrow_host_template = factories.postgresql_noproc(
    dbname="narrow_host", depends_on="host_server", load=[database.give_to_postgres]
)
wide_host_database = factories.postgresql("wide_host_template")
narrow_host_database = factories.postgresql("narrow_host_template")


@pytest.fixture(scope="session", autouse=True)
def versions() -> Iterator[None]:
    """Let each CLI say its version once: it takes a second, and each install asks for it."""
    known: dict[tuple[Path, ...], subprocess.CompletedProcess[str]] = {}

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        program = (Path(command[0]).resolve(), *map(Path, command[1:]))
        if program not in known:
            known[program] = subprocess.run(command, **options)  # noqa: PLW1510 -- it is among the options
        return known[program]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            install, "subprocess", SimpleNamespace(run=run, SubprocessError=subprocess.SubprocessError)
        )
        yield


@pytest.fixture
def combination(request: pytest.FixtureRequest) -> tuple[int, str]:
    """Which CLI and which privileges: always the same for one test and SEED, whatever is run beside it."""
    return COMBINATIONS[zlib.crc32(f"{request.node.name} {SEED}".encode()) % len(COMBINATIONS)]


@dataclass(frozen=True)
class Host:
    directory: Path
    database: Project
    cli: int
    templates: Path

    @property
    def migrations(self) -> Path:
        return self.directory / "supabase/migrations"

    def files(self) -> list[str]:
        """The names of everything in the migrations' folder, in the order of the CLI."""
        return sorted(path.name for path in self.migrations.iterdir()) if self.migrations.exists() else []

    def ours(self) -> list[Path]:
        return sorted(self.migrations.glob("*_greenlight_*.sql"))

    def add(self, name: str, statements: str = "create table public.note (id int primary key);") -> Path:
        """Add a migration of the project's own."""
        self.migrations.mkdir(exist_ok=True)
        path = self.migrations / name
        path.write_text(statements)
        return path

    def greenlight(self, *arguments: str) -> Result:
        return CliRunner().invoke(app, [*arguments, "--project", str(self.directory)])

    def supabase(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the project's CLI on its database. What it says comes in one piece, in stdout."""
        url = self.database.dsn("postgres")
        target = [f"--remote={url}"] if self.cli == 3 else ["--db-url", url]
        return subprocess.run(
            [NODE_MODULES[self.cli] / ".bin/supabase", *arguments, *target, "--yes"],
            cwd=self.directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=300,
            env={**os.environ, "DO_NOT_TRACK": "1"},
        )

    def dump(self, *options: str) -> str:
        """What the CLI dumps: it prints a script for its container, which runs here without one."""
        script = self.supabase("db", "dump", "--dry-run", *options).stdout
        result = subprocess.run(
            ["bash", "-c", script[script.index("#!") :]],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={**os.environ, "PATH": f"{POSTGRES_15}:{os.environ['PATH']}", "PGSSLMODE": "disable"},
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    def psql(self, *scripts: str) -> subprocess.CompletedProcess[str]:
        """Run these, one after the other, in one session, as postgres."""
        return subprocess.run(
            [POSTGRES_15 / "psql", "--no-psqlrc", "--quiet", self.database.dsn("postgres")],
            input="\n".join(scripts),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=60,
        )

    def push(self) -> subprocess.CompletedProcess[str]:
        return self.supabase("db", "push")

    def pushed(self) -> str:
        result = self.push()
        assert result.returncode == 0, result.stdout
        return result.stdout

    def install(self) -> None:
        """Install and push."""
        result = self.greenlight("install")
        assert result.exit_code == 0, result.output
        self.pushed()

    def begin_installed(self) -> None:
        """Install and push, in one project for all tests that begin with it: this one becomes its copy."""
        self.begin("installed", Host.install)

    def begin(self, name: str, prepare: Callable[["Host"], None]) -> None:
        """Become what this makes of a new project. Of each name, CLI and kind of database it is made once."""
        template = f"{name}_{self.database.dbname}_{self.cli}"
        copy = self.templates / f"{template}_{self.database.port}"
        if copy.exists():
            shutil.copytree(copy, self.migrations)
            self._clone(self.database.dbname, template)
            return
        prepare(self)
        self.database.close()  # a template has no connections
        self.database.idle.clear()
        self._clone(template, self.database.dbname)
        shutil.copytree(self.migrations, copy)

    def _clone(self, name: str, template: str) -> None:
        names = [*map(sql.Identifier, (name, template))]
        url = dsn(self.database.host, self.database.port, "postgres", "supabase_admin")
        with psycopg.connect(url, autocommit=True) as server:
            server.execute(sql.SQL("drop database if exists {} with (force)").format(names[0]))
            server.execute(sql.SQL("create database {} template {} owner postgres").format(*names))

    def differences(self) -> Differences:
        """What doctor finds in the database."""
        with self.database.as_service_role() as connection:
            row = connection.execute("select public.installation() as answer").fetchone()
        assert row is not None
        return compare(row["answer"]["objects"])

    def works(self) -> bool:
        """Whether a user of this project can approve a plan and sees its agent."""
        user = self.database.new_user()
        answer = self.database.store_and_approve(user)
        with self.database.as_user(user) as connection:
            seen = connection.execute("select id from public.agent").fetchall()
        return [row["id"] for row in seen] == [answer["agent_id"]]


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("templates")


@pytest.fixture
def host(
    request: pytest.FixtureRequest, combination: tuple[int, str], tmp_path: Path, templates: Path
) -> Iterator[Host]:
    """A project with no migration yet."""
    cli, privileges = combination
    (tmp_path / "supabase").mkdir()
    (tmp_path / "supabase/config.toml").write_text('project_id = "host"\n')
    (tmp_path / "node_modules").symlink_to(NODE_MODULES[cli])
    connection: Any = request.getfixturevalue(f"{privileges}_host_database")
    with database.project_of(connection) as project:
        yield Host(tmp_path, project, cli, templates)


@dataclass(frozen=True)
class Account:
    """A signed-up user with the publishable key, as in a browser: the direct path, without the service."""

    http: httpx.Client
    id: str
    headers: dict[str, str]

    def rpc(self, function: str, **arguments: Any) -> httpx.Response:
        return self.http.post(f"/rest/v1/rpc/{function}", headers=self.headers, json=arguments)

    def store(self, session: str, document: bytes) -> dict[str, str]:
        """Upload the document and sign its URL; answers what a proposal and an approval say of it."""
        digest = sha256(document)
        path = f"plans/{self.id}/{session}/{digest}.md"
        markdown = {**self.headers, "Content-Type": "text/markdown"}
        self.http.post(f"/storage/v1/object/{path}", content=document, headers=markdown).raise_for_status()
        signed = self.http.post(
            f"/storage/v1/object/sign/{path}", json={"expiresIn": 60}, headers=self.headers
        )
        url = f"{self.http.base_url}storage/v1{signed.raise_for_status().json()['signedURL']}"
        return {"session_id": session, "title": "A plan", "document_sha256": digest, "document_url": url}

    def approve(self, session: str, document: bytes, version: int = 1, **words: Any) -> dict[str, Any]:
        answer = self.rpc("approve_plan", version=version, **self.store(session, document), **words)
        approved: dict[str, Any] = answer.raise_for_status().json()
        return approved

    def rows(self, table: str) -> list[dict[str, Any]]:
        answer = self.http.get(f"/rest/v1/{table}", headers=self.headers)
        rows: list[dict[str, Any]] = answer.raise_for_status().json()
        return rows


@dataclass(frozen=True)
class Adopter:
    """A project with a table of its own on a running Supabase, in which its users sign up."""

    directory: Path
    stack: Stack
    http: httpx.Client

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the project's directory, with the project's address and keys in the environment."""
        path = f"{Path(sys.executable).parent}:{self.directory}/node_modules/.bin:{os.environ['PATH']}"
        return subprocess.run(
            command,
            cwd=self.directory,
            env=environment(**{**self.stack.variables(), "PATH": path, **variables}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=300,
        )

    def greenlight(self, *arguments: str, **variables: str) -> Result:
        """The same for a command of ours, in this process, which is quicker."""
        return CliRunner().invoke(app, arguments, env={**self.stack.variables(), **variables})

    def ran(self, *command: str) -> str:
        result = self.run(*command)
        assert result.returncode == 0, result.stdout
        return result.stdout

    def push(self) -> subprocess.CompletedProcess[str]:
        """Push with the CLI itself: npx takes half a second to find it."""
        return self.run("supabase", "db", "push", f"--remote={self.stack.postgres.url()}", "--yes")

    def pushed(self) -> str:
        result = self.push()
        assert result.returncode == 0, result.stdout
        return result.stdout

    def sql(self, statement: LiteralString) -> list[Any]:
        """Run a statement as the superuser, and tell the Data API, as the dashboard's editor does."""
        with psycopg.connect(self.stack.postgres.url("supabase_admin")) as connection:
            cursor = connection.execute(statement)
            rows = cursor.fetchall() if cursor.description else []
            connection.execute("notify pgrst, 'reload schema'")
        return rows

    def sign_up(self, **metadata: str) -> Account:
        credentials = {
            "email": f"{uuid.uuid4().hex}@example.com",
            "password": uuid.uuid4().hex,
            "data": metadata,
        }
        key = {"apikey": self.stack.keys.publishable}
        answer = self.http.post("/auth/v1/signup", json=credentials, headers=key).raise_for_status().json()
        return Account(
            self.http, answer["user"]["id"], {**key, "Authorization": f"Bearer {answer['access_token']}"}
        )


@contextmanager
def adopter_in(directory: Path, *, service: bool = False, theirs: str = "") -> Iterator[Adopter]:
    (directory / "supabase/migrations").mkdir(parents=True)
    (directory / "supabase/config.toml").write_text('project_id = "adopter"\n')
    (directory / "supabase/migrations/20260101000000_note.sql").write_text(
        "create table public.note (id int primary key, body text);\ninsert into public.note values (1, 'theirs');\n"
        + theirs
    )
    (directory / "node_modules").symlink_to(NODE_MODULES[3])
    settings = Settings(directory / ".local", *free_ports(4))
    with (
        Stack(settings, service=service, project=directory) as stack,
        httpx.Client(base_url=settings.supabase_url, timeout=30) as http,
    ):
        without_fsync(stack)
        yield Adopter(directory, stack, http)


def install_and_push(adopter: Adopter) -> None:
    """The commands of the README."""
    assert "npx supabase db push --remote" in adopter.ran("greenlight", "install")
    adopter.ran("npx", "supabase", "db", "push", f"--remote={adopter.stack.postgres.url()}", "--yes")


def install_into(adopter: Adopter) -> None:
    """The same, without the time that it takes to start the commands."""
    result = adopter.greenlight("install", "--project", str(adopter.directory))
    assert result.exit_code == 0, result.output
    adopter.pushed()


@pytest.fixture(scope="session")
def adopter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Adopter]:
    """A project that Greenlight has been installed in."""
    with adopter_in(tmp_path_factory.mktemp("adopter")) as adopter:
        install_and_push(adopter)
        yield adopter
