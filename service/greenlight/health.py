"""Health, readiness and metrics, for those who operate the service."""

import asyncio
import time

import httpx
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from greenlight.errors import Problem, error_responses
from greenlight.settings import Settings
from greenlight.upstream import check_reachable

# An answer of /readyz is reused for this long, so that probes cannot put load on Supabase.
READINESS_SECONDS = 1

router = APIRouter(tags=["operation"])
metrics_router = APIRouter(tags=["operation"])  # included when METRICS is on


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
                    await check_reachable(self._settings, self._http)
                except Problem as refusal:
                    self._problem = refusal
                self._checked = time.monotonic()
            problem = self._problem
        if problem is not None:
            raise Problem(problem.code, problem.detail, problem.retryable, cause=problem.cause)


@router.get("/healthz", summary="Is the process alive?")
async def healthz() -> Health:
    return Health()


@router.get(
    "/readyz",
    summary="Can it reach Supabase?",
    responses=error_responses("internal_error", "upstream_error", "upstream_unavailable", "upstream_timeout"),
)
async def readyz(request: Request) -> Health:
    await request.state.readiness.check()
    return Health()


@metrics_router.get("/metrics", summary="Metrics, for Prometheus", response_class=Response)
async def metrics(request: Request) -> Response:
    return Response(request.state.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
