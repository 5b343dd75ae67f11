"""Proposals: what it takes to approve one, and what planners cost that wait for a decision."""

import asyncio
import hashlib
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import httpx

from bench.load import Clients, User

WAIT_SECONDS = 45
BEGIN_SECONDS = 24  # planners that wait have not all begun at the same moment


@dataclass(frozen=True)
class Proposal:
    user: User
    session_id: str
    content: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


class Planners:
    """Proposes straight to Supabase, decides straight there or through the service, and waits over MCP."""

    def __init__(self, supabase_url: str, publishable_key: str, clients: Clients) -> None:
        self._url = supabase_url
        self._key = publishable_key
        self._clients = clients

    def _headers(self, user: User) -> dict[str, str]:
        return {"apikey": self._key, "Authorization": f"Bearer {user.token}"}

    async def propose(self, user: User, content: bytes) -> Proposal:
        proposal = Proposal(user, uuid.uuid4().hex, content)
        path = f"{user.id}/{proposal.session_id}/{proposal.sha256}.md"
        headers = self._headers(user)
        async with self._clients.one() as http:
            upload = await http.post(
                f"{self._url}/storage/v1/object/plans/{path}",
                headers=headers,
                files={"file": (f"{proposal.sha256}.md", content, "text/markdown")},
            )
            upload.raise_for_status()
            sign = await http.post(
                f"{self._url}/storage/v1/object/sign/plans/{path}", headers=headers, json={"expiresIn": 3600}
            )
            arguments = {
                "session_id": proposal.session_id,
                "version": 1,
                "title": "Customer support agent",
                "document_sha256": proposal.sha256,
                "document_url": f"{self._url}/storage/v1{sign.raise_for_status().json()['signedURL']}",
            }
            rpc = await http.post(f"{self._url}/rest/v1/rpc/propose_plan", headers=headers, json=arguments)
            rpc.raise_for_status()
        return proposal

    async def approve(self, proposal: Proposal) -> float:
        """Approve by one request to Supabase; return the seconds."""
        arguments = {
            "session_id": proposal.session_id,
            "version": 1,
            "document_sha256": proposal.sha256,
        }
        began = time.perf_counter()
        async with self._clients.one() as http:
            answer = await http.post(
                f"{self._url}/rest/v1/rpc/approve_plan", headers=self._headers(proposal.user), json=arguments
            )
        _check(answer)
        return time.perf_counter() - began

    async def approve_through(self, server: str, proposal: Proposal) -> float:
        """Approve through the service, which is sent the content once more; return the seconds."""
        body = {
            "session_id": proposal.session_id,
            "title": "Customer support agent",
            "content": proposal.content.decode(),
        }
        began = time.perf_counter()
        async with self._clients.one() as http:
            answer = await http.post(
                f"{server}/plan/approve",
                headers={"Authorization": f"Bearer {proposal.user.token}"},
                json=body,
            )
        _check(answer)
        return time.perf_counter() - began

    @asynccontextmanager
    async def waiting(
        self, server: str, users: list[User], content: bytes, count: int
    ) -> AsyncIterator[None]:
        """Let so many planners wait for decisions that do not come."""
        proposals = [await self.propose(users[number % len(users)], content) for number in range(count)]
        delays = [BEGIN_SECONDS * number / count for number in range(count)]
        tasks = [
            asyncio.create_task(self._wait(server, proposal, delay))
            for proposal, delay in zip(proposals, delays, strict=True)
        ]
        try:
            if tasks:
                await asyncio.sleep(BEGIN_SECONDS)  # until all of them wait
            yield
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.gather(*tasks)

    async def _wait(self, server: str, proposal: Proposal, delay: float) -> None:
        await asyncio.sleep(delay)
        arguments = {"session_id": proposal.session_id, "version": 1, "wait_seconds": WAIT_SECONDS}
        call = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {"name": "get_decision", "arguments": arguments},
        }
        headers = {
            "Authorization": f"Bearer {proposal.user.token}",
            "Accept": "application/json, text/event-stream",
        }
        async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
            while True:
                (await http.post(f"{server}/mcp", json=call, headers=headers)).raise_for_status()


def _check(answer: httpx.Response) -> None:
    created: Any = answer.raise_for_status().json()["created"]
    if created is not True:
        raise RuntimeError("the proposal was approved before")
