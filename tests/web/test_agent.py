"""The agent's page and the list of agents, for their owner and for a stranger."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import RunningStack
from tests.plan import new_session, sha256
from tests.web.conftest import PLAN, REFUSED, Account, OpenPage, sign_in, status_of


def choose(page: Page, name: str) -> None:
    """Choose what is done rarely."""
    page.get_by_role("button", name="More actions").click()
    page.get_by_role("menuitem", name=name).click()


def confirm(page: Page, name: str) -> None:
    page.get_by_role("alertdialog").get_by_role("button", name=name).click()


def test_a_stranger_finds_nothing_at_the_address(
    open_page: OpenPage, account: Account, stranger: Account
) -> None:
    agent_id = account.approved(title="A secret plan")["agent_id"]

    owner = open_page(user=account.user)
    owner.goto(f"/build/{agent_id}")
    expect(owner.get_by_role("heading", level=1)).to_have_text("A secret plan")

    other = open_page(user=stranger.user, expected=REFUSED)
    answer = other.goto(f"/build/{agent_id}")
    assert answer
    assert answer.status == 404
    expect(other.get_by_role("heading", level=1)).to_have_text("Agent not found")
    assert "A secret plan" not in other.content()


def test_a_visitor_who_is_not_signed_in_comes_back_after_signing_in(
    open_page: OpenPage, account: Account
) -> None:
    agent_id = account.approved(title="Deep link")["agent_id"]
    page = open_page()
    page.goto(f"/build/{agent_id}?from=mail")
    page.get_by_label("Email").fill(account.user.email)
    page.get_by_label("Password").fill("wrong, at first")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("Email or password is wrong.")).to_be_visible()
    page.get_by_label("Password").fill(account.user.password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"**/build/{agent_id}?from=mail")
    expect(page.get_by_role("heading", level=1)).to_have_text("Deep link")


@pytest.mark.parametrize("agent_id", ["00000000-0000-4000-8000-000000000000", "nope", "%00", "..%2Fagents"])
def test_an_unknown_id_is_an_ordinary_not_found(open_page: OpenPage, account: Account, agent_id: str) -> None:
    page = open_page(user=account.user, expected=REFUSED)
    page.goto(f"/build/{agent_id}")
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile("not found"))


def test_the_status_updates_by_itself(open_page: OpenPage, account: Account) -> None:
    agent_id = account.approved()["agent_id"]
    page = open_page(user=account.user)
    page.goto(f"/build/{agent_id}")
    expect(status_of(page)).to_have_text("Building")

    account.finish_building(agent_id)

    expect(status_of(page)).to_have_text("Active")
    expect(page.get_by_role("region", name="History").get_by_text("Now active")).to_be_visible()


def test_pause_resume_and_archive(open_page: OpenPage, account: Account) -> None:
    agent_id = account.approved()["agent_id"]
    account.finish_building(agent_id)
    page = open_page(user=account.user)
    page.goto(f"/build/{agent_id}")
    status = status_of(page)

    choose(page, "Pause")
    page.get_by_role("alertdialog").get_by_role("button", name="Cancel").click()
    assert account.rows("agent")[0]["status"] == "active"

    choose(page, "Pause")
    confirm(page, "Pause")
    expect(status).to_have_text("Paused")
    page.get_by_role("button", name="Resume").click()
    confirm(page, "Resume")
    expect(status).to_have_text("Active")
    choose(page, "Archive")
    confirm(page, "Archive")
    expect(status).to_have_text("Archived")
    for gone in ("Resume", "Revise"):
        expect(page.get_by_role("main").get_by_text(gone, exact=True)).to_have_count(0)
    page.get_by_role("button", name="More actions").click()
    expect(page.get_by_role("menuitem")).to_have_text(["Delete"])
    page.keyboard.press("Escape")
    expect(page.get_by_role("region", name="History").get_by_role("listitem")).to_have_text(
        [
            re.compile(what)
            for what in ("Now archived", "Now active", "Now paused", "Now active", "Version 1 approved")
        ]
    )
    assert account.rows("agent")[0]["status"] == "archived"


def test_a_button_that_comes_too_late_says_so(open_page: OpenPage, account: Account) -> None:
    agent_id = account.approved()["agent_id"]
    account.finish_building(agent_id)
    page = open_page(user=account.user, expected=REFUSED)
    page.goto(f"/build/{agent_id}")
    choose(page, "Pause")
    page.get_by_role("alertdialog").wait_for()
    account.done("transition_agent", agent_id=agent_id, to_status="archived")
    confirm(page, "Pause")
    expect(page.get_by_text("The agent's status has changed")).to_be_visible()
    expect(status_of(page)).to_have_text("Archived")


def test_delete_and_undo(open_page: OpenPage, account: Account) -> None:
    agent_id = account.approved(title="Regretted")["agent_id"]
    page = open_page(user=account.user)
    page.goto(f"/build/{agent_id}")

    choose(page, "Delete")
    confirm(page, "Delete")
    page.wait_for_url("**/agents")
    assert account.rows("agent") == []
    page.get_by_role("button", name="Undo").click()

    page.wait_for_url(f"**/build/{agent_id}")
    expect(page.get_by_role("heading", level=1)).to_have_text("Regretted")
    assert [agent["id"] for agent in account.rows("agent")] == [agent_id]


def test_recently_deleted_agents_can_be_restored(open_page: OpenPage, account: Account) -> None:
    kept, restored = (account.approved(title=title)["agent_id"] for title in ("Gone", "Back again"))
    for agent_id in (kept, restored):
        account.done("delete_agent", agent_id=agent_id)
    page = open_page(user=account.user)
    page.goto("/agents")
    expect(page.get_by_role("heading", name="No agents yet")).to_be_visible()
    page.get_by_role("link", name="Recently deleted").click()
    expect(page.get_by_role("listitem")).to_have_count(2)

    page.get_by_role("button", name="Restore Back again").click()

    page.wait_for_url(f"**/build/{restored}")
    assert [agent["id"] for agent in account.rows("agent")] == [restored]
    # The other one, at its own address.
    page.goto(f"/build/{kept}")
    expect(page.get_by_role("heading", level=1)).to_have_text("This agent was deleted")
    page.get_by_role("button", name="Restore").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Gone")


def test_versions_and_what_changed_between_them(open_page: OpenPage, account: Account) -> None:
    session_id = new_session()
    agent_id = account.approved(plan_id=session_id)["agent_id"]
    revised = PLAN.replace("Two trips.", "Three trips.")
    account.approved(plan_id=session_id, content=revised, version=2, title="Plan the move, revised")
    page = open_page(user=account.user)
    page.goto(f"/build/{agent_id}")

    expect(page.get_by_role("heading", level=1)).to_have_text("Plan the move, revised")
    versions = page.get_by_role("region", name="Versions").get_by_role("listitem")
    expect(versions).to_have_text([re.compile("Version 2"), re.compile("Version 1")])
    fingerprint = page.get_by_title(sha256(revised))
    expect(fingerprint).to_be_hidden()
    page.get_by_text("Details", exact=True).click()
    expect(fingerprint).to_be_visible()
    page.get_by_role("tab", name="Changes").click()
    expect(page.get_by_text("Changes since version 1, which was approved, are marked:")).to_be_visible()
    changes = page.get_by_role("article")
    expect(changes.get_by_role("deletion")).to_have_text("Two trips.")
    expect(changes.get_by_role("insertion")).to_have_text("Three trips.")


def test_a_title_is_read_once_unless_another_one_differs(open_page: OpenPage, account: Account) -> None:
    same, other = (account.approved(title=title)["agent_id"] for title in ("Plan the move", "The move"))
    page = open_page(user=account.user)
    page.goto(f"/build/{same}")
    page.get_by_role("heading", name="Van").wait_for()
    expect(page.get_by_role("main").get_by_text("Plan the move")).to_have_count(1)
    # Here the document says something else than the title.
    page.goto(f"/build/{other}")
    page.get_by_role("heading", name="Van").wait_for()
    expect(page.get_by_role("article").get_by_text("Plan the move")).to_have_count(1)


def test_agents_are_listed_newest_first_by_status_and_page(open_page: OpenPage, account: Account) -> None:
    ids = [account.approved(title=f"Agent {number:02}")["agent_id"] for number in range(23)]
    account.finish_building(ids[0])
    page = open_page(user=account.user)
    page.goto("/agents")
    names = page.get_by_role("main").get_by_role("listitem").get_by_role("strong")

    expect(names).to_have_text([f"Agent {number:02}" for number in range(22, 2, -1)])
    page.get_by_role("link", name="Older").click()
    expect(names).to_have_text(["Agent 02", "Agent 01", "Agent 00"])
    page.get_by_role("link", name="Newer").click()
    expect(names).to_have_count(20)
    page.get_by_role("link", name="Active").click()
    expect(names).to_have_text(["Agent 00"])
    page.get_by_role("link", name="Paused").click()
    expect(page.get_by_text("No agent is paused.")).to_be_visible()
    names = page.get_by_role("main").get_by_role("listitem").get_by_role("strong")
    page.get_by_role("link", name="All").click()
    names.first.click()
    page.wait_for_url(f"**/build/{ids[-1]}")


def test_signing_out_ends_it(open_page: OpenPage, account: Account, stack: RunningStack) -> None:
    page = open_page(user=account.user)
    page.goto("/agents")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in")
    page.goto("/agents")
    page.wait_for_url("**/sign-in?next=%2Fagents")
    # The next user of this browser sees their own.
    account.approved(title="Not for others")
    sign_in(page, stack.sign_up())
    expect(page.get_by_role("heading", name="No agents yet")).to_be_visible()


@pytest.mark.parametrize(
    "elsewhere", ["https://example.org/", "//example.org", "/\\example.org", "javascript:alert(1)"]
)
def test_signing_in_does_not_lead_out_of_the_app(
    open_page: OpenPage, account: Account, elsewhere: str
) -> None:
    page = open_page()
    page.goto("/sign-in")
    page.locator("input[name=next]").evaluate("(input, next) => { input.value = next; }", elsewhere)
    page.get_by_label("Email").fill(account.user.email)
    page.get_by_label("Password").fill(account.user.password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/agents")


def test_all_of_a_long_history_can_be_reached(open_page: OpenPage, account: Account) -> None:
    agent_id = account.approved()["agent_id"]
    account.finish_building(agent_id)
    for _ in range(50):
        account.done("transition_agent", agent_id=agent_id, to_status="paused")
        account.done("transition_agent", agent_id=agent_id, to_status="active")
    page = open_page(user=account.user)
    page.goto(f"/build/{agent_id}")
    entries = page.get_by_role("region", name="History").get_by_role("listitem")
    expect(entries).to_have_count(100)
    expect(page.get_by_text("Version 1 approved")).to_have_count(0)
    # What happens meanwhile comes first, and nothing drops out.
    account.done("transition_agent", agent_id=agent_id, to_status="paused")
    page.get_by_role("button", name="Show older").click()

    expect(entries.last).to_contain_text("Version 1 approved")
    expect(entries.first).to_contain_text("Now paused")
    expect(entries).to_have_count(103)
    expect(page.get_by_role("button", name="Show older")).to_have_count(0)
