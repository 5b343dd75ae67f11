"""Approvals against everything that removes documents, at once and many times: no plan loses its document.

Why it holds: an approval locks the document's row (`for key share`, see greenlight.approve_plan) until the
plan that refers to it is committed. A delete that comes later waits for that lock, then meets the plan's foreign
key and is refused, be it the owner's, the service's clean-up after a refusal or retention's, for one document or
for many. A delete that comes first makes the approval wait; it then finds no document and refuses, so that no
plan is made; the service stores the document again and asks once more. A policy, or a look at the plans before
the delete, could not do this: both decide on a snapshot that may be older than the plan. And the bytes: storage
removes them after the row, by the version of that very upload.

The races end when each side has won and met the other. `make soak` runs more rounds.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from greenlight import retention
from greenlight.admin import SecretSettings, connect
from tests import SOAK
from tests.caller import Caller
from tests.plan import new_session, sha256
from tests.service.test_retention import own_project

OWNERS = 3  # who race at the same time, each with documents of their own
ROUNDS = (40, 100) if SOAK else (20, 100)  # of each owner: at least, at most
# Each side has won at times, and met the other.
MET = {
    ("approve_directly", "approved"),
    ("approve_through_the_service", "approved"),
    ("approve_too_late", "plan_stale"),
    ("remove_one", "removed"),
    ("remove_one", "ResourceReferenced"),
    ("remove_many", "removed"),
    ("remove_many", "ResourceReferenced"),
}
APPROVALS = ("approve_directly", "approve_through_the_service")


class Race:
    """One owner's planning session. Each round races for the document of its next version."""

    def __init__(self, user: Caller) -> None:
        self.user = user
        self.session = new_session()
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.lock = threading.Lock()
        self.version = 2  # version 1 will be too late for ever
        user.approved(plan_id=self.session, version=self.version)
        self.next()

    def next(self) -> None:
        self.version += 1
        self.content = f"# Version {self.version}\n\n{self.session}\n"
        self.name = self.user.path(self.session, self.content)

    def upload(self) -> None:
        answer = self.user.upload(self.name, self.content.encode())
        assert answer.status_code == 200 or answer.json()["error"] == "Duplicate", answer.text

    def approve_directly(self) -> str:
        """Approve what is stored already; store it again where it has been removed."""
        for _ in range(3):
            answer = self.user.approve_stored(self.session, self.content, self.version)
            if answer.status_code == 200:
                return "approved"
            self.upload()
        return str(answer.json()["message"])

    def approve_through_the_service(self) -> str:
        return self._approve(self.version)

    def approve_too_late(self) -> str:
        """Make the service refuse the same bytes, and clean up what it stored."""
        return self._approve(1)

    def _approve(self, version: int) -> str:
        answer = self.user.approve(plan_id=self.session, version=version, content=self.content)
        return "approved" if answer.status_code == 200 else str(answer.json()["code"])

    def remove_one(self) -> str:
        answer = self.user.delete(self.name)
        return "removed" if answer.status_code == 200 else str(answer.json()["error"])

    def remove_many(self) -> str:
        other = f"{self.user.id}/{self.session}/{'0' * 64}.md"
        answer = self.user.remove(other, self.name)
        if answer.status_code != 200:
            return str(answer.json()["error"])
        return "removed" if answer.json() else "nothing to remove"

    def round(self, pool: ThreadPoolExecutor, number: int) -> None:
        """Approve a document in two ways at once while it is being removed, as often as fits in."""
        one, many, late = self.remove_one, self.remove_many, self.approve_too_late
        removals = [(), (one, many), (many, late), (late, one)][number % 4]  # (): retention, by itself
        approvals = [self.approve_directly, self.approve_through_the_service]
        if number % 10 == 1:
            approvals = []  # so that there is something to remove for certain
        start = threading.Barrier(len(approvals) + len(removals))

        def approve(do: Callable[[], str]) -> None:
            start.wait(60)
            self.note(do)

        def remove(do: Callable[[], str]) -> None:
            start.wait(60)
            time.sleep(number % 7 * 0.005)  # to meet the approvals at another step in each round
            self.note(do)
            self.note(do)

        self.upload()
        acts = [pool.submit(approve, do) for do in approvals] + [pool.submit(remove, do) for do in removals]
        for done in acts:
            done.result()
        self.next()

    def note(self, act: Callable[[], str]) -> None:
        outcome = (act.__name__, act())
        with self.lock:
            self.outcomes[outcome] += 1


def race(user: Caller) -> Race:
    race = Race(user)
    with ThreadPoolExecutor(4) as pool:
        least, most = ROUNDS
        for number in range(most):
            if number >= least and race.outcomes.keys() >= MET:
                break
            race.round(pool, number)
    race.upload()  # so that there is something to remove for certain, whatever the owners removed
    return race


def remove_again_and_again(stack: Any, batch_size: int, finished: threading.Event) -> retention.Stats:
    """Run retention with no grace at all until the races are over, and once more."""
    settings = SecretSettings(
        supabase_url=stack.supabase_url, supabase_secret_key=SecretStr(stack.secret_key)
    )
    stats = retention.Stats()
    with connect(settings) as supabase:
        while True:
            last = finished.is_set()
            retention.remove_documents(supabase, timedelta(0), batch_size, stats, threading.Event())
            if last:
                return stats
            finished.wait(0.1)  # the machine is for the races


@pytest.mark.soak
def test_no_plan_loses_its_document(stack: Any, service: httpx.Client, supabase: httpx.Client) -> None:
    if not own_project(stack):
        pytest.skip("retention acts on a whole project, and this one is not this machine's own")
    accounts = [stack.sign_up() for _ in range(OWNERS)]
    users = [Caller(account.id, account.token, service, supabase) for account in accounts]
    finished = threading.Event()

    with ThreadPoolExecutor(OWNERS + 2) as pool:
        removals = [pool.submit(remove_again_and_again, stack, size, finished) for size in (200, 1)]
        try:
            races = list(pool.map(race, users))
        finally:
            finished.set()
    tallies = [removal.result() for removal in removals]

    outcomes = sum((race.outcomes for race in races), Counter[tuple[str, str]]())
    lost = [plan["document_path"] for user in users for plan in user.rows("plan") if not intact(user, plan)]
    assert lost == [], outcomes
    # Nothing happened that has no name.
    met = set(outcomes)
    assert met >= MET, outcomes
    assert met <= {
        *((act, outcome) for act in APPROVALS for outcome in ("approved", "document_not_found")),
        *((act, "upstream_error") for act in ("approve_through_the_service", "approve_too_late")),
        ("approve_too_late", "plan_stale"),
        *(("remove_one", outcome) for outcome in ("removed", "ResourceReferenced", "not_found")),
        ("remove_one", "Unauthorized"),  # it vanished between storage's look and its delete
        *(("remove_many", outcome) for outcome in ("removed", "ResourceReferenced", "nothing to remove")),
    }, outcomes
    assert any(stats.documents for stats in tallies), tallies
    assert not any(stats.kept for stats in tallies), tallies
    # Documents that no plan refers to were removed.
    for race_ in races:
        referred = {plan["document_path"].rpartition("/")[2] for plan in race_.user.rows("plan")}
        assert set(race_.user.objects(race_.session)) <= referred


def intact(user: Caller, plan: Any) -> bool:
    answer = user.download(plan["document_path"])
    return answer.status_code == 200 and sha256(answer.text) == plan["document_sha256"]
