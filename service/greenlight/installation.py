"""Compares what of Greenlight is in a database with what this version installs, and writes what is missing.

A dump of the Supabase CLI leaves out what lies in the schema storage: our policies, triggers and the bucket. Restored
into an older project, its tables get that project's default privileges. supabase/installed.json, which `make types`
writes, has the answer of installation() after a fresh install: for each object the statement that makes it.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from greenlight.install import Migration, sql_file

REPAIR = "greenlight_repair.sql"
HEAD = """\
-- Puts back what of Greenlight was missing or changed in this database. Written by `greenlight doctor --repair`; it may
-- run again at any time.

set local lock_timeout = '5s';
set local statement_timeout = '60s';
"""

# In the order in which to put them back. What is not here (columns) only a migration or a backup can restore.
KINDS = ("function", "grants", "row level security", "constraint", "index", "trigger", "policy", "bucket")


class Differences(NamedTuple):
    missing: list[str]
    changed: list[str]
    policies_of_theirs: list[str]  # on our tables, in addition to ours

    def __bool__(self) -> bool:
        return bool(self.missing or self.changed)


def expected() -> dict[str, str]:
    objects: dict[str, str] = json.loads(sql_file("installed.json").read_text(encoding="utf-8"))
    return objects


def compare(installed: Mapping[str, str]) -> Differences:
    objects = expected()
    return Differences(
        [name for name in objects if name not in installed],
        [
            name
            for name in objects
            if name in installed and _normal(installed[name]) != _normal(objects[name])
        ],
        [name for name in installed if name not in objects and name.startswith("policy ")],
    )


def _normal(definition: str) -> str:
    """Leave out what differs between a definition and the same one after a dump, or in another version of Postgres."""
    return re.sub(r"::(character varying|text)(\[\])?|[()\s]", "", definition)


def can_repair(name: str) -> bool:
    return _kind(name) is not None


def repair(differences: Differences) -> Migration:
    """Return the migration that puts back what a migration can."""
    objects = expected()
    names = [name for name in objects if name in {*differences.missing, *differences.changed}]
    parts = [HEAD]
    for kind in KINDS:
        of_kind = [name for name in names if _kind(name) == kind]
        if kind == "function" and of_kind:
            parts.append(sql_file("functions.sql").read_text(encoding="utf-8"))
        else:
            for name in of_kind:
                parts += _statements(kind, name, objects[name], changed=name in differences.changed)
    return Migration("", REPAIR, "\n".join([*parts, "notify pgrst, 'reload schema';\n"]))


def _kind(name: str) -> str | None:
    return next((kind for kind in KINDS if name.startswith(f"{kind} ")), None)


def _statements(kind: str, name: str, definition: str, *, changed: bool) -> Iterator[str]:
    match kind:
        case "constraint":
            _, constraint, _, table = name.split()
            if changed:
                yield f"alter table {table} drop constraint if exists {constraint};\n"
            yield (
                "do $$\nbegin\n"
                "    if not exists (\n        select from pg_catalog.pg_constraint\n"
                f"        where conrelid = '{table}'::regclass and conname = '{constraint}'\n    ) then\n"
                f"        {definition};\n    end if;\nend;\n$$;\n"
            )
        case "index":
            if changed:
                yield f"drop index if exists {name.removeprefix('index ')};\n"
            yield f"{definition.replace(' INDEX ', ' INDEX IF NOT EXISTS ', 1)};\n"
        case "trigger" if definition.startswith("CREATE CONSTRAINT"):
            yield f"drop trigger if exists {name.removeprefix('trigger ')};\n"
            yield f"{definition};\n"
        case _:
            yield f"{definition};\n"
