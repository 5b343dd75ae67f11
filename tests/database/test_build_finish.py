"""A build from its approval to its end: by its builder, or because its plan or its agent went."""

import json
from functools import partial

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from greenlight.builder import BuildFailed
from greenlight.builder.result import check

from .builds import CALLS, OPEN, agent_of, cancel, is_sound, start, statuses
from .conftest import Project, User, refused


def test_an_approval_queues_its_build(project: Project) -> None:
    user = project.new_user()
    approval = project.store_and_approve(user)
    (build,) = project.rows("select * from public.build")
    assert (build["user_id"], build["agent_id"], build["plan_id"]) == (
        user.id,
        approval["agent_id"],
        approval["plan_id"],
    )
    assert (build["status"], build["attempt"]) == ("queued", 0)
    for column in ("worker", "progress", "message", "started_at", "finished_at"):
        assert build[column] is None, column
    (due,) = project.rows("select run_after <= clock_timestamp() as now from public.build")
    assert due["now"]
    assert is_sound(project)


def test_a_replay_queues_nothing(project: Project) -> None:
    user = project.new_user()
    agent_id = project.store_and_approve(user)["agent_id"]
    project.approve_proposed(user)
    assert statuses(project, agent_id) == ["queued"]
    project.activate(agent_id)
    project.approve_proposed(user)
    assert statuses(project, agent_id) == ["succeeded"]


def test_finishing_makes_the_agent_active(project: Project) -> None:
    user = project.new_user()
    approval = project.store_and_approve(user)
    claimed = project.claim_agent(approval["agent_id"])
    agent = project.finish(claimed)
    assert (agent["id"], agent["status"], agent["plan_id"]) == (
        approval["agent_id"],
        "active",
        approval["plan_id"],
    )
    (build,) = project.builds(approval["agent_id"])
    assert (build["status"], build["attempt"]) == ("succeeded", 1)
    assert build["created_at"] <= build["started_at"] <= build["finished_at"]
    event = project.events(approval["agent_id"])[-1]
    assert (event["kind"], event["from_status"], event["to_status"]) == (
        "status_changed",
        "building",
        "active",
    )
    assert (event["actor"], event["actor_role"]) == (None, "service_role")
    assert is_sound(project)


RESULTS: list[dict[str, object]] = [
    {},
    {"url": "https://example.com/made", "summary": "Three pages."},
    {"nested": {"list": [1, None, True, "\u2028 <script> \U0001f680"]}, "n": 1.0},
    {"x": "y" * (16_384 - len('{"x": ""}'))},
]


@pytest.mark.parametrize("result", RESULTS, ids=["empty", "url", "nested", "largest"])
def test_a_result_is_kept_and_its_owner_reads_it(project: Project, result: dict[str, object]) -> None:
    user, stranger = project.new_user(), project.new_user()
    claimed = project.claim_agent(project.store_and_approve(user)["agent_id"])
    assert project.finish(claimed, result=Jsonb(result))["status"] == "active"
    for reader, seen in ((user, [{"result": result}]), (stranger, [])):
        with project.as_user(reader) as connection:
            assert connection.execute("select result from public.build").fetchall() == seen

    # A repeat ignores the result.
    before = project.everything()
    for again in ({"another": 1}, None):
        project.finish(claimed, result=Jsonb(again) if again else None)
    assert project.everything() == before
    assert is_sound(project)


NO_RESULTS: list[object] = ["[]", '"text"', "1", "true", "null", '[{"url": "x"}]']
TOO_LARGE: list[object] = [
    Jsonb({"x": "y" * 16_376}),
    Jsonb({"x": "\u00e9" * 8_200}),
    Jsonb({"n": [0] * 6_000}),
]


@pytest.mark.parametrize("result", NO_RESULTS + TOO_LARGE, ids=lambda value: str(value)[:20])
def test_what_is_no_object_or_too_large_is_no_result(project: Project, result: object) -> None:
    claimed = project.claim_agent(project.store_and_approve(project.new_user())["agent_id"])
    before = project.everything()
    for build in (claimed, {**claimed, "attempt": 7}):
        with refused("invalid_result", "PT422"):
            project.finish(build, result=result)
    with pytest.raises(psycopg.errors.CheckViolation), project.as_superuser() as connection:
        connection.execute("update public.build set result = %s", (result,))
    assert project.everything() == before
    assert project.finish(claimed)["status"] == "active"
    assert project.rows("select result from public.build") == [{"result": None}]


@pytest.mark.parametrize("result", ['{"x": "\\u0000"}', '{"x": "\\ud800"}', '{"x": 1', '{"x": 1e400000}'])
def test_what_jsonb_cannot_hold_is_refused_by_postgres(project: Project, result: str) -> None:
    """A NUL, half of a surrogate pair, half of an object, a number without end: the build can still be finished."""
    claimed = project.claim_agent(project.store_and_approve(project.new_user())["agent_id"])
    before = project.everything()
    with pytest.raises(psycopg.errors.DataError):
        project.finish(claimed, result=result)
    assert project.everything() == before
    assert project.finish(claimed, result='{"x": 1}')["status"] == "active"


TEXT = st.text(st.characters()) | st.sampled_from(["\0", "\ud83d", "\\u0000", "\u2028", "[{"])
VALUE = st.recursive(
    st.none() | st.integers() | st.floats() | st.sampled_from([float("nan"), 10**400, 1e300]) | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
)


@settings(
    derandomize=True,
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(result=st.dictionaries(TEXT, VALUE) | VALUE)
def test_jsonb_holds_whatever_the_builder_takes_for_a_result(project: Project, result: object) -> None:
    try:
        taken = check(result)
    except BuildFailed as refusal:
        assert str(refusal).startswith("The result ")
        return
    (row,) = project.rows(
        "select r::text as held, jsonb_typeof(r) as type from (select %s::jsonb) as x (r)", Jsonb(taken)
    )
    as_floats = partial(json.loads, parse_int=float)  # jsonb writes out an exponent
    assert (row["type"], as_floats(row["held"])) == ("object", as_floats(json.dumps(taken)))


def test_the_result_is_there_when_the_agent_becomes_active(project: Project) -> None:
    """A trigger of the project's own reads it, in the same transaction."""
    claimed = project.claim_agent(project.store_and_approve(project.new_user())["agent_id"])
    with project.as_superuser() as connection:
        connection.execute(
            """
            create table public.told (result jsonb);
            create function public.tell() returns trigger language plpgsql as $$
            begin
                insert into public.told select result from public.build where agent_id = new.id;
                return null;
            end $$;
            create trigger tell after update on public.agent for each row execute function public.tell();
            grant all on public.told to postgres;
            """
        )
    project.finish(claimed, result=Jsonb({"url": "https://example.com"}))
    assert project.rows("select * from public.told") == [{"result": {"url": "https://example.com"}}]


def test_failing_for_good_fails_the_agent(project: Project) -> None:
    user = project.new_user()
    agent_id = project.store_and_approve(user)["agent_id"]
    row = project.fail(project.claim_agent(agent_id), "No such tool.", retry=False)
    (build,) = project.builds(agent_id)
    assert row == build
    assert (build["status"], build["message"], build["attempt"]) == ("failed", "No such tool.", 1)
    assert build["finished_at"] is not None
    assert agent_of(project, agent_id)["status"] == "failed"
    event = project.events(agent_id)[-1]
    assert (event["kind"], event["from_status"], event["to_status"]) == (
        "status_changed",
        "building",
        "failed",
    )
    assert (event["actor"], event["actor_role"]) == (None, "service_role")
    assert project.claim(100) == []
    assert is_sound(project)


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


def test_building_ends_by_the_builder_only(project: Project) -> None:
    """The earlier transition to active, by naming the plan, bypassed the fencing and was removed."""
    user = project.new_user()
    approval = project.store_and_approve(user)
    agent_id = approval["agent_id"]
    before = project.everything()
    for caller in (user, None):
        for status in ("active", "paused", "failed"):
            with refused("illegal_transition", "PT409"):
                project.call(caller, "transition_agent", agent_id=agent_id, to_status=status)
        with pytest.raises(psycopg.errors.UndefinedFunction):
            project.call(
                caller,
                "transition_agent",
                agent_id=agent_id,
                to_status="active",
                plan_id=approval["plan_id"],
            )
    assert project.everything() == before


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


def test_an_owner_reads_their_builds_while_the_agent_is_there(project: Project) -> None:
    owner, stranger = project.new_user(), project.new_user()
    agent_id = project.store_and_approve(owner)["agent_id"]
    project.store_and_approve(owner, version=2)

    def seen(user: User) -> int:
        with project.as_user(user) as connection:
            return len(connection.execute("select from public.build").fetchall())

    assert (seen(owner), seen(owner.with_claims(client_id="mcp")), seen(stranger)) == (2, 2, 0)
    project.call(owner, "delete_agent", agent_id=agent_id)
    assert seen(owner) == 0
    project.call(owner, "restore_agent", agent_id=agent_id)
    assert seen(owner) == 3


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
