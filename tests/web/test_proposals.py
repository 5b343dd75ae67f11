"""A planner proposes, the user decides in the browser: only what is on the screen, and only once."""

import json
import re
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from playwright.sync_api import Page, Request, Route, expect

from tests.plan import new_session, sha256
from tests.web.conftest import PLAN, REFUSED, Account, OpenPage, redirected, service_role, sign_in, version_of

# What the console says about a failed request that the test causes.
ABORTED = "ERR_FAILED|ERR_CONNECTION"


def review(page: Page, session_id: str) -> None:
    page.goto(f"/build?session={session_id}")
    page.get_by_role("tab", name="Read").wait_for()


def review_new(page: Page, account: Account) -> str:
    """Open a proposal that has just come, and return its session."""
    session_id = new_session()
    account.receive_proposal(session_id)
    review(page, session_id)
    return session_id


def say(page: Page, button: str, comment: str = "") -> None:
    """Decide by one of the buttons that ask for a comment."""
    page.get_by_role("main").get_by_role("button", name=button).click()
    dialog = page.get_by_role("dialog")
    if comment:
        dialog.get_by_label("Comment").fill(comment)
    dialog.get_by_role("button", name=button).click()


def plan_of(account: Account, session_id: str, version: int = 1) -> dict[str, object]:
    (plan,) = account.rows("plan", session_id=f"eq.{session_id}", version=f"eq.{version}")
    return dict(plan)


def hold_back(page: Page) -> None:
    """Cut the page off from news: a tab that has not looked for a while."""
    page.route(
        "**/rest/v1/plan?*",
        lambda route: route.abort() if route.request.method == "GET" else route.continue_(),
    )


approve_button = re.compile("^Approve plan$")


def test_a_proposal_is_sent_back_comes_again_changed_and_is_approved(
    open_page: OpenPage, account: Account
) -> None:
    page = open_page(user=account.user)
    page.goto("/agents")
    page.get_by_role("link", name="Plans").click()
    expect(page.get_by_role("heading", name="Nothing is waiting for you")).to_be_visible()
    session_id = new_session()
    account.receive_proposal(session_id, title="Plan the move")

    # The list is up to date when it is opened; the number in the navigation, too.
    page.reload()
    expect(page.get_by_role("link", name="Plans 1 waiting")).to_be_visible()
    row = page.get_by_role("region", name="Waiting for you").get_by_role("listitem")
    expect(row).to_contain_text("by your app")
    row.click()
    expect(page.get_by_role("heading", name="Van")).to_be_visible()
    expect(page.get_by_text("Changes since")).to_have_count(0)

    say(page, "Request changes", "Three trips, please.\nTwo are not enough.")
    expect(page.get_by_text("You asked for changes to version 1.")).to_be_visible()
    expect(page.get_by_role("button", name=approve_button)).to_have_count(0)
    # What the planner sees at its next look. Feedback is no approval.
    sent_back = plan_of(account, session_id)
    assert sent_back["status"] == "changes_requested"
    assert sent_back["comment"] == "Three trips, please.\nTwo are not enough."
    assert account.rows("agent") == []

    account.receive_proposal(session_id, version=2, content=PLAN.replace("Two trips.", "Three trips."))
    page.get_by_role("button", name="Show version 2").click()
    expect(page.get_by_text("You asked for:")).to_be_visible()
    expect(page.get_by_text("Three trips, please.")).to_be_visible()
    expect(page.get_by_text("Changes since version 1, which was sent back, are marked:")).to_be_visible()
    document = page.get_by_role("article")
    expect(document.get_by_role("deletion")).to_have_text("Two trips.")
    expect(document.get_by_role("insertion")).to_have_text("Three trips.")
    # A decision is made on all of it.
    expect(document.get_by_text("Pack the boxes, then the van.")).to_be_visible()

    sent: list[Request] = []
    page.on("request", lambda request: sent.append(request) if request.method == "POST" else None)
    page.get_by_role("button", name=approve_button).click()
    agent_id = redirected(page)

    # One request to Supabase, with three arguments.
    (approval,) = [
        request for request in sent if re.search(r"/rest/v1/(?!rpc/plan_teams)|/storage/v1/", request.url)
    ]
    assert approval.url.endswith("/rpc/approve_plan")
    assert json.loads(approval.post_data or "") == {
        "session_id": session_id,
        "version": 2,
        "document_sha256": sha256(PLAN.replace("Two trips.", "Three trips.")),
    }
    assert [agent["id"] for agent in account.rows("agent")] == [agent_id]
    history = page.get_by_role("region", name="History").get_by_role("listitem")
    expect(history).to_have_text(
        [
            re.compile("Version 2 approved"),
            re.compile("Version 2 proposed"),
            re.compile("Version 1 sent back.*Three trips, please", re.DOTALL),
            re.compile("Version 1 proposed"),
        ]
    )
    expect(page.get_by_role("link", name="Plans", exact=True)).to_be_visible()
    page.get_by_role("link", name="Plans").click()
    expect(page.get_by_role("region", name="Recent decisions").get_by_role("listitem")).to_have_count(2)


def test_a_link_to_a_plan_of_another_account_says_so(
    open_page: OpenPage, account: Account, stranger: Account
) -> None:
    session_id = new_session()
    account.receive_proposal(session_id)
    page = open_page(user=stranger.user)
    page.goto(f"/build?session={session_id}")
    expect(page.get_by_text("You have no plan in this planning session.")).to_contain_text(
        f"you are signed in as {stranger.user.email}"
    )
    page = open_page(user=account.user)
    review(page, session_id)
    expect(page.get_by_role("heading", level=1, name="Plan the move")).to_be_visible()


def test_plans_with_the_same_title_show_their_session(open_page: OpenPage, account: Account) -> None:
    twins = [new_session(), new_session()]
    for session_id in twins:
        account.receive_proposal(session_id, title="Twin")
    account.receive_proposal(new_session(), title="Single")
    page = open_page(user=account.user)
    page.goto("/plans")
    rows = page.get_by_role("region", name="Waiting for you").get_by_role("listitem")
    for session_id in twins:
        expect(rows.filter(has_text=f"Session {session_id}")).to_have_count(1)
    expect(rows.filter(has_text="Single")).not_to_contain_text("Session")


def test_a_proposal_is_rejected_with_or_without_a_comment(open_page: OpenPage, account: Account) -> None:
    page = open_page(user=account.user)
    for comment in ("", "Not this year."):
        session_id = review_new(page, account)

        say(page, "Reject", comment)

        expect(page.get_by_text("You rejected version 1.")).to_be_visible()
        plan = plan_of(account, session_id)
        assert (plan["status"], plan["comment"]) == ("rejected", comment or None)
    assert account.rows("agent") == []


def test_changes_are_not_requested_without_a_comment(open_page: OpenPage, account: Account) -> None:
    page = open_page(user=account.user)
    session_id = review_new(page, account)
    page.get_by_role("button", name="Request changes").click()
    dialog = page.get_by_role("dialog")

    for blank in ("", "  \n "):
        dialog.get_by_label("Comment").fill(blank)
        dialog.get_by_role("button", name="Request changes").click()
        expect(dialog).to_be_visible()

    assert plan_of(account, session_id)["status"] == "proposed"


def test_an_edited_proposal_is_approved_as_a_version_of_ones_own(
    open_page: OpenPage, account: Account
) -> None:
    page = open_page(user=account.user)
    session_id = review_new(page, account)
    page.get_by_role("tab", name="Edit").click()
    page.get_by_label("Document").fill("# My own plan\n")
    expect(version_of(page)).to_have_text("Version 2")
    # Back to the proposal and to the edits again: nothing is lost.
    page.get_by_role("button", name="Show version 1").click()
    expect(page.get_by_role("heading", name="Van")).to_be_visible()
    page.get_by_role("button", name="Go to my edits").click()
    expect(page.get_by_role("heading", name="My own plan")).to_be_visible()

    page.get_by_role("button", name=approve_button).click()
    redirected(page)

    assert plan_of(account, session_id, 1)["status"] == "superseded"
    own = plan_of(account, session_id, 2)
    assert (own["status"], own["document_sha256"]) == ("approved", sha256("# My own plan\n"))
    assert own["proposed_by"] is None


def test_a_proposal_that_comes_while_editing_is_offered(open_page: OpenPage, account: Account) -> None:
    page = open_page(user=account.user)
    session_id = review_new(page, account)
    page.get_by_role("tab", name="Edit").click()
    page.get_by_label("Document").fill("# My own plan\n")
    account.receive_proposal(session_id, version=2, content="# The planner's plan\n")

    expect(page.get_by_text("Version 2 was proposed while you were editing.")).to_be_visible()
    expect(page.get_by_label("Document")).to_have_value("# My own plan\n")
    page.get_by_role("button", name="Discard my edits").click()

    expect(page.get_by_role("heading", name="The planner's plan")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="The planner's plan")).to_be_visible()


def test_two_tabs_decide_once(open_page: OpenPage, account: Account) -> None:
    first = open_page(user=account.user, expected=f"{REFUSED}|{ABORTED}")
    session_id = review_new(first, account)
    watching, cut_off = first.context.new_page(), first.context.new_page()
    for page in (watching, cut_off):
        review(page, session_id)
        expect(page.get_by_role("button", name=approve_button)).to_be_visible()
    hold_back(cut_off)

    say(first, "Reject", "No.")

    # One tab sees it by itself, the other one when it tries.
    expect(watching.get_by_text("You rejected version 1.")).to_be_visible()
    expect(watching.get_by_role("button", name=approve_button)).to_have_count(0)
    cut_off.get_by_role("button", name=approve_button).click()
    expect(cut_off.get_by_text("A decision on this version was already made").first).to_be_visible()
    assert plan_of(account, session_id)["status"] == "rejected"
    assert account.rows("agent") == []


def test_a_double_click_decides_once(open_page: OpenPage, account: Account) -> None:
    page = open_page(user=account.user)
    review_new(page, account)
    sent: list[Request] = []
    page.on("request", lambda request: sent.append(request) if "/rpc/approve_plan" in request.url else None)
    button = page.get_by_role("button", name=approve_button)
    expect(button).to_be_enabled()

    button.evaluate("button => { button.click(); button.click(); }")

    redirected(page)
    assert len([request for request in sent if request.method == "POST"]) == 1


def test_a_stale_tab_approves_nothing_that_was_replaced(open_page: OpenPage, account: Account) -> None:
    page = open_page(user=account.user, expected=f"{REFUSED}|{ABORTED}")
    session_id = review_new(page, account)
    expect(page.get_by_role("button", name=approve_button)).to_be_visible()
    hold_back(page)
    account.receive_proposal(session_id, version=2, content="# A newer plan\n")

    page.get_by_role("button", name=approve_button).click()
    expect(page.get_by_text("There is a newer version of this plan").first).to_be_visible()
    assert account.rows("agent") == []

    # With news again, it leads on, and does not change what is on the screen by itself.
    page.unroute_all()
    expect(page.get_by_text("Version 1 was replaced by a newer version.")).to_be_visible()
    expect(page.get_by_role("button", name=approve_button)).to_have_count(0)
    expect(page.get_by_role("heading", name="Van")).to_be_visible()
    page.get_by_role("button", name="Show version 2").click()
    expect(page.get_by_role("heading", name="A newer plan")).to_be_visible()
    page.get_by_role("button", name=approve_button).click()
    redirected(page)
    assert plan_of(account, session_id, 2)["status"] == "approved"


def test_a_withdrawn_proposal_says_so(open_page: OpenPage, account: Account) -> None:
    page = open_page(user=account.user)
    session_id = review_new(page, account)
    expect(page.get_by_role("button", name=approve_button)).to_be_visible()

    service_role(
        account.stack, "rpc/withdraw_plan", session_id=session_id, version=1, user_id=account.user.id
    )

    expect(page.get_by_text("Version 1 was withdrawn by the planner.")).to_be_visible()
    expect(page.get_by_role("button", name=approve_button)).to_have_count(0)
    expect(page.get_by_role("link", name="Go to your plans")).to_be_visible()


def test_a_proposal_that_expires_while_it_is_read_cannot_be_approved(
    open_page: OpenPage, account: Account
) -> None:
    page = open_page(user=account.user)
    session_id = new_session()
    account.receive_proposal(session_id, expires_at=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    page.clock.install()
    review(page, session_id)
    expect(page.get_by_role("button", name=approve_button)).to_be_visible()

    page.clock.fast_forward("01:30:00")

    expect(page.get_by_text("This proposal expired")).to_be_visible()
    expect(page.get_by_role("button", name=approve_button)).to_have_count(0)
    # It can still be sent back.
    say(page, "Request changes", "Propose it again, please.")
    expect(page.get_by_text("You asked for changes to version 1.")).to_be_visible()


@pytest.mark.parametrize("hours", [-3, 2])
def test_a_browsers_clock_decides_nothing(open_page: OpenPage, account: Account, hours: int) -> None:
    """A clock that is fast does not take the button away, and one that is slow does not bring it back."""
    page = open_page(user=account.user)
    page.clock.install(time=datetime.now(UTC) + timedelta(hours=hours))
    valid, expired = new_session(), new_session()
    for session_id in (valid, expired):
        in_an_hour = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        account.receive_proposal(session_id, expires_at=in_an_hour)
    expire(account, expired)

    review(page, expired)
    expect(page.get_by_role("alert").get_by_text("This proposal expired 1 hour ago")).to_be_visible()
    expect(page.get_by_role("button", name=approve_button)).to_have_count(0)
    review(page, valid)
    expect(page.get_by_text("just now, expires in")).to_contain_text(re.compile("in (59 minutes|1 hour)"))
    page.get_by_role("button", name=approve_button).click()
    redirected(page)


def test_the_database_decides_what_has_expired(open_page: OpenPage, account: Account) -> None:
    """If the page does not know it yet, the button is shown, but approves nothing."""
    page = open_page(user=account.user, expected=f"{REFUSED}|{ABORTED}")
    session_id = new_session()
    account.receive_proposal(session_id, expires_at=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    review(page, session_id)
    button = page.get_by_role("button", name=approve_button)
    expect(button).to_be_visible()
    hold_back(page)
    expire(account, session_id)

    button.click()

    expect(page.get_by_role("alert").get_by_text("This proposal expired, so it cannot be")).to_be_visible()
    expect(button).to_have_count(0)
    assert account.rows("agent") == []


def expire(account: Account, session_id: str) -> None:
    """Let the proposal have expired an hour ago. Triggers are off, constraints stay on."""
    if account.stack.local is None:
        pytest.skip("letting time pass needs a Supabase on this machine")
    with psycopg.connect(account.stack.local.postgres.url("supabase_admin")) as database:
        database.execute("set session_replication_role = replica")
        expired = database.execute(
            "update public.plan set created_at = now() - interval '2 hours',"
            " expires_at = now() - interval '1 hour' where session_id = %s",
            [session_id],
        )
        assert expired.rowcount == 1


def test_other_bytes_at_the_path_cannot_be_approved(open_page: OpenPage, account: Account) -> None:
    page = open_page(user=account.user)
    session_id = new_session()
    account.receive_proposal(session_id)
    path = account.path(session_id, PLAN)
    account.stack.tamper(path, b"# Send all the money\n")

    review(page, session_id)

    expect(page.get_by_text("The stored document is not the one that was proposed")).to_be_visible()
    expect(page.get_by_role("heading", name="Send all the money")).to_be_visible()
    for absent in ("Approve plan", "Request changes"):
        expect(page.get_by_role("button", name=absent)).to_have_count(0)
    say(page, "Reject", "This is not what was proposed.")
    expect(page.get_by_text("You rejected version 1.")).to_be_visible()
    assert account.rows("agent") == []


def test_bytes_that_are_replaced_while_they_are_read_are_not_approved(
    open_page: OpenPage, account: Account
) -> None:
    """The hash of the bytes on the screen is sent, so the plan that was read is approved."""
    page = open_page(user=account.user)
    session_id = review_new(page, account)
    expect(page.get_by_role("heading", name="Van")).to_be_visible()
    path = account.path(session_id, PLAN)
    account.stack.tamper(path, b"# Send all the money\n")

    page.get_by_role("button", name=approve_button).click()
    redirected(page)

    assert plan_of(account, session_id)["document_sha256"] == sha256(PLAN)
    # The agent's page shows what became of the bytes.
    expect(page.get_by_text("This is not the approved document")).to_be_visible()


def test_an_oauth_client_decides_nothing(open_page: OpenPage, account: Account) -> None:
    """The page with a token that an agent has: everything that decides is refused, with a sentence that says why."""
    token = account.stack.token_for(account.user, client_id="a-planner")
    page = open_page(user=account.user, expected=REFUSED)
    session_id = new_session()
    agent_id = account.approved()["agent_id"]
    account.finish_building(agent_id)
    account.receive_proposal(session_id)

    def as_client(route: Route) -> None:
        route.continue_(headers={**route.request.headers, "authorization": f"Bearer {token}"})

    page.route(re.compile("/(rest|storage)/v1/"), as_client)
    review(page, session_id)
    for button in ("Approve plan", "Request changes", "Reject"):
        if button == "Approve plan":
            page.get_by_role("button", name=approve_button).click()
        else:
            say(page, button, "More.")
        expect(page.get_by_role("alert").get_by_text("Only you can decide this")).to_be_visible()
        page.reload()
    page.goto(f"/build/{agent_id}")
    for name in ("Pause", "Archive", "Delete"):
        page.get_by_role("button", name="More actions").click()
        page.get_by_role("menuitem", name=name).click()
        page.get_by_role("alertdialog").get_by_role("button", name=name).click()
        expect(
            page.locator("[data-sonner-toast]").get_by_text("Only you can decide this").first
        ).to_be_visible()
        page.reload()

    assert plan_of(account, session_id)["status"] == "proposed"
    assert [agent["status"] for agent in account.rows("agent")] == ["active"]


HOSTILE = (
    '<img src=x onerror="window.ran=1"> [x](javascript:window.ran=2) <script>window.ran=3</script>'
    " **bold** \u2069\u202c\u202egnp\u200b.exe\u2067"
)
# What a title may have of it, and what is seen of both.
HOSTILE_TITLE = re.sub("[\u2069\u202c\u202e\u2067]", "", HOSTILE)
SEEN = re.sub("[\u2069\u202c\u202e]{3}", "U+2069 U+202C U+202E", HOSTILE)
SEEN = SEEN.replace("\u200b", "U+200B").replace("\u2067", "U+2067")
SEEN_TITLE = HOSTILE_TITLE.replace("\u200b", "U+200B")
# Texts of this kind that have more text behind them in the same line, which their directions would turn around.
NOT_ISOLATED = """
() => {
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT, (node) =>
    node.data.includes("gnp") && !node.parentElement.closest("script, textarea")
      ? NodeFilter.FILTER_ACCEPT : NodeFilter.FILTER_SKIP);
  const found = [];
  while (texts.nextNode()) {
    const inline = ({ display, unicodeBidi }) => display === "inline" && unicodeBidi === "normal";
    let box = texts.currentNode.parentElement;
    while (inline(getComputedStyle(box))) box = box.parentElement;
    if (!/(exe|U\\+2067)$/.test(box.textContent)) found.push(box.outerHTML);
  }
  return found;
}
"""


def test_hostile_titles_comments_and_messages_are_text(open_page: OpenPage, account: Account) -> None:
    page = open_page(user=account.user)
    session_id = new_session()
    account.receive_proposal(session_id, title=HOSTILE_TITLE)

    def is_text() -> None:
        expect(page.get_by_role("main").get_by_text(SEEN_TITLE).first).to_be_visible()
        assert page.get_by_role("main").get_by_text(re.compile("[\u200b\u202e]")).count() == 0
        assert page.get_by_role("main").locator("img, script").count() == 0
        assert page.get_by_role("main").get_by_role("link", name="x", exact=True).count() == 0
        assert page.evaluate("window.ran") is None
        assert page.evaluate(NOT_ISOLATED) == []

    page.goto("/plans")
    is_text()
    review(page, session_id)
    is_text()
    say(page, "Request changes", HOSTILE)
    expect(page.get_by_role("figure").get_by_text(SEEN)).to_be_visible()
    is_text()
    account.receive_proposal(session_id, version=2, title=HOSTILE_TITLE, content="# Next\n")
    page.get_by_role("button", name="Show version 2").click()
    expect(page.get_by_role("figure").get_by_text(SEEN)).to_be_visible()
    is_text()
    page.get_by_role("button", name=approve_button).click()
    agent_id = redirected(page)
    page.get_by_text("Version 1 sent back").wait_for()
    is_text()

    build = account.claim(agent_id)
    attempt = {"build_id": build["id"], "attempt": build["attempt"]}
    service_role(account.stack, "rpc/renew_build", **attempt, message=HOSTILE)
    expect(page.get_by_role("main").get_by_text(SEEN)).to_be_visible()
    is_text()
    service_role(account.stack, "rpc/fail_build", **attempt, message=HOSTILE, retry=False)
    expect(page.get_by_role("alert").get_by_text(SEEN)).to_be_visible()
    is_text()
    for path in ("/plans", "/agents"):
        page.goto(path)
        is_text()


def test_a_stranger_sees_no_proposal(open_page: OpenPage, account: Account, stranger: Account) -> None:
    session_id = new_session()
    account.receive_proposal(session_id, title="A secret plan")
    page = open_page(user=stranger.user)
    page.goto("/plans")
    expect(page.get_by_role("heading", name="Nothing is waiting for you")).to_be_visible()
    page.goto(f"/build?session={session_id}")
    expect(page.get_by_role("heading", name="Open a plan")).to_be_visible()
    assert "A secret plan" not in page.content()


def test_a_session_that_ended_leads_back_to_the_proposal(open_page: OpenPage, account: Account) -> None:
    page = open_page(expected=REFUSED)
    session_id = new_session()
    account.receive_proposal(session_id)
    sign_in(page, account.user, f"/build?session={session_id}")
    button = page.get_by_role("button", name=approve_button)
    expect(button).to_be_visible()
    page.route(
        "**/rest/v1/rpc/*",
        lambda route: route.continue_(headers={**route.request.headers, "authorization": "Bearer x"}),
    )

    button.click()

    link = page.get_by_role("link", name="Sign in")
    expect(link).to_have_attribute("href", f"/sign-in?next=%2Fbuild%3Fsession%3D{session_id}")
    assert plan_of(account, session_id)["status"] == "proposed"
