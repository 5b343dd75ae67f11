"""A local Supabase for the builders alone, owners who approve plans, and builders in this process or in their own."""

import asyncio
import contextlib
import os
import subprocess
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from pydantic import SecretStr

from greenlight.admin import SecretSettings
from greenlight.builder.builder import Builder, BuildFunction, Options
from greenlight.builder.job import Job, State
from greenlight.builder.metrics import Metrics
from greenlight.builder.queue import Queue
from greenlight.rpc import connect
from tests.caller import Caller
from tests.conftest import RunningStack, elsewhere, local_stack
from tests.plan import sha256
from tests.services import CommandProcess, command_process

Json = Any
SECONDS = 60.0  # that a test waits for something at most


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """Yield a stack for these tests alone: builders take whatever waits, and other tests leave builds.

    In another Supabase there must be no builds of others, and only one process of tests.
    """
    directory = tmp_path_factory.mktemp("builder")
    if "SUPABASE_URL" not in os.environ:
        with local_stack(directory) as running:
            yield running
        return
    if "PYTEST_XDIST_WORKER" in os.environ:
        pytest.skip("in another Supabase, these tests run in one process: --numprocesses=0")
    with contextmanager(elsewhere)(directory) as running:
        as_service = {"apikey": running.secret_key, "Authorization": f"Bearer {running.secret_key}"}
        others = httpx.get(
            f"{running.supabase_url}/rest/v1/build",
            params={"select": "id", "status": "in.(queued,running)", "limit": 1},
            headers=as_service,
        )
        if others.raise_for_status().json():
            pytest.skip("this Supabase has builds that are not ours, and our builders would take them")
        yield running


class Owner(Caller):
    """A signed-up user who approves plans, and looks at what came of them."""

    def agent(self, agent_id: str) -> Json:
        (agent,) = self.rows("agent", id=f"eq.{agent_id}")
        return agent

    def builds(self, agent_id: str) -> list[Json]:
        return self.rows("build", agent_id=f"eq.{agent_id}", order="created_at")

    def build(self, agent_id: str) -> Json:
        (build,) = self.builds(agent_id)
        return build

    def status(self, agent_id: str) -> tuple[str, str, int]:
        """Return the agent's status, and its newest build's status and attempt."""
        build = self.builds(agent_id)[-1]
        return self.agent(agent_id)["status"], build["status"], build["attempt"]


@pytest.fixture
def owner(stack: RunningStack) -> Iterator[Owner]:
    account = stack.sign_up()
    key = {"apikey": stack.publishable_key}
    with (
        httpx.Client(base_url=stack.service_url, timeout=60) as service,
        httpx.Client(base_url=stack.supabase_url, headers=key, timeout=30) as supabase,
    ):
        yield Owner(account.id, account.token, service, supabase)
    with contextlib.suppress(httpx.HTTPStatusError):  # a test may have deleted the user itself
        # With the builds that are left, which the next test's builders would take.
        stack.delete_user(account.id)
    with httpx.Client(
        base_url=stack.supabase_url, headers={"apikey": stack.secret_key}, timeout=30
    ) as client:
        cleaner = Caller(account.id, stack.secret_key, client, client)
        while folders := cleaner.folders():
            names = [
                f"{account.id}/{folder}/{name}" for folder in folders for name in cleaner.objects(folder)
            ]
            removed = cleaner.remove(*names)
            assert removed.is_success, removed.text


def gone(pids: list[int]) -> bool:
    """Return whether none of the processes runs any more."""

    def runs(pid: int) -> bool:
        try:
            return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    return not any(map(runs, pids))


def until(fact: Callable[[], Any], seconds: float = SECONDS) -> Any:
    """Wait until the condition is true, and return its value."""
    deadline = time.monotonic() + seconds
    while not (found := fact()):
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.02)
    return found


async def eventually(fact: Callable[[], Any], seconds: float = SECONDS) -> Any:
    """Like `until`, but builders in this process keep running."""
    deadline = time.monotonic() + seconds
    while not (found := await asyncio.to_thread(fact)):
        assert time.monotonic() < deadline, "it did not come to be"
        await asyncio.sleep(0.02)
    return found


async def reaches(owner: Owner, agent_id: str, status: tuple[str, str, int]) -> None:
    """Wait until the agent, its newest build and that build's attempt are so."""
    await eventually(lambda: owner.status(agent_id) == status)


@asynccontextmanager
async def builder(
    stack: RunningStack,
    build: BuildFunction,
    *,
    url: str | None = None,
    ready: Callable[[float], None] | None = None,
    **options: Any,
) -> AsyncIterator[Builder]:
    """Run a builder in this process until the end of the block."""
    settings = SecretSettings(
        supabase_url=url or stack.supabase_url, supabase_secret_key=SecretStr(stack.secret_key)
    )
    async with connect(settings) as rpc:
        chosen = Options(**{"poll_seconds": 0.1, "grace": 0, **options})
        started = Builder(build, Queue(rpc), chosen, Metrics(), ready)
        running = asyncio.create_task(started.run())
        try:
            yield started
        finally:
            started.stop()
            await running


@contextmanager
def builder_process(
    stack: RunningStack,
    directory: Path,
    *command: str,
    url: str | None = None,
    variables: Mapping[str, str] | None = None,
    user: Sequence[str] = (),
    stdin: Any = subprocess.DEVNULL,
    flags: Sequence[str] = (),
    **options: Any,
) -> Iterator[CommandProcess]:
    """Run `greenlight build` with these options and variables; it is killed at the end of the block."""
    arguments = [
        f"--{key.replace('_', '-')}={value}" for key, value in {"poll_seconds": 0.1, **options}.items()
    ]
    given = {"SUPABASE_URL": url or stack.supabase_url, "SUPABASE_SECRET_KEY": stack.secret_key}
    with command_process(
        directory,
        *("build", *arguments, *flags, "--", *command),
        variables={**given, **(variables or {})},
        user=user,
        stdin=stdin,
    ) as process:
        yield process


class Reports(State):
    """Remembers every report, where a builder would send only the last ones."""

    def __init__(self) -> None:
        super().__init__()
        self.all: list[tuple[int | None, str | None]] = []

    def add(self, progress: int | None, message: str | None) -> None:
        self.all.append((progress, message))
        super().add(progress, message)


def new_job(document: bytes = b"# A plan\n", title: str = "A plan", **others: Any) -> tuple[Job, Reports]:
    reports = Reports()
    job = Job(
        build_id=str(uuid.uuid4()),
        attempt=1,
        agent_id=str(uuid.uuid4()),
        plan_id=str(uuid.uuid4()),
        user_id=str(uuid.uuid4()),
        session_id="session",
        version=3,
        title=title,
        document_sha256=sha256(document),
        document=document,
        state=reports,
        **others,
    )
    return job, reports
