"""The plan endpoints."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, Field

from greenlight import logs
from greenlight.approval import ApprovePlanRequest, ApprovePlanResponse, approve
from greenlight.auth import User
from greenlight.errors import Problem, error_responses
from greenlight.proposal import ProposePlanRequest, ProposePlanResponse, propose
from greenlight.settings import Settings
from greenlight.submission import PlanRequest, parse, submission_of
from greenlight.upstream import DocumentMissing, Upstream

_UUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_UPSTREAM_ERRORS = ("internal_error", "upstream_error", "upstream_unavailable", "upstream_timeout")
_SUBMISSION_ERRORS = (
    "not_authenticated",
    "plan_conflict",
    "plan_stale",
    "plan_decided",
    "agent_archived",
    "agent_deleted",
    "document_conflict",
    "document_too_large",
    "unsupported_media_type",
    "invalid_request",
    "invalid_session_id",
    "invalid_version",
    "invalid_title",
    "invalid_document_sha256",
    "document_changed",
    *_UPSTREAM_ERRORS,
)

router = APIRouter(tags=["plan"])
bearer = HTTPBearer(auto_error=False)


class DocumentResponse(BaseModel):
    document_url: str = Field(description="A fresh signed URL of the document.")
    expires_at: datetime
    document_sha256: str


async def authenticated_user(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Security(bearer)]
) -> User:
    with logs.stage("auth"):
        user: User = await request.state.authenticator.user(credentials.credentials if credentials else None)
    request.state.share.begin(user.id)
    return user


# Dependencies are resolved before the route runs, and the route reads the body itself: a request without a
# valid token is refused unread.
CurrentUser = Annotated[User, Depends(authenticated_user)]


async def _upstream(request: Request, user: CurrentUser) -> Upstream:
    return Upstream(request.state.settings, request.state.http, user)


CurrentUpstream = Annotated[Upstream, Depends(_upstream)]


def _request_body(model: type[PlanRequest]) -> dict[str, Any]:
    content = {"application/json": {"schema": model.model_json_schema()}}
    return {"requestBody": {"required": True, "content": content}}


@router.post(
    "/plan/approve",
    summary="Approve a plan and get its agent",
    response_model=ApprovePlanResponse,
    responses=error_responses(*_SUBMISSION_ERRORS, "human_required", "plan_expired"),
    openapi_extra=_request_body(ApprovePlanRequest),
)
async def approve_plan(request: Request, user: CurrentUser, upstream: CurrentUpstream) -> Response:
    # If the caller disconnects, the server does not cancel this: the approval is completed. A repeat gets
    # the same agent.
    settings: Settings = request.state.settings
    asked = parse(ApprovePlanRequest, await json_body(request, settings))
    submission = submission_of(asked, settings.max_document_bytes)
    return _answer(await approve(submission, user, upstream, settings))


@router.post(
    "/plan/propose",
    summary="Propose a plan for its user to decide",
    response_model=ProposePlanResponse,
    responses=error_responses(*_SUBMISSION_ERRORS, "invalid_expires_at"),
    openapi_extra=_request_body(ProposePlanRequest),
)
async def propose_plan(request: Request, user: CurrentUser, upstream: CurrentUpstream) -> Response:
    settings: Settings = request.state.settings
    asked = parse(ProposePlanRequest, await json_body(request, settings))
    submission = submission_of(asked, settings.max_document_bytes)
    return _answer(await propose(submission, asked.expires_in_seconds, user, upstream, settings))


@router.get(
    "/plan/{plan_id}/document",
    summary="Get a fresh signed URL of a plan's document",
    response_model=DocumentResponse,
    responses=error_responses("not_authenticated", "plan_not_found", "invalid_plan_id", *_UPSTREAM_ERRORS),
)
async def plan_document(
    request: Request,
    upstream: CurrentUpstream,
    plan_id: Annotated[
        str,
        Path(
            description="The plan row's id.",
            json_schema_extra={"format": "uuid", "pattern": f"^{_UUID}$"},
        ),
    ],
) -> Response:
    if not re.fullmatch(_UUID, plan_id):
        raise Problem("invalid_plan_id", "The plan's id must be a UUID.")
    plan = await upstream.plan(plan_id)
    if plan is None:
        raise Problem("plan_not_found", "There is no such plan.")
    expires_at = datetime.now(UTC) + timedelta(seconds=request.state.settings.signed_url_ttl_seconds)
    try:
        url = await upstream.sign(plan.document_path)
    except DocumentMissing:
        raise Problem("upstream_error", "The plan's document is not in storage.") from None
    return _answer(
        DocumentResponse(document_url=url, expires_at=expires_at, document_sha256=plan.document_sha256)
    )


async def json_body(request: Request, settings: Settings) -> bytes:
    """Read the body in pieces, and no more than its limit."""
    media_type, _, parameters = request.headers.get("content-type", "").lower().partition(";")
    if media_type.strip() != "application/json" or ("charset" in parameters and "utf-8" not in parameters):
        raise Problem("unsupported_media_type", "Content-Type must be application/json, in UTF-8.")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem("unsupported_media_type", "The body must not be compressed.")
    too_large = Problem(
        "document_too_large", f"The request body may have at most {settings.max_body_bytes} bytes."
    )
    if int(request.headers.get("content-length", 0)) > settings.max_body_bytes:
        raise too_large
    body = bytearray()
    try:
        with logs.stage("body"):
            async with asyncio.timeout(settings.body_timeout_seconds):
                async for chunk in request.stream():
                    if len(body) + len(chunk) > settings.max_body_bytes:
                        raise too_large
                    request.state.share.read(len(chunk))
                    body += chunk
    except TimeoutError:
        detail = f"The body did not arrive within {settings.body_timeout_seconds:g} seconds."
        raise Problem("invalid_request", detail, headers={"Connection": "close"}) from None
    return bytes(body)


def _answer(model: BaseModel) -> Response:
    # Our own Response, because FastAPI would validate the model again. It has a signed URL: no-store.
    return Response(
        model.model_dump_json(), media_type="application/json", headers={"Cache-Control": "no-store"}
    )
