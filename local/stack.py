"""Starts and stops the local Supabase, and the service, the web app, the builder and the notifier in front of it."""

import fcntl
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import jwt
import psycopg
from cryptography.hazmat.primitives.asymmetric import ec

from local import NODE, ROOT, web
from local.postgres import Postgres
from local.processes import Child, LocalError, Pids, accepts_connections, environment, free_ports, is_taken

CLI = ROOT / "node_modules" / "supabase" / "dist" / "supabase.js"


@dataclass(frozen=True)
class Settings:
    """The directory and the ports of a stack, all of them on 127.0.0.1."""

    directory: Path = ROOT / ".local"
    api_port: int = 54321
    postgres_port: int = 54322
    service_port: int = 8000
    ui_port: int = 3000
    pages_port: int = 8001
    mail_port: int = 54324
    smtp_port: int = 54325

    @classmethod
    def from_environment(cls) -> Self:
        directory = Path(os.environ.get("LOCAL_DIR", cls.directory)).resolve()
        return cls(
            directory,
            _port("API_PORT", cls.api_port),
            _port("POSTGRES_PORT", cls.postgres_port),
            _port("SERVICE_PORT", cls.service_port),
            _port("UI_PORT", cls.ui_port),
            _port("PAGES_PORT", cls.pages_port),
            _port("MAIL_PORT", cls.mail_port),
            _port("SMTP_PORT", cls.smtp_port),
        )

    def on_free_ports(self) -> Self:
        """Return the same settings with a free port in the place of each one that is taken."""
        ports = (
            *(self.api_port, self.postgres_port, self.service_port, self.ui_port),
            *(self.pages_port, self.mail_port, self.smtp_port),
        )
        free = zip(ports, free_ports(len(ports)), strict=True)
        return type(self)(self.directory, *(other if is_taken(port) else port for port, other in free))

    @property
    def supabase_url(self) -> str:
        return f"http://127.0.0.1:{self.api_port}"

    @property
    def service_url(self) -> str:
        return f"http://127.0.0.1:{self.service_port}"

    @property
    def ui_url(self) -> str:
        return f"http://127.0.0.1:{self.ui_port}"

    @property
    def pages_url(self) -> str:
        return f"http://127.0.0.1:{self.pages_port}"

    @property
    def mail_url(self) -> str:
        return f"http://127.0.0.1:{self.mail_port}"


def _port(variable: str, default: int) -> int:
    text = os.environ.get(variable, str(default))
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise LocalError(f"{variable} must be a port number, not {text!r}")
    return int(text)


def _other(port: int) -> int:
    return port + 1000 if port + 1000 < 65536 else port - 1000


@dataclass(frozen=True)
class Keys:
    """A project's keys, created once for a data directory and kept with it."""

    publishable: str
    secret: str
    jwt_secret: str
    signing_key: dict[str, Any]
    postgres_password: str

    @classmethod
    def of(cls, directory: Path) -> Self:
        path = directory / "keys.json"
        if not path.exists():
            signing_key = jwt.algorithms.ECAlgorithm.to_jwk(
                ec.generate_private_key(ec.SECP256R1()), as_dict=True
            )
            keys = cls(
                publishable=f"sb_publishable_{secrets.token_urlsafe(22)}",
                secret=f"sb_secret_{secrets.token_urlsafe(22)}",
                jwt_secret=secrets.token_urlsafe(40),
                signing_key={**signing_key, "kid": secrets.token_hex(16)},
                postgres_password=secrets.token_hex(16),
            )
            fresh = path.with_suffix(".new")
            fresh.touch(mode=0o600)
            fresh.write_text(json.dumps(vars(keys)))
            fresh.rename(path)
        return cls(**json.loads(path.read_text()))


class Stack:
    """Postgres, the gateway and, when asked for, the service, the web app, the example builder and mails."""

    def __init__(  # noqa: PLR0913 -- named
        self,
        settings: Settings,
        *,
        service: bool = True,
        web: bool = False,
        builder: bool = False,
        mail: bool = False,
        project: Path = ROOT,
    ) -> None:
        self.settings = settings
        self.project = project
        self._with_service = service
        self._with_web = web
        self._with_builder = builder
        self._with_mail = mail
        self._lock: IO[str] | None = None
        self._pids = Pids(settings.directory / "processes.json")
        self._ready: dict[str, Callable[[], bool]] = {}
        self.children: list[Child] = []

    def start(self, report: Callable[[str, float], None] = lambda _name, _seconds: None) -> Self:
        """Start all parts in order, each when the one before is ready. Stop all if one fails.

        `report` is told the name of each part that is ready, and the seconds that it took.

        Raises:
            LocalError: a port is taken, another stack uses the directory, or a part does not start.

        """
        directory = self.settings.directory
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o700)
        try:
            self._take_lock()
            shutil.rmtree(directory / "logs", ignore_errors=True)
            (directory / "logs").mkdir()
            self._pids.end_leftovers()
            self._refuse_taken_ports()
            self.keys = Keys.of(directory)
            self.postgres = Postgres(directory, self.settings.postgres_port, self.keys.postgres_password)
            for name, start in self._parts():
                began = time.monotonic()
                start()
                report(name, time.monotonic() - began)
            self._write_env()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        for child in reversed(self.children):
            child.stop()
        self.children.clear()
        if self._lock is not None:
            self._pids.write([])
            self._lock.close()
            self._lock = None

    def reset(self) -> None:
        """Wipe data, keys and logs.

        Raises:
            LocalError: it is running.

        """
        directory = self.settings.directory
        if not directory.exists():
            return
        self._take_lock()
        self._pids.end_leftovers()
        Postgres(directory, self.settings.postgres_port, "").wipe()
        for name in ("storage", "pages", "mail", "logs", ".supabase"):
            shutil.rmtree(directory / name, ignore_errors=True)
        for name in ("keys.json", "env"):
            (directory / name).unlink(missing_ok=True)
        self.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def wait(self) -> None:
        """Block until a process ends by itself, then raise."""
        while True:
            for child in self.children:
                if not child.running():
                    raise LocalError(f"The {child.name} ended. The end of {child.log}:\n{child.tail()}")
            time.sleep(0.5)

    def child(self, name: str) -> Child:
        return next(child for child in self.children if child.name == name)

    def restart(self, name: str) -> None:
        """Start a child again after it was stopped or killed, and wait until it is ready."""
        child = self.child(name)
        child.start()
        self._pids.write(self.children)
        child.wait_until(self._ready[name])

    def variables(self) -> dict[str, str]:
        """Return the variables of .local/env."""
        return {
            "SUPABASE_URL": self.settings.supabase_url,
            "SUPABASE_PUBLISHABLE_KEY": self.keys.publishable,
            "SUPABASE_SECRET_KEY": self.keys.secret,
            "SUPABASE_JWT_SECRET": self.keys.jwt_secret,
            "DATABASE_URL": self.postgres.url(),
            "SERVICE_URL": self.settings.service_url,
            "UI_URL": self.settings.ui_url,
        }

    def _parts(self) -> list[tuple[str, Callable[[], None]]]:
        parts = [
            ("Postgres 17", self._start_postgres),
            ("Auth, Data API and Storage", self._start_gateway),
            ("Migrations", self._push),
        ]
        if self._with_service:
            parts.append(("Service", self._start_service))
        if self._with_web:
            parts += [("Web app, built", web.build), ("Web app", self._start_web)]
        if self._with_builder:
            parts += [("Pages", self._start_pages), ("Example builder", self._start_builder)]
        if self._with_mail:
            parts += [("Inbox", self._start_inbox), ("Notifier", self._start_notifier)]
        return parts

    def _start(self, child: Child, ready: Callable[[], bool]) -> None:
        self.children.append(child)
        self._ready[child.name] = ready
        self.restart(child.name)

    def _start_postgres(self) -> None:
        self._start(self.postgres.child(), self.postgres.ready)

    def _start_gateway(self) -> None:
        settings, keys = self.settings, self.keys
        child = Child(
            "gateway",
            [NODE, ROOT / "local" / "gateway.mjs"],
            log=settings.directory / "logs" / "gateway.log",
            env=environment(
                API_PORT=str(settings.api_port),
                SUPABASE_URL=settings.supabase_url,
                SUPABASE_PUBLISHABLE_KEY=keys.publishable,
                SUPABASE_SECRET_KEY=keys.secret,
                SUPABASE_JWT_SECRET=keys.jwt_secret,
                SIGNING_KEY=json.dumps(keys.signing_key),
                POSTGRES_PORT=str(settings.postgres_port),
                POSTGRES_PASSWORD=keys.postgres_password,
                STORAGE_DIRECTORY=str(settings.directory / "storage"),
            ),
            # Lite reads a project's settings from where it is started: here are none.
            cwd=settings.directory,
        )
        self._start(child, lambda: accepts_connections(settings.api_port))

    def _push(self) -> None:
        """Apply the new migrations as `postgres`, which is not a superuser here either."""
        migrations = {
            path.name.split("_")[0] for path in (self.project / "supabase" / "migrations").glob("*.sql")
        }
        if migrations <= self._applied():
            return
        result = subprocess.run(
            [
                *(NODE, CLI, "db", "push", "--yes"),
                *(f"--remote={self.postgres.url()}", f"--workdir={self.project}"),
            ],
            check=False,
            capture_output=True,
            text=True,
            # Where it keeps its user's settings, which do not matter here.
            env=environment(HOME=str(self.settings.directory)),
        )
        (self.settings.directory / "logs" / "push.log").write_text(result.stdout + result.stderr)
        if result.returncode != 0:
            raise LocalError(f"supabase db push failed:\n{result.stdout}{result.stderr}")

    def _applied(self) -> set[str]:
        with psycopg.connect(self.postgres.url()) as connection:
            if connection.execute(
                "select to_regclass('supabase_migrations.schema_migrations')"
            ).fetchone() == (None,):
                return set()
            return {
                version
                for (version,) in connection.execute(
                    "select version from supabase_migrations.schema_migrations"
                )
            }

    def _start_service(self) -> None:
        settings = self.settings
        log = settings.directory / "logs" / "service.log"
        child = service(
            settings.supabase_url, self.keys.publishable, settings.service_port, log, settings.ui_url
        )
        self._start(child, lambda: answers(f"{settings.service_url}/readyz"))

    def _start_web(self) -> None:
        settings = self.settings
        log = settings.directory / "logs" / "web.log"
        url = settings.supabase_url
        child = web.web(url, self.keys.publishable, settings.service_url, settings.ui_port, log)
        self._start(child, lambda: accepts_connections(settings.ui_port))

    def _start_pages(self) -> None:
        """Serve what the example builder makes."""
        settings = self.settings
        directory = settings.directory / "pages"
        directory.mkdir(exist_ok=True)
        # Without it, the server lists what was built for each user.
        (directory / "index.html").write_text("What the example builder makes is served here.\n")
        where = ("--bind", "127.0.0.1", "--directory", directory)
        child = Child(
            "pages",
            [sys.executable, "-m", "http.server", *where, str(settings.pages_port)],
            log=settings.directory / "logs" / "pages.log",
            env=environment(),
            cwd=ROOT,
        )
        self._start(child, lambda: answers(settings.pages_url))

    def _start_builder(self) -> None:
        settings = self.settings
        log = settings.directory / "logs" / "builder.log"
        child = builder(
            settings.supabase_url,
            self.keys.secret,
            log,
            PAGES_DIRECTORY=str(settings.directory / "pages"),
            PAGES_URL=settings.pages_url,
        )
        self._start(child, lambda: "builder_started" in log.read_text())

    def _start_inbox(self) -> None:
        settings = self.settings
        ports = (str(settings.smtp_port), str(settings.mail_port))
        child = Child(
            "inbox",
            [sys.executable, "-m", "local.inbox", *ports, settings.directory / "mail"],
            log=settings.directory / "logs" / "inbox.log",
            env=environment(),
            cwd=ROOT,
        )
        self._start(child, lambda: accepts_connections(settings.mail_port))

    def _start_notifier(self) -> None:
        settings = self.settings
        log = settings.directory / "logs" / "notifier.log"
        smtp_url = f"smtp://127.0.0.1:{settings.smtp_port}?tls=off"
        child = notifier(settings.supabase_url, self.keys.secret, smtp_url, settings.ui_url, log)
        self._start(child, lambda: "notifier_subscribed" in log.read_text())

    def _take_lock(self) -> None:
        path = self.settings.directory / "lock"
        lock = path.open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            owner = lock.read().strip()
            lock.close()
            raise LocalError(
                f"It already runs here: {self.settings.ui_url}\n"
                f"Stop it with Ctrl-C, or with: kill {owner}\n"
                "Start a second one in another directory: LOCAL_DIR=…"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock

    def _refuse_taken_ports(self) -> None:
        settings = self.settings
        ports = {"API_PORT": settings.api_port, "POSTGRES_PORT": settings.postgres_port}
        if self._with_service:
            ports["SERVICE_PORT"] = settings.service_port
        if self._with_web:
            ports["UI_PORT"] = settings.ui_port
        if self._with_builder:
            ports["PAGES_PORT"] = settings.pages_port
        if self._with_mail:
            ports |= {"MAIL_PORT": settings.mail_port, "SMTP_PORT": settings.smtp_port}
        taken = {variable: port for variable, port in ports.items() if is_taken(port)}
        if not taken:
            return
        listed = " and ".join(map(str, taken.values()))
        which = f"Port {listed} is" if len(taken) == 1 else f"Ports {listed} are"
        hint = " (a `supabase start`?)" if {54321, 54322, 54324} & {*taken.values()} else ""
        others = " ".join(f"{variable}={_other(port)}" for variable, port in taken.items())
        raise LocalError(f"{which} taken{hint}: make up {others}")

    def _write_env(self) -> None:
        path = self.settings.directory / "env"
        path.touch(mode=0o600)
        path.write_text("".join(f"{name}={value}\n" for name, value in self.variables().items()))


def service(
    supabase_url: str,
    publishable_key: str,
    port: int,
    log: Path,
    ui_url: str | None = None,
    **settings: str,
) -> Child:
    """Return the HTTP service in front of this Supabase or another one; not started yet."""
    return Child(
        "service",
        [sys.executable, "-m", "greenlight", "serve"],
        log=log,
        env=environment(
            SUPABASE_URL=supabase_url,
            SUPABASE_PUBLISHABLE_KEY=publishable_key,
            HOST="127.0.0.1",
            PORT=str(port),
            METRICS="true",
            MCP="true",
            SERVICE_URL=f"http://127.0.0.1:{port}",
            UI_URL=ui_url or "",
            **settings,
        ),
        cwd=ROOT,
    )


def builder(supabase_url: str, secret_key: str, log: Path, **pages: str) -> Child:
    """Return the example builder; not started yet."""
    return Child(
        "builder",
        [
            *(
                sys.executable,
                "-m",
                "greenlight",
                "build",
                "--concurrency",
                "4",
                "--grace",
                "3",
                "--share-log",
            ),
            *("--", sys.executable, ROOT / "examples" / "builder.py"),
        ],
        log=log,
        env=environment(SUPABASE_URL=supabase_url, SUPABASE_SECRET_KEY=secret_key, **pages),
        cwd=ROOT,
    )


def notifier(supabase_url: str, secret_key: str, smtp_url: str, ui_url: str, log: Path) -> Child:
    """Return a notifier that sends mails of what its reader has not done themselves; not started yet."""
    kinds = "plan.proposed,plan.reminder,plan.expired,agent.active,agent.failed"
    return Child(
        "notifier",
        [sys.executable, "-m", "greenlight", "notify", "--mail", "--kinds", kinds],
        log=log,
        env=environment(
            SUPABASE_URL=supabase_url,
            SUPABASE_SECRET_KEY=secret_key,
            SMTP_URL=smtp_url,
            MAIL_FROM="Greenlight <greenlight@example.com>",
            UI_URL=ui_url,
        ),
        cwd=ROOT,
    )


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
