"""What runs while it is measured: the local Supabase, and in front of it the service, the peers and distance."""

import re
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import LiteralString, Self

import httpx
import psutil
import psycopg

from bench.load import User
from local import ROOT
from local.processes import Child, LocalError, accepts_connections, environment, free_ports
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
# and one foreign key, from agent to plan. Theirs have no reference to the stored document, and no checks, some of which
# call functions that only ours may call.
PEER_TABLES: LiteralString = """
create table public.peer_plan (like public.plan including all excluding constraints);
create table public.peer_agent (like public.agent including all excluding constraints);
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
    """The Supabase that is measured, and what is started in front of it. `stack` is None if it is another one."""

    def __init__(
        self, supabase_url: str, key: str, secret_key: str, logs: Path, stack: Stack | None = None
    ) -> None:
        self.supabase_url = supabase_url
        self.key = key
        self.secret_key = secret_key
        self._stack = stack
        self._logs = logs

    @classmethod
    def of(cls, stack: Stack, logs: Path) -> Self:
        return cls(stack.settings.supabase_url, stack.keys.publishable, stack.keys.secret, logs, stack)

    @property
    def stack(self) -> Stack:
        if self._stack is None:
            raise LocalError("This part needs the local Supabase.")
        return self._stack

    @property
    def is_local(self) -> bool:
        return self._stack is not None

    def make_peer_tables(self) -> None:
        with psycopg.connect(self.stack.postgres.url()) as connection:
            connection.execute(PEER_TABLES)

    def sign_up(self, count: int) -> list[User]:
        users = []
        key = {"apikey": self.key}
        with httpx.Client(base_url=f"{self.supabase_url}/auth/v1", timeout=30, trust_env=False) as auth:
            for _ in range(count):
                credentials = {"email": f"{uuid.uuid4().hex}@example.com", "password": uuid.uuid4().hex}
                if self.is_local:
                    answer = auth.post("/signup", json=credentials, headers=key)
                else:
                    # It may want the address confirmed first; the secret key need not ask.
                    admin = {"apikey": self.secret_key, "Authorization": f"Bearer {self.secret_key}"}
                    confirmed = {**credentials, "email_confirm": True}
                    auth.post("/admin/users", json=confirmed, headers=admin).raise_for_status()
                    grant = {"grant_type": "password"}
                    answer = auth.post("/token", params=grant, json=credentials, headers=key)
                session = answer.raise_for_status().json()
                users.append(User(session["user"]["id"], session["access_token"]))
        return users

    def remove(self, users: list[User]) -> None:
        """Remove users with their plans and agents; their documents stay, as in a project that removes a user."""
        admin = {"apikey": self.secret_key, "Authorization": f"Bearer {self.secret_key}"}
        with httpx.Client(base_url=f"{self.supabase_url}/auth/v1", timeout=60, trust_env=False) as auth:
            for user in users:
                auth.delete(f"/admin/users/{user.id}", headers=admin).raise_for_status()

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
        url = f"http://127.0.0.1:{ports[0]}" if ports else self.supabase_url
        (port,) = free_ports(1)
        child = self._child(
            name,
            COMMANDS[name],
            SUPABASE_URL=url,
            SUPABASE_JWT_ISSUER=f"{self.supabase_url}/auth/v1",
            SUPABASE_PUBLISHABLE_KEY=self.key,
            **(self._for_peers(ports) if name != SERVICE else {}),
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

    def _for_peers(self, ports: tuple[int, int] | None) -> dict[str, str]:
        settings, url = self.stack.settings, self.stack.postgres.url()
        if ports:
            url = url.replace(f":{settings.postgres_port}/", f":{ports[1]}/")
        return {"SUPABASE_SECRET_KEY": self.secret_key, "DATABASE_URL": url}

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
