"""Supabase as the user: storage and RPC. The only I/O of a request.

One pooled `httpx.AsyncClient` serves the process. The storage3 and postgrest clients on top of it are made
for each request, with that user's token among their own headers, and never change the shared client: no
`set_session` or `auth()` on it (one user's requests would carry another's token), no `aclose()`.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from typing import Annotated, Any, TypeVar

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport
from postgrest import APIError, AsyncPostgrestClient
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from storage3 import AsyncStorageClient
from storage3.exceptions import StorageApiError
from storage3.utils import StorageException

from greenlight import BUCKET, MAX_DOCUMENT_BYTES, logs
from greenlight.auth import User
from greenlight.comments import Comment
from greenlight.errors import ERRORS, Problem, challenge
from greenlight.settings import Settings
from greenlight.submission import Submission

CONNECT_SECONDS = 5
MAX_CONNECTIONS = 256
# Larger documents are uploaded only where storage has none (see `store`).
SMALL_DOCUMENT_BYTES = 100_000
# PostgREST (12 and 14) answers 500 to these, although the database is only restarting.
DATABASE_STOPS = frozenset({"57P01", "57P02", "57P03"})
STORAGE_STAGES = frozenset({"upload", "sign", "compare", "read", "remove"})
STATEMENT_TIMEOUT = "57014"  # hosted projects limit how long a statement of each role may take

Answer = TypeVar("Answer")
Model = TypeVar("Model", bound=BaseModel)


class _Row(BaseModel):
    model_config = ConfigDict(strict=True)


class Approved(_Row):
    plan_id: str
    agent_id: str
    agent_status: str
    version: int
    created: bool


class Proposed(_Row):
    plan_id: str
    version: int
    status: str
    created: bool


class PlanDocument(_Row):
    document_path: str
    document_sha256: str
    team_id: str | None


class Revision(_Row):
    """A plan row, as far as a planner needs to know it."""

    version: int
    status: str
    comment: str | None
    comments: list[Comment] | None
    document_path: str
    document_sha256: str
    expires_at: Annotated[datetime, Field(strict=False)] | None
    team_id: str | None


class Build(_Row):
    status: str
    attempt: int
    progress: int | None
    message: str | None


class Agent(_Row):
    id: str
    status: str
    build: list[Build]  # the newest one, if there is any


class _SignedUrl(_Row):
    signedURL: str  # noqa: N815 -- Storage's name


class DocumentMissingError(Exception):
    """Storage or the database does not know the document (any more): it is uploaded again."""


class ErrorAnswer(Problem):
    """Supabase answered with an error. `status`, `reason` and `message` are Supabase's."""

    def __init__(
        self, stage: str, status: int, reason: str, message: str, sentence: str | None = None
    ) -> None:
        code, detail, retryable = _explain(stage, status, reason, message)
        super().__init__(
            code,
            detail,
            retryable=retryable,
            headers=challenge(token_given=True) if code == "not_authenticated" else {},
            cause=f"{stage}: {status} {reason}",
        )
        self.status = status
        self.reason = reason
        self.message = message
        self.sentence = sentence or f"{message}."


class Refusal(Problem):
    """The database refused for good: the same request will never be accepted."""


class _NoCookies(httpx.Cookies):
    """A cookie from one user's answer must not be sent with another user's request.

    A cookie jar whose policy refuses every cookie does the same, and takes 3 % of the service's CPU.
    """

    def extract_cookies(self, response: httpx.Response) -> None:
        pass


def connect(transport: httpx.AsyncBaseTransport | None = None) -> httpx.AsyncClient:
    """Make the process's one client.

    It speaks through aiohttp: httpx's own pool looks at every connection for every request that comes or goes, which
    at 64 approvals at once took twenty times the CPU that aiohttp takes.
    """
    client = httpx.AsyncClient(
        transport=transport or AiohttpTransport(client=_session),
        # The time of a whole call is limited where it is made. A limit here would be for each read.
        timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),
        event_hooks={"request": [_in_one_piece], "response": [_note_status]},
        trust_env=False,
    )
    client._cookies = _NoCookies()  # noqa: SLF001 -- the cookies setter would copy this into a plain Cookies
    return client


def _session() -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=MAX_CONNECTIONS)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())


async def _in_one_piece(request: httpx.Request) -> None:
    # A multipart body consists of many small parts, and each would be a separate write to the socket.
    await request.aread()


async def _note_status(response: httpx.Response) -> None:
    # APIError does not carry the HTTP status, and a gateway's own refusals have no code either.
    logs.current().upstream_status = response.status_code


class _Turn:
    """Lets one request at a time store a document."""

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
        self.settings = settings
        self.user = user
        self._url = settings.supabase_url
        self._seconds = settings.upstream_timeout_seconds
        self._signed_url_seconds = settings.signed_url_ttl_seconds
        self._http = http
        self._headers = headers = {
            "apikey": settings.supabase_publishable_key,
            "Authorization": f"Bearer {user.token}",
        }
        storage = AsyncStorageClient(f"{self._url}/storage/v1/", headers, http_client=http)
        self._bucket = storage.from_(BUCKET)
        self._data = AsyncPostgrestClient(
            f"{self._url}/rest/v1",
            headers=headers,
            http_client=http,
            retry_enabled=False,  # its waits of whole seconds would not fit into our time limits
        )

    # Storage

    async def store(self, path: str, document: bytes) -> str:
        """Store the document unless it is there, and return a signed URL of it.

        Raises DocumentMissingError when it was removed between the steps, and `document_conflict` when other bytes are
        there and cannot be replaced.

        storage-api (seen with 1.70.6) answers 409 to an upload of an existing key before it has read the body.
        With 150 kB or more unread, that connection never answers again; a gateway puts it back into its pool,
        and the next request on it hangs. So a large document is not sent where storage has it: it is signed
        first and uploaded only when there is nothing to sign, by one request at a time.
        """
        with _turn(path) as turn:
            if len(document) <= SMALL_DOCUMENT_BYTES:
                if not await self._uploaded(path, document):
                    async with turn.lock:
                        await self._check(path, document)
                return await self.sign(path)
            url = None
            async with turn.lock:
                if not turn.stored:
                    try:
                        url = await self.sign(path)
                    except DocumentMissingError:
                        if not await self._uploaded(path, document):
                            await self._check(path, document)
                    else:
                        await self._check(path, document)
                turn.stored = True
            try:
                return url or await self.sign(path)
            except DocumentMissingError:
                turn.stored = False
                raise

    async def _uploaded(self, path: str, document: bytes) -> bool:
        """Upload the document; return False if something is there already."""
        try:
            await self._call("upload", self._bucket.upload(path, document, {"content-type": "text/markdown"}))
        except ErrorAnswer as answer:
            if answer.status == 413:
                raise Problem(
                    "document_too_large", "The document is larger than the bucket accepts."
                ) from answer
            if answer.status != 409:
                raise
            return False
        return True

    async def _check(self, path: str, document: bytes) -> None:
        """Check that Storage has this document's bytes, and remove any others.

        The path has the document's hash, but the uploader chooses the path, and storage does not compare them.

        Raises DocumentMissingError when nothing is there (any more), and `document_conflict` when other bytes stay: a
        plan refers to them, or the token is an agent's, which may not delete.
        """
        if await self._holds(path, document):
            return
        if await self.remove(path):
            raise DocumentMissingError
        if not await self._holds(path, document):
            raise Problem(
                "document_conflict",
                "Storage has other bytes under this document's hash, and they cannot be replaced.",
            )

    async def _holds(self, path: str, document: bytes) -> bool:
        """Tell whether these very bytes are there, and read only as far as they are the same.

        The eTag would be cheaper, but it is an MD5, and an author can make two documents with the same one.
        """

        async def compare() -> bool:
            size = 0
            async with self._bytes(path) as pieces:
                async for piece in pieces:
                    if piece != document[size : size + len(piece)]:
                        return False
                    size += len(piece)
            return size == len(document)

        try:
            return await self._call("compare", compare())
        except ErrorAnswer as refusal:
            if refusal.status == 404:
                raise DocumentMissingError from refusal
            raise

    async def text(self, path: str) -> str | None:
        """Return a document's text, or None if it cannot be read."""

        async def read() -> bytes:
            content = b""
            async with self._bytes(path) as pieces:
                async for piece in pieces:
                    content += piece
                    if len(content) > MAX_DOCUMENT_BYTES:
                        break
            return content

        try:
            return (await self._call("read", read())).decode()
        except (Problem, UnicodeDecodeError) as error:
            logs.log.warning(
                "document not read", request_id=logs.current().request_id, cause=logs.describe(error)
            )
            return None

    @asynccontextmanager
    async def _bytes(self, path: str) -> AsyncIterator[AsyncIterator[bytes]]:
        url = f"{self._url}/storage/v1/object/authenticated/{BUCKET}/{path}"
        headers = {**self._headers, "Accept-Encoding": "identity"}
        async with self._http.stream("GET", url, headers=headers) as answer:
            if answer.status_code != 200:
                raise _storage_error(answer.status_code, await answer.aread())
            yield answer.aiter_bytes()

    async def sign(self, path: str) -> str:
        """Return a URL under which the document can be read without a token, for a limited time."""
        try:
            answer = await self._call("sign", self._bucket.create_signed_url(path, self._signed_url_seconds))
        except ErrorAnswer as refusal:
            if refusal.status == 404:
                raise DocumentMissingError from refusal
            raise
        url = _parse("sign", _SignedUrl, answer).signedURL
        if not url.startswith(f"{self._url}/storage/v1/object/sign/{BUCKET}/{path}?token="):
            raise _unreadable("sign", "not a signed URL of this document")
        return url

    async def remove(self, path: str) -> bool:
        """Remove a document that no plan refers to; one that a plan does refer to stays, and that is fine.

        Tells whether it was removed, as far as storage says so.
        """
        try:
            # Answers 200 and an empty list where the policy or the foreign key keeps it.
            return bool(await self._call("remove", self._bucket.remove([path])))
        except Problem as problem:
            logs.log.warning(
                "document not removed",
                request_id=logs.current().request_id,
                code=problem.code,
                cause=problem.cause,
            )
            return False

    # Data API

    async def approve(
        self,
        submission: Submission,
        document_url: str,
        *,
        comment: str | None,
        comments: Sequence[Comment] | None,
    ) -> Approved:
        arguments = _arguments(submission, document_url, comment=comment)
        if comments:
            arguments["comments"] = [each.model_dump() for each in comments]
        return _parse("rpc", Approved, await self._rpc("approve_plan", arguments))

    async def propose(
        self,
        submission: Submission,
        document_url: str,
        *,
        expires_at: datetime | None,
        message: str | None,
        team_id: str | None,
    ) -> Proposed:
        moment = expires_at.isoformat() if expires_at else None
        arguments = _arguments(
            submission,
            document_url,
            expires_at=moment,
            message=message,
            team_id=team_id,
            user_id=self.user.id,
        )
        return _parse("rpc", Proposed, await self._rpc("propose_plan", arguments))

    async def withdraw(self, session_id: str, version: int) -> Revision:
        arguments = {"session_id": session_id, "version": version, "user_id": self.user.id}
        return _parse("rpc", Revision, await self._rpc("withdraw_plan", arguments))

    async def plan(self, plan_id: str) -> PlanDocument | None:
        """Return where the plan's document is, or None if the user has no such plan."""
        query = self._data.from_("plan").select(*PlanDocument.model_fields).eq("id", plan_id)
        return await self._first("plan", PlanDocument, query)

    async def revision(self, session_id: str, version: int | None = None) -> Revision | None:
        """Return that version of the session, or the newest one; None if there is none."""
        query = self._of_session("plan", ",".join(Revision.model_fields), session_id)
        query = query.order("version", desc=True) if version is None else query.eq("version", str(version))
        return await self._first("plan", Revision, query)

    async def agent(self, session_id: str) -> Agent | None:
        """Return the session's agent with its newest build; None if nothing was approved yet."""
        columns = f"id,status,build({','.join(Build.model_fields)})"
        query = self._of_session("agent", columns, session_id)
        query = query.order("created_at", desc=True, foreign_table="build")
        return await self._first("agent", Agent, query.limit(1, foreign_table="build"))

    def _of_session(self, table: str, columns: str, session_id: str) -> Any:
        # The secret key, with which a planner may come, would see those of other users, and what is deleted.
        query = self._data.from_(table).select(columns).eq("user_id", self.user.id)
        return query.eq("session_id", session_id).is_("deleted_at", "null")

    async def _first(self, stage: str, model: type[Model], query: Any) -> Model | None:
        answer = await self._call(stage, query.limit(1).execute())
        if not isinstance(answer.data, list):
            raise _unreadable(stage, "not a list")
        return _parse(stage, model, answer.data[0]) if answer.data else None

    async def _rpc(self, name: str, arguments: dict[str, Any]) -> Any:
        try:
            return (await self._call("rpc", self._data.rpc(name, arguments).execute())).data
        except ErrorAnswer as answer:
            # Our functions refuse with PT and the HTTP status as SQLSTATE; the message is the code.
            if (answer.reason, answer.message) == ("PT404", "document_not_found"):
                raise DocumentMissingError from answer
            if not answer.reason.startswith("PT"):
                raise
            kind = ERRORS.get(answer.message)
            if kind is None or answer.reason != f"PT{kind.status}":
                # Such as invalid_document_url: the service made it, so it is not the caller's fault.
                raise Refusal("upstream_error", answer.sentence, cause=f"rpc: {answer.message}") from answer
            headers = challenge(token_given=True) if kind.status == 401 else {}
            raise Refusal(
                answer.message, answer.sentence, headers=headers, cause=f"rpc: {answer.message}"
            ) from answer

    async def _call(self, stage: str, call: Awaitable[Answer]) -> Answer:
        return await _timed(stage, self._seconds, call)


def _arguments(submission: Submission, document_url: str, **optional: str | None) -> dict[str, Any]:
    return {
        "session_id": submission.session_id,
        "version": submission.version,
        "title": submission.title,
        "document_sha256": submission.sha256,
        "document_url": document_url,
        **{name: value for name, value in optional.items() if value is not None},
    }


async def check_reachable(settings: Settings, http: httpx.AsyncClient) -> None:
    """Make one request to each of Supabase's services.

    Raises `upstream_unavailable` or another of its kind.
    """

    async def reach(path: str) -> None:
        call = http.get(
            f"{settings.supabase_url}{path}", headers={"apikey": settings.supabase_publishable_key}
        )
        response = await _timed("reach", settings.upstream_timeout_seconds, call)
        if response.status_code >= 500:
            raise Problem("upstream_unavailable", f"{path} answered {response.status_code}.")

    # Without a user's token some of them answer 401, which is enough to know that they are up.
    await asyncio.gather(*map(reach, ("/auth/v1/health", "/rest/v1/", "/storage/v1/status")))


async def _timed(stage: str, seconds: float, call: Awaitable[Answer]) -> Answer:
    """Make one call of a client library: limit and time it, and turn what it raises into a Problem.

    Only the library's call is enclosed. storage3 (2.34.1) raises AttributeError, KeyError, TypeError and
    ValueError over answers that it cannot read.
    """
    record = logs.current()
    record.upstream_status = None
    try:
        with logs.stage(stage):
            async with asyncio.timeout(seconds):
                return await call
    except (TimeoutError, httpx.TransportError) as error:
        # The transport reports a lost connection as a timeout, too; the cause tells them apart.
        lost = isinstance(error.__cause__, aiohttp.ClientError) and not isinstance(
            error.__cause__, TimeoutError
        )
        cause = f"{stage}: {logs.describe(error)}"
        if isinstance(error, (TimeoutError, httpx.TimeoutException)) and not lost:
            raise Problem(
                "upstream_timeout", f"Supabase did not answer in time ({stage}).", cause=cause
            ) from error
        raise Problem(
            "upstream_unavailable", f"The connection to Supabase failed ({stage}).", cause=cause
        ) from error
    except StorageApiError as error:
        raise ErrorAnswer(stage, _status(error), str(error.code), str(error.message)) from error
    except APIError as error:
        sentence = error.details if isinstance(error.details, str) else None
        status = record.upstream_status or 0
        raise ErrorAnswer(stage, status, str(error.code), str(error.message), sentence) from error
    except (
        aiohttp.ClientError,
        httpx.HTTPError,
        httpx.InvalidURL,
        StorageException,
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
    ) as error:
        raise _unreadable(stage, logs.describe(error)) from error


def _parse(stage: str, model: type[Model], answer: object) -> Model:
    try:
        return model.model_validate(answer)
    except ValidationError as error:
        raise _unreadable(stage, logs.describe(error)) from error


def _unreadable(stage: str, cause: str) -> Problem:
    # The call may have taken effect all the same.
    detail = f"Unexpected response from Supabase ({stage})."
    return Problem("upstream_error", detail, retryable=True, cause=f"{stage}: {cause}")


def _explain(stage: str, status: int, reason: str, message: str) -> tuple[str, str, bool | None]:
    """Return code, detail and retryable of an error answer."""
    if (status in {401, 403} or reason in {"InvalidJWT", "bad_jwt"}) and not _is_our_misconfiguration(
        reason, message
    ):
        return "not_authenticated", "Supabase refuses the access token.", None
    # If Postgres is killed during a call, PostgREST (14.17) answers 400 with all fields empty.
    # Without its database storage-api (1.70.6) answers 500.
    lost = status in {429, 503} or (status >= 500 and status != 504 and stage in STORAGE_STAGES)
    if lost or reason in DATABASE_STOPS or (status, reason, message) == (400, "", ""):
        return "upstream_unavailable", f"Supabase is busy or down ({stage}).", None
    if status in {408, 504} or reason == STATEMENT_TIMEOUT:
        return "upstream_timeout", f"Supabase did not answer in time ({stage}).", None
    return "upstream_error", f"Supabase answered {status} ({stage}).", status >= 500


def _is_our_misconfiguration(reason: str, message: str) -> bool:
    """Tell whether another access token would be refused as well.

    Only the message shows it, as seen with storage-api 1.70.6 ("new row violates row-level security policy" and an
    expired token are both 403 Unauthorized) and with the gateway of hosted projects ("Invalid API key" has no code).
    """
    return reason == "42501" or "row-level security" in message or "api key" in message.lower()


def _storage_error(status: int, body: bytes) -> StorageApiError:
    """Return what storage3 makes of an error answer."""
    try:
        error = json.loads(body)
        return StorageApiError(error["message"], error["error"], error["statusCode"])
    except (KeyError, TypeError, ValueError):
        return StorageApiError("", "InternalError", status)


def _status(error: StorageApiError) -> int:
    # The HTTP status is nearly always 400; the real one is in the body, as a string.
    try:
        return int(error.status)
    except (TypeError, ValueError):
        return 0
