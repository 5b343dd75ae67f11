"""Requests to approve or propose a plan, good and bad ones, and the hash of a document."""

import hashlib
import json
import unicodedata
import uuid
from typing import Any


def sha256(content: str | bytes) -> str:
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def new_session() -> str:
    return f"s-{uuid.uuid4().hex}"


DOCUMENT = "# Plan\n\nWörter, 計画 ☕️\n".encode()


def body(**changed: Any) -> dict[str, Any]:
    """Return a good request's body, with these fields changed."""
    return {"plan_id": new_session(), "title": "A plan", "content": "# A plan\n\nDo it.\n", **changed}


def encode(request: dict[str, Any]) -> bytes:
    # With escapes: half of a surrogate pair can be written only so.
    return json.dumps(request).encode()


LIMIT = 1_048_576  # bytes of a document

# Titles that hide something: they are invalid_title. Nothing in them can be seen, ...
UNSEEN = (
    "\u200b",
    "\u2060\ufeff",
    "\u00ad",
    "\u115f",
    "\u1160",
    "\u2800",
    "\u3164",
    "\uffa0",
    "\ufe0f",
    "\ufe00\u3000\u061c",
)
UNSEEN_TAGS = ("\U000e0001", "".join(chr(0xE0000 + ord(letter)) for letter in "approve"))
# ... or a bidi control shows them in another order.
BIDI = tuple(f"a{chr(control)}b" for control in (*range(0x202A, 0x202F), *range(0x2066, 0x206A)))
INVALID_TITLES = (*UNSEEN, *UNSEEN_TAGS, *BIDI)

# And titles that are fine, because something in them can be seen.
VALID_TITLES = (
    "zero\u200bwidth",
    "\u2800.",
    "\u202f\u0645\u0631\u062d\u0628\u0627\u200f",
    "\U0001f469\u200d\U0001f680\ufe0f",
    "\u0301",
    "\ue000",
)


def is_seen(title: str) -> bool:
    """Tell whether a title has a visible character."""
    blank = "\u115f\u1160\u2800\u3164\uffa0"
    return any(
        not (
            unicodedata.category(letter) in {"Cf", "Cc", "Zs", "Zl", "Zp"}
            or letter in blank
            or "\ufe00" <= letter <= "\ufe0f"
            or "\U000e0000" <= letter <= "\U000e007f"
        )
        for letter in title
    )


# Which answer a wrong field gets.
BAD_FIELDS: list[tuple[dict[str, Any], int, str]] = [
    ({"plan_id": ""}, 422, "invalid_session_id"),
    ({"plan_id": "a" * 129}, 422, "invalid_session_id"),
    ({"plan_id": "a\n"}, 422, "invalid_session_id"),
    ({"plan_id": "../a"}, 422, "invalid_session_id"),
    ({"plan_id": "a/b"}, 422, "invalid_session_id"),
    ({"plan_id": "%2e%2e"}, 422, "invalid_session_id"),
    ({"plan_id": "\u0661"}, 422, "invalid_session_id"),
    ({"plan_id": 7}, 422, "invalid_request"),
    ({"plan_id": None}, 422, "invalid_request"),
    ({"plan_id": "a\x00"}, 422, "invalid_request"),
    ({"version": 0}, 422, "invalid_version"),
    ({"version": -1}, 422, "invalid_version"),
    ({"version": 2**31}, 422, "invalid_version"),
    ({"version": 10**30}, 422, "invalid_version"),
    ({"version": -(10**30)}, 422, "invalid_version"),
    ({"version": True}, 422, "invalid_request"),
    ({"version": 1.0}, 422, "invalid_request"),
    ({"version": "1"}, 422, "invalid_request"),
    ({"version": None}, 422, "invalid_request"),
    ({"title": ""}, 422, "invalid_title"),
    ({"title": " \u3000\n"}, 422, "invalid_title"),
    ({"title": "a" * 501}, 422, "invalid_title"),
    ({"title": "\U0001f680" * 501}, 422, "invalid_title"),
    ({"title": "a\nb"}, 422, "invalid_title"),
    ({"title": "a\u2028b"}, 422, "invalid_title"),
    ({"title": "a\u0085b"}, 422, "invalid_title"),
    ({"title": "\x1f"}, 422, "invalid_title"),
    ({"title": "a\x1c"}, 422, "invalid_title"),
    ({"title": "a\x00"}, 422, "invalid_request"),
    ({"title": ["a"]}, 422, "invalid_request"),
    ({"content": ""}, 422, "invalid_request"),
    ({"content": "a\x00b"}, 422, "invalid_request"),
    ({"content": "a\ud800"}, 422, "invalid_request"),
    ({"content": "\udc00"}, 422, "invalid_request"),
    ({"content": {}}, 422, "invalid_request"),
    ({"content": "a" * (LIMIT + 1)}, 413, "document_too_large"),
    ({"content": "\u00e9" * (LIMIT // 2) + "a"}, 413, "document_too_large"),
    ({"content_sha256": ""}, 422, "invalid_document_sha256"),
    ({"content_sha256": "A" * 64}, 422, "invalid_document_sha256"),
    ({"content_sha256": "a" * 64 + "\n"}, 422, "invalid_document_sha256"),
    ({"content_sha256": 1}, 422, "invalid_request"),
    ({"content_sha256": "a" * 64}, 422, "document_changed"),
]
