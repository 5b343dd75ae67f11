"""/mcp, as create_app() builds it, and what its tools make of Supabase's answers."""

import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import jwt
import pytest

from greenlight import app, upstream
from greenlight.mcp import app as planners
from greenlight.mcp import tools
from greenlight.settings import Settings

SECRET = "a secret that is long enough for HS256"
Json = Any
Answer = Callable[[httpx.Request], httpx.Response]


def settings(host: str) -> Settings:
    return Settings.model_validate(
        {
            "supabase_url": f"https://{host}.supabase.test",
            "supabase_publishable_key": "sb_publishable_x",
            "supabase_jwt_secret": SECRET,
            "service_url": f"https://{host}",
            "mcp": True,
        }
    )


def token(service: Settings) -> str:
    claims = {
        "sub": "0e37df36-f698-11e6-8dd4-cb9ced3df976",
        "role": "authenticated",
        "aud": "authenticated",
        "iss": service.issuer,
        "exp": time.time() + 60,
    }
    return jwt.encode(claims, SECRET, "HS256")


@asynccontextmanager
async def running(service: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of the service, in this process."""
    application = app.create_app(service)
    async with application.router.lifespan_context(application) as state:

        async def with_state(scope: Any, receive: Any, send: Any) -> None:
            await application({**scope, "state": dict(state or {})}, receive, send)

        async with httpx.AsyncClient(transport=httpx.ASGITransport(with_state)) as client:
            yield client


async def call(
    client: httpx.AsyncClient, service: Settings, method: str, **parameters: Json
) -> httpx.Response:
    return await client.post(
        f"{service.service_url}/mcp",
        headers={
            "Authorization": f"Bearer {token(service)}",
            "Accept": "application/json, text/event-stream",
        },
        json={"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters},
    )


def supabase(monkeypatch: pytest.MonkeyPatch, answer: Answer) -> None:
    monkeypatch.setattr(app, "connect", lambda: upstream.connect(httpx.MockTransport(answer)))


@pytest.mark.anyio
async def test_two_services_of_one_process_share_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    supabase(monkeypatch, lambda _: httpx.Response(200, json={"keys": []}))
    servers = []

    def create_server() -> Any:
        servers.append(tools.create_server())
        return servers[-1]

    monkeypatch.setattr(planners, "create_server", create_server)
    both = {host: settings(host) for host in ("one.test", "two.test")}

    async with AsyncExitStack() as stack:
        clients = {host: await stack.enter_async_context(running(service)) for host, service in both.items()}
        assert len({*map(id, servers)}) == 2
        for host, client in clients.items():
            for other, service in both.items():
                answer = await call(client, service, "tools/list")
                assert answer.status_code == (200 if other == host else 421), answer.text
                assert ("get_decision" in answer.text) == (other == host)


PLAN: dict[str, Json] = {
    "version": 1,
    "status": "changes_requested",
    "comment": None,
    "comments": [
        {"start": 9, "end": 14, "exact": "Drive", "body": "With what car?"},
        {"start": 0, "end": 5, "exact": "Drive", "body": "This does not stand there."},
    ],
    "document_path": "a/b/c.md",
    "document_sha256": "d",
    "expires_at": None,
    "team_id": None,
}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("document", "lines"),
    [
        (httpx.Response(200, content="# \U0001f4e6\r\n\r\n- Drive\n".encode()), [3, None]),
        (httpx.Response(200, content=b"\xff\r\n\r\n- Drive\n"), [None, None]),
        (httpx.Response(200, content=b"x" * 1_048_577), [None, None]),
        (httpx.Response(400, json={"statusCode": "404", "error": "not_found", "message": "x"}), [None, None]),
        (httpx.ReadError("lost"), [None, None]),
    ],
    ids=["there", "no UTF-8", "too large", "missing", "cut off"],
)
async def test_a_comment_has_a_line_where_its_passage_is_found(
    monkeypatch: pytest.MonkeyPatch, document: httpx.Response | Exception, lines: list[int | None]
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if "/object/authenticated/plans/a/b/c.md" in request.url.path:
            if isinstance(document, Exception):
                raise document
            return document
        if request.url.path == "/rest/v1/plan":
            return httpx.Response(200, json=[PLAN])
        return httpx.Response(200, json=[] if "/rest/" in request.url.path else {"keys": []})

    supabase(monkeypatch, answer)
    service = settings("one.test")
    async with running(service) as client:
        arguments = {"session_id": "s", "version": 1}
        told = await call(client, service, "tools/call", name="get_decision", arguments=arguments)
    (line,) = (line for line in told.text.splitlines() if line.startswith("data: {"))
    decision = json.loads(line.removeprefix("data: "))["result"]["structuredContent"]

    assert [comment["line"] for comment in decision["comments"]] == lines
    assert [comment["body"] for comment in decision["comments"]] == [
        each["body"] for each in PLAN["comments"]
    ]
    for comment in PLAN["comments"]:
        assert f"```text\n{comment['body']}\n```" in decision["feedback"]
    assert ("On line 3:" in decision["feedback"]) == (lines[0] == 3)
