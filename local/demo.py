"""The demo: a planner proposes a plan, its user comments on it, approves the next version, and a builder builds it."""

import hashlib
import html
import re
import time
import unicodedata
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import httpx
import jwt
import psycopg

from greenlight import MAX_DOCUMENT_BYTES
from local.processes import LocalError
from local.stack import Settings, Stack

COLUMN = 78
# docs/teams.md explains it.
MEMBERSHIP = """
    drop schema if exists demo cascade;
    create schema demo;
    create table demo.membership (team_id uuid, user_id uuid, role text);
    create or replace function greenlight.viewer_teams() returns setof uuid
    language sql stable security definer set search_path = '' as $$
        select team_id from demo.membership where user_id = (select auth.uid()) and role = 'viewer'
    $$;
    create or replace function greenlight.approver_teams() returns setof uuid
    language sql stable security definer set search_path = '' as $$
        select team_id from demo.membership where user_id = (select auth.uid()) and role = 'approver'
    $$;
"""
MAIL_SECONDS = 60.0  # at most; it takes about one
MAX_PASSAGE = 60
BUILD_SECONDS = 60.0  # at most; the example builder takes about five


class Line:
    """A line of output that ends with the time that its step took."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._began = time.perf_counter()
        self._seconds: float | None = None

    def ended(self) -> None:
        """Stop the clock: what follows is not part of the step."""
        self._seconds = time.perf_counter() - self._began

    def show(self, result: str) -> None:
        if self._seconds is None:
            self.ended()
        _show(self._text + result, self._seconds or 0)


def _show(text: str, seconds: float) -> None:
    print(f"  {text:<{COLUMN}} {seconds * 1000:6.0f} ms", flush=True)


class Caller:
    """The service and Supabase, with one access token."""

    def __init__(self, stack: Stack, token: str) -> None:
        variables = stack.variables()
        self.token = token
        bearer = {"Authorization": f"Bearer {token}"}
        self._service = httpx.Client(base_url=variables["SERVICE_URL"], headers=bearer, timeout=60)
        self._supabase = httpx.Client(
            base_url=variables["SUPABASE_URL"],
            headers={**bearer, "apikey": variables["SUPABASE_PUBLISHABLE_KEY"]},
            timeout=30,
        )

    def propose(self, session: str, title: str, content: str, version: int = 1, **others: str) -> Any:
        request = {"plan_id": session, "title": title, "content": content, "version": version, **others}
        return _json(self._service.post("/plan/propose", json=request))

    def approve(self, session: str, digest: str, version: int = 1, **others: str) -> httpx.Response:
        """Approve the proposal: session, version and hash are enough. Another owner's has `user_id`, too."""
        arguments = {"session_id": session, "version": version, "document_sha256": digest, **others}
        return self._supabase.post("/rest/v1/rpc/approve_plan", json=arguments)

    def request_changes(self, session: str, comments: list[dict[str, Any]]) -> Any:
        arguments = {"session_id": session, "version": 1, "comments": comments}
        return _json(self._supabase.post("/rest/v1/rpc/request_changes", json=arguments))

    def rows(self, table: str, **filters: str) -> list[Any]:
        rows: list[Any] = _json(self._supabase.get(f"/rest/v1/{table}", params=filters))
        return rows

    def asks_for_document(self, plan_id: str) -> httpx.Response:
        return self._service.get(f"/plan/{plan_id}/document")


class Person(Caller):
    """A user who has just signed up."""

    def __init__(self, name: str, stack: Stack) -> None:
        self.email = f"{name}-{uuid.uuid4().hex[:8]}@example.com"
        variables = stack.variables()
        answer = httpx.post(
            f"{variables['SUPABASE_URL']}/auth/v1/signup",
            headers={"apikey": variables["SUPABASE_PUBLISHABLE_KEY"]},
            json={"email": self.email, "password": uuid.uuid4().hex},
            timeout=30,
        )
        super().__init__(stack, _json(answer)["access_token"])
        self.id = str(jwt.decode(self.token, options={"verify_signature": False})["sub"])


class Planner(Caller):
    """A planner that a person let act for them.

    Supabase Auth's OAuth 2.1 server gives it a token of the person's with its own `client_id`. The local Auth has no
    such server, so the token is made here with the stack's own key.
    """

    def __init__(self, person: Person, stack: Stack) -> None:
        claims = jwt.decode(person.token, options={"verify_signature": False})
        key = stack.keys.signing_key
        token = jwt.encode(
            {**claims, "client_id": "demo-planner"},
            jwt.PyJWK(key, algorithm="ES256"),
            algorithm="ES256",
            headers={"kid": key["kid"]},
        )
        super().__init__(stack, token)


def demo(settings: Settings, path: Path) -> None:
    """Run the demo.

    Raises:
        LocalError: the document cannot be used, the stack does not start, or an answer is not as
            expected.

    """
    document = _read(path)
    print("Starting a local Supabase, the service, the example builder and the notifier", flush=True)
    stack = Stack(settings, builder=True, mail=True)
    try:
        stack.start(_show)
        _tell(stack, path, document)
    finally:
        stack.stop()
    print("\nEverything has stopped. The data is kept; `make up` starts it again and keeps it running.")


def _tell(stack: Stack, path: Path, document: bytes) -> None:
    session = f"demo-{uuid.uuid4().hex}"
    digest = hashlib.sha256(document).hexdigest()

    print("\nA planner proposes a plan", flush=True)
    line = Line("Ada signs up as ")
    ada = Person("ada", stack)
    line.show(ada.email)
    planner = Planner(ada, stack)
    proposal = _propose(planner, session, path, document)

    _mail(stack, ada)

    line = Line("The planner tries to approve it by itself: ")
    refused = planner.approve(session, digest)
    line.ended()
    _expect(refused.json().get("message") == "human_required", "the planner cannot approve")
    line.show(f"refused, {refused.json()['message']} ({refused.status_code})")

    print("\nAda comments on it", flush=True)
    line = Line("Ada reads the document by its signed URL: ")
    downloaded = httpx.get(proposal["document_url"], timeout=60)
    line.ended()
    _expect(downloaded.content == document, "the document comes back byte for byte")
    line.show(f"{len(downloaded.content):,} bytes, exactly the same")
    plan_id, changed = _round(ada, planner, session, path, document)

    print("\nAda approves", flush=True)
    digest = hashlib.sha256(changed).hexdigest()
    agent_id = _approve(ada, session, digest, plan_id)

    print("\nA builder builds it", flush=True)
    _open(_build(ada, agent_id), changed.decode())

    print("\nThe result", flush=True)
    line = Line("Ada reads her agent's log: ")
    (agent,) = ada.rows(
        "agent",
        select="*,plan!agent_plan_fkey(*),agent_event!agent_event_agent_fkey(*),build!build_agent_fkey(*)",
        id=f"eq.{agent_id}",
    )
    line.ended()
    events = sorted(agent["agent_event"], key=lambda event: int(event["id"]))
    story = [(event["kind"], event["to_status"], event["actor_role"]) for event in events]
    _expect(
        story == [("approved", "building", "authenticated"), ("status_changed", "active", "service_role")],
        "the log tells of the approval and of the build",
    )
    _expect(agent["plan"]["document_sha256"] == digest, "the agent is built from the approved document")
    line.show("approved by Ada, then active by the builder")

    line = Line("Bob signs up and looks: ")
    bob = Person("bob", stack)
    seen = [len(bob.rows(table)) for table in ("plan", "agent", "agent_event", "build")]
    refused = bob.asks_for_document(proposal["plan_id"])
    line.ended()
    _expect(seen == [0, 0, 0, 0], "Bob sees nothing of Ada's")
    _expect(refused.status_code == httpx.codes.NOT_FOUND, "Bob gets no document")
    line.show(f"no plan, no agent, no build, and no document ({refused.status_code})")

    with _team(stack) as team:
        _tell_of_a_team(team, ada, planner, bob)


def _tell_of_a_team(team: "Team", ada: Person, planner: Planner, bob: Person) -> None:
    print("\nA team's plan: Ada may read it, Bob decides", flush=True)
    team.join(ada, "viewer")
    team.join(bob, "approver")
    sessions = [f"demo-{uuid.uuid4().hex}" for _ in range(2)]
    content = "# Plan of a team\n\nTwo pairs of eyes.\n"
    digest = hashlib.sha256(content.encode()).hexdigest()
    line = Line("Her planner proposes two plans to the team: ")
    first, second = (
        planner.propose(session, "Plan of a team", content, team_id=team.id) for session in sessions
    )
    line.show(f"{first['status']}, {second['status']}")

    line = Line("Ada tries to approve her own: ")
    refused = ada.approve(sessions[0], digest)
    line.ended()
    _expect(refused.json().get("message") == "approver_required", "the owner may not decide")
    line.show(f"refused, {refused.json()['message']} ({refused.status_code})")

    line = Line("Bob approves the first: ")
    approval = _json(bob.approve(sessions[0], digest, user_id=ada.id))
    line.ended()
    (plan,) = ada.rows("plan", id=f"eq.{approval['plan_id']}")
    _expect(plan["decided_by"] == bob.id, "the plan says who decided")
    line.show("Ada reads that it was Bob")

    team.leave(bob)
    line = Line("Bob leaves the team, and tries the second: ")
    refused = bob.approve(sessions[1], digest, user_id=ada.id)
    line.ended()
    _expect(refused.json().get("message") == "plan_not_found", "who has left decides nothing")
    _expect(bob.rows("plan", id=f"eq.{second['plan_id']}") == [], "who has left reads nothing")
    line.show(f"refused, {refused.json()['message']} ({refused.status_code})")


class Team:
    """A team of the demo's own project, which knows its members."""

    def __init__(self, database: psycopg.Connection[Any]) -> None:
        self.id = str(uuid.uuid4())
        self._database = database

    def join(self, person: Person, role: str) -> None:
        self._database.execute("insert into demo.membership values (%s, %s, %s)", [self.id, person.id, role])

    def leave(self, person: Person) -> None:
        self._database.execute("delete from demo.membership where user_id = %s", [person.id])


@contextmanager
def _team(stack: Stack) -> Iterator[Team]:
    """Say who is in a team, as a project does; afterwards its two functions are as they were."""
    with psycopg.connect(stack.postgres.url(), autocommit=True) as database:
        before = database.execute(
            "select string_agg(pg_get_functiondef(oid), ';') from pg_proc"
            " where pronamespace = 'greenlight'::regnamespace and proname in ('viewer_teams', 'approver_teams')"
        ).fetchall()
        database.execute(MEMBERSHIP)
        try:
            yield Team(database)
        finally:
            database.execute(before[0][0])
            database.execute("drop schema demo cascade")


def _propose(planner: Planner, session: str, path: Path, document: bytes) -> Any:
    content = document.decode()
    line = Line(f"Her planner proposes {_printable(path.name)}, {len(document):,} bytes: ")
    proposal = planner.propose(session, _title(content, path), content)
    line.ended()
    _expect(proposal["status"] == "proposed" and proposal["created"], "the plan is proposed")
    line.show(f"version {proposal['version']}, {proposal['status']}")
    (plan,) = planner.rows("plan", id=f"eq.{proposal['plan_id']}")
    _expect(plan["document_sha256"] == hashlib.sha256(document).hexdigest(), "the hash is the document's")
    _expect(plan["proposed_by"] == "demo-planner", "the plan names the planner")
    print(f"    title   {plan['title']}\n    sha256  {plan['document_sha256']}")
    return proposal


def _mail(stack: Stack, ada: Person) -> None:
    """Show the mail that the plan's owner got."""
    line = Line("Ada gets a mail: ")
    deadline = time.monotonic() + MAIL_SECONDS
    mails: list[Any] = []
    while not mails:
        if time.monotonic() > deadline:
            _fail(f"no mail after {MAIL_SECONDS:.0f} s; see {stack.child('notifier').log}")
        time.sleep(0.1)
        found = _json(httpx.get(f"{stack.settings.mail_url}/mails.json", timeout=30))
        mails = [mail for mail in found if mail["to"] == ada.email]
    line.show(mails[0]["subject"][: COLUMN - 17])
    print(f"    link    {next(text for text in mails[0]['text'].split() if text.startswith('http'))}")


def _round(ada: Person, planner: Planner, session: str, path: Path, document: bytes) -> tuple[str, bytes]:
    """Show one round of a review. Return the next version's plan and its document."""
    text = document.decode()
    lines = [each for each in re.split(r"\r\n|\r|\n", text) if each.strip()]
    # The first and the last one that say something, or all of a document that says nothing.
    passages = list(
        dict.fromkeys(each[:MAX_PASSAGE] for each in (lines[:1] + lines[-1:] or [text[:MAX_PASSAGE]]))
    )
    said = dict(zip(passages[::-1], ("Say who decides this.", "A good title."), strict=False))
    comments = []
    for passage in passages:
        start = text.rindex(passage) if passage == passages[-1] else text.index(passage)
        body = said[passage]
        comments.append({"start": start, "end": start + len(passage), "exact": passage, "body": body})
    line = Line("Ada asks for changes: ")
    ada.request_changes(session, comments)
    line.show(f"{len(comments)} comments on passages")
    for comment in comments:
        print(f"    “{_printable(comment['exact'])[:40]}”  {comment['body']}")

    line = Line("The planner reads what she said: ")
    (decision,) = planner.rows("plan", session_id=f"eq.{session}", version="eq.1")
    line.ended()
    _expect(decision["status"] == "changes_requested", "the plan was sent back")
    found = [text[each["start"] : each["end"]] == each["exact"] for each in decision["comments"]]
    _expect(all(found) and decision["comments"] == comments, "each comment is on its passage")
    line.show("each comment, and its passage in the document")

    # What a model would write.
    before, after = text[: comments[-1]["start"]], f"Ada decides: {text[comments[-1]['start'] :]}"
    room = MAX_DOCUMENT_BYTES - len(after.encode())
    before = before.encode()[:room].decode(errors="ignore")  # of the largest document, a little less
    changed = before + after
    line = Line("It proposes a changed version: ")
    proposal = planner.propose(
        session, _title(text, path), changed, 2, message="I say now who decides. The title is the same."
    )
    line.show(f"version {proposal['version']}, {proposal['status']}")
    (plan,) = ada.rows("plan", id=f"eq.{proposal['plan_id']}")
    print(f"    “{plan['message']}”")
    for comment in comments:
        there = changed[comment["start"] : comment["end"]] == comment["exact"]
        became = "not changed" if there else "changed since"
        print(f"    “{_printable(comment['exact'])[:40]}”  {became}")
    _expect(changed[len(before) :] == after, "the passage that Ada commented on has changed")
    return str(proposal["plan_id"]), changed.encode()


def _approve(ada: Person, session: str, digest: str, plan_id: str) -> str:
    line = Line("Ada approves version 2, with a note for the builder: ")
    approval = _json(ada.approve(session, digest, 2, comment="Start small."))
    line.ended()
    _expect(approval["plan_id"] == plan_id and approval["created"], "the proposed plan is approved")
    line.show("a plan and its agent")
    print(f"    agent   {approval['agent_id']}  ({approval['agent_status']})")

    line = Line("Ada clicks once more: ")
    again = _json(ada.approve(session, digest, 2))
    line.ended()
    same = all(again[key] == approval[key] for key in ("agent_id", "plan_id"))
    _expect(same and not again["created"], "the second approval is a replay")
    line.show("the same agent, nothing new")
    return str(approval["agent_id"])


def _build(ada: Person, agent_id: str) -> str:
    """Show the build's progress, as its owner sees it, until it has ended; return the address of what was built."""
    began = time.perf_counter()
    shown = None
    while True:
        (build,) = ada.rows("build", agent_id=f"eq.{agent_id}")
        step = (build["status"], build["progress"], build["message"])
        if step != shown and build["status"] == "running" and build["progress"] is not None:
            filled = build["progress"] // 5
            text = f"{'█' * filled}{'░' * (20 - filled)} {build['progress']:3} %  {build['message'] or ''}"
            _show(text[:COLUMN], time.perf_counter() - began)
        shown = step
        if build["status"] not in {"queued", "running"}:
            break
        if build["status"] == "queued" and build["attempt"] > 0:
            _fail(f"the build failed: {build['message']}")
        if time.perf_counter() - began > BUILD_SECONDS:
            _fail(f"the build is still {build['status']} after {BUILD_SECONDS:.0f} s")
        time.sleep(0.1)
    _expect(build["status"] == "succeeded", f"the build succeeded ({build['status']}: {build['message']})")
    (agent,) = ada.rows("agent", id=f"eq.{agent_id}")
    _expect(agent["status"] == "active", "the agent is active")
    _show(f"The agent is {agent['status']}, at attempt {build['attempt']}", time.perf_counter() - began)
    print(f"    summary {build['result']['summary']}")
    return str(build["result"]["url"])


def _open(url: str, document: str) -> None:
    line = Line("Ada opens what was built: ")
    page = httpx.get(url, timeout=60)
    line.ended()
    _expect(page.status_code == httpx.codes.OK, f"{url} opens")
    _expect(html.escape(document) in page.content.decode(), "the page has the plan")
    place, _, name = url.rpartition("/")
    _expect(name not in httpx.get(f"{place}/", timeout=60).text, "the server lists no pages")
    line.show(f"a page of {len(page.content):,} bytes")
    print(f"    address {url}")


def _title(content: str, path: Path) -> str:
    headings = (line[2:] for line in content.splitlines() if line.startswith("# "))
    titles = (_printable(text) for text in (*headings, path.stem))
    return next(filter(None, titles), "A plan")[:500].strip()


def _printable(text: str) -> str:
    """Return the text on one line, without the characters that a title or a terminal cannot show."""
    kept = (
        " " if unicodedata.category(each) in {"Cc", "Zl", "Zp"} else each
        for each in text
        if unicodedata.category(each) != "Cs"
    )
    return " ".join("".join(kept).split())


def _read(path: Path) -> bytes:
    try:
        document = path.read_bytes()
        document.decode()
    except OSError as error:
        raise LocalError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise LocalError(f"{path} is not UTF-8 text: {error}") from error
    if not document:
        raise LocalError(f"{path} is empty")
    if len(document) > MAX_DOCUMENT_BYTES:
        raise LocalError(f"{path} has {len(document):,} bytes; a plan has at most {MAX_DOCUMENT_BYTES:,}")
    return document


def _json(response: httpx.Response) -> Any:
    if not response.is_success:
        request = response.request
        _fail(f"{request.method} {request.url.path} answered {response.status_code}: {response.text}")
    return response.json()


def _expect(fact: bool, what: str) -> None:
    if not fact:
        _fail(f"this should be true: {what}")


def _fail(what: str) -> NoReturn:
    raise LocalError(f"The demo failed: {what}")
