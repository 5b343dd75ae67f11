"""An adopter with an organisation: their own table and the two functions, as docs/teams.md prints them."""

import re
from pathlib import Path
from uuid import uuid4

import httpx
import jwt
import psycopg
import pytest

from greenlight import install
from greenlight.install import Migration, shipped
from tests.database.conftest import Row, document_of, refused, sql_of_teams

from .conftest import ROOT, Account, Adopter, Host, adopter_in, install_into

FUNCTIONS = ("viewer_teams", "approver_teams", "display_name", "approver_emails")


def refusal(answer: httpx.Response) -> str:
    assert answer.is_client_error, answer.text
    return str(answer.json()["message"])


def planner_of(adopter: Adopter, account: Account) -> Account:
    """An OAuth client of this user: Auth signs it a token with its client_id."""
    key = adopter.stack.keys.signing_key
    token = account.headers["Authorization"].removeprefix("Bearer ")
    claims = {**jwt.decode(token, options={"verify_signature": False}), "client_id": str(uuid4())}
    signed = jwt.encode(claims, jwt.PyJWK(key, "ES256").key, "ES256", {"kid": key["kid"], "typ": "JWT"})
    return Account(account.http, account.id, {**account.headers, "Authorization": f"Bearer {signed}"})


def push(adopter: Adopter, name: str, statements: bytes) -> None:
    """Add a migration of the adopter's own and push it."""
    folder = adopter.directory / "supabase/migrations"
    last = max(int(path.name.partition("_")[0]) for path in folder.iterdir())
    (folder / f"{last + 1}_{name}.sql").write_bytes(statements)
    adopter.pushed()


def test_the_first_five_minutes_of_an_adopter_with_an_organisation(tmp_path: Path) -> None:
    with (
        adopter_in(tmp_path) as adopter,
        psycopg.connect(adopter.stack.postgres.url(), autocommit=True) as app,
    ):
        install_into(adopter)
        ada, ben, vera, eve = (adopter.sign_up() for _ in range(4))
        planner = planner_of(adopter, ada)
        team = str(uuid4())

        def propose(session: str, version: int = 1, **words: str) -> httpx.Response:
            stored = planner.store(session, document_of(session, version).encode())
            return planner.rpc("propose_plan", version=version, **stored, **words)

        def approve(account: Account, session: str, version: int = 1) -> httpx.Response:
            (plan,) = ada.rows(f"plan?session_id=eq.{session}&version=eq.{version}")
            named = {"document_sha256": plan["document_sha256"], "user_id": ada.id}
            return account.rpc("approve_plan", session_id=session, version=version, **named)

        # Before, there are no teams.
        assert refusal(propose("before", team_id=team)) == "invalid_team_id"

        push(adopter, "teams", sql_of_teams("## In five minutes"))
        assert "Teams: the project's own approver_teams() and viewer_teams()" in adopter.ran(
            "greenlight", "doctor"
        )
        # The functions are not enough: who is not in the table has no team.
        assert refusal(propose("outside", team_id=team)) == "invalid_team_id"
        for account, its_team, role in (
            (ada, team, "approver"),
            (ben, team, "approver"),
            (vera, team, "viewer"),
            (eve, str(uuid4()), "approver"),
        ):
            app.execute("insert into public.membership values (%s, %s, %s)", (its_team, account.id, role))

        # The owner decides on their own plan, until the adopter wants four eyes.
        assert propose("s0", team_id=team).json()["created"] is True
        assert refusal(approve(planner, "s0")) == "human_required"
        assert approve(ada, "s0").json()["created"] is True
        push(adopter, "four_eyes", sql_of_teams("## Four eyes"))
        assert refusal(propose("private")) == "invalid_team_id"
        assert propose("s1", team_id=team).json()["created"] is True
        assert refusal(approve(ada, "s1")) == "approver_required"

        # The team sees it, and a stranger nothing.
        (plan,) = ada.rows("plan?session_id=eq.s1")
        document = f"/storage/v1/object/authenticated/plans/{plan['document_path']}"
        for account in (ada, ben, vera):
            assert account.rows("plan?session_id=eq.s1") == [plan]
            assert account.http.get(document, headers=account.headers).text == document_of("s1", 1)
        for table in ("plan", "agent", "agent_event", "build", "build_log"):
            assert eve.rows(table) == []
        assert refusal(eve.http.get(document, headers=eve.headers)) == "Object not found"
        assert refusal(approve(eve, "s1")) == "plan_not_found"
        assert refusal(approve(vera, "s1")) == "approver_required"

        # The colleague approves, and the owner gets the agent.
        approved = approve(ben, "s1").raise_for_status().json()
        assert approved["created"] is True
        (agent,) = ada.rows("agent?session_id=eq.s1")
        assert (agent["id"], agent["team_id"]) == (approved["agent_id"], team)
        assert [row["decided_by"] for row in ada.rows("plan?session_id=eq.s1")] == [ben.id]

        # Who leaves sees nothing and decides nothing, from the next statement on, with the same token.
        assert propose("s1", 2).json()["created"] is True
        app.execute("delete from public.membership where user_id = %s", (ben.id,))
        assert ben.rows("plan") == []
        assert refusal(approve(ben, "s1", 2)) == "plan_not_found"
        assert refusal(approve(ben, "s1")) == "plan_not_found"
        assert [row["status"] for row in ada.rows("plan?session_id=eq.s1&version=eq.2")] == ["proposed"]


# Upgrades ----------------------------------------------------------------------------------------------------


def functions(host: Host) -> list[Row]:
    """The functions that are the project's to replace, with all that `create or replace` may change."""
    return host.database.rows(
        "select oid, pg_get_functiondef(oid) as definition, proowner::regrole, proacl, obj_description(oid, 'pg_proc')"
        " from pg_proc where pronamespace = to_regnamespace('greenlight') and proname = any(%s) order by proname",
        [*FUNCTIONS],
    )


def add_teams(host: Host) -> None:
    emails = (
        b"create or replace function greenlight.approver_emails(team_id uuid) returns setof text"
        b" language sql stable security definer set search_path = ''"
        b" as $$ select u.email from public.membership as m join auth.users as u on u.id = m.user_id"
        b" where m.team_id = approver_emails.team_id $$;"
    )
    last = host.ours()[-1].name[:14]
    statements = [
        sql_of_teams("## In five minutes"),
        sql_of_teams("### Recursion: why they are `security definer`"),
    ]
    host.add(f"{int(last) + 1}_teams.sql", b"\n".join([*statements, emails]).decode())
    host.pushed()


def team_works(host: Host) -> bool:
    """Whether a colleague may decide, and the owner's plan is hidden from others."""
    project, team = host.database, uuid4()
    owner, colleague, stranger = (project.new_user() for _ in range(3))
    for user, its_team in ((owner, team), (colleague, team), (stranger, uuid4())):
        project.join(user, its_team)
    project.store_and_propose(owner, team_id=team)
    with project.as_user(stranger) as connection:
        assert connection.execute("select from public.plan").fetchall() == []
    return project.approve_proposed(colleague, user_id=owner.id)["created"] is True


def test_an_upgrade_leaves_the_functions_of_the_project_as_they_are(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.begin_installed()
    installed = functions(host)
    assert len(installed) == len(FUNCTIONS)
    add_teams(host)
    replaced = functions(host)
    changed = [new["definition"] for new, old in zip(replaced, installed, strict=True) if new != old]
    assert len(changed) == 3
    assert team_works(host)
    # Doctor does not take them for damage, which its repair would undo.
    assert not host.differences()

    # Again, with nothing new.
    host.install()
    assert functions(host) == replaced
    # A version that writes every function of ours once more.
    everything = (ROOT / "supabase/functions.sql").read_text()
    more = Migration("20990101000000", f"greenlight_{len(shipped()) + 1:02}_more.sql", everything)
    newer = [*shipped(), more]
    monkeypatch.setattr(install, "shipped", lambda: newer)
    host.install()
    assert functions(host) == replaced
    assert team_works(host)

    # From nothing, as a reset of the linked project and a preview branch do it.
    result = host.supabase("db", "reset")
    assert result.returncode == 0, result.stdout
    assert [row["definition"] for row in functions(host)] == [row["definition"] for row in replaced]
    assert team_works(host)


def test_an_uninstall_drops_the_functions_and_leaves_the_projects_table(host: Host) -> None:
    host.begin_installed()
    add_teams(host)
    assert team_works(host)
    assert host.greenlight("uninstall", "--keep-documents").exit_code == 0
    # A policy of the project asks one of them, and is not dropped with it.
    before = functions(host)
    stopped = host.push()
    assert stopped.returncode != 0
    assert re.search(r"cannot drop function greenlight\.\w+_teams\(\).* depend", stopped.stdout), (
        stopped.stdout
    )
    assert functions(host) == before
    assert team_works(host)

    with host.database.as_superuser() as connection:
        connection.execute("drop policy select_teams on public.membership")
    members = host.database.rows("select * from public.membership order by user_id")
    host.pushed()
    assert functions(host) == []
    assert host.database.rows("select * from public.membership order by user_id") == members

    # Installed again, there are no teams until the project's migration is written again.
    host.install()
    owner = host.database.new_user()
    team = uuid4()
    host.database.join(owner, team)
    with refused("invalid_team_id", "PT422"):
        host.database.store_and_propose(owner, team_id=team)
    assert host.works()
