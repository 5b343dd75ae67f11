"""`greenlight export`: writes all data of one user into a folder.

`plan.jsonl` holds the plans and what was decided about each: by whom proposed, when decided and signed in how, with
which comment. `agent.jsonl`, `build.jsonl` and `agent_event.jsonl` (the audit log) hold the rest, one row of the
table a line, deleted ones included. `documents/{session}/{sha256}.md` are the documents, their hashes verified.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import typer
from pydantic import TypeAdapter, ValidationError
from pydantic_settings import BaseSettings

from greenlight import BUCKET
from greenlight.keys import SecretKey
from greenlight.settings import ENVIRONMENT, Origin, SettingsError, read

TABLES = ("plan", "agent", "build", "agent_event")
PAGE = 1000
DOCUMENT = re.compile(r"[0-9a-f-]{36}/[A-Za-z0-9_-]{1,128}/[0-9a-f]{64}\.md")

_ROWS = TypeAdapter(list[dict[str, Any]])

DONE, INCOMPLETE, MISUSE, UNAVAILABLE = 0, 1, 2, 3


class ExportSettings(BaseSettings):
    model_config = ENVIRONMENT

    supabase_url: Origin
    supabase_secret_key: SecretKey


class Unavailable(Exception):  # noqa: N818 -- what is unavailable is Supabase
    """Supabase returns an unexpected response."""


def main(*, user: UUID, folder: Path | None) -> int:
    target = folder or Path(f"greenlight-{user}")
    try:
        settings = read(ExportSettings)
    except SettingsError as error:
        typer.echo(f"The export cannot run with these settings:\n{error}", err=True)
        return MISUSE
    if target.exists():
        typer.echo(f"{target} already exists. Name another folder with --to.", err=True)
        return MISUSE
    key = settings.supabase_secret_key.get_secret_value()
    headers = {"apikey": key, "Authorization": f"Bearer {key}"}
    try:
        with (
            private_files(),
            httpx.Client(
                base_url=settings.supabase_url, headers=headers, timeout=60, trust_env=False
            ) as http,
        ):
            return export(str(user), target, http)
    except (httpx.HTTPError, Unavailable) as error:
        typer.echo(f"Supabase at {settings.supabase_url}: {type(error).__name__}: {error}", err=True)
        return UNAVAILABLE


@contextmanager
def private_files() -> Iterator[None]:
    """Let only their owner read and write the files that are made meanwhile."""
    earlier = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(earlier)


def export(user: str, target: Path, http: httpx.Client) -> int:
    """Write into another folder and rename it at the end, so that the target is complete or absent."""
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    counts: dict[str, int] = {}
    paths = set(stored_documents(user, http))
    for table in TABLES:
        rows = sorted(read_table(table, user, http), key=lambda row: (row["created_at"], row["id"]))
        counts[table] = len(rows)
        if table == "plan":
            paths |= {row["document_path"] for row in rows}
        with (partial / f"{table}.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    faults = [fault for path in sorted(paths) if (fault := save_document(path, partial, http))]
    counts["documents"] = len(paths) - len(faults)
    partial.rename(target)
    typer.echo(f"Written to {target}:")
    for name, count in counts.items():
        typer.echo(f"{count:8} {name}")
    for fault in faults:
        typer.echo(fault, err=True)
    if not paths and not any(counts.values()):
        typer.echo(f"There is no data of user {user}.", err=True)
        return INCOMPLETE
    return INCOMPLETE if faults else DONE


def read_table(table: str, user: str, http: httpx.Client) -> Iterator[dict[str, Any]]:
    """Yield all rows of this user, page by page: the Data API returns a limited number at once."""
    last: dict[str, str] = {}
    while True:
        parameters = {"user_id": f"eq.{user}", "order": "id", "limit": str(PAGE), **last}
        page = _list(http.get(f"/rest/v1/{table}", params=parameters))
        if not page:
            return
        yield from page
        last = {"id": f"gt.{page[-1]['id']}"}


def stored_documents(user: str, http: httpx.Client) -> Iterator[str]:
    """Yield the paths of all documents in this user's folder, with a plan or without."""
    for session in _entries(user, http):
        for document in _entries(f"{user}/{session}", http):
            yield f"{user}/{session}/{document}"


def _entries(folder: str, http: httpx.Client) -> Iterator[str]:
    offset = 0
    while True:
        request = {"prefix": folder, "limit": PAGE, "offset": offset}
        page = _list(http.post(f"/storage/v1/object/list/{BUCKET}", json=request))
        if not page:
            return
        yield from (entry["name"] for entry in page)
        offset += len(page)


def save_document(path: str, folder: Path, http: httpx.Client) -> str | None:
    """Save a document. Returns what is wrong with it, if anything is."""
    if not DOCUMENT.fullmatch(path):
        return f"{path} is not the path of a document: it was left out"
    answer = http.get(f"/storage/v1/object/authenticated/{BUCKET}/{path}")
    if not answer.is_success:
        return f"{path} could not be read: {answer.status_code} {answer.text[:200]}"
    file = folder / "documents" / path.partition("/")[2]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(answer.content)
    if hashlib.sha256(answer.content).hexdigest() != file.stem:
        return f"{path} does not have the hash in its name: it was saved as it is"
    return None


def _list(answer: httpx.Response) -> list[dict[str, Any]]:
    try:
        return _ROWS.validate_json(answer.raise_for_status().content)
    except ValidationError:
        raise Unavailable(f"unexpected response: {answer.text[:200]}") from None
