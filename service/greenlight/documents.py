"""`greenlight doctor --documents`: compares plans and stored documents, a page at a time.

After a restore they may disagree: a dump has no bytes, and a database that was set back knows nothing of what was
stored or removed since.
"""

import hashlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
from pydantic import TypeAdapter, ValidationError

from greenlight import BUCKET, MAX_DOCUMENT_BYTES

PAGE = 1000
YOUNG = "24 hours"  # such a document may be about to be approved

_ROWS = TypeAdapter(list[dict[str, Any]])


class Fault(NamedTuple):
    path: str
    why: str


class Unexpected(Exception):  # noqa: N818 -- the response is
    """Supabase refuses, or returns an unexpected response."""


def faulty(http: httpx.Client) -> Iterator[Fault]:
    """Yield the documents of plans that are missing, or have another hash than the plan."""
    for plan in _plans(http):
        path = plan["document_path"]
        with http.stream("GET", f"/storage/v1/object/authenticated/{BUCKET}/{path}") as answer:
            if answer.status_code in {429, 502, 503, 504}:
                raise Unexpected(f"Storage is busy or down: it answered {answer.status_code}")
            if not answer.is_success:
                yield Fault(path, "missing" if answer.is_client_error else f"status {answer.status_code}")
            elif _hash(answer) != plan["document_sha256"]:
                yield Fault(path, "other bytes")


def without_plan(http: httpx.Client) -> int:
    """Return how many documents no plan refers to."""
    count, last = 0, ""
    while True:
        arguments = {"older_than": YOUNG, "after_name": last, "batch_size": PAGE}
        page = _rows(http.post("/rest/v1/rpc/orphaned_documents", json=arguments))
        if not page:
            return count
        count, last = count + len(page), page[-1]["name"]


def _plans(http: httpx.Client) -> Iterator[dict[str, Any]]:
    """Yield every plan: the Data API returns a limited number at once."""
    last: dict[str, str] = {}
    while True:
        fields = {"select": "id,document_path,document_sha256", "order": "id", "limit": str(PAGE)}
        page = _rows(http.get("/rest/v1/plan", params={**fields, **last}))
        if not page:
            return
        yield from page
        last = {"id": f"gt.{page[-1]['id']}"}


def _hash(answer: httpx.Response) -> str | None:
    """Return the hash of a body, or None of one that is longer than any document."""
    digest, size = hashlib.sha256(), 0
    for chunk in answer.iter_bytes():
        digest.update(chunk)
        size += len(chunk)
        if size > MAX_DOCUMENT_BYTES:
            return None
    return digest.hexdigest()


def _rows(answer: httpx.Response) -> list[dict[str, Any]]:
    try:
        return _ROWS.validate_json(answer.raise_for_status().content)
    except (httpx.HTTPStatusError, ValidationError):
        raise Unexpected(f"{answer.request.url.path} answered {answer.status_code}") from None
