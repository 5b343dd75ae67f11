"""One plan, approved end to end by a signed-up user, with everything that came of it shown as they see it."""

import hashlib
import time
import uuid
from pathlib import Path
from typing import Any, NoReturn

import httpx

from local.processes import LocalError
from local.stack import Settings, Stack

COLUMN = 78


class Line:
    """A line of output with, at its end, the time that what it tells about took."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._began = time.perf_counter()
        self._seconds: float | None = None

    def ended(self) -> None:
        """Stop the clock: what follows is not what the line tells about."""
        self._seconds = time.perf_counter() - self._began

    def show(self, result: str) -> None:
        if self._seconds is None:
            self.ended()
        _show(self._text + result, self._seconds or 0)


def _show(text: str, seconds: float) -> None:
    print(f"  {text:<{COLUMN}} {seconds * 1000:6.0f} ms", flush=True)


class Person:
    """Somebody who has just signed up, and whose every request is their own."""

    def __init__(self, name: str, stack: Stack) -> None:
        variables = stack.variables()
        self.email = f"{name}-{uuid.uuid4().hex[:8]}@example.com"
        self._supabase = httpx.Client(
            base_url=variables["SUPABASE_URL"],
            headers={"apikey": variables["SUPABASE_PUBLISHABLE_KEY"]},
            timeout=30,
        )
        self._service = httpx.Client(base_url=variables["SERVICE_URL"], timeout=60)
        credentials = {"email": self.email, "password": uuid.uuid4().hex}
        session = _json(self._supabase.post("/auth/v1/signup", json=credentials))
        for client in (self._supabase, self._service):
            client.headers["Authorization"] = f"Bearer {session['access_token']}"

    def approve(self, plan_id: str, title: str, content: str) -> Any:
        request = {"plan_id": plan_id, "title": title, "content": content, "version": 1}
        return _json(self._service.post("/plan/approve", json=request))

    def rows(self, table: str, **filters: str) -> list[Any]:
        rows: list[Any] = _json(self._supabase.get(f"/rest/v1/{table}", params=filters))
        return rows

    def asks_for_document(self, plan_id: str) -> httpx.Response:
        return self._service.get(f"/plan/{plan_id}/document")


def demo(settings: Settings, path: Path) -> None:
    """Show it.

    Raises:
        LocalError: the document cannot be used, the stack does not start, or what came back is not what it
            should be.

    """
    document = _read(path)
    print("Starting a local Supabase and the service", flush=True)
    stack = Stack(settings)
    try:
        stack.start(_show)
        print("\nApproving a plan", flush=True)
        _approve(stack, path, document)
    finally:
        stack.stop()
    print("\nEverything has stopped. `make up` starts it to stay; the data is kept.")


def _approve(stack: Stack, path: Path, document: bytes) -> None:
    content, digest = document.decode(), hashlib.sha256(document).hexdigest()
    headings = (" ".join(line[2:].split()) for line in content.splitlines() if line.startswith("# "))
    title = next(filter(None, headings), path.stem)[:500]
    session = f"demo-{uuid.uuid4().hex}"

    line = Line("Ada signs up as ")
    ada = Person("ada", stack)
    line.show(ada.email)

    line = Line(f"Ada approves {path.name}, {len(document):,} bytes: ")
    approval = ada.approve(session, title, content)
    line.show("a plan and its agent")
    print(
        f"    plan   {approval['plan_id']}\n    agent  {approval['agent_id']}  ({approval['agent_status']})"
    )

    line = Line("Ada reads it back through the Data API: ")
    agents = ada.rows("agent", select="*,plan(*),agent_event(*)", id=f"eq.{approval['agent_id']}")
    line.ended()
    _expect(len(agents) == 1, "Ada sees her agent")
    (agent,) = agents
    plan, ledger = agent["plan"], agent["agent_event"]
    _expect(
        plan["id"] == approval["plan_id"] and plan["document_sha256"] == digest,
        "the plan is the one approved",
    )
    _expect([event["kind"] for event in ledger] == ["approved"], "the ledger has one event")
    line.show(f"1 agent, 1 plan, ledger: {ledger[0]['kind']}")
    print(f"    title  {plan['title']}")

    line = Line("Ada downloads the document by its signed URL: ")
    downloaded = httpx.get(approval["document_url"], timeout=60)
    line.ended()
    _expect(downloaded.content == document, "the document comes back byte for byte")
    line.show(f"{len(downloaded.content):,} bytes, all the same")
    print(f"    sha256 {digest}")

    line = Line("Ada approves it once more: ")
    again = ada.approve(session, title, content)
    line.ended()
    same = all(again[key] == approval[key] for key in ("agent_id", "plan_id"))
    _expect(same and not again["created"], "the second approval is a replay")
    line.show("the same agent, nothing new")

    line = Line("Bob signs up and looks: ")
    bob = Person("bob", stack)
    seen = [len(bob.rows(table)) for table in ("plan", "agent", "agent_event")]
    refused = bob.asks_for_document(approval["plan_id"]).status_code
    line.ended()
    _expect(seen == [0, 0, 0] and refused == httpx.codes.NOT_FOUND, "Bob sees nothing of Ada's")
    line.show(f"0 plans, 0 agents, 0 events, and no document ({refused})")


def _read(path: Path) -> bytes:
    try:
        document = path.read_bytes()
        document.decode()
    except OSError as error:
        raise LocalError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise LocalError(f"{path} is not UTF-8 text: {error}") from error
    return document


def _json(response: httpx.Response) -> Any:
    if not response.is_success:
        request = response.request
        _fail(f"{request.method} {request.url.path} answered {response.status_code}: {response.text}")
    return response.json()


def _expect(fact: bool, what: str) -> None:
    if not fact:
        _fail(f"not so: {what}")


def _fail(what: str) -> NoReturn:
    raise LocalError(f"The demo failed: {what}")
