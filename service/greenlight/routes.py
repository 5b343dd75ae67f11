"""The plan endpoints."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, Field

from greenlight.approval import ApprovePlanResponse, ProposePlanResponse, approve, propose
from greenlight.errors import Problem, error_responses
from greenlight.requests import CurrentUpstream, json_body
from greenlight.submission import (
    UUID,
    ApprovePlanRequest,
    PlanRequest,
    ProposePlanRequest,
    parse,
    submission_of,
)
from greenlight.upstream import DocumentMissingError

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


class DocumentResponse(BaseModel):
    document_url: str = Field(description="A fresh signed URL of the document.")
    expires_at: datetime
    document_sha256: str


def _request_body(model: type[PlanRequest]) -> dict[str, Any]:
    schema = model.model_json_schema()
    # A reference would be looked for at the top of the whole OpenAPI document.
    if definitions := schema.pop("$defs", None):
        comments, _ = schema["properties"]["comments"]["anyOf"]
        comments["items"] = definitions["Comment"]
    content = {"application/json": {"schema": schema}}
    return {"requestBody": {"required": True, "content": content}}


@router.post(
    "/plan/approve",
    summary="Approve a plan and get its agent",
    response_model=ApprovePlanResponse,
    responses=error_responses(
        *_SUBMISSION_ERRORS,
        "human_required",
        "step_up_required",
        "approver_required",
        "plan_expired",
        "invalid_comment",
        "invalid_comments",
    ),
    openapi_extra=_request_body(ApprovePlanRequest),
)
async def approve_plan(request: Request, upstream: CurrentUpstream) -> Response:
    # If the caller disconnects, the server does not cancel this: the approval is completed. A repeat gets
    # the same agent.
    plan = parse(ApprovePlanRequest, await json_body(request))
    submission = submission_of(plan, upstream.settings.max_document_bytes)
    return _answer(await approve(submission, upstream, comment=plan.comment, comments=plan.comments))


@router.post(
    "/plan/propose",
    summary="Propose a plan for its user to decide",
    response_model=ProposePlanResponse,
    responses=error_responses(
        *_SUBMISSION_ERRORS, "invalid_expires_at", "invalid_message", "invalid_team_id"
    ),
    openapi_extra=_request_body(ProposePlanRequest),
)
async def propose_plan(request: Request, upstream: CurrentUpstream) -> Response:
    plan = parse(ProposePlanRequest, await json_body(request))
    submission = submission_of(plan, upstream.settings.max_document_bytes)
    answer = await propose(
        submission,
        upstream,
        expires_in_seconds=plan.expires_in_seconds,
        message=plan.message,
        team_id=plan.team_id,
    )
    return _answer(answer)


@router.get(
    "/plan/{plan_id}/document",
    summary="Get a fresh signed URL of a plan's document",
    response_model=DocumentResponse,
    responses=error_responses("not_authenticated", "plan_not_found", "invalid_plan_id", *_UPSTREAM_ERRORS),
)
async def plan_document(
    upstream: CurrentUpstream,
    plan_id: Annotated[
        str,
        Path(
            description="The plan row's id.",
            json_schema_extra={"format": "uuid", "pattern": f"^{UUID}$"},
        ),
    ],
) -> Response:
    if not re.fullmatch(UUID, plan_id):
        raise Problem("invalid_plan_id", "The plan's id must be a UUID.")
    plan = await upstream.plan(plan_id)
    if plan is None:
        raise Problem("plan_not_found", "There is no such plan.")
    expires_at = datetime.now(UTC) + timedelta(seconds=upstream.settings.signed_url_ttl_seconds)
    try:
        url = await upstream.sign(plan.document_path)
    except DocumentMissingError:
        raise Problem("upstream_error", "The plan's document is not in storage.") from None
    return _answer(
        DocumentResponse(document_url=url, expires_at=expires_at, document_sha256=plan.document_sha256)
    )


def _answer(model: BaseModel) -> Response:
    # Our own Response, because FastAPI would validate the model again. It has a signed URL: no-store.
    return Response(
        model.model_dump_json(), media_type="application/json", headers={"Cache-Control": "no-store"}
    )
