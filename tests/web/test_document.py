"""What is approved is what is shown: byte for byte, for any document, and nothing in it runs."""

import re

from playwright.sync_api import Request, expect

from tests.plan import new_session, sha256
from tests.web.conftest import PLAN, Account, OpenPage, Via, approve, open_file, version_of

BOM = b"\xef\xbb\xbf"


def test_crlf_and_byte_order_mark_are_approved_as_they_are(
    open_page: OpenPage, account: Account, via: Via
) -> None:
    document = BOM + PLAN.replace("\n", "\r\n").encode()
    page = open_page(via=via, user=account.user)
    open_file(page, document)
    page.get_by_text("Details").click()
    expect(page.get_by_text("CRLF, byte order mark")).to_be_visible()
    # To look at it in the editor is not to edit it.
    page.get_by_role("tab", name="Edit").click()
    expect(page.get_by_title(sha256(document))).to_be_visible()
    expect(page.get_by_text("Version 1", exact=True)).to_be_visible()

    approve(page)

    (plan,) = account.rows("plan")
    assert (plan["version"], plan["document_sha256"]) == (1, sha256(document))
    assert account.read(plan["document_path"]) == document


def test_crlf_and_byte_order_mark_survive_an_edit(open_page: OpenPage, account: Account, via: Via) -> None:
    document = BOM + PLAN.replace("\n", "\r\n").encode()
    page = open_page(via=via, user=account.user)
    open_file(page, document)
    page.get_by_role("tab", name="Edit").click()
    page.get_by_label("Document").press("Control+End")
    page.get_by_label("Document").press_sequentially("And\na rest.")
    expect(page.get_by_text("Version 2", exact=True)).to_be_visible()

    approve(page)

    (plan,) = account.rows("plan")
    expected = document + b"And\r\na rest."
    assert account.read(plan["document_path"]) == expected
    assert (plan["version"], plan["document_sha256"]) == (2, sha256(expected))


def test_every_kind_of_text_is_approved_byte_for_byte(
    open_page: OpenPage, account: Account, via: Via
) -> None:
    """Unicode that looks the same when normalised, all line breaks there are, characters that JSON and HTML escape."""
    document = (
        "# Caf\u00e9 and Cafe\u0301 \u212b\r\rmixed\r\nbreaks\n\u2028\u2029\u0085\x0b\x0c"
        'tab\t"quotes" \\back\\ <b>&amp;</b> $1 $$ \U0001f469\u200d\U0001f680 \u202eback\u202c  trailing  \n\n\n'
    ).encode()
    page = open_page(via=via, user=account.user)
    open_file(page, document)

    approve(page)

    (plan,) = account.rows("plan")
    assert account.read(plan["document_path"]) == document
    assert plan["document_sha256"] == sha256(document)
    expect(page.get_by_text("This is the approved document")).to_be_visible()


def test_a_file_that_is_not_utf8_is_refused(open_page: OpenPage, account: Account) -> None:
    page = open_page(user=account.user)
    page.goto("/build")
    page.get_by_label("Markdown file").set_input_files(
        {"name": "plan.md", "mimeType": "text/markdown", "buffer": "# Café".encode("latin-1")}
    )
    expect(page.get_by_text("This file is not UTF-8 text.")).to_be_visible()


def test_a_draft_survives_a_reload_and_each_revision_raises_its_version(
    open_page: OpenPage, account: Account
) -> None:
    page = open_page(user=account.user)
    session_id = new_session()
    open_file(page, PLAN.encode(), session_id)
    page.get_by_role("tab", name="Edit").click()
    page.get_by_label("Document").fill("# First edit\n")
    page.get_by_label("Title").fill("A new title")
    version = version_of(page)
    expect(version).to_have_text("Version 2")

    page.reload()

    expect(version).to_have_text("Version 2")
    expect(page.get_by_role("heading", level=1)).to_have_text("A new title")
    expect(page.get_by_role("heading", name="First edit")).to_be_visible()
    approve(page)
    page.get_by_role("link", name="Revise").click()
    expect(version).to_have_text("Version 2")
    expect(page.get_by_role("link", name="Open the agent")).to_be_visible()
    page.get_by_role("tab", name="Edit").click()
    page.get_by_label("Document").fill("# Second edit\n")
    expect(version).to_have_text("Version 3")
    page.get_by_role("tab", name="Read").click()
    expect(page.get_by_role("article").get_by_role("insertion")).to_have_text("Second edit")
    approve(page)
    plans = account.rows("plan", session_id=f"eq.{session_id}", order="version")
    assert [plan["version"] for plan in plans] == [2, 3]


def test_another_browser_opens_what_was_approved_last(open_page: OpenPage, account: Account) -> None:
    session_id = new_session()
    account.approved(plan_id=session_id, content="# From elsewhere\r\n", version=6)
    page = open_page(user=account.user)
    page.goto(f"/build?session={session_id}")
    expect(page.get_by_role("heading", name="From elsewhere")).to_be_visible()
    page.get_by_role("tab", name="Edit").click()
    page.get_by_label("Document").press("Control+End")
    page.get_by_label("Document").press_sequentially("More.")
    expect(version_of(page)).to_have_text("Version 7")
    approve(page)
    (plan,) = account.rows("plan", status="eq.approved")
    assert account.read(plan["document_path"]) == b"# From elsewhere\r\nMore."


HOSTILE = """# A friendly plan

<script>window.ran = "script"</script>
<img src="x" onerror="window.ran = 'onerror'">
<svg onload="window.ran = 'onload'"><a xlink:href="javascript:window.ran='svg'">x</a></svg>
<iframe srcdoc="<script>parent.ran = 'iframe'</script>"></iframe>
<a href="javascript:window.ran='html'">html link</a>
<details open ontoggle="window.ran='toggle'">d</details>
<base href="https://evil.invalid/"><meta http-equiv="refresh" content="0; url=https://evil.invalid/">
<style>body { display: none }</style>
<form action="https://evil.invalid/"><input name="q"><button>Send</button></form>

[plain](javascript:window.ran='plain') [upper](JaVaScRiPt:window.ran='upper')
[entity](javascript&#58;window.ran='entity') [tab](java&#9;script:window.ran='tab')
[data](data:text/html,<script>window.ran='data'</script>) [vbscript](vbscript:window.ran)
[blob](blob:https://evil.invalid/x) [file](file:///etc/passwd) [inside](/agents) [auto]: <javascript:window.ran='auto'>

[named]: javascript:window.ran='named' "title"
[named] ![picture](javascript:window.ran='picture') ![p](data:image/svg+xml,<svg/onload=window.ran=1>)

![tracker](https://evil.invalid/pixel.png "x\\" onerror=\\"window.ran='title'")

| a |
| --- |
| <img src=x onerror=window.ran='cell'> |

`<script>window.ran = 'code'</script>`

# The end
"""


def test_nothing_in_a_hostile_document_runs(open_page: OpenPage, account: Account, via: Via) -> None:
    page = open_page(via=via, user=account.user)
    asked: list[Request] = []
    page.on("request", lambda request: asked.extend([request]))
    opened: list[object] = []
    page.on("dialog", lambda dialog: opened.extend([dialog]))
    open_file(page, HOSTILE.encode())

    def nothing_ran() -> None:
        expect(page.get_by_role("heading", name="The end")).to_be_visible()
        article = page.get_by_role("article")
        # The HTML is there to be read, as text.
        expect(article).to_contain_text('<script>window.ran = "script"</script>')
        for element in (
            "script",
            "iframe",
            "svg:not(.lucide)",
            "style",
            "form",
            "base",
            "meta",
            "img",
            "input",
        ):
            assert article.locator(element).count() == 0, element
        # None of its links is one, not even the one into the app.
        assert article.locator("a").count() == 0
        handlers = (
            "all => all.flatMap(e => [...e.attributes]).filter(({ name }) => name.startsWith('on')).length"
        )
        assert article.locator("*").evaluate_all(handlers) == 0
        for text in article.get_by_text(re.compile("plain|upper|entity|tab|vbscript")).all():
            text.click(force=True)
        assert page.evaluate("window.ran") is None
        assert opened == []
        assert len(page.context.pages) == 1

    nothing_ran()
    page.get_by_role("tab", name="Edit").click()
    page.get_by_role("tab", name="Read").click()
    nothing_ran()
    approve(page)
    nothing_ran()
    assert [request.url for request in asked if "evil" in request.url] == []


def test_a_picture_elsewhere_is_fetched_only_on_request(open_page: OpenPage, account: Account) -> None:
    page = open_page(user=account.user)
    page.route(
        "https://pictures.invalid/**", lambda route: route.fulfill(body=PIXEL, content_type="image/svg+xml")
    )
    asked: list[Request] = []
    page.on("request", lambda request: asked.append(request) if "pictures.invalid" in request.url else None)
    open_file(page, b"# With a picture\n\n![A sketch](https://pictures.invalid/sketch.svg)\n")
    page.get_by_role("button", name="Show from pictures.invalid").wait_for()
    assert asked == []

    page.get_by_role("button", name="Show from pictures.invalid").click()

    expect(page.get_by_role("img", name="A sketch")).to_be_visible()
    assert "referer" not in asked[0].headers


PIXEL = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>'


def test_a_long_plan_stays_smooth(open_page: OpenPage, account: Account) -> None:
    """Typing in 170 kB touches the editor and no more; reading on renders the one section that was edited."""
    chapter = (
        "## Chapter {0}\n\n"
        + "A sentence with **weight** and `code`. " * 20
        + "\n\n| a | b |\n| - | - |\n| {0} | x |\n\n"
    )
    document = "# A long plan\n\n" + "".join(chapter.format(number) for number in range(210))
    assert len(document) > 170_000
    page = open_page(user=account.user)
    open_file(page, document.encode())
    expect(page.get_by_role("heading", name="Chapter 209")).to_be_attached()

    page.get_by_role("tab", name="Edit").click()
    editor = page.get_by_label("Document")
    editor.press("Control+End")
    page.evaluate(
        """() => {
            window.touched = new Set();
            new MutationObserver((records) => {
                for (const { target } of records) {
                    const element = target.closest ? target : target.parentElement;
                    window.touched.add(element.closest("[role=tabpanel]"));
                }
            }).observe(document.querySelector("main"), { childList: true, characterData: true, subtree: true });
        }"""
    )
    editor.press_sequentially("The end, after all.")

    expect(version_of(page)).to_have_text("Version 2")
    assert editor.input_value().endswith("The end, after all.")
    assert (
        page.evaluate("[...window.touched].filter(part => part && !part.querySelector('textarea')).length")
        == 0
    )
    page.get_by_role("tab", name="Read").click()
    expect(page.get_by_text("The end, after all.")).to_be_attached()
    page.get_by_role("link", name="Chapter 150", exact=True).first.click()
    expect(page.get_by_role("heading", name="Chapter 150")).to_be_in_viewport()
    approve(page)
    expect(page.get_by_role("heading", name="Chapter 209")).to_be_attached()
