"""What the table plan itself refuses. Shown as a superuser, to whom no grant and no policy applies."""

from datetime import UTC, datetime
from typing import LiteralString

import psycopg
import pytest

from .conftest import STATES, Project, Row

STATUSES = ("proposed", "changes_requested", "rejected", "withdrawn", "approved", "superseded", "archived")


def change(project: Project, plan: Row, assignments: str, *parameters: object) -> None:
    with project.as_superuser() as connection:
        changed = connection.execute(
            f"update public.plan set {assignments} where id = %s".encode(), (*parameters, plan["id"])
        )
        assert changed.rowcount == 1


def test_a_status_changes_from_proposed_and_from_approved_only(
    project: Project, subtests: pytest.Subtests
) -> None:
    """Every status to every other, with a decision, without one and with the one that is there."""
    user = project.new_user()
    for state in STATES:
        with subtests.test(state):
            refuses_every_other_change(project, project.plan_in(user, state, state))


def refuses_every_other_change(project: Project, plan: Row) -> None:
    now = datetime.now(UTC)
    for status in STATUSES:
        if status == plan["status"] or plan["status"] == "proposed":
            continue
        if plan["status"] == "approved" and status in ("superseded", "archived"):
            continue
        for decided_at in {plan["decided_at"], now, None}:
            with pytest.raises(psycopg.Error) as caught:
                change(project, plan, "status = %s, decided_at = %s", status, decided_at)
            assert (caught.value.sqlstate or "")[:2] in ("42", "23"), (status, decided_at)
    assert project.rows("select * from public.plan where id = %s", plan["id"]) == [plan]


@pytest.mark.parametrize(
    ("state", "status"),
    [
        *(("proposed", status) for status in ("changes_requested", "rejected", "withdrawn", "approved")),
        ("approved", "superseded"),
        ("approved", "archived"),
    ],
)
def test_the_changes_that_are_left_are_made(project: Project, state: str, status: str) -> None:
    """What is allowed: without this, the refusals would prove nothing."""
    user = project.new_user()
    plan = project.plan_in(user, state)
    change(project, plan, "status = %s, decided_at = coalesce(decided_at, now())", status)
    assert project.plan(user)["status"] == status


def test_an_undecided_proposal_is_superseded_undecided(project: Project) -> None:
    user = project.new_user()
    plan = project.plan_in(user, "proposed")
    change(project, plan, "status = 'superseded'")
    assert project.plan(user)["decided_at"] is None


@pytest.mark.parametrize("status", STATUSES)
def test_decided_at_agrees_with_the_status_of_every_new_row(project: Project, status: str) -> None:
    """It is null exactly for proposed, and either for superseded."""
    user = project.new_user()
    project.store_and_propose(user)
    if status == "proposed":
        project.decide(user, "withdraw_plan")

    def insert(version: int, decided_at: datetime | None) -> None:
        with project.as_superuser() as connection:
            connection.execute(
                """
                insert into public.plan (
                    user_id, session_id, version, title, document_id, document_path, document_sha256, document_url,
                    status, decided_at
                )
                select user_id, session_id, %s, title, document_id, document_path, document_sha256, document_url,
                    %s, %s
                from public.plan where version = 1
                """,
                (version, status, decided_at),
            )

    now = datetime.now(UTC)
    if status != "superseded":
        with pytest.raises(psycopg.errors.CheckViolation):
            insert(2, now if status == "proposed" else None)
    else:
        insert(2, now)
    insert(3, None if status in ("proposed", "superseded") else now)


REWRITES: dict[str, LiteralString] = {
    "id": "gen_random_uuid()",
    "user_id": "gen_random_uuid()",
    "session_id": "'other'",
    "version": "version + 10",
    "title": "'Another title'",
    "document_id": "gen_random_uuid()",
    "document_path": "document_path || 'x'",
    "document_sha256": "repeat('0', 64)",
    "document_url": "'https://other'",
    "created_at": "now() - interval '1 day'",
    "proposed_by": "'another'",
    "expires_at": "now() + interval '1 day'",
    "team_id": "gen_random_uuid()",
}


def test_what_a_plan_says_is_never_rewritten(project: Project, subtests: pytest.Subtests) -> None:
    user = project.new_user()
    for state in STATES:
        plan = project.plan_in(user, state, state)
        for column, value in REWRITES.items():
            with subtests.test(state, column=column), pytest.raises(psycopg.errors.InsufficientPrivilege):
                change(project, plan, f"{column} = {value}")
        for column in ("proposed_by", "expires_at"):
            if plan[column] is not None:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    change(project, plan, f"{column} = null")
        assert project.plan(user, state) == plan


def test_a_decision_does_not_rewrite_the_plan_on_its_way(project: Project) -> None:
    user = project.new_user()
    plan = project.plan_in(user, "proposed")
    for column, value in REWRITES.items():
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            change(project, plan, f"status = 'approved', decided_at = now(), {column} = {value}")


def test_a_decision_is_not_rewritten(project: Project, subtests: pytest.Subtests) -> None:
    """Nor is one written into a plan that was not decided, where no status changes with it."""
    user = project.new_user()
    for state in STATES:
        plan = project.plan_in(user.with_claims(aal="aal1"), state, state)
        changes = ["decided_at = now() - interval '1 day'", "comment = 'another'"]
        changes += ["decided_aal = 'another'", "decided_via = 'another'", "decided_by = gen_random_uuid()"]
        changes += [
            f"{column} = null"
            for column in ("decided_at", "decided_by", "decided_aal", "decided_via", "comment")
            if plan[column] is not None
        ]
        for rewrite in changes:
            with subtests.test(state, rewrite=rewrite):
                with pytest.raises(psycopg.Error) as caught:
                    change(project, plan, rewrite)
                assert (caught.value.sqlstate or "")[:2] in ("42", "23")
        assert project.plan(user, state) == plan


@pytest.mark.parametrize("status", ["superseded", "archived"])
def test_what_follows_an_approval_keeps_its_decision(project: Project, status: str) -> None:
    user = project.new_user()
    plan = project.plan_in(user, "approved")
    for rewrite in (
        *("decided_at = null", "decided_at = now()", "comment = 'other'"),
        *("decided_aal = 'other'", "decided_via = 'other'", "decided_via = null"),
    ):
        with pytest.raises(psycopg.Error) as caught:
            change(project, plan, f"status = %s, {rewrite}", status)
        assert (caught.value.sqlstate or "")[:2] in ("42", "23"), rewrite
    change(project, plan, "status = %s", status)
    after = project.plan(user)
    assert (after["status"], after["decided_at"]) == (status, plan["decided_at"])


def test_a_replaced_proposal_is_not_made_to_look_approved(project: Project) -> None:
    """decided_at distinguishes plans that were approved once from those that were superseded undecided."""
    user = project.new_user()
    plan = project.plan_in(user, "proposed")
    with pytest.raises(psycopg.Error):
        change(project, plan, "status = 'superseded', decided_at = now()")
    change(project, plan, "status = 'superseded'")
    with pytest.raises(psycopg.Error):
        change(project, plan, "decided_at = now()")
    assert project.plan(user)["decided_at"] is None


@pytest.mark.parametrize("status", ["proposed", "approved"])
def test_a_session_has_at_most_one_of_each(project: Project, status: str) -> None:
    user = project.new_user()
    project.plan_in(user, status)
    decided_at = "null" if status == "proposed" else "now()"

    def another(session: str) -> None:
        with project.as_superuser() as connection:
            connection.execute(
                f"""
                insert into public.plan (
                    user_id, session_id, version, title, document_id, document_path, document_sha256, document_url,
                    status, decided_at
                )
                select user_id, '{session}', 2, title, document_id,
                    user_id || '/{session}/' || document_sha256 || '.md', document_sha256, document_url,
                    '{status}', {decided_at}
                from public.plan
                """.encode()
            )

    with pytest.raises(psycopg.errors.UniqueViolation):
        another("s1")
    another("s2")


@pytest.mark.parametrize("status", ["done", "expired", "", "Approved"])
def test_there_is_no_other_status(project: Project, status: str) -> None:
    user = project.new_user()
    plan = project.plan_in(user, "proposed")
    with pytest.raises(psycopg.errors.CheckViolation):
        change(project, plan, "status = %s, decided_at = now()", status)
