"""What a notifier writes and to whom, how it takes what the other side answers, and which settings it refuses."""

import asyncio
import base64
import hashlib
import hmac
import json
import random
import re
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import default
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import aiosmtplib
import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from standardwebhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError
from supabase import AsyncClientOptions, create_async_client

from greenlight import loop
from greenlight.admin import SupabaseRefusedError, SupabaseUnavailableError, SupabaseUnreadableError
from greenlight.loop import Metrics
from greenlight.notify import targets
from greenlight.notify.main import MailSettings, WebhookSettings, main, sender
from greenlight.notify.notifier import Notifier, Options
from greenlight.notify.outbox import KINDS, Notification, Outbox
from greenlight.notify.targets import Chat, Mail, SendFailed, SmtpServer, Webhook
from greenlight.notify.texts import Texts, TextsError
from greenlight.rpc import Rpc
from greenlight.settings import SettingsError, read_settings

pytestmark = pytest.mark.anyio

UI = "https://app.example.com"
SECRET = f"whsec_{base64.b64encode(bytes(range(32))).decode()}"
OTHER_SECRET = f"whsec_{base64.b64encode(bytes(range(1, 33))).decode()}"
SENDER = Address("Greenlight", "plans", "example.com")
TEXTS = Texts()
EMOJI = "👩‍🚀🪴" * 125  # 500 code points


def notification(kind: str = "plan.proposed", **changed: Any) -> Notification:
    data = {
        "plan_id": "11111111-1111-4111-8111-111111111111",
        "session_id": "bakery",
        "version": 2,
        "title": "The bakery's site",
        "status": "proposed",
        "team_id": None,
        "proposed_by": "service_role",
        "decided_by": None,
        "comment": None,
        "agent_id": None,
        "agent_status": None,
        "build_id": None,
        "message": None,
        "result": None,
    }
    fields = {
        "notification_id": 7,
        "attempt": 1,
        "event_id": "22222222-2222-4222-8222-222222222222",
        "kind": kind,
        "occurred_at": "2026-11-29T08:00:00+00:00",
        "user_id": "33333333-3333-4333-8333-333333333333",
        "email": "ada@example.com",
        "approver_emails": None,
    }
    own = {name: changed.pop(name) for name in [*changed] if name in fields}
    return Notification.model_validate({**fields, **own, "data": {**data, **changed}})


# Links ------------------------------------------------------------------------------------------------------


def test_the_link_leads_to_what_happened() -> None:
    review = ("review_url", f"{UI}/build?session=bakery")
    assert notification().link(UI) == review
    assert (
        notification(agent_id="a1").link(UI) == review
    )  # a new version of a plan with an agent is to be decided
    assert notification("plan.approved", agent_id="a1").link(UI) == ("agent_url", f"{UI}/build/a1")
    assert notification("agent.failed", agent_id="a1").link(UI) == ("agent_url", f"{UI}/build/a1")
    team = notification(team_id="t1")
    assert team.link(UI) == ("review_url", f"{review[1]}&user={team.user_id}")
    assert notification().link(None) is None


# A webhook --------------------------------------------------------------------------------------------------


def webhook(handler: Any, *secrets: str) -> Webhook:
    made = Webhook("https://hooks.example.com/greenlight?key=1", [*secrets] or [SECRET], UI)
    made._http = httpx.AsyncClient(transport=httpx.MockTransport(handler))
    return made


class Body(httpx.AsyncByteStream):
    async def __aiter__(self) -> Any:
        yield b"what it says"


def answered(status: int, headers: dict[str, str] | None = None) -> httpx.Response:
    given = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    return httpx.Response(status, headers=given, stream=Body())


async def posted(sent: Notification, *secrets: str) -> httpx.Request:
    requests = []

    def take(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return answered(204)

    assert await webhook(take, *secrets).send(sent)
    return requests[0]


async def test_a_webhook_is_a_standard_webhook() -> None:
    request = await posted(notification(title=f"Brot für {EMOJI}", approver_emails=["eve@example.com"]))

    payload = Verifier(SECRET).verify(request.content, dict(request.headers))
    assert payload["type"] == "plan.proposed"
    assert payload["timestamp"] == "2026-11-29T08:00:00Z"
    assert payload["data"] == {
        **notification(title=f"Brot für {EMOJI}").data,
        "user_id": "33333333-3333-4333-8333-333333333333",
        "email": "ada@example.com",
        "approver_emails": ["eve@example.com"],
        "review_url": f"{UI}/build?session=bakery",
    }
    assert request.headers["webhook-id"] == "22222222-2222-4222-8222-222222222222"
    # The signature as the specification has it, without the library.
    signed = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode()
    expected = hmac.new(bytes(range(32)), signed + request.content, hashlib.sha256).digest()
    assert request.headers["webhook-signature"] == f"v1,{base64.b64encode(expected).decode()}"
    with pytest.raises(WebhookVerificationError):
        Verifier(OTHER_SECRET).verify(request.content, dict(request.headers))
    with pytest.raises(WebhookVerificationError):
        Verifier(SECRET).verify(request.content + b" ", dict(request.headers))


async def test_while_a_secret_is_replaced_both_verify() -> None:
    request = await posted(notification(), SECRET, OTHER_SECRET)
    for secret in (SECRET, OTHER_SECRET):
        assert Verifier(secret).verify(request.content, dict(request.headers))


PAST = format_datetime(datetime.now(UTC) - timedelta(days=1))


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (200, {}, None),
        (299, {}, None),
        (301, {"Location": "http://169.254.169.254/"}, (True, None)),
        (400, {}, (False, None)),
        (404, {"Retry-After": "5"}, (False, None)),
        (408, {}, (True, None)),
        (410, {}, (False, None)),
        (425, {}, (True, None)),
        (429, {"Retry-After": "120"}, (True, 120)),
        (429, {"Retry-After": "99999999999999999999"}, (True, 86_400)),
        (429, {"Retry-After": "-5"}, (True, None)),
        (429, {"Retry-After": "٣"}, (True, None)),
        (429, {"Retry-After": "soon"}, (True, None)),
        (500, {}, (True, None)),
        (503, {"Retry-After": PAST}, (True, 0)),
        (503, {"Retry-After": "Thu, 31 Dec 9999 23:59:59 GMT"}, (True, 86_400)),
        (503, {"Retry-After": "Thu, 31 Dec 99999999999999999999 23:59:59 GMT"}, (True, None)),
        (503, {"Retry-After": "Thu, 31 Dec 2026 23:59:59 +99999999999999999999"}, (True, None)),
    ],
)
async def test_what_each_status_means(
    status: int, headers: dict[str, str], expected: tuple[bool, int | None] | None
) -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        return answered(status, headers)

    if expected is None:
        assert await webhook(answer).send(notification())
    else:
        with pytest.raises(SendFailed) as failed:
            await webhook(answer).send(notification())
        assert failed.value.cause == f"answered {status}"
        assert (failed.value.retry, failed.value.retry_seconds) == expected
    assert len(asked) == 1  # no redirect is followed


async def test_a_date_says_when_to_come_again() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(hours=1))
    with pytest.raises(SendFailed) as failed:
        await webhook(lambda _: answered(503, {"Retry-After": soon})).send(notification())
    assert 0 < (failed.value.retry_seconds or 0) <= 3600


class Endless(httpx.AsyncByteStream):
    def __init__(self) -> None:
        self.sent = 0
        self.closed = False

    async def __aiter__(self) -> Any:
        while True:
            self.sent += 1024
            yield b"x" * 1024

    async def aclose(self) -> None:
        self.closed = True


async def test_an_answer_without_end_is_not_read_to_its_end() -> None:
    body = Endless()
    assert await webhook(lambda _: httpx.Response(200, stream=body)).send(notification())
    assert body.sent <= targets.BODY_BYTES + 1024
    assert body.closed


async def test_a_receiver_that_cannot_be_reached_is_asked_again() -> None:
    def refuse(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("https://hooks.example.com/secret-path refused")

    with pytest.raises(SendFailed) as failed:
        await webhook(refuse).send(notification())
    assert (failed.value.cause, failed.value.retry) == ("ConnectError", True)


async def test_a_receiver_that_says_nothing_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(_: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(targets, "SECONDS", 0.01)
    with pytest.raises(SendFailed) as failed:
        await webhook(hang).send(notification())
    assert (failed.value.cause, failed.value.retry) == ("TimeoutError", True)


# A mail -----------------------------------------------------------------------------------------------------


def mail() -> Mail:
    return Mail(SmtpServer("smtp://127.0.0.1?tls=off"), SENDER, TEXTS, UI)


def written(sent: Notification) -> EmailMessage:
    """Return the mail as the one who gets it parses it."""
    raw = mail().compose(sent, targets._addresses(sent)).as_bytes()
    parsed = message_from_bytes(raw, policy=default)
    assert isinstance(parsed, EmailMessage)
    assert not parsed.defects
    return parsed


def body(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    assert part is not None
    text: str = part.get_content()
    return text


def test_a_mail_names_the_plan_and_leads_to_its_page() -> None:
    message = written(notification(message="Now with a price list.\nWhich colour?"))

    assert message["Subject"] == "Please decide: The bakery's site"
    assert message["From"] == "Greenlight <plans@example.com>"
    assert message["To"] == "ada@example.com"
    assert message["Message-ID"] == "<22222222-2222-4222-8222-222222222222@example.com>"
    assert message["Auto-Submitted"] == "auto-generated"
    for text in (body(message, "plain"), body(message, "html")):
        assert f"{UI}/build?session=bakery" in text
        assert "Version 2" in text
    assert "> Now with a price list.\n> Which colour?" in body(message, "plain").replace("\r\n", "\n")


def test_without_a_web_app_there_is_no_link() -> None:
    text = TEXTS.mail(notification(), None)
    assert "href" not in text.html
    assert "opens the page" not in text.plain


@pytest.mark.parametrize(
    "title",
    [
        "Plan\r\nBcc: eve@example.com",
        "Plan\nSubject: Paid\n\nHello",
        "Plan\x00\x0b\x1b[31m",
        "Plan\u2028Bcc: eve@example.com\u2029\x85Bcc: eve@example.com",
        "תוכנית למאפייה",
        "\u202ePlan\u2066",
        EMOJI,
        "Ünïcödé " * 60,
        "=?utf-8?q?Bcc=3A_eve=40example=2Ecom?=",
        "=?utf-8?q?Plan=0D=0ABcc:_eve@example.com=0D=0A=0D=0AHello?=",  # an encoded word (RFC 2047)
        "=?utf-8?b?UGxhbg0KQmNjOiBldmVAZXhhbXBsZS5jb20NCg0KSGVsbG8=?=",
        "=?utf-8?q?=E2=80=AEPlan=00?= =?unknown?q?=FF?=",
        "word" * 125,
    ],
)
def test_no_title_gets_out_of_its_header(title: str) -> None:
    message = written(notification(title=title, approver_emails=["eve.b@example.com", "f@example.com"]))

    assert len(message["Subject"]) <= 160
    assert set(message.keys()) == {
        *("From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type")
    }
    assert message["To"] == "eve.b@example.com, f@example.com"
    assert not set(message["Subject"]) & {*"\r\n\x00\x1b\u2028\u202e\u2066"}
    if "=?" in title:
        assert title in message["Subject"].replace("\u200b", "")
    # All of it is in the text, where what would change the direction of the line is left out.
    shown = "".join(each for each in title if each not in "\r\n\x00\x0b\x1b\u2028\u2029\x85\u202e\u2066 ")
    assert shown in "".join(body(message, "plain").split())


def test_html_has_no_tag_of_a_planner() -> None:
    text = '<img src=x onerror="alert(1)">&{{ 7 * 7 }}'
    html = TEXTS.mail(notification(title=text, message=text), UI).html
    assert "<img" not in html
    assert (
        html.count("&lt;img src=x onerror=&#34;alert(1)&#34;&gt;&amp;{{ 7 * 7 }}") == 3
    )  # title, heading, quote


def test_any_title_can_be_sent() -> None:
    chance = random.Random(1)
    for _ in range(100):
        title = "".join(chr(chance.randrange(1, 0xD800)) for _ in range(chance.randrange(1, 200)))
        message = written(notification(title=title, message=title))
        assert message["To"] == "ada@example.com"


def full_width(text: str) -> str:
    """Write signs of ASCII as those that a domain's normalisation makes ASCII again."""
    return "".join(chr(ord(each) + 0xFEE0) if "!" <= each <= "~" else each for each in text)


@pytest.mark.parametrize(
    ("email", "approvers", "expected"),
    [
        ("ada@example.com", None, ["ada@example.com"]),
        ("ada@example.com", [], ["ada@example.com"]),
        ("ada@example.com", ["eve@example.com"], ["eve@example.com"]),
        (None, ["eve@example.com", "not an address"], ["eve@example.com"]),
        (None, None, []),
        ("ada@example.com\r\nBcc: eve@example.com", None, []),
        ("ada@example.com, eve@example.com", None, []),
        ("=?utf-8?q?a=0D=0ABcc=3Aeve?=@example.com", None, []),  # an encoded word (RFC 2047)
        ("ada@=?utf-8?q?example.com=0D=0ABcc=3Aeve?=", None, []),
        (f"ada@{full_width('=?utf-8?q?example.com=0D=0ABcc=3Aeve?=')}", None, []),
        (f"ada@example.com{full_width(',')}eve{full_width('@')}example.com", None, []),
        ("0ab1c2d3e4f5", None, []),  # what Auth leaves of a user that it deletes softly
        ("", None, []),
        ("zoë@bücher.example", None, ["zoë@xn--bcher-kva.example"]),
    ],
)
def test_who_gets_it(email: str | None, approvers: list[str] | None, expected: list[str]) -> None:
    found = targets._addresses(notification(email=email, approver_emails=approvers))
    assert [address.addr_spec for address in found] == expected


async def test_to_a_user_without_an_address_nothing_is_sent() -> None:
    assert await mail().send(notification(email=None)) is False


@pytest.mark.parametrize(
    ("error", "cause", "retry"),
    [
        (aiosmtplib.SMTPServerDisconnected("ada@example.com"), "SMTPServerDisconnected", True),
        (ConnectionRefusedError("127.0.0.1"), "ConnectionRefusedError", True),
        (aiosmtplib.SMTPAuthenticationError(535, "no"), "SMTPAuthenticationError 535", True),
        (aiosmtplib.SMTPSenderRefused(550, "no", "plans@x"), "SMTPSenderRefused 550", True),
        (aiosmtplib.SMTPDataError(451, "later"), "SMTPDataError 451", True),
        (aiosmtplib.SMTPDataError(554, "spam"), "SMTPDataError 554", False),
        (aiosmtplib.SMTPNotSupported("no SMTPUTF8"), "SMTPNotSupported", False),
        (
            aiosmtplib.SMTPRecipientsRefused([aiosmtplib.SMTPRecipientRefused(550, "ada", "a@x")]),
            "SMTPRecipientsRefused 550",
            False,
        ),
        (
            aiosmtplib.SMTPRecipientsRefused(
                [aiosmtplib.SMTPRecipientRefused(code, "ada", "a@x") for code in (550, 450)]
            ),
            "SMTPRecipientsRefused 550",
            True,
        ),
    ],
)
async def test_what_a_mail_server_refuses(
    monkeypatch: pytest.MonkeyPatch, error: Exception, cause: str, retry: bool
) -> None:
    async def refuse(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(aiosmtplib, "send", refuse)
    with pytest.raises(SendFailed) as failed:
        await mail().send(notification())
    assert (failed.value.cause, failed.value.retry) == (cause, retry)


# A chat -----------------------------------------------------------------------------------------------------


def test_a_chat_gets_title_sentence_and_link() -> None:
    title, text = TEXTS.chat(notification(), UI)
    assert title == "Please decide: The bakery's site"
    assert text.splitlines() == [
        "Version 2 of this plan waits for a decision. Nothing is built before that.",
        f"{UI}/build?session=bakery",
    ]


def test_no_title_calls_everyone() -> None:
    title, _ = TEXTS.chat(notification(title="@everyone <!channel> <@U1>\r\n@here"), UI)
    assert title == "Please decide: @\u200beveryone <\u200b!channel> <\u200b@\u200bU1> @\u200bhere"


def test_no_title_calls_everyone_by_a_character_reference() -> None:
    """Mattermost reads them before it looks for mentions (getExplicitMentions)."""
    title, _ = TEXTS.chat(notification(title="&commat;all &#64;channel &#x40;here, R&D; Q&A &c."), UI)
    assert title == (
        "Please decide: &\u200bcommat;all &\u200b#64;channel &\u200b#x40;here, R&\u200bD; Q&A &c."
    )


def test_no_title_hides_an_address_behind_a_link() -> None:
    title, _ = TEXTS.chat(
        notification(title="[Approve](https://eve.example) <https://eve.example|Approve>"), UI
    )
    assert title == (
        "Please decide: [Approve]\u200b(https://eve.example) <\u200bhttps://eve.example|Approve>"
    )


@pytest.mark.filterwarnings(
    "ignore:'imghdr' is deprecated:DeprecationWarning"
)  # Apprise 2.3 up to Python 3.12
def test_a_chat_that_apprise_does_not_know() -> None:
    with pytest.raises(ValueError, match="does not know this address") as refused:
        Chat("slak://secret-token", Texts(), None)
    assert "secret-token" not in str(refused.value)


# Texts ------------------------------------------------------------------------------------------------------


def test_a_result_deeper_than_python_walks_is_told_by_its_summary() -> None:
    """Postgres holds it, and a builder of the project's own may have written it."""
    result: dict[str, Any] = {}
    for _ in range(900):
        result = {"summary": "Deep.", "more": result}
    told = notification("agent.active", agent_id="a1", result=result)
    assert "> Deep." in body(written(told), "plain")
    assert TEXTS.chat(told, UI)[0] == "Ready: The bakery's site"


WORDS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1
) | st.sampled_from(
    [
        "<a href=//eve.example>",
        "@everyone",
        "[Approve](https://eve.example)",
        "=?utf-8?q?=0D=0A?=",
        "{{ 7 * 7 }}\r\n",
    ]
)
RESULTS = st.dictionaries(
    st.just("summary") | st.text(),
    st.recursive(
        st.none() | st.booleans() | st.integers() | WORDS,
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ),
)


@settings(derandomize=True, deadline=None, max_examples=20)
@example(words="Ready.", result={"summary": None})
@given(words=WORDS, result=st.none() | RESULTS)
def test_whatever_it_says_it_reaches_everyone_as_text(words: str, result: dict[str, Any] | None) -> None:
    told = notification("agent.active", agent_id="a1", title=words, result=result)
    url = f"{UI}/build/a1"

    message = written(told)
    assert set(message.keys()) >= {"From", "To", "Subject", "Auto-Submitted"}
    assert message["To"] == "ada@example.com"
    html = body(message, "html")
    assert re.findall(r'<a\s[^>]*href="([^"]*)"', html) == [url]
    tags = {"html", "head", "meta", "title", "body", "div", "h1", "p", "a", "blockquote", "!doctype"}
    assert {*re.findall(r"</?([^\s>]+)", html)} <= tags
    summary = (result or {}).get("summary")
    if not isinstance(summary, str):
        assert "<blockquote" not in html
    elif summary.isalnum():
        assert f"> {summary}" in body(message, "plain")

    title, text = TEXTS.chat(told, UI)
    assert text.splitlines()[-1] == url
    assert not re.search("@(?!\u200b)|<(?!\u200b)|]\\(|&#?\\w+;", title + text)
    data = json.loads(json.dumps(webhook(None)._data(told), ensure_ascii=False))
    assert (data["title"], data["result"]) == (words, result)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_its_text(kind: str) -> None:
    text = TEXTS.mail(notification(kind, agent_id="a1", result={"summary": "Done."}, comment="Why"), UI)
    assert text.subject.endswith(": The bakery's site")
    assert "{" not in text.plain
    assert ("> Done." in text.plain) == (kind == "agent.active")


def test_an_adopter_s_texts_replace_ours_one_by_one(tmp_path: Path) -> None:
    (tmp_path / "texts.toml").write_text('["plan.proposed"]\nsubject = "Bitte lesen: {{ title }}"\n')
    (tmp_path / "mail.txt").write_text("Hallo! {{ text }}\n")
    texts = Texts(tmp_path)
    assert texts.mail(notification(), UI).subject == "Bitte lesen: The bakery's site"
    assert texts.mail(notification(), UI).plain.startswith("Hallo! Version 2")
    assert texts.mail(notification("plan.rejected"), UI).subject == "Rejected: The bakery's site"


@pytest.mark.parametrize(
    ("file", "text", "why"),
    [
        ("texts.toml", '["plan.proposed"]\nsubject = "{{ titel }}"\n', "'titel' is undefined"),
        ("texts.toml", '["plan.proposd"]\nsubject = "x"\n', "plan.proposd"),
        ("texts.toml", '["plan.proposed"]\nbody = "x"\n', "body"),
        ("texts.toml", "[", "Invalid"),
        ("texts.toml", "a = 1", "a"),
        (
            "texts.toml",
            '["plan.proposed"]\nsubject = 1\n',
            "plan.proposed subject: Input should be a valid string",
        ),
        ("mail.html", "{% if %}", "Expected an expression"),
        ("mail.txt", "{{ ''.__class__.mro() }}", "unsafe"),
    ],
)
def test_wrong_texts_are_refused_at_the_start(tmp_path: Path, file: str, text: str, why: str) -> None:
    (tmp_path / file).write_text(text)
    with pytest.raises(TextsError) as refused:
        Texts(tmp_path)
    assert why in str(refused.value)


# Settings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["smtp://h", "smtp://u:p%40ss@h:2525", "smtps://u:p@h", "smtp://[::1]:25?tls=off"]
)
def test_an_smtp_url(url: str) -> None:
    options = SmtpServer(url).options
    assert options["use_tls"] or options["start_tls"] or "tls=off" in url
    assert options["password"] == {"smtp://u:p%40ss@h:2525": "p@ss", "smtps://u:p@h": "p"}.get(url)


@pytest.mark.parametrize(
    "url", ["http://h", "smtp://", "smtp://h/x", "smtp://h?tls=no", "smtps://h?tls=off", "smtp://h:x", "h:25"]
)
def test_no_smtp_url(url: str) -> None:
    with pytest.raises(ValueError, match=r"must|may|[Pp]ort"):
        SmtpServer(url)


@pytest.mark.parametrize("text", ["", "Greenlight", "a@x.de, b@x.de", "a@x.de\nBcc: b@x.de", "a@"])
def test_no_sender(text: str) -> None:
    with pytest.raises(ValueError, match="must be an address"):
        sender(text)


GIVEN = {"supabase_url": "https://abc.supabase.co", "supabase_secret_key": "sb_secret_x"}


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_c2hvcnQ=", "abc", f"{SECRET} whsec_?", SECRET[6:]])
def test_no_secret_of_a_webhook(secret: str) -> None:
    with pytest.raises(SettingsError, match="WEBHOOK_SECRET") as refused:
        read_settings(WebhookSettings, **GIVEN, webhook_secret=SecretStr(secret))
    assert len(secret) < 7 or secret not in str(refused.value)


def test_a_wrong_smtp_url_is_named_and_not_shown() -> None:
    with pytest.raises(SettingsError) as refused:
        read_settings(MailSettings, **GIVEN, smtp_url=SecretStr("http://ada:zebra@h"), mail_from="Greenlight")
    assert str(refused.value).splitlines() == [
        "SMTP_URL: must be smtp://user:password@host:587 or smtps://user:password@host:465",
        "MAIL_FROM: must be an address such as Greenlight <plans@example.com>",
    ]


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({}, "exactly one of"),
        ({"webhook": "https://x", "mail": True}, "exactly one of"),
        ({"webhook": "ftp://x/zebra"}, "--webhook: must start with https://"),
        ({"webhook": "https://x:port"}, "--webhook: must start with https://"),
        ({"mail": True}, "SMTP_URL is not set"),
        ({"webhook": "https://x"}, "WEBHOOK_SECRET is not set"),
        ({"to": "json://x", "kinds": "plan.proposed,plan.liked"}, "--kinds: must be some of plan.proposed"),
        ({"to": "json://x", "kinds": ","}, "--kinds"),
        ({"to": "zebra"}, "Apprise does not know"),
    ],
)
def test_it_says_why_it_cannot_start(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: dict[str, Any],
    complaint: str,
) -> None:
    for name in ("WEBHOOK_SECRET", "SMTP_URL", "MAIL_FROM", "UI_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SUPABASE_URL", "https://abc.supabase.co")
    monkeypatch.setenv("SUPABASE_SECRET_KEY", "sb_secret_x")
    none = dict.fromkeys(("webhook", "to", "subscriber", "kinds", "templates", "metrics_port"))
    arguments: dict[str, Any] = {
        **none,
        "mail": False,
        "metrics_host": "127.0.0.1",
        **options,
    }
    assert main(**arguments) == 2
    text = capsys.readouterr().err
    assert complaint in text
    assert "zebra" not in text


# The loop ---------------------------------------------------------------------------------------------------


class FakeOutbox(Outbox):
    """An outbox that hands out what a test puts in, and notes what became of it."""

    def __init__(self, *waiting: Notification) -> None:
        self.waiting = [*waiting]
        self.asked: list[tuple[str, int]] = []
        self.settled: list[tuple[int, str]] = []
        self.errors: list[Exception] = []
        self.known = True

    async def claim(self, subscriber: str, most: int, lease_seconds: int) -> list[Notification]:
        assert lease_seconds == 60
        self.asked.append((subscriber, most))
        claimed, self.waiting = self.waiting[:most], self.waiting[most:]
        return claimed

    async def finish(self, notification: Notification) -> bool:
        return await self._settle(notification, "finished")

    async def fail(
        self, notification: Notification, message: str, *, retry: bool, retry_seconds: int | None
    ) -> bool:
        return await self._settle(notification, f"{message} {retry} {retry_seconds}")

    async def _settle(self, notification: Notification, how: str) -> bool:
        if self.errors:
            raise self.errors.pop(0)
        self.settled.append((notification.notification_id, how))
        return self.known


class FakeTarget:
    def __init__(self, *, taken: Any = True, wait: bool = False) -> None:
        self.taken = taken
        self.sent: list[int] = []
        self.most = self.now = 0
        self.go = asyncio.Event()
        if not wait:
            self.go.set()

    async def send(self, notification: Notification) -> bool:
        self.now += 1
        self.most = max(self.most, self.now)
        await self.go.wait()
        self.now -= 1
        self.sent.append(notification.notification_id)
        if isinstance(self.taken, SendFailed):
            raise self.taken
        return bool(self.taken)


def outcomes(metrics: Metrics) -> dict[str, float]:
    (family,) = metrics.ended.collect()
    return {
        sample.labels["outcome"]: sample.value for sample in family.samples if sample.name.endswith("_total")
    }


async def run(outbox: FakeOutbox, target: FakeTarget, **options: Any) -> dict[str, float]:
    """Run a notifier until all that waits has ended; return the outcomes."""
    metrics = Metrics("notifier", "notification", "")
    chosen = Options(**{"subscriber": "test", "poll_seconds": 0.001, **options})
    notifier = Notifier(target, outbox, chosen, metrics)
    count = len(outbox.waiting)
    running = asyncio.create_task(notifier.run())
    async with asyncio.timeout(30):
        while sum(outcomes(metrics).values()) < count:  # noqa: ASYNC110 -- the metrics have no event
            await asyncio.sleep(0)
    notifier.stop()
    await running
    return outcomes(metrics)


async def test_what_was_sent_is_finished_and_what_is_not_wanted_too() -> None:
    outbox = FakeOutbox(notification(), notification("plan.approved", notification_id=8))
    target = FakeTarget()
    assert await run(outbox, target, kinds=("plan.proposed",)) == {"sent": 1, "unwanted": 1}
    assert target.sent == [7]
    assert sorted(outbox.settled) == [(7, "finished"), (8, "finished")]
    assert {subscriber for subscriber, _ in outbox.asked} == {"test"}


async def test_to_a_user_without_an_address_it_is_finished_unsent() -> None:
    outbox = FakeOutbox(notification())
    assert await run(outbox, FakeTarget(taken=False)) == {"unaddressed": 1}
    assert outbox.settled == [(7, "finished")]


@pytest.mark.parametrize(
    ("failure", "told", "outcome"),
    [
        (SendFailed("answered 429", retry_seconds=30), "answered 429 True 30", "retried"),
        (SendFailed("answered 410", retry=False), "answered 410 False None", "failed"),
    ],
)
async def test_what_failed_is_told(failure: SendFailed, told: str, outcome: str) -> None:
    outbox = FakeOutbox(notification())
    assert await run(outbox, FakeTarget(taken=failure)) == {outcome: 1}
    assert outbox.settled == [(7, told)]


async def test_it_claims_no_more_than_it_can_send_at_once() -> None:
    waiting = [notification(notification_id=number) for number in range(20)]
    outbox, target = FakeOutbox(*waiting), FakeTarget(wait=True)
    running = asyncio.create_task(run(outbox, target, concurrency=3))
    async with asyncio.timeout(30):
        while target.now < 3:  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert outbox.asked == [("test", 3)]
    target.go.set()
    assert await running == {"sent": 20}
    assert target.most == 3


class Unreadable(FakeOutbox):
    """An outbox that hands out one that cannot be read, and with it no other. Leases end at once."""

    def __init__(self, *waiting: Notification, unreadable: Notification) -> None:
        super().__init__(*waiting)
        self.unreadable = unreadable
        self.waiting.insert(3, unreadable)
        self.lost: list[int] = []

    async def claim(self, subscriber: str, most: int, lease_seconds: int) -> list[Notification]:
        claimed = await super().claim(subscriber, most, lease_seconds)
        if self.unreadable in claimed:
            self.lost += [each.notification_id for each in claimed]
            self.waiting += claimed
            raise SupabaseUnreadableError("claim_notifications: unexpected answer")
        return claimed


async def test_one_that_cannot_be_read_keeps_no_other_from_being_sent() -> None:
    others = [notification(notification_id=number) for number in range(10, 30)]
    outbox = Unreadable(*others, unreadable=notification(notification_id=1))
    target = FakeTarget()
    metrics = Metrics("notifier", "notification", "")
    chosen = Options(subscriber="test", poll_seconds=0.001, concurrency=10)
    notifier = Notifier(target, outbox, chosen, metrics)
    running = asyncio.create_task(notifier.run())
    async with asyncio.timeout(30):
        while len(outbox.settled) < len(others):  # noqa: ASYNC110 -- it has no event
            await asyncio.sleep(0)
    notifier.stop()
    await running
    assert sorted(target.sent) == list(range(10, 30))
    assert [number for number in outbox.lost if number != 1] == [*range(10, 19)]  # once each


@pytest.mark.parametrize(
    "answer", [b'[{"n": 1%s}]' % (b"0" * 5000), b"[" * 5000 + b"]" * 5000, b'[{"n"', b'"\xff"', b'{"n": 1}']
)
async def test_an_answer_that_cannot_be_read_is_no_bug(answer: bytes) -> None:
    """Postgres holds numbers and depths that Python's JSON does not read."""

    def respond(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=answer, headers={"Content-Type": "application/json"})

    async with httpx.AsyncClient(transport=httpx.MockTransport(respond)) as http:
        options = AsyncClientOptions(httpx_client=http, auto_refresh_token=False, persist_session=False)
        client = await create_async_client("https://abc.supabase.co", "sb_secret_x", options)
        with pytest.raises(SupabaseUnreadableError):
            await Outbox(Rpc(client, http)).claim("test", 1, 60)


async def test_an_answer_that_does_not_come_is_asked_for_again() -> None:
    outbox = FakeOutbox(notification())
    outbox.errors = [SupabaseUnavailableError("away"), SupabaseUnavailableError("away")]
    target = FakeTarget()
    assert await run(outbox, target) == {"sent": 1}
    assert target.sent == [7]  # once
    assert outbox.settled == [(7, "finished")]


async def test_when_its_lease_has_ended_it_gives_up_and_another_one_sends_it_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loop, "LONGEST_PAUSE", 1000.0)
    outbox = FakeOutbox(notification())
    outbox.errors = [SupabaseUnavailableError("away")] * 100
    assert await run(outbox, FakeTarget(), poll_seconds=1000.0) == {"unsettled": 1}
    assert outbox.settled == []


async def test_what_is_refused_or_too_late_is_not_asked_for_again() -> None:
    outbox = FakeOutbox(notification())
    outbox.errors = [SupabaseRefusedError("no such function")]
    assert await run(outbox, FakeTarget()) == {"unsettled": 1}
    outbox = FakeOutbox(notification())
    outbox.known = False
    assert await run(outbox, FakeTarget()) == {"lost": 1}


async def test_the_signal_lets_it_finish_what_is_under_way_and_a_second_one_does_not() -> None:
    for patient in (True, False):
        outbox, target = FakeOutbox(notification(), notification(notification_id=8)), FakeTarget(wait=True)
        chosen = Options(subscriber="test", concurrency=1, poll_seconds=0.001)
        notifier = Notifier(target, outbox, chosen, Metrics("notifier", "notification", ""))
        running = asyncio.create_task(notifier.run())
        async with asyncio.timeout(30):
            while target.now < 1:  # noqa: ASYNC110
                await asyncio.sleep(0)
            notifier.stop()
            if patient:
                target.go.set()
            else:
                notifier.stop()
            await running
        assert outbox.settled == ([(7, "finished")] if patient else [])
        assert len(outbox.waiting) == 1  # nothing more was claimed


def test_the_body_of_a_webhook_is_json_of_the_contract() -> None:
    data = json.loads(json.dumps(webhook(None)._data(notification("agent.active", agent_id="a1"))))
    assert data["agent_url"] == f"{UI}/build/a1"
    assert "review_url" not in data
