"""Creates the HTTP service."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypedDict

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from starlette.exceptions import HTTPException

from greenlight import __version__, health, routes
from greenlight.auth import Authenticator
from greenlight.errors import Problem, http_exception_response, problem_response
from greenlight.metrics import Metrics
from greenlight.middleware import REQUEST_ID, RequestMiddleware
from greenlight.requests import Service
from greenlight.settings import Settings
from greenlight.upstream import connect


class State(TypedDict):
    """What every request finds in `request.state`."""

    service: Service
    readiness: health.Readiness
    metrics: Metrics


def create_app(settings: Settings) -> FastAPI:
    metrics = Metrics()
    planners = None
    if settings.mcp:
        from greenlight.mcp.app import Planners  # noqa: PLC0415 -- its SDK costs 40 MiB

        planners = Planners(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[State]:
        async with AsyncExitStack() as stack:
            http = await stack.enter_async_context(connect())
            authenticator = Authenticator(settings, http)
            authenticator.keys.refresh()  # in the background: the first caller need not wait for it
            if planners is not None:
                await stack.enter_async_context(planners.run())
            yield {
                "service": Service(settings, http, authenticator),
                "readiness": health.Readiness(settings, http),
                "metrics": metrics,
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
            # Any: MCP clients send headers of their own, and it is the origins that are trusted.
            allow_headers=["*"],
            expose_headers=[REQUEST_ID, "Retry-After", "WWW-Authenticate", "Mcp-Session-Id"],
            max_age=600,
        )
    app.include_router(routes.router)
    app.include_router(health.router)
    if planners is not None:
        app.router.routes.extend(planners.routes)
    if settings.metrics:
        app.include_router(health.metrics_router)
    return app
