"""What teams cost: an owner's own lists beside a project without them, and an approver's inbox.

The same plans of the same owners in two databases. In one of them all belong to a team, the owners are viewers of it,
and proposals wait for the team's approver.
"""

import statistics
import time
import uuid
from typing import LiteralString

from bench import calls
from bench.calls import JOIN, MEMBERSHIP, TEAM, Recording, read_whole, replaced, send
from bench.database import Act, Clone, Connection, compare
from local.stack import Stack

PLANS = 100_000
OWNERS = 1_000
INBOX = "an approver's inbox"
# What names its owner, so that both databases answer the same rows. Without plan_teams(), which a page asks once.
OWNERS_LISTS = ("an owner's plans", "an owner's agents", "an owner's decided plans")

IN_TEAM: list[LiteralString] = [
    "set session_replication_role = 'replica'",
    "update public.plan set team_id = %(team)s",
    "update public.agent set team_id = %(team)s",
    "reset session_replication_role",
    "insert into public.membership (team_id, user_id, role) select %(team)s, id, 'viewer' from auth.users",
    # Without the old versions of the rows.
    "vacuum (full, freeze, analyze) public.plan",
    "vacuum (full, freeze, analyze) public.agent",
    "vacuum (analyze) public.membership",
]
# A second version of one session of each of so many owners.
PROPOSED: list[LiteralString] = [
    "set session_replication_role = 'replica'",
    """
    insert into public.plan (
        user_id, session_id, version, title, document_id, document_path, document_sha256, document_url, status,
        created_at, team_id
    )
    select
        user_id, session_id, 2, title, document_id, document_path, document_sha256, document_url, 'proposed',
        created_at, team_id
    from public.plan
    where
        session_id = left(user_id::text, 8) || '-1'
        and user_id not in (select user_id from public.plan where status = 'proposed')
    limit %(count)s
    """,
    "reset session_replication_role",
    "vacuum (analyze) public.plan",
]


class Teams:
    def __init__(self, stack: Stack, recording: Recording) -> None:
        each = PLANS // OWNERS
        self._recording = recording
        self._without = Clone(stack, "without", PLANS, each=each)
        self._within = Clone(stack, "within", PLANS, each=each, model=self._without)
        self._within.root.execute(MEMBERSHIP)
        self._waiting = 0
        for statement in IN_TEAM:
            self._within.root.execute(statement, {"team": TEAM} if "%(" in statement else None)
        self._approver = str(uuid.uuid4())
        self._within.root.execute("insert into auth.users (id) values (%s)", (self._approver,))
        self._within.root.execute(JOIN, (TEAM, self._approver, "approver"))

    def drop(self) -> None:
        self._without.drop()
        self._within.drop()

    def owners_lists(self, rounds: int, count: int) -> dict[str, list[list[float]]]:
        """Return, for each list, each round's median in seconds without and with teams."""
        return compare([self._without, self._within], self._acts, rounds, count)

    def _acts(self, clone: Clone, connection: Connection, count: int) -> dict[str, Act]:
        users = clone.users(count)

        def act(name: str) -> Act:
            requests = [of for of in self._recording.calls[name] if "plan_teams" not in of[0].text]
            ready = [replaced(requests, {self._recording.owner: user}) for user in users]
            return lambda at: send(connection, users[at], ready[at])

        return {name: act(name) for name in OWNERS_LISTS}

    def inbox(self, waiting: int, rounds: int, count: int) -> list[float]:
        """Return each round's median in seconds while so many wait, not fewer than before."""
        more, self._waiting = waiting - self._waiting, waiting
        for statement in PROPOSED:
            self._within.root.execute(statement, {"count": more} if "%(" in statement else None)
        requests = self._inbox()
        medians = []
        with self._within.connect("authenticator") as connection:
            for _ in range(rounds + 1):
                seconds = []
                for _ in range(count):
                    began = time.perf_counter()
                    send(connection, self._approver, requests)
                    seconds.append(time.perf_counter() - began)
                medians.append(statistics.median(seconds))
        return medians[1:]  # the first round fills caches

    def whole_tables(self) -> list[str]:
        """Return the tables that the inbox reads from beginning to end."""
        with self._within.connect("authenticator") as connection:
            return read_whole(connection, self._approver, self._inbox())

    def _inbox(self) -> list[calls.Request]:
        return replaced(self._recording.calls[INBOX], {self._recording.approver: self._approver})
