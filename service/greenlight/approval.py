"""Approve or propose a plan as its user: store the document, sign its URL, call the database."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Literal, TypeVar

from pydantic import BaseModel, Field

from greenlight.comments import Comment
from greenlight.errors import Problem
from greenlight.submission import Submission
from greenlight.upstream import DocumentMissingError, Refusal, Upstream

# How often to store a document if another request's clean-up removes it between our upload and our RPC.
ATTEMPTS = 3

Answer = TypeVar("Answer")


class ApprovePlanResponse(BaseModel):
    success: Literal[True] = True
    message: str = "Plan approved and agent created successfully"
    document_url: str = Field(description="A fresh signed URL of the document.")
    agent_id: str = Field(description="The agent's address is /build/{agent_id}.")
    agent_status: str
    plan_id: str = Field(description="The plan row's id.")
    version: int
    created: bool = Field(description="False if this version was already approved.")


class ProposePlanResponse(BaseModel):
    success: Literal[True] = True
    message: str = "Plan proposed successfully"
    document_url: str = Field(description="A fresh signed URL of the document.")
    plan_id: str = Field(description="The plan row's id.")
    version: int
    status: str = Field(description="`proposed`, or the proposal's status since a later decision.")
    created: bool = Field(description="False if this version was already proposed.")
    review_url: str | None = Field(description="Where the user reviews it; null if UI_URL is not set.")


async def approve(
    submission: Submission,
    upstream: Upstream,
    *,
    comment: str | None = None,
    comments: Sequence[Comment] | None = None,
) -> ApprovePlanResponse:
    """Create the document's plan and agent, with the human's notes. A repeat gets the same answer."""
    call = partial(upstream.approve, comment=comment, comments=comments)
    url, approved = await submit(submission, upstream, call)
    return ApprovePlanResponse(document_url=url, **approved.model_dump())


async def propose(
    submission: Submission,
    upstream: Upstream,
    *,
    expires_in_seconds: int | None = None,
    message: str | None = None,
    team_id: str | None = None,
) -> ProposePlanResponse:
    """Propose the document to the user, or to their team. A repeat gets the proposal's current status."""
    expires_at = None
    if expires_in_seconds is not None:
        expires_at = datetime.now(UTC) + timedelta(seconds=expires_in_seconds)
    call = partial(upstream.propose, expires_at=expires_at, message=message, team_id=team_id)
    url, proposed = await submit(submission, upstream, call)
    if upstream.settings.ui_url and not (proposed.created and proposed.version == 1):
        # The session's first plan has the team that was named. Of others it is the session's.
        plan = await upstream.plan(proposed.plan_id)
        team_id = plan.team_id if plan else None
    review_url = upstream.settings.review_url(submission.session_id, upstream.user.id if team_id else None)
    return ProposePlanResponse(document_url=url, review_url=review_url, **proposed.model_dump())


async def submit(
    submission: Submission, upstream: Upstream, call: Callable[[Submission, str], Awaitable[Answer]]
) -> tuple[str, Answer]:
    """Store the document, sign its URL, call the RPC with both; return the URL and the RPC's answer.

    Each step can be repeated, and the last one is a single transaction. So if this stops in between, the
    same request again leads to the same result.
    """
    path = f"{upstream.user.id}/{submission.session_id}/{submission.sha256}.md"
    try:
        async with asyncio.timeout(upstream.settings.approval_timeout_seconds):
            for _ in range(ATTEMPTS):
                try:
                    url = await upstream.store(path, submission.document)
                    return url, await call(submission, url)
                except DocumentMissingError:
                    continue
    except TimeoutError:
        # The outcome is not known: the document stays for the next attempt.
        raise Problem("upstream_timeout", "Supabase did not answer in time.") from None
    except Refusal:
        # The document is not needed. If any plan refers to it, the database keeps it; if a request at the
        # same moment was about to use the same bytes, it will store them again.
        await upstream.remove(path)
        raise
    raise Problem("upstream_error", "The document was removed each time it was stored.", retryable=True)
