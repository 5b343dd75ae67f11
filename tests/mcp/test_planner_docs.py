"""Runs the code of docs/mcp.md and docs/planner.md."""

import os
import re
import subprocess
import sys
import threading
import time
from typing import Any

import httpx
import pytest

from local import ROOT
from tests.conftest import RunningStack, User

PAGES = [(ROOT / "docs" / name).read_text() for name in ("mcp.md", "planner.md")]
Json = Any


def block(language: str, containing: str) -> str:
    """Return the pages' one code block in this language with this text."""
    (found,) = [
        code
        for page in PAGES
        for code in re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)
        if containing in code
    ]
    return str(found)


def run_python(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def user(stack: RunningStack) -> User:
    return stack.sign_up()


@pytest.fixture
def headers(stack: RunningStack, user: User) -> dict[str, str]:
    return {"apikey": stack.publishable_key, "Authorization": f"Bearer {user.token}"}


def test_the_planner_on_the_sdk_waits_for_its_human(
    stack: RunningStack, user: User, headers: dict[str, str]
) -> None:
    rest = f"{stack.supabase_url}/rest/v1"

    def proposed(version: int) -> Json:
        until = time.monotonic() + 30
        query = {"status": "eq.proposed", "version": f"eq.{version}"}
        while not (plans := httpx.get(f"{rest}/plan", params=query, headers=headers).json()):
            assert time.monotonic() < until
            time.sleep(0.1)
        return plans[0]

    def decide(function: str, plan: Json, **more: Json) -> None:
        decision = {"session_id": plan["session_id"], "version": plan["version"], **more}
        httpx.post(f"{rest}/rpc/{function}", json=decision, headers=headers).raise_for_status()

    def review() -> None:
        passage = {"start": 14, "end": 19, "exact": "Drive", "body": "With what car?"}
        decide("request_changes", proposed(1), comments=[passage])
        second = proposed(2)
        messages.append(second["message"])
        decide("approve_plan", second, document_sha256=second["document_sha256"])

    messages: list[str] = []
    human = threading.Thread(target=review)
    human.start()
    program = block("python", "from mcp import Client").replace("http://127.0.0.1:8000", stack.service_url)
    printed = run_python(f"token = {user.token!r}\n{program}")
    human.join()
    assert printed.splitlines()[-1] == "approved version 2"
    assert messages == ["Now it says with what car."]


def test_the_planner_on_curl_proposes_and_looks(stack: RunningStack, user: User) -> None:
    script = block("sh", "/plan/propose") + "echo\n" + block("sh", "/rest/v1/plan")
    environment = {
        **os.environ,
        "SERVICE_URL": stack.service_url,
        "SUPABASE_URL": stack.supabase_url,
        "SUPABASE_PUBLISHABLE_KEY": stack.publishable_key,
        "token": user.token,
    }
    done = subprocess.run(
        ["bash", "-euc", script], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert '"status":"proposed"' in done.stdout, done.stdout + done.stderr
    assert '[{"status":"proposed","comment":null,"comments":null}]' in done.stdout.replace(" ", "")
