"""POST /mcp: the planner's tools over the Model Context Protocol, for the same use cases as the HTTP routes.

Streamable HTTP, stateless. Every request carries the user's access token and is verified like any other; the
tools act with that token. There is no tool that approves, and the database refuses an agent that tries.
"""

from contextlib import AbstractAsyncContextManager
from ipaddress import ip_address
from urllib.parse import urlsplit

from mcp.server.streamable_http import check_accept_headers
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.auth import ProtectedResourceMetadata
from mcp_types import INVALID_REQUEST, PARSE_ERROR, jsonrpc_message_adapter
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from greenlight.errors import Problem
from greenlight.mcp.tools import create_server
from greenlight.requests import authenticated_user, bearer, json_body, upstream_of
from greenlight.settings import Settings, host_name

METADATA = "/.well-known/oauth-protected-resource"
ACCEPT = "application/json, text/event-stream"
NO_JSON = "Parse error: the body is not JSON."
NO_MESSAGE = (
    'Invalid request: the body must be one JSON-RPC message, such as {"jsonrpc": "2.0", "id": 1, "method": '
    '"tools/list"}. Send the messages of a batch one by one.'
)


class Planners:
    """POST /mcp and its metadata. `run()` runs as long as the application."""

    def __init__(self, settings: Settings) -> None:
        url = settings.service_url or ""  # Settings requires it
        # We need only the session manager of the SDK's application. Routes and authentication are ours, so that all
        # refusals of this service look the same.
        server = create_server()
        server.streamable_http_app(
            stateless_http=True,
            max_request_body_size=settings.max_body_bytes,
            # ours: see below
            transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
        )
        self._manager = server.session_manager
        own = urlsplit(url)
        self._hosts = {own.hostname, *settings.allowed_hosts}
        self._origins = {f"{own.scheme}://{own.netloc}", *settings.cors_origins}
        self._metadata_url = f"{url}{METADATA}/mcp"
        self._metadata = ProtectedResourceMetadata.model_validate(
            {
                "resource": f"{url}/mcp",
                "authorization_servers": [settings.issuer],
                "resource_name": "Greenlight",
            }
        ).model_dump(mode="json", exclude_none=True)
        self.routes = [
            Route("/mcp", self, methods=["POST"]),
            Route(METADATA, self.metadata),
            Route(f"{METADATA}/mcp", self.metadata),
        ]

    def _check_host(self, host: str) -> None:
        """Refuse what a page reaches by giving this service a name of its own (DNS rebinding)."""
        name = host_name(host)
        if name not in self._hosts and not _is_loopback(name):
            named = f"ALLOWED_HOSTS={name}" if name else "ALLOWED_HOSTS"
            raise Problem(
                "host_not_allowed",
                "The Host header names neither SERVICE_URL's host nor one of ALLOWED_HOSTS. Behind a proxy, let it "
                f"pass the header on (nginx: proxy_set_header Host $host), or set {named} for this service.",
            )

    def _check_origin(self, origin: str | None) -> None:
        if origin is None or origin in self._origins or _loopback(origin) in map(_loopback, self._origins):
            return
        raise Problem(
            "origin_not_allowed",
            "The Origin header names a page that is neither of SERVICE_URL nor of CORS_ORIGINS. To let its pages call "
            "this endpoint, add it to CORS_ORIGINS of this service.",
        )

    def run(self) -> AbstractAsyncContextManager[None]:
        return self._manager.run()

    async def metadata(self, _: Request) -> Response:
        # Any page may read it: it has public addresses only.
        headers = {"Cache-Control": "public, max-age=3600", "Access-Control-Allow-Origin": "*"}
        return JSONResponse(self._metadata, headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Verify the token, read the body within its limits, and hand both to the SDK."""
        scope["route"] = self.routes[0]  # for the log line and the metrics
        request = Request(scope, receive)
        self._check_host(request.headers.get("host", ""))
        self._check_origin(request.headers.get("origin"))
        try:
            user = await authenticated_user(request, await bearer(request))
        except Problem as problem:
            if challenge := problem.headers.get("WWW-Authenticate"):  # RFC 9728, section 5.1
                separator = ", " if "=" in challenge else " "
                resource = f'resource_metadata="{self._metadata_url}"'
                problem.headers["WWW-Authenticate"] = f"{challenge}{separator}{resource}"
            raise
        if not all(check_accept_headers(request)):
            answer = _refuse(406, INVALID_REQUEST, f"Not acceptable: send Accept: {ACCEPT}")
            await answer(scope, receive, send)
            return
        request.state.upstream = await upstream_of(request, user)
        body = await json_body(request)
        try:
            jsonrpc_message_adapter.validate_json(body)
        except ValidationError as error:
            broken = error.errors(include_input=False, include_url=False)[0]["type"] == "json_invalid"
            answer = (
                _refuse(400, PARSE_ERROR, NO_JSON) if broken else _refuse(400, INVALID_REQUEST, NO_MESSAGE)
            )
            await answer(scope, receive, send)
            return
        unread: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return unread.pop() if unread else await receive()

        await self._manager.handle_request(scope, replay, send)


def _is_loopback(name: str | None) -> bool:
    try:
        return name == "localhost" or ip_address(name or "").is_loopback
    except ValueError:
        return False


def _loopback(origin: str) -> str:
    """Return the origin with one name for this machine, because browsers and settings use three."""
    parts = urlsplit(origin)
    try:
        if _is_loopback(parts.hostname):
            return f"{parts.scheme}://localhost:{parts.port}"
    except ValueError:  # not a port
        pass
    return origin


def _refuse(status: int, code: int, message: str) -> Response:
    error = {"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": message}}
    return JSONResponse(error, status, headers={"Cache-Control": "no-store"})
