"""A team's plan through the service: the owner's planner proposes, a colleague decides."""

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from greenlight.planner import Planner, Problem
from tests.caller import Caller, expect_problem
from tests.conftest import RunningStack
from tests.mcp.planner import connected
from tests.plan import body, new_session, sha256
from tests.teams import Team, team_of


@pytest.fixture
def team(stack: RunningStack, user: Caller) -> Iterator[Team]:
    with team_of(stack.needs_database()) as team:
        team.join(user.id)
        yield team


@pytest.fixture
def colleague(stack: Any, user: Caller, team: Team) -> Caller:
    account = stack.sign_up()
    team.join(account.id)
    return replace(user, id=account.id, token=account.token)


def test_a_colleague_approves_what_was_proposed_to_the_team(
    user: Caller, colleague: Caller, stranger: Caller, team: Team, stack: RunningStack
) -> None:
    planner = replace(user, token=stack.token_for(user, client_id="a-planner"))
    request = body()

    answer = planner.proposed(**request, team_id=team.id)

    if stack.local:
        url = stack.local.settings.ui_url
        assert answer["review_url"] == f"{url}/build?session={request['plan_id']}&user={user.id}"
        again = planner.proposed(**request)  # which does not name the team
        assert again["review_url"] == answer["review_url"]
    (waiting,) = colleague.rows("plan", status="eq.proposed", team_id=f"eq.{team.id}")
    assert waiting["id"] == answer["plan_id"]
    assert colleague.read(waiting["document_path"]) == request["content"].encode()
    assert colleague.document(answer["plan_id"]).status_code == 200
    expect_problem(stranger.document(answer["plan_id"]), 404, "plan_not_found")

    approved = colleague.done(
        "approve_plan",
        session_id=request["plan_id"],
        version=1,
        document_sha256=sha256(request["content"]),
        user_id=user.id,
    )

    (agent,) = user.rows("agent")
    assert (agent["id"], agent["user_id"], agent["team_id"]) == (approved["agent_id"], user.id, team.id)
    assert user.approved(**request)["created"] is False


def test_a_team_that_is_not_the_callers_is_refused(user: Caller, stranger: Caller, team: Team) -> None:
    refusals = (
        stranger.propose(**body(), team_id=team.id),
        user.propose(**body(), team_id=stranger.id),
        user.propose(**body(), team_id="a team"),
    )
    for answer in refusals:
        expect_problem(answer, 422, "invalid_team_id")
    expect_problem(user.propose(**body(), team_id=7), 422, "invalid_request")
    # What was stored for them is gone.
    assert user.folders() == []
    assert user.proposed(**body(), team_id=team.id)["created"] is True


def test_the_service_says_who_may_not_approve(user: Caller, team: Team, stack: RunningStack) -> None:
    request = body()
    user.proposed(**request, team_id=team.id)
    team.database.execute("update greenlight.setting set self_approval = false")
    expect_problem(user.approve(**request), 403, "approver_required")
    team.database.execute(
        "update greenlight.setting set self_approval = true, decision_max_age = interval '1 hour'"
    )
    amr = [{"method": "password", "timestamp": int(time.time()) - 7200}]
    stale = replace(user, token=stack.token_for(user, amr=amr))
    expect_problem(stale.approve(**request), 403, "step_up_required")
    fresh = replace(user, token=stack.token_for(user, amr=[*amr, {"timestamp": int(time.time())}]))
    assert fresh.approved(**request)["created"] is True


def test_the_service_acts_on_the_callers_own_session_of_that_name(
    user: Caller, colleague: Caller, team: Team
) -> None:
    """Both have a session of this name, and each may read the other's."""
    request = body()
    user.proposed(**request, team_id=team.id)
    colleague.proposed(**{**request, "content": "# Another"}, team_id=team.id)
    assert colleague.approved(**{**request, "content": "# Another"})["created"] is True
    (waiting,) = user.rows("plan", status="eq.proposed")
    assert waiting["user_id"] == user.id


@pytest.mark.anyio
async def test_a_planner_hears_of_its_own_session_and_proposes_to_a_team(
    user: Caller, colleague: Caller, team: Team, stack: RunningStack
) -> None:
    token = stack.token_for(user, client_id="a-planner")
    async with connected(stack, token) as planner, connected(stack, colleague.token) as other:
        first = await planner.done(
            "propose_plan", title="Move", content="# 1", session_id="shared", team_id=team.id
        )
        await other.refused("plan_not_found", "get_decision", session_id="shared", version=1)
        theirs = await other.done("propose_plan", title="Stay", content="# 2", session_id="shared")
        assert (theirs["version"], theirs["agent_id"]) == (1, None)
        await planner.refused(
            "invalid_team_id", "propose_plan", title="Move", content="# 3", team_id=colleague.id
        )
        colleague.done("request_changes", session_id="shared", version=1, comment="Shorter.", user_id=user.id)
        decided = await planner.done("get_decision", session_id="shared", version=1)
        assert (decided["status"], decided["comment"]) == ("changes_requested", "Shorter.")
        assert (await other.done("get_decision", session_id="shared", version=1))["status"] == "proposed"
        if stack.local:
            for answer, owner in ((first, f"&user={user.id}"), (decided, f"&user={user.id}"), (theirs, "")):
                assert answer["review_url"] == f"{stack.local.settings.ui_url}/build?session=shared{owner}"


@pytest.mark.anyio
async def test_a_planner_in_python_proposes_to_a_team(
    user: Caller, colleague: Caller, stranger: Caller, team: Team, stack: RunningStack
) -> None:
    planner = Planner(
        stack.supabase_url,
        stack.publishable_key,
        stack.token_for(user, client_id="a-planner"),
        ui_url="https://ui.test",
    )
    session = new_session()
    rounds = planner.rounds(session, team_id=team.id)
    proposal = await (await anext(rounds)).propose("The move", "# The move\n")

    assert proposal.review_url == f"https://ui.test/build?session={session}&user={user.id}"
    newest = await planner.newest(session)
    assert newest == proposal
    colleague.done("request_changes", session_id=session, version=1, comment="Shorter.", user_id=user.id)
    assert "Shorter." in str((await anext(rounds)).feedback)
    with pytest.raises(Problem) as refused:
        await planner.propose("The move", "# The move\n", team_id=stranger.id)
    assert refused.value.code == "invalid_team_id"
