"""What the tests of builds share."""

from collections.abc import Callable
from typing import LiteralString

from .conftest import Project, Row, User
from .invariants import broken_invariants

OPEN = ("queued", "running")

# Locks that another transaction may hold, in the order in which everything locks.
LOCKED: dict[str, LiteralString] = {
    "the user's row": "select from auth.users for update",
    "the agent's row": "select from public.agent for update",
    "the plan's row": "select from public.plan for update",
    "the build's row": "select from public.build for update",
}

CALLS: dict[str, Callable[[Project, Row], Row]] = {
    "renew_build": lambda project, claimed: project.renew(claimed),
    "finish_build": lambda project, claimed: project.finish(claimed),
    "fail_build": lambda project, claimed: project.fail(claimed),
}


def statuses(project: Project, agent_id: object) -> list[str]:
    return [build["status"] for build in project.builds(agent_id)]


def agent_of(project: Project, agent_id: object) -> Row:
    (agent,) = project.rows("select * from public.agent where id = %s", agent_id)
    return agent


def seconds(project: Project, build_id: object, since: LiteralString) -> float:
    """How long after its column `since` the build is due, by the database's clock."""
    (row,) = project.rows(
        f"select extract(epoch from run_after - {since})::float as seconds from public.build where id = %s",
        build_id,
    )
    return float(row["seconds"])


def is_sound(project: Project) -> bool:
    return broken_invariants(project) == []


def start(project: Project, user: User, state: str) -> Row:
    """An approval whose build is queued, running, succeeded or failed."""
    approval = project.store_and_approve(user)
    if state != "queued":
        claimed = project.claim_agent(approval["agent_id"])
        if state == "succeeded":
            project.finish(claimed)
        elif state == "failed":
            project.fail(claimed, retry=False)
    return approval


def cancel(project: Project, user: User, agent_id: object, how: str) -> None:
    match how:
        case "revised":
            project.store_and_approve(user, version=2)
        case "archived":
            project.call(user, "transition_agent", agent_id=agent_id, to_status="archived")
        case "deleted":
            project.call(user, "delete_agent", agent_id=agent_id)


def wear_out(project: Project, agent_id: object) -> Row:
    """Let a builder die in each of its attempts. Answers the last claim, whose lease has ended."""
    claimed = project.claim_agent(agent_id)
    for attempt in range(2, claimed["max_attempts"] + 1):
        claimed = project.claim_agent(agent_id)
        assert claimed["attempt"] == attempt
    project.make_due(claimed["build_id"])
    return claimed
