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


# What is a wrong value to the service and to the database alike: arguments made to be taken for something else, ...
OTHER = "00000000-0000-4000-8000-000000000000"
BAD_SESSIONS = (
    *(
        "",
        ".",
        "..",
        "../" + OTHER,
        f"../{OTHER}/session",
        "a/../../b",
        "a/b",
        "/a",
        "a/",
        "a//b",
        "a\\b",
        "..\\b",
    ),
    *("%2e%2e", "%2e%2e%2fa", "%252e%252e", "..%2fa", "a%2Fb", "%00", "a%0d%0aX-Injected: 1", "a\n", "\na"),
    *(
        "a\r\nX-Injected: 1",
        "a\tb",
        "a b",
        " a",
        "a?x=1",
        "a#x",
        "a&b",
        "a;b",
        "a:b",
        "a.md",
        "a.b",
        "a'or'1'='1",
    ),
    *(
        'a"b',
        "a`b",
        "$(id)",
        "{a}",
        "\u202ea",
        "a\u200b",
        "\ufeffa",
        "\uff0e\uff0e",
        "\u2025",
        "\u0430",
        "\u00e4",
    ),
    *("e\u0301", "\u0661", "\U0001f680", "a" * 129, "*", "~", "con:"),
)
BAD_TITLES = (
    *(
        "",
        "   ",
        " \u3000\n",
        "\u3000\u2028",
        "a\nb",
        "a\r\nX-Injected: 1",
        "a\u2028b",
        "a\u2029b",
        "a\x1bb",
        "a\x1c",
    ),
    *("\x1f", "a\x7fb", "a\u0085b", "a" * 501, "\U0001f680" * 501),
    *(padded for title in INVALID_TITLES for padded in (title, f" {title}\u3000")),
)
BAD_SHA256S = ("", "0" * 63, "0" * 65, "A" * 64, "g" * 64, "0" * 64 + "\n")

# ... and which answer the service gives to a wrong field.
BAD_FIELDS: list[tuple[dict[str, Any], int, str]] = [
    *[({"plan_id": session}, 422, "invalid_session_id") for session in BAD_SESSIONS],
    *[({"title": title}, 422, "invalid_title") for title in BAD_TITLES],
    *[({"content_sha256": digest}, 422, "invalid_document_sha256") for digest in BAD_SHA256S],
    *[({"version": version}, 422, "invalid_version") for version in (0, -1, 2**31, 10**30, -(10**30))],
    *[({"version": version}, 422, "invalid_request") for version in (True, 1.0, "1", None)],
    *[
        ({field: bad}, 422, "invalid_request")
        for field in ("plan_id", "title", "content", "content_sha256")
        for bad in ("\x00", "a\x00b", "\ud800", "\udfff\ud800", "a\udc00")
    ],
    *[
        ({field: value}, 422, "invalid_request")
        for field, value in (("plan_id", 7), ("plan_id", None), ("title", ["a"]), ("content", ""))
    ],
    *[({field: value}, 422, "invalid_request") for field, value in (("content", {}), ("content_sha256", 1))],
    ({"content": "a" * (LIMIT + 1)}, 413, "document_too_large"),
    ({"content": "\u00e9" * (LIMIT // 2) + "a"}, 413, "document_too_large"),
    ({"content_sha256": "a" * 64}, 422, "document_changed"),
]
