"""Large documents behind a gateway that keeps its connections to storage, as the local stack's does.

storage-api 1.70.6 refuses a large upload of what is there already without reading it, and never answers on that
connection again. The gateway hands the connection to the next request to storage, which hangs.
"""

import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from local import NODE, ROOT
from tests.caller import Caller, Json
from tests.conftest import RunningStack
from tests.plan import body, new_session

SIZES = [200_000, 300_000, 1024 * 1024]
AT_ONCE = 50


def through_the_service(caller: Caller, request: Json, times: int) -> list[Json]:
    with ThreadPoolExecutor(times) as pool:
        answers = list(pool.map(lambda _: caller.approve(**request), range(times)))
    assert {answer.status_code for answer in answers} == {200}, [answer.text for answer in answers]
    return [answer.json() for answer in answers]


def as_the_docs_do(
    stack: RunningStack, caller: Caller, session: str, size: int, times: int = 1
) -> list[Json]:
    result = subprocess.run(
        [NODE, ROOT / "tests" / "faults" / "direct.mjs"],
        env={
            **os.environ,
            "SUPABASE_URL": stack.supabase_url,
            "SUPABASE_PUBLISHABLE_KEY": stack.publishable_key,
            "TOKEN": caller.token,
            "USER_ID": caller.id,
            "SESSION_ID": session,
            "SIZE": str(size),
            "AT_ONCE": str(times),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert result.returncode == 0, result.stderr
    answers: list[Any] = json.loads(result.stdout)
    return answers


def assert_one_agent(answers: list[Json], *, created: int) -> None:
    assert len({(answer["plan_id"], answer["agent_id"]) for answer in answers}) == 1
    assert sum(answer["created"] for answer in answers) == created


@pytest.mark.parametrize("size", SIZES)
def test_replays_through_the_service(user: Caller, stranger: Caller, size: int) -> None:
    request = body(content="x" * size)
    answers = [user.approved(**request)]
    for _ in range(5):
        answers.append(user.approved(**request))
        stranger.approved()  # what comes next on the gateway's connections is another user's

    answers += through_the_service(user, request, AT_ONCE)
    assert_one_agent(answers, created=1)


@pytest.mark.parametrize("size", SIZES)
def test_fifty_first_approvals_at_once_through_the_service(user: Caller, stranger: Caller, size: int) -> None:
    assert_one_agent(through_the_service(user, body(content="x" * size), AT_ONCE), created=1)
    for _ in range(5):
        stranger.approved()


@pytest.mark.parametrize("size", SIZES)
def test_replays_by_the_example_in_the_docs(
    stack: RunningStack, user: Caller, stranger: Caller, size: int
) -> None:
    session = new_session()
    answers = as_the_docs_do(stack, user, session, size)
    answers += as_the_docs_do(stack, user, session, size)
    stranger.approved()
    answers += as_the_docs_do(stack, user, session, size, AT_ONCE)
    assert_one_agent(answers, created=1)
    stranger.approved()
