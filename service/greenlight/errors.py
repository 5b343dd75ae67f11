"""The one table of errors: code -> status, title, retryable; and how a caller sees one (RFC 9457)."""

from collections import defaultdict
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, NamedTuple

from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from greenlight import logs

RETRY_AFTER_SECONDS = 2


class Kind(NamedTuple):
    status: int
    title: str
    retryable: bool = False


ERRORS: dict[str, Kind] = {
    "not_authenticated": Kind(401, "A valid access token is required"),
    "not_found": Kind(404, "There is nothing at this address"),
    "plan_not_found": Kind(404, "There is no such plan"),
    "method_not_allowed": Kind(405, "This address does not answer to this method"),
    "agent_archived": Kind(409, "The agent of this planning session is archived"),
    "agent_deleted": Kind(409, "The agent of this planning session is deleted"),
    "plan_conflict": Kind(409, "This version was already approved with another document"),
    "plan_stale": Kind(409, "A newer version was already approved"),
    "document_too_large": Kind(413, "The document is too large"),
    "unsupported_media_type": Kind(415, "The request must be plain JSON"),
    "document_changed": Kind(422, "The document is not the one that was seen"),
    "invalid_document_sha256": Kind(422, "The document's SHA-256 is malformed"),
    "invalid_plan_id": Kind(422, "The plan's id is malformed"),
    "invalid_request": Kind(422, "The request is malformed"),
    "invalid_session_id": Kind(422, "The planning session's id is malformed"),
    "invalid_title": Kind(422, "The title is empty, too long or has characters that a title cannot have"),
    "invalid_version": Kind(422, "The version is out of range"),
    "internal_error": Kind(500, "Something went wrong here"),
    "upstream_error": Kind(502, "Supabase gave an answer that cannot be used"),
    "upstream_unavailable": Kind(503, "Supabase cannot be reached or is busy", retryable=True),
    "upstream_timeout": Kind(504, "Supabase did not answer in time", retryable=True),
}


@dataclass
class Problem(Exception):  # noqa: N818 -- the standard's own word (RFC 9457)
    """An answer other than success. `detail` is shown to the caller: never a token, document or title."""

    code: str
    detail: str
    retryable: bool | None = None  # None: as the table says
    headers: dict[str, str] = field(default_factory=dict)
    fields: list[dict[str, str]] | None = None

    def __str__(self) -> str:
        return self.code


def not_authenticated(detail: str, *, token_given: bool = True) -> Problem:
    # RFC 6750, section 3: no error code where no token was given.
    challenge = 'Bearer error="invalid_token"' if token_given else "Bearer"
    return Problem("not_authenticated", detail, headers={"WWW-Authenticate": challenge})


class ProblemResponse(JSONResponse):
    media_type = "application/problem+json"

    def __init__(self, problem: Problem) -> None:
        kind = ERRORS[problem.code]
        headers = {"Cache-Control": "no-store", **problem.headers}
        if kind.status == HTTPStatus.SERVICE_UNAVAILABLE:
            headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
        content: dict[str, Any] = {
            "type": f"urn:greenlight:error:{problem.code}",
            "title": kind.title,
            "status": kind.status,
            "detail": problem.detail,
            "code": problem.code,
            "request_id": logs.current().request_id,
            "retryable": kind.retryable if problem.retryable is None else problem.retryable,
        }
        if problem.fields is not None:
            content["errors"] = problem.fields
        logs.current().code = problem.code
        super().__init__(content, kind.status, headers)


async def problem_response(_: Request, error: Exception) -> ProblemResponse:
    if not isinstance(error, Problem):
        raise error
    return ProblemResponse(error)


async def http_exception_response(_: Request, error: Exception) -> ProblemResponse:
    """Answer for what the framework itself refuses: unknown address, wrong method."""
    if not isinstance(error, HTTPException):
        raise error
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid_request")
    return ProblemResponse(Problem(code, ERRORS[code].title + ".", headers=dict(error.headers or {})))


def documented(*codes: str) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI answers for these codes, one for each status."""
    by_status: defaultdict[int, list[str]] = defaultdict(list)
    for code in codes:
        by_status[ERRORS[code].status].append(code)
    answers: dict[int | str, dict[str, Any]] = {}
    for status, names in sorted(by_status.items()):
        headers = {"X-Request-ID": _header("The id under which this request was logged.")}
        if status == HTTPStatus.UNAUTHORIZED:
            headers["WWW-Authenticate"] = _header("The scheme: Bearer.")
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            headers["Retry-After"] = _header("Seconds to wait before the next attempt.")
        answers[status] = {
            "description": "; ".join(f"`{name}`: {ERRORS[name].title}" for name in names),
            "headers": headers,
            "content": {ProblemResponse.media_type: {"schema": _schema(status, names)}},
        }
    return answers


def _header(description: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}}


def _schema(status: int, codes: list[str]) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer", "const": status},
        "detail": {"type": "string"},
        "code": {"type": "string", "enum": codes},
        "request_id": {"type": "string"},
        "retryable": {"type": "boolean"},
    }
    required = list(properties)
    if "invalid_request" in codes:
        properties["errors"] = {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
                "required": ["field", "message"],
            },
        }
    return {"type": "object", "properties": properties, "required": required}
