"""claim_builds(): what it hands out, in which order, and that it waits for no lock."""

import pytest
from psycopg.types.json import Jsonb

from tests.plan import sha256

from .builds import LOCKED, agent_of, is_sound, seconds, wear_out
from .conftest import Project, document_of, refused, signed_url


def test_a_claim_hands_out_what_a_builder_needs(project: Project) -> None:
    user = project.new_user()
    approval = project.store_and_approve(user, version=3, title="Ship it")
    plan = project.plan(user, version=3)
    (claimed,) = project.claim(5, worker="w" * 200, lease_seconds=30)
    (build,) = project.rows("select * from public.build")
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
        "max_attempts": 5,
        "team_id": None,
        "comment": None,
        "comments": None,
    }
    assert (build["status"], build["attempt"], build["worker"]) == ("running", 1, "w" * 200)
    assert build["started_at"] is not None
    assert build["finished_at"] is None
    assert 29 < seconds(project, build["id"], "started_at") < 31
    # A claim changes nothing of the agent, and is no event.
    assert agent_of(project, approval["agent_id"])["status"] == "building"
    assert len(project.events(approval["agent_id"])) == 1
    assert is_sound(project)


def test_a_claim_hands_out_the_words_of_the_approval(project: Project) -> None:
    user = project.new_user()
    project.store_and_propose(user)
    note = {"start": 0, "end": 1, "exact": "#", "body": "Keep this heading."}
    project.approve_proposed(user, comment="Ship it on Monday.", comments=Jsonb([note]))
    (claimed,) = project.claim(1)
    assert (claimed["comment"], claimed["comments"]) == ("Ship it on Monday.", [note])


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
