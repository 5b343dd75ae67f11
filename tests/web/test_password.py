"""A forgotten password: the mail's link signs the user in, once, and a new password replaces the old one.

The local Auth sends no mail, so the test takes the link's token from the database, where Auth keeps it.
"""

import uuid

import psycopg
from playwright.sync_api import Page, expect

from tests.conftest import RunningStack
from tests.web.conftest import Account, OpenPage


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
    expect(other.get_by_text("This link has already been used, or it has expired.")).to_be_visible()


def test_asking_for_a_link_does_not_tell_who_has_an_account(open_page: OpenPage) -> None:
    ask_for_link(open_page(), f"{uuid.uuid4().hex}@example.com")


def test_a_visitor_cannot_choose_a_password(open_page: OpenPage) -> None:
    page = open_page()
    page.goto("/update-password")
    page.wait_for_url("**/sign-in?next=%2Fupdate-password")
