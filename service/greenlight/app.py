"""The HTTP service: routes, and what they are made of."""

import asyncio
import dataclasses
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypedDict

import httpx
from fastapi import Depends, FastAPI, Path, Request, Response, Security
from fastapi.middleware.cors import CORSMiddleware
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from greenlight import __version__, approval, logs
from greenlight.auth import Authenticator, User
from greenlight.errors import Problem, documented, http_exception_response, problem_response
from greenlight.metrics import Metrics
from greenlight.middleware import REQUEST_ID, RequestMiddleware
from greenlight.settings import Settings
from greenlight.upstream import DocumentMissing, Upstream, connect, reachable

READINESS_SECONDS = (
    1  # an answer of /readyz is good for so long: probing cannot be turned into load on Supabase
)
_UUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_UPSTREAM_ERRORS = ("internal_error", "upstream_error", "upstream_unavailable", "upstream_timeout")


class State(TypedDict):
    settings: Settings
    http: httpx.AsyncClient
    authenticator: Authenticator
    readiness: "Readiness"


class DocumentResponse(BaseModel):
    document_url: str = Field(description="Signed URL of the document, fresh.")
    expires_at: datetime
    document_sha256: str


class Health(BaseModel):
    status: str = "ok"


class Readiness:
    def __init__(self, settings: Settings, http: httpx.AsyncClient) -> None:
        self._settings = settings
        self._http = http
        self._lock = asyncio.Lock()
        self._checked = float("-inf")
        self._problem: Problem | None = None

    async def check(self) -> None:
        async with self._lock:
            if time.monotonic() - self._checked > READINESS_SECONDS:
                try:
                    self._problem = None
                    await reachable(self._settings, self._http)
                except Problem as problem:
                    self._problem = problem
                self._checked = time.monotonic()
            if self._problem is not None:
                raise dataclasses.replace(self._problem)


async def _user(
    request: Request,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Security(HTTPBearer(auto_error=False))],
) -> User:
    with logs.stage("auth"):
        user: User = await request.state.authenticator.user(credentials.credentials if credentials else None)
        return user


# Dependencies are resolved before the route runs, and the route reads the body itself: a request without a
# valid token is refused unread.
CurrentUser = Annotated[User, Depends(_user)]


async def _json_body(request: Request, settings: Settings) -> bytes:
    """Read the body as it comes, and no more than the limit of it."""
    media_type, _, parameters = request.headers.get("content-type", "").lower().partition(";")
    if media_type.strip() != "application/json" or ("charset" in parameters and "utf-8" not in parameters):
        raise Problem("unsupported_media_type", "Content-Type must be application/json, in UTF-8.")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem("unsupported_media_type", "The body must not be compressed.")
    too_large = Problem("document_too_large", f"The request may have {settings.max_body_bytes} bytes.")
    if int(request.headers.get("content-length", 0)) > settings.max_body_bytes:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(settings.body_timeout_seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > settings.max_body_bytes:
                    raise too_large
    except TimeoutError:
        detail = f"The body did not arrive within {settings.body_timeout_seconds:g} seconds."
        raise Problem("invalid_request", detail, headers={"Connection": "close"}) from None
    return bytes(body)


def _answer(model: BaseModel) -> Response:
    # A Response of our own: FastAPI would validate the model a second time. It holds a signed URL: no-store.
    return Response(
        model.model_dump_json(), media_type="application/json", headers={"Cache-Control": "no-store"}
    )


def create_app(settings: Settings) -> FastAPI:
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[State]:
        async with connect(settings) as http:
            authenticator = Authenticator(settings, http)
            authenticator.keys.refresh()  # in the background: the first caller need not wait for it
            yield {
                "settings": settings,
                "http": http,
                "authenticator": authenticator,
                "readiness": Readiness(settings, http),
            }
            await authenticator.keys.close()

    app = FastAPI(
        title="Greenlight",
        summary="Approve a plan, get its agent.",
        version=__version__,
        lifespan=lifespan,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.add_exception_handler(Problem, problem_response)
    app.add_exception_handler(HTTPException, http_exception_response)
    app.add_middleware(RequestMiddleware, metrics=metrics, max_body_bytes=settings.max_body_bytes)
    if settings.cors_origins:
        # Outermost, so that a page can read the refusals as well.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", REQUEST_ID],
            expose_headers=[REQUEST_ID, "Retry-After"],
            max_age=600,
        )
    _add_routes(app)
    if settings.metrics:

        @app.get("/metrics", summary="Metrics, for Prometheus", response_class=Response, tags=["operation"])
        async def metrics_text() -> Response:
            return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return app


def _add_routes(app: FastAPI) -> None:
    @app.post(
        "/plan/approve",
        summary="Approve a plan and get its agent",
        response_model=approval.ApprovePlanResponse,
        responses=documented(
            "not_authenticated",
            "plan_conflict",
            "plan_stale",
            "agent_archived",
            "agent_deleted",
            "document_too_large",
            "unsupported_media_type",
            "invalid_request",
            "invalid_session_id",
            "invalid_version",
            "invalid_title",
            "invalid_document_sha256",
            "document_changed",
            *_UPSTREAM_ERRORS,
        ),
        openapi_extra=_request_body(),
        tags=["plan"],
    )
    async def approve_plan(request: Request, user: CurrentUser) -> Response:
        # A caller who goes away stops nothing that has begun: the server does not cancel this, and the
        # approval ends as if the caller were there. Asking again gets the same agent.
        settings: Settings = request.state.settings
        with logs.stage("body"):
            body = await _json_body(request, settings)
        wanted = approval.parse(body, settings.max_document_bytes)
        upstream = Upstream(settings, request.state.http, user)
        return _answer(await approval.approve(wanted, user, upstream, settings))

    @app.get(
        "/plan/{plan_id}/document",
        summary="Get a fresh signed URL of a plan's document",
        response_model=DocumentResponse,
        responses=documented("not_authenticated", "plan_not_found", "invalid_plan_id", *_UPSTREAM_ERRORS),
        tags=["plan"],
    )
    async def plan_document(
        request: Request,
        user: CurrentUser,
        plan_id: Annotated[
            str,
            Path(
                description="The plan row's id.",
                json_schema_extra={"format": "uuid", "pattern": f"^{_UUID}$"},
            ),
        ],
    ) -> Response:
        if not re.fullmatch(_UUID, plan_id):
            raise Problem("invalid_plan_id", "The plan's id must be a UUID.")
        settings: Settings = request.state.settings
        upstream = Upstream(settings, request.state.http, user)
        document = await upstream.plan(plan_id)
        if document is None:
            raise Problem("plan_not_found", "There is no such plan.")
        path, sha256 = document
        expires_at = datetime.now(UTC) + timedelta(seconds=settings.signed_url_ttl_seconds)
        try:
            url = await upstream.sign(path, settings.signed_url_ttl_seconds)
        except DocumentMissing:
            raise Problem("upstream_error", "The plan's document is not in storage.") from None
        return _answer(DocumentResponse(document_url=url, expires_at=expires_at, document_sha256=sha256))

    @app.get("/healthz", summary="Is the process alive?", tags=["operation"])
    async def healthz() -> Health:
        return Health()

    @app.get(
        "/readyz",
        summary="Can it reach Supabase?",
        responses=documented(*_UPSTREAM_ERRORS),
        tags=["operation"],
    )
    async def readyz(request: Request) -> Health:
        await request.state.readiness.check()
        return Health()


def _request_body() -> dict[str, Any]:
    schema = approval.ApprovePlanRequest.model_json_schema()
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
