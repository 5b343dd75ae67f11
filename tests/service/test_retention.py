"""Retention, run as the command that it is: what it removes, what it keeps, and how it ends.

It acts on a whole project, so these tests run only where the project is this machine's own.
"""

import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import urlsplit

import httpx
import jwt
import psycopg
import pytest

from greenlight import cli
from local.processes import free_ports
from tests.caller import Caller
from tests.plan import new_session, sha256

DAY = 24 * 60 * 60


class Project:
    """What is stored, and how old it is: read as postgres, without the API."""

    def __init__(self, stack: Any, supabase: httpx.Client) -> None:
        self.stack = stack
        self.supabase = supabase
        self.environment = {"SUPABASE_URL": stack.supabase_url, "SUPABASE_SECRET_KEY": stack.secret_key}

    def connect(self, *, autocommit: bool = True) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(self.stack.database_url, autocommit=autocommit)

    def execute(self, statement: str, *arguments: object) -> list[tuple[Any, ...]]:
        with self.connect() as connection:
            cursor = connection.execute(statement.encode(), arguments)
            return [] if cursor.description is None else cursor.fetchall()

    def store(self, user: Caller, content: str, session: str = "s1", age: float = 2 * DAY) -> str:
        """Upload a document as its owner, make it that many seconds old, and return its name."""
        name = user.path(session, content)
        answer = user.upload(name, content.encode())
        assert answer.status_code == 200, answer.text
        self.age(name, age)
        return name

    def age(self, name: str, seconds: float) -> None:
        statement = """
            update storage.objects set created_at = now() - make_interval(secs => %s)
            where name = %s returning id"""
        assert len(self.execute(statement, seconds, name)) == 1

    def delete_agent(self, user: Caller, agent_id: str, days_ago: float) -> None:
        assert user.rpc("delete_agent", agent_id=agent_id).status_code == 200
        for table, column in {"agent": "id", "plan": "user_id"}.items():
            self.execute(
                f"update public.{table} set deleted_at = now() - make_interval(secs => %s) where {column} = %s",
                days_ago * DAY,
                agent_id if table == "agent" else user.id,
            )

    def documents(self, *users: Caller) -> set[str]:
        """Return the names of these users' documents."""
        statement = """
            select name from storage.objects
            where bucket_id = 'plans' and split_part(name, '/', 1) = any(%s)"""
        return {name for (name,) in self.execute(statement, [user.id for user in users])}

    def bytes_of(self, name: str) -> bytes | None:
        key = self.stack.secret_key
        answer = self.supabase.get(
            f"/storage/v1/object/authenticated/plans/{name}",
            headers={"apikey": key, "Authorization": f"Bearer {key}"},
        )
        return answer.content if answer.status_code == 200 else None

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "greenlight", "retention", *arguments],
            env={"PATH": os.environ["PATH"], **self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **environment: str) -> "Outcome":
        """Run the command to its end, in this process: starting one takes longer than what it does."""
        out, err = io.StringIO(), io.StringIO()
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            for name, value in {**self.environment, **environment}.items():
                patch.setenv(name, value)
            try:
                cli.app(["retention", *arguments], prog_name="greenlight")
            except SystemExit as ended:
                status = int(str(ended.code))
            finally:
                for number, handler in handlers.items():
                    signal.signal(number, handler)
        return Outcome(status, out.getvalue(), err.getvalue())

    @contextmanager
    def held(self, name: str) -> Iterator[None]:
        """Hold a document's row: removing it has to wait."""
        with self.connect(autocommit=False) as connection:
            connection.execute("select from storage.objects where name = %s for key share", (name,))
            yield
            connection.rollback()

    def wait_for_waiting(self, number: int, *processes: subprocess.Popen[str]) -> None:
        """Wait until so many sessions wait for a lock."""

        def waiting() -> bool:
            assert all(process.poll() is None for process in processes)
            count = "select count(distinct pid) from pg_locks where not granted"
            return self.execute(count) == [(number,)]

        wait_until(waiting)


class Outcome:
    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err
        self.text = out + err
        assert "Traceback" not in self.text, self.text


def outcome(process: subprocess.Popen[str]) -> Outcome:
    out, err = process.communicate(timeout=60)
    return Outcome(process.returncode, out, err)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def own_project(stack: Any) -> bool:
    return bool(stack.database_url) and urlsplit(stack.supabase_url).hostname in {"127.0.0.1", "localhost"}


@pytest.fixture
def project(stack: Any, supabase: httpx.Client) -> Iterator[Project]:
    if not own_project(stack):
        pytest.skip("retention acts on a whole project, and this one is not this machine's own")
    project = Project(stack, supabase)
    # Nothing of other tests is old enough for the defaults, so that the numbers below are of these tests alone.
    project.execute("update storage.objects set created_at = now()")
    yield project
    project.execute("update storage.objects set created_at = now()")


# What goes and what stays ------------------------------------------------------------------------------


def test_a_dry_run_tells_and_removes_nothing(project: Project, user: Caller, stranger: Caller) -> None:
    project.store(user, "one")
    project.store(user, "two")
    deleted = user.approved()
    project.delete_agent(user, deleted["agent_id"], 31)
    stranger.approved()
    before = project.documents(user, stranger)

    run = project.run()

    assert run.status == 0
    assert "Would purge 1 agents with 1 plans" in run.out
    assert "Would remove 2 documents" in run.out
    assert "--apply" in run.out
    assert project.documents(user, stranger) == before
    assert project.execute("select id::text from public.agent where user_id = %s", user.id) == [
        (deleted["agent_id"],)
    ]


def test_old_documents_that_no_plan_refers_to_go_and_all_others_stay(project: Project, user: Caller) -> None:
    session = new_session()
    approved = user.approved(plan_id=session, content="approved")
    superseding = user.approved(plan_id=session, content="approved later", version=2)
    for content in ("approved", "approved later"):
        project.age(f"{user.id}/{session}/{sha256(content)}.md", 90 * DAY)
    kept = {f"{user.id}/{session}/{sha256(content)}.md" for content in ("approved", "approved later")}
    young = project.store(user, "young", age=23 * 60 * 60)
    old = project.store(user, "old", age=25 * 60 * 60)

    run = project.run("--apply")

    assert run.status == 0, run.text
    assert "removed 1 documents" in run.out
    assert project.documents(user) == kept | {young}
    assert project.bytes_of(old) is None
    assert httpx.get(approved["document_url"]).content == b"approved"
    assert httpx.get(superseding["document_url"]).content == b"approved later"

    assert project.run("--apply", "--grace-hours", "22").status == 0
    assert project.documents(user) == kept


def test_a_deleted_accounts_documents_go(project: Project, user: Caller, stranger: Caller) -> None:
    for caller in (user, stranger):
        caller.approved(content="approved")
        for name in project.documents(caller):
            project.age(name, 2 * DAY)
    kept = project.documents(stranger)
    (left,) = project.documents(user)
    assert project.run("--apply").status == 0
    assert project.documents(user) == {left}

    project.stack.delete_user(user.id)

    assert project.documents(user) == {left}
    assert project.run("--apply").status == 0
    assert project.documents(user) == set()
    assert project.bytes_of(left) is None
    assert project.documents(stranger) == kept


def test_agents_deleted_long_ago_are_purged_with_all_that_is_theirs(
    project: Project, user: Caller, stranger: Caller
) -> None:
    session = new_session()
    long_ago = user.approved(plan_id=session, content="first")
    user.approved(plan_id=session, version=2, content="second")
    lately = stranger.approved(content="kept")
    for caller in (user, stranger):
        for name in project.documents(caller):
            project.age(name, 40 * DAY)
    kept = project.documents(stranger)
    project.delete_agent(user, long_ago["agent_id"], 31)
    project.delete_agent(stranger, lately["agent_id"], 29)

    run = project.run("--apply")

    assert run.status == 0, run.text
    assert "Purged 1 agents and 0 closed plans, and removed 2 documents." in run.out
    for table in ("agent", "plan", "agent_event"):
        assert project.execute(f"select from public.{table} where user_id = %s", user.id) == []
    assert project.documents(user) == set()
    assert project.documents(stranger) == kept
    assert stranger.rpc("restore_agent", agent_id=lately["agent_id"]).status_code == 200
    assert [agent["id"] for agent in stranger.rows("agent")] == [lately["agent_id"]]
    assert user.rpc("restore_agent", agent_id=long_ago["agent_id"]).status_code == 404


def test_old_closed_proposals_are_purged_with_their_documents(project: Project, user: Caller) -> None:
    """Two sessions: of the one without an agent all goes; of the other the newest version stays."""
    project.run("--apply", "--keep-closed-days", "0")  # what other tests have closed

    def closed() -> int:
        told = re.search(r"purge at most (\d+) plans", project.run("--keep-closed-days", "0").out)
        assert told
        return int(told[1])

    before = closed()
    for session in ("without", "with"):
        user.proposed(plan_id=session, content=f"{session} one")
        assert user.rpc("reject_plan", session_id=session, version=1).is_success
    user.approved(plan_id="with", version=2, content="with two")
    user.proposed(plan_id="with", version=3, content="with three")
    assert user.rpc("withdraw_plan", session_id="with", version=3).is_success
    user.proposed(plan_id="waiting", content="waits")
    for name in project.documents(user):
        project.age(name, 40 * DAY)
    everything = project.documents(user)

    assert project.run("--apply").status == 0
    assert project.documents(user) == everything  # closed today

    assert closed() == before + 3
    assert project.documents(user) == everything
    run = project.run("--apply", "--keep-closed-days", "0")

    assert run.status == 0, run.text
    assert "Purged 0 agents and 2 closed plans, and removed 2 documents." in run.out
    left = {(plan["session_id"], plan["version"], plan["status"]) for plan in user.rows("plan")}
    assert left == {("with", 2, "approved"), ("with", 3, "withdrawn"), ("waiting", 1, "proposed")}
    assert {name.split("/")[1] for name in project.documents(user)} == {"with", "waiting"}


def logs(dry_run: Outcome) -> int:
    (number,) = re.findall(r"Would purge at most (\d+) logs of builds\.", dry_run.out)
    return int(number)


def test_logs_of_builds_that_ended_long_ago_are_purged(project: Project, user: Caller, stack: Any) -> None:
    project.run("--apply", "--keep-logs-days", "0")  # what other tests have left
    left = logs(project.run("--keep-logs-days", "0"))  # of builds that still run
    ended, running = (stack.claim(user.approved()["agent_id"])["build_id"] for _ in range(2))
    stack.as_builder("finish_build", build_id=ended, attempt=1, log="ended")
    stack.as_builder("renew_build", build_id=running, attempt=1, log="running")

    assert "logs of builds" not in project.run("--apply").out  # ended today
    assert len(user.rows("build_log", order="build_id")) == 2

    assert logs(project.run("--keep-logs-days", "0")) == left + 2
    assert len(user.rows("build_log", order="build_id")) == 2

    run = project.run("--apply", "--keep-logs-days", "0")
    assert run.status == 0, run.text
    assert "Purged 1 logs of builds." in run.out
    assert [log["content"] for log in user.rows("build_log", order="build_id")] == ["running"]
    assert len(user.rows("build")) == 2


def test_notifications_that_were_not_delivered_are_purged(project: Project, user: Caller, stack: Any) -> None:
    subscribers = ("gone", "claims")
    for name in subscribers:
        stack.as_builder("forget_subscriber", subscriber=name)
        assert stack.as_builder("claim_notifications", subscriber=name) == []
    user.proposed()
    project.execute(
        "update greenlight.subscriber set claimed_at = now() - interval '31 days' where name = 'gone'"
    )

    def waiting() -> list[str]:
        query = """
            select s.name from greenlight.notification as n
            left join greenlight.subscriber as s on s.id = n.subscriber_id
            where n.user_id = %s order by 1"""
        return [name for (name,) in project.execute(query, user.id) if name in subscribers]

    assert "Would purge old notifications" in project.run().out
    assert waiting() == ["claims", "gone"]
    run = project.run("--apply")
    assert run.status == 0, run.text
    assert re.search(r"Purged \d+ notifications and subscribers\.", run.out)
    assert waiting() == ["claims"]  # written today
    assert project.run("--apply", "--keep-notifications-days", "0").status == 0
    assert waiting() == []


def test_how_long_deleted_agents_are_kept_can_be_said(project: Project, user: Caller) -> None:
    agent_id = user.approved()["agent_id"]
    project.delete_agent(user, agent_id, 5)
    count = "select from public.agent where id = %s"

    assert project.run("--apply", "--keep-deleted-days", "6").status == 0
    assert len(project.execute(count, agent_id)) == 1
    assert project.run("--apply", "--keep-deleted-days", "4").status == 0
    assert project.execute(count, agent_id) == []


def test_it_walks_through_any_number_of_batches(project: Project, user: Caller) -> None:
    for number in range(7):
        project.store(user, f"document {number}", session=f"s{number}")
        project.delete_agent(user, user.approved(plan_id=f"agent-{number}")["agent_id"], 31)

    for name in project.documents(user):
        project.age(name, 2 * DAY)

    run = project.run("--apply", "--batch-size", "3")

    assert run.status == 0, run.text
    assert "Purged 3 of 7 agents." in run.out
    assert "Removed 3 of 14 documents." in run.out
    assert "Purged 7 agents and 0 closed plans, and removed 14 documents." in run.out
    assert project.documents(user) == set()


# What cannot be removed --------------------------------------------------------------------------------


def test_a_document_that_storage_refuses_stops_no_other_and_the_run_fails(
    project: Project, user: Caller
) -> None:
    names = [project.store(user, f"document {number}") for number in range(6)]
    # A table of the project's own refers to one of them: storage refuses the whole batch.
    project.execute(
        "create table public.keepsake (object_id uuid references storage.objects (id));"
        "grant select on public.keepsake to public;"
    )
    try:
        project.execute(
            "insert into public.keepsake select id from storage.objects where name = %s", names[2]
        )
        run = project.run("--apply")
    finally:
        project.execute("drop table public.keepsake")

    assert run.status == 1
    assert "removed 5 documents" in run.out
    assert f"1 documents could not be removed:\n  {names[2]} (409 ResourceReferenced)" in run.err
    assert project.documents(user) == {names[2]}
    assert project.run("--apply").status == 0
    assert project.documents(user) == set()


def test_a_document_that_storage_leaves_without_a_word_is_noticed(project: Project, user: Caller) -> None:
    names = [project.store(user, f"document {number}") for number in range(3)]
    project.execute(
        f"""
        create function public.keep() returns trigger language plpgsql as $$ begin return null; end; $$;
        create trigger keep before delete on storage.objects
        for each row when (old.name = '{names[0]}') execute function public.keep();"""
    )
    try:
        run = project.run("--apply")
    finally:
        project.execute("drop function public.keep() cascade")

    assert run.status == 1
    assert "removed 2 documents" in run.out
    assert names[0] in run.err
    assert project.documents(user) == {names[0]}


def test_a_locked_agent_is_left_and_the_run_says_so(project: Project, user: Caller) -> None:
    agent_id = user.approved()["agent_id"]
    project.delete_agent(user, agent_id, 31)
    with project.connect(autocommit=False) as connection:
        connection.execute("select from public.agent where id = %s for no key update", (agent_id,))
        run = project.run("--apply")
        connection.rollback()

    assert run.status == 1
    assert "1 agents could not be purged" in run.err
    assert project.run("--apply").status == 0
    assert project.execute("select from public.agent where id = %s", agent_id) == []


@pytest.mark.parametrize("batch_size", ["1", "200"])
def test_a_document_approved_at_that_very_moment_stays_and_is_no_failure(
    project: Project, user: Caller, batch_size: str
) -> None:
    wanted, orphan = project.store(user, "wanted"), project.store(user, "orphan")
    with project.connect(autocommit=False) as connection:
        # An approval that has not committed yet: retention sees an orphan, and waits for the approval's lock.
        claims = f'{{"sub": "{user.id}", "role": "authenticated"}}'
        connection.execute("select set_config('request.jwt.claims', %s, true)", (claims,))
        connection.execute("set local role authenticated")
        url = f"{project.stack.supabase_url}/storage/v1/object/sign/plans/{wanted}?token=x"
        connection.execute("select public.approve_plan('s1', 1, 'A plan', %s, %s)", (sha256("wanted"), url))
        process = project.start("--apply", "--batch-size", batch_size)
        project.wait_for_waiting(1, process)
        connection.commit()
    run = outcome(process)

    assert run.status == 0, run.text
    assert "removed 1 documents" in run.out
    assert "1 documents were approved or removed by another process" in run.out
    assert project.documents(user) == {wanted}
    assert project.bytes_of(wanted) == b"wanted"
    assert project.bytes_of(orphan) is None
    assert user.approved(plan_id="s1", content="wanted")["created"] is False


# Beside itself, and cut short --------------------------------------------------------------------------


def test_two_runs_at_once_remove_everything_once(project: Project, user: Caller) -> None:
    names = [project.store(user, f"document {number}") for number in range(6)]
    for number in range(4):
        project.delete_agent(user, user.approved(plan_id=f"agent-{number}")["agent_id"], 31)
    with project.held(min(names)):
        processes = [project.start("--apply", "--batch-size", "4") for _ in range(2)]
        project.wait_for_waiting(2, *processes)  # both are about to remove the same ones
    runs = [outcome(process) for process in processes]

    assert [run.status for run in runs] == [0, 0], [run.text for run in runs]
    assert not project.documents(user) & set(names)
    assert project.execute("select from public.agent where user_id = %s", user.id) == []


def test_a_run_that_is_killed_leaves_the_rest_to_the_next(project: Project, user: Caller) -> None:
    names = sorted(project.store(user, f"document {number}") for number in range(6))
    approved = user.approved(plan_id="s1", content="approved")
    project.age(f"{user.id}/s1/{sha256('approved')}.md", 2 * DAY)
    with project.held(names[3]):
        process = project.start("--apply", "--batch-size", "2")
        project.wait_for_waiting(1, process)
        process.kill()
        process.communicate()
    project.wait_for_waiting(0)

    assert process.returncode == -signal.SIGKILL
    # The batch that storage was asked for is removed as a whole or not at all.
    left = project.documents(user) & set(names)
    assert left in (set(names[4:]), set(names[2:]))

    assert project.run("--apply").status == 0
    assert not project.documents(user) & set(names)
    assert all(project.bytes_of(name) is None for name in names)
    assert httpx.get(approved["document_url"]).content == b"approved"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_batch_end_and_no_other_begin(
    project: Project, user: Caller, number: signal.Signals
) -> None:
    names = sorted(project.store(user, f"document {number}") for number in range(6))
    with project.held(names[3]):
        process = project.start("--apply", "--batch-size", "2")
        project.wait_for_waiting(1, process)
        process.send_signal(number)
    run = outcome(process)

    assert run.status == 128 + number
    assert "removed 4 documents" in run.out
    assert "Stopped by a signal" in run.err
    assert project.documents(user) == set(names[4:])


# What it needs, and what it tells ----------------------------------------------------------------------


def test_missing_settings_are_named(project: Project) -> None:
    run = project.run(SUPABASE_URL="", SUPABASE_SECRET_KEY="")

    assert run.status == 2
    assert "\nSUPABASE_URL is not set\n" in run.err
    assert "\nSUPABASE_SECRET_KEY is not set\n" in run.err


def test_only_the_secret_key_will_do(project: Project, user: Caller) -> None:
    name = project.store(user, "old")
    forged = jwt.encode({"role": "service_role"}, "x" * 32, "HS256")
    refused_at_once = [user.token, project.stack.publishable_key, "sb_secret_a\nb"]
    refused_by_supabase = ["sb_secret_wrong", forged]

    for key in refused_at_once + refused_by_supabase:
        run = project.run("--apply", SUPABASE_SECRET_KEY=key)
        assert run.status == (2 if key in refused_at_once else 3), run.text
        assert "SUPABASE_SECRET_KEY" in run.err
        assert key not in run.text
    assert name in project.documents(user)

    run = project.run("--apply")
    assert run.status == 0
    assert name not in project.documents(user)
    assert project.stack.secret_key not in run.text


def test_a_supabase_that_is_not_there_is_told(project: Project) -> None:
    url = f"http://127.0.0.1:{free_ports(1)[0]}"

    run = project.run("--apply", SUPABASE_URL=url)

    assert run.status == 3
    assert f"cannot be reached at {url}" in run.err


@pytest.mark.parametrize(
    ("status", "text", "told"),
    [
        (503, "busy", "is busy or down: it answered 503"),
        (429, "{}", "is busy or down: it answered 429"),
        (404, '{"code": "PGRST202", "message": "Could not find the function"}', "PGRST202 Could not find"),
        (200, "<html>", "Unexpected response"),
        (200, '[{"nothing": 1}]', "Unexpected response"),
    ],
)
def test_what_supabase_answers_instead_is_told(project: Project, status: int, text: str, told: str) -> None:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            run = project.run("--apply", SUPABASE_URL=f"http://127.0.0.1:{server.server_port}")
        finally:
            server.shutdown()
            thread.join()

    assert run.status == 3
    assert told in run.err


WRONG = (
    *(("--grace-hours", "-1"), ("--grace-hours", "nan"), ("--keep-deleted-days", "-0.1")),
    *(("--keep-deleted-days", "inf"), ("--keep-closed-days", "-1"), ("--batch-size", "0")),
    *(("--batch-size", "1001"), ("--batch-size", "many"), ("--aply",)),
)


def test_wrong_options_are_refused(project: Project, user: Caller) -> None:
    project.store(user, "old")
    for arguments in WRONG:
        assert project.run("--apply", *arguments).status == 2, arguments
    assert len(project.documents(user)) == 1


def test_each_batch_is_one_line_on_standard_output(project: Project, user: Caller) -> None:
    project.store(user, "one")

    run = project.run("--apply")

    assert run.err == ""
    assert (
        run.out == "Removed 1 of 1 documents.\nPurged 0 agents and 0 closed plans, and removed 1 documents.\n"
    )
