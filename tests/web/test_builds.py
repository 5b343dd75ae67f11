"""What the owner sees of a build: how far it is, what it wrote and made, and that it can be stopped and tried again."""

import re

import httpx
import psycopg
import pytest
from playwright.sync_api import Locator, Page, Request, Response, expect

from tests.caller import Json
from tests.web.conftest import PLAN, REFUSED, Account, OpenPage, service_role, status_of
from tests.web.test_agent import confirm


def renew(account: Account, build: Json, **report: Json) -> None:
    """Report as the builder of this attempt does."""
    service_role(account.stack, "rpc/renew_build", build_id=build["id"], attempt=build["attempt"], **report)


def claim_again(account: Account, build: Json) -> Json:
    """Claim the next attempt at a build that failed, without waiting for its pause to pass."""
    if account.stack.local is None:
        pytest.skip("letting time pass needs a Supabase on this machine")
    with psycopg.connect(account.stack.local.postgres.url("supabase_admin")) as database:
        database.execute("update public.build set run_after = now() where id = %s", [build["id"]])
    return account.claim(build["agent_id"])


def log_of(page: Page, attempt: int = 1) -> Locator:
    return page.get_by_role("region", name=f"Build log: Attempt {attempt} of 5")


def test_progress_moves_fails_is_tried_again_and_becomes_active(
    open_page: OpenPage, account: Account
) -> None:
    agent_id = account.approved()["agent_id"]
    page = open_page(user=account.user)
    page.goto(f"/build/{agent_id}")
    status = status_of(page)
    bar = page.get_by_role("progressbar", name="Build progress")
    expect(page.get_by_text("Waiting for a builder")).to_be_visible()
    expect(page.get_by_text("Approved. This page updates by itself.")).to_be_visible()
    expect(bar).not_to_have_attribute("value", "0")

    build = account.claim(agent_id)
    attempt = {"build_id": build["id"], "attempt": build["attempt"]}
    for progress, message in ((20, "Packing the boxes"), (60, "Loading the van")):
        service_role(account.stack, "rpc/renew_build", **attempt, progress=progress, message=message)
        expect(bar).to_have_attribute("value", str(progress))
        expect(page.get_by_text(message)).to_be_visible()

    service_role(account.stack, "rpc/fail_build", **attempt, message="<b>The van broke down</b>", retry=False)
    expect(status).to_have_text("Failed")
    expect(page.get_by_text("<b>The van broke down</b>")).to_be_visible()
    expect(bar).to_have_count(0)
    expect(page.get_by_role("region", name="History").get_by_text("Now failed")).to_be_visible()

    page.get_by_role("button", name="Try again").click()
    expect(status).to_have_text("Building")
    account.finish_building(agent_id)
    expect(status).to_have_text("Active")
    expect(bar).to_have_count(0)


def test_an_active_agent_shows_what_the_builder_said_last(open_page: OpenPage, account: Account) -> None:
    agent_id = account.approved()["agent_id"]
    build = account.claim(agent_id)
    attempt = {"build_id": build["id"], "attempt": build["attempt"]}
    service_role(account.stack, "rpc/renew_build", **attempt, progress=100, message="It builds nothing.")
    service_role(account.stack, "rpc/finish_build", **attempt)
    page = open_page(user=account.user)
    page.goto(f"/build/{agent_id}")
    expect(status_of(page)).to_have_text("Active")
    expect(page.get_by_text("It builds nothing.")).to_be_visible()


def test_a_second_attempt_says_so_and_why_the_first_one_failed(open_page: OpenPage, account: Account) -> None:
    agent_id = account.approved()["agent_id"]
    build = account.claim(agent_id)
    service_role(
        account.stack, "rpc/fail_build", build_id=build["id"], attempt=build["attempt"], message="Flat tyre"
    )
    page = open_page(user=account.user)
    page.goto(f"/build/{agent_id}")
    expect(status_of(page)).to_have_text("Building")
    expect(page.get_by_text("Flat tyre")).to_be_visible()
    expect(page.get_by_text("Attempt 1 of 5 failed, the next one starts")).to_be_visible()

    renew(account, claim_again(account, build))
    expect(page.get_by_text("Attempt 2 of 5")).to_be_visible()


def test_the_owner_stops_a_build_and_tries_again(open_page: OpenPage, account: Account) -> None:
    agent_id = account.approved()["agent_id"]
    build = account.claim(agent_id)
    page = open_page(user=account.user)
    page.goto(f"/build/{agent_id}")
    stop = page.get_by_role("button", name="Stop")
    stop.click()
    page.get_by_role("alertdialog").get_by_role("button", name="Cancel").click()
    expect(stop).to_be_focused()
    renew(account, build, message="Still at it")
    expect(page.get_by_text("Still at it")).to_be_visible()

    stop.click()
    confirm(page, "Stop")

    expect(status_of(page)).to_have_text("Failed")
    expect(page.get_by_text("Stopped by the owner.")).to_be_visible()
    expect(stop).to_have_count(0)
    with pytest.raises(httpx.HTTPStatusError, match="409"):
        renew(account, build, message="Still at it")
    page.get_by_role("button", name="Try again").click()
    expect(status_of(page)).to_have_text("Building")
    account.finish_building(agent_id)
    expect(status_of(page)).to_have_text("Active")
    expect(stop).to_have_count(0)
    # What came of the first build is not lost.
    page.get_by_text("Earlier builds").click()
    earlier = page.get_by_role("region", name="Status").get_by_role("listitem")
    expect(earlier).to_have_text(
        [re.compile(r"Cancelled.*Version 1.*Attempt 1 of 5.*Stopped by the owner\.")]
    )


def test_a_stop_that_comes_too_late_says_so(open_page: OpenPage, account: Account) -> None:
    agent_id = account.approved()["agent_id"]
    page = open_page(user=account.user, expected=f"{REFUSED}|ERR_FAILED")
    page.goto(f"/build/{agent_id}")
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("alertdialog").wait_for()
    # The page would notice by itself, and put the question away.
    page.route("**/rest/v1/agent?*", lambda route: route.abort())
    account.finish_building(agent_id)
    with page.expect_response("**/rest/v1/rpc/stop_build") as answer:
        confirm(page, "Stop")
    assert answer.value.json()["message"] == "illegal_transition"
    page.unroute("**/rest/v1/agent?*")

    expect(page.get_by_text("The agent's status has changed")).to_be_visible()
    expect(status_of(page)).to_have_text("Active")


def finished(account: Account, result: Json, **report: Json) -> str:
    """Approve a plan, build it with this result, and return the agent's id."""
    agent_id: str = account.approved()["agent_id"]
    build = account.claim(agent_id)
    attempt = {"build_id": build["id"], "attempt": build["attempt"]}
    service_role(account.stack, "rpc/finish_build", **attempt, result=result, **report)
    return agent_id


def test_the_result_is_a_link_that_names_its_host(open_page: OpenPage, account: Account) -> None:
    summary = "<b>Two pages</b>\nand a form"
    agent_id = finished(account, {"url": "https://user@bakery.example:8443/a?b=<c>", "summary": summary})
    page = open_page(user=account.user)
    page.goto(f"/build/{agent_id}")

    result = page.get_by_role("region", name="Result")
    link = result.get_by_role("link")
    expect(link).to_have_text("Open bakery.example:8443")
    expect(link).to_have_attribute("href", "https://user@bakery.example:8443/a?b=%3Cc%3E")
    expect(link).to_have_attribute("rel", re.compile(r"\bnoopener\b"))
    expect(link).to_have_attribute("target", "_blank")
    expect(result.get_by_text(summary)).to_be_visible()
    # While the next version is built, nothing is there yet; what was there can be found.
    session_id = account.rows("plan")[0]["session_id"]
    account.approved(plan_id=session_id, content="# Another plan\n", version=2)
    expect(result).to_have_count(0)
    page.get_by_text("Earlier builds").click()
    expect(result.get_by_role("link")).to_have_text("Open bakery.example:8443")


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(document.domain)",
        " javascript:alert(1)",
        "data:text/html,<script>alert(1)</script>",
        "blob:https://bakery.example/1",
        "//bakery.example",
        "/agents",
        "https://",
        "https://[bakery]/",
        "https://bakery.example/ and more",
        ["https://bakery.example"],
        {"toString": "https://bakery.example"},
        7,
        None,
    ],
)
def test_a_result_that_is_no_address_of_the_web_is_no_link(
    open_page: OpenPage, account: Account, url: Json
) -> None:
    agent_id = finished(account, {"url": url, "summary": "Two pages"})
    page = open_page(user=account.user)
    page.goto(f"/build/{agent_id}")
    status = page.get_by_role("region", name="Status")
    expect(status.get_by_text("Two pages")).to_be_visible()
    expect(status.get_by_role("link")).to_have_count(0)


def test_a_host_that_looks_like_another_one_does_not(open_page: OpenPage, account: Account) -> None:
    agent_id = finished(account, {"url": "https://b\u0430kery.example/", "summary": ["not", "text"]})
    page = open_page(user=account.user)
    page.goto(f"/build/{agent_id}")
    expect(page.get_by_role("region", name="Result")).to_have_text("Open xn--bkery-4ve.example")


def test_the_log_is_shown_as_it_grows_and_loaded_when_it_changed(
    open_page: OpenPage, account: Account
) -> None:
    agent_id = account.approved()["agent_id"]
    build = account.claim(agent_id)
    page = open_page(user=account.user)
    asked: list[Request] = []
    page.on(
        "request", lambda request: asked.append(request) if "/rest/v1/build_log?" in request.url else None
    )
    page.goto(f"/build/{agent_id}")
    expect(page.get_by_text("Attempt 1 of 5")).to_be_visible()
    expect(page.get_by_text("Build log")).to_have_count(0)

    for number in (1, 2):
        log = "".join(f"\x1b[3{line}mbox {line}\x1b[0m packed\n" for line in range(1, number + 1))
        renew(account, build, log=log)
        expect(log_of(page)).to_have_text(re.compile(rf"box {number} packed\s*$"))
        # A renewal without news: the page sees it, and loads no log.
        renew(account, build, log=log, progress=10 * number)
        expect(page.get_by_text(f"{10 * number} %")).to_be_visible()
        polled(page)
        assert len(asked) == number
    expect(log_of(page).locator(".text-destructive")).to_have_text("box 1")

    service_role(
        account.stack, "rpc/finish_build", build_id=build["id"], attempt=build["attempt"], log="all of it"
    )
    expect(log_of(page)).to_have_text("all of it")
    # Who comes later looks at it when they like.
    page.reload()
    page.get_by_text("This is the approved document").wait_for()
    assert len(asked) == 3
    page.get_by_text("Build log").click()
    expect(log_of(page)).to_have_text("all of it")


def polled(page: Page) -> None:
    """Wait until the page has asked once more, and shown the answer."""

    def is_last_of_poll(response: Response) -> bool:
        return "/rest/v1/rpc/latest_changes" in response.url

    for _ in range(2):
        with page.expect_response(is_last_of_poll):
            pass


def test_each_attempts_log_can_be_read(open_page: OpenPage, account: Account) -> None:
    agent_id = account.approved()["agent_id"]
    build = account.claim(agent_id)
    service_role(
        account.stack,
        "rpc/fail_build",
        build_id=build["id"],
        attempt=build["attempt"],
        message="Flat tyre",
        log="bang",
    )
    page = open_page(user=account.user)
    page.goto(f"/build/{agent_id}")
    expect(log_of(page)).to_have_text("bang")
    renew(account, claim_again(account, build), log="new tyre")
    expect(log_of(page, 2)).to_have_text("new tyre")

    page.get_by_label("Log of").select_option("Attempt 1 of 5")
    expect(log_of(page)).to_have_text("bang")
    page.get_by_label("Log of").select_option("Attempt 2 of 5")
    expect(log_of(page, 2)).to_have_text("new tyre")


def test_a_log_is_text_whatever_is_in_it(open_page: OpenPage, account: Account) -> None:
    lines = [
        "<img src=x onerror=alert(1)><script>alert(2)</script>",
        "\x1b]8;;javascript:alert(3)\x1b\\a link\x1b]8;;\x1b\\",
        "\x1b[8mhidden\x1b[0m \x1b[30;40mblack\x1b[0m \u202eturned",
        "\x1b]8;;https://bakery.example",  # never ends
        "\x1b[31mthe end\x1b[",
    ]
    log = "31m cut" + "\n".join([".", *("x" * 99 for _ in range(700)), *lines])
    assert len(log) > 65_536
    agent_id = finished(account, None, log=log)
    page = open_page(user=account.user)
    page.goto(f"/build/{agent_id}")
    page.get_by_text("Build log").click()

    shown = log_of(page)
    expect(shown).to_have_text(
        re.compile(
            r"x{99}\s<img src=x onerror=alert\(1\)><script>alert\(2\)</script>\s*a link\s*"
            r"hidden black U\+202Eturned\s*the end$"
        )
    )
    expect(shown.locator("a, img, script")).to_have_count(0)
    # Its end is what one looks for.
    expect(shown.get_by_text("the end")).to_be_in_viewport()
    expect(shown.get_by_text("hidden")).to_be_visible()


def test_a_log_that_cannot_be_loaded_is_tried_again(open_page: OpenPage, account: Account) -> None:
    agent_id = finished(account, None, log="at last")
    page = open_page(user=account.user, expected="the server responded with a status of 503")
    page.route("**/rest/v1/build_log?*", lambda route: route.fulfill(status=503, body="{}"))
    page.goto(f"/build/{agent_id}")
    page.get_by_text("Build log").click()
    again = page.get_by_role("region", name="Status").get_by_role("button", name="Try again")
    expect(again).to_be_visible()
    page.unroute("**/rest/v1/build_log?*")
    again.click()
    expect(log_of(page)).to_have_text("at last")


def test_a_stranger_sees_neither_result_nor_log(
    open_page: OpenPage, account: Account, stranger: Account
) -> None:
    agent_id = finished(account, {"summary": "A secret bakery"}, log="a secret recipe")
    owner = open_page(user=account.user)
    owner.goto(f"/build/{agent_id}")
    expect(owner.get_by_text("A secret bakery")).to_be_visible()
    owner.get_by_text("Build log").click()
    expect(log_of(owner)).to_have_text("a secret recipe")

    other = open_page(user=stranger.user, expected=REFUSED)
    answer = other.goto(f"/build/{agent_id}")
    assert answer
    assert answer.status == 404
    assert "secret" not in other.content()
    mine = account.get("/rest/v1/build_log").json()
    assert [log["content"] for log in mine] == ["a secret recipe"]
    assert stranger.get("/rest/v1/build_log").json() == []
    refusal = stranger.rpc("stop_build", agent_id=agent_id)
    assert (refusal.status_code, refusal.json()["message"]) == (404, "agent_not_found")


def test_the_note_and_the_comments_of_the_approval_are_shown(open_page: OpenPage, account: Account) -> None:
    start = PLAN.index("Two trips.")
    passage = {"start": start, "end": start + 10, "exact": "Two trips.", "body": "Better <b>three</b>."}
    # The database does not look into the document.
    wrong = {"start": 0, "end": 7, "exact": "Burn it", "body": "Really?"}
    agent_id = account.approved(comment="Pack the books last.", comments=[passage, wrong])["agent_id"]
    page = open_page(user=account.user)
    page.goto(f"/build/{agent_id}")
    status = page.get_by_role("region", name="Status")
    expect(status.get_by_role("figure", name="Note with the approval")).to_contain_text(
        "Pack the books last."
    )
    page.get_by_text("Comments on 2 passages").click()
    line = PLAN[:start].count("\n") + 1
    expect(status.get_by_role("listitem")).to_have_text(
        [
            re.compile(rf"Better <b>three</b>\.\s*Line {line}\s*Two trips\."),
            re.compile(r"Really\?\s*The stored plan does not have this passage\s*Burn it"),
        ]
    )


def test_the_list_of_agents_shows_progress(open_page: OpenPage, account: Account) -> None:
    agent_id = account.approved(title="On its way")["agent_id"]
    build = account.claim(agent_id)
    page = open_page(user=account.user)
    page.goto("/agents")
    bar = page.get_by_role("progressbar", name="Progress of On its way")
    expect(bar).to_be_visible()

    service_role(
        account.stack, "rpc/renew_build", build_id=build["id"], attempt=build["attempt"], progress=40
    )
    expect(bar).to_have_attribute("value", "40")
    expect(page.get_by_text("40 %")).to_be_visible()
    service_role(account.stack, "rpc/finish_build", build_id=build["id"], attempt=build["attempt"])
    expect(page.get_by_role("listitem").get_by_text("Active")).to_be_visible()
    expect(bar).to_have_count(0)
