"""What starts a notifier: `greenlight notify`."""

import asyncio
import base64
import binascii
import os
import sys
from email.headerregistry import Address
from email.utils import formataddr, parseaddr
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import structlog
import typer
from pydantic import AfterValidator, SecretStr

from greenlight import logs
from greenlight.admin import SecretSettings, SupabaseRefusedError
from greenlight.exits import Exit
from greenlight.loop import Metrics
from greenlight.notify.notifier import Notifier, Options
from greenlight.notify.outbox import KINDS, Outbox
from greenlight.notify.targets import Chat, Mail, SmtpServer, Target, Webhook
from greenlight.notify.texts import Texts, TextsError
from greenlight.rpc import connect
from greenlight.settings import BaseUrl, SettingsError, read_settings

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

OUTCOMES = "sent, unwanted, unaddressed, retried, failed, lost or unsettled"


def _secrets(value: SecretStr) -> SecretStr:
    """Check that these are secrets of Standard Webhooks, separated by blanks: while one replaces another, both sign."""
    for secret in value.get_secret_value().split() or [""]:
        prefix, _, encoded = secret.partition("_")
        try:
            key = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            key = b""
        if prefix != "whsec" or not 24 <= len(key) <= 64:
            raise ValueError("must be whsec_ and the base64 of 24 to 64 random bytes")
    return value


def _smtp(value: SecretStr) -> SecretStr:
    SmtpServer(value.get_secret_value())
    return value


def sender(text: str) -> Address:
    """Return the address of a From header; raise ValueError if it is not exactly one."""
    name, address = parseaddr(text)
    user, _, domain = address.rpartition("@")
    if not (text.isprintable() and user and domain) or formataddr((name, address)).count("@") != text.count(
        "@"
    ):
        raise ValueError("must be an address such as Greenlight <plans@example.com>")
    return Address(name, user, domain)


def _sender(text: str) -> str:
    sender(text)
    return text


class NotifySettings(SecretSettings):
    ui_url: BaseUrl | None = None


class WebhookSettings(NotifySettings):
    webhook_secret: Annotated[SecretStr, AfterValidator(_secrets)]


class MailSettings(NotifySettings):
    smtp_url: Annotated[SecretStr, AfterValidator(_smtp)]
    mail_from: Annotated[str, AfterValidator(_sender)]


def main(  # noqa: PLR0913 -- named, and each an option
    *,
    webhook: str | None,
    mail: bool,
    to: str | None,
    subscriber: str | None,
    kinds: str | None,
    templates: Path | None,
    metrics_port: int | None,
    metrics_host: str,
    **options: Any,
) -> int:
    """Send notifications to the one target until SIGTERM; return the exit status."""
    try:
        kind, settings, target = _target(webhook, to, templates, mail=mail)
        chosen = Options(
            subscriber=subscriber or kind, kinds=KINDS if kinds is None else _kinds(kinds), **options
        )
        logs.configure(settings.log_level)
        metrics = Metrics("notifier", "notification", OUTCOMES)
        if metrics_port is not None:
            metrics.serve(metrics_host, metrics_port)
        asyncio.run(_run(settings, target, chosen, metrics))
    except (SettingsError, TextsError, ValueError, OSError) as error:
        typer.echo(f"The notifier cannot run with these settings:\n{error}", err=True)
        return Exit.MISUSE
    except SupabaseRefusedError as error:
        typer.echo(error, err=True)
        return Exit.UNAVAILABLE
    if to is not None:
        # A thread of Apprise that waits for the end of an answer would keep the process for as long.
        sys.stdout.flush()
        os._exit(Exit.DONE)
    return Exit.DONE


def _target(
    webhook: str | None, to: str | None, templates: Path | None, *, mail: bool
) -> tuple[str, NotifySettings, Target]:
    """Return the target, its settings, and the name of its kind."""
    if (webhook is not None) + mail + (to is not None) != 1:
        raise ValueError("Give exactly one of --webhook URL, --mail and --to URL.")
    if webhook is not None:
        url, signed = _address(webhook), read_settings(WebhookSettings)
        secrets = signed.webhook_secret.get_secret_value().split()
        return "webhook", signed, Webhook(url, secrets, signed.ui_url)
    texts = Texts(templates)
    if mail:
        mailed = read_settings(MailSettings)
        server = SmtpServer(mailed.smtp_url.get_secret_value())
        return "mail", mailed, Mail(server, sender(mailed.mail_from), texts, mailed.ui_url)
    settings = read_settings(NotifySettings)
    return "chat", settings, Chat(to or "", texts, settings.ui_url)


async def _run(settings: NotifySettings, target: Target, options: Options, metrics: Metrics) -> None:
    log.info("notifier_started", subscriber=options.subscriber, links=settings.ui_url is not None)
    async with connect(settings) as rpc:
        await Notifier(target, Outbox(rpc), options, metrics).run_until_signalled()


def _address(url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and parts.hostname and (parts.port or 1)
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("--webhook: must start with https:// (or http://) and name a host.")
    return url


def _kinds(text: str) -> tuple[str, ...]:
    kinds = tuple(filter(None, (kind.strip() for kind in text.split(","))))
    if not kinds or not {*kinds} <= {*KINDS}:
        raise ValueError(f"--kinds: must be some of {', '.join(KINDS)}, separated by commas.")
    return kinds
