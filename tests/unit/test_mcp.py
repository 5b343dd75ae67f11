"""/mcp, as create_app() builds it."""

import time
from contextlib import AsyncExitStack
from typing import Any

import httpx
import jwt
import pytest

from greenlight import app, upstream
from greenlight.mcp import app as planners
from greenlight.mcp import tools
from greenlight.settings import Settings

SECRET = "a secret that is long enough for HS256"
LIST_TOOLS = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}


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


@pytest.mark.anyio
async def test_two_services_of_one_process_share_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    no_keys = httpx.MockTransport(lambda _: httpx.Response(200, json={"keys": []}))
    monkeypatch.setattr(app, "connect", lambda: upstream.connect(no_keys))
    servers = []

    def create_server() -> Any:
        servers.append(tools.create_server())
        return servers[-1]

    monkeypatch.setattr(planners, "create_server", create_server)
    both = {host: settings(host) for host in ("one.test", "two.test")}

    async with AsyncExitStack() as stack:
        clients = {}
        for host, service in both.items():
            application = app.create_app(service)
            state: Any = await stack.enter_async_context(application.router.lifespan_context(application))

            async def with_state(
                scope: Any, receive: Any, send: Any, run: Any = application, state: Any = state
            ) -> None:
                await run({**scope, "state": dict(state)}, receive, send)

            transport = httpx.ASGITransport(with_state)
            clients[host] = await stack.enter_async_context(httpx.AsyncClient(transport=transport))

        assert len({*map(id, servers)}) == 2
        for host, client in clients.items():
            for other, service in both.items():
                answer = await client.post(
                    f"https://{other}/mcp",
                    headers={
                        "Authorization": f"Bearer {token(service)}",
                        "Accept": "application/json, text/event-stream",
                    },
                    json=LIST_TOOLS,
                )
                assert answer.status_code == (200 if other == host else 421), answer.text
                assert ("get_decision" in answer.text) == (other == host)
