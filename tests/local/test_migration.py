"""`make migration`: functions.sql is edited, and the command writes what the database lacks."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copytree
from typing import Any

import psycopg
import pytest

from local import ROOT, migration
from local.processes import LocalError
from tests.plan import sha256


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, Any]]:
    """The command's own empty project, which the tests copy: to start one for each database takes longest."""
    with migration._scratch() as database:
        info = database.info
        login = {"host": info.host, "port": info.port, "user": info.user, "password": info.password}
        database.close()  # while it is open, no copy can be made
        yield login


@pytest.fixture
def supabase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: dict[str, Any]) -> Path:
    """A copy of supabase/ to edit."""

    @contextmanager
    def scratch() -> Iterator[psycopg.Connection]:
        with psycopg.connect(dbname="template1", **server, autocommit=True) as admin:
            admin.execute("drop database if exists scratch")
            admin.execute("create database scratch template postgres owner postgres")
        with psycopg.connect(dbname="scratch", **server, autocommit=True) as database:
            yield database

    monkeypatch.setattr(migration, "_scratch", scratch)
    copy = tmp_path / "supabase"
    copytree(ROOT / "supabase", copy)
    monkeypatch.setattr(migration, "MIGRATIONS", copy / "migrations")
    monkeypatch.setattr(migration, "FUNCTIONS", copy / "functions.sql")
    return copy


def edit(file: Path, old: str, new: str) -> None:
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def test_what_differs_is_written_and_nothing_else(supabase: Path) -> None:
    functions = supabase / "functions.sql"
    edit(functions, "octet_length(session_id) <= 128", "octet_length(session_id) <= 127")
    edit(functions, "withdraw_plan(session_id text, version integer, ", "withdraw_plan(session_id text, ")
    edit(functions, "withdraw_plan(session_id, version, user_id)", "withdraw_plan(session_id, user_id)")
    edit(functions, "grant execute on function public.retry_build to authenticated, service_role;\n", "")
    edit(
        functions,
        "-- Part 9",
        "create or replace function public.stop()\nreturns void\nlanguage sql\nas $$\n    select;\n$$;\n\n-- Part 9",
    )
    ((path, written),) = migration.write("x").items()
    assert written == [
        "greenlight.check_version",
        "greenlight.withdraw_plan",
        "public.withdraw_plan",
        "public.retry_build",
        "public.stop",
    ]
    text = path.read_text()
    assert re.findall(r"^drop function .*$", text, re.MULTILINE) == [
        "drop function greenlight.withdraw_plan(text, integer, uuid);",
        "drop function public.withdraw_plan(text, integer, uuid);",
    ]
    # The first of the release asks for the names of all of them.
    released = migration.RELEASED.read_text()
    first = next(file for file in sorted(supabase.glob("migrations/*.sql")) if file.name not in released)
    assert "('function', 'stop')" in first.read_text()
    assert text.startswith("-- X.\n\nset local lock_timeout")
    assert text.endswith("notify pgrst, 'reload schema';\n")

    # The database has it all now.
    assert [*migration.write("y").values()] == [[]]


def test_a_migration_that_is_not_released_is_written_again(supabase: Path) -> None:
    functions = supabase / "functions.sql"
    edit(functions, "octet_length(session_id) <= 128", "octet_length(session_id) <= 127")
    ((path, written),) = migration.write("x").items()
    by_hand = "alter table public.plan\nadd column note text;"
    edit(path, migration.WRITTEN, f"{migration.BY_HAND}\n{by_hand}\n\n{migration.WRITTEN}")
    trigger = (
        "create trigger x\nbefore insert on public.plan\nfor each row\nexecute function greenlight.touch();"
    )
    edit(path, migration.NOTIFY, f"{migration.AFTER}\n{trigger}\n\n{migration.NOTIFY}")
    edit(path, "-- X.", "-- Notes.")
    edit(functions, "octet_length(session_id) <= 127", "octet_length(session_id) <= 126")
    assert migration.write("x") == {path: written}
    text = path.read_text()
    assert text.count(by_hand) == text.count("-- Notes.") == text.count("<= 126") == text.count(trigger) == 1
    assert text.index(by_hand) < text.index("<= 126") < text.index(trigger) < text.index(migration.NOTIFY)
    assert "<= 127" not in text


def test_what_a_later_migration_writes_stays_there(supabase: Path) -> None:
    """It may need the tables of that one. Both are written again, whichever is named."""
    functions = supabase / "functions.sql"
    edit(functions, "octet_length(session_id) <= 128", "octet_length(session_id) <= 127")
    (first,) = migration.write("first")
    (later,) = migration.write("later")
    edit(
        later,
        migration.WRITTEN,
        f"{migration.BY_HAND}\ncreate table public.note (x integer);\n\n{migration.WRITTEN}",
    )
    note = "create or replace function public.note()\nreturns public.note\nlanguage sql\nas $$\n    select 1;\n$$;\n"
    edit(functions, "-- Part 9", f"{note}\n-- Part 9")
    assert [*migration.write("later").values()] == [["public.note"]]
    edit(functions, "octet_length(session_id) <= 127", "octet_length(session_id) <= 126")
    edit(functions, "select 1;", "select 1 limit 1;")
    assert migration.write("first") == {first: ["greenlight.check_version"], later: ["public.note"]}
    assert "<= 126" in first.read_text()
    assert "limit 1" in later.read_text()


def test_a_released_migration_stays_as_it_is(supabase: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path,) = migration.write("x")
    released = supabase / "released.sha256"
    released.write_text(sha256(path.read_bytes()))
    monkeypatch.setattr(migration, "RELEASED", released)
    assert path not in migration.write("x")
    for name in ("", "a b", "../x"):
        with pytest.raises(LocalError):
            migration.write(name)
