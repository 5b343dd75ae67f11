"""Tokens: each rule by itself, against keys of our own."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from greenlight import auth, upstream
from greenlight.auth import Authenticator, User
from greenlight.errors import Problem
from greenlight.settings import Settings

URL = "https://project.supabase.test"
SECRET = "a shared secret " * 4
SUBJECT = "0E37DF36-F698-11E6-8DD4-CB9CED3DF976"


def _encoded(part: Any) -> str:
    data = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Project:
    """Supabase's signing keys: what it publishes, and how often it was asked."""

    def __init__(self) -> None:
        self.ec = ec.generate_private_key(ec.SECP256R1())
        self.published: list[dict[str, Any]] = [jwk(self.ec, "ec")]
        self.fetches = 0
        self.answer: Callable[[], httpx.Response] = lambda: httpx.Response(200, json={"keys": self.published})
        self.asked = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        assert str(request.url) == f"{URL}/auth/v1/.well-known/jwks.json"
        self.fetches += 1
        self.asked.set()
        await self.gate.wait()
        return self.answer()

    @asynccontextmanager
    async def authenticator(self, **changed: Any) -> AsyncIterator[Authenticator]:
        settings = Settings(supabase_url=URL, supabase_publishable_key="sb_publishable_x", **changed)
        async with upstream.connect(httpx.MockTransport(self)) as http:
            authenticator = Authenticator(settings, http)
            try:
                yield authenticator
            finally:
                await authenticator.keys.close()


def jwk(key: Any, key_id: str, **changed: Any) -> dict[str, Any]:
    public = key.public_key()
    kind: Any = {
        ec.EllipticCurvePrivateKey: ECAlgorithm,
        rsa.RSAPrivateKey: RSAAlgorithm,
        ed25519.Ed25519PrivateKey: OKPAlgorithm,
    }
    algorithm = next(value for cls, value in kind.items() if isinstance(key, cls))
    return {**algorithm.to_jwk(public, as_dict=True), "kid": key_id, "use": "sig", **changed}


def claims(**changed: Any) -> dict[str, Any]:
    now = int(time.time())
    good = {
        "sub": SUBJECT,
        "aud": "authenticated",
        "role": "authenticated",
        "iss": f"{URL}/auth/v1",
        "iat": now,
        "exp": now + 3600,
    }
    return {name: value for name, value in {**good, **changed}.items() if value is not None}


async def refused(authenticator: Authenticator, token: str, code: str = "not_authenticated") -> None:
    with pytest.raises(Problem) as problem:
        await authenticator.user(token)
    assert problem.value.code == code


GOOD: dict[str, Callable[[int], dict[str, Any]]] = {
    "as they are": lambda _: {},
    "expired within the leeway": lambda now: {"exp": now - 20},
    "not yet valid within the leeway": lambda now: {"nbf": now + 20},
    "issued a moment in the future": lambda now: {"iat": now + 60},
    "without iat": lambda _: {"iat": None},
    "several audiences": lambda _: {"aud": ["other", "authenticated"]},
    "sub in lower case": lambda _: {"sub": SUBJECT.lower()},
}
BAD: dict[str, Callable[[int], dict[str, Any]]] = {
    "expired": lambda now: {"exp": now - 40},
    "without exp": lambda _: {"exp": None},
    "exp no number": lambda _: {"exp": "soon"},
    "exp infinite": lambda _: {"exp": float("inf")},
    "not yet valid": lambda now: {"nbf": now + 40},
    "another audience": lambda _: {"aud": "anon"},
    "without aud": lambda _: {"aud": None},
    "another issuer": lambda _: {"iss": "https://other.supabase.test/auth/v1"},
    "without iss": lambda _: {"iss": None},
    "role service_role": lambda _: {"role": "service_role"},
    "role anon": lambda _: {"role": "anon"},
    "role a list": lambda _: {"role": ["authenticated"]},
    "without role": lambda _: {"role": None},
    "without sub": lambda _: {"sub": None},
    "sub no UUID": lambda _: {"sub": "me"},
    "sub with a path": lambda _: {"sub": f"{SUBJECT}/.."},
    "sub with a newline": lambda _: {"sub": f"{SUBJECT}\n"},
    "sub a number": lambda _: {"sub": 7},
}


@pytest.mark.anyio
@pytest.mark.parametrize("name", GOOD)
async def test_claims_that_are_accepted(name: str) -> None:
    project = Project()
    token = jwt.encode(claims(**GOOD[name](int(time.time()))), project.ec, "ES256", {"kid": "ec"})
    async with project.authenticator() as authenticator:
        assert await authenticator.user(token) == User(SUBJECT.lower(), token)


@pytest.mark.anyio
@pytest.mark.parametrize("name", BAD)
async def test_claims_that_are_refused(name: str) -> None:
    project = Project()
    # By hand: PyJWT would not sign some of them.
    signed = f"{_encoded({'alg': 'ES256', 'kid': 'ec'})}.{_encoded(claims(**BAD[name](int(time.time()))))}"
    algorithm = ECAlgorithm(ECAlgorithm.SHA256)
    token = f"{signed}.{_encoded(algorithm.sign(signed.encode(), project.ec))}"
    async with project.authenticator() as authenticator:
        await refused(authenticator, token)


@pytest.mark.anyio
async def test_the_algorithm_follows_from_the_key() -> None:
    project = Project()
    rsa_key, ed_key = rsa.generate_private_key(65537, 2048), ed25519.Ed25519PrivateKey.generate()
    p384, marked = ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP256R1())
    project.published += [
        jwk(rsa_key, "rsa"),
        jwk(ed_key, "ed"),
        jwk(p384, "p384"),
        jwk(marked, "enc", use="enc"),
    ]
    project.published += [
        {"kty": "oct", "kid": "oct", "k": _encoded(b"x" * 32)},
        {"kty": "EC", "kid": "broken"},
    ]
    async with project.authenticator() as authenticator:
        for key, algorithm, key_id in (
            (rsa_key, "RS256", "rsa"),
            (ed_key, "EdDSA", "ed"),
            (project.ec, "ES256", "ec"),
        ):
            token = jwt.encode(claims(), key, algorithm, {"kid": key_id})
            assert (await authenticator.user(token)).id == SUBJECT.lower()
        await refused(authenticator, jwt.encode(claims(), rsa_key, "RS512", {"kid": "rsa"}))
        await refused(authenticator, jwt.encode(claims(), rsa_key, "PS256", {"kid": "rsa"}))
        await refused(authenticator, jwt.encode(claims(), rsa_key, "RS256", {"kid": "ec"}))
        await refused(authenticator, jwt.encode(claims(), p384, "ES384", {"kid": "p384"}))
        await refused(authenticator, jwt.encode(claims(), marked, "ES256", {"kid": "enc"}))
        await refused(authenticator, jwt.encode(claims(), b"x" * 32, "HS256", {"kid": "oct"}))


@pytest.mark.anyio
async def test_the_shared_secret_counts_only_where_it_is_configured() -> None:
    project = Project()
    token = jwt.encode(claims(), SECRET, "HS256")
    async with project.authenticator() as authenticator:
        await refused(authenticator, token)
    async with project.authenticator(supabase_jwt_secret=SECRET) as authenticator:
        assert (await authenticator.user(token)).id == SUBJECT.lower()
        assert (await authenticator.user(jwt.encode(claims(iss=None), SECRET, "HS256"))).id == SUBJECT.lower()
        asymmetric = jwt.encode(claims(), project.ec, "ES256", {"kid": "ec"})
        assert (await authenticator.user(asymmetric)).id == SUBJECT.lower()
        await refused(authenticator, jwt.encode(claims(iss=None), project.ec, "ES256", {"kid": "ec"}))
        await refused(authenticator, jwt.encode(claims(iss="https://other.test"), SECRET, "HS256"))
        await refused(authenticator, jwt.encode(claims(role="service_role"), SECRET, "HS256"))
        await refused(authenticator, jwt.encode(claims(), SECRET, "HS512"))
        await refused(authenticator, jwt.encode(claims(), SECRET + "!", "HS256"))


@pytest.mark.anyio
async def test_a_token_beyond_16_kib_is_refused_even_if_it_is_good() -> None:
    project = Project()

    def token(padding: int) -> str:
        return jwt.encode(claims(padding="a" * padding), project.ec, "ES256", {"kid": "ec"})

    async with project.authenticator() as authenticator:
        assert (await authenticator.user(token(11_000))).id == SUBJECT.lower()
        await refused(authenticator, token(12_500))


@pytest.mark.anyio
async def test_an_issuer_of_the_settings_takes_the_place_of_the_usual_one() -> None:
    project = Project()
    other = "https://auth.example.test"
    async with project.authenticator(supabase_jwt_issuer=other) as authenticator:
        token = jwt.encode(claims(iss=other), project.ec, "ES256", {"kid": "ec"})
        assert (await authenticator.user(token)).id == SUBJECT.lower()
        await refused(authenticator, jwt.encode(claims(), project.ec, "ES256", {"kid": "ec"}))


def test_a_user_does_not_show_the_token() -> None:
    assert "ey" not in repr(User(SUBJECT, "ey.secret.x"))


# The keys ----------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_keys_are_fetched_once_for_all_who_wait() -> None:
    project = Project()
    token = jwt.encode(claims(), project.ec, "ES256", {"kid": "ec"})
    async with project.authenticator() as authenticator:
        project.gate.clear()
        waiting = [asyncio.create_task(authenticator.user(token)) for _ in range(50)]
        await project.asked.wait()
        waiting[0].cancel()  # a caller who goes away does not end the fetch for the others
        project.gate.set()
        users = await asyncio.gather(*waiting, return_exceptions=True)
        await authenticator.user(token)
    assert sum(isinstance(user, User) for user in users) == 49
    assert project.fetches == 1


@pytest.mark.anyio
async def test_unknown_kids_by_the_hundred_cause_one_fetch() -> None:
    project = Project()
    good = jwt.encode(claims(), project.ec, "ES256", {"kid": "ec"})
    forged = [jwt.encode(claims(), project.ec, "ES256", {"kid": f"no{n}"}) for n in range(100)]
    async with project.authenticator() as authenticator:
        await asyncio.gather(*(refused(authenticator, token) for token in forged))
        assert project.fetches == 1
        await asyncio.gather(*(refused(authenticator, token) for token in forged))
        await authenticator.user(good)
        assert project.fetches == 1


@pytest.mark.anyio
async def test_a_rotated_key_is_found_without_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    project = Project()
    old = jwt.encode(claims(), project.ec, "ES256", {"kid": "ec"})
    async with project.authenticator() as authenticator:
        await authenticator.user(old)
        rotated = ec.generate_private_key(ec.SECP256R1())
        project.published = [jwk(rotated, "new")]
        new = jwt.encode(claims(), rotated, "ES256", {"kid": "new"})
        await refused(authenticator, new)  # within the cool-down the keys are not fetched again
        clock.passed += 11
        assert (await authenticator.user(new)).id == SUBJECT.lower()
        await refused(authenticator, old)  # no longer published
        assert project.fetches == 2


@pytest.mark.anyio
async def test_a_withdrawn_key_ends_without_a_request_for_a_new_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)
    project = Project()
    token = jwt.encode(claims(), project.ec, "ES256", {"kid": "ec"})
    async with project.authenticator() as authenticator:
        await authenticator.user(token)
        project.published = []
        project.asked.clear()
        project.gate.clear()
        clock.passed += 301
        await authenticator.user(token)  # it does not wait, but it sets the fetch going
        await asyncio.wait_for(project.asked.wait(), 10)
        refresh = authenticator.keys.refresh()
        assert refresh is not None
        project.gate.set()
        await refresh
        await refused(authenticator, token)


@pytest.mark.anyio
async def test_old_keys_serve_while_newer_ones_cannot_be_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    project = Project()
    token = jwt.encode(claims(), project.ec, "ES256", {"kid": "ec"})
    unknown = jwt.encode(claims(), project.ec, "ES256", {"kid": "other"})
    monkeypatch.setattr(auth, "JWKS_TIMEOUT_SECONDS", 0.01)
    async with project.authenticator() as authenticator:
        await authenticator.user(token)
        clock.passed += 301
        project.gate.clear()  # it hangs: tokens under a known key do not wait for it
        assert (await asyncio.wait_for(authenticator.user(token), 5)).id == SUBJECT.lower()
        await refused(authenticator, unknown, "upstream_unavailable")
        project.gate.set()
        for answer in (
            httpx.Response(500),
            httpx.Response(200, text="<html>"),
            httpx.Response(200, json=[]),
            httpx.Response(200, json={"keys": None}),
            httpx.Response(200, json={"keys": ["x"]}),
        ):
            clock.passed += 301
            project.answer = lambda answer=answer: answer  # type: ignore[misc]
            await refused(authenticator, unknown, "upstream_unavailable")
            assert (await authenticator.user(token)).id == SUBJECT.lower()
    assert project.fetches == 7


@pytest.mark.anyio
async def test_without_any_key_it_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    project = Project()
    answer, project.answer = project.answer, lambda: httpx.Response(503)
    token = jwt.encode(claims(), project.ec, "ES256", {"kid": "ec"})
    async with project.authenticator() as authenticator:
        await asyncio.gather(*(refused(authenticator, token, "upstream_unavailable") for _ in range(20)))
        assert project.fetches == 1
        project.answer = answer
        clock.passed += 2
        assert (await authenticator.user(token)).id == SUBJECT.lower()


class Clock:
    """The authenticator's clock, which a test puts forward."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passed = 0.0
        monkeypatch.setattr("greenlight.auth.time", self)

    def monotonic(self) -> float:
        return time.monotonic() + self.passed
