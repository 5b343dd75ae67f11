"""Supabase with the project's secret key: settings, client and errors of the commands that hold it.

The HTTP service must not have the key, and never imports this.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from http.cookiejar import DefaultCookiePolicy
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_settings import BaseSettings

from greenlight import BUCKET
from greenlight.keys import SecretKey
from greenlight.settings import ENVIRONMENT, LogLevel, Origin

PAGE = 1000  # rows or names in one answer; the Data API has a limit of its own
DATA = "/rest/v1"
OBJECT = "/storage/v1/object"
# The Data API's first schema need not be ours.
SCHEMA = {"Accept-Profile": "public", "Content-Profile": "public"}

Shape = TypeVar("Shape")


class SecretSettings(BaseSettings):
    model_config = ENVIRONMENT

    supabase_url: Origin
    supabase_secret_key: SecretKey
    log_level: LogLevel = "info"  # of a builder


class SupabaseError(Exception):
    """Supabase did not do what it was asked to do."""


class SupabaseUnavailableError(SupabaseError):
    """Supabase cannot be reached, cannot serve now, or its answer cannot be read: try again later."""


class SupabaseUnreadableError(SupabaseUnavailableError):
    """It did what it was asked to do, but its answer cannot be read."""


class SupabaseRefusedError(SupabaseError):
    """Supabase understood the call and refuses it, now and later."""


class StoredObject(BaseModel):
    name: str
    id: str


class ErrorBody(BaseModel):
    """What the Data API says of an error."""

    code: str | None = None
    message: str | None = None
    details: str | None = None


class _StorageErrorBody(BaseModel):
    error: str
    statusCode: str  # noqa: N815 -- Storage's name


_ROWS = TypeAdapter(list[dict[str, Any]])
_OBJECTS = TypeAdapter(list[StoredObject])


class Supabase:
    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def rpc(self, name: str, arguments: dict[str, Any], shape: TypeAdapter[Shape]) -> Shape:
        return _parse(self._send("POST", f"{DATA}/rpc/{name}", json=arguments), shape)

    def rows(
        self, table: str, columns: str = "*", *, key: Sequence[str] = ("id",), **filters: str
    ) -> Iterator[dict[str, Any]]:
        """Yield all rows in the order of the table's key, page by page."""
        query = {"select": columns, "order": ",".join(key), "limit": str(PAGE), **filters}
        while True:
            page = _parse(self._send("GET", f"{DATA}/{table}", params=query), _ROWS)
            if not page:
                return
            yield from page
            equal = [f"{column}.eq.{page[-1][column]}" for column in key]
            above = [f"{column}.gt.{page[-1][column]}" for column in key]
            after = (f"and({','.join([*equal[:place], above[place]])})" for place in range(len(key)))
            query["or"] = f"({','.join(after)})"

    def count(self, table: str, **filters: str) -> int:
        query = {"select": "id", "limit": "1", **filters}
        answer = self._send("GET", f"{DATA}/{table}", params=query, headers={"Prefer": "count=exact"})
        _parse(answer, _ROWS)
        total = answer.headers.get("Content-Range", "").rpartition("/")[2]
        if not total.isdecimal():
            raise unexpected(answer)
        return int(total)

    def folder(self, path: str) -> Iterator[str]:
        """Yield the names in a folder of the bucket."""
        offset = 0
        while True:
            query = {"prefix": path, "limit": PAGE, "offset": offset}
            page = _parse(self._send("POST", f"{OBJECT}/list/{BUCKET}", json=query), _ROWS)
            if not page:
                return
            yield from (entry["name"] for entry in page)
            offset += len(page)

    def orphans(self, older_than: timedelta, batch_size: int | None = None) -> Iterator[dict[str, str]]:
        """Yield all documents that no plan refers to, ids by name, in batches, each asked for when needed."""
        last = ""
        while True:
            arguments = {
                "older_than": f"{older_than.total_seconds():.6f} seconds",
                "after_name": last,
                "batch_size": batch_size or PAGE,
            }
            batch = self.rpc("orphaned_documents", arguments, _OBJECTS)
            if not batch:
                return
            yield {document.name: document.id for document in batch}
            last = batch[-1].name

    @contextmanager
    def document(self, path: str) -> Iterator[httpx.Response]:
        """Yield Storage's answer with the document's bytes, still to be read."""
        with (
            self._errors(),
            self._http.stream("GET", f"{OBJECT}/authenticated/{BUCKET}/{path}") as answer,
        ):
            yield answer

    def remove(self, names: list[str]) -> tuple[set[str], dict[str, str]]:
        """Remove these documents. Return those that are gone, and the reasons that Storage gives for others.

        Storage refuses a whole batch because of one document, so a refused batch is halved until that one is
        alone. It leaves out of its answer what it may not remove, without an error.
        """
        answer = self._send("DELETE", f"{OBJECT}/{BUCKET}", json={"prefixes": names})
        if answer.is_success:
            return {removed.name for removed in _parse(answer, _OBJECTS)} & {*names}, {}
        if len(names) == 1:
            try:
                error = _StorageErrorBody.model_validate_json(answer.content)
            except ValidationError:
                raise unexpected(answer) from None
            return set(), {names[0]: f"{error.statusCode} {error.error}"}
        half = len(names) // 2
        first, second = self.remove(names[:half]), self.remove(names[half:])
        return first[0] | second[0], first[1] | second[1]

    def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        with self._errors():
            return self._http.request(method, path, **request)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except httpx.TransportError as error:
            cause = f"{type(error).__name__}: {error}"
            where = str(self._http.base_url).rstrip("/")
            raise SupabaseUnavailableError(f"Supabase cannot be reached at {where} ({cause}).") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise SupabaseUnavailableError(
                f"Unexpected response from Supabase ({type(error).__name__})."
            ) from None


def _parse(answer: httpx.Response, shape: TypeAdapter[Shape]) -> Shape:
    if not answer.is_success:
        error = error_of(answer)
        kind = SupabaseUnavailableError if answer.status_code >= 500 else SupabaseRefusedError
        told = f"{error.code or ''} {error.message or ''}".strip() or "no reason"
        raise kind(f"Supabase answered {answer.status_code} to {answer.request.url.path}: {told}.")
    try:
        return shape.validate_json(answer.content)
    except ValidationError:
        raise unexpected(answer) from None


def error_of(answer: httpx.Response) -> ErrorBody:
    try:
        return ErrorBody.model_validate_json(answer.content)
    except ValidationError:  # a gateway's own
        return ErrorBody()


def unexpected(answer: httpx.Response) -> SupabaseUnavailableError:
    return SupabaseUnavailableError(f"Unexpected response from Supabase ({answer.request.url.path}).")


@contextmanager
def connect(settings: SecretSettings) -> Iterator[Supabase]:
    with httpx.Client(
        timeout=httpx.Timeout(60, connect=5), event_hooks={"response": [check_status]}, **_common(settings)
    ) as http:
        http.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=()))
        yield Supabase(http)


def async_client(settings: SecretSettings, seconds: float) -> httpx.AsyncClient:
    async def check(response: httpx.Response) -> None:
        check_status(response)
        # postgrest's error does not tell the status.
        if response.status_code >= 500:
            raise SupabaseUnavailableError(f"Supabase answered {response.status_code}.")

    timeout = httpx.Timeout(seconds, connect=5)
    http = httpx.AsyncClient(timeout=timeout, event_hooks={"response": [check]}, **_common(settings))
    http.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=()))
    return http


def secret_headers(key: str) -> dict[str, str]:
    return {"apikey": key, "Authorization": f"Bearer {key}", **SCHEMA}


def _common(settings: SecretSettings) -> dict[str, Any]:
    headers = secret_headers(settings.supabase_secret_key.get_secret_value())
    return {"base_url": settings.supabase_url, "headers": headers, "trust_env": False}


def check_status(response: httpx.Response) -> None:
    # The status alone decides here: a gateway's refusals have no body that can be relied on.
    if response.status_code in {401, 403}:
        raise SupabaseRefusedError(
            "Supabase refuses the key: SUPABASE_SECRET_KEY is not this project's secret key."
        )
    if response.status_code in {429, 502, 503, 504}:
        raise SupabaseUnavailableError(f"Supabase is busy or down: it answered {response.status_code}.")
