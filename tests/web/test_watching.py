"""What an open page asks of Supabase: little while nothing changes, and what changes is shown."""

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from playwright.sync_api import Locator, Page, Request, expect

from tests.plan import new_session
from tests.web.conftest import Account, OpenPage, service_role, status_of

MOST_REQUESTS = 6
# What is asked and answered. Headers come to it, 2.2 kB for each request without their compression in HTTP/2: the
# browser's own, and a token of 1 kB.
MOST_BYTES = 2_000


@dataclass
class Traffic:
    """What a page asked since it was last cleared. Our own round trips do not count."""

    page: Page
    requests: list[Request] = field(default_factory=list)
    under_way: set[Request] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.page.on("request", self._started)
        self.page.on("requestfinished", self._ended)
        self.page.on("requestfailed", self._ended)

    def _started(self, request: Request) -> None:
        if not request.url.endswith("/icon.svg"):
            self.requests.append(request)
            self.under_way.add(request)

    def _ended(self, request: Request) -> None:
        self.under_way.discard(request)

    @property
    def paths(self) -> list[str]:
        return [urlsplit(request.url).path for request in self.requests]

    @property
    def size(self) -> int:
        sizes = [request.sizes() for request in self.requests]
        return sum(size["requestBodySize"] + size["responseBodySize"] for size in sizes)

    def settle(self) -> None:
        """Wait until the page has asked what it asks now, and has the answers."""
        while True:
            before = len(self.requests)
            self.page.evaluate(
                "async () => { for (let n = 0; n < 8; n++) await fetch('/icon.svg', { cache: 'reload' }); }"
            )
            if not self.under_way and len(self.requests) == before:
                return

    def pass_time(self, seconds: int) -> None:
        """Let time pass on the page's own clock."""
        for _ in range(seconds):
            before = len(self.requests)
            self.page.clock.run_for(1_000)
            # Long enough for the page to ask. What it asks later is seen in the next second, or at the end.
            self.page.evaluate(
                "async () => { for (let n = 0; n < 8; n++) await navigator.locks.request('', () => undefined); }"
            )
            if self.under_way or len(self.requests) > before:
                self.settle()
        self.settle()


def open_with_own_clock(page: Page, path: str, shown: str) -> Traffic:
    """Open a page whose clock is ours, so that a minute does not take one."""
    traffic = Traffic(page)
    page.clock.install()
    page.clock.pause_at(page.evaluate("Date.now() / 1_000 + 1"))
    page.goto(path)
    page.get_by_text(shown).first.wait_for()
    page.wait_for_load_state("networkidle")
    # The first look, before which some pages load the client.
    traffic.pass_time(2)
    assert "/rest/v1/rpc/latest_changes" in traffic.paths
    traffic.requests.clear()
    return traffic


def asks_little(traffic: Traffic) -> None:
    """Nothing changes in the first minute, nor in the next one."""
    for _ in range(2):
        traffic.pass_time(60)
        assert 4 < len(traffic.requests) <= MOST_REQUESTS, traffic.paths
        assert traffic.size <= MOST_BYTES
        traffic.requests.clear()


def shows(traffic: Traffic, change: Locator) -> None:
    """A change after all that quiet is shown within ten seconds, and the page then looks again soon."""
    expect(change).to_have_count(0)
    for _ in range(10):
        traffic.pass_time(1)
        if change.is_visible():
            break
    expect(change).to_be_visible()
    traffic.requests.clear()


def switch(page: Page, state: str) -> None:
    """Hide the tab, or show it."""
    page.evaluate(
        """(state) => {
            Object.defineProperty(document, "visibilityState", { value: state, configurable: true });
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        state,
    )


def test_a_proposal_that_waits(open_page: OpenPage, account: Account) -> None:
    session_id = new_session()
    account.receive_proposal(session_id)
    page = open_page(user=account.user)
    traffic = open_with_own_clock(page, f"/build?session={session_id}", "Pack the boxes")
    asks_little(traffic)

    account.receive_proposal(session_id, version=2, title="Plan the whole move", content="# Another plan\n")

    shows(traffic, page.get_by_text("Version 2"))


def test_an_agent_that_builds(open_page: OpenPage, account: Account) -> None:
    agent_id = account.approved()["agent_id"]
    build = account.claim(agent_id)
    attempt = {"build_id": build["id"], "attempt": build["attempt"]}
    service_role(account.stack, "rpc/renew_build", **attempt, progress=10, message="Measuring", log="one\n")
    page = open_page(user=account.user)
    traffic = open_with_own_clock(page, f"/build/{agent_id}", "Measuring")
    asks_little(traffic)

    service_role(account.stack, "rpc/renew_build", **attempt, progress=20, message="Sawing")
    shows(traffic, page.get_by_text("Sawing"))

    # Then it looks again after two seconds.
    service_role(
        account.stack, "rpc/renew_build", **attempt, progress=20, message="Sawing", log="one\nsawdust\n"
    )
    traffic.pass_time(2)
    expect(page.get_by_text("sawdust")).to_be_visible()

    service_role(account.stack, "rpc/finish_build", **attempt)
    traffic.pass_time(2)
    expect(status_of(page)).to_have_text("Active")


def test_an_agent_that_is_done(open_page: OpenPage, account: Account) -> None:
    session_id = new_session()
    agent_id = account.approved(plan_id=session_id)["agent_id"]
    account.finish_building(agent_id)
    page = open_page(user=account.user)
    traffic = open_with_own_clock(page, f"/build/{agent_id}", "This is the approved document")
    asks_little(traffic)

    account.receive_proposal(session_id, version=2, content="# Another plan\n")

    shows(traffic, page.get_by_text("Version 2 is proposed"))

    # In a hidden tab it asks nothing, and then at once.
    switch(page, "hidden")
    traffic.pass_time(60)
    assert traffic.paths == []
    service_role(account.stack, "rpc/transition_agent", agent_id=agent_id, to_status="paused")
    switch(page, "visible")
    expect(status_of(page)).to_have_text("Paused")


def test_the_inbox(open_page: OpenPage, account: Account) -> None:
    first = new_session()
    account.receive_proposal(first, title="The first")
    account.finish_building(account.approved(title="Decided")["agent_id"])
    page = open_page(user=account.user)
    traffic = open_with_own_clock(page, "/plans", "The first")
    asks_little(traffic)

    account.receive_proposal(new_session(), title="The second", content="# Another plan\n")
    shows(traffic, page.get_by_role("link", name="The second"))
    expect(page.get_by_role("link", name="Plans 2 waiting")).to_be_visible()

    service_role(account.stack, "rpc/withdraw_plan", session_id=first, version=1, user_id=account.id)
    traffic.pass_time(2)
    expect(page.get_by_role("link", name="Plans 1 waiting")).to_be_visible()
    expect(page.get_by_text("Withdrawn")).to_be_visible()
