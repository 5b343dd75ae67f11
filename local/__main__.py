"""`python -m local up|demo|reset|run`: what make runs. See `make help`."""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import FrameType

from local.demo import demo
from local.processes import LocalError, environment, free_ports
from local.stack import Settings, Stack


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start everything and keep it running until Ctrl-C")
    commands.add_parser("reset", help="wipe the local data")
    commands.add_parser("demo", help="approve the document named by PLAN, and show what happened")
    run = commands.add_parser("run", help="run a command with the environment of a temporary Supabase")
    run.add_argument("arguments", nargs=argparse.REMAINDER)
    options = parser.parse_args()

    # `kill` stops everything in the same orderly way as Ctrl-C.
    for ask in _ASKS:
        signal.signal(ask, _interrupt)
    try:
        match options.command:
            case "up":
                up(Settings.from_environment())
            case "reset":
                Stack(Settings.from_environment()).reset()
            case "demo":
                demo(
                    Settings.from_environment().on_free_ports(),
                    Path(os.environ.get("PLAN", "docs/example-plan.md")),
                )
            case "run":
                return run_beside(options.arguments)
    except LocalError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def up(settings: Settings) -> None:
    builder = os.environ.get("EXAMPLE_BUILDER", "true").lower() != "false"
    stack = Stack(settings, web=True, builder=builder, mail=True)
    print("Starting", flush=True)
    try:
        stack.start(lambda part, seconds: print(f"  {part} ({seconds:.1f} s)", flush=True))
        print(f"\n  Web app   {settings.ui_url}")
        print(f"  Supabase  {settings.supabase_url}")
        print(f"  Service   {settings.service_url}/docs")
        if builder:
            print(f"  Built     {settings.pages_url}/…  (each agent's page has the address)")
        print(f"  Mails     {settings.mail_url}")
        print("\nAuth sends no mail here, so no link for a forgotten password arrives.")
        print(
            f"Keys are in {settings.directory / 'env'}. Ctrl-C stops everything; the data stays.",
            flush=True,
        )
        stack.wait()
    except KeyboardInterrupt:
        print("\nStopping", flush=True)
    finally:
        stack.stop()


def run_beside(arguments: list[str]) -> int:
    with tempfile.TemporaryDirectory() as directory:
        settings = Settings(Path(directory), *free_ports(4))
        with Stack(settings, service=False) as stack:
            return subprocess.run(arguments, check=False, env=environment(**stack.variables())).returncode


_ASKS = (signal.SIGINT, signal.SIGTERM)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    # A second Ctrl-C must not interrupt the stopping.
    for ask in _ASKS:
        signal.signal(ask, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
