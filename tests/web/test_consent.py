"""A planner asks for access of its own, and its user allows or denies it. The OAuth server is a stand-in's."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import RunningStack, User
from tests.web.conftest import REFUSED, OpenPage, serve
from tests.web.oauth_server import Answer, Client, OAuthServer
from tests.web.test_pages import violations


@pytest.fixture(scope="package")
def oauth(stack: RunningStack) -> Iterator[OAuthServer]:
    with OAuthServer(stack.supabase_url) as server:
        yield server


@pytest.fixture(scope="package")
def app(stack: RunningStack, oauth: OAuthServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The web app of a project that has an OAuth server."""
    with serve(replace(stack, supabase_url=oauth.url), "direct", tmp_path_factory.mktemp("web")) as url:
        yield url


@pytest.fixture
def ada(stack: RunningStack, oauth: OAuthServer) -> Iterator[User]:
    yield stack.sign_up()
    oauth.answers.clear()


OpenConsent = Callable[..., Page]


@pytest.fixture
def consent(open_page: OpenPage, app: str) -> OpenConsent:
    """Return a function that opens the page to which the OAuth server sends a user."""

    def consent(authorization_id: str, user: User | None, **options: str) -> Page:
        page = open_page(url=app, user=user, **options)
        page.goto(f"/oauth/consent?authorization_id={authorization_id}")
        return page

    return consent


@pytest.fixture
def planner(oauth: OAuthServer) -> Client:
    return Client("Claude", f"{oauth.url}/callback", "https://claude.example")


def test_a_user_allows_a_planner(
    consent: OpenConsent, oauth: OAuthServer, planner: Client, ada: User
) -> None:
    page = consent(oauth.authorize(planner).id, ada)
    expect(page.get_by_role("heading", name="Let Claude plan for you?")).to_be_visible()
    expect(page.get_by_role("main")).to_contain_text(ada.email)
    expect(page.get_by_role("main")).to_contain_text("never approve")
    expect(page.get_by_role("main")).to_contain_text("a program on this device (127.0.0.1:")
    expect(page.get_by_role("main")).to_contain_text("your id, your email address")
    assert (ada.id, planner.id) not in oauth.grants
    page.get_by_role("button", name="Allow").press("Enter")
    page.wait_for_url(re.compile(rf"^{re.escape(oauth.url)}/callback\?code=\w+&state=xyz$"))
    assert (ada.id, planner.id) in oauth.grants


def test_a_user_denies_a_planner(
    consent: OpenConsent, oauth: OAuthServer, planner: Client, ada: User
) -> None:
    page = consent(oauth.authorize(planner).id, ada)
    page.get_by_role("button", name="Deny").click()
    page.wait_for_url(re.compile(rf"^{re.escape(oauth.url)}/callback\?error=access_denied&.*state=xyz$"))
    assert (ada.id, planner.id) not in oauth.grants


def test_a_visitor_signs_in_first_and_comes_back_to_the_same_request(
    consent: OpenConsent, oauth: OAuthServer, planner: Client, ada: User
) -> None:
    authorization = oauth.authorize(planner)
    page = consent(authorization.id, None)
    page.wait_for_url(re.compile(r"/sign-in\?next="))
    assert authorization.user_id is None
    page.get_by_label("Email").fill(ada.email)
    page.get_by_label("Password").fill(ada.password)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Allow").click()
    page.wait_for_url(f"{oauth.url}/callback?**")
    assert authorization.status == "approved"


def test_who_has_allowed_it_before_is_not_asked_again(
    consent: OpenConsent, oauth: OAuthServer, planner: Client, ada: User
) -> None:
    oauth.grant(ada.id, planner, ["openid", "email"])
    page = consent(oauth.authorize(planner).id, ada)
    page.wait_for_url(f"{oauth.url}/callback?code=**")
    # More than that is asked.
    more = consent(oauth.authorize(planner, scope="openid email phone").id, ada)
    expect(more.get_by_role("button", name="Allow")).to_be_visible()


def test_a_request_of_another_user_or_an_old_one_is_over(
    consent: OpenConsent, oauth: OAuthServer, planner: Client, ada: User, stack: RunningStack
) -> None:
    hers = oauth.authorize(planner)
    expect(consent(hers.id, ada).get_by_role("button", name="Allow")).to_be_visible()
    old = oauth.authorize(planner)
    old.status = "expired"
    for page in (
        consent(hers.id, stack.sign_up()),
        consent(old.id, ada),
        consent("0" * 32, ada),
        # supabase-js would ask for another path of Auth.
        consent("..%2F..%2Fuser", ada),
    ):
        expect(page.get_by_role("heading", name="This request is over")).to_be_visible()
        expect(page.get_by_role("button", name="Allow")).to_have_count(0)
    assert hers.status == "pending"


def test_a_request_is_answered_once(
    consent: OpenConsent, oauth: OAuthServer, planner: Client, ada: User
) -> None:
    authorization = oauth.authorize(planner)
    first, second = (consent(authorization.id, ada, expected=REFUSED) for _ in range(2))
    first.get_by_role("button", name="Deny").click()
    first.wait_for_url(f"{oauth.url}/callback?**")
    second.get_by_role("button", name="Allow").click()
    expect(second.get_by_role("alert").filter(has_text="cannot be answered")).to_be_visible()
    assert authorization.status == "denied"
    expect(consent(authorization.id, ada).get_by_role("heading", name="cannot be answered")).to_be_visible()


FAILURES = {
    "the planner sent a resource": (
        (400, {"error_code": "validation_failed"}),
        "This request cannot be answered",
    ),
    "the session has ended": ((403, {"error_code": "session_not_found"}), "You are signed out"),
    "it is switched off": ((404, {"error_code": "feature_disabled"}), "Planners cannot connect here"),
    "too many requests": ((429, {"error_code": "over_request_rate_limit"}), "Sign-in is not available"),
    "it is down": ((503, {}), "Sign-in is not available"),
    "something else": ((418, {"error_code": "teapot"}), "That did not work"),
}


@pytest.mark.parametrize(("answer", "title"), FAILURES.values(), ids=FAILURES)
def test_each_error_of_each_call_is_explained(
    consent: OpenConsent, oauth: OAuthServer, planner: Client, ada: User, app: str, answer: Answer, title: str
) -> None:
    authorization = oauth.authorize(planner)
    page = consent(authorization.id, ada, expected=r"the server responded with a status of [45]\d\d")
    oauth.answers["consent"] = answer
    for button in ("Allow", "Deny"):
        page.get_by_role("button", name=button).click()
        expect(page.get_by_role("alert").filter(has_text=title)).to_be_visible()
    oauth.answers["details"] = answer
    page.reload()
    expect(page.get_by_role("heading", name=title)).to_be_visible()
    oauth.answers["list"] = answer
    page.goto("/planners")
    expect(page.get_by_role("alert").filter(has_text=title)).to_be_visible()
    assert authorization.status == "pending"

    # Nothing was decided: it still can be.
    oauth.answers.clear()
    page.goto(f"/oauth/consent?authorization_id={authorization.id}")
    page.get_by_role("button", name="Allow").click()
    page.wait_for_url(f"{oauth.url}/callback?code=**")


UNSAFE = (
    "javascript:document.title='taken'//",
    " JaVa\tScRiPt:document.title='taken'//",
    "data:text/html,<title>taken</title>",
    "blob:{app}/0",
    "filesystem:{app}/temporary/0",
    "view-source:{app}/plans",
    "feed:javascript:document.title='taken'//",
    "file:///etc/passwd",
)


def test_a_planner_cannot_run_a_script_in_the_page(
    consent: OpenConsent, oauth: OAuthServer, ada: User, app: str
) -> None:
    page = consent("0" * 32, ada)
    for address in UNSAFE:
        sly = Client("Sly", address.format(app=app))
        oauth.grant(ada.id, sly, ["openid"])
        # The second one was allowed before: the page would open the address at once.
        for scope in ("openid email", "openid"):
            page.goto(f"/oauth/consent?authorization_id={oauth.authorize(sly, scope=scope).id}")
            expect(page.get_by_role("heading", name="This planner cannot be connected")).to_be_visible()
            expect(page.get_by_role("button", name="Allow")).to_have_count(0)
            assert page.title() != "taken"


def test_a_planner_cannot_hide_anything_in_its_name(
    consent: OpenConsent, oauth: OAuthServer, ada: User
) -> None:
    page = consent(oauth.authorize(Client("Green\u202elight\u200b", "https://sly.example/callback")).id, ada)
    expect(page.get_by_role("heading", level=1)).to_contain_text("U+202E")
    expect(page.get_by_role("heading", level=1)).to_contain_text("U+200B")
    expect(page.get_by_role("main")).to_contain_text("sly.example")


def test_a_user_revokes_a_planner(
    open_page: OpenPage, oauth: OAuthServer, planner: Client, ada: User, app: str
) -> None:
    other = Client("Cursor", "cursor://callback")
    for client in (planner, other):
        oauth.grant(ada.id, client, ["openid"])
    page = open_page(url=app, user=ada, expected=r"the server responded with a status of [45]\d\d")
    page.goto("/planners")
    rows = page.get_by_role("main").get_by_role("listitem")
    expect(rows).to_have_text([re.compile("Claude.*claude.example.*allowed just now"), re.compile("Cursor")])

    def revoke() -> None:
        rows.filter(has_text="Claude").get_by_role("button", name="Revoke").click()
        page.get_by_role("alertdialog").get_by_role("button", name="Revoke").click()

    oauth.answers["revoke"] = (503, {})
    revoke()
    expect(page.get_by_text("It is down or busy")).to_be_visible()
    assert (ada.id, planner.id) in oauth.grants
    oauth.answers.clear()
    revoke()
    expect(rows).to_have_text([re.compile("Cursor")])
    assert [key for key in oauth.grants if key[0] == ada.id] == [(ada.id, other.id)]

    # Another tab was quicker.
    del oauth.grants[ada.id, other.id]
    rows.get_by_role("button", name="Revoke").click()
    page.get_by_role("alertdialog").get_by_role("button", name="Revoke").click()
    expect(page.get_by_text("No planner is connected.")).to_be_visible()


def test_without_an_oauth_server_the_page_says_so(open_page: OpenPage, ada: User) -> None:
    page = open_page(user=ada)
    page.goto("/planners")
    expect(page.get_by_role("alert").filter(has_text="has no OAuth server")).to_be_visible()


def test_the_pages_have_no_serious_accessibility_violation(
    consent: OpenConsent, oauth: OAuthServer, planner: Client, ada: User
) -> None:
    page = consent(oauth.authorize(planner).id, ada, expected=REFUSED)
    found = violations(page, "consent")
    oauth.answers["consent"] = (400, {"error_code": "validation_failed"})
    page.get_by_role("button", name="Deny").click()
    page.get_by_role("alert").filter(has_text="cannot be answered").wait_for()
    found += violations(page, "refused")
    page.goto("/oauth/consent")
    found += violations(page, "over")
    oauth.grant(ada.id, planner, ["openid"])
    page.goto("/planners")
    found += violations(page, "planners")
    page.get_by_role("button", name="Revoke").click()
    page.get_by_role("alertdialog").wait_for()
    found += violations(page, "revoke?")
    assert found == []
