"""Someone other than the owner decides. The stories have the names of what went wrong elsewhere.

The project's teams are those of docs/teams.md: its SQL is run as it stands there.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql

from .conftest import Project, Race, Row, User, denied, document_of, outcome, refused, sql_of_teams
from .invariants import broken_invariants
from .test_lock_order import waits

if TYPE_CHECKING:
    from collections.abc import Callable

TABLES = ("plan", "agent", "agent_event", "build", "build_log")
DECISIONS: dict[str, dict[str, Any]] = {
    "approve_plan": {},
    "request_changes": {"comment": "Shorter."},
    "reject_plan": {},
}
AGENT_CALLS: dict[str, dict[str, Any]] = {
    "transition_agent": {"to_status": "archived"},
    "retry_build": {},
    "stop_build": {},
    "delete_agent": {},
    "restore_agent": {},
}


@dataclass
class Company:
    """A team with an owner of plans, who is an approver, and others."""

    project: Project
    team: UUID
    owner: User
    approver: User
    viewer: User
    stranger: User

    def propose(self, session: str = "s1", version: int = 1, **arguments: Any) -> Row:
        return self.project.store_and_propose(
            self.owner, session, version, **{"team_id": self.team, **arguments}
        )

    def approve(self, user: User, session: str = "s1", version: int = 1, **arguments: object) -> Row:
        digest = self.project.plan(self.owner, session, version)["document_sha256"]
        return self.decide(user, "approve_plan", session, version, document_sha256=digest, **arguments)

    def decide(
        self, user: User, decision: str, session: str = "s1", version: int = 1, **arguments: object
    ) -> Row:
        """Decide as this user, who names the owner unless they are it."""
        named = {} if user.id == self.owner.id else {"user_id": self.owner.id}
        if decision == "approve_plan" and "document_sha256" not in arguments:
            return self.approve(user, session, version, **arguments)
        return self.project.call(
            user, decision, session_id=session, version=version, **{**named, **arguments}
        )

    def agent(self, session: str = "s1") -> Any:
        """Return an agent of the team, approved by the colleague, with a build that wrote a log."""
        self.propose(session)
        agent_id = self.approve(self.approver, session)["agent_id"]
        self.project.renew(self.project.claim_agent(agent_id), log="Building.")
        return agent_id

    def seen(self, user: User) -> dict[str, int]:
        with self.project.as_user(user) as connection:
            return {
                table: connection.execute(
                    sql.SQL("select count(*) from public.{}").format(sql.Identifier(table))
                ).fetchall()[0]["count"]
                for table in TABLES
            } | {
                "documents": connection.execute(
                    "select count(*) from storage.objects where bucket_id = 'plans'"
                ).fetchall()[0]["count"]
            }


def company(project: Project) -> Company:
    team = uuid4()
    owner, approver, viewer, stranger = (project.new_user() for _ in range(4))
    for user, role in ((owner, "approver"), (approver, "approver"), (viewer, "viewer")):
        project.join(user, team, role)
    # Strangers decide, too: in a team of their own.
    project.join(stranger, uuid4())
    return Company(project, team, owner, approver, viewer, stranger)


@pytest.fixture
def firm(team_project: Project) -> Company:
    return company(team_project)


def only(**counts: int) -> dict[str, int]:
    return {**dict.fromkeys((*TABLES, "documents"), 0), **counts}


# Reading -----------------------------------------------------------------------------------------------------


def test_the_approval_code_does_not_go_round_row_level_security(firm: Company) -> None:
    """Only the owner and the team read a request. Elsewhere the whole project could."""
    firm.agent()
    everything = only(plan=1, agent=1, agent_event=1, build=1, build_log=1, documents=1)
    for user in (firm.owner, firm.approver, firm.viewer):
        assert firm.seen(user) == everything
        assert firm.seen(user.with_claims(client_id="mcp")) == everything
    assert firm.seen(firm.stranger) == only()
    for table in TABLES:
        with denied(), firm.project.as_anon() as connection:
            connection.execute(f"select from public.{table}".encode())
    for user in (firm.approver, firm.viewer, firm.stranger):
        for table in TABLES:
            with denied(), firm.project.as_user(user) as connection:
                connection.execute(f"update public.{table} set team_id = team_id".encode())


def test_a_plan_without_a_team_stays_its_owners_alone(firm: Company) -> None:
    firm.project.store_and_propose(firm.owner)
    for user in (firm.approver, firm.viewer, firm.stranger):
        assert firm.seen(user) == only()
        for decision, arguments in DECISIONS.items():
            with refused("plan_not_found", "PT404"):
                firm.decide(user, decision, **arguments)
    assert firm.project.approve_proposed(firm.owner)["created"] is True


def test_what_is_deleted_is_hidden_from_the_team_and_its_document_too(firm: Company) -> None:
    agent_id = firm.agent()
    firm.project.store_and_propose(firm.owner, version=2)
    # delete_agent() marks the newest 1,000 plans; the agent hides the others.
    firm.project.call(firm.owner, "delete_agent", agent_id=agent_id)
    with firm.project.as_superuser() as connection:
        connection.execute("update public.plan set deleted_at = null where version = 1")
    for user in (firm.approver, firm.viewer):
        assert firm.seen(user) == only()
    assert firm.seen(firm.owner) == only(documents=2)
    deleted = {
        user.id: len(rows(firm, user, "select * from public.deleted_agents()"))
        for user in (firm.owner, firm.approver, firm.viewer, firm.stranger)
    }
    assert [deleted[user.id] for user in (firm.owner, firm.approver, firm.viewer, firm.stranger)] == [
        1, 1, 0, 0,
    ]  # fmt: skip
    firm.project.call(firm.approver, "restore_agent", agent_id=agent_id)
    assert firm.seen(firm.viewer) == only(plan=2, agent=1, agent_event=3, build=2, build_log=1, documents=2)


def rows(firm: Company, user: User, query: str, *parameters: object) -> list[Row]:
    with firm.project.as_user(user) as connection:
        return connection.execute(query.encode(), parameters or None).fetchall()


def test_the_team_reads_documents_of_its_plans_and_of_no_other(firm: Company) -> None:
    firm.propose()
    firm.project.store(firm.owner, "s1", "# Not proposed")
    firm.project.store_and_propose(firm.owner, "private")
    path = firm.owner.path("s1", firm.project.plan(firm.owner)["document_sha256"])
    for user in (firm.approver, firm.viewer):
        found = rows(firm, user, "select name from storage.objects where bucket_id = 'plans'")
        assert [row["name"] for row in found] == [path]
        with denied():
            rows(
                firm, user, "insert into storage.objects (bucket_id, name, owner_id) values ('plans', %s, %s)",
                firm.owner.path("s1", "0" * 64), str(user.id),
            )  # fmt: skip
        assert firm.project.delete_object(path, "authenticated", {"sub": str(user.id)}) == 0
    assert firm.seen(firm.owner)["documents"] == 3
    assert firm.seen(firm.stranger)["documents"] == 0


def test_a_role_of_the_project_that_inherits_authenticated_reads_no_more_than_its_own(firm: Company) -> None:
    """The rule for authenticated lets a team in; another role gets its own folder only."""
    firm.propose()
    with firm.project.as_superuser() as connection:
        connection.execute("drop role if exists teams_member")
        connection.execute("create role teams_member in role authenticated")
        connection.execute("grant teams_member to authenticator")
    try:
        for user, count in ((firm.owner, 1), (firm.stranger, 0)):
            with firm.project.as_role("teams_member", {"sub": str(user.id)}) as connection:
                seen = connection.execute("select from storage.objects where bucket_id = 'plans'").fetchall()
            assert len(seen) == count
    finally:
        with firm.project.as_superuser() as connection:
            connection.execute("drop role teams_member")


def test_the_teams_are_asked_once_a_statement(firm: Company) -> None:
    for number in range(30):
        firm.agent(f"s{number}")
    with firm.project.as_superuser() as connection:
        connection.execute("create sequence public.asked")
        connection.execute("grant usage on sequence public.asked to postgres")
        connection.execute(
            """
            create or replace function greenlight.approver_teams()
            returns setof uuid
            language sql
            volatile
            security definer
            set search_path = ''
            as $$
                select nextval('public.asked');
                select m.team_id from public.membership as m
                where m.user_id = (select auth.uid()) and m.role = 'approver';
            $$
            """
        )

    def asked() -> int:
        (row,) = firm.project.rows("select nextval('public.asked') as number")
        return int(row["number"])

    for table in ("plan", "agent", "agent_event", "build"):
        before = asked()
        assert len(rows(firm, firm.approver, f"select * from public.{table}")) >= 30
        assert asked() - before == 2, table  # one of them is this look
    before = asked()
    assert len(rows(firm, firm.owner, "select * from public.plan where user_id = %s", firm.owner.id)) == 30
    assert asked() - before == 1, "of the owner's own rows it is not asked"


def test_plan_teams_says_where_the_caller_may_decide(firm: Company) -> None:
    query = "select * from public.plan_teams()"
    decides = {"team_id": firm.team, "may_decide": True, "may_decide_own": True}
    reads = {"team_id": firm.team, "may_decide": False, "may_decide_own": False}
    assert rows(firm, firm.approver, query) == [decides]
    assert rows(firm, firm.approver.with_claims(client_id="mcp"), query) == [decides]
    assert rows(firm, firm.viewer, query) == [reads]
    assert rows(firm, firm.project.new_user(), query) == []
    firm.project.change_setting(self_approval=False)
    assert rows(firm, firm.approver, query) == [{**decides, "may_decide_own": False}]
    with refused("not_authenticated", "PT401"):
        rows(firm, User(uuid4()), query)


def test_people_have_names_for_those_who_see_their_plans(firm: Company) -> None:
    firm.agent()
    plan_id = firm.project.plan(firm.owner)["id"]
    query = "select * from public.display_names(array[%s])"
    people = {firm.owner.id, firm.approver.id}
    assert {(row["user_id"], row["name"]) for row in rows(firm, firm.viewer, query, plan_id)} == {
        (person, None) for person in people
    }
    with firm.project.as_superuser() as connection:
        connection.execute("alter table auth.users add column if not exists raw_user_meta_data jsonb")
        connection.execute("set local role postgres")
        connection.execute(sql_of_teams("## Names of people"))
        connection.execute("reset role")
        connection.execute(
            """update auth.users set raw_user_meta_data = '{"name": "Ada"}' where id = %s""",
            (firm.approver.id,),
        )
    assert {row["user_id"]: row["name"] for row in rows(firm, firm.viewer, query, plan_id)} == {
        firm.owner.id: None,
        firm.approver.id: "Ada",
    }
    assert rows(firm, firm.stranger, query, plan_id) == []


# Deciding ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decision", DECISIONS)
def test_a_colleague_decides_and_the_plan_says_who(firm: Company, decision: str) -> None:
    firm.propose()
    approver = firm.approver.with_claims(aal="aal2")
    with refused("approver_required", "PT403"):
        firm.decide(firm.viewer, decision, **DECISIONS[decision])
    with refused("plan_not_found", "PT404"):
        firm.decide(firm.stranger, decision, **DECISIONS[decision])
    with refused("human_required", "PT403"):
        firm.decide(approver.with_claims(client_id="mcp"), decision, **DECISIONS[decision])

    firm.decide(approver, decision, **DECISIONS[decision])

    plan = firm.project.plan(firm.owner)
    assert plan["team_id"] == firm.team
    assert (plan["decided_by"], plan["decided_via"], plan["decided_aal"]) == (approver.id, "user", "aal2")
    # Once more is no second decision, for the owner neither.
    before = firm.project.everything()
    firm.decide(approver, decision, **DECISIONS[decision])
    firm.decide(firm.owner, decision, **DECISIONS[decision])
    assert firm.project.everything() == before
    assert broken_invariants(firm.project) == []


def test_the_agent_of_a_teams_plan_is_the_teams(firm: Company) -> None:
    agent_id = firm.agent()
    for table in ("plan", "agent", "agent_event", "build", "build_log"):
        found = firm.project.rows(f"select user_id, team_id from public.{table}")
        assert {(row["user_id"], row["team_id"]) for row in found} == {(firm.owner.id, firm.team)}, table
    (event,) = firm.project.events(agent_id)
    assert (event["actor"], event["actor_role"]) == (firm.approver.id, "authenticated")
    assert firm.project.claim_agent(agent_id)["team_id"] == firm.team


def test_who_has_left_the_team_decides_nothing_more(firm: Company) -> None:
    """Elsewhere people who had left still decided."""
    agent_id = firm.agent()
    firm.propose(version=2, team_id=None)
    firm.project.leave(firm.approver, firm.team)
    before = firm.project.everything()
    for decision, arguments in DECISIONS.items():
        with refused("plan_not_found", "PT404"):
            firm.decide(firm.approver, decision, version=2, **arguments)
        # Nor is there an answer to what they decided themselves.
        with refused("plan_not_found", "PT404"):
            firm.decide(firm.approver, decision, version=1, **arguments)
    for function, arguments in AGENT_CALLS.items():
        with refused("agent_not_found", "PT404"):
            firm.project.call(firm.approver, function, agent_id=agent_id, **arguments)
    assert firm.seen(firm.approver) == only()
    assert firm.project.everything() == before
    assert firm.project.plan(firm.owner)["decided_by"] == firm.approver.id
    firm.project.join(firm.approver, firm.team)
    firm.approve(firm.approver, version=2)


def test_an_approver_who_becomes_a_viewer_reads_on_and_decides_nothing_more(firm: Company) -> None:
    firm.agent()
    firm.project.join(firm.approver, firm.team, "viewer")
    for decision, arguments in DECISIONS.items():
        with refused("approver_required", "PT403"):
            firm.decide(firm.approver, decision, **arguments)
    assert firm.seen(firm.approver)["plan"] == 1


def test_a_banned_approver_is_not_authenticated(firm: Company) -> None:
    firm.propose()
    with firm.project.as_superuser() as connection:
        connection.execute(
            "update auth.users set banned_until = now() + interval '1 day' where id = %s", (firm.approver.id,)
        )
    for decision, arguments in DECISIONS.items():
        with refused("not_authenticated", "PT401"):
            firm.decide(firm.approver, decision, **arguments)
    # The owner's ban does not stop the team.
    with firm.project.as_superuser() as connection:
        connection.execute("update auth.users set banned_until = null")
        connection.execute(
            "update auth.users set banned_until = now() + interval '1 day' where id = %s", (firm.owner.id,)
        )
    firm.approve(firm.approver)


def test_self_approval_is_the_projects_to_allow(firm: Company) -> None:
    """Elsewhere it was forbidden or allowed for everyone."""
    firm.propose("on")
    firm.approve(firm.owner, "on")
    firm.propose("off")
    firm.project.change_setting(self_approval=False)
    for decision, arguments in DECISIONS.items():
        with refused("approver_required", "PT403"):
            firm.decide(firm.owner, decision, "off", **arguments)
    # Their own plans without a team are theirs.
    firm.project.store_and_propose(firm.owner, "private")
    firm.project.approve_proposed(firm.owner, "private")
    firm.approve(firm.approver, "off")
    assert broken_invariants(firm.project) == []


def test_self_approval_is_forbidden_on_every_path(firm: Company, subtests: pytest.Subtests) -> None:
    """Elsewhere one rule was enforced on one path only."""
    firm.project.change_setting(self_approval=False)
    agent_id = firm.agent()
    firm.propose(version=2, team_id=None)
    firm.project.store(firm.owner, document=document_of("s1", 3))
    before = firm.project.everything()
    paths: dict[str, Callable[[], object]] = {
        "by hash": partial(firm.project.approve_proposed, firm.owner, version=2),
        "with the owner named": partial(firm.approve, firm.owner, version=2, user_id=firm.owner.id),
        "directly": partial(firm.project.approve, firm.owner, version=3, document=document_of("s1", 3)),
        "a replay": partial(firm.project.approve_proposed, firm.owner),
        "sending back": partial(firm.decide, firm.owner, "request_changes", version=2, comment="No."),
        "rejecting": partial(firm.decide, firm.owner, "reject_plan", version=2),
        "a missing version": partial(firm.decide, firm.owner, "reject_plan", version=7),
    }
    for name, call in paths.items():
        with subtests.test(name), refused("approver_required", "PT403"):
            call()
    assert firm.project.everything() == before
    firm.project.call(firm.owner, "delete_agent", agent_id=agent_id)
    with subtests.test("deleted"), refused("approver_required", "PT403"):
        firm.project.approve_proposed(firm.owner, version=2)
    with refused("agent_deleted", "PT409"):
        firm.approve(firm.approver, version=2)


def test_an_owner_who_is_no_approver_decides_nothing_on_a_teams_plan(firm: Company) -> None:
    firm.project.join(firm.owner, firm.team, "viewer")
    firm.propose()
    with refused("approver_required", "PT403"):
        firm.approve(firm.owner)
    firm.project.leave(firm.owner, firm.team)
    # They read what is theirs, and are no stranger to it.
    with refused("approver_required", "PT403"):
        firm.approve(firm.owner)
    assert firm.seen(firm.owner) == only(plan=1, documents=1)
    assert firm.project.decide(firm.owner, "withdraw_plan")["decided_by"] == firm.owner.id


def test_with_require_team_there_is_no_way_round_four_eyes(firm: Company) -> None:
    firm.project.store_and_propose(firm.owner, "before")
    firm.project.store_and_approve(firm.owner, "replay")
    firm.project.change_setting(self_approval=False, require_team=True)
    with refused("invalid_team_id", "PT422"):
        firm.project.store_and_propose(firm.owner)
    with refused("invalid_team_id", "PT422"):
        firm.project.store_and_propose(firm.owner, service_role=True)
    firm.project.store(firm.owner)
    for call in (
        partial(firm.project.approve, firm.owner),
        partial(firm.project.approve_proposed, firm.owner, "before"),
        partial(firm.project.approve_proposed, firm.owner, "replay"),
    ):
        with refused("approver_required", "PT403"):
            call()
    assert firm.project.decide(firm.owner, "reject_plan", "before")["status"] == "rejected"
    firm.propose()
    firm.approve(firm.approver)


def test_a_strangers_question_finds_no_session(firm: Company, subtests: pytest.Subtests) -> None:
    """The answer to a session of a team is that to one that is not there."""
    firm.agent()
    for decision, arguments in DECISIONS.items():
        answers = set()
        for session, version, owner in (
            ("s1", 1, firm.owner.id),
            ("s1", 9, firm.owner.id),
            ("none", 1, uuid4()),
        ):
            with subtests.test(decision), pytest.raises(psycopg.Error) as caught:
                firm.project.call(
                    firm.stranger, decision, session_id=session, version=version, user_id=owner,
                    **({"document_sha256": "0" * 64} if decision == "approve_plan" else arguments),
                )  # fmt: skip
            answers.add((caught.value.diag.message_primary, caught.value.diag.message_detail))
        assert len(answers) == 1
        assert answers.pop()[0] == "plan_not_found"


def test_a_strangers_question_finds_no_team(firm: Company) -> None:
    """The answer to a team that they are not in is that to one that no one is in, and their own takes the plan."""
    answers = []
    for team in (firm.team, uuid4()):
        with refused("invalid_team_id", "PT422") as caught:
            firm.project.store_and_propose(firm.stranger, team_id=team)
        answers.append(str(caught.value.diag.message_detail).replace(str(team), "…"))
    assert answers[0] == answers[1]
    own = uuid4()
    firm.project.join(firm.stranger, own)
    assert firm.project.store_and_propose(firm.stranger, team_id=own)["created"] is True


def test_a_strangers_guess_of_a_title_is_not_answered(firm: Company) -> None:
    """A version of 0.2 keeps its title, although the rule is another one now. Only its owner can name it."""
    title = "\u2066A title of 0.2"
    firm.project.store_and_propose(firm.owner, "old")
    firm.project.backdate(firm.owner, "old", 1, title=title)
    for user in (firm.stranger, firm.approver):
        for session in ("old", "none"):
            with refused("invalid_title", "PT422"):
                firm.project.approve_proposed(
                    user, session, document="# old 1", title=title, user_id=firm.owner.id
                )
    assert firm.project.approve_proposed(firm.owner, "old", title=title)["created"] is True


def test_an_approver_decides_on_what_was_proposed_only(firm: Company) -> None:
    firm.propose()
    digest = firm.project.store(firm.owner, document=document_of("s1", 2))
    for decision, arguments in DECISIONS.items():
        with refused("plan_not_found", "PT404"):
            firm.decide(
                firm.approver, decision, version=2,
                **({"document_sha256": digest} if decision == "approve_plan" else arguments),
            )  # fmt: skip
    # The owner approves a document directly, in the session's team; for the approver that is a replay.
    agent_id = firm.project.approve(firm.owner, version=2, document=document_of("s1", 2))["agent_id"]
    assert firm.project.plan(firm.owner, version=2)["team_id"] == firm.team
    assert firm.approve(firm.approver, version=2) == {
        "plan_id": firm.project.plan(firm.owner, version=2)["id"],
        "agent_id": agent_id, "agent_status": "building", "version": 2, "created": False,
    }  # fmt: skip


def test_the_order_of_refusals(firm: Company) -> None:
    firm.propose()
    agent = firm.approver.with_claims(client_id="mcp")
    firm.project.change_setting(decision_aal="aal2")
    call = partial(firm.project.call, session_id="?", version=0, user_id=firm.owner.id, comment=" ")
    with refused("not_authenticated", "PT401"):
        call(User(uuid4()), "reject_plan")
    with refused("human_required", "PT403"):
        call(agent, "reject_plan")
    with refused("step_up_required", "PT403"):
        call(firm.approver, "reject_plan")
    strong = firm.stranger.with_claims(aal="aal2")
    with refused("invalid_session_id", "PT422"):
        call(strong, "reject_plan")
    with refused("invalid_comment", "PT422"):
        call(strong, "reject_plan", session_id="s1", version=1)
    with refused("plan_not_found", "PT404"):
        call(strong, "reject_plan", session_id="s1", version=1, comment="No.")


# Proposing ---------------------------------------------------------------------------------------------------


def test_a_session_keeps_the_team_of_its_first_plan(firm: Company) -> None:
    other = uuid4()
    firm.project.join(firm.owner, other)
    firm.propose()
    firm.propose(version=2, team_id=None)
    firm.propose(version=3)
    assert {row["team_id"] for row in firm.project.rows("select team_id from public.plan")} == {firm.team}
    with refused("invalid_team_id", "PT422"):
        firm.propose(version=4, team_id=other)
    # A replay stores no team, and asks for none.
    assert firm.propose(version=3, team_id=other)["created"] is False
    firm.project.store_and_propose(firm.owner, "private")
    with refused("invalid_team_id", "PT422"):
        firm.propose("private", 2)
    assert firm.project.store_and_propose(firm.owner, "private", 2)["created"] is True


def test_who_has_left_sends_nothing_more_into_the_teams_inbox(firm: Company) -> None:
    firm.propose()
    firm.project.leave(firm.owner, firm.team)
    for named in (firm.team, None):
        with refused("invalid_team_id", "PT422"):
            firm.propose(version=2, team_id=named)
    with refused("invalid_team_id", "PT422"):
        firm.propose("another")
    with refused("invalid_team_id", "PT422"):
        firm.project.store_and_propose(firm.stranger, team_id=firm.team)
    assert firm.propose()["created"] is False
    # A viewer proposes, and the service role for anyone.
    firm.project.join(firm.owner, firm.team, "viewer")
    assert firm.propose(version=2)["created"] is True
    firm.project.leave(firm.owner, firm.team)
    assert firm.propose(version=3, service_role=True)["created"] is True


def test_the_team_is_refused_after_the_time_and_before_the_decision(firm: Company) -> None:
    firm.propose()
    firm.decide(firm.approver, "reject_plan")
    wrong: dict[str, Any] = {"document": document_of("s1", 1), "team_id": uuid4()}
    with refused("invalid_expires_at", "PT422"):
        firm.project.propose(firm.owner, version=2, expires_at="2020-01-01", **wrong)
    with refused("invalid_team_id", "PT422"):
        firm.project.propose(firm.owner, version=2, **wrong)
    with refused("plan_decided", "PT409"):
        firm.project.propose(firm.owner, version=2, document=document_of("s1", 1))


@pytest.mark.parametrize("table", ["plan", "agent", "agent_event"])
def test_no_row_changes_its_team(firm: Company, table: str) -> None:
    firm.agent()
    for value in (None, uuid4()):
        with denied(), firm.project.as_superuser() as connection:
            connection.execute(f"update public.{table} set team_id = %s".encode(), (value,))


def test_an_agent_is_of_its_plans_team(firm: Company) -> None:
    """A key cannot say that, because it does not see a null."""
    firm.agent()
    with firm.project.as_superuser() as connection:
        connection.execute("set local session_replication_role = replica")
        connection.execute(
            "update public.plan set team_id = null where version = 1",
        )
    firm.propose("s2")
    for query in (
        "update public.agent set plan_id = plan_id",
        (
            "insert into public.agent (user_id, session_id, plan_id) select user_id, session_id, id from public.plan"
            " where session_id = 's2'"
        ),
    ):
        with denied(), firm.project.as_superuser() as connection:
            connection.execute(query.encode())
    with firm.project.as_superuser() as connection:
        connection.execute(
            "insert into public.agent (user_id, session_id, plan_id, team_id)"
            " select user_id, session_id, id, team_id from public.plan where session_id = 's2'"
        )


# Agents ------------------------------------------------------------------------------------------------------


def ready(firm: Company, function: str, session: str) -> Any:
    agent_id = firm.agent(session)
    if function == "retry_build":
        firm.project.call(firm.owner, "stop_build", agent_id=agent_id)
    if function == "restore_agent":
        firm.project.call(firm.owner, "delete_agent", agent_id=agent_id)
    return agent_id


@pytest.mark.parametrize("function", AGENT_CALLS)
def test_the_owner_and_the_approvers_manage_the_agent(firm: Company, function: str) -> None:
    def call(user: User, *, agent_id: object) -> Row:
        return firm.project.call(user, function, agent_id=agent_id, **AGENT_CALLS[function])

    # The owner manages what is theirs, without being in the team.
    for number, user in enumerate((firm.approver, firm.owner)):
        if user is firm.owner:
            firm.project.change_setting(self_approval=False)
        agent_id = ready(firm, function, f"s{number}")
        with refused("human_required", "PT403"):
            call(user.with_claims(client_id="mcp"), agent_id=agent_id)
        with refused("approver_required", "PT403"):
            call(firm.viewer, agent_id=agent_id)
        with refused("agent_not_found", "PT404"):
            call(firm.stranger, agent_id=agent_id)
        with refused("agent_not_found", "PT404"):
            call(user, agent_id=uuid4())
        if user is firm.owner:
            firm.project.leave(firm.owner, firm.team)
        assert call(user, agent_id=agent_id)["id"] == agent_id
        assert firm.project.events(agent_id)[-1]["actor"] == user.id
    assert broken_invariants(firm.project) == []


def test_a_stopped_build_says_who_stopped_it(firm: Company) -> None:
    for number, (user, words) in enumerate(
        [(firm.owner, "the owner"), (firm.approver, "an approver"), (None, "the service")]
    ):
        agent_id = firm.agent(f"s{number}")
        firm.project.call(user, "stop_build", agent_id=agent_id)
        assert firm.project.builds(agent_id)[-1]["message"] == f"Stopped by {words}."


def test_a_viewer_of_a_deleted_agent_hears_that_they_are_no_approver(firm: Company) -> None:
    agent_id = firm.agent()
    firm.project.call(firm.approver, "delete_agent", agent_id=agent_id)
    with refused("approver_required", "PT403"):
        firm.project.call(firm.viewer, "transition_agent", agent_id=agent_id, to_status="paused")
    with refused("agent_deleted", "PT409"):
        firm.project.call(firm.approver, "transition_agent", agent_id=agent_id, to_status="paused")
    with refused("invalid_status", "PT422"):
        firm.project.call(firm.stranger, "transition_agent", agent_id=agent_id, to_status="gone")


# Step-up -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decision", DECISIONS)
def test_a_decision_may_need_a_second_factor(firm: Company, decision: str) -> None:
    firm.propose()
    firm.project.change_setting(decision_aal="aal2")
    for weak in ({}, {"aal": "aal1"}, {"aal": None}, {"aal": ["aal2"]}):
        with refused("step_up_required", "PT403") as caught:
            firm.decide(firm.approver.with_claims(**weak), decision, **DECISIONS[decision])
        assert "aal2" in (caught.value.diag.message_detail or "")
    firm.decide(firm.approver.with_claims(aal="aal2"), decision, **DECISIONS[decision])


@pytest.mark.parametrize("decision", DECISIONS)
def test_a_decision_may_need_a_fresh_sign_in(firm: Company, decision: str) -> None:
    firm.propose()
    firm.project.change_setting(decision_max_age="15 minutes")
    now = int(time.time())
    old = {"method": "password", "timestamp": now - 16 * 60}
    for amr in (
        None,
        [],
        ["password"],
        [old],
        {"timestamp": now},
        [{"timestamp": str(now)}],
        [{"timestamp": None}],
    ):
        with refused("step_up_required", "PT403") as caught:
            firm.decide(firm.approver.with_claims(amr=amr), decision, **DECISIONS[decision])
        assert "sign-in" in (caught.value.diag.message_detail or "")
    fresh = [old, "otp", {"method": "totp", "timestamp": now - 60}]
    if decision == "approve_plan":  # longer ago than Postgres' time begins
        firm.project.change_setting(decision_max_age="100000 years")
    firm.decide(firm.approver.with_claims(amr=fresh), decision, **DECISIONS[decision])


def test_step_up_is_about_decisions_alone(firm: Company) -> None:
    agent_id = firm.agent()
    firm.project.change_setting(decision_aal="aal2", decision_max_age="1 second")
    firm.propose(version=2, team_id=None)
    assert firm.project.decide(firm.owner, "withdraw_plan", version=2)["status"] == "withdrawn"
    firm.project.call(firm.approver, "stop_build", agent_id=agent_id)


def test_a_setting_has_no_other_value(firm: Company) -> None:
    for change in ({"decision_aal": "aal3"}, {"decision_max_age": "0"}, {"decision_max_age": "-1 hour"}):
        with pytest.raises(psycopg.errors.CheckViolation):
            firm.project.change_setting(**change)


# The project's functions -------------------------------------------------------------------------------------


def test_before_the_project_replaces_them_there_are_no_teams(project: Project) -> None:
    user = project.new_user()
    with project.as_user(user) as connection:
        assert connection.execute("select * from public.plan_teams()").fetchall() == []
    with refused("invalid_team_id", "PT422"):
        project.store_and_propose(user, team_id=uuid4())
    # A team that only the service role names has no approvers, and the owner is not one of them.
    project.store_and_propose(user, service_role=True, team_id=uuid4())
    with refused("approver_required", "PT403"):
        project.approve_proposed(user)
    assert project.decide(user, "withdraw_plan")["status"] == "withdrawn"


def test_recursion_of_policies_is_what_the_page_says(firm: Company) -> None:
    with firm.project.as_superuser() as connection:
        connection.execute("set local role postgres")
        connection.execute("grant select on public.membership to authenticated")
        connection.execute(
            "create policy recursive on public.membership for select to authenticated using"
            " (team_id in (select m.team_id from public.membership as m where m.user_id = auth.uid()))"
        )
    with pytest.raises(psycopg.errors.InvalidObjectDefinition, match="infinite recursion"):
        rows(firm, firm.viewer, "select * from public.membership")
    with firm.project.as_superuser() as connection:
        connection.execute("set local role postgres")
        connection.execute("drop policy recursive on public.membership")
        connection.execute(sql_of_teams("### Recursion: why they are `security definer`"))
    assert len(rows(firm, firm.viewer, "select * from public.membership")) == 3
    assert len(rows(firm, firm.stranger, "select * from public.membership")) == 1
    firm.propose()
    firm.approve(firm.approver)


@pytest.fixture
def basejump(project: Project) -> Company:
    team = uuid4()
    owner, approver, viewer, stranger = (project.new_user() for _ in range(4))
    with project.as_superuser() as connection:
        connection.execute("set local role postgres")
        connection.execute("create schema basejump")
        connection.execute(
            """
            create table basejump.account_user (
                user_id uuid references auth.users on delete cascade not null,
                account_id uuid not null,
                account_role text not null,
                primary key (user_id, account_id)
            )
            """
        )
        connection.execute(sql_of_teams("### Basejump"))
        connection.execute("reset role")
        for user, account, role in (
            *((owner, team, "owner"), (approver, team, "owner"), (viewer, team, "member")),
            (stranger, uuid4(), "owner"),
        ):
            connection.execute(
                "insert into basejump.account_user values (%s, %s, %s)", (user.id, account, role)
            )
    return Company(project, team, owner, approver, viewer, stranger)


def test_accounts_of_basejump_are_teams(basejump: Company) -> None:
    works(basejump)


def test_roles_in_the_token_are_teams(project: Project) -> None:
    team = uuid4()
    users = [project.new_user() for _ in range(4)]
    with project.as_superuser() as connection:
        connection.execute("set local role postgres")
        connection.execute(sql_of_teams("### Roles in the token"))
    owner, approver, viewer, stranger = (
        user.with_claims(app_metadata=metadata)
        for user, metadata in zip(
            users,
            (
                {"teams": {str(team): "approver"}},
                {"teams": {str(team): "approver"}},
                {"teams": {str(team): "viewer"}},
                {"teams": ["approver"]},
            ),
            strict=True,
        )
    )
    works(Company(project, team, owner, approver, viewer, stranger))
    for metadata in ({}, {"teams": None}, {"teams": {str(uuid4()): "approver"}}):
        assert rows_of_plans(project, stranger.with_claims(app_metadata=metadata)) == 0
    assert rows_of_plans(project, User(stranger.id, {"user_metadata": approver.claims["app_metadata"]})) == 0


def rows_of_plans(project: Project, user: User) -> int:
    with project.as_user(user) as connection:
        return len(connection.execute("select from public.plan").fetchall())


def works(firm: Company) -> None:
    firm.propose()
    for user, count in ((firm.owner, 1), (firm.approver, 1), (firm.viewer, 1), (firm.stranger, 0)):
        assert rows_of_plans(firm.project, user) == count
    with refused("approver_required", "PT403"):
        firm.approve(firm.viewer)
    with refused("plan_not_found", "PT404"):
        firm.approve(firm.stranger)
    assert firm.approve(firm.approver)["created"] is True


# At the same moment ------------------------------------------------------------------------------------------


def test_leaving_the_team_against_deciding(firm: Company, race: Race) -> None:
    """Either they decided before they had left, or not at all."""
    met = {("done", "done"), ("plan_not_found", "done")}
    for number in race.rounds(*met):
        session = f"s{number}"
        firm.project.join(firm.approver, firm.team)
        firm.propose(session)
        answers = race(
            decide=partial(firm.approve, firm.approver, session),
            leave=partial(firm.project.leave, firm.approver, firm.team),
        )
        plan = firm.project.plan(firm.owner, session)
        assert (plan["status"] == "approved") == (answers["decide"] == "done")
        with refused("plan_not_found", "PT404"):
            firm.approve(firm.approver, session)
    assert race.seen.keys() == met, race.seen
    assert broken_invariants(firm.project) == []


def test_who_left_while_they_waited_for_the_lock_decides_nothing(firm: Company) -> None:
    """The first look let them in; the second one, under the lock, does not."""
    agent_id = firm.agent()
    firm.propose(version=2, team_id=None)
    calls: dict[str, tuple[Callable[[], object], str]] = {
        "approve_plan": (partial(firm.approve, firm.approver, version=2), "plan_not_found"),
        "reject_plan": (partial(firm.decide, firm.approver, "reject_plan", version=2), "plan_not_found"),
        "stop_build": (
            partial(firm.project.call, firm.approver, "stop_build", agent_id=agent_id),
            "agent_not_found",
        ),
    }
    with ThreadPoolExecutor(1) as pool:
        for call, code in calls.values():
            firm.project.join(firm.approver, firm.team)
            with firm.project.as_superuser() as holder:
                holder.execute("select from auth.users where id = %s for update", (firm.owner.id,))
                running = pool.submit(outcome, call)
                assert waits(firm.project, running, 1)
                firm.project.leave(firm.approver, firm.team)
            assert running.result() == code


def test_two_approvers_with_opposite_decisions_make_one(firm: Company, race: Race) -> None:
    other = firm.project.new_user()
    firm.project.join(other, firm.team)
    met = {("done", "plan_decided"), ("plan_decided", "done")}
    for number in race.rounds(*met):
        session = f"s{number}"
        firm.propose(session)
        answers = race(
            approved=partial(firm.approve, firm.approver, session),
            rejected=partial(firm.decide, other, "reject_plan", session),
        )
        plan = firm.project.plan(firm.owner, session)
        assert answers[plan["status"]] == "done"
        assert plan["decided_by"] == {"approved": firm.approver.id, "rejected": other.id}[plan["status"]]
    assert race.seen.keys() == met, race.seen
    assert broken_invariants(firm.project) == []


def test_the_owners_deletion_against_an_approvers_decision(firm: Company, race: Race) -> None:
    """And the approver's own deletion at the same moment: two users are never locked by one call."""
    for _ in race.rounds():
        owner, approver = firm.project.new_user(), firm.project.new_user()
        for user in (owner, approver):
            firm.project.join(user, firm.team)
        story = Company(firm.project, firm.team, owner, approver, firm.viewer, firm.stranger)
        agent_id = story.agent()
        story.propose(version=2)
        # The other way round, at the same moment.
        mirrored = Company(firm.project, firm.team, approver, owner, firm.viewer, firm.stranger)
        mirrored.propose("s2")
        digest = firm.project.plan(owner, version=2)["document_sha256"]
        race(
            owner=partial(firm.project.delete_user, owner),
            approve=partial(story.decide, approver, "approve_plan", version=2, document_sha256=digest),
            stop=partial(firm.project.call, approver, "stop_build", agent_id=agent_id),
            mirror=partial(mirrored.decide, owner, "reject_plan", "s2"),
            approver=partial(firm.project.delete_user, approver),
        )
    codes = {"done", "not_authenticated", "plan_not_found", "agent_not_found", "illegal_transition"}
    assert {answer for answers in race.seen for answer in answers} <= codes, race.seen
    assert firm.project.rows("select from public.plan") == []
