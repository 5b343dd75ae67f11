"""The routes other than approving, the limits of a request, and CORS."""

import socket
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from tests.caller import Caller, expect_problem
from tests.plan import body, encode, new_session, sha256
from tests.services import Process, ServiceWith, running_service

# The document of a plan --------------------------------------------------------------------------------


def test_the_owner_gets_a_fresh_signed_url(user: Caller) -> None:
    approved = user.approved(content="# Mine")

    answer = user.document(approved["plan_id"])

    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    document = answer.json()
    assert document["document_sha256"] == sha256("# Mine")
    assert httpx.get(document["document_url"]).text == "# Mine"
    left = datetime.fromisoformat(document["expires_at"]) - datetime.now(UTC)
    assert timedelta(minutes=59) < left <= timedelta(hours=1)


def test_a_superseded_plan_keeps_its_document(user: Caller) -> None:
    session = new_session()
    first = user.approved(plan_id=session, content="one")
    user.approved(plan_id=session, version=2, content="two")

    assert httpx.get(user.document(first["plan_id"]).json()["document_url"]).text == "one"


def test_a_strangers_plan_a_deleted_one_and_none_at_all_are_the_same(user: Caller, stranger: Caller) -> None:
    approved = user.approved()

    expect_problem(stranger.document(approved["plan_id"]), 404, "plan_not_found")
    expect_problem(user.document(str(uuid.uuid4())), 404, "plan_not_found")
    assert user.document(approved["plan_id"]).status_code == 200
    assert user.rpc("delete_agent", agent_id=approved["agent_id"]).status_code == 200
    expect_problem(user.document(approved["plan_id"]), 404, "plan_not_found")


def test_no_document_without_a_token(user: Caller, service: httpx.Client) -> None:
    approved = user.approved()

    expect_problem(service.get(f"/plan/{approved['plan_id']}/document"), 401, "not_authenticated")


def test_a_malformed_id_is_refused(user: Caller) -> None:
    for plan_id in ("x", "1", "00000000-0000-0000-0000-00000000000g", "%00", "a%0a", "%2e%2e"):
        expect_problem(user.document(plan_id), 422, "invalid_plan_id")


def test_an_id_in_capitals_is_the_same_id(user: Caller) -> None:
    assert user.document(user.approved()["plan_id"].upper()).status_code == 200


# The process -------------------------------------------------------------------------------------------


def test_health_readiness_and_documentation(service: httpx.Client) -> None:
    assert service.get("/healthz").json() == {"status": "ok"}
    assert service.get("/readyz").json() == {"status": "ok"}
    assert "swagger" in service.get("/docs").text
    assert service.get("/openapi.json").json()["info"]["title"] == "Greenlight"


def test_without_supabase_it_is_healthy_and_not_ready(tmp_path: Path) -> None:
    with socket.socket() as taken:  # bound, but not listening
        taken.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{taken.getsockname()[1]}"
        settings = {"SUPABASE_URL": nowhere, "SUPABASE_PUBLISHABLE_KEY": "sb_publishable_x"}
        with running_service(tmp_path, **settings) as process:
            assert httpx.get(f"{process.url}/healthz").status_code == 200
            answer = httpx.get(f"{process.url}/readyz")
            problem = expect_problem(answer, 503, "upstream_unavailable")
            assert problem["retryable"] is True
            assert int(answer.headers["retry-after"]) > 0


def test_what_is_not_there_is_a_problem_too(service: httpx.Client) -> None:
    expect_problem(service.get("/nothing"), 404, "not_found")
    expect_problem(service.post("/plan/approve/"), 404, "not_found")
    answer = service.get("/plan/approve")
    expect_problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"


# A service of the tests' own, with CORS and a small limit -------------------------------------

LIMIT = 1000


@pytest.fixture(scope="module")
def small(service_with: ServiceWith) -> Process:
    return service_with(
        MAX_DOCUMENT_BYTES=str(LIMIT), CORS_ORIGINS="https://app.example.com, https://other.example.com"
    )


def test_the_settings_limit_holds(small: Process, user: Caller) -> None:
    headers = {"Authorization": f"Bearer {user.token}"}
    url = f"{small.url}/plan/approve"

    assert httpx.post(url, json=body(content="x" * LIMIT), headers=headers).status_code == 200
    expect_problem(
        httpx.post(url, json=body(content="x" * (LIMIT + 1)), headers=headers), 413, "document_too_large"
    )


def test_every_allowed_document_fits_into_a_body_however_escaped(small: Process, user: Caller) -> None:
    request = encode(body(content="\x07" * LIMIT))
    assert len(request) > 6 * LIMIT

    answer = httpx.post(
        f"{small.url}/plan/approve",
        content=request,
        headers={"Authorization": f"Bearer {user.token}", "Content-Type": "application/json"},
    )

    assert answer.status_code == 200


def test_only_plain_json_is_read(user: Caller) -> None:
    content = encode(body())
    authorized = {"Authorization": f"Bearer {user.token}"}
    json, form = {"Content-Type": "application/json"}, "application/x-www-form-urlencoded"
    types = ("text/plain", form, "application/jsonx", "application/json; charset=latin-1")
    other: list[dict[str, str]] = [{}, *({"Content-Type": kind} for kind in types)]
    for headers in (*other, *({**json, "Content-Encoding": packed} for packed in ("gzip", "br"))):
        refused = user.service.post("/plan/approve", content=content, headers={**authorized, **headers})
        expect_problem(refused, 415, "unsupported_media_type")
    assert user.has_nothing()
    good = {**authorized, "Content-Type": 'Application/JSON; charset="UTF-8"', "Content-Encoding": "identity"}
    assert user.service.post("/plan/approve", content=content, headers=good).status_code == 200


def test_metrics_are_not_there_otherwise(service_with: ServiceWith) -> None:
    expect_problem(httpx.get(f"{service_with().url}/metrics"), 404, "not_found")


def test_pages_of_the_named_origins_may_call_and_read_refusals(small: Process, service: httpx.Client) -> None:
    asking = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    for origin, allowed in (("https://app.example.com", True), ("https://evil.example.com", False)):
        headers = {"Origin": origin, **asking}
        preflight = httpx.options(f"{small.url}/plan/approve", headers=headers)
        assert (preflight.headers.get("access-control-allow-origin") == origin) is allowed
        refusal = httpx.post(f"{small.url}/plan/approve", headers={"Origin": origin})
        assert refusal.status_code == 401
        assert (refusal.headers.get("access-control-allow-origin") == origin) is allowed
    answer = service.post("/plan/approve", headers={"Origin": "https://app.example.com"})
    assert "access-control-allow-origin" not in answer.headers
