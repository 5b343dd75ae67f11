"""A builder beside a real Supabase: what it builds, how it fails, what ends it, and Supabase away."""

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from greenlight import loop
from greenlight.builder import BuildFailed, Job, SupabaseRefusedError
from greenlight.builder import builder as module
from greenlight.builder.builder import Builder
from tests.builder.conftest import Owner, builder, eventually, reaches
from tests.conftest import RunningStack
from tests.faults.proxy import Exchange, Handler, Proxy, answer, pass_on
from tests.plan import new_session, sha256

pytestmark = pytest.mark.anyio


async def succeed(_: Job) -> None:
    pass


class Held:
    """A build function that goes on until it is released or cancelled."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.cancelled: list[bool] = []  # what each job that was cancelled said of itself
        self.release = asyncio.Event()

    async def __call__(self, job: Job) -> None:
        self.jobs.append(job)
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled.append(job.cancelled)
            raise

    async def started(self, count: int = 1) -> None:
        await eventually(lambda: len(self.jobs) == count)


@pytest.fixture
async def proxy(stack: RunningStack) -> AsyncIterator[Proxy]:
    async with Proxy(stack.supabase_url) as started:
        yield started


def outcomes(started: Builder) -> dict[str, int]:
    """Return how many attempts ended how."""
    samples = next(iter(started.metrics.ended.collect())).samples
    return {
        sample.labels["outcome"]: int(sample.value) for sample in samples if sample.name.endswith("_total")
    }


def at(proxy: Proxy, call: str, handler: Handler, times: int = 1) -> None:
    """Have the next calls of an RPC dealt with by this handler, and pass on those after them."""
    left = times

    async def dispatch(exchange: Exchange) -> None:
        nonlocal left
        if left:
            left -= 1
            await handler(exchange)
        else:
            await pass_on(exchange)

    proxy.handlers[call] = dispatch


def called(proxy: Proxy, name: str) -> list[Any]:
    """Return the bodies of the calls of that name that came through."""
    return [json.loads(request.body) for request in proxy.seen if request.start[1].endswith(f"/rpc/{name}")]


# What it builds -----------------------------------------------------------------------------------------


async def test_an_approved_plan_is_built_and_its_agent_active(stack: RunningStack, owner: Owner) -> None:
    content = "# Café\r\n\r\nDo it. ☕\n"
    session = new_session()
    approval = owner.approved(plan_id=session, content=content, title="Café ☕")
    jobs: list[Job] = []

    async def build(job: Job) -> None:
        jobs.append(job)

    async with builder(stack, build, worker="the builder"):
        await reaches(owner, approval["agent_id"], ("active", "succeeded", 1))

    (job,) = jobs
    row = owner.build(approval["agent_id"])
    assert row["worker"] == "the builder"
    assert (job.build_id, job.attempt) == (row["id"], 1)
    assert (job.agent_id, job.plan_id, job.user_id) == (approval["agent_id"], approval["plan_id"], owner.id)
    assert (job.session_id, job.version, job.title) == (session, 1, "Café ☕")
    assert job.document == content.encode()
    assert job.document_sha256 == sha256(content)


async def test_it_gets_the_note_of_the_approval_if_there_is_one(stack: RunningStack, owner: Owner) -> None:
    said = {
        "comment": "The blue one.\n☕",
        "comments": [{"start": 2, "end": 6, "exact": "plän", "body": 'Which "one"?'}],
    }
    noted = owner.approved(content="# plän\n", **said)["agent_id"]
    plain = owner.approved(content="# plän\n", plan_id=new_session())["agent_id"]
    jobs: dict[str, Job] = {}

    async def build(job: Job) -> None:
        jobs[job.agent_id] = job

    async with builder(stack, build, concurrency=2):
        await eventually(lambda: len(jobs) == 2)
    assert {"comment": jobs[noted].comment, "comments": jobs[noted].comments} == said
    assert (jobs[plain].comment, jobs[plain].comments) == (None, None)


async def test_reports_show_while_it_runs_and_the_last_one_stays(stack: RunningStack, owner: Owner) -> None:
    agent = owner.approved()["agent_id"]
    seen = asyncio.Event()

    async def build(job: Job) -> None:
        for number in range(41):
            job.report(number, f"Step {number}")
        await seen.wait()
        await asyncio.to_thread(job.report, 99)
        job.report(message="almost\x00 there\n")

    async with builder(stack, build):
        await eventually(lambda: owner.build(agent)["progress"] == 40)
        assert owner.build(agent)["message"] == "Step 40"
        seen.set()
        await reaches(owner, agent, ("active", "succeeded", 1))

    row = owner.build(agent)
    assert (row["progress"], row["message"]) == (99, "almost  there")


async def test_a_report_under_way_does_not_replace_the_last_one(
    stack: RunningStack, owner: Owner, proxy: Proxy
) -> None:
    agent = owner.approved()["agent_id"]
    under_way, overtaken, arrived = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow(exchange: Exchange) -> None:
        """Hold the first report until another one has overtaken it, if there is one."""
        if under_way.is_set():
            await pass_on(exchange)
            overtaken.set()
            return
        under_way.set()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(overtaken.wait(), 0.5)
        answer = await exchange.forward()
        arrived.set()
        await exchange.reply(answer)

    async def last(exchange: Exchange) -> None:
        await arrived.wait()
        await pass_on(exchange)

    proxy.handlers |= {"renew_build": slow, "finish_build": last}

    async def build(job: Job) -> None:
        job.report(30, "Reading")
        await under_way.wait()
        job.report(90)

    async with builder(stack, build, url=proxy.url):
        await reaches(owner, agent, ("active", "succeeded", 1))
    row = owner.build(agent)
    assert (row["progress"], row["message"]) == (90, "Reading")
    assert [body["progress"] for body in called(proxy, "renew_build")] == [30, 90]


async def test_reports_are_sent_at_most_twice_a_second(
    stack: RunningStack, owner: Owner, proxy: Proxy
) -> None:
    agent = owner.approved()["agent_id"]

    async def build(job: Job) -> None:
        for number in range(100):
            job.report(number)
            await asyncio.sleep(0.02)

    async with builder(stack, build, url=proxy.url):
        began = time.monotonic()
        await eventually(lambda: owner.status(agent)[0] == "active")
        spent = time.monotonic() - began

    reports = [body["progress"] for body in called(proxy, "renew_build")]
    assert reports[-1] == 99
    assert 2 < len(reports) <= 2 + spent / module.REPORT_SECONDS


async def test_a_report_out_of_range_is_refused(stack: RunningStack, owner: Owner) -> None:
    agent = owner.approved()["agent_id"]

    async def build(job: Job) -> None:
        job.report(101)

    async with builder(stack, build):
        await eventually(lambda: owner.build(agent)["message"] is not None)
    assert owner.build(agent)["message"] == "ValueError: progress must be from 0 to 100, not 101"


# How it fails -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (BuildFailed("No oven."), ("building", "queued", 1), "No oven."),
        (BuildFailed("No recipe.", retry=False), ("failed", "failed", 1), "No recipe."),
        (OSError(28, "No space left"), ("building", "queued", 1), "OSError: [Errno 28] No space left"),
        (BuildFailed("x" * 600), ("building", "queued", 1), "x" * 500),
        (BuildFailed("half \ud83d of\x00 it"), ("building", "queued", 1), "half ? of  it"),
    ],
    ids=["again", "for-good", "an-exception", "a-long-message", "odd-characters"],
)
async def test_a_failing_build(
    stack: RunningStack, owner: Owner, error: Exception, status: tuple[str, str, int], message: str
) -> None:
    agent = owner.approved()["agent_id"]

    async def build(_: Job) -> None:
        raise error

    async with builder(stack, build):
        await reaches(owner, agent, status)
    assert owner.build(agent)["message"] == message


async def test_a_document_that_is_not_the_approved_one_is_not_built(
    stack: RunningStack, owner: Owner
) -> None:
    approval = owner.approved(content="# What was approved\n")
    (plan,) = owner.rows("plan", id=f"eq.{approval['plan_id']}")
    stack.tamper(plan["document_path"], b"# Something else\n")
    built = Held()

    async with builder(stack, built):
        await reaches(owner, approval["agent_id"], ("failed", "failed", 1))

    assert built.jobs == []
    message = owner.build(approval["agent_id"])["message"]
    assert plan["document_sha256"] in message
    assert sha256(b"# Something else\n") in message


async def test_a_page_of_a_gateway_in_place_of_the_document_does_not_fail_the_build(
    stack: RunningStack, owner: Owner, proxy: Proxy
) -> None:
    agent = owner.approved(content="# What was approved\n")["agent_id"]
    built = Held()
    built.release.set()

    at(proxy, "other", garbage)
    async with builder(stack, built, url=proxy.url):
        await reaches(owner, agent, ("active", "succeeded", 1))

    assert [job.document for job in built.jobs] == [b"# What was approved\n"]


async def test_a_document_that_storage_does_not_give_is_tried_again(
    stack: RunningStack, owner: Owner, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DOWNLOAD_SECONDS", 0.5)
    agent = owner.approved()["agent_id"]

    proxy.handlers["other"] = unavailable
    async with builder(stack, succeed, url=proxy.url):
        await reaches(owner, agent, ("building", "queued", 1))
    assert owner.build(agent)["message"] == "The document could not be read: Storage did not answer."


async def test_a_poison_build_fails_after_five_attempts(stack: RunningStack, owner: Owner) -> None:
    agent = owner.approved()["agent_id"]

    async def build(job: Job) -> None:
        raise BuildFailed(f"Attempt {job.attempt}")

    async with builder(stack, build):
        for attempt in range(1, 6):
            status = ("building", "queued", attempt) if attempt < 5 else ("failed", "failed", 5)
            await reaches(owner, agent, status)
            stack.make_due(agent)
    assert owner.build(agent)["message"] == "Attempt 5"


async def test_of_a_document_that_is_too_large_no_more_is_read(
    stack: RunningStack, owner: Owner, proxy: Proxy
) -> None:
    agent = owner.approved()["agent_id"]

    async def huge(exchange: Exchange) -> None:
        await exchange.reply(answer(200, b"x" * 5 * 2**20, "text/markdown"))

    proxy.handlers["other"] = huge
    async with builder(stack, succeed, url=proxy.url):
        await reaches(owner, agent, ("failed", "failed", 1))
    why = "The stored document is not the approved one: it has more than 1,048,576 bytes."
    assert owner.build(agent)["message"] == why


# What it made, and what it wrote --------------------------------------------------------------------------


class Making:
    """A build function that returns this, and writes that."""

    def __init__(self, result: Any, *written: str) -> None:
        self.result, self.written = result, written

    async def __call__(self, job: Job) -> Any:
        for text in self.written:
            job.log(text)
        return self.result


async def test_the_owner_sees_what_it_made_and_wrote_and_a_stranger_does_not(
    stack: RunningStack, owner: Owner
) -> None:
    agent = owner.approved()["agent_id"]
    result = {
        "url": "https://example.com/é?a=1&b=2",
        "summary": "Two pages. 🥐",
        "more": {"n": [1, 2.5, None]},
    }
    async with builder(stack, Making(result, "\x1b[32mMixing\x1b[0m\0", "Baking\ud83e\r\n")):
        await reaches(owner, agent, ("active", "succeeded", 1))
    row = owner.build(agent)
    assert row["result"] == result
    (log,) = owner.rows("build_log", build_id=f"eq.{row['id']}", order="attempt")
    assert (log["attempt"], log["content"]) == (1, "\x1b[32mMixing\x1b[0m�\nBaking�\r\n")

    stranger = replace(owner, token=stack.sign_up().token)
    assert stranger.rows("build", id=f"eq.{row['id']}") == []
    assert stranger.rows("build_log", build_id=f"eq.{row['id']}", order="attempt") == []


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (["https://example.com"], "The result is not a JSON object."),
        ({"when": {1}}, "The result cannot be JSON: Object of type set is not JSON serializable."),
        ({"x": "é" * 8200}, "The result has 16,409 bytes, and may have 16,384."),
        ({"x": "\0"}, "The result has the character U+0000."),
        ({"x": "\ud83d"}, "The result has half of a surrogate pair."),
        # jsonb writes out an exponent, so that only the database knows.
        (
            {"x": [1e300] * 60},
            "The result was refused: result is no JSON object, or is larger than 16,384 bytes.",
        ),
    ],
)
async def test_a_wrong_result_fails_the_build_for_good(
    stack: RunningStack, owner: Owner, result: Any, message: str
) -> None:
    agent = owner.approved()["agent_id"]
    async with builder(stack, Making(result, "Done.")):
        await reaches(owner, agent, ("failed", "failed", 1))
    row = owner.build(agent)
    assert (row["message"], row["result"]) == (message, None)
    (log,) = owner.rows("build_log", build_id=f"eq.{row['id']}", order="attempt")
    assert log["content"] == "Done.\n"


@pytest.mark.parametrize("size", [16_384, 16_385])
async def test_the_database_counts_a_result_as_the_builder_does(
    stack: RunningStack, owner: Owner, size: int
) -> None:
    agent = owner.approved()["agent_id"]
    value: dict[str, Any] = {
        "a": [1, -2.5, True, None, {}, []],
        "é\n\x01\x7f": '\\ " / \t \u2028 🥐',
        "x": "",
    }
    value["x"] = "x" * (size - len(json.dumps(value, ensure_ascii=False).encode()))
    async with builder(stack, Making(value)):
        fits = size == 16_384
        await reaches(owner, agent, ("active", "succeeded", 1) if fits else ("failed", "failed", 1))
    assert owner.build(agent)["result"] == (value if fits else None)
    answer = owner.post(  # what the database says, whatever the builder thinks
        "/rest/v1/rpc/finish_build",
        json={"build_id": owner.build(agent)["id"], "attempt": 1, "result": value},
        headers={"apikey": stack.secret_key, "Authorization": f"Bearer {stack.secret_key}"},
    )
    assert answer.json().get("message") == (None if fits else "invalid_result")


async def test_each_attempt_has_its_log(stack: RunningStack, owner: Owner) -> None:
    agent = owner.approved()["agent_id"]

    async def build(job: Job) -> None:
        job.log(f"Attempt {job.attempt}")
        if job.attempt == 1:
            raise BuildFailed("No oven.")

    async with builder(stack, build):
        await reaches(owner, agent, ("building", "queued", 1))
        stack.make_due(agent)
        await reaches(owner, agent, ("active", "succeeded", 2))
    logs = owner.rows("build_log", build_id=f"eq.{owner.build(agent)['id']}", order="attempt")
    assert [log["content"] for log in logs] == ["Attempt 1\n", "Attempt 2\n"]


def content(owner: Owner, agent_id: str) -> str | None:
    """Return the log of the only attempt."""
    rows = owner.rows("build_log", build_id=f"eq.{owner.build(agent_id)['id']}", order="attempt")
    return rows[0]["content"] if rows else None


async def test_the_end_of_the_log_is_sent_while_it_runs_and_all_at_the_end(
    stack: RunningStack, owner: Owner, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_LOG_SECONDS", 0.0)
    agent = owner.approved()["agent_id"]
    shown = asyncio.Event()

    async def build(job: Job) -> None:
        await asyncio.to_thread(job.log, "x" * 100_000)
        await shown.wait()
        job.log("more")

    async with builder(stack, build, url=proxy.url):
        await eventually(lambda: content(owner, agent) == "x" * 16_383 + "\n")
        shown.set()
        await reaches(owner, agent, ("active", "succeeded", 1))
    assert content(owner, agent) == "x" * 65_530 + "\nmore\n"
    assert len(called(proxy, "renew_build")) == 1


async def test_the_log_is_sent_again_after_its_time_and_only_if_it_changed(
    stack: RunningStack, owner: Owner, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_LOG_SECONDS", 0.0)
    agent = owner.approved()["agent_id"]
    seen = asyncio.Event()

    async def build(job: Job) -> None:
        job.log("One")
        await seen.wait()
        job.log("Two")  # it does not wait for the next renewal
        await asyncio.Event().wait()

    monkeypatch.setattr(module, "LOG_SECONDS", 0.05)
    async with builder(stack, build, url=proxy.url):
        await eventually(lambda: content(owner, agent) == "One\n")
        seen.set()
        await eventually(lambda: content(owner, agent) == "One\nTwo\n")
    assert [body["log"] for body in called(proxy, "renew_build")] == ["One\n", "One\nTwo\n"]


async def test_what_is_written_before_its_time_waits_however_often_it_renews(
    stack: RunningStack, owner: Owner, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_LOG_SECONDS", 0.0)
    agent = owner.approved()["agent_id"]
    held = Held()

    def shows(progress: int) -> bool:
        return bool(owner.build(agent)["progress"] == progress)

    async def build(job: Job) -> None:
        for number in range(3):
            job.log(str(number))
            job.report(number)
            await eventually(partial(shows, number))
        await held(job)

    async with builder(stack, build, url=proxy.url, lease_seconds=6):
        await held.started()
        await eventually(lambda: len(called(proxy, "renew_build")) > 3)  # the last without a report
        held.release.set()
        await reaches(owner, agent, ("active", "succeeded", 1))
    first, *later = called(proxy, "renew_build")
    assert first["log"] == "0\n"
    assert all("log" not in body for body in later)
    assert content(owner, agent) == "0\n1\n2\n"


async def test_a_renewal_that_fails_sends_the_log_again(
    stack: RunningStack, owner: Owner, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_LOG_SECONDS", 0.0)
    agent = owner.approved()["agent_id"]
    held = Held()

    async def build(job: Job) -> None:
        job.log("Mixing")
        await held(job)

    at(proxy, "renew_build", unavailable)
    async with builder(stack, build, url=proxy.url, lease_seconds=6):
        await eventually(lambda: owner.rows("build_log", user_id=f"eq.{owner.id}", order="attempt"))
        held.release.set()
        await reaches(owner, agent, ("active", "succeeded", 1))
    assert [body["log"] for body in called(proxy, "renew_build")] == ["Mixing\n"] * 2


# What it needs ------------------------------------------------------------------------------------------


async def test_while_it_cannot_work_it_claims_nothing_and_another_one_builds(
    stack: RunningStack, owner: Owner, proxy: Proxy
) -> None:
    looks, full = 0, True

    def ready(seconds: float) -> None:
        nonlocal looks
        looks += 1
        assert seconds > loop.CHECK_SECONDS
        if full:
            raise OSError(28, "No space left on device")

    agent = owner.approved()["agent_id"]
    async with builder(stack, succeed, url=proxy.url, ready=ready, worker="full") as started:
        await eventually(lambda: looks == 3)
        assert started.metrics.ready._value.get() == 0
        async with builder(stack, succeed, worker="healthy"):
            await reaches(owner, agent, ("active", "succeeded", 1))
        assert owner.build(agent)["worker"] == "healthy"
        assert called(proxy, "claim_builds") == []

        full = False
        agent = owner.approved()["agent_id"]
        await reaches(owner, agent, ("active", "succeeded", 1))
        assert owner.build(agent)["worker"] == "full"
        assert started.metrics.ready._value.get() == 1


async def test_what_runs_goes_on_while_nothing_new_can_be_begun(stack: RunningStack, owner: Owner) -> None:
    held = Held()

    def ready(_: float) -> None:
        if held.jobs:
            raise OSError(28, "No space left on device")

    first = owner.approved()["agent_id"]
    async with builder(stack, held, ready=ready, concurrency=2) as started:
        await held.started()
        await eventually(lambda: started.metrics.ready._value.get() == 0)
        second = owner.approved()["agent_id"]
        held.release.set()
        await reaches(owner, first, ("active", "succeeded", 1))
    assert owner.status(second) == ("building", "queued", 0)


# Many at once -------------------------------------------------------------------------------------------


async def test_eight_builders_build_two_hundred_once_each(stack: RunningStack, owner: Owner) -> None:
    agents = {owner.approved(content=f"# Plan {number}\n")["agent_id"] for number in range(200)}
    built: Counter[tuple[str, int]] = Counter()

    async def build(job: Job) -> None:
        built[job.agent_id, job.attempt] += 1
        await asyncio.sleep(0.01)

    async with contextlib.AsyncExitStack() as builders:
        for number in range(8):
            await builders.enter_async_context(builder(stack, build, concurrency=1 + number % 3))
        await eventually(lambda: not owner.rows("agent", status="eq.building"))

    assert built == Counter({(agent, 1): 1 for agent in agents})
    assert {row["status"] for row in owner.rows("agent")} == {"active"}
    assert {(row["status"], row["attempt"]) for row in owner.rows("build")} == {("succeeded", 1)}


async def test_no_more_than_concurrency_at_once_and_the_next_at_once(
    stack: RunningStack, owner: Owner
) -> None:
    for number in range(9):
        owner.approved(content=f"# Plan {number}\n")
    running = most = 0

    async def build(_: Job) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.1)
        running -= 1

    # With this pause between polls, nine builds would take an hour if it waited between them.
    async with builder(stack, build, concurrency=3, poll_seconds=1200):
        await eventually(lambda: len(owner.rows("agent", status="eq.active")) == 9)
    assert most == 3


# What ends it -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["revised", "archived", "deleted", "the user is gone"])
async def test_what_is_not_wanted_any_more_is_ended(stack: RunningStack, owner: Owner, change: str) -> None:
    session = new_session()
    agent = owner.approved(plan_id=session)["agent_id"]
    held = Held()
    async with builder(stack, held, lease_seconds=5):
        await held.started()
        match change:
            case "revised":
                owner.approved(content="# Better\n", plan_id=session, version=2)
            case "archived":
                owner.done("transition_agent", agent_id=agent, to_status="archived")
            case "deleted":
                owner.done("delete_agent", agent_id=agent)
            case _:
                stack.delete_user(owner.id)
        await eventually(lambda: held.cancelled == [True])
        if change == "revised":
            await held.started(2)
            assert (held.jobs[1].version, held.jobs[1].document) == (2, b"# Better\n")
            held.release.set()
            await eventually(lambda: owner.agent(agent)["status"] == "active")
            assert [row["status"] for row in owner.builds(agent)] == ["cancelled", "succeeded"]


async def test_a_build_that_finishes_when_it_is_lost_changes_nothing(
    stack: RunningStack, owner: Owner
) -> None:
    approval = owner.approved()
    held = Held()
    async with builder(stack, held) as started:  # its lease is long: it learns of it when it finishes
        await held.started()
        owner.done("transition_agent", agent_id=approval["agent_id"], to_status="archived")
        held.release.set()
        await eventually(lambda: outcomes(started) == {"lost": 1})
    assert held.cancelled == []
    assert owner.status(approval["agent_id"]) == ("archived", "cancelled", 1)


@pytest.mark.parametrize("moment", ["the claim", "the download", "the work", "the end"])
async def test_a_stopped_build_publishes_nothing(
    stack: RunningStack, owner: Owner, proxy: Proxy, moment: str
) -> None:
    agent = owner.approved()["agent_id"]
    held = Held()
    arrived, on = asyncio.Event(), asyncio.Event()

    async def build(job: Job) -> dict[str, Any]:
        job.log("Working")
        await held(job)
        return {"url": "https://example.com"}

    async def hold(exchange: Exchange) -> None:
        if not arrived.is_set():
            arrived.set()
            await on.wait()
        await pass_on(exchange)

    calls = {"the claim": "claim_builds", "the download": "other", "the end": "finish_build"}
    if moment in calls:
        proxy.handlers[calls[moment]] = hold
    if moment == "the end":
        held.release.set()
    async with builder(stack, build, url=proxy.url, lease_seconds=5) as started:
        await (arrived.wait() if moment in calls else held.started())
        assert owner.done("stop_build", agent_id=agent)["status"] == "failed"
        if moment != "the download":  # that one is ended while it waits
            on.set()
        if moment != "the claim":  # it claims nothing
            await eventually(lambda: outcomes(started) == {"lost": 1})
        on.set()
        # The builder goes on with others.
        held.release.set()
        other = owner.approved(plan_id=new_session())["agent_id"]
        await reaches(owner, other, ("active", "succeeded", 1))

    row = owner.build(agent)
    assert owner.status(agent) == ("failed", "cancelled", 0 if moment == "the claim" else 1)
    assert (row["result"], row["message"]) == (None, "Stopped by the owner.")
    assert owner.rows("build_log", build_id=f"eq.{row['id']}", order="attempt") == []
    assert held.cancelled == ([True] if moment == "the work" else [])
    begun = [job.agent_id for job in held.jobs]
    assert begun == ([agent, other] if moment in {"the work", "the end"} else [other])


async def test_a_build_that_ended_is_not_stopped_any_more(stack: RunningStack, owner: Owner) -> None:
    agent = owner.approved()["agent_id"]
    async with builder(stack, Making({"url": "https://example.com"})):
        await reaches(owner, agent, ("active", "succeeded", 1))
    assert owner.rpc("stop_build", agent_id=agent).json()["message"] == "illegal_transition"
    assert owner.build(agent)["result"] == {"url": "https://example.com"}


# While Supabase is away ---------------------------------------------------------------------------------


async def lost_after(exchange: Exchange) -> None:
    """Let the call happen, and lose its answer."""
    await exchange.forward()
    exchange.reset()


async def lost_before(exchange: Exchange) -> None:
    exchange.reset()


async def unavailable(exchange: Exchange) -> None:
    await exchange.reply(answer(503))


async def garbage(exchange: Exchange) -> None:
    await exchange.reply(answer(200, b"<html>", "text/html"))


async def cut_in_the_middle(exchange: Exchange) -> None:
    await exchange.reply_half(await exchange.forward())


async def empty_code(exchange: Exchange) -> None:
    # What PostgREST 14.17 says when Postgres goes away during a call.
    await exchange.reply(answer(400, b'{"code":"","details":null,"hint":null,"message":""}'))


CALLS = ("claim_builds", "renew_build", "finish_build", "fail_build")
# What an answer means is the same for every call.
FAULTS = [
    *((call, fault) for call in CALLS for fault in (lost_before, lost_after, cut_in_the_middle)),
    *(("finish_build", fault) for fault in (unavailable, garbage, empty_code)),
]


@pytest.mark.parametrize(
    ("call", "fault"), FAULTS, ids=lambda value: value if isinstance(value, str) else value.__name__
)
async def test_a_call_that_fails_is_repeated(
    stack: RunningStack, owner: Owner, proxy: Proxy, call: str, fault: Handler
) -> None:
    agent = owner.approved()["agent_id"]
    at(proxy, call, fault, times=2)

    async def build(job: Job) -> None:
        job.report(50, "half")
        if call == "fail_build":
            raise BuildFailed("No oven.", retry=False)

    async with builder(stack, build, url=proxy.url) as started:
        if call == "claim_builds" and fault in {lost_after, cut_in_the_middle}:
            # The build is claimed, and its builder does not know: that costs one lease, each time.
            for attempt in (1, 2):
                await reaches(owner, agent, ("building", "running", attempt))
                stack.make_due(agent)
        expected = ("failed", "failed") if call == "fail_build" else ("active", "succeeded")
        await eventually(lambda: owner.status(agent)[:2] == expected)
        await eventually(lambda: sum(outcomes(started).values()) == 1)

    assert outcomes(started) == {expected[1]: 1}
    row = owner.build(agent)
    assert (row["progress"], row["message"]) == (50, "No oven." if call == "fail_build" else "half")
    assert len(called(proxy, call)) >= 3


async def test_supabase_may_be_away_for_days(stack: RunningStack) -> None:
    async with builder(stack, succeed) as started:
        for failures in (1, 10, 100, 100_000):
            assert 0 < started._pause(failures) <= 1.5 * loop.LONGEST_PAUSE


async def test_cut_off_beyond_its_lease_it_loses_the_build(
    stack: RunningStack, owner: Owner, proxy: Proxy
) -> None:
    agent = owner.approved()["agent_id"]
    late, other = Held(), Held()
    other.release.set()
    async with builder(stack, late, url=proxy.url, lease_seconds=5) as first:
        await late.started()
        proxy.refuse()
        stack.make_due(agent)  # the lease ends
        async with builder(stack, other) as second:
            await reaches(owner, agent, ("active", "succeeded", 2))
            assert late.cancelled == []  # it cannot know
            await proxy.listen()
            await eventually(lambda: late.cancelled == [True])
            await eventually(lambda: outcomes(first) == {"lost": 1})
        assert outcomes(second) == {"succeeded": 1}
    assert owner.status(agent) == ("active", "succeeded", 2)


async def test_cut_off_and_back_before_anyone_else_took_the_build_it_finishes_it(
    stack: RunningStack, owner: Owner, proxy: Proxy
) -> None:
    agent = owner.approved()["agent_id"]
    held = Held()
    async with builder(stack, held, url=proxy.url, lease_seconds=5):
        await held.started()
        proxy.refuse()
        stack.make_due(agent)
        held.release.set()
        await proxy.listen()
        await reaches(owner, agent, ("active", "succeeded", 1))


async def test_the_lease_is_renewed_while_it_runs(stack: RunningStack, owner: Owner, proxy: Proxy) -> None:
    agent = owner.approved()["agent_id"]
    held = Held()
    async with builder(stack, held, url=proxy.url, lease_seconds=5):
        await eventually(lambda: len(called(proxy, "renew_build")) == 2)
        held.release.set()
        await reaches(owner, agent, ("active", "succeeded", 1))
    assert all(body["lease_seconds"] == 5 for body in called(proxy, "renew_build"))


async def test_a_key_that_supabase_refuses_ends_it_at_the_start(
    stack: RunningStack, owner: Owner, proxy: Proxy
) -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.reply(answer(401))

    at(proxy, "claim_builds", refuse)
    with pytest.raises(SupabaseRefusedError):
        async with builder(stack, succeed, url=proxy.url) as started:
            await eventually(lambda: called(proxy, "claim_builds"))
    assert outcomes(started) == {}


async def test_a_key_that_is_refused_later_does_not_end_it(
    stack: RunningStack, owner: Owner, proxy: Proxy
) -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.reply(answer(401))

    async with builder(stack, succeed, url=proxy.url):
        await eventually(lambda: called(proxy, "claim_builds"))
        at(proxy, "claim_builds", refuse, times=2)
        agent = owner.approved()["agent_id"]
        await eventually(lambda: owner.status(agent)[0] == "active")


# Stopping -----------------------------------------------------------------------------------------------


async def test_told_to_stop_it_takes_nothing_new_and_lets_what_runs_end(
    stack: RunningStack, owner: Owner
) -> None:
    first = owner.approved()["agent_id"]
    held = Held()
    async with builder(stack, held, concurrency=2, grace=60) as started:
        await held.started()
        started.stop()
        second = owner.approved()["agent_id"]
        await asyncio.sleep(0.3)  # three polls
        held.release.set()
        await eventually(lambda: outcomes(started) == {"succeeded": 1})
    assert owner.status(first) == ("active", "succeeded", 1)
    assert owner.status(second) == ("building", "queued", 0)
    assert len(held.jobs) == 1


async def test_what_does_not_end_within_the_grace_is_handed_back(stack: RunningStack, owner: Owner) -> None:
    agent = owner.approved()["agent_id"]
    held = Held()
    async with builder(stack, held, grace=0.2):
        await held.started()
    assert held.cancelled == [True]
    assert owner.status(agent) == ("building", "queued", 1)
    assert owner.build(agent)["message"] == "the builder was stopped"


async def test_told_twice_it_does_not_wait(stack: RunningStack, owner: Owner) -> None:
    agent = owner.approved()["agent_id"]
    held = Held()
    async with asyncio.timeout(30), builder(stack, held, grace=600) as started:
        await held.started()
        started.stop()
    assert owner.build(agent)["message"] == "the builder was stopped"


async def test_a_claim_under_way_when_it_is_told_to_stop_is_handed_back(
    stack: RunningStack, owner: Owner, proxy: Proxy
) -> None:
    asked, go = asyncio.Event(), asyncio.Event()

    async def slow(exchange: Exchange) -> None:
        asked.set()
        await go.wait()
        await pass_on(exchange)

    held = Held()
    held.release.set()  # started, it would succeed within the grace
    at(proxy, "claim_builds", slow)
    agent = owner.approved()["agent_id"]
    async with builder(stack, held, url=proxy.url, grace=60) as started:
        await asked.wait()
        started.stop()
        go.set()
        await eventually(lambda: outcomes(started) == {"stopped": 1})
    assert held.jobs == []
    assert owner.status(agent) == ("building", "queued", 1)
    assert owner.build(agent)["message"] == "the builder was stopped"


async def test_a_function_that_does_not_end_is_given_up(
    stack: RunningStack, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ENDING_SECONDS", 0.3)
    agent = owner.approved()["agent_id"]
    go = asyncio.Event()

    async def build(_: Job) -> None:
        while not go.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await go.wait()

    async with builder(stack, build):
        await eventually(lambda: owner.status(agent)[1] == "running")
        await asyncio.sleep(0.2)
    assert owner.build(agent)["message"] == "the builder was stopped"
    go.set()


async def test_supabase_away_when_it_stops_does_not_hold_it_up(
    stack: RunningStack, owner: Owner, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HAND_BACK_SECONDS", 0.3)
    agent = owner.approved()["agent_id"]
    held = Held()
    async with builder(stack, held, url=proxy.url):
        await held.started()
        proxy.refuse()
    assert owner.status(agent) == ("building", "running", 1)
