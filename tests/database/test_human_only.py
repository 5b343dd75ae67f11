"""Only the owner's own session decides: a token with a client_id, whatever its value, is an agent acting for them.

Each refusal stands beside the same call by the human.
"""

import json
from collections.abc import Callable
from typing import Any, cast
from uuid import uuid4

import psycopg
import pytest

from .conftest import Project, User, denied, document_of, refused
from .invariants import broken_invariants

# Any value but null counts.
DISGUISES: dict[str, object] = {
    "an id": "3b1d8e07-5f4e-4d0c-9f6b-2b8f6f9c1d11",
    "an id in upper case": "3B1D8E07-5F4E-4D0C-9F6B-2B8F6F9C1D11",
    "empty": "",
    "blank": " ",
    "the word null": "null",
    "the word user": "user",
    "the word service_role": "service_role",
    "zero": 0,
    "a number": 5,
    "false": False,
    "true": True,
    "an empty array": [],
    "an array of null": [None],
    "an array": ["trusted"],
    "an empty object": {},
    "an object": {"client_id": None},
}


def approve_directly(project: Project, user: User, agent_id: object) -> object:
    return project.approve(user, version=3, document=document_of("s1", 3))


def approve_proposed(project: Project, user: User, agent_id: object) -> object:
    return project.approve_proposed(user, version=2)


def replay(project: Project, user: User, agent_id: object) -> object:
    return project.approve_proposed(user, version=1)


def request_changes(project: Project, user: User, agent_id: object) -> object:
    return project.decide(user, "request_changes", version=2)


def reject_plan(project: Project, user: User, agent_id: object) -> object:
    return project.decide(user, "reject_plan", version=2)


def pause(project: Project, user: User, agent_id: object) -> object:
    return project.call(user, "transition_agent", agent_id=agent_id, to_status="paused")


def archive(project: Project, user: User, agent_id: object) -> object:
    return project.call(user, "transition_agent", agent_id=agent_id, to_status="archived")


def keep_status(project: Project, user: User, agent_id: object) -> object:
    return project.call(user, "transition_agent", agent_id=agent_id, to_status="active")


def delete_agent(project: Project, user: User, agent_id: object) -> object:
    return project.call(user, "delete_agent", agent_id=agent_id)


def restore_agent(project: Project, user: User, agent_id: object) -> object:
    return project.call(user, "restore_agent", agent_id=agent_id)


def retry_build(project: Project, user: User, agent_id: object) -> object:
    return project.call(user, "retry_build", agent_id=agent_id)


HUMAN_CALLS: dict[str, Callable[[Project, User, object], object]] = {
    call.__name__: call
    for call in (
        approve_directly,
        approve_proposed,
        replay,
        request_changes,
        reject_plan,
        pause,
        archive,
        keep_status,
        delete_agent,
        restore_agent,
        retry_build,
    )
}


def story(project: Project, user: User, call: str) -> object:
    """An active agent of version 1, version 2 proposed, the document of version 3 stored: each call has its object."""
    agent_id = project.store_and_approve(user, version=1)["agent_id"]
    if call == "retry_build":
        project.fail(project.claim_agent(agent_id), retry=False)
    else:
        project.activate(agent_id)
    project.store_and_propose(user, version=2)
    project.store(user, document=document_of("s1", 3))
    return agent_id


@pytest.mark.parametrize("call", HUMAN_CALLS)
def test_an_oauth_client_decides_nothing(project: Project, call: str) -> None:
    user = project.new_user()
    agent_id = story(project, user, call)
    before = project.everything()
    for disguise in DISGUISES.values():
        with refused("human_required", "PT403"):
            HUMAN_CALLS[call](project, user.with_claims(client_id=disguise), agent_id)
    assert project.everything() == before
    assert HUMAN_CALLS[call](project, user, agent_id)


def test_an_agent_does_not_approve_its_own_plan(project: Project) -> None:
    """It proposes. Whatever it calls then, there is no agent until the human has approved."""
    user = project.new_user()
    client = user.with_claims(client_id="mcp")
    project.store_and_propose(client)
    before = project.everything()
    with refused("human_required", "PT403"):
        project.approve_proposed(client)
    with refused("human_required", "PT403"):
        project.approve(client, document=document_of("s1", 1))
    with denied():
        project.call(None, "approve_plan", session_id="s1", version=1, document_sha256="0" * 64)
    with denied(), project.as_user(client) as connection:
        connection.execute("update public.plan set status = 'approved', decided_at = now()")
    assert project.everything() == before
    assert project.approve_proposed(user)["created"] is True
    assert broken_invariants(project) == []


def test_an_oauth_client_proposes_and_withdraws(project: Project, subtests: pytest.Subtests) -> None:
    user = project.new_user()
    for version, (disguise, client_id) in enumerate(DISGUISES.items(), 1):
        with subtests.test(disguise):
            client = user.with_claims(client_id=client_id)
            assert project.store_and_propose(client, version=version)["created"] is True
            proposed_by = project.plan(user, version=version)["proposed_by"]
            assert proposed_by not in ("user", "service_role", None)
            assert project.decide(client, "withdraw_plan", version=version)["status"] == "withdrawn"


def test_an_oauth_client_stores_and_reads_documents_as_the_owner_and_removes_none(
    project: Project,
) -> None:
    user = project.new_user()
    client = user.with_claims(client_id="mcp")
    claims = {"sub": str(user.id), **client.claims}
    project.store_and_propose(client)
    unused = user.path("s1", project.store(client, document="# Unused"))
    with project.as_user(client) as connection:
        assert len(connection.execute("select from storage.objects").fetchall()) == 2
    for name in (unused, project.plan(user)["document_path"]):
        assert project.delete_object(name, "authenticated", claims) == 0


def test_an_oauth_client_reads_as_the_owner(project: Project) -> None:
    user = project.new_user()
    client = user.with_claims(client_id="mcp")
    project.store_and_propose(client)
    agent_id = project.store_and_approve(user, version=2)["agent_id"]
    for table, rows in (("plan", 2), ("agent", 1), ("agent_event", 1), ("build", 1)):
        with project.as_user(client) as connection:
            assert len(connection.execute(f"select from public.{table}").fetchall()) == rows, table
    project.call(user, "delete_agent", agent_id=agent_id)
    with project.as_user(client) as connection:
        listed = connection.execute("select id from public.deleted_agents()").fetchall()
    assert [row["id"] for row in listed] == [agent_id]


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"client_id": None},
        {"CLIENT_ID": "mcp"},
        {"app_metadata": {"client_id": "mcp"}},
        {"user_metadata": {"client_id": "mcp"}, "clientid": "mcp"},
    ],
    ids=str,
)
def test_a_token_without_a_client_id_is_the_humans(project: Project, claims: dict[str, Any]) -> None:
    user = project.new_user()
    human = user.with_claims(**claims)
    project.store_and_propose(human)
    assert project.plan(user)["proposed_by"] == "user"
    assert project.approve_proposed(human)["created"] is True


def test_an_agent_is_refused_before_plan_and_arguments_are_checked(project: Project) -> None:
    user = project.new_user()
    client = user.with_claims(client_id="mcp")
    calls: list[tuple[str, dict[str, object]]] = [
        ("approve_plan", {"session_id": "/", "version": 0}),
        ("request_changes", {"session_id": "/", "version": 0, "comment": ""}),
        ("reject_plan", {"session_id": "/", "version": 0, "comment": ""}),
        ("transition_agent", {"agent_id": uuid4(), "to_status": "nonsense"}),
        ("retry_build", {"agent_id": uuid4()}),
        ("delete_agent", {"agent_id": uuid4()}),
        ("restore_agent", {"agent_id": None}),
    ]
    for function, arguments in calls:
        with refused("human_required", "PT403"):
            project.call(client, function, **arguments)
        with refused("not_authenticated", "PT401"):
            project.call(User(uuid4()).with_claims(client_id="mcp"), function, **arguments)
    with refused("invalid_session_id", "PT422"):
        project.call(user, "approve_plan", session_id="/", version=0)


# A token hook that drops client_id ---------------------------------------------------------------------------


@pytest.mark.parametrize("call", HUMAN_CALLS)
def test_a_client_is_known_by_its_session_where_a_hook_drops_the_claim(project: Project, call: str) -> None:
    user = project.new_user()
    agent_id = story(project, user, call)
    client = user.with_claims(session_id=project.sign_in(user, uuid4()))
    before = project.everything()
    with refused("human_required", "PT403"):
        HUMAN_CALLS[call](project, client, agent_id)
    assert project.everything() == before
    human = user.with_claims(session_id=project.sign_in(user))
    assert HUMAN_CALLS[call](project, human, agent_id)


def test_what_such_a_client_writes_carries_its_id(project: Project) -> None:
    user = project.new_user()
    client_id = uuid4()
    client = user.with_claims(session_id=project.sign_in(user, client_id))
    project.store_and_propose(client)
    project.decide(client, "withdraw_plan")
    plan = project.plan(user)
    assert (plan["proposed_by"], plan["decided_via"]) == (str(client_id), str(client_id))
    project.store(user, document=document_of("s1", 1002))
    with refused("invalid_version", "PT422"):
        project.propose(client, version=1002, document=document_of("s1", 1002))

    trust(project, str(client_id))
    project.store_and_propose(client, version=1002)
    project.approve_proposed(client, version=1002)
    plan = project.plan(user, version=1002)
    assert (plan["proposed_by"], plan["decided_via"]) == (str(client_id), str(client_id))


@pytest.mark.parametrize("claim", [{}, {"client_id": "our-app"}], ids=["no claim", "a trusted claim"])
def test_trust_in_the_claims_client_is_no_trust_in_the_sessions(
    project: Project, claim: dict[str, Any]
) -> None:
    user = project.new_user()
    project.store_and_propose(user)
    trust(project, "our-app")
    client = user.with_claims(session_id=project.sign_in(user, uuid4()), **claim)
    with refused("human_required", "PT403"):
        project.approve_proposed(client)


# What a token may hold in place of a session's id.
NO_SESSIONS: tuple[object, ...] = (
    None,
    "",
    "x",
    5,
    [],
    {},
    str(uuid4()),
    "{" + str(uuid4()) + "}",
    "' or true --",
)


def test_a_token_without_a_session_is_judged_by_its_claim(project: Project) -> None:
    user, other = project.new_user(), project.new_user()
    project.plan_in(user, "approved")
    others = project.sign_in(other, uuid4())
    for session_id in (*NO_SESSIONS, others):
        human = user.with_claims(session_id=session_id)
        assert project.approve_proposed(human)["created"] is False
        with refused("human_required", "PT403"):
            project.approve_proposed(human.with_claims(client_id="mcp"))


@pytest.mark.parametrize(
    "older",
    ["drop table auth.sessions", "alter table auth.sessions drop column oauth_client_id"],
    ids=["no table", "no column"],
)
def test_an_older_project_goes_by_the_claim_alone(project: Project, older: Any) -> None:
    user = project.new_user()
    project.store_and_propose(user)
    session_id = project.sign_in(user)
    with project.as_superuser() as connection:
        connection.execute(older)
    human = user.with_claims(session_id=session_id)
    with refused("human_required", "PT403"):
        project.approve_proposed(human.with_claims(client_id="mcp"))
    if "column" not in older:
        project.change_setting(require_session=True)
        with refused("human_required", "PT403"):
            project.approve_proposed(human)
        project.change_setting(require_session=False)
    assert project.approve_proposed(human)["created"] is True


# Settings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", HUMAN_CALLS)
def test_an_anonymous_user_decides_only_where_the_project_says_so(project: Project, call: str) -> None:
    user = project.new_user()
    agent_id = story(project, user, call)
    before = project.everything()
    claims: list[object] = [True, "true", 1, {}, "false"]
    for claim in claims:
        with refused("human_required", "PT403") as caught:
            HUMAN_CALLS[call](project, user.with_claims(is_anonymous=claim), agent_id)
        assert "anonymous_may_decide" in (caught.value.diag.message_detail or "")
    assert project.everything() == before
    project.change_setting(anonymous_may_decide=True)
    assert HUMAN_CALLS[call](project, user.with_claims(is_anonymous=True), agent_id)


def test_an_anonymous_user_proposes_and_withdraws(project: Project) -> None:
    user = project.new_user()
    anonymous = user.with_claims(is_anonymous=True)
    project.store_and_propose(anonymous)
    assert project.decide(anonymous, "withdraw_plan")["status"] == "withdrawn"
    project.store_and_propose(anonymous, version=2)
    for claim in (False, None):
        assert project.approve_proposed(user.with_claims(is_anonymous=claim), version=2)


@pytest.mark.parametrize("call", HUMAN_CALLS)
def test_with_require_session_only_a_session_of_the_users_own_decides(project: Project, call: str) -> None:
    """A client that signs out removes the row which tells it apart; then its token decides nothing, either."""
    user, other = project.new_user(), project.new_user()
    agent_id = story(project, user, call)
    signed_out = project.sign_in(user, uuid4())
    others, clients = project.sign_in(other), project.sign_in(user, uuid4())
    project.change_setting(require_session=True)
    project.rows("delete from auth.sessions where id = %s returning id", signed_out)
    before = project.everything()
    for session_id in (*NO_SESSIONS, signed_out, others, clients):
        with refused("human_required", "PT403"):
            HUMAN_CALLS[call](project, user.with_claims(session_id=session_id), agent_id)
    assert project.everything() == before
    human = user.with_claims(session_id=project.sign_in(user))
    assert HUMAN_CALLS[call](project, human, agent_id)


def test_with_require_session_a_trusted_client_and_the_service_role_go_on(project: Project) -> None:
    user = project.new_user()
    client_id = uuid4()
    project.store_and_propose(user)
    project.change_setting(require_session=True)
    client = user.with_claims(session_id=project.sign_in(user, client_id))
    with refused("human_required", "PT403"):
        project.approve_proposed(client)
    trust(project, str(client_id))
    agent_id = project.approve_proposed(client)["agent_id"]
    assert project.call(None, "transition_agent", agent_id=agent_id, to_status="archived")
    # Planners need none.
    project.store_and_propose(user.with_claims(client_id="mcp"), "s2")
    assert project.decide(user, "withdraw_plan", "s2")


def test_the_settings_are_one_row(project: Project) -> None:
    row = {
        "only_row": True,
        "anonymous_may_decide": False,
        "require_session": False,
        "max_attempts": 5,
        "remind_after": [],
        "self_approval": True,
        "require_team": False,
        "decision_aal": "aal1",
        "decision_max_age": None,
    }
    assert project.rows("select * from greenlight.setting") == [row]
    for statement in (
        "insert into greenlight.setting default values",
        "insert into greenlight.setting (only_row) values (false)",
        "delete from greenlight.setting",
        "truncate greenlight.setting",
        "update greenlight.setting set require_session = null",
    ):
        with pytest.raises(psycopg.Error), project.transaction("postgres") as connection:
            connection.execute(cast("Any", statement))
    project.change_setting(require_session=True)
    assert project.rows("select * from greenlight.setting") == [{**row, "require_session": True}]


def test_a_dump_of_the_settings_is_restored_over_them(project: Project) -> None:
    """As the CLI's dump of the data begins: triggers and foreign keys off."""
    with project.as_superuser() as connection:
        connection.execute("set local session_replication_role = replica")
        connection.execute("insert into greenlight.setting (require_session) values (true)")
    assert [row["require_session"] for row in project.rows("select * from greenlight.setting")] == [True]


# Trusted clients ---------------------------------------------------------------------------------------------


def trust(project: Project, client_id: str) -> None:
    with project.as_superuser() as connection:
        connection.execute("set local role postgres")
        connection.execute("insert into greenlight.trusted_client (client_id) values (%s)", (client_id,))


@pytest.mark.parametrize("call", HUMAN_CALLS)
def test_a_trusted_client_counts_as_the_human(project: Project, call: str) -> None:
    user = project.new_user()
    agent_id = story(project, user, call)
    trusted = user.with_claims(client_id="our-app")
    with refused("human_required", "PT403"):
        HUMAN_CALLS[call](project, trusted, agent_id)
    trust(project, "our-app")
    assert HUMAN_CALLS[call](project, trusted, agent_id)


def test_trust_is_in_exactly_that_client(project: Project) -> None:
    user = project.new_user()
    project.store_and_propose(user)
    trust(project, "our-app")
    others = ("OUR-APP", "our-app ", "our-app\n", "our", "%", "", ["our-app"], {"our-app": 1}, True)
    for other in others:
        with refused("human_required", "PT403"):
            project.approve_proposed(user.with_claims(client_id=other))
    # A claim of another type is not taken for its text.
    not_strings = (5, True, ["our-app"], {"our-app": 1})
    for claim in not_strings:
        trust(project, json.dumps(claim))
        with refused("human_required", "PT403"):
            project.approve_proposed(user.with_claims(client_id=claim))
    with project.as_superuser() as connection:
        connection.execute("delete from greenlight.trusted_client")
    with refused("human_required", "PT403"):
        project.approve_proposed(user.with_claims(client_id="our-app"))


def test_no_client_is_trusted_until_the_project_says_so(any_project: Project) -> None:
    assert any_project.rows("select from greenlight.trusted_client") == []


@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
def test_no_api_role_reads_or_writes_who_is_trusted_and_the_settings(any_project: Project, role: str) -> None:
    claims = {"sub": str(any_project.new_user().id)}
    for statement in (
        "select client_id from greenlight.trusted_client",
        "insert into greenlight.trusted_client (client_id) values ('mcp')",
        "update greenlight.trusted_client set client_id = 'mcp'",
        "delete from greenlight.trusted_client",
        "truncate greenlight.trusted_client",
        "select require_session from greenlight.setting",
        "insert into greenlight.setting default values",
        "update greenlight.setting set anonymous_may_decide = true",
        "delete from greenlight.setting",
        "truncate greenlight.setting",
    ):
        with denied(), any_project.as_role(role, claims) as connection:
            connection.execute(cast("Any", statement))
    trust(any_project, "our-app")
    assert any_project.rows("select client_id from greenlight.trusted_client") == [{"client_id": "our-app"}]
