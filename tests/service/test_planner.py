"""A planner in Python proposes; the human sends it back, approves, refuses. Each identity does what it may."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from greenlight.planner import (
    Approved,
    ChangesRequested,
    Planner,
    Problem,
    Rejected,
    Superseded,
    Withdrawn,
)
from tests.caller import Caller
from tests.conftest import RunningStack
from tests.plan import new_session, sha256

pytestmark = pytest.mark.anyio

TEXT = "# The move\n\n- Drive 🚗\n"
PASSAGE = {"start": 14, "end": 19, "exact": "Drive", "body": "With what car?"}


@pytest.fixture(params=["user", "OAuth client", "secret key"])
def planner(stack: RunningStack, user: Caller, request: pytest.FixtureRequest) -> Planner:
    how: dict[str, Any] = {"ui_url": "https://ui.test", "poll_seconds": 0.05}
    if request.param == "secret key":
        return Planner(stack.supabase_url, stack.secret_key, user_id=user.id, **how)
    token = user.token if request.param == "user" else stack.token_for(user, client_id="a-planner")
    return Planner(stack.supabase_url, stack.publishable_key, token, **how)


@pytest.fixture
def own(stack: RunningStack, user: Caller) -> Planner:
    return Planner(stack.supabase_url, stack.publishable_key, user.token, poll_seconds=0.05)


async def test_rounds_go_on_until_the_human_approves(planner: Planner, user: Caller) -> None:
    session = new_session()
    heard = []

    def human() -> None:
        """Decide on what there is, after the planner has begun to wait."""
        (plan,) = user.rows("plan", status="eq.proposed")
        which = {"session_id": session, "version": plan["version"]}
        if plan["version"] == 1:
            user.done("request_changes", **which, comment="Nearly.", comments=[PASSAGE])
        else:
            assert plan["message"] == "It is the van."
            user.done("approve_plan", **which, document_sha256=sha256(TEXT + "The van.\n"))

    rounds = planner.rounds(session)
    deciding = []
    async for turn in rounds:
        heard.append(turn.feedback)
        text, message = (TEXT, None) if turn.feedback is None else (TEXT + "The van.\n", "It is the van.")
        proposal = await turn.propose("The move", text, message=message)
        assert proposal.review_url == f"https://ui.test/build?session={session}"
        deciding.append(asyncio.create_task(asyncio.to_thread(human)))
    await asyncio.gather(*deciding)

    first, second = heard
    assert first is None
    assert second is not None
    assert "Nearly." in second
    assert "On line 3:\n\n```text\nDrive\n```\n\nthe human writes:\n\n```text\nWith what car?\n```" in second
    (agent,) = user.rows("agent")
    assert isinstance(rounds.decision, Approved)
    assert (rounds.decision.agent_id, rounds.decision.version) == (agent["id"], 2)


async def test_a_planner_that_died_goes_on_with_the_session(
    planner: Planner, own: Planner, user: Caller
) -> None:
    """Each `rounds` begins without a memory, as in another process."""
    session = new_session()
    await (await anext(planner.rounds(session))).propose("The move", TEXT)

    with pytest.raises(TimeoutError):
        await anext(planner.rounds(session, timeout=0))
    user.done("request_changes", session_id=session, version=1, comments=[PASSAGE])
    turn = await anext(planner.rounds(session))
    again = planner.proposal(session, 1)
    sent_back = await again.decision()
    assert isinstance(sent_back, ChangesRequested)
    assert turn.previous == sent_back
    assert [(each.line, each.body) for each in sent_back.comments] == [(3, "With what car?")]
    assert sent_back.comment is None

    await turn.propose("The move", TEXT + "By van.\n")
    user.done("approve_plan", session_id=session, version=2, document_sha256=sha256(TEXT + "By van.\n"))
    newest = await planner.newest(session)
    assert newest is not None
    approved = await newest.decision()
    assert isinstance(approved, Approved)
    assert approved.feedback is None
    assert await again.decision() == sent_back
    # Proposing what was approved, once more, is that proposal.
    assert (await own.propose("The move", TEXT + "By van.\n", session_id=session)).version == 2
    over = planner.rounds(session)
    assert [turn async for turn in over] == []
    assert over.decision == approved


async def test_the_other_ways_in_which_it_ends(planner: Planner, user: Caller) -> None:
    session = new_session()
    first = await planner.propose("One", "1", session_id=session, expires_in=timedelta(hours=1))
    second = await planner.propose("Two", "2", session_id=session)
    assert await first.decision() == Superseded(session_id=session, version=1, newest_version=2)

    await second.withdraw()
    assert await second.decision() == Withdrawn(session_id=session, version=2)

    third = await planner.propose("Three", "2", session_id=session)
    assert third.version == 3
    user.done("reject_plan", session_id=session, version=3, comment="Never.")
    refused = await third.decision()
    assert isinstance(refused, Rejected)
    assert refused.comment == "Never."
    with pytest.raises(Problem) as decided:
        await third.withdraw()
    assert decided.value.code == "plan_decided"


async def test_what_was_sent_back_does_not_come_back_unchanged(planner: Planner, user: Caller) -> None:
    session = new_session()
    await (await anext(planner.rounds(session))).propose("The move", TEXT)
    user.done("request_changes", session_id=session, version=1, comment="Shorter.")

    turn = await anext(planner.rounds(session))
    with pytest.raises(Problem) as same:
        await turn.propose("The move", TEXT)
    assert same.value.code == "plan_decided"
    assert "Shorter." in same.value.detail


async def test_a_planner_sees_nothing_of_other_users(
    planner: Planner, stack: RunningStack, stranger: Caller, user: Caller
) -> None:
    session = new_session()
    stranger.proposed(plan_id=session, content="# Theirs\n", version=7)

    assert await planner.newest(session) is None
    proposal = await planner.propose("Mine", TEXT, session_id=session)
    assert proposal.version == 1
    with pytest.raises(TimeoutError):
        await proposal.decision(timeout=0)
    assert [plan["user_id"] for plan in user.rows("plan")] == [user.id]
    assert [plan["status"] for plan in stranger.rows("plan")] == ["proposed"]


async def test_with_the_secret_key_the_user_has_to_be_there(stack: RunningStack) -> None:
    nowhere = Planner(stack.supabase_url, stack.secret_key, user_id="0e37df36-f698-11e6-8dd4-cb9ced3df976")
    with pytest.raises(Problem) as problem:
        await nowhere.propose("Mine", TEXT)
    assert (problem.value.code, problem.value.retryable) == ("invalid_user_id", False)


async def test_a_wrong_plan_is_refused_before_anything_is_sent() -> None:
    nowhere = Planner("http://127.0.0.1:9", "sb_secret_x", user_id="0e37df36-f698-11e6-8dd4-cb9ced3df976")
    for code, arguments in {
        "invalid_title": ("\n", TEXT),
        "invalid_request": ("Mine", ""),
        "document_too_large": ("Mine", "x" * 1_048_577),
    }.items():
        with pytest.raises(Problem) as problem:
            await nowhere.propose(*arguments)
        assert problem.value.code == code
    with pytest.raises(Problem) as problem:
        await nowhere.propose("Mine", TEXT, expires_in=timedelta(seconds=1))
    assert problem.value.code == "invalid_expires_at"


async def test_a_token_that_ran_out_is_fetched_again(stack: RunningStack, user: Caller) -> None:
    tokens = [stack.token_for(user, exp=1), user.token]
    session = new_session()
    planner = Planner(
        stack.supabase_url, stack.publishable_key, lambda: tokens.pop(0) if len(tokens) > 1 else tokens[0]
    )
    proposal = await planner.propose("Mine", TEXT, session_id=session)
    assert (proposal.version, tokens) == (1, [user.token])

    late = Planner(stack.supabase_url, stack.publishable_key, stack.token_for(user, exp=1))
    with pytest.raises(Problem) as problem:
        await late.newest(session)
    assert problem.value.code == "not_authenticated"
