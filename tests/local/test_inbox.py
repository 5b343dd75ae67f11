"""The inbox of `make up`: what is sent to it is on its page, and stays there."""

import smtplib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path

import httpx

from local import ROOT
from local.processes import accepts_connections, free_ports
from tests.builder.conftest import until


@contextmanager
def inbox(directory: Path) -> Iterator[tuple[int, str]]:
    """Yield the port for mails, and the page's address."""
    smtp, page = free_ports(2)
    command = [sys.executable, "-m", "local.inbox", str(smtp), str(page), str(directory)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: accepts_connections(page))
            yield smtp, f"http://127.0.0.1:{page}"
        finally:
            process.kill()


def mail(subject: str) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@example.com", "b@example.com", subject
    message.set_content("Grüße\n")
    message.add_alternative('<p onclick="alert(1)">"Hello"</p>', subtype="html")
    return message


def test_mails_are_shown_and_kept(tmp_path: Path) -> None:
    with inbox(tmp_path / "mail") as (smtp, url):
        assert "None yet" in httpx.get(url).text
        with smtplib.SMTP("127.0.0.1", smtp) as connection:
            for subject in ("First <b>", "Zwei 👩‍🚀"):
                connection.send_message(mail(subject))
        assert "First &lt;b&gt;" in httpx.get(url).text
    with inbox(tmp_path / "mail") as (_, url):
        mails = {each["subject"]: each for each in httpx.get(f"{url}/mails.json").json()}
        assert mails.keys() == {"First <b>", "Zwei 👩‍🚀"}
        assert mails["First <b>"]["to"] == "b@example.com"
        page = httpx.get(f"{url}/{mails['First <b>']['id']}").text
        assert "Grüße" in page
        # Its HTML is only in the frame, where nothing runs.
        assert "<p onclick" not in page
        assert 'sandbox="allow-popups allow-popups-to-escape-sandbox"' in page
        assert httpx.get(f"{url}/nothing").status_code == 404
