"""Locks are taken in one order, so that no two calls can deadlock. Tests wait until Postgres shows the lock wait."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from .conftest import Project, Row, User, document_of, outcome
from .invariants import broken_invariants

# In their order, as another call takes them.
LOCKS = {
    "user": "select from auth.users where id = %s for update",
    "session": "select pg_advisory_xact_lock(greenlight.session_key(%s, 's1'))",
    "agent": "select from public.agent where user_id = %s for no key update",
    "plan": "select from public.plan where user_id = %s for no key update",
    "build": "select from public.build where user_id = %s for no key update",
}


@dataclass
class Session:
    """One whose version 1 is being built, and whose version 2 waits for a decision."""

    project: Project
    user: User
    claimed: Row

    def agent(self, function: str, **arguments: object) -> Row:
        return self.project.call(self.user, function, agent_id=self.claimed["agent_id"], **arguments)


def begin(project: Project) -> Session:
    user = project.new_user()
    claimed = project.claim_agent(project.store_and_approve(user)["agent_id"])
    project.store_and_propose(user, version=2)
    project.store(user, document=document_of("s1", 3))
    return Session(project, user, claimed)


def propose(s: Session) -> Row:
    return s.project.propose(s.user, version=3, document=document_of("s1", 3))


# Each call, and the locks for which it waits.
CALLS: dict[str, tuple[Callable[[Session], Row], str]] = {
    "propose_plan": (propose, "user session agent plan"),
    "approve_plan": (
        lambda s: s.project.approve_proposed(s.user, version=2),
        "user session agent plan build",
    ),
    "request_changes": (
        lambda s: s.project.decide(s.user, "request_changes", version=2),
        "user session agent plan",
    ),
    "archive": (lambda s: s.agent("transition_agent", to_status="archived"), "user agent plan build"),
    "delete_agent": (lambda s: s.agent("delete_agent"), "user agent plan build"),
    "renew_build": (lambda s: s.project.renew(s.claimed), "build"),
    "finish_build": (lambda s: s.project.finish(s.claimed), "user agent build"),
    "fail_build": (lambda s: s.project.fail(s.claimed, retry=False), "user agent build"),
}
# What comes after one of them.
LATER: dict[str, tuple[str, Callable[[Session], Row], str]] = {
    "restore_agent": ("delete_agent", lambda s: s.agent("restore_agent"), "user agent plan"),
    "retry_build": ("fail_build", lambda s: s.agent("retry_build"), "user agent"),
    "pause": ("finish_build", lambda s: s.agent("transition_agent", to_status="paused"), "user agent"),
}


def waiting(project: Project) -> int:
    (row,) = project.rows(
        "select count(*) from pg_stat_activity"
        " where datname = current_database() and wait_event_type = 'Lock' and pg_blocking_pids(pid) <> '{}'"
    )
    return int(row["count"])


def waits(project: Project, call: Future[Any], count: int) -> bool:
    """Wait until so many calls wait for a lock (true), or this one has ended (false)."""
    deadline = time.monotonic() + 20
    while waiting(project) < count:
        if call.done():
            return False
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return True


@pytest.mark.parametrize("name", [*CALLS, *LATER])
def test_a_call_that_waits_for_a_lock_holds_none_that_comes_later(project: Project, name: str) -> None:
    """Who holds the lock it waits for can take all later ones. A call that held one of them would deadlock here."""
    before, call, expected = LATER[name] if name in LATER else (None, *CALLS[name])
    waited = []
    with ThreadPoolExecutor(1) as pool:
        for number, lock in enumerate(LOCKS):
            session = begin(project)
            if before:
                CALLS[before][0](session)
            with project.as_superuser() as holder:
                holder.execute(LOCKS[lock].encode(), (session.user.id,))
                running = pool.submit(outcome, partial(call, session))
                if waits(project, running, 1):
                    waited.append(lock)
                for later in list(LOCKS.values())[number + 1 :]:
                    holder.execute(later.encode(), (session.user.id,))
            assert running.result() == "done"
    assert waited == expected.split()
    assert broken_invariants(project) == []


@pytest.mark.parametrize("first", CALLS)
def test_a_call_that_meets_another_one_waits_for_it_and_ends(project: Project, first: str) -> None:
    call, locks = CALLS[first]
    others: dict[str, Callable[[Session], object]] = {name: other for name, (other, _) in CALLS.items()}
    others["delete the user"] = lambda s: s.project.delete_user(s.user)
    with ThreadPoolExecutor(2) as pool:
        for name, other in others.items():
            session = begin(project)
            with project.as_superuser() as holder:
                # The first call holds all its locks but the last.
                holder.execute(LOCKS[locks.split()[-1]].encode(), (session.user.id,))
                running = pool.submit(outcome, partial(call, session))
                assert waits(project, running, 1)
                second = pool.submit(outcome, partial(other, session))
                waits(project, second, 2)
            assert running.result() == "done", name
            assert second.result() in {
                "done", "agent_deleted", "agent_archived", "plan_stale", "plan_decided", "build_lost",
            }, name  # fmt: skip
    assert broken_invariants(project) == []
