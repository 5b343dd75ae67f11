"""Supabase as the user: storage and RPC. The only I/O of a request.

One pooled `httpx.AsyncClient` serves the process. The storage3 and postgrest clients on top of it are made
for each request, with that user's token among their own headers, and never change the shared client: no
`set_session` or `auth()` on it (users would meet each other's tokens), no `aclose()`.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport
from postgrest import APIError, AsyncPostgrestClient
from storage3 import AsyncStorageClient
from storage3.exceptions import StorageApiError
from storage3.utils import StorageException

from greenlight import logs
from greenlight.auth import User
from greenlight.errors import Problem, not_authenticated
from greenlight.settings import Settings

BUCKET = "plans"
# Larger documents are uploaded only where storage has none (see `store`).
SMALL_DOCUMENT_BYTES = 100_000
# What the RPC refuses because of what its caller asked for. It may also refuse the document's URL, but that
# is of our making: no fault of the caller's.
REFUSALS = frozenset(
    {
        "invalid_session_id",
        "invalid_version",
        "invalid_title",
        "invalid_document_sha256",
        "agent_deleted",
        "plan_conflict",
        "agent_archived",
        "plan_stale",
    }
)


# What storage3, postgrest and our own reading raise over an answer that they cannot read.
UNREADABLE = (
    aiohttp.ClientError,
    httpx.HTTPError,
    httpx.InvalidURL,
    StorageException,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
)


# PostgREST gives these 500 (12 and 14), although the database is only restarting. Where it was killed, the answer is
# a 400 without any code or message (14.17).
DATABASE_STOPS = frozenset({"57P01", "57P02", "57P03"})


class DocumentMissing(Exception):  # noqa: N818 -- not an error yet: the document is uploaded again
    """Storage or the database does not know the document (any more)."""


class Refused(Problem):
    """The database refused for good: the same request will never be approved."""


def connect(settings: Settings, transport: httpx.AsyncBaseTransport | None = None) -> httpx.AsyncClient:
    """Make the process's one client.

    It speaks through aiohttp: httpx's own pool looks at every connection for every request that comes or goes, which
    at 64 approvals at once took twenty times the CPU that aiohttp takes.
    """
    client = httpx.AsyncClient(
        transport=transport or AiohttpTransport(client=partial(_session, settings)),
        # What a call may take as a whole is limited where it is made; this would limit each read by itself.
        timeout=httpx.Timeout(None, connect=settings.connect_timeout_seconds),
        headers={"apikey": settings.supabase_publishable_key},
        event_hooks={"request": [_in_one_piece], "response": [_note_status]},
        trust_env=False,
    )
    # Nothing that an answer to one user sets goes out with a request of another.
    client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=()))
    return client


def _session(settings: Settings) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=settings.max_connections)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())


async def _in_one_piece(request: httpx.Request) -> None:
    # A multipart body comes as many small parts, and each would be a write to the socket of its own.
    await request.aread()


async def _note_status(response: httpx.Response) -> None:
    # APIError does not carry the HTTP status, and a gateway's own refusals have no code either.
    logs.current().upstream_status = response.status_code


class _Turn:
    """Makes the requests that store one document take turns."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.stored = False
        self.requests = 0


_turns: dict[str, _Turn] = {}


@contextmanager
def _turn(path: str) -> Iterator[_Turn]:
    turn = _turns.setdefault(path, _Turn())
    turn.requests += 1
    try:
        yield turn
    finally:
        turn.requests -= 1
        if turn.requests == 0:
            del _turns[path]


class Upstream:
    """Supabase, as one user."""

    def __init__(self, settings: Settings, http: httpx.AsyncClient, user: User) -> None:
        self._settings = settings
        headers = {"apikey": settings.supabase_publishable_key, "Authorization": f"Bearer {user.token}"}
        storage = AsyncStorageClient(f"{settings.supabase_url}/storage/v1/", headers, http_client=http)
        self._bucket = storage.from_(BUCKET)
        self._data = AsyncPostgrestClient(
            f"{settings.supabase_url}/rest/v1",
            headers=headers,
            http_client=http,
            retry_enabled=False,  # its waits of whole seconds would not fit into our time limits
        )

    async def store(self, path: str, document: bytes, seconds: int) -> str:
        """Store the document unless it is there, and return a URL under which it can be read for that long.

        Raises DocumentMissing when it was removed between the two steps.

        storage-api (seen with 1.70.6) answers 409 to an upload of an existing key before it has read the body.
        With 150 kB or more unread, that connection never answers again; a gateway puts it back into its pool,
        and the next request on it hangs. So a large document is not sent where storage has it: it is signed
        first and uploaded only when there is nothing to sign, by one request at a time.
        """
        if len(document) <= SMALL_DOCUMENT_BYTES:
            await self.upload(path, document)
            return await self.sign(path, seconds)
        url = None
        with _turn(path) as turn:
            async with turn.lock:
                if not turn.stored:
                    try:
                        url = await self.sign(path, seconds)
                    except DocumentMissing:
                        await self.upload(path, document)
                turn.stored = True
            try:
                return url or await self.sign(path, seconds)
            except DocumentMissing:
                turn.stored = False
                raise

    async def upload(self, path: str, document: bytes) -> None:
        """Store the document unless it is there: the path has its hash, so what is there is the same."""
        async with _call("upload", self._settings.upload_timeout_seconds):
            try:
                await self._bucket.upload(path, document, {"content-type": "text/markdown"})
            except StorageApiError as error:
                status = _status(error)
                if status == 413:
                    raise Problem(
                        "document_too_large", "The document is larger than the bucket accepts."
                    ) from error
                if status != 409:
                    raise

    async def sign(self, path: str, seconds: int) -> str:
        """Return a URL under which the document can be read without a token for that long."""
        async with _call("sign", self._settings.sign_timeout_seconds):
            try:
                signed = await self._bucket.create_signed_url(path, seconds)
            except StorageApiError as error:
                if _status(error) == 404:
                    raise DocumentMissing from error
                raise
            url = signed["signedURL"]
            if not isinstance(url, str) or not url.startswith(
                f"{self._settings.supabase_url}/storage/v1/object/sign/{BUCKET}/{path}?token="
            ):
                raise ValueError("not a signed URL of this document")
            return url

    async def approve(self, arguments: dict[str, Any]) -> dict[str, Any]:
        async with _call("rpc", self._settings.rpc_timeout_seconds):
            try:
                answer: Any = (await self._data.rpc("approve_plan", arguments).execute()).data
            except APIError as error:
                if error.code == "PT404" and error.message == "document_not_found":
                    raise DocumentMissing from error
                if error.code == "PT401":
                    refusal = not_authenticated(_sentence(error))
                    raise Refused(refusal.code, refusal.detail, headers=refusal.headers) from error
                if error.code in {"PT409", "PT422"}:
                    logs.current().cause = f"rpc: {error.message}"
                    code = error.message if error.message in REFUSALS else "upstream_error"
                    raise Refused(str(code), _sentence(error)) from error
                raise
            if not isinstance(answer, dict):
                raise TypeError("not an object")
            return answer

    async def plan(self, plan_id: str) -> tuple[str, str] | None:
        """Return path and SHA-256 of the plan's document, or None if the user has no such plan."""
        async with _call("plan", self._settings.rpc_timeout_seconds):
            query = self._data.from_("plan").select("document_path", "document_sha256").eq("id", plan_id)
            rows: Any = (await query.limit(1).execute()).data
            if not isinstance(rows, list):
                raise TypeError("not a list")
            if not rows:
                return None
            return str(rows[0]["document_path"]), str(rows[0]["document_sha256"])

    async def remove(self, path: str) -> None:
        """Remove a document that no plan refers to; one that a plan does refer to stays, and that is fine."""
        try:
            async with _call("remove", self._settings.remove_timeout_seconds):
                # Answers 200 and an empty list where the policy or the foreign key keeps it.
                await self._bucket.remove([path])
        except Problem as problem:
            logs.log.warning("document not removed", request_id=logs.current().request_id, code=problem.code)


async def reachable(settings: Settings, http: httpx.AsyncClient) -> None:
    """Ask each of Supabase's services for anything at all.

    Raises `upstream_unavailable` or another of its kind.
    """

    async def ask(path: str) -> None:
        async with _call("reach", settings.sign_timeout_seconds):
            response = await http.get(f"{settings.supabase_url}{path}")
            if response.status_code >= 500:
                raise Problem("upstream_unavailable", f"{path} answered {response.status_code}.")

    # Without a user's token some of them answer 401: that they answer is the point.
    await asyncio.gather(*map(ask, ("/auth/v1/health", "/rest/v1/", "/storage/v1/status")))


@asynccontextmanager
async def _call(stage: str, seconds: float) -> AsyncIterator[None]:
    """Limit, time and name one call: whatever goes wrong in it ends as a documented problem."""
    record = logs.current()
    record.upstream_status = None
    try:
        with logs.stage(stage):
            async with asyncio.timeout(seconds):
                yield
    except (Problem, DocumentMissing):
        raise
    except (TimeoutError, httpx.TransportError) as error:
        record.cause = f"{stage}: {logs.describe(error)}"
        # The transport calls a connection that was lost a timeout, too; what it was made from tells them apart.
        lost = isinstance(error.__cause__, aiohttp.ClientError) and not isinstance(
            error.__cause__, TimeoutError
        )
        if isinstance(error, (TimeoutError, httpx.TimeoutException)) and not lost:
            raise Problem("upstream_timeout", f"Supabase did not answer in time ({stage}).") from error
        raise Problem("upstream_unavailable", f"The connection to Supabase failed ({stage}).") from error
    except StorageApiError as error:
        record.cause = f"{stage}: {_status(error)} {error.code}"
        raise _refusal(stage, _status(error), str(error.code), str(error.message)) from error
    except APIError as error:
        record.cause = f"{stage}: {record.upstream_status} {error.code}"
        raise _refusal(stage, record.upstream_status or 0, str(error.code), str(error.message)) from error
    except UNREADABLE as error:  # what was asked for may have been done all the same
        record.cause = f"{stage}: {logs.describe(error)}"
        raise Problem(
            "upstream_error", f"Supabase's answer makes no sense ({stage}).", retryable=True
        ) from error


def _refusal(stage: str, status: int, code: str, message: str) -> Problem:
    ours = code == "42501" or "row-level security" in message or "api key" in message.lower()
    if (status in {401, 403} or code in {"InvalidJWT", "bad_jwt"}) and not ours:
        return not_authenticated("Supabase refuses the access token.")
    if status in {429, 503} or code in DATABASE_STOPS or (status, code, message) == (400, "", ""):
        return Problem("upstream_unavailable", f"Supabase is busy or down ({stage}).")
    # SQLSTATE 57014: the statement took longer than its role may, as hosted projects limit it.
    if status in {408, 504} or code == "57014":
        return Problem("upstream_timeout", f"Supabase did not answer in time ({stage}).")
    return Problem("upstream_error", f"Supabase answered {status} ({stage}).", retryable=status >= 500)


def _status(error: StorageApiError) -> int:
    # The HTTP status is nearly always 400; the true one stands in the body, as a string.
    try:
        return int(error.status)
    except (TypeError, ValueError):
        return 0


def _sentence(error: APIError) -> str:
    return error.details if isinstance(error.details, str) and error.details else f"{error.message}."
