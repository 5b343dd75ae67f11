"""Calls to the database's functions with the secret key, by programs that keep running: builders and notifiers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx
from postgrest import APIError
from pydantic import TypeAdapter
from supabase import AsyncClient, AsyncClientOptions, create_async_client

from greenlight.admin import (
    SecretSettings,
    SupabaseRefusedError,
    SupabaseUnavailableError,
    SupabaseUnreadableError,
    async_client,
)

CALL_SECONDS = 10.0  # for a call to be answered

Answer = TypeVar("Answer")


class FunctionRefusedError(SupabaseRefusedError):
    """The function, or PostgREST in front of it, refuses the call."""

    def __init__(self, name: str, error: APIError) -> None:
        super().__init__(f"Supabase refuses {name}: {error.code} {error.message}")
        self.code = error.message
        self.details = error.details


class Rpc:
    def __init__(self, client: AsyncClient, http: httpx.AsyncClient) -> None:
        self._client = client
        self.http = http

    async def call(
        self,
        name: str,
        shape: TypeAdapter[Answer],
        arguments: dict[str, Any],
        seconds: float = CALL_SECONDS,
    ) -> Answer:
        try:
            async with asyncio.timeout(seconds):
                answer = (await self._client.rpc(name, arguments).execute()).data
            # An answer that is cut off or not JSON arrives as text.
            return shape.validate_python(answer)
        except (ValueError, RecursionError) as error:  # not that shape; a number of 5,000 digits; too deep
            raise SupabaseUnreadableError(f"{name}: unexpected answer") from error
        except APIError as error:
            # Without a code, or with an HTTP status in its place, it is not PostgREST's answer: a gateway's, or half
            # of one. PostgREST 14.17 answers with an empty code when Postgres goes away during a call.
            if not error.code or (error.code.isdecimal() and len(error.code) == 3):
                raise SupabaseUnavailableError(f"{name}: {error.code or 'no code'}") from error
            raise FunctionRefusedError(name, error) from error
        except (httpx.HTTPError, TimeoutError) as error:
            raise SupabaseUnavailableError(f"{name}: {type(error).__name__}") from error


@asynccontextmanager
async def connect(settings: SecretSettings) -> AsyncIterator[Rpc]:
    async with async_client(settings, CALL_SECONDS) as http:
        options = AsyncClientOptions(
            httpx_client=http,
            auto_refresh_token=False,
            persist_session=False,
            postgrest_client_retry=False,
        )
        key = settings.supabase_secret_key.get_secret_value()
        yield Rpc(await create_async_client(settings.supabase_url, key, options), http)
