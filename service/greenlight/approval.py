"""Approve a plan as its user."""

from typing import Literal

from pydantic import BaseModel, Field

from greenlight.auth import User
from greenlight.settings import Settings
from greenlight.submission import PlanRequest, Submission, submit
from greenlight.upstream import Upstream


class ApprovePlanRequest(PlanRequest):
    """What the user approves."""


class ApprovePlanResponse(BaseModel):
    success: Literal[True] = True
    message: str = "Plan approved and agent created successfully"
    document_url: str = Field(description="Signed URL of the document, fresh.")
    agent_id: str = Field(description="The agent's address is /build/{agent_id}.")
    agent_status: str
    plan_id: str = Field(description="The plan row's id.")
    version: int
    created: bool = Field(description="False when this very approval was there already.")


async def approve(
    submission: Submission, user: User, upstream: Upstream, settings: Settings
) -> ApprovePlanResponse:
    """Make plan and agent of the document, or answer as the first time."""
    url, approved = await submit(submission, user, upstream, settings, upstream.approve)
    return ApprovePlanResponse(document_url=url, **approved.model_dump())
