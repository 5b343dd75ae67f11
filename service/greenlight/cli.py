"""The command `greenlight`. Each command imports what it needs when it runs, so that `--help` answers at once."""

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Approve a plan, get its agent.")


@app.command()
def serve() -> None:
    """Run the HTTP service, with the settings from the environment."""
    from greenlight.serve import main  # noqa: PLC0415

    main()


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True}, add_help_option=False
)
def retention(context: typer.Context) -> None:
    """Remove documents that no plan refers to, and what was deleted long ago."""
    from greenlight.retention import main  # noqa: PLC0415

    raise typer.Exit(main(context.args))
