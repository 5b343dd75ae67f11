"""`python -m local up|demo|reset|run`: see `make help`."""

import argparse
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

from local.processes import LocalError, environment
from local.stack import Settings, Stack, reset


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m local", description="The local Supabase, and what runs on it."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start everything and keep it running until Ctrl-C")
    commands.add_parser("reset", help="wipe the local data")
    demo = commands.add_parser("demo", help="approve a document end to end and show what happened")
    demo.add_argument("plan", type=Path, nargs="?", default=Path("docs/example-plan.md"))
    run = commands.add_parser(
        "run", help="run a command while the local Supabase is up, with .local/env in its environment"
    )
    run.add_argument("arguments", nargs=argparse.REMAINDER)
    options = parser.parse_args()

    # `kill` is to end in the same orderly way as Ctrl-C.
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        settings = Settings.from_environment()
        match options.command:
            case "up":
                up(settings)
            case "reset":
                reset(settings)
            case "demo":
                from local.demo import demo as show  # noqa: PLC0415

                return show(settings, options.plan)
            case "run":
                return run_command(settings, options.arguments)
    except LocalError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def up(settings: Settings) -> None:
    stack = Stack(settings)
    try:
        stack.start(lambda line: print(f"  {line}", flush=True))
        print(f"\n  Supabase  {settings.supabase_url}")
        print(f"  Service   {settings.service_url}/docs")
        print(
            f"\nKeys are in {settings.directory / 'env'}. Ctrl-C stops everything; the data stays.",
            flush=True,
        )
        stack.wait()
    except KeyboardInterrupt:
        print("\nStopping.", flush=True)
    finally:
        stack.stop()


def run_command(settings: Settings, arguments: list[str]) -> int:
    with Stack(settings, service=False) as stack:
        return subprocess.run(arguments, check=False, env=environment(**stack.variables())).returncode


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
