"""The work: documents, one approval by each candidate, and many at a time."""

import asyncio
import hashlib
import itertools
import random
import ssl
import statistics
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import httpx

# At the slowest peer approvals wait in line, 64 at a time, with 300 ms for each of their calls.
TIMEOUT_SECONDS = 300
DRAIN_SECONDS = 30
TURN = 5
BUSY = {503, 504}  # the peers have no code of their own for this, and answer 500
FAILED: list[int] = []  # the status of everything that was not approved, in all runs
WORDS = (
    *(
        "agent",
        "plan",
        "inbox",
        "reply",
        "customer",
        "order",
        "refund",
        "invoice",
        "draft",
        "policy",
        "review",
    ),
    *(
        "approve",
        "escalate",
        "weekly",
        "report",
        "tool",
        "limit",
        "the",
        "a",
        "of",
        "and",
        "when",
        "for",
        "never",
    ),
)


@dataclass(frozen=True)
class User:
    id: str
    token: str


@dataclass
class Served:
    """Approvals by one candidate: seconds of each, of their stages, and of their server's CPU."""

    seconds: list[float] = field(default_factory=list)
    stages: Counter[str] = field(default_factory=Counter)
    cpu_seconds: float = 0

    def p50(self) -> float:
        return statistics.median(self.seconds)

    def stage(self, name: str) -> float:
        return self.stages[name] / len(self.seconds)

    def cpu(self) -> float:
        return self.cpu_seconds / len(self.seconds)


Approve = Callable[[User, bytes], Awaitable[dict[str, float]]]


def document(size: int) -> bytes:
    """Return markdown of this many bytes, the same ones each time."""
    dice = random.Random(size)
    lines = ["# Customer support agent\n"]
    length = len(lines[0])
    while length < size:
        heading = dice.random() < 0.1
        words = " ".join(dice.choices(WORDS, k=dice.randint(2, 5) if heading else dice.randint(8, 30)))
        lines.append(f"\n## {words.capitalize()}\n" if heading else f"- {words.capitalize()}.\n")
        length += len(lines[-1])
    return "".join(lines).encode()[:size]


class Clients:
    """Callers with kept connections, each with a client of its own.

    One httpx client for them all would look at each of its connections for every request, and at 64 callers that
    would be most of what is measured.
    """

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self._idle: list[httpx.AsyncClient] = []
        self._trust = ssl.create_default_context()

    @asynccontextmanager
    async def one(self) -> AsyncIterator[httpx.AsyncClient]:
        if not self._idle:
            client = httpx.AsyncClient(timeout=TIMEOUT_SECONDS, verify=self._trust, trust_env=False)
            self._idle.append(await self._stack.enter_async_context(client))
        client = self._idle.pop()
        try:
            yield client
        finally:
            self._idle.append(client)


def through(server: str, clients: Clients, act: str = "approve") -> Approve:
    """Approve, or propose, by asking a server: the service, or a peer."""

    async def approve(user: User, content: bytes) -> dict[str, float]:
        async with clients.one() as http:
            answer = await http.post(
                f"{server}/plan/{act}",
                headers={"Authorization": f"Bearer {user.token}"},
                json={
                    "plan_id": uuid.uuid4().hex,
                    "title": "Customer support agent",
                    "content": content.decode(),
                },
            )
        answer.raise_for_status()
        return dict(_timings(answer.headers.get("Server-Timing", "")))

    return approve


def _timings(header: str) -> Iterator[tuple[str, float]]:
    for part in filter(None, header.split(", ")):
        name, duration = part.split(";dur=")
        yield name, float(duration) / 1000


def floor(supabase_url: str, publishable_key: str, clients: Clients, act: str = "approve") -> Approve:
    """Approve, or propose, without a server: the three calls to Supabase that the service makes, and nothing else."""

    async def approve(user: User, content: bytes) -> dict[str, float]:
        headers = {"apikey": publishable_key, "Authorization": f"Bearer {user.token}"}
        session, sha256 = uuid.uuid4().hex, hashlib.sha256(content).hexdigest()
        path = f"{user.id}/{session}/{sha256}.md"
        async with clients.one() as http:
            upload = http.build_request(
                "POST",
                f"{supabase_url}/storage/v1/object/plans/{path}",
                headers=headers,
                files={"file": (f"{sha256}.md", content, "text/markdown")},
            )
            await upload.aread()  # in one piece: many small writes would be slower
            began = time.perf_counter()
            (await http.send(upload)).raise_for_status()
            uploaded = time.perf_counter()
            sign = await http.post(
                f"{supabase_url}/storage/v1/object/sign/plans/{path}",
                headers=headers,
                json={"expiresIn": 3600},
            )
            signed = time.perf_counter()
            arguments = {
                "session_id": session,
                "version": 1,
                "title": "Customer support agent",
                "document_sha256": sha256,
                "document_url": f"{supabase_url}/storage/v1{sign.raise_for_status().json()['signedURL']}",
            }
            rpc = await http.post(f"{supabase_url}/rest/v1/rpc/{act}_plan", headers=headers, json=arguments)
            rpc.raise_for_status().json()
        return {"upload": uploaded - began, "sign": signed - uploaded, "rpc": time.perf_counter() - signed}

    return approve


async def one_client(approve: Approve, users: list[User], content: bytes, count: int, served: Served) -> None:
    """One approval after the other."""
    for user in itertools.islice(itertools.cycle(users), count):
        began = time.perf_counter()
        stages = await approve(user, content)
        served.seconds.append(time.perf_counter() - began)
        served.stages.update(stages)


async def many_clients(  # noqa: PLR0913 -- named, and of different types
    approve: Approve, users: list[User], content: bytes, clients: int, seconds: float, *, drain: bool
) -> float:
    """Return the approvals per second of so many clients, each asking again as soon as it is answered.

    Only what was approved counts; what a server has no time for (503, 504, of a peer also 500) is asked
    again at once.
    """
    done = 0
    first = asyncio.Event()
    over = False

    async def client(user: User) -> None:
        nonlocal done
        while not over:
            try:
                await approve(user, content)
            except httpx.HTTPStatusError as error:
                peer = "problem+json" not in error.response.headers["content-type"]
                if error.response.status_code not in BUSY | ({500} if peer else set()):
                    raise RuntimeError(error.response.text) from error
                FAILED.append(error.response.status_code)
                continue
            done += 1
            first.set()

    async with asyncio.TaskGroup() as group:
        everybody = [group.create_task(client(users[number % len(users)])) for number in range(clients)]
        await first.wait()
        before, began = done, time.perf_counter()
        await asyncio.sleep(seconds)
        rate = (done - before) / (time.perf_counter() - began)
        # Requests of this measurement must not run into the next one, unless the server stops anyway.
        over = True
        _, unanswered = await asyncio.wait(everybody, timeout=DRAIN_SECONDS if drain else 0)
        for task in unanswered:
            task.cancel()
    return rate


async def approve_all(
    approve: Approve, users: list[User], contents: list[bytes], clients: int, count: int
) -> None:
    """Approve so many, each client one after the other."""
    work = iter(range(count))

    async def client(user: User) -> None:
        for number in work:
            await approve(user, contents[number % len(contents)])

    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(client(users[number % len(users)]))
