"""The planner's tools: propose a plan, learn the decision, withdraw. There is none that approves."""

import asyncio
import logging
import random
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import CallToolResult, InputRequiredResult, TextContent, ToolAnnotations
from pydantic import BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema

from greenlight import MAX_DOCUMENT_BYTES, SESSION_ID, __version__, logs, submission
from greenlight.approval import propose
from greenlight.comments import MAX_TEXT, CommentOnLine, feedback, on_lines
from greenlight.errors import Problem
from greenlight.mcp import texts
from greenlight.requests import share_of
from greenlight.submission import (
    MAX_TITLE,
    MAX_VERSION,
    ProposePlanRequest,
    Submission,
    submission_of,
    validate,
)
from greenlight.upstream import Revision, Upstream

FIRST_PAUSE_SECONDS = 1.0  # between the first and the second look
PAUSE_GROWTH = 1.6  # each pause against the one before: eight looks in 45 seconds
LONGEST_PAUSE_SECONDS = 10.0
ATTEMPTS = 5  # at the next version number, which another planner of the session may take first

Status = Literal[
    "proposed", "changes_requested", "rejected", "withdrawn", "approved", "superseded", "archived"
]
# What the tools' schemas tell a model. The values are checked like those of the HTTP routes, so that a refusal has the
# same code.
SESSION = {"type": "string", "pattern": f"^{SESSION_ID}$"}
VERSION = {"type": "integer", "minimum": 1, "maximum": MAX_VERSION}


def _schema(schema: dict[str, Any], *, nullable: bool = False) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [schema, {"type": "null"}]} if nullable else schema)


SessionId = Annotated[
    str, _schema(SESSION), Field(description="The planning session's id, as propose_plan returned it.")
]
Version = Annotated[int, _schema(VERSION), Field(description="The version, as propose_plan returned it.")]


class PlanVersion(BaseModel):
    """Which version a call is about."""

    model_config = ConfigDict(strict=True)

    session_id: submission.SessionId
    version: submission.Version


class Build(BaseModel):
    status: str = Field(description="queued, running, succeeded, failed or cancelled.")
    attempt: int = Field(description="How often a builder has started it.")
    progress: int | None = Field(None, description="0 to 100, if the builder reports it.")
    message: str | None = Field(None, description="What the builder reported last.")


class Decision(BaseModel):
    """The state of a proposal."""

    session_id: str = Field(description="The planning session. Pass it to the next call.")
    version: int = Field(description="The version of the plan that this is about.")
    status: Status
    next_step: str = Field(description="What to do now.")
    created: bool | None = Field(None, description="False if this version was already proposed.")
    expires_at: datetime | None = Field(None, description="Until when it can be approved; null: no limit.")
    review_url: str | None = Field(None, description="Where the human reads the plan and decides.")
    feedback: str | None = Field(
        None,
        description="All that the human wrote with the decision, as Markdown, each passage with its line.",
    )
    comment: str | None = Field(None, description="Of it, what is said on the whole plan.")
    comments: list[CommentOnLine] | None = Field(None, description="Of it, what is said on passages.")
    newest_version: int | None = Field(None, description="The session's newest version.")
    newest_status: Status | None = None
    agent_id: str | None = Field(None, description="The agent that is built from this session.")
    agent_status: str | None = Field(None, description="building, active, paused, failed or archived.")
    build: Build | None = Field(None, description="The agent's newest build.")


async def propose_plan(  # noqa: PLR0913, PLR0917 -- the tool's arguments
    context: Context[Any, Any],
    title: Annotated[
        str,
        _schema({"type": "string", "minLength": 1, "maxLength": MAX_TITLE}),
        Field(description="One line, 1 to 500 characters. Becomes the agent's name."),
    ],
    content: Annotated[
        str,
        _schema({"type": "string", "minLength": 1, "maxLength": MAX_DOCUMENT_BYTES}),
        Field(description="The whole plan as markdown, at most 1 MiB of UTF-8. What the human reads."),
    ],
    session_id: Annotated[
        str | None,
        _schema(SESSION, nullable=True),
        Field(
            description="The planning session of an earlier answer, or an id of your own; null: a new one."
        ),
    ] = None,
    version: Annotated[
        int | None,
        _schema(VERSION, nullable=True),
        Field(description="The version's number, higher than the session's newest; null: the next one."),
    ] = None,
    expires_in_seconds: Annotated[
        int | None,
        _schema({"type": "integer", "minimum": 60, "maximum": 31_536_000}, nullable=True),
        Field(description="For how long the human can approve it, 60 to 31,536,000; null: no limit."),
    ] = None,
    message: Annotated[
        str | None,
        _schema({"type": "string", "minLength": 1, "maxLength": MAX_TEXT}, nullable=True),
        Field(
            description="What you say to the human with it: what changed since the last version, what you ask."
        ),
    ] = None,
    team_id: Annotated[
        str | None,
        _schema({"type": "string", "format": "uuid"}, nullable=True),
        Field(description="The team whose approvers decide, if the human named one; null: the session's."),
    ] = None,
) -> Decision:
    planner = Planner(context)
    session_id = f"mcp-{uuid.uuid4()}" if session_id is None else session_id
    # Like the route: check everything before the first call to Supabase.
    request = validate(
        ProposePlanRequest,
        {
            "session_id": session_id,
            "title": title,
            "content": content,
            "version": 1 if version is None else version,
            "expires_in_seconds": expires_in_seconds,
            "message": message,
            "team_id": team_id,
        },
    )
    plan = submission_of(request, planner.settings.max_document_bytes)
    if version is not None:
        return await planner.propose(plan, request)
    for _ in range(ATTEMPTS):
        newest = await planner.upstream.revision(session_id)
        if newest is not None:
            same = newest.status == "proposed" and newest.document_sha256 == plan.sha256
            plan = replace(plan, version=newest.version + (0 if same else 1))
            if plan.version > MAX_VERSION:
                raise Problem("invalid_version", "This session has the highest version there can be.")
        try:
            return await planner.propose(plan, request)
        except Problem as problem:
            if problem.code not in {"plan_stale", "plan_conflict"}:
                raise
            lost_race = problem
    raise lost_race


async def get_decision(
    context: Context[Any, Any],
    session_id: SessionId,
    version: Version,
    wait_seconds: Annotated[
        float, Field(ge=0, le=texts.MAX_WAIT_SECONDS, description="How long to wait for a decision.")
    ] = 0,
) -> Decision:
    planner = Planner(context)
    validate(PlanVersion, {"session_id": session_id, "version": version})
    return await planner.decision(session_id, version, wait_seconds)


async def withdraw_plan(context: Context[Any, Any], session_id: SessionId, version: Version) -> Decision:
    planner = Planner(context)
    validate(PlanVersion, {"session_id": session_id, "version": version})
    await planner.upstream.withdraw(session_id, version)
    return await planner.decision(session_id, version)


class Planner:
    """Runs one tool call for the user of its token."""

    def __init__(self, context: Context[Any, Any]) -> None:
        request: Any = context.request_context.request
        self.upstream: Upstream = request.state.upstream
        self.settings = self.upstream.settings
        self._share = share_of(request)
        self._cannot_wait = False

    async def propose(self, plan: Submission, request: ProposePlanRequest) -> Decision:
        answer = await propose(
            plan,
            self.upstream,
            expires_in_seconds=request.expires_in_seconds,
            message=request.message,
            team_id=request.team_id,
        )
        decision = await self.decision(plan.session_id, plan.version)
        return decision.model_copy(update={"created": answer.created})

    async def decision(self, session_id: str, version: int, wait_seconds: float = 0) -> Decision:
        """Return the version's state, once it is decided or the time is over."""
        plan = await self._decided(session_id, version, wait_seconds)
        newest, agent = await asyncio.gather(
            self.upstream.revision(session_id), self.upstream.agent(session_id)
        )
        newest = newest or plan  # deleted in between
        comments = None
        if plan.comments:
            comments = on_lines(plan.comments, await self.upstream.text(plan.document_path))
        next_step = texts.NEXT_STEP[plan.status]
        if plan.status == "proposed" and _is_past(plan.expires_at):
            next_step = texts.EXPIRED
        elif plan.status == "proposed" and self._cannot_wait:
            next_step = texts.TOO_MANY
        return Decision.model_validate(
            {
                "session_id": session_id,
                "version": version,
                "status": plan.status,
                "next_step": next_step,
                "expires_at": plan.expires_at,
                "review_url": self.settings.review_url(
                    session_id, self.upstream.user.id if plan.team_id else None
                ),
                "feedback": feedback(plan.comment, comments or []),
                "comment": plan.comment,
                "comments": comments and [each.model_dump() for each in comments],
                "newest_version": newest.version,
                "newest_status": newest.status,
                "agent_id": agent.id if agent else None,
                "agent_status": agent.status if agent else None,
                "build": agent.build[0].model_dump() if agent and agent.build else None,
            }
        )

    async def _decided(self, session_id: str, version: int, wait_seconds: float) -> Revision:
        if wait_seconds and not self._share.wait():
            self._cannot_wait, wait_seconds = True, 0
        until = time.monotonic() + wait_seconds
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                plan = await self.upstream.revision(session_id, version)
            except Problem as problem:
                # One failed call does not end the wait.
                if not problem.retryable or time.monotonic() >= until:
                    raise
            else:
                if plan is None:
                    raise Problem("plan_not_found", "There is no such version in this session.")
                left = until - time.monotonic()
                if plan.status != "proposed" or _is_past(plan.expires_at) or left <= 0:
                    return plan
            await asyncio.sleep(min(_jitter(pause), max(0.0, until - time.monotonic())))
            pause = min(pause * PAUSE_GROWTH, LONGEST_PAUSE_SECONDS)


def _jitter(seconds: float) -> float:
    """Spread out the calls of planners that started at the same time."""
    return seconds * random.uniform(0.8, 1.2)  # noqa: S311 -- nothing to guess here


def _is_past(moment: datetime | None) -> bool:
    return moment is not None and moment <= datetime.now(UTC)


TOOLS: dict[str, tuple[Callable[..., Any], str, str, ToolAnnotations]] = {
    "propose_plan": (
        propose_plan,
        "Propose a plan",
        texts.PROPOSE_PLAN,
        ToolAnnotations(destructive_hint=False, open_world_hint=False),
    ),
    "get_decision": (
        get_decision,
        "Get the human's decision",
        texts.GET_DECISION,
        ToolAnnotations(read_only_hint=True, open_world_hint=False),
    ),
    "withdraw_plan": (
        withdraw_plan,
        "Withdraw a proposal",
        texts.WITHDRAW_PLAN,
        ToolAnnotations(destructive_hint=True, idempotent_hint=True, open_world_hint=False),
    ),
}


class Server(MCPServer):
    """MCPServer whose refusals carry our stable codes."""

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            match error.__cause__:
                case Problem() as problem:
                    return refusal(problem)
                case ValidationError() as invalid if name in TOOLS:
                    # The messages name what is wrong, and never the value.
                    fields = {
                        ".".join(map(str, each["loc"])): each["msg"]
                        for each in invalid.errors(include_input=False, include_url=False)
                    }
                    detail = "; ".join(f"{field}: {message}" for field, message in fields.items())
                    return refusal(Problem("invalid_request", f"{detail}."))
                case _ if name not in TOOLS:
                    return refusal(Problem("invalid_request", "There is no tool of this name."))
                case _:
                    raise


def refusal(problem: Problem) -> CallToolResult:
    """Return a tool error: the code, what was wrong, and what to do."""
    retryable = bool(problem.retryable)
    next_step = texts.AFTER_REFUSAL.get(problem.code, texts.RETRY if retryable else texts.CORRECT)
    record = logs.current()
    record.code = problem.code
    record.cause = problem.cause
    return CallToolResult(
        content=[TextContent(type="text", text=f"{problem.code}: {problem.detail} {next_step}")],
        structured_content={
            "code": problem.code,
            "detail": problem.detail,
            "next_step": next_step,
            "retryable": retryable,
        },
        is_error=True,
    )


def create_server() -> MCPServer:
    # Its info lines say less than this service's own line for each request.
    logging.getLogger("mcp").setLevel(logging.WARNING)
    server = Server(
        "greenlight",
        title="Greenlight",
        version=__version__,
        description="Propose a plan, and learn what the human decided.",
        instructions=texts.INSTRUCTIONS,
        subscriptions=False,
    )
    for name, (tool, title, description, annotations) in TOOLS.items():
        server.add_tool(tool, name, title, description, annotations)
    return server
