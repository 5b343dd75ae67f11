"""What callers send to approve or propose a plan, and its rules. No I/O."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
)

from greenlight import SESSION_ID
from greenlight.comments import MAX_COMMENTS, SPACE, WHITE_SPACE, Comment, Text, without_nul
from greenlight.errors import Problem

MAX_VERSION = 2**31 - 1  # Postgres integer
MAX_TITLE = 500  # code points, trimmed

_CONTROL = r"\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069"  # with line breaks and bidi controls
_EDGE = f"[^{_CONTROL}{SPACE}]"
# What is not one of these can be seen: they are of the categories C and Z, or blank. As in the database.
_UNSEEN = (
    r"\x00-\x20\x7f-\xa0\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u1680\u180e\u2000-\u200f"
    r"\u2028-\u202f\u205f-\u2064\u2066-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb"
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e007f"
)
# The edge is looked for first: what follows it would be read again for each white space before it.
_SEEN = f"(?={_EDGE})(?=[^{_CONTROL}]{{0,{MAX_TITLE - 1}}}[^{_UNSEEN}])"
TITLE_PATTERN = f"^[{SPACE}]*{_SEEN}{_EDGE}(?:[^{_CONTROL}]{{0,{MAX_TITLE - 2}}}{_EDGE})?[{SPACE}]*$"
# Python's own engine, because pydantic's needs seconds for this pattern on a title of megabytes.
_TITLE = re.compile(TITLE_PATTERN.removesuffix("$"))


def _trimmed(title: str) -> str:
    if not _TITLE.fullmatch(title):
        raise ValueError(
            f"must have 1 to {MAX_TITLE} characters after trimming, one that can be seen, and no control characters"
        )
    return title.strip(WHITE_SPACE)


def _without_default(schema: dict[str, Any]) -> None:
    del schema["default"]


SessionId = Annotated[str, StringConstraints(pattern=f"^{SESSION_ID}$")]
Title = Annotated[str, AfterValidator(_trimmed), WithJsonSchema({"type": "string", "pattern": TITLE_PATTERN})]
Content = Annotated[
    str,
    StringConstraints(min_length=1),
    AfterValidator(without_nul),
    Field(json_schema_extra={"pattern": r"^[^\x00]*$"}),
]
Version = Annotated[int, Field(ge=1, le=MAX_VERSION)]
# As Postgres reads a uuid, in the usual notation only.
UUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
TeamId = Annotated[str, StringConstraints(pattern=f"^{UUID}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]

# The error codes for wrong values of the right type, in the order of the RPC's arguments.
FIELD_CODES = {
    "plan_id": "invalid_session_id",
    "session_id": "invalid_session_id",
    "version": "invalid_version",
    "title": "invalid_title",
    "content_sha256": "invalid_document_sha256",
    "expires_in_seconds": "invalid_expires_at",
    "comment": "invalid_comment",
    "comments": "invalid_comments",
    "message": "invalid_message",
    "team_id": "invalid_team_id",
}
_WRONG_VALUE = {"string_pattern_mismatch", "greater_than_equal", "less_than_equal", "value_error"}


class PlanRequest(BaseModel):
    model_config = ConfigDict(
        strict=True, json_schema_extra={"oneOf": [{"required": ["plan_id"]}, {"required": ["session_id"]}]}
    )

    plan_id: SessionId = Field(
        "", description="Id of the planning session.", json_schema_extra=_without_default
    )
    session_id: SessionId = Field(
        "", description="Another name for plan_id.", json_schema_extra=_without_default
    )
    title: Title = Field(
        description=f"1 to {MAX_TITLE} code points after trimming; no control characters or line breaks."
    )
    content: Content = Field(description="The document, markdown. Stored byte for byte, as UTF-8.")
    version: Version = Field(1, description="The version number of this document in its session.")
    content_sha256: Sha256 | None = Field(
        None, description="SHA-256 of the document that the user saw, in lower-case hex."
    )


class ApprovePlanRequest(PlanRequest):
    """What the user approves."""

    comment: Text | None = Field(None, description="A note for the builder.")
    comments: Annotated[list[Comment], Field(max_length=MAX_COMMENTS)] | None = Field(
        None, description="Notes on passages of the document."
    )


class ProposePlanRequest(PlanRequest):
    """What the planner proposes."""

    expires_in_seconds: Annotated[int, Field(ge=60, le=31_536_000)] | None = Field(
        None, description="How long the proposal can be approved; without it there is no limit."
    )
    message: Text | None = Field(
        None, description="What the planner says to the human: what changed, what it asks."
    )
    team_id: TeamId | None = Field(
        None,
        description="The team whose approvers decide. A session keeps the team of its first plan.",
        json_schema_extra={"format": "uuid"},
    )


AnyModel = TypeVar("AnyModel", bound=BaseModel)
AnyRequest = TypeVar("AnyRequest", bound=PlanRequest)


@dataclass(frozen=True)
class Submission:
    """A version of a session's document, with every part well-formed."""

    session_id: str
    version: int
    title: str
    document: bytes
    sha256: str


def parse(model: type[AnyRequest], body: bytes) -> AnyRequest:
    """Return a request's JSON body, valid by the rules of the database.

    Raises `invalid_request` or another `invalid_*`.
    """
    # JSON can write half of a surrogate pair; the parser refuses it.
    request = _valid(model.model_validate_json, body)
    if not request.plan_id and not request.session_id:
        raise _invalid_request({"plan_id": "Field required"})
    if request.plan_id and request.session_id and request.plan_id != request.session_id:
        raise _invalid_request({"session_id": "must be the same as plan_id if both are given"})
    return request


def validate(model: type[AnyModel], arguments: dict[str, Any]) -> AnyModel:
    """Return arguments that were parsed from JSON already, by the same rules."""
    return _valid(model.model_validate, arguments)


def _valid(check: Callable[[Any], AnyModel], given: Any) -> AnyModel:
    try:
        return check(given)
    except ValidationError as error:
        raise _invalid(error) from None


def submission_of(request: PlanRequest, max_document_bytes: int) -> Submission:
    """Return what was submitted, with its hash.

    Raises `document_too_large` or `document_changed`.
    """
    document = request.content.encode()
    if len(document) > max_document_bytes:
        raise Problem(
            "document_too_large", f"The document may have at most {max_document_bytes} bytes of UTF-8."
        )
    sha256 = hashlib.sha256(document).hexdigest()
    if request.content_sha256 not in (None, sha256):
        raise Problem("document_changed", "content_sha256 is not the SHA-256 of content.")
    return Submission(request.plan_id or request.session_id, request.version, request.title, document, sha256)


def _invalid(error: ValidationError) -> Problem:
    malformed: dict[str, str] = {}
    wrong: dict[str, tuple[str, str]] = {}
    for fault in error.errors():
        field, *inside = [*map(str, fault["loc"])] or ["body"]
        name = ".".join([field, *inside])
        message = fault["msg"].removeprefix("Value error, ")
        if isinstance(fault["input"], str) and "\x00" in fault["input"]:
            malformed[name] = "must not contain U+0000"
        elif field == "comments":  # one code for all that can be wrong with them, as in the database
            index = "".join(f"[{part}]" for part in inside[:1])
            key = "".join(f".{part}" for part in inside[1:] if part in Comment.model_fields)
            wrong.setdefault(field, (f"comments{index}{key}", message))
        elif fault["type"] in _WRONG_VALUE and name in FIELD_CODES:
            wrong[name] = (name, message)
        else:
            malformed[name] = message
    if malformed:
        return _invalid_request(malformed)
    first = min(wrong, key=list(FIELD_CODES).index)
    return Problem(FIELD_CODES[first], "{}: {}.".format(*wrong[first]))


def _invalid_request(fields: dict[str, str]) -> Problem:
    return Problem("invalid_request", f"Not valid: {', '.join(fields)}.", fields=fields)
