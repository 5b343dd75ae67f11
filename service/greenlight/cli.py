"""The command `greenlight`.

Each command imports its implementation when it runs, so that `--help` answers at once and no command loads
what another one needs.
"""

import math
from typing import Annotated

import typer

from greenlight import __version__

app = typer.Typer(
    name="greenlight",
    help="Approve a plan, get its agent: a Supabase schema, and the commands around it.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # plain text: it is read in the logs of cron and containers, too
    pretty_exceptions_enable=False,  # they print local variables, keys among them
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"greenlight {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


@app.command(short_help="Run the HTTP service.")
def serve() -> None:
    """Run the HTTP service: propose and approve plans on behalf of signed-in users.

    It is configured by environment variables. SUPABASE_URL and SUPABASE_PUBLISHABLE_KEY are required; the
    others are listed in docs/configuration.md. It refuses to start with a secret key.
    """
    from greenlight.serve import main as run  # noqa: PLC0415

    run()


def _amount(text: str | float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= 100_000:
        raise typer.BadParameter("must be a number from 0 to 100000")
    return number


@app.command(short_help="Purge what was deleted long ago, and unused documents.")
def retention(
    apply: Annotated[
        bool, typer.Option("--apply", help="Remove. Without it, only report what would be removed.")
    ] = False,
    grace_hours: Annotated[
        float, typer.Option(parser=_amount, metavar="HOURS", help="Keep documents younger than this.")
    ] = 24,
    keep_deleted_days: Annotated[
        float,
        typer.Option(
            parser=_amount, metavar="DAYS", help="Keep agents deleted since then; owners can restore them."
        ),
    ] = 30,
    batch_size: Annotated[int, typer.Option(min=1, max=1000, help="Items in one request.")] = 200,
) -> None:
    """Purge agents deleted long ago, and remove documents that no plan refers to.

    It needs SUPABASE_URL and SUPABASE_SECRET_KEY in the environment. Exit codes and scheduling are described
    in docs/retention.md.
    """
    from greenlight.retention import main as run  # noqa: PLC0415

    raise typer.Exit(
        run(
            apply=apply,
            grace_hours=grace_hours,
            keep_deleted_days=keep_deleted_days,
            batch_size=batch_size,
        )
    )
