"""What starts a builder: `run()` for a build function, and `greenlight build` for a command."""

import asyncio
import os
import shutil
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog
import typer

from greenlight import logs
from greenlight.admin import SecretSettings, SupabaseRefusedError
from greenlight.builder import guard
from greenlight.builder.builder import Builder, BuildFunction, Options
from greenlight.builder.command import NotIsolatedError, command
from greenlight.builder.metrics import Metrics
from greenlight.builder.queue import Queue
from greenlight.exits import Exit
from greenlight.keys import role_of
from greenlight.rpc import connect
from greenlight.settings import SettingsError, read_settings

# Each of these gives access to the whole project.
SECRETS = {"SUPABASE_SECRET_KEY", "SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_JWT_SECRET"}

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


def run(  # noqa: PLR0913 -- named, and the same as the command's options
    build: BuildFunction,
    *,
    concurrency: int = Options.concurrency,
    poll_seconds: float = Options.poll_seconds,
    lease_seconds: int = Options.lease_seconds,
    grace: float = Options.grace,
    worker: str | None = None,
    metrics_port: int | None = None,
    metrics_host: str = "127.0.0.1",
) -> None:
    """Claim builds and run `build` for each, until SIGTERM or SIGINT.

    Reads SUPABASE_URL and SUPABASE_SECRET_KEY from the environment. When `build` returns, the build is
    finished, and a dict that it returns is the result. `BuildFailed` fails it with a message for the agent's owner; any
    other exception fails it with the exception's type and text, and it is tried again. When the build is lost, or the
    builder is told to stop and the grace is over, `build` is cancelled.

    Args:
        build: an async function, called with a `Job`. Up to `concurrency` of them run at once.
        concurrency: 1 to 100.
        poll_seconds: how long to wait on average before asking again when there was no work.
        lease_seconds: 5 to 3600. If the builder dies, another one takes its builds after this time.
        grace: seconds that running builds get to end by themselves after the signal. A second signal ends it.
        worker: the name to show in `build.worker`; the machine's name and the process id by default.
        metrics_port: where to serve metrics for Prometheus, if at all.
        metrics_host: the address to serve them on.

    Raises:
        SettingsError: a variable is missing or wrong.
        SupabaseRefusedError: Supabase refuses the key, or does not have the migrations.
        ValueError: an argument is out of range.

    """
    guard.unreadable()  # by subprocesses of the build function, among others: it holds the secret key
    _serve(
        build,
        read_settings(SecretSettings),
        ready=None,
        metrics_port=metrics_port,
        metrics_host=metrics_host,
        concurrency=concurrency,
        poll_seconds=poll_seconds,
        lease_seconds=lease_seconds,
        grace=grace,
        worker=worker,
    )


def _serve(  # noqa: PLR0913
    build: BuildFunction,
    settings: SecretSettings,
    *,
    ready: Callable[[float], None] | None,
    metrics_port: int | None,
    metrics_host: str,
    worker: str | None,
    **options: Any,
) -> None:
    name = worker or f"{socket.gethostname()}:{os.getpid()}"
    chosen = Options(worker=name.encode(errors="replace").decode().replace("\0", " ")[:200], **options)
    logs.configure(settings.log_level)
    metrics = Metrics()
    if metrics_port is not None:
        metrics.serve(metrics_host, metrics_port)

    async def work() -> None:
        async with connect(settings) as rpc:
            await Builder(build, Queue(rpc), chosen, metrics, ready).run_until_signalled()

    asyncio.run(work())


def main(
    arguments: Sequence[str],
    *,
    secret_key_file: str | None = None,
    isolate: str = "auto",
    share_log: bool = False,
    **options: Any,
) -> int:
    """Run a command for each build; return the exit status."""
    guard.unreadable()
    program = shutil.which(arguments[0])
    if program is None:
        name = arguments[0]
        is_file = os.sep in name and Path(name).is_file()
        problem = f"{name} is not executable: chmod +x {name}" if is_file else f"There is no command {name}."
        typer.echo(problem, err=True)
        return Exit.MISUSE
    # The command runs in a directory of its own, where a relative path would be wrong.
    absolute = [str(Path(program).absolute()), *arguments[1:]]
    try:
        given = {} if secret_key_file is None else {"supabase_secret_key": _read_key(secret_key_file)}
        settings = read_settings(SecretSettings, **given)
        environment = without_secrets(os.environ, settings.supabase_secret_key.get_secret_value())
        hidden = [] if secret_key_file in {None, "-"} else [str(secret_key_file)]
        logs.configure(settings.log_level)
        with command(absolute, environment, isolate=isolate, hidden=hidden, share_log=share_log) as build:
            if hidden and "files" not in build.isolated:
                log.warning("secret_key_file_not_hidden")
            _serve(build, settings, ready=build.ready, **options)
    except NotIsolatedError as error:
        typer.echo(f"Builds cannot be isolated on this system: {error}.", err=True)
        return Exit.MISUSE
    except (SettingsError, ValueError, OSError) as error:
        typer.echo(f"The builder cannot run with these settings:\n{error}", err=True)
        return Exit.MISUSE
    except SupabaseRefusedError as error:
        typer.echo(error, err=True)
        return Exit.UNAVAILABLE
    return Exit.DONE


def _read_key(file: str) -> str:
    return (sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")).strip()


def without_secrets(environment: Mapping[str, str], key: str) -> dict[str, str]:
    """Return an environment for the command: without any variable that holds the key, or another one as good."""
    return {
        name: value
        for name, value in environment.items()
        if name not in SECRETS and key not in value and role_of(value) != "service_role"
    }
