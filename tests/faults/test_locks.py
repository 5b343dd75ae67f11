"""An approval that waits for a lock beyond the statement timeout that hosted projects have."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import psycopg

from tests.caller import Caller, expect_problem
from tests.conftest import RunningStack
from tests.plan import new_session


def test_an_approval_that_waits_too_long_for_a_lock_writes_nothing_and_can_be_repeated(
    stack: RunningStack, user: Caller
) -> None:
    session, content = new_session(), "# Changed\n"
    first = user.approved(plan_id=session, content="# Plan\n")
    before = [user.rows(table) for table in ("plan", "agent", "agent_event")]

    def through_the_service() -> httpx.Response:
        return user.approve(plan_id=session, version=2, content=content)

    def direct() -> httpx.Response:
        return user.approve_stored(session, content, version=2)

    assert stack.database_url is not None
    with (
        psycopg.connect(stack.database_url) as connection,
        ThreadPoolExecutor() as both,
    ):
        # What a migration or a long transaction of the project's own would do.
        connection.execute("select from public.agent where id = %s for update", (first["agent_id"],))
        refusals = [both.submit(call) for call in (through_the_service, direct)]
        by_the_service, by_the_database = (refusal.result() for refusal in refusals)

    assert expect_problem(by_the_service, 504, "upstream_timeout")["retryable"] is True
    # PostgREST's answer to SQLSTATE 57014, query_canceled.
    assert (by_the_database.status_code, by_the_database.json()["code"]) == (500, "57014")
    assert [user.rows(table) for table in ("plan", "agent", "agent_event")] == before

    again = through_the_service()
    assert (again.status_code, again.json()["created"]) == (200, True), again.text
    replay = direct()
    assert (replay.status_code, replay.json()["created"]) == (200, False), replay.text
    assert again.json()["plan_id"] == replay.json()["plan_id"]
    assert again.json()["agent_id"] == first["agent_id"]
