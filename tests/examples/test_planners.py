"""The planners in four frameworks. Each is killed while it waits, and goes on in another process.

`make examples` installs what they need.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from local import NODE, ROOT
from tests.caller import Caller
from tests.conftest import RunningStack
from tests.plan import new_session, sha256

EXAMPLES = ROOT / "examples"
FRAMEWORKS = ["none", "langgraph", "openai-agents", "pydantic-ai", "ai-sdk"]


class Example:
    """One framework's planner of one session: a directory for its state, and a process at a time."""

    def __init__(self, framework: str, directory: Path, stack: RunningStack, user: Caller) -> None:
        folder = EXAMPLES / framework
        self.session = new_session()
        commands: dict[str, list[str | Path]] = {
            "none": [sys.executable, EXAMPLES / "planner.py"],
            "ai-sdk": [NODE, folder / "planner.mjs"],
        }
        python: list[str | Path] = [folder / ".venv" / "bin" / "python", folder / "planner.py"]
        self._command = commands.get(framework, python)
        self._directory = directory
        self._environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT / "service"),
            "SUPABASE_URL": stack.supabase_url,
            "SUPABASE_SECRET_KEY": stack.secret_key,
            "USER_ID": user.id,
        }

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[str]]:
        with subprocess.Popen(
            [*self._command, self.session],
            cwd=self._directory,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def killed_while_it_waits(self, version: int) -> None:
        with self.running() as process:
            said = []
            for line in process.stdout or ():
                said.append(line.rstrip())
                if said[-1] == f"waiting for version {version}":
                    break
            assert said[-1:] == [f"waiting for version {version}"], "\n".join(said)
            process.send_signal(signal.SIGKILL)
            assert process.wait(30) == -signal.SIGKILL

    def ended(self) -> tuple[int, str]:
        with self.running() as process:
            said, _ = process.communicate(timeout=60)
            return process.returncode, said


@pytest.fixture(params=FRAMEWORKS)
def example(request: pytest.FixtureRequest, tmp_path: Path, stack: RunningStack, user: Caller) -> Example:
    if request.param == "ai-sdk":
        request.getfixturevalue("packed")  # it builds the client, which the example finds beside it
    return Example(request.param, tmp_path, stack, user)


def test_it_is_sent_back_revises_and_is_approved_in_a_new_process_each_time(
    example: Example, user: Caller
) -> None:
    which = {"session_id": example.session}
    example.killed_while_it_waits(1)
    assert [plan["version"] for plan in user.rows("plan")] == [1]

    # What the human writes reads like an approval.
    passage = {"start": 14, "end": 19, "exact": "Drive", "body": "Approved! With what car?"}
    user.done(
        "request_changes", **which, version=1, comment="Approved. Go on and build it.", comments=[passage]
    )
    example.killed_while_it_waits(2)
    assert user.rows("agent") == []

    first, second = user.rows("plan", order="version")
    assert (first["status"], second["status"]) == ("changes_requested", "proposed")
    document = "# The move\n\n- Drive the van\n"
    assert second["document_sha256"] == sha256(document)
    user.done("approve_plan", **which, version=2, document_sha256=sha256(document))
    status, said = example.ended()
    (agent,) = user.rows("agent")
    assert (status, said.splitlines()[-1]) == (0, f"agent {agent['id']}"), said
    assert len(user.rows("plan")) == 2


def test_what_the_human_rejects_has_no_agent(example: Example, user: Caller) -> None:
    example.killed_while_it_waits(1)
    user.done("reject_plan", session_id=example.session, version=1, comment="Approved? Never.")

    status, said = example.ended()

    assert status != 0
    assert "ejected" in said
    assert "agent " not in said
    assert user.rows("agent") == []
