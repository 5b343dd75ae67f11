"""A forgotten password: the mail's link signs the user in, once, and a new password replaces the old one.

The local Auth sends no mail, so the test takes the link's token from the database, where Auth keeps it.
"""

import uuid

import httpx
import psycopg
import pytest
from playwright.sync_api import Page, expect

from tests.conftest import RunningStack
from tests.web.conftest import Account, OpenPage, Via


def ask_for_link(page: Page, email: str) -> None:
    page.goto("/sign-in")
    page.get_by_role("link", name="Forgot your password?").click()
    page.get_by_role("heading", name="Reset your password").wait_for()
    page.get_by_label("Email").fill(email)
    page.get_by_role("button", name="Send the link").click()
    expect(page.get_by_role("status")).to_have_text(
        f"If there is an account for {email}, we sent a link to it. Open the link to continue."
    )


def link(stack: RunningStack, user_id: str) -> str:
    """Return where Supabase's own mail template for this flow leads."""
    with psycopg.connect(stack.needs_database()) as database:
        row = database.execute("select recovery_token from auth.users where id = %s", [user_id]).fetchone()
    assert row
    return f"/auth/confirm?token_hash={row[0]}&type=recovery&next=/update-password"


def sign_in_with(page: Page, email: str, password: str) -> None:
    page.goto("/sign-in")
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def test_a_forgotten_password_is_replaced(open_page: OpenPage, account: Account, stack: RunningStack) -> None:
    page = open_page()
    ask_for_link(page, account.user.email)
    address = link(stack, account.user.id)

    page.goto(address)
    page.get_by_role("heading", name="Reset your password").wait_for()
    page.get_by_role("button", name="Continue").click()
    page.get_by_label("New password").fill("a password of my own")
    page.get_by_role("button", name="Save the password").click()
    page.wait_for_url("**/agents")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in")

    sign_in_with(page, account.user.email, account.user.password)
    expect(page.get_by_text("Email or password is wrong.")).to_be_visible()
    sign_in_with(page, account.user.email, "a password of my own")
    page.wait_for_url("**/agents")

    # The link works once.
    other = open_page()
    other.goto(address)
    other.get_by_role("button", name="Continue").click()
    expect(other.get_by_text("This link has already been used, or it has expired.")).to_be_visible()


def test_programs_that_read_mail_do_not_use_up_its_link(
    open_page: OpenPage, served: dict[Via, str], account: Account, stack: RunningStack
) -> None:
    page = open_page()
    ask_for_link(page, account.user.email)
    address = link(stack, account.user.id)
    with httpx.Client(base_url=served["service"]) as scanner:
        for method in ("HEAD", "GET", "GET", "HEAD"):
            answer = scanner.request(method, address)
            assert (answer.status_code, answer.headers.get("set-cookie")) == (200, None)
            assert "no-store" in answer.headers["cache-control"]

    page.goto(address)
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("heading", name="Choose a new password").wait_for()


def test_someone_else_s_link_changes_the_account_only_if_the_visitor_says_so(
    open_page: OpenPage, account: Account, stranger: Account, stack: RunningStack
) -> None:
    ask_for_link(open_page(), stranger.user.email)
    address = link(stack, stranger.user.id)
    page = open_page(user=account.user)

    page.goto(address)
    expect(page.get_by_text(f"You are signed in as {account.user.email}")).to_be_visible()
    page.goto("/agents")
    expect(page.get_by_text(account.user.email)).to_be_visible()

    page.goto(address)
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("heading", name="Choose a new password").wait_for()
    page.goto("/agents")
    expect(page.get_by_text(stranger.user.email)).to_be_visible()


@pytest.mark.parametrize(
    "query", ["", "token_hash=&type=recovery", "token_hash=a&type=sms", "error_code=otp_expired", "code=nope"]
)
def test_a_link_that_cannot_work_leads_to_the_sign_in_page(open_page: OpenPage, query: str) -> None:
    page = open_page()
    page.goto(f"/auth/confirm?{query}&next=/plans")
    page.wait_for_url("**/sign-in?confirm=failed&next=%2Fplans")
    expect(page.get_by_text("This link has already been used, or it has expired.")).to_be_visible()


def test_asking_for_a_link_does_not_tell_who_has_an_account(open_page: OpenPage) -> None:
    ask_for_link(open_page(), f"{uuid.uuid4().hex}@example.com")


def test_a_visitor_cannot_choose_a_password(open_page: OpenPage) -> None:
    page = open_page()
    page.goto("/update-password")
    page.wait_for_url("**/sign-in?next=%2Fupdate-password")
