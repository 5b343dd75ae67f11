"""`greenlight notify --webhook`: what arrives, what each answer does, and what a death costs."""

import asyncio
import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from datetime import timedelta
from typing import Any

import httpx
import psycopg
import pytest

from local.processes import free_ports
from tests import SOAK
from tests.builder.conftest import eventually, until
from tests.caller import Caller
from tests.conftest import RunningStack
from tests.faults.proxy import Exchange, Proxy
from tests.notify.conftest import METADATA, SECRET, UI, Answer, Outbox, Received, Receiver, Start, ended
from tests.plan import new_session
from tests.services import CommandProcess


def build(stack: RunningStack, agent_id: str, **how: Any) -> None:
    claim = stack.claim(agent_id)
    named = {"build_id": claim["build_id"], "attempt": claim["attempt"]}
    stack.as_builder("fail_build" if "message" in how else "finish_build", **named, **how)


def test_a_day_in_its_life(
    stack: RunningStack, user: Caller, receiver: Receiver, outbox: Outbox, start: Start
) -> None:
    """From a proposal to an agent, each thing that happens arrives; nothing of it is in the log."""
    (port,) = free_ports(1)
    session = new_session()
    with start("--webhook", receiver.url, metrics_port=port, variables={"LOG_LEVEL": "debug"}) as process:
        user.proposed(plan_id=session, title="A zebra's plan", message="zebra?")
        user.done("request_changes", session_id=session, version=1, comment="No zebra.")
        user.proposed(plan_id=session, title="A zebra's plan", content="# Two\n", version=2)
        agent_id = user.approved(plan_id=session, title="A zebra's plan", content="# Two\n", version=2)[
            "agent_id"
        ]
        build(stack, agent_id, message="The zebra ran away.", retry=False)
        user.done("retry_build", agent_id=agent_id)
        build(stack, agent_id, result={"summary": "A zebra."})
        until(lambda: len(receiver.of(user)) == 6)
        ids = [got.event_id for got in receiver.of(user)]
        until(lambda: len(ended(process, *ids)) == 6)
        metrics = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        process.send(signal.SIGTERM)
        assert process.process.wait(60) == 0

    got = {each.event_id: each for each in receiver.of(user)}
    assert len(got) == 6
    by_kind = {each.kind: each.data for each in got.values()}
    assert Counter(each.kind for each in got.values()) == Counter(
        ["plan.proposed"] * 2 + ["plan.changes_requested", "plan.approved", "agent.failed", "agent.active"]
    )
    assert by_kind["plan.changes_requested"]["comment"] == "No zebra."
    assert by_kind["plan.changes_requested"]["review_url"] == f"{UI}/build?session={session}"
    assert by_kind["plan.approved"]["agent_url"] == f"{UI}/build/{agent_id}"
    assert by_kind["agent.failed"]["message"] == "The zebra ran away."
    assert by_kind["agent.active"]["result"] == {"summary": "A zebra."}
    assert {each["title"] for each in by_kind.values()} == {"A zebra's plan"}
    assert outbox.rows(user) == []

    assert re.search(r'^greenlight_notifications_ended_total{outcome="sent"} [1-9]', metrics, re.MULTILINE)
    events = [line["event"] for line in process.lines()]
    assert events[:2] == ["notifier_started", "notifier_subscribed"]
    assert events[-1] == "notifier_stopped"
    written = process.output.read_text() + process.errors.read_text()
    email = by_kind["plan.proposed"]["email"]
    assert email
    signatures = [each.headers["webhook-signature"] for each in got.values()]
    assert all(signatures)
    for secret in (
        "zebra",
        email,
        stack.secret_key,
        SECRET.partition("_")[2],
        "whsec_",
        "127.0.0.1",
        *signatures,
    ):
        assert secret not in written


def test_only_the_kinds_that_are_asked_for(
    user: Caller, receiver: Receiver, outbox: Outbox, start: Start
) -> None:
    with start("--webhook", receiver.url, kinds="plan.approved") as process:
        user.proposed()
        user.approved()
        until(lambda: outbox.rows(user) == [] and len(ended(process)) >= 2)
    assert [got.kind for got in receiver.of(user)] == ["plan.approved"]
    assert {"unwanted", "sent"} == {line["outcome"] for line in ended(process)}


def test_what_each_answer_does(
    user: Caller, receiver: Receiver, outbox: Outbox, start: Start, stack: RunningStack
) -> None:
    """One plan for each answer, all at once, since one of them takes its whole time."""
    trap = Receiver()
    trap.start()
    silence = threading.Event()
    answers = {
        "error": Answer(500, body=b"zebra"),
        "busy": Answer(429, {"Retry-After": "120"}),
        "gone": Answer(410),
        "wrong": Answer(404),
        "never": Answer(),
        "large": Answer(200, body=b"x" * 1_000_000),
        "moved": Answer(307, {"Location": trap.url}),
        "metadata": Answer(302, {"Location": METADATA}),
    }

    def answer(got: Received) -> Answer:
        if got.data["title"] == "never":
            silence.wait()
        return answers.get(got.data["title"], Answer())

    receiver.answer = answer
    with start("--webhook", receiver.url, concurrency=20) as process:
        for title in answers:
            user.proposed(plan_id=new_session(), title=title)
        until(lambda: len({got.data["title"] for got in receiver.of(user)}) == len(answers))
        ids = {got.data["title"]: got.event_id for got in receiver.of(user)}
        until(lambda: all(ended(process, event) for event in ids.values()))
    causes = {title: ended(process, event)[0]["cause"] for title, event in ids.items()}
    assert causes == {
        "error": "answered 500",
        "busy": "answered 429",
        "gone": "answered 410",
        "wrong": "answered 404",
        "never": "TimeoutError",
        "large": None,
        "moved": "answered 307",
        "metadata": "answered 302",
    }
    waiting = {row["data"]["title"]: row for row in outbox.rows(user)}
    assert waiting.keys() == answers.keys() - {"large"}
    assert {title for title, row in waiting.items() if row["status"] == "failed"} == {"gone", "wrong"}
    assert timedelta(seconds=100) < waiting["busy"]["wait"] <= timedelta(seconds=120)
    assert waiting["error"]["message"] == "answered 500"
    assert trap.received == []
    trap.kill()

    # It is mended: what was not refused for good arrives now, with the same ids.
    receiver.answer = lambda _: Answer()
    silence.set()
    first = len(receiver.of(user))
    outbox.make_due()
    with start("--webhook", receiver.url):
        until(lambda: len(receiver.of(user)) == first + 5)
        until(lambda: {row["status"] for row in outbox.rows(user)} == {"failed"})
    again = {got.data["title"]: got.event_id for got in receiver.of(user)[first:]}
    assert again == {title: ids[title] for title in ("error", "busy", "never", "moved", "metadata")}


def test_two_of_one_subscriber_share_the_work(
    user: Caller, receiver: Receiver, outbox: Outbox, start: Start
) -> None:
    hold = threading.Event()
    receiver.answer = lambda _: Answer() if hold.wait(60) else Answer(500)
    with (
        start("--webhook", receiver.url, concurrency=2) as first,
        start("--webhook", receiver.url, concurrency=2) as second,
    ):
        until(lambda: first.lines()[1:] and second.lines()[1:])
        for _ in range(12):
            user.proposed(plan_id=new_session())
        # Four are under way: two of each.
        until(lambda: len(receiver.of(user)) == 4)
        hold.set()
        until(lambda: outbox.rows(user) == [])
        ids = [got.event_id for got in receiver.of(user)]
        until(lambda: len(ended(first, *ids)) + len(ended(second, *ids)) == 12)
    assert len(ids) == len({*ids}) == 12
    assert ended(first, *ids)
    assert ended(second, *ids)


def test_the_signal_lets_it_finish_what_is_under_way(
    user: Caller, receiver: Receiver, outbox: Outbox, start: Start
) -> None:
    asked, go = threading.Event(), threading.Event()

    def answer(got: Received) -> Answer:
        if got.data["user_id"] == user.id:
            asked.set()
            go.wait(60)
        return Answer()

    receiver.answer = answer
    with start("--webhook", receiver.url, concurrency=1) as process:
        for _ in range(2):
            user.proposed(plan_id=new_session())
        assert asked.wait(60)
        process.send(signal.SIGTERM)
        until(lambda: process.lines()[-1]["event"] == "notifier_stopping")
        go.set()
        assert process.process.wait(60) == 0
    assert len(receiver.of(user)) == 1
    (left,) = outbox.rows(user)
    assert left["attempt"] == 0  # the other one was not touched


def test_a_receiver_that_dies_gets_it_when_it_is_back(
    user: Caller, receiver: Receiver, outbox: Outbox, start: Start
) -> None:
    def die(_: Received) -> Answer:
        receiver.kill()
        return Answer()

    receiver.answer = die
    with start("--webhook", receiver.url) as process:
        user.proposed()
        until(lambda: [line for line in ended(process) if line["outcome"] == "retried"])
        outbox.make_due()  # while it is away, it refuses connections
        until(lambda: [line for line in ended(process) if line["cause"] == "ConnectError"])
        receiver.answer = lambda _: Answer()
        receiver.start()
        outbox.make_due()
        until(lambda: outbox.rows(user) == [])
    assert len({got.event_id for got in receiver.of(user)}) == 1
    assert len(receiver.of(user)) == 2


# What the kill meets, and how often the receiver has been asked by then.
POINTS = {
    ("claim_notifications", "asked"): 0,
    ("claim_notifications", "done"): 0,
    ("finish_notification", "asked"): 1,
    ("finish_notification", "done"): 1,
    ("fail_notification", "asked"): 1,
    ("fail_notification", "done"): 1,
    ("receiver", "asked"): 1,
    ("receiver", "done"): 1,
}


@pytest.mark.anyio
@pytest.mark.parametrize(("call", "moment"), POINTS, ids=str)
async def test_killed_at_a_point_another_one_sends_it(
    stack: RunningStack,
    user: Caller,
    receiver: Receiver,
    outbox: Outbox,
    start: Start,
    call: str,
    moment: str,
) -> None:
    killed = asyncio.Event()
    loop = asyncio.get_running_loop()

    def kill(victim: CommandProcess) -> None:
        victim.process.kill()
        victim.process.wait()
        loop.call_soon_threadsafe(killed.set)

    async with Proxy(stack.supabase_url) as proxy:
        with start("--webhook", receiver.url, url=proxy.url) as victim:
            await eventually(lambda: len(victim.lines()) == 2)

            async def at_call(exchange: Exchange) -> None:
                if call == "claim_notifications" and not await asyncio.to_thread(outbox.rows, user):
                    proxy.once(call, at_call)
                    await exchange.reply(await exchange.forward())
                    return
                if moment == "done":
                    await exchange.forward()
                await asyncio.to_thread(kill, victim)

            def at_receiver(got: Received) -> Answer:
                if call == "receiver" and got.data["user_id"] == user.id:
                    if moment == "asked":
                        kill(victim)
                    else:
                        threading.Timer(0, kill, [victim]).start()
                return Answer(500 if call == "fail_notification" else 204)

            receiver.answer = at_receiver
            if call != "receiver":
                proxy.once(call, at_call)
            await asyncio.to_thread(user.proposed)
            await asyncio.wait_for(killed.wait(), 60)
    assert len(receiver.of(user)) == POINTS[call, moment]

    receiver.answer = lambda _: Answer()
    finished = (call, moment) == ("finish_notification", "done")
    with start("--webhook", receiver.url):
        await asyncio.to_thread(outbox.make_due)  # the lease, or the pause, is over
        await eventually(lambda: outbox.rows(user) == [])
    ids = [got.event_id for got in receiver.of(user)]
    assert len({*ids}) == 1
    if call != "receiver":  # a finished one is not sent again, any other one is
        assert len(ids) == POINTS[call, moment] + (not finished)


@pytest.mark.anyio
async def test_supabase_may_be_away_while_it_finishes(
    stack: RunningStack, user: Caller, receiver: Receiver, outbox: Outbox, start: Start
) -> None:
    async with Proxy(stack.supabase_url) as proxy:

        async def break_it(exchange: Exchange) -> None:
            exchange.reset()

        with start("--webhook", receiver.url, url=proxy.url) as process:
            hit = proxy.once("finish_notification", break_it)
            await asyncio.to_thread(user.proposed)
            await asyncio.wait_for(hit.wait(), 60)
            await eventually(lambda: outbox.rows(user) == [])
            await eventually(lambda: ended(process, *(got.event_id for got in receiver.of(user))))
    assert len(receiver.of(user)) == 1


def test_what_was_rolled_back_is_not_sent(
    stack: RunningStack, user: Caller, receiver: Receiver, outbox: Outbox, start: Start
) -> None:
    session = new_session()
    user.proposed(plan_id=session)
    with start("--webhook", receiver.url, concurrency=1):
        until(lambda: len(receiver.of(user)) == 1)
        roll_back_a_withdrawal(stack, user, session)
        user.done("reject_plan", session_id=session, version=1)
        until(lambda: len(receiver.of(user)) == 2)
        until(lambda: outbox.rows(user) == [])
    assert [got.kind for got in receiver.of(user)] == ["plan.proposed", "plan.rejected"]


def roll_back_a_withdrawal(stack: RunningStack, user: Caller, session: str) -> None:
    with psycopg.connect(stack.needs_database()) as database:
        database.execute("set local role service_role")
        database.execute(
            "select public.withdraw_plan(session_id => %s, version => 1, user_id => %s)", [session, user.id]
        )
        database.rollback()


def test_a_user_who_is_deleted_takes_along_what_waits(
    stack: RunningStack, user: Caller, outbox: Outbox
) -> None:
    user.proposed()
    assert len(outbox.rows(user)) == 1
    stack.delete_user(user.id)
    assert outbox.rows(user) == []


@pytest.mark.parametrize(
    ("changed", "options", "status", "complaint"),
    [
        ({}, [], 2, "Give exactly one of --webhook URL, --mail and --to URL."),
        ({}, ["--mail", "--webhook=https://x"], 2, "Give exactly one of"),
        ({"SUPABASE_URL": ""}, ["--webhook=https://x"], 2, "SUPABASE_URL is not set"),
        ({"WEBHOOK_SECRET": ""}, ["--webhook=https://x"], 2, "WEBHOOK_SECRET is not set"),
        ({"WEBHOOK_SECRET": "whsec_zebra"}, ["--webhook=https://x"], 2, "WEBHOOK_SECRET: must be whsec_"),
        ({}, ["--mail"], 2, "SMTP_URL is not set\nMAIL_FROM is not set"),
        ({}, ["--webhook=https://x", "--kinds=plan.liked"], 2, "--kinds: must be some of"),
        ({}, ["--webhook=https://x", "--templates=/nowhere"], 2, "--templates"),
        ({}, ["--webhook=https://x", "--concurrency=101"], 2, "--concurrency"),
        ({}, ["--webhook=https://x", "--subscriber=A b"], 3, "invalid_subscriber"),
        (
            {"SUPABASE_SECRET_KEY": "sb_secret_wrong"},
            ["--webhook=https://x"],
            3,
            "not this project's secret key",
        ),
    ],
)
def test_it_says_why_it_cannot_start(
    stack: RunningStack, changed: dict[str, str], options: list[str], status: int, complaint: str
) -> None:
    known = {name: os.environ[name] for name in ("PATH", "HOME", "LD_LIBRARY_PATH") if name in os.environ}
    settings = {
        "SUPABASE_URL": stack.supabase_url,
        "SUPABASE_SECRET_KEY": stack.secret_key,
        "WEBHOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    }
    result = subprocess.run(
        [sys.executable, "-m", "greenlight", "notify", *options],
        env={**known, **settings, **changed},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == status, result.stderr
    assert complaint in result.stderr
    for unwanted in ("Traceback", "sb_secret", "zebra"):
        assert unwanted not in result.stderr


EVENTS, KILLS, NOTIFIERS = (600, 60, 3) if SOAK else (40, 5, 2)


@pytest.mark.soak
def test_killed_at_any_moment_each_event_arrives(
    stack: RunningStack,
    user: Caller,
    receiver: Receiver,
    outbox: Outbox,
    start: Start,
    chance: random.Random,
) -> None:
    """Notifiers and receiver die, one after the other: each event arrives, none that was rolled back."""
    sessions = [new_session() for _ in range(EVENTS)]
    kills = [chance.choice(("notifier", "notifier", "receiver")) for _ in range(KILLS)]

    with contextlib.ExitStack() as notifiers:

        def begin() -> CommandProcess:
            concurrency = chance.choice((1, 4))
            return notifiers.enter_context(start("--webhook", receiver.url, concurrency=concurrency))

        running = [begin() for _ in range(NOTIFIERS)]
        for number, session in enumerate(sessions):
            user.proposed(plan_id=session)
            if number % 3 == 0:
                roll_back_a_withdrawal(stack, user, session)
            if number % (EVENTS // KILLS) == 0 and kills:
                time.sleep(chance.uniform(0, 0.1))
                if kills.pop() == "receiver":
                    receiver.kill()
                    time.sleep(chance.uniform(0, 0.1))
                    receiver.start()
                else:
                    victim = running.pop(0)
                    victim.process.kill()
                    victim.process.wait()
                    running.append(begin())

        def all_arrived() -> bool:
            outbox.make_due()  # the leases of the dead are over
            return outbox.rows(user) == []

        until(all_arrived, seconds=300)
    arrived = Counter(got.data["session_id"] for got in receiver.of(user))
    assert arrived.keys() == {*sessions}
    assert {got.kind for got in receiver.of(user)} == {"plan.proposed"}
    assert len({got.event_id for got in receiver.of(user)}) == EVENTS
