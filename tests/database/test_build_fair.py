"""claim_builds() goes round the owners: the due builds of one do not hold up another's."""

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import psycopg
import pytest

from tests import SEED

from .builds import is_sound
from .conftest import Project, Row, User, outcome
from .invariants import broken_invariants

MANY = 40  # more than claim_builds() looks at one by one


def queue(project: Project, user: User, count: int, prefix: str = "s") -> list[object]:
    """Approve so many plans of this user. Return the agents in the order in which their builds are due."""
    return [project.store_and_approve(user, f"{prefix}{number}")["agent_id"] for number in range(count)]


def hand_out(project: Project, count: int, max_builds: int = 1) -> list[Row]:
    """Claim so many builds, one after the other."""
    claims: list[Row] = []
    while len(claims) < count and (batch := project.claim(min(max_builds, count - len(claims)))):
        claims += batch
    return claims


@pytest.mark.parametrize("max_builds", [1, 10])
@pytest.mark.parametrize("queued", [3, MANY])
def test_many_builds_of_one_owner_do_not_hold_up_another(
    project: Project, queued: int, max_builds: int
) -> None:
    ann, bob = project.new_user(), project.new_user()
    queue(project, ann, queued)
    (bobs,) = queue(project, bob, 1)
    assert bobs in [claimed["agent_id"] for claimed in hand_out(project, 2, max_builds)]
    # And again, with Ann in the lead.
    (bobs,) = queue(project, bob, 1, "again")
    assert bobs in [claimed["agent_id"] for claimed in hand_out(project, 2, max_builds)]
    assert is_sound(project)


def test_the_builds_of_one_owner_come_in_the_order_of_run_after(project: Project) -> None:
    """A retry, and a build whose builder died, keep the place that their time gives them."""
    users = [project.new_user() for _ in range(3)]
    agents = {user.id: queue(project, user, 12) for user in users}
    dice = random.Random(SEED)
    order: dict[object, list[object]] = {}
    with project.as_superuser() as connection:
        for user in users:
            order[user.id] = dice.sample(agents[user.id], 12)
            for number, agent_id in enumerate(order[user.id]):
                status, attempt = [("queued", 0), ("queued", 2), ("running", 1)][number % 3]
                connection.execute(
                    "update public.build set status = %s, attempt = %s,"
                    " run_after = now() - interval '1 hour' + make_interval(secs => %s) where agent_id = %s",
                    (status, attempt, number, agent_id),
                )
    claims = hand_out(project, 36)
    for user in users:
        taken = [claimed["agent_id"] for claimed in claims if claimed["user_id"] == user.id]
        assert taken == order[user.id]
    # One of each in every round.
    owners = [claimed["user_id"] for claimed in claims]
    assert all(len({*owners[first : first + 3]}) == 3 for first in range(0, 36, 3)), owners


class Waiting:
    """Who waits with how many builds, and for how many claims each may still have to wait at most."""

    def __init__(self) -> None:
        self.builds: Counter[object] = Counter()
        self.claims: dict[object, int] = {}

    def came(self, owner: object) -> None:
        if not self.builds[owner]:
            for other in self.claims:
                self.claims[other] += 1  # it may come before them
            self.claims[owner] = len(+self.builds) + 1
        self.builds[owner] += 1

    def went(self, owner: object) -> None:
        self.builds[owner] -= 1
        self.claims = {other: claims - 1 for other, claims in self.claims.items()}
        assert min(self.claims.values(), default=0) >= 0, self.claims
        self.claims.pop(owner, None)


def test_a_new_build_waits_for_one_of_each_other_owner_at_most(project: Project) -> None:
    """Random approvals, claims, retries and ends, with few and with many builds that are due."""
    dice = random.Random(SEED)
    users = [project.new_user() for _ in range(12)]
    waiting = Waiting()
    longest = 0
    for number in range(120):
        if waiting.builds.total() < MANY or dice.random() < 0.3:
            user = dice.choice(users[:2] if dice.random() < 0.7 else users)
            queue(project, user, 1, f"n{number}-")
            waiting.came(user.id)
        claims = project.claim(dice.choice([1, 1, 3])) if dice.random() < 0.6 else []
        for claimed in claims:
            waiting.went(claimed["user_id"])
        for claimed in claims:
            if dice.random() < 0.5 or claimed["attempt"] == claimed["max_attempts"]:
                project.finish(claimed)
                continue
            project.fail(claimed)
            with project.as_superuser() as connection:
                connection.execute(
                    "update public.build set run_after = now() where id = %s", (claimed["build_id"],)
                )
            waiting.came(claimed["user_id"])
        longest = max(longest, waiting.builds.total())
    assert longest > 16
    assert is_sound(project)


def test_builds_that_are_not_due_hold_up_none(project: Project) -> None:
    """All of Ann's wait for their retry, or are being built."""
    ann, bob = project.new_user(), project.new_user()
    queue(project, ann, MANY)
    for claimed in project.claim(MANY)[: MANY // 2]:
        project.fail(claimed)
    assert project.claim() == []
    agents = queue(project, bob, 20)
    assert [claimed["agent_id"] for claimed in hand_out(project, 21)] == agents


@pytest.mark.parametrize("queued", [3, MANY])
def test_what_is_locked_is_skipped_for_the_same_owner_and_then_for_the_next(
    project: Project, queued: int
) -> None:
    ann, bob = project.new_user(), project.new_user()
    first, second, *_ = queue(project, ann, queued)
    bobs = queue(project, bob, queued)
    with project.as_superuser() as holder:
        holder.execute("select from public.build where agent_id = %s for update", (first,))
        with project.as_service_role() as connection:
            connection.execute("set local lock_timeout = '200ms'")
            taken = connection.execute("select * from public.claim_builds('a test', 2)").fetchall()
        assert {claimed["agent_id"] for claimed in taken} == {second, bobs[0]}
        holder.execute("select from public.build where user_id = %s for update", (ann.id,))
        with project.as_service_role() as connection:
            connection.execute("set local lock_timeout = '200ms'")
            taken = connection.execute("select * from public.claim_builds('a test', 100)").fetchall()
        assert [claimed["agent_id"] for claimed in taken] == bobs[1:]
    assert project.claim()[0]["agent_id"] == first


@pytest.mark.parametrize("last", [-(2**63), 0, 2**63 - 1])
@pytest.mark.parametrize("queued", [3, MANY])
def test_wherever_the_round_is_all_builds_are_handed_out(project: Project, queued: int, last: int) -> None:
    agents = {agent for _ in range(3) for agent in queue(project, project.new_user(), queued)}
    project.rows("select setval('greenlight.last_owner', %s)", last)
    claims = project.claim(5)
    with project.as_service_role() as connection:
        assert connection.execute("select public.claim_builds('a test', 3)").fetchall() != []
        raise psycopg.Rollback  # they are due again
    claims += hand_out(project, 3 * queued)
    assert {claimed["agent_id"] for claimed in claims} == agents
    assert len(claims) == len(agents)


def test_no_api_role_sees_or_moves_the_round(project: Project) -> None:
    user = project.new_user()
    logins = (project.as_anon, lambda: project.as_user(user), project.as_service_role)
    statements = (
        "select last_value from greenlight.last_owner",
        "select setval('greenlight.last_owner', 1)",
        "select nextval('greenlight.last_owner')",
    )
    for login in logins:
        for statement in statements:
            with pytest.raises(psycopg.errors.InsufficientPrivilege), login() as connection:
                connection.execute(statement.encode())
    (privileges,) = project.rows(
        "select string_agg(role || ' ' || privilege, ', ') as found"
        " from unnest('{anon,authenticated,service_role}'::text[]) as role,"
        " unnest('{usage,select,update}'::text[]) as privilege"
        " where has_sequence_privilege(role, 'greenlight.last_owner', privilege)"
    )
    assert privileges["found"] is None


def test_eight_builders_at_once_get_each_build_once_while_users_are_deleted(project: Project) -> None:
    users = [project.new_user() for _ in range(10)]
    each = 15
    builds = {user.id: len(queue(project, user, each)) for user in users}
    gone = users[:3]

    def work(number: int) -> list[Row]:
        taken: list[Row] = []
        dice = random.Random(SEED + number)
        while claims := project.claim(dice.choice([1, 1, 2, 5])):
            taken += claims
            for claimed in claims:
                outcome(partial(project.finish, claimed))
        return taken

    with ThreadPoolExecutor(11) as pool:
        workers = [pool.submit(work, number) for number in range(8)]
        removals = [pool.submit(project.delete_user, user) for user in gone]
        taken = [claimed for worker in workers for claimed in worker.result()]
        for removal in removals:
            removal.result()
    # A claim may have ended early, where all that was left was locked.
    taken += work(8)
    assert max(Counter(claimed["build_id"] for claimed in taken).values()) == 1
    owners = Counter(claimed["user_id"] for claimed in taken)
    for user in users[3:]:
        assert owners[user.id] == builds[user.id]
    assert project.rows("select from public.build where status <> 'succeeded'") == []
    assert {row["user_id"] for row in project.rows("select user_id from public.build")} == {
        user.id for user in users[3:]
    }
    assert broken_invariants(project) == []
