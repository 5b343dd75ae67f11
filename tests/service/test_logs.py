"""Logs: one JSON line for each request, and in none of them a token, a document or a title."""

import json
import time
from typing import Any

import httpx
import pytest

from local.processes import free_ports
from tests.caller import Caller
from tests.plan import body, encode, new_session
from tests.services import Process, ServiceWith


@pytest.fixture(scope="module")
def own(service_with: ServiceWith) -> Process:
    (port,) = free_ports(1)
    return service_with(LOG_LEVEL="debug", MCP="true", PORT=str(port), SERVICE_URL=f"http://127.0.0.1:{port}")


def entries(process: Process) -> list[dict[str, Any]]:
    """Every line that is whole; the service may be writing the last one."""
    whole, _, _ = process.lines().rpartition("\n")
    return [json.loads(line) for line in whole.splitlines()]


def entries_of(process: Process, request_ids: set[str], count: int) -> list[dict[str, Any]]:
    """The lines of these requests, once there are so many: a line is written after its answer was sent."""
    deadline = time.monotonic() + 30
    while True:
        found = [entry for entry in entries(process) if entry.get("request_id") in request_ids]
        if len(found) >= count:
            return found
        assert time.monotonic() < deadline, process.lines()
        time.sleep(0.01)


def test_a_request_is_one_line_with_what_matters(own: Process, user: Caller) -> None:
    headers = {"Authorization": f"Bearer {user.token}", "X-Request-ID": f"approve-{user.id}"}
    httpx.post(f"{own.url}/plan/approve", json=body(), headers=headers)
    httpx.post(f"{own.url}/plan/approve", json=body(version=0), headers=headers)

    good, bad = entries_of(own, {headers["X-Request-ID"]}, 2)

    assert (good["event"], good["method"], good["route"], good["status"]) == (
        "request",
        "POST",
        "/plan/approve",
        200,
    )
    assert good["user_id"] == user.id
    assert list(good["stages_ms"]) == ["auth", "body", "upload", "sign", "rpc"]
    assert sum(good["stages_ms"].values()) <= good["ms"]
    assert "code" not in good
    assert (bad["status"], bad["code"]) == (422, "invalid_version")


def test_no_token_document_title_or_query_is_ever_logged(own: Process, user: Caller) -> None:
    words = tuple(
        f"zebra-in-the-{place}"
        for place in (
            "document",
            "title",
            "query",
            "token",
            "comment",
            "passage",
            "remark",
            "message",
            "team",
        )
    )
    document, title, query, token, comment, passage, remark, message, team = words
    comments = [{"start": 0, "end": len(passage), "exact": passage, "body": remark}]
    noted = {"comment": comment, "comments": comments}
    url = f"{own.url}/plan/approve?x={query}"
    good = {"Authorization": f"Bearer {user.token}"}
    request = body(content=document, title=title)
    answers = [
        httpx.post(url, json=request, headers=good),
        httpx.post(url, json={**request, "content": "other"}, headers=good),  # a conflict
        httpx.post(url, json={**request, "version": True}, headers=good),
        httpx.post(url, content=encode(request)[:-1], headers={**good, "Content-Type": "application/json"}),
        httpx.post(
            url,
            content=encode({**request, "content": f"{document}\ud800"}),
            headers={**good, "Content-Type": "application/json"},
        ),
        httpx.post(url, json=request, headers={"Authorization": f"Bearer {token}"}),
        httpx.post(url, json=request, headers={"Authorization": f"Bearer {user.token}{token}"}),
        httpx.get(f"{own.url}/{query}"),
    ]
    propose = f"{own.url}/plan/propose?x={query}"
    answers += [
        httpx.post(url, json={**request, **noted, "comment": f"{comment}{' ' * 4000}"}, headers=good),
        httpx.post(url, json={**request, **noted, "comments": [{**comments[0], "end": 1}]}, headers=good),
        httpx.post(propose, json={**request, "message": message * 1000}, headers=good),
        httpx.post(propose, json={**request, "message": message, "team_id": team}, headers=good),
        httpx.post(propose, json={**request, "version": 2, "message": message}, headers=good),
        httpx.post(url, json={**request, "version": 2, **noted}, headers=good),
        httpx.get(f"{own.url}/plan/{answers[0].json()['plan_id']}/document?x={query}", headers=good),
    ]

    codes = [200, 409, 422, 422, 422, 401, 401, 404, 422, 422, 422, 422, 200, 200, 200]
    assert [answer.status_code for answer in answers] == codes
    (noted_plan,) = user.rows("plan", id=f"eq.{answers[-2].json()['plan_id']}")
    assert (noted_plan["message"], noted_plan["comment"], noted_plan["comments"]) == (
        message,
        comment,
        comments,
    )
    entries_of(own, {answer.headers["X-Request-ID"] for answer in answers}, len(answers))
    logged = own.lines()
    signature = user.token.rpartition(".")[2]
    url_token = answers[0].json()["document_url"].partition("token=")[2]
    for secret in (*words, signature, url_token, "token=", request["plan_id"]):
        assert secret not in logged
    for answer in answers[1:-1]:
        assert not any(word in answer.text for word in words)


@pytest.mark.parametrize("version", [None, "2026-07-28"])
def test_nothing_that_goes_over_mcp_is_ever_logged(
    own: Process, user: Caller, stack: Any, version: str | None
) -> None:
    words = {
        name: f"zebra-in-the-{name}"
        for name in (
            *("title", "document", "comment", "passage", "remark", "message", "words", "worker", "token"),
            *("version", "tool"),
        )
    }
    session = new_session()
    ids: set[str] = set()

    def call(tool: str, *, token: str = user.token, **arguments: Any) -> str:
        """Call a tool in this version of the protocol; None is the one before, which answers with events."""
        meta: dict[str, Any] = {
            "io.modelcontextprotocol/protocolVersion": version,
            "io.modelcontextprotocol/clientCapabilities": {},
        }
        params = {"name": tool, "arguments": arguments, **({"_meta": meta} if version else {})}
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json, text/event-stream"}
        if version:
            headers |= {"MCP-Protocol-Version": version, "Mcp-Method": "tools/call", "Mcp-Name": tool}
        request = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        answer = httpx.post(f"{own.url}/mcp", json=request, headers=headers, timeout=60)
        ids.add(answer.headers["X-Request-ID"])
        return answer.text

    plan = {
        "title": words["title"], "content": words["document"], "session_id": session, "message": words["words"]
    }  # fmt: skip
    assert '"proposed"' in call("propose_plan", **plan)
    passage = {"start": 0, "end": len(words["passage"]), "exact": words["passage"], "body": words["remark"]}
    sent_back = user.rpc(
        "request_changes", session_id=session, version=1, comment=words["comment"], comments=[passage]
    )
    assert sent_back.status_code == 200
    decision = call("get_decision", session_id=session, version=1)
    assert words["comment"] in decision
    assert words["remark"] in decision
    assert "plan_decided" in call("propose_plan", **plan)
    agent = user.approved(plan_id=session, version=2, title=words["title"])["agent_id"]
    stack.make_due(agent)
    (build,) = stack.as_builder("claim_builds", worker=words["worker"])
    attempt = {"build_id": build["build_id"], "attempt": build["attempt"]}
    stack.as_builder("fail_build", **attempt, message=words["message"], retry=False)
    assert words["message"] in call("get_decision", session_id=session, version=2)
    assert "invalid_request" in call("get_decision", session_id=session, version=words["version"])
    assert "invalid_title" in call("propose_plan", title=f"{words['title']}\n!", content=words["document"])
    assert "invalid_request" in call(words["tool"], title=words["title"])
    assert "not_authenticated" in call("get_decision", token=words["token"], session_id=session, version=1)

    entries_of(own, ids, len(ids))
    logged = own.lines()
    for secret in (*words.values(), user.token.rpartition(".")[2], "token=", session):
        assert secret not in logged


def test_everything_on_stdout_is_json_the_servers_own_lines_too(own: Process) -> None:
    assert {"uvicorn.error"} <= {str(entry.get("logger")) for entry in entries(own)}
