"""The lists at /plans: all that waits can be reached, and what has expired is apart, by the database's clock."""

import re
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.plan import new_session
from tests.web.conftest import Account, OpenPage, expire, in_an_hour

PAGE_SIZE = 20


def titles(region: Locator) -> list[str]:
    return region.get_by_role("listitem").locator("strong").all_inner_texts()


def pages(page: Page, name: str) -> list[str]:
    """Walk through the pages of a list, and return all titles in order."""
    seen: list[str] = []
    while True:
        region = page.get_by_role("region", name=name)
        first = PAGE_SIZE * (len(seen) // PAGE_SIZE) + 1
        region.get_by_text(re.compile(rf"^{first} to \d+ of \d+$")).wait_for()
        seen += titles(region)
        older = region.get_by_role("link", name="Older")
        if older.count() == 0:
            return seen
        older.click()


def receive(account: Account, titles: list[str], expires_at: str | None = None) -> None:
    """Receive proposals with these titles. On this machine, all but the first one are copies of its row."""
    local = account.stack.local
    for title in titles if local is None else titles[:1]:
        account.receive_proposal(new_session(), title=title, expires_at=expires_at)
    if local is None:
        return
    with psycopg.connect(local.postgres.url("supabase_admin")) as database:
        database.execute("set session_replication_role = replica")
        database.execute(
            "insert into public.plan select (jsonb_populate_record(plan, jsonb_build_object('id', gen_random_uuid(),"
            " 'session_id', session, 'document_path', replace(document_path, session_id, session),"
            " 'title', more.title, 'created_at', created_at + number * interval '1 ms'))).*"
            " from public.plan, unnest(%s::text[], %s::text[]) with ordinality as more (title, session, number)"
            " where user_id = %s and plan.title = %s",
            [titles[1:], [new_session() for _ in titles[1:]], account.id, titles[0]],
        )


def test_the_101st_waiting_plan_is_on_the_sixth_page(open_page: OpenPage, account: Account) -> None:
    receive(account, [f"Plan {number}" for number in range(101)])
    page = open_page(user=account.user)
    page.goto("/plans")

    expect(page.get_by_role("link", name="Plans 101 waiting")).to_be_visible()
    assert pages(page, "Waiting for you") == [f"Plan {number}" for number in reversed(range(101))]

    page.get_by_role("link", name="Plan 0").click()
    expect(page.get_by_role("heading", name="Plan 0")).to_be_visible()
    page.go_back()
    page.get_by_role("link", name="Newer").click()
    expect(page.get_by_text("81 to 100 of 101")).to_be_visible()
    # A page that is no longer there, or never was.
    for other in ("7", "900000", "0", "-1", "x", "2&waiting=3"):
        page.goto(f"/plans?waiting={other}")
        expect(page.get_by_role("heading", name="Waiting for you")).to_be_visible()
    page.goto("/plans?waiting=7")
    expect(page.get_by_text("There are no more plans.")).to_be_visible()


@pytest.mark.parametrize("clock", [-3, 0, 3])
def test_what_has_expired_is_apart_by_the_database_s_clock(
    open_page: OpenPage, account: Account, clock: int
) -> None:
    for title in ("In time", "Too late"):
        account.receive_proposal(new_session(), title=title, expires_at=in_an_hour())
    account.receive_proposal(new_session(), title="At any time")
    expire(account, "Too late")
    page = open_page(user=account.user)
    page.clock.install(time=datetime.now(UTC) + timedelta(hours=clock))
    page.goto("/plans")

    expect(page.get_by_role("link", name="Plans 2 waiting")).to_be_visible()
    assert titles(page.get_by_role("region", name="Waiting for you")) == ["At any time", "In time"]
    assert titles(page.get_by_role("region", name="Expired")) == ["Too late"]
    # What the browser loads itself is the same.
    account.receive_proposal(new_session(), title="Another one")
    with page.expect_response(re.compile(r"/rest/v1/plan\?.*expires_at.*lte")):
        page.clock.fast_forward("00:00:30")
    expect(page.get_by_role("link", name="Plans 3 waiting")).to_be_visible()
    waiting = page.get_by_role("region", name="Waiting for you")
    expect(waiting.get_by_role("link", name="Another one")).to_be_visible()
    assert titles(waiting) == ["Another one", "At any time", "In time"]
    assert titles(page.get_by_role("region", name="Expired")) == ["Too late"]


def test_an_expired_plan_is_asked_for_again(open_page: OpenPage, account: Account) -> None:
    session_id = new_session()
    account.receive_proposal(session_id, expires_at=in_an_hour())
    expire(account)
    page = open_page(user=account.user)
    page.goto("/plans")
    expect(page.get_by_role("heading", name="Nothing is waiting for you")).to_be_visible()
    expect(page.get_by_role("link", name="Plans", exact=True)).to_be_visible()

    page.get_by_role("button", name="Ask for it again").click()
    page.get_by_role("dialog").get_by_role("button", name="Ask again").click()

    decided = page.get_by_role("region", name="Recent decisions").get_by_role("listitem")
    expect(decided).to_contain_text("It expired before I decided. Please propose it again.")
    expect(page.get_by_role("region", name="Expired")).to_have_count(0)
    # The planner may propose the same text: nothing was wrong with it.
    account.receive_proposal(session_id, version=2)
    page.reload()
    expect(page.get_by_role("region", name="Waiting for you").get_by_role("listitem")).to_contain_text(
        "Version 2"
    )


def test_each_list_has_its_own_pages(open_page: OpenPage, account: Account) -> None:
    receive(account, [f"Late {number}" for number in range(PAGE_SIZE + 1)], expires_at=in_an_hour())
    expire(account, "Late %")
    sessions = [new_session() for _ in range(PAGE_SIZE + 1)]
    for number, session_id in enumerate(sessions):
        account.receive_proposal(session_id, title=f"Decided {number}")
    # The order is that of the decisions, not of the proposals.
    for session_id in reversed(sessions):
        account.done("reject_plan", session_id=session_id, version=1)
    page = open_page(user=account.user)
    page.goto("/plans")

    assert pages(page, "Recent decisions") == [f"Decided {number}" for number in range(PAGE_SIZE + 1)]
    assert pages(page, "Expired") == [f"Late {number}" for number in reversed(range(PAGE_SIZE + 1))]
    assert "decided=2" in page.url
    assert titles(page.get_by_role("region", name="Recent decisions")) == [f"Decided {PAGE_SIZE}"]
