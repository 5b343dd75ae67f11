"""Propose a plan for its user to decide."""

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from greenlight.auth import User
from greenlight.settings import Settings
from greenlight.submission import PlanRequest, Submission, submit
from greenlight.upstream import Upstream


class ProposePlanRequest(PlanRequest):
    """What the planner proposes."""

    expires_in_seconds: Annotated[int, Field(ge=60, le=31_536_000)] | None = Field(
        None, description="How long the proposal can be approved; without it there is no limit."
    )


class ProposePlanResponse(BaseModel):
    success: Literal[True] = True
    message: str = "Plan proposed successfully"
    document_url: str = Field(description="A fresh signed URL of the document.")
    plan_id: str = Field(description="The plan row's id.")
    version: int
    status: str = Field(description="`proposed`, or the proposal's status since a later decision.")
    created: bool = Field(description="False if this version was already proposed.")
    review_url: str | None = Field(description="Where the user reviews it; null if UI_URL is not set.")


async def propose(
    submission: Submission,
    expires_in_seconds: int | None,
    user: User,
    upstream: Upstream,
    settings: Settings,
) -> ProposePlanResponse:
    """Propose the document to the user. A repeat gets the proposal's current status."""
    expires_at = None
    if expires_in_seconds is not None:
        expires_at = datetime.now(UTC) + timedelta(seconds=expires_in_seconds)
    call = partial(upstream.propose, expires_at=expires_at)
    url, proposed = await submit(submission, user, upstream, settings, call)
    return ProposePlanResponse(
        document_url=url, review_url=review_url(submission.session_id, settings), **proposed.model_dump()
    )


def review_url(session_id: str, settings: Settings) -> str | None:
    return f"{settings.ui_url}/build?session={session_id}" if settings.ui_url else None
