"""A planner: an MCP client that is connected to the service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult

from tests.conftest import RunningStack

Json = Any


@dataclass(frozen=True)
class Planner:
    """A connected MCP client."""

    client: Client

    async def call(self, tool: str, **arguments: Json) -> CallToolResult:
        answer = await self.client.call_tool(tool, arguments)
        assert isinstance(answer, CallToolResult)
        return answer

    async def done(self, tool: str, **arguments: Json) -> dict[str, Json]:
        answer = await self.call(tool, **arguments)
        assert not answer.is_error, answer
        content: dict[str, Json] | None = answer.structured_content
        assert content is not None
        return content

    async def refused(self, code: str, tool: str, **arguments: Json) -> dict[str, Json]:
        """Check that the call is refused with this code, and with what to do next."""
        answer = await self.call(tool, **arguments)
        assert answer.is_error, answer
        content: dict[str, Json] | None = answer.structured_content
        assert content is not None
        assert content["code"] == code
        assert content["next_step"]
        assert answer.content[0].text.startswith(f"{code}: ")  # type: ignore[union-attr]
        return content


@asynccontextmanager
async def connected(stack: RunningStack, token: str, mode: str = "auto") -> AsyncIterator[Planner]:
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60) as http,
        Client(streamable_http_client(f"{stack.service_url}/mcp", http_client=http), mode=mode) as client,
    ):
        yield Planner(client)
