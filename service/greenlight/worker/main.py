"""What starts a builder: `run()` for a build function, and `greenlight build` for a command."""

import asyncio
import os
import shutil
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import structlog

from greenlight import logs
from greenlight.settings import SettingsError, read
from greenlight.worker.builder import Builder, BuildFunction, Options
from greenlight.worker.command import command
from greenlight.worker.metrics import Metrics
from greenlight.worker.queue import Refused, connect
from greenlight.worker.settings import BuilderSettings

STOPPED, MISUSE, REFUSED = 0, 2, 3

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
    finished. `BuildFailed` fails it with a message for the agent's owner; any other exception fails it with the
    exception's type and text, and it is tried again. When the build is lost, or the builder is told to stop and the
    grace is over, `build` is cancelled.

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
        Refused: Supabase refuses the key, or does not have the migrations.
        ValueError: an argument is out of range.

    """
    options = Options(
        concurrency=concurrency,
        poll_seconds=poll_seconds,
        lease_seconds=lease_seconds,
        grace=grace,
        worker=(worker or f"{socket.gethostname()}:{os.getpid()}")[:200],
    )
    settings = read(BuilderSettings)
    logs.configure(settings.log_level)
    metrics = Metrics()
    if metrics_port is not None:
        metrics.serve(metrics_host, metrics_port)
    asyncio.run(_run(build, options, settings, metrics))


async def _run(build: BuildFunction, options: Options, settings: BuilderSettings, metrics: Metrics) -> None:
    async with connect(settings) as queue:
        builder = Builder(build, queue, options, metrics)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, builder.stop)
        await builder.run()


def main(arguments: Sequence[str], **options: Any) -> int:
    """Run a command for each build; return the exit status."""
    program = shutil.which(arguments[0])
    if program is None:
        name = arguments[0]
        is_file = os.sep in name and Path(name).is_file()
        problem = f"{name} is not executable: chmod +x {name}" if is_file else f"There is no command {name}."
        print(problem, file=sys.stderr)  # noqa: T201 -- a command's own error
        return MISUSE
    # The command runs in a directory of its own, where a relative path would be wrong.
    absolute = [str(Path(program).absolute()), *arguments[1:]]
    key = os.environ.get("SUPABASE_SECRET_KEY")
    # Leave out the key, whatever the name of the variable.
    environment = {name: value for name, value in os.environ.items() if not (key and key in value)}
    try:
        with command(absolute, environment) as build:
            run(build, **options)
    except (SettingsError, ValueError) as error:
        print(f"The builder cannot run with these settings:\n{error}", file=sys.stderr)  # noqa: T201
        return MISUSE
    except Refused as error:
        print(f"Supabase refuses: {error}.", file=sys.stderr)  # noqa: T201
        return REFUSED
    return STOPPED
