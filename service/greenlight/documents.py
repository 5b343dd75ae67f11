"""`greenlight doctor --documents`: compares plans and stored documents, a page at a time.

After a restore they may disagree: a dump has no bytes, and a database that was set back knows nothing of what was
stored or removed since.
"""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import httpx

from greenlight import MAX_DOCUMENT_BYTES
from greenlight.admin import Supabase


class Fault(NamedTuple):
    path: str
    why: str


def faulty(supabase: Supabase) -> Iterator[Fault]:
    """Yield the documents of plans that are missing, or have another hash than the plan."""
    for plan in supabase.rows("plan", "id,document_path,document_sha256"):
        path = plan["document_path"]
        with supabase.document(path) as answer:
            if not answer.is_success:
                yield Fault(path, "missing" if answer.is_client_error else f"status {answer.status_code}")
            elif _hash(answer) != plan["document_sha256"]:
                yield Fault(path, "other bytes")


def _hash(answer: httpx.Response) -> str | None:
    """Return the hash of a body, or None of one that is longer than any document."""
    digest, size = hashlib.sha256(), 0
    for chunk in answer.iter_bytes():
        digest.update(chunk)
        size += len(chunk)
        if size > MAX_DOCUMENT_BYTES:
            return None
    return digest.hexdigest()
