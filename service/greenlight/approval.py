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
    document_url: str = Field(description="A fresh signed URL of the document.")
    agent_id: str = Field(description="The agent's address is /build/{agent_id}.")
    agent_status: str
    plan_id: str = Field(description="The plan row's id.")
    version: int
    created: bool = Field(description="False if this version was already approved.")


async def approve(
    submission: Submission, user: User, upstream: Upstream, settings: Settings
) -> ApprovePlanResponse:
    """Create the document's plan and agent. A repeat gets the same answer."""
    url, approved = await submit(submission, user, upstream, settings, upstream.approve)
    return ApprovePlanResponse(document_url=url, **approved.model_dump())
