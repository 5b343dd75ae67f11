"""`python -m local.inbox SMTP_PORT PORT DIRECTORY`: takes every mail, sends none on, and shows them on a page."""

import json
import mailbox
import sys
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jinja2
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Mailbox

PAGE = jinja2.Environment(autoescape=True).from_string("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Mails</title>
<style>
  :root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
  body { margin: 2rem auto; max-width: 45rem; padding: 0 1rem }
  a { color: inherit } li { margin: .5rem 0; overflow-wrap: anywhere } small { opacity: .7; display: block }
  iframe { width: 100%; height: 34rem; border: 1px solid #8884; border-radius: .5rem } pre { white-space: pre-wrap }
</style>
{% if mail %}
  <p><a href="/">All mails</a></p>
  <h1>{{ mail.subject }}</h1>
  <p>From {{ mail.from }}<br>To {{ mail.to }}<br>{{ mail.date }}</p>
  {# No script of a mail runs, and its links open beside this page. #}
  <iframe title="As HTML" sandbox="allow-popups allow-popups-to-escape-sandbox"
    srcdoc="<base target='_blank'>{{ mail.html }}"></iframe>
  <h2>As text</h2>
  <pre>{{ mail.text }}</pre>
{% else %}
  <meta http-equiv="refresh" content="3">
  <h1>Mails</h1>
  {% if not mails %}<p>None yet. Each mail that is sent on this machine arrives here.</p>{% endif %}
  <ul>
  {% for each in mails %}
    <li><a href="/{{ each.id }}">{{ each.subject }}</a><small>to {{ each.to }}, {{ each.date }}</small></li>
  {% endfor %}
  </ul>
{% endif %}
</html>
""")


def read(directory: Path) -> list[dict[str, Any]]:
    """Return the mails, the newest first."""
    kept = mailbox.Maildir(directory)
    keys = sorted(kept.keys(), key=lambda key: kept.get_message(key).get_date(), reverse=True)
    return [{"id": key, **_parts(message_from_bytes(kept.get_bytes(key), policy=default))} for key in keys]


def _parts(mail: Any) -> dict[str, str]:
    assert isinstance(mail, EmailMessage)  # noqa: S101 -- the policy's
    html, text = mail.get_body(("html",)), mail.get_body(("plain",))
    return {
        **{name: str(mail[name] or "") for name in ("from", "to", "subject", "date")},
        "html": str(html.get_content()) if html else "",
        "text": str(text.get_content()) if text else "",
    }


def main(smtp_port: int, port: int, directory: Path) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            mails = read(directory)
            if self.path == "/mails.json":
                self._answer(200, json.dumps(mails), "application/json")
            elif self.path == "/":
                self._answer(200, PAGE.render(mails=mails))
            else:
                mail = next((each for each in mails if each["id"] == self.path[1:]), None)
                self._answer(200 if mail else 404, PAGE.render(mail=mail, mails=mails))

        def _answer(self, status: int, text: str, kind: str = "text/html") -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    smtp = Controller(Mailbox(directory), hostname="127.0.0.1", port=smtp_port)
    smtp.start()
    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
