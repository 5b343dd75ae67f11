"""Tokens against a running service, whose project's keys are the test's own and come from a JWKS endpoint."""

import asyncio
import base64
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from tests import SOAK
from tests.caller import Json, expect_problem
from tests.conftest import RunningStack, User
from tests.faults.promise import approve
from tests.faults.proxy import Exchange, Proxy, answer, behind
from tests.plan import body
from tests.services import Process, running_service

ISSUER = "https://project.supabase.test/auth/v1"
SECRET = "a shared secret " * 5
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class Project:
    """Stands for Supabase Auth: has keys, publishes them, and signs. Supabase itself takes its users' word."""

    def __init__(self, stack: RunningStack, proxy: Proxy) -> None:
        assert stack.local is not None
        self._signing_key = stack.local.keys.signing_key
        self._stack_issuer = f"{stack.supabase_url}/auth/v1"
        self._proxy = proxy
        self.keys: dict[str, Key] = {
            "ec": ec.generate_private_key(ec.SECP256R1()),
            "rsa": rsa.generate_private_key(public_exponent=65537, key_size=2048),
        }
        self.published = ["ec", "rsa"]
        self.fetches = 0
        self.keys_handler: Callable[[Exchange], Any] = self.publish

    async def start(self) -> None:
        await self._proxy.heal()
        for call in ("upload", "sign", "rpc", "plan", "other"):
            self._proxy.handlers[call] = self._resign
        self._proxy.handlers["keys"] = self._keys

    async def _keys(self, exchange: Exchange) -> None:
        self.fetches += 1
        await self.keys_handler(exchange)

    async def publish(self, exchange: Exchange) -> None:
        keys = [public_jwk(self.keys[key_id], key_id) for key_id in self.published]
        await exchange.reply(answer(200, json.dumps({"keys": keys}).encode()))

    async def _resign(self, exchange: Exchange) -> None:
        token = (exchange.request.header("authorization") or "").removeprefix("Bearer ")
        subject = jwt.decode(token, options={"verify_signature": False})["sub"]
        known_claims = claims(subject, iss=self._stack_issuer)
        key = jwt.PyJWK(self._signing_key, "ES256").key
        known = jwt.encode(known_claims, key, "ES256", {"kid": self._signing_key["kid"]})
        request = exchange.request.with_header("authorization", f"Bearer {known}")
        await exchange.reply(await exchange.forward(request))

    def sent_on(self) -> list[str]:
        return [" ".join(m.start[:2]) for m in self._proxy.seen if "jwks.json" not in m.start[1]]

    def token(self, user: User, key_id: str = "ec", **changed: Json) -> str:
        key = self.keys[key_id]
        return jwt.encode(claims(user.id, **changed), key, algorithm_of(key), {"kid": key_id})


def algorithm_of(key: Key) -> str:
    return "ES256" if isinstance(key, ec.EllipticCurvePrivateKey) else "RS256"


def public_jwk(key: Key, key_id: str) -> dict[str, Any]:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        public = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    else:
        public = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {**public, "kid": key_id, "use": "sig", "alg": algorithm_of(key)}


def claims(user_id: str, **changed: Json) -> dict[str, Any]:
    now = int(time.time())
    good = {
        "sub": user_id,
        "aud": "authenticated",
        "role": "authenticated",
        "iss": ISSUER,
        "iat": now,
        "exp": now + 3600,
    }
    return {name: value for name, value in {**good, **changed}.items() if value is not None}


def encoded(part: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


@pytest.fixture(scope="module")
async def project(
    stack: RunningStack, proxy: Proxy, anyio_backend: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Project, Process, Process]]:
    """Yield the project, a service that knows its JWKS, and one that knows a shared secret as well."""
    started = Project(stack, proxy)
    await started.start()
    settings = behind(
        proxy,
        stack,
        SUPABASE_JWT_ISSUER=ISSUER,
    )
    soon = {"JWKS_TIMEOUT_SECONDS": 1, "JWKS_MAX_AGE_SECONDS": 1, "JWKS_COOLDOWN_SECONDS": 1}
    directory = tmp_path_factory.mktemp("tokens")
    with (
        running_service(directory, soon, **settings) as asymmetric,
        running_service(directory, soon, **settings, SUPABASE_JWT_SECRET=SECRET) as shared,
    ):
        yield started, asymmetric, shared
    await proxy.heal()


@pytest.fixture
async def ours(project: tuple[Project, Process, Process]) -> tuple[Project, Process, Process]:
    started, _, _ = project
    started.keys_handler = started.publish
    started.published = ["ec", "rsa"]
    await started.start()
    return project


async def status(http: httpx.AsyncClient, process: Process, token: str) -> int:
    """Return 404 where the token is good: the plan that is asked for does not exist."""
    url = f"{process.url}/plan/{uuid.uuid4()}/document"
    return (await http.get(url, headers={"Authorization": f"Bearer {token}"})).status_code


async def until(http: httpx.AsyncClient, process: Process, token: str, wanted: int) -> None:
    async with asyncio.timeout(30):
        while True:
            if await status(http, process, token) == wanted:
                return
            await asyncio.sleep(0.1)


def forgeries(project: Project, user: User, stack: RunningStack) -> dict[str, str]:
    """Return everything that looks like a token of this user's but is not valid."""
    now = int(time.time())
    other_ec, real = ec.generate_private_key(ec.SECP256R1()), project.keys["ec"]
    other_rsa = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    good = claims(user.id)
    header = {"alg": "HS256", "typ": "JWT"}
    found = {
        "alg none": f"{encoded({'alg': 'none', 'kid': 'ec'})}.{encoded(good)}.",
        "alg None": f"{encoded({'alg': 'None', 'kid': 'ec'})}.{encoded(good)}.",
        "no alg": f"{encoded({'kid': 'ec'})}.{encoded(good)}.",
        "unknown kid": jwt.encode(good, other_ec, "ES256", {"kid": "unknown"}),
        "no kid": jwt.encode(good, real, "ES256"),
        "wrong key under the real kid": jwt.encode(good, other_ec, "ES256", {"kid": "ec"}),
        "wrong RSA key under the real kid": jwt.encode(good, other_rsa, "RS256", {"kid": "rsa"}),
        "the RSA key under the other kid": jwt.encode(good, project.keys["rsa"], "RS256", {"kid": "ec"}),
        "another algorithm of the same key": jwt.encode(good, project.keys["rsa"], "RS512", {"kid": "rsa"}),
        "a key of its own in the header": jwt.encode(
            good, other_ec, "ES256", {"kid": "ec", "jwk": public_jwk(other_ec, "ec")}
        ),
        "a place for keys of its own": jwt.encode(
            good, other_ec, "ES256", {"kid": "mine", "jku": "http://127.0.0.1:9/jwks.json"}
        ),
        "a kid that is a path": hs256(
            f"{encoded({**header, 'kid': '../../../../dev/null'})}.{encoded(good)}", b""
        ),
        "expired": project.token(user, exp=now - 40),
        "without exp": project.token(user, exp=None),
        "not yet valid": project.token(user, nbf=now + 40),
        "wrong aud": project.token(user, aud="anon"),
        "without aud": project.token(user, aud=None),
        "wrong iss": project.token(user, iss="https://evil.test/auth/v1"),
        "without iss": project.token(user, iss=None),
        "role service_role": project.token(user, role="service_role"),
        "role anon": project.token(user, role="anon"),
        "without role": project.token(user, role=None),
        "without sub": project.token(user, sub=None),
        "sub no UUID": project.token(user, sub="me"),
        "sub with a path": project.token(user, sub=f"{user.id}/../{uuid.uuid4()}"),
        "sub with a newline": project.token(user, sub=f"{user.id}\n"),
        "100 kB": project.token(user, padding="x" * 75_000),
        "100 kB of nothing": "x" * 100_000,
        "the publishable key": stack.publishable_key,
        "the secret key": stack.secret_key,
        "the claims of one, the signature of the other": ".".join(
            [
                *project.token(user, sub=str(uuid.uuid4())).split(".")[:2],
                project.token(user).rpartition(".")[2],
            ]
        ),
    }
    for form in (serialization.Encoding.PEM, serialization.Encoding.DER):
        public = real.public_key().public_bytes(form, serialization.PublicFormat.SubjectPublicKeyInfo)
        for key_id in ("ec", "rsa", ""):
            signed = f"{encoded({**header, 'kid': key_id})}.{encoded(good)}"
            found[f"HS256 with the public key as {form} under {key_id!r}"] = hs256(signed, public)
    jwk = json.dumps(public_jwk(real, "ec")).encode()
    found["HS256 with the public JWK"] = hs256(f"{encoded({**header, 'kid': 'ec'})}.{encoded(good)}", jwk)
    return found


def hs256(signed: str, key: bytes) -> str:
    # By hand: PyJWT will not sign with a public key.
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(signed.encode(), key)
    return f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["a JWKS alone", "a shared secret as well"])
async def test_forged_tokens_are_refused_and_nothing_is_sent_on(
    stack: RunningStack, ours: tuple[Project, Process, Process], http: httpx.AsyncClient, mode: str
) -> None:
    project, asymmetric, shared = ours
    process = asymmetric if mode == "a JWKS alone" else shared
    user = stack.sign_up()
    forged = forgeries(project, user, stack)
    secretly = {
        "HS256, wrong secret": jwt.encode(claims(user.id), "x" * 64, "HS256"),
        "HS512": jwt.encode(claims(user.id), SECRET, "HS512"),
        "HS256, expired": jwt.encode(claims(user.id, exp=1), SECRET, "HS256"),
        "HS256, wrong aud": jwt.encode(claims(user.id, aud="anon"), SECRET, "HS256"),
        "HS256, wrong iss": jwt.encode(claims(user.id, iss="https://evil.test"), SECRET, "HS256"),
        "HS256, role service_role": jwt.encode(claims(user.id, role="service_role"), SECRET, "HS256"),
        "HS256, without sub": jwt.encode(claims(user.id, sub=None), SECRET, "HS256"),
    }
    forged |= secretly
    if process is asymmetric:
        forged["HS256 with a secret that is not configured"] = jwt.encode(claims(user.id), SECRET, "HS256")

    for name, token in forged.items():
        refusal = await approve(http, process.url, token, body())
        assert refusal.status_code == 401, (name, refusal.text)
        expect_problem(refusal, 401, "not_authenticated")
        assert refusal.headers["www-authenticate"] == 'Bearer error="invalid_token"', name
        assert token[-20:] not in refusal.text, name
    assert project.sent_on() == []

    good = [project.token(user), project.token(user, "rsa")]
    good += [jwt.encode(claims(user.id), SECRET, "HS256")] if process is shared else []
    for token in good:
        accepted = await approve(http, process.url, token, body())
        assert accepted.status_code == 200, accepted.text
    assert project.sent_on() != []


@pytest.mark.anyio
@pytest.mark.parametrize("key_id", ["ec", "rsa"])
async def test_a_token_of_a_moment_ago_or_of_a_moment_ahead_is_fine(
    stack: RunningStack, ours: tuple[Project, Process, Process], http: httpx.AsyncClient, key_id: str
) -> None:
    """Clocks differ, by less than half a minute."""
    project, process, _ = ours
    user, now = stack.sign_up(), int(time.time())
    for changed in ({"iat": now + 60}, {"nbf": now + 15}, {"exp": now - 5}):
        token = project.token(user, key_id, **changed)
        assert await status(http, process, token) == 404, changed


@pytest.mark.anyio
async def test_keys_rotate_without_a_restart(
    stack: RunningStack, ours: tuple[Project, Process, Process], http: httpx.AsyncClient
) -> None:
    project, process, _ = ours
    user = stack.sign_up()
    name = f"rotated-{uuid.uuid4()}"
    old = project.token(user, project.published[0])
    assert await status(http, process, old) == 404
    project.keys[name] = ec.generate_private_key(ec.SECP256R1())
    project.published = [name]
    await until(http, process, project.token(user, name), 404)
    await until(http, process, old, 401)


async def hang(exchange: Exchange) -> None:
    await exchange.hang()


async def reset(exchange: Exchange) -> None:
    exchange.reset()


async def error(exchange: Exchange) -> None:
    await exchange.reply(answer(500))


async def nonsense(exchange: Exchange) -> None:
    await exchange.reply(answer(200, b'{"keys": [{"kty": "EC"}, 7, null]}'))


@pytest.mark.anyio
@pytest.mark.parametrize("trouble", [hang, reset, error, nonsense])
async def test_while_keys_cannot_be_fetched_known_ones_serve_at_once(
    stack: RunningStack,
    ours: tuple[Project, Process, Process],
    http: httpx.AsyncClient,
    trouble: Callable[[Exchange], Any],
) -> None:
    project, process, _ = ours
    user = stack.sign_up()
    await until(http, process, project.token(user), 404)
    project.keys_handler = trouble
    asked = project.fetches
    known = project.token(user)
    unknown = jwt.encode(claims(user.id), project.keys["ec"], "ES256", {"kid": str(uuid.uuid4())})
    served = 0
    async with asyncio.timeout(60):
        while (
            project.fetches < asked + 3
        ):  # the keys have grown old, and new ones are asked for again and again
            assert await status(http, process, known) == 404
            served += project.fetches > asked
    assert served > 10  # who waits for a fetch that hangs is served once in the second that it may take
    refusal = await approve(http, process.url, unknown, body())
    assert refusal.status_code in {401, 503}  # 401 when the last answer was still a good one
    assert await status(http, process, known) == 404
    project.keys_handler = project.publish
    await until(http, process, unknown, 401)


@pytest.mark.anyio
async def test_a_service_that_starts_without_keys_says_so_and_recovers(
    stack: RunningStack,
    proxy: Proxy,
    ours: tuple[Project, Process, Process],
    http: httpx.AsyncClient,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    project, _, _ = ours
    project.keys_handler = error
    settings = behind(proxy, stack, SUPABASE_JWT_ISSUER=ISSUER)
    with running_service(tmp_path_factory.mktemp("keyless"), **settings) as process:
        user = stack.sign_up()
        refusal = await approve(http, process.url, project.token(user), body())
        assert expect_problem(refusal, 503, "upstream_unavailable")["retryable"] is True
        assert project.sent_on() == []
        project.keys_handler = project.publish
        await until(http, process, project.token(user), 404)


@pytest.mark.anyio
@pytest.mark.soak
async def test_a_flood_of_unknown_key_ids_causes_no_stampede(
    stack: RunningStack, ours: tuple[Project, Process, Process], http: httpx.AsyncClient
) -> None:
    project, process, _ = ours
    user = stack.sign_up()
    await until(http, process, project.token(user), 404)
    good = project.token(user)
    unknown = [
        jwt.encode(claims(user.id), project.keys["ec"], "ES256", {"kid": str(uuid.uuid4())})
        for _ in range(500 if SOAK else 300)
    ]
    turn = asyncio.Semaphore(32)

    async def one(token: str) -> int:
        async with turn:
            return await status(http, process, token)

    asked, began = project.fetches, time.monotonic()
    mixed = [token for pair in zip(unknown, [good] * len(unknown), strict=True) for token in pair]
    answers = await asyncio.gather(*(one(token) for token in mixed))
    seconds = time.monotonic() - began

    assert set(answers[::2]) == {401}
    assert set(answers[1::2]) == {404}
    assert project.fetches - asked <= seconds + 2  # one in each second of the cool-down
