"""The line that each request leaves in the log."""

import httpx
import pytest
from structlog.testing import capture_logs

from greenlight.app import create_app
from greenlight.errors import Problem
from greenlight.settings import Settings


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("raised", "status", "level"),
    [
        (None, 200, "info"),
        (Problem("plan_stale", "Newer."), 409, "info"),
        (Problem("upstream_error", "Odd.", cause="rpc: 500 XX000"), 502, "warning"),
        (Problem("upstream_unavailable", "Away."), 503, "warning"),
        (Problem("upstream_timeout", "Slow."), 504, "warning"),
        (KeyError("a mistake of ours"), 500, "error"),
    ],
    ids=repr,
)
async def test_5xx_answers_are_logged_at_warning_or_above(
    raised: Exception | None, status: int, level: str
) -> None:
    app = create_app(
        Settings(supabase_url="https://project.supabase.test", supabase_publishable_key="sb_publishable_x")
    )

    @app.get("/raise")
    async def route() -> None:
        if raised is not None:
            raise raised

    with capture_logs() as lines:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            answer = await client.get("/raise")

    assert answer.status_code == status
    (line,) = [line for line in lines if line["event"] == "request"]
    assert (line["log_level"], line["status"], line["route"]) == (level, status, "/raise")
    if isinstance(raised, Problem):
        assert line.get("cause") == raised.cause
    elif raised is not None:
        assert line["cause"].startswith("KeyError at test_middleware.py:")
