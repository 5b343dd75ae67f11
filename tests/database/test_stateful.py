"""A thousand agents, random valid and invalid operations from several connections: no invariant ever breaks."""

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from .conftest import Project, User
from .invariants import broken_invariants

CODES = {
    "agent_not_found", "document_not_found", "plan_conflict", "plan_stale", "agent_archived", "agent_deleted",
    "illegal_transition", "invalid_version", "invalid_title", "invalid_status", "invalid_plan_id",
}  # fmt: skip
STATUSES = st.sampled_from(["building", "active", "paused", "archived", "nonsense"])
SESSIONS = st.integers(0, 5).map(lambda number: f"s{number}")


class Operations:
    """What users, builders and retention do, each over a connection of its own, each ending well or in a known code."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.users = [project.new_user() for _ in range(3)]

    def agent(self, user: User, session: str) -> UUID:
        """The session's agent; where there is none, somebody's or nobody's."""
        rows = self.project.rows(
            "select id from public.agent where user_id = %s and session_id = %s", user.id, session
        )
        return UUID(str(rows[0]["id"])) if rows else uuid4()

    def attempt(self, function: str, user: User | None, **arguments: object) -> str:
        try:
            self.project.call(user, function, **arguments)
        except psycopg.Error as error:
            assert error.diag.message_primary in CODES, error
            return str(error.diag.message_primary)
        return "done"

    def approve(self, user: User, session: str, version: int, text: str, *, stored: bool, title: str) -> str:
        if stored:
            self.project.store(user, session, text)
        try:
            self.project.approve(user, session, version, title, document=text)
        except psycopg.Error as error:
            assert error.diag.message_primary in CODES, error
            return str(error.diag.message_primary)
        return "done"

    def transition(self, caller: User | None, owner: User, session: str, status: str) -> str:
        return self.attempt("transition_agent", caller, agent_id=self.agent(owner, session), to_status=status)

    def build(self, *, finish: bool) -> str:
        for claimed in self.project.claim(1):
            arguments = {"build_id": claimed["build_id"], "attempt": claimed["attempt"]}
            if finish:
                return self.attempt("finish_build", None, **arguments)
            return self.attempt("fail_build", None, **arguments, message="It broke.", retry=False)
        return "nothing"

    def purge(self) -> str:
        return self.attempt(
            "purge_deleted_agents", None, deleted_before=datetime.now(UTC) + timedelta(seconds=5)
        )

    def at_random(self, dice: random.Random) -> str:
        user, other = dice.choice(self.users), dice.choice(self.users)
        session = f"s{dice.randrange(4)}"
        match dice.randrange(10):
            case 0 | 1 | 2 | 3:
                version = dice.randint(0, 6)
                return self.approve(
                    user,
                    session,
                    version,
                    f"# {version} {dice.random() < 0.1}",
                    stored=dice.random() < 0.9,
                    title="t",
                )
            case 4 | 5 | 6:
                if dice.random() < 0.4:
                    return self.build(finish=dice.random() < 0.8)
                status = dice.choice(["building", "active", "active", "paused", "archived"])
                return self.transition(dice.choice([user, None, None, other]), user, session, status)
            case 7:
                return self.attempt("delete_agent", other, agent_id=self.agent(user, session))
            case 8:
                return self.attempt("restore_agent", user, agent_id=self.agent(user, session))
            case _:
                return self.purge() if dice.random() < 0.2 else "nothing"


def test_no_sequence_of_operations_breaks_an_invariant(project: Project) -> None:
    class Life(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            # New users each time: what earlier sequences left stays and must stay sound, too.
            self.operations = Operations(project)

        @rule(
            who=st.integers(0, 2),
            session=SESSIONS,
            version=st.integers(-1, 5),
            text=st.sampled_from(["# a", "# b"]),
            stored=st.booleans(),
            title=st.sampled_from(["t", "", "\n", "x" * 500]),
        )
        def approve(self, who: int, session: str, version: int, text: str, stored: bool, title: str) -> None:
            self.operations.approve(
                self.operations.users[who], session, version, text, stored=stored, title=title
            )

        @rule(
            who=st.integers(0, 3),
            whose=st.integers(0, 2),
            session=SESSIONS,
            status=STATUSES,
        )
        def transition(self, who: int, whose: int, session: str, status: str) -> None:
            users = self.operations.users
            self.operations.transition(users[who] if who < 3 else None, users[whose], session, status)

        @rule(finish=st.booleans())
        def build(self, finish: bool) -> None:
            self.operations.build(finish=finish)

        @rule(who=st.integers(0, 2), whose=st.integers(0, 2), session=SESSIONS, way=st.booleans())
        def delete_or_restore(self, who: int, whose: int, session: str, way: bool) -> None:
            users = self.operations.users
            self.operations.attempt(
                "delete_agent" if way else "restore_agent",
                users[who],
                agent_id=self.operations.agent(users[whose], session),
            )

        @rule()
        def purge(self) -> None:
            self.operations.purge()

        @invariant()
        def sound(self) -> None:
            assert broken_invariants(project) == []

    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=15,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_a_thousand_agents_under_random_operations_from_several_connections(project: Project) -> None:
    seed = 20261122
    print(f"seed {seed}")  # noqa: T201 - shown on failure
    worlds = [Operations(project) for _ in range(85)]
    for world in worlds:
        for user in world.users:
            for session in range(4):
                project.store_and_approve(user, f"s{session}")
    outcomes: dict[str, int] = {}

    def work(number: int) -> list[str]:
        dice = random.Random(seed + number)
        return [dice.choice(worlds).at_random(dice) for _ in range(600)]

    with ThreadPoolExecutor(6) as pool:
        for answers in pool.map(work, range(6)):
            for answer in answers:
                outcomes[answer] = outcomes.get(answer, 0) + 1

    assert outcomes["done"] > 500, outcomes
    assert set(outcomes) >= {"agent_deleted", "agent_not_found", "illegal_transition", "plan_stale"}, outcomes
    assert broken_invariants(project) == []
