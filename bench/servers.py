"""What runs while it is measured: the local Supabase, and in front of it the service, the peers and distance."""

import re
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import LiteralString

import httpx
import psutil
import psycopg

from bench.load import User
from local import ROOT
from local.processes import Child, accepts_connections, environment, free_ports
from local.stack import Stack

SERVICE = "this service"
SQLALCHEMY = "the SQLAlchemy design"
IN_THREADS = "the SQLAlchemy design in threads"
PER_REQUEST = "a client per request"
FLOOR = "the floor"
COMMANDS = {
    SERVICE: ("greenlight", "serve"),
    SQLALCHEMY: ("bench.peers", "sqlalchemy"),
    IN_THREADS: ("bench.peers", "in-threads"),
    PER_REQUEST: ("bench.peers", "per-request"),
}

# The peers write tables of their own: the same columns and indexes, the plain policies and grants of most projects,
# and one foreign key, from agent to plan. Theirs have no reference to the stored document.
PEER_TABLES: LiteralString = """
create table public.peer_plan (like public.plan including all);
create table public.peer_agent (like public.agent including all);
alter table public.peer_plan alter column document_id drop not null;
alter table public.peer_plan alter column decided_at set default now();
alter table public.peer_agent add foreign key (plan_id) references public.peer_plan (id);
do $$
declare
    name text;
begin
    foreach name in array array['peer_plan', 'peer_agent'] loop
        execute format('alter table public.%I enable row level security', name);
        execute format('grant select, insert on public.%I to authenticated', name);
        execute format(
            'create policy own on public.%I to authenticated'
            ' using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()))',
            name
        );
    end loop;
end;
$$;
notify pgrst, 'reload schema';
"""


class Server:
    """One of the compared, running."""

    def __init__(self, name: str, url: str, child: Child) -> None:
        self.name = name
        self.url = url
        self.child = child
        self._process = psutil.Process(child.pid)

    def cpu_seconds(self) -> float:
        """User and system time of the process so far, as the operating system counts it."""
        # Linux names each process's clock by its id (CPUCLOCK_SCHED). It counts nanoseconds, and also the threads
        # that have ended; /proc counts ticks of 10 ms.
        return time.clock_gettime(~self.child.pid << 3 | 2)

    def memory_mib(self) -> float:
        return self._process.memory_info().rss / 2**20

    def stages(self) -> Counter[str]:
        """Seconds of each stage so far, from the service's own metrics."""
        metrics = httpx.get(f"{self.url}/metrics", trust_env=False).text
        found = re.findall(r'^greenlight_stage_seconds_sum\{stage="(\w+)"\} (\S+)$', metrics, re.MULTILINE)
        return Counter({stage: float(seconds) for stage, seconds in found})


class Bench:
    """The running stack, and what is started beside it."""

    def __init__(self, stack: Stack, logs: Path) -> None:
        self.stack = stack
        self.supabase_url = stack.settings.supabase_url
        self.key = stack.keys.publishable
        self._logs = logs

    def make_peer_tables(self) -> None:
        with psycopg.connect(self.stack.postgres.url()) as connection:
            connection.execute(PEER_TABLES)

    def sign_up(self, count: int) -> list[User]:
        users = []
        with httpx.Client(base_url=f"{self.supabase_url}/auth/v1", timeout=30, trust_env=False) as auth:
            for _ in range(count):
                credentials = {"email": f"{uuid.uuid4().hex}@example.com", "password": uuid.uuid4().hex}
                answer = auth.post("/signup", json=credentials, headers={"apikey": self.key})
                session = answer.raise_for_status().json()
                users.append(User(session["user"]["id"], session["access_token"]))
        return users

    @contextmanager
    def distance(self, round_trip: float) -> Iterator[tuple[int, int]]:
        """Return ports under which API and Postgres are that many seconds of round trip away."""
        settings = self.stack.settings
        ports = free_ports(2)
        pairs = [f"{ports[0]}:{settings.api_port}", f"{ports[1]}:{settings.postgres_port}"]
        child = self._child("proxy", ["bench.proxy", str(round_trip), *pairs])
        child.start()
        try:
            child.wait_until(lambda: all(map(accepts_connections, ports)))
            yield ports[0], ports[1]
        finally:
            child.kill()

    @contextmanager
    def server(self, name: str, ports: tuple[int, int] | None = None, **variables: str) -> Iterator[Server]:
        """Run one of the compared; it reaches API and Postgres by these ports."""
        settings = self.stack.settings
        api_port, postgres_port = ports or (settings.api_port, settings.postgres_port)
        (port,) = free_ports(1)
        child = self._child(
            name,
            COMMANDS[name],
            SUPABASE_URL=f"http://127.0.0.1:{api_port}",
            SUPABASE_JWT_ISSUER=f"{self.supabase_url}/auth/v1",
            SUPABASE_PUBLISHABLE_KEY=self.key,
            SUPABASE_SECRET_KEY=self.stack.keys.secret,
            DATABASE_URL=self.stack.postgres.url().replace(
                f":{settings.postgres_port}/", f":{postgres_port}/"
            ),
            HOST="127.0.0.1",
            PORT=str(port),
            METRICS="true",
            SERVICE_URL=f"http://127.0.0.1:{port}",
            **variables,
        )
        child.start()
        try:
            url = f"http://127.0.0.1:{port}"
            child.wait_until(lambda: answers(port))
            yield Server(name, url, child)
        finally:
            # No client waits for an answer any more: there is nothing to finish.
            child.kill()

    def cold_start(self) -> float:
        """Return the seconds from the start of the service's process to its first answer."""
        began = time.perf_counter()
        with self.server(SERVICE):
            return time.perf_counter() - began

    def _child(self, name: str, arguments: list[str] | tuple[str, ...], **variables: str) -> Child:
        log = self._logs / f"bench-{name.replace(' ', '-')}.log"
        command = [sys.executable, "-m", *arguments]
        return Child(name, command, log=log, env=environment(**variables), cwd=ROOT)


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False
