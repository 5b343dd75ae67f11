"""supabase/functions.sql has every function in its current form; the migrations have the same text."""

import re

import pytest

from local.migration import THEIRS

from .conftest import ROOT, Project, Row

FUNCTIONS = (ROOT / "supabase/functions.sql").read_text()


def ours(project: Project) -> list[Row]:
    return project.rows(
        """
        select p.oid::regprocedure::text as name, pg_get_functiondef(p.oid) as definition,
            p.proacl::text[] as grants, obj_description(p.oid, 'pg_proc') as comment, p.prosrc, p.proconfig,
            p.provolatile, p.prosecdef, pg_get_userbyid(p.proowner) as owner
        from pg_proc p
        where p.pronamespace in ('greenlight'::regnamespace, 'public'::regnamespace)
        order by 1
        """
    )


def test_applying_functions_sql_to_a_migrated_database_changes_nothing(any_project: Project) -> None:
    before = ours(any_project)
    with any_project.as_superuser() as connection:
        connection.execute("set local role postgres")
        connection.execute(FUNCTIONS.encode())
    after = ours(any_project)
    assert [row["name"] for row in after] == [row["name"] for row in before]
    for old, new in zip(before, after, strict=True):
        assert new == old, f"functions.sql and the migrations differ in {old['name']}"


def test_functions_sql_has_every_function(project: Project) -> None:
    """But those that the project replaces."""
    written = re.findall(r"create or replace function (\w+\.\w+)\(", FUNCTIONS)
    there = [row["name"].split("(")[0] for row in ours(project)]
    assert sorted([*written, *(THEIRS & {*there})]) == sorted(
        name if "." in name else f"public.{name}" for name in there
    )


@pytest.mark.parametrize("schema", ["public", "greenlight"])
def test_functions_set_search_path_and_public_ones_run_as_their_caller(project: Project, schema: str) -> None:
    functions = project.rows(
        "select proname, proconfig, prosecdef from pg_proc where pronamespace = %s::regnamespace", schema
    )
    assert functions
    for function in functions:
        assert function["proconfig"][0] == 'search_path=""', function["proname"]
        assert not (schema == "public" and function["prosecdef"]), function["proname"]
