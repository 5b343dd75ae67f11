"""POST /mcp as a protocol endpoint: who gets in, what is refused, and that nothing breaks it."""

import json
import socket
import subprocess
import time
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local import ROOT
from tests.conftest import RunningStack, User

Json = Any
INSPECTOR = ROOT / "tests/mcp/node_modules/.bin/mcp-inspector"
LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
ACCEPT = "application/json, text/event-stream"


@pytest.fixture(scope="module")
def user(stack: RunningStack) -> User:
    return stack.sign_up()


def post(stack: RunningStack, token: str | None, body: Json = LIST, **headers: str) -> httpx.Response:
    sent = {"Accept": ACCEPT, "Content-Type": "application/json", **headers}
    if token is not None:
        sent["Authorization"] = f"Bearer {token}"
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return httpx.post(f"{stack.service_url}/mcp", content=content, headers=sent, timeout=60)


def test_a_planner_lists_the_tools_in_either_protocol(stack: RunningStack, user: User) -> None:
    assert post(stack, user.token).status_code == 200
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    modern = {**LIST, "params": {"_meta": meta}}
    answer = post(
        stack, user.token, modern, **{"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/list"}
    )
    assert answer.status_code == 200, answer.text
    assert [tool["name"] for tool in answer.json()["result"]["tools"]] == [
        "propose_plan",
        "get_decision",
        "withdraw_plan",
    ]


def test_without_a_valid_token_the_answer_says_where_to_get_one(stack: RunningStack, user: User) -> None:
    metadata_url = f"{stack.service_url}/.well-known/oauth-protected-resource/mcp"
    expired = stack.token_for(user, exp=int(time.time()) - 3600)
    header, payload, signature = user.token.split(".")
    forged = f"{header}.{payload}.{signature[:-4]}AAAA"
    for token in (None, "not-a-token", expired, forged, stack.publishable_key, stack.secret_key):
        answer = post(stack, token)
        assert answer.status_code == 401, token
        assert answer.json()["code"] == "not_authenticated"
        challenge = answer.headers["www-authenticate"]
        assert challenge.startswith("Bearer ")
        assert f'resource_metadata="{metadata_url}"' in challenge
        assert ('error="invalid_token"' in challenge) is (token is not None)

    for url in (metadata_url, metadata_url.removesuffix("/mcp")):
        assert httpx.get(url).json() == {
            "resource": f"{stack.service_url}/mcp",
            "authorization_servers": [f"{stack.supabase_url}/auth/v1"],
            "bearer_methods_supported": ["header"],
            "resource_name": "Greenlight",
        }


def test_a_request_is_for_this_host_and_from_this_origin(stack: RunningStack, user: User) -> None:
    assert post(stack, user.token, Origin=stack.service_url).status_code == 200
    assert post(stack, user.token, Host="attacker.example").status_code == 421
    assert post(stack, user.token, Origin="https://attacker.example").status_code == 403


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", {}, 400),
        (b"[]", {}, 400),
        (json.dumps([LIST, LIST]).encode(), {}, 400),
        (b"[" * 100_000, {}, 400),
        (b"null", {}, 400),
        (LIST, {"Content-Type": "text/plain"}, 415),
        (LIST, {"Content-Encoding": "gzip"}, 415),
        (LIST, {"Accept": "text/html"}, 406),
        (LIST, {"MCP-Protocol-Version": "1999-01-01"}, 400),
        (b" " * (6 * 1_048_576 + 64 * 1024 + 1), {}, 413),
    ],
)
@pytest.mark.parametrize("version", [None, "2026-07-28"])
def test_what_is_not_a_request_is_refused(
    stack: RunningStack, user: User, body: Json, headers: dict[str, str], status: int, version: str | None
) -> None:
    modern = {"MCP-Protocol-Version": version, "Mcp-Method": "tools/list"} if version else {}
    answer = post(stack, user.token, body, **{**modern, **headers})
    assert answer.status_code == status, answer.text


def test_there_is_no_session_to_open_or_delete(stack: RunningStack, user: User) -> None:
    for method in ("GET", "DELETE", "PUT"):
        answer = httpx.request(
            method, f"{stack.service_url}/mcp", headers={"Authorization": f"Bearer {user.token}"}
        )
        assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20), inner, max_size=4),
    max_leaves=8,
)
names = st.sampled_from(["propose_plan", "get_decision", "withdraw_plan", "approve_plan"]) | st.text(
    max_size=20
)
arguments = st.dictionaries(
    st.sampled_from(["title", "content", "session_id", "version", "wait_seconds", "expires_in_seconds"]),
    anything.filter(lambda value: not isinstance(value, float) or value < 1),
    max_size=6,
)
methods = st.sampled_from(
    ["tools/call", "tools/list", "initialize", "ping", "server/discover", "resources/read", "prompts/get"]
) | st.text(max_size=20)
params = st.fixed_dictionaries({"name": names, "arguments": arguments}) | anything


@pytest.mark.parametrize("version", [None, "2026-07-28"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.fixed_dictionaries(
        {},
        optional={"jsonrpc": st.just("2.0") | anything, "id": anything, "method": methods, "params": params},
    )
    | anything
)
def test_malformed_requests_are_never_an_internal_error(
    stack: RunningStack, user: User, version: str | None, body: Json
) -> None:
    modern = {"MCP-Protocol-Version": version} if version else {}
    answer = post(stack, user.token, json.dumps(body).encode(), **modern)
    assert answer.status_code < 500, answer.text
    assert "internal" not in answer.text.lower(), answer.text
    assert "Error executing tool" not in answer.text


def in_flight(stack: RunningStack) -> float:
    for line in httpx.get(f"{stack.service_url}/metrics").text.splitlines():
        if line.startswith("greenlight_requests_in_flight "):
            return float(line.split()[1]) - 1  # not this very request
    raise AssertionError("no such metric")


@pytest.mark.parametrize("version", [None, "2026-07-28"])
def test_a_wait_ends_when_the_planner_goes_away(stack: RunningStack, user: User, version: str | None) -> None:
    call = {
        "name": "propose_plan",
        "arguments": {"title": "A", "content": "B", "session_id": f"away-{version}"},
    }
    assert post(stack, user.token, {**LIST, "method": "tools/call", "params": call}).status_code == 200

    wait = {
        "name": "get_decision",
        "arguments": {"session_id": f"away-{version}", "version": 1, "wait_seconds": 45},
    }
    meta: dict[str, Json] = {
        "io.modelcontextprotocol/protocolVersion": version,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    params = {**wait, "_meta": meta} if version else wait
    body = json.dumps({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params}).encode()
    modern = f"MCP-Protocol-Version: {version}\r\nMcp-Method: tools/call\r\nMcp-Name: get_decision\r\n"
    address = urlsplit(stack.service_url)
    with socket.create_connection((str(address.hostname), address.port or 80)) as connection:
        head = (
            f"POST /mcp HTTP/1.1\r\nHost: {address.netloc}\r\nAuthorization: Bearer {user.token}\r\n"
            f"Accept: {ACCEPT}\r\nContent-Type: application/json\r\n{modern if version else ''}"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        connection.sendall(head.encode() + body)
        until = time.monotonic() + 30
        while in_flight(stack) < 1:
            assert time.monotonic() < until, "the wait has not begun"
            time.sleep(0.05)
    until = time.monotonic() + 30
    while in_flight(stack) > 0:
        assert time.monotonic() < until, "the wait goes on"
        time.sleep(0.05)


def inspect(stack: RunningStack, token: str, *arguments: str) -> Json:
    done = subprocess.run(
        [
            INSPECTOR, "--cli", f"{stack.service_url}/mcp", "--transport", "http",
            "--header", f"Authorization: Bearer {token}", *arguments,
        ],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_the_inspector_finds_nothing_wrong_and_calls_a_tool(stack: RunningStack, user: User) -> None:
    if not INSPECTOR.exists():
        pytest.fail("the MCP inspector is not installed: make setup")
    tools = inspect(stack, user.token, "--method", "tools/list", "--strict")["tools"]
    assert [tool["name"] for tool in tools] == ["propose_plan", "get_decision", "withdraw_plan"]

    answer = inspect(
        stack, user.token,
        "--method", "tools/call", "--tool-name", "propose_plan",
        "--tool-arg", "title=A plan", "content=# A plan", "session_id=inspected",
    )  # fmt: skip
    assert answer["structuredContent"]["status"] == "proposed"
