"""`greenlight build` as a process: its exit codes, its logs, its signals, and what its death costs.

`make soak` kills a builder at sixty random moments instead of a few, and stops thirty builds.
"""

import asyncio
import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from greenlight.builder import Job
from local.processes import free_ports
from tests import SEED, SOAK
from tests.builder.conftest import Owner, builder, builder_process, eventually, gone, reaches, until
from tests.conftest import RunningStack
from tests.faults.proxy import Exchange, Proxy, pass_on
from tests.faults.test_calls import FAULTS
from tests.plan import new_session
from tests.services import CommandProcess


def test_a_day_in_its_life(stack: RunningStack, owner: Owner, tmp_path: Path) -> None:
    """Builds that succeed, fail and fail for good; then SIGTERM while one is running. Its log has nothing of theirs."""
    script = r"""
        env > "$SEEN/env"
        echo '::progress 30 Reading a secret'
        cat "$GREENLIGHT_DOCUMENT"
        case $(cat "$GREENLIGHT_DOCUMENT") in
            *good*) echo '::progress 90'; echo '{"url": "https://secret.example"}' > "$GREENLIGHT_RESULT" ;;
            *half*) echo '{"url": "https://secret.example' > "$GREENLIGHT_RESULT" ;;
            *huge*) # only the database knows how long an exponent is, written out
                numbers=1e300; for _ in 1 2 3 4 5 6; do numbers=$numbers,$numbers; done
                echo "{\"secret\": [$numbers]}" > "$GREENLIGHT_RESULT" ;;
            *bad*) echo 'The oven is broken.' >&2; exit 1 ;;
            *wrong*) echo 'There is no recipe.' >&2; exit 65 ;;
            *long*) echo $$ > "$SEEN/pid"; sleep 1000 & wait ;;
        esac
    """
    (port,) = free_ports(1)
    session = new_session()
    passage = {"start": 4, "end": 10, "exact": "secret", "body": "A secret remark"}
    agents = {
        word: owner.approved(
            plan_id=f"{session}-{word}",
            content=f"# A secret document, {word}\n",
            title=f"Secret title {word}",
            comment="A secret comment",
            comments=[passage],
        )["agent_id"]
        for word in ("long", "good", "half", "huge", "wrong", "bad")
    }
    command = ("/usr/bin/env", f"SEEN={tmp_path}", "sh", "-c", script)
    with builder_process(
        stack, tmp_path, *command, concurrency=6, grace=0.2, worker="day", metrics_port=port
    ) as process:
        until(lambda: owner.status(agents["good"]) == ("active", "succeeded", 1))
        until(lambda: owner.status(agents["bad"]) == ("building", "queued", 1))
        ended = {("failed", "failed", 1)}
        until(lambda: {owner.status(agents[word]) for word in ("half", "huge", "wrong")} == ended)
        until(lambda: owner.build(agents["long"])["progress"] == 30)
        metrics = until(lambda: ended_in(port, 5))
        pid = int(until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text()))
        process.send(signal.SIGTERM)
        assert process.process.wait(60) == 0
        assert not psutil.pid_exists(pid)

    row = owner.build(agents["good"])
    assert (row["progress"], row["message"], row["worker"]) == (90, "Reading a secret", "day")
    assert row["result"] == {"url": "https://secret.example"}
    assert "is not JSON" in owner.build(agents["half"])["message"]
    assert "was refused" in owner.build(agents["huge"])["message"]
    assert owner.build(agents["bad"])["message"] == "The oven is broken."
    assert owner.build(agents["wrong"])["message"] == "There is no recipe."
    assert owner.status(agents["long"]) == ("building", "queued", 1)
    assert owner.build(agents["long"])["message"] == "the builder was stopped"

    for outcome, count in {"succeeded": 1, "retried": 1, "failed": 3}.items():
        sample = f'greenlight_builds_ended_total{{outcome="{outcome}"}} {count}.0'
        assert sample in metrics.splitlines()
    assert "greenlight_builds_running 1.0" in metrics

    events = [line["event"] for line in process.lines()]
    assert events[0] == "builder_started"
    assert events[-1] == "builder_stopped"
    assert Counter(line["outcome"] for line in process.lines() if line["event"] == "build_ended") == Counter(
        succeeded=1, retried=1, failed=3, stopped=1
    )
    output, errors = process.output.read_text(), process.errors.read_text()
    assert [word for word in ("ecret", "oven", "recipe", "1e300", ".md") if word in output] == []
    for secret in ("ecret title", "ecret comment", "ecret remark", "secret.example", "1e300"):
        assert secret not in errors
    for secret in (stack.secret_key, owner.token.rpartition(".")[2], "token=", session):
        assert secret not in output + errors
    assert "A secret document, good" in errors  # what the command writes is its own affair
    environment = (tmp_path / "env").read_text()
    assert stack.secret_key not in environment
    assert "GREENLIGHT_TITLE=Secret title" in environment


@pytest.mark.parametrize("share_log", [True, False])
def test_what_it_made_and_with_share_log_what_it_wrote(
    stack: RunningStack, owner: Owner, tmp_path: Path, share_log: bool
) -> None:
    script = r"""
        test "$GREENLIGHT_COMMENT" = "The blue one." || exit 65
        printf '\033[32mMixing\033[0m\n\0\377\n'
        echo '::progress 50 Half \0 done'
        grep -o 'Which[^"]*' "$GREENLIGHT_COMMENTS" >&2
        echo '{"url": "https://example.com/blue", "summary": "One page."}' > "$GREENLIGHT_RESULT"
    """
    comments = [{"start": 2, "end": 6, "exact": "plän", "body": "Which one?"}]
    agent = owner.approved(content="# plän\n", comment="The blue one.", comments=comments)["agent_id"]
    options = ["--share-log"] if share_log else []
    with builder_process(stack, tmp_path, "sh", "-c", script, flags=options):
        until(lambda: owner.status(agent) == ("active", "succeeded", 1))
    row = owner.build(agent)
    assert row["result"] == {"url": "https://example.com/blue", "summary": "One page."}
    assert (row["progress"], row["message"]) == (50, "Half   done")
    logs = owner.rows("build_log", build_id=f"eq.{row['id']}", order="attempt")
    shown = [log["content"] for log in logs]
    assert len(shown) == share_log
    for text in shown:  # standard output and standard error in any order
        assert sorted(text.splitlines()) == sorted(["\x1b[32mMixing\x1b[0m", "��", "Which one?"])


def ended_in(port: int, count: int) -> str | None:
    """Return the metrics when so many attempts have ended."""
    text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    ended = re.findall(r"^greenlight_builds_ended_total{.*} ([\d.]+)$", text, re.MULTILINE)
    return text if sum(map(float, ended)) == count else None


@pytest.mark.parametrize(
    ("changed", "options", "status", "complaint"),
    [
        ({"SUPABASE_URL": ""}, ["true"], 2, "SUPABASE_URL is not set"),
        ({"SUPABASE_SECRET_KEY": ""}, ["true"], 2, "SUPABASE_SECRET_KEY is not set"),
        (
            {"SUPABASE_SECRET_KEY": "sb_publishable_x"},
            ["true"],
            2,
            "this is the publishable key; give the secret",
        ),
        ({"SUPABASE_SECRET_KEY": "sb_secret_wrong"}, ["true"], 3, "is not this project's secret key"),
        ({}, ["no-such-command"], 2, "There is no command no-such-command."),
        ({}, ["./pyproject.toml"], 2, "./pyproject.toml is not executable: chmod +x ./pyproject.toml"),
        ({}, ["./tests"], 2, "There is no command ./tests."),
        ({}, ["--lease-seconds=4", "true"], 2, "--lease-seconds"),
        ({}, ["--concurrency=101", "true"], 2, "--concurrency"),
        ({}, ["--poll-seconds=nan", "true"], 2, "--poll-seconds"),
        ({}, [], 2, "COMMAND"),
    ],
)
def test_it_says_why_it_cannot_start(
    stack: RunningStack, changed: dict[str, str], options: list[str], status: int, complaint: str
) -> None:
    known = {name: os.environ[name] for name in ("PATH", "HOME", "LD_LIBRARY_PATH") if name in os.environ}
    settings = {"SUPABASE_URL": stack.supabase_url, "SUPABASE_SECRET_KEY": stack.secret_key}
    result = subprocess.run(
        [sys.executable, "-m", "greenlight", "build", *options],
        env={**known, **settings, **changed},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (result.returncode, result.stdout.count("build_claimed")) == (status, 0), result.stderr
    assert complaint in result.stderr
    assert "Traceback" not in result.stderr
    assert "sb_secret" not in result.stderr


@pytest.mark.anyio
async def test_stopped_beyond_its_lease_and_woken_it_ends_its_command(
    stack: RunningStack, owner: Owner, tmp_path: Path
) -> None:
    agent = owner.approved()["agent_id"]
    pids = tmp_path / "pids"

    async def build(_: Job) -> None:
        pass

    script = f"trap '' TERM; echo '::progress 10 Late'; echo $$ > {pids}; while :; do sleep 0.1; done"
    with builder_process(stack, tmp_path, "sh", "-c", script, lease_seconds=5) as late:
        await eventually(lambda: owner.build(agent)["progress"] == 10)
        late.send(signal.SIGSTOP)
        await asyncio.to_thread(stack.make_due, agent)  # as when the lease has ended
        async with builder(stack, build):
            await reaches(owner, agent, ("active", "succeeded", 2))
        assert psutil.pid_exists(int(pids.read_text()))
        late.send(signal.SIGCONT)
        await eventually(lambda: not psutil.pid_exists(int(pids.read_text())))
        await eventually(lambda: late.lines()[-1].get("outcome") == "lost")
    assert owner.status(agent) == ("active", "succeeded", 2)
    assert owner.build(agent)["progress"] is None  # the late report ended with its attempt


# Its directory, and its disk -----------------------------------------------------------------------------


def test_it_makes_its_directory_again(stack: RunningStack, owner: Owner, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    with builder_process(stack, tmp_path, "true", variables={"TMPDIR": str(place)}) as process:
        until(lambda: process.lines() and any(place.iterdir()))
        shutil.rmtree(place)  # as systemd-tmpfiles does
        until(place.exists)
        agent = owner.approved()["agent_id"]
        until(lambda: owner.status(agent) == ("active", "succeeded", 1))


AS_ROOT = ["unshare", "--user", "--map-root-user", "--mount"]
NAMESPACES = pytest.mark.skipif(
    shutil.which("unshare") is None or subprocess.run([*AS_ROOT, "true"], check=False).returncode != 0,
    reason="this system does not allow user namespaces",
)


def test_what_an_idle_builder_that_was_killed_left_is_removed_by_the_next(
    stack: RunningStack, tmp_path: Path
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    variables = {"TMPDIR": str(place)}
    with builder_process(stack, tmp_path, "true", variables=variables) as killed:
        until(killed.lines)
    (left,) = place.iterdir()
    with builder_process(stack, tmp_path, "true", variables=variables) as first:
        until(first.lines)
        (kept,) = place.iterdir()
        assert kept != left
        with builder_process(stack, tmp_path, "true", variables=variables) as second:
            until(second.lines)
            assert kept.exists()


# Runs a command with a small disk, which is full between one file's appearance and another's.
SMALL_DISK = """
    mount -t tmpfs -o size=2m none "$TMPDIR" || exit
    (
        while [ ! -e "$FILL" ]; do sleep 0.1; done; head -c 2M /dev/zero > "$TMPDIR/filler"
        while [ ! -e "$FREE" ]; do sleep 0.1; done; rm "$TMPDIR/filler"
    ) 2> /dev/null &
    exec "$@"
"""


@NAMESPACES
def test_with_a_full_disk_it_claims_nothing(stack: RunningStack, owner: Owner, tmp_path: Path) -> None:
    place, fill, free = tmp_path / "place", tmp_path / "fill", tmp_path / "free"
    place.mkdir()
    (port,) = free_ports(1)
    with builder_process(
        stack,
        tmp_path,
        "true",
        user=[*AS_ROOT, "sh", "-c", SMALL_DISK, "sh"],
        variables={"TMPDIR": str(place), "FILL": str(fill), "FREE": str(free)},
        metrics_port=port,
        worker="full",
    ) as process:
        until(process.lines)
        fill.touch()
        until(lambda: [line for line in process.lines() if line["event"] == "builder_cannot_work"])
        agent = owner.approved()["agent_id"]
        assert "greenlight_builder_ready 0.0" in httpx.get(f"http://127.0.0.1:{port}/metrics").text
        with builder_process(stack, tmp_path, "true", worker="healthy"):
            until(lambda: owner.status(agent) == ("active", "succeeded", 1))
        assert owner.build(agent)["worker"] == "healthy"

        agent = owner.approved()["agent_id"]
        free.touch()
        until(lambda: owner.status(agent) == ("active", "succeeded", 1))
        events = [line["event"] for line in process.lines()]
        assert events.count("builder_cannot_work") == 1
        assert "builder_works_again" in events
        (problem,) = [line for line in process.lines() if line["event"] == "builder_cannot_work"]
        assert "No space left on device" in problem["cause"]


# As the first process of a container ---------------------------------------------------------------------


@NAMESPACES
@pytest.mark.parametrize("isolate", ["auto", "never"])
def test_in_a_container_it_leaves_no_zombies(
    stack: RunningStack, owner: Owner, tmp_path: Path, isolate: str
) -> None:
    script = f"""
        for each in 1 2 3; do (setsid sh -c 'exec sleep 0.1' > /dev/null 2>&1 &); done
        sleep 0.3
        case $GREENLIGHT_ATTEMPT in 1) kill -KILL $PPID ;; esac  # its guard, if it is allowed
        ps -eo pid,ppid,stat,args > {tmp_path}/processes
    """
    agents = [owner.approved(content=f"# Plan {number}\n")["agent_id"] for number in range(3)]
    with builder_process(
        stack,
        tmp_path,
        *("sh", "-c", script),
        user=[*AS_ROOT, "--pid", "--fork", "--kill-child", "--mount-proc"],
        isolate=isolate,
    ) as process:
        until(lambda: len([line for line in process.lines() if line["event"] == "build_ended"]) == 3)
        (first,) = psutil.Process(process.process.pid).children()
        until(lambda: first.children() == [])
    if isolate == "auto":
        assert {owner.status(agent) for agent in agents} == {("active", "succeeded", 1)}


# The clock ----------------------------------------------------------------------------------------------

# Python loads it before anything else. What asks for the time gets a wrong one; the monotonic clock stays.
WRONG_CLOCK = """
import datetime, os, time

right, right_ns, amount = time.time, time.time_ns, os.environ["CLOCK"]

def hours():
    return (-6, 6)[int(time.monotonic()) % 2] if amount == "jumps" else int(amount)

class Wrong(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(time.time(), tz)

    @classmethod
    def utcnow(cls):
        return cls.now(datetime.timezone.utc).replace(tzinfo=None)

time.time = lambda: right() + hours() * 3600
time.time_ns = lambda: right_ns() + hours() * 3600 * 10**9
datetime.datetime = Wrong
"""


CLOCKS = [("-6", "6"), ("6", "-6"), ("jumps", "jumps")]


@pytest.mark.parametrize("clocks", [random.Random(SEED).choice(CLOCKS) if SOAK else CLOCKS[0]])
@pytest.mark.soak
def test_the_clock_of_its_machine_may_be_wrong(
    stack: RunningStack, owner: Owner, tmp_path: Path, clocks: tuple[str, str]
) -> None:
    """Leases and pauses go by the database's clock, on two machines that disagree about the time."""
    (tmp_path / "sitecustomize.py").write_text(WRONG_CLOCK)
    started = tmp_path / "started"
    script = f"""
        echo $GREENLIGHT_AGENT_ID $GREENLIGHT_ATTEMPT >> {started}
        case $GREENLIGHT_ATTEMPT$(cat "$GREENLIGHT_DOCUMENT") in
            *long*) while [ ! -e {tmp_path}/end ]; do sleep 0.1; done ;;
            1*bad*) exit 1 ;;
            1*stuck*) sleep 1000 ;;
        esac
    """
    now = time.time()

    def start(clock: str) -> contextlib.AbstractContextManager[CommandProcess]:
        variables = {"PYTHONPATH": str(tmp_path), "CLOCK": clock}
        command = ("sh", "-c", script)
        return builder_process(stack, tmp_path, *command, lease_seconds=5, concurrency=3, variables=variables)

    words = ("long", "bad", "stuck")
    long, bad, stuck = (owner.approved(content=f"# {word}\n")["agent_id"] for word in words)
    with start(clocks[0]) as first:
        until(lambda: started.exists() and len(started.read_text().splitlines()) == 3)
        until(lambda: owner.status(bad) == ("building", "queued", 1))
        paused = owner.build(bad)
        with start(clocks[1]) as second:
            until(second.lines)
            leased = moment(owner.build(long)["run_after"])
            until(lambda: moment(owner.build(long)["run_after"]) > leased + timedelta(seconds=5))
            (tmp_path / "end").touch()
            until(lambda: owner.status(long) == ("active", "succeeded", 1))
            first.process.kill()
            first.process.wait()
            cut_off = owner.build(stuck)
            until(lambda: {owner.status(agent) for agent in (bad, stuck)} == {("active", "succeeded", 2)})
    pause = moment(paused["run_after"]) - moment(paused["updated_at"])
    assert pause.total_seconds() == pytest.approx(10, abs=1)
    assert moment(owner.build(bad)["started_at"]) >= moment(paused["run_after"])
    assert moment(owner.build(stuck)["started_at"]) >= moment(cut_off["run_after"])
    attempts = Counter(started.read_text().splitlines())
    expected = [f"{long} 1", *(f"{agent} {attempt}" for agent in (bad, stuck) for attempt in (1, 2))]
    assert attempts == Counter(expected)
    for clock, process in zip(clocks, (first, second), strict=True):  # they did have the wrong time
        shifts = {round((moment(line["timestamp"]).timestamp() - now) / 3600) for line in process.lines()}
        assert shifts <= ({-6, 6} if clock == "jumps" else {int(clock)})


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


# Any call fails ------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.soak
async def test_any_fault_at_any_time(
    stack: RunningStack, owner: Owner, tmp_path: Path, chance: random.Random
) -> None:
    """Two builders whose calls fail in every way: each build ends once, as its command did."""
    count = 40 if SOAK else 8
    endings = {owner.approved()["agent_id"]: number % 2 for number in range(count)}
    doomed = tmp_path / "doomed"
    doomed.write_text("\n".join(agent for agent, fails in endings.items() if fails))
    started = tmp_path / "started"
    script = f"""
        echo $GREENLIGHT_AGENT_ID $GREENLIGHT_ATTEMPT >> {started}
        echo ::progress 50 Half
        ! grep -q $GREENLIGHT_AGENT_ID {doomed} || exit 65
    """
    faults = [handler for handler, _ in FAULTS.values()]

    async def flawed(exchange: Exchange) -> None:
        await (chance.choice(faults) if chance.random() < 0.25 else pass_on)(exchange)

    stack.allow_attempts(owner.id, 20)  # a claim whose answer is lost costs one
    async with Proxy(stack.supabase_url) as proxy:
        proxy.handlers = dict.fromkeys(("claim_builds", "renew_build", "finish_build", "fail_build"), flawed)
        with contextlib.ExitStack() as builders:
            for _ in range(2):
                command = ("sh", "-c", script)
                builders.enter_context(
                    builder_process(stack, tmp_path, *command, url=proxy.url, lease_seconds=5, concurrency=4)
                )
            await eventually(lambda: not owner.rows("agent", status="eq.building"), seconds=240)

    for agent, fails in endings.items():
        assert owner.status(agent)[:2] == (("failed", "failed") if fails else ("active", "succeeded"))
    attempts = Counter(started.read_text().splitlines())
    assert set(attempts.values()) == {1}  # no attempt was begun twice
    assert {line.split()[0] for line in attempts} == set(endings)
    ended = [row["agent_id"] for row in owner.rows("agent_event", kind="eq.status_changed", limit="1000")]
    assert sorted(ended) == sorted(endings)


# kill -9 ------------------------------------------------------------------------------------------------

KILLS, BUILDERS = (60, 4) if SOAK else (4, 3)


@pytest.mark.soak
def test_killed_at_any_moment_it_costs_one_lease_and_nothing_else(
    stack: RunningStack, owner: Owner, tmp_path: Path, chance: random.Random
) -> None:
    """Many builders at a lease of five seconds, one after the other killed; each dies with its commands."""
    agents: list[str] = []
    started = tmp_path / "started"
    # One line for each command, short enough to be written whole.
    script = f"""
        echo $GREENLIGHT_AGENT_ID $GREENLIGHT_ATTEMPT $$ >> {started}
        echo '::progress 20 Half'; sleep 0.2; echo '::progress 90 Nearly'; sleep 0.1
    """

    def start() -> CommandProcess:
        concurrency = chance.choice((1, 2))
        command = ("sh", "-c", script)
        return builders.enter_context(
            builder_process(stack, tmp_path, *command, lease_seconds=5, concurrency=concurrency)
        )

    with contextlib.ExitStack() as builders:
        running = [start() for _ in range(BUILDERS)]
        for _ in range(KILLS):
            agents += [owner.approved()["agent_id"] for _ in range(4)]
            ready = until(lambda: [each for each in running if each.lines()])
            time.sleep(chance.uniform(0, 0.5))
            # Whatever is ready, the same seed draws the same number.
            victim = ready[int(chance.random() * len(ready))]
            victim.process.kill()
            victim.process.wait()
            running.remove(victim)
            running.append(start())
        until(lambda: not owner.rows("agent", status="eq.building", select="id"), seconds=120)

    attempts = Counter(tuple(line.split()[:2]) for line in started.read_text().splitlines())
    assert set(attempts.values()) == {1}  # no attempt was begun twice
    assert {agent for agent, _ in attempts} == set(agents)
    rows = owner.rows("build", limit="1000")
    assert sorted(row["agent_id"] for row in rows) == sorted(agents)
    assert {row["status"] for row in rows} == {"succeeded"}, Counter(row["message"] for row in rows)
    assert max(row["attempt"] for row in rows) > 1  # a kill has met a build
    for row in rows:  # the attempt that succeeded is the last that was begun
        assert attempts[row["agent_id"], str(row["attempt"])] == 1
        assert (row["agent_id"], str(row["attempt"] + 1)) not in attempts
    events = Counter(
        (event["agent_id"], event["kind"], event["to_status"])
        for event in owner.rows("agent_event", limit="1000")
    )
    story = (("approved", "building"), ("status_changed", "active"))
    assert events == Counter({(agent, *event): 1 for agent in agents for event in story})
    assert {row["status"] for row in owner.rows("agent", limit="1000")} == {"active"}
    # No command outlives its builder.
    pids = [int(line.split()[2]) for line in started.read_text().splitlines()]
    until(lambda: not any(running_command(pid, script) for pid in pids))


# What the kill meets, and how it leaves the agent, its build and the attempt.
POINTS = {
    ("claim_builds", "asked"): ("building", "queued", 0),
    ("claim_builds", "done"): ("building", "running", 1),
    ("other", "done"): ("building", "running", 1),  # the document
    ("renew_build", "asked"): ("building", "running", 1),
    ("renew_build", "done"): ("building", "running", 1),
    ("finish_build", "asked"): ("building", "running", 1),
    ("finish_build", "done"): ("active", "succeeded", 1),
    ("fail_build", "asked"): ("building", "running", 1),
    ("fail_build", "done"): ("building", "queued", 1),
}
TELLING = (
    ("claim_builds", "done"),
    ("finish_build", "asked"),
    ("finish_build", "done"),
    ("fail_build", "done"),
)


@pytest.mark.anyio
@pytest.mark.parametrize(("call", "moment"), POINTS if SOAK else TELLING, ids=str)
@pytest.mark.soak
async def test_killed_at_a_point_of_a_call_another_builder_takes_over(
    stack: RunningStack, owner: Owner, tmp_path: Path, call: str, moment: str
) -> None:
    agent = owner.approved()["agent_id"]
    script = f"echo ::progress 10 Half; exit {int(call == 'fail_build')}"
    async with Proxy(stack.supabase_url) as proxy:
        with builder_process(stack, tmp_path, "sh", "-c", script, url=proxy.url) as victim:

            async def kill(exchange: Exchange) -> None:
                if moment == "done":
                    await exchange.forward()
                victim.process.kill()
                victim.process.wait()

            await asyncio.wait_for(proxy.once(call, kill).wait(), 60)
    left = owner.status(agent)
    assert left == POINTS[call, moment]

    async def build(_: Job) -> None:
        pass

    async with builder(stack, build):
        if left[0] == "building":
            await asyncio.to_thread(stack.make_due, agent)  # the lease, or the pause, is over
        attempt = left[2] + (left[0] == "building")
        await reaches(owner, agent, ("active", "succeeded", attempt))
    assert len(owner.builds(agent)) == 1
    kinds = [event["kind"] for event in owner.rows("agent_event", order="id")]
    assert kinds == ["approved", "status_changed"]


def running_command(pid: int, script: str) -> bool:
    try:
        return script in psutil.Process(pid).cmdline()
    except psutil.NoSuchProcess:
        return False


# Stops --------------------------------------------------------------------------------------------------

STOPS = 30 if SOAK else 6


@pytest.mark.soak
def test_stopped_at_any_moment_nothing_runs_on_and_nothing_is_published(
    stack: RunningStack, owner: Owner, tmp_path: Path, chance: random.Random
) -> None:
    """Two builders with builds of any length: each is stopped before its claim, meanwhile, at its end, or too late."""
    started = tmp_path / "started"
    # The title says how many seconds the command takes. It leaves a process behind.
    script = f"""
        sleep 1000 & echo $GREENLIGHT_AGENT_ID $$ $! >> {started}
        echo '::progress 50 Half'; sleep $GREENLIGHT_TITLE
        echo '{{"url": "https://example.com"}}' > $GREENLIGHT_RESULT
    """

    def everything(agent: str) -> tuple[list[Any], ...]:
        builds = owner.builds(agent)
        logs = owner.rows("build_log", build_id=f"eq.{builds[-1]['id']}", order="attempt")
        return [owner.agent(agent)], builds, logs, owner.rows("agent_event", agent_id=f"eq.{agent}")

    def begun() -> dict[str, list[int]]:
        lines = started.read_text().splitlines() if started.exists() else []
        return {agent: [*map(int, pids)] for agent, *pids in map(str.split, lines)}

    def has_begun(agent: str) -> bool:
        return agent in begun()

    stopped, late = {}, []
    with contextlib.ExitStack() as builders:
        for _ in range(2):
            process = builder_process(
                *(stack, tmp_path, "sh", "-c", script),
                flags=["--share-log"],
                lease_seconds=5,
                concurrency=3,
                grace=0.2,
            )
            builders.enter_context(process)
        for number in range(STOPS):
            title = "1000" if number % 2 else str(chance.choice((0, 0.1, 0.3)))
            agent = owner.approved(plan_id=f"stop{number}", title=title)["agent_id"]
            if number % 4 == 1:  # one that is running for certain
                until(partial(has_begun, agent))
            time.sleep(chance.uniform(0, 0.6))
            answer = owner.rpc("stop_build", agent_id=agent)
            if answer.is_success:
                stopped[agent] = everything(agent)
            else:
                assert answer.json()["message"] == "illegal_transition"
                late.append(agent)
        until(lambda: gone([pid for pids in begun().values() for pid in pids]))
        # The builders go on.
        last = owner.approved(plan_id="last", title="0")["agent_id"]
        until(lambda: owner.agent(last)["status"] == "active")

    assert stopped.keys() & begun().keys()  # a stop has met a command
    for agent, then in stopped.items():
        assert owner.status(agent)[:2] == ("failed", "cancelled")
        assert everything(agent) == then  # nothing was written after the stop
        (build,) = then[1]
        assert (build["result"], build["message"]) == (None, "Stopped by the owner.")
    for agent in [*late, last]:
        assert owner.status(agent) == ("active", "succeeded", 1)
        assert owner.build(agent)["result"] == {"url": "https://example.com"}
    assert {row["id"] for row in owner.rows("agent", status="eq.active")} == {*late, last}
