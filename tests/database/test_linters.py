"""The platform's own judges: the advisors of `supabase db advisors`, and plpgsql_check by `supabase db lint`."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pytest_postgresql import factories

from .conftest import CLI, HERE, ROOT, Project, give_to_postgres, load_platform, project_of, push

# Debian's package has the extension for this server alone.
CHECKED = Path("/usr/lib/postgresql/15")


def run(*arguments: str) -> list[dict[str, Any]]:
    """The list that a command of the CLI prints."""
    result = subprocess.run(
        [CLI, *arguments, "--workdir", ROOT],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "DO_NOT_TRACK": "1"},
    )
    assert result.returncode in (0, 1), result.stderr
    start = result.stdout.find("[")
    found: list[dict[str, Any]] = json.loads(result.stdout[start:]) if start >= 0 else []
    if not found:
        assert result.returncode == 0, result.stderr
    return found


def advice(project: Project) -> list[str]:
    """Everything that the advisors report, except that an index of a new table was never used."""
    found = run("db", "advisors", f"--remote={project.dsn('postgres')}", "--level", "info")
    return [f"{item['level']} {item['detail']}" for item in found if item["name"] != "unused_index"]


def test_the_advisors_find_nothing(any_project: Project) -> None:
    assert advice(any_project) == []


def test_the_advisors_find_a_mistake(project: Project) -> None:
    with project.as_superuser() as connection:
        connection.execute("set local role postgres")
        connection.execute("alter table public.plan disable row level security")
        connection.execute("drop index public.plan_document_id_idx")
    said = "\n".join(advice(project))
    assert "public.plan" in said
    assert "plan_document_id_fkey" in said


def add_plpgsql_check(host: str, port: int, dbname: str, **_: object) -> None:
    with psycopg.connect(f"postgresql://supabase_admin@{host}:{port}/{dbname}") as connection:
        connection.execute("create extension plpgsql_check with schema extensions")


checked_server = factories.postgresql_proc(
    executable=str(HERE / "pg_ctl_debian"),
    user="supabase_admin",
    postgres_options="-c fsync=off -c log_min_messages=panic",
    load=[load_platform, give_to_postgres, add_plpgsql_check, push],
)
checked_database = factories.postgresql("checked_server")


@pytest.fixture
def checked_project(request: pytest.FixtureRequest) -> Iterator[Project]:
    if not (CHECKED / "lib/plpgsql_check.so").exists():
        pytest.skip("plpgsql_check is not here: on Debian, apt-get install postgresql-15-plpgsql-check")
    with project_of(request.getfixturevalue("checked_database")) as project:
        yield project


def lint(project: Project) -> list[str]:
    found = run("db", "lint", f"--remote={project.dsn('postgres')}", "--schema", "public,greenlight")
    return [
        f"{item['function']}: {issue['level']}: {issue['message']}"
        for item in found
        for issue in item["issues"]
    ]


def test_plpgsql_check_finds_nothing(checked_project: Project) -> None:
    assert lint(checked_project) == []


def test_plpgsql_check_finds_a_mistake(checked_project: Project) -> None:
    with checked_project.as_superuser() as connection:
        connection.execute("set local role postgres")
        connection.execute(
            "create function greenlight.broken() returns void language plpgsql as"
            " $$ begin perform no_such_thing(); end $$"
        )
    assert any("no_such_thing" in issue for issue in lint(checked_project))
