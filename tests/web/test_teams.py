"""A team's plan on the pages: its owner may not decide, an approver may, a viewer reads, a stranger finds nothing."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.caller import Json
from tests.conftest import RunningStack
from tests.plan import new_session
from tests.teams import Team, team_of
from tests.web.conftest import PLAN, REFUSED, Account, OpenPage, in_an_hour, redirected, status_of
from tests.web.test_pages import violations

NAMES = """
    create or replace function greenlight.display_name(uuid) returns text
    language sql stable security definer set search_path = '' as $$
        select name from teams_of_tests.person where id = $1
    $$;
"""
NO_NAMES = """
    create or replace function greenlight.display_name(uuid) returns text
    language sql stable security definer set search_path = '' as 'select null::text';
"""


@pytest.fixture
def team(stack: RunningStack) -> Iterator[Team]:
    if stack.local is None:
        pytest.skip("replacing the project's functions needs a Supabase on this machine")
    with team_of(stack.local.postgres.url()) as team:
        team.database.execute("create table teams_of_tests.person (id uuid primary key, name text)")
        team.database.execute(NAMES)
        try:
            yield team
        finally:
            team.database.execute(NO_NAMES)


@pytest.fixture
def ada(account: Account, team: Team) -> Account:
    """The owner of the plans, who is in the team and does not decide on them."""
    team.join(account.id, "viewer")
    call(team, account, "Ada")
    return account


@pytest.fixture
def ben(stranger: Account, team: Team) -> Account:
    """An approver of the team."""
    team.join(stranger.id)
    call(team, stranger, "Ben")
    return stranger


def call(team: Team, account: Account, name: str) -> None:
    team.database.execute("insert into teams_of_tests.person values (%s, %s)", (account.id, name))


def propose(ada: Account, team: Team, **fields: Json) -> str:
    session_id = new_session()
    ada.receive_proposal(session_id, team_id=team.id, **fields)
    return session_id


def section(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=name)


DECISIONS = ("Approve plan", "Request changes", "Reject")


def expect_no_buttons(page: Page) -> None:
    page.get_by_role("heading", name="Van").wait_for()
    for name in DECISIONS:
        expect(page.get_by_role("button", name=name)).to_have_count(0)


def test_an_approver_decides_on_the_plan_that_waits_for_others(
    open_page: OpenPage, ada: Account, ben: Account, team: Team
) -> None:
    session_id = propose(ada, team, title="Move the team")
    adas = open_page(user=ada.user)
    adas.goto("/plans")
    expect(section(adas, "Waiting for you").get_by_role("heading")).to_contain_text(
        ["Waiting for you", "Nothing is waiting for you"]
    )
    section(adas, "Waiting for others").get_by_role("link", name="Move the team").click()
    expect(adas.get_by_text("This plan is yours, and an approver of its team decides on it")).to_be_visible()
    expect_no_buttons(adas)
    assert violations(adas, "a plan that waits for others") == []

    bens = open_page(user=ben.user)
    bens.goto("/plans")
    expect(bens.get_by_role("navigation", name="Main")).to_contain_text("1 waiting")
    row = section(bens, "Waiting for you").get_by_role("link", name="Move the team")
    expect(row).to_contain_text("of Ada")
    assert violations(bens, "an approver's inbox") == []
    row.click()
    bens.wait_for_url(f"**/build?session={session_id}&user={ada.id}")
    expect(bens.get_by_text("Plan of Ada")).to_be_visible()
    bens.get_by_role("tab", name="Edit").click()
    expect(bens.get_by_label("Document")).not_to_be_editable()
    bens.get_by_role("tab", name="Read").click()
    bens.get_by_role("button", name="Approve plan").click()
    agent_id = redirected(bens)
    expect(bens.get_by_role("region", name="History")).to_contain_text("Version 1 approvedyou")

    # The owner learns who it was.
    expect(adas.get_by_role("main")).to_contain_text("by Ben, just now")
    adas.goto("/plans")
    expect(section(adas, "Recent decisions")).to_contain_text("by Ben")
    expect(section(adas, "Waiting for others")).to_have_count(0)
    adas.goto(f"/build/{agent_id}")
    expect(adas.get_by_role("region", name="History")).to_contain_text("Version 1 approvedBen")
    assert ada.rows("plan")[0]["decided_by"] == ben.id


def test_the_owner_decides_where_the_project_lets_them(open_page: OpenPage, ben: Account, team: Team) -> None:
    """Ben is an approver, and the plan is his own."""
    session_id = propose(ben, team)
    page = open_page(user=ben.user)
    page.goto(f"/build?session={session_id}")
    expect(page.get_by_role("button", name="Approve plan")).to_be_enabled()

    team.database.execute("update greenlight.setting set self_approval = false")
    page.goto("/plans")
    section(page, "Waiting for others").get_by_role("link", name="Plan the move").click()
    expect_no_buttons(page)


def test_a_page_that_is_open_for_long_learns_that_its_user_may_not_decide(
    open_page: OpenPage, ben: Account, team: Team
) -> None:
    session_id = propose(ben, team)
    page = open_page(user=ben.user, expected=REFUSED)
    page.goto(f"/build?session={session_id}")
    expect(page.get_by_role("button", name="Approve plan")).to_be_enabled()
    team.database.execute("update greenlight.setting set self_approval = false")
    page.get_by_role("button", name="Approve plan").click()
    expect(page.get_by_text("Only an approver of this plan's team can do this")).to_be_visible()
    expect_no_buttons(page)
    assert ben.rows("plan")[0]["status"] == "proposed"


def test_a_viewer_reads_and_has_no_buttons(
    open_page: OpenPage, ada: Account, stranger: Account, team: Team
) -> None:
    team.join(stranger.id, "viewer")
    session_id = propose(ada, team, expires_at=in_an_hour())
    page = open_page(user=stranger.user)
    page.goto("/plans")
    expect(page.get_by_role("heading", name="Nothing is waiting for you")).to_be_visible()
    page.goto(f"/build?session={session_id}&user={ada.id}")
    expect(page.get_by_text("The approvers of its team decide on it, and you are not one")).to_be_visible()
    expect_no_buttons(page)


def test_a_former_approver_decides_nothing(
    open_page: OpenPage, ada: Account, ben: Account, team: Team
) -> None:
    session_id = propose(ada, team)
    page = open_page(user=ben.user, expected=REFUSED)
    page.goto(f"/build?session={session_id}&user={ada.id}")
    page.get_by_role("heading", name="Van").wait_for()
    team.leave(ben.id)
    page.get_by_role("button", name="Approve plan").click()
    expect(page.get_by_text("it was deleted, or you are not in its team now")).to_be_visible()
    expect_no_buttons(page)
    page.reload()
    expect(page.get_by_role("heading", name="Plan not found")).to_be_visible()
    page.goto("/plans")
    expect(page.get_by_role("heading", name="Nothing is waiting for you")).to_be_visible()
    assert ada.rows("plan")[0]["status"] == "proposed"


@pytest.mark.parametrize("user", ["ada", "nonsense"])
def test_a_stranger_finds_nothing(
    open_page: OpenPage, ada: Account, stranger: Account, team: Team, user: str
) -> None:
    session_id = propose(ada, team)
    page = open_page(user=stranger.user)
    page.goto(f"/build?session={session_id}&user={ada.id if user == 'ada' else user}")
    expect(page.get_by_role("heading", name="Plan not found")).to_be_visible()
    # A session of their own by that name is another one.
    page.goto(f"/build?session={session_id}")
    expect(page.get_by_text("You have no plan in this planning session")).to_be_visible()


def test_two_owners_have_sessions_of_one_name(
    open_page: OpenPage, ada: Account, ben: Account, team: Team
) -> None:
    session_id = propose(ada, team, title="The plan of Ada")
    ben.receive_proposal(session_id, title="The plan of Ben", content=f"{PLAN}\nBen's own.\n")
    page = open_page(user=ben.user)
    page.goto(f"/build?session={session_id}")
    expect(page.get_by_text("Ben's own.")).to_be_visible()
    page.goto(f"/build?session={session_id}&user={ada.id}")
    expect(page.get_by_text("Plan of Ada", exact=True)).to_be_visible()
    expect(page.get_by_text("Ben's own.")).to_have_count(0)
    page.get_by_role("button", name="Reject").click()
    page.get_by_role("dialog").get_by_role("button", name="Reject").click()
    expect(page.get_by_text("You rejected version 1")).to_be_visible()
    assert [plan["status"] for plan in ada.rows("plan", user_id=f"eq.{ada.id}")] == ["rejected"]
    assert [plan["status"] for plan in ben.rows("plan", user_id=f"eq.{ben.id}")] == ["proposed"]


def test_the_next_round_says_who_asked_for_changes(
    open_page: OpenPage, ada: Account, ben: Account, team: Team
) -> None:
    session_id = propose(ada, team)
    page = open_page(user=ben.user)
    page.goto(f"/build?session={session_id}&user={ada.id}")
    page.get_by_role("button", name="Request changes").click()
    page.get_by_role("dialog").get_by_label("Comment").fill("Which van?")
    page.get_by_role("dialog").get_by_role("button", name="Request changes").click()
    expect(page.get_by_text("You asked for changes to version 1")).to_be_visible()
    ada.receive_proposal(session_id, version=2, content=f"{PLAN}\nThe blue van.\n")
    page = open_page(user=ada.user)
    page.goto(f"/build?session={session_id}")
    round_ = page.get_by_role("region", name="The last round")
    expect(round_).to_contain_text("Ben asked for:")
    expect(round_).to_contain_text("Which van?")


def test_without_a_name_the_beginning_of_the_id_stands_there(
    open_page: OpenPage, account: Account, ben: Account, team: Team
) -> None:
    propose(account, team)
    page = open_page(user=ben.user)
    page.goto("/plans")
    expect(section(page, "Waiting for you")).to_contain_text(f"of {account.id[:8]}")


def test_an_agent_is_managed_by_its_owner_and_the_approvers(
    open_page: OpenPage, ada: Account, ben: Account, team: Team, stack: RunningStack
) -> None:
    session_id = propose(ada, team)
    page = open_page(user=ben.user)
    page.goto(f"/build?session={session_id}&user={ada.id}")
    page.get_by_role("button", name="Approve plan").click()
    agent_id = redirected(page)
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("alertdialog").get_by_role("button", name="Stop").click()
    expect(page.get_by_text("Stopped by an approver.")).to_be_visible()
    expect(page.get_by_role("link", name="Revise")).to_have_count(0)
    adas = open_page(user=ada.user)
    adas.goto(f"/build/{agent_id}")
    adas.get_by_role("button", name="Try again").click()
    expect(status_of(adas)).to_have_text("Building")

    # A viewer looks on.
    page.close()
    team.leave(ben.id)
    team.join(ben.id, "viewer")
    page = open_page(user=ben.user)
    page.goto("/agents")
    row = page.get_by_role("link", name="Plan the move")
    expect(row).to_contain_text("of Ada")
    row.click()
    expect(page.get_by_text("Agent of Ada.")).to_contain_text("You can read it.")
    for name in ("Stop", "Try again", "More actions"):
        expect(page.get_by_role("button", name=name)).to_have_count(0)
