"""The one use case: approve a plan as its user."""

import asyncio
import hashlib
import re
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema

from greenlight import logs
from greenlight.auth import User
from greenlight.errors import Problem
from greenlight.settings import Settings
from greenlight.upstream import DocumentMissing, Refused, Upstream

# How often a document is stored again that somebody else's clean-up removed between our upload and our RPC.
ATTEMPTS = 3
MAX_VERSION = 2**31 - 1  # Postgres integer
MAX_TITLE = 500  # code points, trimmed
# Unicode White_Space, exactly: str.strip() without it trims U+001C to U+001F as well.
WHITE_SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
)

_SESSION_ID = r"[A-Za-z0-9_-]{1,128}"
_SHA256 = r"[0-9a-f]{64}"
_CONTROL = r"\x00-\x1f\x7f-\x9f\u2028\u2029"
_SPACE = r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_EDGE = f"[^{_CONTROL}{_SPACE}]"
# The rules for a title as one pattern, for the OpenAPI document.
TITLE_PATTERN = f"^[{_SPACE}]*{_EDGE}(?:[^{_CONTROL}]{{0,{MAX_TITLE - 2}}}{_EDGE})?[{_SPACE}]*$"


class ApprovePlanRequest(BaseModel):
    """What the user approves. The schemas say what is accepted; the types alone are checked in parsing."""

    model_config = ConfigDict(strict=True)

    plan_id: Annotated[str, WithJsonSchema({"type": "string", "pattern": f"^{_SESSION_ID}$"})] = Field(
        description="Id of the planning session."
    )
    title: Annotated[str, WithJsonSchema({"type": "string", "pattern": TITLE_PATTERN})] = Field(
        description=f"1 to {MAX_TITLE} code points after trimming; no control characters or line breaks."
    )
    content: Annotated[str, WithJsonSchema({"type": "string", "minLength": 1, "pattern": r"^[^\x00]*$"})] = (
        Field(description="The document, markdown. Stored byte for byte, as UTF-8.")
    )
    version: Annotated[
        int, WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MAX_VERSION, "default": 1})
    ] = Field(1, description="Which revision of the session's document this is.")
    content_sha256: Annotated[
        str | None,
        WithJsonSchema({"anyOf": [{"type": "string", "pattern": f"^{_SHA256}$"}, {"type": "null"}]}),
    ] = Field(None, description="SHA-256 of the document that the user saw, in lower-case hex.")


class ApprovePlanResponse(BaseModel):
    success: Literal[True] = True
    message: str = "Plan approved and agent created successfully"
    document_url: str = Field(description="Signed URL of the document, fresh.")
    agent_id: str = Field(description="The agent's address is /build/{agent_id}.")
    agent_status: str
    plan_id: str = Field(description="The plan row's id.")
    version: int
    created: bool = Field(description="False when this very approval was there already.")


@dataclass(frozen=True)
class Approval:
    """An approval whose every part is well-formed."""

    session_id: str
    version: int
    title: str
    document: bytes
    sha256: str


def parse(body: bytes, max_document_bytes: int) -> Approval:
    """Read and judge a request's body, by the same rules as the database.

    Raises `invalid_request`, `invalid_*`, `document_too_large` or `document_changed`.
    """
    request = _parsed(body)
    if not re.fullmatch(_SESSION_ID, request.plan_id):
        raise Problem("invalid_session_id", "plan_id must be 1 to 128 letters, digits, '_' and '-'.")
    if not 1 <= request.version <= MAX_VERSION:
        raise Problem("invalid_version", f"version must be from 1 to {MAX_VERSION}.")
    title = request.title.strip(WHITE_SPACE)
    if not 1 <= len(title) <= MAX_TITLE or re.search(f"[{_CONTROL}]", title):
        detail = f"title must have 1 to {MAX_TITLE} characters after trimming, none of them a control."
        raise Problem("invalid_title", detail)
    if request.content_sha256 is not None and not re.fullmatch(_SHA256, request.content_sha256):
        raise Problem("invalid_document_sha256", "content_sha256 must be 64 lower-case hexadecimal digits.")
    document = request.content.encode()
    if len(document) > max_document_bytes:
        raise Problem("document_too_large", f"The document may have {max_document_bytes} bytes of UTF-8.")
    sha256 = hashlib.sha256(document).hexdigest()
    if request.content_sha256 not in (None, sha256):
        raise Problem("document_changed", "content_sha256 is not the SHA-256 of content.")
    return Approval(request.plan_id, request.version, title, document, sha256)


def _parsed(body: bytes) -> ApprovePlanRequest:
    try:
        # JSON can write half of a surrogate pair; the parser refuses it.
        request = ApprovePlanRequest.model_validate_json(body)
    except ValidationError as error:
        raise _invalid_request(
            {".".join(map(str, e["loc"])) or "body": e["msg"] for e in error.errors(include_input=False)}
        ) from None
    texts = {name: value for name, value in request if isinstance(value, str)}
    if wrong := {name: "must not contain U+0000" for name, value in texts.items() if "\x00" in value}:
        raise _invalid_request(wrong)
    if not request.content:
        raise _invalid_request({"content": "must not be empty"})
    return request


def _invalid_request(wrong: dict[str, str]) -> Problem:
    return Problem(
        "invalid_request",
        f"Not usable: {', '.join(wrong)}.",
        fields=[{"field": name, "message": message} for name, message in wrong.items()],
    )


async def approve(
    approval: Approval, user: User, upstream: Upstream, settings: Settings
) -> ApprovePlanResponse:
    """Store the document, sign its URL, and make plan and agent of it.

    Each of the three steps may be repeated, and the last one is a single transaction: whenever this stops
    in between, the same request again ends in the same one agent.
    """
    path = f"{user.id}/{approval.session_id}/{approval.sha256}.md"
    try:
        async with asyncio.timeout(settings.approval_timeout_seconds):
            return await _approve(approval, path, upstream, settings)
    except TimeoutError:
        # The outcome is not known: the document stays for the next attempt.
        raise Problem("upstream_timeout", "Supabase did not answer in time.") from None
    except Refused:
        # Nothing will come of the document. If any plan refers to it, the database keeps it; if a
        # neighbour was about to use the same bytes, it will store them again.
        await upstream.remove(path)
        raise


async def _approve(
    approval: Approval, path: str, upstream: Upstream, settings: Settings
) -> ApprovePlanResponse:
    for _ in range(ATTEMPTS):
        try:
            url = await upstream.store(path, approval.document, settings.signed_url_ttl_seconds)
            answer = await upstream.approve(
                {
                    "session_id": approval.session_id,
                    "version": approval.version,
                    "title": approval.title,
                    "document_sha256": approval.sha256,
                    "document_url": url,
                }
            )
        except DocumentMissing:
            continue
        try:
            return ApprovePlanResponse.model_validate({**answer, "document_url": url}, strict=True)
        except ValidationError as error:
            logs.current().cause = f"rpc: {logs.describe(error)}"
            raise Problem(
                "upstream_error", "Supabase's answer makes no sense (rpc).", retryable=True
            ) from None
    raise Problem("upstream_error", "The document was removed each time it was stored.", retryable=True)
