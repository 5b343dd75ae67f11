"""The pages as the documentation shows them. SCREENSHOTS=docs/images writes them there."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from greenlight.notify.outbox import Notification
from greenlight.notify.texts import Texts
from local import ROOT
from tests.caller import Json
from tests.plan import new_session
from tests.web.conftest import Account, OpenPage, open_file, service_role, sign_in
from tests.web.test_comments import card, comment_on

LARGEST_BYTES = 200_000

WIDTHS = {"desktop": (1280, 800), "phone": (390, 844)}

PLAN = (ROOT / "docs" / "example-plan.md").read_bytes().decode()


NEWSLETTER = """# A newsletter from the changelog

Customers ask what is new. The answer is in the changelog, where they do not look.

## What the agent does

1. Reads everything that was merged in the week.
2. Groups it by what a customer would notice.
3. Writes three short paragraphs, each with a link to the documentation.
4. Sends it every Monday at nine.

## What it must not do

- Promise a date.
- Name a customer.
"""


HANDOVER = """# On-call handover

Every morning at nine it writes down what happened in the night, for the engineer who takes over.

## What the agent does

1. Reads the alerts, the incidents and what was deployed since the last handover.
2. Names what is still open, and who knows about it.
3. Posts one message, with a link for each claim.
"""

LOG = """\x1b[1m$ make-agent --from plan.md\x1b[0m
\x1b[32m✓\x1b[0m connected to the alerts \x1b[90m(read only)\x1b[0m
\x1b[32m✓\x1b[0m connected to the incidents \x1b[90m(read only)\x1b[0m
\x1b[33m! 9 alerts of last week name no service: left out\x1b[0m
\x1b[34m→\x1b[0m writing the handovers of the last 30 days, to compare
"""

SUMMARY = "It posts the digest on Fridays at 14:00. The first one is a draft that only you can see."


def first_round() -> list[Json]:
    """Return what the user said on the first version."""
    said = {
        "everything that was merged in the week": "Customers cannot see all of that yet.",
        "what a customer would notice": "Who decides that?",
        "Sends it every Monday at nine.": "Let me read it before.",
    }
    places = {passage: NEWSLETTER.index(passage) for passage in said}
    return [
        {"start": places[passage], "end": places[passage] + len(passage), "exact": passage, "body": body}
        for passage, body in said.items()
    ]


@pytest.fixture
def busy(account: Account) -> tuple[Account, str, str]:
    """Return a user with plans and agents of every kind, an agent to look at, and one that is being built."""
    for title, status in (
        ("Release notes from merged pull requests", "archived"),
        ("Invoice reminders that stay friendly", "paused"),
        ("Meeting notes into tasks", "active"),
    ):
        agent_id = account.approved(title=title)["agent_id"]
        account.finish_building(agent_id)
        if status in ("paused", "archived"):
            account.done("transition_agent", agent_id=agent_id, to_status=status)
    title = PLAN.splitlines()[0].removeprefix("# ")
    session_id = new_session()
    agent_id = account.approved(
        plan_id=session_id, title=title, content=PLAN.replace("three typical tickets", "a typical ticket")
    )["agent_id"]
    account.finish_building(agent_id)
    account.approved(
        plan_id=session_id,
        title=title,
        content=PLAN,
        version=2,
        comment="Start with last week, and show me the first digest before it is posted.",
    )
    build = account.claim(agent_id)
    service_role(
        account.stack,
        "rpc/finish_build",
        build_id=build["id"],
        attempt=build["attempt"],
        result={"url": "https://agents.example.com/support-digest", "summary": SUMMARY},
        log=LOG,
    )

    handover = account.approved(title="On-call handover", content=HANDOVER)["agent_id"]
    build = account.claim(handover)
    service_role(
        account.stack,
        "rpc/renew_build",
        build_id=build["id"],
        attempt=build["attempt"],
        progress=62,
        message="Comparing with the last 30 days",
        log=LOG,
    )
    in_three_days = datetime.now(UTC) + timedelta(days=3, minutes=1)
    account.receive_proposal(
        new_session(), title="Answer the usual billing questions", expires_at=in_three_days.isoformat()
    )
    proposed = new_session()
    title = "A newsletter from the changelog"
    account.receive_proposal(proposed, title=title, content=NEWSLETTER)
    account.done("request_changes", session_id=proposed, version=1, comments=first_round())
    account.receive_proposal(
        proposed,
        title=title,
        version=2,
        content=NEWSLETTER.replace("everything that was merged", "what was released to customers").replace(
            "Sends it every Monday at nine.",
            "Shows the draft to its owner.\n5. Sends it on Monday at nine, if the owner has agreed.",
        ),
        message="It reads releases now, and asks you first. I left the grouping as it was: what would help there?",
    )
    return account, agent_id, handover


@pytest.mark.parametrize("color_scheme", ["light", "dark"])
@pytest.mark.parametrize("device", WIDTHS)
def test_screenshots(
    open_page: OpenPage, busy: tuple[Account, str, str], tmp_path: Path, color_scheme: str, device: str
) -> None:
    account, agent_id, handover = busy
    directory = Path(os.environ.get("SCREENSHOTS", tmp_path))
    directory.mkdir(parents=True, exist_ok=True)
    width, height = WIDTHS[device]
    page = open_page(
        color_scheme=color_scheme,
        viewport={"width": width, "height": height},
        device_scale_factor=2 if device == "phone" else 1,
    )

    def picture(name: str) -> None:
        page.evaluate("document.fonts.ready")
        page.wait_for_load_state("networkidle")
        page.mouse.move(0, 0)
        # The same picture on every machine.
        page.get_by_title(account.user.email).evaluate_all(
            "all => all.forEach(e => { e.textContent = 'zoe@example.com'; })"
        )
        path = directory / f"{name}-{color_scheme}-{device}.png"
        page.screenshot(path=path)
        assert 5_000 < path.stat().st_size < LARGEST_BYTES

    page.goto("/sign-in")
    picture("sign-in")
    sign_in(page, account.user)
    picture("agents")
    open_file(page, PLAN.encode())
    page.get_by_role("heading", name="Why").wait_for()
    picture("build")
    page.goto(f"/build/{agent_id}")
    page.get_by_role("heading", name="Why").wait_for()
    picture("agent")
    page.goto(f"/build/{handover}")
    page.get_by_text("writing the handovers").wait_for()
    page.get_by_text("This is the approved document").wait_for()
    picture("agent-building")
    page.goto("/plans")
    picture("plans")
    page.get_by_role("region", name="Waiting for you").get_by_role("link").first.click()
    page.get_by_text("Changes since version 1").wait_for()
    picture("last-round")
    comment_on(page, "what a customer would notice", "By product area, please: that is how they read it.")
    comment_on(page, "three short paragraphs", "One is enough in a quiet week.")
    comment_on(page, "Name a customer.", "Unless they asked us to.")
    page.evaluate("document.activeElement.blur()")
    card(page, "three short paragraphs").evaluate("e => e.scrollIntoView({ block: 'center' })")
    picture("proposal")


def test_the_mail_of_a_proposal(browser: Browser, tmp_path: Path) -> None:
    proposal = Notification(
        notification_id=1,
        attempt=1,
        event_id="1",
        kind="plan.proposed",
        occurred_at=datetime.now(UTC),
        user_id="1",
        data={
            "title": "A newsletter from the changelog",
            "version": 2,
            "session_id": "newsletter",
            "team_id": None,
            "message": "It only tells what customers can see by now.\nIs Monday at nine the right time?",
        },
    )
    path = Path(os.environ.get("SCREENSHOTS", tmp_path)) / "mail.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    page = browser.new_page(viewport={"width": 720, "height": 440})
    page.set_content(Texts().mail(proposal, "https://plans.example.com").html)
    link = page.get_by_role("link", name="Read the plan")
    assert link.get_attribute("href") == "https://plans.example.com/build?session=newsletter"
    page.screenshot(path=path)
    assert 5_000 < path.stat().st_size < LARGEST_BYTES
    page.close()
