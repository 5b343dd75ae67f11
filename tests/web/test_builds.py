"""What the owner sees of a build: how far it is, why it failed, and that it can be tried again."""

from playwright.sync_api import expect

from tests.web.conftest import Account, OpenPage, service_role, status_of


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
    expect(page.get_by_text("Attempt 1 failed, the next one starts")).to_be_visible()


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
