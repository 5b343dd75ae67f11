# ruff: noqa: ARG002, RUF001 -- aiosmtpd's arguments; words of Hebrew
"""`greenlight notify --mail`: to whom, what about, over TLS, and what a mail server refuses."""

import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import psycopg
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from psycopg.types.json import Jsonb

from local.processes import free_ports
from tests.builder.conftest import until
from tests.caller import Caller
from tests.conftest import RunningStack
from tests.notify.conftest import UI, Outbox, Start, ended
from tests.plan import new_session

EMOJI = "👩‍🚀🪴" * 125  # 500 code points


class MailServer:
    """Takes mails, or refuses them in the ways that a test sets."""

    def __init__(self) -> None:
        self.mails: list[tuple[list[str], EmailMessage]] = []
        self.recipient = "250 OK"
        self.data = "250 OK"
        self.logins: list[tuple[bytes, bytes, bool]] = []

    async def handle_RCPT(  # noqa: N802 -- aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.recipient.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.recipient

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.data.startswith("250"):
            mail = message_from_bytes(envelope.original_content or b"", policy=default)
            assert isinstance(mail, EmailMessage)
            self.mails.append((envelope.rcpt_tos, mail))
        return self.data

    def login(self, server: SMTP, session: Session, envelope: Envelope, how: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append((data.login, data.password, session.ssl is not None))
        return AuthResult(success=data.password == b"p@ss")


@contextmanager
def serving(server: MailServer, **how: Any) -> Iterator[int]:
    (port,) = free_ports(1)
    controller = Controller(server, hostname="127.0.0.1", port=port, enable_SMTPUTF8=True, **how)
    controller.start()
    try:
        yield port
    finally:
        controller.stop()


def variables(port: int, query: str = "?tls=off") -> dict[str, str]:
    return {"SMTP_URL": f"smtp://127.0.0.1:{port}{query}", "MAIL_FROM": "Greenlight <plans@example.com>"}


def test_the_owner_gets_a_mail_that_leads_to_the_plan(
    stack: RunningStack, user: Caller, outbox: Outbox, start: Start
) -> None:
    server = MailServer()
    session = new_session()
    with serving(server) as port, start("--mail", variables=variables(port)) as process:
        user.proposed(plan_id=session, title="A zebra's plan", message="Which stripes?")
        until(lambda: ended(process))
    assert outbox.rows(user) == []
    ((recipients, mail),) = server.mails
    email = email_of(stack, user)
    assert recipients == [email]
    assert (mail["To"], mail["Subject"]) == (email, "Please decide: A zebra's plan")
    for kind in ("plain", "html"):
        part = mail.get_body((kind,))
        assert part is not None
        assert f"{UI}/build?session={session}" in part.get_content()
        assert "Which stripes?" in part.get_content()
    (line,) = ended(process)
    assert mail["Message-ID"] == f"<{line['event_id']}@example.com>"
    written = process.output.read_text() + process.errors.read_text()
    for secret in ("zebra", email, "stripes", stack.secret_key, str(port)):
        assert secret not in written


def email_of(stack: RunningStack, user: Caller) -> str:
    with psycopg.connect(stack.needs_database()) as database:
        row = database.execute("select email from auth.users where id = %s", [user.id]).fetchone()
    assert row
    return str(row[0])


@pytest.mark.parametrize(
    ("title", "subject"),
    [
        ("Plan\r\nBcc: eve@example.com\r\n\r\nHello", "Please decide: Plan Bcc: eve@example.com Hello"),
        ("תוכנית \u202eלמאפייה", "Please decide: תוכנית למאפייה"),
        (
            "=?utf-8?q?Plan=0D=0ABcc:_eve@example.com?=",
            "Please decide: =\u200b?utf-8?q?Plan=0D=0ABcc:_eve@example.com?=",
        ),
        (EMOJI, f"Please decide: {EMOJI}"[:159] + "…"),
    ],
)
def test_whatever_the_title_is(
    stack: RunningStack, user: Caller, outbox: Outbox, start: Start, title: str, subject: str
) -> None:
    server = MailServer()
    user.proposed()
    with psycopg.connect(stack.needs_database()) as database:
        # What a proposal refuses today, an older one may have.
        database.execute(
            "update greenlight.notification set data = data || %s where user_id = %s",
            [Jsonb({"title": title}), user.id],
        )
    with serving(server) as port, start("--mail", variables=variables(port)):
        until(lambda: outbox.rows(user) == [])
    ((recipients, mail),) = server.mails
    assert recipients == [email_of(stack, user)]
    assert mail["Subject"] == subject
    assert mail["Bcc"] is None
    assert not mail.defects


GONE = {
    "without an address": "email = null",
    "unconfirmed": "email_confirmed_at = null",
    "deleted softly": "deleted_at = now()",
    "with a wrong address": "email = E'ada@example.com\\nBcc: eve@example.com'",
}


@pytest.mark.parametrize("change", GONE.values(), ids=GONE)
def test_a_user_who_has_no_address_by_then_gets_none(
    stack: RunningStack, user: Caller, outbox: Outbox, start: Start, change: str
) -> None:
    if stack.local is None:
        pytest.skip("changing a user so needs the superuser of a local Supabase")
    server = MailServer()
    user.proposed()
    with psycopg.connect(stack.local.postgres.url("supabase_admin")) as database:
        database.execute(f"update auth.users set {change} where id = %s".encode(), [user.id])
    with serving(server) as port, start("--mail", variables=variables(port)) as process:
        until(lambda: outbox.rows(user) == [])
        until(lambda: ended(process))
    assert server.mails == []
    assert [line["outcome"] for line in ended(process)] == ["unaddressed"]


@pytest.mark.parametrize(
    ("refusal", "answer", "status"),
    [
        ("recipient", "550 unknown user", "failed"),
        ("recipient", "451 greylisted", "queued"),
        ("data", "554 spam", "failed"),
        ("data", "452 disk full", "queued"),
    ],
)
def test_what_a_server_refuses_for_good_is_not_sent_again(
    user: Caller, outbox: Outbox, start: Start, refusal: str, answer: str, status: str
) -> None:
    server = MailServer()
    setattr(server, refusal, answer)
    with serving(server) as port, start("--mail", variables=variables(port)) as process:
        user.proposed()
        until(lambda: ended(process))
        (row,) = outbox.rows(user)
        assert (row["status"] == "failed") == (status == "failed")
        assert answer.split(maxsplit=1)[0] in row["message"]
        assert answer.split()[1] not in row["message"] + process.output.read_text()
        setattr(server, refusal, "250 OK")
        outbox.make_due()
        if status == "queued":
            until(lambda: outbox.rows(user) == [])
    assert len(server.mails) == (status == "queued")


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    directory = tmp_path_factory.mktemp("tls")
    key, certificate = directory / "key.pem", directory / "certificate.pem"
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
            ),
            *("-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=127.0.0.1"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return certificate, context


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")  # aiosmtpd's, of smtps
@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_it_logs_in_over_tls_to_a_server_that_it_can_trust(
    user: Caller, outbox: Outbox, start: Start, certificate: tuple[Path, ssl.SSLContext], scheme: str
) -> None:
    trusted, context = certificate
    server = MailServer()
    how: dict[str, Any] = {
        "smtp": {"tls_context": context, "require_starttls": True},
        "smtps": {"ssl_context": context, "auth_require_tls": False},  # aiosmtpd only means STARTTLS by it
    }[scheme]
    user.proposed()
    with serving(server, authenticator=server.login, auth_required=True, **how) as port:
        given = {**variables(port), "SMTP_URL": f"{scheme}://ada%40x:p%40ss@127.0.0.1:{port}"}
        with start("--mail", variables=given) as stranger:
            until(lambda: ended(stranger))
        assert (server.mails, server.logins) == ([], [])  # nothing is said to a server with any certificate
        outbox.make_due()
        with start(
            "--mail", variables={**given, "SSL_CERT_FILE": str(trusted), "LOG_LEVEL": "debug"}
        ) as process:
            until(lambda: outbox.rows(user) == [])
    written = process.output.read_text() + process.errors.read_text()
    assert not [secret for secret in ("ada", "p@ss", "p%40ss", "127.0.0.1") if secret in written]
    assert len(server.mails) == 1
    assert [login[:2] for login in server.logins] == [(b"ada@x", b"p@ss")]


def test_without_tls_it_sends_nothing_unless_told_so(user: Caller, outbox: Outbox, start: Start) -> None:
    server = MailServer()
    user.proposed()
    with serving(server) as port, start("--mail", variables=variables(port, "")) as process:
        until(lambda: ended(process))
    assert server.mails == []
    assert [line["outcome"] for line in ended(process)] == ["retried"]
    (row,) = outbox.rows(user)
    assert row["status"] != "failed"


def test_a_server_that_is_away_gets_it_later(user: Caller, outbox: Outbox, start: Start) -> None:
    (port,) = free_ports(1)
    user.proposed()
    with start("--mail", variables=variables(port)) as process:
        until(lambda: ended(process))
    assert [line["outcome"] for line in ended(process)] == ["retried"]
    server = MailServer()
    outbox.make_due()
    with serving(server) as other, start("--mail", variables=variables(other)):
        until(lambda: outbox.rows(user) == [])
    assert len(server.mails) == 1


def test_the_adopter_s_own_texts(user: Caller, outbox: Outbox, start: Start, tmp_path: Path) -> None:
    (tmp_path / "texts.toml").write_text('["plan.proposed"]\nsubject = "Bitte lesen: {{ title }}"\n')
    server = MailServer()
    with serving(server) as port, start("--mail", variables=variables(port), templates=tmp_path):
        user.proposed(title="Brot")
        until(lambda: outbox.rows(user) == [])
    assert server.mails[0][1]["Subject"] == "Bitte lesen: Brot"
