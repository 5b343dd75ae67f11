"""The builds of a Supabase project, with its secret key: claim, renew, finish and fail them, and read documents.

Every call but the claim names the build and its attempt. The database refuses an attempt that is over, so a call may
be repeated, and has no effect if another builder has taken the build.
"""

import asyncio
from typing import Any
from urllib.parse import quote

import httpx
from pydantic import BaseModel, TypeAdapter

from greenlight import BUCKET, MAX_DOCUMENT_BYTES
from greenlight.admin import OBJECT, SupabaseRefusedError, SupabaseUnavailableError
from greenlight.rpc import CALL_SECONDS, Answer, FunctionRefusedError, Rpc

CHUNK = 64 * 1024  # bytes of a document that are read at once


class LeaseLostError(Exception):
    """The attempt is over: it was cancelled, or another builder has claimed it. The message says why."""


class ResultRefusedError(Exception):
    """The database does not take the result. The message says why."""


class Claim(BaseModel):
    """A claimed build. The end of its lease is left out, because the builder's clock may be wrong."""

    build_id: str
    attempt: int
    agent_id: str
    plan_id: str
    user_id: str
    session_id: str
    version: int
    title: str
    document_path: str
    document_sha256: str
    comment: str | None = None
    comments: list[dict[str, Any]] | None = None
    team_id: str | None = None


class Row(BaseModel):
    """The columns that matter of the row that an RPC returns."""

    id: str
    status: str


_CLAIMS = TypeAdapter(list[Claim])
_ROW = TypeAdapter(Row)


class Queue:
    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc

    async def claim(self, worker: str, max_builds: int, lease_seconds: int) -> list[Claim]:
        arguments = {"worker": worker, "max_builds": max_builds, "lease_seconds": lease_seconds}
        return await self._call("claim_builds", _CLAIMS, arguments)

    async def renew(
        self,
        claim: Claim,
        lease_seconds: int,
        progress: int | None,
        message: str | None,
        log: str | None = None,
    ) -> None:
        arguments = _arguments(
            claim, lease_seconds=lease_seconds, progress=progress, message=message, log=log
        )
        # A renewal that hangs must leave time for another one within the lease.
        await self._call("renew_build", _ROW, arguments, min(CALL_SECONDS, lease_seconds / 2))

    async def finish(
        self, claim: Claim, result: dict[str, Any] | None = None, log: str | None = None
    ) -> None:
        await self._call("finish_build", _ROW, _arguments(claim, result=result, log=log))

    async def fail(self, claim: Claim, message: str, *, retry: bool, log: str | None = None) -> bool:
        """Return whether the build is queued again."""
        arguments = _arguments(claim, message=message, retry=retry, log=log)
        return (await self._call("fail_build", _ROW, arguments)).status == "queued"

    async def download(self, claim: Claim) -> bytes:
        """Return the document; of one that is larger than any plan, only as much as shows that."""
        # storage3 (2.34) reads a whole object into memory, however large it is.
        document = b""
        try:
            async with (
                asyncio.timeout(CALL_SECONDS),
                self._rpc.http.stream(
                    "GET",
                    f"{OBJECT}/{BUCKET}/{quote(claim.document_path)}",
                    headers={"Accept-Encoding": "identity"},
                ) as answer,
            ):
                if not answer.is_success:
                    raise SupabaseRefusedError(f"Storage answered {answer.status_code}.")
                async for piece in answer.aiter_raw(CHUNK):  # raw: a small answer may unpack to a huge one
                    document += piece
                    if len(document) > MAX_DOCUMENT_BYTES:
                        break
        except (httpx.HTTPError, TimeoutError) as error:
            raise SupabaseUnavailableError(type(error).__name__) from error
        return document

    async def _call(
        self,
        name: str,
        shape: TypeAdapter[Answer],
        arguments: dict[str, Any],
        seconds: float = CALL_SECONDS,
    ) -> Answer:
        try:
            return await self._rpc.call(name, shape, arguments, seconds)
        except FunctionRefusedError as error:
            if error.code in {"build_lost", "build_not_found"}:
                raise LeaseLostError(error.details or error.code) from None
            if error.code == "invalid_result":
                raise ResultRefusedError(error.details or error.code) from None
            raise


def _arguments(claim: Claim, **others: Any) -> dict[str, Any]:
    """Return the arguments of a call about this attempt, without those that leave something as it is."""
    said = {name: value for name, value in others.items() if value is not None}
    return {"build_id": claim.build_id, "attempt": claim.attempt, **said}
