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
from tests.caller import expect_problem
from tests.conftest import RunningStack, User
from tests.services import Process, ServiceWith

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


@pytest.fixture(scope="module")
def behind_a_proxy(service_with: ServiceWith) -> Process:
    return service_with(
        MCP="true",
        SERVICE_URL="https://greenlight.example.com",
        ALLOWED_HOSTS="greenlight, backend.internal,",
        CORS_ORIGINS="https://inspector.example.com",
    )


def ask(process: Process, token: str | None, **headers: str) -> httpx.Response:
    sent = {"Accept": ACCEPT, **headers, **({"Authorization": f"Bearer {token}"} if token else {})}
    return httpx.post(f"{process.url}/mcp", json=LIST, headers=sent, timeout=60)


@pytest.mark.parametrize(
    "host",
    [
        "greenlight.example.com",
        "greenlight.example.com:443",
        "GREENLIGHT.example.com",
        # nginx's `proxy_pass http://…` without `proxy_set_header Host`.
        "greenlight:8000",
        "backend.internal",
        "localhost:8000",
        "127.0.0.1:8000",
        "[::1]:8000",
    ],
)
def test_the_hosts_under_which_planners_or_a_proxy_reach_it(
    behind_a_proxy: Process, user: User, host: str
) -> None:
    assert ask(behind_a_proxy, user.token, Host=host).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "attacker.example",
        "attacker.example:8000",
        "greenlight.example.com.attacker.example",
        "127.0.0.1.attacker.example",
        "localhost@attacker.example",
        "localhost:x",
        "localhost/",
        "[::1",
        '"<script>"',
    ],
)
@pytest.mark.parametrize("signed_in", [True, False])
def test_another_host_is_refused_and_the_answer_says_what_to_set(
    behind_a_proxy: Process, user: User, host: str, signed_in: bool
) -> None:
    answer = ask(behind_a_proxy, user.token if signed_in else None, Host=host)
    problem = expect_problem(answer, 421, "host_not_allowed")
    assert "ALLOWED_HOSTS" in problem["detail"]
    assert "proxy_set_header" in problem["detail"]
    assert ("ALLOWED_HOSTS=attacker.example " in problem["detail"]) is host.startswith("attacker")
    assert "<" not in problem["detail"]


def test_pages_of_the_origins_that_the_operator_names(behind_a_proxy: Process, user: User) -> None:
    for origin in ("https://greenlight.example.com", "https://inspector.example.com"):
        assert ask(behind_a_proxy, user.token, Host="greenlight", Origin=origin).status_code == 200
    for origin in ("https://attacker.example", "http://greenlight.example.com", "null", "http://localhost:x"):
        problem = expect_problem(
            ask(behind_a_proxy, user.token, Host="greenlight", Origin=origin), 403, "origin_not_allowed"
        )
        assert "CORS_ORIGINS" in problem["detail"]


def test_the_names_of_this_machine_are_alike(stack: RunningStack, user: User) -> None:
    port = urlsplit(stack.service_url).port
    for name in ("localhost", "127.0.0.1", "[::1]"):
        assert post(stack, user.token, Host=f"{name}:{port}").status_code == 200
        assert post(stack, user.token, Origin=f"http://{name}:{port}").status_code == 200
        assert post(stack, user.token, Origin=f"http://{name}:1").status_code == 403
        assert post(stack, user.token, Origin=f"https://{name}:{port}").status_code == 403
    assert post(stack, user.token, Host="attacker.example").status_code == 421


def test_a_planner_in_a_browser(behind_a_proxy: Process, user: User) -> None:
    def preflight(origin: str, headers: str, path: str = "/mcp") -> httpx.Response:
        asked = {
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": headers,
        }
        return httpx.options(f"{behind_a_proxy.url}{path}", headers=asked)

    origin = "https://inspector.example.com"
    names = "authorization, content-type, mcp-protocol-version, mcp-session-id, mcp-method, mcp-name, last-event-id"
    for path in ("/mcp", "/.well-known/oauth-protected-resource/mcp", "/plan/propose"):
        answer = preflight(origin, names, path)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == origin
        allowed = answer.headers["access-control-allow-headers"].split(",")
        assert {name.strip() for name in allowed} >= set(names.split(", "))
    refused = preflight("https://attacker.example", names)
    assert refused.status_code == 400
    assert "access-control-allow-origin" not in refused.headers

    for token, status in ((user.token, 200), (None, 401)):
        answer = ask(behind_a_proxy, token, Host="greenlight", Origin=origin)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (status, origin)
        exposed = answer.headers["access-control-expose-headers"].lower().split(", ")
        assert {"www-authenticate", "mcp-session-id", "x-request-id", "retry-after"} <= set(exposed)


@pytest.mark.parametrize("version", [None, "2026-07-28"])
@pytest.mark.parametrize(
    "accept", ["application/json", "text/event-stream", "text/html", "application/*, image/png"]
)
def test_a_planner_that_accepts_one_type_of_the_two_is_told_to_accept_both(
    stack: RunningStack, user: User, accept: str, version: str | None
) -> None:
    modern = {"MCP-Protocol-Version": version, "Mcp-Method": "tools/list"} if version else {}
    answer = post(stack, user.token, Accept=accept, **modern)
    assert answer.status_code == 406
    assert answer.json() == {
        "jsonrpc": "2.0",
        "id": None,
        "error": {"code": -32600, "message": f"Not acceptable: send Accept: {ACCEPT}"},
    }


@pytest.mark.parametrize("version", [None, "2026-07-28"])
@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ([LIST, LIST], -32600, "one by one"),
        ([], -32600, "one by one"),
        ({}, -32600, "one JSON-RPC message"),
        (None, -32600, "one JSON-RPC message"),
        ("tools/list", -32600, "one JSON-RPC message"),
        ({**LIST, "jsonrpc": "1.0"}, -32600, "one JSON-RPC message"),
        (b"{", -32700, "not JSON"),
        (b"", -32700, "not JSON"),
        (b'"\xff"', -32700, "not JSON"),
    ],
)
def test_what_is_not_one_message_is_refused_in_the_protocols_own_words(
    stack: RunningStack, user: User, body: Json, code: int, words: str, version: str | None
) -> None:
    modern = {"MCP-Protocol-Version": version, "Mcp-Method": "tools/list"} if version else {}
    answer = post(stack, user.token, body, **modern)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (answer.json()["jsonrpc"], answer.json()["id"], error["code"]) == ("2.0", None, code)
    assert words in error["message"]
    assert "validation error" not in answer.text.lower()
    assert "pydantic" not in answer.text


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
