"""Notifications delivered: a `greenlight notify` process sends them to a receiver on this machine."""

import asyncio
import base64
import secrets
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import LiteralString, Self

import psycopg

from bench.load import User
from bench.planners import Planners
from bench.servers import Bench
from local.processes import Child, environment, free_ports

SUBSCRIBER = "bench"
PATIENCE_SECONDS = 300.0
ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"

# As often as needed what the trigger wrote for one real event, each with an id of its own.
REPEAT: LiteralString = """
insert into greenlight.notification (subscriber_id, event_id, kind, occurred_at, user_id, data, run_after)
select n.subscriber_id, gen_random_uuid(), n.kind, n.occurred_at, n.user_id, n.data, n.run_after
from greenlight.notification as n
inner join greenlight.subscriber as s on s.id = n.subscriber_id and s.name = %s
cross join generate_series(2, %s)
"""


class Receiver:
    """Counts the ids that arrive, and answers each request at once."""

    def __init__(self) -> None:
        (self.port,) = free_ports(1)
        self._ids: set[bytes] = set()
        self._wanted = 0
        self._all = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def have(self, count: int) -> None:
        """Wait until so many different ones have arrived."""
        self._wanted = count
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._all.wait()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = (line.partition(b": ") for line in head.split(b"\r\n"))
                headers = {name.lower(): value for name, _, value in lines}
                await reader.readexactly(int(headers[b"content-length"]))
                writer.write(ANSWER)
                self._ids.add(headers[b"webhook-id"])
                if len(self._ids) == self._wanted:
                    self._all.set()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def deliver(bench: Bench, planners: Planners, user: User, count: int) -> float:
    """Return the seconds from the start of the notifier until so many have arrived."""
    with psycopg.connect(bench.stack.postgres.url(), autocommit=True) as owner:
        subscribe = "select public.claim_notifications(%s)"
        owner.execute("select set_config('request.jwt.claims', '{\"role\": \"service_role\"}', false)")
        owner.execute("set role service_role")
        owner.execute(subscribe, (SUBSCRIBER,))
        owner.execute("reset role")
        await planners.propose(user, f"# {uuid.uuid4()}\n".encode())
        owner.execute(REPEAT, (SUBSCRIBER, count))
        async with Receiver() as receiver:
            with tempfile.TemporaryDirectory(prefix="greenlight-bench-notifier-") as directory:
                notifier = _notifier(bench, receiver.port, Path(directory))
                began = time.perf_counter()
                notifier.start()
                try:
                    await receiver.have(count)
                    return time.perf_counter() - began
                finally:
                    notifier.stop()
                    owner.execute("set role service_role")
                    owner.execute("select public.forget_subscriber(%s)", (SUBSCRIBER,))


def _notifier(bench: Bench, port: int, directory: Path) -> Child:
    return Child(
        "notifier",
        [
            *(sys.executable, "-m", "greenlight", "notify"),
            *("--webhook", f"http://127.0.0.1:{port}/", "--subscriber", SUBSCRIBER),
            *("--concurrency", "16"),
        ],
        log=directory / "log",
        env=environment(
            SUPABASE_URL=bench.supabase_url,
            SUPABASE_SECRET_KEY=bench.secret_key,
            WEBHOOK_SECRET="whsec_" + base64.b64encode(secrets.token_bytes(32)).decode(),
            UI_URL="http://127.0.0.1:3000",
        ),
        cwd=directory,
    )
