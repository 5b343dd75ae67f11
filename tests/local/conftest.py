"""What the tests of the local Supabase share: they need one that is ours, and look at it over plain HTTP."""

from collections.abc import Iterator

import httpx
import psycopg
import pytest

from local.stack import Stack
from tests.caller import Caller
from tests.conftest import RunningStack


@pytest.fixture(scope="session")
def local(stack: RunningStack) -> Stack:
    if stack.local is None:
        pytest.skip("another Supabase than the local one is being used")
    return stack.local


@pytest.fixture(scope="session")
def anon(service: httpx.Client, supabase: httpx.Client) -> Caller:
    return Caller("", "", service, supabase)


@pytest.fixture(scope="session")
def service_role(local: Stack, service: httpx.Client) -> Iterator[Caller]:
    with httpx.Client(
        base_url=local.settings.supabase_url, headers={"apikey": local.keys.secret}, timeout=30
    ) as supabase:
        yield Caller("", "", service, supabase)


@pytest.fixture
def database(local: Stack) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """Return the database with a connection as its owner, postgres."""
    with psycopg.connect(local.postgres.url(), autocommit=True) as connection:
        yield connection
