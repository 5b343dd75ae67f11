"""`make bench`: measures everything in docs/benchmarks.md again. `BENCH=quick` measures less.

With SUPABASE_URL, SUPABASE_PUBLISHABLE_KEY and SUPABASE_SECRET_KEY it measures that Supabase: what needs neither its
database nor distance. Then the page stays as it is.
"""

import asyncio
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from bench import builds, calls, database, earlier, report, webhook
from bench.database import Clone
from bench.load import (
    FAILED,
    TURN,
    Approve,
    Clients,
    Served,
    User,
    approve_all,
    document,
    floor,
    many_clients,
    one_client,
    through,
)
from bench.planners import Planners
from bench.results import ELSEWHERE, LATEST, Results, machine
from bench.servers import FLOOR, IN_THREADS, PER_REQUEST, SERVICE, SQLALCHEMY, Bench, Server
from bench.teams import INBOX, OWNERS, PLANS, Teams
from local.processes import LocalError, free_ports
from local.stack import Settings, Stack

Of = TypeVar("Of")

SIZES = {"3 kB": 3_000, "16 kB": 16_000, "170 kB": 170_000}
USUAL = "16 kB"
USERS = 8
SMALL = 1_000
WAITING = 100
# Few approvers have a list of a thousand; it shows what the length costs.
WAITING_FOR_APPROVER = {100: "<= 2", 1_000: None}


@dataclass(frozen=True)
class Effort:
    """How much is measured: the difference between the two runs."""

    mode: str
    plans: int
    rounds: int
    single: int  # approvals a round, one client
    window: float  # seconds of a round, many clients
    far_window: float  # the same where the SQLAlchemy design takes two seconds for one
    in_database: int  # approvals a round
    reads: int  # of each kind a round
    calls: int  # the same, of what the client sends
    memory: int  # approvals
    starts: int
    hand_offs: int  # a round, and three rounds at most
    delivered: int  # notifications


FULL = Effort("full", 1_000_000, 5, 40, 4, 20, 2_000, 300, 60, 3_000, 9, 20, 10_000)
QUICK = Effort("quick", 50_000, 1, 10, 3, 8, 500, 100, 30, 300, 3, 5, 1_000)


class Run:
    """One run of everything, in the order of the functions."""

    def __init__(self, effort: Effort) -> None:
        self.effort = effort
        self.results = Results(machine(effort.mode), [])
        self._part: str | None = None
        self._began = 0.0
        self.contents = {size: document(count) for size, count in SIZES.items()}

    def everything(self, directory: Path) -> None:
        settings = Settings(directory, *free_ports(4))
        with Stack(settings, service=False) as stack:
            database.give_memory(stack)  # from its next start
        self.part("Record what the client sends")
        recording = calls.record(directory)
        with Stack(settings, service=False) as stack:
            # A database can be cloned while no connection uses it.
            stack.child("gateway").stop()
            self.database(stack, recording)
        with Stack(settings, service=False) as stack:
            bench = Bench.of(stack, directory / "logs")
            bench.make_peer_tables()
            users = bench.sign_up(USERS)
            self.hand_off(bench, users[0])  # first: the other parts leave their builds in the queue
            self.cold_start(bench)
            asyncio.run(self.over_http(bench, users))
        self.failed()

    def elsewhere(self, bench: Bench) -> None:
        """Measure another Supabase."""
        users = bench.sign_up(USERS)
        try:
            self.cold_start(bench)
            asyncio.run(self.over_http(bench, users))
        finally:
            bench.remove(users)
        self.failed()

    def failed(self) -> None:
        self.results.add(
            "Answers: 500 (peers only), 503 or 504 in all runs, not counted as approvals", [len(FAILED)], ""
        )
        self.part(None)

    def part(self, name: str | None) -> None:
        """Begin a part of the run, and tell how long the one before took."""
        if self._part:
            print(f"  ({time.monotonic() - self._began:.0f} s)", flush=True)
        if name:
            print(name, flush=True)
        self._part, self._began = name, time.monotonic()

    async def over_http(self, bench: Bench, users: list[User]) -> None:
        async with AsyncExitStack() as stack:
            clients = Clients(stack)
            if bench.is_local:
                await self.webhook(bench, users, clients)
            await self.one_client(bench, users, clients)
            await self.many_clients(bench, users, clients)
            if bench.is_local:
                await self.distance(bench, users, clients)
            await self.proposals(bench, users, clients)
            await self.waiting(bench, users, clients)
            await self.memory(bench, users, clients)

    def database(self, stack: Stack, recording: calls.Recording) -> None:
        self.part("In the database")
        effort, add = self.effort, self.results.add
        small = database.Clone(stack, "small", SMALL)
        approvals, inserts = database.throughput(small, effort.rounds, effort.in_database)
        group = "In the database"
        add(f"{group}: approve_plan() as a user", approvals, "/s")
        add(f"{group}: the same rows by one bare statement", inserts, "/s")
        self.results.ratio(f"{group}: approve_plan() against the bare inserts", approvals, inserts, ">= 0.5")

        queue = Clone(stack, "queue", builds.QUEUED)
        before = Clone(stack, "earlier", builds.QUEUED, database.EARLIER)
        self.against_earlier(before, queue)
        alone, told = builds.subscribed(queue, effort.rounds, effort.reads)
        self.results.ratio(f"{group}: approve with one subscriber, against none", told, alone, "<= 1.15")

        self.part(f"{effort.plans:,} plans")
        large = database.Clone(stack, "large", effort.plans)
        print(f"  seeded in {time.monotonic() - self._began:.0f} s", flush=True)
        self.growth(small, large, recording)
        self.queue(queue, before, large)
        for clone in (small, large, queue, before):
            clone.drop()
        self.teams(stack, recording)

    def against_earlier(self, before: Clone, now: Clone) -> None:
        self.part("Against 0.2.0")
        group = "Against 0.2.0, in the database"
        for act, rounds in earlier.against([before, now], self.effort.rounds, self.effort.reads).items():
            then, today = ([of[place] * 1000 for of in rounds] for place in (0, 1))
            self.results.add(f"{group}: {act}, 0.2.0", then, "ms")
            self.results.add(f"{group}: {act}, this version", today, "ms")
            self.results.ratio(f"{group}: {act}", today, then, "<= 1.05")

    def growth(self, small: Clone, large: Clone, recording: calls.Recording) -> None:
        effort, add = self.effort, self.results.add
        group = f"{effort.plans:,} plans"
        clones = [small, large]
        written = database.growth(clones, effort.rounds, effort.reads)
        for clone in clones:
            builds.add_finished(clone)
        sent = calls.growth(clones, recording, effort.rounds, effort.calls)
        for name, acts in ((group, written), (f"{group}, sent by the client", sent)):
            for act, rounds in acts.items():
                at_small, at_large = ([of[place] * 1000 for of in rounds] for place in (0, 1))
                add(f"{name}: {act}, at {SMALL:,} plans", at_small, "ms")
                add(f"{name}: {act}, at {effort.plans:,} plans", at_large, "ms")
                self.results.ratio(f"{name}: {act}, against {SMALL:,}", at_large, at_small, "<= 1.3")
        whole = calls.whole_tables(large, recording)
        for call, tables in whole.items():
            print(f"  {call} reads all of {', '.join(tables)}", flush=True)
        add(f"{group}, sent by the client: calls that read a whole table", [len(whole)], "", "<= 0")
        add(
            f"{group}: a plan with its document's row, agent, two events and all indexes",
            [large.bytes_per_plan()],
            "bytes",
        )

    def teams(self, stack: Stack, recording: calls.Recording) -> None:
        self.part("Teams")
        effort, group = self.effort, "Teams"
        teams = Teams(stack, recording)
        for name, rounds in teams.owners_lists(effort.rounds, effort.reads).items():
            without, within = ([of[place] * 1000 for of in rounds] for place in (0, 1))
            self.results.add(f"{group}: {name}, without teams", without, "ms")
            self.results.add(f"{group}: {name}, with teams", within, "ms")
            self.results.ratio(f"{group}: {name}, with teams against without", within, without, "<= 1.05")
        for waiting, goal in WAITING_FOR_APPROVER.items():
            of = f"{INBOX} over {PLANS:,} plans of {OWNERS:,} owners, {waiting:,} of which wait"
            inbox = teams.inbox(waiting, effort.rounds, effort.reads)
            self.results.add(f"{group}: {of}", [seconds * 1000 for seconds in inbox], "ms", goal)
        whole = len(teams.whole_tables())
        self.results.add(f"{group}: tables that {INBOX} reads whole", [whole], "", "<= 0")
        teams.drop()

    def queue(self, queue: Clone, before: Clone, large: Clone) -> None:
        self.part("Builds in the database")
        effort, group = self.effort, "Builds in the database"
        few_rounds = min(effort.rounds, 3)
        builds.add_procrastinate(queue)
        has_many = effort.plans > 2 * builds.ONE_USERS
        for workers in builds.WORKERS:
            acts = {
                "few": partial(builds.builds, queue),
                "earlier": partial(builds.builds, before),
                "many": partial(builds.builds, large),
                "ten": partial(builds.builds, queue, at_a_time=10),
                "jobs": partial(builds.jobs, queue),
                "same work": partial(builds.jobs, queue, same_work=True),
            }
            if is_fair := has_many and workers == 1:
                acts["one user's"] = partial(builds.builds, large, queue=builds.ONE_USERS_QUEUE)
            rates: dict[str, list[float]] = {name: [] for name in acts}
            for number in range(few_rounds + 1):
                for name in in_turn([*acts], number):
                    rate = acts[name](workers, effort.in_database)
                    if number:  # the first round fills caches
                        rates[name].append(rate)
            at = f"{group}: claimed and finished, {workers} builder{'s' if workers > 1 else ''}"
            self.results.add(f"{at}, {builds.QUEUED:,} queued", rates["few"], "/s")
            self.results.add(f"{at}, the same beside {effort.plans:,} finished", rates["many"], "/s")
            beside = f"{builds.ONE_USERS:,} of one user and {effort.plans:,} finished"
            if is_fair:
                self.results.add(f"{at}, beside {beside}", rates["one user's"], "/s")
                self.results.ratio(f"{at}, time beside {beside}", rates["few"], rates["one user's"], "<= 1.3")
            self.results.add(f"{at}, ten claimed at a time", rates["ten"], "/s")
            self.results.add(f"{at}, by the functions of 0.2.0", rates["earlier"], "/s")
            self.results.add(f"{at}, procrastinate's jobs", rates["jobs"], "/s")
            self.results.ratio(
                f"{at}, time beside {effort.plans:,} finished", rates["few"], rates["many"], "<= 1.3"
            )
            self.results.ratio(f"{at}, against 0.2.0", rates["few"], rates["earlier"], ">= 0.95")
            self.results.add(f"{at}, procrastinate doing the same work", rates["same work"], "/s")
            self.results.ratio(
                f"{at}, against procrastinate doing the same work", rates["few"], rates["same work"], ">= 1"
            )
            self.results.ratio(f"{at}, against procrastinate's jobs alone", rates["few"], rates["jobs"])
        self.results.add(
            f"Notifications in the database: {builds.NOTIFICATIONS:,} claimed and finished, one worker",
            [builds.notifications(queue, builds.NOTIFICATIONS) for _ in range(few_rounds)],
            "/s",
            ">= 500",
        )
        if not has_many:
            return
        self.results.add(
            f"{group}: handed out until it is a new owner's turn, beside {builds.ONE_USERS:,} of one user and"
            f" {builds.OTHERS:,} others",
            [builds.turns(large)],
            "builds",
            f"<= {builds.OTHERS + 2}",
        )

    def hand_off(self, bench: Bench, user: User) -> None:
        self.part("Hand-off")
        group = "Hand-off to one idle builder, default options"
        with builds.IdleBuilder(bench) as builder:
            count = range(min(self.effort.rounds, 3))
            shares = [builder.share_of_a_core(self.effort.window * 2) for _ in count]
            rounds = [builder.start_times(bench, user, self.effort.hand_offs) for _ in count]
        medians = [statistics.median(seconds) for seconds in rounds]
        self.results.add(f"{group}: from the approval's answer to the command's start", medians, "s", "< 0.6")
        self.results.add(f"{group}: the slowest of each round", [max(seconds) for seconds in rounds], "s")
        self.results.add(f"{group}: an idle builder's share of a core", shares, "%", "< 1")

    def cold_start(self, bench: Bench) -> None:
        self.part("Cold start")
        starts = [bench.cold_start() for _ in range(self.effort.starts)]
        self.results.add("Cold start: to the first answer", starts, "s", "< 1.5")

    async def webhook(self, bench: Bench, users: list[User], clients: Clients) -> None:
        self.part("Notifications")
        planners = Planners(bench.supabase_url, bench.key, clients)
        count = self.effort.delivered
        seconds = await webhook.deliver(bench, planners, users[0], count)
        goal = "< 60" if self.effort is FULL else None
        self.results.add(
            f"Notifications: {count:,} delivered by webhook to this machine", [seconds], "s", goal
        )

    async def one_client(self, bench: Bench, users: list[User], clients: Clients) -> None:
        self.part("One client")
        names = [SERVICE, SQLALCHEMY, PER_REQUEST] if bench.is_local else [SERVICE]
        with ExitStack() as stack:
            servers = {name: stack.enter_context(bench.server(name)) for name in names}
            service = servers[SERVICE]
            peers = self._peers(bench, list(servers.values()), clients)
            for approve in peers.values():
                await one_client(approve, users, self.contents[USUAL], USERS, Served())
            for size in SIZES:
                await self._one_client(size, servers, peers, users)
            peers = {
                FLOOR: floor(bench.supabase_url, bench.key, clients, "propose"),
                SERVICE: through(service.url, clients, "propose"),
            }
            for size in SIZES:
                rounds = [
                    await self._round(self.contents[size], {SERVICE: service}, peers, users)
                    for _ in range(self.effort.rounds)
                ]
                self._beyond_floor("proposal", size, rounds)

    async def _one_client(
        self, size: str, servers: dict[str, Server], peers: dict[str, Approve], users: list[User]
    ) -> None:
        rounds = [
            await self._round(self.contents[size], servers, peers, users) for _ in range(self.effort.rounds)
        ]
        add = self.results.add
        self._beyond_floor("approval", size, rounds)

        cpu = {name: [of[name].cpu() * 1000 for of in rounds] for name in servers}
        group = f"CPU of one approval, {size}"
        for name, milliseconds in cpu.items():
            goal = "<= 5" if name == SERVICE and size == USUAL else None
            add(f"{group}: {name}", milliseconds, "ms", goal)
        goal = "< 1" if size == USUAL else None
        if SQLALCHEMY in cpu:
            self.results.ratio(
                f"{group}: {SERVICE} against {SQLALCHEMY}", cpu[SERVICE], cpu[SQLALCHEMY], goal
            )

        if size == USUAL:
            for name in peers:
                for stage in rounds[0][name].stages:
                    means = [of[name].stage(stage) * 1000 for of in rounds]
                    add(f"Stages of one approval, {size}: {name}, {stage}", means, "ms")

    def _beyond_floor(self, act: str, size: str, rounds: list[dict[str, Served]]) -> None:
        group = f"One {act}, {size}"
        p50 = {name: [of[name].p50() * 1000 for of in rounds] for name in rounds[0]}
        for name, medians in p50.items():
            self.results.add(f"{group}: {name}, p50", medians, "ms")
        self.results.ratio(f"{group}: {SERVICE} against {FLOOR}", p50[SERVICE], p50[FLOOR])
        beyond = [ours - least for ours, least in zip(p50[SERVICE], p50[FLOOR], strict=True)]
        goal = "<= 4" if size == "170 kB" else "<= 2.5"
        self.results.add(f"{group}: {SERVICE} beyond {FLOOR}", beyond, "ms", goal)

    async def _round(
        self, content: bytes, servers: dict[str, Server], peers: dict[str, Approve], users: list[User]
    ) -> dict[str, Served]:
        """A few by each in turns, so that other load on the machine affects all of them alike."""
        served = {name: Served() for name in peers}
        before = servers[SERVICE].stages()
        for turn in range(self.effort.single // TURN):
            for name in in_turn(list(peers), turn):
                server = servers.get(name)
                cpu = server.cpu_seconds() if server else 0
                await one_client(peers[name], users, content, TURN, served[name])
                served[name].cpu_seconds += server.cpu_seconds() - cpu if server else 0
        served[SERVICE].stages = servers[SERVICE].stages() - before
        return served

    async def many_clients(self, bench: Bench, users: list[User], clients: Clients) -> None:
        names = [SERVICE, SQLALCHEMY, IN_THREADS, PER_REQUEST] if bench.is_local else [SERVICE]
        with ExitStack() as stack:
            servers = [stack.enter_context(bench.server(name)) for name in names]
            peers = self._peers(bench, servers, clients)
            for count in (16, 64):
                self.part(f"{count} clients")
                rates: dict[str, list[float]] = {name: [] for name in peers}
                for number in range(self.effort.rounds):
                    for name in in_turn(list(peers), number):
                        rates[name].append(await self._rate(peers[name], users, count, self.effort.window))
                group = f"{count} clients"
                for name, of in rates.items():
                    self.results.add(f"{group}: {name}", of, "/s")
                many = count == 64
                goals = {PER_REQUEST: ">= 3", IN_THREADS: ">= 1" if many else None}
                goals |= {FLOOR: None if many else ">= 0.9"}
                for name in [name for name in (PER_REQUEST, SQLALCHEMY, IN_THREADS, FLOOR) if name in rates]:
                    ratio = f"{group}: {SERVICE} against {name}"
                    self.results.ratio(ratio, rates[SERVICE], rates[name], goals.get(name))
            await self._healthz(servers[:2], peers, users)

    async def _healthz(self, servers: list[Server], peers: dict[str, Approve], users: list[User]) -> None:
        self.part("/healthz under 64 approvals")
        p99: dict[str, list[float]] = {server.name: [] for server in servers}
        for number in range(min(self.effort.rounds, 3)):
            for server in in_turn(servers, number):
                seconds = 2 * self.effort.window
                probes = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "bench.probe", f"{server.url}/healthz", str(seconds)),
                    stdout=subprocess.PIPE,
                )
                await self._rate(peers[server.name], users, 64, seconds)
                output, _ = await probes.communicate()
                times = sorted(map(float, output.split()))
                p99[server.name].append(times[int(len(times) * 0.99)] * 1000)
        group = "/healthz under 64 approvals"
        for name, milliseconds in p99.items():
            self.results.add(f"{group}: {name}, p99", milliseconds, "ms")
        if SQLALCHEMY in p99:
            ratio = f"{group}: {SERVICE} against {SQLALCHEMY}"
            self.results.ratio(ratio, p99[SERVICE], p99[SQLALCHEMY], "<= 0.1")

    async def distance(self, bench: Bench, users: list[User], clients: Clients) -> None:
        for milliseconds, rounds, goal in ((50, 3, ">= 3"), (300, 2, ">= 15")):
            self.part(f"{milliseconds} ms to Supabase")
            rates: dict[str, list[float]] = {SERVICE: [], SQLALCHEMY: []}
            for number in range(min(self.effort.rounds, rounds)):
                for name in in_turn(list(rates), number):
                    seconds = self.effort.far_window if name == SQLALCHEMY else self.effort.window
                    with bench.distance(milliseconds / 1000) as ports, bench.server(name, ports) as server:
                        approve = through(server.url, clients)
                        await approve(users[0], self.contents[USUAL])
                        rates[name].append(await self._rate(approve, users, 64, seconds, drain=False))
            group = f"64 clients, {milliseconds} ms to Supabase"
            for name, of in rates.items():
                self.results.add(f"{group}: {name}", of, "/s")
            self.results.ratio(
                f"{group}: {SERVICE} against {SQLALCHEMY}", rates[SERVICE], rates[SQLALCHEMY], goal
            )

    async def proposals(self, bench: Bench, users: list[User], clients: Clients) -> None:
        """Approve what was proposed, by one request, beside approving directly through the service."""
        self.part("Approving a proposal")
        for milliseconds, goal in ((0, "<= 0.35"), (50, "<= 0.4")) if bench.is_local else ((0, "<= 0.35"),):
            with ExitStack() as stack:
                ports, url = None, bench.supabase_url
                if milliseconds:
                    ports = stack.enter_context(bench.distance(milliseconds / 1000))
                    url = f"http://127.0.0.1:{ports[0]}"
                service = stack.enter_context(bench.server(SERVICE, ports))
                near = Planners(bench.supabase_url, bench.key, clients)
                planners = Planners(url, bench.key, clients)
                direct, count = through(service.url, clients), max(5, self.effort.single // 2)
                at = f", {milliseconds} ms to Supabase" if milliseconds else ""
                for size in [USUAL] if milliseconds else ["170 kB", USUAL]:
                    content = self.contents[size]
                    rounds: dict[str, list[float]] = {
                        "one request": [],
                        "through the service": [],
                        "directly": [],
                    }
                    for number in range(min(self.effort.rounds, 3) + 1):
                        proposals = [await near.propose(users[n % USERS], content) for n in range(2 * count)]
                        served = Served()
                        await one_client(direct, users, content, count, served)
                        seconds = {
                            "directly": served.seconds,
                            "one request": [await planners.approve(each) for each in proposals[:count]],
                            "through the service": [
                                await near.approve_through(service.url, each) for each in proposals[count:]
                            ],
                        }
                        if number:  # the first round opens connections
                            for name, of in seconds.items():
                                rounds[name].append(statistics.median(of) * 1000)
                    group = f"Approving a proposal, {size}{at}"
                    for name, of in rounds.items():
                        self.results.add(f"{group}: {name}, p50", of, "ms")
                    self.results.ratio(
                        f"{group}: one request against directly through the service",
                        rounds["one request"],
                        rounds["directly"],
                        goal if size == USUAL else None,
                    )
                    self.results.ratio(
                        f"{group}: through the service against directly",
                        rounds["through the service"],
                        rounds["directly"],
                        "<= 0.6" if size == "170 kB" else None,
                    )

    async def waiting(self, bench: Bench, users: list[User], clients: Clients) -> None:
        self.part("Planners that wait over MCP")
        rates: dict[int, list[float]] = {0: [], WAITING: []}
        p99: dict[int, list[float]] = {0: [], WAITING: []}
        with bench.server(SERVICE, MCP="true") as service:
            planners = Planners(bench.supabase_url, bench.key, clients)
            approve = through(service.url, clients)
            for number in range(min(self.effort.rounds, 3)):
                for count in in_turn(list(rates), number):
                    seconds: list[float] = []

                    async def timed(
                        user: User, content: bytes, seconds: list[float] = seconds
                    ) -> dict[str, float]:
                        began = time.perf_counter()
                        stages = await approve(user, content)
                        seconds.append(time.perf_counter() - began)
                        return stages

                    async with planners.waiting(service.url, users, self.contents["3 kB"], count):
                        rates[count].append(await self._rate(timed, users, 16, 2 * self.effort.window))
                    p99[count].append(sorted(seconds)[int(len(seconds) * 0.99)] * 1000)
        group = "Planners that wait over MCP"
        for count, of in rates.items():
            self.results.add(f"{group}: 16 clients beside {count}", of, "/s")
            self.results.add(f"{group}: p99 beside {count}", p99[count], "ms")
        self.results.ratio(
            f"{group}: approvals beside {WAITING} against none", rates[WAITING], rates[0], ">= 0.9"
        )
        self.results.ratio(f"{group}: p99 beside {WAITING} against none", p99[WAITING], p99[0], "<= 1.2")

    async def memory(self, bench: Bench, users: list[User], clients: Clients) -> None:
        self.part("Memory")
        group, count, samples = "Memory", self.effort.memory, 60
        contents = list(self.contents.values())
        random.Random(0).shuffle(contents)
        for mcp, goal in (("false", "< 100"), ("true", "< 130")):
            with bench.server(SERVICE, MCP=mcp) as service:
                approve = through(service.url, clients)
                used = []
                for _ in range(samples):
                    await approve_all(approve, users, contents, 16, count // samples)
                    used.append(service.memory_mib())
            # The first half fills what is created once and kept: code, pools, buffers.
            half, tenth = samples // 2, samples // 10
            middle, end = used[half - tenth : half], used[-tenth:]
            name = "the service with MCP" if mcp == "true" else "the service"
            self.results.add(f"{group}: {name} after {count:,} approvals", end, "MiB", goal)
            growth = statistics.median(end) - statistics.median(middle)
            self.results.add(f"{group}: growth of {name} over the second half", [growth], "MiB", "<= 1")

    async def _rate(
        self, approve: Approve, users: list[User], clients: int, seconds: float, *, drain: bool = True
    ) -> float:
        return await many_clients(approve, users, self.contents[USUAL], clients, seconds, drain=drain)

    def _peers(self, bench: Bench, servers: list[Server], clients: Clients) -> dict[str, Approve]:
        peers = {server.name: through(server.url, clients) for server in servers}
        return {FLOOR: floor(bench.supabase_url, bench.key, clients), **peers}


def in_turn(items: list[Of], number: int) -> list[Of]:
    """Forwards and backwards in turn, so that none is always first, or always after the same one."""
    return items if number % 2 == 0 else items[::-1]


def another() -> Bench | None:
    """Return the Supabase that the environment names, if it does."""
    if "SUPABASE_URL" not in os.environ:
        return None
    names = ("SUPABASE_URL", "SUPABASE_PUBLISHABLE_KEY", "SUPABASE_SECRET_KEY")
    if missing := [name for name in names if not os.environ.get(name)]:
        raise LocalError(f"To measure another Supabase, also set {', '.join(missing)}.")
    url, key, secret_key = (os.environ[name] for name in names)
    return Bench(url.rstrip("/"), key, secret_key, Path(tempfile.mkdtemp(prefix="greenlight-bench-logs-")))


def main() -> int:
    effort = QUICK if os.environ.get("BENCH") == "quick" else FULL
    began = time.monotonic()
    # `kill` stops everything in the same orderly way as Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    run = Run(effort)
    try:
        if bench := another():
            run.results.machine["supabase"] = f"another: {bench.supabase_url}"
            run.elsewhere(bench)
        else:
            with tempfile.TemporaryDirectory(prefix="greenlight-bench-") as directory:
                run.everything(Path(directory))
    except LocalError as error:
        print(error, file=sys.stderr)
        return 1
    run.results.save(ELSEWHERE if bench else LATEST)
    if effort is FULL and not bench:
        report.write(run.results)
    missed = [row.name for row in run.results.rows if row.met is False]
    print(f"\n{len(run.results.rows)} rows in {time.monotonic() - began:.0f} s; not met: {missed or 'none'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
