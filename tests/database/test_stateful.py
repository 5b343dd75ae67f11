"""Hundreds of agents, random valid and invalid operations from several connections: no invariant ever breaks.

`make soak` has a thousand agents.

Planners propose, with the service role or as OAuth clients; humans decide; builders claim, lose their leases, come
back late; retention purges. What only a human may do is also tried by everyone else.
"""

import random
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest

from tests import SEED, SOAK
from tests.plan import sha256

from .conftest import Project, Row, User
from .invariants import ONCE_APPROVED, broken_invariants

CODES = {
    "human_required", "agent_not_found", "plan_not_found", "build_not_found", "document_not_found", "plan_conflict",
    "plan_stale", "plan_decided", "plan_expired", "agent_archived", "agent_deleted", "illegal_transition", "build_lost",
    "invalid_version", "invalid_title", "invalid_status", "invalid_comment", "invalid_expires_at",
}  # fmt: skip
SEQUENCES, CALLS, WORLDS, EACH = (20, 1500, 85, 700) if SOAK else (4, 700, 30, 400)
DECISIONS = ("request_changes", "reject_plan", "withdraw_plan")
TO_STATUSES = (
    "building",
    "active",
    "active",
    "paused",
    "paused",
    "archived",
    "archived",
    "failed",
    "nonsense",
)

# No other token has this aal: what carries it was decided by a human's own session.
HUMAN_AAL = "aal-of-the-human"


class Operations:
    """What humans, planners, builders and retention do, each ending well or in a known code."""

    def __init__(self, project: Project, people: int = 3) -> None:
        self.project = project
        self.users = [project.new_user().with_claims(aal=HUMAN_AAL) for _ in range(people)]
        self.sessions = deque([{user.id: project.sign_in(user, uuid4()) for user in self.users}, {}])
        # What builders hold, or think that they hold: also long after they have lost it.
        self.claimed: deque[Row] = deque(maxlen=20)
        # For the message of a failure.
        self.calls: deque[str] = deque(maxlen=15)

    def client(self, user: User) -> User:
        """An OAuth client: by its claim, or by its session alone, as where a token hook drops the claim."""
        self.sessions.rotate()
        session = self.sessions[0].get(user.id)
        who = {"session_id": session} if session else {"client_id": "mcp"}
        return user.with_claims(aal="aal1", **who)

    def agent(self, user: User, session: str) -> UUID:
        """The session's agent, or the id of no agent."""
        rows = self.project.rows(
            "select id from public.agent where user_id = %s and session_id = %s", user.id, session
        )
        return UUID(str(rows[0]["id"])) if rows else uuid4()

    def attempt(self, function: str, caller: User | None, **arguments: object) -> str:
        outcome = self.call(function, caller, **arguments)
        by = "service_role" if caller is None else str(caller.claims)
        self.calls.append(f"{function} {arguments} by {by}: {outcome}")
        return outcome

    def call(self, function: str, caller: User | None, **arguments: object) -> str:
        try:
            row = self.project.call(caller, function, **arguments)
        except psycopg.errors.InsufficientPrivilege:
            assert caller is None, function
            return "denied"
        except psycopg.Error as error:
            code = str(error.diag.message_primary)
            assert code in CODES, error
            return code
        return "replay" if row.get("created") is False else "done"

    def approve(
        self,
        user: User,
        session: str,
        version: int,
        text: str,
        *,
        human: bool,
        stored: bool,
        title: str | None,
    ) -> str:
        """A null title approves by the three arguments that suffice for a proposal."""
        if stored:
            self.project.store(user, session, text)
        digest = sha256(text)
        named: dict[str, object] = {"session_id": session, "version": version, "document_sha256": digest}
        if title is not None:
            url = f"https://x.example/object/sign/plans/{user.path(session, digest)}?token=t"
            named |= {"title": title, "document_url": url}
        outcome = self.attempt("approve_plan", user if human else self.client(user), **named)
        assert human or outcome == "human_required", outcome
        return outcome

    def propose(
        self,
        user: User,
        session: str,
        version: int,
        text: str,
        planner: str,
        *,
        stored: bool,
        days: int | None,
    ) -> str:
        if stored:
            self.project.store(user, session, text)
        digest = sha256(text)
        caller = {"human": user, "client": self.client(user)}.get(planner)
        return self.attempt(
            "propose_plan",
            caller,
            session_id=session,
            version=version,
            title="t",
            document_sha256=digest,
            document_url=f"https://x.example/object/sign/plans/{user.path(session, digest)}?token=t",
            expires_at=None if days is None else datetime.now(UTC) + timedelta(days=days),
            user_id=None if caller else user.id,
        )

    def expire(self, user: User, session: str) -> str:
        """Time passes: the proposal that waits is over."""
        with self.project.as_superuser() as connection:
            connection.execute("set local session_replication_role = replica")
            connection.execute(
                "update public.plan set created_at = created_at - interval '1 day', expires_at = now()"
                " where user_id = %s and session_id = %s and status = 'proposed'",
                (user.id, session),
            )
        return "expired"

    def decide(self, user: User, session: str, version: int, decision: str, caller: str, comment: str) -> str:
        named: dict[str, object] = {"session_id": session, "version": version}
        if decision != "withdraw_plan":
            named["comment"] = comment
        by: User | None = user
        if caller == "client":
            by = self.client(user)
        elif caller == "service_role":
            by = None
            if decision == "withdraw_plan":
                named["user_id"] = user.id
        outcome = self.attempt(decision, by, **named)
        if decision != "withdraw_plan" and caller != "human":
            assert outcome in ("human_required", "denied"), outcome
        return outcome

    def look_and_decide(self, dice: random.Random, user: User, session: str, *, human: bool) -> str:
        """Approve or refuse the very proposal that waits, as the page does."""
        waiting = self.project.rows(
            "select version, document_sha256 from public.plan"
            " where user_id = %s and session_id = %s and status = 'proposed'",
            user.id,
            session,
        )
        if not waiting:
            return "nothing"
        if dice.random() < 0.4:
            caller = user if human else self.client(user)
            outcome = self.attempt("approve_plan", caller, session_id=session, **waiting[0])
            assert human or outcome == "human_required", outcome
            return outcome
        decision, caller_is = (
            dice.choice(DECISIONS),
            "human" if human else dice.choice(["client", "service_role"]),
        )
        return self.decide(user, session, waiting[0]["version"], decision, caller_is, "What I think.")

    def next_version(self, user: User, session: str) -> int:
        (newest,) = self.project.rows(
            "select coalesce(max(version), 0) as version from public.plan where user_id = %s and session_id = %s",
            user.id,
            session,
        )
        return int(newest["version"]) + 1

    def change_agent(
        self, function: str, caller: User | None, owner: User, session: str, **arguments: object
    ) -> str:
        return self.attempt(function, caller, agent_id=self.agent(owner, session), **arguments)

    def claim(self, max_builds: int) -> str:
        self.claimed.extend(self.project.claim(max_builds))
        return "claimed"

    def build(self, dice: random.Random) -> str:
        """A builder that has a build, or had it once, makes a call about it."""
        if not self.claimed:
            return "nothing"
        claimed = dict(dice.choice(self.claimed))
        if dice.random() < 0.1:
            claimed["attempt"] = dice.choice([None, 0, 1, 2, 6])
        named = {"build_id": claimed["build_id"], "attempt": claimed["attempt"]}
        match dice.randrange(5):
            case 0:
                return self.attempt(
                    "renew_build", None, **named, progress=dice.randint(0, 100), message="on it"
                )
            case 1:
                return self.attempt("fail_build", None, **named, message="no", retry=dice.random() < 0.7)
            case _:
                return self.attempt("finish_build", None, **named)

    def purge(self) -> str:
        soon = datetime.now(UTC) + timedelta(seconds=5)
        self.attempt("purge_closed_plans", None, closed_before=soon)
        return self.attempt("purge_deleted_agents", None, deleted_before=soon)

    def at_random(self, dice: random.Random, sessions: int = 4) -> str:
        acts = (self.a_planner, self.a_human, self.an_owner, self.a_builder, self.time_and_retention)
        act = dice.choices(acts, (4, 4, 4, 5, 1))[0]
        return act(dice, dice.choice(self.users), f"s{dice.randrange(sessions)}")

    def a_planner(self, dice: random.Random, user: User, session: str) -> str:
        version = dice.randint(0, 9) if dice.random() < 0.3 else self.next_version(user, session)
        # A planner brings back what was refused once in a while.
        text = f"# {version - dice.choice([0, 0, 0, 1])}"
        planner = dice.choice(["human", "client", "service_role"])
        if dice.random() < 0.2:
            return self.decide(user, session, version, "withdraw_plan", planner, "")
        days = dice.choice([None, 1, -1])
        return self.propose(user, session, version, text, planner, stored=dice.random() < 0.9, days=days)

    def a_human(self, dice: random.Random, user: User, session: str) -> str:
        """Or an agent that plays one."""
        version, human = dice.randint(-1, 9), dice.random() < 0.8
        if dice.random() < 0.6:
            return self.look_and_decide(dice, user, session, human=human)
        if dice.random() < 0.5:
            if dice.random() < 0.6:
                version = self.next_version(user, session)
            text, title = f"# {version}", dice.choice(["t", "t", "t", "x" * 500, "\n", None])
            stored = dice.random() < 0.9
            return self.approve(user, session, version, text, human=human, stored=stored, title=title)
        caller = "human" if human else dice.choice(["client", "service_role"])
        return self.decide(
            user, session, version, dice.choice(DECISIONS), caller, dice.choice(["Why?", "Yes!", ""])
        )

    def an_owner(self, dice: random.Random, user: User, session: str) -> str:
        """Or a stranger, a client, the service role."""
        caller = dice.choice([user, user, dice.choice(self.users), self.client(user), None])
        function = dice.choice(
            ["transition_agent", "transition_agent", "retry_build", "delete_agent", "restore_agent"]
        )
        named = {"to_status": dice.choice(TO_STATUSES)} if function == "transition_agent" else {}
        return self.change_agent(function, caller, user, session, **named)

    def a_builder(self, dice: random.Random, _user: User, _session: str) -> str:
        return self.claim(dice.randint(1, 5)) if dice.random() < 0.25 else self.build(dice)

    def time_and_retention(self, dice: random.Random, user: User, session: str) -> str:
        chance = dice.random()
        if chance < 0.2:
            return self.purge()
        if chance < 0.6:
            self.project.let_time_pass()
            return "time"
        return self.expire(user, session)


def decided_without_the_human(project: Project) -> list[Row]:
    """What was decided, but for withdrawals, by another token than a human's own."""
    return project.rows(
        f"""
        select id, status, decided_aal, decided_via from public.plan p
        where ({ONCE_APPROVED} or p.status in ('changes_requested', 'rejected'))
            and (p.decided_aal, p.decided_via) is distinct from (%s, 'user')
        """,
        HUMAN_AAL,
    )


def failure(seed: int, world: Operations) -> str:
    return "\n".join([f"seed {seed}, the last calls:", *world.calls])


@pytest.mark.soak
def test_no_sequence_of_operations_breaks_an_invariant(project: Project) -> None:
    """Two users with two sessions each, few enough for the operations to meet; looked at after every step."""
    for seed in range(SEED, SEED + SEQUENCES):
        # What earlier sequences left stays and must stay sound, too.
        world, dice = Operations(project, people=2), random.Random(seed)
        for _ in range(60):
            world.at_random(dice, sessions=2)
            assert broken_invariants(project) == [], failure(seed, world)
            assert decided_without_the_human(project) == [], failure(seed, world)


@pytest.mark.soak
def test_no_calls_of_planners_and_builders_lead_to_an_approved_plan(project: Project) -> None:
    """Whatever OAuth clients and the service role call, in whatever order: without the human there is no agent."""
    dice = random.Random(SEED)
    world = Operations(project)
    outcomes: dict[str, int] = {}
    for _ in range(CALLS):
        user, session, version = dice.choice(world.users), f"s{dice.randrange(3)}", dice.randint(1, 8)
        text = f"# {version}"
        planner = dice.choice(["client", "service_role"])
        match dice.randrange(6):
            case 0 | 1:
                outcome = world.propose(user, session, version, text, planner, stored=True, days=None)
            case 2:
                title = dice.choice(["t", None])
                outcome = world.approve(user, session, version, text, human=False, stored=True, title=title)
            case 3:
                outcome = world.decide(user, session, version, dice.choice(DECISIONS), planner, "Approved.")
            case 4:
                caller = world.client(user) if planner == "client" else None
                outcome = world.change_agent(
                    "transition_agent", caller, user, session, to_status=dice.choice(TO_STATUSES)
                )
            case _:
                outcome = world.claim(5)
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    assert set(outcomes) >= {"done", "replay", "human_required", "denied", "plan_stale"}, outcomes
    for table in ("agent", "agent_event", "build"):
        assert project.rows(f"select from public.{table}") == [], table
    statuses = {row["status"] for row in project.rows("select distinct status from public.plan")}
    assert statuses == {"proposed", "superseded", "withdrawn"}
    assert project.rows(f"select from public.plan p where {ONCE_APPROVED}") == []
    assert broken_invariants(project) == []


@pytest.mark.soak
def test_random_operations_from_several_connections(project: Project) -> None:
    worlds = [Operations(project) for _ in range(WORLDS)]
    for world in worlds:
        for user in world.users:
            for session in range(4):
                project.store_and_approve(user, f"s{session}")
    outcomes: dict[str, int] = {}

    def work(number: int) -> list[str]:
        dice = random.Random(SEED + number)
        # Half of the operations meet in two worlds, where they get in each other's way.
        return [
            dice.choice(worlds[:2] if dice.random() < 0.5 else worlds).at_random(dice) for _ in range(EACH)
        ]

    with ThreadPoolExecutor(6) as pool:
        for answers in pool.map(work, range(6)):
            for answer in answers:
                outcomes[answer] = outcomes.get(answer, 0) + 1

    assert outcomes["done"] > 500, outcomes
    assert set(outcomes) >= {
        "agent_deleted",
        "agent_not_found",
        "build_lost",
        "denied",
        "human_required",
        "illegal_transition",
        "plan_decided",
        "plan_stale",
        "replay",
    }, outcomes
    assert broken_invariants(project) == []
    assert decided_without_the_human(project) == []
