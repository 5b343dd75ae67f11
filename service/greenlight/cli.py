"""The command `greenlight`.

Each command imports its implementation when it runs, so that `--help` answers at once and no command loads
what another one needs.
"""

import math
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal
from uuid import UUID

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


def _version(given: bool) -> None:
    if given:
        typer.echo(f"greenlight {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


Project = Annotated[Path, typer.Option(help="The Supabase project's directory, or one inside it.")]


@app.command(short_help="Add the migrations to a Supabase project, or upgrade it.")
def install(
    project: Project = Path(),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be written.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; fail if the project is behind.")
    ] = False,
) -> None:
    """Add the migrations of this version to a Supabase project, as files of its own.

    Run it again after an upgrade to add the new ones. It never changes an existing file.
    """
    from greenlight.install import install as run  # noqa: PLC0415

    run(project=project, dry_run=dry_run, check=check)


@app.command(short_help="Check the service's settings and its Supabase project.")
def doctor(
    repair: Annotated[
        bool, typer.Option("--repair", help="Write a migration that puts back what is missing or changed.")
    ] = False,
    documents: Annotated[
        bool, typer.Option("--documents", help="Read every document, and compare it with its plan.")
    ] = False,
    project: Project = Path(),
) -> None:
    """Check settings, keys, address, clock, signing keys, the database and the bucket, and say how to fix problems.

    It reads the service's environment variables and, to check database and bucket, SUPABASE_SECRET_KEY. It
    changes nothing; --repair writes a file into the project. Exit code 1: something is wrong.
    """
    from greenlight.doctor import main as run  # noqa: PLC0415

    raise typer.Exit(run(repair=repair, check_documents=documents, project=project))


@app.command(short_help="Run the HTTP service.")
def serve() -> None:
    """Run the HTTP service: propose and approve plans on behalf of signed-in users.

    It is configured by environment variables. SUPABASE_URL and SUPABASE_PUBLISHABLE_KEY are required; the
    others are listed in docs/configuration.md. It refuses to start with a secret key.
    """
    from greenlight.serve import main as run  # noqa: PLC0415

    run()


@app.command(
    short_help="Run a command for each approved plan.",
    # Everything after COMMAND belongs to it, with or without `--` in front.
    context_settings={"allow_interspersed_args": False},
)
def build(  # noqa: PLR0913, PLR0917 -- each is an option
    command: Annotated[
        list[str], typer.Argument(metavar="COMMAND", help="The command that builds, with its arguments.")
    ],
    concurrency: Annotated[
        int, typer.Option(min=1, max=100, help="How many builds run at the same time.")
    ] = 1,
    poll_seconds: Annotated[
        float, typer.Option(min=0.05, max=3600, help="Average pause before asking again when idle.")
    ] = 0.75,
    lease_seconds: Annotated[
        int,
        typer.Option(min=5, max=3600, help="After this time, another builder takes over from a dead one."),
    ] = 60,
    grace: Annotated[
        float, typer.Option(min=0, max=86400, help="Seconds that running builds get after SIGTERM.")
    ] = 20,
    worker: Annotated[
        str | None,
        typer.Option(help="This builder's name in build.worker.  [default: machine and process id]"),
    ] = None,
    metrics_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Serve Prometheus metrics on this port.")
    ] = None,
    metrics_host: Annotated[str, typer.Option(help="The address to serve them on.")] = "127.0.0.1",
    secret_key_file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Read the secret key from this file instead of the environment; `-`: from standard input.",
        ),
    ] = None,
    isolate: Annotated[
        Literal["auto", "always", "never"],
        typer.Option(
            help="Keep builds apart from each other: if the system allows it, or else do not start."
        ),
    ] = "auto",
    share_log: Annotated[
        bool,
        typer.Option("--share-log", help="Show the agent's owner the end of what COMMAND writes."),
    ] = False,
) -> None:
    """Claim builds, and run COMMAND for each: a builder. See docs/builder.md.

    COMMAND runs in an empty directory of its own. GREENLIGHT_DOCUMENT names the file with the approved plan;
    GREENLIGHT_BUILD_ID, GREENLIGHT_ATTEMPT, GREENLIGHT_AGENT_ID, GREENLIGHT_PLAN_ID, GREENLIGHT_USER_ID,
    GREENLIGHT_SESSION_ID, GREENLIGHT_VERSION, GREENLIGHT_TITLE and GREENLIGHT_DOCUMENT_SHA256 describe the build;
    GREENLIGHT_COMMENT, GREENLIGHT_COMMENTS (a JSON file) and GREENLIGHT_TEAM_ID are set if there are any. Into the file
    GREENLIGHT_RESULT it may write a JSON object: `url` and `summary` of it show on the agent's page.
    A line `::progress 40 Writing tests` on its standard output shows on the agent's page. Exit code 0 finishes the
    build, 65 fails it for good; after any other, it is tried again, up to its last attempt. The owner sees the last
    line of its standard error.

    It needs SUPABASE_URL and, unless --secret-key-file is given, SUPABASE_SECRET_KEY in the environment. COMMAND
    does not get the key.
    """
    from greenlight.builder.main import main as run  # noqa: PLC0415

    raise typer.Exit(
        run(
            command,
            concurrency=concurrency,
            poll_seconds=poll_seconds,
            lease_seconds=lease_seconds,
            grace=grace,
            worker=worker,
            metrics_port=metrics_port,
            metrics_host=metrics_host,
            secret_key_file=secret_key_file,
            isolate=isolate,
            share_log=share_log,
        )
    )


@app.command(short_help="Tell a webhook, a mailbox or a chat what happens.")
def notify(  # noqa: PLR0913, PLR0917 -- each is an option
    webhook: Annotated[
        str | None, typer.Option(metavar="URL", help="Post each as a Standard Webhook, signed.")
    ] = None,
    mail: Annotated[
        bool, typer.Option("--mail", help="Send a mail to the plan's approvers, or else to its owner.")
    ] = False,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="URL", envvar="NOTIFY_TO", help="Send to a chat or push service, in Apprise's notation."
        ),
    ] = None,
    subscriber: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Notifiers of one name share one queue.  [default: webhook, mail or chat]",
        ),
    ] = None,
    kinds: Annotated[
        str | None, typer.Option(metavar="LIST", help="Only these, such as plan.proposed,agent.active.")
    ] = None,
    poll_seconds: Annotated[
        float, typer.Option(min=0.05, max=3600, help="Average pause before asking again when idle.")
    ] = 1.0,
    concurrency: Annotated[int, typer.Option(min=1, max=100, help="How many are sent at the same time.")] = 4,
    templates: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Texts that replace ours.", exists=True, file_okay=False),
    ] = None,
    metrics_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Serve Prometheus metrics on this port.")
    ] = None,
    metrics_host: Annotated[str, typer.Option(help="The address to serve them on.")] = "127.0.0.1",
) -> None:
    """Send what happens to plans and agents to one target, each at least once. See docs/notify.md.

    It needs SUPABASE_URL and SUPABASE_SECRET_KEY in the environment; --webhook also WEBHOOK_SECRET, and --mail also
    SMTP_URL and MAIL_FROM. With UI_URL, the address of the web app, there are links to its pages.
    """
    from greenlight.notify.main import main as run  # noqa: PLC0415

    raise typer.Exit(
        run(
            webhook=webhook,
            mail=mail,
            to=to,
            subscriber=subscriber,
            kinds=kinds,
            poll_seconds=poll_seconds,
            concurrency=concurrency,
            templates=templates,
            metrics_port=metrics_port,
            metrics_host=metrics_host,
        )
    )


def _amount(text: str | float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= 100_000:
        raise typer.BadParameter("must be a number from 0 to 100000")
    return number


@app.command(short_help="Remove old deleted agents, closed proposals, unused documents.")
def retention(  # noqa: PLR0913, PLR0917 -- each is an option
    apply: Annotated[
        bool, typer.Option("--apply", help="Remove. Without it, only report what would be removed.")
    ] = False,
    grace_hours: Annotated[
        float, typer.Option(parser=_amount, metavar="HOURS", help="Keep documents younger than this.")
    ] = 24,
    keep_deleted_days: Annotated[
        float,
        typer.Option(
            parser=_amount,
            metavar="DAYS",
            help="Keep agents for so long after they were deleted; owners can restore them.",
        ),
    ] = 30,
    keep_closed_days: Annotated[
        float,
        typer.Option(
            parser=_amount,
            metavar="DAYS",
            help="Keep proposals for so long after they were refused, replaced or expired.",
        ),
    ] = 30,
    keep_logs_days: Annotated[
        float,
        typer.Option(
            parser=_amount,
            metavar="DAYS",
            help="Keep the logs of builds for so long after the build ended.",
        ),
    ] = 30,
    keep_notifications_days: Annotated[
        float,
        typer.Option(
            parser=_amount,
            metavar="DAYS",
            help="Keep notifications that were not delivered, and subscribers that do not claim, for so long.",
        ),
    ] = 30,
    batch_size: Annotated[int, typer.Option(min=1, max=1000, help="Items in one request.")] = 200,
) -> None:
    """Purge agents deleted long ago and proposals closed long ago; remove documents that no plan refers to.

    It needs SUPABASE_URL and SUPABASE_SECRET_KEY in the environment. Exit codes and scheduling are described
    in docs/retention.md.
    """
    from greenlight import retention as command  # noqa: PLC0415

    options = command.Options(
        apply,
        timedelta(hours=grace_hours),
        timedelta(days=keep_deleted_days),
        timedelta(days=keep_closed_days),
        timedelta(days=keep_logs_days),
        timedelta(days=keep_notifications_days),
        batch_size,
    )
    raise typer.Exit(command.main(options))


@app.command(short_help="Write all data of one user to files.")
def export(
    user: Annotated[UUID, typer.Option(help="The user's id.")],
    to: Annotated[
        Path | None, typer.Option(help="A folder that does not exist yet.  [default: greenlight-ID]")
    ] = None,
) -> None:
    """Write a user's plans, decisions, agents, builds and audit log as JSON lines, and the documents.

    It needs SUPABASE_URL and SUPABASE_SECRET_KEY in the environment. Exit code 1: something is missing or has
    another hash, 2: wrong arguments or settings, 3: Supabase cannot be reached or refuses.
    """
    from greenlight.export import main as run  # noqa: PLC0415

    raise typer.Exit(run(user=user, folder=to))


@app.command(short_help="Add the migration that removes everything from a project.")
def uninstall(
    project: Project = Path(),
    keep_documents: Annotated[
        bool, typer.Option("--keep-documents", help="Let it run even if the bucket holds documents.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be written.")] = False,
) -> None:
    """Add a migration that drops all tables, types, functions, policies and the schema of Greenlight.

    Pushing it deletes all plans, agents, builds and events: run `greenlight export` for each user first.
    The bucket stays; docs/deploy.md says how to empty and remove it.
    """
    from greenlight.install import uninstall as run  # noqa: PLC0415

    run(project=project, keep_documents=keep_documents, dry_run=dry_run)
