"""Forged tokens against the running service; tests/unit/test_auth.py has the rules, each by itself."""

import base64
import hashlib
import hmac
import json
import uuid
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.caller import Caller, expect_problem
from tests.plan import body


def _encoded(part: Any) -> str:
    data = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def test_forged_tokens_are_refused_and_the_true_one_is_not(user: Caller, stack: Any) -> None:
    header = jwt.get_unverified_header(user.token)
    claims = jwt.decode(user.token, options={"verify_signature": False})
    keys = httpx.get(f"{stack.supabase_url}/auth/v1/.well-known/jwks.json").json()["keys"]
    public = next(jwt.PyJWK(key) for key in keys if key["kid"] == header["kid"])
    pem = public.key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    other = ec.generate_private_key(ec.SECP256R1())
    signature = user.token.rpartition(".")[2]

    def hs256(key: bytes) -> str:
        signed = f"{_encoded({'alg': 'HS256', 'typ': 'JWT', 'kid': header['kid']})}.{_encoded(claims)}"
        return f"{signed}.{_encoded(hmac.digest(key, signed.encode(), hashlib.sha256))}"

    forged = {
        "wrong key under the real kid": jwt.encode(claims, other, "ES256", {"kid": header["kid"]}),
        "unknown kid": jwt.encode(claims, other, "ES256", {"kid": str(uuid.uuid4())}),
        "no kid": jwt.encode(claims, other, "ES256"),
        "a kid that is no text": jwt.encode(claims, other, "ES256", {"jku": "https://evil.test"}),
        "alg none": f"{_encoded({'alg': 'none', 'typ': 'JWT'})}.{_encoded(claims)}.",
        "alg none, real kid": f"{_encoded({**header, 'alg': 'none'})}.{_encoded(claims)}.",
        "HS256 with the public key": hs256(pem),
        "the real signature under other claims": ".".join(
            [_encoded(header), _encoded({**claims, "sub": str(uuid.uuid4())}), signature]
        ),
        "no signature": user.token.rpartition(".")[0] + ".",
        "the publishable key": stack.publishable_key,
        "100 kB": "a" * 100_000,
        "100 kB of a token": f"{_encoded({'alg': 'ES256', 'x': 'a' * 75000})}.{_encoded(claims)}.{signature}",
        "not a token": "x",
        "dots": "..",
    }

    if (
        stack.local is not None
    ):  # another project's secret is configured, because it may sign with nothing else
        forged["HS256 with the secret that is not configured"] = hs256(str(stack.jwt_secret).encode())

    for name, token in forged.items():
        answer = user.service.post("/plan/approve", json=body(), headers={"Authorization": f"Bearer {token}"})
        problem = expect_problem(answer, 401, "not_authenticated")
        assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"', name
        assert problem["retryable"] is False
    assert user.has_nothing()
    assert user.approved()["created"] is True


@pytest.mark.parametrize("value", [None, "", "Bearer", "Basic dTpw", "token"])
def test_no_token_is_told_from_a_bad_one(service: httpx.Client, value: str | None) -> None:
    answer = service.post(
        "/plan/approve", json=body(), headers={} if value is None else {"Authorization": value}
    )

    expect_problem(answer, 401, "not_authenticated")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_the_scheme_is_written_in_any_case(user: Caller) -> None:
    answer = user.service.post(
        "/plan/approve", json=body(), headers={"Authorization": f"bEARER {user.token}"}
    )

    assert answer.status_code == 200
