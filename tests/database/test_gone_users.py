"""A user whom Supabase Auth has banned or deleted softly is refused at once, although their access token is valid."""

from collections.abc import Callable

import pytest

from .conftest import Project, User, refused
from .test_human_only import HUMAN_CALLS, story

GONE = {
    "deleted softly": "deleted_at = now() - interval '1 second'",
    "deleted before and after": "deleted_at = now() + interval '1 hour'",
    "banned": "banned_until = now() + interval '1 hour'",
    "banned for good": "banned_until = 'infinity'",
}


def set_user(project: Project, user: User, change: str) -> None:
    project.rows(f"update auth.users set {change} where id = %s returning id", user.id)


def propose(project: Project, user: User, agent_id: object) -> object:
    return project.propose(user, version=9, document="# s1 3")


def withdraw(project: Project, user: User, agent_id: object) -> object:
    return project.decide(user, "withdraw_plan", version=2)


def deleted_agents(project: Project, user: User, agent_id: object) -> object:
    with project.as_user(user) as connection:
        connection.execute("select * from public.deleted_agents()")
    return True


CALLS: dict[str, Callable[[Project, User, object], object]] = {
    **HUMAN_CALLS,
    **{call.__name__: call for call in (propose, withdraw, deleted_agents)},
}


@pytest.mark.parametrize("call", CALLS)
def test_a_user_who_is_gone_calls_nothing(project: Project, call: str) -> None:
    user = project.new_user()
    agent_id = story(project, user, call)
    before = project.everything()
    for gone in GONE.values():
        set_user(project, user, gone)
        for caller in (user, user.with_claims(client_id="mcp"), user.with_claims(is_anonymous=True)):
            with refused("not_authenticated", "PT401"):
                CALLS[call](project, caller, agent_id)
        set_user(project, user, "deleted_at = null, banned_until = null")
    assert project.everything() == before
    # A ban that has ended does not count.
    set_user(project, user, "banned_until = now() - interval '1 second'")
    assert CALLS[call](project, user, agent_id)


@pytest.mark.parametrize("gone", GONE)
def test_the_service_role_withdraws_for_them_but_proposes_nothing(project: Project, gone: str) -> None:
    user = project.new_user()
    project.store_and_propose(user)
    project.store(user)
    set_user(project, user, GONE[gone])
    before = project.everything()
    with refused("invalid_user_id", "PT422"):
        project.propose(user, version=2, service_role=True)
    with refused("invalid_user_id", "PT422"):
        project.call(
            None, "propose_plan", session_id="/", version=0, title="", document_sha256="", document_url="",
            user_id=user.id,
        )  # fmt: skip
    assert project.everything() == before
    row = project.decide(None, "withdraw_plan", user_id=user.id)
    assert (row["status"], row["decided_via"]) == ("withdrawn", "service_role")


def test_builders_finish_what_was_approved(project: Project) -> None:
    user = project.new_user()
    agent_id = project.store_and_approve(user)["agent_id"]
    set_user(project, user, GONE["banned"])
    assert project.finish(project.claim_agent(agent_id))["status"] == "active"
