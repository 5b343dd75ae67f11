"""A user who calls the API, and what a refusal looks like."""

from dataclasses import dataclass
from typing import Any

import httpx

from tests.plan import body, encode

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

    def tool(self, name: str, **arguments: Json) -> httpx.Response:
        """Call a tool over MCP."""
        version = "2026-07-28"
        meta = {
            "io.modelcontextprotocol/protocolVersion": version,
            "io.modelcontextprotocol/clientCapabilities": {},
        }
        params = {"name": name, "arguments": arguments, "_meta": meta}
        headers = {
            **self._bearer,
            "Accept": "application/json, text/event-stream",
            "Content-Type": "application/json",
            "MCP-Protocol-Version": version,
            "Mcp-Method": "tools/call",
            "Mcp-Name": name,
        }
        request = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        return self.service.post("/mcp", content=encode(request), headers=headers)

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
