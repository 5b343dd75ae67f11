"""`greenlight install` and `greenlight uninstall`: put our migrations into a Supabase project, and take them out.

The Supabase CLI applies a migration only if its stamp is later than everything the database has, and only if the
project's own folder has every migration that the database has. So our migrations become files of that project, each
with a new stamp, later than any there. The rest of the name stays, and identifies the file:
`20261122000200_greenlight_02_tables.sql` here may be `20270131090001_greenlight_02_tables.sql` there.
"""

import difflib
import hashlib
import re
import shlex
import shutil
import subprocess
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import typer

FILE_NAME = re.compile(r"(\d+)_(.+\.sql)")  # what the CLI takes for a migration: its stamp, and the rest
UNINSTALL = "greenlight_uninstall.sql"

# Texts that a released migration had before it was corrected, by their SHA-256. A project that has one is unchanged.
EARLIER = {
    # 0.2.0: it stops at the bucket that `supabase db reset` leaves
    "d2b8e2178aaa7fa933b0c43819f3a576c559fdf021a6ae783b88460d40dd7d27",
}


class InstallError(Exception):
    """The project is not in the expected state. Nothing was written."""


@dataclass(frozen=True)
class Migration:
    stamp: str
    name: str  # what follows the stamp
    text: str

    def __str__(self) -> str:
        return f"{self.stamp}_{self.name}"


@contextmanager
def errors_told() -> Iterator[None]:
    """End the command with the error's message, without a traceback."""
    try:
        yield
    except (InstallError, OSError) as error:
        typer.echo(error, err=True)
        raise typer.Exit(1) from None


@errors_told()
def install(*, project: Path, dry_run: bool, check: bool) -> None:
    """Write the migrations that the project does not have yet.

    `dry_run` only says which; `check` fails if there are any.
    """
    root = find_project(project)
    to_add = missing(root, shipped())
    if check and to_add:
        names = "\n".join(f"  {migration.name}" for migration in to_add)
        raise InstallError(f"{root} lacks these migrations; `greenlight install` adds them:\n{names}")
    folder = root / "supabase/migrations"
    for old in filter(is_earlier, read_migrations(folder)):
        new = next(path for path in sql_file("migrations").iterdir() if path.name.endswith(old.name))
        typer.echo(
            f"{old} has a fault: a reset of the linked project stops there. To replace it:\n"
            f"  {shlex.join(['cp', str(new), str(folder / str(old))])}\n"
        )
    if to_add:
        write(root, to_add, dry_run)
    else:
        typer.echo(f"Greenlight's migrations in {root} are up to date.")
        if not check:
            typer.echo(f"If you have not pushed them yet: {push_command(*_cli(root))}")


@errors_told()
def uninstall(*, project: Path, keep_documents: bool, dry_run: bool) -> None:
    """Write the migration that removes everything of ours from the database."""
    root = find_project(project)
    text = sql_file("uninstall.sql").read_text(encoding="utf-8")
    if keep_documents:
        text = text.replace(
            "v_keep_documents constant boolean := false", "v_keep_documents constant boolean := true"
        )
    migrations = read_migrations(root / "supabase/migrations")
    last = next((migration for migration in reversed(migrations) if migration.name == UNINSTALL), None)
    if installed(migrations):
        require_complete(root)
        write(root, [Migration("", UNINSTALL, text)], dry_run)
    elif last is None:
        raise InstallError(f"Greenlight is not installed in {root}.")
    elif last.text != text:
        raise InstallError(
            f"{last} already exists, and differs from what would be written now.\n"
            "If it has not been pushed, delete it and run this again."
        )
    else:
        typer.echo(f"{last} already exists.")


def require_complete(project: Path) -> None:
    if missing(project, shipped()):
        raise InstallError(
            f"{project} lacks migrations of this version. Run `greenlight install` and push first."
        )


def find_project(start: Path) -> Path:
    """Return the nearest directory, from here upwards, that has supabase/config.toml."""
    start = start.resolve()
    for directory in (start, *start.parents):
        if (directory / "supabase/config.toml").is_file():
            return directory
    raise InstallError(
        f"No Supabase project here: neither {start} nor a directory above it has supabase/config.toml.\n"
        "Name one with --project, or create one with `supabase init`."
    )


def shipped() -> list[Migration]:
    """Return the migrations of this version."""
    return read_migrations(sql_file("migrations"))


def sql_file(name: str) -> Path:
    """Return a file or folder of supabase/. In the wheel it is beside this module."""
    packed = Path(__file__).with_name(name)
    return packed if packed.exists() else Path(__file__).parents[2] / "supabase" / name


def read_migrations(folder: Path) -> list[Migration]:
    """Return the migrations in this folder, in the order of the CLI: that of the stamps as text."""
    files = [(FILE_NAME.fullmatch(path.name), path) for path in folder.glob("*.sql")]
    return sorted(
        (Migration(match[1], match[2], path.read_text(encoding="utf-8")) for match, path in files if match),
        key=lambda migration: (migration.stamp, migration.name),
    )


def installed(migrations: list[Migration]) -> list[Migration]:
    """Return those of a project's migrations that are ours, and later than the last uninstall."""
    current: list[Migration] = []
    for migration in migrations:
        if migration.name == UNINSTALL:
            current = []
        elif re.match(r"greenlight_\d\d_", migration.name):
            current.append(migration)
    return current


def missing(project: Path, shipped: list[Migration]) -> list[Migration]:
    """Return those of our migrations that the project does not have yet.

    Raises InstallError unless what it has of them are the first ones, each once, in order and unchanged.
    """
    present = installed(read_migrations(project / "supabase/migrations"))
    names, expected = [migration.name for migration in present], [migration.name for migration in shipped]
    if len(names) > len(expected) and names[: len(expected)] == expected:
        newer = "\n".join(f"  {migration}" for migration in present[len(expected) :])
        raise InstallError(f"{project} has migrations of a newer version of Greenlight:\n{newer}")
    if names != expected[: len(names)]:
        listed = "\n".join(f"  {migration}" for migration in present)
        in_order = "\n".join(f"  {name}" for name in expected)
        raise InstallError(
            f"{project} has these migrations of Greenlight:\n{listed}\n"
            f"They are not the first ones of this version, each once and in this order:\n{in_order}\n"
            "Restore what was removed or renamed from your version control, or use the version that wrote them."
        )
    changed = [
        line
        for theirs, ours in zip(present, shipped, strict=False)
        for line in difflib.unified_diff(
            ours.text.splitlines(),
            theirs.text.splitlines(),
            f"greenlight: {ours.name}",
            str(theirs),
            lineterm="",
        )
        if not is_earlier(theirs)
    ]
    if changed:
        diff = "\n".join(changed)
        raise InstallError(
            f"{project} has migrations of Greenlight that differ from this version's:\n{diff}\n"
            "Restore them from your version control; put your own changes into a migration of your own."
        )
    return shipped[len(present) :]


def is_earlier(migration: Migration) -> bool:
    return hashlib.sha256(migration.text.encode()).hexdigest() in EARLIER


def write(project: Path, migrations: list[Migration], dry_run: bool) -> None:
    """Write these as files of the project, in order, and say which and what comes next.

    Each file is written under another name and then renamed, so that it is complete or absent.
    """
    folder = project / "supabase/migrations"
    stamps = later_stamps(read_migrations(folder), len(migrations), datetime.now(UTC))
    typer.echo(f"{'Would write' if dry_run else 'Writing'} to {folder}:")
    for stamp, migration in zip(stamps, migrations, strict=True):
        path = folder / f"{stamp}_{migration.name}"
        if not dry_run:
            folder.mkdir(exist_ok=True)
            beside = folder / f".{migration.name}.new"  # overwrites what an interrupted run left
            beside.write_text(migration.text, encoding="utf-8", newline="\n")
            beside.rename(path)
        typer.echo(f"  {path.name}")
    if not dry_run:
        typer.echo("\n".join(["", *next_commands(project)]))


def later_stamps(migrations: list[Migration], count: int, now: datetime) -> list[str]:
    """Return rising stamps of the CLI's form, later than now and than all of these.

    The CLI compares stamps as text, whatever their length: 9 is later than 20261122000200.
    """
    last = max([_stamp(now), *(migration.stamp.ljust(14, "0")[:14] for migration in migrations)])
    begin = datetime(1, 1, 1, tzinfo=UTC)
    seconds = int((datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC) - begin).total_seconds())
    first = bisect_right(range(seconds), last, key=lambda second: _stamp(begin + timedelta(seconds=second)))
    if first + count > seconds:
        raise InstallError(f"There is no stamp later than {last}. Rename the migration that begins with it.")
    return [_stamp(begin + timedelta(seconds=first + n)) for n in range(count)]


def _stamp(moment: datetime) -> str:
    return re.sub(r"\D", "", moment.isoformat()[:19])


def next_commands(project: Path) -> list[str]:
    """Return the commands to run next, for the Supabase CLI that the project uses."""
    command, version = _cli(project)
    push = push_command(command, version)
    linked = any(
        (project / "supabase/.temp" / name).exists() for name in ("project-ref", "linked-project.json")
    )
    first = f"{push} --dry-run" if linked else f"{command} link --project-ref <ref>"
    cli = (
        f"with the Supabase CLI {version}" if version else "no Supabase CLI found here; npx fetches version 3"
    )
    return [f"Next, in {project} ({cli}):", f"  {first}", f"  {push}"]


def push_command(command: str, version: str) -> str:
    """Return how to push with this Supabase CLI."""
    return f"{command} db push" if version.startswith(("1.", "2.")) else f"{command} db push --remote"


def _cli(project: Path) -> tuple[str, str]:
    """Return how to call the CLI, and its version: the project's own, or the one on the path."""
    own = [str(directory / "node_modules/.bin") for directory in (project, *project.parents)]
    for command, path in [*(("npx supabase", place) for place in own), ("supabase", None)]:
        program = shutil.which("supabase", path=path)
        if program is None:
            continue
        try:
            answer = subprocess.run(
                [program, "--version"], capture_output=True, text=True, check=True, timeout=30
            )
        except (OSError, subprocess.SubprocessError):
            continue
        if version := re.search(r"\d+\.\d+\.\d+", answer.stdout):
            return command, version[0]
    return "npx supabase", ""
