"""The outbox: written with its cause, handed out under a lease, delivered at least once, purged."""

import threading
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg.types.json import Jsonb

from .conftest import Project, Race, Row, User, document_of, refused
from .invariants import broken_invariants
from .test_lock_order import waits

ATTEMPTS = 12


class Outbox:
    """The project as its notifiers see it, and the clock, which is moved by rewriting the times of rows."""

    def __init__(self, project: Project) -> None:
        self.project = project

    def claim(self, subscriber: object = "mail", **arguments: object) -> list[Row]:
        named = {"subscriber": subscriber, **arguments}
        with self.project.as_service_role() as connection:
            return connection.execute(
                "select * from public.claim_notifications("
                f"{', '.join(f'{name} => %({name})s' for name in named)})",
                named,
            ).fetchall()

    def claim_one(self, subscriber: str = "mail") -> Row:
        (claimed,) = self.claim(subscriber)
        return claimed

    def subscribe(self, *names: str) -> None:
        for name in names or ("mail",):
            assert self.claim(name) == []

    def finish(self, claimed: Row, **changed: object) -> object:
        named = {"notification_id": claimed["notification_id"], "attempt": claimed["attempt"], **changed}
        return self.project.call(None, "finish_notification", **named)["finish_notification"]

    def fail(self, claimed: Row, **arguments: object) -> object:
        named = {"notification_id": claimed["notification_id"], "attempt": claimed["attempt"], **arguments}
        return self.project.call(None, "fail_notification", **named)["fail_notification"]

    @staticmethod
    def each(call: Callable[[Row], object], claimed: list[Row]) -> list[object]:
        return [call(one) for one in claimed]

    def forget(self, subscriber: object = "mail") -> object:
        return self.project.call(None, "forget_subscriber", subscriber=subscriber)["forget_subscriber"]

    def purge(self, before: object, batch_size: int = 100) -> int:
        row = self.project.call(None, "purge_notifications", before=before, batch_size=batch_size)
        return int(row["purge_notifications"])

    def kinds(self, subscriber: str = "mail") -> list[str]:
        """Claim everything, and finish it."""
        claimed = self.claim(subscriber, max_notifications=100)
        assert all(self.finish(one) for one in claimed)
        return [one["kind"] for one in claimed]

    def rows(self) -> list[Row]:
        return self.project.rows("select * from greenlight.notification order by id")

    def seconds(self) -> float:
        """How long until the only one is due."""
        (row,) = self.project.rows(
            "select extract(epoch from run_after - clock_timestamp())::float as s from greenlight.notification"
        )
        return float(row["s"])

    def let_pass(self, seconds: float) -> None:
        """Let so much time pass for everything of ours that waits for a moment."""
        with self.project.as_superuser() as connection:
            connection.execute("set local session_replication_role = replica")
            for table, columns in {
                "greenlight.notification": ("run_after", "created_at"),
                "greenlight.subscriber": ("claimed_at", "made_until"),
                "public.plan": ("created_at", "expires_at"),
            }.items():
                changes = ", ".join(
                    f"{column} = {column} - make_interval(secs => %(s)s)" for column in columns
                )
                connection.execute(f"update {table} set {changes}", {"s": seconds})


@pytest.fixture
def outbox(project: Project) -> Outbox:
    return Outbox(project)


def emails(project: Project, body: LiteralString) -> None:
    """What the adopter's migration does: replace the function."""
    with project.as_superuser() as connection:
        connection.execute("set local role postgres")
        connection.execute(
            "create or replace function greenlight.approver_emails(team_id uuid) returns setof text"
            " language sql stable security definer set search_path = '' as " + psycopg.sql.quote(body)
        )


# What is written ---------------------------------------------------------------------------------------------


def test_without_a_subscriber_nothing_is_written(outbox: Outbox) -> None:
    project, user = outbox.project, outbox.project.new_user()
    project.activate(project.store_and_approve(user)["agent_id"])
    assert outbox.rows() == []
    outbox.subscribe()
    assert outbox.claim() == []
    project.store_and_approve(user, version=2)
    assert outbox.kinds() == ["plan.approved"]


def test_each_event_is_one_row_a_subscriber_with_one_id(outbox: Outbox) -> None:
    project, user = outbox.project, outbox.project.new_user()
    outbox.subscribe("mail", "webhook")
    agent_id = project.store_and_approve(user)["agent_id"]
    project.activate(agent_id)
    both = {name: outbox.claim(name) for name in ("mail", "webhook")}
    events = {name: [(one["kind"], one["event_id"]) for one in claimed] for name, claimed in both.items()}
    assert events["mail"] == events["webhook"]
    assert [kind for kind, _ in events["mail"]] == ["plan.approved", "agent.active"]
    assert len({event_id for _, event_id in events["mail"]}) == 2
    # Each has its own: what one has delivered, the other still has to.
    assert all(outbox.finish(one) for one in both["mail"])
    assert len(outbox.rows()) == 2


EVENTS: dict[str, Callable[[Project, User], object]] = {
    "plan.proposed": lambda project, user: project.store_and_propose(user, "new"),
    "plan.approved": lambda project, user: project.approve_proposed(user),
    "plan.changes_requested": lambda project, user: project.decide(user, "request_changes"),
    "plan.rejected": lambda project, user: project.decide(user, "reject_plan"),
    "plan.withdrawn": lambda project, user: project.decide(user, "withdraw_plan"),
}


@pytest.mark.parametrize("kind", EVENTS)
def test_what_happens_to_a_plan_is_told_once(outbox: Outbox, kind: str) -> None:
    project, user = outbox.project, outbox.project.new_user()
    project.store_and_propose(user)
    outbox.subscribe()
    EVENTS[kind](project, user)
    claimed = outbox.claim_one()
    assert (claimed["kind"], claimed["user_id"], claimed["attempt"]) == (kind, user.id, 1)
    plan = project.plan(user, "new" if kind == "plan.proposed" else "s1")
    assert claimed["occurred_at"] == (plan["decided_at"] or plan["created_at"])
    assert (claimed["data"]["plan_id"], claimed["data"]["status"]) == (str(plan["id"]), plan["status"])
    assert outbox.finish(claimed)
    # A repeat is no event.
    if kind != "plan.proposed":
        EVENTS[kind](project, user)
    assert outbox.rows() == []


def test_what_is_no_kind_is_not_told(outbox: Outbox) -> None:
    """Superseded and archived plans; pausing, resuming, deleting; a build that is tried again."""
    project, user = outbox.project, outbox.project.new_user()
    agent_id = project.store_and_approve(user)["agent_id"]
    outbox.subscribe()
    project.fail(project.claim_agent(agent_id), retry=True)
    assert outbox.rows() == []
    project.activate(agent_id)
    assert outbox.kinds() == ["agent.active"]
    for to_status in ("paused", "active"):
        project.call(user, "transition_agent", agent_id=agent_id, to_status=to_status)
    project.call(user, "delete_agent", agent_id=agent_id)
    project.call(user, "restore_agent", agent_id=agent_id)
    assert outbox.rows() == []
    project.store_and_propose(user, version=2)
    project.store_and_propose(user, version=3)
    assert outbox.kinds() == ["plan.proposed", "plan.proposed"]
    project.call(user, "transition_agent", agent_id=agent_id, to_status="archived")
    assert outbox.rows() == []


def test_what_becomes_of_an_agent_is_told(outbox: Outbox) -> None:
    project, user = outbox.project, outbox.project.new_user()
    agents = [project.store_and_approve(user, f"s{number}")["agent_id"] for number in range(4)]
    outbox.subscribe()
    project.finish(project.claim_agent(agents[0]), result=Jsonb({"url": "https://a.example"}))
    project.fail(project.claim_agent(agents[1]), "No disk.", retry=False)
    project.call(user, "stop_build", agent_id=agents[2])
    for _ in range(5):  # its builders die
        last = project.claim_agent(agents[3])
    project.make_due(last["build_id"])
    assert project.claim() == []
    told = outbox.claim()
    assert [one["kind"] for one in told] == ["agent.active", "agent.failed", "agent.failed", "agent.failed"]
    data = [one["data"] for one in told]
    assert [one["agent_id"] for one in data] == [str(agent_id) for agent_id in agents]
    assert [one["agent_status"] for one in data] == ["active", "failed", "failed", "failed"]
    assert [one["message"] for one in data] == [
        None, "No disk.", "Stopped by the owner.", "No builder finished attempt 5 of 5.",
    ]  # fmt: skip
    assert [one["result"] for one in data] == [{"url": "https://a.example"}, None, None, None]
    for one, agent_id in zip(told, agents, strict=True):
        (agent,) = project.rows("select * from public.agent where id = %s", agent_id)
        (build,) = project.builds(agent_id)
        assert (one["occurred_at"], one["data"]["build_id"]) == (agent["updated_at"], str(build["id"]))


def test_data_is_all_that_a_receiver_needs_and_never_the_document(outbox: Outbox) -> None:
    project, user = outbox.project, outbox.project.new_user()
    outbox.subscribe()
    plan_id = project.store_and_propose(user, title="Ærø \U0001f680", message="Please look.")["plan_id"]
    proposed = outbox.claim_one()["data"]
    assert proposed == {
        "plan_id": str(plan_id), "session_id": "s1", "version": 1, "title": "Ærø \U0001f680",
        "status": "proposed", "team_id": None, "proposed_by": "user", "decided_by": None, "comment": None,
        "agent_id": None, "agent_status": None, "build_id": None, "message": "Please look.", "result": None,
    }  # fmt: skip
    approval = project.approve_proposed(user, comment="Go on.")
    approved = outbox.claim_one()["data"]
    (build,) = project.builds(approval["agent_id"])
    assert approved == {
        **proposed, "status": "approved", "decided_by": str(user.id), "comment": "Go on.",
        "agent_id": str(approval["agent_id"]), "agent_status": "building", "build_id": str(build["id"]),
    }  # fmt: skip
    # Of a new version, the session's agent is named, and no build.
    project.store_and_propose(user, version=2)
    second = outbox.claim_one()["data"]
    assert (second["agent_id"], second["agent_status"]) == (str(approval["agent_id"]), "building")
    assert (second["build_id"], second["message"]) == (None, None)


def test_of_several_builds_the_one_that_ended_last_is_told(outbox: Outbox) -> None:
    project, user = outbox.project, outbox.project.new_user()
    agent_id = project.store_and_approve(user)["agent_id"]
    project.fail(project.claim_agent(agent_id), "The first.", retry=False)
    project.call(user, "retry_build", agent_id=agent_id)
    outbox.subscribe()
    project.fail(project.claim_agent(agent_id), "The second.", retry=False)
    assert outbox.claim_one()["data"]["message"] == "The second."


def test_data_is_as_at_the_end_of_the_transaction(outbox: Outbox) -> None:
    project, user = outbox.project, outbox.project.new_user()
    outbox.subscribe()
    digest = project.store(user)
    with project.as_user(user) as connection:
        url = f"https://x.example/storage/v1/object/sign/plans/{user.path('s1', digest)}?token=t"
        connection.execute("select public.propose_plan('s1', 1, 'A plan', %s, %s)", (digest, url))
        connection.execute("select public.reject_plan('s1', 1, 'No.')")
    told = outbox.claim()
    assert [one["kind"] for one in told] == ["plan.proposed", "plan.rejected"]
    for one in told:
        assert (one["data"]["status"], one["data"]["comment"]) == ("rejected", "No.")


def test_what_is_rolled_back_leaves_nothing(outbox: Outbox) -> None:
    project, user = outbox.project, outbox.project.new_user()
    outbox.subscribe()
    project.store_and_propose(user)
    assert outbox.kinds() == ["plan.proposed"]
    rejected_and_failed = (
        "select public.reject_plan('s1', 1), 1 / (select count(*) from public.plan where id is null)"
    )
    with pytest.raises(psycopg.errors.DivisionByZero), project.as_user(user) as connection:
        connection.execute(rejected_and_failed)
    assert outbox.rows() == []
    with project.as_user(user) as connection:
        with pytest.raises(psycopg.errors.DivisionByZero), connection.transaction():
            connection.execute(rejected_and_failed)
        connection.execute("select public.request_changes('s1', 1, 'Shorter.')")
    assert outbox.kinds() == ["plan.changes_requested"]


def test_a_restored_dump_tells_nothing(outbox: Outbox) -> None:
    project, user = outbox.project, outbox.project.new_user()
    outbox.subscribe()
    project.store_and_propose(user)
    assert outbox.kinds() == ["plan.proposed"]
    project.backdate(user, "s1", 1, status="rejected", decided_at=datetime.now(UTC))
    assert outbox.rows() == []


# Subscribing ---------------------------------------------------------------------------------------------------


def test_a_claim_says_what_is_wrong_in_the_order_of_its_arguments(outbox: Outbox) -> None:
    wrong: dict[str, Any] = {"subscriber": "Mail", "max_notifications": 0, "lease_seconds": 4}
    right: dict[str, Any] = {"subscriber": "a-b_0", "max_notifications": 100, "lease_seconds": 3600}
    for name in list(wrong):
        with refused(f"invalid_{name}", "PT422"):
            outbox.claim(**wrong)
        wrong[name] = right[name]
    assert outbox.claim(**wrong) == []
    for name, values in {
        "subscriber": (None, "", "a" * 41, "a b", "ä", "a\n"),
        "max_notifications": (None, 101),
        "lease_seconds": (None, 3601),
    }.items():
        for value in values:
            with refused(f"invalid_{name}", "PT422"):
                outbox.claim(**{**right, name: value})
    for subscriber in (None, "Mail"):
        with refused("invalid_subscriber", "PT422"):
            outbox.forget(subscriber)
    assert [row["name"] for row in outbox.project.rows("select name from greenlight.subscriber")] == ["a-b_0"]


def test_of_every_call_after_the_first_claim_was_answered_is_told(outbox: Outbox, race: Race) -> None:
    project, user = outbox.project, outbox.project.new_user()
    for number in race.rounds():
        name = f"subscriber{number}"
        project.store_and_propose(user, f"before{number}")
        race(
            subscribe=partial(outbox.claim, name),
            another=partial(outbox.claim, name),
            during=partial(project.store_and_propose, user, f"during{number}"),
        )
        project.store_and_propose(user, f"after{number}")
        told = [one["data"]["session_id"] for one in outbox.claim(name)]
        assert told in ([f"after{number}"], [f"during{number}", f"after{number}"])
        assert outbox.forget(name)
    assert outbox.rows() == []


def test_a_claim_does_not_wait_for_one_that_is_subscribing(outbox: Outbox) -> None:
    with outbox.project.as_service_role() as holder:
        holder.execute("select public.claim_notifications('mail')")
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(outbox.claim).result(timeout=20) == []
            assert pool.submit(outbox.claim, "webhook").result(timeout=20) == []
    assert len(outbox.project.rows("select from greenlight.subscriber")) == 2


def test_a_forgotten_subscriber_has_nothing_and_begins_again(outbox: Outbox) -> None:
    project, user = outbox.project, outbox.project.new_user()
    assert outbox.forget("never") is False
    outbox.subscribe("mail", "webhook")
    project.store_and_propose(user)
    claimed = outbox.claim_one()
    assert outbox.forget() is True
    assert outbox.forget() is False
    assert outbox.finish(claimed) is False
    assert len(outbox.claim("webhook")) == 1
    project.store_and_propose(user, version=2)
    outbox.subscribe()
    project.store_and_propose(user, version=3)
    assert [one["data"]["version"] for one in outbox.claim()] == [3]


def test_forgetting_races_approvals_and_none_of_them_fails(outbox: Outbox, race: Race) -> None:
    project, user = outbox.project, outbox.project.new_user()
    for number in race.rounds():
        session = f"s{number}"
        outbox.subscribe()
        project.store_and_propose(user, session)
        answers = race(
            approve=partial(project.approve_proposed, user, session),
            forget=outbox.forget,
            claim=outbox.claim,
            again=outbox.forget,
        )
        assert set(answers.values()) == {"done"}
        outbox.forget()
        # What an approval in flight wrote for one that was forgotten is not handed out to the next of that name.
        outbox.subscribe()
        assert outbox.claim() == []
        outbox.forget()
    with project.as_superuser() as connection:  # leases of what was claimed as its subscriber was forgotten
        connection.execute("update greenlight.notification set run_after = now()")
    outbox.purge(datetime.now(UTC) - timedelta(days=1))
    assert outbox.rows() == []
    assert broken_invariants(project) == []


# Handing out ---------------------------------------------------------------------------------------------------


def test_claims_come_in_the_order_in_which_they_became_due_and_no_more_than_asked_for(outbox: Outbox) -> None:
    project, user = outbox.project, outbox.project.new_user()
    outbox.subscribe()
    for number in range(5):
        project.store_and_propose(user, f"s{number}")
    with project.as_superuser() as connection:
        connection.execute(
            "update greenlight.notification set run_after = now() - interval '1 day'"
            " where data ->> 'session_id' = 's3'"
        )
    told = [outbox.claim(max_notifications=3), outbox.claim(max_notifications=3)]
    sessions = [[one["data"]["session_id"] for one in claimed] for claimed in told]
    assert sessions == [["s3", "s0", "s1"], ["s2", "s4"]]
    assert outbox.claim() == []


def test_ten_are_handed_out_if_nothing_is_asked_for(outbox: Outbox) -> None:
    project, user = outbox.project, outbox.project.new_user()
    outbox.subscribe()
    for number in range(12):
        project.store_and_propose(user, f"s{number}")
    assert [len(outbox.claim()) for _ in range(3)] == [10, 2, 0]
    outbox.let_pass(59)
    assert outbox.claim() == []
    outbox.let_pass(2)
    assert {one["attempt"] for one in outbox.claim()} == {2}


def test_it_is_handed_out_again_only_after_its_lease(outbox: Outbox) -> None:
    outbox.subscribe()
    outbox.project.store_and_propose(outbox.project.new_user())
    (first,) = outbox.claim(lease_seconds=3600)
    outbox.let_pass(3590)
    assert outbox.claim() == []
    outbox.let_pass(20)
    second = outbox.claim_one()
    assert second == {**first, "attempt": 2}
    # The attempt whose lease ended can neither finish nor fail it.
    assert (outbox.finish(first), outbox.fail(first)) == (False, False)
    assert outbox.finish(second) is True


def test_one_that_is_delivered_late_is_finished_all_the_same(outbox: Outbox) -> None:
    outbox.subscribe()
    outbox.project.store_and_propose(outbox.project.new_user())
    claimed = outbox.claim_one()
    outbox.let_pass(3600)
    assert outbox.finish(claimed) is True


def test_finishing_removes_it_and_a_wrong_attempt_does_nothing(outbox: Outbox) -> None:
    outbox.subscribe()
    outbox.project.store_and_propose(outbox.project.new_user())
    (waiting,) = outbox.rows()
    never = {"notification_id": waiting["id"], "attempt": 0}
    assert (outbox.finish(never), outbox.fail(never)) == (False, False)
    claimed = outbox.claim_one()
    for wrong in ({"attempt": 2}, {"attempt": None}, {"notification_id": None}, {"notification_id": 0}):
        assert (outbox.finish(claimed, **wrong), outbox.fail({**claimed, **wrong})) == (False, False)
    assert len(outbox.rows()) == 1
    assert outbox.finish(claimed) is True
    assert outbox.rows() == []
    assert (outbox.finish(claimed), outbox.fail(claimed)) == (False, False)


def test_eight_workers_on_two_hundred_get_each_once(outbox: Outbox) -> None:
    project = outbox.project
    user = project.new_user()
    outbox.subscribe()
    with project.as_superuser() as connection:
        connection.execute(
            "insert into greenlight.notification"
            " (subscriber_id, event_id, kind, occurred_at, user_id, data, run_after)"
            " select s.id, gen_random_uuid(), 'plan.proposed', now(), %s, '{}', now()"
            " from greenlight.subscriber as s, generate_series(1, 200)",
            [user.id],
        )
    begin = threading.Barrier(8)

    def work(_: int) -> list[int]:
        begin.wait()
        got: list[int] = []
        while claimed := outbox.claim(max_notifications=3):
            got += [one["notification_id"] for one in claimed]
        return got

    with ThreadPoolExecutor(8) as pool:
        handed_out = Counter(one for got in pool.map(work, range(8)) for one in got)
    # A claim that meets others may find all of them locked, and end early.
    handed_out.update(one["notification_id"] for _ in range(3) for one in outbox.claim(max_notifications=100))
    assert len(handed_out) == 200
    assert set(handed_out.values()) == {1}
    assert {row["attempt"] for row in outbox.rows()} == {1}


HELD: dict[str, LiteralString] = {
    "the outbox": "select from greenlight.notification for update",
    "the subscriber": "select from greenlight.subscriber for update",
    "the user": "select from auth.users for update",
    "the plan": "select from public.plan for update",
}


@pytest.mark.parametrize("what", HELD)
def test_a_claim_never_waits_for_a_lock(outbox: Outbox, what: str) -> None:
    """It leaves what is locked to a later one."""
    project, user = outbox.project, outbox.project.new_user()
    project.change_setting(remind_after=[timedelta(hours=1)])
    project.store_and_propose(user)
    outbox.subscribe()
    outbox.let_pass(3601)
    project.store_and_propose(user, "s2")
    with ThreadPoolExecutor(1) as pool, project.as_superuser() as holder:
        holder.execute(HELD[what])
        first = [one["kind"] for one in pool.submit(outbox.claim).result(timeout=20)]
    later = [one["kind"] for one in outbox.claim()]
    assert (first, later) == {
        "the outbox": (["plan.reminder"], ["plan.proposed"]),
        "the subscriber": (["plan.proposed"], ["plan.reminder"]),
        "the user": (["plan.proposed"], ["plan.reminder"]),
        "the plan": (["plan.proposed"], ["plan.reminder"]),
    }[what]


# Failing -------------------------------------------------------------------------------------------------------


def test_a_full_day_of_failing(outbox: Outbox) -> None:
    """The pauses grow to 6 hours; after the twelfth attempt it stays as failed."""
    outbox.subscribe()
    outbox.project.store_and_propose(outbox.project.new_user())
    pauses: list[int] = []
    for attempt in range(1, ATTEMPTS):
        claimed = outbox.claim_one()
        assert claimed["attempt"] == attempt
        assert outbox.fail(claimed, message=f"Answer {attempt}.") is True
        pauses.append(round(outbox.seconds()))
        outbox.let_pass(pauses[-1] - 2)
        assert outbox.claim() == []
        outbox.let_pass(3)
    assert pauses == [10, 40, 160, 640, 2560, 10240, *[6 * 3600] * 5]
    assert sum(pauses) > 86_400
    last = outbox.claim_one()
    assert outbox.fail(last) is True
    (row,) = outbox.rows()
    assert (row["status"], row["attempt"], row["message"]) == ("failed", ATTEMPTS, "Answer 11.")
    assert (outbox.fail(last), outbox.finish(last)) == (False, False)
    outbox.let_pass(86_400)
    assert outbox.claim() == []


def test_a_lease_that_ran_out_counts_as_an_attempt(outbox: Outbox) -> None:
    outbox.subscribe()
    outbox.project.store_and_propose(outbox.project.new_user())
    for attempt in range(1, ATTEMPTS + 1):
        assert outbox.claim_one()["attempt"] == attempt
        outbox.let_pass(61)
    assert outbox.claim() == []
    assert len(outbox.rows()) == 1


def test_without_retry_it_is_not_handed_out_again(outbox: Outbox) -> None:
    outbox.subscribe()
    outbox.project.store_and_propose(outbox.project.new_user())
    claimed = outbox.claim_one()
    assert outbox.fail(claimed, message="x" * 501, retry=False) is True
    (row,) = outbox.rows()
    assert (row["status"], row["message"]) == ("failed", "x" * 500)
    outbox.let_pass(86_400)
    assert outbox.claim() == []
    assert (outbox.finish(claimed), outbox.fail(claimed)) == (False, False)


def test_it_waits_for_as_long_as_the_receiver_says_if_that_is_later(outbox: Outbox) -> None:
    outbox.subscribe()
    outbox.project.store_and_propose(outbox.project.new_user())
    for attempt, retry_seconds, expected in ((1, 86_400, 86_400), (2, 0, 40), (3, 159, 160), (4, None, 640)):
        claimed = outbox.claim_one()
        assert claimed["attempt"] == attempt
        assert outbox.fail(claimed, retry_seconds=retry_seconds) is True
        assert round(outbox.seconds()) == expected
        outbox.let_pass(expected + 1)
    claimed = outbox.claim_one()
    for wrong in (-1, 86_401):
        with refused("invalid_retry_seconds", "PT422"):
            outbox.fail(claimed, retry_seconds=wrong)
    with refused("invalid_retry", "PT422"):
        outbox.fail(claimed, retry=None, retry_seconds=-1)
    assert outbox.fail(claimed) is True


# To whom -------------------------------------------------------------------------------------------------------


def test_the_address_is_the_owners_as_of_the_claim_if_it_is_confirmed(outbox: Outbox) -> None:
    project, user = outbox.project, outbox.project.new_user()
    outbox.subscribe()
    project.store_and_propose(user)

    def email(**columns: object) -> object:
        changes = ", ".join(f"{column} = %({column})s" for column in columns)
        with project.as_superuser() as connection:
            connection.execute(
                f"update auth.users set {changes} where id = %(id)s", {**columns, "id": user.id}
            )
        outbox.let_pass(61)
        claimed = outbox.claim_one()
        assert claimed["user_id"] == user.id
        return claimed["email"]

    now = datetime.now(UTC)
    assert email(email="me@example.com") is None
    assert email(email_confirmed_at=now) == "me@example.com"
    assert email(email="new@example.com") == "new@example.com"
    assert email(email=None) is None
    assert email(email="") is None
    # Supabase Auth keeps a hash instead.
    assert email(email="c2f1d0", deleted_at=now) is None
    assert email(email="me@example.com", deleted_at=None) == "me@example.com"


def test_the_addresses_of_a_teams_approvers_are_the_projects_to_say(outbox: Outbox) -> None:
    project, user = outbox.project, outbox.project.new_user()
    team = uuid.uuid4()
    outbox.subscribe()

    def approver_emails() -> object:
        outbox.let_pass(61)
        return outbox.claim_one()["approver_emails"]

    emails(project, "select 'of no team' where $1 is null union all select 'of ' || $1 where $1 is not null")
    project.store_and_propose(user)
    of_none = outbox.claim_one()
    assert of_none["approver_emails"] is None
    assert outbox.finish(of_none)
    project.store_and_propose(user, "of-a-team", service_role=True, team_id=team)
    assert approver_emails() == [f"of {team}"]
    emails(project, "select e from unnest(array['b@x', 'a@x', null, '', 'a@x']) as e where $1 is not null")
    assert approver_emails() == ["a@x", "b@x"]
    emails(project, "select null::text where false")
    assert approver_emails() is None


def test_a_push_leaves_the_projects_own_function(project: Project) -> None:
    """It is empty at first, no role of the API calls it, and only the project changes it."""
    with project.as_superuser() as connection:
        assert connection.execute("select greenlight.approver_emails(gen_random_uuid())").fetchall() == []
    with pytest.raises(psycopg.errors.InsufficientPrivilege), project.as_service_role() as connection:
        connection.execute("select greenlight.approver_emails(gen_random_uuid())")


def test_deleting_a_user_removes_theirs(outbox: Outbox) -> None:
    project = outbox.project
    leaving, staying = project.new_user(), project.new_user()
    outbox.subscribe()
    for user in (leaving, staying):
        project.store_and_propose(user)
    claimed = next(one for one in outbox.claim() if one["user_id"] == leaving.id)
    project.delete_user(leaving)
    assert [row["user_id"] for row in outbox.rows()] == [staying.id]
    assert (outbox.finish(claimed), outbox.fail(claimed)) == (False, False)


def test_deleting_users_while_everything_is_delivered(outbox: Outbox, race: Race) -> None:
    project = outbox.project
    project.change_setting(remind_after=[timedelta(hours=1)])
    outbox.subscribe("mail", "webhook")
    for _ in race.rounds():
        users = [project.new_user() for _ in range(2)]
        for user in users:
            for number in range(2):
                project.store_and_propose(user, f"s{number}")
        claimed = outbox.claim(max_notifications=4)
        outbox.let_pass(3601)
        answers = race(
            delete=partial(project.delete_user, users[0]),
            delete_another=partial(project.delete_user, users[1]),
            claim=outbox.claim,
            finish=partial(outbox.each, outbox.finish, claimed),
            forget=partial(outbox.forget, "webhook"),
            purge=lambda: outbox.purge(datetime.now(UTC) - timedelta(days=1)),
        )
        assert set(answers.values()) == {"done"}
        outbox.claim("webhook")
        assert outbox.rows() == []


# Reminders and expiry ------------------------------------------------------------------------------------------


def test_a_proposal_that_expires_is_told_once_to_each(outbox: Outbox) -> None:
    project, user = outbox.project, outbox.project.new_user()
    expires_at = datetime.now(UTC) + timedelta(hours=1)
    outbox.subscribe("mail", "webhook")
    project.store_and_propose(user, expires_at=expires_at)
    project.store_and_propose(user, "never")
    assert outbox.kinds() == ["plan.proposed", "plan.proposed"]
    outbox.let_pass(3590)
    assert outbox.kinds() == []
    outbox.let_pass(20)
    expired = outbox.claim_one()
    assert (expired["kind"], expired["data"]["session_id"]) == ("plan.expired", "s1")
    assert (expired["data"]["status"], expired["user_id"]) == ("proposed", user.id)
    assert expired["occurred_at"] == project.plan(user)["expires_at"]
    assert outbox.finish(expired)
    assert outbox.kinds() == []
    *_, same = outbox.claim("webhook")
    assert (same["kind"], same["event_id"]) == ("plan.expired", expired["event_id"])
    # One of another version or moment has another id.
    project.store_and_propose(user, version=2, expires_at=expires_at)
    outbox.kinds()
    outbox.let_pass(3601)
    assert outbox.claim_one()["event_id"] != expired["event_id"]


def decided(project: Project, user: User, session: str, how: str) -> None:
    if how == "deleted":
        agent_id = project.rows("select id from public.agent where session_id = %s", session)[0]["id"]
        project.call(user, "delete_agent", agent_id=agent_id)
    elif how == "superseded":
        project.store_and_propose(user, session, 3)
    elif how == "approved":
        project.approve_proposed(user, session, 2)
    else:
        project.decide(user, how, session, 2)


@pytest.mark.parametrize(
    "how", ["approved", "request_changes", "reject_plan", "withdraw_plan", "superseded", "deleted"]
)
def test_only_of_what_is_still_proposed_and_not_deleted(outbox: Outbox, how: str) -> None:
    project, user = outbox.project, outbox.project.new_user()
    project.change_setting(remind_after=[timedelta(minutes=10)])
    outbox.subscribe()
    for session in ("decided", "waiting"):
        project.store_and_approve(user, session)
        project.store_and_propose(user, session, 2, expires_at=datetime.now(UTC) + timedelta(hours=1))
    decided(project, user, "decided", how)
    assert outbox.claim(max_notifications=100)
    outbox.let_pass(601)
    told = [(one["kind"], one["data"]["session_id"], one["data"]["version"]) for one in outbox.claim()]
    newer = [("plan.reminder", "decided", 3)] if how == "superseded" else []
    assert [one for one in told if one[0] == "plan.reminder"] == [("plan.reminder", "waiting", 2), *newer]
    outbox.let_pass(3601)
    expired = [one for one in outbox.claim(max_notifications=100) if one["kind"] == "plan.expired"]
    assert [one["data"]["session_id"] for one in expired] == ["waiting"]


def test_each_step_reminds_once_and_none_after_the_expiry(outbox: Outbox) -> None:
    project, user = outbox.project, outbox.project.new_user()
    hours = [1, 24, 72]
    project.change_setting(remind_after=[timedelta(hours=hour) for hour in (24, 72, 1, 24)])
    outbox.subscribe()
    project.store_and_propose(user, expires_at=datetime.now(UTC) + timedelta(hours=48))
    outbox.kinds()
    told = []
    for _ in range(100):
        outbox.let_pass(3600)
        told.append(outbox.claim())
        assert all(outbox.finish(one) for one in told[-1])
    at = {hour: [one["kind"] for one in claimed] for hour, claimed in enumerate(told, 1) if claimed}
    assert at == {hours[0]: ["plan.reminder"], hours[1]: ["plan.reminder"], 48: ["plan.expired"]}
    events = [one["event_id"] for claimed in told for one in claimed]
    assert len(set(events)) == 3


def test_of_several_steps_missed_only_the_newest_is_made(outbox: Outbox) -> None:
    project, user = outbox.project, outbox.project.new_user()
    project.change_setting(remind_after=[timedelta(hours=hour) for hour in (1, 2, 3, 10)])
    outbox.subscribe()
    project.store_and_propose(user)
    outbox.let_pass(5 * 3600)
    plan = project.plan(user)
    kinds = {one["kind"]: one for one in outbox.claim()}
    assert kinds.keys() == {"plan.proposed", "plan.reminder"}
    assert kinds["plan.reminder"]["occurred_at"] == plan["created_at"] + timedelta(hours=3)
    outbox.let_pass(5 * 3600 + 1)
    reminder = outbox.claim(max_notifications=100)[-1]
    assert reminder["occurred_at"] == project.plan(user)["created_at"] + timedelta(hours=10)
    outbox.let_pass(100 * 3600)
    made = [row for row in outbox.rows() if row["kind"] == "plan.reminder"]
    assert len(made) == 2
    # If the expiry was missed, too, only that is told.
    project.store_and_propose(user, "s2", expires_at=datetime.now(UTC) + timedelta(hours=4))
    outbox.let_pass(5 * 3600)
    outbox.claim(max_notifications=100)
    second = [row["kind"] for row in outbox.rows() if row["data"]["session_id"] == "s2"]
    assert second == ["plan.proposed", "plan.expired"]


def test_only_of_moments_after_the_subscription(outbox: Outbox) -> None:
    project, user = outbox.project, outbox.project.new_user()
    project.change_setting(remind_after=[timedelta(hours=1), timedelta(hours=3)])
    project.store_and_propose(user, "old", expires_at=datetime.now(UTC) + timedelta(hours=1.5))
    project.store_and_propose(user)
    outbox.let_pass(2 * 3600)
    outbox.subscribe()
    assert outbox.kinds() == []
    outbox.let_pass(3601)
    assert outbox.kinds() == ["plan.reminder"]


def test_two_claims_at_once_remind_once(outbox: Outbox, race: Race) -> None:
    project, user = outbox.project, outbox.project.new_user()
    project.change_setting(remind_after=[timedelta(hours=1)])
    outbox.subscribe()
    for number in race.rounds():
        session = f"s{number}"
        project.store_and_propose(user, session)
        assert outbox.kinds() == ["plan.proposed"]
        outbox.let_pass(3601)
        race(one=outbox.claim, two=outbox.claim, reject=partial(project.decide, user, "reject_plan", session))
        outbox.claim()
        made = Counter(row["kind"] for row in outbox.rows())
        assert made in (Counter(["plan.rejected"]), Counter(["plan.reminder", "plan.rejected"]))
        outbox.forget()
        outbox.subscribe()


def test_more_than_a_thousand_at_the_same_moment_are_made_by_several_claims(outbox: Outbox) -> None:
    project, user = outbox.project, outbox.project.new_user()
    outbox.subscribe()
    project.store_and_propose(user)
    outbox.kinds()
    columns = ", ".join(
        row["attname"]
        for row in project.rows(
            "select attname from pg_attribute where attrelid = 'public.plan'::regclass and attnum > 0"
            " and not attisdropped and attname not in"
            " ('id', 'session_id', 'expires_at', 'status', 'document_path')"
        )
    )
    with project.as_superuser() as connection:
        connection.execute("set local session_replication_role = replica")
        connection.execute(
            f"insert into public.plan (id, session_id, expires_at, status, document_path, {columns})"
            " select gen_random_uuid(), 'x' || n, now() + interval '1 hour', 'proposed',"
            f" user_id || '/x' || n || '/' || document_sha256 || '.md', {columns}"
            " from public.plan, generate_series(1, 1500) as n".encode()
        )
    outbox.let_pass(3601)
    outbox.claim(max_notifications=1)
    assert len(outbox.rows()) == 1000
    outbox.claim(max_notifications=1)
    outbox.claim(max_notifications=1)
    assert len(outbox.rows()) == 1500
    assert len({row["data"]["plan_id"] for row in outbox.rows()}) == 1500


def test_a_step_is_a_time_that_a_proposal_can_wait(project: Project) -> None:
    project.change_setting(remind_after=["1 day", "1 month"])
    for wrong in (["0"], ["-1 day"], ["1 day", None], ["100 years"]):
        with pytest.raises(psycopg.errors.CheckViolation):
            project.change_setting(remind_after=wrong)
    with pytest.raises(psycopg.errors.NotNullViolation):
        project.change_setting(remind_after=None)


# Purge ---------------------------------------------------------------------------------------------------------


def test_what_is_older_and_not_being_delivered_is_purged(outbox: Outbox) -> None:
    project, user = outbox.project, outbox.project.new_user()
    outbox.subscribe()
    for state in ("failed", "late", "waiting"):
        project.store_and_propose(user, state)
    failed, _ = outbox.claim(max_notifications=2)
    assert outbox.fail(failed, retry=False)
    outbox.let_pass(10 * 86_400)
    for state in ("leased", "new"):
        project.store_and_propose(user, state)
    with project.as_superuser() as connection:
        connection.execute(
            "update greenlight.notification set status = 'leased', attempt = 1, created_at = now() - interval '9 days',"
            " run_after = now() + interval '1 minute' where data ->> 'session_id' = 'leased'"
        )
    outbox.claim(max_notifications=1)  # it still claims
    before = datetime.now(UTC) - timedelta(days=5)
    assert outbox.purge(before - timedelta(days=10)) == 0
    assert outbox.purge(None) == 0
    left = [row["data"]["session_id"] for row in outbox.rows()]
    assert left == ["failed", "late", "waiting", "leased", "new"]
    outbox.let_pass(61)
    with project.as_superuser() as connection:
        connection.execute(
            "update greenlight.notification set run_after = now() + interval '1 minute'"
            " where data ->> 'session_id' = 'leased'"
        )
        connection.execute("select from greenlight.notification where status = 'failed' for update")
        assert outbox.purge(before, 1) == 1
        assert outbox.purge(before, 100) == 1
        assert outbox.purge(before, 100) == 0
    assert outbox.purge(before, 100) == 1
    assert [row["data"]["session_id"] for row in outbox.rows()] == ["leased", "new"]


def test_subscribers_that_do_not_claim_any_more_are_purged_with_theirs(outbox: Outbox) -> None:
    project, user = outbox.project, outbox.project.new_user()
    outbox.subscribe("gone", "mail")
    outbox.let_pass(86_400)
    outbox.claim("mail")
    project.store_and_propose(user)
    before = datetime.now(UTC) - timedelta(hours=1)
    with project.as_superuser() as holder:
        holder.execute("select from greenlight.subscriber for update")
        assert outbox.purge(before) == 0
    assert outbox.purge(before) == 2
    assert outbox.purge(before) == 0
    assert len(outbox.claim("mail")) == 1
    assert outbox.claim("gone") == []
    assert outbox.claim("gone") == []


# Locks ---------------------------------------------------------------------------------------------------------


def test_an_event_takes_no_lock_that_its_cause_does_not_hold(outbox: Outbox) -> None:
    """Proposals and decisions wait for their user at most, as without a subscriber: not for the outbox."""
    project, user = outbox.project, outbox.project.new_user()
    outbox.subscribe()
    project.store_and_propose(user)
    with ThreadPoolExecutor(1) as pool, project.as_superuser() as holder:
        holder.execute("select from greenlight.subscriber for update")
        holder.execute("select from greenlight.notification for update")
        assert pool.submit(project.approve_proposed, user).result(timeout=20)["created"]
    assert [row["kind"] for row in outbox.rows()] == ["plan.proposed", "plan.approved"]


@pytest.mark.parametrize("call", ["approve", "propose", "delete the user"])
def test_a_claim_that_reminds_holds_up_a_change_no_longer_than_it_lasts(outbox: Outbox, call: str) -> None:
    """The change waits for the claim, which waits for no one: so they cannot deadlock."""
    project, user = outbox.project, outbox.project.new_user()
    project.change_setting(remind_after=[timedelta(hours=1)])
    outbox.subscribe()
    project.store_and_propose(user)
    project.store(user, document=document_of("s1", 2))
    outbox.let_pass(3601)
    calls: dict[str, Callable[[], object]] = {
        "approve": lambda: project.approve_proposed(user),
        "propose": lambda: project.propose(user, version=2, document=document_of("s1", 2)),
        "delete the user": lambda: project.delete_user(user),
    }

    def run() -> str:
        calls[call]()
        return "done"

    with ThreadPoolExecutor(1) as pool:
        with project.as_service_role() as claim:
            claim.execute("select public.claim_notifications('mail')")
            running = pool.submit(run)
            assert waits(project, running, 1)
        assert running.result(timeout=20) == "done"
    assert broken_invariants(project) == []


def test_everything_at_once_deadlocks_with_nothing(outbox: Outbox, race: Race) -> None:
    project = outbox.project
    project.change_setting(remind_after=[timedelta(hours=1)])
    outbox.subscribe("mail", "webhook")
    for _ in race.rounds():
        user = project.new_user()
        project.store_and_propose(user)
        project.store(user, document=document_of("s1", 2))
        claimed = outbox.claim()
        outbox.let_pass(3601)
        answers = race(
            approve=partial(project.approve_proposed, user),
            propose=partial(
                project.propose, user, version=2, document=document_of("s1", 2), service_role=True
            ),
            claim=outbox.claim,
            claim_too=partial(outbox.claim, "webhook"),
            fail=partial(outbox.each, outbox.fail, claimed),
            delete=partial(project.delete_user, user),
        )
        assert set(answers.values()) <= {"done", "plan_stale", "not_authenticated", "invalid_user_id"} | {
            "document_not_found"
        }
    assert broken_invariants(project) == []
