"""The session's cookies: only over https where the app has it, small enough for the server, and always removable."""

import base64
import json
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.conftest import RunningStack
from tests.web.conftest import REFUSED, Account, OpenPage, Via, session_cookies, sign_in

# What the server takes, and what is left of it for everything else: see ui/package.json and ui/lib/env.ts.
HEADERS = 65_536
ROOM = HEADERS * 3 // 4


def auth_cookies(page: Page) -> list[Any]:
    return [cookie for cookie in page.context.cookies() if "auth-token" in str(cookie["name"])]


def remember(account: Account, size: int) -> None:
    """Give the user so many bytes of metadata, as their app does."""
    headers = {"Authorization": f"Bearer {account.token}"}
    data = {"remembered": "x" * size}
    account.supabase.put("/auth/v1/user", headers=headers, json={"data": data}).raise_for_status()


def ended(stack: RunningStack, account: Account, url: str) -> dict[str, str]:
    """Return the cookies of a session whose access token has to be refreshed."""
    parts = session_cookies(stack, account.user, url)
    value = "".join(part["value"] for part in parts).removeprefix("base64-")
    session = json.loads(base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)))
    expired = json.dumps({**session, "user": None, "expires_at": 1, "expires_in": 0}).encode()
    name = parts[0]["name"].removesuffix(".0")
    return {name: "base64-" + base64.urlsafe_b64encode(expired).decode().rstrip("=")}


@pytest.mark.parametrize(
    ("headers", "secure"),
    [
        ({}, False),
        ({"X-Forwarded-Proto": "http"}, False),
        ({"X-Forwarded-Proto": "https"}, True),
        ({"X-Forwarded-Proto": "https, http"}, True),
        ({"X-Forwarded-Proto": "http, https"}, False),
        ({"Forwarded": 'for=192.0.2.1;proto="https", for=192.0.2.2;proto=http'}, True),
        ({"Forwarded": "for=192.0.2.1;proto=http, for=192.0.2.2;proto=https"}, False),
        ({"Origin": "https://app.example.com"}, True),
    ],
)
def test_a_refreshed_session_s_cookies_are_secure_on_https(
    served: dict[Via, str], account: Account, stack: RunningStack, headers: dict[str, str], secure: bool
) -> None:
    url = served["service"]
    answer = httpx.get(f"{url}/agents", headers=headers, cookies=ended(stack, account, url))

    assert answer.status_code == 200
    cookies = answer.headers.get_list("set-cookie")
    assert cookies
    assert [cookie for cookie in cookies if ("; secure" in cookie.lower()) != secure] == []


@pytest.mark.parametrize("proto", ["http", "https"])
def test_signing_in_sets_secure_cookies_on_https(open_page: OpenPage, account: Account, proto: str) -> None:
    page = open_page(extra_http_headers={"X-Forwarded-Proto": proto})
    sign_in(page, account.user)

    assert auth_cookies(page)
    assert {cookie["secure"] for cookie in auth_cookies(page)} == {proto == "https"}


def test_a_user_with_much_metadata_works_as_any_other(open_page: OpenPage, account: Account) -> None:
    remember(account, 3_000)
    page = open_page()
    sign_in(page, account.user)

    expect(page.get_by_role("heading", name="No agents yet")).to_be_visible()
    # Servers and proxies take 8 KiB and more: the tokens alone, and not the user, are in there.
    assert sum(len(cookie["name"]) + len(cookie["value"]) + 3 for cookie in auth_cookies(page)) < 8_000
    assert page.evaluate("Object.keys(localStorage).filter((key) => key.startsWith('sb-'))") == []
    page.get_by_role("link", name="Plans").click()
    page.get_by_role("heading", name="Nothing is waiting for you").wait_for()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in")
    assert auth_cookies(page) == []


def test_a_session_that_no_cookies_hold_is_refused_with_a_reason(
    open_page: OpenPage, account: Account
) -> None:
    remember(account, ROOM)
    page = open_page()
    page.goto("/sign-in")
    for _ in range(2):
        page.get_by_label("Email").fill(account.user.email)
        page.get_by_label("Password").fill(account.user.password)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_text("Your account holds more data than the browser can keep")).to_be_visible()
        assert auth_cookies(page) == []
        page.reload()


def test_a_session_that_grows_too_large_ends_at_the_sign_in_page(
    open_page: OpenPage, served: dict[Via, str], account: Account, stack: RunningStack
) -> None:
    url = served["service"]
    cookies = ended(stack, account, url)
    remember(account, ROOM)
    page = open_page()
    page.context.add_cookies([{"name": name, "value": value, "url": url} for name, value in cookies.items()])

    page.goto("/agents")

    page.wait_for_url("**/sign-in?next=%2Fagents")
    assert auth_cookies(page) == []


def test_the_cookies_of_earlier_versions_still_work(
    open_page: OpenPage, served: dict[Via, str], account: Account, stack: RunningStack
) -> None:
    """They hold the user, too, and are longer than the 16 KiB that a server takes by default."""
    remember(account, 5_500)
    cookies = session_cookies(stack, account.user, served["service"])
    assert sum(len(cookie["value"]) for cookie in cookies) > 16_384
    page = open_page(user=account.user)
    page.goto("/agents")
    expect(page.get_by_role("heading", name="No agents yet")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in")
    assert auth_cookies(page) == []


def test_signing_out_works_whatever_supabase_says(open_page: OpenPage, account: Account) -> None:
    """A gateway that takes no tokens of this size breaks every page, and signing out is the way out."""
    remember(account, 14_000)
    page = open_page(expected=REFUSED + "|React error #441")
    page.goto("/sign-in")
    page.get_by_label("Email").fill(account.user.email)
    page.get_by_label("Password").fill(account.user.password)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="This page could not be loaded").wait_for()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in")
    assert auth_cookies(page) == []
