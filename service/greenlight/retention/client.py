"""The Data API and Storage with the secret key."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, TypeVar

import httpx
from postgrest import APIError, SyncPostgrestClient
from postgrest.types import CountMethod
from pydantic import BaseModel, TypeAdapter, ValidationError
from storage3 import SyncStorageClient
from storage3.exceptions import StorageApiError
from storage3.utils import StorageException

from greenlight import BUCKET
from greenlight.retention.settings import RetentionSettings

T = TypeVar("T")


class Unavailable(Exception):  # noqa: N818 -- what is unavailable is Supabase
    """Supabase is unreachable, rejects the key, or returns an unexpected response."""


class StoredObject(BaseModel):
    name: str
    id: str


_NUMBER = TypeAdapter(int)
_OBJECTS = TypeAdapter(list[StoredObject])


class Supabase:
    def __init__(self, settings: RetentionSettings, http: httpx.Client) -> None:
        self._url = settings.supabase_url
        key = settings.supabase_secret_key.get_secret_value()
        headers = {"apikey": key, "Authorization": f"Bearer {key}"}
        self._data = SyncPostgrestClient(
            f"{self._url}/rest/v1", headers=headers, http_client=http, retry_enabled=False
        )
        self._bucket = SyncStorageClient(f"{self._url}/storage/v1/", headers, http_client=http).from_(BUCKET)

    def count_deleted(self, table: str, before: datetime) -> int:
        query = self._data.from_(table).select("id", count=CountMethod.exact).limit(1)
        answer = self._ask(query.lt("deleted_at", before.isoformat()).execute)
        return answer.count or 0

    def count_closed(self, before: datetime) -> int:
        """Return how many plans were closed before then without an approval; a session's newest may have to stay."""
        then = before.isoformat()
        query = self._data.from_("plan").select("id", count=CountMethod.exact).limit(1)
        query = query.or_(
            f"and(status.in.(changes_requested,rejected,withdrawn),decided_at.lt.{then}),"
            f"and(status.eq.proposed,expires_at.lt.{then}),"
            f"and(status.eq.superseded,decided_at.is.null,updated_at.lt.{then})"
        )
        return self._ask(query.execute).count or 0

    def purge_closed_plans(self, before: datetime, batch_size: int) -> int:
        arguments = {"closed_before": before.isoformat(), "batch_size": batch_size}
        return self._rpc("purge_closed_plans", arguments, _NUMBER)

    def purge_deleted_agents(self, before: datetime, batch_size: int) -> int:
        arguments = {"deleted_before": before.isoformat(), "batch_size": batch_size}
        return self._rpc("purge_deleted_agents", arguments, _NUMBER)

    def orphans(self, grace: timedelta, batch_size: int) -> Iterator[dict[str, str]]:
        """Yield all documents that no plan refers to, ids by name, in batches, each asked for when needed."""
        last = ""
        while True:
            arguments = {
                "older_than": f"{grace.total_seconds():.6f} seconds",
                "after_name": last,
                "batch_size": batch_size,
            }
            batch = self._rpc("orphaned_documents", arguments, _OBJECTS)
            if not batch:
                return
            yield {found.name: found.id for found in batch}
            last = batch[-1].name

    def remove(self, names: list[str]) -> tuple[set[str], dict[str, str]]:
        """Remove these documents. Return those that are gone, and the reasons that Storage gives for others.

        Storage refuses a whole batch because of one document, so a refused batch is halved until that one is
        alone. It leaves out of its answer what it may not remove, without an error.
        """
        try:
            answer = self._ask(lambda: self._bucket.remove(names))
        except StorageApiError as error:
            if len(names) == 1:
                return set(), {names[0]: f"{error.status} {error.code}"}
            half = len(names) // 2
            first, second = self.remove(names[:half]), self.remove(names[half:])
            return first[0] | second[0], first[1] | second[1]
        return {found.name for found in _read(answer, _OBJECTS)} & set(names), {}

    def _rpc(self, name: str, arguments: dict[str, Any], type_: TypeAdapter[T]) -> T:
        return _read(self._ask(self._data.rpc(name, arguments).execute).data, type_)

    def _ask(self, call: Callable[[], T]) -> T:
        """Make one call of a client library. All errors except StorageApiError become Unavailable."""
        try:
            return call()
        except StorageApiError:
            raise
        except httpx.TransportError as error:
            cause = f"{type(error).__name__}: {error}"
            raise Unavailable(f"Supabase cannot be reached at {self._url} ({cause}).") from None
        except APIError as error:
            raise Unavailable(f"Supabase refuses: {error.code} {error.message}") from None
        except (
            httpx.HTTPError,
            httpx.InvalidURL,
            StorageException,
            AttributeError,
            KeyError,
            TypeError,
            ValueError,
        ) as error:
            raise _unexpected(error) from None


def _read(answer: object, type_: TypeAdapter[T]) -> T:
    try:
        return type_.validate_python(answer)
    except ValidationError as error:
        raise _unexpected(error) from None


def _unexpected(error: Exception) -> Unavailable:
    return Unavailable(f"Unexpected response from Supabase ({type(error).__name__}).")


def connect() -> httpx.Client:
    return httpx.Client(
        timeout=httpx.Timeout(60, connect=5),
        event_hooks={"response": [_refuse_to_go_on]},
        trust_env=False,
    )


def _refuse_to_go_on(response: httpx.Response) -> None:
    if response.status_code in {401, 403}:
        raise Unavailable("Supabase refuses the key: SUPABASE_SECRET_KEY must be this project's secret key.")
    if response.status_code in {429, 502, 503, 504}:
        raise Unavailable(f"Supabase is busy or down: it answered {response.status_code}.")
