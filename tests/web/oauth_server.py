"""A stand-in for the OAuth 2.1 server of Supabase Auth, which the local Auth does not have.

It answers as the documentation, the types of @supabase/auth-js 2.119.1 and the source of supabase/auth
(internal/api/oauthserver) say: paths, fields, states, error codes. Everything else goes on to the local Supabase. What
only a hosted project can show, such as tokens and the registration of clients, is not here.
"""

import contextlib
import json
import re
import secrets
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar, Self
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import jwt

from tests.caller import Json

NOT_FOUND = (
    404,
    {"code": 404, "error_code": "oauth_authorization_not_found", "msg": "authorization not found"},
)
NOT_PENDING = (
    400,
    {"code": 400, "error_code": "validation_failed", "msg": "authorization request cannot be processed"},
)
NO_GRANT = (
    404,
    {"code": 404, "error_code": "oauth_consent_not_found", "msg": "No active grant found for this client"},
)
DETAILS = re.compile(r"/auth/v1/oauth/authorizations/(\w+)")
CONSENT = re.compile(r"/auth/v1/oauth/authorizations/(\w+)/consent")
GRANTS = re.compile(r"/auth/v1/user/oauth/grants")
CALLS = {
    ("GET", DETAILS): "details",
    ("POST", CONSENT): "consent",
    ("GET", GRANTS): "list",
    ("DELETE", GRANTS): "revoke",
}
HOP_BY_HOP = {
    "host",
    "connection",
    "transfer-encoding",
    "content-length",
    "content-encoding",
    "accept-encoding",
}

Answer = tuple[int, Json]


@dataclass
class Client:
    name: str
    redirect_uri: str
    uri: str = ""
    id: str = field(default_factory=lambda: secrets.token_hex(16))

    def details(self) -> Json:
        given = {"id": self.id, "name": self.name, "uri": self.uri}
        return {key: value for key, value in given.items() if value}


@dataclass
class Authorization:
    client: Client
    state: str
    scope: str
    user_id: str | None = None
    status: str = "pending"
    id: str = field(default_factory=lambda: secrets.token_hex(16))

    def redirect(self, **parameters: str) -> Json:
        query = urlencode({**parameters, "state": self.state})
        return {"redirect_url": f"{self.client.redirect_uri}?{query}"}


class OAuthServer(ThreadingHTTPServer):
    """Serves on a port of its own. `answers` says by name of the call what it answers instead."""

    daemon_threads = True
    handler: type["Handler"]

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), self.handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.upstream = httpx.Client(base_url=upstream, timeout=30)
        self.authorizations: dict[str, Authorization] = {}
        self.grants: dict[tuple[str, str], Json] = {}
        self.answers: dict[str, Answer] = {}
        self.decisions: list[str] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()
        self.upstream.close()

    def authorize(self, client: Client, *, state: str = "xyz", scope: str = "openid email") -> Authorization:
        """Do what GET /oauth/authorize does, which then sends the browser to the app's page with this id."""
        authorization = Authorization(client, state, scope)
        self.authorizations[authorization.id] = authorization
        return authorization

    def grant(self, user_id: str, client: Client, scopes: list[str]) -> None:
        now = datetime.now(UTC).isoformat()
        self.grants[user_id, client.id] = {"client": client.details(), "scopes": scopes, "granted_at": now}

    def details(self, user: Json, found: Authorization | None) -> Answer:
        if found is None or found.status == "expired":
            return NOT_FOUND
        if found.status != "pending":
            return NOT_PENDING
        if found.user_id is None:
            found.user_id = user["sub"]
            consent = self.grants.get((user["sub"], found.client.id))
            if consent and set(found.scope.split()) <= set(consent["scopes"]):
                found.status = "approved"
                return 200, found.redirect(code=secrets.token_hex(8))
        elif found.user_id != user["sub"]:
            return NOT_FOUND
        return 200, {
            "authorization_id": found.id,
            "redirect_uri": found.client.redirect_uri,
            "client": found.client.details(),
            "user": {"id": user["sub"], "email": user["email"]},
            "scope": found.scope,
        }

    def consent(self, user: Json, found: Authorization | None, action: str) -> Answer:
        if found is None or found.status == "expired":
            return NOT_FOUND
        if found.status != "pending":
            return NOT_PENDING
        if found.user_id != user["sub"]:
            return NOT_FOUND
        self.decisions.append(action)
        if action == "approve":
            found.status = "approved"
            self.grant(user["sub"], found.client, found.scope.split())
            return 200, found.redirect(code=secrets.token_hex(8))
        found.status = "denied"
        return 200, found.redirect(error="access_denied", error_description="User denied the request")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: OAuthServer
    calls: ClassVar = CALLS

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        url = urlsplit(self.path)
        if url.path in ("/callback", "/favicon.ico"):
            # The planner's own page.
            return self.reply(200, b"Connected", {"Content-Type": "text/plain"})
        for (method, path), call in self.calls.items():
            if method == self.command and (match := path.fullmatch(url.path)):
                status, content = self.server.answers.get(call) or self.answer(call, match, body)
                data = b"" if status == 204 else json.dumps(content).encode()
                allowed = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "*"}
                return self.reply(status, data, {"Content-Type": "application/json", **allowed})
        return self.pass_on(body)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_HEAD = do_GET  # noqa: N815

    def answer(self, call: str, match: re.Match[str], body: bytes) -> Answer:
        token = (self.headers["Authorization"] or "").removeprefix("Bearer ")
        user = jwt.decode(token, options={"verify_signature": False})
        if call == "list":
            return 200, [grant for (owner, _), grant in self.server.grants.items() if owner == user["sub"]]
        if call == "revoke":
            (client_id,) = parse_qs(urlsplit(self.path).query)["client_id"]
            return (204, None) if self.server.grants.pop((user["sub"], client_id), None) else NO_GRANT
        found = self.server.authorizations.get(match[1])
        if call == "details":
            return self.server.details(user, found)
        return self.server.consent(user, found, json.loads(body)["action"])

    def pass_on(self, body: bytes) -> None:
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
        answer = self.server.upstream.request(self.command, self.path, headers=headers, content=body)
        kept = {name: value for name, value in answer.headers.items() if name not in HOP_BY_HOP}
        self.reply(answer.status_code, answer.content, kept)

    def reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            with contextlib.suppress(ConnectionError):  # the browser has left the page
                self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


OAuthServer.handler = Handler
