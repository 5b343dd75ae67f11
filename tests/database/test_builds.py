"""The builder's side: the one rule, claims and leases, fencing by attempt, backoff, poison builds, trying again."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import LiteralString
from uuid import uuid4

import psycopg
import pytest

from tests.plan import sha256

from .conftest import Project, Row, User, document_of, refused, signed_url
from .invariants import broken_invariants

OPEN = ("queued", "running")


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


# The one rule ------------------------------------------------------------------------------------------------


def test_an_approval_queues_its_build(any_project: Project) -> None:
    user = any_project.new_user()
    approval = any_project.store_and_approve(user)
    (build,) = any_project.rows("select * from public.build")
    assert (build["user_id"], build["agent_id"], build["plan_id"]) == (
        user.id,
        approval["agent_id"],
        approval["plan_id"],
    )
    assert (build["status"], build["attempt"]) == ("queued", 0)
    for column in ("worker", "progress", "message", "started_at", "finished_at"):
        assert build[column] is None, column
    (due,) = any_project.rows("select run_after <= clock_timestamp() as now from public.build")
    assert due["now"]
    assert is_sound(any_project)


def test_a_replay_queues_nothing(project: Project) -> None:
    user = project.new_user()
    agent_id = project.store_and_approve(user)["agent_id"]
    project.approve_proposed(user)
    assert statuses(project, agent_id) == ["queued"]
    project.activate(agent_id)
    project.approve_proposed(user)
    assert statuses(project, agent_id) == ["succeeded"]


def test_finishing_makes_the_agent_active(any_project: Project) -> None:
    user = any_project.new_user()
    approval = any_project.store_and_approve(user)
    claimed = any_project.claim_agent(approval["agent_id"])
    agent = any_project.finish(claimed)
    assert (agent["id"], agent["status"], agent["plan_id"]) == (
        approval["agent_id"],
        "active",
        approval["plan_id"],
    )
    (build,) = any_project.builds(approval["agent_id"])
    assert (build["status"], build["attempt"]) == ("succeeded", 1)
    assert build["created_at"] <= build["started_at"] <= build["finished_at"]
    event = any_project.events(approval["agent_id"])[-1]
    assert (event["kind"], event["from_status"], event["to_status"]) == (
        "status_changed",
        "building",
        "active",
    )
    assert (event["actor"], event["actor_role"]) == (None, "service_role")
    assert is_sound(any_project)


def test_failing_for_good_fails_the_agent(any_project: Project) -> None:
    user = any_project.new_user()
    agent_id = any_project.store_and_approve(user)["agent_id"]
    row = any_project.fail(any_project.claim_agent(agent_id), "No such tool.", retry=False)
    (build,) = any_project.builds(agent_id)
    assert row == build
    assert (build["status"], build["message"], build["attempt"]) == ("failed", "No such tool.", 1)
    assert build["finished_at"] is not None
    assert agent_of(any_project, agent_id)["status"] == "failed"
    event = any_project.events(agent_id)[-1]
    assert (event["kind"], event["from_status"], event["to_status"]) == (
        "status_changed",
        "building",
        "failed",
    )
    assert (event["actor"], event["actor_role"]) == (None, "service_role")
    assert any_project.claim(100) == []
    assert is_sound(any_project)


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


@pytest.mark.parametrize("state", ["queued", "running", "succeeded", "failed"])
def test_a_newer_version_cancels_the_open_build_and_queues_its_own(project: Project, state: str) -> None:
    user = project.new_user()
    first = start(project, user, state)
    second = project.store_and_approve(user, version=2)
    builds = project.builds(first["agent_id"])
    assert [build["status"] for build in builds] == ["cancelled" if state in OPEN else state, "queued"]
    assert [build["plan_id"] for build in builds] == [first["plan_id"], second["plan_id"]]
    if state in OPEN:
        assert builds[0]["message"]
        assert builds[0]["finished_at"] is not None
    assert builds[1]["attempt"] == 0
    assert is_sound(project)


@pytest.mark.parametrize("state", ["queued", "running", "succeeded", "failed"])
def test_archiving_cancels_the_open_build(project: Project, state: str) -> None:
    user = project.new_user()
    agent_id = start(project, user, state)["agent_id"]
    project.call(user, "transition_agent", agent_id=agent_id, to_status="archived")
    (build,) = project.builds(agent_id)
    assert build["status"] == ("cancelled" if state in OPEN else state)
    if state in OPEN:
        assert build["message"]
    assert is_sound(project)


@pytest.mark.parametrize("state", ["queued", "running", "succeeded", "failed"])
def test_deleting_cancels_the_open_build_and_restoring_queues_another(project: Project, state: str) -> None:
    user = project.new_user()
    agent_id = start(project, user, state)["agent_id"]
    project.call(user, "delete_agent", agent_id=agent_id)
    assert statuses(project, agent_id) == ["cancelled" if state in OPEN else state]
    assert project.claim(100) == []
    assert is_sound(project)

    project.call(user, "restore_agent", agent_id=agent_id)
    assert statuses(project, agent_id) == (["cancelled", "queued"] if state in OPEN else [state])
    assert is_sound(project)
    if state in OPEN:
        (cancelled, queued) = project.builds(agent_id)
        assert (queued["attempt"], queued["message"], queued["plan_id"]) == (0, None, cancelled["plan_id"])
        assert project.activate(agent_id)["status"] == "active"


def test_why_a_build_was_cancelled_is_told(project: Project) -> None:
    user = project.new_user()
    agent_ids = [project.store_and_approve(user, session)["agent_id"] for session in ("a", "b", "c")]
    project.store_and_approve(user, "a", 2)
    project.call(user, "transition_agent", agent_id=agent_ids[1], to_status="archived")
    project.call(user, "delete_agent", agent_id=agent_ids[2])
    messages = [project.builds(agent_id)[0]["message"] for agent_id in agent_ids]
    assert all(messages)
    assert len(set(messages)) == 3, messages


def test_pausing_and_resuming_open_no_build(project: Project) -> None:
    user = project.new_user()
    agent_id = start(project, user, "succeeded")["agent_id"]
    for status in ("paused", "active"):
        project.call(user, "transition_agent", agent_id=agent_id, to_status=status)
        assert statuses(project, agent_id) == ["succeeded"]
    assert is_sound(project)


def test_building_ends_by_the_builder_only(any_project: Project) -> None:
    """The earlier transition to active, by naming the plan, bypassed the fencing and was removed."""
    user = any_project.new_user()
    approval = any_project.store_and_approve(user)
    agent_id = approval["agent_id"]
    before = any_project.everything()
    for caller in (user, None):
        for status in ("active", "paused", "failed"):
            with refused("illegal_transition", "PT409"):
                any_project.call(caller, "transition_agent", agent_id=agent_id, to_status=status)
        with pytest.raises(psycopg.errors.UndefinedFunction):
            any_project.call(
                caller,
                "transition_agent",
                agent_id=agent_id,
                to_status="active",
                plan_id=approval["plan_id"],
            )
    assert any_project.everything() == before


@pytest.mark.parametrize("caller", ["owner", "service role"])
def test_what_a_failed_agent_may_become(project: Project, caller: str) -> None:
    user = project.new_user()
    agent_id = start(project, user, "failed")["agent_id"]
    by = user if caller == "owner" else None
    for status in ("building", "active", "paused"):
        with refused("illegal_transition", "PT409"):
            project.call(by, "transition_agent", agent_id=agent_id, to_status=status)
    same = project.call(by, "transition_agent", agent_id=agent_id, to_status="failed")
    assert same["status"] == "failed"
    archived = project.call(by, "transition_agent", agent_id=agent_id, to_status="archived")
    assert archived["status"] == "archived"
    assert is_sound(project)


def test_an_agent_has_at_most_one_open_build(project: Project) -> None:
    """By unique index; and a build belongs to its agent's user, by foreign key."""
    user, other = project.new_user(), project.new_user()
    project.store_and_approve(user)
    copy = (
        "insert into public.build (user_id, agent_id, plan_id, status, run_after)"
        " select {user}, agent_id, plan_id, '{status}', now() from public.build limit 1"
    )
    for status in OPEN:
        with pytest.raises(psycopg.errors.UniqueViolation), project.as_superuser() as connection:
            connection.execute(copy.format(user="user_id", status=status).encode())
    with pytest.raises(psycopg.errors.ForeignKeyViolation), project.as_superuser() as connection:
        connection.execute(copy.format(user=f"'{other.id}'::uuid", status="cancelled").encode())


@pytest.mark.parametrize(
    "change",
    [
        "status = 'done'",
        "progress = 101",
        "progress = -1",
        "attempt = -1",
        "message = repeat('x', 501)",
    ],
)
def test_a_build_cannot_be_anything_else_than_a_build(project: Project, change: str) -> None:
    project.store_and_approve(project.new_user())
    with pytest.raises(psycopg.errors.CheckViolation), project.as_superuser() as connection:
        connection.execute(f"update public.build set {change}".encode())


# Claims ------------------------------------------------------------------------------------------------------


def test_a_claim_hands_out_what_a_builder_needs(any_project: Project) -> None:
    user = any_project.new_user()
    approval = any_project.store_and_approve(user, version=3, title="Ship it")
    plan = any_project.plan(user, version=3)
    (claimed,) = any_project.claim(5, worker="w" * 200, lease_seconds=30)
    (build,) = any_project.rows("select * from public.build")
    assert claimed == {
        "build_id": build["id"],
        "attempt": 1,
        "agent_id": approval["agent_id"],
        "plan_id": approval["plan_id"],
        "user_id": user.id,
        "session_id": "s1",
        "version": 3,
        "title": "Ship it",
        "document_path": plan["document_path"],
        "document_sha256": plan["document_sha256"],
        "lease_expires_at": build["run_after"],
    }
    assert (build["status"], build["attempt"], build["worker"]) == ("running", 1, "w" * 200)
    assert build["started_at"] is not None
    assert build["finished_at"] is None
    assert 29 < seconds(any_project, build["id"], "started_at") < 31
    # A claim changes nothing of the agent, and is no event.
    assert agent_of(any_project, approval["agent_id"])["status"] == "building"
    assert len(any_project.events(approval["agent_id"])) == 1
    assert is_sound(any_project)


def test_a_lease_lasts_sixty_seconds_when_nothing_is_said(project: Project) -> None:
    project.store_and_approve(project.new_user())
    with project.as_service_role() as connection:
        (claimed,) = connection.execute("select * from public.claim_builds('a test')").fetchall()
        assert connection.execute("select * from public.claim_builds('a test')").fetchall() == []
    assert 59 < seconds(project, claimed["build_id"], "started_at") < 61


def test_claims_come_in_the_order_of_run_after_and_no_more_than_asked_for(project: Project) -> None:
    user = project.new_user()
    agent_ids = [project.store_and_approve(user, f"s{number}")["agent_id"] for number in range(5)]
    order = [agent_ids[number] for number in (3, 0, 4, 1, 2)]
    with project.as_superuser() as connection:
        for number, agent_id in enumerate(order):
            connection.execute(
                "update public.build set run_after = now() - interval '1 hour' + make_interval(secs => %s)"
                " where agent_id = %s",
                (number, agent_id),
            )
    claims = [project.claim(2) for _ in range(4)]
    assert [[claimed["agent_id"] for claimed in batch] for batch in claims] == [
        order[:2],
        order[2:4],
        order[4:],
        [],
    ]


def test_a_build_is_not_claimed_before_it_is_due(project: Project) -> None:
    agent_id = project.store_and_approve(project.new_user())["agent_id"]
    with project.as_superuser() as connection:
        connection.execute("update public.build set run_after = now() + interval '1 minute'")
    assert project.claim() == []
    with project.as_superuser() as connection:
        connection.execute("update public.build set run_after = now()")
    assert [claimed["agent_id"] for claimed in project.claim()] == [agent_id]


def test_a_lease_that_has_ended_is_claimed_by_the_next(project: Project) -> None:
    user = project.new_user()
    agent_id = project.store_and_approve(user)["agent_id"]
    first = project.claim_agent(agent_id, worker="first")
    project.renew(first, progress=70, message="Nearly there.")
    assert project.claim(worker="second") == []
    project.make_due(first["build_id"])
    (second,) = project.claim(worker="second")
    (build,) = project.builds(agent_id)
    assert (second["build_id"], second["attempt"]) == (first["build_id"], 2)
    assert (build["worker"], build["progress"], build["message"]) == ("second", None, "Nearly there.")
    assert build["started_at"] > first["lease_expires_at"] - timedelta(seconds=61)
    assert is_sound(project)


def test_a_claim_leaves_what_is_closed(project: Project) -> None:
    user = project.new_user()
    for session, state in (("a", "succeeded"), ("b", "failed"), ("c", "cancelled")):
        agent_id = project.store_and_approve(user, session)["agent_id"]
        if state == "cancelled":
            project.call(user, "delete_agent", agent_id=agent_id)
        elif state == "failed":
            project.fail(project.claim_agent(agent_id), retry=False)
        else:
            project.activate(agent_id)
    with project.as_superuser() as connection:
        connection.execute("update public.build set run_after = now() - interval '1 day'")
    assert project.claim(100) == []


# Locks that another transaction may hold, in the order in which everything locks.
LOCKED: dict[str, LiteralString] = {
    "the user's row": "select from auth.users for update",
    "the agent's row": "select from public.agent for update",
    "the plan's row": "select from public.plan for update",
    "the build's row": "select from public.build for update",
}


@pytest.mark.parametrize("poison", [False, True], ids=["a build", "a poison build"])
@pytest.mark.parametrize("what", LOCKED)
def test_a_claim_never_waits_for_a_lock(project: Project, what: str, poison: bool) -> None:
    user = project.new_user()
    agent_id = project.store_and_approve(user)["agent_id"]
    if poison:
        wear_out(project, agent_id)
    with project.as_superuser() as holder:
        holder.execute(LOCKED[what])
        with project.as_service_role() as connection:
            # A wait of any length ends in an error here.
            connection.execute("set local lock_timeout = '200ms'")
            taken = connection.execute("select * from public.claim_builds('a test', 10)").fetchall()
        if what == "the build's row":
            assert taken == []
        assert len(taken) <= 1
    if taken == []:
        # It was skipped, not lost.
        assert len(project.claim()) == (0 if poison else 1)
    if poison:
        assert taken == []
        assert agent_of(project, agent_id)["status"] == "failed"
    assert is_sound(project)


def test_a_claim_skips_what_is_locked_and_takes_the_next(project: Project) -> None:
    user = project.new_user()
    first, second = (project.store_and_approve(user, session)["agent_id"] for session in ("a", "b"))
    with project.as_superuser() as holder:
        holder.execute("select from public.build where agent_id = %s for update", (first,))
        with project.as_service_role() as connection:
            connection.execute("set local lock_timeout = '200ms'")
            taken = connection.execute("select * from public.claim_builds('a test', 10)").fetchall()
    assert [claimed["agent_id"] for claimed in taken] == [second]
    assert [claimed["agent_id"] for claimed in project.claim(10)] == [first]


@pytest.mark.parametrize("call", ["finish_build(%s, %s)", "fail_build(%s, %s, 'No.')"])
def test_the_end_of_a_build_locks_user_agent_and_build_in_this_order(
    project: Project, call: LiteralString
) -> None:
    claimed = project.claim_agent(project.store_and_approve(project.new_user())["agent_id"])
    rows = {"users": "the user's row", "agent": "the agent's row", "build": "the build's row"}
    for number, table in enumerate(rows):
        with project.as_superuser() as holder:
            for what in list(rows.values())[number:]:
                holder.execute(LOCKED[what])
            with project.as_service_role() as connection:
                connection.execute("set local lock_timeout = '200ms'")
                with pytest.raises(psycopg.errors.LockNotAvailable) as refusal:
                    connection.execute("select public." + call, (claimed["build_id"], claimed["attempt"]))
        # Where it waited, with this row and all that come later locked by another.
        assert f'in relation "{table}"' in str(refusal.value.diag.context)


def test_a_claim_does_not_wait_for_an_approval_that_is_under_way(project: Project) -> None:
    """Until it commits, the old build is locked; then there is the new one."""
    user = project.new_user()
    project.store_and_approve(user)
    project.store(user, document=document_of("s1", 2))
    with project.as_user(user) as approving:
        digest = sha256(document_of("s1", 2))
        approving.execute(
            "select public.approve_plan('s1', 2, 'A plan', %s, %s)", (digest, signed_url(user, "s1", digest))
        )
        with project.as_service_role() as connection:
            connection.execute("set local lock_timeout = '200ms'")
            assert connection.execute("select * from public.claim_builds('a test', 10)").fetchall() == []
    assert [claimed["version"] for claimed in project.claim(10)] == [2]


# Fencing -----------------------------------------------------------------------------------------------------

CALLS: dict[str, Callable[[Project, Row], Row]] = {
    "renew_build": lambda project, claimed: project.renew(claimed),
    "finish_build": lambda project, claimed: project.finish(claimed),
    "fail_build": lambda project, claimed: project.fail(claimed),
}


@pytest.mark.parametrize("call", CALLS)
def test_only_the_current_attempt_is_listened_to(
    project: Project, call: str, subtests: pytest.Subtests
) -> None:
    agent_id = project.store_and_approve(project.new_user())["agent_id"]
    first = project.claim_agent(agent_id)
    project.make_due(first["build_id"])
    second = project.claim_agent(agent_id)
    assert second["attempt"] == 2
    before = project.everything()
    for attempt in (-1, 0, 1, 3, None):
        with subtests.test(attempt=attempt), refused("build_lost", "PT409"):
            CALLS[call](project, {**first, "attempt": attempt})
    assert project.everything() == before
    CALLS[call](project, second)
    assert is_sound(project)


@pytest.mark.parametrize("call", CALLS)
def test_an_attempt_counts_for_its_own_build_only(project: Project, call: str) -> None:
    first, second = (
        project.claim_agent(project.store_and_approve(project.new_user())["agent_id"]) for _ in range(2)
    )
    project.make_due(second["build_id"])
    second = project.claim_agent(second["agent_id"])
    before = project.everything()
    for build, attempt in ((first, second["attempt"]), (second, first["attempt"])):
        with refused("build_lost", "PT409"):
            CALLS[call](project, {**build, "attempt": attempt})
    assert project.everything() == before
    for build in (first, second):
        CALLS[call](project, build)
    assert is_sound(project)


def test_a_queued_build_has_no_attempt_that_counts(project: Project, subtests: pytest.Subtests) -> None:
    agent_id = project.store_and_approve(project.new_user())["agent_id"]
    (build,) = project.builds(agent_id)
    before = project.everything()
    for call, attempt in product(CALLS, (0, 1, None)):
        with subtests.test(call, attempt=attempt), refused("build_lost", "PT409"):
            CALLS[call](project, {"build_id": build["id"], "attempt": attempt})
    assert project.everything() == before


@pytest.mark.parametrize("how", ["revised", "archived", "deleted"])
def test_a_cancelled_build_is_lost_to_its_builder(
    project: Project, how: str, subtests: pytest.Subtests
) -> None:
    user = project.new_user()
    agent_id = project.store_and_approve(user)["agent_id"]
    claimed = project.claim_agent(agent_id)
    cancel(project, user, agent_id, how)
    before = project.everything()
    for name, call in CALLS.items():
        with subtests.test(name):
            with refused("build_lost", "PT409") as caught:
                call(project, claimed)
            assert "cancelled" in (caught.value.diag.message_detail or "").lower()
    assert project.everything() == before
    assert is_sound(project)


def cancel(project: Project, user: User, agent_id: object, how: str) -> None:
    match how:
        case "revised":
            project.store_and_approve(user, version=2)
        case "archived":
            project.call(user, "transition_agent", agent_id=agent_id, to_status="archived")
        case "deleted":
            project.call(user, "delete_agent", agent_id=agent_id)


@pytest.mark.parametrize("call", CALLS)
def test_a_lease_that_has_ended_unclaimed_is_still_its_builders(project: Project, call: str) -> None:
    agent_id = project.store_and_approve(project.new_user())["agent_id"]
    claimed = project.claim_agent(agent_id)
    project.make_due(claimed["build_id"])
    CALLS[call](project, claimed)
    (build,) = project.builds(agent_id)
    assert build["status"] == {"renew_build": "running", "finish_build": "succeeded"}.get(call, "queued")
    assert is_sound(project)


def test_a_repeat_of_finish_answers_as_the_first_and_writes_nothing(project: Project) -> None:
    user = project.new_user()
    agent_id = project.store_and_approve(user)["agent_id"]
    claimed = project.claim_agent(agent_id)
    first = project.finish(claimed)
    before = project.everything()
    assert project.finish(claimed) == first
    for call in ("renew_build", "fail_build"):
        with refused("build_lost", "PT409"):
            CALLS[call](project, claimed)
    assert project.everything() == before

    # It returns the agent as it is now, in any status.
    project.call(user, "transition_agent", agent_id=agent_id, to_status="paused")
    assert project.finish(claimed)["status"] == "paused"
    project.store_and_approve(user, version=2)
    before = project.everything()
    assert project.finish(claimed) == agent_of(project, agent_id)
    project.call(user, "delete_agent", agent_id=agent_id)
    assert project.finish(claimed)["deleted_at"] is not None
    assert project.everything()["agent"] != before["agent"]
    assert statuses(project, agent_id)[0] == "succeeded"


@pytest.mark.parametrize("retry", [True, False])
def test_a_repeat_of_fail_answers_as_the_first_and_writes_nothing(project: Project, retry: bool) -> None:
    agent_id = project.store_and_approve(project.new_user())["agent_id"]
    claimed = project.claim_agent(agent_id)
    first = project.fail(claimed, "First.", retry=retry)
    before = project.everything()
    assert project.fail(claimed, "Second.", retry=retry) == first
    assert project.fail(claimed, None, retry=not retry) == first
    for call in ("renew_build", "finish_build"):
        with refused("build_lost", "PT409"):
            CALLS[call](project, claimed)
    assert project.everything() == before


@pytest.mark.parametrize("how", ["claimed", "revised", "archived", "deleted"])
def test_a_repeat_of_fail_is_lost_once_the_build_has_moved_on(project: Project, how: str) -> None:
    user = project.new_user()
    agent_id = project.store_and_approve(user)["agent_id"]
    claimed = project.claim_agent(agent_id)
    project.fail(claimed)
    if how == "claimed":
        assert project.claim_agent(agent_id)["attempt"] == 2
    else:
        cancel(project, user, agent_id, how)
    before = project.everything()
    with refused("build_lost", "PT409"):
        project.fail(claimed)
    assert project.everything() == before


@pytest.mark.parametrize("gone", ["never there", "null", "purged", "user deleted"])
def test_a_build_that_is_gone_is_not_found(project: Project, gone: str, subtests: pytest.Subtests) -> None:
    user = project.new_user()
    agent_id = project.store_and_approve(user)["agent_id"]
    claimed = project.claim_agent(agent_id)
    match gone:
        case "never there":
            claimed["build_id"] = uuid4()
        case "null":
            claimed["build_id"] = None
        case "user deleted":
            project.delete_user(user)
        case "purged":
            project.call(user, "delete_agent", agent_id=agent_id)
            later = datetime.now(UTC) + timedelta(seconds=5)
            project.call(None, "purge_deleted_agents", deleted_before=later)
    for call, attempt in product(CALLS, (1, None)):
        with subtests.test(call, attempt=attempt), refused("build_not_found", "PT404"):
            CALLS[call](project, {**claimed, "attempt": attempt})


def test_updated_at_moves_with_every_change_of_a_build(project: Project) -> None:
    agent_id = project.store_and_approve(project.new_user())["agent_id"]
    seen = [project.builds(agent_id)[0]["updated_at"]]
    claimed = project.claim_agent(agent_id)
    for change in (project.renew, project.renew, project.fail):
        change(claimed)
        seen.append(project.builds(agent_id)[0]["updated_at"])
    assert seen == sorted(set(seen))


# Renewing ----------------------------------------------------------------------------------------------------


def test_renewing_moves_the_end_of_the_lease_and_never_back(project: Project) -> None:
    agent_id = project.store_and_approve(project.new_user())["agent_id"]
    claimed = project.claim_agent(agent_id, lease_seconds=60)
    assert project.renew(claimed, lease_seconds=5)["run_after"] == claimed["lease_expires_at"]
    row = project.renew(claimed, lease_seconds=600)
    (build,) = project.builds(agent_id)
    assert row == build
    assert 599 < seconds(project, build["id"], "updated_at") < 601
    assert project.renew(claimed)["run_after"] == row["run_after"]
    project.make_due(claimed["build_id"])
    project.renew(claimed)
    assert 59 < seconds(project, build["id"], "updated_at") < 61
    assert project.claim() == []


def test_renewing_reports_progress_and_leaves_what_is_left_out(project: Project) -> None:
    agent_id = project.store_and_approve(project.new_user())["agent_id"]
    claimed = project.claim_agent(agent_id)
    told: list[tuple[dict[str, object], tuple[int | None, str | None]]] = [
        ({}, (None, None)),
        ({"progress": 0}, (0, None)),
        ({"message": "Half."}, (0, "Half.")),
        ({"progress": 50}, (50, "Half.")),
        ({"progress": 100, "message": "Done."}, (100, "Done.")),
        ({"progress": 30}, (30, "Done.")),
        ({"progress": None, "message": None}, (30, "Done.")),
    ]
    for arguments, expected in told:
        row = project.renew(claimed, **arguments)
        assert (row["progress"], row["message"]) == expected
        assert (row["status"], row["attempt"], row["worker"]) == ("running", 1, "a test")


@pytest.mark.parametrize("text", ["x", "\U0001f680", "\u00e9", "e\u0301"])
def test_a_message_is_cut_at_five_hundred_code_points(project: Project, text: str) -> None:
    agent_id = project.store_and_approve(project.new_user())["agent_id"]
    claimed = project.claim_agent(agent_id)
    long = text * 501
    assert project.renew(claimed, message=long)["message"] == long[:500]
    assert project.renew(claimed, message=long[:500])["message"] == long[:500]
    assert project.fail(claimed, text * 100_000)["message"] == (text * 500)[:500]


@pytest.mark.parametrize(
    "text",
    [
        "\u202egnp.exe\u2066\u2069",
        "zero\u200bwidth\ufeff",
        "<script>alert(1)</script> **bold** '; drop table public.build; -- $$",
        "\x1b[31mred\x01\x7f\x85",
        "two\r\nlines\u2028",
    ],
    ids=ascii,
)
def test_a_message_and_a_workers_name_are_kept_exactly(project: Project, text: str) -> None:
    agent_id = project.store_and_approve(project.new_user())["agent_id"]
    claimed = project.claim_agent(agent_id, worker=text)
    row = project.renew(claimed, message=text)
    assert (row["worker"], row["message"]) == (text, text)
    assert project.fail(claimed, text[::-1])["message"] == text[::-1]


# Failing, backing off, giving up -----------------------------------------------------------------------------


def test_a_failed_attempt_is_tried_again_after_a_wait_that_grows_fourfold(project: Project) -> None:
    """10 s times 4 to the power of attempt - 1, by the clock of the database; the fifth is the last."""
    agent_id = project.store_and_approve(project.new_user())["agent_id"]
    for attempt, wait in ((1, 10), (2, 40), (3, 160), (4, 640)):
        claimed = project.claim_agent(agent_id)
        assert claimed["attempt"] == attempt
        project.renew(claimed, progress=10)
        row = project.fail(claimed, f"Attempt {attempt}.")
        (build,) = project.builds(agent_id)
        assert row == build
        assert (build["status"], build["attempt"], build["message"]) == (
            "queued",
            attempt,
            f"Attempt {attempt}.",
        )
        assert build["finished_at"] is None
        assert wait - 1 < seconds(project, build["id"], "updated_at") < wait + 1
        assert agent_of(project, agent_id)["status"] == "building"
        assert project.claim(100) == []
        assert is_sound(project)
    fifth = project.claim_agent(agent_id)
    assert fifth["attempt"] == 5
    assert project.fail(fifth, "Attempt 5.", retry=True)["status"] == "failed"
    assert agent_of(project, agent_id)["status"] == "failed"
    assert len(project.events(agent_id)) == 2
    assert is_sound(project)


def test_a_null_message_keeps_the_last(project: Project) -> None:
    agent_id = project.store_and_approve(project.new_user())["agent_id"]
    claimed = project.claim_agent(agent_id)
    assert project.fail(claimed, None)["message"] is None
    claimed = project.claim_agent(agent_id)
    project.renew(claimed, message="Compiling.")
    assert project.fail(claimed, None)["message"] == "Compiling."
    (claimed, _) = project.claim_agent(agent_id), None
    assert project.builds(agent_id)[0]["message"] == "Compiling."
    assert project.fail(claimed, "Broken.", retry=False)["message"] == "Broken."


def wear_out(project: Project, agent_id: object) -> Row:
    """Let five builders die over it. Answers the fifth claim, whose lease has ended."""
    claimed = {}
    for attempt in range(1, 6):
        claimed = project.claim_agent(agent_id)
        assert claimed["attempt"] == attempt
    project.make_due(claimed["build_id"])
    return claimed


def test_a_build_that_kills_its_builders_is_given_up_at_the_sixth_claim(any_project: Project) -> None:
    user = any_project.new_user()
    poison = any_project.store_and_approve(user, "poison")["agent_id"]
    fifth = wear_out(any_project, poison)
    sound = [any_project.store_and_approve(user, f"s{number}")["agent_id"] for number in range(3)]
    assert agent_of(any_project, poison)["status"] == "building"

    # It does not count against max_builds.
    claimed = any_project.claim(2)
    assert [row["agent_id"] for row in claimed] == sound[:2]
    (build,) = any_project.builds(poison)
    assert (build["status"], build["attempt"]) == ("failed", 5)
    assert build["finished_at"] is not None
    assert build["message"]
    assert agent_of(any_project, poison)["status"] == "failed"
    event = any_project.events(poison)[-1]
    assert (event["to_status"], event["actor"], event["actor_role"]) == ("failed", None, "service_role")
    assert is_sound(any_project)

    # It counts as failed by its fifth attempt.
    before = any_project.everything()
    assert any_project.fail(fifth, "Too late.") == build
    for call in ("finish_build", "renew_build"):
        with refused("build_lost", "PT409"):
            CALLS[call](any_project, fifth)
    assert any_project.everything() == before


def test_the_fifth_attempt_may_still_succeed_after_its_lease(project: Project) -> None:
    agent_id = project.store_and_approve(project.new_user())["agent_id"]
    fifth = wear_out(project, agent_id)
    assert project.finish(fifth)["status"] == "active"
    assert is_sound(project)


def test_poison_builds_do_not_keep_a_claim_from_a_sound_one(project: Project) -> None:
    user = project.new_user()
    for number in range(12):
        project.store_and_approve(user, f"poison{number}")
    with project.as_superuser() as connection:
        connection.execute(
            "update public.build set status = 'running', attempt = 5, worker = 'dead', started_at = now(),"
            " run_after = now() - interval '1 hour'"
        )
    sound = project.store_and_approve(user, "sound")["agent_id"]
    assert [claimed["agent_id"] for claimed in project.claim(1)] == [sound]
    assert project.claim(1) == []
    given_up = project.rows("select count(*) from public.agent where status = 'failed'")
    assert given_up == [{"count": 12}]
    assert is_sound(project)


# Trying again ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("caller", ["owner", "service role"])
def test_a_failed_agent_is_tried_again(any_project: Project, caller: str) -> None:
    user = any_project.new_user()
    agent_id = start(any_project, user, "failed")["agent_id"]
    by = user if caller == "owner" else None
    agent = any_project.call(by, "retry_build", agent_id=agent_id)
    assert (agent["id"], agent["status"]) == (agent_id, "building")
    failed, queued = any_project.builds(agent_id)
    assert (failed["status"], queued["status"], queued["attempt"]) == ("failed", "queued", 0)
    assert queued["plan_id"] == failed["plan_id"]
    event = any_project.events(agent_id)[-1]
    assert (event["kind"], event["from_status"], event["to_status"]) == (
        "status_changed",
        "failed",
        "building",
    )
    assert event["actor"] == (user.id if caller == "owner" else None)

    before = any_project.everything()
    assert any_project.call(by, "retry_build", agent_id=agent_id) == agent
    assert any_project.everything() == before
    assert is_sound(any_project)
    assert any_project.activate(agent_id)["status"] == "active"


def test_the_attempts_begin_again_with_another_try(project: Project) -> None:
    user = project.new_user()
    agent_id = project.store_and_approve(user)["agent_id"]
    wear_out(project, agent_id)
    project.claim()
    project.call(user, "retry_build", agent_id=agent_id)
    assert project.claim_agent(agent_id)["attempt"] == 1


def test_only_a_failed_agent_is_tried_again(project: Project) -> None:
    user, stranger = project.new_user(), project.new_user()
    agent_id = start(project, user, "succeeded")["agent_id"]
    for caller in (user, None):
        for status in ("active", "paused", "archived"):
            if status != "active" and caller is user:
                project.call(user, "transition_agent", agent_id=agent_id, to_status=status)
            with refused("illegal_transition", "PT409"):
                project.call(caller, "retry_build", agent_id=agent_id)
            if caller is None:
                break
    assert statuses(project, agent_id) == ["succeeded"]
    for caller, unknown in ((stranger, agent_id), (user, uuid4()), (None, uuid4()), (user, None)):
        with refused("agent_not_found", "PT404"):
            project.call(caller, "retry_build", agent_id=unknown)


def test_a_deleted_agent_is_not_tried_again_until_it_is_restored(project: Project) -> None:
    user = project.new_user()
    agent_id = start(project, user, "failed")["agent_id"]
    project.call(user, "delete_agent", agent_id=agent_id)
    for caller in (user, None):
        with refused("agent_deleted", "PT409") as caught:
            project.call(caller, "retry_build", agent_id=agent_id)
        assert str(agent_id) in (caught.value.diag.message_detail or "")
    project.call(user, "restore_agent", agent_id=agent_id)
    assert project.call(user, "retry_build", agent_id=agent_id)["status"] == "building"


# Refused arguments -------------------------------------------------------------------------------------------


def test_a_claim_says_what_is_wrong_in_the_order_of_its_arguments(project: Project) -> None:
    agent_id = project.store_and_approve(project.new_user())["agent_id"]
    before = project.everything()
    for worker in (None, "", "x" * 201):
        with refused("invalid_worker", "PT422"):
            project.claim(0, worker=worker, lease_seconds=0)
    for max_builds in (None, 0, -1, 101):
        with refused("invalid_max_builds", "PT422"):
            project.claim(max_builds, lease_seconds=0)
    for lease_seconds in (None, 4, 0, -1, 3601):
        with refused("invalid_lease_seconds", "PT422"):
            project.claim(1, lease_seconds=lease_seconds)
    assert project.everything() == before
    assert [claimed["agent_id"] for claimed in project.claim(100, worker="x" * 200, lease_seconds=3600)] == [
        agent_id
    ]
    assert project.claim(1, worker="x", lease_seconds=5) == []


def test_a_renewal_says_what_is_wrong_before_it_looks_for_the_build(project: Project) -> None:
    agent_id = project.store_and_approve(project.new_user())["agent_id"]
    claimed = project.claim_agent(agent_id)
    before = project.everything()
    wrong = {"build_id": uuid4(), "attempt": None}
    for build in (claimed, {**claimed, **wrong}):
        for progress in (-1, 101):
            with refused("invalid_progress", "PT422"):
                project.renew(build, progress=progress, lease_seconds=4)
        for lease_seconds in (None, 4, 3601):
            with refused("invalid_lease_seconds", "PT422"):
                project.renew(build, lease_seconds=lease_seconds)
    assert project.everything() == before
    for lease_seconds in (5, 3600):
        assert project.renew(claimed, progress=100, lease_seconds=lease_seconds)["status"] == "running"


# Reading -----------------------------------------------------------------------------------------------------


def test_an_owner_reads_their_builds_while_the_agent_is_there(any_project: Project) -> None:
    owner, stranger = any_project.new_user(), any_project.new_user()
    agent_id = any_project.store_and_approve(owner)["agent_id"]
    any_project.store_and_approve(owner, version=2)

    def seen(user: User) -> int:
        with any_project.as_user(user) as connection:
            return len(connection.execute("select from public.build").fetchall())

    assert (seen(owner), seen(owner.with_claims(client_id="mcp")), seen(stranger)) == (2, 2, 0)
    any_project.call(owner, "delete_agent", agent_id=agent_id)
    assert seen(owner) == 0
    any_project.call(owner, "restore_agent", agent_id=agent_id)
    assert seen(owner) == 3


def test_an_agent_never_becomes_active_by_the_build_of_another_plan(project: Project) -> None:
    """A builder that was replaced does not overwrite the result of the one that replaced it."""
    user = project.new_user()
    agent_id = project.store_and_approve(user)["agent_id"]
    late = project.claim_agent(agent_id, worker="late")
    project.make_due(late["build_id"])
    second = project.claim_agent(agent_id, worker="second")
    with refused("build_lost", "PT409"):
        project.finish(late)
    newer = project.store_and_approve(user, version=2)
    with refused("build_lost", "PT409"):
        project.finish(second)
    assert agent_of(project, agent_id)["status"] == "building"
    assert project.activate(agent_id)["plan_id"] == newer["plan_id"]
    assert project.approve_proposed(user, version=1)["created"] is False
    assert is_sound(project)
