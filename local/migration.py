"""`make migration NAME=x`: writes a migration with what supabase/functions.sql changes.

It compares the functions of a scratch database before and after functions.sql is applied to it. The database has the
migrations that come before the one to write. A migration of that name that is not released yet is written again; what
stands in it by hand (tables, constraints, indexes, triggers) stays.
"""

import hashlib
import re
import secrets
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg.rows import dict_row

from greenlight.install import later_stamps, read_migrations
from local import ROOT
from local.postgres import Postgres
from local.processes import LocalError, free_ports

MIGRATIONS = ROOT / "supabase/migrations"
RELEASED = ROOT / "supabase/released.sha256"
FUNCTIONS = ROOT / "supabase/functions.sql"
PLATFORM = ROOT / "local/platform.sql"

BY_HAND = "-- By hand: statements for tables.\n"
WRITTEN = "-- Written by `make migration` from supabase/functions.sql.\n"
AFTER = "-- By hand, after the functions: triggers that call them.\n"
NOTIFY = "notify pgrst, 'reload schema';\n"
HEAD = "set local lock_timeout = '5s';\nset local statement_timeout = '60s';\n"
NAMES: LiteralString = """
        select 'relation' as kind, relname as name
        from pg_catalog.pg_class
        where relnamespace = 'public'::regnamespace

        union all
        select 'type', typname
        from pg_catalog.pg_type
        where
            typnamespace = 'public'::regnamespace
            and typname !~ '^_'

        union all
        select distinct 'function', proname
        from pg_catalog.pg_proc
        where pronamespace = 'public'::regnamespace

        union all
        select 'storage policy', polname
        from pg_catalog.pg_policy
        where polrelid = 'storage.objects'::regclass

        union all
        select distinct 'storage trigger', tgname
        from pg_catalog.pg_trigger
        where
            tgrelid in ('storage.objects'::regclass, 'storage.buckets'::regclass)
            and not tgisinternal
"""
GUARD = """
-- Before anything has changed: the names that this migration and those after it need.
do $$
declare
    v_taken text;
begin
    select string_agg(
        distinct case when names.kind like 'storage%' then names.kind || ' ' else 'public.' end || names.name, ', '
    )
    into v_taken
    from (NAMES    ) as names
    where
        (names.kind, names.name) in (
            TAKEN
        );

    if v_taken is not null then
        raise exception 'Greenlight cannot be upgraded: already taken: %', v_taken
            using
                errcode = 'duplicate_object',
                detail = 'Nothing has been changed.',
                hint = 'Rename or remove what is named above, then push again.';
    end if;
end;
$$;
""".replace("NAMES", NAMES)
A_GUARD = re.compile(re.escape(GUARD).replace("TAKEN", "[^;]*?"))

# A function: the comment above it, its statement, and up to the next blank line its description and its grants.
FUNCTION = re.compile(
    r"^(?:--.*\n)*(?P<create>create or replace function (?P<name>[\w.]+)\([\s\S]*?^\$\$;\n)(?:.+\n)*",
    re.MULTILINE,
)

# Made by hand in a migration, empty, and not in functions.sql: the project replaces them.
THEIRS = {
    f"greenlight.{name}" for name in ("viewer_teams", "approver_teams", "approver_emails", "display_name")
}

CURRENT: LiteralString = """
    select p.oid::regprocedure::text as signature, p.pronamespace::regnamespace || '.' || p.proname as name,
        p.xmin::text as xmin, pg_get_functiondef(p.oid) as definition,
        obj_description(p.oid, 'pg_proc') as comment, p.proacl::text as grants
    from pg_proc as p
    where p.pronamespace::regnamespace::text in ('greenlight', 'public')
    order by 1
"""
Row = dict[str, str | None]


def write(name: str) -> dict[Path, list[str]]:
    """Write the migration, and again those after it. Return the functions in each."""
    path = _path(name)
    later = [other for other in sorted(MIGRATIONS.glob("*.sql")) if other.name > path.name]
    functions = {
        file: _write(file, name) for file in (path, *later) if file == path or WRITTEN in file.read_text()
    }
    _guard()
    return functions


def _guard() -> None:
    """Let the first migration that is not released stop at each name that it and those after it need."""
    files = {path: path.read_text() for path in sorted(MIGRATIONS.glob("*.sql"))}
    released = {path: text for path, text in files.items() if path.name in RELEASED.read_text()}
    with _scratch() as database:
        for text in released.values():
            _execute(database, text)
        names = database.execute(NAMES).fetchall()
        for path, text in files.items():
            if path not in released:
                _execute(database, text)
        taken = sorted(row for row in database.execute(NAMES) if row not in names)
    first = next(path for path in files if path not in released)
    names_taken = ",\n            ".join(f"('{kind}', '{name}')" for kind, name in taken)
    guard = GUARD.replace("TAKEN", names_taken) if taken else ""
    first.write_text(A_GUARD.sub("", files[first]).replace(HEAD, HEAD + guard, 1))


def _write(path: Path, name: str) -> list[str]:
    text = path.read_text() if path.exists() else f"-- {name.replace('_', ' ').capitalize()}.\n\n"
    by_hand = text.partition(BY_HAND)[2].partition(WRITTEN)[0].strip()
    after_functions = text.partition(AFTER)[2].rpartition(NOTIFY)[0].strip()
    others = {other.name: other.read_text() for other in sorted(MIGRATIONS.glob("*.sql")) if other != path}
    # What a later migration writes stays there: it may need that one's tables.
    later = {
        match["name"] for file in others if file > path.name for match in FUNCTION.finditer(others[file])
    }
    functions = [match for match in FUNCTION.finditer(FUNCTIONS.read_text()) if match["name"] not in later]
    with _scratch() as database:
        for file, earlier in others.items():
            if file < path.name:
                _execute(database, earlier)
        _execute(database, by_hand)
        before = _functions(database)
        # `create or replace` writes the row of a function even if nothing changes. A row that it leaves is of a
        # signature that went.
        _execute(database, "".join(match["create"] for match in functions))
        after = _functions(database)
        # Those call what they called until they are replaced, so that a push that stops before that leaves a project
        # that works.
        callers = "".join(row["definition"] or "" for row in before.values() if row["name"] in later)
        drops = "".join(
            f"drop function {signature.replace(',', ', ')};\n"
            for signature, row in before.items()
            if after[signature]["xmin"] == row["xmin"]
            and row["name"] not in later | THEIRS
            and f"{row['name']}(" not in callers
        )
        _execute(database, drops + "".join(match[0] for match in functions))
        after = _functions(database)
    changed = {row["name"] for row in after.values() if not _same(row, before.get(row["signature"] or ""))}
    written = [match for match in functions if match["name"] in changed]
    parts = [
        text.partition(HEAD)[0] + HEAD,
        f"\n{BY_HAND}\n{by_hand}\n" if by_hand else "",
        f"\n{WRITTEN}",
        drops and f"\n{drops}",
        *(f"\n{match[0]}" for match in written),
        f"\n{AFTER}\n{after_functions}\n" if after_functions else "",
        f"\n{NOTIFY}",
    ]
    path.write_text("".join(parts))
    return [match["name"] for match in written]


def _path(name: str) -> Path:
    if not re.fullmatch("[a-z0-9_]+", name):
        raise LocalError("make migration NAME=what_it_does: lower-case letters, digits and _.")
    released = RELEASED.read_text()
    for path in MIGRATIONS.glob(f"*_greenlight_[0-9][0-9]_{name}.sql"):
        if hashlib.sha256(path.read_bytes()).hexdigest() not in released:
            return path
    there = read_migrations(MIGRATIONS)
    (stamp,) = later_stamps(there, 1, datetime.now(UTC))
    number = max(int(migration.name.split("_")[1]) for migration in there) + 1
    return MIGRATIONS / f"{stamp}_greenlight_{number:02}_{name}.sql"


@contextmanager
def _scratch() -> Iterator[psycopg.Connection]:
    """Yield a connection to an empty Supabase project."""
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "logs").mkdir()
        server = Postgres(Path(directory), free_ports(1)[0], secrets.token_hex(16))
        child = server.child()
        try:
            child.start()
            child.wait_until(server.ready)
            with psycopg.connect(server.url("supabase_admin"), autocommit=True) as connection:
                connection.execute(PLATFORM.read_bytes())
                yield connection
        finally:
            child.stop()
            server.wipe()


def _execute(database: psycopg.Connection, text: str) -> None:
    """Run these statements in one transaction, as the CLI does."""
    with database.transaction():
        database.execute("set local role postgres")
        database.execute(text.encode())


def _functions(database: psycopg.Connection) -> dict[str, Row]:
    with database.transaction(), database.cursor(row_factory=dict_row) as cursor:
        cursor.execute("set local search_path = ''")  # so that every name is qualified
        return {row["signature"]: row for row in cursor.execute(CURRENT)}


def _same(new: Row, old: Row | None) -> bool:
    return old is not None and {**new, "xmin": None} == {**old, "xmin": None}


if __name__ == "__main__":
    try:
        for file, functions in write(sys.argv[1]).items():
            print("\n  ".join([str(file.relative_to(ROOT)), *functions]))
    except (LocalError, psycopg.Error) as error:
        sys.exit(str(error))
    print(
        "Left to do: `make types`; supabase/uninstall.sql and RPCS in service/greenlight/doctor.py, if a name or an"
    )
    print("argument in public changed; at the release, the checksum in supabase/released.sha256.")
