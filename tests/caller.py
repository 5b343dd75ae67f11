"""A user who calls the API, and what a refusal looks like."""

from dataclasses import dataclass
from typing import Any

import httpx

from tests.plan import DOCUMENT, body, encode, sha256

Json = Any


@dataclass(frozen=True)
class Caller:
    """A signed-up user, at the service and straight at Supabase. Without a token it is the key of `supabase` alone."""

    id: str
    token: str
    service: httpx.Client
    supabase: httpx.Client

    # The service

    def approve(self, **fields: Json) -> httpx.Response:
        headers = {**self._bearer, "Content-Type": "application/json"}
        return self.service.post("/plan/approve", content=encode(body(**fields)), headers=headers)

    def propose(self, **fields: Json) -> httpx.Response:
        headers = {**self._bearer, "Content-Type": "application/json"}
        return self.service.post("/plan/propose", content=encode(body(**fields)), headers=headers)

    def approved(self, **fields: Json) -> Json:
        return _content(self.approve(**fields))

    def proposed(self, **fields: Json) -> Json:
        return _content(self.propose(**fields))

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

    # The Data API

    def get(self, path: str, **how: Json) -> httpx.Response:
        return self.request("GET", path, **how)

    def post(self, path: str, **how: Json) -> httpx.Response:
        return self.request("POST", path, **how)

    def request(
        self, method: str, path: str, headers: dict[str, str] | None = None, **how: Json
    ) -> httpx.Response:
        return self.supabase.request(method, path, headers={**self._bearer, **(headers or {})}, **how)

    def rows(self, table: str, **filters: str) -> list[Json]:
        rows: list[Json] = _content(self.get(f"/rest/v1/{table}", params={"order": "id", **filters}))
        return rows

    def rpc(self, name: str, **arguments: Json) -> httpx.Response:
        return self.post(f"/rest/v1/rpc/{name}", json=arguments)

    def done(self, name: str, **arguments: Json) -> Json:
        """Call a function that has to succeed, and return what it answers."""
        return _content(self.rpc(name, **arguments))

    def approve_stored(
        self,
        session: str = "session",
        content: str | bytes = DOCUMENT,
        version: int = 1,
        title: str = "A plan",
    ) -> httpx.Response:
        """Approve a document that is in its place already."""
        return self.rpc(
            "approve_plan",
            session_id=session,
            version=version,
            title=title,
            document_sha256=sha256(content),
            document_url=f"{self.supabase.base_url}/storage/v1/object/sign/plans/{self.path(session, content)}?token=t",
        )

    # Storage

    def path(self, session: str = "session", content: str | bytes = DOCUMENT) -> str:
        return f"{self.id}/{session}/{sha256(content)}.md"

    def upload(
        self, path: str, content: bytes = DOCUMENT, *, kind: str = "text/markdown", upsert: bool = False
    ) -> httpx.Response:
        headers = {"Content-Type": kind, "x-upsert": str(upsert).lower()}
        return self.post(f"/storage/v1/object/plans/{path}", content=content, headers=headers)

    def download(self, path: str) -> httpx.Response:
        return self.get(f"/storage/v1/object/authenticated/plans/{path}")

    def read(self, path: str) -> bytes:
        answer = self.download(path)
        assert answer.status_code == 200, answer.text
        return answer.content

    def sign(self, path: str, seconds: int = 60) -> httpx.Response:
        return self.post(f"/storage/v1/object/sign/plans/{path}", json={"expiresIn": seconds})

    def remove(self, *paths: str) -> httpx.Response:
        return self.request("DELETE", "/storage/v1/object/plans", json={"prefixes": paths})

    def delete(self, path: str) -> httpx.Response:
        return self.request("DELETE", f"/storage/v1/object/plans/{path}")

    def objects(self, session: str) -> list[str]:
        """Return the names of the documents that are stored for this session."""
        return self._list(f"{self.id}/{session}")

    def folders(self) -> list[str]:
        """Return the sessions that have documents."""
        return self._list(self.id)

    def has_nothing(self) -> bool:
        return not (self.rows("plan") or self.rows("agent") or self.rows("agent_event") or self.folders())

    @property
    def _bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def _list(self, prefix: str) -> list[str]:
        listing = {"prefix": prefix, "limit": 100, "offset": 0}
        entries = _content(self.post("/storage/v1/object/list/plans", json=listing))
        return sorted(entry["name"] for entry in entries)


def _content(answer: httpx.Response) -> Json:
    assert answer.status_code == 200, answer.text
    return answer.json()


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
