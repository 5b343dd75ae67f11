"""From the plan to the agent's page: by the service and straight from the browser, once and only once."""

import re
import time
import uuid
from pathlib import Path

import pytest
from playwright.sync_api import Page, Request, Route, expect

from local.processes import free_ports
from local.stack import answers, service
from tests.conftest import RunningStack
from tests.plan import new_session, sha256
from tests.web.conftest import (
    PATIENCE_MS,
    PLAN,
    REFUSED,
    Account,
    OpenPage,
    Via,
    approve,
    is_approval,
    open_file,
    redirected,
    serve,
    status_of,
)


def told(page: Page, text: str) -> None:
    """See a message: on the page, or as a notification."""
    messages = page.get_by_role("alert").or_(page.get_by_role("region", name="Notifications"))
    expect(messages.get_by_text(text).first).to_be_visible()


def test_from_sign_up_to_the_agents_page(open_page: OpenPage, via: Via) -> None:
    page = open_page(via=via)
    page.goto("/")
    page.get_by_role("link", name="Create an account").click()
    page.get_by_role("heading", name="Create an account").wait_for()
    page.get_by_label("Email").fill(f"{uuid.uuid4().hex}@example.com")
    page.get_by_label("Password").fill("correct horse battery staple")
    page.get_by_role("button", name="Create account").click()
    page.get_by_role("link", name="Open your first plan").click()
    page.get_by_role("button", name="Start from the example").click()
    page.get_by_role("heading", name="Milestones").wait_for()

    approve(page)

    told(page, "Plan approved. Its agent is being built.")
    expect(page.get_by_role("heading", level=1)).to_have_text("Weekly support digest")
    expect(status_of(page)).to_have_text("Building")
    expect(page.get_by_text("This is the approved document")).to_be_visible()
    expect(page.get_by_role("heading", name="Milestones")).to_be_visible()
    expect(page.get_by_role("region", name="History").get_by_text("Version 1 approved")).to_be_visible()


def test_frontend_receives_agent_id(open_page: OpenPage, account: Account, via: Via) -> None:
    page = open_page(via=via, user=account.user)
    open_file(page, PLAN.encode())

    answers: list[str] = []

    def listen(route: Route) -> None:
        answer = route.fetch()
        if is_approval(route.request, via):
            answers.append(answer.text())
        route.fulfill(response=answer)

    page.route("**/rpc/approve_plan" if via == "direct" else "**/build?session=*", listen)
    page.get_by_role("button", name="Approve plan").click()
    redirected(page)

    received = [agent_id for answer in answers for agent_id in re.findall(r'"agent_id":"([^"]+)"', answer)]
    assert received == [agent["id"] for agent in account.rows("agent")]
    assert len(received) == 1


def test_redirect_to_build_agent_id_works(open_page: OpenPage, account: Account, via: Via) -> None:
    page = open_page(via=via, user=account.user)
    open_file(page, PLAN.encode())

    agent_id = approve(page)

    (agent,) = account.rows("agent")
    assert agent_id == agent["id"]
    expect(page.get_by_role("heading", level=1)).to_have_text("Plan the move")
    # The address works by itself, too.
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("Plan the move")


def test_both_ways_write_the_same_rows(open_page: OpenPage, account: Account) -> None:
    """But for ids, times, and the token of the signed URL."""
    written = {}
    for way in ("service", "direct"):
        session_id = f"{way}-{uuid.uuid4().hex}"
        page = open_page(via=way, user=account.user)
        open_file(page, PLAN.encode(), session_id)
        agent_id = approve(page)
        (agent,) = account.rows("agent", id=f"eq.{agent_id}")
        (plan,) = account.rows("plan", session_id=f"eq.{session_id}")
        events = account.rows("agent_event", agent_id=f"eq.{agent_id}")
        text = repr((agent, plan, events))
        for mine, name in (
            (session_id, "<session>"),
            (agent_id, "<agent>"),
            (plan["id"], "<plan>"),
            (plan["document_id"], "<document>"),
        ):
            text = text.replace(mine, name)
        text = re.sub(r"\?token=[\w.-]+", "?token=<token>", text)
        text = re.sub(r"'\d{4}-\d\d-\d\dT[^']+'", "<time>", text)
        written[way] = re.sub(r"'id': \d+", "'id': <number>", text)
        assert account.read(plan["document_path"]) == PLAN.encode()

    assert written["service"] == written["direct"]
    assert "?token=<token>" in written["service"]


def test_a_double_click_approves_once(open_page: OpenPage, account: Account, via: Via) -> None:
    page = open_page(via=via, user=account.user)
    open_file(page, PLAN.encode())
    sent: list[Request] = []
    page.on("request", lambda request: sent.append(request) if is_approval(request, via) else None)

    button = page.get_by_role("button", name="Approve plan")
    expect(button).to_be_enabled()

    button.evaluate("button => { button.click(); button.click(); }")

    redirected(page)
    assert len(sent) == 1
    assert len(account.rows("agent")) == len(account.rows("plan")) == len(account.rows("agent_event")) == 1


def test_while_it_runs_the_button_says_what_is_happening_and_is_disabled(
    open_page: OpenPage, account: Account
) -> None:
    page = open_page(via="direct", user=account.user)
    open_file(page, PLAN.encode())
    held: list[Route] = []

    def keep(route: Route) -> None:
        held.append(route)

    def let_go() -> None:
        # The button changes before the request is sent.
        until = time.monotonic() + PATIENCE_MS / 1000
        while not held:
            assert time.monotonic() < until, "no request was sent"
            page.wait_for_timeout(10)
        held.pop().continue_()

    page.route("**/storage/v1/object/plans/**", keep)
    page.route("**/rpc/approve_plan", keep)
    button = page.get_by_role("button", name=re.compile("Approve plan|Uploading|Creating"))

    button.click()
    expect(button).to_have_text("Uploading the document…")
    expect(button).to_be_disabled()
    let_go()
    expect(button).to_have_text("Creating the agent…")
    expect(button).to_be_disabled()
    let_go()

    redirected(page)


def test_two_tabs_get_one_agent(open_page: OpenPage, account: Account, via: Via) -> None:
    # Straight from the browser, the second upload meets the first one's document.
    first = open_page(via=via, user=account.user, expected=REFUSED)
    session_id = new_session()
    open_file(first, PLAN.encode(), session_id)
    second = first.context.new_page()
    second.goto(f"/build?session={session_id}")
    buttons = [page.get_by_role("button", name="Approve plan") for page in (first, second)]
    for button in buttons:
        expect(button).to_be_enabled()

    for button in buttons:
        button.click(no_wait_after=True)

    assert redirected(first) == redirected(second)
    assert len(account.rows("agent")) == len(account.rows("plan")) == len(account.rows("agent_event")) == 1


def test_a_service_that_is_down_is_told_and_works_on_retry(
    open_page: OpenPage, stack: RunningStack, account: Account, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    service_url = f"http://127.0.0.1:{port}"
    with serve(stack, "service", tmp_path, service_url) as url:
        page = open_page(url=url, user=account.user)
        open_file(page, PLAN.encode())

        page.get_by_role("button", name="Approve plan").click()
        told(page, "The approval service is down or busy. Nothing is lost: try again in a moment.")
        assert account.rows("agent") == []

        child = service(stack.supabase_url, stack.publishable_key, port, tmp_path / "service.log")
        child.start()
        try:
            child.wait_until(lambda: answers(f"{service_url}/readyz"))
            page.get_by_role("button", name="Try again").click()
            agent_id = redirected(page)
        finally:
            child.stop()
    assert [agent["id"] for agent in account.rows("agent")] == [agent_id]


def test_a_supabase_that_cannot_be_reached_is_told_and_works_on_retry(
    open_page: OpenPage, account: Account
) -> None:
    page = open_page(via="direct", user=account.user, expected="ERR_CONNECTION_REFUSED")
    open_file(page, PLAN.encode())
    page.route("**/storage/v1/**", lambda route: route.abort("connectionrefused"))

    page.get_by_role("button", name="Approve plan").click()
    told(page, "The approval service is down or busy")

    page.unroute_all()
    page.get_by_role("button", name="Try again").click()
    assert redirected(page) == account.rows("agent")[0]["id"]


def test_an_answer_that_was_lost_is_found_again(open_page: OpenPage, account: Account, via: Via) -> None:
    page = open_page(via=via, user=account.user, expected="ERR_CONNECTION_RESET")
    open_file(page, PLAN.encode())

    def lose(route: Route) -> None:
        if is_approval(route.request, via):
            route.fetch()
            route.abort("connectionreset")
        else:
            route.continue_()

    page.route("**/rpc/approve_plan" if via == "direct" else "**/build?session=*", lose)
    page.get_by_role("button", name="Approve plan").click()
    told(page, "The approval service is down or busy")
    (agent,) = account.rows("agent")

    page.unroute_all()
    page.get_by_role("main").get_by_role("button", name="Try again").or_(
        page.get_by_role("link", name="Open the agent")
    ).first.click()
    assert redirected(page) == agent["id"]
    assert len(account.rows("agent_event")) == 1


def test_plan_stale_offers_the_next_version(open_page: OpenPage, account: Account, via: Via) -> None:
    page = open_page(via=via, user=account.user, expected=REFUSED)
    session_id = new_session()
    open_file(page, PLAN.encode(), session_id)
    account.approved(plan_id=session_id, content="# Another plan\n", version=4)

    page.get_by_role("button", name="Approve plan").click()
    told(page, "There is a newer version of this plan")
    page.get_by_role("button", name="Approve as version 5").click()

    redirected(page)
    newest = account.rows("plan", session_id=f"eq.{session_id}", status="eq.approved")
    assert [(plan["version"], plan["document_sha256"]) for plan in newest] == [(5, sha256(PLAN))]


def test_plan_conflict_offers_the_next_version(open_page: OpenPage, account: Account, via: Via) -> None:
    page = open_page(via=via, user=account.user, expected=REFUSED)
    session_id = new_session()
    open_file(page, PLAN.encode(), session_id)
    account.approved(plan_id=session_id, content="# Another plan\n", version=1)

    page.get_by_role("button", name="Approve plan").click()
    told(page, "This version already exists with another text")
    expect(page.get_by_role("link", name="See what was approved")).to_be_visible()
    page.get_by_role("button", name="Approve as version 2").click()

    redirected(page)
    plans = account.rows("plan", session_id=f"eq.{session_id}", order="version")
    assert [plan["status"] for plan in plans] == ["superseded", "approved"]


def test_agent_deleted_offers_to_restore_it(open_page: OpenPage, account: Account, via: Via) -> None:
    page = open_page(via=via, user=account.user, expected=REFUSED)
    session_id = new_session()
    agent_id = account.approved(plan_id=session_id, content="# Another plan\n")["agent_id"]
    account.done("delete_agent", agent_id=agent_id)
    open_file(page, PLAN.encode(), session_id)

    page.get_by_role("button", name="Approve plan").click()
    told(page, "The agent of this plan was deleted")
    page.get_by_role("button", name="Restore the agent and approve").click()
    page.get_by_role("button", name="Approve as version 2").click()

    assert redirected(page) == agent_id


def test_agent_archived_offers_a_new_plan(open_page: OpenPage, account: Account, via: Via) -> None:
    page = open_page(via=via, user=account.user, expected=REFUSED)
    session_id = new_session()
    archived = account.approved(plan_id=session_id)["agent_id"]
    account.done("transition_agent", agent_id=archived, to_status="archived")
    page.goto(f"/build?session={session_id}")
    page.get_by_role("tab", name="Edit").click()
    page.get_by_label("Document").fill("# Another plan\n")

    page.get_by_role("button", name="Approve plan").click()
    told(page, "The agent of this plan is archived")
    page.get_by_role("button", name="Start a new plan from this text").click()
    page.wait_for_url(lambda url: "session=" in url and session_id not in url)

    assert approve(page) != archived


def test_a_document_that_changes_on_the_way_is_not_approved(open_page: OpenPage, account: Account) -> None:
    page = open_page(user=account.user)
    open_file(page, PLAN.encode())

    def tamper(route: Route) -> None:
        body = route.request.post_data
        if route.request.method == "POST" and body:
            assert "Two trips" in body
            route.continue_(post_data=body.replace("Two trips", "Ten trips"))
        else:
            route.continue_()

    page.route("**/build?session=*", tamper)
    page.get_by_role("button", name="Approve plan").click()
    told(page, "The text that arrived is not the text that you see, so nothing was approved")
    assert account.rows("plan") == []

    page.unroute_all()
    page.get_by_role("button", name="Try again").click()
    redirected(page)


def test_a_title_that_is_refused_leads_to_the_title(open_page: OpenPage, account: Account, via: Via) -> None:
    page = open_page(via=via, user=account.user, expected=REFUSED)
    open_file(page, PLAN.encode())
    page.get_by_role("tab", name="Edit").click()
    page.get_by_label("Title").fill("   ")
    page.get_by_role("tab", name="Read").click()

    page.get_by_role("button", name="Approve plan").click()
    told(page, "The title needs 1 to 500 characters in a single line.")
    page.get_by_role("button", name="Edit the plan").click()
    page.get_by_label("Title").fill("A better title")

    approve(page)
    assert [agent["name"] for agent in account.rows("agent")] == ["A better title"]


def test_a_session_that_ended_leads_back_to_the_plan(open_page: OpenPage, account: Account, via: Via) -> None:
    page = open_page(via=via, user=account.user, expected=REFUSED)
    session_id = new_session()
    open_file(page, PLAN.encode(), session_id)
    page.get_by_role("tab", name="Edit").click()
    page.get_by_label("Title").fill("Kept through signing in")
    page.context.clear_cookies()

    page.get_by_role("button", name="Approve plan").click()
    page.get_by_role("link", name="Sign in").click()
    page.get_by_label("Email").fill(account.user.email)
    page.get_by_label("Password").fill(account.user.password)
    page.get_by_role("button", name="Sign in").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("Kept through signing in")
    approve(page)


@pytest.mark.parametrize("size", [0, 1024 * 1024 + 1])
def test_a_document_of_the_wrong_size_is_not_opened(open_page: OpenPage, account: Account, size: int) -> None:
    page = open_page(user=account.user)
    page.goto("/build")
    page.get_by_label("Markdown file").set_input_files(
        {"name": "plan.md", "mimeType": "text/markdown", "buffer": b"x" * size}
    )
    told(page, "The document must be between 1 byte and 1 MiB.")


def test_a_document_of_the_largest_size_is_approved(open_page: OpenPage, account: Account, via: Via) -> None:
    # Straight from the browser, storage is asked for a large document before it is uploaded: it is not there.
    page = open_page(via=via, user=account.user, expected=REFUSED if via == "direct" else r"(?!)")
    # Each of these takes six bytes in JSON.
    document = b"# All of it\n\n" + b"\x01" * (1024 * 1024 - 13)
    open_file(page, document)
    approve(page)
    assert [plan["document_sha256"] for plan in account.rows("plan")] == [sha256(document)]
