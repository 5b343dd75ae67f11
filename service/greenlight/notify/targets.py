"""Where notifications go: a webhook, a mailbox or a chat."""

import asyncio
import contextlib
import json
import logging
import re
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

import aiosmtplib
import httpx
import standardwebhooks
import structlog

from greenlight.notify.outbox import Notification
from greenlight.notify.texts import Texts

SECONDS = 15.0  # for one notification to be taken
BODY_SECONDS = 1.0  # for the rest of an answer whose status is known
BODY_BYTES = 64 * 1024  # of it that are read at most
DAY = 86_400

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class SendFailed(Exception):  # noqa: N818 -- what happened, as BuildFailed
    """It was not taken. The cause goes into the log: no titles, no addresses, nothing that the other side wrote."""

    def __init__(self, cause: str, *, retry: bool = True, retry_seconds: int | None = None) -> None:
        super().__init__(cause)
        self.cause = cause
        self.retry = retry
        self.retry_seconds = retry_seconds


class Target(Protocol):
    async def send(self, notification: Notification) -> bool:
        """Send it; return False if it concerns a user without an address.

        Raises:
            SendFailed: it was not taken.

        """


# A webhook --------------------------------------------------------------------------------------------------


class Webhook:
    """Posts each as a Standard Webhook, https://www.standardwebhooks.com, and follows no redirect."""

    def __init__(self, url: str, secrets: list[str], ui_url: str | None) -> None:
        """Make one that signs with each of the secrets."""
        self._url = url
        self._signers = [standardwebhooks.Webhook(secret) for secret in secrets]
        self._ui_url = ui_url
        agent = {"User-Agent": "greenlight-notify"}
        self._http = httpx.AsyncClient(
            timeout=SECONDS, headers=agent, trust_env=False, follow_redirects=False
        )

    async def send(self, notification: Notification) -> bool:
        body = json.dumps(
            {
                "type": notification.kind,
                "timestamp": _moment(notification.occurred_at),
                "data": self._data(notification),
            },
            ensure_ascii=False,
        )
        now = datetime.now(UTC)
        headers = {
            "Content-Type": "application/json",
            "webhook-id": notification.event_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(
                signer.sign(notification.event_id, now, body) for signer in self._signers
            ),
        }
        request = self._http.build_request("POST", self._url, content=body.encode(), headers=headers)
        try:
            async with asyncio.timeout(SECONDS):
                answer = await self._http.send(request, stream=True)
        except (httpx.HTTPError, TimeoutError) as error:
            raise SendFailed(type(error).__name__) from None
        try:
            await _read_some(answer)
        finally:
            await answer.aclose()
        _judge(answer)
        return True

    def _data(self, notification: Notification) -> dict[str, Any]:
        link = notification.link(self._ui_url)
        return {
            **notification.data,
            "user_id": notification.user_id,
            "email": notification.email,
            "approver_emails": notification.approver_emails,
            **dict([link] if link else []),
        }


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


async def _read_some(answer: httpx.Response) -> None:
    """Read a short answer to its end, so that the connection can be used again; its status counts already."""
    read = 0
    with contextlib.suppress(httpx.HTTPError, TimeoutError):
        async with asyncio.timeout(BODY_SECONDS):
            async for piece in answer.aiter_raw():  # raw: a small answer may unpack to a huge one
                read += len(piece)
                if read > BODY_BYTES:
                    return


def _judge(answer: httpx.Response) -> None:
    status = answer.status_code
    if answer.is_success:
        return
    for_good = answer.is_client_error and status not in {408, 425, 429}
    seconds = None if for_good else _retry_after(answer.headers.get("Retry-After", ""))
    raise SendFailed(f"answered {status}", retry=not for_good, retry_seconds=seconds)


def _retry_after(header: str) -> int | None:
    """Return the seconds of a Retry-After header, which has these or a date; at most a day."""
    text = header.strip()
    if text.isascii() and text.isdecimal():
        return min(int(text[:9]), DAY)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    seconds = (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return min(max(int(seconds), 0), DAY)


# A mail -----------------------------------------------------------------------------------------------------


class SmtpServer:
    """What an SMTP_URL says."""

    def __init__(self, url: str) -> None:
        """Raise ValueError if it is not such a URL; the message does not quote it."""
        parts = urlsplit(url)
        if parts.scheme not in {"smtp", "smtps"} or not parts.hostname or parts.path not in {"", "/"}:
            raise ValueError("must be smtp://user:password@host:587 or smtps://user:password@host:465")
        if parts.query not in {"", "tls=off"} or (parts.query and parts.scheme == "smtps"):
            raise ValueError("may end with ?tls=off after smtp://host:port, and with nothing else")
        implicit = parts.scheme == "smtps"
        self.host = parts.hostname
        self.options: dict[str, Any] = {
            "hostname": parts.hostname,
            "port": parts.port or (465 if implicit else 587),
            "username": unquote(parts.username) if parts.username else None,
            "password": unquote(parts.password) if parts.password else None,
            "use_tls": implicit,
            "start_tls": not implicit and not parts.query,
        }


class Mail:
    """Sends each to those who decide on the plan, or else to its owner."""

    def __init__(self, server: SmtpServer, sender: Address, texts: Texts, ui_url: str | None) -> None:
        self._server = server
        self._sender = sender
        self._texts = texts
        self._ui_url = ui_url

    async def send(self, notification: Notification) -> bool:
        recipients = _addresses(notification)
        if not recipients:
            return False
        message = self.compose(notification, recipients)
        try:
            async with asyncio.timeout(SECONDS):
                refused, _ = await aiosmtplib.send(message, timeout=SECONDS, **self._server.options)
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            raise _mail_failure(error) from None
        if refused:
            # Sent again, it would reach the others twice.
            log.warning(
                "recipients_refused",
                event_id=notification.event_id,
                count=len(refused),
                codes=sorted({answer.code for answer in refused.values()}),
            )
        return True

    def compose(self, notification: Notification, recipients: list[Address]) -> EmailMessage:
        written = self._texts.mail(notification, self._ui_url)
        # The library reads encoded words (RFC 2047), which begin with "=?", in the values that it is given, and writes
        # what they hold: a line break, too. So neither the subject nor an address has one.
        message = EmailMessage(policy=SMTP)
        message["From"] = self._sender
        message["To"] = recipients
        message["Subject"] = written.subject.replace("=?", "=\u200b?")
        message["Date"] = format_datetime(datetime.now(UTC))
        message["Message-ID"] = f"<{notification.event_id}@{self._sender.domain}>"  # tells repeats
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(written.plain)
        message.add_alternative(written.html, subtype="html")
        return message


# What begins something else in a header is not taken, so that no address can add another one.
_ADDRESS = re.compile(r'[^\s@,;:<>()\[\]\\"]{1,64}@[^\s@,;:<>()\[\]\\"]{1,255}')


def _addresses(notification: Notification) -> list[Address]:
    addresses = []
    for text in notification.approver_emails or [notification.email or ""]:
        username, _, domain = text.rpartition("@")
        with contextlib.suppress(UnicodeError):
            domain = domain.encode("idna").decode()  # makes "@" of a full-width one, so look afterwards
            address = f"{username}@{domain}"
            if _ADDRESS.fullmatch(address) and address.isprintable() and "=?" not in address:
                addresses.append(Address(username=username, domain=domain))
    return addresses


def _mail_failure(error: Exception) -> SendFailed:
    """Return what failed, without the server's words, which quote addresses.

    What it refuses for good is the mail or its recipient. A refused login or sender is a mistake in the settings:
    what waits is sent when that is mended.
    """
    name = type(error).__name__
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        codes = [each.code for each in error.recipients]
        return SendFailed(f"{name} {max(codes)}", retry=any(code < 500 for code in codes))
    if isinstance(error, aiosmtplib.SMTPResponseException):
        for_good = isinstance(error, aiosmtplib.SMTPDataError) and error.code >= 500
        return SendFailed(f"{name} {error.code}", retry=not for_good)
    return SendFailed(name, retry=not isinstance(error, aiosmtplib.SMTPNotSupported))


# A chat -----------------------------------------------------------------------------------------------------


class Chat:
    """Sends each to a chat or push service, in the notation of Apprise."""

    def __init__(self, url: str, texts: Texts, ui_url: str | None) -> None:
        """Raise ValueError if Apprise does not know this address; the message does not quote it."""
        import apprise  # noqa: PLC0415 -- it loads for a third of a second

        # Both quote titles and addresses.
        for name in ("apprise", "urllib3"):
            logging.getLogger(name).propagate = False
        asset = apprise.AppriseAsset(app_id="Greenlight", http_redirects=False, secure_logging=True)
        self._service = apprise.Apprise(asset=asset)
        if not self._service.add(url):
            raise ValueError("--to: Apprise does not know this address. See its list of services.")
        self._texts = texts
        self._ui_url = ui_url

    async def send(self, notification: Notification) -> bool:
        title, body = self._texts.chat(notification, self._ui_url)
        # It logs and swallows what the service answers, so the cause is not known here.
        result = await self._service.async_notify(title=title, body=body, body_format="text", timeout=SECONDS)
        if not result:
            raise SendFailed("the service did not take it")
        return True
