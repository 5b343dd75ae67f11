"""Supabase's own clients, unchanged: each signs in, uploads, signs, downloads, approves, reads and removes."""

import json
import subprocess
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest
from postgrest import AsyncPostgrestClient, CountMethod, SyncPostgrestClient
from storage3 import AsyncStorageClient, SyncStorageClient
from storage3.exceptions import StorageApiError
from supabase import create_client
from supabase.lib.client_options import SyncClientOptions

from local import NODE, ROOT
from local.stack import Stack
from tests.conftest import RunningStack
from tests.plan import DOCUMENT, sha256

SHA256 = sha256(DOCUMENT)


def plan(session: str, url: str | None) -> dict[str, Any]:
    return {
        "session_id": session,
        "version": 1,
        "title": "A plan",
        "document_sha256": SHA256,
        "document_url": url,
    }


# supabase-py passes a timeout to its own storage client, which calls that deprecated.
@pytest.mark.filterwarnings("ignore:The 'timeout' parameter is deprecated:DeprecationWarning")
def test_supabase_py(local: Stack) -> None:
    email, password = f"{uuid.uuid4().hex}@example.com", "correct horse"
    with httpx.Client() as http:
        options = SyncClientOptions(auto_refresh_token=False, httpx_client=http)
        client = create_client(local.settings.supabase_url, local.keys.publishable, options)
        client.auth.sign_up({"email": email, "password": password})
        client.auth.sign_out()
        session = client.auth.sign_in_with_password({"email": email, "password": password})
        assert session.user is not None
        claims = client.auth.get_claims()
        assert claims is not None
        assert claims["claims"]["sub"] == session.user.id
        refreshed = client.auth.refresh_session()
        assert refreshed.user is not None
        assert refreshed.user.email == email

        documents = client.storage.from_("plans")
        path, loose = (f"{session.user.id}/s/{name}.md" for name in (SHA256, "0" * 64))
        assert documents.upload(path, DOCUMENT, {"content-type": "text/markdown"}).path == path
        documents.upload(loose, DOCUMENT, {"content-type": "text/markdown"})
        url = documents.create_signed_url(path, 60)["signedURL"] or ""
        assert http.get(url).content == DOCUMENT
        assert documents.download(path) == DOCUMENT

        approval: Any = client.rpc("approve_plan", plan("s", url)).execute().data
        assert approval["created"]
        agents: Any = client.table("agent").select("*,plan(*),agent_event(*)").execute().data
        (agent,) = agents
        assert (agent["id"], agent["plan"]["id"]) == (approval["agent_id"], approval["plan_id"])
        assert [event["kind"] for event in agent["agent_event"]] == ["approved"]
        assert [entry["name"] for entry in documents.remove([loose])] == [loose]
        client.auth.sign_out()


def test_storage3(stack: RunningStack, local: Stack) -> None:
    user = stack.sign_up()
    headers = {"apikey": stack.publishable_key, "Authorization": f"Bearer {user.token}"}
    with httpx.Client() as http:
        client = SyncStorageClient(f"{stack.supabase_url}/storage/v1/", headers, http_client=http)
        documents = client.from_("plans")
        first, second = (f"{user.id}/s/{digit * 64}.md" for digit in "ab")
        documents.upload(first, DOCUMENT, {"content-type": "text/markdown"})
        with pytest.raises(StorageApiError) as refusal:
            documents.upload(first, DOCUMENT, {"content-type": "text/markdown"})
        assert (refusal.value.status, refusal.value.code) == ("409", "Duplicate")
        documents.upload(second, DOCUMENT, {"content-type": "text/markdown"})

        signed = documents.create_signed_urls([first, f"{user.id}/s/{'c' * 64}.md"], 60)
        assert signed[0]["error"] is None
        assert httpx.get(signed[0]["signedURL"] or "").content == DOCUMENT
        assert signed[1]["error"] == "Either the object does not exist or you do not have access to it"
        assert documents.info(first)["content_type"] == "text/markdown"
        assert documents.exists(first)
        assert [entry["name"] for entry in documents.list(user.id)] == ["s"]
        assert [entry["name"] for entry in documents.list(f"{user.id}/s")] == [
            f"{'a' * 64}.md",
            f"{'b' * 64}.md",
        ]
        assert documents.download(second) == DOCUMENT
        assert {entry["name"] for entry in documents.remove([first, second])} == {first, second}
        assert documents.list(user.id) == []


@pytest.mark.anyio
async def test_async_clients_on_a_shared_connection_pool(stack: RunningStack, local: Stack) -> None:
    user = stack.sign_up()
    headers = {"apikey": stack.publishable_key, "Authorization": f"Bearer {user.token}"}
    async with httpx.AsyncClient() as http:
        storage = AsyncStorageClient(f"{stack.supabase_url}/storage/v1/", headers, http_client=http)
        data = AsyncPostgrestClient(f"{stack.supabase_url}/rest/v1", headers=headers, http_client=http)
        path = f"{user.id}/s/{SHA256}.md"
        await storage.from_("plans").upload(path, DOCUMENT, {"content-type": "text/markdown"})
        url = (await storage.from_("plans").create_signed_url(path, 60))["signedURL"]
        approval: Any = (await data.rpc("approve_plan", plan("s", url)).execute()).data
        rows = (await data.from_("plan").select("id,document_path").execute()).data
        assert rows == [{"id": approval["plan_id"], "document_path": path}]


def test_postgrest(stack: RunningStack, local: Stack) -> None:
    user, stranger = stack.sign_up(), stack.sign_up()
    headers = {"apikey": stack.publishable_key, "Authorization": f"Bearer {user.token}"}
    path = f"{user.id}/s/{SHA256}.md"
    with httpx.Client() as http:
        storage = SyncStorageClient(f"{stack.supabase_url}/storage/v1/", headers, http_client=http)
        storage.from_("plans").upload(path, DOCUMENT, {"content-type": "text/markdown"})
        url = storage.from_("plans").create_signed_url(path, 60)["signedURL"]

    with SyncPostgrestClient(f"{stack.supabase_url}/rest/v1", headers=headers) as data:
        approval: Any = data.rpc("approve_plan", plan("s", url)).execute().data
        found: Any = data.from_("plan").select("*").eq("id", approval["plan_id"]).single().execute().data
        assert found["document_path"] == path
        counted = data.from_("agent").select("id", count=CountMethod.exact).limit(1).execute()
        assert counted.count == 1
    other = {**headers, "Authorization": f"Bearer {stranger.token}"}
    with SyncPostgrestClient(f"{stack.supabase_url}/rest/v1", headers=other) as data:
        assert data.from_("plan").select("*").execute().data == []


def test_supabase_js(local: Stack) -> None:
    result = subprocess.run(
        [NODE, Path(__file__).parent / "supabase-js.mjs"],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        env={
            "SUPABASE_URL": local.settings.supabase_url,
            "SUPABASE_PUBLISHABLE_KEY": local.keys.publishable,
            "SUPABASE_SECRET_KEY": local.keys.secret,
        },
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == {"created": True, "agents": 1, "events": ["approved"], "removed": 1}
