"""stop_build(): the owner ends a build that goes wrong."""

from uuid import uuid4

import pytest

from .builds import CALLS, agent_of, is_sound, start, statuses
from .conftest import Project, User, refused

MESSAGES = {"owner": "Stopped by the owner.", "service role": "Stopped by the service."}


@pytest.mark.parametrize("state", ["queued", "running"])
@pytest.mark.parametrize("caller", MESSAGES)
def test_a_build_is_stopped_and_its_agent_failed(project: Project, caller: str, state: str) -> None:
    user = project.new_user()
    agent_id = project.store_and_approve(user)["agent_id"]
    claimed = project.claim_agent(agent_id) if state == "running" else None
    by = user if caller == "owner" else None
    agent = project.call(by, "stop_build", agent_id=agent_id)
    assert (agent["id"], agent["status"]) == (agent_id, "failed")
    (build,) = project.builds(agent_id)
    assert (build["status"], build["message"]) == ("cancelled", MESSAGES[caller])
    assert build["finished_at"] is not None
    _, event = project.events(agent_id)
    assert (event["kind"], event["from_status"], event["to_status"]) == (
        "status_changed",
        "building",
        "failed",
    )
    assert event["actor"] == (user.id if caller == "owner" else None)
    assert is_sound(project)

    # Nothing is built any more, and what the attempt still says has no effect.
    assert project.claim(100) == []
    before = project.everything()
    if claimed:
        for call in CALLS.values():
            with refused("build_lost", "PT409") as caught:
                call(project, claimed)
            assert MESSAGES[caller] in (caught.value.diag.message_detail or "")
    # Neither has another stop.
    assert project.call(by, "stop_build", agent_id=agent_id) == agent
    assert project.everything() == before


def test_after_a_stop_it_is_built_again(project: Project) -> None:
    user = project.new_user()
    agent_id = project.store_and_approve(user)["agent_id"]
    stopped = project.claim_agent(agent_id)
    project.call(user, "stop_build", agent_id=agent_id)
    project.call(user, "retry_build", agent_id=agent_id)
    claimed = project.claim_agent(agent_id)
    assert claimed["attempt"] == 1
    with refused("build_lost", "PT409"):
        project.finish(stopped)
    assert project.finish(claimed)["status"] == "active"
    assert statuses(project, agent_id) == ["cancelled", "succeeded"]
    assert is_sound(project)


def test_a_newer_version_is_built_after_a_stop(project: Project) -> None:
    user = project.new_user()
    agent_id = project.store_and_approve(user)["agent_id"]
    project.call(user, "stop_build", agent_id=agent_id)
    project.store_and_approve(user, version=2)
    assert agent_of(project, agent_id)["status"] == "building"
    assert statuses(project, agent_id) == ["cancelled", "queued"]
    assert is_sound(project)


def test_what_is_not_building_is_not_stopped(project: Project) -> None:
    user = project.new_user()
    agent_id = start(project, user, "succeeded")["agent_id"]
    for status in ("active", "paused", "archived"):
        if status != "active":
            project.call(user, "transition_agent", agent_id=agent_id, to_status=status)
        for caller in (user, None):
            with refused("illegal_transition", "PT409"):
                project.call(caller, "stop_build", agent_id=agent_id)
    assert statuses(project, agent_id) == ["succeeded"]

    # A build that failed by itself stays failed.
    failed = start(project, project.new_user(), "failed")["agent_id"]
    assert project.call(None, "stop_build", agent_id=failed)["status"] == "failed"
    assert statuses(project, failed) == ["failed"]


def test_only_the_human_and_the_service_role_stop_a_build(project: Project) -> None:
    user, stranger, gone = (project.new_user() for _ in range(3))
    agent_id = project.store_and_approve(user)["agent_id"]
    project.delete_user(gone)
    before = project.everything()
    # Each of them is refused for the first of several reasons.
    callers: list[tuple[User, str, str]] = [
        (gone.with_claims(client_id="mcp"), "not_authenticated", "PT401"),
        (user.with_claims(client_id="mcp"), "human_required", "PT403"),
        (stranger.with_claims(client_id="mcp"), "human_required", "PT403"),
        (stranger, "agent_not_found", "PT404"),
    ]
    for caller, code, state in callers:
        with refused(code, state):
            project.call(caller, "stop_build", agent_id=agent_id)
    for by in (user, None):
        for unknown in (uuid4(), None):
            with refused("agent_not_found", "PT404"):
                project.call(by, "stop_build", agent_id=unknown)
    assert project.everything() == before
    project.call(user, "delete_agent", agent_id=agent_id)
    for by in (user, None):
        with refused("agent_deleted", "PT409"):
            project.call(by, "stop_build", agent_id=agent_id)
