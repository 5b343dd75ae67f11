"""The fixtures that several folders share: callers, and a service whose way to Supabase leads through a proxy."""

import random
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from local import ROOT
from tests import SEED
from tests.caller import Caller
from tests.conftest import RunningStack
from tests.faults.proxy import Proxy, behind
from tests.services import Process, ServiceWith, running_service


def pytest_report_header() -> str:
    return f"seed: {SEED}"


@pytest.fixture(scope="session")
def supabase(stack: Any) -> Iterator[httpx.Client]:
    with httpx.Client(
        base_url=stack.supabase_url, headers={"apikey": stack.publishable_key}, timeout=30
    ) as client:
        yield client


@pytest.fixture(scope="session")
def service(stack: Any) -> Iterator[httpx.Client]:
    limits = httpx.Limits(max_connections=100)
    with httpx.Client(base_url=stack.service_url, timeout=60, limits=limits) as client:
        yield client


@pytest.fixture
def user(stack: Any, service: httpx.Client, supabase: httpx.Client) -> Caller:
    account = stack.sign_up()
    return Caller(account.id, account.token, service, supabase)


@pytest.fixture
def stranger(stack: Any, service: httpx.Client, supabase: httpx.Client) -> Caller:
    account = stack.sign_up()
    return Caller(account.id, account.token, service, supabase)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def chance() -> random.Random:
    """Return a source of random numbers: the same in each run with the same SEED."""
    return random.Random(SEED)


@pytest.fixture(scope="session")
def deno_command() -> list[str | Path]:
    """Return how Deno runs a file: with the project's packages, and nothing from the network."""
    options = ("--no-remote", "--node-modules-dir=manual", "--allow-net", "--allow-env", "--allow-read")
    # The program itself, not npm's wrapper around it, which would leave it running when it is stopped.
    (deno,) = (ROOT / "node_modules").glob("@deno/*/deno")
    return [deno, "run", *options]


@pytest.fixture(scope="session")
async def proxy(stack: RunningStack, anyio_backend: str) -> AsyncIterator[Proxy]:
    if stack.local is None:
        pytest.skip("faults and attacks through a proxy are for a Supabase on this machine")
    async with Proxy(stack.supabase_url) as started:
        yield started


@pytest.fixture(scope="session")
def shared_process(
    proxy: Proxy, stack: RunningStack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Process]:
    settings = behind(
        proxy,
        stack,
        UPSTREAM_TIMEOUT_SECONDS="6",
    )
    with running_service(tmp_path_factory.mktemp("faults"), **settings) as process:
        yield process


@pytest.fixture
async def process(shared_process: Process, proxy: Proxy) -> AsyncIterator[Process]:
    """Yield a service behind the proxy, which passes everything on until told otherwise."""
    await proxy.heal()
    yield shared_process
    await proxy.heal()


@pytest.fixture(scope="module")
def service_with(stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceWith]:
    """Return a function that starts a service with more settings. It runs until the module's tests have ended."""
    with ExitStack() as running:

        def start(**settings: str) -> Process:
            return running.enter_context(
                running_service(
                    tmp_path_factory.mktemp("service"),
                    SUPABASE_URL=stack.supabase_url,
                    SUPABASE_PUBLISHABLE_KEY=stack.publishable_key,
                    **settings,
                )
            )

        yield start


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(timeout=120, limits=limits) as client:
        yield client
