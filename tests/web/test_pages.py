"""What is true of every page: it is accessible, quick to load, and loads nothing from elsewhere."""

import html
import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Literal

import httpx
import jwt
import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Page, expect

from greenlight.errors import ERRORS
from local import NODE, ROOT
from local.web import NEXT, UI, build
from tests.caller import Json
from tests.conftest import RunningStack
from tests.plan import new_session
from tests.web.conftest import (
    PLAN,
    REFUSED,
    Account,
    OpenPage,
    Via,
    expire,
    in_an_hour,
    open_file,
    service_role,
    sign_in,
)
from tests.web.test_comments import SELECT, card
from tests.web.test_whole_document import EVERY_TRICK

# Kilobytes of compressed JavaScript.
FIRST_LOAD_KB = 250

# Axe's rules that depend on the colour scheme.
COLOR_RULES = {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
BUTTONS_CUT_OFF = """Array.from(document.querySelectorAll("button"))
    .filter((button) => button.checkVisibility() && button.getBoundingClientRect().right > innerWidth)
    .map((button) => button.outerHTML)"""
COLOR_SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")

EVERYTHING = (
    PLAN
    + """
- [x] done
- [ ] to do

| a | b |
| - | - |
| 1 | 2 |

> quoted

```python
print("a line of code that is long enough to scroll on a phone, and then some more of it to be sure of that")
```

A [link](https://example.org) and a picture: ![sketch](https://example.org/sketch.png)
"""
)


def every_page(page: Page, account: Account) -> Iterator[str]:  # noqa: PLR0915
    """Walk through all pages and their states, and yield the name of each when it is shown."""
    page.goto("/sign-in")
    page.get_by_role("heading", name="Sign in").wait_for()
    yield "sign in"
    page.goto("/sign-up")
    page.get_by_role("heading", name="Create an account").wait_for()
    yield "sign up"
    page.goto("/forgot-password")
    page.get_by_role("heading", name="Reset your password").wait_for()
    yield "forgot password"
    page.goto("/auth/confirm?token_hash=a&type=recovery")
    page.get_by_role("button", name="Continue").wait_for()
    yield "a mail's link"
    sign_in(page, account.user)
    page.get_by_role("heading", name="No agents yet").wait_for()
    page.goto("/auth/confirm?token_hash=a")
    page.get_by_text("You are signed in as").wait_for()
    yield "a mail's link for another account"
    page.goto("/agents")
    yield "no agents"
    page.goto("/update-password")
    page.get_by_role("heading", name="Choose a new password").wait_for()
    yield "update password"
    page.goto("/plans")
    page.get_by_role("heading", name="Nothing is waiting for you").wait_for()
    yield "no plans"
    page.goto("/build")
    page.get_by_role("button", name="Paste markdown").click()
    page.get_by_label("Markdown", exact=True).wait_for()
    yield "open a plan"
    session_id = new_session()
    open_file(page, EVERYTHING.encode(), session_id)
    page.get_by_role("heading", name="Van").wait_for()
    yield "read"
    page.get_by_role("tab", name="Edit").click()
    page.get_by_label("Document").fill("# Another")
    yield "edit"
    title = "A title that is as long as they get in " + "practice and then some " * 8
    agent_id = account.approved(plan_id=session_id, content=EVERYTHING, version=2, title=title)["agent_id"]
    start = PLAN.index("Two trips.")
    passage = {"start": start, "end": start + 10, "exact": "Two trips.", "body": "Better three."}
    note = {"comment": "Pack the books last.", "comments": [passage]}
    account.approved(plan_id=session_id, content=PLAN, version=3, title=title, **note)
    page.get_by_role("button", name="Approve plan").click()
    page.get_by_role("button", name="Approve as version 4").wait_for()
    yield "a way out"
    page.get_by_role("tab", name="Read").click()
    page.get_by_text("Changes since version 3").wait_for()
    yield "changes"
    page.get_by_role("tab", name="Source").click()
    page.get_by_role("region", name="Source").wait_for()
    yield "source"
    page.goto(f"/build/{agent_id}")
    page.get_by_text("This is the approved document").wait_for()
    yield "agent"
    page.get_by_role("tab", name="Changes").click()
    page.get_by_text("Changes since version").wait_for()
    yield "an agent's changes"
    page.get_by_role("button", name="More actions").click()
    page.get_by_role("menuitem", name="Delete").click()
    page.get_by_role("alertdialog").wait_for()
    yield "delete?"
    page.keyboard.press("Escape")
    yield from proposal_pages(page, account)
    build = account.claim(agent_id)
    attempt = {"build_id": build["id"], "attempt": build["attempt"]}
    log = "".join(f"\x1b[{look}mEach look\x1b[0m of a log\n" for look in (1, 2, 3, 4, 9, *range(30, 38), 90))
    service_role(account.stack, "rpc/renew_build", **attempt, progress=40, message="Loading the van", log=log)
    page.goto(f"/build/{agent_id}")
    page.get_by_role("region", name="Build log").get_by_text("Each look").first.wait_for()
    page.get_by_text("Comment on 1 passage").click()
    page.get_by_text("Line 12").wait_for()
    yield "progress"
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("alertdialog").wait_for()
    yield "stop?"
    page.goto("/agents")
    page.get_by_text("40 %").wait_for()
    yield "progress in the list"
    service_role(account.stack, "rpc/fail_build", **attempt, message="The van broke down", retry=False)
    page.goto(f"/build/{agent_id}")
    page.get_by_role("button", name="Try again").wait_for()
    yield "failed"
    account.done("retry_build", agent_id=agent_id)
    build = account.claim(agent_id)
    result = {"url": f"https://{'bakery.' * 12}example/", "summary": "Two pages and a form. " * 12}
    attempt = {"build_id": build["id"], "attempt": build["attempt"]}
    service_role(account.stack, "rpc/finish_build", **attempt, result=result, log=log)
    page.goto(f"/build/{agent_id}")
    page.get_by_role("region", name="Result").get_by_role("link").wait_for()
    page.get_by_text("Earlier builds").click()
    page.get_by_role("region", name="Status").get_by_text("The van broke down").wait_for()
    yield "what became of it"
    page.goto("/agents")
    page.get_by_role("listitem").get_by_text("active").wait_for()
    yield "agents"
    account.done("delete_agent", agent_id=agent_id)
    page.goto("/agents?status=deleted")
    page.get_by_role("button", name="Restore").wait_for()
    yield "recently deleted"
    page.goto(f"/build/{agent_id}")
    page.get_by_role("heading", name="This agent was deleted").wait_for()
    yield "deleted"
    page.goto("/build/nope")
    page.get_by_role("heading", name="Agent not found").wait_for()
    yield "agent not found"
    page.goto("/nowhere")
    page.get_by_role("heading", name="Page not found").wait_for()
    yield "not found"


def proposal_pages(page: Page, account: Account) -> Iterator[str]:  # noqa: PLR0915
    """Walk through a proposal's states."""
    for content, name in ((EVERY_TRICK, "hidden text"), ("*a_ " * 100_000, "not rendered")):
        session_id = new_session()
        account.receive_proposal(session_id, title="Hard to read", content=content)
        page.goto(f"/build?session={session_id}")
        page.get_by_text(re.compile("A usual rendering would hide|take too long to render")).wait_for()
        yield name
        account.done("reject_plan", session_id=session_id, version=1)
    session_id = new_session()
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    account.receive_proposal(session_id, title="Plan the move", expires_at=tomorrow.isoformat())
    page.goto("/plans")
    page.get_by_role("region", name="Waiting for you").get_by_role("listitem").wait_for()
    yield "plans"
    page.get_by_role("region", name="Waiting for you").get_by_role("link").click()
    page.get_by_role("heading", name="Van").wait_for()
    yield "a proposal"
    page.evaluate(SELECT, "Two trips")
    page.get_by_role("button", name="Comment", exact=True).click()
    page.keyboard.type("Two are not enough.")
    yield "a comment on a passage"
    page.keyboard.press("Escape")
    card(page, "Two trips").wait_for()
    yield "comments beside the passages"
    page.get_by_role("button", name="Approve plan").click()
    page.get_by_role("dialog").wait_for()
    yield "approve with comments?"
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Request changes").click()
    page.get_by_role("dialog").get_by_label("Comment").fill("Three trips, please.")
    yield "a comment"
    page.get_by_role("dialog").get_by_role("button", name="Request changes").click()
    page.get_by_text("You asked for changes to version 1.").wait_for()
    yield "sent back"
    changed = PLAN.replace("Two trips.", "Three trips.")
    account.receive_proposal(
        session_id, title="Plan the move", version=2, content=changed, message="Three trips now."
    )
    page.get_by_role("button", name="Show version 2").click()
    page.get_by_text("Changes since version 1").wait_for()
    yield "changed"
    account.stack.tamper(account.path(session_id, changed), b"# Other\n")
    page.reload()
    page.get_by_text("The stored document is not the one that was proposed").wait_for()
    yield "not the proposed document"
    page.goto("/plans")
    page.get_by_role("region", name="Recent decisions").wait_for()
    yield "decided plans"
    for number in range(22):
        account.receive_proposal(new_session(), title=f"Plan {number}", expires_at=in_an_hour())
    expire(account, "Plan 7")
    page.goto("/plans?decided=2")
    page.get_by_role("button", name="Ask for it again").click()
    page.get_by_role("dialog").wait_for()
    yield "ask for it again?"
    page.keyboard.press("Escape")
    page.get_by_role("region", name="Waiting for you").get_by_role("link", name="Older").wait_for()
    yield "pages of plans"


def axe(page: Page, options: Json) -> list[Json]:
    """Return what axe finds, and nothing else of its answer; its script is loaded once for a page."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(Axe().axe_script)
    found: list[Json] = page.evaluate(
        "options => axe.run(options).then(({violations}) => violations)", options
    )
    return found


def violations(page: Page, name: str) -> list[object]:
    """What axe finds on the page as it is now, in light and dark, on a desktop and on a phone."""
    found: list[object] = []
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 844})
        # Nothing is wider than the screen.
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        assert page.evaluate(BUTTONS_CUT_OFF) == [], name
        for color_scheme in COLOR_SCHEMES:
            page.emulate_media(color_scheme=color_scheme)
            page.evaluate("document.getAnimations().forEach((animation) => animation.finish())")
            # What is not on the screen yet keeps the colours of the other scheme until it is.
            page.add_style_tag(content="article * { content-visibility: visible !important }")
            rules = COLOR_RULES if color_scheme == "dark" else {}
            options = {"resultTypes": ["violations"], **rules}
            found += [
                (name, width, color_scheme, violation["id"], node["target"], node["failureSummary"])
                for violation in axe(page, options)
                if violation["impact"] in ("serious", "critical")
                for node in violation["nodes"]
            ]
    page.set_viewport_size({"width": 1280, "height": 844})
    return found


def test_no_page_has_a_serious_accessibility_violation(open_page: OpenPage, account: Account) -> None:
    """Each state. One walk for all: getting there takes longest."""
    page = open_page(expected=REFUSED)
    found = []
    pages = 0
    for name in every_page(page, account):
        pages += 1
        found += violations(page, name)
    assert found == []
    assert pages == 41


def test_axe_would_find_a_violation(open_page: OpenPage) -> None:
    page = open_page()
    page.set_content('<html lang="en"><title>No label</title><main><input></main></html>')
    assert [violation["id"] for violation in axe(page, {})] != []
    page.set_content('<html lang="en"><title>Pale</title><main style="color: #ccc">Pale</main></html>')
    (violation,) = axe(page, COLOR_RULES)
    assert violation["id"] == "color-contrast"


def test_a_plan_is_approved_by_keyboard_alone(open_page: OpenPage, account: Account) -> None:
    page = open_page(user=account.user)
    open_file(page, PLAN.encode())
    page.reload()
    page.get_by_role("heading", name="Van").wait_for()
    press = page.keyboard.press

    press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    press("Enter")
    press("Tab")
    expect(page.get_by_role("tab", name="Read")).to_be_focused()
    press("ArrowRight")
    expect(page.get_by_role("tab", name="Edit")).to_be_focused()
    expect(page.get_by_label("Document")).to_be_visible()
    press("Tab")
    expect(page.get_by_role("button", name="Approve plan")).to_be_focused()
    press("Enter")
    page.get_by_role("heading", name="History").wait_for()
    # And the question before an act: answered by keyboard, the focus where it was.
    page.get_by_role("button", name="More actions").focus()
    press("Enter")
    expect(page.get_by_role("menuitem", name="Archive")).to_be_focused()
    press("Enter")
    expect(page.get_by_role("alertdialog").get_by_role("button", name="Cancel")).to_be_focused()
    press("Escape")
    expect(page.get_by_role("button", name="More actions")).to_be_focused()
    assert account.rows("agent")[0]["status"] == "building"


def test_a_proposal_is_sent_back_by_keyboard_alone(open_page: OpenPage, account: Account) -> None:
    page = open_page(user=account.user)
    session_id = new_session()
    account.receive_proposal(session_id)
    page.goto(f"/build?session={session_id}")
    expect(page.get_by_role("button", name="Approve plan")).to_be_visible()
    press = page.keyboard.press

    page.get_by_role("tab", name="Read").focus()
    for name in ("Reject", "Request changes"):
        press("Tab")
        expect(page.get_by_role("button", name=name)).to_be_focused()
    press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Comment")).to_be_focused()
    press("Escape")
    expect(page.get_by_role("button", name="Request changes")).to_be_focused()
    press("Enter")
    page.keyboard.type("Three trips, please.")
    press("Tab")
    press("Tab")
    expect(dialog.get_by_role("button", name="Request changes")).to_be_focused()
    press("Enter")

    expect(page.get_by_text("You asked for changes to version 1.")).to_be_visible()
    assert account.rows("plan")[0]["comment"] == "Three trips, please."


def test_the_first_load_of_build_is_light(
    open_page: OpenPage, account: Account, record_testsuite_property: Callable[[str, object], None]
) -> None:
    """Measured where it matters: in the browser, over the wire, for a plan that is shown."""
    page = open_page(user=account.user)
    session_id = new_session()
    open_file(page, PLAN.encode(), session_id)
    wire = page.context.new_cdp_session(page)
    wire.send("Network.enable")
    wire.send("Network.setCacheDisabled", {"cacheDisabled": True})
    scripts: set[str] = set()
    sizes: dict[str, float] = {}

    def on_response(event: dict[str, str]) -> None:
        if event["type"] == "Script":
            scripts.add(event["requestId"])

    def on_finished(event: dict[str, object]) -> None:
        sizes[str(event["requestId"])] = float(str(event["encodedDataLength"]))

    wire.on("Network.responseReceived", on_response)
    wire.on("Network.loadingFinished", on_finished)
    page.goto(f"/build?session={session_id}")
    page.get_by_role("heading", name="Van").wait_for()
    page.wait_for_load_state("networkidle")

    kilobytes = sum(sizes[request] for request in scripts) / 1000
    record_testsuite_property("first load of /build, kB of compressed JavaScript", round(kilobytes))
    assert scripts
    assert 50 < kilobytes < FIRST_LOAD_KB


def test_no_secret_is_in_what_the_browser_gets(
    open_page: OpenPage, stack: RunningStack, account: Account, via: Via
) -> None:
    # supabase-js itself knows how a secret key begins. "service_role" alone is a value of plan.proposed_by.
    secret = re.compile(r"sb_secret_\w{8}|service_role_key|SERVICE_URL|JWT_SECRET", re.IGNORECASE)
    secrets = [stack.secret_key, *filter(None, [stack.jwt_secret])]
    build()
    files = [path for path in (UI / ".next" / "static").rglob("*") if path.is_file()]
    bundle = {str(path): path.read_bytes().decode(errors="ignore") for path in files}

    page = open_page(via=via)
    received: set[str] = set()
    page.on("response", lambda response: received.add(response.url))
    sign_in(page, account.user)
    open_file(page, PLAN.encode())
    html = {url: httpx.get(url).text for url in received if url.endswith(".js") or "/sign-in" in url}

    assert any(path.endswith(".js") for path in bundle)
    assert any(stack.publishable_key in text for text in html.values())
    for where, text in {**bundle, **html, "the page": page.content()}.items():
        assert secret.search(text) is None, where
        assert "service_role" not in roles_of_tokens(text), where
        assert [known for known in secrets if known in text] == [], where


def roles_of_tokens(text: str) -> set[str]:
    """Return the roles of all JWTs in a text: the older keys of a project are such tokens."""
    tokens = re.findall(r"eyJ[\w-]+\.eyJ[\w-]+\.[\w-]+", text)
    return {jwt.decode(token, options={"verify_signature": False}).get("role", "") for token in tokens}


def test_the_role_of_an_older_secret_key_would_be_found() -> None:
    key = jwt.encode({"role": "service_role"}, "x" * 32, "HS256")
    assert roles_of_tokens(f'a="{key}"') == {"service_role"}


@pytest.mark.parametrize("path", ["/sign-in", "/plans", "/agents", "/nowhere"])
def test_headers_close_the_app_to_others(open_page: OpenPage, account: Account, path: str) -> None:
    page = open_page(
        user=account.user if path != "/sign-in" else None,
        expected=f"{REFUSED}|Executing inline event handler violates",
    )
    answer = page.goto(path)
    assert answer
    headers = answer.headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    nonce = re.search(r"'nonce-([\w+/=-]+)'", policy["script-src"])
    assert nonce
    assert "unsafe" not in policy["script-src"]
    assert policy["object-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert "x-powered-by" not in headers
    # And no answer's nonce is another's.
    again = page.goto(path)
    assert again
    assert nonce[1] not in again.headers["content-security-policy"]
    # The policy is not only there: it holds.
    page.evaluate(
        """() => {
            const script = document.createElement("div");
            script.innerHTML = '<img src="data:," onerror="window.ran = true">';
            return new Promise((resolve) => {
                document.addEventListener("securitypolicyviolation", resolve, { once: true });
                document.body.append(script);
            });
        }"""
    )
    assert page.evaluate("window.ran") is None


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/favicon.ico", "image/"), ("/icon.svg", "image/"), ("/r/plan-review.json", "application/json")],
)
def test_icons_and_blocks_are_there_for_everybody(served: dict[Via, str], path: str, kind: str) -> None:
    """A browser asks for icons when it pleases, and complains in the console of any page; `shadcn add` for blocks."""
    answer = httpx.get(served["service"] + path)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(kind)


LEGACY_SECRET = next(
    row["key"]
    for row in json.loads((ROOT / "tests" / "keys.json").read_text())
    if row["what"] == "the older service_role key"
)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"NEXT_PUBLIC_SUPABASE_URL": "nonsense"}, "NEXT_PUBLIC_SUPABASE_URL"),
        ({"NEXT_PUBLIC_SUPABASE_URL": "https://user:sb_secret_oops@example.com"}, "NEXT_PUBLIC_SUPABASE_URL"),
        ({"NEXT_PUBLIC_SUPABASE_PUBLISHABLE_KEY": "sb_secret_oops"}, "the browser would see it"),
        ({"NEXT_PUBLIC_SUPABASE_PUBLISHABLE_KEY": LEGACY_SECRET}, "the browser would see it"),
        ({"NEXT_PUBLIC_SUPABASE_KEY": "sb_secret_oops"}, "NEXT_PUBLIC_SUPABASE_KEY"),
        ({"NEXT_PUBLIC_APPROVE_VIA": "pigeon"}, "NEXT_PUBLIC_APPROVE_VIA"),
        ({"SERVICE_URL": ""}, "SERVICE_URL"),
    ],
)
def test_wrong_settings_stop_the_server_with_their_name(changed: dict[str, str], named: str) -> None:
    build()
    good = {
        "NEXT_PUBLIC_SUPABASE_URL": "http://127.0.0.1:1",
        "NEXT_PUBLIC_SUPABASE_PUBLISHABLE_KEY": "sb_publishable_x",
        "SERVICE_URL": "http://127.0.0.1:2",
        "NEXT_TELEMETRY_DISABLED": "1",
    }
    result = subprocess.run(
        [NODE, NEXT, "start", "--port", "0", UI],
        env={**os.environ, **good, **changed},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode != 0
    assert named in result.stdout + result.stderr
    assert not re.search(f"sb_secret_oops|{LEGACY_SECRET}", result.stdout + result.stderr)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NEXT_PUBLIC_SUPABASE_PUBLISHABLE_KEY", LEGACY_SECRET),
        ("NEXT_PUBLIC_SUPABASE_URL", "https://user:oops@example.com"),
        ("NEXT_PUBLIC_SUPABASE_ANON_KEY", "sb_secret_oops"),
    ],
)
def test_a_secret_that_next_would_publish_stops_the_build(name: str, value: str) -> None:
    variables = {**os.environ, name: value, "NEXT_TELEMETRY_DISABLED": "1"}
    result = subprocess.run(
        [NODE, NEXT, "build", UI], env=variables, capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode != 0
    assert f"{name}: " in result.stdout + result.stderr
    assert not re.search(f"oops|{LEGACY_SECRET}", result.stdout + result.stderr)


def test_the_page_publishes_only_what_the_browser_needs(served: dict[Via, str]) -> None:
    page = httpx.get(f"{served['service']}/sign-in").text
    (settings,) = re.findall(r'<meta name="greenlight-env" content="([^"]*)"', page)
    published = {"supabaseUrl", "supabaseKey", "approveVia", "cookieRoom", "now"}
    assert set(json.loads(html.unescape(settings))) <= published


def test_every_error_code_has_its_sentence() -> None:
    errors = ROOT / "ui" / "registry" / "lib" / "greenlight" / "errors.ts"
    sentences = set(re.findall(r"^  (\w+):", errors.read_text(), re.MULTILINE))
    functions = (ROOT / "supabase" / "functions.sql").read_text()
    from_database = set(re.findall(r"'(\w+)',\s*'PT4\d\d'", functions))
    # Only builders and notifiers call the functions that answer these.
    for_builders = {"build_lost", "build_not_found"} | {
        f"invalid_{argument}"
        for argument in (
            *("worker", "max_builds", "lease_seconds", "progress", "retry", "result"),
            *("subscriber", "max_notifications", "retry_seconds"),
        )
    }
    # Only wrong addresses, and programs that speak MCP, are answered with these.
    for_wrong_addresses = {"not_found", "method_not_allowed", "host_not_allowed", "origin_not_allowed"}
    assert {"plan_stale", "invalid_document_url"} <= from_database
    codes = (from_database | set(ERRORS)) - for_builders - for_wrong_addresses
    assert codes - sentences == set()


def test_no_code_is_of_any_type() -> None:
    sources = [path for path in UI.rglob("*.ts*") if not {"node_modules", ".next"} & set(path.parts)]
    assert sources
    for path in sources:
        assert not re.search(r"(:|as|<)\s*any\b|@ts-ignore|@ts-nocheck", path.read_text()), path
