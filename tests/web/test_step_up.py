"""A decision that needs a second factor or a fresh sign-in: the way there, and back to it with nothing lost.

The local Auth has no factors: its answers about them are a stand-in's, as @supabase/auth-js 2.119.1 expects them.
"""

import json
import re
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import RunningStack
from tests.plan import new_session
from tests.teams import Team, team_of
from tests.web.conftest import (
    REFUSED,
    Account,
    OpenPage,
    redirected,
    resigned,
    serve,
    session_cookies,
)
from tests.web.oauth_server import Answer, Handler, OAuthServer
from tests.web.test_pages import violations

FACTOR = str(uuid.uuid4())
HOUR = 3600


class FactorHandler(Handler):
    calls: ClassVar = {
        ("GET", re.compile("/auth/v1/user")): "user",
        ("POST", re.compile(f"/auth/v1/factors/{FACTOR}/challenge")): "challenge",
        ("POST", re.compile(f"/auth/v1/factors/{FACTOR}/verify")): "verify",
    }
    server: "FactorServer"

    def answer(self, call: str, match: re.Match[str], body: bytes) -> Answer:  # noqa: ARG002
        headers = {name: self.headers[name] for name in ("apikey", "authorization")}
        user = self.server.upstream.get("/auth/v1/user", headers=headers).json()
        if call == "user":
            factor = {"id": FACTOR, "factor_type": "totp", "status": "verified"}
            return 200, {**user, "factors": [factor]}
        if call == "challenge":
            return 200, {"id": str(uuid.uuid4()), "type": "totp", "expires_at": int(time.time()) + 300}
        if json.loads(body)["code"] != "123456":
            return 422, {
                "code": 422,
                "error_code": "mfa_verification_failed",
                "msg": "Invalid TOTP code entered",
            }
        token = headers["authorization"].removeprefix("Bearer ")
        amr = [{"method": "totp", "timestamp": int(time.time())}]
        return 200, {
            "access_token": resigned(self.server.stack, token, aal="aal2", amr=amr),
            "token_type": "bearer",
            "expires_in": HOUR,
            "expires_at": int(time.time()) + HOUR,
            "refresh_token": "of-the-stand-in",
            "user": user,
        }


class FactorServer(OAuthServer):
    handler = FactorHandler

    def __init__(self, stack: RunningStack) -> None:
        super().__init__(stack.supabase_url)
        self.stack = stack


@pytest.fixture
def project(stack: RunningStack) -> Iterator[Team]:
    if stack.local is None:
        pytest.skip("changing the project's settings needs a Supabase on this machine")
    with team_of(stack.local.postgres.url()) as team:
        yield team


@pytest.fixture
def app_with_factors(stack: RunningStack, tmp_path: Path) -> Iterator[str]:
    with (
        FactorServer(stack) as factors,
        serve(replace(stack, supabase_url=factors.url), "direct", tmp_path) as url,
    ):
        yield url


def say_something_and_reject(page: Page, session_id: str) -> None:
    page.goto(f"/build?session={session_id}")
    page.get_by_role("heading", name="Van").wait_for()
    page.get_by_role("button", name="Reject").click()
    page.get_by_role("dialog").get_by_label("Comment").fill("We have no van.")
    page.get_by_role("dialog").get_by_role("button", name="Reject").click()


def test_a_sign_in_of_long_ago_is_done_again(
    open_page: OpenPage, account: Account, stack: RunningStack, project: Team
) -> None:
    project.database.execute("update greenlight.setting set decision_max_age = '10 minutes'")
    session_id = new_session()
    account.receive_proposal(session_id)
    page = open_page(expected=REFUSED)
    page.goto("/sign-in")
    an_hour_ago = [{"method": "password", "timestamp": int(time.time()) - HOUR}]
    page.context.add_cookies(session_cookies(stack, account.user, page.url, amr=an_hour_ago))

    say_something_and_reject(page, session_id)
    expect(page.get_by_text("To decide this you have to sign in again")).to_be_visible()
    assert account.rows("plan")[0]["status"] == "proposed"
    page.get_by_role("link", name="Confirm that it is you").click()
    password = page.get_by_label(f"Password of {account.user.email}")
    password.fill("not-the-password")
    page.get_by_role("button", name="Sign in again").click()
    expect(page.get_by_role("main").get_by_role("alert")).to_have_text("Email or password is wrong.")
    assert violations(page, "confirm") == []
    password.fill(account.user.password)
    page.get_by_role("button", name="Sign in again").click()

    page.wait_for_url(f"**/build?session={session_id}")
    page.get_by_role("button", name="Reject").click()
    expect(page.get_by_role("dialog").get_by_label("Comment")).to_have_value("We have no van.")
    page.get_by_role("dialog").get_by_role("button", name="Reject").click()
    expect(page.get_by_text("You rejected version 1.")).to_be_visible()
    assert account.rows("plan")[0]["comment"] == "We have no van."


def test_a_second_factor_is_verified(
    app_with_factors: str, open_page: OpenPage, account: Account, stack: RunningStack, project: Team
) -> None:
    project.database.execute("update greenlight.setting set decision_aal = 'aal2'")
    session_id = new_session()
    account.receive_proposal(session_id)
    page = open_page(url=app_with_factors, expected=REFUSED)
    factors = replace(stack, supabase_url=stack.supabase_url)
    page.context.add_cookies(session_cookies(factors, account.user, app_with_factors))

    page.goto(f"/build?session={session_id}")
    page.get_by_role("button", name="Approve plan").click()
    page.get_by_role("link", name="Confirm that it is you").click()
    page.get_by_label("Code of your authenticator app").fill("000000")
    page.get_by_role("button", name="Confirm").click()
    expect(page.get_by_role("main").get_by_role("alert")).to_contain_text("This code is wrong")
    assert violations(page, "confirm") == []
    page.get_by_label("Code of your authenticator app").fill("123456")
    page.get_by_role("button", name="Confirm").click()

    page.wait_for_url(f"**/build?session={session_id}")
    page.get_by_role("button", name="Approve plan").click()
    redirected(page)
    assert account.rows("plan")[0]["decided_aal"] == "aal2"
