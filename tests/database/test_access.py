"""Who may do what with tables and functions, in projects with wide default privileges and with narrow ones.

Each denial stands beside the same act by a caller who is allowed.
"""

from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from .conftest import Project, User, denied, refused

TABLES = ("plan", "agent", "agent_event", "build", "build_log")


def count(connection: psycopg.Connection[Any], table: str) -> int:
    row = connection.execute(f"select count(*) from public.{table}").fetchone()
    return int(row["count"]) if row else -1


def test_01_the_owner_reads_their_own_rows_and_a_stranger_reads_none(any_project: Project) -> None:
    owner, stranger = any_project.new_user(), any_project.new_user()
    agent_id = any_project.store_and_approve(owner)["agent_id"]
    any_project.renew(any_project.claim_agent(agent_id), log="Building.")
    for table in TABLES:
        with any_project.as_user(owner) as connection:
            assert count(connection, table) == 1, table
        with any_project.as_user(stranger) as connection:
            assert count(connection, table) == 0, table
        with any_project.as_service_role() as connection:
            assert count(connection, table) == 1, table
        with denied(), any_project.as_anon() as connection:
            count(connection, table)


def test_02_deleted_rows_are_hidden_from_owners_but_not_the_service_role(
    any_project: Project,
) -> None:
    owner = any_project.new_user()
    agent_id = any_project.store_and_approve(owner)["agent_id"]
    any_project.renew(any_project.claim_agent(agent_id), log="Building.")
    any_project.store_and_approve(owner, version=2)
    any_project.call(owner, "delete_agent", agent_id=agent_id)
    for table in TABLES:
        with any_project.as_user(owner) as connection:
            assert count(connection, table) == 0, table
        with any_project.as_service_role() as connection:
            assert count(connection, table) > 0, table
    any_project.call(owner, "restore_agent", agent_id=agent_id)
    for table in TABLES:
        with any_project.as_user(owner) as connection:
            assert count(connection, table) > 0, table


@pytest.mark.parametrize("table", TABLES)
def test_03_no_api_role_writes_a_table_directly(
    any_project: Project, table: str, subtests: pytest.Subtests
) -> None:
    owner = any_project.new_user()
    any_project.store_and_approve(owner)
    before = any_project.everything()
    for statement in (
        f"insert into public.{table} overriding system value select * from public.{table}",
        f"update public.{table} set user_id = user_id",
        f"delete from public.{table}",
        f"truncate public.{table} cascade",
    ):
        for request in (any_project.as_anon(), any_project.as_user(owner), any_project.as_service_role()):
            with subtests.test(statement), denied(), request as connection:
                connection.execute(statement)
    assert any_project.everything() == before


def test_04_the_audit_log_is_rewritten_by_no_one(project: Project) -> None:
    """Not by its owner and not by a superuser. What plans refuse is in test_finality.py."""
    user = project.new_user()
    project.store_and_approve(user)
    with denied(), project.as_superuser() as connection:
        connection.execute("update public.agent_event set kind = 'restored'")
    with denied(), project.as_superuser() as connection:
        connection.execute("delete from public.agent_event")


# Functions ---------------------------------------------------------------------------------------------------

PLAN: dict[str, Any] = {"session_id": "s1", "version": 1}
DOCUMENT: dict[str, Any] = {**PLAN, "title": "t", "document_sha256": "x", "document_url": "x"}
AGENT: dict[str, Any] = {"agent_id": uuid4()}
BUILD: dict[str, Any] = {"build_id": uuid4(), "attempt": 1}

# For each function: arguments, and whether the owner's OAuth client and the service role are let in. Anon never is,
# and the owner is where either of the two is, but for what only the service role may call.
USERS_CALLS: dict[str, dict[str, Any]] = {
    "approve_plan": DOCUMENT,
    "request_changes": {**PLAN, "comment": "c"},
    "reject_plan": PLAN,
    "delete_agent": AGENT,
    "restore_agent": AGENT,
    "deleted_agents": {},
    "plan_teams": {},
    "display_names": {"plan_ids": [uuid4()]},
}
SERVICE_CALLS: dict[str, dict[str, Any]] = {
    "claim_builds": {"worker": "w"},
    "renew_build": BUILD,
    "finish_build": BUILD,
    "fail_build": {**BUILD, "message": "m"},
    "orphaned_documents": {"older_than": "1 day"},
    "claim_notifications": {"subscriber": "s"},
    "finish_notification": {"notification_id": 1, "attempt": 1},
    "fail_notification": {"notification_id": 1, "attempt": 1},
    "forget_subscriber": {"subscriber": "s"},
    "purge_notifications": {"before": "2020-01-01"},
    "purge_build_logs": {"ended_before": "2020-01-01"},
    "purge_deleted_agents": {"deleted_before": "2020-01-01"},
    "purge_closed_plans": {"closed_before": "2020-01-01"},
    "installation": {},
}
SHARED_CALLS: dict[str, dict[str, Any]] = {
    "propose_plan": DOCUMENT,
    "withdraw_plan": PLAN,
    "latest_changes": {"agent_ids": [uuid4()]},
    "transition_agent": {**AGENT, "to_status": "paused"},
    "retry_build": AGENT,
    "stop_build": AGENT,
}
ALL_CALLS = {**USERS_CALLS, **SERVICE_CALLS, **SHARED_CALLS}
AGENTS_CALLS = (
    "propose_plan",
    "withdraw_plan",
    "deleted_agents",
    "plan_teams",
    "display_names",
    "latest_changes",
)


def attempt(request: Any, function: str, arguments: dict[str, Any]) -> str:
    """What happens: 'denied' before the function, 'human_required', or 'entered' with any answer."""
    named = ", ".join(f"{name} => %({name})s" for name in arguments)
    try:
        with request as connection:
            connection.execute(f"select * from public.{function}({named})", arguments)
    except psycopg.errors.InsufficientPrivilege:
        return "denied"
    except psycopg.Error as error:
        assert (error.sqlstate or "").startswith("PT"), error
        if error.diag.message_primary == "human_required":
            return "human_required"
    return "entered"


def test_05_each_function_lets_in_those_whom_it_is_for(
    any_project: Project, subtests: pytest.Subtests
) -> None:
    user = any_project.new_user()
    for function in ALL_CALLS:
        with subtests.test(function):
            lets_in(any_project, user, function)


def lets_in(any_project: Project, user: User, function: str) -> None:
    requests = {
        "anon": any_project.as_anon(),
        "user": any_project.as_user(user),
        "client": any_project.as_user(user.with_claims(client_id="mcp")),
        "service": any_project.as_service_role(),
    }
    outcome = {who: attempt(request, function, ALL_CALLS[function]) for who, request in requests.items()}
    for_users = function not in SERVICE_CALLS
    for_agents = "entered" if function in AGENTS_CALLS else "human_required"
    assert outcome == {
        "anon": "denied",
        "user": "entered" if for_users else "denied",
        "client": for_agents if for_users else "denied",
        "service": "denied" if function in USERS_CALLS else "entered",
    }


def test_06_an_api_role_reaches_no_other_function_of_ours(any_project: Project) -> None:
    reachable = any_project.rows(
        """
        select r.rolname as role, p.proname as function
        from pg_proc p
        cross join (values ('anon'), ('authenticated'), ('service_role')) as r (rolname)
        where p.pronamespace = 'greenlight'::regnamespace
            and has_schema_privilege(r.rolname, 'greenlight', 'usage')
            and has_function_privilege(r.rolname, p.oid, 'execute')
        """
    )
    # Deleting and restoring are one function inside. Policies ask the others.
    for_policies = {"untrusted_client", "readable_teams", "is_deleted", "is_session_deleted"}
    users = {*USERS_CALLS, *SHARED_CALLS, *for_policies, "set_deleted"} - {
        "delete_agent",
        "restore_agent",
    }
    assert sorted((row["role"], row["function"]) for row in reachable) == sorted(
        [("authenticated", name) for name in users]
        + [("service_role", name) for name in (*SERVICE_CALLS, *SHARED_CALLS)]
    )


def test_06_no_other_function_of_the_api_is_there(any_project: Project) -> None:
    there = any_project.rows("select proname from pg_proc where pronamespace = 'public'::regnamespace")
    assert sorted(row["proname"] for row in there) == sorted(ALL_CALLS)


def test_06_no_api_role_has_a_privilege_on_a_table_but_to_read_the_five(any_project: Project) -> None:
    held = any_project.rows(
        """
        select distinct r.rolname as role, c.relname as name, privilege
        from pg_class c
        cross join (values ('anon'), ('authenticated'), ('service_role')) as r (rolname)
        cross join unnest(
            array['select', 'insert', 'update', 'delete', 'truncate', 'references', 'trigger']
        ) as privilege
        where c.relnamespace in ('public'::regnamespace, 'greenlight'::regnamespace)
            and c.relkind in ('r', 'v', 'm', 'p')
            and has_table_privilege(r.rolname, c.oid, privilege)
        """
    )
    # The policies read own_agent as their caller, whose agents are all that is in it.
    assert {(row["role"], row["name"], row["privilege"]) for row in held} == {
        *((role, table, "select") for role in ("authenticated", "service_role") for table in TABLES),
        ("authenticated", "own_agent", "select"),
    }


@pytest.mark.parametrize("function", ["transition_agent", "delete_agent", "restore_agent", "retry_build"])
def test_07_a_strangers_agent_does_not_exist(project: Project, function: str) -> None:
    owner, stranger = project.new_user(), project.new_user()
    agent_id = project.store_and_approve(owner)["agent_id"]
    if function == "retry_build":
        project.fail(project.claim_agent(agent_id), retry=False)
    arguments = {
        "agent_id": agent_id,
        **({"to_status": "archived"} if function == "transition_agent" else {}),
    }
    before = project.rows("select * from public.agent")
    with refused("agent_not_found", "PT404"):
        project.call(stranger, function, **arguments)
    with refused("agent_not_found", "PT404"):
        project.call(owner, function, **{**arguments, "agent_id": uuid4()})
    with refused("agent_not_found", "PT404"):
        project.call(owner, function, **{**arguments, "agent_id": None})
    assert project.rows("select * from public.agent") == before
    assert project.call(owner, function, **arguments)["id"] == agent_id


def test_08_a_user_who_no_longer_exists_is_not_authenticated(
    project: Project, subtests: pytest.Subtests
) -> None:
    for function, arguments in {**USERS_CALLS, **SHARED_CALLS}.items():
        with subtests.test(function), refused("not_authenticated", "PT401"):
            project.call(User(uuid4()), function, **arguments)


# What no row can be ------------------------------------------------------------------------------------------


def test_09_an_agent_and_its_plan_are_of_one_user_and_session(project: Project) -> None:
    one, two = project.new_user(), project.new_user()
    mine = project.store_and_approve(one, session="a")
    other_session = project.store_and_approve(one, session="b")
    theirs = project.store_and_approve(two, session="a")
    for foreign in (other_session, theirs):
        with pytest.raises(psycopg.errors.ForeignKeyViolation), project.as_superuser() as connection:
            connection.execute(
                "update public.agent set plan_id = %s where id = %s", (foreign["plan_id"], mine["agent_id"])
            )
    newer = project.store_and_approve(one, session="a", version=2)
    assert newer["agent_id"] == mine["agent_id"]


@pytest.mark.parametrize(
    ("table", "change", "error"),
    [
        ("agent", "session_id = 'b'", psycopg.errors.UniqueViolation),
        ("agent", "status = 'done'", psycopg.errors.CheckViolation),
        ("agent", "session_id = 'a/b'", psycopg.errors.CheckViolation),
    ],
)
def test_10_constraints_hold_against_everybody(
    project: Project, table: str, change: str, error: type[psycopg.Error]
) -> None:
    user = project.new_user()
    project.store_and_approve(user, session="a")
    project.store_and_approve(user, session="b")
    with pytest.raises(error), project.as_superuser() as connection:
        connection.execute(f"update public.{table} set {change} where session_id = 'a'")


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("session_id", "'a/b'"),
        ("version", "0"),
        ("title", "''"),
        ("document_sha256", "'xyz'"),
        ("document_path", "'elsewhere'"),
        ("status", "'unread'"),
    ],
)
def test_11_a_plan_cannot_be_anything_else_than_a_plan(project: Project, column: str, value: str) -> None:
    user = project.new_user()
    project.store_and_approve(user)
    columns = {
        name: name
        for name in (
            "user_id", "session_id", "version", "title", "document_id", "document_path", "document_sha256",
            "document_url", "status",
        )
    } | {"version": "2", "status": "'superseded'"}  # fmt: skip

    def copy(values: dict[str, str]) -> None:
        with project.as_superuser() as connection:
            connection.execute(
                f"insert into public.plan ({', '.join(values)}) select {', '.join(values.values())} from public.plan"
            )

    with pytest.raises(psycopg.errors.CheckViolation):
        copy(columns | {column: value})
    copy(columns)


def test_12_deleting_a_user_takes_everything_of_theirs_and_nothing_else(project: Project) -> None:
    leaving, staying = project.new_user(), project.new_user()
    for user in (leaving, staying):
        agent_id = project.store_and_approve(user, version=1)["agent_id"]
        project.store_and_approve(user, version=2)
        project.store_and_approve(user, session="s2")
        project.store_and_propose(user, session="s2", version=2)
        project.store_and_propose(user, session="s3")
        project.call(user, "delete_agent", agent_id=agent_id)
    with project.as_superuser() as connection:
        connection.execute("set local role supabase_auth_admin")
        connection.execute("delete from auth.users where id = %s", (leaving.id,))
    for table, rows in (("plan", 5), ("agent", 2), ("agent_event", 4), ("build", 3)):
        left = project.rows(f"select user_id from public.{table}")
        assert [row["user_id"] for row in left] == [staying.id] * rows, table


def test_each_request_has_the_time_limit_of_its_role(any_project: Project) -> None:
    user = any_project.new_user()
    limits = []
    # service_role has no limit of its own, so that of authenticator applies.
    for request in (any_project.as_anon(), any_project.as_user(user), any_project.as_service_role()):
        with request as connection:
            row = connection.execute("show statement_timeout").fetchone()
            limits.append(row and row["statement_timeout"])
    assert limits == ["3s", "8s", "8s"]


# The statistics ------------------------------------------------------------------------------------------------

# Text that Postgres may have statistics of: ids and states.
COUNTED = {
    *("plan.session_id", "plan.document_path", "plan.status", "plan.proposed_by", "plan.decided_aal"),
    *("plan.decided_via", "agent.session_id", "agent.status", "agent_event.kind", "agent_event.from_status"),
    *("agent_event.to_status", "agent_event.actor_role", "build.status", "build.worker"),
}


def test_no_estimate_tells_a_stranger_what_others_wrote(project: Project) -> None:
    """`Prefer: count=planned` asks how many rows Postgres expects. It concludes that from the rows of all users."""
    user, stranger = project.new_user(), project.new_user()
    comments = Jsonb([{"start": 0, "end": 1, "exact": "#", "body": "Zebra?"}])
    for number in range(1, 7):
        project.store_and_propose(user, "zebra", number, title="Buy the zebra", message="Zebra!")
        project.decide(user, "request_changes", "zebra", number, comment="No zebra.", comments=comments)
        agent_id = project.store_and_approve(user, f"s{number}", title=f"Plan {number}")["agent_id"]
        project.fail(project.claim_agent(agent_id), "The zebra ran.", log="Zebra.", retry=False)
        agent_id = project.store_and_approve(user, f"s{number}", 2, title="Buy the zebra")["agent_id"]
        project.finish(project.claim_agent(agent_id), result=Jsonb({"zebra": 1}))
    with project.as_superuser() as connection:
        connection.execute(f"analyze {', '.join(f'public.{table}' for table in TABLES)}")

    def asked(column: str, value: object) -> tuple[int, int]:
        """Return how many rows the owner finds, and how many a stranger is told to expect."""
        names = map(sql.Identifier, column.split("."))
        query = sql.SQL("select from public.{} where {} = {}").format(*names, sql.Literal(value))
        with project.as_user(user) as connection:
            found = connection.execute(query).fetchall()
        with project.as_user(stranger) as connection:
            assert connection.execute(query).fetchall() == []
            (row,) = connection.execute(sql.SQL("explain (format json) ") + query).fetchall()
        return len(found), row["QUERY PLAN"][0]["Plan"]["Plan Rows"]

    for column, right, wrong in (
        ("plan.title", "Buy the zebra", "Buy the lion"),
        ("plan.message", "Zebra!", "Lion!"),
        ("plan.comment", "No zebra.", "No lion."),
        ("plan.comments", comments, Jsonb([])),
        ("agent.name", "Buy the zebra", "Buy the lion"),
        ("build.message", "The zebra ran.", "The lion ran."),
        ("build.result", Jsonb({"zebra": 1}), Jsonb({"lion": 1})),
        ("build_log.content", "Zebra.", "Lion."),
    ):
        (found, expected), (none, otherwise) = asked(column, right), asked(column, wrong)
        assert found > 0, column
        assert none == 0, column
        assert expected == otherwise, column
    counted = project.rows(
        "select tablename || '.' || attname as name from pg_stats"
        " join pg_attribute using (attname) join pg_class on pg_class.oid = attrelid and relname = tablename"
        " where schemaname = 'public' and tablename = any(%s) and atttypid in ('text'::regtype, 'varchar'::regtype)",
        [*TABLES],
    )
    assert {row["name"] for row in counted} == COUNTED
