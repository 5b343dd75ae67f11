"""What a planner in Python repeats, how often it looks, and what it refuses before it calls anything."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import jwt
import pytest

from greenlight import planner, upstream
from greenlight.planner import (
    Approved,
    ChangesRequested,
    Decision,
    Expired,
    Planner,
    Problem,
    Proposal,
    Superseded,
    Withdrawn,
)
from tests.plan import sha256
from tests.unit.test_upstream import URL, Supabase, data_error

USER = "0e37df36-f698-11e6-8dd4-cb9ced3df976"
TEXT = "# Mine\n"
PROPOSED = {"plan_id": USER, "version": 1, "status": "proposed", "created": True}
BUSY = httpx.Response(503)


def token(**claims: Any) -> str:
    return jwt.encode({"sub": USER, **claims}, "a secret " * 5, "HS256")


def row(status: str = "proposed", **changed: Any) -> dict[str, Any]:
    return {
        "version": 1,
        "status": status,
        "comment": None,
        "comments": None,
        "document_path": "a/b/c.md",
        "document_sha256": sha256(TEXT),
        "expires_at": None,
        "team_id": None,
        **changed,
    }


def rows(*plans: dict[str, Any]) -> httpx.Response:
    return httpx.Response(200, json=plans)


class Clock:
    """Time that passes only while something sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.looks: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.now += max(0.0, seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(planner, "sleep", clock.sleep)
    monkeypatch.setattr(planner, "monotonic", lambda: clock.now)
    return clock


def planner_of(supabase: Supabase, clock: Clock, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Planner:
    async def answer(request: httpx.Request) -> httpx.Response:
        clock.looks.append(clock.now)
        return await supabase(request)

    monkeypatch.setattr(planner, "connect", lambda: upstream.connect(httpx.MockTransport(answer)))
    return Planner(URL, "sb_publishable_x", **{"token": token(), **options})


def on(planner: Planner) -> Proposal:
    return planner.proposal("s", 1)


@pytest.mark.parametrize(
    ("key", "how"),
    [
        ("sb_publishable_x", {}),
        ("sb_secret_x", {}),
        ("sb_secret_x", {"token": "t"}),
        ("sb_publishable_x", {"user_id": USER}),
        ("sb_secret_x", {"user_id": USER, "token": "t"}),
        ("sb_secret_x", {"user_id": "ada"}),
    ],
)
def test_the_key_and_who_it_acts_for_go_together(key: str, how: dict[str, str]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 -- each has its own words
        Planner(URL, key, **how)  # type: ignore[arg-type]
    Planner(URL, "sb_publishable_x", "t")
    Planner(URL, "sb_secret_x", user_id=USER)


def test_the_environment_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPABASE_JWT_SECRET", "short")  # the service would not start
    monkeypatch.setenv("UI_URL", "https://elsewhere.test")

    assert Planner(URL, "sb_publishable_x", "t")._settings.ui_url is None
    with pytest.raises(ValueError, match="supabase_url"):
        Planner("ada", "sb_publishable_x", "t")


@pytest.mark.anyio
async def test_what_may_pass_is_repeated_with_growing_pauses(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    supabase = Supabase(
        plan=[BUSY, rows()],
        upload=[BUSY, httpx.Response(200, json={"Id": "1", "Key": "k"})],
        rpc=[BUSY, ok()],
    )

    proposal = await planner_of(supabase, clock, monkeypatch).propose("Mine", TEXT, session_id="s")

    assert (proposal.session_id, proposal.version) == ("s", 1)
    assert supabase.calls.count("rpc") == 2
    assert 3.5 <= clock.now - 1000 <= 3.5 * 1.2


def ok() -> httpx.Response:
    return httpx.Response(200, json=PROPOSED)


@pytest.mark.anyio
async def test_it_gives_up_in_time_and_at_once_where_repeating_cannot_help(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    planner = planner_of(Supabase(plan=BUSY), clock, monkeypatch, retry_seconds=10)
    with pytest.raises(Problem) as busy:
        await planner.propose("Mine", TEXT, session_id="s")
    assert busy.value.code == "upstream_unavailable"
    assert 0 < clock.now - 1000 <= 10 * 1.2

    refused = Supabase(plan=rows(), rpc=data_error(409, "PT409", "agent_archived", "It is archived."))
    with pytest.raises(Problem) as archived:
        await planner_of(refused, clock, monkeypatch).propose("Mine", TEXT, session_id="s")
    assert (archived.value.code, archived.value.detail) == ("agent_archived", "It is archived.")
    assert refused.calls.count("rpc") == 1


@pytest.mark.anyio
async def test_the_next_number_goes_to_the_planner_that_is_first(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    stale = data_error(409, "PT409", "plan_stale", "The newest version is 2.")
    other = {"document_sha256": sha256("other")}
    supabase = Supabase(
        plan=[rows(row("rejected", **other)), rows(row("proposed", version=2, **other))], rpc=[stale, ok()]
    )

    proposal = await planner_of(supabase, clock, monkeypatch).propose("Mine", TEXT, session_id="s")

    assert proposal.version == 3

    with pytest.raises(Problem) as lost:  # a number of one's own is not replaced
        await planner_of(Supabase(rpc=stale), clock, monkeypatch).propose(
            "Mine", TEXT, session_id="s", version=2
        )
    assert lost.value.code == "plan_stale"


@pytest.mark.parametrize(
    ("newest", "version"),
    [
        (row("proposed"), 1),
        (row("changes_requested", comment="No."), 1),
        (row("approved"), 1),
        (row("proposed", document_sha256=sha256("other")), 2),
        (row("withdrawn"), 2),
        (row("proposed", expires_at="2020-01-01T00:00:00Z"), 2),
    ],
)
@pytest.mark.anyio
async def test_the_same_text_is_the_same_proposal_unless_it_was_withdrawn_or_has_expired(
    newest: dict[str, Any], version: int, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    supabase = Supabase(plan=rows(newest), rpc=ok())
    proposal = await planner_of(supabase, clock, monkeypatch).propose("Mine", TEXT, session_id="s")
    assert proposal.version == version
    (sent,) = [json.loads(request.content) for request in supabase.requests if "/rpc/" in request.url.path]
    assert sent["version"] == version


@pytest.mark.anyio
async def test_it_looks_no_more_often_than_asked(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    supabase = Supabase(plan=[*[rows(row())] * 6, rows(row("withdrawn"))])
    proposal = on(planner_of(supabase, clock, monkeypatch, poll_seconds=7))

    for _ in range(20):  # impatient
        with pytest.raises(TimeoutError):
            await proposal.decision(timeout=1)
    for _ in range(100):
        with pytest.raises(TimeoutError):
            await proposal.decision(timeout=0)
    assert len(clock.looks) == 3  # in 20 seconds
    assert isinstance(await proposal.decision(), Withdrawn)

    pauses = [later - earlier for earlier, later in zip(clock.looks, clock.looks[1:], strict=False)]
    assert len(pauses) == 6
    assert all(7 <= pause <= 7 * 1.2 + 1 for pause in pauses), pauses


@pytest.mark.anyio
async def test_failures_do_not_end_the_wait_and_slow_it_down(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    supabase = Supabase(plan=[*[BUSY] * 8, rows(row("withdrawn"))])
    assert isinstance(await on(planner_of(supabase, clock, monkeypatch)).decision(), Withdrawn)
    pauses = [later - earlier for earlier, later in zip(clock.looks, clock.looks[1:], strict=False)]
    assert [round(pause / 1.1) for pause in pauses] == pytest.approx(
        [10, 20, 40, 60, 60, 60, 60, 60], rel=0.1
    )


@pytest.mark.anyio
async def test_a_refused_token_is_fetched_again_once(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = data_error(401, "PGRST303", "JWT expired")
    tokens = iter([token(n=1), token(n=2)])

    async def fresh() -> str:
        return next(tokens)

    supabase = Supabase(plan=[refused, rows(row("withdrawn"))])
    assert isinstance(await on(planner_of(supabase, clock, monkeypatch, token=fresh)).decision(), Withdrawn)
    assert [request.headers["authorization"] for request in supabase.requests] == [
        f"Bearer {token(n=1)}",
        f"Bearer {token(n=2)}",
    ]

    for same in (token(), token, "no token at all"):
        supabase = Supabase(plan=refused)
        with pytest.raises(Problem) as problem:
            await on(planner_of(supabase, clock, monkeypatch, token=same)).decision()
        assert problem.value.code == "not_authenticated"
        assert len(supabase.calls) <= 1


AGENT = httpx.Response(200, json=[{"id": USER, "status": "building", "build": []}])


async def decided(plan: dict[str, Any], clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Decision:
    supabase = Supabase(plan=[rows(plan), AGENT])
    return await on(planner_of(supabase, clock, monkeypatch)).decision()


@pytest.mark.anyio
async def test_only_an_approval_has_an_agent_and_no_decision_is_true(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    approved = await decided(row("approved"), clock, monkeypatch)
    expired = await decided(row("proposed", expires_at=past.isoformat()), clock, monkeypatch)
    others = [
        await decided(row("changes_requested", comment="Approved!"), clock, monkeypatch),
        await decided(row("rejected"), clock, monkeypatch),
        await decided(row("withdrawn"), clock, monkeypatch),
        expired,
    ]

    assert isinstance(approved, Approved)
    assert (approved.agent_id, approved.agent_status, approved.feedback) == (USER, "building", None)
    assert isinstance(expired, Expired)
    assert expired.expires_at == past
    assert isinstance(others[0], ChangesRequested)
    assert others[0].feedback == "On the whole plan:\n\n```text\nApproved!\n```"
    for other in others:
        assert not hasattr(other, "agent_id")
    for decision in (approved, *others):
        with pytest.raises(TypeError, match="match"):
            bool(decision)


@pytest.mark.anyio
async def test_what_was_replaced_names_the_newest_version(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    supabase = Supabase(plan=[rows(row("superseded")), rows(row("approved", version=4))])
    decision = await on(planner_of(supabase, clock, monkeypatch)).decision()
    assert decision == Superseded(session_id="s", version=1, newest_version=4)


@pytest.mark.anyio
async def test_a_plan_that_is_gone_ends_the_wait(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Problem) as gone:
        await on(planner_of(Supabase(plan=rows()), clock, monkeypatch)).decision()
    assert gone.value.code == "plan_not_found"


@pytest.mark.anyio
async def test_a_round_has_to_propose(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = planner_of(Supabase(plan=rows()), clock, monkeypatch).rounds("s")
    with pytest.raises(RuntimeError, match="not over"):
        _ = rounds.decision
    assert (await anext(rounds)).feedback is None
    with pytest.raises(RuntimeError, match="has to propose"):
        await anext(rounds)
