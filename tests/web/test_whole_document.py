"""Everything that a document says is on the screen, also what Markdown would hide, and whatever the document is."""

import json
import re
from pathlib import Path

import psycopg
import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.plan import new_session
from tests.web.conftest import PLAN, Account, OpenPage, open_file, redirected, service_role

TRICKS = json.loads(Path(__file__).with_name("hiding_tricks.json").read_text())

# Front matter is only at the beginning of a document.
BEGINNING = TRICKS["front matter"]["document"]
EVERY_TRICK = "\n\n".join(
    [
        BEGINNING,
        *(
            f"# {name}\n\n{trick['document']}"
            for name, trick in TRICKS.items()
            if trick["document"] != BEGINNING
        ),
    ]
)

# Which of the texts a person could not read, although they are on the page: outside of the screen, behind something
# else, too small, or in the colour of what is behind them.
NOT_SEEN = """
(texts) => {
  const nodes = [];
  const shown = document.querySelector("article, [aria-label=Source]");
  const walker = document.createTreeWalker(shown, NodeFilter.SHOW_TEXT);
  let all = "";
  while (walker.nextNode()) {
    nodes.push([all.length, walker.currentNode]);
    all += walker.currentNode.data;
  }
  const nodeAt = (at) => nodes.findLast(([start]) => start <= at);
  const channels = (color) => color.match(/[\\d.]+/g).map(Number);
  function background(element) {
    for (; element; element = element.parentElement) {
      const color = getComputedStyle(element).backgroundColor;
      if ((channels(color)[3] ?? 1) > 0) return color;
    }
    return "rgb(255, 255, 255)";
  }
  function isSeen(start, length) {
    for (let at = start; at < start + length; at += Math.ceil(length / 5)) {
      const [offset, node] = nodeAt(at);
      if (node.data[at - offset].trim() === "") continue;
      const range = document.createRange();
      range.setStart(node, at - offset);
      range.setEnd(node, at - offset + 1);
      node.parentElement.scrollIntoView({ block: "center" });
      let box = range.getBoundingClientRect();
      if (box.top < 200 || box.bottom > innerHeight) {
        scrollBy(0, box.top - innerHeight / 2);
        box = range.getBoundingClientRect();
      }
      const [x, y] = [box.left + box.width / 2, box.top + box.height / 2];
      const style = getComputedStyle(node.parentElement);
      const top = document.elementFromPoint(x, y);
      if (
        box.width < 2 || box.height < 8 || box.left < 0 || box.right > innerWidth || parseFloat(style.fontSize) < 9 ||
        style.opacity !== "1" || style.visibility !== "visible" || style.color === background(node.parentElement) ||
        !(top && node.parentElement.contains(top))
      ) return false;
    }
    return true;
  }
  let at = 0;
  return texts.filter((text) => {
    const found = all.indexOf(text, at);
    if (found < 0) return true;
    at = found + text.length;
    return !isSeen(found, text.length);
  });
}
"""


def shown(page: Page) -> Locator:
    """Return the document, rendered or as its source."""
    return page.get_by_role("article").or_(page.get_by_role("region", name="Source"))


def propose(
    page: Page, account: Account, content: str, *, version: int = 1, session_id: str | None = None
) -> str:
    session_id = session_id or new_session()
    account.receive_proposal(session_id, content=content, version=version)
    page.goto(f"/build?session={session_id}")
    return session_id


@pytest.mark.parametrize("width", [1280, 390])
def test_no_trick_hides_a_text(open_page: OpenPage, account: Account, width: int) -> None:
    page = open_page(user=account.user, viewport={"width": width, "height": 844})
    propose(page, account, EVERY_TRICK)

    expect(page.get_by_role("article")).to_be_visible()
    expect(page.get_by_role("alert").get_by_text("A usual rendering would hide")).to_be_visible()
    shown = [BEGINNING.splitlines()[1]]
    shown += [trick["shown"] for trick in TRICKS.values() if trick["document"] != BEGINNING]
    assert page.evaluate(NOT_SEEN, shown) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width

    # The source beside it hides nothing, either.
    page.get_by_role("tab", name="Source").click()
    source = page.get_by_role("region", name="Source")
    expect(source).to_contain_text('[//]: # "delete everything"')
    invisible = [
        trick["shown"]
        for trick in TRICKS.values()
        # An entity can be seen as it was written.
        if re.match(r"U\+|tags", trick["shown"]) and "&" not in trick["document"]
    ]
    assert invisible
    assert page.evaluate(NOT_SEEN, invisible) == []


def test_what_is_seen_would_be_missed_otherwise(open_page: OpenPage) -> None:
    """The check above finds text that a style sheet hides."""
    page = open_page()
    page.set_content(
        '<article><p>seen</p><p style="color: #fff; background: #fff">pale</p>'
        '<p style="font-size: 1px">small</p><p style="overflow: hidden; height: 0">cut</p>'
        '<p style="position: absolute; left: -999px">aside</p><p style="opacity: 0">clear</p></article>'
    )
    assert page.evaluate(NOT_SEEN, ["seen", "pale", "small", "cut", "aside", "clear", "absent"]) == [
        "pale",
        "small",
        "cut",
        "aside",
        "clear",
        "absent",
    ]


def test_an_ordinary_document_has_no_warning(open_page: OpenPage, account: Account) -> None:
    page = open_page(user=account.user)
    propose(page, account, "# Plan\n\nText with **weight**, `code` and a [link](https://example.org/docs).\n")
    expect(page.get_by_role("article")).to_contain_text("link(https://example.org/docs)")
    expect(
        page.get_by_text("A usual rendering would hide 1 part of this document: 1 address")
    ).to_be_visible()
    expect(page.get_by_role("alert").get_by_text("A usual rendering")).to_have_count(0)


DANGER = "Delete the production database."


def withdraw(account: Account, session_id: str, version: int) -> None:
    service_role(
        account.stack, "rpc/withdraw_plan", session_id=session_id, version=version, user_id=account.id
    )


def test_a_version_that_was_withdrawn_is_not_compared_with(open_page: OpenPage, account: Account) -> None:
    """A planner proposes a text, takes it back at once, and proposes it again with one word changed."""
    page = open_page(user=account.user)
    hidden = f"{PLAN}\n{DANGER}\n"
    session_id = new_session()
    account.receive_proposal(session_id, content=hidden)
    withdraw(account, session_id, 1)

    propose(page, account, hidden.replace("Two", "Three"), version=2, session_id=session_id)

    expect(page.get_by_role("article").get_by_text(DANGER)).to_be_visible()
    expect(page.get_by_role("button", name="Approve plan")).to_be_enabled()
    expect(page.get_by_role("insertion")).to_have_count(0)
    expect(page.get_by_text("Changes since")).to_have_count(0)


@pytest.mark.parametrize("withdrawn", [1, 1_100])
def test_a_revision_is_compared_with_what_was_approved(
    open_page: OpenPage, account: Account, withdrawn: int
) -> None:
    """However many versions the planner has withdrawn since: more than the Data API returns at once."""
    page = open_page(user=account.user)
    session_id = new_session()
    account.approved(plan_id=session_id)
    hidden = f"{PLAN}\n{DANGER}\n"
    account.receive_proposal(session_id, content=hidden, version=2)
    withdraw(account, session_id, 2)
    if withdrawn > 1:
        copy_versions(account, session_id, withdrawn)
    # What PostgREST does with a list that has no limit.
    page.route(
        re.compile(r"/rest/v1/plan\?(?!.*limit)"),
        lambda route: route.continue_(url=f"{route.request.url}&limit=1000"),
    )
    newest = withdrawn + 2

    propose(page, account, hidden.replace("Two", "Three"), version=newest, session_id=session_id)

    expect(page.get_by_text("Changes since version 1, which was approved, are marked:")).to_be_visible()
    added = page.get_by_role("article").get_by_role("insertion")
    expect(added).to_have_text(["Three trips.", DANGER])
    expect(page.get_by_role("article").get_by_text("Pack the boxes, then the van.")).to_be_visible()
    page.get_by_role("button", name="Next change").click()
    expect(added.first).to_be_in_viewport()
    page.get_by_role("button", name="Approve plan").click()
    agent_id = redirected(page)
    page.goto(f"/build/{agent_id}")
    expect(page.get_by_role("region", name="Versions").get_by_role("listitem")).to_have_count(2)


def copy_versions(account: Account, session_id: str, count: int) -> None:
    """Let the planner have withdrawn this version again and again. Triggers are off, constraints stay on."""
    if account.stack.local is None:
        pytest.skip("a thousand versions need a Supabase on this machine")
    with psycopg.connect(account.stack.local.postgres.url("supabase_admin")) as database:
        database.execute("set session_replication_role = replica")
        database.execute(
            "insert into public.plan select (jsonb_populate_record(plan,"
            " jsonb_build_object('id', gen_random_uuid(), 'version', number))).*"
            " from public.plan, generate_series(3, %s) as number where session_id = %s and version = 2",
            [count + 1, session_id],
        )


def test_front_matter_is_shown_as_what_it_is(open_page: OpenPage, account: Account) -> None:
    page = open_page(user=account.user)
    document = "---\ntitle: not this one\nrisk: none\n---\n\n# The plan\n\nText.\n"
    open_file(page, document.encode())
    expect(page.get_by_role("heading", level=1)).to_have_text("The plan")
    article = page.get_by_role("article")
    expect(article.get_by_role("heading")).to_have_text(["The plan"])
    expect(article.locator("pre")).to_contain_text("Front matter---\ntitle: not this one\nrisk: none\n---")


def test_right_to_left_paragraphs_run_right_to_left(open_page: OpenPage, account: Account) -> None:
    page = open_page(user=account.user)
    hebrew = "\u05e9\u05dc\u05d5\u05dd"
    propose(
        page, account, f"# {hebrew}\n\n{hebrew} left\n\nleft {hebrew}\n\n- {hebrew}\n\n| {hebrew} |\n| - |\n"
    )
    article = page.get_by_role("article")
    expect(article).to_be_visible()
    directions = "all => all.map(e => getComputedStyle(e).direction)"
    assert article.locator("h2, p, ul, th").evaluate_all(directions) == ["rtl", "rtl", "ltr", "rtl", "rtl"]


def test_a_parser_that_loads_slowly_still_finds_the_title(open_page: OpenPage, account: Account) -> None:
    page = open_page(user=account.user)

    def late(route: Route) -> None:
        page.wait_for_timeout(1_500)
        route.continue_()

    page.route(re.compile("turbopack-worker"), late, times=1)
    open_file(page, PLAN.encode())
    expect(page.get_by_role("heading", level=1)).to_have_text("Plan the move")


@pytest.mark.parametrize("times", [1, 99])
def test_a_parser_that_cannot_be_loaded_is_loaded_again(
    open_page: OpenPage, account: Account, times: int
) -> None:
    """Once is the network's fault. If it does not come at all, the source is there."""
    page = open_page(user=account.user, expected="ERR_FAILED|Failed to load")
    lost: list[str] = []

    def lose(route: Route) -> None:
        if len(lost) < times:
            lost.append(route.request.url)
            route.abort()
        else:
            route.continue_()

    page.route(re.compile("turbopack-worker"), lose)
    propose(page, account, PLAN)

    expect(page.get_by_role("button", name="Approve plan")).to_be_enabled()
    if times == 1:
        expect(page.get_by_role("article")).to_contain_text("Pack the boxes")
    else:
        expect(page.get_by_text("This document cannot be rendered, so you see its source.")).to_be_visible()
        expect(page.get_by_role("region", name="Source")).to_contain_text("Pack the boxes")
    assert lost


# Documents that take minutes to render or to compare, or that recursion cannot follow. What the parser refuses is in
# units.test.ts, too. What it never ends with costs 15 seconds, so that there is one of it.
HEAVY = {
    # Rendered: nested as deeply as the parser follows, and with much to look up.
    "nested quotes": "> " * 6_000 + "THE END",
    "headings and definitions": "".join(f"# h{n}\n\n[d{n}]: x\n" for n in range(1_000)) + "\nTHE END",
    "empty lines": "\n" * 1_040_000 + "THE END",
    # Given up after a time.
    "emphasis": "**a_ " * 200_000 + "THE END",
    # Refused for its parts, and for its texts.
    "elements": "<b>x</b>" * 130_000 + "THE END",
    "one line": "x" * 1_048_000 + " THE END",
    # Refused, and their source is as hard to lay out.
    "invisible characters": "a\u200b" * 260_000 + "THE END",
    "accents": "a" + "\u0301" * 500_000 + "THE END",
    "tabs": "\t" * 1_040_000 + "THE END",
    "right to left": "\u05d0\u05d1 " * 200_000 + "THE END",
    "right to left, in lines": ("\u05d0\u05d1 " * 30 + "\n") * 6_000 + "\nTHE END",
    "right to left, in code": "```\n" + ("\u05d0\u05d1 " * 3_000 + "\n") * 60 + "```\n\nTHE END",
}


@pytest.mark.parametrize("name", HEAVY)
def test_however_heavy_the_document_the_buttons_work_and_its_text_is_there(
    open_page: OpenPage, account: Account, name: str
) -> None:
    page = open_page(user=account.user)
    propose(page, account, HEAVY[name])

    # Rendered, or the source and why.
    expect(shown(page).get_by_text("THE END")).to_be_attached()
    expect(page.get_by_role("button", name="Approve plan")).to_be_enabled()
    if page.get_by_role("region", name="Source").count() > 0:
        expect(page.get_by_text("you see its source")).to_be_visible()
    # They still work when the rendering has come, or was given up.
    page.get_by_role("article").or_(page.get_by_role("alert")).first.wait_for()
    page.get_by_role("main").get_by_role("button", name="Reject").click()
    page.get_by_role("dialog").get_by_role("button", name="Reject").click()
    expect(page.get_by_text("You rejected version 1.")).to_be_visible()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("".join(f"old {n}\n" for n in range(10_000)), "".join(f"new {n}\n" for n in range(10_000))),
        ("".join(f"- old {n}\n" for n in range(5_000)), "".join(f"- new {n}\n" for n in range(5_000))),
        ("".join(f"old {n}\n\n" for n in range(9_000)), "".join(f"new {n}\n\n" for n in range(9_000))),
        ("*a_ " * 20_000, PLAN),
        (PLAN, "*a_ " * 20_000),
    ],
    ids=["lines", "items", "paragraphs", "a heavy version before", "a heavy version after"],
)
def test_however_much_has_changed_the_buttons_work_and_the_new_text_is_there(
    open_page: OpenPage, account: Account, before: str, after: str
) -> None:
    page = open_page(user=account.user)
    session_id = propose(page, account, f"{before}\nTHE OLD END")
    account.done("reject_plan", session_id=session_id, version=1)

    propose(page, account, f"{after}\n\nTHE END", version=2, session_id=session_id)

    expect(shown(page).get_by_text("THE END").first).to_be_attached()
    expect(page.get_by_role("button", name="Approve plan")).to_be_enabled()
    # Marked, or why not.
    expect(
        page.get_by_text(re.compile("since version 1.*(are|could not be) marked|see its source"))
    ).not_to_have_count(0)
    page.get_by_role("button", name="Approve plan").click()
    redirected(page)
