"""One table of errors, one shape, and an OpenAPI document that names them all."""

import json
from typing import Any

import httpx
import pytest

from greenlight.app import create_app
from greenlight.errors import ERRORS, Problem, ProblemResponse
from greenlight.settings import Settings

SETTINGS = Settings(supabase_url="https://project.supabase.test", supabase_publishable_key="sb_publishable_x")

# The statuses and codes that callers rely on.
PROMISED = {
    401: {"not_authenticated"},
    403: {"human_required", "step_up_required", "approver_required"},
    404: {"plan_not_found"},
    409: {
        "document_conflict",
        "plan_conflict",
        "plan_stale",
        "plan_decided",
        "plan_expired",
        "agent_archived",
        "agent_deleted",
    },
    413: {"document_too_large"},
    415: {"unsupported_media_type"},
    422: {
        "invalid_request",
        "document_changed",
        "invalid_session_id",
        "invalid_version",
        "invalid_title",
        "invalid_user_id",
        "invalid_document_sha256",
        "invalid_expires_at",
        "invalid_plan_id",
        "invalid_comment",
        "invalid_comments",
        "invalid_message",
        "invalid_team_id",
    },
    500: {"internal_error"},
    502: {"upstream_error"},
    503: {"upstream_unavailable"},
    504: {"upstream_timeout"},
}
OF_HTTP = {"not_found", "method_not_allowed", "host_not_allowed", "origin_not_allowed"}


def test_the_table_has_what_is_promised() -> None:
    table: dict[int, set[str]] = {}
    for code, kind in ERRORS.items():
        if code not in OF_HTTP:
            table.setdefault(kind.status, set()).add(code)
    assert table == PROMISED
    assert {code for code, kind in ERRORS.items() if kind.retryable} == {
        "upstream_unavailable",
        "upstream_timeout",
    }


def documented(operation: dict[str, Any]) -> dict[int, set[str]]:
    answers = {}
    for status, answer in operation["responses"].items():
        if int(status) >= 400:
            assert list(answer["content"]) == ["application/problem+json"]
            answers[int(status)] = set(
                answer["content"]["application/problem+json"]["schema"]["properties"]["code"]["enum"]
            )
    return answers


def test_the_openapi_document_names_every_answer() -> None:
    paths = create_app(SETTINGS).openapi()["paths"]

    everywhere = {status: PROMISED[status] for status in (500, 502, 503, 504)}
    approve = documented(paths["/plan/approve"]["post"])
    assert approve == {
        **{status: PROMISED[status] for status in (401, 403, 409, 413, 415)},
        422: PROMISED[422]
        - {"invalid_plan_id", "invalid_user_id", "invalid_expires_at", "invalid_message", "invalid_team_id"},
        **everywhere,
    }
    propose = documented(paths["/plan/propose"]["post"])
    assert propose == {
        **{status: PROMISED[status] for status in (401, 413, 415)},
        409: PROMISED[409] - {"plan_expired"},
        422: PROMISED[422] - {"invalid_plan_id", "invalid_user_id", "invalid_comment", "invalid_comments"},
        **everywhere,
    }
    document = documented(paths["/plan/{plan_id}/document"]["get"])
    assert document == {401: PROMISED[401], 404: PROMISED[404], 422: {"invalid_plan_id"}, **everywhere}


def test_the_openapi_document_has_the_whole_body_in_its_place() -> None:
    operation = create_app(SETTINGS).openapi()["paths"]["/plan/approve"]["post"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    comment = schema["properties"]["comments"]["anyOf"][0]["items"]
    assert {*comment["properties"]} == {*comment["required"]} == {"start", "end", "exact", "body"}
    assert comment["additionalProperties"] is False
    assert "$ref" not in json.dumps(schema)


@pytest.mark.parametrize("code", ERRORS)
def test_every_problem_has_the_one_shape(code: str) -> None:
    response = ProblemResponse(Problem(code, "Because."))

    problem = json.loads(bytes(response.body))
    assert response.media_type == "application/problem+json"
    assert list(problem) == ["type", "title", "status", "detail", "code", "request_id", "retryable"]
    assert problem["status"] == response.status_code == ERRORS[code].status
    assert ("retry-after" in response.headers) is (response.status_code == 503)
    assert json.loads(bytes(ProblemResponse(Problem(code, "x", retryable=True)).body))["retryable"] is True


@pytest.mark.anyio
async def test_an_unexpected_exception_shows_nothing_of_the_inside(
    capsys: pytest.CaptureFixture[str],
) -> None:
    app = create_app(SETTINGS)

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("a secret of the inside")

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        answer = await client.get("/broken")

    assert answer.status_code == 500
    assert answer.json()["code"] == "internal_error"
    assert "secret" not in answer.text
    logged = capsys.readouterr().out
    assert "RuntimeError" in logged
    assert "secret" not in logged
