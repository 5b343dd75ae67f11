"""Tokens and keys are a hosted project's, and so are the refusals of bad ones."""

import time
import uuid
from collections.abc import Callable
from typing import Any

import httpx
import jwt
import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from local.stack import Stack
from tests.caller import Caller
from tests.conftest import RunningStack

Database = psycopg.Connection[tuple[object, ...]]


def claims_of(token: str) -> dict[str, Any]:
    return jwt.decode(token, options={"verify_signature": False})


def test_a_token_is_verified_by_the_jwks_and_says_where_it_comes_from(user: Caller, local: Stack) -> None:
    issuer = f"{local.settings.supabase_url}/auth/v1"
    keys = jwt.PyJWKClient(f"{issuer}/.well-known/jwks.json")
    key = keys.get_signing_key_from_jwt(user.token)
    claims = jwt.decode(user.token, key.key, algorithms=["ES256"], audience="authenticated", issuer=issuer)
    assert claims["sub"] == user.id
    assert claims["role"] == "authenticated"
    assert claims["aal"] == "aal1"
    assert claims["exp"] - claims["iat"] == 3600
    published = httpx.get(f"{issuer}/.well-known/jwks.json").json()["keys"]
    assert all("d" not in key for key in published), "the private key stays at home"


def test_a_token_that_the_shared_secret_signed_is_as_good(user: Caller, anon: Caller, local: Stack) -> None:
    token = jwt.encode(claims_of(user.token), local.keys.jwt_secret, algorithm="HS256")
    bearer = {"Authorization": f"Bearer {token}"}
    assert anon.get("/auth/v1/user", headers=bearer).json()["id"] == user.id
    assert anon.get("/rest/v1/plan", headers=bearer).json() == []
    listing = anon.post("/storage/v1/object/list/plans", json={"prefix": user.id}, headers=bearer)
    assert listing.json() == []


BAD_TOKENS: dict[str, Callable[[str, str], str]] = {
    "signature changed": lambda token, _: f"{token[:-8]}AAAAAAAA",
    "claims changed": lambda token, _: ".".join(
        [
            token.split(".")[0],
            jwt.encode({"role": "service_role"}, "x" * 32).split(".")[1],
            token.split(".")[2],
        ]
    ),
    "another secret": lambda token, _: jwt.encode(claims_of(token), "x" * 40, algorithm="HS256"),
    "our key id, another key": lambda token, _: jwt.encode(
        claims_of(token),
        ec.generate_private_key(ec.SECP256R1()),
        "ES256",
        jwt.get_unverified_header(token),
    ),
    "no signature": lambda token, _: jwt.encode(claims_of(token), "", algorithm="none"),
    "public key as a secret": lambda token, jwk: jwt.encode(
        claims_of(token), jwk.ljust(32), algorithm="HS256"
    ),
    "no token at all": lambda _token, _: "nonsense",
    "another project's secret key": lambda _token, _: "sb_secret_0000000000000000000000",
}


@pytest.mark.parametrize("forge", BAD_TOKENS.values(), ids=BAD_TOKENS.keys())
def test_a_bad_token_is_refused_everywhere_never_taken_for_none(
    forge: Callable[[str, str], str], user: Caller, anon: Caller, local: Stack
) -> None:
    bearer = {"Authorization": f"Bearer {forge(user.token, local.keys.signing_key['x'])}"}

    rows = anon.get("/rest/v1/plan", headers=bearer)
    assert (rows.status_code, rows.json()["code"]) == (401, "PGRST301")

    listing = anon.post("/storage/v1/object/list/plans", json={"prefix": ""}, headers=bearer)
    body = listing.json()
    assert (listing.status_code, body["statusCode"], body["error"]) == (400, "403", "Unauthorized")

    admin = anon.get("/auth/v1/admin/users", headers=bearer)
    assert admin.status_code == 403


@pytest.mark.parametrize("name", ["signature changed", "our key id, another key", "no token at all"])
def test_auth_says_bad_jwt(name: str, user: Caller, anon: Caller) -> None:
    bearer = {"Authorization": f"Bearer {BAD_TOKENS[name](user.token, '')}"}
    answer = anon.get("/auth/v1/user", headers=bearer)
    assert (answer.status_code, answer.json()["error_code"]) == (403, "bad_jwt")
    assert user.get("/auth/v1/user").status_code == 200


@pytest.mark.parametrize(("age", "data_api"), [(10, 200), (120, 401)])
def test_only_the_data_api_is_patient_with_an_expired_token(
    age: int, data_api: int, user: Caller, anon: Caller, local: Stack
) -> None:
    claims = {**claims_of(user.token), "exp": int(time.time()) - age}
    bearer = {"Authorization": f"Bearer {jwt.encode(claims, local.keys.jwt_secret, algorithm='HS256')}"}
    rows = anon.get("/rest/v1/plan", headers=bearer)
    assert rows.status_code == data_api
    assert data_api == 200 or rows.json() == {
        "code": "PGRST303",
        "details": None,
        "hint": None,
        "message": "JWT expired",
    }
    assert anon.get("/auth/v1/user", headers=bearer).json()["error_code"] == "bad_jwt"
    listing = anon.post("/storage/v1/object/list/plans", json={"prefix": ""}, headers=bearer)
    assert listing.json()["statusCode"] == "403"


def test_a_signed_token_cannot_name_a_role_that_the_api_does_not_have(
    user: Caller, anon: Caller, local: Stack
) -> None:
    claims = {**claims_of(user.token), "role": "supabase_admin"}
    bearer = {"Authorization": f"Bearer {jwt.encode(claims, local.keys.jwt_secret, algorithm='HS256')}"}
    rows = anon.get("/rest/v1/plan", headers=bearer)
    assert (rows.status_code, rows.json()["code"]) == (403, "42501")
    listing = anon.post("/storage/v1/object/list/plans", json={"prefix": ""}, headers=bearer)
    assert listing.json()["statusCode"] == "403"


@pytest.mark.parametrize("headers", [{}, {"apikey": "sb_publishable_0000000000000000000000"}])
@pytest.mark.parametrize("path", ["/rest/v1/plan", "/auth/v1/settings", "/auth/v1/admin/users"])
def test_no_key_no_answer(path: str, headers: dict[str, str], user: Caller, local: Stack) -> None:
    bearer = {"Authorization": f"Bearer {user.token}"}
    url = f"{local.settings.supabase_url}{path}"
    assert httpx.get(url, headers={**headers, **bearer}).status_code == 401
    assert httpx.get(url, headers={"apikey": local.keys.secret}).status_code == 200


def test_storage_without_credentials(local: Stack, anon: Caller) -> None:
    url = f"{local.settings.supabase_url}/storage/v1/object/list/plans"
    anonymous = httpx.post(url, json={"prefix": ""})
    assert (anonymous.status_code, anonymous.json()["message"]) == (
        400,
        "headers must have required property 'authorization'",
    )
    assert anon.post(url, json={"prefix": ""}).json() == []


def test_the_secret_key_acts_as_the_service_role(service_role: Caller, anon: Caller) -> None:
    assert "plans" in [bucket["id"] for bucket in service_role.get("/storage/v1/bucket").json()]
    assert anon.get("/storage/v1/bucket").json() == []
    # As both clients send it, and as curl does.
    for bearer in ({}, {"Authorization": f"Bearer {service_role.supabase.headers['apikey']}"}):
        assert service_role.get("/rest/v1/plan?limit=0", headers=bearer).json() == []
    assert anon.get("/rest/v1/plan?limit=0").status_code == 401


def test_the_admin_creates_reads_changes_and_deletes_users(
    service_role: Caller, anon: Caller, database: Database
) -> None:
    email, password = f"{uuid.uuid4().hex}@example.com", "correct horse"
    account = {"email": email, "password": password, "user_metadata": {"colour": "blue"}}
    created = service_role.post("/auth/v1/admin/users", json={**account, "email_confirm": True}).json()
    assert created["user_metadata"]["colour"] == "blue"
    assert service_role.post("/auth/v1/admin/users", json=account).json()["error_code"] == "email_exists"

    path = f"/auth/v1/admin/users/{created['id']}"
    changed = service_role.request(
        "PUT", path, json={"password": "another horse", "app_metadata": {"plan": "pro"}}
    )
    assert changed.json()["app_metadata"]["plan"] == "pro"
    tokens = "/auth/v1/token?grant_type=password"
    refused = anon.post(tokens, json={"email": email, "password": password})
    assert refused.json()["error_code"] == "invalid_credentials"
    session = anon.post(tokens, json={"email": email, "password": "another horse"}).json()
    assert claims_of(session["access_token"])["app_metadata"]["plan"] == "pro"
    assert created["id"] in [user["id"] for user in service_role.get("/auth/v1/admin/users").json()["users"]]

    assert anon.request("DELETE", path).json()["error_code"] == "not_admin"
    assert service_role.request("DELETE", path).status_code == 200
    assert service_role.get(path).json()["error_code"] == "user_not_found"
    assert database.execute("select from auth.users where id = %s", [created["id"]]).fetchone() is None


def test_deleting_a_user_takes_plans_agents_and_events_along(
    stack: RunningStack, user: Caller, database: Database
) -> None:
    assert user.upload(user.path()).status_code == 200
    assert user.approve_stored().json()["created"]
    stack.delete_user(user.id)
    for table in ("plan", "agent", "agent_event"):
        assert database.execute(f"select from public.{table} where user_id = %s", [user.id]).fetchall() == []


def test_what_auth_stores_as_json_is_json(user: Caller, database: Database) -> None:
    row = database.execute(
        "select raw_app_meta_data ->> 'provider', raw_user_meta_data ->> 'sub' from auth.users where id = %s",
        [user.id],
    ).fetchone()
    assert row == ("email", user.id)
    identity = database.execute(
        "select identity_data ->> 'sub', email is not null from auth.identities where user_id = %s", [user.id]
    ).fetchone()
    assert identity == (user.id, True)
