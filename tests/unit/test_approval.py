"""What a proposal asks of the database, and the address where it is reviewed."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from greenlight import logs, upstream
from greenlight.approval import ProposePlanResponse, propose
from greenlight.comments import Comment
from greenlight.settings import Settings
from greenlight.submission import Submission
from greenlight.upstream import Upstream
from tests.plan import sha256
from tests.unit.test_upstream import PLAN, URL, USER, Supabase, approve

PROPOSED = {
    "plan_id": "5e6d7c58-0000-4000-8000-000000000001",
    "version": 3,
    "status": "proposed",
    "created": True,
}
SUBMISSION = Submission("session", 3, "Title", b"words", sha256("words"))


async def proposed(
    supabase: Supabase,
    seconds: int | None = None,
    message: str | None = None,
    team_id: str | None = None,
    **changed: Any,
) -> ProposePlanResponse:
    settings = Settings(supabase_url=URL, supabase_publishable_key="sb_publishable_x", **changed)
    logs.begin("test")
    async with upstream.connect(httpx.MockTransport(supabase)) as http:
        return await propose(
            SUBMISSION,
            Upstream(settings, http, USER),
            expires_in_seconds=seconds,
            message=message,
            team_id=team_id,
        )


@pytest.mark.anyio
async def test_a_proposal_without_a_limit_names_none() -> None:
    supabase = Supabase(rpc=httpx.Response(200, json=PROPOSED))

    answer = await proposed(supabase)

    assert supabase.calls == ["upload", "sign", "rpc"]
    assert supabase.requests[2].url.path == "/rest/v1/rpc/propose_plan"
    assert json.loads(supabase.requests[2].content) == {
        "session_id": "session",
        "version": 3,
        "title": "Title",
        "document_sha256": sha256("words"),
        "document_url": answer.document_url,
        "user_id": USER.id,
    }
    assert answer.review_url is None


@pytest.mark.anyio
async def test_a_limit_in_seconds_becomes_a_time_for_the_database() -> None:
    supabase = Supabase(rpc=httpx.Response(200, json=PROPOSED))
    before = datetime.now(UTC)

    await proposed(supabase, 60)

    expires_at = datetime.fromisoformat(json.loads(supabase.requests[2].content)["expires_at"])
    assert before + timedelta(seconds=60) <= expires_at <= datetime.now(UTC) + timedelta(seconds=60)


@pytest.mark.anyio
async def test_the_review_url_is_that_of_the_web_app() -> None:
    supabase = Supabase(rpc=httpx.Response(200, json=PROPOSED))

    answer = await proposed(supabase, ui_url="https://example.com/greenlight/")

    assert answer.review_url == "https://example.com/greenlight/build?session=session"


TEAM = "5e6d7c58-0000-4000-8000-000000000002"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("version", "created", "named", "of_the_session", "asked"),
    [
        (1, True, TEAM, None, False),  # of a session's first plan it is known
        (1, True, None, TEAM, False),
        (2, True, None, TEAM, True),
        (2, True, TEAM, TEAM, True),
        (1, False, TEAM, None, True),  # a replay stores no team
        (1, False, None, TEAM, True),
    ],
)
async def test_the_review_url_of_a_teams_plan_names_its_owner(
    version: int, created: bool, named: str | None, of_the_session: str | None, asked: bool
) -> None:
    supabase = Supabase(
        rpc=httpx.Response(200, json={**PROPOSED, "version": version, "created": created}),
        plan=httpx.Response(200, json=[{**PLAN, "team_id": of_the_session}]),
    )

    answer = await proposed(supabase, team_id=named, ui_url="https://example.com")

    owner = f"&user={USER.id}" if (of_the_session if asked else named) else ""
    assert answer.review_url == f"https://example.com/build?session=session{owner}"
    assert ("plan" in supabase.calls) == asked
    assert json.loads(supabase.requests[2].content).get("team_id") == named


@pytest.mark.anyio
async def test_the_planners_message_goes_along() -> None:
    supabase = Supabase(rpc=httpx.Response(200, json=PROPOSED))

    await proposed(supabase, message="Shorter now.")

    assert json.loads(supabase.requests[2].content)["message"] == "Shorter now."


@pytest.mark.anyio
async def test_the_humans_notes_go_along_with_the_approval() -> None:
    supabase = Supabase()
    comment = Comment(start=0, end=5, exact="words", body="Which?")

    await approve(supabase, comment="Go.", comments=[comment])
    sent = json.loads(supabase.requests[2].content)
    assert (sent["comment"], sent["comments"]) == ("Go.", [comment.model_dump()])

    await approve(supabase, comments=[])
    assert {"comment", "comments"} & json.loads(supabase.requests[5].content).keys() == set()
