"""These tests, pointed at the Supabase of someone else: nothing is left there, and no build of theirs is taken."""

import os
import subprocess
import sys

import psycopg
import pytest

from local import ROOT
from tests.builder.conftest import Owner
from tests.conftest import RunningStack

TABLES = (
    "auth.users",
    "public.plan",
    "public.agent",
    "public.agent_event",
    "public.build",
    "storage.objects",
)


def counts(stack: RunningStack) -> dict[str, int]:
    assert stack.local is not None
    with psycopg.connect(stack.local.postgres.url("supabase_admin")) as database:
        rows = {table: database.execute(f"select count(*) from {table}").fetchone() for table in TABLES}
    return {table: row[0] for table, row in rows.items() if row is not None}


def run_there(stack: RunningStack, *tests: str) -> str:
    if stack.local is None:
        pytest.skip("this run is pointed at another Supabase itself")
    variables = {
        "SUPABASE_URL": stack.supabase_url,
        "SUPABASE_PUBLISHABLE_KEY": stack.publishable_key,
        "SUPABASE_SECRET_KEY": stack.secret_key,
        "DATABASE_URL": stack.needs_database(),
    }
    known = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *tests],
        env={**known, **variables},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_they_leave_nothing_behind(stack: RunningStack) -> None:
    before = counts(stack)
    output = run_there(
        stack,
        "tests/builder/test_builder.py::test_an_approved_plan_is_built_and_its_agent_active",
        "tests/builder/test_builder.py::test_eight_builders_build_two_hundred_once_each",
        "tests/builder/test_builder.py::test_what_is_not_wanted_any_more_is_ended",
    )
    assert "passed" in output
    assert counts(stack) == before


def test_they_take_no_build_of_others(stack: RunningStack, owner: Owner) -> None:
    agent = owner.approved()["agent_id"]
    test = "tests/builder/test_builder.py::test_an_approved_plan_is_built_and_its_agent_active"
    output = run_there(stack, test)
    assert "1 skipped" in output
    assert "has builds that are not ours" in output
    assert owner.status(agent) == ("building", "queued", 0)
