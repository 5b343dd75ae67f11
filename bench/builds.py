"""The hand-off to builders: builds claimed and finished per second, how soon a build starts, what idling costs.

In the database, each claim and each finish is a transaction of its own, on connections that hold the service role;
procrastinate's functions are called in the same way, on the same server, in turn. Each of our builds also moves its
agent and writes the audit log. So its jobs are measured with the same work, too: the transaction that finishes one
updates an agent and writes an audit row, as a project that uses it would. Its statements are sent in one go.
"""

import hashlib
import itertools
import random
import statistics
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import LiteralString, Self

import httpx
import procrastinate.schema
import psutil
import psycopg

from bench.database import Clone, Connection, approve
from bench.load import User
from bench.servers import Bench
from local.processes import Child, environment

QUEUED = 10_000
WORKERS = (1, 4)

# One finished build for each agent that has none open.
FINISHED: LiteralString = """
insert into public.build (
    user_id, agent_id, plan_id, status, attempt, run_after, worker, progress, created_at, started_at, finished_at
)
select user_id, id, plan_id, 'succeeded', 1, created_at, 'bench', 100, created_at, created_at, created_at
from public.agent
"""

LOGS: LiteralString = """
insert into public.build_log (user_id, build_id, attempt, content) select user_id, id, 1, 'Done.' from public.build
"""

QUEUE: list[LiteralString] = [
    "delete from public.build where status in ('queued', 'running')",
    "update public.agent set status = 'active' where status = 'building'",
    "update public.agent set status = 'building' where id in (select id from public.agent limit %(count)s)",
    """
    insert into public.build (user_id, agent_id, plan_id, status, run_after)
    select user_id, id, plan_id, 'queued', now() from public.agent where status = 'building'
    """,
]

# 1,000 users have one queued build each, and one user has all others.
OTHERS = 1_000
ONE_USERS = 100_000
ONE_USERS_QUEUE: tuple[list[LiteralString], int] = (
    [
        *QUEUE[:3],
        """
    with owner as (select id, row_number() over (order by id) as n from auth.users),
    waiting as (
        select *, row_number() over (partition by user_id order by id) as n
        from public.agent
        where status = 'building'
    )
    insert into public.build (user_id, agent_id, plan_id, status, run_after)
    select
        case when waiting.n = 1 and owner.n between 2 and 1001 then owner.id else one.id end,
        waiting.id, waiting.plan_id, 'queued', now()
    from waiting join owner on owner.id = waiting.user_id join owner as one on one.n = 1
    """,
    ],
    OTHERS + ONE_USERS,
)
NEW: LiteralString = """
with agent as (
    update public.agent set status = 'building'
    where id = (
        select id from public.agent
        where status = 'active' and user_id not in (select user_id from public.build where finished_at is null)
        limit 1
    )
    returning id, user_id, plan_id
)
insert into public.build (user_id, agent_id, plan_id, status, run_after)
select user_id, id, plan_id, 'queued', now() from agent returning id
"""

CLAIM: LiteralString = "select build_id, attempt from public.claim_builds('bench', %s, 60)"
FINISH: LiteralString = "select (public.finish_build(%s, %s)).status"

NOTIFICATIONS = 10_000
TOLD = 50  # approvals with a subscriber, then as many without
NOTIFY: LiteralString = """
insert into greenlight.notification (subscriber_id, event_id, kind, occurred_at, user_id, data, run_after)
select s.id, gen_random_uuid(), 'plan.proposed', now(), p.user_id, jsonb_build_object('plan_id', p.id), now()
from (select id, user_id from public.plan limit 100) as p
cross join generate_series(1, %s / 100)
inner join greenlight.subscriber as s on s.name = 'bench'
"""
CLAIM_NOTIFICATIONS: LiteralString = (
    "select notification_id, attempt from public.claim_notifications('bench', 10, 60)"
)
FINISH_NOTIFICATION: LiteralString = "select public.finish_notification(%s, %s)"

PROCRASTINATE_QUEUE: list[LiteralString] = [
    "truncate procrastinate_jobs cascade",
    """
    insert into procrastinate_jobs (queue_name, task_name, priority, args)
    select 'default', 'build', 0, '{"agent": "8d5c6f0e-6f0e-4d5c-8d5c-6f0e8d5c6f0e"}' from generate_series(1, %(count)s)
    """,
]
# What a project has beside its jobs: an agent for each, and an audit log with the columns and indexes of ours.
ADOPTERS: list[LiteralString] = [
    "drop table if exists procrastinate.agent, procrastinate.audit",
    "create table procrastinate.agent (like public.agent including all)",
    "create table procrastinate.audit (like public.agent_event including all)",
    "insert into procrastinate.agent select * from public.agent limit %(count)s",
    "update procrastinate.agent set status = 'building'",
    """
    update procrastinate_jobs as job set args = jsonb_build_object('agent', agent.id)
    from (select id, row_number() over () as n from procrastinate.agent) as agent
    where agent.n = job.id
    """,
]
UPDATE_AGENT: LiteralString = (
    "update procrastinate.agent set status = 'active', updated_at = now() where id = %s"
)
AUDIT: LiteralString = """
insert into procrastinate.audit (
    user_id, agent_id, plan_id, kind, from_status, to_status, version, document_sha256, actor_role
)
select user_id, id, plan_id, 'status_changed', 'building', 'active', 1, %s, 'service_role'
from procrastinate.agent where id = %s
"""
SHA256 = hashlib.sha256(b"").hexdigest()
FETCH: LiteralString = "select id, status, args ->> 'agent' from procrastinate_fetch_job_v2(null, %s)"
END: LiteralString = "select procrastinate_finish_job_v1(%s, 'succeeded', false)"


def add_finished(clone: Clone) -> None:
    """Give each agent a build that has ended, with a log."""
    _replica(clone, [FINISHED, LOGS], 0)
    clone.root.execute("vacuum (analyze, freeze) public.build, public.build_log")


def builds(
    clone: Clone,
    workers: int,
    count: int,
    at_a_time: int = 1,
    queue: tuple[Sequence[LiteralString], int] = (QUEUE, QUEUED),
) -> float:
    """Return how many builds per second these workers claim and finish, with this queue at the start.

    Each finish is a call of its own; a claim takes `at_a_time`, as a builder with that `--concurrency` does.
    """
    _replica(clone, *queue)

    def work(connection: Connection) -> None:
        for build in connection.execute(CLAIM, (at_a_time,), prepare=True).fetchall():
            (row,) = connection.execute(FINISH, build, prepare=True).fetchall()
            if row != ("active",):
                raise RuntimeError(f"not finished: {row}")

    def connect() -> Connection:
        return builder(clone)

    return at_a_time * _rate(connect, work, workers, count // at_a_time)


def turns(clone: Clone) -> float:
    """Return how many builds are handed out until it is the turn of a new one, whose owner has no other."""
    _replica(clone, *ONE_USERS_QUEUE)
    with clone.root.transaction():
        clone.root.execute("set local session_replication_role = replica")
        new = clone.root.execute(NEW).fetchone()
    with builder(clone) as connection:
        for claims in itertools.count(1):
            ((build, _),) = connection.execute(CLAIM, (1,), prepare=True).fetchall()
            if new == (build,):
                return claims
    raise RuntimeError("not handed out")


def notifications(clone: Clone, count: int) -> float:
    """Return how many of these notifications one worker claims, ten at a time, and finishes per second."""
    with builder(clone) as connection:
        connection.execute(CLAIM_NOTIFICATIONS)  # subscribes
        clone.root.execute(NOTIFY, (count,))
        clone.root.execute("vacuum (analyze) greenlight.notification")
        began = time.perf_counter()
        for _ in range(count // 10):
            for claimed in connection.execute(CLAIM_NOTIFICATIONS, prepare=True).fetchall():
                (row,) = connection.execute(FINISH_NOTIFICATION, claimed, prepare=True).fetchall()
                if row != (True,):
                    raise RuntimeError(f"not finished: {claimed}")
        seconds = time.perf_counter() - began
        connection.execute("select public.forget_subscriber('bench')")
    return count / seconds


def subscribed(clone: Clone, rounds: int, count: int) -> tuple[list[float], list[float]]:
    """Return the seconds of an approval, as the median of each round: without a subscriber, and with one."""
    medians: dict[bool, list[float]] = {False: [], True: []}
    with clone.connect("authenticator") as user, builder(clone) as service_role:
        for number in range(rounds + 1):
            seconds: dict[bool, list[float]] = {False: [], True: []}
            for turn in range(max(2, count // TOLD)):
                for told in (False, True) if turn % 2 else (True, False):
                    documents = clone.documents(TOLD)
                    if told:
                        service_role.execute(CLAIM_NOTIFICATIONS)  # subscribes
                    for document in documents:
                        began = time.perf_counter()
                        approve(user, document)
                        seconds[told].append(time.perf_counter() - began)
                    if told:
                        service_role.execute("select public.forget_subscriber('bench')")
            if number:  # the first round fills caches
                for told, of in seconds.items():
                    medians[told].append(statistics.median(of))
    return medians[False], medians[True]


def builder(clone: Clone) -> Connection:
    connection = clone.connect("authenticator", autocommit=True)
    connection.execute("set role service_role")
    connection.execute("""select set_config('request.jwt.claims', '{"role": "service_role"}', false)""")
    return connection


def add_procrastinate(clone: Clone) -> None:
    clone.root.execute("create schema procrastinate")
    clone.root.execute("set search_path = procrastinate, public")
    clone.root.execute(procrastinate.schema.SchemaManager.get_schema().encode())


def jobs(clone: Clone, workers: int, count: int, *, same_work: bool = False) -> float:
    """Return the same for procrastinate's jobs. With the same work, each also moves an agent and is logged."""
    for statement in [*PROCRASTINATE_QUEUE, *(ADOPTERS if same_work else [])]:
        clone.root.execute(statement, {"count": QUEUED} if "%(" in statement else None)
    clone.root.execute("vacuum (analyze) procrastinate_jobs")
    if same_work:
        clone.root.execute("vacuum (analyze) procrastinate.agent, procrastinate.audit")

    def work(connection: Connection) -> None:
        ((job, _, agent),) = connection.execute(FETCH, (ids[connection],), prepare=True).fetchall()
        if not same_work:
            connection.execute(END, (job,), prepare=True)
            return
        with connection.pipeline(), connection.transaction():
            connection.execute(UPDATE_AGENT, (agent,), prepare=True)
            connection.execute(AUDIT, (SHA256, agent), prepare=True)
            connection.execute(END, (job,), prepare=True)

    ids: dict[Connection, int] = {}

    def connect() -> Connection:
        connection = clone.connect("supabase_admin", autocommit=True)
        connection.execute("set search_path = procrastinate")
        row = connection.execute("select worker_id from procrastinate_register_worker_v1()").fetchone()
        ids[connection] = row[0] if row else 0
        return connection

    return _rate(connect, work, workers, count)


def _replica(clone: Clone, statements: Sequence[LiteralString], count: int) -> None:
    with clone.root.transaction():
        clone.root.execute("set local session_replication_role = replica")
        for statement in statements:
            clone.root.execute(statement, {"count": count} if "%(" in statement else None)
    clone.root.execute("vacuum (analyze) public.build, public.agent")


def _rate(
    connect: Callable[[], Connection], work: Callable[[Connection], None], workers: int, count: int
) -> float:
    connections = [connect() for _ in range(workers)]
    failures: list[Exception] = []

    def loop(connection: Connection) -> None:
        try:
            for _ in range(count // workers):
                work(connection)
        except (psycopg.Error, RuntimeError, ValueError) as error:
            failures.append(error)

    threads = [threading.Thread(target=loop, args=[connection]) for connection in connections]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    for connection in connections:
        connection.close()
    if failures:
        raise failures[0]
    return count // workers * workers / seconds


# Through the Data API -----------------------------------------------------------------------------------


class IdleBuilder:
    """`greenlight build` with the default options, running; its command notes when it starts."""

    def __init__(self, bench: Bench) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="greenlight-bench-builder-")
        directory = Path(self._directory.name)
        self.started = directory / "started"
        self._child = Child(
            "builder",
            [
                *(sys.executable, "-m", "greenlight", "build", "--"),
                *("sh", "-c", f"echo $GREENLIGHT_AGENT_ID $(date +%s.%N) >> {self.started}"),
            ],
            log=directory / "log",
            env=environment(SUPABASE_URL=bench.supabase_url, SUPABASE_SECRET_KEY=bench.secret_key),
            cwd=directory,
        )

    def __enter__(self) -> Self:
        self._child.start()
        self._child.wait_until(lambda: "builder_started" in self._child.log.read_text())
        time.sleep(2)  # after its first calls
        return self

    def __exit__(self, *_: object) -> None:
        self._child.stop()
        self._directory.cleanup()

    def share_of_a_core(self, seconds: float) -> float:
        """Return how much of one core it takes while there is nothing to do, in percent."""
        builder = psutil.Process(self._child.pid)
        processes = [builder, *builder.children(recursive=True)]
        before = sum(sum(process.cpu_times()[:2]) for process in processes)
        time.sleep(seconds)
        return 100 * (sum(sum(process.cpu_times()[:2]) for process in processes) - before) / seconds

    def start_times(self, bench: Bench, user: User, count: int) -> list[float]:
        """Approve so many plans, one after the other; return the seconds from each answer to the command's start."""
        dice = random.Random(count)
        seconds = []
        with httpx.Client(base_url=bench.supabase_url, timeout=30) as http:
            http.headers.update({"apikey": bench.key, "Authorization": f"Bearer {user.token}"})
            for _ in range(count):
                agent = _approve(http, user.id)
                answered = time.time()
                seconds.append(self._start_of(agent) - answered)
                time.sleep(dice.uniform(0.2, 1.2))  # so that it is idle again, at any point between two polls
        return seconds

    def _start_of(self, agent: str) -> float:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for line in self.started.read_text().splitlines() if self.started.exists() else []:
                if line.startswith(agent) and "." in line.rpartition(" ")[2]:
                    return float(line.rpartition(" ")[2])
            time.sleep(0.005)
        raise RuntimeError("the command did not start")


def _approve(http: httpx.Client, user_id: str) -> str:
    session = uuid.uuid4().hex
    content = f"# {session}\n".encode()
    digest = hashlib.sha256(content).hexdigest()
    path = f"{user_id}/{session}/{digest}.md"
    http.post(
        f"/storage/v1/object/plans/{path}", files={"": ("a.md", content, "text/markdown")}
    ).raise_for_status()
    answer = http.post(
        "/rest/v1/rpc/approve_plan",
        json={
            "session_id": session,
            "version": 1,
            "title": "A plan",
            "document_sha256": digest,
            "document_url": f"https://x.example/storage/v1/object/sign/plans/{path}?token=x",
        },
    )
    answer.raise_for_status()
    return str(answer.json()["agent_id"])
