"""The calls of a planner in Python fail on their way: it repeats them by itself, and proposes once."""

import pytest

from greenlight.planner import Approved, Planner
from tests.caller import Caller
from tests.conftest import RunningStack
from tests.faults.proxy import CALLS, Proxy
from tests.faults.test_calls import FAULTS
from tests.plan import new_session, sha256

pytestmark = pytest.mark.anyio


@pytest.fixture
def planner(proxy: Proxy, stack: RunningStack, user: Caller) -> Planner:
    proxy.handlers.clear()
    return Planner(proxy.url, stack.secret_key, user_id=user.id, poll_seconds=0.05)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("call", [*CALLS, "plan"])
async def test_a_proposal_whose_calls_fail_is_proposed_once(
    planner: Planner, proxy: Proxy, user: Caller, call: str, fault: str
) -> None:
    session = new_session()
    hit = proxy.once(call, FAULTS[fault][0])

    proposal = await planner.propose("The move", "# The move\n", session_id=session)

    assert hit.is_set()
    assert proposal.version == 1
    assert [(plan["version"], plan["status"]) for plan in user.rows("plan")] == [(1, "proposed")]
    assert len(user.objects(session)) == 1


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("call", ["plan", "agent"])
async def test_a_wait_whose_calls_fail_goes_on(
    planner: Planner, proxy: Proxy, user: Caller, call: str, fault: str
) -> None:
    proposal = await planner.propose("The move", "# The move\n", session_id=new_session())
    user.done(
        "approve_plan", session_id=proposal.session_id, version=1, document_sha256=sha256("# The move\n")
    )
    hit = proxy.once(call, FAULTS[fault][0])

    decision = await proposal.decision()

    assert hit.is_set()
    assert isinstance(decision, Approved)
