"""The one table of errors: code -> status, title, retryable; and how a caller sees one (RFC 9457)."""

from collections import defaultdict
from copy import deepcopy
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, NamedTuple

from fastapi import Request
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from greenlight import logs

RETRY_AFTER_SECONDS = 2


class ErrorKind(NamedTuple):
    status: int
    title: str
    retryable: bool = False


ERRORS: dict[str, ErrorKind] = {
    "not_authenticated": ErrorKind(401, "A valid access token is required"),
    "origin_not_allowed": ErrorKind(403, "Pages of this origin may not call this endpoint"),
    "human_required": ErrorKind(403, "Only the user's own session may decide"),
    "step_up_required": ErrorKind(403, "The sign-in is not strong or fresh enough to decide"),
    "approver_required": ErrorKind(403, "Only an approver of the team may decide"),
    "not_found": ErrorKind(404, "There is no such endpoint"),
    "plan_not_found": ErrorKind(404, "There is no such plan"),
    "method_not_allowed": ErrorKind(405, "This endpoint does not support the method"),
    "agent_archived": ErrorKind(409, "The agent of this planning session is archived"),
    "agent_deleted": ErrorKind(409, "The agent of this planning session is deleted"),
    "document_conflict": ErrorKind(409, "Other bytes are stored in the document's place"),
    "plan_conflict": ErrorKind(409, "This version exists with another document or title"),
    "plan_decided": ErrorKind(409, "This version was already decided"),
    "plan_expired": ErrorKind(409, "This proposal has expired"),
    "plan_stale": ErrorKind(409, "There is a newer version"),
    "document_too_large": ErrorKind(413, "The document is too large"),
    "unsupported_media_type": ErrorKind(415, "The request must be plain JSON"),
    "host_not_allowed": ErrorKind(421, "The service does not answer under this host name"),
    "document_changed": ErrorKind(422, "The document is not the one that the user saw"),
    "invalid_comment": ErrorKind(422, "The comment is blank or too long"),
    "invalid_comments": ErrorKind(422, "The comments on passages are malformed"),
    "invalid_document_sha256": ErrorKind(422, "The document's SHA-256 is malformed"),
    "invalid_expires_at": ErrorKind(422, "The time until the proposal expires is out of range"),
    "invalid_message": ErrorKind(422, "The message is blank or too long"),
    "invalid_plan_id": ErrorKind(422, "The plan's id is malformed"),
    "invalid_request": ErrorKind(422, "The request is malformed"),
    "invalid_session_id": ErrorKind(422, "The planning session's id is malformed"),
    "invalid_team_id": ErrorKind(422, "The team is not the session's, or the caller is not in it"),
    "invalid_title": ErrorKind(
        422, "The title is empty, too long or has characters that a title cannot have"
    ),
    "invalid_user_id": ErrorKind(422, "There is no such user"),
    "invalid_version": ErrorKind(422, "The version is out of range"),
    "internal_error": ErrorKind(500, "Something went wrong in the service"),
    "upstream_error": ErrorKind(502, "Unexpected response from Supabase"),
    "upstream_unavailable": ErrorKind(
        503, "Supabase or the service is busy, or cannot be reached", retryable=True
    ),
    "upstream_timeout": ErrorKind(504, "Supabase did not answer in time", retryable=True),
}


@dataclass(eq=False)
class Problem(Exception):  # noqa: N818 -- the standard's own word (RFC 9457)
    """An answer other than success.

    `detail` is shown to the caller: never a token, document or title. `cause` is for the log only.
    """

    code: str
    detail: str
    retryable: bool | None = None  # None becomes what the table says
    headers: dict[str, str] = field(default_factory=dict)
    fields: dict[str, str] = field(default_factory=dict)
    cause: str | None = None

    def __post_init__(self) -> None:
        super().__init__(self.code)
        if self.retryable is None:
            self.retryable = ERRORS[self.code].retryable


class FieldError(BaseModel):
    field: str
    message: str


class ProblemDetails(BaseModel):
    type: str = Field(json_schema_extra={"format": "uri"})
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    retryable: bool
    errors: list[FieldError] | None = None  # only of `invalid_request`


class ProblemResponse(Response):
    media_type = "application/problem+json"

    def __init__(self, problem: Problem) -> None:
        kind = ERRORS[problem.code]
        headers = {"Cache-Control": "no-store", **problem.headers}
        if kind.status == HTTPStatus.SERVICE_UNAVAILABLE:
            headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
        record = logs.current()
        record.code = problem.code
        record.cause = problem.cause
        details = ProblemDetails(
            type=f"urn:greenlight:error:{problem.code}",
            title=kind.title,
            status=kind.status,
            detail=problem.detail,
            code=problem.code,
            request_id=record.request_id,
            retryable=bool(problem.retryable),
            errors=[FieldError(field=name, message=text) for name, text in problem.fields.items()] or None,
        )
        super().__init__(details.model_dump_json(exclude_none=True), kind.status, headers)


def not_authenticated(detail: str, *, token_given: bool = True) -> Problem:
    return Problem("not_authenticated", detail, headers=challenge(token_given=token_given))


def challenge(*, token_given: bool) -> dict[str, str]:
    # RFC 6750, section 3: no error code where no token was given.
    return {"WWW-Authenticate": 'Bearer error="invalid_token"' if token_given else "Bearer"}


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


def error_responses(*codes: str) -> dict[int | str, dict[str, Any]]:
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


_DETAILS = ProblemDetails.model_json_schema()


def _schema(status: int, codes: list[str]) -> dict[str, Any]:
    schema = deepcopy(_DETAILS)
    field_error = schema.pop("$defs")["FieldError"]
    properties = schema["properties"]
    properties["status"]["const"] = status
    properties["code"]["enum"] = codes
    properties["errors"] = {"type": "array", "items": field_error}
    if "invalid_request" not in codes:
        del properties["errors"]
    return schema
