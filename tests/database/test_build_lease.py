"""Leases: how long they last, whose attempt counts, and what a builder reports meanwhile."""

from datetime import UTC, datetime, timedelta
from itertools import product
from uuid import uuid4

import pytest

from .builds import CALLS, cancel, is_sound, seconds
from .conftest import Project, refused


def test_a_lease_lasts_sixty_seconds_when_nothing_is_said(project: Project) -> None:
    project.store_and_approve(project.new_user())
    with project.as_service_role() as connection:
        (claimed,) = connection.execute("select * from public.claim_builds('a test')").fetchall()
        assert connection.execute("select * from public.claim_builds('a test')").fetchall() == []
    assert 59 < seconds(project, claimed["build_id"], "started_at") < 61


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


@pytest.mark.parametrize("call", CALLS)
def test_a_lease_that_has_ended_unclaimed_is_still_its_builders(project: Project, call: str) -> None:
    agent_id = project.store_and_approve(project.new_user())["agent_id"]
    claimed = project.claim_agent(agent_id)
    project.make_due(claimed["build_id"])
    CALLS[call](project, claimed)
    (build,) = project.builds(agent_id)
    assert build["status"] == {"renew_build": "running", "finish_build": "succeeded"}.get(call, "queued")
    assert is_sound(project)


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
