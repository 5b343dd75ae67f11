"""What happens at the same moment: many rounds each, both orders, and the invariants checked after.

Where two calls exclude each other, the rows say who won, not the answers alone.
"""

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import permutations
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
import pytest

from tests import SEED, SOAK
from tests.plan import sha256

from .conftest import ROUNDS, Connection, Project, Race, Row, User, document_of, outcome
from .invariants import broken_invariants
from .test_lock_order import waits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

# Decisions ---------------------------------------------------------------------------------------------------


@pytest.mark.soak
def test_approve_against_propose_of_a_newer_version(project: Project, race: Race) -> None:
    user = project.new_user()
    met = {("done", "done"), ("plan_stale", "done")}
    for number in race.rounds(*met):
        session = f"s{number}"
        project.store_and_propose(user, session)
        project.store(user, session, document_of(session, 2))
        answers = race(
            approve=partial(project.approve_proposed, user, session),
            propose=partial(
                project.propose, user, session, 2, document=document_of(session, 2), service_role=True
            ),
        )
        statuses = [project.plan(user, session, version)["status"] for version in (1, 2)]
        approved = answers["approve"] == "done"
        assert statuses == ["approved" if approved else "superseded", "proposed"]
        assert len(project.rows("select from public.agent where session_id = %s", session)) == int(approved)
    assert race.seen.keys() == met, race.seen
    assert broken_invariants(project) == []


@pytest.mark.soak
def test_of_four_decisions_at_once_exactly_one_is_made(project: Project, race: Race) -> None:
    user = project.new_user()
    met = {*permutations(("done", *["plan_decided"] * 3))}
    for number in race.rounds(*met):
        session = f"s{number}"
        project.store_and_propose(user, session)
        answers = race(
            approved=partial(project.approve_proposed, user, session),
            changes_requested=partial(
                project.decide, user, "request_changes", session, comment="changes_requested"
            ),
            rejected=partial(project.decide, user, "reject_plan", session, comment="rejected"),
            withdrawn=partial(project.decide, None, "withdraw_plan", session, user_id=user.id),
        )
        plan = project.plan(user, session)
        assert [name for name, answer in answers.items() if answer == "done"] == [plan["status"]]
        assert {answer for answer in answers.values() if answer != "done"} == {"plan_decided"}
        assert plan["comment"] == (
            plan["status"] if plan["status"] in ("changes_requested", "rejected") else None
        )
        agents = project.rows("select from public.agent where session_id = %s", session)
        assert len(agents) == (1 if plan["status"] == "approved" else 0)
    assert race.seen.keys() == met, race.seen
    assert broken_invariants(project) == []


@pytest.mark.soak
def test_forty_approvals_of_one_proposal_make_one_agent_each_time(project: Project) -> None:
    user = project.new_user()
    with ThreadPoolExecutor(40) as pool:
        for number in range(ROUNDS):
            session = f"s{number}"
            project.store_and_propose(user, session)
            answers = list(pool.map(lambda _, s=session: project.approve_proposed(user, s), range(40)))
            assert len({(answer["plan_id"], answer["agent_id"]) for answer in answers}) == 1
            assert sum(answer["created"] for answer in answers) == 1
    for table in ("plan", "agent", "agent_event", "build"):
        assert len(project.rows(f"select from public.{table}")) == ROUNDS, table
    assert broken_invariants(project) == []


@pytest.mark.soak
def test_two_proposals_of_one_version_at_once_are_one(project: Project, race: Race) -> None:
    user = project.new_user()
    for number in race.rounds():
        session = f"s{number}"
        for document in ("# a", "# b"):
            project.store(user, session, document)
        race(
            client=partial(project.propose, user.with_claims(client_id="mcp"), session, document="# a"),
            service=partial(project.propose, user, session, document="# a", service_role=True),
            other=partial(project.propose, user, session, document="# b"),
        )
        assert len(project.rows("select from public.plan where session_id = %s", session)) == 1
    assert set(race.seen) <= {("done", "done", "plan_conflict"), ("plan_conflict", "plan_conflict", "done")}
    assert broken_invariants(project) == []


@pytest.mark.soak
def test_proposing_against_deleting_the_document_loses_none(project: Project, race: Race) -> None:
    user = project.new_user()
    met = {("done", "referenced"), ("document_not_found", "done")}
    path_of = partial(user.path, sha256=sha256("# Plan"))
    for number in race.rounds(*met):
        session = f"s{number}"
        project.store(user, session)
        role = ("authenticated", "service_role")[number % 2]

        def delete(session: str = session, role: str = role) -> None:
            assert project.delete_object(path_of(session), role, {"sub": str(user.id)}) == 1

        race(propose=partial(project.propose, user, session, service_role=number % 4 < 2), delete=delete)
    assert race.seen.keys() == met, race.seen
    (kept,) = project.rows("select count(*) from public.plan")
    assert kept["count"] == race.seen["done", "referenced"]
    assert broken_invariants(project) == []


@pytest.mark.soak
def test_decisions_against_deleting_archiving_and_purging(project: Project, race: Race) -> None:
    user = project.new_user()
    soon = datetime.now(UTC) + timedelta(days=1)
    for number in race.rounds():
        session = f"s{number}"
        agent_id = project.store_and_approve(user, session)["agent_id"]
        project.store_and_propose(user, session, 2)
        project.store_and_propose(user, session, 3)
        function, arguments = [("delete_agent", {}), ("transition_agent", {"to_status": "archived"})][
            number % 2
        ]
        race(
            approve=partial(project.approve_proposed, user, session, 3),
            reject=partial(project.decide, user, "reject_plan", session, 3),
            agent=partial(project.call, user, function, agent_id=agent_id, **arguments),
            purge=partial(project.call, None, "purge_closed_plans", closed_before=soon),
        )
    refusals = {"done", "plan_decided", "agent_deleted", "agent_archived", "plan_stale"}
    assert {answer for answers in race.seen for answer in answers} <= refusals, race.seen
    assert all(answers[2:] == ("done", "done") for answers in race.seen), race.seen
    assert broken_invariants(project) == []


@pytest.mark.soak
def test_a_user_is_deleted_while_everything_happens(project: Project, race: Race) -> None:
    for _ in race.rounds():
        user = project.new_user()
        agent_id = project.store_and_approve(user)["agent_id"]
        project.store_and_propose(user, version=2)
        project.store(user, document="# Plan")
        claimed = project.claim_agent(agent_id)
        race(
            user=partial(project.delete_user, user),
            approve=partial(project.approve_proposed, user, version=2),
            propose=partial(project.propose, user, version=3, service_role=True),
            withdraw=partial(project.decide, None, "withdraw_plan", version=2, user_id=user.id),
            finish=partial(project.finish, claimed),
            fail=partial(project.fail, claimed),
            claim=project.claim,
        )
    codes = {
        "done", "not_authenticated", "invalid_user_id", "plan_not_found", "plan_decided", "plan_stale",
        "build_not_found", "build_lost",
    }  # fmt: skip
    assert {answer for answers in race.seen for answer in answers} <= codes, race.seen
    for table in ("plan", "agent", "agent_event", "build"):
        assert project.rows(f"select from public.{table}") == [], table


# Builds ------------------------------------------------------------------------------------------------------


def claimed_of(project: Project, user: User, session: str) -> Row:
    agent_id = project.store_and_approve(user, session)["agent_id"]
    return project.claim_agent(agent_id)


@pytest.mark.soak
def test_finish_against_approve_of_a_newer_version(project: Project, race: Race) -> None:
    """An agent never becomes active from a plan that is not its own."""
    user = project.new_user()
    met = {("done", "done"), ("build_lost", "done")}
    for number in race.rounds(*met):
        session = f"s{number}"
        claimed = claimed_of(project, user, session)
        project.store(user, session, document_of(session, 2))
        race(
            finish=partial(project.finish, claimed),
            approve=partial(project.approve, user, session, 2, document=document_of(session, 2)),
        )
        (agent,) = project.rows("select status, plan_id from public.agent where id = %s", claimed["agent_id"])
        assert agent == {"status": "building", "plan_id": project.plan(user, session, 2)["id"]}
    assert race.seen.keys() == met, race.seen
    assert broken_invariants(project) == []


@pytest.mark.soak
def test_finish_and_fail_race_each_other_and_every_cancellation(project: Project, race: Race) -> None:
    user = project.new_user()
    for number in race.rounds():
        session = f"s{number}"
        claimed = claimed_of(project, user, session)
        agent_id = claimed["agent_id"]
        function, arguments = [
            ("delete_agent", {}),
            ("transition_agent", {"to_status": "archived"}),
            ("retry_build", {}),
        ][number % 3]
        answers = race(
            finish=partial(project.finish, claimed),
            again=partial(project.finish, claimed),
            fail=partial(project.fail, claimed, retry=number % 2 == 0),
            renew=partial(project.renew, claimed, progress=50),
            agent=partial(project.call, user, function, agent_id=agent_id, **arguments),
        )
        assert answers["again"] == answers["finish"]
        assert [answers["finish"], answers["fail"]].count("done") <= 1
        if answers["finish"] == "done":
            assert project.builds(agent_id)[0]["status"] == "succeeded"
    codes = {"done", "build_lost", "illegal_transition"}
    assert {answer for answers in race.seen for answer in answers} <= codes, race.seen
    assert broken_invariants(project) == []


@pytest.mark.soak
def test_a_stop_races_everything_that_a_builder_does(project: Project, race: Race) -> None:
    """Either the build finished before, or nothing that the builder says afterwards has an effect."""
    user = project.new_user()
    met = {("done", "illegal_transition"), ("build_lost", "done")}
    ends: set[tuple[str, str]] = set()
    for number in race.rounds():
        claimed = claimed_of(project, user, f"s{number}")
        agent_id = claimed["agent_id"]
        if number % 2:
            project.make_due(claimed["build_id"])
        answers = race(
            finish=partial(project.finish, claimed, log="finished"),
            stop=partial(project.call, user, "stop_build", agent_id=agent_id),
            again=partial(project.call, None, "stop_build", agent_id=agent_id),
            renew=partial(project.renew, claimed, log="renewed"),
            claim=project.claim,
        )
        assert answers["again"] == answers["stop"]
        (agent,) = project.rows("select status from public.agent where id = %s", agent_id)
        (build,) = project.builds(agent_id)
        if answers["finish"] == "done":
            assert (agent["status"], build["status"]) == ("active", "succeeded")
        else:
            assert (agent["status"], build["status"]) == ("failed", "cancelled")
        ends.add((answers["finish"], answers["stop"]))
    assert ends <= met, race.seen
    assert broken_invariants(project) == []


@pytest.mark.soak
def test_two_builders_on_a_lease_that_has_ended(project: Project, race: Race) -> None:
    """One of them claims it, or the one that held it comes back first; never two."""
    user = project.new_user()
    met = {("done", "done", "done"), ("done", "done", "build_lost")}
    for number in race.rounds(*met):
        first = claimed_of(project, user, f"s{number}")
        project.make_due(first["build_id"])
        taken: list[Row] = []

        def claim(taken: list[Row] = taken) -> None:
            taken.extend(project.claim())

        answers = race(one=claim, two=claim, first=partial(project.finish, first))
        assert len(taken) == (0 if answers["first"] == "done" else 1)
        for claimed in taken:
            assert (claimed["build_id"], claimed["attempt"]) == (first["build_id"], 2)
            project.finish(claimed)
    assert race.seen.keys() == met, race.seen
    assert broken_invariants(project) == []


def test_eight_builders_on_two_hundred_builds_claim_each_once(project: Project) -> None:
    user = project.new_user()
    agent_ids = {project.store_and_approve(user, f"s{number}")["agent_id"] for number in range(200)}

    def builder(number: int) -> list[Row]:
        built = []
        empty = 0
        # A claim may pass over what another is taking at this moment: look again before going home.
        while empty < 3:
            claimed = project.claim(number % 3 + 1, worker=f"builder {number}")
            for build in claimed:
                project.finish(build)
            built += claimed
            empty = 0 if claimed else empty + 1
        return built

    with ThreadPoolExecutor(8) as pool:
        built = [build for builds in pool.map(builder, range(8)) for build in builds]
    assert len(built) == 200
    assert {build["agent_id"] for build in built} == agent_ids
    assert {build["attempt"] for build in built} == {1}
    left = project.rows("select status, count(*) from public.agent group by status")
    assert left == [{"status": "active", "count": 200}]
    assert broken_invariants(project) == []


@pytest.mark.soak
def test_builders_that_die_at_random_lose_a_lease_and_nothing_else(project: Project) -> None:
    """Eight builders, some of which never answer again; leases end again and again; in the end each build has ended."""
    user = project.new_user()
    for number in range(60):
        project.store_and_approve(user, f"s{number}")
    finished: Counter[object] = Counter()

    def builder(number: int) -> None:
        dice = random.Random(SEED + number)
        for _ in range(60):
            for build in project.claim(dice.randint(1, 3)):
                end = dice.choice([project.finish, project.finish, project.fail, None])
                if end and outcome(partial(end, build)) == "done" and end == project.finish:
                    finished[build["build_id"]] += 1
            if dice.random() < 0.3:
                project.let_time_pass()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(builder, range(8)))
    while project.rows("select from public.build where status in ('queued', 'running')"):
        project.let_time_pass()
        for build in project.claim(100):
            project.finish(build)
            finished[build["build_id"]] += 1
    assert set(finished.values()) == {1}
    statuses = {row["status"] for row in project.rows("select distinct status from public.agent")}
    assert statuses <= {"active", "failed"}
    assert len(finished) == len(project.rows("select from public.agent where status = 'active'"))
    assert broken_invariants(project) == []


@pytest.mark.soak
def test_deleting_and_restoring_while_builders_claim(project: Project, race: Race) -> None:
    user = project.new_user()
    agent_ids = [project.store_and_approve(user, f"s{number}")["agent_id"] for number in range(10)]
    for number in race.rounds():
        agent_id = agent_ids[number % 10]
        race(
            delete=partial(project.call, user, "delete_agent", agent_id=agent_id),
            restore=partial(project.call, user, "restore_agent", agent_id=agent_id),
            claim=partial(project.claim, 3, lease_seconds=5),
            again=partial(project.claim, 3, lease_seconds=5),
        )
    assert set(race.seen) == {("done", "done", "done", "done")}, race.seen
    assert broken_invariants(project) == []


# Everything ---------------------------------------------------------------------------------------------------


class Storm:
    """A team of which members come and go. They decide on each other's plans, in two sessions of each."""

    def __init__(self, project: Project, outcome: "Callable[[Callable[[], object]], str]" = outcome) -> None:
        self.project, self.team, self.outcome = project, uuid4(), outcome
        self.people = [self.hire() for _ in range(4)]

    def hire(self) -> User:
        user = self.project.new_user()
        self.project.join(user, self.team)
        return user

    def call_at_random(self, dice: random.Random) -> tuple[str, str]:
        """Answers what was called, and how it ended."""
        project = self.project
        someone, owner, session = dice.choice(self.people), dice.choice(self.people), dice.choice("ab")
        plans = project.rows(
            "select version, document_sha256 from public.plan where user_id = %s and session_id = %s"
            " order by version desc limit 2",
            owner.id,
            session,
        )
        plan = dice.choice([*plans, {"version": 1, "document_sha256": "0" * 64}])
        agents = project.rows(
            "select id from public.agent where user_id = %s and session_id = %s", owner.id, session
        )
        version = 1 + max((plan["version"] for plan in plans), default=0)
        on_plan = {"session_id": session, "version": plan["version"], "user_id": owner.id}
        on_agent = {"agent_id": agents[0]["id"] if agents else uuid4()}

        def propose() -> object:
            return project.store_and_propose(
                owner, session, version, service_role=dice.random() < 0.5, team_id=self.team
            )

        def delete_account() -> None:
            project.delete_user(owner)
            with suppress(ValueError):  # another caller was first
                place = self.people.index(owner)
                self.people[place] = self.hire()

        def build() -> None:
            ends: list[Callable[[Row], Row]] = [project.finish, project.finish, project.fail]
            for claimed in project.claim(dice.randint(1, 2)):
                dice.choice(ends)(claimed)

        def notify() -> None:
            with project.as_service_role() as connection:
                claimed = connection.execute("select * from public.claim_notifications('mail', 5)").fetchall()
            end = dice.choice(["finish_notification", "fail_notification"])
            for one in claimed:
                named = {"notification_id": one["notification_id"], "attempt": one["attempt"]}
                project.call(None, end, **named)

        by = partial(project.call, someone)
        calls: dict[str, tuple[int, Callable[[], object]]] = {
            "propose": (12, propose),
            "approve": (16, partial(by, "approve_plan", **on_plan, document_sha256=plan["document_sha256"])),
            "request changes": (4, partial(by, "request_changes", **on_plan, comment="Shorter.")),
            "reject": (4, partial(by, "reject_plan", **on_plan)),
            "withdraw": (3, partial(project.call, None, "withdraw_plan", **on_plan)),
            "stop": (3, partial(by, "stop_build", **on_agent)),
            "retry": (4, partial(by, "retry_build", **on_agent)),
            "pause": (3, partial(by, "transition_agent", **on_agent, to_status="paused")),
            "resume": (6, partial(by, "transition_agent", **on_agent, to_status="active")),
            "archive": (2, partial(by, "transition_agent", **on_agent, to_status="archived")),
            "delete": (2, partial(by, "delete_agent", **on_agent)),
            "restore": (6, partial(by, "restore_agent", **on_agent)),
            "build": (12, build),
            "notify": (6, notify),
            "leave": (2, partial(project.leave, someone, self.team)),
            "join": (5, partial(project.join, someone, self.team)),
            "delete the account": (1, delete_account),
        }
        (name,) = dice.choices([*calls], [weight for weight, _ in calls.values()])
        return name, self.outcome(calls[name][1])


@pytest.mark.soak
def test_eight_callers_at_random_end_each_call(team_project: Project, chance: random.Random) -> None:
    """Well, or in a refusal, never in a deadlock: all that people, planners, builders and notifiers of a team do."""
    storm = Storm(team_project)
    least = 5 if SOAK else 0
    refusals = {
        "not_authenticated", "plan_not_found", "agent_not_found", "approver_required", "invalid_team_id",
        "plan_decided", "plan_stale", "agent_deleted", "illegal_transition",
    }  # fmt: skip
    seen: Counter[tuple[str, str]] = Counter()

    def caller(seed: float) -> list[tuple[str, str]]:
        dice = random.Random(seed)
        return [storm.call_at_random(dice) for _ in range(300)]

    with ThreadPoolExecutor(8) as pool:
        for number in range(20):
            for calls in pool.map(caller, [chance.random() for _ in range(8)]):
                seen.update(calls)
            assert broken_invariants(team_project) == []
            names, outcomes = ({call[place] for call in seen} for place in (0, 1))
            well = {(name, "done") for name in names}
            if number >= least and well <= seen.keys() and outcomes >= refusals:
                break
    assert well <= seen.keys(), seen
    assert outcomes >= refusals, seen


def cut_off(call: "Callable[[], object]") -> str:
    """As outcome(), and `cut off` if the statement timeout ended the call."""
    cut = False

    def run() -> None:
        nonlocal cut
        try:
            call()
        except psycopg.errors.QueryCanceled:
            cut = True

    ended = outcome(run)
    return "cut off" if cut else ended


@pytest.mark.soak
def test_of_a_call_that_the_statement_timeout_ends_in_the_middle_nothing_stays(
    team_project: Project, chance: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_role = team_project.as_role

    @contextmanager
    def in_a_hurry(role: str, claims: "Mapping[str, object] | None" = None) -> "Iterator[Connection]":
        with as_role(role, claims) as connection:
            milliseconds = chance.choice((0, 0, 1, 2, 3, 5, 8, 13, 34))
            connection.execute("select set_config('statement_timeout', %s, true)", (str(milliseconds),))
            yield connection

    monkeypatch.setattr(team_project, "as_role", in_a_hurry)
    storm = Storm(team_project, cut_off)
    least = 11 if SOAK else 0
    wanted = {
        "propose",
        "approve",
        "request changes",
        "stop",
        "archive",
        "delete",
        "restore",
        "build",
        "notify",
    }
    seen: Counter[tuple[str, str]] = Counter()

    def caller(seed: float) -> list[tuple[str, str]]:
        dice = random.Random(seed)
        return [storm.call_at_random(dice) for _ in range(150)]

    with ThreadPoolExecutor(8) as pool:
        for number in range(40):
            for calls in pool.map(caller, [chance.random() for _ in range(8)]):
                seen.update(calls)
            assert broken_invariants(team_project) == []
            both = {name for name in wanted if {(name, "done"), (name, "cut off")} <= seen.keys()}
            if number >= least and both == wanted:
                break
    assert both == wanted, seen


# What the call is doing when it ends: it has written something and waits for this.
MIDDLES = {
    "stop_build": "lock table public.agent in share mode",
    "forget_subscriber": "lock table greenlight.notification in share mode",
    "purge_notifications": "lock table greenlight.notification in share mode",
    "purge_build_logs": "lock table public.build_log in share mode",
    "purge_closed_plans": "lock table public.plan in share mode",
    "purge_deleted_agents": "select from public.plan where session_id = 'deleted-1' for key share",
}


@pytest.mark.parametrize("function", MIDDLES)
def test_a_call_that_is_killed_leaves_nothing_and_its_repetition_ends_the_work(
    project: Project, function: str
) -> None:
    user = project.new_user()
    with project.as_service_role() as connection:
        connection.execute("select public.claim_notifications('gone'), public.claim_notifications('mail')")
    for session in ("deleted-0", "deleted-1"):
        agent_id = project.store_and_approve(user, session)["agent_id"]
        project.fail(project.claim_agent(agent_id), log="It broke.", retry=False)
        project.call(user, "delete_agent", agent_id=agent_id)
        project.plan_in(user, "rejected", f"rejected-with-{session}")
    agent_id = project.store_and_approve(user)["agent_id"]
    project.renew(project.claim_agent(agent_id), log="Building.")
    soon = datetime.now(UTC) + timedelta(minutes=1)
    arguments: dict[str, dict[str, object]] = {
        "stop_build": {"agent_id": agent_id},
        "forget_subscriber": {"subscriber": "gone"},
        "purge_notifications": {"before": soon},
        "purge_build_logs": {"ended_before": soon},
        "purge_closed_plans": {"closed_before": soon},
        "purge_deleted_agents": {"deleted_before": soon},
    }
    call = partial(project.call, user if function == "stop_build" else None, function, **arguments[function])

    def everything() -> dict[str, list[Row]]:
        tables = ("public.build_log", "greenlight.subscriber", "greenlight.notification")
        rows = {table: project.rows(f"select *, xmin::text from {table} order by 1, 2") for table in tables}
        return {**project.everything(), **rows}

    before = everything()
    ends = {
        "pg_terminate_backend": psycopg.OperationalError,
        "pg_cancel_backend": psycopg.errors.QueryCanceled,
    }
    for end, error in ends.items():
        with ThreadPoolExecutor(1) as pool, project.as_superuser() as holder:
            holder.execute(MIDDLES[function].encode())
            running = pool.submit(call)
            assert waits(project, running, 1)
            project.rows(f"select {end}(pid) from pg_stat_activity where wait_event_type = 'Lock'")
            with pytest.raises(error):
                running.result()
        assert everything() == before, end

    def called() -> Row:
        return {name: value for name, value in call().items() if name != "updated_at"}

    first = called()
    after = everything()
    again = called()
    assert after != before
    assert everything() == after
    expected = {"stop_build": first, "forget_subscriber": {function: False}}
    assert again == expected.get(function, {function: 0})
    assert first != {function: 0}
    assert broken_invariants(project) == []
