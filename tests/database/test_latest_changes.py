"""What open pages ask: each change that they show moves its mark, and strangers hear nothing of it."""

from typing import Any

import pytest

from .conftest import Project, Row, User
from .test_teams import Company, company


def asked(project: Project, user: User, **arguments: object) -> dict[str, Any]:
    answer: dict[str, Any] = project.call(user, "latest_changes", **arguments)["latest_changes"]
    return answer


def test_each_change_of_an_agent_moves_its_marks(project: Project) -> None:
    ada = project.new_user()
    project.store_and_propose(ada)
    session = {"session_ids": ["s1"], "user_ids": [ada.id]}
    seen = [asked(project, ada, **session)]
    agent_id = project.approve_proposed(ada)["agent_id"]

    def look() -> dict[str, Any]:
        return asked(project, ada, agent_ids=[agent_id], **session)

    def changes(moves_session: bool = True) -> None:
        """Of the agent at least; the same is answered again until the next change."""
        found = look()
        assert found["agents"] not in [answer.get("agents") for answer in seen]
        assert (found["sessions"] in [answer["sessions"] for answer in seen]) is not moves_session
        assert look() == found
        seen.append(found)

    changes()
    build = project.claim_agent(agent_id)
    changes(moves_session=False)
    project.renew(build, progress=10)
    changes(moves_session=False)
    project.renew(build, progress=10, log="one")
    changes(moves_session=False)
    project.finish(build)
    changes()
    project.store_and_propose(ada, version=2)
    changes()
    project.decide(ada, "request_changes", version=2, comment="Shorter.")
    changes()
    project.store_and_approve(ada, version=3)
    changes()
    project.call(ada, "delete_agent", agent_id=agent_id)
    assert look() == {"sessions": [[None, None, None]]}
    project.call(ada, "restore_agent", agent_id=agent_id)
    changes()


def test_it_tells_nothing_of_what_the_caller_may_not_read(team_project: Project) -> None:
    firm = company(team_project)
    agent_id = firm.agent()
    about = {"agent_ids": [agent_id], "session_ids": ["s1"], "user_ids": [firm.owner.id]}
    answer = asked(team_project, firm.owner, **about)
    assert len(answer["agents"][str(agent_id)]) == 5
    for colleague in (firm.approver, firm.viewer, firm.viewer.with_claims(client_id="mcp")):
        assert asked(team_project, colleague, **about) == answer
    assert asked(team_project, firm.stranger, **about) == {"sessions": [[None, None, None]]}
    assert asked(team_project, firm.stranger, waiting=True, decided=True) == {}
    # A session without a name of its owner is the caller's.
    assert asked(team_project, firm.viewer, session_ids=["s1"]) == {"sessions": [[None, None, None]]}


@pytest.fixture
def firm(team_project: Project) -> Company:
    return company(team_project)


def test_the_lists_are_those_of_the_inbox(firm: Company) -> None:
    project = firm.project
    project.change_setting(self_approval=False)

    def lists(user: User) -> dict[str, Any]:
        found: dict[str, Any] = asked(project, user, waiting=True, decided=True).get("lists", {})
        return {name: count for name, (count, _) in found.items()}

    def newest(row: Row, name: str) -> object:
        (found,) = project.rows(f"select to_jsonb({name}) as at from public.plan where id = %s", row["id"])
        return found["at"]

    firm.propose()
    project.store_and_propose(firm.owner, "own")
    assert lists(firm.owner) == {"waiting": 1, "others": 1}
    assert lists(firm.approver) == {"teamWaiting": 1}
    assert lists(firm.viewer) == {}

    firm.approve(firm.approver)
    project.expire(firm.owner, "own")
    firm.propose("late")
    project.expire(firm.owner, "late")
    assert lists(firm.owner) == {"expired": 2, "decided": 1}
    assert lists(firm.approver) == {"teamExpired": 1, "teamDecided": 1}
    assert lists(firm.viewer) == {"teamDecided": 1}

    answer = asked(project, firm.owner, waiting=True, decided=True)["lists"]
    assert answer["decided"][1] == newest(project.plan(firm.owner), "decided_at")
    assert "waiting" not in asked(project, firm.owner, decided=True)["lists"]
