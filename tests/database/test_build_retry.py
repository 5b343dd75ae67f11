"""Attempts that fail or die, builds that are given up, and another try."""

from uuid import uuid4

import psycopg
import pytest

from .builds import CALLS, agent_of, is_sound, seconds, start, statuses, wear_out
from .conftest import Project, refused


def test_a_failed_attempt_is_tried_again_after_a_wait_that_grows_fourfold(project: Project) -> None:
    """10 s times 4 to the power of attempt - 1, by the clock of the database; by default the fifth is the last."""
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


@pytest.mark.parametrize("most", [1, 2, 20])
def test_a_build_is_tried_as_often_as_the_setting_said_when_it_was_made(project: Project, most: int) -> None:
    user = project.new_user()
    before = project.store_and_approve(user, "before")["agent_id"]
    project.change_setting(max_attempts=most)
    agent_id, poison = (project.store_and_approve(user, session)["agent_id"] for session in ("s1", "poison"))
    project.change_setting(max_attempts=7)

    for attempt in range(1, most + 1):
        claimed = project.claim_agent(agent_id)
        assert (claimed["attempt"], claimed["max_attempts"]) == (attempt, most)
        assert project.fail(claimed)["status"] == ("queued" if attempt < most else "failed")

    # The same for builders that die.
    wear_out(project, poison)
    project.claim_agent(before)
    (build,) = project.builds(poison)
    assert (build["status"], build["attempt"]) == ("failed", most)
    assert build["message"] == f"No builder finished attempt {most} of {most}."

    assert project.builds(before)[0]["max_attempts"] == 5
    # Another try is another build.
    project.call(user, "retry_build", agent_id=agent_id)
    assert project.claim_agent(agent_id)["max_attempts"] == 7
    assert is_sound(project)


def test_the_pause_is_never_longer_than_six_hours(project: Project) -> None:
    project.change_setting(max_attempts=20)
    agent_id = project.store_and_approve(project.new_user())["agent_id"]
    waits = []
    for _ in range(19):
        build = project.fail(project.claim_agent(agent_id))
        waits.append(round(seconds(project, build["id"], "updated_at"), -1))
    assert waits == [10, 40, 160, 640, 2560, 10240, *[21600] * 13]


@pytest.mark.parametrize("most", [0, -1, 21, None])
def test_no_project_tries_a_build_never_or_without_end(project: Project, most: int | None) -> None:
    with pytest.raises((psycopg.errors.CheckViolation, psycopg.errors.NotNullViolation)):
        project.change_setting(max_attempts=most)
    project.store_and_approve(project.new_user())
    assert project.claim()[0]["max_attempts"] == 5


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


def test_a_build_that_kills_its_builders_is_given_up_at_the_sixth_claim(project: Project) -> None:
    user = project.new_user()
    poison = project.store_and_approve(user, "poison")["agent_id"]
    fifth = wear_out(project, poison)
    sound = [project.store_and_approve(user, f"s{number}")["agent_id"] for number in range(3)]
    assert agent_of(project, poison)["status"] == "building"

    # It does not count against max_builds.
    claimed = project.claim(2)
    assert [row["agent_id"] for row in claimed] == sound[:2]
    (build,) = project.builds(poison)
    assert (build["status"], build["attempt"]) == ("failed", 5)
    assert build["finished_at"] is not None
    assert build["message"]
    assert agent_of(project, poison)["status"] == "failed"
    event = project.events(poison)[-1]
    assert (event["to_status"], event["actor"], event["actor_role"]) == ("failed", None, "service_role")
    assert is_sound(project)

    # It counts as failed by its fifth attempt.
    before = project.everything()
    assert project.fail(fifth, "Too late.") == build
    for call in ("finish_build", "renew_build"):
        with refused("build_lost", "PT409"):
            CALLS[call](project, fifth)
    assert project.everything() == before


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


@pytest.mark.parametrize("caller", ["owner", "service role"])
def test_a_failed_agent_is_tried_again(project: Project, caller: str) -> None:
    user = project.new_user()
    agent_id = start(project, user, "failed")["agent_id"]
    by = user if caller == "owner" else None
    agent = project.call(by, "retry_build", agent_id=agent_id)
    assert (agent["id"], agent["status"]) == (agent_id, "building")
    failed, queued = project.builds(agent_id)
    assert (failed["status"], queued["status"], queued["attempt"]) == ("failed", "queued", 0)
    assert queued["plan_id"] == failed["plan_id"]
    event = project.events(agent_id)[-1]
    assert (event["kind"], event["from_status"], event["to_status"]) == (
        "status_changed",
        "failed",
        "building",
    )
    assert event["actor"] == (user.id if caller == "owner" else None)

    before = project.everything()
    assert project.call(by, "retry_build", agent_id=agent_id) == agent
    assert project.everything() == before
    assert is_sound(project)
    assert project.activate(agent_id)["status"] == "active"


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
