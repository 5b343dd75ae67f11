"""`greenlight export`: writes all data of one user into a folder.

`plan.jsonl` holds the plans and what was decided about each: by whom proposed, when decided and signed in how, with
which comment. `agent.jsonl`, `build.jsonl`, `build_log.jsonl` and `agent_event.jsonl` (the audit log) hold the rest,
one row of the table a line, deleted ones included. `documents/{session}/{sha256}.md` are the documents, their hashes
verified.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from operator import itemgetter
from pathlib import Path
from uuid import UUID

import typer

from greenlight import SESSION_ID
from greenlight.admin import SecretSettings, Supabase, SupabaseError, connect
from greenlight.exits import Exit
from greenlight.settings import SettingsError, read_settings

# Each with its key.
TABLES = {
    "plan": ["id"],
    "agent": ["id"],
    "build": ["id"],
    "build_log": ["build_id", "attempt"],
    "agent_event": ["id"],
}
DOCUMENT = re.compile(rf"[0-9a-f-]{{36}}/{SESSION_ID}/[0-9a-f]{{64}}\.md")


def main(*, user: UUID, folder: Path | None) -> int:
    target = folder or Path(f"greenlight-{user}")
    try:
        settings = read_settings(SecretSettings)
    except SettingsError as error:
        typer.echo(f"The export cannot run with these settings:\n{error}", err=True)
        return Exit.MISUSE
    if target.exists():
        typer.echo(f"{target} already exists. Name another folder with --to.", err=True)
        return Exit.MISUSE
    try:
        with private_files(), connect(settings) as supabase:
            return export(str(user), target, supabase)
    except SupabaseError as error:
        typer.echo(error, err=True)
        return Exit.UNAVAILABLE


@contextmanager
def private_files() -> Iterator[None]:
    """Let only their owner read and write the files that are made meanwhile."""
    earlier = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(earlier)


def export(user: str, target: Path, supabase: Supabase) -> int:
    """Write into another folder and rename it at the end, so that the target is complete or absent."""
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    counts: dict[str, int] = {}
    paths = set(stored_documents(user, supabase))
    for table, key in TABLES.items():
        rows = sorted(supabase.rows(table, key=key, user_id=f"eq.{user}"), key=itemgetter("created_at", *key))
        counts[table] = len(rows)
        if table == "plan":
            paths |= {row["document_path"] for row in rows}
        with (partial / f"{table}.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    faults = [fault for path in sorted(paths) if (fault := save_document(path, partial, supabase))]
    counts["documents"] = len(paths) - len(faults)
    partial.rename(target)
    typer.echo(f"Written to {target}:")
    for name, count in counts.items():
        typer.echo(f"{count:8} {name}")
    for fault in faults:
        typer.echo(fault, err=True)
    if not paths and not any(counts.values()):
        typer.echo(f"There is no data of user {user}.", err=True)
        return Exit.INCOMPLETE
    return Exit.INCOMPLETE if faults else Exit.DONE


def stored_documents(user: str, supabase: Supabase) -> Iterator[str]:
    """Yield the paths of all documents in this user's folder, with a plan or without."""
    for session in supabase.folder(user):
        for document in supabase.folder(f"{user}/{session}"):
            yield f"{user}/{session}/{document}"


def save_document(path: str, folder: Path, supabase: Supabase) -> str | None:
    """Save a document. Returns what is wrong with it, if anything is."""
    if not DOCUMENT.fullmatch(path):
        return f"{path} is not the path of a document: it was left out"
    with supabase.document(path) as answer:
        content = answer.read()
    if not answer.is_success:
        return f"{path} could not be read: {answer.status_code} {answer.text[:200]}"
    file = folder / "documents" / path.partition("/")[2]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    if hashlib.sha256(content).hexdigest() != file.stem:
        return f"{path} does not have the hash in its name: it was saved as it is"
    return None
