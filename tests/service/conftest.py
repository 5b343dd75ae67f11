"""What the service's tests have in common: approving, and looking as the owner at what is there."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.plan import body, encode, new_session, sha256

__all__ = ["body", "encode", "new_session", "sha256"]

Json = Any


@dataclass(frozen=True)
class Caller:
    """A signed-up user, at the service and straight at Supabase."""

    id: str
    token: str
    service: httpx.Client
    supabase: httpx.Client

    @property
    def _bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def approve(self, **fields: Json) -> httpx.Response:
        headers = {**self._bearer, "Content-Type": "application/json"}
        return self.service.post("/plan/approve", content=encode(body(**fields)), headers=headers)

    def propose(self, **fields: Json) -> httpx.Response:
        headers = {**self._bearer, "Content-Type": "application/json"}
        return self.service.post("/plan/propose", content=encode(body(**fields)), headers=headers)

    def proposed(self, **fields: Json) -> Json:
        answer = self.propose(**fields)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def approved(self, **fields: Json) -> Json:
        answer = self.approve(**fields)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def document(self, plan_id: str) -> httpx.Response:
        return self.service.get(f"/plan/{plan_id}/document", headers=self._bearer)

    def rows(self, table: str, **filters: str) -> list[Json]:
        answer = self.supabase.get(
            f"/rest/v1/{table}", params={"order": "id", **filters}, headers=self._bearer
        )
        assert answer.status_code == 200, answer.text
        rows: list[Json] = answer.json()
        return rows

    def rpc(self, name: str, **arguments: Json) -> httpx.Response:
        return self.supabase.post(f"/rest/v1/rpc/{name}", json=arguments, headers=self._bearer)

    def objects(self, session: str) -> list[str]:
        """Return the names of the documents that are stored for this session."""
        answer = self.supabase.post(
            "/storage/v1/object/list/plans",
            json={"prefix": f"{self.id}/{session}", "limit": 100, "offset": 0},
            headers=self._bearer,
        )
        assert answer.status_code == 200, answer.text
        return sorted(entry["name"] for entry in answer.json())

    def folders(self) -> list[str]:
        """Return the sessions that have documents."""
        answer = self.supabase.post(
            "/storage/v1/object/list/plans",
            json={"prefix": self.id, "limit": 100, "offset": 0},
            headers=self._bearer,
        )
        assert answer.status_code == 200, answer.text
        return sorted(entry["name"] for entry in answer.json())

    def has_nothing(self) -> bool:
        return not (self.rows("plan") or self.rows("agent") or self.rows("agent_event") or self.folders())


def expect_problem(answer: httpx.Response, status: int, code: str) -> Json:
    """Check that it is a problem of this kind, whole, and return it."""
    assert (answer.status_code, answer.json().get("code")) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == f"urn:greenlight:error:{code}"
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert isinstance(problem["retryable"], bool)
    return problem


# A service of a test's own -----------------------------------------------------------------------------


@dataclass
class Process:
    url: str
    process: subprocess.Popen[bytes]
    output: Path

    def lines(self) -> str:
        return self.output.read_text()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def running_service(
    directory: Path, constants: dict[str, int] | None = None, /, **settings: str
) -> Iterator[Process]:
    """Run the service with these settings, and these constants of greenlight.auth, and no other environment."""
    port = settings.setdefault("PORT", str(free_port()))
    output = directory / f"service-{port}.log"
    with output.open("wb") as file, start_service(settings, file, constants) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_until_it_answers(url, process, output)
            yield Process(url, process, output)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(30)


SERVE = ["-m", "greenlight", "serve"]
_WITH_CONSTANTS = """
import json, sys
from greenlight import auth, serve
vars(auth).update(json.loads(sys.argv[1]))
serve.main()
"""


def start_service(
    settings: dict[str, str], output: Any, constants: dict[str, int] | None = None
) -> subprocess.Popen[bytes]:
    environment = {
        name: os.environ[name] for name in ("PATH", "HOME", "LD_LIBRARY_PATH") if name in os.environ
    }
    return subprocess.Popen(
        [sys.executable, *(["-c", _WITH_CONSTANTS, json.dumps(constants)] if constants else SERVE)],
        env={**environment, **settings},
        stdout=output,
        stderr=subprocess.STDOUT,
    )


def _wait_until_it_answers(url: str, process: subprocess.Popen[bytes], output: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        assert process.poll() is None, output.read_text()
        try:
            httpx.get(f"{url}/healthz")
        except httpx.TransportError:
            time.sleep(0.02)
        else:
            return
    pytest.fail(f"no answer in time:\n{output.read_text()}")
