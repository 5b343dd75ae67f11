"""What the routes and /mcp share: who calls, on which connections, and what they sent."""

import asyncio
from dataclasses import dataclass
from typing import Annotated

import httpx
from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from greenlight import logs
from greenlight.auth import Authenticator, User
from greenlight.errors import Problem
from greenlight.limits import Share
from greenlight.settings import Settings
from greenlight.upstream import Upstream

bearer = HTTPBearer(auto_error=False)


@dataclass(frozen=True)
class Service:
    """What all requests of the process share."""

    settings: Settings
    http: httpx.AsyncClient
    authenticator: Authenticator


def service_of(request: Request) -> Service:
    service: Service = request.state.service
    return service


def share_of(request: Request) -> Share:
    share: Share = request.state.share
    return share


async def authenticated_user(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Security(bearer)]
) -> User:
    with logs.stage("auth"):
        token = credentials.credentials if credentials else None
        user = await service_of(request).authenticator.user(token)
    share_of(request).begin(user.id)
    return user


async def upstream_of(request: Request, user: Annotated[User, Depends(authenticated_user)]) -> Upstream:
    service = service_of(request)
    return Upstream(service.settings, service.http, user)


# Dependencies are resolved before the route runs, and the route reads the body itself: a request without a
# valid token is refused unread.
CurrentUpstream = Annotated[Upstream, Depends(upstream_of)]


async def json_body(request: Request) -> bytes:
    """Read the body in pieces, and no more than its limit."""
    settings = service_of(request).settings
    media_type, _, parameters = request.headers.get("content-type", "").lower().partition(";")
    if media_type.strip() != "application/json" or ("charset" in parameters and "utf-8" not in parameters):
        raise Problem("unsupported_media_type", "Content-Type must be application/json, in UTF-8.")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem("unsupported_media_type", "The body must not be compressed.")
    too_large = Problem(
        "document_too_large", f"The request body may have at most {settings.max_body_bytes} bytes."
    )
    if int(request.headers.get("content-length", 0)) > settings.max_body_bytes:
        raise too_large
    body = bytearray()
    try:
        with logs.stage("body"):
            async with asyncio.timeout(settings.body_timeout_seconds):
                async for chunk in request.stream():
                    if len(body) + len(chunk) > settings.max_body_bytes:
                        raise too_large
                    share_of(request).count_body(len(chunk))
                    body += chunk
    except TimeoutError:
        detail = f"The body did not arrive within {settings.body_timeout_seconds:g} seconds."
        raise Problem("invalid_request", detail, headers={"Connection": "close"}) from None
    return bytes(body)
