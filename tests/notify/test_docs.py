"""docs/notify.md: its receivers and its sender run as they stand, its options and kinds are complete."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import typer.main

from greenlight import cli
from greenlight.notify.outbox import KINDS
from local import ROOT
from local.processes import accepts_connections, free_ports
from tests.builder.conftest import until
from tests.caller import Caller
from tests.conftest import RunningStack
from tests.notify.conftest import SECRET, Answer, Outbox, Receiver, Start, ended
from tests.plan import new_session

PAGE = (ROOT / "docs" / "notify.md").read_text()
RECEIVER, SENDER = re.findall(r"```ts\n(.*?)```", PAGE, re.DOTALL)
(PYTHON,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@contextmanager
def running(command: list[Any], directory: Path, port: int, **variables: str) -> Iterator[Path]:
    """Run a server of the page; yield the file with its output."""
    output = directory / "output"
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LD_LIBRARY_PATH") if name in os.environ}
    with (
        output.open("wb") as out,
        subprocess.Popen(
            command,
            cwd=directory,
            env={
                **kept,
                "DENO_NO_UPDATE_CHECK": "1",
                "DENO_SERVE_ADDRESS": f"tcp:127.0.0.1:{port}",
                **variables,
            },
            stdout=out,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            until(lambda: process.poll() is not None or accepts_connections(port))
            assert process.poll() is None, output.read_text()
            yield output
        finally:
            process.kill()


@contextmanager
def edge_function(
    deno_command: list[str | Path], directory: Path, source: str, port: int, **variables: str
) -> Iterator[Path]:
    """Serve it with Deno, which Supabase runs Edge Functions with."""
    (directory / "index.ts").write_text(source)
    # What `npm:` names comes from our own packages instead of the registry.
    (directory / "node_modules").symlink_to(ROOT / "node_modules")
    versions = json.loads((ROOT / "package.json").read_text())["dependencies"]
    used = {name: versions[name] for name in ("standardwebhooks", "@supabase/supabase-js")}
    (directory / "package.json").write_text(json.dumps({"dependencies": used}))
    with running([*deno_command, "index.ts"], directory, port, **variables) as output:
        yield output


def received(user: Caller, outbox: Outbox, start: Start, url: str, output: Path) -> None:
    """Show that the receiver takes what is signed, and nothing else."""
    proposed = user.proposed(plan_id=new_session())
    with start("--webhook", url, variables={"WEBHOOK_SECRET": SECRET.replace("Mf", "Mg", 1)}) as stranger:
        until(lambda: ended(stranger))
    assert proposed["plan_id"] not in output.read_text()
    outbox.make_due()
    with start("--webhook", url):
        until(lambda: outbox.rows(user) == [])
    assert f"plan.proposed {proposed['plan_id']}" in output.read_text()


def test_the_receiver_in_an_edge_function(
    user: Caller, outbox: Outbox, start: Start, deno_command: list[str | Path], tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    with edge_function(deno_command, tmp_path, RECEIVER, port, WEBHOOK_SECRET=SECRET) as output:
        received(user, outbox, start, f"http://127.0.0.1:{port}/", output)


def test_the_receiver_in_python(user: Caller, outbox: Outbox, start: Start, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    (tmp_path / "receiver.py").write_text(PYTHON)
    command = [sys.executable, "-m", "uvicorn", "receiver:app", "--port", str(port)]
    with running(command, tmp_path, port, WEBHOOK_SECRET=SECRET) as output:
        received(user, outbox, start, f"http://127.0.0.1:{port}/greenlight", output)


def test_the_edge_function_that_sends(
    stack: RunningStack, user: Caller, deno_command: list[str | Path], tmp_path: Path
) -> None:
    provider = Receiver(secret=None)
    provider.start()
    (port,) = free_ports(1)
    variables = {
        "SUPABASE_URL": stack.supabase_url,
        "SUPABASE_SERVICE_ROLE_KEY": stack.secret_key,
        "MAIL_API_URL": provider.url,
    }
    outbox = Outbox(stack, "edge")
    with edge_function(deno_command, tmp_path, SENDER, port, **variables) as output:

        def call() -> int:
            answer = httpx.post(f"http://127.0.0.1:{port}", timeout=60)
            assert answer.status_code == 200, answer.text + output.read_text()
            return int(answer.json()["claimed"])

        assert call() == 0  # subscribed
        try:
            user.proposed(title="The move")
            provider.answer = lambda _: Answer(500)
            assert call() >= 1
            (row,) = outbox.rows(user)
            assert row["message"] == "answered 500"
            provider.answer = lambda _: Answer()
            user.approved(title="The move")
            outbox.make_due()
            while call():
                pass
            assert outbox.rows(user) == []
        finally:
            stack.as_builder("forget_subscriber", subscriber="edge")
    provider.kill()
    mails = [got for got in provider.received if got.payload["subject"] == "Please decide: The move"]
    assert len(mails) == 2
    assert len({got.headers["Idempotency-Key"] for got in mails}) == 1


def test_the_page_has_every_option_and_kind() -> None:
    command = typer.main.get_command(cli.app).commands["notify"]  # type: ignore[attr-defined]
    options = {name for parameter in command.params for name in parameter.opts if name.startswith("--")}
    rows = "".join(line for line in PAGE.splitlines() if line.startswith("| `--"))
    assert options - {"--help"} == set(re.findall(r"`(--[a-z-]+)", rows))
    kinds = "".join(line for line in PAGE.splitlines() if re.match(r"\| `(plan|agent)\.", line))
    assert set(re.findall(r"`((?:plan|agent)\.[a-z_]+)`", kinds)) == {*KINDS}


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl")
def test_the_secret_that_the_page_makes_is_one(user: Caller, outbox: Outbox, start: Start) -> None:
    (line,) = re.findall(r'`(echo "whsec_.*?")`', PAGE)
    secret = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True).stdout.strip()
    receiver = Receiver(secret)
    receiver.start()
    with start("--webhook", receiver.url, variables={"WEBHOOK_SECRET": secret}):
        user.proposed()
        until(lambda: outbox.rows(user) == [])
    receiver.kill()
    assert len(receiver.of(user)) == 1


def test_reminders_as_the_page_sets_them(stack: RunningStack) -> None:
    (statement,) = re.findall(r"```sql\n(update.*?)```", PAGE, re.DOTALL)
    with psycopg.connect(stack.needs_database()) as database:
        database.execute(statement)
        found = database.execute("select remind_after::text from greenlight.setting").fetchone()
        database.rollback()
    assert found == ('{"1 day","3 days"}',)
