"""A real browser in front of the built web app, in front of the running stack."""

import base64
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal
from urllib.parse import quote, urlsplit

import httpx
import jwt
import psycopg
import pytest
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Error,
    Locator,
    Page,
    Request,
    expect,
    sync_playwright,
)

from local.processes import free_ports
from local.stack import answers
from local.web import build, web
from tests.caller import Caller, Json
from tests.conftest import RunningStack, User
from tests.plan import sha256

Via = Literal["service", "direct"]

# Waiting ends as soon as the condition holds; this is for the slowest machine.
PATIENCE_MS = 30_000

# What the browser's console says about an answer that the page expects and explains to the user.
REFUSED = r"the server responded with a status of 4\d\d"

PLAN = "# Plan the move\n\nPack the boxes, then the van.\n\n## Boxes\n\n- Books\n- Plates\n\n## Van\n\nTwo trips.\n"


@dataclass(frozen=True)
class Account(Caller):
    """A user of the API, outside of the browser: to prepare what a page shows, and to check what it did."""

    stack: RunningStack
    user: User

    def approved(self, **fields: Json) -> Json:
        return super().approved(**{"content": PLAN, "title": "Plan the move", **fields})

    def claim(self, agent_id: str) -> Json:
        """Claim what is queued, and return the build of this agent. Another test's builds may be claimed, too."""
        claim = {"worker": "tests/web", "max_builds": 100, "lease_seconds": 3600}
        while claimed := service_role(self.stack, "rpc/claim_builds", **claim):
            if any(build["agent_id"] == agent_id for build in claimed):
                break
        (build,) = self.rows("build", agent_id=f"eq.{agent_id}", status="eq.running")
        return build

    def finish_building(self, agent_id: str) -> None:
        """Do what a builder does, from claim to finish."""
        build = self.claim(agent_id)
        service_role(self.stack, "rpc/finish_build", build_id=build["id"], attempt=build["attempt"])

    def receive_proposal(
        self,
        session_id: str,
        *,
        content: str = PLAN,
        version: int = 1,
        title: str = "Plan the move",
        expires_at: str | None = None,
        message: str | None = None,
        team_id: str | None = None,
    ) -> Json:
        """Propose a plan to this user, as their app does with the service role."""
        stack = self.stack
        path = self.path(session_id, content)
        store(stack, path, content)
        key = {"apikey": stack.secret_key, "Authorization": f"Bearer {stack.secret_key}"}
        signing = f"{stack.supabase_url}/storage/v1/object/sign/plans/{path}"
        signed = httpx.post(signing, headers=key, json={"expiresIn": 3600}, timeout=30).raise_for_status()
        return service_role(
            stack,
            "rpc/propose_plan",
            user_id=self.id,
            session_id=session_id,
            version=version,
            title=title,
            document_sha256=sha256(content),
            document_url=f"{stack.supabase_url}/storage/v1{signed.json()['signedURL']}",
            expires_at=expires_at,
            message=message,
            team_id=team_id,
        )


def service_role(stack: RunningStack, path: str, **arguments: Json) -> Json:
    """Call the Data API with the secret key."""
    key = stack.secret_key
    headers = {"apikey": key, "Authorization": f"Bearer {key}"}
    url = f"{stack.supabase_url}/rest/v1/{path}"
    return httpx.post(url, headers=headers, json=arguments, timeout=30).raise_for_status().json()


def store(stack: RunningStack, path: str, content: str) -> None:
    """Put a document into storage with the secret key."""
    key = stack.secret_key
    headers = {"apikey": key, "Authorization": f"Bearer {key}"}
    url = f"{stack.supabase_url}/storage/v1/object/plans/{path}"
    files = {"file": ("plan.md", content.encode(), "text/markdown")}
    answer = httpx.post(url, headers=headers, files=files, timeout=30)
    # The same document may be there from an earlier version.
    if "Duplicate" not in answer.text:
        answer.raise_for_status()


def in_an_hour() -> str:
    return (datetime.now(UTC) + timedelta(hours=1)).isoformat()


def expire(account: Account, title: str = "%") -> None:
    """Let proposals have expired an hour ago. Triggers are off, constraints stay on."""
    if account.stack.local is None:
        pytest.skip("letting time pass needs a Supabase on this machine")
    with psycopg.connect(account.stack.local.postgres.url("supabase_admin")) as database:
        database.execute("set session_replication_role = replica")
        database.execute(
            "update public.plan set created_at = created_at - interval '2 hours',"
            " expires_at = now() - interval '1 hour' where user_id = %s and title like %s",
            [account.id, title],
        )


@pytest.fixture
def account(stack: RunningStack, service: httpx.Client, supabase: httpx.Client) -> Account:
    user = stack.sign_up()
    return Account(user.id, user.token, service, supabase, stack, user)


@pytest.fixture
def stranger(stack: RunningStack, service: httpx.Client, supabase: httpx.Client) -> Account:
    user = stack.sign_up()
    return Account(user.id, user.token, service, supabase, stack, user)


# Of the package and not of the session: its event loop would stop other packages' asynchronous tests.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Return Debian's Chromium where there is one, else the one that Playwright has downloaded, else skip the test."""
    expect.set_options(timeout=PATIENCE_MS)
    debian = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=debian)
        except Error as error:
            if debian or os.environ.get("CI") == "true":
                raise
            pytest.skip(f"There is no browser. {error}")
        yield browser
        browser.close()


@contextmanager
def serve(stack: RunningStack, via: Via, directory: Path, service_url: str | None = None) -> Iterator[str]:
    build()
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    child = web(
        stack.supabase_url,
        stack.publishable_key,
        service_url or stack.service_url,
        port,
        directory / f"web-{port}.log",
        via=via,
    )
    child.start()
    try:
        child.wait_until(lambda: answers(f"{url}/sign-in"))
        yield url
    finally:
        child.stop()


@pytest.fixture(scope="package")
def served(stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Via, str]]:
    """Return the address of the web app for each way of approving, from one build."""
    directory = tmp_path_factory.mktemp("web")
    with ExitStack() as running:
        yield {
            "service": running.enter_context(serve(stack, "service", directory)),
            "direct": running.enter_context(serve(stack, "direct", directory)),
        }


@pytest.fixture(params=["service", "direct"])
def via(request: pytest.FixtureRequest) -> Via:
    """Run the test once for each way of approving."""
    way: Via = request.param
    return way


OpenPage = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser, served: dict[Via, str], stack: RunningStack) -> Iterator[OpenPage]:
    """Return a function that opens a browser of its own for a visitor, and fails the test for any console error.

    `user` is signed in. `expected` is a pattern for what a test provokes. `context` is Playwright's.
    """
    with ExitStack() as opened:
        complaints: list[str] = []

        def open_page(
            *,
            via: Via = "service",
            url: str | None = None,
            user: User | None = None,
            expected: str = r"(?!)",
            **context: Json,
        ) -> Page:
            # Reduced motion: colours in transition fail no accessibility test, and waiting costs less of the processor.
            visitor = browser.new_context(base_url=url or served[via], reduced_motion="reduce", **context)
            opened.callback(visitor.close)
            visitor.set_default_timeout(PATIENCE_MS)

            def on_console(message: ConsoleMessage) -> None:
                if message.type in ("error", "warning") and not re.search(expected, message.text):
                    complaints.append(f"{message.page and message.page.url}: {message.text}")

            visitor.on("console", on_console)
            visitor.on(
                "weberror", lambda error: complaints.append(f"{error.page and error.page.url}: {error.error}")
            )
            if user is not None:
                visitor.add_cookies(session_cookies(stack, user, url or served[via]))
            return visitor.new_page()

        yield open_page
    assert complaints == []


def session_cookies(stack: RunningStack, user: User, url: str, **claims: Json) -> list[Json]:
    """Sign in without the form, and return the cookies in which @supabase/ssr keeps the session.

    `claims` stand in the token instead of those of the local Auth.
    """
    session = stack.sign_in(user)
    if claims:
        session["access_token"] = resigned(stack, session["access_token"], **claims)
    value = "base64-" + base64.urlsafe_b64encode(json.dumps(session).encode()).decode().rstrip("=")
    parts = [value[at : at + 3180] for at in range(0, len(value), 3180)]
    name = f"sb-{urlsplit(stack.supabase_url).netloc.split('.')[0]}-auth-token"
    names = [name] if len(parts) == 1 else [f"{name}.{number}" for number in range(len(parts))]
    return [
        {"name": name, "value": part, "url": url, "sameSite": "Lax"}
        for name, part in zip(names, parts, strict=True)
    ]


def resigned(stack: RunningStack, token: str, **claims: Json) -> str:
    """Return the token with other claims, signed by the stack's own key."""
    if stack.local is None:
        pytest.skip("signing a token needs a Supabase on this machine")
    key = stack.local.keys.signing_key
    content = {**jwt.decode(token, options={"verify_signature": False}), **claims}
    return jwt.encode(
        content, jwt.PyJWK(key, algorithm="ES256"), algorithm="ES256", headers={"kid": key["kid"]}
    )


def sign_in(page: Page, user: User, path: str = "/agents") -> None:
    page.goto(f"/sign-in?next={quote(path, safe='')}")
    page.get_by_label("Email").fill(user.email)
    page.get_by_label("Password").fill(user.password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"**{path}")


def open_file(page: Page, content: bytes, session_id: str | None = None) -> None:
    """Open a markdown file as the plan under review."""
    page.goto(f"/build?session={session_id}" if session_id else "/build")
    page.get_by_role("heading", name="Open a plan").wait_for()
    page.get_by_label("Markdown file").set_input_files(
        {"name": "plan.md", "mimeType": "text/markdown", "buffer": content}
    )
    page.get_by_role("tab", name="Read").wait_for()


def version_of(page: Page) -> Locator:
    """Return where the review says which version it shows."""
    review = page.get_by_role("main").filter(has=page.get_by_role("tab", name="Edit"))
    return review.get_by_text(re.compile(r"^Version \d+$"))


def approve(page: Page) -> str:
    """Approve the plan that is shown, and return the id in the address of the page that follows."""
    page.get_by_role("button", name="Approve plan").click()
    return redirected(page)


def status_of(page: Page) -> Locator:
    """Return what an agent's page says that the agent does."""
    return page.get_by_role("region", name="Status").get_by_role("status")


AGENT_ADDRESS = re.compile(r"/build/([0-9a-f-]{36})$")


def redirected(page: Page) -> str:
    page.wait_for_url(AGENT_ADDRESS)
    found = AGENT_ADDRESS.search(page.url)
    assert found
    return found[1]


def is_approval(request: Request, via: Via) -> bool:
    if via == "direct":
        return request.method == "POST" and request.url.endswith("/rpc/approve_plan")
    return "next-action" in request.headers
