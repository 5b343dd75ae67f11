"""approve_plan(): what it makes, what it answers again, what it refuses, and in which order."""

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from tests.plan import BAD_SESSIONS, BAD_SHA256S, BAD_TITLES, VALID_TITLES, is_seen, sha256

from .conftest import Project, Row, User, refused


def test_an_approval_makes_one_plan_one_agent_and_one_event(project: Project) -> None:
    user = project.new_user()
    digest = project.store(user)
    answer = project.approve(user, title="  Ship it \u3000")

    (plan,) = project.rows("select * from public.plan")
    (agent,) = project.rows("select * from public.agent")
    (event,) = project.rows("select * from public.agent_event")
    assert answer == {
        "plan_id": plan["id"],
        "agent_id": agent["id"],
        "agent_status": "building",
        "version": 1,
        "created": True,
    }
    assert (plan["user_id"], plan["session_id"], plan["title"], plan["status"]) == (
        user.id,
        "s1",
        "Ship it",
        "approved",
    )
    assert plan["document_path"] == user.path("s1", digest)
    assert plan["document_url"].endswith(f"/object/sign/plans/{user.path('s1', digest)}?token=t")
    assert (agent["user_id"], agent["plan_id"], agent["name"], agent["status"]) == (
        user.id,
        plan["id"],
        "Ship it",
        "building",
    )
    assert (event["kind"], event["from_status"], event["to_status"]) == ("approved", None, "building")
    assert (event["actor"], event["actor_role"]) == (user.id, "authenticated")
    assert (event["agent_id"], event["plan_id"], event["version"], event["document_sha256"]) == (
        agent["id"],
        plan["id"],
        1,
        digest,
    )


def test_the_same_again_is_a_replay_that_writes_nothing(project: Project) -> None:
    user = project.new_user()
    project.store(user)
    first = project.approve(user)
    before = everything(project)

    again = project.approve(user, title="Another title", document_url=None)

    assert again == {**first, "created": False}
    assert everything(project) == before


def test_an_old_version_is_still_a_replay_after_newer_ones(project: Project) -> None:
    user = project.new_user()
    first = project.store_and_approve(user, version=1)
    newest = project.store_and_approve(user, version=7)

    again = project.approve(user, version=1, document="# s1 1")

    assert again == {**first, "created": False}
    assert newest["agent_id"] == first["agent_id"]


def test_a_higher_version_moves_the_agent_and_supersedes_the_plan(project: Project) -> None:
    user = project.new_user()
    first = project.store_and_approve(user, version=1, title="One")
    project.activate(first["agent_id"])
    second = project.store_and_approve(user, version=4, title="x" * 300)

    assert second["created"] is True
    assert second["agent_id"] == first["agent_id"]
    plans = project.rows("select version, status from public.plan order by version")
    assert plans == [{"version": 1, "status": "superseded"}, {"version": 4, "status": "approved"}]
    (agent,) = project.rows("select plan_id, name, status from public.agent")
    assert agent == {"plan_id": second["plan_id"], "name": "x" * 200, "status": "building"}
    kinds = [
        (event["kind"], event["from_status"], event["to_status"])
        for event in project.events(first["agent_id"])
    ]
    assert kinds == [
        ("approved", None, "building"),
        ("status_changed", "building", "active"),
        ("revised", "active", "building"),
    ]


def test_two_users_may_have_the_same_session(project: Project) -> None:
    one, two = project.new_user(), project.new_user()
    assert project.store_and_approve(one)["agent_id"] != project.store_and_approve(two)["agent_id"]


# Refusals ----------------------------------------------------------------------------------------------------

# How approve_plan() and propose_plan() are called with one more argument. Both get all that is wrong.
CALLERS: dict[str, Callable[..., Row]] = {
    "approve": Project.approve,
    "propose": Project.propose,
    "propose as the service role": partial(Project.propose, service_role=True),
}
WRONG: dict[str, tuple[str, tuple[object, ...]]] = {
    "session": ("invalid_session_id", (None, *BAD_SESSIONS)),
    "version": ("invalid_version", (None, 0, -1)),
    "title": ("invalid_title", (None, *BAD_TITLES)),
    "document_sha256": ("invalid_document_sha256", BAD_SHA256S),
}


@pytest.mark.parametrize("call", CALLERS)
def test_a_wrong_argument_is_refused_and_nothing_is_written(project: Project, call: str) -> None:
    user = project.new_user()
    project.store(user)
    for name, (code, values) in WRONG.items():
        for value in values:
            with refused(code, "PT422"):
                CALLERS[call](project, user, **{name: value})
                pytest.fail(f"{name}: {value!a}")
    assert project.rows("select from public.plan") == []
    assert CALLERS[call](project, user)["created"] is True


def test_an_unusual_title_is_kept_as_it_is_but_for_white_space_around_it(project: Project) -> None:
    user = project.new_user()
    titles = ("x" * 500, "\U0001f680" * 500, "\u2003 padded\t\n", *VALID_TITLES, "a.b/c'\"--;$$")
    for number, title in enumerate(titles):
        session = f"s{number}"
        project.store(user, session)
        project.approve(user, session, title=title)
        assert project.plan(user, session)["title"] == title.strip()
        (agent,) = project.rows("select name from public.agent where session_id = %s", session)
        assert agent["name"] == title.strip()[:200]


def test_the_url_must_be_a_signed_url_of_the_very_document(project: Project) -> None:
    user, other = project.new_user(), project.new_user()
    digest = project.store(user)
    path = user.path("s1", digest)
    good = f"https://x.example/storage/v1/object/sign/plans/{path}?token=abc"
    for url in (
        "",
        "javascript:alert(1)//object/sign/plans/" + path + "?token=a",
        good.replace("https://", "ftp://"),
        good.replace("/plans/", "/other/"),
        good.replace(path, other.path("s1", digest)),
        good.replace(".md?", "xmd?"),
        good.replace("?token=abc", ""),
        good.replace("?token=abc", "?token="),
        good.replace("?token=", "?t="),
        good + "\n",
        good + " x",
        good + "a" * (2049 - len(good)),
        f"https://x.example/?x=/object/sign/plans/{path}?token=abc",
    ):
        with refused("invalid_document_url", "PT422"):
            project.approve(user, document_url=url or "x")
    assert project.approve(user, document_url=good + "a" * (2048 - len(good)))["created"] is True


def test_a_document_that_is_not_there_is_not_approved(project: Project) -> None:
    user, other = project.new_user(), project.new_user()
    project.store(other)
    with refused("document_not_found", "PT404"):
        project.approve(user)
    project.store(user, session="s2")
    with refused("document_not_found", "PT404"):
        project.approve(user, session="s1")
    assert project.rows("select from public.plan") == []


def test_another_document_for_an_approved_version_is_a_conflict(project: Project) -> None:
    user = project.new_user()
    project.store_and_approve(user)
    project.store(user, document="# Other")
    with refused("plan_conflict", "PT409"):
        project.approve(user, document="# Other")
    assert project.approve(user, version=2, document="# Other")["created"] is True


def test_a_version_below_the_newest_is_stale_and_the_newest_is_named(project: Project) -> None:
    user = project.new_user()
    project.store_and_approve(user, version=3)
    project.store_and_approve(user, version=12)
    project.store(user, document="# Late")
    with refused("plan_stale", "PT409") as caught:
        project.approve(user, version=5, document="# Late")
    assert "12" in (caught.value.diag.message_detail or "")


def test_a_deleted_agent_refuses_even_replays_and_names_itself(project: Project) -> None:
    user = project.new_user()
    agent_id = project.store_and_approve(user)["agent_id"]
    project.call(user, "delete_agent", agent_id=agent_id)
    with refused("agent_deleted", "PT409") as caught:
        project.approve(user, document="# s1 1")
    assert str(agent_id) in (caught.value.diag.message_detail or "")
    project.call(user, "restore_agent", agent_id=agent_id)
    assert project.approve(user, document="# s1 1")["created"] is False


def test_an_archived_agent_answers_replays_and_takes_nothing_new(project: Project) -> None:
    user = project.new_user()
    first = project.store_and_approve(user)
    project.call(user, "transition_agent", agent_id=first["agent_id"], to_status="archived")
    replay = project.approve(user, document="# s1 1")
    assert replay == {**first, "agent_status": "archived", "created": False}
    project.store(user, document="# New")
    with refused("agent_archived", "PT409"):
        project.approve(user, version=2, document="# New")


def test_an_unknown_and_a_deleted_user_are_not_authenticated(project: Project) -> None:
    user = project.new_user()
    project.store(user)
    with refused("not_authenticated", "PT401"):
        project.approve(User(uuid4()))
    project.delete_user(user)
    with refused("not_authenticated", "PT401"):
        project.approve(user)


def test_of_several_errors_the_first_in_order_is_told(project: Project) -> None:
    user = project.new_user()
    with refused("not_authenticated", "PT401"):
        project.approve(User(uuid4()), session="/", version=0)
    wrong: dict[str, Any] = {
        "session": "/",
        "version": 0,
        "title": "",
        "document_sha256": "x",
        "document_url": "x",
    }
    right = {"session": "s1", "version": 2, "title": "A plan", "document_sha256": sha256("# new")}
    for code, name in (
        ("invalid_session_id", "session"),
        ("invalid_version", "version"),
        ("invalid_title", "title"),
        ("invalid_document_sha256", "document_sha256"),
    ):
        with refused(code, "PT422"):
            project.approve(user, **wrong)
        wrong[name] = right[name]
    with refused("invalid_document_url", "PT422"):
        project.approve(user, **wrong)

    # Nothing is stored for any of these, and still document_not_found comes last.
    agent_id = project.store_and_approve(user, version=5)["agent_id"]
    with refused("plan_stale", "PT409"):
        project.approve(user, version=2, document="# new")
    project.call(user, "transition_agent", agent_id=agent_id, to_status="archived")
    with refused("agent_archived", "PT409"):
        project.approve(user, version=2, document="# new")
    with refused("plan_conflict", "PT409"):
        project.approve(user, version=5, document="# new")
    project.call(user, "delete_agent", agent_id=agent_id)
    with refused("agent_deleted", "PT409"):
        project.approve(user, version=5, document="# new")
    with refused("invalid_title", "PT422"):
        project.approve(user, version=5, title="", document="# new")


def test_a_title_of_one_character_is_judged_by_whether_it_can_be_seen(project: Project) -> None:
    """Each code point that Postgres can store; Unicode 15 made U+13439 to U+1343F format characters."""
    (row,) = project.rows(
        """
        select array_agg(c) as taken from generate_series(1, x'10FFFF'::integer) as c
        where c not between x'D800'::integer and x'DFFF'::integer
            and c not between x'13439'::integer and x'1343F'::integer
            and greenlight.clean_title(chr(c)) is not null
        """
    )
    bidi = {*range(0x202A, 0x202F), *range(0x2066, 0x206A)}
    codes = {*range(1, sys.maxunicode + 1)} - {*range(0xD800, 0xE000), *range(0x13439, 0x13440)}
    assert set(row["taken"]) == {code for code in codes if is_seen(chr(code)) and code not in bidi}


# Races -------------------------------------------------------------------------------------------------------


def test_fifty_approvals_at_once_make_one_agent_and_give_one_answer(project: Project) -> None:
    user = project.new_user()
    project.store(user)
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: project.approve(user), range(50)))
    assert len({(answer["plan_id"], answer["agent_id"]) for answer in answers}) == 1
    assert sum(answer["created"] for answer in answers) == 1
    for table in ("plan", "agent", "agent_event"):
        (count,) = project.rows(f"select count(*) from public.{table}")
        assert count["count"] == 1, table


def test_eight_versions_racing_make_one_agent_on_the_newest(project: Project) -> None:
    user = project.new_user()
    for version in range(1, 9):
        project.store(user, document=f"# {version}")

    def approve(version: int) -> object:
        try:
            return project.approve(user, version=version, document=f"# {version}")["agent_id"]
        except Exception as error:  # noqa: BLE001 - the race decides who is stale; anything else fails below
            return str(error).splitlines()[0]

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(approve, range(1, 9)))

    (agent,) = project.rows(
        "select a.id, p.version from public.agent a join public.plan p on p.id = a.plan_id"
    )
    assert agent["version"] == 8
    assert {outcome for outcome in outcomes if outcome != "plan_stale"} == {agent["id"]}
    approved = project.rows("select version from public.plan where status = 'approved'")
    assert approved == [{"version": 8}]


def everything(project: Project) -> list[list[dict[str, Any]]]:
    return [
        project.rows("select *, xmin::text from public.plan order by id"),
        project.rows("select *, xmin::text from public.agent order by id"),
        project.rows("select *, xmin::text from public.agent_event order by id"),
    ]
